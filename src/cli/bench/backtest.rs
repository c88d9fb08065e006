//! Rules played over stored samples, on one thread: reading the history, judging, counting.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::super::Refusal;
use super::stand::Stand;
use crate::backtest::{Acknowledging, Order, Stored, run as play};
use crate::clock::Stopwatch;
use crate::history::{History, Options};
use crate::journal::{RuleFile, Setup};
use crate::model::{Kind, Point, PointIndex, PointTable, Sample, Timestamp};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Points, a sample every ten seconds each.
    #[arg(long, default_value_t = 1)]
    points: u32,
    /// How much is stored and played.
    #[arg(long, default_value_t = 365)]
    days: u32,
    /// Rules at every point, at most five.
    #[arg(long, default_value_t = 5)]
    rules: usize,
    #[arg(long)]
    pub json: bool,
}

/// 2026-01-01.
const BEGIN: Timestamp = Timestamp::from_secs(1_767_225_600);
const DAY: Duration = Duration::from_secs(86_400);
const PERIOD: u64 = 10;

/// A limit, a delay, two windows and silence.
const RULES: [&str; 5] = [
    "raise: |p| p.value >= p.limit.alarm, deadband: 0.1",
    "raise: |p| p.value >= p.limit.alarm * 0.9, raise_after: \"30s\", clear_after: \"60s\"",
    "raise: |p| p.mean(\"10m\") >= p.limit.alarm * 0.8",
    "raise: |p| p.rate(\"5m\") >= 0.1",
    "judges: \"silence\", raise: |p| p.age > p.period * 3.0",
];

pub fn run(arguments: &Arguments) -> Result<Value, Refusal> {
    let stand = Stand::new()?;
    let failed = |error: &dyn std::error::Error| Refusal::of(error);
    let points: Vec<Point> = (0..arguments.points).map(point).collect();
    let stored = store(&stand, &points, arguments.days).map_err(|error| failed(&error))?;
    let rules = arguments.rules.min(RULES.len());
    let order = Order {
        candidate: vec![rule_file(rules)],
        against: None,
        ground: Setup::of(points.clone()),
        from: BEGIN,
        to: BEGIN + DAY * arguments.days,
        acknowledging: Acknowledging::AtOnce,
    };
    let watch = Stopwatch::start();
    let mut feed = Stored::open(stand.folder(), &points).map_err(|error| failed(&error))?;
    let outcome = play(&order, &mut feed, &mut |_| true).map_err(|error| failed(&error))?;
    let seconds = watch.elapsed().as_secs_f64();
    Ok(json!({
        "points": arguments.points, "days": arguments.days, "samples": outcome.samples, "stored": stored,
        "rules": rules, "evaluations": outcome.candidate.evaluations,
        "alarms": outcome.candidate.occurrences.len() as u64 + outcome.candidate.beyond,
        "most_held": outcome.most_held, "seconds": seconds,
        "samples_per_s": (outcome.samples as f64 / seconds).round(),
    }))
}

fn point(number: u32) -> Point {
    let period = Duration::from_secs(PERIOD);
    Point { period, ..super::engine::point(number, &[(Kind::Methane, "T1".to_owned())]) }
}

fn rule_file(count: usize) -> RuleFile {
    let rule = |(number, rest): (usize, &&str)| {
        format!(
            r#"rule("bench-{number}", #{{ title: "t", advice: "a", watches: #{{ kind: "methane" }}, priority: "P2", level: "orange",
            limits: #{{ alarm: #{{ value: 1.0, unit: "%VOL", stricter: "lower", basis: "bench" }} }}, {rest} }});"#
        )
    };
    let text = RULES.iter().take(count).enumerate().map(rule).collect::<Vec<_>>().join("\n");
    RuleFile { path: "bench.rhai".into(), text }
}

/// A day a file, as the upkeep of a gateway leaves it; returns the samples.
fn store(stand: &Stand, points: &[Point], days: u32) -> Result<u64, crate::history::Error> {
    let history = History::open(Options::at(stand.folder()))?;
    let table = PointTable::new(points.to_vec());
    let mut steps = vec![40_i64; points.len()];
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed >> 11
    };
    let a_day = 86_400 / PERIOD;
    for turn in 0..u64::from(days) * a_day {
        let time = BEGIN + Duration::from_secs(turn * PERIOD);
        let batch: Vec<Sample> = (0_u32..)
            .zip(&mut steps)
            .map(|(point, step)| {
                *step = (*step + (random() % 3) as i64 - 1).clamp(0, 110);
                Sample::received(PointIndex(point), *step as f64 / 100.0, Some(time), time)
            })
            .collect();
        history.append(turn + 1, &batch, &table);
        if turn % a_day == a_day - 1 {
            history.flush()?;
        }
    }
    Ok(history.stored().samples)
}
