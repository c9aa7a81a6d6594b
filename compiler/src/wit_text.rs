//! The `wit` field: from what people write to a package that the WIT parser takes.
//!
//! Accepted are a whole package or world, and the body of a world with these liberties: function
//! signatures without `export`, without the `;` at their end, names in snake_case, and keywords as
//! names (`list: func()`, a parameter `type`). The rewriting works on tokens and remembers where each
//! piece came from, so that a fault is shown at the line and column that were written.
//!
//! Known limit: a keyword is taken as a name only before a colon, not among the cases of an enum or
//! variant; write `%string` there.

use std::ops::Range;

use crate::wit_tokens::{Kind, Token, behind_attributes, behind_brackets, is_punctuation, tokens, word};

/// The package that a text without one is put into.
const PACKAGE: &str = "package local:inline;";
/// The runtime's own interface, for texts that import it without defining it.
const RUNTIME_PACKAGE: &str = "package wippy:runtime@0.1.0 { interface funcs { \
     call-string: func(target: string, input: string) -> result<string, string>; \
     call-bytes: func(target: string, input: list<u8>) -> result<list<u8>, string>; } }";

/// The keywords of WIT, which are no names unless they are escaped with `%`.
const KEYWORDS: &[&str] = &[
    "use",
    "type",
    "func",
    "u8",
    "u16",
    "u32",
    "u64",
    "s8",
    "s16",
    "s32",
    "s64",
    "f32",
    "f64",
    "char",
    "record",
    "resource",
    "own",
    "borrow",
    "flags",
    "variant",
    "enum",
    "bool",
    "string",
    "option",
    "result",
    "future",
    "stream",
    "error-context",
    "list",
    "map",
    "as",
    "from",
    "static",
    "interface",
    "tuple",
    "import",
    "export",
    "world",
    "package",
    "constructor",
    "async",
    "include",
    "with",
];

/// A rewritten text that knows where its pieces come from.
#[derive(Debug)]
pub(crate) struct WitText {
    /// What the WIT parser reads.
    pub(crate) text: String,
    original: String,
    /// Pieces in the order of `text`: where each starts there and in `original`.
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    start: usize,
    origin: usize,
    /// Inserted text has one origin; copied text runs along with the original.
    copied: bool,
}

impl WitText {
    /// Rewrites `original`; never fails, since whatever is wrong is the WIT parser's to say.
    pub(crate) fn new(original: &str) -> Self {
        let tokens = tokens(original);
        let shape = shape(original, &tokens);
        // The order matters where two insertions meet: `export %list`.
        let mut edits = if shape == Shape::Body { signatures(original, &tokens) } else { Vec::new() };
        edits.extend(names(original, &tokens));
        edits.sort_by_key(|edit| (edit.range.start, edit.range.end));
        let mut out = Self { text: String::new(), original: original.to_owned(), pieces: Vec::new() };
        match shape {
            Shape::Body => out.insert(&format!("{PACKAGE} world inline {{\n"), 0),
            Shape::Items => out.insert(&format!("{PACKAGE}\n"), 0),
            Shape::Package => {}
        }
        let mut at = 0;
        for edit in &edits {
            out.copy(at..edit.range.start);
            out.insert(&edit.text, edit.range.start);
            at = edit.range.end;
        }
        out.copy(at..original.len());
        let end = original.trim_end().len();
        if shape == Shape::Body {
            out.insert("\n}", end);
        }
        if wants_runtime(original, &tokens) {
            out.insert(&format!("\n{RUNTIME_PACKAGE}"), end);
        }
        out
    }

    /// Line and column, from 1, in the original of the byte `offset` of the rewritten text.
    pub(crate) fn position(&self, offset: usize) -> (u32, u32) {
        let index = self.pieces.partition_point(|piece| piece.start <= offset).saturating_sub(1);
        let origin = self.pieces.get(index).map_or(0, |piece| {
            if piece.copied { piece.origin + (offset - piece.start) } else { piece.origin }
        });
        line_and_column(&self.original, origin)
    }

    /// Whether the byte `offset` of the rewritten text was put behind the end of the original.
    pub(crate) fn is_behind(&self, offset: usize) -> bool {
        let index = self.pieces.partition_point(|piece| piece.start <= offset).saturating_sub(1);
        let end = self.original.trim_end().len();
        self.pieces.get(index).is_some_and(|piece| !piece.copied && piece.origin >= end)
    }

    fn insert(&mut self, text: &str, origin: usize) {
        self.pieces.push(Piece { start: self.text.len(), origin, copied: false });
        self.text.push_str(text);
    }

