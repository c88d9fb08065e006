//! The alarm as a pure function: the nine states of ISA-18.2 / IEC 62682.
//!
//! ```text
//!  A Normal ──violated for raise_after──► B Active ──acknowledge──► C Active, acknowledged
//!  ▲   ▲ ▲                                │ ▲  ▲                     │ │
//!  │   │ │            healthy, clear_after│ │  └─ re-alarm, worse ───┘ │ healthy, clear_after
//!  │   │ └──────────acknowledge── D Returned◄──────┐                   ├────────────► A
//!  │   │                          └──violated──► B │ reset             │
//!  │   │                  with latch: E Latched ───┘                   └─ latch ─► F Latched, acknowledged
//!  │   │                              └──acknowledge──► F ──reset──► A      (E, F: violated ─► B)
//!  │   └── resumed, healthy ── G Shelved, H Suppressed, I Out of service ◄── set aside, from A to F
//!  │                                          └── resumed, violated ──► B
//!  └── Rising: the condition holds, not yet for raise_after; people see A
//! ```
//! In G, H and I the condition goes on being judged, so that what comes after is A or B by the condition as it
//! is then. Unknown (bad or missing data) neither raises nor clears nor lets go of a latch: it sends Rising back
//! to Normal and restarts the wait for a clear. Time passes only through the `at` of an input.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Standing, Way};
use crate::model::Timestamp;

/// How long a condition must hold before it counts, and what happens when it is over or goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    pub raise_after: Duration,
    pub clear_after: Duration,
    /// What is over stays until a person resets it.
    pub latch: bool,
    /// What goes on for so long after people were called, or said that they saw it, calls them again.
    pub realarm: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// A.
    #[default]
    Normal,
    /// The condition holds since then, not yet long enough: people see A.
    Rising { since: Timestamp },
    /// B, C. `falling`: healthy since then, not yet long enough. `called`: when people were last called, or
    /// when somebody said that they saw it.
    Active { acknowledged: bool, falling: Option<Timestamp>, called: Timestamp },
    /// D: over, but nobody has acknowledged.
    Returned,
    /// E, F: over, but nobody has reset it.
    Latched { acknowledged: bool },
    /// G, H, I: nobody is called.
    Aside { way: Way, live: Live },
}

/// The condition of an alarm that is set aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Live {
    #[default]
    Healthy,
    Rising {
        since: Timestamp,
    },
    Violated {
        falling: Option<Timestamp>,
    },
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
    /// The re-alarm time may be over. It ends no wait of the data, whether or not any come.
    Remind,
    /// Its level or priority is worse than what people were called for.
    Worse,
    Acknowledge,
    Reset,
    SetAside(Way),
    /// Nothing sets it aside any longer.
    Resume,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Raised,
    RaisedAgain,
    Acknowledged,
    /// The condition is over; the state after it says whether that is all.
    Cleared,
    Reset,
    /// It goes on: people are called again.
    Realarmed,
    Worsened,
    SetAside,
    Resumed,
}

impl State {
    #[must_use]
    pub const fn standing(self) -> Standing {
        match self {
            Self::Normal | Self::Rising { .. } => Standing::Normal,
            Self::Active { acknowledged: false, .. } => Standing::Unacknowledged,
            Self::Active { acknowledged: true, .. } => Standing::Acknowledged,
            Self::Returned => Standing::ReturnedUnacknowledged,
            Self::Latched { acknowledged: false } => Standing::LatchedUnacknowledged,
            Self::Latched { acknowledged: true } => Standing::LatchedAcknowledged,
            Self::Aside { way, .. } => way.standing(),
        }
    }

    /// The condition counts as holding: what would end it is a clear.
    #[must_use]
    pub const fn holds(self) -> bool {
        match self {
            Self::Active { .. } | Self::Aside { live: Live::Violated { .. }, .. } => true,
            Self::Normal | Self::Rising { .. } | Self::Returned | Self::Latched { .. } | Self::Aside { .. } => false,
        }
    }

    /// Nothing is the matter as far as the condition goes, and nobody has anything to do about it.
    #[must_use]
    pub const fn quiet(self) -> bool {
        match self {
            Self::Normal | Self::Aside { live: Live::Healthy, .. } => true,
            Self::Rising { .. } | Self::Active { .. } | Self::Returned | Self::Latched { .. } | Self::Aside { .. } => {
                false
            }
        }
    }

