//! The component of the public tutorial, over the interfaces of WASI 0.2 themselves.

wit_bindgen::generate!({ world: "samples:commands/demo", path: ["../../../scripts/guests/wit/preview2", "wit"], generate_all });

use wasi::cli::{stderr, stdout};
use wasi::filesystem::preopens;
use wasi::filesystem::types::{Descriptor, DescriptorType, ErrorCode, PathFlags};
use wasi::io::streams::OutputStream;

struct Demo;

export!(Demo);

impl Guest for Demo {
    fn greet(name: String) -> String {
        format!("Hello, {name}!")
    }

    fn add(a: i32, b: i32) -> i32 {
        a.wrapping_add(b)
    }

    fn fibonacci(n: u32) -> u64 {
        (0..n).fold((0_u64, 1_u64), |(a, b), _| (b, a.wrapping_add(b))).0
    }

    fn list_files(path: String) -> String {
        let mut listing = String::new();
        match lines(&path) {
            Ok(lines) => {
                for line in lines {
                    print(&stdout::get_stdout(), &mut listing, line);
                }
            }
            Err(error) => {
                let line = format!("cannot read {path}: {}", error.name());
                print(&stderr::get_stderr(), &mut listing, line);
            }
        }
        listing
    }
}

fn print(stream: &OutputStream, listing: &mut String, line: String) {
    let line = line + "\n";
    // A stream that is closed has no reader who misses anything.
    let _ = stream.blocking_write_and_flush(line.as_bytes());
    listing.push_str(&line);
}

/// The entries of the folder `path`, sorted by name.
fn lines(path: &str) -> Result<Vec<String>, ErrorCode> {
    let (folder, below) = opened(path)?;
    let folder = match below.as_str() {
        "" => folder,
        below => folder.open_at(
            PathFlags::SYMLINK_FOLLOW,
            below,
            wasi::filesystem::types::OpenFlags::DIRECTORY,
            wasi::filesystem::types::DescriptorFlags::READ,
        )?,
    };
    let stream = folder.read_directory()?;
    let mut entries = Vec::new();
    while let Some(entry) = stream.read_directory_entry()? {
        let size = folder.stat_at(PathFlags::empty(), &entry.name)?.size;
        let kind = if entry.type_ == DescriptorType::Directory { "dir" } else { "file" };
        let size = if kind == "dir" { 0 } else { size };
        entries.push((entry.name, kind, size));
    }
    entries.sort();
    Ok(entries.into_iter().map(|(name, kind, size)| format!("{kind:<6} {size:>8}  {name}")).collect())
}

/// The mounted folder that `path` lies in, and the rest of the path.
fn opened(path: &str) -> Result<(Descriptor, String), ErrorCode> {
    let within = |guest: &str| {
        let rest = path.strip_prefix(guest.trim_end_matches('/'))?;
        (rest.is_empty() || rest.starts_with('/')).then(|| rest.trim_matches('/').to_owned())
    };
    let mut folders = preopens::get_directories().into_iter();
    folders
        .find_map(|(folder, guest)| within(&guest).map(|rest| (folder, rest)))
        .ok_or(ErrorCode::NoEntry)
}
