//! `[coverage."site.unit"]`: the hazard units of a site and what each must have.
//!
//! ```toml
//! [coverage."yuxi-mine.face-3201"]
//! name = "3201 采煤工作面"
//! sets = ["coal-face"]                          # what the law asks for; see sets.toml
//! points = ["3201-*"]                           # its points, by their ids after the site; default all of the site
//! requires = [{ kind = "co", place = "T1" }]    # what this unit must have besides
//! ```
//! In come the tables as written and the shipped sets; out go proven units, or every problem.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Need, Unit};
use crate::config::{Key, Problems};
use crate::model::Kind;

const SETS: &str = include_str!("sets.toml");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUnit {
    #[serde(default)]
    name: String,
    #[serde(default)]
    sets: Vec<String>,
    #[serde(default)]
    points: Vec<String>,
    #[serde(default)]
    requires: Vec<RawNeed>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNeed {
    /// One word or a list of them.
    kind: toml::Value,
    place: Option<String>,
    #[serde(default = "one")]
    count: usize,
    #[serde(default)]
    basis: String,
    #[serde(default)]
    or: Vec<RawNeed>,
}

const fn one() -> usize {
    1
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSet {
    #[expect(dead_code, reason = "for whoever reads the file")]
    name: String,
    basis: String,
    requires: Vec<RawNeed>,
}

/// The units of the section `coverage`.
pub fn read(tables: toml::Table, problems: &mut Problems) -> Vec<Unit> {
    let sets: BTreeMap<String, RawSet> = toml::from_str(SETS).expect("the shipped sets are sound; a test reads them");
    let mut units = Vec::new();
    for (id, value) in tables {
        let at = Key::of(format!("coverage.{id:?}"));
        let before = problems.len();
        let site = match id.split_once('.') {
            Some((site, unit)) if !site.is_empty() && !unit.is_empty() => Some(site.to_owned()),
            Some(_) | None => {
                problems.add(at.clone(), format!("{id:?} is not site.unit, such as \"yuxi-mine.face-3201\""));
                None
            }
        };
        let Some(raw) = problems.read::<RawUnit>(&at, value) else { continue };
        let mut needs = Vec::new();
        for (place, name) in raw.sets.iter().enumerate() {
            let known = sets.iter().map(|(name, set)| (name.as_str(), set));
            if let Some(set) = problems.known(at.field("sets").index(place), name, "set", known) {
                let own = |raw: &RawNeed| RawNeed { basis: set.basis.clone(), ..raw.clone() };
                needs.extend(set.requires.iter().filter_map(|raw| own(raw).check(name, &at, problems)));
            }
        }
        for (place, raw) in raw.requires.into_iter().enumerate() {
            needs.extend(raw.check("", &at.field("requires").index(place), problems));
        }
        if needs.is_empty() && problems.len() == before {
            problems.add(at, "asks for nothing, so that it would always be covered: give it `sets` or `requires`");
        }
        if let (Some(site), true) = (site, problems.len() == before) {
            let name = if raw.name.is_empty() { id.clone() } else { raw.name };
            units.push(Unit { id, site, name, points: raw.points, needs });
        }
    }
    units
}

impl RawNeed {
    fn check(self, set: &str, at: &Key, problems: &mut Problems) -> Option<Need> {
        let words: Option<Vec<String>> = match self.kind {
            toml::Value::String(word) => Some(vec![word]),
            toml::Value::Array(list) => list.into_iter().map(|word| word.as_str().map(str::to_owned)).collect(),
            toml::Value::Integer(_)
            | toml::Value::Float(_)
            | toml::Value::Boolean(_)
            | toml::Value::Datetime(_)
            | toml::Value::Table(_) => None,
        };
        let Some(words) = words.filter(|words| !words.is_empty()) else {
            problems.add(at.field("kind"), "is not a kind or a list of kinds, such as \"methane\"");
            return None;
        };
        let known = || Kind::ALL.iter().map(|kind| (kind.word(), *kind));
        let kinds: Vec<Option<Kind>> =
            words.iter().map(|word| problems.known(at.field("kind"), word, "kind", known())).collect();
        let count = problems.within(at.field("count"), self.count, 1..=1_000);
        let or: Vec<Option<Need>> = self
            .or
            .into_iter()
            .enumerate()
            .map(|(place, other)| other.check(set, &at.field("or").index(place), problems))
            .collect();
        Some(Need {
            kinds: kinds.into_iter().collect::<Option<_>>()?,
            place: self.place,
            count: count?,
            set: set.to_owned(),
            basis: self.basis,
            or: or.into_iter().collect::<Option<_>>()?,
        })
    }
}
