//! How far a value may be trusted, and why not.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Good, uncertain or bad. Only good and uncertain values are shown to rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    Good,
    Uncertain,
    Bad,
}

/// Why a value is not plainly good; several may hold at once (`MT/T 1201` status words are bits too).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Reason {
    LineBreak = 1 << 2,
    SensorFault = 1 << 3,
    OverRange = 1 << 4,
    Calibrating = 1 << 5,
    /// The device did not answer, or its answer could not be used.
    NotPolled = 1 << 6,
    Paused = 1 << 7,
    SupplyLost = 1 << 8,
    /// Injected by an exercise (演练) or a simulator.
    Exercise = 1 << 9,
    /// Back-filled or out of order: stored and counted, never a live alarm.
    Late = 1 << 10,
    /// The source's time was absurd; the receive time stands in for it.
    ClockWrong = 1 << 11,
    Frozen = 1 << 12,
    /// NaN or infinite: the stored value is 0.0 and means nothing.
    NonFinite = 1 << 13,
    /// The source sent no time; the receive time stands in for it. The value is still good.
    NoSourceTime = 1 << 14,
    /// Work near the sensor under a permit. The value counts.
    Maintenance = 1 << 15,
}

impl Reason {
    pub const ALL: [Self; 14] = [
        Self::LineBreak,
        Self::SensorFault,
        Self::OverRange,
        Self::Calibrating,
        Self::NotPolled,
        Self::Paused,
        Self::SupplyLost,
        Self::Exercise,
        Self::Late,
        Self::ClockWrong,
        Self::Frozen,
        Self::NonFinite,
        Self::NoSourceTime,
        Self::Maintenance,
    ];

    /// The worst grade that this reason leaves standing.
    #[must_use]
    pub const fn grade(self) -> Grade {
        match self {
            Self::LineBreak
            | Self::SensorFault
            | Self::Calibrating
            | Self::NotPolled
            | Self::Paused
            | Self::SupplyLost
            | Self::NonFinite => Grade::Bad,
            // A gas sensor beyond its range has seen too much, not too little: its alarm must stand.
            Self::OverRange | Self::ClockWrong | Self::Frozen => Grade::Uncertain,
            Self::Exercise | Self::Late | Self::NoSourceTime | Self::Maintenance => Grade::Good,
        }
    }

    /// The word used in files, the API and InfluxDB.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::LineBreak => "line_break",
            Self::SensorFault => "sensor_fault",
            Self::OverRange => "over_range",
            Self::Calibrating => "calibrating",
            Self::NotPolled => "not_polled",
            Self::Paused => "paused",
            Self::SupplyLost => "supply_lost",
            Self::Exercise => "exercise",
            Self::Late => "late",
            Self::ClockWrong => "clock_wrong",
            Self::Frozen => "frozen",
            Self::NonFinite => "non_finite",
            Self::NoSourceTime => "no_source_time",
            Self::Maintenance => "maintenance",
        }
    }

    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.word() == word)
    }
}

/// A set of reasons; the grade is the worst among them (none: good). Bits 0 and 1 are not used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Quality(u16);

impl Quality {
    pub const GOOD: Self = Self(0);

    #[must_use]
    pub const fn because(reason: Reason) -> Self {
        Self(reason as u16)
    }

    /// Unknown bits (a newer writer's) are dropped.
    #[must_use]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits & 0xFFFC)
    }

    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    #[must_use]
    pub const fn and(self, reason: Reason) -> Self {
        Self(self.0 | reason as u16)
    }

    /// The reasons of both.
    #[must_use]
    pub const fn join(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[must_use]
    pub const fn has(self, reason: Reason) -> bool {
        self.0 & reason as u16 != 0
    }

    pub fn reasons(self) -> impl Iterator<Item = Reason> {
        Reason::ALL.into_iter().filter(move |reason| self.has(*reason))
    }

    #[must_use]
    pub fn grade(self) -> Grade {
        const BAD: u16 = grade_mask(Grade::Bad);
        const UNCERTAIN: u16 = grade_mask(Grade::Uncertain);
        if self.0 & BAD != 0 {
            Grade::Bad
        } else if self.0 & UNCERTAIN != 0 {
            Grade::Uncertain
        } else {
            Grade::Good
        }
    }

    /// May a rule see this value?
    #[must_use]
    pub fn usable(self) -> bool {
        self.grade() != Grade::Bad
    }
}

const fn grade_mask(grade: Grade) -> u16 {
    let mut mask = 0;
    let mut i = 0;
    while i < Reason::ALL.len() {
        if Reason::ALL[i].grade() as u8 == grade as u8 {
            mask |= Reason::ALL[i] as u16;
        }
        i += 1;
    }
    mask
}

/// `good`, `good:late`, `bad:line_break+calibrating`.
impl fmt::Display for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.grade() {
            Grade::Good => "good",
            Grade::Uncertain => "uncertain",
            Grade::Bad => "bad",
        })?;
        for (i, reason) in self.reasons().enumerate() {
            write!(f, "{}{}", if i == 0 { ':' } else { '+' }, reason.word())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_reason_decides() {
        assert_eq!(Quality::GOOD.to_string(), "good");
        assert_eq!(Quality::because(Reason::NoSourceTime).grade(), Grade::Good);
        let quality = Quality::because(Reason::OverRange).and(Reason::LineBreak);
        assert_eq!(quality.to_string(), "bad:line_break+over_range");
        assert!(!quality.usable());
        assert!(Quality::because(Reason::OverRange).usable());
    }

    #[test]
    fn every_reason_has_its_own_bit_and_word() {
        let bits = Reason::ALL.iter().fold(0_u16, |all, reason| all | *reason as u16);
        assert_eq!(bits.count_ones() as usize, Reason::ALL.len());
        for reason in Reason::ALL {
            assert_eq!(Reason::from_word(reason.word()), Some(reason));
            assert_eq!(Quality::from_bits(reason as u16), Quality::because(reason));
        }
    }
}
