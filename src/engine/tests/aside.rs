//! Orders of operators: shelve, out of service, reset, and an acknowledgement of what was not seen.

use super::*;
use crate::alarm::{Aside, AsideEnd, AsideOrder, Level, Priority, Way};
use crate::facts::{Answer, AsideRefusal};
use crate::journal::{AsideNote, Reset, Seen};

fn shelf(id: &str, seconds: f64, until: f64) -> Aside {
    Aside {
        id: id.into(),
        way: Way::Shelved,
        rule: "methane-face".into(),
        subject: "mine.t1".into(),
        by: "李".into(),
        approved_by: None,
        reason: "换线 / rewiring".into(),
        from: at(seconds),
        until: Some(at(until)),
        once: false,
    }
}

fn order(order: AsideOrder) -> Entry {
    Entry::Note(Note::Aside(AsideNote { command: 3, order: Box::new(order) }))
}

fn begin(aside: Aside) -> Entry {
    order(AsideOrder::Begin(aside))
}

fn answer(shard: &mut Shard<'_>, entry: Entry) -> Answer {
    let mut effects = Vec::new();
    shard.on_entry(&entry, &mut effects);
    let mut answers = effects
        .into_iter()
        .filter_map(|effect| if let Effect::Answered { answer, .. } = effect { Some(answer) } else { None });
    answers.next().expect("every command is answered")
}

fn refused(shard: &mut Shard<'_>, aside: Aside) -> String {
    let told = answer(shard, begin(aside));
    let Answer::Aside(Err(AsideRefusal::Words(words))) = told else { panic!("not refused: {told:?}") };
    words
}

fn standings(changes: &[AlarmChange]) -> Vec<(&str, &str)> {
    changes.iter().map(|change| (change.happening.word(), change.alarm.standing.word())).collect()
}

#[test]
fn a_shelved_alarm_calls_nobody_and_calls_again_when_its_time_is_up() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    play(&mut shard, [setup(0.0, &["t1"], vec![face()]), value(1.0, 1.2)]);
    let changes = play(&mut shard, [begin(shelf("shelf-1", 2.0, 600.0))]);
    assert_eq!(standings(&changes), [("set_aside", "shelved")]);
    assert_eq!(changes[0].alarm.aside.as_ref().map(|aside| &*aside.by), Some("李"));
    // It clears and comes back meanwhile: on record, and nobody is called.
    let changes = play(&mut shard, [value(5.0, 0.1), value(10.0, 1.6)]);
    assert_eq!(standings(&changes), [("cleared", "shelved"), ("raised_again", "shelved")]);
    assert!(changes.iter().all(|change| !change.calls()));
    // Across a restart.
    let bytes = shard.snapshot(&crate::response::Response::default());
    let mut again = Shard::new(&language);
    again.resume(&bytes).unwrap();
    for shard in [&mut shard, &mut again] {
        let changes = play(shard, [Entry::Tick(at(599.0)), Entry::Tick(at(599.5)), Entry::Tick(at(600.0))]);
        assert_eq!(standings(&changes), [("resumed", "unacknowledged")]);
        assert!(changes[0].calls() && changes[0].alarm.raises > 1);
    }
}

#[test]
fn an_alarm_can_be_shelved_before_it_is_raised_and_what_is_normal_by_then_calls_nobody() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    play(&mut shard, [setup(0.0, &["t1"], vec![face()]), value(1.0, 0.2)]);
    let once = Aside { once: true, ..shelf("shelf-1", 2.0, 600.0) };
    assert_eq!(play(&mut shard, [begin(once)]), []);
    let changes = play(&mut shard, [value(5.0, 1.3), value(10.0, 0.2), value(15.0, 1.3)]);
    let expected = [("raised", "shelved"), ("cleared", "shelved"), ("resumed", "normal"), ("raised", "unacknowledged")];
    assert_eq!(standings(&changes), expected);
    assert_ne!(changes[0].alarm.id, changes[3].alarm.id);
}

