//! Counting by causes: alarms that came up together are one, and so is what goes on within ten minutes at one place.
//!
//! In come raises with their group and whether each goes on with what the same source had before; out comes how many
//! causes began in the span. Two groups that share a source that went on are one cause. What a person said of a case
//! stands in place of the group. Alarms without a group are a cause each.

use std::collections::HashMap;

use super::event::Event;
use crate::alarm::OccurrenceId;
use crate::model::Timestamp;

/// What people have said of the causes of alarms: the alarm, and the cause that stands in place of its group.
pub type Said = HashMap<OccurrenceId, OccurrenceId>;

#[derive(Clone, Debug, Default)]
pub struct Causes {
    /// Each cause with the one that it is part of, and when it was first seen to begin.
    seen: HashMap<OccurrenceId, Cause>,
}

#[derive(Clone, Debug)]
struct Cause {
    part_of: Option<OccurrenceId>,
    began: Timestamp,
    planned: bool,
}

/// The cause that an event belongs to.
pub fn cause_of(event: &Event, said: &Said) -> OccurrenceId {
    let told = said.get(&event.occurrence).or(event.group.as_ref());
    told.unwrap_or(&event.occurrence).clone()
}

impl Causes {
    /// A raise; `goes_on`: the cause of the same source's last one, within the gap.
    pub fn take(&mut self, cause: &OccurrenceId, at: Timestamp, planned: bool, goes_on: Option<&OccurrenceId>) {
        let known = self.seen.entry(cause.clone()).or_insert(Cause { part_of: None, began: at, planned });
        known.began = known.began.min(at);
        known.planned &= planned;
        if let Some(before) = goes_on {
            let (one, other) = (self.root(before), self.root(cause));
            if one != other && self.seen.contains_key(&one) {
                let part = self.seen.get_mut(&other).map(|part| {
                    part.part_of = Some(one.clone());
                    (part.began, part.planned)
                });
                if let (Some((began, planned)), Some(whole)) = (part, self.seen.get_mut(&one)) {
                    whole.began = whole.began.min(began);
                    whole.planned &= planned;
                }
            }
        }
    }

    fn root(&self, cause: &OccurrenceId) -> OccurrenceId {
        let mut at = cause;
        while let Some(next) = self.seen.get(at).and_then(|known| known.part_of.as_ref()) {
            at = next;
        }
        at.clone()
    }

    /// What another one has seen; no cause is seen by both, or it is the same.
    pub fn add(&mut self, other: &Self) {
        for (cause, known) in &other.seen {
            self.seen.entry(cause.clone()).or_insert_with(|| known.clone());
        }
    }

    /// How many began then or later: unplanned and planned.
    #[must_use]
    pub fn begun(&self, from: Timestamp) -> (usize, usize) {
        let mut began: HashMap<OccurrenceId, (Timestamp, bool)> = HashMap::new();
        for (cause, known) in &self.seen {
            let whole = began.entry(self.root(cause)).or_insert((known.began, known.planned));
            *whole = (whole.0.min(known.began), whole.1 && known.planned);
        }
        let begun = began.into_values().filter(|(at, _)| *at >= from);
        let (planned, others): (Vec<_>, Vec<_>) = begun.partition(|(_, planned)| *planned);
        (others.len(), planned.len())
    }
}
