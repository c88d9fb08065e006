//! Stories of the middle, without sockets and clocks: entries in, changes out.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

mod aside;
mod exercise;
mod limits;
mod parent;
mod quiet;

use super::*;
use crate::alarm::{AlarmChange, Happening, Standing};
use crate::journal::{Acknowledge, Condition, Entry, Note, PermitEnded, PermitOpened, RuleFile};
use crate::model::{
    Cause, Kind, Origin, Permit, PermitEnd, PermitKind, Point, PointIndex, Quality, Reason, Sample, TICK, Timestamp,
};
use crate::rule::Language;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

fn at(seconds: f64) -> Timestamp {
    START + Duration::from_secs_f64(seconds)
}

fn point(name: &str) -> Point {
    Point {
        id: format!("mine.{name}").into(),
        site: "mine".into(),
        name: name.into(),
        kind: Kind::Methane,
        place: "T1".into(),
        unit: "%VOL".into(),
        range: None,
        resolution: 0.01,
        period: Duration::from_secs(5),
        limits: Default::default(),
        coordinates: None,
        static_risk: 0,
        calibrate_every: None,
        relations: std::collections::BTreeMap::new(),
        retired: false,
    }
}

fn rule(id: &str, rest: &str) -> RuleFile {
    let text = format!(
        r#"rule("{id}", #{{ title: "t", advice: "a", watches: #{{ kind: "methane" }}, priority: "P2", level: "orange",
            limits: #{{ alarm: #{{ value: 1.0, unit: "%VOL", stricter: "lower", basis: "AQ 1029-2019" }} }}, {rest} }});"#
    );
    RuleFile { path: format!("{id}.rhai"), text }
}

fn face() -> RuleFile {
    rule("methane-face", "raise: |p| p.value >= p.limit.alarm")
}

fn comm_loss() -> RuleFile {
    rule("comm-loss", "judges: \"silence\", raise: |p| p.age > p.period * 3.0")
}

fn setup(seconds: f64, points: &[&str], rules: Vec<RuleFile>) -> Entry {
    let points = points.iter().map(|name| point(name)).collect();
    Entry::Note(Note::Setup(Arc::new(Setup { at: at(seconds), rules, ..Setup::of(points) })))
}

fn sample(seconds: f64, point: u32, value: f64) -> Sample {
    Sample::received(PointIndex(point), value, Some(at(seconds)), at(seconds))
}

fn value(seconds: f64, value: f64) -> Entry {
    Entry::Samples(Arc::new(vec![sample(seconds, 0, value)]))
}

fn bad(seconds: f64) -> Entry {
    let quality = Quality::because(Reason::LineBreak);
    Entry::Samples(Arc::new(vec![Sample { quality, ..sample(seconds, 0, 0.0) }]))
}

fn play(shard: &mut Shard<'_>, entries: impl IntoIterator<Item = Entry>) -> Vec<AlarmChange> {
    let mut effects = Vec::new();
    for entry in entries {
        shard.on_entry(&entry, &mut effects);
    }
    effects.iter().filter_map(Effect::change).cloned().collect()
}

fn told(changes: &[AlarmChange]) -> Vec<(&str, &str)> {
    changes.iter().map(|change| (change.happening.word(), &*change.alarm.rule)).collect()
}

#[test]
fn methane_rises_is_acknowledged_and_falls() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    let changes =
        play(&mut shard, [setup(0.0, &["t1"], vec![face()]), value(1.0, 0.99), value(6.0, 1.0), value(11.0, 2.5)]);
    assert_eq!(told(&changes), [("raised", "methane-face")]);
    let alarm = &changes[0].alarm;
    assert_eq!((alarm.value, alarm.limit, &*alarm.subject, alarm.raised), (Some(1.0), Some(1.0), "mine.t1", at(6.0)));

    let acknowledge = |raises| {
        Entry::Note(Note::Acknowledge(Acknowledge {
            seen: None,
            command: 7,
            at: at(12.0),
            occurrence: alarm.id.clone(),
            raises,
            by: "李".into(),
            comment: String::new(),
        }))
    };
    let changes = play(&mut shard, [acknowledge(1), value(16.0, 0.4)]);
    assert_eq!(told(&changes), [("acknowledged", "methane-face"), ("cleared", "methane-face")]);
    assert_eq!(changes[0].alarm.acknowledged.as_ref().unwrap().by, "李");
    assert_eq!((changes[1].alarm.standing, changes[1].alarm.worst), (Standing::Normal, Some(2.5)));
}