#[test]
fn methane_of_priority_1_is_not_shelved_and_nothing_for_ever() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    let mut cut = face();
    cut.text = cut.text.replace("\"P2\"", "\"P1\"");
    play(&mut shard, [setup(0.0, &["t1"], vec![cut]), value(1.0, 1.6)]);
    assert!(refused(&mut shard, shelf("a", 2.0, 60.0)).contains("must not be shelved"));
    assert!(refused(&mut shard, Aside { rule: "other".into(), ..shelf("a", 2.0, 60.0) }).contains("does not watch"));
    let out = Aside { way: Way::OutOfService, ..shelf("out-1", 2.0, 3.0 * 86_400.0) };
    assert!(refused(&mut shard, out.clone()).contains("somebody else"));
    assert!(refused(&mut shard, Aside { approved_by: Some("李".into()), ..out.clone() }).contains("somebody else"));
    let changes = play(&mut shard, [begin(Aside { approved_by: Some("王".into()), ..out })]);
    assert_eq!(standings(&changes), [("set_aside", "out_of_service")]);
    // A rule that is milder now may be shelved, but not for a day.
    play(&mut shard, [setup(3.0, &["t1"], vec![face()])]);
    assert!(refused(&mut shard, shelf("a", 4.0, 86_400.0)).contains("8h"));
    // Reminded once a day, and back in service when its time is up.
    let days = [1.0, 2.0, 3.0].map(|day| Entry::Tick(at(2.0 + day * 86_400.0)));
    let told = play(&mut shard, days);
    let reminders = told.iter().filter(|change| &*change.alarm.rule == "davy-out-of-service");
    assert!(reminders.filter(|change| change.happening != Happening::Cleared).count() >= 2);
    assert!(told.iter().any(|change| change.happening == Happening::Resumed));
}

fn chatters(rule: &str) -> Aside {
    Aside { id: format!("chatter:{rule}:mine.t1"), rule: rule.into(), by: "davy".into(), ..shelf("", 2.0, 1_800.0) }
}

/// A loose wire of one alarm must not keep the next worse one of its point quiet, nor anything urgent itself.
#[test]
fn davy_by_itself_shelves_no_p1_and_p2_only_where_its_rule_says_so() {
    let language = Language::new();
    let graded = |id: &str, priority: &str, more: &str| {
        let RuleFile { path, text } = rule(id, &format!("raise: |p| p.value >= p.limit.alarm {more}"));
        RuleFile { path, text: text.replace("\"P2\"", &format!("\"{priority}\"")) }
    };
    let rules = vec![
        graded("early", "P3", ""),
        graded("alarm", "P2", ""),
        graded("alarm-that-may", "P2", ", shelvable: true"),
        graded("cut", "P1", ", shelvable: true"),
        graded("battery", "P4", ", shelvable: false"),
    ];
    let mut shard = Shard::new(&language);
    play(&mut shard, [setup(0.0, &["t1"], rules.clone()), value(1.0, 0.2)]);
    for id in ["alarm", "cut"] {
        assert!(refused(&mut shard, chatters(id)).contains("by itself"), "{id}");
    }
    assert!(refused(&mut shard, chatters("battery")).contains("must not be shelved"));
    play(&mut shard, [begin(chatters("early")), begin(chatters("alarm-that-may"))]);
    // What is shelved is quiet; the worse ones of the same point call.
    let raised = play(&mut shard, [value(5.0, 1.6)]);
    let calling = raised.iter().filter(|change| change.calls()).map(|change| &*change.alarm.rule);
    assert_eq!(calling.collect::<Vec<_>>(), ["alarm", "cut", "battery"]);
    // A person may, as ever.
    let by_hand = Aside { rule: "alarm".into(), ..shelf("shelf-1", 6.0, 60.0) };
    assert_eq!(standings(&play(&mut shard, [begin(by_hand)])), [("set_aside", "shelved")]);
    // The rule becomes urgent while its alarm is shelved by Davy: it is back at once.
    let mut worse = rules;
    worse[0] = graded("early", "P1", "");
    let changes = play(&mut shard, [setup(7.0, &["t1"], worse)]);
    let back = changes.iter().filter(|change| change.happening == Happening::Resumed);
    assert_eq!(back.map(|change| &*change.alarm.rule).collect::<Vec<_>>(), ["early"]);
}

