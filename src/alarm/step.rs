//! The alarm as a pure function.
//!
//! ```text
//!            violated                held for raise_after
//!   Normal ───────────► Rising ────────────────────────────► Active(unacknowledged)
//!     ▲  ▲                │ healthy, unknown                  │  ▲    │ acknowledge
//!     │  └────────────────┘                    healthy, held  │  │    ▼
//!     │                                        for clear_after│  │  Active(acknowledged)
//!     │  acknowledge                                          ▼  │violated    │ healthy, held
//!     ├────────────────────────────────────────────── Returned ──┘            │ for clear_after
//!     └───────────────────────────────────────────────────────────────────────┘
//! ```
//! Unknown (bad or missing data) neither raises nor clears: it sends Rising back to Normal and restarts
//! the wait for a clear. Time passes only through the `at` of an input.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Standing;
use crate::model::Timestamp;

/// How long a condition must hold before it counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    pub raise_after: Duration,
    pub clear_after: Duration,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    #[default]
    Normal,
    /// The condition holds since then, not yet long enough.
    Rising { since: Timestamp },
    /// `falling`: healthy since then, not yet long enough.
    Active { acknowledged: bool, falling: Option<Timestamp> },
    /// Over, but nobody has acknowledged.
    Returned,
}

/// What a rule says of one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Violated,
    Healthy,
    /// No usable data.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    Judged(Verdict),
    /// Time passed and nothing else happened.
    Tick,
    Acknowledge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Raised,
    RaisedAgain,
    Acknowledged,
    Cleared,
}

impl State {
    #[must_use]
    pub const fn standing(self) -> Standing {
        match self {
            Self::Normal | Self::Rising { .. } => Standing::Normal,
            Self::Active { acknowledged: false, .. } => Standing::Unacknowledged,
            Self::Active { acknowledged: true, .. } => Standing::Acknowledged,
            Self::Returned => Standing::ReturnedUnacknowledged,
        }
    }

    /// When the wait is over, if it waits.
    #[must_use]
    pub fn due(self, policy: &Policy) -> Option<Timestamp> {
        match self {
            Self::Rising { since } => Some(since + policy.raise_after),
            Self::Active { falling: Some(since), .. } => Some(since + policy.clear_after),
            Self::Normal | Self::Active { falling: None, .. } | Self::Returned => None,
        }
    }

    /// Waiting for time to pass, so that ticks matter.
    #[must_use]
    pub const fn waits(self) -> bool {
        match self {
            Self::Rising { .. } | Self::Active { falling: Some(_), .. } => true,
            Self::Normal | Self::Active { falling: None, .. } | Self::Returned => false,
        }
    }
}

/// One input, the next state, and what changed for people. `at` is the event time of the input; an `at`
/// before the state's own times makes no wait shorter.
#[must_use]
pub fn step(policy: &Policy, state: State, input: Input, at: Timestamp) -> (State, Option<Change>) {
    use Input::{Acknowledge, Judged, Tick};
    use Verdict::{Healthy, Unknown, Violated};
    let unacknowledged = State::Active { acknowledged: false, falling: None };
    match (state, input) {
        (State::Normal, Judged(Violated)) if policy.raise_after.is_zero() => (unacknowledged, Some(Change::Raised)),
        (State::Normal, Judged(Violated)) => (State::Rising { since: at }, None),
        (State::Rising { since }, Judged(Violated) | Tick) if at >= since + policy.raise_after => {
            (unacknowledged, Some(Change::Raised))
        }
        // The clock was set back: the wait begins anew rather than last until it has caught up.
        (State::Rising { since }, Judged(Violated)) if at < since => (State::Rising { since: at }, None),
        (State::Rising { .. }, Judged(Healthy | Unknown)) => (State::Normal, None),

        (State::Active { acknowledged, falling: None }, Judged(Healthy)) => {
            if policy.clear_after.is_zero() {
                (over(acknowledged), Some(Change::Cleared))
            } else {
                (State::Active { acknowledged, falling: Some(at) }, None)
            }
        }
        (State::Active { acknowledged, falling: Some(since) }, Judged(Healthy) | Tick)
            if at >= since + policy.clear_after =>
        {
            (over(acknowledged), Some(Change::Cleared))
        }
        (State::Active { acknowledged, falling: Some(since) }, Judged(Healthy)) if at < since => {
            (State::Active { acknowledged, falling: Some(at) }, None)
        }
        (State::Active { acknowledged, .. }, Judged(Violated | Unknown)) => {
            (State::Active { acknowledged, falling: None }, None)
        }
        (State::Active { acknowledged: false, falling }, Acknowledge) => {
            (State::Active { acknowledged: true, falling }, Some(Change::Acknowledged))
        }

        // Back before anybody acknowledged: no second wait for raise_after, people were already called.
        (State::Returned, Judged(Violated)) => (unacknowledged, Some(Change::RaisedAgain)),
        (State::Returned, Acknowledge) => (State::Normal, Some(Change::Acknowledged)),

        // Spelled out, not `_`: a new state or input must be decided here before it compiles.
        (
            same @ (State::Normal | State::Rising { .. } | State::Active { .. } | State::Returned),
            Judged(Violated | Healthy | Unknown) | Tick | Acknowledge,
        ) => (same, None),
    }
}

const fn over(acknowledged: bool) -> State {
    if acknowledged { State::Normal } else { State::Returned }
}

#[cfg(test)]
mod tests;
