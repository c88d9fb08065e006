//! Sliding windows over one point's usable values, in event time.
//!
//! A window is the last `span` before the newest sample, that moment included. It keeps only the parts that a rule
//! asks for; the samples themselves stand once in the point's [`Track`]. Every step is amortised O(1), the median
//! O(log n): sums are kept running and rebuilt from the samples after as many removals as the window holds, so
//! that rounding never accumulates; extremes stand in monotonic queues. The whole state is in the snapshot, sums
//! included, so that a restart changes no verdict. What cannot be reckoned is unknown, never infinite.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::order::{BYTES_A_NUMBER, Order};
use super::track::{UNSETTLED, Upto};
use crate::model::Timestamp;

/// A window holds at most this many samples; beyond it the oldest go early and the window is shorter than
/// asked for. At 10 Hz that is 2.7 hours.
pub const MOST_SAMPLES: usize = 100_000;

/// What can be asked of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    Mean,
    Min,
    Max,
    Sum,
    Count,
    Stddev,
    Delta,
    Rate,
    Median,
    Slope,
    Increase,
    Resets,
    Gap,
}

impl Over {
    /// What has to be kept to answer it.
    #[must_use]
    pub const fn parts(self) -> Parts {
        match self {
            Self::Mean | Self::Sum | Self::Stddev => Parts::SUMS,
            Self::Min => Parts::LOWS,
            Self::Max => Parts::HIGHS,
            Self::Median => Parts::ORDER,
            Self::Slope => Parts::LINE,
            Self::Increase | Self::Resets => Parts::RISES,
            Self::Gap => Parts::GAPS,
            Self::Count | Self::Delta | Self::Rate => Parts::NONE,
        }
    }
}

/// Parts of a window, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts(u8);

impl Parts {
    pub const NONE: Self = Self(0);
    pub const SUMS: Self = Self(1);
    pub const LOWS: Self = Self(1 << 1);
    pub const HIGHS: Self = Self(1 << 2);
    pub const ORDER: Self = Self(1 << 3);
    pub const LINE: Self = Self(1 << 4);
    pub const RISES: Self = Self(1 << 5);
    pub const GAPS: Self = Self(1 << 6);

    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[must_use]
    pub const fn has(self, part: Self) -> bool {
        self.0 & part.0 != 0
    }

