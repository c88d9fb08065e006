//! The journal: the durable, ordered log of everything that goes in, and the moment of acknowledgement.
//!
//! ```text
//!  sources ─► Intake ─► [writer thread] ─► engine      at once, in order
//!                              │ group commit (5 ms, 64 KiB, or hurried by an alarm)
//!                              ├─► Commit resolves      PUBACK, HTTP 2xx
//!                              └─► Tail                 history, influxdb, board: durable entries only
//! ```
//! In come entries from any task or thread; out go the same entries, numbered, in one order for everybody.
//! Promised: a `Commit` resolves only after the entry is on the disk (SQLite, WAL, synchronous FULL).
//! Never: an entry reordered, a number given twice, a commit reported after a failed write; a failed
//! write poisons the journal, and the process ends so that nothing is acknowledged that is not kept.

mod codec;
mod committer;
mod marks;
mod store;
mod tail;
mod writer;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::alarm::{AsideOrder, Level, OccurrenceId, Priority, Standing};
use crate::model::{
    Approval, Calendar, Cause, Draft, Duty, DutyAct, ExerciseOrder, LimitLeave, LimitOrder, Permit, PermitEnd, Point,
    PointId, Record, Sample, SetLimit, SiteStanding, Timestamp,
};
use crate::response::case::{CaseStep, Policy};
use crate::response::{Step, StepKind, storm};

pub use marks::Marks;
pub use store::{Reader, holds_entries};
pub use tail::{Cursor, Tail};
pub use writer::{Durable, Feed, Journal, Numbers};

/// An entry's number: 1 for the first ever, then without gaps.
pub type Seq = u64;

/// The engine's cursor: entries up to it are in a snapshot and are not needed to know the alarms.
pub const ENGINE: &str = "engine";

/// One thing that went in. Everything that decides is a fold over these.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// Shared, because engine, history and board read the same ones.
    Samples(Arc<Vec<Sample>>),
    /// Time passed; the engine has no other clock.
    Tick(Timestamp),
    Note(Note),
}

/// The rare entries, kept as JSON in the journal so that they can be read with any tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "snake_case")]
pub enum Note {
    /// Points and rules in force from here on.
    Setup(Arc<Setup>),
    Acknowledge(Acknowledge),
    /// Somebody lets go of a latched alarm.
    Reset(Reset),
    /// An alarm is shelved, suppressed or taken out of service, or no longer.
    Aside(AsideNote),
    /// A condition of the gateway itself begins or ends: a rule file is broken, a broker is away.
    Condition(Condition),
    /// What became of one attempt to tell somebody.
    Receipt(Receipt),
    /// Work on sensors begins.
    PermitOpened(PermitOpened),
    PermitEnded(PermitEnded),
    /// What a site is doing from here on.
    SiteSet(SiteSet),
    /// A step in the life of a change of rules.
    Rules(Box<RuleStep>),
    /// Something a person did that no other note tells of.
    Record(Record),
    /// A limit is set or ended, an exemption given or ended.
    Limits(Limits),
    /// What a person did about a case.
    Case(Box<CaseStep>),
    /// Leave, a hand-over, a console that opens or closes.
    Duty(DutyOrder),
    /// An exercise begins or ends, or a value is injected.
    Exercise(ExerciseNote),
}

/// A step in the life of a change of rules; decided before it is written here, in one place and one after the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum RuleStep {
    Drafted {
        command: u64,
        draft: Draft,
    },
    /// What a backtest of the draft showed, as whoever ran it tells.
    Backtested {
        command: u64,
        id: String,
        by: String,
        at: Timestamp,
        summary: String,
    },
    Approved {
        command: u64,
        id: String,
        approval: Approval,
    },
    Withdrawn {
        command: u64,
        id: String,
        by: String,
        at: Timestamp,
        reason: String,
    },
    /// An approved draft or an earlier version is in force from here on.
    Activated {
        command: u64,
        setup: Arc<Setup>,
        cause: Cause,
    },
    /// Rules may change although an alarm of priority P1 is open.
    Overridden {
        command: u64,
        by: String,
        at: Timestamp,
        reason: String,
        /// What waited.
        what: String,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    pub at: Timestamp,
    /// In index order; never shorter than the setup before it.
    pub points: Vec<Point>,
    pub rules: Vec<RuleFile>,
    /// Local time and seasons.
    #[serde(default)]
    pub calendar: Calendar,
    /// Stricter limits that the configuration gives.
    #[serde(default)]
    pub limits: Vec<SetLimit>,
    /// Which alarms need a case, and how long people have.
    #[serde(default)]
    pub cases: Policy,
    /// People, rosters and by what policies they are called.
    #[serde(default)]
    pub duty: Duty,
    /// When an alarm chatters, and what becomes of it.
    #[serde(default)]
    pub storm: storm::Policy,
    /// The points that are lost with a source, by what its alarm (`davy-source-down`) is about.
    #[serde(default)]
    pub parents: BTreeMap<String, Vec<PointId>>,
}

