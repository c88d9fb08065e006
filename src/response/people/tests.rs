use std::time::Duration;

use proptest::prelude::*;

use super::*;

const START: i64 = 1_790_000_000;

fn roster(starts: &[u16], days: usize) -> Roster {
    let crew = |day: usize, place: usize| vec![format!("{day}-{place}")];
    let cycle = (0..days).map(|day| (0..starts.len()).map(|place| crew(day, place)).collect()).collect();
    Roster {
        starts: starts.to_vec(),
        first_day: 20_000,
        cycle,
        substitutes: Vec::new(),
        handover_within: Some(Duration::from_secs(1_800)),
    }
}

fn starts() -> impl Strategy<Value = Vec<u16>> {
    prop::collection::btree_set(0_u16..1_440, 1..6).prop_map(|set| set.into_iter().collect())
}

proptest! {
    /// There is always exactly one shift: the moment lies in it, and it begins where the one before ends.
    #[test]
    fn every_moment_has_exactly_one_shift(
        starts in starts(), days in 1_usize..8, zone in -12_i32..14, second in -200_000_000_i64..200_000_000,
    ) {
        let (roster, zone) = (roster(&starts, days), Zone(zone * 3_600 + 1_800));
        let at = Timestamp::from_secs(START + second);
        let shift = roster.shift(zone, at);
        prop_assert!(shift.from <= at && at < shift.until, "{shift:?}");
        prop_assert_eq!(shift.crew.len(), 1);
        let next = roster.next(zone, at);
        prop_assert_eq!(next.from, shift.until);
        prop_assert_eq!(roster.before(zone, next.from), shift.clone());
        let inside = Timestamp::from_micros(shift.until.micros() - 1);
        prop_assert_eq!(roster.shift(zone, inside), shift);
    }

    /// Nobody who is away is called, whoever stands in for whom, and nobody twice.
    #[test]
    fn whoever_is_away_is_never_called(
        away in prop::collection::vec((0_usize..5, prop::option::of(0_usize..5), 0_i64..100, 0_i64..100), 0..8),
        at in 0_i64..120,
    ) {
        let people = ["a", "b", "c", "d", "e"];
        let mut duty = Duty::default();
        for name in people {
            duty.people.insert(name.into(), someone());
        }
        duty.teams.insert("all".into(), people.map(str::to_owned).to_vec());
        let moment = |second: i64| Timestamp::from_secs(START + second);
        let leave = away.iter().map(|(person, substitute, from, length)| Leave {
            id: String::new(),
            person: people[*person].into(),
            from: moment(*from),
            until: moment(from + length),
            substitute: substitute.map(|one| people[one].to_owned()),
            by: String::new(),
            reason: String::new(),
        });
        let said = Said { leave: leave.collect(), ..Said::default() };
        let now = Now { duty: &duty, said: &said, zone: Zone::BEIJING, at: moment(at) };
        let called = now.persons(&Who::Team("all".into()), &place());
        prop_assert!(called.iter().all(|name| now.leave_of(name).is_none()), "{called:?}");
        prop_assert_eq!(unique(called.clone()), called.clone());
        for name in people.iter().filter(|name| now.leave_of(name).is_none()) {
            prop_assert!(called.contains(name), "{} is there", name);
        }
    }
}

fn someone() -> crate::model::Someone {
    crate::model::Someone { name: String::new(), phone: String::new(), reach: Vec::new(), user: None }
}

fn place() -> Place {
    Place { site: "mine-3".into(), subject: "mine-3.face".into(), everywhere: false }
}

/// 0-8, 8-16, 16-24 by the clock on the wall in Beijing.
#[test]
fn shifts_change_by_the_local_clock_and_the_cycle_by_the_local_day() {
    let roster = Roster { first_day: 20_758, ..roster(&[0, 480, 960], 2) };
    let crew = |text: &str| roster.shift(Zone::BEIJING, Timestamp::parse(text).unwrap()).crew[0].clone();
    // 2026-11-01 is day 20758.
    assert_eq!(crew("2026-10-31T16:00:00Z"), "0-0");
    assert_eq!(crew("2026-10-31T15:59:59Z"), "1-2");
    assert_eq!(crew("2026-11-01T00:00:00Z"), "0-1");
    assert_eq!(crew("2026-11-01T15:59:59Z"), "0-2");
    assert_eq!(crew("2026-11-01T16:00:00Z"), "1-0");
}

