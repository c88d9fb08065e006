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
//! mqtt = { topic = "yuxi/3201/t1", value = "$.v" }    # or nothing: `[[payload]]` patterns find it by its id
//! modbus = { device = "substation-1", register = 40003, type = "float32" }
//! ```
//! A device of a known make needs no more than `device = "midas-3"`, `template = "midas"` and, where it has
//! several, `channel = 2`: see `config::templates`. What the point says itself wins.
//!
//! A CSV file has the same keys as column names, with a dot for what is inside (`range.low`, `limits.alarm`,
//! `modbus.register`). An empty cell is a key that is not there.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::templates::Templates;
use super::{Key, Problems};
use crate::decode;
use crate::model::{Coordinates, Kind, Point, Range};
use crate::source::modbus;

/// How a point is read from the field.
#[derive(Clone, Debug, Default)]
pub enum Binding {
    /// By its id, through the payload patterns.
    #[default]
    Pattern,
    Mqtt(decode::Binding),
    Modbus(modbus::Binding),
}

#[derive(Clone, Debug)]
pub struct ConfiguredPoint {
    pub point: Point,
    pub binding: Binding,
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
    #[serde(default = "five_seconds")]
    period: String,
    #[serde(default)]
    limits: BTreeMap<String, f64>,
    coordinates: Option<RawRange>,
    #[serde(default)]
    static_risk: u8,
    mqtt: Option<decode::RawBinding>,
    modbus: Option<modbus::RawBinding>,
}

/// `[low, high]` in TOML, two columns in CSV; coordinates are `[longitude, latitude]`.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct RawRange([f64; 2]);

fn five_seconds() -> String {
    "5s".into()
}

/// Columns that hold text even when it looks like a number.
const TEXT_COLUMNS: [&str; 16] = [
    "id",
    "name",
    "kind",
    "place",
    "unit",
    "period",
    "device",
    "template",
    "mqtt.topic",
    "mqtt.value",
    "mqtt.time",
    "modbus.device",
    "modbus.order",
    "modbus.template",
    "modbus.bits",
    "modbus.type",
];

/// What a point may refer to.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    pub devices: &'a [modbus::Device],
    pub templates: &'a Templates,
}

/// `[point."site.name"]` tables.
pub fn read_tables(tables: toml::Table, known: Known<'_>, problems: &mut Problems) -> Vec<ConfiguredPoint> {
    let mut points = Vec::new();
    for (id, value) in tables {
        let at = Key::of(format!("point.{id:?}"));
        points.extend(read_point(&id, &at, value, known, problems));
    }
    points
}

/// A CSV file of points; problems name the line.
pub fn read_csv(path: &Path, known: Known<'_>, problems: &mut Problems) -> Vec<ConfiguredPoint> {
    problems.enter(path.display().to_string());
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            problems.add(Key::root(), format!("cannot be read: {error}"));
            return Vec::new();
        }
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).trim(csv::Trim::All).from_reader(text.as_bytes());
    let headers = match reader.headers() {
        Ok(headers) if headers.iter().any(|header| header == "id") => headers.clone(),
        Ok(_) => {
            problems.add(Key::of("line 1"), "there is no column \"id\"; the first line names the columns");
            return Vec::new();
        }
        Err(error) => {
            problems.add(Key::of("line 1"), error.to_string());
            return Vec::new();
        }
    };
    let mut points = Vec::new();
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                problems.add(Key::of(format!("line {line}")), error.to_string());
                continue;
            }
        };
        let at = Key::of(format!("line {}", record.position().map_or(0, csv::Position::line)));
        let mut table = toml::Table::new();
        let mut id = "";
        for (column, cell) in headers.iter().zip(&record) {
            match (column, cell) {
                (_, "") => {}
                ("id", cell) => id = cell,
                (column, cell) => match cell_value(column, cell) {
                    Ok(value) => put(&mut table, column, value),
                    Err(wrong) => problems.add(at.field(column), wrong),
                },
            }
        }
        points.extend(read_point(id, &at, toml::Value::Table(table), known, problems));
    }
    points
}

fn cell_value(column: &str, cell: &str) -> Result<toml::Value, String> {
    if TEXT_COLUMNS.contains(&column) {
        return Ok(toml::Value::String(cell.to_owned()));
    }
    if cell.starts_with(['{', '[']) {
        let read: Result<toml::Table, _> = toml::from_str(&format!("cell = {cell}"));
        return match read {
            Ok(mut table) => table.remove("cell").ok_or_else(|| "is empty".to_owned()),
            Err(_) => Err(format!("{cell:?} is not a TOML table or list")),
        };
    }
    if let Ok(integer) = cell.parse::<i64>() {
        return Ok(toml::Value::Integer(integer));
    }
    if let Ok(float) = cell.parse::<f64>() {
        return Ok(toml::Value::Float(float));
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
    let period =
        problems.duration(at.field("period"), &raw.period, Duration::from_millis(10)..=Duration::from_secs(7 * 86_400));
    let resolution = raw.resolution.or(kind.map(Kind::resolution)).unwrap_or(1.0);
    if !(resolution > 0.0 && resolution.is_finite()) {
        problems.add(at.field("resolution"), format!("{resolution} is not a step above zero"));
    }
    for (name, limit) in raw.limits.iter().filter(|(_, limit)| !limit.is_finite()) {
        problems.add(at.field("limits").field(name), format!("{limit} is not a finite number"));
    }
    let static_risk = problems.within(at.field("static_risk"), raw.static_risk, 0..=4);
    let binding = match (raw.mqtt, raw.modbus) {
        (None, None) => Some(Binding::Pattern),
        (Some(raw), None) => raw.check(&at.field("mqtt"), problems).map(Binding::Mqtt),
        (None, Some(raw)) => {
            let names = known.devices.iter().map(|device| device.name.as_str());
            let at = at.field("modbus");
            let binding = raw.check(&at, problems, names);
            if let Some(binding) = &binding {
                known.devices.iter().filter(|device| device.name == binding.device).for_each(|device| {
                    binding.check_device(&at, device, problems);
                });
            }
            if binding.as_ref().is_some_and(|binding| binding.reading.signal.is_some()) && range.is_none() {
                problems.add(at.field("span"), "needs the point's range: what the lowest and highest signal stand for");
            }
            binding.map(Binding::Modbus)
        }
        (Some(_), Some(_)) => {
            problems.add(at.clone(), "has both mqtt and modbus; a point is read in one way");
            None
        }
    };
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
        limits: raw.limits,
        coordinates,
        static_risk: static_risk?,
        retired: false,
    };
    Some(ConfiguredPoint { point, binding: binding? })
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
