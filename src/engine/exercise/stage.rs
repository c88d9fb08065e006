//! The stage of one exercise: a shard of its own for the points of the site.
//!
//! In come the exercise's values, each period of its point while it lasts, and real samples of the points that its
//! rules look at; out go changes of alarms, and nothing else that the shard makes of it. A point is judged from its
//! first injected value on, and goes on from what the real sensor had shown until then: its windows are copied, and
//! when the injected value is over it reads that value again. Points that nobody injects have no rules on the stage.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Staged;
use crate::alarm::{Alarm, Aside};
use crate::engine::Effect;
use crate::engine::open::{Slot, Slots};
use crate::engine::shard::{DOWN_TIME, PointState, Shard, close, fresh, patience};
use crate::journal::{Entry, Setup};
use crate::model::{
    Exemption, Exercise, ExerciseEnd, ExerciseFact, Injection, PointIndex, PointTable, Quality, Reason, Sample, SiteId,
    TICK, Timestamp,
};
use crate::rule::{Layers, Ordered, Plan, PointPlan};

/// What the alarms of a point say when its injected value is over and there is no other that it could read.
const INJECTED: &str = "注入结束 / the injected value is over";
/// A wall clock that steps back by more than this was set.
const SET_BACK: Duration = Duration::from_secs(1);

/// What an injected point reads.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Reads {
    value: f64,
    /// None: to the exercise's end.
    until: Option<Timestamp>,
    /// What the real sensor showed when the first value was injected, if it showed one.
    rest: Option<f64>,
    /// When it is next heard.
    next: Timestamp,
}

impl Reads {
    /// What is heard up to `now`; false when there is nothing left to read.
    fn pass(&mut self, now: Timestamp, period: Duration, heard: &mut Vec<(Timestamp, f64)>) -> bool {
        if now.since(self.next) > DOWN_TIME {
            // Davy was not running: it begins anew from here, as it does for real sensors.
            self.next = now;
        }
        loop {
            if self.until.is_some_and(|until| until <= now && until <= self.next) {
                let Some(rest) = self.rest else { return false };
                let until = self.until.take().unwrap_or(now);
                (self.value, self.next) = (rest, if now.since(until) > DOWN_TIME { now } else { until });
            }
            if self.next > now {
                return true;
            }
            heard.push((self.next, self.value));
            self.next = self.next + period.max(TICK);
        }
    }
}

/// As a snapshot holds it; the rest follows from the real shard.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct KeptStage {
    fact: ExerciseFact,
    readings: BTreeMap<PointIndex, Reads>,
    points: Vec<PointState>,
    now: Timestamp,
    listening_since: Timestamp,
    today: Timestamp,
    layers_at: Timestamp,
    asides: Vec<Aside>,
}

pub(super) struct Stage<'a> {
    fact: ExerciseFact,
    shard: Shard<'a>,
    /// Of points that were injected, by the stage's numbers.
    readings: BTreeMap<PointIndex, Reads>,
    /// Plans of the exercise's points that nobody has injected yet.
    plans: BTreeMap<usize, Rc<PointPlan>>,
    /// Real points whose samples the stage needs, with their numbers here.
    neighbours: BTreeMap<PointIndex, PointIndex>,
}

impl<'a> Stage<'a> {
    pub fn begin(exercise: Exercise, real: &Shard<'a>) -> Option<Self> {
        let shard = shard(&exercise, real, None)?;
        let fact = ExerciseFact { exercise, injections: Vec::new(), end: None };
        let mut stage =
            Self { fact, shard, readings: BTreeMap::new(), plans: BTreeMap::new(), neighbours: BTreeMap::new() };
        (stage.shard.now, stage.shard.listening_since) = (real.now, real.listening_since);
        stage.shard.points = vec![fresh(real.now); stage.shard.plan.points.len()];
        stage.hush();
        for (number, here) in stage.neighbours.clone() {
            if let Some(state) = real.points.get(number.at()) {
                stage.shard.points[here.at()] = stage.copied(state, here, 0);
            }
        }
        stage.shard.look_up_seasons(real.today);
        stage.shard.wake_all();
        Some(stage)
    }

