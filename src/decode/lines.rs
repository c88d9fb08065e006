//! `format = "line-protocol"`: InfluxDB line protocol, as Telegraf and many loggers write it.
//!
//! ```text
//!  cpu,host=pit-3,site=hongli usage_idle=98.2,procs=12i,state="ok" 1790000000123000000
//!  └ measurement  └ tags      └ fields: floats, 12i, 12u, t/f, "text"  └ time
//! ```
//! ```toml
//! [payload.line-protocol]
//! point     = "{tag:site}.{tag:point}"  # the point's whole id; {measurement}, {tag:NAME}, {field}, and
//!                                       # {site} and {point} of the topic. With {field} every field is a point
//! field     = "value"                   # without {field} in point: the field that is the value
//! quality   = "quality"                 # and the one that is its quality: a word, or reason bits as Davy writes
//! precision = "ns"                      # of times: ns, us, ms or s
//! ```
//! The defaults read what another Davy writes to InfluxDB. In comes a payload, out go samples; a line that is
//! not line protocol loses only itself. Text is no measurement: a string field is counted and left out. A
//! string may go over line ends, as the protocol allows, but one that is never closed ends with its line.

use serde::Deserialize;

use super::decoder::Reader;
use super::name::{Origin, Part, Template};
use super::scalar::{self, UNREADABLE};
use super::status::Words;
use super::topic::TopicPattern;
use crate::config::{Key, Problems};
use crate::ledger::Fate;
use crate::model::{Quality, Timestamp};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawLines {
    point: String,
    field: Option<String>,
    quality: Option<String>,
    precision: String,
}

