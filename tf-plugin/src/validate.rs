//! Checks of a configuration: of one value ([`Validator`]) and over the attributes of one object ([`Rule`]).
//!
//! Constructors never fail, so a program can make schemas of any text. What cannot work, such as a pattern that is no
//! regular expression, is remembered and reported by [`crate::Schema::check`] and when the check runs.

use crate::diagnostic::Diagnostics;
use crate::path::{Path, Step};
use crate::value::{Number, Object, Value};
use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

/// A check of one value. Null and unknown values are skipped.
#[derive(Clone)]
pub struct Validator {
    /// What is allowed, for the documentation and messages: `must be …`.
    pub describe: String,
    broken: Option<String>,
    check: Arc<dyn Fn(&Value, &Path, &mut Diagnostics) + Send + Sync>,
}

impl fmt::Debug for Validator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Validator({})", self.describe)
    }
}

impl Validator {
    /// An own check.
    pub fn new(
        describe: impl Into<String>,
        check: impl Fn(&Value, &Path, &mut Diagnostics) + Send + Sync + 'static,
    ) -> Self {
        Self { describe: describe.into(), broken: None, check: Arc::new(check) }
    }

    /// A check that answers whether the value is allowed. The message is "must be" and the description, without the
    /// value, which may be a secret.
    pub fn of(describe: impl Into<String>, allowed: impl Fn(&Value) -> bool + Send + Sync + 'static) -> Self {
        let describe = describe.into();
        let text = format!("The value must be {describe}.");
        Self::new(describe, move |value, path, d| {
            if !allowed(value) {
                d.error(path.clone(), "Invalid value", text.clone());
            }
        })
    }

    /// A check that cannot work, for this reason.
    pub fn broken(describe: impl Into<String>, why: impl Into<String>) -> Self {
        let why = why.into();
        let text = why.clone();
        Self {
            broken: Some(why),
            ..Self::new(describe, move |_, path, d| d.error(path.clone(), "Broken validator", text.clone()))
        }
    }

    /// Why the check cannot work, if it cannot.
    pub fn problem(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// Runs the check unless the value is null or unknown.
    pub fn run(&self, value: &Value, path: &Path, d: &mut Diagnostics) {
        if !value.is_null() && !value.is_unknown() {
            (self.check)(value, path, d);
        }
    }
}

/// A check over the attributes of one object.
#[derive(Clone)]
pub struct Rule {
    /// What is allowed, for the documentation.
    pub describe: String,
    names: Vec<String>,
    check: Arc<dyn Fn(&Object, &Path, &mut Diagnostics) + Send + Sync>,
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rule({})", self.describe)
    }
}

impl Rule {
    /// An own check; the path is that of the object. Blocks that are not there are null.
    pub fn new(
        describe: impl Into<String>,
        check: impl Fn(&Object, &Path, &mut Diagnostics) + Send + Sync + 'static,
    ) -> Self {
        Self { describe: describe.into(), names: Vec::new(), check: Arc::new(check) }
    }

    /// The same; [`crate::Schema::check`] makes sure that attributes or blocks of these names are there.
    pub fn about<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.names.extend(names.into_iter().map(Into::into));
        self
    }

    /// The attributes and blocks that the rule is about, as far as it told.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Runs the check.
    pub fn run(&self, object: &Object, path: &Path, d: &mut Diagnostics) {
        (self.check)(object, path, d);
    }
}

/// Both ends of a range, in words and as a test.
struct Range<T> {
    low: Bound<T>,
    high: Bound<T>,
}

impl<T: Clone + PartialOrd + fmt::Display> Range<T> {
    fn of<U: Clone + Into<T>>(range: impl RangeBounds<U>) -> Self {
        Self { low: range.start_bound().cloned().map(Into::into), high: range.end_bound().cloned().map(Into::into) }
    }

    fn is_empty(&self) -> bool {
        match (&self.low, &self.high) {
            (Bound::Included(l), Bound::Included(h)) => l > h,
            (Bound::Included(l) | Bound::Excluded(l), Bound::Included(h) | Bound::Excluded(h)) => l >= h,
            _ => false,
        }
    }

