//! Sparkplug B payloads: protobuf bytes -> metrics, and the one command that Davy ever sends.
//!
//! In comes the payload of a Sparkplug message; out go its metrics, borrowed from it, and what number each
//! stands for. Field numbers and data types are those of Sparkplug 3.0, section 6.4. Read by hand, because
//! thirty fields are all there is, and a generated reader would copy every name and take what it is given:
//! here the number of metrics, the size after decompression and the depth (payload, metric, property) are
//! bounded, and unknown fields are skipped unread. Never: a panic, whatever the bytes.

use std::borrow::Cow;
use std::io::Read;

use super::registers::shortest;

/// More metrics in one message are not read: it is refused as a whole.
pub const MOST_METRICS: usize = 65_536;
/// A compressed payload may become as large as this.
const INFLATED_BYTES: u64 = 4 * 1024 * 1024;
/// The `uuid` by which Sparkplug libraries mark a payload whose `body` is another one, compressed.
const COMPRESSED: &[u8] = b"SPBV1.0_COMPRESSED";

/// What one message says, whatever its verb.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Payload<'a> {
    /// Milliseconds since 1970, UTC: when the message was made.
    pub timestamp: Option<u64>,
    pub seq: Option<u64>,
    pub metrics: Vec<Metric<'a>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Metric<'a> {
    /// Births name every metric; data may give the alias alone.
    pub name: Option<&'a str>,
    pub alias: Option<u64>,
    /// Milliseconds since 1970, UTC: when the value was captured.
    pub timestamp: Option<u64>,
    /// One of the Sparkplug data types (6.4); 0 when the message leaves it out.
    pub datatype: u32,
    /// Back-filled: not to be taken for a live value.
    pub historical: bool,
    pub null: bool,
    /// The property `Quality`: 0 bad, 192 good, 500 stale; without it a metric is good.
    pub quality: Option<i64>,
    pub value: Value,
}

/// As it stands on the wire; what it means depends on the data type.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Value {
    /// None, or one that is no number (text, bytes, data sets, templates).
    #[default]
    None,
    Int(u32),
    Long(u64),
    Float(f32),
    Double(f64),
    Boolean(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("is no Sparkplug B payload")]
    Malformed,
    #[error("has more than {MOST_METRICS} metrics, or is too large when decompressed")]
    TooLarge,
}

/// Decompresses a payload that says it is compressed; any other comes back as it is.
pub fn unpack(bytes: &[u8]) -> Result<Cow<'_, [u8]>, Error> {
    let (mut packed, mut body, mut gzip) = (false, None, false);
    for field in Fields(bytes) {
        match field? {
            (2, Wire::Bytes(metric)) if metric.ends_with(b"GZIP") => gzip = true,
            (4, Wire::Bytes(uuid)) => packed = uuid == COMPRESSED,
            (5, Wire::Bytes(bytes)) => body = Some(bytes),
            (_, Wire::Varint(_) | Wire::Fixed64(_) | Wire::Fixed32(_) | Wire::Bytes(_)) => {}
        }
    }
    let Some(body) = body.filter(|_| packed) else { return Ok(Cow::Borrowed(bytes)) };
    let mut plain = Vec::new();
    let limit = INFLATED_BYTES + 1;
    let read = if gzip {
        flate2::read::GzDecoder::new(body).take(limit).read_to_end(&mut plain)
    } else {
        flate2::read::ZlibDecoder::new(body).take(limit).read_to_end(&mut plain)
    };
    match read {
        Ok(size) if size as u64 <= INFLATED_BYTES => Ok(Cow::Owned(plain)),
        Ok(_) => Err(Error::TooLarge),
        Err(_) => Err(Error::Malformed),
    }
}

/// Reads a payload that is not compressed.
pub fn read(bytes: &[u8]) -> Result<Payload<'_>, Error> {
    let mut payload = Payload::default();
    for field in Fields(bytes) {
        match field? {
            (1, Wire::Varint(ms)) => payload.timestamp = Some(ms),
            (2, Wire::Bytes(metric)) => {
                if payload.metrics.len() == MOST_METRICS {
                    return Err(Error::TooLarge);
                }
                payload.metrics.push(read_metric(metric)?);
            }
            (3, Wire::Varint(seq)) => payload.seq = Some(seq),
            (_, Wire::Varint(_) | Wire::Fixed64(_) | Wire::Fixed32(_) | Wire::Bytes(_)) => {}
        }
    }
    Ok(payload)
}

fn read_metric(bytes: &[u8]) -> Result<Metric<'_>, Error> {
    let mut metric = Metric::default();
    for field in Fields(bytes) {
        match field? {
            (1, Wire::Bytes(name)) => metric.name = Some(std::str::from_utf8(name).map_err(|_| Error::Malformed)?),
            (2, Wire::Varint(alias)) => metric.alias = Some(alias),
            (3, Wire::Varint(ms)) => metric.timestamp = Some(ms),
            (4, Wire::Varint(datatype)) => metric.datatype = u32::try_from(datatype).map_err(|_| Error::Malformed)?,
            (5, Wire::Varint(flag)) => metric.historical = flag != 0,
            (7, Wire::Varint(flag)) => metric.null = flag != 0,
            (9, Wire::Bytes(properties)) => metric.quality = read_quality(properties)?,
            // An int_value of a 64-bit writer is sign-extended; only its low half counts.
            (10, Wire::Varint(bits)) => metric.value = Value::Int(bits as u32),
            (11, Wire::Varint(bits)) => metric.value = Value::Long(bits),
            (12, Wire::Fixed32(bits)) => metric.value = Value::Float(f32::from_bits(bits)),
            (13, Wire::Fixed64(bits)) => metric.value = Value::Double(f64::from_bits(bits)),
            (14, Wire::Varint(flag)) => metric.value = Value::Boolean(flag != 0),
            (_, Wire::Varint(_) | Wire::Fixed64(_) | Wire::Fixed32(_) | Wire::Bytes(_)) => {}
        }
    }
    Ok(metric)
}