impl Default for RawLines {
    fn default() -> Self {
        Self { point: "{tag:site}.{tag:point}".into(), field: None, quality: None, precision: "ns".into() }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Lines {
    point: Template,
    /// Absent: every field is a point.
    take: Option<Take>,
    precision: Precision,
    words: Words,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Take {
    field: Box<str>,
    quality: Box<str>,
}

/// What a time counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Precision {
    Nanos,
    Micros,
    Millis,
    Seconds,
}

impl Precision {
    pub(super) const ALL: [(&str, Self); 4] =
        [("ns", Self::Nanos), ("us", Self::Micros), ("ms", Self::Millis), ("s", Self::Seconds)];

    fn moment(self, number: i64) -> Timestamp {
        let micros = match self {
            Self::Nanos => Some(number.div_euclid(1_000)),
            Self::Micros => Some(number),
            Self::Millis => number.checked_mul(1_000),
            Self::Seconds => number.checked_mul(1_000_000),
        };
        micros.filter(|micros| *micros >= 0).map_or(UNREADABLE, Timestamp::from_micros)
    }
}

impl RawLines {
    #[must_use]
    pub fn precision(&self) -> &str {
        &self.precision
    }

    /// The same form with times of another precision.
    #[must_use]
    pub fn with_precision(&self, precision: &str) -> Self {
        Self { precision: precision.to_owned(), ..self.clone() }
    }

    pub(super) fn check(self, topic: Option<&TopicPattern>, at: &Key, problems: &mut Problems) -> Option<Lines> {
        let mut offered = vec!["measurement", "field", "tag:NAME"];
        offered.extend(topic.into_iter().flat_map(TopicPattern::offers));
        let precision = problems.known(at.field("precision"), &self.precision, "precision", Precision::ALL);
        let point = Template::check(&self.point, &offered, at.field("point"), problems)?;
        let every = point.has(&Part::Field);
        for (key, value) in [("field", &self.field), ("quality", &self.quality)] {
            if every && value.is_some() {
                problems.add(at.field(key), "{field} in point makes a point of every field; leave out one of the two");
                return None;
            }
        }
        let take = (!every).then(|| Take {
            field: self.field.unwrap_or_else(|| "value".into()).into(),
            quality: self.quality.unwrap_or_else(|| "quality".into()).into(),
        });
        Some(Lines { point, take, precision: precision?, words: Words::default() })
    }
}

impl Lines {
    pub(super) fn read(&self, reader: &mut Reader<'_>, origin: &Origin, payload: &[u8]) {
        let mut name = String::new();
        let mut rest = payload;
        let mut number = 1;
        while !rest.is_empty() {
            let (line, after) = take_line(rest);
            reader.move_to(number);
            number += 1 + line.iter().filter(|byte| **byte == b'\n').count();
            rest = after;
            let line = line.trim_ascii();
            if line.is_empty() || line[0] == b'#' {
                continue;
            }
            let Ok(line) = std::str::from_utf8(line) else {
                reader.lose(Fate::NotUtf8, "");
                continue;
            };
            match Line::parse(line) {
                Some(line) => self.line(reader, origin, &line, &mut name),
                None => reader.lose(Fate::BadLine, line),
            }
        }
    }

    fn line(&self, reader: &mut Reader<'_>, origin: &Origin, line: &Line<'_>, name: &mut String) {
        let time = line.time.map(|number| number.map_or(UNREADABLE, |number| self.precision.moment(number)));
        let Some(take) = &self.take else {
            for (field, value) in line.fields() {
                if self.name(origin, line, field, name) {
                    self.offer(reader, name, value, time, Quality::GOOD);
                } else {
                    reader.lose(Fate::UnknownPoint, line.series);
                }
            }
            return;
        };
        let (mut found, mut quality) = (None, Quality::GOOD);
        for (field, value) in line.fields() {
            if same(field, &take.field) {
                found = Some(value);
            } else if same(field, &take.quality) {
                quality = match value {
                    Value::Number(bits) => Quality::from_bits(bits as u16),
                    Value::Text(text) => self.words.read(text),
                };
            }
        }
        if !self.name(origin, line, "", name) {
            return reader.lose(Fate::UnknownPoint, line.series);
        }
        match found {
            Some(value) => self.offer(reader, name, value, time, quality),
            // What another Davy writes of a point that has no value.
            None if !quality.usable() => reader.offer_whole(name, 0.0, time, quality),
            None => reader.lose(Fate::NoValue, name),
        }
    }

    fn offer(&self, reader: &mut Reader<'_>, id: &str, value: Value<'_>, time: Option<Timestamp>, quality: Quality) {
        match value {
            Value::Number(value) => reader.offer_whole(id, value, time, quality),
            Value::Text(_) => reader.lose(Fate::NoValue, id),
        }
    }

    fn name(&self, origin: &Origin, line: &Line<'_>, field: &str, name: &mut String) -> bool {
        self.point.write(origin, name, |part, name| match part {
            Part::Measurement => push(name, line.measurement()),
            Part::Field => push(name, field),
            Part::Tag(tag) => line.tags().find(|(key, _)| same(key, tag)).is_some_and(|(_, value)| push(name, value)),
            Part::Text(_) | Part::Site | Part::Point | Part::Number => false,
        })
    }
}

/// The first line, to the line end that stands in no string, and what follows it.
fn take_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let first = bytes.iter().position(|byte| *byte == b'\n');
    let Some(first) = first else { return (bytes, &[]) };
    let mut end = first;
    // Only quotes make a line longer, and most have none.
    if bytes[..first].contains(&b'"') && bytes[0] != b'#' {
        let (mut at, mut open, mut fields) = (0, false, false);
        loop {
            match bytes.get(at) {
                // Never closed: the line ends where it first could.
                None if open => break,
                None => {
                    end = bytes.len();
                    break;
                }
                Some(b'\\') => at += 1,
                // A quote in a measurement or a tag is a letter like any other.
                Some(b' ') if !open => fields = true,
                Some(b'"') if fields => open = !open,
                Some(b'\n') if !open => {
                    end = at;
                    break;
                }
                Some(_) => {}
            }
            at += 1;
        }
    }
    (&bytes[..end], bytes.get(end + 1..).unwrap_or_default())
}

/// One line, split but not unescaped.
struct Line<'a> {
    /// Measurement and tags.
    series: &'a str,
    /// Where the measurement ends.
    measurement: usize,
    fields: &'a str,
    /// Absent when the line gives none; `None` inside when it does not fit a number.
    time: Option<Option<i64>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Value<'a> {
    Number(f64),
    /// Between its quotes, as written.
    Text(&'a str),
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let series_end = plain_end(line, 0, b" ")?;
        let series = &line[..series_end];
        let measurement = plain_end(series, 0, b",").unwrap_or(series.len());
        // A comma wants a tag behind it.
        if measurement == 0 || measurement + 1 == series.len() && series.ends_with(',') {
            return None;
        }
        let rest = line[series_end..].trim_start_matches(' ');
        let fields_end = fields_end(rest)?;
        let time = match rest[fields_end..].trim() {
            "" => None,
            text => {
                let digits = text.strip_prefix('-').unwrap_or(text);
                if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                    return None;
                }
                Some(text.parse().ok())
            }
        };
        let line = Self { series, measurement, fields: &rest[..fields_end], time };
        // Every tag and field must be whole before any of them counts.
        let tags_end = if measurement == series.len() { measurement } else { measurement + 1 };
        let sound = Pairs { text: &series[tags_end..], fields: false }.all(|pair| pair.is_some())
            && Pairs { text: line.fields, fields: true }
                .all(|pair| pair.is_some_and(|(_, text)| value(text).is_some()));
        (sound && !line.fields.is_empty()).then_some(line)
    }

    fn measurement(&self) -> &'a str {
        &self.series[..self.measurement]
    }

    fn tags(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let tags = self.series.get(self.measurement + 1..).unwrap_or_default();
        Pairs { text: tags, fields: false }.flatten()
    }

    fn fields(&self) -> impl Iterator<Item = (&'a str, Value<'a>)> {
        Pairs { text: self.fields, fields: true }.flatten().filter_map(|(key, text)| Some((key, value(text)?)))
    }
}

