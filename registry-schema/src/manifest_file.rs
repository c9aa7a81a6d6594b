//! The body of `manifest.json`: written with one record per line, read record by record.
//!
//! A loader that serves one call out of 10,000 entries must not read all of them. So the body has a
//! fixed layout, which the digest covers: the head on the first line, then the artifacts and the
//! entries, each one JSON object on a line of its own, sorted by their key. Opening checks the digest
//! and finds the line ends; a record is found by binary search and parsed when it is asked for.
//! To every other reader the file is plain JSON.

use std::cmp::Ordering;
use std::ops::Range;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::digest::Digest;
use crate::envelope::{Envelope, ManifestError, malformed};
use crate::ids::EntryId;
use crate::manifest::{Artifact, Body, Entry, Head};
use crate::profile::{Profile, Target};
use crate::signature::Signature;

/// Lines between the sections of a body.
const TO_ARTIFACTS: &str = ",\"artifacts\":[";
const TO_ENTRIES: &str = "],\"entries\":[";
const END: &str = "]}";

/// A manifest whose digest was checked; its records are read when they are asked for.
#[derive(Debug)]
pub struct Manifest {
    text: String,
    digest: String,
    signature: Option<Signature>,
    head: Head,
    artifacts: Lines,
    entries: Lines,
}

/// The lines of one section, by their place in the body.
type Lines = Vec<Range<usize>>;

impl Manifest {
    /// Reads `manifest.json`, whoever signed it.
    ///
    /// # Errors
    /// Those of [`Envelope::read`] and [`Manifest::open`].
    pub fn read(bytes: Vec<u8>) -> Result<Self, ManifestError> {
        Self::open(Envelope::read(bytes)?)
    }

    /// Reads the head of a manifest whose digest was checked, and finds the records.
    ///
    /// # Errors
    /// When the body is malformed.
    pub fn open(envelope: Envelope) -> Result<Self, ManifestError> {
        let Envelope { text, body, digest, signature } = envelope;
        let sections = Sections::find(&text, body.clone());
        // Written by other means: allowed, only slower.
        let sections = sections.or_else(|_| Sections::scan(&text, body))?;
        let Sections { head, artifacts, entries } = sections;
        Ok(Self { text, digest, signature, head, artifacts, entries })
    }

    /// The digest of the body, `blake3:` and 64 hexadecimal digits.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Its signature, which nobody may have checked.
    pub fn signature(&self) -> Option<&Signature> {
        self.signature.as_ref()
    }

    /// What concerns the bundle as a whole.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// How many artifacts there are.
    pub fn artifact_count(&self) -> usize {
        self.artifacts.len()
    }

    /// How many entries there are.
    pub fn entry_count(&self) -> usize {
        self.entries.len()
    }

    /// The entry of `id`.
    ///
    /// # Errors
    /// When a record is malformed.
    pub fn entry(&self, id: &EntryId) -> Result<Option<Entry>, ManifestError> {
        self.find(&self.entries, |key: &EntryKey| key.id.cmp(id))
    }

    /// The artifact of `component` in `profile` for `target`.
    ///
    /// # Errors
    /// When a record is malformed.
    pub fn artifact(
        &self,
        component: Digest,
        profile: Profile,
        target: Target,
    ) -> Result<Option<Artifact>, ManifestError> {
        let wanted = ArtifactKey { component, profile, target };
        self.find(&self.artifacts, |key: &ArtifactKey| key.cmp(&wanted))
    }

