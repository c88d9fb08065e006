//! The health of a sensor: what its data say about the instrument rather than about the mine.
//!
//! In come the samples of one point, usable or not, and once a minute the point's site; out comes a
//! [`Health`] that rules with `judges: "health"` look at: how long the value has stood still, whether the
//! source's clock moves, whether the reading fell at one stroke, whether it is another sensor's. Kept only
//! for what a rule at the point asks for. Every step costs the same however much is remembered.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{PermitKind, Point, PointIndex, Quality, Sample, Timestamp};

/// A reading below this share of the day's mean, reached within [`FALL_SAMPLES`], is a fall.
const FALL: f64 = 0.5;
/// Above this share the reading still counts as high.
const HIGH: f64 = 0.7;
/// A sensor that is covered or carried away falls between one reading and the next, with one in between.
const FALL_SAMPLES: u32 = 2;
/// A fall whose readings stay above this share is a lower level after this time, not a covered sensor.
const SETTLED: Duration = Duration::from_secs(1_800);
const SETTLED_AT: f64 = 0.3;
const FALL_LASTS: Duration = Duration::from_secs(24 * 3_600);
/// Hours of which the mean before a fall is made, and the least of them that make a mean.
const MEAN_HOURS: i32 = 24;
const LEAST_HOURS: u32 = 6;
/// Repeats of one source time from which the clock stands.
const LEAST_REPEATS: u32 = 3;
/// Minutes that are compared with other points.
const TWIN_MINUTES: usize = 30;
/// Correlation from which two series are one signal.
const TWIN: f64 = 0.999;
/// Points that are compared with each other in one go; a bucket that is fuller than this is no evidence.
const TWIN_BUCKET: usize = 64;

/// Which parts of its health the rules at a point ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// `flat_for`, `stood_for`, `clock`.
    pub steadiness: bool,
    /// `fall_for`, `fall_to`.
    pub fall: bool,
    /// `twin_for`.
    pub twin: bool,
    /// `permit`.
    pub permit: bool,
}

impl Needs {
    /// What asking for a property of that name takes.
    #[must_use]
    pub fn of(property: &str) -> Self {
        Self {
            steadiness: matches!(property, "flat_for" | "stood_for" | "clock"),
            fall: matches!(property, "fall_for" | "fall_to"),
            twin: property == "twin_for",
            permit: property == "permit",
        }
    }

    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            steadiness: self.steadiness || other.steadiness,
            fall: self.fall || other.fall,
            twin: self.twin || other.twin,
            permit: self.permit || other.permit,
        }
    }

    /// For how long a sensor has to be watched before all of it is known.
    #[must_use]
    pub const fn looks_back(self) -> Duration {
        if self.fall {
            Duration::from_secs(3_600 * MEAN_HOURS as u64)
        } else if self.twin {
            Duration::from_secs(60 * TWIN_MINUTES as u64)
        } else {
            Duration::ZERO
        }
    }

    #[must_use]
    pub const fn any(self) -> bool {
        self.steadiness || self.fall || self.twin || self.permit
    }
}

/// What a rule sees.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Health {
    /// Of the newest sample.
    pub quality: Quality,
    /// Seconds for which the value has not moved by more than the resolution, up to the newest usable sample.
    pub flat_s: f64,
    /// Seconds for which samples have come with one and the same source time.
    pub stood_s: f64,
    /// Seconds by which the source's clock is ahead of Davy's; below zero, behind. A sample's way here counts
    /// as "behind", so the smallest such amount of late is taken.
    pub clock_s: f64,
    /// Seconds since the reading fell at one stroke and stayed down; 0 when it did not.
    pub fall_s: f64,
    /// The highest reading since, as a share of the mean before; 1 when it did not fall.
    pub fall_to: f64,
    /// Seconds for which the series has been another point's; 0 when it is its own.
    pub twin_s: f64,
    pub permit: Option<PermitKind>,
}

