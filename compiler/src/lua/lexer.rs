//! Source text to tokens, as `llex.c` of Lua 5.4 does it: what it refuses is refused here.

use super::mistake::Mistake;
use super::token::{KEYWORDS, Kind, SYMBOLS, Token, shortened};

/// Reads tokens one by one.
#[derive(Debug)]
pub(crate) struct Lexer<'s> {
    source: &'s str,
    at: usize,
}

impl<'s> Lexer<'s> {
    /// A lexer of `source`, behind the first line if that is for the shell.
    pub(crate) fn new(source: &'s str) -> Self {
        Self { source, at: shebang(source) }
    }

    /// The next token; [`Kind::End`] again and again at the end.
    ///
    /// # Errors
    /// At what is no token.
    pub(crate) fn next_token(&mut self) -> Result<Token<'s>, Mistake> {
        self.skip_space()?;
        let start = self.at;
        let kind = match self.byte(0) {
            None => Kind::End,
            Some(b'"' | b'\'') => self.quoted()?,
            Some(b'[') => match self.long_bracket() {
                Some(level) => Kind::Text(self.long(level, "string")?.to_owned()),
                None if self.byte(1) == Some(b'=') => {
                    return Err(Mistake::syntax(start, "found `[=`, expected `[=[` to begin a long string"));
                }
                None => self.symbol()?,
            },
            Some(byte) if is_name(byte) && !byte.is_ascii_digit() => self.name(),
            Some(b'.') if self.byte(1).is_some_and(|next| next.is_ascii_digit()) => self.number()?,
            Some(byte) if byte.is_ascii_digit() => self.number()?,
            Some(_) => self.symbol()?,
        };
        Ok(Token { kind, start, end: self.at })
    }

    fn byte(&self, ahead: usize) -> Option<u8> {
        self.source.as_bytes().get(self.at + ahead).copied()
    }

    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn skip_space(&mut self) -> Result<(), Mistake> {
        loop {
            match self.byte(0) {
                Some(b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c) => self.at += 1,
                Some(b'-') if self.byte(1) == Some(b'-') => {
                    self.at += 2;
                    match self.long_bracket() {
                        Some(level) => {
                            self.long(level, "comment")?;
                        }
                        None => self.at += self.rest().find(['\n', '\r']).unwrap_or(self.rest().len()),
                    }
                }
                _ => return Ok(()),
            }
        }
    }

    /// The number of `=` if a long string or comment begins here.
    fn long_bracket(&self) -> Option<usize> {
        let level = self.rest().strip_prefix('[')?.bytes().take_while(|byte| *byte == b'=').count();
        (self.byte(level + 1) == Some(b'[')).then_some(level)
    }

    fn long(&mut self, level: usize, what: &str) -> Result<&'s str, Mistake> {
        let start = self.at;
        self.at += level + 2;
        let close = format!("]{}]", "=".repeat(level));
        let Some(length) = self.rest().find(&close) else {
            let message =
                format!("found the end of the source, expected `{close}` to close this long {what}");
            return Err(Mistake::syntax(start, message));
        };
        let text = &self.rest()[..length];
        self.at += length + close.len();
        let first = text.strip_prefix("\r\n").or_else(|| text.strip_prefix("\n\r"));
        Ok(first.or_else(|| text.strip_prefix(['\n', '\r'])).unwrap_or(text))
    }

    fn name(&mut self) -> Kind<'s> {
        let rest = self.rest();
        let length = rest.bytes().position(|byte| !is_name(byte)).unwrap_or(rest.len());
        self.at += length;
        let name = &rest[..length];
        match KEYWORDS.binary_search(&name) {
            Ok(index) => Kind::Fixed(KEYWORDS[index]),
            Err(_) => Kind::Name(name),
        }
    }

    fn symbol(&mut self) -> Result<Kind<'s>, Mistake> {
        let rest = self.rest();
        if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            self.at += symbol.len();
            return Ok(Kind::Fixed(symbol));
        }
        let found: String = rest.chars().take(1).collect();
        Err(Mistake::syntax(self.at, format!("`{}` is no symbol of Lua", found.escape_debug())))
    }

    /// Takes everything that looks like a numeral, then checks it.
    fn number(&mut self) -> Result<Kind<'s>, Mistake> {
        let start = self.at;
        let is_hexadecimal = self.byte(0) == Some(b'0') && matches!(self.byte(1), Some(b'x' | b'X'));
        let exponent = if is_hexadecimal { b'p' } else { b'e' };
        self.at += if is_hexadecimal { 2 } else { 1 };
        while let Some(byte) = self.byte(0) {
            if byte.to_ascii_lowercase() == exponent {
                self.at += 1 + usize::from(matches!(self.byte(1), Some(b'+' | b'-')));
            } else if byte.is_ascii_hexdigit() || byte == b'.' {
                self.at += 1;
            } else {
                break;
            }
        }
        // A numeral that touches a letter is a mistake.
        self.at += usize::from(self.byte(0).is_some_and(|byte| is_name(byte) && !byte.is_ascii_digit()));
        let text = &self.source[start..self.at];
        match is_numeral(text, is_hexadecimal) {
            true => Ok(Kind::Number),
            false => Err(Mistake::syntax(start, format!("`{}` is no number", shortened(text)))),
        }
    }

    fn quoted(&mut self) -> Result<Kind<'s>, Mistake> {
        let start = self.at;
        let quote = self.byte(0);
        let mut text = Vec::new();
        self.at += 1;
        loop {
            match self.byte(0) {
                byte if byte == quote => break,
                None | Some(b'\n' | b'\r') => {
                    let message = "found the end of the line, expected the closing quote of this string";
                    return Err(Mistake::syntax(start, message).help("a string of several lines is `[[…]]`"));
                }
                Some(b'\\') => self.escape(&mut text)?,
                Some(byte) => {
                    text.push(byte);
                    self.at += 1;
                }
            }
        }
        self.at += 1;
        Ok(Kind::Text(String::from_utf8_lossy(&text).into_owned()))
    }

    /// Reads an escape sequence.
    fn escape(&mut self, text: &mut Vec<u8>) -> Result<(), Mistake> {
        let start = self.at;
        let wrong = |expected: &str| Mistake::syntax(start, format!("wrong escape: expected {expected}"));
        self.at += 1;
        let Some(byte) = self.byte(0) else { return Ok(()) };
        self.at += 1;
        match byte {
            b'a' => text.push(7),
            b'b' => text.push(8),
            b'f' => text.push(12),
            b'n' => text.push(b'\n'),
            b'r' => text.push(b'\r'),
            b't' => text.push(b'\t'),
            b'v' => text.push(11),
            b'\\' | b'"' | b'\'' => text.push(byte),
            b'\n' | b'\r' => {
                text.push(b'\n');
                // The two characters of one line end.
                let both = matches!((byte, self.byte(0)), (b'\n', Some(b'\r')) | (b'\r', Some(b'\n')));
                self.at += usize::from(both);
            }
            b'x' => {
                let digits = self.source.as_bytes().get(self.at..self.at + 2).unwrap_or_default();
                let code = std::str::from_utf8(digits).ok().filter(|it| is_hexadecimal(it));
                let code = code.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                text.push(code.filter(|_| digits.len() == 2).ok_or_else(|| wrong("two hexadecimal digits"))?);
                self.at += 2;
            }
            b'z' => {
                let is_space = |byte: u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c);
                while self.byte(0).is_some_and(is_space) {
                    self.at += 1;
                }
            }
            b'0'..=b'9' => {
                self.at -= 1;
                let digits = self.rest().bytes().take(3).take_while(u8::is_ascii_digit).count();
                let code = self.rest()[..digits].parse();
                text.push(code.map_err(|_| wrong("a code up to 255"))?);
                self.at += digits;
            }
            b'u' => self.code_point(text).ok_or_else(|| wrong("`\\u{…}` with a code below 80000000"))?,
            _ => {
                return Err(wrong(
                    "one of `\\a \\b \\f \\n \\r \\t \\v \\\\ \\\" \\' \\z \\x \\u` or a number",
                ));
            }
        }
        Ok(())
    }

    fn code_point(&mut self, text: &mut Vec<u8>) -> Option<()> {
        let digits = self.rest().strip_prefix('{')?;
        let digits = &digits[..digits.find('}')?];
        let code = u32::from_str_radix(digits, 16).ok().filter(|_| is_hexadecimal(digits))?;
        if code > 0x7fff_ffff {
            return None;
        }
        // Lua knows codes that are no characters; nothing here looks at them.
        let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        text.extend(character.to_string().bytes());
        self.at += digits.len() + 2;
        Some(())
    }
}

/// Length of the first line if it is one for the shell.
pub(crate) fn shebang(source: &str) -> usize {
    if source.starts_with('#') { source.find(['\n', '\r']).unwrap_or(source.len()) } else { 0 }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn is_hexadecimal(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether the text is `digits[.digits][exponent]`, with a digit before or after the point.
fn is_numeral(text: &str, is_hexadecimal: bool) -> bool {
    let (text, mark) = if is_hexadecimal { (&text[2..], ['p', 'P']) } else { (text, ['e', 'E']) };
    let (mantissa, exponent) = match text.split_once(mark) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digit = |byte: u8| if is_hexadecimal { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() };
    let has_digits = !(whole.is_empty() && fraction.is_empty());
    let is_exponent = |text: &str| {
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    has_digits && whole.bytes().chain(fraction.bytes()).all(is_digit) && exponent.is_none_or(is_exponent)
}
