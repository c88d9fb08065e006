//! One reading of one point.

use super::{PointIndex, Quality, Reason, Timestamp};

/// 32 bytes; hundreds of thousands a second pass by, so it owns nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    pub point: PointIndex,
    pub quality: Quality,
    /// When the sensor measured; the receive time where the source did not say (see its quality).
    pub source_time: Timestamp,
    /// When it reached Davy.
    pub receive_time: Timestamp,
    /// In the point's unit. Always finite.
    pub value: f64,
}

impl Sample {
    /// Source times further ahead than this are absurd (`domain.md` of the field asks for 60 s).
    const AHEAD_MICROS: i64 = 60_000_000;
    /// 2001-09-09: anything older is a clock that was never set.
    const OLDEST_MICROS: i64 = 1_000_000_000_000_000;

    /// A sample as it arrives. A value that is not finite becomes 0.0 and bad; an absent or absurd
    /// source time is replaced by the receive time and flagged.
    #[must_use]
    pub fn received(point: PointIndex, value: f64, source_time: Option<Timestamp>, receive_time: Timestamp) -> Self {
        let mut quality = Quality::GOOD;
        let value = if value.is_finite() {
            value
        } else {
            quality = quality.and(Reason::NonFinite);
            0.0
        };
        let source_time = match source_time {
            None => {
                quality = quality.and(Reason::NoSourceTime);
                receive_time
            }
            Some(time)
                if time.micros() < Self::OLDEST_MICROS
                    || time.micros() > receive_time.micros() + Self::AHEAD_MICROS =>
            {
                quality = quality.and(Reason::ClockWrong);
                receive_time
            }
            Some(time) => time,
        };
        Self { point, quality, source_time, receive_time, value }
    }

    /// No value could be had: the point's last value is not repeated, 0.0 stands in and means nothing.
    #[must_use]
    pub fn missing(point: PointIndex, reason: Reason, now: Timestamp) -> Self {
        Self { point, quality: Quality::because(reason), source_time: now, receive_time: now, value: 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POINT: PointIndex = PointIndex(7);
    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    #[test]
    fn a_value_that_is_not_a_number_is_bad_never_zero_in_disguise() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let sample = Sample::received(POINT, value, Some(NOW), NOW);
            assert!(!sample.quality.usable());
            assert!(sample.quality.has(Reason::NonFinite));
            assert!(sample.value.is_finite());
        }
    }

    #[test]
    fn absurd_and_absent_times_are_flagged_not_guessed() {
        let absent = Sample::received(POINT, 1.0, None, NOW);
        assert_eq!((absent.source_time, absent.quality.to_string().as_str()), (NOW, "good:no_source_time"));
        for absurd in [Timestamp::from_secs(0), NOW + std::time::Duration::from_secs(61)] {
            let sample = Sample::received(POINT, 1.0, Some(absurd), NOW);
            assert_eq!((sample.source_time, sample.quality.to_string().as_str()), (NOW, "uncertain:clock_wrong"));
        }
    }
}
