//! Values as MessagePack, as Terraform sends and takes them (facts 7.2 and 7.3).
//!
//! No input makes the reader panic; it goes no deeper than [`DEPTH_LIMIT`] and reserves no more than it has read.

use crate::diagnostic::Diagnostic;
use crate::json;
use crate::path::Step;
use crate::value::{DEPTH_LIMIT, Number, Object, Refinements, Type, Value};
use rmp::Marker;
use std::collections::BTreeMap;

/// Extension of an unknown value of which nothing is known.
const EXT_UNKNOWN: i8 = 0;
/// Extension of an unknown value with refinements.
const EXT_REFINED: i8 = 12;
/// Terraform refuses longer refinements.
const REFINEMENT_LIMIT: usize = 1_024;

/// Reads a value of a type.
///
/// # Errors
/// Bytes that are no value of the type, at their place; also bytes after the value.
pub fn decode(bytes: &[u8], ty: &Type) -> Result<Value, Diagnostic> {
    let mut reader = Reader { rest: bytes };
    let value = reader.value(ty, 0)?;
    if reader.rest.is_empty() { Ok(value) } else { Err(broken("there are bytes after the value")) }
}

/// Reads an object or null.
///
/// # Errors
/// As [`decode`]; also an unknown, since no message holds one as a whole.
pub fn decode_object(bytes: &[u8], ty: &Type) -> Result<Option<Object>, Diagnostic> {
    match decode(bytes, ty)? {
        Value::Null => Ok(None),
        Value::Object(o) => Ok(Some(o)),
        other => Err(broken(format!("an object is needed, this is {}", other.kind_name()))),
    }
}

/// Writes a value of a type.
///
/// # Errors
/// A value that is not of the type, at its place.
pub fn encode(value: &Value, ty: &Type) -> Result<Vec<u8>, Diagnostic> {
    let mut out = Vec::new();
    write_value(&mut out, value, ty, 0)?;
    Ok(out)
}

/// Writes an object or null.
///
/// # Errors
/// As [`encode`].
pub fn encode_object(object: Option<&Object>, ty: &Type) -> Result<Vec<u8>, Diagnostic> {
    let mut out = Vec::new();
    match (object, ty) {
        (None, _) => out.push(Marker::Null.to_u8()),
        (Some(o), Type::Object(types)) => write_object(&mut out, o, types, 1)?,
        (Some(_), t) => return Err(misfit(t, "an object")),
    }
    Ok(out)
}

fn broken(why: impl Into<String>) -> Diagnostic {
    Diagnostic::error("Value cannot be read", why)
}

fn misfit(ty: &Type, found: &str) -> Diagnostic {
    Diagnostic::error("Value does not fit the schema", format!("A value of type {ty} is needed, this is {found}."))
}

/// The place of an element of a set that could not be read or written; the element itself is not repeated.
fn some_element() -> Step {
    Step::Element(Box::new(Value::UNKNOWN))
}

