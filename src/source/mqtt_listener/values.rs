//! Live point values for one subscriber.
//!
//! In come the board's durable samples; out go those that its filters want, as PUBLISH packets. A slow
//! subscriber loses the oldest values, counted one by one; the newest always arrive. Exists only while a
//! subscription reaches points: when nobody's does, the board has no receiver and sends nothing.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::Arc;

use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::filter::{Branch, ROOT};
use super::subscriber::{Mailbox, Subscribers};
use crate::clock;
use crate::model::{Grade, Point, PointIndex, PointTable, Sample};

pub(super) struct ValueFeed {
    receiver: Receiver<Arc<Vec<Sample>>>,
    everybody: Arc<Subscribers>,
    mailbox: Arc<Mailbox>,
    table: Arc<PointTable>,
    /// By point: the QoS at which it is wanted.
    wanted: Vec<Option<u8>>,
    /// Points of a new subscription whose latest value is still to be sent.
    latest: VecDeque<PointIndex>,
    waiting: VecDeque<Sample>,
    most_waiting: usize,
}

/// One value as it is sent. `topic` and `payload` are lent by the caller and reused.
#[derive(Debug, Default)]
pub(super) struct ValueMessage {
    pub topic: String,
    pub payload: String,
    pub qos: u8,
    pub retain: bool,
}

impl ValueFeed {
    pub(super) fn new(everybody: Arc<Subscribers>, mailbox: Arc<Mailbox>, most_waiting: usize) -> Self {
        let table = everybody.board.points();
        let receiver = everybody.board.values();
        let wanted = mailbox.wanted_points(&table);
        Self {
            receiver,
            everybody,
            mailbox,
            table,
            wanted,
            latest: VecDeque::new(),
            waiting: VecDeque::new(),
            most_waiting,
        }
    }

    /// The subscriptions changed.
    pub(super) fn refresh(&mut self) {
        self.table = self.everybody.board.points();
        self.wanted = self.mailbox.wanted_points(&self.table);
    }

    /// The latest value of every point for which `matches` holds is to be sent.
    pub(super) fn send_latest(&mut self, matches: impl Fn(&Point) -> bool) {
        let points = self.table.iter().filter(|(_, point)| matches(point)).map(|(index, _)| index);
        // A second subscription that matches the same points repeats them once, not for ever.
        self.latest =
            self.latest.drain(..).chain(points).collect::<std::collections::BTreeSet<_>>().into_iter().collect();
    }

    /// The next batch of the board; to be given to `put`.
    pub(super) async fn receive(&mut self) -> Result<Arc<Vec<Sample>>, RecvError> {
        self.receiver.recv().await
    }

    pub(super) fn put(&mut self, batch: &[Sample]) {
        if !Arc::ptr_eq(&self.table, &self.everybody.board.points()) {
            self.refresh();
        }
        let mut dropped = 0;
        for sample in batch {
            if self.wanted.get(sample.point.at()).copied().flatten().is_none() {
                continue;
            }
            if self.waiting.len() >= self.most_waiting {
                self.waiting.pop_front();
                dropped += 1;
            }
            self.waiting.push_back(*sample);
        }
        if dropped > 0 {
            self.everybody.drop_values(dropped);
        }
    }

    /// The board went on without this subscriber: so many batches at least are gone.
    pub(super) fn lagged(&self, batches: u64) {
        self.everybody.drop_values(batches);
    }

    /// Writes the next value into `message`; false when there is none that can go now.
    pub(super) fn take(&mut self, message: &mut ValueMessage, ready: impl Fn(u8) -> bool) -> bool {
        while let Some(point) = self.latest.front().copied() {
            let Some(qos) = self.wanted.get(point.at()).copied().flatten() else {
                self.latest.pop_front();
                continue;
            };
            if !ready(qos) {
                return false;
            }
            self.latest.pop_front();
            if let Some(latest) = self.everybody.board.latest(point, clock::now())
                && self.compose(&latest.sample, qos, true, message)
            {
                return true;
            }
        }
        while let Some(sample) = self.waiting.front().copied() {
            let Some(qos) = self.wanted.get(sample.point.at()).copied().flatten() else {
                self.waiting.pop_front();
                continue;
            };
            if !ready(qos) {
                return false;
            }
            self.waiting.pop_front();
            if self.compose(&sample, qos, false, message) {
                return true;
            }
        }
        false
    }

    fn compose(&self, sample: &Sample, qos: u8, retain: bool, message: &mut ValueMessage) -> bool {
        let Some(point) = self.table.get(sample.point) else { return false };
        message.qos = qos;
        message.retain = retain;
        message.topic.clear();
        message.payload.clear();
        let branch = Branch::Point.word();
        write!(message.topic, "{ROOT}{}/{branch}/{}", point.site, point.local()).expect("a string takes all text");
        value_payload(sample, &mut message.payload);
        true
    }
}

/// `{"value":1.02,"time":"2026-11-23T08:00:00Z","quality":"good"}`. The value of a bad sample is null: a
/// number that means nothing must not be drawn by whoever does not look at the quality.
fn value_payload(sample: &Sample, into: &mut String) {
    let written = if sample.quality.grade() == Grade::Bad {
        write!(into, "{{\"value\":null")
    } else {
        write!(into, "{{\"value\":{}", sample.value)
    };
    written.expect("a string takes all text");
    write!(into, ",\"time\":\"{}\",\"quality\":\"{}\"}}", sample.source_time, sample.quality)
        .expect("a string takes all text");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Reason, Timestamp};

    #[test]
    fn a_bad_value_is_null_and_every_payload_is_json() {
        let now = Timestamp::from_secs(1_800_000_000);
        let mut text = String::new();
        value_payload(&Sample::received(PointIndex(0), 1.25, Some(now), now), &mut text);
        assert_eq!(text, r#"{"value":1.25,"time":"2027-01-15T08:00:00Z","quality":"good"}"#);
        for sample in [
            Sample::missing(PointIndex(0), Reason::LineBreak, now),
            Sample::received(PointIndex(0), f64::NAN, None, now),
        ] {
            text.clear();
            value_payload(&sample, &mut text);
            let read: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert!(read["value"].is_null() && read["quality"].as_str().unwrap().starts_with("bad:"), "{text}");
        }
        for value in [0.0, -0.0, 1e300, 1e-300, 123_456_789.125] {
            text.clear();
            value_payload(&Sample::received(PointIndex(0), value, None, now), &mut text);
            let read: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(read["value"].as_f64(), Some(value), "{text}");
        }
    }
}
