//! Points as written, in TOML tables or CSV lines, into proven points with their bindings.
//!
//! ```toml
//! [point."yuxi-mine.3201-t1"]
//! name = "3201 采煤工作面 T1"
//! kind = "methane"
//! place = "T1"
//! range = [0.0, 4.0]
//! period = "5s"
//! limits.alarm = 0.8                                # only stricter than the rule's
//! relations = { redundant = ["3201-t1-b"], feed = "feed-3201" }   # points of the site that rules look at from here
//! limits.methane-trend.alarm = 0.7                  # the same for one rule, where several have that name
//! mqtt = { topic = "yuxi/3201/t1", value = "$.v" }    # or nothing: `[[payload]]` patterns find it by its id
//! modbus = { device = "substation-1", register = 40003, type = "float32" }
//! sparkplug = { group = "yuxi", node = "gateway-3", device = "substation-1", metric = "CH4/T1" }
//! # fire = {..}, sl651 = {..} or hj212 = {..}: see `source::frames`
//! ```
//! A device of a known make needs no more than `device = "midas-3"`, `template = "midas"` and, where it has
//! several, `channel = 2`: see `config::templates`. What the point says itself wins.
//!
//! A CSV file has the same keys as column names, with a dot for what is inside (`range.low`, `limits.alarm`,
//! `modbus.register`); several related points stand in one cell with blanks between them. An empty cell is a key that is not there. `notes` are kept for people and for exports
//! (`notes.code = "140524..."`, `notes.related`): nothing in the gateway goes by them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::templates::Templates;
use super::{Key, Problems};
use crate::decode;
use crate::model::{Coordinates, Kind, Point, REDUNDANT, Range, duration_text};
use crate::source::{frames, modbus, sparkplug};

/// How a point is read from the field.
#[derive(Clone, Debug, Default)]
pub enum Binding {
    /// By its id, through the payload patterns.
    #[default]
    Pattern,
    Mqtt(decode::Binding),
    Modbus(modbus::Binding),
    Sparkplug(sparkplug::Binding),
    Frame(frames::Binding),
}

#[derive(Clone, Debug)]
pub struct ConfiguredPoint {
    pub point: Point,
    pub binding: Binding,
}

/// A point as it is written, for whoever writes it anew.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    pub id: String,
    /// The CSV file that it stands in; `None` in the configuration itself.
    pub file: Option<PathBuf>,
    /// Its keys and values; lists and tables inside as in TOML.
    pub keys: toml::Table,
}

/// What was read of the points: those that are sound, and all as they are written.
#[derive(Debug, Default)]
pub struct Points {
    pub sound: Vec<ConfiguredPoint>,
    pub written: Vec<Written>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPoint {
    #[serde(default)]
    name: String,
    kind: String,
    #[serde(default)]
    place: String,
    unit: Option<String>,
    range: Option<RawRange>,
    resolution: Option<f64>,
    period: Option<String>,
    #[serde(default)]
    limits: BTreeMap<String, toml::Value>,
    coordinates: Option<RawRange>,
    #[serde(default)]
    static_risk: u8,
    calibrate_every: Option<String>,
    #[serde(default)]
    relations: BTreeMap<String, RawNames>,
    mqtt: Option<decode::RawBinding>,
    modbus: Option<modbus::RawBinding>,
    fire: Option<frames::RawFire>,
    sl651: Option<frames::RawSl651>,
    hj212: Option<frames::RawHj212>,
    sparkplug: Option<sparkplug::RawBinding>,
    /// Checked to be text, and left in the file.
    #[serde(default)]
    #[expect(dead_code, reason = "only its form is checked here; `Written` keeps it")]
    notes: BTreeMap<String, String>,
}

/// `[low, high]` in TOML, two columns in CSV; coordinates are `[longitude, latitude]`.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct RawRange([f64; 2]);

/// One local name, several in a list, or several in a text with blanks between them.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum RawNames {
    Text(String),
    List(Vec<String>),
}

impl RawNames {
    fn names(self) -> Vec<String> {
        match self {
            Self::Text(text) => text.split_whitespace().map(str::to_owned).collect(),
            Self::List(list) => list,
        }
    }
}

/// How often a sample is expected of a point that does not say.
const USUAL_PERIOD: Duration = Duration::from_secs(5);

