use crate::wasi::filesystem::preopens::get_directories;
use crate::wasi::filesystem::types::{
    Descriptor, DescriptorFlags, ErrorCode, NewTimestamp, OpenFlags, PathFlags,
};

pub fn name(code: ErrorCode) -> String {
    code.name().to_owned()
}

pub fn mounts() -> Vec<String> {
    get_directories().into_iter().map(|(_, path)| path).collect()
}

pub fn root() -> Descriptor {
    get_directories().swap_remove(0).0
}

pub fn read(path: &str) -> Result<String, String> {
    let file = root()
        .open_at(PathFlags::SYMLINK_FOLLOW, path, OpenFlags::empty(), DescriptorFlags::READ)
        .map_err(name)?;
    let (bytes, _) = file.read(4096, 0).map_err(name)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

pub fn write(path: &str, text: &str) -> Result<(), String> {
    let flags = OpenFlags::CREATE | OpenFlags::TRUNCATE;
    let file =
        root().open_at(PathFlags::SYMLINK_FOLLOW, path, flags, DescriptorFlags::WRITE).map_err(name)?;
    file.write(text.as_bytes(), 0).map_err(name)?;
    Ok(())
}

pub fn hard_link(old: &str, new: &str) -> Result<(), String> {
    root().link_at(PathFlags::empty(), old, &root(), new).map_err(name)
}

pub fn rename(old: &str, new: &str) -> Result<(), String> {
    root().rename_at(old, &root(), new).map_err(name)
}

pub fn touch(path: &str) -> Result<(), String> {
    let start = NewTimestamp::Timestamp(crate::wasi::clocks::wall_clock::Datetime {
        seconds: 0,
        nanoseconds: 0,
    });
    root().set_times_at(PathFlags::SYMLINK_FOLLOW, path, start, start).map_err(name)
}
