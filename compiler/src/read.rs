//! Reading text files with a bound on their size.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use registry_schema::document::{FILE_BYTES_MAX, Node, YamlFault, parse};

use crate::diagnostic::{Code, Diagnostic, Place, SourceFile};
use crate::shown::{io_reason, whole};

/// Why a text file can't be had.
#[derive(Debug)]
pub(crate) enum TextError {
    /// The system refuses it, or it is no UTF-8.
    Unreadable(io::Error),
    /// It has more than [`FILE_BYTES_MAX`] bytes.
    TooBig,
}

impl TextError {
    /// The reason, to follow a colon.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Unreadable(error) => io_reason(error),
            Self::TooBig => format!("it has more than {FILE_BYTES_MAX} bytes"),
        }
    }
}

/// The bytes of the file at `path`, at most `limit` of them.
pub(crate) fn bytes(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of the file at `path`, without a byte order mark.
pub(crate) fn text(path: &Path) -> Result<String, TextError> {
    let bytes = bytes(path, FILE_BYTES_MAX + 1).map_err(TextError::Unreadable)?;
    checked(bytes)
}

/// `bytes` as text, without a byte order mark.
pub(crate) fn checked(bytes: Vec<u8>) -> Result<String, TextError> {
    if bytes.len() > FILE_BYTES_MAX {
        return Err(TextError::TooBig);
    }
    let mut text = String::from_utf8(bytes)
        .map_err(|error| TextError::Unreadable(io::Error::new(io::ErrorKind::InvalidData, error)))?;
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    Ok(text)
}

/// Reads the file at `path` as YAML; it is shown as `shown`.
pub(crate) fn yaml(path: &Path, shown: String) -> Result<(Arc<SourceFile>, Node), Box<Diagnostic>> {
    document(shown, text(path))
}

/// Reads `text`, that of the file shown as `shown`, as YAML.
pub(crate) fn document(
    shown: String,
    text: Result<String, TextError>,
) -> Result<(Arc<SourceFile>, Node), Box<Diagnostic>> {
    let text = text.map_err(|error| {
        let code = match error {
            TextError::Unreadable(_) => Code::FileUnreadable,
            TextError::TooBig => Code::YamlLimit,
        };
        let diagnostic = Diagnostic::new(code, format!("the file can't be read: {}", error.reason()));
        let diagnostic = diagnostic.at(whole(shown.clone()));
        Box::new(match error {
            TextError::Unreadable(_) => diagnostic,
            TextError::TooBig => diagnostic.help("split it into several files"),
        })
    })?;
    let file = Arc::new(SourceFile { path: shown, text });
    match parse(&file.text) {
        Ok(node) => Ok((file, node)),
        Err(error) => {
            let code = match error.fault {
                YamlFault::Syntax => Code::YamlSyntax,
                YamlFault::Limit => Code::YamlLimit,
            };
            Err(Box::new(Diagnostic::new(code, error.message).at(Place { file, span: error.span })))
        }
    }
}
