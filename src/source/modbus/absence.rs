//! Who is missed on a bus: one alarm for a device, and one only for a whole bus. Pure.
//!
//! In comes how every device on the bus is doing, after each slot; out go the alarms that begin or end. A
//! dead gateway, a cut line or a modem that is off is told once, for the bus, and not for each device behind
//! it. A device is told on its own only when another one on its bus answers meanwhile, or when that cannot
//! be known in time, because the others are asked too seldom.

use std::time::Duration;

/// How a device has been lately; times since the start of the source.
#[derive(Clone, Debug, Default)]
pub(super) struct Health {
    /// Slots without data in a row, and when the first of them began.
    dark_slots: u32,
    dark_since: Duration,
    away: bool,
    /// The last time that it was asked in vain.
    asked: Duration,
    /// Since when it answers, and its last answer.
    up: Option<(Duration, Duration)>,
}

impl Health {
    /// Slots and time without data after which a device counts as away: a single lost packet is no alarm.
    const AWAY_SLOTS: u32 = 3;
    pub const AWAY_TIME: Duration = Duration::from_secs(3);

    pub fn answered(&mut self, now: Duration) {
        let since = self.up.map_or(now, |(since, _)| since);
        *self = Self { up: Some((since, now)), ..Self::default() };
    }

    /// A slot without data; `asked` if the device was asked in it at all.
    pub fn dark(&mut self, slot: Duration, now: Duration, asked: bool) {
        if self.dark_slots == 0 {
            self.dark_since = slot;
        }
        if asked {
            self.asked = now;
        }
        self.up = None;
        self.dark_slots = self.dark_slots.saturating_add(1);
        self.away = self.dark_slots >= Self::AWAY_SLOTS && now.saturating_sub(self.dark_since) >= Self::AWAY_TIME;
    }

    /// The last time that it was asked in vain.
    pub const fn last_asked(&self) -> Duration {
        self.asked
    }

    /// Did this one answer while the other was asked in vain?
    fn answers_beside(&self, other: &Self) -> bool {
        self.up.is_some_and(|(since, last)| since <= other.asked && last >= other.dark_since)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Bus,
    /// By its place on the bus.
    Unit(usize),
}

/// What was told of a bus and of each device on it; nothing at first, since an alarm may stand from before a
/// restart.
#[derive(Debug)]
pub(super) struct Absence {
    bus: Option<bool>,
    units: Vec<Option<bool>>,
    bus_back: Duration,
}

impl Absence {
    /// Longer than this the alarm of a device does not wait for word of the others.
    const UNDECIDED: Duration = Duration::from_secs(10);

    pub fn of(units: usize) -> Self {
        Self { bus: None, units: vec![None; units], bus_back: Duration::ZERO }
    }

    /// The alarms that begin (true) or end. `unreachable_since`: no connection since then.
    pub fn judge(
        &mut self,
        units: &[&Health],
        unreachable_since: Option<Duration>,
        now: Duration,
    ) -> Vec<(Subject, bool)> {
        let mut changes = Vec::new();
        let shared = units.len() > 1;
        if shared {
            let unreachable = unreachable_since.is_some_and(|since| now.saturating_sub(since) >= Health::AWAY_TIME);
            let all_dark = units.iter().all(|unit| unit.dark_slots > 0) && units.iter().any(|unit| unit.away);
            if unreachable || all_dark {
                tell(&mut self.bus, true, Subject::Bus, &mut changes);
            } else if units.iter().any(|unit| unit.up.is_some()) {
                tell(&mut self.bus, false, Subject::Bus, &mut changes);
            }
            if changes.contains(&(Subject::Bus, false)) {
                self.bus_back = now;
            }
        }
        for (at, unit) in units.iter().enumerate() {
            let told = &mut self.units[at];
            if self.bus == Some(true) {
                // Covered by the alarm of the bus.
                if *told == Some(true) {
                    tell(told, false, Subject::Unit(at), &mut changes);
                }
            } else if unit.up.is_some() {
                tell(told, false, Subject::Unit(at), &mut changes);
            } else if unit.away {
                let others = units.iter().enumerate().filter(|(other, _)| *other != at);
                let alone = !shared || others.into_iter().any(|(_, other)| other.answers_beside(unit));
                if alone || now.saturating_sub(unit.dark_since.max(self.bus_back)) >= Self::UNDECIDED {
                    tell(told, true, Subject::Unit(at), &mut changes);
                }
            }
        }
        changes
    }
}

fn tell(told: &mut Option<bool>, holds: bool, subject: Subject, changes: &mut Vec<(Subject, bool)>) {
    if told.replace(holds) != Some(holds) {
        changes.push((subject, holds));
    }
}

#[cfg(test)]
mod tests {
    use super::Subject::{Bus, Unit};
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A bus on which each second every device is asked and answers or not; what was told, with the second.
    fn story(units: usize, seconds: u64, answers: impl Fn(u64, usize) -> bool) -> Vec<(u64, Subject, bool)> {
        let mut health = vec![Health::default(); units];
        let mut absence = Absence::of(units);
        let mut told = Vec::new();
        for second in 0..seconds {
            for at in 0..units {
                if answers(second, at) {
                    health[at].answered(s(second));
                } else {
                    health[at].dark(s(second), s(second), true);
                }
                let changes = absence.judge(&health.iter().collect::<Vec<_>>(), None, s(second));
                told.extend(changes.into_iter().map(|(subject, holds)| (second, subject, holds)));
            }
        }
        told
    }