/// `key=value` between commas; an item is `None` when it is not that.
struct Pairs<'a> {
    text: &'a str,
    fields: bool,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Option<(&'a str, &'a str)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.text.is_empty() {
            return None;
        }
        let text = std::mem::take(&mut self.text);
        let Some(equals) = plain_end(text, 0, b"=,").filter(|at| *at > 0 && text.as_bytes()[*at] == b'=') else {
            return Some(None);
        };
        let from = equals + 1;
        let end = if self.fields && text.as_bytes().get(from) == Some(&b'"') {
            match string_end(text, from) {
                Some(quote) => quote + 1,
                None => return Some(None),
            }
        } else {
            plain_end(text, from, b",").unwrap_or(text.len())
        };
        match text.as_bytes().get(end) {
            None => {}
            // A comma wants something behind it.
            Some(b',') if end + 1 < text.len() => self.text = &text[end + 1..],
            Some(_) => return Some(None),
        }
        Some((end > from).then(|| (&text[..equals], &text[from..end])))
    }
}

/// Where the first of `stops` stands that has no backslash before it.
fn plain_end(text: &str, from: usize, stops: &[u8]) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = from;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            byte if stops.contains(byte) => return Some(at),
            _ => at += 1,
        }
    }
    None
}

/// The closing quote of the string whose opening one stands at `from`.
fn string_end(text: &str, from: usize) -> Option<usize> {
    plain_end(text, from + 1, b"\"")
}

/// The end of the fields: the first space that stands in no string.
fn fields_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => at = string_end(text, at)? + 1,
            b' ' => return Some(at),
            _ => at += 1,
        }
    }
    Some(bytes.len())
}

fn value(text: &str) -> Option<Value<'_>> {
    let number = match text {
        "t" | "T" | "true" | "True" | "TRUE" => Some(1.0),
        "f" | "F" | "false" | "False" | "FALSE" => Some(0.0),
        _ => match text.as_bytes() {
            [b'"', .., b'"'] => return Some(Value::Text(&text[1..text.len() - 1])),
            [_, .., b'i'] => text[..text.len() - 1].parse::<i64>().ok().map(|number| number as f64),
            [_, .., b'u'] => text[..text.len() - 1].parse::<u64>().ok().map(|number| number as f64),
            _ => scalar::written(text),
        },
    };
    number.map(Value::Number)
}

