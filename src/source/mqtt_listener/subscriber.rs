//! Alarm messages on their way to MQTT subscribers.
//!
//! ```text
//!  notify ── publish_alarm ─► Mailbox per subscriber ─► its connection ─► socket
//!  board  ── open alarms at the moment of SUBSCRIBE ──┘ (retain = 1)
//! ```
//! Promised: an alarm message is either handed to a subscriber or counted as not handed; a mailbox that is
//! full closes its subscriber, who gets the whole open set again on coming back. The open set and the live
//! changes of one alarm never cross on the way. Never: one subscriber waiting for another.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use tokio::sync::Notify;

use super::filter::{Branch, Filter, ROOT};
use crate::alarm::{Alarm, OccurrenceId, Priority, Standing};
use crate::board::{Board, Published};
use crate::model::{PointTable, Reason};

/// Everybody who is subscribed through a listener; one for all listeners of the gateway.
#[derive(Debug)]
pub struct Subscribers {
    pub(super) board: Arc<Board>,
    mailboxes: RwLock<Vec<Arc<Mailbox>>>,
    /// Changes that were published here before the board showed them.
    ahead: Mutex<BTreeMap<OccurrenceId, Arc<Published>>>,
    values_dropped: AtomicU64,
    retained: Retained,
}

/// The payload of an alarm as it stands, for the messages that a new subscriber gets: the same form as the
/// live changes have, made by whoever makes those.
pub type Retained = fn(&Alarm) -> Vec<u8>;

impl Subscribers {
    /// Changes ahead of the board that are remembered. The board is shown each change at about the same
    /// time as subscribers, so there are never more than a few.
    const AHEAD: usize = 4_096;

    #[must_use]
    pub fn new(board: Arc<Board>, retained: Retained) -> Arc<Self> {
        Arc::new(Self {
            board,
            mailboxes: RwLock::default(),
            ahead: Mutex::default(),
            values_dropped: AtomicU64::new(0),
            retained,
        })
    }

    /// Hands a live change to every subscriber whose filter matches; says to how many.
    pub fn publish_alarm(&self, published: &Arc<Published>, payload: Bytes) -> usize {
        self.remember(published);
        let alarm = &published.change.alarm;
        let topic = format!("{ROOT}{}/{}/{}", alarm.site, Branch::Alarm.word(), alarm.id);
        let message = Arc::new(Message { topic, payload });
        let mailboxes = self.mailboxes.read().unwrap_or_else(PoisonError::into_inner);
        mailboxes.iter().filter(|mailbox| mailbox.put(alarm, &message)).count()
    }

    pub(super) fn retained(&self) -> Retained {
        self.retained
    }

    /// Live values that slow subscribers did not get.
    #[must_use]
    pub fn values_dropped(&self) -> u64 {
        self.values_dropped.load(Relaxed)
    }

    /// Connections that hold at least one subscription.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.mailboxes.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(super) fn drop_values(&self, count: u64) {
        self.values_dropped.fetch_add(count, Relaxed);
    }

    pub(super) fn enter(&self, mailbox: Arc<Mailbox>) {
        self.mailboxes.write().unwrap_or_else(PoisonError::into_inner).push(mailbox);
    }

    pub(super) fn leave(&self, mailbox: &Arc<Mailbox>) {
        self.mailboxes.write().unwrap_or_else(PoisonError::into_inner).retain(|other| !Arc::ptr_eq(other, mailbox));
    }

    fn remember(&self, published: &Arc<Published>) {
        let shown = self.board.last_change();
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        ahead.retain(|_, change| change.id > shown);
        if published.id > shown {
            let newest = ahead.entry(published.change.alarm.id.clone()).or_insert_with(|| published.clone());
            if newest.id < published.id {
                *newest = published.clone();
            }
        }
        if ahead.len() > Self::AHEAD {
            ahead.pop_first();
        }
    }

    /// The open alarms, with the changes that the board has not shown yet.
    fn open(&self) -> BTreeMap<OccurrenceId, Arc<Alarm>> {
        // In this order: what `last_change` says is shown is in the set that is read after it.
        let shown = self.board.last_change();
        let mut open: BTreeMap<_, _> =
            self.board.open_alarms().into_iter().map(|alarm| (alarm.id.clone(), alarm)).collect();
        for (id, change) in self.ahead.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if change.id <= shown {
                continue;
            }
            if change.change.alarm.standing == Standing::Normal {
                open.remove(id);
            } else {
                open.insert(id.clone(), Arc::new(change.change.alarm.clone()));
            }
        }
        open
    }
}

