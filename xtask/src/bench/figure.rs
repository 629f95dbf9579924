//! One line of the table: what was measured, against what, and whether the goal is met.

use serde_json::{Value, json};

use super::statistic::median;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// At most so many times the reference, which was measured in the same run.
    Times(f64),
    /// At most so much, in the figure's unit.
    Most(f64),
}

#[derive(Debug, Clone)]
pub struct Figure {
    pub name: String,
    pub unit: &'static str,
    pub measured: f64,
    /// What it is compared with, and how much that is.
    pub reference: Option<(String, f64)>,
    pub goal: Goal,
    /// How it was measured.
    pub how: String,
}

impl Figure {
    /// A ratio of two medians in milliseconds.
    pub fn ratio(name: &str, measured: &[f64], reference: (&str, &[f64]), most: f64, how: &str) -> Self {
        Self {
            name: name.into(),
            unit: "ms",
            measured: median(measured),
            reference: Some((reference.0.into(), median(reference.1))),
            goal: Goal::Times(most),
            how: how.into(),
        }
    }

    /// An absolute limit.
    pub fn limit(name: &str, measured: f64, unit: &'static str, most: f64, how: &str) -> Self {
        Self { name: name.into(), unit, measured, reference: None, goal: Goal::Most(most), how: how.into() }
    }

    /// How many times the reference, or which part of the limit.
    pub fn share(&self) -> f64 {
        match (&self.goal, &self.reference) {
            (Goal::Times(_), Some((_, reference))) => self.measured / reference,
            (Goal::Times(_), None) => f64::NAN,
            (Goal::Most(most), _) => self.measured / most,
        }
    }

    pub fn met(&self) -> bool {
        match self.goal {
            Goal::Times(most) => self.share() <= most,
            Goal::Most(most) => self.measured <= most,
        }
    }

    fn verdict(&self) -> &'static str {
        if self.met() { "ok" } else { "MISSED" }
    }

    fn cells(&self) -> [String; 6] {
        let amount = |value: f64| format!("{} {}", number(value), self.unit);
        let (goal, ratio) = match self.goal {
            Goal::Times(most) => (format!("≤ {most} ×"), format!("{:.2} ×", self.share())),
            Goal::Most(most) => (format!("≤ {most} {}", self.unit), format!("{:.0} %", self.share() * 100.0)),
        };
        let reference = self.reference.as_ref();
        let reference = reference.map_or_else(String::new, |(name, value)| format!("{}, {name}", amount(*value)));
        [self.name.clone(), amount(self.measured), reference, goal, ratio, self.verdict().into()]
    }

    /// Name, ratio and verdict.
    pub fn line(&self) -> String {
        let [name, measured, _, goal, ratio, verdict] = self.cells();
        format!("{name}: {measured}, {ratio} (goal {goal}): {verdict}")
    }

    pub fn json(&self) -> Value {
        let (kind, goal) = match self.goal {
            Goal::Times(most) => ("ratio", most),
            Goal::Most(most) => ("limit", most),
        };
        json!({
            "figure": self.name, "measured": self.measured, "unit": self.unit,
            "reference": self.reference.as_ref().map(|(name, value)| json!({ "name": name, "measured": value })),
            "kind": kind, "goal": goal, "ratio": self.share(), "ok": self.met(), "how": self.how,
        })
    }
}

/// Three digits that count.
fn number(value: f64) -> String {
    let digits = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$}")
}

const HEAD: [&str; 6] = ["figure", "measured", "compared with", "goal", "ratio", ""];

/// For a terminal.
pub fn table(figures: &[Figure]) -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(figures.iter().map(Figure::cells));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; 6] = std::array::from_fn(width);
    let line = |row: &[String; 6]| {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// For docs/benchmarks.md.
pub fn markdown(figures: &[Figure]) -> String {
    let mut out = format!("| {} |\n|{}\n", HEAD.join(" | "), " --- |".repeat(HEAD.len()));
    for figure in figures {
        out.push_str(&format!("| {} |\n", figure.cells().join(" | ")));
    }
    out.push_str("\nHow each was measured:\n\n");
    for figure in figures {
        out.push_str(&format!("* **{}**: {}\n", figure.name, figure.how));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_held_against_its_reference_and_a_limit_against_itself() {
        let ratio = |measured: f64| Figure::ratio("a", &[measured], ("b", &[100.0]), 1.3, "");
        assert!(ratio(130.0).met());
        assert!(!ratio(131.0).met());
        assert!(!Figure::ratio("a", &[1.0], ("nothing", &[]), 1.3, "").met(), "nothing measured is no success");
        assert!(Figure::limit("a", 10.0, "ms", 10.0, "").met());
        assert!(!Figure::limit("a", 10.1, "ms", 10.0, "").met());
        assert!(!Figure::limit("a", f64::NAN, "ms", 10.0, "").met());
    }

    #[test]
    fn the_table_shows_both_sides_and_the_verdict() {
        let figures = [
            Figure::ratio("outage", &[150.0], ("raw", &[100.0]), 1.3, "by a loop"),
            Figure::limit("memory", 6.25, "MB", 20.0, "VmRSS"),
        ];
        let text = table(&figures);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1].join(" "), "outage 150 ms 100 ms, raw ≤ 1.3 × 1.50 × MISSED");
        assert_eq!(lines[2].join(" "), "memory 6.25 MB ≤ 20 MB 31 % ok");
        assert!(markdown(&figures).contains("| outage | 150 ms | 100 ms, raw | ≤ 1.3 × | 1.50 × | MISSED |"));
    }
}
