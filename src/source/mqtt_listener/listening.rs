//! The subscriptions of one connection, and what it is sent because of them.
//!
//! In come SUBSCRIBE, UNSUBSCRIBE and PUBACK; out go alarm messages and point values as packets, never
//! more than the client takes: QoS 1 within its window, and only while its buffer is short. Alarms go
//! before values. Nothing is sent twice: a session does not outlive its connection, and whoever comes back
//! gets the open set again.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;

use super::config::Limits;
use super::filter::{Branch, Filter, Unfit};
use super::frame::Version;
use super::greet::{Hello, NOT_AUTHORIZED};
use super::outgoing::{Outgoing, Resend, Wish};
use super::subscriber::{Mailbox, Subscribers, Subscription};
use super::values::{ValueFeed, ValueMessage};

pub(super) struct Listening {
    version: Version,
    everybody: Arc<Subscribers>,
    pub mailbox: Arc<Mailbox>,
    pub values: Option<ValueFeed>,
    most_subscriptions: usize,
    most_values: usize,
    packet_most: usize,
    /// QoS 1 messages that may wait for a PUBACK.
    window: usize,
    in_flight: VecDeque<u16>,
    last_pkid: u16,
    scratch: ValueMessage,
}

/// Reason codes of SUBACK; v3.1.1 knows only 0x80 for every refusal.
mod code {
    pub const FAILURE: u8 = 0x80;
    pub const TOPIC_FILTER_INVALID: u8 = 0x8F;
    pub const QUOTA_EXCEEDED: u8 = 0x97;
    pub const SHARED_NOT_SUPPORTED: u8 = 0x9E;
    pub const NO_SUBSCRIPTION: u8 = 0x11;
}

/// Bytes in the buffer above which nothing more is composed: what waits stays where newer can overtake it.
const FILL: usize = 64 * 1024;

impl Listening {
    pub(super) fn new(hello: &Hello, limits: &Limits, everybody: &Arc<Subscribers>) -> Self {
        let mailbox = Mailbox::new(limits.subscriber_alarm_bytes, hello.packet_most, everybody.retained());
        everybody.enter(mailbox.clone());
        Self {
            version: hello.version,
            everybody: everybody.clone(),
            mailbox,
            values: None,
            most_subscriptions: limits.subscriptions,
            most_values: limits.subscriber_values,
            packet_most: hello.packet_most,
            window: usize::from(hello.receive_maximum.min(limits.subscriber_unacknowledged)),
            in_flight: VecDeque::new(),
            last_pkid: 0,
            scratch: ValueMessage::default(),
        }
    }

    /// Grants or refuses one wish; the answer is its code in the SUBACK.
    pub(super) fn subscribe(&mut self, wish: Wish) -> u8 {
        let filter = match Filter::parse(&wish.text) {
            Ok(filter) => filter,
            Err(Unfit::Topic) => return code::TOPIC_FILTER_INVALID,
            Err(Unfit::Shared) => return code::SHARED_NOT_SUPPORTED,
        };
        let new = !self.mailbox.holds(&wish.text);
        if new && self.mailbox.subscriptions() >= self.most_subscriptions {
            return code::QUOTA_EXCEEDED;
        }
        let resend = match wish.resend {
            Resend::Always => true,
            Resend::IfNew => new,
            Resend::Never => false,
        };
        let points = filter.reaches(Branch::Point).then(|| filter.clone());
        self.mailbox.subscribe(&self.everybody, Subscription { text: wish.text, filter, qos: wish.qos }, resend);
        if let Some(filter) = points {
            let feed = self
                .values
                .get_or_insert_with(|| ValueFeed::new(self.everybody.clone(), self.mailbox.clone(), self.most_values));
            feed.refresh();
            if resend {
                feed.send_latest(|point| filter.matches(&point.site, Branch::Point, point.local()));
            }
        }
        wish.qos
    }

    /// The answer is its code in a v5 UNSUBACK.
    pub(super) fn unsubscribe(&mut self, text: &str) -> u8 {
        let found = self.mailbox.unsubscribe(text);
        if !self.mailbox.wants_points() {
            self.values = None;
        } else if let Some(feed) = &mut self.values {
            feed.refresh();
        }
        if found { 0 } else { code::NO_SUBSCRIPTION }
    }

    /// A PUBACK; one that nothing waits for is of no consequence.
    pub(super) fn acknowledged(&mut self, pkid: u16) {
        if let Some(at) = self.in_flight.iter().position(|waiting| *waiting == pkid) {
            self.in_flight.remove(at);
        }
    }

    /// Composes what can go now.
    pub(super) fn fill(&mut self, out: &mut BytesMut) {
        while out.len() < FILL {
            let room = self.in_flight.len() < self.window;
            let ready = |qos: u8| qos == 0 || room;
            if let Some(letter) = self.mailbox.take(ready) {
                let pkid = if letter.qos == 0 { 0 } else { self.next_pkid() };
                let (topic, payload) = (letter.message.topic.as_str(), &letter.message.payload[..]);
                Outgoing { topic, payload, pkid, retain: letter.retain }.put(out, self.version);
                continue;
            }
            let mut scratch = std::mem::take(&mut self.scratch);
            let taken = self.values.as_mut().is_some_and(|feed| feed.take(&mut scratch, ready));
            if taken {
                let bytes = 10 + scratch.topic.len() + scratch.payload.len();
                if bytes > self.packet_most {
                    self.everybody.drop_values(1);
                } else {
                    let pkid = if scratch.qos == 0 { 0 } else { self.next_pkid() };
                    let (topic, payload) = (scratch.topic.as_str(), scratch.payload.as_bytes());
                    Outgoing { topic, payload, pkid, retain: scratch.retain }.put(out, self.version);
                }
            }
            self.scratch = scratch;
            if !taken {
                break;
            }
        }
    }

    /// A number that no message in flight has. The window is far below 65,535, so there always is one.
    fn next_pkid(&mut self) -> u16 {
        loop {
            self.last_pkid = self.last_pkid.checked_add(1).unwrap_or(1);
            if !self.in_flight.contains(&self.last_pkid) {
                self.in_flight.push_back(self.last_pkid);
                return self.last_pkid;
            }
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.mailbox.close();
        self.everybody.leave(&self.mailbox);
    }
}

/// The code for a user without the right to subscribe.
pub(super) const fn not_allowed() -> u8 {
    NOT_AUTHORIZED
}

/// What v3.1.1 is told for any refusal.
pub(super) const fn plain(code: u8, version: Version) -> u8 {
    match version {
        Version::V311 if code >= code::FAILURE => code::FAILURE,
        Version::V311 | Version::V5 => code,
    }
}
