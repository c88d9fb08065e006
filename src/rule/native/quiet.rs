//! Where a closure certainly does not say true, found without running it.
//!
//! In comes a lowered closure with the numbers of one point; out comes a [`Quiet`]: spans of what the point shows, and
//! of all that it looks back on, within which the closure's answer is false or unknown, neither of which can begin an
//! alarm. `p.value >= p.limit.alarm && ..` is not true below the alarm value, whatever stands behind the `&&`;
//! `p.value - p.min("60s") >= 0.5` is not while all values that the point keeps are less than 0.5 apart; a forecast is
//! not while no line through such values, coming evenly, is steep enough; and what asks for another point is not where
//! there is none. Most rules at most points are of this kind, so that one look at a few
//! spans answers all of them. Only what can be proven counts: values near a limit, where Rhai compares with a
//! tolerance and sums are rounded, belong to no span.

use std::time::Duration;

use rhai::ImmutableString;

use super::{Arithmetic, Asked, Bool, Native, Num, Typed};
use crate::engine::{Health, Hull, Pace};
use crate::model::{Point, Quality, Stricter};
use crate::rule::Comparison;
use crate::rule::ask::{Lying, NEVER_MINUTES, Recall};
use crate::rule::outlook::Outlook;

/// Beyond this nothing is claimed: differences of larger numbers may not be finite.
const LARGEST: f64 = 1e300;
/// Numbers that are further apart than this share of the larger (or than this, below one) are told apart by Rhai.
const APART: f64 = 1e-12;
/// The same where something is reckoned from several numbers: windows are summed with an error of 1e-11 of the
/// largest number in them, which is kept below [`MOST_LARGE`] bounds. (A number that was larger still leaves a rest in
/// running sums for a while after it has left the window: a verdict on that would be a wrong one.)
const APART_RECKONED: f64 = 1e-6;
const MOST_LARGE: f64 = 1e3;

/// The point has a value, and all of this holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Quiet {
    /// The quality has none of these reasons, as bits.
    none_of: u16,
    /// The value is between the two, neither included.
    value: (f64, f64),
    /// So are the value and all that the point looks back on, and they are less than `spread` apart.
    hull: (f64, f64),
    spread: f64,
    /// What few rules are about takes no room where they are not.
    more: Option<Box<More>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct More {
    /// What else is asked of the sensor is known and between the two.
    within: Vec<(Asked, f64, f64)>,
    /// No line through the samples of a span gets there.
    far: Vec<Far>,
}

/// A level that no line reaches in so many times the span, as long as its samples come evenly.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Far {
    level: f64,
    stricter: Stricter,
    span: Duration,
    spans: f64,
}

impl Far {
    fn holds(&self, low: f64, high: f64, pace: Pace) -> bool {
        let climb = Pace::STEEPEST * self.spans * (high - low);
        let apart = self.level.abs().max(1.0) * APART_RECKONED;
        let far = match self.stricter {
            Stricter::Lower => high + climb < self.level - apart,
            Stricter::Higher => low - climb > self.level + apart,
        };
        far && pace.is_even_over(self.span)
    }
}

impl Default for Quiet {
    /// Wherever there is a value.
    fn default() -> Self {
        Self {
            none_of: 0,
            value: (-LARGEST, LARGEST),
            hull: (f64::NEG_INFINITY, f64::INFINITY),
            spread: f64::INFINITY,
            more: None,
        }
    }
}

/// What of a point has to be looked at to know that it is quiet.
pub struct Glance<'a> {
    pub value: f64,
    pub quality: Quality,
    /// All that it looks back on, and how that comes.
    pub hull: Hull,
    pub pace: Pace,
    /// Its health, and since when it was heard in seconds; for the few that ask.
    pub sensor: &'a dyn Fn() -> (Health, f64),
}

/// What a quiet is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Regard {
    /// The value and its quality.
    Value,
    /// All that the point looks back on.
    Past,
    /// The sensor.
    Sensor,
}

