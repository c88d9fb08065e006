//! Cases: what becomes of an alarm after somebody has heard it, up to the day on which it is settled (销号).
//!
//! In come alarm changes, people's steps and ticks; out go the case as it stands after each of them, its step, a
//! line for the audit chain, and alarms of Davy's own where a time limit was missed. A pure fold: the clocks are
//! times in the record of a case, kept in order of their ends, and only ticks and notes move them.
//! Promised: a case is never closed while one of its alarms is open, nor before everything that it needs has been
//! done, verified by somebody who had no hand in it and signed by whoever has to; an intermittent series of one
//! point and rule is one case with a count. Never: a case of a case's own alarm, or one for an exercise.

mod acts;
mod policy;
mod record;
mod step;
mod words;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alarm::{Alarm, AlarmChange, OccurrenceId, RuleId, Standing};
use crate::engine::Effect;
use crate::facts::Answer;
use crate::journal::Setup;
use crate::model::{Reason, Record, Timestamp, duration_text};

use super::Out;

pub use policy::{Join, Policy, Restart, Supervise};
pub use record::{Case, Cause, Clock, Demanded, Did, EPISODE_GAP, Involved, MOST_ALARMS, Missing, Span, Stage};
pub use step::{Answered, CaseFile, CaseStep, CauseClass, Demand, Handling, Means, Order};
pub use words::{demanded_words, missing_words};

/// Alarms of that kind are about cases and get none themselves.
pub const OWN: &str = "davy-case-";
/// Who does what no person does.
const DAVY: &str = "davy";
/// A wall clock that steps back by more than this was set.
const SET_BACK: Duration = Duration::from_secs(1);

/// A case after a step, and the step.
#[derive(Clone, Debug, PartialEq)]
pub struct CaseFact {
    pub case: Case,
    pub step: Taken,
}

/// A step that was taken, as the table of steps has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    pub at: Timestamp,
    pub by: String,
    /// `opened`, `recurred`, `reopened`, `acknowledged`, `over`, `missed`, `clock_set_back`, or a person's step.
    pub word: &'static str,
    /// Which clock was missed, which alarm came, what was said.
    pub words: String,
}

/// Why a step was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaseRefusal {
    /// No case with that id is open, and none holds that occurrence.
    NoSuch,
    /// Closing or verifying asks for these first.
    Missing(Vec<Missing>),
    /// For the person: why, and what to do.
    Words(String),
}

/// Cases that are open, and closed ones that may be reopened.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Cases {
    /// The newest number given.
    last: u64,
    cases: BTreeMap<u64, Case>,
    by_alarm: BTreeMap<OccurrenceId, u64>,
    by_source: BTreeMap<(RuleId, Arc<str>), u64>,
    /// Newest case of each rule of joining, by site and name.
    by_join: BTreeMap<(Arc<str>, String), u64>,
    /// The newest tick.
    now: Timestamp,
    /// Worked out from the cases and the setup: what is next, and the running clocks of each case.
    #[serde(skip)]
    next: BTreeSet<(Timestamp, u64, Clock)>,
    #[serde(skip)]
    running: BTreeMap<u64, BTreeMap<Clock, Timestamp>>,
    #[serde(skip)]
    setup: Option<Arc<Setup>>,
    #[serde(skip)]
    policy: Policy,
}

impl Cases {
    /// Cases as they stand in facts, and the newest number there.
    pub fn adopt(&mut self, cases: Vec<Case>, last: u64) {
        self.last = last;
        for case in cases {
            self.last = self.last.max(case.number);
            for alarm in &case.alarms {
                self.by_alarm.insert(alarm.id.clone(), case.number);
                self.by_source.insert((alarm.rule.clone(), alarm.subject.clone()), case.number);
            }
            self.cases.insert(case.number, case);
        }
    }

    pub fn set_up(&mut self, setup: &Arc<Setup>) {
        self.policy = setup.cases.within(&setup.duty);
        self.setup = Some(setup.clone());
        (self.next, self.running) = (BTreeSet::new(), BTreeMap::new());
        for number in self.cases.keys().copied().collect::<Vec<_>>() {
            self.wind(number);
        }
    }

