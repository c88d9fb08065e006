//! Who is on duty: the roster's shift at a moment, leave and substitutes, positions of a place, the policy of an alarm.
//!
//! In come the duty of the setup, what people have said since (leave, signatures) and a moment; out go persons in
//! the order in which they are called. Pure. For every roster and every moment there is exactly one shift. Local
//! time is the fixed offset of `[calendar]`: no shift is ever missing or double when clocks elsewhere are changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::alarm::Alarm;
use crate::journal::Setup;
use crate::model::{
    Duty, Hazard, Kind, Leave, PointId, Policy, Position, Quality, Reason, Roster, Route, SiteId, Tier, Timestamp, Who,
    Zone,
};

const DAY_MINUTES: i64 = 24 * 60;
/// Substitutes of substitutes that are looked at.
const CHAIN: usize = 8;

/// One shift on one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shift<'a> {
    pub from: Timestamp,
    pub until: Timestamp,
    pub crew: &'a [String],
}

impl Roster {
    /// The shift in which the moment lies.
    #[must_use]
    pub fn shift(&self, zone: Zone, at: Timestamp) -> Shift<'_> {
        let local = at.micros().saturating_add(i64::from(zone.0) * 1_000_000);
        let minutes = local.div_euclid(60_000_000);
        let (day, minute) = (minutes.div_euclid(DAY_MINUTES), minutes.rem_euclid(DAY_MINUTES));
        match self.starts.iter().rposition(|start| i64::from(*start) <= minute) {
            Some(place) => self.numbered(zone, day, place),
            // Before the first of today: the last of yesterday spans midnight.
            None => self.numbered(zone, day - 1, self.starts.len().saturating_sub(1)),
        }
    }

    /// The one after it.
    #[must_use]
    pub fn next(&self, zone: Zone, at: Timestamp) -> Shift<'_> {
        self.shift(zone, self.shift(zone, at).until)
    }

    /// The one before it.
    #[must_use]
    pub fn before(&self, zone: Zone, at: Timestamp) -> Shift<'_> {
        self.shift(zone, Timestamp::from_micros(self.shift(zone, at).from.micros() - 1))
    }

    fn numbered(&self, zone: Zone, day: i64, place: usize) -> Shift<'_> {
        let moment = |day: i64, minute: u16| {
            Timestamp::from_secs((day * DAY_MINUTES + i64::from(minute)) * 60 - i64::from(zone.0))
        };
        let start = |place: usize| self.starts.get(place).copied();
        let from = moment(day, start(place).unwrap_or(0));
        let until = match start(place + 1) {
            Some(next) => moment(day, next),
            None => moment(day + 1, start(0).unwrap_or(0)),
        };
        let days = i64::try_from(self.cycle.len()).unwrap_or(1).max(1);
        let of_day = self.cycle.get((day - self.first_day).rem_euclid(days) as usize);
        let crew = of_day.and_then(|crews| crews.get(place)).map_or(&[][..], Vec::as_slice);
        Shift { from, until, crew }
    }
}

/// What people have said about duty since the configuration was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    pub leave: Vec<Leave>,
    /// By roster: the beginning of the shift that has signed for taking over.
    pub signed: BTreeMap<String, Timestamp>,
}

/// Duty at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Now<'a> {
    pub duty: &'a Duty,
    pub said: &'a Said,
    pub zone: Zone,
    pub at: Timestamp,
}

/// Where an alarm is, for positions and routes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub site: String,
    /// The point's id.
    pub subject: String,
    /// A condition of the gateway itself, which is blind for all sites.
    pub everywhere: bool,
}

