//! What a Sparkplug host knows of its edge nodes: who lives, what the aliases mean, what is missing.
//!
//! ```text
//!            NBIRTH                    gap in seq
//!  Unknown ─────────► Alive ──────────────────────► Doubted
//!     ▲   ◄── lost ──  │ ▲ NBIRTH                      │ NBIRTH within 10 s: Alive
//!     │                ▼ │                             │ none: Unknown, points missing
//!     └── asked ───── Dead ◄── NDEATH with the bdSeq of the birth
//! ```
//! In come messages by topic, and time as an argument; out go samples, and wishes to be announced to anew.
//! Promised: a value is only taken from a node and device that live, and never by an alias that may have
//! changed hands; when one dies, all its points are missing at once. A death of an earlier session is
//! ignored. Bounded: nodes, devices and metrics. Never: I/O, a clock, a wish more often than its pause.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info, warn};

use super::mapping::{Mapping, Name};
use super::topic::{self, Address, Topic, Verb};
use crate::decode::sparkplug::{self, Metric, Payload};
use crate::ledger::{Account, Fate};
use crate::model::{PointIndex, PointTable, Reason, Sample, Timestamp};

/// A value in a birth that last changed longer before it than this is given the time of the birth.
const FRESH: Duration = Duration::from_secs(60);
/// More nodes are not listened to.
const NODES: usize = 4_096;
/// More devices of one node are not listened to.
const DEVICES: usize = 4_096;
/// Metrics of all nodes together whose names are remembered.
const METRICS: usize = 1_000_000;
/// A birth that is due for so long will not come: the points are missing.
const BIRTH_WAIT: Duration = Duration::from_secs(10);
/// Between two requests to one node, at first and at most: it doubles while nothing comes of them.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// What is to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Our own STATE, once more: somebody said that we are away.
    Announce,
    /// A rebirth request, on this topic.
    Rebirth(String),
}

#[derive(Debug)]
pub struct Host {
    mapping: Mapping,
    nodes: HashMap<String, Node>,
    book: Book,
    own_state: String,
    crowded: bool,
    told: HashMap<String, bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Unknown,
    Alive,
    /// A message is missing, perhaps a birth: aliases may mean something else by now.
    Doubted,
    Dead,
}

#[derive(Debug)]
struct Node {
    group: Box<str>,
    name: Box<str>,
    standing: Standing,
    /// Of the last birth.
    bd_seq: Option<u64>,
    /// The sequence number that comes next.
    next: u8,
    own: Edge,
    devices: HashMap<Box<str>, Edge>,
    /// The node's clock minus ours, in microseconds, as far as it can be believed.
    skew_micros: i64,
    /// Since when a birth is due.
    awaited: Option<Timestamp>,
    /// Its absence is certain: it died, or its birth did not come. `None` until something is known.
    away: Option<bool>,
    /// The same of devices that bindings name, and since when their births are due.
    absent: BTreeMap<Box<str>, bool>,
    due: BTreeMap<Box<str>, Timestamp>,
    asked: Option<Timestamp>,
    pause: Duration,
}

/// A node's own metrics or those of one device: what its birth said.
#[derive(Debug, Default)]
struct Edge {
    metrics: Vec<Known>,
    names: HashMap<Box<str>, usize>,
    /// An alias that was given twice leads nowhere.
    aliases: HashMap<u64, Option<usize>>,
    /// The node was born anew and this device was not yet.
    awaited: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    point: Option<PointIndex>,
    datatype: u32,
}

/// What is known of points.
#[derive(Debug)]
struct Book {
    table: Arc<PointTable>,
    states: Vec<State>,
    /// Names in all births.
    metrics: usize,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// Source time of the latest live sample or of its absence.
    last: Option<Timestamp>,
    missing: bool,
    /// The metric that it belongs to.
    owner: Option<Box<str>>,
}

/// Where samples and counts go while one message is worked on.
pub(super) struct Output<'a> {
    pub now: Timestamp,
    pub samples: &'a mut Vec<Sample>,
    pub account: &'a Account,
}

impl Host {
    #[must_use]
    pub fn new(mapping: Mapping, table: Arc<PointTable>, host_id: &str) -> Self {
        let states = vec![State::default(); table.len()];
        let book = Book { table, states, metrics: 0 };
        let mut host = Self {
            nodes: HashMap::new(),
            book,
            own_state: topic::state(host_id),
            crowded: false,
            told: HashMap::new(),
            mapping,
        };
        let bound: Vec<(String, String)> =
            host.mapping.nodes().map(|(group, node)| (group.to_owned(), node.to_owned())).collect();
        for (group, name) in bound {
            host.nodes.insert(format!("{group}/{name}"), Node::new(&group, &name));
        }
        host
    }

