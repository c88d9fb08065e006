//! What is told at load of rules that look around.

use super::*;
use crate::journal::RuleFile;
use crate::model::{Calendar, MonthDay, Season, Zone};
use crate::rule::{Language, trial};

fn rule(raise: &str) -> RuleFile {
    let text = format!(
        "rule(\"r\", #{{ title: \"t\", advice: \"a\", watches: #{{ kind: \"methane\" }}, priority: \"P2\",\n\
         level: \"orange\", raise: |p| {raise} }});"
    );
    RuleFile { path: "x.rhai".into(), text }
}

fn plan(raise: &str, points: &[&str]) -> Plan {
    let points = points.iter().map(|line| trial::read_point(&line.split(' ').collect::<Vec<_>>()).unwrap()).collect();
    let day = |day| MonthDay { month: 5, day };
    let season = Season { name: "flood".into(), sites: Vec::new(), from: day(1), to: day(9) };
    let calendar = Calendar { zone: Zone::BEIJING, seasons: vec![season], ..Calendar::default() };
    Plan::new(&Language::new(), &Setup { rules: vec![rule(raise)], calendar, ..Setup::of(points) })
}

const POINTS: [&str; 4] = [
    "a methane T1 %VOL redundant=b neighbour=d",
    "b methane T1 %VOL redundant=c",
    "c methane T1 %VOL",
    "d co T1 ppm feed=a",
];

fn members(plan: &Plan, point: usize) -> (Vec<u32>, bool) {
    let outlooks = plan.points[point].watches[0].outlooks.as_ref().unwrap();
    let group = &outlooks.raise.groups[0];
    (group.points.iter().map(|index| index.0).collect(), group.own_votes)
}

#[test]
fn a_ring_is_said_once_neighbours_are_mutual_and_the_rest_holds_one_way() {
    let ring = plan("p.related(\"redundant\").max > 1.0", &POINTS);
    assert_eq!(
        [0, 1, 2].map(|point| members(&ring, point)),
        [(vec![1, 2], true), (vec![0, 2], true), (vec![0, 1], true)]
    );
    let beside = plan("p.related(\"neighbour\").max > 1.0", &["d co T1 ppm", "a methane T1 %VOL neighbour=d"]);
    assert_eq!(members(&beside, 1), (vec![0], false), "another kind votes without the point");
    let feed = plan("p.related(\"feed\").value > 1.0", &POINTS);
    assert_eq!(members(&feed, 0), (vec![], true));
    let all = plan("p.all(\"methane\", \"T1\").max > 1.0", &POINTS);
    assert_eq!(members(&all, 1), (vec![0, 1, 2], false));
    assert_eq!(all.onlookers[0], [PointIndex(1), PointIndex(2)]);
    assert!(all.onlookers[3].is_empty() && !all.points[3].looks);
}

#[test]
fn what_is_wrong_is_told_with_the_line_and_what_is_odd_is_remarked() {
    for (raise, problem) in [
        ("p.point(\"nobody\").value > 1.0", "x.rhai:1: rule \"r\": point(\"nobody\") names no point at any site"),
        ("p.season(\"rain\")", "there is no season \"rain\"; known are flood"),
        ("p.point(p.quality).value > 1.0", "point(..) takes a name written out"),
        ("p.related(\"\").value > 1.0", "related(..) takes a word written out"),
        ("p.all(\"methan\", \"\").max > 1.0", "asks for all of kind \"methan\", but kinds are methane, "),
        ("p.all(\"methane\").max > 1.0", "all(..) takes a kind and a place"),
        ("p.related(\"feed\").highest > 1.0", "asks p.related(\"feed\").highest, but it has value, age, max"),
        ("p.related(\"feed\").top(3) > 1.0", "asks p.related(\"feed\").top, but it has value"),
        ("p.related(\"feed\").vote(0, \">=\", 1.0)", "vote(..) takes how many"),
        ("p.related(\"feed\").vote(2, \"=\", 1.0)", "vote(..) takes how many"),
        ("p.related(\"feed\").mean(\"soon\") > 1.0", "\"soon\" is not a duration"),
        ("p.related(\"feed\").mean(p.quality) > 1.0", "takes a span written out"),
        ("p.season(p.quality)", "season(..) takes a name written out"),
        ("p.weather == \"fog\"", "asks p.weather, but a point has value"),
    ] {
        let told: Vec<String> = plan(raise, &POINTS).problems.iter().map(ToString::to_string).collect();
        assert!(told.len() == 1 && told[0].contains(problem), "{raise}: expected {problem:?}, told {told:#?}");
    }
    for (raise, remark) in [
        ("p.related(\"feed\").value > 1.0", "rule \"r\": related(\"feed\") names no point at trial.a and 2 more"),
        ("p.related(\"redundant\").vote(4, \">=\", 1.0)", "4 votes are asked, but 3 vote"),
        ("p.related(\"redundant\").value > 1.0", "names 2 points, and what only one alone can answer is unknown there"),
    ] {
        let plan = plan(raise, &POINTS);
        assert!(plan.problems.is_empty(), "{raise}: {:?}", plan.problems);
        let told: Vec<String> = plan.remarks.iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|told| told.contains(remark)), "{raise}: expected {remark:?}, told {told:#?}");
    }
    let mixed = plan("p.all(\"co\", \"\").max > 1.0", &["a methane T1 %VOL", "b co T1 ppm", "c co T1 mg/m3"]);
    assert!(
        mixed.remarks.iter().any(|told| told.message.contains("different units: mg/m3, ppm")),
        "{:?}",
        mixed.remarks
    );
}

#[test]
fn where_no_season_is_named_a_rule_that_asks_for_one_is_unknown_and_not_broken() {
    let points = vec![trial::read_point(&POINTS[0].split(' ').take(4).collect::<Vec<_>>()).unwrap()];
    let rules = vec![rule("p.season(\"flood\")")];
    let plan = Plan::new(&Language::new(), &Setup { rules, ..Setup::of(points) });
    assert!(plan.problems.is_empty(), "{:?}", plan.problems);
    assert_eq!(plan.points[0].watches[0].outlooks.as_ref().unwrap().raise.seasons, [None]);
    let told: Vec<String> = plan.remarks.iter().map(ToString::to_string).collect();
    let expected = "season \"flood\": [calendar] names none, so what it asks is unknown";
    assert!(told.iter().any(|told| told.contains(expected)), "{told:#?}");
}

#[test]
fn a_group_has_a_bound() {
    let lines: Vec<String> = (0..=MOST_MEMBERS).map(|number| format!("m{number} methane T1 %VOL")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let full = plan("p.all(\"methane\", \"\").max > 1.0", &lines);
    let told: Vec<String> = full.problems.iter().map(ToString::to_string).collect();
    assert!(told[0].contains("rule \"r\": all(\"methane\", \"\") at point trial.m0 names 257 points"), "{told:?}");
    assert!(plan("p.all(\"methane\", \"\").max > 1.0", &lines[..MOST_MEMBERS]).problems.is_empty());
}