impl Quiet {
    /// `recalls`: the closure's calls as they are placed at the point; `outlook`: what it looks at from there. `None`:
    /// the closure may say anything anywhere.
    #[must_use]
    pub fn of(
        native: &Native,
        limits: &[(ImmutableString, f64)],
        recalls: &[Recall],
        outlook: Option<&Outlook>,
        point: &Point,
    ) -> Option<Self> {
        let mut numbers = Numbers { limits, point, recalls, outlook, lets: Vec::new() };
        for bound in &native.lets {
            let reckoned = match bound {
                // What is missing in a `let` ends a closure before its verdict.
                Typed::Number { number, .. } if number.is_never_known(&numbers) => return Some(Self::default()),
                Typed::Bool(said) if said.is_never_known(&numbers) => return Some(Self::default()),
                Typed::Number { number, .. } => number.reach(&numbers),
                Typed::Bool(_) | Typed::Group(_) => None,
            };
            numbers.lets.push(reckoned);
        }
        native.verdict.not_true_where(&numbers)
    }

    #[must_use]
    #[inline]
    pub fn holds(&self, glance: &Glance<'_>) -> bool {
        let Glance { value, quality, hull, .. } = glance;
        let (low, high) = (hull.low.min(*value), hull.high.max(*value));
        *value > self.value.0
            && *value < self.value.1
            && quality.bits() & self.none_of == 0
            && low > self.hull.0
            && high < self.hull.1
            && high - low < self.spread
            && self.more.as_ref().is_none_or(|more| more.holds(glance, low, high))
    }

    /// Where both are quiet; `None` where that is nowhere.
    #[must_use]
    pub fn and(&self, other: &Self) -> Option<Self> {
        let meet = |one: (f64, f64), other: (f64, f64)| (one.0.max(other.0), one.1.min(other.1));
        let mut both = Self {
            none_of: self.none_of | other.none_of,
            value: meet(self.value, other.value),
            hull: meet(self.hull, other.hull),
            spread: self.spread.min(other.spread),
            more: self.more.clone(),
        };
        if let Some(other) = &other.more {
            let more = both.more.get_or_insert_default();
            for (asked, low, high) in &other.within {
                match more.within.iter_mut().find(|(known, ..)| known == asked) {
                    Some((_, from, to)) => (*from, *to) = meet((*from, *to), (*low, *high)),
                    None => more.within.push((*asked, *low, *high)),
                }
            }
            more.within.sort_by_key(|(asked, ..)| *asked as u8);
            more.far.extend(other.far.iter().filter(|far| !self.is_far_from(far)));
        }
        let within = both.more.as_ref().map_or(&[][..], |more| &more.within);
        let somewhere = both.meets(&both) && within.iter().all(|(_, low, high)| low < high);
        somewhere.then_some(both)
    }

    fn is_far_from(&self, far: &Far) -> bool {
        self.more.as_ref().is_some_and(|more| more.far.contains(far))
    }

    /// Is there a value at which both may be quiet?
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        let low = self.value.0.max(other.value.0).max(self.hull.0).max(other.hull.0);
        let high = self.value.1.min(other.value.1).min(self.hull.1).min(other.hull.1);
        low < high
    }

    #[must_use]
    pub fn regard(&self) -> Regard {
        let of_value = Self { none_of: self.none_of, value: self.value, ..Self::default() };
        match &self.more {
            Some(more) if !more.within.is_empty() => Regard::Sensor,
            None if *self == of_value => Regard::Value,
            Some(_) | None => Regard::Past,
        }
    }

    /// Wherever nothing that comes evenly climbs to the level, or falls to it, in so many times the span.
    fn far(far: Far) -> Self {
        let large = far.level.abs().max(1.0) * MOST_LARGE;
        let hull = match far.stricter {
            Stricter::Lower => (-large, far.level),
            Stricter::Higher => (far.level, large),
        };
        Self { hull, more: Some(Box::new(More { far: vec![far], ..More::default() })), ..Self::default() }
    }

    fn none_of(reason: crate::model::Reason) -> Self {
        Self { none_of: reason as u16, ..Self::default() }
    }

    fn between(asked: Asked, low: f64, high: f64) -> Self {
        if asked == Asked::Value {
            return Self { value: (low, high), ..Self::default() };
        }
        Self { more: Some(Box::new(More { within: vec![(asked, low, high)], ..More::default() })), ..Self::default() }
    }
}

