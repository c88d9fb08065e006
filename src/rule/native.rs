//! Native lowering: a closure as a small typed program that is run without Rhai.
//!
//! In comes the syntax tree of a closure; out comes a program that says the same on every input, or the reason
//! why the closure stays with Rhai. What can be lowered: what `p` can be asked, numbers, `+ - * / % **`,
//! comparisons, `&& || !`, `if .. else`, `let`, `abs`, `min`, `max`, and what lies around the point. Numbers are the doubles that Rhai would
//! use, compared by Rhai's own formulas (a relative epsilon), and evaluated in its order, so that what is
//! missing is found missing at the same place. Whole numbers that would meet each other stay with Rhai: it
//! checks them for overflow. Never: a verdict that differs from Rhai's; a property test holds them together.

#![expect(clippy::wildcard_enum_match_arm, reason = "the enums are Rhai's and grow; what is not named is not lowered")]

mod quiet;
#[cfg(any(test, fuzzing))]
mod scenes;

use std::cell::Cell;

use rhai::{ASTFlags, Expr, FnCallExpr, ImmutableString, Stmt, Token};

use super::Comparison;
use super::around::{Asks, motion, over, selector};
use super::ask::Ask;
use super::functions::Function;
use super::judge::{Judged, Reading};
use super::seen::{Around, GroupAsk, Motion};
use crate::engine::{Health, Past};
use crate::model::{Grade, PermitKind, Reason, SiteState};

pub use quiet::{Glance, Quiet, Regard};
#[cfg(test)]
pub use scenes::drawn_closure;
#[cfg(fuzzing)]
pub use scenes::same_every_way;

/// More `let`s than this stay with Rhai.
const MOST_LETS: usize = 8;
/// Steps of a program, at most: it has no loops, so this bounds its time. Larger closures stay with Rhai and its
/// budget of operations.
pub const MOST_NODES: usize = 1_000;

/// A lowered closure.
#[derive(Clone, Debug)]
pub struct Native {
    /// Evaluated once, before the verdict, in order: a `let` of something missing ends the closure there.
    lets: Vec<Typed>,
    verdict: Bool,
}

#[derive(Clone, Debug)]
enum Typed {
    /// `whole`: Rhai may hold an integer here.
    Number {
        number: Num,
        whole: bool,
    },
    Bool(Bool),
    /// `p.related("redundant")` and the like: place among the closure's selectors.
    Group(usize),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Asked {
    Value,
    Age,
    Period,
    FlatFor,
    StoodFor,
    Clock,
    FallFor,
    FallTo,
    TwinFor,
    Resolution,
    RangeLow,
    RangeHigh,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    Min,
    Max,
}

#[derive(Clone, Debug, PartialEq)]
enum Num {
    Constant(f64),
    Asked(Asked),
    /// Place among the limits of the rule.
    Limit(usize),
    /// Place among the calls of the closure.
    Recall(usize),
    /// A `let`, by its place.
    Let(usize),
    Negative(Box<Num>),
    Absolute(Box<Num>),
    Of(Arithmetic, Box<(Num, Num)>),
    If(Box<(Bool, Num, Num)>),
    Group(usize, GroupAsk),
    /// How many of a group are at or beyond a number.
    Count(usize, Comparison, Box<Num>),
    /// Place among the windows that the closure asks of other points.
    Far(usize),
    Hour,
}

#[derive(Clone, Debug, PartialEq)]
enum Bool {
    Constant(bool),
    Let(usize),
    Compare(Comparison, Box<(Num, Num)>),
    /// Place among the calls of the closure.
    Recall(usize),
    Has(Reason),
    Quality(Grade),
    Permit(Option<PermitKind>),
    Not(Box<Bool>),
    And(Box<[Bool]>),
    Or(Box<[Bool]>),
    If(Box<(Bool, Bool, Bool)>),
    Vote(usize, usize, Comparison, Box<Num>),
    GroupHas(usize, Reason),
    /// `None`: a word that no quality and no state is called by; what is asked must still be known.
    GroupQuality(usize, Option<Grade>),
    Site(Option<SiteState>),
    Season(usize),
}

/// `p.related("feed").quality == "word"`.
const fn grade(word: &str) -> Option<Grade> {
    match word.as_bytes() {
        b"good" => Some(Grade::Good),
        b"uncertain" => Some(Grade::Uncertain),
        b"bad" => Some(Grade::Bad),
        _ => None,
    }
}

/// What a program looks at.
struct Sight<'a> {
    reading: &'a Reading<'a>,
    past: &'a Past,
    first_ask: usize,
    /// Values of the `let`s so far; true is 1.
    lets: [f64; MOST_LETS],
}

