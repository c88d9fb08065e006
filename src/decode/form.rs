//! `[[payload]]`: what messages look like, and the bindings of single points.
//!
//! ```toml
//! [[payload]]
//! topic   = "{site}/{point}"      # which messages; {site}, {point}, +, and # at the end
//! value   = "$.value"             # where the number is; "$" when the payload is the number
//! time    = "$.time"              # when it was measured: s, ms or us since 1970, or RFC 3339
//! samples = "$.samples[*]"        # several samples in a message; the other paths start at each of them
//! point   = "$.id"                # the payload names the point (within {site}, else as site.point)
//! values  = "$.values"            # instead of value: an object of point name -> number
//! quality = "$.quality"           # what the sender says of the value: "good", "bad", "line_break", ...
//! strings = true                  # numbers in quotes count as numbers
//! ```
//! `format = "csv"`, `"binary"`, `"line-protocol"` or `"rhai"` reads something else than JSON; what it looks
//! like stands in a table of the format's name below (`[payload.csv]`), see the modules of the formats.
//!
//! In come the tables as written; out go proven [`Pattern`]s and [`Binding`]s. Several JSON patterns may name
//! the same topics: the first whose shape fits a payload is used. Of other formats the first is used.

use serde::Deserialize;

use super::binary::{Binary, RawBinary};
use super::csv::{Csv, RawCsv};
use super::lines::{Lines, Precision, RawLines};
use super::path::Path;
use super::script::{RawScript, Script};
use super::topic::TopicPattern;
use crate::config::{Key, Problems};

/// One `[[payload]]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawPattern {
    pub topic: String,
    #[serde(default = "json")]
    pub format: String,
    pub value: Option<String>,
    pub time: Option<String>,
    pub samples: Option<String>,
    pub point: Option<String>,
    pub values: Option<String>,
    pub quality: Option<String>,
    #[serde(default)]
    pub strings: bool,
    pub csv: Option<RawCsv>,
    pub binary: Option<RawBinary>,
    #[serde(rename = "line-protocol")]
    pub line_protocol: Option<RawLines>,
    pub rhai: Option<RawScript>,
}

fn json() -> String {
    "json".into()
}

/// Which topics, and what their payloads look like.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    pub(super) topic: TopicPattern,
    pub(super) layout: Layout,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Layout {
    Json(Form),
    Csv(Csv),
    Binary(Binary),
    Lines(Lines),
    Script(Script),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Csv,
    Binary,
    LineProtocol,
    Rhai,
}

impl Format {
    const ALL: [(&str, Self); 5] = [
        ("json", Self::Json),
        ("csv", Self::Csv),
        ("binary", Self::Binary),
        ("line-protocol", Self::LineProtocol),
        ("rhai", Self::Rhai),
    ];
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Form {
    /// Elements to look at one by one; the payload itself when absent.
    pub each: Option<Path>,
    pub take: Take,
    pub time: Option<Path>,
    pub quality: Option<Path>,
    pub strings: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Take {
    /// One number; `point` when the payload names its point.
    Value { value: Path, point: Option<Path> },
    /// An object: point name -> number.
    Members(Path),
}

/// Where one point finds its values, as its own table writes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawBinding {
    pub topic: String,
    pub value: Option<String>,
    pub time: Option<String>,
    #[serde(default)]
    pub strings: bool,
}

/// Where one point finds its values. Several points may name the same topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    pub(super) topic: Box<str>,
    pub(super) value: Path,
    pub(super) time: Option<Path>,
    pub(super) strings: bool,
}

/// The patterns as configured; the default ones when there are none. A table that could not even be read is
/// `None`: it was told already, and does not hide what is wrong with the others.
pub fn check_patterns(raw: Vec<Option<RawPattern>>, at: &Key, problems: &mut Problems) -> Option<Vec<Pattern>> {
    if raw.is_empty() {
        return Some(default_patterns());
    }
    let checked: Vec<_> = raw.into_iter().enumerate().map(|(i, raw)| raw?.check(&at.index(i), problems)).collect();
    checked.into_iter().collect()
}