impl More {
    fn holds(&self, glance: &Glance<'_>, low: f64, high: f64) -> bool {
        self.far.iter().all(|far| far.holds(low, high, glance.pace))
            && (self.within.is_empty() || self.sensor_is_quiet(&(glance.sensor)()))
    }

    fn sensor_is_quiet(&self, (health, age_s): &(Health, f64)) -> bool {
        let known = |asked: Asked| asked.of_the_sensor(health, *age_s);
        self.within.iter().all(|(asked, low, high)| known(*asked).is_some_and(|number| number > *low && number < *high))
    }
}

/// What is known of a point before a sample comes.
struct Numbers<'a> {
    limits: &'a [(ImmutableString, f64)],
    point: &'a Point,
    recalls: &'a [Recall],
    outlook: Option<&'a Outlook>,
    /// How far the `let`s so far may reach.
    lets: Vec<Option<Reach>>,
}

impl Numbers<'_> {
    /// Nobody will ever say anything of that group; `alone`: it is asked for what only one point can say.
    fn nobody(&self, group: usize, alone: bool) -> bool {
        let members = self.outlook.and_then(|outlook| outlook.groups.get(group)).map(|group| group.points.len());
        members.is_some_and(|members| members == 0 || alone && members > 1)
    }
}

impl Bool {
    fn not_true_where(&self, numbers: &Numbers<'_>) -> Option<Quiet> {
        if self.is_never_known(numbers) {
            return Some(Quiet::default());
        }
        match self {
            Self::Constant(false) => Some(Quiet::default()),
            Self::Has(reason) => Some(Quiet::none_of(*reason)),
            Self::Compare(comparison, sides) => not_true_where(*comparison, &sides.0, &sides.1, numbers),
            Self::Recall(place) => match numbers.recalls.get(*place)?.lying() {
                Lying::Crossing { level, up } => {
                    let (one, level) = (Reach { plus: 1.0, ..Reach::default() }, Reach::of(level)?);
                    if up { one.minus(level)?.below_zero() } else { level.minus(one)?.below_zero() }
                }
                Lying::Among
                | Lying::Apart
                | Lying::Sum
                | Lying::Approach { .. }
                | Lying::Anywhere
                | Lying::Nowhere => None,
            },
            Self::And(all) => {
                // Whichever is not true: best nowhere at all, then by the value alone. "More than nothing" is hardly
                // ever false: what stands behind it may say more. So may a forecast behind "not there yet".
                let quiets = all.iter().filter_map(|one| Some((one, one.not_true_where(numbers)?)));
                let quiets: Vec<(&Self, Quiet)> = quiets.collect();
                let is_far = |quiet: &Quiet| quiet.more.as_ref().is_some_and(|more| !more.far.is_empty());
                let beyond = |quiet: &Quiet| quiets.iter().any(|(_, far)| is_far(far) && !far.meets(quiet));
                let worth = |(one, quiet): &&(&Self, Quiet)| {
                    (*quiet != Quiet::default(), one.is_about_size() || beyond(quiet), quiet.regard() != Regard::Value)
                };
                quiets.iter().min_by_key(worth).map(|(_, quiet)| quiet.clone())
            }
            Self::Or(any) => {
                let mut all = Quiet::default();
                for one in any {
                    all = all.and(&one.not_true_where(numbers)?)?;
                }
                Some(all)
            }
            Self::If(parts) => parts.1.not_true_where(numbers)?.and(&parts.2.not_true_where(numbers)?),
            Self::Constant(true)
            | Self::Let(_)
            | Self::Quality(_)
            | Self::Permit(_)
            | Self::Not(_)
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

    /// Whatever comes, nobody can say.
    fn is_never_known(&self, numbers: &Numbers<'_>) -> bool {
        match self {
            Self::Compare(_, sides) => sides.0.is_never_known(numbers) || sides.1.is_never_known(numbers),
            Self::Recall(place) => numbers.recalls.get(*place).is_some_and(|recall| recall.lying() == Lying::Nowhere),
            Self::Vote(group, _, _, limit) => numbers.nobody(*group, false) || limit.is_never_known(numbers),
            Self::GroupHas(group, _) | Self::GroupQuality(group, _) => numbers.nobody(*group, true),
            Self::Season(place) => {
                numbers.outlook.is_some_and(|outlook| matches!(outlook.seasons.get(*place), Some(None)))
            }
            Self::Not(said) => said.is_never_known(numbers),
            // What is asked first is asked in any case.
            Self::And(all) | Self::Or(all) => all.first().is_some_and(|first| first.is_never_known(numbers)),
            Self::If(parts) => parts.0.is_never_known(numbers),
            Self::Constant(_) | Self::Let(_) | Self::Has(_) | Self::Quality(_) | Self::Permit(_) | Self::Site(_) => {
                false
            }
        }
    }
}

/// A forecast is compared with so many minutes.
fn not_so_soon_where(comparison: Comparison, left: &Num, right: &Num, numbers: &Numbers<'_>) -> Option<Quiet> {
    let (place, within) = match (comparison, left, right) {
        (Comparison::Less | Comparison::LessOrEqual, Num::Recall(place), within)
        | (Comparison::Greater | Comparison::GreaterOrEqual, within, Num::Recall(place)) => (place, within),
        _ => return None,
    };
    let Lying::Approach { level, stricter, span } = numbers.recalls.get(*place)?.lying() else { return None };
    let minutes = within.reckon(numbers)?;
    let sound = (0.0..NEVER_MINUTES * 0.9).contains(&minutes) && level.abs() <= LARGEST / MOST_LARGE && !span.is_zero();
    // A little later, so that how minutes are rounded is of no account.
    let spans = (minutes + 0.001) * 60.0 / span.as_secs_f64();
    (sound && spans <= MOST_LARGE).then(|| Quiet::far(Far { level, stricter, span, spans }))
}

fn not_true_where(comparison: Comparison, left: &Num, right: &Num, numbers: &Numbers<'_>) -> Option<Quiet> {
    if let Some(quiet) = not_so_soon_where(comparison, left, right, numbers) {
        return Some(quiet);
    }
    // As it stands with what is asked on the left.
    let (asked, bound, facing) = match (left, right) {
        (Num::Asked(asked), bound) if !asked.is_of_the_point() => (Some(*asked), bound.reckon(numbers), comparison),
        (bound, Num::Asked(asked)) if !asked.is_of_the_point() => {
            (Some(*asked), bound.reckon(numbers), comparison.turned())
        }
        (left, right) => {
            if let (Some(left), Some(right)) = (left.reckon(numbers), right.reckon(numbers)) {
                return (!comparison.of(left, right)).then(Quiet::default);
            }
            (None, None, comparison)
        }
    };
    let (Some(asked), Some(bound)) = (asked, bound) else {
        return not_reached_where(comparison, left, right, numbers);
    };
    if bound.is_nan() || bound.abs() > LARGEST {
        return None;
    }
    let apart = bound.abs().max(1.0) * APART;
    match facing {
        Comparison::Greater | Comparison::GreaterOrEqual => Some(Quiet::between(asked, -LARGEST, bound - apart)),
        Comparison::Less | Comparison::LessOrEqual => Some(Quiet::between(asked, bound + apart, LARGEST)),
        Comparison::Equal | Comparison::NotEqual => None,
    }
}

/// By how far what is compared may reach at most.
fn not_reached_where(comparison: Comparison, left: &Num, right: &Num, numbers: &Numbers<'_>) -> Option<Quiet> {
    let (high, low) = match comparison {
        Comparison::Greater | Comparison::GreaterOrEqual => (left, right),
        Comparison::Less | Comparison::LessOrEqual => (right, left),
        Comparison::Equal | Comparison::NotEqual => return None,
    };
    let low = low.reach(numbers)?;
    if let Num::Absolute(number) = high {
        let number = number.reach(numbers)?;
        return number.minus(low)?.below_zero()?.and(&number.times(-1.0)?.minus(low)?.below_zero()?);
    }
    high.reach(numbers)?.minus(low)?.below_zero()
}

/// A number that is reckoned from what the point looks back on: a constant, so many times the value, and so many
/// times numbers that lie somewhere among the value and all that is looked back on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Reach {
    constant: f64,
    /// Of all constants in it, without their signs: the rounding of their sum is a share of it.
    constants: f64,
    /// What is added and what is subtracted of the value.
    value: (f64, f64),
    plus: f64,
    minus: f64,
    /// One of them is a sum of many, or of none: of numbers above zero it may be nothing at all.
    sums: bool,
}

impl Reach {
    fn of(constant: f64) -> Option<Self> {
        Self { constant, constants: constant.abs(), ..Self::default() }.sound()
    }