    /// The broker let us in: nobody's state is known.
    pub(super) fn connected(&mut self, now: Timestamp) -> Vec<Wish> {
        let nodes = self.nodes.values_mut();
        nodes
            .filter_map(|node| {
                node.standing = Standing::Unknown;
                node.awaited = Some(now);
                node.asked = None;
                node.ask(now)
            })
            .collect()
    }

    /// The connection is gone: nobody knows how the field stands (Sparkplug 3.0, 5.3: all metrics STALE).
    pub(super) fn lost(&mut self, out: &mut Output<'_>) {
        for node in self.nodes.values_mut() {
            node.forget(&self.mapping, &mut self.book, out);
            node.standing = Standing::Unknown;
        }
    }

    /// Births that are due and do not come.
    pub(super) fn tick(&mut self, out: &mut Output<'_>) -> Vec<Wish> {
        let mut wishes = Vec::new();
        for node in self.nodes.values_mut() {
            let (group, name) = (node.group.clone(), node.name.clone());
            let overdue = |since: Option<Timestamp>| since.is_some_and(|since| out.now.since(since) >= BIRTH_WAIT);
            let gone: Vec<Box<str>> =
                node.devices.iter().filter(|(_, edge)| overdue(edge.awaited)).map(|(name, _)| name.clone()).collect();
            if overdue(node.awaited) {
                warn!(%group, node = %name, "edge node did not announce itself; its points are missing");
                node.forget(&self.mapping, &mut self.book, out);
                node.standing = Standing::Unknown;
                node.away = Some(true);
            } else {
                for device in gone {
                    warn!(%group, node = %name, %device, "device was not announced again; its points are missing");
                    node.forget_device(&device, &self.mapping, &mut self.book, out);
                }
                node.miss_devices(out.now);
            }
            if matches!(node.standing, Standing::Unknown | Standing::Doubted) {
                wishes.extend(node.ask(out.now));
            }
        }
        wishes
    }

    /// The absences of nodes and devices that bindings name, `group/node` or `group/node/device`, that began (true) or
    /// ended since the last look. One that is away takes its devices with it: they are not told beside it.
    pub(super) fn absences(&mut self) -> Vec<(String, bool)> {
        let mut news = Vec::new();
        for (group, name) in self.mapping.nodes() {
            let key = format!("{group}/{name}");
            let Some((node, away)) = self.nodes.get(&key).and_then(|node| Some((node, node.away?))) else { continue };
            for (device, absent) in self.mapping.devices(group, name).filter_map(|one| node.absent.get_key_value(one)) {
                tell(&mut self.told, format!("{key}/{device}"), *absent && !away, &mut news);
            }
            tell(&mut self.told, key, away, &mut news);
        }
        news
    }

    /// One message. `Err` is the fate of a message of which nothing could be used, counted by the caller.
    pub(super) fn receive(
        &mut self,
        topic: &str,
        payload: &[u8],
        retained: bool,
        out: &mut Output<'_>,
    ) -> (Result<(), Fate>, Option<Wish>) {
        let address = match topic::read(topic) {
            Some(Topic::Edge(address)) => address,
            Some(Topic::State(_)) if topic == self.own_state => {
                return (Ok(()), says_offline(payload).then_some(Wish::Announce));
            }
            Some(Topic::State(_) | Topic::Command) => return (Ok(()), None),
            None => return (Err(Fate::UnknownTopic), None),
        };
        let key = format!("{}/{}", address.group, address.node);
        if !self.nodes.contains_key(&key) {
            if self.nodes.len() >= NODES {
                if !std::mem::replace(&mut self.crowded, true) {
                    warn!(node = key, "edge node is not listened to: there are {NODES} already");
                }
                return (Err(Fate::Refused), None);
            }
            self.nodes.insert(key.clone(), Node::new(address.group, address.node));
        }
        let Some(node) = self.nodes.get_mut(&key) else { return (Err(Fate::Refused), None) };
        if retained {
            // Edge nodes must not retain; nobody knows how old it is.
            let wish = if node.standing == Standing::Alive { None } else { node.ask(out.now) };
            return (Err(Fate::Late), wish);
        }
        let mut at_work = AtWork { node, mapping: &self.mapping, book: &mut self.book, wanted: false };
        let plain = match sparkplug::unpack(payload) {
            Ok(plain) => plain,
            Err(error) => return at_work.unreadable(address, error, out),
        };
        let read = match sparkplug::read(&plain) {
            Ok(read) => read,
            Err(error) => return at_work.unreadable(address, error, out),
        };
        let result = match (address.verb, address.device) {
            (Verb::Birth, None) => at_work.node_birth(&read, out),
            (Verb::Birth, Some(device)) => at_work.device_birth(device, &read, out),
            (Verb::Data, device) => at_work.data(device, &read, out),
            (Verb::Death, None) => at_work.node_death(&read, out),
            (Verb::Death, Some(device)) => at_work.device_death(device, &read, out),
        };
        let wish = if at_work.wanted { at_work.node.ask(out.now) } else { None };
        (result, wish)
    }
}