    /// Bytes for a window of `samples`, at worst.
    #[must_use]
    pub const fn bytes(self, samples: usize) -> usize {
        let queues = self.has(Self::LOWS) as usize + self.has(Self::HIGHS) as usize + self.has(Self::GAPS) as usize;
        let order = if self.has(Self::ORDER) { BYTES_A_NUMBER } else { 0 };
        let boxed = size_of::<Line>() + size_of::<Rises>() + size_of::<Gaps>();
        size_of::<Window>() + boxed + samples * (queues * size_of::<(Timestamp, f64)>() + order)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Window {
    pub span: Duration,
    /// Number of its oldest sample.
    start: u64,
    /// Samples that left since the sums were built.
    removed: u64,
    sums: Option<Sums>,
    lows: Option<VecDeque<(Timestamp, f64)>>,
    highs: Option<VecDeque<(Timestamp, f64)>>,
    // What few rules ask for takes no room where it is not: a sample has to fetch the whole window.
    line: Option<Box<Line>>,
    rises: Option<Box<Rises>>,
    order: Option<Box<Order>>,
    gaps: Option<Box<Gaps>>,
}

impl Window {
    /// Something of each line of its own memory, and the ends of its queues.
    pub fn touch(&self) -> u64 {
        let ends = [&self.lows, &self.highs].into_iter().flatten().filter_map(VecDeque::back);
        let ends = ends.fold(0, |all, (_, value)| all ^ value.to_bits());
        ends ^ self.start ^ self.removed ^ u64::from(self.sums.is_some()) ^ u64::from(self.line.is_some())
    }

    /// Numbers that its sums are counted from, if there are any: they are rounded as those numbers are.
    pub fn bases(&self, track: Upto<'_>) -> impl Iterator<Item = f64> {
        let bases = [self.sums.as_ref().map(|sums| sums.base), self.line.as_ref().map(|line| line.base)];
        let holds = self.start < track.end();
        bases.into_iter().flatten().filter(move |_| holds)
    }

    /// The samples of the span that the track still holds.
    pub fn new(span: Duration, parts: Parts, track: Upto<'_>) -> Self {
        let start = track.newest().map_or(track.end(), |(newest, _)| {
            let older = track.from(track.first()).take_while(|(at, _)| *at < newest - span).count();
            track.first() + older as u64
        });
        let mut window = Self {
            span,
            start,
            removed: 0,
            sums: None,
            line: None,
            rises: None,
            lows: None,
            highs: None,
            order: None,
            gaps: None,
        };
        window.keep(parts, track);
        window
    }

    /// Keeps exactly these parts from now on: what is new is built from the samples, what stays is not touched.
    pub fn keep(&mut self, parts: Parts, track: Upto<'_>) {
        let (start, has) = (self.start, |part| parts.has(part));
        let samples = || track.from(start);
        self.sums = has(Parts::SUMS).then(|| self.sums.take().unwrap_or_else(|| Sums::of(track, start)));
        self.line = has(Parts::LINE).then(|| self.line.take().unwrap_or_else(|| Line::of(track, start).into()));
        self.rises = has(Parts::RISES).then(|| self.rises.take().unwrap_or_else(|| Rises::of(track, start).into()));
        self.gaps = has(Parts::GAPS).then(|| self.gaps.take().unwrap_or_else(|| Gaps::of(track, start).into()));
        let extremes = |yields: fn(f64, f64) -> bool| {
            let mut queue = VecDeque::new();
            samples().for_each(|(at, value)| push_extreme(&mut queue, at, value, yields));
            queue
        };
        self.lows = has(Parts::LOWS).then(|| self.lows.take().unwrap_or_else(|| extremes(lower)));
        self.highs = has(Parts::HIGHS).then(|| self.highs.take().unwrap_or_else(|| extremes(higher)));
        self.order = has(Parts::ORDER).then(|| {
            self.order.take().unwrap_or_else(|| {
                let mut order = Order::default();
                samples().for_each(|(_, value)| order.add(value));
                Box::new(order)
            })
        });
    }

    /// Begins anew on a track that holds nothing yet.
    pub fn empty(&mut self, track: Upto<'_>) {
        *self = Self::new(self.span, self.parts(), track);
    }

    fn parts(&self) -> Parts {
        [
            (self.sums.is_some(), Parts::SUMS),
            (self.line.is_some(), Parts::LINE),
            (self.rises.is_some(), Parts::RISES),
            (self.lows.is_some(), Parts::LOWS),
            (self.highs.is_some(), Parts::HIGHS),
            (self.order.is_some(), Parts::ORDER),
            (self.gaps.is_some(), Parts::GAPS),
        ]
        .into_iter()
        .filter(|(kept, _)| *kept)
        .fold(Parts::NONE, |parts, (_, part)| parts.and(part))
    }

    pub const fn start(&self) -> u64 {
        self.start
    }

    /// The newest sample of the track is new.
    pub fn append(&mut self, track: Upto<'_>) {
        let number = track.end() - 1;
        let (at, value) = track.at(number);
        let before = (number > self.start).then(|| track.at(number - 1));
        if let Some(sums) = &mut self.sums {
            sums.add(value, before.is_none());
        }
        if let Some(line) = &mut self.line {
            line.add(at, value, before.is_none());
        }
        if let (Some(rises), Some((_, before))) = (&mut self.rises, before) {
            rises.add(before, value);
        }
        if let Some(lows) = &mut self.lows {
            push_extreme(lows, at, value, lower);
        }
        if let Some(highs) = &mut self.highs {
            push_extreme(highs, at, value, higher);
        }
        if let Some(order) = &mut self.order {
            order.add(value);
        }
        if let Some(gaps) = &mut self.gaps {
            gaps.settle(track, self.start);
        }
        self.forget(track, at - self.span);
    }

    /// A sample took its place among younger ones; it is `number` now.
    pub fn insert(&mut self, track: Upto<'_>, number: u64) {
        let Some((newest, _)) = track.newest() else { return };
        let (at, value) = track.at(number);
        if number < self.start || at < newest - self.span {
            self.start += 1;
            return;
        }
        let (before, after) = ((number > self.start).then(|| track.at(number - 1)), track.at(number + 1));
        if let Some(sums) = &mut self.sums {
            sums.add(value, false);
        }
        if let Some(line) = &mut self.line {
            line.add(at, value, false);
        }
        if let Some(rises) = &mut self.rises {
            if let Some((_, before)) = before {
                rises.remove(before, after.1);
                rises.add(before, value);
            }
            rises.add(value, after.1);
        }
        if let Some(lows) = &mut self.lows {
            insert_extreme(lows, at, value, lower);
        }
        if let Some(highs) = &mut self.highs {
            insert_extreme(highs, at, value, higher);
        }
        if let Some(order) = &mut self.order {
            order.add(value);
        }
        if let Some(gaps) = &mut self.gaps {
            if number > track.end() - 1 - UNSETTLED.min(track.end() - 1) {
                gaps.settle(track, self.start);
            } else {
                **gaps = Gaps::of(track, self.start);
            }
        }
    }

    /// Drops what is older than `oldest`; a sample exactly as old as the span still counts.
    fn forget(&mut self, track: Upto<'_>, oldest: Timestamp) {
        let before = self.start;
        while self.count(track) > MOST_SAMPLES || track.at(self.start).0 < oldest {
            let ((at, gone), (_, next)) = (track.at(self.start), track.at(self.start + 1));
            if let Some(sums) = &mut self.sums {
                sums.remove(gone);
            }
            if let Some(line) = &mut self.line {
                line.remove(at, gone);
            }
            if let Some(rises) = &mut self.rises {
                rises.remove(gone, next);
            }
            if let Some(order) = &mut self.order {
                order.remove(gone);
            }
            self.start += 1;
        }
        if self.start == before {
            return;
        }
        self.removed += self.start - before;
        let (oldest, _) = track.at(self.start);
        for extremes in [&mut self.lows, &mut self.highs].into_iter().flatten() {
            while extremes.front().is_some_and(|(at, _)| *at < oldest) {
                extremes.pop_front();
            }
        }
        if let Some(gaps) = &mut self.gaps {
            gaps.forget(oldest);
        }
        if self.removed > track.end() - self.start {
            self.rebuild(track);
        }
    }

    fn rebuild(&mut self, track: Upto<'_>) {
        self.removed = 0;
        self.sums = self.sums.as_ref().map(|_| Sums::of(track, self.start));
        self.line = self.line.as_ref().map(|_| Line::of(track, self.start).into());
        self.rises = self.rises.as_ref().map(|_| Rises::of(track, self.start).into());
    }

    pub fn count(&self, track: Upto<'_>) -> usize {
        usize::try_from(track.end() - self.start).unwrap_or(usize::MAX)
    }

    /// `None`: it is not known, for want of samples, because the part is not kept or because the figures are too
    /// large to be reckoned with.
    pub fn ask(&self, over: Over, track: Upto<'_>) -> Option<f64> {
        let count = self.count(track);
        if count == 0 {
            return matches!(over, Over::Count).then_some(0.0);
        }
        let (first, last) = (track.at(self.start), track.newest()?);
        let said = match over {
            Over::Count => count as f64,
            Over::Mean => self.sums.as_ref()?.mean(count),
            Over::Sum => self.sums.as_ref()?.total(count),
            Over::Stddev => self.sums.as_ref()?.deviation(count),
            Over::Min => self.lows.as_ref()?.front()?.1,
            Over::Max => self.highs.as_ref()?.front()?.1,
            Over::Delta => last.1 - first.1,
            Over::Rate => {
                let minutes = last.0.since(first.0).as_secs_f64() / 60.0;
                if minutes <= 0.0 {
                    return None;
                }
                (last.1 - first.1) / minutes
            }
            Over::Median => self.order.as_ref()?.median()?,
            Over::Slope if last.0 > first.0 => self.line.as_ref()?.slope(count),
            Over::Slope => return None,
            Over::Increase | Over::Resets if count < 2 => return None,
            Over::Increase => self.rises.as_ref()?.sum,
            Over::Resets => self.rises.as_ref()?.resets as f64,
            Over::Gap => self.gaps.as_ref()?.longest(track, self.start, self.span),
        };
        said.is_finite().then_some(said)
    }

    pub fn bytes(&self) -> usize {
        let queues = [&self.lows, &self.highs].into_iter().flatten().map(VecDeque::capacity).sum::<usize>();
        let gaps = self.gaps.as_ref().map_or(0, |gaps| gaps.settled.capacity());
        let boxed = [
            (self.line.is_some(), size_of::<Line>()),
            (self.rises.is_some(), size_of::<Rises>()),
            (self.gaps.is_some(), size_of::<Gaps>()),
        ];
        let boxed: usize = boxed.into_iter().filter(|(there, _)| *there).map(|(_, bytes)| bytes).sum();
        let order = self.order.as_ref().map_or(0, |order| size_of::<Order>() + order.bytes());
        size_of::<Self>() + boxed + (queues + gaps) * size_of::<(Timestamp, f64)>() + order
    }
}

/// Sums of the differences to `base`, which keeps them small beside a large value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sums {
    base: f64,
    sum: f64,
    squares: f64,
}

impl Sums {
    fn of(track: Upto<'_>, start: u64) -> Self {
        let mut sums = Self::default();
        track.from(start).enumerate().for_each(|(place, (_, value))| sums.add(value, place == 0));
        sums
    }

