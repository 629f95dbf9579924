//! The functions, as Terraform calls them: before the provider is configured.

#![allow(clippy::unwrap_used)]

use terraform_provider_sampan::Sampan;
use tf_plugin::fake_core::FakeCore;
use tf_plugin::{Number, Object, Value};

async fn core() -> FakeCore {
    FakeCore::in_process(Sampan).await.unwrap()
}

async fn good(core: &FakeCore, name: &str, arguments: &[Value]) -> Value {
    core.call(name, arguments).await.unwrap().unwrap_or_else(|error| panic!("{name} {arguments:?}: {error}"))
}

/// The index of the argument that is wrong, and the text.
async fn bad(core: &FakeCore, name: &str, arguments: &[Value]) -> (Option<usize>, String) {
    let error = core.call(name, arguments).await.unwrap().expect_err(name);
    (error.argument, error.text)
}

fn number(text: &str) -> Value {
    Number::parse(text).unwrap().into()
}

#[tokio::test]
async fn an_image_is_parsed_and_pinned() {
    let core = core().await;
    let parsed = good(&core, "parse_image", &["registry.example:5000/shop/cart:1.4".into()]).await;
    let wanted = Object::new()
        .with("registry", "registry.example:5000")
        .with("path", "shop/cart")
        .with("repository", "registry.example:5000/shop/cart")
        .with("tag", "1.4")
        .with("digest", Value::Null);
    assert_eq!(parsed, wanted.into());
    let digest = format!("sha256:{}", "0a".repeat(32));
    let pinned = good(&core, "image_with_digest", &["r.example/a:1".into(), digest.as_str().into()]).await;
    assert_eq!(pinned.as_str(), Some(format!("r.example/a@{digest}").as_str()));
    let again = good(&core, "parse_image", &[pinned]).await;
    assert_eq!(again.as_object().unwrap().attr("digest").as_str(), Some(digest.as_str()));
    assert_eq!(bad(&core, "parse_image", &["cart:1".into()]).await.0, Some(0));
    assert_eq!(bad(&core, "image_with_digest", &["cart".into(), digest.into()]).await.0, Some(0));
    assert_eq!(bad(&core, "image_with_digest", &["r.example/a:1".into(), "sha256:0".into()]).await.0, Some(1));
}

#[tokio::test]
async fn a_quantity_becomes_a_number_and_a_number_a_quantity() {
    let core = core().await;
    for (quantity, amount) in
        [("500m", "0.5"), ("1", "1"), ("1Gi", "1073741824"), ("1.5k", "1500"), ("4Ti", "4398046511104"), ("0", "0")]
    {
        assert_eq!(good(&core, "parse_quantity", &[quantity.into()]).await, number(amount), "{quantity}");
    }
    for (amount, suffix, wanted) in [
        ("1073741824", "Gi", "1Gi"),
        ("1610612736", "Gi", "1.5Gi"),
        ("0.25", "m", "250m"),
        ("0.25", "", "0.25"),
        ("1500", "k", "1.5k"),
        ("0", "Mi", "0Mi"),
    ] {
        let written = good(&core, "format_quantity", &[number(amount), suffix.into()]).await;
        assert_eq!(written.as_str(), Some(wanted));
        assert_eq!(good(&core, "parse_quantity", &[written]).await, number(amount), "there and back");
    }
    for wrong in ["", "abc", "-1", "1Q", "0.0001", "1e3"] {
        assert_eq!(bad(&core, "parse_quantity", &[wrong.into()]).await.0, Some(0), "{wrong}");
    }
    assert_eq!(bad(&core, "format_quantity", &[number("-1"), "".into()]).await.0, Some(0));
    assert_eq!(bad(&core, "format_quantity", &[number("1e30"), "".into()]).await.0, Some(0));
    assert_eq!(bad(&core, "format_quantity", &[number("1"), "X".into()]).await.0, Some(1));
    assert_eq!(bad(&core, "format_quantity", &[number("1"), "Ti".into()]).await.0, Some(1));
}