    /// Every artifact, sorted.
    pub fn artifacts(&self) -> impl Iterator<Item = Result<Artifact, ManifestError>> + '_ {
        self.all(&self.artifacts)
    }

    /// Every entry, sorted by id.
    pub fn entries(&self) -> impl Iterator<Item = Result<Entry, ManifestError>> + '_ {
        self.all(&self.entries)
    }

    /// The entries in whose records `text` stands, sorted by id. The others are not parsed.
    pub fn entries_with<'a>(
        &'a self,
        text: &'a str,
    ) -> impl Iterator<Item = Result<Entry, ManifestError>> + 'a {
        let lines = self.entries.iter().map(|line| &self.text[line.clone()]);
        lines
            .filter(move |line| line.contains(text))
            .map(|line| serde_json::from_str(line).map_err(malformed))
    }

    /// Everything.
    ///
    /// # Errors
    /// When a record is malformed.
    pub fn body(&self) -> Result<Body, ManifestError> {
        Ok(Body {
            head: self.head.clone(),
            artifacts: self.artifacts().collect::<Result<_, _>>()?,
            entries: self.entries().collect::<Result<_, _>>()?,
        })
    }

    fn all<T: DeserializeOwned>(
        &self,
        lines: &[Range<usize>],
    ) -> impl Iterator<Item = Result<T, ManifestError>> {
        lines.iter().map(|line| serde_json::from_str(&self.text[line.clone()]).map_err(malformed))
    }

    /// Binary search; `order` compares a record's key with the wanted one.
    fn find<K: DeserializeOwned, T: DeserializeOwned>(
        &self,
        lines: &[Range<usize>],
        order: impl Fn(&K) -> Ordering,
    ) -> Result<Option<T>, ManifestError> {
        let (mut low, mut high) = (0, lines.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let line = &self.text[lines[middle].clone()];
            match order(&serde_json::from_str(line).map_err(malformed)?) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => return serde_json::from_str(line).map(Some).map_err(malformed),
            }
        }
        Ok(None)
    }
}

/// What entries are sorted by.
#[derive(Deserialize)]
struct EntryKey {
    id: EntryId,
}

/// What artifacts are sorted by.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct ArtifactKey {
    component: Digest,
    profile: Profile,
    target: Target,
}

/// The parts of a body, by their place in the text.
struct Sections {
    head: Head,
    artifacts: Lines,
    entries: Lines,
}

impl Sections {
    /// Those of a body in the fixed layout.
    fn find(text: &str, body: Range<usize>) -> Result<Self, ManifestError> {
        let mut lines = LineEnds { text, at: body.start, end: body.end };
        let first = lines.next().ok_or_else(|| malformed("empty"))?;
        let head = text[first].strip_prefix("{\"head\":").ok_or_else(|| malformed("no head"))?;
        let head = serde_json::from_str(head).map_err(malformed)?;
        lines.expect(TO_ARTIFACTS)?;
        let artifacts = lines.until(TO_ENTRIES)?;
        let entries = lines.until(END)?;
        if lines.at < body.end {
            return Err(malformed("more after the end"));
        }
        Ok(Self { head, artifacts, entries })
    }

    /// Those of a body in any layout and order.
    fn scan(text: &str, body: Range<usize>) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Records<'a> {
            head: Head,
            #[serde(borrow)]
            artifacts: Vec<&'a RawValue>,
            #[serde(borrow)]
            entries: Vec<&'a RawValue>,
        }
        fn sorted<K: DeserializeOwned, O: Ord>(
            text: &str,
            records: &[&RawValue],
            key: impl Fn(K) -> O,
        ) -> Result<Lines, ManifestError> {
            let mut places = Vec::with_capacity(records.len());
            for record in records {
                let record = record.get();
                // A raw value is a part of `text`.
                let start = record.as_ptr() as usize - text.as_ptr() as usize;
                places.push((
                    key(serde_json::from_str(record).map_err(malformed)?),
                    start..start + record.len(),
                ));
            }
            places.sort_by(|(one, _), (other, _)| one.cmp(other));
            Ok(places.into_iter().map(|(_, place)| place).collect())
        }
        let records: Records<'_> = serde_json::from_str(&text[body]).map_err(malformed)?;
        Ok(Self {
            head: records.head,
            artifacts: sorted(text, &records.artifacts, |key: ArtifactKey| key)?,
            entries: sorted(text, &records.entries, |key: EntryKey| key.id)?,
        })
    }
}

struct LineEnds<'a> {
    text: &'a str,
    at: usize,
    end: usize,
}

impl Iterator for LineEnds<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        let rest = self.text.as_bytes().get(start..self.end).filter(|rest| !rest.is_empty())?;
        let len = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        self.at = (start + len + 1).min(self.end);
        Some(start..start + len)
    }
}