    /// When the wait is over, if it waits.
    #[must_use]
    pub fn due(self, policy: &Policy) -> Option<Timestamp> {
        match self {
            Self::Rising { since } | Self::Aside { live: Live::Rising { since }, .. } => {
                Some(since + policy.raise_after)
            }
            Self::Active { falling: Some(since), .. }
            | Self::Aside { live: Live::Violated { falling: Some(since) }, .. } => Some(since + policy.clear_after),
            Self::Normal
            | Self::Active { falling: None, .. }
            | Self::Returned
            | Self::Latched { .. }
            | Self::Aside { live: Live::Healthy | Live::Violated { falling: None }, .. } => None,
        }
    }

    /// Waiting for time to pass, so that ticks matter.
    #[must_use]
    pub const fn waits(self) -> bool {
        match self {
            Self::Rising { .. }
            | Self::Active { falling: Some(_), .. }
            | Self::Aside { live: Live::Rising { .. } | Live::Violated { falling: Some(_) }, .. } => true,
            Self::Normal
            | Self::Active { falling: None, .. }
            | Self::Returned
            | Self::Latched { .. }
            | Self::Aside { live: Live::Healthy | Live::Violated { falling: None }, .. } => false,
        }
    }

    /// A clear that has begun begins anew.
    pub const fn restart_clear(&mut self) {
        match self {
            Self::Active { falling, .. } | Self::Aside { live: Live::Violated { falling }, .. } => *falling = None,
            Self::Normal | Self::Rising { .. } | Self::Returned | Self::Latched { .. } | Self::Aside { .. } => {}
        }
    }

    /// The condition alone, for as long as it is set aside.
    const fn live(self) -> Live {
        match self {
            Self::Normal | Self::Returned | Self::Latched { .. } => Live::Healthy,
            Self::Rising { since } => Live::Rising { since },
            Self::Active { falling, .. } => Live::Violated { falling },
            Self::Aside { live, .. } => live,
        }
    }
}

/// One input, the next state, and what changed for people. `at` is the event time of the input; an `at`
/// before the state's own times makes no wait shorter.
#[must_use]
pub fn step(policy: &Policy, state: State, input: Input, at: Timestamp) -> (State, Option<Change>) {
    match (state, input) {
        (State::Aside { way, live }, Input::Judged(_) | Input::Tick) => {
            let (live, change) = judge(policy, live, input, at);
            (State::Aside { way, live }, change)
        }
        (
            State::Normal | State::Rising { .. } | State::Active { .. } | State::Returned | State::Latched { .. },
            Input::Judged(_) | Input::Tick,
        ) => in_force(policy, state, input, at),
        (
            State::Normal
            | State::Rising { .. }
            | State::Active { .. }
            | State::Returned
            | State::Latched { .. }
            | State::Aside { .. },
            Input::Remind | Input::Worse | Input::Acknowledge | Input::Reset | Input::SetAside(_) | Input::Resume,
        ) => told(policy, state, input, at),
    }
}

/// What the data say of an alarm that calls people.
fn in_force(policy: &Policy, state: State, input: Input, at: Timestamp) -> (State, Option<Change>) {
    let called = State::Active { acknowledged: false, falling: None, called: at };
    let (live, change) = judge(policy, state.live(), input, at);
    match (state, live, change) {
        // Back before anybody acknowledged or reset it: no second wait for raise_after, people were already called.
        (State::Returned | State::Latched { .. }, _, _) if input == Input::Judged(Verdict::Violated) => {
            (called, Some(Change::RaisedAgain))
        }
        (State::Returned | State::Latched { .. }, _, _) => (state, None),
        (State::Active { acknowledged, called, .. }, Live::Violated { falling }, _) => {
            (State::Active { acknowledged, falling, called }, None)
        }
        (State::Active { acknowledged, .. }, Live::Healthy | Live::Rising { .. }, change) => {
            let over = match (policy.latch, acknowledged) {
                (true, _) => State::Latched { acknowledged },
                (false, true) => State::Normal,
                (false, false) => State::Returned,
            };
            (over, change)
        }
        (State::Normal | State::Rising { .. } | State::Aside { .. }, Live::Violated { .. }, change) => (called, change),
        (State::Normal | State::Rising { .. } | State::Aside { .. }, Live::Rising { since }, _) => {
            (State::Rising { since }, None)
        }
        (State::Normal | State::Rising { .. } | State::Aside { .. }, Live::Healthy, _) => (State::Normal, None),
    }
}

