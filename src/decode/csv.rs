//! `format = "csv"`: lines of separated columns, as loggers and exports write them.
//!
//! ```toml
//! [payload.csv]
//! separator = ","                # one ASCII character; "\t" for tabs
//! skip = 0                       # lines before the first that counts
//! columns = ["time", "id", "v"]  # names of the columns; without them the first line names them
//! point = "point"                # the column that names the point (within {site}, else as site.point)
//! value = "value"                # its value
//! values = { CH4 = "t1", CO = "t1-co" }  # instead of point and value: column -> point; {point} of the topic
//! time = "time"                  # s, ms or us since 1970, RFC 3339, or 2026-11-23 08:00:00 with utc_offset
//! utc_offset = "+08:00"          # of times that name no zone
//! quality = "quality"            # words as in the API, or those of quality_words
//! quality_words = { "0" = "good", "1" = "line_break" }
//! ```
//! In comes a payload, out go samples; a topic that names the point needs only a value column. A bad line
//! loses only itself, counted and told with its number. Blank lines and lines that begin with `#` are no
//! lines. An empty cell under `values` says nothing of its point. Quotes stand around a cell, a doubled one
//! inside means one; a cell never goes over the end of its line, so that one open quote cannot eat the rest.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::decoder::Reader;
use super::name::{Origin, Template};
use super::scalar::{self, UNREADABLE};
use super::status::Words;
use super::topic::TopicPattern;
use crate::config::{Key, Problems};
use crate::ledger::Fate;
use crate::model::{Quality, Timestamp, Zone};

/// Columns that are looked at; a line may have more.
const MOST_COLUMNS: usize = 256;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawCsv {
    separator: String,
    skip: usize,
    columns: Vec<String>,
    point: Option<String>,
    value: Option<String>,
    values: BTreeMap<String, String>,
    time: String,
    utc_offset: Option<String>,
    quality: String,
    quality_words: BTreeMap<String, String>,
}

