//! The language of rules: Rhai with a budget, and what `p` can be asked.
//!
//! What that is stands in one list, [`super::functions::CATALOGUE`], which is also what people read. Spans and
//! levels are written out, so that what has to be kept is known before a rule runs.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use rhai::packages::{BasicMathPackage, CorePackage, LogicPackage, Package};
use rhai::{Dynamic, Engine, EvalAltResult, ImmutableString, Map, NativeCallContext, OptimizationLevel, Position};

use super::Comparison;
use super::around::{Asks, Selector};
use super::ask::{MOST_LEVELS, Recall};
use super::functions::{Function, Shape};
use super::seen::{Around, GroupAsk, Motion};
use crate::engine::{Health, Past};
use crate::model::{Grade, Kind, PermitKind, Range, Reason};

/// Operations a rule may use for one verdict. `p.value >= p.limit.alarm` takes about ten.
pub const BUDGET_OPERATIONS: u64 = 10_000;
/// The longest window: a rule that wants more belongs to the rollups.
pub const LONGEST_WINDOW: std::time::Duration = std::time::Duration::from_secs(24 * 3_600);

/// What a point can be asked without arguments.
pub const PROPERTIES: [&str; 15] = [
    "value",
    "age",
    "period",
    "quality",
    "limit",
    "permit",
    "flat_for",
    "stood_for",
    "clock",
    "fall_for",
    "fall_to",
    "twin_for",
    "resolution",
    "range_low",
    "range_high",
];

type RhaiResult<T> = Result<T, Box<EvalAltResult>>;

/// What the running rule looks at; set before each verdict.
#[derive(Debug, Default)]
pub(super) struct Scene {
    pub value: Cell<f64>,
    pub has_value: Cell<bool>,
    pub health: Cell<Health>,
    pub resolution: Cell<f64>,
    pub range: Cell<Option<Range>>,
    pub age_s: Cell<f64>,
    pub period_s: Cell<f64>,
    pub limits: RefCell<Rc<[(ImmutableString, f64)]>>,
    pub recalls: RefCell<Rc<[Recall]>>,
    /// First and number of the running closure's calls among them.
    pub asks: Cell<(usize, usize)>,
    pub past: RefCell<Past>,
    /// What the running closure asks beyond its point, and what was seen there.
    pub beyond: RefCell<Rc<Asks>>,
    pub around: RefCell<Option<Rc<Around>>>,
    /// The rule asked for something that is not known: its verdict is "unknown", not a fault.
    pub missing: Cell<bool>,
}

/// `p` in a rule.
#[derive(Clone)]
pub(super) struct PointView(pub Rc<Scene>);

/// `p.limit` in a rule.
#[derive(Clone)]
struct LimitsView(Rc<Scene>);

/// `p.point("fan-1")` and the like in a rule: place among the closure's selectors.
#[derive(Clone)]
struct GroupView(Rc<Scene>, usize);

/// The engine that compiles and runs rules, and the scene they look at. One a thread.
pub struct Language {
    pub(super) engine: Engine,
    /// Reads files as they are written, to find where something stands.
    pub(super) reader: Engine,
    pub(super) scene: Rc<Scene>,
    /// What `rule(id, body)` was called with while a file is read: id, line, body.
    pub(super) told: Rc<RefCell<Vec<(String, Position, Map)>>>,
    /// Leave everything to Rhai.
    pub(super) interprets: bool,
}

impl Default for Language {
    fn default() -> Self {
        Self::new()
    }
}

impl Language {
    #[must_use]
    pub fn new() -> Self {
        let mut engine = Engine::new_raw();
        CorePackage::new().register_into_engine(&mut engine);
        LogicPackage::new().register_into_engine(&mut engine);
        BasicMathPackage::new().register_into_engine(&mut engine);
        limit(&mut engine);
        register_point(&mut engine);
        register_around(&mut engine);
        register_group(&mut engine);
        let told: Rc<RefCell<Vec<(String, Position, Map)>>> = Rc::default();
        let listed = told.clone();
        engine.register_fn("rule", move |call: NativeCallContext, id: ImmutableString, body: Map| {
            listed.borrow_mut().push((id.to_string(), call.call_position(), body));
        });
        let mut reader = Engine::new_raw();
        limit(&mut reader);
        reader.set_strict_variables(false);
        reader.set_optimization_level(OptimizationLevel::None);
        Self { engine, reader, scene: Rc::default(), told, interprets: false }
    }

    /// One in which no closure is lowered: what native judging is measured and checked against.
    #[must_use]
    pub fn interpreting() -> Self {
        Self { interprets: true, ..Self::new() }
    }
}

