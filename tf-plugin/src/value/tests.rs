use super::strategy::{any_value, number};
use super::*;
use crate::path;
use proptest::prelude::*;

fn n(text: &str) -> Number {
    Number::parse(text).unwrap()
}

proptest! {
    #[test]
    fn a_number_comes_back_from_its_text(a in number()) {
        prop_assert_eq!(n(&a.to_string()), a);
    }

    #[test]
    fn numbers_are_in_order_of_amount(a in any::<i32>(), b in any::<i32>(), e in -30_i32..30) {
        let (x, y) = (n(&format!("{a}e{e}")), n(&format!("{b}e{e}")));
        prop_assert_eq!(x.cmp(&y), a.cmp(&b));
    }

    #[test]
    fn floats_come_back_exactly(f in any::<f64>()) {
        if let Some(number) = Number::from_f64(f) {
            prop_assert_eq!(number.to_f64_exact().unwrap().to_bits(), (f + 0.0).to_bits());
        }
    }

    #[test]
    fn a_value_is_the_same_as_itself_and_as_itself_without_refinements(v in any_value()) {
        prop_assert!(v.same(&v));
        prop_assert!(v.same(&v.without_refinements()));
        prop_assert!(v.unknown_as_null().is_wholly_known());
    }

    #[test]
    fn every_visited_place_can_be_looked_up(v in any_value()) {
        let mut places = Vec::new();
        v.walk(&mut |p, v| places.push((p.clone(), v.clone())));
        for (p, at) in places {
            prop_assert_eq!(v.lookup(&p), Some(&at));
        }
    }
}

#[test]
fn numbers_are_equal_by_amount() {
    assert_eq!(n("5"), n("5.0"));
    assert_eq!(n("5"), n("0.5e1"));
    assert_eq!(n("-0"), n("0"));
    assert_eq!(n("1e30"), n("1000000000000000000000000000000"));
    assert_ne!(n("9007199254740993"), n("9007199254740992"));
    for wrong in ["", "-", ".", "1e", "e1", "1_0", "0x1", "NaN", "inf", "1.2.3", "1e99999999999999999999", "٣"] {
        assert!(Number::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_number_that_does_not_fit_says_so() {
    assert_eq!(n("1.5").to_i64().unwrap_err().to_string(), "1.5 is not a whole number");
    assert!(n("9223372036854775808").to_i64().is_err());
    assert_eq!(n("18446744073709551615").to_u64(), Ok(u64::MAX));
    assert!(n("18446744073709551616").to_u64().is_err());
    assert!(n("-1").to_u32().is_err());
    assert!(n("2147483648").to_i32().is_err());
    assert!(n("0.1").to_f64_exact().is_err());
    assert_eq!(n("0.5").to_f64_exact(), Ok(0.5));
}

#[test]
fn a_set_merges_known_elements_only() {
    let set = Value::set(["b".into(), "a".into(), "b".into(), Value::UNKNOWN, Value::UNKNOWN]);
    assert_eq!(set.as_elements().unwrap().len(), 4);
    assert_eq!(set.unknown_as_null().as_elements().unwrap().len(), 3);
    assert_eq!(Value::set(["a".into(), "b".into()]), Value::set(["b".into(), "a".into()]));
}

#[test]
fn differences_are_as_deep_as_the_shapes_agree() {
    let a = Object::new().with("l", Value::list([1.into(), 2.into()])).with("s", Value::set([1.into()])).with("x", 1);
    let b = Object::new().with("l", Value::list([1.into(), 3.into()])).with("s", Value::set([2.into()])).with("x", 1);
    assert_eq!(a.diff(&b), [path!("l", [1]), path!("s")]);
    assert!(a.diff(&a).is_empty());
}

#[test]
fn refinements_admit_what_they_allow() {
    let r = Refinements { not_null: true, prefix: Some("ab".into()), ..Refinements::default() };
    assert!(r.admit(&"abc".into()) && !r.admit(&"b".into()) && !r.admit(&Value::Null));
    let r = Refinements { lower: Some((n("1"), false)), upper: Some((n("3"), true)), ..Refinements::default() };
    assert!(!r.admit(&1.into()) && r.admit(&3.into()) && !r.admit(&4.into()) && r.admit(&Value::Null));
    let r = Refinements { max_length: Some(1), ..Refinements::default() };
    assert!(r.admit(&Value::list([1.into()])) && !r.admit(&Value::list([1.into(), 2.into()])));
}

#[test]
fn a_path_is_read_as_it_is_written() {
    for text in ["a", "a.b[0].c", r#"ports["ht\"tp"].number"#, r#"m["]"][12]"#] {
        assert_eq!(text.parse::<Path>().unwrap().to_string(), text);
    }
    for wrong in [".", "a.", "a..b", "a[", "a[x]", "a[\"k]", "a b]["] {
        assert!(wrong.parse::<Path>().is_err(), "{wrong}");
    }
}

#[test]
fn values_are_set_at_a_place() {
    let mut o = Object::new().with("l", Value::list([Value::object([("a", 1.into())])]));
    assert!(o.set_at(&path!("l", [0], "a"), 2));
    assert_eq!(o.at("l[0].a"), Some(&2.into()));
    assert!(!o.set_at(&path!("l", [1], "a"), 2));
    assert!(!o.set_at(&path!("x", "a"), 2));
    assert!(o.set_at(&path!("x"), 2));
}