    /// Occurrences of the case with that id, or of the one that holds that occurrence; empty when there is none.
    #[must_use]
    pub fn alarms_of(&self, id: &str) -> Vec<OccurrenceId> {
        let case = self.find(id).and_then(|number| self.cases.get(&number));
        case.map_or_else(Vec::new, |case| case.alarms.iter().map(|alarm| alarm.id.clone()).collect())
    }

    /// The case that holds that occurrence, as it stands.
    #[must_use]
    pub fn of_alarm(&self, id: &OccurrenceId) -> Option<&Case> {
        self.cases.get(self.by_alarm.get(id)?)
    }

    /// Where the case is that an alarm of Davy's own is about.
    #[must_use]
    pub fn site_of(&self, alarm: &Alarm) -> Option<Arc<str>> {
        let number = self.find(&alarm.subject).filter(|_| alarm.rule.starts_with(OWN))?;
        self.cases.get(&number).map(|case| case.site.clone())
    }

    /// Every case that is open or could be reopened, by number.
    pub fn all(&self) -> impl Iterator<Item = &Case> {
        self.cases.values()
    }

    fn find(&self, id: &str) -> Option<u64> {
        if let Some(number) = id.strip_prefix("case-").and_then(|number| number.parse().ok()) {
            return self.cases.contains_key(&number).then_some(number);
        }
        self.by_alarm.get(&OccurrenceId::named(id)).copied()
    }

    /// A change of an alarm, in the order in which they happen.
    pub fn on_change(&mut self, change: &AlarmChange, out: &mut Out) {
        let alarm = &change.alarm;
        if alarm.rule.starts_with(OWN) {
            return;
        }
        if let Some(number) = self.by_alarm.get(&alarm.id).copied() {
            self.follow(number, change, out);
            return;
        }
        if !self.wants(alarm) {
            return;
        }
        let now = self.now.max(alarm.received);
        let source = (alarm.rule.clone(), alarm.subject.clone());
        let same = self.by_source.get(&source).copied().filter(|number| self.takes(*number, now));
        let number = same.or_else(|| self.joined(alarm, now)).unwrap_or_else(|| self.open(alarm, now));
        self.by_alarm.insert(alarm.id.clone(), number);
        self.by_source.insert(source, number);
        self.follow(number, change, out);
    }

    fn wants(&self, alarm: &Alarm) -> bool {
        let begins = alarm.cleared.is_none() && alarm.standing != Standing::Normal;
        let handled = alarm.priority <= self.policy.from_priority && !alarm.quality.has(Reason::Exercise);
        begins && handled && (alarm.point.is_some() || self.policy.of_gateway)
    }

    /// Is there room in that case, and is it open or may be reopened?
    fn takes(&mut self, number: u64, now: Timestamp) -> bool {
        let Some(case) = self.cases.get_mut(&number) else { return false };
        let lately = case.closed.as_ref().is_none_or(|did| now.since(did.at) < self.policy.reopen_within);
        lately && self.room(number)
    }

    /// Forgets an alarm that is over where there are too many; false when every one of them is open.
    fn room(&mut self, number: u64) -> bool {
        let Some(case) = self.cases.get_mut(&number) else { return false };
        let gone = case.make_room();
        let has_room = case.alarms.len() < MOST_ALARMS;
        if let Some(gone) = gone {
            self.by_alarm.remove(&gone.id);
            if !case.alarms.iter().any(|alarm| (&alarm.rule, &alarm.subject) == (&gone.rule, &gone.subject)) {
                self.by_source.remove(&(gone.rule, gone.subject));
            }
        }
        has_room
    }

