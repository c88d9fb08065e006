use std::time::Duration;

use super::*;
use crate::config::Problems;
use crate::model::{PointIndex, Quality};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn units(text: &str) -> (Vec<Unit>, Vec<String>) {
    let mut problems = Problems::in_file("davy.toml");
    let units = read(toml::from_str(text).unwrap(), &mut problems);
    (units, problems.iter().map(ToString::to_string).collect())
}

fn point(id: &str, kind: Kind, place: &str) -> Point {
    Point {
        id: id.into(),
        site: id.split('.').next().unwrap().into(),
        name: id.into(),
        kind,
        place: place.into(),
        unit: kind.unit().into(),
        range: None,
        resolution: 0.01,
        period: Duration::from_secs(5),
        limits: BTreeMap::new(),
        coordinates: None,
        static_risk: 0,
        calibrate_every: None,
        relations: std::collections::BTreeMap::new(),
        retired: false,
    }
}

fn heard(point: u32, ago: u64, quality: Quality) -> Option<Sample> {
    let at = NOW - Duration::from_secs(ago);
    Some(Sample { quality, ..Sample::received(PointIndex(point), 0.4, Some(at), at) })
}

fn face(latest: &[Option<Sample>], change: impl Fn(&mut Vec<Point>)) -> UnitSurvey {
    let (units, told) = units("[\"mine.face-3201\"]\nname = \"3201\"\nsets = [\"coal-face\"]\npoints = [\"3201-*\"]");
    assert_eq!(told, Vec::<String>::new());
    let mut points: Vec<Point> =
        ["T0", "T1", "T2"].map(|place| point(&format!("mine.3201-{place}"), Kind::Methane, place)).into();
    points.push(point("mine.4102-T1", Kind::Methane, "T1"));
    change(&mut points);
    let survey = survey(&units, &PointTable::new(points), latest, NOW);
    assert_eq!(survey.sites.len(), 1);
    assert_eq!(survey.total.rate, Some(f64::from(u8::from(survey.sites[0].list[0].covered))));
    survey.sites[0].list[0].clone()
}

fn missing(unit: &UnitSurvey) -> Vec<(&str, &str)> {
    let missing = unit.requires.iter().flat_map(|need| &need.missing);
    missing.map(|missing| (missing.point.as_deref().unwrap_or("-"), missing.why.as_str())).collect()
}

#[test]
fn a_face_is_covered_only_while_every_sensor_that_the_law_asks_for_is_good() {
    let good = |at| heard(at, 1, Quality::GOOD);
    let all = [good(0), good(1), good(2), good(3)];
    let covered = face(&all, |_| {});
    assert!(covered.covered && missing(&covered).is_empty());
    assert_eq!(covered.requires[0].set, "coal-face");
    assert!(covered.requires[0].basis.starts_with("AQ 1029-2019"));

    for (sample, why) in [
        (None, "waiting"),
        (heard(1, 7, Quality::GOOD), "stale"),
        (heard(1, 1, Quality::because(Reason::SensorFault)), "sensor_fault"),
        (heard(1, 1, Quality::because(Reason::Calibrating)), "calibrating"),
        (heard(1, 1, Quality::because(Reason::OverRange)), "over_range"),
        (heard(1, 1, Quality::because(Reason::Exercise)), "exercise"),
        (heard(1, 1, Quality::because(Reason::Late)), "late"),
    ] {
        let unit = face(&[good(0), sample, good(2), good(3)], |_| {});
        assert!(!unit.covered);
        assert_eq!(missing(&unit), [("mine.3201-T1", why)], "the T1 of another face does not stand in");
    }
    let no_time = face(&[good(0), heard(1, 1, Quality::because(Reason::NoSourceTime)), good(2), good(3)], |_| {});
    assert!(no_time.covered, "a sensor without a clock is still good");
}

#[test]
fn a_sensor_that_is_gone_is_told_as_retired_and_as_not_configured() {
    let good = |at| heard(at, 1, Quality::GOOD);
    let unit = face(&[good(0), good(1), good(2), good(3)], |points| points[2].retired = true);
    assert_eq!(missing(&unit), [("mine.3201-T2", "retired"), ("-", "not_configured")]);
    assert_eq!(unit.requires[2].missing[1].short_of, Some(1));
}

