//! The changes of the last day, in memory.
//!
//! In come changes by their numbers; out comes the report of any span within the last day. What is older is
//! folded into the set of open occurrences, so that memory is bounded by [`Log::MOST`] changes and the open
//! alarms. If there are more changes than that in a day, the report says from when on it is complete.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::event::{Event, Opened};
use super::places::Places;
use super::{LEAD, Report, Said, Tally, WINDOW};
use crate::model::Timestamp;

#[derive(Clone, Debug)]
pub struct Log {
    /// Open occurrences before the first of the events.
    before: Opened,
    events: VecDeque<Event>,
    names: Names,
    /// Number of the newest change.
    last: i64,
    /// Every change since then is there or in `before`.
    complete_from: Timestamp,
    said: Said,
}

impl Log {
    /// Some 170 bytes each. A day with more alarms than this is beyond every figure.
    pub const MOST: usize = 50_000;

    /// `before` is what was open at `from`; the changes since then follow.
    #[must_use]
    pub fn new(before: Opened, from: Timestamp) -> Self {
        let (events, names, said) = (VecDeque::new(), Names::default(), HashMap::new());
        Self { before, events, names, last: 0, complete_from: from, said }
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
    pub fn take(&mut self, mut event: Event) {
        if event.id <= self.last {
            return;
        }
        self.last = event.id;
        self.names.share(&mut event);
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

/// One copy of each word: changes are read one by one, each with its own, and a day's tell of a few alarms over and
/// over.
#[derive(Clone, Debug, Default)]
struct Names {
    words: HashSet<Arc<str>>,
    /// So many were in use when it was last looked.
    in_use: usize,
}

impl Names {
    fn share(&mut self, event: &mut Event) {
        for word in [&mut event.source.rule, &mut event.source.subject, &mut event.site] {
            self.one(word);
        }
        for occurrence in std::iter::once(&mut event.occurrence).chain(&mut event.group) {
            self.one(occurrence.word_mut());
        }
        if self.words.len() > 2 * self.in_use.max(1_000) {
            self.words.retain(|word| Arc::strong_count(word) > 1);
            self.in_use = self.words.len();
        }
    }

    fn one(&mut self, word: &mut Arc<str>) {
        if let Some(known) = self.words.get(word) {
            *word = known.clone();
        } else {
            self.words.insert(word.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alarm::{Happening, OccurrenceId, Priority, Standing};
    use crate::figures::Source;

    #[test]
    fn the_words_of_a_day_are_kept_once() {
        let mut log = Log::new(Opened::default(), Timestamp::MIN);
        let mut next = |number: usize, id: String| {
            log.take(Event {
                id: number as i64 + 1,
                at: Timestamp::from_secs(number as i64),
                happening: Happening::Cleared,
                occurrence: OccurrenceId::named(&id),
                source: Source { rule: "methane-face".into(), subject: "mine.t1".into() },
                site: "mine".into(),
                priority: Priority::P1,
                raised: Timestamp::MIN,
                standing: Standing::Normal,
                exercise: false,
                planned: false,
                group: None,
            });
            (log.events.len(), log.names.words.len())
        };
        assert_eq!((0..100).map(|number| next(number, "one".into())).last(), Some((100, 4)));
        // Each with an id of its own, in several days.
        let last = (100..3 * Log::MOST).map(|number| next(number, format!("id-{number}"))).last();
        assert!(last.is_some_and(|(events, words)| events == Log::MOST && words <= 2 * (Log::MOST + 3)), "{last:?}");
    }
}
