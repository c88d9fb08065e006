//! What rules look back on, as an operator meets it: order, breaks, changed limits, rules that fail.

use super::*;
use crate::engine::Counts;

fn values(list: &[(f64, f64)]) -> Vec<Entry> {
    list.iter().map(|(seconds, number)| value(*seconds, *number)).collect()
}

/// Two radio messages change places on the way: the rule sees them as they were measured.
#[test]
fn samples_that_overtake_each_other_leave_memories_right() {
    let language = Language::new();
    let rules = || {
        vec![
            rule("held", "raise: |p| p.held_for(\">=\", 1.0) >= 10.0"),
            rule("sum", "raise: |p| p.cusum(0.5, 0.0) >= 2.0"),
            rule("mean", "raise: |p| p.ewma(\"5s\") >= 1.2 || p.slope(\"10s\") > 30.0"),
        ]
    };
    let arrive = |order: &[usize]| {
        let series = [0.2, 1.1, 1.2, 0.4, 1.3, 1.4, 1.3, 1.2];
        let mut shard = Shard::new(&language);
        play(&mut shard, [setup(0.0, &["t1"], rules())]);
        for (place, number) in order.iter().enumerate() {
            let (measured, arrived) = (at(4.0 * *number as f64), at(40.0 + place as f64));
            let sample = Sample::received(PointIndex(0), series[*number], Some(measured), arrived);
            play(&mut shard, [Entry::Samples(Arc::new(vec![sample]))]);
        }
        shard.points[0].past.clone()
    };
    let (in_order, mixed) = (arrive(&[0, 1, 2, 3, 4, 5, 6, 7]), arrive(&[0, 2, 1, 3, 5, 4, 7, 6]));
    assert_eq!(
        (0..3).map(|place| in_order.kept(place)).collect::<Vec<_>>(),
        (0..3).map(|place| mixed.kept(place)).collect::<Vec<_>>()
    );
    // From 16 s to 28 s; 0.4 at 12 s broke it.
    assert_eq!(mixed.kept(0), Some(12.0));
}

/// An alarm may be raised across a break, but not cleared across one: what was not seen is not taken for well.
#[test]
fn a_break_is_bridged_towards_the_alarm_and_not_towards_the_end() {
    let language = Language::new();
    let held = rule(
        "held",
        "raise: |p| p.held_for(\">=\", 1.0) >= 60.0, clear: |p| p.held_for(\"<\", 0.8) >= 60.0 && p.since(\">=\", 0.8) >= 60.0",
    );
    let mut shard = Shard::new(&language);
    let entries =
        std::iter::once(setup(0.0, &["t1"], vec![held])).chain(values(&[(0.0, 1.2), (5.0, 1.2), (60.0, 1.2)]));
    assert_eq!(told(&play(&mut shard, entries)), [("raised", "held")]);
    // Low, then an hour of nothing, then low again: a minute has to be seen.
    assert_eq!(told(&play(&mut shard, values(&[(65.0, 0.1), (3_600.0, 0.1), (3_605.0, 0.1)]))), []);
    let seen: Vec<_> = (1..=12).map(|step| (3_605.0 + 5.0 * f64::from(step), 0.1)).collect();
    assert_eq!(told(&play(&mut shard, values(&seen))), [("cleared", "held")]);
}

/// The limit of a point is lowered: what is remembered of the old one is not taken for the new one.
#[test]
fn a_changed_limit_begins_its_memories_anew_from_what_is_kept() {
    let language = Language::new();
    let held = || vec![rule("held", "raise: |p| p.held_for(\">=\", p.limit.alarm) >= 20.0 && p.count(\"1m\") > 0.0")];
    let mut shard = Shard::new(&language);
    let steady: Vec<_> = (0..12).map(|step| (5.0 * f64::from(step), 0.9)).collect();
    let entries = std::iter::once(setup(0.0, &["t1"], held())).chain(values(&steady));
    assert_eq!(told(&play(&mut shard, entries)), []);
    assert_eq!(shard.points[0].past.kept(0), Some(0.0));
    let mut stricter = point("t1");
    stricter.limits.insert("alarm".into(), 0.8);
    let setup = Setup { at: at(56.0), rules: held(), ..Setup::of(vec![stricter]) };
    let changes = play(&mut shard, [Entry::Note(Note::Setup(Arc::new(setup))), value(60.0, 0.9)]);
    assert_eq!(told(&changes), [("raised", "held")], "the window of a minute still held the samples");
    assert_eq!(shard.points[0].past.kept(0), Some(60.0));
}

/// A level that cannot be reckoned at a point is told when the rule is loaded, and its rule says nothing there.
#[test]
fn a_level_that_is_no_number_is_told_and_unknown() {
    let language = Language::new();
    let rules = vec![
        rule("odd", "raise: |p| p.crossed_up(1.0 / (p.limit.alarm - 1.0)) || p.cusum(1.0, -p.limit.alarm) > 1.0"),
        face(),
    ];
    let plan =
        crate::rule::Plan::new(&language, &Setup { at: at(0.0), rules: rules.clone(), ..Setup::of(vec![point("t1")]) });
    let told_of: Vec<String> = plan.refused.iter().map(ToString::to_string).collect();
    assert_eq!(told_of.len(), 2, "{told_of:?}");
    assert!(told_of[0].contains("rule \"odd\" at point mine.t1: crossed_up(..): a level is no finite number there"));
    assert!(told_of[1].contains("cusum(..): a level has a slack below zero there"), "{told_of:?}");
    let mut shard = Shard::new(&language);
    let entries = std::iter::once(setup(0.0, &["t1"], rules)).chain(values(&[(1.0, 0.5), (6.0, 1.5)]));
    assert_eq!(told(&play(&mut shard, entries)), [("raised", "methane-face")]);
}