    fn sound(self) -> Option<Self> {
        let parts = [self.constants, self.value.0, self.value.1, self.plus, self.minus];
        parts.iter().all(|part| part.abs() <= LARGEST).then_some(self)
    }

    fn plus(self, other: Self) -> Option<Self> {
        Self {
            constant: self.constant + other.constant,
            constants: self.constants + other.constants,
            value: (self.value.0 + other.value.0, self.value.1 + other.value.1),
            plus: self.plus + other.plus,
            minus: self.minus + other.minus,
            sums: self.sums || other.sums,
        }
        .sound()
    }

    fn times(self, factor: f64) -> Option<Self> {
        let size = factor.abs();
        let turned = |(plus, minus): (f64, f64)| {
            if factor < 0.0 { (minus * size, plus * size) } else { (plus * size, minus * size) }
        };
        let (plus, minus) = turned((self.plus, self.minus));
        Self {
            constant: self.constant * factor,
            constants: self.constants * size,
            value: turned(self.value),
            plus,
            minus,
            sums: self.sums,
        }
        .sound()
    }

    fn minus(self, other: Self) -> Option<Self> {
        self.plus(other.times(-1.0)?)
    }

    fn as_constant(self) -> Option<f64> {
        (Self { constant: 0.0, constants: 0.0, ..self } == Self::default()).then_some(self.constant)
    }

