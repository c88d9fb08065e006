//! Modbus registers and bits into a value and its quality. Pure: no socket, no clock.
//!
//! In come the words of one point exactly as they stood on the wire, and the word of its status register;
//! out go a finite value in the point's unit and the reasons why it may not be trusted. An invalid code,
//! NaN or a non-finite result is never passed on as a number: it is 0.0 and bad.
//!
//! The order of bytes is named by example. `A` is the most significant byte of the value, so the bytes of
//! 123456.0 (`47 F1 20 00`) stand on the wire as
//! ```text
//!  ABCD  47F1 2000   big-endian        CDAB  2000 47F1   low word first
//!  BADC  F147 0020   bytes swapped     DCBA  0020 F147   little-endian
//! ```
//! 64-bit values follow the same idea: ABCD `ABCDEFGH`, CDAB `GHEFCDAB`, BADC `BADCFEHG`, DCBA `HGFEDCBA`.
//! A 16-bit value has one word, so ABCD and CDAB mean `AB`, BADC and DCBA mean `BA`.

mod counter;
mod heartbeat;
mod signal;

use crate::model::{Quality, Range, Reason};

pub use counter::{Counter, Fall};
pub use heartbeat::{Heartbeat, Pulse};
pub use signal::Signal;

/// How the registers of a value are to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// One coil or discrete input, or one bit of a register.
    Bit,
    Int16,
    Uint16,
    Int32,
    Uint32,
    Float32,
    /// Beyond 2^53 a count loses its last digits: samples are doubles.
    Int64,
    Uint64,
    Float64,
    /// Four decimal digits, one in each half byte: 0x0209 is 209. A half byte above 9 is no digit.
    Bcd16,
    /// Eight decimal digits in two registers.
    Bcd32,
}

impl Type {
    pub const ALL: [Self; 11] = [
        Self::Bit,
        Self::Int16,
        Self::Uint16,
        Self::Int32,
        Self::Uint32,
        Self::Float32,
        Self::Int64,
        Self::Uint64,
        Self::Float64,
        Self::Bcd16,
        Self::Bcd32,
    ];

    /// The word used in files.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Bit => "bit",
            Self::Int16 => "int16",
            Self::Uint16 => "uint16",
            Self::Int32 => "int32",
            Self::Uint32 => "uint32",
            Self::Float32 => "float32",
            Self::Int64 => "int64",
            Self::Uint64 => "uint64",
            Self::Float64 => "float64",
            Self::Bcd16 => "bcd16",
            Self::Bcd32 => "bcd32",
        }
    }

    /// Registers (or, for a coil, bits) that one value takes.
    #[must_use]
    pub const fn registers(self) -> u16 {
        match self {
            Self::Bit | Self::Int16 | Self::Uint16 | Self::Bcd16 => 1,
            Self::Int32 | Self::Uint32 | Self::Float32 | Self::Bcd32 => 2,
            Self::Int64 | Self::Uint64 | Self::Float64 => 4,
        }
    }

    #[must_use]
    pub const fn is_float(self) -> bool {
        matches!(self, Self::Float32 | Self::Float64)
    }

    /// Is it a plain pattern of bits, of which a part may be a value of its own?
    #[must_use]
    pub const fn is_unsigned(self) -> bool {
        matches!(self, Self::Uint16 | Self::Uint32 | Self::Uint64)
    }

    /// The count after which a counter of this type begins at 0 again; `None` where counting makes no sense.
    #[must_use]
    pub const fn wrap(self) -> Option<f64> {
        match self {
            Self::Uint16 => Some(65_536.0),
            Self::Uint32 => Some(4_294_967_296.0),
            Self::Uint64 => Some(18_446_744_073_709_551_616.0),
            Self::Bcd16 => Some(10_000.0),
            Self::Bcd32 => Some(100_000_000.0),
            Self::Bit | Self::Int16 | Self::Int32 | Self::Int64 | Self::Float32 | Self::Float64 => None,
        }
    }
}

/// Bits of an unsigned value that are a value of their own: `lowest` counts from 0, the least significant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub lowest: u8,
    /// At least 1.
    pub width: u8,
}

impl Part {
    #[must_use]
    pub const fn bit(number: u8) -> Self {
        Self { lowest: number, width: 1 }
    }

