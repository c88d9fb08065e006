//! History: every sample for months, in Parquet files that pandas, DuckDB and polars open.
//!
//! ```text
//!  journal cursor ─► head (memory) ─► flush ─► raw/date=…/*.parquet ─► compaction ─► one big file a day
//!                      │                            │                                   │
//!                      └────────── samples(), rollups() read all three ─────────► 5min/, 1h/ (closed days)
//! ```
//! In come durable journal entries; out go samples and rollups of one point over a span of time.
//! Promised: each entry is stored exactly once, whatever moment the process is killed at. `index.db` is the
//! truth: a flush fsyncs its files first and then records all of them together with the entry number they
//! reach, in one transaction; a file that is not in the index is a leftover of a crash and is removed at
//! open. Exact repeats of (point, time, value, quality) are stored once and counted.
//! Never: a query that waits for a flush, a damaged file that hides the others or goes unmentioned.

pub mod bench;
mod compact;
mod config;
mod file;
mod flush;
mod follow;
mod footer;
mod head;
mod index;
mod look;
mod query;
mod rollup;
mod rollup_file;
mod row;
mod write;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::claim::claim;
use crate::engine::DOWN_TIME;
use crate::journal::Seq;
use crate::model::{PointTable, Quality, Sample, Timestamp};

pub use bench::{BenchFigures, bench};
pub use compact::{Compacted, Retired};
pub use config::{Config, Raw};
pub use flush::Flushed;
pub use follow::follow;
pub use look::{Look, Told};
pub use rollup::{Rollup, Step, Values};

use footer::Footers;
use head::{Head, Names};
use index::{Catalog, Index};

/// Where the files live, when the head is written out, and how long things are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub folder: PathBuf,
    /// The head is flushed when its oldest sample has waited this long ..
    pub flush_after: Duration,
    /// .. or when it holds this many samples (24 bytes each, and as many again while they are written).
    pub flush_samples: usize,
    /// `None`: for ever.
    pub keep_raw: Option<Duration>,
    pub keep_rollups: Option<Duration>,
}

impl Options {
    #[must_use]
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Config::default().options(folder)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("history {path}: {source}", path = path.display())]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("history {path}: cannot be written: {source}", path = path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: parquet::errors::ParquetError,
    },
    #[error("history {path}: cannot be read: {what}; restore the file from a backup or move it away", path = path.display())]
    Damaged { path: PathBuf, what: String },
    #[error("history index {path}: {source}", path = path.display())]
    Index {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },
    #[error("history index {path}: version {found} was written by a newer davy; this one reads version {known}", path = path.display())]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error("history index {path} is missing, but {files} history files are there; restore it from a backup, or move the files away", path = path.display())]
    IndexLost { path: PathBuf, files: usize },
    #[error("history folder {folder} is in use by another davy", folder = folder.display())]
    InUse { folder: PathBuf },
}

impl Error {
    fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::File { path: path.to_owned(), source }
    }

    fn write(path: &Path) -> impl FnOnce(parquet::errors::ParquetError) -> Self + '_ {
        move |source| Self::Write { path: path.to_owned(), source }
    }

    fn damaged(path: &Path) -> impl FnOnce(parquet::errors::ParquetError) -> Self + '_ {
        move |source| Self::Damaged { path: path.to_owned(), what: source.to_string() }
    }
}

/// One stored sample of the point that was asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    pub time: Timestamp,
    pub value: f64,
    pub quality: Quality,
}

/// The answer to a query. Files that could not be read are named, so that a gap is never mistaken for quiet.
#[derive(Clone, Debug, PartialEq)]
pub struct Found<T> {
    /// In time order.
    pub list: Vec<T>,
    /// There are later ones in the span; ask again from behind the last.
    pub more: bool,
    /// Files that belong to the span and could not be read.
    pub unreadable: Vec<PathBuf>,
}

/// What is stored, and what became of the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// In raw files and in memory.
    pub samples: u64,
    /// Of the raw files.
    pub bytes: u64,
    pub rollup_bytes: u64,
    pub files: u64,
    /// Samples in memory only; the journal still has them.
    pub unflushed: u64,
    /// Exact repeats that were not stored again, since the history was begun.
    pub duplicates: u64,
    /// Raw samples unlinked because their time was up, since the history was begun.
    pub retired: u64,
    /// Files that could not be read. Not zero: an alarm for the technician.
    pub damaged: Vec<PathBuf>,
    /// Samples whose point was not in the table; stored as `unknown.<index>`.
    pub unknown_points: u64,
}

/// The store. Shared by the follower that fills it and by whoever asks.
#[derive(Debug)]
pub struct History {
    options: Options,
    /// What readers see; held for microseconds only, never while a file is touched.
    now: Mutex<Now>,
    /// Held for one transaction at a time. Taken before `now`, never after it.
    index: Mutex<Index>,
    /// One flush at a time; taken before `index`. Holds what a failed attempt left behind.
    flushing: Mutex<flush::Attempt>,
    /// One compaction or retirement at a time; taken before `index`.
    upkeep: Mutex<()>,
    footers: Footers,
    serial: AtomicU64,
    /// Keeps a second process away for as long as it is open.
    _lock: File,
}

