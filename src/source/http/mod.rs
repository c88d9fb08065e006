//! Samples that programs send over HTTP: `POST /api/v1/samples`, and `/api/v2/write` as InfluxDB has it.
//!
//! ```text
//!  request ─► web (token ─► sender, size) ─► Sender::read ─► Sender::deliver ─► journal
//!  2xx, when durable ◄──────────────────────── verdicts ◄────────┘
//! ```
//! In come bodies in JSON, NDJSON, CSV or line protocol from senders that have a name, a token and a list of
//! points that they may write; out go samples, and a verdict on whatever could not be used as it came. The
//! listening socket is the web edge's; what is here knows nothing of requests. Promised: [`Sender::deliver`]
//! returns `Ok` only when every sample is on the disk; a body that is sent again does no harm as long as its
//! samples have times of their own. Never: a body unpacked beyond its limit, a point written by a sender
//! that may not, one sender held up by another.

mod body;
mod config;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub use body::{Batch, Kind, Unread, Unusable};
pub use config::{Config, Raw, check_tokens};

use super::Outlet;
use super::attendance::Attendance;
use crate::decode::Forms;
use crate::journal::{Commit, Entry, Intake};
use crate::ledger::{Account, Fate, Ledger};
use crate::model::{PointTable, Sample};

/// A full journal queue is waited for so long; then the sender is asked to come again.
const QUEUE_WITHIN: Duration = Duration::from_secs(2);
/// A commit takes a millisecond; a disk that takes longer than this is sick, and nothing is acknowledged.
const COMMIT_WITHIN: Duration = Duration::from_secs(10);
/// Samples of one journal entry.
const CHUNK: usize = 4_096;

/// Who may send, by their tokens.
#[derive(Debug, Default)]
pub struct Senders {
    all: Vec<Arc<Sender>>,
    attendance: Arc<Attendance>,
}

/// One program that may send samples.
#[derive(Debug)]
pub struct Sender {
    config: Config,
    /// By point index: may this sender write it?
    allowed: Arc<[bool]>,
    forms: Arc<Forms>,
    points: Arc<PointTable>,
    outlet: Outlet,
    requests: Arc<Semaphore>,
    attendance: Arc<Attendance>,
}

/// Why samples were not made durable. They may be on the disk all the same: the sender has to send again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undelivered {
    #[error("the journal's queue stays full; send the same again in a moment")]
    QueueFull,
    #[error("the journal did not confirm that the samples are on the disk; send the same again")]
    NotDurable,
}

impl Senders {
    #[must_use]
    pub fn new(configs: Vec<Config>, points: &Arc<PointTable>, intake: &Intake, ledger: &Ledger) -> Self {
        let expected = configs.iter().filter_map(|config| Some((config.name.clone(), config.away?)));
        let attendance = Arc::new(Attendance::of("http.", expected));
        let sender = |config: Config| {
            let outlet = Outlet { intake: intake.clone(), account: ledger.account(&format!("http.{}", config.name)) };
            Arc::new(Sender {
                allowed: points.iter().map(|(_, point)| config.may_write(&point.id)).collect(),
                forms: Arc::new(Forms::new(config.patterns.clone(), [])),
                points: points.clone(),
                outlet,
                requests: Arc::new(Semaphore::new(config.requests)),
                attendance: attendance.clone(),
                config,
            })
        };
        Self { all: configs.into_iter().map(sender).collect(), attendance }
    }

    /// Tells which senders are away until `stop`.
    pub fn watch(&self, intake: Intake, stop: CancellationToken) -> impl Future<Output = ()> + use<> {
        let attendance = self.attendance.clone();
        async move { attendance.watch(intake, stop).await }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whose token this is. Looks at every sender, so that the time it takes tells nothing.
    #[must_use]
    pub fn admit(&self, token: &[u8]) -> Option<Arc<Sender>> {
        let asked: [u8; 32] = Sha256::digest(token).into();
        let known = |found: Option<&Arc<Sender>>, sender: &Arc<Sender>| {
            let same = bool::from(asked.ct_eq(&sender.config.token));
            if same { Some(sender.clone()) } else { found.cloned() }
        };
        self.all.iter().fold(None, |found, sender| known(found.as_ref(), sender))
    }
}

impl Sender {
    #[must_use]
    pub fn name(&self) -> &str {
        &self.config.name
    }

    #[must_use]
    pub const fn body_bytes(&self) -> usize {
        self.config.body_bytes
    }

    /// What times of line protocol count unless the request says so.
    #[must_use]
    pub fn precision(&self) -> &str {
        &self.config.precision
    }

    #[must_use]
    pub fn account(&self) -> &Account {
        &self.outlet.account
    }

    /// A place among this sender's requests; none when all are taken.
    #[must_use]
    pub fn enter(&self) -> Option<OwnedSemaphorePermit> {
        self.requests.clone().try_acquire_owned().ok()
    }

    /// Hands the samples to the journal and waits until they are durable.
    pub async fn deliver(&self, samples: &[Sample]) -> Result<(), Undelivered> {
        let outcome = self.hand_over(samples).await;
        if outcome.is_ok() && !samples.is_empty() {
            self.attendance.speaks(self.name());
        }
        let fate = if outcome.is_ok() { Fate::Accepted } else { Fate::Unacknowledged };
        self.outlet.account.add(fate, samples.len() as u64);
        outcome
    }

    async fn hand_over(&self, samples: &[Sample]) -> Result<(), Undelivered> {
        let mut commits: Vec<Commit> = Vec::new();
        for chunk in samples.chunks(CHUNK) {
            let taken = self.outlet.intake.submit(Entry::Samples(Arc::new(chunk.to_vec())));
            match timeout(QUEUE_WITHIN, taken).await {
                Ok(Ok(commit)) => commits.push(commit),
                Ok(Err(_)) => return Err(Undelivered::NotDurable),
                Err(_) => return Err(Undelivered::QueueFull),
            }
        }
        let durable = async {
            for commit in commits {
                commit.durable().await.map_err(|_| Undelivered::NotDurable)?;
            }
            Ok(())
        };
        timeout(COMMIT_WITHIN, durable).await.unwrap_or(Err(Undelivered::NotDurable))
    }
}
