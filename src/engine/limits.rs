//! Limits that people change while the engine runs: orders in, the numbers of the points concerned anew.
//!
//! Only the points that an order reaches are looked at again; rules are not compiled, and windows, delays and
//! open alarms stay. An alarm that is open when its limit changes stays open and is judged by the new number
//! from its next sample on: a change of a limit raises nothing and clears nothing by itself. A clear that has
//! begun begins anew, since it began by the number before. Stricter is always allowed; what leaves less protection
//! takes a second person, and waits while a real P1 is open unless it is ordered to override that.

use std::rc::Rc;
use std::time::Duration;

use super::condition::Conditions;
use super::shard::Shard;
use super::{Effect, Slot};
use crate::alarm::{Level, Priority};
use crate::facts::{Answer, LimitRefusal};
use crate::journal::{Condition, Limits};
use crate::model::{
    Exemption, LimitEnd, LimitFact, LimitLeave, LimitOrder, PointIndex, PointTable, Record, SetLimit, Timestamp,
};
use crate::rule::Plan;

/// People are told so long before an exemption ends, if it is longer than that.
const WARN_BEFORE: Duration = Duration::from_secs(24 * 3_600);
const ENDS: &str = "davy-exemption-ends";
const ENDED: &str = "davy-exemption-ended";

