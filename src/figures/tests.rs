//! The fold against a plain recount, the log against itself after a restart, and the numbers of the standards.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::alarm::{Happening, OccurrenceId, Priority, Standing};
use crate::model::Timestamp;

const START: i64 = 1_800_000_000;

fn second(second: i64) -> Timestamp {
    Timestamp::from_secs(START + second)
}

/// Sources alarm, are acknowledged and come to rest; every third one is part of an exercise.
#[derive(Default)]
struct Plant {
    list: Vec<Event>,
    open: BTreeMap<usize, (OccurrenceId, Timestamp, Standing)>,
}

impl Plant {
    fn change(&mut self, source: usize, happening: Happening, at: i64) {
        let at = second(at);
        let open = self.open.get(&source).cloned();
        let (occurrence, raised, standing) = match (happening, open) {
            (Happening::Raised, None) => {
                let id = OccurrenceId::named(&format!("{source}-{}", self.list.len()));
                (id, at, Standing::Unacknowledged)
            }
            (Happening::RaisedAgain, Some((id, raised, Standing::ReturnedUnacknowledged))) => {
                (id, raised, Standing::Unacknowledged)
            }
            (Happening::Acknowledged, Some((id, raised, Standing::Unacknowledged))) => {
                (id, raised, Standing::Acknowledged)
            }
            (Happening::Acknowledged, Some((id, raised, Standing::ReturnedUnacknowledged))) => {
                (id, raised, Standing::Normal)
            }
            (Happening::Cleared, Some((id, raised, Standing::Unacknowledged))) => {
                (id, raised, Standing::ReturnedUnacknowledged)
            }
            (Happening::Cleared, Some((id, raised, Standing::Acknowledged))) => (id, raised, Standing::Normal),
            (
                Happening::Raised
                | Happening::RaisedAgain
                | Happening::Acknowledged
                | Happening::Cleared
                | Happening::Reset
                | Happening::Realarmed
                | Happening::Worsened
                | Happening::SetAside
                | Happening::Resumed,
                _,
            ) => return,
        };
        if standing == Standing::Normal {
            self.open.remove(&source);
        } else {
            self.open.insert(source, (occurrence.clone(), raised, standing));
        }
        self.list.push(Event {
            id: self.list.len() as i64 + 1,
            at: at.max(raised),
            happening,
            occurrence,
            source: Source { rule: format!("rule-{}", source % 2).into(), subject: format!("p{source}").into() },
            site: format!("site-{}", source % 2).into(),
            priority: Priority::ALL[source % 4],
            raised,
            standing,
            exercise: source % 3 == 2,
            planned: false,
            group: None,
        });
    }

    fn raises(&mut self, source: usize, at: i64) {
        self.change(source, Happening::Raised, at);
        self.change(source, Happening::RaisedAgain, at);
    }
}

/// Figures by counting, without any cleverness.
struct Recount<'a> {
    list: &'a [Event],
    from: Timestamp,
    to: Timestamp,
    site: Option<&'a str>,
}

