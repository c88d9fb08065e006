//! Where a closure certainly says false, found without running it.
//!
//! In comes a lowered closure with the numbers of one point; out comes a [`Quiet`]: spans of what the point shows
//! within which the closure's answer is false. `p.value >= p.limit.alarm && ..` is false below the alarm value,
//! whatever stands behind the `&&`. Most rules at most points are of this kind, so that one look at a few spans
//! answers all of them. Only what can be proven counts: Rhai asks from left to right, so what stands before the part
//! that is false must be known, and values near a limit, where Rhai compares with a tolerance, belong to no span.

use super::{Asked, Bool, Native, Num};
use crate::model::Point;
use crate::rule::{Comparison, Reading};
use rhai::ImmutableString;

/// Beyond this nothing is claimed: differences of larger numbers may not be finite.
const LARGEST: f64 = 1e300;
/// Numbers that are further apart than this share of the larger (or than this, below one) are told apart by Rhai.
const APART: f64 = 1e-12;

/// The point has a value, and all of this holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quiet {
    /// The quality has none of these reasons, as bits.
    none_of: u16,
    /// What is asked is known and between the two, neither included; the value first.
    within: Vec<(Asked, f64, f64)>,
}

impl Quiet {
    /// `None`: the closure may say anything anywhere.
    #[must_use]
    pub fn of(native: &Native, limits: &[(ImmutableString, f64)], point: &Point) -> Option<Self> {
        // A `let` of something missing ends a closure before its verdict.
        native.lets.is_empty().then(|| native.verdict.false_where(&Numbers { limits, point })).flatten()
    }

    #[must_use]
    pub fn holds(&self, reading: &Reading<'_>) -> bool {
        reading.value.is_some()
            && reading.health.quality.bits() & self.none_of == 0
            && self
                .within
                .iter()
                .all(|(asked, low, high)| asked.of(reading).is_some_and(|number| number > *low && number < *high))
    }

    /// Where both are quiet; `None` where that is nowhere.
    #[must_use]
    pub fn and(&self, other: &Self) -> Option<Self> {
        let mut both = self.clone();
        both.none_of |= other.none_of;
        for (asked, low, high) in &other.within {
            match both.within.iter_mut().find(|(known, ..)| known == asked) {
                Some((_, from, to)) => {
                    (*from, *to) = (from.max(*low), to.min(*high));
                    if *from >= *to {
                        return None;
                    }
                }
                None => both.within.push((*asked, *low, *high)),
            }
        }
        both.within.sort_by_key(|(asked, ..)| *asked as u8);
        Some(both)
    }

    fn none_of(reason: crate::model::Reason) -> Self {
        Self { none_of: reason as u16, within: Vec::new() }
    }

    fn within(asked: Asked, low: f64, high: f64) -> Self {
        Self { none_of: 0, within: vec![(asked, low, high)] }
    }
}

/// What is known of a point before a sample comes.
struct Numbers<'a> {
    limits: &'a [(ImmutableString, f64)],
    point: &'a Point,
}

impl Bool {
    fn false_where(&self, numbers: &Numbers<'_>) -> Option<Quiet> {
        match self {
            Self::Constant(false) => Some(Quiet::default()),
            Self::Has(reason) => Some(Quiet::none_of(*reason)),
            Self::Compare(comparison, sides) => compare_false_where(*comparison, &sides.0, &sides.1, numbers),
            Self::And(all) => {
                let mut first = None;
                for one in all {
                    match one.false_where(numbers) {
                        // "More than nothing" is hardly ever false: what stands behind it may say more.
                        Some(quiet) if one.is_about_size() => first = first.or(Some(quiet)),
                        Some(quiet) => return Some(quiet),
                        None => {}
                    }
                    if !one.is_known(numbers) {
                        break;
                    }
                }
                first
            }
            Self::Or(any) => {
                let mut all = Quiet::default();
                for one in any {
                    all = all.and(&one.false_where(numbers)?)?;
                }
                Some(all)
            }
            Self::Constant(true)
            | Self::Let(_)
            | Self::Recall(_)
            | Self::Quality(_)
            | Self::Permit(_)
            | Self::Not(_)
            | Self::If(_)
            | Self::Vote(..)
            | Self::GroupHas(..)
            | Self::GroupQuality(..)
            | Self::Site(_)
            | Self::Season(_) => None,
        }
    }

    /// Compares the value with what the point is made for rather than with a limit.
    fn is_about_size(&self) -> bool {
        let of_the_point = |number: &Num| matches!(number, Num::Asked(asked) if asked.is_of_the_point());
        matches!(self, Self::Compare(_, sides) if of_the_point(&sides.0) || of_the_point(&sides.1))
    }

