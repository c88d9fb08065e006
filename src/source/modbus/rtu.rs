//! RTU frames: eight bytes that ask, and whether what came is the answer. Pure.
//!
//! An RTU frame carries no number and no length of its own ("Modbus over Serial Line V1.02" section 2.5.1),
//! so everything else is held against the question: unit, function, byte count and checksum must all fit,
//! and nothing may follow. tokio-modbus is not used for these frames: it looks for a sound frame further on
//! in what it did not understand, and compares the unit id only, so that a late answer passes for the next.

use tokio_modbus::ExceptionCode;

use super::line::Data;
use super::plan::Read;

/// Longest frame of the standard, section 2.5.1.1, in characters.
pub(super) const LONGEST: f64 = 256.0;

/// Bytes with which drivers disturb a line when they begin to send; so many are read over.
const DISTURBANCE: [u8; 2] = [0x00, 0xFF];
const MOST_DISTURBANCE: usize = 4;

/// What the bytes so far are.
#[derive(Debug, PartialEq)]
pub(super) enum Heard {
    /// A beginning.
    More,
    /// All of the answer and nothing else.
    Answer(Result<Data, ExceptionCode>),
    /// Not the answer, whatever may follow.
    Wrong(String),
}

pub(super) fn request(unit: u8, read: Read) -> [u8; 8] {
    let [a1, a0] = read.address.to_be_bytes();
    let [c1, c0] = read.count.to_be_bytes();
    let asked = [unit, read.function as u8, a1, a0, c1, c0];
    let [low, high] = checksum(&asked).to_le_bytes();
    [asked[0], asked[1], asked[2], asked[3], asked[4], asked[5], low, high]
}

/// Holds what came against the question.
pub(super) fn hear(unit: u8, read: Read, came: &[u8]) -> Heard {
    let disturbed = came.iter().take(MOST_DISTURBANCE).take_while(|byte| **byte != unit && DISTURBANCE.contains(byte));
    let came = &came[disturbed.count()..];
    let function = read.function as u8;
    let data = match came {
        [] | [_] if came.first().is_none_or(|first| *first == unit) => return Heard::More,
        [other, ..] if *other != unit => return Heard::Wrong(format!("it begins with {other:02X}, not unit {unit}")),
        [_, refusal, rest @ ..] if *refusal == function | 0x80 => {
            return match rest {
                [code, _, _] if sound(came) => Heard::Answer(Err(ExceptionCode::new(*code))),
                [_, _, _] => Heard::Wrong("the checksum does not fit".to_owned()),
                [_, _, _, ..] => Heard::Wrong("bytes after its end".to_owned()),
                [] | [_] | [_, _] => Heard::More,
            };
        }
        [_, same, rest @ ..] if *same == function => rest,
        [_, other, ..] => return Heard::Wrong(format!("function {other} instead of {function}")),
        [] | [_] => return Heard::More,
    };
    let expected = bytes(read);
    let [count, data @ ..] = data else { return Heard::More };
    if usize::from(*count) != expected {
        return Heard::Wrong(format!("{count} bytes instead of {expected}"));
    }
    match data.len().checked_sub(expected + 2) {
        None => Heard::More,
        Some(0) if sound(came) => Heard::Answer(Ok(unpacked(read, &data[..expected]))),
        Some(0) => Heard::Wrong("the checksum does not fit".to_owned()),
        Some(_) => Heard::Wrong("bytes after its end".to_owned()),
    }
}

/// Bytes of data that answer the read.
fn bytes(read: Read) -> usize {
    let count = usize::from(read.count);
    if read.function.is_bits() { count.div_ceil(8) } else { count * 2 }
}

fn unpacked(read: Read, data: &[u8]) -> Data {
    if read.function.is_bits() {
        Data::Bits(data.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1)).collect())
    } else {
        Data::Words(data.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect())
    }
}

fn sound(frame: &[u8]) -> bool {
    frame.split_last_chunk::<2>().is_some_and(|(body, sum)| checksum(body) == u16::from_le_bytes(*sum))
}