#[test]
fn an_acknowledgement_does_not_reach_what_the_person_did_not_see() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    let changes =
        play(&mut shard, [setup(0.0, &["t1"], vec![face()]), value(1.0, 1.2), value(6.0, 0.5), value(11.0, 1.6)]);
    assert_eq!(told(&changes).last(), Some(&("raised_again", "methane-face")));
    let seen = changes[0].alarm.clone();
    let mut effects = Vec::new();
    let mut ask = |id: &crate::alarm::OccurrenceId, raises| {
        let command = Acknowledge {
            seen: None,
            command: 1,
            at: at(12.0),
            occurrence: id.clone(),
            raises,
            by: "王".into(),
            comment: String::new(),
        };
        effects.clear();
        shard.on_entry(&Entry::Note(Note::Acknowledge(command)), &mut effects);
        match effects.last() {
            Some(Effect::Answered { answer, .. }) => answer.clone(),
            other => panic!("no answer, {other:?}"),
        }
    };
    assert!(matches!(ask(&seen.id, seen.raises), Answer::NewerOccurrence(now) if now.raises == 2));
    assert!(matches!(ask(&seen.id, 2), Answer::Acknowledged(_)));
    assert!(matches!(ask(&seen.id, 2), Answer::AlreadyAcknowledged(_)));
    assert_eq!(ask(&crate::alarm::OccurrenceId::named("nonsense"), 1), Answer::NoSuchAlarm);
}

#[test]
fn missing_data_holds_an_alarm_and_silence_is_one_of_its_own() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    let ticks =
        |range: std::ops::Range<i32>| range.map(|second| Entry::Tick(at(f64::from(second)))).collect::<Vec<_>>();
    let begin = [setup(0.0, &["t1"], vec![face(), comm_loss()]), value(1.0, 1.2), bad(2.0)];
    assert_eq!(told(&play(&mut shard, begin)), [("raised", "methane-face")]);
    let changes = play(&mut shard, ticks(2..60));
    assert_eq!(told(&changes), [("raised", "comm-loss")]);
    assert!(changes[0].at > at(17.0) && changes[0].at <= at(18.0), "{}", changes[0].at);
    let mut vain = sample(60.0, 0, 0.0);
    vain.quality = Quality::because(Reason::NotPolled);
    assert_eq!(told(&play(&mut shard, [Entry::Samples(Arc::new(vec![vain]))])), [], "a poll in vain is silence");
    let changes = play(&mut shard, [bad(61.0)]);
    assert_eq!(told(&changes), [("cleared", "comm-loss")], "a line break is heard: the sensor is faulty, not lost");
    assert_eq!(told(&play(&mut shard, [value(62.0, 1.1)])), [], "and the methane alarm stands");
}

#[test]
fn a_point_that_never_spoke_is_noticed() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    let ticks = (1..30).map(|second| Entry::Tick(at(f64::from(second))));
    let changes = play(&mut shard, std::iter::once(setup(0.0, &["t1"], vec![comm_loss()])).chain(ticks));
    assert_eq!(told(&changes), [("raised", "comm-loss")]);
}

#[test]
fn a_rule_that_fails_says_so_once_and_the_plain_limit_takes_over() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    let broken = rule("broken", "raise: |p| { while true {} true }");
    let entries = [setup(0.0, &["t1", "t2"], vec![broken, face()]), value(1.0, 0.5), value(6.0, 0.6), value(11.0, 1.3)];
    let changes = play(&mut shard, entries);
    assert_eq!(told(&changes), [("raised", "davy-rule-fault"), ("raised", "broken"), ("raised", "methane-face")]);
    assert_eq!(&*changes[0].alarm.subject, "rule broken");
    assert!(changes[0].alarm.detail.contains("operations"), "{}", changes[0].alarm.detail);
    // Mended: the fault ends, the alarm it stood in for stays.
    let mended = rule("broken", "raise: |p| p.value >= p.limit.alarm");
    let changes = play(&mut shard, [setup(12.0, &["t1", "t2"], vec![mended, face()]), value(16.0, 1.3)]);
    assert_eq!(told(&changes), [("cleared", "davy-rule-fault")]);
}

#[test]
fn a_reload_keeps_windows_and_open_alarms_and_closes_what_is_gone() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    let mean = rule("mean", "raise: |p| p.mean(\"1m\") >= 1.0");
    let first = play(&mut shard, [setup(0.0, &["t1"], vec![face(), mean.clone()]), value(1.0, 3.0)]);
    assert_eq!(told(&first), [("raised", "methane-face"), ("raised", "mean")]);
    // The mean of 3.0 and 0.5 is still above; without the window it would not be.
    let changes = play(&mut shard, [setup(2.0, &["t1"], vec![mean.clone(), face()]), value(6.0, 0.5)]);
    assert_eq!(told(&changes), [("cleared", "methane-face")]);
    let changes = play(&mut shard, [setup(7.0, &["t1"], vec![face()])]);
    assert_eq!(told(&changes), [("cleared", "mean")]);
    assert_eq!(changes[0].alarm.id, first[1].alarm.id);
    assert!(changes[0].alarm.detail.contains("removed"));
}