impl Shard<'_> {
    /// An order of a person, given in journal order; refused ones change nothing.
    pub(super) fn on_limits(&mut self, limits: &Limits, effects: &mut Vec<Effect>) {
        let leave = limits.leave.as_ref();
        let answer = match &*limits.order {
            LimitOrder::Set(limit) => self.set_limit(limit, leave, effects),
            LimitOrder::End { id, end } => self.end_limit(id, end, leave, effects),
            LimitOrder::Exempt(exemption) => self.exempt(exemption, leave, effects),
            LimitOrder::EndExemption { id, end } => self.end_exemption(id, end, effects).ok_or(LimitRefusal::NoSuch),
        };
        effects.push(Effect::Answered { command: limits.command, answer: Answer::Limits(answer) });
    }

    /// May this much protection go, which takes two persons and no P1? Returns what the record says of it.
    fn let_go(&self, loosens: &str, by: &str, leave: Option<&LimitLeave>) -> Result<String, LimitRefusal> {
        let Some(leave) = leave else { return Ok(String::new()) };
        let freezing = self.not_frozen(leave.overrides)?;
        let second = &leave.approved_by;
        if second.is_empty() || second.to_lowercase() == by.to_lowercase() {
            return Err(LimitRefusal::Words(format!(
                "放宽限值须由另一人批准 / less protection is left ({loosens}): it takes a second person, \
                 approved_by is somebody other than {by}"
            )));
        }
        Ok(format!("{loosens}, approved by {second}{freezing}"))
    }

    /// Words for the record where the freeze is set aside; else there is none.
    fn not_frozen(&self, overrides: bool) -> Result<String, LimitRefusal> {
        let freezing = self.all_open().filter(|alarm| alarm.freezes());
        let Some(oldest) = freezing.min_by_key(|alarm| (alarm.raised, &alarm.id)) else { return Ok(String::new()) };
        let told = format!("P1 {} {} ({})", oldest.rule, oldest.subject, oldest.id);
        if overrides { Ok(format!(", although {told} is open")) } else { Err(LimitRefusal::Frozen(told)) }
    }

    fn set_limit(
        &mut self,
        limit: &SetLimit,
        leave: Option<&LimitLeave>,
        effects: &mut Vec<Effect>,
    ) -> Result<LimitFact, LimitRefusal> {
        let table = self.table.clone();
        self.plan.admit(limit, table.list(), &self.layers).map_err(LimitRefusal::Words)?;
        let replaced = self.layers.replaced_by(limit);
        let loosens = replaced.and_then(|old| self.plan.leaves_less(&old, Some(limit), table.list(), &self.layers));
        let let_go = loosens.map(|loosens| self.let_go(&loosens, &limit.by, leave)).transpose()?;
        let (old, reached) = self.layers.set(limit.clone(), table.list());
        self.relimit(&reached);
        if let Some(old) = &old {
            let end = LimitEnd {
                at: limit.at.unwrap_or(self.now),
                by: limit.by.clone(),
                reason: format!("换为 / replaced by {}", limit.id),
                approved_by: let_go.as_ref().and(leave).map_or_else(String::new, |leave| leave.approved_by.clone()),
            };
            effects.push(Effect::Limits(LimitFact::Limit { limit: (**old).clone(), end: Some(end) }));
        }
        let before = old.map_or_else(String::new, |old| format!("{} {}", old.value, old.unit));
        effects.push(Effect::Record(Record {
            action: "limit.set".into(),
            subject: named(limit),
            reason: limit.reason.clone(),
            before,
            after: match &let_go {
                Some(words) if !words.is_empty() => format!("{} {}; {words}", limit.value, limit.unit),
                Some(_) | None => format!("{} {}", limit.value, limit.unit),
            },
            ..Record::by(&limit.by, limit.at.unwrap_or(self.now))
        }));
        let fact = LimitFact::Limit { limit: limit.clone(), end: None };
        effects.push(Effect::Limits(fact.clone()));
        Ok(fact)
    }

    fn end_limit(
        &mut self,
        id: &str,
        end: &LimitEnd,
        leave: Option<&LimitLeave>,
        effects: &mut Vec<Effect>,
    ) -> Result<LimitFact, LimitRefusal> {
        let table = self.table.clone();
        let known = self.layers.limit(id).ok_or(LimitRefusal::NoSuch)?;
        let loosens = self.plan.leaves_less(&known, None, table.list(), &self.layers);
        let let_go = loosens.map(|loosens| self.let_go(&loosens, &end.by, leave)).transpose()?;
        let seconded = let_go.as_ref().and(leave);
        let (limit, reached) = self.layers.end(id, table.list()).ok_or(LimitRefusal::NoSuch)?;
        self.relimit(&reached);
        effects.push(Effect::Record(Record {
            action: "limit.end".into(),
            subject: named(&limit),
            reason: end.reason.clone(),
            before: format!("{} {}", limit.value, limit.unit),
            after: let_go.unwrap_or_default(),
            ..Record::by(&end.by, end.at)
        }));
        let approved_by = seconded.map_or_else(String::new, |leave| leave.approved_by.clone());
        let end = LimitEnd { approved_by, ..end.clone() };
        let fact = LimitFact::Limit { limit: (*limit).clone(), end: Some(end) };
        effects.push(Effect::Limits(fact.clone()));
        Ok(fact)
    }

    fn exempt(
        &mut self,
        exemption: &Exemption,
        leave: Option<&LimitLeave>,
        effects: &mut Vec<Effect>,
    ) -> Result<LimitFact, LimitRefusal> {
        self.plan.admit_exemption(exemption, self.table.list(), &self.layers).map_err(LimitRefusal::Words)?;
        let although = leave.map_or(Ok(String::new()), |leave| self.not_frozen(leave.overrides))?;
        self.layers.exempt(exemption.clone());
        self.relimit(&exemption.points);
        effects.push(Effect::Record(Record {
            action: "exemption.open".into(),
            subject: exemption.id.clone(),
            reason: exemption.basis.clone(),
            after: format!("{}, approved by {}{although}", told(exemption, &self.table), exemption.approved_by),
            ..Record::by(&exemption.by, exemption.from)
        }));
        let fact = LimitFact::Exemption { exemption: exemption.clone(), end: None };
        effects.push(Effect::Limits(fact.clone()));
        Ok(fact)
    }

    /// The legal value rules again.
    fn end_exemption(&mut self, id: &str, end: &LimitEnd, effects: &mut Vec<Effect>) -> Option<LimitFact> {
        let exemption = self.layers.end_exemption(id)?;
        self.relimit(&exemption.points);
        self.conditions.apply(&ends(&exemption, &self.table, end.at, false), effects);
        effects.push(Effect::Record(Record {
            action: "exemption.end".into(),
            subject: id.to_owned(),
            reason: end.reason.clone(),
            before: told(&exemption, &self.table),
            ..Record::by(&end.by, end.at)
        }));
        let fact = LimitFact::Exemption { exemption: (*exemption).clone(), end: Some(end.clone()) };
        effects.push(Effect::Limits(fact.clone()));
        Some(fact)
    }

    /// Exemptions whose time is up end, and seasons turn with the local day.
    pub(super) fn look_at_limits(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let turned = self.layers.pass(now);
        self.relimit(&turned);
        let over: Vec<Exemption> = self.layers.exemptions().filter(|one| now >= one.until).cloned().collect();
        for exemption in over {
            let reason = "到期自动结束 / its time was up".into();
            let end = LimitEnd { at: now, by: "davy".into(), reason, approved_by: String::new() };
            self.end_exemption(&exemption.id, &end, effects);
            tell_ended(&exemption, &self.table, now, &mut self.conditions, effects);
        }
    }

    /// Exemptions that end soon, so that nobody is surprised by the legal value. Asked once a minute.
    pub(super) fn warn_of_ends(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        for exemption in self.layers.exemptions() {
            let long = exemption.until.since(exemption.from) > WARN_BEFORE;
            if long && now >= exemption.until - WARN_BEFORE {
                self.conditions.apply(&ends(exemption, &self.table, now, true), effects);
            }
        }
    }

    /// Limits of these points anew. What is worked out from a limit's number beforehand is worked out again
    /// where [`crate::rule::Watch::relimit`] says that it changed.
    pub(super) fn relimit(&mut self, points: &[PointIndex]) {
        for index in points {
            let Plan { rules, points: plans, .. } = &mut self.plan;
            let (Some(plan), Some(state), Some(point)) =
                (plans.get_mut(index.at()), self.points.get_mut(index.at()), self.table.get(*index))
            else {
                continue;
            };
            let mut changed = false;
            for (watch, slot) in Rc::make_mut(plan).watches.iter_mut().zip(state.slots.iter_mut()) {
                if watch.relimit(&rules[watch.rule].rule, *index, point, &self.layers) {
                    slot.state.restart_clear();
                    changed = true;
                }
            }
            if changed {
                // A level that is no use there leaves its answer unknown; `davy check` tells of it.
                self.plan.fold(*index, point, &mut Vec::new());
                self.plan.note_occasions(*index, point);
                state.past.arrange(&self.plan.points[index.at()].wants);
            }
        }
    }
}

