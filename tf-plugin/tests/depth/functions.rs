//! Provider functions.

use crate::lab::{Lab, PANIC, lab};
use tf_plugin::fake_core::FakeCore;
use tf_plugin::proto::tfplugin6 as pb;
use tf_plugin::{FunctionError, Type, Value};

fn error(result: Result<Value, FunctionError>) -> FunctionError {
    result.unwrap_err()
}

#[tokio::test]
async fn a_function_takes_its_arguments_and_any_number_of_further_ones() {
    let (core, _) = lab().await;
    for (args, wanted) in [
        (vec![",".into()], ""),
        (vec![",".into(), "a".into()], "a"),
        (vec![",".into(), "a".into(), "b".into(), "c".into()], "a,b,c"),
    ] {
        assert_eq!(core.call("join", &args).await.unwrap(), Ok(wanted.into()));
    }
    assert_eq!(core.call("div", &[7.into(), 2.into()]).await.unwrap(), Ok(3.into()));
}

#[tokio::test]
async fn a_function_works_before_the_provider_is_configured() {
    let core = FakeCore::in_process(Lab::default()).await.unwrap();
    assert_eq!(core.call("join", &["-".into(), "a".into(), "b".into()]).await.unwrap(), Ok("a-b".into()));
}

#[tokio::test]
async fn an_error_of_a_function_names_the_argument() {
    let (core, _) = lab().await;
    let found = error(core.call("div", &[1.into(), 0.into()]).await.unwrap());
    assert_eq!((found.argument, found.text.as_str()), (Some(1), "b must not be 0"));
    let fraction = tf_plugin::Number::parse("1.5").unwrap();
    assert_eq!(error(core.call("div", &[1.into(), fraction.into()]).await.unwrap()).argument, None);
    let found = error(core.call("short", &["four".into()]).await.unwrap());
    assert_eq!(found.argument, Some(0), "{found}");
    assert_eq!(core.call("short", &["abc".into()]).await.unwrap(), Ok("abc".into()));
}

#[tokio::test]
async fn null_and_unknown_arrive_only_where_the_parameter_allows_them() {
    let (core, _) = lab().await;
    let text = |value: &str| Ok::<Value, FunctionError>(value.into());
    let typed = |ty: Type, value: Value| Value::Dynamic(ty, Box::new(value));
    assert_eq!(core.call("describe", &[Value::Null]).await.unwrap(), text("null"));
    assert_eq!(core.call("describe", &[Value::UNKNOWN]).await.unwrap(), text("unknown"));
    assert_eq!(core.call("describe", &[typed(Type::String, Value::UNKNOWN)]).await.unwrap(), text("unknown"));
    let list = typed(Type::list(Type::Bool), Value::list([true.into()]));
    assert_eq!(core.call("describe", &[list]).await.unwrap(), text("list(bool)"));
    // Core answers for the others.
    assert_eq!(error(core.call("join", &[Value::Null]).await.unwrap()).argument, Some(0));
    assert_eq!(core.call("join", &[",".into(), Value::UNKNOWN]).await.unwrap(), Ok(Value::UNKNOWN));
    assert_eq!(core.call("later", &[Value::UNKNOWN]).await.unwrap(), Ok(Value::UNKNOWN));
}

#[tokio::test]
async fn arguments_that_core_would_not_send_are_refused_with_their_index() {
    let (core, _) = lab().await;
    let call = async |name: &str, arguments: &[&[u8]]| {
        let arguments =
            arguments.iter().map(|bytes| pb::DynamicValue { msgpack: bytes.to_vec().into(), ..Default::default() });
        let rq = pb::call_function::Request { name: name.to_owned(), arguments: arguments.collect() };
        core.rpc().call_function(rq).await.unwrap().into_inner().error.unwrap()
    };
    let (null, unknown, text): (&[u8], &[u8], &[u8]) = (&[0xc0], &[0xd4, 0, 0], &[0xa1, b'a']);
    assert_eq!(call("join", &[text, null]).await.function_argument, Some(1));
    assert_eq!(call("join", &[text, text, unknown]).await.function_argument, Some(2));
    assert_eq!(call("div", &[&[1], text]).await.function_argument, Some(1));
    assert_eq!(call("div", &[&[1]]).await.function_argument, None);
    assert_eq!(call("div", &[&[1], &[1], &[1]]).await.function_argument, None);
    assert_eq!(call("div", &[&[1], &[0xc1, 0xff]]).await.function_argument, Some(1));
    assert!(call("absent", &[]).await.text.contains("absent"));
}

#[tokio::test]
async fn a_result_is_of_its_type_known_and_always_the_same() {
    let (core, _) = lab().await;
    let found = error(core.call("mistyped", &[]).await.unwrap());
    assert!(found.text.contains("defect"), "{found}");
    let found = error(core.call("vague", &["a".into()]).await.unwrap());
    assert!(found.text.contains("no known result"), "{found}");
    let refused = core.call("wobbly", &[]).await.unwrap_err();
    assert!(refused.to_string().contains("two results"), "{refused}");
}

#[tokio::test]
async fn a_dynamic_argument_and_result_carry_their_types() {
    let (core, _) = lab().await;
    let pair = |a: Value, b: Value, types: [Type; 2]| {
        Value::Dynamic(Type::Tuple(types.to_vec()), Box::new(Value::Tuple(vec![a, b])))
    };
    let given = pair("a".into(), 1.into(), [Type::String, Type::Number]);
    let wanted = pair(1.into(), "a".into(), [Type::Number, Type::String]);
    assert_eq!(core.call("swap", &[given]).await.unwrap(), Ok(wanted));
}

#[tokio::test]
async fn a_panic_in_a_function_is_an_error_without_its_text() {
    let (core, _) = lab().await;
    let found = error(core.call("boom", &[]).await.unwrap());
    assert!(found.text.contains("Internal error") && !found.text.contains(PANIC), "{found}");
    assert!(core.call("join", &["".into()]).await.unwrap().is_ok(), "the process goes on");
}

#[tokio::test]
async fn functions_are_told_in_schema_metadata_and_their_own_call() {
    let (core, _) = lab().await;
    let own = core.rpc().get_functions(pb::get_functions::Request {}).await.unwrap().into_inner().functions;
    let of_schema: Vec<&str> = core.functions().map(|(name, _)| name).collect();
    assert_eq!(own.keys().map(String::as_str).collect::<Vec<_>>(), of_schema);
    assert_eq!(own.len(), 10);
    let short = &own["short"];
    assert_eq!((short.deprecation_message.as_str(), short.summary.as_str()), ("Use `join`.", "A function."));
    assert_eq!(own["join"].variadic_parameter.as_ref().unwrap().name, "text");
    let metadata = core.rpc().get_metadata(pb::get_metadata::Request {}).await.unwrap().into_inner();
    assert_eq!(metadata.functions.len(), 10);
    let one = [metadata.ephemeral_resources.len(), metadata.actions.len(), metadata.list_resources.len()];
    assert_eq!(one, [1, 1, 1]);
    assert_eq!((metadata.resources.len(), metadata.data_sources.len()), (3, 1));
    let can = metadata.server_capabilities.unwrap();
    assert!(can.plan_destroy && can.move_resource_state && can.generate_resource_config);
}
