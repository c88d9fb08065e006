//! Limits in layers: the rule's number is the legal one; site, season and point may only be stricter.
//!
//! ```text
//!  legal ─► rule (`set`) ─► site ─► season ─► point         the strictest of those that apply now is in force
//!     └──── exemption ────┘                                  stands in for the first two while it lasts
//! ```
//! In come the rule, the point and what people have set ([`Layers`]); out comes one number for each limit, and
//! every layer with why it counts or does not. A number that is looser than the rule's, or in another unit, is
//! never in force, however it got here. Seasons are those of the moment that [`Layers::pass`] was last told.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use rhai::ImmutableString;
use serde::{Deserialize, Serialize};

use super::{Rule, Watch};
use crate::journal::Setup;
use crate::model::{Calendar, Exemption, Layer, Limit, Point, PointIndex, Scope, SetLimit, Stricter, Timestamp, fits};

/// What people have set and nobody has ended, found by point.
#[derive(Debug, Default)]
pub struct Layers {
    configured: Vec<Rc<SetLimit>>,
    set: Vec<Rc<SetLimit>>,
    exemptions: Vec<Rc<Exemption>>,
    calendar: Calendar,
    /// Seasons are those of this moment's local day.
    at: Timestamp,
    here: HashMap<PointIndex, Here>,
    /// All points in the order of their ids, so that an order finds its own without looking at all of them.
    by_id: Vec<PointIndex>,
}

#[derive(Debug, Default)]
struct Here {
    limits: Vec<Rc<SetLimit>>,
    exemptions: Vec<Rc<Exemption>>,
}

/// What of it cannot be had from the setup again: orders in force, and the moment of the seasons.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ordered {
    pub limits: Vec<SetLimit>,
    pub exemptions: Vec<Exemption>,
    pub at: Timestamp,
}

impl Layers {
    /// What is ordered, laid over the points and the configuration's limits.
    #[must_use]
    pub fn of(setup: &Setup, ordered: Ordered) -> Self {
        let mut layers = Self {
            set: ordered.limits.into_iter().map(Rc::new).collect(),
            exemptions: ordered.exemptions.into_iter().map(Rc::new).collect(),
            ..Self::default()
        };
        layers.lay(setup, ordered.at);
        layers
    }

    /// New points and configuration; what is ordered stays.
    pub fn lay(&mut self, setup: &Setup, at: Timestamp) {
        self.configured = setup.limits.iter().cloned().map(Rc::new).collect();
        self.calendar.clone_from(&setup.calendar);
        self.at = at;
        self.by_id = (0_u32..).map(PointIndex).take(setup.points.len()).collect();
        self.by_id.sort_by(|a, b| setup.points[a.at()].id.cmp(&setup.points[b.at()].id));
        self.here = HashMap::new();
        let all: Vec<Rc<SetLimit>> = self.configured.iter().chain(&self.set).cloned().collect();
        for limit in all {
            self.put(&limit, &setup.points);
        }
        for exemption in &self.exemptions {
            for point in &exemption.points {
                self.here.entry(*point).or_default().exemptions.push(exemption.clone());
            }
        }
    }

    #[must_use]
    pub fn ordered(&self) -> Ordered {
        Ordered {
            limits: self.set.iter().map(|limit| (**limit).clone()).collect(),
            exemptions: self.exemptions.iter().map(|exemption| (**exemption).clone()).collect(),
            at: self.at,
        }
    }

    /// The configuration's limits first, then those that were set, in their order.
    pub fn limits(&self) -> impl Iterator<Item = &SetLimit> {
        self.configured.iter().chain(&self.set).map(|limit| &**limit)
    }

    pub fn exemptions(&self) -> impl Iterator<Item = &Exemption> {
        self.exemptions.iter().map(|exemption| &**exemption)
    }

    #[must_use]
    pub const fn calendar(&self) -> &Calendar {
        &self.calendar
    }

    /// How many limits were set and not ended.
    #[must_use]
    pub fn set_count(&self) -> usize {
        self.set.len()
    }

