//! Content rules of a split, compiled once for a table.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;

use regex_lite::{Regex, RegexBuilder};
use sampan_schema::gray_policy::{Match, PathType, ValueMatch, ValueType};

use super::{Facts, PathKind, path_matches};

/// Memory of a compiled expression, in bytes. With [`MATCHED_BYTES`] it bounds the time of a request, for the time is
/// the product of both.
const PATTERN_BYTES: usize = 64 * 1024;
/// Longer values match no expression.
const MATCHED_BYTES: usize = 2048;

/// Why a match cannot be used. Admission refuses it; a table that meets one all the same sends nothing by it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MatchError {
    #[error(
        "the match has no condition: it would take every request; set path, method, headers, query_params, cookies or source_cidrs"
    )]
    Empty,
    #[error("the regular expression {pattern:?} is not valid or too large: {why}")]
    Pattern { pattern: String, why: String },
    #[error("{name:?} needs `value`")]
    NoValue { name: String },
    #[error("{name:?} needs `values`")]
    NoValues { name: String },
    #[error("{name:?}: `Mod` needs whole numbers: a divisor above 0, then remainders from 0 to below it")]
    Modulus { name: String },
    #[error("{0:?} is not a network; write an address, a slash and the length of the prefix, such as 192.0.2.0/24")]
    Network(String),
    #[error("{0:?} is set by the gateway and never seen from a caller; match another header")]
    Reserved(String),
}

/// A compiled [`Match`]. Two are equal when they were made from the same.
#[derive(Debug, Clone)]
pub struct Matcher {
    source: Match,
    path: Option<PathTest>,
    headers: Vec<(String, Test)>,
    query: Vec<(String, Test)>,
    cookies: Vec<(String, Test)>,
    networks: Vec<(IpAddr, u8)>,
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Matcher {}

#[derive(Debug, Clone)]
enum PathTest {
    Plain(PathKind, String),
    Pattern(Regex),
}

#[derive(Debug, Clone)]
enum Test {
    Exact(String),
    Prefix(String),
    Pattern(Regex),
    In(BTreeSet<String>),
    Mod(u64, BTreeSet<u64>),
}

impl Matcher {
    /// # Errors
    /// The first thing in it that cannot be matched by.
    pub fn new(source: &Match) -> Result<Self, MatchError> {
        if *source == Match::default() {
            return Err(MatchError::Empty);
        }
        let path = match &source.path {
            None => None,
            Some(p) => Some(match p.kind {
                PathType::Exact => PathTest::Plain(PathKind::Exact, p.value.clone()),
                PathType::PathPrefix => PathTest::Plain(PathKind::PathPrefix, p.value.clone()),
                PathType::RegularExpression => PathTest::Pattern(pattern(&p.value)?),
            }),
        };
        if let Some(reserved) = source.headers.iter().find(|h| is_reserved(&h.name)) {
            return Err(MatchError::Reserved(reserved.name.clone()));
        }
        let tests = |all: &[ValueMatch]| all.iter().map(test).collect::<Result<Vec<_>, _>>();
        let mut headers = tests(&source.headers)?;
        for (name, _) in &mut headers {
            name.make_ascii_lowercase();
        }
        Ok(Self {
            path,
            headers,
            query: tests(&source.query_params)?,
            cookies: tests(&source.cookies)?,
            networks: source.source_cidrs.iter().map(|c| network(c)).collect::<Result<_, _>>()?,
            source: source.clone(),
        })
    }

