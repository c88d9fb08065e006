//! Latencies in microseconds, kept in 64 steps an octave: a quantile is at most 1.6 % too high, never too low.

const STEPS: u64 = 64;
const OCTAVES: u64 = 34;

/// Counts by size, with the exact maximum.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; (STEPS * OCTAVES) as usize], total: 0, max: 0 }
    }
}

/// Below 64 each number has a step of its own; above, an octave is cut into 64.
fn step(value: u64) -> usize {
    let place = match u64::from(value.max(1).ilog2()).checked_sub(6) {
        None => value,
        Some(shift) => (shift + 1) * STEPS + ((value >> shift) - STEPS),
    };
    place.min(STEPS * OCTAVES - 1) as usize
}

/// The largest value in the step.
fn top(step: u64) -> u64 {
    match (step / STEPS).checked_sub(1) {
        None => step,
        Some(shift) => ((STEPS + step % STEPS + 1) << shift) - 1,
    }
}

impl Histogram {
    pub fn record(&mut self, value: u64) {
        self.counts[step(value)] += 1;
        self.total += 1;
        self.max = self.max.max(value);
    }

    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    #[must_use]
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The value that the part `q` (0 to 1) of all does not exceed; 0 when there is none.
    #[must_use]
    pub fn quantile(&self, q: f64) -> u64 {
        let rank = ((self.total as f64 * q).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (place, count) in (0_u64..).zip(&self.counts) {
            seen += count;
            if seen >= rank {
                return top(place).min(self.max);
            }
        }
        self.max
    }
}
