//! The catalogue, the language and the lowering know the same names, and every example says what it must.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use super::*;
use crate::engine::{Health, Past, Wants};
use crate::journal::RuleFile;
use crate::model::{Point, Range, Timestamp};
use crate::rule::around;
use crate::rule::ask::Site;
use crate::rule::language::PROPERTIES;
use crate::rule::seen::GroupAsk;
use crate::rule::{Judge, Judged, Language, Program, Reading, read_file, trial};

fn rule(code: &str) -> RuleFile {
    let text = format!(
        r#"rule("r", #{{ title: "t", advice: "a", watches: #{{}}, priority: "P2", level: "orange",
            limits: #{{ alarm: #{{ value: 1.0, unit: "%VOL", stricter: "lower", basis: "b" }} }}, raise: |p| {code} }});"#
    );
    RuleFile { path: "x.rhai".into(), text }
}

/// What native and Rhai say of the closure at the end of the series, one value a minute.
fn judged(code: &str, series: &[f64]) -> [Judged; 2] {
    let language = Language::new();
    let (rules, ast) = read_file(&language, &rule(code)).unwrap();
    let program = Program::new(&rules[0].raise, &ast, rules[0].limits.keys()).unwrap();
    assert!(program.native.is_ok(), "{code}: {:?}", program.native.err());
    let mut point: Point = trial::read_point(&["t1", "methane", "T1", "%VOL", "period=60s"]).unwrap();
    (point.range, point.resolution) = (Some(Range { low: 0.0, high: 4.0 }), 0.01);
    let limits = Rc::from([("alarm".into(), 1.0)]);
    let mut wants = Wants::default();
    let site = Site { limits: &limits, stricter: rules[0].direction(), hole: None };
    let recalls = program.asks.iter().map(|ask| ask.place(&site, &mut wants).0).collect();
    let mut past = Past::new(&wants);
    let mut at = Timestamp::from_secs(1_800_000_000);
    for value in series {
        past.push(at, *value);
        at = at + Duration::from_secs(60);
    }
    let reading = Reading {
        value: series.last().copied(),
        health: Health { fall_to: 1.0, ..Health::default() },
        age_s: 3.0,
        point: &point,
        limits: &limits,
        recalls: &recalls,
        around: None,
    };
    let mut judge = Judge::new(&language);
    [judge.judge(&program, &reading, &mut past), judge.interpret(&program, &reading, &mut past)]
}

#[test]
fn every_example_says_what_the_catalogue_says() {
    for entry in CATALOGUE {
        let asked = match entry.answer {
            Answer::Number(number) => format!("abs({} - {number:?}) < 0.000000001", entry.ask),
            Answer::Bool(says) => format!("({}) == {says}", entry.ask),
            Answer::Text(text) => format!("{} == {text:?}", entry.ask),
        };
        // Two truths are compared by Rhai alone; asked as they are or turned about, both can be lowered.
        let asked = match entry.answer {
            Answer::Bool(true) => entry.ask.to_owned(),
            Answer::Bool(false) => format!("!{}", entry.ask),
            Answer::Number(_) | Answer::Text(_) => asked,
        };
        assert_eq!(judged(&asked, entry.series), [Judged::Says(true), Judged::Says(true)], "{asked}");
        assert_eq!(judged(entry.example, entry.series), [Judged::Says(true), Judged::Says(true)], "{}", entry.example);
        assert!(entry.example.contains(entry.ask) || entry.name == "limit", "{}: {}", entry.name, entry.example);
        for words in [entry.unit, entry.says, entry.missing] {
            assert!(!words.zh.is_empty() && !words.en.is_empty(), "{}", entry.name);
        }
    }
}

#[test]
fn every_example_beyond_the_point_says_what_the_list_says() {
    let samples = "start 2026-06-01T08:30:00+08:00\nseason flood 05-15 09-30\n\
        point a methane T1 %VOL redundant=b,c\npoint b methane T2 %VOL\npoint c methane T2 %VOL\n";
    for entry in BEYOND {
        let asked = match entry.answer {
            Answer::Number(number) => format!("abs({} - {number:?}) < 0.000000001", entry.ask),
            Answer::Bool(true) => entry.ask.to_owned(),
            Answer::Bool(false) => format!("!{}", entry.ask),
            Answer::Text(text) => format!("{} == {text:?}", entry.ask),
        };
        for code in [asked.as_str(), entry.example] {
            let language = Language::new();
            let (rules, ast) = read_file(&language, &rule(code)).unwrap();
            let program = Program::new(&rules[0].raise, &ast, rules[0].limits.keys()).unwrap();
            assert!(program.native.is_ok(), "{code}: {:?}", program.native.err());
            let lines = format!("{samples}0s b 0.2\n0s c 0.7\n0s a {} raised r\n", entry.series[0]);
            let played = |says: &str| {
                // Asked once the point's own sample is in.
                let file = rule(&format!("p.value == 0.3 && {says}({code})"));
                let text = file.text.replace("watches: #{}", "watches: #{ place: \"T1\" }");
                trial::run(&RuleFile { text, ..file }, "x.samples", &lines)
            };
            assert!(played("").is_ok(), "{code}: {:?}", played(""));
            assert!(played("!").is_err(), "not {code}");
        }
    }
}