fn element_step(ty: &Type, index: usize) -> Step {
    if matches!(ty, Type::Set(_)) { some_element() } else { Step::Index(index) }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, n: usize) -> Result<&'a [u8], Diagnostic> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or_else(|| broken("the value is cut off"))?;
        self.rest = rest;
        Ok(head)
    }

    /// A big-endian number of `n` bytes, at most 8.
    fn uint(&mut self, n: usize) -> Result<u64, Diagnostic> {
        Ok(self.bytes(n)?.iter().fold(0, |all, b| all << 8 | u64::from(*b)))
    }

    fn length(&mut self, n: usize) -> Result<usize, Diagnostic> {
        usize::try_from(self.uint(n)?).map_err(|_| broken("a length is too large"))
    }

    fn marker(&mut self) -> Result<Marker, Diagnostic> {
        Ok(Marker::from_u8(self.bytes(1)?[0]))
    }

    fn ext_length(&mut self, marker: Marker) -> Result<Option<usize>, Diagnostic> {
        Ok(Some(match marker {
            Marker::FixExt1 => 1,
            Marker::FixExt2 => 2,
            Marker::FixExt4 => 4,
            Marker::FixExt8 => 8,
            Marker::FixExt16 => 16,
            Marker::Ext8 => self.length(1)?,
            Marker::Ext16 => self.length(2)?,
            Marker::Ext32 => self.length(4)?,
            _ => return Ok(None),
        }))
    }

    fn array_length(&mut self, marker: Marker) -> Result<Option<usize>, Diagnostic> {
        Ok(Some(match marker {
            Marker::FixArray(n) => n.into(),
            Marker::Array16 => self.length(2)?,
            Marker::Array32 => self.length(4)?,
            _ => return Ok(None),
        }))
    }

    fn map_length(&mut self, marker: Marker) -> Result<Option<usize>, Diagnostic> {
        Ok(Some(match marker {
            Marker::FixMap(n) => n.into(),
            Marker::Map16 => self.length(2)?,
            Marker::Map32 => self.length(4)?,
            _ => return Ok(None),
        }))
    }

    /// Bytes of a str or bin.
    fn text(&mut self, marker: Marker) -> Result<Option<&'a [u8]>, Diagnostic> {
        let n = match marker {
            Marker::FixStr(n) => n.into(),
            Marker::Str8 | Marker::Bin8 => self.length(1)?,
            Marker::Str16 | Marker::Bin16 => self.length(2)?,
            Marker::Str32 | Marker::Bin32 => self.length(4)?,
            _ => return Ok(None),
        };
        self.bytes(n).map(Some)
    }

    fn string(&mut self, marker: Marker) -> Result<Option<&'a str>, Diagnostic> {
        let Some(bytes) = self.text(marker)? else { return Ok(None) };
        std::str::from_utf8(bytes).map(Some).map_err(|_| broken("a string is not UTF-8"))
    }

    fn number(&mut self, marker: Marker) -> Result<Option<Number>, Diagnostic> {
        let float = |f: f64| Number::from_f64(f).ok_or_else(|| broken("NaN is not a number"));
        Ok(Some(match marker {
            Marker::FixPos(n) => n.into(),
            Marker::FixNeg(n) => i64::from(n).into(),
            Marker::U8 => self.uint(1)?.into(),
            Marker::U16 => self.uint(2)?.into(),
            Marker::U32 => self.uint(4)?.into(),
            Marker::U64 => self.uint(8)?.into(),
            Marker::I8 => i64::from(self.uint(1)? as i8).into(),
            Marker::I16 => i64::from(self.uint(2)? as i16).into(),
            Marker::I32 => i64::from(self.uint(4)? as i32).into(),
            Marker::I64 => (self.uint(8)? as i64).into(),
            Marker::F32 => float(f32::from_bits(self.uint(4)? as u32).into())?,
            Marker::F64 => float(f64::from_bits(self.uint(8)?))?,
            other => match self.string(other)? {
                Some(text) => Number::parse(text).map_err(|e| broken(e.to_string()))?,
                None => return Ok(None),
            },
        }))
    }

    // Containers have functions of their own, which keeps the stack small: values may be nested to the limit.
    fn value(&mut self, ty: &Type, depth: usize) -> Result<Value, Diagnostic> {
        if depth > DEPTH_LIMIT {
            return Err(broken("the value is nested too deeply"));
        }
        let marker = self.marker()?;
        if marker == Marker::Null {
            return Ok(Value::Null);
        }
        if let Some(n) = self.ext_length(marker)? {
            return self.unknown(n, ty);
        }
        match ty {
            Type::String | Type::Number | Type::Bool => self.scalar(marker, ty),
            Type::List(_) | Type::Set(_) | Type::Tuple(_) => self.elements(marker, ty, depth + 1),
            Type::Map(element) => self.map(marker, ty, element, depth + 1),
            Type::Object(types) => self.object(marker, ty, types, depth + 1),
            Type::Dynamic => self.dynamic(marker, depth + 1),
        }
    }

    /// What an extension of `n` bytes says.
    fn unknown(&mut self, n: usize, ty: &Type) -> Result<Value, Diagnostic> {
        let kind = self.uint(1)? as i8;
        let payload = self.bytes(n)?;
        if kind == EXT_REFINED && *ty != Type::Dynamic {
            Ok(Value::refined(refinements(payload, ty)?))
        } else {
            Ok(Value::UNKNOWN)
        }
    }

    fn scalar(&mut self, marker: Marker, ty: &Type) -> Result<Value, Diagnostic> {
        let found = match (ty, marker) {
            (Type::String, _) => self.string(marker)?.map(Value::from),
            (Type::Number, _) => self.number(marker)?.map(Value::Number),
            (_, Marker::True) => Some(Value::Bool(true)),
            (_, Marker::False) => Some(Value::Bool(false)),
            _ => None,
        };
        found.ok_or_else(|| misfit(ty, marker_name(marker)))
    }

    fn map(&mut self, marker: Marker, ty: &Type, element: &Type, depth: usize) -> Result<Value, Diagnostic> {
        let n = self.map_length(marker)?.ok_or_else(|| misfit(ty, marker_name(marker)))?;
        let mut map = BTreeMap::new();
        for _ in 0..n {
            let key = self.key()?;
            match self.value(element, depth) {
                Ok(v) => map.insert(key.to_owned(), v),
                Err(d) => return Err(d.within(Step::Key(key.to_owned()))),
            };
        }
        Ok(Value::Map(map))
    }

    fn object(
        &mut self,
        marker: Marker,
        ty: &Type,
        types: &BTreeMap<String, Type>,
        depth: usize,
    ) -> Result<Value, Diagnostic> {
        let n = self.map_length(marker)?.ok_or_else(|| misfit(ty, marker_name(marker)))?;
        let mut object = Object::new();
        for _ in 0..n {
            let key = self.key()?;
            let value = match types.get(key) {
                Some(ty) => self.value(ty, depth),
                None => Err(broken("the schema has no such attribute")),
            };
            match value {
                Ok(v) => object.set(key, v),
                Err(d) => return Err(d.within(Step::Attr(key.to_owned()))),
            }
        }
        match types.keys().find(|k| object.get(k).is_none()) {
            Some(missing) => Err(broken("the attribute is missing").within(Step::Attr(missing.clone()))),
            None => Ok(Value::Object(object)),
        }
    }

    fn dynamic(&mut self, marker: Marker, depth: usize) -> Result<Value, Diagnostic> {
        if self.array_length(marker)? != Some(2) {
            return Err(misfit(&Type::Dynamic, marker_name(marker)));
        }
        let marker = self.marker()?;
        let text = self.text(marker)?.ok_or_else(|| broken("a dynamic value has no type"))?;
        let inner = json::decode_type(text)?;
        let value = self.value(&inner, depth)?;
        Ok(Value::Dynamic(inner, Box::new(value)))
    }

    /// A list, set or tuple.
    fn elements(&mut self, marker: Marker, ty: &Type, depth: usize) -> Result<Value, Diagnostic> {
        let n = self.array_length(marker)?.ok_or_else(|| misfit(ty, marker_name(marker)))?;
        if matches!(ty, Type::Tuple(types) if types.len() != n) {
            return Err(misfit(ty, &format!("an array of {n}")));
        }
        // Every element takes a byte at least, so a false length reserves nothing.
        let mut elements = Vec::with_capacity(n.min(self.rest.len()).min(4_096));
        for i in 0..n {
            let element = match ty {
                Type::List(t) | Type::Set(t) => t,
                Type::Tuple(types) => &types[i],
                _ => return Err(misfit(ty, marker_name(marker))),
            };
            match self.value(element, depth) {
                Ok(v) => elements.push(v),
                Err(d) => return Err(d.within(element_step(ty, i))),
            }
        }
        Ok(match ty {
            Type::Set(_) => Value::set(elements),
            Type::Tuple(_) => Value::Tuple(elements),
            _ => Value::List(elements),
        })
    }

    fn key(&mut self) -> Result<&'a str, Diagnostic> {
        let marker = self.marker()?;
        self.string(marker)?.ok_or_else(|| broken("a key is not a string"))
    }

    /// Skips a value of any kind.
    fn skip(&mut self) -> Result<(), Diagnostic> {
        let mut pending = 1_usize;
        while pending > 0 {
            pending -= 1;
            let marker = self.marker()?;
            if let Some(n) = self.ext_length(marker)? {
                self.bytes(n + 1)?;
            } else if let Some(n) = self.array_length(marker)? {
                pending = pending.saturating_add(n);
            } else if let Some(n) = self.map_length(marker)? {
                pending = pending.saturating_add(n.saturating_mul(2));
            } else {
                let fixed = match marker {
                    Marker::U8 | Marker::I8 => 1,
                    Marker::U16 | Marker::I16 => 2,
                    Marker::U32 | Marker::I32 | Marker::F32 => 4,
                    Marker::U64 | Marker::I64 | Marker::F64 => 8,
                    other => {
                        self.text(other)?;
                        0
                    }
                };
                self.bytes(fixed)?;
            }
        }
        Ok(())
    }
}

