//! The changes of the last day, in memory.
//!
//! In come changes by their numbers; out comes the report of any span within the last day. What is older is
//! folded into the set of open occurrences, so that memory is bounded by [`Log::MOST`] changes and the open
//! alarms. If there are more changes than that in a day, the report says from when on it is complete.

use std::collections::{HashMap, VecDeque};

use super::event::{Event, Opened};
use super::places::Places;
use super::{LEAD, Report, Said, Tally, WINDOW};
use crate::model::Timestamp;

#[derive(Clone, Debug)]
pub struct Log {
    /// Open occurrences before the first of the events.
    before: Opened,
    events: VecDeque<Event>,
    /// Number of the newest change.
    last: i64,
    /// Every change since then is there or in `before`.
    complete_from: Timestamp,
    said: Said,
}

impl Log {
    /// Some 300 bytes each. A day with more alarms than this is beyond every figure.
    pub const MOST: usize = 50_000;

    /// `before` is what was open at `from`; the changes since then follow.
    #[must_use]
    pub fn new(before: Opened, from: Timestamp) -> Self {
        Self { before, events: VecDeque::new(), last: 0, complete_from: from, said: HashMap::new() }
    }

    /// What people have said of causes, as of now.
    pub fn causes_are(&mut self, said: Said) {
        self.said = said;
    }

    /// The number after which changes are wanted.
    #[must_use]
    pub const fn last(&self) -> i64 {
        self.last
    }

    /// Changes up to this number are not wanted: they are in what was open.
    pub const fn start_after(&mut self, number: i64) {
        self.last = number;
    }

    /// A change that is already known is not counted again.
    pub fn take(&mut self, event: Event) {
        if event.id <= self.last {
            return;
        }
        self.last = event.id;
        self.events.push_back(event);
        if self.events.len() > Self::MOST
            && let Some(oldest) = self.events.pop_front()
        {
            self.before.take(&oldest);
            self.complete_from = self.complete_from.max(oldest.at);
        }
    }

    /// Folds what no report asks for any more.
    pub fn forget(&mut self, now: Timestamp) {
        let kept_from = now - WINDOW - LEAD;
        while self.events.front().is_some_and(|event| event.at < kept_from)
            && let Some(oldest) = self.events.pop_front()
        {
            self.before.take(&oldest);
        }
    }

    /// The last day up to `now`; sites and positions are there even if nothing happened at them.
    #[must_use]
    pub fn report(&self, now: Timestamp, places: &Places) -> Report {
        let wanted = now - WINDOW;
        let from = wanted.max(self.complete_from + LEAD).min(now);
        let mut tally = Tally::new(self.before.clone(), from, now, places).with_causes(self.said.clone());
        self.events.iter().for_each(|event| tally.take(event));
        Report { complete: from == wanted, ..tally.finish() }
    }
}
