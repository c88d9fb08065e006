//! Random closures and random sights of a point, on which native and interpreted are compared: for the property
//! test.

#![allow(clippy::unwrap_used, reason = "what is drawn is sound; where it is not, the draw is wrong")]

use std::rc::Rc;
use std::time::Duration;

use proptest::prelude::*;

use crate::engine::{Health, Past, Wants};
use crate::journal::RuleFile;
use crate::model::{PermitKind, Point, PointIndex, Quality, Range, SiteState, Stricter, Timestamp};
use crate::rule::ask::{Recall, Site};
use crate::rule::functions::{Function, Shape};
use crate::rule::seen::{Around, Member, Standing};
use crate::rule::{Judge, Judged, Language, Program, Quiet, Reading, outlook, read_file, trial};

const SPANS: [&str; 2] = ["1m", "10m"];

/// Selectors of a closure; a scene says how many points each of them names.
const GROUPS: [&str; 4] =
    ["p.point(\"fan\")", "p.related(\"redundant\")", "p.related(\"feed\")", "p.all(\"co\", \"\")"];

/// A number that other points, or the clock, have to say.
fn around(depth: u32) -> BoxedStrategy<String> {
    let group = || prop::sample::select(GROUPS.to_vec());
    let asks = vec!["value", "age", "max", "min", "mean", "median", "sum", "spread", "known", "size"];
    let figure = (group(), prop::sample::select(asks)).prop_map(|(group, ask)| format!("{group}.{ask}"));
    let window = (group(), prop::sample::select(vec!["mean", "count", "rate"]), prop::sample::select(SPANS.to_vec()))
        .prop_map(|(group, function, span)| format!("{group}.{function}(\"{span}\")"));
    let limit = if depth == 0 { Just("1.0".to_owned()).boxed() } else { number(depth - 1) };
    let count = (group(), prop::sample::select(vec!["over", "under"]), limit)
        .prop_map(|(group, count, limit)| format!("{group}.{count}({limit})"));
    prop_oneof![3 => figure, 1 => window, 1 => count, 1 => Just("p.hour".to_owned())].boxed()
}

/// Something true or false that they have to say.
fn around_verdict(depth: u32) -> BoxedStrategy<String> {
    let group = || prop::sample::select(GROUPS.to_vec());
    let limit = if depth == 0 { Just("1".to_owned()).boxed() } else { number(depth - 1) };
    let vote = (group(), 1_usize..5, prop::sample::select(vec![">=", ">", "<=", "<"]), limit)
        .prop_map(|(group, k, word, limit)| format!("{group}.vote({k}, \"{word}\", {limit})"));
    let word = (group(), prop::sample::select(vec!["good", "uncertain", "bad", "no such word"]))
        .prop_map(|(group, word)| format!("({group}.quality == \"{word}\")"));
    let has = group().prop_map(|group| format!("{group}.has(\"over_range\")"));
    let bearing = prop::sample::select(vec![
        "(p.site == \"stopped\")",
        "(p.site != \"producing\")",
        "(p.site == \"asleep\")",
        "p.season(\"flood\")",
        "p.season(\"dry\")",
    ])
    .prop_map(str::to_owned);
    prop_oneof![3 => vote, 1 => word, 1 => has, 2 => bearing].boxed()
}

/// A level of a function: known before a sample comes.
fn level() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "p.limit.alarm",
        "p.limit.low",
        "0.0",
        "1.0",
        "2",
        "-1",
        "0.30000000000000004",
        "1e300",
        "5e-324",
        "-3.5",
    ])
    .prop_map(str::to_owned);
    let arithmetic = (leaf.clone(), prop::sample::select(vec!["+", "-", "*", "/", "%", "**"]), leaf.clone())
        .prop_map(|(a, op, b)| format!("({a} {op} ({b} * 1.0))"));
    let call = (prop::sample::select(vec!["min", "max"]), leaf.clone()).prop_map(|(f, a)| format!("{f}({a}, 0.5)"));
    prop_oneof![4 => leaf.clone(), 1 => arithmetic, 1 => call, 1 => leaf.prop_map(|a| format!("abs(-({a} * 1.0))"))]
}