    /// Takes in a limit; returns the one that it replaces, and the points that it is about.
    pub fn set(&mut self, limit: SetLimit, points: &[Point]) -> (Option<Rc<SetLimit>>, Vec<PointIndex>) {
        let old = self.set.iter().position(|known| limit.replaces(known)).map(|place| self.set.remove(place));
        if let Some(old) = &old {
            self.take(old, points);
        }
        let limit = Rc::new(limit);
        self.set.push(limit.clone());
        let reached = self.put(&limit, points);
        (old, reached)
    }

    /// Ends a limit that was set; `None` when there is no such one.
    pub fn end(&mut self, id: &str, points: &[Point]) -> Option<(Rc<SetLimit>, Vec<PointIndex>)> {
        let place = self.set.iter().position(|known| known.id == id)?;
        let limit = self.set.remove(place);
        let reached = self.take(&limit, points);
        Some((limit, reached))
    }

    pub fn exempt(&mut self, exemption: Exemption) {
        let exemption = Rc::new(exemption);
        for point in &exemption.points {
            self.here.entry(*point).or_default().exemptions.push(exemption.clone());
        }
        self.exemptions.push(exemption);
    }

    /// Ends an exemption; `None` when there is no such one.
    pub fn end_exemption(&mut self, id: &str) -> Option<Rc<Exemption>> {
        let place = self.exemptions.iter().position(|known| known.id == id)?;
        let exemption = self.exemptions.remove(place);
        for point in &exemption.points {
            if let Some(here) = self.here.get_mut(point) {
                here.exemptions.retain(|known| known.id != id);
            }
        }
        Some(exemption)
    }

    /// Time has passed. Returns the points whose season may have changed, which only a new local day brings.
    pub fn pass(&mut self, now: Timestamp) -> Vec<PointIndex> {
        if self.calendar.day(now) == self.calendar.day(self.at) {
            return Vec::new();
        }
        self.at = now;
        let seasonal = |here: &Here| here.limits.iter().any(|limit| limit.season.is_some());
        let mut points: Vec<PointIndex> =
            self.here.iter().filter(|(_, here)| seasonal(here)).map(|(point, _)| *point).collect();
        points.sort_unstable();
        points
    }

    /// The points, without retired ones, that a scope names, in the order of their numbers; `points` are those of
    /// the setup that was laid last.
    #[must_use]
    pub fn reach(&self, scope: &Scope, points: &[Point]) -> Vec<PointIndex> {
        let by_id = &self.by_id;
        // What begins alike stands together: a pattern is compared with those only.
        let alike = |prefix: &str| {
            let from = by_id.partition_point(|index| &*points[index.at()].id < prefix);
            let length = by_id[from..].partition_point(|index| points[index.at()].id.starts_with(prefix));
            by_id[from..from + length].iter().copied().filter(|index| !points[index.at()].retired)
        };
        let mut reached = BTreeSet::new();
        match scope {
            Scope::Site(site) => {
                reached.extend(alike(&format!("{site}.")).filter(|index| points[index.at()].site == *site));
            }
            Scope::Points(patterns) => {
                for pattern in patterns {
                    let prefix = pattern.split('*').next().unwrap_or_default();
                    reached.extend(alike(prefix).filter(|index| fits(pattern, &points[index.at()].id)));
                }
            }
        }
        reached.into_iter().collect()
    }

    fn put(&mut self, limit: &Rc<SetLimit>, points: &[Point]) -> Vec<PointIndex> {
        let reached = self.reach(&limit.scope, points);
        for point in &reached {
            self.here.entry(*point).or_default().limits.push(limit.clone());
        }
        reached
    }

    fn take(&mut self, limit: &SetLimit, points: &[Point]) -> Vec<PointIndex> {
        let reached = self.reach(&limit.scope, points);
        for point in &reached {
            if let Some(here) = self.here.get_mut(point) {
                here.limits.retain(|known| known.id != limit.id);
            }
        }
        reached
    }
}

