//! What a scaling rule may say, with the field of each refusal.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use sampan_schema::calendar;
use sampan_schema::scaling_rule::{MAX_RULES, Spec, over_limit, validate};
use serde_json::{Value, json};

fn rule(more: Value) -> Spec {
    let mut all = json!({
        "namespace": "n", "application": "a", "name": "r", "min_replicas": 1, "max_replicas": 10,
        "metrics": { "cpu": { "type": "cpu", "target": 70 } },
    });
    for (k, v) in more.as_object().unwrap() {
        all[k] = v.clone();
    }
    serde_json::from_value(all).unwrap()
}

/// `rule field` of each finding.
fn found(more: Value) -> Vec<String> {
    validate(&rule(more)).into_iter().map(|v| format!("{} {}", v.rule, v.field_path)).collect()
}

fn window(more: Value) -> Value {
    let mut all = json!({ "name": "w", "start": "0 8 * * *", "end": "0 18 * * *", "replicas": 3 });
    for (k, v) in more.as_object().unwrap() {
        all[k] = v.clone();
    }
    all
}

#[test]
fn a_good_rule_has_no_finding() {
    assert!(found(json!({})).is_empty());
    assert!(found(json!({ "min_replicas": 0, "scale_to_zero": {} })).is_empty());
    assert!(found(json!({ "schedules": [window(json!({ "time_zone": "Asia/Shanghai" }))], "metrics": {} })).is_empty());
    assert_eq!((rule(json!({})).kind(), rule(json!({ "schedules": [window(json!({}))] })).kind()), ("metric", "mix"));
    assert_eq!(rule(json!({ "schedules": [window(json!({}))], "metrics": {} })).kind(), "timing");
}

#[test]
fn each_refusal_names_its_field() {
    let metric = |m: Value| json!({ "metrics": { "m": m } });
    let one = |w: Value| json!({ "schedules": [window(w)] });
    for (more, wanted) in [
        (json!({ "min_replicas": 12 }), "SMP101 min_replicas"),
        (json!({ "min_replicas": 0 }), "SMP111 min_replicas"),
        (json!({ "scale_to_zero": {} }), "SMP111 scale_to_zero"),
        (json!({ "metrics": {} }), "SMP110 metrics"),
        (json!({ "fallback": { "replicas": 11 } }), "SMP120 fallback.replicas"),
        (json!({ "behavior": { "scale_down": { "max_step": "0" } } }), "SMP120 behavior.scale_down.max_step"),
        (metric(json!({ "type": "cpu", "target": 101 })), "SMP112 metrics[\"m\"].target"),
        (metric(json!({ "type": "qps", "target": 0 })), "SMP112 metrics[\"m\"].target"),
        (
            metric(json!({ "type": "qps", "target": 5, "target_type": "utilization" })),
            "SMP113 metrics[\"m\"].target_type",
        ),
        (metric(json!({ "type": "qps", "target": 5, "query": "up" })), "SMP114 metrics[\"m\"].query"),
        (metric(json!({ "type": "external", "target": 5 })), "SMP114 metrics[\"m\"].endpoint"),
        (metric(json!({ "type": "qps", "target": 5, "auth_secret": "key" })), "SMP114 metrics[\"m\"].auth_secret"),
        (
            metric(json!({
                "type": "external", "target": 5, "endpoint": "http://metrics.example/", "auth_secret": "key"
            })),
            "SMP073 metrics[\"m\"].auth_secret",
        ),
        (json!({ "metrics": { "m": { "type": "memory", "target": 80 } }, "prediction": {} }), "SMP119 prediction"),
        (one(json!({ "start": "61 * * * *" })), "SMP109 schedules[0].start"),
        (one(json!({ "start": "0 0 8 * * *" })), "SMP109 schedules[0].start"),
        (one(json!({ "end": "never at all" })), "SMP109 schedules[0].end"),
        (one(json!({ "end": "0 8 * * *" })), "SMP109 schedules[0].end"),
        (one(json!({ "time_zone": "Mars/Olympus" })), "SMP109 schedules[0].time_zone"),
        (one(json!({ "begin_date": "2026-02-30" })), "SMP117 schedules[0].begin_date"),
        (one(json!({ "begin_date": "2026-03-01", "end_date": "2026-02-01" })), "SMP117 schedules[0].begin_date"),
        (one(json!({ "replicas": 11 })), "SMP116 schedules[0].replicas"),
        (one(json!({ "replicas": 0 })), "SMP111 schedules[0].replicas"),
        (one(json!({ "min_replicas": 2 })), "SMP115 schedules[0].replicas"),
        (one(json!({ "replicas": null, "min_replicas": 5, "max_replicas": 4 })), "SMP101 schedules[0].min_replicas"),
        (
            json!({ "metrics": {}, "schedules": [window(json!({ "replicas": null, "min_replicas": 2, "max_replicas": 4 }))] }),
            "SMP115 schedules[0].min_replicas",
        ),
        (
            json!({ "schedules": [window(json!({})), window(json!({ "start": "0 19 * * *", "end": "0 20 * * *" }))] }),
            "SMP118 schedules[1].name",
        ),
    ] {
        assert_eq!(found(more.clone()), [wanted], "{more}");
    }
}

