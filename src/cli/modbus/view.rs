//! Words of a device as everything that they could be. Pure.

use std::fmt;

use crate::decode::registers::{Order, Reading, Type};

/// Types of so many registers, in the order in which people look at them.
pub const PAIRS: [Type; 4] = [Type::Float32, Type::Int32, Type::Uint32, Type::Bcd32];
pub const QUADS: [Type; 3] = [Type::Float64, Type::Int64, Type::Uint64];
const SINGLES: [Type; 3] = [Type::Int16, Type::Uint16, Type::Bcd16];
/// Factors that makers use.
const SCALES: [f64; 4] = [1.0, 0.1, 0.01, 0.001];

/// The number that the words are then; `None` for NaN, infinity, or digits that are none.
pub fn number(kind: Type, order: Order, words: &[u16]) -> Option<f64> {
    Reading::plain(kind, order).number(words).ok().filter(|number| number.is_finite())
}

/// Could a sensor mean this number?
pub fn is_likely(number: f64) -> bool {
    (1e-4..1e9).contains(&number.abs())
}

/// A way to read registers that gives the reading that was expected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// Which of the words it begins with.
    pub at: usize,
    pub kind: Type,
    pub order: Order,
    pub scale: f64,
    /// Scaled.
    pub value: f64,
}

/// All ways in which `words` (`None`: the device has nothing there) give `expected`, the likeliest first.
/// `tolerance` is a share of it: readings move while they are looked at.
pub fn fits(words: &[Option<u16>], expected: f64, tolerance: f64) -> Vec<Fit> {
    let mut found: Vec<Fit> = Vec::new();
    let near = (expected.abs() * tolerance).max(f64::EPSILON);
    for at in 0..words.len() {
        for kind in SINGLES.into_iter().chain(PAIRS).chain(QUADS) {
            let Some(part) = words.get(at..at + usize::from(kind.registers())) else { continue };
            let Some(part) = part.iter().copied().collect::<Option<Vec<u16>>>() else { continue };
            for order in orders(kind) {
                let Some(number) = number(kind, order, &part) else { continue };
                for scale in SCALES.into_iter().filter(|scale| *scale == 1.0 || !kind.is_float()) {
                    let reading =
                        Reading { scale: crate::decode::registers::Scale::by(scale), ..Reading::plain(kind, order) };
                    let (value, _) = reading.value(number);
                    // Signed, unsigned and decimal digits are often the same number: the first one stands for all.
                    let same = |fit: &Fit| {
                        (fit.at, fit.order, fit.value) == (at, order, value) && fit.kind.registers() == kind.registers()
                    };
                    if (value - expected).abs() <= near && !found.iter().any(same) {
                        found.push(Fit { at, kind, order, scale, value });
                    }
                }
            }
        }
    }
    found.sort_by(|a, b| {
        (a.value - expected)
            .abs()
            .total_cmp(&(b.value - expected).abs())
            .then(a.kind.registers().cmp(&b.kind.registers()))
    });
    found
}

/// One register has only two orders of bytes.
pub fn orders(kind: Type) -> impl Iterator<Item = Order> {
    Order::ALL.into_iter().filter(move |order| kind.registers() > 1 || matches!(order, Order::Abcd | Order::Badc))
}

/// A number in at most 12 places: a display's decimals, or an exponent where it is no display's.
pub struct Short(pub Option<f64>);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            None => "-".to_owned(),
            Some(number) => {
                let plain = number.to_string();
                let shown = number == 0.0 || is_likely(number);
                if plain.len() <= 12 && (shown || number.fract() == 0.0) {
                    plain
                } else if shown {
                    format!("{number:.4}")
                } else {
                    format!("{number:.2e}")
                }
            }
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn some(words: &[u16]) -> Vec<Option<u16>> {
        words.iter().copied().map(Some).collect()
    }

    #[test]
    fn the_reading_of_the_display_names_type_and_order() {
        for (words, order) in [
            ([0x41A7, 0x3333], Order::Abcd),
            ([0x3333, 0x41A7], Order::Cdab),
            ([0xA741, 0x3333], Order::Badc),
            ([0x3333, 0xA741], Order::Dcba),
        ] {
            let found = fits(&some(&words), 20.9, 0.01);
            assert_eq!((found[0].kind, found[0].order, found[0].value), (Type::Float32, order, 20.9), "{found:?}");
        }
        let found = fits(&some(&[7, 209, 0x0209]), 20.9, 0.01);
        let told: Vec<_> = found.iter().map(|fit| (fit.at, fit.kind, fit.scale)).collect();
        assert_eq!(told, [(1, Type::Int16, 0.1), (2, Type::Bcd16, 0.1)]);
        assert_eq!(fits(&[None, Some(209)], 20.9, 0.01)[0].at, 1);
        assert!(fits(&some(&[1, 2, 3]), 20.9, 0.01).is_empty());
    }

    #[test]
    fn numbers_are_short() {
        for (number, text) in [
            (Some(23.4), "23.4"),
            (Some(123_456.0), "123456"),
            (Some(-0.05), "-0.05"),
            (Some(4.6e-41), "4.60e-41"),
            (Some(1.0 / 3.0), "0.3333"),
            (Some(1e300), "1.00e300"),
            (None, "-"),
        ] {
            assert_eq!(Short(number).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn every_number_that_is_there_is_found(words in prop::collection::vec(any::<u16>(), 1..6), expected in -1e6_f64..1e6, pick: prop::sample::Index) {
            for fit in fits(&some(&words), expected, 0.05) {
                prop_assert!((fit.value - expected).abs() <= expected.abs() * 0.05 + 1e-9);
            }
            let word = words[pick.index(words.len())];
            if word != 0 {
                prop_assert!(!fits(&some(&words), f64::from(word) / 10.0, 0.01).is_empty());
            }
            for (kind, width) in PAIRS.into_iter().chain(QUADS).map(|kind| (kind, usize::from(kind.registers()))) {
                let shown = words.get(..width).and_then(|words| number(kind, Order::Cdab, words));
                prop_assert!(Short(shown).to_string().len() <= 20);
            }
        }
    }
}
