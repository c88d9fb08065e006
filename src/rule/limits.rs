//! Limits in layers: the rule's number is the legal one; site, season and point may only be stricter.
//!
//! ```text
//!  legal ─► rule (`set`) ─► site ─► season ─► point         the strictest of those that apply now is in force
//!     └──── exemption ────┘                                  stands in for the first two while it lasts
//! ```
//! In come the rule, the point and what people have set ([`Layers`]); out comes one number for each limit, and
//! every layer with why it counts or does not. A number that is looser than the rule's, or in another unit, is
//! never in force, however it got here. Seasons are those of the moment that [`Layers::pass`] was last told.

use std::rc::Rc;

use rhai::ImmutableString;

use super::layers::Layers;
use super::{Rule, Watch};
use crate::model::{Layer, Limit, Point, PointIndex, SetLimit, Stricter, Timestamp};

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
    let mut steps = by_rule(rule, (name, limit), at, layers);
    let legal = || own(limit, Layer::Legal, limit.value);
    let base = strictest(&steps, limit.stricter).map_or_else(legal, |place| steps[place].clone());
    let first = steps.len();
    steps.extend(layers.limits_at(at).filter(|one| one.concerns(&rule.id, name)).map(|one| Step {
        id: &one.id,
        by: &one.by,
        at: one.at,
        unit: &one.unit,
        reason: &one.reason,
        season: one.season.as_deref(),
        standing: standing(one, rule, limit, &base, layers, &point.site),
        ..own(limit, one.layer(), one.value)
    }));
    // A number that names the rule as well comes last: it is the narrowest.
    let qualified = format!("{}.{name}", rule.id);
    for key in [name, &qualified] {
        let Some(value) = point.limits.get(key).copied() else { continue };
        let standing = if limit.stricter.looser(value, base.value) {
            Standing::Refused(format!(
                "point {}: limit {key} = {value} is looser than {}; the rule's limit stands",
                point.id,
                told(&rule.id, &base)
            ))
        } else {
            Standing::Applies
        };
        steps.push(Step { reason: "the point table", standing, ..own(limit, Layer::Point, value) });
    }
    steps[first..].sort_by_key(|step| step.layer);
    steps
}

fn own(limit: &Limit, layer: Layer, value: f64) -> Step<'_> {
    Step {
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
    }
}

/// The rule's own numbers, and what stands in for them.
fn by_rule<'a>(
    rule: &'a Rule,
    (name, limit): (&'a str, &'a Limit),
    at: PointIndex,
    layers: &'a Layers,
) -> Vec<Step<'a>> {
    let mut steps = vec![own(limit, Layer::Legal, limit.value)];
    let exemptions = layers.exemptions_at(at).filter(|one| *one.rule == *rule.id && one.limit == name);
    steps.extend(exemptions.map(|one| Step {
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
        ..own(limit, Layer::Exemption, one.value)
    }));
    let exempt = steps.iter().any(|step| step.layer == Layer::Exemption && step.standing == Standing::Applies);
    steps.extend(limit.set.map(|set| own(limit, Layer::Rule, set)));
    if exempt {
        let replaced = steps.iter_mut().filter(|step| step.layer != Layer::Exemption);
        replaced.for_each(|step| step.standing = Standing::Exempted);
    }
    steps
}

fn standing(one: &SetLimit, rule: &Rule, limit: &Limit, base: &Step<'_>, layers: &Layers, site: &str) -> Standing {
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
        Some(season) if !layers.in_season(season, site) => Standing::OutOfSeason,
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
    let bare = point.limits.is_empty() && !layers.any_at(at);
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
