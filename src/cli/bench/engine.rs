//! Rules, windows and alarm steps on one thread, in memory: no sockets, no disk.
//!
//! The rules are those that Davy ships with; the points are of every kind and place that one of them watches,
//! in turn, and read values at which the mine is well. Each round is one sample a point, five seconds apart.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::super::shipped;
use super::resident_mb;
use crate::clock::Stopwatch;
use crate::engine::{Health, Past, Shard};
use crate::journal::{Entry, Note, RuleFile, Setup};
use crate::model::{Kind, Point, PointIndex, Sample, Timestamp};
use crate::rule::{Judge, Judged, Language, Plan, PointPlan, Reading, Rule, Watch, read_file};

/// Point counts of `--growth`; China's hazardous-chemicals platform takes 440,000.
const GROWTH: [u32; 5] = [100, 1_000, 10_000, 100_000, 440_000];
/// A batch as it comes out of the journal.
const BATCH: usize = 1_000;
/// Time between two samples of a point.
const STEP: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub struct Arguments {
    /// Points, each sampled in turn.
    #[arg(long, default_value_t = 10_000)]
    points: u32,
    /// How long to measure, natively and then interpreted.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Measure from 100 to 440,000 points instead, one round after the other.
    #[arg(long)]
    growth: bool,
    /// Leave out the interpreted half.
    #[arg(long)]
    native: bool,
    #[arg(long)]
    pub json: bool,
}

/// What the rules of the benchmarks with a whole gateway ask, in turn.
const QUESTIONS: [&str; 3] = [
    "p.value >= p.limit.alarm",
    "p.value >= 1.5 || p.value < 0.0",
    "p.value >= p.limit.alarm * 0.9 && p.value < p.limit.alarm",
];

/// `count` rules that watch every methane point and are never true for a value of 0.3 to 0.6.
#[must_use]
pub fn rules(count: usize) -> RuleFile {
    let rule = |number: usize| {
        format!(
            r#"rule("bench-{number}", #{{ title: "t", advice: "a", watches: #{{ kind: "methane" }}, priority: "P2", level: "orange",
            limits: #{{ alarm: #{{ value: 1.0, unit: "%VOL", stricter: "lower", basis: "bench" }} }},
            raise: |p| {} }});"#,
            QUESTIONS[number % QUESTIONS.len()]
        )
    };
    RuleFile { path: "bench.rhai".into(), text: (0..count).map(rule).collect::<Vec<_>>().join("\n") }
}

pub fn run(arguments: &Arguments) -> Value {
    if arguments.growth {
        let rows = GROWTH.map(|points| {
            let measured = measure(points, arguments.seconds, &Language::new());
            json!({
                "points": points,
                "evaluations_per_sample": (measured.evaluations_per_sample() * 10.0).round() / 10.0,
                "ns_per_evaluation": (measured.seconds * 1e9 / measured.evaluations as f64).round(),
                "samples_per_s": (measured.samples as f64 / measured.seconds).round(),
                "tick_us": (measured.tick_s * 1e6).round(),
                "setup_ms": (measured.setup_s * 1e3).round(),
                "bytes_per_point": measured.bytes / u64::from(points),
            })
        });
        return json!({ "growth": rows });
    }
    let native = measure(arguments.points, arguments.seconds, &Language::new());
    let interpreted =
        (!arguments.native).then(|| measure(arguments.points, arguments.seconds, &Language::interpreting()));
    json!({
        "points": arguments.points,
        "rules": native.rules,
        "evaluations_per_sample": (native.evaluations_per_sample() * 10.0).round() / 10.0,
        "answered_at_once": (native.answered as f64 / native.evaluations as f64 * 100.0).round() / 100.0,
        "samples": native.samples,
        "samples_per_s": (native.samples as f64 / native.seconds).round(),
        "native_evals_per_s": (native.evaluations as f64 / native.seconds).round(),
        "interpreted_evals_per_s":
            interpreted.as_ref().map(|measured| (measured.evaluations as f64 / measured.seconds).round()),
        "tick_us": (native.tick_s * 1e6).round(),
        "alarms": native.alarms + interpreted.as_ref().map_or(0, |measured| measured.alarms),
        "seconds": native.seconds + interpreted.map_or(0.0, |measured| measured.seconds),
    })
}

struct Measured {
    rules: usize,
    samples: u64,
    evaluations: u64,
    /// Of them those that needed no rule to be asked.
    answered: u64,
    alarms: usize,
    seconds: f64,
    /// Of one tick, with nothing silent.
    tick_s: f64,
    setup_s: f64,
    /// Memory that the process took for the shard, its windows as full as the run made them.
    bytes: u64,
}

impl Measured {
    fn evaluations_per_sample(&self) -> f64 {
        self.evaluations as f64 / self.samples as f64
    }
}