/// Columns that hold text even when it looks like a number.
const TEXT_COLUMNS: &[&str] = &[
    "id",
    "name",
    "kind",
    "place",
    "unit",
    "period",
    "calibrate_every",
    "device",
    "template",
    "mqtt.topic",
    "mqtt.value",
    "mqtt.time",
    "modbus.device",
    "modbus.order",
    "sparkplug.group",
    "sparkplug.node",
    "sparkplug.device",
    "sparkplug.metric",
    "fire.device",
    "fire.bit",
    "fire.analog",
    "sl651.station",
    "sl651.element",
    "hj212.mn",
    "hj212.factor",
    "hj212.field",
    "modbus.template",
    "modbus.bits",
    "modbus.type",
];

/// How the columns of related points begin.
const RELATIONS: &str = "relations.";

/// What a point may refer to.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Names of all Modbus devices, sound or not.
    pub names: &'a [String],
    /// The sound ones.
    pub devices: &'a [modbus::Device],
    pub templates: &'a Templates,
}

/// `[point."site.name"]` tables.
pub fn read_tables(tables: toml::Table, known: Known<'_>, points: &mut Points, problems: &mut Problems) {
    for (id, value) in tables {
        let at = Key::of(format!("point.{id:?}"));
        if let toml::Value::Table(keys) = &value {
            points.written.push(Written { id: id.clone(), file: None, keys: keys.clone() });
        }
        points.sound.extend(read_point(&id, &at, value, known, problems));
    }
}

/// A CSV file of points; problems name line and column.
pub fn read_csv(path: &Path, known: Known<'_>, points: &mut Points, problems: &mut Problems) {
    problems.enter(path.display().to_string());
    let Some(text) = read_text(path, problems) else { return };
    let Some(table) = Table::read(&text, problems) else { return };
    for row in table.rows {
        let at = Key::of(format!("line {}", row.line));
        let (id, keys) = read_cells(table.columns.iter().zip(&row.cells), &at, problems);
        points.written.push(Written { id: id.clone(), file: Some(path.to_owned()), keys: keys.clone() });
        points.sound.extend(read_point(&id, &at, toml::Value::Table(keys), known, problems));
    }
}

/// One row of a point table, checked; `None` when it has a problem.
pub fn check_row<'a>(
    cells: impl Iterator<Item = (&'a str, &'a str)>,
    at: &Key,
    known: Known<'_>,
    problems: &mut Problems,
) -> Option<ConfiguredPoint> {
    let before = problems.len();
    let (id, keys) = read_cells(cells, at, problems);
    read_point(&id, at, toml::Value::Table(keys), known, problems).filter(|_| problems.len() == before)
}

/// `limits.alarm = 0.8`, or for one rule only `limits.methane-face.alarm = 0.8`.
fn read_limit(name: &str, value: &toml::Value, at: &Key, limits: &mut BTreeMap<String, f64>, problems: &mut Problems) {
    let of_one_rule = name.contains('.');
    match value {
        toml::Value::Float(number) => drop(limits.insert(name.to_owned(), *number)),
        toml::Value::Integer(number) => drop(limits.insert(name.to_owned(), *number as f64)),
        toml::Value::Table(table) if !of_one_rule => {
            for (limit, value) in table {
                read_limit(&format!("{name}.{limit}"), value, at, limits, problems);
            }
        }
        other @ (toml::Value::String(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_)
        | toml::Value::Array(_)
        | toml::Value::Table(_)) => problems.add(at.field(name), format!("{other} is not a number")),
    }
}

/// Id and keys of a row.
fn read_cells<'a>(
    cells: impl Iterator<Item = (&'a str, &'a str)>,
    at: &Key,
    problems: &mut Problems,
) -> (String, toml::Table) {
    let mut keys = toml::Table::new();
    let mut id = String::new();
    for (column, cell) in cells {
        match (column, cell) {
            (_, "") => {}
            ("id", cell) => cell.clone_into(&mut id),
            (column, cell) => match cell_value(column, cell) {
                Ok(value) => put(&mut keys, column, value),
                Err(wrong) => problems.add(at.field(column), wrong),
            },
        }
    }
    (id, keys)
}

/// Do two cells of a column say the same? `4` and `4.0` do.
#[must_use]
pub fn same_cell(column: &str, one: &str, other: &str) -> bool {
    let number = |cell: &str| cell.parse::<f64>().ok().filter(|_| !is_text(column));
    one == other || number(one).is_some_and(|one| number(other) == Some(one))
}

fn is_text(column: &str) -> bool {
    TEXT_COLUMNS.contains(&column) || column.starts_with("notes.") || column.starts_with(RELATIONS)
}

