use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::alarm::Level;
use crate::model::{Area, AreaKind, Class, Duty, Policy, Position, Quality, Someone, Zone};
use crate::response::people::Said;

const BEGUN: i64 = 1_790_000_000;

fn at(seconds: f64) -> Timestamp {
    Timestamp::from_micros(BEGUN * 1_000_000 + (seconds * 1e6) as i64)
}

fn duty(positions: &[(Tier, &[&str])]) -> Duty {
    let mut duty = Duty { policies: crate::config::shipped_policies(), ..Duty::default() };
    for (tier, people) in positions {
        let who = people.iter().map(|name| Who::Person((*name).to_owned())).collect();
        let position = Position { tier: *tier, area: None, who, console: None, checks: None, daily: None };
        duty.positions.insert(tier.word().into(), position);
        for name in *people {
            let reach = vec![format!("sms.{name}")];
            let one = Someone { name: (*name).into(), phone: String::new(), reach, user: None };
            duty.people.insert((*name).into(), one);
        }
    }
    duty
}

fn night() -> Duty {
    duty(&[
        (Tier::Operator, &["a", "b", "c"]),
        (Tier::Leader, &["l"]),
        (Tier::County, &["k", "k2"]),
        (Tier::City, &["s"]),
        (Tier::Province, &["p"]),
    ])
}