impl Recount<'_> {
    fn counted(&self) -> impl Iterator<Item = &Event> {
        let here = |event: &&Event| self.site.is_none_or(|site| site == &*event.site);
        self.list.iter().filter(|event| !event.exercise && event.at < self.to).filter(here)
    }

    fn raises(&self) -> Vec<&Event> {
        self.counted().filter(|event| event.is_raise()).collect()
    }

    fn inside(&self, event: &Event) -> bool {
        event.at >= self.from
    }

    fn peak(&self, length: Duration) -> usize {
        let raises = self.raises();
        let ending_with = |last: &&Event| {
            raises.iter().filter(|event| event.at <= last.at && last.at.since(event.at) < length).count()
        };
        raises.iter().filter(|event| self.inside(event)).map(ending_with).max().unwrap_or(0)
    }

    /// Second by second, from the lead on.
    fn floods(&self) -> (usize, i64, bool) {
        let begin = self.from - LEAD;
        let seconds = self.to.since(begin).as_secs() as usize;
        let mut raised = vec![0_usize; seconds + 1];
        for event in self.raises().iter().filter(|event| event.at >= begin) {
            raised[event.at.since(begin).as_secs() as usize] += 1;
        }
        let mut sums = vec![0; seconds + 2];
        for (place, count) in raised.iter().enumerate() {
            sums[place + 1] = sums[place] + count;
        }
        let lead = LEAD.as_secs() as usize;
        let (mut began, mut count, mut total) = (None::<usize>, 0, 0);
        let mut end = |began: usize, end: usize| {
            if end > lead {
                count += 1;
                total += (end - began.max(lead)) as i64;
            }
        };
        for now in 0..=seconds {
            let first = (now + 1).saturating_sub(600);
            if began.is_some() && sums[now] - sums[first.min(now)] < 5 {
                end(began.take().unwrap(), now);
            }
            if now < seconds && began.is_none() && sums[now + 1] - sums[first] > 10 {
                began = Some(now);
            }
        }
        let under_way = began.is_some();
        began.into_iter().for_each(|began| end(began, seconds));
        (count, total, under_way)
    }

    fn episodes(&self) -> usize {
        let heard: Vec<&Event> =
            self.counted().filter(|event| event.is_raise() || event.happening == Happening::Cleared).collect();
        let anew = |event: &&Event| {
            heard
                .iter()
                .filter(|before| before.id < event.id && before.source == event.source)
                .all(|before| event.at.since(before.at) > Duration::from_secs(600))
        };
        self.raises().iter().filter(|event| self.inside(event)).filter(|event| anew(event)).count()
    }

    fn chattering(&self) -> (usize, usize) {
        let mut sources = BTreeMap::<&Source, Vec<Timestamp>>::new();
        for event in self.raises().into_iter().filter(|event| self.inside(event)) {
            sources.entry(&event.source).or_default().push(event.at);
        }
        let wild = sources.values().filter(|times| {
            times.iter().any(|first| {
                times.iter().filter(|at| *at >= first && at.since(*first) < Duration::from_secs(60)).count() >= 3
            })
        });
        wild.fold((0, 0), |(count, raised), times| (count + 1, raised + times.len()))
    }

    fn last_raise_before(&self, event: &Event) -> Timestamp {
        let of_it = |other: &&Event| other.occurrence == event.occurrence && other.id < event.id && other.is_raise();
        self.counted().filter(of_it).last().map_or(event.raised, |raise| raise.at)
    }

    /// (active, unacknowledged, stale)
    fn open(&self) -> (usize, usize, usize) {
        let last: BTreeMap<&OccurrenceId, &Event> = self.counted().map(|event| (&event.occurrence, event)).collect();
        last.values().fold((0, 0, 0), |(active, waits, stale), event| {
            let since = if event.is_raise() { event.at } else { self.last_raise_before(event) };
            let holds = matches!(event.standing, Standing::Unacknowledged | Standing::Acknowledged);
            let unseen = matches!(event.standing, Standing::Unacknowledged | Standing::ReturnedUnacknowledged);
            let old = holds && self.to.since(since) > Duration::from_secs(86_400);
            (active + usize::from(holds), waits + usize::from(unseen), stale + usize::from(old))
        })
    }

    fn spread(&self, happening: Happening, span: impl Fn(&Event) -> Duration) -> Spread {
        let times: Vec<f64> = self
            .counted()
            .filter(|event| event.happening == happening && self.inside(event))
            .map(|event| span(event).as_secs_f64())
            .collect();
        let rank = |share: f64| {
            let enough =
                |x: &f64| times.iter().filter(|at| *at <= x).count() as f64 >= share * times.len() as f64 - 1e-9;
            times.iter().copied().filter(enough).min_by(f64::total_cmp)
        };
        Spread { count: times.len(), median: rank(0.5), p95: rank(0.95) }
    }

    fn agrees_with(&self, told: &Figures) {
        assert_eq!(told.raised, self.raises().iter().filter(|event| self.inside(event)).count());
        assert_eq!(told.episodes, self.episodes());
        for (rate, length, most) in
            [(&told.per_10_minutes, Duration::from_secs(600), 10), (&told.per_hour, Duration::from_secs(3_600), 30)]
        {
            assert_eq!(rate.peak, self.peak(length));
            let within = |from: Timestamp, to: Timestamp| {
                self.raises().iter().filter(|event| event.at >= from && event.at < to).count()
            };
            assert_eq!(rate.now, within(self.to - length, self.to));
            let periods: Vec<Timestamp> = std::iter::successors(Some(self.from), |start| Some(*start + length))
                .take_while(|start| *start + length <= self.to)
                .collect();
            let over = periods.iter().filter(|start| within(**start, **start + length) > most).count();
            assert!((rate.share_over - over as f64 / periods.len() as f64).abs() < 1e-9);
            let spans = self.to.since(self.from).as_secs_f64() / length.as_secs_f64();
            assert!((rate.average - told.raised as f64 / spans).abs() < 1e-9);
        }
        let floods = (told.floods.count, told.floods.seconds.round() as i64, told.floods.under_way);
        assert_eq!(floods, self.floods());
        assert_eq!((told.chattering.sources, told.chattering.raised), self.chattering());
        assert_eq!((told.active, told.unacknowledged, told.stale.count), self.open());
        assert_eq!(told.to_acknowledge, self.spread(Happening::Acknowledged, |event| event.at.since(event.raised)));
        let lasted = |event: &Event| event.at.since(self.last_raise_before(event));
        assert_eq!(told.to_clear, self.spread(Happening::Cleared, lasted));
        let cleared = self.counted().filter(|event| event.happening == Happening::Cleared && self.inside(event));
        assert_eq!(told.fleeting, cleared.filter(|event| lasted(event) < Duration::from_secs(60)).count());
        assert_eq!(told.priorities.iter().map(|share| share.raised).sum::<usize>(), told.raised);
        assert_eq!(told.top.list.iter().map(|top| top.raised).sum::<usize>(), told.top.raised);
    }
}

