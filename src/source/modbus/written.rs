//! Forms of writing that TOML's own types do not cover. No checks: only what was written.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor, value};

/// `40003` or `"40003"`: a coil's leading zero needs the quotes, and a table of points has only text.
#[derive(Debug)]
pub struct PrintedRegister(pub String);

impl<'de> Deserialize<'de> for PrintedRegister {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Printed;
        impl Visitor<'_> for Printed {
            type Value = PrintedRegister;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a register such as 40003 or \"00003\"")
            }
            fn visit_i64<E>(self, number: i64) -> Result<PrintedRegister, E> {
                Ok(PrintedRegister(number.to_string()))
            }
            fn visit_u64<E>(self, number: u64) -> Result<PrintedRegister, E> {
                Ok(PrintedRegister(number.to_string()))
            }
            fn visit_str<E>(self, text: &str) -> Result<PrintedRegister, E> {
                Ok(PrintedRegister(text.to_owned()))
            }
        }
        from.deserialize_any(Printed)
    }
}

/// `"4-5"`, `"11"` or `11`: bits of a register, 0 is the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits {
    pub lowest: u8,
    pub highest: u8,
}

impl Bits {
    pub fn parse(text: &str) -> Option<Self> {
        let (lowest, highest) = text.split_once('-').unwrap_or((text, text));
        let bits = Self { lowest: lowest.trim().parse().ok()?, highest: highest.trim().parse().ok()? };
        (bits.lowest <= bits.highest && bits.highest < 64).then_some(bits)
    }
}

impl<'de> Deserialize<'de> for Bits {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let PrintedRegister(text) = PrintedRegister::deserialize(from)?;
        let wrong = || serde::de::Error::custom(format!("{text:?} is not bits such as \"4-5\", 0 is the lowest"));
        Self::parse(&text).ok_or_else(wrong)
    }
}

/// A number whose kind matters: an integer is a bit pattern, a float a value.
#[derive(Clone, Copy, Debug)]
pub enum Number {
    Integer(i64),
    Float(f64),
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number:?}"),
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Number;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }
            fn visit_i64<E>(self, number: i64) -> Result<Number, E> {
                Ok(Number::Integer(number))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Number, E> {
                // Beyond i64 only the pattern counts.
                Ok(Number::Integer(number as i64))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Number, E> {
                Ok(Number::Float(number))
            }
        }
        from.deserialize_any(Either)
    }
}

/// A table, or a list of such tables.
pub fn one_or_many<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    struct Tables<T>(std::marker::PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Tables<T> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table or a list of tables")
        }
        fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Vec<T>, M::Error> {
            T::deserialize(value::MapAccessDeserializer::new(map)).map(|one| vec![one])
        }
        fn visit_seq<S: SeqAccess<'de>>(self, list: S) -> Result<Vec<T>, S::Error> {
            Vec::deserialize(value::SeqAccessDeserializer::new(list))
        }
    }
    from.deserialize_any(Tables(std::marker::PhantomData))
}
