//! The provider between a client that plays Terraform core and a server that is made up.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Fake, problem};
use serde_json::json;
use std::fmt::Write as _;
use std::time::{Duration, Instant};
use terraform_provider_sampan::Sampan;
use tf_plugin::fake_core::{FakeCore, State};
use tf_plugin::{Attr, Diagnostics, Kind, Nesting, Object, Value, path};

const CART: &str = "/v1/namespaces/shop/applications/cart";

async fn core() -> (FakeCore, Fake) {
    let (fake, endpoint) = Fake::start().await;
    let core = FakeCore::in_process(Sampan).await.unwrap();
    let config = Object::new().with("endpoint", endpoint).with("token", "t0ken").with("namespace", "shop");
    let d = core.configure(config).await.unwrap();
    assert!(d.is_empty(), "{d}");
    (core, fake)
}

fn cart() -> Object {
    Object::new()
        .with("name", "cart")
        .with("replicas", 2)
        .with("resources", Object::new().with("cpu", "0.5").with("memory", "1024Mi"))
        .with("container", Object::new().with("image", "registry.example/shop/cart:1").with("command", Value::list([])))
        .with("network", Object::new().with("ports", Value::map([("http", Value::from(port()))])))
}

fn step() -> Object {
    Object::new()
        .with("replicas", "10%")
        .with("weight_percent", tf_plugin::Number::parse("2.25").unwrap())
        .with("pause", Object::new().with("manual", true))
        .with("analysis", Value::set(["errors".into()]))
}

fn port() -> Object {
    Object::new().with("container_port", 8080)
}

async fn created(core: &FakeCore, type_name: &str, config: Object) -> State {
    let (state, d) = core.change(type_name, None, Some(config)).await.unwrap();
    assert!(d.is_empty(), "{d}");
    state.unwrap()
}

async fn plans_empty(core: &FakeCore, type_name: &str, state: &State, config: Object) {
    let (read, d) = core.read(type_name, state).await.unwrap();
    assert!(d.is_empty(), "{d}");
    let read = read.unwrap();
    assert_eq!(read.object, state.object, "a refresh changes nothing");
    let plan = core.plan(type_name, Some(&read), Some(config)).await.unwrap();
    assert!(plan.diagnostics.is_empty(), "{}", plan.diagnostics);
    assert_eq!(plan.planned.as_ref(), Some(&read.object), "a second plan changes nothing");
    assert!(plan.requires_replace.is_empty());
}

/// What the provider keeps beside the state, to write only over what it has read.
fn generation(state: &State) -> i64 {
    let private: serde_json::Value = serde_json::from_slice(&state.private).unwrap();
    private["values"]["generation"].as_i64().unwrap()
}

fn says(d: &Diagnostics, word: &str) -> bool {
    d.to_string().contains(word)
}

#[tokio::test]
async fn the_schema_of_the_provider_is_what_was_reviewed() {
    fn flags(a: &Attr) -> String {
        let all = [
            (a.required, "required"),
            (a.optional, "optional"),
            (a.computed, "computed"),
            (a.sensitive, "sensitive"),
            (a.write_only, "write-only"),
        ];
        all.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect::<Vec<_>>().join(" ")
    }
    fn write(out: &mut String, attrs: &[Attr], depth: usize) {
        for a in attrs {
            let pad = "  ".repeat(depth);
            let ty = match &a.kind {
                Kind::Nested(nesting, _) => format!("nested {}", format!("{nesting:?}").to_lowercase()),
                _ => a.wire_type().to_string(),
            };
            let _ = writeln!(out, "{pad}{}: {ty}, {}. {}", a.name, flags(a), a.description);
            if let Kind::Nested(Nesting::Single | Nesting::List | Nesting::Set | Nesting::Map, attrs) = &a.kind {
                write(out, attrs, depth + 1);
            }
        }
    }
    let core = FakeCore::in_process(Sampan).await.unwrap();
    let mut out = String::from("provider\n");
    write(&mut out, &core.provider_schema().body.attrs, 1);
    for kind in sampan_schema::KINDS {
        let name = format!("sampan_{}", kind.name);
        for (what, schema) in
            [("resource", core.resource_schema(&name).unwrap()), ("data", core.data_source_schema(&name).unwrap())]
        {
            let _ = writeln!(out, "{what} {name}, version {}. {}", schema.version, schema.body.description);
            write(&mut out, &schema.body.attrs, 1);
        }
    }
    for report in sampan_schema::report::REPORTS {
        let name = format!("sampan_{}", report.name);
        let schema = core.data_source_schema(&name).unwrap();
        let _ = writeln!(out, "data {name}, version {}. {}", schema.version, schema.body.description);
        write(&mut out, &schema.body.attrs, 1);
    }
    insta::assert_snapshot!(out);
}

