//! Noise that is a pure function of a seed and a step, so that the same scenario gives the same readings
//! on every machine and a test can ask for a moment without playing all moments before it.

/// A well-mixed number from a seed and a step (the finaliser of SplitMix64).
#[must_use]
pub const fn mixed(seed: u64, step: u64) -> u64 {
    let mut z = seed ^ step.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Between -1 and 1, near 0 more often than near the ends.
#[must_use]
pub fn spread(seed: u64, step: u64) -> f64 {
    let bits = mixed(seed, step);
    let unit = |half: u64| f64::from(half as u32) / f64::from(u32::MAX);
    unit(bits >> 32) - unit(bits & 0xFFFF_FFFF)
}

/// A seed from a name (FNV-1a).
#[must_use]
pub fn seed_of(name: &str) -> u64 {
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3))
}

/// `value` on the grid of a sensor that shows steps of `resolution`; 0 leaves it as it is.
#[must_use]
pub fn on_grid(value: f64, resolution: f64) -> f64 {
    if resolution > 0.0 { (value / resolution).round() * resolution } else { value }
}

/// Digits after the point that show a step of `resolution` exactly.
#[must_use]
pub fn decimals(resolution: f64) -> usize {
    (0..9)
        .find(|digits| {
            let scaled = resolution * 10_f64.powi(*digits);
            resolution <= 0.0 || (scaled - scaled.round()).abs() < 1e-9 * scaled.max(1.0)
        })
        .map_or(9, |digits| digits as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_repeats_itself_stays_within_one_and_has_no_drift() {
        let seed = seed_of("demo-mine.face-3201-t1");
        assert_eq!(spread(seed, 7).to_bits(), spread(seed, 7).to_bits());
        let all: Vec<f64> = (0..10_000).map(|step| spread(seed, step)).collect();
        assert!(all.iter().all(|noise| (-1.0..=1.0).contains(noise)));
        let mean = all.iter().sum::<f64>() / 10_000.0;
        assert!(mean.abs() < 0.02, "mean {mean}");
        assert!(all.iter().filter(|noise| noise.abs() > 0.5).count() > 1_000, "noise that never moves is none");
    }

    #[test]
    fn a_sensor_shows_only_its_steps() {
        assert_eq!(format!("{:.*}", decimals(0.01), on_grid(0.4567, 0.01)), "0.46");
        assert_eq!(format!("{:.*}", decimals(0.5), on_grid(1.3, 0.5)), "1.5");
        assert_eq!(format!("{:.*}", decimals(1.0), on_grid(3.4, 1.0)), "3");
        assert_eq!(format!("{:.*}", decimals(0.001), on_grid(28.5004, 0.001)), "28.500");
    }
}
