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

    /// Rhai's formulas: relative to the larger of the two, with the double's epsilon.
    #[must_use]
    pub fn of(self, left: f64, right: f64) -> bool {
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