/// A call of any function in the catalogue; `question`: of those that say true or false.
fn call(question: bool) -> impl Strategy<Value = String> {
    let functions: Vec<Function> = Function::ALL.into_iter().filter(|one| one.is_question() == question).collect();
    let words = prop::sample::select(vec![">", ">=", "<", "<="]);
    let slack = prop::sample::select(vec!["0.0", "0.05", "1", "abs(p.limit.low)"]);
    (prop::sample::select(functions), prop::sample::select(SPANS.to_vec()), level(), words, slack).prop_map(
        |(function, span, level, word, slack)| match (function.name(), function.shape()) {
            (name, Shape::Span) => format!("p.{name}(\"{span}\")"),
            (name, Shape::Level) => format!("p.{name}({level})"),
            (name, Shape::LevelSpan) => format!("p.{name}({level}, \"{span}\")"),
            (name, Shape::Comparison) => format!("p.{name}(\"{word}\", {level})"),
            (name, Shape::Levels) => format!("p.{name}({level}, {slack})"),
        },
    )
}

/// A number of the language as text; `depth` bounds its size.
fn number(depth: u32) -> BoxedStrategy<String> {
    let asked = prop::sample::select(vec![
        "p.value",
        "p.age",
        "p.period",
        "p.limit.alarm",
        "p.limit.low",
        "p.flat_for",
        "p.stood_for",
        "p.clock",
        "p.fall_for",
        "p.fall_to",
        "p.twin_for",
        "p.resolution",
        "p.range_low",
        "p.range_high",
    ])
    .prop_map(str::to_owned);
    let constant = prop_oneof![
        prop::sample::select(vec![
            "0.0",
            "1.0",
            "0.1",
            "1e-17",
            "1e300",
            "0.30000000000000004",
            "5e-324",
            "2",
            "0",
            "100"
        ])
        .prop_map(str::to_owned),
        (-1000.0_f64..1000.0).prop_map(|number| format!("{number:?}")),
    ];
    let leaf = prop_oneof![3 => asked, 4 => call(false), 2 => constant, 2 => around(depth)];
    if depth == 0 {
        return leaf.boxed();
    }
    let (a, b) = (number(depth - 1), number(depth - 1));
    prop_oneof![
        2 => leaf,
        3 => (a.clone(), prop::sample::select(vec!["+", "-", "*", "/", "%", "**"]), b.clone())
            .prop_map(|(a, op, b)| format!("({a} {op} {b})")),
        1 => (prop::sample::select(vec!["min", "max"]), a.clone(), b.clone())
            .prop_map(|(function, a, b)| format!("{function}({a}, {b})")),
        1 => a.clone().prop_map(|a| format!("abs({a})")),
        1 => a.clone().prop_map(|a| format!("({a}).abs()")),
        1 => a.clone().prop_map(|a| format!("-({a})")),
        1 => (verdict(depth - 1), a, b).prop_map(|(c, a, b)| format!("(if {c} {{ {a} }} else {{ {b} }})")),
    ]
    .boxed()
}

/// Something true or false.
fn verdict(depth: u32) -> BoxedStrategy<String> {
    let compare =
        (number(depth.min(2)), prop::sample::select(vec!["==", "!=", ">", ">=", "<", "<="]), number(depth.min(2)))
            .prop_map(|(a, op, b)| format!("({a} {op} {b})"));
    let asked = prop::sample::select(vec![
        "true",
        "false",
        "p.has(\"over_range\")",
        "p.has(\"line_break\")",
        "(p.quality == \"uncertain\")",
        "(p.quality != \"good\")",
        "(\"bad\" == p.quality)",
        "(p.quality == \"no such word\")",
        "(p.permit == \"\")",
        "(p.permit != \"calibration\")",
    ])
    .prop_map(str::to_owned);
    if depth == 0 {
        return prop_oneof![3 => compare, 1 => asked, 1 => call(true), 1 => around_verdict(depth)].boxed();
    }
    let (a, b, c) = (verdict(depth - 1), verdict(depth - 1), verdict(depth - 1));
    prop_oneof![
        4 => compare,
        1 => asked,
        1 => call(true),
        2 => around_verdict(depth.min(2)),
        2 => (a.clone(), b.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
        2 => (a.clone(), b.clone(), c.clone()).prop_map(|(a, b, c)| format!("({a} || {b} || {c})")),
        1 => a.clone().prop_map(|a| format!("!{a}")),
        1 => (a, b, c).prop_map(|(a, b, c)| format!("(if {a} {{ {b} }} else {{ {c} }})")),
    ]
    .boxed()
}

/// A closure's body, with or without `let`.
pub fn body() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => verdict(3),
        1 => (verdict(1), verdict(1)).prop_map(|(x, a)| format!("{{ let x = {x}; let y = !x; ({a}) && (y || x) }}")),
        1 => (prop::sample::select(GROUPS.to_vec()), verdict(2)).prop_map(|(group, a)| {
            format!("{{ let g = {group}; let n = g.max; ({a}) || g.vote(2, \">=\", n) || g.quality == \"bad\" }}")
        }),
        1 => (number(2), verdict(2)).prop_map(|(x, a)| format!("{{ let x = {x}; let y = x; {a} && (y >= x + 0.0) }}")),
    ]
}