impl<'a> Sight<'a> {
    fn around(&self) -> Option<&'a Around> {
        self.reading.around.map(|around| &**around)
    }
}

impl Native {
    /// `limits`: the rule's names in the order of its limits. `asks`: the calls of the closure; `beyond`: what it asks
    /// of others than its point.
    pub fn lower(body: &[Stmt], point: &str, limits: &[&str], asks: &[Ask], beyond: &Asks) -> Result<Self, String> {
        let mut lowering = Lowering::new(point, limits, asks, beyond);
        match lowering.block(body)? {
            Typed::Bool(verdict) => Ok(Self { lets: lowering.lets, verdict }),
            Typed::Number { .. } => Err("its answer is a number".into()),
            Typed::Group(_) => Err("its answer is a group".into()),
        }
    }

    /// `first_ask`: place of the closure's calls among those of the watch.
    pub fn judge(&self, reading: &Reading<'_>, past: &Past, first_ask: usize) -> Judged {
        let mut sight = Sight { reading, past, first_ask, lets: [0.0; MOST_LETS] };
        for (place, bound) in self.lets.iter().enumerate() {
            let value = match bound {
                Typed::Number { number, .. } => number.ask(&sight),
                Typed::Bool(said) => said.ask(&sight).map(|says| f64::from(u8::from(says))),
                // Nothing is asked of it yet.
                Typed::Group(_) => Some(0.0),
            };
            let Some(value) = value else { return Judged::Unknown };
            sight.lets[place] = value;
        }
        self.verdict.ask(&sight).map_or(Judged::Unknown, Judged::Says)
    }
}

impl Sight<'_> {
    fn recall(&self, place: usize) -> Option<f64> {
        self.reading.recalls.get(self.first_ask + place)?.ask(self.past)
    }
}

impl Num {
    /// `None`: it is not known.
    fn ask(&self, sight: &Sight<'_>) -> Option<f64> {
        match self {
            Self::Constant(number) => Some(*number),
            Self::Let(place) => Some(sight.lets[*place]),
            Self::Asked(Asked::Value) => sight.reading.value,
            Self::Asked(asked) => asked.of(sight.reading),
            Self::Limit(place) => sight.reading.limits.get(*place).map(|(_, value)| *value),
            Self::Group(group, ask) => sight.around()?.ask(*group, *ask),
            Self::Count(group, comparison, limit) => {
                let limit = limit.ask(sight)?;
                sight.around()?.count(*group, *comparison, limit)
            }
            Self::Far(place) => *sight.around()?.windows.get(*place)?,
            Self::Hour => Some(sight.around()?.hour),
            Self::Recall(place) => sight.recall(*place),
            Self::Negative(number) => number.ask(sight).map(|number| -number),
            Self::Absolute(number) => number.ask(sight).map(f64::abs),
            Self::Of(arithmetic, sides) => {
                let (left, right) = (sides.0.ask(sight)?, sides.1.ask(sight)?);
                Some(arithmetic.of(left, right))
            }
            Self::If(parts) => {
                if parts.0.ask(sight)? {
                    parts.1.ask(sight)
                } else {
                    parts.2.ask(sight)
                }
            }
        }
    }
}

