//! A permit (作业票): leave to work on sensors, with a name, a reason and an end.

use serde::{Deserialize, Serialize};

use super::{PointIndex, Reason, Timestamp};

/// What is being done, and so what becomes of the data meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PermitKind {
    /// Test gas on the sensor: values are kept and marked, no rule sees them, open alarms are held.
    Calibration,
    /// Work near the sensor: values count, alarms are raised and say so.
    Maintenance,
    /// 演练: values and alarms go all the way and are marked as an exercise.
    Exercise,
}

impl PermitKind {
    pub const ALL: [Self; 3] = [Self::Calibration, Self::Maintenance, Self::Exercise];

    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Calibration => "calibration",
            Self::Maintenance => "maintenance",
            Self::Exercise => "exercise",
        }
    }

    /// The mark that samples under such a permit bear.
    #[must_use]
    pub const fn mark(self) -> Reason {
        match self {
            Self::Calibration => Reason::Calibrating,
            Self::Maintenance => Reason::Maintenance,
            Self::Exercise => Reason::Exercise,
        }
    }
}

/// In force from `from` until `until`, or until somebody ends it. Time limits run on Davy's clock: at `until`
/// the data count again whether or not anybody remembered, and a permit that nobody ended is an alarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permit {
    /// Given by Davy: `permit-` and a number.
    pub id: String,
    pub kind: PermitKind,
    pub points: Vec<PointIndex>,
    /// What the person asked for, in their words: ids and patterns.
    pub scope: String,
    pub by: String,
    pub reason: String,
    pub from: Timestamp,
    pub until: Timestamp,
}

impl Permit {
    /// Does it cover what arrives at `now`?
    #[must_use]
    pub fn in_force(&self, now: Timestamp) -> bool {
        self.from <= now && now < self.until
    }
}

/// How a permit ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PermitEnd {
    pub at: Timestamp,
    pub by: String,
    pub comment: String,
    /// A calibration that was carried out: the points' calendars begin anew.
    pub calibrated: bool,
}