/// What is understood without any configuration:
///
/// | topic | payload |
/// |---|---|
/// | `{site}/{point}` | `{"value":0.42,"time":1790000000123}`, and `"quality":"line_break"` if there is more to say |
/// | `{site}/{point}` | `0.42` |
/// | `{site}/{point}` | `{"samples":[{"value":0.42,"time":1790000000123}]}` |
/// | `{site}/{point}` | `[{"value":0.42,"time":1790000000123}]` |
/// | `{site}` | `{"values":{"t1":0.42,"co":3},"time":1790000000123}` |
/// | `{site}` | `{"samples":[{"point":"t1","value":0.42,"time":1790000000123}]}` |
#[must_use]
pub fn default_patterns() -> Vec<Pattern> {
    let every = |path: &str| path.parse::<Path>().ok();
    let value = || Take::Value { value: Path::member("value"), point: None };
    let member = |name| Some(Path::member(name));
    let form = |each, take| Form { each, take, time: member("time"), quality: member("quality"), strings: false };
    let named = Take::Value { value: Path::member("value"), point: Some(Path::member("point")) };
    let bare = Take::Value { value: Path::root(), point: None };
    let forms = [
        ("{site}/{point}", form(None, value())),
        ("{site}/{point}", Form { time: None, quality: None, ..form(None, bare) }),
        ("{site}/{point}", form(every("$.samples[*]"), value())),
        ("{site}/{point}", form(every("$[*]"), value())),
        ("{site}", form(None, Take::Members(Path::member("values")))),
        ("{site}", form(every("$.samples[*]"), named)),
    ];
    let pattern =
        |(topic, form): (&str, Form)| topic.parse().ok().map(|topic| Pattern { topic, layout: Layout::Json(form) });
    forms.into_iter().filter_map(pattern).collect()
}

/// The topics under which [`api_patterns`] read a body; line protocol has one for each precision behind it.
pub const API_JSON: &str = "json";
pub const API_CSV: &str = "csv";
pub const API_LINES: &str = "line-protocol";

/// What `POST /api/v1/samples` understands; `point` is always a whole id:
///
/// | topic | body |
/// |---|---|
/// | `json` | `{"point":"hongli.t1","value":0.42,"time":1790000000123,"quality":"good"}` |
/// | `json` | an array of these, or `{"samples":[..]}` |
/// | `json` | `{"values":{"hongli.t1":0.42},"time":1790000000123}` |
/// | `csv` | lines with a header of `point`, `value`, `time`, `quality` |
/// | `line-protocol/ns` | line protocol in the form of `lines`, with `us`, `ms` and `s` likewise |
pub fn api_patterns(lines: &RawLines, at: &Key, problems: &mut Problems) -> Option<Vec<Pattern>> {
    let every = |path: &str| path.parse::<Path>().ok();
    let form = |each, take| {
        let (time, quality) = (Some(Path::member("time")), Some(Path::member("quality")));
        Layout::Json(Form { each, take, time, quality, strings: false })
    };
    let named = || Take::Value { value: Path::member("value"), point: Some(Path::member("point")) };
    let mut layouts = vec![
        (API_JSON.to_owned(), form(None, named())),
        (API_JSON.to_owned(), form(every("$[*]"), named())),
        (API_JSON.to_owned(), form(every("$.samples[*]"), named())),
        (API_JSON.to_owned(), form(None, Take::Members(Path::member("values")))),
        (API_CSV.to_owned(), Layout::Csv(RawCsv::default().check(&API_CSV.parse().ok()?, at, problems)?)),
    ];
    lines.clone().check(None, at, problems)?;
    for (precision, _) in Precision::ALL {
        let lines = lines.with_precision(precision).check(None, at, problems)?;
        layouts.push((format!("{API_LINES}/{precision}"), Layout::Lines(lines)));
    }
    let pattern = |(topic, layout): (String, Layout)| topic.parse().ok().map(|topic| Pattern { topic, layout });
    layouts.into_iter().map(pattern).collect()
}

impl RawPattern {
    pub fn check(mut self, at: &Key, problems: &mut Problems) -> Option<Pattern> {
        let format = problems.known(at.field("format"), &self.format, "format", Format::ALL)?;
        let before = problems.len();
        self.check_keys(format, at, problems);
        let topic = match format {
            Format::Json => return self.json(at, problems).filter(|_| problems.len() == before),
            Format::Csv | Format::Binary | Format::LineProtocol | Format::Rhai => {
                parsed::<TopicPattern, _>(problems, at.field("topic"), &self.topic)?
            }
        };
        let at = at.field(&self.format);
        let layout = match format {
            Format::Csv => self.csv.take().unwrap_or_default().check(&topic, &at, problems).map(Layout::Csv),
            Format::Binary => match self.binary.take() {
                Some(raw) => raw.check(&topic, &at, problems).map(Layout::Binary),
                None => missing(&at, problems, "say what the record looks like in [payload.binary]"),
            },
            Format::LineProtocol => {
                self.line_protocol.take().unwrap_or_default().check(Some(&topic), &at, problems).map(Layout::Lines)
            }
            Format::Rhai => match self.rhai.take() {
                Some(raw) => raw.check(&at, problems).map(Layout::Script),
                None => missing(&at, problems, "name the file of the script: [payload.rhai] file = \"odd.rhai\""),
            },
            Format::Json => None,
        };
        layout.filter(|_| problems.len() == before).map(|layout| Pattern { topic, layout })
    }