    fn of(self, bits: u64) -> u64 {
        let mask = u64::MAX.checked_shr(64_u32.saturating_sub(self.width.into())).unwrap_or(0);
        bits.checked_shr(self.lowest.into()).unwrap_or(0) & mask
    }
}

/// Order of bytes on the wire, named by example (see the module).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    Abcd,
    Cdab,
    Badc,
    Dcba,
}

impl Order {
    pub const ALL: [Self; 4] = [Self::Abcd, Self::Cdab, Self::Badc, Self::Dcba];

    /// The word used in files.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Abcd => "ABCD",
            Self::Cdab => "CDAB",
            Self::Badc => "BADC",
            Self::Dcba => "DCBA",
        }
    }

    /// The words of the wire as one number, most significant byte first.
    fn arranged(self, words: &[u16]) -> u64 {
        let swap = matches!(self, Self::Badc | Self::Dcba);
        let push = |bits: u64, word: &u16| bits << 16 | u64::from(if swap { word.swap_bytes() } else { *word });
        match self {
            Self::Abcd | Self::Badc => words.iter().fold(0, push),
            Self::Cdab | Self::Dcba => words.iter().rev().fold(0, push),
        }
    }
}

/// What turns the device's number into the point's unit. Where the factor is one over a whole number it
/// is a division, because 235 / 10 is exactly the 23.5 of a rule's limit and 235 * 0.1 may miss it by a bit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    Multiply(f64),
    Divide(f64),
}

impl Scale {
    #[must_use]
    pub fn by(factor: f64) -> Self {
        let inverse = (1.0 / factor).round();
        if inverse.abs() > 1.0 && inverse.abs() < 1e15 && 1.0 / inverse == factor {
            Self::Divide(inverse)
        } else {
            Self::Multiply(factor)
        }
    }

    fn apply(self, number: f64) -> f64 {
        match self {
            Self::Multiply(factor) => number * factor,
            Self::Divide(divisor) => number / divisor,
        }
    }
}

/// A raw value by which the device says that it has none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Code {
    /// Bit pattern of an integer, after the bytes were put in order: 0x7FFF, 65535.
    Bits(u64),
    /// Value of a float before scaling: -9999.0.
    Number(f64),
}

/// How the words of one point become its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    pub kind: Type,
    pub order: Order,
    /// Only these bits of a register or an unsigned value.
    pub part: Option<Part>,
    pub scale: Scale,
    pub offset: f64,
    /// The scaled number is the signal of a current loop, and `range` what it stands for.
    pub signal: Option<Signal>,
    pub invalid: Vec<Code>,
    /// What an invalid code means, and a BCD value that has no digits.
    pub invalid_means: Reason,
    /// In the point's unit; a value outside is uncertain, its alarm stands.
    pub range: Option<Range>,
}

impl Reading {
    /// An unscaled value of that type.
    #[must_use]
    pub const fn plain(kind: Type, order: Order) -> Self {
        Self {
            kind,
            order,
            part: None,
            scale: Scale::Multiply(1.0),
            offset: 0.0,
            signal: None,
            invalid: Vec::new(),
            invalid_means: Reason::SensorFault,
            range: None,
        }
    }

    /// Value and quality of exactly `kind.registers()` words; any other number of words is no answer.
    #[must_use]
    pub fn read(&self, words: &[u16]) -> (f64, Quality) {
        match self.number(words) {
            Ok(number) => self.value(number),
            Err(reason) => (0.0, Quality::because(reason)),
        }
    }

    /// The device's number, before it is scaled: a counter's count.
    ///
    /// # Errors
    /// The reason why there is none: too few or too many words, an invalid code, no decimal digits.
    pub fn number(&self, words: &[u16]) -> Result<f64, Reason> {
        if words.len() != usize::from(self.kind.registers()) {
            return Err(Reason::NotPolled);
        }
        let bits = self.order.arranged(words);
        if self.invalid.iter().any(|code| self.is(*code, bits)) {
            return Err(self.invalid_means);
        }
        decoded(self.kind, self.part.map_or(bits, |part| part.of(bits))).ok_or(self.invalid_means)
    }

