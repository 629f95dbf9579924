use super::*;
use proptest::prelude::*;

/// Any type.
pub fn any_type() -> impl Strategy<Value = Type> {
    let leaf = prop_oneof![Just(Type::String), Just(Type::Number), Just(Type::Bool), Just(Type::Dynamic)];
    leaf.prop_recursive(3, 12, 3, |t| {
        prop_oneof![
            t.clone().prop_map(Type::list),
            t.clone().prop_map(Type::set),
            t.clone().prop_map(Type::map),
            prop::collection::btree_map("[a-z]{1,3}", t.clone(), 0..4).prop_map(Type::Object),
            prop::collection::vec(t, 0..3).prop_map(Type::Tuple),
        ]
    })
}

/// Any number but the infinities.
pub fn number() -> impl Strategy<Value = Number> {
    prop_oneof![
        any::<i64>().prop_map(Number::from),
        any::<u64>().prop_map(Number::from),
        (-200_i64..70_000).prop_map(Number::from),
        any::<f64>().prop_filter_map("finite", |f| f.is_finite().then(|| Number::from_f64(f)).flatten()),
        ("-?[0-9]{1,40}(\\.[0-9]{1,30})?(e-?[0-9]{1,4})?").prop_map(|t| Number::parse(&t).unwrap()),
    ]
}

fn refinements(ty: &Type) -> BoxedStrategy<Refinements> {
    let not_null = any::<bool>();
    match ty {
        Type::String => (not_null, prop::option::of("[a-zä]{1,8}"))
            .prop_map(|(not_null, prefix)| Refinements { not_null, prefix, ..Refinements::default() })
            .boxed(),
        Type::Number => {
            let bound = || prop::option::of((number(), any::<bool>()));
            (not_null, bound(), bound())
                .prop_filter("not too long", |(_, l, u)| {
                    [l, u].into_iter().flatten().all(|(n, _)| n.to_string().len() < 400)
                })
                .prop_map(|(not_null, lower, upper)| Refinements { not_null, lower, upper, ..Refinements::default() })
                .boxed()
        }
        Type::List(_) | Type::Set(_) | Type::Map(_) => {
            let bound = || prop::option::of(0..=i64::MAX as u64);
            (not_null, bound(), bound())
                .prop_map(|(not_null, min_length, max_length)| Refinements {
                    not_null,
                    min_length,
                    max_length,
                    ..Refinements::default()
                })
                .boxed()
        }
        Type::Dynamic => Just(Refinements::default()).boxed(),
        _ => not_null.prop_map(|not_null| Refinements { not_null, ..Refinements::default() }).boxed(),
    }
}

/// A value of a type, with unknowns or without.
pub fn of_type(ty: &Type, unknowns: bool) -> BoxedStrategy<Value> {
    let many = |t: &Type| prop::collection::vec(of_type(t, unknowns), 0..4);
    let known = match ty {
        Type::String => ".{0,40}".prop_map(Value::from).boxed(),
        Type::Number => number().prop_map(Value::Number).boxed(),
        Type::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Type::List(t) => many(t).prop_map(Value::List).boxed(),
        Type::Set(t) => many(t).prop_map(Value::set).boxed(),
        Type::Map(t) => prop::collection::btree_map(".{0,6}", of_type(t, unknowns), 0..4).prop_map(Value::Map).boxed(),
        Type::Tuple(types) => {
            types.iter().map(|t| of_type(t, unknowns)).collect::<Vec<_>>().prop_map(Value::Tuple).boxed()
        }
        Type::Object(types) => {
            let (names, types): (Vec<String>, Vec<&Type>) = types.iter().map(|(k, t)| (k.clone(), t)).unzip();
            let values: Vec<_> = types.into_iter().map(|t| of_type(t, unknowns)).collect();
            values.prop_map(move |v| Value::object(names.clone().into_iter().zip(v))).boxed()
        }
        Type::Dynamic => {
            let inner = prop_oneof![
                Just(Type::String),
                Just(Type::Number),
                Just(Type::list(Type::Bool)),
                Just(Type::object([("a", Type::set(Type::String))]))
            ];
            inner
                .prop_flat_map(move |t| of_type(&t, unknowns).prop_map(move |v| Value::Dynamic(t.clone(), Box::new(v))))
                .boxed()
        }
    };
    let with_null = prop_oneof![8 => known, 1 => Just(Value::Null)];
    if unknowns {
        prop_oneof![8 => with_null, 1 => Just(Value::UNKNOWN), 1 => refinements(ty).prop_map(Value::refined)].boxed()
    } else {
        with_null.boxed()
    }
}

/// A type and a value of it.
pub fn typed(unknowns: bool) -> impl Strategy<Value = (Type, Value)> {
    any_type().prop_flat_map(move |t| of_type(&t, unknowns).prop_map(move |v| (t.clone(), v)))
}

/// A value of any type.
pub fn any_value() -> impl Strategy<Value = Value> {
    typed(true).prop_map(|(_, v)| v)
}
