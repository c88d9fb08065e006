//! May this limit, or this exemption, come into force? In comes an order with the plan and what is set already;
//! out comes leave, or the words for the person: both numbers, the layer that stands against it and its basis.

use crate::model::{Exemption, Layer, Limit, Point, PointIndex, Scope, SetLimit};

use super::limits::{Standing, Step, steps, strictest, told};
use super::{Layers, Plan, Rule};

/// Limits that people may have set at one time; beyond it they belong into the rules.
const MOST_LIMITS: usize = 10_000;
const MOST_EXEMPTIONS: usize = 1_000;

impl Plan {
    /// Is the limit one of a rule, and does that rule watch any of the points? Else the text says what is known.
    pub fn watched(&self, limit: &SetLimit, reached: &[PointIndex]) -> Result<(), String> {
        let SetLimit { rule, limit: name, scope, .. } = limit;
        self.known(rule.as_deref(), name)?;
        if reached.is_empty() {
            return Err(format!("{scope} names no point"));
        }
        if reached.iter().all(|at| self.limited(limit, *at).next().is_none()) {
            let rule = rule.as_ref().map_or_else(|| format!("no rule with a limit {name}"), |id| format!("rule {id}"));
            let does = if limit.rule.is_some() { "watches no point of" } else { "watches" };
            return Err(format!("{rule} {does} {scope}: it would limit nothing"));
        }
        Ok(())
    }

    /// Leave for a limit that a person sets.
    pub fn admit(&self, limit: &SetLimit, points: &[Point], layers: &Layers) -> Result<(), String> {
        if !limit.value.is_finite() {
            return Err(format!("value {} is not a number", limit.value));
        }
        if layers.set_count() >= MOST_LIMITS {
            return Err(format!("{MOST_LIMITS} limits are set already: end some, or give the rules those numbers"));
        }
        if let Some(season) = &limit.season
            && !layers.calendar().seasons.iter().any(|known| known.name == *season)
        {
            let mut names: Vec<&str> = layers.calendar().seasons.iter().map(|season| &*season.name).collect();
            names.dedup();
            return Err(format!("season {season:?} is not in [calendar]; known are: {}", listed(&names)));
        }
        let reached = layers.reach(&limit.scope, points);
        self.watched(limit, &reached)?;
        for at in reached {
            let Some(point) = points.get(at.at()) else { continue };
            for (rule, number) in self.limited(limit, at) {
                if limit.unit != number.unit {
                    return Err(format!(
                        "limit {} of rule {} is in {:?}, not in {:?}: give the value in that unit",
                        limit.limit, rule.id, number.unit, limit.unit
                    ));
                }
                let mut steps = steps(rule, (&limit.limit, number), (at, point), layers);
                // Only what is wider and always in force: a season, or a narrower number, may come and go.
                steps.retain(|step| step.layer <= Layer::Site && (step.layer < Layer::Site || is_narrower(limit)));
                let against = strictest(&steps, number.stricter).map(|place| &steps[place]);
                if let Some(against) = against.filter(|step| number.stricter.looser(limit.value, step.value)) {
                    return Err(format!(
                        "{} {} is looser than {} at {}; {}",
                        limit.value,
                        limit.unit,
                        told(&rule.id, against),
                        point.id,
                        way_out(against, number)
                    ));
                }
            }
        }
        Ok(())
    }

