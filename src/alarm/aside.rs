//! What sets an alarm aside: somebody shelved it, the design suppresses it, or it is out of service.
//!
//! It names the rule and what the rule is about, not an occurrence: an alarm can be set aside before it is
//! raised. Several may hold for one alarm; it is back when the last of them has ended.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Happening, RuleId, Standing};
use crate::model::Timestamp;

/// How an alarm is set aside; where several hold, the last of these is what people see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// G: by a person, or by Davy because it chatters; for hours.
    Shelved,
    /// H: by the design. Its site stands still, its sensor is worked on, what it hangs from has failed.
    Suppressed,
    /// I: by two persons, for days.
    OutOfService,
}

impl Way {
    pub const ALL: [Self; 3] = [Self::Shelved, Self::Suppressed, Self::OutOfService];

    #[must_use]
    pub const fn standing(self) -> Standing {
        match self {
            Self::Shelved => Standing::Shelved,
            Self::Suppressed => Standing::Suppressed,
            Self::OutOfService => Standing::OutOfService,
        }
    }

    #[must_use]
    pub const fn word(self) -> &'static str {
        self.standing().word()
    }

    /// The longest that it may last at a time.
    #[must_use]
    pub const fn longest(self) -> Option<Duration> {
        match self {
            Self::Shelved => Some(Aside::LONGEST_SHELF),
            Self::Suppressed => None,
            Self::OutOfService => Some(Aside::LONGEST_OUT),
        }
    }
}

/// One reason for which an alarm is set aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aside {
    /// Given by whoever orders it, once; `shelf-` and a number for a person's.
    pub id: String,
    pub way: Way,
    pub rule: RuleId,
    /// The point's id, or what Davy's own condition is about.
    pub subject: String,
    /// The person, or `davy`.
    pub by: String,
    /// Of somebody else: out of service needs it.
    pub approved_by: Option<String>,
    /// In a person's words; for what the design suppresses, the rule or state or permit that does.
    pub reason: String,
    pub from: Timestamp,
    /// Suppression has none: it ends with its cause.
    pub until: Option<Timestamp>,
    /// It ends when the condition is next over, or at `until`.
    #[serde(default)]
    pub once: bool,
}

impl Aside {
    pub const LONGEST_SHELF: Duration = Duration::from_secs(8 * 3_600);
    pub const LONGEST_OUT: Duration = Duration::from_secs(30 * 86_400);

    /// Which alarm it is about.
    #[must_use]
    pub fn target(&self) -> (RuleId, String) {
        (self.rule.clone(), self.subject.clone())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsideEnd {
    pub at: Timestamp,
    pub by: String,
    pub reason: String,
}

/// What is ordered about setting aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AsideOrder {
    Begin(Aside),
    End { id: String, end: AsideEnd },
}

/// What is on record: an order as it stands, with its end if it has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsideFact {
    pub aside: Aside,
    pub end: Option<AsideEnd>,
}

/// Are people called for a change of an alarm? What happens to one that is set aside calls nobody, and of what
/// the design suppresses nobody is told; that somebody shelved what they were called for, they are told.
#[must_use]
pub fn calls(happening: Happening, standing: Standing, aside: Option<&Aside>) -> bool {
    let suppressed = aside.is_some_and(|aside| aside.way == Way::Suppressed);
    match (happening, standing) {
        (Happening::SetAside, standing) => standing != Standing::Suppressed,
        (_, Standing::Shelved | Standing::Suppressed | Standing::OutOfService) => false,
        (Happening::Resumed, Standing::Normal) => !suppressed,
        (
            Happening::Raised
            | Happening::RaisedAgain
            | Happening::Acknowledged
            | Happening::Cleared
            | Happening::Reset
            | Happening::Realarmed
            | Happening::Worsened
            | Happening::Resumed,
            Standing::Normal
            | Standing::Unacknowledged
            | Standing::Acknowledged
            | Standing::ReturnedUnacknowledged
            | Standing::LatchedUnacknowledged
            | Standing::LatchedAcknowledged,
        ) => true,
    }
}
