//! Format numbers. The authored format and the manifest count separately, and each is read before
//! anything else of its file.

use serde::Deserialize;

/// The version of definition files that this project reads (`version:`; left out means this one).
pub const AUTHORED_VERSION: &str = "1.0";

/// The format of `manifest.json` that this project writes and reads.
pub const MANIFEST_FORMAT: u64 = 3;

/// Reads nothing but the format number of a manifest.
///
/// # Errors
/// When the text is no JSON object with a number under `format`.
pub fn manifest_format(text: &str) -> Result<u64, serde_json::Error> {
    #[derive(Deserialize)]
    struct Probe {
        format: u64,
    }
    serde_json::from_str::<Probe>(text).map(|probe| probe.format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_is_read_alone() {
        assert_eq!(manifest_format(r#"{"format": 9, "body": {"unknown": [1]}}"#).unwrap(), 9);
        assert!(manifest_format("{}").is_err());
        assert!(manifest_format(r#"{"format": "1"}"#).is_err());
    }
}
