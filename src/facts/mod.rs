//! `facts.db`: alarms, their changes, the outbox, versions of rules and the audit chain, as rows that can be read with `sqlite3`.
//!
//! In come the engine's effects, entry by entry; out go rows, and, once the entry is durable, the change
//! on the board and the answer to whoever asked. The alarm's change and the messages it owes to people
//! are one transaction. Facts are a fold of the journal: a row that a power cut takes is written again
//! from the journal's tail at the next start, which is why a commit here needs no flush to the disk of its own.

mod aside;
mod audit;
mod cases;
mod daily;
mod duty;
mod exercise;
mod groups;
mod handover;
mod limits;
mod protection;
mod publications;
mod read;
mod revision;
mod schema;
mod span;
mod writer;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::alarm::{Alarm, AlarmChange, AsideFact, OccurrenceId, Priority};
use crate::board::Published;
use crate::clock;
use crate::model::{ExerciseFact, LimitFact, Permit, SiteStanding, Timestamp, fits};
use crate::response::Step;
use crate::response::case::{Case, CaseRefusal};

pub use audit::{Audited, Flaw, Head, verify};
pub use cases::{CaseStepRow, CaseTimes, WantedCases};
pub use read::{Attempt, Reader, Wanted};
pub use revision::{Drafted, Version, diff, hash};
pub use schema::Registered;
pub use span::{Called, Delivery};
pub use writer::{Facts, Outlets, Restart};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("facts {path}: {source}", path = path.display())]
    Database {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },
    #[error("facts {path}: {what}", path = path.display())]
    Damaged { path: PathBuf, what: String },
}

/// Somebody who is told of alarms: one row in the outbox for each and every change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// `webhook`, `mqtt`, `log`, `mail`, ..
    pub channel: String,
    /// Name in the channel's configuration.
    pub name: String,
    /// Only alarms of this priority and more urgent ones.
    pub from_priority: Priority,
    /// Patterns of sites; empty: all.
    pub sites: Vec<String>,
}

impl Recipient {
    /// As people name it in the configuration: `sms.li`.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.channel, self.name)
    }

    /// Conditions of the gateway itself are everybody's: a gateway that does not see is blind for all sites.
    #[must_use]
    pub fn wants(&self, alarm: &Alarm) -> bool {
        let here =
            self.sites.is_empty() || alarm.point.is_none() || self.sites.iter().any(|site| fits(site, &alarm.site));
        alarm.priority <= self.from_priority && here
    }
}

/// Whose messages: those of exercises stand behind all others in the outbox, and never share a message with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    Real,
    Exercise,
}

impl Lane {
    /// In the outbox in place of the priority; sorts behind `P4`.
    pub(crate) const EXERCISE: &'static str = "exercise";

    /// The condition on rows of the outbox.
    const fn rows(self) -> &'static str {
        match self {
            Self::Real => "outbox.priority <> 'exercise'",
            Self::Exercise => "outbox.priority = 'exercise'",
        }
    }
}

/// A message that still has to reach somebody.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    /// Outbox row; also the idempotency key.
    pub id: i64,
    pub channel: String,
    /// Name of the recipient in the channel's configuration ("county-duty").
    pub recipient: String,
    pub published: Published,
    /// Attempts recorded so far.
    pub attempts: u32,
    pub created: Timestamp,
    /// Why this recipient is told, where it was called for.
    pub why: Option<Step>,
}

/// Where a row stands in the outbox among those of its lane: the most urgent first, then the oldest. Exercises stand by
/// their age alone.
pub type Place = (Priority, i64);

/// The first rows of the outbox for one recipient, in the order of their places.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pending {
    /// All of them.
    pub places: Vec<Place>,
    /// Those that the asker did not have yet.
    pub new: Vec<Outgoing>,
}

impl From<Vec<Outgoing>> for Pending {
    fn from(new: Vec<Outgoing>) -> Self {
        let rank = |change: &AlarmChange| if change.is_exercise() { Priority::P4 } else { change.alarm.priority };
        Self { places: new.iter().map(|row| (rank(&row.published.change), row.id)).collect(), new }
    }
}

impl Outgoing {
    /// No cap and no summary holds it back: a P1 that calls, or a person who is called.
    #[must_use]
    pub fn urgent(&self) -> bool {
        let change = &self.published.change;
        let called = || self.why.as_ref().is_some_and(|step| step.kind.never_waits(change.alarm.priority));
        change.urgent() || !change.is_exercise() && called()
    }
}

