//! Definition files of MT/T 1201-2023 (`CDDY`): measuring points as a mine reports them to the bureau.
//!
//! ```text
//! header~                                                         the first record
//! point;system;substation;type;value kind;unit;high;low;...;time~  24 fields a record
//! ||                                                              the end; a file without it is cut off
//! ```
//! In comes the text; out come rows for the point table and the alarm and power-cut values, or problems with
//! line, record and field. A point's code is 12 digits of the mine, 2 of the system, 2 letters of the value
//! kind, 4 digits of the sensor type and the vendor's own; the mine is the site unless another name is given.

use super::types::{Types, Unknown};
use super::{Line, Sheet, Values};
use crate::config::{Key, Problems};

/// What the fields of a record are called, in order.
const FIELDS: [&str; 24] = [
    "point",
    "system",
    "substation",
    "sensor type",
    "value kind",
    "unit",
    "range high",
    "range low",
    "high alarm",
    "high alarm release",
    "low alarm",
    "low alarm release",
    "high power-cut",
    "high restore",
    "low power-cut",
    "low restore",
    "on-text",
    "off-text",
    "location",
    "x",
    "y",
    "z",
    "related sensors",
    "time",
];

/// Does the text look like such a file, rather than like CSV?
#[must_use]
pub fn looks_like(text: &str) -> bool {
    text.trim_end().ends_with("||") || text.contains('~')
}

/// Reads a file. `site` replaces the mine's number in ids. Problems of one record leave the others standing;
/// `None` when the file as a whole cannot be trusted.
pub fn read(text: &str, site: Option<&str>, types: &Types, problems: &mut Problems) -> Option<Sheet> {
    let Some(body) = text.trim_end().strip_suffix("||") else {
        let line = text.lines().count().max(1);
        problems.add(Key::of(format!("line {line}")), "the file does not end with ||: it is cut off");
        return None;
    };
    let mut sheet = Sheet::default();
    let mut line = 1;
    for (number, record) in body.split('~').enumerate() {
        let start = record.len() - record.trim_start().len();
        let at = line + lines(&record[..start]);
        line += lines(record);
        let record = record.trim();
        let fields: Vec<&str> = record.split(';').map(str::trim).collect();
        let key = Key::of(format!("line {at}, record {}", number + 1));
        if number == 0 {
            if fields.len() == FIELDS.len() {
                problems.add(key, "the first record has the 24 fields of a point; it must be the header");
                return None;
            }
            continue;
        }
        if record.is_empty() {
            continue;
        }
        let Ok(fields) = <[&str; 24]>::try_from(fields.as_slice()) else {
            let message = format!("has {} fields, a point has {}", fields.len(), FIELDS.len());
            problems.add(key, message);
            continue;
        };
        sheet.lines.extend(Record { fields, key }.read(site, types, problems));
    }
    Some(sheet)
}

fn lines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

struct Record<'a> {
    fields: [&'a str; 24],
    key: Key,
}

