//! A list of what must not be used, for advisories: one line each, `WHAT VALUE REASON…`.
//!
//! ```text
//! # What is burnt, and why; the reason is printed with the refusal.
//! compiler 48.0.7         ADVISORY-1: wrong code for i64x2.mul
//! compiler 48.0.0-48.0.5  ADVISORY-2
//! bundle blake3:…         built on a machine that was taken over
//! component blake3:…      ADVISORY-3: the parser of app:thumbnail
//! source blake3:…         the same by the file that it was made from
//! adapter blake3:…        ADVISORY-4: every component that it was linked into
//! file blake3:…           any file of the bundle: an artifact, a Lua source, an embedded file
//! ```
//!
//! Empty lines and lines that begin with `#` are left out. A line that is not understood is an error: it
//! restricts. A compiler or a bundle that is denied stops boot; the rest ends the entries that need it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use registry_schema::envelope::ManifestError;
use registry_schema::manifest::Component;
use registry_schema::manifest_file::Manifest;
use registry_schema::{Digest, Target};

use super::CompilerVersion;
use crate::config::DENY_LIST_BYTES_MAX;

/// What must not be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DenyList {
    compilers: Vec<(CompilerVersion, CompilerVersion, String)>,
    bundles: BTreeMap<Digest, String>,
    components: BTreeMap<Digest, String>,
    sources: BTreeMap<Digest, String>,
    adapters: BTreeMap<Digest, String>,
    files: BTreeMap<Digest, String>,
}

/// A line of a list that is not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DenyListError {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for DenyListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

impl std::error::Error for DenyListError {}

impl DenyList {
    /// Reads the list in the file at `path`.
    ///
    /// # Errors
    /// When the file can't be read, is larger than [`DENY_LIST_BYTES_MAX`], or has a line that is not
    /// understood.
    pub fn read(path: impl AsRef<Path>) -> std::io::Result<Self> {
        let mut text = String::new();
        File::open(path)?.take(DENY_LIST_BYTES_MAX + 1).read_to_string(&mut text)?;
        if text.len() as u64 > DENY_LIST_BYTES_MAX {
            return Err(std::io::Error::from(std::io::ErrorKind::FileTooLarge));
        }
        Self::parse(&text).map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))
    }

    /// Reads a list.
    ///
    /// # Errors
    /// The first line that is not understood.
    pub fn parse(text: &str) -> Result<Self, DenyListError> {
        let mut list = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                list.add(line).map_err(|problem| DenyListError { line: index + 1, problem })?;
            }
        }
        Ok(list)
    }

    fn add(&mut self, line: &str) -> Result<(), String> {
        let (what, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim_start();
        let (value, reason) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let reason = match reason.trim() {
            "" => "no reason is given".to_owned(),
            reason => reason.to_owned(),
        };
        let digests = match what {
            "compiler" => {
                let (from, to) = value.split_once('-').unwrap_or((value, value));
                let version = |text: &str| text.parse().map_err(|error| format!("`{value}`: {error}"));
                self.compilers.push((version(from)?, version(to)?, reason));
                return Ok(());
            }
            "bundle" => &mut self.bundles,
            "component" => &mut self.components,
            "source" => &mut self.sources,
            "adapter" => &mut self.adapters,
            "file" => &mut self.files,
            other => {
                return Err(format!(
                    "`{other}` can't be denied, expected one of `compiler` `bundle` `component` `source` \
                     `adapter` `file`"
                ));
            }
        };
        let digest = value.strip_prefix("blake3:").and_then(|digits| digits.parse().ok());
        let digest = digest.ok_or_else(|| {
            format!("`{value}` is no digest, expected `blake3:` and 64 lower-case hexadecimal digits")
        })?;
        digests.insert(digest, reason);
        Ok(())
    }

    /// What of the bundle as a whole is denied, and why.
    pub(super) fn whole_bundle(&self, manifest: &Manifest) -> Option<(String, String)> {
        let compiler = &manifest.head().compiler;
        if let Ok(version) = compiler.parse::<CompilerVersion>()
            && let Some((.., reason)) =
                self.compilers.iter().find(|(from, to, _)| (*from..=*to).contains(&version))
        {
            return Some((format!("compiler {compiler}"), reason.clone()));
        }
        let digest = manifest.digest().strip_prefix("blake3:")?.parse().ok()?;
        let reason = self.bundles.get(&digest)?;
        Some((format!("the bundle {}", manifest.digest()), reason.clone()))
    }

    /// Whether it must be known what components were made from.
    pub(crate) fn needs_origins(&self) -> bool {
        !self.sources.is_empty() || !self.adapters.is_empty()
    }

    /// What of `manifest` is denied where the artifacts of `target` are used; `components` are those of the
    /// bundle if [`DenyList::needs_origins`].
    ///
    /// # Errors
    /// When a record of the manifest is malformed.
    pub(crate) fn apply(
        &self,
        manifest: &Manifest,
        target: Option<Target>,
        components: &[Component],
    ) -> Result<Denied, ManifestError> {
        let mut denied = Denied { components: self.components.clone(), ..Denied::default() };
        for component in components {
            let source = component.sources.iter().find_map(|source| self.sources.get(source));
            let adapter = component.adapters.iter().find_map(|adapter| self.adapters.get(&adapter.digest));
            if let Some(reason) = source.or(adapter) {
                denied.components.insert(component.digest, reason.clone());
            }
        }
        for (path, file) in &manifest.head().files {
            if let Some(reason) = self.files.get(&file.digest) {
                denied.paths.insert(path.clone(), reason.clone());
            }
        }
        if self.files.is_empty() && denied.components.is_empty() {
            return Ok(denied);
        }
        for artifact in manifest.artifacts() {
            let artifact = artifact?;
            let by_file = self.files.get(&artifact.digest);
            let reason = by_file.or_else(|| denied.components.get(&artifact.component)).cloned();
            if let Some(reason) = reason {
                if Some(artifact.target) == target {
                    denied.components.insert(artifact.component, reason.clone());
                }
                denied.paths.insert(artifact.path(), reason);
            }
        }
        Ok(denied)
    }
}

