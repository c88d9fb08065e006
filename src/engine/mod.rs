//! The hot path: one entry of the journal in, effects out.
//!
//! A shard holds the state of its points: windows, alarm states, open occurrences. In come entries in
//! journal order; out go alarm changes and answers, pushed into a lent buffer. It is a deterministic
//! function of the entries: time comes only from samples and ticks, nothing waits, locks, logs or asks the
//! clock, and the same entries give the same alarms with the same ids. Restart, standby and backtest run
//! this very code.

mod around;
mod aside;
mod command;
mod condition;
mod exercise;
mod health;
mod keep;
mod limits;
mod open;
mod order;
mod parent;
mod past;
mod revision;
mod shard;
mod site;
mod snapshot;
mod thread;
mod track;
mod wake;
mod window;

use std::sync::Arc;

use crate::alarm::{AlarmChange, AsideFact};
use crate::facts::Answer;
use crate::journal::{Receipt, RuleFile, RuleStep, Setup};
use crate::model::{
    Cause, ExerciseFact, LimitFact, Permit, PermitEnd, PointTable, Record, Shown, SiteStanding, Timestamp,
};
use crate::response::case::CaseFact;
use crate::response::group::Group;
use crate::response::{Kept, Step};

use open::Slot;

pub use condition::GATEWAY;

pub use health::{Health, Needs};
pub use keep::{Against, Keep};
pub use parent::{DOWN, PARENT};
pub use past::{Held, Hull, Pace, Past, Wants, expected};
pub use shard::{Counts, DOWN_TIME, Shard};
pub use snapshot::{Remembered, Snapshot, SnapshotError, can_resume};
#[cfg(test)]
pub(crate) use thread::respond;
pub use thread::{Numbers, Options, Replayed, Running, start};
pub use window::{MOST_SAMPLES, Over};

/// What follows from an entry.
#[derive(Clone, Debug)]
pub enum Effect {
    Changed(AlarmChange),
    Answered {
        command: u64,
        answer: Answer,
    },
    Receipt(Receipt),
    /// Work on sensors begins, or has ended.
    Permit {
        permit: Permit,
        end: Option<PermitEnd>,
    },
    /// What a site is doing from here on.
    Site(SiteStanding),
    /// For the audit chain.
    Record(Record),
    /// A rule file has another text in force; an empty one when it is no longer there.
    Version {
        file: RuleFile,
        at: Timestamp,
        cause: Cause,
    },
    /// For the table of drafts.
    Rules(Box<RuleStep>),
    /// A limit or an exemption begins, or has ended.
    Limits(LimitFact),
    /// An alarm is set aside, or no longer.
    Aside(AsideFact),
    /// Alarms that came up together, after one more.
    Group(Box<Group>),
    /// An exercise begins, a value is injected, or it has ended.
    Exercise(Box<ExerciseFact>),
    /// A case after a step.
    Case(Box<CaseFact>),
    /// Somebody is called or told, or there was nobody.
    Step(Box<Step>),
    /// What duty is to remember.
    Kept(Box<Kept>),
    /// What a console has shown.
    Shown(Box<Shown>),
    /// New points and rules are in force.
    Setup(Arc<Setup>, Arc<PointTable>),
    /// The state after the entry, to restart from.
    Snapshot(Vec<u8>),
}

impl Effect {
    /// What became of an alarm, if it is that.
    #[must_use]
    pub fn change(&self) -> Option<&AlarmChange> {
        if let Self::Changed(change) = self { Some(change) } else { None }
    }
}

#[cfg(test)]
mod tests;
