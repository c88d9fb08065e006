//! What the rules of one point look back on: its newest samples, windows over them, and memories.
//!
//! In comes each usable sample once, overtaken ones too; rules ask. What no rule asks for is not kept, and what
//! several rules or spans ask for is kept once. Everything is in the snapshot. Changed rules or limits change
//! what is wanted: what stays is carried over, what is new begins with the samples that are still there.
//!
//! Windows and memories take up new samples several at once, each as if it had just come, or when they are asked:
//! so they need not be fetched for each sample, and what they say is the same to the bit. Between which two numbers
//! everything lies that they look back on is known at once, and answers most rules.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::keep::{Keep, Kept};
use super::track::{Track, UNSETTLED};
use super::window::{MOST_SAMPLES, Over, Parts, Window};
use crate::model::Timestamp;

/// What the rules of a point ask for, each thing once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wants {
    pub windows: Vec<(Duration, Parts)>,
    pub keeps: Vec<Keep>,
    /// The newest sample and the one before.
    pub pair: bool,
    /// Rules at other points ask for some of it.
    pub asked_by_others: bool,
}

impl Wants {
    /// The longest time that is looked back on.
    #[must_use]
    pub fn looks_back(&self) -> Duration {
        let windows = self.windows.iter().map(|(span, _)| *span);
        windows.chain(self.keeps.iter().map(Keep::looks_back)).max().unwrap_or_default()
    }

    /// Place of the window that answers this.
    pub fn window(&mut self, span: Duration, over: Over) -> usize {
        let place = self.windows.iter().position(|(known, _)| *known == span).unwrap_or_else(|| {
            self.windows.push((span, Parts::NONE));
            self.windows.len() - 1
        });
        self.windows[place].1 = self.windows[place].1.and(over.parts());
        place
    }

    /// Place of the memory.
    pub fn keep(&mut self, keep: Keep) -> usize {
        self.keeps.iter().position(|known| *known == keep).unwrap_or_else(|| {
            self.keeps.push(keep);
            self.keeps.len() - 1
        })
    }

    /// Samples that are always there, however old.
    fn least(&self) -> usize {
        if self.keeps.is_empty() && !self.pair { 0 } else { UNSETTLED as usize + 1 }
    }

    /// Bytes at worst, for a point with a sample every `period`.
    #[must_use]
    pub fn bytes(&self, period: Duration) -> usize {
        let samples = |span: Duration| expected(span, period).min(MOST_SAMPLES);
        let longest = self.windows.iter().map(|(span, _)| samples(*span)).max().unwrap_or(0).max(self.least());
        let longest = longest + if longest == 0 { 0 } else { AT_ONCE as usize };
        let windows: usize = self.windows.iter().map(|(span, parts)| parts.bytes(samples(*span))).sum();
        windows + longest * size_of::<(Timestamp, f64)>() + self.keeps.len() * size_of::<Kept>()
    }
}

/// Samples that a span holds when one comes every `period`.
#[must_use]
pub fn expected(span: Duration, period: Duration) -> usize {
    usize::try_from(span.as_micros() / period.as_micros().max(1) + 1).unwrap_or(usize::MAX)
}

/// What is held in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub samples: usize,
    pub bytes: usize,
}

impl Held {
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self { samples: self.samples + other.samples, bytes: self.bytes + other.bytes }
    }
}

/// Samples that are taken up at once.
const AT_ONCE: u16 = 32;
/// What lies between two numbers is seen anew after so long at the earliest.
const SHORTEST_SPAN: Duration = Duration::from_secs(600);

/// All that is looked back on lies between the two, and maybe all of it anywhere between them. Without any, `low` is
/// above `high`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hull {
    pub low: f64,
    pub high: f64,
}

impl Default for Hull {
    fn default() -> Self {
        Self { low: f64::INFINITY, high: f64::NEG_INFINITY }
    }
}

impl Hull {
    fn over(numbers: impl Iterator<Item = f64>) -> Self {
        numbers.fold(Self::default(), |hull, number| hull.and(Self { low: number, high: number }))
    }

    fn and(self, other: Self) -> Self {
        Self { low: self.low.min(other.low), high: self.high.max(other.high) }
    }
}

/// How samples come.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pace {
    /// Each so long after the one before, give or take a quarter; zero: one cannot tell.
    pub beat: Duration,
    /// For so long.
    pub evenly: Duration,
}

impl Pace {
    /// A line through samples of a span that are less than a number apart, and come evenly over it, is less steep than
    /// so many times that number over the span. With n samples, V the sum of the squares of their moments' distances
    /// from the mean one, and g the shortest gap: a slope is at most half the number times the sum of those distances
    /// over V, that sum is at most the root of nV, and V is at least g²n(n²-1)/12. Gaps are between 3/4 and 5/4 of the
    /// beat, and five beats go into the span: that makes 2.99.
    pub const STEEPEST: f64 = 3.2;

