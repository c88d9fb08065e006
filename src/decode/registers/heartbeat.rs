//! A register that must keep changing as long as the device's brain works.
//!
//! In come its word and the time of each answer, as the span since the source started; out goes whether it
//! has stood still for too long. An answer after a pause longer than that says nothing about the pause, so
//! the waiting begins anew with it.

use std::time::Duration;

/// What beats, and how long it may stand still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The bits that change.
    pub mask: u16,
    pub within: Duration,
}

/// A heartbeat that is being listened to.
#[derive(Clone, Copy, Debug)]
pub struct Pulse {
    heartbeat: Heartbeat,
    word: Option<u16>,
    changed: Duration,
    heard: Duration,
}

impl Pulse {
    #[must_use]
    pub const fn of(heartbeat: Heartbeat) -> Self {
        Self { heartbeat, word: None, changed: Duration::ZERO, heard: Duration::ZERO }
    }

    /// Takes an answer; false when it has stood still for longer than it may.
    pub fn beats(&mut self, word: u16, now: Duration) -> bool {
        let Heartbeat { mask, within } = self.heartbeat;
        let word = Some(word & mask);
        if word != self.word || now.saturating_sub(self.heard) > within {
            (self.word, self.changed) = (word, now);
        }
        self.heard = now;
        now.saturating_sub(self.changed) <= within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Bit 11 toggles every two seconds and is polled every second.
    #[test]
    fn a_bit_that_stands_still_is_noticed_and_forgiven_when_it_moves() {
        let mut pulse = Pulse::of(Heartbeat { mask: 1 << 11, within: s(6) });
        let word = |second: u64| if (second / 2) % 2 == 1 { 0x0801 } else { 0x0001 };
        assert!((0..20).all(|second| pulse.beats(word(second), s(second))));
        // It stopped at 18 s; other bits of the word go on changing.
        let stopped: Vec<bool> =
            (20..28).map(|second| pulse.beats(word(18) | (second as u16 & 1), s(second))).collect();
        assert_eq!(stopped, [true, true, true, true, true, false, false, false]);
        assert!(pulse.beats(word(18) ^ 0x0800, s(28)));
    }

    #[test]
    fn a_device_that_was_away_is_given_its_time_again() {
        let mut pulse = Pulse::of(Heartbeat { mask: 0xFFFF, within: s(3) });
        assert!(pulse.beats(7, s(0)) && pulse.beats(7, s(3)));
        assert!(!pulse.beats(7, s(4)));
        assert!(pulse.beats(7, s(60)) && pulse.beats(7, s(63)));
        assert!(!pulse.beats(7, s(64)));
    }
}
