//! Cases on a pure clock: the way of one from alarm to settled, its limits by the minute, and what no order of
//! steps can bring about.

use proptest::prelude::*;

use super::*;
use crate::alarm::{Acknowledgement, Happening, Level, Priority};
use crate::journal::Condition;
use crate::model::{Kind, Point, PointIndex, Quality};

/// Minutes after a Monday morning.
fn at(minutes: i64) -> Timestamp {
    Timestamp::from_secs(1_800_000_000 + minutes * 60)
}

fn point(id: &str) -> Point {
    Point {
        id: id.into(),
        site: "pit".into(),
        name: id.into(),
        kind: Kind::Methane,
        place: "T1".into(),
        unit: "%VOL".into(),
        range: None,
        resolution: 0.01,
        period: std::time::Duration::from_secs(5),
        limits: BTreeMap::default(),
        coordinates: None,
        static_risk: 0,
        calibrate_every: None,
        relations: BTreeMap::new(),
        retired: false,
    }
}

fn alarm(point: u32, raised: Timestamp) -> Alarm {
    let subject = format!("pit.t{point}");
    Alarm {
        id: OccurrenceId::of(&subject, "methane-face", raised),
        rule: "methane-face".into(),
        subject: subject.into(),
        point: Some(PointIndex(point)),
        site: "pit".into(),
        place: "3201".into(),
        title: "瓦斯超限 / methane".into(),
        advice: "撤人 / withdraw".into(),
        priority: Priority::P1,
        level: Level::Red,
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

/// A fold, and everything that came out of it.
#[derive(Default)]
struct Desk {
    cases: Cases,
    facts: Vec<CaseFact>,
    conditions: Vec<Condition>,
    answers: Vec<Result<Case, CaseRefusal>>,
}

impl Desk {
    fn new(policy: Policy) -> Self {
        let points: Vec<Point> = (0..4).map(|number| point(&format!("pit.t{number}"))).collect();
        let mut desk = Self::default();
        desk.cases.set_up(&Arc::new(Setup { cases: policy, ..Setup::of(points) }));
        desk
    }

    fn take(&mut self, out: Out) {
        self.conditions.extend(out.conditions);
        for effect in out.effects {
            if let Effect::Case(fact) = effect {
                self.facts.push(*fact);
            } else if let Effect::Answered { answer: Answer::Case(outcome), .. } = effect {
                self.answers.push(*outcome);
            }
        }
    }

    fn change(&mut self, happening: Happening, at: Timestamp, alarm: &Alarm) {
        let mut out = Out::default();
        self.cases.on_change(&AlarmChange { happening, at, alarm: alarm.clone() }, &mut out);
        self.take(out);
    }

    fn raise(&mut self, point: u32, at: Timestamp) -> Alarm {
        let alarm = alarm(point, at);
        self.tick(at);
        self.change(Happening::Raised, at, &alarm);
        alarm
    }

    fn acknowledge(&mut self, alarm: &mut Alarm, at: Timestamp, by: &str) {
        alarm.acknowledged = Some(Acknowledgement { by: by.into(), at, comment: String::new() });
        alarm.standing = if alarm.cleared.is_some() { Standing::Normal } else { Standing::Acknowledged };
        self.change(Happening::Acknowledged, at, alarm);
    }

    fn clear(&mut self, alarm: &mut Alarm, at: Timestamp) {
        let seen = alarm.acknowledged.is_some();
        alarm.standing = if seen { Standing::Normal } else { Standing::ReturnedUnacknowledged };
        alarm.cleared = Some(at);
        self.change(Happening::Cleared, at, alarm);
    }

    fn tick(&mut self, now: Timestamp) {
        let mut out = Out::default();
        self.cases.on_tick(now, &mut out);
        self.take(out);
    }

    fn step(&mut self, step: CaseStep) -> Result<Case, CaseRefusal> {
        let mut out = Out::default();
        self.cases.on_step(&step, &mut out);
        self.take(out);
        self.answers.last().cloned().unwrap()
    }

    fn case(&self, number: u64) -> &Case {
        self.cases.all().find(|case| case.number == number).unwrap()
    }

    /// Conditions in the order in which they were told: what, and whether it holds.
    fn told(&mut self) -> Vec<(String, bool)> {
        self.conditions.drain(..).map(|one| (one.rule.trim_start_matches(OWN).to_owned(), one.holds)).collect()
    }
}

fn order(case: &str, at: Timestamp, by: &str) -> Order {
    Order { command: 1, case: case.into(), at, by: by.into() }
}

fn answered(case: &str, at: Timestamp, by: &str) -> CaseStep {
    let answer = Answered { by: by.into(), at, with: "老张".into(), means: Means::Phone, words: "撤人".into() };
    CaseStep::Answered { order: order(case, at, by), answer }
}

fn handled(case: &str, at: Timestamp, by: &str) -> CaseStep {
    let handling = Handling {
        owner: Some(by.into()),
        class: Some(CauseClass::Ventilation),
        cause: Some("风筒脱落".into()),
        measure: Some("接好风筒".into()),
        ..Handling::default()
    };
    CaseStep::Handled { order: order(case, at, by), handling: Box::new(handling) }
}

fn verified(case: &str, at: Timestamp, by: &str) -> CaseStep {
    CaseStep::Verified { order: order(case, at, by), accepted: true, words: String::new() }
}

fn closed(case: &str, at: Timestamp, by: &str) -> CaseStep {
    CaseStep::Closed { order: order(case, at, by), words: String::new() }
}

fn calm() -> Policy {
    Policy { supervise: Supervise { from_priority: None, ..Policy::default().supervise }, ..Policy::default() }
}

/// From raised at minute 0 to closed at minute 9.
fn settle(desk: &mut Desk, point: u32, from: i64, id: &str) {
    let mut alarm = desk.raise(point, at(from));
    desk.acknowledge(&mut alarm, at(from + 1), "Li");
    desk.step(answered(id, at(from + 2), "Li")).unwrap();
    desk.step(handled(id, at(from + 3), "Wang")).unwrap();
    desk.clear(&mut alarm, at(from + 4));
    desk.step(verified(id, at(from + 5), "Zhao")).unwrap();
    desk.step(closed(id, at(from + 9), "Zhao")).unwrap();
}

#[test]
fn three_people_settle_an_alarm_and_every_step_before_its_time_says_what_is_missing() {
    let mut desk = Desk::new(calm());
    let mut alarm = desk.raise(1, at(0));
    let stage = |desk: &Desk| desk.case(1).stage(&calm());
    assert_eq!(stage(&desk), Stage::Open);
    let Err(CaseRefusal::Missing(missing)) = desk.step(closed("case-1", at(0), "Li")) else { panic!() };
    assert_eq!(missing[..3], [Missing::Acknowledgement, Missing::Answer, Missing::Owner]);
    desk.acknowledge(&mut alarm, at(1), "Li");
    assert_eq!(stage(&desk), Stage::Acknowledged);
    // By the occurrence as well as by the number.
    desk.step(answered(alarm.id.as_str(), at(2), "Li")).unwrap();
    assert_eq!(stage(&desk), Stage::Answered);
    desk.step(handled("case-1", at(3), "Wang")).unwrap();
    assert_eq!(stage(&desk), Stage::Handling);
    let still = desk.step(verified("case-1", at(4), "Zhao"));
    assert_eq!(still, Err(CaseRefusal::Missing(vec![Missing::AlarmOver])));
    desk.clear(&mut alarm, at(5));
    let own = desk.step(verified("case-1", at(6), " wang "));
    assert!(matches!(own, Err(CaseRefusal::Words(words)) if words.contains("another person")));
    desk.step(verified("case-1", at(7), "Zhao")).unwrap();
    let done = desk.step(closed("case-1", at(8), "Zhao")).unwrap();
    assert_eq!((done.stage(&calm()), done.missing(&calm())), (Stage::Closed, vec![]));
    assert!(matches!(desk.step(handled("case-1", at(9), "Wang")), Err(CaseRefusal::Words(_))));
    assert_eq!(desk.step(closed("case-7", at(9), "Wang")), Err(CaseRefusal::NoSuch));
    let words: Vec<&str> = desk.facts.iter().map(|fact| fact.step.word).collect();
    assert_eq!(words, ["opened", "acknowledged", "answered", "handled", "over", "verified", "closed"]);
    assert!(desk.told().is_empty());
}

#[test]
fn limits_run_out_at_their_minute_are_told_once_and_end_when_it_is_done() {
    let mut desk = Desk::new(calm());
    let mut alarm = desk.raise(1, at(0));
    desk.acknowledge(&mut alarm, at(1), "Li");
    desk.tick(at(10) - std::time::Duration::from_millis(500));
    assert!(desk.told().is_empty());
    desk.tick(at(10));
    desk.tick(at(11));
    assert_eq!(desk.told(), [("answer".to_owned(), true)], "P1: 10 minutes");
    desk.step(answered("case-1", at(12), "Li")).unwrap();
    assert_eq!(desk.told(), [("answer".to_owned(), false)]);
    desk.tick(at(41));
    assert!(desk.told().is_empty());
    desk.tick(at(42));
    assert_eq!(desk.told(), [("update".to_owned(), true)], "30 minutes after the newest word");
    desk.step(CaseStep::Updated { order: order("case-1", at(43), "Wang"), text: "1.1 %".into() }).unwrap();
    assert_eq!(desk.told(), [("update".to_owned(), false)]);
    desk.tick(at(73));
    assert_eq!(desk.told(), [("update".to_owned(), true)], "and again");
    desk.clear(&mut alarm, at(74));
    desk.step(handled("case-1", at(75), "Wang")).unwrap();
    assert_eq!(desk.told(), [("update".to_owned(), false)], "over and handled: nobody has to say more");
    desk.tick(at(24 * 60));
    assert_eq!(desk.told(), [("close".to_owned(), true)], "P1: 24 hours");
    desk.step(verified("case-1", at(24 * 60 + 1), "Zhao")).unwrap();
    desk.step(closed("case-1", at(24 * 60 + 2), "Zhao")).unwrap();
    assert_eq!(desk.told(), [("close".to_owned(), false)]);
    assert_eq!(desk.case(1).times_missed, 4);
    desk.tick(at(48 * 60 + 2));
    assert_eq!(desk.cases.all().count(), 0, "nothing that can no longer come back is kept");
    assert!(desk.cases.by_alarm.is_empty() && desk.cases.by_source.is_empty() && desk.cases.next.is_empty());
}

#[test]
fn a_clock_that_is_set_back_gives_nobody_more_time() {
    let mut desk = Desk::new(calm());
    desk.tick(at(0));
    desk.raise(1, at(0));
    desk.tick(at(4));
    // Two hours: by the clock on the wall the alarm has not come yet.
    desk.tick(at(-116));
    desk.tick(at(-111));
    assert_eq!(desk.told(), []);
    desk.tick(at(-110));
    assert_eq!(desk.told(), [("answer".to_owned(), true)], "ten minutes after it was raised");
}

/// An area of points alone counts as one of sites does; one of class B halves nothing.
#[test]
fn in_areas_of_class_c_and_d_every_time_of_a_case_is_halved() {
    use crate::model::{Area, AreaKind, Class, Duty};
    let area = |class, sites: &[&str], points: &[&str]| {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Area { kind: AreaKind::Site, sites: list(sites), points: list(points), class: Some(class) }
    };
    let (by_site, by_point) = (area(Class::C, &["p*"], &[]), area(Class::D, &[], &["pit.t1"]));
    for (area, halved) in [(by_site, true), (by_point, true), (area(Class::B, &["p*"], &["pit.t1"]), false)] {
        let mut desk = Desk::default();
        let points: Vec<Point> = (0..4).map(|number| point(&format!("pit.t{number}"))).collect();
        let duty = Duty { areas: [("pit".to_owned(), area)].into(), ..Duty::default() };
        desk.cases.set_up(&Arc::new(Setup { cases: calm(), duty, ..Setup::of(points) }));
        let mut alarm = desk.raise(1, at(0));
        let half = |minutes: i64| if halved { minutes / 2 } else { minutes };
        desk.tick(at(half(10) - 1));
        assert_eq!(desk.told(), []);
        desk.tick(at(half(10)));
        assert_eq!(desk.told(), [("answer".to_owned(), true)]);
        desk.acknowledge(&mut alarm, at(half(10)), "Li");
        desk.tick(at(half(10) + half(30) - 1));
        assert_eq!(desk.told(), []);
        desk.tick(at(half(10) + half(30)));
        assert_eq!(desk.told(), [("update".to_owned(), true)]);
        desk.tick(at(half(24 * 60) - 1));
        assert_eq!(desk.told(), []);
        desk.tick(at(half(24 * 60)));
        assert_eq!(desk.told(), [("close".to_owned(), true)]);
    }
}

#[test]
fn the_same_again_within_a_day_reopens_the_case_and_later_it_is_a_new_one() {
    let mut desk = Desk::new(calm());
    settle(&mut desk, 1, 0, "case-1");
    let mut again = desk.raise(1, at(60));
    let case = desk.case(1);
    assert_eq!((case.stage(&calm()), case.episodes, case.reopened), (Stage::Open, 2, 1));
    assert!(case.answers.is_empty() && case.verified.is_none(), "it is spoken of and verified anew");
    desk.tick(at(70));
    assert_eq!(desk.told(), [("answer".to_owned(), true)], "the limits begin anew");
    desk.acknowledge(&mut again, at(71), "Li");
    desk.step(answered("case-1", at(71), "Li")).unwrap();
    desk.step(handled("case-1", at(72), "Wang")).unwrap();
    desk.clear(&mut again, at(73));
    desk.step(verified("case-1", at(74), "Zhao")).unwrap();
    desk.step(closed("case-1", at(75), "Zhao")).unwrap();
    desk.tick(at(75 + 24 * 60));
    desk.raise(1, at(76 + 24 * 60));
    assert_eq!(desk.case(2).episodes, 1);
}

#[test]
fn an_intermittent_series_is_one_case_and_short_gaps_are_one_episode() {
    let mut desk = Desk::new(calm());
    for minute in [0, 5, 30] {
        let mut alarm = desk.raise(1, at(minute));
        desk.acknowledge(&mut alarm, at(minute), "Li");
        desk.clear(&mut alarm, at(minute + 1));
    }
    let case = desk.case(1);
    assert_eq!((desk.cases.all().count(), case.alarms.len(), case.episodes), (1, 3, 2));
}

#[test]
fn three_episodes_in_a_day_come_under_supervision_and_only_its_role_signs_off() {
    let mut desk = Desk::new(Policy::default());
    for minute in [0, 20, 40] {
        assert!(desk.told().is_empty());
        let mut alarm = desk.raise(1, at(minute));
        desk.acknowledge(&mut alarm, at(minute), "Li");
        desk.clear(&mut alarm, at(minute + 1));
        desk.step(answered("case-1", at(minute + 1), "Li")).unwrap();
    }
    assert_eq!(desk.told(), [("supervised".to_owned(), true), ("supervised".to_owned(), false)]);
    assert!(desk.case(1).is_supervised());
    desk.step(handled("case-1", at(50), "Wang")).unwrap();
    let five = desk.step(verified("case-1", at(51), "Zhao"));
    assert_eq!(five, Err(CaseRefusal::Missing(vec![Missing::Money, Missing::Deadline, Missing::Plan])));
    let rest = Handling {
        money: Some("2 万元".into()),
        deadline: Some(at(3_000)),
        plan: Some("应急预案 3".into()),
        ..Handling::default()
    };
    desk.step(CaseStep::Handled { order: order("case-1", at(52), "Wang"), handling: Box::new(rest) }).unwrap();
    desk.step(verified("case-1", at(53), "Zhao")).unwrap();
    let early = desk.step(closed("case-1", at(54), "Zhao"));
    assert_eq!(early, Err(CaseRefusal::Missing(vec![Missing::SuperviseSignOff, Missing::Closing])));
    let sign = |role: &str, by: &str| CaseStep::SignedOff {
        order: order("case-1", at(55), by),
        demand: Demand::Supervision,
        role: role.into(),
        words: "ok".into(),
    };
    assert!(desk.step(sign("operator", "Chen")).is_err());
    assert!(desk.step(sign("safety-approver", "Wang")).is_err(), "whoever handled it does not sign");
    desk.tick(at(40) + Policy::default().supervise.deadline);
    assert!(desk.told().contains(&("sign-off".to_owned(), true)), "the supervision has a deadline of its own");
    desk.step(sign("safety-approver", "Chen")).unwrap();
    desk.step(closed("case-1", at(56), "Zhao")).unwrap();
}

#[test]
fn ten_minutes_over_in_all_come_under_supervision_at_the_tenth() {
    let mut desk = Desk::new(Policy::default());
    let mut alarm = desk.raise(1, at(0));
    desk.acknowledge(&mut alarm, at(1), "Li");
    desk.clear(&mut alarm, at(4));
    desk.step(answered("case-1", at(5), "Li")).unwrap();
    desk.raise(1, at(20));
    desk.tick(at(26) - std::time::Duration::from_millis(500));
    assert!(desk.told().is_empty());
    desk.tick(at(26));
    assert_eq!(desk.told()[0], ("supervised".to_owned(), true));
}

#[test]
fn methane_of_three_percent_waits_for_the_regulator() {
    let mut desk = Desk::new(calm());
    let mut alarm = desk.raise(1, at(0));
    alarm.worst = Some(3.1);
    desk.acknowledge(&mut alarm, at(1), "Li");
    desk.clear(&mut alarm, at(2));
    desk.step(answered("case-1", at(2), "Li")).unwrap();
    desk.step(handled("case-1", at(3), "Wang")).unwrap();
    desk.step(verified("case-1", at(4), "Zhao")).unwrap();
    let early = desk.step(closed("case-1", at(5), "Zhao"));
    assert_eq!(early, Err(CaseRefusal::Missing(vec![Missing::RestartSignOff, Missing::Closing])));
}

#[test]
fn one_cause_is_one_case_by_rule_or_by_a_person() {
    let join =
        Join { name: "power".into(), rules: vec!["methane-*".into()], within: std::time::Duration::from_secs(60) };
    let mut desk = Desk::new(Policy { join: vec![join], ..calm() });
    desk.raise(1, at(0));
    desk.raise(2, at(1));
    assert_eq!((desk.cases.all().count(), desk.case(1).alarms.len()), (1, 2));
    let other = desk.raise(3, at(3));
    assert_eq!(desk.cases.all().count(), 2);
    desk.step(answered("case-2", at(4), "Li")).unwrap();
    let into = |into: &str| CaseStep::Joined {
        order: order("case-2", at(5), "Li"),
        into: into.into(),
        reason: "同一停电".into(),
    };
    assert!(desk.step(into("case-2")).is_err());
    let one = desk.step(into("case-1")).unwrap();
    assert_eq!((one.alarms.len(), one.answers.len(), one.number), (3, 1, 1));
    assert_eq!(desk.cases.of_alarm(&other.id).map(|case| case.number), Some(1));
    assert!(desk.facts.iter().any(|fact| fact.case.number == 2 && fact.case.joined == Some(1)));
    assert_eq!(desk.step(closed("case-2", at(6), "Li")), Err(CaseRefusal::NoSuch));
}

#[test]
fn a_person_says_that_a_case_had_a_cause_of_its_own_or_that_of_another_one() {
    let mut desk = Desk::new(calm());
    (1..=3).for_each(|point| drop(desk.raise(point, at(i64::from(point)))));
    let counted = |desk: &Desk, number: u64| desk.case(number).counted_by().unwrap().to_string();
    let first = counted(&desk, 1);
    assert_ne!(counted(&desk, 2), first, "without a group each is by itself");
    let cause = |case: &str, of: Option<&str>| CaseStep::Cause {
        order: order(case, at(5), "Li"),
        of: of.map(str::to_owned),
        reason: "同一停电".into(),
    };
    let before = desk.case(2).clone();
    let after = desk.step(cause("case-2", Some("case-1"))).unwrap();
    assert_eq!(counted(&desk, 2), first);
    assert_eq!(Case { cause: None, ..after }, before, "nothing else changes");
    assert!(desk.facts.iter().any(|fact| fact.step.word == "cause" && fact.step.by == "Li"));
    desk.step(cause("case-2", None)).unwrap();
    assert_eq!(counted(&desk, 2), "case-2");
    assert!(desk.step(cause("case-3", Some("case-9"))).is_err());
    assert_eq!(desk.case(3).cause, None);
}

#[test]
fn files_have_a_limit_each_and_in_all() {
    let policy = Policy { file_bytes: 10, files_bytes: 15, files: 2, ..calm() };
    let mut desk = Desk::new(policy);
    desk.raise(1, at(0));
    let attach = |name: &str, bytes: u64| CaseStep::Attached {
        order: order("case-1", at(1), "Li"),
        file: CaseFile {
            name: name.into(),
            sha256: format!("{name}-hash"),
            bytes,
            kind: "image/jpeg".into(),
            by: "Li".into(),
            at: at(1),
        },
    };
    assert!(desk.step(attach("big", 11)).is_err());
    desk.step(attach("a", 10)).unwrap();
    assert!(desk.step(attach("a", 1)).is_err(), "the very same again");
    assert!(desk.step(attach("b", 6)).is_err(), "too much in all");
    desk.step(attach("b", 5)).unwrap();
    assert!(desk.step(attach("c", 0)).is_err(), "too many");
}

#[test]
fn exercises_low_priorities_and_the_gateway_itself_get_no_case() {
    let mut desk = Desk::new(calm());
    let mut low = alarm(1, at(0));
    low.priority = Priority::P4;
    desk.change(Happening::Raised, at(0), &low);
    let mut drill = alarm(2, at(0));
    drill.quality = drill.quality.and(Reason::Exercise);
    desk.change(Happening::Raised, at(0), &drill);
    let mut own = alarm(3, at(0));
    own.point = None;
    desk.change(Happening::Raised, at(0), &own);
    assert_eq!(desk.cases.all().count(), 0);
    low.priority = Priority::P2;
    desk.change(Happening::Raised, at(1), &low);
    assert_eq!(desk.cases.all().count(), 1, "worse now");
}

#[test]
fn cases_go_on_from_a_snapshot_and_from_facts_as_if_nothing_had_happened() {
    let mut desk = Desk::new(Policy::default());
    settle(&mut desk, 1, 0, "case-1");
    let mut alarm = desk.raise(2, at(20));
    desk.acknowledge(&mut alarm, at(21), "Li");
    desk.tick(at(30));
    assert_eq!(desk.case(2).missed.len(), 1);
    let setup = desk.cases.setup.clone().unwrap();
    let bytes = postcard::to_stdvec(&desk.cases).unwrap();
    let mut resumed: Cases = postcard::from_bytes(&bytes).unwrap();
    resumed.set_up(&setup);
    // What facts hold: the newest body of each case, as JSON.
    let mut bodies: BTreeMap<u64, String> = BTreeMap::new();
    for fact in &desk.facts {
        bodies.insert(fact.case.number, serde_json::to_string(&fact.case).unwrap());
    }
    let mut adopted = Cases::default();
    adopted.adopt(bodies.values().map(|body| serde_json::from_str(body).unwrap()).collect(), 2);
    adopted.set_up(&setup);
    let mut ends = Vec::new();
    for cases in [desk.cases, resumed, adopted] {
        let mut later = Desk { cases, ..Desk::default() };
        later.tick(at(31));
        later.step(answered("case-2", at(32), "Li")).unwrap();
        later.raise(1, at(33));
        later.raise(3, at(34));
        later.tick(at(65));
        ends.push((later.facts, later.conditions));
    }
    assert_eq!(ends[0], ends[1], "a snapshot");
    assert_eq!(ends[0], ends[2], "facts");
    assert!(ends[0].0.iter().any(|fact| fact.case.number == 3), "numbers go on");
}

/// Anything that can happen, in any order, by any of four people.
#[derive(Clone, Debug)]
enum Doing {
    Raise(u32),
    Acknowledge(u32),
    Clear(u32),
    Answer(u64, usize),
    Handle(u64, usize, bool),
    Update(u64, usize),
    Verify(u64, usize, bool),
    Close(u64, usize),
    Supervise(u64, usize),
    Sign(u64, usize, bool),
    Join(u64, u64),
    Wait(i64),
}

fn doing() -> impl Strategy<Value = Doing> {
    let (point, case, who) = (0..3_u32, 1..5_u64, 0..4_usize);
    prop_oneof![
        3 => point.clone().prop_map(Doing::Raise),
        4 => point.clone().prop_map(Doing::Acknowledge),
        4 => point.prop_map(Doing::Clear),
        3 => (case.clone(), who.clone()).prop_map(|(case, who)| Doing::Answer(case, who)),
        3 => (case.clone(), who.clone(), any::<bool>()).prop_map(|(case, who, five)| Doing::Handle(case, who, five)),
        1 => (case.clone(), who.clone()).prop_map(|(case, who)| Doing::Update(case, who)),
        4 => (case.clone(), who.clone(), prop::bool::weighted(0.9)).prop_map(|(c, w, yes)| Doing::Verify(c, w, yes)),
        5 => (case.clone(), who.clone()).prop_map(|(case, who)| Doing::Close(case, who)),
        1 => (case.clone(), who.clone()).prop_map(|(case, who)| Doing::Supervise(case, who)),
        2 => (case.clone(), who, any::<bool>()).prop_map(|(case, who, fit)| Doing::Sign(case, who, fit)),
        1 => (case.clone(), case).prop_map(|(one, other)| Doing::Join(one, other)),
        3 => prop_oneof![Just(1_i64), 5..20_i64, Just(700), Just(1_500)].prop_map(Doing::Wait),
    ]
}

/// A case on its whole way, which plain chance would hardly ever find.
fn way() -> impl Strategy<Value = Vec<Doing>> {
    (0..3_u32, 1..4_u64, any::<bool>()).prop_map(|(point, case, signed)| {
        let mut list = vec![
            Doing::Raise(point),
            Doing::Acknowledge(point),
            Doing::Answer(case, 1),
            Doing::Handle(case, 1, true),
            Doing::Clear(point),
            Doing::Verify(case, 2, true),
        ];
        list.extend(signed.then_some(Doing::Sign(case, 3, true)));
        list.push(Doing::Close(case, 3));
        list
    })
}

/// Anything in any order, with whole ways between.
fn doings(most: usize) -> impl Strategy<Value = Vec<Doing>> {
    let some = prop_oneof![12 => doing().prop_map(|doing| vec![doing]), 1 => way()];
    prop::collection::vec(some, 0..most).prop_map(|list| list.concat())
}

const PEOPLE: [&str; 4] = ["Li", "Wang", "Zhao", "Chen"];

fn play(list: &[Doing]) -> Desk {
    let (mut desk, mut now, mut open) = (Desk::new(Policy::default()), 0, BTreeMap::<u32, Alarm>::new());
    for doing in list {
        now += 1;
        let at = at(now);
        let of = |case: &u64, who: &usize| order(&format!("case-{case}"), at, PEOPLE[*who]);
        let step = match doing {
            Doing::Raise(point) => {
                if !open.contains_key(point) {
                    let alarm = desk.raise(*point, at);
                    open.insert(*point, alarm);
                }
                continue;
            }
            Doing::Acknowledge(point) | Doing::Clear(point) => {
                let Some(alarm) = open.get_mut(point) else { continue };
                let clears = matches!(doing, Doing::Clear(_));
                if clears && alarm.cleared.is_none() {
                    desk.clear(alarm, at);
                } else if !clears && alarm.acknowledged.is_none() {
                    desk.acknowledge(alarm, at, "Li");
                }
                if alarm.standing == Standing::Normal {
                    open.remove(point);
                }
                continue;
            }
            Doing::Wait(minutes) => {
                now += minutes;
                desk.tick(super::tests::at(now));
                continue;
            }
            Doing::Answer(case, who) => answered(&format!("case-{case}"), at, PEOPLE[*who]),
            Doing::Handle(case, who, five) => {
                let CaseStep::Handled { order, mut handling } = handled(&format!("case-{case}"), at, PEOPLE[*who])
                else {
                    unreachable!()
                };
                if *five {
                    (handling.money, handling.plan) = (Some("1".into()), Some("p".into()));
                    handling.deadline = Some(at);
                }
                CaseStep::Handled { order, handling }
            }
            Doing::Update(case, who) => CaseStep::Updated { order: of(case, who), text: "x".into() },
            Doing::Verify(case, who, accepted) => {
                CaseStep::Verified { order: of(case, who), accepted: *accepted, words: "x".into() }
            }
            Doing::Close(case, who) => CaseStep::Closed { order: of(case, who), words: String::new() },
            Doing::Supervise(case, who) => CaseStep::Supervised {
                order: of(case, who),
                role: "safety-approver".into(),
                reason: "x".into(),
                until: at + std::time::Duration::from_secs(7_200),
            },
            Doing::Sign(case, who, fit) => CaseStep::SignedOff {
                order: of(case, who),
                demand: Demand::Supervision,
                role: if *fit { "safety-approver" } else { "operator" }.into(),
                words: "x".into(),
            },
            Doing::Join(one, other) => {
                CaseStep::Joined { order: of(one, &0), into: format!("case-{other}"), reason: "x".into() }
            }
        };
        desk.step(step).ok();
    }
    desk
}

/// The lists of the property below are worth something: some of them get to the end, on every path to it.
#[test]
fn some_orders_of_steps_close_a_case() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let lists = doings(120);
    let (mut closed, mut signed) = (0, 0);
    for _ in 0..200 {
        let desk = play(&lists.new_tree(&mut runner).unwrap().current());
        closed += desk.facts.iter().filter(|fact| fact.step.word == "closed").count();
        signed += desk.facts.iter().filter(|fact| fact.step.word == "signed_off").count();
    }
    assert!(closed >= 10 && signed >= 3, "{closed} closed, {signed} signed");
}

proptest! {
    #[test]
    fn no_order_of_steps_closes_a_case_that_is_not_settled(list in doings(100)) {
        let desk = play(&list);
        for fact in desk.facts.iter().filter(|fact| fact.step.word == "closed") {
            let case = &fact.case;
            prop_assert!(case.acknowledged.is_some() && !case.answers.is_empty());
            prop_assert!(case.unhandled().is_empty());
            prop_assert!(case.alarms.iter().all(|alarm| !alarm.open && alarm.acknowledged.is_some()));
            let verifier = &case.verified.as_ref().unwrap().by;
            prop_assert!(!case.handlers.contains(verifier) && !case.handlers.is_empty());
            for one in &case.demands {
                let signed = one.signed.as_ref().unwrap();
                prop_assert!(!case.handlers.contains(&signed.by));
                prop_assert!(signed.at >= case.verified.as_ref().unwrap().at);
            }
            // Everything happened in this round.
            let begun = case.since;
            prop_assert!(case.answers.iter().all(|one| one.at >= begun));
            prop_assert!(case.verified.as_ref().unwrap().at >= begun);
        }
        // Every alarm that is open belongs to one case that is open, and each of its conditions that was begun for
        // a case that is closed has ended.
        for case in desk.cases.all().filter(|case| !case.is_open()) {
            prop_assert!(case.told.is_empty());
            prop_assert!(case.alarms.iter().all(|alarm| !alarm.open));
        }
        let mut standing: BTreeMap<(String, String), bool> = BTreeMap::new();
        for one in &desk.conditions {
            let before = standing.insert((one.subject.clone(), one.rule.clone()), one.holds);
            prop_assert!(before.unwrap_or(false) != one.holds, "told twice: {} {}", one.subject, one.rule);
        }
        let running: BTreeSet<_> = desk.cases.all().flat_map(|case| {
            case.clocks(&Policy::default()).into_iter().map(|(clock, due)| (due, case.number, clock))
        }).collect();
        prop_assert_eq!(&running, &desk.cases.next, "every clock is in the order of what is next, and no other");
    }

    #[test]
    fn a_replay_is_the_same_to_the_byte(list in doings(70)) {
        let (one, other) = (play(&list), play(&list));
        prop_assert_eq!(postcard::to_stdvec(&one.cases).unwrap(), postcard::to_stdvec(&other.cases).unwrap());
        prop_assert_eq!(one.facts, other.facts);
        prop_assert_eq!(one.conditions, other.conditions);
    }
}
