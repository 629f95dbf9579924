//! Rules over every kind, and tables of change classes.

use proptest::prelude::*;
use sampan_schema::api::API;
use sampan_schema::change::{self, Class};
use sampan_schema::{APPLICATION, GRAY_POLICY, KINDS, check, kind, normalise};
use serde_json::{Value, json};

fn app() -> Value {
    json!({
        "namespace": "shop", "name": "cart", "replicas": 2, "resources": { "cpu": "500m", "memory": "1Gi" },
        "container": { "image": "r.example.com/cart:1", "env": { "A": "1" } },
        "network": { "ports": { "http": { "container_port": 8080, "protocol": "HTTP" } } },
    })
}

fn with(path: &str, value: Value) -> Value {
    let mut spec = app();
    let mut at = &mut spec;
    for step in path.split('.') {
        at = &mut at[step];
    }
    *at = value;
    spec
}

#[test]
fn every_reference_names_a_kind_that_comes_before() {
    fn walk(schema: &Value, path: &str, found: &mut Vec<(String, String)>) {
        if let Some(to) = schema.pointer("/x-sampan/reference") {
            let mut named = schema;
            while named["type"] == "array" {
                named = &named["items"];
            }
            let named = if named["type"] == "object" { &named["properties"]["name"] } else { named };
            assert_eq!(named["type"], "string", "{path} holds no name");
            found.push((path.to_owned(), to.as_str().unwrap().to_owned()));
        }
        for (name, below) in schema["properties"].as_object().into_iter().flatten() {
            walk(below, &format!("{path}.{name}"), found);
        }
        for below in ["items", "additionalProperties"].iter().filter_map(|key| schema.get(key)) {
            walk(below, path, found);
        }
    }
    let place = |name: &str| KINDS.iter().position(|kind| kind.name == name);
    let mut found = Vec::new();
    for kind in KINDS {
        walk(kind.spec_schema(), kind.name, &mut found);
    }
    for (path, to) in &found {
        let from = path.split('.').next().unwrap();
        assert!(place(to).is_some() && place(to) < place(from), "{path} refers to {to}");
    }
    let of = |path: &str| found.iter().filter(|(from, _)| from == path).map(|(_, to)| to.as_str()).collect::<Vec<_>>();
    assert_eq!(of("application.container.env_from.secret"), ["secret"]);
    assert_eq!(of("application.container.env_refs.config_map"), ["config_map"]);
    assert_eq!(of("environment_schedule.start_order"), ["application"]);
    assert_eq!(of("route.rules.backends.application"), ["application"]);
}

#[test]
fn each_field_has_its_class() {
    for (path, value, class) in [
        ("description", json!("d"), Class::Metadata),
        ("labels", json!({ "a": "b" }), Class::Metadata),
        ("replicas", json!(3), Class::Scale),
        ("isolation_class", json!("kata"), Class::Recreate),
        ("resources.cpu", json!("1"), Class::Recreate),
        ("resources.memory", json!("2Gi"), Class::Recreate),
        ("container.image", json!("r.example.com/cart:2"), Class::InPlaceRestart),
        ("container.image_pull_policy", json!("Always"), Class::Metadata),
        ("container.command", json!(["/x"]), Class::InPlaceRestart),
        ("container.args", json!([]), Class::InPlaceRestart),
        ("container.working_dir", json!("/w"), Class::InPlaceRestart),
        ("container.env", json!({ "A": "2" }), Class::InPlaceRestart),
        ("container.env_refs", json!({ "B": { "field": "revision" } }), Class::InPlaceRestart),
        ("container.env_from", json!([{ "config_map": "c" }]), Class::InPlaceRestart),
        ("container.restart_on_config_change", json!(true), Class::InPlaceRestart),
        ("container.probes", json!({ "readiness": { "tcp_socket": { "port": "http" } } }), Class::Metadata),
        ("network.ports", json!({}), Class::Metadata),
        ("update_strategy", json!({ "max_surge": "1" }), Class::Metadata),
        ("lifecycle_hooks", json!({ "termination_grace_period_seconds": 1 }), Class::Metadata),
        ("rollout", json!({ "on_failure": "rollback" }), Class::Metadata),
        ("gray_policy", json!("careful"), Class::Metadata),
        ("name", json!("other"), Class::Replace),
        ("namespace", json!("other"), Class::Replace),
    ] {
        let found = change::between(&APPLICATION, &app(), &with(path, value));
        assert_eq!(found.class, class, "{path}: {found:?}");
        assert!(found.reasons.iter().all(|r| r.field.starts_with(path)), "{path}: {found:?}");
    }
}

