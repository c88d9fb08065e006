//! The writer thread: gives every entry its number, hands it to the engine at once, forms groups.
//!
//! A group goes to the committer when it is due and the committer is free; while the disk is busy the open
//! group grows, so that a slow disk is met with larger groups.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::warn;

use super::committer::{Committer, Pending};
use super::store::{Folder, Store};
use super::{Entry, Error, Intake, Marks, Options, Reader, Seq, Submission, Tail, codec};
use crate::clock::Stopwatch;
use crate::ledger::Account;
use crate::model::Sample;

/// Entries between the writer and the engine. When it is full the writer waits, and so does everybody
/// before it: the engine is never skipped.
const FEED_QUEUE: usize = 1_024;
/// Neighbouring small batches are joined up to this many samples, so that thousands of slow sensors cost
/// the engine no more than one quick one.
const JOINED_SAMPLES: usize = 2_048;
/// An idle writer looks this often whether the committer still lives.
const IDLE: Duration = Duration::from_millis(250);
/// A group is due, but the committer has one in hand and one waiting.
const COMMITTER_BUSY: Duration = Duration::from_millis(1);
const FOLD_EVERY: Duration = Duration::from_secs(1);
/// An open group never grows beyond this, whatever the configuration says.
const LARGEST_GROUP_BYTES: usize = 16 << 20;

/// The engine's end of the journal: entries in order, before they are durable.
#[derive(Debug)]
pub struct Feed(pub(super) Receiver<(Seq, Entry)>);

impl Feed {
    /// The next entry; `None` when the journal has closed and nothing is left.
    #[must_use]
    pub fn next(&self) -> Option<(Seq, Entry)> {
        self.0.recv().ok()
    }
}

/// Up to which entry everything is on the disk.
#[derive(Clone, Debug)]
pub struct Durable(watch::Receiver<Seq>);

impl Durable {
    #[must_use]
    pub fn seq(&self) -> Seq {
        *self.0.borrow()
    }
}

/// Counters of the writer, for `/metrics` and the benchmark.
#[derive(Debug, Default)]
pub struct Numbers {
    pub commits: AtomicU64,
    pub entries: AtomicU64,
    pub samples: AtomicU64,
    pub bytes: AtomicU64,
    /// Longest commit, microseconds.
    pub slowest_commit_us: AtomicU64,
    /// A write failed: nothing more is acknowledged.
    pub poisoned: AtomicBool,
}

/// An open journal. Dropping every `Intake` closes it after a last commit.
#[derive(Debug)]
pub struct Journal {
    pub tail: Tail,
    pub durable: Durable,
    pub numbers: Arc<Numbers>,
    thread: JoinHandle<Result<(), Error>>,
    committer: JoinHandle<Result<(), Error>>,
}

impl Journal {
    /// Opens or creates the journal and starts its writer. `consumers` are the cursors that may hold
    /// entries back; numbers up to `floor` are taken (facts may have seen an entry that a power cut took
    /// from the journal); `account` counts what had to be trimmed unseen.
    pub fn open(
        options: &Options,
        consumers: &[&str],
        floor: Seq,
        account: Arc<Account>,
    ) -> Result<(Self, Intake, Feed), Error> {
        let mut store = Store::open(&options.path)?;
        store.keep_cursors(consumers)?;
        let last = store.last()?.max(floor);
        let tail = Tail::new(Reader::open(&options.path)?, last, store.cursors()?);
        for name in consumers {
            drop(tail.cursor(name)?);
        }
        let (intake, submissions) = Intake::with_capacity(Intake::QUEUE);
        let (feed, fed) = crossbeam_channel::bounded(FEED_QUEUE);
        let (durable, durable_seen) = watch::channel(last);
        let numbers = Arc::new(Numbers::default());
        let (commits, groups) = crossbeam_channel::bounded(1);
        let committer = Committer {
            store,
            tail: tail.clone(),
            durable,
            numbers: numbers.clone(),
            account,
            most_bytes: options.most_bytes,
        };
        let writer = Writer {
            options: options.clone(),
            next: last + 1,
            group: codec::Group::default(),
            open: Vec::new(),
            marks: Marks::default(),
            samples: 0,
            waiting: Vec::new(),
            opened: Stopwatch::start(),
            due: false,
            feed,
            commits,
            numbers: numbers.clone(),
        };
        let (writing, ended) = crossbeam_channel::bounded::<()>(0);
        fold_beside(Folder::open(&options.path)?, ended);
        let committer_thread = thread("journal-commit", move || {
            let result = committer.run(&groups);
            drop(writing);
            result
        });
        let thread = thread("journal", move || writer.run(submissions));
        Ok((
            Self { tail, durable: Durable(durable_seen), numbers, thread, committer: committer_thread },
            intake,
            Feed(fed),
        ))
    }

    /// Waits for the last commit.
    pub fn join(self) -> Result<(), Error> {
        // The committer's error says why; the writer's only that there is no committer.
        let written = self.thread.join().unwrap_or(Err(Error::Closed));
        self.committer.join().unwrap_or(Err(Error::Closed)).and(written)
    }

    /// Has a part of it ended, in good order or not?
    #[must_use]
    pub fn ended(&self) -> bool {
        self.thread.is_finished() || self.committer.is_finished()
    }
}

fn thread<T: Send + 'static>(name: &str, body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    std::thread::Builder::new().name(name.into()).spawn(body).expect("the operating system gives a thread at the start")
}

