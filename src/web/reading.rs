//! How a value is told to people and programs: never a number alone.
//!
//! In come a point, its newest sample and the time; out comes what may be said of it. A value that is bad is
//! no value (`null`, with the number as it was stored in `raw`); a stale one keeps its own time and says so.

use serde::Serialize;

use crate::board::{Freshness, freshness};
use crate::model::{Grade, Point, Quality, Reason, Sample, Timestamp};

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Shown {
    /// `null` when there is none or it is bad.
    pub value: Option<f64>,
    /// The stored number of a bad value, for whoever repairs the sensor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<f64>,
    /// With the sensor's decimals; a dash when there is no value.
    pub text: String,
    pub time: Option<String>,
    pub received: Option<String>,
    /// `good`, `uncertain:over_range`, `bad:line_break+calibrating`.
    pub quality: Option<String>,
    pub grade: Option<&'static str>,
    pub reasons: Vec<&'static str>,
    pub freshness: Freshness,
}

impl Shown {
    pub(super) fn of(point: &Point, sample: Option<&Sample>, now: Timestamp) -> Self {
        let freshness = freshness(point, sample, now);
        let Some(sample) = sample else {
            return Self {
                value: None,
                raw: None,
                text: "—".into(),
                time: None,
                received: None,
                quality: None,
                grade: None,
                reasons: Vec::new(),
                freshness,
            };
        };
        let (value, raw) = told(sample.value, sample.quality);
        Self {
            value,
            raw,
            text: value.map_or("—".into(), |value| decimal(value, point.resolution)),
            time: Some(sample.source_time.to_string()),
            received: Some(sample.receive_time.to_string()),
            quality: Some(sample.quality.to_string()),
            grade: Some(grade(sample.quality)),
            reasons: sample.quality.reasons().map(crate::model::Reason::word).collect(),
            freshness,
        }
    }
}

/// A value that may be used, or else the number that may not.
pub(super) fn told(value: f64, quality: Quality) -> (Option<f64>, Option<f64>) {
    // Nobody measured what stands in for a poll in vain, a broken line or a number that is none.
    let measured = ![Reason::NotPolled, Reason::LineBreak, Reason::NonFinite].iter().any(|reason| quality.has(*reason));
    match (quality.usable(), measured) {
        (true, _) => (Some(value), None),
        (false, true) => (None, Some(value)),
        (false, false) => (None, None),
    }
}

pub(super) fn grade(quality: Quality) -> &'static str {
    match quality.grade() {
        Grade::Good => "good",
        Grade::Uncertain => "uncertain",
        Grade::Bad => "bad",
    }
}

/// As many decimals as the sensor's smallest step has.
pub(super) fn decimal(value: f64, resolution: f64) -> String {
    let places = (0..=6).find(|places| {
        let steps = resolution * 10_f64.powi(*places);
        steps >= 0.999 && (steps - steps.round()).abs() < 1e-6
    });
    match places {
        Some(places) => format!("{value:.0$}", usize::try_from(places).unwrap_or(0)),
        None => format!("{value}"),
    }
}

/// Units as people write them.
pub(super) fn unit(unit: &str) -> &str {
    match unit {
        "degC" => "°C",
        "m3/h" => "m³/h",
        "mg/m3" => "mg/m³",
        same => same,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_decimals_of_their_sensor() {
        for (value, resolution, text) in
            [(1.0, 0.01, "1.00"), (1.0, 0.5, "1.0"), (24.0, 1.0, "24"), (0.1234, 0.001, "0.123"), (7.0, 0.25, "7.00")]
        {
            assert_eq!(decimal(value, resolution), text);
        }
        assert_eq!(decimal(1.25, 0.0), "1.25");
    }
}