fn marker_name(marker: Marker) -> &'static str {
    match marker {
        Marker::Null => "null",
        Marker::True | Marker::False => "a bool",
        Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => "a string",
        Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => "bytes",
        Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => "an array",
        Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => "a map",
        Marker::Reserved => "a reserved byte",
        _ => "a number",
    }
}

/// Entries that do not fit the type are skipped, as unknown keys are.
fn refinements(payload: &[u8], ty: &Type) -> Result<Refinements, Diagnostic> {
    let mut found = Refinements::default();
    if payload.len() > REFINEMENT_LIMIT {
        return Err(broken("the refinements of an unknown value are too long"));
    }
    let mut reader = Reader { rest: payload };
    let marker = reader.marker()?;
    let n = reader.map_length(marker)?.ok_or_else(|| broken("the refinements of an unknown value are no map"))?;
    let is_collection = matches!(ty, Type::List(_) | Type::Set(_) | Type::Map(_));
    for _ in 0..n {
        let marker = reader.marker()?;
        let key = reader.number(marker)?.and_then(|k| k.to_i64().ok());
        match (key, ty) {
            (Some(1), _) => found.not_null = reader.marker()? == Marker::False,
            (Some(2), Type::String) => {
                let marker = reader.marker()?;
                found.prefix = reader.string(marker)?.filter(|p| !p.is_empty()).map(str::to_owned);
            }
            (Some(side @ (3 | 4)), Type::Number) => {
                let marker = reader.marker()?;
                if reader.array_length(marker)? != Some(2) {
                    return Err(broken("a bound of an unknown number is no pair"));
                }
                let marker = reader.marker()?;
                let bound = reader.number(marker)?.ok_or_else(|| broken("a bound is not a number"))?;
                let inclusive = reader.marker()? == Marker::True;
                let place = if side == 3 { &mut found.lower } else { &mut found.upper };
                *place = Some((bound, inclusive));
            }
            (Some(side @ (5 | 6)), _) if is_collection => {
                let marker = reader.marker()?;
                let length = reader.number(marker)?.and_then(|n| n.to_u64().ok());
                *(if side == 5 { &mut found.min_length } else { &mut found.max_length }) = length;
            }
            _ => reader.skip()?,
        }
    }
    Ok(found)
}

