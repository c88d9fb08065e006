//! What people have to do about alarms, as a fold of the journal right behind the engine's shard.
//!
//! ```text
//!  entry ─► shard ─► effects ─► response ─► more effects: who is called next, what a case has become
//!             ▲                    │
//!             └──── conditions ────┘   nobody answers, a deadline was missed
//! ```
//! In come the journal's entries with what the shard made of them, and the setup in force; out go effects
//! for `facts` and conditions, which are alarms of their own and come back in as such. Like the shard it
//! is a deterministic function of the journal: time comes only from ticks and notes, nothing waits, asks a
//! clock or a network, so every clock that runs here survives a restart and a cut link.

pub mod case;
mod desk;
mod escalation;
pub mod group;
pub mod people;
mod step;
pub mod storm;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::alarm::{Alarm, AlarmChange, AsideFact, AsideOrder};
use crate::engine::Effect;
use crate::facts::AsideRefusal;
use crate::journal::{Condition, Entry, Note, Receipt, Setup};
use crate::model::Timestamp;

use case::{Case, CaseStep, Cases};
use group::{Group, Groups};
use storm::Storms;

pub use desk::{DAILY, Desk, HANDOVER, Kept, QUESTION, Question, UNSIGNED};
pub use escalation::{Escalation, Run};
pub use step::{Step, StepKind};

/// What follows from an entry here.
#[derive(Debug, Default)]
pub struct Out {
    pub effects: Vec<Effect>,
    /// Alarms of Davy's own, to begin or end.
    pub conditions: Vec<Condition>,
    /// Alarms to set aside, or no longer: of a parent's fault, of one that chatters. A refused one (its rule must
    /// not be shelved) changes nothing.
    pub asides: Vec<AsideOrder>,
}

/// The state of everything that people owe. Its parts know nothing of each other.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Response {
    pub cases: Cases,
    pub duty: Desk,
    pub storms: Storms,
    pub groups: Groups,
}

/// What facts know of it, for a start without a snapshot that can be read.
#[derive(Debug, Default)]
pub struct Remembered {
    /// Open, or closed so lately that they may be reopened.
    pub cases: Vec<Case>,
    /// The newest number of a case, whatever became of it.
    pub last_case: u64,
    pub duty: Vec<Kept>,
    /// Of open alarms, where there are several in one.
    pub groups: Vec<Group>,
}

impl Response {
    /// Takes up from what facts know; `open` are the alarms that are not over.
    #[must_use]
    pub fn adopt(remembered: Remembered, open: &[Alarm]) -> Self {
        let mut response = Self { duty: Desk::remembered(remembered.duty, open), ..Self::default() };
        response.cases.adopt(remembered.cases, remembered.last_case);
        response.groups.adopt(open, remembered.groups);
        response
    }

    /// The setup that is in force from here on.
    pub fn set_up(&mut self, setup: &Arc<Setup>) {
        self.cases.set_up(setup);
        self.duty.set_up(setup);
        self.storms.set_up(setup);
    }

    /// The entry itself, before the alarm changes that follow from it.
    pub fn on_entry(&mut self, entry: &Entry, out: &mut Out) {
        match entry {
            Entry::Tick(now) => self.on_tick(*now, out),
            Entry::Note(note) => self.on_note(note, out),
            Entry::Samples(samples) => self.duty.on_samples(samples, out),
        }
    }

    /// A change of an alarm, in the order in which they happen. It gets the marks of its group, and nothing else.
    pub fn on_change(&mut self, change: &mut AlarmChange, out: &mut Out) {
        self.groups.mark(change, out);
        self.cases.on_change(change, out);
        self.duty.on_change(change, self.cases.site_of(&change.alarm).as_deref(), out);
        self.storms.on_change(change, out);
    }

    /// Every open alarm under a setup that is new here.
    pub fn take_stock<'a>(&mut self, open: impl Iterator<Item = &'a Alarm>, out: &mut Out) {
        let Self { cases, duty, .. } = self;
        duty.take_stock(open.map(|alarm| (alarm, cases.site_of(alarm))), out);
    }

    /// What became of an order that came from here.
    pub fn on_order(&mut self, order: &AsideOrder, refused: Option<&AsideRefusal>, out: &mut Out) {
        self.storms.on_order(order, refused, out);
    }

    /// Something sets an alarm aside, or no longer.
    pub fn on_aside(&mut self, fact: &AsideFact, out: &mut Out) {
        self.storms.on_aside(fact, out);
    }

    fn on_note(&mut self, note: &Note, out: &mut Out) {
        if let Note::Duty(order) = note {
            self.duty.on_order(order, out);
        }
        if let Note::Receipt(Receipt { rang: Some(rang), at, .. }) = note {
            self.duty.rang(rang, *at, out);
        }
        if let Note::Case(step) = note {
            let before = out.effects.len();
            self.cases.on_step(step, out);
            let taken = out.effects[before..].iter().any(|effect| matches!(effect, Effect::Case(_)));
            if let (CaseStep::Answered { order, .. }, true) = (&**step, taken) {
                // Somebody spoke with the site: nobody has to be called for it any more.
                for alarm in self.cases.alarms_of(&order.case) {
                    self.duty.answered(&alarm, &order.by, order.at, out);
                }
            }
        }
    }

    fn on_tick(&mut self, now: Timestamp, out: &mut Out) {
        self.cases.on_tick(now, out);
        self.duty.on_tick(now, out);
        self.storms.on_tick(now, out);
    }
}
