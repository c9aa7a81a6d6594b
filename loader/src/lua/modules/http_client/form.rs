//! Texts of URLs and forms.

use std::fmt::Write;

use crate::error::Error;
use crate::lua::modules::arguments::invalid;

/// `bytes` as a value of a query: what is not a letter, a digit or one of `-_.~` is escaped, a space is `+`.
pub(super) fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(*byte));
            }
            b' ' => out.push('+'),
            byte => _ = write!(out, "%{byte:02X}"),
        }
    }
    out
}

/// The reverse of [`escape`].
///
/// # Errors
/// `INVALID` for a `%` that two hexadecimal digits don't follow.
pub(super) fn unescape(text: &[u8]) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
                let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
                let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                out.push(byte.ok_or_else(|| invalid("a `%` is not followed by two hexadecimal digits"))?);
                rest = &after[2..];
            }
            byte => out.push(*byte),
        }
    }
    Ok(out)
}

/// A name and its value.
pub(super) type Pair = (Vec<u8>, Vec<u8>);

/// Names and values as a query, in their order.
pub(super) fn encode(pairs: &[Pair]) -> String {
    let pairs = pairs.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// A file of a form.
pub(super) struct Part {
    pub(super) name: Vec<u8>,
    pub(super) filename: Vec<u8>,
    pub(super) content: Vec<u8>,
}

/// Fields and files as `multipart/form-data`, with `boundary` between them.
pub(super) fn multipart(boundary: &str, fields: &[Pair], files: &[Part]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut add = |head: &[&[u8]], content: &[u8]| {
        out.extend_from_slice(format!("--{boundary}\r\nContent-Disposition: form-data; name=\"").as_bytes());
        head.iter().for_each(|part| out.extend_from_slice(part));
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(content);
        out.extend_from_slice(b"\r\n");
    };
    for (name, value) in fields {
        add(&[&quoted(name), b"\""], value);
    }
    for file in files {
        let kind = b"\"\r\nContent-Type: application/octet-stream";
        add(&[&quoted(&file.name), b"\"; filename=\"", &quoted(&file.filename), kind], &file.content);
    }
    out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    out
}

/// A name between quotes: nothing in it ends them or the line.
fn quoted(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    for byte in name {
        match byte {
            b'"' => out.extend_from_slice(b"%22"),
            b'\r' => out.extend_from_slice(b"%0D"),
            b'\n' => out.extend_from_slice(b"%0A"),
            byte => out.push(*byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_there_and_back() {
        assert_eq!(escape("hello world/ä?~".as_bytes()), "hello+world%2F%C3%A4%3F~");
        assert_eq!(unescape(b"hello+world%2f%C3%A4%3F~").unwrap(), "hello world/ä?~".as_bytes());
        for text in [&b"%"[..], b"%4", b"%zz", b"%+1"] {
            assert!(unescape(text).is_err());
        }
    }

    #[test]
    fn forms() {
        let pairs = [(b"a b".to_vec(), b"c&d".to_vec()), (b"e".to_vec(), Vec::new())];
        assert_eq!(encode(&pairs), "a+b=c%26d&e=");
        let part = Part { name: b"f".to_vec(), filename: b"x\"\r\ny".to_vec(), content: b"data".to_vec() };
        let text = String::from_utf8(multipart("B", &pairs[1..], &[part])).unwrap();
        assert_eq!(
            text,
            "--B\r\nContent-Disposition: form-data; name=\"e\"\r\n\r\n\r\n\
             --B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x%22%0D%0Ay\"\r\n\
             Content-Type: application/octet-stream\r\n\r\ndata\r\n--B--\r\n"
        );
    }
}
