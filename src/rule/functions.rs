//! The catalogue: everything that a closure can ask, once.
//!
//! [`CATALOGUE`] lists what is asked of the point, [`BEYOND`] what is asked of others, the site and the calendar. The language registers its functions from [`Function::ALL`]; tests hold the names
//! that the language knows, the names that are lowered and the catalogue together, and play every example.
//! `davy rules functions`, `GET /api/v1/rules/functions` and docs/rules.md show it.

mod beyond;
mod catalogue;
mod page;

pub use beyond::BEYOND;
pub use catalogue::CATALOGUE;
pub use page::{json, markdown};

use crate::engine::Over;

/// A function of `p` with arguments that must be known before a sample comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    Over(Over),
    Ewma,
    TimeTo,
    CrossedUp,
    CrossedDown,
    HeldFor,
    Since,
    Cusum,
    CusumDown,
}

/// What a function is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `("10m")`
    Span,
    /// `(level)`
    Level,
    /// `(level, "10m")`
    LevelSpan,
    /// `(">=", level)`
    Comparison,
    /// `(target, slack)`
    Levels,
}

impl Function {
    pub const ALL: [Self; 21] = [
        Self::Over(Over::Mean),
        Self::Over(Over::Min),
        Self::Over(Over::Max),
        Self::Over(Over::Sum),
        Self::Over(Over::Count),
        Self::Over(Over::Stddev),
        Self::Over(Over::Delta),
        Self::Over(Over::Rate),
        Self::Over(Over::Median),
        Self::Over(Over::Slope),
        Self::Over(Over::Increase),
        Self::Over(Over::Resets),
        Self::Over(Over::Gap),
        Self::Ewma,
        Self::TimeTo,
        Self::CrossedUp,
        Self::CrossedDown,
        Self::HeldFor,
        Self::Since,
        Self::Cusum,
        Self::CusumDown,
    ];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Over(Over::Mean) => "mean",
            Self::Over(Over::Min) => "min",
            Self::Over(Over::Max) => "max",
            Self::Over(Over::Sum) => "sum",
            Self::Over(Over::Count) => "count",
            Self::Over(Over::Stddev) => "stddev",
            Self::Over(Over::Delta) => "delta",
            Self::Over(Over::Rate) => "rate",
            Self::Over(Over::Median) => "median",
            Self::Over(Over::Slope) => "slope",
            Self::Over(Over::Increase) => "increase",
            Self::Over(Over::Resets) => "resets",
            Self::Over(Over::Gap) => "gap",
            Self::Ewma => "ewma",
            Self::TimeTo => "time_to",
            Self::CrossedUp => "crossed_up",
            Self::CrossedDown => "crossed_down",
            Self::HeldFor => "held_for",
            Self::Since => "since",
            Self::Cusum => "cusum",
            Self::CusumDown => "cusum_down",
        }
    }

    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|function| function.name() == name)
    }

    #[must_use]
    pub const fn shape(self) -> Shape {
        match self {
            Self::Over(_) | Self::Ewma => Shape::Span,
            Self::TimeTo => Shape::LevelSpan,
            Self::CrossedUp | Self::CrossedDown => Shape::Level,
            Self::HeldFor | Self::Since => Shape::Comparison,
            Self::Cusum | Self::CusumDown => Shape::Levels,
        }
    }

    /// Does it say true or false, rather than a number?
    #[must_use]
    pub const fn is_question(self) -> bool {
        matches!(self, Self::CrossedUp | Self::CrossedDown)
    }

    /// Its arguments, for messages.
    #[must_use]
    pub const fn takes(self) -> &'static str {
        match self.shape() {
            Shape::Span => "a span written out",
            Shape::Level => "a level",
            Shape::LevelSpan => "a level and a span written out",
            Shape::Comparison => "one of \">\" \">=\" \"<\" \"<=\" and a level",
            Shape::Levels => "a target and a slack",
        }
    }

    /// A call as it may be written, without the point.
    #[must_use]
    pub const fn example(self) -> &'static str {
        match self.shape() {
            Shape::Span => "mean(\"10m\")",
            Shape::Level => "crossed_up(p.limit.alarm)",
            Shape::LevelSpan => "time_to(p.limit.alarm, \"10m\")",
            Shape::Comparison => "held_for(\">=\", p.limit.alarm)",
            Shape::Levels => "cusum(0.5, 0.05)",
        }
    }
}

/// Names of functions, for messages.
#[must_use]
pub fn names() -> String {
    Function::ALL.map(Function::name).join(", ")
}

/// Both lists.
pub fn entries() -> impl Iterator<Item = &'static Entry> {
    CATALOGUE.iter().chain(BEYOND)
}

/// Where an entry stands in the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Now,
    Window,
    Course,
    Sensor,
    Beyond,
}

impl Group {
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::Window => "window",
            Self::Course => "course",
            Self::Sensor => "sensor",
            Self::Beyond => "beyond",
        }
    }
}

/// The same in both languages.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    pub zh: &'static str,
    pub en: &'static str,
}

/// One thing that can be asked.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub group: Group,
    pub name: &'static str,
    pub signature: &'static str,
    pub unit: Words,
    pub says: Words,
    /// What missing and bad data do to it.
    pub missing: Words,
    /// A closure's body, true at the end of `series`.
    pub example: &'static str,
    /// What is asked in it.
    pub ask: &'static str,
    /// What that says at the end of `series`.
    pub answer: Answer,
    /// Values, one a minute; the limit `alarm` is 1.0 and `stricter: "lower"`.
    pub series: &'static [f64],
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    Number(f64),
    Bool(bool),
    Text(&'static str),
}

#[cfg(test)]
mod tests;