    /// The device's number in the point's unit, and whether it may be trusted.
    #[must_use]
    pub fn value(&self, number: f64) -> (f64, Quality) {
        let scaled = self.scale.apply(number) + self.offset;
        if !scaled.is_finite() {
            return (0.0, Quality::because(Reason::NonFinite));
        }
        let (value, range) = match (self.signal, self.range) {
            (Some(signal), Some(range)) => match signal.value(scaled, range) {
                Ok(value) => (value, Some(signal.measuring(range))),
                Err(reason) => return (0.0, Quality::because(reason)),
            },
            (_, range) => (scaled, range),
        };
        match range {
            Some(range) if value < range.low || value > range.high => (value, Quality::because(Reason::OverRange)),
            Some(_) | None => (value, Quality::GOOD),
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "a float32 is compared as a float32")]
    fn is(&self, code: Code, bits: u64) -> bool {
        match (code, self.kind) {
            (Code::Bits(invalid), _) => bits == invalid,
            (Code::Number(invalid), Type::Float32) => f32::from_bits(bits as u32) == invalid as f32,
            (Code::Number(invalid), kind) => decoded(kind, bits) == Some(invalid),
        }
    }
}

/// The number that the bits of a type stand for; `None` for a BCD value with a half byte above 9.
#[expect(clippy::cast_possible_truncation, reason = "the type says how many of the bits there are")]
fn decoded(kind: Type, bits: u64) -> Option<f64> {
    Some(match kind {
        Type::Bit => f64::from((bits & 1) as u8),
        Type::Int16 => f64::from(bits as u16 as i16),
        Type::Uint16 => f64::from(bits as u16),
        Type::Int32 => f64::from(bits as u32 as i32),
        Type::Uint32 => f64::from(bits as u32),
        Type::Float32 => shortest(f32::from_bits(bits as u32)),
        Type::Int64 => bits as i64 as f64,
        Type::Uint64 => bits as f64,
        Type::Float64 => f64::from_bits(bits),
        Type::Bcd16 | Type::Bcd32 => {
            let digits = 4 * u32::from(kind.registers());
            let digit = |number: Option<u32>, at: u32| {
                let digit = (bits >> (4 * at) & 0xF) as u32;
                number.filter(|_| digit <= 9).map(|number| number * 10 + digit)
            };
            f64::from((0..digits).rev().fold(Some(0), digit)?)
        }
    })
}

/// The short decimal that the device meant, where the float32 stands for one: 0.7 rather than the
/// 0.699999988 that never reaches a limit of 0.7. The result is the same float32 when rounded back.
#[expect(clippy::cast_possible_truncation, reason = "rounding back to float32 is the comparison")]
pub(super) fn shortest(number: f32) -> f64 {
    let exact = f64::from(number);
    let size = exact.abs();
    if !(1e-9..1e9).contains(&size) {
        return exact;
    }
    // Six significant digits always survive a float32; both factors below are exact doubles.
    let digits = 5 - size.log10().floor() as i32;
    let decimal = if digits >= 0 {
        let power = 10_f64.powi(digits);
        (exact * power).round() / power
    } else {
        return exact;
    };
    if decimal as f32 == number { decimal } else { exact }
}

/// A group of bits in a status register and what its values mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub mask: u16,
    /// Value of the masked bits, shifted down to bit 0, and its meaning (`None`: all is well).
    pub values: Vec<(u16, Option<Reason>)>,
    /// What a value that is not listed means.
    pub otherwise: Option<Reason>,
}

impl Field {
    /// One bit that means `reason` when it is set.
    #[must_use]
    pub fn bit(number: u8, reason: Reason) -> Self {
        Self { mask: 1 << number, values: vec![(1, Some(reason))], otherwise: None }
    }

    fn meaning(&self, word: u16) -> Option<Reason> {
        let value = (word & self.mask) >> self.mask.trailing_zeros().min(15);
        self.values.iter().find(|(listed, _)| *listed == value).map_or(self.otherwise, |(_, meaning)| *meaning)
    }
}

/// The reasons that a status word gives; several fields may speak at once.
#[must_use]
pub fn status(fields: &[Field], word: u16) -> Quality {
    fields.iter().filter_map(|field| field.meaning(word)).fold(Quality::GOOD, Quality::and)
}

#[cfg(test)]
mod tests;
