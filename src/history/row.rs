//! A stored sample without its point, and the order in which samples are stored.

use crate::model::{Quality, Timestamp};

use super::Reading;

pub(super) const DAY_MICROS: i64 = 86_400_000_000;

/// 24 bytes; the head holds millions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Row {
    /// Source time, microseconds.
    pub time: i64,
    pub value: f64,
    pub quality: Quality,
}

impl Row {
    /// Total, so that exact repeats stand side by side.
    fn key(&self) -> (i64, u64, u16) {
        (self.time, self.value.to_bits(), self.quality.bits())
    }

    pub fn reading(&self) -> Reading {
        Reading { time: Timestamp::from_micros(self.time), value: self.value, quality: self.quality }
    }
}

/// Sorts by time and drops exact repeats; says how many. Quick when the rows are nearly in order or a few
/// sorted runs, which they are.
pub(super) fn tidy(rows: &mut Vec<Row>) -> u64 {
    if rows.is_sorted_by(|a, b| a.key() < b.key()) {
        return 0;
    }
    rows.sort_by_key(Row::key);
    let before = rows.len();
    rows.dedup_by(|a, b| a.key() == b.key());
    (before - rows.len()) as u64
}

/// Days since 1970, UTC.
pub(super) fn day_of(micros: i64) -> i64 {
    micros.div_euclid(DAY_MICROS)
}

/// First moment of a day.
pub(super) fn day_start(day: i64) -> i64 {
    day.saturating_mul(DAY_MICROS)
}

/// `2026-11-23`.
pub(super) fn date_text(day: i64) -> String {
    Timestamp::from_micros(day_start(day)).date()
}