/// Bursts, calm hours, and sources whose clocks are a little behind.
fn steps() -> impl Strategy<Value = Vec<(usize, u8, i64, i64)>> {
    let pause = prop_oneof![40 => 0_i64..10, 5 => 10_i64..400, 1 => 400_i64..20_000];
    prop::collection::vec((0_usize..9, 0_u8..8, pause, 0_i64..30), 1..700)
}

fn played(steps: &[(usize, u8, i64, i64)]) -> (Plant, i64) {
    let (mut plant, mut clock) = (Plant::default(), 0);
    for (source, what, pause, behind) in steps {
        clock += pause;
        match what {
            0..=3 => plant.raises(*source, clock - behind),
            4 | 5 => plant.change(*source, Happening::Cleared, clock - behind),
            _ => plant.change(*source, Happening::Acknowledged, clock),
        }
    }
    (plant, clock)
}

proptest! {
    #[test]
    fn the_fold_is_a_plain_recount_and_a_restart_changes_nothing(steps in steps(), rest in 1_i64..5_000) {
        let (plant, clock) = played(&steps);
        let now = second(clock + rest);
        let mut log = Log::new(Opened::default(), second(0) - WINDOW - WINDOW);
        for event in &plant.list {
            log.take(event.clone());
            log.forget(event.at);
        }
        let told = log.report(now, &Places::default());
        prop_assert!(told.complete);
        let (from, to) = (told.from, told.to);
        Recount { list: &plant.list, from, to, site: None }.agrees_with(&told.total);
        for (site, figures) in &told.sites {
            Recount { list: &plant.list, from, to, site: Some(site) }.agrees_with(figures);
        }
        let exercise = plant.list.iter().filter(|event| event.exercise && event.is_raise() && event.at >= from);
        prop_assert_eq!(told.total.exercise, exercise.filter(|event| event.at < to).count());

        // Begun anew from what is on the disk.
        let begin = from - LEAD;
        let mut before = Opened::default();
        let cut = plant.list.iter().position(|event| event.at >= begin).unwrap_or(plant.list.len());
        let (old, new) = plant.list.split_at(cut);
        old.iter().for_each(|event| {
            before.take(event);
        });
        let mut anew = Log::new(before, begin);
        new.iter().for_each(|event| anew.take(event.clone()));
        let sites: Vec<Arc<str>> = told.sites.keys().cloned().collect();
        let again = anew.report(now, &Places::of_sites(sites));
        prop_assert_eq!(&again.total, &told.total);
        for (site, figures) in &told.sites {
            prop_assert_eq!(&again.sites[site], figures);
        }
    }
}

#[test]
fn a_flood_begins_with_the_eleventh_alarm_in_ten_minutes_and_ends_below_five() {
    let mut plant = Plant::default();
    for number in 0..10 {
        plant.raises(100 + 3 * number, 40_000 + number as i64 * 30);
    }
    let report = |plant: &Plant, to: i64| {
        let mut tally =
            Tally::new(Opened::default(), second(39_000), second(to), &Places::of_sites(vec!["site-9".into()]));
        plant.list.iter().for_each(|event| tally.take(event));
        tally.finish()
    };
    assert_eq!(report(&plant, 50_000).total.floods.count, 0, "ten are not a flood");
    plant.raises(201, 40_300);
    let told = report(&plant, 40_400).total;
    assert!(told.floods.under_way && told.floods.list[0].to.is_none());
    assert_eq!(told.floods.list[0].from, second(40_300));
    assert_eq!((told.per_10_minutes.peak, told.per_10_minutes.now), (11, 11));
    // The seventh falls out of the ten minutes at 40180 + 600: four are left.
    let told = report(&plant, 50_000);
    let floods = &told.total.floods;
    assert_eq!((floods.count, floods.under_way, floods.list[0].to), (1, false, Some(second(40_780))));
    assert_eq!((floods.seconds, floods.list[0].raised), (480.0, 11));
    assert_eq!(told.sites["site-9"].raised, 0, "a quiet site is in the report");
}

