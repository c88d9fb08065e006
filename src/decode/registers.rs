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

use crate::model::{Quality, Range, Reason};

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
}

impl Type {
    pub const ALL: [Self; 9] = [
        Self::Bit,
        Self::Int16,
        Self::Uint16,
        Self::Int32,
        Self::Uint32,
        Self::Float32,
        Self::Int64,
        Self::Uint64,
        Self::Float64,
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
        }
    }

    /// Registers (or, for a coil, bits) that one value takes.
    #[must_use]
    pub const fn registers(self) -> u16 {
        match self {
            Self::Bit | Self::Int16 | Self::Uint16 => 1,
            Self::Int32 | Self::Uint32 | Self::Float32 => 2,
            Self::Int64 | Self::Uint64 | Self::Float64 => 4,
        }
    }

    #[must_use]
    pub const fn is_float(self) -> bool {
        matches!(self, Self::Float32 | Self::Float64)
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
    /// Which bit of the register, for `Type::Bit`: 0 is the least significant.
    pub bit: u8,
    pub scale: Scale,
    pub offset: f64,
    pub invalid: Vec<Code>,
    /// What an invalid code means.
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
            bit: 0,
            scale: Scale::Multiply(1.0),
            offset: 0.0,
            invalid: Vec::new(),
            invalid_means: Reason::SensorFault,
            range: None,
        }
    }

    /// Value and quality of exactly `kind.registers()` words; any other number of words is no answer.
    #[must_use]
    pub fn read(&self, words: &[u16]) -> (f64, Quality) {
        if words.len() != usize::from(self.kind.registers()) {
            return (0.0, Quality::because(Reason::NotPolled));
        }
        let bits = self.order.arranged(words);
        let number = self.number(bits);
        if self.invalid.iter().any(|code| self.is(*code, bits)) {
            return (0.0, Quality::because(self.invalid_means));
        }
        let value = self.scale.apply(number) + self.offset;
        if !value.is_finite() {
            return (0.0, Quality::because(Reason::NonFinite));
        }
        match self.range {
            Some(range) if value < range.low || value > range.high => (value, Quality::because(Reason::OverRange)),
            Some(_) | None => (value, Quality::GOOD),
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the type says how many of the bits there are")]
    fn number(&self, bits: u64) -> f64 {
        match self.kind {
            Type::Bit => f64::from((bits >> self.bit & 1) as u8),
            Type::Int16 => f64::from(bits as u16 as i16),
            Type::Uint16 => f64::from(bits as u16),
            Type::Int32 => f64::from(bits as u32 as i32),
            Type::Uint32 => f64::from(bits as u32),
            Type::Float32 => shortest(f32::from_bits(bits as u32)),
            Type::Int64 => bits as i64 as f64,
            Type::Uint64 => bits as f64,
            Type::Float64 => f64::from_bits(bits),
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "a float32 is compared as a float32")]
    fn is(&self, code: Code, bits: u64) -> bool {
        match (code, self.kind) {
            (Code::Bits(invalid), _) => bits == invalid,
            (Code::Number(invalid), Type::Float32) => f32::from_bits(bits as u32) == invalid as f32,
            (Code::Number(invalid), _) => self.number(bits) == invalid,
        }
    }
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