fn own(rule: &str, subject: &str, holds: bool, seconds: f64) -> Entry {
    Entry::Note(Note::Condition(Condition {
        at: at(seconds),
        rule: rule.into(),
        subject: subject.into(),
        holds,
        title: "t".into(),
        advice: "a".into(),
        priority: Priority::P1,
        level: Level::Orange,
        detail: String::new(),
    }))
}

/// Whoever holds the mute key must not also be able to shelve the alarm that says so.
#[test]
fn one_person_cannot_silence_what_watches_over_them() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    play(&mut shard, [setup(0.0, &["t1"], vec![face()]), own("davy-siren-muted", "horn", true, 1.0)]);
    let about =
        |rule: &str, subject: &str| Aside { rule: rule.into(), subject: subject.into(), ..shelf("a", 2.0, 60.0) };
    for rule in
        ["davy-siren-muted", "davy-presence-missed", "davy-notify-failing", "davy-source-down", "davy-case-answer"]
    {
        let words = refused(&mut shard, about(rule, "horn"));
        assert!(words.contains("must not be shelved") && words.contains("out of service"), "{words}");
    }
    assert_eq!(play(&mut shard, [begin(about("davy-siren-muted", "horn"))]), [], "it calls on");
    // With a second person it may be out of service; what is only a doubt about the configuration may be shelved.
    let approved =
        Aside { way: Way::OutOfService, approved_by: Some("王".into()), ..about("davy-siren-muted", "horn") };
    assert_eq!(standings(&play(&mut shard, [begin(approved)])), [("set_aside", "out_of_service")]);
    play(&mut shard, [own("davy-rule-draft", "draft-1", true, 3.0)]);
    let doubt = Aside { id: "b".into(), ..about("davy-rule-draft", "draft-1") };
    assert_eq!(standings(&play(&mut shard, [begin(doubt)])), [("set_aside", "shelved")]);
}

#[test]
fn what_is_set_aside_for_two_reasons_is_back_after_both() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    play(&mut shard, [setup(0.0, &["t1"], vec![face()]), value(1.0, 1.2)]);
    let parent = Aside { way: Way::Suppressed, until: None, ..shelf("parent-1", 3.0, 0.0) };
    let changes = play(&mut shard, [begin(shelf("shelf-1", 2.0, 60.0)), begin(parent)]);
    assert_eq!(standings(&changes), [("set_aside", "shelved"), ("set_aside", "suppressed")]);
    assert_eq!(play(&mut shard, [Entry::Tick(at(59.0)), Entry::Tick(at(61.0))]), []);
    let end = AsideEnd { at: at(62.0), by: "davy".into(), reason: "the parent is back".into() };
    let changes = play(&mut shard, [order(AsideOrder::End { id: "parent-1".into(), end })]);
    assert_eq!(standings(&changes), [("resumed", "unacknowledged")]);
}

