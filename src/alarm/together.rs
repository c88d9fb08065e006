//! Alarms that came up together, and the one of them that came first: it is what tells of the cause.
//!
//! Each alarm of a group names the group and its first-out. The group's id is that of the alarm that began it, and
//! stays; the first-out is the earliest by event time. It is a mark and a name: nothing is hidden, held back or made
//! less urgent by it. Who belongs to a group is decided in [`crate::response::group`].

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Alarm, OccurrenceId, RuleId};
use crate::model::{Hazard, Kind, Timestamp};

/// What alarms have to be about to have one cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    Gas,
    Fire,
    Water,
    Ground,
    Pressure,
    Equipment,
    /// The sensors' own state: a broken line is no cause of gas.
    Sensor,
    /// Whatever it is, at one site.
    Site,
}

impl Field {
    /// Of a point's kind. Air and power belong to the gas that they drive away: one fan that stops is one cause.
    #[must_use]
    pub fn of(kind: Kind) -> Self {
        let air = [
            Kind::Fan,
            Kind::FanPressure,
            Kind::Duct,
            Kind::Wind,
            Kind::WindDirection,
            Kind::Door,
            Kind::Feed,
            Kind::Mains,
            Kind::DrainagePressure,
        ];
        if air.contains(&kind) {
            return Self::Gas;
        }
        match Hazard::of(kind) {
            Hazard::Gas => Self::Gas,
            Hazard::Fire => Self::Fire,
            Hazard::Water => Self::Water,
            Hazard::Ground => Self::Ground,
            Hazard::Pressure => Self::Pressure,
            Hazard::Equipment | Hazard::Gateway => Self::Equipment,
        }
    }

    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Gas => "gas",
            Self::Fire => "fire",
            Self::Water => "water",
            Self::Ground => "ground",
            Self::Pressure => "pressure",
            Self::Equipment => "equipment",
            Self::Sensor => "sensor",
            Self::Site => "site",
        }
    }
}

/// The alarm of a group that came first, in the words that are needed to tell of it beside another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct First {
    pub id: OccurrenceId,
    pub rule: RuleId,
    pub subject: Arc<str>,
    pub place: String,
    pub title: String,
    /// Event time.
    pub raised: Timestamp,
}

impl First {
    /// `raised`: the time that its group goes by.
    #[must_use]
    pub fn of(alarm: &Alarm, raised: Timestamp) -> Self {
        Self {
            id: alarm.id.clone(),
            rule: alarm.rule.clone(),
            subject: alarm.subject.clone(),
            place: alarm.place.clone(),
            title: alarm.title.clone(),
            raised,
        }
    }
}

/// What an alarm knows of those that came up with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Together {
    /// The alarm that began the group.
    pub group: OccurrenceId,
    pub field: Field,
    pub first: Arc<First>,
    /// So many alarms of the group had come up by then, this one included.
    pub alarms: u32,
}

impl Alarm {
    /// It came first of those that came up with it, perhaps as the only one so far.
    #[must_use]
    pub fn first_out(&self) -> bool {
        self.together.as_ref().is_some_and(|together| together.first.id == self.id)
    }

    /// The first-out, where that is another alarm.
    #[must_use]
    pub fn after(&self) -> Option<&First> {
        self.together.as_ref().map(|together| &*together.first).filter(|first| first.id != self.id)
    }
}