#[test]
fn an_intermittent_alarm_is_one_episode_and_still_every_alarm_counts() {
    let mut plant = Plant::default();
    for at in [0, 100, 400, 1_300] {
        plant.raises(0, at);
        plant.change(0, Happening::Cleared, at + 50);
    }
    let mut tally = Tally::new(Opened::default(), second(0), second(3_600), &Places::default());
    plant.list.iter().for_each(|event| tally.take(event));
    let told = tally.finish().total;
    // 1300 is more than ten minutes after the end at 450.
    assert_eq!((told.raised, told.episodes, told.fleeting), (4, 2, 4));
    assert_eq!((told.active, told.unacknowledged), (0, 1), "over, and nobody has said that they saw it");
}

#[test]
fn a_day_with_more_alarms_than_are_kept_says_since_when_it_is_complete() {
    let mut log = Log::new(Opened::default(), second(-200_000));
    let mut plant = Plant::default();
    plant.raises(0, 0);
    let one = plant.list.remove(0);
    let all = Log::MOST as i64 + 10;
    for id in 1..=all {
        let occurrence = OccurrenceId::named(&id.to_string());
        log.take(Event { id, at: second(id), standing: Standing::Normal, occurrence, ..one.clone() });
    }
    let told = log.report(second(all + 1), &Places::default());
    assert!(!told.complete);
    assert_eq!(told.from, second(10) + LEAD);
    assert_eq!(told.total.raised as i64, all + 1 - 10 - LEAD.as_secs() as i64);
    log.take(Event { id: 5, ..one });
    assert_eq!(log.last(), all, "what is known is not counted again");
}

/// Two mines with an operator each, a county that watches both, and one position that stands in for whoever has none.
#[test]
fn every_position_has_the_figures_of_its_own_places() {
    use crate::model::{Area, AreaKind, Duty, Position, Tier};
    let mut duty = Duty::default();
    for site in ["site-0", "site-1"] {
        let area = Area { kind: AreaKind::Site, sites: vec![site.into()], points: Vec::new(), class: None };
        duty.areas.insert(site.into(), area);
    }
    let mut add = |name: &str, tier, area: Option<&str>| {
        let position =
            Position { tier, area: area.map(Into::into), who: Vec::new(), console: None, checks: None, daily: None };
        duty.positions.insert(name.into(), position);
    };
    add("room-0", Tier::Operator, Some("site-0"));
    add("room-1", Tier::Operator, Some("site-1"));
    add("anywhere", Tier::Operator, None);
    add("county", Tier::County, None);
    let places = Places::of_sites(Vec::new()).with_positions(&duty);
    let names: Vec<&str> = places.positions().map(|name| &**name).collect();
    let at = |site: &str| places.at(site, "p").into_iter().map(|place| names[place]).collect::<Vec<_>>();
    assert_eq!(at("site-0"), ["room-0", "county"]);
    assert_eq!(at("site-2"), ["anywhere", "county"]);
    assert_eq!(at(crate::engine::GATEWAY), ["anywhere", "room-0", "room-1", "county"]);
    let mut plant = Plant::default();
    for number in 0..18 {
        plant.raises(number, number as i64);
    }
    let mut tally = Tally::new(Opened::default(), second(0), second(600), &places);
    plant.list.iter().for_each(|event| tally.take(event));
    let told = tally.finish();
    for (position, sites) in [("room-0", &["site-0"][..]), ("room-1", &["site-1"])] {
        let of_sites: usize = sites.iter().filter_map(|site| told.sites.get(*site)).map(|of| of.raised).sum();
        assert_eq!(told.positions[position].raised, of_sites);
        assert_eq!(told.positions[position].unacknowledged, of_sites);
    }
    assert_eq!(told.positions["county"], told.total);
    assert!(told.total.floods.count == 1 && told.positions["room-0"].floods.count == 0);
}

/// A raise of a source at a site, with the group of its alarm.
fn raise(source: &str, at: i64, group: &str, planned: bool) -> Event {
    Event {
        id: at + 1,
        at: second(at),
        happening: Happening::Raised,
        occurrence: OccurrenceId::named(&format!("{source}-{at}")),
        source: Source { rule: "gas".into(), subject: source.into() },
        site: "pit".into(),
        priority: Priority::P2,
        raised: second(at),
        standing: Standing::Unacknowledged,
        exercise: false,
        planned,
        group: (!group.is_empty()).then(|| OccurrenceId::named(group)),
    }
}

