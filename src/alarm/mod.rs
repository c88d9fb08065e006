//! What an alarm is, and the pure function that moves it from state to state.
//!
//! In come verdicts of rules, acknowledgements and the passing of time; out come the next state and what
//! changed. No I/O, no clock, no lock: the same inputs give the same alarms with the same ids. An alarm
//! never clears because data stopped, and an acknowledgement never reaches something newer than what the
//! person saw.

mod aside;
mod id;
mod own;
mod step;
mod together;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{PointIndex, Quality, Reason, Timestamp};

pub use aside::{Aside, AsideEnd, AsideFact, AsideOrder, Way, calls};
pub use id::OccurrenceId;
pub use own::{is_own, own_shelvable};
pub use step::{Change, Input, Live, Policy, State, Verdict, step};
pub use together::{Field, First, Together};

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

/// What people see of the state (ISA-18.2 / IEC 62682 letters A to I).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// E: the condition is over, but nobody has reset it, nor said that they saw it.
    LatchedUnacknowledged,
    /// F: the condition is over and somebody saw it, but nobody has reset it.
    LatchedAcknowledged,
    /// G: set aside by a person for a while, with a reason; the condition goes on being judged.
    Shelved,
    /// H: set aside by the design, because of something else that is known.
    Suppressed,
    /// I: taken out of service by two persons.
    OutOfService,
}

impl Standing {
    pub const ALL: [Self; 9] = [
        Self::Normal,
        Self::Unacknowledged,
        Self::Acknowledged,
        Self::ReturnedUnacknowledged,
        Self::LatchedUnacknowledged,
        Self::LatchedAcknowledged,
        Self::Shelved,
        Self::Suppressed,
        Self::OutOfService,
    ];

    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Unacknowledged => "unacknowledged",
            Self::Acknowledged => "acknowledged",
            Self::ReturnedUnacknowledged => "returned_unacknowledged",
            Self::LatchedUnacknowledged => "latched_unacknowledged",
            Self::LatchedAcknowledged => "latched_acknowledged",
            Self::Shelved => "shelved",
            Self::Suppressed => "suppressed",
            Self::OutOfService => "out_of_service",
        }
    }

    /// B, D, E: it waits for somebody to say that they saw it.
    #[must_use]
    pub const fn waits(self) -> bool {
        match self {
            Self::Unacknowledged | Self::ReturnedUnacknowledged | Self::LatchedUnacknowledged => true,
            Self::Normal
            | Self::Acknowledged
            | Self::LatchedAcknowledged
            | Self::Shelved
            | Self::Suppressed
            | Self::OutOfService => false,
        }
    }

    /// G, H, I: nobody is called.
    #[must_use]
    pub const fn aside(self) -> Option<Way> {
        match self {
            Self::Shelved => Some(Way::Shelved),
            Self::Suppressed => Some(Way::Suppressed),
            Self::OutOfService => Some(Way::OutOfService),
            Self::Normal
            | Self::Unacknowledged
            | Self::Acknowledged
            | Self::ReturnedUnacknowledged
            | Self::LatchedUnacknowledged
            | Self::LatchedAcknowledged => None,
        }
    }

    /// B, C: the condition holds and people are called for it.
    #[must_use]
    pub const fn active(self) -> bool {
        match self {
            Self::Unacknowledged | Self::Acknowledged => true,
            Self::Normal
            | Self::ReturnedUnacknowledged
            | Self::LatchedUnacknowledged
            | Self::LatchedAcknowledged
            | Self::Shelved
            | Self::Suppressed
            | Self::OutOfService => false,
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

/// What an alarm has to do with an exercise in which values are injected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exercised {
    /// Nothing.
    #[default]
    No,
    /// It is one: an injected value of that exercise raised it.
    Injected(Arc<str>),
    /// It is real, and that exercise ran at its site when it last changed: whoever takes part has to be able to tell.
    Beside(Arc<str>),
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
    /// How often it called people: it came back, it went on for too long after somebody had seen it, it became
    /// worse, it was no longer set aside. Starts at 1; an acknowledgement names the count that the person saw.
    pub raises: u32,
    /// The point's data is bad or missing: the state is held, not confirmed.
    pub held: bool,
    /// It ended without healthy data, because its rule or point is gone; `detail` says which.
    #[serde(default)]
    pub closed: bool,
    /// What sets it aside, or did last.
    #[serde(default)]
    pub aside: Option<Aside>,
    /// Which alarms it came up with, where it belongs to a group.
    #[serde(default)]
    pub together: Option<Box<Together>>,
    /// What it has to do with an exercise.
    #[serde(default)]
    pub exercise: Exercised,
    /// More to say: an error text, what a rule failed on.
    pub detail: String,
}

impl Alarm {
    /// An injected value raised it: nothing of it is real.
    #[must_use]
    pub const fn is_injected(&self) -> bool {
        matches!(self.exercise, Exercised::Injected(_))
    }
}

/// What happened to an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happening {
    Raised,
    /// The condition came back before anybody acknowledged.
    RaisedAgain,
    Acknowledged,
    /// The condition is over; the standing says whether that is all.
    Cleared,
    /// Somebody let go of a latched one.
    Reset,
    /// It goes on, and the re-alarm time is over.
    Realarmed,
    /// Its level or priority became worse.
    Worsened,
    /// Shelved, suppressed or out of service, as the standing says.
    SetAside,
    /// No longer set aside: it calls people, or is over, as the standing says.
    Resumed,
}

impl Happening {
    /// Those with which an alarm calls people.
    pub const CALLS: [Self; 5] = [Self::Raised, Self::RaisedAgain, Self::Realarmed, Self::Worsened, Self::Resumed];

    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::RaisedAgain => "raised_again",
            Self::Acknowledged => "acknowledged",
            Self::Cleared => "cleared",
            Self::Reset => "reset",
            Self::Realarmed => "realarmed",
            Self::Worsened => "worsened",
            Self::SetAside => "set_aside",
            Self::Resumed => "resumed",
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

impl Alarm {
    /// While it is open, rules and limits are not made looser: a real P1. One that is set aside counts as long as
    /// its condition holds.
    #[must_use]
    pub fn freezes(&self) -> bool {
        let open = match self.standing.aside() {
            Some(_) => self.cleared.is_none(),
            None => self.standing != Standing::Normal,
        };
        self.priority == Priority::P1 && open && !self.quality.has(Reason::Exercise)
    }
}

impl AlarmChange {
    /// A P1 calls people: no cap and no summary holds the message back. An exercise can wait.
    #[must_use]
    pub fn urgent(&self) -> bool {
        let raises = Happening::CALLS.contains(&self.happening);
        self.alarm.priority == Priority::P1 && raises && self.alarm.standing.active() && !self.is_exercise()
    }

    /// It asks nobody to act: an injected value or a sensor that is tried raised it.
    #[must_use]
    pub const fn is_exercise(&self) -> bool {
        self.alarm.quality.has(Reason::Exercise)
    }

    /// Somebody is to be told of it.
    #[must_use]
    pub fn calls(&self) -> bool {
        calls(self.happening, self.alarm.standing, self.alarm.aside.as_ref())
    }
}
