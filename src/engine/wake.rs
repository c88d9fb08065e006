//! Which points a tick has to look at.
//!
//! In goes, for each point, the earliest moment at which a tick can change something there; out come those whose
//! moment has come, in the order of their numbers. What sleeps costs nothing, however many points there are.

use std::collections::BTreeSet;

use crate::model::Timestamp;

/// Each point once, by the moment at which it wakes.
#[derive(Debug, Default)]
pub struct Wakes {
    at: Vec<Timestamp>,
    order: BTreeSet<(Timestamp, u32)>,
}

const NEVER: Timestamp = Timestamp::from_micros(i64::MAX);

impl Wakes {
    /// Begins anew with so many points, all asleep.
    pub fn clear(&mut self, points: usize) {
        self.order.clear();
        self.at.clear();
        self.at.resize(points, NEVER);
    }

    /// The point wakes then, and not when it was to wake before.
    pub fn put(&mut self, point: usize, at: Timestamp) {
        let Some(known) = self.at.get_mut(point) else { return };
        if *known == at {
            return;
        }
        let number = u32::try_from(point).expect("points are numbered with u32");
        self.order.remove(&(*known, number));
        *known = at;
        if at != NEVER {
            self.order.insert((at, number));
        }
    }

    /// When the first one wakes.
    #[must_use]
    pub fn first(&self) -> Option<Timestamp> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Those that wake up to `now`; they sleep for ever unless they are put again.
    pub fn take(&mut self, now: Timestamp) -> Vec<usize> {
        let mut awake = Vec::new();
        while let Some((at, number)) = self.order.first().copied().filter(|(at, _)| *at <= now) {
            self.order.remove(&(at, number));
            self.at[number as usize] = NEVER;
            awake.push(number as usize);
        }
        awake.sort_unstable();
        awake
    }
}
