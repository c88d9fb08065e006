//! `format = "binary"`: records of fixed length, as controllers send them without a protocol.
//!
//! ```toml
//! [payload.binary]
//! header  = 4                   # bytes before the first record
//! record  = 12                  # bytes of one record, repeated; without it all that follows is one record
//! trailer = 2                   # bytes behind the last record, such as a checksum
//! time    = { offset = 0, type = "uint32", unit = "s" }  # in each record; or from = "header"
//! [[payload.binary.field]]
//! point  = "ch4-{n}"            # within {site}, else site.point; {n} is the record's number from 1
//! offset = 4                    # byte of the record, from 0
//! type   = "int16"              # uint8, int8, bit, and the types of Modbus registers
//! order  = "ABCD"               # by example, see `registers`; "CDAB", "BADC", "DCBA" (little-endian)
//! scale  = 0.01                 # value = number * scale + add
//! add    = 0.0
//! bit    = 3                    # of the byte, for type = "bit": 0 is the lowest
//! invalid = [0x7FFF]            # codes by which the device says that it has no value
//! invalid_means = "sensor_fault"
//! ```
//! In comes a payload, out go samples with the value forms of Modbus registers. A field without `point` is
//! the topic's `{point}`. A payload too short for its header and one record is lost; a cut last record loses
//! only itself. There is no length that makes it read outside the payload.

use serde::Deserialize;

use super::decoder::Reader;
use super::name::{Origin, Part, Template};
use super::registers::{self, Code, Order, Reading, Scale, Type};
use super::scalar::UNREADABLE;
use super::topic::TopicPattern;
use crate::config::{Key, Problems};
use crate::ledger::Fate;
use crate::model::{Reason, Timestamp};

/// Bytes of a record or a header, at the most.
const LONGEST: usize = 64 * 1024;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawBinary {
    #[serde(default)]
    header: usize,
    record: Option<usize>,
    #[serde(default)]
    trailer: usize,
    time: Option<RawTime>,
    field: Vec<RawField>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTime {
    #[serde(default = "record")]
    from: String,
    offset: usize,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default = "big_endian")]
    order: String,
    #[serde(default = "seconds")]
    unit: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawField {
    point: Option<String>,
    offset: usize,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default = "big_endian")]
    order: String,
    #[serde(default = "one")]
    scale: f64,
    #[serde(default)]
    add: f64,
    bit: Option<u8>,
    #[serde(default)]
    invalid: Vec<f64>,
    #[serde(default = "sensor_fault")]
    invalid_means: String,
}

fn record() -> String {
    "record".into()
}
fn big_endian() -> String {
    Order::Abcd.word().into()
}
fn seconds() -> String {
    "s".into()
}
fn sensor_fault() -> String {
    Reason::SensorFault.word().into()
}
const fn one() -> f64 {
    1.0
}

#[derive(Clone, Debug, PartialEq)]
pub struct Binary {
    header: usize,
    record: Option<usize>,
    trailer: usize,
    /// Bytes of one whole record, or what its fields need.
    needs: usize,
    /// Bytes that the header needs for the time.
    header_needs: usize,
    time: Option<Time>,
    fields: Vec<Field>,
}

#[derive(Clone, Debug, PartialEq)]
struct Time {
    in_header: bool,
    place: Place,
    micros: f64,
}

#[derive(Clone, Debug, PartialEq)]
struct Field {
    /// Absent: the topic's point.
    name: Option<Template>,
    place: Place,
}

/// Where a number stands and how it is understood.
#[derive(Clone, Debug, PartialEq)]
struct Place {
    offset: usize,
    width: Width,
    reading: Reading,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    /// One byte, passed on as a register.
    Byte {
        signed: bool,
    },
    Words(usize),
}

impl Width {
    const fn bytes(self) -> usize {
        match self {
            Self::Byte { .. } => 1,
            Self::Words(words) => 2 * words,
        }
    }

    /// Type words beyond those of registers; a bit is one of a byte here.
    fn of(word: &str) -> Option<(Self, Type)> {
        match word {
            "uint8" => Some((Self::Byte { signed: false }, Type::Uint16)),
            "int8" => Some((Self::Byte { signed: true }, Type::Int16)),
            "bit" => Some((Self::Byte { signed: false }, Type::Bit)),
            _ => Type::ALL
                .into_iter()
                .find(|kind| kind.word() == word)
                .map(|kind| (Self::Words(usize::from(kind.registers())), kind)),
        }
    }

    fn known() -> impl Iterator<Item = (&'static str, (Self, Type))> {
        let words = ["uint8", "int8"].into_iter().chain(Type::ALL.map(Type::word));
        words.filter_map(|word| Some((word, Self::of(word)?)))
    }
}

