//! The section `tls`: of this loader alone.

use std::path::PathBuf;

use super::reader::Reader;

/// `tls`: encrypted connections that go out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Files in PEM format whose certificates are trusted beside the public roots, as written: a relative path in
    /// `.wippy.yaml` starts from [`crate::Options::root`], any other from the working directory. Default: none.
    pub ca_files: Vec<PathBuf>,
}

impl Tls {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self { ca_files: reader.files("tls.ca_files", "SSL_CERT_FILE") }
    }
}
