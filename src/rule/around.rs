//! What a closure asks beyond its own point, as written.
//!
//! | asked | says |
//! |---|---|
//! | `p.point("fan-1")` | another point of the site, by its name within the site |
//! | `p.related("redundant")` | the points that the point table names so; without the point itself |
//! | `p.all("switch", "fan")` | all points of the site of that kind and place (`""`: any), itself too when it fits |
//! | `.value`, `.age`, `.quality`, `.has("line_break")`, `.mean("10m")` .. | of a point that is alone |
//! | `.max`, `.min`, `.mean`, `.median`, `.sum`, `.spread` | over the usable and fresh values |
//! | `.known`, `.size` | how many are usable and fresh, and how many there are |
//! | `.over(x)`, `.under(x)` | how many are at or above `x`, at or below it |
//! | `.vote(2, ">=", x)` | do two agree; the point itself votes with others of its kind and unit |
//! | `p.site` | `"producing"`, `"stopped"` or `"maintenance"` |
//! | `p.season("flood")` | is it that season at the site |
//! | `p.hour` | hour of the local day with its fraction, by Davy's clock |
//!
//! In comes the syntax tree, node by node; out come the selectors, windows and seasons that it names. They are
//! texts written out, so that all of them are known at load. Never: a search while a sample is judged.

#![expect(clippy::wildcard_enum_match_arm, reason = "the enums are Rhai's and grow; what is not named asks nothing")]

use std::fmt;
use std::rc::Rc;

use rhai::{ASTNode, Expr, FnCallExpr};

use super::Comparison;
use super::functions::Function;
use super::native::chain;
use super::seen::GroupAsk;
use crate::engine::Over;
use crate::model::Kind;

/// What `p` can be asked besides its own.
pub const PROPERTIES: [&str; 2] = ["site", "hour"];
/// Functions of `p` that lead beyond it.
pub const FUNCTIONS: [&str; 4] = ["point", "related", "all", "season"];
/// Methods of a group, besides windows.
const METHODS: [&str; 4] = ["has", "over", "under", "vote"];

/// Which points are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    Point(String),
    Related(String),
    All(Kind, String),
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Point(name) => write!(f, "point({name:?})"),
            Self::Related(word) => write!(f, "related({word:?})"),
            Self::All(kind, place) => write!(f, "all({:?}, {place:?})", kind.word()),
        }
    }
}

/// A window of another point.
#[derive(Clone, Debug, PartialEq)]
pub struct FarWindow {
    /// Place among the selectors.
    pub group: usize,
    pub over: Over,
    pub span: Rc<str>,
}

/// All that one closure asks around its point. Places in these lists are what programs refer to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asks {
    pub groups: Vec<Selector>,
    pub windows: Vec<FarWindow>,
    pub seasons: Vec<String>,
    /// Most votes asked of each group.
    pub votes: Vec<(usize, usize)>,
    /// What only a point that is alone can answer.
    pub singles: Vec<usize>,
    /// `p.site` or `p.hour`.
    pub bearings: bool,
}

impl Asks {
    #[must_use]
    pub fn any(&self) -> bool {
        self.bearings || !(self.groups.is_empty() && self.seasons.is_empty())
    }

    #[must_use]
    pub fn group(&self, selector: &Selector) -> Option<usize> {
        self.groups.iter().position(|known| known == selector)
    }

    #[must_use]
    pub fn window(&self, group: usize, over: Over, span: &str) -> Option<usize> {
        self.windows.iter().position(|known| (known.group, known.over, &*known.span) == (group, over, span))
    }

    #[must_use]
    pub fn season(&self, name: &str) -> Option<usize> {
        self.seasons.iter().position(|known| known == name)
    }
}

/// Collects [`Asks`] while the closure is walked, parents before children.
pub(super) struct Reader<'a> {
    pub asks: Asks,
    point: &'a str,
    /// Window calls that are surely asked of another point, and those that are surely the point's own.
    far: Vec<*const FnCallExpr>,
    own: Vec<*const FnCallExpr>,
    /// Windows asked of something that a `let` named: of any group that there is.
    unsure: Vec<(Over, Rc<str>)>,
}

impl<'a> Reader<'a> {
    pub fn new(point: &'a str) -> Self {
        Self { asks: Asks::default(), point, far: Vec::new(), own: Vec::new(), unsure: Vec::new() }
    }

