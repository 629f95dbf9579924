//! `idle` of an application without an enabled rule: all of its instances, or none.

use sampan_schema::application::{self, IdleMode};

use super::{Bounds, Decision, LimitedBy, Reason, Requests, Rollout, RuleDecision};

/// What the application says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idle {
    /// Instances while it is awake.
    pub replicas: u32,
    pub after_ms: i64,
    pub wake_on_request: bool,
}

impl Idle {
    /// `None` when it is off.
    pub fn of(spec: &application::Spec) -> Option<Self> {
        let idle = &spec.idle;
        (idle.mode == IdleMode::Stop).then(|| Self {
            replicas: u32::try_from(spec.replicas.max(0)).unwrap_or(u32::MAX),
            after_ms: idle.after_seconds.saturating_mul(1000),
            wake_on_request: idle.wake_on_request,
        })
    }

    /// Whether requests wait at the gateway while there is no instance.
    pub fn holds(&self) -> bool {
        self.wake_on_request && self.replicas > 0
    }
}

/// What is known. Times are milliseconds since the epoch.
#[derive(Debug, Clone, Copy)]
pub struct View {
    pub now: i64,
    /// When this process began to count, or the application was written: silence before says nothing.
    pub since: i64,
    /// It was stopped, and nothing has woken it up since.
    pub asleep: bool,
    /// Instances that it shall have at present.
    pub current: u32,
    pub ready: u32,
    pub rollout: Rollout,
    pub requests: Requests,
}

/// All or none. The rule of the decision has no name.
pub fn decide(idle: &Idle, view: &View) -> Decision {
    let (to, reason, wake_at) = outcome(idle, view);
    let rule = RuleDecision {
        rule: String::new(),
        bounds: Bounds { min: 0, max: idle.replicas },
        window: None,
        proposals: Vec::new(),
        panic: false,
        forecast: None,
        wanted: to,
        result: to,
        limited_by: LimitedBy::None,
        reasons: vec![reason],
    };
    Decision {
        at: view.now,
        from: view.current,
        ready: view.ready,
        to,
        limited_by: LimitedBy::None,
        quota: None,
        rules: vec![rule],
        wake_at,
    }
}

fn outcome(idle: &Idle, view: &View) -> (u32, Reason, Option<i64>) {
    let waiting = view.requests.waiting;
    if view.asleep && view.rollout == Rollout::None {
        if idle.wake_on_request && waiting > 0 {
            return (idle.replicas, Reason::Woken { waiting }, None);
        }
        return (0, Reason::Asleep { wakes: idle.wake_on_request }, None);
    }
    let last = view.requests.last.unwrap_or(view.since).max(view.since).min(view.now);
    let over = last.saturating_add(idle.after_ms);
    if view.rollout == Rollout::Active || waiting > 0 || view.now < over {
        return (idle.replicas, Reason::Awake, Some(over).filter(|over| *over > view.now));
    }
    (0, Reason::Idle { for_ms: view.now - last }, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Idle = Idle { replicas: 3, after_ms: 60_000, wake_on_request: true };

    fn view(now: i64) -> View {
        View {
            now,
            since: 0,
            asleep: false,
            current: 3,
            ready: 3,
            rollout: Rollout::None,
            requests: Requests::default(),
        }
    }

    fn asked(last: Option<i64>, waiting: u32) -> Requests {
        Requests { last, waiting }
    }

    #[test]
    fn silence_stops_all_instances_and_nothing_shorter_does() {
        let early = decide(&IDLE, &view(59_999));
        assert_eq!((early.to, early.wake_at, early.to_string()), (3, Some(60_000), "3 stays: not idle".into()));
        let over = decide(&IDLE, &view(60_000));
        assert_eq!((over.to, over.to_string()), (0, "3 → 0: no request for 60 s".into()));
        assert!(over.is_notable());
        for requests in [asked(Some(1), 0), asked(None, 1)] {
            assert_eq!(decide(&IDLE, &View { requests, ..view(60_000) }).to, 3, "{requests:?}");
        }
        // A server that has just begun has heard nothing yet, whatever the last request was.
        let restarted = View { since: 60_000, requests: asked(Some(10), 0), ..view(60_001) };
        assert_eq!(decide(&IDLE, &restarted).wake_at, Some(120_000));
        // A clock that went back.
        assert_eq!(decide(&IDLE, &View { since: 90_000, ..view(60_000) }).to, 3);
    }

    #[test]
    fn a_release_keeps_all_instances() {
        let releasing = View { rollout: Rollout::Active, ..view(600_000) };
        assert_eq!(decide(&IDLE, &releasing).to, 3);
        assert_eq!(decide(&IDLE, &View { asleep: true, current: 0, ..releasing }).to, 3);
    }

    #[test]
    fn a_request_wakes_all_instances_unless_it_must_not() {
        let asleep = View { asleep: true, current: 0, ready: 0, ..view(600_000) };
        let d = decide(&IDLE, &asleep);
        assert_eq!((d.to, d.to_string()), (0, "0 stays: idle until a request comes".into()));
        let waits = View { requests: asked(Some(600_000), 2), ..asleep };
        let d = decide(&IDLE, &waits);
        assert_eq!((d.to, d.to_string()), (3, "0 → 3: woken up by 2 waiting requests".into()));
        let never = Idle { wake_on_request: false, ..IDLE };
        let d = decide(&never, &waits);
        assert_eq!((d.to, d.to_string()), (0, "0 stays: idle until it is written, restarted or rolled back".into()));
        assert_eq!((IDLE.holds(), never.holds(), Idle { replicas: 0, ..IDLE }.holds()), (true, false, false));
    }
}