#[tokio::test]
async fn canary_steps_are_steps_of_a_gray_policy() {
    let core = core().await;
    let steps = good(&core, "canary_steps", &[300.into(), 5.into(), number("12.5")]).await;
    let steps = steps.as_elements().unwrap();
    assert_eq!(steps.len(), 2);
    let second = steps[1].as_object().unwrap();
    assert_eq!(second.attr("weight_percent"), &number("12.5"));
    assert_eq!(second.at("pause.duration_seconds").and_then(Value::as_i64), Some(300));
    let manual = good(&core, "canary_steps", &[Value::Null, 50.into()]).await;
    let first = manual.as_elements().unwrap()[0].as_object().unwrap().clone();
    assert_eq!(first.at("pause.manual").and_then(Value::as_bool), Some(true));
    // Every attribute is one of the policy's steps.
    let policy = core.resource_schema("sampan_gray_policy").unwrap();
    let step = policy.find("steps").unwrap().nested_attrs().unwrap().1;
    for (name, value) in first.iter() {
        let attr = step.iter().find(|attr| attr.name == name).unwrap();
        for (below, _) in value.as_object().into_iter().flat_map(Object::iter) {
            assert!(attr.nested_attrs().unwrap().1.iter().any(|attr| attr.name == below), "{name}.{below}");
        }
    }
    for (arguments, place) in [
        (vec![300.into()], None),
        (vec![0.into(), 5.into()], Some(0)),
        (vec![number("1.5"), 5.into()], Some(0)),
        (vec![300.into(), 0.into()], Some(1)),
        (vec![300.into(), 50.into(), 20.into()], Some(2)),
        (vec![300.into(), 50.into(), 200.into()], Some(2)),
    ] {
        assert_eq!(bad(&core, "canary_steps", &arguments).await.0, place, "{arguments:?}");
    }
}

#[tokio::test]
async fn a_dotenv_file_is_a_map_and_its_values_are_in_no_error() {
    let core = core().await;
    let text =
        "# settings\nexport A=1\n B = two words # said\nC='it is #1\\n'\nD=\"x\\n\\\"y\\\"\" # end\n\nE=\nF=a=b\n";
    let env = good(&core, "env_from_dotenv", &[text.into()]).await;
    let wanted = [("A", "1"), ("B", "two words"), ("C", "it is #1\\n"), ("D", "x\n\"y\""), ("E", ""), ("F", "a=b")];
    assert_eq!(env, Value::map(wanted.map(|(key, value)| (key, value.into()))));
    for wrong in ["s3cret", "1A=s3cret", "A-B=s3cret", "A='s3cret", "A=\"s3cret\\q\"", "A='x' s3cret", "A=x\nA=s3cret"]
    {
        let (place, text) = bad(&core, "env_from_dotenv", &[wrong.into()]).await;
        assert!(place == Some(0) && text.contains("Line ") && !text.contains("s3cret"), "{wrong}: {text}");
    }
}

#[tokio::test]
async fn an_id_is_parsed_and_built() {
    let core = core().await;
    for (namespace, name, id) in [(Value::from("shop"), "cart", "shop/cart"), (Value::Null, "shop", "shop")] {
        assert_eq!(good(&core, "build_id", &[namespace.clone(), name.into()]).await.as_str(), Some(id));
        let parsed = good(&core, "parse_id", &[id.into()]).await;
        assert_eq!(parsed, Object::new().with("namespace", namespace).with("name", name).into());
    }
    for wrong in ["", "/", "a/", "/a", "a/b/c", "Shop/cart"] {
        assert_eq!(bad(&core, "parse_id", &[wrong.into()]).await.0, Some(0), "{wrong}");
    }
    assert_eq!(bad(&core, "build_id", &["Shop".into(), "cart".into()]).await.0, Some(0));
    assert_eq!(bad(&core, "build_id", &["shop".into(), "a/b".into()]).await.0, Some(1));
}

#[tokio::test]
async fn a_schedule_says_when_it_fires_next() {
    let core = core().await;
    let ask = |e: &str, z: &str, a: &str| [Value::from(e), z.into(), a.into()];
    let next = good(&core, "cron_next", &ask("30 9 * * *", "Asia/Shanghai", "2026-01-01T02:00:00Z")).await;
    assert_eq!(next.as_str(), Some("2026-01-02T09:30:00+08:00"));
    for (arguments, index, word) in [
        (ask("* * *", "UTC", "2026-01-01T00:00:00Z"), 0, "5"),
        (ask("0 0 30 2 *", "UTC", "2026-01-01T00:00:00Z"), 0, "never"),
        (ask("0 0 * * *", "Nowhere", "2026-01-01T00:00:00Z"), 1, "IANA"),
        (ask("0 0 * * *", "UTC", "tomorrow"), 2, "RFC 3339"),
    ] {
        let (argument, text) = bad(&core, "cron_next", &arguments).await;
        assert!(argument == Some(index) && text.contains(word), "{argument:?} {text}");
    }
}
