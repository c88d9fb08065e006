//! How two numbers are compared wherever a rule compares them: by Rhai's own formulas.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

impl Comparison {
    /// Those that a function takes as a text.
    pub const WORDS: [(&str, Self); 4] =
        [(">", Self::Greater), (">=", Self::GreaterOrEqual), ("<", Self::Less), ("<=", Self::LessOrEqual)];

    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, comparison)| *comparison)
    }

    /// The same question with its sides exchanged.
    #[must_use]
    pub const fn turned(self) -> Self {
        match self {
            Self::Equal => Self::Equal,
            Self::NotEqual => Self::NotEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
        }
    }

    /// Rhai's formulas: relative to the larger of the two, with the double's epsilon. Two that are clearly apart need
    /// no division: whatever its rounding, the quotient is beyond the epsilon, and its sign is that of the difference.
    #[must_use]
    #[inline]
    pub fn of(self, left: f64, right: f64) -> bool {
        const FAR: f64 = 1e-15;
        let (apart, larger) = (left - right, left.abs().max(right.abs()));
        if apart.abs() > larger.max(1.0) * FAR && apart.abs() < f64::INFINITY {
            return match self {
                Self::Equal => false,
                Self::NotEqual => true,
                Self::Greater | Self::GreaterOrEqual => apart > 0.0,
                Self::Less | Self::LessOrEqual => apart < 0.0,
            };
        }
        self.nearly(left, right)
    }

    fn nearly(self, left: f64, right: f64) -> bool {
        let larger = if left * right == 0.0 { 1.0 } else { left.abs().max(right.abs()) };
        if larger == 0.0 {
            // Nothing but NaN beside zero gets here; Rhai calls the two equal.
            return matches!(self, Self::Equal | Self::GreaterOrEqual | Self::LessOrEqual);
        }
        match self {
            Self::Equal => (left - right).abs() / larger <= f64::EPSILON,
            Self::NotEqual => (left - right).abs() / larger > f64::EPSILON,
            Self::Greater => (left - right) / larger > f64::EPSILON,
            Self::GreaterOrEqual => (left - right) / larger > -f64::EPSILON,
            Self::Less => (right - left) / larger > f64::EPSILON,
            Self::LessOrEqual => (right - left) / larger > -f64::EPSILON,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<f64>(),
            -10.0_f64..10.0,
            prop::sample::select(vec![
                0.0,
                -0.0,
                1.0,
                f64::NAN,
                f64::INFINITY,
                f64::NEG_INFINITY,
                f64::MAX,
                5e-324,
                1e-300
            ]),
        ]
    }

    proptest! {
        /// What is decided without a division is what the division says, however close the two are.
        #[test]
        fn far_apart_is_as_the_formula_has_it(left in number(), right in number(), steps in -20_i64..20, close: bool) {
            let right = if close { f64::from_bits(left.to_bits().wrapping_add_signed(steps)) } else { right };
            use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
            for comparison in [Equal, NotEqual, Greater, GreaterOrEqual, Less, LessOrEqual] {
                prop_assert_eq!(comparison.of(left, right), comparison.nearly(left, right), "{:?}", comparison);
            }
        }
    }
}