#[test]
fn an_activation_keeps_windows_and_alarms_and_tells_of_each_file_that_changed() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    let mean = rule("mean", "raise: |p| p.mean(\"1m\") >= 1.0");
    let first = [setup(0.0, &["t1"], vec![face(), mean.clone(), comm_loss()]), value(1.0, 3.0)];
    assert_eq!(told(&play(&mut shard, first)), [("raised", "methane-face"), ("raised", "mean")]);

    let edited = rule("mean", "raise: |p| p.mean(\"1m\") >= 1.1");
    let stricter = rule("methane-face", "raise: |p| p.value >= 0.9");
    let cause = Cause {
        author: "li".into(),
        approver: Some("wang".into()),
        draft: Some("draft-1".into()),
        origin: Origin::Draft,
        ..Cause::edited("methane-face.rhai")
    };
    let points = vec![point("t1")];
    let setup = Arc::new(Setup { at: at(2.0), rules: vec![stricter.clone(), edited.clone()], ..Setup::of(points) });
    let step = RuleStep::Activated { command: 7, setup, cause: cause.clone() };
    let mut effects = Vec::new();
    shard.on_entry(&Entry::Note(Note::Rules(Box::new(step))), &mut effects);
    let version = |effect: &Effect| {
        let Effect::Version { file, at, cause } = effect else { return None };
        Some((file.clone(), *at, cause.clone()))
    };
    let versions: Vec<_> = effects.iter().filter_map(version).collect();
    let gone = RuleFile { path: "comm-loss.rhai".into(), text: String::new() };
    let by_hand = |file: &RuleFile| (file.clone(), at(2.0), Cause::edited(&file.path));
    assert_eq!(versions, [(stricter, at(2.0), cause), by_hand(&edited), by_hand(&gone)]);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Changed(_))), "nothing is raised or closed by it");
    assert!(matches!(effects.last(), Some(Effect::Answered { command: 7, answer: Answer::Recorded })));
    // 3.0 is still in the window: the mean of both is above, 0.95 alone would not be.
    assert_eq!(play(&mut shard, [value(6.0, 0.95)]), []);
    assert_eq!(told(&play(&mut shard, [value(7.0, 0.5)])), [("cleared", "methane-face")]);
}

#[test]
fn repeats_and_late_samples_are_counted_and_judged_once() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    play(&mut shard, [setup(0.0, &["t1"], vec![face()]), value(15.0, 0.5)]);
    let late = Sample::received(PointIndex(0), 9.0, Some(at(1.0)), at(16.0));
    assert_eq!(told(&play(&mut shard, [value(15.0, 0.5), Entry::Samples(Arc::new(vec![late]))])), []);
    assert_eq!((shard.counts.judged, shard.counts.duplicates, shard.counts.late), (1, 1, 1));
    play(&mut shard, [Entry::Samples(Arc::new(vec![sample(16.0, 99, 1.0)]))]);
    assert_eq!(shard.counts.unknown_points, 1);
}

/// Times up to a minute ahead are taken as they are; when such a clock is set right, its samples are not
/// late.
#[test]
fn a_clock_that_was_ahead_does_not_hide_what_comes_after() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    let ahead = Sample::received(PointIndex(0), 0.5, Some(at(50.0)), at(1.0));
    let changes =
        play(&mut shard, [setup(0.0, &["t1"], vec![face()]), Entry::Samples(Arc::new(vec![ahead])), value(2.0, 1.4)]);
    assert_eq!(told(&changes), [("raised", "methane-face")]);
    let wrong = Sample::received(PointIndex(0), 1.4, Some(Timestamp::from_secs(5)), at(4.0));
    assert!(wrong.quality.has(Reason::ClockWrong));
    play(&mut shard, [Entry::Samples(Arc::new(vec![wrong]))]);
    // Its own clock again, a little behind ours.
    let slower = Sample::received(PointIndex(0), 0.3, Some(at(4.05)), at(4.1));
    assert_eq!(told(&play(&mut shard, [Entry::Samples(Arc::new(vec![slower]))])), [("cleared", "methane-face")]);
    assert_eq!(shard.counts.late, 0);
}