impl Written {
    /// Columns and cells of the point, from which the same point is read again.
    #[must_use]
    pub fn cells(&self) -> Vec<(String, String)> {
        let mut cells = vec![("id".to_owned(), self.id.clone())];
        for (key, value) in &self.keys {
            let pair = match key.as_str() {
                "range" => Some(["range.low", "range.high"]),
                "coordinates" => Some(["longitude", "latitude"]),
                _ => None,
            };
            match (pair, value) {
                (Some(names), toml::Value::Array(list)) if list.len() == 2 => {
                    let both = names.into_iter().zip(list);
                    cells.extend(both.filter_map(|(name, value)| Some((name.to_owned(), cell_text(name, value)?))));
                }
                _ => flatten(key, value, &mut cells),
            }
        }
        cells
    }
}

fn flatten(column: &str, value: &toml::Value, cells: &mut Vec<(String, String)>) {
    if let Some(inner) = value.as_table().filter(|inner| !inner.is_empty()) {
        inner.iter().for_each(|(key, value)| flatten(&format!("{column}.{key}"), value, cells));
    } else {
        cells.extend(cell_text(column, value).map(|text| (column.to_owned(), text)));
    }
}

/// Text between quotes on one line: JSON's escapes are TOML's too, but for one.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007F")
}

/// What [`cell_value`] reads as `value` again; `None` for half a range that was never given.
fn cell_text(column: &str, value: &toml::Value) -> Option<String> {
    let text = match value {
        toml::Value::Float(number) if number.is_nan() => return None,
        toml::Value::String(text) => {
            let other = !is_text(column) && cell_value(column, text) != Ok(toml::Value::String(text.clone()));
            let plain = !text.is_empty() && text.trim() == text && !text.starts_with('"') && !other;
            if plain { text.clone() } else { quoted(text) }
        }
        toml::Value::Array(names) if column.starts_with(RELATIONS) => {
            names.iter().filter_map(toml::Value::as_str).collect::<Vec<_>>().join(" ")
        }
        toml::Value::Integer(_)
        | toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_)
        | toml::Value::Array(_)
        | toml::Value::Table(_) => value.to_string(),
    };
    Some(text)
}

/// A text file in UTF-8; a byte order mark is no part of it.
pub fn read_text(path: &Path, problems: &mut Problems) -> Option<String> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            problems.add(Key::root(), format!("cannot be read: {error}"));
            return None;
        }
    };
    match String::from_utf8(bytes) {
        Ok(mut text) => {
            if text.starts_with('\u{feff}') {
                text.remove(0);
            }
            Some(text)
        }
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let line = error.as_bytes().iter().take(valid).filter(|byte| **byte == b'\n').count() + 1;
            let message = "is not UTF-8; if it is GB18030 or GBK, turn it into UTF-8 first: \
                           iconv -f GB18030 -t UTF-8 OLD > NEW";
            problems.add(Key::of(format!("line {line}")), message);
            None
        }
    }
}

/// The cells of a CSV file, with the lines that they stand on and what stands between them.
pub struct Table<'a> {
    /// Comments above the names of the columns.
    pub head: &'a str,
    pub columns: csv::StringRecord,
    pub rows: Vec<Row<'a>>,
    /// Comments below the last row.
    pub foot: &'a str,
}

pub struct Row<'a> {
    pub line: u64,
    /// Comments and empty lines above the row.
    pub above: &'a str,
    pub cells: csv::StringRecord,
}

impl<'a> Table<'a> {
    /// Rows with too few or too many cells are problems and are left out; `None` when the file is no table.
    pub fn read(text: &'a str, problems: &mut Problems) -> Option<Self> {
        let mut reader = csv::ReaderBuilder::new()
            .comment(Some(b'#'))
            .trim(csv::Trim::All)
            .flexible(true)
            .has_headers(false)
            .from_reader(text.as_bytes());
        let mut table = Table { head: "", columns: csv::StringRecord::new(), rows: Vec::new(), foot: "" };
        let mut cells = csv::StringRecord::new();
        let mut first = true;
        loop {
            let (from, line) = (byte(reader.position()), reader.position().line());
            let (above, skipped) = comments(text.get(from..).unwrap_or_default());
            let line = line + skipped;
            match reader.read_record(&mut cells) {
                Ok(false) => {
                    table.foot = above;
                    break;
                }
                Ok(true) if first => {
                    first = false;
                    if !cells.iter().any(|column| column == "id") {
                        let message = "there is no column \"id\"; the first line names the columns";
                        problems.add(Key::of(format!("line {line}")), message);
                        return None;
                    }
                    let mut seen = HashSet::new();
                    for column in cells.iter().filter(|column| !seen.insert(*column)) {
                        problems.add(Key::of(format!("line {line}")), format!("column {column:?} is there twice"));
                    }
                    (table.head, table.columns) = (above, cells.clone());
                }
                Ok(true) if cells.len() != table.columns.len() => {
                    let message =
                        format!("has {} cells, but the first line names {}", cells.len(), table.columns.len());
                    problems.add(Key::of(format!("line {line}")), message);
                }
                Ok(true) => table.rows.push(Row { line, above, cells: cells.clone() }),
                Err(error) => {
                    problems.add(Key::of(format!("line {line}")), format!("is not CSV: {error}"));
                    return None;
                }
            }
        }
        if first {
            problems.add(Key::of("line 1"), "there is no column \"id\"; the first line names the columns");
            return None;
        }
        Some(table)
    }
}

