//! Native and interpreted are one language: the same verdict, and the same things unknown, on every input.

use std::rc::Rc;
use std::time::Duration;

use proptest::prelude::*;

use super::scenes::{Scene, Surroundings, drawn, every_way, program, same_every_way};
use crate::engine::{Health, Hull, Pace, Wants};
use crate::model::{Point, Quality, Reason, SiteState, Stricter};
use crate::rule::ask::{Recall, Site};
use crate::rule::outlook::{Members, Outlook};
use crate::rule::seen::Standing;
use crate::rule::{Glance, Judged, Language, Quiet, trial};

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2_000, ..ProptestConfig::default() })]
    #[test]
    fn native_says_what_rhai_says(bytes in prop::collection::vec(any::<u8>(), 0..4_000)) {
        same_every_way(&bytes);
    }
}

/// Bytes that run out end the closure, and what is drawn from many is worth comparing: most of it is lowered, and it
/// says yes as well as no.
#[test]
fn what_is_drawn_is_of_all_kinds() {
    let language = Language::new();
    let (mut lowered, mut yes, mut no, mut unknown) = (0, 0, 0, 0);
    for seed in 0_u32..300 {
        let bytes: Vec<u8> = (0..3_000_u32)
            .map(|place| (place + 1).wrapping_mul(seed.wrapping_mul(2_654_435_761) + 97).to_be_bytes()[0])
            .collect();
        let (code, scenes) = drawn(&bytes);
        let program = program(&language, &code);
        lowered += usize::from(program.native.is_ok());
        for scene in &scenes {
            match every_way(&program, &language, scene).tree {
                Judged::Says(true) => yes += 1,
                Judged::Says(false) => no += 1,
                Judged::Unknown => unknown += 1,
                Judged::Fault(_) => {}
            }
        }
    }
    assert!(lowered > 200 && yes > 100 && no > 100 && unknown > 100, "{lowered} {yes} {no} {unknown}");
    same_every_way(&[]);
}