#[test]
fn delays_pass_while_samples_stop() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    let slow = rule("slow", "raise: |p| p.value >= 1.0, raise_after: \"10s\", clear_after: \"10s\"");
    let ticks = |from: i32, to: i32| (from..to).map(|second| Entry::Tick(at(f64::from(second))));
    let changes = play(&mut shard, [setup(0.0, &["t1"], vec![slow]), value(1.0, 1.5)].into_iter().chain(ticks(2, 13)));
    assert_eq!((told(&changes), changes[0].at), (vec![("raised", "slow")], at(11.0)));
    let falls = [value(13.0, 0.5)].into_iter().chain(ticks(14, 17)).chain([value(17.0, 0.5)]).chain(ticks(18, 30));
    let changes = play(&mut shard, falls);
    assert_eq!((told(&changes), changes[0].at), (vec![("cleared", "slow")], at(23.0)));
}

/// An update of Davy takes a minute: nobody is called because Davy itself did not listen.
#[test]
fn after_a_pause_of_our_own_silence_is_counted_anew() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    play(&mut shard, [setup(0.0, &["t1"], vec![comm_loss()]), value(1.0, 0.5), Entry::Tick(at(2.0))]);
    let back = (3_600..3_615).map(|second| Entry::Tick(at(f64::from(second))));
    assert_eq!(told(&play(&mut shard, back)), []);
    let changes = play(&mut shard, (3_615..3_620).map(|second| Entry::Tick(at(f64::from(second)))));
    assert_eq!(told(&changes), [("raised", "comm-loss")], "and still no word from the sensor");
}

/// The operating system sets the clock back by ten minutes: no storm, and delays still end.
#[test]
fn a_clock_that_is_set_back_raises_no_storm() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    let slow = rule("slow", "raise: |p| p.value >= 1.0, raise_after: \"10s\"");
    play(&mut shard, [setup(0.0, &["t1"], vec![comm_loss(), slow]), value(900.0, 1.2), Entry::Tick(at(900.5))]);
    let mut entries = Vec::new();
    for step in 0..20 {
        let seconds = 300.0 + f64::from(step);
        entries.extend([value(seconds, 1.2), Entry::Tick(at(seconds + 0.5))]);
    }
    let changes = play(&mut shard, entries);
    assert_eq!((told(&changes), changes[0].at), (vec![("raised", "slow")], at(310.0)));
}

#[test]
fn one_healthy_sample_and_then_silence_does_not_clear() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    let slow = rule("slow", "raise: |p| p.value >= 1.0, clear_after: \"60s\"");
    let ticks = (6..200).map(|second| Entry::Tick(at(f64::from(second))));
    let entries = [setup(0.0, &["t1"], vec![slow]), value(1.0, 1.5), value(5.0, 0.5)].into_iter().chain(ticks);
    assert_eq!(told(&play(&mut shard, entries)), [("raised", "slow")]);
    let healthy = (0..=13).map(|step| value(200.0 + f64::from(step) * 5.0, 0.5));
    let changes = play(&mut shard, healthy);
    assert_eq!((told(&changes), changes[0].at), (vec![("cleared", "slow")], at(260.0)));
}

#[test]
fn a_deadband_holds_until_the_value_is_well_below() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    let wide = rule("wide", "raise: |p| p.value >= p.limit.alarm, deadband: 0.1");
    let changes =
        play(&mut shard, [setup(0.0, &["t1"], vec![wide]), value(1.0, 1.0), value(2.0, 0.95), value(3.0, 0.9)]);
    assert_eq!(told(&changes), [("raised", "wide")]);
    assert_eq!(told(&play(&mut shard, [value(4.0, 0.89)])), [("cleared", "wide")]);
}