fn tell(told: &mut HashMap<String, bool>, who: String, away: bool, news: &mut Vec<(String, bool)>) {
    if told.insert(who.clone(), away) != Some(away) {
        news.push((who, away));
    }
}

/// `{"online":false,..}`
fn says_offline(payload: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Certificate {
        online: bool,
    }
    serde_json::from_slice::<Certificate>(payload).is_ok_and(|state| !state.online)
}

/// A node while one of its messages is worked on.
struct AtWork<'a> {
    node: &'a mut Node,
    mapping: &'a Mapping,
    book: &'a mut Book,
    /// A rebirth is wanted.
    wanted: bool,
}

impl AtWork<'_> {
    /// Whatever it said is lost, and its sequence number with it.
    fn unreadable(
        mut self,
        address: Address<'_>,
        error: sparkplug::Error,
        out: &mut Output<'_>,
    ) -> (Result<(), Fate>, Option<Wish>) {
        debug!(group = address.group, node = address.node, %error, "sparkplug payload not read");
        if address.verb == Verb::Death && address.device.is_none() {
            // A death that cannot be told from another is believed: missing values alarm nobody falsely.
            self.die(out);
        } else {
            self.doubt(out);
        }
        self.wanted = true;
        let fate = match error {
            sparkplug::Error::Malformed => Fate::Malformed,
            sparkplug::Error::TooLarge => Fate::TooLarge,
        };
        (Err(fate), self.node.ask(out.now))
    }

    fn node_birth(&mut self, birth: &Payload<'_>, out: &mut Output<'_>) -> Result<(), Fate> {
        let seq = birth.seq.unwrap_or(0);
        let Ok(seq) = u8::try_from(seq) else {
            self.wanted = true;
            return Err(Fate::Malformed);
        };
        let node = &mut *self.node;
        node.standing = Standing::Alive;
        node.bd_seq = session(birth);
        node.next = seq.wrapping_add(1);
        node.awaited = None;
        node.away = Some(false);
        let devices = self.mapping.devices(&node.group, &node.name);
        node.due = devices.map(|device| (device.into(), out.now)).collect();
        node.pause = FIRST_PAUSE;
        node.note_clock(birth, out.now);
        for device in node.devices.values_mut() {
            device.awaited.get_or_insert(out.now);
        }
        self.learn(None, birth, out)
    }

    fn device_birth(&mut self, device: &str, birth: &Payload<'_>, out: &mut Output<'_>) -> Result<(), Fate> {
        self.check_alive(birth, out)?;
        if self.node.devices.len() >= DEVICES && !self.node.devices.contains_key(device) {
            return Err(Fate::Refused);
        }
        self.node.note_clock(birth, out.now);
        if self.node.due.remove(device).is_some() || self.node.absent.contains_key(device) {
            self.node.absent.insert(device.into(), false);
        }
        self.learn(Some(device), birth, out)
    }

    fn data(&mut self, device: Option<&str>, data: &Payload<'_>, out: &mut Output<'_>) -> Result<(), Fate> {
        self.check_alive(data, out)?;
        self.node.note_clock(data, out.now);
        let certain = self.node.standing == Standing::Alive;
        let edge = match device {
            None => Some(&self.node.own),
            Some(device) => self.node.devices.get(device),
        };
        // A device between its node's birth and its own is not yet alive again.
        let Some(edge) = edge.filter(|edge| edge.awaited.is_none()) else {
            self.wanted = true;
            return Err(Fate::Unborn);
        };
        for metric in &data.metrics {
            let place = match (metric.name, metric.alias) {
                (Some(name), _) => edge.names.get(name).copied(),
                (None, Some(alias)) if certain => edge.aliases.get(&alias).copied().flatten(),
                (None, Some(_) | None) => None,
            };
            match place.and_then(|place| edge.metrics.get(place)) {
                None => {
                    self.wanted = true;
                    out.account.one(Fate::Unborn);
                }
                Some(Known { point: None, .. }) => out.account.one(Fate::UnknownPoint),
                Some(Known { point: Some(point), datatype }) => {
                    let time = metric.timestamp.or(data.timestamp).map(moment);
                    self.book.store(*point, metric, *datatype, time, out);
                }
            }
        }
        Ok(())
    }

    fn node_death(&mut self, death: &Payload<'_>, out: &mut Output<'_>) -> Result<(), Fate> {
        let lives = matches!(self.node.standing, Standing::Alive | Standing::Doubted);
        match (self.node.bd_seq, session(death)) {
            (Some(born), Some(died)) if lives && born != died => return Err(Fate::OldDeath),
            (Some(_), Some(_)) => {}
            // Not to be told from the death of an earlier session: believed, and asked about.
            (None, _) | (_, None) => self.wanted = lives,
        }
        self.die(out);
        Ok(())
    }

    fn die(&mut self, out: &mut Output<'_>) {
        if self.node.standing != Standing::Dead {
            info!(group = %self.node.group, node = %self.node.name, "edge node died; its points are missing");
            out.account.one(Fate::Death);
        }
        self.node.forget(self.mapping, self.book, out);
        self.node.standing = Standing::Dead;
        self.node.away = Some(true);
    }

    fn device_death(&mut self, device: &str, death: &Payload<'_>, out: &mut Output<'_>) -> Result<(), Fate> {
        let alive = self.check_alive(death, out);
        if self.node.devices.contains_key(device) {
            info!(group = %self.node.group, node = %self.node.name, device, "device died; its points are missing");
            out.account.one(Fate::Death);
        }
        if self.mapping.devices(&self.node.group, &self.node.name).any(|bound| bound == device) {
            self.node.due.remove(device);
            self.node.absent.insert(device.into(), true);
        }
        self.node.forget_device(device, self.mapping, self.book, out);
        alive
    }

    /// Whether the node may speak, and whether something it said is missing before this.
    fn check_alive(&mut self, said: &Payload<'_>, out: &mut Output<'_>) -> Result<(), Fate> {
        match self.node.standing {
            Standing::Unknown | Standing::Dead => {
                self.wanted = true;
                return Err(Fate::Unborn);
            }
            Standing::Doubted => {
                self.wanted = true;
                return Ok(());
            }
            Standing::Alive => {}
        }
        if said.seq == Some(u64::from(self.node.next)) {
            self.node.next = self.node.next.wrapping_add(1);
        } else {
            let Node { group, name, next, .. } = &*self.node;
            debug!(%group, node = %name, expected = next, found = ?said.seq, "sparkplug message missing");
            self.doubt(out);
            self.wanted = true;
        }
        Ok(())
    }

    fn doubt(&mut self, out: &mut Output<'_>) {
        if self.node.standing == Standing::Alive {
            out.account.one(Fate::Gap);
            self.node.standing = Standing::Doubted;
            self.node.awaited = Some(out.now);
        }
    }

    /// A birth: the names and aliases in force from here on, and the values at this moment.
    fn learn(&mut self, device: Option<&str>, birth: &Payload<'_>, out: &mut Output<'_>) -> Result<(), Fate> {
        let old = match device {
            None => std::mem::take(&mut self.node.own),
            Some(device) => self.node.devices.remove(device).unwrap_or_default(),
        };
        self.book.metrics -= old.metrics.len();
        let mut edge = Edge::default();
        let (group, node) = (self.node.group.clone(), self.node.name.clone());
        let full = self.book.metrics + birth.metrics.len() > METRICS;
        for metric in birth.metrics.iter().filter(|_| !full) {
            let Some(metric_name) = metric.name else {
                out.account.one(Fate::Malformed);
                continue;
            };
            let name = Name { group: &group, node: &node, device: device.unwrap_or_default(), metric: metric_name };
            let point = self.book.claim(name, self.mapping, out);
            let place = edge.metrics.len();
            if edge.names.insert(metric_name.into(), place).is_some() {
                out.account.one(Fate::Malformed);
            }
            edge.metrics.push(Known { point, datatype: metric.datatype });
            if let Some(alias) = metric.alias {
                edge.aliases.entry(alias).and_modify(|twice| *twice = None).or_insert(Some(place));
            }
            if let Some(point) = point {
                // What a birth says holds at the birth, however long ago the value last changed; but it is
                // given that time only where its own would stand before the point's absence, or would make
                // it look like back-fill: the node vouches for it now.
                let own = metric.timestamp.map(moment);
                let at_birth = birth.timestamp.map(moment);
                let last = self.book.states.get(point.at()).and_then(|state| state.last);
                let in_order = own.is_some_and(|own| last.is_none_or(|last| own >= last));
                let fresh = own.is_some_and(|own| at_birth.is_none_or(|birth| birth.since(own) <= FRESH));
                let time = if metric.historical || (in_order && fresh) { own } else { at_birth.max(own) };
                self.book.store(point, metric, metric.datatype, time, out);
            }
        }
        self.book.metrics += edge.metrics.len();
        let bound = edge.metrics.iter().filter_map(|known| known.point).collect::<HashSet<_>>();
        info!(%group, %node, device, metrics = edge.metrics.len(), points = bound.len(), "sparkplug birth");
        let expected = self.mapping.bound(&group, &node).iter().filter(|b| *b.device == *device.unwrap_or_default());
        for absent in expected.filter(|expected| !bound.contains(&expected.point)) {
            let metric = &absent.metric;
            warn!(%group, %node, device, %metric, "the birth lists no such metric; its point is missing");
            self.book.miss(absent.point, self.node.skew_micros, out);
        }
        for known in &old.metrics {
            if let Some(point) = known.point.filter(|point| !bound.contains(point)) {
                self.book.miss(point, self.node.skew_micros, out);
            }
        }
        match device {
            None => self.node.own = edge,
            Some(device) => drop(self.node.devices.insert(device.into(), edge)),
        }
        if full {
            warn!(%group, %node, device, "birth not taken: more than {METRICS} metrics in all");
            return Err(Fate::TooLarge);
        }
        Ok(())
    }
}