impl Arithmetic {
    fn of(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Add => left + right,
            Self::Subtract => left - right,
            Self::Multiply => left * right,
            Self::Divide => left / right,
            Self::Modulo => left % right,
            Self::Power => left.powf(right),
            // Not f64::min and max, which treat NaN in another way.
            Self::Min => {
                if left <= right {
                    left
                } else {
                    right
                }
            }
            Self::Max => {
                if left >= right {
                    left
                } else {
                    right
                }
            }
        }
    }
}

/// A number that is known before a sample comes: written out, a limit of the rule, or reckoned from these.
#[derive(Clone, Debug, PartialEq)]
pub struct Level(Num);

impl Level {
    pub fn read(level: &Expr, point: &str, limits: &[&str]) -> Result<Self, String> {
        let nobody = Asks::default();
        match Lowering::new(point, limits, &[], &nobody).expression(level)? {
            Typed::Number { number, .. } if number.is_level() => Ok(Self(number)),
            Typed::Number { .. } => Err("this one changes with the samples".into()),
            Typed::Bool(_) => Err("this is true or false".into()),
            Typed::Group(_) => Err("these are points".into()),
        }
    }

    /// At a point with these limits; no number when it cannot be reckoned.
    pub fn fold(&self, limits: &[(ImmutableString, f64)]) -> f64 {
        self.0.fold(limits)
    }
}

impl Num {
    fn is_level(&self) -> bool {
        match self {
            Self::Constant(_) | Self::Limit(_) => true,
            Self::Negative(number) | Self::Absolute(number) => number.is_level(),
            Self::Of(_, sides) => sides.0.is_level() && sides.1.is_level(),
            Self::Asked(_)
            | Self::Recall(_)
            | Self::Let(_)
            | Self::If(_)
            | Self::Group(..)
            | Self::Count(..)
            | Self::Far(_)
            | Self::Hour => false,
        }
    }

    fn fold(&self, limits: &[(ImmutableString, f64)]) -> f64 {
        match self {
            Self::Constant(number) => *number,
            Self::Limit(place) => limits.get(*place).map_or(f64::NAN, |(_, value)| *value),
            Self::Negative(number) => -number.fold(limits),
            Self::Absolute(number) => number.fold(limits).abs(),
            Self::Of(arithmetic, sides) => arithmetic.of(sides.0.fold(limits), sides.1.fold(limits)),
            Self::Asked(_)
            | Self::Recall(_)
            | Self::Let(_)
            | Self::If(_)
            | Self::Group(..)
            | Self::Count(..)
            | Self::Far(_)
            | Self::Hour => f64::NAN,
        }
    }
}

impl Asked {
    fn of(self, reading: &Reading<'_>) -> Option<f64> {
        match self {
            Self::Value => reading.value,
            Self::Period => Some(reading.point.period.as_secs_f64()),
            Self::Resolution => Some(reading.point.resolution),
            Self::RangeLow => reading.point.range.map(|range| range.low),
            Self::RangeHigh => reading.point.range.map(|range| range.high),
            sensor => sensor.of_the_sensor(&reading.health, reading.age_s),
        }
    }

    fn of_the_sensor(self, health: &Health, age_s: f64) -> Option<f64> {
        match self {
            Self::Age => Some(age_s),
            Self::FlatFor => Some(health.flat_s),
            Self::StoodFor => Some(health.stood_s),
            Self::Clock => Some(health.clock_s),
            Self::FallFor => Some(health.fall_s),
            Self::FallTo => Some(health.fall_to),
            Self::TwinFor => Some(health.twin_s),
            Self::Value | Self::Period | Self::Resolution | Self::RangeLow | Self::RangeHigh => None,
        }
    }

    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "value" => Self::Value,
            "age" => Self::Age,
            "period" => Self::Period,
            "flat_for" => Self::FlatFor,
            "stood_for" => Self::StoodFor,
            "clock" => Self::Clock,
            "fall_for" => Self::FallFor,
            "fall_to" => Self::FallTo,
            "twin_for" => Self::TwinFor,
            "resolution" => Self::Resolution,
            "range_low" => Self::RangeLow,
            "range_high" => Self::RangeHigh,
            _ => return None,
        })
    }
}

