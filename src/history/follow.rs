//! The follower: journal to history, on a thread of its own, with another one for the upkeep.
//!
//! In come durable entries; the head is flushed by size or age, and only then is the journal told that they
//! are safe. While the disk refuses, the head stops growing and the journal keeps the rest: nothing is lost,
//! memory stays bounded, and every failure is logged. A final flush when stopped.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::History;
use crate::board::Board;
use crate::clock::{self, Stopwatch};
use crate::journal::{Cursor, Entry, Error as JournalError, Note, Seq};
use crate::model::PointTable;

/// How long the follower sleeps at the most before it looks at the clock and at `stop`.
const GLANCE: Duration = Duration::from_millis(200);
/// After a flush that failed.
const RETRY_AFTER: Duration = Duration::from_secs(5);
const COMPACT_EVERY: Duration = Duration::from_secs(60);
const RETIRE_EVERY: Duration = Duration::from_secs(3_600);

/// Runs until `stop`; ends early only when the journal cannot be read any more.
pub fn follow(
    history: &Arc<History>,
    cursor: Cursor,
    board: &Arc<Board>,
    stop: &CancellationToken,
) -> Result<(), JournalError> {
    let done = CancellationToken::new();
    std::thread::scope(|scope| {
        let upkeep = std::thread::Builder::new().name("history-upkeep".into());
        let (kept, ended) = (history.clone(), done.clone());
        let stop_upkeep = stop.clone();
        let spawned =
            upkeep.spawn_scoped(scope, move || keep_up(&kept, &|| stop_upkeep.is_cancelled() || ended.is_cancelled()));
        if let Err(cause) = spawned {
            error!(%cause, "no thread for the upkeep of the history: files are not merged and nothing is retired");
        }
        let result = take_in(history, cursor, board, stop);
        done.cancel();
        result
    })
}

fn take_in(
    history: &Arc<History>,
    mut cursor: Cursor,
    board: &Arc<Board>,
    stop: &CancellationToken,
) -> Result<(), JournalError> {
    let mut follower = Follower::new(history, board);
    let mut told: Seq = 0;
    loop {
        let stopping = stop.is_cancelled();
        follower.flush_if_due(stopping);
        let safe = follower.safe();
        if safe > told {
            cursor.passed(safe);
            told = safe;
        }
        if stopping {
            return Ok(());
        }
        if follower.is_full() {
            // The disk refuses: the journal keeps what comes until it does not.
            std::thread::park_timeout(GLANCE);
        } else {
            follower.take(cursor.next(GLANCE)?);
        }
    }
}

/// Where the follower stands between two looks at the journal.
struct Follower<'a> {
    history: &'a History,
    board: &'a Board,
    table: Arc<PointTable>,
    seen: Seq,
    /// Since when something waits in the head.
    oldest: Option<Stopwatch>,
    /// Since when the disk refuses.
    refused: Option<Stopwatch>,
}

impl<'a> Follower<'a> {
    fn new(history: &'a History, board: &'a Board) -> Self {
        Self { history, board, table: board.points(), seen: 0, oldest: None, refused: None }
    }

    fn is_full(&self) -> bool {
        self.history.unflushed() >= self.history.options.flush_samples
    }

    fn flush_if_due(&mut self, stopping: bool) {
        let aged = self.oldest.is_some_and(|since| since.elapsed() >= self.history.options.flush_after);
        let waiting = self.refused.is_some_and(|since| since.elapsed() < RETRY_AFTER);
        let unsaid = self.history.unrecorded() >= self.history.options.flush_after;
        if !(stopping || (!waiting && (aged || unsaid || self.is_full()))) {
            return;
        }
        self.refused = flush(self.history).then(Stopwatch::start);
        if self.refused.is_none() && self.history.unflushed() > 0 {
            // A head that the disk had refused went first.
            self.refused = flush(self.history).then(Stopwatch::start);
        }
        if self.history.unflushed() == 0 {
            self.oldest = None;
        }
    }

    /// The journal need not keep anything up to here. What is not a sample is safe as soon as it was seen.
    fn safe(&self) -> Seq {
        if self.history.unflushed() == 0 { self.seen } else { self.history.flushed().min(self.seen) }
    }

    fn take(&mut self, entries: Vec<(Seq, Entry)>) {
        for (seq, entry) in entries {
            self.take_entry(seq, entry);
            self.seen = seq;
        }
        if self.oldest.is_none() && self.history.unflushed() > 0 {
            self.oldest = Some(Stopwatch::start());
        }
    }

