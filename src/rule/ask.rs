//! Calls such as `p.mean("10m")`: read from a closure, placed at a point, answered from its past.
//!
//! In come a call's arguments and the limits in force at a point; out goes a [`Recall`], which both the native
//! program and Rhai ask, so that there is one answer. Levels are numbers written out, limits of the rule, or what
//! is reckoned from these: they are folded for each point before a sample comes, because what is remembered
//! depends on them. A level that is no number leaves the answer unknown, and the plan says so.

use std::rc::Rc;
use std::time::Duration;

use rhai::{Expr, FnCallExpr, ImmutableString};

use super::functions::{Function, Shape};
use super::native::Level;
use super::{Comparison, LONGEST_WINDOW};
use crate::engine::{Against, Keep, MOST_SAMPLES, Over, Past, Wants, expected};
use crate::model::{Stricter, parse_duration};

/// The most levels that a function takes.
pub const MOST_LEVELS: usize = 2;
/// What `time_to` says when the level is not approached: a year in minutes.
pub const NEVER_MINUTES: f64 = 525_600.0;

/// One call as it stands in a closure.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    pub function: Function,
    /// The span or the comparison, as written.
    pub text: Rc<str>,
    span: Duration,
    comparison: Option<Comparison>,
    levels: Vec<Level>,
}

impl Ask {
    /// Its span as written, if it has one.
    pub fn window(&self) -> Option<String> {
        (!self.span.is_zero()).then(|| self.text.to_string())
    }

    /// The text says what is wrong with the arguments.
    pub fn read(function: Function, call: &FnCallExpr, point: &str, limits: &[&str]) -> Result<Self, String> {
        let mut ask = Self { function, text: Rc::from(""), span: Duration::ZERO, comparison: None, levels: Vec::new() };
        let wrong = || format!("{}(..) takes {}, such as p.{}", call.name, function.takes(), function.example());
        let span_wrong = || format!("{}(..) takes a span written out, such as {}", call.name, function.example());
        match (function.shape(), call.args.as_slice()) {
            (Shape::Span, [Expr::StringConstant(span, _)]) => ask.take_span(span)?,
            (Shape::Span, _) => return Err(span_wrong()),
            (Shape::LevelSpan, [level, Expr::StringConstant(span, _)]) => {
                ask.take_level(level, point, limits)?;
                ask.take_span(span)?;
            }
            (Shape::Level, [level]) => ask.take_level(level, point, limits)?,
            (Shape::Comparison, [Expr::StringConstant(word, _), level]) => {
                ask.comparison = Comparison::from_word(word);
                ask.text = Rc::from(word.as_str());
                if ask.comparison.is_none() {
                    return Err(wrong());
                }
                ask.take_level(level, point, limits)?;
            }
            (Shape::Levels, [target, slack]) => {
                ask.take_level(target, point, limits)?;
                ask.take_level(slack, point, limits)?;
            }
            (Shape::LevelSpan | Shape::Level | Shape::Comparison | Shape::Levels, _) => return Err(wrong()),
        }
        Ok(ask)
    }

    fn take_span(&mut self, text: &str) -> Result<(), String> {
        self.span = parse_duration(text).map_err(|error| error.to_string())?;
        if self.span.is_zero() || self.span > LONGEST_WINDOW {
            return Err(format!("the window {text:?} is not between 1ms and 24h"));
        }
        self.text = Rc::from(text);
        Ok(())
    }

    fn take_level(&mut self, level: &Expr, point: &str, limits: &[&str]) -> Result<(), String> {
        let name = self.function.name();
        let level = Level::read(level, point, limits).map_err(|why| {
            format!(
                "{name}(..): its level must be known before a sample comes: a number, {point}.limit.NAME or reckoned \
                 from these; {why}"
            )
        })?;
        self.levels.push(level);
        Ok(())
    }

    /// What is wrong with its span for a point with that period: a window that is shorter than it says would say
    /// less than it should.
    pub fn too_long(&self, period: Duration) -> Option<String> {
        let (name, span) = (self.function.name(), &self.text);
        let samples = if self.function == Function::Ewma { 0 } else { expected(self.span, period) };
        (samples > MOST_SAMPLES).then(|| {
            format!("{name}(.., {span:?}) needs {samples} samples there, but {MOST_SAMPLES} are kept: shorten the span")
        })
    }

    /// Adds what it needs to what the point wants. The error says why the levels are of no use there.
    pub fn place(&self, at: &Site<'_>, wants: &mut Wants) -> (Recall, Result<(), String>) {
        let mut levels = [0.0; MOST_LEVELS];
        for (place, level) in self.levels.iter().enumerate() {
            levels[place] = level.fold(at.limits);
        }
        let [level, second] = levels;
        let sound = if levels.iter().all(|level| level.is_finite()) { Ok(()) } else { Err("is no finite number") };
        let sound = match self.function {
            Function::Cusum | Function::CusumDown if second < 0.0 => sound.and(Err("has a slack below zero")),
            Function::Over(_)
            | Function::Ewma
            | Function::TimeTo
            | Function::CrossedUp
            | Function::CrossedDown
            | Function::HeldFor
            | Function::Since
            | Function::Cusum
            | Function::CusumDown => sound,
        };
        let against = || {
            let comparison = self.comparison.unwrap_or(Comparison::Equal);
            Against { comparison, level, hole: at.hole }
        };
        if let Err(what) = sound {
            let wrong = format!("{}(..): a level {what} there, so its answer is unknown", self.function.name());
            let nowhere = Recall { function: self.function, text: self.text.clone(), levels, lies: Lies::Nowhere };
            return (nowhere, Err(wrong));
        }
        let lies = match self.function {
            Function::Over(over) => Lies::Window(over, wants.window(self.span, over)),
            Function::Ewma => Lies::Kept(wants.keep(Keep::Ewma { constant: self.span })),
            Function::TimeTo => {
                let window = wants.window(self.span, Over::Slope);
                Lies::Line { window, level, stricter: at.stricter, span: self.span }
            }
            Function::CrossedUp | Function::CrossedDown => {
                wants.pair = true;
                Lies::Pair { level, up: self.function == Function::CrossedUp }
            }
            Function::HeldFor => Lies::Kept(wants.keep(Keep::Held(against()))),
            Function::Since => Lies::Kept(wants.keep(Keep::Since(against()))),
            Function::Cusum | Function::CusumDown => {
                let down = self.function == Function::CusumDown;
                Lies::Kept(wants.keep(Keep::Cusum { target: level, slack: second, down }))
            }
        };
        (Recall { function: self.function, text: self.text.clone(), levels, lies }, Ok(()))
    }
}