fn byte(position: &csv::Position) -> usize {
    usize::try_from(position.byte()).unwrap_or(usize::MAX)
}

/// Comments and empty lines at the beginning of `text`, and how many lines they are.
fn comments(text: &str) -> (&str, u64) {
    let (mut length, mut lines) = (0, 0);
    for line in text.split_inclusive('\n') {
        if !(line.starts_with('#') || line.trim_end_matches(['\r', '\n']).is_empty()) {
            break;
        }
        length += line.len();
        lines += 1;
    }
    (&text[..length], lines)
}

/// A cell as a TOML value: text in text columns, elsewhere a number, `true`, `[..]`, `{..}` or text. Text
/// that would be read as something else, or is empty, stands between quotes as in TOML.
fn cell_value(column: &str, cell: &str) -> Result<toml::Value, String> {
    let text = is_text(column);
    let as_toml = || toml::from_str::<toml::Table>(&format!("cell = {cell}")).ok()?.remove("cell");
    if cell.starts_with('"')
        && let Some(value @ toml::Value::String(_)) = as_toml()
    {
        return Ok(value);
    }
    if text {
        return Ok(toml::Value::String(cell.to_owned()));
    }
    if cell.starts_with(['{', '[']) {
        return as_toml().ok_or_else(|| format!("{cell:?} is not a TOML table or list"));
    }
    if let Ok(integer) = cell.parse::<i64>() {
        return Ok(toml::Value::Integer(integer));
    }
    if let Ok(float) = cell.parse::<f64>() {
        return Ok(toml::Value::Float(float));
    }
    if let Ok(told) = cell.parse::<bool>() {
        return Ok(toml::Value::Boolean(told));
    }
    Ok(toml::Value::String(cell.to_owned()))
}

/// `range.low` and `range.high` become the list that TOML has; other dots are nested tables.
fn put(table: &mut toml::Table, column: &str, value: toml::Value) {
    let number = |value: &toml::Value| match value {
        toml::Value::Integer(integer) => Some(*integer as f64),
        toml::Value::Float(float) => Some(*float),
        toml::Value::String(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_)
        | toml::Value::Array(_)
        | toml::Value::Table(_) => None,
    };
    let pair = match column {
        "range.low" => Some(("range", 0)),
        "range.high" => Some(("range", 1)),
        "longitude" => Some(("coordinates", 0)),
        "latitude" => Some(("coordinates", 1)),
        _ => None,
    };
    if let (Some((key, place)), Some(number)) = (pair, number(&value)) {
        let list = table.entry(key).or_insert_with(|| toml::Value::Array(vec![toml::Value::Float(f64::NAN); 2]));
        if let Some(cell) = list.get_mut(place) {
            *cell = toml::Value::Float(number);
        }
        return;
    }
    match column.split_once('.') {
        Some((outer, inner)) => {
            let nested = table.entry(outer).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            if let Some(nested) = nested.as_table_mut() {
                put(nested, inner, value);
            }
        }
        None => {
            table.insert(column.to_owned(), value);
        }
    }
}