    fn take_entry(&mut self, seq: Seq, entry: Entry) {
        match entry {
            Entry::Samples(samples) => {
                // The board may be behind the journal or ahead of it; the larger table knows more points.
                if samples.iter().any(|sample| sample.point.at() >= self.table.len()) {
                    let shown = self.board.points();
                    if shown.len() > self.table.len() {
                        self.table = shown;
                    }
                }
                self.history.append(seq, &samples, &self.table);
            }
            Entry::Note(Note::Setup(setup)) => self.table = Arc::new(PointTable::new(setup.points.clone())),
            Entry::Tick(tick) => self.history.tick(tick),
            Entry::Note(
                Note::Acknowledge(_)
                | Note::Condition(_)
                | Note::Receipt(_)
                | Note::PermitOpened(_)
                | Note::PermitEnded(_)
                | Note::SiteSet(_)
                | Note::Exercise(_)
                | Note::Rules(_)
                | Note::Record(_)
                | Note::Reset(_)
                | Note::Aside(_)
                | Note::Case(_)
                | Note::Duty(_)
                | Note::Limits(_),
            ) => {}
        }
    }
}

/// True when the disk refused.
fn flush(history: &History) -> bool {
    match history.flush() {
        Ok(flushed) => {
            info!(
                seq = flushed.seq,
                samples = flushed.samples,
                files = flushed.files,
                bytes = flushed.bytes,
                "history flushed"
            );
            false
        }
        Err(cause) => {
            error!(%cause, retry = ?RETRY_AFTER, "history cannot be written; the journal keeps the samples");
            true
        }
    }
}

fn keep_up(history: &History, stopped: &dyn Fn() -> bool) {
    let mut compacted = Stopwatch::start();
    let mut retired: Option<Stopwatch> = None;
    while !stopped() {
        if retired.is_none_or(|since| since.elapsed() >= RETIRE_EVERY) {
            retired = Some(Stopwatch::start());
            match history.retire(clock::now()) {
                Ok(done) if done.files > 0 => {
                    info!(days = done.days, files = done.files, samples = done.samples, "history retired");
                }
                Ok(_) => {}
                Err(cause) => warn!(%cause, "old history could not be retired; tried again in an hour"),
            }
        }
        if compacted.elapsed() >= COMPACT_EVERY {
            match history.compact_while(clock::now(), &|| !stopped()) {
                Ok(done) if done.merges + done.rolled_days > 0 => info!(
                    merges = done.merges,
                    files_before = done.files_before,
                    bytes_before = done.bytes_before,
                    bytes_after = done.bytes_after,
                    rolled_days = done.rolled_days,
                    "history compacted"
                ),
                Ok(_) => {}
                Err(cause) => warn!(%cause, "history could not be compacted; tried again in a minute"),
            }
            compacted = Stopwatch::start();
        }
        std::thread::park_timeout(GLANCE);
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::table;
    use super::super::{Options, tests::sample};
    use super::*;
    use crate::journal::Setup;
    use crate::model::Timestamp;

    fn samples(seq: Seq, point: u32) -> (Seq, Entry) {
        (seq, Entry::Samples(Arc::new(vec![sample(point, seq as i64, 1.0)])))
    }

    /// What the journal may forget is never more than what is in files, and idle ticks do not hold it up.
    #[test]
    fn the_journal_is_told_only_what_is_in_files() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::open(Options { flush_samples: 3, ..Options::at(folder.path()) }).unwrap();
        let board = Board::new();
        let mut follower = Follower::new(&history, &board);
        let setup = Setup::of(table(2).list().to_vec());
        follower.take(vec![(1, Entry::Note(Note::Setup(Arc::new(setup)))), (2, Entry::Tick(Timestamp::from_secs(1)))]);
        follower.flush_if_due(false);
        assert_eq!(follower.safe(), 2);
        follower.take(vec![samples(3, 0), samples(4, 1), (5, Entry::Tick(Timestamp::from_secs(2)))]);
        follower.flush_if_due(false);
        assert_eq!((follower.safe(), history.stored().files), (0, 0), "neither full nor old");
        follower.take(vec![samples(6, 0)]);
        follower.flush_if_due(false);
        assert_eq!((follower.safe(), history.flushed(), history.stored().files), (6, 6, 1));
        follower.take(vec![samples(7, 0), (8, Entry::Tick(Timestamp::from_secs(3)))]);
        assert_eq!(follower.safe(), 6);
        follower.flush_if_due(true);
        assert_eq!((follower.safe(), history.flushed()), (8, 7), "a stop writes the rest");
        assert_eq!(history.stored().unknown_points, 0, "the journal's setup names the points");
    }

    /// The disk refuses for a while: the head stops at its bound, the journal is told nothing.
    #[test]
    fn while_the_disk_refuses_the_journal_keeps_everything() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::open(Options { flush_samples: 2, ..Options::at(folder.path()) }).unwrap();
        let board = Board::new();
        board.set_points(Arc::new(table(2)));
        let mut follower = Follower::new(&history, &board);
        std::fs::write(folder.path().join("raw"), b"in the way").unwrap();
        follower.take(vec![samples(1, 0), samples(2, 1)]);
        follower.flush_if_due(false);
        assert!(follower.is_full());
        assert_eq!(follower.safe(), 0);
        std::fs::remove_file(folder.path().join("raw")).unwrap();
        follower.flush_if_due(false);
        assert_eq!(follower.safe(), 0, "not tried again at once");
        follower.flush_if_due(true);
        assert_eq!((follower.safe(), history.stored().samples, follower.is_full()), (2, 2, false));
    }
}
