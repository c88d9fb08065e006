//! An exercise (演练): for a while, points are said to read what nobody measured, so that people can practise.
//!
//! What is here is the record of it: who, why, where, until when, and what was injected. The injected values are
//! judged beside the real ones, never instead of them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{PointIndex, SiteId, Timestamp};

/// It ends at `until` by Davy's clock, whether or not anybody remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exercise {
    /// Given by Davy: `exercise-` and a number.
    pub id: String,
    pub site: SiteId,
    /// Points that may be injected; all of the site.
    pub points: Vec<PointIndex>,
    /// What the person asked for, in their words: ids and patterns.
    pub scope: String,
    pub by: String,
    pub reason: String,
    pub from: Timestamp,
    pub until: Timestamp,
}

impl Exercise {
    pub const LONGEST: Duration = Duration::from_secs(8 * 3_600);
    /// Points of one exercise.
    pub const MOST_POINTS: usize = 100;
    /// Exercises that run at once, each at a site of its own.
    pub const MOST_RUNNING: usize = 16;
    /// Values that are injected in one exercise.
    pub const MOST_INJECTIONS: usize = 1_000;
}

/// The point reads this from `from` until `until`, as far as the exercise goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Injection {
    pub point: PointIndex,
    pub value: f64,
    pub by: String,
    pub from: Timestamp,
    pub until: Timestamp,
}

/// How an exercise ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExerciseEnd {
    pub at: Timestamp,
    pub by: String,
    pub comment: String,
}

/// What is ordered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExerciseOrder {
    Start(Exercise),
    Inject(Injection),
    End { id: String, end: ExerciseEnd },
}

/// What is on record: the exercise with all that was injected so far, and its end if it has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExerciseFact {
    pub exercise: Exercise,
    pub injections: Vec<Injection>,
    pub end: Option<ExerciseEnd>,
}
