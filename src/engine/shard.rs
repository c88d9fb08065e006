//! The state of a set of points, and what one entry does to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Effect;
use super::condition::Conditions;
use super::open::{About, Moment, Slot};
use super::window::Window;
use crate::alarm::{
    Acknowledgement, AlarmChange, Happening, Input, Level, OccurrenceId, Priority, RuleId, Standing, State, Verdict,
};
use crate::facts::Answer;
use crate::journal::{Acknowledge, Condition, Entry, Note, Setup};
use crate::model::{Point, PointIndex, PointTable, Reason, Sample, Stricter, Timestamp};
use crate::rule::{Judge, Judged, Judges, Language, Plan, Reading};

/// A wall clock that steps back by more than this was set.
const SET_BACK: Duration = Duration::from_secs(1);
/// Ticks come twice a second; a longer pause means that Davy was not running.
const DOWN_TIME: Duration = Duration::from_secs(10);

/// What a shard remembers of one point.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PointState {
    /// Newest judged sample, usable or not.
    pub source_time: Timestamp,
    pub raw: f64,
    pub quality: crate::model::Quality,
    /// When the newest usable sample arrived; the point's set-up before the first.
    pub usable_received: Timestamp,
    /// Newest usable value, once there is one.
    pub value: Option<f64>,
    /// Source time minus receive time of the newest sample, so that ticks speak the source's time.
    pub skew_micros: i64,
    pub windows: Vec<Window>,
    /// Alarms of the rules that watch the point, in the plan's order.
    pub slots: Vec<Slot>,
    /// A slot waits for time to pass.
    pub waits: bool,
}

/// What became of samples inside the engine; summed up for the loss ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub judged: u64,
    pub evaluations: u64,
    pub duplicates: u64,
    pub late: u64,
    pub unknown_points: u64,
}

/// One shard. Not `Send`: it is made and used on its own thread.
pub struct Shard<'a> {
    language: &'a Language,
    judge: Judge<'a>,
    plan: Plan,
    table: Arc<PointTable>,
    pub(super) setup: Option<Arc<Setup>>,
    pub(super) points: Vec<PointState>,
    pub(super) conditions: Conditions,
    /// Points at which each rule fails, by rule id.
    pub(super) faults: BTreeMap<String, u32>,
    pub(super) now: Timestamp,
    /// Since when Davy has listened without a pause.
    pub(super) listening_since: Timestamp,
    pub counts: Counts,
}

impl<'a> Shard<'a> {
    #[must_use]
    pub fn new(language: &'a Language) -> Self {
        Self {
            language,
            judge: Judge::new(language),
            plan: Plan::default(),
            table: Arc::default(),
            setup: None,
            points: Vec::new(),
            conditions: Conditions::default(),
            faults: BTreeMap::new(),
            now: Timestamp::MIN,
            listening_since: Timestamp::MIN,
            counts: Counts::default(),
        }
    }

    #[must_use]
    pub fn table(&self) -> &Arc<PointTable> {
        &self.table
    }

    /// The setup in force, if there is one.
    #[must_use]
    pub fn setup(&self) -> Option<&Arc<Setup>> {
        self.setup.as_ref()
    }

    /// One entry, in journal order.
    pub fn on_entry(&mut self, entry: &Entry, effects: &mut Vec<Effect>) {
        match entry {
            Entry::Samples(samples) => {
                for sample in samples.iter() {
                    self.on_sample(sample, effects);
                }
            }
            Entry::Tick(now) => self.on_tick(*now, effects),
            Entry::Note(Note::Setup(setup)) => self.on_setup(setup, effects),
            Entry::Note(Note::Acknowledge(command)) => self.on_acknowledge(command, effects),
            Entry::Note(Note::Condition(condition)) => self.conditions.apply(condition, effects),
            Entry::Note(Note::Receipt(receipt)) => effects.push(Effect::Receipt(receipt.clone())),
        }
    }

    fn on_sample(&mut self, sample: &Sample, effects: &mut Vec<Effect>) {
        let at = sample.point.at();
        let Some(state) = self.points.get_mut(at) else {
            self.counts.unknown_points += 1;
            return;
        };
        // A clock that was ahead, or that could not be believed, must not make what comes after it late.
        let received = Timestamp::from_micros(state.source_time.micros().saturating_sub(state.skew_micros));
        let believed = state.source_time <= sample.receive_time && !state.quality.has(Reason::ClockWrong);
        let our_clock_set_back = sample.receive_time + SET_BACK < received;
        let repeated = sample.source_time == state.source_time;
        if sample.source_time <= state.source_time && !our_clock_set_back {
            if !repeated && (believed || sample.source_time < received) {
                self.counts.late += 1;
                return;
            }
            if repeated && sample.value == state.raw && sample.quality == state.quality {
                self.counts.duplicates += 1;
                return;
            }
        }
        self.counts.judged += 1;
        let usable = sample.quality.usable();
        state.skew_micros = sample.source_time.micros() - sample.receive_time.micros();
        state.source_time = sample.source_time;
        state.raw = sample.value;
        state.quality = sample.quality;
        if usable {
            state.value = Some(sample.value);
            state.usable_received = sample.receive_time;
            for window in &mut state.windows {
                window.push(sample.source_time, sample.value);
            }
        }
        let moment =
            Moment { at: sample.source_time, received: sample.receive_time, value: usable.then_some(sample.value) };
        self.judge_point(at, moment, Asked::Sample { usable }, effects);
    }