    pub fn keep(&self) -> KeptStage {
        KeptStage {
            fact: self.fact.clone(),
            readings: self.readings.clone(),
            points: self.shard.points.clone(),
            now: self.shard.now,
            listening_since: self.shard.listening_since,
            today: self.shard.today,
            layers_at: self.shard.layers.ordered().at,
            asides: self.shard.asides.list(),
        }
    }

    pub fn resume(kept: KeptStage, real: &Shard<'a>) -> Option<Self> {
        let KeptStage { fact, readings, points, now, listening_since, today, layers_at, asides } = kept;
        let shard = shard(&fact.exercise, real, Some(layers_at))?;
        let mut stage = Self { fact, shard, readings, plans: BTreeMap::new(), neighbours: BTreeMap::new() };
        stage.shard.points = points;
        (stage.shard.now, stage.shard.listening_since) = (now, listening_since);
        stage.hush();
        stage.shard.look_up_seasons(today);
        stage.shard.wake_all();
        stage.shard.take_up_asides(asides);
        Some(stage)
    }

    pub const fn fact(&self) -> &ExerciseFact {
        &self.fact
    }

    pub const fn exercise(&self) -> &Exercise {
        &self.fact.exercise
    }

    pub fn open_alarms(&self) -> impl Iterator<Item = &Alarm> {
        self.shard.open_alarms()
    }

    /// Takes the rules from every point that reads nothing here, and remembers those of the exercise's own points.
    fn hush(&mut self) {
        self.plans.clear();
        self.neighbours.clear();
        for at in 0..self.shard.plan.points.len() {
            let here = PointIndex(u32::try_from(at).expect("points are numbered with u32"));
            if self.readings.contains_key(&here) {
                continue;
            }
            self.quiet(here);
        }
    }

    /// No rule watches the point; those that look at it still do, and see what is real.
    fn quiet(&mut self, here: PointIndex) {
        let (at, number) = (here.at(), self.number(here));
        let whole = self.shard.plan.points[at].clone();
        if self.exercise().points.contains(&number) {
            self.plans.insert(at, whole.clone());
        }
        if !self.shard.plan.onlookers[at].is_empty() {
            self.neighbours.insert(number, here);
        }
        let lent = whole.lent.clone();
        let (resolution, period) = (whole.resolution, whole.period);
        let plan = PointPlan { wants: lent.clone(), lent, resolution, period, ..PointPlan::default() };
        self.shard.plan.points[at] = Rc::new(plan);
        let state = &mut self.shard.points[at];
        state.slots = Slots::default();
        (state.waits, state.health_waits) = (false, false);
        state.past.arrange(&self.shard.plan.points[at].wants);
    }

    fn number(&self, here: PointIndex) -> PointIndex {
        self.shard.staged.as_ref().map_or(here, |staged| staged.number(here.at()))
    }

    fn here(&self, number: PointIndex) -> Option<PointIndex> {
        let place = self.shard.staged.as_ref()?.numbers.binary_search(&number).ok()?;
        u32::try_from(place).ok().map(PointIndex)
    }

    /// What the real shard knew of a point, without its alarms.
    fn copied(&self, real: &PointState, here: PointIndex, rules: usize) -> PointState {
        let now = self.shard.now;
        // A source whose clock is ahead would make everything that comes from here late.
        let mut state = if real.source_time <= now { real.clone() } else { fresh(now) };
        state.slots = vec![Slot::default(); rules].into();
        (state.waits, state.health_waits, state.permit, state.behind) = (false, false, None, None);
        state.past.arrange(&self.shard.plan.points[here.at()].wants);
        state
    }

    pub fn inject(&mut self, injection: Injection, real: &Shard<'a>, effects: &mut Vec<Effect>) {
        let number = injection.point;
        let (Some(here), Some(state)) = (self.here(number), real.points.get(number.at())) else { return };
        let now = if real.now == Timestamp::MIN { injection.from } else { real.now };
        let until = Some(injection.until.min(self.exercise().until));
        match self.readings.get_mut(&here) {
            Some(reads) => (reads.value, reads.until, reads.next) = (injection.value, until, now),
            None => {
                let shown =
                    real.table().get(number).filter(|point| now.since(state.usable_received) <= patience(point.period));
                let rest = state.value.filter(|_| shown.is_some() && state.quality.usable());
                self.wake(here, state);
                self.readings.insert(here, Reads { value: injection.value, until, rest, next: now });
            }
        }
        self.fact.injections.push(injection);
        self.shard.suppress_by_design(now, &mut Vec::new());
        self.hear(now, effects);
    }