#[test]
fn every_declared_field_has_a_class() {
    for kind in KINDS {
        for (name, schema) in kind.spec_schema()["properties"].as_object().unwrap() {
            assert!(schema.pointer("/x-sampan/class").is_some(), "{}.{name} has no class", kind.name);
        }
    }
}

#[test]
fn another_spelling_of_the_same_value_is_no_change() {
    for (path, value) in [
        ("resources.cpu", json!("0.5")),
        ("resources.memory", json!("1024Mi")),
        ("container.command", Value::Null),
        ("update_strategy", json!({ "max_unavailable": "25%" })),
        ("labels", json!({})),
        ("rollout", json!({})),
        ("rollout", json!({ "wait_for": "paused_or_completed" })),
        ("update_strategy", json!({ "type": "InPlaceIfPossible" })),
    ] {
        let found = change::between(&APPLICATION, &app(), &with(path, value));
        assert_eq!(found.class, Class::None, "{path}: {found:?}");
    }
}

#[test]
fn an_image_change_alone_is_not_certain_and_with_env_it_is() {
    let image = with("container.image", json!("r.example.com/cart:2"));
    assert!(!change::between(&APPLICATION, &app(), &image).is_certain());
    let mut both = image;
    both["container"]["env"]["A"] = json!("2");
    assert!(change::between(&APPLICATION, &app(), &both).is_certain());
}

#[test]
fn a_change_of_secret_values_has_no_reason_to_show() {
    let secret = |data: &str, version: i64| json!({ "namespace": "n", "name": "s", "wo_version": version, "data_wo": { "k": data } });
    let k = kind("secret").unwrap();
    assert_eq!(change::between(k, &secret("a", 1), &secret("b", 1)).class, Class::None);
    let fields: Vec<_> = change::between(k, &secret("a", 1), &secret("b", 2)).reasons;
    assert_eq!(fields.len(), 1);
    assert_eq!(fields[0].field, "wo_version");
}

