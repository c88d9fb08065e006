//! Stories of rules that look beyond their point, told in the lines that operators write, and the promise that
//! a restart changes nothing for them either.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::alarm::AlarmChange;
use crate::engine::Shard;
use crate::facts::Answer;
use crate::journal::{Entry, Note, RuleFile, Setup, SiteSet};
use crate::model::{Calendar, MonthDay, Point, Quality, Reason, Sample, Season, SiteStanding, SiteState, Zone};
use crate::rule::{Language, trial};

/// One rule with these closures.
fn rule(id: &str, watches: &str, more: &str) -> String {
    format!(
        "rule(\"{id}\", #{{ title: \"t\", advice: \"a\", watches: #{{ {watches} }}, priority: \"P2\", level: \"orange\",
         limits: #{{ alarm: #{{ value: 1.0, unit: \"%VOL\", stricter: \"lower\", basis: \"AQ 1029-2019\" }} }}, {more} }});"
    )
}

fn passes(rules: &str, samples: &str) {
    let file = RuleFile { path: "x.rhai".into(), text: rules.to_owned() };
    if let Err(failures) = trial::run(&file, "x.samples", samples) {
        let told: Vec<String> = failures.iter().map(ToString::to_string).collect();
        panic!("{}", told.join("\n"));
    }
}

const THREE: &str = "point a methane T1 %VOL redundant=b,c\npoint b methane T2 %VOL\npoint c methane T2 %VOL\n";

#[test]
fn two_of_three_become_one_of_two_and_one_of_one_when_sensors_break() {
    let rules = rule(
        "voted",
        "kind: \"methane\", place: \"T1\"",
        "raise: |p| p.related(\"redundant\").vote(2, \">=\", p.limit.alarm)",
    );
    let one_is_not_enough = "0s a 0.1\n0s b 0.1\n0s c 0.1\n5s b 1.2\n5s a 0.1\n5s c 0.1\n";
    passes(
        &rules,
        &format!("{THREE}{one_is_not_enough}10s a 0.1\n10s b 1.2\n10s c 1.1 raised voted\n14s b 0.2 cleared voted\n"),
    );
    // The point's own sensor breaks: the others speak for it, at once and without it.
    passes(&rules, &format!("{THREE}{one_is_not_enough}6s a bad:line_break raised voted\n"));
    // A broken one makes one of two: the next sample of either is enough.
    passes(
        &rules,
        &format!("{THREE}0s a 0.1\n0s b 0.1\n0s c 0.1\n5s c bad:sensor_fault\n5s a 0.1\n5s b 1.0 raised voted\n"),
    );
    let two_broken = "0s a 0.1\n0s b 0.1\n0s c 0.1\n5s b bad:line_break\n5s c bad:line_break\n5s a 0.9\n";
    passes(&rules, &format!("{THREE}{two_broken}10s a 1.0 raised voted\n"));
}

#[test]
fn sensors_that_burn_up_clear_no_alarm() {
    let rules = rule(
        "voted",
        "kind: \"methane\", place: \"T1\"",
        "raise: |p| p.related(\"redundant\").vote(2, \">=\", p.limit.alarm)",
    );
    let raised = "0s a 0.1\n0s b 0.1\n0s c 0.1\n5s b 1.2\n5s c 1.2 raised voted\n";
    let broken = "6s b bad:line_break\n6s c bad:line_break\n7s a 0.1\n12s a 0.1\n";
    passes(&rules, &format!("{THREE}{raised}{broken}13s b 0.2 cleared voted\n"));
    // One that is back is enough to say so: the other alone could not have made two. The same by silence.
    passes(&rules, &format!("{THREE}{raised}10s a 0.1\n14s a 0.1\n19s a 0.1\n24s a 0.1\n25s b 0.2 cleared voted\n"));
}

#[test]
fn sensors_not_heard_yet_are_not_broken_ones() {
    let rules = rule(
        "voted",
        "kind: \"methane\", place: \"T1\"",
        "raise: |p| p.related(\"redundant\").vote(2, \">=\", p.limit.alarm)",
    );
    passes(&rules, &format!("{THREE}1s a 1.2\n2s b 0.1\n3s c 1.2 raised voted\n"));
    // Who is not heard after its period and a second is missed: one of one.
    passes(&rules, &format!("{THREE}1s a 1.2\n6s a 1.2\n7s a 1.2 raised voted\n"));
}