/// Does `raw` say `plain` once its escapes are undone?
fn same(raw: &str, plain: &str) -> bool {
    if !raw.as_bytes().contains(&b'\\') {
        return raw == plain;
    }
    Unescaped(raw.chars()).eq(plain.chars())
}

fn push(name: &mut String, raw: &str) -> bool {
    if raw.as_bytes().contains(&b'\\') {
        name.extend(Unescaped(raw.chars()));
    } else {
        name.push_str(raw);
    }
    true
}

/// A backslash goes before a comma, an equals sign or a space; elsewhere it stands for itself.
struct Unescaped<'a>(std::str::Chars<'a>);

impl Iterator for Unescaped<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let letter = self.0.next()?;
        let mut ahead = self.0.clone();
        match (letter, ahead.next()) {
            ('\\', Some(escaped @ (',' | '=' | ' '))) => {
                self.0 = ahead;
                Some(escaped)
            }
            (letter, _) => Some(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_as_the_protocol_says() {
        let line =
            Line::parse(r#"wea\ ther,loc\,at=us\=mid,b="q a=1.5,t="x ,\"=y",n=-3i,u=7u,ok=T 1465839830100400200"#)
                .unwrap();
        assert_eq!(line.measurement(), r"wea\ ther");
        assert_eq!(line.tags().collect::<Vec<_>>(), [(r"loc\,at", r"us\=mid"), ("b", "\"q")]);
        assert!(same(r"loc\,at", "loc,at") && same(r"c:\x", r"c:\x"));
        let fields: Vec<_> = line.fields().collect();
        let expected = [
            ("a", Value::Number(1.5)),
            ("t", Value::Text(r#"x ,\"=y"#)),
            ("n", Value::Number(-3.0)),
            ("u", Value::Number(7.0)),
            ("ok", Value::Number(1.0)),
        ];
        assert_eq!(fields, expected);
        assert_eq!(line.time, Some(Some(1_465_839_830_100_400_200)));
    }

    #[test]
    fn what_is_no_line_protocol_is_refused() {
        for wrong in [
            "cpu",
            "cpu ",
            ",a=b v=1",
            "cpu v",
            "cpu v=",
            "cpu =1",
            "cpu v=1,",
            "cpu,a v=1",
            "cpu,a= v=1",
            "cpu,=b v=1",
            "cpu, v=1",
            "cpu v=1 soon",
            "cpu v=1 5 6",
            "cpu v=\"open",
            "cpu v=1x",
            "cpu v=i",
            "cpu v=1.5i",
            "cpu v=-1u",
            "cpu v=1,v",
        ] {
            assert!(Line::parse(wrong).is_none(), "{wrong}");
        }
        assert!(Line::parse("cpu v=1 ").is_some() && Line::parse("cpu  v=1  5").is_some());
        assert_eq!(Line::parse("cpu v=1 99999999999999999999").unwrap().time, Some(None));
    }

    #[test]
    fn a_string_may_hold_line_ends_but_not_the_rest_of_the_message() {
        let taken = |text: &'static str| {
            let (line, rest) = take_line(text.as_bytes());
            (std::str::from_utf8(line).unwrap(), std::str::from_utf8(rest).unwrap())
        };
        assert_eq!(taken("a v=\"x\ny\" 5\nb v=1"), ("a v=\"x\ny\" 5", "b v=1"));
        assert_eq!(taken("a v=\"x\nb v=1\n"), ("a v=\"x", "b v=1\n"));
        assert_eq!(taken("a,t=\" v=1\nb v=1"), ("a,t=\" v=1", "b v=1"));
        assert_eq!(taken("a v=1\r\n"), ("a v=1\r", ""));
    }
}