#[test]
fn violations_name_path_and_rule() {
    let many = |n: usize| (0..n).map(|i| (format!("k{i}"), json!("v"))).collect::<serde_json::Map<_, _>>().into();
    let probe = |mut http: Value| {
        http["port"] = "80".into();
        with("container.probes", json!({ "readiness": { "http_get": http } }))
    };
    let mut unreachable = with("network.ports", json!({}));
    unreachable["idle"] = json!({ "mode": "stop" });
    let cases = [
        (with("replicas", json!(-1)), "replicas", "SMP006"),
        (with("replicas", json!("two")), "replicas", "SMP002"),
        (with("name", json!("Cart")), "name", "SMP004"),
        (with("resources.cpu", json!("abc")), "resources.cpu", "SMP016"),
        (with("resources.cpu", json!("65")), "resources.cpu", "SMP017"),
        (with("container.image", json!("cart")), "container.image", "SMP020"),
        (with("container.image_pull_policy", json!("Maybe")), "container.image_pull_policy", "SMP003"),
        (with("container.colour", json!(1)), "container.colour", "SMP008"),
        (with("container.env", json!({ "1A": "x" })), "container.env[\"1A\"]", "SMP025"),
        (with("container.env_refs", json!({ "A": { "field": "revision" } })), "container.env_refs[\"A\"]", "SMP027"),
        (with("container.env_from", json!([{}])), "container.env_from[0]", "SMP029"),
        (
            with("network.ports", json!({ "http": { "container_port": 0 } })),
            "network.ports[\"http\"].container_port",
            "SMP006",
        ),
        (with("update_strategy", json!({ "max_unavailable": "0%" })), "update_strategy.max_unavailable", "SMP018"),
        (with("labels", json!({ "sampan.x": "y" })), "labels[\"sampan.x\"]", "SMP013"),
        (with("labels", many(65)), "labels", "SMP007"),
        (with("container.env", many(201)), "container.env", "SMP007"),
        (with("update_strategy", json!({ "min_ready_seconds": 600 })), "update_strategy.min_ready_seconds", "SMP037"),
        (with("lifecycle_hooks", json!({ "pre_stop": {} })), "lifecycle_hooks.pre_stop", "SMP067"),
        (
            with("lifecycle_hooks", json!({ "pre_stop": { "exec": { "command": ["/x"] }, "sleep_seconds": 1 } })),
            "lifecycle_hooks.pre_stop",
            "SMP067",
        ),
        (
            with("lifecycle_hooks", json!({ "pre_stop": { "http_get": { "port": "none" } } })),
            "lifecycle_hooks.pre_stop.http_get.port",
            "SMP024",
        ),
        (
            with("lifecycle_hooks", json!({ "pre_stop": { "http_get": { "port": "80" }, "sleep_seconds": 1 } })),
            "lifecycle_hooks.pre_stop",
            "SMP067",
        ),
        (
            with("lifecycle_hooks", json!({ "pre_stop": { "http_get": { "port": "80", "headers": { "a b": "" } } } })),
            "lifecycle_hooks.pre_stop.http_get.headers",
            "SMP036",
        ),
        (
            with("lifecycle_hooks", json!({ "pre_stop": { "sleep_seconds": 30 } })),
            "lifecycle_hooks.pre_stop.sleep_seconds",
            "SMP068",
        ),
        (
            with("lifecycle_hooks", json!({ "online": { "registration_delay_seconds": 600 } })),
            "lifecycle_hooks.online.registration_delay_seconds",
            "SMP069",
        ),
        (unreachable, "idle.mode", "SMP135"),
        (with("idle", json!({ "after_seconds": 59 })), "idle.after_seconds", "SMP006"),
        (with("idle", json!({ "mode": "suspend" })), "idle.mode", "SMP003"),
        (
            with("update_strategy", json!({ "type": "InPlaceOnly", "max_surge": "1" })),
            "update_strategy.max_surge",
            "SMP064",
        ),
        (with("update_strategy", json!({ "type": "Recreate" })), "update_strategy.type", "SMP003"),
        (with("gray_policy", json!("Careful")), "gray_policy", "SMP004"),
        (probe(json!({ "path": "/a b" })), "container.probes.readiness.http_get.path", "SMP004"),
        (probe(json!({ "expect_status": [99_999] })), "container.probes.readiness.http_get.expect_status", "SMP035"),
        (probe(json!({ "headers": { "a b": "c" } })), "container.probes.readiness.http_get.headers", "SMP036"),
        (with("resources", Value::Null), "resources", "SMP001"),
    ];
    for (spec, path, rule) in cases {
        let found = APPLICATION.validate(&spec);
        assert_eq!(found.len(), 1, "{path}: {found:?}");
        assert_eq!((found[0].field_path.as_str(), found[0].rule.as_str()), (path, rule), "{found:?}");
    }
    assert_eq!(APPLICATION.validate(&app()), vec![]);
}

/// A policy with one step, and more laid over both.
fn policy(step: Value, more: Value) -> Value {
    let mut spec = json!({ "namespace": "shop", "name": "careful", "steps": [step] });
    for (name, value) in more.as_object().into_iter().flatten() {
        spec[name] = value.clone();
    }
    spec
}

fn steps(steps: Value) -> Value {
    policy(json!({}), json!({ "steps": steps }))
}

/// A step whose one match has these conditions.
fn matching(conditions: Value) -> Value {
    policy(json!({ "replicas": "1", "matches": [conditions] }), json!({}))
}

