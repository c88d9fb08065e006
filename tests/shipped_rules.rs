//! The rules that Davy ships with keep what their `.samples` say, and watch what they are meant to watch.
//!
//! Every `rules/<field>/*.rhai` is played against its sibling `.samples` by the gateway's own engine. A file
//! without samples, a rule that its samples never raise or never clear, an id that stands in two files and a
//! number without a basis are failures, told by file and line. So are a row of the standards' tables
//! (`limit_tables`) that no rule bears, a rule that is left to the interpreter, and two rules that raise for one cause
//! and are no levels of each other.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails where it stands")]

mod limit_tables;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use davy::engine::{Effect, Shard};
use davy::journal::{Entry, Note, RuleFile, Setup};
use davy::model::{Kind, Point, PointIndex, Sample, Stricter, Timestamp};
use davy::rule::{Judges, Language, Plan, Rule, read_file, trial};

use limit_tables::{RESTORE, ROWS, Row, TOXIC};

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
const CLEARED_BY_THE_POINT_TABLE: [&str; 3] = ["discharge-unset", "reservoir-levels-unset", "river-levels-unset"];

#[test]
fn every_rule_is_raised_and_cleared_by_its_samples() {
    let mut failures = Vec::new();
    for file in shipped() {
        let text = fs::read_to_string(folder().join(samples_of(&file))).unwrap_or_default();
        let expected = expected(&text);
        for rule in rules_of(&file) {
            let told = expected.get(&*rule.id).cloned().unwrap_or_default();
            for word in ["raised", if rule.latch { "latched" } else { "cleared" }] {
                let elsewhere = word == "cleared" && CLEARED_BY_THE_POINT_TABLE.contains(&&*rule.id);
                if !told.contains(word) && !elsewhere {
                    let name = samples_of(&file);
                    failures.push(format!("rules/{}:{}: {name} never sees {:?} {word}", file.path, rule.line, rule.id));
                }
            }
        }
    }
    none(failures);
}

/// Where the value cuts power a person who has looked lets it go, not a value that is low again.
#[test]
fn what_cuts_power_in_a_mine_latches_and_nothing_else_in_its_methane_files() {
    let mut latching = BTreeSet::new();
    for file in shipped().iter().filter(|file| file.path.starts_with("coal/methane")) {
        latching.extend(rules_of(file).into_iter().filter(|rule| rule.latch).map(|rule| rule.id.to_string()));
    }
    let cuts = [
        "methane-bleeder",
        "methane-bunker",
        "methane-face-cut",
        "methane-fan-inlet",
        "methane-fan-inlet-cut",
        "methane-intake",
        "methane-return",
    ];
    assert_eq!(latching, cuts.map(str::to_owned).into());
}

