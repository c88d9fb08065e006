//! How a payload's own words become the name of a point: `{tag:site}.{field}`, `{point}-ch4`.
//!
//! In comes a template as written; out comes a list of parts that is put together for every value without
//! an allocation. `{site}` and `{point}` are what the topic's pattern named. Which of the others there are
//! depends on the form: `{measurement}`, `{field}`, `{tag:NAME}` in line protocol, `{n}` (the record's
//! number, from 1) in binary records.

use crate::config::{Key, Problems};

/// What the topic of a message says, kept with its route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    pub site: Option<Box<str>>,
    pub point: Option<Box<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Text(Box<str>),
    Site,
    Point,
    Measurement,
    Field,
    Tag(Box<str>),
    Number,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

impl Template {
    /// `offered`: the placeholders that mean something in this form and with this topic.
    pub fn check(text: &str, offered: &[&str], at: Key, problems: &mut Problems) -> Option<Self> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            if !before.is_empty() {
                parts.push(Part::Text(before.into()));
            }
            let Some((word, after)) = behind.split_once('}') else {
                problems.add(at, format!("{text:?}: a {{ has no }} behind it"));
                return None;
            };
            let kind = if word.starts_with("tag:") { "tag:NAME" } else { word };
            if !offered.contains(&kind) {
                let known: Vec<String> = offered.iter().map(|word| format!("{{{word}}}")).collect();
                problems.add(at, format!("{text:?}: {{{word}}} means nothing here; known are {}", known.join(", ")));
                return None;
            }
            parts.push(match word {
                "site" => Part::Site,
                "point" => Part::Point,
                "measurement" => Part::Measurement,
                "field" => Part::Field,
                "n" => Part::Number,
                tag => Part::Tag(tag.trim_start_matches("tag:").into()),
            });
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        if parts.is_empty() {
            problems.add(at, "the name is empty");
            return None;
        }
        Some(Self(parts))
    }

    pub fn has(&self, part: &Part) -> bool {
        self.0.contains(part)
    }

    /// Writes the name into `name`; false when something that it needs is not there.
    pub fn write(&self, origin: &Origin, name: &mut String, mut other: impl FnMut(&Part, &mut String) -> bool) -> bool {
        name.clear();
        self.0.iter().all(|part| match part {
            Part::Text(text) => push(name, Some(text)),
            Part::Site => push(name, origin.site.as_deref()),
            Part::Point => push(name, origin.point.as_deref()),
            Part::Measurement | Part::Field | Part::Tag(_) | Part::Number => other(part, name),
        })
    }
}

fn push(name: &mut String, text: Option<&str>) -> bool {
    text.inspect(|text| name.push_str(text)).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_put_together_from_what_is_there() {
        let mut problems = Problems::default();
        let offered = ["site", "point", "n", "tag:NAME"];
        let template = Template::check("{site}.{point}-{n}{tag:gas}x", &offered, Key::root(), &mut problems).unwrap();
        let origin = Origin { site: Some("pit".into()), point: Some("d7".into()) };
        let mut name = String::from("old");
        let other = |part: &Part, name: &mut String| match part {
            Part::Number => push(name, Some("3")),
            Part::Tag(tag) => push(name, (&**tag == "gas").then_some("ch4")),
            Part::Text(_) | Part::Site | Part::Point | Part::Measurement | Part::Field => false,
        };
        assert!(template.write(&origin, &mut name, other));
        assert_eq!(name, "pit.d7-3ch4x");
        assert!(!template.write(&Origin::default(), &mut name, other), "the topic names no site");
    }

    #[test]
    fn a_placeholder_that_means_nothing_is_told() {
        for (text, told) in [
            ("{field}", "name: \"{field}\": {field} means nothing here; known are {site}, {n}"),
            ("a{site", "name: \"a{site\": a { has no } behind it"),
            ("", "name: the name is empty"),
        ] {
            let mut problems = Problems::default();
            assert_eq!(Template::check(text, &["site", "n"], Key::of("name"), &mut problems), None);
            assert_eq!(problems.iter().next().unwrap().to_string(), told);
        }
    }
}
