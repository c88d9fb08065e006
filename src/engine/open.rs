//! An alarm that can be open: its state, and its record while people know of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Effect;
use crate::alarm::{
    Acknowledgement, Alarm, AlarmChange, Aside, Change, Exercised, Happening, Input, Level, Live, OccurrenceId, Policy,
    Priority, Standing, State, step,
};
use crate::model::{PointIndex, Quality, Reason, Timestamp};

/// What an alarm says of itself besides its state; borrowed from the rule or condition when it changes.
pub struct About<'a> {
    pub rule: &'a Arc<str>,
    pub subject: &'a Arc<str>,
    pub point: Option<PointIndex>,
    /// The exercise whose injected values are judged, if they are.
    pub exercise: Option<&'a Arc<str>>,
    pub site: &'a Arc<str>,
    pub place: &'a str,
    pub title: &'a str,
    pub advice: &'a str,
    pub priority: Priority,
    pub level: Level,
    pub limit: Option<f64>,
    pub unit: &'a str,
    pub detail: &'a str,
}

/// One moment as the alarm sees it.
#[derive(Clone, Copy)]
pub struct Moment {
    /// Event time.
    pub at: Timestamp,
    /// Davy's clock, for the record.
    pub received: Timestamp,
    /// The same with the grain of ticks, for what decides.
    pub now: Timestamp,
    pub value: Option<f64>,
    /// Of the sample, for marks that the alarm has to bear.
    pub quality: Quality,
}