impl Setup {
    /// All the rest, for a few of the points.
    #[must_use]
    pub fn clone_without_points(&self) -> Self {
        Self {
            at: self.at,
            points: Vec::new(),
            rules: self.rules.clone(),
            calendar: self.calendar.clone(),
            limits: self.limits.clone(),
            cases: self.cases.clone(),
            duty: self.duty.clone(),
            storm: self.storm,
            parents: self.parents.clone(),
        }
    }

    /// These points, and nothing else yet.
    #[must_use]
    pub fn of(points: Vec<Point>) -> Self {
        Self {
            at: Timestamp::MIN,
            points,
            rules: Vec::new(),
            calendar: Calendar::default(),
            limits: Vec::new(),
            cases: Policy::default(),
            duty: Duty::default(),
            storm: storm::Policy::default(),
            parents: BTreeMap::new(),
        }
    }
}

/// A rule file as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleFile {
    /// Relative to the rules folder: `coal/methane.rhai`.
    pub path: String,
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledge {
    /// Ties the answer to the asker; chosen by whoever submits.
    pub command: u64,
    pub at: Timestamp,
    pub occurrence: OccurrenceId,
    /// The `raises` of the alarm as the person saw it; a higher one now means that it came back unseen.
    pub raises: u32,
    pub by: String,
    pub comment: String,
    /// What else the person saw; what is different now is not acknowledged.
    #[serde(default)]
    pub seen: Option<Seen>,
}

