//! What a decode script can ask of its payload.
//!
//! | asked | says |
//! |---|---|
//! | `bytes.len`, `bytes[i]` | number of bytes; one of them, 0 to 255 |
//! | `u8(i)`, `i8(i)` | one byte |
//! | `u16_be(i)`, `u16_le(i)`, `i16_*`, `u32_*`, `i32_*`, `i64_*` | an integer, high or low byte first |
//! | `f32_be(i)`, `f32_le(i)`, `f64_be(i)`, `f64_le(i)` | a float |
//! | `bit(i, n)` | bit n of byte i, n = 0 is the lowest: true or false |
//! | `bcd(i, n)` | n bytes of two decimal digits each, as an integer |
//! | `slice(i, n)` | n bytes from i |
//! | `text(i, n)`, `text()` | UTF-8 text; other bytes become U+FFFD |
//! | `hex()` | `"a55a01"` |
//! | `find(byte, i)` | where that byte stands first, from i; -1 when nowhere |
//! | `sum8(i, n)`, `xor8(i, n)` | check sums of n bytes from i, 0 to 255 |
//! | `crc16(i, n)` | CRC-16/MODBUS: polynomial 0xA001, start 0xFFFF |
//! | `crc16_ccitt(i, n)` | CRC-16/CCITT-FALSE: polynomial 0x1021, start 0xFFFF |
//! | `parse_number(text)` | a float, or `()` when the text is none |
//!
//! Reading beyond the end is an error that names the place. What looks at many bytes at once is paid for
//! from a budget of its own, so that no loop around it takes longer than a plain loop may.

use std::cell::Cell;
use std::rc::Rc;

use rhai::{Dynamic, Engine, EvalAltResult, INT, ImmutableString};

use crate::decode::scalar;

type RhaiResult<T> = Result<T, Box<EvalAltResult>>;

/// Bytes that the functions over many bytes may look at in one message.
const BUDGET_BYTES: usize = 1 << 20;

/// A payload or a part of it; cheap to clone.
#[derive(Clone)]
pub struct Bytes {
    all: Rc<[u8]>,
    from: usize,
    to: usize,
    left: Rc<Cell<usize>>,
}

impl Bytes {
    pub fn of(payload: &[u8]) -> Self {
        Self { all: payload.into(), from: 0, to: payload.len(), left: Rc::new(Cell::new(BUDGET_BYTES)) }
    }

    fn whole(&self) -> &[u8] {
        &self.all[self.from..self.to]
    }

    fn at<const N: usize>(&self, place: INT) -> RhaiResult<[u8; N]> {
        let found = usize::try_from(place).ok().and_then(|place| self.whole().get(place..)?.first_chunk());
        found.copied().ok_or_else(|| self.beyond(place, N as INT))
    }

    fn part(&self, place: INT, count: INT) -> RhaiResult<&[u8]> {
        let bytes = || {
            let (place, count) = (usize::try_from(place).ok()?, usize::try_from(count).ok()?);
            self.whole().get(place..place.checked_add(count)?)
        };
        let bytes = bytes().ok_or_else(|| self.beyond(place, count))?;
        self.pay(bytes.len())?;
        Ok(bytes)
    }

    fn pay(&self, count: usize) -> RhaiResult<()> {
        let left = self.left.get().checked_sub(count);
        self.left.set(left.ok_or("too many bytes were looked at for one message")?);
        Ok(())
    }

    #[cold]
    fn beyond(&self, place: INT, count: INT) -> Box<EvalAltResult> {
        format!("{count} bytes at {place} are beyond the {} that there are", self.whole().len()).into()
    }
}

