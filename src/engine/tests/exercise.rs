//! Exercises beside what is real: neither knows of the other, and every one ends.

use super::*;
use crate::alarm::{Exercised, OccurrenceId};
use crate::journal::{ExerciseNote, Reset};
use crate::model::{Exercise, ExerciseEnd, ExerciseOrder, Injection};
use crate::response::Response;

const ID: &str = "exercise-1";

fn ordered(order: ExerciseOrder) -> Entry {
    Entry::Note(Note::Exercise(ExerciseNote { command: 9, order: Box::new(order) }))
}

fn exercise(seconds: f64, points: &[u32], length_s: f64) -> Exercise {
    Exercise {
        id: ID.into(),
        site: "mine".into(),
        points: points.iter().copied().map(PointIndex).collect(),
        scope: "mine.*".into(),
        by: "王".into(),
        reason: "月度演练".into(),
        from: at(seconds),
        until: at(seconds + length_s),
    }
}

fn start(seconds: f64, points: &[u32], length_s: f64) -> Entry {
    ordered(ExerciseOrder::Start(exercise(seconds, points, length_s)))
}

fn inject(seconds: f64, point: u32, value: f64, length_s: f64) -> Entry {
    let (from, until) = (at(seconds), at(seconds + length_s));
    ordered(ExerciseOrder::Inject(Injection { point: PointIndex(point), value, by: "王".into(), from, until }))
}

fn end(seconds: f64) -> Entry {
    let end = ExerciseEnd { at: at(seconds), by: "王".into(), comment: String::new() };
    ordered(ExerciseOrder::End { id: ID.into(), end })
}

/// Ticks twice a second, up to the end.
fn ticks(from: u32, to: u32) -> Vec<Entry> {
    (from * 2..=to * 2).map(|half| Entry::Tick(at(f64::from(half) / 2.0))).collect()
}

fn acknowledge(seconds: f64, id: &OccurrenceId) -> Entry {
    Entry::Note(Note::Acknowledge(Acknowledge {
        seen: None,
        command: 7,
        at: at(seconds),
        occurrence: id.clone(),
        raises: 1,
        by: "李".into(),
        comment: String::new(),
    }))
}

fn effects_of(shard: &mut Shard<'_>, entries: impl IntoIterator<Item = Entry>) -> Vec<Effect> {
    let mut effects = Vec::new();
    entries.into_iter().for_each(|entry| shard.on_entry(&entry, &mut effects));
    effects
}

fn answers(effects: &[Effect]) -> Vec<&Answer> {
    fn answer(effect: &Effect) -> Option<&Answer> {
        if let Effect::Answered { answer, .. } = effect { Some(answer) } else { None }
    }
    effects.iter().filter_map(answer).collect()
}

fn bytes(shard: &Shard<'_>) -> Vec<u8> {
    shard.snapshot(&Response::default())
}

/// Happening, whether it is one of the exercise's.
fn whose(changes: &[AlarmChange]) -> Vec<(&str, bool)> {
    changes.iter().map(|change| (change.happening.word(), change.alarm.is_injected())).collect()
}

#[test]
fn what_is_real_is_raised_as_real_beside_an_exercise_of_the_same_rule_at_the_same_point() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    assert_eq!(play(&mut shard, [setup(0.0, &["t1"], vec![face()]), value(1.0, 0.3)]), []);
    play(&mut shard, ticks(1, 5));
    let changes = play(&mut shard, [start(5.0, &[0], 600.0), inject(5.0, 0, 1.6, 60.0)]);
    assert_eq!(whose(&changes), [("raised", true)]);
    let drill = changes[0].alarm.clone();
    assert_eq!(drill.exercise, Exercised::Injected(ID.into()));
    assert!(drill.quality.has(Reason::Exercise));
    assert_eq!((drill.value, drill.point, drill.limit), (Some(1.6), Some(PointIndex(0)), Some(1.0)));

    // The very same value at the very same moment, and it is real.
    let changes = play(&mut shard, [value(5.0, 1.6)]);
    assert_eq!(whose(&changes), [("raised", false)]);
    let real = changes[0].alarm.clone();
    assert_eq!((real.exercise.clone(), real.quality), (Exercised::Beside(ID.into()), Quality::GOOD));
    assert_ne!(real.id, drill.id);
    assert_eq!(real.id, OccurrenceId::of("mine.t1", "methane-face", at(5.0)), "as without any exercise");
    assert_eq!(shard.all_open().count(), 2);

    // Each is acknowledged for itself.
    let effects = effects_of(&mut shard, [acknowledge(6.0, &drill.id)]);
    assert!(matches!(answers(&effects)[..], [Answer::Acknowledged(alarm)] if alarm.id == drill.id));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Record(one) if one.action == "alarm.acknowledged")));
    assert_eq!(shard.open_alarms().next().unwrap().standing, Standing::Unacknowledged);
    // Real values end what is real, and nothing else.
    let changes = play(&mut shard, ticks(6, 9).into_iter().chain([value(10.0, 0.4)]));
    assert_eq!(whose(&changes), [("cleared", false)]);
    assert_eq!(changes[0].alarm.standing, Standing::ReturnedUnacknowledged);
    let effects = effects_of(&mut shard, [acknowledge(11.0, &real.id)]);
    assert!(matches!(answers(&effects)[..], [Answer::Acknowledged(alarm)] if alarm.id == real.id));
    assert_eq!(shard.all_open().map(|alarm| &alarm.id).collect::<Vec<_>>(), [&drill.id]);

    // The injected value is over: the point reads what it had read before, and the alarm is over as alarms are.
    let changes = play(&mut shard, ticks(12, 70));
    assert_eq!(whose(&changes), [("cleared", true)]);
    assert_eq!(
        (changes[0].alarm.standing, changes[0].alarm.closed, changes[0].at),
        (Standing::Normal, false, at(65.0))
    );
}

