//! Exercises (演练) in which values are injected: orders and time in, alarms that say what they are out.
//!
//! ```text
//!  entry ─► shard ───────────────────────► alarms: real, whatever is exercised
//!     │       │ what it knew until then
//!     └───► stage of each exercise ──────► alarms: exercise, with ids of their own
//!           injected values, real neighbours
//! ```
//! Each exercise has a stage: a small shard of its own for the points of its site, in which the injected values are
//! judged by the rules and limits in force. Promised: it ends by itself, over a restart too, and closes its alarms.
//! Never: an injected value reaches the real shard, its windows, the history or a live value; a real sample of an
//! exercised point is judged otherwise, later or under another name than without the exercise; a rule that fails on the
//! stage is told as one that fails.

mod stage;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Effect;
use super::shard::Shard;
use crate::alarm::{Alarm, AlarmChange, Exercised, Happening, OccurrenceId, Standing};
use crate::facts::Answer;
use crate::journal::{Entry, Note, RuleStep};
use crate::model::{
    Exercise, ExerciseEnd, ExerciseFact, ExerciseOrder, Injection, Point, PointIndex, Reason, Record, Timestamp,
};

use stage::{KeptStage, Stage};

/// What its alarms say at its end.
const OVER: &str = "演练结束 / the exercise is over";
const LOST: &str =
    "演练因重启中断，已结束 / the exercise is over: it was broken off by a restart that could not take it up";

/// Whose stage a shard is.
#[derive(Debug)]
pub(super) struct Staged {
    pub exercise: Arc<str>,
    /// The gateway's numbers of its points, in their order.
    numbers: Vec<PointIndex>,
}

impl Staged {
    pub fn number(&self, at: usize) -> PointIndex {
        self.numbers.get(at).copied().unwrap_or(PointIndex(u32::MAX))
    }
}

/// All that run, in the order in which they began.
#[derive(Default)]
pub(super) struct Exercises<'a> {
    running: Vec<Stage<'a>>,
    broken_off: BrokenOff,
}

/// What a start without a usable snapshot found: it ends with the first tick.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct BrokenOff {
    alarms: Vec<Alarm>,
    exercises: Vec<ExerciseFact>,
}

impl BrokenOff {
    const fn is_empty(&self) -> bool {
        self.alarms.is_empty() && self.exercises.is_empty()
    }
}

/// As a snapshot holds them.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Kept {
    running: Vec<KeptStage>,
    broken_off: BrokenOff,
}

impl<'a> Exercises<'a> {
    pub fn broken_off(alarms: Vec<Alarm>, exercises: Vec<ExerciseFact>) -> Self {
        Self { running: Vec::new(), broken_off: BrokenOff { alarms, exercises } }
    }

    pub fn keep(&self) -> Kept {
        Kept { running: self.running.iter().map(Stage::keep).collect(), broken_off: self.broken_off.clone() }
    }

    /// `real` has been restored before.
    pub fn resume(kept: Kept, real: &Shard<'a>) -> Self {
        let running = kept.running.into_iter().filter_map(|stage| Stage::resume(stage, real)).collect();
        Self { running, broken_off: kept.broken_off }
    }

    pub fn open_alarms(&self) -> impl Iterator<Item = &Alarm> {
        self.running.iter().flat_map(Stage::open_alarms).chain(&self.broken_off.alarms)
    }

    /// Real alarms say that they are, while an exercise runs at their site. What Davy says of itself is everybody's.
    pub fn mark(&self, effects: &mut [Effect]) {
        if self.running.is_empty() {
            return;
        }
        for effect in effects {
            let Effect::Changed(AlarmChange { alarm, .. }) = effect else { continue };
            let here = |stage: &&Stage<'_>| alarm.point.is_none() || *stage.exercise().site == *alarm.site;
            if let Some(stage) = self.running.iter().find(here)
                && !alarm.quality.has(Reason::Exercise)
            {
                alarm.exercise = Exercised::Beside(stage.exercise().id.as_str().into());
            }
        }
    }

    /// What people say to an alarm of an exercise is nobody else's business; true when it was that.
    pub fn take(&mut self, entry: &Entry, effects: &mut Vec<Effect>) -> bool {
        let occurrence: &OccurrenceId = match entry {
            Entry::Note(Note::Acknowledge(said)) => &said.occurrence,
            Entry::Note(Note::Reset(said)) => &said.occurrence,
            Entry::Samples(_) | Entry::Tick(_) | Entry::Note(_) => return false,
        };
        let of = |stage: &&mut Stage<'_>| stage.open_alarms().any(|alarm| alarm.id == *occurrence);
        let Some(stage) = self.running.iter_mut().find(of) else { return false };
        stage.hear_people(entry, effects);
        true
    }

