//! The newest usable values of a point in event time: one store, whatever its rules look back on.
//!
//! Samples bear numbers that only grow, so that each window is a first number and nothing is stored twice.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::model::Timestamp;

/// Samples of a point that a younger one may still be told to stand behind: the shard remembers as many to put
/// others in order, so an overtaken sample has fewer younger ones than this.
pub const UNSETTLED: u64 = 8;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Track {
    items: VecDeque<(Timestamp, f64)>,
    /// Number of the oldest.
    first: u64,
}

impl Track {
    /// The number that the next sample will have.
    pub fn end(&self) -> u64 {
        self.first + self.items.len() as u64
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// As it was when the sample before that number was the newest.
    pub const fn upto(&self, end: u64) -> Upto<'_> {
        Upto { track: self, end }
    }

    pub fn whole(&self) -> Upto<'_> {
        self.upto(self.end())
    }

    pub fn newest(&self) -> Option<(Timestamp, f64)> {
        self.items.back().copied()
    }

    /// The sample before the newest.
    pub fn before_newest(&self) -> Option<(Timestamp, f64)> {
        self.items.iter().rev().nth(1).copied()
    }

    pub fn push(&mut self, at: Timestamp, value: f64) {
        self.items.push_back((at, value));
    }

    /// Puts a sample among younger ones, behind those of its own moment; says its number.
    pub fn insert(&mut self, at: Timestamp, value: f64) -> u64 {
        let place = self.items.iter().rposition(|(time, _)| *time <= at).map_or(0, |place| place + 1);
        self.items.insert(place, (at, value));
        self.first + place as u64
    }

    /// Drops what is older than the sample of that number.
    pub fn forget_before(&mut self, number: u64) {
        while self.first < number && self.items.pop_front().is_some() {
            self.first += 1;
        }
    }

    pub fn bytes(&self) -> usize {
        self.items.capacity() * size_of::<(Timestamp, f64)>()
    }
}

/// A track up to one of its samples: what looks back takes up several at once, each as if it had just come.
#[derive(Clone, Copy)]
pub struct Upto<'a> {
    track: &'a Track,
    end: u64,
}

impl<'a> Upto<'a> {
    /// The number behind its newest.
    pub const fn end(self) -> u64 {
        self.end
    }

    pub const fn first(self) -> u64 {
        self.track.first
    }

    /// The sample of that number; it must be there.
    pub fn at(self, number: u64) -> (Timestamp, f64) {
        self.track.items[place(number, self.track.first)]
    }

    pub fn newest(self) -> Option<(Timestamp, f64)> {
        (self.end > self.track.first).then(|| self.at(self.end - 1))
    }

    /// Something of each line of memory in which so many samples from that number on lie.
    pub fn touch(self, number: u64, samples: u64) -> u64 {
        let numbers = (number..self.end.min(number + samples)).step_by(4);
        numbers.fold(0, |all, number| all ^ self.at(number).1.to_bits())
    }

    pub fn from(self, number: u64) -> impl Iterator<Item = (Timestamp, f64)> + 'a {
        self.track.items.range(place(number, self.track.first)..place(self.end, self.track.first)).copied()
    }
}

fn place(number: u64, first: u64) -> usize {
    usize::try_from(number - first).expect("as many samples as are kept fit into memory")
}
