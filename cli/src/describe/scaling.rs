//! `sampan describe scaling`: the size of an application, as sentences and as a chart.

use sampan_schema::scaling::{Decision, Rule, Scaling};

use crate::output::{Table, pairs, time};

/// Decisions that are shown.
pub(super) const LAST: usize = 20;
/// Height of the chart, in lines.
const HEIGHT: i64 = 8;
/// Levels of one character.
const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

pub(super) fn text(id: &str, scaling: &Scaling) -> String {
    let wanted = match scaling.limited_by.as_str() {
        "" | "none" => scaling.desired.to_string(),
        by => format!("{} (limited by {by})", scaling.desired),
    };
    let waiting = if scaling.waiting > 0 { scaling.waiting.to_string() } else { String::new() };
    let mut parts = vec![pairs(&[
        ("application", id.to_owned()),
        ("instances", format!("{}, {} ready", scaling.current, scaling.ready)),
        ("desired", wanted),
        ("waiting requests", waiting),
        ("now", scaling.reason.clone()),
    ])];
    if scaling.rules.is_empty() {
        parts.push("no scaling rules: replicas of the application are in force".into());
    } else {
        parts.push(format!("rules\n{}", super::shifted(&rules(&scaling.rules))));
    }
    if scaling.decisions.is_empty() {
        parts.push("no decisions yet".into());
    } else {
        parts.push(format!("size after each decision\n{}", super::shifted(&chart(&scaling.decisions))));
        parts.push(format!("decisions\n{}", super::shifted(&decisions(&scaling.decisions))));
    }
    parts.join("\n\n")
}

fn rules(rules: &[Rule]) -> String {
    let mut table = Table::new(&["NAME", "MIN", "MAX", "WINDOW", "METRIC", "VALUE", "TARGET", "WANTED", "PROBLEM"]);
    for rule in rules {
        let own = |metric: [String; 5]| {
            let [name, value, target, wanted, problem] = metric;
            let bounds = [rule.name.clone(), rule.min.to_string(), rule.max.to_string(), rule.window.clone()];
            bounds.into_iter().chain([name, value, target, wanted, problem])
        };
        if !rule.enabled || rule.metrics.is_empty() {
            let what = if rule.enabled { String::new() } else { "disabled".into() };
            let wanted = rule.result.map(|n| n.to_string()).unwrap_or_default();
            table.row(own([String::new(), String::new(), String::new(), wanted, what]));
            continue;
        }
        for (name, m) in &rule.metrics {
            let value = m.current.map(|v| format!("{v:.1}")).unwrap_or_default();
            let wanted = m.wanted.map(|n| n.to_string()).unwrap_or_default();
            table.row(own([name.clone(), value, m.target.to_string(), wanted, m.problem.clone()]));
        }
    }
    table.to_string()
}

fn decisions(decisions: &[Decision]) -> String {
    decisions.iter().map(|d| format!("{}  {}", time(d.at), d.reason)).collect::<Vec<_>>().join("\n")
}

/// One column for the size before the first decision and one for each after it.
fn chart(decisions: &[Decision]) -> String {
    let sizes: Vec<i64> = decisions.iter().take(1).map(|d| d.from).chain(decisions.iter().map(|d| d.to)).collect();
    let most = sizes.iter().copied().max().unwrap_or(0).max(1);
    let height = HEIGHT.min(most);
    let width = most.to_string().len();
    let line = |row: i64| {
        // Eighths of the line that are filled.
        let eighths = |size: i64| (size * height * 8 / most - row * 8).clamp(0, 8);
        let bars: String = sizes.iter().map(|size| BARS[usize::try_from(eighths(*size)).unwrap_or(0)]).collect();
        let label = if row == height - 1 { most.to_string() } else { String::new() };
        format!("{label:>width$} |{}", bars.trim_end())
    };
    let mut lines: Vec<String> = (0..height).rev().map(line).collect();
    lines.push(format!("{:>width$} +{}", 0, "-".repeat(sizes.len())));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_size_is_told_in_sentences_and_drawn() {
        let decision = |at: i64, from: i64, to: i64| {
            json!({ "at": at, "from": from, "to": to, "limited_by": "none",
                    "reason": format!("{from} → {to}: qps wanted {to} ({}/s ÷ 50)", to * 50) })
        };
        let scaling: Scaling = serde_json::from_value(json!({
            "current": 4, "ready": 3, "desired": 4, "limited_by": "max", "waiting": 2,
            "reason": "4 stays: qps wanted 6 (300/s ÷ 50); at most 4",
            "rules": [
                { "name": "load", "enabled": true, "min": 1, "max": 4, "wanted": 4, "result": 4, "metrics": {
                    "cpu": { "type": "cpu", "target": 70.0, "problem": "never read" },
                    "qps": { "type": "qps", "target": 50.0, "current": 300.04, "wanted": 6 } } },
                { "name": "night", "enabled": true, "min": 1, "max": 2, "window": "quiet", "result": 1 },
                { "name": "old", "enabled": false, "min": 0, "max": 2 },
            ],
            "decisions": [decision(1_767_398_400_000, 1, 2), decision(1_767_398_460_000, 2, 4)],
        }))
        .unwrap();
        insta::assert_snapshot!(text("shop/web", &scaling));
        insta::assert_snapshot!(text("shop/web", &Scaling { current: 1, ready: 1, desired: 1, ..Scaling::default() }));
    }

    #[test]
    fn a_chart_of_any_sizes_is_drawn() {
        for sizes in [vec![0], vec![0, 0], vec![100, 3, 7], vec![1, 10_000]] {
            let decisions: Vec<Decision> =
                sizes.iter().map(|to| Decision { from: 0, to: *to, ..Decision::default() }).collect();
            let lines = chart(&decisions);
            assert!(lines.lines().count() <= HEIGHT as usize + 1, "{lines}");
        }
    }
}
