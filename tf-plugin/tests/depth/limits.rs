//! Numbers, sizes and panics.

use crate::lab::{assert_internal_error, created, lab, named};
use tf_plugin::fake_core::State;
use tf_plugin::{Number, Path, Value, path};

#[tokio::test]
async fn number_1e30_number_23_digits_and_a_fraction_into_an_integer_point_at_the_attribute() {
    let (core, _) = lab().await;
    for number in ["1e30", "12345678901234567890123", "1.5", "-1e30", "9223372036854775808"] {
        let config = named("a").with("size", Number::parse(number).unwrap());
        let d = core.validate("lab_case", config.clone()).await.unwrap();
        let places: Vec<Option<Path>> = d.iter().map(|d| d.path.clone()).collect();
        assert_eq!(places, [Some(path!("size"))], "{number}: {d}");
        let plan = core.plan("lab_case", None, Some(config)).await.unwrap();
        assert!(plan.diagnostics.iter().any(|d| d.path == Some(path!("size"))), "{number}");
    }
    // Where any number fits, they come back with every digit.
    for number in ["1e30", "12345678901234567890123", "1.5", "0.1", "-3.00000000000000000001"] {
        let number = Value::from(Number::parse(number).unwrap());
        let value = Value::Dynamic(tf_plugin::Type::Number, Box::new(number));
        let state = created(&core, "lab_case", named("a").with("any", value.clone())).await;
        assert_eq!(state.object.attr("any"), &value);
    }
}

#[tokio::test]
async fn a_state_value_of_100_mb_passes() {
    let (core, seen) = lab().await;
    let state = created(&core, "lab_case", named("a")).await;
    let big = Value::from("x".repeat(100 << 20));
    seen.boxes.lock().unwrap().get_mut("a").unwrap().set("module", big.clone());
    let (read, d) = core.read("lab_case", &state).await.unwrap();
    assert!(d.is_empty(), "{d}");
    let read = read.unwrap();
    // And back: the state is in the next request, and unchanged in its answer.
    let (again, d) = core.read("lab_case", &read).await.unwrap();
    assert!(d.is_empty(), "{d}");
    assert_eq!(again.unwrap().object.attr("module").as_str().map(str::len), Some(100 << 20));
}

#[tokio::test]
async fn message_over_limit_is_a_clear_error() {
    let (core, seen) = lab().await;
    let state = created(&core, "lab_case", named("a")).await;
    seen.boxes.lock().unwrap().get_mut("a").unwrap().set("module", "x".repeat(257 << 20));
    let error = core.read("lab_case", &state).await.unwrap_err().to_string();
    assert!(error.contains("message") && error.contains("too large"), "{error}");
    seen.boxes.lock().unwrap().clear();
    assert!(core.read("lab_case", &state).await.unwrap().0.is_none(), "the connection goes on");
}

#[tokio::test]
async fn schema_answer_is_small() {
    let (core, _) = lab().await;
    let rq = tf_plugin::proto::tfplugin6::get_provider_schema::Request {};
    let answer = core.rpc().get_provider_schema(rq).await.unwrap().into_inner();
    assert!(prost::Message::encoded_len(&answer) < 64 << 20);
}

#[tokio::test]
async fn panics_in_every_call_about_resources_are_diagnostics_and_lose_nothing() {
    let (core, _) = lab().await;
    let state = created(&core, "lab_case", named("a")).await;
    let plan = core.plan("lab_case", Some(&state), Some(named("a").with("act", "panic in plan"))).await.unwrap();
    assert_internal_error(&plan.diagnostics);
    let (after, d) =
        core.change("lab_case", Some(&state), Some(named("a").with("act", "panic in apply"))).await.unwrap();
    assert_internal_error(&d);
    assert_eq!(after.unwrap().object, state.object);
    let panics = State { object: state.object.clone().with("name", "panic"), ..state.clone() };
    let (after, d) = core.read("lab_case", &panics).await.unwrap();
    assert_internal_error(&d);
    assert_eq!(after.unwrap().object, panics.object);
    let (_, d) = core.import("lab_case", "panic").await.unwrap();
    assert_internal_error(&d);
    let (_, d) = core.data("lab_probe", named("panic")).await.unwrap();
    assert_internal_error(&d);
}
