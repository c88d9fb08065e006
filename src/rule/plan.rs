//! Rules laid over the point table: who watches what, with which limits and windows.

use std::fmt;
use std::rc::Rc;

use rhai::ImmutableString;

use super::outlook::{self, Outlooks};
use super::{Judges, Language, Program, Rule, WindowRef, draft, limits};
use crate::alarm::Policy;
use crate::engine::Needs;
use crate::journal::Setup;
use crate::model::{Point, PointIndex, SiteId, Stricter, parse_duration};

/// Something wrong in a rule file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleProblem {
    /// Empty when the problem stands in no rule file but with the points.
    pub file: String,
    /// 0 when the problem is of the whole file.
    pub line: usize,
    pub message: String,
}

impl fmt::Display for RuleProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&*self.file, self.line) {
            ("", _) => write!(f, "{}", self.message),
            (file, 0) => write!(f, "{file}: {}", self.message),
            (file, line) => write!(f, "{file}:{line}: {}", self.message),
        }
    }
}

/// A rule with its programs.
#[derive(Clone, Debug)]
pub struct Compiled {
    pub rule: Rule,
    pub raise: Program,
    pub clear: Option<Program>,
    pub policy: Policy,
}

impl Compiled {
    /// Does it ask for anything beyond the point that it watches?
    #[must_use]
    pub fn looks(&self) -> bool {
        self.raise.asks.any() || self.clear.as_ref().is_some_and(|clear| clear.asks.any())
    }
}

/// One rule at one point.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Place in [`Plan::rules`].
    pub rule: usize,
    pub limits: Rc<[(ImmutableString, f64)]>,
    pub spans: Rc<[WindowRef]>,
    /// Limit, direction and unit that stand in when the rule fails; also what messages show.
    pub plain: Option<(f64, Stricter)>,
    /// What its closures look at beyond the point.
    pub outlooks: Option<Box<Outlooks>>,
}

/// What watches one point.
#[derive(Clone, Debug, Default)]
pub struct PointPlan {
    pub watches: Vec<Watch>,
    /// Spans of the windows that its rules need, each once.
    pub windows: Vec<std::time::Duration>,
    /// What of the sensor's health its rules ask for.
    pub needs: Needs,
    /// Is there a rule about the sensor itself?
    pub health: bool,
    /// Does another rule ask for it too?
    pub shows_health: bool,
    /// One of its rules looks beyond the point.
    pub looks: bool,
    /// Points whose rules look at this one and are judged when it speaks.
    pub onlookers: Vec<PointIndex>,
}

/// Everything that the engine judges by, compiled from one setup.
#[derive(Debug, Default)]
pub struct Plan {
    pub rules: Vec<Compiled>,
    /// By point index.
    pub points: Vec<PointPlan>,
    /// Points whose rules look beyond them and are judged when the site's state or season changes.
    pub lookers: Vec<PointIndex>,
    /// Seasons that rules ask for, by site.
    pub seasons: Vec<(SiteId, String)>,
    /// What is wrong in a file: none of its rules counts.
    pub problems: Vec<RuleProblem>,
    /// What does not fit between a rule and a point: a looser limit (the rule's own stands), another unit
    /// (the rule does not watch the point).
    pub refused: Vec<RuleProblem>,
    /// Not wrong, but worth a look: a rule that watches no point.
    pub remarks: Vec<RuleProblem>,
}

impl Plan {
    /// Compiles what can be compiled; the rest is in `problems`.
    #[must_use]
    pub fn new(language: &Language, setup: &Setup) -> Self {
        let mut plan = Self::default();
        for file in &setup.rules {
            match draft::read_file(language, file) {
                Ok((rules, ast)) => plan.compile(rules, &ast),
                Err(mut problems) => plan.problems.append(&mut problems),
            }
        }
        plan.points = setup.points.iter().map(|_| PointPlan::default()).collect();
        let mut lines = Vec::new();
        for place in 0..plan.rules.len() {
            let mut watched = 0_usize;
            for (point, at) in setup.points.iter().zip(0_u32..) {
                if !point.retired && watches(&plan.rules[place].rule, point) {
                    watched += 1;
                    plan.watch(place, point, PointIndex(at), &mut lines);
                }
            }
            if watched == 0 {
                let rule = &plan.rules[place].rule;
                let message = format!("rule {:?} watches no point", rule.id);
                plan.remarks.push(RuleProblem { file: rule.file.clone(), line: rule.line, message });
            }
        }
        outlook::resolve(&mut plan, setup);
        if plan.problems.is_empty() {
            plan.strange_limits(&setup.points, &mut lines);
        }
        plan.refused = lines;
        plan.note_unwatched(setup);
        plan
    }

    /// A limit of a point that no rule at it has would never count: most likely it is misspelt.
    fn strange_limits(&self, points: &[Point], problems: &mut Vec<RuleProblem>) {
        for (point, plan) in points.iter().zip(&self.points).filter(|(point, _)| !point.retired) {
            let mut known: Vec<&str> = plan
                .watches
                .iter()
                .flat_map(|watch| self.rules[watch.rule].rule.limits.keys())
                .map(|name| &**name)
                .collect();
            known.sort_unstable();
            known.dedup();
            for name in point.limits.keys().filter(|name| !known.contains(&&***name)) {
                let there = if known.is_empty() { "none of them has limits".to_owned() } else { known.join(", ") };
                let message = format!(
                    "point {}: limit {name} is not a limit of any rule that watches it; known are: {there}",
                    point.id
                );
                problems.push(RuleProblem { file: String::new(), line: 0, message });
            }
        }
    }