#[test]
fn a_silent_neighbour_is_told_from_a_quiet_one() {
    let rules = rule(
        "fan-lost",
        "kind: \"methane\"",
        "raise: |p| p.value >= 0.5 && p.point(\"fan\").value < 0.5, clear: |p| p.value < 0.5",
    );
    let points = "point t1 methane T1 %VOL\npoint fan switch fan \"\" period=10s\n";
    passes(
        &rules,
        &format!("{points}0s fan 1\n0s t1 0.6\n5s t1 0.6\n6s fan 0 raised fan-lost\n7s t1 0.4 cleared fan-lost\n"),
    );
    // Silent: its last "running" is no longer believed, and neither is its last "stopped".
    passes(&rules, &format!("{points}0s fan 1\n0s t1 0.6\n20s t1 0.6\n30s t1 0.6\n31s fan 0 raised fan-lost\n"));
    passes(&rules, &format!("{points}0s fan 0\n0s t1 0.4\n20s t1 0.6\n"));
    let lost = rule("fan-unknown", "kind: \"methane\"", "raise: |p| p.point(\"fan\").quality == \"bad\"");
    passes(&lost, &format!("{points}0s fan 1\n0s t1 0.6\n10s t1 0.6\n12s t1 0.6 raised fan-unknown\n"));
}

#[test]
fn groups_say_what_their_usable_members_say() {
    let points = format!("{THREE}point d methane T2 %VOL\n");
    for (raise, told) in [
        ("p.all(\"methane\", \"T2\").max == 0.7 && p.all(\"methane\", \"T2\").min == 0.2", true),
        ("p.all(\"methane\", \"\").size == 4 && p.all(\"methane\", \"\").known == 3.0", true),
        ("{ let all = p.all(\"methane\", \"\"); abs(all.mean - 0.4) < 1e-9 && abs(all.sum - 1.2) < 1e-9 }", true),
        ("p.all(\"methane\", \"\").median == 0.3 && abs(p.all(\"methane\", \"\").spread - 0.5) < 1e-9", true),
        ("p.all(\"methane\", \"T2\").over(0.7) == 1.0 && p.all(\"methane\", \"\").under(0.3) == 2.0", true),
        ("p.value - p.related(\"redundant\").median > -0.2", true),
        ("p.related(\"redundant\").max > 0.7", false),
        // Asked about the highest value of nobody: unknown, and so is its opposite.
        ("p.all(\"switch\", \"\").size == 0.0 || true", false),
    ] {
        let rules = rule("said", "kind: \"methane\", place: \"T1\"", &format!("raise: |p| p.value > 0.0 && ({raise})"));
        let last = if told { "3s a 0.3 raised said" } else { "3s a 0.3" };
        passes(&rules, &format!("{points}0s b 0.2\n0s c 0.7\n1s d bad:line_break\n{last}\n"));
    }
}

#[test]
fn windows_of_other_points_are_kept_for_the_rules_that_ask() {
    let rules = rule(
        "rises-below",
        "kind: \"methane\", place: \"T1\"",
        "raise: |p| p.related(\"feed\").delta(\"10m\") >= 0.5 && p.point(\"b\").count(\"10m\") >= 3.0",
    );
    let points = "point a methane T1 %VOL feed=b\npoint b methane T2 %VOL\n";
    passes(&rules, &format!("{points}0s b 0.1\n0s a 0.1\n300s b 0.3\n301s a 0.1\n600s b 0.6 raised rises-below\n"));
}

