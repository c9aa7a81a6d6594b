//! Fields to types: what does not fit, what is missing, what is not known.

use registry_schema::authored::Definition;
use registry_schema::authored::scalar::has_placeholder;
use registry_schema::decode::{DecodeError, UnknownField};
use registry_schema::document::{Node, Span, Value};

use crate::diagnostic::{Code, Diagnostics};
use crate::link::{self, Unmet};
use crate::raw::RawEntry;
use crate::tree;
use registry_schema::suggest::nearest;

/// Most faults of one entry that are looked for.
const FAULTS_MAX: usize = 16;

/// Fields that restrict: a misspelt one must not be dropped.
const RESTRICTING: [&str; 17] = [
    "client_auth",
    "client_ca",
    "conditions",
    "effect",
    "groups",
    "imports_missing",
    "max_body_bytes",
    "middleware",
    "mode",
    "network",
    "policies",
    "policy",
    "post_middleware",
    "post_options",
    "read_only",
    "security",
    "tls",
];

/// What came of an entry's fields.
pub(crate) struct Typed {
    /// The fields, typed.
    pub(crate) definition: Definition,
    /// Why the entry can't run, if a field that restricts is not understood.
    pub(crate) unavailable: Option<String>,
}

/// Reads the fields of `entry` as its kind has them; `None` when they don't fit. A field that waits for
/// the value of a requirement, of `unmet`, makes the entry unavailable.
pub(crate) fn read(entry: &RawEntry, unmet: &Unmet, diagnostics: &mut Diagnostics) -> Option<Typed> {
    let mut node = entry.data.clone();
    without_builtins(entry, &mut node);
    let mut removed: Vec<String> = Vec::new();
    for _ in 0..FAULTS_MAX {
        match Definition::decode(&entry.kind, &node) {
            Ok((_, unknown)) if !removed.is_empty() => {
                unknown_fields(entry, &unknown, diagnostics);
                return None;
            }
            Ok((definition, unknown)) => {
                let unavailable = unknown_fields(entry, &unknown, diagnostics);
                return Some(Typed { definition, unavailable });
            }
            Err(error) => {
                if let Some(field) = missing_field(&error) {
                    let path = tree::join(&error.path, field);
                    if let Some(requirement) = unmet.get(&(entry.id.clone(), path)) {
                        let unavailable = Some(link::waits_for(requirement));
                        return Some(Typed { definition: Definition::Data, unavailable });
                    }
                    // What was taken out below is missing now: that is no fault of its own.
                    if !removed.contains(&tree::join(&error.path, field)) {
                        missing(entry, &error.path, field, diagnostics);
                    }
                    return None;
                }
                wrong(entry, "", &error, diagnostics);
                // Without the field the next fault shows, if there is one.
                if !tree::remove(&mut node, &error.path) {
                    return None;
                }
                removed.push(error.path);
            }
        }
    }
    None
}

/// `:registry` and its like name modules of the runtime, not entries.
fn without_builtins(entry: &RawEntry, node: &mut Node) {
    if !entry.kind.ends_with(".lua") {
        return;
    }
    let Value::Map(fields) = &mut node.value else { return };
    for (_, imports) in fields.iter_mut().filter(|(key, _)| key.name == "imports") {
        if let Value::Map(imports) = &mut imports.value {
            imports.retain(|(_, value)| !value.as_str().is_some_and(|text| text.starts_with(':')));
        }
    }
}

/// The field that serde missed.
fn missing_field(error: &DecodeError) -> Option<&str> {
    error.message.strip_prefix("missing field `")?.strip_suffix('`')
}

/// Reports a required field that is missing in the mapping at `path`.
pub(crate) fn missing(entry: &RawEntry, path: &str, field: &str, diagnostics: &mut Diagnostics) {
    let node = tree::get(&entry.data, path);
    let keys = match node.map(|node| &node.value) {
        Some(Value::Map(pairs)) => pairs.iter().map(|(key, _)| key.name.as_str()).collect(),
        _ => Vec::new(),
    };
    let near = nearest(field, keys).map(|near| format!("`{near}` may be meant to be `{field}`"));
    let place = if path.is_empty() {
        entry.place()
    } else {
        entry.place_at(path, node.map_or_else(Span::default, |node| node.span))
    };
    let within = if path.is_empty() { entry.kind.clone() } else { path.to_owned() };
    let message = format!("`{within}` needs the field `{field}`");
    let mut diagnostic = entry.report(Code::FieldMissing, message).at(place);
    diagnostic.help = near;
    diagnostics.push(diagnostic);
}

/// Reports a value that does not fit, found by reading the node at `base`.
pub(crate) fn wrong(entry: &RawEntry, base: &str, error: &DecodeError, diagnostics: &mut Diagnostics) {
    let path = match (base, error.path.as_str()) {
        ("", path) => path.to_owned(),
        (base, "") => base.to_owned(),
        (base, path) => tree::join(base, path),
    };
    let place = entry.place_at(&path, error.span.unwrap_or_default());
    let (text, hint) = match error.message.split_once("\nhint: ") {
        Some((text, hint)) => (text, Some(hint.to_owned())),
        None => (error.message.as_str(), None),
    };
    let message = if path.is_empty() { text.to_owned() } else { format!("`{path}`: {text}") };
    let mut diagnostic = entry.report(Code::WrongType, message).at(place);
    diagnostic.help = hint.or_else(|| similar_variant(text));
    diagnostics.push(diagnostic);
}

