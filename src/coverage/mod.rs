//! Coverage: is everything measured that must be measured? (重大危险源在线监测监控率)
//!
//! In come the hazard units with their required measurements, the point table and the newest samples; out
//! goes, for each unit, whether every requirement has enough points that are good at this moment, and for
//! each that has not, what is missing and why. A unit is covered or not: half a unit is none, and a
//! gateway without units has no rate rather than a perfect one. Good means: live by Davy's clock, of quality
//! good, measured now (not back-filled) and for real (not an exercise).

mod config;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::board::{Freshness, freshness};
use crate::model::{Grade, Kind, Point, PointTable, Reason, Sample, Timestamp, fits};

pub use config::read;

/// Something that must be watched as a whole: a coal face, a tank, a reach of a river.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// `site.unit`.
    pub id: String,
    pub site: String,
    pub name: String,
    /// Patterns of the part of a point's id after the site; empty: all points of the site.
    points: Vec<String>,
    needs: Vec<Need>,
}

/// So many points of one of these kinds at this place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Need {
    kinds: Vec<Kind>,
    /// `None`: anywhere in the unit.
    place: Option<String>,
    count: usize,
    /// The set that asks for it; empty when the unit's own table does.
    set: String,
    basis: String,
    /// Met as well when all of these are.
    or: Vec<Need>,
}

impl Unit {
    /// Could the point count for this unit?
    #[must_use]
    pub fn may_be_of(&self, point: &Point) -> bool {
        *point.site == *self.site
            && (self.points.is_empty() || self.points.iter().any(|pattern| fits(pattern, point.local())))
    }
}

impl Need {
    fn asks_for(&self, point: &Point) -> bool {
        self.kinds.contains(&point.kind) && self.place.as_deref().is_none_or(|place| place == point.place)
    }
}

/// Coverage at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Survey {
    #[serde(flatten)]
    pub total: Rate,
    pub sites: Vec<SiteSurvey>,
}

