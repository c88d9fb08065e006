//! `[[limit]]`: stricter limits for a site, a season or some points, without touching a rule.
//!
//! ```toml
//! [[limit]]
//! rule = "river-warning"             # without it every rule that has a limit of that name
//! limit = "warning"
//! site = "reach-1"                   # or points = ["reach-1.*"]
//! season = "flood"                   # of [calendar]; without it all the year
//! value = 24.5
//! unit = "m"                         # as in the rule
//! basis = "flood plan 2026"
//! by = "Wang"
//! ```
//! Whether the rule has such a limit in that unit, and that the value is not looser, is told by the rules' check.

use serde::Deserialize;

use super::points::ConfiguredPoint;
use super::{Key, Problems};
use crate::model::{Calendar, Scope, SetLimit, fits};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    rule: Option<String>,
    limit: String,
    site: Option<String>,
    points: Option<Vec<String>>,
    season: Option<String>,
    value: f64,
    unit: String,
    basis: String,
    by: String,
}

/// All of them; one with a problem is left out.
pub(super) fn read(
    value: Option<toml::Value>,
    calendar: &Calendar,
    points: &[ConfiguredPoint],
    problems: &mut Problems,
) -> Vec<SetLimit> {
    let at = Key::of("limit");
    let list = match value {
        None => return Vec::new(),
        Some(toml::Value::Array(list)) => list,
        Some(_) => {
            problems.add(at, "is a list: write [[limit]]");
            return Vec::new();
        }
    };
    let mut limits: Vec<SetLimit> = Vec::new();
    for (place, value) in list.into_iter().enumerate() {
        let at = at.index(place);
        let Some(raw) = problems.read::<Raw>(&at, value) else { continue };
        let Some(limit) = raw.check(&at, calendar, points, problems) else { continue };
        if let Some(first) = limits.iter().find(|known| limit.replaces(known)) {
            problems.add(at, format!("says the same as {} with another value or words; keep one", first.id));
            continue;
        }
        limits.push(limit);
    }
    limits
}

impl Raw {
    fn check(
        self,
        at: &Key,
        calendar: &Calendar,
        points: &[ConfiguredPoint],
        problems: &mut Problems,
    ) -> Option<SetLimit> {
        let before = problems.len();
        let sites = || points.iter().map(|point| (&*point.point.site, ()));
        let scope = match (self.site, self.points) {
            (Some(site), None) => {
                problems.known(at.field("site"), &site, "site with points", sites());
                Some(Scope::Site(site.into()))
            }
            (None, Some(patterns)) if !patterns.is_empty() => {
                let names_one = |pattern: &str| points.iter().any(|point| fits(pattern, &point.point.id));
                for pattern in patterns.iter().filter(|pattern| !names_one(pattern)) {
                    problems.add(at.field("points"), format!("{pattern:?} names no point"));
                }
                Some(Scope::Points(patterns))
            }
            (Some(_), Some(_)) => {
                problems.add(at.field("points"), "site is given too; leave one of them");
                None
            }
            (None, Some(_) | None) => {
                problems.add(at.field("site"), "say where: site = \"..\" or points = [\"site.*\"]");
                None
            }
        };
        if let Some(season) = &self.season {
            let known = calendar.seasons.iter().map(|season| (season.name.as_str(), ()));
            problems.known(at.field("season"), season, "season of [calendar]", known);
        }
        if !self.value.is_finite() {
            problems.add(at.field("value"), format!("{} is not a finite number", self.value));
        }
        for (key, text, what) in [("basis", &self.basis, "why"), ("by", &self.by, "who")] {
            if text.trim().is_empty() {
                problems.add(at.field(key), format!("is empty; say {what}"));
            }
        }
        (problems.len() == before).then_some(())?;
        Some(SetLimit {
            id: at.to_string(),
            rule: self.rule,
            limit: self.limit,
            scope: scope?,
            season: self.season,
            value: self.value,
            unit: self.unit,
            by: self.by,
            reason: self.basis,
            at: None,
        })
    }
}
