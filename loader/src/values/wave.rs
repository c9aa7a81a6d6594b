//! WAVE, the text form of WIT values that `wasmtime run --invoke` reads and prints.
//!
//! The grammar is `wasm-wave`'s. Its bridge to wasmtime's values would bring a WIT parser into the
//! loader, so values are built here from its syntax tree, and printed by the same rules.

use std::fmt::Write;

use wasm_wave::ast::{Node, NodeType};
use wasm_wave::lex::Keyword;
use wasm_wave::untyped::UntypedValue;
use wasmtime::component::{Type, Val};

use super::describe;

/// Reads an argument. Where a string is expected, text that does not start with a quote is taken as it
/// is; where a char is expected, a single character may stand without quotes.
///
/// # Errors
/// What was expected and what is wrong with the text, lower case.
pub fn parse(text: &str, ty: &Type) -> Result<Val, String> {
    let trimmed = text.trim_start();
    match ty {
        Type::String if !trimmed.starts_with('"') => return Ok(Val::String(text.to_owned())),
        Type::Char if !trimmed.starts_with('\'') => {
            let mut chars = text.chars();
            if let (Some(only), None) = (chars.next(), chars.next()) {
                return Ok(Val::Char(only));
            }
        }
        _ => {}
    }
    let untyped = UntypedValue::parse(text).map_err(|error| format!("expected {}: {error}", describe(ty)))?;
    value(untyped.node(), ty, text)
}

/// The value that `node` of `src` is, as a `ty`.
fn value(node: &Node, ty: &Type, src: &str) -> Result<Val, String> {
    let wrong = || format!("expected {}, found `{}`", describe(ty), &src[node.span()]);
    Ok(match ty {
        Type::Bool => Val::Bool(node.as_bool().map_err(|_| wrong())?),
        Type::S8 => Val::S8(number(node, ty, src)?),
        Type::U8 => Val::U8(number(node, ty, src)?),
        Type::S16 => Val::S16(number(node, ty, src)?),
        Type::U16 => Val::U16(number(node, ty, src)?),
        Type::S32 => Val::S32(number(node, ty, src)?),
        Type::U32 => Val::U32(number(node, ty, src)?),
        Type::S64 => Val::S64(number(node, ty, src)?),
        Type::U64 => Val::U64(number(node, ty, src)?),
        Type::Float32 => Val::Float32(number(node, ty, src)?),
        Type::Float64 => Val::Float64(number(node, ty, src)?),
        Type::Char => Val::Char(node.as_char(src).map_err(|_| wrong())?),
        Type::String => Val::String(node.as_str(src).map_err(|_| wrong())?.into_owned()),
        Type::List(list) => {
            let element = list.ty();
            let items = node.as_list().map_err(|_| wrong())?;
            Val::List(items.map(|item| value(item, &element, src)).collect::<Result<_, _>>()?)
        }
        Type::Tuple(tuple) => {
            let items = node.as_tuple().map_err(|_| wrong())?;
            if items.len() != tuple.types().len() {
                return Err(wrong());
            }
            let values = tuple.types().zip(items).map(|(ty, item)| value(item, &ty, src));
            Val::Tuple(values.collect::<Result<_, _>>()?)
        }
        Type::Record(record) => {
            let given: Vec<(&str, &Node)> = node.as_record(src).map_err(|_| wrong())?.collect();
            let unknown = given.iter().find(|(name, _)| !record.fields().any(|field| field.name == *name));
            if let Some((name, _)) = unknown {
                return Err(format!("unknown field `{name}`, expected {}", describe(ty)));
            }
            let field = |name: &str, ty: &Type| match given.iter().find(|(given, _)| *given == name) {
                Some((_, node)) => value(node, ty, src).map_err(|problem| format!("{name}: {problem}")),
                None if matches!(ty, Type::Option(_)) => Ok(Val::Option(None)),
                None => Err(format!("missing field `{name}`")),
            };
            let fields = record.fields().map(|f| Ok((f.name.to_owned(), field(f.name, &f.ty)?)));
            Val::Record(fields.collect::<Result<_, String>>()?)
        }
        Type::Variant(variant) => {
            let (name, payload) = node.as_variant(src).map_err(|_| wrong())?;
            let case = variant.cases().find(|case| case.name == name).ok_or_else(wrong)?;
            Val::Variant(name.to_owned(), side(name, payload, case.ty, src)?)
        }
        Type::Enum(cases) => {
            let name = node.as_enum(src).map_err(|_| wrong())?;
            if !cases.names().any(|case| case == name) {
                return Err(wrong());
            }
            Val::Enum(name.to_owned())
        }
        Type::Option(option) => match node.ty() {
            NodeType::OptionNone => Val::Option(None),
            NodeType::OptionSome => {
                let some = node.as_option().map_err(|_| wrong())?;
                Val::Option(side("some", some, Some(option.ty()), src)?)
            }
            _ if is_plain(&option.ty()) => Val::Option(Some(Box::new(value(node, &option.ty(), src)?))),
            _ => return Err(wrong()),
        },
        Type::Result(result) => match (node.as_result(), result.ok()) {
            (Ok(Ok(payload)), ok) => Val::Result(Ok(side("ok", payload, ok, src)?)),
            (Ok(Err(payload)), _) => Val::Result(Err(side("err", payload, result.err(), src)?)),
            (Err(_), Some(ok)) if is_plain(&ok) => Val::Result(Ok(Some(Box::new(value(node, &ok, src)?)))),
            (Err(_), _) => return Err(wrong()),
        },
        Type::Flags(flags) => {
            let names: Vec<&str> = node.as_flags(src).map_err(|_| wrong())?.collect();
            let bare = |name: &&str| name.trim_start_matches('%').to_owned();
            let names: Vec<String> = names.iter().map(bare).collect();
            if let Some(unknown) = names.iter().find(|name| !flags.names().any(|flag| flag == name.as_str()))
            {
                return Err(format!("unknown flag `{unknown}`, expected {}", describe(ty)));
            }
            Val::Flags(
                flags.names().filter(|flag| names.iter().any(|n| n == flag)).map(str::to_owned).collect(),
            )
        }
        _ => return Err(format!("{} has no text form", describe(ty))),
    })
}