    /// Where it is certainly less than nothing.
    fn below_zero(self) -> Option<Quiet> {
        let (mut plus, mut minus) = (self.plus, self.minus);
        if (plus, minus) == (0.0, 0.0) {
            return self.value_below_zero();
        }
        // The value is one of what is looked back on.
        (plus, minus) = (plus + self.value.0, minus + self.value.1);
        let parts = plus.max(minus);
        let bound = -self.constant / parts;
        let apart = self.apart(bound, parts)?;
        let large = bound.abs().max(1.0) * MOST_LARGE;
        let within = Quiet { hull: (-large, large), ..Quiet::default() };
        if minus == 0.0 {
            return (!self.sums || bound > 0.0).then_some(Quiet { hull: (-large, bound - apart), ..within });
        }
        if plus == 0.0 {
            return (!self.sums || bound > 0.0).then_some(Quiet { hull: (apart - bound, large), ..within });
        }
        (plus == minus && !self.sums && bound > apart).then_some(Quiet { spread: bound - apart, ..within })
    }

    fn value_below_zero(self) -> Option<Quiet> {
        let times = self.value.0 - self.value.1;
        if times == 0.0 {
            let constant = self.value == (0.0, 0.0) && self.constant < -self.constants * APART_RECKONED;
            return constant.then(Quiet::default);
        }
        if times.abs() < (self.value.0 + self.value.1) / MOST_LARGE {
            return None;
        }
        let bound = -self.constant / times;
        let apart = self.apart(bound, times.abs())?;
        let large = bound.abs().max(1.0) * MOST_LARGE;
        let value = if times > 0.0 { (-large, bound - apart) } else { (bound + apart, large) };
        Some(Quiet { value, ..Quiet::default() })
    }

