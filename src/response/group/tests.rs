//! First-out on a pure clock: who joins whom, which comes first whatever arrives first, and what a restart keeps.

use proptest::prelude::*;

use super::*;
use crate::alarm::{Acknowledgement, Priority};
use crate::model::{Kind, Point, PointIndex, Quality};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_secs(1_800_000_000 + seconds)
}

fn point(id: &str, site: &str, kind: Kind) -> Point {
    let text = serde_json::json!({
        "id": id, "site": site, "name": id, "kind": kind, "place": "T1", "unit": "", "range": null, "resolution": 0.01,
        "period": Duration::from_secs(5), "limits": {}, "coordinates": null, "static_risk": 0, "retired": false,
    });
    serde_json::from_value(text).unwrap()
}

/// `t0` to `t5` of the pit are methane, `f6` is a fan there, `w7` is water, and `t8`, `t9` are another mine's.
fn setup(grouping: Option<Grouping>) -> Arc<Setup> {
    let kinds = [Kind::Methane; 6].into_iter().chain([Kind::Fan, Kind::WaterLevel, Kind::Methane, Kind::Methane]);
    let points = kinds.zip(0..).map(|(kind, number)| {
        let site = if number < 8 { "pit" } else { "other" };
        point(&format!("t{number}"), site, kind)
    });
    let mut setup = Setup::of(points.collect::<Vec<Point>>());
    setup.storm.group = grouping;
    Arc::new(setup)
}

fn alarm(point: u32, raised: i64, received: i64) -> Alarm {
    let subject = format!("t{point}");
    Alarm {
        id: OccurrenceId::of(&subject, "gas", at(raised)),
        rule: "gas".into(),
        subject: subject.as_str().into(),
        point: Some(PointIndex(point)),
        site: if point < 8 { "pit".into() } else { "other".into() },
        priority: Priority::P2,
        quality: Quality::GOOD,
        raised: at(raised),
        received: at(received),
        ..crate::notify::Message::example().published.change.alarm.clone()
    }
}

struct Desk {
    groups: Groups,
    /// As facts would have them.
    rows: BTreeMap<OccurrenceId, Group>,
    open: BTreeMap<OccurrenceId, Alarm>,
}

impl Desk {
    fn new() -> Self {
        Self::under(Grouping::usual())
    }

    fn under(grouping: Option<Grouping>) -> Self {
        let mut groups = Groups::default();
        groups.set_up(&setup(grouping), ["broken".into()].into());
        Self { groups, rows: BTreeMap::new(), open: BTreeMap::new() }
    }

    /// The alarm as it leaves.
    fn change(&mut self, happening: Happening, alarm: Alarm) -> Alarm {
        let before = alarm.clone();
        let mut change = AlarmChange { happening, at: alarm.raised, alarm };
        let mut out = Out::default();
        self.groups.mark(&mut change, &mut out);
        for effect in out.effects {
            if let Effect::Group(group) = effect {
                self.rows.insert(group.id.clone(), *group);
            }
        }
        self.groups.settle();
        let bare = Alarm { together: before.together.clone(), ..change.alarm.clone() };
        assert_eq!(bare, before, "nothing but the names is touched");
        if change.alarm.standing == Standing::Normal {
            self.open.remove(&change.alarm.id);
        } else {
            self.open.insert(change.alarm.id.clone(), change.alarm.clone());
        }
        change.alarm
    }

    fn raised(&mut self, point: u32, raised: i64) -> Alarm {
        self.change(Happening::Raised, alarm(point, raised, raised))
    }

    fn over(&mut self, alarm: &Alarm) -> Alarm {
        self.change(Happening::Cleared, Alarm { standing: Standing::Normal, ..alarm.clone() })
    }

    /// A start without a snapshot: what readers of facts see.
    fn adopted(&self) -> Self {
        let mut again = Self::new();
        let of_row = |alarm: &Alarm| {
            let row = alarm.together.as_ref().and_then(|together| self.rows.get(&together.group));
            let together = row.map(|group| Box::new(group.together())).or_else(|| alarm.together.clone());
            Alarm { together, ..alarm.clone() }
        };
        let open: Vec<Alarm> = self.open.values().map(of_row).collect();
        let groups = self.rows.values().filter(|row| {
            open.iter().any(|alarm| alarm.together.as_ref().is_some_and(|together| together.group == row.id))
        });
        again.groups.adopt(&open, groups.cloned().collect());
        (again.rows, again.open) = (self.rows.clone(), self.open.clone());
        again
    }
}

