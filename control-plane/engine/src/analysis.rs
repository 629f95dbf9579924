//! Gray against stable in the same window: what the numbers of one step say.

use std::collections::BTreeMap;

use sampan_schema::gray_policy::{Analysis, AnalysisType};
use serde::{Deserialize, Serialize};

use crate::traffic::Counters;

/// A difference of response times below this is noise, whatever the ratio.
const NOISE_MS: f64 = 20.0;
const MAX_DELTA_PERCENT: f64 = 0.5;
const MAX_P95_RATIO: f64 = 1.25;
/// So many windows without requests after a failed one end the wait for a better one.
const SILENT: u32 = 3;
/// Of the normal distribution, for bounds that hold with 95 %.
const Z: f64 = 1.96;

/// One analysis in the present step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// When the window began, in milliseconds since the epoch.
    pub since: i64,
    /// The counters then.
    pub gray: Counters,
    pub stable: Counters,
    /// Restarts of gray instances then.
    pub restarts: u64,
    /// Windows that are over, that said something, and that failed.
    pub windows: u32,
    pub conclusive: u32,
    pub failed: u32,
    /// The last window that said something failed.
    pub last_failed: bool,
    /// Windows in a row that said nothing.
    pub silent: u32,
    /// Numbers of the last window.
    pub message: String,
}

/// What is known about the two sides now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sides {
    pub gray: Counters,
    pub stable: Counters,
    /// Restarts of gray instances on the revision.
    pub restarts: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Not over. Look again at this time.
    Running(i64),
    Passed,
    Failed(String),
    /// Nothing could be said; with the reason.
    Inconclusive(String),
}

enum Window {
    Good(String),
    Bad(String),
    Silent(String),
}

impl Check {
    fn begin(&mut self, sides: &Sides, now: i64) {
        self.since = now;
        self.gray.clone_from(&sides.gray);
        self.stable.clone_from(&sides.stable);
    }
}

/// Moves the checks of a step on and says what they say together. `over`: the time of the step's pause has passed.
/// Without analyses only time counts.
pub fn judge(
    checks: &mut BTreeMap<String, Check>,
    wanted: &BTreeMap<&String, &Analysis>,
    sides: &Sides,
    over: bool,
    now: i64,
) -> Verdict {
    checks.retain(|name, _| wanted.contains_key(name));
    let mut wake = i64::MAX;
    let mut silent = None;
    let mut passed = over;
    for (name, analysis) in wanted {
        let check = checks.entry((*name).clone()).or_insert_with(|| {
            let mut check = Check { restarts: sides.restarts, ..Check::default() };
            check.begin(sides, now);
            check
        });
        if analysis.kind == AnalysisType::RestartCount {
            let restarts = sides.restarts.saturating_sub(check.restarts);
            let max = analysis.max.unwrap_or(0).max(0) as u64;
            let message = format!("{restarts} restarts of gray instances, {max} allowed");
            if restarts > max {
                check.failed += 1;
                check.message = message;
                return Verdict::Failed(format!("{name}: {}", check.message));
            }
            check.conclusive = 1;
            check.message = message;
            continue;
        }
        let ends = check.since + analysis.interval_seconds * 1000;
        if now >= ends {
            check.windows += 1;
            check.silent += 1;
            match window(analysis, &sides.gray.since(&check.gray), &sides.stable.since(&check.stable)) {
                Window::Good(message) => {
                    check.conclusive += 1;
                    check.last_failed = false;
                    check.silent = 0;
                    check.message = message;
                }
                Window::Bad(message) => {
                    check.conclusive += 1;
                    check.failed += 1;
                    check.last_failed = true;
                    check.silent = 0;
                    check.message = message;
                }
                Window::Silent(message) => check.message = message,
            }
            check.begin(sides, now);
        }
        if i64::from(check.failed) >= analysis.failure_limit {
            return Verdict::Failed(format!("{name}: {} ({} windows failed)", check.message, check.failed));
        }
        wake = wake.min(check.since + analysis.interval_seconds * 1000);
        // One window at least; after a failed one it is extended, window by window, as long as they say something.
        let stuck = check.last_failed && check.silent >= SILENT;
        passed &= check.windows > 0 && (stuck || !check.last_failed);
        if stuck || (check.windows > 0 && check.conclusive == 0) {
            silent.get_or_insert_with(|| format!("{name}: {}", check.message));
        }
    }
    match silent {
        _ if !passed => Verdict::Running(wake),
        Some(message) => Verdict::Inconclusive(message),
        None => Verdict::Passed,
    }
}

