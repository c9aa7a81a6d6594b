//! Files of `env.storage.file`: `NAME=VALUE` lines; `#` starts a comment, `export ` and quotes around a
//! value are dropped.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use registry_schema::{EntryId, ErrorKind};

use crate::config::ENV_FILE_BYTES_MAX;
use crate::error::Error;

/// What the file of storage `id` has under `name`.
pub(super) fn get(id: &EntryId, path: &Path, name: &str) -> Result<Option<String>, Error> {
    let Some(text) = read(id, path)? else { return Ok(None) };
    Ok(text.lines().find_map(|line| {
        let (key, value) = assignment(line)?;
        (key == name).then(|| unquote(value).to_owned())
    }))
}

/// The whole file; `None` when it does not exist.
pub(super) fn read(id: &EntryId, path: &Path) -> Result<Option<String>, Error> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(id, path, &error)),
    };
    let mut text = String::new();
    let read = file.take(ENV_FILE_BYTES_MAX + 1).read_to_string(&mut text);
    let bytes = read.map_err(|error| unreadable(id, path, &error))?;
    if bytes as u64 > ENV_FILE_BYTES_MAX {
        let error = io::Error::other(format!("it has more than {ENV_FILE_BYTES_MAX} bytes"));
        return Err(unreadable(id, path, &error));
    }
    Ok(Some(text))
}

/// Name and value of a line, the quotes still around it; `None` for comments and empty lines.
pub(super) fn assignment(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (key, value) = line.split_once('=').filter(|_| !line.starts_with('#'))?;
    Some((key.trim(), value.trim()))
}

fn unquote(value: &str) -> &str {
    let inner = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

fn unreadable(id: &EntryId, path: &Path, error: &io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("`{id}` can't read `{}`: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_dropped_in_pairs() {
        assert_eq!(unquote("\"a b\""), "a b");
        assert_eq!(unquote("'a'"), "a");
        assert_eq!(unquote("\"a"), "\"a");
    }
}