    /// Whether all of it holds.
    pub fn holds(&self, facts: &Facts<'_>) -> bool {
        self.source.method.as_deref().is_none_or(|m| m == facts.method)
            && self.path.as_ref().is_none_or(|p| p.holds(facts.path))
            && (self.networks.is_empty() || self.networks.iter().any(|n| is_within(*n, facts.client)))
            && self.headers.iter().all(|(name, test)| facts.headers.values(name).iter().any(|v| test.holds(v)))
            && self.query.iter().all(|(name, test)| query_values(facts.query, name).any(|v| test.holds(&v)))
            && self.cookies.iter().all(|(name, test)| cookie_values(facts, name).iter().any(|v| test.holds(v)))
    }
}

impl PathTest {
    fn holds(&self, path: &str) -> bool {
        match self {
            Self::Plain(kind, value) => path_matches(*kind, value, path),
            Self::Pattern(regex) => path.len() <= MATCHED_BYTES && regex.is_match(path),
        }
    }
}

impl Test {
    fn holds(&self, value: &str) -> bool {
        match self {
            Self::Exact(wanted) => value == wanted,
            Self::Prefix(wanted) => value.starts_with(wanted.as_str()),
            Self::Pattern(regex) => value.len() <= MATCHED_BYTES && regex.is_match(value),
            Self::In(wanted) => wanted.contains(value),
            Self::Mod(divisor, wanted) => {
                value.parse().is_ok_and(|n: u64| n.checked_rem(*divisor).is_some_and(|r| wanted.contains(&r)))
            }
        }
    }
}

fn test(m: &ValueMatch) -> Result<(String, Test), MatchError> {
    let value = || m.value.clone().ok_or_else(|| MatchError::NoValue { name: m.name.clone() });
    let test = match m.kind {
        ValueType::Exact => Test::Exact(value()?),
        ValueType::Prefix => Test::Prefix(value()?),
        ValueType::RegularExpression => Test::Pattern(pattern(&value()?)?),
        ValueType::In if m.values.is_empty() => return Err(MatchError::NoValues { name: m.name.clone() }),
        ValueType::In => Test::In(m.values.iter().cloned().collect()),
        ValueType::Mod => {
            let wrong = || MatchError::Modulus { name: m.name.clone() };
            let numbers = m.values.iter().map(|v| v.parse::<u64>()).collect::<Result<Vec<_>, _>>();
            let (divisor, remainders) = match numbers.as_deref() {
                Ok([divisor, remainders @ ..]) if !remainders.is_empty() => (*divisor, remainders),
                _ => return Err(wrong()),
            };
            // This also refuses a divisor of 0.
            if remainders.iter().any(|r| *r >= divisor) {
                return Err(wrong());
            }
            Test::Mod(divisor, remainders.iter().copied().collect())
        }
    };
    Ok((m.name.clone(), test))
}

/// The expression has to match the whole value.
fn pattern(text: &str) -> Result<Regex, MatchError> {
    let build = |p: &str| {
        RegexBuilder::new(p)
            .size_limit(PATTERN_BYTES)
            .build()
            .map_err(|e| MatchError::Pattern { pattern: text.to_owned(), why: e.to_string() })
    };
    // By itself first: `a)(b` is no expression, but would be one between our parentheses.
    build(text)?;
    build(&format!("^(?:{text})$"))
}

/// Headers that come from the gateway alone.
fn is_reserved(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('_', "-");
    name == "baggage" || name.starts_with("x-sampan-")
}

fn network(text: &str) -> Result<(IpAddr, u8), MatchError> {
    let wrong = || MatchError::Network(text.to_owned());
    let (addr, length) = text.split_once('/').ok_or_else(wrong)?;
    let addr: IpAddr = addr.parse().map_err(|_| wrong())?;
    let length: u8 = length.parse().map_err(|_| wrong())?;
    let most = if addr.is_ipv4() { 32 } else { 128 };
    if length > most {
        return Err(wrong());
    }
    Ok((addr, length))
}

fn is_within((network, length): (IpAddr, u8), addr: IpAddr) -> bool {
    match (network, addr.to_canonical()) {
        (IpAddr::V4(n), IpAddr::V4(a)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            n.to_bits() & mask == a.to_bits() & mask
        }
        (IpAddr::V6(n), IpAddr::V6(a)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            n.to_bits() & mask == a.to_bits() & mask
        }
        _ => false,
    }
}

/// Values of a query parameter, decoded.
fn query_values<'a>(query: &'a str, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
    query.split('&').filter_map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key) == name).then(|| decode(value))
    })
}

