//! What happens at the points over time, written by hand in a TOML file and played back exactly.
//!
//! In: a scenario and the time since its beginning. Out: for each of its points what the sensor says then: a
//! value, an invalid code, or nothing. Pure: the same moment always gives the same reading, noise included.
//!
//! A scenario is a list of points, each with keyframes. A keyframe holds from its `at` to the next one's:
//! ```text
//!  value, shape = "linear"   moves to the next keyframe's value (the default)
//!  value, shape = "step"     stays, with noise
//!  value, shape = "flat"     stays to the last digit, without noise: a stuck sensor
//!  code = 32767              the device says "no value" with this raw code
//!  silent = true             the sensor says nothing
//!  clock_offset = "-2h"      beside any of them: the sensor's clock is wrong by that much
//! ```
//! After the last keyframe it holds for ever, or the scenario starts over after `length` if `repeat`.

mod file;
mod shipped;

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::Serialize;

pub use file::{Problem, ScenarioError, duration_in};
pub use shipped::{shipped, shipped_files};

use crate::noise::{seed_of, spread};

/// Noise changes at this pace: any shorter and two reads of one moment would differ.
const NOISE_STEP_MS: u128 = 100;

/// How a value goes on from its keyframe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    Linear,
    Step,
    Flat,
}

/// What a keyframe lets the sensor do.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Drive {
    Value { value: f64, shape: Shape },
    Code(u32),
    Silent,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Keyframe {
    pub at: Duration,
    pub drive: Drive,
    pub clock_offset_ms: i64,
}

/// One point's course.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Track {
    /// `site.point`.
    pub point: String,
    /// Largest deviation, either way.
    pub noise: f64,
    /// In order of time, the first at zero; never empty.
    pub keyframes: Vec<Keyframe>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scenario {
    pub name: String,
    pub title: String,
    pub about: String,
    pub length: Duration,
    pub repeat: bool,
    pub tracks: Vec<Track>,
}

/// What a sensor says.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    Value(f64),
    /// A raw "no value" code.
    Code(u32),
    Silent,
}

/// What a sensor says at a moment, and how wrong its clock is then.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Reading {
    pub signal: Signal,
    pub clock_offset_ms: i64,
}

impl Track {
    /// The reading `elapsed` after the beginning. `noise_at` is the time without repeats, so that a
    /// scenario that starts over does not repeat its noise.
    fn value_at(&self, elapsed: Duration, noise_at: Duration) -> Reading {
        let next = self.keyframes.partition_point(|keyframe| keyframe.at <= elapsed);
        // The first keyframe is at zero, so there is always one that has begun.
        let Some(here) = self.keyframes.get(next.saturating_sub(1)) else {
            return Reading { signal: Signal::Silent, clock_offset_ms: 0 };
        };
        let signal = match here.drive {
            Drive::Silent => Signal::Silent,
            Drive::Code(code) => Signal::Code(code),
            Drive::Value { value, shape: Shape::Flat } => Signal::Value(value),
            Drive::Value { value, shape: Shape::Step } => Signal::Value(value + self.noise(noise_at)),
            Drive::Value { value, shape: Shape::Linear } => {
                let on_the_way = match self.keyframes.get(next) {
                    Some(Keyframe { at, drive: Drive::Value { value: target, .. }, .. }) => {
                        let part = (elapsed - here.at).as_secs_f64() / (*at - here.at).as_secs_f64();
                        value + (target - value) * part
                    }
                    Some(Keyframe { drive: Drive::Code(_) | Drive::Silent, .. }) | None => value,
                };
                Signal::Value(on_the_way + self.noise(noise_at))
            }
        };
        Reading { signal, clock_offset_ms: here.clock_offset_ms }
    }

    fn noise(&self, at: Duration) -> f64 {
        let step = u64::try_from(at.as_millis() / NOISE_STEP_MS).unwrap_or(u64::MAX);
        self.noise * spread(seed_of(&self.point), step)
    }
}

impl Scenario {
    /// What `track` says `elapsed` after the scenario began, in the scenario's own time.
    #[must_use]
    pub fn value_at(&self, track: &Track, elapsed: Duration) -> Reading {
        let within = if self.repeat && !self.length.is_zero() {
            Duration::from_nanos(u64::try_from(elapsed.as_nanos() % self.length.as_nanos()).unwrap_or(0))
        } else {
            elapsed
        };
        track.value_at(within, elapsed)
    }

    #[must_use]
    pub fn track(&self, point: &str) -> Option<&Track> {
        self.tracks.iter().find(|track| track.point == point)
    }

    /// The reading of `point`, or nothing when the scenario leaves it alone.
    #[must_use]
    pub fn reading(&self, point: &str, elapsed: Duration) -> Option<Reading> {
        self.track(point).map(|track| self.value_at(track, elapsed))
    }
}

/// Scenario time after `wall` time at `speed`: at speed 6, 20 s of a demo play two minutes.
#[must_use]
pub fn played(wall: Duration, speed: f64) -> Duration {
    Duration::try_from_secs_f64(wall.as_secs_f64() * speed.max(0.0)).unwrap_or(Duration::MAX)
}