    fn is_above_low(&self, value: &T) -> bool {
        match &self.low {
            Bound::Included(l) => value >= l,
            Bound::Excluded(l) => value > l,
            Bound::Unbounded => true,
        }
    }

    fn is_below_high(&self, value: &T) -> bool {
        match &self.high {
            Bound::Included(h) => value <= h,
            Bound::Excluded(h) => value < h,
            Bound::Unbounded => true,
        }
    }

    fn contains(&self, value: &T) -> bool {
        self.is_above_low(value) && self.is_below_high(value)
    }
}

impl<T: PartialEq + fmt::Display> fmt::Display for Range<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.low, &self.high) {
            (Bound::Included(l), Bound::Included(h)) if l == h => return write!(f, "exactly {l}"),
            (Bound::Included(l), Bound::Included(h)) => return write!(f, "between {l} and {h}"),
            (Bound::Unbounded, Bound::Unbounded) => return f.write_str("any number"),
            (Bound::Included(l), _) => write!(f, "at least {l}")?,
            (Bound::Excluded(l), _) => write!(f, "more than {l}")?,
            (Bound::Unbounded, _) => {}
        }
        if self.low != Bound::Unbounded && self.high != Bound::Unbounded {
            f.write_str(" and ")?;
        }
        match &self.high {
            Bound::Included(h) => write!(f, "at most {h}"),
            Bound::Excluded(h) => write!(f, "less than {h}"),
            Bound::Unbounded => Ok(()),
        }
    }
}

/// The number of characters of a text: `length(1..=40)`, `length(8..)`.
pub fn length(range: impl RangeBounds<u64>) -> Validator {
    let range = Range::<u64>::of(range);
    let describe = format!("a text of {range} characters");
    if range.is_empty() {
        return Validator::broken(describe, "the range admits nothing");
    }
    Validator::of(describe, move |v| v.as_str().is_none_or(|s| range.contains(&(s.chars().count() as u64))))
}

/// The amount of a number: `range(0..=10_000)`, `range((Bound::Excluded(low), Bound::Unbounded))` with [`Number`]s.
pub fn range<T: Clone + Into<Number>>(range: impl RangeBounds<T>) -> Validator {
    let range = Range::<Number>::of(range);
    let describe = range.to_string();
    if range.is_empty() {
        return Validator::broken(describe, "the range admits nothing");
    }
    Validator::of(describe, move |v| v.as_number().is_none_or(|n| range.contains(n)))
}

/// One of some values.
pub fn one_of<V: Into<Value>>(values: impl IntoIterator<Item = V>) -> Validator {
    let values: Vec<Value> = values.into_iter().map(Into::into).collect();
    let shown: Vec<String> = values.iter().map(show).collect();
    let describe = format!("one of {}", shown.join(", "));
    if values.is_empty() {
        return Validator::broken(describe, "no value is allowed");
    }
    Validator::of(describe, move |v| values.contains(v.inner()))
}

fn show(value: &Value) -> String {
    match value {
        Value::String(s) => format!("{s:?}"),
        Value::Number(n) => n.to_string(),
        Value::Bool(b) => b.to_string(),
        other => other.kind_name().to_owned(),
    }
}

/// A text in which the pattern is found; write `^…$` for a match of the whole.
pub fn regex(pattern: &str) -> Validator {
    regex_as(pattern, format!("a text that matches `{pattern}`"))
}

/// As [`regex`], with own words for what is allowed.
pub fn regex_as(pattern: &str, describe: impl Into<String>) -> Validator {
    match regex_lite::Regex::new(pattern) {
        Ok(regex) => Validator::of(describe, move |v| v.as_str().is_none_or(|s| regex.is_match(s))),
        Err(e) => Validator::broken(describe, format!("{pattern:?} is no regular expression: {e}")),
    }
}

