//! The rules that Davy ships with keep what their `.samples` say, and watch what they are meant to watch.
//!
//! Every `rules/<field>/*.rhai` is played against its sibling `.samples` by the gateway's own engine. A file
//! without samples, a rule that its samples never raise or never clear, an id that stands in two files and a
//! number without a basis are failures, told by file and line.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails where it stands")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use davy::alarm::AlarmChange;
use davy::engine::{Effect, Shard};
use davy::journal::{Entry, Note, RuleFile, Setup};
use davy::model::{Kind, Point, PointIndex, Sample, Timestamp};
use davy::rule::{Language, Plan, Rule, read_file, trial};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("rules")
}

/// Paths below `rules/` that end in `.ending`, sorted.
fn files(ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    for field in fs::read_dir(folder()).expect("the folder rules/ is there") {
        let field = field.unwrap().path();
        if !field.is_dir() {
            continue;
        }
        for file in fs::read_dir(&field).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|extension| extension == ending) {
                let below = path.strip_prefix(folder()).unwrap();
                found.push(below.to_str().expect("rule files have plain names").to_owned());
            }
        }
    }
    found.sort();
    found
}

fn shipped() -> Vec<RuleFile> {
    let paths = files("rhai");
    assert!(paths.len() >= 5, "only {paths:?} below {}", folder().display());
    paths.into_iter().map(|path| RuleFile { text: fs::read_to_string(folder().join(&path)).unwrap(), path }).collect()
}

fn samples_of(file: &RuleFile) -> String {
    format!("{}.samples", file.path.strip_suffix(".rhai").expect("ends in .rhai"))
}

fn rules_of(file: &RuleFile) -> Vec<Rule> {
    match read_file(&Language::new(), file) {
        Ok((rules, _)) => rules,
        Err(problems) => panic!("rules/{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
    }
}

/// All failures at once, one a line, as an operator can work them off.
fn none(failures: Vec<String>) {
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_rule_file_does_what_its_samples_say() {
    let mut failures = Vec::new();
    for file in shipped() {
        let name = samples_of(&file);
        let Ok(text) = fs::read_to_string(folder().join(&name)) else {
            failures.push(format!("rules/{}: has no {name} beside it", file.path));
            continue;
        };
        match trial::run(&file, &name, &text) {
            Ok(passed) if passed.changes == 0 => failures.push(format!("rules/{name}: nothing ever happens in it")),
            Ok(_) => {}
            Err(list) => failures.extend(list.iter().map(|failure| format!("rules/{failure}"))),
        }
    }
    none(failures);
}

#[test]
fn samples_without_a_rule_file_are_a_mistake() {
    let rules: BTreeSet<String> = shipped().iter().map(samples_of).collect();
    none(files("samples").into_iter().filter(|name| !rules.contains(name)).collect());
}

/// What the samples expect of each rule: the words `raised`, `cleared`, .. that stand before its id. The trial
/// compares them with what happened, so an expectation that passed did happen.
fn expected(samples: &str) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut by_rule: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in samples.lines() {
        let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
        let pairs = match words.as_slice() {
            [] | ["point", ..] => continue,
            [_, "-", pairs @ ..] | [_, "permit", _, _, _, pairs @ ..] | [_, _, _, pairs @ ..] => pairs,
            [..] => continue,
        };
        for pair in pairs.chunks_exact(2) {
            by_rule.entry(pair[1]).or_default().insert(pair[0]);
        }
    }
    by_rule
}

/// Judged by the point table, which no sample changes: cleared in a story of its own below.
const CLEARED_BY_THE_POINT_TABLE: &str = "river-levels-unset";

#[test]
fn every_rule_is_raised_and_cleared_by_its_samples() {
    let mut failures = Vec::new();
    for file in shipped() {
        let text = fs::read_to_string(folder().join(samples_of(&file))).unwrap_or_default();
        let expected = expected(&text);
        for rule in rules_of(&file) {
            let told = expected.get(&*rule.id).cloned().unwrap_or_default();
            for word in ["raised", "cleared"] {
                let elsewhere = word == "cleared" && &*rule.id == CLEARED_BY_THE_POINT_TABLE;
                if !told.contains(word) && !elsewhere {
                    let name = samples_of(&file);
                    failures.push(format!("rules/{}:{}: {name} never sees {:?} {word}", file.path, rule.line, rule.id));
                }
            }
        }
    }
    none(failures);
}

/// A bad sample and a point that is stricter than the rule stand in every samples file.
#[test]
fn every_samples_file_shows_bad_data_and_every_file_with_limits_a_stricter_point() {
    let mut failures = Vec::new();
    for file in shipped() {
        let name = samples_of(&file);
        let text = fs::read_to_string(folder().join(&name)).unwrap_or_default();
        if !text.contains(" bad:") {
            failures.push(format!("rules/{name}: no line shows what a bad sample does"));
        }
        let limits: BTreeSet<String> = rules_of(&file).into_iter().flat_map(|rule| rule.limits.into_keys()).collect();
        let stricter = text
            .lines()
            .filter(|line| line.starts_with("point "))
            .any(|line| limits.iter().any(|limit| line.contains(&format!(" {limit}="))));
        if !limits.is_empty() && !stricter {
            failures.push(format!("rules/{name}: no point is stricter than the rules"));
        }
    }
    none(failures);
}

#[test]
fn no_id_stands_in_two_files() {
    let mut homes: BTreeMap<String, String> = BTreeMap::new();
    let mut failures = Vec::new();
    for file in shipped() {
        for rule in rules_of(&file) {
            let here = format!("rules/{}:{}", file.path, rule.line);
            if let Some(other) = homes.insert(rule.id.to_string(), here.clone()) {
                failures.push(format!("{here}: rule {:?} is already in {other}", rule.id));
            }
        }
    }
    none(failures);
}

/// Each number says where it comes from; a rule without numbers says it in its note. Texts are in both
/// languages, Chinese first.
#[test]
fn every_rule_names_its_basis_and_speaks_both_languages() {
    let mut failures = Vec::new();
    for file in shipped() {
        let rules = rules_of(&file);
        let lines: Vec<&str> = file.text.lines().collect();
        for (place, rule) in rules.iter().enumerate() {
            let at = format!("rules/{}:{}: rule {:?}", file.path, rule.line, rule.id);
            for (name, limit) in &rule.limits {
                if limit.basis.trim().chars().count() < 4 {
                    failures.push(format!("{at}: limit {name} has the basis {:?}", limit.basis));
                }
            }
            let end = rules.get(place + 1).map_or(lines.len(), |next| next.line - 1);
            let noted = lines[rule.line - 1..end].iter().any(|line| line.trim_start().starts_with("note:"));
            if rule.limits.is_empty() && !noted {
                failures.push(format!("{at}: has neither limits with a basis nor a note"));
            }
            for (key, text) in [("title", &rule.title), ("advice", &rule.advice)] {
                let sound = text.split_once(" / ").is_some_and(|(chinese, english)| {
                    chinese.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c))
                        && english.chars().any(|c| c.is_ascii_alphabetic())
                });
                if !sound {
                    failures.push(format!("{at}: {key} is not \"中文 / English\": {text:?}"));
                }
            }
        }
    }
    none(failures);
}

