//! Why a point is judged as it is: every rule there, every layer of every limit, and which number rules.
//!
//! In come the setup in force and what people have set; out goes the same for a command line and the API. It
//! compiles the rules over the one point and asks the code that the engine asks.

use serde::{Deserialize, Serialize};

use super::limits::{Standing, Step, steps, strictest};
use super::{Judges, Language, Layers, Ordered, Plan, RuleProblem, text};
use crate::journal::Setup;
use crate::model::{Exemption, Layer, LimitEnd, Point, PointIndex, SetLimit, Timestamp};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    pub point: String,
    pub name: String,
    pub kind: String,
    pub place: String,
    pub unit: String,
    pub rules: Vec<ExplainedRule>,
    /// What is wrong with rules or limits at the point.
    pub problems: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainedRule {
    pub rule: String,
    pub title: String,
    pub file: String,
    pub line: usize,
    pub priority: String,
    pub level: String,
    /// `samples`, `silence` or `health`.
    pub judges: String,
    /// The closures as they are written.
    pub raise: String,
    pub clear: Option<String>,
    pub windows: Vec<String>,
    /// Judged without the interpreter; `why_not` says what keeps it from that.
    pub native: bool,
    pub why_not: Option<String>,
    pub limits: Vec<ExplainedLimit>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainedLimit {
    pub limit: String,
    pub value: f64,
    pub unit: String,
    /// `lower` or `higher`.
    pub stricter: String,
    pub steps: Vec<ExplainedStep>,
}

/// One layer of a limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainedStep {
    pub layer: Layer,
    pub value: f64,
    pub unit: String,
    /// This is the number in force.
    pub effective: bool,
    /// `applies`, `out_of_season`, `exempted`, `refused` or `ended`.
    pub standing: String,
    /// Why it is refused, or how it ended.
    pub why: Option<String>,
    pub id: Option<String>,
    pub by: Option<String>,
    pub at: Option<String>,
    pub basis: String,
    pub season: Option<String>,
    pub until: Option<String>,
}

/// What people have set, with their ends.
#[derive(Clone, Debug, Default)]
pub struct OnRecord {
    pub limits: Vec<(SetLimit, Option<LimitEnd>)>,
    pub exemptions: Vec<(Exemption, Option<LimitEnd>)>,
}

/// Ended layers of one limit that are told, the newest first.
const ENDED: usize = 10;

/// What judges a point now; `None` when the setup has no such point in use.
#[must_use]
pub fn explain(setup: &Setup, mut record: OnRecord, id: &str, now: Timestamp) -> Option<Explained> {
    let place = setup.points.iter().position(|point| *point.id == *id && !point.retired)?;
    let here = PointIndex(u32::try_from(place).ok()?);
    // Over this point alone: it has number 0 there.
    record.exemptions.retain(|(exemption, _)| exemption.points.contains(&here));
    record.exemptions.iter_mut().for_each(|(exemption, _)| exemption.points = vec![PointIndex(0)]);
    let open = |end: &Option<LimitEnd>| end.is_none();
    let ordered = Ordered {
        limits: record.limits.iter().filter(|(_, end)| open(end)).map(|(limit, _)| limit.clone()).collect(),
        exemptions: record.exemptions.iter().filter(|(_, end)| open(end)).map(|(one, _)| one.clone()).collect(),
        at: now,
    };
    let alone = Setup { points: vec![setup.points[place].clone()], ..setup.clone_without_points() };
    let layers = Layers::of(&alone, ordered);
    let plan = Plan::over(&Language::new(), &alone, &layers);
    let point = &alone.points[0];
    record.limits.retain(|(limit, end)| end.is_some() && !layers.reach(&limit.scope, &alone.points).is_empty());
    record.exemptions.retain(|(_, end)| end.is_some());
    let watches = plan.points.first().map_or(&[][..], |plan| &plan.watches);
    let rules = watches.iter().map(|watch| {
        let mut explained = rule(&plan, watch.rule, point, &layers, &alone);
        explained.limits.iter_mut().for_each(|limit| ended(&explained.rule, limit, &record));
        explained
    });
    // Of the configuration's limits most are for other points.
    let concerns = |problem: &&RuleProblem| !setup.limits.iter().any(|limit| elsewhere(&problem.message, &limit.id));
    let problems = plan.problems.iter().chain(plan.refused.iter().filter(concerns));
    Some(Explained {
        point: point.id.to_string(),
        name: point.name.clone(),
        kind: point.kind.word().to_owned(),
        place: point.place.clone(),
        unit: point.unit.clone(),
        rules: rules.collect(),
        problems: problems.map(ToString::to_string).collect(),
    })
}

