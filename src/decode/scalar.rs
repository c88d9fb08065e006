//! A single JSON value and what it says: a reading, or a moment.
//!
//! In comes the value as it stands in the payload; out goes an `f64` or a [`Timestamp`]. Integers are read
//! exactly. A value that is no number is a [`Fate`]; a time that cannot be read is [`UNREADABLE`], so that
//! its sample is flagged: an unset clock must not look like a sensor that sends no time.

use super::json;
use crate::ledger::Fate;
use crate::model::Timestamp;

/// Stands for a time that is there and makes no sense; `Sample::received` flags it as absurd.
pub const UNREADABLE: Timestamp = Timestamp::MIN;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar<'a> {
    /// As written, valid by JSON's grammar.
    Number(&'a str),
    /// `NaN`, `-Infinity`, ...
    NonFinite(f64),
    Bool(bool),
    Null,
    /// Between its quotes, as written: may hold escapes.
    Text(&'a str),
}

impl<'a> Scalar<'a> {
    /// From the text of a validated value that is neither object nor array.
    pub fn of(text: &'a str) -> Option<Self> {
        match text.as_bytes() {
            [b'"', .., b'"'] => Some(Self::Text(&text[1..text.len() - 1])),
            [b'0'..=b'9', ..] | [b'-', b'0'..=b'9', ..] => Some(Self::Number(text)),
            _ => Self::word(text),
        }
    }

    /// The words that may stand for a value.
    pub fn word(text: &str) -> Option<Self> {
        match text {
            "true" => return Some(Self::Bool(true)),
            "false" => return Some(Self::Bool(false)),
            "null" => return Some(Self::Null),
            _ => {}
        }
        let (sign, word) = text.strip_prefix('-').map_or((1.0, text), |word| (-1.0, word));
        if word.eq_ignore_ascii_case("nan") {
            Some(Self::NonFinite(f64::NAN))
        } else if word.eq_ignore_ascii_case("inf") || word.eq_ignore_ascii_case("infinity") {
            Some(Self::NonFinite(sign * f64::INFINITY))
        } else {
            None
        }
    }

    /// What a sensor says: a number, or a switch as 0 or 1. A number in quotes only if `strings`.
    pub fn reading(self, strings: bool) -> Result<f64, Fate> {
        match self {
            Self::Number(text) => Ok(number(text)),
            Self::NonFinite(value) => Ok(value),
            Self::Bool(on) => Ok(f64::from(u8::from(on))),
            // Rust reads "nan" and "inf" too: bad samples, as when they are spelled out without quotes.
            Self::Text(text) if strings => text.trim().parse().map_err(|_| Fate::NoValue),
            Self::Text(_) | Self::Null => Err(Fate::NoValue),
        }
    }

    /// When it was measured; `None` if the payload leaves it open.
    pub fn moment(self) -> Option<Timestamp> {
        match self {
            Self::Null => None,
            Self::Number(text) => {
                let read = match text.parse::<i64>() {
                    Ok(integer) => from_integer(integer),
                    Err(_) => Timestamp::from_number(number(text)),
                };
                Some(read.unwrap_or(UNREADABLE))
            }
            Self::Text(raw) if raw.as_bytes().contains(&b'\\') => {
                Some(json::unescaped(raw).and_then(|text| from_text(&text)).unwrap_or(UNREADABLE))
            }
            Self::Text(text) => Some(from_text(text).unwrap_or(UNREADABLE)),
            Self::NonFinite(_) | Self::Bool(_) => Some(UNREADABLE),
        }
    }
}

/// A number as devices write it outside JSON: `+1.5`, `.5`, `1e3`, `nan`, and `true` or `false` of a switch.
pub fn written(text: &str) -> Option<f64> {
    let bytes = text.as_bytes();
    if bytes.last().is_some_and(u8::is_ascii_digit) && json::plain_end(bytes, 0) == Some(bytes.len()) {
        return Some(number(text));
    }
    match text {
        "true" => Some(1.0),
        "false" => Some(0.0),
        _ => text.parse().ok(),
    }
}

/// A moment outside JSON: a number as in JSON, or RFC 3339.
pub fn from_text(text: &str) -> Option<Timestamp> {
    match text.parse::<i64>() {
        Ok(integer) => from_integer(integer),
        Err(_) => Timestamp::parse(text),
    }
}

/// `Timestamp::from_number` for whole numbers, exact above 2^53 as well.
pub fn from_integer(number: i64) -> Option<Timestamp> {
    match number {
        ..0 => None,
        0..100_000_000_000 => Some(Timestamp::from_micros(number * 1_000_000)),
        100_000_000_000..100_000_000_000_000 => Some(Timestamp::from_micros(number * 1_000)),
        100_000_000_000_000.. => Some(Timestamp::from_micros(number)),
    }
}

/// The nearest `f64`, as the standard library reads it; infinite when too large.
///
/// Readings have few digits: both the digits as an integer below 2^53 and the power of ten are exact then,
/// so that one division rounds once and correctly. Anything longer goes to the library.
fn number(text: &str) -> f64 {
    const TENS: [f64; 16] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    if digits.len() <= 16 {
        let mut whole = 0_u64;
        let mut decimals = 0;
        let mut behind_point = 0;
        let mut short = true;
        for byte in digits.bytes() {
            match byte {
                b'0'..=b'9' => {
                    whole = whole * 10 + u64::from(byte - b'0');
                    decimals += behind_point;
                }
                b'.' => behind_point = 1,
                _ => short = false,
            }
        }
        if short
            && whole < 1 << 53
            && let Some(ten) = TENS.get(decimals)
        {
            let value = whole as f64 / ten;
            return if negative { -value } else { value };
        }
    }
    text.parse().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whole_times_are_exact_and_agree_with_the_model() {
        for micros in [1_790_000_000_123_457_i64, 9_007_199_254_740_993] {
            assert_eq!(Scalar::Number(&micros.to_string()).moment(), Some(Timestamp::from_micros(micros)));
        }
        for number in [0, 1, 99_999_999_999, 100_000_000_000, 1_790_000_000_123, 100_000_000_000_000] {
            assert_eq!(from_integer(number), Timestamp::from_number(number as f64), "{number}");
        }
        assert_eq!(Scalar::Number("1790000000.5").moment(), Some(Timestamp::from_micros(1_790_000_000_500_000)));
        assert_eq!(Scalar::Text("2026-11-23T08:00:00+08:00").moment(), Some(Timestamp::from_secs(1_795_392_000)));
    }

    #[test]
    fn a_time_that_makes_no_sense_is_not_a_missing_time() {
        assert_eq!(Scalar::Null.moment(), None);
        for absurd in [
            Scalar::Number("-5"),
            Scalar::Number("1e300"),
            Scalar::Number("1e400"),
            Scalar::Text("yesterday"),
            Scalar::Text("\\ud800"),
            Scalar::Bool(true),
            Scalar::NonFinite(f64::NAN),
        ] {
            assert_eq!(absurd.moment(), Some(UNREADABLE), "{absurd:?}");
        }
    }

    #[test]
    fn numbers_in_quotes_count_only_where_that_is_configured() {
        assert_eq!(Scalar::Text("0.42").reading(true), Ok(0.42));
        assert_eq!(Scalar::Text(" -3 ").reading(true), Ok(-3.0));
        assert_eq!(Scalar::Text("0.42").reading(false), Err(Fate::NoValue));
        assert_eq!(Scalar::Text("high").reading(true), Err(Fate::NoValue));
        assert_eq!(Scalar::Bool(true).reading(false), Ok(1.0));
    }

    proptest! {
        /// The short way must round as the library does, to the last bit.
        #[test]
        fn numbers_are_read_to_the_last_bit(text in "-?(0|[1-9][0-9]{0,17})(\\.[0-9]{1,18})?([eE][+-]?[0-9]{1,3})?") {
            let expected: f64 = text.parse().unwrap();
            prop_assert_eq!(number(&text).to_bits(), expected.to_bits());
        }
    }
}
