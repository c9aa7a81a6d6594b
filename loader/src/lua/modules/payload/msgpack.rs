//! MessagePack: the shortest form of each value. Strings that are no UTF-8 are binary.

use crate::config::JSON_BYTES_MAX;
use crate::data::Data;

/// The bytes of `data`.
///
/// # Errors
/// Lower case: a table with numbers and names as keys, too many bytes.
pub(super) fn encode(data: &Data) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    write(&mut out, data)?;
    Ok(out)
}

fn write(out: &mut Vec<u8>, data: &Data) -> Result<(), String> {
    match data {
        Data::Nil => out.push(0xc0),
        Data::Bool(false) => out.push(0xc2),
        Data::Bool(true) => out.push(0xc3),
        Data::Integer(integer) => write_integer(out, *integer),
        Data::Float(float) => {
            out.push(0xcb);
            out.extend(float.to_be_bytes());
        }
        Data::String(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => write_text(out, text)?,
            Err(_) => {
                write_length(
                    out,
                    bytes.len(),
                    &[(u8::MAX.into(), 0xc4), (u16::MAX.into(), 0xc5), (u32::MAX, 0xc6)],
                )?;
                out.extend(bytes);
            }
        },
        Data::Table(table) => match (table.array.as_slice(), table.fields.as_slice()) {
            (items, []) if table.is_array() => {
                match items.len() {
                    len @ 0..16 => out.push(0x90 | len as u8),
                    len => write_length(out, len, &[(u16::MAX.into(), 0xdc), (u32::MAX, 0xdd)])?,
                }
                items.iter().try_for_each(|item| write(out, item))?;
            }
            ([], fields) => {
                match fields.len() {
                    len @ 0..16 => out.push(0x80 | len as u8),
                    len => write_length(out, len, &[(u16::MAX.into(), 0xde), (u32::MAX, 0xdf)])?,
                }
                // Sorted, so that equal tables give equal bytes.
                let mut sorted = Vec::with_capacity(fields.len());
                for (key, value) in fields {
                    let mut bytes = Vec::new();
                    write(&mut bytes, key)?;
                    sorted.push((bytes, value));
                }
                sorted.sort_by(|a, b| a.0.cmp(&b.0));
                for (key, value) in sorted {
                    out.extend(key);
                    write(out, value)?;
                }
            }
            _ => return Err("mixed key types in a table: an array with fields".to_owned()),
        },
        Data::Error(error) => write_text(out, error.message())?,
    }
    if out.len() > JSON_BYTES_MAX {
        return Err(format!("more than {JSON_BYTES_MAX} bytes"));
    }
    Ok(())
}

fn write_integer(out: &mut Vec<u8>, integer: i64) {
    // Each cast is of a number that its range was just seen to hold.
    match integer {
        -0x20..=0x7f => out.push(integer as u8),
        0x80..=0xff => out.extend([0xcc, integer as u8]),
        0x100..=0xffff => {
            out.push(0xcd);
            out.extend((integer as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xce);
            out.extend((integer as u32).to_be_bytes());
        }
        0x1_0000_0000.. => {
            out.push(0xcf);
            out.extend(integer.to_be_bytes());
        }
        -0x80..=-0x21 => out.extend([0xd0, integer as u8]),
        -0x8000..=-0x81 => {
            out.push(0xd1);
            out.extend((integer as i16).to_be_bytes());
        }
        -0x8000_0000..=-0x8001 => {
            out.push(0xd2);
            out.extend((integer as i32).to_be_bytes());
        }
        _ => {
            out.push(0xd3);
            out.extend(integer.to_be_bytes());
        }
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) -> Result<(), String> {
    match text.len() {
        len @ 0..32 => out.push(0xa0 | len as u8),
        len => write_length(out, len, &[(u8::MAX.into(), 0xd9), (u16::MAX.into(), 0xda), (u32::MAX, 0xdb)])?,
    }
    out.extend(text.as_bytes());
    Ok(())
}

/// Writes the first of `forms`, their largest lengths and marks, that holds `len`.
fn write_length(out: &mut Vec<u8>, len: usize, forms: &[(u32, u8)]) -> Result<(), String> {
    let len = u32::try_from(len).map_err(|_| "a length beyond 32 bits".to_owned())?;
    let form = forms.iter().find(|(max, _)| len <= *max);
    let (max, mark) = form.ok_or_else(|| "a length beyond 32 bits".to_owned())?;
    out.push(*mark);
    let bytes = len.to_be_bytes();
    let size = match *max {
        0xff => 1,
        0xffff => 2,
        _ => 4,
    };
    out.extend(&bytes[4 - size..]);
    Ok(())
}
