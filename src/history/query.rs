//! Questions: the samples of one point, from files and memory, merged.
//!
//! Days are read one after another, so a long span costs the memory of a day. A file that cannot be read is
//! named in the answer, logged once and counted; the others still answer.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::file::Opened;
use super::index::{Catalog, Stored};
use super::row::{DAY_MICROS, Row, day_of, day_start, tidy};
use super::{Error, Found, History, Reading};
use crate::model::Timestamp;

/// What one question sees: a moment's picture that no flush or compaction changes under it.
pub(super) struct View {
    pub catalog: Arc<Catalog>,
    /// The point's rows in memory, by day.
    pub memory: BTreeMap<i64, Vec<Row>>,
    pub unreadable: Vec<PathBuf>,
}

impl History {
    /// The samples of a point with source times in `[from, to)`, the oldest first, at most `most`.
    pub fn samples(&self, id: &str, from: Timestamp, to: Timestamp, most: usize) -> Result<Found<Reading>, Error> {
        let (from, to) = (from.micros(), to.micros());
        let mut view = self.view(id, from, to);
        let mut list = Vec::new();
        for day in view.days(from, to) {
            let rows = self.rows_of_day(&mut view, id, day, from, to);
            list.extend(rows.iter().map(Row::reading));
            if list.len() > most {
                break;
            }
        }
        let more = list.len() > most;
        list.truncate(most);
        Ok(Found { list, more, unreadable: view.unreadable })
    }

    pub(super) fn view(&self, id: &str, from: i64, to: i64) -> View {
        let now = self.now();
        let mut memory: BTreeMap<i64, Vec<Row>> = BTreeMap::new();
        if let Some(slot) = now.names.find(id) {
            for head in now.frozen.as_deref().into_iter().chain([&now.head]) {
                for row in head.within(slot, from, to) {
                    memory.entry(day_of(row.time)).or_default().push(*row);
                }
            }
        }
        View { catalog: now.catalog.clone(), memory, unreadable: Vec::new() }
    }

    /// The rows of a day within `[from, to)`, in order, without repeats.
    pub(super) fn rows_of_day(&self, view: &mut View, id: &str, day: i64, from: i64, to: i64) -> Vec<Row> {
        let mut rows = Vec::new();
        for file in view.catalog.raw.get(&day).into_iter().flatten() {
            if file.max_time < from || file.min_time >= to {
                continue;
            }
            let before = rows.len();
            let read =
                Opened::open_raw(&file.path, &self.footers).and_then(|opened| opened.rows(id, from, to, &mut rows));
            match read {
                Ok(()) => file.mark_sound(),
                Err(error) => {
                    rows.truncate(before);
                    self.note_damage(file, &error);
                    view.unreadable.push(file.path.clone());
                }
            }
        }
        let memory = view.memory.get(&day).into_iter().flatten();
        rows.extend(memory.filter(|row| (from..to).contains(&row.time)));
        tidy(&mut rows);
        rows
    }

    pub(super) fn note_damage(&self, file: &Stored, error: &Error) {
        self.footers.forget(&file.path);
        if file.mark_damaged() {
            tracing::error!(%error, "a history file cannot be read; answers lack its samples");
        }
    }
}

impl View {
    /// Days that hold raw samples within `[from, to)`.
    pub fn days(&self, from: i64, to: i64) -> Vec<i64> {
        if from >= to {
            return Vec::new();
        }
        let span = day_of(from)..=day_of(to.saturating_sub(1));
        let mut days: Vec<i64> = self.catalog.raw.range(span.clone()).map(|(day, _)| *day).collect();
        days.extend(self.memory.range(span).map(|(day, _)| *day));
        days.sort_unstable();
        days.dedup();
        days
    }

    /// Is anything of the point in memory that belongs to the day or speaks for its first moments?
    pub fn touches(&self, day: i64, hold: i64) -> bool {
        let span = (day_start(day) - hold)..(day_start(day) + DAY_MICROS);
        [day - 1, day].iter().filter_map(|day| self.memory.get(day)).flatten().any(|row| span.contains(&row.time))
    }
}