#[test]
fn a_condition_of_the_gateway_is_an_alarm_like_any_other() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    let condition = |seconds, holds| {
        Entry::Note(Note::Condition(Condition {
            at: at(seconds),
            rule: "davy-source-down".into(),
            subject: "broker".into(),
            holds,
            title: "t".into(),
            advice: "a".into(),
            priority: crate::alarm::Priority::P2,
            level: crate::alarm::Level::Yellow,
            detail: "refused".into(),
        }))
    };
    let changes =
        play(&mut shard, [condition(0.0, false), condition(1.0, true), condition(2.0, true), condition(3.0, false)]);
    assert_eq!(told(&changes), [("raised", "davy-source-down"), ("cleared", "davy-source-down")]);
    assert_eq!(changes[1].alarm.standing, Standing::ReturnedUnacknowledged);
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let step = prop_oneof![
        5 => (0_u32..3, 0.0_f64..2.0).prop_map(|(point, value)| (0, point, value)),
        1 => (0_u32..3).prop_map(|point| (1, point, 0.0)),
        3 => Just((2, 0, 0.0)),
        1 => Just((3, 0, 0.0)),
    ];
    prop::collection::vec((step, 0_u64..9_000), 1..120).prop_map(|steps| {
        let rules = || {
            vec![
                face(),
                comm_loss(),
                rule("mean", "raise: |p| p.mean(\"20s\") >= 1.0, raise_after: \"7s\", clear_after: \"9s\""),
                rule("jump", "raise: |p| p.delta(\"10s\") >= 0.8"),
                rule("course", "raise: |p| p.time_to(p.limit.alarm, \"20s\") < 0.1 || p.median(\"20s\") > p.ewma(\"9s\") + 0.5"),
                rule("held", "raise: |p| p.held_for(\">=\", 0.8) >= 3.0 || p.cusum(1.0, 0.2) > 2.0, clear: |p| p.since(\">=\", 1.0) >= 2.0"),
                rule("odd", "raise: |p| { if p.value > 1.9 { throw \"no\" } p.max(\"20s\") > 1.5 }"),
            ]
        };
        let mut entries = vec![setup(0.0, &["a", "b", "c"], rules())];
        let mut ms = 0;
        for ((what, point, value), pause) in steps {
            ms += pause;
            let seconds = ms as f64 / 1e3;
            entries.push(match what {
                0 => Entry::Samples(Arc::new(vec![sample(seconds, point, value)])),
                1 => Entry::Samples(Arc::new(vec![Sample::missing(PointIndex(point), Reason::NotPolled, at(seconds))])),
                2 => Entry::Tick(at(seconds)),
                _ => setup(seconds, &["a", "b", "c", "d"], rules()),
            });
        }
        entries
    })
}

proptest! {
    /// Same input, same alarms: a shard that was stopped, written down and resumed after any entry goes on
    /// exactly like one that never stopped, ids included.
    #[test]
    fn a_restart_changes_nothing(entries in entries(), stop: prop::sample::Index) {
        let language = Language::new();
        let mut whole = Shard::new(&language);
        let expected = play(&mut whole, entries.clone());

        let stop = stop.index(entries.len());
        let mut first = Shard::new(&language);
        let mut changes = play(&mut first, entries[..stop].to_vec());
        let second_language = Language::new();
        let mut second = Shard::new(&second_language);
        second.resume(&first.snapshot(&crate::response::Response::default())).unwrap();
        changes.extend(play(&mut second, entries[stop..].to_vec()));
        prop_assert_eq!(changes, expected);
        prop_assert_eq!(second.snapshot(&crate::response::Response::default()), whole.snapshot(&crate::response::Response::default()));
    }

    /// For each alarm: raised first, never raised twice, and an id is never used for two occurrences.
    #[test]
    fn every_occurrence_has_one_beginning(entries in entries()) {
        let language = Language::new();
        let changes = play(&mut Shard::new(&language), entries);
        let mut begun = std::collections::HashSet::new();
        for change in &changes {
            match change.happening {
                Happening::Raised => prop_assert!(begun.insert(change.alarm.id.clone()), "{:?} raised twice", change.alarm),
                Happening::RaisedAgain | Happening::Acknowledged | Happening::Cleared | Happening::Reset | Happening::Realarmed | Happening::Worsened | Happening::SetAside | Happening::Resumed => prop_assert!(begun.contains(&change.alarm.id)),
            }
        }
    }
}

mod past;

#[test]
fn a_damaged_snapshot_is_refused() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    assert!(shard.resume(&[]).is_err());
    assert!(shard.resume(&[99, 1, 2]).is_err());
    assert!(shard.resume(&[1, 255, 255, 255]).is_err());
}

#[test]
fn a_sample_that_was_overtaken_raises_what_it_saw_and_clears_nothing() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    let arrives = |source: f64, received: f64, value: f64| {
        let sample = Sample::received(PointIndex(0), value, Some(at(source)), at(received));
        Entry::Samples(Arc::new(vec![sample]))
    };
    play(&mut shard, [setup(0.0, &["t1"], vec![face()]), value(5.0, 0.4), value(15.0, 0.5)]);
    let changes = play(&mut shard, [arrives(10.0, 15.1, 1.3)]);
    assert_eq!(told(&changes), [("raised", "methane-face")]);
    assert_eq!(changes[0].alarm.value, Some(1.3));
    assert_eq!(told(&play(&mut shard, [value(20.0, 0.5)])), [("cleared", "methane-face")]);
    // Delivered once more after a reconnect: it does not raise anything twice.
    assert_eq!(told(&play(&mut shard, [arrives(10.0, 21.0, 1.3)])), []);
    assert_eq!(told(&play(&mut shard, [value(25.0, 1.1)])), [("raised_again", "methane-face")]);
    assert_eq!(told(&play(&mut shard, [arrives(24.0, 25.1, 0.2)])), [], "something younger is known");
    // Beyond the tolerance it is late.
    assert_eq!(told(&play(&mut shard, [value(30.0, 0.2), arrives(19.0, 30.5, 4.0)])), [("cleared", "methane-face")]);
    assert_eq!((shard.counts.reordered, shard.counts.late, shard.counts.duplicates), (2, 1, 1));
}

