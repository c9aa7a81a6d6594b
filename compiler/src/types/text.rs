//! Pieces of annotations.

use crate::lua::KEYWORDS;

/// `ty`, or nil.
pub(super) fn optional(ty: &str) -> String {
    match ty {
        "any" | "nil" => ty.to_owned(),
        _ if ty.ends_with('?') && !ty.starts_with("fun(") => ty.to_owned(),
        _ => format!("{}?", grouped(ty)),
    }
}

/// `ty` in parentheses if something behind it would bind to its last part only.
pub(super) fn grouped(ty: &str) -> String {
    if ty.contains('|') || ty.starts_with("fun(") { format!("({ty})") } else { ty.to_owned() }
}

/// `ty[]`
pub(super) fn list(ty: &str) -> String {
    match ty.ends_with('?') {
        true => format!("({ty})[]"),
        false => format!("{}[]", grouped(ty)),
    }
}

/// All of `types`, each once.
pub(super) fn union(types: impl IntoIterator<Item = String>) -> String {
    let mut distinct: Vec<String> = Vec::new();
    for ty in types {
        let ty = if ty.starts_with("fun(") { grouped(&ty) } else { ty };
        if !distinct.contains(&ty) {
            distinct.push(ty);
        }
    }
    match distinct.is_empty() {
        true => "nil".to_owned(),
        false => distinct.join("|"),
    }
}

/// A literal string.
pub(super) fn literal(text: &str) -> String {
    format!(
        "\"{}\"",
        text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\r', "\\r")
    )
}

/// A key of a table type.
pub(super) fn key(name: &str) -> String {
    if is_name(name) { name.to_owned() } else { format!("[{}]", literal(name)) }
}

/// `name` as that of a parameter: kebab-case becomes snake_case, and what is no name gets a line behind it.
pub(super) fn param(name: &str) -> String {
    let name = snake(name);
    if KEYWORDS.contains(&name.as_str()) || name == "target" || name == "self" {
        format!("{name}_")
    } else {
        name
    }
}

/// `name` with `_` for everything that names don't have.
pub(super) fn snake(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
}

/// The name of a class: that of a namespace, and parts behind it.
pub(super) fn class(namespace: &str, parts: &[&str]) -> String {
    let namespace = namespace.split('.').map(snake);
    namespace.chain(parts.iter().map(|part| snake(part))).collect::<Vec<_>>().join(".")
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !KEYWORDS.contains(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_binds_loosely_is_grouped() {
        assert_eq!(optional("integer"), "integer?");
        assert_eq!(optional("integer|string"), "(integer|string)?");
        assert_eq!(optional("fun(): string?"), "(fun(): string?)?");
        assert_eq!(optional("integer?"), "integer?");
        assert_eq!(list("integer?"), "(integer?)[]");
        assert_eq!(union(["a".to_owned(), "fun()".to_owned(), "a".to_owned()]), "a|(fun())");
        assert_eq!(
            (key("end"), key("a-b"), key("a_b")),
            ("[\"end\"]".into(), "[\"a-b\"]".into(), "a_b".into())
        );
        assert_eq!((param("max-size"), param("end")), ("max_size".into(), "end_".into()));
        assert_eq!(class("app.my-lib", &["user-2"]), "app.my_lib.user_2");
    }
}