impl Moment {
    /// By Davy's own clock, without a value.
    #[must_use]
    pub const fn of(at: Timestamp) -> Self {
        Self { at, received: at, now: at, value: None, quality: Quality::GOOD }
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Slot {
    pub state: State,
    pub open: Option<Box<Alarm>>,
    /// The rule failed when it was last asked here.
    pub faulty: bool,
    /// Failures in a row here, and how many times it is passed over now because of them.
    pub failures: u32,
    pub rest: u32,
}

/// The alarms of a point, in the order of its watches. Whoever may change one takes note of it, so that alarms with
/// which nothing is the matter cost nothing but a look at a few bits.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
#[repr(C)]
pub struct Slots {
    /// Those of the first 64 that may not be as they were made.
    #[serde(skip, default = "all")]
    restless: u64,
    list: Vec<Slot>,
}

const fn all() -> u64 {
    u64::MAX
}

impl Slots {
    /// As bits, those of the first 64 with which nothing is the matter.
    #[must_use]
    pub const fn resting(&self) -> u64 {
        !self.restless
    }

    /// Is nothing the matter with that one?
    #[must_use]
    pub const fn rests(&self, place: usize) -> bool {
        place < 64 && self.restless >> place & 1 == 0
    }

    #[must_use]
    pub const fn all_rest(&self) -> bool {
        self.restless == 0 && self.list.len() <= 64
    }

    /// One of them, of which something may be the matter from now on.
    pub fn rouse(&mut self, place: usize) -> Option<&mut Slot> {
        if place < 64 {
            self.restless |= 1 << place;
        }
        self.list.get_mut(place)
    }

    /// After they may have changed.
    pub fn look(&mut self) {
        let restless = self.list.iter().take(64).enumerate().filter(|(_, slot)| !slot.rests());
        self.restless = restless.fold(0, |bits, (place, _)| bits | 1 << place);
    }
}

impl From<Vec<Slot>> for Slots {
    fn from(list: Vec<Slot>) -> Self {
        Self { list, restless: all() }
    }
}

impl From<Slots> for Vec<Slot> {
    fn from(slots: Slots) -> Self {
        slots.list
    }
}

impl std::ops::Deref for Slots {
    type Target = [Slot];

    fn deref(&self) -> &[Slot] {
        &self.list
    }
}

impl std::ops::DerefMut for Slots {
    fn deref_mut(&mut self) -> &mut [Slot] {
        self.restless = all();
        &mut self.list
    }
}

impl Slot {
    /// As it was made: nothing there, and nothing remembered.
    fn rests(&self) -> bool {
        let Self { state, open, faulty, failures, rest } = self;
        matches!(state, State::Normal) && open.is_none() && !faulty && *failures == 0 && *rest == 0
    }

    /// An alarm as it stands in facts.
    #[must_use]
    pub fn holding(alarm: Alarm) -> Self {
        let called = alarm.acknowledged.as_ref().map_or(alarm.raised, |by| by.at);
        let state = match alarm.standing {
            Standing::Normal => State::Normal,
            Standing::Unacknowledged => State::Active { acknowledged: false, falling: None, called },
            Standing::Acknowledged => State::Active { acknowledged: true, falling: None, called },
            Standing::ReturnedUnacknowledged => State::Returned,
            Standing::LatchedUnacknowledged => State::Latched { acknowledged: false },
            Standing::LatchedAcknowledged => State::Latched { acknowledged: true },
            Standing::Shelved | Standing::Suppressed | Standing::OutOfService => {
                let live = if alarm.cleared.is_some() { Live::Healthy } else { Live::Violated { falling: None } };
                alarm.standing.aside().map_or(State::Normal, |way| State::Aside { way, live })
            }
        };
        Self { state, open: Some(Box::new(alarm)), ..Self::default() }
    }

    /// Moves the alarm and tells what changed. What a wait leads to happens when the wait is over, however
    /// late that was noticed.
    pub fn advance<'b>(
        &mut self,
        policy: &Policy,
        input: Input,
        moment: Moment,
        about: impl FnOnce() -> About<'b>,
        effects: &mut Vec<Effect>,
    ) {
        let (due, before) = (self.state.due(policy), self.state);
        let (state, change) = step(policy, self.state, input, moment.at);
        self.state = state;
        let Some(change) = change else { return };
        if let State::Active { called, .. } = &mut self.state {
            // People are called by Davy's clock, whatever the source's says.
            *called = moment.now;
        }
        let moment = match (change, due) {
            (Change::Raised | Change::Cleared, Some(due)) => Moment { at: due.min(moment.at), ..moment },
            (Change::Raised | Change::Cleared, None)
            | (
                Change::RaisedAgain
                | Change::Acknowledged
                | Change::Reset
                | Change::Realarmed
                | Change::Worsened
                | Change::SetAside
                | Change::Resumed,
                _,
            ) => moment,
        };
        let happening = match (change, &mut self.open) {
            (Change::Raised, None) => {
                self.open = Some(Box::new(raised(&about(), moment)));
                Happening::Raised
            }
            // Raised while it is set aside, with a record from before.
            (Change::Raised | Change::RaisedAgain, Some(alarm)) => {
                about().detail.clone_into(&mut alarm.detail);
                Happening::RaisedAgain
            }
            (Change::RaisedAgain, None) => Happening::RaisedAgain,
            (Change::Acknowledged, _) => Happening::Acknowledged,
            (Change::Cleared, _) => Happening::Cleared,
            (Change::Reset, _) => Happening::Reset,
            (Change::Realarmed, _) => Happening::Realarmed,
            (Change::Worsened, _) => Happening::Worsened,
            (Change::SetAside, _) => Happening::SetAside,
            (Change::Resumed, _) => Happening::Resumed,
        };
        let Some(alarm) = &mut self.open else { return };
        alarm.note(happening, before.standing(), state.standing(), moment.at);
        let alarm = (**alarm).clone();
        if state.standing() == Standing::Normal {
            self.open = None;
        }
        effects.push(Effect::Changed(AlarmChange { happening, at: moment.at, alarm }));
    }

    /// One more reason to set it aside, or another one that people are to see; the record gets it before the
    /// state moves.
    pub fn set_aside(&mut self, policy: &Policy, aside: &Aside, at: Timestamp, effects: &mut Vec<Effect>) {
        if let Some(alarm) = &mut self.open {
            alarm.aside = Some(aside.clone());
        }
        self.advance(policy, Input::SetAside(aside.way), Moment::of(at), unraised, effects);
    }

    /// What a clock of Davy's own says.
    pub fn tell(&mut self, policy: &Policy, input: Input, moment: Moment, effects: &mut Vec<Effect>) {
        self.advance(policy, input, moment, unraised, effects);
    }

    /// Nothing sets it aside any longer.
    pub fn resume(&mut self, policy: &Policy, at: Timestamp, effects: &mut Vec<Effect>) {
        self.advance(policy, Input::Resume, Moment::of(at), unraised, effects);
    }

    /// Somebody lets go of a latched one.
    pub fn reset(&mut self, policy: &Policy, at: Timestamp, effects: &mut Vec<Effect>) {
        self.advance(policy, Input::Reset, Moment::of(at), unraised, effects);
    }

    /// It has this priority and level from here on; people are called if either is worse than what they know.
    pub fn grade(
        &mut self,
        policy: &Policy,
        (priority, level): (Priority, Level),
        at: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let Some(alarm) = &mut self.open else { return };
        if priority >= alarm.priority && level >= alarm.level {
            return;
        }
        alarm.priority = alarm.priority.min(priority);
        alarm.level = alarm.level.min(level);
        self.advance(policy, Input::Worse, Moment::of(at), unraised, effects);
    }

    /// "I saw it": the record gets the name before the state moves.
    pub fn acknowledge(&mut self, policy: &Policy, acknowledgement: Acknowledgement, effects: &mut Vec<Effect>) {
        let moment = Moment::of(acknowledgement.at);
        if let Some(alarm) = &mut self.open {
            alarm.acknowledged = Some(acknowledgement);
        }
        self.advance(policy, Input::Acknowledge, moment, unraised, effects);
    }

    /// Keeps the worst value seen while the alarm is open; `higher` says in which direction danger lies.
    pub fn note_value(&mut self, value: f64, higher_is_worse: bool) {
        if let Some(alarm) = &mut self.open {
            alarm.held = false;
            let worse = alarm.worst.is_none_or(|worst| if higher_is_worse { value > worst } else { value < worst });
            if worse {
                alarm.worst = Some(value);
            }
        }
    }
}

/// For inputs that raise nothing.
fn unraised() -> About<'static> {
    unreachable!("only a verdict or the end of a wait raises an alarm")
}

