//! Which alarms need a case and how long people have, as the configuration gives it; part of the setup.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alarm::Priority;
use crate::model::{Area, Class, Duty, Kind, fits};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// `[case]`. Times for P1 to P4 in this order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Alarms of this priority and more urgent ones get a case.
    pub from_priority: Priority,
    /// Conditions of the gateway itself too.
    pub of_gateway: bool,
    /// Spoken with the site by then; none: nobody has to.
    pub answer: [Option<Duration>; 4],
    /// While it is handled, the level above hears this often how things stand.
    pub update: [Option<Duration>; 4],
    pub close: [Duration; 4],
    /// Areas of class C and D, where everything is due in half the time; worked out from the setup.
    #[serde(skip)]
    pub hurried: Vec<Area>,
    /// The same point and rule again so long after closing reopens the case.
    pub reopen_within: Duration,
    pub supervise: Supervise,
    pub restart: Option<Restart>,
    pub join: Vec<Join>,
    /// Bytes of one file, and of all of a case.
    pub file_bytes: u64,
    pub files_bytes: u64,
    pub files: usize,
}

/// When a case comes under 督办 by itself, and on whose signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supervise {
    /// Cases of this priority and more urgent ones; none: never by itself.
    pub from_priority: Option<Priority>,
    /// Episodes within `within`, or so long over the limit within it in all.
    pub episodes: u32,
    pub over: Duration,
    pub within: Duration,
    /// From then on.
    pub deadline: Duration,
    /// Role of `[user]` that may set it and alone may sign it off.
    pub role: String,
}

/// From which value on a restart needs the regulator's word.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Restart {
    pub kind: Kind,
    /// In the unit of the kind.
    pub from: f64,
    pub role: String,
}

/// Alarms of one site that have one cause: a power stop that trips several points.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    pub name: String,
    /// Patterns of rules.
    pub rules: Vec<String>,
    /// After the first alarm of the case.
    pub within: Duration,
}

impl Default for Policy {
    /// Times of the county's defaults for escalation; the rest as the rules of mines have it.
    fn default() -> Self {
        Self {
            from_priority: Priority::P3,
            of_gateway: false,
            answer: [Some(10 * MINUTE), Some(30 * MINUTE), None, None],
            update: [Some(30 * MINUTE), Some(30 * MINUTE), None, None],
            close: [24 * HOUR, 48 * HOUR, 72 * HOUR, 7 * 24 * HOUR],
            hurried: Vec::new(),
            reopen_within: 24 * HOUR,
            supervise: Supervise {
                from_priority: Some(Priority::P2),
                episodes: 3,
                over: 10 * MINUTE,
                within: 24 * HOUR,
                deadline: 72 * HOUR,
                role: "safety-approver".into(),
            },
            restart: Some(Restart { kind: Kind::Methane, from: 3.0, role: "safety-approver".into() }),
            join: Vec::new(),
            file_bytes: 8 << 20,
            files_bytes: 64 << 20,
            files: 20,
        }
    }
}

impl Policy {
    /// The same, and the areas of that duty whose class halves the times.
    #[must_use]
    pub fn within(&self, duty: &Duty) -> Self {
        let hurried = duty.areas.values().filter(|area| area.class.is_some_and(Class::hurries)).cloned().collect();
        Self { hurried, ..self.clone() }
    }

    fn at(&self, time: Duration, (site, subject): (&str, &str)) -> Duration {
        if self.hurried.iter().any(|area| area.holds(site, subject)) { time / 2 } else { time }
    }

    pub(super) fn answer_within(&self, priority: Priority, place: (&str, &str)) -> Option<Duration> {
        self.answer[priority as usize].map(|time| self.at(time, place))
    }

    pub(super) fn update_every(&self, priority: Priority, place: (&str, &str)) -> Option<Duration> {
        self.update[priority as usize].map(|time| self.at(time, place))
    }

    pub(super) fn close_within(&self, priority: Priority, place: (&str, &str)) -> Duration {
        self.at(self.close[priority as usize], place)
    }

    /// The rule of joining that an alarm of that rule falls under.
    pub(super) fn joins(&self, rule: &str) -> Option<&Join> {
        self.join.iter().find(|join| join.rules.iter().any(|pattern| fits(pattern, rule)))
    }
}
