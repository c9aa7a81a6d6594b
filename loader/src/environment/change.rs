//! What only Lua does with variables: setting them, in memory and in files.
//!
//! A file is replaced as a whole, so that no reader sees half of it; its other lines stay as they are.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use registry_schema::authored::env::{EnvStorageFile, EnvStorageRouter};
use registry_schema::authored::fs::FileMode;
use registry_schema::authored::scalar::Templated;
use registry_schema::{EntryId, ErrorKind};

use super::file::{self, assignment};
use super::{Environment, invalid, read as fields};
use crate::config::{ENV_FILE_BYTES_MAX, ENV_VALUE_BYTES_MAX};
use crate::error::Error;

impl Environment<'_> {
    /// The public name of the variable `id`, if it has one.
    pub(crate) fn public_name(&self, id: &EntryId) -> Result<Option<String>, Error> {
        Ok(self.definition(id)?.variable.and_then(|name| name.value().cloned()))
    }

    /// Sets the variable `id`. May write a file.
    ///
    /// # Errors
    /// `NOT_FOUND` when it or its storage is not there; `PERMISSION_DENIED` when one of them is read-only;
    /// `INVALID` for a value that its storage can't hold; `UNAVAILABLE` when a file can't be written.
    pub(crate) fn set(&self, id: &EntryId, value: &str) -> Result<(), Error> {
        if value.len() > ENV_VALUE_BYTES_MAX {
            let problem = format!("found {} bytes, expected at most {ENV_VALUE_BYTES_MAX}", value.len());
            return Err(invalid(format!("the value of `{id}`: {problem}")));
        }
        let variable = self.definition(id)?;
        let own = id.namespace();
        let readonly = variable.readonly.as_ref().map(|it| self.resolve(own, "readonly", it)).transpose()?;
        if readonly == Some(true) {
            return Err(read_only("variable", id));
        }
        let name = self.stored_name(id, &variable, 0)?;
        self.store(&variable.storage.resolve(own), &name, value, 0)
    }

    fn store(&self, id: &EntryId, name: &str, value: &str, depth: usize) -> Result<(), Error> {
        let entry = self.storage(id, depth)?;
        let own = id.namespace();
        match entry.kind.as_str() {
            "env.storage.memory" => {
                self.memory().entry(id.clone()).or_default().insert(name.to_owned(), value.to_owned());
                Ok(())
            }
            "env.storage.file" => {
                let storage: EnvStorageFile = fields(&entry)?;
                let path = self.root.join(self.text(own, &storage.file_path, depth)?);
                let auto_create = storage.auto_create.as_ref();
                let auto_create = auto_create.map(|it| self.resolve(own, "auto_create", it)).transpose()?;
                let mode = |field: &str, mode: Option<&Templated<FileMode>>| {
                    let mode = mode.map(|mode| self.resolve(own, field, mode)).transpose()?;
                    Ok::<_, Error>(mode.map(FileMode::bits))
                };
                let creation = Creation {
                    file_mode: mode("file_mode", storage.file_mode.as_ref())?.unwrap_or(0o644),
                    folder_mode: mode("dir_mode", storage.dir_mode.as_ref())?.unwrap_or(0o755),
                };
                set_in_file(id, &path, name, value, (auto_create == Some(true)).then_some(creation))
            }
            "env.storage.router" => match fields::<EnvStorageRouter>(&entry)?.storages.first() {
                Some(first) => self.store(&first.resolve(own), name, value, depth + 1),
                None => Err(read_only("storage", id)),
            },
            _ => Err(read_only("storage", id)),
        }
    }
}

fn read_only(what: &str, id: &EntryId) -> Error {
    Error::new(ErrorKind::PermissionDenied, format!("the {what} `{id}` is read-only"))
}

/// Permissions of what is created.
struct Creation {
    /// Of the file.
    file_mode: u32,
    /// Of folders.
    folder_mode: u32,
}

/// Held while a file is read and replaced: of two changes at once neither is lost.
static CHANGING: Mutex<()> = Mutex::new(());