/// What of a bundle is denied.
#[derive(Debug, Default)]
pub(crate) struct Denied {
    components: BTreeMap<Digest, String>,
    paths: BTreeMap<String, String>,
}

impl Denied {
    /// Why the component must not be used, if so.
    pub(crate) fn component(&self, digest: Digest) -> Option<&str> {
        self.components.get(&digest).map(String::as_str)
    }

    /// Why the file must not be used, if so.
    pub(crate) fn file(&self, path: &str) -> Option<&str> {
        self.paths.get(path).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let folder = crate::support::temporary_folder();
        let path = folder.path().join("deny");
        let line = "compiler 48.0.7 ADVISORY-1\n";
        let room = usize::try_from(DENY_LIST_BYTES_MAX).unwrap() - line.len();
        std::fs::write(&path, "\n".repeat(room) + line).unwrap();
        assert_eq!(DenyList::read(&path).unwrap(), DenyList::parse(line).unwrap());
        // What restricts is not cut.
        std::fs::write(&path, "\n".repeat(room + 1) + line).unwrap();
        assert_eq!(DenyList::read(&path).unwrap_err().kind(), std::io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn lists_are_read_line_by_line() {
        let digest = Digest::of(b"x");
        let list = DenyList::parse(&format!(
            "# why\n\n compiler 48.0.7\tADVISORY-1: wrong code \r\ncompiler 47.0.0-47.9.9\nfile blake3:{digest}  bad\n"
        ))
        .unwrap();
        assert_eq!(list.files[&digest], "bad");
        let version = |text: &str| text.parse::<CompilerVersion>().unwrap();
        assert_eq!(
            list.compilers,
            [
                (version("48.0.7"), version("48.0.7"), "ADVISORY-1: wrong code".to_owned()),
                (version("47.0.0"), version("47.9.9"), "no reason is given".to_owned()),
            ]
        );
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let cases = [
            (
                "\n\ncomponnt blake3:00",
                "line 3: `componnt` can't be denied, expected one of `compiler` `bundle` `component` `source` `adapter` `file`",
            ),
            ("file 00", "line 1: `00` is no digest, expected `blake3:` and 64 lower-case hexadecimal digits"),
            ("file", "line 1: `` is no digest, expected `blake3:` and 64 lower-case hexadecimal digits"),
            ("compiler 48", "line 1: `48`: expected a version of three numbers, such as `48.0.8`"),
            ("compiler 48.0.8-", "line 1: `48.0.8-`: expected a version of three numbers, such as `48.0.8`"),
        ];
        for (text, problem) in cases {
            assert_eq!(DenyList::parse(text).unwrap_err().to_string(), problem);
        }
    }
}