/// The session that a birth or death belongs to.
fn session(payload: &Payload<'_>) -> Option<u64> {
    let metric = payload.metrics.iter().find(|metric| metric.name == Some("bdSeq"))?;
    // Its type is a 64-bit integer (Sparkplug 3.0, 6.4), and below 256 in practice.
    const INT64: u32 = 4;
    Metric { datatype: 0, ..*metric }.number(INT64).filter(|number| *number >= 0.0).map(|number| number as u64)
}

/// Milliseconds as Sparkplug counts them.
fn moment(ms: u64) -> Timestamp {
    Timestamp::from_micros(i64::try_from(ms.saturating_mul(1_000)).unwrap_or(i64::MAX))
}

impl Node {
    fn new(group: &str, name: &str) -> Self {
        Self {
            group: group.into(),
            name: name.into(),
            standing: Standing::Unknown,
            bd_seq: None,
            next: 0,
            own: Edge::default(),
            devices: HashMap::new(),
            skew_micros: 0,
            awaited: None,
            away: None,
            absent: BTreeMap::new(),
            due: BTreeMap::new(),
            asked: None,
            pause: FIRST_PAUSE,
        }
    }

    /// Devices whose births are due and do not come.
    fn miss_devices(&mut self, now: Timestamp) {
        let overdue = self.due.iter().filter(|(_, since)| now.since(**since) >= BIRTH_WAIT);
        let gone: Vec<Box<str>> = overdue.map(|(device, _)| device.clone()).collect();
        for device in gone {
            self.due.remove(&device);
            self.absent.insert(device, true);
        }
    }

