//! The state of a set of points, and what one entry does to it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Effect;
use super::around::{self, Stirred};
use super::aside::Asides;
use super::condition::Conditions;
use super::exercise::{Exercises, Staged};
use super::health::{Health, Memory, Twin, find_twins};
use super::open::{About, Moment, Slot, Slots};
use super::past::{Held, Past};
use super::revision::{permit_ended, permit_opened, versions};
use super::wake::Wakes;
use crate::alarm::{
    Alarm, AlarmChange, Happening, Input, Level, OccurrenceId, Priority, RuleId, Standing, State, Verdict,
};
use crate::facts::Answer;
use crate::journal::{Condition, Entry, Note, PermitEnded, PermitOpened, Setup};
use crate::model::{
    Cause, Permit, PermitEnd, PermitKind, Point, PointIndex, PointTable, Quality, Reason, Sample, SiteId, SiteStanding,
    Stricter, TICK, Timestamp,
};
use crate::rule::{
    Around, Glance, Judge, Judged, Judges, Language, Layers, Occasion, Occasions, Ordered, Plan, PointPlan, Program,
    Reading, Watch,
};

/// A wall clock that steps back by more than this was set.
const SET_BACK: Duration = Duration::from_secs(1);
/// Ticks come twice a second; a longer pause means that Davy was not running.
pub const DOWN_TIME: Duration = Duration::from_secs(10);
/// A sample that younger ones of its point overtook by no more than this takes its place among them.
const REORDER: Duration = Duration::from_secs(10);
/// Newest samples of a point that are remembered, to put others in order and to know repeats.
const RECENT: usize = 8;
/// A rule that failed so often in a row at a point rests there: it is passed over once, then 3 times, 7, at last
/// [`LONGEST_REST`] times, and its plain limit judges meanwhile. Counted in askings, so a replay rests alike.
const PATIENCE: u32 = 3;
const LONGEST_REST: u32 = 63;
/// Rules about a silence that has lasted for so long are asked once a minute.
const LONG_SILENCE: Duration = Duration::from_secs(3_600);
/// Rules about the sensor itself are asked this often, besides every change of quality.
const HEALTH_EVERY: Duration = Duration::from_secs(10);

const RULE_GONE: &str = "规则已移除或不再监视该测点 / the rule was removed or no longer watches this point";

/// Points whose memory is fetched together, ahead of their samples.
pub(super) const AHEAD: usize = 16;

/// What a shard remembers of one point. In this order what each sample needs lies in two runs of whole lines of the
/// processor's cache: the first fields, and from the end of `memory` to the beginning of `past`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[repr(C, align(64))]
pub(super) struct PointState {
    /// Newest judged sample, usable or not.
    pub source_time: Timestamp,
    pub received: Timestamp,
    pub raw: f64,
    /// When the newest usable sample arrived; the point's set-up before the first.
    pub usable_received: Timestamp,
    pub usable_source: Timestamp,
    /// When the sensor was last heard: a line break is an answer, a poll in vain is none.
    pub heard: Timestamp,
    /// Newest usable value, once there is one.
    pub value: Option<f64>,
    /// Source time minus receive time of the newest sample, so that ticks speak the source's time.
    pub skew_micros: i64,
    /// The newest samples by source time: what comes out of order or again is compared with them.
    pub recent: VecDeque<(Timestamp, f64, Quality)>,
    pub quality: Quality,
    /// A slot waits for time to pass.
    pub waits: bool,
    /// A rule about the sensor waits for time to pass, and when they were last asked.
    pub health_waits: bool,
    /// The permit under which the newest sample arrived: its marks are explained by that one, even if it has
    /// ended since.
    pub permit: Option<PermitKind>,
    pub health_asked: Timestamp,
    /// Event time of the newest verdict of its rules that look beyond it.
    pub looked: Timestamp,
    pub memory: Memory,
    /// Source and receive time of the newest sample that was far behind the newest one, if none was in order since.
    pub behind: Option<Box<(Timestamp, Timestamp)>>,
    /// Alarms of the rules that watch the point, in the plan's order.
    pub slots: Slots,
    /// What its rules look back on.
    pub past: Past,
    /// When the point was set up.
    pub since: Timestamp,
    /// When it was last calibrated under a permit.
    pub calibrated: Option<Timestamp>,
}

const _: () = {
    let first = std::mem::offset_of!(PointState, memory).div_ceil(64);
    let from = std::mem::offset_of!(PointState, memory) + Memory::NEEDED_FROM;
    let to = std::mem::offset_of!(PointState, past) + Past::NEEDED;
    assert!(first + to.div_ceil(64) - from / 64 <= 6, "a sample fetches six lines of its point's own memory");
};

impl PointState {
    /// Something of each line of its own memory that a sample needs.
    fn touch(&self) -> u64 {
        let times = (self.source_time.micros() ^ self.looked.micros()).cast_unsigned();
        times ^ self.memory.touch() ^ self.past.touch()
    }

    /// The same of what that points to.
    fn touch_behind(&self) -> u64 {
        let newest = self.recent.back().map_or(0, |(time, ..)| time.micros().cast_unsigned());
        let slots = if self.slots.all_rest() { 0 } else { self.slots.iter().fold(0, |all, slot| all ^ slot.rest) };
        newest ^ u64::from(slots) ^ self.past.touch_behind()
    }
}

/// What became of samples inside the engine; summed up for the loss ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub judged: u64,
    pub evaluations: u64,
    /// Of them those that a quiet point answered without a rule being asked.
    pub answered: u64,
    /// Rules passed over because they had failed before.
    pub rested: u64,
    pub duplicates: u64,
    pub late: u64,
    /// Overtaken by younger ones, and put in order.
    pub reordered: u64,
    pub unknown_points: u64,
}

impl Counts {
    fn answer(&mut self, rules: u32) {
        self.evaluations += u64::from(rules);
        self.answered += u64::from(rules);
    }
}

/// Why a sample of a known point was not judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unjudged {
    Late,
    Duplicate,
}

/// One shard. Not `Send`: it is made and used on its own thread.
pub struct Shard<'a> {
    pub(super) language: &'a Language,
    judge: Judge<'a>,
    pub(super) plan: Plan,
    pub(super) table: Arc<PointTable>,
    /// Limits and exemptions over the rules' own numbers.
    pub(super) layers: Layers,
    pub(super) setup: Option<Arc<Setup>>,
    pub(super) points: Vec<PointState>,
    pub(super) conditions: Conditions,
    /// Points at which each rule fails, by rule id.
    pub(super) faults: BTreeMap<String, u32>,
    pub(super) now: Timestamp,
    /// Since when Davy has listened without a pause.
    pub(super) listening_since: Timestamp,
    /// Not ended yet; with whether the alarm about its end is out.
    pub(super) permits: Vec<(Permit, bool)>,
    /// Sites with sensors that are due for calibration.
    pub(super) due: BTreeMap<String, BTreeSet<String>>,
    /// What sites are doing, where somebody has said so.
    pub(super) sites: BTreeMap<SiteId, SiteStanding>,
    /// By place among the plan's seasons, and when they were last looked up.
    pub(super) in_season: Vec<bool>,
    pub(super) today: Timestamp,
    pub(super) stirred: Stirred,
    /// What rules see beyond their point, by the place of their watch; lent to one point at a time.
    pub(super) seen: Vec<Rc<Around>>,
    /// Alarms that are set aside, and when alarms call again.
    pub(super) asides: Asides,
    /// Where each open alarm of a point is: there may be a hundred thousand when one is acknowledged.
    pub(super) opened: HashMap<OccurrenceId, PointIndex>,
    /// Exercises that run beside it.
    pub(super) exercises: Exercises<'a>,
    /// This shard is the stage of an exercise.
    pub(super) staged: Option<Staged>,
    /// When a tick can next change something at each point.
    wakes: Wakes,
    pub counts: Counts,
    /// What all points look back on, as of the last whole minute.
    pub held: Held,
    /// Not judged since it was last taken, by point.
    pub unjudged: BTreeMap<(PointIndex, Unjudged), u64>,
}