/// The clock is an hour fast when the shelf is made, or is set back by a year by mistake: ten minutes are ten minutes.
#[test]
fn a_clock_that_is_set_back_prolongs_no_shelf() {
    for back in [3_600.0, 365.0 * 86_400.0] {
        let language = Language::new();
        let mut shard = Shard::new(&language);
        play(&mut shard, [setup(0.0, &["t1"], vec![face()]), value(1.0, 1.2), begin(shelf("shelf-1", 2.0, 602.0))]);
        play(&mut shard, [Entry::Tick(at(102.0))]);
        let earlier = |seconds: f64| Entry::Tick(at(seconds) - Duration::from_secs_f64(back));
        let mut effects = Vec::new();
        shard.on_entry(&earlier(102.5), &mut effects);
        let kept =
            effects.iter().any(|effect| matches!(effect, Effect::Aside(fact) if fact.aside.until < Some(at(602.0))));
        assert!(kept, "facts know of the end as it is now");
        let mut again = Shard::new(&language);
        again.resume(&shard.snapshot(&crate::response::Response::default())).unwrap();
        for shard in [&mut shard, &mut again] {
            let changes = play(shard, (103..610).map(|second| earlier(f64::from(second))));
            assert_eq!(standings(&changes), [("resumed", "unacknowledged")]);
            let late = (at(602.0) - Duration::from_secs_f64(back)).micros().abs_diff(changes[0].at.micros());
            assert!(late <= 1_500_000, "{late} us from its time");
        }
    }
}

#[test]
fn a_rule_says_itself_when_the_design_suppresses_it() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    let quiet = rule("methane-face", "raise: |p| p.value >= p.limit.alarm, suppressed_when: [\"stopped\"]");
    play(&mut shard, [setup(0.0, &["t1"], vec![quiet]), value(1.0, 1.2)]);
    let site = |seconds, state| {
        let (site, by, reason) = ("mine".into(), "李".into(), "停产".into());
        let (approved_by, until, since) = ("王".into(), Some(at(seconds + 3_600.0)), at(seconds));
        let standing = crate::model::SiteStanding { site, state, since, by, reason, approved_by, until };
        Entry::Note(Note::SiteSet(crate::journal::SiteSet { command: 1, standing }))
    };
    let changes = play(&mut shard, [site(2.0, crate::model::SiteState::Stopped)]);
    assert_eq!(standings(&changes), [("set_aside", "suppressed")]);
    assert!(changes[0].alarm.aside.as_ref().unwrap().reason.contains("mine is stopped"));
    let changes = play(&mut shard, [site(9.0, crate::model::SiteState::Producing)]);
    assert_eq!(standings(&changes), [("resumed", "unacknowledged")]);
}

#[test]
fn a_latched_alarm_stays_until_it_is_reset_and_not_while_it_holds() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    let latched = rule("methane-face", "raise: |p| p.value >= p.limit.alarm, latch: true");
    let raised = play(&mut shard, [setup(0.0, &["t1"], vec![latched]), value(1.0, 1.2)]);
    let reset = |seconds| {
        let (by, comment) = ("李".to_owned(), String::new());
        Entry::Note(Note::Reset(Reset {
            command: 1,
            at: at(seconds),
            occurrence: raised[0].alarm.id.clone(),
            by,
            comment,
        }))
    };
    assert!(matches!(answer(&mut shard, reset(2.0)), Answer::Refused(_, words) if words.contains("still holds")));
    let changes =
        play(&mut shard, [value(5.0, 0.2), bad(10.0), Entry::Tick(at(11.0)), Entry::Tick(at(100.0)), reset(101.0)]);
    assert_eq!(standings(&changes), [("cleared", "latched_unacknowledged"), ("reset", "returned_unacknowledged")]);
}

