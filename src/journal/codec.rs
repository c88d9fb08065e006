//! Entries as bytes: what stands in `journal.db`.
//!
//! ```text
//! group   = version u8 | crc32 of the rest, u32 | lz4 block with its length in front, holding entries
//! entry   = kind u8 | payload length u32 | payload
//! samples = count u32 | points u32[] | qualities u16[] | source times i64[] | delays i64[] | values f64[]
//! tick    = micros i64
//! note    = JSON
//! ```
//! All numbers little endian. Times are kept as differences to the one before and delays as receive minus
//! source time, because small numbers are what lz4 makes small. A damaged group is an error, never a guess.

use std::sync::Arc;

use super::{Entry, Note};
use crate::model::{PointIndex, Quality, Sample, Timestamp};

const VERSION: u8 = 1;
const SAMPLES: u8 = 1;
const TICK: u8 = 2;
const NOTE: u8 = 3;
/// Bytes of one sample before compression.
pub const SAMPLE_BYTES: usize = 30;
/// No group is larger than this before compression; a length beyond it is damage, not data.
const LARGEST_GROUP: usize = 1 << 30;

/// Entries being gathered for one commit.
#[derive(Debug, Default)]
pub struct Group {
    bytes: Vec<u8>,
}

impl Group {
    pub fn push(&mut self, entry: &Entry) {
        match entry {
            Entry::Samples(samples) => {
                self.open(SAMPLES, 4 + samples.len() * SAMPLE_BYTES);
                push_samples(samples, &mut self.bytes);
            }
            Entry::Tick(at) => {
                self.open(TICK, 8);
                self.bytes.extend_from_slice(&at.micros().to_le_bytes());
            }
            Entry::Note(note) => {
                let json = serde_json::to_vec(note).expect("notes hold only maps with string keys and finite numbers");
                self.open(NOTE, json.len());
                self.bytes.extend_from_slice(&json);
            }
        }
    }

    fn open(&mut self, kind: u8, length: usize) {
        let length = u32::try_from(length).expect("an entry is far below 4 GiB");
        self.bytes.push(kind);
        self.bytes.extend_from_slice(&length.to_le_bytes());
    }

    /// Bytes before compression.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The finished group; empties this one and keeps its memory.
    pub fn finish(&mut self) -> Vec<u8> {
        let packed = lz4_flex::block::compress_prepend_size(&self.bytes);
        self.bytes.clear();
        let mut body = Vec::with_capacity(packed.len() + 5);
        body.push(VERSION);
        body.extend_from_slice(&crc32fast::hash(&packed).to_le_bytes());
        body.extend_from_slice(&packed);
        body
    }
}

fn push_samples(samples: &[Sample], bytes: &mut Vec<u8>) {
    bytes.reserve(samples.len() * SAMPLE_BYTES);
    bytes.extend_from_slice(&u32::try_from(samples.len()).expect("a batch is far below 4 G samples").to_le_bytes());
    bytes.extend(samples.iter().flat_map(|sample| sample.point.0.to_le_bytes()));
    bytes.extend(samples.iter().flat_map(|sample| sample.quality.bits().to_le_bytes()));
    let mut before = 0_i64;
    bytes.extend(samples.iter().flat_map(|sample| {
        let time = sample.source_time.micros();
        let step = time.wrapping_sub(before);
        before = time;
        step.to_le_bytes()
    }));
    bytes.extend(
        samples
            .iter()
            .flat_map(|sample| sample.receive_time.micros().wrapping_sub(sample.source_time.micros()).to_le_bytes()),
    );
    bytes.extend(samples.iter().flat_map(|sample| sample.value.to_bits().to_le_bytes()));
}

/// Reads a group back; the text says what is wrong with it.
pub fn read_group(body: &[u8]) -> Result<Vec<Entry>, String> {
    let (version, rest) = body.split_first().ok_or("the group is empty")?;
    if *version != VERSION {
        return Err(format!("group version {version} is not known to this Davy"));
    }
    let (crc, packed) = rest.split_first_chunk::<4>().ok_or("the group is cut short")?;
    if crc32fast::hash(packed) != u32::from_le_bytes(*crc) {
        return Err("the group's checksum does not match".into());
    }
    let length = packed.first_chunk::<4>().map(|length| u32::from_le_bytes(*length) as usize);
    if length.is_none_or(|length| length > LARGEST_GROUP) {
        return Err("the group's length is absurd".into());
    }
    let bytes = lz4_flex::block::decompress_size_prepended(packed).map_err(|error| error.to_string())?;
    let mut rest = bytes.as_slice();
    let mut entries = Vec::new();
    while let Some((kind, behind)) = rest.split_first() {
        let (length, behind) = behind.split_first_chunk::<4>().ok_or("an entry is cut short")?;
        let (payload, behind) =
            behind.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or("an entry is cut short")?;
        entries.push(read_entry(*kind, payload)?);
        rest = behind;
    }
    Ok(entries)
}