/// Topic and payload, shared by all who get it.
#[derive(Debug)]
pub(super) struct Message {
    pub topic: String,
    pub payload: Bytes,
}

impl Message {
    /// Longest packet that it can become.
    fn packet_bytes(&self) -> usize {
        // Header up to 5, topic length 2, packet id 2, property length 1.
        10 + self.topic.len() + self.payload.len()
    }
}

#[derive(Debug)]
pub(super) struct Subscription {
    pub text: String,
    pub filter: Filter,
    pub qos: u8,
}

/// Live messages on their way to one subscriber: the most urgent first, changes of one alarm in their order.
#[derive(Debug, Default)]
struct Live {
    /// By urgency, then as they came.
    messages: BTreeMap<(Priority, u64), (OccurrenceId, Arc<Message>, u8)>,
    /// Where each alarm's messages are.
    alarms: BTreeMap<OccurrenceId, VecDeque<(Priority, u64)>>,
    next: u64,
}

impl Live {
    fn push(&mut self, alarm: &Alarm, message: Arc<Message>, qos: u8) {
        // An exercise holds nothing up.
        let urgency = if alarm.quality.has(Reason::Exercise) { Priority::P4 } else { alarm.priority };
        let places = self.alarms.entry(alarm.id.clone()).or_default();
        // What an alarm was before it became worse goes with the same urgency, and before it.
        for place in places.iter_mut().filter(|place| place.0 > urgency) {
            let worse = (urgency, place.1);
            if let Some(earlier) = self.messages.remove(place) {
                self.messages.insert(worse, earlier);
            }
            *place = worse;
        }
        let place = (urgency, self.next);
        self.next += 1;
        places.push_back(place);
        self.messages.insert(place, (alarm.id.clone(), message, qos));
    }

    /// QoS of the next.
    fn first(&self) -> Option<u8> {
        self.messages.first_key_value().map(|(_, (.., qos))| *qos)
    }

    fn pop(&mut self) -> Option<(Arc<Message>, u8)> {
        let (_, (alarm, message, qos)) = self.messages.pop_first()?;
        if let Some(places) = self.alarms.get_mut(&alarm) {
            places.pop_front();
            if places.is_empty() {
                self.alarms.remove(&alarm);
            }
        }
        Some((message, qos))
    }
}

/// What a connection sends next.
#[derive(Debug)]
pub(super) struct Letter {
    pub message: Arc<Message>,
    pub qos: u8,
    pub retain: bool,
}

/// The alarm messages of one subscriber.
#[derive(Debug)]
pub(super) struct Mailbox {
    /// Rung when there is something new.
    pub bell: Notify,
    most_bytes: usize,
    packet_most: usize,
    retained: Retained,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    subscriptions: Vec<Subscription>,
    live: Live,
    live_bytes: usize,
    /// Open alarms of a new subscription that are not sent yet, most urgent first. Kept as records, so that
    /// ten thousand of them cost nothing until the socket takes them.
    retained: BTreeMap<(Priority, OccurrenceId), (Arc<Alarm>, u8)>,
    /// A message did not fit: nothing more is taken, and the subscriber is let go.
    overflowed: bool,
    closed: bool,
}