/// CRC-16 of "Modbus over Serial Line V1.02" section 2.5.1.2, low byte first on the wire.
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |sum, byte| {
        (0..8).fold(sum ^ u16::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xA001 } else { sum >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::register::Function;
    use super::*;

    const READ: Read = Read { function: Function::HoldingRegisters, address: 0x006B, count: 3 };

    fn framed(body: &[u8]) -> Vec<u8> {
        [body, &checksum(body).to_le_bytes()].concat()
    }

    /// The frame that "Modbus over Serial Line V1.02", annex B, gives as its example of the checksum.
    #[test]
    fn the_checksum_is_the_standards() {
        assert_eq!(checksum(&[0x02, 0x07]), 0x1241);
        assert_eq!(request(17, READ)[..6], [17, 3, 0, 0x6B, 0, 3]);
        assert_eq!(checksum(&request(17, READ)), 0, "a frame with its own checksum has none left");
    }

    #[test]
    fn only_the_whole_right_answer_is_the_answer() {
        let right = framed(&[17, 3, 6, 0xAE, 0x41, 0x56, 0x52, 0x43, 0x40]);
        for end in 0..right.len() {
            assert_eq!(hear(17, READ, &right[..end]), Heard::More, "{end} bytes");
        }
        let answer = Heard::Answer(Ok(Data::Words(vec![0xAE41, 0x5652, 0x4340])));
        assert_eq!(hear(17, READ, &right), answer);
        assert_eq!(hear(17, READ, &[&[0, 0xFF, 0][..], &right].concat()), answer, "a driver that switches on");
        let refusal = framed(&[17, 0x83, 2]);
        assert_eq!(hear(17, READ, &refusal), Heard::Answer(Err(ExceptionCode::IllegalDataAddress)));
        let coils = Read { function: Function::Coils, address: 0, count: 10 };
        let bits = Heard::Answer(Ok(Data::Bits((0..16).map(|bit| bit == 0 || bit == 9).collect())));
        assert_eq!(hear(17, coils, &framed(&[17, 1, 2, 1, 2])), bits);
        for (wrong, why) in [
            (framed(&[18, 3, 6, 1, 2, 3, 4, 5, 6]), "begins with 12"),
            (framed(&[17, 4, 6, 1, 2, 3, 4, 5, 6]), "function 4 instead of 3"),
            (framed(&[17, 0x84, 2]), "function 132"),
            (framed(&[17, 3, 4, 1, 2, 3, 4]), "4 bytes instead of 6"),
            (framed(&[17, 3, 8, 1, 2, 3, 4, 5, 6, 7, 8]), "8 bytes instead of 6"),
            ([&right[..10], &[0]].concat(), "checksum"),
            ([&right[..], &[0]].concat(), "after its end"),
            ([&refusal[..], &right].concat(), "after its end"),
            ([&refusal[..4], &[0]].concat(), "checksum"),
            (vec![0, 0, 0, 0, 0, 17], "begins with 00"),
        ] {
            let heard = hear(17, READ, &wrong);
            assert!(matches!(&heard, Heard::Wrong(told) if told.contains(why)), "{wrong:02X?}: {heard:?}");
        }
    }

    fn reads() -> impl Strategy<Value = Read> {
        (1_u8..=4, any::<u16>(), 1_u16..=125).prop_map(|(function, address, count)| Read {
            function: Function::numbered(function).unwrap(),
            address,
            count,
        })
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_no_answer(unit in any::<u8>(), read in reads(), came in prop::collection::vec(any::<u8>(), 0..300)) {
            // One in 65,536 fits by chance, and only if unit, function and length do.
            let heard = hear(unit, read, &came);
            if let Heard::Answer(_) = heard {
                prop_assert!(came.ends_with(&checksum(&came[..came.len() - 2]).to_le_bytes()) || DISTURBANCE.contains(&came[0]));
            }
        }

        #[test]
        fn one_damaged_byte_never_passes(unit in 1_u8..=247, read in reads(), seed in any::<u8>(), at in any::<prop::sample::Index>(), damage in 1_u8..) {
            let mut body = vec![unit, read.function as u8, bytes(read) as u8];
            body.extend((0..bytes(read)).map(|n| (n as u8).wrapping_mul(31) ^ seed));
            let mut frame = framed(&body);
            prop_assert!(matches!(hear(unit, read, &frame), Heard::Answer(Ok(_))));
            let at = at.index(frame.len());
            frame[at] ^= damage;
            prop_assert!(!matches!(hear(unit, read, &frame), Heard::Answer(_)), "{:02X?}", frame);
        }
    }
}