impl Default for RawCsv {
    fn default() -> Self {
        Self {
            separator: ",".into(),
            skip: 0,
            columns: Vec::new(),
            point: None,
            value: None,
            values: BTreeMap::new(),
            time: "time".into(),
            utc_offset: None,
            quality: "quality".into(),
            quality_words: BTreeMap::new(),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Csv {
    separator: u8,
    skip: usize,
    /// Given by the configuration; otherwise the first line names the columns.
    columns: Option<Vec<Box<str>>>,
    take: Take,
    time: Box<str>,
    /// Of times without a zone, in seconds.
    utc_offset: Option<i64>,
    quality: Box<str>,
    words: Words,
}

#[derive(Clone, Debug, PartialEq)]
enum Take {
    /// A value a line; the point's column is absent when the topic names the point.
    One { point: Option<Box<str>>, value: Box<str> },
    /// Columns that are each a point's.
    Many(Vec<(Box<str>, Template)>),
}

/// Where the wanted columns stand in the lines of a message.
#[derive(Default)]
struct Places {
    point: Option<usize>,
    value: Option<usize>,
    /// Column and index into `Take::Many`.
    values: Vec<(usize, usize)>,
    time: Option<usize>,
    quality: Option<usize>,
}

impl RawCsv {
    pub fn check(self, topic: &TopicPattern, at: &Key, problems: &mut Problems) -> Option<Csv> {
        let before = problems.len();
        let separator = match self.separator.as_bytes() {
            [byte] if byte.is_ascii() && !byte.is_ascii_alphanumeric() && !b"\"\r\n.-+".contains(byte) => *byte,
            _ => {
                problems
                    .add(at.field("separator"), format!("{:?} is not one character such as ; or ,", self.separator));
                b','
            }
        };
        problems.within(at.field("skip"), self.skip, 0..=1_000);
        if self.columns.len() > MOST_COLUMNS {
            problems.add(at.field("columns"), format!("{} are more than {MOST_COLUMNS}", self.columns.len()));
        }
        let words = Words::check(&self.quality_words, &at.field("quality_words"), problems);
        let utc_offset = self.utc_offset.as_deref().and_then(|text| {
            let seconds = Zone::parse(text).map(|zone| i64::from(zone.0));
            if seconds.is_none() {
                problems.add(at.field("utc_offset"), format!("{text:?} is not an offset such as +08:00"));
            }
            seconds
        });
        let named = topic.names_point();
        let take = if self.values.is_empty() {
            if named && self.point.is_some() {
                problems.add(at.field("point"), "the topic names the point already; leave out one of the two");
            }
            let point = (!named).then(|| self.point.unwrap_or_else(|| "point".into()).into());
            Take::One { point, value: self.value.unwrap_or_else(|| "value".into()).into() }
        } else {
            if self.point.is_some() || self.value.is_some() {
                problems.add(at.field("values"), "values names points and columns in one; leave out point and value");
            }
            let offered: Vec<&str> = topic.offers().collect();
            let mut columns = Vec::new();
            for (column, name) in self.values {
                let at = at.field("values").field(&column);
                columns.extend(Template::check(&name, &offered, at, problems).map(|name| (column.into(), name)));
            }
            Take::Many(columns)
        };
        let columns: Option<Vec<Box<str>>> =
            (!self.columns.is_empty()).then(|| self.columns.into_iter().map(Into::into).collect());
        if let Some(columns) = &columns {
            let lacks = |column: &str| !columns.iter().any(|known| **known == *column);
            let needed: Vec<&str> = match &take {
                Take::One { point, value } => point.iter().chain([value]).map(|column| &**column).collect(),
                Take::Many(columns) => columns.iter().map(|(column, _)| &**column).collect(),
            };
            for column in needed.into_iter().filter(|column| lacks(column)) {
                problems.add(at.field("columns"), format!("the column {column:?} is not among them"));
            }
        }
        let (time, quality) = (self.time.into(), self.quality.into());
        let csv = Csv { separator, skip: self.skip, columns, take, time, utc_offset, quality, words: words? };
        (problems.len() == before).then_some(csv)
    }
}

impl Csv {
    pub(super) fn read(&self, reader: &mut Reader<'_>, origin: &Origin, payload: &[u8]) {
        let payload = payload.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(payload);
        let mut places = self.columns.as_ref().map(|columns| self.find(columns.iter().map(|column| &**column)));
        let mut cells = Cells::default();
        let mut name = String::new();
        for (number, line) in payload.split(|byte| *byte == b'\n').enumerate().skip(self.skip) {
            reader.move_to(number + 1);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.trim_ascii().is_empty() || line[0] == b'#' {
                continue;
            }
            let Ok(line) = std::str::from_utf8(line) else {
                reader.lose(Fate::NotUtf8, "");
                continue;
            };
            if !cells.split(line, self.separator) {
                reader.lose(Fate::BadLine, line);
                continue;
            }
            match &places {
                None => {
                    let found = self.find((0..cells.len()).map(|column| cells.get(column)));
                    if !self.suffices(&found) {
                        reader.lose(Fate::BadLine, line);
                        return;
                    }
                    places = Some(found);
                }
                Some(places) => self.line(reader, origin, places, &cells, line, &mut name),
            }
        }
    }

    fn find<'a>(&self, columns: impl Iterator<Item = &'a str>) -> Places {
        let mut places = Places::default();
        for (at, column) in columns.enumerate() {
            let column = column.trim();
            if *column == *self.time {
                places.time = Some(at);
            }
            if *column == *self.quality {
                places.quality = Some(at);
            }
            match &self.take {
                Take::One { point, value } => {
                    if point.as_deref() == Some(column) {
                        places.point = Some(at);
                    }
                    if *column == **value {
                        places.value = Some(at);
                    }
                }
                Take::Many(wanted) => {
                    places
                        .values
                        .extend(wanted.iter().position(|(name, _)| **name == *column).map(|which| (at, which)));
                }
            }
        }
        places
    }

    fn suffices(&self, places: &Places) -> bool {
        match &self.take {
            Take::One { point, .. } => places.value.is_some() && point.is_some() == places.point.is_some(),
            Take::Many(_) => !places.values.is_empty(),
        }
    }

    fn line(
        &self,
        reader: &mut Reader<'_>,
        origin: &Origin,
        places: &Places,
        cells: &Cells<'_>,
        line: &str,
        name: &mut String,
    ) {
        let cell = |place: Option<usize>| place.map_or("", |place| cells.get(place));
        let time = self.moment(cell(places.time).trim());
        let quality = self.words.read(cell(places.quality));
        match &self.take {
            Take::One { .. } => {
                let text = cell(places.value).trim();
                let Some(value) = value(text, quality) else {
                    let fate = if text.is_empty() { Fate::NoValue } else { Fate::BadLine };
                    return reader.lose(fate, line);
                };
                let point = match places.point {
                    Some(place) => cells.get(place).trim(),
                    None => origin.point.as_deref().unwrap_or_default(),
                };
                reader.offer(origin, point, value, time, quality);
            }
            Take::Many(wanted) => {
                for (place, which) in &places.values {
                    let text = cells.get(*place).trim();
                    if text.is_empty() {
                        continue;
                    }
                    match value(text, quality) {
                        Some(value) if wanted[*which].1.write(origin, name, |_, _| false) => {
                            reader.offer(origin, name, value, time, quality);
                        }
                        Some(_) | None => reader.lose(Fate::BadLine, text),
                    }
                }
            }
        }
    }

    fn moment(&self, text: &str) -> Option<Timestamp> {
        if text.is_empty() {
            return None;
        }
        let local = || {
            let civil: jiff::civil::DateTime = text.parse().ok()?;
            let utc = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_microsecond();
            Some(Timestamp::from_micros(utc - self.utc_offset? * 1_000_000))
        };
        Some(scalar::from_text(text).or_else(local).unwrap_or(UNREADABLE))
    }
}

/// A sender that has no value may say so by its quality alone.
fn value(text: &str, quality: Quality) -> Option<f64> {
    match scalar::written(text) {
        None if !quality.usable() => Some(0.0),
        found => found,
    }
}

/// The cells of one line: spans of it, or copies where a doubled quote had to go.
#[derive(Default)]
struct Cells<'a> {
    plain: Vec<&'a str>,
    /// Column and text of cells with doubled quotes.
    mended: Vec<(usize, String)>,
}

impl<'a> Cells<'a> {
    fn len(&self) -> usize {
        self.plain.len()
    }

