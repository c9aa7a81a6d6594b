//! How a scanner splits what it reads.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::lua::modules) enum Split {
    /// Without their ends, `\n` or `\r\n`.
    Lines,
    /// What is between spaces.
    Words,
    Bytes,
    /// Characters; a byte that is none is U+FFFD.
    Runes,
}

/// What comes next in the bytes that were read.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::lua::modules) enum Next<'a> {
    /// A token, and the bytes that it took.
    Token(&'a [u8], usize),
    /// Nothing yet, but this many bytes can be dropped.
    More(usize),
    /// Nothing any more.
    End,
}

impl Split {
    pub(in crate::lua::modules) fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"lines" => Some(Self::Lines),
            b"words" => Some(Self::Words),
            b"bytes" => Some(Self::Bytes),
            b"runes" => Some(Self::Runes),
            _ => None,
        }
    }

    /// The first token of `data`, which is the rest of the file if `ended`.
    pub(in crate::lua::modules) fn next(self, data: &[u8], ended: bool) -> Next<'_> {
        if data.is_empty() {
            return if ended { Next::End } else { Next::More(0) };
        }
        match self {
            Self::Bytes => Next::Token(&data[..1], 1),
            Self::Runes => rune(data, ended),
            Self::Lines => {
                let (line, taken) = match data.iter().position(|byte| *byte == b'\n') {
                    Some(end) => (&data[..end], end + 1),
                    None if ended => (data, data.len()),
                    None => return Next::More(0),
                };
                Next::Token(line.strip_suffix(b"\r").unwrap_or(line), taken)
            }
            Self::Words => {
                let Some(start) = data.iter().position(|byte| !is_space(*byte)) else {
                    return if ended { Next::End } else { Next::More(data.len()) };
                };
                match data[start..].iter().position(|byte| is_space(*byte)) {
                    Some(len) => Next::Token(&data[start..start + len], start + len + 1),
                    None if ended => Next::Token(&data[start..], data.len()),
                    None => Next::More(start),
                }
            }
        }
    }
}

fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

fn rune(data: &[u8], ended: bool) -> Next<'_> {
    let window = &data[..data.len().min(4)];
    let problem = match std::str::from_utf8(window) {
        Ok(text) => return Next::Token(&data[..first_len(text)], first_len(text)),
        Err(problem) => problem,
    };
    match std::str::from_utf8(&window[..problem.valid_up_to()]) {
        Ok(text) if !text.is_empty() => Next::Token(&data[..first_len(text)], first_len(text)),
        _ if problem.error_len().is_none() && !ended => Next::More(0),
        _ => Next::Token("\u{fffd}".as_bytes(), 1),
    }
}

fn first_len(text: &str) -> usize {
    text.chars().next().map_or(1, char::len_utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All tokens of `text`, read `step` bytes at a time.
    fn tokens(split: Split, text: &[u8], step: usize) -> Vec<Vec<u8>> {
        let (mut found, mut buffer, mut rest) = (Vec::new(), Vec::new(), text);
        loop {
            match split.next(&buffer, rest.is_empty()) {
                Next::Token(token, taken) => {
                    found.push(token.to_vec());
                    buffer.drain(..taken);
                }
                Next::More(dropped) => {
                    buffer.drain(..dropped);
                    let (read, tail) = rest.split_at(step.min(rest.len()));
                    buffer.extend(read);
                    rest = tail;
                }
                Next::End => return found,
            }
        }
    }

    #[test]
    fn tokens_do_not_depend_on_reads() {
        let cases: [(Split, &[u8], &[&str]); 8] = [
            (Split::Lines, b"a\nb\r\n\nc", &["a", "b", "", "c"]),
            (Split::Lines, b"a\n", &["a"]),
            (Split::Lines, b"", &[]),
            (Split::Words, b"  a\tbc \n d ", &["a", "bc", "d"]),
            (Split::Words, b" \n ", &[]),
            (Split::Bytes, b"ab", &["a", "b"]),
            (Split::Runes, "aé😀".as_bytes(), &["a", "é", "😀"]),
            (Split::Runes, b"a\xffb\xc3", &["a", "\u{fffd}", "b", "\u{fffd}"]),
        ];
        for (split, text, expected) in cases {
            for step in 1..=text.len().max(1) {
                let found = tokens(split, text, step);
                assert_eq!(found, expected.iter().map(|token| token.as_bytes().to_vec()).collect::<Vec<_>>());
            }
        }
    }
}