    /// Has the entry anything to do with an exercise? Quick, because it is asked of every entry.
    pub fn concern(&self, entry: &Entry) -> bool {
        let order = matches!(entry, Entry::Note(Note::Exercise(_)));
        order || !self.running.is_empty() || !self.broken_off.is_empty()
    }

    /// The entry, after the real shard has judged it.
    pub fn on_entry(&mut self, real: &Shard<'a>, entry: &Entry, effects: &mut Vec<Effect>) {
        match entry {
            Entry::Samples(samples) => {
                self.running.iter_mut().for_each(|stage| stage.on_samples(samples, effects));
            }
            Entry::Tick(now) => self.on_tick(*now, effects),
            Entry::Note(Note::Exercise(note)) => {
                let answer = match &*note.order {
                    ExerciseOrder::Start(exercise) => self.start(exercise, real, effects),
                    ExerciseOrder::Inject(injection) => self.inject(injection, real, effects),
                    ExerciseOrder::End { id, end } => self.end(id, end, OVER, effects),
                };
                let answer = Answer::Exercise(answer.map(Box::new));
                effects.push(Effect::Answered { command: note.command, answer });
            }
            Entry::Note(Note::Setup(_)) => self.lay(real, effects),
            Entry::Note(Note::Rules(step)) if matches!(**step, RuleStep::Activated { .. }) => self.lay(real, effects),
            Entry::Note(Note::Limits(_)) => self.running.iter_mut().for_each(|stage| stage.relimit(real)),
            Entry::Note(Note::SiteSet(set)) => {
                let here = |stage: &&mut Stage<'_>| stage.exercise().site == set.standing.site;
                self.running.iter_mut().filter(here).for_each(|stage| stage.on_site(entry, effects));
            }
            Entry::Note(
                Note::Acknowledge(_)
                | Note::Reset(_)
                | Note::Aside(_)
                | Note::Condition(_)
                | Note::Receipt(_)
                | Note::PermitOpened(_)
                | Note::PermitEnded(_)
                | Note::Rules(_)
                | Note::Record(_)
                | Note::Case(_)
                | Note::Duty(_),
            ) => {}
        }
    }

    fn lay(&mut self, real: &Shard<'a>, effects: &mut Vec<Effect>) {
        self.running.iter_mut().for_each(|stage| stage.lay(real, effects));
    }

    /// Those whose time is up end; what is injected is measured by nobody but time.
    fn on_tick(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.end_broken_off(now, effects);
        for stage in &mut self.running {
            stage.follow_clock(now);
        }
        let over = |stage: &&Stage<'_>| now >= stage.exercise().until;
        let ids: Vec<String> = self.running.iter().filter(over).map(|stage| stage.exercise().id.clone()).collect();
        for id in ids {
            let end =
                ExerciseEnd { at: now, by: "davy".into(), comment: "到时自动结束 / its time was up".into() };
            drop(self.end(&id, &end, OVER, effects));
        }
        self.running.iter_mut().for_each(|stage| stage.on_tick(now, effects));
    }

    fn start(
        &mut self,
        exercise: &Exercise,
        real: &Shard<'a>,
        effects: &mut Vec<Effect>,
    ) -> Result<ExerciseFact, String> {
        self.admit(exercise, real)?;
        let stage = Stage::begin(exercise.clone(), real).ok_or("尚无配置 / no configuration is in force yet")?;
        effects.push(Effect::Record(Record {
            action: "exercise.start".into(),
            subject: exercise.id.clone(),
            reason: exercise.reason.clone(),
            after: format!("{} until {}", exercise.scope, exercise.until),
            ..Record::by(&exercise.by, exercise.from)
        }));
        let fact = stage.fact().clone();
        self.running.push(stage);
        effects.push(Effect::Exercise(Box::new(fact.clone())));
        Ok(fact)
    }

