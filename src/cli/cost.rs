//! What one verdict of each rule costs on this machine.
//!
//! In come rule files; out comes, for each rule, how long its `raise` takes for one sample. Each is asked again and
//! again at a point that it watches, whose windows are full; what it sees of other points is the same everywhere.
//! The window's own step and the alarm's are not in it: `davy bench engine` measures the whole.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::bench;
use crate::clock::Stopwatch;
use crate::engine::{Health, Past};
use crate::journal::{RuleFile, Setup};
use crate::model::{Point, Quality, Timestamp};
use crate::rule::{Around, Judge, Language, Member, Plan, Reading, Standing, Watch};

/// Each rule is asked for so long.
const ENOUGH: Duration = Duration::from_millis(2);
/// Askings between two looks at the clock.
const ROUND: u32 = 64;
/// Samples in the windows.
const SAMPLES: i64 = 64;

/// Nanoseconds a verdict, by rule id; rules that failed to load are not in it.
pub fn of(language: &Language, files: &[RuleFile]) -> BTreeMap<String, f64> {
    let places = bench::places(files);
    let points: Vec<Point> = (0..places.len() as u32).map(|number| bench::point(number, &places)).collect();
    let setup = Setup { rules: files.to_vec(), ..Setup::of(points) };
    let plan = Plan::new(language, &setup);
    let mut costs = BTreeMap::new();
    for (point, planned) in setup.points.iter().zip(&plan.points) {
        let mut past = Past::new(&planned.wants);
        (0..SAMPLES).for_each(|at| past.push(Timestamp::from_secs(at * 10), 0.5 + 0.001 * (at % 7) as f64));
        for watch in &planned.watches {
            let id = plan.rules[watch.rule].rule.id.to_string();
            costs.entry(id).or_insert_with(|| cost(language, &plan, watch, point, &mut past.clone()));
        }
    }
    costs
}

fn cost(language: &Language, plan: &Plan, watch: &Watch, point: &Point, past: &mut Past) -> f64 {
    let others = past.clone();
    let mut around = Around { own: Standing::Usable(0.5), ..Around::default() };
    if let Some(outlooks) = &watch.outlooks {
        let member = Member { standing: Standing::Usable(0.5), quality: Quality::GOOD, age_s: 1.0, past: &others };
        around.look(&outlooks.raise, |_| Some(member));
        around.seasons.extend(outlooks.raise.seasons.iter().map(|season| season.map(|_| true)));
    }
    let around = Rc::new(around);
    let reading = Reading {
        value: Some(0.5),
        health: Health::default(),
        age_s: 1.0,
        point,
        limits: &watch.limits,
        recalls: &watch.recalls,
        around: watch.outlooks.is_some().then_some(&around),
    };
    let (mut judge, program) = (Judge::new(language), &plan.rules[watch.rule].raise);
    let (mut asked, watch) = (0_u32, Stopwatch::start());
    while watch.elapsed() < ENOUGH {
        for _ in 0..ROUND {
            std::hint::black_box(judge.judge(program, std::hint::black_box(&reading), past));
        }
        asked += ROUND;
    }
    watch.elapsed().as_secs_f64() * 1e9 / f64::from(asked)
}
