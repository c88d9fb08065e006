//! An alarm change as the figures need it, and which occurrences are open after it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::alarm::{Happening, OccurrenceId, Priority, RuleId, Standing};
use crate::board::Published;
use crate::model::{Reason, Timestamp};

/// What raises alarms: a rule at a point, or a condition of the gateway.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    pub rule: RuleId,
    pub subject: Arc<str>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Number of the change.
    pub id: i64,
    /// Never before the alarm was raised: the clock of whoever acknowledges may be behind that of the source.
    pub at: Timestamp,
    pub happening: Happening,
    pub occurrence: OccurrenceId,
    pub source: Source,
    pub site: Arc<str>,
    pub priority: Priority,
    /// When the occurrence began.
    pub raised: Timestamp,
    /// After the change.
    pub standing: Standing,
    pub exercise: bool,
    /// Under a permit: applied for in advance.
    pub planned: bool,
    /// The alarms that it came up with.
    pub group: Option<OccurrenceId>,
}

impl Event {
    #[must_use]
    pub fn of(published: &Published) -> Self {
        let (change, alarm) = (&published.change, &published.change.alarm);
        Self {
            id: published.id,
            at: change.at.max(alarm.raised),
            happening: change.happening,
            occurrence: alarm.id.clone(),
            source: Source { rule: alarm.rule.clone(), subject: alarm.subject.clone() },
            site: alarm.site.clone(),
            priority: alarm.priority,
            raised: alarm.raised,
            standing: alarm.standing,
            exercise: alarm.quality.has(Reason::Exercise),
            planned: alarm.quality.has(Reason::Maintenance),
            group: alarm.together.as_ref().map(|together| together.group.clone()),
        }
    }

    /// People were called, for something that began or came back: not while it was set aside.
    #[must_use]
    pub const fn is_raise(&self) -> bool {
        match self.happening {
            Happening::Raised | Happening::RaisedAgain => self.standing.aside().is_none(),
            Happening::Resumed => self.standing.active(),
            Happening::Acknowledged
            | Happening::Cleared
            | Happening::Reset
            | Happening::Realarmed
            | Happening::Worsened
            | Happening::SetAside => false,
        }
    }
}

/// An occurrence that is not over and acknowledged.
#[derive(Clone, Debug, PartialEq)]
pub struct Running {
    pub source: Source,
    pub site: Arc<str>,
    pub standing: Standing,
    /// When it was last raised.
    pub since: Timestamp,
    pub exercise: bool,
}

/// Open occurrences: as many as there are open alarms.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Opened(HashMap<OccurrenceId, Running>);

impl Opened {
    /// Moves on by one change. Tells when the occurrence had last been raised, if that is known.
    pub fn take(&mut self, event: &Event) -> Option<Timestamp> {
        let before = self.0.get(&event.occurrence).map(|running| running.since);
        if event.standing == Standing::Normal {
            self.0.remove(&event.occurrence);
            return before;
        }
        let since = if event.is_raise() { event.at } else { before.unwrap_or(event.raised) };
        let running = Running {
            source: event.source.clone(),
            site: event.site.clone(),
            standing: event.standing,
            since,
            exercise: event.exercise,
        };
        self.0.insert(event.occurrence.clone(), running);
        before
    }

    pub fn into_running(self) -> impl Iterator<Item = Running> {
        self.0.into_values()
    }
}