impl Mailbox {
    pub(super) fn new(most_bytes: usize, packet_most: usize, retained: Retained) -> Arc<Self> {
        Arc::new(Self { bell: Notify::new(), most_bytes, packet_most, retained, queue: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a live message if a subscription matches and there is room.
    fn put(&self, alarm: &Alarm, message: &Arc<Message>) -> bool {
        let mut queue = self.lock();
        if queue.closed || queue.overflowed {
            return false;
        }
        let Some(qos) = queue.best(&alarm.site, Branch::Alarm, alarm.id.as_str()) else { return false };
        let bytes = message.packet_bytes();
        if queue.live_bytes + bytes > self.most_bytes || bytes > self.packet_most {
            queue.overflowed = true;
            self.bell.notify_one();
            return false;
        }
        for priority in Priority::ALL {
            // This is newer than the open set that still waits.
            queue.retained.remove(&(priority, alarm.id.clone()));
        }
        queue.live_bytes += bytes;
        queue.live.push(alarm, message.clone(), qos);
        self.bell.notify_one();
        true
    }

    /// The next message; live ones before those of the open set. `ready` says whether one of that QoS can go.
    pub(super) fn take(&self, ready: impl Fn(u8) -> bool) -> Option<Letter> {
        let mut queue = self.lock();
        if let Some(qos) = queue.live.first() {
            if !ready(qos) {
                return None;
            }
            let (message, qos) = queue.live.pop()?;
            queue.live_bytes -= message.packet_bytes();
            return Some(Letter { message, qos, retain: false });
        }
        let (_, (_, qos)) = queue.retained.first_key_value()?;
        if !ready(*qos) {
            return None;
        }
        let (_, (alarm, qos)) = queue.retained.pop_first()?;
        let topic = format!("{ROOT}{}/{}/{}", alarm.site, Branch::Alarm.word(), alarm.id);
        let message = Message { topic, payload: (self.retained)(&alarm).into() };
        if message.packet_bytes() > self.packet_most {
            queue.overflowed = true;
            return None;
        }
        Some(Letter { message: Arc::new(message), qos, retain: true })
    }

    pub(super) fn overflowed(&self) -> bool {
        self.lock().overflowed
    }

    /// Nothing is handed to this subscriber any more.
    pub(super) fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        queue.live = Live::default();
        queue.retained.clear();
    }

    pub(super) fn subscriptions(&self) -> usize {
        self.lock().subscriptions.len()
    }

    /// Does it hold a subscription of this text?
    pub(super) fn holds(&self, text: &str) -> bool {
        self.lock().subscriptions.iter().any(|subscription| subscription.text == text)
    }

    /// Adds or replaces a subscription. With `resend`, the open alarms that it matches are sent.
    pub(super) fn subscribe(&self, everybody: &Subscribers, added: Subscription, resend: bool) {
        // A change that is published meanwhile waits for this lock and comes after the open set.
        let mut queue = self.lock();
        if resend && added.filter.reaches(Branch::Alarm) {
            for (id, alarm) in everybody.open() {
                if added.filter.matches(&alarm.site, Branch::Alarm, id.as_str()) {
                    queue.retained.insert((alarm.priority, id), (alarm, added.qos));
                }
            }
        }
        queue.subscriptions.retain(|old| old.text != added.text);
        queue.subscriptions.push(added);
    }

    /// False when there was none.
    pub(super) fn unsubscribe(&self, text: &str) -> bool {
        let mut queue = self.lock();
        let before = queue.subscriptions.len();
        queue.subscriptions.retain(|old| old.text != text);
        queue.subscriptions.len() < before
    }

    /// Is anything below `point/` wanted?
    pub(super) fn wants_points(&self) -> bool {
        self.lock().subscriptions.iter().any(|subscription| subscription.filter.reaches(Branch::Point))
    }

    /// For each point, the QoS at which it is wanted, if it is.
    pub(super) fn wanted_points(&self, table: &PointTable) -> Vec<Option<u8>> {
        let queue = self.lock();
        table.list().iter().map(|point| queue.best(&point.site, Branch::Point, point.local())).collect()
    }
}

impl Queue {
    /// Overlapping subscriptions get a message once, at the best of their QoS.
    fn best(&self, site: &str, branch: Branch, leaf: &str) -> Option<u8> {
        self.subscriptions
            .iter()
            .filter(|subscription| subscription.filter.matches(site, branch, leaf))
            .map(|subscription| subscription.qos)
            .max()
    }
}
