//! Problems of a configuration: collected, never thrown, so that one run of `davy check` shows them all.
//!
//! A problem names the file, the key (or line), what was found and what was expected.

use std::fmt;
use std::ops::RangeInclusive;

use serde::de::DeserializeOwned;

/// Where in the configuration something stands: `source.modbus.boiler-1.poll_ms`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn of(path: impl Into<String>) -> Self {
        Self(path.into())
    }

    #[must_use]
    pub fn field(&self, name: impl fmt::Display) -> Self {
        if self.0.is_empty() { Self(name.to_string()) } else { Self(format!("{}.{name}", self.0)) }
    }

    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub file: String,
    pub key: Key,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.file.is_empty(), self.key.0.is_empty()) {
            (true, true) => write!(f, "{}", self.message),
            (true, false) => write!(f, "{}: {}", self.key, self.message),
            (false, true) => write!(f, "{}: {}", self.file, self.message),
            (false, false) => write!(f, "{}: {}: {}", self.file, self.key, self.message),
        }
    }
}

/// The list being filled while a configuration is checked. `file` says which file the next ones are in.
#[derive(Debug, Default)]
pub struct Problems {
    file: String,
    list: Vec<Problem>,
}

impl Problems {
    #[must_use]
    pub fn in_file(file: impl Into<String>) -> Self {
        Self { file: file.into(), list: Vec::new() }
    }

    /// The next problems are in that file; gives the one before.
    pub fn enter(&mut self, file: impl Into<String>) -> String {
        std::mem::replace(&mut self.file, file.into())
    }

    pub fn add(&mut self, key: Key, message: impl Into<String>) {
        self.list.push(Problem { file: self.file.clone(), key, message: message.into() });
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    #[must_use]
    pub fn into_list(self) -> Vec<Problem> {
        self.list
    }

    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// `value` if it lies in `range`, else a problem.
    pub fn within<T: PartialOrd + fmt::Display + Copy>(
        &mut self,
        key: Key,
        value: T,
        range: RangeInclusive<T>,
    ) -> Option<T> {
        if range.contains(&value) {
            return Some(value);
        }
        self.add(key, format!("{value} is outside {}..={}", range.start(), range.end()));
        None
    }

    /// `text` read as a `T`, else a problem that says what was expected.
    pub fn parsed<T: std::str::FromStr>(&mut self, key: Key, text: &str, expected: &str) -> Option<T> {
        match text.parse() {
            Ok(value) => Some(value),
            Err(_) => {
                self.add(key, format!("{text:?} is not {expected}"));
                None
            }
        }
    }

    /// A duration as operators write it (`500ms`, `10s`), within bounds.
    pub fn duration(
        &mut self,
        key: Key,
        text: &str,
        range: RangeInclusive<std::time::Duration>,
    ) -> Option<std::time::Duration> {
        use crate::model::{duration_text, parse_duration};
        match parse_duration(text) {
            Ok(span) if range.contains(&span) => Some(span),
            Ok(span) => {
                let (low, high) = (duration_text(*range.start()), duration_text(*range.end()));
                self.add(key, format!("{} is outside {low}..={high}", duration_text(span)));
                None
            }
            Err(error) => {
                self.add(key, error.to_string());
                None
            }
        }
    }

    /// `name` looked up among `known`; an unknown one is a problem with the nearest name beside it.
    pub fn known<'a, T>(
        &mut self,
        key: Key,
        name: &str,
        what: &str,
        known: impl IntoIterator<Item = (&'a str, T)>,
    ) -> Option<T> {
        let mut names = Vec::new();
        for (word, value) in known {
            if word == name {
                return Some(value);
            }
            names.push(word);
        }
        self.add(key, format!("{name:?} is not a {what}{}", suggestion(name, &names)));
        None
    }

    /// Reads a table into its raw form. Every unknown key and every value of the wrong type becomes a
    /// problem of its own: the offending key is taken out and the reading tried again.
    pub fn read<T: DeserializeOwned>(&mut self, at: &Key, value: toml::Value) -> Option<T> {
        let mut value = value;
        let mut faulty = false;
        loop {
            let error = match serde_path_to_error::deserialize::<_, T>(value.clone()) {
                Ok(raw) => return (!faulty).then_some(raw),
                Err(error) => error,
            };
            let path = error.path().clone();
            let text = error.into_inner().to_string();
            let text = text.lines().next().unwrap_or_default().trim();
            if faulty && text.starts_with("missing field") {
                // The field may be the one just taken out.
                return None;
            }
            let mut key = at.clone();
            for segment in path.iter() {
                key = match segment {
                    serde_path_to_error::Segment::Seq { index } => key.index(*index),
                    serde_path_to_error::Segment::Map { key: name } => key.field(name),
                    serde_path_to_error::Segment::Enum { variant } => key.field(variant),
                    serde_path_to_error::Segment::Unknown => key,
                };
            }
            self.add(key, reworded(text));
            faulty = true;
            if !remove(&mut value, path.iter()) {
                return None;
            }
        }
    }
}

/// Takes the value at `path` out of `value`; false when there is nothing there.
fn remove<'a>(value: &mut toml::Value, path: impl Iterator<Item = &'a serde_path_to_error::Segment>) -> bool {
    let segments: Vec<_> = path.collect();
    let Some((last, parents)) = segments.split_last() else { return false };
    let mut here = value;
    for segment in parents {
        let next = match segment {
            serde_path_to_error::Segment::Map { key } => here.get_mut(key.as_str()),
            serde_path_to_error::Segment::Seq { index } => here.get_mut(*index),
            serde_path_to_error::Segment::Enum { .. } | serde_path_to_error::Segment::Unknown => None,
        };
        match next {
            Some(next) => here = next,
            None => return false,
        }
    }
    match (last, here) {
        (serde_path_to_error::Segment::Map { key }, toml::Value::Table(table)) => table.remove(key).is_some(),
        (serde_path_to_error::Segment::Seq { index }, toml::Value::Array(array)) if *index < array.len() => {
            array.remove(*index);
            true
        }
        _ => false,
    }
}