#[test]
fn each_rule_of_a_gray_policy_names_its_field() {
    let ten = || json!({ "weight_percent": 10 });
    let header = |more: Value| {
        let mut condition = json!({ "name": "x-user" });
        for (name, value) in more.as_object().into_iter().flatten() {
            condition[name] = value.clone();
        }
        matching(json!({ "headers": [condition] }))
    };
    let analysis = |a: Value| policy(ten(), json!({ "analysis": { "a": a } }));
    let cases = [
        (steps(json!([{ "weight_percent": 10 }, { "weight_percent": 10 }])), "steps[1].weight_percent", "SMP046"),
        (steps(json!([{ "weight_percent": 10 }, { "weight_percent": 9.99 }])), "steps[1].weight_percent", "SMP046"),
        (steps(json!([{ "weight_percent": 30 }, { "replicas": "20%" }])), "steps[1].replicas", "SMP046"),
        (
            steps(
                json!([{ "weight_percent": 30 }, { "replicas": "1", "matches": [{ "method": "GET" }] }, { "weight_percent": 20 }]),
            ),
            "steps[2].weight_percent",
            "SMP046",
        ),
        (
            policy(json!({ "replicas": "1", "weight_percent": 5, "matches": [{ "method": "GET" }] }), json!({})),
            "steps[0].weight_percent",
            "SMP047",
        ),
        (
            policy(json!({ "replicas": "1", "weight_percent": 5 }), json!({ "strategy": "batch" })),
            "steps[0].weight_percent",
            "SMP048",
        ),
        (
            policy(json!({ "replicas": "1", "matches": [{ "method": "GET" }] }), json!({ "strategy": "batch" })),
            "steps[0].matches",
            "SMP048",
        ),
        (policy(json!({ "replicas": "1" }), json!({ "strategy": "batch", "sticky": {} })), "sticky", "SMP048"),
        (
            policy(json!({ "replicas": "1" }), json!({ "strategy": "batch", "fallback": "reject" })),
            "fallback",
            "SMP048",
        ),
        (policy(json!({ "matches": [{ "method": "GET" }] }), json!({})), "steps[0].replicas", "SMP049"),
        (policy(json!({ "pause": { "manual": true } }), json!({})), "steps[0].replicas", "SMP049"),
        (policy(json!({ "replicas": "0%", "weight_percent": 5 }), json!({})), "steps[0].replicas", "SMP049"),
        (
            steps(json!([{ "replicas": "3", "weight_percent": 5 }, { "replicas": "2", "weight_percent": 10 }])),
            "steps[1].replicas",
            "SMP050",
        ),
        (
            steps(json!([{ "replicas": "30%", "weight_percent": 5 }, { "replicas": "20%", "weight_percent": 10 }])),
            "steps[1].replicas",
            "SMP050",
        ),
        (policy(json!({ "replicas": "51%" }), json!({})), "steps[0].replicas", "SMP051"),
        (policy(json!({ "weight_percent": 50.01 }), json!({})), "steps[0].weight_percent", "SMP051"),
        (policy(json!({ "replicas": "1" }), json!({ "strategy": "blue_green" })), "steps[0].replicas", "SMP052"),
        (policy(ten(), json!({ "strategy": "blue_green", "capacity": "extra" })), "capacity", "SMP052"),
        (policy(json!({ "replicas": "1" }), json!({ "strategy": "batch", "capacity": "extra" })), "capacity", "SMP052"),
        (policy(ten(), json!({ "scale_down_delay_seconds": 60 })), "scale_down_delay_seconds", "SMP052"),
        (policy(json!({ "weight_percent": 5, "pause": {} }), json!({})), "steps[0].pause", "SMP053"),
        (
            policy(json!({ "weight_percent": 5, "pause": { "manual": true, "duration_seconds": 1 } }), json!({})),
            "steps[0].pause",
            "SMP053",
        ),
        (policy(json!({ "weight_percent": 5.005 }), json!({})), "steps[0].weight_percent", "SMP054"),
        (policy(json!({ "weight_percent": 5, "analysis": ["a"] }), json!({})), "steps[0].analysis", "SMP055"),
        (analysis(json!({ "type": "error_rate", "max": 1 })), "analysis[\"a\"].max", "SMP056"),
        (analysis(json!({ "type": "restart_count", "max_percent": 1 })), "analysis[\"a\"].max_percent", "SMP056"),
        (analysis(json!({ "type": "error_rate", "max_p95_ms": 1 })), "analysis[\"a\"].max_p95_ms", "SMP056"),
        (analysis(json!({ "type": "restart_count", "max": 1.5 })), "analysis[\"a\"].max", "SMP056"),
        (analysis(json!({ "type": "error_rate", "url": "https://h" })), "analysis[\"a\"].url", "SMP056"),
        (analysis(json!({ "type": "webhook", "url": "https://h", "max": 1 })), "analysis[\"a\"].max", "SMP056"),
        (
            analysis(json!({ "type": "webhook", "url": "https://h", "min_samples": 1 })),
            "analysis[\"a\"].min_samples",
            "SMP056",
        ),
        (analysis(json!({ "type": "webhook" })), "analysis[\"a\"].url", "SMP070"),
        (analysis(json!({ "type": "webhook", "url": "h/path" })), "analysis[\"a\"].url", "SMP070"),
        (analysis(json!({ "type": "webhook", "url": "file:///etc/passwd" })), "analysis[\"a\"].url", "SMP070"),
        (analysis(json!({ "type": "webhook", "url": "https://u:p@h/" })), "analysis[\"a\"].url", "SMP070"),
        (analysis(json!({ "type": "webhook", "url": "https://h:99999/" })), "analysis[\"a\"].url", "SMP070"),
        (analysis(json!({ "type": "webhook", "url": "https://[::1/" })), "analysis[\"a\"].url", "SMP070"),
        (
            analysis(json!({ "type": "prometheus", "url": "https://h/?query=up", "query": "up", "min": 1 })),
            "analysis[\"a\"].url",
            "SMP070",
        ),
        (analysis(json!({ "type": "prometheus", "url": "https://h", "min": 1 })), "analysis[\"a\"].query", "SMP071"),
        (
            analysis(json!({ "type": "prometheus", "url": "https://h", "query": "up{r=\"{{release}}\"}", "min": 1 })),
            "analysis[\"a\"].query",
            "SMP071",
        ),
        (analysis(json!({ "type": "prometheus", "url": "https://h", "query": "up" })), "analysis[\"a\"].max", "SMP072"),
        (
            analysis(json!({ "type": "prometheus", "url": "https://h", "query": "up", "min": 2, "max": 1 })),
            "analysis[\"a\"].max",
            "SMP072",
        ),
        (
            analysis(json!({ "type": "webhook", "url": "http://h", "auth_secret": "s" })),
            "analysis[\"a\"].auth_secret",
            "SMP073",
        ),
        (policy(ten(), json!({ "analysis": { "A b": { "type": "error_rate" } } })), "analysis[\"A b\"]", "SMP056"),
        (matching(json!({})), "steps[0].matches[0]", "SMP057"),
        (matching(json!({ "path": { "value": "x" } })), "steps[0].matches[0].path.value", "SMP057"),
        (header(json!({})), "steps[0].matches[0].headers[0].value", "SMP058"),
        (header(json!({ "value": "a", "values": ["b"] })), "steps[0].matches[0].headers[0].values", "SMP058"),
        (header(json!({ "type": "In" })), "steps[0].matches[0].headers[0].values", "SMP058"),
        (header(json!({ "type": "Mod", "values": ["0", "0"] })), "steps[0].matches[0].headers[0].values", "SMP058"),
        (header(json!({ "type": "Mod", "values": ["10", "-1"] })), "steps[0].matches[0].headers[0].values", "SMP058"),
        (header(json!({ "type": "Mod", "values": ["10"] })), "steps[0].matches[0].headers[0].values", "SMP058"),
        (header(json!({ "type": "Mod", "values": ["10", "10"] })), "steps[0].matches[0].headers[0].values", "SMP058"),
        (
            header(json!({ "type": "RegularExpression", "value": "(" })),
            "steps[0].matches[0].headers[0].value",
            "SMP059",
        ),
        (
            matching(json!({ "path": { "type": "RegularExpression", "value": "[" } })),
            "steps[0].matches[0].path.value",
            "SMP059",
        ),
        (matching(json!({ "source_cidrs": ["10.0.0.0/33"] })), "steps[0].matches[0].source_cidrs", "SMP060"),
        (matching(json!({ "source_cidrs": ["10.0.0.0"] })), "steps[0].matches[0].source_cidrs", "SMP060"),
        (
            matching(json!({ "headers": [{ "name": "X-Sampan-Lane", "value": "a" }] })),
            "steps[0].matches[0].headers[0].name",
            "SMP061",
        ),
        (
            matching(json!({ "headers": [{ "name": "baggage", "value": "a" }] })),
            "steps[0].matches[0].headers[0].name",
            "SMP061",
        ),
        (
            matching(json!({ "cookies": [{ "name": "a b", "value": "a" }] })),
            "steps[0].matches[0].cookies[0].name",
            "SMP061",
        ),
        (policy(ten(), json!({ "sticky": { "key": "header" } })), "sticky.name", "SMP062"),
        (policy(ten(), json!({ "sticky": { "key": "client_ip", "name": "x" } })), "sticky.name", "SMP062"),
        (
            policy(ten(), json!({ "sticky": { "key": "client_ip", "max_age_seconds": 5 } })),
            "sticky.max_age_seconds",
            "SMP062",
        ),
        (
            policy(json!({ "replicas": "1", "matches": [{ "method": "GET" }, { "method": "GET" }] }), json!({})),
            "steps[0].matches[1]",
            "SMP063",
        ),
        (policy(json!({ "weight_percent": 101 }), json!({})), "steps[0].weight_percent", "SMP006"),
        (steps(json!([])), "steps", "SMP007"),
    ];
    for (spec, path, rule) in cases {
        let found = GRAY_POLICY.validate(&spec);
        assert_eq!(found.len(), 1, "{path} {rule}: {found:?}");
        assert_eq!((found[0].field_path.as_str(), found[0].rule.as_str()), (path, rule), "{found:?}");
    }
}