#[test]
fn windows_may_not_overlap() {
    let two = |a: Value, mut b: Value| {
        b["name"] = "other".into();
        found(json!({ "schedules": [window(a), window(b)] }))
    };
    let second = vec!["SMP109 schedules[1].start".to_owned()];
    assert_eq!(two(json!({}), json!({ "start": "0 17 * * *", "end": "0 20 * * *" })), second);
    assert!(two(json!({}), json!({ "start": "0 18 * * *", "end": "0 20 * * *" })).is_empty(), "a seam is none");
    // Over midnight, on one day of the week only.
    let night = json!({ "start": "0 22 * * 5", "end": "0 9 * * 6" });
    assert_eq!(two(night, json!({ "name": "x" })), ["SMP109 schedules[0].start"].map(|_| second[0].clone()));
    // 9:00 in Berlin is before 8:00 in New York.
    let berlin = json!({ "time_zone": "Europe/Berlin", "end": "0 20 * * *" });
    assert_eq!(two(berlin, json!({ "time_zone": "America/New_York" })), second);
    // Once a year, and only in its days.
    assert_eq!(two(json!({}), json!({ "start": "0 9 29 2 *", "end": "0 10 29 2 *" })), second);
    let dated =
        json!({ "begin_date": "2027-12-20", "end_date": "2027-12-26", "start": "0 9 * * *", "end": "0 10 * * *" });
    assert_eq!(two(json!({}), dated.clone()), second);
    let mut apart = dated.clone();
    (apart["begin_date"], apart["end_date"]) = ("2027-12-27".into(), "2027-12-30".into());
    assert!(two(dated, apart).is_empty());
    // Without an end it goes on until the next.
    assert!(two(json!({ "end": null }), json!({ "start": "0 17 * * *", "end": "0 20 * * *" })).is_empty());
}

#[test]
fn an_application_has_five_rules_at_most() {
    assert!(over_limit(MAX_RULES - 1).is_none());
    assert!(over_limit(MAX_RULES).is_some_and(|v| v.rule == "SMP121" && v.message.contains("limit is 5")));
}

#[test]
fn dates_and_zones() {
    assert!(calendar::zone("Europe/Berlin").is_some() && calendar::zone("Europe/Nowhere").is_none());
    assert!(calendar::date("2024-02-29").is_some());
    for wrong in ["2023-02-29", "20240229", "2024-2-29", "2024-02-29T00:00", ""] {
        assert!(calendar::date(wrong).is_none(), "{wrong}");
    }
}