impl Bool {
    fn ask(&self, sight: &Sight<'_>) -> Option<bool> {
        match self {
            Self::Constant(says) => Some(*says),
            Self::Let(place) => Some(sight.lets[*place] != 0.0),
            Self::Compare(comparison, sides) => {
                let (left, right) = (sides.0.ask(sight)?, sides.1.ask(sight)?);
                Some(comparison.of(left, right))
            }
            Self::Recall(place) => sight.recall(*place).map(|says| says != 0.0),
            Self::Has(reason) => Some(sight.reading.health.quality.has(*reason)),
            Self::Quality(grade) => Some(sight.reading.health.quality.grade() == *grade),
            Self::Permit(kind) => Some(sight.reading.health.permit == *kind),
            Self::Vote(group, k, comparison, limit) => {
                let motion = Motion { k: *k, comparison: *comparison, limit: limit.ask(sight)? };
                sight.around()?.vote(*group, motion)
            }
            Self::GroupHas(group, reason) => sight.around()?.quality(*group).map(|quality| quality.has(*reason)),
            Self::GroupQuality(group, grade) => sight.around()?.grade(*group).map(|known| Some(known) == *grade),
            Self::Site(state) => Some(Some(sight.around()?.site) == *state),
            Self::Season(place) => *sight.around()?.seasons.get(*place)?,
            Self::Not(said) => said.ask(sight).map(|says| !says),
            Self::And(all) => {
                for one in all {
                    if !one.ask(sight)? {
                        return Some(false);
                    }
                }
                Some(true)
            }
            Self::Or(any) => {
                for one in any {
                    if one.ask(sight)? {
                        return Some(true);
                    }
                }
                Some(false)
            }
            Self::If(parts) => {
                if parts.0.ask(sight)? {
                    parts.1.ask(sight)
                } else {
                    parts.2.ask(sight)
                }
            }
        }
    }
}

struct Lowering<'a> {
    point: &'a str,
    limits: &'a [&'a str],
    asks: &'a [Ask],
    beyond: &'a Asks,
    /// Steps so far.
    nodes: Cell<usize>,
    /// `let`s in force; a later one hides an earlier one of its name.
    names: Vec<(String, Typed)>,
    lets: Vec<Typed>,
}