/// Folds the write-ahead log once a second until the committer has ended.
fn fold_beside(folder: Folder, ended: Receiver<()>) {
    let fold = move || {
        while ended.recv_timeout(FOLD_EVERY) == Err(crossbeam_channel::RecvTimeoutError::Timeout) {
            if let Err(cause) = folder.fold() {
                warn!(%cause, "the journal's write-ahead log could not be folded; the writer will do it");
            }
        }
    };
    drop(thread("journal-fold", fold));
}

struct Writer {
    options: Options,
    next: Seq,
    group: codec::Group,
    open: Vec<(Seq, Entry)>,
    marks: Marks,
    samples: usize,
    waiting: Vec<(Seq, oneshot::Sender<Seq>)>,
    opened: Stopwatch,
    /// The open group should be on its way, but the committer was busy.
    due: bool,
    feed: Sender<(Seq, Entry)>,
    commits: Sender<Pending>,
    numbers: Arc<Numbers>,
}

impl Writer {
    fn run(mut self, mut submissions: mpsc::Receiver<Submission>) -> Result<(), Error> {
        // A runtime of its own only to wait with a deadline.
        let waits = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a timer needs nothing from the operating system");
        waits.block_on(self.write(&mut submissions))
    }

    async fn write(&mut self, submissions: &mut mpsc::Receiver<Submission>) -> Result<(), Error> {
        let mut inbox = Vec::with_capacity(Intake::QUEUE);
        loop {
            let wait = if self.due {
                COMMITTER_BUSY
            } else if self.open.is_empty() {
                IDLE
            } else {
                self.options.group_wait.saturating_sub(self.opened.elapsed())
            };
            let received = tokio::time::timeout(wait, submissions.recv_many(&mut inbox, Intake::QUEUE)).await;
            let closed = received == Ok(0);
            let hurried = self.take(&mut inbox);
            let full = self.group.len() >= self.options.group_bytes.min(LARGEST_GROUP_BYTES);
            let waited = !self.open.is_empty() && self.opened.elapsed() >= self.options.group_wait;
            if hurried || full || waited || self.due || closed {
                self.commit(closed)?;
            }
            if self.numbers.poisoned.load(Relaxed) {
                return Err(Error::Closed);
            }
            if closed {
                return Ok(());
            }
        }
    }

    /// Numbers what came in and hands it on; true when somebody hurries.
    fn take(&mut self, inbox: &mut Vec<Submission>) -> bool {
        let mut hurried = false;
        let mut joined: Vec<Sample> = Vec::new();
        let mut joined_waiting = Vec::new();
        for submission in inbox.drain(..) {
            match submission {
                Submission::Hurry => hurried = true,
                Submission::Know(marks) => self.marks = *marks,
                Submission::Entry(Entry::Samples(samples), waiting) if samples.len() < JOINED_SAMPLES => {
                    if joined.len() + samples.len() > JOINED_SAMPLES {
                        self.admit(Entry::Samples(Arc::new(std::mem::take(&mut joined))), &mut joined_waiting);
                    }
                    if joined.is_empty() {
                        joined = Arc::unwrap_or_clone(samples);
                    } else {
                        joined.extend_from_slice(&samples);
                    }
                    joined_waiting.extend(waiting);
                }
                Submission::Entry(entry, waiting) => {
                    if !joined.is_empty() {
                        self.admit(Entry::Samples(Arc::new(std::mem::take(&mut joined))), &mut joined_waiting);
                    }
                    self.admit(entry, &mut waiting.into_iter().collect());
                }
            }
        }
        if !joined.is_empty() || !joined_waiting.is_empty() {
            self.admit(Entry::Samples(Arc::new(joined)), &mut joined_waiting);
        }
        hurried
    }

    fn admit(&mut self, mut entry: Entry, waiting: &mut Vec<oneshot::Sender<Seq>>) {
        if self.open.is_empty() {
            self.opened = Stopwatch::start();
        }
        match &mut entry {
            Entry::Samples(samples) if samples.iter().any(|sample| self.marks.concern(sample)) => {
                self.marks.stamp(Arc::<Vec<Sample>>::make_mut(samples));
            }
            Entry::Samples(_) | Entry::Tick(_) => {}
            Entry::Note(note) => self.marks.note(note),
        }
        let seq = self.next;
        self.next += 1;
        // The engine may be gone when the gateway stops; what it did not judge is judged at the next start.
        drop(self.feed.send((seq, entry.clone())));
        self.group.push(&entry);
        if let Entry::Samples(samples) = &entry {
            self.samples += samples.len();
        }
        self.open.push((seq, entry));
        self.waiting.extend(waiting.drain(..).map(|waiting| (seq, waiting)));
    }

    /// Hands the open group over. While the committer is busy the group stays open and grows, up to its bound;
    /// then the writer waits, and so does everybody before it.
    fn commit(&mut self, closing: bool) -> Result<(), Error> {
        self.due = false;
        if self.open.is_empty() {
            return Ok(());
        }
        if self.commits.is_full() && self.group.len() < LARGEST_GROUP_BYTES && !closing {
            self.due = true;
            return Ok(());
        }
        let pending = Pending {
            body: self.group.finish(),
            samples: std::mem::take(&mut self.samples),
            entries: std::mem::take(&mut self.open),
            waiting: std::mem::take(&mut self.waiting),
        };
        self.commits.send(pending).map_err(|_| Error::Closed)
    }
}