    /// Where less protection is left without that limit, or with `new` in its place, in words; the first such
    /// point. A limit of a season is weighed as in its season, any other as outside all of them.
    #[must_use]
    pub fn leaves_less(
        &self,
        old: &SetLimit,
        new: Option<&SetLimit>,
        points: &[Point],
        layers: &Layers,
    ) -> Option<String> {
        for at in layers.reach(&old.scope, points) {
            let Some(point) = points.get(at.at()) else { continue };
            for (rule, number) in self.limited(old, at) {
                let mut steps = steps(rule, (&old.limit, number), (at, point), layers);
                steps.retain(|step| step.season.is_none() || step.season == old.season.as_deref());
                for step in &mut steps {
                    if step.standing == Standing::OutOfSeason {
                        step.standing = Standing::Applies;
                    }
                }
                let ruling = |steps: &[Step<'_>]| strictest(steps, number.stricter).map(|place| steps[place].value);
                let before = ruling(&steps);
                match (new, steps.iter_mut().find(|step| step.id == old.id)) {
                    (Some(new), Some(step)) => step.value = new.value,
                    (None, Some(_)) => steps.retain(|step| step.id != old.id),
                    (_, None) => continue,
                }
                let (Some(before), Some(after)) = (before, ruling(&steps)) else { continue };
                if number.stricter.looser(after, before) {
                    return Some(format!("{} {}: {before} -> {after} {}", point.id, rule.id, number.unit));
                }
            }
        }
        None
    }

    /// Leave for an exemption.
    pub fn admit_exemption(&self, wanted: &Exemption, points: &[Point], layers: &Layers) -> Result<(), String> {
        let Exemption { rule, limit: name, value, by, approved_by, from, until, .. } = wanted;
        if by.to_lowercase() == approved_by.to_lowercase() {
            return Err(format!("{by} cannot approve their own exemption: approved_by is another person"));
        }
        if until <= from || until.since(*from) > Exemption::LONGEST {
            let days = Exemption::LONGEST.as_secs() / 86_400;
            return Err(format!("until {until} is not within {days} days from {from}"));
        }
        if layers.exemptions().count() >= MOST_EXEMPTIONS {
            return Err(format!("{MOST_EXEMPTIONS} exemptions are in force already"));
        }
        self.known(Some(rule), name)?;
        let mut changes = false;
        let mut stands = String::new();
        for at in &wanted.points {
            let watch = self.points.get(at.at()).into_iter().flat_map(|plan| &plan.watches);
            let found = watch.map(|watch| &self.rules[watch.rule].rule).find(|known| *known.id == **rule);
            let (Some(known), Some(point)) = (found, points.get(at.at())) else {
                let id = points.get(at.at()).map_or_else(|| at.to_string(), |point| point.id.to_string());
                return Err(format!("rule {rule} does not watch {id}"));
            };
            let Some(number) = known.limits.get(name) else { continue };
            self.loosens(wanted, known, number)?;
            let mut steps = steps(known, (name, number), (*at, point), layers);
            if let Some(other) = steps.iter().find(|step| step.layer == Layer::Exemption) {
                return Err(format!("{} is in force at {} already: end it first", other.id, point.id));
            }
            steps.retain(|step| step.layer > Layer::Exemption && step.layer != Layer::Rule);
            match strictest(&steps, number.stricter).map(|place| &steps[place]) {
                Some(narrower) if !number.stricter.looser(narrower.value, number.value) => {
                    stands = format!("{} at {}", told(rule, narrower), point.id);
                }
                Some(_) | None => changes = true,
            }
        }
        if changes {
            return Ok(());
        }
        Err(format!("{value} would change nothing: {stands} stands and is stricter; end that first"))
    }

    fn loosens(&self, wanted: &Exemption, rule: &Rule, number: &Limit) -> Result<(), String> {
        let Limit { value: legal, unit, stricter, basis, hard, .. } = number;
        if !wanted.value.is_finite() || !stricter.looser(wanted.value, *legal) {
            return Err(format!(
                "{} {unit} is not looser than {legal} {unit} of rule {} ({basis}): it needs no exemption, set it as a limit",
                wanted.value, rule.id
            ));
        }
        match hard {
            Some(hard) if stricter.looser(wanted.value, *hard) => Err(format!(
                "{} {unit} is looser than {hard} {unit}, the hard bound of rule {} ({basis}): no exemption goes beyond it",
                wanted.value, rule.id
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// Is there such a limit?
    fn known(&self, rule: Option<&str>, name: &str) -> Result<(), String> {
        let rules = || self.rules.iter().map(|compiled| &compiled.rule);
        let Some(id) = rule else {
            return match rules().any(|rule| rule.limits.contains_key(name)) {
                true => Ok(()),
                false => Err(format!("no rule has a limit {name}")),
            };
        };
        let Some(rule) = rules().find(|rule| *rule.id == *id) else {
            return Err(format!("there is no rule {id:?} in force"));
        };
        if rule.limits.contains_key(name) {
            return Ok(());
        }
        let names: Vec<&str> = rule.limits.keys().map(String::as_str).collect();
        Err(format!("rule {id} has no limit {name:?}; its limits are: {}", listed(&names)))
    }

    /// Rules at a point that the limit is about, each with its own number.
    fn limited<'a>(&'a self, limit: &'a SetLimit, at: PointIndex) -> impl Iterator<Item = (&'a Rule, &'a Limit)> {
        let watches = self.points.get(at.at()).into_iter().flat_map(|plan| &plan.watches);
        let rules = watches.map(|watch| &self.rules[watch.rule].rule);
        let concerned = rules.filter(|rule| limit.concerns(&rule.id, &limit.limit));
        concerned.filter_map(|rule| Some((rule, rule.limits.get(&limit.limit)?)))
    }
}

/// A site's limit is measured against the rule, everything else against the site's as well.
fn is_narrower(limit: &SetLimit) -> bool {
    match (&limit.scope, &limit.season) {
        (Scope::Points(_), _) | (Scope::Site(_), Some(_)) => true,
        (Scope::Site(_), None) => false,
    }
}

fn way_out(against: &Step<'_>, number: &Limit) -> String {
    debug_assert_eq!(against.standing, Standing::Applies, "only what applies stands against a limit");
    match against.layer {
        Layer::Legal => "each layer may only be stricter; what is looser needs an exemption".into(),
        Layer::Rule => {
            format!("each layer may only be stricter; the legal value is {} ({})", number.value, number.basis)
        }
        Layer::Exemption => "an exemption is the loosest there is".into(),
        Layer::Site | Layer::Season | Layer::Point => "each layer may only be stricter: change that one first".into(),
    }
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}
