//! Memories that no window can answer: an exponential mean, how long something has held, cumulative sums.
//!
//! In come the usable samples of a point, out comes a number. A memory is a fold over the samples in event order.
//! It is kept twice: as it stood before the newest [`UNSETTLED`] samples, and as it stands now. A sample that
//! younger ones overtook is put among them and the fold is done again from there, so that the order of arrival
//! never shows; one that is older than that changes nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::track::{UNSETTLED, Upto};
use crate::model::Timestamp;
use crate::rule::Comparison;

/// A cumulative sum grows no further: beyond it there is nothing to tell, and infinity compares with nothing.
const MOST_SUM: f64 = 1e300;

/// What is remembered: equal ones are one memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Keep {
    /// Exponential mean in event time.
    Ewma { constant: Duration },
    /// Seconds for which the comparison with the level has held.
    Held(Against),
    /// Seconds since it last held.
    Since(Against),
    /// Tabular cumulative sum of what lies beyond `target` by more than `slack`.
    Cusum { target: f64, slack: f64, down: bool },
}

impl Keep {
    /// How long a value still weighs in it. What counts from an unknown beginning is cut at a day.
    #[must_use]
    pub fn looks_back(&self) -> Duration {
        match self {
            Self::Ewma { constant } => *constant * 5,
            Self::Held(_) | Self::Since(_) | Self::Cusum { .. } => Duration::from_secs(86_400),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Against {
    pub comparison: Comparison,
    pub level: f64,
    /// A longer time without a usable sample begins the count anew: what was not seen is not taken for well.
    /// `None`: such times are bridged.
    pub hole: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    /// The mean or the sum.
    number: Option<f64>,
    /// Since when it has held, or when it last held.
    mark: Option<Timestamp>,
    newest: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    pub keep: Keep,
    /// Before the newest samples.
    settled: State,
    now: State,
}

impl Kept {
    /// Something of each line of its memory.
    pub fn touch(&self) -> u64 {
        let marks = [self.settled.newest, self.now.newest].into_iter().flatten();
        marks.fold(0, |all, mark| all ^ mark.micros().cast_unsigned())
    }

    /// Means that lie among the samples, as they stood and as they stand.
    pub fn means(&self) -> impl Iterator<Item = f64> {
        let states = match self.keep {
            Keep::Ewma { .. } => [self.settled.number, self.now.number],
            Keep::Held(_) | Keep::Since(_) | Keep::Cusum { .. } => [None, None],
        };
        states.into_iter().flatten()
    }

    /// Begins with the samples that the track still holds.
    pub fn new(keep: Keep, track: Upto<'_>) -> Self {
        let mut settled = State::default();
        let young = track.end().saturating_sub(UNSETTLED).max(track.first());
        for number in track.first()..young {
            let (at, value) = track.at(number);
            settled = keep.step(settled, at, value);
        }
        let mut kept = Self { keep, settled, now: settled };
        kept.again(track, young);
        kept
    }

    /// The newest sample of the track is new.
    pub fn append(&mut self, track: Upto<'_>) {
        if let Some((at, value)) = track.newest() {
            self.now = self.keep.step(self.now, at, value);
        }
        if track.end() - track.first() > UNSETTLED {
            let (at, value) = track.at(track.end() - 1 - UNSETTLED);
            self.settled = self.keep.step(self.settled, at, value);
        }
    }

    /// A sample took its place among younger ones; it is `number` now.
    pub fn insert(&mut self, track: Upto<'_>, number: u64) {
        let mut from = track.first();
        if track.end() - track.first() > UNSETTLED {
            let settles = track.end() - 1 - UNSETTLED;
            if number < settles {
                return;
            }
            let (at, value) = track.at(settles);
            self.settled = self.keep.step(self.settled, at, value);
            from = settles + 1;
        }
        self.again(track, from);
    }

    fn again(&mut self, track: Upto<'_>, from: u64) {
        self.now = track.from(from).fold(self.settled, |state, (at, value)| self.keep.step(state, at, value));
    }

    /// The source's clock was set back. A sum and a mean go on from what they are; a count of time begins anew.
    pub fn set_back(&mut self) {
        let carried = match self.keep {
            Keep::Ewma { .. } | Keep::Cusum { .. } => State { newest: None, ..self.now },
            Keep::Held(_) | Keep::Since(_) => State::default(),
        };
        (self.settled, self.now) = (carried, carried);
    }

    /// `None` when it is not known yet.
    pub fn ask(&self) -> Option<f64> {
        let State { number, mark, newest } = self.now;
        match self.keep {
            Keep::Ewma { .. } | Keep::Cusum { .. } => number,
            Keep::Held(_) => newest.map(|newest| mark.map_or(0.0, |since| newest.since(since).as_secs_f64())),
            Keep::Since(_) => Some(newest?.since(mark?).as_secs_f64()),
        }
    }
}

impl Keep {
    fn step(&self, state: State, at: Timestamp, value: f64) -> State {
        let next = State { newest: Some(at), ..state };
        let passed = state.newest.map_or(Duration::ZERO, |newest| at.since(newest));
        match self {
            Self::Ewma { constant } => {
                let mean = state.number.map_or(value, |mean| {
                    let share = 1.0 - decay(passed.as_secs_f64() / constant.as_secs_f64());
                    mean + share * (value - mean)
                });
                State { number: Some(if mean.is_finite() { mean } else { value }), ..next }
            }
            Self::Held(against) => {
                let mark = state.mark.filter(|_| !against.unseen(passed)).unwrap_or(at);
                State { mark: against.holds(value).then_some(mark), ..next }
            }
            Self::Since(against) if against.holds(value) => State { mark: Some(at), ..next },
            Self::Since(against) => {
                // It may have been so until just now.
                let mark = state.mark.map(|last| if against.unseen(passed) { at } else { last });
                State { mark, ..next }
            }
            Self::Cusum { target, slack, down } => {
                let beyond = if *down { target - slack - value } else { value - target - slack };
                State { number: Some((state.number.unwrap_or(0.0) + beyond).clamp(0.0, MOST_SUM)), ..next }
            }
        }
    }
}

impl Against {
    fn holds(&self, value: f64) -> bool {
        self.comparison.of(value, self.level)
    }

    fn unseen(&self, passed: Duration) -> bool {
        self.hole.is_some_and(|hole| passed > hole)
    }
}

/// e to the power of -x for x from zero: plain arithmetic, so that every machine gets the same bits.
fn decay(x: f64) -> f64 {
    /// Multiplied with instead of divided by: a division takes several times as long.
    const SHARES: [f64; 18] = {
        let (mut shares, mut term) = ([0.0; 18], 0);
        while term < 18 {
            shares[term] = 1.0 / (term + 1) as f64;
            term += 1;
        }
        shares
    };
    if x > 700.0 {
        return 0.0;
    }
    let halvings = if x < std::f64::consts::LN_2 { 0.0 } else { (x / std::f64::consts::LN_2).floor() };
    let rest = x - halvings * std::f64::consts::LN_2;
    // Horner's scheme; the first term left out is below 1e-17. Samples are much closer than a mean is long, mostly.
    let terms = if rest < 1e-3 {
        6
    } else if rest < 0.05 {
        10
    } else {
        18
    };
    let series = SHARES[..terms].iter().rev().fold(1.0, |sum, share| 1.0 - rest * share * sum);
    if halvings == 0.0 { series } else { series * 0.5_f64.powi(halvings as i32) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decay_is_the_exponential() {
        for x in [0.0, 1e-9, 0.000_999, 0.001, 0.049, 0.05, 0.1, 0.5, std::f64::consts::LN_2, 1.0, 3.7, 20.0, 300.0] {
            let exact = (-x).exp();
            assert!((decay(x) - exact).abs() <= 1e-15 * x.max(4.0) * exact, "{x}: {} {exact}", decay(x));
        }
        assert_eq!((decay(1e4), decay(f64::INFINITY)), (0.0, 0.0));
    }
}