#[test]
fn the_state_of_the_site_the_season_and_the_hour_are_heard_at_once() {
    let stopped = rule("stopped", "kind: \"methane\"", "raise: |p| p.site == \"stopped\" && p.value >= 0.3");
    passes(
        &stopped,
        "point t1 methane T1 %VOL\n0s t1 0.4\n2s site stopped raised stopped\n3s site maintenance cleared stopped\n",
    );
    let flood = rule("flood", "kind: \"methane\"", "raise: |p| p.season(\"flood\") && p.value >= 0.3");
    passes(
        &flood,
        "start 2026-05-14T23:59:58+08:00\nseason flood 05-15 09-30\npoint t1 methane T1 %VOL\n0s t1 0.4\n1s - \n2s - raised flood\n",
    );
    let night = rule("night", "kind: \"methane\"", "raise: |p| p.hour >= 22.0 || p.hour < 6.0");
    passes(&night, "start 2026-05-14T21:59:58+08:00\npoint t1 methane T1 %VOL\n0s t1 0.4\n2s t1 0.4 raised night\n");
}

#[test]
fn delays_run_while_only_others_speak() {
    let rules = rule(
        "voted",
        "kind: \"methane\", place: \"T1\"",
        "raise: |p| p.related(\"redundant\").vote(2, \">=\", 1.0), raise_after: \"6s\", clear_after: \"6s\"",
    );
    // a is broken from the start: b and c are two of two, then of one each.
    let risen = "0s a bad:line_break\n1s b 1.2\n1s c 0.2\n6s b 1.2\n6s c 0.2\n7s b 1.2 raised voted\n";
    passes(&rules, &format!("{THREE}{risen}8s b 0.1\n9s a 0.1\n10s c 0.1\n12s b 0.1\n14s - cleared voted\n"));
}

fn point(name: &str, relations: &[(&str, &[&str])]) -> Point {
    let mut point = trial::read_point(&[name, "methane", name, "%VOL"]).unwrap();
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    point.relations = relations.iter().map(|(word, list)| ((*word).to_owned(), names(list))).collect();
    point
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_secs(1_790_000_000) + Duration::from_millis(u64::try_from(millis).unwrap())
}

fn setup() -> Entry {
    let text = [
        (
            "voted",
            "raise: |p| p.related(\"redundant\").vote(2, \">=\", p.limit.alarm), raise_after: \"3s\", clear_after: \"4s\"",
        ),
        (
            "spread",
            "raise: |p| p.all(\"methane\", \"\").spread >= 1.5, clear: |p| p.all(\"methane\", \"\").spread < 1.0",
        ),
        ("held", "raise: |p| p.value >= 1.0 && p.related(\"redundant\").max >= 1.0, deadband: 0.2"),
        ("site", "raise: |p| p.site == \"stopped\" && p.season(\"flood\") && p.value > 0.5"),
        ("odd", "judges: \"health\", raise: |p| abs(p.value - p.related(\"redundant\").median) > 1.0"),
        ("plain", "raise: |p| p.value >= p.limit.alarm, raise_after: \"2s\""),
    ];
    let rules = text.map(|(id, more)| rule(id, "kind: \"methane\"", more)).join("\n");
    let season = Season {
        name: "flood".into(),
        sites: Vec::new(),
        from: MonthDay { month: 9, day: 22 },
        to: MonthDay { month: 9, day: 30 },
    };
    let points = vec![point("a", &[("redundant", &["b", "c"])]), point("b", &[]), point("c", &[])];
    let setup = Setup {
        at: at(0),
        rules: vec![RuleFile { path: "x.rhai".into(), text: rules }],
        calendar: Calendar { zone: Zone::BEIJING, seasons: vec![season], ..Calendar::default() },
        ..Setup::of(points)
    };
    Entry::Note(Note::Setup(Arc::new(setup)))
}

fn changes(shard: &mut Shard<'_>, entries: &[Entry]) -> Vec<AlarmChange> {
    let mut effects = Vec::new();
    entries.iter().for_each(|entry| shard.on_entry(entry, &mut effects));
    let changed = |effect| if let Effect::Changed(change) = effect { Some(change) } else { None };
    effects.into_iter().filter_map(changed).collect()
}