/// What windows hold is counted on ticks, once a minute.
#[test]
fn what_is_held_is_counted() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    let day = rule("day", "raise: |p| p.max(\"24h\") - p.min(\"1h\") > 5.0");
    play(&mut shard, [setup(0.0, &["t1", "t2"], vec![day])]);
    play(&mut shard, values(&[(1.0, 0.5), (6.0, 0.6), (11.0, 0.7)]));
    play(&mut shard, [Entry::Tick(at(58.0)), Entry::Tick(at(61.0))]);
    assert_eq!(shard.held.samples, 3, "both windows share one store");
    assert!(shard.held.bytes >= 3 * 16 && shard.held.bytes < 10_000, "{:?}", shard.held);
}

/// Much memory is foreseen before it is used.
#[test]
fn a_day_of_a_fast_sensor_at_many_points_is_remarked_on() {
    let language = Language::new();
    let names: Vec<String> = (0..60).map(|number| format!("t{number}")).collect();
    let mut points: Vec<Point> = names.iter().map(|name| point(name)).collect();
    let plan = |points: &[Point]| {
        let rules = vec![rule("day", "raise: |p| p.median(\"24h\") > p.max(\"24h\") + p.min(\"24h\")")];
        let plan = crate::rule::Plan::new(&language, &Setup { at: at(0.0), rules, ..Setup::of(points.to_vec()) });
        let too_long = plan.refused.iter().filter(|told| told.message.contains("needs 172801 samples there")).count();
        assert_eq!(too_long, if points[0].period < Duration::from_secs(1) { 60 * 3 } else { 0 });
        plan.remarks.iter().map(ToString::to_string).filter(|told| told.contains("memory")).collect::<Vec<_>>()
    };
    assert_eq!(plan(&points), Vec::<String>::new());
    points.iter_mut().for_each(|point| point.period = Duration::from_millis(500));
    assert!(plan(&points)[0].contains("may take 4"), "{:?}", plan(&points));
}

/// One rule runs away on every sample. Its points are judged by the plain limit from the first sample on, the
/// others as ever, and what it costs stays bounded.
#[test]
fn a_rule_that_always_fails_costs_little_and_hides_nothing() {
    let language = Language::new();
    let runaway = rule("runaway", "raise: |p| { let n = 0; while n >= 0 { n += 1; } n > 0 }");
    let names: Vec<String> = (0..20).map(|number| format!("t{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut shard = Shard::new(&language);
    let mut changes = play(&mut shard, [setup(0.0, &names, vec![runaway, face()])]);
    for round in 0..300_u32 {
        for index in 0..20_u32 {
            // One point is in danger from the first sample, another in the middle of a rest.
            let danger = index == 3 || (index == 7 && round == 200);
            let number = if danger { 1.5 } else { 0.3 };
            let sample = sample(5.0 * f64::from(round), index, number);
            changes.extend(play(&mut shard, [Entry::Samples(Arc::new(vec![sample]))]));
        }
    }
    let of = |subject: &str| -> Vec<(&str, &str)> {
        let list: Vec<_> = changes.iter().filter(|change| &*change.alarm.subject == subject).collect();
        list.iter().map(|change| (change.happening.word(), &*change.alarm.rule)).collect()
    };
    assert_eq!(of("rule runaway"), [("raised", "davy-rule-fault")], "one alarm about the rule, however many points");
    assert_eq!(of("mine.t3"), [("raised", "runaway"), ("raised", "methane-face")]);
    assert_eq!(of("mine.t7")[..2], [("raised", "runaway"), ("raised", "methane-face")]);
    assert_eq!(of("mine.t4"), []);
    let Counts { evaluations, rested, .. } = shard.counts;
    let asked_of_runaway = evaluations - 300 * 20;
    assert_eq!(asked_of_runaway + rested, 300 * 20);
    assert!(asked_of_runaway < 15 * 20, "asked {asked_of_runaway} times of 6000");
}

/// A rule that fails on some values only comes back by itself.
#[test]
fn a_rule_that_rests_is_asked_again() {
    let language = Language::new();
    let odd = rule("odd", "raise: |p| { if p.value < 0.2 { throw \"no\" } p.value > 0.6 }");
    let mut shard = Shard::new(&language);
    let mut changes = play(&mut shard, [setup(0.0, &["t1"], vec![odd])]);
    let number = |step: u32| if step < 100 { 0.1 } else { 0.7 };
    changes.extend(play(&mut shard, (0..200).map(|step| value(5.0 * f64::from(step), number(step)))));
    assert_eq!(told(&changes), [("raised", "davy-rule-fault"), ("cleared", "davy-rule-fault"), ("raised", "odd")]);
    let returned = changes[1].at.since(at(500.0)).as_secs_f64() / 5.0;
    assert!(returned <= 64.0, "asked again after {returned} samples");
}
