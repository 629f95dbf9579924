//! The codecs under input that nobody meant: valid values with bytes changed, cut, repeated and spliced.
//!
//! A short run is part of every test; `make fuzz` runs for `TF_PLUGIN_FUZZ_SECONDS`. A finding names its seed, and
//! `TF_PLUGIN_FUZZ_SEED` runs it again alone.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tf_plugin::json::{self, Attributes};
use tf_plugin::{Number, Refinements, Type, Value, msgpack};

/// Cases of the short run: a second or two, optimised or not.
const SHORT: u64 = 4_000;

/// A generator of its own (splitmix64), so that a seed means the same on every machine and in every release.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn ty(&mut self, depth: usize) -> Type {
        match self.below(if depth == 0 { 4 } else { 9 }) {
            0 => Type::String,
            1 => Type::Number,
            2 => Type::Bool,
            3 => Type::Dynamic,
            4 => Type::list(self.ty(depth - 1)),
            5 => Type::set(self.ty(depth - 1)),
            6 => Type::map(self.ty(depth - 1)),
            7 => Type::Tuple((0..self.below(3)).map(|_| self.ty(depth - 1)).collect()),
            _ => Type::object((0..self.below(4)).map(|i| (format!("a{i}"), self.ty(depth - 1)))),
        }
    }

    fn text(&mut self) -> String {
        const PARTS: [&str; 8] = ["", "a", "\u{0}", "ä", "\"\\\n", "1e30", "𝄞", "null"];
        (0..self.below(4)).map(|_| PARTS[self.below(PARTS.len())]).collect()
    }

    fn number(&mut self) -> Number {
        const TEXTS: [&str; 8] =
            ["0", "-1", "1.5", "1e30", "12345678901234567890123", "9223372036854775808", "1e-400", "0.1"];
        match self.below(3) {
            0 => Number::from(self.next() as i64),
            1 => Number::from_f64(f64::from_bits(self.next())).unwrap_or_else(|| 0.into()),
            _ => Number::parse(TEXTS[self.below(TEXTS.len())]).unwrap(),
        }
    }

    fn unknown(&mut self, ty: &Type) -> Value {
        let mut about = Refinements { not_null: self.below(2) == 0, ..Refinements::default() };
        match ty {
            Type::String => about.prefix = Some(self.text()).filter(|text| !text.is_empty()),
            Type::Number => about.lower = Some((self.number(), self.below(2) == 0)),
            Type::List(_) | Type::Set(_) | Type::Map(_) => about.max_length = Some(self.next() >> 40),
            Type::Dynamic => return Value::UNKNOWN,
            _ => {}
        }
        Value::refined(about)
    }

    fn value(&mut self, ty: &Type, unknowns: bool, depth: usize) -> Value {
        match self.below(10) {
            0 => return Value::Null,
            1 if unknowns => return self.unknown(ty),
            _ => {}
        }
        match ty {
            Type::String => self.text().into(),
            Type::Number => self.number().into(),
            Type::Bool => Value::Bool(self.below(2) == 0),
            Type::List(t) => Value::List((0..self.below(4)).map(|_| self.value(t, unknowns, depth)).collect()),
            Type::Set(t) => Value::set((0..self.below(4)).map(|_| self.value(t, unknowns, depth))),
            Type::Map(t) => {
                let all: BTreeMap<String, Value> =
                    (0..self.below(4)).map(|_| (self.text(), self.value(t, unknowns, depth))).collect();
                Value::Map(all)
            }
            Type::Tuple(types) => Value::Tuple(types.iter().map(|t| self.value(t, unknowns, depth)).collect()),
            Type::Object(types) => {
                Value::object(types.iter().map(|(k, t)| (k.clone(), self.value(t, unknowns, depth))))
            }
            Type::Dynamic if depth == 0 => Value::Null,
            Type::Dynamic => {
                let inner = self.ty(1);
                let value = self.value(&inner, unknowns, depth - 1);
                // What a dynamic place of dynamic type holds stands there by itself.
                if inner == Type::Dynamic { value } else { Value::Dynamic(inner, Box::new(value)) }
            }
        }
    }

    /// Changes a few places; sometimes none.
    fn harm(&mut self, bytes: &mut Vec<u8>) {
        const NASTY: [u8; 12] = [0xc0, 0xc1, 0xc7, 0xd4, 0xdb, 0xdd, 0xdf, 0xff, 0x00, b'"', b'{', b'['];
        for _ in 0..self.below(5) {
            let at = self.below(bytes.len() + 1);
            match self.below(6) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, NASTY[self.below(NASTY.len())]),
                2 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                3 if at < bytes.len() => bytes[at] = NASTY[self.below(NASTY.len())],
                4 => {
                    let again = bytes[at..].to_vec();
                    bytes.extend_from_slice(&again[..again.len().min(64)]);
                }
                _ if at < bytes.len() => drop(bytes.remove(at)),
                _ => {}
            }
        }
    }
}