#[test]
fn a_gray_policy_may_say_all_that_makes_sense() {
    for spec in [
        steps(json!([
            { "replicas": "10%", "weight_percent": 5.25, "pause": { "duration_seconds": 300 }, "analysis": ["errors"] },
            { "replicas": "50%", "pause": { "manual": true }, "analysis": [] },
        ])),
        steps(json!([{ "replicas": "2" }, { "replicas": "30%" }, { "weight_percent": 100 }])),
        policy(json!({ "replicas": "60%" }), json!({ "allow_large_first_step": true, "strategy": "batch" })),
        policy(
            json!({ "pause": { "manual": true } }),
            json!({ "strategy": "blue_green", "scale_down_delay_seconds": 0 }),
        ),
        policy(json!({ "matches": [{ "method": "GET" }] }), json!({ "strategy": "blue_green" })),
        policy(
            json!({ "weight_percent": 0 }),
            json!({ "capacity": "extra", "sticky": { "key": "header", "name": "x" } }),
        ),
        matching(json!({
            "path": { "type": "RegularExpression", "value": "^/v[0-9]+/" }, "method": "GET",
            "headers": [{ "name": "x-user", "type": "Mod", "values": ["100", "7", "8"] }],
            "query_params": [{ "name": "any thing", "type": "In", "values": ["a", "b"] }],
            "cookies": [{ "name": "c", "type": "RegularExpression", "value": "^(a|b)$" }],
            "source_cidrs": ["192.0.2.0/24", "2001:db8::/32"],
        })),
    ] {
        let mut spec = spec;
        if spec["steps"][0]["analysis"].is_array() {
            spec["analysis"] = json!({
                "errors": { "type": "error_rate", "max_percent": 1, "max_delta_percent": 0.5 },
                "slow": { "type": "response_time", "max_p95_ms": 200, "max_p95_ratio": 1.5 },
                "alive": { "type": "restart_count", "max": 0 },
                "gate": { "type": "webhook", "url": "http://127.0.0.1:9/a?b=c", "auth_secret": "s" },
                "burn": {
                    "type": "prometheus", "url": "https://[2001:db8::1]:9090/prefix/", "min": -0.5, "max": 1e3,
                    "query": "sum(rate(x{revision=\"{{revision}}\"}[1m]))", "timeout_seconds": 5,
                },
            });
        }
        assert_eq!(GRAY_POLICY.validate(&spec), vec![], "{spec}");
    }
}

