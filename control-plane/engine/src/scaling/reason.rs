//! Decisions as sentences: `5 → 8: qps wanted 8 (412/s ÷ 52), memory 5; forecast 7 not used (gate: error 31 %)`.

use std::fmt;

use sampan_schema::scaling_rule::{MetricType, TargetType};
use serde::{Deserialize, Serialize};

use super::{Decision, Gap, Gate, LimitedBy, Proposal, RuleDecision, Unusable};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    Out,
    In,
}

/// Why a number is what it is, beside the proposals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Reason {
    /// A metric cannot be read, so no instance goes.
    Held {
        metric: String,
    },
    /// No metric of the rule removes instances.
    OnlyOut,
    Fallback {
        floor: u32,
        for_ms: i64,
    },
    Panic {
        floor: u32,
        left_ms: i64,
    },
    /// The first request waits.
    Woken {
        waiting: u32,
    },
    /// A metric is above its activation target.
    Active {
        metric: String,
    },
    Idle {
        for_ms: i64,
    },
    /// The application's own `idle` has stopped it.
    Asleep {
        wakes: bool,
    },
    /// The application's own `idle` lets it run.
    Awake,
    Min {
        min: u32,
        window: Option<String>,
    },
    Max {
        max: u32,
        window: Option<String>,
    },
    /// A window takes effect before it begins, so that its instances are ready.
    Early {
        window: String,
    },
    /// A window that cannot be read.
    Window {
        problem: String,
    },
    /// What was wanted before is not known.
    Restarted {
        wanted: u32,
        kept: u32,
        left_ms: i64,
    },
    Stabilised {
        wanted: u32,
        kept: u32,
    },
    Step {
        wanted: u32,
        step: u32,
    },
    Disabled {
        direction: Direction,
    },
    Rollout {
        wanted: u32,
        kept: u32,
    },
    Forecast {
        wanted: u32,
    },
    Observed {
        wanted: u32,
    },
    GateShut {
        wanted: u32,
        gate: Gate,
    },
}

/// Three digits that count, without zeros at the end.
fn number(v: f64) -> String {
    let digits = match v.abs() {
        a if a >= 100.0 => 0,
        a if a >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{v:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn time(ms: i64) -> String {
    let seconds = ms.max(0).unsigned_abs().div_ceil(1000);
    if seconds < 120 { format!("{seconds} s") } else { format!("{} min", seconds / 60) }
}

fn of_window(window: Option<&String>) -> String {
    window.map_or_else(String::new, |name| format!(" of window {name}"))
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { metric } => write!(f, "none removed without {metric}"),
            Self::OnlyOut => write!(f, "none removed: no metric of the rule asks for that"),
            Self::Fallback { floor, for_ms } => {
                write!(f, "fallback: at least {floor}, no value for {}", time(*for_ms))
            }
            Self::Panic { floor, left_ms } => write!(f, "burst: at least {floor} for {}", time(*left_ms)),
            Self::Woken { waiting } => write!(f, "woken up by {waiting} waiting requests"),
            Self::Active { metric } => write!(f, "woken up by {metric}"),
            Self::Idle { for_ms } => write!(f, "no request for {}", time(*for_ms)),
            Self::Asleep { wakes: true } => write!(f, "idle until a request comes"),
            Self::Asleep { wakes: false } => write!(f, "idle until it is written, restarted or rolled back"),
            Self::Awake => write!(f, "not idle"),
            Self::Min { min, window } => write!(f, "at least {min}{}", of_window(window.as_ref())),
            Self::Max { max, window } => write!(f, "at most {max}{}", of_window(window.as_ref())),
            Self::Early { window } => write!(f, "window {window} begins before new instances would be ready"),
            Self::Window { problem } => write!(f, "not read: {problem}"),
            Self::Restarted { wanted, kept, left_ms } => {
                write!(f, "{kept} kept, not {wanted}: what was wanted before is unknown for {} more", time(*left_ms))
            }
            Self::Stabilised { wanted, kept } => {
                write!(f, "{kept} and not yet {wanted}: stabilisation window")
            }
            Self::Step { wanted, step } => write!(f, "{step} first, then {wanted}: max_step"),
            Self::Disabled { direction: Direction::Out } => write!(f, "scale_up is disabled"),
            Self::Disabled { direction: Direction::In } => write!(f, "scale_down is disabled"),
            Self::Rollout { wanted, kept } => write!(f, "{kept} and not {wanted} while a release is under way"),
            Self::Forecast { wanted } => write!(f, "forecast wanted {wanted}"),
            Self::Observed { wanted } => write!(f, "forecast {wanted} observed only"),
            Self::GateShut { wanted, gate } => write!(f, "forecast {wanted} not used (gate: {gate})"),
        }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => write!(f, "open"),
            Self::Short { days } => write!(f, "{} days of data, fewer than two seasons", number(*days)),
            Self::NoSeason { autocorrelation } => {
                write!(f, "autocorrelation {}, want 0.6", number(*autocorrelation))
            }
            Self::Inaccurate { wape_percent } => write!(f, "error {} %, want 25 %", number(*wape_percent)),
            Self::NotBetter { mase } => write!(f, "{} times the error of last season's value", number(*mase)),
            Self::BadHours { .. } => write!(f, "three bad hours in a row"),
        }
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverRead => write!(f, "never read"),
            Self::Stale { age_ms } => write!(f, "last read {} ago", time(*age_ms)),
            Self::NoNumber => write!(f, "no usable number"),
            Self::OtherShape => write!(f, "a value of another kind"),
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { why, problem } if problem.is_empty() => write!(f, "{why}"),
            Self::Missing { why, problem } => write!(f, "{why}: {problem}"),
            Self::Partial { instances: 0 } => write!(f, "no instance to read"),
            Self::Partial { instances } => write!(f, "{instances} instances without a value"),
            Self::Young { covers_ms } => write!(f, "only {} measured so far", time(*covers_ms)),
        }
    }
}