    /// From here on the point's rules are asked.
    fn wake(&mut self, here: PointIndex, real: &PointState) {
        let Some(plan) = self.plans.remove(&here.at()) else { return };
        let rules = plan.watches.len();
        self.neighbours.remove(&self.number(here));
        self.shard.plan.points[here.at()] = plan;
        self.shard.points[here.at()] = self.copied(real, here, rules);
        // Its limits may have changed since its plan was put aside.
        self.shard.relimit(&[here]);
        self.shard.wake_all();
    }

    /// Real samples that rules of the stage look at.
    pub fn on_samples(&mut self, samples: &[Sample], effects: &mut Vec<Effect>) {
        if self.neighbours.is_empty() {
            return;
        }
        let own = |sample: &Sample| Some(Sample { point: *self.neighbours.get(&sample.point)?, ..*sample });
        let samples: Vec<Sample> = samples.iter().filter_map(own).collect();
        if !samples.is_empty() {
            self.enter(&Entry::Samples(Arc::new(samples)), effects);
        }
    }

    /// What the wall clock is set back by goes off every end: it lasts as long as was said.
    pub fn follow_clock(&mut self, now: Timestamp) {
        if now + SET_BACK >= self.shard.now || self.shard.now == Timestamp::MIN {
            return;
        }
        let by = self.shard.now.since(now);
        self.fact.exercise.until = self.fact.exercise.until - by;
        for reads in self.readings.values_mut() {
            reads.until = reads.until.map(|until| until - by);
            reads.next = reads.next - by;
        }
    }

    pub fn on_tick(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let over = self.hear(now, effects);
        self.enter(&Entry::Tick(now), effects);
        for here in &over {
            self.close(here.at(), now, INJECTED, effects);
            self.readings.remove(here);
            self.quiet(*here);
        }
        if !over.is_empty() {
            self.shard.line_up_open();
        }
    }

    /// What the injected points read up to `now`; says which of them have nothing left to read.
    fn hear(&mut self, now: Timestamp, effects: &mut Vec<Effect>) -> Vec<PointIndex> {
        let (mut all, mut over, mut heard) = (Vec::new(), Vec::new(), Vec::new());
        for (here, reads) in &mut self.readings {
            let period = self.shard.table.get(*here).map_or(Duration::ZERO, |point| point.period);
            if !reads.pass(now, period, &mut heard) {
                over.push(*here);
            }
            all.extend(heard.drain(..).map(|(at, value)| Sample {
                point: *here,
                quality: Quality::because(Reason::Exercise),
                source_time: at,
                receive_time: at,
                value,
            }));
        }
        all.sort_by_key(|sample| (sample.source_time, sample.point));
        if !all.is_empty() {
            self.enter(&Entry::Samples(Arc::new(all)), effects);
        }
        over
    }

    pub fn on_site(&mut self, entry: &Entry, effects: &mut Vec<Effect>) {
        self.enter(entry, effects);
    }

    /// Other points or rules are in force.
    pub fn lay(&mut self, real: &Shard<'a>, effects: &mut Vec<Effect>) {
        let Some((setup, numbers)) = real.setup().map(|setup| reduced(setup, &self.exercise().site)) else { return };
        let at = self.shard.layers.ordered().at;
        self.shard.layers = Layers::of(&setup, ordered(real, &numbers, at));
        if let Some(staged) = &mut self.shard.staged {
            staged.numbers = numbers;
        }
        let mut inner = Vec::new();
        self.shard.on_setup(&setup, None, &mut inner);
        self.hush();
        self.shard.suppress_by_design(setup.at, &mut inner);
        self.shard.wake_all();
        self.shard.line_up_open();
        let_out(inner, effects);
    }