    fn add(&mut self, value: f64, first: bool) {
        if first {
            *self = Self { base: value, ..Self::default() };
        }
        let difference = value - self.base;
        self.sum += difference;
        self.squares += difference * difference;
    }

    fn remove(&mut self, value: f64) {
        let difference = value - self.base;
        self.sum -= difference;
        self.squares -= difference * difference;
    }

    fn mean(&self, count: usize) -> f64 {
        self.base + self.sum / count as f64
    }

    fn total(&self, count: usize) -> f64 {
        self.base * count as f64 + self.sum
    }

    /// Of the population.
    fn deviation(&self, count: usize) -> f64 {
        let mean = self.sum / count as f64;
        let variance = self.squares / count as f64 - mean * mean;
        // Not f64::max, which would take what is no number for zero.
        if variance < 0.0 { 0.0 } else { variance.sqrt() }
    }
}

/// Sums of a least-squares line: minutes since a base moment, values above a base value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Line {
    base_at: Timestamp,
    base: f64,
    time: f64,
    value: f64,
    times: f64,
    products: f64,
}

impl Line {
    fn of(track: Upto<'_>, start: u64) -> Self {
        let mut line = Self::default();
        track.from(start).enumerate().for_each(|(place, (at, value))| line.add(at, value, place == 0));
        line
    }

