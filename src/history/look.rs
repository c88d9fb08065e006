//! A look at stored samples from outside: a backtest beside a gateway that runs, or with none running.
//!
//! In comes the history's folder, out go rows of one point after the other. The index is opened for reading only
//! and nothing is locked, so that whoever writes is not disturbed; what a running gateway still has in memory
//! (`[history] flush`) is not seen. A file that a compaction replaced meanwhile is looked up anew.

use std::path::{Path, PathBuf};

use super::Error;
use super::file::Opened;
use super::footer::Footers;
use super::index::{Catalog, Index};
use super::row::{Row, day_of, tidy};
use crate::model::{PointIndex, Sample, TICK, Timestamp};

/// Files and times as they were at the last look.
#[derive(Debug)]
pub struct Look {
    folder: PathBuf,
    catalog: Catalog,
    listened: Vec<(Timestamp, Timestamp)>,
    footers: Footers,
    unreadable: Vec<PathBuf>,
}

/// A stored sample with the tick behind which it came.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Told {
    pub behind: Timestamp,
    /// Its receive time is the latest that it can have been.
    pub sample: Sample,
}

impl Look {
    /// The folder is the history's own, `data/history`.
    pub fn at(folder: &Path) -> Result<Self, Error> {
        let index = Index::look(folder)?;
        let (catalog, listened) = (index.catalog()?, index.listened()?);
        let footers = Footers::default();
        Ok(Self { folder: folder.to_owned(), catalog, listened, footers, unreadable: Vec::new() })
    }

    /// Times of the oldest and the newest sample in files.
    #[must_use]
    pub fn span(&self) -> Option<(Timestamp, Timestamp)> {
        let files = || self.catalog.raw.values().flatten();
        let first = files().map(|file| file.min_time).min()?;
        let last = files().map(|file| file.max_time).max()?;
        Some((Timestamp::from_micros(first), Timestamp::from_micros(last)))
    }

    /// When Davy listened, from first tick to last; empty where that was not recorded.
    #[must_use]
    pub fn listened(&self) -> &[(Timestamp, Timestamp)] {
        &self.listened
    }

    /// Files that belonged to what was asked for and could not be read.
    #[must_use]
    pub fn unreadable(&self) -> &[PathBuf] {
        &self.unreadable
    }

    /// The samples of a point with source times in `[from, to)`, in their order, appended.
    pub fn read(
        &mut self,
        point: (PointIndex, &str),
        from: Timestamp,
        to: Timestamp,
        into: &mut Vec<Told>,
    ) -> Result<(), Error> {
        let (index, id) = point;
        let mut rows = Vec::new();
        for day in day_of(from.micros())..=day_of(to.micros().saturating_sub(1)) {
            if !self.day(id, day, (from.micros(), to.micros()), &mut rows) {
                let fresh = Self::at(&self.folder)?;
                (self.catalog, self.listened) = (fresh.catalog, fresh.listened);
                if !self.day(id, day, (from.micros(), to.micros()), &mut rows) {
                    self.note_unreadable(day);
                }
            }
            tidy(&mut rows);
            into.extend(rows.drain(..).map(|row| told(index, &row)));
        }
        Ok(())
    }

    /// False when a file could not be read; the others' rows are there.
    fn day(&self, id: &str, day: i64, (from, to): (i64, i64), rows: &mut Vec<Row>) -> bool {
        rows.clear();
        let mut sound = true;
        for file in self.catalog.raw.get(&day).into_iter().flatten() {
            if file.max_time < from || file.min_time >= to {
                continue;
            }
            let before = rows.len();
            let read = Opened::open_raw(&file.path, &self.footers).and_then(|opened| opened.rows(id, from, to, rows));
            if read.is_err() {
                rows.truncate(before);
                self.footers.forget(&file.path);
                sound = false;
            }
        }
        sound
    }

    fn note_unreadable(&mut self, day: i64) {
        for file in self.catalog.raw.get(&day).into_iter().flatten() {
            let sound = Opened::open_raw(&file.path, &self.footers).is_ok();
            if !sound && !self.unreadable.contains(&file.path) {
                self.unreadable.push(file.path.clone());
            }
        }
    }
}

fn told(point: PointIndex, row: &Row) -> Told {
    let behind = row.arrival();
    let source_time = Timestamp::from_micros(row.time);
    let received = source_time.max(behind).min(behind + (TICK - std::time::Duration::from_micros(1)));
    let sample = Sample { point, quality: row.quality, source_time, receive_time: received, value: row.value };
    Told { behind, sample }
}