#[test]
fn no_analysis_of_a_step_is_something_else_than_all_of_them() {
    let spec = |analysis: Value| policy(json!({ "weight_percent": 5, "analysis": analysis }), json!({}));
    assert_ne!(GRAY_POLICY.normalise(&spec(json!([]))), GRAY_POLICY.normalise(&spec(Value::Null)));
}

#[test]
fn an_earlier_template_brings_back_what_restarts_and_nothing_else() {
    let old = APPLICATION.normalise(&app());
    let mut now = app();
    now["replicas"] = json!(5);
    now["description"] = json!("new");
    now["resources"] = json!({ "cpu": "0.5", "memory": "2Gi" });
    now["container"]["image"] = json!("r.example.com/cart:2");
    now["container"]["env"] = json!({ "A": "2", "B": "3" });
    now["container"]["args"] = json!(["--new"]);
    now["container"]["image_pull_policy"] = json!("Always");
    now["container"]["probes"] = json!({ "readiness": { "tcp_socket": { "port": "http" } } });
    now["network"]["ports"]["more"] = json!({ "container_port": 9000 });
    now["lifecycle_hooks"] = json!({});
    let mut wanted = now.clone();
    // A template knows the amount, not how it was written.
    wanted["resources"]["memory"] = json!("1073741824");
    wanted["container"]["image"] = json!("r.example.com/cart:1");
    wanted["container"]["env"] = json!({ "A": "1" });
    wanted["container"].as_object_mut().unwrap().remove("args");
    let restored = change::restore(&APPLICATION, &now, &old);
    assert_eq!(restored, wanted);
    assert_eq!(change::restore(&APPLICATION, &restored, &old), restored);
    assert!(change::between(&APPLICATION, &old, &restored).class <= Class::Scale);
}