/// `%XX` and `+`, as forms write them. What is not a valid escape stays as it is.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|b| matches!(b, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while let Some(byte) = bytes.get(i) {
        let escaped = (*byte == b'%')
            .then(|| bytes.get(i + 1..i + 3))
            .flatten()
            .filter(|h| h.iter().all(u8::is_ascii_hexdigit))
            .and_then(|h| u8::from_str_radix(std::str::from_utf8(h).ok()?, 16).ok());
        match escaped {
            Some(plain) => {
                out.push(plain);
                i += 3;
            }
            None => {
                out.push(if *byte == b'+' { b' ' } else { *byte });
                i += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// Values of a cookie, in the order in which they were sent.
pub(super) fn cookie_values<'a>(facts: &Facts<'a>, name: &str) -> Vec<&'a str> {
    facts
        .headers
        .values("cookie")
        .into_iter()
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::Listener;
    use super::*;

    fn compile(rule: Value) -> Result<Matcher, MatchError> {
        Matcher::new(&serde_json::from_value(rule).unwrap())
    }

    /// Whether the rule holds for this request.
    fn holds<const N: usize>(rule: Value, method: &str, target: &str, headers: [(&str, &str); N]) -> bool {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let facts = Facts {
            listener: Listener::Public,
            host: "a.example",
            path,
            method,
            query,
            headers: &headers,
            client: [192, 0, 2, 7].into(),
            lane: None,
            fresh: 0,
            now: 0,
        };
        compile(rule).unwrap().holds(&facts)
    }

    #[test]
    fn what_is_set_has_to_hold() {
        let value = |kind: &str, value: &str| json!({ "name": "x-user", "type": kind, "value": value });
        let values = |kind: &str, values: &[&str]| json!({ "name": "x-user", "type": kind, "values": values });
        let header = |m: Value, sent: &str| holds(json!({ "headers": [m] }), "GET", "/", [("x-user", sent)]);
        for (rule, sent, want) in [
            (value("Exact", "ada"), "ada", true),
            (value("Exact", "ada"), "adam", false),
            (value("Prefix", "ada"), "adam", true),
            (value("Prefix", "ada"), "bada", false),
            (value("RegularExpression", "a|ab"), "ab", true),
            (value("RegularExpression", "a.*b"), "xab", false),
            (value("RegularExpression", "[0-9]+"), "17\n", false),
            (values("In", &["a", "b"]), "b", true),
            (values("In", &["a", "b"]), "c", false),
            (values("Mod", &["100", "3", "7"]), "1007", true),
            (values("Mod", &["100", "3", "7"]), "1008", false),
            (values("Mod", &["100", "3", "7"]), "-93", false),
            (values("Mod", &["100", "3", "7"]), "x7", false),
        ] {
            assert_eq!(header(rule.clone(), sent), want, "{rule} {sent}");
            assert!(!holds(json!({ "headers": [rule] }), "GET", "/", []));
        }
        // The name in any case, and any of several values.
        let rule = json!({ "headers": [{ "name": "X-User", "value": "ada" }] });
        assert!(holds(rule, "GET", "/", [("x-user", "bob"), ("x-user", "ada")]));
        // All of them, not one.
        let both = json!({ "method": "POST", "headers": [value("Exact", "ada")], "path": { "value": "/pay" } });
        assert!(holds(both.clone(), "POST", "/pay/now", [("x-user", "ada")]));
        assert!(!holds(both.clone(), "GET", "/pay/now", [("x-user", "ada")]));
        assert!(!holds(both.clone(), "POST", "/payment", [("x-user", "ada")]));
        assert!(!holds(both, "POST", "/pay", [("x-user", "bob")]));
    }

    #[test]
    fn paths_queries_cookies_and_networks() {
        let path = |kind: &str, value: &str, sent: &str| {
            holds(json!({ "path": { "type": kind, "value": value } }), "GET", sent, [])
        };
        assert!(path("Exact", "/a", "/a?x=1") && !path("Exact", "/a", "/a/b"));
        assert!(path("PathPrefix", "/a", "/a/b") && !path("PathPrefix", "/a", "/ab"));
        assert!(path("RegularExpression", "/v[12]/.*", "/v2/x") && !path("RegularExpression", "/v1", "/v1/x"));

        let query =
            |sent: &str| holds(json!({ "query_params": [{ "name": "who am", "value": "a b&c" }] }), "GET", sent, []);
        assert!(query("/?x=1&who+am=a%20b%26c") && query("/?who%20am=z&who%20am=a+b%26c"));
        assert!(!query("/?who+am=a%20b%2") && !query("/") && !query("/?x=who+am=a+b%26c"));

        let rule = || json!({ "cookies": [{ "name": "beta", "value": "1" }] });
        let cookie = |sent: &str| holds(rule(), "GET", "/", [("cookie", "c=3"), ("cookie", sent)]);
        assert!(cookie("a=2; beta=1") && cookie("beta=1"));
        assert!(!cookie("xbeta=1; beta=2; beta") && !holds(rule(), "GET", "/", []));

        let from = |list: &[&str]| holds(json!({ "source_cidrs": list }), "GET", "/", []);
        assert!(from(&["192.0.2.0/24"]) && from(&["10.0.0.0/8", "192.0.2.7/32"]) && from(&["0.0.0.0/0"]));
        assert!(!from(&["192.0.3.0/24"]) && !from(&["::/0"]) && !from(&["192.0.2.6/32"]));
    }

    #[test]
    fn what_cannot_be_matched_by_is_refused() {
        let value = |m: Value| compile(json!({ "headers": [m] })).unwrap_err();
        assert_eq!(compile(json!({})), Err(MatchError::Empty));
        for bad in ["(", "a)(b", "a{1000}{1000}", "(?=a)"] {
            let error = value(json!({ "name": "a", "type": "RegularExpression", "value": bad }));
            assert!(matches!(error, MatchError::Pattern { .. }), "{bad}: {error}");
        }
        for bad in
            [json!([]), json!(["2"]), json!(["0", "0"]), json!(["2", "2"]), json!(["2", "-1"]), json!(["a", "1"])]
        {
            let error = value(json!({ "name": "a", "type": "Mod", "values": bad }));
            assert_eq!(error, MatchError::Modulus { name: "a".into() }, "{bad}");
        }
        assert!(matches!(value(json!({ "name": "a" })), MatchError::NoValue { .. }));
        assert!(matches!(value(json!({ "name": "a", "type": "In" })), MatchError::NoValues { .. }));
        for name in ["X-Sampan-Lane", "x_sampan_lane", "Baggage"] {
            assert_eq!(value(json!({ "name": name, "value": "a" })), MatchError::Reserved(name.into()));
        }
        for bad in ["192.0.2.0", "192.0.2.0/33", "::/129", "a/8", "/8", "192.0.2.0/", "192.0.2.0/+8x"] {
            assert_eq!(compile(json!({ "source_cidrs": [bad] })), Err(MatchError::Network(bad.into())));
        }
    }

    #[test]
    fn a_long_value_matches_no_expression() {
        let long = "a".repeat(MATCHED_BYTES + 1);
        let rule = json!({ "headers": [{ "name": "a", "type": "RegularExpression", "value": "a*" }] });
        assert!(!holds(rule.clone(), "GET", "/", [("a", &long)]));
        assert!(holds(rule, "GET", "/", [("a", &long[1..])]));
    }

    proptest! {
        #[test]
        fn any_query_is_decoded_without_a_panic(query in "\\PC*", name in "\\PC*") {
            query_values(&query, &name).count();
            decode(&query);
        }

        #[test]
        fn any_match_compiles_or_says_why(pattern in "\\PC{0,40}", cidr in "[0-9a-f.:/]{0,20}", value in "\\PC*") {
            let rule = json!({
                "headers": [{ "name": "a", "type": "RegularExpression", "value": pattern }],
            });
            if let Ok(matcher) = compile(rule) {
                let Test::Pattern(regex) = &matcher.headers[0].1 else { panic!("a pattern") };
                regex.is_match(&value);
            }
            let _ = network(&cidr);
        }
    }
}