fn read_point(
    id: &str,
    at: &Key,
    value: toml::Value,
    known: Known<'_>,
    problems: &mut Problems,
) -> Option<ConfiguredPoint> {
    let before = problems.len();
    let site = check_id(id, at, problems);
    let value =
        if let toml::Value::Table(table) = value { known.templates.fill(at, table, problems)?.into() } else { value };
    let raw: RawPoint = problems.read(at, value)?;
    let kinds = Kind::ALL.iter().map(|kind| (kind.word(), *kind));
    let kind = problems.known(at.field("kind"), &raw.kind, "kind", kinds);
    let range = raw.range.map(|RawRange([low, high])| Range { low, high });
    if let Some(range) =
        range.filter(|range| !(range.low < range.high && range.low.is_finite() && range.high.is_finite()))
    {
        problems.add(
            at.field("range"),
            format!("[{}, {}] is not a range: give the lowest and the highest value", range.low, range.high),
        );
    }
    let coordinates = raw.coordinates.map(|RawRange([longitude, latitude])| Coordinates { longitude, latitude });
    let on_earth = |place: &Coordinates| place.longitude.abs() <= 180.0 && place.latitude.abs() <= 90.0;
    if coordinates.is_some_and(|place| !on_earth(&place)) {
        problems.add(at.field("coordinates"), "is not [longitude, latitude] in degrees");
    }
    let given = raw.period.as_deref().map(|written| {
        problems.duration(at.field("period"), written, Duration::from_millis(10)..=Duration::from_secs(7 * 86_400))
    });
    let resolution = raw.resolution.or(kind.map(Kind::resolution)).unwrap_or(1.0);
    if !(resolution > 0.0 && resolution.is_finite()) {
        problems.add(at.field("resolution"), format!("{resolution} is not a step above zero"));
    }
    let mut limits = BTreeMap::new();
    for (name, value) in raw.limits {
        read_limit(&name, &value, &at.field("limits"), &mut limits, problems);
    }
    for (name, limit) in limits.iter().filter(|(_, limit)| !limit.is_finite()) {
        problems.add(at.field("limits").field(name), format!("{limit} is not a finite number"));
    }
    let calibrate_every = raw.calibrate_every.and_then(|written| {
        let span = Duration::from_secs(3_600)..=Duration::from_secs(3_660 * 86_400);
        problems.duration(at.field("calibrate_every"), &written, span)
    });
    let mut relations = BTreeMap::new();
    for (word, names) in raw.relations {
        let names = names.names();
        let local = id.split_once('.').map_or(id, |(_, local)| local);
        if names.is_empty() || names.iter().any(|name| name == local) {
            problems.add(at.field("relations").field(&word), "names other points of the site, such as \"t1-b\"");
        }
        relations.insert(word, names);
    }
    let static_risk = problems.within(at.field("static_risk"), raw.static_risk, 0..=4);
    let mut ways: Vec<(&str, Option<Binding>)> = Vec::new();
    if let Some(raw) = raw.mqtt {
        ways.push(("mqtt", raw.check(&at.field("mqtt"), problems).map(Binding::Mqtt)));
    }
    if let Some(raw) = raw.modbus {
        let binding = read_modbus(raw, &at.field("modbus"), known, range, problems);
        ways.push(("modbus", binding.map(Binding::Modbus)));
    }
    if let Some(raw) = raw.sparkplug {
        ways.push(("sparkplug", raw.check(&at.field("sparkplug"), problems).map(Binding::Sparkplug)));
    }
    if let Some(raw) = raw.fire {
        ways.push(("fire", raw.check(&at.field("fire"), problems).map(Binding::Frame)));
    }
    if let Some(raw) = raw.sl651 {
        ways.push(("sl651", raw.check(&at.field("sl651"), problems).map(Binding::Frame)));
    }
    if let Some(raw) = raw.hj212 {
        ways.push(("hj212", raw.check(&at.field("hj212"), problems).map(Binding::Frame)));
    }
    if ways.len() > 1 {
        let named: Vec<&str> = ways.iter().map(|(way, _)| *way).collect();
        problems.add(at.clone(), format!("has both {}; a point is read in one way", named.join(" and ")));
    }
    let gas = kind.is_some_and(|kind| kind.unit() == "ppm");
    if gas && ways.iter().any(|(way, _)| *way == "hj212") && raw.unit.is_none() {
        problems.add(at.field("unit"), "missing: HJ 212 carries no unit and stations do not agree; such as \"mg/m3\"");
    }
    let binding = ways.pop().map_or(Some(Binding::Pattern), |(_, binding)| binding);
    // A polled point is expected as often as its device is asked.
    let polled = match &binding {
        Some(Binding::Modbus(binding)) => known.devices.iter().find(|device| device.name == binding.device),
        Some(Binding::Pattern | Binding::Mqtt(_) | Binding::Sparkplug(_) | Binding::Frame(_)) | None => None,
    };
    let usual = polled.map_or(USUAL_PERIOD, |device| device.period.max(USUAL_PERIOD));
    let period = given.unwrap_or(Some(usual));
    if let (Some(device), Some(period)) = (polled, period)
        && period < device.period
    {
        let (own, devices) = (duration_text(period), duration_text(device.period));
        problems.add(
            at.field("period"),
            format!("{own} is shorter than the {devices} after which {} is asked", device.name),
        );
    }
    if problems.len() > before {
        return None;
    }
    let kind = kind?;
    let point = Point {
        id: id.into(),
        site: site?.into(),
        name: if raw.name.is_empty() { id.to_owned() } else { raw.name },
        kind,
        place: raw.place,
        unit: raw.unit.unwrap_or_else(|| kind.unit().to_owned()),
        range,
        resolution,
        period: period?,
        limits,
        coordinates,
        static_risk: static_risk?,
        calibrate_every,
        relations,
        retired: false,
    };
    Some(ConfiguredPoint { point, binding: binding? })
}

