//! A release as people read it.

use std::process::ExitCode;

use sampan_schema::operation::{Operation, Phase};
use sampan_schema::rollout::Rollout;

use super::because;
use crate::output::{pairs, plain};

/// Cells of the bar of instances, at most.
const BAR: u64 = 20;

/// What is known of an application's newest release.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// `NS/APP`.
    pub id: String,
    pub rollout: Rollout,
    /// The newest operation, which the release may not have begun with yet.
    pub operation: Option<Operation>,
}

/// Why there is nothing more to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    Done,
    Paused,
    /// Failed, aborted or rolled back.
    Failed,
}

impl Stop {
    pub fn code(self) -> ExitCode {
        if self == Self::Failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

impl Seen {
    fn has_none(&self) -> bool {
        matches!(self.rollout.phase.as_str(), "" | "None")
    }

    /// The operation that the release is for. A release that follows changed configuration has none.
    fn own(&self) -> Option<&Operation> {
        self.operation.as_ref().filter(|op| op.id == self.rollout.operation)
    }

    /// An operation whose release has not begun: a write is answered before. A change of `replicas` during a release
    /// takes no release of its own, and what waits for the release to end comes after it.
    fn waiting(&self) -> Option<&Operation> {
        let other = self.operation.as_ref().filter(|op| op.id != self.rollout.operation && !op.phase.is_terminal());
        other.filter(|op| self.rollout.is_over() || (op.kind != "scale" && op.id != self.rollout.queued))
    }

    /// A newer operation without a release of its own, when it is worth a word.
    fn beside(&self) -> Option<&Operation> {
        let is_newer = self.has_none() || !self.rollout.operation.is_empty();
        let other = self.operation.as_ref().filter(|op| is_newer && op.id != self.rollout.operation);
        other.filter(|op| op.phase != Phase::Succeeded)
    }

    /// Whether the release is over or waits for somebody. A newer operation that has not begun is neither.
    pub fn stop(&self) -> Option<Stop> {
        if self.waiting().is_some() {
            return None;
        }
        if self.rollout.is_paused() {
            return Some(Stop::Paused);
        }
        if !self.rollout.is_over() {
            return None;
        }
        let came_back = matches!(self.rollout.phase.as_str(), "Failed" | "RolledBack" | "Aborted");
        Some(if came_back || self.beside().is_some() { Stop::Failed } else { Stop::Done })
    }

    /// On the way back to the stable revision, or there: fewer instances are better now.
    fn is_back(&self) -> bool {
        matches!(self.rollout.phase.as_str(), "RollingBack" | "RolledBack" | "Aborted")
            && !self.rollout.stable_revision.is_empty()
    }

    /// Reason and message; those of the operation while the release has none.
    fn why(&self) -> String {
        let why = because(&self.rollout.reason, &self.rollout.message);
        match self.own() {
            Some(op) if why.is_empty() => because(&op.reason, &op.message),
            _ => why,
        }
    }

    fn failing(&self) -> &[String] {
        self.own().map_or(&[], |op| &op.progress.failing)
    }

    fn head(&self) -> String {
        format!("{} of {}", self.own().map_or("release", |op| &op.kind), self.id)
    }

    /// One line: what, how far, why not further.
    pub fn line(&self) -> String {
        if let Some(op) = self.waiting().or(self.beside().filter(|_| self.has_none())) {
            return super::text(op);
        }
        if self.has_none() {
            return format!("{} has had no release", self.id);
        }
        let r = &self.rollout;
        let mut line = format!("{}: {}", self.head(), r.phase);
        if r.step > 0 {
            line.push_str(&format!(", step {} of {}, {} % gray", r.step, r.total_steps, r.weight_percent));
        }
        line.push_str(&if self.is_back() {
            format!(", {} still on revision {}", r.updated, r.revision)
        } else {
            format!(", {}/{} updated, {} ready", r.updated, r.wanted, r.ready)
        });
        for verdict in &r.analysis {
            line.push_str(&format!(", {} {}", verdict.name, verdict.result));
        }
        let why = self.why();
        if !why.is_empty() {
            line.push_str(&format!("; {why}"));
        }
        if !self.failing().is_empty() {
            line.push_str(&format!("; failing: {}", self.failing().join("; ")));
        }
        if let Some(op) = self.beside() {
            line.push_str(&format!("; {}: {}", op.kind, op.phase.word()));
        }
        plain(&line)
    }

    /// A page: the same with all numbers, and what can be typed next.
    pub fn page(&self) -> String {
        if self.has_none() {
            return self.line();
        }
        let mut lines = Vec::new();
        if let Some(op) = self.waiting() {
            lines.extend([super::text(op), "the release before it:".into()]);
        } else {
            lines.extend(self.beside().map(super::text));
            let phase = self.own().map_or(self.rollout.phase.as_str(), |op| op.phase.word());
            lines.push(plain(&format!("{}: {phase}", self.head())));
        }
        lines.push(self.numbers());
        let verdicts = &self.rollout.analysis;
        if !verdicts.is_empty() {
            lines.push("analysis:".into());
            lines.push(named(verdicts.iter().map(|v| (v.name.as_str(), because(&v.result, &v.message)))));
        }
        if !self.failing().is_empty() {
            lines.push("failing:".into());
            lines.extend(self.failing().iter().map(|text| format!("  {}", plain(text))));
        }
        let next = self.next();
        if !next.is_empty() {
            lines.push("next:".into());
            let width = next.iter().map(|(command, _)| command.len()).max().unwrap_or(0);
            lines.extend(next.iter().map(|(command, what)| format!("  {command:width$}  {what}")));
        }
        lines.join("\n")
    }

    fn numbers(&self) -> String {
        let r = &self.rollout;
        let step = if r.step > 0 { format!("{} of {}", r.step, r.total_steps) } else { String::new() };
        let weight = match (r.step > 0 || r.weight_percent > 0.0, r.weight_limited_by.as_str()) {
            (false, _) => String::new(),
            // Chosen requests, or none yet.
            (true, "") if r.weight_percent == 0.0 => "none by weight".into(),
            (true, "") => format!("{} % of the requests", r.weight_percent),
            (true, why) => format!("{} % of the requests, not more because {why}", r.weight_percent),
        };
        let instances = if self.is_back() {
            format!("{} still on revision {}", r.updated, r.revision)
        } else {
            format!("{} {} wanted, {} updated, {} ready", bar(r), r.wanted, r.updated, r.ready)
        };
        let queued = match r.queued.as_str() {
            "" => String::new(),
            id => format!("operation {id} begins when this release has ended"),
        };
        // Of a release that is over, the revision before serves nothing any more.
        let before = if r.phase == "Succeeded" { "before" } else { "stable" };
        pairs(&[
            ("phase", r.phase.clone()),
            ("step", step),
            ("weight", weight),
            ("revision", r.revision.clone()),
            (before, r.stable_revision.clone()),
            ("instances", instances),
            ("queued", queued),
            ("reason", self.why()),
        ])
    }

    /// What can be typed when the release waits or has failed: the command and what it does.
    fn next(&self) -> Vec<(String, String)> {
        if self.waiting().is_some() {
            return Vec::new();
        }
        let r = &self.rollout;
        let command = |verb: &str| format!("sampan rollout {verb} {}", self.id);
        let stable = || match r.stable_revision.as_str() {
            "" => "ends the release".to_owned(),
            stable => format!("goes back to revision {stable}"),
        };
        let promote = (
            command("promote"),
            if r.step + 1 < r.total_steps { "goes on to the next step" } else { "goes on to the end" },
        );
        let resume = |what| (command("resume"), what);
        let mut next = match (r.phase.as_str(), r.reason.as_str()) {
            ("Failed", _) if !r.stable_revision.is_empty() => {
                return vec![(command("undo"), format!("goes back to revision {}", r.stable_revision))];
            }
            ("Paused", "ManualStep") => vec![promote],
            ("Paused", "UserPaused") => vec![resume("goes on")],
            ("Paused", "NoTraffic" | "MetricsMissing") => vec![promote, resume("measures again")],
            ("Paused", "TrafficOnStable") => vec![resume("tries the step again")],
            ("Paused", _) => vec![resume("tries the step again"), promote],
            _ => return Vec::new(),
        };
        // Without steps there is none to go on to.
        next.retain(|(command, _)| r.total_steps > 0 || !command.contains(" promote "));
        let mut next: Vec<_> = next.into_iter().map(|(command, what)| (command, what.to_owned())).collect();
        next.push((command("abort"), stable()));
        next
    }
}

/// `#` is ready, `+` updated, `.` still to come; nothing without instances.
fn bar(r: &Rollout) -> String {
    let all = r.wanted.max(r.updated);
    if all == 0 {
        return "[]".into();
    }
    let cells = all.min(BAR);
    // Rounded down: a full bar means all.
    let share =
        |count: u64| usize::try_from(u128::from(count.min(all)) * u128::from(cells) / u128::from(all)).unwrap_or(0);
    let ready = share(r.ready.min(r.updated));
    let updated = share(r.updated);
    let rest = share(all) - updated;
    format!("[{}{}{}]", "#".repeat(ready), "+".repeat(updated - ready), ".".repeat(rest))
}

/// As [`pairs`], indented, with names that came from outside.
fn named<'a>(items: impl Iterator<Item = (&'a str, String)>) -> String {
    let items: Vec<_> = items.map(|(name, value)| (format!("  {}", plain(name)), value)).collect();
    let items: Vec<_> = items.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    pairs(&items)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_schema::rollout::Verdict;

    fn operation(id: &str, phase: Phase) -> Operation {
        Operation {
            id: id.into(),
            kind: "deploy".into(),
            namespace: "shop".into(),
            name: "cart".into(),
            phase,
            ..Operation::default()
        }
    }

    fn seen(phase: &str, reason: &str, op: Phase) -> Seen {
        let rollout = Rollout {
            phase: phase.into(),
            step: 2,
            total_steps: 3,
            weight_percent: 12.5,
            revision: "bbbb".into(),
            stable_revision: "aaaa".into(),
            reason: reason.into(),
            operation: "two".into(),
            wanted: 4,
            updated: 3,
            ready: 2,
            ..Rollout::default()
        };
        Seen { id: "shop/cart".into(), rollout, operation: Some(operation("two", op)) }
    }

    #[test]
    fn a_release_is_told_on_one_page() {
        let mut paused = seen("Paused", "ManualStep", Phase::Paused);
        paused.rollout.message = "step 2 of 3 waits for a user: sampan rollout promote shop/cart".into();
        paused.rollout.weight_limited_by = "1 of 8 ready instances are gray".into();
        let verdict = |name: &str, result: &str, message: &str| Verdict {
            name: name.into(),
            result: result.into(),
            message: message.into(),
        };
        paused.rollout.analysis =
            vec![verdict("errors", "Passed", "0.1 % against 0.2 %"), verdict("slow", "Running", "")];
        let mut running = seen("Updating", "", Phase::Running);
        running.rollout.wanted = 100;
        running.operation.as_mut().unwrap().progress.failing = vec!["cart-3: ImageNotFound: 404\u{1b}[2J".into()];
        let mut failed = seen("Failed", "ProgressDeadlineExceeded", Phase::Failed);
        failed.rollout = Rollout { step: 0, total_steps: 0, weight_percent: 0.0, ..failed.rollout };
        let stopped = Seen {
            rollout: Rollout {
                step: 0,
                total_steps: 0,
                weight_percent: 0.0,
                ..seen("Paused", "Failures", Phase::Paused).rollout
            },
            ..seen("", "", Phase::Paused)
        };
        let back = seen("RollingBack", "AnalysisFailed", Phase::Running);
        let mut behind = seen("Succeeded", "", Phase::Pending);
        behind.rollout.operation = "one".into();
        let none = Seen {
            rollout: Rollout { phase: "None".into(), ..Rollout::default() },
            operation: None,
            ..seen("", "", Phase::Paused)
        };
        let first = Seen { operation: Some(operation("two", Phase::Pending)), ..none.clone() };
        let pages: Vec<_> =
            [&paused, &running, &failed, &stopped, &back, &behind, &none, &first].map(Seen::page).into();
        let lines: Vec<_> =
            [&paused, &running, &failed, &stopped, &back, &behind, &none, &first].map(Seen::line).into();
        insta::assert_snapshot!(format!("{}\n\n---\n\n{}", pages.join("\n\n"), lines.join("\n")));
    }

    #[test]
    fn a_paused_release_names_the_verbs_that_are_taken() {
        let verbs = |reason: &str| {
            let next = seen("Paused", reason, Phase::Paused).next();
            next.iter().map(|(c, _)| c.split(' ').nth(2).unwrap_or_default().to_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(verbs("ManualStep"), "promote abort");
        assert_eq!(verbs("UserPaused"), "resume abort");
        assert_eq!(verbs("NoTraffic"), "promote resume abort");
        assert_eq!(verbs("MetricsMissing"), "promote resume abort");
        assert_eq!(verbs("AnalysisFailed"), "resume promote abort");
        assert_eq!(verbs("TrafficOnStable"), "resume abort");
        assert!(seen("Updating", "", Phase::Running).next().is_empty());
    }

    #[test]
    fn waiting_ends_with_the_release_of_the_newest_operation() {
        for (phase, op, stop) in [
            ("Updating", Phase::Running, None),
            ("Verifying", Phase::Running, None),
            ("RollingBack", Phase::Running, None),
            ("Paused", Phase::Paused, Some(Stop::Paused)),
            ("Succeeded", Phase::Succeeded, Some(Stop::Done)),
            ("Failed", Phase::Failed, Some(Stop::Failed)),
            ("RolledBack", Phase::RolledBack, Some(Stop::Failed)),
            ("Aborted", Phase::Aborted, Some(Stop::Failed)),
            // The operation was read a moment before.
            ("Succeeded", Phase::Running, Some(Stop::Done)),
            ("Aborted", Phase::Running, Some(Stop::Failed)),
        ] {
            assert_eq!(seen(phase, "", op).stop(), stop, "{phase} {op:?}");
        }
        let mut behind = seen("Succeeded", "", Phase::Pending);
        behind.rollout.operation = "one".into();
        assert_eq!(behind.stop(), None, "the newest has not begun");
        behind.operation = Some(operation("two", Phase::Superseded));
        assert_eq!(behind.stop(), Some(Stop::Failed));
        behind.operation = None;
        assert_eq!(behind.stop(), Some(Stop::Done));
        // A release that follows configuration is newer than any operation.
        behind.rollout.operation = String::new();
        behind.operation = Some(operation("two", Phase::Aborted));
        assert_eq!(behind.stop(), Some(Stop::Done));
        let mut none = behind.clone();
        none.rollout = Rollout { phase: "None".into(), ..Rollout::default() };
        assert_eq!(none.stop(), Some(Stop::Failed));
        none.operation = None;
        assert_eq!(none.stop(), Some(Stop::Done));
    }

    #[test]
    fn a_change_of_replicas_goes_beside_the_release() {
        let scale = |phase: &str, op| {
            let operation = Operation { kind: "scale".into(), ..operation("three", op) };
            Seen { operation: Some(operation), ..seen(phase, "ManualStep", Phase::Paused) }
        };
        assert_eq!(scale("Paused", Phase::Running).stop(), Some(Stop::Paused));
        assert_eq!(scale("Updating", Phase::Succeeded).stop(), None);
        assert_eq!(scale("RolledBack", Phase::Succeeded).stop(), Some(Stop::Failed));
        assert_eq!(scale("Succeeded", Phase::Succeeded).stop(), Some(Stop::Done));
        assert_eq!(scale("Succeeded", Phase::Failed).stop(), Some(Stop::Failed));
        assert_eq!(scale("Succeeded", Phase::Running).stop(), None, "it has yet to begin");
        let page = scale("Paused", Phase::Running).page();
        assert!(
            page.starts_with("scale of shop/cart: Running, 0/0 updated, 0 ready\nrelease of shop/cart: Paused\n"),
            "{page}"
        );
        assert!(page.contains("sampan rollout promote shop/cart"), "{page}");
    }

    #[test]
    fn what_waits_for_a_release_is_told_and_holds_nobody_up() {
        let behind = |phase: &str| {
            let mut seen = seen(phase, "ManualStep", Phase::Paused);
            seen.rollout.queued = "four".into();
            let message = "waits for operation one to end".into();
            seen.operation = Some(Operation { message, ..operation("four", Phase::Pending) });
            seen
        };
        assert_eq!(behind("Paused").stop(), Some(Stop::Paused), "somebody has to go on");
        assert_eq!(behind("Updating").stop(), None);
        assert_eq!(behind("Succeeded").stop(), None, "it is about to begin");
        let page = behind("Paused").page();
        assert!(page.contains("waits for operation one to end"), "{page}");
        assert!(page.contains("operation four begins when this release has ended"), "{page}");
        assert!(page.contains("sampan rollout promote shop/cart"), "{page}");
    }

    #[test]
    fn a_bar_is_full_only_when_all_are_ready() {
        let bar = |wanted, updated, ready| super::bar(&Rollout { wanted, updated, ready, ..Rollout::default() });
        assert_eq!(bar(4, 3, 2), "[##+.]");
        assert_eq!(bar(0, 0, 0), "[]");
        assert_eq!(bar(100, 100, 99), format!("[{}+]", "#".repeat(19)));
        assert_eq!(bar(100, 99, 0), format!("[{}.]", "+".repeat(19)));
        // On the way back there are more than are wanted; and a server may say anything.
        assert_eq!(bar(0, 2, 1), "[#+]");
        assert_eq!(bar(2, 1, 9), "[#.]");
        assert_eq!(bar(u64::MAX, 5, 5), format!("[{}]", ".".repeat(20)));
    }
}
