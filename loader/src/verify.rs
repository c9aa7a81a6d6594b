//! `verify`: everything that can be checked without running a guest.

use registry_schema::EntryId;

use crate::error::{Error, ErrorKind};
use crate::loader::Loader;

/// Something that is wrong with a bundle on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A file is missing or damaged.
    File {
        /// Its path inside the bundle.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An entry can't be loaded or linked.
    Entry {
        /// The entry.
        id: EntryId,
        /// How calls to it fail: `UNAVAILABLE` where only its settings are at fault, such as a variable
        /// that is not set on this machine.
        kind: ErrorKind,
        /// What is wrong with it.
        problem: String,
    },
}

/// What [`Loader::verify`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Files whose digest was checked.
    pub files: usize,
    /// Entries that were loaded and linked.
    pub entries: usize,
    /// Entries that are carried but not offered here, with the reason.
    pub unavailable: Vec<(EntryId, String)>,
    /// What is wrong; empty for a good bundle.
    pub faults: Vec<Fault>,
}

impl Loader {
    /// Checks digest and size of every file, the header of every artifact and the order of the entries, and
    /// loads and links every entry that is offered here. Runs no guest.
    ///
    /// # Errors
    /// `INTERNAL` when the manifest itself is malformed.
    pub fn verify(&self) -> Result<Verified, Error> {
        let manifest = self.bundle().manifest();
        let damaged = self.bundle().damaged_files()?.into_iter();
        let mut verified = Verified {
            files: manifest.artifact_count() + manifest.head().files.len(),
            faults: damaged.map(|(path, error)| Fault::File { path, problem: error.to_string() }).collect(),
            ..Verified::default()
        };
        let mut previous: Option<EntryId> = None;
        for entry in manifest.entries() {
            let entry = entry?;
            // Entries are found by binary search: one that is out of order would not be.
            if previous.as_ref().is_some_and(|previous| *previous >= entry.id) {
                let problem = format!("`{}` stands twice in the manifest or out of order", entry.id);
                let kind = ErrorKind::Internal;
                verified.faults.push(Fault::Entry { id: entry.id.clone(), kind, problem });
            }
            previous = Some(entry.id.clone());
            if let Some(reason) = self.inner().unavailable(&entry) {
                verified.unavailable.push((entry.id, reason));
                continue;
            }
            let has_signature = entry.wasm.as_ref().is_some_and(|wasm| wasm.signature.is_some());
            let loaded = if has_signature {
                self.function(&entry.id.to_string()).and_then(|_| match self.inner().unmounted(&entry) {
                    None => Ok(()),
                    Some(reason) => Err(Error::new(ErrorKind::Unavailable, reason)),
                })
            } else if matches!(entry.kind.as_str(), "function.lua" | "library.lua" | "process.lua") {
                self.check_lua(&entry.id)
            } else {
                continue;
            };
            match loaded {
                Ok(()) => verified.entries += 1,
                Err(error) => verified.faults.push(Fault::Entry {
                    id: entry.id,
                    kind: error.kind(),
                    problem: error.message().to_owned(),
                }),
            }
        }
        Ok(verified)
    }

    #[cfg(feature = "lua")]
    fn check_lua(&self, id: &EntryId) -> Result<(), Error> {
        crate::lua::check(self.inner(), id)
    }

    #[cfg(not(feature = "lua"))]
    fn check_lua(&self, _: &EntryId) -> Result<(), Error> {
        Ok(())
    }
}