/// Without any sample nothing reads as well: whatever depends on samples is unknown.
#[test]
fn without_samples_the_verdict_is_unknown() {
    for entry in CATALOGUE.iter().filter(|entry| matches!(entry.group, Group::Window | Group::Course)) {
        let asked = match entry.answer {
            Answer::Number(_) | Answer::Text(_) => format!("{} > 0.0", entry.ask),
            Answer::Bool(_) => entry.ask.to_owned(),
        };
        let expected = if entry.name == "count" { Judged::Says(false) } else { Judged::Unknown };
        assert_eq!(judged(&asked, &[]), [expected.clone(), expected], "{asked}");
    }
}

#[test]
fn language_lowering_and_catalogue_name_the_same() {
    let mut listed: BTreeSet<&str> = CATALOGUE.iter().map(|entry| entry.name).collect();
    assert_eq!(listed.len(), CATALOGUE.len(), "a name stands twice");
    let beyond: BTreeSet<&str> = BEYOND.iter().map(|entry| entry.name).collect();
    assert_eq!(beyond.len(), BEYOND.len(), "a name stands twice");
    let of_group: BTreeSet<&str> = beyond.iter().filter_map(|name| name.strip_prefix("group.")).collect();
    let asks = GroupAsk::ALL.map(|(word, _)| word);
    assert_eq!(of_group, asks.into_iter().chain(["quality", "has", "window", "over", "under", "vote"]).collect());
    listed.extend(beyond.iter().filter(|name| !name.starts_with("group.")));
    let far = around::PROPERTIES.into_iter().chain(around::FUNCTIONS);
    let known: BTreeSet<&str> =
        PROPERTIES.into_iter().chain(Function::ALL.map(Function::name)).chain(["has"]).chain(far).collect();
    assert_eq!(listed, known);
    // What is registered for the point, by the engine's own account.
    let signatures = Language::new().engine.gen_fn_signatures(false);
    let registered: BTreeSet<&str> = signatures
        .iter()
        .filter(|signature| signature.contains("Point"))
        .filter_map(|signature| signature.split('(').next())
        .map(|name| name.trim_start_matches("get$").trim_start_matches("get ").trim())
        .collect();
    assert_eq!(listed, registered, "{signatures:#?}");
}

#[test]
fn the_page_in_docs_is_this_catalogue() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/rules.md");
    let page = std::fs::read_to_string(path).unwrap_or_default();
    assert!(page == markdown(), "docs/rules.md is not the catalogue: davy rules functions --markdown > docs/rules.md");
}

#[test]
fn the_course_of_a_value_is_told_from_the_dangerous_side() {
    for (ask, series, expected) in [
        // Rising towards the level, away from it, through it; falling towards it counts as reached.
        ("p.time_to(1.0, \"10m\")", &[0.1, 0.2, 0.3][..], 7.0),
        ("p.time_to(1.0, \"10m\")", &[0.3, 0.2, 0.1], 525_600.0),
        ("p.time_to(1.0, \"10m\")", &[0.5, 0.5, 0.5], 525_600.0),
        ("p.time_to(1.0, \"10m\")", &[0.8, 1.0, 1.2], 0.0),
        ("p.time_to(1.0, \"10m\")", &[1.6, 1.4, 1.2], 0.0),
        ("p.held_for(\"<\", 1.0)", &[0.5, 1.0, 0.5, 0.5], 60.0),
        ("p.held_for(\"<\", 1.0)", &[0.5, 0.5, 1.0], 0.0),
        ("p.since(\">=\", 1.0)", &[1.0, 0.5, 0.5], 120.0),
        ("p.since(\">=\", 1.0)", &[0.5, 1.0], 0.0),
        ("p.cusum(1.0, 0.5)", &[5.0, 0.0, 0.0, 0.0], 0.0),
        ("p.increase(\"10m\")", &[7.0, 2.0], 2.0),
        ("p.gap(\"1m\")", &[7.0, 2.0, 3.0], 60.0),
    ] {
        let code = format!("abs({ask} - {expected:?}) < 0.000000001");
        assert_eq!(judged(&code, series), [Judged::Says(true), Judged::Says(true)], "{ask} of {series:?}");
    }
    assert_eq!(judged("p.since(\">=\", 1.0) >= 0.0", &[0.5, 0.5])[0], Judged::Unknown);
    assert_eq!(judged("p.crossed_up(p.limit.alarm)", &[1.0])[0], Judged::Unknown);
    assert_eq!(judged("p.crossed_up(p.limit.alarm)", &[1.0, 1.1])[0], Judged::Says(false));
}