fn awkward() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => -5.0_f64..5.0,
        1 => any::<f64>(),
        1 => prop::sample::select(vec![0.0, -0.0, 1.0, 0.1 + 0.2, f64::MAX, f64::MIN_POSITIVE, f64::NAN, f64::INFINITY]),
    ]
}

#[derive(Clone, Debug)]
pub struct Scene {
    pub value: Option<f64>,
    pub health: Health,
    pub age_s: f64,
    pub limits: [f64; 2],
    pub range: Option<Range>,
    /// Pause before it, how far it was overtaken, value.
    pub samples: Vec<(u64, u64, f64)>,
    pub stricter: Option<Stricter>,
    pub surroundings: Surroundings,
}

/// Ten points around it, and how many each selector names, from the first on.
#[derive(Clone, Debug)]
pub struct Surroundings {
    pub seen: bool,
    pub points: Vec<(Standing, u16, f64)>,
    pub named: Vec<(usize, bool)>,
    pub seasons: Vec<Option<bool>>,
    pub site: SiteState,
    pub hour: f64,
    pub own: Standing,
    pub holding: bool,
}

fn standing() -> impl Strategy<Value = Standing> {
    prop_oneof![
        4 => prop::sample::select(vec![-1.0, 0.0, 0.3, 0.1 + 0.2, 1.0, 1.5]).prop_map(Standing::Usable),
        2 => (-1e9_f64..1e9).prop_map(Standing::Usable),
        1 => Just(Standing::Broken),
        1 => Just(Standing::Awaited),
    ]
}

fn surroundings() -> impl Strategy<Value = Surroundings> {
    let named = prop_oneof![1 => Just(0_usize), 4 => Just(1), 3 => 2_usize..6];
    (
        prop::bool::weighted(0.95),
        prop::collection::vec((standing(), any::<u16>(), 0.0_f64..100.0), 10),
        prop::collection::vec((named, any::<bool>()), GROUPS.len()),
        prop::collection::vec(prop::option::weighted(0.9, any::<bool>()), 2),
        prop::sample::select(SiteState::ALL.to_vec()),
        0.0_f64..24.0,
        standing(),
        any::<bool>(),
    )
        .prop_map(|(seen, points, named, seasons, site, hour, own, holding)| Surroundings {
            seen,
            points,
            named,
            seasons,
            site,
            hour,
            own,
            holding,
        })
}

/// What the engine would have seen for the program.
fn look(program: &Program, surroundings: &Surroundings, wants: &Wants, past: &Past) -> Option<Rc<Around>> {
    let mut outlook = outlook::Outlook::default();
    for group in 0..program.beyond.groups.len() {
        let (count, own_votes) = surroundings.named[group % GROUPS.len()];
        let points = (0_u32..).map(PointIndex).skip(group).take(count).collect();
        outlook.groups.push(outlook::Members { points, own_votes });
    }
    for asked in &program.beyond.windows {
        let alone = (outlook.groups[asked.group].points.len() == 1).then(|| outlook.groups[asked.group].points[0]);
        let span = crate::model::parse_duration(&asked.span).unwrap();
        let place = wants.windows.iter().position(|(known, _)| *known == span).unwrap();
        outlook.windows.push(alone.map(|point| outlook::PlacedWindow { point, place, over: asked.over }));
    }
    let mut around = Around {
        seasons: surroundings.seasons[..program.beyond.seasons.len()].to_vec(),
        site: surroundings.site,
        hour: surroundings.hour,
        own: surroundings.own,
        holding: surroundings.holding,
        ..Around::default()
    };
    around.look(&outlook, |point| {
        let (standing, bits, age_s) = surroundings.points[point.at()];
        Some(Member { standing, quality: Quality::from_bits(bits), age_s, past })
    });
    surroundings.seen.then(|| Rc::new(around))
}