/// Where a call is placed.
pub struct Site<'a> {
    /// In force at the point.
    pub limits: &'a [(ImmutableString, f64)],
    /// Of all limits of the rule, if they agree.
    pub stricter: Option<Stricter>,
    /// A time without samples that begins counts anew; `None` bridges them.
    pub hole: Option<Duration>,
}

/// A call at a point: where its answer lies.
#[derive(Clone, Debug, PartialEq)]
pub struct Recall {
    pub function: Function,
    text: Rc<str>,
    levels: [f64; MOST_LEVELS],
    lies: Lies,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Lies {
    Window(Over, usize),
    Line {
        window: usize,
        level: f64,
        stricter: Option<Stricter>,
        span: Duration,
    },
    Pair {
        level: f64,
        up: bool,
    },
    Kept(usize),
    /// Its levels are of no use.
    Nowhere,
}

/// Where the answer of a call lies among the values that a point looks back on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Lying {
    /// Between the lowest and the highest.
    Among,
    /// It is the difference of two of them.
    Apart,
    /// It is the sum of some of them.
    Sum,
    /// It is whether the newest two lie on different sides of the level.
    Crossing {
        level: f64,
        up: bool,
    },
    /// It is in how many minutes a line through the samples of the span is on that side of the level.
    Approach {
        level: f64,
        stricter: Stricter,
        span: Duration,
    },
    Anywhere,
    /// It is never known.
    Nowhere,
}

impl Recall {
    pub const fn lying(&self) -> Lying {
        match (self.lies, self.function) {
            (Lies::Nowhere, _) => Lying::Nowhere,
            (Lies::Pair { level, up }, _) => Lying::Crossing { level, up },
            (Lies::Window(over, _), _) => match over {
                Over::Mean | Over::Min | Over::Max | Over::Median => Lying::Among,
                Over::Delta => Lying::Apart,
                Over::Sum => Lying::Sum,
                Over::Count | Over::Stddev | Over::Rate | Over::Slope | Over::Increase | Over::Resets | Over::Gap => {
                    Lying::Anywhere
                }
            },
            (Lies::Kept(_), Function::Ewma) => Lying::Among,
            (Lies::Line { level, stricter: Some(stricter), span, .. }, _) => Lying::Approach { level, stricter, span },
            (Lies::Kept(_) | Lies::Line { .. }, _) => Lying::Anywhere,
        }
    }

    /// Is this the call with these arguments?
    pub fn is(&self, function: Function, text: &str, levels: [f64; MOST_LEVELS]) -> bool {
        // Zero is zero, whichever sign it was reckoned with.
        let same = |(one, other): (&f64, &f64)| one == other || (one.is_nan() && other.is_nan());
        self.function == function && *self.text == *text && self.levels.iter().zip(&levels).all(same)
    }

    /// `None`: it is not known. Of a question, 1 is yes and 0 is no.
    pub fn ask(&self, past: &Past) -> Option<f64> {
        match self.lies {
            Lies::Window(over, place) => past.over(place, over),
            Lies::Kept(place) => past.kept(place),
            Lies::Line { window, level, stricter, .. } => {
                let (slope, value) = (past.over(window, Over::Slope)?, past.newest()?);
                Some(minutes_to(level, value, slope, stricter))
            }
            Lies::Pair { level, up } => {
                let (before, now) = past.pair()?;
                let (from, to) = if up {
                    (Comparison::Less, Comparison::GreaterOrEqual)
                } else {
                    (Comparison::Greater, Comparison::LessOrEqual)
                };
                Some(f64::from(u8::from(from.of(before, level) && to.of(now, level))))
            }
            Lies::Nowhere => None,
        }
    }
}

/// Minutes until a line through `value` reaches `level`. `stricter` says on which side of the level the danger is:
/// there it is reached. Without, only the level itself is.
fn minutes_to(level: f64, value: f64, slope: f64, stricter: Option<Stricter>) -> f64 {
    let reached = match stricter {
        Some(Stricter::Lower) => Comparison::GreaterOrEqual,
        Some(Stricter::Higher) => Comparison::LessOrEqual,
        None => Comparison::Equal,
    };
    if reached.of(value, level) {
        return 0.0;
    }
    let minutes = (level - value) / slope;
    if minutes >= 0.0 { minutes.min(NEVER_MINUTES) } else { NEVER_MINUTES }
}