fn put(out: &mut Vec<u8>, marker: Marker, bytes: &[u8]) {
    out.push(marker.to_u8());
    out.extend_from_slice(bytes);
}

fn write_length(
    out: &mut Vec<u8>,
    n: usize,
    small: Option<Marker>,
    mid: Marker,
    large: Marker,
) -> Result<(), Diagnostic> {
    if let Some(marker) = small {
        out.push(marker.to_u8());
    } else if let Ok(n) = u16::try_from(n) {
        put(out, mid, &n.to_be_bytes());
    } else {
        let n = u32::try_from(n).map_err(|_| broken("a value is larger than 4 GiB"))?;
        put(out, large, &n.to_be_bytes());
    }
    Ok(())
}

fn small(n: usize, limit: u8) -> Option<u8> {
    u8::try_from(n).ok().filter(|n| *n < limit)
}

fn write_array(out: &mut Vec<u8>, n: usize) -> Result<(), Diagnostic> {
    write_length(out, n, small(n, 16).map(Marker::FixArray), Marker::Array16, Marker::Array32)
}

fn write_map(out: &mut Vec<u8>, n: usize) -> Result<(), Diagnostic> {
    write_length(out, n, small(n, 16).map(Marker::FixMap), Marker::Map16, Marker::Map32)
}