#[test]
fn what_is_marked_as_late_is_counted_and_nothing_more() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    let mut late = sample(6.0, 0, 3.9);
    late.quality = Quality::because(Reason::Late);
    play(&mut shard, [setup(0.0, &["t1"], vec![face(), comm_loss()]), value(1.0, 0.5)]);
    let ticks = (2..40).flat_map(|second| {
        let late = Sample { source_time: at(f64::from(second)), receive_time: at(f64::from(second)), ..late };
        [Entry::Tick(at(f64::from(second))), Entry::Samples(Arc::new(vec![late]))]
    });
    let changes = play(&mut shard, ticks);
    assert_eq!(told(&changes), [("raised", "comm-loss")], "back-fill is no sign of life either");
    assert_eq!(shard.counts.late, 38);
}

fn permit(seconds: f64, kind: PermitKind, length: u64) -> Entry {
    let permit = Permit {
        id: "permit-1".into(),
        kind,
        points: vec![PointIndex(0)],
        scope: "mine.t1".into(),
        by: "赵".into(),
        reason: "15 d".into(),
        from: at(seconds),
        until: at(seconds) + Duration::from_secs(length),
    };
    Entry::Note(Note::PermitOpened(PermitOpened { command: 3, permit }))
}

fn permit_end(seconds: f64, calibrated: bool) -> Entry {
    let end = PermitEnd { at: at(seconds), by: "赵".into(), comment: String::new(), calibrated };
    Entry::Note(Note::PermitEnded(PermitEnded { command: 4, id: "permit-1".into(), end }))
}

fn ticks(seconds: std::ops::Range<u32>) -> impl Iterator<Item = Entry> {
    seconds.map(|second| Entry::Tick(at(f64::from(second))))
}

/// Work that nobody reports as done is an alarm; an exercise ends by itself and cannot be forgotten.
#[test]
fn a_permit_that_nobody_ends_is_an_alarm_until_somebody_does() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    let changes = play(
        &mut shard,
        [setup(0.0, &["t1"], vec![face()]), permit(1.0, PermitKind::Calibration, 30)].into_iter().chain(ticks(1..40)),
    );
    assert_eq!(told(&changes), [("raised", "davy-permit-overdue")]);
    assert_eq!((&*changes[0].alarm.subject, changes[0].at), ("permit-1", at(31.0)));
    assert!(changes[0].alarm.detail.contains("mine.t1 (赵): 15 d"), "{}", changes[0].alarm.detail);
    // The state carries over a restart.
    let snapshot = shard.snapshot(&crate::response::Response::default());
    let mut shard = Shard::new(&language);
    shard.resume(&snapshot).unwrap();
    assert_eq!(told(&play(&mut shard, [permit_end(41.0, true)])), [("cleared", "davy-permit-overdue")]);
    let mut effects = Vec::new();
    shard.on_entry(&permit_end(42.0, true), &mut effects);
    assert!(matches!(&effects[..], [Effect::Answered { command: 4, answer: Answer::NoSuchPermit }]), "{effects:?}");

    let exercise = std::iter::once(permit(50.0, PermitKind::Exercise, 5)).chain(ticks(50..60));
    effects.clear();
    exercise.for_each(|entry| shard.on_entry(&entry, &mut effects));
    let ended = effects.iter().find_map(|effect| {
        let Effect::Permit { end: Some(end), .. } = effect else { return None };
        Some((end.by.as_str(), end.at))
    });
    assert_eq!(ended, Some(("davy", at(55.0))));
    assert!(shard.permits().is_empty());
}

