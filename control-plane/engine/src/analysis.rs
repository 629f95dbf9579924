//! Gray against stable in the same window: what the numbers of one step say.

use std::collections::BTreeMap;

use sampan_schema::gray_policy::{Analysis, AnalysisType};
use serde::{Deserialize, Serialize};

use crate::application::PauseReason;
use crate::traffic::Counters;

/// A difference of response times below this is noise, whatever the ratio.
const NOISE_MS: f64 = 20.0;
const MAX_DELTA_PERCENT: f64 = 0.5;
const MAX_P95_RATIO: f64 = 1.25;
/// An answer that is so much later than it may be has been lost.
const PATIENCE_MS: i64 = 5000;
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
    /// The window is over, and somebody else has been asked about it at this time.
    #[serde(default)]
    pub asked: Option<i64>,
}

/// A question to somebody else: the name of the analysis, and when it was asked.
pub type Asked = (String, i64);

/// What somebody else answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Sample {
    /// Of `prometheus`.
    Value(f64),
    /// Of `webhook`: the status of the answer.
    Status(u16),
    /// No answer, or none that says anything; with the reason.
    Missing(String),
}

/// What is known about the two sides now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sides {
    pub gray: Counters,
    pub stable: Counters,
    /// Restarts of gray instances on the revision.
    pub restarts: u64,
    /// What somebody else has answered so far.
    pub samples: BTreeMap<Asked, Sample>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Not over. Look again at this time.
    Running(i64),
    Passed,
    Failed(String),
    /// Nothing could be said; with what was missing.
    Inconclusive(PauseReason, String),
}

enum Window {
    Good(String),
    Bad(String),
    Silent(String),
}

