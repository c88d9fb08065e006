//! What a connection and a protocol say to each other.
//!
//! A [`Talk`] is one connection's memory of a protocol: it gets whole frames and puts what they mean on a
//! [`Desk`]. It never waits; the connection does what is on the desk: samples to the journal, then the answers.

use tracing::info;

use super::connection::End;
use super::stations::Ask;
use super::{Front, What};
use crate::decode::frames::Scan;
use crate::ledger::Fate;
use crate::model::{PointIndex, Reason, Sample, Timestamp};

pub(super) trait Talk: Send {
    /// What stands at the front of the stream.
    fn scan(&self, bytes: &[u8]) -> Scan;

    /// A frame whose sum is right.
    fn frame(&mut self, frame: &[u8], desk: &mut Desk<'_>);

    /// A frame whose sum is wrong; it has been counted. Some protocols say so to the sender.
    fn damaged(&mut self, frame: &[u8], desk: &mut Desk<'_>);

    /// An order to a device of this connection; what it is to be sent goes into `out`.
    fn order(&mut self, ask: Ask, now: Timestamp, out: &mut Vec<u8>);
}

/// What came of one read.
pub(super) struct Desk<'a> {
    pub front: &'a Front,
    pub received: Timestamp,
    pub samples: Vec<Sample>,
    /// Sent when the samples are durable.
    pub answers: Vec<u8>,
    /// Devices that spoke for the first time on this connection.
    pub heard: Vec<String>,
    /// The connection is to end, after the answers.
    pub end: Option<End>,
}

impl<'a> Desk<'a> {
    pub fn new(front: &'a Front, received: Timestamp) -> Self {
        Self { front, received, samples: Vec::new(), answers: Vec::new(), heard: Vec::new(), end: None }
    }

    pub fn count(&self, fate: Fate) {
        self.front.outlet.account.one(fate);
    }

    /// May this device deliver? If so it is alive; if not, the connection ends.
    pub fn admit(&mut self, device: &str, password: Option<&[u8]>) -> bool {
        let what = match self.front.known.get(device) {
            None => format!("device {device:?} is not known: no point and no [device] table names it"),
            Some(one) if !one.password.admits(password) => format!("device {device:?} sent a wrong password"),
            Some(one) => {
                for point in &one.alive {
                    self.samples.push(Sample::received(*point, 1.0, Some(self.received), self.received));
                }
                if !self.heard.iter().any(|heard| heard == device) {
                    self.heard.push(device.to_owned());
                }
                return true;
            }
        };
        if self.front.first_time(format!("stranger {device}")) {
            info!(name = %self.front.config.name, reason = %what, "device refused");
        }
        self.end = Some(End::because(Fate::Refused, what));
        false
    }

    /// One value for whatever points are bound to it; false when none is. `value` is `None` when the device
    /// says that it has none. `at` is `None` when the protocol gave no time, `Some(Timestamp::MIN)` when it gave
    /// one that cannot be.
    pub fn value(
        &mut self,
        device: &str,
        what: &What,
        value: Option<f64>,
        at: Option<Timestamp>,
        reason: Option<Reason>,
    ) -> bool {
        let front = self.front;
        let points = front.known.points(device, what);
        points.iter().for_each(|point| self.store(*point, value, at, reason));
        !points.is_empty()
    }

    /// Something came for which there is no point: counted each time, told once.
    pub fn unknown(&mut self, device: &str, what: &str) {
        self.count(Fate::UnknownPoint);
        if self.front.first_time(format!("{device} {what}")) {
            info!(name = %self.front.config.name, device, what, "no point is bound to this");
        }
    }

    fn store(&mut self, point: PointIndex, value: Option<f64>, at: Option<Timestamp>, reason: Option<Reason>) {
        let mut sample = Sample::received(point, value.unwrap_or(0.0), at, self.received);
        if let Some(reason) = reason {
            sample.quality = sample.quality.and(reason);
        }
        if value.is_none() && sample.quality.usable() {
            // Whatever else is said of it: there is no value that a rule might see.
            sample.quality = sample.quality.and(Reason::SensorFault);
        }
        let range = self.front.points.get(point).and_then(|about| about.range);
        if range.is_some_and(|range| sample.quality.usable() && !(range.low..=range.high).contains(&sample.value)) {
            sample.quality = sample.quality.and(Reason::OverRange);
        }
        if value.is_none_or(|value| !value.is_finite()) {
            self.count(Fate::BadValue);
        }
        if sample.quality.has(Reason::ClockWrong) {
            self.count(Fate::BadTime);
        }
        self.samples.push(sample);
    }
}