/// An alarm as somebody saw it; what is not known was not looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    #[serde(default)]
    pub standing: Option<Standing>,
    #[serde(default)]
    pub priority: Option<Priority>,
    #[serde(default)]
    pub level: Option<Level>,
    /// When the screen was drawn, by Davy's clock: a worse alarm of the same point that came later was not seen.
    #[serde(default)]
    pub looked: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reset {
    pub command: u64,
    pub at: Timestamp,
    pub occurrence: OccurrenceId,
    pub by: String,
    pub comment: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsideNote {
    /// Ties the answer to the asker; chosen by whoever submits.
    pub command: u64,
    /// Boxed, because every entry is as large as the largest one.
    pub order: Box<AsideOrder>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PermitOpened {
    /// Ties the answer to the asker; chosen by whoever submits.
    pub command: u64,
    pub permit: Permit,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PermitEnded {
    pub command: u64,
    pub id: String,
    pub end: PermitEnd,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Ties the answer to the asker; chosen by whoever submits.
    pub command: u64,
    /// Boxed, because every entry is as large as the largest one.
    pub order: Box<LimitOrder>,
    /// None in journals from before it was asked for: such an order is carried out as it was then.
    #[serde(default)]
    pub leave: Option<LimitLeave>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExerciseNote {
    /// Ties the answer to the asker; chosen by whoever submits.
    pub command: u64,
    /// Boxed, because every entry is as large as the largest one.
    pub order: Box<ExerciseOrder>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DutyOrder {
    /// Ties the answer to the asker; chosen by whoever submits.
    pub command: u64,
    /// Boxed, because every entry is as large as the largest one.
    pub act: Box<DutyAct>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteSet {
    /// Ties the answer to the asker; chosen by whoever submits.
    pub command: u64,
    pub standing: SiteStanding,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    pub at: Timestamp,
    /// `davy-rule-file`, `davy-source-down`, ...
    pub rule: String,
    /// What it is about: the file, the broker.
    pub subject: String,
    pub holds: bool,
    pub title: String,
    pub advice: String,
    pub priority: Priority,
    pub level: Level,
    pub detail: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    pub at: Timestamp,
    /// The outbox row that the attempt was for.
    pub message: i64,
    pub outcome: Outcome,
    /// Status line, subscriber count, error text.
    pub detail: String,
    /// Rows that were told in the same message, and have the same outcome.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<i64>,
    /// It was a call that rang in vain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rang: Option<Rang>,
}

/// The call of an escalation that nobody answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rang {
    pub alarm: OccurrenceId,
    /// As the step names it: `operator`, `team.rescue`.
    pub level: String,
    /// The person's key.
    pub person: String,
    /// Which call to this person it was.
    pub call: u32,
}

impl Rang {
    /// The call that a step is.
    #[must_use]
    pub fn of(step: &Step) -> Option<Self> {
        let called = step.kind == StepKind::Call && !step.person.is_empty();
        let Step { alarm, level, person, call, .. } = step;
        called.then(|| Self { alarm: alarm.clone(), level: level.clone(), person: person.clone(), call: *call })
    }
}

impl Receipt {
    /// What the record of a row says that was told in another's message.
    #[must_use]
    pub fn in_summary(message: i64, detail: &str) -> String {
        format!("汇总 / in summary {message}: {detail}")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Delivered,
    /// Will be tried again.
    Failed,
    /// Will not be tried again: refused for good, or tried long enough.
    GivenUp,
}

/// How the journal forms its groups and where it lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub path: PathBuf,
    /// A group is committed when its first entry has waited this long ..
    pub group_wait: Duration,
    /// .. or when its encoded samples reach this many bytes.
    pub group_bytes: usize,
    /// An alarm waits at most this long for its cause to be on the disk; then it goes out anyway.
    pub alarm_wait: Duration,
    /// When the file holds more than this, the oldest samples go although a consumer has not passed them.
    pub most_bytes: u64,
}

impl Options {
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            group_wait: Duration::from_millis(5),
            group_bytes: 64 * 1024,
            alarm_wait: Duration::from_millis(250),
            most_bytes: 20 << 30,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("journal {path}: {source}", path = path.display())]
    Database {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },
    #[error("journal {path}: entry {seq} cannot be read: {what}; restore the file from a backup", path = path.display())]
    Damaged { path: PathBuf, seq: Seq, what: String },
    #[error("the journal is closed")]
    Closed,
}

/// The journal's front door; cheap to clone, one for every source.
#[derive(Clone, Debug)]
pub struct Intake {
    queue: tokio::sync::mpsc::Sender<Submission>,
}

#[derive(Debug)]
enum Submission {
    Entry(Entry, Option<oneshot::Sender<Seq>>),
    /// An alarm came out of the open group: commit it now.
    Hurry,
    /// What samples are to be marked with from here on.
    Know(Box<Marks>),
}

/// Resolves to the entry's number once it is on the disk.
#[derive(Debug)]
pub struct Commit(oneshot::Receiver<Seq>);

impl Commit {
    /// Never resolves to `Ok` before the entry is durable. `Closed`: it may or may not be on the disk,
    /// so nothing may be acknowledged.
    pub async fn durable(self) -> Result<Seq, Error> {
        self.0.await.map_err(|_| Error::Closed)
    }

    pub fn durable_blocking(self) -> Result<Seq, Error> {
        self.0.blocking_recv().map_err(|_| Error::Closed)
    }
}

impl Intake {
    /// Entries waiting between all sources and the writer, at the most. When it is full, sources wait:
    /// their sockets fill up and the senders slow down.
    pub const QUEUE: usize = 256;

    fn with_capacity(capacity: usize) -> (Self, tokio::sync::mpsc::Receiver<Submission>) {
        let (queue, submissions) = tokio::sync::mpsc::channel(capacity);
        (Self { queue }, submissions)
    }

    /// Hands over an entry; waits while the queue is full. The returned `Commit` may be dropped by whoever
    /// acknowledges nobody.
    pub async fn submit(&self, entry: Entry) -> Result<Commit, Error> {
        let (done, commit) = oneshot::channel();
        self.queue.send(Submission::Entry(entry, Some(done))).await.map_err(|_| Error::Closed)?;
        Ok(Commit(commit))
    }

    /// The same from a plain thread.
    pub fn submit_blocking(&self, entry: Entry) -> Result<Commit, Error> {
        let (done, commit) = oneshot::channel();
        self.queue.blocking_send(Submission::Entry(entry, Some(done))).map_err(|_| Error::Closed)?;
        Ok(Commit(commit))
    }

    /// Before the first sample: what the last run knew of points and permits.
    pub fn know_blocking(&self, marks: Marks) -> Result<(), Error> {
        self.queue.blocking_send(Submission::Know(Box::new(marks))).map_err(|_| Error::Closed)
    }

    /// A way in for those behind the journal: it does not keep the journal open.
    #[must_use]
    pub fn prompt(&self) -> Prompt {
        Prompt { queue: self.queue.downgrade() }
    }
}

/// Used by the engine and by facts, which stand behind the journal and end when it does.
#[derive(Clone, Debug)]
pub struct Prompt {
    queue: tokio::sync::mpsc::WeakSender<Submission>,
}

impl Prompt {
    /// An alarm is waiting for the open group: it is committed at once. A full queue commits soon anyway.
    pub fn hurry(&self) {
        if let Some(queue) = self.queue.upgrade() {
            queue.try_send(Submission::Hurry).ok();
        }
    }

    /// False when the queue is full or the journal is closing.
    #[must_use]
    pub fn try_submit(&self, entry: Entry) -> bool {
        self.queue.upgrade().is_some_and(|queue| queue.try_send(Submission::Entry(entry, None)).is_ok())
    }
}

/// What a test's receiver finds, in the order of submission.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct Waiting(tokio::sync::mpsc::Receiver<Submission>);

#[cfg(test)]
impl Waiting {
    /// The next entry and, if somebody waits for its commit, the way to resolve it.
    pub(crate) async fn next(&mut self) -> Option<(Entry, Option<oneshot::Sender<Seq>>)> {
        loop {
            match self.0.recv().await? {
                Submission::Entry(entry, done) => return Some((entry, done)),
                Submission::Hurry | Submission::Know(_) => {}
            }
        }
    }
}

#[cfg(test)]
impl Intake {
    /// An intake without a journal behind it, for tests of whoever submits.
    pub(crate) fn with_receiver(capacity: usize) -> (Self, Waiting) {
        let (intake, waiting) = Self::with_capacity(capacity);
        (intake, Waiting(waiting))
    }
}

#[cfg(test)]
mod tests;