/// Frames of several points, clocks that are off, breaks, silences, ticks and people.
fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let value = prop::sample::select(vec![Some(0.2), Some(0.9), Some(1.1), Some(2.0), None]);
    let sample = (0_u32..3, value, -2_000_i64..2_000);
    let frame = (1_i64..9_000, prop::collection::vec(sample, 0..5), 0_u8..12);
    prop::collection::vec(frame, 1..60).prop_map(|frames| {
        let (mut now, mut entries) = (0, vec![setup()]);
        for (pause, samples, other) in frames {
            now += pause;
            let sample = |(point, value, skew): (u32, Option<f64>, i64)| {
                let source = at((now + skew).max(0));
                let mut sample = Sample::received(PointIndex(point), value.unwrap_or(0.0), Some(source), at(now));
                if value.is_none() {
                    sample.quality = Quality::because(Reason::LineBreak);
                }
                sample
            };
            entries.push(Entry::Samples(Arc::new(samples.into_iter().map(sample).collect())));
            match other {
                0 | 1 => {
                    let state = if other == 0 { SiteState::Stopped } else { SiteState::Producing };
                    let (by, reason) = ("Li".into(), "shift".into());
                    let standing = SiteStanding { site: "trial".into(), state, since: at(now), by, reason, ..nobody() };
                    entries.push(Entry::Note(Note::SiteSet(SiteSet { command: 1, standing })));
                }
                2 => now += 30_000,
                _ => entries.push(Entry::Tick(at(now))),
            }
        }
        entries
    })
}

proptest! {
    /// Written down and resumed after any entry, a shard goes on exactly like one that never stopped.
    #[test]
    fn a_restart_changes_nothing_around(entries in entries(), stop: prop::sample::Index) {
        let language = Language::new();
        let mut whole = Shard::new(&language);
        let expected = changes(&mut whole, &entries);
        let (before, after) = entries.split_at(stop.index(entries.len()));
        let mut first = Shard::new(&language);
        let mut told = changes(&mut first, before);
        let mut second = Shard::new(&language);
        second.resume(&first.snapshot(&crate::response::Response::default())).unwrap();
        told.extend(changes(&mut second, after));
        prop_assert_eq!(told, expected);
        prop_assert_eq!(second.snapshot(&crate::response::Response::default()), whole.snapshot(&crate::response::Response::default()));
    }

    /// Event times of one alarm that looks around never run backwards while no clock is set back.
    #[test]
    fn event_times_do_not_run_backwards(frames in prop::collection::vec((1_i64..4_000, 0_u32..3, 0_usize..4), 1..80)) {
        let language = Language::new();
        let mut shard = Shard::new(&language);
        let mut entries = vec![setup()];
        let mut now = 0;
        for (pause, point, value) in frames {
            now += pause;
            // Each point's clock is off by its own amount.
            let source = at(now + 1_500 * i64::from(point));
            let value = [0.2, 0.9, 1.1, 2.0][value];
            let sample = Sample::received(PointIndex(point), value, Some(source), at(now));
            entries.extend([Entry::Samples(Arc::new(vec![sample])), Entry::Tick(at(now))]);
        }
        let mut newest = std::collections::HashMap::new();
        for change in changes(&mut shard, &entries).iter().filter(|change| !matches!(&*change.alarm.rule, "odd" | "plain")) {
            let before = newest.insert((change.alarm.rule.clone(), change.alarm.subject.clone()), change.at);
            prop_assert!(before.is_none_or(|before| before <= change.at), "{change:?} after {before:?}");
        }
    }
}

#[test]
fn a_frame_is_judged_as_a_whole_and_no_sample_of_it_is_missed() {
    let language = Language::new();
    let sample =
        |millis: i64, point: u32, value: f64| Sample::received(PointIndex(point), value, Some(at(millis)), at(millis));
    let frame = |samples: Vec<Sample>| Entry::Samples(Arc::new(samples));
    let told = |changes: &[AlarmChange]| -> Vec<String> {
        let word = |change: &AlarmChange| {
            format!("{} {} {}", change.happening.word(), change.alarm.rule, change.alarm.subject)
        };
        changes.iter().filter(|change| &*change.alarm.rule == "spread").map(word).collect()
    };
    let mut shard = Shard::new(&language);
    changes(&mut shard, &[setup(), frame(vec![sample(1_000, 0, 0.1), sample(1_000, 1, 0.1), sample(1_000, 2, 0.1)])]);
    // All three rise at once: between the first and the last they would have been far apart.
    let rise = frame(vec![sample(2_000, 0, 2.0), sample(2_000, 1, 2.0), sample(2_000, 2, 2.0)]);
    assert_eq!(told(&changes(&mut shard, &[rise])), Vec::<String>::new());
    // One falls and rises again within one frame.
    let dip = frame(vec![sample(3_000, 0, 0.1), sample(3_500, 0, 2.0)]);
    let dipped = told(&changes(&mut shard, &[dip]));
    assert_eq!(dipped.len(), 6, "{dipped:?}");
    assert_eq!((&*dipped[0], &*dipped[3]), ("raised spread trial.a", "cleared spread trial.a"));
}