impl RawBinary {
    pub fn check(self, topic: &TopicPattern, at: &Key, problems: &mut Problems) -> Option<Binary> {
        let before = problems.len();
        problems.within(at.field("header"), self.header, 0..=LONGEST);
        problems.within(at.field("trailer"), self.trailer, 0..=LONGEST);
        if let Some(record) = self.record {
            problems.within(at.field("record"), record, 1..=LONGEST);
        }
        if self.field.is_empty() {
            problems.add(at.field("field"), "no value is read: add [[payload.binary.field]]");
        }
        let room = self.record.unwrap_or(LONGEST);
        let time = self.time.and_then(|raw| raw.check(&at.field("time"), self.header, room, problems));
        let offered: Vec<&str> = topic.offers().chain(["n"]).collect();
        let mut fields = Vec::new();
        for (n, raw) in self.field.into_iter().enumerate() {
            let at = at.field("field").index(n);
            fields.extend(raw.check(&at, topic.names_point(), &offered, room, problems));
        }
        let in_record = time.iter().filter(|time| !time.in_header).map(|time| &time.place);
        let places = fields.iter().map(|field: &Field| &field.place).chain(in_record);
        let needs = self.record.or_else(|| places.map(Place::end).max()).unwrap_or(1);
        let header_needs = time.as_ref().filter(|time| time.in_header).map_or(0, |time| time.place.end());
        let Self { header, record, trailer, .. } = self;
        (problems.len() == before).then_some(Binary { header, record, trailer, needs, header_needs, time, fields })
    }
}

impl RawTime {
    fn check(self, at: &Key, header: usize, record: usize, problems: &mut Problems) -> Option<Time> {
        let in_header = problems.known(
            at.field("from"),
            &self.from,
            "part of the payload",
            [("record", false), ("header", true)],
        )?;
        let room = if in_header { header } else { record };
        let units = [("s", 1e6), ("ms", 1e3), ("us", 1.0)];
        let micros = problems.known(at.field("unit"), &self.unit, "unit of time", units);
        let place = Place::check(at, self.offset, &self.kind, &self.order, None, room, problems);
        Some(Time { in_header, place: place?, micros: micros? })
    }
}

impl RawField {
    fn check(
        self,
        at: &Key,
        topic_names_point: bool,
        offered: &[&str],
        room: usize,
        problems: &mut Problems,
    ) -> Option<Field> {
        let name = match self.point {
            Some(name) => Some(Template::check(&name, offered, at.field("point"), problems)?),
            None if topic_names_point => None,
            None => {
                problems.add(at.field("point"), "missing: the topic names no {point} either");
                return None;
            }
        };
        let mut place = Place::check(at, self.offset, &self.kind, &self.order, self.bit, room, problems)?;
        if !self.scale.is_finite() || self.scale == 0.0 {
            problems.add(at.field("scale"), format!("{} is not a factor", self.scale));
        }
        if !self.add.is_finite() {
            problems.add(at.field("add"), format!("{} is not a number to add", self.add));
        }
        let means = [Reason::SensorFault, Reason::LineBreak].map(|reason| (reason.word(), reason));
        let means = problems.known(at.field("invalid_means"), &self.invalid_means, "meaning of an invalid code", means);
        let mut invalid = Vec::new();
        for (n, number) in self.invalid.into_iter().enumerate() {
            match place.code(number) {
                Some(code) => invalid.push(code),
                None => {
                    let told = format!("{number} is not a code of type {:?}", self.kind);
                    problems.add(at.field("invalid").index(n), told);
                }
            }
        }
        place.reading.scale = Scale::by(self.scale);
        place.reading.offset = self.add;
        place.reading.invalid = invalid;
        place.reading.invalid_means = means?;
        Some(Field { name, place })
    }
}

impl Place {
    fn check(
        at: &Key,
        offset: usize,
        kind: &str,
        order: &str,
        bit: Option<u8>,
        room: usize,
        problems: &mut Problems,
    ) -> Option<Self> {
        let kind = problems.known(at.field("type"), kind, "type", Width::known());
        let order =
            problems.known(at.field("order"), order, "byte order", Order::ALL.map(|order| (order.word(), order)));
        let (width, kind) = kind?;
        let bit = match (bit, kind) {
            (Some(bit), Type::Bit) => Some(registers::Part::bit(problems.within(at.field("bit"), bit, 0..=7)?)),
            (None, Type::Bit) => {
                problems.add(at.field("bit"), "missing: say which bit of the byte, 0 (lowest) to 7");
                return None;
            }
            (Some(_), _) => {
                problems.add(at.field("bit"), "only for type = \"bit\"");
                return None;
            }
            (None, _) => None,
        };
        if offset.saturating_add(width.bytes()) > room {
            let told = format!("{offset} and {} bytes reach beyond the {room} that there are", width.bytes());
            problems.add(at.field("offset"), told);
            return None;
        }
        // A byte has no order; swapping it inside its register would move it away.
        let order = if matches!(width, Width::Byte { .. }) { Order::Abcd } else { order? };
        Some(Self { offset, width, reading: Reading { part: bit, ..Reading::plain(kind, order) } })
    }

