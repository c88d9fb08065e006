//! Samples out of a CSV file, so that rules can be tried before anything is connected.
//!
//! ```text
//!  time,point,value,quality            a sample a line; quality may be left out
//!  time,CH4,CO                         or a column a point: named as the point, or told which (CH4=mine.t1)
//! ```
//! The first line names the columns. A time is RFC 3339, a number of seconds, milliseconds or microseconds since
//! 1970, or `2026-11-23 08:00:00` with an offset given. A wrong line is counted, the first ones are named, and the
//! rest goes on. A file of up to half a million samples may be in any order; a longer one is in the order of its
//! times, and a line that is older by more than a minute is wrong.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Error, Feed, HELD_SAMPLES};
use crate::history::Told;
use crate::model::{Point, PointIndex, Quality, Reason, Sample, TICK, Timestamp, Zone};

/// Wrong lines that are named.
const NAMED: usize = 20;
/// Lines may be out of order by so much.
const DISORDER: Duration = Duration::from_secs(60);

/// What is wrong with a line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongLine {
    pub line: u64,
    pub what: String,
}

/// How columns are to be understood where their names do not say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// Column and what it is: `time`, `point`, `value`, `quality` or a point's id.
    pub named: Vec<(String, String)>,
    /// Of times that name no zone.
    pub offset: Option<Duration>,
    pub offset_west: bool,
}

impl Columns {
    /// `Zeit=time,CH4=mine.t1`; `+08:00`.
    pub fn read(named: &[String], offset: Option<&str>) -> Result<Self, Error> {
        let pair = |text: &String| {
            let (column, meaning) = text.split_once('=')?;
            Some((column.trim().to_owned(), meaning.trim().to_owned()))
        };
        let wrong =
            |text: &str| Error::Asked(format!("csv-columns: {text:?} is not COLUMN=MEANING, such as CH4=mine.t1"));
        let named = named.iter().map(|text| pair(text).ok_or_else(|| wrong(text))).collect::<Result<_, _>>()?;
        let Some(text) = offset else { return Ok(Self { named, ..Self::default() }) };
        let seconds = Zone::parse(text)
            .map(|zone| i64::from(zone.0))
            .ok_or_else(|| Error::Asked(format!("utc-offset: {text:?} is not an offset such as +08:00")))?;
        Ok(Self { named, offset: Some(Duration::from_secs(seconds.unsigned_abs())), offset_west: seconds < 0 })
    }

    fn moment(&self, text: &str) -> Option<Timestamp> {
        let text = text.trim();
        Timestamp::parse(text).or_else(|| {
            let civil: jiff::civil::DateTime = text.parse().ok()?;
            let utc = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_microsecond();
            let utc = Timestamp::from_micros(utc);
            Some(if self.offset_west { utc + self.offset? } else { utc - self.offset? })
        })
    }
}

/// Where what is wanted stands in a line.
#[derive(Debug, Default)]
struct Places {
    time: usize,
    quality: Option<usize>,
    /// A sample a line.
    long: Option<(usize, usize)>,
    /// A column a point.
    wide: Vec<(usize, PointIndex)>,
}

/// An open file.
#[derive(Debug)]
pub struct Table {
    path: PathBuf,
    reader: csv::Reader<BufReader<File>>,
    columns: Columns,
    places: Places,
    points: Vec<(String, String, bool)>,
    given: Timestamp,
    newest: Timestamp,
    begun: Timestamp,
    to: Timestamp,
    most: usize,
    wrong: u64,
    named: Vec<WrongLine>,
}

impl Table {
    /// Points are known by id, or by the part behind the site; samples of those that are retired are passed over.
    pub fn open(path: &Path, points: &[Point], columns: Columns) -> Result<Self, Error> {
        let broken = |source| Error::File { path: path.to_owned(), source };
        let file = File::open(path).map_err(broken)?;
        let mut reader = csv::ReaderBuilder::new().flexible(true).comment(Some(b'#')).from_reader(BufReader::new(file));
        let header = reader.headers().map_err(|error| broken(error.into()))?.clone();
        let points: Vec<_> =
            points.iter().map(|point| (point.id.to_string(), point.local().to_owned(), point.retired)).collect();
        let places =
            find(&header, &columns, &points).map_err(|what| Error::Asked(format!("{}:1: {what}", path.display())))?;
        let never = Timestamp::MIN;
        Ok(Self {
            path: path.to_owned(),
            reader,
            columns,
            places,
            points,
            given: never,
            newest: never,
            begun: never,
            to: Timestamp::from_micros(i64::MAX),
            most: HELD_SAMPLES / 2,
            wrong: 0,
            named: Vec::new(),
        })
    }

    /// How many lines were wrong, and the first of them.
    #[must_use]
    pub fn wrong(&self) -> (u64, &[WrongLine]) {
        (self.wrong, &self.named)
    }

    /// Times of the first and the last sample; reads the whole file once.
    pub fn span(&mut self) -> Result<Option<(Timestamp, Timestamp)>, Error> {
        let broken = |error: csv::Error| Error::File { path: self.path.clone(), source: error.into() };
        let start = self.reader.position().clone();
        let (mut span, mut record) = (None, csv::ByteRecord::new());
        while self.reader.read_byte_record(&mut record).map_err(broken)? {
            let text = record.get(self.places.time).and_then(|cell| std::str::from_utf8(cell).ok());
            let Some(time) = text.and_then(|text| self.columns.moment(text)) else { continue };
            let (first, last): (Timestamp, Timestamp) = span.unwrap_or((time, time));
            span = Some((first.min(time), last.max(time)));
        }
        self.reader.seek(start).map_err(broken)?;
        Ok(span)
    }