impl Record<'_> {
    fn at(&self, field: usize) -> Key {
        Key::of(format!("{}, field {} ({})", self.key, field + 1, FIELDS[field]))
    }

    /// A number that may be left out.
    fn number(&self, field: usize, problems: &mut Problems) -> Option<f64> {
        let text = self.fields[field];
        if text.is_empty() {
            return None;
        }
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
        if number.is_none() {
            problems.add(self.at(field), format!("{text:?} is not a number"));
        }
        number
    }

    fn read(&self, site: Option<&str>, types: &Types, problems: &mut Problems) -> Option<Line> {
        let before = problems.len();
        let fields = self.fields;
        let code = fields[0];
        if !is_code(code) {
            let message = format!(
                "{code:?} is not a point code: 12 digits of the mine, 2 of the system, 2 letters, 4 digits of the \
                 sensor type, then the vendor's own"
            );
            problems.add(self.at(0), message);
            return None;
        }
        let (mine, local) = code.split_at(12);
        let safe = |c: char| if c.is_alphanumeric() || c == '-' || c == '_' { c } else { '-' };
        let id = format!("{}.{}", site.unwrap_or(mine), local.chars().map(safe).collect::<String>());
        let mut cells = vec![("id", id)];
        cells.push(("name", if fields[18].is_empty() { code.to_owned() } else { fields[18].to_owned() }));
        let is_switch = matches!(fields[4], "KG" | "开关量") || (fields[4].is_empty() && &local[2..4] == "KG");
        let word = if fields[3].is_empty() { &local[4..8] } else { fields[3] };
        match types.find(word, fields[5]) {
            Ok((kind, unit)) => {
                cells.push(("kind", kind.word().to_owned()));
                cells.push(("unit", unit));
            }
            // What is on or off is a switch, whatever it is called.
            Err(Unknown::Type) if is_switch => cells.push(("kind", "switch".to_owned())),
            Err(Unknown::Type) => {
                let message = format!("sensor type {word:?} is not in the type table; add it with --types FILE");
                problems.add(self.at(3), message);
            }
            Err(Unknown::Unit(told)) => problems.add(self.at(5), format!("{told}; add it with --types FILE")),
        }
        let (high, low) = (self.number(6, problems), self.number(7, problems));
        if let (Some(low), Some(high), false) = (low, high, is_switch) {
            if low < high {
                cells.push(("range.low", low.to_string()));
                cells.push(("range.high", high.to_string()));
            } else {
                problems.add(self.at(6), format!("{high} is not above the low end of the range, {low}"));
            }
        }
        let values = Values {
            high_alarm: self.number(8, problems),
            low_alarm: self.number(10, problems),
            high_cut: self.number(12, problems),
            low_cut: self.number(14, problems),
        };
        // Their releases are the rules' own: checked to be numbers, and no more.
        for field in [9, 11, 13, 15] {
            self.number(field, problems);
        }
        let [x, y] = [19, 20].map(|field| self.number(field, problems));
        match (x, y) {
            (Some(x), Some(y)) if is_on_earth(x, y) => {
                cells.push(("longitude", x.to_string()));
                cells.push(("latitude", y.to_string()));
            }
            (Some(_), _) | (_, Some(_)) => cells.push(("notes.position", fields[19..22].join(" "))),
            (None, None) => {}
        }
        cells.push(("notes.code", code.to_owned()));
        for (column, field) in
            [("notes.system", 1), ("notes.substation", 2), ("notes.on", 16), ("notes.off", 17), ("notes.related", 22)]
        {
            cells.push((column, fields[field].to_owned()));
        }
        if problems.len() > before {
            return None;
        }
        let cells = cells.into_iter().map(|(column, cell)| (column.to_owned(), cell)).collect();
        Some(Line { at: self.key.clone(), cells, values, place: place(fields[18]).map(str::to_owned) })
    }
}

fn is_code(code: &str) -> bool {
    let bytes = code.as_bytes();
    let digits = |from: usize, to: usize| bytes[from..to].iter().all(u8::is_ascii_digit);
    code.is_ascii()
        && bytes.len() >= 20
        && digits(0, 14)
        && bytes[14..16].iter().all(u8::is_ascii_uppercase)
        && digits(16, 20)
}

/// Degrees in or around China; a mine's own metres are not.
fn is_on_earth(x: f64, y: f64) -> bool {
    (70.0..=140.0).contains(&x) && (0.0..=56.0).contains(&y)
}

