//! Tries to reach what its entry may not have given, through WASI 0.3.

mod files;
mod http;
mod sockets;

wit_bindgen::generate!({
    path: ["../../../../scripts/guests/wit/preview3", "wit"],
    world: "test:reach-async/reach-async",
    generate_all,
});

use wasi::cli::{environment, exit, stderr, stdin, stdout};
use wasi::clocks::{monotonic_clock, system_clock};
use wasi::random::random;

struct Component;

export!(Component);

/// `ErrorCode::AccessDenied` as `access-denied`.
fn code(code: impl std::fmt::Debug) -> String {
    let text = variant(code);
    let mut name = String::new();
    for char in text.chars() {
        if char.is_ascii_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.push(char.to_ascii_lowercase());
    }
    name
}

/// `ErrorCode::AccessDenied` as `AccessDenied`.
fn variant(code: impl std::fmt::Debug) -> String {
    let text = format!("{code:?}");
    text.strip_prefix("ErrorCode::").unwrap_or(&text).to_owned()
}

impl Guest for Component {
    async fn mounts() -> Vec<String> {
        files::mounts()
    }

    async fn read(path: String) -> Result<String, String> {
        files::read(path).await
    }

    async fn write(path: String, text: String) -> Result<(), String> {
        files::write(path, text).await
    }

    async fn link(target: String, path: String) -> Result<(), String> {
        files::root().symlink_at(target, path).await.map_err(code)
    }

    async fn hard_link(old: String, new: String) -> Result<(), String> {
        files::hard_link(old, new).await
    }

    async fn rename(old: String, new: String) -> Result<(), String> {
        files::rename(old, new).await
    }

    async fn remove(path: String) -> Result<(), String> {
        files::root().unlink_file_at(path).await.map_err(code)
    }

    async fn make_dir(path: String) -> Result<(), String> {
        files::root().create_directory_at(path).await.map_err(code)
    }

    async fn touch(path: String) -> Result<(), String> {
        files::touch(path).await
    }

    async fn entries() -> Result<Vec<String>, String> {
        files::entries().await
    }

    async fn read_stdin() -> String {
        let (mut stream, _) = stdin::read_via_stream();
        let (_, bytes) = stream.read(Vec::with_capacity(4096)).await;
        String::from_utf8_lossy(&bytes).into_owned()
    }

    async fn print(text: String) {
        let (mut writer, reader) = wit_stream::new();
        let written = stdout::write_via_stream(reader);
        writer.write_all(text.into_bytes()).await;
        drop(writer);
        let _ = written.await;
    }

    async fn print_error(text: String) {
        let (mut writer, reader) = wit_stream::new();
        let written = stderr::write_via_stream(reader);
        writer.write_all(text.into_bytes()).await;
        drop(writer);
        let _ = written.await;
    }

    async fn connect(address: String, port: u16) -> Result<String, String> {
        sockets::connect(sockets::address(&address, port)?).await
    }

    async fn connect_name(name: String, port: u16) -> Result<String, String> {
        let mut last = Err("nothing".to_owned());
        for address in sockets::resolve(name).await? {
            last = sockets::connect(sockets::address(&address, port)?).await;
            if last.is_ok() {
                break;
            }
        }
        last
    }

    async fn flood(address: String, port: u16, count: u64) -> Result<(), String> {
        sockets::flood(sockets::address(&address, port)?, count).await
    }

    async fn deliver(address: String, port: u16) -> Result<(), String> {
        sockets::deliver(sockets::address(&address, port)?).await
    }

    async fn ignore(address: String, port: u16) -> Result<(), String> {
        sockets::ignore(sockets::address(&address, port)?).await
    }

    async fn keep(address: String, port: u16, count: u32) -> Result<Vec<u32>, String> {
        let address = sockets::address(&address, port)?;
        Ok(vec![sockets::keep(address, count).await?, sockets::keep(address, count).await?])
    }

    async fn send(address: String, port: u16) -> Result<(), String> {
        sockets::send(sockets::address(&address, port)?).await
    }

    async fn receive(address: String, port: u16) -> Result<String, String> {
        sockets::receive(sockets::address(&address, port)?).await
    }

    async fn listen(address: String, port: u16) -> Result<u16, String> {
        sockets::listen(sockets::address(&address, port)?)
    }

    async fn accept(address: String, count: u32) -> Result<u32, String> {
        sockets::accept(sockets::address(&address, 0)?, count).await
    }

    async fn resolve(name: String) -> Result<Vec<String>, String> {
        sockets::resolve(name).await
    }

    async fn sockets(count: u32) -> u32 {
        sockets::make(count)
    }

    async fn fetch(
        method: String,
        scheme: String,
        authority: String,
        path: String,
        body: String,
    ) -> Result<String, String> {
        http::fetch(&method, &scheme, authority, path, body).await
    }

    async fn env(name: String) -> Option<String> {
        environment::get_environment().into_iter().find(|(own, _)| *own == name).map(|(_, value)| value)
    }

    async fn args() -> Vec<String> {
        environment::get_arguments()
    }

    async fn cwd() -> Option<String> {
        environment::get_initial_cwd()
    }

    async fn exit(status: u8) {
        exit::exit_with_code(status);
    }

    async fn now() -> u64 {
        monotonic_clock::now()
    }

    async fn today() -> i64 {
        system_clock::now().seconds
    }

    async fn wait(ms: u64) {
        monotonic_clock::wait_for(ms * 1_000_000).await;
    }

    async fn random() -> u64 {
        random::get_random_u64()
    }
}
