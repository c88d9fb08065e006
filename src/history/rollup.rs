//! Rollups: what regulators ask for, every five minutes and every hour.
//!
//! A bucket is aligned to UTC and exists where the point has at least one sample in it, of any quality. Only
//! usable samples (good or uncertain) count into min, max, mean and count; the mean is over samples.
//! **Seconds not good**: a sample speaks for the time from itself to the next one, but for an hour at most
//! ([`HOLD`]); every moment of the bucket for which no usable sample speaks is not good. So a bad sample
//! makes the time until the next one not good, and so does silence that nobody could have meant. The last
//! sample of a bucket speaks to the bucket's end, also while the bucket is not over.
//!
//! A closed day's rollups are a file of their own. It counts only as long as nothing was added to the raw
//! samples it was made from; then, and for the running day, the answer is computed from the raw samples.
//! So late data corrects the past at once, and the file follows.

use std::time::Duration;

use super::query::View;
use super::row::{DAY_MICROS, Row, day_of, day_start};
use super::{Error, Found, History};
use crate::model::Timestamp;

/// For how long a sample speaks when no other follows, in microseconds.
pub(super) const HOLD: i64 = 3_600_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(usize)]
pub enum Step {
    FiveMinutes,
    Hour,
}

impl Step {
    pub const ALL: [Self; 2] = [Self::FiveMinutes, Self::Hour];

    /// The folder's name and the word in the API.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::FiveMinutes => "5min",
            Self::Hour => "1h",
        }
    }

    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.word() == word)
    }

    #[must_use]
    pub const fn span(self) -> Duration {
        Duration::from_micros(self.micros().unsigned_abs())
    }

    pub(super) const fn micros(self) -> i64 {
        match self {
            Self::FiveMinutes => 300_000_000,
            Self::Hour => 3_600_000_000,
        }
    }
}

/// One bucket of one point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rollup {
    pub start: Timestamp,
    /// `None`: there was no usable sample.
    pub values: Option<Values>,
    /// Usable samples.
    pub count: u64,
    pub not_good: Duration,
}

/// Of the usable samples; the times are those of the first that was so low or so high.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Values {
    pub min: f64,
    pub min_time: Timestamp,
    pub max: f64,
    pub max_time: Timestamp,
    pub mean: f64,
}

/// The buckets of rows in order. `before`: the last row before the first bucket.
pub(super) fn fold(rows: &[Row], before: Option<Row>, step: Step) -> Vec<Rollup> {
    let mut rollups = Vec::new();
    let mut before = before;
    for bucket in rows.chunk_by(|a, b| a.time.div_euclid(step.micros()) == b.time.div_euclid(step.micros())) {
        rollups.push(fold_bucket(bucket, before, step));
        before = bucket.last().copied();
    }
    rollups
}

fn fold_bucket(bucket: &[Row], before: Option<Row>, step: Step) -> Rollup {
    let start = bucket[0].time.div_euclid(step.micros()) * step.micros();
    let end = start + step.micros();
    let mut values: Option<Values> = None;
    let (mut count, mut sum) = (0_u64, 0.0);
    let mut good = before.map_or(0, |row| spoken_for(&row, start, bucket[0].time));
    for (i, row) in bucket.iter().enumerate() {
        good += spoken_for(row, start, bucket.get(i + 1).map_or(end, |next| next.time));
        if !row.quality.usable() {
            continue;
        }
        let time = Timestamp::from_micros(row.time);
        count += 1;
        sum += row.value;
        let values = values.get_or_insert(Values {
            min: row.value,
            min_time: time,
            max: row.value,
            max_time: time,
            mean: row.value,
        });
        if row.value < values.min {
            (values.min, values.min_time) = (row.value, time);
        }
        if row.value > values.max {
            (values.max, values.max_time) = (row.value, time);
        }
        values.mean = sum / count as f64;
    }
    Rollup {
        start: Timestamp::from_micros(start),
        values,
        count,
        not_good: Duration::from_micros((step.micros() - good).max(0).unsigned_abs()),
    }
}

/// How much of the bucket a sample makes good until the next one.
fn spoken_for(row: &Row, bucket_start: i64, next: i64) -> i64 {
    if !row.quality.usable() {
        return 0;
    }
    (next.min(row.time.saturating_add(HOLD)) - row.time.max(bucket_start)).max(0)
}

impl History {
    /// The buckets of a point that begin in `[from, to)`, the oldest first. A bucket without any sample is
    /// not in the list.
    pub fn rollups(&self, id: &str, step: Step, from: Timestamp, to: Timestamp) -> Result<Found<Rollup>, Error> {
        let (from, to) = (from.micros(), to.micros());
        let mut view = self.view(id, from.saturating_sub(HOLD), to.saturating_add(step.micros()));
        let mut list = Vec::new();
        for day in rollup_days(&view, step, from, to) {
            let stored = view.catalog.fresh_rollup(step, day).filter(|_| !view.touches(day, HOLD)).cloned();
            let rollups = match stored {
                Some(file) => match super::rollup_file::read(&file.path, &self.footers, id) {
                    Ok(rollups) => rollups,
                    Err(error) => {
                        self.note_damage(&file, &error);
                        if view.catalog.day(day).retired {
                            // There is nothing left to compute it from.
                            view.unreadable.push(file.path.clone());
                        }
                        self.computed(&mut view, id, step, day, from, to)
                    }
                },
                None => self.computed(&mut view, id, step, day, from, to),
            };
            list.extend(rollups.into_iter().filter(|rollup| (from..to).contains(&rollup.start.micros())));
        }
        view.unreadable.sort();
        view.unreadable.dedup();
        Ok(Found { list, more: false, unreadable: view.unreadable })
    }

    /// A day's buckets from its raw samples, as far as they are asked for.
    fn computed(&self, view: &mut View, id: &str, step: Step, day: i64, from: i64, to: i64) -> Vec<Rollup> {
        let (start, end) = (day_start(day), day_start(day) + DAY_MICROS);
        let first = start.max(from.div_euclid(step.micros()).saturating_mul(step.micros()));
        let last = end.min(to.saturating_add(step.micros()));
        let mut rows = Vec::new();
        if first - HOLD < start {
            rows = self.rows_of_day(view, id, day - 1, first - HOLD, start);
        }
        rows.extend(self.rows_of_day(view, id, day, start.max(first - HOLD), last));
        let split = rows.partition_point(|row| row.time < first);
        let before = rows[..split].last().copied();
        fold(&rows[split..], before, step)
    }
}

/// Days that have raw samples or rollups within `[from, to)`.
fn rollup_days(view: &View, step: Step, from: i64, to: i64) -> Vec<i64> {
    if from >= to {
        return Vec::new();
    }
    let mut days = view.days(from, to);
    let span = day_of(from)..=day_of(to - 1);
    days.extend(view.catalog.rolled[step as usize].range(span).map(|(day, _)| *day));
    days.sort_unstable();
    days.dedup();
    days
}