/// Whether a value of `ty` may stand for `some` or `ok` of itself without being mistaken.
fn is_plain(ty: &Type) -> bool {
    !matches!(ty, Type::Option(_) | Type::Result(_))
}

fn number<T: std::str::FromStr>(node: &Node, ty: &Type, src: &str) -> Result<T, String> {
    node.as_number(src).map_err(|_| match node.ty() {
        NodeType::Number => format!("`{}` is out of range of {}", &src[node.span()], describe(ty)),
        _ => format!("expected {}, found `{}`", describe(ty), &src[node.span()]),
    })
}

fn side(name: &str, payload: Option<&Node>, ty: Option<Type>, src: &str) -> Result<Option<Box<Val>>, String> {
    match (payload, ty) {
        (Some(node), Some(ty)) => Ok(Some(Box::new(value(node, &ty, src)?))),
        (None, None) => Ok(None),
        (None, Some(ty)) => Err(format!("`{name}` needs a payload of type {}", describe(&ty))),
        (Some(_), None) => Err(format!("`{name}` has no payload")),
    }
}

/// Prints a value.
///
/// # Errors
/// For handles, which have no text form.
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
        Val::Float32(value) if value.is_nan() => out.push_str("nan"),
        Val::Float64(value) if value.is_nan() => out.push_str("nan"),
        Val::Float32(value) => push(out, value),
        Val::Float64(value) => push(out, value),
        Val::Char(value) => {
            out.push('\'');
            write_char(out, *value);
            out.push('\'');
        }
        Val::String(text) => {
            out.push('"');
            text.chars().for_each(|char| write_char(out, char));
            out.push('"');
        }
        Val::List(values) => write_items(out, '[', values, ']')?,
        Val::Tuple(values) => write_items(out, '(', values, ')')?,
        Val::Record(fields) => {
            out.push('{');
            let mut first = true;
            for (name, value) in fields.iter().filter(|(_, value)| !matches!(value, Val::Option(None))) {
                if !std::mem::take(&mut first) {
                    out.push_str(", ");
                }
                out.push_str(name);
                out.push_str(": ");
                write_value(out, value)?;
            }
            // Tells a record without fields from flags.
            out.push_str(if first { ":}" } else { "}" });
        }
        Val::Variant(name, payload) => write_case(out, name, payload.as_deref())?,
        Val::Enum(name) => write_case(out, name, None)?,
        Val::Option(None) => out.push_str("none"),
        Val::Option(Some(value)) => write_payload(out, "some", Some(value))?,
        Val::Result(Ok(value)) => write_payload(out, "ok", value.as_deref())?,
        Val::Result(Err(value)) => write_payload(out, "err", value.as_deref())?,
        Val::Flags(names) => {
            out.push('{');
            out.push_str(&names.join(", "));
            out.push('}');
        }
        _ => return Err("handles have no text form".into()),
    }
    Ok(())
}

fn push(out: &mut String, value: impl std::fmt::Display) {
    // Writing to a string can't fail.
    let _ = write!(out, "{value}");
}

fn write_char(out: &mut String, char: char) {
    if "\\\"'\t\r\n".contains(char) {
        push(out, char.escape_default());
    } else if char.is_control() {
        push(out, char.escape_unicode());
    } else {
        push(out, char.escape_debug());
    }
}

fn write_items(out: &mut String, open: char, values: &[Val], close: char) -> Result<(), String> {
    out.push(open);
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write_value(out, value)?;
    }
    out.push(close);
    Ok(())
}

/// A case of the guest's own, which may have the name of a keyword.
fn write_case(out: &mut String, name: &str, payload: Option<&Val>) -> Result<(), String> {
    if Keyword::decode(name).is_some() {
        out.push('%');
    }
    write_payload(out, name, payload)
}

fn write_payload(out: &mut String, name: &str, payload: Option<&Val>) -> Result<(), String> {
    out.push_str(name);
    if let Some(payload) = payload {
        out.push('(');
        write_value(out, payload)?;
        out.push(')');
    }
    Ok(())
}