    /// Are the samples of a window of that span the newest of those that come evenly, and all of them, and enough?
    #[must_use]
    pub fn is_even_over(self, span: Duration) -> bool {
        let held = MOST_SAMPLES as u32 / 2;
        !self.beat.is_zero() && self.evenly >= span && self.beat * 5 <= span && span <= self.beat * held
    }
}

/// In this order what each sample needs lies together, at the beginning.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[repr(C)]
pub struct Past {
    track: Track,
    /// The newest samples that windows and memories have not taken up yet, and how many of them there may be; none
    /// where nothing is kept.
    behind: u16,
    most_behind: u16,
    /// Microseconds from one sample to the next, about, since when; 0: there is no telling.
    beat: u32,
    even_since: Timestamp,
    /// Of all samples until then, since one span before, and of those before that windows may still hold.
    young_until: Timestamp,
    young: Hull,
    old: Hull,
    /// Of the longest window, and not shorter than [`SHORTEST_SPAN`].
    span: Duration,
    least: usize,
    windows: Vec<Window>,
    kept: Vec<Kept>,
}

impl Past {
    /// Bytes from its beginning that each sample needs.
    pub const NEEDED: usize = std::mem::offset_of!(Self, span);

    #[must_use]
    pub fn new(wants: &Wants) -> Self {
        let mut past = Self::default();
        past.arrange(wants);
        past
    }

    /// Keeps what is wanted from now on, in that order.
    pub fn arrange(&mut self, wants: &Wants) {
        self.settle();
        let mut windows = std::mem::take(&mut self.windows);
        let mut kept = std::mem::take(&mut self.kept);
        let track = self.track.whole();
        for (span, parts) in &wants.windows {
            let window = match windows.iter().position(|window| window.span == *span) {
                Some(place) => {
                    let mut window = windows.swap_remove(place);
                    window.keep(*parts, track);
                    window
                }
                None => Window::new(*span, *parts, track),
            };
            self.windows.push(window);
        }
        for keep in &wants.keeps {
            let there = kept.iter().position(|kept| kept.keep == *keep);
            let carried = there.map(|place| kept.swap_remove(place));
            self.kept.push(carried.unwrap_or_else(|| Kept::new(keep.clone(), track)));
        }
        self.least = wants.least();
        let nothing = self.windows.is_empty() && self.least == 0;
        self.most_behind = if nothing {
            0
        } else if wants.asked_by_others {
            1
        } else {
            AT_ONCE
        };
        self.span = self.windows.iter().map(|window| window.span).max().unwrap_or_default().max(SHORTEST_SPAN);
        self.trim();
        (self.young, self.old) = (self.everything(), Hull::default());
        self.young_until = self.track.newest().map_or(Timestamp::MIN, |(newest, _)| newest + self.span);
        // A longer window begins with what is there.
        self.beat = 0;
    }

    /// A usable sample. One that is older than the newest begins the windows anew: the source's clock was set
    /// back, and what stands in its future says nothing about now.
    pub fn push(&mut self, at: Timestamp, value: f64) {
        if self.most_behind == 0 || !value.is_finite() {
            return;
        }
        if self.track.newest().is_some_and(|(newest, _)| newest > at) {
            self.settle();
            self.track = Track::default();
            for window in &mut self.windows {
                window.empty(self.track.whole());
            }
            self.kept.iter_mut().for_each(Kept::set_back);
            (self.young, self.old) = (self.everything(), Hull::default());
            self.young_until = at + self.span;
            self.beat = 0;
        }
        if at > self.young_until {
            // Nothing that a window holds from here on is older than those that were young until now, and what
            // memories made of older ones counts by itself.
            self.settle();
            self.old = self.young;
            self.young = Hull::over(self.means());
            self.young_until = at + self.span;
        }
        if let Some((before, _)) = self.track.newest() {
            let gap = at.micros().saturating_sub(before.micros());
            if gap.abs_diff(i64::from(self.beat)).saturating_mul(4) > u64::from(self.beat) || self.beat == 0 {
                (self.beat, self.even_since) = (u32::try_from(gap).unwrap_or(0), before);
            }
        }
        self.track.push(at, value);
        self.behind += 1;
        self.young = self.young.and(Hull { low: value, high: value });
        if self.behind >= self.most_behind {
            self.settle();
        }
    }