    fn line(&mut self, record: &csv::StringRecord, into: &mut Vec<Told>) -> Result<(), String> {
        let cell = |place: usize| record.get(place).map(str::trim).unwrap_or_default();
        let time = self.columns.moment(cell(self.places.time)).ok_or_else(|| {
            let more = if self.columns.offset.is_none() { "; a time without a zone needs --utc-offset" } else { "" };
            format!("{:?} is not a time{more}", cell(self.places.time))
        })?;
        if time < self.given {
            return Err(format!("{time} is more than a minute before lines above it: sort the file by time"));
        }
        let quality = self.places.quality.map_or(Quality::GOOD, |place| quality(cell(place)));
        self.newest = self.newest.max(time);
        let mut offer = |point: PointIndex, text: &str| -> Result<(), String> {
            let value = match text.parse::<f64>() {
                Ok(value) => value,
                Err(_) if !quality.usable() => 0.0,
                Err(_) => return Err(format!("{text:?} is not a number")),
            };
            let mut sample = Sample::received(point, value, Some(time), time);
            sample.quality = quality.join(sample.quality);
            if time >= self.begun && time < self.to {
                into.push(Told { behind: time.tick(), sample });
            }
            Ok(())
        };
        if let Some((point, value)) = self.places.long {
            let known = self.points.iter().position(|(id, local, _)| *id == cell(point) || *local == cell(point));
            let known = known.ok_or_else(|| format!("there is no point {:?}", cell(point)))?;
            if self.points[known].2 {
                return Ok(());
            }
            return offer(PointIndex(known as u32), cell(value));
        }
        let mut wrong = Ok(());
        for (place, point) in &self.places.wide {
            // An empty cell says nothing of its point.
            if !cell(*place).is_empty() {
                wrong = wrong.and(offer(*point, cell(*place)));
            }
        }
        wrong
    }

    fn note(&mut self, line: u64, what: String) {
        self.wrong += 1;
        if self.named.len() < NAMED {
            self.named.push(WrongLine { line, what });
        }
    }
}

fn find(header: &csv::StringRecord, columns: &Columns, points: &[(String, String, bool)]) -> Result<Places, String> {
    let meaning = |column: &str| {
        let column = column.trim().trim_start_matches('\u{feff}').to_owned();
        columns.named.iter().find(|(name, _)| *name == column).map_or(column, |(_, meaning)| meaning.clone())
    };
    let meanings: Vec<String> = header.iter().map(meaning).collect();
    let there = |name: &str| header.iter().any(|column| column.trim().trim_start_matches('\u{feff}') == name);
    if let Some((name, _)) = columns.named.iter().find(|(name, _)| !there(name)) {
        return Err(format!("there is no column {name:?}"));
    }
    let place = |name: &str| meanings.iter().position(|meaning| meaning == name);
    let time = place("time").ok_or("no column is named time; say which: --csv-columns NAME=time")?;
    let mut places = Places { time, quality: place("quality"), ..Places::default() };
    match (place("point"), place("value")) {
        (Some(point), Some(value)) => places.long = Some((point, value)),
        (Some(_), None) | (None, Some(_)) => return Err("point and value are only columns together".into()),
        (None, None) => {
            for (at, meaning) in meanings.iter().enumerate() {
                let point = points.iter().position(|(id, local, _)| id == meaning || local == meaning);
                if let Some(point) = point.filter(|point| !points[*point].2) {
                    places.wide.push((at, PointIndex(point as u32)));
                }
            }
            if places.wide.is_empty() {
                return Err("no column is a point; name the columns as the points, or --csv-columns CH4=mine.t1".into());
            }
        }
    }
    Ok(places)
}

/// `good`, `bad`, `bad:line_break`, `calibrating`; what is not known counts as a sensor fault.
fn quality(text: &str) -> Quality {
    let mut quality = Quality::GOOD;
    for word in text.split([':', '+', ' ']).filter(|word| !word.is_empty()) {
        match (word, Reason::from_word(word)) {
            ("good" | "uncertain", _) => {}
            ("bad", _) if text.trim() != "bad" => {}
            (_, Some(reason)) => quality = quality.and(reason),
            (_, None) => quality = quality.and(Reason::SensorFault),
        }
    }
    quality
}

impl Feed for Table {
    fn begin(&mut self, begun: Timestamp, to: Timestamp) {
        (self.begun, self.to) = (begun, to);
    }

    fn next(&mut self, into: &mut Vec<Told>) -> Result<Option<Timestamp>, Error> {
        let mut record = csv::StringRecord::new();
        let end = into.len() + self.most;
        while into.len() < end {
            let line = self.reader.position().line();
            match self.reader.read_record(&mut record) {
                Ok(true) => {
                    if let Err(what) = self.line(&record, into) {
                        self.note(record.position().map_or(line, csv::Position::line), what);
                    }
                }
                Ok(false) => return Ok(None),
                Err(error) if matches!(error.kind(), csv::ErrorKind::Utf8 { .. }) => {
                    self.note(line, "is not UTF-8".into());
                }
                Err(error) => return Err(Error::File { path: self.path.clone(), source: error.into() }),
            }
        }
        self.given = (self.newest - DISORDER).max(self.given);
        Ok(Some(self.given.tick() - TICK))
    }
}
