//! JSON form of WIT values (`call --json`).
//!
//! Records are objects with kebab-case keys, variants `{"case": payload or null}`, enums their name,
//! flags an array of names in WIT order, options the value or `null` (nested ones `{"some": v}`),
//! results `{"ok": v}` or `{"err": e}`, tuples and lists arrays. 64-bit integers are exact, NaN and
//! infinities are the strings `"NaN"`, `"Infinity"` and `"-Infinity"`.

use std::fmt::Write;

use serde_json::Value;
use wasmtime::component::{Type, Val};

use super::describe;

/// Reads `json` as a value of type `ty`; `path` names it in errors.
///
/// # Errors
/// The path of the part that does not fit, what was expected and what was found.
pub fn parse(path: &str, json: &Value, ty: &Type) -> Result<Val, String> {
    let wrong = || format!("{path}: expected {}, found {}", describe(ty), found(json));
    Ok(match ty {
        Type::Bool => Val::Bool(json.as_bool().ok_or_else(wrong)?),
        Type::S8 => Val::S8(integer(path, json, ty)?),
        Type::U8 => Val::U8(integer(path, json, ty)?),
        Type::S16 => Val::S16(integer(path, json, ty)?),
        Type::U16 => Val::U16(integer(path, json, ty)?),
        Type::S32 => Val::S32(integer(path, json, ty)?),
        Type::U32 => Val::U32(integer(path, json, ty)?),
        Type::S64 => Val::S64(integer(path, json, ty)?),
        Type::U64 => Val::U64(integer(path, json, ty)?),
        Type::Float32 => Val::Float32(float(json).ok_or_else(wrong)? as f32),
        Type::Float64 => Val::Float64(float(json).ok_or_else(wrong)?),
        Type::Char => {
            let mut chars = json.as_str().ok_or_else(wrong)?.chars();
            match (chars.next(), chars.next()) {
                (Some(only), None) => Val::Char(only),
                _ => return Err(format!("{path}: expected a string of one character")),
            }
        }
        Type::String => Val::String(json.as_str().ok_or_else(wrong)?.to_owned()),
        Type::List(list) => {
            let items = json.as_array().ok_or_else(wrong)?;
            let element = list.ty();
            let parsed: Result<_, _> = items
                .iter()
                .enumerate()
                .map(|(index, item)| parse(&format!("{path}[{index}]"), item, &element))
                .collect();
            Val::List(parsed?)
        }
        Type::Tuple(tuple) => {
            let items = json.as_array().ok_or_else(wrong)?;
            if items.len() != tuple.types().len() {
                let (expected, found) = (tuple.types().len(), items.len());
                return Err(format!("{path}: expected an array of {expected}, found {found}"));
            }
            let parsed: Result<_, _> = tuple
                .types()
                .zip(items)
                .enumerate()
                .map(|(index, (ty, item))| parse(&format!("{path}[{index}]"), item, &ty))
                .collect();
            Val::Tuple(parsed?)
        }
        Type::Record(record) => {
            let object = json.as_object().ok_or_else(wrong)?;
            if let Some(unknown) = object.keys().find(|key| !record.fields().any(|f| f.name == key.as_str()))
            {
                return Err(format!("{path}: unknown field `{unknown}`, expected {}", describe(ty)));
            }
            let parsed: Result<_, String> = record
                .fields()
                .map(|field| {
                    let value = match object.get(field.name) {
                        Some(value) => parse(&format!("{path}.{}", field.name), value, &field.ty)?,
                        None if matches!(field.ty, Type::Option(_)) => Val::Option(None),
                        None => return Err(format!("{path}: missing field `{}`", field.name)),
                    };
                    Ok((field.name.to_owned(), value))
                })
                .collect();
            Val::Record(parsed?)
        }
        Type::Variant(variant) => {
            let (name, payload) = single(json).ok_or_else(wrong)?;
            let case = variant.cases().find(|case| case.name == name);
            let case =
                case.ok_or_else(|| format!("{path}: unknown case `{name}`, expected {}", describe(ty)))?;
            let payload = side(&format!("{path}.{name}"), payload, case.ty)?;
            Val::Variant(name.to_owned(), payload)
        }
        Type::Enum(cases) => {
            let name = json.as_str().ok_or_else(wrong)?;
            if !cases.names().any(|case| case == name) {
                return Err(format!("{path}: unknown case `{name}`, expected {}", describe(ty)));
            }
            Val::Enum(name.to_owned())
        }
        Type::Flags(flags) => {
            let items = json.as_array().ok_or_else(wrong)?;
            let names: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            let names = names.ok_or_else(wrong)?;
            if let Some(unknown) = names.iter().find(|name| !flags.names().any(|flag| flag == **name)) {
                return Err(format!("{path}: unknown flag `{unknown}`, expected {}", describe(ty)));
            }
            let set = flags.names().filter(|flag| names.contains(flag));
            Val::Flags(set.map(str::to_owned).collect())
        }
        Type::Option(option) => match (json, option.ty()) {
            (Value::Null, _) => Val::Option(None),
            (json, inner @ Type::Option(_)) => {
                let some = json.as_object().filter(|object| object.len() == 1).and_then(|o| o.get("some"));
                let some = some.ok_or_else(|| format!("{path}: expected null or {{\"some\": …}}"))?;
                Val::Option(Some(Box::new(parse(path, some, &inner)?)))
            }
            (json, inner) => Val::Option(Some(Box::new(parse(path, json, &inner)?))),
        },
        Type::Result(result) => match single(json).ok_or_else(wrong)? {
            ("ok", payload) => Val::Result(Ok(side(&format!("{path}.ok"), payload, result.ok())?)),
            ("err", payload) => Val::Result(Err(side(&format!("{path}.err"), payload, result.err())?)),
            _ => return Err(format!("{path}: expected {{\"ok\": …}} or {{\"err\": …}}")),
        },
        _ => return Err(format!("{path}: {} has no JSON form", describe(ty))),
    })
}

