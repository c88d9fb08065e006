//! What every demo point reads at a moment: its scenario's course, or its normal value with noise.

use std::time::Duration;

use super::points::DemoPoint;
use crate::noise::{on_grid, seed_of, spread};
use crate::scenario::{Reading, Scenario, ScenarioError, Signal, played, shipped};

/// Scenario time runs this much faster than the wall clock: the demo's rounds take 40 to 60 s.
pub const DEMO_SPEED: f64 = 6.0;

/// The scenarios that the demo plays side by side; no point is driven by two of them.
pub const DEMO_SCENARIOS: [&str; 7] =
    ["methane-ramp", "h2s-leak", "river-rising", "smoke", "sensor-stuck", "line-break", "clock-wrong"];

/// Scenarios played over the points' normal values.
#[derive(Clone, Debug)]
pub struct Script {
    scenarios: Vec<Scenario>,
    speed: f64,
}

impl Script {
    #[must_use]
    pub fn new(scenarios: Vec<Scenario>, speed: f64) -> Self {
        Self { scenarios, speed }
    }

    /// # Errors
    /// Never with the files as shipped; a test reads them all.
    pub fn demo() -> Result<Self, ScenarioError> {
        let scenarios = DEMO_SCENARIOS.into_iter().map(shipped).collect::<Result<_, _>>()?;
        Ok(Self::new(scenarios, DEMO_SPEED))
    }

    /// What `point` says `wall` after the start, on the sensor's grid and within its range.
    #[must_use]
    pub fn reading(&self, point: &DemoPoint, wall: Duration) -> Reading {
        let id = point.id();
        let driven = self.scenarios.iter().find_map(|scenario| scenario.reading(&id, played(wall, self.speed)));
        let mut reading = driven.unwrap_or_else(|| {
            let step = u64::try_from(wall.as_millis() / point.period.as_millis().max(1)).unwrap_or(u64::MAX);
            Reading {
                signal: Signal::Value(point.normal + point.noise * spread(seed_of(&id), step)),
                clock_offset_ms: 0,
            }
        });
        if let Signal::Value(value) = &mut reading.signal {
            *value = on_grid(*value, point.resolution).clamp(point.low, point.high);
        }
        reading
    }
}
