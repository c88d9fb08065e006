//! Everything that reduces protection at one moment, as one list, and what is left at each site.
//!
//! In come what facts have on record, the newest samples, the rules in force and a moment; out come the reductions,
//! each with owner, reason, approval and end as far as it has them, and one share for each site. Whoever tells of
//! protection asks here, so that a message, the API and a list that is signed never differ. A point counts as
//! unreduced while nothing takes any of its protection away. What lies between an alarm and people (sirens,
//! recipients, positions) takes it from no point: it is listed with its sites. Never: a clock, I/O, a decision.

mod people;
mod points;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::alarm::{Alarm, Aside, AsideFact};
use crate::board::Heard;
use crate::facts::Recipient;
use crate::journal::Setup;
use crate::model::{
    Calendar, Exemption, Exercise, ExerciseFact, Permit, PointId, PointIndex, PointTable, SiteId, SiteStanding,
    SiteState, Timestamp,
};
use crate::response::Kept;
use crate::rule::{self, Language, Rule};

/// What facts have on record and what has not ended.
#[derive(Clone, Debug, Default)]
pub struct OnRecord {
    pub permits: Vec<Permit>,
    pub exercises: Vec<ExerciseFact>,
    pub exemptions: Vec<Exemption>,
    pub asides: Vec<AsideFact>,
    pub sites: Vec<SiteStanding>,
    /// Of Davy's own conditions.
    pub alarms: Vec<Alarm>,
    pub duty: Vec<Kept>,
    /// Of interlocks that are bypassed: when their oldest open alarm was raised.
    pub bypassed: BTreeMap<PointId, Timestamp>,
}

/// All that the list is made of.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    pub at: Timestamp,
    pub table: &'a PointTable,
    pub setup: Option<&'a Setup>,
    pub heard: &'a Heard,
    pub recipients: &'a [Recipient],
    pub record: &'a OnRecord,
}

/// One thing that reduces protection, and where.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reduction {
    pub kind: &'static str,
    pub id: String,
    pub subject: String,
    pub owner: Option<String>,
    pub reason: String,
    pub approval: Option<String>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// It should have ended.
    pub overdue: bool,
    /// Points that have less protection by it.
    pub points: Vec<PointIndex>,
    /// Where it counts; empty: everywhere.
    pub sites: Vec<SiteId>,
}

/// What is left at a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    pub site: SiteId,
    /// In service.
    pub points: usize,
    pub unreduced: usize,
}

impl Share {
    /// Rounded down: not everything is never 100.
    #[must_use]
    pub fn percent(&self) -> f64 {
        (self.unreduced as f64 / self.points as f64 * 1_000.0).floor() / 10.0
    }
}

/// For every site with a point in service, by name.
#[must_use]
pub fn shares(reductions: &[Reduction], table: &PointTable) -> Vec<Share> {
    let reduced: BTreeSet<PointIndex> = reductions.iter().flat_map(|one| one.points.iter().copied()).collect();
    let mut sites: BTreeMap<&SiteId, (usize, usize)> = BTreeMap::new();
    for (index, point) in table.iter().filter(|(_, point)| !point.retired) {
        let (points, unreduced) = sites.entry(&point.site).or_default();
        *points += 1;
        *unreduced += usize::from(!reduced.contains(&index));
    }
    sites.into_iter().map(|(site, (points, unreduced))| Share { site: site.clone(), points, unreduced }).collect()
}

/// What people did comes first, then what failed.
#[must_use]
pub fn reductions(known: &Known<'_>) -> Vec<Reduction> {
    let interlocks = points::bypassed(known.table, known.heard);
    let mut list = work(known, &interlocks);
    list.extend(known.record.exercises.iter().map(exercise));
    list.extend(known.record.exemptions.iter().map(exemption));
    list.extend(known.record.asides.iter().map(|fact| aside(&fact.aside, known.table)));
    let longest_stop =
        known.setup.map_or_else(|| Calendar::default().longest_stop, |setup| setup.calendar.longest_stop);
    let stopped = known.record.sites.iter().filter(|one| one.state != SiteState::default());
    list.extend(stopped.map(|standing| site(standing, longest_stop)));
    list.extend(rules(known));
    list.extend(points::interlocks(known, &interlocks));
    list.extend(points::unheard(known));
    list.extend(people::outlets(known));
    list.extend(people::positions(known));
    for one in list.iter_mut().filter(|one| !one.points.is_empty()) {
        let sites: BTreeSet<SiteId> =
            one.points.iter().filter_map(|point| known.table.get(*point)).map(|point| point.site.clone()).collect();
        one.sites = sites.into_iter().collect();
    }
    list
}

/// Interlocks that are bypassed now: facts are asked for their alarms.
#[must_use]
pub fn bypassed_interlocks(table: &PointTable, heard: &Heard) -> Vec<PointId> {
    let of = |index: PointIndex| table.get(index).map(|point| point.id.clone());
    points::bypassed(table, heard).into_iter().filter_map(of).collect()
}

/// A permit that is overdue counts until somebody ends it: nobody knows what is on the sensor. Interlocks that are
/// bypassed under it stand in lines of their own.
fn work(known: &Known<'_>, interlocks: &BTreeSet<PointIndex>) -> Vec<Reduction> {
    let others = |permit: &Permit| permit.points.iter().filter(|point| !interlocks.contains(point)).copied().collect();
    let permits = known.record.permits.iter().map(|permit| (permit, others(permit)));
    let permits = permits.filter(|(_, points): &(_, Vec<PointIndex>)| !points.is_empty());
    permits.map(|(permit, points)| Reduction { points, ..of_permit("permit", permit, known.at) }).collect()
}

