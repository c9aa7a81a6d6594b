//! `fs.directory` and `fs.embed`: folders that functions read and write (`en/system/filesystem.md`).
//!
//! No meta keys are read.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::scalar::{FromScalar, Scalar, ScalarError, Templated, closed_set};

/// A folder of the machine (`en/system/filesystem.md`, "Directory Filesystem").
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FsDirectory {
    /// Root of all paths. Required. A WASM entry that takes its binary from here needs it to be
    /// without placeholders, since the build reads it.
    pub directory: Templated<String>,
    /// Create the folder when it is missing. Default: `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_init: Option<Templated<bool>>,
    /// Permissions that restrict every operation; execute bits follow read bits. Default: 0755.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Templated<FileMode>>,
    /// What a relative `directory` starts from. Default: `project`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Templated<FsBase>>,
}

/// A folder that travels in the bundle, read-only (`en/system/filesystem.md`, "Embedded
/// Filesystem").
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FsEmbed {
    /// Folder that is copied, relative to the definition file; needed by the build, so not a
    /// placeholder. Default: the folder of the definition file. Ours: not on the public page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<Templated<String>>,
}

closed_set! {
    /// What a relative folder starts from (`en/system/filesystem.md`, "Directory Filesystem").
    pub enum FsBase {
        /// The working directory of the process.
        Project => "project",
        /// Where the module that owns the entry was loaded from.
        Module => "module",
    }
}

/// Unix permissions, written in octal: `"0755"`. Range: 0 to 0777.
///
/// A number is taken as its value, as Go does: YAML's own octal `0755` arrives as 493. It is always
/// written back as text, which has one reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMode(u32);

impl FileMode {
    /// The permission bits, at most `0o777`.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl FromScalar for FileMode {
    const EXPECTED: &'static str = "octal permissions from `0000` to `0777`";

    fn from_scalar(scalar: Scalar<'_>) -> Result<Self, ScalarError> {
        let bits = match &scalar {
            Scalar::Integer(number) => u32::try_from(*number).ok(),
            Scalar::Text(text) => {
                let digits = text.strip_prefix("0o").unwrap_or(text);
                let octal = digits.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
                octal.then(|| u32::from_str_radix(digits, 8).ok()).flatten()
            }
            Scalar::Bool(_) | Scalar::Float(_) => None,
        };
        bits.filter(|bits| *bits <= 0o777).map(Self).ok_or_else(|| ScalarError {
            found: scalar.to_string(),
            expected: Self::EXPECTED.to_owned(),
            hint: Some("write it in quotes, as in `\"0755\"`".to_owned()),
        })
    }

    fn to_scalar(&self) -> Scalar<'_> {
        Scalar::Text(Cow::Owned(self.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::scalar::round_trip;
    use super::*;
    use serde_json::json;

    #[test]
    fn fs_directory() {
        let directory: FsDirectory = round_trip(json!({
            "directory": "/var/data/uploads",
            "auto_init": true,
            "mode": "0755",
            "base": "module"
        }));
        let mode = directory.mode.as_ref().and_then(Templated::value);
        assert_eq!(mode.map(|mode| mode.bits()), Some(0o755));
        assert_eq!(directory.base, Some(Templated::Value(FsBase::Module)));
        round_trip::<FsDirectory>(json!({"directory": "${env:DATA|./data}"}));
    }

    #[test]
    fn fs_embed() {
        round_trip::<FsEmbed>(json!({}));
        round_trip::<FsEmbed>(json!({"directory": "./public"}));
    }

    #[test]
    fn file_modes() {
        for (scalar, bits) in
            [(json!("0600"), 0o600), (json!("755"), 0o755), (json!("0o644"), 0o644), (json!(0o600), 0o600)]
        {
            let mode: Templated<FileMode> = serde_json::from_value(scalar).unwrap();
            assert_eq!(mode.value().map(|mode| mode.bits()), Some(bits));
            assert_eq!(serde_json::to_value(&mode).unwrap(), json!(format!("{bits:04o}")));
        }
        for scalar in [json!(755), json!("0800"), json!("1777"), json!(""), json!("+7"), json!(6.5)] {
            let error = serde_json::from_value::<Templated<FileMode>>(scalar).unwrap_err();
            assert!(error.to_string().ends_with("hint: write it in quotes, as in `\"0755\"`"));
        }
    }
}