fn measure(count: u32, at_least_s: f64, language: &Language) -> Measured {
    let before_mb = resident_mb();
    let files = shipped::files();
    let places = places(&files);
    let points: Vec<Point> = (0..count).map(|number| point(number, &places)).collect();
    let well: Vec<f64> = well(&files, &points);
    let start = Timestamp::from_secs(1_800_000_000);
    let (mut shard, mut effects) = (Shard::new(language), Vec::new());
    let watch = Stopwatch::start();
    let setup = Setup { at: start, rules: files, ..Setup::of(points) };
    shard.on_entry(&Entry::Note(Note::Setup(Arc::new(setup))), &mut effects);
    let setup_s = watch.elapsed().as_secs_f64();
    effects.clear();
    let (mut now, mut seconds, mut tick_s, mut rounds, mut alarms) = (start, 0.0, 0.0, 0_u32, 0);
    while seconds < at_least_s {
        rounds += 1;
        now = now + STEP;
        for from in (0..count).step_by(BATCH) {
            let batch: Vec<Sample> = (from..count.min(from + BATCH as u32))
                .map(|number| {
                    let stir = f64::from(number.wrapping_mul(31).wrapping_add(rounds * 7) % 5) - 2.0;
                    let value = well[number as usize] * (1.0 + stir / 1_000.0);
                    Sample::received(PointIndex(number), value, Some(now), now)
                })
                .collect();
            let entry = Entry::Samples(Arc::new(batch));
            let watch = Stopwatch::start();
            shard.on_entry(&entry, &mut effects);
            seconds += watch.elapsed().as_secs_f64();
        }
        let watch = Stopwatch::start();
        shard.on_entry(&Entry::Tick(now), &mut effects);
        tick_s += watch.elapsed().as_secs_f64();
        alarms += effects.len();
        effects.clear();
    }
    Measured {
        rules: shard.rules(),
        samples: u64::from(rounds) * u64::from(count),
        evaluations: shard.counts.evaluations,
        answered: shard.counts.answered,
        alarms,
        seconds,
        tick_s: tick_s / f64::from(rounds),
        setup_s,
        bytes: resident_mb().saturating_sub(before_mb) << 20,
    }
}

/// Every kind at every place for which there is a rule.
pub fn places(files: &[RuleFile]) -> Vec<(Kind, String)> {
    let language = Language::new();
    let rules = files.iter().filter_map(|file| read_file(&language, file).ok()).flat_map(|(rules, _)| rules);
    let mut places: Vec<(Kind, String)> = rules
        .flat_map(|Rule { watches, .. }| {
            let places = if watches.places.is_empty() { vec!["bench".to_owned()] } else { watches.places };
            watches.kinds.into_iter().flat_map(move |kind| places.clone().into_iter().map(move |place| (kind, place)))
        })
        .collect();
    places.sort();
    places.dedup();
    places
}

/// A point at one of the places, with all its others at a site of a thousand.
pub fn point(number: u32, places: &[(Kind, String)]) -> Point {
    let (kind, place) = &places[number as usize % places.len()];
    Point {
        id: format!("bench-{}.p{number}", number / 1_000).into(),
        site: format!("bench-{}", number / 1_000).into(),
        name: format!("bench {number}"),
        kind: *kind,
        place: place.clone(),
        unit: kind.unit().into(),
        range: None,
        resolution: kind.resolution(),
        period: Duration::from_secs(60),
        limits: BTreeMap::new(),
        coordinates: None,
        static_risk: 0,
        calibrate_every: None,
        relations: std::collections::BTreeMap::new(),
        retired: false,
    }
}

/// For each point a value at which the fewest of its rules call: between two of its limits, or beyond them. Limits of
/// one point may be of different things, such as a level and its rise.
fn well(files: &[RuleFile], points: &[Point]) -> Vec<f64> {
    let language = Language::new();
    let plan = Plan::new(&language, &Setup { rules: files.to_vec(), ..Setup::of(points.to_vec()) });
    let mut judge = Judge::new(&language);
    let mut calls = |watch: &Watch, point: &Point, value: f64| {
        let (limits, recalls) = (&watch.limits, &watch.recalls);
        let reading =
            Reading { value: Some(value), health: Health::default(), age_s: 0.0, point, limits, recalls, around: None };
        judge.judge(&plan.rules[watch.rule].raise, &reading, &mut Past::default()) == Judged::Says(true)
    };
    let mut known: HashMap<*const PointPlan, f64> = HashMap::new();
    let mut value = |plan: &Rc<PointPlan>, point: &Point| {
        // It does not rain.
        if matches!(point.kind, Kind::Rain | Kind::RainTotal) {
            return 0.0;
        }
        *known.entry(Rc::as_ptr(plan)).or_insert_with(|| {
            let mut limits: Vec<f64> =
                plan.watches.iter().flat_map(|watch| watch.limits.iter().map(|(_, limit)| *limit)).collect();
            limits.sort_by(f64::total_cmp);
            let between = limits.windows(2).map(|pair| f64::midpoint(pair[0], pair[1]));
            let beyond =
                limits.first().map(|low| low * 0.5).into_iter().chain(limits.last().map(|high| high * 1.5 + 1.0));
            let called = |value: &f64| plan.watches.iter().filter(|watch| calls(watch, point, *value)).count();
            beyond.chain(between).min_by_key(called).unwrap_or(1.0)
        })
    };
    plan.points.iter().zip(points).map(|(plan, point)| value(plan, point)).collect()
}
