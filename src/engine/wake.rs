//! Which points a tick has to look at.
//!
//! In goes, for each point, the earliest moment at which a tick can change something there; out come those whose
//! moment has come, in the order of their numbers. What sleeps costs nothing, however many points there are, and
//! putting a point elsewhere takes no search: points lie in one heap for each half second, and one that has been put
//! elsewhere since is passed over when its heap's turn comes.

use std::collections::BTreeMap;

use crate::model::Timestamp;

/// Each point once, by the moment at which it wakes.
#[derive(Debug, Default)]
pub struct Wakes {
    /// By point.
    at: Vec<Timestamp>,
    /// By the tick at or before the moment.
    heaps: BTreeMap<Timestamp, Vec<u32>>,
}

const NEVER: Timestamp = Timestamp::from_micros(i64::MAX);

impl Wakes {
    /// Begins anew with so many points, all asleep.
    pub fn clear(&mut self, points: usize) {
        self.heaps.clear();
        self.at.clear();
        self.at.resize(points, NEVER);
    }

    /// The point wakes then, and not when it was to wake before.
    pub fn put(&mut self, point: usize, at: Timestamp) {
        let Some(known) = self.at.get_mut(point) else { return };
        let before = std::mem::replace(known, at);
        if at != NEVER && (before == NEVER || before.tick() != at.tick()) {
            let number = u32::try_from(point).expect("points are numbered with u32");
            self.heaps.entry(at.tick()).or_default().push(number);
        }
    }

    /// No point wakes before this.
    #[must_use]
    pub fn first(&self) -> Option<Timestamp> {
        self.heaps.first_key_value().map(|(tick, _)| *tick)
    }

    /// Those that wake up to `now`; they sleep for ever unless they are put again.
    pub fn take(&mut self, now: Timestamp) -> Vec<usize> {
        let mut awake = Vec::new();
        let mut rest = None;
        while let Some(heap) = self.heaps.first_entry().filter(|heap| *heap.key() <= now) {
            let tick = *heap.key();
            let mut points = heap.remove();
            points.retain(|number| {
                let known = &mut self.at[*number as usize];
                if *known == NEVER || known.tick() != tick {
                    return false;
                }
                let later = *known > now;
                if !later {
                    *known = NEVER;
                    awake.push(*number as usize);
                }
                later
            });
            // Only in the last heap can there be a moment after `now`.
            rest = Some((tick, points)).filter(|(_, points)| !points.is_empty());
        }
        self.heaps.extend(rest);
        awake.sort_unstable();
        awake
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// As a list that is searched each time has it, and never a point that is forgotten.
        #[test]
        fn each_point_wakes_once_at_its_moment(
            steps in prop::collection::vec((0_usize..5, prop::option::weighted(0.9, 0_i64..4_000_000), 0_i64..900_000, any::<bool>()), 1..80),
        ) {
            let (mut wakes, mut plain) = (Wakes::default(), [NEVER; 5]);
            wakes.clear(5);
            let mut now = Timestamp::from_micros(0);
            for (point, ahead, passes, takes) in steps {
                let at = ahead.map_or(NEVER, |ahead| Timestamp::from_micros(now.micros() + ahead));
                wakes.put(point, at);
                plain[point] = at;
                let earliest = *plain.iter().min().unwrap();
                prop_assert!(earliest == NEVER || wakes.first().is_some_and(|first| first <= earliest));
                if takes {
                    now = Timestamp::from_micros(now.micros() + passes);
                    let due: Vec<usize> = (0..5).filter(|point| plain[*point] <= now && plain[*point] != NEVER).collect();
                    due.iter().for_each(|point| plain[*point] = NEVER);
                    prop_assert_eq!(wakes.take(now), due);
                }
            }
        }
    }
}