fn point(id: String, kind: Kind, place: &str, limits: &[(&str, f64)]) -> Point {
    Point {
        id: id.into(),
        site: "demo".into(),
        name: String::new(),
        kind,
        place: place.to_owned(),
        unit: kind.unit().to_owned(),
        range: None,
        resolution: kind.resolution(),
        period: Duration::from_secs(5),
        limits: limits.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
        coordinates: None,
        static_risk: 0,
        calibrate_every: None,
        relations: BTreeMap::new(),
        retired: false,
    }
}

/// A station nobody gave levels is told of; it is well as soon as the point table has them.
#[test]
fn a_station_without_levels_is_told_until_the_point_table_has_them() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    let start = Timestamp::from_secs(1_800_000_000);
    let river = shipped().into_iter().filter(|file| file.path == "water/river.rhai").collect::<Vec<_>>();
    let mut happens = |after: u64, limits: &[(&str, f64)]| {
        let at = start + Duration::from_secs(after);
        let points = vec![point("demo.bridge".into(), Kind::WaterLevel, "town bridge", limits)];
        let mut effects = Vec::new();
        shard.on_entry(
            &Entry::Note(Note::Setup(Arc::new(Setup { at, rules: river.clone(), ..Setup::of(points) }))),
            &mut effects,
        );
        let sample = Sample::received(PointIndex(0), 27.9, Some(at), at);
        shard.on_entry(&Entry::Samples(Arc::new(vec![sample])), &mut effects);
        let told = |change: &AlarmChange| format!("{} {}", change.happening.word(), change.alarm.rule);
        effects.iter().filter_map(Effect::change).map(told).collect::<Vec<_>>()
    };
    assert_eq!(happens(0, &[]), ["raised river-levels-unset"]);
    assert_eq!(happens(5, &[("warning", 28.5)]), Vec::<String>::new(), "one of the two is not enough");
    assert_eq!(happens(10, &[("warning", 28.5), ("guarantee", 29.8)]), ["cleared river-levels-unset"]);
}

/// Rules about the sensor itself, which watch every point.
const EVERYWHERE: [&str; 10] = [
    "calibrating-no-permit",
    "clock-wrong",
    "comm-loss",
    "over-range",
    "point-paused",
    "same-as-another",
    "sensor-fault",
    "supply-lost",
    "time-frozen",
    "value-doubtful",
];

/// The files of rules about the sensor itself.
const SENSORS: [&str; 2] = ["instrument/instrument.rhai", "instrument/tampering.rhai"];
/// Kinds whose readings move when the sensor lives.
const FREEZES: [Kind; 7] = [Kind::Methane, Kind::Combustible, Kind::Co, Kind::H2s, Kind::O2, Kind::Cl2, Kind::Nh3];
/// Kinds whose readings do not fall at one stroke.
const FALLS: [Kind; 4] = [Kind::Methane, Kind::Combustible, Kind::Co, Kind::H2s];