    const fn end(&self) -> usize {
        self.offset + self.width.bytes()
    }

    /// An invalid code as `registers` compares it: integers by their bits, floats by their value.
    #[expect(clippy::cast_possible_truncation, reason = "checked to be a whole number within 2^53")]
    fn code(&self, number: f64) -> Option<Code> {
        if self.reading.kind.is_float() {
            return number.is_finite().then_some(Code::Number(number));
        }
        if number.fract() != 0.0 || number.abs() > 2_f64.powi(53) {
            return None;
        }
        let (number, bits) = (number as i64, 8 * self.width.bytes() as u32);
        let fits = bits == 64 || (-(1_i64 << (bits - 1))..1_i64 << bits).contains(&number);
        let number = match self.width {
            // 0xFF and -1 are the same byte, and that byte fills its register as -1.
            Width::Byte { signed: true } => i64::from(number as u8 as i8),
            Width::Byte { signed: false } => i64::from(number as u8),
            Width::Words(_) => number,
        };
        let register_bits = bits.max(16);
        fits.then_some(Code::Bits(number as u64 & (u64::MAX >> (64 - register_bits))))
    }

    /// The words of the number in `bytes`, which reach far enough.
    fn words(&self, bytes: &[u8]) -> ([u16; 4], usize) {
        let mut words = [0; 4];
        match self.width {
            Width::Byte { signed } => {
                let byte = bytes[self.offset];
                words[0] = if signed { i16::from(byte.cast_signed()).cast_unsigned() } else { u16::from(byte) };
                (words, 1)
            }
            Width::Words(count) => {
                for (word, pair) in words.iter_mut().zip(bytes[self.offset..self.end()].chunks_exact(2)) {
                    *word = u16::from_be_bytes([pair[0], pair[1]]);
                }
                (words, count)
            }
        }
    }
}

impl Binary {
    pub(super) fn read(&self, reader: &mut Reader<'_>, origin: &Origin, payload: &[u8]) {
        let end = payload.len().saturating_sub(self.trailer);
        if end < self.header + self.needs || self.header < self.header_needs {
            let told = format!("{} bytes, needed are {}", payload.len(), self.header + self.needs + self.trailer);
            return reader.lose(Fate::BadLine, &told);
        }
        let (header, body) = payload[..end].split_at(self.header);
        let of_all = self.time.as_ref().filter(|time| time.in_header).map(|time| time.read(header));
        let length = self.record.unwrap_or(body.len());
        let mut name = String::new();
        for (number, record) in (1..).zip(body.chunks(length)) {
            reader.move_to(number);
            if record.len() < length {
                let told = format!("the last record has {} of {length} bytes", record.len());
                reader.lose(Fate::BadLine, &told);
                break;
            }
            let of_record = self.time.as_ref().filter(|time| !time.in_header).map(|time| time.read(record));
            for field in &self.fields {
                let (words, count) = field.place.words(record);
                let (value, quality) = field.place.reading.read(&words[..count]);
                let named = field.name.as_ref().is_none_or(|template| {
                    template.write(origin, &mut name, |part, name| {
                        if *part == Part::Number {
                            push_number(name, number);
                        }
                        *part == Part::Number
                    })
                });
                let point = if field.name.is_some() { &name } else { origin.point.as_deref().unwrap_or_default() };
                if named {
                    reader.offer(origin, point, value, of_record.or(of_all), quality);
                } else {
                    reader.lose(Fate::UnknownPoint, "");
                }
            }
        }
    }
}

impl Time {
    fn read(&self, bytes: &[u8]) -> Timestamp {
        let (words, count) = self.place.words(bytes);
        let (number, quality) = self.place.reading.read(&words[..count]);
        let micros = number * self.micros;
        if quality.usable() && (0.0..9e18).contains(&micros) {
            Timestamp::from_micros(micros.round() as i64)
        } else {
            UNREADABLE
        }
    }
}

fn push_number(name: &mut String, number: usize) {
    use std::fmt::Write as _;
    write!(name, "{number}").expect("a string takes every write");
}
