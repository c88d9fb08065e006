//! A device is lost, and what hangs from it: one alarm that names its points, in place of one for each.

use super::*;
use crate::alarm::{Aside, AsideOrder, Level, Priority, Way};
use crate::journal::AsideNote;

const PLC: &str = "modbus.plc";

fn lost_rule(id: &str, priority: &str, more: &str) -> RuleFile {
    let text = format!(
        r#"rule("{id}", #{{ title: "t", advice: "a", watches: #{{ kind: "methane" }}, priority: "{priority}", level: "yellow",
            judges: "silence", raise: |p| p.age > p.period * 3.0 {more} }});"#
    );
    RuleFile { path: format!("{id}.rhai"), text }
}

fn rules() -> Vec<RuleFile> {
    vec![
        face(),
        lost_rule("comm-loss", "P3", ""),
        lost_rule("lost-urgent", "P1", ""),
        lost_rule("lost-fixed", "P3", ", shelvable: false"),
    ]
}

/// `t1` and `t2` hang from the device, `t3` does not.
fn plant(seconds: f64, rules: Vec<RuleFile>, children: &[&str]) -> Entry {
    let points = ["t1", "t2", "t3"].map(point).to_vec();
    let children = children.iter().map(|name| format!("mine.{name}").into()).collect();
    let parents = [(PLC.to_owned(), children)].into();
    Entry::Note(Note::Setup(Arc::new(Setup { at: at(seconds), rules, parents, ..Setup::of(points) })))
}

fn source(seconds: f64, lost: bool) -> Entry {
    Entry::Note(Note::Condition(Condition {
        at: at(seconds),
        rule: DOWN.into(),
        subject: PLC.into(),
        holds: lost,
        title: "数据源断开 / source down".into(),
        advice: "a".into(),
        priority: Priority::P2,
        level: Level::Yellow,
        detail: "refused".into(),
    }))
}

fn read(seconds: f64, points: &[u32], value: f64) -> Entry {
    Entry::Samples(Arc::new(points.iter().map(|point| sample(seconds, *point, value)).collect()))
}

fn ticks(from: u32, to: u32) -> impl Iterator<Item = Entry> {
    (from..to).map(|second| Entry::Tick(at(f64::from(second))))
}

/// Rule, subject, what happened and how it stands.
fn about(changes: &[AlarmChange]) -> Vec<(&str, &str, &str, &str)> {
    let row = |change: &'_ AlarmChange| -> (String, String, &'static str, &'static str) {
        let alarm = &change.alarm;
        (alarm.rule.to_string(), alarm.subject.to_string(), change.happening.word(), alarm.standing.word())
    };
    let mut rows: Vec<_> = changes.iter().map(row).collect();
    rows.sort();
    rows.iter().map(|(rule, subject, what, how)| (leak(rule), leak(subject), *what, *how)).collect()
}

fn leak(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

fn running(rules: Vec<RuleFile>) -> Vec<Entry> {
    vec![plant(0.0, rules, &["t1", "t2"]), read(1.0, &[0, 1, 2], 0.2)]
}

#[test]
fn a_lost_device_is_one_alarm_that_lists_its_points() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    play(&mut shard, running(rules()));
    let lost = play(&mut shard, [source(3.0, true)]);
    assert_eq!(about(&lost), [(DOWN, PLC, "raised", "unacknowledged")]);
    let alarm = &lost[0].alarm;
    assert!(alarm.title.contains("2 个测点 / 2 points"), "{}", alarm.title);
    assert!(alarm.detail.starts_with("refused") && alarm.detail.ends_with("mine.t1, mine.t2"), "{}", alarm.detail);

    let silent = play(&mut shard, ticks(4, 60));
    let suppressed: Vec<_> = silent.iter().filter(|change| !change.calls()).cloned().collect();
    assert_eq!(
        about(&suppressed),
        [("comm-loss", "mine.t1", "raised", "suppressed"), ("comm-loss", "mine.t2", "raised", "suppressed")]
    );
    let reason = &suppressed[0].alarm.aside.as_ref().unwrap().reason;
    assert!(reason.contains(DOWN) && reason.contains(PLC), "{reason}");
    // What is more urgent than the lost device, what must not be shelved and what hangs from nothing calls on.
    let calling: Vec<_> = silent.iter().filter(|change| change.calls()).cloned().collect();
    let mut expected: Vec<_> = ["lost-fixed", "lost-urgent"]
        .iter()
        .flat_map(|rule| ["mine.t1", "mine.t2"].map(|point| (*rule, point)))
        .collect();
    expected.extend(["comm-loss", "lost-fixed", "lost-urgent"].map(|rule| (rule, "mine.t3")));
    expected.sort_unstable();
    assert_eq!(about(&calling).iter().map(|row| (row.0, row.1)).collect::<Vec<_>>(), expected);
}