    /// Other limits are in force.
    pub fn relimit(&mut self, real: &Shard<'a>) {
        let (Some(setup), Some(staged)) = (self.shard.setup().cloned(), self.shard.staged.as_ref()) else { return };
        let at = self.shard.layers.ordered().at;
        self.shard.layers = Layers::of(&setup, ordered(real, &staged.numbers, at));
        let injected: Vec<PointIndex> = self.readings.keys().copied().collect();
        self.shard.relimit(&injected);
    }

    /// Somebody acknowledges or resets one of its alarms.
    pub fn hear_people(&mut self, entry: &Entry, effects: &mut Vec<Effect>) {
        self.shard.on_entry(entry, effects);
    }

    /// The exercise is over: every alarm of it is closed.
    pub fn end(mut self, end: &ExerciseEnd, why: &str, effects: &mut Vec<Effect>) -> ExerciseFact {
        let injected: Vec<PointIndex> = self.readings.keys().copied().collect();
        for here in injected {
            self.close(here.at(), end.at, why, effects);
        }
        ExerciseFact { end: Some(end.clone()), ..self.fact }
    }

    fn close(&mut self, at: usize, now: Timestamp, why: &str, effects: &mut Vec<Effect>) {
        for slot in self.shard.points[at].slots.iter_mut() {
            close(std::mem::take(slot), now, why, effects);
        }
    }

    fn enter(&mut self, entry: &Entry, effects: &mut Vec<Effect>) {
        let mut inner = Vec::new();
        self.shard.on_entry(entry, &mut inner);
        let_out(inner, effects);
    }
}

/// Alarms of points leave the stage; what its shard says of rules, limits and itself is nobody's business.
fn let_out(inner: Vec<Effect>, effects: &mut Vec<Effect>) {
    effects
        .extend(inner.into_iter().filter(|effect| effect.change().is_some_and(|change| change.alarm.point.is_some())));
}

/// The setup as the stage has it, and the gateway's numbers of its points.
fn reduced(setup: &Setup, site: &SiteId) -> (Arc<Setup>, Vec<PointIndex>) {
    let of_site = (0_u32..).zip(&setup.points).filter(|(_, point)| point.site == *site);
    let (numbers, points) = of_site.map(|(number, point)| (PointIndex(number), point.clone())).unzip();
    // Who is lost with a device is told of the real ones.
    let parents = BTreeMap::new();
    (Arc::new(Setup { points, parents, ..setup.clone_without_points() }), numbers)
}

/// Limits and exemptions of the real shard, by the stage's numbers.
fn ordered(real: &Shard<'_>, numbers: &[PointIndex], at: Timestamp) -> Ordered {
    let Ordered { limits, exemptions, .. } = real.layers.ordered();
    let here = |point: &PointIndex| Some(PointIndex(u32::try_from(numbers.binary_search(point).ok()?).ok()?));
    let exemptions = exemptions
        .into_iter()
        .map(|one| Exemption { points: one.points.iter().filter_map(here).collect(), ..one })
        .filter(|one| !one.points.is_empty())
        .collect();
    Ordered { limits, exemptions, at }
}

/// A shard for the exercise's site with the rules and limits in force, whose points are still to be put in.
fn shard<'a>(exercise: &Exercise, real: &Shard<'a>, layers_at: Option<Timestamp>) -> Option<Shard<'a>> {
    let (setup, numbers) = reduced(real.setup()?, &exercise.site);
    let mut shard = Shard::new(real.language);
    let at = layers_at.unwrap_or_else(|| real.layers.ordered().at);
    shard.layers = Layers::of(&setup, ordered(real, &numbers, at));
    shard.plan = Plan::over(real.language, &setup, &shard.layers);
    shard.table = Arc::new(PointTable::new(setup.points.clone()));
    shard.setup = Some(setup);
    shard.staged = Some(Staged { exercise: exercise.id.as_str().into(), numbers });
    shard.sites =
        real.sites.iter().filter(|(site, _)| **site == exercise.site).map(|(s, o)| (s.clone(), o.clone())).collect();
    Some(shard)
}