    fn relative(&self, at: Timestamp, value: f64) -> (f64, f64) {
        let micros = at.micros().saturating_sub(self.base_at.micros());
        (micros as f64 / 60e6, value - self.base)
    }

    fn add(&mut self, at: Timestamp, value: f64, first: bool) {
        if first {
            *self = Self { base_at: at, base: value, ..Self::default() };
        }
        let (minutes, difference) = self.relative(at, value);
        self.time += minutes;
        self.value += difference;
        self.times += minutes * minutes;
        self.products += minutes * difference;
    }

    fn remove(&mut self, at: Timestamp, value: f64) {
        let (minutes, difference) = self.relative(at, value);
        self.time -= minutes;
        self.value -= difference;
        self.times -= minutes * minutes;
        self.products -= minutes * difference;
    }

    /// Change per minute; no number when the moments cannot be told apart.
    fn slope(&self, count: usize) -> f64 {
        let count = count as f64;
        let spread = self.times - self.time * self.time / count;
        if spread <= 0.0 {
            return f64::NAN;
        }
        (self.products - self.time * self.value / count) / spread
    }
}

/// What a counter counted: rises between neighbours; a fall is a new beginning at zero.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Rises {
    sum: f64,
    /// Neighbours that differ: without any, the sum is exactly zero.
    moved: u64,
    resets: u64,
}