    /// The open case of the same cause, where a rule of joining says that there is one.
    fn joined(&mut self, alarm: &Alarm, now: Timestamp) -> Option<u64> {
        let join = self.policy.joins(&alarm.rule)?;
        let (within, key) = (join.within, (alarm.site.clone(), join.name.clone()));
        let number = *self.by_join.get(&key)?;
        let case = self.cases.get(&number)?;
        let fits = case.is_open() && now.since(case.since) <= within;
        (fits && self.room(number)).then_some(number)
    }

    fn open(&mut self, alarm: &Alarm, now: Timestamp) -> u64 {
        self.last += 1;
        self.cases.insert(self.last, Case::new(self.last, alarm, now));
        if let Some(join) = self.policy.joins(&alarm.rule) {
            self.by_join.insert((alarm.site.clone(), join.name.clone()), self.last);
        }
        self.last
    }

    /// What a change of one of its alarms does to a case.
    fn follow(&mut self, number: u64, change: &AlarmChange, out: &mut Out) {
        let Some(case) = self.cases.get_mut(&number) else { return };
        let alarm = &change.alarm;
        let now = self.now.max(alarm.received);
        let mut taken = Vec::new();
        let is_new = case.alarms.is_empty();
        let known = case.alarms.iter().any(|of| of.id == alarm.id);
        let mut step = |word, by: &str, at, words| taken.push(Taken { at, by: by.to_owned(), word, words });
        if case.closed.is_some() && alarm.cleared.is_none() && alarm.standing != Standing::Normal {
            case.reopen(now);
            step("reopened", DAVY, now, alarm.id.to_string());
        }
        let (seen, held) = (case.acknowledged.is_some(), case.holds());
        case.note(alarm, change.at);
        if is_new {
            step("opened", DAVY, now, format!("{} {}", alarm.id, alarm.title));
        } else if !known || (!held && case.holds()) {
            step("recurred", DAVY, now, format!("{} #{}", alarm.id, case.episodes));
        }
        if let Some(did) = case.acknowledged.as_ref().filter(|_| !seen) {
            step("acknowledged", &did.by, did.at, did.words.clone());
        }
        if held && !case.holds() {
            step("over", DAVY, change.at, alarm.id.to_string());
        }
        self.demand_restart(number, now, &mut taken);
        self.settle(number, now, taken, out);
    }

    /// Methane of 3 % and more: the regulator has to agree to the restart.
    fn demand_restart(&mut self, number: u64, now: Timestamp, taken: &mut Vec<Taken>) {
        let (Some(rule), Some(setup), Some(case)) = (&self.policy.restart, &self.setup, self.cases.get_mut(&number))
        else {
            return;
        };
        if !case.is_open() || case.demands.iter().any(|one| one.demand == Demand::Restart) {
            return;
        }
        let reached = |alarm: &&Involved| {
            let kind = setup.points.iter().find(|point| *point.id == *alarm.subject).map(|point| point.kind);
            alarm.worst.is_some_and(|worst| worst >= rule.from) && kind == Some(rule.kind)
        };
        let Some(worst) = case.alarms.iter().find(reached).and_then(|alarm| alarm.worst) else { return };
        let reason = format!("{worst} {}", rule.kind.unit());
        case.demands.push(Demanded {
            demand: Demand::Restart,
            role: rule.role.clone(),
            by: DAVY.into(),
            reason: reason.clone(),
            since: now,
            until: None,
            signed: None,
        });
        taken.push(Taken { at: now, by: DAVY.into(), word: "restart_demanded", words: reason });
    }

    /// After something happened to a case: what follows by itself, its clocks anew, and all that is to be told.
    fn settle(&mut self, number: u64, now: Timestamp, mut taken: Vec<Taken>, out: &mut Out) {
        let Some(case) = self.cases.get_mut(&number) else { return };
        if case.is_open() && case.too_often(&self.policy, now) {
            taken.push(escalate(case, &self.policy, now, out));
        }
        for clock in case.told.clone() {
            if case.due(clock, &self.policy).is_none_or(|due| due > now) {
                case.told.remove(&clock);
                // The next one of its kind is due again.
                case.missed.remove(&clock);
                out.conditions.push(words::missed(case, clock, now, false));
            }
        }
        for step in taken {
            out.effects.push(Effect::Case(Box::new(CaseFact { case: case.clone(), step })));
        }
        self.wind(number);
    }