impl<'a> Lowering<'a> {
    fn new(point: &'a str, limits: &'a [&'a str], asks: &'a [Ask], beyond: &'a Asks) -> Self {
        Self { point, limits, asks, beyond, nodes: Cell::new(0), names: Vec::new(), lets: Vec::new() }
    }

    /// The closure's body: `let`s, then the answer.
    fn block(&mut self, body: &[Stmt]) -> Result<Typed, String> {
        let Some((last, before)) = body.split_last() else { return Err("it is empty".into()) };
        for statement in before {
            let Stmt::Var(bound, ..) = statement else { return Err("it has statements besides let".into()) };
            let typed = self.expression(&bound.1)?;
            if let Typed::Group(_) = typed {
                self.names.push((bound.0.name.to_string(), typed));
                continue;
            }
            let place = self.lets.len();
            if place == MOST_LETS {
                return Err(format!("more than {MOST_LETS} lets"));
            }
            let name = match &typed {
                Typed::Number { whole, .. } => Typed::Number { number: Num::Let(place), whole: *whole },
                Typed::Bool(_) => Typed::Bool(Bool::Let(place)),
                Typed::Group(group) => Typed::Group(*group),
            };
            self.lets.push(typed);
            self.names.push((bound.0.name.to_string(), name));
        }
        self.statement(last)
    }

    fn statement(&self, statement: &Stmt) -> Result<Typed, String> {
        match statement {
            Stmt::Expr(expression) => self.expression(expression),
            Stmt::FnCall(call, _) => self.call(call),
            Stmt::If(flow, _) => {
                let Typed::Bool(condition) = self.expression(&flow.expr)? else {
                    return Err("the condition of an if is a number".into());
                };
                match (self.single(flow.body.statements())?, self.single(flow.branch.statements())?) {
                    (Typed::Bool(yes), Typed::Bool(no)) => Ok(Typed::Bool(Bool::If(Box::new((condition, yes, no))))),
                    (Typed::Number { number: yes, whole: a }, Typed::Number { number: no, whole: b }) => {
                        Ok(Typed::Number { number: Num::If(Box::new((condition, yes, no))), whole: a || b })
                    }
                    (Typed::Bool(_) | Typed::Number { .. } | Typed::Group(_), _) => {
                        Err("the branches of an if differ in type".into())
                    }
                }
            }
            Stmt::Block(block) => self.single(block.statements()),
            _ => Err("it has a statement that is not lowered".into()),
        }
    }

    fn single(&self, statements: &[Stmt]) -> Result<Typed, String> {
        match statements {
            [only] => self.statement(only),
            [] => Err("an if without else".into()),
            [..] => Err("a block with several statements".into()),
        }
    }

    fn expression(&self, expression: &Expr) -> Result<Typed, String> {
        self.nodes.set(self.nodes.get() + 1);
        if self.nodes.get() > MOST_NODES {
            return Err(format!("it has more than {MOST_NODES} steps"));
        }
        match expression {
            Expr::BoolConstant(says, _) => Ok(Typed::Bool(Bool::Constant(*says))),
            Expr::FloatConstant(number, _) => Ok(Typed::Number { number: Num::Constant(**number), whole: false }),
            Expr::IntegerConstant(number, _) => {
                Ok(Typed::Number { number: Num::Constant(*number as f64), whole: true })
            }
            Expr::Variable(variable, ..) => {
                let bound = self.names.iter().rev().find(|(name, _)| *name == *variable.1);
                bound.map(|(_, typed)| typed.clone()).ok_or_else(|| format!("the variable {}", variable.1))
            }
            Expr::And(all, _) => Ok(Typed::Bool(Bool::And(self.bools(all)?))),
            Expr::Or(any, _) => Ok(Typed::Bool(Bool::Or(self.bools(any)?))),
            Expr::Stmt(block) => self.single(block.statements()),
            Expr::FnCall(call, _) => self.call(call),
            Expr::Dot(..) => self.chain(expression),
            _ => Err("it has an expression that is not lowered".into()),
        }
    }

    fn bools(&self, list: &[Expr]) -> Result<Box<[Bool]>, String> {
        list.iter()
            .map(|one| match self.expression(one)? {
                Typed::Bool(said) => Ok(said),
                Typed::Number { .. } | Typed::Group(_) => Err("a number beside && or ||".to_owned()),
            })
            .collect()
    }

    fn call(&self, call: &FnCallExpr) -> Result<Typed, String> {
        let token = call.op_token.as_ref();
        match (token, call.args.as_slice()) {
            (Some(Token::Bang), [one]) => match self.expression(one)? {
                Typed::Bool(said) => Ok(Typed::Bool(Bool::Not(Box::new(said)))),
                Typed::Number { .. } | Typed::Group(_) => Err("! of a number".into()),
            },
            (_, [one]) if call.name == "-" => {
                let number = self.real(one, "- of a whole number")?;
                Ok(Typed::Number { number: Num::Negative(Box::new(number)), whole: false })
            }
            (Some(token), [left, right]) => {
                if let Some(said) = self.words(token, left, right) {
                    return said;
                }
                if let Some(comparison) = comparison(token) {
                    let sides = self.sides(left, right)?;
                    return Ok(Typed::Bool(Bool::Compare(comparison, Box::new(sides))));
                }
                let Some(arithmetic) = arithmetic(token) else { return Err(format!("the operator {}", call.name)) };
                let sides = self.sides(left, right)?;
                Ok(Typed::Number { number: Num::Of(arithmetic, Box::new(sides)), whole: false })
            }
            (None, [left, right]) if call.name == "min" || call.name == "max" => {
                let arithmetic = if call.name == "min" { Arithmetic::Min } else { Arithmetic::Max };
                let sides = self.sides(left, right)?;
                Ok(Typed::Number { number: Num::Of(arithmetic, Box::new(sides)), whole: false })
            }
            (None, [one]) if call.name == "abs" => {
                let number = self.real(one, "abs of a whole number")?;
                Ok(Typed::Number { number: Num::Absolute(Box::new(number)), whole: false })
            }
            (Some(_) | None, _) => Err(format!("the function {}", call.name)),
        }
    }

    /// Two numbers of which at least one is surely no integer, so that Rhai makes both doubles.
    fn sides(&self, left: &Expr, right: &Expr) -> Result<(Num, Num), String> {
        match (self.expression(left)?, self.expression(right)?) {
            (Typed::Number { whole: true, .. }, Typed::Number { whole: true, .. }) => {
                Err("two whole numbers meet; write one with a dot".into())
            }
            (Typed::Number { number: left, .. }, Typed::Number { number: right, .. }) => Ok((left, right)),
            (Typed::Bool(_) | Typed::Group(_), _) | (_, Typed::Bool(_) | Typed::Group(_)) => {
                Err("true or false is compared or reckoned with".into())
            }
        }
    }

    fn real(&self, expression: &Expr, otherwise: &str) -> Result<Num, String> {
        match self.expression(expression)? {
            Typed::Number { number, whole: false } => Ok(number),
            Typed::Number { whole: true, .. } | Typed::Bool(_) | Typed::Group(_) => Err(otherwise.to_owned()),
        }
    }

    /// `p.quality == "uncertain"` and the like.
    fn words(&self, token: &Token, left: &Expr, right: &Expr) -> Option<Result<Typed, String>> {
        let (asked, word) = match (left, right) {
            (asked, Expr::StringConstant(word, _)) | (Expr::StringConstant(word, _), asked) => (asked, word),
            _ => return None,
        };
        let equal = match token {
            Token::EqualsTo => true,
            Token::NotEqualsTo => false,
            _ => return Some(Err("a text is compared by its order".into())),
        };
        let chain = chain(asked);
        let said = match chain.as_deref() {
            Some([Expr::Variable(variable, ..), Expr::Property(property, _)]) if variable.1 == self.point => {
                match property.2.as_str() {
                    "quality" => match word.as_str() {
                        "good" => Bool::Quality(Grade::Good),
                        "uncertain" => Bool::Quality(Grade::Uncertain),
                        "bad" => Bool::Quality(Grade::Bad),
                        _ => Bool::Constant(false),
                    },
                    "permit" if word.is_empty() => Bool::Permit(None),
                    "permit" => match PermitKind::ALL.into_iter().find(|kind| kind.word() == word.as_str()) {
                        Some(kind) => Bool::Permit(Some(kind)),
                        None => Bool::Constant(false),
                    },
                    "site" => Bool::Site(SiteState::from_word(word)),
                    _ => return Some(Err("a number is compared with a text".into())),
                }
            }
            Some([before @ .., Expr::Property(property, _)]) if property.2.as_str() == "quality" => {
                match self.group(before) {
                    Ok(group) => Bool::GroupQuality(group, grade(word)),
                    Err(why) => return Some(Err(why)),
                }
            }
            Some(_) | None => return Some(Err("a text is compared".into())),
        };
        Some(Ok(Typed::Bool(if equal { said } else { Bool::Not(Box::new(said)) })))
    }

    /// `p.value`, `p.limit.alarm`, `p.mean("5m")`, `p.has("line_break")`, `p.value.abs()`.
    fn chain(&self, expression: &Expr) -> Result<Typed, String> {
        let links = chain(expression).ok_or("it asks with ?.")?;
        let number = |number: Num| Typed::Number { number, whole: false };
        let of_point = matches!(links[0], Expr::Variable(variable, ..) if variable.1 == self.point
            && !self.names.iter().any(|(name, _)| name == self.point));
        let (first, rest) = match (&links[1..], of_point) {
            ([Expr::Property(limit, _), Expr::Property(name, _), rest @ ..], true) if limit.2 == "limit" => {
                let place = self.limits.iter().position(|known| *known == name.2.as_str());
                (number(Num::Limit(place.ok_or_else(|| format!("the limit {}", name.2))?)), rest)
            }
            ([Expr::Property(asked, _), rest @ ..], true) if asked.2 == "hour" => (number(Num::Hour), rest),
            ([Expr::Property(asked, _), rest @ ..], true) => {
                let asked = Asked::named(&asked.2).ok_or_else(|| format!("p.{}", asked.2))?;
                (number(Num::Asked(asked)), rest)
            }
            ([Expr::MethodCall(call, _), rest @ ..], true) => (self.method(call)?, rest),
            (rest, false) => (self.expression(links[0])?, rest),
            (_, true) => return Err("what p is asked".into()),
        };
        match (first, rest) {
            (first, []) => Ok(first),
            (Typed::Group(group), [asked, rest @ ..]) => self.of_group(group, asked, rest),
            (Typed::Number { number: inner, whole: false }, [Expr::MethodCall(call, _)])
                if call.name == "abs" && call.args.is_empty() =>
            {
                Ok(number(Num::Absolute(Box::new(inner))))
            }
            (Typed::Number { .. } | Typed::Bool(_), _) => Err("a method that is not lowered".into()),
        }
    }

    fn method(&self, call: &FnCallExpr) -> Result<Typed, String> {
        if let Some(selector) = selector(call)? {
            let group = self.beyond.group(&selector);
            return group.map(Typed::Group).ok_or_else(|| format!("p.{selector}"));
        }
        if let ("season", [Expr::StringConstant(text, _)]) = (call.name.as_str(), call.args.as_slice()) {
            let season = self.beyond.season(text).ok_or_else(|| format!("the season {text}"))?;
            return Ok(Typed::Bool(Bool::Season(season)));
        }
        if let ("has", [Expr::StringConstant(text, _)]) = (call.name.as_str(), call.args.as_slice()) {
            let reason = Reason::from_word(text).ok_or_else(|| format!("the reason {text}"))?;
            return Ok(Typed::Bool(Bool::Has(reason)));
        }
        let unknown = || format!("p.{}(..)", call.name);
        let function = Function::named(&call.name).ok_or_else(unknown)?;
        let ask = Ask::read(function, call, self.point, self.limits)?;
        let place = self.asks.iter().position(|known| *known == ask).ok_or_else(unknown)?;
        Ok(if function.is_question() {
            Typed::Bool(Bool::Recall(place))
        } else {
            Typed::Number { number: Num::Recall(place), whole: false }
        })
    }
}

/// What is asked of a group.
impl Lowering<'_> {
    /// `p.related("feed")`, or a name that stands for it.
    fn group(&self, links: &[&Expr]) -> Result<usize, String> {
        let typed = match links {
            [Expr::Variable(variable, ..), Expr::MethodCall(call, _)] if variable.1 == self.point => {
                self.method(call)?
            }
            [only] => self.expression(only)?,
            [] | [..] => return Err("a text is compared".into()),
        };
        match typed {
            Typed::Group(group) => Ok(group),
            Typed::Number { .. } | Typed::Bool(_) => Err("a text is compared".into()),
        }
    }

