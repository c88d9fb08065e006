//! Native and interpreted are one language: the same verdict, and the same things unknown, on every input.

use std::rc::Rc;
use std::time::Duration;

use proptest::prelude::*;

use crate::engine::{Health, Window};
use crate::journal::RuleFile;
use crate::model::{PermitKind, Point, Quality, Range, Reason, Timestamp};
use crate::rule::{Judge, Language, Program, Reading, WindowRef, read_file, trial};

const SPANS: [&str; 2] = ["1m", "10m"];

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
    let window = (
        prop::sample::select(vec!["mean", "min", "max", "sum", "count", "stddev", "delta", "rate"]),
        prop::sample::select(SPANS.to_vec()),
    )
        .prop_map(|(function, span)| format!("p.{function}(\"{span}\")"));
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
    let leaf = prop_oneof![3 => asked, 2 => window, 2 => constant];
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
        return prop_oneof![3 => compare, 1 => asked].boxed();
    }
    let (a, b, c) = (verdict(depth - 1), verdict(depth - 1), verdict(depth - 1));
    prop_oneof![
        4 => compare,
        1 => asked,
        2 => (a.clone(), b.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
        2 => (a.clone(), b.clone(), c.clone()).prop_map(|(a, b, c)| format!("({a} || {b} || {c})")),
        1 => a.clone().prop_map(|a| format!("!{a}")),
        1 => (a, b, c).prop_map(|(a, b, c)| format!("(if {a} {{ {b} }} else {{ {c} }})")),
    ]
    .boxed()
}

/// A closure's body, with or without `let`.
fn body() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => verdict(3),
        1 => (verdict(1), verdict(1)).prop_map(|(x, a)| format!("{{ let x = {x}; let y = !x; ({a}) && (y || x) }}")),
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
struct Scene {
    value: Option<f64>,
    health: Health,
    age_s: f64,
    limits: [f64; 2],
    range: Option<Range>,
    samples: Vec<(u64, f64)>,
}

fn scene() -> impl Strategy<Value = Scene> {
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
        prop::collection::vec((0_u64..90, awkward()), 0..8),
    )
        .prop_map(|(value, health, age_s, limits, range, samples)| Scene {
            value,
            health,
            age_s,
            limits,
            range: range.map(|(low, high)| Range { low, high }),
            samples,
        })
}

fn program(language: &Language, code: &str) -> Program {
    let text = format!(
        "rule(\"r\", #{{ title: \"t\", advice: \"a\", watches: #{{}}, priority: \"P2\", level: \"orange\", raise: |p| {code} }});"
    );
    let (rules, ast) = read_file(language, &RuleFile { path: "x.rhai".into(), text }).unwrap();
    Program::new(&rules[0].raise, &ast, ["alarm".to_owned(), "low".to_owned()].iter()).unwrap()
}

fn both(program: &Program, language: &Language, scene: &Scene) -> (crate::rule::Judged, crate::rule::Judged) {
    let mut point: Point = trial::read_point(&["t1", "methane", "T1", "%VOL"]).unwrap();
    point.range = scene.range;
    let spans: Rc<[WindowRef]> = program
        .spans
        .iter()
        .map(|text| WindowRef { text: text.clone(), place: SPANS.iter().position(|span| **span == **text).unwrap() })
        .collect();
    let mut windows: Vec<Window> = [60, 600].map(|span| Window::new(Duration::from_secs(span))).into();
    let mut at = Timestamp::from_secs(1_800_000_000);
    for (pause, value) in &scene.samples {
        at = at + Duration::from_secs(*pause);
        windows.iter_mut().for_each(|window| window.push(at, *value));
    }
    let reading = Reading {
        value: scene.value,
        health: scene.health,
        age_s: scene.age_s,
        point: &point,
        limits: &Rc::from([("alarm".into(), scene.limits[0]), ("low".into(), scene.limits[1])]),
        spans: &spans,
        around: None,
    };
    let mut judge = Judge::new(language);
    let native = judge.judge(program, &reading, &mut windows);
    (native, judge.interpret(program, &reading, &mut windows))
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2_000, ..ProptestConfig::default() })]
    #[test]
    fn native_says_what_rhai_says(code in body(), scenes in prop::collection::vec(scene(), 1..12)) {
        let language = Language::new();
        let program = program(&language, &code);
        for scene in &scenes {
            let (native, interpreted) = both(&program, &language, scene);
            prop_assert_eq!(native, interpreted, "{} ({:?}) on {:?}", code, program.native.as_ref().err(), scene);
        }
    }
}

/// The property above would hold if nothing were lowered.
#[test]
fn what_people_write_is_lowered() {
    let language = Language::new();
    for code in [
        "p.value >= p.limit.alarm",
        "p.value >= 0.9 * p.limit.alarm",
        "p.value > 1",
        "p.delta(\"10m\") + 0.000001 >= p.limit.alarm && p.value >= 0.6 * p.limit.alarm",
        "p.count(\"10m\") >= 2.0 && p.max(\"10m\") - p.min(\"10m\") < p.limit.low",
        "p.age > p.period * 3.0 && p.age > 5.0",
        "p.has(\"calibrating\") && p.permit != \"calibration\"",
        "p.value > p.resolution && p.flat_for >= if p.resolution <= 0.01 { 10800.0 } else { 43200.0 }",
        "{ let change = p.rate(\"1m\"); change.abs() > 1.0 || change < -2.0 }",
        "!(p.quality == \"good\") || max(p.value, 1.0) > min(p.value, 2)",
    ] {
        let program = program(&language, code);
        assert!(program.native.is_ok(), "{code}: {:?}", program.native.err());
    }
    // Each name is a value, not a text put in its place: this would be 128 copies of p.value.
    let doubling: String = (1..8).map(|n| format!("let a{n} = a{} + a{};", n - 1, n - 1)).collect();
    let doubled = program(&language, &format!("{{ let a0 = p.value; {doubling} a7 > 100.0 }}"));
    assert!(doubled.native.is_ok(), "{:?}", doubled.native.err());
    for (code, why) in [
        ("{ let n = 0; while n < 3 { n += 1; } n > 2 }", "statements besides let"),
        ("{ let n = 1; n + 2 > 2 }", "two whole numbers meet"),
        ("p.value.floor() > 1.0", "a method"),
        ("sqrt(p.value) > 1.0", "the function sqrt"),
        ("[1.0, 2.0].contains(p.value)", "not lowered"),
    ] {
        match program(&language, code).native {
            Ok(_) => panic!("{code} is lowered"),
            Err(told) => assert!(told.contains(why), "{code}: {told}"),
        }
    }
}

/// Rhai compares with a tolerance, and infinity with nothing.
#[test]
fn the_odd_comparisons_are_rhais_own() {
    let language = Language::new();
    let scene = |value: f64| Scene {
        value: Some(value),
        health: Health { quality: Quality::because(Reason::OverRange), ..Health::default() },
        age_s: 0.0,
        limits: [0.3, 0.0],
        range: None,
        samples: Vec::new(),
    };
    for (code, value, says) in [
        ("p.value == p.limit.alarm", 0.1 + 0.2, true),
        ("p.value > 50.0", f64::INFINITY, false),
        ("p.value != 5.0", f64::NAN, false),
        ("p.value > 0.0", 1e-17, false),
    ] {
        let program = program(&language, code);
        let (native, interpreted) = both(&program, &language, &scene(value));
        assert_eq!(native, crate::rule::Judged::Says(says), "{code} at {value}");
        assert_eq!(native, interpreted);
    }
}