    /// Puts the clocks of a case in order.
    fn wind(&mut self, number: u64) {
        for (clock, due) in self.running.remove(&number).into_iter().flatten() {
            self.next.remove(&(due, number, clock));
        }
        let Some(case) = self.cases.get(&number) else { return };
        let clocks = case.clocks(&self.policy);
        self.next.extend(clocks.iter().map(|(clock, due)| (*due, number, *clock)));
        self.running.insert(number, clocks);
    }

    /// Our clock was set back: limits of open cases run out after as much time as they would have.
    fn set_back(&mut self, now: Timestamp, out: &mut Out) {
        let by = std::mem::replace(&mut self.now, now).since(now);
        let open: Vec<u64> = self.cases.values().filter(|case| case.is_open()).map(|case| case.number).collect();
        for number in open {
            self.cases.entry(number).and_modify(|case| case.set_back(by));
            let words = format!(
                "时钟回拨，各时限随之提前 / the clock was set back by {}: its limits go with it",
                duration_text(by)
            );
            let taken = Taken { at: now, by: DAVY.into(), word: "clock_set_back", words };
            self.settle(number, now, vec![taken], out);
        }
    }

    /// Clocks that ran out by now.
    pub fn on_tick(&mut self, now: Timestamp, out: &mut Out) {
        if now + SET_BACK < self.now && self.now != Timestamp::default() {
            self.set_back(now, out);
        }
        self.now = now;
        while let Some((due, number, clock)) = self.next.first().copied().filter(|(due, ..)| *due <= now) {
            self.next.remove(&(due, number, clock));
            if clock == Clock::Forget {
                self.forget(number);
                continue;
            }
            let Some(case) = self.cases.get_mut(&number) else { continue };
            let step = if clock.is_owed() {
                case.missed.insert(clock, now);
                case.told.insert(clock);
                case.times_missed += 1;
                out.conditions.push(words::missed(case, clock, now, true));
                Taken { at: now, by: DAVY.into(), word: "missed", words: clock.word().into() }
            } else {
                escalate(case, &self.policy, now, out)
            };
            out.effects.push(Effect::Record(Record {
                action: format!("case.{}", step.word),
                subject: case.id(),
                reason: step.words.clone(),
                ..Record::by(DAVY, now)
            }));
            self.settle(number, now, vec![step], out);
        }
    }

    fn forget(&mut self, number: u64) {
        self.running.remove(&number);
        let Some(case) = self.cases.remove(&number) else { return };
        for alarm in case.alarms {
            self.by_alarm.remove(&alarm.id);
            let source = (alarm.rule, alarm.subject);
            if self.by_source.get(&source) == Some(&number) {
                self.by_source.remove(&source);
            }
        }
        self.by_join.retain(|_, of| *of != number);
    }

    /// A person's step: taken or refused, and answered either way.
    pub fn on_step(&mut self, step: &CaseStep, out: &mut Out) {
        let outcome = self.take(step, out);
        let command = step.order().command;
        out.effects.push(Effect::Answered { command, answer: Answer::Case(Box::new(outcome)) });
    }
}

/// 督办, because it happens too often or lasts too long.
fn escalate(case: &mut Case, policy: &Policy, now: Timestamp, out: &mut Out) -> Taken {
    let rule = &policy.supervise;
    let reason = words::too_often(case, rule, now);
    case.escalated = true;
    if !case.is_supervised() {
        case.demands.push(Demanded {
            demand: Demand::Supervision,
            role: rule.role.clone(),
            by: DAVY.into(),
            reason: reason.clone(),
            since: now,
            until: Some(now + rule.deadline),
            signed: None,
        });
        case.undo_verification();
    }
    out.conditions.extend(words::supervised(case, &reason, now));
    Taken { at: now, by: DAVY.into(), word: "supervised", words: reason }
}
