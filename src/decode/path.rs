//! A path into a JSON payload, as the configuration writes it.
//!
//! `$` is the payload (or, inside `samples`, one element of it); `.name` or `["odd name"]` is a member, `[0]`
//! an element, `[*]` every element. In comes the text; out comes a [`Path`] that finds nodes, or a
//! [`PathError`] that shows the place.

use std::str::FromStr;

use super::json::{Node, unescaped};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Member(Box<str>),
    Element(usize),
    Every,
}

/// Where a path stops making sense, counted in characters from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} is not a path: at character {place}, {expected}")]
pub struct PathError {
    path: String,
    place: usize,
    expected: &'static str,
}

impl Path {
    /// `$.name`
    pub(super) fn member(name: &str) -> Self {
        Self(vec![Step::Member(name.into())])
    }

    /// `$`
    pub(super) const fn root() -> Self {
        Self(Vec::new())
    }

    /// The name, if the path is one member of the payload itself.
    pub(super) fn flat(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Step::Member(name)] => Some(name),
            _ => None,
        }
    }

    /// Does it name one place, or (with `[*]`) many?
    #[must_use]
    pub fn names_many(&self) -> bool {
        self.0.contains(&Step::Every)
    }

    /// The one node it names.
    pub(super) fn find<'a>(&self, root: Node<'a>) -> Option<Node<'a>> {
        self.0.iter().try_fold(root, |node, step| step.down(node))
    }

    /// Shows every node it names; false when there is no such array at all.
    pub(super) fn every<'a>(&self, root: Node<'a>, see: &mut impl FnMut(Node<'a>)) -> bool {
        every(&self.0, root, see)
    }
}

fn every<'a>(steps: &[Step], node: Node<'a>, see: &mut impl FnMut(Node<'a>)) -> bool {
    match steps.split_first() {
        None => {
            see(node);
            true
        }
        Some((Step::Every, rest)) if node.is_array() => {
            for element in node.elements() {
                every(rest, element, see);
            }
            true
        }
        Some((Step::Every, _)) => false,
        Some((step, rest)) => step.down(node).is_some_and(|node| every(rest, node, see)),
    }
}

impl Step {
    fn down<'a>(&self, node: Node<'a>) -> Option<Node<'a>> {
        match self {
            Self::Member(name) => node.get(name),
            Self::Element(index) => node.elements().nth(*index),
            Self::Every => None,
        }
    }
}

impl FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let wrong = |rest: &str, expected| PathError {
            path: text.to_owned(),
            place: text[..text.len() - rest.len()].chars().count() + 1,
            expected,
        };
        let mut rest = text.strip_prefix('$').ok_or_else(|| wrong(text, "a path begins with $, such as $.value"))?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, behind) = if let Some(inner) = rest.strip_prefix('.') {
                let end = inner.find(['.', '[']).unwrap_or(inner.len());
                let name = &inner[..end];
                if name.is_empty() {
                    return Err(wrong(inner, "a name should follow the dot"));
                }
                if let Some(odd) = name.find(|c: char| c.is_whitespace() || matches!(c, '"' | ']' | '*' | '$')) {
                    return Err(wrong(&inner[odd..], "an odd name is written in brackets: $[\"odd name\"]"));
                }
                (Step::Member(name.into()), &inner[end..])
            } else if let Some(inner) = rest.strip_prefix('[') {
                bracket(inner).map_err(|(at, expected)| wrong(at, expected))?
            } else {
                return Err(wrong(rest, "expected .name or [..]"));
            };
            steps.push(step);
            rest = behind;
        }
        Ok(Self(steps))
    }
}

/// What stands behind `[`, and the rest behind `]`; or the place and what should stand there.
fn bracket(inner: &str) -> Result<(Step, &str), (&str, &'static str)> {
    if let Some(quoted) = inner.strip_prefix('"') {
        let mut escaped = false;
        let end = quoted
            .find(|c| {
                let closing = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                closing
            })
            .ok_or((quoted, "the name is not closed by a quote"))?;
        let name = unescaped(&quoted[..end]).ok_or((quoted, "the name has an unknown escape"))?;
        let behind = &quoted[end + 1..];
        return match behind.strip_prefix(']') {
            Some(rest) => Ok((Step::Member(name.into()), rest)),
            None => Err((behind, "expected ]")),
        };
    }
    let end = inner.find(']').ok_or((inner, "[ is not closed by ]"))?;
    let step = match &inner[..end] {
        "*" => Step::Every,
        digits => Step::Element(digits.parse().map_err(|_| (inner, "expected a number, * or a name in quotes"))?),
    };
    Ok((step, &inner[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::super::json::document;
    use super::*;

    fn finds(path: &str, payload: &str) -> Option<String> {
        let path: Path = path.parse().unwrap();
        path.find(document(payload).unwrap()).map(|node| format!("{:?}", node.scalar()))
    }

    #[test]
    fn a_path_finds_what_it_names() {
        let payload = r#" { "a" : { "odd name" : [ 1 , {"b":2} ] }, "d\u00e9" : 7, "x":1, "x":9 } "#;
        assert_eq!(finds(r#"$.a["odd name"][1].b"#, payload).as_deref(), Some("Some(Number(\"2\"))"));
        assert_eq!(finds(r#"$.a["odd name"][0]"#, payload).as_deref(), Some("Some(Number(\"1\"))"));
        assert_eq!(finds("$.dé", payload).as_deref(), Some("Some(Number(\"7\"))"));
        assert_eq!(finds("$.x", payload).as_deref(), Some("Some(Number(\"9\"))"), "the last of two wins");
        for absent in ["$.b", "$.a.b", "$.a[0]", "$.x.y", "$[0]"] {
            assert_eq!(finds(absent, payload), None, "{absent}");
        }
    }

    #[test]
    fn every_element_of_every_array_is_seen() {
        let path: Path = "$.d[*].s[*]".parse().unwrap();
        let seen = |payload: &str| {
            let mut seen = Vec::new();
            let found = path.every(document(payload).unwrap(), &mut |node| seen.push(format!("{:?}", node.scalar())));
            (found, seen.len())
        };
        assert_eq!(seen(r#"{"d":[{"s":[1,2]},{"s":[]},{"t":0},{"s":[3]}]}"#), (true, 3));
        assert_eq!(seen(r#"{"d":[]}"#), (true, 0));
        assert_eq!(seen(r#"{"d":{}}"#), (false, 0));
    }

    #[test]
    fn a_wrong_path_shows_the_place() {
        for (text, place) in [
            ("value", "character 1,"),
            ("$value", "character 2,"),
            ("$.", "character 3,"),
            ("$.a..b", "character 5,"),
            ("$.odd name", "character 6,"),
            ("$.瓦斯 浓度", "character 5,"),
            ("$.a[", "character 5,"),
            ("$.a[x]", "character 5,"),
            ("$.a[\"b]", "character 6,"),
            ("$.a[\"b\"", "character 8,"),
            ("$.a[0]b", "character 7,"),
        ] {
            let told = text.parse::<Path>().unwrap_err().to_string();
            assert!(told.contains(place), "{told}");
        }
    }
}
