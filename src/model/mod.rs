//! The words everything else speaks: points, samples, quality, time.
//!
//! Plain data without I/O, clock or lock. Nothing here depends on another module of Davy.

mod calendar;
mod duty;
mod exercise;
mod kind;
mod limit;
mod pattern;
mod permit;
mod point;
mod quality;
mod record;
mod revision;
mod sample;
mod site;
mod time;

pub use calendar::{Calendar, MonthDay, Season, Wall, Zone};
pub use duty::{
    After, Area, AreaKind, Class, Duty, DutyAct, Handover, Hazard, Leave, Policy, PolicyStep, Position, PresenceChecks,
    Roster, Route, Shown, Signature, Someone, Tier, Who,
};
pub use exercise::{Exercise, ExerciseEnd, ExerciseFact, ExerciseOrder, Injection};
pub use kind::Kind;
pub use limit::{Exemption, Layer, LimitEnd, LimitFact, LimitLeave, LimitOrder, Scope, SetLimit};
pub use pattern::fits;
pub use permit::{Permit, PermitEnd, PermitKind};
pub use point::{
    Coordinates, Limit, LimitSet, NEIGHBOUR, Point, PointId, PointIndex, PointTable, REDUNDANT, Range, SiteId, Stricter,
};
pub use quality::{Grade, Quality, Reason};
pub use record::Record;
pub use revision::{Approval, Cause, Checks, Draft, Origin, Trial};
pub use sample::Sample;
pub use site::{SiteStanding, SiteState};
pub use time::{DurationError, TICK, Timestamp, duration_text, parse_duration};
