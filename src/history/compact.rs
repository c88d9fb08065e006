//! Upkeep: small files of a day become one, closed days get their rollups, old days go.
//!
//! ```text
//!  8 of level 0 ─► level 1,  8 of level 1 ─► level 2, ...   while the day runs
//!  all of a day ─► one                                      an hour after it ended
//! ```
//! A merge reads sorted files point by point (memory: one point's day and one row group) and is swapped in by
//! one transaction. It runs beside queries and flushes. Never: a file removed before what replaces it is on
//! the disk and recorded; a damaged file merged or removed before its time is up.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::file::{Opened, Stream};
use super::flush::discard_on_error;
use super::index::{Catalog, Change, FileKind, Stored};
use super::rollup::{HOLD, Step, fold};
use super::rollup_file::RollupWriter;
use super::row::{DAY_MICROS, Row, date_text, day_start, tidy};
use super::write::{Press, RawWriter};
use super::{Error, History};
use crate::model::Timestamp;

/// Files of one level that are merged together.
const FAN: usize = 8;
/// Files open at once in a merge.
const MOST_FILES: usize = 64;
/// A file with so many rows is not rewritten any more.
const FULL_ROWS: u64 = 200_000_000;
/// A day is closed so long after its end; what comes later is late data.
const CLOSED_AFTER: Duration = Duration::from_secs(3_600);
/// Rollups of a day into which late data trickles are made anew no more often than this.
const ROLL_AGAIN_AFTER: Duration = Duration::from_secs(3_600);

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    pub merges: u64,
    pub files_before: u64,
    pub files_after: u64,
    pub samples: u64,
    pub bytes_before: u64,
    pub bytes_after: u64,
    pub duplicates: u64,
    /// Days whose rollups were made.
    pub rolled_days: u64,
}

/// What went because its time was up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retired {
    pub days: u64,
    pub files: u64,
    pub samples: u64,
    pub bytes: u64,
}

/// Why a merge or a rollup did not come about.
enum Unfinished {
    Failed(Error),
    /// Somebody wants to stop.
    Stopped,
}

impl From<Error> for Unfinished {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl History {
    /// Merges what is ripe and makes the rollups of closed days.
    pub fn compact(&self, now: Timestamp) -> Result<Compacted, Error> {
        self.compact_while(now, &|| true)
    }

    /// The same; gives up soon after `go_on` says no, and nothing is lost by that.
    pub fn compact_while(&self, now: Timestamp, go_on: &dyn Fn() -> bool) -> Result<Compacted, Error> {
        let _alone = self.upkeep.lock().unwrap_or_else(PoisonError::into_inner);
        let mut done = Compacted::default();
        loop {
            let catalog = self.now().catalog.clone();
            let Some(files) = ripe(&catalog, now) else { break };
            match self.merge(&files, now, go_on, &mut done) {
                Ok(()) => {}
                Err(Unfinished::Stopped) => return Ok(done),
                Err(Unfinished::Failed(error)) => self.set_aside(&files, error)?,
            }
        }
        let catalog = self.now().catalog.clone();
        let closed: Vec<i64> = catalog.raw.keys().copied().filter(|day| is_closed(*day, now)).collect();
        for day in closed {
            let files = catalog.raw.get(&day).map_or(&[][..], |files| &files[..]);
            if !wants_rollup(&catalog, day, now) || files.iter().any(|file| file.is_damaged()) {
                continue;
            }
            match self.roll(&catalog, day, go_on) {
                Ok(()) => done.rolled_days += 1,
                Err(Unfinished::Stopped) => return Ok(done),
                Err(Unfinished::Failed(error)) => self.set_aside(files, error)?,
            }
        }
        Ok(done)
    }