pub fn register(engine: &mut Engine) {
    engine.register_type_with_name::<Bytes>("Bytes");
    engine.register_get("len", |bytes: &mut Bytes| bytes.whole().len() as INT);
    engine.register_fn("len", |bytes: &mut Bytes| bytes.whole().len() as INT);
    engine.register_indexer_get(|bytes: &mut Bytes, place: INT| -> RhaiResult<INT> {
        Ok(INT::from(bytes.at::<1>(place)?[0]))
    });
    numbers(engine);
    engine.register_fn("bit", |bytes: &mut Bytes, place: INT, bit: INT| -> RhaiResult<bool> {
        match bit {
            0..=7 => Ok(bytes.at::<1>(place)?[0] >> bit & 1 == 1),
            _ => Err(format!("bit {bit} is not one of 0 to 7").into()),
        }
    });
    engine.register_fn("bcd", |bytes: &mut Bytes, place: INT, count: INT| -> RhaiResult<INT> {
        if !(1..=9).contains(&count) {
            return Err(format!("bcd of {count} bytes: 1 to 9 fit an integer").into());
        }
        bytes.part(place, count)?.iter().try_fold(0, |number: INT, byte| {
            let (high, low) = (INT::from(byte >> 4), INT::from(byte & 15));
            if high > 9 || low > 9 {
                return Err(format!("byte {byte:#04x} is not two decimal digits").into());
            }
            Ok(number * 100 + high * 10 + low)
        })
    });
    engine.register_fn("slice", |bytes: &mut Bytes, place: INT, count: INT| -> RhaiResult<Bytes> {
        bytes.part(place, count)?;
        // `part` has proven both to be in range.
        let (place, count) = (place as usize, count as usize);
        let from = bytes.from + place;
        Ok(Bytes { from, to: from + count, ..bytes.clone() })
    });
    engine.register_fn("text", |bytes: &mut Bytes, place: INT, count: INT| -> RhaiResult<ImmutableString> {
        Ok(String::from_utf8_lossy(short(bytes.part(place, count)?)?).as_ref().into())
    });
    engine.register_fn("text", |bytes: &mut Bytes| -> RhaiResult<ImmutableString> {
        bytes.pay(bytes.whole().len())?;
        Ok(String::from_utf8_lossy(short(bytes.whole())?).as_ref().into())
    });
    engine.register_fn("hex", |bytes: &mut Bytes| -> RhaiResult<ImmutableString> {
        use std::fmt::Write as _;
        bytes.pay(bytes.whole().len())?;
        let text = short(bytes.whole())?.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a string takes every write");
            text
        });
        Ok(text.into())
    });
    engine.register_fn("find", |bytes: &mut Bytes, byte: INT, from: INT| -> RhaiResult<INT> {
        let length = bytes.whole().len() as INT;
        let found = bytes.part(from, length.saturating_sub(from))?.iter().position(|one| INT::from(*one) == byte);
        Ok(found.map_or(-1, |place| place as INT + from))
    });
    over_bytes(engine, "sum8", |bytes| INT::from(bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte))));
    over_bytes(engine, "xor8", |bytes| INT::from(bytes.iter().fold(0_u8, |sum, byte| sum ^ byte)));
    over_bytes(engine, "crc16", crc16_modbus);
    over_bytes(engine, "crc16_ccitt", crc16_ccitt);
    engine.register_fn("parse_number", |text: ImmutableString| {
        scalar::written(text.trim()).map_or(Dynamic::UNIT, Dynamic::from_float)
    });
}

fn numbers(engine: &mut Engine) {
    macro_rules! read {
        ($($name:literal $type:ty, $from:ident, $as:ty;)*) => {
            $(engine.register_fn($name, |bytes: &mut Bytes, place: INT| -> RhaiResult<$as> {
                Ok(<$type>::$from(bytes.at(place)?) as $as)
            });)*
        };
    }
    read! {
        "u8" u8, from_be_bytes, INT; "i8" i8, from_be_bytes, INT;
        "u16_be" u16, from_be_bytes, INT; "u16_le" u16, from_le_bytes, INT;
        "i16_be" i16, from_be_bytes, INT; "i16_le" i16, from_le_bytes, INT;
        "u32_be" u32, from_be_bytes, INT; "u32_le" u32, from_le_bytes, INT;
        "i32_be" i32, from_be_bytes, INT; "i32_le" i32, from_le_bytes, INT;
        "i64_be" i64, from_be_bytes, INT; "i64_le" i64, from_le_bytes, INT;
        "f32_be" f32, from_be_bytes, f64; "f32_le" f32, from_le_bytes, f64;
        "f64_be" f64, from_be_bytes, f64; "f64_le" f64, from_le_bytes, f64;
    }
}

/// Longer texts than a script may hold.
fn short(bytes: &[u8]) -> RhaiResult<&[u8]> {
    if bytes.len() > 1_024 { Err("a text has at most 1024 bytes".into()) } else { Ok(bytes) }
}

fn over_bytes(engine: &mut Engine, name: &'static str, of: fn(&[u8]) -> INT) {
    engine.register_fn(name, move |bytes: &mut Bytes, place: INT, count: INT| {
        Ok::<_, Box<EvalAltResult>>(of(bytes.part(place, count)?))
    });
}

fn crc16_modbus(bytes: &[u8]) -> INT {
    let crc = bytes.iter().fold(0xFFFF_u16, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xA001 } else { crc >> 1 })
    });
    INT::from(crc)
}

fn crc16_ccitt(bytes: &[u8]) -> INT {
    let crc = bytes.iter().fold(0xFFFF_u16, |crc, byte| {
        let crc = crc ^ u16::from(*byte) << 8;
        (0..8).fold(crc, |crc, _| if crc & 0x8000 != 0 { crc << 1 ^ 0x1021 } else { crc << 1 })
    });
    INT::from(crc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_sums_have_their_published_check_values() {
        // "123456789" is the customary check string of CRC catalogues.
        assert_eq!(crc16_modbus(b"123456789"), 0x4B37);
        assert_eq!(crc16_ccitt(b"123456789"), 0x29B1);
    }

    #[test]
    fn a_place_beyond_the_end_is_an_error() {
        let bytes = Bytes::of(&[1, 2, 3]);
        assert_eq!(bytes.at::<2>(1).unwrap(), [2, 3]);
        for place in [-1, 2, INT::MAX, INT::MIN] {
            assert!(bytes.at::<2>(place).unwrap_err().to_string().contains("beyond the 3 that there are"), "{place}");
        }
        for (place, count) in [(0, 4), (4, 0), (-1, 1), (1, -1), (INT::MAX, INT::MAX)] {
            assert!(bytes.part(place, count).is_err(), "{place} {count}");
        }
    }

    #[test]
    fn many_looks_at_many_bytes_are_bounded() {
        let bytes = Bytes::of(&[0; 1_000]);
        let looks = (0..10_000).take_while(|_| bytes.clone().part(0, 1_000).is_ok()).count();
        assert_eq!(looks, BUDGET_BYTES / 1_000);
    }
}
