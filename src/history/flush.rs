//! Head to files: one file a UTC day, all recorded in one transaction.
//!
//! ```text
//!  head ─frozen─► *.tmp ─fsync─► *.parquet ─fsync folders─► [transaction: files + flushed_seq] ─► catalog
//! ```
//! Killed before the transaction: the files are leftovers, the journal delivers again. Killed after it:
//! everything is there. A transaction that fails leaves a doubt, and the next attempt asks the index first.

use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::head::Head;
use super::index::{Change, FileKind, Stored};
use super::row::{date_text, day_of, tidy};
use super::write::{Press, RawWriter};
use super::{Error, History};
use crate::journal::Seq;

/// What a flush did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Everything up to this entry is in files.
    pub seq: Seq,
    pub samples: u64,
    pub files: u64,
    pub bytes: u64,
    /// Exact repeats that were dropped.
    pub duplicates: u64,
}

/// What a failed attempt left: files that are on the disk and may or may not be recorded.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    written: Option<Change>,
}

impl History {
    /// Writes the head out. After an error everything is still in memory, visible to queries, and the next
    /// call tries again.
    pub fn flush(&self) -> Result<Flushed, Error> {
        let mut attempt = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(frozen) = self.freeze() else {
            self.record_listening()?;
            return Ok(Flushed { seq: self.flushed(), ..Flushed::default() });
        };
        let change = match attempt.written.take() {
            Some(change) => change,
            None => self.write_days(&frozen)?,
        };
        self.record(&mut attempt, change)
    }

    /// Takes the head out; readers go on seeing it. One that could not be written before comes first.
    pub(super) fn freeze(&self) -> Option<Arc<Head>> {
        let mut now = self.now();
        if now.frozen.is_none() && !now.head.is_empty() {
            let behind = Head::behind(now.head.last_seq);
            let mut head = std::mem::replace(&mut now.head, behind);
            head.ids = now.names.ids.clone();
            now.frozen = Some(Arc::new(head));
        }
        now.frozen.clone()
    }

    pub(super) fn write_days(&self, head: &Head) -> Result<Change, Error> {
        let mut change = Change { flushed: Some((head.last_seq, head.newest_received)), ..Change::default() };
        change.listened.clone_from(&self.now().listened);
        let piles = head.by_id();
        for day in head.days() {
            let written = self.write_day(head, &piles, day, &mut change.duplicates);
            match written {
                Ok(file) => {
                    change.touched.push(day);
                    change.add.push(Arc::new(file));
                }
                Err(error) => {
                    // The disk may be full; what is not recorded must not stay.
                    for file in &change.add {
                        drop(std::fs::remove_file(&file.path));
                    }
                    return Err(error);
                }
            }
        }
        Ok(change)
    }

    fn write_day(
        &self,
        head: &Head,
        piles: &[(&crate::model::PointId, &[super::row::Row])],
        day: i64,
        duplicates: &mut u64,
    ) -> Result<Stored, Error> {
        let name = format!("raw/date={}/{}", date_text(day), self.new_name());
        let path = self.options.folder.join(&name);
        let written = discard_on_error(&path, || {
            let mut writer = RawWriter::create(&path, Press::Quick)?;
            let mut rows = Vec::new();
            for (id, pile) in piles {
                rows.clear();
                rows.extend(pile.iter().filter(|row| day_of(row.time) == day));
                *duplicates += tidy(&mut rows);
                writer.push(id, &rows)?;
            }
            writer.finish()
        })?;
        let seqs = (head.first_seq, head.last_seq);
        Ok(Stored::new(&self.options.folder, name, FileKind::Raw, day, 0, seqs, &written, (0, 0)))
    }

    /// Nothing came, and that was heard.
    fn record_listening(&self) -> Result<(), Error> {
        let listened = self.now().listened.clone();
        if self.unrecorded() > Duration::ZERO {
            self.index().commit(&Change { listened: listened.clone(), ..Change::default() })?;
            self.now().note_recorded(&listened);
        }
        Ok(())
    }

    fn record(&self, attempt: &mut Attempt, change: Change) -> Result<Flushed, Error> {
        let mut index = self.index();
        let recorded = match change.add.first() {
            Some(file) => index.holds(&file.name)?,
            None => false,
        };
        if !recorded && let Err(error) = index.commit(&change) {
            attempt.written = Some(change);
            return Err(error);
        }
        let mut now = self.now();
        Arc::make_mut(&mut now.catalog).apply(&change);
        now.frozen = None;
        now.note_recorded(&change.listened);
        Ok(Flushed {
            seq: now.catalog.flushed,
            samples: change.add.iter().map(|file| file.rows).sum(),
            files: change.add.len() as u64,
            bytes: change.add.iter().map(|file| file.bytes).sum(),
            duplicates: change.duplicates,
        })
    }
}

/// Removes the unfinished file when writing it failed.
pub(super) fn discard_on_error<T>(path: &Path, write: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    write().inspect_err(|_| {
        drop(std::fs::remove_file(path.with_extension("tmp")));
        drop(std::fs::remove_file(path));
    })
}
