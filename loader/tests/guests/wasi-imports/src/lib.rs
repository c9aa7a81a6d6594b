//! Imports WASI 0.2 directly: clocks, random, environment, stdout and files.

wit_bindgen::generate!({ world: "wasi-imports", generate_all });

use wasi::cli::{environment, stdout};
use wasi::clocks::monotonic_clock;
use wasi::filesystem::preopens::get_directories;
use wasi::filesystem::types::{Descriptor, DescriptorFlags, OpenFlags, PathFlags};
use wasi::io::poll;
use wasi::random::random;

struct Component;

export!(Component);

impl Guest for Component {
    fn now() -> u64 {
        monotonic_clock::now()
    }

    fn random() -> u64 {
        random::get_random_u64()
    }

    fn env_count() -> u32 {
        environment::get_environment().len() as u32
    }

    fn env_get(name: String) -> Option<String> {
        environment::get_environment().into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    fn dirs() -> u32 {
        get_directories().len() as u32
    }

    fn list_dir(guest: String) -> Result<Vec<String>, String> {
        let dir = mounted(&guest)?;
        let entries = dir.read_directory().map_err(|code| code.name().to_string())?;
        let mut names = Vec::new();
        while let Some(entry) = entries.read_directory_entry().map_err(|code| code.name().to_string())? {
            names.push(entry.name);
        }
        names.sort();
        Ok(names)
    }

    fn write_file(guest: String, path: String, text: String) -> Result<(), String> {
        let dir = mounted(&guest)?;
        let flags = OpenFlags::CREATE | OpenFlags::TRUNCATE;
        let file = dir
            .open_at(PathFlags::empty(), &path, flags, DescriptorFlags::WRITE)
            .map_err(|code| code.name().to_string())?;
        let stream = file.write_via_stream(0).map_err(|code| code.name().to_string())?;
        stream.blocking_write_and_flush(text.as_bytes()).map_err(|_| "stream".to_string())
    }

    fn read_file(guest: String, path: String) -> Result<String, String> {
        let dir = mounted(&guest)?;
        let file = dir
            .open_at(PathFlags::empty(), &path, OpenFlags::empty(), DescriptorFlags::READ)
            .map_err(|code| code.name().to_string())?;
        let (bytes, _) = file.read(4096, 0).map_err(|code| code.name().to_string())?;
        String::from_utf8(bytes).map_err(|_| "utf-8".to_string())
    }

    fn print(line: String) {
        let mut line = line.into_bytes();
        line.push(b'\n');
        let out = stdout::get_stdout();
        // The host takes at most 4096 bytes at a time.
        for part in line.chunks(4096) {
            let _ = out.blocking_write_and_flush(part);
        }
    }

    fn sleep_ms(ms: u64) {
        let timer = monotonic_clock::subscribe_duration(ms * 1_000_000);
        poll::poll(&[&timer]);
    }
}

fn mounted(guest: &str) -> Result<Descriptor, String> {
    get_directories()
        .into_iter()
        .find(|(_, path)| path == guest)
        .map(|(dir, _)| dir)
        .ok_or_else(|| format!("nothing mounted at {guest}"))
}
