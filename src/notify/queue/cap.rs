//! How much one person is to get: so many messages in a time, the rest in one summary at its end.
//!
//! In come the moments at which the person was reached, over every recipient that is theirs; out comes whether a
//! message of a priority has a place, and else when the summary is due. One place of each recipient is for its summary;
//! a quarter of the others is kept for P1 and P2, so that a hundred battery warnings do not use up what a gas alarm
//! needs. What never waits (a raised P1, a call) is counted.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Pace;
use crate::alarm::Priority;
use crate::model::Timestamp;

/// What is left for a person; recipients that are theirs hold the same one.
#[derive(Clone, Debug)]
pub struct Budget {
    pace: Pace,
    /// Recipients that share it.
    shares: usize,
    spent: Arc<Mutex<Spent>>,
}

#[derive(Debug, Default)]
struct Spent {
    /// When the person was reached, in order.
    told: VecDeque<Timestamp>,
    on_their_way: usize,
}

impl Budget {
    #[must_use]
    pub fn of(pace: Pace, shares: usize) -> Self {
        Self { pace, shares, spent: Arc::default() }
    }

    /// As much again, for one recipient alone.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self::of(self.pace, 1)
    }

    #[must_use]
    pub const fn per(&self) -> Duration {
        self.pace.per
    }

    /// What one recipient was told before a restart.
    pub fn recall(&self, told: Vec<Timestamp>) {
        let mut spent = self.spent();
        spent.told.extend(told);
        spent.told.make_contiguous().sort_unstable();
    }

    #[cfg(test)]
    pub fn is_that_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.spent, &other.spent)
    }

    fn spent(&self) -> MutexGuard<'_, Spent> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    const fn places(&self, priority: Priority) -> usize {
        let most = self.pace.most.saturating_sub(self.shares);
        let most = if most == 0 { 1 } else { most };
        match priority {
            Priority::P1 | Priority::P2 => most,
            Priority::P3 | Priority::P4 => most - most / 4,
        }
    }

    fn has_place(&self, priority: Priority, now: Timestamp) -> bool {
        let spent = self.spent();
        let within = spent.told.iter().filter(|told| now.since(**told) < self.pace.per);
        within.count() + spent.on_their_way < self.places(priority)
    }

    /// The end of the time that the oldest message began.
    fn end(&self, now: Timestamp) -> Timestamp {
        let spent = self.spent();
        let mut within = spent.told.iter().filter(|told| now.since(**told) < self.pace.per);
        within.next().map_or(now, |oldest| *oldest) + self.pace.per
    }
}

/// The budget as one recipient sees it.
#[derive(Debug)]
pub struct Cap {
    budget: Budget,
    /// Something is held back, and is told then.
    summary_at: Option<Timestamp>,
}

impl Cap {
    pub const fn new(budget: Budget) -> Self {
        Self { budget, summary_at: None }
    }

    /// `own`: messages of this recipient on their way. `held_back` is asked whether something waits whose priority
    /// has no place.
    pub fn look(&mut self, now: Timestamp, own: usize, held_back: impl Fn(&dyn Fn(Priority) -> bool) -> bool) {
        {
            let mut spent = self.budget.spent();
            while spent.told.front().is_some_and(|told| now.since(*told) >= self.budget.pace.per) {
                spent.told.pop_front();
            }
        }
        if self.summary_at.is_none() && held_back(&|priority| self.budget.has_place(priority, now)) {
            self.summary_at = Some(self.budget.end(now));
        }
        // Nothing is left to sum up.
        if own == 0 && self.is_due(now) && !held_back(&|_| false) {
            self.summary_at = None;
        }
    }

    pub fn is_due(&self, now: Timestamp) -> bool {
        self.summary_at.is_some_and(|at| at <= now)
    }

    /// How long a message waits that the cap holds for.
    pub fn holds_back(&self, priority: Priority, now: Timestamp) -> Duration {
        if self.budget.has_place(priority, now) || self.is_due(now) {
            return Duration::ZERO;
        }
        self.summary_at.unwrap_or_else(|| self.budget.end(now)).since(now)
    }

    pub fn started(&self) {
        self.budget.spent().on_their_way += 1;
    }

    pub fn ended(&self) {
        let mut spent = self.budget.spent();
        spent.on_their_way = spent.on_their_way.saturating_sub(1);
    }

    pub fn told(&mut self, now: Timestamp, summary: bool) {
        self.budget.spent().told.push_back(now);
        if summary {
            self.summary_at = None;
        }
    }
}
