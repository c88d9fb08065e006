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
        let spawned = upkeep.spawn_scoped(scope, move || keep_up(&kept, &|| stop_upkeep.is_cancelled() || ended.is_cancelled()));
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
    let mut table = board.points();
    let mut seen: Seq = 0;
    let mut told: Seq = 0;
    let mut oldest: Option<Stopwatch> = None;
    let mut refused: Option<Stopwatch> = None;
    loop {
        let stopping = stop.is_cancelled();
        let full = history.unflushed() >= history.options.flush_samples;
        let aged = oldest.is_some_and(|since| since.elapsed() >= history.options.flush_after);
        let waiting = refused.is_some_and(|since| since.elapsed() < RETRY_AFTER);
        if (full || aged || stopping) && (stopping || !waiting) {
            refused = flush(history).then(Stopwatch::start);
            if stopping && refused.is_none() {
                // A head that the disk had refused went first.
                flush(history);
            }
            if history.unflushed() == 0 {
                oldest = None;
            }
        }
        // What is not a sample is safe as soon as it was seen.
        let safe = if history.unflushed() == 0 { seen } else { history.flushed() };
        if safe > told {
            cursor.passed(safe);
            told = safe;
        }
        if stopping {
            return Ok(());
        }
        if history.unflushed() >= history.options.flush_samples {
            // The disk refuses: the journal keeps what comes until it does not.
            std::thread::park_timeout(GLANCE);
            continue;
        }
        for (seq, entry) in cursor.next(GLANCE)? {
            take(history, board, &mut table, seq, entry);
            seen = seq;
        }
        if oldest.is_none() && history.unflushed() > 0 {
            oldest = Some(Stopwatch::start());
        }
    }
}

fn take(history: &History, board: &Board, table: &mut Arc<PointTable>, seq: Seq, entry: Entry) {
    match entry {
        Entry::Samples(samples) => {
            // The board may be behind the journal or ahead of it; the larger table knows more points.
            if samples.iter().any(|sample| sample.point.at() >= table.len()) {
                let shown = board.points();
                if shown.len() > table.len() {
                    *table = shown;
                }
            }
            history.append(seq, &samples, table);
        }
        Entry::Note(Note::Setup(setup)) => *table = Arc::new(PointTable::new(setup.points.clone())),
        Entry::Tick(_)
        | Entry::Note(Note::Acknowledge(_) | Note::Condition(_) | Note::Receipt(_)) => {}
    }
}

/// True when the disk refused.
fn flush(history: &History) -> bool {
    match history.flush() {
        Ok(flushed) => {
            info!(seq = flushed.seq, samples = flushed.samples, files = flushed.files, bytes = flushed.bytes, "history flushed");
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