#[test]
fn it_ends_by_itself_or_by_hand_and_closes_its_alarms() {
    for by_hand in [false, true] {
        let language = Language::new();
        let mut shard = Shard::new(&language);
        let begin = [setup(0.0, &["t1"], vec![face()]), value(1.0, 0.3), Entry::Tick(at(2.0))];
        play(&mut shard, begin.into_iter().chain([start(2.0, &[0], 20.0), inject(2.0, 0, 1.6, 600.0)]));
        let over = if by_hand { vec![end(10.0)] } else { ticks(3, 22) };
        let effects = effects_of(&mut shard, over);
        let changes: Vec<&AlarmChange> = effects.iter().filter_map(Effect::change).collect();
        let [change] = changes[..] else { panic!("{changes:?}") };
        assert_eq!((change.alarm.standing, change.alarm.closed), (Standing::Normal, true));
        assert!(change.alarm.detail.starts_with("演练结束 / the exercise is over"));
        let ended =
            effects.iter().find_map(|effect| if let Effect::Exercise(fact) = effect { Some(fact) } else { None });
        let ended = ended.unwrap().end.clone().unwrap();
        let expected = if by_hand { ("王", at(10.0)) } else { ("davy", at(22.0)) };
        assert_eq!((&*ended.by, ended.at), expected);
        let record = |effect: &Effect| matches!(effect, Effect::Record(one) if one.action == "exercise.end");
        assert_eq!(effects.iter().filter(|effect| record(effect)).count(), 1);
        assert_eq!(shard.all_open().count(), 0);
        // Nothing is left of it.
        assert_eq!(play(&mut shard, ticks(23, 90)), []);
        let effects = effects_of(&mut shard, [end(91.0), inject(91.0, 0, 1.6, 60.0)]);
        assert!(answers(&effects).iter().all(|answer| matches!(answer, Answer::Exercise(Err(_)))));
    }
}

#[test]
fn it_ends_at_its_time_over_a_stop_and_after_a_snapshot_that_cannot_be_read() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    let begin = [setup(0.0, &["t1"], vec![face()]), value(1.0, 0.3), Entry::Tick(at(2.0))];
    let begin: Vec<Entry> = begin.into_iter().chain([start(2.0, &[0], 20.0), inject(2.0, 0, 1.6, 600.0)]).collect();
    let effects = effects_of(&mut shard, begin);
    let fact =
        effects.iter().rev().find_map(|effect| if let Effect::Exercise(fact) = effect { Some(fact) } else { None });
    let fact = (**fact.unwrap()).clone();

    let mut again = Shard::new(&language);
    again.resume(&bytes(&shard)).unwrap();
    let changes = play(&mut again, [Entry::Tick(at(5_000.0))]);
    assert_eq!(
        (whose(&changes), changes[0].alarm.closed),
        (vec![("cleared", true)], true),
        "Davy was away for an hour"
    );

    let alarms: Vec<_> = shard.all_open().cloned().collect();
    let Entry::Note(Note::Setup(ground)) = setup(0.0, &["t1"], vec![face()]) else { panic!() };
    let remembered = || Remembered {
        setup: Some((*ground).clone()),
        alarms: alarms.clone(),
        exercises: vec![fact.clone()],
        ..Remembered::default()
    };
    let mut lost = Shard::new(&language);
    lost.adopt(remembered());
    assert_eq!(lost.open_alarms().count(), 0, "no injected alarm becomes a real one");
    assert_eq!(lost.all_open().count(), 1);
    // A snapshot before the first tick loses nothing.
    let mut once_more = Shard::new(&language);
    once_more.resume(&bytes(&lost)).unwrap();
    let effects = effects_of(&mut once_more, [value(4.0, 0.3), Entry::Tick(at(4.0))]);
    let changes: Vec<&AlarmChange> = effects.iter().filter_map(Effect::change).collect();
    assert_eq!((changes.len(), changes[0].alarm.standing), (1, Standing::Normal));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Exercise(fact) if fact.end.is_some())));
    assert_eq!(once_more.all_open().count(), 0);
}