fn alarm(priority: Priority, standing: Standing) -> Alarm {
    Alarm {
        id: OccurrenceId::of("mine-3.face", "methane", at(0.0)),
        rule: "methane".into(),
        subject: "mine-3.face".into(),
        point: Some(crate::model::PointIndex(0)),
        site: "mine-3".into(),
        place: "T1".into(),
        title: String::new(),
        advice: String::new(),
        priority,
        level: Level::Red,
        standing,
        raised: at(0.0),
        received: at(0.0),
        cleared: None,
        acknowledged: None,
        value: Some(1.6),
        worst: Some(1.6),
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

/// A manual clock over an escalation.
struct Story {
    duty: Duty,
    said: Said,
    escalation: Escalation,
    now: f64,
    steps: Vec<Step>,
}

impl Story {
    fn of(duty: Duty) -> Self {
        Self { duty, said: Said::default(), escalation: Escalation::default(), now: 0.0, steps: Vec::new() }
    }

    fn with(&mut self, act: impl FnOnce(&mut Escalation, Now<'_>, &mut Told)) {
        let mut told = Told::default();
        let now = Now { duty: &self.duty, said: &self.said, zone: Zone::BEIJING, at: at(self.now) };
        act(&mut self.escalation, now, &mut told);
        self.steps.extend(told.steps);
    }

    fn alarm(&mut self, alarm: &Alarm) {
        self.happens(alarm, false);
    }

    fn happens(&mut self, alarm: &Alarm, anew: bool) {
        let place = Place { site: "mine-3".into(), subject: "mine-3.face".into(), everywhere: false };
        let kind = Some(Kind::Methane);
        self.with(|escalation, now, told| {
            escalation.on_alarm(About { alarm, kind, place: &place, from: None, late: false, anew }, now, told)
        });
    }

    /// Ticks every half second until then.
    fn until(&mut self, seconds: f64) {
        while self.now + 0.5 <= seconds {
            self.now += 0.5;
            self.with(|escalation, now, told| escalation.pass(now, told));
        }
    }

    /// As from a snapshot.
    fn restart(&mut self) {
        let bytes = postcard::to_stdvec(&self.escalation).unwrap();
        self.escalation = postcard::from_bytes(&bytes).unwrap();
    }

    /// As from facts.
    fn remembered(&mut self) {
        let rows: Vec<String> = self.escalation.runs().map(|run| serde_json::to_string(run).unwrap()).collect();
        self.escalation = Escalation::of(rows.iter().map(|row| serde_json::from_str(row).unwrap()));
    }

    /// `a 0`, `county 0 copy`: whom and at which second.
    fn told(&self, kind: StepKind) -> Vec<(String, f64)> {
        let of_kind = self.steps.iter().filter(|step| step.kind == kind);
        of_kind.map(|step| (step.person.clone(), step.at.seconds() - BEGUN as f64)).collect()
    }
}

fn calls(list: &[(&str, f64)]) -> Vec<(String, f64)> {
    list.iter().map(|(name, second)| ((*name).to_owned(), *second)).collect()
}

/// P1 at night, two people do not answer: the third is called, then leader and county, at the minutes of the table.
#[test]
fn two_who_do_not_answer_are_passed_over_and_the_county_is_called_in_its_minute() {
    let mut night = Story::of(night());
    night.alarm(&alarm(Priority::P1, Standing::Unacknowledged));
    assert_eq!(night.told(StepKind::Copy), calls(&[("k", 0.0)]), "the county's copy goes out with the alarm");
    night.until(299.5);
    let site =
        [("a", 0.0), ("a", 30.0), ("b", 60.0), ("b", 90.0), ("c", 120.0), ("c", 150.0), ("l", 180.0), ("l", 210.0)];
    assert_eq!(night.told(StepKind::Call)[..8], calls(&site));
    // The leader is alone: after two calls in vain the county is called at once, before its five minutes.
    assert_eq!(night.told(StepKind::Call)[8], ("k".to_owned(), 240.0));
    assert_eq!(night.told(StepKind::Siren).len(), 1, "nobody of the site is left");

    let mut answered =
        Story::of(duty(&[(Tier::Operator, &["a", "b", "c"]), (Tier::Leader, &["l", "m"]), (Tier::County, &["k"])]));
    answered.alarm(&alarm(Priority::P1, Standing::Unacknowledged));
    answered.until(300.0);
    let county: Vec<f64> =
        answered.told(StepKind::Call).iter().filter(|(name, _)| name == "k").map(|(_, at)| *at).collect();
    assert_eq!(county, [300.0], "with a leader's list that is not through, the county is called at five minutes");
}

#[test]
fn an_acknowledgement_ends_the_calls_to_the_site_and_not_those_of_the_county_until_somebody_has_spoken() {
    let mut story = Story::of(night());
    story.alarm(&alarm(Priority::P1, Standing::Unacknowledged));
    story.until(40.0);
    story.alarm(&alarm(Priority::P1, Standing::Acknowledged));
    story.until(300.0);
    let called: Vec<(String, f64)> = story.told(StepKind::Call);
    assert_eq!(called, calls(&[("a", 0.0), ("a", 30.0), ("k", 300.0)]));
    story.until(600.0);
    assert_eq!(
        story.told(StepKind::Unanswered),
        calls(&[("k", 600.0)]),
        "nobody has spoken with the site in ten minutes"
    );
    let id = alarm(Priority::P1, Standing::Acknowledged).id;
    story.with(|escalation, now, told| escalation.answered(&id, "k", now, told));
    let before = story.steps.len();
    story.until(7_200.0);
    assert_eq!(story.steps.len(), before, "then it is quiet");
    story.alarm(&alarm(Priority::P1, Standing::Normal));
    assert!(story.escalation.is_empty());
}

/// 叫应 without an acknowledgement: somebody spoke with the site about the value of then. It falls, it comes back: the
/// county hears of it and is called again, and the site has been called all the time.
#[test]
fn what_comes_back_after_somebody_has_spoken_is_the_business_of_the_county_again() {
    for remembered in [false, true] {
        let mut story = Story::of(night());
        let urgent = alarm(Priority::P1, Standing::Unacknowledged);
        story.alarm(&urgent);
        story.until(20.0);
        story.with(|escalation, now, told| escalation.answered(&urgent.id, "k", now, told));
        story.until(1_000.0);
        let of_county = |story: &Story| {
            let calls =
                story.told(StepKind::Call).into_iter().filter(|(name, _)| ["k", "k2", "s", "p"].contains(&&**name));
            calls.collect::<Vec<_>>()
        };
        assert_eq!(of_county(&story), []);
        story.alarm(&Alarm { standing: Standing::ReturnedUnacknowledged, ..urgent.clone() });
        story.until(1_010.0);
        if remembered {
            story.remembered();
        }
        story.happens(&urgent, true);
        assert_eq!(story.told(StepKind::Copy), calls(&[("k", 0.0), ("k", 1_010.0)]));
        story.until(1_310.0);
        assert_eq!(of_county(&story)[0].0, "k");
        assert!(of_county(&story)[0].1 <= 1_310.0, "at its five minutes, or before: {:?}", of_county(&story));
        story.until(1_610.0);
        assert_eq!(story.told(StepKind::Unanswered), calls(&[("k", 1_610.0)]));
        // Coming and going does not begin it anew each time, nor copy it each time.
        for turn in 0..20 {
            story.happens(&Alarm { standing: Standing::ReturnedUnacknowledged, ..urgent.clone() }, false);
            story.happens(&urgent, true);
            story.until(1_610.0 + f64::from(turn));
        }
        assert_eq!(story.told(StepKind::Copy).len(), 2);
    }
}

#[test]
fn a_site_of_class_d_has_half_of_the_time() {
    let mut duty = night();
    let area = Area { kind: AreaKind::Site, sites: vec!["mine-3".into()], points: Vec::new(), class: Some(Class::D) };
    duty.areas.insert("mine-3".into(), area);
    let mut story = Story::of(duty);
    story.alarm(&alarm(Priority::P1, Standing::Unacknowledged));
    story.until(90.0);
    let expected = [("a", 0.0), ("a", 15.0), ("b", 30.0), ("b", 45.0), ("c", 60.0), ("c", 75.0), ("l", 90.0)];
    assert_eq!(story.told(StepKind::Call), calls(&expected));
}

#[test]
fn methane_of_three_per_cent_is_told_to_city_and_province_at_once_also_when_it_rises_later() {
    let mut story = Story::of(night());
    story.alarm(&alarm(Priority::P1, Standing::Unacknowledged));
    let id = alarm(Priority::P1, Standing::Unacknowledged).id;
    story.until(10.0);
    story.with(|escalation, now, told| escalation.on_value(&id, 2.99, "%VOL", now, told));
    assert_eq!(story.told(StepKind::Copy).len(), 1);
    story.with(|escalation, now, told| escalation.on_value(&id, 3.0, "%VOL", now, told));
    story.with(|escalation, now, told| escalation.on_value(&id, 3.4, "%VOL", now, told));
    assert_eq!(story.told(StepKind::Copy), calls(&[("k", 0.0), ("s", 10.0), ("p", 10.0)]));
}

/// The city is on leave, and there is no province: the copy is owed until somebody is there, and a record says so.
#[test]
fn methane_of_three_per_cent_that_finds_nobody_is_told_as_soon_as_somebody_is_there() {
    for remembered in [false, true] {
        let positions: [(Tier, &[&str]); 4] =
            [(Tier::Operator, &["a"]), (Tier::Leader, &["l"]), (Tier::County, &["k"]), (Tier::City, &["s"])];
        let mut story = Story::of(duty(&positions));
        story.said.leave.push(crate::model::Leave {
            id: "leave-1".into(),
            person: "s".into(),
            from: at(0.0),
            until: at(700.0),
            substitute: None,
            by: "s".into(),
            reason: String::new(),
        });
        story.alarm(&Alarm { value: Some(3.2), worst: Some(3.2), ..alarm(Priority::P1, Standing::Unacknowledged) });
        let nobody = |story: &Story| {
            story.steps.iter().filter(|step| step.kind == StepKind::NobodyLeft && step.level == "city").count()
        };
        assert_eq!(nobody(&story), 1);
        story.alarm(&alarm(Priority::P1, Standing::Acknowledged));
        let id = alarm(Priority::P1, Standing::Acknowledged).id;
        story.with(|escalation, now, told| escalation.on_value(&id, 3.4, "%VOL", now, told));
        story.until(300.0);
        if remembered {
            story.remembered();
        } else {
            story.restart();
        }
        story.until(1_000.0);
        assert_eq!(story.told(StepKind::Copy), calls(&[("k", 0.0), ("s", 700.0)]), "once, acknowledged or not");
    }
}

/// Everybody who could be called is on leave: everybody whom messages reach is told, again in each round and when it ends,
/// and whoever is back first is called at once.
#[test]
fn an_alarm_that_finds_nobody_is_told_to_everybody_and_calls_whoever_comes() {
    for remembered in [false, true] {
        let mut story = Story::of(duty(&[(Tier::Operator, &["a"]), (Tier::Leader, &["l"])]));
        for (person, until) in [("a", 5_000.0), ("l", 700.0)] {
            story.said.leave.push(crate::model::Leave {
                id: person.into(),
                person: person.into(),
                from: at(0.0),
                until: at(until),
                substitute: None,
                by: person.into(),
                reason: String::new(),
            });
        }
        let urgent = alarm(Priority::P2, Standing::Unacknowledged);
        story.alarm(&urgent);
        let everybody = |story: &Story| story.told(StepKind::Everybody).iter().map(|told| told.1).collect::<Vec<_>>();
        assert_eq!(everybody(&story), [0.0]);
        story.until(60.0);
        story.happens(&Alarm { standing: Standing::ReturnedUnacknowledged, ..urgent.clone() }, false);
        story.happens(&urgent, true);
        assert_eq!(everybody(&story), [0.0, 60.0, 60.0], "as often as it would have been told without people");
        if remembered {
            story.remembered();
        } else {
            story.restart();
        }
        let again = story.duty.policies["P2"].again.as_secs_f64();
        story.until(699.5);
        let rounds = (699.5 / again).floor() as usize;
        assert_eq!(everybody(&story).len(), 3 + rounds);
        assert!(story.told(StepKind::Call).is_empty());
        story.until(700.5);
        assert!(!story.escalation.run(&urgent.id).unwrap().alone);
        story.until(1_400.0);
        assert_eq!(story.told(StepKind::Call)[0].0, "l");
        assert!(story.told(StepKind::Call)[0].1 <= 701.0, "{:?}", story.told(StepKind::Call));
        assert_eq!(everybody(&story).len(), 3 + rounds, "the calls have somebody now");
    }
    // Nobody has to answer for an exercise, nor for what can wait until the end of the shift.
    for quiet in [
        Alarm { quality: Quality::because(Reason::Exercise), ..alarm(Priority::P1, Standing::Unacknowledged) },
        alarm(Priority::P4, Standing::Unacknowledged),
    ] {
        let mut story = Story::of(Duty::default());
        story.alarm(&quiet);
        assert!(story.told(StepKind::Everybody).is_empty());
    }
}

/// A policy of the configuration that forgets the county does not keep the alarm from it.
#[test]
fn a_copy_upward_cannot_be_withheld_except_of_an_exercise() {
    let mut duty = night();
    let silent: Policy = duty.policies["P3"].clone();
    let site =
        PolicyStep { after: After::Time(Duration::ZERO), who: Who::Tier(Tier::Operator), copy: false, by: Vec::new() };
    duty.policies.insert("P1".into(), Policy { steps: vec![site], ..silent });
    let mut story = Story::of(duty.clone());
    story.alarm(&alarm(Priority::P1, Standing::Unacknowledged));
    assert_eq!(story.told(StepKind::Copy), calls(&[("k", 0.0)]));
    let mut drill = Story::of(duty);
    drill
        .alarm(&Alarm { quality: Quality::because(Reason::Exercise), ..alarm(Priority::P1, Standing::Unacknowledged) });
    drill.until(300.0);
    assert!(drill.told(StepKind::Copy).is_empty());
    assert!(
        drill.steps.iter().all(|step| ["a", "b", "c", "l", ""].contains(&step.person.as_str())),
        "{:?}",
        drill.steps
    );
}

/// The gateway was away for seven minutes: what was due is done at once, once, in order; and whoever is called
/// only now has the full time to answer.
#[test]
fn after_a_down_time_what_became_due_is_done_at_once_once_and_in_order() {
    let mut story = Story::of(night());
    story.alarm(&alarm(Priority::P1, Standing::Unacknowledged));
    story.until(10.0);
    story.restart();
    story.now = 429.5;
    story.until(430.0);
    let after: Vec<(String, f64)> = story.told(StepKind::Call).split_off(1);
    assert_eq!(after, calls(&[("a", 430.0), ("l", 430.0), ("k", 430.0)]));
    let due: Vec<Timestamp> = story.steps.iter().map(|step| step.due).collect();
    assert!(due.is_sorted(), "{due:?}");
    story.until(459.5);
    assert_eq!(story.told(StepKind::Call).len(), 4, "nobody again within the time of a call");
}

proptest! {
    /// Whatever the policy and whoever is there: while it is not acknowledged there is a next step, nobody gets the
    /// same call twice, and a restart in the middle, by snapshot or by facts, changes nothing.
    #[test]
    fn no_alarm_is_without_a_next_step_and_a_restart_changes_nothing(
        there in prop::collection::vec(0_usize..3, 5), priority in 0_usize..4, restart in 1_u32..400, facts: bool,
    ) {
        let names = [["a", "b", "c"], ["l", "m", "n"], ["k", "k2", "k3"], ["s", "t", "u"], ["p", "q", "r"]];
        let posts: Vec<(Tier, &[&str])> =
            Tier::ALL.into_iter().zip(&names).zip(&there).map(|((tier, names), count)| (tier, &names[..*count])).collect();
        let posts: Vec<(Tier, &[&str])> = posts.into_iter().filter(|(_, people)| !people.is_empty()).collect();
        prop_assume!(!posts.is_empty());
        let alarm = alarm(Priority::ALL[priority], Standing::Unacknowledged);
        let play = |restart: Option<u32>| {
            let mut story = Story::of(duty(&posts));
            story.alarm(&alarm);
            for tenth in 1..400_u32 {
                story.until(f64::from(tenth) * 10.0);
                if restart == Some(tenth) {
                    if facts { story.remembered() } else { story.restart() }
                }
                let run = story.escalation.run(&alarm.id).unwrap();
                assert!(run.due().is_some_and(|due| due > at(story.now)), "nothing is left to happen: {run:?}");
            }
            story.steps
        };
        let steps = play(None);
        let mut numbers = BTreeMap::new();
        for step in &steps {
            *numbers.entry(step.number).or_insert(0) += 1;
        }
        prop_assert!(numbers.values().all(|count| *count == 1));
        prop_assert!(steps.iter().all(|step| step.at.since(step.due) < Duration::from_secs(1)), "at its minute");
        prop_assert_eq!(play(Some(restart)), steps);
    }
}

fn rings_in_vain(story: &mut Story, level: &str, person: &str, call: u32) {
    let alarm = OccurrenceId::of("mine-3.face", "methane", at(0.0));
    let rang = Rang { alarm, level: level.into(), person: person.into(), call };
    story.with(|escalation, now, told| escalation.rang(&rang, now, told));
}

/// The policy says ten seconds: whoever does not pick up twice is passed over long before the clock would, also over a
/// restart; and what the provider says of an older call changes nothing.
#[test]
fn who_does_not_pick_up_twice_is_passed_over_before_the_clock_if_the_policy_says_so() {
    let mut duty = night();
    let usual = duty.policies["P1"].clone();
    duty.policies.insert("P1".into(), Policy { no_answer: Some(Duration::from_secs(10)), ..usual });
    for remembered in [false, true] {
        let mut story = Story::of(duty.clone());
        story.alarm(&alarm(Priority::P1, Standing::Unacknowledged));
        story.until(5.0);
        rings_in_vain(&mut story, "operator", "a", 1);
        story.until(14.5);
        assert_eq!(story.told(StepKind::Call), calls(&[("a", 0.0)]));
        if remembered {
            story.remembered();
        } else {
            story.restart();
        }
        story.until(16.0);
        assert_eq!(story.told(StepKind::Call), calls(&[("a", 0.0), ("a", 15.0)]));
        // Said twice, of the first call, of somebody at another level: nothing follows.
        rings_in_vain(&mut story, "operator", "a", 1);
        rings_in_vain(&mut story, "leader", "a", 2);
        story.until(20.0);
        rings_in_vain(&mut story, "operator", "a", 2);
        story.until(31.0);
        assert_eq!(story.told(StepKind::Call), calls(&[("a", 0.0), ("a", 15.0), ("b", 30.0)]));
    }
    let mut by_the_clock = Story::of(night());
    by_the_clock.alarm(&alarm(Priority::P1, Standing::Unacknowledged));
    by_the_clock.until(5.0);
    rings_in_vain(&mut by_the_clock, "operator", "a", 1);
    by_the_clock.until(29.5);
    assert_eq!(by_the_clock.told(StepKind::Call), calls(&[("a", 0.0)]), "unless the policy says so the clock decides");
    // Late words about a call that somebody acknowledged meanwhile.
    let mut over = Story::of(duty);
    over.alarm(&alarm(Priority::P1, Standing::Unacknowledged));
    over.until(5.0);
    over.alarm(&alarm(Priority::P1, Standing::Acknowledged));
    rings_in_vain(&mut over, "operator", "a", 1);
    over.until(60.0);
    assert_eq!(over.told(StepKind::Call), calls(&[("a", 0.0)]));
}