/// Sets `name` in the file of storage `id`, which is created if `creation` says so.
///
/// # Errors
/// `INVALID` for a name or value that a line can't hold; `UNAVAILABLE` when the file is not there, too large
/// or can't be written.
fn set_in_file(
    id: &EntryId,
    path: &Path,
    name: &str,
    value: &str,
    creation: Option<Creation>,
) -> Result<(), Error> {
    let quoted = quoted(value);
    let line = format!("{name}={quoted}");
    // What a line break in a value would set is another variable.
    let is_line = !value.contains(['\n', '\r', '\0']) && assignment(&line) == Some((name, quoted.as_str()));
    if name.is_empty() || !is_line {
        let message = format!("`{id}`: a line of a file can't hold this value of `{name}`");
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    let _changing = CHANGING.lock().unwrap_or_else(PoisonError::into_inner);
    let old = file::read(id, path)?;
    let unwritable = |error: &io::Error| {
        Error::new(ErrorKind::Unavailable, format!("`{id}` can't write `{}`: {error}", path.display()))
    };
    if old.is_none() {
        let Some(creation) = &creation else {
            let error = io::Error::other("it does not exist, and `auto_create` is off");
            return Err(unwritable(&error));
        };
        if let Some(folder) = path.parent() {
            let made = DirBuilder::new().recursive(true).mode(creation.folder_mode).create(folder);
            made.map_err(|error| unwritable(&error))?;
        }
    }
    let text = changed(old.as_deref().unwrap_or_default(), name, &line);
    if text.len() as u64 > ENV_FILE_BYTES_MAX {
        let error = io::Error::other(format!("it would have more than {ENV_FILE_BYTES_MAX} bytes"));
        return Err(unwritable(&error));
    }
    replace(path, &text, creation.map_or(0o600, |creation| creation.file_mode))
        .map_err(|error| unwritable(&error))
}

/// `text` with `line` in place of the first one that sets `name`, or at its end.
fn changed(text: &str, name: &str, line: &str) -> String {
    let mut out = String::with_capacity(text.len() + line.len() + 2);
    let mut is_set = false;
    for old in text.lines() {
        if !is_set && assignment(old).is_some_and(|(key, _)| key == name) {
            is_set = true;
            let export = if old.trim_start().starts_with("export ") { "export " } else { "" };
            out.push_str(export);
            out.push_str(line);
        } else {
            out.push_str(old);
        }
        out.push('\n');
    }
    if !is_set {
        out.push_str(line);
        out.push('\n');
    }
    out
}

/// Puts a file with `text` in the place of `path`, links followed; it keeps its permissions, a new one gets
/// `mode`.
fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let (path, mode) = match fs::canonicalize(path) {
        Ok(real) => {
            let mode = fs::metadata(&real)?.permissions().mode();
            (real, mode & 0o777)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => (path.to_path_buf(), mode),
        Err(error) => return Err(error),
    };
    let mut temporary = path.clone().into_os_string();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let written = write(&temporary, text, mode).and_then(|()| fs::rename(&temporary, &path));
    if written.is_err() {
        // Of no use to anybody, and maybe never there.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    // What a killed process left.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    // Whatever the mask of the process leaves of a mode.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

/// A value as it stands in a line: in quotes unless every shell and every reader takes it without. Of the
/// two kinds of quotes most readers leave what is in single ones alone.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+,=".contains(c);
    if value.chars().all(plain) {
        value.to_owned()
    } else if value.contains('\'') {
        format!("\"{value}\"")
    } else {
        format!("'{value}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_the_rest_stays() {
        let folder = crate::support::temporary_folder();
        let path = folder.path().join("a/b/.env");
        let id: EntryId = "app:file".parse().unwrap();
        let creation = || Some(Creation { file_mode: 0o640, folder_mode: 0o700 });
        let error = set_in_file(&id, &path, "A", "1", None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.message().ends_with("it does not exist, and `auto_create` is off"), "{error}");
        set_in_file(&id, &path, "A", "1", creation()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o640, 0o700));
        let old = "# A=comment\n export A = old\n\nB=two # not a comment\nA=later\n";
        fs::write(&path, old).unwrap();
        for value in [
            "",
            "new",
            "two words",
            " edges ",
            "it's",
            "\"q\"",
            "'q'",
            "'",
            "\"",
            "#x",
            "a=b",
            "$HOME\\n",
            "ü",
        ] {
            set_in_file(&id, &path, "A", value, None).unwrap();
            assert_eq!(file::get(&id, &path, "A").unwrap().as_deref(), Some(value));
        }
        set_in_file(&id, &path, "C", "3", None).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "# A=comment\nexport A='ü'\n\nB=two # not a comment\nA=later\nC=3\n");
        assert_eq!(mode(&path), 0o640);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn no_value_or_name_sets_another_variable() {
        let folder = crate::support::temporary_folder();
        let path = folder.path().join(".env");
        fs::write(&path, "A=1\n").unwrap();
        let id: EntryId = "app:file".parse().unwrap();
        for (name, value) in [
            ("A", "x\nB=2"),
            ("A", "x\rB=2"),
            ("A", "x\0"),
            ("A=B", "x"),
            ("#A", "x"),
            ("export A", "x"),
            ("", "x"),
            (" A", "x"),
        ] {
            let outcome = set_in_file(&id, &path, name, value, None);
            assert_eq!(outcome.map_err(|error| error.kind()), Err(ErrorKind::Invalid), "{name:?} {value:?}");
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "A=1\n");
    }

    #[test]
    fn a_file_that_is_too_large_is_neither_read_nor_cut() {
        let folder = crate::support::temporary_folder();
        let path = folder.path().join(".env");
        let most = usize::try_from(ENV_FILE_BYTES_MAX).unwrap();
        let id: EntryId = "app:file".parse().unwrap();
        fs::write(&path, "A=1\n".to_owned() + &"#".repeat(most - 4)).unwrap();
        assert_eq!(file::get(&id, &path, "A").unwrap().as_deref(), Some("1"));
        assert_eq!(set_in_file(&id, &path, "B", "2", None).unwrap_err().kind(), ErrorKind::Unavailable);
        fs::write(&path, "A=1\n".to_owned() + &"#".repeat(most - 3)).unwrap();
        assert_eq!(file::get(&id, &path, "A").unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(set_in_file(&id, &path, "A", "2", None).unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(fs::metadata(&path).unwrap().len(), ENV_FILE_BYTES_MAX + 1);
    }
}
