//! Chatter on a pure clock: what is shelved and what is not, and what no order of changes can bring about.

use proptest::prelude::*;

use super::*;
use crate::alarm::{AsideEnd, OccurrenceId};
use crate::model::{PointIndex, Quality};

/// Seconds after a Monday morning.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_secs(1_800_000_000 + seconds)
}

fn alarm(point: Option<u32>, raised: Timestamp) -> Alarm {
    let subject = format!("pit.t{}", point.unwrap_or(99));
    Alarm {
        id: OccurrenceId::of(&subject, "methane-face", raised),
        rule: "methane-face".into(),
        subject: subject.into(),
        point: point.map(PointIndex),
        site: "pit".into(),
        place: "3201".into(),
        title: "瓦斯超限 / methane".into(),
        advice: "撤人 / withdraw".into(),
        priority: Priority::P2,
        level: Level::Orange,
        standing: Standing::Unacknowledged,
        raised,
        received: raised,
        cleared: None,
        acknowledged: None,
        value: Some(1.2),
        worst: Some(1.2),
        limit: Some(1.0),
        unit: "%VOL".into(),
        quality: Quality::GOOD,
        raises: 1,
        held: false,
        closed: false,
        aside: None,
        together: None,
        exercise: crate::alarm::Exercised::No,
        detail: String::new(),
    }
}

/// The fold with an engine that shelves what it is told, but for points of an odd number.
#[derive(Clone, Default)]
struct Desk {
    storms: Storms,
    shelves: BTreeMap<String, Aside>,
    conditions: Vec<Condition>,
}

impl Desk {
    fn new() -> Self {
        let mut desk = Self::default();
        desk.storms.set_up(&Arc::new(Setup::of(Vec::new())));
        desk
    }

    fn settle(&mut self, mut out: Out) {
        for order in std::mem::take(&mut out.asides) {
            let AsideOrder::Begin(aside) = &order else { panic!("{order:?}") };
            assert!(aside.until.is_some_and(|until| until > aside.from), "a shelf has an end");
            let odd = aside.subject.ends_with(['1', '3', '5']);
            let refused = odd.then(|| AsideRefusal::Words("P1".into()));
            if refused.is_none() {
                assert!(self.shelves.insert(aside.id.clone(), aside.clone()).is_none(), "twice on the shelf");
            }
            self.storms.on_order(&order, refused.as_ref(), &mut out);
        }
        self.conditions.append(&mut out.conditions);
    }

    fn raise(&mut self, alarm: Alarm, happening: Happening, when: Timestamp) {
        let mut out = Out::default();
        self.storms.on_change(&AlarmChange { happening, at: when, alarm }, &mut out);
        self.settle(out);
    }

    fn raised(&mut self, point: u32, seconds: i64) {
        self.tick(seconds);
        self.raise(alarm(Some(point), at(seconds)), Happening::Raised, at(seconds));
    }

    fn unshelve(&mut self, id: &str, when: Timestamp) {
        let Some(aside) = self.shelves.remove(id) else { return };
        let end = AsideEnd { at: when, by: "davy".into(), reason: String::new() };
        let mut out = Out::default();
        self.storms.on_aside(&AsideFact { aside, end: Some(end) }, &mut out);
        self.settle(out);
    }

    /// The engine ends a shelf that is due before the response hears of the tick's changes.
    fn tick(&mut self, seconds: i64) {
        let mut out = Out::default();
        self.storms.on_tick(at(seconds), &mut out);
        self.settle(out);
        let due = |aside: &&Aside| aside.until.is_some_and(|until| until <= at(seconds));
        let over: Vec<String> = self.shelves.values().filter(due).map(|aside| aside.id.clone()).collect();
        over.iter().for_each(|id| self.unshelve(id, at(seconds)));
    }

    fn told(&self) -> Vec<(&str, bool)> {
        self.conditions.iter().map(|condition| (&*condition.subject, condition.holds)).collect()
    }
}

#[test]
fn three_raises_in_a_minute_shelve_it_for_half_an_hour_and_an_alarm_stands_as_long() {
    let mut desk = Desk::new();
    for seconds in [0, 25, 59] {
        assert!(desk.shelves.is_empty());
        desk.raised(2, seconds);
    }
    let shelf = &desk.shelves["chatter:methane-face:pit.t2"];
    assert_eq!((shelf.from, shelf.until, &*shelf.by), (at(59), Some(at(59 + 1_800)), "davy"));
    assert!(shelf.reason.contains("raised 3 times within 1m"), "{}", shelf.reason);
    assert_eq!(desk.told(), [("methane-face pit.t2", true)]);
    assert!(desk.conditions[0].title.contains("is shelved"));
    desk.tick(59 + 1_799);
    assert_eq!(desk.told().len(), 1);
    desk.tick(59 + 1_800);
    assert_eq!(desk.told()[1..], [("methane-face pit.t2", false)]);
    assert!(desk.shelves.is_empty());
}

#[test]
fn what_must_not_be_shelved_calls_on_and_the_alarm_says_so_once() {
    let mut desk = Desk::new();
    (0..12).for_each(|turn| desk.raised(1, turn * 5));
    assert!(desk.shelves.is_empty());
    assert_eq!(desk.told(), [("methane-face pit.t1", true)]);
    assert!(desk.conditions[0].title.contains("still calls"), "{}", desk.conditions[0].title);
    assert!(desk.conditions[0].detail.contains("P1"));
    desk.tick(1_810);
    assert_eq!(desk.told()[1..], [("methane-face pit.t1", false)]);
}