impl LineEnds<'_> {
    fn expect(&mut self, line: &str) -> Result<(), ManifestError> {
        match self.next() {
            Some(found) if &self.text[found.clone()] == line => Ok(()),
            _ => Err(malformed(format_args!("no line `{line}`"))),
        }
    }

    /// The records up to `line`, without the commas between them.
    fn until(&mut self, line: &str) -> Result<Lines, ManifestError> {
        let mut records = Vec::new();
        while let Some(found) = self.next() {
            let text = &self.text[found.clone()];
            if text == line {
                return Ok(records);
            }
            records.push(found.start..found.end - usize::from(text.ends_with(',')));
        }
        Err(malformed(format_args!("no line `{line}`")))
    }
}

/// The body in the layout that [`Manifest`] reads record by record.
pub(crate) fn body_text(body: &Body) -> Result<String, serde_json::Error> {
    fn section<T: serde::Serialize>(
        out: &mut String,
        line: &str,
        records: &[T],
    ) -> Result<(), serde_json::Error> {
        out.push_str(line);
        out.push('\n');
        for (index, record) in records.iter().enumerate() {
            out.push_str(&serde_json::to_string(record)?);
            out.push_str(if index + 1 < records.len() { ",\n" } else { "\n" });
        }
        Ok(())
    }
    let mut out = format!("{{\"head\":{}\n", serde_json::to_string(&body.head)?);
    section(&mut out, TO_ARTIFACTS, &body.artifacts)?;
    section(&mut out, TO_ENTRIES, &body.entries)?;
    out.push_str(END);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{body_digest, to_bytes};
    use crate::version::MANIFEST_FORMAT;

    fn body(entries: usize) -> Body {
        let mut entries: Vec<Entry> = (0..entries)
            .map(|n| Entry {
                id: format!("a:e{n}").parse().unwrap(),
                kind: "registry.entry".into(),
                meta: serde_json::Map::new(),
                unavailable: None,
                wasm: None,
                lua: None,
                module_folder: None,
                data: serde_json::json!({"text": "line\nend, \"quoted\""}),
            })
            .collect();
        entries.sort_by(|a, b| a.id.cmp(&b.id));
        Body { entries, ..Body::default() }
    }

    #[test]
    fn reads_back_record_by_record() {
        for count in [0, 1, 2, 100] {
            let body = body(count);
            let manifest = Manifest::read(to_bytes(&body).unwrap()).unwrap();
            assert_eq!(manifest.body().unwrap(), body);
            for entry in &body.entries {
                assert_eq!(manifest.entry(&entry.id).unwrap().as_ref(), Some(entry));
            }
            assert_eq!(manifest.entry(&"a:x".parse().unwrap()).unwrap(), None);
            assert_eq!(manifest.entry_count(), count);
        }
    }

    #[test]
    fn is_plain_json_to_others_and_from_others() {
        let body = body(3);
        let bytes = to_bytes(&body).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(serde_json::from_value::<Body>(json["body"].clone()).unwrap(), body);
        // `serde_json`'s objects are sorted by key, so the head comes last.
        let mut turned = json["body"].clone();
        turned["entries"].as_array_mut().unwrap().reverse();
        let text = turned.to_string();
        let digest = body_digest(&text);
        let other = format!(
            "{{\"signature\": null, \"body\": {text}, \"digest\": \"{digest}\", \"format\": {MANIFEST_FORMAT}}}"
        );
        let manifest = Manifest::read(other.into_bytes()).unwrap();
        assert_eq!((manifest.body().unwrap(), manifest.digest()), (body, digest.as_str()));
    }

    #[test]
    fn a_changed_body_is_refused_before_it_is_read() {
        let bytes = to_bytes(&body(2)).unwrap();
        for at in [90, bytes.len() / 2, bytes.len() - 4] {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            let error = Manifest::read(bytes).unwrap_err();
            assert!(!matches!(error, ManifestError::Format(_)), "{at}: {error}");
        }
        assert!(matches!(Manifest::read(br#"{"format": 1}"#.to_vec()), Err(ManifestError::Format(1))));
    }
}
