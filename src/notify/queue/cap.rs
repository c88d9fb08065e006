//! How much one recipient is to get: so many messages in a time, the rest in one summary at its end.
//!
//! In come the moments at which the recipient was reached; out comes whether a message of a priority has a place,
//! and else when the summary is due. One place is the summary's; a quarter of the others is kept for P1 and P2, so
//! that a hundred battery warnings do not use up what a gas alarm needs. What never waits (a raised P1) is counted.

use std::collections::VecDeque;
use std::time::Duration;

use super::Pace;
use crate::alarm::Priority;
use crate::model::Timestamp;

#[derive(Debug)]
pub struct Cap {
    pace: Pace,
    /// When the recipient was reached, within the time.
    told: VecDeque<Timestamp>,
    /// Something is held back, and is told then.
    summary_at: Option<Timestamp>,
}

impl Cap {
    /// `told`: what was told before a restart, in order.
    pub fn new(pace: Pace, told: Vec<Timestamp>) -> Self {
        Self { pace, told: told.into(), summary_at: None }
    }

    const fn places(&self, priority: Priority) -> usize {
        let most = self.pace.most - 1;
        match priority {
            Priority::P1 | Priority::P2 => most,
            Priority::P3 | Priority::P4 => most - most / 4,
        }
    }

    fn within(&self, now: Timestamp) -> impl Iterator<Item = &Timestamp> {
        self.told.iter().filter(move |told| now.since(**told) < self.pace.per)
    }

    fn has_place(&self, priority: Priority, on_their_way: usize, now: Timestamp) -> bool {
        self.within(now).count() + on_their_way < self.places(priority)
    }

    /// The end of the time that the oldest message began.
    fn end(&self, now: Timestamp) -> Timestamp {
        self.within(now).next().map_or(now, |oldest| *oldest) + self.pace.per
    }

    /// `held_back` is asked whether something waits whose priority has no place.
    pub fn look(&mut self, now: Timestamp, on_their_way: usize, held_back: impl Fn(&dyn Fn(Priority) -> bool) -> bool) {
        while self.told.front().is_some_and(|told| now.since(*told) >= self.pace.per) {
            self.told.pop_front();
        }
        if self.summary_at.is_none() && held_back(&|priority| self.has_place(priority, on_their_way, now)) {
            self.summary_at = Some(self.end(now));
        }
        // Nothing is left to sum up.
        if on_their_way == 0 && self.is_due(now) && !held_back(&|_| false) {
            self.summary_at = None;
        }
    }

    pub fn is_due(&self, now: Timestamp) -> bool {
        self.summary_at.is_some_and(|at| at <= now)
    }

    /// How long a message waits that the cap holds for.
    pub fn holds_back(&self, priority: Priority, on_their_way: usize, now: Timestamp) -> Duration {
        if self.has_place(priority, on_their_way, now) || self.is_due(now) {
            return Duration::ZERO;
        }
        self.summary_at.unwrap_or_else(|| self.end(now)).since(now)
    }

    pub fn told(&mut self, now: Timestamp, summary: bool) {
        self.told.push_back(now);
        if summary {
            self.summary_at = None;
        }
    }
}