impl Rises {
    fn of(track: Upto<'_>, start: u64) -> Self {
        let mut rises = Self::default();
        for ((_, one), (_, next)) in track.from(start).zip(track.from(start).skip(1)) {
            rises.add(one, next);
        }
        rises
    }

    fn rise(one: f64, next: f64) -> f64 {
        if next >= one { next - one } else { next.max(0.0) }
    }

    fn add(&mut self, one: f64, next: f64) {
        self.sum += Self::rise(one, next);
        self.moved += u64::from(one != next);
        self.resets += u64::from(next < one);
    }

    fn remove(&mut self, one: f64, next: f64) {
        self.sum -= Self::rise(one, next);
        self.moved -= u64::from(one != next);
        self.resets -= u64::from(next < one);
        if self.moved == 0 {
            self.sum = 0.0;
        }
    }
}

/// Times without a sample, as (end, microseconds). Those between the newest samples are looked at when asked for:
/// a sample may still come in between.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Gaps {
    settled: VecDeque<(Timestamp, u64)>,
}

impl Gaps {
    fn of(track: Upto<'_>, start: u64) -> Self {
        let mut gaps = Self::default();
        for end in start + 1..track.end().saturating_sub(UNSETTLED) {
            gaps.push(track, end);
        }
        gaps
    }

    /// One more sample has come: the pair that ends [`UNSETTLED`] samples before it changes no more.
    fn settle(&mut self, track: Upto<'_>, start: u64) {
        if let Some(end) = (track.end() - 1).checked_sub(UNSETTLED).filter(|end| *end > start) {
            self.push(track, end);
        }
    }

    fn push(&mut self, track: Upto<'_>, end: u64) {
        let ((from, _), (to, _)) = (track.at(end - 1), track.at(end));
        let gap = micros(to.since(from));
        while self.settled.back().is_some_and(|(_, shorter)| *shorter <= gap) {
            self.settled.pop_back();
        }
        self.settled.push_back((to, gap));
    }

    fn forget(&mut self, oldest: Timestamp) {
        while self.settled.front().is_some_and(|(end, _)| *end <= oldest) {
            self.settled.pop_front();
        }
    }

    /// In seconds.
    fn longest(&self, track: Upto<'_>, start: u64, span: Duration) -> f64 {
        let (first, last) = (track.at(start).0, track.at(track.end() - 1).0);
        let leading = micros(first.since(last - span));
        let settled = self.settled.front().map_or(0, |(_, gap)| *gap);
        let unsettled = (start + 1).max(track.end().saturating_sub(UNSETTLED));
        let young = (unsettled..track.end()).map(|end| micros(track.at(end).0.since(track.at(end - 1).0))).max();
        leading.max(settled).max(young.unwrap_or(0)) as f64 / 1e6
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// A younger value that is no higher makes an older one irrelevant as a minimum.
fn lower(kept: f64, new: f64) -> bool {
    kept >= new
}

fn higher(kept: f64, new: f64) -> bool {
    kept <= new
}

/// `yields(a, b)`: a younger `b` makes `a` irrelevant.
fn push_extreme(queue: &mut VecDeque<(Timestamp, f64)>, at: Timestamp, value: f64, yields: fn(f64, f64) -> bool) {
    while queue.back().is_some_and(|(_, kept)| yields(*kept, value)) {
        queue.pop_back();
    }
    queue.push_back((at, value));
}

fn insert_extreme(queue: &mut VecDeque<(Timestamp, f64)>, at: Timestamp, value: f64, yields: fn(f64, f64) -> bool) {
    if queue.iter().rev().take_while(|(time, _)| *time > at).any(|(_, younger)| yields(value, *younger)) {
        return;
    }
    let mut place = queue.iter().rposition(|(time, _)| *time <= at).map_or(0, |place| place + 1);
    while place > 0 && yields(queue[place - 1].1, value) {
        place -= 1;
        queue.remove(place);
    }
    queue.insert(place, (at, value));
}

#[cfg(test)]
mod tests;