#[test]
fn a_sensor_is_due_when_its_calendar_says_so_and_a_calibration_begins_it_anew() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    let mut sensor = point("t1");
    sensor.calibrate_every = Some(Duration::from_secs(300));
    let begin = Setup { at: at(0.0), rules: vec![face()], ..Setup::of(vec![sensor]) };
    let begin = std::iter::once(Entry::Note(Note::Setup(Arc::new(begin))));
    let changes = play(&mut shard, begin.chain(ticks(1..400)));
    assert_eq!(told(&changes), [("raised", "davy-calibration-due")]);
    assert_eq!((&*changes[0].alarm.subject, changes[0].alarm.detail.as_str()), ("mine", "mine.t1"));
    let done = [permit(400.0, PermitKind::Calibration, 60), permit_end(420.0, true)];
    assert_eq!(told(&play(&mut shard, done)), [("cleared", "davy-calibration-due")]);
    assert_eq!(told(&play(&mut shard, ticks(421..700))), []);
    assert_eq!(told(&play(&mut shard, ticks(700..800))), [("raised_again", "davy-calibration-due")]);
}

/// An alarm bears the marks of the sample that raised it.
#[test]
fn an_alarm_of_an_exercise_says_that_it_is_one() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    let mut injected = sample(1.0, 0, 2.0);
    injected.quality = Quality::because(Reason::Exercise);
    let changes = play(&mut shard, [setup(0.0, &["t1"], vec![face()]), Entry::Samples(Arc::new(vec![injected]))]);
    assert!(changes[0].alarm.quality.has(Reason::Exercise));
}

/// A clock that falls back must not make a sensor deaf until it has caught up.
#[test]
fn a_clock_that_was_set_back_costs_one_sample_and_not_the_sensor() {
    let language = Language::new();
    // Too little for the journal's mark, and an hour, which bears it.
    for (back, marked) in [(120.0, false), (3_600.0, true)] {
        let mut shard = Shard::new(&language);
        play(&mut shard, [setup(0.0, &["t1"], vec![face()]), value(5.0, 0.4), value(10.0, 0.4)]);
        let mut changes = Vec::new();
        for number in 0..4_u32 {
            let now = 15.0 + 5.0 * f64::from(number);
            let source = at(now) - Duration::from_secs_f64(back);
            let mut sample = Sample::received(PointIndex(0), 5.0, Some(source), at(now));
            if marked {
                let mark = if number == 0 { Reason::Late } else { Reason::ClockWrong };
                sample.quality = sample.quality.and(mark);
            }
            changes.extend(play(&mut shard, [Entry::Samples(Arc::new(vec![sample]))]));
        }
        assert_eq!(told(&changes), [("raised", "methane-face")], "set back by {back} s");
        assert_eq!(changes[0].alarm.received, at(20.0), "with the second sample");
    }
    // What was merely held up on its way, and comes quicker than time passes, is late.
    let mut shard = Shard::new(&language);
    play(&mut shard, [setup(0.0, &["t1"], vec![face()]), value(5.0, 0.4), value(200.0, 0.4)]);
    let held_up = (0..20).map(|number| {
        let sample = Sample::received(PointIndex(0), 5.0, Some(at(10.0 + 5.0 * f64::from(number))), at(200.1));
        Entry::Samples(Arc::new(vec![sample]))
    });
    assert_eq!(told(&play(&mut shard, held_up)), []);
    assert_eq!(shard.counts.late, 20);
}

/// What happens at two points: how many milliseconds after what came before, where, and what.
fn happenings() -> impl Strategy<Value = Vec<(u64, u32, u8, i32)>> {
    let pause = prop_oneof![60 => 0_u64..12_000, 6 => 0_u64..100_000, 1 => Just(3_800_000_u64)];
    prop::collection::vec((pause, 0_u32..2, 0_u8..12, -40_i32..60), 1..25)
}

fn busy_rules() -> Vec<RuleFile> {
    vec![
        face(),
        comm_loss(),
        rule("held", "raise: |p| p.value >= p.limit.alarm, raise_after: \"7s\", clear_after: \"9s\""),
        rule("gone", "judges: \"silence\", raise: |p| p.age > 20.0 && p.age < 4000.0, raise_after: \"3s\""),
        rule(
            "sensor",
            "judges: \"health\", raise: |p| p.has(\"line_break\"), raise_after: \"4s\", clear_after: \"6s\"",
        ),
        rule("flat", "judges: \"health\", raise: |p| p.flat_for > 60.0"),
        rule("rising", "raise: |p| p.rate(\"1m\") > 0.5"),
        rule(
            "voted",
            "raise: |p| p.all(\"methane\", \"\").vote(2, \">=\", p.limit.alarm), raise_after: \"3s\", clear_after: \"4s\"",
        ),
        rule(
            "beside",
            "raise: |p| p.value > p.point(\"t2\").mean(\"1m\") && p.site == \"producing\", raise_after: \"2s\"",
        ),
        rule("mute", "judges: \"silence\", raise: |p| p.age > 9.0 && p.all(\"methane\", \"\").known < 2.0"),
        rule("odd", "judges: \"health\", raise: |p| abs(p.value - p.all(\"methane\", \"\").median) > 0.3"),
    ]
}