    fn copy(&mut self, range: Range<usize>) {
        if !range.is_empty() {
            self.pieces.push(Piece { start: self.text.len(), origin: range.start, copied: true });
            self.text.push_str(&self.original[range]);
        }
    }
}

/// Line and column in characters, both from 1, of byte `offset` of `text`.
pub(crate) fn line_and_column(text: &str, offset: usize) -> (u32, u32) {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = &text[..offset];
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// The items of a world.
    Body,
    /// Worlds and interfaces without a package header.
    Items,
    /// A package header and all below it.
    Package,
}

#[derive(Debug)]
struct Edit {
    range: Range<usize>,
    text: String,
}

/// Edits that make names of what is written: snake_case becomes kebab-case, keywords are escaped.
fn names(text: &str, tokens: &[Token]) -> Vec<Edit> {
    let mut edits = Vec::new();
    for (index, token) in tokens.iter().enumerate().filter(|(_, token)| token.kind == Kind::Word) {
        let word = &text[token.range.clone()];
        if word.contains('_') {
            if let Some(kebab) = kebab(word) {
                edits.push(Edit { range: token.range.clone(), text: kebab });
            }
        } else if KEYWORDS.contains(&word) && is_punctuation(tokens.get(index + 1), ':') {
            edits.push(Edit { range: token.range.start..token.range.start, text: "%".to_owned() });
        }
    }
    edits
}

/// The kebab-case spelling of a snake_case name, if it is one.
pub(crate) fn kebab(word: &str) -> Option<String> {
    let kebab = word.replace('_', "-");
    let bare = kebab.strip_prefix('%').unwrap_or(&kebab);
    let starts_well = bare.starts_with(|first: char| first.is_ascii_alphabetic());
    (starts_well && bare.split('-').all(|part| !part.is_empty())).then_some(kebab)
}

/// Whether the tokens are items of a world, or what holds worlds.
fn shape(text: &str, tokens: &[Token]) -> Shape {
    let mut index = behind_attributes(tokens, 0);
    if word(text, tokens, index) == Some("package") && !is_punctuation(tokens.get(index + 1), ':') {
        let end = (index..tokens.len()).find(|at| matches!(tokens[*at].kind, Kind::Punctuation(';' | '{')));
        return match end {
            Some(end) if is_punctuation(tokens.get(end), '{') => Shape::Items,
            _ => Shape::Package,
        };
    }
    while index < tokens.len() {
        let start = behind_attributes(tokens, index);
        let holder = matches!(word(text, tokens, start), Some("world" | "interface" | "package"));
        if holder && !is_punctuation(tokens.get(start + 1), ':') {
            return Shape::Items;
        }
        index = behind_item(text, tokens, start);
    }
    Shape::Body
}

/// The index behind the item of a world that starts at `index`.
fn behind_item(text: &str, tokens: &[Token], index: usize) -> usize {
    if let Some(open) = function_parameters(text, tokens, index) {
        let end = behind_signature(tokens, open);
        return if is_punctuation(tokens.get(end), ';') { end + 1 } else { end.max(index + 1) };
    }
    let ends_with_semicolon = word(text, tokens, index) == Some("use");
    let mut at = index;
    while at < tokens.len() {
        match tokens[at].kind {
            Kind::Punctuation(';') => return at + 1,
            Kind::Punctuation('{') if !ends_with_semicolon => return behind_brackets(tokens, at),
            Kind::Punctuation('{') => at = behind_brackets(tokens, at),
            _ => at += 1,
        }
    }
    at
}

/// The index of the `(` when a function starts at `index`: `[export|import] name: [async] func (`.
fn function_parameters(text: &str, tokens: &[Token], index: usize) -> Option<usize> {
    let exported = matches!(word(text, tokens, index), Some("export" | "import"))
        && !is_punctuation(tokens.get(index + 1), ':');
    let name = index + usize::from(exported);
    word(text, tokens, name)?;
    let mut at = name + 1;
    if !is_punctuation(tokens.get(at), ':') {
        return None;
    }
    at += 1;
    if word(text, tokens, at) == Some("async") {
        at += 1;
    }
    (word(text, tokens, at) == Some("func") && is_punctuation(tokens.get(at + 1), '(')).then_some(at + 1)
}

/// The index behind the signature whose parameters open at `open`.
fn behind_signature(tokens: &[Token], open: usize) -> usize {
    let mut at = behind_brackets(tokens, open);
    if tokens.get(at).is_some_and(|token| token.kind == Kind::Arrow) {
        at += 1;
        if is_punctuation(tokens.get(at), '(') {
            return behind_brackets(tokens, at);
        }
        at += usize::from(tokens.get(at).is_some_and(|token| token.kind == Kind::Word));
        if is_punctuation(tokens.get(at), '<') {
            at = behind_brackets(tokens, at);
        }
    }
    at
}