/// Runs cases until the time or their number is over; a finding names its seed.
fn fuzz(case: fn(&mut Dice)) {
    let var = |key: &str| std::env::var(key).ok().and_then(|text| text.parse::<u64>().ok());
    let run = |seed: u64| {
        if let Err(found) = std::panic::catch_unwind(|| case(&mut Dice(seed))) {
            eprintln!("found with TF_PLUGIN_FUZZ_SEED={seed}");
            std::panic::resume_unwind(found);
        }
    };
    if let Some(seed) = var("TF_PLUGIN_FUZZ_SEED") {
        return run(seed);
    }
    let end = var("TF_PLUGIN_FUZZ_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    // The long run begins elsewhere each time; the short one is the same for everybody.
    let first = end.map_or(0, |_| u64::from(std::process::id()) << 32);
    let cases = if end.is_some() { u64::MAX - first } else { SHORT };
    for seed in (0..cases).map(|n| first + n) {
        if end.is_some_and(|end| Instant::now() >= end) {
            break;
        }
        run(seed);
    }
}

#[test]
fn msgpack_of_any_bytes_is_a_value_or_an_error() {
    fuzz(|dice| {
        let ty = dice.ty(3);
        let value = dice.value(&ty, true, 2);
        let mut bytes = msgpack::encode(&value, &ty).unwrap();
        assert_eq!(msgpack::decode(&bytes, &ty).unwrap(), value);
        dice.harm(&mut bytes);
        // Whatever it is taken for is written and read again as the same.
        if let Ok(read) = msgpack::decode(&bytes, &ty) {
            assert!(read.conforms(&ty).is_ok(), "{ty}: {read:?}");
            let again = msgpack::encode(&read, &ty).unwrap();
            assert_eq!(msgpack::decode(&again, &ty).unwrap(), read, "{ty}");
        }
        // Also under a type that it was not written for.
        let _ = msgpack::decode(&bytes, &dice.ty(2));
    });
}

#[test]
fn json_of_any_bytes_is_a_value_or_an_error() {
    fuzz(|dice| {
        let ty = dice.ty(3);
        let value = dice.value(&ty, false, 2);
        // Infinity has no JSON form.
        let Ok(mut bytes) = json::encode(&value, &ty) else { return };
        assert_eq!(json::decode(&bytes, &ty, Attributes::Exact).unwrap(), value, "{ty}");
        dice.harm(&mut bytes);
        for attributes in [Attributes::Exact, Attributes::Lenient] {
            if let Ok(read) = json::decode(&bytes, &ty, attributes) {
                assert!(read.conforms(&ty).is_ok(), "{ty}: {read:?}");
                let again = json::encode(&read, &ty).unwrap();
                assert_eq!(json::decode(&again, &ty, Attributes::Exact).unwrap(), read, "{ty}");
            }
        }
        let _ = json::decode(&bytes, &dice.ty(2), Attributes::Lenient);
    });
}

#[test]
fn a_type_of_any_bytes_is_a_type_or_an_error() {
    fuzz(|dice| {
        let ty = dice.ty(4);
        let mut bytes = json::encode_type(&ty);
        assert_eq!(json::decode_type(&bytes).unwrap(), ty);
        dice.harm(&mut bytes);
        if let Ok(read) = json::decode_type(&bytes) {
            assert_eq!(json::decode_type(&json::encode_type(&read)).unwrap(), read);
        }
    });
}