impl<'a> Shard<'a> {
    #[must_use]
    pub fn new(language: &'a Language) -> Self {
        Self {
            language,
            judge: Judge::new(language),
            plan: Plan::default(),
            table: Arc::default(),
            layers: Layers::default(),
            setup: None,
            points: Vec::new(),
            conditions: Conditions::default(),
            faults: BTreeMap::new(),
            now: Timestamp::MIN,
            listening_since: Timestamp::MIN,
            permits: Vec::new(),
            due: BTreeMap::new(),
            sites: BTreeMap::new(),
            in_season: Vec::new(),
            today: Timestamp::MIN,
            stirred: Stirred::default(),
            seen: Vec::new(),
            asides: Asides::default(),
            opened: HashMap::new(),
            exercises: Exercises::default(),
            staged: None,
            wakes: Wakes::default(),
            counts: Counts::default(),
            held: Held::default(),
            unjudged: BTreeMap::new(),
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

    /// How many rules are in force.
    #[must_use]
    pub fn rules(&self) -> usize {
        self.plan.rules.len()
    }

    /// Alarms of points that are not over, as they stand.
    pub fn open_alarms(&self) -> impl Iterator<Item = &Alarm> {
        self.points.iter().flat_map(|state| state.slots.iter()).filter_map(|slot| slot.open.as_deref())
    }

    /// These, the conditions of the gateway itself, and what exercises have raised.
    pub fn all_open(&self) -> impl Iterator<Item = &Alarm> {
        self.open_alarms().chain(self.conditions.open()).chain(self.exercises.open_alarms())
    }

    /// Permits that have not ended.
    #[must_use]
    pub fn permits(&self) -> Vec<Permit> {
        self.permits.iter().map(|(permit, _)| permit.clone()).collect()
    }

    /// One entry, in journal order.
    pub fn on_entry(&mut self, entry: &Entry, effects: &mut Vec<Effect>) {
        if self.exercises.take(entry, effects) {
            return;
        }
        let before = effects.len();
        self.enter(entry, effects);
        if effects.len() > before {
            self.follow(before, effects);
        }
        if self.exercises.concern(entry) {
            // Whatever is real has been judged by now, and knows nothing of what follows.
            let mut exercises = std::mem::take(&mut self.exercises);
            exercises.on_entry(self, entry, effects);
            self.exercises = exercises;
        }
    }

    fn enter(&mut self, entry: &Entry, effects: &mut Vec<Effect>) {
        match entry {
            Entry::Samples(samples) => {
                for samples in samples.chunks(AHEAD) {
                    self.fetch(samples.iter().map(|sample| sample.point.at()));
                    for sample in samples {
                        self.hear(sample, effects);
                    }
                }
                self.settle_around(effects);
            }
            Entry::Tick(now) => self.on_tick(*now, effects),
            Entry::Note(Note::Setup(setup)) => self.on_setup(setup, None, effects),
            Entry::Note(Note::Acknowledge(command)) => self.on_acknowledge(command, effects),
            Entry::Note(Note::Reset(reset)) => self.on_reset(reset, effects),
            Entry::Note(Note::Aside(note)) => self.on_aside(note, effects),
            Entry::Note(Note::Condition(condition)) => self.on_condition(condition, effects),
            Entry::Note(Note::Receipt(receipt)) => effects.push(Effect::Receipt(receipt.clone())),
            Entry::Note(Note::PermitOpened(opened)) => self.on_permit(opened, effects),
            Entry::Note(Note::PermitEnded(ended)) => self.on_permit_end(ended, effects),
            Entry::Note(Note::SiteSet(set)) => self.on_site(set, effects),
            Entry::Note(Note::Rules(step)) => self.on_rule_step(step, effects),
            Entry::Note(Note::Limits(limits)) => self.on_limits(limits, effects),
            // People's duty is the business of the response.
            Entry::Note(Note::Duty(_)) => {}
            Entry::Note(Note::Record(record)) => effects.push(Effect::Record(record.clone())),
            // What people owe stands behind the shard.
            Entry::Note(Note::Case(_)) => {}
            // Exercises stand beside it.
            Entry::Note(Note::Exercise(_)) => {}
        }
    }

    /// Reads a little of what the next points keep. A gateway's points do not fit into the processor's cache: what
    /// lies in memory comes for all of them at once, where each would wait for its own; first their own memory, then
    /// what it points to, then their windows, where these take up what has come.
    pub(super) fn fetch(&self, points: impl Iterator<Item = usize> + Clone) {
        let own = |at: usize| Some(self.points.get(at)?.touch() ^ self.plan.points.get(at)?.touch());
        let behind = |at: usize| self.points.get(at).map(PointState::touch_behind);
        let far = |at: usize| self.points.get(at).and_then(|state| state.past.touch_due());
        let of_all = |all: u64, part: u64| all ^ part;
        std::hint::black_box(points.clone().filter_map(own).fold(0, of_all));
        std::hint::black_box(points.clone().filter_map(behind).fold(0, of_all));
        std::hint::black_box(points.filter_map(far).fold(0, of_all));
    }

    /// A condition of the gateway itself begins or ends.
    pub fn on_condition(&mut self, condition: &Condition, effects: &mut Vec<Effect>) {
        let before = effects.len();
        let told = self.with_children(condition);
        self.conditions.apply(told.as_ref().unwrap_or(condition), effects);
        if condition.rule == super::parent::DOWN {
            self.follow_source(&condition.subject, condition.at, effects);
        }
        self.follow(before, effects);
    }

    /// Davy's clock as far as it decides anything: with the grain of ticks, so that what is stored (behind
    /// which tick a sample came) says the same again. Ticks that are under way are brought forward.
    pub(super) fn arrival(&mut self, received: Timestamp, effects: &mut Vec<Effect>) -> Timestamp {
        let tick = received.tick();
        if self.now == Timestamp::MIN || received + DOWN_TIME < self.now {
            return received;
        }
        if tick > self.now {
            self.settle_around(effects);
            self.on_tick(tick, effects);
        }
        // By then it was here.
        self.now + TICK
    }

    /// One sample by itself, behind all ticks up to its arrival.
    pub fn on_sample(&mut self, sample: &Sample, effects: &mut Vec<Effect>) {
        let before = effects.len();
        self.hear(sample, effects);
        self.follow(before, effects);
    }

    fn hear(&mut self, sample: &Sample, effects: &mut Vec<Effect>) {
        let received_at = sample.receive_time;
        let sample = &Sample { receive_time: self.arrival(received_at, effects), ..*sample };
        let at = sample.point.at();
        if self.spoke(sample.point) {
            self.settle_around(effects);
        }
        if self.points.get(at).is_some_and(|state| state.waits && sample.source_time > state.source_time) {
            self.settle(at, sample, effects);
        }
        let Some(state) = self.points.get_mut(at) else {
            self.counts.unknown_points += 1;
            return;
        };
        if sample.quality.has(Reason::Late) {
            self.counts.late += 1;
            *self.unjudged.entry((sample.point, Unjudged::Late)).or_default() += 1;
            return;
        }
        // A clock that was ahead, or that could not be believed, must not make what comes after it late.
        let received = Timestamp::from_micros(state.source_time.micros().saturating_sub(state.skew_micros));
        let believed = state.source_time <= sample.receive_time && !state.quality.has(Reason::ClockWrong);
        let our_clock_set_back = sample.receive_time + SET_BACK < received;
        let repeated = sample.source_time == state.source_time;
        let (needs, resolution) =
            self.plan.points.get(at).map_or_else(Default::default, |plan| (plan.needs, plan.resolution));
        if sample.source_time <= state.source_time && !our_clock_set_back {
            let older = !repeated && (believed || sample.source_time < received);
            if older && !set_back(state, sample, self.table.get(sample.point)) {
                self.on_overtaken(at, sample, effects);
                return;
            }
            if older {
                // The source's clock runs on from an earlier time: what is in its future says nothing.
                state.recent.clear();
            }
            if repeated && sample.value == state.raw && sample.quality == state.quality {
                if needs.any() {
                    state.memory.note(sample, resolution, needs);
                    state.received = sample.receive_time;
                }
                self.counts.duplicates += 1;
                *self.unjudged.entry((sample.point, Unjudged::Duplicate)).or_default() += 1;
                return;
            }
        }
        self.counts.judged += 1;
        state.memory.note(sample, resolution, needs);
        let usable = sample.quality.usable();
        let turned = sample.quality != state.quality;
        if sample.source_time < state.source_time {
            // The clock was set back, and event times with it.
            state.looked = Timestamp::MIN;
        }
        // It may have come at the tick itself: a delay is over by the tick at which it can be.
        let earliest = if self.now == Timestamp::MIN { sample.receive_time } else { sample.receive_time - TICK };
        state.skew_micros = sample.source_time.micros() - earliest.micros();
        state.source_time = sample.source_time;
        let pause = sample.receive_time.since(state.received);
        state.received = sample.receive_time;
        state.behind = None;
        state.raw = sample.value;
        state.permit = if self.permits.is_empty() { None } else { covering(&self.permits, sample) };
        state.quality = sample.quality;
        if state.recent.len() == RECENT {
            state.recent.pop_front();
        }
        state.recent.push_back((sample.source_time, sample.value, sample.quality));
        if !sample.quality.has(Reason::NotPolled) {
            state.heard = sample.receive_time;
        }
        if usable {
            state.value = Some(sample.value);
            state.usable_received = sample.receive_time;
            state.usable_source = sample.source_time;
            state.past.push(sample.source_time, sample.value);
        }
        let moment = Moment {
            at: sample.source_time,
            received: received_at,
            now: sample.receive_time,
            value: usable.then_some(sample.value),
            quality: sample.quality,
        };
        let heard = !sample.quality.has(Reason::NotPolled);
        self.judge_point(at, &moment, Asked::Sample { usable, heard }, effects);
        if turned {
            // Davy's clock again; within the grain of a tick the source may tell one change from the next.
            let newest = sample.receive_time;
            let moment = sample.source_time.max(newest - TICK).min(newest);
            self.judge_health(at, moment, effects);
        } else if self.asks_health(at, pause) {
            self.judge_health(at, sample.receive_time, effects);
            self.wakes.put(at, self.due(at));
        }
        self.wake(at);
        self.stir(sample.point, moment);
    }

    /// Are the rules about the sensor to be asked by its sample, which came so long after the one before? They are if the
    /// next one would come too late: now the point is at hand, and a tick would have to fetch it. Rules that look beyond
    /// it wait for the tick: what comes with the sample is not all there yet.
    fn asks_health(&self, at: usize, pause: Duration) -> bool {
        let plan = &self.plan.points[at];
        let due = || (self.now + pause).since(self.points[at].health_asked) >= HEALTH_EVERY;
        plan.health && !plan.health_looks && pause <= HEALTH_EVERY && self.now != Timestamp::MIN && due()
    }

    /// Delays that ran out before a sample was measured, judged by what was known until then: whether a tick
    /// came in between is chance.
    fn settle(&mut self, at: usize, sample: &Sample, effects: &mut Vec<Effect>) {
        let (Some(state), Some(plan), Some(point)) =
            (self.points.get_mut(at), self.plan.points.get(at), self.table.list().get(at))
        else {
            return;
        };
        if sample.quality.has(Reason::Late) {
            return;
        }
        for (watch, slot) in plan.watches.iter().zip(state.slots.iter_mut()) {
            let compiled = &self.plan.rules[watch.rule];
            let due = slot.state.due(&compiled.policy).filter(|due| *due <= sample.source_time);
            let Some(due) = due.filter(|_| compiled.rule.judges != Judges::Health) else { continue };
            let moment = Moment { value: state.value, quality: state.quality, ..Moment::of(due) };
            let moment = Moment { received: sample.receive_time, now: sample.receive_time, ..moment };
            let raised = || about(&compiled.rule, point, (at, self.staged.as_ref()), watch.plain, "");
            slot.advance(&compiled.policy, Input::Tick, moment, raised, effects);
        }
    }

    /// A sample that younger ones overtook. Within the tolerance it takes its place in the windows and may
    /// raise an alarm, for what it saw is only seconds old; it never clears one, because something younger is
    /// known. Beyond it, it is late.
    fn on_overtaken(&mut self, at: usize, sample: &Sample, effects: &mut Vec<Effect>) {
        let state = &mut self.points[at];
        let forgotten = state.recent.len() == RECENT
            && state.recent.front().is_some_and(|(oldest, ..)| sample.source_time < *oldest);
        if forgotten || state.source_time.since(sample.source_time) > REORDER {
            self.counts.late += 1;
            *self.unjudged.entry((sample.point, Unjudged::Late)).or_default() += 1;
            return;
        }
        if let Some((_, value, quality)) = state.recent.iter().find(|(time, ..)| *time == sample.source_time) {
            let again = (*value, *quality) == (sample.value, sample.quality);
            let why = if again { Unjudged::Duplicate } else { Unjudged::Late };
            *if again { &mut self.counts.duplicates } else { &mut self.counts.late } += 1;
            *self.unjudged.entry((sample.point, why)).or_default() += 1;
            return;
        }
        let place = state.recent.iter().rposition(|(time, ..)| *time < sample.source_time).map_or(0, |place| place + 1);
        state.recent.insert(place, (sample.source_time, sample.value, sample.quality));
        if state.recent.len() > RECENT {
            state.recent.pop_front();
        }
        self.counts.judged += 1;
        self.counts.reordered += 1;
        if !sample.quality.usable() {
            return;
        }
        state.past.insert(sample.source_time, sample.value);
        let moment = Moment {
            at: state.source_time,
            received: sample.receive_time,
            now: sample.receive_time,
            value: Some(sample.value),
            quality: sample.quality,
        };
        self.judge_point(at, &moment, Asked::Overtaken, effects);
        self.wakes.put(at, self.due(at));
    }

    /// Time passed. Ticks that were missed are made up for, unless Davy was not running.
    fn on_tick(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.now == Timestamp::MIN || now < self.now {
            self.tick(now, effects);
        } else if now.since(self.now) > DOWN_TIME {
            // Davy itself did not listen: silence is counted from here on, not from before it stopped.
            self.listening_since = now;
            self.tick(now, effects);
        } else if now > self.now {
            self.pass_ticks(now, effects);
        }
    }

    /// All ticks up to `to`, the last one at `to` itself; those that can change nothing cost nothing.
    pub fn pass(&mut self, to: Timestamp, effects: &mut Vec<Effect>) {
        let before = effects.len();
        self.pass_ticks(to, effects);
        self.follow(before, effects);
    }

    fn pass_ticks(&mut self, to: Timestamp, effects: &mut Vec<Effect>) {
        loop {
            let quiet = self.quiet_until();
            let next = if quiet == quiet.tick() { quiet } else { quiet.tick() + TICK };
            let next = next.max(self.now.tick() + TICK);
            if next >= to {
                return self.tick(to, effects);
            }
            self.tick(next, effects);
        }
    }

    /// No tick before this moment can change anything, as long as nothing else comes.
    #[must_use]
    pub fn quiet_until(&self) -> Timestamp {
        const MINUTE: i64 = 60_000_000;
        let minute = Timestamp::from_micros((self.now.micros().div_euclid(MINUTE) + 1).saturating_mul(MINUTE));
        let ends = self.permits.iter().filter(|(_, overdue)| !overdue).map(|(permit, _)| permit.until);
        ends.chain(self.site_due()).chain(self.wakes.first()).chain(self.asides.due()).fold(minute, Timestamp::min)
    }

    /// From when on a tick can change something at the point.
    fn due(&self, at: usize) -> Timestamp {
        let never = Timestamp::from_micros(i64::MAX);
        let (Some(state), Some(plan)) = (self.points.get(at), self.plan.points.get(at)) else { return never };
        if plan.watches.is_empty() {
            return never;
        }
        let next = self.now + Duration::from_micros(1);
        if state.waits || state.health_waits {
            return next;
        }
        let health = if plan.health { state.health_asked + HEALTH_EVERY } else { never };
        let silence = if plan.silence {
            let since = state.heard.max(self.listening_since);
            let patience = patience(plan.period);
            let unheard = (since + patience + Duration::from_micros(1)).max(next);
            if unheard > since + patience + LONG_SILENCE { full_minute(unheard) } else { unheard }
        } else {
            never
        };
        health.min(silence)
    }

    /// After a verdict from which something may wait.
    pub(super) fn wake(&mut self, at: usize) {
        if self.points[at].waits || self.points[at].health_waits {
            self.wakes.put(at, self.due(at));
        }
    }

    /// Every point is looked at by the next tick.
    #[cfg(test)]
    pub fn rouse(&mut self) {
        (0..self.points.len()).for_each(|at| self.wakes.put(at, Timestamp::MIN));
    }

    /// After anything that may bring the next tick of many points nearer.
    pub(super) fn wake_all(&mut self) {
        self.wakes.clear(self.points.len());
        for at in 0..self.points.len() {
            self.wakes.put(at, self.due(at));
        }
    }

    /// Delays run out, and points that have been silent longer than their period are asked.
    fn tick(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let back = self.now.since(now);
        let set_back = now < self.now;
        if set_back {
            // Our clock was set back: nothing was heard in a future that has not come.
            for state in &mut self.points {
                state.usable_received = state.usable_received.min(now);
                state.heard = state.heard.min(now);
                state.health_asked = state.health_asked.min(now);
                state.looked = Timestamp::MIN;
            }
            self.listening_since = self.listening_since.min(now);
        }
        let minute = |at: Timestamp| at.micros().div_euclid(60_000_000);
        let next_minute = self.now > Timestamp::MIN && minute(now) != minute(self.now);
        let first = self.now == Timestamp::MIN;
        self.now = now;
        if first || set_back {
            self.wake_all();
        }
        self.look_at_permits(now, effects);
        self.look_at_sites(now, effects);
        if back > SET_BACK {
            self.set_asides_back(back, now, effects);
        }
        self.look_at_asides(now, effects);
        self.look_at_limits(now, effects);
        self.look_at_seasons(now, effects);
        if next_minute {
            self.held = self.points.iter().fold(Held::default(), |sum, state| sum.and(state.past.held()));
            self.warn_of_ends(now, effects);
            self.remind_of_sites(now, effects);
            self.look_at_calendar(now, effects);
            let points = (0_u32..).map(PointIndex).zip(self.table.list()).zip(&self.plan.points).zip(&mut self.points);
            find_twins(
                now,
                points.map(|(((index, point), plan), state)| (index, point, plan.needs, &mut state.memory)),
            );
        }
        let awake = self.wakes.take(now);
        for points in awake.chunks(AHEAD) {
            self.fetch(points.iter().copied());
            for at in points {
                self.look_at_clock(*at, now, effects);
            }
        }
    }

    /// A point on a tick.
    fn look_at_clock(&mut self, at: usize, now: Timestamp, effects: &mut Vec<Effect>) {
        let (state, Some(plan)) = (&self.points[at], self.plan.points.get(at)) else { return };
        let patience = patience(plan.period);
        let silent = now.since(state.usable_received.max(self.listening_since)) > patience;
        let unheard_for = now.since(state.heard.max(self.listening_since));
        let unheard = unheard_for > patience
            && (unheard_for <= patience + LONG_SILENCE || state.waits || now == full_minute(now));
        let ask_health = plan.health && (state.health_waits || now.since(state.health_asked) >= HEALTH_EVERY);
        if silent || state.waits {
            let source_now = Timestamp::from_micros(now.micros().saturating_add(state.skew_micros));
            let value = if silent { None } else { state.value };
            let at_source = source_now.max(state.source_time);
            let moment = Moment { at: at_source, value, quality: state.quality, ..Moment::of(now) };
            self.judge_point(at, &moment, Asked::Tick { silent, unheard }, effects);
        }
        if ask_health {
            self.judge_health(at, now, effects);
        }
        self.wakes.put(at, self.due(at));
    }

    /// Rules that do not say true of what the point shows and whose alarms are at rest, by their places as bits; one
    /// that is about to be or open has to be asked, whatever its point shows. `None`: nothing watches the point.
    #[inline]
    fn answered(&self, at: usize, moment: &Moment, asked: Asked) -> Option<u64> {
        let (state, plan) = (self.points.get(at)?, self.plan.points.get(at).filter(|plan| !plan.watches.is_empty())?);
        let value = match asked {
            Asked::Sample { usable: true, .. } => state.value,
            Asked::Around => moment.value,
            Asked::Sample { usable: false, .. } | Asked::Tick { .. } | Asked::Overtaken => return Some(0),
        };
        let (quality, hull, pace) = (state.quality, state.past.hull(), state.past.pace());
        let sensor = || (health(state, moment.now), moment.now.since(state.heard).as_secs_f64());
        let glance = value.map(|value| Glance { value, quality, hull, pace, sensor: &sensor });
        Some(asked.occasion(&plan.occasions).answered(glance.as_ref()) & state.slots.resting())
    }

    /// Asks the rules of a point and moves their alarms.
    pub(super) fn judge_point(&mut self, at: usize, moment: &Moment, asked: Asked, effects: &mut Vec<Effect>) {
        let Some(answered) = self.answered(at, moment, asked) else { return };
        let occasion = asked.occasion(&self.plan.points[at].occasions);
        self.counts.answer(occasion.judged(answered));
        if self.points[at].waits || occasion.asks(answered) {
            self.ask_rules(at, moment, asked, answered, effects);
        } else {
            self.note_looked(at, moment, asked);
        }
    }

    /// Does what the point shows answer all its rules?
    pub(super) fn answers(&mut self, at: usize, moment: &Moment, asked: Asked) -> bool {
        let Some(answered) = self.answered(at, moment, asked) else { return true };
        let occasion = asked.occasion(&self.plan.points[at].occasions);
        let answers = !occasion.asks(answered);
        if answers {
            self.counts.answer(occasion.judged(answered));
            self.note_looked(at, moment, asked);
        }
        answers
    }

    /// What looks beyond a point is asked by many: its event times must not run backwards. Ticks at which nothing
    /// waits may be passed over, and must leave nothing behind.
    fn note_looked(&mut self, at: usize, moment: &Moment, asked: Asked) {
        let state = &mut self.points[at];
        if state.waits || !matches!(asked, Asked::Tick { .. }) {
            state.looked = state.looked.max(moment.at);
        }
    }

    #[inline(never)]
    fn ask_rules(&mut self, at: usize, moment: &Moment, asked: Asked, answered: u64, effects: &mut Vec<Effect>) {
        let looked = self.points[at].looked.max(moment.at);
        self.note_looked(at, moment, asked);
        if self.plan.points.get(at).is_some_and(|plan| plan.looks) {
            self.look_around(at, *moment, Some(asked), answered);
        }
        let (Some(state), Some(plan), Some(point)) =
            (self.points.get_mut(at), self.plan.points.get(at), self.table.list().get(at))
        else {
            return;
        };
        let occasion = asked.occasion(&plan.occasions);
        let shown = Shown::of(state, plan, *moment, (asked, self.listening_since));
        let value = shown.value;
        let mut reading = shown.reading(&plan.watches[0], point);
        let mut waits = false;
        // One stands for all alarms with which nothing is the matter, and none of them is looked at.
        let (mut touched, mut blank) = (false, Slot::default());
        for place in occasion.places(answered) {
            let Some(watch) = plan.watches.get(place) else { continue };
            let rests = state.slots.rests(place);
            touched |= !rests;
            let Some(mut slot) = (if rests { Some(&mut blank) } else { state.slots.rouse(place) }) else { continue };
            let compiled = &self.plan.rules[watch.rule];
            let rule = &compiled.rule;
            let looks = watch.outlooks.is_some();
            let moment = if looks { Moment { at: looked, ..*moment } } else { *moment };
            reading.around = if looks { self.seen.get(place) } else { None };
            // Where other points speak too, a stale or bad value of its own is none.
            reading.value = if looks && rule.judges == Judges::Samples { moment.value } else { value };
            let asked = if looks { asked.around(slot) } else { asked };
            let input = match (asked, rule.judges) {
                (_, Judges::Health) | (Asked::Around, Judges::Silence) => continue,
                (Asked::Around, Judges::Samples) if !looks => continue,
                // All samples of the entry come first.
                (Asked::Sample { .. }, Judges::Samples) if looks => continue,
                (Asked::Sample { usable: false, .. }, Judges::Samples) => {
                    if let Some(alarm) = &mut slot.open {
                        alarm.held = true;
                    }
                    Input::Judged(Verdict::Unknown)
                }
                // Silence is not health: a clear that healthy samples began does not run out without them.
                (Asked::Tick { silent: true, .. }, Judges::Samples) if slot.state.holds() => {
                    if !slot.state.waits() {
                        continue;
                    }
                    Input::Judged(Verdict::Unknown)
                }
                (Asked::Tick { .. }, Judges::Samples) | (Asked::Tick { unheard: false, .. }, Judges::Silence) => {
                    if !slot.state.waits() {
                        continue;
                    }
                    Input::Tick
                }
                (Asked::Overtaken, Judges::Silence) | (Asked::Sample { heard: false, .. }, Judges::Silence) => continue,
                (Asked::Sample { heard: true, .. }, Judges::Silence) if slot.state.quiet() => continue,
                // It is in alarm already; what is overtaken can make it worse, but not end it.
                (Asked::Overtaken, Judges::Samples) if slot.state.holds() => {
                    note_worst(slot, moment, watch.plain);
                    continue;
                }
                (Asked::Sample { usable: true, .. } | Asked::Overtaken | Asked::Around, Judges::Samples)
                | (Asked::Sample { heard: true, .. } | Asked::Tick { unheard: true, .. }, Judges::Silence) => {
                    reading.limits = &watch.limits;
                    reading.recalls = &watch.recalls;
                    let wants_clear = slot.state.holds();
                    let program = match (&compiled.clear, wants_clear) {
                        (Some(clear), true) => clear,
                        (Some(_) | None, _) => &compiled.raise,
                    };
                    let asks_clear = wants_clear && compiled.clear.is_some();
                    let judged = ask(&mut self.judge, slot, program, &reading, &mut state.past, &mut self.counts);
                    let verdict = verdict(&judged, asks_clear, wants_clear, watch.plain, rule.deadband, reading.value);
                    if rests && moves(&judged, verdict) {
                        touched = true;
                        let Some(own) = state.slots.rouse(place) else { continue };
                        *own = std::mem::take(&mut blank);
                        slot = own;
                    }
                    note_fault(&mut self.faults, slot, &judged, rule, moment, &mut self.conditions, effects);
                    if matches!(asked, Asked::Overtaken) && verdict != Verdict::Violated {
                        continue;
                    }
                    Input::Judged(verdict)
                }
            };
            if slot.open.is_none() && matches!(slot.state, State::Normal) && input != Input::Judged(Verdict::Violated) {
                // Nothing was there, and nothing is: what nearly every verdict comes to.
                continue;
            }
            note_worst(slot, moment, watch.plain);
            slot.note_limit(watch.plain.map(|(limit, _)| limit), watch.exempt.as_deref());
            if let (true, Some(alarm)) = (looks, &mut slot.open) {
                alarm.held = input == Input::Judged(Verdict::Unknown);
            }
            let raises = input == Input::Judged(Verdict::Violated) && slot.open.is_none();
            let seen = reading.around.filter(|_| raises).map(|seen| around::told(seen, &self.table));
            let words = watch.exempt.as_deref().into_iter().chain(seen.as_deref()).filter(|words| !words.is_empty());
            let detail = words.collect::<Vec<_>>().join("; ");
            let raised = || about(rule, point, (at, self.staged.as_ref()), watch.plain, &detail);
            slot.advance(&compiled.policy, input, moment, raised, effects);
            waits |= slot.state.waits();
        }
        let at_ticks = |place: usize| state.slots.get(place).is_some_and(|slot| slot.state.waits());
        state.waits = waits || state.waits && plan.occasions.tick.places(0).any(at_ticks);
        if touched {
            state.slots.look();
        }
    }

    /// Asks the rules about the sensor itself. They run on Davy's clock: it is the source that is in doubt.
    fn judge_health(&mut self, at: usize, now: Timestamp, effects: &mut Vec<Effect>) {
        let (Some(state), Some(plan)) = (self.points.get_mut(at), self.plan.points.get(at)) else { return };
        if !plan.health {
            return;
        }
        state.health_asked = now;
        let (occasion, quality) = (&plan.occasions.health, state.quality);
        let (hull, pace) = (state.past.hull(), state.past.pace());
        let (health, age_s) = (health(state, now), now.since(state.heard).as_secs_f64());
        let sensor = || (health, age_s);
        let glance = state.value.map(|value| Glance { value, quality, hull, pace, sensor: &sensor });
        let answered = occasion.answered(glance.as_ref()) & state.slots.resting();
        self.counts.answer(occasion.judged(answered));
        if state.health_waits || occasion.asks(answered) {
            let shown = Shown { value: state.value, health, age_s };
            self.ask_about_sensor(at, now, &shown, answered, effects);
        }
    }

    #[inline(never)]
    fn ask_about_sensor(&mut self, at: usize, now: Timestamp, shown: &Shown, answered: u64, effects: &mut Vec<Effect>) {
        if self.plan.points.get(at).is_some_and(|plan| plan.looks) {
            let (value, quality) = (self.points[at].value, self.points[at].quality);
            self.look_around(at, Moment { value, quality, ..Moment::of(now) }, None, answered);
        }
        let (Some(state), Some(plan), Some(point)) =
            (self.points.get_mut(at), self.plan.points.get(at), self.table.list().get(at))
        else {
            return;
        };
        let health = shown.health;
        let mut reading = shown.reading(&plan.watches[0], point);
        let moment = Moment { value: state.value, quality: state.quality, ..Moment::of(now) };
        let mut waits = false;
        let (mut touched, mut blank) = (false, Slot::default());
        for place in plan.occasions.health.places(answered) {
            let Some(watch) = plan.watches.get(place) else { continue };
            let rests = state.slots.rests(place);
            touched |= !rests;
            let Some(mut slot) = (if rests { Some(&mut blank) } else { state.slots.rouse(place) }) else { continue };
            let compiled = &self.plan.rules[watch.rule];
            let rule = &compiled.rule;
            reading.around = if watch.outlooks.is_some() { self.seen.get(place) } else { None };
            reading.limits = &watch.limits;
            reading.recalls = &watch.recalls;
            let active = slot.state.holds();
            let (program, asks_clear) = match &compiled.clear {
                Some(clear) if active => (clear, true),
                Some(_) | None => (&compiled.raise, false),
            };
            let judged = ask(&mut self.judge, slot, program, &reading, &mut state.past, &mut self.counts);
            // A rule about the sensor that fails says nothing of the mine: no limit stands in for it.
            let said = match &judged {
                Judged::Fault(_) => Verdict::Unknown,
                Judged::Says(_) | Judged::Unknown => verdict(&judged, asks_clear, active, None, 0.0, state.value),
            };
            if rests && moves(&judged, said) {
                touched = true;
                let Some(own) = state.slots.rouse(place) else { continue };
                *own = std::mem::take(&mut blank);
                slot = own;
            }
            note_fault(&mut self.faults, slot, &judged, rule, moment, &mut self.conditions, effects);
            if slot.open.is_none() && matches!(slot.state, State::Normal) && said != Verdict::Violated {
                continue;
            }
            let detail = match (said, active) {
                (Verdict::Violated, false) => told(&health, state.memory.twin(), &self.table),
                (Verdict::Violated | Verdict::Healthy | Verdict::Unknown, _) => String::new(),
            };
            let raised = || about(rule, point, (at, self.staged.as_ref()), watch.plain, &detail);
            slot.advance(&compiled.policy, Input::Judged(said), moment, raised, effects);
            waits |= slot.state.waits();
        }
        state.health_waits = waits;
        if touched {
            state.slots.look();
        }
    }

    fn on_permit(&mut self, opened: &PermitOpened, effects: &mut Vec<Effect>) {
        let PermitOpened { command, permit } = opened;
        let mut looked_up = permit.clone();
        looked_up.points.sort_unstable();
        self.permits.push((looked_up, false));
        effects.push(Effect::Permit { permit: permit.clone(), end: None });
        effects.push(Effect::Record(permit_opened(permit)));
        effects.push(Effect::Answered { command: *command, answer: Answer::PermitOpened(permit.clone()) });
        self.suppress_by_design(permit.from, effects);
    }

    fn on_permit_end(&mut self, ended: &PermitEnded, effects: &mut Vec<Effect>) {
        let Some(place) = self.permits.iter().position(|(permit, _)| permit.id == ended.id) else {
            effects.push(Effect::Answered { command: ended.command, answer: Answer::NoSuchPermit });
            return;
        };
        let (permit, overdue) = self.permits.remove(place);
        if overdue {
            self.conditions.apply(&overdue_condition(&permit, ended.end.at, false), effects);
        }
        if ended.end.calibrated && permit.kind == PermitKind::Calibration {
            for point in &permit.points {
                if let Some(state) = self.points.get_mut(point.at()) {
                    state.calibrated = Some(ended.end.at);
                    state.memory.forget_fall();
                }
            }
        }
        effects.push(Effect::Permit { permit: permit.clone(), end: Some(ended.end.clone()) });
        effects.push(Effect::Record(permit_ended(&permit, &ended.end)));
        effects.push(Effect::Answered { command: ended.command, answer: Answer::PermitEnded(permit.clone()) });
        self.suppress_by_design(ended.end.at, effects);
        if ended.end.calibrated {
            self.look_at_calendar(ended.end.at, effects);
        }
    }

    /// A permit whose time is up marks nothing any more. An exercise is over then; work that nobody has
    /// reported as done is an alarm until somebody does.
    fn look_at_permits(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let mut expired = false;
        for (permit, overdue) in &mut self.permits {
            if now >= permit.until && !*overdue && permit.kind != PermitKind::Exercise {
                (*overdue, expired) = (true, true);
                self.conditions.apply(&overdue_condition(permit, now, true), effects);
            }
        }
        self.permits.retain(|(permit, _)| {
            let over = permit.kind == PermitKind::Exercise && now >= permit.until;
            if over {
                let end = PermitEnd {
                    at: now,
                    by: "davy".into(),
                    comment: "到时自动结束 / its time was up".into(),
                    calibrated: false,
                };
                effects.push(Effect::Record(permit_ended(permit, &end)));
                effects.push(Effect::Permit { permit: permit.clone(), end: Some(end) });
            }
            !over
        });
        if expired {
            self.suppress_by_design(now, effects);
        }
    }

    /// Sensors whose calibration is due, one alarm a site.
    fn look_at_calendar(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let mut due: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (point, state) in self.table.list().iter().zip(&self.points).filter(|(point, _)| !point.retired) {
            let last = state.calibrated.unwrap_or(state.since);
            if point.calibrate_every.is_some_and(|every| now >= last + every) {
                due.entry(point.site.to_string()).or_default().insert(point.id.to_string());
            }
        }
        for (site, points) in &due {
            let known = self.due.get(site);
            if known.is_none_or(|known| !points.is_subset(known)) {
                // One more is news: the alarm that stands comes up again and names it.
                if known.is_some() {
                    self.conditions.apply(&due_condition(site, now, false, points), effects);
                }
                self.conditions.apply(&due_condition(site, now, true, points), effects);
            }
        }
        for site in self.due.keys().filter(|site| !due.contains_key(*site)) {
            self.conditions.apply(&due_condition(site, now, false, &BTreeSet::new()), effects);
        }
        self.due = due;
    }

    /// New points and rules. Windows, states and open alarms are carried over by point and rule id; an open
    /// alarm whose rule or point is gone is closed, and says so. `cause`: why one of the files has another text;
    /// the others were edited on the disk.
    pub(super) fn on_setup(&mut self, setup: &Arc<Setup>, cause: Option<&Cause>, effects: &mut Vec<Effect>) {
        versions(self.setup.as_deref(), setup, cause, effects);
        self.layers.lay(setup, setup.at);
        let plan = Plan::over(self.language, setup, &self.layers);
        let old_plan = std::mem::replace(&mut self.plan, plan);
        let mut old_points = std::mem::take(&mut self.points);
        for (at, wanted) in self.plan.points.iter().enumerate() {
            let mut state =
                old_points.get_mut(at).map_or_else(|| fresh(setup.at), |old| std::mem::replace(old, fresh(setup.at)));
            let mut old_slots: Vec<(RuleId, Slot)> = old_plan.points.get(at).map_or_else(Vec::new, |old| {
                let rules = old.watches.iter().map(|watch| old_plan.rules[watch.rule].rule.id.clone());
                rules.zip(Vec::from(std::mem::take(&mut state.slots))).collect()
            });
            state.slots = wanted
                .watches
                .iter()
                .map(|watch| {
                    let id = &self.plan.rules[watch.rule].rule.id;
                    let old = old_slots.iter().position(|(old, _)| old == id);
                    old.map_or_else(Slot::default, |place| old_slots.swap_remove(place).1)
                })
                .collect::<Vec<_>>()
                .into();
            for (_, slot) in old_slots {
                close(slot, setup.at, RULE_GONE, effects);
            }
            state.past.arrange(&wanted.wants);
            self.points.push(state);
        }
        self.table = Arc::new(PointTable::new(setup.points.clone()));
        self.setup = Some(setup.clone());
        self.look_up_seasons(setup.at);
        self.wake_all();
        self.forget_faults(setup.at, effects);
        self.settle_asides(setup.at, effects);
        effects.push(Effect::Setup(setup.clone(), self.table.clone()));
    }

    /// After a new setup every rule gets a fresh chance; faults are counted anew.
    fn forget_faults(&mut self, at: Timestamp, effects: &mut Vec<Effect>) {
        for (rule, _) in std::mem::take(&mut self.faults) {
            self.conditions.apply(&fault_condition(&rule, at, false, ""), effects);
        }
        for slot in self.points.iter_mut().flat_map(|state| state.slots.iter_mut()) {
            (slot.faulty, slot.failures, slot.rest) = (false, 0, 0);
        }
    }

    /// Rules that judge the state of a sensor, or its silence.
    pub(super) fn rules_about_sensors(&self) -> BTreeSet<crate::alarm::RuleId> {
        let rules = self.plan.rules.iter().map(|compiled| &compiled.rule);
        rules.filter(|rule| rule.judges != Judges::Samples).map(|rule| rule.id.clone()).collect()
    }

    /// Takes up from what facts know.
    pub(crate) fn adopt(&mut self, remembered: super::Remembered) {
        let ordered = Ordered { limits: remembered.limits, exemptions: remembered.exemptions, at: Timestamp::MIN };
        self.layers = Layers::of(&Setup::of(Vec::new()), ordered);
        if let Some(setup) = remembered.setup {
            // Facts know all that follows from it.
            self.on_setup(&Arc::new(setup), None, &mut Vec::new());
        }
        for (point, at) in remembered.calibrations {
            if let Some(state) = self.points.get_mut(point.at()) {
                state.calibrated = Some(at);
            }
        }
        self.sites = remembered.sites.into_iter().map(|standing| (standing.site.clone(), standing)).collect();
        self.permits = remembered.permits.into_iter().map(|permit| (permit, false)).collect();
        let (injected, alarms) = remembered.alarms.into_iter().partition(Alarm::is_injected);
        self.exercises = Exercises::broken_off(injected, remembered.exercises);
        for alarm in alarms {
            let slot = alarm.point.and_then(|point| {
                let watches = &self.plan.points.get(point.at())?.watches;
                let place = watches.iter().position(|watch| self.plan.rules[watch.rule].rule.id == alarm.rule)?;
                self.points.get_mut(point.at())?.slots.get_mut(place)
            });
            match (slot, alarm.point) {
                (Some(slot), _) => *slot = Slot::holding(alarm),
                // Its rule is gone since; the next setup says so to people.
                (None, Some(_)) => {}
                (None, None) => {
                    if &*alarm.rule == "davy-permit-overdue" {
                        let overdue = self.permits.iter_mut().find(|(permit, _)| *permit.id == *alarm.subject);
                        overdue.into_iter().for_each(|(_, told)| *told = true);
                    }
                    if &*alarm.rule == "davy-calibration-due" {
                        self.due.insert(alarm.subject.to_string(), BTreeSet::new());
                    }
                    self.conditions.adopt(alarm);
                }
            }
        }
        self.adopt_asides(remembered.asides);
    }

    /// Rebuilds what a snapshot does not hold: the compiled plan and the table.
    pub(super) fn restore(&mut self, snapshot: super::Snapshot) {
        let setup = snapshot.setup;
        if let Some(setup) = &setup {
            self.layers = Layers::of(setup, snapshot.layers);
            self.plan = Plan::over(self.language, setup, &self.layers);
            self.table = Arc::new(PointTable::new(setup.points.clone()));
        }
        self.setup = setup;
        self.points = snapshot.points;
        self.conditions = snapshot.conditions;
        self.faults = snapshot.faults;
        self.now = snapshot.now;
        self.listening_since = snapshot.listening_since;
        self.permits = snapshot.permits;
        self.due = snapshot.due;
        self.sites = snapshot.sites;
        self.look_up_seasons(snapshot.today);
        self.wake_all();
        self.take_up_asides(snapshot.asides);
        self.exercises = Exercises::resume(snapshot.exercises, self);
    }
}

/// What the rules of a point are shown of it at one moment.
struct Shown {
    value: Option<f64>,
    health: Health,
    age_s: f64,
}

impl Shown {
    /// Whichever of the rules are asked.
    fn of(state: &PointState, plan: &PointPlan, moment: Moment, (asked, listening_since): (Asked, Timestamp)) -> Self {
        let heard = match asked {
            Asked::Tick { unheard: true, .. } => state.heard.max(listening_since),
            Asked::Tick { unheard: false, .. } | Asked::Sample { .. } | Asked::Overtaken | Asked::Around => state.heard,
        };
        let health = if plan.shows_health {
            health(state, moment.now)
        } else {
            Health { quality: state.quality, ..Health::default() }
        };
        let value = match asked {
            Asked::Overtaken => moment.value,
            Asked::Sample { .. } | Asked::Tick { .. } | Asked::Around => state.value,
        };
        Self { value, health, age_s: moment.now.since(heard).as_secs_f64() }
    }

    fn reading<'a>(&self, watch: &'a Watch, point: &'a Point) -> Reading<'a> {
        let (limits, recalls) = (&watch.limits, &watch.recalls);
        Reading { value: self.value, health: self.health, age_s: self.age_s, point, limits, recalls, around: None }
    }
}

/// Why a point is asked.
#[derive(Clone, Copy)]
pub(super) enum Asked {
    /// `heard`: the sensor or its station spoke, even if only of a fault.
    Sample { usable: bool, heard: bool },
    /// `silent`: nothing usable for longer than the period; `unheard`: nothing at all.
    Tick { silent: bool, unheard: bool },
    /// By a sample that younger ones overtook.
    Overtaken,
    /// By what a rule looks at beyond the point.
    Around,
}

impl Asked {
    /// The watches that have something to say to it.
    pub(super) fn occasion(self, occasions: &Occasions) -> &Occasion {
        match self {
            Self::Sample { .. } => &occasions.sample,
            Self::Tick { .. } => &occasions.tick,
            Self::Overtaken => &occasions.overtaken,
            Self::Around => &occasions.around,
        }
    }

    /// As a rule hears it that looks beyond its point: a point that is silent itself may have others that
    /// speak for it, and whether a clear goes on is for them to say.
    fn around(self, slot: &Slot) -> Self {
        match self {
            Self::Tick { silent: true, .. } if slot.state.waits() && slot.state.holds() => Self::Around,
            Self::Sample { .. } | Self::Tick { .. } | Self::Overtaken | Self::Around => self,
        }
    }
}

pub(super) fn fresh(at: Timestamp) -> PointState {
    PointState {
        since: at,
        source_time: Timestamp::MIN,
        received: at,
        raw: 0.0,
        quality: crate::model::Quality::GOOD,
        usable_received: at,
        usable_source: Timestamp::MIN,
        heard: at,
        behind: None,
        recent: VecDeque::new(),
        value: None,
        skew_micros: 0,
        past: Past::default(),
        slots: Slots::default(),
        waits: false,
        memory: Memory::default(),
        health_asked: at,
        health_waits: false,
        permit: None,
        calibrated: None,
        looked: Timestamp::MIN,
    }
}

/// A sensor that speaks so often is silent when it has said nothing for so long.
pub(super) fn patience(period: Duration) -> Duration {
    period + Duration::from_secs(1)
}

/// The first full minute that is not before this moment.
fn full_minute(at: Timestamp) -> Timestamp {
    const MINUTE: i64 = 60_000_000;
    Timestamp::from_micros(at.micros().saturating_add(MINUTE - 1).div_euclid(MINUTE).saturating_mul(MINUTE))
}

/// What rules see of a sensor now.
fn health(state: &PointState, now: Timestamp) -> Health {
    let newest = (state.source_time, state.received);
    Health { permit: state.permit, ..state.memory.view(state.quality, newest, state.usable_source, now) }
}

/// Was the source's clock set back, rather than the sample held up? It was when its time is known to be wrong, or
/// when a second sample far behind the newest follows the first as quickly as time passes.
fn set_back(state: &mut PointState, sample: &Sample, point: Option<&Point>) -> bool {
    if state.source_time.since(sample.source_time) <= REORDER {
        return false;
    }
    let before = state.behind.replace(Box::new((sample.source_time, sample.receive_time)));
    if sample.quality.has(Reason::ClockWrong) {
        return true;
    }
    let Some((source, received)) = before.map(|before| *before) else { return false };
    let there = sample.source_time.micros().saturating_sub(source.micros());
    let here = sample.receive_time.micros().saturating_sub(received.micros());
    let jitter = point.map_or(Duration::ZERO, |point| point.period * 2).max(REORDER);
    let apart = Duration::from_micros(here.abs_diff(there));
    there > 0 && here >= there / 2 && apart <= jitter
}

/// The permit that a sample arrived under; the one that takes it out of judgement counts before the others.
fn covering(permits: &[(Permit, bool)], sample: &Sample) -> Option<PermitKind> {
    let covers =
        |permit: &&Permit| permit.in_force(sample.receive_time) && permit.points.binary_search(&sample.point).is_ok();
    permits.iter().map(|(permit, _)| permit).filter(covers).map(|permit| permit.kind).min()
}

/// What an alarm about a sensor says of it.
fn told(health: &Health, twin: Option<&Twin>, table: &PointTable) -> String {
    let mut words = vec![health.quality.to_string()];
    if health.flat_s >= 600.0 {
        words.push(format!("不变 / unchanged for {:.0} min", health.flat_s / 60.0));
    }
    if health.clock_s.abs() >= 10.0 {
        words.push(format!("时钟差 / clock {:+.0} s", health.clock_s));
    }
    if health.fall_s > 0.0 {
        words.push(format!("突降至 / fell to {:.0} % of its mean", health.fall_to * 100.0));
    }
    if let Some(other) = twin.and_then(|twin| table.get(twin.other)) {
        words.push(format!("同 / same as {}", other.id));
    }
    words.join("; ")
}

fn about<'b>(
    rule: &'b crate::rule::Rule,
    point: &'b Point,
    (at, staged): (usize, Option<&'b Staged>),
    plain: Option<(f64, Stricter)>,
    detail: &'b str,
) -> About<'b> {
    let own = PointIndex(u32::try_from(at).unwrap_or(u32::MAX));
    About {
        rule: &rule.id,
        subject: &point.id,
        point: Some(staged.map_or(own, |staged| staged.number(at))),
        exercise: staged.map(|staged| &staged.exercise),
        site: &point.site,
        place: &point.place,
        title: &rule.title,
        advice: &rule.advice,
        priority: rule.priority,
        level: rule.level,
        limit: plain.map(|(limit, _)| limit),
        unit: &point.unit,
        detail,
    }
}

fn note_worst(slot: &mut Slot, moment: Moment, plain: Option<(f64, Stricter)>) {
    if let (Some(value), true) = (moment.value, slot.open.is_some()) {
        slot.note_value(value, plain.is_none_or(|(_, stricter)| stricter == Stricter::Lower));
    }
}

fn overdue_condition(permit: &Permit, at: Timestamp, holds: bool) -> Condition {
    Condition {
        at,
        rule: "davy-permit-overdue".into(),
        subject: permit.id.clone(),
        holds,
        title: format!("作业超时未结束 / permit not ended in time: {}", permit.id),
        advice: "联系作业人，确认传感器已恢复，然后结束作业票 / call the person, make sure the sensors are back, then end the permit"
            .into(),
        priority: Priority::P2,
        level: Level::Yellow,
        detail: format!("{} {} ({}): {}", permit.kind.word(), permit.scope, permit.by, permit.reason),
    }
}

/// Ids that are named; there may be hundreds.
const NAMED: usize = 20;

fn due_condition(site: &str, at: Timestamp, holds: bool, points: &BTreeSet<String>) -> Condition {
    let more = if points.len() > NAMED { format!(" .. {} 个 / in all", points.len()) } else { String::new() };
    Condition {
        at,
        rule: "davy-calibration-due".into(),
        subject: site.to_owned(),
        holds,
        title: format!("传感器到期未标校 / calibration due: {site}"),
        advice: "安排标校并开具标校作业票 / calibrate, under a calibration permit".into(),
        priority: Priority::P4,
        level: Level::Blue,
        detail: format!("{}{more}", points.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ")),
    }
}

/// Does an alarm that was as it was made have anything to do with this?
fn moves(judged: &Judged, verdict: Verdict) -> bool {
    match judged {
        Judged::Fault(_) => true,
        Judged::Says(_) | Judged::Unknown => verdict == Verdict::Violated,
    }
}

/// Asks a rule, or takes it for failing still while it rests.
fn ask(
    judge: &mut Judge<'_>,
    slot: &mut Slot,
    program: &Program,
    reading: &Reading<'_>,
    past: &mut Past,
    counts: &mut Counts,
) -> Judged {
    if slot.rest > 0 {
        slot.rest -= 1;
        counts.rested += 1;
        return Judged::Fault(String::new());
    }
    counts.evaluations += 1;
    let judged = judge.judge(program, reading, past);
    match &judged {
        Judged::Fault(_) => {
            slot.failures = slot.failures.saturating_add(1);
            let beyond = slot.failures.checked_sub(PATIENCE);
            slot.rest = beyond.map_or(0, |beyond| (1_u32 << (beyond + 1).min(6)) - 1).min(LONGEST_REST);
        }
        // Not written where nothing changes: memory that is only read is cheaper.
        Judged::Says(_) | Judged::Unknown if slot.failures == 0 => {}
        Judged::Says(_) | Judged::Unknown => slot.failures = 0,
    }
    judged
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
        Judged::Says(false) if active && deadband > 0.0 => match plain_says(deadband) {
            Some(violated) => violated,
            // Nobody knows how far from the limit it is.
            None => return Verdict::Unknown,
        },
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

/// Closes an alarm although nothing healthy was seen; `why` goes into its detail.
pub(super) fn close(slot: Slot, at: Timestamp, why: &str, effects: &mut Vec<Effect>) {
    let Some(mut alarm) = slot.open else { return };
    alarm.standing = Standing::Normal;
    alarm.cleared = Some(at);
    alarm.closed = true;
    alarm.detail = why.to_owned();
    effects.push(Effect::Changed(AlarmChange { happening: Happening::Cleared, at, alarm: *alarm }));
}