/// Serde's words in those of whoever writes a configuration: no names of Rust types, and for an unknown
/// field the nearest of those that there are.
fn reworded(text: &str) -> String {
    if let Some(told) = mismatch(text) {
        return told;
    }
    if let Some(name) = text.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        return format!("{name} is missing");
    }
    let Some(rest) = text.strip_prefix("unknown field `") else { return text.to_owned() };
    let mut quoted = rest.split('`').step_by(2);
    let found = quoted.next().unwrap_or_default().to_owned();
    let expected: Vec<&str> = rest.split('`').skip(2).step_by(2).collect();
    format!("unknown key{}", suggestion(&found, &expected))
}

/// "invalid type: string "x", expected f64" as `"x" is not a number`.
fn mismatch(text: &str) -> Option<String> {
    let rest = text.strip_prefix("invalid type: ").or_else(|| text.strip_prefix("invalid value: "))?;
    let (found, expected) = rest.rsplit_once(", expected ")?;
    let is_text = found.starts_with("string ");
    let found = match found {
        "map" => "a table",
        "sequence" => "a list",
        "unit value" | "Option value" => "an empty value",
        told => {
            let bare = ["string ", "integer ", "floating point ", "boolean "];
            bare.iter().find_map(|word| told.strip_prefix(word)).map_or(told, |value| value.trim_matches('`'))
        }
    };
    let expected = match expected {
        "f64" | "f32" => "a number".to_owned(),
        "u8" => format!("a whole number from 0 to {}", u8::MAX),
        "u16" => format!("a whole number from 0 to {}", u16::MAX),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "u64" | "u128" | "usize" => "a whole number, 0 or more".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "a whole number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" | "path string" | "a borrowed string" => "text; write it in quotes".to_owned(),
        "a sequence" => "a list".to_owned(),
        told if told.starts_with("an array of length ") => {
            format!("a list of {} numbers", told.trim_start_matches("an array of length "))
        }
        told if told == "a map" || told.starts_with("struct ") || told.starts_with("internally tagged") => {
            "a table".to_owned()
        }
        told => told.to_owned(),
    };
    let hint = if is_text && expected.contains("number") && found.trim_matches('"').parse::<f64>().is_ok() {
        "; write it without quotes"
    } else {
        ""
    };
    Some(format!("{found} is not {expected}{hint}"))
}

