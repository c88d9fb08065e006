//! Sensor types and units of definition files as kinds and units of points: a table, not code.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use crate::config::{Key, Problems};
use crate::model::Kind;

const SHIPPED: &str = include_str!("sensor-types.toml");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawType {
    #[serde(default)]
    codes: Vec<String>,
    #[serde(default)]
    names: Vec<String>,
    kind: String,
    #[serde(default)]
    units: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Type {
    kind: Kind,
    units: BTreeMap<String, String>,
}

/// Types by code and by name; a site's own come first.
#[derive(Debug)]
pub struct Types {
    list: Vec<Type>,
    by_word: HashMap<String, usize>,
}

impl Types {
    /// The shipped table.
    #[must_use]
    pub fn shipped() -> Self {
        let mut types = Self { list: Vec::new(), by_word: HashMap::new() };
        types.add(SHIPPED, &mut Problems::default());
        types
    }

    /// Puts a site's own table before what is there.
    pub fn add(&mut self, text: &str, problems: &mut Problems) {
        let mut file: toml::Table = match toml::from_str(text) {
            Ok(file) => file,
            Err(error) => {
                problems.add(Key::root(), error.message().to_owned());
                return;
            }
        };
        let list = match file.remove("type") {
            Some(toml::Value::Array(list)) if file.is_empty() => list,
            Some(_) | None => {
                problems.add(Key::root(), "is no table of sensor types: write [[type]] with codes, names, kind, units");
                return;
            }
        };
        for (place, value) in list.into_iter().enumerate() {
            let at = Key::of("type").index(place);
            let Some(raw) = problems.read::<RawType>(&at, value) else { continue };
            let kinds = Kind::ALL.iter().map(|kind| (kind.word(), *kind));
            let Some(kind) = problems.known(at.field("kind"), &raw.kind, "kind", kinds) else { continue };
            for word in raw.codes.into_iter().chain(raw.names) {
                self.by_word.insert(word, self.list.len());
            }
            self.list.push(Type { kind, units: raw.units });
        }
    }

    /// Kind and unit of a type as a file gives them. An error says what is unknown and where to add it.
    pub fn find(&self, word: &str, unit: &str) -> Result<(Kind, String), Unknown> {
        let found = self.by_word.get(word).ok_or(Unknown::Type)?;
        let Type { kind, units } = &self.list[*found];
        if unit.is_empty() || unit == kind.unit() {
            return Ok((*kind, kind.unit().to_owned()));
        }
        match units.get(unit) {
            Some(own) => Ok((*kind, own.clone())),
            // A switch has no unit, whatever a file says.
            None if kind.unit().is_empty() => Ok((*kind, String::new())),
            None => {
                let mut known: Vec<&str> = units.keys().map(String::as_str).collect();
                known.push(kind.unit());
                Err(Unknown::Unit(format!(
                    "{unit:?} is not a unit of {kind} in the type table; known are {}",
                    known.join(", ")
                )))
            }
        }
    }
}

/// Which part of a type is unknown.
#[derive(Debug, PartialEq, Eq)]
pub enum Unknown {
    Type,
    Unit(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_table_is_sound_and_a_sites_own_comes_first() {
        let mut problems = Problems::default();
        let mut types = Types { list: Vec::new(), by_word: HashMap::new() };
        types.add(SHIPPED, &mut problems);
        assert!(problems.is_empty(), "{:?}", problems.into_list());
        assert_eq!(types.find("0001", "%"), Ok((Kind::Methane, "%VOL".into())));
        assert_eq!(types.find("一氧化碳", ""), Ok((Kind::Co, "ppm".into())));
        assert_eq!(types.find("1008", "态"), Ok((Kind::Smoke, String::new())));
        assert_eq!(types.find("0099", "%"), Err(Unknown::Type));
        assert!(
            matches!(types.find("0004", "%"), Err(Unknown::Unit(told)) if told.contains("\"%\" is not a unit of co"))
        );

        let mut problems = Problems::in_file("own.toml");
        types.add(
            "[[type]]\ncodes = [\"0099\", \"0001\"]\nkind = \"combustible\"\nunits = { \"%\" = \"%LEL\" }",
            &mut problems,
        );
        assert!(problems.is_empty());
        assert_eq!(types.find("0001", "%"), Ok((Kind::Combustible, "%LEL".into())));
        types.add("[[type]]\ncodes = [\"0100\"]\nkind = \"steam\"", &mut problems);
        types.add("[type]\nkind = \"co\"", &mut problems);
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(told[0].starts_with("own.toml: type[0].kind: \"steam\" is not a kind"), "{told:?}");
        assert!(told[1].contains("is no table of sensor types"), "{told:?}");
    }
}