/// Edits that put `export` before bare signatures and `;` behind those that lack it.
fn signatures(text: &str, tokens: &[Token]) -> Vec<Edit> {
    let mut edits = Vec::new();
    let mut index = 0;
    while index < tokens.len() {
        let start = behind_attributes(tokens, index);
        if let Some(open) = function_parameters(text, tokens, start) {
            if is_punctuation(tokens.get(start + 1), ':') {
                let at = tokens[start].range.start;
                edits.push(Edit { range: at..at, text: "export ".to_owned() });
            }
            let end = behind_signature(tokens, open);
            if !is_punctuation(tokens.get(end), ';') {
                let at = tokens[end - 1].range.end;
                edits.push(Edit { range: at..at, text: ";".to_owned() });
            }
        }
        index = behind_item(text, tokens, start).max(index + 1);
    }
    edits
}

/// Whether `wippy:runtime` is named and not defined.
fn wants_runtime(text: &str, tokens: &[Token]) -> bool {
    let mut named = false;
    for index in 0..tokens.len() {
        let here = word(text, tokens, index) == Some("wippy")
            && is_punctuation(tokens.get(index + 1), ':')
            && word(text, tokens, index + 2) == Some("runtime");
        if here && index > 0 && word(text, tokens, index - 1) == Some("package") {
            return false;
        }
        named |= here;
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> String {
        let wit = WitText::new(text);
        let start = format!("{PACKAGE} world inline {{\n");
        let inner = wit.text.strip_prefix(&start).and_then(|rest| rest.strip_suffix("\n}"));
        inner.unwrap_or_else(|| panic!("no body: {}", wit.text)).to_owned()
    }

    #[test]
    fn signatures_become_exports() {
        assert_eq!(body("answer: func() -> s32;"), "export answer: func() -> s32;");
        assert_eq!(body("answer: func() -> s32"), "export answer: func() -> s32;");
        assert_eq!(body("export answer: func() -> s32"), "export answer: func() -> s32;");
        assert_eq!(
            body("a: func()\nb: func(x: list<tuple<u8, u8>>) -> result<_, string>\n"),
            "export a: func();\nexport b: func(x: list<tuple<u8, u8>>) -> result<_, string>;\n"
        );
        assert_eq!(body("wait: async func(ms: u32)"), "export wait: async func(ms: u32);");
    }

    #[test]
    fn other_items_stay() {
        let text = "// c: func()\nrecord p { x: s32 }\ntype t = p;\n@since(version = 1.0.0)\nnorm: func(p: t) -> f64";
        let expected = "// c: func()\nrecord p { x: s32 }\ntype t = p;\n@since(version = 1.0.0)\n\
                        export norm: func(p: t) -> f64;";
        assert_eq!(body(text), expected);
        let text = "import log: func(s: string);\nexport api: interface { go: func(); }\nuse a:b/c.{d};";
        assert_eq!(body(text), text);
    }

    #[test]
    fn names_are_mapped() {
        assert_eq!(
            body("add_two: func(first_arg: s32) -> my_type"),
            "export add-two: func(first-arg: s32) -> my-type;"
        );
        assert_eq!(body("f: func() -> result<_, u8>;"), "export f: func() -> result<_, u8>;");
        assert_eq!(body("list: func(type: u8)"), "export %list: func(%type: u8);");
        assert_eq!(kebab("_a"), None);
        assert_eq!(kebab("a__b"), None);
        assert_eq!(kebab("add_2").as_deref(), Some("add-2"));
    }

    #[test]
    fn whole_texts_stay() {
        let package = "package a:b;\nworld w { export f: func(); }";
        assert_eq!(WitText::new(package).text, package);
        let world = "/* x */ world w { export f: func(); }";
        assert_eq!(WitText::new(world).text, format!("{PACKAGE}\n{world}"));
        let nested = "package a:b { interface i {} } world w {}";
        assert_eq!(WitText::new(nested).text, format!("{PACKAGE}\n{nested}"));
        let imports = "import wippy:runtime/funcs@0.1.0; go: func();";
        assert!(WitText::new(imports).text.ends_with(RUNTIME_PACKAGE));
    }

    #[test]
    fn positions_are_those_of_the_original() {
        let text = "a: func()\nb: func(x: nope) -> s32\n";
        let wit = WitText::new(text);
        let at = wit.text.find("nope").unwrap();
        assert_eq!(wit.position(at), (2, 12));
        assert_eq!(wit.position(0), (1, 1));
        assert_eq!(wit.position(wit.text.len() - 1), (2, 24));
        assert_eq!(line_and_column("é\né", 4), (2, 1));
    }
}