/// Kind and place of the demo's points, and the rules that must watch each, besides those of [`SENSORS`].
const WATCHED: &[(Kind, &str, &[&str])] = &[
    (
        Kind::Methane,
        "T1",
        &[
            "methane-face",
            "methane-face-cut",
            "methane-jump",
            "methane-negative",
            "methane-pre",
            "methane-rise",
            "methane-severe",
        ],
    ),
    (
        Kind::Methane,
        "T0",
        &[
            "methane-face",
            "methane-face-cut",
            "methane-jump",
            "methane-negative",
            "methane-pre",
            "methane-rise",
            "methane-severe",
        ],
    ),
    (
        Kind::Methane,
        "T2",
        &["methane-jump", "methane-negative", "methane-pre", "methane-return", "methane-rise", "methane-severe"],
    ),
    (
        Kind::Methane,
        "T3",
        &[
            "methane-intake",
            "methane-jump",
            "methane-negative",
            "methane-pre-intake",
            "methane-rise-intake",
            "methane-severe",
        ],
    ),
    (
        Kind::Methane,
        "main return",
        &["methane-jump", "methane-main-return", "methane-negative", "methane-pre-main-return", "methane-severe"],
    ),
    (Kind::Co, "T1", &["co-mine"]),
    (Kind::Co, "belt", &["co-mine"]),
    (Kind::Co, "boiler", &["co-plant-1", "co-plant-2"]),
    (Kind::O2, "T1", &["o2-low", "o2-mine", "o2-rich"]),
    (Kind::O2, "main return", &["o2-low", "o2-rich"]),
    (Kind::O2, "confined space", &["o2-low", "o2-rich"]),
    (Kind::Temperature, "T1", &["temperature-face"]),
    (Kind::Temperature, "machine room", &["temperature-machine-room"]),
    (Kind::Wind, "T1", &["wind-face-high", "wind-face-low"]),
    (Kind::Wind, "yard", &["wind-yard"]),
    (Kind::H2s, "tank farm", &["h2s-1", "h2s-2"]),
    (Kind::Cl2, "chlorine store", &["cl2-1", "cl2-2"]),
    (Kind::Nh3, "cold room", &["nh3-1", "nh3-2"]),
    (Kind::Combustible, "loading bay", &["combustible-1", "combustible-2"]),
    (
        Kind::TankLevel,
        "tank 3",
        &["tank-level-high", "tank-level-high-high", "tank-level-low", "tank-level-low-low", "tank-level-rise"],
    ),
    (Kind::TankLevel, "fire tank", &["fire-tank-low"]),
    (Kind::TankPressure, "tank 1", &["tank-pressure-high", "tank-pressure-high-high"]),
    (Kind::Smoke, "floor 3", &["smoke"]),
    (Kind::Heat, "garage", &["heat"]),
    (Kind::Pressure, "hydrant", &["hydrant-pressure-low"]),
    (Kind::Pressure, "fire main", &["fire-main-pressure-low"]),
    (Kind::Pressure, "reactor", &[]),
    (
        Kind::WaterLevel,
        "town bridge",
        &["river-guarantee", "river-levels-unset", "river-near", "river-rise", "river-warning"],
    ),
    (Kind::Rain, "upstream", &["rain-blue", "rain-orange", "rain-red", "rain-yellow"]),
    (Kind::Battery, "upstream", &["battery-cell-low", "battery-station-low"]),
];

/// A place's points are watched by the rules of their own field and by no others; all rules together fit.
#[test]
fn each_kind_of_place_is_watched_by_the_rules_meant_for_it() {
    let points =
        WATCHED.iter().zip(0..).map(|((kind, place, _), number)| point(format!("demo.p{number}"), *kind, place, &[]));
    let setup = Setup { at: Timestamp::from_secs(1_800_000_000), rules: shipped(), ..Setup::of(points.collect()) };
    let plan = Plan::new(&Language::new(), &setup);
    none(plan.problems.iter().map(ToString::to_string).collect());
    let mut failures = Vec::new();
    for ((kind, place, wanted), watched) in WATCHED.iter().zip(&plan.points) {
        let mut ids: Vec<&str> = watched.watches.iter().map(|watch| &*plan.rules[watch.rule].rule.id).collect();
        for everywhere in EVERYWHERE {
            if !ids.contains(&everywhere) {
                failures.push(format!("{kind} at {place}: {everywhere} does not watch it"));
            }
        }
        for (id, wants) in [("value-frozen", &FREEZES[..]), ("fell-at-one-stroke", &FALLS)] {
            if *kind != Kind::Wind && ids.contains(&id) != wants.contains(kind) {
                failures.push(format!("{kind} at {place}: watched by {id}: {}", ids.contains(&id)));
            }
        }
        let of_sensors =
            |id: &str| plan.rules.iter().any(|known| &*known.rule.id == id && SENSORS.contains(&&*known.rule.file));
        ids.retain(|id| !of_sensors(id));
        ids.sort_unstable();
        if ids != *wanted {
            failures.push(format!("{kind} at {place}: watched by {ids:?}, wanted {wanted:?}"));
        }
    }
    none(failures);
}
