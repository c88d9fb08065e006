//! `davy bench history`: what this machine stores and finds.
//!
//! In comes how long to ingest and of how many points; out come figures, nothing is asserted. The data are
//! those of `design.md` section 3: one sample a second and point, steps of 0.01, times that jitter by 40 ms.

use std::time::Duration;

use super::row::DAY_MICROS;
use super::{Error, History, Options, Step};
use crate::clock::Stopwatch;
use crate::model::{Kind, Point, PointIndex, PointTable, Quality, Sample, Timestamp};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct BenchFigures {
    pub points: usize,
    pub samples: u64,
    /// Append, sort, write and fsync, on one thread.
    pub ingest_samples_per_s: f64,
    /// An hour of every point, merged.
    pub bytes_per_sample: f64,
    /// The same as the flushes left it.
    pub flushed_bytes_per_sample: f64,
    pub compact_samples_per_s: f64,
    /// All samples of a point's day (86,400) out of a merged day of as many points as are feasible.
    pub point_day_p95_ms: f64,
    /// The five-minute rollups of a point's year.
    pub point_year_p95_ms: f64,
    /// Samples offered twice and stored once.
    pub duplicates: u64,
    pub seconds: f64,
}

/// The first moment of the data: 2026-01-01.
const BEGIN: i64 = 1_767_225_600_000_000;

/// Pretend sensors.
pub(super) struct Sensors {
    steps: Vec<i64>,
    seed: u64,
    second: i64,
}

impl Sensors {
    pub fn new(points: usize) -> Self {
        let mut sensors = Self { steps: Vec::new(), seed: 0x9E37_79B9_7F4A_7C15, second: 0 };
        sensors.steps = (0..points).map(|_| 1_000 + (sensors.random() % 4_000) as i64).collect();
        sensors
    }

    /// xorshift: quick, and the same on every run.
    fn random(&mut self) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed >> 11
    }

    /// The next second of every sensor.
    pub fn second(&mut self) -> Vec<Sample> {
        let base = BEGIN + self.second * 1_000_000;
        self.second += 1;
        (0..self.steps.len())
            .map(|point| {
                self.steps[point] += (self.random() % 3) as i64 - 1;
                let time = Timestamp::from_micros(base + (self.random() % 41) as i64 * 1_000);
                Sample {
                    point: PointIndex(point as u32),
                    quality: Quality::GOOD,
                    source_time: time,
                    receive_time: time,
                    value: self.steps[point] as f64 / 100.0,
                }
            })
            .collect()
    }
}

pub(super) fn table(points: usize) -> PointTable {
    let point = |index: usize| Point {
        id: format!("mine-3.face-{index:05}").into(),
        site: "mine-3".into(),
        name: format!("face {index}"),
        kind: Kind::Methane,
        place: "T1".into(),
        unit: "%VOL".into(),
        range: None,
        resolution: 0.01,
        period: Duration::from_secs(1),
        limits: std::collections::BTreeMap::new(),
        coordinates: None,
        static_risk: 0,
        calibrate_every: None,
        relations: std::collections::BTreeMap::new(),
        retired: false,
    };
    PointTable::new((0..points).map(point).collect())
}

/// Works in `folder`, which is to be empty and is the caller's to remove. `seconds`: how long to ingest.
pub fn bench(folder: &std::path::Path, seconds: f64, points: usize) -> Result<BenchFigures, Error> {
    let whole = Stopwatch::start();
    let mut figures = BenchFigures { points, ..BenchFigures::default() };
    ingest(folder, seconds, points, &mut figures)?;
    hour(folder, points, &mut figures)?;
    day(folder, points, &mut figures)?;
    year(folder, &mut figures)?;
    figures.seconds = whole.elapsed().as_secs_f64();
    Ok(figures)
}