proptest! {
    /// Ticks that are passed over, points that sleep through a tick, ticks that come a little later than the
    /// samples behind them: the alarms are the same, and so is everything that is remembered.
    #[test]
    fn ticks_that_can_change_nothing_change_nothing(happenings in happenings()) {
        let language = Language::new();
        let begin = || [setup(0.0, &["t1", "t2"], busy_rules()), Entry::Tick(at(0.0))];
        let (mut all, mut few, mut late) = (Shard::new(&language), Shard::new(&language), Shard::new(&language));
        let (mut told_all, mut told_few, mut told_late) = (Vec::new(), Vec::new(), Vec::new());
        for (shard, told) in [(&mut all, &mut told_all), (&mut few, &mut told_few), (&mut late, &mut told_late)] {
            begin().iter().for_each(|entry| shard.on_entry(entry, told));
        }
        let (mut now, mut ticked, mut passed) = (at(0.0), at(0.0), at(0.0));
        for (pause, number, kind, value) in happenings {
            now = now + Duration::from_millis(pause);
            let source = now - Duration::from_millis(u64::from(kind % 4) * 900);
            let mut one = Sample::received(PointIndex(number), f64::from(value) / 25.0, Some(source), now);
            match kind {
                9 => one.quality = one.quality.and(Reason::LineBreak),
                10 => one.quality = one.quality.and(Reason::NotPolled),
                _ => {}
            }
            while ticked + TICK <= now {
                ticked = ticked + TICK;
                all.rouse();
                all.on_entry(&Entry::Tick(ticked), &mut told_all);
                // Those of the last nine seconds are under way when the sample comes.
                if now.since(ticked) > Duration::from_secs(9) {
                    late.on_entry(&Entry::Tick(ticked), &mut told_late);
                }
            }
            if now.tick() > passed {
                passed = now.tick();
                few.pass(passed, &mut told_few);
            }
            let entry = Entry::Samples(Arc::new(vec![one]));
            all.on_entry(&entry, &mut told_all);
            few.on_entry(&entry, &mut told_few);
            late.on_entry(&entry, &mut told_late);
            late.on_entry(&Entry::Tick(ticked), &mut told_late);
        }
        prop_assert_eq!(news(&told_all), news(&told_few));
        prop_assert_eq!(news(&told_all), news(&told_late));
        prop_assert!(all.snapshot(&crate::response::Response::default()) == few.snapshot(&crate::response::Response::default()) && all.snapshot(&crate::response::Response::default()) == late.snapshot(&crate::response::Response::default()));
    }
}

fn news(effects: &[Effect]) -> Vec<(Happening, Timestamp, String, Option<f64>)> {
    let of = |change: &AlarmChange| (change.happening, change.at, change.alarm.id.to_string(), change.alarm.worst);
    effects.iter().filter_map(Effect::change).map(of).collect()
}

/// A delay that ran out between two samples is one, whether or not a tick fell between them.
#[test]
fn a_delay_ends_when_it_is_over_and_not_when_a_tick_notices() {
    let language = Language::new();
    let held = rule("held", "raise: |p| p.value >= p.limit.alarm, raise_after: \"7s\", clear_after: \"2s\"");
    for ticking in [0.1, 0.4, 100.0] {
        let mut shard = Shard::new(&language);
        let samples = [value(1.2, 1.5), value(6.2, 1.6), value(8.3, 0.4), value(9.0, 0.5), value(30.0, 0.5)];
        let mut entries = vec![setup(0.0, &["t1"], vec![held.clone()])];
        for (second, sample) in [1.2, 6.2, 8.3, 9.0, 30.0].into_iter().zip(samples) {
            let from = if second > 10.0 { 9.5 } else { second - 1.0 };
            entries.extend(
                (0..40)
                    .map(|turn| from + ticking * f64::from(turn))
                    .take_while(|at| *at < second)
                    .map(|seconds| Entry::Tick(at(seconds))),
            );
            entries.push(sample);
        }
        let changes = play(&mut shard, entries);
        assert_eq!(told(&changes), [("raised", "held"), ("cleared", "held")], "{ticking}");
        let times = (changes[0].at, changes[1].at, changes[0].alarm.value);
        assert_eq!(times, (at(8.2), at(10.3), Some(1.6)), "{ticking}");
    }
}
