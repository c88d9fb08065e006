//! Samples as InfluxDB line protocol.
//!
//! ```text
//!  methane,place=T1,point=face.t1,site=mine-3 value=1.02,quality=0i 1800000000000000
//!  └ kind  └ tags, in the order InfluxDB sorts them    └ reason bits      └ source time, µs
//! ```
//! A sample that is not usable has no `value` field: a bad reading must never look like a number in a
//! chart. A value that is not finite is left out as well. What tags cannot carry is replaced: a backslash
//! by a slash (servers disagree on how to read one before a comma), a line end or another control by a
//! space. The tags of a point are escaped once and kept until the point table changes.

use std::io::Write;
use std::sync::Arc;

use crate::model::{Point, PointIndex, PointTable, Sample};

/// Lines waiting to be sent, end to end, with the place where each ends.
#[derive(Debug, Default)]
pub struct Lines {
    bytes: Vec<u8>,
    ends: Vec<(usize, PointIndex)>,
    points: Arc<PointTable>,
    beginnings: Vec<Option<Box<[u8]>>>,
}

impl Lines {
    /// Names and places in force for the samples that follow.
    pub fn use_points(&mut self, points: Arc<PointTable>) {
        self.beginnings.clear();
        self.points = points;
    }

    /// Appends the sample's line; false when the table does not know its point.
    pub fn add(&mut self, sample: &Sample) -> bool {
        let Some(point) = self.points.get(sample.point) else { return false };
        let at = sample.point.at();
        if self.beginnings.len() <= at {
            self.beginnings.resize(at + 1, None);
        }
        let beginning = self.beginnings[at].get_or_insert_with(|| beginning(point));
        self.bytes.extend_from_slice(beginning);
        fields(&mut self.bytes, sample);
        self.ends.push((self.bytes.len(), sample.point));
        true
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    #[must_use]
    pub fn slice(&self, lines: std::ops::Range<usize>) -> &[u8] {
        let end_of = |line: usize| line.checked_sub(1).map_or(0, |before| self.ends[before].0);
        &self.bytes[end_of(lines.start)..end_of(lines.end)]
    }

    /// The point that a line is about.
    #[must_use]
    pub fn point(&self, line: usize) -> PointIndex {
        self.ends[line].1
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

/// Measurement and tags, up to and with the space before the fields. Kind words need no escaping.
fn beginning(point: &Point) -> Box<[u8]> {
    let mut text = point.kind.word().to_owned();
    for (tag, value) in [("place", point.place.as_str()), ("point", point.local()), ("site", &point.site)] {
        // A tag without a value is a syntax error.
        if !value.is_empty() {
            text.push(',');
            text.push_str(tag);
            text.push('=');
            escape(&mut text, value);
        }
    }
    text.push(' ');
    text.into_bytes().into()
}

fn escape(text: &mut String, value: &str) {
    for letter in value.chars() {
        match letter {
            ',' | '=' | ' ' => text.extend(['\\', letter]),
            '\\' => text.push('/'),
            letter if letter.is_control() => text.push_str("\\ "),
            letter => text.push(letter),
        }
    }
}

fn fields(bytes: &mut Vec<u8>, sample: &Sample) {
    const CANNOT_FAIL: &str = "writing to a vector cannot fail";
    if sample.quality.usable() && sample.value.is_finite() {
        write!(bytes, "value={},", sample.value).expect(CANNOT_FAIL);
    }
    writeln!(bytes, "quality={}i {}", sample.quality.bits(), sample.source_time.micros()).expect(CANNOT_FAIL);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::influxdb::tests::point;
    use crate::model::{Kind, Quality, Reason, Timestamp};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn line_of(point: &Point, value: f64, quality: Quality) -> String {
        let mut lines = Lines::default();
        lines.use_points(Arc::new(PointTable::new(vec![point.clone()])));
        let time = Timestamp::from_secs(1_800_000_000);
        let sample = Sample { point: PointIndex(0), quality, source_time: time, receive_time: time, value };
        assert!(lines.add(&sample));
        String::from_utf8(lines.slice(0..1).to_vec()).unwrap()
    }

    #[test]
    fn a_reading_is_written_as_the_drawing_says() {
        let face = point("mine-3", "face.t1", "T1");
        assert_eq!(
            line_of(&face, 1.02, Quality::GOOD),
            "methane,place=T1,point=face.t1,site=mine-3 value=1.02,quality=0i 1800000000000000\n"
        );
        let late = Quality::because(Reason::Late);
        assert_eq!(
            line_of(&point("mine-3", "t1", ""), -3.0, late),
            "methane,point=t1,site=mine-3 value=-3,quality=1024i 1800000000000000\n"
        );
    }

    #[test]
    fn a_bad_reading_never_looks_like_a_number() {
        let face = point("mine-3", "t1", "");
        let broken = Quality::because(Reason::LineBreak);
        assert_eq!(line_of(&face, 0.0, broken), "methane,point=t1,site=mine-3 quality=4i 1800000000000000\n");
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(!line_of(&face, value, Quality::GOOD).contains("value="));
        }
    }

    #[test]
    fn a_renamed_place_shows_from_the_next_sample_on_and_an_unknown_point_is_told() {
        let mut lines = Lines::default();
        let sample = Sample::missing(PointIndex(0), Reason::NotPolled, Timestamp::from_secs(1_800_000_000));
        assert!(!lines.add(&sample));
        for place in ["T1", "T2"] {
            lines.use_points(Arc::new(PointTable::new(vec![point("m", "p", place)])));
            assert!(lines.add(&sample));
        }
        assert_eq!(lines.count(), 2);
        assert!(lines.slice(0..1).starts_with(b"methane,place=T1,"));
        assert!(lines.slice(1..2).starts_with(b"methane,place=T2,"));
        assert_eq!(lines.slice(0..2).len(), lines.slice(0..1).len() + lines.slice(1..2).len());
        assert_eq!(lines.slice(1..1), b"");
    }

    #[test]
    fn words_of_kinds_need_no_escaping() {
        for kind in Kind::ALL {
            assert!(kind.word().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{kind}");
        }
    }

    /// What a server makes of a line: tags, fields and time.
    struct Parsed {
        tags: BTreeMap<String, String>,
        fields: BTreeMap<String, String>,
        time: i64,
    }

    /// Splits at separators that no backslash stands before, as InfluxDB's own scanner does.
    fn split(text: &str, separator: char) -> Vec<String> {
        let mut parts = vec![String::new()];
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            let part = parts.last_mut().unwrap();
            if letter == separator {
                parts.push(String::new());
            } else {
                part.push(letter);
                if letter == '\\' {
                    part.extend(letters.next());
                }
            }
        }
        parts
    }

    fn parse(line: &str) -> Parsed {
        let line = line.strip_suffix('\n').expect("a line ends with a line end");
        assert!(!line.contains(['\n', '\r']), "more than one line: {line:?}");
        let parts = split(line, ' ');
        let [head, fields, time] = parts.as_slice() else { panic!("not three parts: {line:?}") };
        let pairs = |list: &[String]| -> BTreeMap<String, String> {
            let pairs = list.iter().map(|pair| match split(pair, '=').as_slice() {
                [name, value] => (
                    name.clone(),
                    ["\\,", "\\=", "\\ "]
                        .iter()
                        .fold(value.clone(), |text, escaped| text.replace(escaped, &escaped[1..])),
                ),
                other => panic!("not a pair: {other:?} in {line:?}"),
            });
            pairs.collect()
        };
        let head = split(head, ',');
        assert_eq!(head[0], "methane");
        Parsed { tags: pairs(&head[1..]), fields: pairs(&split(fields, ',')), time: time.parse().unwrap() }
    }

    proptest! {
        #[test]
        fn a_server_reads_back_what_was_meant(
            place in "[ ,=\"'\\\\#a-c回风巷\n\r\t]{0,12}",
            local in "[ ,=\"\\\\x一\n]{1,8}",
            site in "[ ,=\"\\\\x二\n]{1,8}",
            value in any::<f64>(),
            bits in any::<u16>(),
        ) {
            let quality = Quality::from_bits(bits);
            let line = line_of(&point(&site, &local, &place), value, quality);
            prop_assert!(!line.contains("NaN") && !line.contains("inf"));
            let parsed = parse(&line);
            let carried = |text: &str| text.replace('\\', "/").replace(char::is_control, " ");
            let mut tags = BTreeMap::from([("point".to_owned(), carried(&local)), ("site".to_owned(), carried(&site))]);
            if !place.is_empty() {
                tags.insert("place".to_owned(), carried(&place));
            }
            prop_assert_eq!(parsed.tags, tags);
            prop_assert_eq!(&parsed.fields["quality"], &format!("{}i", quality.bits()));
            match parsed.fields.get("value") {
                Some(text) => {
                    prop_assert!(quality.usable());
                    prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits());
                }
                None => prop_assert!(!quality.usable() || !value.is_finite()),
            }
            prop_assert_eq!(parsed.time, 1_800_000_000_000_000);
        }
    }
}
