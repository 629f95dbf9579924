//! Hashes, base64, text encodings, URL and CSV.

use super::{Call, Fault, Outcome};
use crate::eval::types::Type;
use crate::eval::value::{Value, normal_form};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::Digest as _;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The digests that functions of text and of files share.
pub(super) mod digest {
    use super::*;
    pub fn md5(data: &[u8]) -> String {
        hex(&md5::Md5::digest(data))
    }
    pub fn sha1(data: &[u8]) -> String {
        hex(&sha1::Sha1::digest(data))
    }
    pub fn sha256(data: &[u8]) -> String {
        hex(&sha2::Sha256::digest(data))
    }
    pub fn sha512(data: &[u8]) -> String {
        hex(&sha2::Sha512::digest(data))
    }
    pub fn base64sha256(data: &[u8]) -> String {
        STANDARD.encode(sha2::Sha256::digest(data))
    }
    pub fn base64sha512(data: &[u8]) -> String {
        STANDARD.encode(sha2::Sha512::digest(data))
    }
    pub fn base64(data: &[u8]) -> String {
        STANDARD.encode(data)
    }
}

fn of_text(call: &Call<'_>, f: fn(&[u8]) -> String) -> Outcome {
    Ok(Value::string(f(call.text(0)?.as_bytes())))
}

pub(super) fn md5(call: &Call<'_>) -> Outcome {
    of_text(call, digest::md5)
}
pub(super) fn sha1(call: &Call<'_>) -> Outcome {
    of_text(call, digest::sha1)
}
pub(super) fn sha256(call: &Call<'_>) -> Outcome {
    of_text(call, digest::sha256)
}
pub(super) fn sha512(call: &Call<'_>) -> Outcome {
    of_text(call, digest::sha512)
}
pub(super) fn base64sha256(call: &Call<'_>) -> Outcome {
    of_text(call, digest::base64sha256)
}
pub(super) fn base64sha512(call: &Call<'_>) -> Outcome {
    of_text(call, digest::base64sha512)
}
pub(super) fn base64encode(call: &Call<'_>) -> Outcome {
    of_text(call, digest::base64)
}

/// Line breaks inside are skipped; padding is required, leftover bits are not looked at.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let config = base64::engine::GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::RequireCanonical);
    let engine = base64::engine::GeneralPurpose::new(&base64::alphabet::STANDARD, config);
    engine.decode(text.replace(['\r', '\n'], "")).ok()
}

pub(super) fn base64decode(call: &Call<'_>) -> Outcome {
    let bytes = decode_base64(call.text(0)?).ok_or_else(|| Fault::call("failed to decode base64 data"))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Fault::call("the result of decoding the provided string is not valid UTF-8"))?;
    Ok(Value::string(text))
}

/// The encodings that are computed; other names give an unknown result.
enum Encoding {
    Utf8,
    Utf16 { big_endian: bool },
}

fn encoding(name: &str) -> Option<Encoding> {
    match name.to_ascii_lowercase().as_str() {
        "utf-8" => Some(Encoding::Utf8),
        "utf-16le" => Some(Encoding::Utf16 { big_endian: false }),
        "utf-16be" => Some(Encoding::Utf16 { big_endian: true }),
        _ => None,
    }
}

pub(super) fn textencodebase64(call: &Call<'_>) -> Outcome {
    let text = call.text(0)?;
    let bytes = match encoding(call.text(1)?) {
        Some(Encoding::Utf8) => text.as_bytes().to_vec(),
        Some(Encoding::Utf16 { big_endian }) => {
            text.encode_utf16().flat_map(|u| if big_endian { u.to_be_bytes() } else { u.to_le_bytes() }).collect()
        }
        None => return Ok(call.unknown(Type::String)),
    };
    Ok(Value::string(STANDARD.encode(bytes)))
}

pub(super) fn textdecodebase64(call: &Call<'_>) -> Outcome {
    let Some(encoding) = encoding(call.text(1)?) else { return Ok(call.unknown(Type::String)) };
    let bytes = decode_base64(call.text(0)?)
        .ok_or_else(|| Fault::argument(0, "the given value has an invalid base64 symbol"))?;
    let undefined = || Fault::argument(0, "the given string contains symbols that are not defined for the encoding");
    let text = match encoding {
        Encoding::Utf8 => String::from_utf8(bytes).map_err(|_| undefined())?,
        Encoding::Utf16 { big_endian } => {
            if bytes.len() % 2 != 0 {
                return Err(undefined());
            }
            let unit =
                |c: &[u8]| if big_endian { u16::from_be_bytes([c[0], c[1]]) } else { u16::from_le_bytes([c[0], c[1]]) };
            let units: Vec<u16> = bytes.chunks_exact(2).map(unit).collect();
            String::from_utf16(&units).map_err(|_| undefined())?
        }
    };
    if text.contains('\u{fffd}') {
        return Err(undefined());
    }
    if text.starts_with('\u{feff}') {
        // Whether a byte order mark stays depends on the decoder.
        return Ok(call.unknown(Type::String));
    }
    Ok(Value::string(text))
}