/// A bad sample and a point that is stricter than the rule stand in every samples file. A contact is not stricter.
#[test]
fn every_samples_file_shows_bad_data_and_every_file_with_limits_a_stricter_point() {
    let mut failures = Vec::new();
    for file in shipped() {
        let name = samples_of(&file);
        let text = fs::read_to_string(folder().join(&name)).unwrap_or_default();
        if !text.contains(" bad:") {
            failures.push(format!("rules/{name}: no line shows what a bad sample does"));
        }
        let limits = rules_of(&file).into_iter().flat_map(|rule| rule.limits);
        let limits: BTreeSet<String> =
            limits.filter(|(_, limit)| !limit.unit.is_empty()).map(|(name, _)| name).collect();
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

/// What happens at one point of `kind`, with each of these limits in the point table in turn.
fn told_by(path: &str, kind: Kind, value: f64, tables: &[&[(&str, f64)]]) -> Vec<Vec<String>> {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    let start = Timestamp::from_secs(1_800_000_000);
    let rules: Vec<RuleFile> = shipped().into_iter().filter(|file| file.path == path).collect();
    let played = tables.iter().zip(0_u64..).map(|(limits, number)| {
        let at = start + Duration::from_secs(5 * number);
        let points = vec![point("demo.station".into(), kind, "station", limits)];
        let mut effects = Vec::new();
        shard.on_entry(
            &Entry::Note(Note::Setup(Arc::new(Setup { at, rules: rules.clone(), ..Setup::of(points) }))),
            &mut effects,
        );
        let sample = Sample::received(PointIndex(0), value, Some(at), at);
        shard.on_entry(&Entry::Samples(Arc::new(vec![sample])), &mut effects);
        effects.iter().filter_map(told).collect()
    });
    played.collect()
}

fn told(effect: &Effect) -> Option<String> {
    effect.change().map(|change| format!("{} {}", change.happening.word(), change.alarm.rule))
}

/// A station nobody gave levels is told of; it is well as soon as the point table has them all.
#[test]
fn a_station_without_levels_is_told_until_the_point_table_has_them() {
    let river: [&[(&str, f64)]; 3] = [&[], &[("warning", 28.5)], &[("warning", 28.5), ("guarantee", 29.8)]];
    let told = told_by("water/river.rhai", Kind::WaterLevel, 27.9, &river);
    assert_eq!(told, [vec!["raised river-levels-unset"], vec![], vec!["cleared river-levels-unset"]]);

    let most: &[(&str, f64)] = &[("normal", 96.5), ("design", 98.2)];
    let all: &[(&str, f64)] = &[("normal", 96.5), ("design", 98.2), ("check", 99.4)];
    let told = told_by("water/reservoir.rhai", Kind::ReservoirLevel, 90.0, &[&[], most, all]);
    assert_eq!(told, [vec!["raised reservoir-levels-unset"], vec![], vec!["cleared reservoir-levels-unset"]]);

    let most: &[(&str, f64)] = &[("year_5", 820.0), ("year_20", 1450.0)];
    let all: &[(&str, f64)] = &[("year_5", 820.0), ("year_20", 1450.0), ("year_50", 1900.0)];
    let told = told_by("water/reservoir.rhai", Kind::Discharge, 12.0, &[&[], most, all]);
    assert_eq!(told, [vec!["raised discharge-unset"], vec![], vec!["cleared discharge-unset"]]);
}

fn planned(points: Vec<Point>) -> Plan {
    let setup = Setup { at: Timestamp::from_secs(1_800_000_000), rules: shipped(), ..Setup::of(points) };
    let plan = Plan::new(&Language::new(), &setup);
    none(plan.problems.iter().chain(&plan.refused).map(ToString::to_string).collect());
    plan
}

/// Each number of the standards' tables is in force at its place, in its unit, and none is looser than the law.
#[test]
fn every_row_of_the_limit_tables_is_in_force_at_its_place() {
    let points = ROWS.iter().zip(0..).map(|(row, number)| point(format!("demo.p{number}"), row.kind, row.place, &[]));
    let plan = planned(points.collect());
    let mut failures = Vec::new();
    for (row, watched) in ROWS.iter().zip(&plan.points) {
        let at = format!("{} at {:?}: rule {:?}", row.kind, row.place, row.rule);
        let Some(watch) = watched.watches.iter().find(|watch| &*plan.rules[watch.rule].rule.id == row.rule) else {
            failures.push(format!("{at} does not watch it"));
            continue;
        };
        let Some(limit) = plan.rules[watch.rule].rule.limits.get(row.limit) else {
            failures.push(format!("{at} has no limit {}", row.limit));
            continue;
        };
        if (limit.value, &*limit.unit) != (row.value, row.unit) {
            let Row { value, unit, .. } = row;
            failures.push(format!("{at}: {} is {} {}, wanted {value} {unit}", row.limit, limit.value, limit.unit));
        }
        if limit.stricter.looser(limit.value, row.law) {
            failures.push(format!("{at}: {} = {} is looser than {}", row.limit, limit.value, row.law));
        }
    }
    none(failures);
}

/// mg/m3 x 22.4 / molar mass, cut off after two digits at most: never above what the standard says.
#[test]
fn a_toxic_gas_has_the_number_of_the_standard_in_ppm() {
    let rules: Vec<Rule> = shipped().iter().flat_map(rules_of).collect();
    let mut failures = Vec::new();
    for (kind, stem, molar_mass, first, second) in TOXIC {
        for (level, milligrams) in [(1, first), (2, second)] {
            let id = format!("{stem}-{level}");
            let exact = milligrams * 22.4 / molar_mass;
            let found = rules.iter().find(|rule| *rule.id == *id).filter(|rule| rule.watches.kinds == [*kind]);
            let limit = found.and_then(|rule| rule.limits.get(&format!("level_{level}")));
            match limit {
                Some(limit) if limit.unit == "ppm" && limit.value <= exact && limit.value > exact - 0.02 => {}
                Some(limit) => failures.push(format!("{id}: {} {}, but {exact:.4} ppm", limit.value, limit.unit)),
                None => failures.push(format!("{id}: there is no such rule for {kind}")),
            }
        }
    }
    none(failures);
}

/// The law's restore value is where the alarm ends: the limit less the deadband.
#[test]
fn power_may_be_restored_where_the_standard_says() {
    let rules: Vec<Rule> = shipped().iter().flat_map(rules_of).collect();
    for (id, restore) in RESTORE {
        let rule = rules.iter().find(|rule| &*rule.id == *id).unwrap_or_else(|| panic!("there is no rule {id}"));
        let limit = rule.plain_limit().and_then(|name| rule.limits.get(name)).unwrap().value;
        assert!((limit - rule.deadband - restore).abs() < 1e-9, "{id}: {limit} - {} is not {restore}", rule.deadband);
        assert!(rule.clear.is_none() && rule.raise_after.is_zero(), "{id} has a wait or an end of its own");
    }
}

/// The interpreter costs forty times as much: what is shipped does without it.
#[test]
fn every_rule_is_native() {
    let plan = planned(Vec::new());
    let mut failures = Vec::new();
    for compiled in &plan.rules {
        for (name, program) in [("raise", Some(&compiled.raise)), ("clear", compiled.clear.as_ref())] {
            if let Some(Err(why)) = program.map(|program| &program.native) {
                failures
                    .push(format!("{}: rule {:?}: {name} is interpreted: {why}", compiled.rule.file, compiled.rule.id));
            }
        }
    }
    none(failures);
}

/// Rules about the sensor itself, which watch every point.
const EVERYWHERE: [&str; 11] = [
    "calibrating-long",
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
            "feed-anomaly-face",
            "methane-2",
            "methane-does-not-follow",
            "methane-emission-growth",
            "methane-face",
            "methane-face-cut",
            "methane-forecast",
            "methane-jump",
            "methane-negative",
            "methane-outburst-along",
            "methane-pre",
            "methane-rise",
            "methane-severe",
        ],
    ),
    (
        Kind::Methane,
        "T0",
        &[
            "feed-anomaly-face",
            "methane-2",
            "methane-does-not-follow",
            "methane-emission-growth",
            "methane-face",
            "methane-face-cut",
            "methane-forecast",
            "methane-jump",
            "methane-negative",
            "methane-outburst-along",
            "methane-pre",
            "methane-rise",
            "methane-severe",
        ],
    ),
    (
        Kind::Methane,
        "T2",
        &[
            "feed-anomaly-return",
            "methane-2",
            "methane-does-not-follow",
            "methane-emission-growth",
            "methane-forecast",
            "methane-jump",
            "methane-negative",
            "methane-outburst-along",
            "methane-pre",
            "methane-return",
            "methane-rise",
            "methane-severe",
        ],
    ),
    (
        Kind::Methane,
        "T3",
        &[
            "feed-anomaly-intake",
            "methane-2",
            "methane-does-not-follow",
            "methane-intake",
            "methane-jump",
            "methane-negative",
            "methane-outburst-along",
            "methane-pre-intake",
            "methane-rise-intake",
            "methane-severe",
        ],
    ),
    (
        Kind::Methane,
        "main return",
        &[
            "methane-2",
            "methane-does-not-follow",
            "methane-jump",
            "methane-main-return",
            "methane-negative",
            "methane-outburst-along",
            "methane-pre-main-return",
            "methane-severe",
        ],
    ),
    (Kind::Co, "T1", &["co-mine", "co-self-heating"]),
    (Kind::Co, "belt", &["co-mine", "co-self-heating"]),
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
    (
        Kind::Combustible,
        "loading bay",
        &["combustible-1", "combustible-2", "combustible-deviation", "combustible-vote"],
    ),
    (
        Kind::TankLevel,
        "tank 3",
        &[
            "tank-gauge-stuck",
            "tank-level-deviation",
            "tank-level-forecast",
            "tank-level-high",
            "tank-level-high-high",
            "tank-level-low",
            "tank-level-low-low",
            "tank-level-moves-shut",
            "tank-level-rise",
            "tank-level-vote",
        ],
    ),
    (Kind::TankLevel, "fire tank", &["fire-tank-low"]),
    (
        Kind::TankPressure,
        "tank 1",
        &[
            "tank-pressure-falls-shut",
            "tank-pressure-high",
            "tank-pressure-high-high",
            "tank-pressure-low",
            "tank-pressure-low-low",
            "tank-pressure-rise",
        ],
    ),
    (
        Kind::Temperature,
        "tank 1",
        &["tank-temperature-high", "tank-temperature-high-high", "tank-temperature-low", "tank-temperature-low-low"],
    ),
    (Kind::Temperature, "belt", &["temperature-belt", "temperature-rise"]),
    (
        Kind::Methane,
        "bunker",
        &[
            "feed-anomaly-bunker",
            "methane-bunker",
            "methane-does-not-follow",
            "methane-jump",
            "methane-negative",
            "methane-outburst-along",
            "methane-severe",
        ],
    ),
    (Kind::DrainedMethane, "drainage pipe", &["drained-methane-explosive", "drained-methane-low"]),
    (Kind::Fan, "main fan", &["main-fan-stopped"]),
    (Kind::Fan, "local fan spare", &[]),
    (Kind::Mains, "substation", &["substation-on-battery"]),
    (Kind::Mains, "fire pump", &["fire-pump-mains-lost"]),
    (Kind::Smoke, "floor 3", &["fire-confirmed", "smoke"]),
    (Kind::Heat, "garage", &["fire-confirmed", "heat"]),
    (Kind::Pressure, "hydrant", &["fire-pump-did-not-start", "hydrant-pressure-low"]),
    (Kind::Pressure, "fire main", &["fire-main-pressure-low", "fire-pump-did-not-start"]),
    (Kind::Pressure, "reactor", &[]),
    (
        Kind::WaterLevel,
        "town bridge",
        &[
            "river-forecast",
            "river-guarantee",
            "river-levels-unset",
            "river-near",
            "river-record",
            "river-rise",
            "river-warning",
        ],
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

/// Rules that may stand at one point for one cause, because they are levels of each other or the sign that comes first.
const FAMILIES: &[&[&str]] = &[
    // A sign, the alarm, the power cut, then the grades of the province.
    &["methane-face", "methane-face-cut", "methane-2", "methane-severe", "methane-pre", "methane-rise", "methane-jump"],
    &["methane-return", "methane-2", "methane-severe", "methane-pre", "methane-rise", "methane-jump"],
    &["methane-intake", "methane-2", "methane-severe", "methane-pre-intake", "methane-rise-intake", "methane-jump"],
    &["methane-main-return", "methane-2", "methane-severe", "methane-pre-main-return", "methane-jump"],
    &["methane-fan-inlet", "methane-fan-inlet-cut", "methane-2", "methane-severe", "methane-jump"],
    &["methane-bunker", "methane-severe", "methane-jump"],
    &["methane-bleeder", "methane-severe", "methane-jump"],
    &["methane-drainage-station", "methane-severe", "methane-jump"],
    // Below zero for a minute the zero is wrong; for six hours the sensor is dead as well.
    &["methane-negative", "dead-zero"],
    &["drained-methane-low", "drained-methane-explosive"],
    &["o2-mine", "o2-low"],
    &["dust-cloud", "dust-shift"],
    &["temperature-rise", "temperature-belt"],
    &["sump-high", "sump-high-high"],
    // Level 1 and level 2.
    &["combustible-1", "combustible-2"],
    &["open-path-1", "open-path-2"],
    &["methane-path-1", "methane-path-2"],
    &["h2s-1", "h2s-2"],
    &["co-plant-1", "co-plant-2"],
    &["cl2-1", "cl2-2"],
    &["nh3-1", "nh3-2"],
    &["so2-1", "so2-2"],
    &["no2-1", "no2-2"],
    &["benzene-1", "benzene-2"],
    &["hcn-1", "hcn-2"],
    &["hf-1", "hf-2"],
    &["hcl-1", "hcl-2"],
    &["phosgene-1", "phosgene-2"],
    // H and HH, L and LL, and the speed.
    // The point that stands for a tank begins low: how far a shut tank may move is a limit of it too.
    &["tank-level-high", "tank-level-high-high", "tank-level-low", "tank-level-low-low", "tank-level-rise"],
    // No water, and the pump that should bring it does not run: two orders to two people.
    &["fire-main-pressure-low", "fire-pump-did-not-start"],
    &["hydrant-pressure-low", "fire-pump-did-not-start"],
    &["sprinkler-pressure-low", "fire-pump-did-not-start"],
    &["tank-pressure-high", "tank-pressure-high-high", "tank-pressure-rise"],
    &["tank-pressure-low", "tank-pressure-low-low"],
    &["tank-temperature-high", "tank-temperature-high-high"],
    &["tank-temperature-low", "tank-temperature-low-low"],
    &["interlock-bypassed", "interlock-bypassed-long"],
    // A 24 V battery at 1.3 V is no cell, but it is empty.
    &["fire-panel-battery-low", "battery-cell-low"],
    // Stages, and that a station has none of its own.
    &["rain-blue", "rain-yellow", "rain-orange", "rain-red"],
    &["rain-total-blue", "rain-total-yellow", "rain-total-orange", "rain-total-red"],
    &["river-levels-unset", "river-near", "river-warning", "river-guarantee", "river-record", "river-rise"],
    &["reservoir-levels-unset", "reservoir-normal", "reservoir-design", "reservoir-check"],
    &["discharge-unset", "discharge-5-year", "discharge-20-year", "discharge-50-year"],
    &["slope-creep-fast", "slope-accelerating", "slope-about-to-fail", "slope-jump"],
];

/// Limits that are differences over time, not values of the point.
const DIFFERENCES: [&str; 11] =
    ["rise", "rise_30m", "rise_1h", "jump", "growth", "change", "creep", "opening", "turn", "shift", "paused_from"];

/// A point at every place that a rule names for its kind, and at one that none names; with it the value at which all is
/// well there, and one that is too low and one that is too high for every rule.
fn everywhere() -> Vec<(Point, f64, [f64; 2])> {
    let plan = planned(Vec::new());
    let mut found = Vec::new();
    for kind in Kind::ALL {
        let rules =
            || plan.rules.iter().map(|compiled| &compiled.rule).filter(|rule| rule.watches.kinds.contains(kind));
        let mut places: BTreeSet<&str> = rules().flat_map(|rule| &rule.watches.places).map(String::as_str).collect();
        places.insert("elsewhere");
        let mut known = BTreeSet::new();
        for place in places {
            let there =
                rules().filter(|rule| rule.watches.places.is_empty() || rule.watches.places.iter().any(|p| p == place));
            // One of the places with the same rules is enough.
            if !known.insert(there.clone().map(|rule| rule.id.clone()).collect::<Vec<_>>()) {
                continue;
            }
            let (mut floors, mut ceilings, mut steps) = (Vec::new(), Vec::new(), vec![0.0]);
            for (name, limit) in there.flat_map(|rule| &rule.limits) {
                match limit.stricter {
                    Stricter::Lower if DIFFERENCES.contains(&&**name) => steps.push(limit.value),
                    Stricter::Lower => ceilings.push(limit.value),
                    Stricter::Higher => floors.push(limit.value),
                }
            }
            let most = |list: &[f64]| list.iter().copied().reduce(f64::max);
            let least = |list: &[f64]| list.iter().copied().reduce(f64::min);
            let normal = match (most(&floors), least(&ceilings)) {
                (Some(floor), Some(ceiling)) => f64::midpoint(floor, ceiling),
                (Some(floor), None) => floor + floor.abs() + 1.0,
                (None, ceiling) => ceiling.unwrap_or(0.0) / 2.0,
            };
            let far = 100.0 * most(&steps).unwrap_or(0.0);
            let low = least(&floors).map_or(normal - far, |floor| floor - 0.1 * floor.abs() - 1.0);
            let high = most(&ceilings).map_or(normal + far, |ceiling| 1.1 * ceiling + 1.0);
            let name = format!("demo.p{}", found.len());
            found.push((
                Point { period: Duration::from_hours(12), ..point(name, *kind, place, &[]) },
                normal,
                [low, high],
            ));
        }
    }
    found
}

/// Each point goes from well to far beyond every limit and stays there for half a day: what rises at it is one rule,
/// or rules that are levels of each other.
#[test]
fn one_cause_at_one_point_raises_the_levels_of_one_family() {
    let points = everywhere();
    let plan = planned(Vec::new());
    let about_the_mine: BTreeSet<&str> =
        plan.rules.iter().filter(|compiled| compiled.rule.judges == Judges::Samples).map(|c| &*c.rule.id).collect();
    let (mut failures, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for direction in [0, 1] {
        let language = Language::new();
        let mut shard = Shard::new(&language);
        let start = Timestamp::from_secs(1_800_000_000);
        let setup = Setup {
            at: start,
            rules: shipped(),
            ..Setup::of(points.iter().map(|(point, ..)| point.clone()).collect())
        };
        let mut effects = Vec::new();
        shard.on_entry(&Entry::Note(Note::Setup(Arc::new(setup))), &mut effects);
        for minute in (0..20).chain((20..13 * 60).step_by(20)) {
            let at = start + Duration::from_mins(minute);
            shard.on_entry(&Entry::Tick(at), &mut effects);
            if minute > 1 {
                continue;
            }
            let samples = points.iter().zip(0..).map(|((_, normal, beyond), index)| {
                let value = if minute == 0 { *normal } else { beyond[direction] };
                Sample::received(PointIndex(index), value, Some(at), at)
            });
            shard.on_entry(&Entry::Samples(Arc::new(samples.collect())), &mut effects);
        }
        let mut raised: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
        for effect in &effects {
            if let Effect::Changed(change) = effect
                && let Some(PointIndex(index)) = change.alarm.point
                && about_the_mine.contains(&*change.alarm.rule)
            {
                raised.entry(index).or_default().insert(change.alarm.rule.to_string());
            }
        }
        for (index, ids) in raised {
            let (point, ..) = &points[index as usize];
            let family = FAMILIES.iter().find(|family| ids.iter().all(|id| family.contains(&&**id)));
            if ids.len() > 1 && family.is_none() {
                failures.insert(format!("{ids:?} rise together: {} at {}", point.kind, point.place));
            }
            seen.extend(ids);
        }
    }
    for id in FAMILIES.iter().copied().flatten().filter(|id| !seen.contains(**id)) {
        failures.insert(format!("{id} is named as a level of others, and never rose"));
    }
    none(failures.into_iter().collect());
}