    /// A rebirth request, unless the last one is too young.
    fn ask(&mut self, now: Timestamp) -> Option<Wish> {
        if let Some(asked) = self.asked {
            // A clock that was set back must not silence us.
            if now >= asked && now.since(asked) < self.pause {
                return None;
            }
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
        self.asked = Some(now);
        Some(Wish::Rebirth(topic::command(&self.group, &self.name)))
    }

    /// So that a point's absence stands in the order of the node's own times, not of ours.
    fn note_clock(&mut self, said: &Payload<'_>, now: Timestamp) {
        let Some(time) = said.timestamp.map(moment) else { return };
        // Believed as far as a sample's time is.
        let sample = Sample::received(PointIndex(0), 0.0, Some(time), now);
        self.skew_micros = sample.source_time.micros() - now.micros();
    }

    /// No birth holds any more: all points of the node and its devices are missing.
    fn forget(&mut self, mapping: &Mapping, book: &mut Book, out: &mut Output<'_>) {
        self.awaited = None;
        self.due.clear();
        for (_, edge) in self.devices.drain() {
            book.close(&edge, self.skew_micros, out);
        }
        let own = std::mem::take(&mut self.own);
        book.close(&own, self.skew_micros, out);
        for bound in mapping.bound(&self.group, &self.name) {
            book.miss(bound.point, self.skew_micros, out);
        }
    }

    fn forget_device(&mut self, device: &str, mapping: &Mapping, book: &mut Book, out: &mut Output<'_>) {
        if let Some(edge) = self.devices.remove(device) {
            book.close(&edge, self.skew_micros, out);
        }
        for bound in mapping.bound(&self.group, &self.name).iter().filter(|bound| *bound.device == *device) {
            book.miss(bound.point, self.skew_micros, out);
        }
    }
}

impl Book {
    /// The point of a metric. A point that another metric has is not given away.
    fn claim(&mut self, name: Name<'_>, mapping: &Mapping, out: &Output<'_>) -> Option<PointIndex> {
        let key = name.key();
        let point = mapping.point(name, &key)?;
        let state = self.states.get_mut(point.at())?;
        match &state.owner {
            None => state.owner = Some(key.into()),
            Some(owner) if **owner == *key => {}
            Some(owner) => {
                let id = self.table.get(point).map(|point| point.id.clone()).unwrap_or_default();
                warn!(point = %id, metric = key, %owner, "two metrics make one point; the first one keeps it");
                out.account.one(Fate::UnknownPoint);
                return None;
            }
        }
        Some(point)
    }