#[test]
fn an_alarm_says_whom_it_looked_at_and_a_site_that_nobody_knows_is_refused() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    let sample = |millis: i64, point: u32, value: f64| {
        Entry::Samples(Arc::new(vec![Sample::received(PointIndex(point), value, Some(at(millis)), at(millis))]))
    };
    let changed = changes(&mut shard, &[setup(), sample(1_000, 0, 1.3), sample(1_000, 1, 1.2)]);
    let held = |change: &&AlarmChange| &*change.alarm.rule == "held" && &*change.alarm.subject == "trial.a";
    let held = changed.iter().find(held).unwrap();
    assert_eq!(held.alarm.detail, "b 1.2 %VOL; c 未收到 / not heard yet");

    let standing = |site: &str| SiteStanding {
        site: site.into(),
        state: SiteState::Stopped,
        since: at(2_000),
        by: "Li".into(),
        reason: "holiday".into(),
        ..nobody()
    };
    let set = |site: &str| Entry::Note(Note::SiteSet(SiteSet { command: 7, standing: standing(site) }));
    let mut effects = Vec::new();
    shard.on_entry(&set("elsewhere"), &mut effects);
    assert!(matches!(&effects[..], [Effect::Answered { command: 7, answer: Answer::NoSuchSite }]), "{effects:?}");
    effects.clear();
    shard.on_entry(&set("trial"), &mut effects);
    let [Effect::Record(record), Effect::Site(_), Effect::Answered { answer: Answer::SiteSet(_), .. }, ..] =
        &effects[..]
    else {
        panic!("{effects:?}")
    };
    let words = [&record.action, &record.subject, &record.reason, &record.before, &record.after, &record.by];
    assert_eq!(words, ["site.set", "trial", "holiday", "producing", "stopped", "Li"]);
    assert_eq!(shard.sites(), [standing("trial")]);
}

#[test]
fn what_a_site_is_doing_outlives_an_update_without_a_snapshot() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    let (by, reason) = ("Li".into(), "holiday".into());
    let standing =
        SiteStanding { site: "trial".into(), state: SiteState::Stopped, since: at(0), by, reason, ..nobody() };
    let Entry::Note(Note::Setup(setup)) = setup() else { panic!("a setup") };
    let remembered = crate::engine::Remembered {
        setup: Some(Setup::clone(&setup)),
        sites: vec![standing.clone()],
        ..crate::engine::Remembered::default()
    };
    shard.adopt(remembered);
    assert_eq!(shard.sites(), [standing]);
    let high = Sample::received(PointIndex(0), 0.9, Some(at(90_000_000)), at(90_000_000));
    let told = changes(&mut shard, &[Entry::Tick(at(90_000_000)), Entry::Samples(Arc::new(vec![high]))]);
    assert!(told.iter().any(|change| &*change.alarm.rule == "site"), "{told:?}");
}