fn of_permit(kind: &'static str, permit: &Permit, at: Timestamp) -> Reduction {
    Reduction {
        kind,
        id: permit.id.clone(),
        subject: format!("{} {}", permit.kind.word(), permit.scope),
        owner: Some(permit.by.clone()),
        reason: permit.reason.clone(),
        since: Some(permit.from),
        until: Some(permit.until),
        overdue: permit.until <= at,
        ..Reduction::default()
    }
}

/// The real values of its points are judged as ever: no point is reduced.
fn exercise(ExerciseFact { exercise, injections, .. }: &ExerciseFact) -> Reduction {
    let Exercise { id, site, scope, by, reason, from, until, .. } = exercise;
    Reduction {
        kind: "exercise",
        id: id.clone(),
        subject: format!("{scope} ({} injected)", injections.len()),
        owner: Some(by.clone()),
        reason: reason.clone(),
        since: Some(*from),
        until: Some(*until),
        sites: vec![site.clone()],
        ..Reduction::default()
    }
}

fn exemption(of: &Exemption) -> Reduction {
    let Exemption { id, rule, limit, points, scope, value, by, approved_by, basis, from, until } = of;
    Reduction {
        kind: "exemption",
        id: id.clone(),
        subject: format!("{rule} {limit} = {value} {scope}"),
        owner: Some(by.clone()),
        reason: basis.clone(),
        approval: Some(approved_by.clone()),
        since: Some(*from),
        until: Some(*until),
        points: points.clone(),
        ..Reduction::default()
    }
}

fn aside(of: &Aside, table: &PointTable) -> Reduction {
    let Aside { id, way, rule, subject, by, approved_by, reason, from, until, .. } = of;
    Reduction {
        kind: way.word(),
        id: id.clone(),
        subject: format!("{rule} {subject}"),
        owner: Some(by.clone()),
        reason: reason.clone(),
        approval: approved_by.clone(),
        since: Some(*from),
        until: *until,
        points: table.find(subject).into_iter().collect(),
        ..Reduction::default()
    }
}

/// Rules that are not in force as they are meant to be. A broken file or a refused limit takes nothing from a point:
/// what was in force before still is.
fn rules(known: &Known<'_>) -> Vec<Reduction> {
    let mut list = Vec::new();
    let compiled = match known.setup {
        Some(setup) if holding(known, "davy-rule-fault").next().is_some() => in_force(setup),
        Some(_) | None => Vec::new(),
    };
    for alarm in holding(known, "davy-rule-fault") {
        // Which of its points it fails at, the alarm does not say.
        let id = alarm.subject.strip_prefix("rule ").unwrap_or(&alarm.subject);
        let rule = compiled.iter().find(|rule| *rule.id == *id);
        let points = rule.map_or_else(Vec::new, |rule| watched(rule, known.table));
        list.push(Reduction { points, ..of_alarm("rule_fault", alarm) });
    }
    for (kind, rule) in [("rule_file", "davy-rule-file"), ("refused_limits", "davy-rule-limit")] {
        list.extend(holding(known, rule).map(|alarm| of_alarm(kind, alarm)));
    }
    list
}

/// What it makes quiet by the design stands in lines of its own, point by point. Rules that ask for the site's state
/// in their own words take what they like from it; that is not counted.
fn site(of: &SiteStanding, longest_stop: Duration) -> Reduction {
    let SiteStanding { site, state, since, by, reason, approved_by, until: _ } = of;
    Reduction {
        kind: "site",
        id: site.to_string(),
        subject: format!("{site} is {}", state.word()),
        owner: Some(by.clone()),
        reason: reason.clone(),
        approval: (!approved_by.is_empty()).then(|| approved_by.clone()),
        since: Some(*since),
        until: of.ends(longest_stop),
        sites: vec![site.clone()],
        ..Reduction::default()
    }
}

fn in_force(setup: &Setup) -> Vec<Rule> {
    let language = Language::new();
    let files = setup.rules.iter().filter_map(|file| rule::read_file(&language, file).ok());
    files.flat_map(|(rules, _)| rules).collect()
}

fn watched(rule: &Rule, table: &PointTable) -> Vec<PointIndex> {
    let alive = table.iter().filter(|(_, point)| !point.retired);
    alive.filter(|(_, point)| rule::watches(rule, point)).map(|(index, _)| index).collect()
}

/// Davy's own alarms of that rule whose condition holds, also where it is set aside.
fn holding<'a>(known: &Known<'a>, rule: &'static str) -> impl Iterator<Item = &'a Alarm> + use<'a> {
    known.record.alarms.iter().filter(move |alarm| *alarm.rule == *rule && alarm.cleared.is_none())
}

fn of_alarm(kind: &'static str, alarm: &Alarm) -> Reduction {
    Reduction {
        kind,
        id: alarm.id.to_string(),
        subject: alarm.subject.to_string(),
        reason: if alarm.detail.is_empty() { alarm.title.clone() } else { alarm.detail.clone() },
        since: Some(alarm.raised),
        ..Reduction::default()
    }
}

#[cfg(test)]
mod tests;
