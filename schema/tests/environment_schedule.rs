//! What an environment schedule may say, with the field of each refusal.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use std::collections::BTreeMap;

use sampan_schema::ENVIRONMENT_SCHEDULE;
use sampan_schema::environment_schedule::{Spec, validate};
use serde_json::{Value, json};

fn spec(more: Value) -> Value {
    let mut all = json!({
        "namespace": "n", "name": "nights", "selector": { "all": true },
        "stop": "0 20 * * 1-5", "start": "0 8 * * 1-5", "time_zone": "Europe/Berlin",
    });
    for (k, v) in more.as_object().unwrap() {
        all[k] = v.clone();
    }
    all
}

fn read(more: Value) -> Spec {
    serde_json::from_value(spec(more)).unwrap()
}

/// `rule field` of each finding.
fn found(more: Value) -> Vec<String> {
    validate(&read(more)).into_iter().map(|v| format!("{} {}", v.rule, v.field_path)).collect()
}

#[test]
fn a_good_schedule_has_no_finding() {
    for more in [
        json!({}),
        json!({ "selector": { "match_labels": { "stage": "test" } }, "start_order": [["db"], ["web", "shop"]] }),
        json!({ "selector": { "applications": ["db", "web"] }, "start_order": [["db"]] }),
        json!({ "begin_date": "2026-01-01", "end_date": "2026-01-01", "holidays": ["2026-12-25", "2026-12-26"] }),
        json!({ "stop": "0 0 29 2 *", "start": "* * * * *" }),
        // Only some of the starts come with a stop.
        json!({ "stop": "0 8 * * 1", "start": "0 8 * * *" }),
    ] {
        assert!(found(more.clone()).is_empty(), "{more}");
        assert_eq!(ENVIRONMENT_SCHEDULE.validate(&spec(more.clone())), [], "{more}");
    }
}

#[test]
fn each_refusal_names_its_field() {
    for (more, wanted) in [
        (json!({ "stop": "61 * * * *" }), "SMP130 stop"),
        (json!({ "start": "0 0 8 * * *" }), "SMP130 start"),
        (json!({ "start": "0 0 30 2 *" }), "SMP130 start"),
        (json!({ "time_zone": "Mars/Olympus" }), "SMP130 time_zone"),
        (json!({ "begin_date": "2026-02-30" }), "SMP131 begin_date"),
        (json!({ "end_date": "2026-2-3xx" }), "SMP131 end_date"),
        (json!({ "holidays": ["2026-12-25", "25.12.2026"] }), "SMP131 holidays"),
        (json!({ "begin_date": "2026-03-01", "end_date": "2026-02-01" }), "SMP131 begin_date"),
        (json!({ "stop": "0 8 * * *", "start": "0  8 * * *" }), "SMP132 start"),
        (json!({ "stop": "* * * * *" }), "SMP132 start"),
        (json!({ "selector": {} }), "SMP133 selector"),
        (json!({ "selector": { "all": false, "applications": [] } }), "SMP133 selector"),
        (json!({ "selector": { "all": true, "match_labels": { "a": "b" } } }), "SMP133 selector"),
        (json!({ "selector": { "applications": ["No Name"] } }), "SMP133 selector.applications"),
        (json!({ "start_order": [["db"], []] }), "SMP134 start_order[1]"),
        (json!({ "start_order": [["db"], ["db"]] }), "SMP134 start_order[1]"),
        (json!({ "start_order": [["no name"]] }), "SMP134 start_order[0]"),
        (json!({ "selector": { "applications": ["web"] }, "start_order": [["db"]] }), "SMP134 start_order[0]"),
        (json!({ "labels": { "sampan.x": "y" } }), "SMP013 labels[\"sampan.x\"]"),
    ] {
        assert_eq!(found(more.clone()), [wanted], "{more}");
    }
    // There is one mode only, so there is no attribute for it.
    for mode in ["suspend", "stop"] {
        let v = ENVIRONMENT_SCHEDULE.validate(&spec(json!({ "mode": mode })));
        assert_eq!((v[0].rule.as_str(), v[0].field_path.as_str()), ("SMP008", "mode"), "{v:?}");
    }
}

#[test]
fn the_selector_chooses_and_waves_order() {
    let labels = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    };
    let chooses = |selector: Value, name: &str, of: &[(&str, &str)]| {
        read(json!({ "selector": selector })).selector.chooses(name, &labels(of))
    };
    assert!(chooses(json!({ "all": true }), "web", &[]));
    assert!(chooses(json!({ "applications": ["web"] }), "web", &[]));
    assert!(!chooses(json!({ "applications": ["web"] }), "db", &[]));
    let both = || json!({ "match_labels": { "stage": "test", "team": "a" } });
    assert!(chooses(both(), "web", &[("stage", "test"), ("team", "a"), ("x", "y")]));
    assert!(!chooses(both(), "web", &[("stage", "test")]));
    let ordered = read(json!({ "start_order": [["db"], ["web", "shop"]] }));
    let waves: Vec<usize> = ["db", "shop", "web", "other"].map(|name| ordered.wave(name)).into();
    assert_eq!(waves, [0, 1, 1, 2]);
}
