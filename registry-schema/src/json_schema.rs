//! The JSON Schema of definition files, made from the very types that read them, for editors.
//!
//! It is a schema of draft 7, which the YAML language servers know best. What is only known when a whole
//! registry is read (references, requirements that fill fields in, ranges) is the compiler's to check.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::authored::{CARRIED_KINDS, Definition};

/// Keys of every entry that are not fields of its kind.
const ENTRY_KEYS: [&str; 3] = ["name", "kind", "meta"];

/// The schema, with a line end behind it.
pub fn definition_file_schema() -> String {
    let mut text = serde_json::to_string_pretty(&schema()).expect("plain data always serializes");
    text.push('\n');
    text
}

fn schema() -> Value {
    let mut generator = SchemaSettings::draft07().into_generator();
    let kinds = Definition::schemas(&mut generator);
    let mut definitions: Map<String, Value> = generator.take_definitions(true);
    definitions.values_mut().for_each(close);
    let mut alternatives = Vec::new();
    for (kind, description, schema) in kinds {
        let mut fields = schema.to_value();
        close(&mut fields);
        drop_titles(&mut fields);
        let flat = with_entry_keys(&fields, kind, description);
        definitions.insert(format!("{kind} fields"), fields);
        definitions.insert(kind.to_owned(), flat);
        alternatives.push(alternative(kind));
    }
    definitions.insert("entry".to_owned(), entry(&alternatives));
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Definition file of a Wippy registry",
        "type": "object",
        "properties": {
            "version": {
                "description": "Version of the format.",
                "enum": ["1.0"],
            },
            "namespace": {
                "description": "The namespace of all entries of the file.",
                "type": "string",
                "minLength": 1,
            },
            "meta": {
                "description": "Merged under the `meta` of each entry.",
                "type": ["object", "null"],
            },
        },
        "required": ["namespace"],
        "if": { "required": ["entries"] },
        "then": {
            "properties": {
                "entries": {
                    "type": ["array", "null"],
                    "items": { "$ref": "#/definitions/entry" },
                },
            },
        },
        // One entry at the top of the file.
        "else": {
            "required": ["name", "kind"],
            "properties": { "kind": { "type": "string" } },
        },
        "definitions": definitions,
    })
}

/// Lets a struct have its fields alone, also those under a second name.
fn close(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) else { return };
    if let Some(requires) = properties.get("requires").cloned() {
        // The legacy spelling that the type reads as well.
        properties.insert("depends_on".to_owned(), requires);
    }
    object.insert("additionalProperties".to_owned(), Value::Bool(false));
}

/// Names of Rust types say nothing to an author.
fn drop_titles(schema: &mut Value) {
    if let Some(object) = schema.as_object_mut() {
        object.remove("title");
        object.remove("$schema");
    }
}

/// The schema of a whole entry whose fields stand beside its name and kind.
fn with_entry_keys(fields: &Value, kind: &str, description: &str) -> Value {
    let mut flat = fields.clone();
    if let Some(object) = flat.as_object_mut() {
        object.insert("description".to_owned(), Value::from(description));
        let properties = object.entry("properties").or_insert_with(|| json!({}));
        if let Some(properties) = properties.as_object_mut() {
            for key in ENTRY_KEYS {
                properties.insert(key.to_owned(), Value::Bool(true));
            }
            properties.insert("kind".to_owned(), json!({ "const": kind }));
        }
    }
    flat
}

/// What an entry of `kind` is, with its fields beside its name or in `data`.
fn alternative(kind: &str) -> Value {
    json!({
        "if": { "properties": { "kind": { "const": kind } }, "required": ["kind"] },
        "then": {
            "if": { "required": ["data"] },
            "then": {
                "properties": { "data": { "$ref": format!("#/definitions/{kind} fields") } },
            },
            "else": { "$ref": format!("#/definitions/{kind}") },
        },
    })
}

fn entry(alternatives: &[Value]) -> Value {
    let mut known: Vec<&str> = Definition::KINDS.iter().chain(CARRIED_KINDS).copied().collect();
    known.sort_unstable();
    json!({
        "type": "object",
        "properties": {
            "name": {
                "description": "Unique in the namespace.",
                "anyOf": [
                    { "type": "string", "minLength": 1 },
                    {
                        "type": "object",
                        "properties": { "ns": { "type": "string" }, "name": { "type": "string" } },
                        "required": ["name"],
                    },
                ],
            },
            "kind": {
                "description": "What the entry is; kinds that are not known are carried as data.",
                "anyOf": [{ "enum": known }, { "type": "string" }],
            },
            "meta": { "description": "Free.", "type": ["object", "null"] },
        },
        "required": ["name", "kind"],
        "allOf": alternatives,
    })
}
