//! A count that only grows, as tips of a rain gauge or pulses of a flow meter, into what was added.
//!
//! In comes the count of each answer; out goes the increase since the answer before, which is never negative.
//! A count that falls has wrapped or was reset, and which of the two a device does is told, not guessed. What
//! was counted while answers were missing comes with the next one; what was counted before a reset and after
//! the last answer is not known to anybody, so the sum is then too small, never too large.

/// What it means when the count is lower than before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fall {
    /// It went through its highest count to 0, and has so many counts. An increase of more than half of them
    /// is taken for a reset: no gauge is polled so seldom.
    Wrap(f64),
    /// It began at 0 again: each month, or after a power failure.
    Reset,
}

/// Remembers the last count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Counter {
    fall: Fall,
    last: Option<f64>,
}

impl Counter {
    #[must_use]
    pub const fn new(fall: Fall) -> Self {
        Self { fall, last: None }
    }

    /// The increase since the count before; `None` for the first one, which has none before it.
    pub fn increase(&mut self, count: f64) -> Option<f64> {
        let last = self.last.replace(count)?;
        if count >= last {
            return Some(count - last);
        }
        match self.fall {
            Fall::Wrap(counts) if count + counts - last <= counts / 2.0 => Some(count + counts - last),
            Fall::Wrap(_) | Fall::Reset => Some(count),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn increases(fall: Fall, counts: &[f64]) -> Vec<Option<f64>> {
        let mut counter = Counter::new(fall);
        counts.iter().map(|count| counter.increase(*count)).collect()
    }

    #[test]
    fn a_rain_gauge_goes_through_its_highest_count() {
        let seen = increases(Fall::Wrap(65_536.0), &[65_530.0, 65_535.0, 3.0, 3.0]);
        assert_eq!(seen, [None, Some(5.0), Some(4.0), Some(0.0)]);
    }

    #[test]
    fn the_first_of_the_month_is_no_negative_flow() {
        let seen = increases(Fall::Reset, &[40_000.0, 40_010.0, 7.0, 9.0]);
        assert_eq!(seen, [None, Some(10.0), Some(7.0), Some(2.0)]);
        // A wrapping counter whose device lost its supply.
        let seen = increases(Fall::Wrap(65_536.0), &[20_000.0, 2.0]);
        assert_eq!(seen, [None, Some(2.0)]);
    }

    proptest! {
        #[test]
        fn nothing_that_was_counted_is_lost_or_negative(steps in prop::collection::vec(0_u32..20_000, 1..60), first: u16) {
            let mut counter = Counter::new(Fall::Wrap(65_536.0));
            let (mut count, mut sum) = (u32::from(first), 0.0);
            prop_assert_eq!(counter.increase(f64::from(count)), None);
            for step in &steps {
                count = (count + step) % 65_536;
                let increase = counter.increase(f64::from(count)).unwrap();
                prop_assert!(increase >= 0.0);
                sum += increase;
            }
            prop_assert_eq!(sum, f64::from(steps.iter().sum::<u32>()));
        }
    }
}