    fn begun(told: &[(u64, Subject, bool)]) -> Vec<(u64, Subject)> {
        told.iter().filter(|(.., holds)| *holds).map(|(second, subject, _)| (*second, *subject)).collect()
    }

    #[test]
    fn a_dead_bus_of_thirty_is_one_alarm_and_its_return_ends_it() {
        let told = story(30, 40, |second, _| !(10..20).contains(&second));
        assert_eq!(begun(&told), [(13, Bus)]);
        assert_eq!(told.last(), Some(&(20, Bus, false)));
    }

    #[test]
    fn a_dead_device_among_living_ones_is_its_own_alarm() {
        let told = story(3, 40, |second, at| at != 1 || !(10..20).contains(&second));
        assert_eq!(begun(&told), [(13, Unit(1))]);
        assert_eq!(told.last(), Some(&(20, Unit(1), false)));
    }

    #[test]
    fn one_that_stays_dead_when_the_bus_returns_is_told_after_it_was_asked_again() {
        let told = story(3, 40, |second, at| second < 10 || second >= 20 && at != 2);
        assert_eq!(begun(&told), [(13, Bus), (20, Unit(2))]);
    }

    #[test]
    fn one_that_died_before_the_bus_is_covered_by_it() {
        let told = story(2, 40, |second, at| second < if at == 0 { 10 } else { 20 });
        assert_eq!(begun(&told), [(13, Unit(0)), (20, Bus)]);
        assert!(told.contains(&(20, Unit(0), false)));
    }

    #[test]
    fn a_single_device_is_told_by_its_own_name_and_short_gaps_are_not_told() {
        assert_eq!(begun(&story(1, 40, |second, _| second < 10)), [(13, Unit(0))]);
        assert_eq!(begun(&story(1, 40, |second, _| second % 3 == 0)), []);
        assert_eq!(story(1, 9, |_, _| true), [(0, Unit(0), false)]);
    }

    #[test]
    fn a_gateway_that_cannot_be_reached_is_told_though_others_were_not_asked_yet() {
        let (mut asked, seldom) = (Health::default(), Health::default());
        let mut absence = Absence::of(2);
        for second in 0..3 {
            asked.dark(s(second), s(second), true);
            assert_eq!(absence.judge(&[&asked, &seldom], Some(s(0)), s(second)), []);
        }
        asked.dark(s(3), s(3), false);
        assert_eq!(absence.judge(&[&asked, &seldom], Some(s(0)), s(3)), [(Bus, true)]);
        // With a connection but no word of the other, it is told alone after a while.
        let mut absence = Absence::of(2);
        let told: Vec<_> = (4..14)
            .flat_map(|second| {
                asked.dark(s(second), s(second), true);
                absence.judge(&[&asked, &seldom], None, s(second)).into_iter().map(move |change| (second, change))
            })
            .collect();
        assert_eq!(told, [(10, (Unit(0), true))]);
    }
}