/// A message that still has to reach somebody, as a summary counts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub id: i64,
    pub priority: Priority,
    pub site: Arc<str>,
    pub alarm: OccurrenceId,
    /// As [`Outgoing::urgent`] says.
    pub urgent: bool,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Acknowledged(Alarm),
    /// No open alarm has that id.
    NoSuchAlarm,
    /// It came back since the person looked; the alarm as it stands now.
    NewerOccurrence(Alarm),
    /// It is not as the person saw it, or not in a state for it; the alarm as it stands now, and why in words.
    Refused(Box<Alarm>, String),
    /// Somebody else was first; the alarm as it stands now.
    AlreadyAcknowledged(Alarm),
    PermitOpened(Permit),
    PermitEnded(Permit),
    /// No permit with that id is open.
    NoSuchPermit,
    SiteSet(SiteStanding),
    /// No point belongs to a site of that name.
    NoSuchSite,
    /// Why the site does not get that state.
    SiteRefused(String),
    /// It is done, durable and in `facts.db`.
    Recorded,
    /// What is on record now, or why nothing was done.
    Limits(Result<LimitFact, LimitRefusal>),
    /// What is on record now, or why nothing was done.
    Aside(Result<Box<AsideFact>, AsideRefusal>),
    /// The case as it stands now, or why the step was not taken.
    Case(Box<Result<Case, CaseRefusal>>),
    /// The id of what is on record now, or why nothing was done.
    Duty(Result<String, String>),
    /// What is on record now, or why nothing was done, for the person.
    Exercise(Result<Box<ExerciseFact>, String>),
}

impl Answer {
    /// The alarm as it stands now, where the answer tells of one.
    pub fn alarm_mut(&mut self) -> Option<&mut Alarm> {
        match self {
            Self::Acknowledged(alarm) | Self::NewerOccurrence(alarm) | Self::AlreadyAcknowledged(alarm) => Some(alarm),
            Self::Refused(alarm, _) => Some(alarm),
            Self::NoSuchAlarm
            | Self::PermitOpened(_)
            | Self::PermitEnded(_)
            | Self::NoSuchPermit
            | Self::SiteSet(_)
            | Self::NoSuchSite
            | Self::SiteRefused(_)
            | Self::Recorded
            | Self::Limits(_)
            | Self::Aside(_)
            | Self::Case(_)
            | Self::Exercise(_)
            | Self::Duty(_) => None,
        }
    }
}

/// Why an order about setting an alarm aside was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AsideRefusal {
    /// Nothing of that id sets an alarm aside.
    NoSuch,
    /// For the person: why, and what to do.
    Words(String),
}

/// Why an order about limits was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitRefusal {
    /// No limit or exemption with that id is in force.
    NoSuch,
    /// For the person: both numbers, whose the other one is, and what to do.
    Words(String),
    /// Less protection while that alarm is open, in words.
    Frozen(String),
}

/// Ties answers from the engine to whoever waits for them.
#[derive(Clone, Debug)]
pub struct Answers {
    waiting: Arc<Mutex<HashMap<u64, oneshot::Sender<Answer>>>>,
    next: Arc<AtomicU64>,
}

impl Default for Answers {
    fn default() -> Self {
        Self::new()
    }
}

impl Answers {
    /// Numbers begin at the clock, so that a command replayed from an earlier run answers nobody else.
    #[must_use]
    pub fn new() -> Self {
        let first = u64::try_from(clock::now().micros()).unwrap_or(0);
        Self { waiting: Arc::default(), next: Arc::new(AtomicU64::new(first)) }
    }

    /// A number for a command, and where its answer will arrive once it is durable and in `facts.db`.
    #[must_use]
    pub fn expect(&self) -> (u64, oneshot::Receiver<Answer>) {
        let command = self.next.fetch_add(1, Relaxed);
        let (answer, receiver) = oneshot::channel();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, answer| !answer.is_closed());
        waiting.insert(command, answer);
        (command, receiver)
    }

    pub(crate) fn give(&self, command: u64, answer: Answer) {
        let asker = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&command);
        if let Some(asker) = asker {
            // Whoever asked may have gone away.
            asker.send(answer).ok();
        }
    }
}

/// Counters for `/metrics` and the demo's summary.
#[derive(Debug, Default)]
pub struct Numbers {
    pub applied: AtomicU64,
    pub raised: AtomicU64,
    pub cleared: AtomicU64,
    pub acknowledged: AtomicU64,
    pub set_aside: AtomicU64,
    pub resumed: AtomicU64,
    /// Because the alarm went on for too long, or became worse.
    pub called_again: AtomicU64,
    pub reset: AtomicU64,
    pub delivered: AtomicU64,
    pub failed_attempts: AtomicU64,
    /// Changes that went out before their cause was on the disk, because the disk was slow.
    pub early: AtomicU64,
}