#[derive(Debug)]
struct Now {
    names: Names,
    head: Head,
    /// Being written, or waiting for a disk that refused it; readers still see it.
    frozen: Option<Arc<Head>>,
    catalog: Arc<Catalog>,
    unknown_points: u64,
    /// Newest tick that was seen.
    clock: Timestamp,
    /// Up to which tick the index says that Davy listened.
    recorded: Timestamp,
    /// When Davy listened, first and last tick; not recorded yet, or still going on.
    listened: Vec<(Timestamp, Timestamp)>,
}

impl History {
    /// Opens or begins a history; removes what a crash left behind.
    pub fn open(options: Options) -> Result<Self, Error> {
        let folder = options.folder.clone();
        std::fs::create_dir_all(&folder).map_err(Error::file(&folder))?;
        let lock =
            claim(&folder).map_err(Error::file(&folder))?.ok_or_else(|| Error::InUse { folder: folder.clone() })?;
        let index = Index::open(&folder)?;
        let catalog = index.catalog()?;
        let leftovers = index::sweep(&folder, &catalog)?;
        if leftovers > 0 {
            tracing::info!(folder = %folder.display(), leftovers, "removed unfinished history files of a crash");
        }
        Ok(Self {
            now: Mutex::new(Now {
                names: Names::default(),
                head: Head::behind(catalog.flushed),
                frozen: None,
                catalog: Arc::new(catalog),
                unknown_points: 0,
                clock: Timestamp::MIN,
                recorded: Timestamp::MIN,
                listened: Vec::new(),
            }),
            index: Mutex::new(index),
            flushing: Mutex::default(),
            upkeep: Mutex::default(),
            footers: Footers::default(),
            serial: AtomicU64::new(0),
            options,
            _lock: lock,
        })
    }

    /// Every sample of entries up to this number is in files.
    #[must_use]
    pub fn flushed(&self) -> Seq {
        self.now().catalog.flushed
    }

    /// Takes an entry's samples into the head. Entries that are already here are ignored, so that the
    /// journal may deliver again after a crash.
    pub fn append(&self, seq: Seq, samples: &[Sample], table: &PointTable) {
        let mut now = self.now();
        let now = &mut *now;
        if seq <= now.head.last_seq {
            let newest = samples.iter().map(|sample| sample.receive_time).max();
            if newest.is_none_or(|newest| newest <= now.newest_received()) {
                return;
            }
            // A sample received after everything that is here cannot have been delivered before: the
            // journal was begun anew, and its numbers mean something else now.
            tracing::warn!(
                seq,
                last = now.head.last_seq,
                "the journal's numbers begin anew; history goes on with the new ones"
            );
            Arc::make_mut(&mut now.catalog).flushed = seq.saturating_sub(1);
        }
        now.unknown_points += now.head.append(seq, samples, table, &mut now.names, &mut now.clock);
    }

    /// Time passed: what comes now comes behind this tick.
    pub fn tick(&self, tick: Timestamp) {
        let mut now = self.now();
        now.clock = tick;
        match now.listened.last_mut() {
            Some((_, until)) if *until <= tick && tick.since(*until) <= DOWN_TIME => *until = tick,
            Some(_) | None => now.listened.push((tick, tick)),
        }
    }

    /// For how long Davy has listened without the index saying so.
    fn unrecorded(&self) -> Duration {
        let now = self.now();
        let since = now.listened.first().map_or(now.recorded, |(since, _)| now.recorded.max(*since));
        now.listened.last().map_or(Duration::ZERO, |(_, until)| until.since(since))
    }

    /// Samples in memory only.
    #[must_use]
    pub fn unflushed(&self) -> usize {
        let now = self.now();
        now.head.len() + now.frozen.as_ref().map_or(0, |frozen| frozen.len())
    }

    #[must_use]
    pub fn stored(&self) -> Stats {
        let now = self.now();
        let unflushed = (now.head.len() + now.frozen.as_ref().map_or(0, |frozen| frozen.len())) as u64;
        let catalog = now.catalog.clone();
        let unknown_points = now.unknown_points;
        drop(now);
        let mut stats = Stats {
            samples: unflushed,
            unflushed,
            duplicates: catalog.duplicates,
            retired: catalog.retired,
            unknown_points,
            ..Stats::default()
        };
        for file in catalog.raw.values().flatten() {
            stats.samples += file.rows;
            stats.bytes += file.bytes;
            stats.files += 1;
        }
        for file in catalog.rolled.iter().flat_map(BTreeMap::values) {
            stats.rollup_bytes += file.bytes;
            stats.files += 1;
        }
        let all = catalog.raw.values().flatten().chain(catalog.rolled.iter().flat_map(BTreeMap::values));
        stats.damaged = all.filter(|file| file.is_damaged()).map(|file| file.path.clone()).collect();
        stats
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A name for a new file, never used before in this folder: a restart begins a new millisecond.
    fn new_name(&self) -> String {
        let serial = self.serial.fetch_add(1, Relaxed);
        format!("{:013x}-{serial:06}.parquet", crate::clock::now().micros())
    }
}

impl Now {
    /// These are in the index; the last one goes on.
    fn note_recorded(&mut self, listened: &[(Timestamp, Timestamp)]) {
        self.listened.drain(..listened.len().saturating_sub(1));
        self.recorded = listened.last().map_or(self.recorded, |(_, until)| *until);
    }

    fn newest_received(&self) -> Timestamp {
        let frozen = self.frozen.as_ref().map_or(Timestamp::MIN, |frozen| frozen.newest_received);
        self.catalog.newest_received.max(self.head.newest_received).max(frozen)
    }
}