/// Units and points of all sites, or of one.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Rate {
    pub units: usize,
    pub covered: usize,
    /// Covered units out of all; `null` when there is no unit.
    pub rate: Option<f64>,
    /// Points in service, and those that are good now.
    pub points: usize,
    pub good: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SiteSurvey {
    pub site: String,
    #[serde(flatten)]
    pub of: Rate,
    pub list: Vec<UnitSurvey>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UnitSurvey {
    pub id: String,
    pub name: String,
    pub covered: bool,
    pub requires: Vec<NeedSurvey>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NeedSurvey {
    pub kinds: Vec<&'static str>,
    pub place: Option<String>,
    pub count: usize,
    pub good: usize,
    pub met: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub set: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub basis: String,
    /// Only when the need is not met.
    pub missing: Vec<Missing>,
}

/// Why a point that is needed does not count, or that there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// `null`: not configured.
    pub point: Option<String>,
    /// `not_configured`, `retired`, `waiting`, `stale`, or the words of its quality (`calibrating`,
    /// `sensor_fault`, `late`).
    pub why: String,
    /// How many points are not configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub short_of: Option<usize>,
    /// Receive time of the newest sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

impl Rate {
    fn add(&mut self, other: &Self) {
        self.units += other.units;
        self.covered += other.covered;
        self.points += other.points;
        self.good += other.good;
        self.settle();
    }

    fn settle(&mut self) {
        self.rate = (self.units > 0).then(|| self.covered as f64 / self.units as f64);
    }
}

/// Looks at every unit. `latest` is in index order, as the board gives it.
#[must_use]
pub fn survey(units: &[Unit], table: &PointTable, latest: &[Option<Sample>], now: Timestamp) -> Survey {
    let mut by_site = BTreeMap::<&str, Vec<Seen<'_>>>::new();
    for (index, point) in table.iter() {
        let sample = latest.get(index.at()).and_then(Option::as_ref);
        by_site.entry(&point.site).or_default().push(Seen { point, sample, why: why_not(point, sample, now) });
    }
    for unit in units {
        by_site.entry(&unit.site).or_default();
    }
    let mut sites = Vec::with_capacity(by_site.len());
    let mut total = Rate::default();
    for (site, points) in &by_site {
        let list: Vec<UnitSurvey> =
            units.iter().filter(|unit| unit.site == *site).map(|unit| look_at(unit, points)).collect();
        let in_service = points.iter().filter(|seen| !seen.point.retired);
        let mut of = Rate {
            units: list.len(),
            covered: list.iter().filter(|unit| unit.covered).count(),
            rate: None,
            points: in_service.clone().count(),
            good: in_service.filter(|seen| seen.why.is_none()).count(),
        };
        of.settle();
        if of.points == 0 && of.units == 0 {
            continue;
        }
        total.add(&of);
        sites.push(SiteSurvey { site: (*site).to_owned(), of, list });
    }
    Survey { total, sites }
}

struct Seen<'a> {
    point: &'a Point,
    sample: Option<&'a Sample>,
    /// `None`: it is good.
    why: Option<String>,
}

fn look_at(unit: &Unit, points: &[Seen<'_>]) -> UnitSurvey {
    let own: Vec<&Seen<'_>> = points.iter().filter(|seen| unit.may_be_of(seen.point)).collect();
    let requires: Vec<NeedSurvey> = unit.needs.iter().map(|need| weigh(need, &own)).collect();
    let covered = requires.iter().all(|need| need.met);
    UnitSurvey { id: unit.id.clone(), name: unit.name.clone(), covered, requires }
}

fn weigh(need: &Need, own: &[&Seen<'_>]) -> NeedSurvey {
    let asked: Vec<&Seen<'_>> = own.iter().copied().filter(|seen| need.asks_for(seen.point)).collect();
    let good = asked.iter().filter(|seen| seen.why.is_none()).count();
    let others: Vec<NeedSurvey> = need.or.iter().map(|other| weigh(other, own)).collect();
    let met = good >= need.count || (!others.is_empty() && others.iter().all(|other| other.met));
    let mut missing = Vec::new();
    if !met {
        for seen in &asked {
            if let Some(why) = &seen.why {
                missing.push(Missing {
                    point: Some(seen.point.id.to_string()),
                    why: why.clone(),
                    short_of: None,
                    since: seen.sample.map(|sample| sample.receive_time.to_string()),
                });
            }
        }
        let in_service = asked.iter().filter(|seen| !seen.point.retired).count();
        if in_service < need.count {
            let short_of = Some(need.count - in_service);
            missing.push(Missing { point: None, why: "not_configured".into(), short_of, since: None });
        }
    }
    NeedSurvey {
        kinds: need.kinds.iter().map(|kind| kind.word()).collect(),
        place: need.place.clone(),
        count: need.count,
        good,
        met,
        set: need.set.clone(),
        basis: need.basis.clone(),
        missing,
    }
}

/// Is it live, of quality good, measured now and for real?
#[must_use]
pub fn is_good(point: &Point, sample: Option<&Sample>, now: Timestamp) -> bool {
    why_not(point, sample, now).is_none()
}

/// Why a point is not good now.
fn why_not(point: &Point, sample: Option<&Sample>, now: Timestamp) -> Option<String> {
    if point.retired {
        return Some("retired".into());
    }
    let Some(sample) = sample else { return Some("waiting".into()) };
    if !sample.quality.has(Reason::Late) && freshness(point, Some(sample), now) != Freshness::Live {
        return Some("stale".into());
    }
    let lesser = |reason: &Reason| reason.grade() != Grade::Good || matches!(reason, Reason::Exercise | Reason::Late);
    let words: Vec<&str> = sample.quality.reasons().filter(lesser).map(Reason::word).collect();
    (!words.is_empty()).then(|| words.join("+"))
}

#[cfg(test)]
mod tests;