    fn of_group(&self, group: usize, asked: &Expr, rest: &[&Expr]) -> Result<Typed, String> {
        let number = |number: Num| Typed::Number { number, whole: false };
        let typed = match asked {
            Expr::Property(property, _) => {
                let ask = GroupAsk::named(&property.2).ok_or_else(|| format!("a group's {}", property.2))?;
                number(Num::Group(group, ask))
            }
            Expr::MethodCall(call, _) if call.name == "vote" => {
                let (k, comparison, limit) = motion(call)?;
                Typed::Bool(Bool::Vote(group, k, comparison, Box::new(self.any_number(limit)?)))
            }
            Expr::MethodCall(call, _) => match (call.name.as_str(), call.args.as_slice()) {
                ("over", [limit]) => {
                    number(Num::Count(group, Comparison::GreaterOrEqual, Box::new(self.any_number(limit)?)))
                }
                ("under", [limit]) => {
                    number(Num::Count(group, Comparison::LessOrEqual, Box::new(self.any_number(limit)?)))
                }
                ("has", [Expr::StringConstant(word, _)]) => {
                    let reason = Reason::from_word(word).ok_or_else(|| format!("the reason {word}"))?;
                    Typed::Bool(Bool::GroupHas(group, reason))
                }
                (name, [Expr::StringConstant(span, _)]) => {
                    let over = over(name).ok_or_else(|| format!("a group's {name}(..)"))?;
                    let place = self.beyond.window(group, over, span).ok_or_else(|| format!("the span {span}"))?;
                    number(Num::Far(place))
                }
                (name, _) => return Err(format!("a group's {name}(..)")),
            },
            _ => return Err("what a group is asked".into()),
        };
        match (typed, rest) {
            (typed, []) => Ok(typed),
            (Typed::Number { number: inner, .. }, [Expr::MethodCall(call, _)])
                if call.name == "abs" && call.args.is_empty() =>
            {
                Ok(number(Num::Absolute(Box::new(inner))))
            }
            (Typed::Number { .. } | Typed::Bool(_) | Typed::Group(_), _) => Err("a method that is not lowered".into()),
        }
    }

