//! A scenario file, read strictly: every problem is told, with file, key and what was expected there.

use std::fmt;
use std::time::Duration;

use thiserror::Error;
use toml::{Table, Value};

use super::{Drive, Keyframe, Scenario, Shape, Track};

const LONGEST: Duration = Duration::from_secs(7 * 86_400);

/// One thing wrong in a scenario file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub file: String,
    /// `point[1].keyframes[0].at`; empty when the file as a whole cannot be read.
    pub key: String,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            write!(f, "{}: {}", self.file, self.message)
        } else {
            write!(f, "{}: {}: {}", self.file, self.key, self.message)
        }
    }
}

/// A scenario file that cannot be played.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}", .problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ScenarioError {
    pub problems: Vec<Problem>,
}

/// A duration as people write it: `500ms`, `5s`, `1.5s`, `3m`, `2h`.
#[must_use]
pub fn duration_in(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
}

impl Scenario {
    /// Reads a scenario; `file` only names it in problems, `name` is what people call it by.
    ///
    /// # Errors
    /// With every problem that the file has.
    pub fn parse(name: &str, file: &str, text: &str) -> Result<Self, ScenarioError> {
        let mut problems = Vec::new();
        let table = match text.parse::<Table>() {
            Ok(table) => table,
            Err(error) => {
                let line = error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
                let message = format!("line {line}: {}", error.message());
                problems.push(Problem { file: file.to_owned(), key: String::new(), message });
                return Err(ScenarioError { problems });
            }
        };
        let mut top = Place { file, key: String::new(), table, problems: &mut problems };
        let title = top.text("title");
        let about = top.text("about");
        let length = top.span("length");
        let repeat = top.flag("repeat");
        let points = top.tables("point", "[[point]] tables");
        top.nothing_else(&["title", "about", "length", "repeat", "point"]);
        let tracks: Vec<Track> = points
            .into_iter()
            .enumerate()
            .filter_map(|(place, table)| {
                track(Place { file, key: format!("point[{place}]"), table, problems: &mut problems }, length)
            })
            .collect();
        for (place, track) in tracks.iter().enumerate() {
            if tracks[..place].iter().any(|earlier| earlier.point == track.point) {
                let message = format!("{:?} is driven twice, give it one list of keyframes", track.point);
                problems.push(Problem { file: file.to_owned(), key: format!("point[{place}].point"), message });
            }
        }
        match (title, about, length) {
            (Some(title), Some(about), Some(length)) if problems.is_empty() => {
                Ok(Self { name: name.to_owned(), title, about, length, repeat, tracks })
            }
            _ => Err(ScenarioError { problems }),
        }
    }
}

fn track(mut place: Place<'_>, length: Option<Duration>) -> Option<Track> {
    let point = place.text("point");
    if let Some(point) = &point {
        let plain =
            |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        if !point.split_once('.').is_some_and(|(site, local)| plain(site) && plain(local)) {
            place.wrong("point", format!("{point:?} is not site.point, such as \"demo-mine.face-3201-t1\""));
        }
    }
    let noise = place.number("noise").unwrap_or(0.0);
    if !(noise.is_finite() && noise >= 0.0) {
        place.wrong("noise", format!("{noise} is not a deviation, expected a number that is not below 0"));
    }
    let frames = place.tables("keyframes", "a list such as [{ at = \"0s\", value = 0.4 }]");
    place.nothing_else(&["point", "noise", "keyframes"]);
    let Place { file, key, problems, .. } = place;
    let mut keyframes: Vec<Keyframe> = Vec::new();
    for (number, table) in frames.into_iter().enumerate() {
        let mut place = Place { file, key: format!("{key}.keyframes[{number}]"), table, problems: &mut *problems };
        let Some(keyframe) = keyframe(&mut place) else { continue };
        match keyframes.last() {
            None if !keyframe.at.is_zero() => place.wrong("at", "the first keyframe must be at \"0s\"".to_owned()),
            Some(before) if keyframe.at <= before.at => {
                place.wrong("at", format!("{:?} is not after the keyframe before it, at {:?}", keyframe.at, before.at));
            }
            None | Some(_) => {}
        }
        if length.is_some_and(|length| keyframe.at > length) {
            place.wrong(
                "at",
                format!("{:?} is after the scenario's length of {:?}", keyframe.at, length.unwrap_or_default()),
            );
        }
        keyframes.push(keyframe);
    }
    (!keyframes.is_empty()).then_some(Track { point: point?, noise, keyframes })
}

