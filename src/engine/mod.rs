//! The hot path: one entry of the journal in, effects out.
//!
//! A shard holds the state of its points: windows, alarm states, open occurrences. In come entries in
//! journal order; out go alarm changes and answers, pushed into a lent buffer. It is a deterministic
//! function of the entries: time comes only from samples and ticks, nothing waits, locks, logs or asks the
//! clock, and the same entries give the same alarms with the same ids. Restart, standby and backtest run
//! this very code.

mod around;
mod condition;
mod health;
mod open;
mod shard;
mod snapshot;
mod thread;
mod window;

use std::sync::Arc;

use crate::alarm::AlarmChange;
use crate::facts::Answer;
use crate::journal::{Receipt, Setup};
use crate::model::{Permit, PermitEnd, PointTable, SiteStanding};

pub use health::{Health, Needs};
pub use shard::{Counts, Shard};
pub use snapshot::{Remembered, Snapshot, SnapshotError, can_resume};
pub use thread::{Numbers, Options, Replayed, Running, start};
pub use window::Window;

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
    /// New points and rules are in force.
    Setup(Arc<Setup>, Arc<PointTable>),
    /// The state after the entry, to restart from.
    Snapshot(Vec<u8>),
}

#[cfg(test)]
mod tests;