impl Proposal {
    /// The value against the target.
    fn arithmetic(&self) -> String {
        let Some(value) = self.value else { return String::new() };
        let (v, t) = (number(value), number(self.target));
        match (self.kind, self.target_type) {
            (_, TargetType::Utilization) => format!("{v} %, target {t} %"),
            (MetricType::ResponseTimeMs, _) => format!("{v} ms, target {t} ms"),
            (_, TargetType::Value) => format!("{v}, target {t}"),
            (MetricType::Qps, _) => format!("{v}/s ÷ {t}"),
            (MetricType::Concurrency, _) => format!("{v} at once ÷ {t}"),
            (MetricType::Cpu, _) => format!("{v} cores ÷ {t}"),
            (MetricType::Memory, _) => format!("{v} MiB ÷ {t}"),
            _ => format!("{v} ÷ {t}"),
        }
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.metric)?;
        match self.wanted {
            Some(n) => write!(f, " wanted {n}")?,
            None if self.gap.is_some() => write!(f, " unknown")?,
            None => write!(f, " had no wish")?,
        }
        let parts = [self.arithmetic(), self.gap.as_ref().map_or_else(String::new, Gap::to_string)];
        let parts: Vec<&str> = parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
        if parts.is_empty() { Ok(()) } else { write!(f, " ({})", parts.join("; ")) }
    }
}

impl fmt::Display for RuleDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proposals: Vec<String> = self.proposals.iter().map(Proposal::to_string).collect();
        let mut parts = Vec::new();
        if !proposals.is_empty() {
            parts.push(proposals.join(", "));
        }
        match &self.window {
            Some(name) if self.proposals.is_empty() => parts.push(format!("window {name} wants {}", self.wanted)),
            // The application's own `idle` has no windows.
            None if self.proposals.is_empty() && !self.rule.is_empty() => {
                parts.push(format!("outside of windows {}", self.wanted));
            }
            _ => {}
        }
        parts.extend(self.reasons.iter().map(Reason::to_string));
        write!(f, "{}", parts.join("; "))
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.from == self.to {
            write!(f, "{} stays: ", self.to)?;
        } else {
            write!(f, "{} → {}: ", self.from, self.to)?;
        }
        match self.rules.as_slice() {
            [] => write!(f, "no rule is enabled")?,
            [only] => write!(f, "{only}")?,
            all => {
                let each: Vec<String> = all.iter().map(|r| format!("rule {} {}: {r}", r.rule, r.result)).collect();
                write!(f, "{}", each.join(" | "))?;
            }
        }
        match self.quota.filter(|_| self.limited_by == LimitedBy::Quota) {
            Some(quota) => write!(f, "; the namespace's quota leaves {quota}"),
            None => Ok(()),
        }
    }
}
