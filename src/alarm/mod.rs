//! What an alarm is, and the pure function that moves it from state to state.
//!
//! In come verdicts of rules, acknowledgements and the passing of time; out come the next state and what
//! changed. No I/O, no clock, no lock: the same inputs give the same alarms with the same ids. An alarm
//! never clears because data stopped, and an acknowledgement never reaches something newer than what the
//! person saw.

mod id;
mod step;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{PointIndex, Quality, Timestamp};

pub use id::OccurrenceId;
pub use step::{Change, Input, Policy, State, Verdict, step};

/// How fast a person must respond. The response times behind it belong to the escalation policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Priority {
    /// Power-cut level, level-2 gas, confirmed fire.
    P1,
    /// Alarm level, level-1 gas.
    P2,
    /// Forecasts, comm loss of an important point.
    P3,
    /// Battery, drift, calibration due.
    P4,
}

impl Priority {
    pub const ALL: [Self; 4] = [Self::P1, Self::P2, Self::P3, Self::P4];

    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::P1 => "P1",
            Self::P2 => "P2",
            Self::P3 => "P3",
            Self::P4 => "P4",
        }
    }
}

/// Colour of the warning issued to the public and the tiers above; not the same as the priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Red,
    Orange,
    Yellow,
    Blue,
}

impl Level {
    pub const ALL: [Self; 4] = [Self::Red, Self::Orange, Self::Yellow, Self::Blue];

    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::Orange => "orange",
            Self::Yellow => "yellow",
            Self::Blue => "blue",
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A rule's id, unique in the gateway ("methane-face"). Davy's own conditions begin with `davy-`.
pub type RuleId = Arc<str>;

/// What people see of the state (ISA-18.2 / IEC 62682 letters A to D).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// A: nothing to tell.
    Normal,
    /// B: the condition holds and nobody has said that they saw it.
    Unacknowledged,
    /// C: the condition holds, somebody saw it.
    Acknowledged,
    /// D: the condition is over, nobody has said that they saw it.
    ReturnedUnacknowledged,
}

impl Standing {
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Unacknowledged => "unacknowledged",
            Self::Acknowledged => "acknowledged",
            Self::ReturnedUnacknowledged => "returned_unacknowledged",
        }
    }
}

/// Somebody said "I saw it".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    pub by: String,
    pub at: Timestamp,
    pub comment: String,
}

/// One occurrence of an alarm, as it stands after its latest change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    pub id: OccurrenceId,
    pub rule: RuleId,
    /// The point's id, or what the condition is about ("rule file coal/methane.rhai", "journal disk").
    pub subject: Arc<str>,
    pub point: Option<PointIndex>,
    pub site: Arc<str>,
    pub place: String,
    /// For people; the action comes first in messages made of it.
    pub title: String,
    pub advice: String,
    pub priority: Priority,
    pub level: Level,
    pub standing: Standing,
    /// Source time of the sample that began it.
    pub raised: Timestamp,
    /// When that sample reached Davy.
    pub received: Timestamp,
    pub cleared: Option<Timestamp>,
    pub acknowledged: Option<Acknowledgement>,
    /// Value that raised it, and the worst since; in `unit`. Absent for conditions without a number.
    pub value: Option<f64>,
    pub worst: Option<f64>,
    pub limit: Option<f64>,
    pub unit: String,
    /// Of the sample that raised it: an exercise, work under a permit, a value in doubt.
    #[serde(default)]
    pub quality: Quality,
    /// How often the condition came back before anybody acknowledged; starts at 1. An acknowledgement
    /// names the count that the person saw.
    pub raises: u32,
    /// The point's data is bad or missing: the state is held, not confirmed.
    pub held: bool,
    /// It ended without healthy data, because its rule or point is gone; `detail` says which.
    #[serde(default)]
    pub closed: bool,
    /// More to say: an error text, what a rule failed on.
    pub detail: String,
}

/// What happened to an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happening {
    Raised,
    /// The condition came back before anybody acknowledged.
    RaisedAgain,
    Acknowledged,
    Cleared,
}

impl Happening {
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::RaisedAgain => "raised_again",
            Self::Acknowledged => "acknowledged",
            Self::Cleared => "cleared",
        }
    }
}

/// A change of an alarm on its way out: the record as it stands after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlarmChange {
    pub happening: Happening,
    /// Event time of the change.
    pub at: Timestamp,
    pub alarm: Alarm,
}

impl AlarmChange {
    /// A P1 is raised: no cap and no summary holds the message back.
    #[must_use]
    pub const fn urgent(&self) -> bool {
        matches!((self.alarm.priority, self.happening), (Priority::P1, Happening::Raised | Happening::RaisedAgain))
    }
}