    /// Why it must not begin, in words.
    fn admit(&self, exercise: &Exercise, real: &Shard<'a>) -> Result<(), String> {
        let Exercise { site, points, from, until, .. } = exercise;
        if let Some(other) = self.running.iter().map(Stage::exercise).find(|other| other.site == *site) {
            return Err(format!(
                "站点 {site} 已有演练 {0}，至 {1} / {0} runs at {site} until {1}",
                other.id, other.until
            ));
        }
        if self.running.len() >= Exercise::MOST_RUNNING {
            return Err(format!("已有 {0} 个演练 / {0} exercises run already: end one first", Exercise::MOST_RUNNING));
        }
        if points.is_empty() || points.len() > Exercise::MOST_POINTS {
            return Err(format!("演练测点须为 1 至 {0} 个 / name 1 to {0} points", Exercise::MOST_POINTS));
        }
        let here = |point: &&Point| point.site == *site && !point.retired;
        if points.iter().any(|index| real.table().get(*index).filter(here).is_none()) {
            return Err(format!("测点须都属于站点 {site} / all points have to be of the site {site}"));
        }
        if *until <= *from || *until > *from + Exercise::LONGEST {
            return Err("一次最长 8 小时 / it may last 8h at most, and ends after it begins".into());
        }
        Ok(())
    }

    fn inject(
        &mut self,
        injection: &Injection,
        real: &Shard<'a>,
        effects: &mut Vec<Effect>,
    ) -> Result<ExerciseFact, String> {
        let point = real.table().get(injection.point).ok_or("没有该测点 / there is no such point")?;
        let id = &point.id;
        let covers = |stage: &&mut Stage<'a>| stage.exercise().points.contains(&injection.point);
        let Some(stage) = self.running.iter_mut().find(covers) else {
            return Err(format!(
                "测点 {id} 不在进行中的演练内，请先开始演练 / no exercise that runs names {id}: start one first"
            ));
        };
        if stage.fact().injections.len() >= Exercise::MOST_INJECTIONS {
            return Err(format!(
                "演练已注入 {0} 次 / {0} values were injected already: start another exercise",
                Exercise::MOST_INJECTIONS
            ));
        }
        let Injection { value, by, from, until, .. } = injection;
        if !value.is_finite() || point.range.is_some_and(|range| *value < range.low || *value > range.high) {
            let range = point.range.map_or_else(String::new, |range| format!("{} .. {}", range.low, range.high));
            return Err(format!("{id} 不可能显示 {value} / the sensor cannot show {value}: its range is {range}"));
        }
        if until <= from {
            return Err("结束早于开始 / it ends before it begins".into());
        }
        let before = stage.fact().injections.iter().rev().find(|one| one.point == injection.point);
        let before = before.map_or_else(String::new, |one| format!("{} {}", one.value, point.unit));
        stage.inject(injection.clone(), real, effects);
        effects.push(Effect::Record(Record {
            action: "exercise.inject".into(),
            subject: format!("{} {id}", stage.exercise().id),
            before,
            after: format!("{value} {} until {until}", point.unit),
            ..Record::by(by, *from)
        }));
        let fact = stage.fact().clone();
        effects.push(Effect::Exercise(Box::new(fact.clone())));
        Ok(fact)
    }

    fn end(
        &mut self,
        id: &str,
        end: &ExerciseEnd,
        why: &str,
        effects: &mut Vec<Effect>,
    ) -> Result<ExerciseFact, String> {
        let Some(place) = self.running.iter().position(|stage| stage.exercise().id == id) else {
            return Err(format!("没有进行中的演练 {id} / no exercise {id} runs"));
        };
        let fact = self.running.remove(place).end(end, why, effects);
        tell_end(&fact, end, effects);
        Ok(fact)
    }

    /// Nobody knows any more what was injected.
    fn end_broken_off(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let BrokenOff { alarms, exercises } = std::mem::take(&mut self.broken_off);
        for mut alarm in alarms {
            alarm.standing = Standing::Normal;
            alarm.cleared = Some(now);
            alarm.closed = true;
            alarm.detail = LOST.into();
            effects.push(Effect::Changed(AlarmChange { happening: Happening::Cleared, at: now, alarm }));
        }
        for fact in exercises {
            let end = ExerciseEnd { at: now, by: "davy".into(), comment: LOST.into() };
            tell_end(&ExerciseFact { end: Some(end.clone()), ..fact }, &end, effects);
        }
    }
}

fn tell_end(fact: &ExerciseFact, end: &ExerciseEnd, effects: &mut Vec<Effect>) {
    let ExerciseFact { exercise, injections, .. } = fact;
    effects.push(Effect::Record(Record {
        action: "exercise.end".into(),
        subject: exercise.id.clone(),
        reason: end.comment.clone(),
        before: format!("{} until {}, {} injected", exercise.scope, exercise.until, injections.len()),
        after: "ended".into(),
        ..Record::by(&end.by, end.at)
    }));
    effects.push(Effect::Exercise(Box::new(fact.clone())));
}