#[test]
fn what_is_not_heard_after_the_device_is_back_calls_and_what_is_heard_does_not() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    play(&mut shard, running(vec![comm_loss()]));
    play(&mut shard, [source(3.0, true)].into_iter().chain(ticks(4, 60)));
    assert_eq!(about(&play(&mut shard, [source(60.0, false)])), [(DOWN, PLC, "cleared", "returned_unacknowledged")]);
    let back = play(&mut shard, [read(62.0, &[0], 0.2)]);
    assert_eq!(about(&back), [("comm-loss", "mine.t1", "cleared", "suppressed")]);
    // Three periods of five seconds and the time to ask the others of the bus.
    let heard = (63..86).flat_map(|second| [Entry::Tick(at(f64::from(second))), read(f64::from(second), &[0], 0.2)]);
    assert_eq!(about(&play(&mut shard, heard)), []);
    let later = play(
        &mut shard,
        (86..90).flat_map(|second| [read(f64::from(second), &[0], 0.2), Entry::Tick(at(f64::from(second)))]),
    );
    assert_eq!(
        about(&later),
        [("comm-loss", "mine.t1", "resumed", "normal"), ("comm-loss", "mine.t2", "resumed", "unacknowledged")]
    );
    assert_eq!(later.iter().map(AlarmChange::calls).collect::<Vec<_>>(), [false, true]);
    assert!(shard.asides.list().is_empty(), "nothing stays set aside: {:?}", shard.asides.list());
}

#[test]
fn an_alarm_that_was_there_first_is_explained_too_and_gas_is_never_touched() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    play(&mut shard, [plant(0.0, vec![face(), comm_loss()], &["t1", "t2"]), read(1.0, &[1, 2], 0.2)]);
    let first = play(&mut shard, ticks(2, 20));
    assert!(about(&first).contains(&("comm-loss", "mine.t1", "raised", "unacknowledged")), "{first:?}");
    let lost = play(&mut shard, [source(20.0, true)]);
    assert!(about(&lost).contains(&("comm-loss", "mine.t1", "set_aside", "suppressed")), "{lost:?}");
    // It may be heard another way, or its device answers for a moment: gas calls.
    let gas = play(&mut shard, [read(21.0, &[0], 1.5)]);
    let gas = about(&gas);
    assert!(gas.contains(&("methane-face", "mine.t1", "raised", "unacknowledged")), "{gas:?}");
}

#[test]
fn a_device_that_comes_and_goes_neither_doubles_nor_forgets() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    play(&mut shard, running(vec![comm_loss()]));
    play(&mut shard, [source(3.0, true)].into_iter().chain(ticks(4, 60)));
    // Back for a moment, and gone again: the children go on being explained, past the moment they would have returned.
    play(&mut shard, [source(60.0, false), Entry::Tick(at(61.0)), source(61.0, true)]);
    let meanwhile = play(&mut shard, ticks(62, 200));
    assert!(meanwhile.iter().all(|change| change.alarm.subject.as_ref() != "mine.t1"), "{meanwhile:?}");
    assert_eq!(shard.asides.list().len(), 2);
    assert!(shard.asides.list().iter().all(|aside| aside.until.is_none()));
}

#[test]
fn a_shelf_of_a_person_outlasts_the_lost_device() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    play(&mut shard, running(vec![comm_loss()]));
    play(&mut shard, ticks(2, 30));
    let shelf = Aside {
        id: "shelf-1".into(),
        way: Way::Shelved,
        rule: "comm-loss".into(),
        subject: "mine.t1".into(),
        by: "李".into(),
        approved_by: None,
        reason: "换线 / rewiring".into(),
        from: at(30.0),
        until: Some(at(600.0)),
        once: false,
    };
    let order = AsideNote { command: 3, order: Box::new(AsideOrder::Begin(shelf)) };
    play(&mut shard, [Entry::Note(Note::Aside(order)), source(31.0, true)].into_iter().chain(ticks(32, 40)));
    let back = play(&mut shard, [source(40.0, false)].into_iter().chain(ticks(40, 120)));
    let called: Vec<_> =
        back.iter().filter(|change| change.calls() && &*change.alarm.rule == "comm-loss").cloned().collect();
    // Of the first its shelf is told once more.
    assert_eq!(
        about(&called),
        [("comm-loss", "mine.t1", "set_aside", "shelved"), ("comm-loss", "mine.t2", "resumed", "unacknowledged")]
    );
}

