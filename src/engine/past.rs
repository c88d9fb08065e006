//! What the rules of one point look back on: its newest samples, windows over them, and memories.
//!
//! In comes each usable sample once, overtaken ones too; rules ask. What no rule asks for is not kept, and what
//! several rules or spans ask for is kept once. Everything is in the snapshot. Changed rules or limits change
//! what is wanted: what stays is carried over, what is new begins with the samples that are still there.

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

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Past {
    track: Track,
    windows: Vec<Window>,
    kept: Vec<Kept>,
    least: usize,
}

impl Past {
    #[must_use]
    pub fn new(wants: &Wants) -> Self {
        let mut past = Self::default();
        past.arrange(wants);
        past
    }

    /// Keeps what is wanted from now on, in that order.
    pub fn arrange(&mut self, wants: &Wants) {
        let mut windows = std::mem::take(&mut self.windows);
        let mut kept = std::mem::take(&mut self.kept);
        for (span, parts) in &wants.windows {
            let window = match windows.iter().position(|window| window.span == *span) {
                Some(place) => {
                    let mut window = windows.swap_remove(place);
                    window.keep(*parts, &self.track);
                    window
                }
                None => Window::new(*span, *parts, &self.track),
            };
            self.windows.push(window);
        }
        for keep in &wants.keeps {
            let there = kept.iter().position(|kept| kept.keep == *keep);
            let carried = there.map(|place| kept.swap_remove(place));
            self.kept.push(carried.unwrap_or_else(|| Kept::new(keep.clone(), &self.track)));
        }
        self.least = wants.least();
        self.trim();
    }

    /// A usable sample. One that is older than the newest begins the windows anew: the source's clock was set
    /// back, and what stands in its future says nothing about now.
    pub fn push(&mut self, at: Timestamp, value: f64) {
        if self.windows.is_empty() && self.least == 0 || !value.is_finite() {
            return;
        }
        if self.track.newest().is_some_and(|(newest, _)| newest > at) {
            self.track = Track::default();
            for window in &mut self.windows {
                window.empty(&self.track);
            }
            self.kept.iter_mut().for_each(Kept::set_back);
        }
        self.track.push(at, value);
        for window in &mut self.windows {
            window.append(&self.track);
        }
        for kept in &mut self.kept {
            kept.append(&self.track);
        }
        self.trim();
    }

    /// A usable sample that arrived after younger ones: it takes its place among them.
    pub fn insert(&mut self, at: Timestamp, value: f64) {
        if self.track.newest().is_none_or(|(newest, _)| newest <= at) {
            return self.push(at, value);
        }
        if !value.is_finite() {
            return;
        }
        let number = self.track.insert(at, value);
        for window in &mut self.windows {
            window.insert(&self.track, number);
        }
        for kept in &mut self.kept {
            kept.insert(&self.track, number);
        }
        self.trim();
    }

    fn trim(&mut self) {
        let needed = self.windows.iter().map(Window::start).min().unwrap_or(u64::MAX);
        self.track.forget_before(needed.min(self.track.end().saturating_sub(self.least as u64)));
    }

    /// The window of that place says so much; `None` when it is not known.
    #[must_use]
    pub fn over(&self, place: usize, over: Over) -> Option<f64> {
        self.windows.get(place)?.ask(over, &self.track)
    }

    /// The memory of that place says so much; `None` when it is not known.
    #[must_use]
    pub fn kept(&self, place: usize) -> Option<f64> {
        self.kept.get(place)?.ask().filter(|said| said.is_finite())
    }

    #[must_use]
    pub fn windows(&self) -> usize {
        self.windows.len()
    }

    /// Something of each line of memory that a sample needs.
    #[must_use]
    pub fn touch(&self) -> u64 {
        let newest = self.newest().map_or(0, f64::to_bits);
        let windows = self.windows.iter().fold(0, |all, window| all ^ window.touch());
        newest ^ windows ^ self.kept.iter().fold(0, |all, kept| all ^ kept.touch())
    }

    /// The same of what that points to.
    #[must_use]
    pub fn touch_far(&self) -> u64 {
        self.windows.iter().fold(0, |all, window| all ^ window.touch_far(&self.track))
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