    /// A usable sample that arrived after younger ones: it takes its place among them.
    pub fn insert(&mut self, at: Timestamp, value: f64) {
        if self.track.newest().is_none_or(|(newest, _)| newest <= at) {
            return self.push(at, value);
        }
        if !value.is_finite() {
            return;
        }
        self.settle();
        self.beat = 0;
        let number = self.track.insert(at, value);
        let track = self.track.whole();
        for window in &mut self.windows {
            window.insert(track, number);
        }
        for kept in &mut self.kept {
            kept.insert(track, number);
        }
        // Memories began again from before the newest samples.
        let newest = track.from(track.end().saturating_sub(UNSETTLED + 1).max(track.first())).map(|(_, value)| value);
        self.young = self.young.and(Hull::over(self.means().chain(newest).chain([value])));
        self.trim();
    }

    /// Windows and memories take up what has come.
    pub fn settle(&mut self) {
        if self.behind == 0 {
            return;
        }
        let whole = self.track.end();
        for end in whole - u64::from(self.behind) + 1..=whole {
            let track = self.track.upto(end);
            for window in &mut self.windows {
                window.append(track);
            }
            for kept in &mut self.kept {
                kept.append(track);
            }
        }
        self.behind = 0;
        self.trim();
    }

    fn settled(&self) -> Self {
        let mut settled = self.clone();
        settled.settle();
        settled
    }

    fn trim(&mut self) {
        let needed = self.windows.iter().map(Window::start).min().unwrap_or(u64::MAX);
        self.track.forget_before(needed.min(self.track.end().saturating_sub(self.least as u64)));
    }

    /// Between which two numbers everything lies that windows and exponential means look back on.
    #[must_use]
    pub fn hull(&self) -> Hull {
        self.young.and(self.old)
    }

    #[must_use]
    pub fn pace(&self) -> Pace {
        let newest = self.track.newest().map_or(Timestamp::MIN, |(newest, _)| newest);
        Pace { beat: Duration::from_micros(self.beat.into()), evenly: newest.since(self.even_since) }
    }

    /// What stands for samples that are gone.
    fn means(&self) -> impl Iterator<Item = f64> {
        let bases = self.windows.iter().flat_map(|window| window.bases(self.track.whole()));
        self.kept.iter().flat_map(Kept::means).chain(bases)
    }

    fn everything(&self) -> Hull {
        let track = self.track.whole();
        Hull::over(self.means().chain(track.from(track.first()).map(|(_, value)| value)))
    }

    /// The window of that place says so much; `None` when it is not known. Whoever asks often settles first.
    #[must_use]
    pub fn over(&self, place: usize, over: Over) -> Option<f64> {
        if self.behind > 0 {
            return self.settled().over(place, over);
        }
        self.windows.get(place)?.ask(over, self.track.whole())
    }

    /// The memory of that place says so much; `None` when it is not known.
    #[must_use]
    pub fn kept(&self, place: usize) -> Option<f64> {
        if self.behind > 0 {
            return self.settled().kept(place);
        }
        self.kept.get(place)?.ask().filter(|said| said.is_finite())
    }

    /// Something of each line of its own memory that the next sample needs.
    #[must_use]
    pub fn touch(&self) -> u64 {
        self.track.end() ^ u64::from(self.behind) ^ self.old.high.to_bits()
    }

    /// The same of what that points to.
    #[must_use]
    pub fn touch_behind(&self) -> u64 {
        self.newest().map_or(0, f64::to_bits)
    }

    /// Of what windows and memories need to take up what has come, where the next sample makes them, or asks them as the
    /// one before did: as many samples leave a window as come in.
    #[must_use]
    pub fn touch_due(&self) -> Option<u64> {
        if self.behind > 0 && self.behind + 1 < self.most_behind {
            return None;
        }
        let (track, behind) = (self.track.whole(), u64::from(self.behind));
        let newest = track.touch(track.end() - behind, behind);
        let window = |all, window: &Window| all ^ window.touch() ^ track.touch(window.start(), behind.max(1));
        let windows = self.windows.iter().fold(newest, window);
        Some(self.kept.iter().fold(windows, |all, kept| all ^ kept.touch()))
    }

    #[must_use]
    pub fn newest(&self) -> Option<f64> {
        self.track.newest().map(|(_, value)| value)
    }

    /// The newest value and the one before it.
    #[must_use]
    pub fn pair(&self) -> Option<(f64, f64)> {
        Some((self.track.before_newest()?.1, self.track.newest()?.1))
    }

    #[must_use]
    pub fn held(&self) -> Held {
        let windows: usize = self.windows.iter().map(Window::bytes).sum();
        let kept = self.kept.capacity() * size_of::<Kept>();
        Held { samples: self.track.len(), bytes: self.track.bytes() + windows + kept }
    }
}
