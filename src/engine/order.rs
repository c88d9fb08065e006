//! The middle of a changing set of numbers: a lower and an upper half, each in order.
//!
//! A number comes or goes in O(log n); the median is where the halves meet.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Numbers as keys that sort like them, with how often each is there. The lower half has as many as the upper one
/// or one more.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Order {
    low: BTreeMap<u64, u32>,
    high: BTreeMap<u64, u32>,
    lows: usize,
    highs: usize,
}

/// Bytes a number takes in the trees: key, count and the share of nodes that are not full.
pub const BYTES_A_NUMBER: usize = 24;

impl Order {
    pub fn add(&mut self, number: f64) {
        let key = key(number);
        if self.low.last_key_value().is_none_or(|(highest, _)| key <= *highest) {
            *self.low.entry(key).or_insert(0) += 1;
            self.lows += 1;
        } else {
            *self.high.entry(key).or_insert(0) += 1;
            self.highs += 1;
        }
        self.balance();
    }

    /// One that was added.
    pub fn remove(&mut self, number: f64) {
        let key = key(number);
        if take(&mut self.low, key) {
            self.lows -= 1;
        } else if take(&mut self.high, key) {
            self.highs -= 1;
        }
        self.balance();
    }

    /// Of an even count, the mean of the two in the middle.
    pub fn median(&self) -> Option<f64> {
        let below = number(*self.low.last_key_value()?.0);
        if self.lows > self.highs {
            return Some(below);
        }
        let above = number(*self.high.first_key_value()?.0);
        let middle = (below + above) / 2.0;
        Some(if middle.is_finite() { middle } else { below / 2.0 + above / 2.0 })
    }

    pub fn bytes(&self) -> usize {
        (self.low.len() + self.high.len()) * BYTES_A_NUMBER
    }

    fn balance(&mut self) {
        while self.lows > self.highs + 1 {
            let Some((key, _)) = self.low.last_key_value().map(|(key, count)| (*key, *count)) else { return };
            take(&mut self.low, key);
            *self.high.entry(key).or_insert(0) += 1;
            (self.lows, self.highs) = (self.lows - 1, self.highs + 1);
        }
        while self.highs > self.lows {
            let Some((key, _)) = self.high.first_key_value().map(|(key, count)| (*key, *count)) else { return };
            take(&mut self.high, key);
            *self.low.entry(key).or_insert(0) += 1;
            (self.lows, self.highs) = (self.lows + 1, self.highs - 1);
        }
    }
}

/// Takes one away; was it there?
fn take(half: &mut BTreeMap<u64, u32>, key: u64) -> bool {
    match half.get_mut(&key) {
        Some(count) if *count > 1 => *count -= 1,
        Some(_) => {
            half.remove(&key);
        }
        None => return false,
    }
    true
}

/// The bits of a double, turned so that they sort as its value does.
fn key(number: f64) -> u64 {
    let bits = number.to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

fn number(key: u64) -> f64 {
    f64::from_bits(if key >> 63 == 1 { key & !(1 << 63) } else { !key })
}