/// Bounds on everything a rule can consume, at load and at run time.
fn limit(engine: &mut Engine) {
    engine.set_max_operations(BUDGET_OPERATIONS);
    engine.set_max_call_levels(8);
    engine.set_max_expr_depths(64, 64);
    engine.set_max_string_size(4_096);
    engine.set_max_array_size(1_024);
    engine.set_max_map_size(256);
    engine.set_max_variables(64);
    engine.set_max_functions(256);
    engine.set_strict_variables(true);
    engine.disable_symbol("eval");
    engine.on_print(|_| ());
    engine.on_debug(|_, _, _| ());
}

fn register_point(engine: &mut Engine) {
    engine.register_type_with_name::<PointView>("Point");
    engine.register_type_with_name::<LimitsView>("Limits");
    engine.register_get("value", |p: &mut PointView| -> RhaiResult<f64> {
        known(&p.0, p.0.has_value.get().then(|| p.0.value.get()))
    });
    engine.register_get("age", |p: &mut PointView| p.0.age_s.get());
    engine.register_get("period", |p: &mut PointView| p.0.period_s.get());
    engine.register_get("quality", |p: &mut PointView| match p.0.health.get().quality.grade() {
        Grade::Good => "good",
        Grade::Uncertain => "uncertain",
        Grade::Bad => "bad",
    });
    engine.register_fn("has", |p: &mut PointView, word: ImmutableString| -> RhaiResult<bool> {
        match Reason::from_word(&word) {
            Some(reason) => Ok(p.0.health.get().quality.has(reason)),
            None => Err(unknown_reason(&word).into()),
        }
    });
    engine.register_get("permit", |p: &mut PointView| p.0.health.get().permit.map_or("", PermitKind::word));
    engine.register_get("flat_for", |p: &mut PointView| p.0.health.get().flat_s);
    engine.register_get("stood_for", |p: &mut PointView| p.0.health.get().stood_s);
    engine.register_get("clock", |p: &mut PointView| p.0.health.get().clock_s);
    engine.register_get("fall_for", |p: &mut PointView| p.0.health.get().fall_s);
    engine.register_get("fall_to", |p: &mut PointView| p.0.health.get().fall_to);
    engine.register_get("twin_for", |p: &mut PointView| p.0.health.get().twin_s);
    engine.register_get("resolution", |p: &mut PointView| p.0.resolution.get());
    engine.register_get("range_low", |p: &mut PointView| known(&p.0, p.0.range.get().map(|range| range.low)));
    engine.register_get("range_high", |p: &mut PointView| known(&p.0, p.0.range.get().map(|range| range.high)));
    engine.register_get("limit", |p: &mut PointView| LimitsView(p.0.clone()));
    engine.register_indexer_get(|limits: &mut LimitsView, name: ImmutableString| -> RhaiResult<f64> {
        let known = limits.0.limits.borrow();
        match known.iter().find(|(known, _)| *known == name) {
            Some((_, value)) => Ok(*value),
            None => Err(format!("the rule has no limit {name:?}").into()),
        }
    });
    Function::ALL.into_iter().for_each(|function| register_function(engine, function));
}

/// Selectors and what is asked of the site, the year and the day.
fn register_around(engine: &mut Engine) {
    engine.register_type_with_name::<GroupView>("Group");
    engine.register_fn("point", |p: &mut PointView, name: ImmutableString| group(p, Selector::Point(name.to_string())));
    engine.register_fn("related", |p: &mut PointView, word: ImmutableString| {
        group(p, Selector::Related(word.to_string()))
    });
    engine.register_fn(
        "all",
        |p: &mut PointView, kind: ImmutableString, place: ImmutableString| match Kind::from_word(&kind) {
            Some(kind) => group(p, Selector::All(kind, place.to_string())),
            None => Err(format!("{kind:?} is not a kind").into()),
        },
    );
    engine.register_fn("season", |p: &mut PointView, name: ImmutableString| -> RhaiResult<bool> {
        let Some(place) = p.0.beyond.borrow().season(&name) else {
            return Err(format!("the season {name:?} must be written out in the rule").into());
        };
        look(&p.0, |around| *around.seasons.get(place)?)
    });
    engine.register_get("site", |p: &mut PointView| look(&p.0, |around| Some(around.site.word())));
    engine.register_get("hour", |p: &mut PointView| look(&p.0, |around| Some(around.hour)));
}

