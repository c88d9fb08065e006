//! Samples from Sparkplug B edge nodes, with Davy as host application (Sparkplug 3.0).
//!
//! ```text
//!  edge node ─► broker ─► read ─► [queue] ─► host: births, aliases, order ─► journal
//!      ▲           ▲                              │
//!      └── NCMD ───┴─ STATE, rebirth requests ◄───┘
//! ```
//! In come births, data and deaths of edge nodes; out go samples, our STATE certificate, and requests to be
//! announced to anew: the only thing that Davy ever sends into the field, and it moves nothing there.
//! Sparkplug sends data once (QoS 0), so what is lost on the way is noticed by its sequence number and asked
//! for. Promised: when a node or device dies, or the broker is gone, its points are missing at once. Reading
//! waits for the journal, at most a quarter of the keep-alive time; then the connection is given up and the
//! points are missing, rather than values dropped that nobody misses. A node, or a device of a living node, that is
//! gone is one alarm (`davy-source-down`), from which the silence of its points hangs.

mod config;
mod host;
mod mapping;
mod topic;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::{AsyncClient, EventLoop, LastWill, MqttOptions, Packet, QoS};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{debug, warn};

pub use config::{Config, Raw, check_groups};
pub use mapping::{Binding, Mapping, RawBinding};

use self::host::{Host, Output, Wish};
use super::{Failure, Outlet, Source, broker};
use crate::clock::{self, Stopwatch};
use crate::decode::sparkplug::rebirth_request;
use crate::journal::{Entry, Note};
use crate::ledger::Fate;
use crate::model::{PointTable, Timestamp};

/// Larger packets end the connection; a birth of ten thousand metrics has about half a megabyte.
const LARGEST_PACKET: usize = 4 * 1024 * 1024;
/// Messages between the socket and the host.
const QUEUE: usize = 1_024;
/// Messages in one journal entry, at the most.
const BATCH: usize = 256;
/// Commands that may wait to be written.
const REQUESTS: usize = 8_192;
/// Births that do not come are noticed with this grain.
const TICK: Duration = Duration::from_millis(500);
/// The broker must answer the subscription within this.
const SUBSCRIBE_WAIT: Duration = Duration::from_secs(10);

/// A Sparkplug host application.
#[derive(Debug)]
pub struct Sparkplug {
    config: Config,
    host: Host,
}

/// What the reader hands over.
enum Event {
    Connected,
    Subscribed { all: bool },
    Message { publish: rumqttc::Publish, received: Timestamp },
}

impl Sparkplug {
    /// `mapping` holds the bindings of points; the pattern of the configuration is added to it.
    #[must_use]
    pub fn new(config: Config, mapping: Mapping, table: Arc<PointTable>) -> Self {
        let host = Host::new(mapping.with_pattern(config.points.clone()), table, &config.host_id);
        Self { config, host }
    }

    fn state(&self, online: bool, since: u64) -> String {
        format!("{{\"online\":{online},\"timestamp\":{since}}}")
    }

    /// The will says what the birth says, but for `online`: their times are one (Sparkplug 3.0, 5.3).
    fn open(&self, since: u64) -> (AsyncClient, EventLoop) {
        let access = &self.config.access;
        let mut options = MqttOptions::new(&self.config.client_id, &access.broker.host, access.broker.port);
        let will = LastWill::new(topic::state(&self.config.host_id), self.state(false, since), QoS::AtLeastOnce, true);
        options
            .set_transport(access.transport())
            // Asked of a host: what a session keeps for it would be old.
            .set_clean_session(true)
            .set_last_will(will)
            .set_keep_alive(self.config.keep_alive)
            .set_max_packet_size(LARGEST_PACKET, 64 * 1024);
        if let Some((user, password)) = &access.login {
            options.set_credentials(user, &password.0);
        }
        let (client, mut events) = AsyncClient::new(options, REQUESTS);
        events.set_network_options(broker::network());
        (client, events)
    }

