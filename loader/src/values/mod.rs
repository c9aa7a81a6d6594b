//! WIT values as text: WAVE for people, JSON for programs.

pub mod json;
pub mod wave;

use wasmtime::component::{Type, Val};

/// Whether `value` is of type `ty`; the message names the path of the first part that is not.
///
/// # Errors
/// Lower case: the path, what was expected and what was found.
pub(crate) fn check(path: &str, value: &Val, ty: &Type) -> Result<(), String> {
    let each = |values: &[Val], ty: &Type| {
        values.iter().enumerate().try_for_each(|(index, item)| check(&format!("{path}[{index}]"), item, ty))
    };
    match (ty, value) {
        (Type::Bool, Val::Bool(_))
        | (Type::S8, Val::S8(_))
        | (Type::U8, Val::U8(_))
        | (Type::S16, Val::S16(_))
        | (Type::U16, Val::U16(_))
        | (Type::S32, Val::S32(_))
        | (Type::U32, Val::U32(_))
        | (Type::S64, Val::S64(_))
        | (Type::U64, Val::U64(_))
        | (Type::Float32, Val::Float32(_))
        | (Type::Float64, Val::Float64(_))
        | (Type::Char, Val::Char(_))
        | (Type::String, Val::String(_))
        | (Type::Option(_), Val::Option(None)) => Ok(()),
        (Type::List(list), Val::List(values)) => each(values, &list.ty()),
        (Type::Record(record), Val::Record(fields)) => {
            if record.fields().len() != fields.len() {
                return Err(mismatch(path, ty, value));
            }
            record.fields().zip(fields).try_for_each(|(field, (name, value))| {
                if field.name != name {
                    return Err(format!("{path}: expected field `{}`, found `{name}`", field.name));
                }
                check(&format!("{path}.{name}"), value, &field.ty)
            })
        }
        (Type::Tuple(tuple), Val::Tuple(values)) if tuple.types().len() == values.len() => tuple
            .types()
            .zip(values)
            .enumerate()
            .try_for_each(|(index, (ty, value))| check(&format!("{path}.{index}"), value, &ty)),
        (Type::Variant(variant), Val::Variant(name, payload)) => {
            match (variant.cases().find(|case| case.name == name), payload) {
                (Some(case), payload) => match (case.ty, payload) {
                    (None, None) => Ok(()),
                    (Some(ty), Some(value)) => check(&format!("{path}.{name}"), value, &ty),
                    (Some(_), None) => Err(format!("{path}: case `{name}` needs a payload")),
                    (None, Some(_)) => Err(format!("{path}: case `{name}` has no payload")),
                },
                (None, _) => Err(format!("{path}: unknown case `{name}`")),
            }
        }
        (Type::Enum(cases), Val::Enum(name)) => match cases.names().any(|case| case == name) {
            true => Ok(()),
            false => Err(format!("{path}: unknown case `{name}`")),
        },
        (Type::Option(option), Val::Option(Some(value))) => check(path, value, &option.ty()),
        (Type::Result(result), Val::Result(value)) => {
            let (side, ty, value) = match value {
                Ok(value) => ("ok", result.ok(), value),
                Err(value) => ("err", result.err(), value),
            };
            match (ty, value) {
                (None, None) => Ok(()),
                (Some(ty), Some(value)) => check(&format!("{path}.{side}"), value, &ty),
                (Some(_), None) => Err(format!("{path}: `{side}` needs a payload")),
                (None, Some(_)) => Err(format!("{path}: `{side}` has no payload")),
            }
        }
        (Type::Flags(flags), Val::Flags(names)) => {
            match names.iter().find(|name| !flags.names().any(|flag| flag == name.as_str())) {
                Some(name) => Err(format!("{path}: unknown flag `{name}`")),
                None => Ok(()),
            }
        }
        _ => Err(mismatch(path, ty, value)),
    }
}

fn mismatch(path: &str, ty: &Type, value: &Val) -> String {
    format!("{path}: expected {}, found {}", describe(ty), kind(value))
}

/// The type as WIT would spell it, one level deep.
pub(crate) fn describe(ty: &Type) -> String {
    match ty {
        Type::Bool => "bool".into(),
        Type::S8 => "s8".into(),
        Type::U8 => "u8".into(),
        Type::S16 => "s16".into(),
        Type::U16 => "u16".into(),
        Type::S32 => "s32".into(),
        Type::U32 => "u32".into(),
        Type::S64 => "s64".into(),
        Type::U64 => "u64".into(),
        Type::Float32 => "f32".into(),
        Type::Float64 => "f64".into(),
        Type::Char => "char".into(),
        Type::String => "string".into(),
        Type::List(list) => format!("list<{}>", describe(&list.ty())),
        Type::Option(option) => format!("option<{}>", describe(&option.ty())),
        Type::Record(record) => {
            let fields: Vec<&str> = record.fields().map(|field| field.name).collect();
            format!("record {{ {} }}", fields.join(", "))
        }
        Type::Tuple(tuple) => {
            let types: Vec<String> = tuple.types().map(|ty| describe(&ty)).collect();
            format!("tuple<{}>", types.join(", "))
        }
        Type::Variant(variant) => {
            let cases: Vec<&str> = variant.cases().map(|case| case.name).collect();
            format!("variant {{ {} }}", cases.join(", "))
        }
        Type::Enum(cases) => format!("enum {{ {} }}", cases.names().collect::<Vec<_>>().join(", ")),
        Type::Flags(flags) => format!("flags {{ {} }}", flags.names().collect::<Vec<_>>().join(", ")),
        Type::Result(_) => "result".into(),
        _ => "a handle".into(),
    }
}

fn kind(value: &Val) -> &'static str {
    match value {
        Val::Bool(_) => "bool",
        Val::S8(_) => "s8",
        Val::U8(_) => "u8",
        Val::S16(_) => "s16",
        Val::U16(_) => "u16",
        Val::S32(_) => "s32",
        Val::U32(_) => "u32",
        Val::S64(_) => "s64",
        Val::U64(_) => "u64",
        Val::Float32(_) => "f32",
        Val::Float64(_) => "f64",
        Val::Char(_) => "char",
        Val::String(_) => "string",
        Val::List(_) => "list",
        Val::Record(_) => "record",
        Val::Tuple(_) => "tuple",
        Val::Variant(..) => "variant",
        Val::Enum(_) => "enum",
        Val::Option(_) => "option",
        Val::Result(_) => "result",
        Val::Flags(_) => "flags",
        _ => "handle",
    }
}