fn window(analysis: &Analysis, gray: &Counters, stable: &Counters) -> Window {
    let least = analysis.min_samples.max(1) as u64;
    if gray.requests < least {
        return Window::Silent(format!("gray had {} requests, {least} are needed", gray.requests));
    }
    let compared = stable.requests >= least;
    match analysis.kind {
        AnalysisType::ErrorRate => errors(analysis, gray, stable, compared),
        AnalysisType::ResponseTime => latency(analysis, gray, stable, compared),
        AnalysisType::RestartCount => Window::Good(String::new()),
    }
}

fn errors(analysis: &Analysis, gray: &Counters, stable: &Counters, compared: bool) -> Window {
    let share = |c: &Counters| 100.0 * c.failures as f64 / c.requests.max(1) as f64;
    let numbers = format!(
        "gray {:.2} % of {} requests failed, stable {:.2} % of {}",
        share(gray),
        gray.requests,
        share(stable),
        stable.requests
    );
    if let Some(max) = analysis.max_percent.filter(|max| share(gray) > *max) {
        return Window::Bad(format!("{numbers}; {max} % is the most"));
    }
    if compared {
        let delta = analysis.max_delta_percent.unwrap_or(MAX_DELTA_PERCENT);
        let least = 100.0 * lower_bound_of_difference(gray, stable);
        if least > delta {
            return Window::Bad(format!("{numbers}; that is at least {least:.2} points more, {delta} is the most"));
        }
    } else if analysis.max_percent.is_none() {
        return Window::Silent(format!("stable had {} requests, too few to compare with", stable.requests));
    }
    Window::Good(numbers)
}

fn latency(analysis: &Analysis, gray: &Counters, stable: &Counters, compared: bool) -> Window {
    let p95 = |c: &Counters| c.latency.quantile(0.95).unwrap_or_default().as_secs_f64() * 1000.0;
    let (ours, theirs) = (p95(gray), p95(stable));
    let numbers = format!("95 % of gray's answers came within {ours:.0} ms, of stable's within {theirs:.0} ms");
    let floor = analysis.max_p95_ms.unwrap_or(0) as f64;
    if compared {
        let limit = floor.max(analysis.max_p95_ratio.unwrap_or(MAX_P95_RATIO) * theirs);
        if ours > limit && ours - theirs > NOISE_MS {
            return Window::Bad(format!("{numbers}; {limit:.0} ms is the most"));
        }
    } else if analysis.max_p95_ms.is_none() {
        return Window::Silent(format!("stable had {} requests, too few to compare with", stable.requests));
    } else if ours > floor {
        return Window::Bad(format!("{numbers}; {floor:.0} ms is the most"));
    }
    Window::Good(numbers)
}

/// Wilson's bounds of a proportion.
fn wilson(failures: u64, requests: u64) -> (f64, f64) {
    let n = requests.max(1) as f64;
    let p = failures as f64 / n;
    let middle = p + Z * Z / (2.0 * n);
    let spread = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    ((middle - spread) / scale, (middle + spread) / scale)
}