impl<'a> Now<'a> {
    /// Persons behind a name, in the order in which they are called, leave looked at, each once.
    #[must_use]
    pub fn persons(&self, who: &Who, place: &Place) -> Vec<&'a str> {
        let mut names: Vec<&'a str> = Vec::new();
        match who {
            Who::Tier(tier) => {
                for (_, position) in self.positions(*tier, place) {
                    names.extend(self.of_position(position));
                }
            }
            Who::Position(name) => {
                names.extend(self.duty.positions.get(name).into_iter().flat_map(|one| self.of_position(one)));
            }
            Who::Person(_) | Who::Team(_) | Who::Roster(_) => names = self.plain(who),
        }
        unique(names)
    }

    /// Persons at a position.
    #[must_use]
    pub fn of_position(&self, position: &'a Position) -> Vec<&'a str> {
        unique(position.who.iter().flat_map(|who| self.plain(who)).collect())
    }

    fn plain(&self, who: &Who) -> Vec<&'a str> {
        let mut names: Vec<&'a str> = Vec::new();
        match who {
            Who::Person(name) => names.extend(self.duty.people.get_key_value(name).map(|(key, _)| key.as_str())),
            Who::Team(name) => names.extend(self.duty.teams.get(name).into_iter().flatten().map(String::as_str)),
            Who::Roster(name) => {
                if let Some((key, roster)) = self.duty.rosters.get_key_value(name) {
                    names.extend(roster.shift(self.zone, self.at).crew.iter().map(String::as_str));
                    // The earlier shift goes on being called until it has handed over.
                    names.extend(self.not_released(key, roster).map(String::as_str));
                    names.extend(roster.substitutes.iter().map(String::as_str));
                }
            }
            Who::Tier(_) | Who::Position(_) => {}
        }
        unique(names.into_iter().filter_map(|name| self.stands_in(name)).collect())
    }

    /// The crew that has not handed over yet.
    fn not_released(&self, name: &str, roster: &'a Roster) -> impl Iterator<Item = &'a String> {
        let crew = if self.unsigned(name, roster).is_some() { roster.before(self.zone, self.at).crew } else { &[] };
        crew.iter()
    }

    /// Since when a hand-over is owed here.
    #[must_use]
    pub fn unsigned(&self, name: &str, roster: &Roster) -> Option<Timestamp> {
        roster.handover_within?;
        let shift = roster.shift(self.zone, self.at);
        let same_people = shift.crew == roster.before(self.zone, self.at).crew;
        let signed = self.said.signed.get(name).is_none_or(|signed| *signed >= shift.from);
        (!signed && !same_people).then_some(shift.from)
    }

    /// Is the person away now?
    #[must_use]
    pub fn leave_of(&self, person: &str) -> Option<&'a Leave> {
        let away = |leave: &&'a Leave| leave.person == person && leave.from <= self.at && self.at < leave.until;
        self.said.leave.iter().chain(&self.duty.leave).find(away)
    }

    /// May the person go? Not for too long, not without a reason, and not where nobody is left who can be called.
    pub fn may_leave(&self, leave: &Leave) -> Result<(), String> {
        if leave.until.since(leave.from) > Leave::LONGEST {
            let days = Leave::LONGEST.as_secs() / 86_400;
            return Err(format!("请假最长 {days} 天 / a leave is at most {days} days: until {} is later", leave.until));
        }
        if leave.reason.trim().is_empty() {
            return Err("reason: say why".into());
        }
        let mut gone = self.said.clone();
        // Every shift will have been handed over: the crew before it does not count as being there.
        gone.signed = self.duty.rosters.keys().map(|name| (name.clone(), Timestamp::from_micros(i64::MAX))).collect();
        let here = gone.clone();
        gone.leave.retain(|known| known.id != leave.id);
        gone.leave.push(leave.clone());
        for at in self.moments(leave) {
            let (before, after) = (Now { said: &here, at, ..*self }, Now { said: &gone, at, ..*self });
            for (name, position) in &self.duty.positions {
                if before.is_staffed(position) && !after.is_staffed(position) {
                    return Err(format!(
                        "{at} 起岗位 {name} 无人可叫 / nobody can be called at position {name} from {at} on: name a \
                         substitute who is there then"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Is there somebody who can be called?
    #[must_use]
    pub fn is_staffed(&self, position: &'a Position) -> bool {
        let reached = |key: &&str| self.duty.people.get(*key).is_some_and(|one| !one.reach.is_empty());
        self.of_position(position).iter().any(reached)
    }

    /// When who is on duty may change within the leave: its beginning, shifts, and the leave of others.
    fn moments(&self, leave: &Leave) -> BTreeSet<Timestamp> {
        let first = leave.from.max(self.at);
        let mut moments = BTreeSet::from([first]);
        let others = self.said.leave.iter().chain(&self.duty.leave).map(|known| known.from);
        moments.extend(others.filter(|from| first < *from && *from < leave.until));
        for roster in self.duty.rosters.values() {
            let mut shift = roster.next(self.zone, first);
            while shift.from < leave.until && shift.from < shift.until {
                moments.insert(shift.from);
                shift = roster.next(self.zone, shift.from);
            }
        }
        moments
    }

    /// The person, or who stands in; nobody when all of them are away.
    #[must_use]
    pub fn stands_in(&self, person: &'a str) -> Option<&'a str> {
        let mut name = person;
        for _ in 0..CHAIN {
            match self.leave_of(name) {
                None => return Some(name),
                Some(leave) => name = leave.substitute.as_deref()?,
            }
        }
        None
    }

    /// Positions of a level for a place. Those of an area that holds it come before those that are for everywhere.
    #[must_use]
    pub fn positions(&self, tier: Tier, place: &Place) -> Vec<(&'a str, &'a Position)> {
        let of_tier = self.duty.positions.iter().filter(|(_, one)| one.tier == tier);
        let mut list: Vec<(&'a str, &'a Position)> = of_tier
            .filter(|(_, one)| match &one.area {
                None => true,
                Some(area) => place.everywhere || self.in_area(area, place),
            })
            .map(|(name, one)| (name.as_str(), one))
            .collect();
        if !place.everywhere && list.iter().any(|(_, one)| one.area.is_some()) {
            list.retain(|(_, one)| one.area.is_some());
        }
        list
    }

    fn in_area(&self, area: &str, place: &Place) -> bool {
        self.duty.areas.get(area).is_some_and(|area| area.holds(&place.site, &place.subject))
    }

    /// The place of a position, for alarms about the position itself.
    #[must_use]
    pub fn place_of(&self, position: &Position) -> Place {
        let area = position.area.as_ref().and_then(|area| self.duty.areas.get(area));
        let first = |list: &[String]| list.first().cloned().unwrap_or_default();
        Place {
            site: area.map_or_else(String::new, |area| first(&area.sites)),
            subject: area.map_or_else(String::new, |area| first(&area.points)),
            everywhere: area.is_none(),
        }
    }

    /// Name and text of the policy for an alarm; the times of class C and D sites are halved.
    #[must_use]
    pub fn policy(&self, alarm: &Alarm, kind: Option<Kind>, place: &Place) -> (String, Policy) {
        let exercise = is_exercise(alarm.quality);
        let hazard = kind.map_or(Hazard::Gateway, Hazard::of);
        let minute = (self.at.micros() + i64::from(self.zone.0) * 1_000_000).div_euclid(60_000_000);
        let minute = minute.rem_euclid(DAY_MINUTES) as u16;
        let fits = |route: &&Route| {
            route.exercise == exercise
                && route.area.as_ref().is_none_or(|area| self.in_area(area, place))
                && route.hazard.is_none_or(|wanted| wanted == hazard)
                && (route.kinds.is_empty() || kind.is_some_and(|kind| route.kinds.contains(&kind)))
                && route.level.is_none_or(|level| level == alarm.level)
                && route.priority.is_none_or(|priority| priority == alarm.priority)
                && route.hours.is_none_or(|(from, to)| {
                    if from <= to { from <= minute && minute < to } else { from <= minute || minute < to }
                })
        };
        let name = self.duty.routes.iter().find(fits).map_or_else(
            || if exercise { "exercise".to_owned() } else { alarm.priority.word().to_owned() },
            |route| route.policy.clone(),
        );
        let policy = self.duty.policies.get(&name).cloned().unwrap_or_else(|| Policy {
            steps: Vec::new(),
            every: std::time::Duration::from_secs(60),
            calls: 2,
            answer: None,
            again: std::time::Duration::from_secs(600),
            no_answer: None,
        });
        let hurries = self.duty.areas.values().any(|area| {
            !place.everywhere
                && area.class.is_some_and(crate::model::Class::hurries)
                && area.holds(&place.site, &place.subject)
        });
        (name, if hurries { policy.halved() } else { policy })
    }
}

impl Policy {
    /// The same in half the time.
    #[must_use]
    pub fn halved(mut self) -> Self {
        use crate::model::After;
        for step in &mut self.steps {
            step.after = match step.after {
                After::Time(after) => After::Time(after / 2),
                After::ShiftEnd => After::ShiftEnd,
            };
        }
        self.every /= 2;
        self.again /= 2;
        self.no_answer = self.no_answer.map(|pause| pause / 2);
        self.answer = self.answer.map(|answer| answer / 2);
        self
    }
}

#[must_use]
pub fn is_exercise(quality: Quality) -> bool {
    quality.has(Reason::Exercise)
}

/// Sources all of whose points are of one site.
#[must_use]
pub fn sites_of_sources(setup: &Setup) -> BTreeMap<String, SiteId> {
    if setup.parents.is_empty() {
        return BTreeMap::new();
    }
    let sites: HashMap<&str, &SiteId> = setup.points.iter().map(|point| (&*point.id, &point.site)).collect();
    let of_one = |points: &Vec<PointId>| {
        let mut sites = points.iter().filter_map(|point| sites.get(&**point).copied());
        let first = sites.next()?;
        sites.all(|site| site == first).then(|| first.clone())
    };
    setup.parents.iter().filter_map(|(source, points)| Some((source.clone(), of_one(points)?))).collect()
}

fn unique(names: Vec<&str>) -> Vec<&str> {
    let mut list: Vec<&str> = Vec::with_capacity(names.len());
    for name in names {
        if !list.contains(&name) {
            list.push(name);
        }
    }
    list
}

#[cfg(test)]
mod tests;