fn causes(events: &[Event], said: &[(&str, &str)]) -> (usize, usize, usize) {
    let said = said.iter().map(|(alarm, cause)| (OccurrenceId::named(alarm), OccurrenceId::named(cause))).collect();
    let tally = Tally::new(Opened::default(), second(3_600), second(90_000), &Places::default());
    let mut tally = tally.with_causes(said);
    events.iter().for_each(|event| tally.take(event));
    let report = tally.finish();
    assert_eq!(report.total, report.sites["pit"], "one site is all of them");
    (report.total.episodes, report.total.one_cause_episodes, report.total.planned_episodes)
}

#[test]
fn one_power_stop_that_trips_several_points_is_one_and_people_may_say_otherwise() {
    let storm = [
        raise("t1", 4_000, "a", false),
        raise("t2", 4_010, "a", false),
        raise("t3", 4_020, "a", false),
        raise("t9", 9_000, "", false),
    ];
    assert_eq!(causes(&storm, &[]), (4, 2, 0));
    assert_eq!(causes(&storm, &[("t3-4020", "case-3")]), (4, 3, 0), "the third one had a cause of its own");
    assert_eq!(causes(&storm, &[("t9-9000", "a")]), (4, 1, 0), "the last one had the same cause");
}

#[test]
fn the_same_place_again_after_more_than_ten_minutes_is_a_new_one() {
    let again = |at| [raise("t1", 4_000, "a", false), raise("t1", at, "b", false), raise("t2", at + 5, "b", false)];
    assert_eq!(causes(&again(4_600), &[]), (2, 1, 0), "what goes on takes with it what came with it");
    assert_eq!(causes(&again(4_601), &[]), (3, 2, 0));
    // What began before the span was counted there.
    let before = [raise("t1", 3_500, "a", false), raise("t2", 3_700, "a", false)];
    assert_eq!(causes(&before, &[]), (1, 0, 0));
}

#[test]
fn planned_work_is_counted_apart_and_exercises_nowhere() {
    let mut drill = raise("t4", 4_000, "c", false);
    drill.exercise = true;
    let list = [raise("t1", 4_000, "a", true), raise("t2", 4_001, "a", true), raise("t3", 4_000, "b", false), drill];
    assert_eq!(causes(&list, &[]), (3, 1, 1));
}

#[test]
fn each_priority_stands_beside_its_usual_share_and_too_many_are_said_only_of_many() {
    let events = |count: i64, p1: i64| {
        let of = |number: i64| Event {
            priority: if number < p1 { Priority::P1 } else { Priority::P4 },
            ..raise(&format!("t{number}"), 4_000 + 700 * number, "", false)
        };
        (0..count).map(of).collect::<Vec<_>>()
    };
    let told = |events: &[Event]| {
        let mut tally = Tally::new(Opened::default(), second(0), second(90_000), &Places::default());
        events.iter().for_each(|event| tally.take(event));
        let report = tally.finish();
        let shares = report.total.priorities.iter();
        shares.map(|of| (of.priority, of.share, of.target, of.over)).collect::<Vec<_>>()
    };
    let nothing = (0.0, false);
    let row = |name, (share, over): (f64, bool), target| (name, share, target, over);
    let all =
        |p1, p4| vec![row("P1", p1, 0.01), row("P2", nothing, 0.05), row("P3", nothing, 0.15), row("P4", p4, 0.8)];
    assert_eq!(told(&events(20, 1)), all((0.05, true), (0.95, false)));
    assert_eq!(told(&events(19, 19)), all((1.0, false), nothing), "of so few nothing can be said");
    assert_eq!(told(&events(100, 1)), all((0.01, false), (0.99, false)), "as many as there may be");
}

#[test]
fn every_target_names_a_figure_and_what_nobody_asked_about_is_not_known() {
    let mut figures = Figures {
        stale: Stale { share: Some(0.02), ..Stale::default() },
        unapproved: Some(Unapproved { count: 3, shelved: 2, rules: 1 }),
        top: Often { sources: 11, share: 0.5, ..Often::default() },
        ..Figures::default()
    };
    for target in TARGETS {
        assert!(figures.named(target.figure).is_some(), "{}", target.figure);
    }
    assert_eq!((figures.named("unapproved.count"), figures.named("stale.share")), (Some(3.0), Some(0.02)));
    (figures.unapproved, figures.stale.share, figures.top.sources) = (None, None, 0);
    for figure in ["unapproved.count", "stale.share", "top.share", "nothing"] {
        assert_eq!(figures.named(figure), None, "{figure}");
    }
}
