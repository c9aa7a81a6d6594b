//! Reads a file of one mount, writes to another, and takes its title from the environment.

wit_bindgen::generate!({
    path: ["../../../scripts/guests/wit/preview2", "wit"],
    world: "samples:files/files",
    generate_all,
});

use wasi::cli::environment::get_environment;
use wasi::filesystem::preopens::get_directories;
use wasi::filesystem::types::{Descriptor, DescriptorFlags, ErrorCode, OpenFlags, PathFlags};

/// Bytes that are read and written at once.
const PART: u64 = 64 << 10;

struct Component;

export!(Component);

impl Guest for Component {
    fn report(name: String) -> Result<String, String> {
        let text = read(&open("/in", &name, OpenFlags::empty(), DescriptorFlags::READ)?)?;
        let (lines, words) = (text.lines().count(), text.split_whitespace().count());
        let title = get_environment().into_iter().find(|(name, _)| name == "TITLE");
        let title = title.map_or("report".to_owned(), |(_, value)| value);
        let report = format!("{title}: {lines} lines, {words} words, {} bytes", text.len());
        let flags = OpenFlags::CREATE | OpenFlags::TRUNCATE;
        let out = open("/out", &format!("{name}.report"), flags, DescriptorFlags::WRITE)?;
        write(&out, report.as_bytes())?;
        Ok(report)
    }

    fn read_report(name: String) -> Result<String, String> {
        let name = format!("{name}.report");
        read(&open("/out", &name, OpenFlags::empty(), DescriptorFlags::READ)?)
    }
}

fn open(mount: &str, name: &str, how: OpenFlags, access: DescriptorFlags) -> Result<Descriptor, String> {
    let mounts = get_directories();
    let found = mounts.into_iter().find(|(_, path)| path == mount);
    let (folder, _) = found.ok_or_else(|| format!("nothing is mounted at {mount}"))?;
    let file = folder.open_at(PathFlags::SYMLINK_FOLLOW, name, how, access);
    file.map_err(|code| failed(&format!("{mount}/{name}"), code))
}

fn failed(what: &str, code: ErrorCode) -> String {
    format!("{what}: {}", code.name())
}

fn read(file: &Descriptor) -> Result<String, String> {
    let mut all = Vec::new();
    loop {
        let (part, ended) = file.read(PART, all.len() as u64).map_err(|code| failed("read", code))?;
        all.extend(part);
        if ended {
            return String::from_utf8(all).map_err(|_| "the file is no text".to_owned());
        }
    }
}

fn write(file: &Descriptor, bytes: &[u8]) -> Result<(), String> {
    let mut at = 0;
    while at < bytes.len() {
        let end = bytes.len().min(at + PART as usize);
        at += file.write(&bytes[at..end], at as u64).map_err(|code| failed("write", code))? as usize;
    }
    Ok(())
}
