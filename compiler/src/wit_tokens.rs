//! Tokens of WIT, as far as the rewriting of [`crate::wit_text`] needs them: words, arrows and single
//! characters, each with its place. The WIT parser's own tokens are private to it.

use std::ops::Range;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A name, keyword or number, with the `%` that may stand before it.
    Word,
    /// `->`
    Arrow,
    /// Any other character.
    Punctuation(char),
}

/// A token and where it is.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    /// What it is.
    pub(crate) kind: Kind,
    /// Where it is, in bytes.
    pub(crate) range: Range<usize>,
}

/// The tokens of `text` without white space, comments and string literals.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let (kind, len) = if rest.starts_with("//") {
            (None, rest.find('\n').unwrap_or(rest.len()))
        } else if rest.starts_with("/*") {
            (None, block_comment(rest))
        } else if first == '"' {
            (None, string_literal(rest))
        } else if rest.starts_with("->") {
            (Some(Kind::Arrow), 2)
        } else if is_word(first) || first == '%' {
            let tail = &rest[first.len_utf8()..];
            let end = tail.find(|next: char| !is_word(next)).unwrap_or(tail.len());
            (Some(Kind::Word), first.len_utf8() + end)
        } else if first.is_whitespace() || first == '\u{feff}' {
            (None, first.len_utf8())
        } else {
            (Some(Kind::Punctuation(first)), first.len_utf8())
        };
        if let Some(kind) = kind {
            tokens.push(Token { kind, range: at..at + len });
        }
        at += len;
    }
    tokens
}

fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_' || char == '-'
}

/// Length of the comment at the start of `text`; comments nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    let bytes = text.as_bytes();
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

/// Length of the string literal at the start of `text`.
fn string_literal(text: &str) -> usize {
    let mut escaped = false;
    for (at, char) in text.char_indices().skip(1) {
        match char {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

/// Whether `token` is the character `char`.
pub(crate) fn is_punctuation(token: Option<&Token>, char: char) -> bool {
    token.is_some_and(|token| token.kind == Kind::Punctuation(char))
}

/// The word at `index`, if there is one.
pub(crate) fn word<'a>(text: &'a str, tokens: &[Token], index: usize) -> Option<&'a str> {
    let token = tokens.get(index).filter(|token| token.kind == Kind::Word)?;
    Some(&text[token.range.clone()])
}

/// The index behind the bracket that closes the one at `open`.
pub(crate) fn behind_brackets(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.kind {
            Kind::Punctuation('(' | '{' | '<') => depth += 1,
            Kind::Punctuation(')' | '}' | '>') => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return index + 1;
                }
            }
            _ => {}
        }
    }
    tokens.len()
}

/// The index behind the attributes (`@since(version = 1.0.0)`) that start at `index`.
pub(crate) fn behind_attributes(tokens: &[Token], mut index: usize) -> usize {
    while is_punctuation(tokens.get(index), '@') {
        index += 2;
        if is_punctuation(tokens.get(index), '(') {
            index = behind_brackets(tokens, index);
        }
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<&str> {
        tokens(text).into_iter().map(|token| &text[token.range]).collect()
    }

    #[test]
    fn comments_and_literals_are_left_out() {
        let text = "/* a /* b */ c */ add_two: // x\n func()->%list<u8>; @y(z = \"\\\"q\")";
        let expected = [
            "add_two", ":", "func", "(", ")", "->", "%list", "<", "u8", ">", ";", "@", "y", "(", "z", "=",
            ")",
        ];
        assert_eq!(words(text), expected);
        assert_eq!(words("a /* open"), ["a"]);
        assert_eq!(words("a \"open"), ["a"]);
        assert_eq!(words("größe -> b"), ["größe", "->", "b"]);
    }

    #[test]
    fn brackets_and_attributes_are_passed() {
        let tokens = tokens("@since(version = 1.0.0) @x f<(a), {b}> c");
        let start = behind_attributes(&tokens, 0);
        assert_eq!(behind_brackets(&tokens, start + 1), tokens.len() - 1);
        assert_eq!(behind_brackets(&tokens[..start + 3], start + 1), start + 3);
    }
}