#[test]
fn a_tank_may_have_two_gauges_or_one_and_two_switches() {
    let (units, told) = units("[\"plant.tank-3\"]\nsets = [\"tank-atmospheric\"]");
    assert_eq!(told, Vec::<String>::new());
    let covered = |points: &[(Kind, &str)]| {
        let latest: Vec<_> = (0..points.len() as u32).map(|at| heard(at, 1, Quality::GOOD)).collect();
        let points = points.iter().enumerate().map(|(at, (kind, place))| point(&format!("plant.p{at}"), *kind, place));
        survey(&units, &PointTable::new(points.collect()), &latest, NOW).total.covered == 1
    };
    let gauge = (Kind::TankLevel, "tank 3");
    let switch = (Kind::Switch, "level");
    assert!(covered(&[gauge, gauge]));
    assert!(covered(&[gauge, switch, switch]));
    assert!(!covered(&[gauge, switch]));
    assert!(!covered(&[switch, switch]));
    assert!(!covered(&[gauge, (Kind::Switch, "valve"), (Kind::Switch, "valve")]));
}

/// Nothing to cover is not "100 %", and sites count by their units.
#[test]
fn the_rate_is_covered_units_out_of_all() {
    let points = PointTable::new(vec![point("a.t1", Kind::Methane, "T1"), point("b.t1", Kind::Methane, "T1")]);
    let none = survey(&[], &points, &[None, None], NOW);
    assert_eq!((none.total.rate, none.total.points, none.total.good), (None, 2, 0));
    let text = "[\"a.one\"]\nrequires = [{ kind = \"methane\" }]\n[\"a.two\"]\nrequires = [{ kind = \"co\" }]\n\
                [\"b.one\"]\nrequires = [{ kind = \"methane\", place = \"T1\" }]\n\
                [\"c.one\"]\nrequires = [{ kind = \"methane\" }]";
    let (units, told) = units(text);
    assert_eq!(told, Vec::<String>::new());
    let now = survey(&units, &points, &[heard(0, 0, Quality::GOOD), heard(1, 0, Quality::GOOD)], NOW);
    let rates: Vec<_> = now.sites.iter().map(|site| (site.site.as_str(), site.of.rate)).collect();
    assert_eq!(rates, [("a", Some(0.5)), ("b", Some(1.0)), ("c", Some(0.0))]);
    assert_eq!((now.total.units, now.total.covered, now.total.rate), (4, 2, Some(0.5)));
}

#[test]
fn mistakes_in_a_unit_name_their_key() {
    let text = "[face]\nsets = [\"coal-face\"]\n[\"mine.a\"]\nsets = [\"coal-fase\"]\n[\"mine.b\"]\nname = \"b\"\n\
                [\"mine.c\"]\nrequires = [{ kind = \"methan\", count = 0 }, { place = \"T1\" }]\n\
                [\"mine.d\"]\nrequires = [{ kind = 7 }]\npoint = [\"x\"]";
    let (units, told) = units(text);
    assert_eq!(units, []);
    let all = told.join("\n");
    for expected in [
        "davy.toml: coverage.\"face\": \"face\" is not site.unit",
        "davy.toml: coverage.\"mine.a\".sets[0]: \"coal-fase\" is not a set; did you mean \"coal-face\"?",
        "davy.toml: coverage.\"mine.b\": asks for nothing",
        "davy.toml: coverage.\"mine.c\".requires[1]: kind is missing",
        "davy.toml: coverage.\"mine.d\".point: unknown key; did you mean \"points\"?",
    ] {
        assert!(all.contains(expected), "{expected}\nis not in\n{all}");
    }
}

#[test]
fn every_shipped_set_is_sound() {
    let sets: toml::Table = toml::from_str(include_str!("sets.toml")).unwrap();
    assert!(sets.len() >= 7);
    for name in sets.keys() {
        let (units, told) = units(&format!("[\"site.unit\"]\nsets = [{name:?}]"));
        assert!(told.is_empty() && units.len() == 1, "{name}: {told:?}");
        assert!(units[0].needs.iter().all(|need| !need.basis.is_empty() && need.set == *name));
    }
}