fn register_group(engine: &mut Engine) {
    for (name, ask) in GroupAsk::ALL {
        engine.register_get(name, move |g: &mut GroupView| look(&g.0, |around| around.ask(g.1, ask)));
    }
    engine.register_get("quality", |g: &mut GroupView| {
        let said = |grade| match grade {
            Grade::Good => "good",
            Grade::Uncertain => "uncertain",
            Grade::Bad => "bad",
        };
        look(&g.0, |around| around.grade(g.1).map(said))
    });
    engine.register_fn("has", |g: &mut GroupView, word: ImmutableString| -> RhaiResult<bool> {
        match Reason::from_word(&word) {
            Some(reason) => look(&g.0, |around| around.quality(g.1).map(|quality| quality.has(reason))),
            None => Err(unknown_reason(&word).into()),
        }
    });
    for (name, comparison) in [("over", Comparison::GreaterOrEqual), ("under", Comparison::LessOrEqual)] {
        let count = move |g: &GroupView, limit: f64| look(&g.0, |around| around.count(g.1, comparison, limit));
        engine.register_fn(name, move |g: &mut GroupView, limit: f64| count(g, limit));
        engine.register_fn(name, move |g: &mut GroupView, limit: i64| count(g, limit as f64));
    }
    engine.register_fn("vote", |g: &mut GroupView, k: i64, word: ImmutableString, limit: f64| vote(g, k, &word, limit));
    engine.register_fn("vote", |g: &mut GroupView, k: i64, word: ImmutableString, limit: i64| {
        vote(g, k, &word, limit as f64)
    });
    for function in Function::ALL {
        let Function::Over(over) = function else { continue };
        engine.register_fn(function.name(), move |g: &mut GroupView, span: ImmutableString| -> RhaiResult<f64> {
            let place = g.0.beyond.borrow().window(g.1, over, &span);
            let Some(place) = place else {
                return Err(format!("the span {span:?} must be written out in the rule").into());
            };
            look(&g.0, |around| *around.windows.get(place)?)
        });
    }
}

fn group(p: &PointView, selector: Selector) -> RhaiResult<GroupView> {
    let place = p.0.beyond.borrow().group(&selector);
    match place {
        Some(place) => Ok(GroupView(p.0.clone(), place)),
        None => Err(format!("{selector} must be written out in the rule").into()),
    }
}

fn vote(g: &GroupView, k: i64, word: &str, limit: f64) -> RhaiResult<bool> {
    match (usize::try_from(k), Comparison::from_word(word)) {
        (Ok(k @ 1..), Some(comparison)) => look(&g.0, |around| around.vote(g.1, Motion { k, comparison, limit })),
        (Ok(_) | Err(_), _) => Err("what is voted on must be written out in the rule".into()),
    }
}

/// What was seen around the point; unknown where nobody looked.
fn look<T>(scene: &Scene, asked: impl FnOnce(&Around) -> Option<T>) -> RhaiResult<T> {
    let around = scene.around.borrow();
    known(scene, around.as_deref().and_then(asked))
}

fn register_function(engine: &mut Engine, function: Function) {
    let name = function.name();
    let levels = |one: &Dynamic, other: &Dynamic| [number(one), number(other)];
    match function.shape() {
        Shape::Span => engine
            .register_fn(name, move |p: &mut PointView, span: ImmutableString| recall(p, function, &span, [0.0; 2])),
        Shape::Level => engine.register_fn(name, move |p: &mut PointView, level: Dynamic| {
            recall(p, function, "", levels(&level, &Dynamic::ZERO))
        }),
        Shape::LevelSpan => {
            engine.register_fn(name, move |p: &mut PointView, level: Dynamic, span: ImmutableString| {
                recall(p, function, &span, levels(&level, &Dynamic::ZERO))
            })
        }
        Shape::Comparison => {
            engine.register_fn(name, move |p: &mut PointView, word: ImmutableString, level: Dynamic| {
                recall(p, function, &word, levels(&level, &Dynamic::ZERO))
            })
        }
        Shape::Levels => engine.register_fn(name, move |p: &mut PointView, target: Dynamic, slack: Dynamic| {
            recall(p, function, "", levels(&target, &slack))
        }),
    };
}

/// A whole number is as good as one with a dot.
fn number(dynamic: &Dynamic) -> f64 {
    dynamic.as_float().or_else(|_| dynamic.as_int().map(|whole| whole as f64)).unwrap_or(f64::NAN)
}

/// The answer that the native program would get.
fn recall(p: &PointView, function: Function, text: &str, levels: [f64; MOST_LEVELS]) -> RhaiResult<Dynamic> {
    let (recalls, (first, count)) = (p.0.recalls.borrow(), p.0.asks.get());
    let Some(recall) = recalls.iter().skip(first).take(count).find(|known| known.is(function, text, levels)) else {
        return Err(format!("the arguments of {}(..) must be written out in the rule", function.name()).into());
    };
    let said = known(&p.0, recall.ask(&p.0.past.borrow()))?;
    Ok(if function.is_question() { Dynamic::from(said != 0.0) } else { Dynamic::from(said) })
}

fn known<T>(scene: &Scene, asked: Option<T>) -> RhaiResult<T> {
    asked.ok_or_else(|| {
        scene.missing.set(true);
        "no usable value yet".into()
    })
}

/// What to say of a reason that there is not.
pub(super) fn unknown_reason(word: &str) -> String {
    let words = Reason::ALL.map(Reason::word).join(", ");
    format!("asks for the reason {word:?}, but reasons are {words}")
}