#[test]
fn one_finding_hides_no_other_and_what_is_unknown_hides_none_either() {
    let mut spec = with("resources.cpu", json!("abc"));
    spec["replicas"] = json!(-1);
    spec["container"]["env"] = json!({ "1A": "x" });
    let places = |spec: &Value| {
        let found = APPLICATION.validate(spec);
        let mut places: Vec<String> = found.into_iter().map(|v| v.field_path).collect();
        places.sort();
        places
    };
    assert_eq!(places(&spec), ["container.env[\"1A\"]", "replicas", "resources.cpu"]);
    spec["namespace"] = check::unknown();
    spec["container"]["image"] = json!("cart");
    assert_eq!(places(&spec), ["container.image", "replicas", "resources.cpu"]);
}

#[test]
fn unknown_values_satisfy_every_rule() {
    for path in ["replicas", "name", "resources.cpu", "container.image", "container.env", "container"] {
        assert_eq!(APPLICATION.validate(&with(path, check::unknown())), vec![], "{path}");
    }
}

#[test]
fn hostnames_are_dns_names_without_port() {
    let route = |host: &str| {
        json!({ "namespace": "n", "name": "r", "hostnames": [host],
                "rules": [{ "name": "all", "backends": [{ "application": "a", "port": "80" }] }] })
    };
    let k = kind("route").unwrap();
    for good in ["a.example.com", "*.example.com", "localhost"] {
        assert_eq!(k.validate(&route(good)), vec![], "{good}");
    }
    for bad in ["A.example.com", "a.example.com:80", "a..b", "*.*.com", "-a.com", "", "a_b.com"] {
        assert_eq!(k.validate(&route(bad)).len(), 1, "{bad}");
    }
}

#[test]
fn no_schema_holds_a_reference_or_a_null() {
    for kind in KINDS {
        for schema in [kind.spec_schema(), kind.status_schema()] {
            let text = schema.to_string();
            assert!(
                !text.contains("$ref") && !text.contains("\"null\"") && !text.contains("anyOf"),
                "{}: {text}",
                kind.name
            );
        }
    }
}

#[test]
fn endpoints_have_unique_names_and_paths() {
    let mut names: Vec<_> = API.iter().map(|e| e.name).collect();
    let mut places: Vec<_> = API.iter().map(|e| (e.method, e.path)).collect();
    names.sort_unstable();
    places.sort_unstable();
    let (n, p) = (names.len(), places.len());
    names.dedup();
    places.dedup();
    assert_eq!((names.len(), places.len()), (n, p));
}

proptest! {
    #[test]
    fn normalising_twice_is_normalising_once(cpu in "[0-9]{1,3}(m|\\.5)?", replicas in 0i64..9, env in proptest::collection::btree_map("[A-Z]{1,3}", ".{0,5}", 0..4)) {
        let mut spec = with("resources.cpu", json!(cpu));
        spec["replicas"] = json!(replicas);
        spec["container"]["env"] = json!(env);
        let once = APPLICATION.normalise(&spec);
        prop_assert_eq!(APPLICATION.normalise(&once), once);
    }

    #[test]
    fn validation_never_panics(text in ".{0,40}", n in any::<i64>()) {
        for kind in KINDS {
            for (name, _) in kind.spec_schema()["properties"].as_object().unwrap() {
                for value in [json!(text), json!(n), json!([text]), json!({ text.clone(): n })] {
                    let spec = json!({ name.clone(): value });
                    kind.validate(&spec);
                    normalise::normalise(kind.spec_schema(), &spec);
                }
            }
        }
    }
}

#[test]
fn no_finding_repeats_a_secret_value() {
    for data in
        [json!("hunter22"), json!({ "KEY": ["hunter22"] }), json!({ "no key!": "hunter22" }), json!(["hunter22"])]
    {
        let spec = json!({ "namespace": "shop", "name": "key", "wo_version": 1, "data_wo": data });
        let found = kind("secret").unwrap().validate(&spec);
        assert!(!found.is_empty() && !format!("{found:?}").contains("hunter22"), "{found:?}");
    }
}