    /// Time passed: delays run out, and points that have been silent longer than their period are asked.
    fn on_tick(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if now < self.now {
            // Our clock was set back: nothing was heard in a future that has not come.
            for state in &mut self.points {
                state.usable_received = state.usable_received.min(now);
            }
            self.listening_since = self.listening_since.min(now);
        } else if self.now > Timestamp::MIN && now.since(self.now) > DOWN_TIME {
            // Davy itself did not listen: silence is counted from here on, not from before it stopped.
            self.listening_since = now;
        }
        self.now = now;
        for at in 0..self.points.len() {
            let state = &self.points[at];
            let silent = self.table.list().get(at).is_some_and(|point| {
                !point.retired
                    && now.since(state.usable_received.max(self.listening_since))
                        > point.period + Duration::from_secs(1)
            });
            if silent || state.waits {
                let source_now = Timestamp::from_micros(now.micros().saturating_add(state.skew_micros));
                let value = if silent { None } else { state.value };
                let moment = Moment { at: source_now.max(state.source_time), received: now, value };
                self.judge_point(at, moment, Asked::Tick { silent }, effects);
            }
        }
    }

    /// Asks the rules of a point and moves their alarms.
    fn judge_point(&mut self, at: usize, moment: Moment, asked: Asked, effects: &mut Vec<Effect>) {
        let (Some(state), Some(plan), Some(point)) =
            (self.points.get_mut(at), self.plan.points.get(at), self.table.list().get(at))
        else {
            return;
        };
        if plan.watches.is_empty() {
            return;
        }
        let heard = match asked {
            Asked::Tick { silent: true } => state.usable_received.max(self.listening_since),
            Asked::Tick { silent: false } | Asked::Sample { .. } => state.usable_received,
        };
        let mut reading = Reading {
            value: state.value,
            uncertain: state.quality.grade() == crate::model::Grade::Uncertain,
            age_s: moment.received.since(heard).as_secs_f64(),
            period_s: point.period.as_secs_f64(),
            limits: &plan.watches[0].limits,
            spans: &plan.watches[0].spans,
        };
        self.judge.enter(&reading, &mut state.windows);
        let mut waits = false;
        for (watch, slot) in plan.watches.iter().zip(&mut state.slots) {
            let compiled = &self.plan.rules[watch.rule];
            let rule = &compiled.rule;
            let input = match (asked, rule.judges) {
                (Asked::Sample { usable: false }, Judges::Samples) => {
                    if let Some(alarm) = &mut slot.open {
                        alarm.held = true;
                    }
                    Input::Judged(Verdict::Unknown)
                }
                // Silence is not health: a clear that healthy samples began does not run out without them.
                (Asked::Tick { silent: true }, Judges::Samples) if matches!(slot.state, State::Active { .. }) => {
                    if !slot.state.waits() {
                        continue;
                    }
                    Input::Judged(Verdict::Unknown)
                }
                (Asked::Tick { .. }, Judges::Samples) => {
                    if !slot.state.waits() {
                        continue;
                    }
                    Input::Tick
                }
                // A bad sample is as silent as none.
                (Asked::Sample { usable: false }, Judges::Silence) => continue,
                (Asked::Sample { usable: true }, Judges::Silence) if slot.state == State::Normal => continue,
                (Asked::Tick { silent: false }, Judges::Silence) => {
                    if !slot.state.waits() {
                        continue;
                    }
                    Input::Tick
                }
                (Asked::Sample { usable: true }, Judges::Samples | Judges::Silence)
                | (Asked::Tick { silent: true }, Judges::Silence) => {
                    reading.limits = &watch.limits;
                    reading.spans = &watch.spans;
                    self.counts.evaluations += 1;
                    let wants_clear = matches!(slot.state, State::Active { .. });
                    let program = match (&compiled.clear, wants_clear) {
                        (Some(clear), true) => clear,
                        (Some(_) | None, _) => &compiled.raise,
                    };
                    let asks_clear = wants_clear && compiled.clear.is_some();
                    let judged = self.judge.judge(program, &reading);
                    let verdict = verdict(&judged, asks_clear, wants_clear, watch.plain, rule.deadband, reading.value);
                    note_fault(&mut self.faults, slot, &judged, rule, moment, &mut self.conditions, effects);
                    Input::Judged(verdict)
                }
            };
            if let (Some(value), true) = (moment.value, slot.open.is_some()) {
                let higher_is_worse = watch.plain.is_none_or(|(_, stricter)| stricter == Stricter::Lower);
                slot.note_value(value, higher_is_worse);
            }
            let about = || About {
                rule: &rule.id,
                subject: &point.id,
                point: Some(PointIndex(u32::try_from(at).unwrap_or(u32::MAX))),
                site: &point.site,
                place: &point.place,
                title: &rule.title,
                advice: &rule.advice,
                priority: rule.priority,
                level: rule.level,
                limit: watch.plain.map(|(limit, _)| limit),
                unit: &point.unit,
                detail: "",
            };
            slot.advance(&compiled.policy, input, moment, about, effects);
            waits |= slot.state.waits();
        }
        state.waits = waits;
        self.judge.leave(&mut state.windows);
    }