    fn get(&self, column: usize) -> &str {
        match self.mended.iter().find(|(mended, _)| *mended == column) {
            Some((_, text)) => text,
            None => self.plain.get(column).copied().unwrap_or_default(),
        }
    }

    /// False when a quote is left open or something stands behind a closing one.
    fn split(&mut self, line: &'a str, separator: u8) -> bool {
        self.plain.clear();
        self.mended.clear();
        let bytes = line.as_bytes();
        let mut at = 0;
        while self.plain.len() < MOST_COLUMNS {
            let next = if bytes.get(at) == Some(&b'"') {
                let (mut end, mut doubled) = (at + 1, false);
                loop {
                    match (bytes.get(end), bytes.get(end + 1)) {
                        (None, _) => return false,
                        (Some(b'"'), Some(b'"')) => (end, doubled) = (end + 2, true),
                        (Some(b'"'), _) => break,
                        (Some(_), _) => end += 1,
                    }
                }
                let inner = &line[at + 1..end];
                if doubled {
                    self.mended.push((self.plain.len(), inner.replace("\"\"", "\"")));
                }
                self.plain.push(inner);
                end + 1
            } else {
                let length = bytes[at..].iter().position(|byte| *byte == separator);
                let end = length.map_or(bytes.len(), |length| at + length);
                self.plain.push(&line[at..end]);
                end
            };
            match bytes.get(next) {
                None => return true,
                Some(byte) if *byte == separator => at = next + 1,
                Some(_) => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_split_at_separators_outside_quotes() {
        let cells = |line: &str| {
            let mut cells = Cells::default();
            let sound = cells.split(line, b';');
            sound.then(|| (0..cells.len()).map(|column| cells.get(column).to_owned()).collect::<Vec<_>>())
        };
        let list = |cells: &[&str]| Some(cells.iter().map(|cell| (*cell).to_owned()).collect());
        assert_eq!(cells("a;;\"b;\"\"c\"\"\";"), list(&["a", "", "b;\"c\"", ""]));
        assert_eq!(cells("a;b\"c"), list(&["a", "b\"c"]));
        assert_eq!(cells(""), list(&[""]));
        assert_eq!(cells("\"瓦斯\""), list(&["瓦斯"]));
        for open in ["\"a", "a;\"", "\"a\"b;c", "\"a\"\""] {
            assert_eq!(cells(open), None, "{open}");
        }
    }
}