/// `; did you mean "address"?`, or the list of what there is, or nothing.
fn suggestion(found: &str, known: &[&str]) -> String {
    let nearest = known.iter().map(|word| (strsim::jaro_winkler(found, word), word)).max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((likeness, word)) if likeness > 0.8 => format!("; did you mean {word:?}?"),
        Some(_) if known.len() <= 40 => format!("; known are {}", known.join(", ")),
        Some(_) | None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Raw {
        address: String,
        #[serde(default)]
        poll_ms: u64,
        #[serde(default)]
        unit: u8,
    }

    #[test]
    fn every_wrong_key_is_told_at_once_and_the_nearest_name_with_it() {
        let table: toml::Value = toml::from_str("address = \"a\"\npoll_mss = 5\nunit = \"x\"\nnonsense = 1").unwrap();
        let mut problems = Problems::in_file("davy.toml");
        assert!(problems.read::<Raw>(&Key::of("source.modbus.b1"), table).is_none());
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 3, "{told:#?}");
        let all = told.join("\n");
        assert!(all.contains("davy.toml: source.modbus.b1.poll_mss: unknown key; did you mean \"poll_ms\"?"), "{all}");
        assert!(all.contains("source.modbus.b1.unit: \"x\" is not a whole number from 0 to 255"), "{all}");
        assert!(all.contains("source.modbus.b1.nonsense: unknown key"), "{all}");
    }

    #[test]
    fn a_sound_table_is_read() {
        let table: toml::Value = toml::from_str("address = \"a\"\nunit = 3").unwrap();
        let mut problems = Problems::default();
        let raw: Raw = problems.read(&Key::root(), table).unwrap();
        assert_eq!((raw.address.as_str(), raw.poll_ms, raw.unit), ("a", 0, 3));
        assert!(problems.is_empty());
    }

    #[test]
    fn nobody_is_told_the_name_of_a_rust_type() {
        for (serde, told) in [
            ("invalid type: string \"0,8\", expected f64", "\"0,8\" is not a number"),
            (
                "invalid type: string \"5\", expected u64",
                "\"5\" is not a whole number, 0 or more; write it without quotes",
            ),
            ("invalid value: integer `999`, expected u8", "999 is not a whole number from 0 to 255"),
            ("invalid type: integer `7`, expected a string", "7 is not text; write it in quotes"),
            ("invalid type: string \"yes\", expected a boolean", "\"yes\" is not true or false"),
            ("invalid type: floating point `4.0`, expected an array of length 2", "4.0 is not a list of 2 numbers"),
            ("invalid type: sequence, expected a map", "a list is not a table"),
            ("invalid type: string \"a, expected b\", expected i64", "\"a, expected b\" is not a whole number"),
            ("missing field `kind`", "kind is missing"),
        ] {
            assert_eq!(reworded(serde), told);
        }
    }

    #[test]
    fn an_unknown_word_names_its_neighbour() {
        let mut problems = Problems::default();
        assert_eq!(problems.known(Key::of("kind"), "methan", "kind", [("methane", 1), ("co", 2)]), None);
        assert_eq!(
            problems.iter().next().unwrap().to_string(),
            "kind: \"methan\" is not a kind; did you mean \"methane\"?"
        );
    }
}