/// In this order what each sample needs lies together, at the end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[repr(C)]
pub struct Memory {
    /// The hours before the newest.
    day: VecDeque<Hour>,
    /// Means of whole minutes; NaN where there was none.
    minutes: VecDeque<f64>,
    steady: Option<Steady>,
    // Boxed, because a sample has to fetch them and hardly any sensor has them.
    fall: Option<Box<Fall>>,
    twin: Option<Box<Twin>>,
    minute: Minute,
    /// Usable samples since the reading was high.
    since_high: u32,
    /// How many hours there are, with the newest.
    hours: u32,
    /// Sum and count of all hours but the newest.
    closed: (f64, f64),
    newest: Hour,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Steady {
    value: f64,
    /// Source time since when the value has been this one.
    flat_since: Timestamp,
    source: Timestamp,
    /// Receive time of the first sample with that source time.
    stood_since: Timestamp,
    /// Samples that came with that source time; not zero, so that there is no room taken for whether there is any.
    came: NonZeroU32,
    clock_s: f64,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Hour {
    /// Since 1970.
    hour: i32,
    sum: f64,
    count: u32,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Fall {
    at: Timestamp,
    from: f64,
    most: f64,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Minute {
    sum: f64,
    count: u32,
}

/// Another point that shows the same.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Twin {
    pub other: PointIndex,
    pub since: Timestamp,
}

impl Memory {
    /// From that byte on each sample needs it.
    pub const NEEDED_FROM: usize = std::mem::offset_of!(Self, steady);

    /// Something of each line of its own memory that a sample needs.
    pub fn touch(&self) -> u64 {
        u64::from(self.steady.is_some()) ^ u64::from(self.since_high) ^ u64::from(self.newest.count)
    }

    /// Another point that shows the same.
    pub fn twin(&self) -> Option<&Twin> {
        self.twin.as_deref()
    }

    /// A sample that is not late, usable or not, before it becomes the newest.
    pub fn note(&mut self, sample: &Sample, resolution: f64, needs: Needs) {
        if needs.steadiness {
            self.note_steadiness(sample, resolution);
        }
        if !sample.quality.usable() {
            return;
        }
        if needs.fall {
            self.note_fall(sample);
        }
        if needs.twin {
            self.minute.sum += sample.value;
            self.minute.count += 1;
        }
    }

    fn note_steadiness(&mut self, sample: &Sample, resolution: f64) {
        let usable = sample.quality.usable();
        let ahead_s = signed_seconds(sample.source_time, sample.receive_time);
        let Some(steady) = &mut self.steady else {
            if usable {
                self.steady = Some(Steady {
                    value: sample.value,
                    flat_since: sample.source_time,
                    source: sample.source_time,
                    stood_since: sample.receive_time,
                    came: NonZeroU32::MIN,
                    clock_s: ahead_s,
                });
            }
            return;
        };
        if sample.source_time != steady.source {
            steady.source = sample.source_time;
            steady.stood_since = sample.receive_time;
            steady.came = NonZeroU32::MIN;
        } else {
            steady.came = steady.came.saturating_add(1);
        }
        // The quickest way here is the best witness; it is forgotten by a tenth with every slower one, so that
        // a clock that goes wrong is noticed.
        steady.clock_s =
            if ahead_s > steady.clock_s { ahead_s } else { steady.clock_s + (ahead_s - steady.clock_s) * 0.1 };
        // A hair more than the step: 0.60 - 0.59 is a little over 0.01.
        if usable
            && ((sample.value - steady.value).abs() > resolution * 1.001 || sample.source_time < steady.flat_since)
        {
            steady.value = sample.value;
            steady.flat_since = sample.source_time;
        }
    }

    fn note_fall(&mut self, sample: &Sample) {
        let mean = self.mean();
        self.note_hour(sample);
        if let Some(fall) = &mut self.fall {
            fall.most = fall.most.max(sample.value);
            let lasted = sample.source_time.since(fall.at);
            // A reading that settles at a lower level is a new normal, and so is any that lasts for a day: the
            // mean has followed it, and the next fall must be seen.
            let settled = lasted >= SETTLED && fall.most >= SETTLED_AT * fall.from;
            if sample.value >= FALL * fall.from || settled || lasted >= FALL_LASTS {
                self.fall = None;
                self.since_high = 0;
            }
            return;
        }
        if let Some(mean) = mean.filter(|mean| *mean > 0.0) {
            if sample.value < FALL * mean && self.since_high < FALL_SAMPLES {
                self.fall = Some(Box::new(Fall { at: sample.source_time, from: mean, most: sample.value }));
                return;
            }
            self.since_high = if sample.value >= HIGH * mean { 0 } else { self.since_high.saturating_add(1) };
        }
    }

    /// A sensor that was just calibrated begins anew.
    pub fn forget_fall(&mut self) {
        self.fall = None;
        self.day.clear();
        self.newest = Hour::default();
        self.close_hours();
        self.since_high = 0;
    }

    fn note_hour(&mut self, sample: &Sample) {
        // What no clock shows is another number, and as good as any.
        let hour = sample.source_time.micros().div_euclid(3_600_000_000) as i32;
        if self.newest.hour == hour && self.newest.count > 0 {
            self.newest.sum += sample.value;
            self.newest.count += 1;
            return;
        }
        if self.newest.count > 0 {
            self.day.push_back(self.newest);
        }
        self.newest = Hour { hour, sum: sample.value, count: 1 };
        let oldest = hour.saturating_sub(MEAN_HOURS);
        while self.day.front().is_some_and(|first| first.hour <= oldest || first.hour > hour) {
            self.day.pop_front();
        }
        self.close_hours();
    }

    /// Once an hour rather than at each sample.
    fn close_hours(&mut self) {
        self.closed =
            self.day.iter().fold((0.0, 0.0), |(sum, count), hour| (sum + hour.sum, count + f64::from(hour.count)));
        self.hours = self.day.len() as u32 + u32::from(self.newest.count > 0);
    }

    fn mean(&self) -> Option<f64> {
        let enough = self.hours >= LEAST_HOURS;
        enough.then(|| (self.closed.0 + self.newest.sum) / (self.closed.1 + f64::from(self.newest.count)))
    }

    /// What rules see. `newest`: source and receive time of the newest sample; `usable`: source time of the
    /// newest usable one.
    #[must_use]
    pub fn view(&self, quality: Quality, newest: (Timestamp, Timestamp), usable: Timestamp, now: Timestamp) -> Health {
        let mut health = Health { quality, fall_to: 1.0, ..Health::default() };
        if let Some(steady) = &self.steady {
            health.flat_s = usable.since(steady.flat_since).as_secs_f64();
            // One repeat may be a delivery made twice.
            if steady.source == newest.0 && steady.came.get() > LEAST_REPEATS {
                health.stood_s = newest.1.since(steady.stood_since).as_secs_f64();
            }
            health.clock_s = steady.clock_s;
        }
        if let Some(fall) = &self.fall {
            health.fall_s = usable.since(fall.at).as_secs_f64();
            health.fall_to = fall.most / fall.from;
        }
        if let Some(twin) = &self.twin {
            health.twin_s = now.since(twin.since).as_secs_f64();
        }
        health
    }

    /// A minute is over.
    fn close_minute(&mut self) {
        let minute = std::mem::take(&mut self.minute);
        self.minutes.push_back(if minute.count == 0 { f64::NAN } else { minute.sum / f64::from(minute.count) });
        if self.minutes.len() > TWIN_MINUTES {
            self.minutes.pop_front();
        }
    }

    /// The last half hour as a shape, if it has one: no gap, and enough movement to be told from another.
    fn shape(&self, resolution: f64) -> Option<Shape> {
        if self.minutes.len() < TWIN_MINUTES || self.minutes.iter().any(|mean| mean.is_nan()) {
            return None;
        }
        let mean = self.minutes.iter().sum::<f64>() / TWIN_MINUTES as f64;
        let series: Vec<f64> = self.minutes.iter().map(|value| value - mean).collect();
        let power = series.iter().map(|value| value * value).sum::<f64>();
        let moves = series.windows(2).filter(|pair| (pair[1] - pair[0]).abs() > resolution).count();
        if moves < TWIN_MINUTES / 3 || power <= 0.0 {
            return None;
        }
        let place = |better: fn(&f64, &f64) -> bool| {
            series
                .iter()
                .enumerate()
                .reduce(|best, next| if better(next.1, best.1) { next } else { best })
                .map(|best| best.0)
        };
        let key = (place(f64::gt)?, place(f64::lt)?);
        Some(Shape { key, norm: power.sqrt(), series })
    }
}

/// A point that may be another's twin.
type Candidate<'a> = (PointIndex, &'a Point, Shape, &'a mut Memory);

struct Shape {
    /// Minutes of the highest and of the lowest mean: one signal has them in the same places.
    key: (usize, usize),
    norm: f64,
    series: Vec<f64>,
}

/// Once a minute: which points of a site show one and the same signal although they measure different things.
pub fn find_twins<'a>(now: Timestamp, points: impl Iterator<Item = (PointIndex, &'a Point, Needs, &'a mut Memory)>) {
    let mut buckets: BTreeMap<(&str, (usize, usize)), Vec<Candidate<'_>>> = BTreeMap::new();
    for (index, point, needs, memory) in points {
        if !needs.twin {
            continue;
        }
        memory.close_minute();
        match memory.shape(point.resolution) {
            Some(shape) => buckets.entry((&point.site, shape.key)).or_default().push((index, point, shape, memory)),
            None => memory.twin = None,
        }
    }
    for bucket in buckets.values_mut() {
        let comparable = bucket.len() <= TWIN_BUCKET;
        let twins: Vec<Option<PointIndex>> = bucket
            .iter()
            .map(|(index, point, shape, _)| {
                let same = |other: &&Candidate<'_>| {
                    let (other_index, other_point, other_shape, _) = other;
                    other_index != index && other_point.kind != point.kind && correlation(shape, other_shape) >= TWIN
                };
                if comparable { bucket.iter().find(same).map(|other| other.0) } else { None }
            })
            .collect();
        for ((_, _, _, memory), twin) in bucket.iter_mut().zip(twins) {
            let known = memory.twin.take();
            memory.twin = twin.map(|other| match known {
                Some(known) if known.other == other => known,
                // It has been so for as long as the series that were compared.
                Some(_) | None => Box::new(Twin { other, since: now - Duration::from_secs(60 * TWIN_MINUTES as u64) }),
            });
        }
    }
}

fn correlation(one: &Shape, other: &Shape) -> f64 {
    one.series.iter().zip(&other.series).map(|(a, b)| a * b).sum::<f64>() / (one.norm * other.norm)
}

fn signed_seconds(later: Timestamp, earlier: Timestamp) -> f64 {
    later.micros().saturating_sub(earlier.micros()) as f64 / 1e6
}