/// Adds what has ruled or could have ruled before.
fn ended(rule: &str, limit: &mut ExplainedLimit, record: &OnRecord) {
    let concerned = record.limits.iter().filter(|(set, _)| set.concerns(rule, &limit.limit));
    let limits = concerned.filter_map(|(set, end)| {
        let step = ExplainedStep {
            layer: set.layer(),
            value: set.value,
            unit: set.unit.clone(),
            id: Some(set.id.clone()),
            by: Some(set.by.clone()),
            at: set.at.map(|at| at.to_string()),
            basis: set.reason.clone(),
            season: set.season.clone(),
            ..over(end.as_ref()?)
        };
        Some(step)
    });
    let exempted = record.exemptions.iter().filter(|(one, _)| one.rule == rule && one.limit == limit.limit);
    let exemptions = exempted.filter_map(|(one, end)| {
        let step = ExplainedStep {
            layer: Layer::Exemption,
            value: one.value,
            unit: limit.unit.clone(),
            id: Some(one.id.clone()),
            by: Some(one.by.clone()),
            at: Some(one.from.to_string()),
            basis: one.basis.clone(),
            until: Some(one.until.to_string()),
            ..over(end.as_ref()?)
        };
        Some(step)
    });
    let steps: Vec<ExplainedStep> = limits.take(ENDED).chain(exemptions.take(ENDED)).collect();
    limit.steps.extend(steps);
}

fn over(end: &LimitEnd) -> ExplainedStep {
    ExplainedStep {
        layer: Layer::Legal,
        value: 0.0,
        unit: String::new(),
        effective: false,
        standing: "ended".into(),
        why: Some(format!("{} by {}: {}", end.at, end.by, end.reason)),
        id: None,
        by: None,
        at: None,
        basis: String::new(),
        season: None,
        until: None,
    }
}

fn elsewhere(message: &str, id: &str) -> bool {
    message.strip_prefix(id).is_some_and(|rest| rest.starts_with(": "))
}

fn rule(plan: &Plan, place: usize, point: &Point, layers: &Layers, setup: &Setup) -> ExplainedRule {
    let compiled = &plan.rules[place];
    let rule = &compiled.rule;
    let text = setup.rules.iter().find(|file| file.path == rule.file).map_or("", |file| &file.text);
    let written = |key: &str| text::written(text, rule.line, key);
    let programs = || std::iter::once(&compiled.raise).chain(&compiled.clear);
    let mut windows: Vec<String> =
        programs().flat_map(|program| &program.asks).filter_map(super::ask::Ask::window).collect();
    windows.sort();
    windows.dedup();
    let why_not = programs().find_map(|program| program.native.as_ref().err().cloned());
    let limits = rule.limits.iter().map(|(name, limit)| {
        let steps = steps(rule, (name, limit), (PointIndex(0), point), layers);
        let ruling = strictest(&steps, limit.stricter);
        ExplainedLimit {
            limit: name.clone(),
            value: ruling.map_or(limit.value, |place| steps[place].value),
            unit: limit.unit.clone(),
            stricter: limit.stricter.word().to_owned(),
            steps: steps.iter().enumerate().map(|(place, step)| told(step, ruling == Some(place))).collect(),
        }
    });
    ExplainedRule {
        rule: rule.id.to_string(),
        title: rule.title.clone(),
        file: rule.file.clone(),
        line: rule.line,
        priority: rule.priority.word().to_owned(),
        level: rule.level.word().to_owned(),
        judges: match rule.judges {
            Judges::Samples => "samples",
            Judges::Silence => "silence",
            Judges::Health => "health",
        }
        .to_owned(),
        raise: written("raise").unwrap_or_default(),
        clear: rule.clear.as_ref().and_then(|_| written("clear")),
        windows,
        native: why_not.is_none(),
        why_not,
        limits: limits.collect(),
    }
}

fn told(step: &Step<'_>, effective: bool) -> ExplainedStep {
    let (standing, why) = match &step.standing {
        Standing::Applies => ("applies", None),
        Standing::OutOfSeason => ("out_of_season", None),
        Standing::Exempted => ("exempted", None),
        Standing::Refused(why) => ("refused", Some(why.clone())),
    };
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    ExplainedStep {
        layer: step.layer,
        value: step.value,
        unit: step.unit.to_owned(),
        effective,
        standing: standing.to_owned(),
        why,
        id: given(step.id),
        by: given(step.by),
        at: step.at.map(|at| at.to_string()),
        basis: step.reason.to_owned(),
        season: step.season.map(ToOwned::to_owned),
        until: step.until.map(|until| until.to_string()),
    }
}