/// The number of elements of a list, set or map: `items(1..=16)`.
///
/// A set with unknown elements may still become smaller, so only what is certain is refused.
pub fn items(range: impl RangeBounds<u64>) -> Validator {
    let range = Range::<u64>::of(range);
    let describe = format!("a collection of {range} elements");
    if range.is_empty() {
        return Validator::broken(describe, "the range admits nothing");
    }
    Validator::of(describe, move |v| {
        let n = match v.inner() {
            Value::Map(m) => m.len(),
            Value::Set(s) if !s.is_wholly_known() => {
                let least = s.iter().filter(|e| e.is_wholly_known()).count().max(1);
                return range.is_above_low(&(s.len() as u64)) && range.is_below_high(&(least as u64));
            }
            other => match other.as_elements() {
                Some(elements) => elements.len(),
                None => return true,
            },
        };
        range.contains(&(n as u64))
    })
}

/// A check of every key of a map, as text.
pub fn keys(validator: Validator) -> Validator {
    let describe = format!("a map in which every key is {}", validator.describe);
    if let Some(problem) = validator.problem() {
        return Validator::broken(describe, problem);
    }
    Validator::new(describe, move |v, path, d| {
        for key in v.as_map().into_iter().flat_map(|m| m.keys()) {
            validator.run(&Value::from(key.as_str()), &path.child(Step::Key(key.clone())), d);
        }
    })
}

/// A check of every element of a list, set or map.
pub fn each(validator: Validator) -> Validator {
    let describe = format!("a collection in which every element is {}", validator.describe);
    if let Some(problem) = validator.problem() {
        return Validator::broken(describe, problem);
    }
    Validator::new(describe, move |v, path, d| match v.inner() {
        Value::Map(m) => m.iter().for_each(|(k, v)| validator.run(v, &path.child(Step::Key(k.clone())), d)),
        Value::Set(s) => {
            s.iter().for_each(|v| validator.run(v, &path.child(Step::Element(Box::new(v.clone()))), d));
        }
        other => {
            let elements = other.as_elements().unwrap_or_default().iter().enumerate();
            elements.for_each(|(i, v)| validator.run(v, &path.child(i), d));
        }
    })
}

/// Elements of a list that all differ. Unknown ones are not looked at.
pub fn unique() -> Validator {
    Validator::of("a list of different elements", |v| {
        let mut known: Vec<&Value> =
            v.as_elements().unwrap_or_default().iter().filter(|v| v.is_wholly_known()).collect();
        known.sort();
        known.windows(2).all(|pair| pair[0] != pair[1])
    })
}

/// A duration such as `90s`, `10m` or `1h30m`.
pub fn duration() -> Validator {
    Validator::of("a duration such as `30s`, `10m` or `1h30m`", |v| {
        v.as_str().is_none_or(|s| crate::resource::parse_duration(s).is_some())
    })
}

/// Whether the configuration sets an attribute.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Given {
    Yes,
    No,
    /// Unknown, and it may become null.
    Maybe,
}

fn given(object: &Object, name: &str) -> Given {
    match object.attr(name).inner() {
        Value::Null => Given::No,
        Value::Unknown(Some(r)) if r.not_null => Given::Yes,
        Value::Unknown(_) => Given::Maybe,
        _ => Given::Yes,
    }
}

fn collect<N: Into<String>>(names: impl IntoIterator<Item = N>) -> (Vec<String>, String) {
    let names: Vec<String> = names.into_iter().map(Into::into).collect();
    let shown: Vec<String> = names.iter().map(|n| format!("`{n}`")).collect();
    (names, shown.join(", "))
}

fn count(object: &Object, names: &[String], what: Given) -> usize {
    names.iter().filter(|n| given(object, n) == what).count()
}

/// Exactly one of these attributes is set. Unknown ones count for neither side.
pub fn exactly_one_of<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Rule {
    let (names, shown) = collect(names);
    let about = names.clone();
    let describe = format!("Exactly one of {shown} must be set.");
    let text = describe.clone();
    Rule::new(describe, move |o, path, d| {
        let set = count(o, &names, Given::Yes);
        if set > 1 {
            d.error(path.clone(), "Too many arguments", text.clone());
        } else if set == 0 && count(o, &names, Given::Maybe) == 0 {
            d.error(path.clone(), "Missing argument", text.clone());
        }
    })
    .about(about)
}