#[tokio::test]
async fn an_application_lives_through_everything() {
    let (core, fake) = core().await;
    let plan = core.plan("sampan_application", None, Some(cart())).await.unwrap();
    assert!(plan.diagnostics.is_empty(), "{}", plan.diagnostics);
    let planned = plan.planned.as_ref().unwrap();
    assert_eq!(planned.attr("namespace").as_str(), Some("shop"));
    assert_eq!(planned.attr("id").as_str(), Some("shop/cart"));
    assert_eq!(planned.attr("last_change_class").as_str(), Some("none"));
    assert!(planned.attr("status").is_unknown());
    let (state, d) = core.apply(&plan).await.unwrap();
    assert!(d.is_empty(), "{d}");
    let state = state.unwrap();
    assert_eq!(state.object.at("status.phase").and_then(Value::as_str), Some("Running"));
    assert_eq!(state.object.at("status.last_operation.phase").and_then(Value::as_str), Some("Succeeded"));
    assert!(state.object.at("status.ready_replicas").is_none(), "fast values are for data sources");
    assert_eq!(fake.last("PUT")["container"]["command"], json!([]));
    plans_empty(&core, "sampan_application", &state, cart()).await;

    // Another spelling is no change.
    let other = cart().with("resources", Object::new().with("cpu", "500m").with("memory", "1Gi"));
    let plan = core.plan("sampan_application", Some(&state), Some(other)).await.unwrap();
    assert_eq!(plan.planned.as_ref(), Some(&state.object));

    for (config, class) in [
        (cart().with("replicas", 5), "scale"),
        (cart().with("labels", Value::map([("a", "b".into())])), "metadata"),
        (cart().with("container", Object::new().with("image", "registry.example/shop/cart:1")), "in_place_restart"),
        (cart().with("resources", Object::new().with("cpu", "2").with("memory", "1Gi")), "recreate"),
    ] {
        fake.world().dry_run = json!({ "change_class": class, "reasons": [{ "field": "x.y", "class": class }] });
        let plan = core.plan("sampan_application", Some(&state), Some(config.clone())).await.unwrap();
        let planned = plan.planned.as_ref().unwrap();
        assert_eq!(planned.attr("last_change_class").as_str(), Some(class));
        assert!(planned.attr("id").is_wholly_known());
        assert_eq!(says(&plan.diagnostics, "x.y"), class == "recreate", "{}", plan.diagnostics);
        let (after, d) = core.apply(&plan).await.unwrap();
        assert!(d.is_empty(), "{class}: {d}");
        plans_empty(&core, "sampan_application", &after.unwrap(), config).await;
        // Back, for the next one.
        fake.world().dry_run = json!({});
        let mut object = fake.world().objects[CART].clone();
        for (name, value) in fake.world().asked.iter().find(|a| a.0 == "PUT").unwrap().2.as_object().unwrap() {
            object[name] = value.clone();
        }
        fake.world().objects.insert(CART.to_owned(), sampan_schema::normalise::strip_nulls(&object));
        fake.world().objects.get_mut(CART).unwrap()["generation"] = 1.into();
    }

    let (imported, d) = core.import("sampan_application", "shop/cart").await.unwrap();
    assert!(d.is_empty(), "{d}");
    let imported = imported.unwrap();
    let plan = core.plan("sampan_application", Some(&imported), Some(cart())).await.unwrap();
    let different = imported.object.diff(plan.planned.as_ref().unwrap());
    assert!(different.is_empty(), "{different:?}");

    let (data, d) = core.data("sampan_application", Object::new().with("name", "cart")).await.unwrap();
    assert!(d.is_empty(), "{d}");
    assert_eq!(data.unwrap().at("status.ready_replicas").and_then(Value::as_i64), Some(2));

    let (gone, d) = core.change("sampan_application", Some(&state), None).await.unwrap();
    assert!(gone.is_none() && d.is_empty(), "{d}");
    assert!(fake.world().objects.is_empty());
    let (gone, _) = core.read("sampan_application", &state).await.unwrap();
    assert!(gone.is_none());
}

