//! YAML as block collections. Every text that might be read as something else is in double quotes, whose
//! escapes are those of JSON.

use serde_json::Value;

/// The YAML text of a JSON text.
pub(super) fn from_json(json: &[u8]) -> Result<String, String> {
    let value = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let mut text = String::with_capacity(json.len() + json.len() / 4);
    match &value {
        Value::Array(items) if !items.is_empty() => write_block(&mut text, &value, 0),
        Value::Object(fields) if !fields.is_empty() => write_block(&mut text, &value, 0),
        value => {
            write_scalar(&mut text, value);
            text.push('\n');
        }
    }
    Ok(text)
}

/// Lines of a collection that is not empty.
fn write_block(text: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Array(items) => {
            for item in items {
                indent(text, depth);
                text.push('-');
                write_value(text, item, depth);
            }
        }
        Value::Object(fields) => {
            for (key, field) in fields {
                indent(text, depth);
                write_text(text, key);
                text.push(':');
                write_value(text, field, depth);
            }
        }
        _ => {}
    }
}

/// What stands behind `-` or `key:`.
fn write_value(text: &mut String, value: &Value, depth: usize) {
    let nested = match value {
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => false,
    };
    if nested {
        text.push('\n');
        write_block(text, value, depth + 1);
    } else {
        text.push(' ');
        write_scalar(text, value);
        text.push('\n');
    }
}

fn write_scalar(text: &mut String, value: &Value) {
    match value {
        Value::String(string) => write_text(text, string),
        value => text.push_str(&value.to_string()),
    }
}

fn write_text(text: &mut String, string: &str) {
    const RESERVED: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let plain = string.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_')
        && string.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte))
        && !RESERVED.iter().any(|reserved| string.eq_ignore_ascii_case(reserved));
    if plain {
        text.push_str(string);
    } else {
        text.push_str(&Value::from(string).to_string());
    }
}

fn indent(text: &mut String, depth: usize) {
    text.extend(std::iter::repeat_n("  ", depth));
}