#[test]
fn a_night_shift_that_spans_midnight_belongs_to_the_day_on_which_it_began() {
    let roster = Roster { first_day: 20_758, ..roster(&[360, 1_320], 2) };
    let crew = |text: &str| roster.shift(Zone::BEIJING, Timestamp::parse(text).unwrap()).crew[0].clone();
    assert_eq!(crew("2026-11-01T20:00:00Z"), "0-1", "04:00 of the second is still the night of the first");
    assert_eq!(crew("2026-11-01T22:00:00Z"), "1-0");
}

#[test]
fn the_earlier_shift_goes_on_being_called_until_it_has_signed() {
    let mut duty = Duty::default();
    for name in ["0-0", "0-1"] {
        duty.people.insert(name.into(), someone());
    }
    duty.rosters.insert("r".into(), roster(&[0, 720], 1));
    let shift = |at| duty.rosters["r"].shift(Zone::BEIJING, at).from;
    let at = Timestamp::parse("2026-11-01T05:00:00Z").unwrap();
    let signed = |moment| Said { signed: [("r".to_owned(), moment)].into(), ..Said::default() };
    let called = |said: &Said| {
        let now = Now { duty: &duty, said, zone: Zone::BEIJING, at };
        now.persons(&Who::Roster("r".into()), &place()).join(" ")
    };
    assert_eq!(called(&signed(shift(at))), "0-1");
    assert_eq!(called(&signed(shift(at - Duration::from_secs(12 * 3_600)))), "0-1 0-0");
}

#[test]
fn nobody_goes_for_longer_than_a_month_without_a_reason_or_from_a_position_that_nobody_else_holds() {
    let mut duty = Duty::default();
    for name in ["li", "wang", "mute"] {
        let reach = if name == "mute" { Vec::new() } else { vec![format!("sms.{name}")] };
        duty.people.insert(name.into(), crate::model::Someone { reach, ..someone() });
    }
    // li every other day, alone; wang on the others.
    let crew = |name: &str| vec![vec![name.to_owned()]];
    duty.rosters.insert("room".into(), Roster { cycle: vec![crew("li"), crew("wang")], ..roster(&[0], 1) });
    let who = vec![Who::Roster("room".into())];
    duty.positions.insert(
        "op".into(),
        Position { tier: Tier::Operator, area: None, who, console: None, checks: None, daily: None },
    );
    let said = Said::default();
    let at = Timestamp::from_secs(START);
    let now = Now { duty: &duty, said: &said, zone: Zone(0), at };
    let on_duty = now.of_position(&duty.positions["op"])[0].to_owned();
    let (here, other) = if on_duty == "li" { ("li", "wang") } else { ("wang", "li") };
    let leave = |person: &str, days: u64, substitute: Option<&str>| Leave {
        id: "leave-1".into(),
        person: person.into(),
        from: at,
        until: at + Duration::from_secs(days * 86_400),
        substitute: substitute.map(Into::into),
        by: "li".into(),
        reason: "ill".into(),
    };
    let why = |leave: Leave| now.may_leave(&leave).unwrap_err();
    assert!(why(leave(here, 31, Some(other))).contains("at most 30 days"));
    assert!(why(Leave { reason: " ".into(), ..leave(here, 1, Some(other)) }).contains("say why"));
    assert!(why(leave(here, 1, None)).contains("nobody can be called at position op"));
    assert!(why(leave(here, 1, Some("mute"))).contains("position op"), "who cannot be reached stands in for nobody");
    assert!(why(leave(other, 3, None)).contains("position op"), "their turn comes within the leave");
    now.may_leave(&leave(here, 30, Some(other))).unwrap();
    now.may_leave(&leave("mute", 30, None)).unwrap();
    // With the other one away already, their substitute is not there.
    let said = Said { leave: vec![Leave { id: "leave-0".into(), ..leave(other, 3, None) }], ..Said::default() };
    let now = Now { said: &said, ..now };
    assert!(now.may_leave(&leave(here, 1, Some(other))).unwrap_err().contains("position op"));
}