#[tokio::test]
async fn every_other_kind_is_created_planned_empty_imported_and_deleted() {
    let (core, fake) = core().await;
    let rule = Object::new()
        .with("name", "all")
        .with("backends", Value::list([Object::new().with("application", "cart").with("port", "http").into()]));
    for (type_name, id, config) in [
        ("sampan_namespace", "shop", Object::new().with("name", "shop")),
        (
            "sampan_config_map",
            "shop/conf",
            Object::new().with("name", "conf").with("data", Value::map([("a", "b".into())])),
        ),
        (
            "sampan_gray_policy",
            "shop/careful",
            Object::new().with("name", "careful").with("steps", Value::list([step().into()])).with(
                "analysis",
                Value::map([("errors", Value::from(Object::new().with("type", "error_rate").with("max_percent", 1)))]),
            ),
        ),
        (
            "sampan_scaling_rule",
            "shop/load",
            Object::new()
                .with("name", "load")
                .with("application", "cart")
                .with("min_replicas", 1)
                .with("max_replicas", 9)
                .with("metrics", Value::map([("qps", Object::new().with("type", "qps").with("target", 50).into())])),
        ),
        (
            "sampan_environment_schedule",
            "shop/nights",
            Object::new()
                .with("name", "nights")
                .with("selector", Object::new().with("match_labels", Value::map([("stage", "test".into())])))
                .with("stop", "0 20 * * *")
                .with("start", "0 8 * * *")
                .with("start_order", Value::list([Value::set(["db".into()]), Value::set(["b".into(), "a".into()])]))
                .with("holidays", Value::set(["2026-12-25".into(), "2026-12-24".into()])),
        ),
        (
            "sampan_route",
            "shop/web",
            Object::new()
                .with("name", "web")
                .with("hostnames", Value::set(["b.example".into(), "a.example".into()]))
                .with("rules", Value::list([rule.into()])),
        ),
    ] {
        let state = created(&core, type_name, config.clone()).await;
        assert_eq!(state.object.attr("id").as_str(), Some(id));
        plans_empty(&core, type_name, &state, config.clone()).await;
        let (imported, d) = core.import(type_name, id).await.unwrap();
        assert!(d.is_empty(), "{d}");
        assert_eq!(imported.unwrap().object, state.object);
        // A rule has no description.
        let other = match type_name {
            "sampan_scaling_rule" => config.with("max_replicas", 10),
            _ => config.with("description", "new"),
        };
        let (changed, d) = core.change(type_name, Some(&state), Some(other)).await.unwrap();
        assert!(d.is_empty(), "{d}");
        let (gone, d) = core.change(type_name, Some(&changed.unwrap()), None).await.unwrap();
        assert!(gone.is_none() && d.is_empty(), "{d}");
    }
    assert!(fake.world().objects.is_empty());
}

#[tokio::test]
async fn a_secret_is_sent_on_create_and_with_a_new_version_only() {
    let (core, fake) = core().await;
    let secret = |version: i64, value: &str| {
        let data = Value::map([("A", value.into())]);
        Object::new().with("name", "s").with("data_wo", data).with("wo_version", version)
    };
    let state = created(&core, "sampan_secret", secret(1, "hunter22")).await;
    assert_eq!(fake.last("PUT")["data_wo"], json!({ "A": "hunter22" }));
    assert!(state.object.attr("data_wo").is_null());
    plans_empty(&core, "sampan_secret", &state, secret(1, "another1")).await;
    let labelled = secret(1, "another1").with("labels", Value::map([("a", "b".into())]));
    let (state, d) = core.change("sampan_secret", Some(&state), Some(labelled)).await.unwrap();
    assert!(d.is_empty(), "{d}");
    assert!(fake.last("PUT").get("data_wo").is_none());
    let (_, d) = core.change("sampan_secret", state.as_ref(), Some(secret(2, "another1"))).await.unwrap();
    assert!(d.is_empty(), "{d}");
    assert_eq!(fake.last("PUT")["data_wo"], json!({ "A": "another1" }));
}

#[tokio::test]
async fn a_failed_release_is_an_error_is_saved_and_is_tried_again() {
    let (core, fake) = core().await;
    let state = created(&core, "sampan_application", cart()).await;
    fake.world().ends = Some(("Failed", "ProgressDeadlineExceeded", "cart-1: CrashLoop"));
    let (state, d) = core.change("sampan_application", Some(&state), Some(cart().with("replicas", 3))).await.unwrap();
    let state = state.unwrap();
    assert!(d.has_errors() && says(&d, "ProgressDeadlineExceeded") && says(&d, "CrashLoop"), "{d}");
    assert_eq!(state.object.attr("replicas").as_i64(), Some(3), "what is stored is in the state");
    assert_eq!(generation(&state), 2);

    let plan = core.plan("sampan_application", Some(&state), Some(cart().with("replicas", 3))).await.unwrap();
    assert!(plan.planned.as_ref().unwrap().attr("status").is_unknown(), "the next plan is an update");
    assert!(!plan.diagnostics.has_errors() && says(&plan.diagnostics, "has not succeeded"), "{}", plan.diagnostics);
    fake.world().ends = Some(("Succeeded", "", ""));
    let (state, d) = core.apply(&plan).await.unwrap();
    assert!(d.is_empty(), "{d}");
    plans_empty(&core, "sampan_application", &state.unwrap(), cart().with("replicas", 3)).await;
}