    /// Keys that belong to another format.
    fn check_keys(&self, format: Format, at: &Key, problems: &mut Problems) {
        let tables = [
            ("csv", self.csv.is_some(), Format::Csv),
            ("binary", self.binary.is_some(), Format::Binary),
            ("line-protocol", self.line_protocol.is_some(), Format::LineProtocol),
            ("rhai", self.rhai.is_some(), Format::Rhai),
        ];
        for (name, _, _) in tables.iter().filter(|(_, there, of)| *there && *of != format) {
            problems.add(at.field(name), format!("is of no use here: write format = {name:?}"));
        }
        let paths = [
            ("value", self.value.is_some()),
            ("time", self.time.is_some()),
            ("samples", self.samples.is_some()),
            ("point", self.point.is_some()),
            ("values", self.values.is_some()),
            ("quality", self.quality.is_some()),
            ("strings", self.strings),
        ];
        for (name, _) in paths.iter().filter(|(_, there)| *there && format != Format::Json) {
            let told = format!("is for JSON; what this form needs stands in [payload.{}]", self.format);
            problems.add(at.field(name), told);
        }
    }

    fn json(self, at: &Key, problems: &mut Problems) -> Option<Pattern> {
        let topic = parsed::<TopicPattern, _>(problems, at.field("topic"), &self.topic);
        let each = self.samples.as_deref().map(|text| many(problems, at.field("samples"), text));
        let value = self.value.as_deref().map(|text| single(problems, at.field("value"), text));
        let point = self.point.as_deref().map(|text| single(problems, at.field("point"), text));
        let values = self.values.as_deref().map(|text| single(problems, at.field("values"), text));
        let quality = self.quality.as_deref().map(|text| single(problems, at.field("quality"), text));
        let bare = value.as_ref().is_some_and(|value| value.as_ref() == Some(&Path::root()));
        let time = time(problems, at.field("time"), self.time.as_deref(), bare);
        let before = problems.len();
        if values.is_some() && (value.is_some() || point.is_some()) {
            problems.add(at.field("values"), "values names points and numbers in one; leave out value and point");
        }
        if let Some(topic) = &topic {
            match (topic.names_point(), point.is_some(), values.is_some()) {
                (true, true, _) => {
                    problems.add(at.field("point"), "the topic names the point already; leave out one of the two");
                }
                (true, false, true) => {
                    problems.add(at.field("values"), "the topic names one point, values names many; leave out {point}");
                }
                (false, false, false) => problems.add(
                    at.field("topic"),
                    "nothing says which point it is: name {point} in the topic, or give point or values",
                ),
                (true, false, false) | (false, _, _) => {}
            }
        }
        let sound = problems.len() == before;
        let take = match values {
            Some(values) => Take::Members(values?),
            None => Take::Value {
                value: value.unwrap_or_else(|| Some(Path::member("value")))?,
                point: point.map_or(Some(None), |point| point.map(Some))?,
            },
        };
        let each = each.map_or(Some(None), |each| each.map(Some))?;
        let (topic, time) = (topic?, time?);
        let quality = quality.map_or(Some(None), |quality| quality.map(Some))?;
        let form = Form { each, take, time, quality, strings: self.strings };
        sound.then_some(Pattern { topic, layout: Layout::Json(form) })
    }
}

impl RawBinding {
    pub fn check(self, at: &Key, problems: &mut Problems) -> Option<Binding> {
        let before = problems.len();
        if self.topic.is_empty() || self.topic.contains(['+', '#', '{', '}', '\0']) {
            let told = format!("{:?} is not the topic of one point; wildcards belong into [[payload]]", self.topic);
            problems.add(at.field("topic"), told);
        }
        let value = single(problems, at.field("value"), self.value.as_deref().unwrap_or("$.value"));
        let bare = value.as_ref() == Some(&Path::root());
        let time = time(problems, at.field("time"), self.time.as_deref(), bare);
        let (value, time) = (value?, time?);
        (problems.len() == before).then(|| Binding { topic: self.topic.into(), value, time, strings: self.strings })
    }
}

fn missing<T>(at: &Key, problems: &mut Problems, what: &str) -> Option<T> {
    problems.add(at.clone(), what);
    None
}