/// At least one of these attributes is set.
pub fn at_least_one_of<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Rule {
    let (names, shown) = collect(names);
    let about = names.clone();
    let describe = format!("At least one of {shown} must be set.");
    let text = describe.clone();
    Rule::new(describe, move |o, path, d| {
        if count(o, &names, Given::No) == names.len() {
            d.error(path.clone(), "Missing argument", text.clone());
        }
    })
    .about(about)
}

/// At most one of these attributes is set.
pub fn at_most_one_of<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Rule {
    let (names, shown) = collect(names);
    let about = names.clone();
    let describe = format!("At most one of {shown} may be set.");
    let text = describe.clone();
    Rule::new(describe, move |o, path, d| {
        if count(o, &names, Given::Yes) > 1 {
            d.error(path.clone(), "Too many arguments", text.clone());
        }
    })
    .about(about)
}

/// When the first attribute is set, none of the others is.
pub fn conflicts_with<N: Into<String>>(name: impl Into<String>, others: impl IntoIterator<Item = N>) -> Rule {
    let name = name.into();
    let (others, shown) = collect(others);
    let about: Vec<String> = others.iter().chain([&name]).cloned().collect();
    Rule::new(format!("`{name}` cannot be set together with {shown}."), move |o, path, d| {
        if given(o, &name) != Given::Yes {
            return;
        }
        for other in others.iter().filter(|n| given(o, n) == Given::Yes) {
            let text = format!("`{name}` cannot be set together with `{other}`.");
            d.error(path.child_attr(name.clone()), "Conflicting arguments", text);
        }
    })
    .about(about)
}