impl Alarm {
    /// The record after a change.
    fn note(&mut self, happening: Happening, before: Standing, standing: Standing, at: Timestamp) {
        self.standing = standing;
        let calls_again = match happening {
            Happening::RaisedAgain | Happening::Worsened => true,
            // A reminder of what nobody has acknowledged says nothing new.
            Happening::Realarmed => before == Standing::Acknowledged,
            Happening::Resumed => standing == Standing::Unacknowledged,
            Happening::Cleared => {
                self.cleared = Some(at);
                false
            }
            Happening::Raised | Happening::Acknowledged | Happening::Reset | Happening::SetAside => false,
        };
        if calls_again {
            self.raises += 1;
            self.cleared = None;
            self.acknowledged = None;
        }
        if happening == Happening::Resumed && standing == Standing::Normal {
            self.cleared = Some(self.cleared.unwrap_or(at));
        }
    }
}

fn raised(about: &About<'_>, moment: Moment) -> Alarm {
    let (id, quality, exercise) = match about.exercise {
        None => (OccurrenceId::of(about.subject, about.rule, moment.at), moment.quality, Exercised::No),
        Some(exercise) => (
            OccurrenceId::of_exercise(exercise, about.subject, about.rule, moment.at),
            moment.quality.and(Reason::Exercise),
            Exercised::Injected(exercise.clone()),
        ),
    };
    Alarm {
        id,
        rule: about.rule.clone(),
        subject: about.subject.clone(),
        point: about.point,
        site: about.site.clone(),
        place: about.place.to_owned(),
        title: about.title.to_owned(),
        advice: about.advice.to_owned(),
        priority: about.priority,
        level: about.level,
        standing: Standing::Unacknowledged,
        raised: moment.at,
        received: moment.received,
        cleared: None,
        acknowledged: None,
        value: moment.value,
        worst: moment.value,
        limit: about.limit,
        unit: about.unit.to_owned(),
        quality,
        raises: 1,
        held: false,
        closed: false,
        aside: None,
        together: None,
        exercise,
        detail: about.detail.to_owned(),
    }
}