/// The property above would hold if nothing were lowered.
#[test]
fn what_people_write_is_lowered() {
    let language = Language::new();
    for code in [
        "p.value >= p.limit.alarm",
        "p.value >= 0.9 * p.limit.alarm && p.value > -p.limit.alarm",
        "p.value > 1",
        "p.delta(\"10m\") + 0.000001 >= p.limit.alarm && p.value >= 0.6 * p.limit.alarm",
        "p.count(\"10m\") >= 2.0 && p.max(\"10m\") - p.min(\"10m\") < p.limit.low",
        "p.age > p.period * 3.0 && p.age > 5.0",
        "p.has(\"calibrating\") && p.permit != \"calibration\"",
        "p.value > p.resolution && p.flat_for >= if p.resolution <= 0.01 { 10800.0 } else { 43200.0 }",
        "{ let change = p.rate(\"1m\"); change.abs() > 1.0 || change < -2.0 }",
        "p.time_to(p.limit.alarm, \"10m\") < 5.0 || p.crossed_up(0.8 * p.limit.alarm)",
        "p.held_for(\">=\", p.limit.low) >= 60.0 && p.since(\"<\", 1) > 5.0 && p.cusum(0.5, 0.1) > 5.0",
        "p.median(\"10m\") > 1.5 * p.ewma(\"1m\") || p.gap(\"10m\") > 60.0 || p.resets(\"1m\") > 1.0",
        "!(p.quality == \"good\") || max(p.value, 1.0) > min(p.value, 2)",
        "p.related(\"redundant\").vote(2, \">=\", p.limit.alarm) && p.point(\"fan\").value < 0.5",
        "p.value - p.all(\"co\", \"\").median > p.related(\"feed\").mean(\"1m\") || p.all(\"co\", \"\").over(24) >= 2",
        "{ let fan = p.point(\"fan\"); fan.quality == \"bad\" || fan.has(\"line_break\") || fan.rate(\"10m\") < -1.0 }",
        "p.site != \"stopped\" && p.season(\"flood\") && (p.hour >= 22.0 || p.hour < 6)",
    ] {
        let program = program(&language, code);
        assert!(program.native.is_ok(), "{code}: {:?}", program.native.err());
    }
    // Each name is a value, not a text put in its place: this would be 128 copies of p.value.
    let doubling: String = (1..8).map(|n| format!("let a{n} = a{} + a{};", n - 1, n - 1)).collect();
    let doubled = program(&language, &format!("{{ let a0 = p.value; {doubling} a7 > 100.0 }}"));
    assert!(doubled.native.is_ok(), "{:?}", doubled.native.err());
    // A program has no loops: its size is its time, and what is larger has a budget of operations.
    let many = |count: usize| {
        let terms = vec!["p.value + p.age + p.period > 1.0"; count].join(" || ");
        let lets: String = (0..5).map(|number| format!("let a{number} = {terms}; ")).collect();
        program(&language, &format!("{{ {lets} a0 || a4 }}")).native
    };
    assert!(many(20).is_ok(), "{:?}", many(20).err());
    assert!(many(30).is_err_and(|why| why.contains("more than 1000 steps")));
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

/// Where closures need not be asked, and where they have to be.
#[test]
fn a_quiet_point_is_answered_by_a_few_spans() {
    let language = Language::new();
    let mut point: Point = trial::read_point(&["t1", "methane", "T1", "%VOL"]).unwrap();
    point.range = None;
    let limits: Rc<[_]> = Rc::from([("alarm".into(), 1.0), ("low".into(), 0.5)]);
    let evenly = |beat: u64| Pace { beat: Duration::from_secs(beat), evenly: Duration::from_secs(300) };
    let pace = std::cell::Cell::new(evenly(10));
    // With the hull of what the point looks back on, and nobody related to it.
    let quiet = |code: &str, value: Option<f64>, (low, high): (f64, f64), health: Health| {
        let program = program(&language, code);
        let site = Site { limits: &limits, stricter: Some(Stricter::Lower), hole: None };
        let recalls: Rc<[Recall]> = program.asks.iter().map(|ask| ask.place(&site, &mut Wants::default()).0).collect();
        let nobody = Members { points: Rc::default(), own_votes: false };
        let outlook = Outlook {
            groups: vec![nobody; program.beyond.groups.len()],
            windows: vec![None; program.beyond.windows.len()],
            ..Outlook::default()
        };
        let quiet = Quiet::of(program.native.as_ref().unwrap(), &limits, &recalls, Some(&outlook), &point);
        let (hull, quality, pace) = (Hull { low, high }, health.quality, pace.get());
        let sensor = || (health, 0.0);
        let glance = value.map(|value| Glance { value, quality, hull, pace, sensor: &sensor });
        quiet.zip(glance).is_some_and(|(quiet, glance)| quiet.holds(&glance))
    };
    let well = Health::default();
    let broken = Health { quality: Quality::because(Reason::OverRange), ..well };
    for (code, value, health, expected) in [
        ("p.value >= p.limit.alarm", Some(0.9), well, true),
        ("p.value >= p.limit.alarm", Some(1.0), well, false),
        // Rhai's tolerance is no part of it.
        ("p.value >= p.limit.alarm", Some(1.0 - 1e-16), well, false),
        ("p.value >= p.limit.alarm", None, well, false),
        ("p.value >= p.limit.alarm", Some(f64::NAN), well, false),
        ("p.limit.low > p.value", Some(0.6), well, true),
        ("p.limit.low > p.value", Some(0.4), well, false),
        ("p.value * 2.0 - 1.0 >= p.limit.alarm", Some(0.9), well, true),
        ("p.value * 2.0 - 1.0 >= p.limit.alarm", Some(1.1), well, false),
        ("p.value >= 0.9 * p.limit.alarm && p.age > 5.0", Some(0.8), well, true),
        // What is unknown begins no alarm either, whatever stands behind it.
        ("p.related(\"feed\").max >= 1.0 && p.value >= p.limit.alarm", Some(1.2), well, true),
        ("p.related(\"feed\").vote(2, \">=\", 1.0) || p.value >= p.limit.alarm", Some(1.2), well, true),
        ("p.value >= p.limit.alarm || p.related(\"feed\").size > 2", Some(1.2), well, false),
        ("p.point(\"fan\").quality == \"bad\"", Some(0.8), well, true),
        ("p.value < p.range_low", Some(0.8), well, true),
        ("{ let x = p.related(\"feed\").max; p.value > 0.0 || x > 1.0 }", Some(0.8), well, true),
        ("p.value > p.resolution && p.stood_for > 30.0", Some(0.8), well, true),
        ("p.value >= p.limit.alarm || p.value < p.limit.low", Some(0.7), well, true),
        ("p.value >= p.limit.alarm || p.value < p.limit.low", Some(0.3), well, false),
        ("p.has(\"over_range\") || p.has(\"line_break\")", Some(0.7), well, true),
        ("p.has(\"over_range\") || p.has(\"line_break\")", Some(0.7), broken, false),
        ("p.limit.alarm >= 9000.0", Some(0.7), well, true),
        ("p.limit.alarm >= 0.5", Some(0.7), well, false),
        ("p.value == p.limit.alarm", Some(0.7), well, false),
        ("if p.hour > 6.0 { p.value >= p.limit.alarm } else { p.value >= 0.9 }", Some(0.7), well, true),
        ("if p.hour > 6.0 { p.value >= p.limit.alarm } else { p.value >= 0.6 }", Some(0.7), well, false),
    ] {
        assert_eq!(quiet(code, value, (0.3, 1.3), health), expected, "{code} at {value:?}");
    }
    for (code, hull, expected) in [
        ("p.value - p.min(\"1m\") + 0.000001 >= p.limit.low", (0.3, 0.7), true),
        ("p.value - p.min(\"1m\") + 0.000001 >= p.limit.low", (0.2, 0.7), false),
        ("p.delta(\"10m\") <= -0.5", (0.3, 0.7), true),
        ("p.mean(\"8h\") >= p.limit.alarm", (0.3, 0.9), true),
        ("p.mean(\"8h\") >= p.limit.alarm", (0.3, 1.0), false),
        ("p.limit.low > p.median(\"8h\")", (0.6, 0.9), true),
        ("p.limit.low > p.median(\"8h\")", (0.4, 0.9), false),
        // The value that is judged counts, too.
        ("p.limit.low > p.median(\"8h\") - p.value + 1.0", (0.7, 0.9), true),
        ("p.limit.low > p.median(\"8h\") - p.value + 1.0", (0.1, 0.1), false),
        ("(p.value - p.mean(\"1m\")).abs() > 0.5", (0.4, 0.8), true),
        ("(p.value - p.mean(\"1m\")).abs() > 0.5", (0.4, 1.0), false),
        ("p.ewma(\"6h\") >= 1.2 * p.ewma(\"24h\") && p.ewma(\"6h\") >= p.limit.alarm", (0.4, 0.9), true),
        // The value stands on the right.
        ("2.0 * p.limit.low - p.mean(\"5m\") > p.value", (0.3, 0.4), false),
        ("2.0 * p.limit.low - p.mean(\"5m\") > p.value", (0.6, 0.8), true),
        ("p.mean(\"1m\") + 0.5 > p.value && p.delta(\"10m\") >= 0.3", (0.5, 0.9), false),
        ("p.mean(\"1m\") + 0.5 < p.value", (0.5, 0.9), true),
        ("{ let mean = p.mean(\"1m\") + 0.5; mean > p.value }", (0.5, 0.9), false),
        ("p.mean(\"1m\") * 1e-17 >= 1e-17", (0.5, 0.9), false),
        ("p.value * 1e150 - p.value * 0.5e150 >= 1e150", (0.5, 0.9), false),
        // Of numbers above zero a sum may be nothing, and many small ones are much.
        ("p.sum(\"24h\") >= 50.0", (0.0, 0.000_1), true),
        ("p.sum(\"24h\") >= 50.0", (0.0, 0.01), false),
        ("p.sum(\"24h\") >= -1.0", (-0.5, -0.4), false),
        ("p.sum(\"24h\") <= 1.0", (2.0, 3.0), false),
        ("p.crossed_up(p.limit.alarm)", (0.4, 0.9), true),
        ("p.crossed_up(p.limit.alarm)", (0.4, 1.1), false),
        ("p.crossed_down(p.limit.low)", (0.6, 0.9), true),
        // How steep, how often and how long has no bound.
        ("p.rate(\"1m\") >= 100.0", (0.6, 0.9), false),
        ("p.count(\"1m\") >= 100.0", (0.6, 0.9), false),
        ("p.held_for(\">=\", 5.0) >= 100.0", (0.6, 0.9), false),
        // Rounding in what was much larger may be as large as the bound.
        ("p.mean(\"1m\") - 1e12 >= 1.0 - 1e12", (0.6, 0.7), false),
        ("p.mean(\"1m\") >= 1.0", (-1e9, 0.9), false),
        ("{ let rise = p.value - p.min(\"1m\"); rise >= 0.5 && rise < 2.0 }", (0.4, 0.8), true),
    ] {
        // Where all of it is smaller, so is the value; but for one row, where it is not.
        let value = if hull.1 < 0.1 { hull.0 } else { 0.7 };
        assert_eq!(quiet(code, Some(value), hull, well), expected, "{code} in {hull:?}");
    }
    let forecast = "p.value < p.limit.alarm && p.time_to(p.limit.alarm, \"5m\") <= 10.0";
    for (code, hull, coming, expected) in [
        (forecast, (0.66, 0.70), evenly(10), true),
        (forecast, (0.60, 0.70), evenly(10), false),
        ("p.time_to(p.limit.alarm, \"5m\") < 10.0", (0.66, 0.70), evenly(60), true),
        ("10.0 >= p.time_to(p.limit.alarm, \"5m\")", (0.66, 0.70), evenly(60), true),
        ("p.time_to(p.limit.alarm, \"5m\") > 10.0", (0.66, 0.70), evenly(10), false),
        // Lower is stricter: from above, one is there.
        (forecast.trim_start_matches("p.value < p.limit.alarm && "), (1.30, 1.31), evenly(10), false),
        // Two or three samples may be as steep as they like, and so may some that come when they like.
        (forecast, (0.66, 0.70), evenly(61), false),
        (forecast, (0.66, 0.70), Pace::default(), false),
        ("p.value < p.limit.alarm && p.time_to(p.limit.alarm, \"6m\") <= 10.0", (0.66, 0.70), evenly(10), false),
        // The value alone says more where it does not stand on the other side.
        (
            "p.value >= 0.9 && p.value < p.limit.alarm && p.time_to(p.limit.alarm, \"5m\") <= 10.0",
            (0.1, 0.8),
            Pace::default(),
            true,
        ),
        (
            "p.value >= 0.6 && p.value < p.limit.alarm && p.time_to(p.limit.alarm, \"5m\") <= 10.0",
            (0.1, 0.8),
            evenly(10),
            false,
        ),
    ] {
        pace.set(coming);
        assert_eq!(quiet(code, Some(0.7), hull, well), expected, "{code} in {hull:?} {coming:?}");
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
        surroundings: Surroundings {
            seen: false,
            points: Vec::new(),
            named: Vec::new(),
            seasons: Vec::new(),
            site: SiteState::Producing,
            hour: 0.0,
            own: Standing::Broken,
            holding: false,
        },
        stricter: None,
    };
    for (code, value, says) in [
        ("p.value == p.limit.alarm", 0.1 + 0.2, true),
        ("p.value > 50.0", f64::INFINITY, false),
        ("p.value != 5.0", f64::NAN, false),
        ("p.value > 0.0", 1e-17, false),
    ] {
        let program = program(&language, code);
        let said = every_way(&program, &language, &scene(value));
        assert_eq!(said.native, Judged::Says(says), "{code} at {value}");
        assert_eq!((&said.native, &said.native), (&said.tree, &said.machine));
    }
}