    fn close(&mut self, edge: &Edge, skew_micros: i64, out: &mut Output<'_>) {
        self.metrics -= edge.metrics.len();
        for point in edge.metrics.iter().filter_map(|known| known.point) {
            self.miss(point, skew_micros, out);
        }
    }

    /// The point has no value any more; said once.
    fn miss(&mut self, point: PointIndex, skew_micros: i64, out: &mut Output<'_>) {
        let Some(state) = self.states.get_mut(point.at()) else { return };
        if std::mem::replace(&mut state.missing, true) {
            return;
        }
        let in_its_time = Timestamp::from_micros(out.now.micros().saturating_add(skew_micros));
        let time = match state.last {
            Some(last) => in_its_time.max(last + Duration::from_micros(1)),
            None => in_its_time,
        };
        state.last = Some(time);
        out.samples.push(Sample { source_time: time, ..Sample::missing(point, Reason::NotPolled, out.now) });
    }

    fn store(
        &mut self,
        point: PointIndex,
        metric: &Metric<'_>,
        declared: u32,
        time: Option<Timestamp>,
        out: &mut Output<'_>,
    ) {
        let (Some(state), Some(about)) = (self.states.get_mut(point.at()), self.table.get(point)) else { return };
        let number = if metric.null { None } else { metric.number(declared) };
        let mut sample = Sample::received(point, number.unwrap_or(0.0), time, out.now);
        if number.is_none() {
            sample.quality = sample.quality.and(Reason::NotPolled);
            if !metric.null {
                out.account.one(Fate::NoValue);
            }
        }
        if sample.quality.has(Reason::NonFinite) {
            out.account.one(Fate::BadValue);
        }
        if sample.quality.has(Reason::ClockWrong) {
            out.account.one(Fate::BadTime);
        }
        match metric.quality {
            None | Some(192) => {}
            // STALE: the node itself has no fresh value.
            Some(500) => sample.quality = sample.quality.and(Reason::NotPolled),
            Some(_) => sample.quality = sample.quality.and(Reason::SensorFault),
        }
        let outside = |range: crate::model::Range| !(range.low..=range.high).contains(&sample.value);
        if sample.quality.usable() && about.range.is_some_and(outside) {
            sample.quality = sample.quality.and(Reason::OverRange);
        }
        if metric.historical {
            sample.quality = sample.quality.and(Reason::Late);
        } else {
            state.last = state.last.max(Some(sample.source_time));
            state.missing = false;
        }
        out.samples.push(sample);
    }
}

#[cfg(test)]
pub(super) mod tests;
