//! Signatures and types of exports and imports, as the manifest records them.
//!
//! The artifact is the truth at run time; these say what an entry offers without opening it: for
//! listings, for usage lines, for editors, and for comparing what was written with what was meant.
//! `Display` prints WIT.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A WIT type. Named types carry their name and are spelled out once in [`Signature::types`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Type {
    /// `bool`
    Bool,
    /// `s8`
    S8,
    /// `u8`
    U8,
    /// `s16`
    S16,
    /// `u16`
    U16,
    /// `s32`
    S32,
    /// `u32`
    U32,
    /// `s64`
    S64,
    /// `u64`
    U64,
    /// `f32`
    F32,
    /// `f64`
    F64,
    /// `char`
    Char,
    /// `string`
    String,
    /// `list<T>`
    List(Box<Type>),
    /// `option<T>`
    Option(Box<Type>),
    /// `tuple<T, U>`
    Tuple(Vec<Type>),
    /// `result<T, E>`, either side may be absent.
    Result(Option<Box<Type>>, Option<Box<Type>>),
    /// A record, variant, enum or flags type by name.
    Named(String),
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::S8 => f.write_str("s8"),
            Self::U8 => f.write_str("u8"),
            Self::S16 => f.write_str("s16"),
            Self::U16 => f.write_str("u16"),
            Self::S32 => f.write_str("s32"),
            Self::U32 => f.write_str("u32"),
            Self::S64 => f.write_str("s64"),
            Self::U64 => f.write_str("u64"),
            Self::F32 => f.write_str("f32"),
            Self::F64 => f.write_str("f64"),
            Self::Char => f.write_str("char"),
            Self::String => f.write_str("string"),
            Self::List(element) => write!(f, "list<{element}>"),
            Self::Option(some) => write!(f, "option<{some}>"),
            Self::Tuple(fields) => {
                f.write_str("tuple<")?;
                for (index, field) in fields.iter().enumerate() {
                    write!(f, "{}{field}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str(">")
            }
            Self::Result(None, None) => f.write_str("result"),
            Self::Result(Some(ok), None) => write!(f, "result<{ok}>"),
            Self::Result(None, Some(err)) => write!(f, "result<_, {err}>"),
            Self::Result(Some(ok), Some(err)) => write!(f, "result<{ok}, {err}>"),
            Self::Named(name) => f.write_str(name),
        }
    }
}

/// What a named type is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TypeDef {
    /// `record`, fields in order.
    Record(Vec<Param>),
    /// `variant`, cases in order, each with its payload if it has one.
    Variant(Vec<(String, Option<Type>)>),
    /// `enum`, cases in order.
    Enum(Vec<String>),
    /// `flags`, names in order.
    Flags(Vec<String>),
}

/// A named type and its definition.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NamedType {
    /// Kebab-case name, as [`Type::Named`] says it.
    pub name: String,
    /// What it is.
    pub definition: TypeDef,
}

impl fmt::Display for NamedType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (keyword, items): (_, Vec<String>) = match &self.definition {
            TypeDef::Record(fields) => {
                ("record", fields.iter().map(|field| format!("{}: {}", field.name, field.ty)).collect())
            }
            TypeDef::Variant(cases) => (
                "variant",
                cases
                    .iter()
                    .map(|(name, payload)| match payload {
                        Some(payload) => format!("{name}({payload})"),
                        None => name.clone(),
                    })
                    .collect(),
            ),
            TypeDef::Enum(cases) => ("enum", cases.clone()),
            TypeDef::Flags(names) => ("flags", names.clone()),
        };
        write!(f, "{keyword} {} {{ {} }}", self.name, items.join(", "))
    }
}

/// A parameter or a record field.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Param {
    /// Kebab-case name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub ty: Type,
}

/// The signature of one function.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Signature {
    /// Parameters in order.
    pub params: Vec<Param>,
    /// The result, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Type>,
    /// Whether it is an `async func`.
    #[serde(default, rename = "async", skip_serializing_if = "std::ops::Not::not")]
    pub is_async: bool,
    /// Every named type that it uses, directly or not, in order of first use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<NamedType>,
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_async { "async func(" } else { "func(" })?;
        for (index, param) in self.params.iter().enumerate() {
            write!(f, "{}{}: {}", if index == 0 { "" } else { ", " }, param.name, param.ty)?;
        }
        f.write_str(")")?;
        match &self.result {
            Some(result) => write!(f, " -> {result}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_wit() {
        let signature = Signature {
            params: vec![
                Param { name: "p".into(), ty: Type::Named("point".into()) },
                Param { name: "xs".into(), ty: Type::List(Box::new(Type::U8)) },
            ],
            result: Some(Type::Result(None, Some(Box::new(Type::String)))),
            is_async: false,
            types: vec![NamedType {
                name: "point".into(),
                definition: TypeDef::Record(vec![Param { name: "x".into(), ty: Type::S32 }]),
            }],
        };
        assert_eq!(signature.to_string(), "func(p: point, xs: list<u8>) -> result<_, string>");
        assert_eq!(signature.types[0].to_string(), "record point { x: s32 }");
        let json = serde_json::to_string(&signature).unwrap();
        assert_eq!(serde_json::from_str::<Signature>(&json).unwrap(), signature);
    }
}
