//! PUBLISH packets made once per point; a message is a copy with value, time and packet id patched in.
//!
//! ```text
//!  32 len | topic length, topic | packet id | {"value":0.42,"time":1790000000123}
//!                                  -37..-35      -26..-22    -14..-1     counted from the end
//! ```

use std::ops::RangeInclusive;

use crate::mqtt::Qos;

const BODY: &[u8] = b"{\"value\":0.00,\"time\":0000000000000}";
const VALUE_FROM_END: usize = 26;
const TIME_FROM_END: usize = 14;
const ID_FROM_END: usize = BODY.len() + 2;

/// The packets of one connection's points, one behind the other.
#[derive(Clone, Debug)]
pub struct Templates {
    bytes: Vec<u8>,
    /// Where each begins; one more than there are points.
    starts: Vec<usize>,
    with_id: bool,
}

impl Templates {
    /// Topics must be shorter than 65,536 bytes; [`Load`](super::Load) lets none over 200 through.
    #[must_use]
    pub fn new<'a>(topics: impl Iterator<Item = &'a str>, qos: Qos) -> Self {
        let with_id = qos == Qos::AtLeastOnce;
        let (mut bytes, mut starts) = (Vec::new(), vec![0]);
        for topic in topics {
            bytes.push(if with_id { 0x32 } else { 0x30 });
            let mut remaining = 2 + topic.len() + if with_id { 2 } else { 0 } + BODY.len();
            while remaining >= 128 {
                bytes.push((remaining % 128) as u8 | 0x80);
                remaining /= 128;
            }
            bytes.push(remaining as u8);
            bytes.extend_from_slice(&(topic.len() as u16).to_be_bytes());
            bytes.extend_from_slice(topic.as_bytes());
            if with_id {
                bytes.extend_from_slice(&[0, 0]);
            }
            bytes.extend_from_slice(BODY);
            starts.push(bytes.len());
        }
        Self { bytes, starts, with_id }
    }

    /// Points that have a packet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends the message of `point` to `out`. The packet id is left out in QoS 0.
    pub fn write(&self, point: usize, hundredths: u16, time_ms: u64, packet_id: u16, out: &mut Vec<u8>) {
        let packet = &self.bytes[self.starts[point]..self.starts[point + 1]];
        out.extend_from_slice(packet);
        let end = out.len();
        if self.with_id {
            out[end - ID_FROM_END..end - ID_FROM_END + 2].copy_from_slice(&packet_id.to_be_bytes());
        }
        let value = &mut out[end - VALUE_FROM_END..end - VALUE_FROM_END + 4];
        value[0] = b'0' + (hundredths / 100 % 10) as u8;
        value[2..].copy_from_slice(&pair(u32::from(hundredths % 100)));
        let time = &mut out[end - TIME_FROM_END..end - TIME_FROM_END + 13];
        let (high, low) = ((time_ms / 100_000_000) as u32, (time_ms % 100_000_000) as u32);
        time[0] = b'0' + (high / 10_000 % 10) as u8;
        time[1..3].copy_from_slice(&pair(high / 100 % 100));
        time[3..5].copy_from_slice(&pair(high % 100));
        time[5..7].copy_from_slice(&pair(low / 1_000_000));
        time[7..9].copy_from_slice(&pair(low / 10_000 % 100));
        time[9..11].copy_from_slice(&pair(low / 100 % 100));
        time[11..13].copy_from_slice(&pair(low % 100));
    }
}

/// Two digits of a number below 100.
fn pair(number: u32) -> [u8; 2] {
    [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]
}

/// The value, in hundredths, that `point` has at `time`: looks like noise, is always the same.
pub(super) fn value_of(point: u64, time: u64, values: &RangeInclusive<u16>) -> u16 {
    let mixed = (time ^ (point << 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 48;
    let span = u64::from(values.end() - values.start()) + 1;
    values.start() + ((mixed * span) >> 16) as u16
}
