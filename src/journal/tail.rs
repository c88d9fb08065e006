//! Durable entries, handed to whoever follows the journal: history, influxdb, the board.
//!
//! The newest entries are kept in memory, bounded by their samples and by time; a follower that falls further behind
//! reads the database instead and notices nothing but the time it takes. A follower's own place counts:
//! the journal keeps what somebody has not yet passed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::{Entry, Error, Reader, Seq};

/// Samples kept in memory for followers: 32 MB.
const KEPT_SAMPLES: usize = 1_000_000;
/// And ticks: a minute. Followers are behind by less, or they read from the disk; a gateway with little to do does not
/// fill its memory with hours that nobody asks for.
const KEPT_TICKS: usize = 120;
/// Entries handed out at once.
const MOST_ENTRIES: usize = 1_024;
/// Groups read from the database at once.
const MOST_GROUPS: usize = 64;

#[derive(Debug, Default)]
struct Recent {
    entries: VecDeque<(Seq, Entry)>,
    samples: usize,
    ticks: usize,
    last: Seq,
    closed: bool,
    /// What each consumer has said it passed.
    passed: BTreeMap<String, Seq>,
}

/// Opens cursors; cheap to clone.
#[derive(Clone, Debug)]
pub struct Tail {
    shared: Arc<(Mutex<Recent>, Condvar)>,
    reader: Arc<Reader>,
}

/// One consumer's place in the journal.
#[derive(Debug)]
pub struct Cursor {
    name: String,
    next: Seq,
    tail: Tail,
}

impl Tail {
    pub(super) fn new(reader: Reader, last: Seq, passed: Vec<(String, Seq)>) -> Self {
        let recent = Recent { last, passed: passed.into_iter().collect(), ..Recent::default() };
        Self { shared: Arc::new((Mutex::new(recent), Condvar::new())), reader: Arc::new(reader) }
    }

    /// The consumer's cursor, where it last said `passed`; a new name starts at the oldest entry kept.
    pub fn cursor(&self, name: &str) -> Result<Cursor, Error> {
        let mut recent = self.recent();
        let passed = *recent.passed.entry(name.to_owned()).or_insert(0);
        Ok(Cursor { name: name.to_owned(), next: passed + 1, tail: self.clone() })
    }

    /// A follower that holds nothing back and starts behind the newest entry.
    #[must_use]
    pub fn from_now(&self) -> Cursor {
        Cursor { name: String::new(), next: self.recent().last + 1, tail: self.clone() }
    }

    /// Newest durable entry.
    #[must_use]
    pub fn last(&self) -> Seq {
        self.recent().last
    }

    #[cfg(test)]
    pub fn in_memory(&self) -> usize {
        self.recent().entries.len()
    }

    /// Waits until `seq` is durable; false when it is not after `patience`.
    #[must_use]
    pub fn wait_for(&self, seq: Seq, patience: Duration) -> bool {
        let (recent, _) = self
            .shared
            .1
            .wait_timeout_while(self.recent(), patience, |recent| recent.last < seq && !recent.closed)
            .unwrap_or_else(PoisonError::into_inner);
        recent.last >= seq
    }

    pub(super) fn push(&self, entries: impl Iterator<Item = (Seq, Entry)>) {
        let mut recent = self.recent();
        for (seq, entry) in entries {
            recent.samples += weight(&entry);
            recent.ticks += usize::from(matches!(entry, Entry::Tick(_)));
            recent.last = seq;
            recent.entries.push_back((seq, entry));
        }
        while (recent.samples > KEPT_SAMPLES || recent.ticks > KEPT_TICKS)
            && let Some((_, oldest)) = recent.entries.pop_front()
        {
            recent.samples -= weight(&oldest);
            recent.ticks -= usize::from(matches!(oldest, Entry::Tick(_)));
        }
        drop(recent);
        self.shared.1.notify_all();
    }

    /// No more will come: waiting followers return at once.
    pub(super) fn close(&self) {
        self.recent().closed = true;
        self.shared.1.notify_all();
    }

    pub(super) fn passed(&self) -> Vec<(String, Seq)> {
        self.recent().passed.iter().map(|(name, seq)| (name.clone(), *seq)).collect()
    }

    /// How far each consumer is behind, in entries.
    #[must_use]
    pub fn lags(&self) -> Vec<(String, u64)> {
        let recent = self.recent();
        recent.passed.iter().map(|(name, seq)| (name.clone(), recent.last.saturating_sub(*seq))).collect()
    }

    fn recent(&self) -> std::sync::MutexGuard<'_, Recent> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An entry without samples costs memory too.
fn weight(entry: &Entry) -> usize {
    match entry {
        Entry::Samples(samples) => samples.len() + 4,
        Entry::Tick(_) | Entry::Note(_) => 4,
    }
}

impl Cursor {
    /// The next durable entries in order; waits up to `wait` for one. Empty: none came.
    pub fn next(&mut self, wait: Duration) -> Result<Vec<(Seq, Entry)>, Error> {
        let recent = self.tail.recent();
        let (recent, _) = self
            .tail
            .shared
            .1
            .wait_timeout_while(recent, wait, |recent| recent.last < self.next && !recent.closed)
            .unwrap_or_else(PoisonError::into_inner);
        if recent.last < self.next {
            return Ok(Vec::new());
        }
        let entries: Vec<_> = match recent.entries.front() {
            Some((oldest, _)) if *oldest <= self.next => {
                let skip = usize::try_from(self.next - oldest).unwrap_or(usize::MAX);
                recent.entries.iter().skip(skip).take(MOST_ENTRIES).cloned().collect()
            }
            Some(_) | None => {
                drop(recent);
                self.tail.reader.entries(self.next, MOST_GROUPS)?
            }
        };
        match entries.last() {
            Some((seq, _)) => self.next = seq + 1,
            // Everything up to the newest was trimmed: go on behind it.
            None => self.next = self.tail.last() + 1,
        }
        Ok(entries)
    }

    /// Everything up to `seq` is safe elsewhere: after a restart this consumer begins behind it.
    pub fn passed(&mut self, seq: Seq) {
        if self.name.is_empty() {
            return;
        }
        let mut recent = self.tail.recent();
        let place = recent.passed.entry(self.name.clone()).or_insert(0);
        *place = (*place).max(seq);
    }

    /// Goes on behind `seq`: a consumer that keeps its own record of where it stands.
    pub fn skip_to(&mut self, seq: Seq) {
        self.next = self.next.max(seq + 1);
    }
}