fn read_entry(kind: u8, payload: &[u8]) -> Result<Entry, String> {
    match kind {
        SAMPLES => Ok(Entry::Samples(Arc::new(read_samples(payload).ok_or("a sample batch is cut short")?))),
        TICK => {
            let micros = payload.first_chunk::<8>().ok_or("a tick is cut short")?;
            Ok(Entry::Tick(Timestamp::from_micros(i64::from_le_bytes(*micros))))
        }
        NOTE => serde_json::from_slice::<Note>(payload).map(Entry::Note).map_err(|error| error.to_string()),
        other => Err(format!("entry kind {other} is not known to this Davy")),
    }
}

fn read_samples(payload: &[u8]) -> Option<Vec<Sample>> {
    let (count, rest) = payload.split_first_chunk::<4>()?;
    let count = u32::from_le_bytes(*count) as usize;
    if rest.len() != count.checked_mul(SAMPLE_BYTES)? {
        return None;
    }
    let (points, rest) = rest.split_at(count * 4);
    let (qualities, rest) = rest.split_at(count * 2);
    let (times, rest) = rest.split_at(count * 8);
    let (delays, values) = rest.split_at(count * 8);
    let mut time = 0_i64;
    let columns = points.as_chunks::<4>().0.iter().zip(qualities.as_chunks::<2>().0);
    let columns = columns.zip(times.as_chunks::<8>().0).zip(delays.as_chunks::<8>().0).zip(values.as_chunks::<8>().0);
    Some(
        columns
            .map(|((((point, quality), step), delay), value)| {
                time = time.wrapping_add(i64::from_le_bytes(*step));
                Sample {
                    point: PointIndex(u32::from_le_bytes(*point)),
                    quality: Quality::from_bits(u16::from_le_bytes(*quality)),
                    source_time: Timestamp::from_micros(time),
                    receive_time: Timestamp::from_micros(time.wrapping_add(i64::from_le_bytes(*delay))),
                    value: f64::from_bits(u64::from_le_bytes(*value)),
                }
            })
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::alarm::OccurrenceId;
    use crate::journal::{Acknowledge, Limits};
    use crate::model::{Exemption, LimitOrder};

    fn samples() -> impl Strategy<Value = Vec<Sample>> {
        let sample = (any::<u32>(), any::<u16>(), any::<i64>(), any::<i64>(), -1e300_f64..1e300);
        prop::collection::vec(sample, 0..50).prop_map(|list| {
            list.into_iter()
                .map(|(point, quality, source, receive, value)| Sample {
                    point: PointIndex(point),
                    quality: Quality::from_bits(quality),
                    source_time: Timestamp::from_micros(source),
                    receive_time: Timestamp::from_micros(receive),
                    value,
                })
                .collect()
        })
    }

    fn exemption(value: f64) -> Exemption {
        Exemption {
            id: "exemption-1".into(),
            rule: "methane-face".into(),
            limit: "alarm".into(),
            points: vec![PointIndex(7)],
            scope: "mine.*".into(),
            value,
            by: "李".into(),
            approved_by: "王".into(),
            basis: "order 7".into(),
            from: Timestamp::from_secs(1),
            until: Timestamp::from_secs(2),
        }
    }

    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        let entry = prop_oneof![
            samples().prop_map(|samples| Entry::Samples(Arc::new(samples))),
            any::<i64>().prop_map(|micros| Entry::Tick(Timestamp::from_micros(micros))),
            (any::<u64>(), "\\PC{0,20}").prop_map(|(command, comment)| Entry::Note(Note::Acknowledge(Acknowledge {
                seen: None,
                command,
                at: Timestamp::from_secs(1),
                occurrence: OccurrenceId::named("x"),
                raises: 1,
                by: "李".into(),
                comment,
            }))),
            (any::<u64>(), any::<i32>()).prop_map(|(command, hundredths)| {
                let exemption = exemption(f64::from(hundredths) / 100.0);
                Entry::Note(Note::Limits(Limits {
                    command,
                    order: Box::new(LimitOrder::Exempt(exemption)),
                    leave: Some(crate::model::LimitLeave::default()),
                }))
            }),
        ];
        prop::collection::vec(entry, 0..6)
    }

    fn written(entries: &[Entry]) -> Vec<u8> {
        let mut group = Group::default();
        entries.iter().for_each(|entry| group.push(entry));
        group.finish()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(entries in entries()) {
            prop_assert_eq!(read_group(&written(&entries)).unwrap(), entries);
        }

        /// Any flipped bit and any cut is noticed.
        #[test]
        fn damage_is_an_error_not_a_guess(entries in entries(), at: prop::sample::Index, bit in 0_u8..8, cut: bool) {
            let mut body = written(&entries);
            let at = at.index(body.len());
            if cut { body.truncate(at) } else { body[at] ^= 1 << bit }
            prop_assert!(read_group(&body).is_err());
        }
    }
}