fn first_of(alarm: &Alarm) -> (&str, u32) {
    let together = alarm.together.as_ref().unwrap();
    (&together.first.subject, together.alarms)
}

#[test]
fn the_first_is_marked_and_those_after_it_name_it() {
    let mut desk = Desk::new();
    let fan = desk.raised(6, 0);
    assert!(fan.first_out());
    let (one, two) = (desk.raised(1, 40), desk.raised(2, 640));
    assert_eq!((first_of(&one), first_of(&two)), (("t6", 2), ("t6", 3)), "air and gas have one cause");
    assert!(!two.first_out());
    assert_eq!(two.after().unwrap().id, fan.id);
    // It stays the first-out, whatever becomes of it; a later change of it tells how many came after it.
    assert_eq!(first_of(&desk.over(&fan)), ("t6", 3));
    assert_eq!(first_of(&desk.raised(3, 700)), ("t6", 4));
}

#[test]
fn other_sites_fields_sensors_and_what_was_asked_for_in_advance_are_apart() {
    let mut desk = Desk::new();
    desk.raised(1, 0);
    let mut broken = alarm(2, 5, 5);
    (broken.rule, broken.id) = ("broken".into(), OccurrenceId::named("broken"));
    let marked = |reason| Alarm { quality: Quality::because(reason), ..alarm(3, 5, 5) };
    for lone in [alarm(7, 5, 5), alarm(8, 5, 5), broken, marked(Reason::Exercise)] {
        let lone = desk.change(Happening::Raised, lone);
        assert_eq!(first_of(&lone), (&*lone.subject, 1));
    }
    let planned = Alarm { id: OccurrenceId::named("planned"), ..marked(Reason::Maintenance) };
    assert!(desk.change(Happening::Raised, planned).first_out());
    assert_eq!(first_of(&desk.raised(4, 6)), ("t1", 2));
    let davys_own = Alarm { point: None, ..alarm(1, 7, 7) };
    assert_eq!(desk.change(Happening::Raised, davys_own).together, None);

    let site = Grouping { whole_site: true, ..Grouping::usual().unwrap() };
    let mut desk = Desk::under(Some(site));
    desk.raised(1, 0);
    assert_eq!(first_of(&desk.raised(7, 5)), ("t1", 2));
    assert_eq!(Desk::under(None).raised(1, 0).together, None);
}

#[test]
fn a_gap_or_the_end_of_all_of_them_ends_a_group() {
    let mut desk = Desk::new();
    let first = desk.raised(1, 0);
    assert_eq!(first_of(&desk.raised(2, 601)), ("t2", 1), "the gap is over");
    desk.over(&first);
    assert_eq!(first_of(&desk.raised(3, 700)), ("t2", 2));
    let mut desk = Desk::new();
    let first = desk.raised(1, 0);
    let seen = desk.change(Happening::Acknowledged, Alarm { standing: Standing::Acknowledged, ..first });
    assert!(desk.raised(2, 10).after().is_some());
    let second = desk.open.values().find(|alarm| &*alarm.subject == "t2").cloned().unwrap();
    desk.over(&seen);
    desk.over(&second);
    assert_eq!(first_of(&desk.raised(3, 20)), ("t3", 1));
}

#[test]
fn event_time_decides_and_for_a_minute_the_mark_may_move() {
    let mut desk = Desk::new();
    let arrived_first = desk.change(Happening::Raised, alarm(1, 30, 31));
    assert!(arrived_first.first_out());
    let earlier = desk.change(Happening::Raised, alarm(2, 10, 85));
    assert_eq!(first_of(&earlier), ("t2", 2), "it was first by event time");
    assert_eq!(earlier.together.as_ref().unwrap().group, arrived_first.id, "the group is the same");
    let told_again = desk.change(Happening::RaisedAgain, Alarm { raises: 2, ..arrived_first });
    assert_eq!(told_again.after().unwrap().id, earlier.id);
    let too_late = desk.change(Happening::Raised, alarm(3, 5, 95));
    assert_eq!(first_of(&too_late), ("t2", 3), "a minute after the group began the mark stays");
    // At the same moment the id decides, whichever came first.
    let (mut one, mut other) = (alarm(4, 0, 0), alarm(5, 0, 0));
    (one.id, other.id) = (OccurrenceId::named("a"), OccurrenceId::named("b"));
    for order in [[&one, &other], [&other, &one]] {
        let mut desk = Desk::new();
        order.into_iter().for_each(|alarm| drop(desk.change(Happening::Raised, alarm.clone())));
        assert_eq!(desk.rows.values().next().unwrap().first.id, one.id);
    }
    // A clock that is wrong does not make itself the first.
    let wrong = Alarm { quality: Quality::because(Reason::ClockWrong), ..alarm(4, -500, 40) };
    let mut desk = Desk::new();
    desk.raised(1, 30);
    assert_eq!(first_of(&desk.change(Happening::Raised, wrong)), ("t1", 2));
}

