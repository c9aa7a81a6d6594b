//! What `$ref` leads to: places of a schema by its `$id`s and anchors (RFC 3986; JSON Schema 2020-12, core, 8.2).
//!
//! `$anchor`, `$dynamicAnchor` as a plain anchor, and `$id: "#name"` of earlier drafts name a place. Nothing is
//! fetched: what a reference means must be in the schema.

use std::collections::HashMap;

use serde_json::Value;

/// Keywords whose values are data, in which nothing is a schema.
const DATA: [&str; 4] = ["const", "default", "enum", "examples"];

/// Names in a schema.
#[derive(Debug, Default)]
pub(super) struct Resources {
    /// JSON pointers by what names them: `URI` or `URI#anchor`.
    places: HashMap<String, String>,
    /// The URI that references start from, by the JSON pointer of the schema that gives it.
    bases: HashMap<String, String>,
}

impl Resources {
    /// Those of `schema`.
    ///
    /// # Errors
    /// A name that two places have.
    pub(super) fn of(schema: &Value) -> Result<Self, String> {
        let mut resources = Self::default();
        resources.places.insert(String::new(), String::new());
        resources.add(schema, "", "")?;
        Ok(resources)
    }

    /// The JSON pointer that `reference` in the schema at `place` means.
    pub(super) fn find(&self, place: &str, reference: &str) -> Option<String> {
        let target = resolve(self.base(place), reference);
        let (document, fragment) = target.split_once('#').unwrap_or((&target, ""));
        if fragment.is_empty() || fragment.starts_with('/') {
            let fragment = percent_decoded(fragment)?;
            return self.places.get(document).map(|start| format!("{start}{fragment}"));
        }
        self.places.get(&target).cloned()
    }

    /// Whether a schema with an `$id` of its own lies inside another.
    pub(super) fn are_several(&self) -> bool {
        self.bases.keys().any(|place| !place.is_empty())
    }

    /// The URI that references at `place` start from: that of the innermost schema around it that has one.
    fn base(&self, mut place: &str) -> &str {
        loop {
            if let Some(base) = self.bases.get(place) {
                return base;
            }
            let Some((outer, _)) = place.rsplit_once('/') else { return "" };
            place = outer;
        }
    }

    fn add(&mut self, schema: &Value, place: &str, base: &str) -> Result<(), String> {
        match schema {
            Value::Object(fields) => {
                let text = |keyword| fields.get(keyword).and_then(Value::as_str);
                let mut base = base.to_owned();
                if let Some(id) = text("$id") {
                    let whole = resolve(&base, id);
                    let (uri, anchor) = whole.split_once('#').unwrap_or((&whole, ""));
                    if uri != base {
                        uri.clone_into(&mut base);
                        self.name(uri, place)?;
                        self.bases.insert(place.to_owned(), uri.to_owned());
                    }
                    if !anchor.is_empty() {
                        self.name(&whole, place)?;
                    }
                }
                for anchor in ["$anchor", "$dynamicAnchor"].into_iter().filter_map(text) {
                    self.name(&format!("{base}#{anchor}"), place)?;
                }
                for (key, value) in fields.iter().filter(|(key, _)| !DATA.contains(&key.as_str())) {
                    let step = key.replace('~', "~0").replace('/', "~1");
                    self.add(value, &format!("{place}/{step}"), &base)?;
                }
                Ok(())
            }
            Value::Array(items) => {
                let mut items = items.iter().enumerate();
                items.try_for_each(|(index, item)| self.add(item, &format!("{place}/{index}"), base))
            }
            _ => Ok(()),
        }
    }

    fn name(&mut self, name: &str, place: &str) -> Result<(), String> {
        match self.places.insert(name.to_owned(), place.to_owned()) {
            Some(other) if other != place => {
                Err(format!("at `#{place}`: `{name}` names the schema at `#{other}` already"))
            }
            _ => Ok(()),
        }
    }
}

/// `reference` as a URI, if it stands where references start from `base`.
fn resolve(base: &str, reference: &str) -> String {
    let (path, fragment) = reference.split_once('#').unwrap_or((reference, ""));
    let mut uri = match path {
        "" => base.to_owned(),
        path if has_scheme(path) => path.to_owned(),
        path => joined(base, path),
    };
    if !fragment.is_empty() {
        uri.push('#');
        uri.push_str(fragment);
    }
    uri
}

fn has_scheme(uri: &str) -> bool {
    let scheme = uri.split_once(':').map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.chars().all(|char| char.is_ascii_alphanumeric() || "+-.".contains(char))
    })
}

/// `relative`, which is not empty, against `base`.
fn joined(base: &str, relative: &str) -> String {
    let (scheme, rest) = match base.split_once(':') {
        Some((scheme, rest)) if has_scheme(base) => (format!("{scheme}:"), rest),
        _ => (String::new(), base),
    };
    if relative.starts_with("//") {
        return format!("{scheme}{relative}");
    }
    let path_start = match rest.strip_prefix("//") {
        Some(host) => 2 + host.find(['/', '?']).unwrap_or(host.len()),
        None => 0,
    };
    let (host, path) = rest.split_at(path_start);
    let path = path.split('?').next().unwrap_or(path);
    let path = match relative.chars().next() {
        Some('/') => relative.to_owned(),
        Some('?') => format!("{path}{relative}"),
        _ => match path.rsplit_once('/') {
            Some((folder, _)) => format!("{folder}/{relative}"),
            None if host.is_empty() => relative.to_owned(),
            None => format!("/{relative}"),
        },
    };
    format!("{scheme}{host}{}", without_dots(&path))
}

/// `path` without its steps `.` and `..`.
fn without_dots(path: &str) -> String {
    let (path, query) = path.find('?').map_or((path, ""), |at| path.split_at(at));
    let mut steps: Vec<&str> = Vec::new();
    let mut parts = path.split('/').peekable();
    while let Some(step) = parts.next() {
        match step {
            "." | ".." => {
                if step == ".." && steps.len() > 1 {
                    steps.pop();
                }
                if parts.peek().is_none() {
                    steps.push("");
                }
            }
            step => steps.push(step),
        }
    }
    steps.join("/") + query
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of RFC 3986, 5.4, with two bases of our own.
    #[test]
    fn references_are_resolved_as_the_standard_says() {
        let base = "http://a/b/c/d;p?q";
        for (reference, expected) in [
            ("g:h", "g:h"),
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q#s"),
            ("g#s", "http://a/b/c/g#s"),
            ("..", "http://a/b/"),
            ("../..", "http://a/"),
            ("../../../g", "http://a/g"),
            ("", base),
        ] {
            assert_eq!(resolve(base, reference), expected, "{reference}");
        }
        assert_eq!(resolve("http://a", "g"), "http://a/g");
        assert_eq!(resolve("", "g#s"), "g#s");
        assert_eq!(resolve("urn:uuid:1", "#/x"), "urn:uuid:1#/x");
    }
}