#[test]
fn silence_faults_and_neighbours_are_told_apart() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    let odd = rule("odd", "raise: |p| { if p.value > 1.9 { throw \"no\" } p.value >= p.limit.alarm }");
    let fan = rule("fan", "raise: |p| p.point(\"t2\").value > 0.5 && p.value >= p.limit.alarm");
    let both =
        |second: f64, t1: f64, t2: f64| Entry::Samples(Arc::new(vec![sample(second, 0, t1), sample(second, 1, t2)]));
    play(&mut shard, [setup(0.0, &["t1", "t2"], vec![odd, fan, comm_loss()]), both(1.0, 0.3, 0.2)]);
    play(&mut shard, [Entry::Tick(at(1.0)), start(1.0, &[0], 3_600.0)]);
    // A rule that fails is told of the real values only; its plain limit stands in for it on the stage too.
    let effects = effects_of(&mut shard, [inject(1.5, 0, 2.0, 600.0)]);
    let changes: Vec<AlarmChange> = effects.iter().filter_map(Effect::change).cloned().collect();
    assert_eq!((told(&changes), whose(&changes)), (vec![("raised", "odd")], vec![("raised", true)]));
    // What its rules look at is real.
    let changes = play(&mut shard, ticks(2, 5).into_iter().chain([both(6.0, 0.3, 0.7)]));
    assert_eq!((told(&changes), whose(&changes)), (vec![("raised", "fan")], vec![("raised", true)]));
    // The sensors fall silent for real; on the stage the injected point goes on reading.
    let changes = play(&mut shard, ticks(7, 60));
    assert_eq!(told(&changes).iter().filter(|(_, rule)| *rule == "comm-loss").count(), 2);
    assert!(changes.iter().all(|change| !change.alarm.is_injected()), "{:?}", told(&changes));
}

/// A neighbour that speaks every five seconds has not fallen silent after four.
#[test]
fn a_neighbour_between_two_of_its_samples_is_heard() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    let both = rule("both", "raise: |p| p.value >= 1.0 && p.point(\"t2\").value > 0.5");
    let other = Entry::Samples(Arc::new(vec![sample(4.0, 1, 0.8)]));
    assert_eq!(play(&mut shard, [setup(0.0, &["t1", "t2"], vec![both]), value(3.0, 0.3), other]), []);
    play(&mut shard, ticks(4, 8));
    let changes = play(&mut shard, [start(8.0, &[0], 600.0), inject(8.0, 0, 1.6, 60.0)]);
    assert_eq!(whose(&changes), [("raised", true)]);
}

#[test]
fn what_an_exercise_may_not_be_is_refused_in_words() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    play(&mut shard, [setup(0.0, &["t1", "t2"], vec![face()]), Entry::Tick(at(1.0))]);
    let mut refused = |entry: Entry, words: &str| {
        let effects = effects_of(&mut shard, [entry]);
        let [Effect::Answered { answer: Answer::Exercise(answer), .. }] = &effects[..] else { panic!("{effects:?}") };
        match (answer, words) {
            (Ok(_), "") => {}
            (Err(told), words) if !words.is_empty() && told.contains(words) => {}
            other => panic!("{other:?}"),
        }
    };
    refused(start(1.0, &[], 60.0), "1 to 100 points");
    refused(start(1.0, &[7], 60.0), "of the site mine");
    refused(start(1.0, &[0], 9.0 * 3_600.0), "8h");
    refused(inject(1.0, 0, 1.6, 60.0), "start one first");
    play(&mut shard, [start(1.0, &[0], 60.0)]);
    let mut refused = |entry: Entry, words: &str| {
        let effects = effects_of(&mut shard, [entry]);
        let Some(Effect::Answered { answer: Answer::Exercise(Err(told)), .. }) = effects.last() else { panic!() };
        assert!(told.contains(words), "{told}");
    };
    refused(start(2.0, &[1], 60.0), "exercise-1 runs at mine");
    refused(inject(2.0, 1, 1.6, 60.0), "no exercise that runs names mine.t2");
    refused(inject(2.0, 0, f64::NAN, 60.0), "cannot show");
}