    fn any_number(&self, expression: &Expr) -> Result<Num, String> {
        match self.expression(expression)? {
            Typed::Number { number, .. } => Ok(number),
            Typed::Bool(_) | Typed::Group(_) => Err("a limit that is no number".into()),
        }
    }
}

/// The links of `a.b.c`; `None` when one of them is `?.`.
pub(super) fn chain(expression: &Expr) -> Option<Vec<&Expr>> {
    let Expr::Dot(sides, flags, _) = expression else { return Some(vec![expression]) };
    if flags.contains(ASTFlags::NEGATED) {
        return None;
    }
    let mut links = chain(&sides.lhs)?;
    links.extend(chain(&sides.rhs)?);
    Some(links)
}

fn comparison(token: &Token) -> Option<Comparison> {
    Some(match token {
        Token::EqualsTo => Comparison::Equal,
        Token::NotEqualsTo => Comparison::NotEqual,
        Token::GreaterThan => Comparison::Greater,
        Token::GreaterThanEqualsTo => Comparison::GreaterOrEqual,
        Token::LessThan => Comparison::Less,
        Token::LessThanEqualsTo => Comparison::LessOrEqual,
        _ => return None,
    })
}

fn arithmetic(token: &Token) -> Option<Arithmetic> {
    Some(match token {
        Token::Plus => Arithmetic::Add,
        Token::Minus => Arithmetic::Subtract,
        Token::Multiply => Arithmetic::Multiply,
        Token::Divide => Arithmetic::Divide,
        Token::Modulo => Arithmetic::Modulo,
        Token::PowerOf => Arithmetic::Power,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