fn write_str(out: &mut Vec<u8>, text: &str) -> Result<(), Diagnostic> {
    let n = text.len();
    match (small(n, 32), u8::try_from(n)) {
        (None, Ok(n)) => put(out, Marker::Str8, &[n]),
        (fix, _) => write_length(out, n, fix.map(Marker::FixStr), Marker::Str16, Marker::Str32)?,
    }
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn write_bin(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Diagnostic> {
    match u8::try_from(bytes.len()) {
        Ok(n) => put(out, Marker::Bin8, &[n]),
        Err(_) => write_length(out, bytes.len(), None, Marker::Bin16, Marker::Bin32)?,
    }
    out.extend_from_slice(bytes);
    Ok(())
}

fn write_number(out: &mut Vec<u8>, number: &Number) -> Result<(), Diagnostic> {
    if let Ok(i) = number.to_i64() {
        write_int(out, i);
    } else if let Ok(f) = number.to_f64_exact() {
        put(out, Marker::F64, &f.to_be_bytes());
    } else {
        write_str(out, &number.to_string())?;
    }
    Ok(())
}

/// The shortest form of an integer.
fn write_int(out: &mut Vec<u8>, i: i64) {
    match i {
        0..=127 => out.push(Marker::FixPos(i as u8).to_u8()),
        -32..=-1 => out.push(Marker::FixNeg(i as i8).to_u8()),
        128..=0xff => put(out, Marker::U8, &[i as u8]),
        0x100..=0xffff => put(out, Marker::U16, &(i as u16).to_be_bytes()),
        0x1_0000..=0xffff_ffff => put(out, Marker::U32, &(i as u32).to_be_bytes()),
        0x1_0000_0000.. => put(out, Marker::U64, &(i as u64).to_be_bytes()),
        -0x80..=-33 => put(out, Marker::I8, &[i as u8]),
        -0x8000..=-0x81 => put(out, Marker::I16, &(i as i16).to_be_bytes()),
        -0x8000_0000..=-0x8001 => put(out, Marker::I32, &(i as i32).to_be_bytes()),
        _ => put(out, Marker::I64, &i.to_be_bytes()),
    }
}

fn write_bool(out: &mut Vec<u8>, b: bool) {
    out.push(if b { Marker::True } else { Marker::False }.to_u8());
}

fn write_unknown(out: &mut Vec<u8>, refinements: Option<&Refinements>, ty: &Type) -> Result<(), Diagnostic> {
    let payload = match refinements {
        Some(r) if *ty != Type::Dynamic => refinement_payload(r, ty)?,
        _ => None,
    };
    let Some(payload) = payload else {
        put(out, Marker::FixExt1, &[EXT_UNKNOWN as u8, 0]);
        return Ok(());
    };
    let marker = match payload.len() {
        1 => Marker::FixExt1,
        2 => Marker::FixExt2,
        4 => Marker::FixExt4,
        8 => Marker::FixExt8,
        16 => Marker::FixExt16,
        n if n < 256 => Marker::Ext8,
        _ => Marker::Ext16,
    };
    out.push(marker.to_u8());
    match marker {
        Marker::Ext8 => out.push(payload.len() as u8),
        Marker::Ext16 => out.extend_from_slice(&(payload.len() as u16).to_be_bytes()),
        _ => {}
    }
    out.push(EXT_REFINED as u8);
    out.extend_from_slice(&payload);
    Ok(())
}

/// Nothing when there is no entry that fits the type, or when the entries cannot be made short enough.
fn refinement_payload(r: &Refinements, ty: &Type) -> Result<Option<Vec<u8>>, Diagnostic> {
    let mut n = 0;
    let mut entries = Vec::new();
    let mut entry = |out: &mut Vec<u8>, key: i64| {
        n += 1;
        write_int(out, key);
    };
    if r.not_null {
        entry(&mut entries, 1);
        write_bool(&mut entries, false);
    }
    match ty {
        Type::String => {
            if let Some(prefix) = &r.prefix {
                entry(&mut entries, 2);
                // Leaves room for the map, the key and the length.
                let mut end = prefix.len().min(REFINEMENT_LIMIT - 16);
                while !prefix.is_char_boundary(end) {
                    end -= 1;
                }
                write_str(&mut entries, &prefix[..end])?;
            }
        }
        Type::Number => {
            for (key, bound) in [(3, &r.lower), (4, &r.upper)] {
                if let Some((amount, inclusive)) = bound {
                    entry(&mut entries, key);
                    write_array(&mut entries, 2)?;
                    write_number(&mut entries, amount)?;
                    write_bool(&mut entries, *inclusive);
                }
            }
        }
        Type::List(_) | Type::Set(_) | Type::Map(_) => {
            for (key, bound) in [(5, r.min_length), (6, r.max_length)] {
                if let Some(length) = bound.and_then(|l| i64::try_from(l).ok()) {
                    entry(&mut entries, key);
                    write_int(&mut entries, length);
                }
            }
        }
        _ => {}
    }
    let mut payload = Vec::with_capacity(entries.len() + 1);
    write_map(&mut payload, n)?;
    payload.append(&mut entries);
    Ok((n > 0 && payload.len() <= REFINEMENT_LIMIT).then_some(payload))
}

fn write_object(out: &mut Vec<u8>, o: &Object, types: &BTreeMap<String, Type>, depth: usize) -> Result<(), Diagnostic> {
    if let Some((extra, _)) = o.iter().find(|(k, _)| !types.contains_key(*k)) {
        return Err(broken("the schema has no such attribute").within(Step::Attr(extra.to_owned())));
    }
    write_map(out, types.len())?;
    for (name, ty) in types {
        write_str(out, name)?;
        let at = |d: Diagnostic| d.within(Step::Attr(name.clone()));
        let value = o.get(name).ok_or_else(|| at(broken("the attribute is missing")))?;
        write_value(out, value, ty, depth).map_err(at)?;
    }
    Ok(())
}

fn write_value(out: &mut Vec<u8>, value: &Value, ty: &Type, depth: usize) -> Result<(), Diagnostic> {
    if depth > DEPTH_LIMIT {
        return Err(broken("the value is nested too deeply"));
    }
    match (value, ty) {
        (Value::Null, _) => out.push(Marker::Null.to_u8()),
        (Value::Unknown(r), _) => write_unknown(out, r.as_deref(), ty)?,
        (Value::String(s), Type::String) => write_str(out, s)?,
        (Value::Number(n), Type::Number) => write_number(out, n)?,
        (Value::Bool(b), Type::Bool) => write_bool(out, *b),
        (Value::List(e), Type::List(_)) => write_elements(out, e, ty, depth + 1)?,
        (Value::Set(s), Type::Set(_)) => write_elements(out, s.as_slice(), ty, depth + 1)?,
        (Value::Tuple(e), Type::Tuple(types)) if e.len() == types.len() => write_elements(out, e, ty, depth + 1)?,
        (Value::Map(elements), Type::Map(t)) => {
            write_map(out, elements.len())?;
            for (key, v) in elements {
                write_str(out, key)?;
                write_value(out, v, t, depth + 1).map_err(|d| d.within(Step::Key(key.clone())))?;
            }
        }
        (Value::Object(o), Type::Object(types)) => write_object(out, o, types, depth + 1)?,
        (Value::Dynamic(inner, v), Type::Dynamic) => {
            write_array(out, 2)?;
            write_bin(out, &json::encode_type(inner))?;
            write_value(out, v, inner, depth + 1)?;
        }
        (v, t) => return Err(misfit(t, v.kind_name())),
    }
    Ok(())
}

/// A list, set or tuple.
fn write_elements(out: &mut Vec<u8>, elements: &[Value], ty: &Type, depth: usize) -> Result<(), Diagnostic> {
    write_array(out, elements.len())?;
    for (i, v) in elements.iter().enumerate() {
        let element = match ty {
            Type::List(t) | Type::Set(t) => t,
            Type::Tuple(types) => &types[i],
            _ => return Err(misfit(ty, "a sequence")),
        };
        write_value(out, v, element, depth).map_err(|d| d.within(element_step(ty, i)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path;
    use crate::value::strategy::{any_value, typed};
    use proptest::prelude::*;

    fn back(value: &Value, ty: &Type) -> Value {
        decode(&encode(value, ty).unwrap(), ty).unwrap()
    }

    proptest! {
        #[test]
        fn every_value_comes_back_as_it_was((ty, value) in typed(true)) {
            prop_assert_eq!(back(&value, &ty), value);
        }

        #[test]
        fn no_bytes_make_the_reader_panic((ty, _) in typed(true), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes, &ty);
        }

        #[test]
        fn a_broken_message_makes_no_panic((ty, value) in typed(true), at in any::<prop::sample::Index>(), byte: u8, cut: bool) {
            let mut bytes = encode(&value, &ty).unwrap();
            let i = at.index(bytes.len());
            if cut {
                bytes.truncate(i);
                prop_assert!(decode(&bytes, &ty).is_err());
            } else {
                bytes[i] = byte;
                if let Ok(read) = decode(&bytes, &ty) {
                    prop_assert!(read.conforms(&ty).is_ok());
                }
            }
        }

        #[test]
        fn a_value_of_another_type_is_refused_and_not_written_wrongly((ty, _) in typed(true), value in any_value()) {
            prop_assert_eq!(value.conforms(&ty).is_ok(), encode(&value, &ty).is_ok());
        }
    }

    #[test]
    fn the_known_bytes_of_the_protocol_are_written() {
        assert_eq!(encode(&Value::UNKNOWN, &Type::String).unwrap(), [0xd4, 0, 0]);
        assert_eq!(encode(&Value::Null, &Type::Bool).unwrap(), [0xc0]);
        assert_eq!(encode(&5.into(), &Type::Number).unwrap(), [5]);
        assert_eq!(encode(&Number::parse("5.0").unwrap().into(), &Type::Number).unwrap(), [5]);
        assert_eq!(encode(&Number::parse("1.5").unwrap().into(), &Type::Number).unwrap()[0], 0xcb);
        assert_eq!(encode(&Number::parse("1.1").unwrap().into(), &Type::Number).unwrap(), b"\xa31.1");
        assert_eq!(
            encode(&Number::parse("12345678901234567890123").unwrap().into(), &Type::Number).unwrap(),
            b"\xb712345678901234567890123"
        );
        let dynamic = Value::Dynamic(Type::String, Box::new("a".into()));
        assert_eq!(encode(&dynamic, &Type::Dynamic).unwrap(), b"\x92\xc4\x08\"string\"\xa1a");
        let sure = Value::unknown_not_null();
        assert_eq!(encode(&sure, &Type::String).unwrap(), [0xc7, 3, 12, 0x81, 1, 0xc2]);
        assert_eq!(encode(&sure, &Type::Dynamic).unwrap(), [0xd4, 0, 0], "dynamic has no refinements");
    }

    #[test]
    fn every_form_of_a_number_is_read() {
        for bytes in
            [&[5_u8][..], &[0xcc, 5], &[0xcd, 0, 5], &[0xd0, 5], &[0xca, 0x40, 0xa0, 0, 0], b"\xa15", b"\xa35.0"]
        {
            assert_eq!(decode(bytes, &Type::Number).unwrap(), 5.into(), "{bytes:?}");
        }
        let big = decode(b"\xa41e30", &Type::Number).unwrap();
        assert_eq!(big.as_number().unwrap().to_string(), format!("1{}", "0".repeat(30)));
        assert!(decode(&[0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0], &Type::Number).is_err(), "NaN");
        let infinite = decode(&[0xcb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0], &Type::Number).unwrap();
        assert_eq!(back(&infinite, &Type::Number), infinite);
    }

    #[test]
    fn extensions_that_are_not_known_are_plain_unknowns() {
        assert_eq!(decode(&[0xd4, 99, 7], &Type::String).unwrap(), Value::UNKNOWN);
        assert_eq!(decode(&[0xd4, 0, 7], &Type::String).unwrap(), Value::UNKNOWN);
    }

    #[test]
    fn refinements_of_other_types_and_unknown_keys_are_skipped() {
        // {1: false, 2: "ab", 77: [1, {2: nil}], 5: 3} for a list: the prefix and 77 mean nothing.
        let payload = [0x84, 1, 0xc2, 2, 0xa2, b'a', b'b', 77, 0x92, 1, 0x81, 2, 0xc0, 5, 3];
        let mut bytes = vec![0xc7, payload.len() as u8, 12];
        bytes.extend(payload);
        let read = decode(&bytes, &Type::list(Type::String)).unwrap();
        let wanted = Refinements { not_null: true, min_length: Some(3), ..Refinements::default() };
        assert_eq!(read, Value::refined(wanted));
    }

    #[test]
    fn a_long_prefix_is_cut_at_a_character_to_fit() {
        let prefix = Some("ä".repeat(2_000));
        let value = Value::refined(Refinements { prefix, ..Refinements::default() });
        let Value::Unknown(Some(r)) = back(&value, &Type::String) else { panic!("not refined") };
        let cut = r.prefix.unwrap();
        assert!(cut.len() > 900 && cut.chars().all(|c| c == 'ä'));
        let long = vec![0xc8, 8, 0, 12];
        assert!(decode(&[long, vec![0; 2_048]].concat(), &Type::String).is_err(), "refinements above 1,024 bytes");
    }

    #[test]
    fn unknown_elements_of_a_set_stay_apart_and_known_ones_are_merged() {
        let ty = Type::set(Type::String);
        let read = decode(b"\x95\xa1a\xd4\x00\x00\xa1a\xd4\x00\x00\xa1b", &ty).unwrap();
        assert_eq!(read.as_elements().unwrap().len(), 4);
    }

    #[test]
    fn an_error_names_the_place() {
        let ty = Type::object([("ports", Type::map(Type::object([("number", Type::list(Type::Number))])))]);
        let wrong = Value::object([(
            "ports",
            Value::map([("http", Value::object([("number", Value::list([1.into(), true.into()]))]))]),
        )]);
        let d = encode(&wrong, &ty).unwrap_err();
        assert_eq!(d.path, Some(path!("ports", ["http"], "number", [1])));
        let loose = Type::object([(
            "ports",
            Type::map(Type::object([("number", Type::Tuple(vec![Type::Number, Type::Bool]))])),
        )]);
        let tuple = Value::object([(
            "ports",
            Value::map([("http", Value::object([("number", Value::Tuple(vec![1.into(), true.into()]))]))]),
        )]);
        let d = decode(&encode(&tuple, &loose).unwrap(), &ty).unwrap_err();
        assert_eq!(d.path, Some(path!("ports", ["http"], "number", [1])));
        let d = decode(b"\x81\xa1x\xc0", &Type::object([("a", Type::String)])).unwrap_err();
        assert_eq!(d.path, Some(path!("x")));
        let d = decode(b"\x80", &Type::object([("a", Type::String)])).unwrap_err();
        assert_eq!(d.path, Some(path!("a")));
    }

    #[test]
    fn nesting_ends_at_the_limit_for_reader_and_writer() {
        let nested =
            |n: usize| (0..n).fold((Type::Bool, Value::Bool(true)), |(t, v), _| (Type::list(t), Value::list([v])));
        let (ty, value) = nested(DEPTH_LIMIT);
        assert_eq!(back(&value, &ty), value);
        let (ty, value) = nested(DEPTH_LIMIT + 1);
        assert!(encode(&value, &ty).is_err());
        let bytes = [vec![0x91; DEPTH_LIMIT + 1], vec![0xc3]].concat();
        assert!(decode(&bytes, &ty).is_err());
        let layer = b"\x92\xc4\x09\"dynamic\"";
        assert!(decode(&layer.repeat(100_000), &Type::Dynamic).is_err());
    }

    #[test]
    fn a_false_length_reserves_nothing() {
        assert!(decode(&[0xdd, 0xff, 0xff, 0xff, 0xff], &Type::list(Type::Bool)).is_err());
        assert!(decode(&[0xdb, 0xff, 0xff, 0xff, 0xff], &Type::String).is_err());
        assert!(decode(&[0xdf, 0xff, 0xff, 0xff, 0xff], &Type::map(Type::Bool)).is_err());
    }

    #[test]
    fn bytes_after_the_value_are_an_error() {
        assert!(decode(&[0xc0, 0xc0], &Type::String).is_err());
        assert!(decode(&[], &Type::String).is_err());
    }
}
