//! A source that is lost, and what hangs from it: one alarm in place of one for each of its points.
//!
//! In come the conditions about sources; out go what is set aside and brought back. While a device, a bus or a link is
//! lost, alarms about the silence of its points are suppressed by design, raised or not, and stand in the list of the
//! alarm that explains them. When it is back its points have some time to be heard again; what is silent then calls.
//! An alarm that is itself set aside explains nothing: its points call at once. Never: an alarm about anything but silence
//! is touched, nor one more urgent than that of the lost source, nor one whose rule must not be shelved. A point whose
//! source is not known calls as ever.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Effect;
use super::aside::{MOST, suppression};
use super::shard::Shard;
use crate::alarm::{AsideEnd, AsideFact, Priority};
use crate::journal::Condition;
use crate::model::{Point, Timestamp};
use crate::rule::{Judges, Rule};

/// The alarm that a source is away.
pub const DOWN: &str = "davy-source-down";
/// What is set aside because of it: this, the source, the rule and the point.
pub const PARENT: &str = "parent:";
/// Points that are named in the alarm itself; there may be hundreds.
const NAMED: usize = 20;
/// Besides three periods of the point: devices of a bus are asked one after the other, and one that stays away alone
/// is known to within ten seconds.
const GRACE: Duration = Duration::from_secs(12);

fn id_of(source: &str, rule: &str, point: &str) -> String {
    format!("{PARENT}{source}:{rule}:{point}")
}

/// Is it about the silence of its points alone, and no more urgent than what explains it?
fn yields(rule: &Rule) -> bool {
    rule.judges == Judges::Silence && rule.shelvable != Some(false) && rule.priority >= Priority::P2
}

impl Shard<'_> {
    /// The condition as people are to see it: how many points are lost with the source, and which.
    pub(super) fn with_children(&self, condition: &Condition) -> Option<Condition> {
        let points = self.setup.as_ref()?.parents.get(&condition.subject).filter(|points| !points.is_empty())?;
        let named = points.iter().take(NAMED).map(|id| &**id).collect::<Vec<_>>().join(", ");
        let more = if points.len() > NAMED { ", .." } else { "" };
        let count = points.len();
        (condition.rule == DOWN && condition.holds).then(|| Condition {
            title: format!("{}（{count} 个测点 / {count} points）", condition.title),
            detail: format!("{}; {count} 个测点 / points: {named}{more}", condition.detail),
            ..condition.clone()
        })
    }

    /// After a source was lost or came back.
    pub(super) fn follow_source(&mut self, source: &str, at: Timestamp, effects: &mut Vec<Effect>) {
        let (explains, lost) = (self.explains(source), self.conditions.holds(DOWN, source));
        for (id, rule, at_point) in self.children_of(source) {
            if explains {
                self.suppress_child(&id, &rule, at_point, source, at, effects);
            } else if lost {
                let reason = format!("{DOWN} {source} 已被搁置或停用 / is itself set aside");
                self.end_aside(&id, &AsideEnd { at, by: "davy".into(), reason }, effects);
            } else {
                self.let_child_return(&id, at_point, at, effects);
            }
        }
    }

    /// Is the source lost, and are people called about it?
    fn explains(&self, source: &str) -> bool {
        self.conditions.holds(DOWN, source) && !self.asides.holds(&(DOWN.into(), source.to_owned()))
    }

    /// What would be set aside with a source: the id, the rule and the point's place.
    fn children_of(&self, source: &str) -> Vec<(String, crate::alarm::RuleId, usize)> {
        let points = self.setup.as_ref().and_then(|setup| setup.parents.get(source)).into_iter().flatten();
        let places = points.filter_map(|id| Some((self.table.find(id)?.at(), id)));
        let mut children = Vec::new();
        for (at, id) in places {
            let watches = self.plan.points.get(at).into_iter().flat_map(|plan| &plan.watches);
            let rules = watches.map(|watch| &self.plan.rules[watch.rule].rule).filter(|rule| yields(rule));
            children.extend(rules.map(|rule| (id_of(source, &rule.id, id), rule.id.clone(), at)));
        }
        children
    }

    fn suppress_child(
        &mut self,
        id: &str,
        rule: &crate::alarm::RuleId,
        point: usize,
        source: &str,
        at: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        match self.asides.get(id) {
            Some(aside) if aside.until.is_none() => {}
            // It was about to return.
            Some(_) => self.time_child(id, None, effects),
            // Beyond that it calls, as everything does that is not known to be explained.
            None if self.asides.len() >= MOST => {}
            None => {
                let Some(subject) = self.table.list().get(point).map(|point| point.id.clone()) else { return };
                let because = format!("{DOWN} {source}");
                self.begin(suppression(id.to_owned(), rule.clone(), &subject, because, at), effects);
            }
        }
    }

    fn let_child_return(&mut self, id: &str, point: usize, at: Timestamp, effects: &mut Vec<Effect>) {
        if self.asides.get(id).is_some_and(|aside| aside.until.is_none()) {
            let period = self.table.list().get(point).map_or(Duration::ZERO, |point: &Point| point.period);
            self.time_child(id, Some(self.now.max(at) + period * 3 + GRACE), effects);
        }
    }

    fn time_child(&mut self, id: &str, until: Option<Timestamp>, effects: &mut Vec<Effect>) {
        if let Some(aside) = self.asides.set_end(id, until) {
            effects.push(Effect::Aside(AsideFact { aside, end: None }));
        }
    }

    /// After other points, sources or rules came into force: what is explained stays set aside, what is no longer
    /// explained returns, and a rule that is about something else now is back at once.
    pub(super) fn settle_children(&mut self, at: Timestamp, effects: &mut Vec<Effect>) {
        let sources: Vec<String> = self.setup.iter().flat_map(|setup| setup.parents.keys().cloned()).collect();
        let mut explained = BTreeSet::new();
        for source in sources {
            if self.explains(&source) {
                for (id, rule, point) in self.children_of(&source) {
                    self.suppress_child(&id, &rule, point, &source, at, effects);
                    explained.insert(id);
                }
            }
        }
        for (id, target) in self.asides.of_kind(PARENT) {
            let place = self.place_of(&target.0, &target.1);
            match place.filter(|(at, place)| yields(&self.plan.rules[self.plan.points[*at].watches[*place].rule].rule))
            {
                Some(_) if explained.contains(&id) => {}
                Some((point, _)) => self.let_child_return(&id, point, at, effects),
                None => {
                    let reason = "规则已变更 / its rule is about something else now".to_owned();
                    self.end_aside(&id, &AsideEnd { at, by: "davy".into(), reason }, effects);
                }
            }
        }
    }
}