/// Newcombe's lower bound (method 10) of the difference of two proportions, gray minus stable.
fn lower_bound_of_difference(gray: &Counters, stable: &Counters) -> f64 {
    let share = |c: &Counters| c.failures as f64 / c.requests.max(1) as f64;
    let (p, q) = (share(gray), share(stable));
    let (low, _) = wilson(gray.failures, gray.requests);
    let (_, high) = wilson(stable.failures, stable.requests);
    p - q - ((p - low).powi(2) + (high - q).powi(2)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn counters(requests: u64, failures: u64, ms: u64) -> Counters {
        let mut c = Counters::default();
        for i in 0..requests {
            c.record(i < failures, std::time::Duration::from_millis(ms));
        }
        c
    }

    fn analysis(more: serde_json::Value) -> Analysis {
        serde_json::from_value(more).unwrap()
    }

    /// Feeds windows of (gray, stable) one after the other and returns the verdict of each.
    fn verdicts(analysis: &Analysis, windows: &[(Counters, Counters)]) -> Vec<Verdict> {
        let name = "a".to_owned();
        let wanted = BTreeMap::from([(&name, analysis)]);
        let (mut checks, mut sides, mut now) = (BTreeMap::new(), Sides::default(), 0);
        judge(&mut checks, &wanted, &sides, true, now);
        let mut out = Vec::new();
        for (gray, stable) in windows {
            sides.gray.merge(gray);
            sides.stable.merge(stable);
            now += analysis.interval_seconds * 1000;
            out.push(judge(&mut checks, &wanted, &sides, true, now));
        }
        out
    }

    #[test]
    fn newcombes_interval_is_the_published_one() {
        // Newcombe 1998, table II, first column: 56/70 − 48/80, method 10: 0.0524 to 0.3339.
        let of = |requests, failures| Counters { requests, failures, ..Counters::default() };
        let low = lower_bound_of_difference(&of(70, 56), &of(80, 48));
        assert!((low - 0.0524).abs() < 0.0001, "{low}");
    }

    #[test]
    fn worse_than_stable_fails_after_so_many_windows_and_as_bad_as_stable_passes() {
        let a = analysis(json!({ "type": "error_rate", "failure_limit": 2 }));
        let bad = (counters(200, 40, 5), counters(800, 2, 5));
        let found = verdicts(&a, &[bad.clone(), bad]);
        assert!(matches!(found[0], Verdict::Running(_)), "{found:?}");
        assert!(matches!(&found[1], Verdict::Failed(m) if m.contains("20.00 %")), "{found:?}");
        // A bad stable does not block its own cure.
        assert_eq!(verdicts(&a, &[(counters(200, 60, 5), counters(800, 240, 5))]), [Verdict::Passed]);
    }

    #[test]
    fn one_failed_window_extends_the_step_and_a_good_one_then_passes() {
        let a = analysis(json!({ "type": "error_rate" }));
        let found =
            verdicts(&a, &[(counters(200, 40, 5), counters(800, 2, 5)), (counters(200, 0, 5), counters(800, 2, 5))]);
        assert!(matches!(found[0], Verdict::Running(_)));
        assert_eq!(found[1], Verdict::Passed);
    }

    #[test]
    fn without_requests_nothing_is_said() {
        let a = analysis(json!({ "type": "error_rate" }));
        let found = verdicts(&a, &[(counters(3, 3, 5), counters(800, 0, 5))]);
        assert!(matches!(&found[0], Verdict::Inconclusive(m) if m.contains("3 requests")), "{found:?}");
        // No stable left: an absolute limit still judges.
        let alone = (counters(200, 40, 5), counters(0, 0, 5));
        assert!(matches!(verdicts(&a, std::slice::from_ref(&alone))[0], Verdict::Inconclusive(_)));
        let a = analysis(json!({ "type": "error_rate", "max_percent": 1, "failure_limit": 1 }));
        assert!(matches!(verdicts(&a, &[alone])[0], Verdict::Failed(_)));
    }

    #[test]
    fn a_failed_window_that_no_requests_follow_does_not_wait_for_ever() {
        let a = analysis(json!({ "type": "error_rate" }));
        let none = (counters(0, 0, 5), counters(0, 0, 5));
        let bad = (counters(200, 40, 5), counters(800, 2, 5));
        let found = verdicts(&a, &[bad, none.clone(), none.clone(), none]);
        assert!(found[..3].iter().all(|v| matches!(v, Verdict::Running(_))), "{found:?}");
        assert!(matches!(found[3], Verdict::Inconclusive(_)), "{found:?}");
    }

    #[test]
    fn slower_fails_by_ratio_and_by_more_than_noise() {
        let a = analysis(json!({ "type": "response_time", "failure_limit": 1 }));
        let of = |gray, stable| verdicts(&a, &[(counters(100, 0, gray), counters(100, 0, stable))]).remove(0);
        assert!(matches!(of(200, 100), Verdict::Failed(_)));
        assert_eq!(of(20, 10), Verdict::Passed, "twice as slow, but 10 ms are noise");
        assert_eq!(of(100, 100), Verdict::Passed);
    }

    #[test]
    fn a_restart_fails_at_once() {
        let a = analysis(json!({ "type": "restart_count" }));
        let name = "a".to_owned();
        let wanted = BTreeMap::from([(&name, &a)]);
        let mut checks = BTreeMap::new();
        let sides = |restarts| Sides { restarts, ..Sides::default() };
        assert_eq!(judge(&mut checks, &wanted, &sides(4), false, 0), Verdict::Running(i64::MAX));
        assert!(matches!(judge(&mut checks, &wanted, &sides(5), false, 1), Verdict::Failed(_)));
    }

    #[test]
    fn a_restarted_gateway_counts_from_zero_and_no_window_is_negative() {
        let a = analysis(json!({ "type": "error_rate" }));
        let name = "a".to_owned();
        let wanted = BTreeMap::from([(&name, &a)]);
        let mut checks = BTreeMap::new();
        let before = Sides { gray: counters(500, 0, 5), stable: counters(500, 0, 5), restarts: 0 };
        judge(&mut checks, &wanted, &before, true, 0);
        let after = Sides { gray: counters(60, 0, 5), stable: counters(60, 0, 5), restarts: 0 };
        assert_eq!(judge(&mut checks, &wanted, &after, true, 60_000), Verdict::Passed);
    }
}
