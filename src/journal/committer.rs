//! The committer thread: makes groups durable, says so to everybody who waits, and drops what all have passed.
//!
//! Apart from the writer, so that a disk that hangs holds back acknowledgements and nothing else: the engine
//! goes on judging, and its alarms go out.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use tokio::sync::{oneshot, watch};
use tracing::error;

use super::store::Store;
use super::{ENGINE, Entry, Error, Numbers, Seq, Tail};
use crate::clock::Stopwatch;
use crate::ledger::{Account, Fate};

/// How often cursors are written down and passed groups dropped; each time costs a commit.
const TRIM_EVERY: Duration = Duration::from_secs(10);
/// While there is more to drop.
const TRIM_AGAIN: Duration = Duration::from_millis(200);

/// A finished group on its way to the disk.
#[derive(Debug)]
pub struct Pending {
    pub body: Vec<u8>,
    pub samples: usize,
    /// Never empty.
    pub entries: Vec<(Seq, Entry)>,
    pub waiting: Vec<(Seq, oneshot::Sender<Seq>)>,
}

pub struct Committer {
    pub store: Store,
    pub tail: Tail,
    pub durable: watch::Sender<Seq>,
    pub numbers: Arc<Numbers>,
    pub account: Arc<Account>,
    pub most_bytes: u64,
}

impl Committer {
    /// Until the writer has gone, or until a write fails.
    pub fn run(mut self, groups: &Receiver<Pending>) -> Result<(), Error> {
        let result = self.work(groups);
        if let Err(cause) = &result {
            self.numbers.poisoned.store(true, Relaxed);
            error!(%cause, "the journal cannot be written: nothing more is acknowledged");
        }
        self.tail.close();
        result
    }

    fn work(&mut self, groups: &Receiver<Pending>) -> Result<(), Error> {
        let (mut trimmed, mut trim_after) = (Stopwatch::start(), TRIM_EVERY);
        loop {
            match groups.recv_timeout(trim_after.saturating_sub(trimmed.elapsed())) {
                Ok(pending) => self.commit(pending)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.trim()?;
                    return Ok(());
                }
            }
            if trimmed.elapsed() >= trim_after {
                trim_after = self.trim()?;
                trimmed = Stopwatch::start();
            }
        }
    }

    fn commit(&mut self, pending: Pending) -> Result<(), Error> {
        let Pending { body, samples, entries, waiting } = pending;
        let (Some((first, _)), Some((last, _))) = (entries.first(), entries.last()) else { return Ok(()) };
        let watch = Stopwatch::start();
        self.store.commit(*first, *last, samples, &body)?;
        let took = u64::try_from(watch.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.numbers.slowest_commit_us.fetch_max(took, Relaxed);
        self.numbers.commits.fetch_add(1, Relaxed);
        self.numbers.entries.fetch_add(entries.len() as u64, Relaxed);
        self.numbers.samples.fetch_add(samples as u64, Relaxed);
        self.numbers.bytes.fetch_add(body.len() as u64, Relaxed);
        self.durable.send_replace(*last);
        for (seq, waiting) in waiting {
            // Whoever asked may have gone; the entry is durable all the same.
            waiting.send(seq).ok();
        }
        self.tail.push(entries.into_iter());
        Ok(())
    }

    /// Returns when to come again.
    fn trim(&mut self) -> Result<Duration, Error> {
        let cursors = self.tail.passed();
        let engine = cursors.iter().find(|(name, _)| name == ENGINE).map_or(0, |(_, seq)| *seq);
        let trimmed = self.store.trim(&cursors, engine, self.most_bytes)?;
        self.account.add(Fate::Trimmed, trimmed.lost);
        Ok(if trimmed.more { TRIM_AGAIN } else { TRIM_EVERY })
    }
}