/// A stray reset or acknowledgement of what is real finds what is real, while an exercise runs.
#[test]
fn orders_to_real_alarms_go_where_they_always_went() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    let latched = rule("held", "raise: |p| p.value >= p.limit.alarm, latch: true");
    play(&mut shard, [setup(0.0, &["t1"], vec![latched]), Entry::Tick(at(0.5)), start(0.5, &[0], 600.0)]);
    let drill = play(&mut shard, [inject(0.5, 0, 1.6, 5.0)])[0].alarm.id.clone();
    let real = play(&mut shard, [value(1.0, 1.6)])[0].alarm.id.clone();
    play(&mut shard, ticks(1, 5));
    play(&mut shard, [value(5.5, 0.2), acknowledge(5.6, &real), acknowledge(5.6, &drill)]);
    let reset = |id: &OccurrenceId| {
        Entry::Note(Note::Reset(Reset {
            command: 3,
            at: at(8.0),
            occurrence: id.clone(),
            by: "李".into(),
            comment: String::new(),
        }))
    };
    let changes = play(&mut shard, [reset(&real)]);
    assert_eq!(whose(&changes), [("reset", false)]);
    let effects = effects_of(&mut shard, [reset(&drill)]);
    assert!(
        matches!(answers(&effects)[..], [Answer::Refused(alarm, _)] if alarm.is_injected()),
        "no real value was there to read when the injected one was over, and it is closed at the end: {effects:?}"
    );
}

/// Orders of an exercise strewn among entries, each by the time of the entry before it.
fn strewn() -> impl Strategy<Value = (Vec<Entry>, Vec<Entry>)> {
    let order = (any::<prop::sample::Index>(), 0_u32..7, 0_u32..3, 0.0_f64..2.2, 1.0_f64..90.0);
    (entries(), prop::collection::vec(order, 1..12)).prop_map(|(plain, mut orders)| {
        orders.sort_by_key(|(place, ..)| std::cmp::Reverse(place.index(plain.len())));
        let mut mixed = plain.clone();
        for (place, what, point, value, length) in orders {
            let place = place.index(plain.len());
            let now = seconds(&plain[place]);
            let order = match what {
                0..3 => start(now, &[0, 1], length),
                3 => end(now),
                _ => inject(now, point, value, length),
            };
            mixed.insert(place + 1, order);
        }
        (plain, mixed)
    })
}

fn seconds(entry: &Entry) -> f64 {
    let at = match entry {
        Entry::Samples(samples) => samples[0].receive_time,
        Entry::Tick(at) => *at,
        Entry::Note(Note::Setup(setup)) => setup.at,
        Entry::Note(_) => START,
    };
    at.since(START).as_secs_f64()
}

proptest! {
    // Each start compiles the rules anew.
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever is exercised, what is real is the same: alarms, ids, windows, all of the state.
    #[test]
    fn an_exercise_changes_nothing_that_is_real((plain, mixed) in strewn()) {
        let language = Language::new();
        let (mut with, mut without) = (Shard::new(&language), Shard::new(&language));
        let expected = play(&mut without, plain.clone());
        let told = play(&mut with, mixed);
        let marked = |change: &AlarmChange| !change.alarm.is_injected() || change.alarm.quality.has(Reason::Exercise);
        prop_assert!(told.iter().all(marked));
        let real: Vec<AlarmChange> = told
            .into_iter()
            .filter(|change| !change.alarm.is_injected())
            .map(|mut change| {
                change.alarm.exercise = Exercised::No;
                change
            })
            .collect();
        prop_assert_eq!(real, expected);
        // Once it is over nothing remembers it.
        play(&mut with, [end(1e5)]);
        prop_assert_eq!(with.all_open().filter(|alarm| alarm.is_injected()).count(), 0);
        prop_assert_eq!(bytes(&with), bytes(&without));
    }

    /// A stop after any entry changes nothing, on the stage either.
    #[test]
    fn a_restart_in_an_exercise_changes_nothing((_, mixed) in strewn(), stop: prop::sample::Index) {
        let language = Language::new();
        let mut whole = Shard::new(&language);
        let expected = play(&mut whole, mixed.clone());
        let stop = stop.index(mixed.len());
        let mut first = Shard::new(&language);
        let mut changes = play(&mut first, mixed[..stop].to_vec());
        let second_language = Language::new();
        let mut second = Shard::new(&second_language);
        second.resume(&bytes(&first)).unwrap();
        changes.extend(play(&mut second, mixed[stop..].to_vec()));
        prop_assert_eq!(changes, expected);
        prop_assert_eq!(bytes(&second), bytes(&whole));
    }

    /// On the stage as elsewhere: raised first, never twice, an id for one occurrence.
    #[test]
    fn every_occurrence_of_an_exercise_has_one_beginning((_, mixed) in strewn()) {
        let language = Language::new();
        let mut shard = Shard::new(&language);
        let mut seen = std::collections::HashSet::new();
        for change in play(&mut shard, mixed) {
            let first = seen.insert(change.alarm.id.clone());
            prop_assert_eq!(first, change.happening == Happening::Raised, "{:?}", change);
        }
    }
}
