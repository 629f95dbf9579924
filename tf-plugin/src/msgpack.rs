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
    write_value(&mut out, value, ty)?;
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
        (Some(o), Type::Object(types)) => write_object(&mut out, o, types)?,
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

    fn value(&mut self, ty: &Type, depth: usize) -> Result<Value, Diagnostic> {
        if depth > DEPTH_LIMIT {
            return Err(broken("the value is nested too deeply"));
        }
        let marker = self.marker()?;
        if marker == Marker::Null {
            return Ok(Value::Null);
        }
        if let Some(n) = self.ext_length(marker)? {
            let kind = self.uint(1)? as i8;
            let payload = self.bytes(n)?;
            return if kind == EXT_REFINED && *ty != Type::Dynamic {
                Ok(Value::refined(refinements(payload, ty)?))
            } else {
                Ok(Value::UNKNOWN)
            };
        }
        let below = depth + 1;
        let found = || misfit(ty, marker_name(marker));
        match ty {
            Type::String => self.string(marker)?.map(Value::from).ok_or_else(found),
            Type::Number => self.number(marker)?.map(Value::Number).ok_or_else(found),
            Type::Bool => match marker {
                Marker::True => Ok(Value::Bool(true)),
                Marker::False => Ok(Value::Bool(false)),
                _ => Err(found()),
            },
            Type::List(element) => {
                let n = self.array_length(marker)?.ok_or_else(found)?;
                self.elements(n, below, |_| element, Step::Index).map(Value::List)
            }
            Type::Set(element) => {
                let n = self.array_length(marker)?.ok_or_else(found)?;
                self.elements(n, below, |_| element, |_| some_element()).map(Value::set)
            }
            Type::Tuple(types) => {
                let n = self.array_length(marker)?.ok_or_else(found)?;
                if n != types.len() {
                    return Err(misfit(ty, &format!("an array of {n}")));
                }
                self.elements(n, below, |i| &types[i], Step::Index).map(Value::Tuple)
            }
            Type::Map(element) => {
                let n = self.map_length(marker)?.ok_or_else(found)?;
                let mut map = BTreeMap::new();
                for _ in 0..n {
                    let key = self.key()?;
                    let value = self.value(element, below).map_err(|d| d.within(Step::Key(key.to_owned())))?;
                    map.insert(key.to_owned(), value);
                }
                Ok(Value::Map(map))
            }
            Type::Object(types) => {
                let n = self.map_length(marker)?.ok_or_else(found)?;
                let mut object = Object::new();
                for _ in 0..n {
                    let key = self.key()?;
                    let at = |d: Diagnostic| d.within(Step::Attr(key.to_owned()));
                    let ty = types.get(key).ok_or_else(|| at(broken("the schema has no such attribute")))?;
                    object.set(key, self.value(ty, below).map_err(at)?);
                }
                match types.keys().find(|k| object.get(k).is_none()) {
                    Some(missing) => Err(broken("the attribute is missing").within(Step::Attr(missing.clone()))),
                    None => Ok(Value::Object(object)),
                }
            }
            Type::Dynamic => {
                if self.array_length(marker)? != Some(2) {
                    return Err(found());
                }
                let marker = self.marker()?;
                let text = self.text(marker)?.ok_or_else(|| broken("a dynamic value has no type"))?;
                let inner = json::decode_type(text)?;
                let value = self.value(&inner, below)?;
                Ok(Value::Dynamic(inner, Box::new(value)))
            }
        }
    }

    fn elements<'t>(
        &mut self,
        n: usize,
        depth: usize,
        ty: impl Fn(usize) -> &'t Type,
        step: impl Fn(usize) -> Step,
    ) -> Result<Vec<Value>, Diagnostic> {
        // Every element takes a byte at least, so a false length reserves nothing.
        let mut elements = Vec::with_capacity(n.min(self.rest.len()).min(4_096));
        for i in 0..n {
            elements.push(self.value(ty(i), depth).map_err(|d| d.within(step(i)))?);
        }
        Ok(elements)
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

fn write_object(out: &mut Vec<u8>, o: &Object, types: &BTreeMap<String, Type>) -> Result<(), Diagnostic> {
    if let Some((extra, _)) = o.iter().find(|(k, _)| !types.contains_key(*k)) {
        return Err(broken("the schema has no such attribute").within(Step::Attr(extra.to_owned())));
    }
    write_map(out, types.len())?;
    for (name, ty) in types {
        write_str(out, name)?;
        let at = |d: Diagnostic| d.within(Step::Attr(name.clone()));
        let value = o.get(name).ok_or_else(|| at(broken("the attribute is missing")))?;
        write_value(out, value, ty).map_err(at)?;
    }
    Ok(())
}

fn write_value(out: &mut Vec<u8>, value: &Value, ty: &Type) -> Result<(), Diagnostic> {
    match (value, ty) {
        (Value::Null, _) => out.push(Marker::Null.to_u8()),
        (Value::Unknown(r), _) => write_unknown(out, r.as_deref(), ty)?,
        (Value::String(s), Type::String) => write_str(out, s)?,
        (Value::Number(n), Type::Number) => write_number(out, n)?,
        (Value::Bool(b), Type::Bool) => write_bool(out, *b),
        (Value::List(elements), Type::List(t)) => {
            write_array(out, elements.len())?;
            for (i, v) in elements.iter().enumerate() {
                write_value(out, v, t).map_err(|d| d.within(Step::Index(i)))?;
            }
        }
        (Value::Set(elements), Type::Set(t)) => {
            write_array(out, elements.len())?;
            for v in elements {
                write_value(out, v, t).map_err(|d| d.within(some_element()))?;
            }
        }
        (Value::Tuple(elements), Type::Tuple(types)) if elements.len() == types.len() => {
            write_array(out, elements.len())?;
            for (i, (v, t)) in elements.iter().zip(types).enumerate() {
                write_value(out, v, t).map_err(|d| d.within(Step::Index(i)))?;
            }
        }
        (Value::Map(elements), Type::Map(t)) => {
            write_map(out, elements.len())?;
            for (key, v) in elements {
                write_str(out, key)?;
                write_value(out, v, t).map_err(|d| d.within(Step::Key(key.clone())))?;
            }
        }
        (Value::Object(o), Type::Object(types)) => write_object(out, o, types)?,
        (Value::Dynamic(inner, v), Type::Dynamic) => {
            write_array(out, 2)?;
            write_bin(out, &json::encode_type(inner))?;
            write_value(out, v, inner)?;
        }
        (v, t) => return Err(misfit(t, v.kind_name())),
    }
    Ok(())
}