/// A state as old journals have it: nobody approved it, and it has no end.
fn nobody() -> SiteStanding {
    serde_json::from_str(r#"{"site":"trial","state":"producing","since":0,"by":"","reason":""}"#).unwrap()
}

const DAY: i64 = 86_400_000;

fn stopped(millis: i64, approved_by: &str, until: Option<i64>) -> Entry {
    let (by, reason) = ("Li".into(), "holiday".into());
    let (since, until, approved_by) = (at(millis), until.map(at), approved_by.into());
    let standing =
        SiteStanding { site: "trial".into(), state: SiteState::Stopped, since, by, reason, approved_by, until };
    Entry::Note(Note::SiteSet(SiteSet { command: 9, standing }))
}

fn answer(shard: &mut Shard<'_>, entry: &Entry) -> Answer {
    let mut effects = Vec::new();
    shard.on_entry(entry, &mut effects);
    let answers = effects.into_iter().filter_map(|effect| {
        let Effect::Answered { answer, .. } = effect else { return None };
        Some(answer)
    });
    answers.last().unwrap()
}

#[test]
fn a_site_stops_with_a_second_person_and_an_end_and_produces_again_with_one() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    changes(&mut shard, &[setup(), Entry::Tick(at(1_000))]);
    for (approved_by, until, word) in [
        ("", 2 * DAY, "another person"),
        ("Li", 2 * DAY, "another person"),
        ("Wang", 1_500, "after the beginning"),
        ("Wang", 31 * DAY, "within 30d"),
    ] {
        let refused = answer(&mut shard, &stopped(2_000, approved_by, Some(until)));
        let Answer::SiteRefused(words) = refused else { panic!("{refused:?}") };
        assert!(words.contains(word), "{words}");
        assert!(shard.sites().is_empty());
    }
    assert!(matches!(answer(&mut shard, &stopped(2_000, "Wang", Some(30 * DAY))), Answer::SiteSet(_)));
    assert_eq!(shard.sites()[0].state, SiteState::Stopped);
    let producing = SiteStanding { since: at(3_000), by: "Li".into(), reason: "over".into(), ..nobody() };
    let back = Entry::Note(Note::SiteSet(SiteSet { command: 9, standing: producing }));
    assert!(matches!(answer(&mut shard, &back), Answer::SiteSet(_)));
}

/// The reminder comes a day before, or in the last quarter of a shorter time; what old journals have ends too.
#[test]
fn a_stopped_site_is_reminded_of_and_ends_by_itself_over_a_restart_of_either_kind() {
    for (set, ends, reminds) in [
        (stopped(2_000, "Wang", Some(10 * DAY)), 10 * DAY, 9 * DAY),
        (stopped(0, "Wang", Some(DAY / 6)), DAY / 6, DAY / 8),
        (stopped(0, "", None), 30 * DAY, 29 * DAY),
    ] {
        for by_snapshot in [true, false] {
            let language = Language::new();
            let mut shard = Shard::new(&language);
            changes(&mut shard, &[setup(), set.clone()]);
            let words = |list: Vec<AlarmChange>| -> Vec<String> {
                let own = list.into_iter().filter(|change| change.alarm.rule.starts_with("davy-site"));
                own.map(|change| format!("{} {}", change.happening.word(), change.alarm.rule)).collect()
            };
            // Each second step is a new minute to the engine.
            assert_eq!(
                words(changes(&mut shard, &[Entry::Tick(at(reminds - 120_000)), Entry::Tick(at(reminds - 60_001))])),
                [""; 0]
            );
            let reminded = changes(&mut shard, &[Entry::Tick(at(reminds)), Entry::Tick(at(reminds + 60_000))]);
            assert_eq!(words(reminded), ["raised davy-site-ends"]);
            let mut second = Shard::new(&language);
            if by_snapshot {
                second.resume(&shard.snapshot(&crate::response::Response::default())).unwrap();
            } else {
                second.adopt(crate::engine::Remembered {
                    setup: shard.setup().map(|setup| Setup::clone(setup)),
                    sites: shard.sites(),
                    alarms: shard.all_open().cloned().collect(),
                    ..crate::engine::Remembered::default()
                });
            }
            let over = changes(&mut second, &[Entry::Tick(at(ends - 1_000)), Entry::Tick(at(ends + 1_000))]);
            assert_eq!(words(over), ["cleared davy-site-ends", "raised davy-site-ended", "cleared davy-site-ended"]);
            assert_eq!((second.sites()[0].state, &*second.sites()[0].by), (SiteState::Producing, "davy"));
            let later = changes(&mut second, &[Entry::Tick(at(ends + 90_000)), Entry::Tick(at(ends + 180_000))]);
            assert_eq!(words(later), [""; 0]);
        }
    }
}