/// The only pair of an object.
fn single(json: &Value) -> Option<(&str, &Value)> {
    let object = json.as_object().filter(|object| object.len() == 1)?;
    object.iter().next().map(|(name, payload)| (name.as_str(), payload))
}

/// The payload of a case: `null` where there is none.
fn side(path: &str, json: &Value, ty: Option<Type>) -> Result<Option<Box<Val>>, String> {
    match ty {
        Some(ty) => parse(path, json, &ty).map(|value| Some(Box::new(value))),
        None if json.is_null() => Ok(None),
        None => Err(format!("{path}: expected null, found {}", found(json))),
    }
}

fn integer<T: TryFrom<i128>>(path: &str, json: &Value, ty: &Type) -> Result<T, String> {
    let number = match json {
        Value::Number(number) => number
            .as_i64()
            .map(i128::from)
            .or_else(|| number.as_u64().map(i128::from))
            .or_else(|| number.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9e15).map(|f| f as i128)),
        _ => None,
    };
    let number = number.ok_or_else(|| format!("{path}: expected {}, found {}", describe(ty), found(json)))?;
    T::try_from(number).map_err(|_| format!("{path}: {number} is out of range of {}", describe(ty)))
}

fn float(json: &Value) -> Option<f64> {
    match json {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

fn found(json: &Value) -> String {
    match json {
        Value::Null => "null".into(),
        Value::Bool(value) => format!("{value}"),
        Value::Number(number) => format!("number {number}"),
        Value::String(_) => "a string".into(),
        Value::Array(_) => "an array".into(),
        Value::Object(_) => "an object".into(),
    }
}

/// Prints a value as JSON on one line.
///
/// # Errors
/// For handles, which have no JSON form.
pub fn print(value: &Val) -> Result<String, String> {
    let mut out = String::new();
    write_value(&mut out, value)?;
    Ok(out)
}

fn write_value(out: &mut String, value: &Val) -> Result<(), String> {
    match value {
        Val::Bool(value) => push(out, value),
        Val::S8(value) => push(out, value),
        Val::U8(value) => push(out, value),
        Val::S16(value) => push(out, value),
        Val::U16(value) => push(out, value),
        Val::S32(value) => push(out, value),
        Val::U32(value) => push(out, value),
        Val::S64(value) => push(out, value),
        Val::U64(value) => push(out, value),
        Val::Float32(value) => write_float(out, f64::from(*value), value),
        Val::Float64(value) => write_float(out, *value, value),
        Val::Char(value) => write_string(out, value.encode_utf8(&mut [0; 4])),
        Val::String(text) | Val::Enum(text) => write_string(out, text),
        Val::List(values) | Val::Tuple(values) => {
            write_items(out, '[', values, ']', write_value)?;
        }
        Val::Flags(names) => {
            write_items(out, '[', names, ']', |out, name| {
                write_string(out, name);
                Ok(())
            })?;
        }
        Val::Record(fields) => write_items(out, '{', fields, '}', |out, (name, value)| {
            write_string(out, name);
            out.push(':');
            write_value(out, value)
        })?,
        Val::Variant(name, payload) => write_case(out, name, payload.as_deref())?,
        Val::Result(Ok(payload)) => write_case(out, "ok", payload.as_deref())?,
        Val::Result(Err(payload)) => write_case(out, "err", payload.as_deref())?,
        Val::Option(None) => out.push_str("null"),
        Val::Option(Some(inner)) => match &**inner {
            nested @ Val::Option(_) => write_case(out, "some", Some(nested))?,
            plain => write_value(out, plain)?,
        },
        _ => return Err("handles have no JSON form".into()),
    }
    Ok(())
}

fn push(out: &mut String, value: impl std::fmt::Display) {
    // Writing to a string can't fail.
    let _ = write!(out, "{value}");
}

/// Floats keep their shortest form; whole numbers keep a fraction so that they read back as floats.
fn write_float(out: &mut String, value: f64, shortest: &(impl std::fmt::Debug + ?Sized)) {
    if value.is_nan() {
        out.push_str("\"NaN\"");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" });
    } else {
        let _ = write!(out, "{shortest:?}");
    }
}

fn write_string(out: &mut String, text: &str) {
    out.push_str(&Value::from(text).to_string());
}

fn write_items<T>(
    out: &mut String,
    open: char,
    items: &[T],
    close: char,
    mut each: impl FnMut(&mut String, &T) -> Result<(), String>,
) -> Result<(), String> {
    out.push(open);
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        each(out, item)?;
    }
    out.push(close);
    Ok(())
}

fn write_case(out: &mut String, name: &str, payload: Option<&Val>) -> Result<(), String> {
    out.push('{');
    write_string(out, name);
    out.push(':');
    match payload {
        Some(payload) => write_value(out, payload)?,
        None => out.push_str("null"),
    }
    out.push('}');
    Ok(())
}
