//! A collector of spans on the loopback interface, and what it reads of their messages: for tests, those of the whole
//! loader included.
#![allow(dead_code, reason = "every test uses its own part")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

/// Reads one request: its head and its body.
pub(crate) async fn request(listener: &TcpListener, answer: &str) -> (String, Vec<u8>) {
    let (stream, _) = listener.accept().await.unwrap();
    request_over(stream, answer).await
}

/// Reads one request of a connection.
pub(crate) async fn request_over(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: &str,
) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    loop {
        let mut part = [0; 4096];
        let read = stream.read(&mut part).await.unwrap();
        bytes.extend_from_slice(&part[..read]);
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        if bytes.len() == end + 4 + length.parse::<usize>().unwrap() {
            let body = bytes[end + 4..].to_vec();
            let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            return (head, body);
        }
    }
}

/// The fields of a protobuf message: numbers, and bytes.
pub(crate) fn fields(mut bytes: &[u8]) -> Vec<(u64, Result<u64, &[u8]>)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let value = match tag & 7 {
            0 => Ok(varint(&mut bytes)),
            1 => {
                let (number, rest) = bytes.split_at(8);
                bytes = rest;
                Ok(u64::from_le_bytes(number.try_into().unwrap()))
            }
            2 => {
                let length = usize::try_from(varint(&mut bytes)).unwrap();
                let (value, rest) = bytes.split_at(length);
                bytes = rest;
                Err(value)
            }
            other => panic!("wire type {other}"),
        };
        fields.push((tag >> 3, value));
    }
    fields
}

/// Messages or texts in field `number`.
pub(crate) fn all(bytes: &[u8], number: u64) -> Vec<&[u8]> {
    fields(bytes)
        .into_iter()
        .filter(|(field, _)| *field == number)
        .filter_map(|(_, value)| value.err())
        .collect()
}

pub(crate) fn text(bytes: &[u8], number: u64) -> &str {
    std::str::from_utf8(all(bytes, number)[0]).unwrap()
}

pub(crate) fn number(bytes: &[u8], number: u64) -> u64 {
    fields(bytes).into_iter().find(|(field, _)| *field == number).unwrap().1.unwrap()
}

/// A `KeyValue` with a text.
pub(crate) fn pair(bytes: &[u8]) -> (&str, &str) {
    (text(bytes, 1), text(all(bytes, 2)[0], 1))
}
