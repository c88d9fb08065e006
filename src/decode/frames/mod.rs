//! Frames that field devices send over TCP, as bytes and as what they say. Pure: no socket, clock or log.
//!
//! ```text
//!  stream ─► scan: where does a frame end, is its sum right? ─► read: who says what ─► a source makes samples
//!  stream ◄─ answer: the frame that the protocol expects in return
//! ```
//! One module a protocol: [`gb26875`] fire user devices, [`sl651`] hydrological stations, [`hj212`]
//! environmental monitors. Promised: any bytes whatever give a [`Scan`] in time linear in their length, a frame
//! is told apart from what only looks like one by its sum, and how a stream is cut into segments makes no
//! difference. Never: a panic, or memory beyond what came in.

pub mod gb26875;
pub mod hj212;
pub mod sl651;

pub use crate::model::{Wall, Zone};

/// What stands at the front of a stream. `Frame`, `Damaged` and `Garbage` say how many bytes it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// The beginning of a frame, so far.
    Wants,
    /// A whole frame whose sum is right.
    Frame(usize),
    /// Head, length and end are those of a frame, its sum is not.
    Damaged(usize),
    /// No frame begins in these bytes.
    Garbage(usize),
}

/// The bytes before the next place where `mark` (or the first byte of it, at the very end) stands; at least
/// one, since what stands at the front has been judged.
fn garbage_before(mark: [u8; 2], bytes: &[u8]) -> Scan {
    let next = (1..bytes.len())
        .find(|at| bytes.get(*at) == Some(&mark[0]) && bytes.get(at + 1).is_none_or(|following| *following == mark[1]));
    Scan::Garbage(next.unwrap_or(bytes.len()))
}

/// Does `bytes` begin with `mark`, as far as it goes?
fn may_begin(mark: [u8; 2], bytes: &[u8]) -> bool {
    bytes.iter().zip(mark).all(|(found, expected)| *found == expected)
}

/// CRC-16/MODBUS: polynomial 0xA001 reflected, start 0xFFFF ("123456789" gives 0x4B37).
#[must_use]
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| shifted(crc ^ u16::from(*byte)))
}

/// Eight steps of the division.
fn shifted(crc: u16) -> u16 {
    (0..8).fold(crc, |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xA001 } else { crc >> 1 })
}

/// Two decimal digits in one byte; `None` for a nibble above 9.
fn bcd(byte: u8) -> Option<u8> {
    let (high, low) = (byte >> 4, byte & 0x0F);
    (high <= 9 && low <= 9).then_some(high * 10 + low)
}

const fn to_bcd(number: u8) -> u8 {
    ((number / 10 % 10) << 4) | (number % 10)
}

/// Bytes as hexadecimal digits, as packet captures show them.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02X}").expect("a string takes what is written to it");
        text
    })
}

/// The bytes that [`hex`] shows; `None` for anything else.
#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || text.len() % 2 == 1 {
        return None;
    }
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crc_is_the_published_one() {
        assert_eq!(crc16(b"123456789"), 0x4B37);
    }

    #[test]
    fn beijing_is_eight_hours_ahead_and_back() {
        let wall = Wall { year: 2026, month: 3, day: 1, hour: 7, minute: 59, second: 58 };
        let moment = Zone::BEIJING.moment(wall).unwrap();
        assert_eq!(moment.to_string(), "2026-02-28T23:59:58Z");
        assert_eq!(Zone::BEIJING.wall(moment), wall);
        assert_eq!(Zone::BEIJING.moment(Wall { month: 2, day: 30, ..wall }), None);
        assert_eq!(Zone::BEIJING.moment(Wall { hour: 24, ..wall }), None);
    }

    #[test]
    fn hexadecimal_digits_read_back() {
        assert_eq!(unhex(&hex(&[0, 0xA5, 0xFF])), Some(vec![0, 0xA5, 0xFF]));
        assert_eq!((unhex("0"), unhex("zz"), unhex("路")), (None, None, None));
    }
}