/// Did-you-mean for the message "found `x`, expected one of `y`, `z`".
fn similar_variant(message: &str) -> Option<String> {
    let (found, known) = message.strip_prefix("found `")?.split_once("`, expected one of `")?;
    nearest(found, known.trim_end_matches('`').split("`, `")).map(|near| format!("did you mean `{near}`?"))
}

/// Reports fields that the kind does not have; says why the entry can't run if one of them restricts.
fn unknown_fields(
    entry: &RawEntry,
    unknown: &[UnknownField],
    diagnostics: &mut Diagnostics,
) -> Option<String> {
    let mut unavailable = None;
    for field in unknown {
        if field.path.split('.').next_back() == Some("limits") {
            unknown_limit(entry, &field.path, field, diagnostics);
            continue;
        }
        let path = tree::join(&field.path, &field.name);
        let near = nearest(&field.name, field.known.iter().copied());
        let within = if field.path.is_empty() { &entry.kind } else { &field.path };
        if field.path.is_empty() && near == Some("limits") {
            let message = format!("`{}` has no field `{}`", entry.kind, field.name);
            let place = entry.place_at(&path, field.span);
            diagnostics
                .push(entry.report(Code::UnknownLimit, message).at(place).help("did you mean `limits`?"));
            continue;
        }
        let restricts = restricts(entry, &field.path) || near.is_some_and(|near| RESTRICTING.contains(&near));
        let (code, message) = if restricts {
            let reason = format!("the field `{path}` is not understood");
            unavailable.get_or_insert(reason);
            (
                Code::UnknownRestriction,
                format!("`{within}` has no field `{}`, so `{}` is unavailable", field.name, entry.id),
            )
        } else {
            (Code::UnknownField, format!("`{within}` has no field `{}`", field.name))
        };
        let mut diagnostic = entry.report(code, message).at(entry.place_at(&path, field.span));
        diagnostic.help = near.map(|near| format!("did you mean `{near}`?"));
        diagnostics.push(diagnostic);
    }
    unavailable
}

/// Reports a limit that is not known, in the block at `path`.
pub(crate) fn unknown_limit(
    entry: &RawEntry,
    path: &str,
    field: &UnknownField,
    diagnostics: &mut Diagnostics,
) {
    let message = format!("`{path}` has no field `{}`", field.name);
    let help = match nearest(&field.name, field.known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let known: Vec<_> = field.known.iter().map(|name| format!("`{name}`")).collect();
            format!("limits are {}", known.join(", "))
        }
    };
    let place = entry.place_at(&tree::join(path, &field.name), field.span);
    diagnostics.push(entry.report(Code::UnknownLimit, message).at(place).help(help));
}

/// Whether what stands in the mapping at `path` restricts what is allowed.
fn restricts(entry: &RawEntry, path: &str) -> bool {
    entry.kind == "security.policy"
        || path.split('.').any(|step| matches!(step, "tls" | "security" | "network" | "policy"))
}

/// Fields that the build needs, by kind: they say what is compiled.
fn build_fields(kind: &str) -> &'static [&'static str] {
    match kind {
        "function.wat" | "function.wasm" | "process.wasm" => {
            &["source", "fs", "path", "hash", "method", "wit", "imports", "adapters", "preinit"]
        }
        "function.lua" | "process.lua" | "library.lua" => &["source", "method", "modules", "imports"],
        "fs.embed" => &["directory"],
        _ => &[],
    }
}

/// Reports placeholders in fields that the build needs, and unescapes `$${` there. `included` says
/// which values are the content of files, where `${` is theirs. True if there is none.
pub(crate) fn without_placeholders(
    entry: &mut RawEntry,
    included: impl Fn(&str) -> bool,
    diagnostics: &mut Diagnostics,
) -> bool {
    let mut found = Vec::new();
    for field in build_fields(&entry.kind) {
        let Value::Map(pairs) = &mut entry.data.value else { continue };
        let Some((_, node)) = pairs.iter_mut().find(|(key, _)| key.name == *field) else { continue };
        tree::strings(node, field, &mut |path, _, text| {
            if included(path) {
                return;
            }
            // In code only the full form is taken for a placeholder.
            let start = match *field {
                "source" | "wit" => full_placeholder(text),
                _ => has_placeholder(text).then_some(0),
            };
            match start {
                Some(start) => found.push((path.to_owned(), position(text, start))),
                None if text.contains("$${") => *text = text.replace("$${", "${"),
                None => {}
            }
        });
    }
    for (path, (line, column)) in &found {
        let message = format!("`{path}` holds a placeholder, and the build needs its value");
        let help = "write the value, or set it with `override` in `.wippy.yaml`";
        let place = match tree::get(&entry.data, path) {
            Some(node) if node.span.line > 0 && *line > 1 => entry.place().inside(node, *line, *column),
            _ => entry.place_of(path),
        };
        diagnostics.push(entry.report(Code::PlaceholderAtBuild, message).at(place).help(help));
    }
    found.is_empty()
}

/// Where `${env:` begins, unless it is escaped.
fn full_placeholder(text: &str) -> Option<usize> {
    text.match_indices("${env:").map(|(at, _)| at).find(|at| !text[..*at].ends_with('$'))
}

/// Line and column, both from 1, of a byte.
fn position(text: &str, byte: usize) -> (u32, u32) {
    let before = &text[..byte];
    let line = before.rsplit('\n').next().unwrap_or(before);
    let count = |n: usize| u32::try_from(n + 1).unwrap_or(u32::MAX);
    (count(before.matches('\n').count()), count(line.chars().count()))
}