    /// A file that cannot be read is left out from now on; any other failure is the caller's.
    fn set_aside(&self, files: &[Arc<Stored>], error: Error) -> Result<(), Error> {
        if let Error::Damaged { path, .. } = &error
            && let Some(file) = files.iter().find(|file| file.path == *path && !file.is_damaged())
        {
            self.note_damage(file, &error);
            return Ok(());
        }
        Err(error)
    }

    fn merge(
        &self,
        files: &[Arc<Stored>],
        now: Timestamp,
        go_on: &dyn Fn() -> bool,
        done: &mut Compacted,
    ) -> Result<(), Unfinished> {
        let day = files[0].day;
        let level = files.iter().map(|file| file.level).max().unwrap_or(0) + 1;
        let press = if level >= 2 || is_closed(day, now) { Press::Hard } else { Press::Quick };
        let name = format!("raw/date={}/{}", date_text(day), self.new_name());
        let path = self.options.folder.join(&name);
        let mut streams = self.streams(files)?;
        let mut duplicates = 0;
        let mut stopped = false;
        let written = discard_on_error(&path, || {
            let mut writer = RawWriter::create(&path, press)?;
            duplicates = each_point(&mut streams, |id, rows| {
                writer.push(id, rows)?;
                stopped = !go_on();
                Ok(!stopped)
            })?;
            if stopped { Ok(None) } else { writer.finish().map(Some) }
        })?;
        let Some(written) = written else {
            drop(std::fs::remove_file(path.with_extension("tmp")));
            return Err(Unfinished::Stopped);
        };
        let seqs = (
            files.iter().map(|file| file.first_seq).min().unwrap_or(0),
            files.iter().map(|file| file.last_seq).max().unwrap_or(0),
        );
        let merged = Stored::new(&self.options.folder, name, FileKind::Raw, day, level, seqs, &written, (0, 0));
        done.merges += 1;
        done.files_before += files.len() as u64;
        done.files_after += 1;
        done.samples += written.rows;
        done.bytes_before += files.iter().map(|file| file.bytes).sum::<u64>();
        done.bytes_after += written.bytes;
        done.duplicates += duplicates;
        let change = Change { add: vec![Arc::new(merged)], remove: files.to_vec(), duplicates, ..Change::default() };
        Ok(self.change(&change)?)
    }

    /// Records, then shows. When the record fails the new files are leftovers for the next start to remove:
    /// whether they were recorded is not known.
    fn change(&self, change: &Change) -> Result<(), Error> {
        let mut index = self.index();
        index.commit(change)?;
        Arc::make_mut(&mut self.now().catalog).apply(change);
        drop(index);
        for file in &change.remove {
            self.footers.forget(&file.path);
        }
        Ok(())
    }

    fn streams(&self, files: &[Arc<Stored>]) -> Result<Vec<Stream>, Error> {
        files.iter().map(|file| Stream::open(&file.path, &self.footers)).collect()
    }