#[test]
fn slow_ones_backlogs_exercises_and_what_davy_says_of_itself_are_no_chatter() {
    let mut desk = Desk::new();
    (0..20).for_each(|turn| desk.raised(2, turn * 31));
    // An hour's backlog comes in at once, and the other way round: a clock that stands still.
    for turn in 0..6 {
        desk.raise(alarm(Some(4), at(700)), Happening::RaisedAgain, at(-3_600 + turn * 600));
        desk.tick(700 + turn * 60);
        desk.raise(alarm(Some(6), at(700 + turn * 60)), Happening::Raised, at(0));
    }
    for _ in 0..5 {
        let mut exercise = alarm(Some(2), at(2_000));
        exercise.quality = Quality::because(Reason::Exercise);
        desk.raise(exercise, Happening::Raised, at(2_000));
        desk.raise(alarm(None, at(2_000)), Happening::Raised, at(2_000));
        let shelved = Alarm { standing: Standing::Shelved, ..alarm(Some(8), at(2_000)) };
        desk.raise(shelved, Happening::RaisedAgain, at(2_000));
        desk.raise(alarm(Some(8), at(2_000)), Happening::Realarmed, at(2_000));
    }
    assert_eq!((desk.told().len(), desk.shelves.len()), (0, 0));
}

#[test]
fn somebody_who_ends_the_shelf_ends_the_alarm_about_it_and_it_is_counted_anew() {
    let mut desk = Desk::new();
    (0..3).for_each(|turn| desk.raised(2, turn));
    desk.unshelve("chatter:methane-face:pit.t2", at(5));
    assert_eq!(desk.told(), [("methane-face pit.t2", true), ("methane-face pit.t2", false)]);
    (6..8).for_each(|seconds| desk.raised(2, seconds));
    assert_eq!(desk.told().len(), 2);
    desk.raised(2, 8);
    assert_eq!(desk.told()[2..], [("methane-face pit.t2", true)]);
}

#[test]
fn without_a_snapshot_facts_tell_of_shelves_and_of_what_calls_on() {
    let mut desk = Desk::new();
    (0..3).for_each(|turn| desk.raised(2, turn));
    let aside = desk.shelves["chatter:methane-face:pit.t2"].clone();
    let about = |subject: &str| Alarm { rule: CHATTER.into(), subject: subject.into(), ..alarm(None, at(2)) };
    let mut again = Desk::new();
    again.storms.adopt(&[about("methane-face pit.t1"), about("methane-face pit.t2")], std::slice::from_ref(&aside));
    again.shelves.insert(aside.id.clone(), aside);
    (3..9).for_each(|seconds| [1, 2].iter().for_each(|point| again.raised(*point, seconds)));
    assert_eq!(again.told(), [], "both are known already");
    again.tick(2 + 1_800);
    assert_eq!(again.told(), [("methane-face pit.t1", false), ("methane-face pit.t2", false)]);
}

proptest! {
    /// Through any raises, ticks, early ends and a clock that is set back: an alarm about each shelf and only as
    /// long, nothing is kept of what is long past, and a restart in the middle changes nothing.
    #[test]
    fn a_restart_changes_nothing_and_every_shelf_has_its_alarm(
        turns in prop::collection::vec((0_u32..6, -40_i64..90, 0_u8..8), 1..200),
        cut in 0_usize..200,
    ) {
        let mut desk = Desk::new();
        let mut other: Option<Desk> = None;
        let mut now = 0;
        for (place, (point, step, what)) in turns.into_iter().enumerate() {
            if place == cut {
                let mut again = desk.clone();
                let bytes = postcard::to_stdvec(&desk.storms).unwrap();
                again.storms = postcard::from_bytes(&bytes).unwrap();
                again.storms.set_up(&Arc::new(Setup::of(Vec::new())));
                other = Some(again);
            }
            now += step;
            for desk in [Some(&mut desk), other.as_mut()].into_iter().flatten() {
                match what {
                    0 => desk.unshelve(&format!("chatter:methane-face:pit.t{point}"), at(now)),
                    1 => desk.tick(now),
                    _ if desk.shelves.contains_key(&format!("chatter:methane-face:pit.t{point}")) => desk.tick(now),
                    _ => desk.raised(point, now),
                }
                let mut standing = BTreeSet::new();
                for (subject, holds) in desk.told() {
                    let turned = if holds { standing.insert(subject) } else { standing.remove(subject) };
                    prop_assert!(turned, "{subject} twice");
                }
                for shelf in desk.shelves.values() {
                    prop_assert!(standing.contains(&*format!("{} {}", shelf.rule, shelf.subject)), "{shelf:?}");
                }
            }
        }
        if let Some(mut other) = other {
            desk.tick(now + 4_000);
            other.tick(now + 4_000);
            prop_assert_eq!(&desk.conditions, &other.conditions);
            prop_assert_eq!(&desk.shelves, &other.shelves);
        }
        desk.tick(now + 20_000);
        let (held, over): (Vec<_>, Vec<_>) = desk.told().into_iter().partition(|(_, holds)| *holds);
        prop_assert_eq!(held.len(), over.len());
        let Storms { recent, lasting, fades, ends, .. } = &desk.storms;
        prop_assert_eq!((recent.len(), lasting.len(), fades.len(), ends.len()), (0, 0, 0, 0));
    }
}