/// The place that a location names beyond doubt: T0 to T4 by its sign, or the upper corner of a face.
fn place(location: &str) -> Option<&'static str> {
    let bytes = location.as_bytes();
    let signs = ["T0", "T1", "T2", "T3", "T4"];
    let stands_alone = |at: usize| {
        let before = at.checked_sub(1).and_then(|at| bytes.get(at));
        let after = bytes.get(at + 2);
        [before, after].into_iter().flatten().all(|byte| !byte.is_ascii_alphanumeric())
    };
    let found: Vec<&str> =
        signs.into_iter().filter(|sign| location.match_indices(sign).any(|(at, _)| stands_alone(at))).collect();
    match found[..] {
        [sign] => Some(sign),
        [] if ["上隅角", "回风隅角"].iter().any(|corner| location.contains(corner)) => Some("T0"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(fields: &[(usize, &str)]) -> String {
        let mut record: [&str; 24] = [""; 24];
        record[0] = "14052400000101MN000101A0101";
        record[5] = "%";
        record[6] = "4";
        record[7] = "0";
        for (field, text) in fields {
            record[*field] = text;
        }
        record.join(";")
    }

    fn told(text: &str) -> (Option<Sheet>, Vec<String>) {
        let mut problems = Problems::in_file("mine_CDDY.txt");
        let sheet = read(text, None, &Types::shipped(), &mut problems);
        (sheet, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_methane_sensor_becomes_a_point_with_all_that_the_file_says() {
        let text = format!(
            "CDDY;140524000001;2026-11-23 08:00:00~\n{}~\n||\n",
            record(&[
                (1, "01"),
                (2, "14052400000100003"),
                (3, "0001"),
                (4, "MN"),
                (8, "0.8"),
                (12, "1.5"),
                (18, "3201工作面上隅角T0"),
                (19, "112.93"),
                (20, "35.62"),
                (21, "540"),
                (22, "14052400000101KG1009A0102"),
            ])
        );
        let (sheet, problems) = told(&text);
        assert_eq!(problems, Vec::<String>::new());
        let line = &sheet.unwrap().lines[0];
        assert_eq!(line.at.to_string(), "line 2, record 2");
        let cell = |name: &str| line.cells.iter().find(|(column, _)| column == name).map(|(_, cell)| cell.as_str());
        for (column, expected) in [
            ("id", "140524000001.01MN000101A0101"),
            ("name", "3201工作面上隅角T0"),
            ("kind", "methane"),
            ("unit", "%VOL"),
            ("range.low", "0"),
            ("range.high", "4"),
            ("longitude", "112.93"),
            ("latitude", "35.62"),
            ("notes.code", "14052400000101MN000101A0101"),
            ("notes.related", "14052400000101KG1009A0102"),
        ] {
            assert_eq!(cell(column), Some(expected), "{column}");
        }
        assert_eq!((line.values.high_alarm, line.values.high_cut, line.values.low_alarm), (Some(0.8), Some(1.5), None));
        assert_eq!(line.place.as_deref(), Some("T0"));
    }

    #[test]
    fn every_bad_field_is_told_with_line_record_and_field() {
        let text = format!(
            "head~\n{}~{}~\n{}~a;b~\n{}~{}~||",
            record(&[(3, "0099"), (8, "1,0")]),
            record(&[(0, "T1")]),
            record(&[(3, "0004"), (5, "%")]),
            record(&[(6, "0"), (7, "4")]),
            record(&[(18, "sound")]),
        );
        let (sheet, problems) = told(&text);
        assert_eq!(sheet.unwrap().lines.len(), 1);
        for (problem, expected) in problems.iter().zip([
            "mine_CDDY.txt: line 2, record 2, field 4 (sensor type): sensor type \"0099\" is not in the type table",
            "mine_CDDY.txt: line 2, record 2, field 9 (high alarm): \"1,0\" is not a number",
            "mine_CDDY.txt: line 2, record 3, field 1 (point): \"T1\" is not a point code",
            "mine_CDDY.txt: line 3, record 4, field 6 (unit): \"%\" is not a unit of co",
            "mine_CDDY.txt: line 3, record 5: has 2 fields, a point has 24",
            "mine_CDDY.txt: line 4, record 6, field 7 (range high): 0 is not above the low end of the range, 4",
        ]) {
            assert!(problem.starts_with(expected), "{problem}\n{expected}");
        }
        assert_eq!(problems.len(), 6, "{problems:#?}");
    }

    #[test]
    fn a_file_that_is_cut_off_or_without_its_header_is_not_trusted() {
        for (text, expected) in [
            (format!("head~\n{}~", record(&[])), "line 2: the file does not end with ||"),
            (format!("{}~||", record(&[])), "line 1, record 1: the first record has the 24 fields of a point"),
        ] {
            let (sheet, problems) = told(&text);
            assert!(sheet.is_none() && problems[0].contains(expected), "{problems:?}");
        }
    }

    #[test]
    fn switches_have_no_range_and_an_unknown_one_is_still_a_switch() {
        let switch = "14052400000101KG1099X7";
        let text = format!("h~{}~||", record(&[(0, switch), (4, "KG"), (5, ""), (16, "开"), (17, "停")]));
        let (sheet, problems) = told(&text);
        assert_eq!(problems, Vec::<String>::new());
        let cells = &sheet.unwrap().lines[0].cells;
        assert!(cells.contains(&("kind".into(), "switch".into())) && cells.contains(&("notes.on".into(), "开".into())));
        assert!(!cells.iter().any(|(column, _)| column.starts_with("range")));
    }

    #[test]
    fn a_place_is_taken_only_where_the_location_leaves_no_doubt() {
        for (location, expected) in [
            ("3201工作面T1", Some("T1")),
            ("3201回风隅角", Some("T0")),
            ("3201工作面上隅角T0", Some("T0")),
            ("T1至T2之间", None),
            ("AT12机房", None),
            ("中央变电所", None),
        ] {
            assert_eq!(place(location), expected, "{location}");
        }
    }

    proptest! {
        /// Whatever a file holds: an answer, and no panic.
        #[test]
        fn any_text_gets_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            told(&text);
            told(&format!("h~{text}~||"));
        }

        #[test]
        fn records_with_anything_in_their_fields_get_an_answer(fields in prop::collection::vec("[;~|0-9A-Z\u{4e00}-\u{4e10}.-]{0,24}", 24)) {
            let (sheet, problems) = told(&format!("h~{}~||", fields.join(";")));
            prop_assert!(sheet.is_none_or(|sheet| !sheet.lines.is_empty() || !problems.is_empty() || fields.join("").contains(['~', ';', '|'])));
        }
    }
}