impl Slot {
    /// The alarm says by which number it is judged, and that it was raised by another.
    pub(super) fn note_limit(&mut self, limit: Option<f64>, exempt: Option<&str>) {
        let Some(alarm) = &mut self.open else { return };
        let (Some(before), Some(now)) = (alarm.limit, limit) else { return };
        if before.to_bits() != now.to_bits() {
            let by = exempt.map_or_else(String::new, |words| format!("; {words}"));
            alarm.detail = format!("报警后限值由 {before} 变为 {now} / its limit became {now}, from {before}{by}");
            alarm.limit = limit;
        }
    }
}

fn ends(exemption: &Exemption, table: &PointTable, at: Timestamp, holds: bool) -> Condition {
    Condition {
        at,
        rule: ENDS.into(),
        subject: exemption.id.clone(),
        holds,
        title: format!("豁免将在24小时内到期 / exemption ends within 24 h: {}", exemption.id),
        advice: "到期后按法定限值报警；确需延期请重新审批 / then the legal limit rules again; for longer, apply anew"
            .into(),
        priority: Priority::P3,
        level: Level::Yellow,
        detail: told(exemption, table),
    }
}

/// News that stands until somebody has seen it.
fn tell_ended(
    exemption: &Exemption,
    table: &PointTable,
    at: Timestamp,
    conditions: &mut Conditions,
    effects: &mut Vec<Effect>,
) {
    let told = |holds| Condition {
        at,
        rule: ENDED.into(),
        subject: exemption.id.clone(),
        holds,
        title: format!("豁免已到期，恢复法定限值 / exemption has ended, the legal limit rules again: {}", exemption.id),
        advice: "确认现场符合法定限值 / make sure that the place keeps to the legal limit".into(),
        priority: Priority::P3,
        level: Level::Blue,
        detail: told(exemption, table),
    };
    conditions.apply(&told(true), effects);
    conditions.apply(&told(false), effects);
}

/// Which number of which rule, and where.
fn named(limit: &SetLimit) -> String {
    let season = limit.season.as_deref().map_or_else(String::new, |season| format!(" in {season}"));
    format!(
        "{} at {}{season}",
        limit.rule.as_deref().map_or_else(|| limit.limit.clone(), |rule| format!("{rule}.{}", limit.limit)),
        limit.scope
    )
}

/// Ids that are named; there may be hundreds.
const NAMED: usize = 20;

fn told(exemption: &Exemption, table: &PointTable) -> String {
    let Exemption { rule, limit, value, by, approved_by, basis, until, points, .. } = exemption;
    let ids = points.iter().take(NAMED).filter_map(|point| table.get(*point)).map(|point| &*point.id);
    let more = if points.len() > NAMED { format!(" .. {} 个 / in all", points.len()) } else { String::new() };
    let ids = ids.collect::<Vec<_>>().join(", ");
    format!("{rule} {limit} = {value} until {until}: {ids}{more}; {by}, {approved_by}; {basis}")
}
