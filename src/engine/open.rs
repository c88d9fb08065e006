//! An alarm that can be open: its state, and its record while people know of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Effect;
use crate::alarm::{
    Acknowledgement, Alarm, AlarmChange, Change, Happening, Input, Level, OccurrenceId, Policy, Priority, Standing,
    State, step,
};
use crate::model::{PointIndex, Quality, Timestamp};

/// What an alarm says of itself besides its state; borrowed from the rule or condition when it changes.
pub struct About<'a> {
    pub rule: &'a Arc<str>,
    pub subject: &'a Arc<str>,
    pub point: Option<PointIndex>,
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

impl Slot {
    /// An alarm as it stands in facts.
    #[must_use]
    pub fn holding(alarm: Alarm) -> Self {
        let state = match alarm.standing {
            Standing::Normal => State::Normal,
            Standing::Unacknowledged => State::Active { acknowledged: false, falling: None },
            Standing::Acknowledged => State::Active { acknowledged: true, falling: None },
            Standing::ReturnedUnacknowledged => State::Returned,
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
        let due = self.state.due(policy);
        let (state, change) = step(policy, self.state, input, moment.at);
        self.state = state;
        let Some(change) = change else { return };
        let moment = match (change, due) {
            (Change::Raised | Change::Cleared, Some(due)) => Moment { at: due.min(moment.at), ..moment },
            (Change::Raised | Change::Cleared, None) | (Change::RaisedAgain | Change::Acknowledged, _) => moment,
        };
        let happening = match change {
            Change::Raised => {
                self.open = Some(Box::new(raised(&about(), moment)));
                Happening::Raised
            }
            Change::RaisedAgain => {
                if let Some(alarm) = &mut self.open {
                    about().detail.clone_into(&mut alarm.detail);
                }
                Happening::RaisedAgain
            }
            Change::Acknowledged => Happening::Acknowledged,
            Change::Cleared => Happening::Cleared,
        };
        let Some(alarm) = &mut self.open else { return };
        alarm.standing = state.standing();
        match happening {
            Happening::RaisedAgain => {
                alarm.raises += 1;
                alarm.cleared = None;
            }
            Happening::Cleared => alarm.cleared = Some(moment.at),
            Happening::Raised | Happening::Acknowledged => {}
        }
        let alarm = (**alarm).clone();
        if state.standing() == Standing::Normal {
            self.open = None;
        }
        effects.push(Effect::Changed(AlarmChange { happening, at: moment.at, alarm }));
    }

    /// "I saw it": the record gets the name before the state moves.
    pub fn acknowledge(
        &mut self,
        policy: &Policy,
        acknowledgement: Acknowledgement,
        about: impl FnOnce() -> About<'static>,
        effects: &mut Vec<Effect>,
    ) {
        let moment = Moment::of(acknowledgement.at);
        if let Some(alarm) = &mut self.open {
            alarm.acknowledged = Some(acknowledgement);
        }
        self.advance(policy, Input::Acknowledge, moment, about, effects);
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

fn raised(about: &About<'_>, moment: Moment) -> Alarm {
    Alarm {
        id: OccurrenceId::of(about.subject, about.rule, moment.at),
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
        quality: moment.quality,
        raises: 1,
        held: false,
        closed: false,
        detail: about.detail.to_owned(),
    }
}
