//! Rules, windows and alarm steps on one thread, in memory: no sockets, no disk.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::clock::Stopwatch;
use crate::engine::Shard;
use crate::journal::{Entry, Note, RuleFile, Setup};
use crate::model::{Kind, Point, PointIndex, Sample, Timestamp};
use crate::rule::Language;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Points, each sampled in turn.
    #[arg(long, default_value_t = 1_000)]
    points: u32,
    /// Rules that watch every point.
    #[arg(long, default_value_t = 3)]
    rules: usize,
    /// How long to measure, natively and then interpreted.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    #[arg(long)]
    pub json: bool,
}

/// What the rules of the benchmark ask, in turn.
pub const QUESTIONS: [&str; 3] = [
    "p.value >= p.limit.alarm",
    "p.value >= 1.5 || p.value < 0.0",
    "p.value >= p.limit.alarm * 0.9 && p.value < p.limit.alarm",
];

/// How the rules of a run are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    Native,
    /// By Rhai: the same questions with an operator behind them that is not lowered.
    Interpreted,
}

/// `count` rules that watch every methane point and are never true for a value of 0.3 to 0.6.
#[must_use]
pub fn rules(count: usize, runs: Runs) -> RuleFile {
    let behind = match runs {
        Runs::Native => "",
        Runs::Interpreted => " | false",
    };
    let rule = |number: usize| {
        format!(
            r#"rule("bench-{number}", #{{ title: "t", advice: "a", watches: #{{ kind: "methane" }}, priority: "P2", level: "orange",
            limits: #{{ alarm: #{{ value: 1.0, unit: "%VOL", stricter: "lower", basis: "bench" }} }},
            raise: |p| ({}){behind} }});"#,
            QUESTIONS[number % QUESTIONS.len()]
        )
    };
    RuleFile { path: "bench.rhai".into(), text: (0..count).map(rule).collect::<Vec<_>>().join("\n") }
}

/// A methane point of the site "bench".
#[must_use]
pub fn point(number: u32) -> Point {
    Point {
        id: format!("bench.p{number}").into(),
        site: "bench".into(),
        name: format!("bench {number}"),
        kind: Kind::Methane,
        place: "T1".into(),
        unit: "%VOL".into(),
        range: None,
        resolution: 0.01,
        period: Duration::from_secs(3_600),
        limits: std::collections::BTreeMap::new(),
        coordinates: None,
        static_risk: 0,
        calibrate_every: None,
        relations: std::collections::BTreeMap::new(),
        retired: false,
    }
}

pub fn run(arguments: &Arguments) -> Value {
    let native = measure(arguments, Runs::Native);
    let interpreted = measure(arguments, Runs::Interpreted);
    json!({
        "points": arguments.points,
        "rules": arguments.rules,
        "samples": native.samples,
        "samples_per_s": (native.samples as f64 / native.seconds).round(),
        "native_evals_per_s": (native.evaluations as f64 / native.seconds).round(),
        "interpreted_evals_per_s": (interpreted.evaluations as f64 / interpreted.seconds).round(),
        "alarms": native.alarms + interpreted.alarms,
        "seconds": native.seconds + interpreted.seconds,
    })
}

struct Measured {
    samples: u64,
    evaluations: u64,
    alarms: usize,
    seconds: f64,
}

fn measure(arguments: &Arguments, runs: Runs) -> Measured {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    let start = Timestamp::from_secs(1_800_000_000);
    let points = (0..arguments.points).map(point).collect();
    let rules = if arguments.rules == 0 { vec![] } else { vec![rules(arguments.rules, runs)] };
    let mut effects = Vec::new();
    shard.on_entry(&Entry::Note(Note::Setup(Arc::new(Setup { at: start, rules, ..Setup::of(points) }))), &mut effects);
    effects.clear();
    let watch = Stopwatch::start();
    let (mut round, mut samples) = (0_u64, 0_u64);
    while watch.elapsed().as_secs_f64() < arguments.seconds {
        round += 1;
        let now = start + Duration::from_secs(round);
        let batch: Vec<Sample> = (0..arguments.points)
            .map(|point| {
                let value = 0.3 + f64::from((point.wrapping_mul(31).wrapping_add(round as u32 * 7)) % 30) / 100.0;
                Sample::received(PointIndex(point), value, Some(now), now)
            })
            .collect();
        samples += batch.len() as u64;
        shard.on_entry(&Entry::Samples(Arc::new(batch)), &mut effects);
    }
    let seconds = watch.elapsed().as_secs_f64();
    Measured { samples, evaluations: shard.counts.evaluations, alarms: effects.len(), seconds }
}