#[tokio::test]
async fn a_failed_first_release_is_an_error_or_a_warning_as_it_is_wished() {
    let (core, fake) = core().await;
    fake.world().ends = Some(("RolledBack", "ImageNotFound", "no such image"));
    let (state, d) = core.change("sampan_application", None, Some(cart())).await.unwrap();
    assert!(state.is_some() && d.has_errors(), "{d}");
    fake.world().objects.clear();
    let config = cart().with("rollout", Object::new().with("on_create_failure", "warn"));
    let (state, d) = core.change("sampan_application", None, Some(config)).await.unwrap();
    assert!(state.is_some() && !d.has_errors() && says(&d, "ImageNotFound"), "{d}");
}

#[tokio::test]
async fn an_interrupt_ends_the_waiting_with_a_warning_and_the_state() {
    let (core, fake) = core().await;
    fake.world().ends = None;
    let plan = core.plan("sampan_application", None, Some(cart())).await.unwrap();
    let stop = async {
        let end = Instant::now() + Duration::from_secs(20);
        while fake.world().asked.iter().all(|a| !a.1.starts_with("/v1/operations/")) {
            assert!(Instant::now() < end, "the operation is followed");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        core.stop().await.unwrap();
    };
    let (applied, ()) = tokio::join!(core.apply(&plan), stop);
    let (state, d) = applied.unwrap();
    assert!(!d.has_errors() && says(&d, "interrupted") && says(&d, "op1"), "{d}");
    assert_eq!(state.unwrap().object.attr("id").as_str(), Some("shop/cart"));
}

#[tokio::test]
async fn a_timeout_is_an_error_that_names_the_operation() {
    let (core, fake) = core().await;
    let state = created(&core, "sampan_application", cart()).await;
    fake.world().ends = None;
    let config = cart().with("replicas", 3).with("timeouts", Object::new().with("update", "300ms"));
    let (state, d) = core.change("sampan_application", Some(&state), Some(config.clone())).await.unwrap();
    assert!(d.has_errors() && says(&d, "op2") && says(&d, "next apply waits"), "{d}");
    // The next apply follows it and starts nothing.
    fake.world().ends = Some(("Succeeded", "", ""));
    let (_, d) =
        core.change("sampan_application", state.as_ref(), Some(config.with("description", "x"))).await.unwrap();
    assert!(!d.has_errors(), "{d}");
}

#[tokio::test]
async fn wait_for_started_does_not_wait() {
    let (core, fake) = core().await;
    fake.world().ends = None;
    let config = cart().with("rollout", Object::new().with("wait_for", "started"));
    let state = created(&core, "sampan_application", config).await;
    assert_eq!(state.object.at("status.last_operation.phase").and_then(Value::as_str), Some("Running"));
}

#[tokio::test]
async fn what_exists_is_not_adopted_and_the_error_says_how_to_import_it() {
    let (core, _fake) = core().await;
    created(&core, "sampan_application", cart()).await;
    let (state, d) = core.change("sampan_application", None, Some(cart())).await.unwrap();
    assert!(state.is_none());
    assert!(says(&d, "import {\n  to = sampan_application.cart\n  id = \"shop/cart\"\n}"), "{d}");
}

#[tokio::test]
async fn a_change_by_somebody_else_is_never_overwritten() {
    let (core, fake) = core().await;
    let state = created(&core, "sampan_application", cart()).await;
    // Only the generation moved: the write is made again with the new one.
    fake.world().objects.get_mut(CART).unwrap()["generation"] = 7.into();
    let (state, d) = core.change("sampan_application", Some(&state), Some(cart().with("replicas", 3))).await.unwrap();
    assert!(d.is_empty(), "{d}");
    let state = state.unwrap();
    assert_eq!(generation(&state), 8);
    fake.world().objects.get_mut(CART).unwrap()["generation"] = 9.into();
    fake.world().objects.get_mut(CART).unwrap()["replicas"] = 99.into();
    let (after, d) = core.change("sampan_application", Some(&state), Some(cart().with("replicas", 4))).await.unwrap();
    assert!(d.has_errors() && says(&d, "replicas"), "{d}");
    let after = after.unwrap();
    assert_eq!((&after.object, generation(&after)), (&state.object, 8));
    let (after, d) = core.change("sampan_application", Some(&state), None).await.unwrap();
    assert!(after.is_some() && d.has_errors() && says(&d, "replicas"), "{d}");
    assert_eq!(fake.world().objects[CART]["replicas"], 99);
}

#[tokio::test]
async fn drift_is_shown_and_defaults_and_empty_collections_are_not() {
    let (core, fake) = core().await;
    let config = cart().with("labels", Value::map::<String>([]));
    let state = created(&core, "sampan_application", config).await;
    fake.world().objects.get_mut(CART).unwrap().as_object_mut().unwrap().remove("labels");
    fake.world().objects.get_mut(CART).unwrap()["update_strategy"] = json!({ "max_surge": "0" });
    fake.world().objects.get_mut(CART).unwrap()["replicas"] = 9.into();
    fake.world().objects.get_mut(CART).unwrap()["unheard_of"] = json!({ "newer": true });
    let (read, d) = core.read("sampan_application", &state).await.unwrap();
    assert!(d.is_empty(), "{d}");
    assert_eq!(state.object.diff(&read.unwrap().object), [path!("replicas")]);
}

#[tokio::test]
async fn findings_are_at_their_attributes_before_and_after_the_server() {
    let (core, fake) = core().await;
    let d = core.validate("sampan_application", cart().with("name", "Not A Name")).await.unwrap();
    assert!(d.iter().any(|d| d.path == Some(path!("name")) && d.is_error()), "{d}");
    let probes = Object::new().with("readiness", Object::new().with("period_seconds", 1));
    let container = Object::new().with("image", "r/x:1").with("probes", probes);
    let d = core.validate("sampan_application", cart().with("container", container)).await.unwrap();
    assert!(
        d.iter().any(|d| d.path == Some(path!("container")) && d.detail.contains("container.probes.readiness")),
        "{d}"
    );
    let d = core.validate("sampan_application", cart().with("replicas", Value::UNKNOWN)).await.unwrap();
    assert!(d.is_empty(), "{d}");

    let errors = json!([{ "field_path": "isolation_class", "message": "is not allowed", "rule": "SMP040" }]);
    let plan = core.plan("sampan_application", None, Some(cart())).await.unwrap();
    fake.world().refuse = vec![(422, problem(422, "ISOLATION_NOT_ALLOWED", errors))];
    let (state, d) = core.apply(&plan).await.unwrap();
    assert!(state.is_none());
    assert!(d.iter().any(|d| d.path == Some(path!("isolation_class")) && says(&d.clone().into(), "SMP040")), "{d}");
}

#[tokio::test]
async fn only_the_api_makes_an_object_disappear() {
    let (core, fake) = core().await;
    let state = created(&core, "sampan_application", cart()).await;
    fake.world().refuse = vec![(404, serde_json::Value::Null)];
    let (read, d) = core.read("sampan_application", &state).await.unwrap();
    assert!(read.is_some() && d.has_errors(), "{d}");
}

/// What configuring the provider says, with this much of a provider block.
async fn configured(settings: Object) -> Diagnostics {
    FakeCore::in_process(Sampan).await.unwrap().configure(settings).await.unwrap()
}

#[tokio::test]
async fn a_server_that_cannot_be_worked_with_is_an_error_of_the_provider_block() {
    let (fake, endpoint) = Fake::start().await;
    let block = || Object::new().with("endpoint", endpoint.as_str());
    fake.world().api_version = "v9";
    let d = configured(block().with("token", "t")).await;
    assert!(d.has_errors() && says(&d, "v9") && says(&d, "v1"), "{d}");
    fake.world().api_version = "v1";
    let refusal = || vec![(401, problem(401, "UNAUTHENTICATED", json!([])))];
    fake.world().refuse = refusal();
    let d = configured(block().with("token", "never-shown")).await;
    assert!(says(&d, "refuses the token") && says(&d, "token in this block") && !says(&d, "never-shown"), "{d}");
    fake.world().refuse = refusal();
    let d = configured(block()).await;
    assert!(says(&d, "No token is set") && says(&d, "SAMPAN_TOKEN_FILE"), "{d}");
    let d = configured(block().with("token_file", "/no/such/file")).await;
    assert!(says(&d, "/no/such/file cannot be read"), "{d}");
    fake.world().refuse = vec![(200, json!("hello"))];
    let d = configured(block().with("token", "t")).await;
    assert!(says(&d, "Is endpoint the address of the API"), "{d}");
    let d = configured(Object::new().with("endpoint", "http://127.0.0.1:1").with("token", "t")).await;
    assert!(says(&d, "Connection refused") && says(&d, "SAMPAN_ENDPOINT"), "{d}");
    assert!(d.iter().all(|d| d.path == Some(path!("endpoint"))), "{d}");
}

#[tokio::test]
async fn warnings_of_the_dry_run_are_in_the_plan_and_a_server_that_is_away_is_one() {
    let (core, fake) = core().await;
    fake.world().dry_run = json!({ "change_class": "none", "warnings": ["container.image: cannot be resolved"],
        "isolation": { "class": "kata", "available": false, "reason": "no handler" } });
    let plan = core.plan("sampan_application", None, Some(cart())).await.unwrap();
    assert!(!plan.diagnostics.has_errors());
    assert!(says(&plan.diagnostics, "cannot be resolved") && says(&plan.diagnostics, "no handler"));
    assert!(plan.diagnostics.iter().any(|d| d.path == Some(path!("container"))), "{}", plan.diagnostics);
    fake.world().refuse = vec![(500, problem(500, "INTERNAL", json!([])))];
    let plan = core.plan("sampan_application", None, Some(cart())).await.unwrap();
    assert!(!plan.diagnostics.has_errors() && says(&plan.diagnostics, "not checked"), "{}", plan.diagnostics);
}

#[tokio::test]
async fn the_namespace_of_the_provider_counts_where_none_is_written_and_moving_replaces() {
    let (core, fake) = core().await;
    let config = || Object::new().with("name", "conf");
    let state = created(&core, "sampan_config_map", config()).await;
    let other = core.plan("sampan_config_map", Some(&state), Some(config().with("namespace", "other"))).await.unwrap();
    assert_eq!(other.requires_replace, [path!("namespace")]);
    // The provider's namespace changes.
    let endpoint = fake_endpoint(&fake).await;
    let moved = FakeCore::in_process(Sampan).await.unwrap();
    let settings = Object::new().with("endpoint", endpoint).with("token", "t").with("namespace", "other");
    assert!(moved.configure(settings).await.unwrap().is_empty());
    let plan = moved.plan("sampan_config_map", Some(&state), Some(config())).await.unwrap();
    assert_eq!(plan.requires_replace, [path!("namespace")]);
    assert_eq!(plan.planned.unwrap().attr("namespace").as_str(), Some("other"));
}

async fn fake_endpoint(_: &Fake) -> String {
    Fake::start().await.1
}

#[tokio::test]
async fn wrong_ids_are_refused_with_the_right_form() {
    let (core, _) = core().await;
    for id in ["cart", "a/b/c", "/cart", "shop/", "shop/Cart", ""] {
        let (state, d) = core.import("sampan_application", id).await.unwrap();
        assert!(state.is_none() && says(&d, "namespace/name"), "{id}: {d}");
    }
    let (state, d) = core.import("sampan_namespace", "a/b").await.unwrap();
    assert!(state.is_none() && d.has_errors(), "{d}");
    let (state, d) = core.import("sampan_namespace", "nowhere").await.unwrap();
    assert!(state.is_none() && says(&d, "non-existent"), "Terraform says that it does not exist: {d}");
}

#[tokio::test]
async fn unknown_settings_still_plan_and_wrong_ones_are_refused() {
    let core = FakeCore::in_process(Sampan).await.unwrap();
    let d = core.configure(Object::new().with("endpoint", Value::UNKNOWN)).await.unwrap();
    assert!(d.is_empty(), "{d}");
    let plan = core.plan("sampan_application", None, Some(cart())).await.unwrap();
    assert!(plan.diagnostics.is_empty(), "{}", plan.diagnostics);
    assert!(plan.planned.unwrap().attr("namespace").is_unknown());
    for (endpoint, word) in [("http://example.com", "https"), ("nonsense", "URL")] {
        let d = core.configure(Object::new().with("endpoint", endpoint)).await.unwrap();
        assert!(d.has_errors() && says(&d, word), "{d}");
    }
    let both = Object::new().with("endpoint", "https://x.example").with("token", "a").with("token_file", "b");
    assert!(core.configure(both).await.unwrap().has_errors());
}

fn waits_for(what: &str) -> Object {
    cart().with("rollout", Object::new().with("wait_for", what))
}

#[tokio::test]
async fn manual_step_applies_with_warning() {
    let (core, fake) = core().await;
    let state = created(&core, "sampan_application", cart()).await;
    for (replicas, reason, command) in [
        (3, "ManualStep", "sampan rollout promote shop/cart"),
        (4, "WaitingApproval", "sampan rollout promote shop/cart"),
        (5, "NoTraffic", "sampan rollout promote shop/cart"),
        (6, "UserPaused", "sampan rollout resume shop/cart"),
        (7, "MetricsMissing", "sampan rollout resume shop/cart"),
    ] {
        fake.world().ends = Some(("Paused", reason, ""));
        let config = cart().with("replicas", replicas);
        let (now, d) = core.read("sampan_application", &state).await.unwrap();
        assert!(d.is_empty(), "{d}");
        let (after, d) = core.change("sampan_application", now.as_ref(), Some(config.clone())).await.unwrap();
        assert!(!d.has_errors() && says(&d, reason) && says(&d, command), "{d}");
        // The pause is as it was planned: nothing is tried again.
        plans_empty(&core, "sampan_application", &after.unwrap(), config).await;
    }
}

#[tokio::test]
async fn a_pause_that_nobody_planned_is_an_error_that_names_the_verbs_and_so_does_the_next_plan() {
    let (core, fake) = core().await;
    for (wait_for, reason) in
        [("paused_or_completed", "AnalysisFailed"), ("completed", "Failures"), ("completed", "TrafficOnStable")]
    {
        fake.world().objects.clear();
        fake.world().ends = Some(("Succeeded", "", ""));
        let state = created(&core, "sampan_application", waits_for(wait_for)).await;
        fake.world().ends = Some(("Paused", reason, "errors: 9 % of 120"));
        let config = waits_for(wait_for).with("replicas", 3);
        let (after, d) = core.change("sampan_application", Some(&state), Some(config.clone())).await.unwrap();
        assert!(
            d.has_errors() && says(&d, reason) && says(&d, "9 % of 120") && says(&d, "rollout status shop/cart"),
            "{d}"
        );
        let plan = core.plan("sampan_application", after.as_ref(), Some(config)).await.unwrap();
        assert!(plan.planned.as_ref().unwrap().attr("status").is_unknown() && says(&plan.diagnostics, reason));
        for verb in ["resume", "promote", "abort"] {
            let command = format!("sampan rollout {verb} shop/cart");
            assert!(says(&d, &command) && says(&plan.diagnostics, &command), "{verb}: {d}");
        }
        assert!(!says(&plan.diagnostics, "Applying tries again"), "{}", plan.diagnostics);
    }
}

#[tokio::test]
async fn a_policy_that_is_not_there_is_an_error_at_the_plan_unless_this_run_makes_or_changes_it() {
    for (rule, message) in
        [("SMP041", "gray_policy \"careful\" does not exist"), ("SMP065", "one instance cannot be divided")]
    {
        let (core, fake) = core().await;
        let unresolved = |field: &str| json!([{ "field_path": field, "message": message, "rule": rule }]);
        fake.world().dry_run = json!({ "change_class": "none", "unresolved": unresolved("gray_policy") });
        let follower = || cart().with("gray_policy", "careful");
        let plan = core.plan("sampan_application", None, Some(follower())).await.unwrap();
        assert!(plan.diagnostics.has_errors() && says(&plan.diagnostics, message), "{}", plan.diagnostics);
        assert!(says(&plan.diagnostics, "sampan_gray_policy.NAME.name"), "{}", plan.diagnostics);
        let at = format!("{:?}", plan.diagnostics);
        assert!(at.contains("gray_policy"), "{at}");
        // What others may still be made is told by the apply alone, and so is everything of a namespace to be made.
        for field in ["container.env_from[0].secret", "namespace"] {
            let mut both = unresolved(field);
            if field == "namespace" {
                both.as_array_mut().unwrap().extend(unresolved("gray_policy").as_array().unwrap().clone());
            }
            fake.world().dry_run = json!({ "change_class": "none", "unresolved": both });
            let plan = core.plan("sampan_application", None, Some(follower())).await.unwrap();
            assert!(plan.diagnostics.is_empty(), "{field}: {}", plan.diagnostics);
        }
        let step = Object::new().with("weight_percent", 5);
        let policy = |name: &str| {
            Object::new().with("namespace", "shop").with("name", name).with("steps", Value::list([step.clone().into()]))
        };
        fake.world().dry_run = json!({ "change_class": "none" });
        core.plan("sampan_gray_policy", None, Some(policy("other"))).await.unwrap();
        fake.world().dry_run = json!({ "change_class": "none", "unresolved": unresolved("gray_policy") });
        let plan = core.plan("sampan_application", None, Some(follower())).await.unwrap();
        assert!(plan.diagnostics.has_errors(), "another policy is not this one");
        fake.world().dry_run = json!({ "change_class": "none" });
        core.plan("sampan_gray_policy", None, Some(policy("careful"))).await.unwrap();
        fake.world().dry_run = json!({ "change_class": "none", "unresolved": unresolved("gray_policy") });
        let plan = core.plan("sampan_application", None, Some(follower())).await.unwrap();
        assert!(!plan.diagnostics.has_errors(), "{}", plan.diagnostics);
    }
}

#[tokio::test]
async fn who_waits_for_the_end_waits_through_a_planned_pause() {
    let (core, fake) = core().await;
    let state = created(&core, "sampan_application", waits_for("completed")).await;
    fake.world().ends = Some(("Paused", "ManualStep", ""));
    let paused = fake.clone();
    let promote = tokio::spawn(async move {
        let end = Instant::now() + Duration::from_secs(20);
        // Seen paused by the waiting provider, and asked about again.
        while paused.count("GET", "/v1/operations/op2") < 3 {
            assert!(Instant::now() < end, "nobody waits");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        paused.world().ends = Some(("Succeeded", "", ""));
    });
    let config = waits_for("completed").with("replicas", 3);
    let (after, d) = core.change("sampan_application", Some(&state), Some(config)).await.unwrap();
    promote.await.unwrap();
    assert!(d.is_empty(), "{d}");
    assert_eq!(after.unwrap().object.at("status.last_operation.phase").and_then(Value::as_str), Some("Succeeded"));
}

#[tokio::test]
async fn rollback_fails_the_apply() {
    let (core, fake) = core().await;
    for phase in ["RolledBack", "Aborted"] {
        fake.world().objects.clear();
        fake.world().ends = Some(("Succeeded", "", ""));
        let state = created(&core, "sampan_application", cart()).await;
        fake.world().ends = Some((phase, "AnalysisFailed", "errors"));
        let config = cart().with("replicas", 3);
        let (_, d) = core.change("sampan_application", Some(&state), Some(config)).await.unwrap();
        assert!(d.has_errors() && says(&d, phase) && says(&d, "AnalysisFailed"), "{d}");
    }
}

#[tokio::test]
async fn reports_are_read_by_data_sources() {
    let (core, fake) = core().await;
    let answers = [
        (
            format!("{CART}/rollout"),
            json!({ "phase": "Paused", "step": 1, "total_steps": 3, "weight_percent": 2.5,
            "analysis": [{ "name": "errors", "result": "Running", "message": "12 of 50" }] }),
        ),
        (
            format!("{CART}/scaling"),
            json!({ "current": 3, "ready": 2, "desired": 3, "limited_by": "max", "reason": "2 -> 3",
                "rules": [{ "name": "load", "enabled": true, "wanted": 4,
                    "metrics": { "qps": { "type": "qps", "target": 10.0, "current": 35.5, "problem": "" } } }],
                "decisions": [{ "at": 1, "from": 2, "to": 3, "reason": "2 -> 3", "inputs": { "any": ["thing"] } }] }),
        ),
        (format!("{CART}/revisions"), json!({ "items": [{ "hash": "b", "number": 2 }, { "hash": "a", "number": 1 }] })),
    ];
    fake.world().reports.extend(answers);
    fake.world().operations.insert(
        "op9".into(),
        json!({ "id": "op9", "kind": "deploy", "phase": "Failed",
        "progress": { "total": 2, "failing": ["cart-1: CrashLoop"] } }),
    );
    let of_cart = || Object::new().with("application", "cart");
    let (rollout, d) = core.data("sampan_rollout", of_cart()).await.unwrap();
    assert!(d.is_empty(), "{d}");
    let rollout = rollout.unwrap();
    assert_eq!(rollout.attr("namespace").as_str(), Some("shop"));
    assert_eq!((rollout.attr("phase").as_str(), rollout.attr("total_steps").as_i64()), (Some("Paused"), Some(3)));
    assert_eq!(rollout.at("analysis[0].result").and_then(Value::as_str), Some("Running"));
    let (revisions, d) = core.data("sampan_application_revisions", of_cart()).await.unwrap();
    assert!(d.is_empty(), "{d}");
    assert_eq!(revisions.unwrap().at("revisions[1].hash").and_then(Value::as_str), Some("a"));
    let (scaling, d) = core.data("sampan_scaling_rules", of_cart()).await.unwrap();
    assert!(d.is_empty(), "{d}");
    let scaling = scaling.unwrap();
    assert_eq!((scaling.attr("ready").as_i64(), scaling.attr("limited_by").as_str()), (Some(2), Some("max")));
    assert_eq!(scaling.at("rules[0].wanted").and_then(Value::as_i64), Some(4));
    assert_eq!(scaling.at("rules[0].metrics[\"qps\"].type").and_then(Value::as_str), Some("qps"));
    assert_eq!(scaling.at("decisions[0].to").and_then(Value::as_i64), Some(3));
    let (operation, d) = core.data("sampan_operation", Object::new().with("id", "op9")).await.unwrap();
    assert!(d.is_empty(), "{d}");
    assert_eq!(operation.unwrap().at("progress.failing[0]").and_then(Value::as_str), Some("cart-1: CrashLoop"));
    let (_, d) = core.data("sampan_operation", Object::new().with("id", "gone")).await.unwrap();
    assert!(d.has_errors() && says(&d, "Not found"), "{d}");
    let (_, d) = core.data("sampan_operation", Object::new().with("id", "a/b")).await.unwrap();
    assert!(d.has_errors(), "{d}");
}