pub fn scene() -> impl Strategy<Value = Scene> {
    let health = (
        any::<u16>(),
        awkward(),
        awkward(),
        awkward(),
        prop::option::of(prop::sample::select(PermitKind::ALL.to_vec())),
    )
        .prop_map(|(bits, a, b, c, permit)| Health {
            quality: Quality::from_bits(bits),
            flat_s: a,
            stood_s: b,
            clock_s: c,
            fall_s: a,
            fall_to: b,
            twin_s: c,
            permit,
        });
    (
        prop::option::weighted(0.8, awkward()),
        health,
        awkward(),
        [awkward(), awkward()],
        prop::option::of((awkward(), awkward())),
        prop::collection::vec((0_u64..90, prop_oneof![4 => Just(0_u64), 1 => 1_u64..9], awkward()), 0..14),
        prop::sample::select(vec![None, Some(Stricter::Lower), Some(Stricter::Higher)]),
        surroundings(),
    )
        .prop_map(|(value, health, age_s, limits, range, samples, stricter, surroundings)| Scene {
            value,
            health,
            age_s,
            limits,
            range: range.map(|(low, high)| Range { low, high }),
            samples,
            surroundings,
            stricter,
        })
}

pub fn program(language: &Language, code: &str) -> Program {
    let text = format!(
        "rule(\"r\", #{{ title: \"t\", advice: \"a\", watches: #{{}}, priority: \"P2\", level: \"orange\", raise: |p| {code} }});"
    );
    let (rules, ast) = read_file(language, &RuleFile { path: "x.rhai".into(), text }).unwrap();
    Program::new(&rules[0].raise, &ast, ["alarm".to_owned(), "low".to_owned()].iter()).unwrap()
}

pub fn both(program: &Program, language: &Language, scene: &Scene) -> (Judged, Judged, bool) {
    let mut point: Point = trial::read_point(&["t1", "methane", "T1", "%VOL"]).unwrap();
    point.range = scene.range;
    let limits: Rc<[_]> = Rc::from([("alarm".into(), scene.limits[0]), ("low".into(), scene.limits[1])]);
    let site = Site { limits: &limits, stricter: scene.stricter, hole: Some(Duration::from_secs(60)) };
    let mut wants = Wants::default();
    let recalls: Rc<[Recall]> = program.asks.iter().map(|ask| ask.place(&site, &mut wants).0).collect();
    for span in [60, 600] {
        Function::ALL.into_iter().for_each(|function| {
            if let Function::Over(over) = function {
                wants.window(Duration::from_secs(span), over);
            }
        });
    }
    let mut past = Past::new(&wants);
    let mut at = Timestamp::from_secs(1_800_000_000);
    for (pause, overtaken, value) in &scene.samples {
        at = at + Duration::from_secs(*pause);
        past.insert(at - Duration::from_secs(*overtaken), *value);
    }
    let around = look(program, &scene.surroundings, &wants, &past);
    let reading = Reading {
        value: scene.value,
        health: scene.health,
        age_s: scene.age_s,
        point: &point,
        limits: &limits,
        recalls: &recalls,
        around: around.as_ref(),
    };
    let mut judge = Judge::new(language);
    let native = judge.judge(program, &reading, &mut past);
    let quiet = program.native.as_ref().ok().and_then(|native| Quiet::of(native, &limits, &point));
    let quiet = quiet.is_some_and(|quiet| quiet.holds(&reading));
    (native, judge.interpret(program, &reading, &mut past), quiet)
}