/// The value of the property `Quality`: keys and values are two lists of one length.
fn read_quality(properties: &[u8]) -> Result<Option<i64>, Error> {
    let (mut keys, mut values, mut at) = (0_usize, 0_usize, None);
    let mut found = None;
    // The keys come first from every library seen, but nothing says that they must.
    for field in Fields(properties) {
        if let (1, Wire::Bytes(key)) = field? {
            if key == b"Quality" {
                at = Some(keys);
            }
            keys += 1;
        }
    }
    let Some(at) = at else { return Ok(None) };
    for field in Fields(properties) {
        if let (2, Wire::Bytes(value)) = field? {
            if values == at {
                for field in Fields(value) {
                    match field? {
                        (3, Wire::Varint(bits)) => found = Some(i64::from(bits as u32 as i32)),
                        (4, Wire::Varint(bits)) => found = Some(bits as i64),
                        (_, Wire::Varint(_) | Wire::Fixed64(_) | Wire::Fixed32(_) | Wire::Bytes(_)) => {}
                    }
                }
            }
            values += 1;
        }
    }
    // A quality without a number says nothing good.
    Ok(Some(found.unwrap_or(0)))
}

impl Metric<'_> {
    /// The number that the value stands for. `declared` is the data type that the birth gave; `None` for
    /// text and the like, and for a number that its own type cannot hold.
    #[must_use]
    pub fn number(&self, declared: u32) -> Option<f64> {
        let datatype = if self.datatype == 0 { declared } else { self.datatype };
        match (datatype, self.value) {
            (1, Value::Int(_) | Value::Long(_)) => self.signed(8),
            (2, Value::Int(_) | Value::Long(_)) => self.signed(16),
            (3, Value::Int(_) | Value::Long(_)) => self.signed(32),
            (4, Value::Int(_) | Value::Long(_)) => self.signed(64),
            (5, Value::Int(_) | Value::Long(_)) => self.unsigned(u64::from(u8::MAX)),
            (6, Value::Int(_) | Value::Long(_)) => self.unsigned(u64::from(u16::MAX)),
            (7, Value::Int(_) | Value::Long(_)) => self.unsigned(u64::from(u32::MAX)),
            // DateTime (13) is a count of milliseconds.
            (8 | 13, Value::Int(_) | Value::Long(_)) => self.unsigned(u64::MAX),
            (0 | 9 | 10, Value::Float(number)) => Some(shortest(number)),
            (0 | 9 | 10, Value::Double(number)) => Some(number),
            (0 | 11, Value::Boolean(on)) => Some(f64::from(u8::from(on))),
            (11, Value::Int(bits)) => (bits <= 1).then_some(f64::from(bits)),
            (_, Value::None | Value::Int(_) | Value::Long(_)) => None,
            (_, Value::Float(_) | Value::Double(_) | Value::Boolean(_)) => None,
        }
    }

    fn bits(&self) -> u64 {
        match self.value {
            Value::Int(bits) => u64::from(bits),
            Value::Long(bits) => bits,
            Value::None | Value::Float(_) | Value::Double(_) | Value::Boolean(_) => 0,
        }
    }

    fn unsigned(&self, most: u64) -> Option<f64> {
        (self.bits() <= most).then_some(self.bits() as f64)
    }

    /// Two's complement of `width` bits: some writers extend the sign to 32 or 64 bits, others do not.
    fn signed(&self, width: u32) -> Option<f64> {
        let bits = match self.value {
            Value::Int(bits) if width < 64 => i64::from(bits as i32),
            Value::None | Value::Int(_) | Value::Long(_) | Value::Float(_) | Value::Double(_) | Value::Boolean(_) => {
                self.bits() as i64
            }
        };
        let (low, high) = (-1_i128 << (width - 1), (1_i128 << width) - 1);
        let shift = 64 - width;
        (low..=high).contains(&i128::from(bits)).then_some((bits << shift >> shift) as f64)
    }
}

/// The payload of an NCMD that asks an edge node to announce itself anew.
#[must_use]
pub fn rebirth_request(ms: u64) -> Vec<u8> {
    const NAME: &[u8] = b"Node Control/Rebirth";
    const BOOLEAN: u8 = 11;
    let mut metric = vec![0x0A, NAME.len() as u8];
    metric.extend(NAME);
    metric.push(0x18);
    put_varint(&mut metric, ms);
    metric.extend([0x20, BOOLEAN, 0x70, 1]);
    let mut payload = vec![0x08];
    put_varint(&mut payload, ms);
    payload.extend([0x12, metric.len() as u8]);
    payload.extend(metric);
    payload
}

fn put_varint(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

/// One field's content, by protobuf wire type; groups are long gone from protobuf and not read.
#[derive(Clone, Copy, Debug)]
enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

/// The fields of a message, one after the other; ends after the first error.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Wire<'a>), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or(Error::Malformed))
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u64, Wire<'a>)> {
        let tag = self.varint()?;
        let wire = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Wire::Bytes(self.take(length)?)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().ok()?)),
            _ => return None,
        };
        (tag >> 3 != 0).then_some((tag >> 3, wire))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
pub mod tests;