#[test]
fn what_goes_on_calls_again_and_so_does_what_became_worse() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    let text = "raise: |p| p.value >= p.limit.alarm, realarm: \"30m\"";
    let mut entries = vec![setup(0.0, &["t1"], vec![rule("methane-face", text)]), value(1.0, 1.2)];
    let raised = play(&mut shard, entries.drain(..));
    let ack = |seconds, raises, seen| {
        let occurrence = raised[0].alarm.id.clone();
        let (by, comment) = ("李".to_owned(), String::new());
        Entry::Note(Note::Acknowledge(Acknowledge {
            command: 1,
            at: at(seconds),
            occurrence,
            raises,
            by,
            comment,
            seen,
        }))
    };
    play(&mut shard, [ack(60.0, 1, None)]);
    let changes = play(&mut shard, (1..=1_900).map(|second| Entry::Tick(at(60.0 + f64::from(second)))));
    assert_eq!(standings(&changes), [("realarmed", "unacknowledged")]);
    assert_eq!((changes[0].alarm.raises, changes[0].alarm.acknowledged.clone()), (2, None));
    assert!(changes[0].at >= at(1_860.0) && changes[0].at <= at(1_861.5));
    // While the person looks, the rule becomes worse: what they saw is not what it is now.
    let mut worse = rule("methane-face", text);
    worse.text = worse.text.replace("\"P2\"", "\"P1\"").replace("\"orange\"", "\"red\"");
    let changes = play(&mut shard, [setup(1_970.0, &["t1"], vec![worse])]);
    assert_eq!(standings(&changes), [("worsened", "unacknowledged")]);
    assert!(matches!(answer(&mut shard, ack(1_971.0, 2, None)), Answer::NewerOccurrence(_)));
    let seen = Seen { priority: Some(Priority::P2), level: Some(Level::Orange), ..Seen::default() };
    let told = answer(&mut shard, ack(1_972.0, 3, Some(seen)));
    let Answer::Refused(_, words) = told else { panic!("not refused: {told:?}") };
    assert!(words.contains("P1") && words.contains("red"), "{words}");
}

#[test]
fn an_acknowledgement_that_races_a_worse_alarm_of_the_point_is_refused_and_never_silences_it() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    let mut cut = rule("methane-cut", "raise: |p| p.value >= 1.5");
    cut.text = cut.text.replace("\"P2\"", "\"P1\"");
    let raised = play(&mut shard, [setup(0.0, &["t1"], vec![face(), cut]), value(1.0, 1.2), value(6.0, 1.7)]);
    let ack = |looked| {
        let (by, comment, occurrence) = ("李".to_owned(), String::new(), raised[0].alarm.id.clone());
        let seen = Some(Seen { looked: Some(at(looked)), ..Seen::default() });
        Entry::Note(Note::Acknowledge(Acknowledge {
            command: 1,
            at: at(7.0),
            occurrence,
            raises: 1,
            by,
            comment,
            seen,
        }))
    };
    let told = answer(&mut shard, ack(5.0));
    let Answer::Refused(_, words) = told else { panic!("not refused: {told:?}") };
    assert!(words.contains("P1"), "{words}");
    assert!(matches!(answer(&mut shard, ack(6.5)), Answer::Acknowledged(_)));
    let calling = shard.open_alarms().find(|alarm| &*alarm.rule == "methane-cut").unwrap();
    assert_eq!(calling.standing, Standing::Unacknowledged);
}

/// After an update whose snapshots have another form: shelved before it was raised, and after.
#[test]
fn what_is_set_aside_is_known_from_facts() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    let points = vec![point("t1"), point("t2")];
    let ground = Setup { at: at(0.0), rules: vec![face()], ..Setup::of(points) };
    play(&mut shard, [Entry::Note(Note::Setup(Arc::new(ground.clone()))), value(1.0, 1.2)]);
    let (one, other) = (shelf("a", 2.0, 600.0), Aside { subject: "mine.t2".into(), ..shelf("b", 2.0, 600.0) });
    let alarms: Vec<_> =
        play(&mut shard, [begin(one.clone()), begin(other.clone())]).into_iter().map(|change| change.alarm).collect();
    assert_eq!(alarms.len(), 1);
    let mut again = Shard::new(&language);
    let asides = vec![one, other];
    again.adopt(Remembered { setup: Some(ground), alarms, asides, ..Remembered::default() });
    let second = Entry::Samples(Arc::new(vec![sample(10.0, 1, 1.4)]));
    assert_eq!(standings(&play(&mut again, [Entry::Tick(at(9.0)), second])), [("raised", "shelved")]);
    let changes = play(&mut again, [Entry::Tick(at(599.5)), Entry::Tick(at(600.0))]);
    assert_eq!(standings(&changes), [("resumed", "unacknowledged"); 2]);
}
