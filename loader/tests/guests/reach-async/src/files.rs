use crate::code;
use crate::wasi::clocks::system_clock::Instant;
use crate::wasi::filesystem::preopens::get_directories;
use crate::wasi::filesystem::types::{Descriptor, DescriptorFlags, NewTimestamp, OpenFlags, PathFlags};
use crate::wit_stream;

pub fn mounts() -> Vec<String> {
    get_directories().into_iter().map(|(_, path)| path).collect()
}

pub fn root() -> Descriptor {
    get_directories().swap_remove(0).0
}

async fn open(path: String, how: OpenFlags, access: DescriptorFlags) -> Result<Descriptor, String> {
    root().open_at(PathFlags::SYMLINK_FOLLOW, path, how, access).await.map_err(code)
}

pub async fn read(path: String) -> Result<String, String> {
    let file = open(path, OpenFlags::empty(), DescriptorFlags::READ).await?;
    let (stream, outcome) = file.read_via_stream(0);
    let bytes = stream.collect().await;
    outcome.await.map_err(code)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

pub async fn write(path: String, text: String) -> Result<(), String> {
    let file = open(path, OpenFlags::CREATE | OpenFlags::TRUNCATE, DescriptorFlags::WRITE).await?;
    let (mut writer, reader) = wit_stream::new();
    let outcome = file.write_via_stream(reader, 0);
    writer.write_all(text.into_bytes()).await;
    drop(writer);
    outcome.await.map_err(code)
}

pub async fn hard_link(old: String, new: String) -> Result<(), String> {
    let folder = root();
    root().link_at(PathFlags::empty(), old, &folder, new).await.map_err(code)
}

pub async fn rename(old: String, new: String) -> Result<(), String> {
    let folder = root();
    root().rename_at(old, &folder, new).await.map_err(code)
}

pub async fn touch(path: String) -> Result<(), String> {
    let start = NewTimestamp::Timestamp(Instant { seconds: 0, nanoseconds: 0 });
    root().set_times_at(PathFlags::SYMLINK_FOLLOW, path, start, start).await.map_err(code)
}

pub async fn entries() -> Result<Vec<String>, String> {
    let (stream, outcome) = root().read_directory();
    let mut names: Vec<String> = stream.collect().await.into_iter().map(|entry| entry.name).collect();
    outcome.await.map_err(code)?;
    names.sort();
    Ok(names)
}