/// Whoever takes the alarm of the device out of service must not silence forty sensors with it.
#[test]
fn a_lost_device_whose_alarm_is_out_of_service_explains_nothing() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    play(&mut shard, running(vec![comm_loss()]));
    play(&mut shard, [source(3.0, true)].into_iter().chain(ticks(4, 60)));
    assert_eq!(shard.asides.list().len(), 2);
    let out = Aside {
        id: "out-1".into(),
        way: Way::OutOfService,
        rule: DOWN.into(),
        subject: PLC.into(),
        by: "李".into(),
        approved_by: Some("王".into()),
        reason: "换柜 / new cabinet".into(),
        from: at(60.0),
        until: Some(at(300.0)),
        once: false,
    };
    let order = |order| Entry::Note(Note::Aside(AsideNote { command: 3, order: Box::new(order) }));
    let silenced = play(&mut shard, [order(AsideOrder::Begin(out))]);
    let resumed = |point| ("comm-loss", point, "resumed", "unacknowledged");
    assert_eq!(
        about(&silenced),
        [resumed("mine.t1"), resumed("mine.t2"), (DOWN, PLC, "set_aside", "out_of_service")],
        "they call at once"
    );
    // Nor after other rules, nor after a restart.
    play(&mut shard, [plant(61.0, vec![comm_loss()], &["t1", "t2"])]);
    let mut again = Shard::new(&language);
    again.resume(&shard.snapshot(&crate::response::Response::default())).unwrap();
    assert_eq!(about(&play(&mut again, ticks(62, 299))), []);
    // When it calls again, it explains again.
    let changes = play(&mut again, ticks(299, 302));
    let back = about(&changes).into_iter().filter(|row| row.0 != "davy-out-of-service");
    let explained = |point| ("comm-loss", point, "set_aside", "suppressed");
    assert_eq!(
        back.collect::<Vec<_>>(),
        [explained("mine.t1"), explained("mine.t2"), (DOWN, PLC, "resumed", "unacknowledged")]
    );
}

#[test]
fn other_points_and_rules_while_the_device_is_lost() {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    play(&mut shard, running(vec![comm_loss()]));
    play(&mut shard, [source(3.0, true)].into_iter().chain(ticks(4, 60)));
    // t2 moves to another device: what is no longer explained calls after its time, what still is does not.
    let moved = [plant(60.0, vec![comm_loss()], &["t1", "t3"])].into_iter().chain(ticks(61, 120));
    let moved = play(&mut shard, moved);
    assert_eq!(
        about(&moved),
        [("comm-loss", "mine.t2", "resumed", "unacknowledged"), ("comm-loss", "mine.t3", "set_aside", "suppressed")]
    );
    // The rule becomes one that must not be shelved: it is back at once.
    let fixed = lost_rule("comm-loss", "P3", ", shelvable: false");
    let changed = play(&mut shard, [plant(120.0, vec![fixed], &["t1", "t3"])]);
    let resumed = |point| ("comm-loss", point, "resumed", "unacknowledged");
    assert_eq!(about(&changed), [resumed("mine.t1"), resumed("mine.t3")]);
    assert!(shard.asides.list().is_empty());
}

fn steps() -> impl Strategy<Value = Vec<Entry>> {
    let step = prop_oneof![
        4 => (0_u32..3, 0.0_f64..1.5).prop_map(|(point, value)| (0, point, value)),
        6 => Just((1, 0, 0.0)),
        2 => (0_u32..2).prop_map(|lost| (2, lost, 0.0)),
        1 => (0_u32..3).prop_map(|which| (3, which, 0.0)),
    ];
    prop::collection::vec((step, 0_u64..9_000), 1..80).prop_map(|steps| {
        let mut entries = vec![plant(0.0, rules(), &["t1", "t2"])];
        let mut ms = 0;
        for ((what, which, value), pause) in steps {
            ms += pause;
            let seconds = ms as f64 / 1e3;
            entries.push(match what {
                0 => read(seconds, &[which], value),
                1 => Entry::Tick(at(seconds)),
                2 => source(seconds, which == 0),
                _ => plant(seconds, rules(), [&["t1", "t2"][..], &["t3"], &[]][which as usize]),
            });
        }
        entries
    })
}

proptest! {
    /// Whatever comes and goes in whatever order: gas calls, nothing is explained by a device that is long back, and a
    /// shard that was written down and resumed goes on like one that never stopped.
    #[test]
    fn nothing_stays_explained_and_a_restart_changes_nothing(entries in steps(), stop: prop::sample::Index) {
        let language = Language::new();
        let mut whole = Shard::new(&language);
        let expected = play(&mut whole, entries.clone());
        for change in &expected {
            prop_assert!(&*change.alarm.rule != "methane-face" || change.alarm.aside.is_none());
            prop_assert!(&*change.alarm.rule != "lost-urgent" || change.alarm.aside.is_none());
        }
        let stop = stop.index(entries.len());
        let mut first = Shard::new(&language);
        let mut changes = play(&mut first, entries[..stop].to_vec());
        let mut second = Shard::new(&language);
        second.resume(&first.snapshot(&crate::response::Response::default())).unwrap();
        changes.extend(play(&mut second, entries[stop..].to_vec()));
        prop_assert_eq!(changes, expected);
        let end = 800.0;
        let long_after = [source(end, false), Entry::Tick(at(end + 1.0)), Entry::Tick(at(end + 40.0)), Entry::Tick(at(end + 41.0))];
        play(&mut second, long_after);
        prop_assert!(second.asides.list().is_empty(), "{:?}", second.asides.list());
    }
}