    /// Never unknown, as long as the point has a value: what stands behind it is asked in any case.
    fn is_known(&self, numbers: &Numbers<'_>) -> bool {
        match self {
            Self::Constant(_) | Self::Has(_) | Self::Quality(_) | Self::Permit(_) => true,
            Self::Compare(_, sides) => sides.0.is_known(numbers) && sides.1.is_known(numbers),
            Self::Not(said) => said.is_known(numbers),
            Self::And(all) | Self::Or(all) => all.iter().all(|one| one.is_known(numbers)),
            Self::If(_)
            | Self::Let(_)
            | Self::Recall(_)
            | Self::Vote(..)
            | Self::GroupHas(..)
            | Self::GroupQuality(..)
            | Self::Site(_)
            | Self::Season(_) => false,
        }
    }
}

fn compare_false_where(comparison: Comparison, left: &Num, right: &Num, numbers: &Numbers<'_>) -> Option<Quiet> {
    let (asked, bound, comparison) = match (left, right) {
        (Num::Asked(asked), bound) if !asked.is_of_the_point() => (*asked, bound.reckon(numbers)?, comparison),
        (bound, Num::Asked(asked)) if !asked.is_of_the_point() => (*asked, bound.reckon(numbers)?, comparison.turned()),
        (left, right) => {
            let says = comparison.of(left.reckon(numbers)?, right.reckon(numbers)?);
            return (!says).then(Quiet::default);
        }
    };
    if bound.is_nan() || bound.abs() > LARGEST {
        return None;
    }
    let apart = bound.abs().max(1.0) * APART;
    match comparison {
        Comparison::Greater | Comparison::GreaterOrEqual => Some(Quiet::within(asked, -LARGEST, bound - apart)),
        Comparison::Less | Comparison::LessOrEqual => Some(Quiet::within(asked, bound + apart, LARGEST)),
        Comparison::Equal | Comparison::NotEqual => None,
    }
}

impl Asked {
    /// The same for every sample of a point.
    const fn is_of_the_point(self) -> bool {
        match self {
            Self::Period | Self::Resolution | Self::RangeLow | Self::RangeHigh => true,
            Self::Value
            | Self::Age
            | Self::FlatFor
            | Self::StoodFor
            | Self::Clock
            | Self::FallFor
            | Self::FallTo
            | Self::TwinFor => false,
        }
    }

    fn of_the_point(self, point: &Point) -> Option<f64> {
        match self {
            Self::Period => Some(point.period.as_secs_f64()),
            Self::Resolution => Some(point.resolution),
            Self::RangeLow => point.range.map(|range| range.low),
            Self::RangeHigh => point.range.map(|range| range.high),
            Self::Value
            | Self::Age
            | Self::FlatFor
            | Self::StoodFor
            | Self::Clock
            | Self::FallFor
            | Self::FallTo
            | Self::TwinFor => None,
        }
    }
}

impl Num {
    /// `None`: it takes a sample to know it.
    fn reckon(&self, numbers: &Numbers<'_>) -> Option<f64> {
        match self {
            Self::Constant(number) => Some(*number),
            Self::Limit(place) => numbers.limits.get(*place).map(|(_, value)| *value),
            Self::Asked(asked) => asked.of_the_point(numbers.point),
            Self::Negative(number) => number.reckon(numbers).map(|number| -number),
            Self::Absolute(number) => number.reckon(numbers).map(f64::abs),
            Self::Of(arithmetic, sides) => Some(arithmetic.of(sides.0.reckon(numbers)?, sides.1.reckon(numbers)?)),
            Self::If(parts) => {
                let (condition, yes, no) = &**parts;
                if condition.reckon(numbers)? { yes.reckon(numbers) } else { no.reckon(numbers) }
            }
            Self::Recall(_) | Self::Let(_) | Self::Group(..) | Self::Count(..) | Self::Far(_) | Self::Hour => None,
        }
    }

    fn is_known(&self, numbers: &Numbers<'_>) -> bool {
        match self {
            Self::Asked(asked) => !asked.is_of_the_point() || asked.of_the_point(numbers.point).is_some(),
            Self::Negative(number) | Self::Absolute(number) => number.is_known(numbers),
            Self::Of(_, sides) => sides.0.is_known(numbers) && sides.1.is_known(numbers),
            Self::Constant(_)
            | Self::Limit(_)
            | Self::If(_)
            | Self::Recall(_)
            | Self::Let(_)
            | Self::Group(..)
            | Self::Count(..)
            | Self::Far(_)
            | Self::Hour => self.reckon(numbers).is_some(),
        }
    }
}

impl Bool {
    fn reckon(&self, numbers: &Numbers<'_>) -> Option<bool> {
        match self {
            Self::Constant(says) => Some(*says),
            Self::Compare(comparison, sides) => Some(comparison.of(sides.0.reckon(numbers)?, sides.1.reckon(numbers)?)),
            Self::Let(_)
            | Self::Recall(_)
            | Self::Has(_)
            | Self::Quality(_)
            | Self::Permit(_)
            | Self::Not(_)
            | Self::And(_)
            | Self::Or(_)
            | Self::If(_)
            | Self::Vote(..)
            | Self::GroupHas(..)
            | Self::GroupQuality(..)
            | Self::Site(_)
            | Self::Season(_) => None,
        }
    }
}