    fn on_acknowledge(&mut self, command: &Acknowledge, effects: &mut Vec<Effect>) {
        let mut changes = Vec::new();
        let answer = match self.find(&command.occurrence) {
            None => Answer::NoSuchAlarm,
            Some((slot, policy)) => match slot.open.as_deref() {
                Some(alarm) if alarm.raises != command.raises => Answer::NewerOccurrence(alarm.clone()),
                Some(alarm) if alarm.standing == Standing::Acknowledged => Answer::AlreadyAcknowledged(alarm.clone()),
                Some(_) | None => {
                    let by =
                        Acknowledgement { by: command.by.clone(), at: command.at, comment: command.comment.clone() };
                    slot.acknowledge(&policy, by, || unreachable!("an acknowledgement raises nothing"), &mut changes);
                    match changes.first() {
                        Some(Effect::Changed(change)) => Answer::Acknowledged(change.alarm.clone()),
                        Some(_) | None => Answer::NoSuchAlarm,
                    }
                }
            },
        };
        self.conditions.tidy();
        effects.append(&mut changes);
        effects.push(Effect::Answered { command: command.command, answer });
    }

    fn find(&mut self, id: &OccurrenceId) -> Option<(&mut Slot, crate::alarm::Policy)> {
        let is_it = |slot: &Slot| slot.open.as_ref().is_some_and(|alarm| alarm.id == *id);
        for (at, state) in self.points.iter_mut().enumerate() {
            if let Some(place) = state.slots.iter().position(is_it) {
                let policy = self.plan.rules[self.plan.points[at].watches[place].rule].policy;
                return Some((&mut state.slots[place], policy));
            }
        }
        self.conditions.find(id).map(|slot| (slot, crate::alarm::Policy::default()))
    }

    /// New points and rules. Windows, states and open alarms are carried over by point and rule id; an open
    /// alarm whose rule or point is gone is closed, and says so.
    fn on_setup(&mut self, setup: &Arc<Setup>, effects: &mut Vec<Effect>) {
        let plan = Plan::new(self.language, setup);
        let old_plan = std::mem::replace(&mut self.plan, plan);
        let mut old_points = std::mem::take(&mut self.points);
        for (at, (point, wanted)) in setup.points.iter().zip(&self.plan.points).enumerate() {
            let mut state =
                old_points.get_mut(at).map_or_else(|| fresh(setup.at), |old| std::mem::replace(old, fresh(setup.at)));
            let mut old_slots: Vec<(RuleId, Slot)> = old_plan.points.get(at).map_or_else(Vec::new, |old| {
                let rules = old.watches.iter().map(|watch| old_plan.rules[watch.rule].rule.id.clone());
                rules.zip(state.slots.drain(..)).collect()
            });
            state.slots = wanted
                .watches
                .iter()
                .map(|watch| {
                    let id = &self.plan.rules[watch.rule].rule.id;
                    let old = old_slots.iter().position(|(old, _)| old == id);
                    old.map_or_else(Slot::default, |place| old_slots.swap_remove(place).1)
                })
                .collect();
            for (_, slot) in old_slots {
                close(slot, setup.at, point, effects);
            }
            let mut old_windows = std::mem::take(&mut state.windows);
            state.windows = wanted
                .windows
                .iter()
                .map(|span| {
                    let old = old_windows.iter().position(|window| window.span == *span);
                    old.map_or_else(|| Window::new(*span), |place| old_windows.swap_remove(place))
                })
                .collect();
            self.points.push(state);
        }
        self.table = Arc::new(PointTable::new(setup.points.clone()));
        self.setup = Some(setup.clone());
        self.forget_faults(setup.at, effects);
        effects.push(Effect::Setup(setup.clone(), self.table.clone()));
    }