fn ingest(folder: &std::path::Path, seconds: f64, points: usize, figures: &mut BenchFigures) -> Result<(), Error> {
    let history = History::open(Options { flush_samples: 2_000_000, ..Options::at(folder.join("ingest")) })?;
    let table = table(points);
    let mut sensors = Sensors::new(points);
    let mut busy = Duration::ZERO;
    let mut seq = 0;
    while busy.as_secs_f64() < seconds {
        // Making the samples is not history's work.
        let batches: Vec<_> = (0..64).map(|_| sensors.second()).collect();
        let watch = Stopwatch::start();
        for batch in &batches {
            seq += 1;
            history.append(seq, batch, &table);
            figures.samples += batch.len() as u64;
            if history.unflushed() >= history.options.flush_samples {
                history.flush()?;
            }
        }
        busy += watch.elapsed();
    }
    let watch = Stopwatch::start();
    history.flush()?;
    busy += watch.elapsed();
    figures.ingest_samples_per_s = figures.samples as f64 / busy.as_secs_f64();
    Ok(())
}

/// An hour in flushes of a minute, a tenth of it offered twice, then merged.
fn hour(folder: &std::path::Path, points: usize, figures: &mut BenchFigures) -> Result<(), Error> {
    let history = History::open(Options::at(folder.join("hour")))?;
    let table = table(points);
    let mut sensors = Sensors::new(points);
    let mut seq = 0;
    for second in 0..3_600 {
        let batch = sensors.second();
        seq += 1;
        history.append(seq, &batch, &table);
        if second % 10 == 0 {
            seq += 1;
            history.append(seq, &batch, &table);
        }
        if second % 60 == 59 {
            history.flush()?;
        }
    }
    let flushed = history.stored();
    figures.flushed_bytes_per_sample = flushed.bytes as f64 / flushed.samples as f64;
    let watch = Stopwatch::start();
    let done = history.compact(Timestamp::from_micros(BEGIN + DAY_MICROS * 2))?;
    figures.compact_samples_per_s = done.samples as f64 / watch.elapsed().as_secs_f64();
    let stored = history.stored();
    figures.bytes_per_sample = stored.bytes as f64 / stored.samples as f64;
    figures.duplicates = stored.duplicates;
    Ok(())
}

/// A day of every point: one file, as the compaction leaves it.
fn day(folder: &std::path::Path, points: usize, figures: &mut BenchFigures) -> Result<(), Error> {
    let history = History::open(Options::at(folder.join("day")))?;
    let table = table(points);
    let mut sensors = Sensors::new(points);
    let per_flush = (4_000_000 / points.max(1)).clamp(1, 43_200);
    for second in 0..86_400_u64 {
        history.append(second + 1, &sensors.second(), &table);
        if second as usize % per_flush == per_flush - 1 {
            history.flush()?;
        }
    }
    history.flush()?;
    history.compact(Timestamp::from_micros(BEGIN + DAY_MICROS * 2))?;
    let mut times = Vec::new();
    for turn in 0..100_usize {
        let id = &table.list()[turn * 7_919 % points].id;
        let watch = Stopwatch::start();
        let found = history.samples(
            id,
            Timestamp::from_micros(BEGIN),
            Timestamp::from_micros(BEGIN + DAY_MICROS),
            usize::MAX,
        )?;
        times.push(watch.elapsed().as_secs_f64() * 1e3);
        assert_eq!(found.list.len(), 86_400);
    }
    figures.point_day_p95_ms = p95(times);
    Ok(())
}

/// A year of ten points, a sample every five minutes, rolled up.
fn year(folder: &std::path::Path, figures: &mut BenchFigures) -> Result<(), Error> {
    let history = History::open(Options::at(folder.join("year")))?;
    let table = table(10);
    let mut sensors = Sensors::new(10);
    for day in 0..365_i64 {
        for turn in 0..288_i64 {
            sensors.second = day * 86_400 + turn * 300;
            history.append((day * 288 + turn + 1) as u64, &sensors.second(), &table);
        }
    }
    history.flush()?;
    history.compact(Timestamp::from_micros(BEGIN + DAY_MICROS * 400))?;
    let mut times = Vec::new();
    for turn in 0..40_usize {
        let id = &table.list()[turn % 10].id;
        let watch = Stopwatch::start();
        let (from, to) = (Timestamp::from_micros(BEGIN), Timestamp::from_micros(BEGIN + DAY_MICROS * 365));
        let found = history.rollups(id, Step::FiveMinutes, from, to)?;
        times.push(watch.elapsed().as_secs_f64() * 1e3);
        assert_eq!(found.list.len(), 365 * 288);
    }
    figures.point_year_p95_ms = p95(times);
    Ok(())
}

fn p95(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() * 95 / 100).copied().unwrap_or(0.0)
}