fn read_modbus(
    raw: modbus::RawBinding,
    at: &Key,
    known: Known<'_>,
    range: Option<Range>,
    problems: &mut Problems,
) -> Option<modbus::Binding> {
    let binding = raw.check(at, problems, known.names.iter().map(String::as_str))?;
    for device in known.devices.iter().filter(|device| device.name == binding.device) {
        binding.check_device(at, device, problems);
    }
    if binding.reading.signal.is_some() && range.is_none() {
        problems.add(at.field("span"), "needs the point's range: what the lowest and highest signal stand for");
    }
    Some(binding)
}

/// `site.point`: safe in a URL, a topic and a file name. Returns the site.
fn check_id<'a>(id: &'a str, at: &Key, problems: &mut Problems) -> Option<&'a str> {
    let safe = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    match id.split_once('.') {
        Some((site, point))
            if !site.is_empty()
                && !point.is_empty()
                && site.chars().all(safe)
                && point.chars().all(safe)
                && id.len() <= 128 =>
        {
            Some(site)
        }
        Some(_) | None => {
            problems.add(
                at.clone(),
                format!("{id:?} is not an id: site.point, with letters, digits, '-' and '_', up to 128 bytes"),
            );
            None
        }
    }
}

/// Two points with one id.
pub fn check_unique(points: &[ConfiguredPoint], problems: &mut Problems) {
    let mut seen = HashSet::new();
    for point in points {
        if !seen.insert(point.point.id.clone()) {
            problems.add(Key::of(format!("point.{:?}", point.point.id)), "is there twice; an id names one point");
        }
    }
}

/// Related points that the site does not have, and redundant ones that measure something else: their votes
/// would compare what cannot be compared.
pub fn check_relations(points: &Points, problems: &mut Problems) {
    let written: HashSet<&str> = points.written.iter().map(|point| &*point.id).collect();
    let sound: HashMap<&str, &Point> = points.sound.iter().map(|point| (&*point.point.id, &point.point)).collect();
    for point in points.sound.iter().map(|configured| &configured.point) {
        for (word, name) in point.relations.iter().flat_map(|(word, names)| names.iter().map(move |name| (word, name)))
        {
            let other = format!("{}.{name}", point.site);
            let message = match sound.get(&*other) {
                None if written.contains(&*other) => continue,
                None => format!("{} names {name:?}, but the site {} has no such point", point.id, point.site),
                Some(other) if word == REDUNDANT && (other.kind, &other.unit) != (point.kind, &point.unit) => format!(
                    "{} measures {} in {:?}, but {other} {} in {:?}: they are not redundant",
                    point.id,
                    point.kind,
                    point.unit,
                    other.kind,
                    other.unit,
                    other = other.id
                ),
                Some(_) => continue,
            };
            problems.add(Key::of(format!("point.{:?}", point.id)).field("relations").field(word), message);
        }
    }
}

/// A point whose device has no door to come in by. `kinds` are the kinds of source that there are.
pub fn check_doors(points: &[ConfiguredPoint], kinds: &[String], problems: &mut Problems) {
    for configured in points {
        let Binding::Frame(binding) = &configured.binding else { continue };
        let kind = binding.protocol.word();
        if !kinds.iter().any(|known| known == kind) {
            let message = format!("there is no [source.{kind}.NAME] that its device could connect to");
            problems.add(Key::of(format!("point.{:?}", configured.point.id)), message);
        }
    }
}
