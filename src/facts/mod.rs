//! `facts.db`: alarms, their changes and the outbox, as rows that can be read with `sqlite3`.
use std::path::Path;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::alarm::{Alarm, OccurrenceId};
use crate::board::Published;
use crate::model::Timestamp;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("facts {path}: {source}")]
    Database {
        path: String,
        #[source]
        source: rusqlite::Error,
    },
}

/// Reads facts; cheap to clone, opens its own read-only connection per call site thread.
#[derive(Clone, Debug)]
pub struct Reader;

/// Which alarms to list.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only those that are not Normal.
    pub open: bool,
    pub site: Option<String>,
    /// Raised before this moment (for paging backwards).
    pub before: Option<Timestamp>,
    pub most: usize,
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
}

impl Reader {
    pub fn open(_path: &Path) -> Result<Self, Error> {
        todo!()
    }

    /// Newest first.
    pub fn alarms(&self, _wanted: &Wanted) -> Result<Vec<Alarm>, Error> {
        todo!()
    }

    pub fn alarm(&self, _id: &OccurrenceId) -> Result<Option<Alarm>, Error> {
        todo!()
    }

    /// Changes with a number above `after`, oldest first.
    pub fn changes_since(&self, _after: i64, _most: usize) -> Result<Vec<Published>, Error> {
        todo!()
    }

    /// Messages of a channel that are neither delivered nor given up, numbered above `after`, by priority of
    /// their alarm (P1 first), then oldest first.
    pub fn pending(&self, _channel: &str, _most: usize) -> Result<Vec<Outgoing>, Error> {
        todo!()
    }
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Acknowledged(Alarm),
    /// No open alarm has that id.
    NoSuchAlarm,
    /// It came back since the person looked; the alarm as it stands now.
    NewerOccurrence(Alarm),
    /// Somebody else was first; the alarm as it stands now.
    AlreadyAcknowledged(Alarm),
}

/// Ties answers from the engine to whoever waits for them.
#[derive(Clone, Debug)]
pub struct Answers(Arc<()>);

impl Answers {
    /// A number for a command, and where its answer will arrive once it is durable and in `facts.db`.
    #[must_use]
    pub fn expect(&self) -> (u64, oneshot::Receiver<Answer>) {
        todo!()
    }
}