#[test]
fn what_is_set_aside_is_no_first_out_until_it_calls() {
    let mut desk = Desk::new();
    let shelved = Alarm { standing: Standing::Shelved, ..alarm(1, 0, 0) };
    let shelved = desk.change(Happening::Raised, shelved);
    assert_eq!(shelved.together, None);
    desk.raised(2, 60);
    let back =
        desk.change(Happening::Resumed, Alarm { standing: Standing::Unacknowledged, received: at(300), ..shelved });
    assert_eq!(first_of(&back), ("t2", 2));
}

#[test]
fn an_answer_has_the_marks_of_the_alarm_that_it_tells_of() {
    let mut desk = Desk::new();
    desk.raised(1, 0);
    let second = desk.raised(2, 5);
    let bare = Alarm { together: None, ..second.clone() };
    let mut answer = Answer::Acknowledged(Alarm {
        acknowledged: Some(Acknowledgement { by: "li".into(), at: at(9), comment: String::new() }),
        ..bare
    });
    desk.groups.mark_answer(&mut answer);
    assert_eq!(answer.alarm_mut().unwrap().together, second.together);
}

proptest! {
    /// Through any raises, ends and late arrivals: a snapshot in the middle and a start from facts change nothing,
    /// the first-out of a group is the earliest of what came within its minute, and nothing is kept of what is over.
    #[test]
    fn a_restart_changes_nothing_and_the_earliest_is_the_first_out(
        turns in prop::collection::vec((0_u32..8, 0_i64..400, 0_i64..90, 0_u8..4), 1..80),
        cut in 0_usize..80,
    ) {
        let mut desks = vec![Desk::new()];
        let mut now = 0;
        let mut told: Vec<Vec<Alarm>> = vec![Vec::new()];
        for (place, (point, step, late, what)) in turns.into_iter().enumerate() {
            if place == cut {
                let mut resumed = Desk::new();
                let bytes = postcard::to_stdvec(&desks[0].groups).unwrap();
                resumed.groups = postcard::from_bytes(&bytes).unwrap();
                resumed.groups.set_up(&setup(Grouping::usual()), ["broken".into()].into());
                (resumed.rows, resumed.open) = (desks[0].rows.clone(), desks[0].open.clone());
                let adopted = desks[0].adopted();
                desks.extend([resumed, adopted]);
                told.extend([Vec::new(), Vec::new()]);
            }
            now += step;
            for (desk, told) in desks.iter_mut().zip(&mut told) {
                let known = desk.open.values().find(|alarm| alarm.point == Some(PointIndex(point))).cloned();
                let bare = |alarm: Alarm| Alarm { together: None, ..alarm };
                let changed = match (known, what) {
                    (Some(alarm), 0 | 1) => desk.over(&bare(alarm)),
                    (Some(alarm), _) => desk.change(Happening::RaisedAgain, bare(alarm)),
                    (None, _) => desk.change(Happening::Raised, alarm(point, now - late, now)),
                };
                told.push(changed);
            }
        }
        for (desk, told_since) in desks.iter().zip(&told).skip(1) {
            let since = told[0].len() - told_since.len();
            prop_assert_eq!(&told[0][since..], &told_since[..]);
            prop_assert_eq!(&desks[0].rows, &desk.rows);
        }
        for group in desks[0].rows.values() {
            let of_group = told[0].iter().filter(|alarm| {
                alarm.together.as_ref().is_some_and(|together| together.group == group.id)
            });
            let in_time = of_group.filter(|alarm| alarm.received.since(group.began) <= SETTLES);
            let earliest = in_time.map(|alarm| (alarm.raised, alarm.id.clone())).min().unwrap();
            prop_assert_eq!(&earliest.1, &group.first.id);
        }
        let desk = &mut desks[0];
        for alarm in desk.open.values().cloned().collect::<Vec<_>>() {
            desk.over(&alarm);
        }
        let Groups { groups, newest, members, .. } = &desk.groups;
        prop_assert_eq!((groups.len(), newest.len(), members.len()), (0, 0, 0));
    }
}