impl Check {
    /// The clock was set by so many milliseconds. Who was asked is asked again: the question had the old time.
    pub fn shift(&mut self, by: i64) {
        self.since += by;
        self.asked = None;
    }
    fn begin(&mut self, sides: &Sides, now: i64) {
        self.since = now;
        self.asked = None;
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
            // A small whole number, as validation has seen to.
            let max = analysis.max.unwrap_or(0.0).max(0.0) as u64;
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
        let found = (now >= ends).then(|| {
            if analysis.is_external() {
                answer(name, analysis, check, sides, now)
            } else {
                Ok(window(analysis, &sides.gray.since(&check.gray), &sides.stable.since(&check.stable)))
            }
        });
        if let Some(Err(until)) = found {
            wake = wake.min(until);
            passed = false;
        }
        if let Some(Ok(found)) = found {
            check.windows += 1;
            check.silent += 1;
            match found {
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
        if check.asked.is_none() {
            wake = wake.min(check.since + analysis.interval_seconds * 1000);
        }
        // One window at least; after a failed one it is extended, window by window, as long as they say something.
        let stuck = check.last_failed && check.silent >= SILENT;
        passed &= check.windows > 0 && (stuck || !check.last_failed);
        if stuck || (check.windows > 0 && check.conclusive == 0) {
            let missing = if analysis.is_external() { PauseReason::MetricsMissing } else { PauseReason::NoTraffic };
            silent.get_or_insert_with(|| (missing, format!("{name}: {}", check.message)));
        }
    }
    match silent {
        _ if !passed => Verdict::Running(wake),
        Some((missing, message)) => Verdict::Inconclusive(missing, message),
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
        // Judged elsewhere.
        AnalysisType::RestartCount | AnalysisType::Prometheus | AnalysisType::Webhook => Window::Good(String::new()),
    }
}

/// What somebody else said about the window that is over; `Err` is the time until which the answer is waited for.
fn answer(name: &str, analysis: &Analysis, check: &mut Check, sides: &Sides, now: i64) -> Result<Window, i64> {
    let asked = *check.asked.get_or_insert(now);
    let until = asked + analysis.timeout_seconds() * 1000 + PATIENCE_MS;
    match sides.samples.get(&(name.to_owned(), asked)) {
        Some(sample) => Ok(external(analysis, sample)),
        None if now >= until => {
            Ok(Window::Silent(format!("there was no answer within {} s", analysis.timeout_seconds())))
        }
        None => Err(until),
    }
}

fn external(analysis: &Analysis, sample: &Sample) -> Window {
    match sample {
        Sample::Missing(why) => Window::Silent(why.clone()),
        Sample::Status(status @ 200..300) => Window::Good(format!("the webhook answered {status}")),
        Sample::Status(status) => Window::Bad(format!("the webhook answered {status}")),
        Sample::Value(value) if !value.is_finite() => Window::Silent(format!("the query gave {value}")),
        Sample::Value(value) => match (analysis.min, analysis.max) {
            (Some(min), _) if *value < min => Window::Bad(format!("the query gave {value}; {min} is the least")),
            (_, Some(max)) if *value > max => Window::Bad(format!("the query gave {value}; {max} is the most")),
            _ => Window::Good(format!("the query gave {value}")),
        },
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
        assert!(matches!(&found[0], Verdict::Inconclusive(_, m) if m.contains("3 requests")), "{found:?}");
        // No stable left: an absolute limit still judges.
        let alone = (counters(200, 40, 5), counters(0, 0, 5));
        assert!(matches!(
            verdicts(&a, std::slice::from_ref(&alone))[0],
            Verdict::Inconclusive(PauseReason::NoTraffic, _)
        ));
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
        assert!(matches!(found[3], Verdict::Inconclusive(PauseReason::NoTraffic, _)), "{found:?}");
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
        let before = Sides { gray: counters(500, 0, 5), stable: counters(500, 0, 5), restarts: 0, ..Sides::default() };
        judge(&mut checks, &wanted, &before, true, 0);
        let after = Sides { gray: counters(60, 0, 5), stable: counters(60, 0, 5), ..Sides::default() };
        assert_eq!(judge(&mut checks, &wanted, &after, true, 60_000), Verdict::Passed);
    }

    /// Feeds one answer for each window, `None` for none at all, and returns the verdict of each.
    fn asked(analysis: &Analysis, answers: &[Option<Sample>]) -> Vec<Verdict> {
        let name = "a".to_owned();
        let wanted = BTreeMap::from([(&name, analysis)]);
        let (mut checks, mut sides, mut now) = (BTreeMap::new(), Sides::default(), 0);
        judge(&mut checks, &wanted, &sides, true, now);
        let mut out = Vec::new();
        for answer in answers {
            now += analysis.interval_seconds * 1000;
            let until = now + analysis.timeout_seconds() * 1000 + PATIENCE_MS;
            let waiting = judge(&mut checks, &wanted, &sides, true, now);
            assert_eq!(waiting, Verdict::Running(until), "an answer is waited for, and not for ever");
            let question = (name.clone(), checks[&name].asked.unwrap());
            match answer {
                Some(sample) => drop(sides.samples.insert(question, sample.clone())),
                None => now = until,
            }
            out.push(judge(&mut checks, &wanted, &sides, true, now));
        }
        out
    }

    #[test]
    fn a_number_from_outside_passes_within_its_limits_and_fails_beyond_them() {
        let a = analysis(json!({ "type": "prometheus", "min": -1, "max": 2.5, "failure_limit": 1 }));
        for (value, good) in [(2.5, true), (-1.0, true), (2.6, false), (-1.1, false)] {
            let found = asked(&a, &[Some(Sample::Value(value))]).remove(0);
            assert_eq!(found == Verdict::Passed, good, "{value}: {found:?}");
            assert_eq!(matches!(found, Verdict::Failed(_)), !good, "{value}: {found:?}");
        }
        let twice = analysis(json!({ "type": "prometheus", "max": 1, "failure_limit": 2 }));
        let found = asked(&twice, &[Some(Sample::Value(2.0)), Some(Sample::Value(0.0))]);
        assert!(matches!(found[0], Verdict::Running(_)), "a failed window is followed by another: {found:?}");
        assert_eq!(found[1], Verdict::Passed);
    }

    #[test]
    fn a_webhook_passes_with_a_2xx_alone() {
        let a = analysis(json!({ "type": "webhook", "failure_limit": 1 }));
        for (status, good) in
            [(200, true), (204, true), (299, true), (199, false), (302, false), (404, false), (500, false)]
        {
            let found = asked(&a, &[Some(Sample::Status(status))]).remove(0);
            assert_eq!(found == Verdict::Passed, good, "{status}: {found:?}");
            assert_eq!(matches!(&found, Verdict::Failed(m) if m.contains(&status.to_string())), !good, "{found:?}");
        }
    }

    #[test]
    fn what_says_nothing_neither_passes_nor_fails() {
        let a = analysis(json!({ "type": "prometheus", "min": 0, "max": 1, "failure_limit": 1 }));
        let missing = Sample::Missing("the query gave no number".into());
        for nothing in [
            None,
            Some(missing),
            Some(Sample::Value(f64::NAN)),
            Some(Sample::Value(f64::INFINITY)),
            Some(Sample::Value(f64::NEG_INFINITY)),
        ] {
            let found = asked(&a, &[nothing.clone(), nothing.clone()]);
            let silent = |v: &Verdict| matches!(v, Verdict::Inconclusive(PauseReason::MetricsMissing, _));
            assert!(found.iter().all(silent), "{nothing:?}: {found:?}");
        }
        // After a window that said something a silent one changes nothing.
        assert_eq!(asked(&a, &[Some(Sample::Value(0.5)), None]), [Verdict::Passed, Verdict::Passed]);
    }

    #[test]
    fn a_clock_that_is_set_while_somebody_is_asked_asks_again_and_ends_no_wait() {
        let a = analysis(json!({ "type": "webhook", "failure_limit": 1, "interval_seconds": 1 }));
        let (name, mut sides) = ("a".to_owned(), Sides::default());
        let wanted = BTreeMap::from([(&name, &a)]);
        for by in [-3_600_000, 3_600_000] {
            let mut checks = BTreeMap::new();
            judge(&mut checks, &wanted, &sides, true, 0);
            assert!(matches!(judge(&mut checks, &wanted, &sides, true, 1000), Verdict::Running(_)));
            for check in checks.values_mut() {
                check.shift(by);
            }
            let now = 1100 + by;
            let until = now + a.timeout_seconds() * 1000 + PATIENCE_MS;
            assert_eq!(judge(&mut checks, &wanted, &sides, true, now), Verdict::Running(until));
            sides.samples = BTreeMap::from([((name.clone(), now), Sample::Status(200))]);
            assert_eq!(judge(&mut checks, &wanted, &sides, true, now + 100), Verdict::Passed);
        }
    }

    #[test]
    fn an_answer_to_an_earlier_question_is_none_to_this_one() {
        let a = analysis(json!({ "type": "webhook", "failure_limit": 1, "interval_seconds": 1 }));
        let name = "a".to_owned();
        let wanted = BTreeMap::from([(&name, &a)]);
        let mut checks = BTreeMap::new();
        let samples = BTreeMap::from([((name.clone(), 1000), Sample::Status(500))]);
        let sides = Sides { samples, ..Sides::default() };
        judge(&mut checks, &wanted, &sides, true, 500);
        assert!(matches!(judge(&mut checks, &wanted, &sides, true, 2000), Verdict::Running(_)));
    }
}