/// The condition by itself: whether it holds for long enough, and whether it is over for long enough.
fn judge(policy: &Policy, live: Live, input: Input, at: Timestamp) -> (Live, Option<Change>) {
    use Input::{Judged, Tick};
    use Verdict::{Healthy, Unknown, Violated};
    let violated = Live::Violated { falling: None };
    match (live, input) {
        (Live::Healthy, Judged(Violated)) if policy.raise_after.is_zero() => (violated, Some(Change::Raised)),
        (Live::Healthy, Judged(Violated)) => (Live::Rising { since: at }, None),
        (Live::Rising { since }, Judged(Violated) | Tick) if at >= since + policy.raise_after => {
            (violated, Some(Change::Raised))
        }
        // The clock was set back: the wait begins anew rather than last until it has caught up.
        (Live::Rising { since }, Judged(Violated)) if at < since => (Live::Rising { since: at }, None),
        (Live::Rising { .. }, Judged(Healthy | Unknown)) => (Live::Healthy, None),

        (Live::Violated { falling: None }, Judged(Healthy)) if policy.clear_after.is_zero() => {
            (Live::Healthy, Some(Change::Cleared))
        }
        (Live::Violated { falling: None }, Judged(Healthy)) => (Live::Violated { falling: Some(at) }, None),
        (Live::Violated { falling: Some(since) }, Judged(Healthy) | Tick) if at >= since + policy.clear_after => {
            (Live::Healthy, Some(Change::Cleared))
        }
        (Live::Violated { falling: Some(since) }, Judged(Healthy)) if at < since => {
            (Live::Violated { falling: Some(at) }, None)
        }
        (Live::Violated { .. }, Judged(Violated | Unknown)) => (violated, None),

        // Spelled out, not `_`: a new state or input must be decided here before it compiles.
        (
            same @ (Live::Healthy | Live::Rising { .. } | Live::Violated { .. }),
            Judged(Violated | Healthy | Unknown)
            | Tick
            | Input::Remind
            | Input::Worse
            | Input::Acknowledge
            | Input::Reset
            | Input::SetAside(_)
            | Input::Resume,
        ) => (same, None),
    }
}

/// What people and clocks of Davy's own say.
fn told(policy: &Policy, state: State, input: Input, at: Timestamp) -> (State, Option<Change>) {
    use Input::{Acknowledge, Judged, Remind, Reset, Resume, SetAside, Tick, Worse};
    match (state, input) {
        (State::Active { acknowledged: false, falling, .. }, Acknowledge) => {
            (State::Active { acknowledged: true, falling, called: at }, Some(Change::Acknowledged))
        }
        (State::Returned, Acknowledge) => (State::Normal, Some(Change::Acknowledged)),
        (State::Latched { acknowledged: false }, Acknowledge) => {
            (State::Latched { acknowledged: true }, Some(Change::Acknowledged))
        }

        (State::Latched { acknowledged: false }, Reset) => (State::Returned, Some(Change::Reset)),
        (State::Latched { acknowledged: true }, Reset) => (State::Normal, Some(Change::Reset)),

        (State::Active { falling, .. }, Worse) => {
            (State::Active { acknowledged: false, falling, called: at }, Some(Change::Worsened))
        }
        (State::Active { acknowledged, falling, called }, Remind) => match policy.realarm {
            Some(after) if at >= called + after => {
                (State::Active { acknowledged: false, falling, called: at }, Some(Change::Realarmed))
            }
            // The clock was set back: the wait begins anew.
            Some(_) => (State::Active { acknowledged, falling, called: called.min(at) }, None),
            None => (state, None),
        },

        (State::Aside { way, live }, SetAside(other)) => {
            (State::Aside { way: other, live }, (way != other).then_some(Change::SetAside))
        }
        (
            State::Normal | State::Rising { .. } | State::Active { .. } | State::Returned | State::Latched { .. },
            SetAside(way),
        ) => (State::Aside { way, live: state.live() }, Some(Change::SetAside)),
        (State::Aside { live: Live::Healthy, .. }, Resume) => (State::Normal, Some(Change::Resumed)),
        (State::Aside { live: Live::Rising { since }, .. }, Resume) => (State::Rising { since }, Some(Change::Resumed)),
        (State::Aside { live: Live::Violated { falling }, .. }, Resume) => {
            (State::Active { acknowledged: false, falling, called: at }, Some(Change::Resumed))
        }

        (
            same @ (State::Normal
            | State::Rising { .. }
            | State::Active { .. }
            | State::Returned
            | State::Latched { .. }
            | State::Aside { .. }),
            Judged(_) | Tick | Remind | Worse | Acknowledge | Reset | Resume,
        ) => (same, None),
    }
}

#[cfg(test)]
mod tests;
