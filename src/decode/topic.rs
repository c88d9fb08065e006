//! A topic pattern: which topics a payload pattern is for, and which level names site and point.
//!
//! `{site}` and `{point}` each stand for one level, `+` for any one level, a `#` at the end for all the
//! rest; everything else must be there as written. As in MQTT, a wildcard never stands for a first level
//! that begins with `$`.

use std::str::FromStr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPattern {
    levels: Vec<Level>,
    /// Ends in `#`.
    rest: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Level {
    Text(Box<str>),
    Site,
    Point,
    Any,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{topic:?} is not a topic pattern: level {level}, {what}")]
pub struct TopicError {
    topic: String,
    level: usize,
    what: String,
}

/// What the levels of a topic say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Named<'a> {
    pub site: Option<&'a str>,
    pub point: Option<&'a str>,
}

impl TopicPattern {
    pub(super) fn names_point(&self) -> bool {
        self.levels.contains(&Level::Point)
    }

    pub(super) fn names_site(&self) -> bool {
        self.levels.contains(&Level::Site)
    }

    /// The placeholders that names of points may use with this topic.
    pub(super) fn offers(&self) -> impl Iterator<Item = &'static str> {
        let site = self.names_site().then_some("site");
        site.into_iter().chain(self.names_point().then_some("point"))
    }

    /// The named levels, if the topic is of this pattern.
    pub(super) fn read<'a>(&self, topic: &'a str) -> Option<Named<'a>> {
        let mut named = Named::default();
        let mut levels = topic.split('/');
        for (at, level) in self.levels.iter().enumerate() {
            let text = levels.next()?;
            let hidden = at == 0 && text.starts_with('$');
            match level {
                Level::Text(wanted) if **wanted == *text => {}
                Level::Text(_) => return None,
                Level::Site | Level::Point | Level::Any if hidden => return None,
                Level::Site => named.site = Some(text),
                Level::Point => named.point = Some(text),
                Level::Any => {}
            }
        }
        if self.levels.is_empty() && topic.starts_with('$') {
            return None;
        }
        (self.rest || levels.next().is_none()).then_some(named)
    }
}

impl FromStr for TopicPattern {
    type Err = TopicError;

    fn from_str(topic: &str) -> Result<Self, TopicError> {
        let mut levels = Vec::new();
        let mut rest = false;
        for (at, text) in topic.split('/').enumerate() {
            let wrong = |what: &str| TopicError { topic: topic.to_owned(), level: at + 1, what: what.to_owned() };
            if rest {
                return Err(wrong("# stands at the end only"));
            }
            let level = match text {
                "#" => {
                    rest = true;
                    continue;
                }
                "+" => Level::Any,
                "{site}" => Level::Site,
                "{point}" => Level::Point,
                "" if topic.is_empty() => return Err(wrong("the topic is empty")),
                plain if !plain.contains(['{', '}', '+', '#', '\0']) => Level::Text(plain.into()),
                braced if braced.starts_with('{') && braced.ends_with('}') => {
                    return Err(wrong(&format!(
                        "{braced} is unknown; {{site}} and {{point}} are known, + is any level"
                    )));
                }
                _ => return Err(wrong("{site}, {point}, + and # stand for a whole level each")),
            };
            if matches!(level, Level::Site | Level::Point) && levels.contains(&level) {
                return Err(wrong(&format!("{text} was named before")));
            }
            levels.push(level);
        }
        Ok(Self { levels, rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pattern: &str, topic: &str) -> Option<(String, String)> {
        let pattern: TopicPattern = pattern.parse().unwrap();
        let named = pattern.read(topic)?;
        Some((named.site.unwrap_or("-").to_owned(), named.point.unwrap_or("-").to_owned()))
    }

    #[test]
    fn levels_are_read_by_name() {
        let both = Some(("hongli".to_owned(), "t1".to_owned()));
        assert_eq!(read("{site}/{point}", "hongli/t1"), both);
        assert_eq!(read("plant/+/{point}/of/{site}", "plant/x/t1/of/hongli"), both);
        assert_eq!(read("{site}/{point}/#", "hongli/t1/deep/er"), both);
        assert_eq!(read("{site}/{point}/#", "hongli/t1"), both, "# stands for nothing as well");
        for (pattern, topic) in [
            ("{site}/{point}", "hongli"),
            ("{site}/{point}", "hongli/t1/x"),
            ("mine/{point}", "plant/t1"),
            ("{site}/{point}", "$SYS/t1"),
            ("#", "$SYS/broker"),
        ] {
            assert_eq!(read(pattern, topic), None, "{pattern} {topic}");
        }
        assert_eq!(read("$SYS/{point}", "$SYS/t1").unwrap().1, "t1");
    }

    #[test]
    fn a_wrong_pattern_names_the_level() {
        for (topic, told) in [
            ("", "level 1, the topic is empty"),
            ("{site}/{sensor}", "level 2, {sensor} is unknown"),
            ("{site}/t-{point}", "level 2, {site}, {point}, + and # stand for a whole level"),
            ("#/{point}", "level 2, # stands at the end only"),
            ("{site}/{site}", "level 2, {site} was named before"),
        ] {
            let found = topic.parse::<TopicPattern>().unwrap_err().to_string();
            assert!(found.contains(told), "{found}");
        }
    }
}
