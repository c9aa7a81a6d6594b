//! The three spellings of `limits` of WebAssembly entries, made one.

use registry_schema::authored::scalar::{FromScalar, Templated};
use registry_schema::authored::wasm::{Limits, Wasm};
use registry_schema::decode;

use crate::diagnostic::{Code, Diagnostics};
use crate::fields;
use crate::raw::RawEntry;

/// Moves `options.limits` and `meta.options.limits` into `limits`; what is given twice must agree.
pub(crate) fn merge(raw: &RawEntry, wasm: &mut Wasm, diagnostics: &mut Diagnostics) {
    let mut spellings = vec![("limits", wasm.limits.take())];
    spellings.push(("options.limits", wasm.options.take().and_then(|options| options.limits)));
    spellings.push(("meta.options.limits", from_meta(raw, diagnostics)));
    let mut merged = Limits::default();
    let mut is_given = false;
    for (path, limits) in spellings.into_iter().filter_map(|(path, limits)| Some((path, limits?))) {
        is_given = true;
        let mut merger = Merger { raw, path, diagnostics };
        merger.field("max_execution_ms", &mut merged.max_execution_ms, limits.max_execution_ms);
        merger.field(
            "max_retained_memory_bytes",
            &mut merged.max_retained_memory_bytes,
            limits.max_retained_memory_bytes,
        );
        merger.field("max_open_sockets", &mut merged.max_open_sockets, limits.max_open_sockets);
        merger.field("socket_timeout_ms", &mut merged.socket_timeout_ms, limits.socket_timeout_ms);
        merger.field("max_memory_bytes", &mut merged.max_memory_bytes, limits.max_memory_bytes);
        merger.field("max_table_elements", &mut merged.max_table_elements, limits.max_table_elements);
        merger.field("max_instances", &mut merged.max_instances, limits.max_instances);
    }
    wasm.limits = is_given.then_some(merged);
}

fn from_meta(raw: &RawEntry, diagnostics: &mut Diagnostics) -> Option<Limits> {
    let path = "meta.options.limits";
    let node = crate::tree::get(&raw.meta, "options.limits")?;
    match decode::decode::<Limits>(node) {
        Ok((limits, unknown)) => {
            for field in unknown {
                fields::unknown_limit(raw, path, &field, diagnostics);
            }
            Some(limits)
        }
        Err(error) => {
            fields::wrong(raw, path, &error, diagnostics);
            None
        }
    }
}

struct Merger<'a> {
    raw: &'a RawEntry,
    path: &'a str,
    diagnostics: &'a mut Diagnostics,
}

impl Merger<'_> {
    fn field<T: FromScalar + PartialEq>(
        &mut self,
        name: &str,
        merged: &mut Option<Templated<T>>,
        given: Option<Templated<T>>,
    ) {
        let Some(given) = given else { return };
        match merged {
            None => *merged = Some(given),
            Some(first) if *first == given => {}
            Some(first) => {
                let path = format!("{}.{name}", self.path);
                let message = format!(
                    "`{path}` is {}, and `{name}` is already given as {}",
                    written(&given),
                    written(first)
                );
                let place = self.raw.place_of(&path);
                self.diagnostics
                    .push(self.raw.report(Code::LimitsDiffer, message).at(place).help("keep one of the two"));
            }
        }
    }
}

fn written<T: FromScalar>(value: &Templated<T>) -> String {
    match value {
        Templated::Value(value) => value.to_scalar().to_string(),
        Templated::Template(text) => format!("`{text}`"),
    }
}
