//! A step of an escalation: who was called or told, why, when it was due and when it was done.

use serde::{Deserialize, Serialize};

use crate::alarm::{Alarm, OccurrenceId, Priority};
use crate::model::Timestamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// Asked to acknowledge.
    Call,
    /// Told, and not asked.
    Copy,
    /// Nobody of the level is left who was not called in vain, or nobody is on duty there.
    NobodyLeft,
    /// Nobody is there to be called at all: all recipients are told, as if people were not configured.
    Everybody,
    /// Sirens of the site sound for it, whatever its priority.
    Siren,
    /// Nobody has spoken with the site in time.
    Unanswered,
    /// Somebody has (叫应).
    Answered,
    /// Those who were called hear what has become of it.
    News,
    /// A presence check: the question to whoever is on duty.
    Question,
    /// A shift changes: what is open goes to those who go and those who come.
    Handover,
    /// Alarms of P4 that are open, once a day.
    Daily,
}

impl StepKind {
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Copy => "copy",
            Self::NobodyLeft => "nobody_left",
            Self::Everybody => "everybody",
            Self::Siren => "siren",
            Self::Unanswered => "unanswered",
            Self::Answered => "answered",
            Self::News => "news",
            Self::Question => "question",
            Self::Handover => "handover",
            Self::Daily => "daily",
        }
    }
}

impl StepKind {
    pub const ALL: [Self; 11] = [
        Self::Call,
        Self::Copy,
        Self::NobodyLeft,
        Self::Siren,
        Self::Unanswered,
        Self::Answered,
        Self::News,
        Self::Question,
        Self::Handover,
        Self::Everybody,
        Self::Daily,
    ];

    /// A person is called and a clock runs: a call that is held back is none. What is called about at the end of a
    /// shift (P4) is a list, and may be told as one.
    #[must_use]
    pub fn never_waits(self, priority: Priority) -> bool {
        match self {
            Self::Question => true,
            Self::Call | Self::Unanswered | Self::Everybody => priority < Priority::P4,
            Self::Copy
            | Self::NobodyLeft
            | Self::Siren
            | Self::Answered
            | Self::News
            | Self::Handover
            | Self::Daily => false,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub alarm: OccurrenceId,
    /// Counts from 1 for each alarm.
    pub number: u32,
    pub kind: StepKind,
    /// When its clock ran out, and when it was done: later only after a down time.
    pub due: Timestamp,
    pub at: Timestamp,
    pub policy: String,
    /// `operator`, `county`, `position.gate`, `team.rescue`; empty where it is nobody's.
    pub level: String,
    /// The person's key.
    pub person: String,
    /// Which call to this person it is.
    pub call: u32,
    /// Recipients that are told: `sms.li`.
    pub to: Vec<String>,
    /// Of a hand-over or a daily list: what is open, as facts had it when the step was written down; Chinese and
    /// English.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<(String, String)>,
    /// What a daily list is about: alarms that it may name, and how many there are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<OccurrenceId>,
    #[serde(default, skip_serializing_if = "is_none")]
    pub count: u32,
}

impl Step {
    /// A message about an alarm that nobody is called for: told now, to nobody yet.
    #[must_use]
    pub fn message(kind: StepKind, alarm: &Alarm, now: Timestamp) -> Self {
        Self {
            alarm: alarm.id.clone(),
            number: alarm.raises,
            kind,
            due: now,
            at: now,
            policy: String::new(),
            level: String::new(),
            person: String::new(),
            call: 1,
            to: Vec::new(),
            list: None,
            alarms: Vec::new(),
            count: 0,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
const fn is_none(count: &u32) -> bool {
    *count == 0
}
