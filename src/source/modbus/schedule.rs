//! When a device is polled: slot n begins at first + n * period, whatever happened before.
//!
//! Pure: time comes in as the span since the source started. A poll that ends late does not move the
//! later slots. A slot that passed while the line was busy is skipped and counted, never caught up with;
//! a slot that has begun but not passed is served late.

use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Schedule {
    first_nanos: u64,
    period_nanos: u64,
    next: u64,
    missed: u64,
}

impl Schedule {
    #[must_use]
    pub fn new(first: Duration, period: Duration) -> Self {
        Self { first_nanos: nanos(first), period_nanos: nanos(period).max(1), next: 0, missed: 0 }
    }

    /// When the next slot begins.
    #[must_use]
    pub const fn due(&self) -> Duration {
        Duration::from_nanos(self.first_nanos.saturating_add(self.period_nanos.saturating_mul(self.next)))
    }

    /// Takes the slot that is running at `now` and gives its beginning. Slots that have passed are missed.
    pub fn take(&mut self, now: Duration) -> Duration {
        let running = nanos(now).saturating_sub(self.first_nanos) / self.period_nanos;
        if running > self.next {
            self.missed += running - self.next;
            self.next = running;
        }
        let slot = self.due();
        self.next += 1;
        slot
    }

    /// Slots that passed without a poll because the line was busy.
    #[must_use]
    pub const fn missed(&self) -> u64 {
        self.missed
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Where in its period the device of that number has its slots. Steps of the golden ratio leave no two
/// devices together, however many there are and whatever their periods.
#[must_use]
pub fn phase(number: usize, period: Duration) -> Duration {
    const GOLDEN: f64 = 0.618_033_988_749_894_9;
    period.mul_f64((number as f64 * GOLDEN).fract())
}

/// How long a device that failed `failures` times in a row is left alone: one period after the first
/// time, then twice as long each time, at the most `longest` (or its period, if that is longer).
#[must_use]
pub fn rest(failures: u32, period: Duration, longest: Duration) -> Duration {
    let doubled = period.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    doubled.min(longest.max(period))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_million_polls_of_uneven_length_do_not_drift() {
        let mut schedule = Schedule::new(ms(130), ms(500));
        for slot in 0..1_000_000_u64 {
            assert_eq!(schedule.due(), ms(130 + slot * 500));
            // Woken up to 3 ms late; the poll itself takes up to 499 ms, which is nobody's business.
            assert_eq!(schedule.take(schedule.due() + ms(slot % 4)), ms(130 + slot * 500));
        }
        assert_eq!(schedule.missed(), 0);
    }

    #[test]
    fn slots_that_passed_are_counted_and_not_caught_up_with() {
        let mut schedule = Schedule::new(ms(0), ms(100));
        assert_eq!(schedule.take(ms(0)), ms(0));
        // The device took 250 ms: slot 1 is gone, slot 2 is running and served late.
        assert_eq!(schedule.take(ms(250)), ms(200));
        assert_eq!((schedule.missed(), schedule.due()), (1, ms(300)));
        assert_eq!(schedule.take(ms(300)), ms(300));
        assert_eq!(schedule.take(ms(10_400)), ms(10_400));
        assert_eq!((schedule.missed(), schedule.due()), (101, ms(10_500)));
    }

    #[test]
    fn five_hundred_devices_do_not_ask_at_once() {
        let mut in_each_hundredth = [0; 100];
        for device in 0..500 {
            let phase = phase(device, ms(1000));
            assert!(phase < ms(1000));
            in_each_hundredth[usize::try_from(phase.as_millis() / 10).unwrap()] += 1;
        }
        assert!(in_each_hundredth.iter().all(|devices| (3..=7).contains(devices)), "{in_each_hundredth:?}");
    }

    #[test]
    fn a_device_that_fails_rests_twice_as_long_each_time_up_to_a_limit() {
        let half_a_minute = Duration::from_secs(30);
        let rests: Vec<_> = (1..9).map(|failures| rest(failures, ms(500), half_a_minute).as_millis()).collect();
        assert_eq!(rests, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        assert_eq!(rest(40, Duration::from_secs(60), half_a_minute), Duration::from_secs(60));
        assert_eq!(rest(u32::MAX, ms(1), half_a_minute), Duration::from_secs(30));
    }

    proptest! {
        #[test]
        fn every_slot_is_either_served_or_missed(waits in prop::collection::vec(0_u64..5_000, 1..200), period in 1_u64..1_000) {
            let mut schedule = Schedule::new(ms(7), ms(period));
            let (mut now, mut served, mut last) = (ms(0), 0, None);
            for wait in waits {
                now = schedule.due().max(now + ms(wait));
                let slot = schedule.take(now);
                prop_assert!(slot <= now && now < slot + ms(period));
                prop_assert!(last.is_none_or(|last| last < slot));
                served += 1;
                last = Some(slot);
                prop_assert_eq!(schedule.due(), slot + ms(period));
                let passed = (schedule.due() - ms(7)).as_millis() as u64 / period;
                prop_assert_eq!(passed, served + schedule.missed());
            }
        }
    }
}