fn parsed<T: std::str::FromStr<Err = E>, E: std::fmt::Display>(
    problems: &mut Problems,
    key: Key,
    text: &str,
) -> Option<T> {
    text.parse().map_err(|error: E| problems.add(key, error.to_string())).ok()
}

/// A path to one place.
fn single(problems: &mut Problems, key: Key, text: &str) -> Option<Path> {
    let path: Path = parsed(problems, key.clone(), text)?;
    if path.names_many() {
        problems.add(key, format!("{text:?} names many places; [*] belongs into samples"));
        return None;
    }
    Some(path)
}

/// A path to many places.
fn many(problems: &mut Problems, key: Key, text: &str) -> Option<Path> {
    let path: Path = parsed(problems, key.clone(), text)?;
    if !path.names_many() {
        problems.add(key, format!("{text:?} names one place; write [*] behind the array, such as $.samples[*]"));
        return None;
    }
    Some(path)
}

/// `$.time` unless said otherwise; a bare number has no room for a time.
#[expect(clippy::option_option, reason = "outer: is it sound, inner: is there one")]
fn time(problems: &mut Problems, key: Key, text: Option<&str>, bare: bool) -> Option<Option<Path>> {
    match text {
        Some(text) => single(problems, key, text).map(Some),
        None if bare => Some(None),
        None => Some(Some(Path::member("time"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(toml: &str) -> Vec<String> {
        #[derive(Deserialize)]
        struct File {
            payload: Vec<toml::Value>,
        }
        let file: File = toml::from_str(toml).unwrap();
        let mut problems = Problems::in_file("davy.toml");
        for (i, table) in file.payload.into_iter().enumerate() {
            let at = Key::of("payload").index(i);
            if let Some(raw) = problems.read::<RawPattern>(&at, table) {
                let sound = raw.check(&at, &mut problems).is_some();
                assert_eq!(sound, problems.is_empty());
            }
        }
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_wrong_pattern_is_told_with_its_place() {
        assert_eq!(
            told("[[payload]]\ntopic = \"{site}/{point}\"\nvalue = \"$.v\"\ntime = \"$.t\""),
            Vec::<String>::new()
        );
        assert_eq!(told("[[payload]]\ntopic = \"{site}\"\nvalues = \"$\"\nsamples = \"$.s[*]\""), Vec::<String>::new());
        let wrong = told(
            r#"
            [[payload]]
            topic = "{site}/{sensor}"
            value = "$.va lue"
            samples = "$.samples"
            [[payload]]
            topic = "{site}/+"
            [[payload]]
            topic = "{site}/{point}"
            point = "$.id"
            values = "$.values"
            valeu = "$.v"
            [[payload]]
            topic = "{site}/{point}"
            values = "$.values"
            value = "$.v[*]"
            "#,
        )
        .join("\n");
        for line in [
            "davy.toml: payload[0].topic: \"{site}/{sensor}\" is not a topic pattern: level 2, {sensor} is unknown",
            "davy.toml: payload[0].value: \"$.va lue\" is not a path: at character 5, an odd name",
            "davy.toml: payload[0].samples: \"$.samples\" names one place; write [*]",
            "davy.toml: payload[1].topic: nothing says which point it is",
            "davy.toml: payload[2].valeu: unknown key; did you mean \"value\"?",
            "davy.toml: payload[3].value: \"$.v[*]\" names many places",
            "davy.toml: payload[3].values: values names points and numbers in one",
        ] {
            assert!(wrong.contains(line), "{line}\nis not in\n{wrong}");
        }
    }

    #[test]
    fn the_default_patterns_all_hold() {
        assert_eq!(default_patterns().len(), 6);
        let mut problems = Problems::default();
        assert_eq!(check_patterns(Vec::new(), &Key::of("payload"), &mut problems), Some(default_patterns()));
    }

    #[test]
    fn a_binding_names_one_topic() {
        let check = |topic: &str, value: Option<&str>| {
            let raw = RawBinding { topic: topic.into(), value: value.map(Into::into), time: None, strings: false };
            let mut problems = Problems::default();
            let sound = raw.check(&Key::of("point.t1"), &mut problems).is_some();
            (sound, problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        };
        assert_eq!(check("plc7/ai", Some("$.ai[3]")), (true, String::new()));
        assert!(check("plc7/+", None).1.contains("point.t1.topic: \"plc7/+\" is not the topic of one point"));
        assert!(check("plc7/ai", Some("ai")).1.contains("point.t1.value: \"ai\" is not a path: at character 1"));
    }
}