fn keyframe(place: &mut Place<'_>) -> Option<Keyframe> {
    let at = place.span("at");
    let value = place.number("value");
    let shape = place.optional_text("shape");
    let code = place.integer("code");
    let silent = place.flag("silent");
    let offset = place.offset("clock_offset");
    place.nothing_else(&["at", "value", "shape", "code", "silent", "clock_offset"]);
    if shape.is_some() && value.is_none() {
        place.wrong("shape", "a shape needs a value".to_owned());
    }
    if value.is_some_and(|value| !value.is_finite()) {
        place.wrong("value", "expected a finite number; a code is given with code = 32767".to_owned());
    }
    let drive = match (value, code, silent) {
        (Some(value), None, false) => {
            let shape = match shape.as_deref() {
                None | Some("linear") => Shape::Linear,
                Some("step") => Shape::Step,
                Some("flat") => Shape::Flat,
                Some(other) => {
                    place.wrong("shape", format!("{other:?} is not a shape, expected linear, step or flat"));
                    return None;
                }
            };
            Drive::Value { value, shape }
        }
        (None, Some(code), false) => match u32::try_from(code) {
            Ok(code) => Drive::Code(code),
            Err(_) => {
                place.wrong("code", format!("{code} is not the contents of registers, expected 0..=4294967295"));
                return None;
            }
        },
        (None, None, true) => Drive::Silent,
        _ => {
            place.wrong("", "expected exactly one of value, code and silent = true".to_owned());
            return None;
        }
    };
    Some(Keyframe { at: at?, drive, clock_offset_ms: offset })
}

/// A table being read: what has been taken is gone, what is left at the end is unknown.
struct Place<'a> {
    file: &'a str,
    key: String,
    table: Table,
    problems: &'a mut Vec<Problem>,
}

impl Place<'_> {
    fn wrong(&mut self, name: &str, message: String) {
        let key = match (self.key.is_empty(), name.is_empty()) {
            (true, _) => name.to_owned(),
            (false, true) => self.key.clone(),
            (false, false) => format!("{}.{name}", self.key),
        };
        self.problems.push(Problem { file: self.file.to_owned(), key, message });
    }

    fn unexpected(&mut self, name: &str, found: &Value, expected: &str) {
        self.wrong(name, format!("{found} is not {expected}"));
    }

    fn text(&mut self, name: &str) -> Option<String> {
        if !self.table.contains_key(name) {
            self.wrong(name, "missing, expected a text in quotes".to_owned());
        }
        self.optional_text(name)
    }

    fn optional_text(&mut self, name: &str) -> Option<String> {
        let found = self.table.remove(name)?;
        let text = found.as_str().map(str::to_owned);
        if text.is_none() {
            self.unexpected(name, &found, "a text in quotes");
        }
        text
    }

    fn span(&mut self, name: &str) -> Option<Duration> {
        const EXPECTED: &str = "a duration of at most 7d, such as \"500ms\", \"5s\" or \"3m\"";
        match self.table.remove(name) {
            None => {
                self.wrong(name, format!("missing, expected {EXPECTED}"));
                None
            }
            Some(found) => {
                let span = found.as_str().and_then(duration_in).filter(|span| *span <= LONGEST);
                if span.is_none() {
                    self.unexpected(name, &found, EXPECTED);
                }
                span
            }
        }
    }

    /// A duration with a sign, in milliseconds; 0 when there is none.
    fn offset(&mut self, name: &str) -> i64 {
        let Some(found) = self.table.remove(name) else { return 0 };
        let text = found.as_str().unwrap_or_default();
        let (sign, size) = match text.strip_prefix('-') {
            Some(size) => (-1, size),
            None => (1, text.strip_prefix('+').unwrap_or(text)),
        };
        match duration_in(size).and_then(|span| i64::try_from(span.as_millis()).ok()) {
            Some(ms) => sign * ms,
            None => {
                self.unexpected(name, &found, "a duration with a sign, such as \"-2h\" or \"+90s\"");
                0
            }
        }
    }

    fn number(&mut self, name: &str) -> Option<f64> {
        let found = self.table.remove(name)?;
        let number = found.as_float().or_else(|| found.as_integer().map(|number| number as f64));
        if number.is_none() {
            self.unexpected(name, &found, "a number");
        }
        number
    }

    fn integer(&mut self, name: &str) -> Option<i64> {
        let found = self.table.remove(name)?;
        let number = found.as_integer();
        if number.is_none() {
            self.unexpected(name, &found, "a whole number");
        }
        number
    }

    fn flag(&mut self, name: &str) -> bool {
        match self.table.remove(name) {
            None => false,
            Some(Value::Boolean(flag)) => flag,
            Some(other) => {
                self.unexpected(name, &other, "true or false");
                false
            }
        }
    }

    fn tables(&mut self, name: &str, expected: &str) -> Vec<Table> {
        let found = self.table.remove(name);
        let list = match &found {
            Some(Value::Array(list)) if !list.is_empty() => list.clone(),
            Some(other) => {
                let other = other.clone();
                self.unexpected(name, &other, expected);
                return Vec::new();
            }
            None => {
                self.wrong(name, format!("missing, expected {expected}"));
                return Vec::new();
            }
        };
        let mut tables = Vec::new();
        for (place, value) in list.into_iter().enumerate() {
            match value.as_table() {
                Some(table) => tables.push(table.clone()),
                None => self.unexpected(&format!("{name}[{place}]"), &value, "a table"),
            }
        }
        tables
    }

    fn nothing_else(&mut self, known: &[&str]) {
        let left: Vec<String> = self.table.keys().cloned().collect();
        for name in left {
            self.wrong(&name, format!("unknown key, known here are {}", known.join(", ")));
        }
    }
}