    /// Makes both rollup files of a day, in one pass over its raw samples.
    fn roll(&self, catalog: &Catalog, day: i64, go_on: &dyn Fn() -> bool) -> Result<(), Unfinished> {
        let readable = |day: i64| -> Vec<Arc<Stored>> {
            catalog.raw.get(&day).into_iter().flatten().filter(|file| !file.is_damaged()).cloned().collect()
        };
        let mut streams = self.streams(&readable(day))?;
        let start = day_start(day);
        let mut before_files = Vec::new();
        for file in readable(day - 1).iter().filter(|file| file.max_time >= start - HOLD) {
            match Opened::open_raw(&file.path, &self.footers) {
                Ok(opened) => before_files.push(opened),
                // The day before only speaks for the first moments of this one.
                Err(error) => self.note_damage(file, &error),
            }
        }
        let versions = (catalog.day(day).version, catalog.day(day - 1).version);
        let names = Step::ALL.map(|step| format!("{}/date={}/{}", step.word(), date_text(day), self.new_name()));
        let paths = names.clone().map(|name| self.options.folder.join(name));
        let mut stopped = false;
        let written = discard_on_error(&paths[0], || {
            discard_on_error(&paths[1], || {
                let mut five = RollupWriter::create(&paths[0], Step::FiveMinutes)?;
                let mut hour = RollupWriter::create(&paths[1], Step::Hour)?;
                each_point(&mut streams, |id, rows| {
                    let before = last_before(&before_files, id, start);
                    five.push(id.as_bytes(), &fold(rows, before, Step::FiveMinutes))?;
                    hour.push(id.as_bytes(), &fold(rows, before, Step::Hour))?;
                    stopped = !go_on();
                    Ok(!stopped)
                })?;
                if stopped { Ok(None) } else { Ok(Some([five.finish()?, hour.finish()?])) }
            })
        })?;
        let Some(written) = written else {
            for path in &paths {
                drop(std::fs::remove_file(path.with_extension("tmp")));
            }
            return Err(Unfinished::Stopped);
        };
        let mut change = Change::default();
        for ((step, name), written) in Step::ALL.into_iter().zip(names).zip(written) {
            change.remove.extend(catalog.rolled[step as usize].get(&day).cloned());
            let kind = FileKind::Rolled(step);
            let file = Stored::new(&self.options.folder, name, kind, day, 0, (0, 0), &written, versions);
            change.add.push(Arc::new(file));
        }
        Ok(self.change(&change)?)
    }

    /// Unlinks days whose time is up. The rollups of a day are made before its raw samples go, from what can
    /// be read of them, and stay as they are from then on.
    pub fn retire(&self, now: Timestamp) -> Result<Retired, Error> {
        let _alone = self.upkeep.lock().unwrap_or_else(PoisonError::into_inner);
        let mut done = Retired::default();
        let over = |day: i64, keep: Option<Duration>| {
            keep.is_some_and(|keep| Timestamp::from_micros(day_start(day) + DAY_MICROS) + keep <= now)
        };
        let catalog = self.now().catalog.clone();
        let raw: Vec<i64> = catalog.raw.keys().copied().filter(|day| over(*day, self.options.keep_raw)).collect();
        for day in raw {
            let catalog = self.now().catalog.clone();
            let lasting = !over(day, self.options.keep_rollups);
            let rolled = Step::ALL.iter().all(|step| catalog.fresh_rollup(*step, day).is_some());
            if lasting && !rolled && !catalog.day(day).retired {
                self.roll_what_can_be_read(day)?;
            }
            let remove = self.now().catalog.raw.get(&day).cloned().unwrap_or_default();
            done.days += 1;
            done.count(&remove);
            let retired_rows = remove.iter().map(|file| file.rows).sum();
            let retired_days = vec![day];
            self.change(&Change { remove, retired_days, retired_rows, ..Change::default() })?;
        }
        let catalog = self.now().catalog.clone();
        let mut rolled: BTreeMap<i64, Vec<Arc<Stored>>> = BTreeMap::new();
        for file in catalog.rolled.iter().flat_map(BTreeMap::values) {
            if over(file.day, self.options.keep_rollups) {
                rolled.entry(file.day).or_default().push(file.clone());
            }
        }
        for (day, remove) in rolled {
            done.files += remove.len() as u64;
            done.bytes += remove.iter().map(|file| file.bytes).sum::<u64>();
            self.change(&Change { remove, forgotten_days: vec![day], ..Change::default() })?;
        }
        Ok(done)
    }

    fn roll_what_can_be_read(&self, day: i64) -> Result<(), Error> {
        loop {
            let catalog = self.now().catalog.clone();
            match self.roll(&catalog, day, &|| true) {
                Ok(()) | Err(Unfinished::Stopped) => return Ok(()),
                Err(Unfinished::Failed(error)) => {
                    self.set_aside(catalog.raw.get(&day).map_or(&[][..], |files| &files[..]), error)?;
                }
            }
        }
    }