/// When the first attribute is set, so are all the others.
pub fn requires_all<N: Into<String>>(name: impl Into<String>, others: impl IntoIterator<Item = N>) -> Rule {
    let name = name.into();
    let (others, shown) = collect(others);
    let about: Vec<String> = others.iter().chain([&name]).cloned().collect();
    Rule::new(format!("`{name}` needs {shown}."), move |o, path, d| {
        if given(o, &name) != Given::Yes {
            return;
        }
        for other in others.iter().filter(|n| given(o, n) == Given::No) {
            let text = format!("When `{name}` is set, `{other}` must be set too.");
            d.error(path.child_attr(name.clone()), "Missing argument", text);
        }
    })
    .about(about)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path;

    fn errors(validator: &Validator, value: impl Into<Value>) -> usize {
        let mut d = Diagnostics::new();
        validator.run(&value.into(), &path!("a"), &mut d);
        d.len()
    }

    fn broken_by(rule: &Rule, object: Object) -> usize {
        let mut d = Diagnostics::new();
        rule.run(&object, &Path::root(), &mut d);
        d.len()
    }

    fn n(text: &str) -> Number {
        Number::parse(text).unwrap()
    }

    #[test]
    fn each_validator_takes_and_refuses() {
        let strings = |all: &[&str]| Value::list(all.iter().map(|s| Value::from(*s)));
        let numbers = |all: &[i64]| Value::list(all.iter().map(|i| Value::from(*i)));
        let map = |all: &[&str]| Value::map(all.iter().map(|k| (*k, Value::from(1))));
        let table: Vec<(Validator, Vec<Value>, Vec<Value>)> = vec![
            (length(1..=3), vec!["a".into(), "äöü".into()], vec!["".into(), "abcd".into()]),
            (length(2..), vec!["ab".into()], vec!["a".into()]),
            (range(0..=10), vec![0.into(), 10.into()], vec![11.into(), (-1).into()]),
            (range(n("0.5")..n("1e30")), vec![n("0.5").into()], vec![n("1e30").into(), n("0.4999").into()]),
            (range((Bound::Excluded(0), Bound::<i64>::Unbounded)), vec![n("0.1").into()], vec![0.into()]),
            (one_of(["a", "b"]), vec!["a".into()], vec!["c".into()]),
            (one_of([1, 2]), vec![n("1.0").into()], vec![3.into()]),
            (regex("^[a-z]+$"), vec!["abc".into()], vec!["aBc".into()]),
            (items(1..=2), vec![numbers(&[1]), map(&["a"])], vec![numbers(&[]), numbers(&[1, 2, 3]), map(&[])]),
            (keys(regex("^a")), vec![map(&["ab"]), map(&[])], vec![map(&["ab", "b"])]),
            (each(length(1..=1)), vec![strings(&["a", "b"])], vec![strings(&["a", "bb"])]),
            (each(range(..5)), vec![map(&["x"]), numbers(&[4])], vec![numbers(&[5])]),
            (unique(), vec![numbers(&[1, 2])], vec![numbers(&[1, 2, 1])]),
            (duration(), vec!["1h30m".into()], vec!["1 hour".into(), "".into()]),
        ];
        for (validator, good, bad) in table {
            assert_eq!(validator.problem(), None, "{validator:?}");
            for v in good.into_iter().chain([Value::Null, Value::UNKNOWN]) {
                assert_eq!(errors(&validator, v.clone()), 0, "{validator:?} {v:?}");
            }
            for v in bad {
                assert_eq!(errors(&validator, v.clone()), 1, "{validator:?} {v:?}");
            }
        }
    }

    #[test]
    fn a_set_with_unknowns_is_refused_only_when_that_is_certain() {
        let set = Value::set(["a".into(), Value::UNKNOWN, Value::UNKNOWN]);
        assert_eq!(errors(&items(1..=1), set.clone()), 0);
        assert_eq!(errors(&items(4..), set.clone()), 1);
        assert_eq!(errors(&items(..=0), set), 1);
    }

    #[test]
    fn a_validator_that_cannot_work_says_so() {
        #[expect(clippy::reversed_empty_ranges)]
        let all =
            [regex("("), length(3..=2), range(3..3), one_of(<[&str; 0]>::default()), items(2..=1), each(regex("["))];
        for validator in all {
            assert!(validator.problem().is_some(), "{validator:?}");
            assert_eq!(errors(&validator, "a"), 1);
        }
    }

    #[test]
    fn messages_tell_what_is_allowed_and_not_the_value() {
        let mut d = Diagnostics::new();
        length(1..=3).run(&"geheim".into(), &path!("a"), &mut d);
        each(one_of(["a", "b"])).run(&Value::list(["geheim".into()]), &path!("l"), &mut d);
        assert_eq!(
            d.to_string(),
            "error: Invalid value (at a): The value must be a text of between 1 and 3 characters.\n\
             error: Invalid value (at l[0]): The value must be one of \"a\", \"b\"."
        );
    }

    #[test]
    fn rules_over_siblings_wait_for_unknowns() {
        let o = |a: Value, b: Value| Object::new().with("a", a).with("b", b);
        let set = || Value::from("x");
        let sure = Value::unknown_not_null;
        let names = ["a", "b"];
        let table = [
            (exactly_one_of(names), [1, 0, 1, 0, 0, 1]),
            (at_least_one_of(names), [1, 0, 0, 0, 0, 0]),
            (at_most_one_of(names), [0, 0, 1, 0, 0, 1]),
            (conflicts_with("a", ["b"]), [0, 0, 1, 0, 0, 1]),
            (requires_all("a", ["b"]), [0, 1, 0, 0, 0, 0]),
        ];
        for (rule, wanted) in table {
            let found = [
                o(Value::Null, Value::Null),
                o(set(), Value::Null),
                o(set(), set()),
                o(set(), Value::UNKNOWN),
                o(Value::UNKNOWN, Value::Null),
                o(set(), sure()),
            ]
            .map(|o| broken_by(&rule, o));
            assert_eq!(found, wanted, "{rule:?}");
            assert_eq!(rule.names().len(), 2);
        }
    }
}