    /// After a new setup every rule gets a fresh chance; faults are counted anew.
    fn forget_faults(&mut self, at: Timestamp, effects: &mut Vec<Effect>) {
        for (rule, _) in std::mem::take(&mut self.faults) {
            self.conditions.apply(&fault_condition(&rule, at, false, ""), effects);
        }
        for slot in self.points.iter_mut().flat_map(|state| &mut state.slots) {
            slot.faulty = false;
        }
    }

    /// Rebuilds what a snapshot does not hold: the compiled plan and the table.
    pub(super) fn restore(&mut self, snapshot: super::Snapshot) {
        let setup = snapshot.setup;
        if let Some(setup) = &setup {
            self.plan = Plan::new(self.language, setup);
            self.table = Arc::new(PointTable::new(setup.points.clone()));
        }
        self.setup = setup;
        self.points = snapshot.points;
        self.conditions = snapshot.conditions;
        self.faults = snapshot.faults;
        self.now = snapshot.now;
        self.listening_since = snapshot.listening_since;
    }
}

/// Why a point is asked.
#[derive(Clone, Copy)]
enum Asked {
    Sample { usable: bool },
    Tick { silent: bool },
}

pub(super) fn fresh(at: Timestamp) -> PointState {
    PointState {
        source_time: Timestamp::MIN,
        raw: 0.0,
        quality: crate::model::Quality::GOOD,
        usable_received: at,
        value: None,
        skew_micros: 0,
        windows: Vec::new(),
        slots: Vec::new(),
        waits: false,
    }
}

/// From what the closure said to what the alarm hears.
fn verdict(
    judged: &Judged,
    asked_clear: bool,
    active: bool,
    plain: Option<(f64, Stricter)>,
    deadband: f64,
    value: Option<f64>,
) -> Verdict {
    let plain_says = |margin: f64| match (plain, value) {
        (Some((limit, Stricter::Lower)), Some(value)) => Some(value >= limit - margin),
        (Some((limit, Stricter::Higher)), Some(value)) => Some(value <= limit + margin),
        (_, None) | (None, _) => None,
    };
    let violated = match judged {
        Judged::Unknown => return Verdict::Unknown,
        Judged::Says(says) if asked_clear => !says,
        Judged::Says(false) if active && deadband > 0.0 => plain_says(deadband).unwrap_or(false),
        Judged::Says(says) => *says,
        // The rule failed: its plain limit stands in, and without one nothing is known.
        Judged::Fault(_) => match plain_says(0.0) {
            Some(violated) => violated,
            None => return Verdict::Unknown,
        },
    };
    if violated { Verdict::Violated } else { Verdict::Healthy }
}

/// Counts at how many points a rule fails; the first raises its alarm, the last one mended ends it.
fn note_fault(
    faults: &mut BTreeMap<String, u32>,
    slot: &mut Slot,
    judged: &Judged,
    rule: &crate::rule::Rule,
    moment: Moment,
    conditions: &mut Conditions,
    effects: &mut Vec<Effect>,
) {
    let failed = match judged {
        Judged::Fault(_) => true,
        Judged::Says(_) | Judged::Unknown => false,
    };
    if failed == slot.faulty {
        return;
    }
    slot.faulty = failed;
    let count = faults.entry(rule.id.to_string()).or_insert(0);
    *count = if failed { *count + 1 } else { count.saturating_sub(1) };
    let (now_failing, first) = (*count, failed && *count == 1);
    if now_failing == 0 {
        faults.remove(&*rule.id);
    }
    if first || now_failing == 0 {
        let detail = match judged {
            Judged::Fault(why) => why.as_str(),
            Judged::Says(_) | Judged::Unknown => "",
        };
        conditions.apply(&fault_condition(&rule.id, moment.received, failed, detail), effects);
    }
}

fn fault_condition(rule: &str, at: Timestamp, holds: bool, detail: &str) -> Condition {
    Condition {
        at,
        rule: "davy-rule-fault".into(),
        subject: format!("rule {rule}"),
        holds,
        title: format!("规则执行失败 / rule fails: {rule}"),
        advice: "该规则的测点暂按规则限值判定；请修正规则 / its points are judged by the plain limit; mend the rule"
            .into(),
        priority: Priority::P2,
        level: Level::Yellow,
        detail: detail.to_owned(),
    }
}

/// Closes an alarm whose rule no longer watches the point.
fn close(slot: Slot, at: Timestamp, _point: &Point, effects: &mut Vec<Effect>) {
    let Some(mut alarm) = slot.open else { return };
    alarm.standing = Standing::Normal;
    alarm.cleared = Some(at);
    alarm.detail = "规则已移除或不再监视该测点 / the rule was removed or no longer watches this point".into();
    effects.push(Effect::Changed(AlarmChange { happening: Happening::Cleared, at, alarm: *alarm }));
}
