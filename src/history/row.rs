//! A stored sample without its point, and the order in which samples are stored.

use crate::model::{Quality, TICK, Timestamp};

use super::Reading;

pub(super) const DAY_MICROS: i64 = 86_400_000_000;

/// 24 bytes; the head holds millions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Row {
    /// Source time, microseconds.
    pub time: i64,
    pub value: f64,
    pub quality: Quality,
    /// Ticks from the one before the source's time to the one behind which it came: what a backtest needs to let
    /// time pass as it did.
    pub arrived: i32,
}

impl Row {
    /// Total, so that exact repeats stand side by side.
    fn key(&self) -> (i64, u64, u16) {
        (self.time, self.value.to_bits(), self.quality.bits())
    }

    /// The tick behind which it came.
    pub fn arrival(&self) -> Timestamp {
        let ticks = i64::from(self.arrived).saturating_mul(TICK.as_micros() as i64);
        Timestamp::from_micros(Timestamp::from_micros(self.time).tick().micros().saturating_add(ticks))
    }

    /// How a row says that.
    pub fn arrived(time: Timestamp, tick: Timestamp) -> i32 {
        let ticks = (tick.micros() - time.tick().micros()) / TICK.as_micros() as i64;
        ticks.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
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
    // Of repeats the first one to come is the one that was judged.
    rows.sort_by_key(|row| (row.key(), row.arrived));
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