    /// Paths of files that could not be read.
    #[must_use]
    pub fn damaged(&self) -> Vec<PathBuf> {
        self.stored().damaged
    }
}

impl Retired {
    fn count(&mut self, files: &[Arc<Stored>]) {
        self.files += files.len() as u64;
        self.samples += files.iter().map(|file| file.rows).sum::<u64>();
        self.bytes += files.iter().map(|file| file.bytes).sum::<u64>();
    }
}

fn is_closed(day: i64, now: Timestamp) -> bool {
    Timestamp::from_micros(day_start(day) + DAY_MICROS) + CLOSED_AFTER <= now
}

fn wants_rollup(catalog: &Catalog, day: i64, now: Timestamp) -> bool {
    !catalog.day(day).retired
        && Step::ALL.iter().any(|step| catalog.fresh_rollup(*step, day).is_none())
        && catalog.rolled[Step::FiveMinutes as usize]
            .get(&day)
            .is_none_or(|old| old.written_at + ROLL_AGAIN_AFTER <= now || old.written_at > now)
}

/// Files of one day that should become one.
fn ripe(catalog: &Catalog, now: Timestamp) -> Option<Vec<Arc<Stored>>> {
    catalog.raw.iter().find_map(|(day, files)| {
        let files: Vec<_> = files.iter().filter(|file| !file.is_damaged() && file.rows < FULL_ROWS).cloned().collect();
        if is_closed(*day, now) && files.len() > 1 {
            let largest = files.iter().map(|file| file.rows).max().unwrap_or(0);
            let others = files.iter().map(|file| file.rows).sum::<u64>() - largest;
            // A handful of late samples is no reason to write a whole day again.
            if others * 20 >= largest || files.len() > FAN {
                return Some(smallest(files));
            }
        }
        let mut levels: BTreeMap<u32, Vec<Arc<Stored>>> = BTreeMap::new();
        for file in files {
            levels.entry(file.level).or_default().push(file);
        }
        levels.into_values().find(|files| files.len() >= FAN).map(smallest)
    })
}

/// As many as may be open at once, the small ones first.
fn smallest(mut files: Vec<Arc<Stored>>) -> Vec<Arc<Stored>> {
    files.sort_by_key(|file| file.rows);
    files.truncate(MOST_FILES);
    files
}

/// Calls `each` for every point with all its rows, in order, without repeats, until it says stop. Returns
/// how many repeats were dropped.
fn each_point(streams: &mut [Stream], mut each: impl FnMut(&str, &[Row]) -> Result<bool, Error>) -> Result<u64, Error> {
    let mut rows = Vec::new();
    let mut duplicates = 0;
    while let Some(id) = streams.iter().filter_map(Stream::point).min().map(<[u8]>::to_vec) {
        rows.clear();
        let mut text = None;
        for stream in streams.iter_mut() {
            if stream.point() != Some(&id[..]) {
                continue;
            }
            if text.is_none() {
                let read = std::str::from_utf8(&id).map_err(|_| Error::Damaged {
                    path: stream.path().to_owned(),
                    what: "a point id is not UTF-8".into(),
                });
                text = Some(read?.to_owned());
            }
            stream.take_point(&mut rows)?;
        }
        duplicates += tidy(&mut rows);
        if !each(text.as_deref().unwrap_or_default(), &rows)? {
            break;
        }
    }
    Ok(duplicates)
}

/// The last row of a point in the hour before a day.
fn last_before(files: &[Opened], id: &str, start: i64) -> Option<Row> {
    let mut rows = Vec::new();
    for file in files {
        let before = rows.len();
        if let Err(error) = file.rows(id, start - HOLD, start, &mut rows) {
            // It only speaks for the first moments of the day; the file's own day reports it.
            tracing::debug!(%error, "the last sample of the day before could not be read");
            rows.truncate(before);
        }
    }
    tidy(&mut rows);
    rows.last().copied()
}