    /// Turns messages into samples until the reader is gone; says why if it ends before that.
    async fn work(
        &mut self,
        mut queue: mpsc::Receiver<Event>,
        client: &AsyncClient,
        since: u64,
        out: &Outlet,
        connected: &(dyn Fn() + Send + Sync),
    ) -> Option<String> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut asked: Option<Stopwatch> = None;
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let (mut samples, mut wishes) = (Vec::new(), Vec::new());
            tokio::select! {
                count = queue.recv_many(&mut batch, BATCH) => if count == 0 { return None },
                _ = ticks.tick() => {
                    let mut output = Output { now: clock::now(), samples: &mut samples, account: &out.account };
                    wishes.extend(self.host.tick(&mut output));
                }
            }
            if asked.is_some_and(|asked| asked.elapsed() > SUBSCRIBE_WAIT) {
                return Some("the broker did not answer our subscription".into());
            }
            for event in batch.drain(..) {
                match event {
                    Event::Connected => {
                        let groups = self.config.groups.iter().map(|group| topic::group(group));
                        let topics = std::iter::once(topic::state(&self.config.host_id)).chain(groups);
                        let filters = topics.map(|topic| rumqttc::SubscribeFilter::new(topic, QoS::AtLeastOnce));
                        client.try_subscribe_many(filters).ok()?;
                        asked = Some(Stopwatch::start());
                    }
                    Event::Subscribed { all: false } => {
                        return Some(format!(
                            "a subscription to spBv1.0 was refused; allow it to client {:?} at the broker",
                            self.config.client_id
                        ));
                    }
                    Event::Subscribed { all: true } => {
                        asked = None;
                        wishes.push(Wish::Announce);
                        wishes.extend(self.host.connected(clock::now()));
                        connected();
                    }
                    Event::Message { publish, received } => {
                        let mut output = Output { now: received, samples: &mut samples, account: &out.account };
                        let (result, wish) =
                            self.host.receive(&publish.topic, &publish.payload, publish.retain, &mut output);
                        if let Err(fate) = result {
                            out.account.one(fate);
                        }
                        wishes.extend(wish);
                    }
                }
            }
            wishes.into_iter().for_each(|wish| self.fulfil(client, wish, since));
            if !samples.is_empty() && out.deliver(samples).await.is_err() {
                return Some("the journal is closed".into());
            }
            for (who, away) in self.host.absences() {
                let detail = if away {
                    "边缘节点或设备已离线 / its death was announced, or its birth did not come"
                } else {
                    ""
                };
                let condition = super::down(&format!("{}/{who}", out.account.name), away, detail);
                if out.intake.submit(Entry::Note(Note::Condition(condition))).await.is_err() {
                    return Some("the journal is closed".into());
                }
            }
        }
    }

    fn fulfil(&self, client: &AsyncClient, wish: Wish, since: u64) {
        let sent = match wish {
            Wish::Announce => {
                let state = self.state(true, since);
                client.try_publish(topic::state(&self.config.host_id), QoS::AtLeastOnce, true, state)
            }
            Wish::Rebirth(topic) => {
                debug!(topic, "rebirth requested");
                client.try_publish(topic, QoS::AtMostOnce, false, rebirth_request(milliseconds(clock::now())))
            }
        };
        if let Err(cause) = sent {
            // A rebirth is asked for again when its pause is over.
            warn!(%cause, "sparkplug command not sent");
        }
    }
}

fn milliseconds(time: Timestamp) -> u64 {
    u64::try_from(time.micros() / 1_000).unwrap_or(0)
}

impl Source for Sparkplug {
    async fn run(&mut self, out: &Outlet, connected: &(dyn Fn() + Send + Sync)) -> Result<Infallible, Failure> {
        let since = milliseconds(clock::now());
        let (client, events) = self.open(since);
        let (queue, waiting) = mpsc::channel(QUEUE);
        let patience = self.config.keep_alive / 4;
        let what = {
            let mut reading = std::pin::pin!(read(events, queue, patience, out));
            let mut working = std::pin::pin!(self.work(waiting, &client, since, out, connected));
            tokio::select! {
                ended = &mut working => ended.unwrap_or_else(|| "the connection ended".into()),
                // What was read before the connection broke is not lost with it.
                ended = &mut reading => working.await.unwrap_or(ended),
            }
        };
        let mut samples = Vec::new();
        self.host.lost(&mut Output { now: clock::now(), samples: &mut samples, account: &out.account });
        if !samples.is_empty() && out.deliver(samples).await.is_err() {
            return Err(Failure::new("the journal is closed"));
        }
        Err(Failure::new(format!("broker {}: {what}", self.config.access.broker)))
    }
}

/// Reads the broker until the connection ends or the journal takes nothing for too long; says why. The
/// library's loop is never given up in the middle of a packet.
async fn read(mut events: EventLoop, queue: mpsc::Sender<Event>, patience: Duration, out: &Outlet) -> String {
    loop {
        let event = match events.poll().await {
            Ok(rumqttc::Event::Incoming(packet)) => event(packet),
            Ok(rumqttc::Event::Outgoing(_)) => None,
            Err(error) => return broker::why(&error),
        };
        let Some(event) = event else { continue };
        match timeout(patience, queue.reserve()).await {
            Ok(Ok(room)) => room.send(event),
            Ok(Err(_)) => return "the connection ended".into(),
            Err(_) => {
                out.account.one(Fate::Unacknowledged);
                return "the journal took nothing; its points are missing until it does".into();
            }
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library's enum: only what concerns us")]
fn event(packet: Packet) -> Option<Event> {
    match packet {
        Packet::ConnAck(_) => Some(Event::Connected),
        Packet::SubAck(suback) => {
            let granted = |code: &_| matches!(code, rumqttc::SubscribeReasonCode::Success(_));
            Some(Event::Subscribed { all: suback.return_codes.iter().all(granted) })
        }
        Packet::Publish(publish) => Some(Event::Message { publish, received: clock::now() }),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
