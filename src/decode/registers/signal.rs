//! The signal of a current loop (4-20 mA), or another with a live zero, into the value it stands for.
//!
//! A loop tells more than its value: far below 4 mA the wire is broken or the transmitter without supply, far
//! above 20 mA it reports a fault of its own. NAMUR NE 43 keeps 3.8 to 20.5 mA for measuring and calls what is
//! at or below 3.6 mA or at or above 21 mA a failure. Both are no values, and never shown as one.

use crate::model::{Range, Reason};

/// How a scaled number is understood as a signal; all in the signal's unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Signal {
    /// What stands for the lowest value of the point's range: 4.0 mA.
    pub low: f64,
    /// What stands for the highest: 20.0 mA.
    pub high: f64,
    /// Below it the line is broken.
    pub break_below: Option<f64>,
    /// Above it the sensor reports a fault.
    pub fault_above: Option<f64>,
}

impl Signal {
    /// How far below zero a sound loop drifts: 3.8 mA, as a share of the 16 mA.
    const DRIFT: f64 = 0.2 / 16.0;

    /// The value in the range, or the reason why the signal is none.
    pub(super) fn value(self, signal: f64, range: Range) -> Result<f64, Reason> {
        if self.break_below.is_some_and(|limit| signal < limit) {
            return Err(Reason::LineBreak);
        }
        if self.fault_above.is_some_and(|limit| signal > limit) {
            return Err(Reason::SensorFault);
        }
        let share = (signal - self.low) / (self.high - self.low);
        let value = range.low + share * (range.high - range.low);
        if !value.is_finite() {
            return Err(Reason::NonFinite);
        }
        // 7.2 mA of 0 to 4 %VOL is exactly the 0.8 of a limit, not a bit less.
        Ok(if value.abs() < 1e9 { (value * 1e6).round() / 1e6 } else { value })
    }

    /// What may be shown without remark: the range, and a little below it for a drifting zero.
    pub(super) fn measuring(self, range: Range) -> Range {
        Range { low: range.low - Self::DRIFT * (range.high - range.low), ..range }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Order, Reading, Scale, Type};
    use super::*;

    #[test]
    fn a_loop_tells_its_value_and_its_faults() {
        let loop_of_methane = Reading {
            scale: Scale::by(0.001), // microamperes
            signal: Some(Signal { low: 4.0, high: 20.0, break_below: Some(3.6), fault_above: Some(21.0) }),
            range: Some(Range { low: 0.0, high: 4.0 }),
            ..Reading::plain(Type::Uint16, Order::Abcd)
        };
        for (microamperes, value, quality) in [
            (4_000, 0.0, "good"),
            (7_200, 0.8, "good"),
            (12_000, 2.0, "good"),
            (20_000, 4.0, "good"),
            (20_500, 4.125, "uncertain:over_range"),
            (21_000, 4.25, "uncertain:over_range"),
            (21_001, 0.0, "bad:sensor_fault"),
            (3_850, -0.0375, "good"),
            (3_700, -0.075, "uncertain:over_range"),
            (3_599, 0.0, "bad:line_break"),
            (0, 0.0, "bad:line_break"),
        ] {
            let (read, told) = loop_of_methane.read(&[microamperes]);
            assert_eq!((read, told.to_string().as_str()), (value, quality), "{microamperes}");
        }
    }
}
