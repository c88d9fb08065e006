//! Sliding windows over one point's usable values, in event time.
//!
//! In comes each usable sample once; out come mean, min, max and the rest for the last `span` before the
//! newest sample. Every step is amortised O(1): sums are kept running and rebuilt from the samples after
//! as many removals as the window holds, so that rounding never accumulates; extremes stand in two
//! monotonic queues. The whole state is in the snapshot, sums included, so that a restart changes no verdict.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::Timestamp;

/// A window holds at most this many samples; beyond it the oldest go early and the window is shorter than
/// asked for. At 10 Hz that is 2.7 hours.
pub const MOST_SAMPLES: usize = 100_000;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Window {
    pub span: Duration,
    items: VecDeque<(Timestamp, f64)>,
    /// Sums of the differences to `base`, which keeps them small beside a large value.
    base: f64,
    sum: f64,
    squares: f64,
    removed: usize,
    lows: VecDeque<(Timestamp, f64)>,
    highs: VecDeque<(Timestamp, f64)>,
}

impl Window {
    #[must_use]
    pub fn new(span: Duration) -> Self {
        Self {
            span,
            items: VecDeque::new(),
            base: 0.0,
            sum: 0.0,
            squares: 0.0,
            removed: 0,
            lows: VecDeque::new(),
            highs: VecDeque::new(),
        }
    }

    /// A usable sample. One that is older than the newest begins the window anew.
    pub fn push(&mut self, at: Timestamp, value: f64) {
        if self.items.back().is_some_and(|(newest, _)| *newest > at) {
            // The source's clock was set back: what stands in its future says nothing about now.
            *self = Self::new(self.span);
        }
        if self.items.is_empty() {
            self.base = value;
        }
        self.items.push_back((at, value));
        let difference = value - self.base;
        self.sum += difference;
        self.squares += difference * difference;
        while self.lows.back().is_some_and(|(_, low)| *low >= value) {
            self.lows.pop_back();
        }
        self.lows.push_back((at, value));
        while self.highs.back().is_some_and(|(_, high)| *high <= value) {
            self.highs.pop_back();
        }
        self.highs.push_back((at, value));
        self.forget_before(at - self.span);
    }

    /// A usable sample that arrived after younger ones: it takes its place among them.
    pub fn insert(&mut self, at: Timestamp, value: f64) {
        let Some((newest, _)) = self.items.back().copied().filter(|(newest, _)| *newest > at) else {
            return self.push(at, value);
        };
        if at < newest - self.span {
            return;
        }
        self.items.insert(after(&self.items, at), (at, value));
        let difference = value - self.base;
        self.sum += difference;
        self.squares += difference * difference;
        insert_extreme(&mut self.lows, at, value, |kept, new| kept >= new);
        insert_extreme(&mut self.highs, at, value, |kept, new| kept <= new);
    }

    /// Drops what is older than `oldest`; a sample exactly as old as the span still counts.
    fn forget_before(&mut self, oldest: Timestamp) {
        while self.items.len() > MOST_SAMPLES || self.items.front().is_some_and(|(at, _)| *at < oldest) {
            let Some((at, value)) = self.items.pop_front() else { return };
            let difference = value - self.base;
            self.sum -= difference;
            self.squares -= difference * difference;
            self.removed += 1;
            for extremes in [&mut self.lows, &mut self.highs] {
                if extremes.front() == Some(&(at, value)) {
                    extremes.pop_front();
                }
            }
        }
        if self.removed > self.items.len() {
            self.rebuild();
        }
    }

    fn rebuild(&mut self) {
        self.removed = 0;
        self.base = self.items.front().map_or(0.0, |(_, value)| *value);
        self.sum = self.items.iter().map(|(_, value)| value - self.base).sum();
        self.squares = self.items.iter().map(|(_, value)| (value - self.base).powi(2)).sum();
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.items.len()
    }

    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (!self.items.is_empty()).then(|| self.base + self.sum / self.items.len() as f64)
    }

    #[must_use]
    pub fn sum(&self) -> Option<f64> {
        (!self.items.is_empty()).then_some(self.base * self.items.len() as f64 + self.sum)
    }

    #[must_use]
    pub fn min(&self) -> Option<f64> {
        self.lows.front().map(|(_, value)| *value)
    }

    #[must_use]
    pub fn max(&self) -> Option<f64> {
        self.highs.front().map(|(_, value)| *value)
    }

    /// Standard deviation of the population.
    #[must_use]
    pub fn stddev(&self) -> Option<f64> {
        if self.items.is_empty() {
            return None;
        }
        let count = self.items.len() as f64;
        let mean = self.sum / count;
        Some((self.squares / count - mean * mean).max(0.0).sqrt())
    }

    /// Newest minus oldest.
    #[must_use]
    pub fn delta(&self) -> Option<f64> {
        Some(self.items.back()?.1 - self.items.front()?.1)
    }

    /// Change per minute between the oldest and the newest; `None` until two moments are known.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        let (first, last) = (self.items.front()?, self.items.back()?);
        let minutes = last.0.since(first.0).as_secs_f64() / 60.0;
        (minutes > 0.0).then(|| (last.1 - first.1) / minutes)
    }
}

