//! Tries to reach what its entry may not have given: files, streams, sockets, HTTP servers.

mod files;
mod http;
mod sockets;

wit_bindgen::generate!({
    path: ["../../../../scripts/guests/wit/preview2", "wit"],
    world: "test:reach/reach",
    generate_all,
});

struct Component;

export!(Component);

impl Guest for Component {
    fn mounts() -> Vec<String> {
        files::mounts()
    }

    fn read(path: String) -> Result<String, String> {
        files::read(&path)
    }

    fn write(path: String, text: String) -> Result<(), String> {
        files::write(&path, &text)
    }

    fn link(target: String, path: String) -> Result<(), String> {
        files::root().symlink_at(&target, &path).map_err(files::name)
    }

    fn hard_link(old: String, new: String) -> Result<(), String> {
        files::hard_link(&old, &new)
    }

    fn rename(old: String, new: String) -> Result<(), String> {
        files::rename(&old, &new)
    }

    fn remove(path: String) -> Result<(), String> {
        files::root().unlink_file_at(&path).map_err(files::name)
    }

    fn make_dir(path: String) -> Result<(), String> {
        files::root().create_directory_at(&path).map_err(files::name)
    }

    fn touch(path: String) -> Result<(), String> {
        files::touch(&path)
    }

    fn read_stdin() -> String {
        match wasi::cli::stdin::get_stdin().blocking_read(4096) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(_) => String::new(),
        }
    }

    fn print(text: String) {
        let out = wasi::cli::stdout::get_stdout();
        // The host takes at most 4096 bytes at a time.
        for part in text.as_bytes().chunks(4096) {
            let _ = out.blocking_write_and_flush(part);
        }
    }

    fn connect(address: String, port: u16) -> Result<String, String> {
        sockets::connect(sockets::address(&address, port)?)
    }

    fn connect_name(name: String, port: u16) -> Result<String, String> {
        let mut last = Err("nothing".to_owned());
        for address in sockets::resolve(&name)? {
            last = sockets::connect(sockets::address(&address, port)?);
            if last.is_ok() {
                break;
            }
        }
        last
    }

    fn flood(address: String, port: u16, count: u64) -> Result<(), String> {
        sockets::flood(sockets::address(&address, port)?, count)
    }

    fn send(address: String, port: u16) -> Result<(), String> {
        sockets::send(sockets::address(&address, port)?)
    }

    fn listen(address: String, port: u16) -> Result<u16, String> {
        sockets::listen(sockets::address(&address, port)?)
    }

    fn accept(address: String, count: u32) -> Result<u32, String> {
        sockets::accept(sockets::address(&address, 0)?, count)
    }

    fn receive(address: String, port: u16) -> Result<String, String> {
        sockets::receive(sockets::address(&address, port)?)
    }

    fn resolve(name: String) -> Result<Vec<String>, String> {
        sockets::resolve(&name)
    }

    fn sockets(count: u32) -> u32 {
        sockets::make(count)
    }

    fn fetch(
        method: String,
        scheme: String,
        authority: String,
        path: String,
        body: String,
    ) -> Result<String, String> {
        http::fetch(&method, &scheme, &authority, &path, &body)
    }
}