/// One layer of a limit at a point.
#[derive(Clone, Debug, PartialEq)]
pub struct Step<'a> {
    pub layer: Layer,
    pub value: f64,
    pub unit: &'a str,
    /// Of the order; empty for numbers that stand in the rule or the point table.
    pub id: &'a str,
    pub by: &'a str,
    pub at: Option<Timestamp>,
    /// Basis or reason.
    pub reason: &'a str,
    pub season: Option<&'a str>,
    pub until: Option<Timestamp>,
    pub standing: Standing,
}

/// Does a layer count now, and if not, why?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    Applies,
    OutOfSeason,
    /// An exemption stands in for it.
    Exempted,
    /// Looser than the rule's, or in another unit.
    Refused(String),
}

/// Every layer of one limit at a point, the widest first.
#[must_use]
pub fn steps<'a>(
    rule: &'a Rule,
    (name, limit): (&'a str, &'a Limit),
    (at, point): (PointIndex, &'a Point),
    layers: &'a Layers,
) -> Vec<Step<'a>> {
    let own = |layer, value| Step {
        layer,
        value,
        unit: &limit.unit,
        id: "",
        by: "",
        at: None,
        reason: &limit.basis,
        season: None,
        until: None,
        standing: Standing::Applies,
    };
    let mut steps = vec![own(Layer::Legal, limit.value)];
    let here = layers.here.get(&at);
    let exemptions = here.into_iter().flat_map(|here| &here.exemptions);
    steps.extend(exemptions.filter(|one| *one.rule == *rule.id && one.limit == name).map(|one| Step {
        id: &one.id,
        by: &one.by,
        at: Some(one.from),
        reason: &one.basis,
        until: Some(one.until),
        standing: match limit.hard {
            Some(hard) if limit.stricter.looser(one.value, hard) => {
                Standing::Refused(format!("{}: {} is looser than the hard bound {hard} of the rule", one.id, one.value))
            }
            Some(_) | None => Standing::Applies,
        },
        ..own(Layer::Exemption, one.value)
    }));
    let exempt = steps.iter().any(|step| step.layer == Layer::Exemption && step.standing == Standing::Applies);
    steps.extend(limit.set.map(|set| own(Layer::Rule, set)));
    if exempt {
        let replaced = steps.iter_mut().filter(|step| step.layer != Layer::Exemption);
        replaced.for_each(|step| step.standing = Standing::Exempted);
    }
    let base = strictest(&steps, limit.stricter).map_or_else(|| own(Layer::Legal, limit.value), |at| steps[at].clone());
    let set = here.into_iter().flat_map(|here| &here.limits).filter(|one| one.concerns(&rule.id, name));
    let first = steps.len();
    steps.extend(set.map(|one| Step {
        id: &one.id,
        by: &one.by,
        at: one.at,
        unit: &one.unit,
        reason: &one.reason,
        season: one.season.as_deref(),
        standing: standing(one, rule, limit, &base, &layers.calendar, &point.site, layers.at),
        ..own(one.layer(), one.value)
    }));
    // A number that names the rule as well comes last: it is the narrowest.
    let qualified = format!("{}.{name}", rule.id);
    for key in [name, &qualified] {
        let Some(value) = point.limits.get(key).copied() else { continue };
        let standing = match limit.stricter.looser(value, base.value) {
            true => Standing::Refused(format!(
                "point {}: limit {key} = {value} is looser than {}; the rule's limit stands",
                point.id,
                told(&rule.id, &base)
            )),
            false => Standing::Applies,
        };
        steps.push(Step { reason: "the point table", standing, ..own(Layer::Point, value) });
    }
    steps[first..].sort_by_key(|step| step.layer);
    steps
}

fn standing(
    one: &SetLimit,
    rule: &Rule,
    limit: &Limit,
    base: &Step<'_>,
    calendar: &Calendar,
    site: &str,
    at: Timestamp,
) -> Standing {
    let SetLimit { id, scope, limit: name, value, unit, season, .. } = one;
    if *unit != limit.unit {
        return Standing::Refused(format!(
            "{id} ({scope}): limit {name} = {value} is in {unit:?} but rule {} has it in {:?}; the rule's limit stands",
            rule.id, limit.unit
        ));
    }
    if limit.stricter.looser(*value, base.value) {
        return Standing::Refused(format!(
            "{id} ({scope}): limit {name} = {value} is looser than {}; the rule's limit stands",
            told(&rule.id, base)
        ));
    }
    match season {
        Some(season) if !calendar.in_season(season, site, at) => Standing::OutOfSeason,
        Some(_) | None => Standing::Applies,
    }
}