/// Form encoding: a space is a plus sign.
pub(super) fn urlencode(call: &Call<'_>) -> Outcome {
    let mut out = String::new();
    for byte in call.text(0)?.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    Ok(Value::string(out))
}

/// A name-based identifier in one of the well-known namespaces, or in the one that is given as an identifier.
pub(super) fn uuidv5(call: &Call<'_>) -> Outcome {
    let namespace = match call.text(0)? {
        "dns" => 0x6ba7_b810_9dad_11d1_80b4_00c0_4fd4_30c8_u128,
        "url" => 0x6ba7_b811_9dad_11d1_80b4_00c0_4fd4_30c8,
        "oid" => 0x6ba7_b812_9dad_11d1_80b4_00c0_4fd4_30c8,
        "x500" => 0x6ba7_b814_9dad_11d1_80b4_00c0_4fd4_30c8,
        other => {
            let digits = other.replace('-', "");
            let shaped =
                other.len() == 36 && digits.len() == 32 && [8, 13, 18, 23].iter().all(|i| other.as_bytes()[*i] == b'-');
            match u128::from_str_radix(&digits, 16) {
                Ok(id) if shaped => id,
                // Other notations exist; whether this is one is left open.
                _ => return Ok(call.unknown(Type::String)),
            }
        }
    };
    let mut data = namespace.to_be_bytes().to_vec();
    data.extend_from_slice(call.text(1)?.as_bytes());
    let hash = sha1::Sha1::digest(&data);
    let mut id = [0u8; 16];
    id.copy_from_slice(&hash[..16]);
    id[6] = id[6] & 0x0f | 0x50;
    id[8] = id[8] & 0x3f | 0x80;
    let h = hex(&id);
    Ok(Value::string(format!("{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])))
}

pub(super) fn csvdecode(call: &Call<'_>) -> Outcome {
    let text = call.text(0)?;
    if !call.fits((text.len() as u64).saturating_mul(16)) {
        return Ok(call.too_large(Type::Dynamic));
    }
    let rows = csv_rows(text).map_err(|(line, what)| Fault::call(format!("CSV parse error on line {line}: {what}")))?;
    let mut rows = rows.into_iter();
    let Some(header) = rows.next() else { return Err(Fault::call("missing header line")) };
    let names: Vec<Arc<str>> = header.1.iter().map(|n| normal_form(n)).collect();
    for (i, name) in names.iter().enumerate() {
        if names[..i].contains(name) {
            return Err(Fault::call(format!("duplicate column name \"{name}\"")));
        }
    }
    let element = Type::object(names.iter().map(|n| (n.clone(), Type::String)).collect());
    let mut objects = Vec::new();
    for (line, row) in rows {
        if row.len() != names.len() {
            return Err(Fault::call(format!("CSV parse error on line {line}: wrong number of fields")));
        }
        let items: BTreeMap<Arc<str>, Value> = names.iter().cloned().zip(row.iter().map(Value::string)).collect();
        objects.push(Value::object(items));
    }
    Ok(Value::list(element, objects))
}

type Row = (usize, Vec<String>);

/// Rows with the line they start on; empty lines are skipped.
fn csv_rows(text: &str) -> Result<Vec<Row>, (usize, &'static str)> {
    let text = text.replace("\r\n", "\n");
    let mut rows = Vec::new();
    let mut chars = text.chars().peekable();
    let mut line = 1;
    while chars.peek().is_some() {
        if chars.next_if_eq(&'\n').is_some() {
            line += 1;
            continue;
        }
        let start = line;
        let mut fields = Vec::new();
        loop {
            let mut field = String::new();
            if chars.next_if_eq(&'"').is_some() {
                loop {
                    match chars.next() {
                        Some('"') if chars.next_if_eq(&'"').is_some() => field.push('"'),
                        Some('"') => break,
                        Some(c) => {
                            line += usize::from(c == '\n');
                            field.push(c);
                        }
                        None => return Err((line, "extraneous or missing \" in quoted-field")),
                    }
                }
                if chars.peek().is_some_and(|c| !matches!(c, ',' | '\n')) {
                    return Err((line, "extraneous or missing \" in quoted-field"));
                }
            } else {
                while let Some(c) = chars.next_if(|c| !matches!(c, ',' | '\n')) {
                    if c == '"' {
                        return Err((line, "bare \" in non-quoted field"));
                    }
                    field.push(c);
                }
            }
            fields.push(field);
            if chars.next_if_eq(&',').is_none() {
                break;
            }
        }
        if chars.next_if_eq(&'\n').is_some() {
            line += 1;
        }
        rows.push((start, fields));
    }
    Ok(rows)
}