/// Place behind everything that is not younger than `at`; looked for from the young end, where it is.
fn after(queue: &VecDeque<(Timestamp, f64)>, at: Timestamp) -> usize {
    queue.iter().rposition(|(time, _)| *time <= at).map_or(0, |place| place + 1)
}

/// `yields(a, b)`: a younger `b` makes `a` irrelevant.
fn insert_extreme(queue: &mut VecDeque<(Timestamp, f64)>, at: Timestamp, value: f64, yields: fn(f64, f64) -> bool) {
    if queue.iter().rev().take_while(|(time, _)| *time > at).any(|(_, younger)| yields(value, *younger)) {
        return;
    }
    let mut place = after(queue, at);
    while place > 0 && yields(queue[place - 1].1, value) {
        place -= 1;
        queue.remove(place);
    }
    queue.insert(place, (at, value));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The incremental window says what a plain loop over the same samples says.
        #[test]
        fn a_window_equals_a_loop_over_its_samples(
            span in 1_u64..60,
            samples in prop::collection::vec((0_i64..20_000_000, -1e6_f64..1e6), 1..300),
        ) {
            let mut window = Window::new(Duration::from_secs(span));
            let mut all: Vec<(Timestamp, f64)> = Vec::new();
            let mut at = Timestamp::from_secs(1_800_000_000);
            for (pause, value) in samples {
                at = at + Duration::from_micros(pause as u64);
                all.push((at, value));
                window.push(at, value);
                let inside: Vec<f64> =
                    all.iter().filter(|(time, _)| *time >= at - window.span).map(|(_, value)| *value).collect();
                let count = inside.len() as f64;
                let mean = inside.iter().sum::<f64>() / count;
                let variance = inside.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
                prop_assert_eq!(window.count(), inside.len());
                prop_assert_eq!(window.min(), inside.iter().copied().reduce(f64::min));
                prop_assert_eq!(window.max(), inside.iter().copied().reduce(f64::max));
                prop_assert_eq!(window.delta(), Some(value - inside[0]));
                prop_assert!((window.mean().unwrap() - mean).abs() <= 1e-6 * (1.0 + mean.abs()));
                prop_assert!((window.stddev().unwrap().powi(2) - variance).abs() <= 1e-3 * (1.0 + variance));
            }
        }
    }

    proptest! {
        /// Samples that overtake each other leave the window as if they had come in order.
        #[test]
        fn a_window_is_the_same_whatever_the_order_of_arrival(
            span in 1_u64..30,
            samples in prop::collection::vec((0_i64..4_000_000, -50_i32..50, 0_usize..6), 1..120),
        ) {
            let mut at = Timestamp::from_secs(1_800_000_000);
            let mut ordered: Vec<(Timestamp, f64)> = Vec::new();
            let mut arrivals: Vec<(usize, Timestamp, f64)> = Vec::new();
            for (place, (pause, value, held_up)) in samples.into_iter().enumerate() {
                // Whole numbers: sums are exact in any order. No two at one moment: their order would be open.
                at = at + Duration::from_micros(pause as u64 + 1);
                ordered.push((at, f64::from(value)));
                arrivals.push((place + held_up, at, f64::from(value)));
            }
            arrivals.sort_by_key(|(place, ..)| *place);
            let (mut one, mut other) = (Window::new(Duration::from_secs(span)), Window::new(Duration::from_secs(span)));
            for (at, value) in &ordered {
                one.push(*at, *value);
            }
            for (_, at, value) in &arrivals {
                other.insert(*at, *value);
            }
            prop_assert_eq!(one.count(), other.count());
            prop_assert_eq!((one.min(), one.max()), (other.min(), other.max()));
            prop_assert_eq!((one.delta(), one.rate()), (other.delta(), other.rate()));
            prop_assert!((one.mean().unwrap() - other.mean().unwrap()).abs() < 1e-9);
            prop_assert!((one.stddev().unwrap() - other.stddev().unwrap()).abs() < 1e-6);
        }
    }

    #[test]
    fn rate_is_per_minute_and_needs_two_moments() {
        let mut window = Window::new(Duration::from_secs(600));
        let at = Timestamp::from_secs(1_800_000_000);
        window.push(at, 10.0);
        assert_eq!(window.rate(), None);
        window.push(at + Duration::from_secs(30), 10.5);
        assert_eq!(window.rate(), Some(1.0));
    }
}