/// A number with the words that make it weigh: whose it is and on what it rests.
#[must_use]
pub fn told(rule: &str, step: &Step<'_>) -> String {
    let Step { value, unit, id, by, reason, .. } = step;
    match step.layer {
        Layer::Legal => format!("{value} {unit} of rule {rule} ({reason})"),
        Layer::Rule => format!("{value} {unit} that rule {rule} works with ({reason})"),
        Layer::Exemption => format!("{value} {unit} of {id} ({reason})"),
        Layer::Site | Layer::Season | Layer::Point if id.is_empty() => {
            format!("{value} {unit} of the {} ({reason})", step.layer.word())
        }
        Layer::Site | Layer::Season | Layer::Point => {
            format!("{value} {unit} of the {} ({id}, {by}: {reason})", step.layer.word())
        }
    }
}

/// Place of the step that is in force: the strictest that applies, the widest of equals.
#[must_use]
pub fn strictest(steps: &[Step<'_>], stricter: Stricter) -> Option<usize> {
    let applying = (0..steps.len()).filter(|place| steps[*place].standing == Standing::Applies);
    applying.reduce(|best, next| if stricter.looser(steps[best].value, steps[next].value) { next } else { best })
}

/// The limits of a rule in force at a point.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective {
    pub limits: Vec<(ImmutableString, f64)>,
    /// The one that stands in when the rule fails, with its direction.
    pub plain: Option<(f64, Stricter)>,
    /// Which exemption one of them rests on.
    pub exempt: Option<Rc<str>>,
    /// Why other numbers do not count.
    pub refused: Vec<String>,
}

/// What is in force at a point now; asked again whenever something changes.
#[must_use]
pub fn effective(rule: &Rule, at: PointIndex, point: &Point, layers: &Layers) -> Effective {
    let bare = point.limits.is_empty() && !layers.here.contains_key(&at);
    let mut effective = Effective { limits: Vec::new(), plain: None, exempt: None, refused: Vec::new() };
    for (name, limit) in &rule.limits {
        let value = if bare {
            limit.set.unwrap_or(limit.value)
        } else {
            let steps = steps(rule, (name, limit), (at, point), layers);
            let ruling = strictest(&steps, limit.stricter).map(|place| &steps[place]);
            if let Some(Step { layer: Layer::Exemption, id, until: Some(until), .. }) = ruling {
                effective.exempt = Some(format!("豁免 / exemption {id} until {until}").into());
            }
            let refused = steps.iter().filter_map(|step| match &step.standing {
                Standing::Refused(why) => Some(why.clone()),
                Standing::Applies | Standing::OutOfSeason | Standing::Exempted => None,
            });
            effective.refused.extend(refused);
            ruling.map_or(limit.value, |step| step.value)
        };
        effective.limits.push((name.into(), value));
    }
    effective.plain = rule.plain_limit().and_then(|name| {
        let value = effective.limits.iter().find(|(known, _)| known == name)?.1;
        Some((value, rule.limits.get(name)?.stricter))
    });
    effective
}

impl Watch {
    /// The limits of the watch anew, after a change of what rules at the point; says whether a number changed.
    /// Whatever was worked out from the numbers has to be worked out again then.
    pub fn relimit(&mut self, rule: &Rule, at: PointIndex, point: &Point, layers: &Layers) -> bool {
        let now = effective(rule, at, point, layers);
        self.exempt = now.exempt;
        let same = self.limits.iter().zip(&now.limits).all(|((_, old), (_, new))| old.to_bits() == new.to_bits());
        if !same {
            self.limits = now.limits.into();
            self.plain = now.plain;
        }
        !same
    }
}