    /// One node. True: it asks another point for a window, so that its span is none of the point's own.
    pub fn node(&mut self, path: &[ASTNode<'_>]) -> Result<bool, String> {
        let Some(ASTNode::Expr(expression)) = path.last() else { return Ok(false) };
        match expression {
            Expr::Dot(..) if !matches!(path, [.., ASTNode::Expr(Expr::Dot(..)), _]) => self.chain(expression)?,
            Expr::MethodCall(call, _) if Function::named(&call.name).is_some() => {
                let here: *const FnCallExpr = &raw const **call;
                if let (Some(over), [Expr::StringConstant(span, _)]) = (over(&call.name), call.args.as_slice())
                    && !self.far.contains(&here)
                    && !self.own.contains(&here)
                {
                    self.unsure.push((over, span.as_str().into()));
                }
                return Ok(self.far.contains(&here));
            }
            Expr::MethodCall(call, _) if call.name == "vote" => drop(motion(call)?),
            Expr::MethodCall(call, _) if call.name == "season" => {
                let [Expr::StringConstant(name, _)] = call.args.as_slice() else {
                    return Err("season(..) takes a name written out, such as season(\"flood\")".into());
                };
                if self.asks.season(name).is_none() {
                    self.asks.seasons.push(name.to_string());
                }
            }
            Expr::MethodCall(call, _) => {
                if let Some(selector) = selector(call)? {
                    self.add(selector);
                }
            }
            Expr::Property(property, _) if PROPERTIES.contains(&property.2.as_str()) => self.asks.bearings = true,
            _ => {}
        }
        Ok(false)
    }

    /// Everything that was asked.
    pub fn finish(mut self) -> Asks {
        for (over, span) in std::mem::take(&mut self.unsure) {
            for group in 0..self.asks.groups.len() {
                self.window(group, over, &span);
            }
        }
        self.asks
    }

    fn add(&mut self, selector: Selector) -> usize {
        self.asks.group(&selector).unwrap_or_else(|| {
            self.asks.groups.push(selector);
            self.asks.groups.len() - 1
        })
    }

    fn window(&mut self, group: usize, over: Over, span: &Rc<str>) {
        if self.asks.window(group, over, span).is_none() {
            self.asks.windows.push(FarWindow { group, over, span: span.clone() });
        }
    }

    /// `p.mean("5m")`, `p.point("a").mean("5m")`, `p.related("redundant").vote(2, ">=", 1.0)`.
    fn chain(&mut self, expression: &Expr) -> Result<(), String> {
        let Some(links) = chain(expression) else { return Ok(()) };
        let [Expr::Variable(variable, ..), Expr::MethodCall(first, _), rest @ ..] = links.as_slice() else {
            return Ok(());
        };
        if variable.1 != self.point {
            return Ok(());
        }
        let Some(selector) = selector(first)? else {
            self.own.push(&raw const **first);
            return Ok(());
        };
        let told = format!("{}.{selector}", self.point);
        let group = self.add(selector);
        match rest.first() {
            Some(Expr::Property(property, _)) => {
                let name = property.2.as_str();
                if GroupAsk::named(name).is_none() && name != "quality" {
                    return Err(unknown(&told, name));
                }
                if matches!(name, "value" | "age" | "quality") {
                    self.asks.singles.push(group);
                }
            }
            Some(Expr::MethodCall(call, _)) => match (over(&call.name), call.args.as_slice()) {
                (Some(over), [Expr::StringConstant(span, _)]) => {
                    self.far.push(&raw const **call);
                    self.asks.singles.push(group);
                    self.window(group, over, &span.as_str().into());
                }
                (None, _) if call.name == "vote" => self.asks.votes.push((group, motion(call)?.0)),
                (None, _) if call.name == "has" => self.asks.singles.push(group),
                (None, _) if !METHODS.contains(&call.name.as_str()) => return Err(unknown(&told, &call.name)),
                (Some(_) | None, _) => {}
            },
            Some(_) | None => {}
        }
        Ok(())
    }
}

/// Windows are all that a group can be asked of its past.
pub(super) fn over(name: &str) -> Option<Over> {
    if let Function::Over(over) = Function::named(name)? { Some(over) } else { None }
}

fn unknown(told: &str, name: &str) -> String {
    let asks = GroupAsk::ALL.map(|(word, _)| word).join(", ");
    format!("asks {told}.{name}, but it has {asks}, quality, {} and windows", METHODS.join(", "))
}

/// The selector that a method call writes out; `None` when it is another method.
pub(super) fn selector(call: &FnCallExpr) -> Result<Option<Selector>, String> {
    Ok(match (call.name.as_str(), call.args.as_slice()) {
        ("point", [Expr::StringConstant(name, _)]) if !name.is_empty() => Some(Selector::Point(name.to_string())),
        ("related", [Expr::StringConstant(word, _)]) if !word.is_empty() => Some(Selector::Related(word.to_string())),
        ("all", [Expr::StringConstant(kind, _), Expr::StringConstant(place, _)]) => {
            let known = Kind::from_word(kind).ok_or_else(|| {
                let kinds = Kind::ALL.iter().map(|kind| kind.word()).collect::<Vec<_>>().join(", ");
                format!("asks for all of kind {kind:?}, but kinds are {kinds}")
            })?;
            Some(Selector::All(known, place.to_string()))
        }
        ("point", _) => return Err("point(..) takes a name written out, such as point(\"fan-1\")".into()),
        ("related", _) => return Err("related(..) takes a word written out, such as related(\"redundant\")".into()),
        ("all", _) => {
            return Err("all(..) takes a kind and a place written out, such as all(\"switch\", \"fan\")".into());
        }
        _ => None,
    })
}

/// How many have to agree, how they compare, and with what.
pub(super) fn motion(call: &FnCallExpr) -> Result<(usize, Comparison, &Expr), String> {
    if let [Expr::IntegerConstant(k, _), Expr::StringConstant(word, _), limit] = call.args.as_slice()
        && let (Ok(k @ 1..), Some(comparison)) = (usize::try_from(*k), Comparison::from_word(word))
    {
        return Ok((k, comparison, limit));
    }
    Err("vote(..) takes how many, \">=\", \">\", \"<=\" or \"<\", and a limit, such as vote(2, \">=\", p.limit.alarm)"
        .into())
}