    /// A point that only the rules for every kind watch has no limit of its own: a place spelt wrongly.
    fn note_unwatched(&mut self, setup: &Setup) {
        let alive = setup.points.iter().zip(&self.points).filter(|(point, _)| !point.retired);
        let mut untold = alive.filter(|(_, plan)| !plan.health).map(|(point, _)| &point.id);
        if let Some(first) = untold.next() {
            // A bad value asks no other rule, and is no silence: without such a rule nobody hears of it.
            let message = format!(
                "{} points, {first} first, have no rule with judges: \"health\": a line break or a sensor fault \
                 there raises nothing; rules/instrument has such rules",
                1 + untold.count()
            );
            self.remarks.push(RuleProblem { file: String::new(), line: 0, message });
        }
        for (point, plan) in setup.points.iter().zip(&self.points) {
            if point.retired {
                continue;
            }
            let for_its_kind = |rule: &&Rule| rule.watches.kinds.contains(&point.kind);
            let at_it = || plan.watches.iter().map(|watch| &self.rules[watch.rule].rule).filter(for_its_kind);
            let by_place = |rule: &Rule| !rule.watches.places.is_empty();
            let mut places: Vec<&str> = (self.rules.iter().map(|compiled| &compiled.rule).filter(for_its_kind))
                .flat_map(|rule| rule.watches.places.iter().map(String::as_str))
                .collect();
            places.sort_unstable();
            places.dedup();
            if at_it().next().is_some() && !places.is_empty() && !at_it().any(by_place) {
                let message = format!(
                    "point {}: no rule that goes by place watches {} at {:?}; such rules know {}",
                    point.id,
                    point.kind,
                    point.place,
                    places.join(", ")
                );
                self.remarks.push(RuleProblem { file: String::new(), line: 0, message });
            }
            if at_it().next().is_none() {
                let message = format!(
                    "point {}: no rule for {} at {:?} watches it: check its kind and place",
                    point.id, point.kind, point.place
                );
                self.remarks.push(RuleProblem { file: String::new(), line: 0, message });
            }
        }
    }

    fn compile(&mut self, rules: Vec<Rule>, ast: &rhai::AST) {
        for rule in rules {
            let mut wrong = Vec::new();
            if let Some(other) = self.rules.iter().find(|other| other.rule.id == rule.id) {
                wrong.push(format!("rule {:?} is already defined in {}:{}", rule.id, other.rule.file, other.rule.line));
            }
            let raise = Program::new(&rule.raise, ast, rule.limits.keys())
                .map_err(|error| wrong.push(format!("rule {:?}: raise {error}", rule.id)));
            let clear = rule.clear.as_ref().map(|clear| {
                Program::new(clear, ast, rule.limits.keys())
                    .map_err(|error| wrong.push(format!("rule {:?}: clear {error}", rule.id)))
            });
            match (raise, clear.transpose()) {
                (Ok(raise), Ok(mut clear)) if wrong.is_empty() => {
                    if let Some(clear) = &mut clear {
                        clear.first_span = raise.spans.len();
                    }
                    let policy = Policy { raise_after: rule.raise_after, clear_after: rule.clear_after };
                    self.rules.push(Compiled { rule, raise, clear, policy });
                }
                _ => self.problems.extend(wrong.into_iter().map(|message| RuleProblem {
                    file: rule.file.clone(),
                    line: rule.line,
                    message,
                })),
            }
        }
    }

    fn watch(&mut self, place: usize, point: &Point, at: PointIndex, problems: &mut Vec<RuleProblem>) {
        let Compiled { rule, raise, clear, .. } = &self.rules[place];
        let told = |message: String| RuleProblem { file: rule.file.clone(), line: rule.line, message };
        if let Some((name, limit)) = rule.limits.iter().find(|(_, limit)| limit.unit != point.unit) {
            problems.push(told(format!(
                "rule {:?}: limit {name} is in {:?} but point {} measures {:?}; give the point that unit or exclude it",
                rule.id, limit.unit, point.id, point.unit
            )));
            return;
        }
        let (effective, refused) = limits::effective(&rule.id, &rule.limits, point);
        problems.extend(refused.into_iter().map(told));
        let plain = rule.plain_limit().and_then(|name| {
            let value = effective.iter().find(|(known, _)| known == name)?.1;
            Some((value, rule.limits.get(name)?.stricter))
        });
        let plan = &mut self.points[at.at()];
        let needs = clear.iter().fold(raise.needs, |needs, clear| needs.and(clear.needs));
        plan.needs = plan.needs.and(needs);
        plan.health |= rule.judges == Judges::Health;
        plan.shows_health |= rule.judges != Judges::Health && needs.any();
        let spans = raise.spans.iter().chain(clear.iter().flat_map(|clear| &clear.spans));
        let spans = spans
            .map(|text| {
                let span = parse_duration(text).unwrap_or_default();
                let place = plan.windows.iter().position(|known| *known == span).unwrap_or_else(|| {
                    plan.windows.push(span);
                    plan.windows.len() - 1
                });
                WindowRef { text: text.clone(), place }
            })
            .collect();
        let limits = effective.into_iter().map(|(name, value)| (name.into(), value)).collect();
        plan.watches.push(Watch { rule: place, limits, spans, plain, outlooks: None });
    }
}

fn watches(rule: &Rule, point: &Point) -> bool {
    let any = |list: &[String], word: &str| list.is_empty() || list.iter().any(|known| known == word);
    (rule.watches.kinds.is_empty() || rule.watches.kinds.contains(&point.kind))
        && any(&rule.watches.places, &point.place)
        && any(&rule.watches.sites, &point.site)
}