    /// How close to the bound anything may be claimed. `None`: the bound itself is the rest of much larger numbers, or
    /// so many times the value is so little or so much that Rhai's own tolerance, or infinity, is in reach.
    fn apart(self, bound: f64, parts: f64) -> Option<f64> {
        let size = bound.abs().max(1.0);
        let sound = (1e-6..=1e9).contains(&parts) && bound.abs() <= LARGEST;
        (sound && self.constants / parts <= size * MOST_LARGE).then_some(size * APART_RECKONED)
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

    /// `None`: it may be anything.
    fn reach(&self, numbers: &Numbers<'_>) -> Option<Reach> {
        if let Some(constant) = self.reckon(numbers) {
            return Reach::of(constant);
        }
        let one = Reach { plus: 1.0, ..Reach::default() };
        match self {
            Self::Asked(Asked::Value) => Some(Reach { value: (1.0, 0.0), ..Reach::default() }),
            Self::Recall(place) => match numbers.recalls.get(*place)?.lying() {
                Lying::Among => Some(one),
                Lying::Apart => Some(Reach { minus: 1.0, ..one }),
                // An overtaken sample is one more for a moment.
                Lying::Sum => Some(Reach { plus: 2.0 * crate::engine::MOST_SAMPLES as f64, sums: true, ..one }),
                Lying::Crossing { .. } | Lying::Approach { .. } | Lying::Anywhere | Lying::Nowhere => None,
            },
            Self::Let(place) => *numbers.lets.get(*place)?,
            Self::Negative(number) => number.reach(numbers)?.times(-1.0),
            Self::Of(arithmetic, sides) => {
                let (left, right) = (sides.0.reach(numbers)?, sides.1.reach(numbers)?);
                match arithmetic {
                    Arithmetic::Add => left.plus(right),
                    Arithmetic::Subtract => left.minus(right),
                    Arithmetic::Multiply => match (left.as_constant(), right.as_constant()) {
                        (Some(factor), _) => right.times(factor),
                        (None, Some(factor)) => left.times(factor),
                        (None, None) => None,
                    },
                    Arithmetic::Divide => {
                        let divisor = right.as_constant().filter(|divisor| divisor.abs() > APART)?;
                        left.times(1.0 / divisor)
                    }
                    Arithmetic::Modulo | Arithmetic::Power | Arithmetic::Min | Arithmetic::Max => None,
                }
            }
            Self::Constant(_)
            | Self::Limit(_)
            | Self::Asked(_)
            | Self::Absolute(_)
            | Self::If(_)
            | Self::Group(..)
            | Self::Count(..)
            | Self::Far(_)
            | Self::Hour => None,
        }
    }

    /// Whatever comes, nobody can say.
    fn is_never_known(&self, numbers: &Numbers<'_>) -> bool {
        match self {
            Self::Asked(asked) => asked.is_of_the_point() && asked.of_the_point(numbers.point).is_none(),
            Self::Recall(place) => numbers.recalls.get(*place).is_some_and(|recall| recall.lying() == Lying::Nowhere),
            Self::Negative(number) | Self::Absolute(number) => number.is_never_known(numbers),
            Self::Of(_, sides) => sides.0.is_never_known(numbers) || sides.1.is_never_known(numbers),
            Self::If(parts) => parts.0.is_never_known(numbers),
            Self::Group(group, _) => numbers.nobody(*group, false),
            Self::Count(group, _, limit) => numbers.nobody(*group, false) || limit.is_never_known(numbers),
            Self::Far(place) => {
                numbers.outlook.is_some_and(|outlook| matches!(outlook.windows.get(*place), Some(None)))
            }
            Self::Constant(_) | Self::Limit(_) | Self::Let(_) | Self::Hour => false,
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
