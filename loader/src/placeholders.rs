//! Placeholders of a bundle's entries (`${env:NAME}`), resolved before anything runs.
//!
//! Entries resolve theirs again when they are used: a variable may change. What is looked at here is that
//! everything they name is set on this machine, and of the type that its field has.

use registry_schema::manifest::Entry;

use crate::error::{Error, ErrorKind};
use crate::loader::Loader;

/// The first parts of kinds that run. What `env.*` entries hold is read when somebody asks for it, if ever.
const RUN: [&str; 8] =
    ["fs.", "function.", "http.", "library.", "process.", "security.", "store.", "terminal."];

impl Loader {
    /// What is wrong with the placeholders of the bundle's entries on this machine: variables that are not set,
    /// values that are not what their field takes. Each names entry, field and variable. Entries that are not
    /// offered here are left out. May read files.
    ///
    /// # Errors
    /// `INTERNAL` when a record of the manifest is malformed.
    pub fn placeholder_problems(&self) -> Result<Vec<Error>, Error> {
        let mut problems = Vec::new();
        let mut has_routes = false;
        for entry in self.bundle().manifest().entries_with("${") {
            let entry = entry?;
            let runs = RUN.iter().any(|prefix| entry.kind.starts_with(prefix));
            if !runs || self.inner().unavailable(&entry).is_some() {
                continue;
            }
            let found = self.inner().environment().problems(entry.id.namespace(), "", &entry.data);
            if found.is_empty() {
                has_routes |= entry.kind.starts_with("http.");
                problems.extend(
                    self.wrong_type(&entry).err().filter(|error| error.kind() != ErrorKind::Internal),
                );
            }
            problems.extend(found.into_iter().map(|error| error.wrapped(&format!("`{}`", entry.id))));
        }
        if has_routes {
            problems.extend(self.wrong_routes()?);
        }
        Ok(problems)
    }

    /// Makes what `entry` stands for, which reads its fields and runs nothing.
    fn wrong_type(&self, entry: &Entry) -> Result<(), Error> {
        let inner = self.inner();
        match entry.kind.as_str() {
            "function.wasm" | "function.wat" | "function.lua" => {
                inner.callable(&entry.id.to_string()).map(|_| ())
            }
            "process.wasm" | "process.lua" => inner.program(&entry.id).map(|_| ()),
            "process.host" => inner.process_host(&entry.id).map(|_| ()),
            _ => Ok(()),
        }
    }

    /// What is wrong with services, routers and endpoints; what is not offered is not wrong.
    #[cfg(feature = "http")]
    fn wrong_routes(&self) -> Result<Vec<Error>, Error> {
        use crate::http::Site;
        let made = Site::services(self)?.into_iter().filter_map(|id| Site::new(self, &id).err());
        Ok(made.filter(|error| error.kind() != ErrorKind::Unavailable).collect())
    }

    #[cfg(not(feature = "http"))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "routes come with HTTP")]
    fn wrong_routes(&self) -> Result<Vec<Error>, Error> {
        Ok(Vec::new())
    }
}
