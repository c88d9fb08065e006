//! One MQTT connection of a pretend sensor box: takes payloads without ever making the sensor wait,
//! reconnects by itself, and counts what became of every message.
//!
//! A message that finds the queue full is dropped and counted: a real sensor has no patience either.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rumqttc::{AsyncClient, ClientError, Event, EventLoop, MqttOptions, Outgoing, Packet, QoS};
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::stop::until_stopped;

/// Messages waiting for the connection; the newest is dropped when full.
const WAITING: usize = 1_024;
const RECONNECT_AFTER: Duration = Duration::from_millis(250);

/// Delivery promise of a published message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Qos {
    /// Sent once, never confirmed.
    AtMostOnce,
    /// Confirmed by the broker.
    #[default]
    AtLeastOnce,
}

/// User and password of an MQTT connection.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login {{ user: {:?}, password: *** }}", self.user)
    }
}

/// What became of the messages of one or several connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Taken for sending.
    pub accepted: u64,
    /// Not taken, because the connection was too slow or away.
    pub dropped: u64,
    /// Written to the connection.
    pub sent: u64,
    /// Confirmed by the broker (QoS 1 only).
    pub acknowledged: u64,
    /// Connections made after the first.
    pub reconnects: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.dropped += other.dropped;
        self.sent += other.sent;
        self.acknowledged += other.acknowledged;
        self.reconnects += other.reconnects;
    }
}

#[derive(Default)]
struct Counters {
    accepted: AtomicU64,
    dropped: AtomicU64,
    sent: AtomicU64,
    acknowledged: AtomicU64,
    connects: AtomicU64,
}

impl Counters {
    fn read(&self) -> Counts {
        Counts {
            accepted: self.accepted.load(Ordering::Acquire),
            dropped: self.dropped.load(Ordering::Acquire),
            sent: self.sent.load(Ordering::Acquire),
            acknowledged: self.acknowledged.load(Ordering::Acquire),
            reconnects: self.connects.load(Ordering::Acquire).saturating_sub(1),
        }
    }
}

/// A running connection; dropping it ends it without a word, [`finish`](Self::finish) says goodbye.
pub struct Publisher {
    client: AsyncClient,
    qos: QoS,
    counters: Arc<Counters>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Publisher {
    /// Starts connecting to `broker`; returns at once.
    #[must_use]
    pub fn connect(client_id: &str, broker: SocketAddr, login: Option<&Login>, qos: Qos) -> Self {
        let mut options = MqttOptions::new(client_id, broker.ip().to_string(), broker.port());
        options.set_keep_alive(Duration::from_secs(15)).set_inflight(1_000);
        if let Some(login) = login {
            options.set_credentials(&login.user, &login.password);
        }
        let (client, events) = AsyncClient::new(options, WAITING);
        let counters = Arc::new(Counters::default());
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(drive(events, counters.clone(), stopped, broker));
        let qos = match qos {
            Qos::AtMostOnce => QoS::AtMostOnce,
            Qos::AtLeastOnce => QoS::AtLeastOnce,
        };
        Self { client, qos, counters, stop, task }
    }

    /// Hands a message over, or drops it when too many wait. True when it was taken.
    pub fn publish(&self, topic: &str, payload: String) -> bool {
        match self.client.try_publish(topic, self.qos, false, payload) {
            Ok(()) => {
                self.counters.accepted.fetch_add(1, Ordering::AcqRel);
                true
            }
            Err(ClientError::Request(_) | ClientError::TryRequest(_)) => {
                self.counters.dropped.fetch_add(1, Ordering::AcqRel);
                false
            }
        }
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counters.read()
    }

    /// Waits, at most `patience`, until what was taken is out (and confirmed), then disconnects.
    pub async fn finish(mut self, patience: Duration) -> Counts {
        let watch = crate::clock::Stopwatch::start();
        let done = |counts: Counts| match self.qos {
            QoS::AtMostOnce => counts.sent >= counts.accepted,
            QoS::AtLeastOnce | QoS::ExactlyOnce => counts.acknowledged >= counts.accepted,
        };
        while !done(self.counts()) && watch.elapsed() < patience {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if let Err(error) = self.client.try_disconnect() {
            tracing::debug!(%error, "no goodbye to the broker");
        }
        if tokio::time::timeout(Duration::from_millis(500), &mut self.task).await.is_err() {
            tracing::debug!("the broker did not take the goodbye");
        }
        self.counts()
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.task.abort();
    }
}

async fn drive(mut events: EventLoop, counters: Arc<Counters>, mut stopped: watch::Receiver<bool>, broker: SocketAddr) {
    loop {
        let event = tokio::select! {
            () = until_stopped(&mut stopped) => return,
            event = events.poll() => event,
        };
        match event {
            Ok(Event::Outgoing(Outgoing::Publish(_))) => count(&counters.sent),
            Ok(Event::Outgoing(Outgoing::Disconnect)) => return,
            Ok(Event::Incoming(Packet::PubAck(_))) => count(&counters.acknowledged),
            Ok(Event::Incoming(Packet::ConnAck(_))) => count(&counters.connects),
            Ok(Event::Incoming(_) | Event::Outgoing(_)) => {}
            Err(error) => {
                tracing::warn!(%broker, %error, "mqtt connection of the simulators failed, coming back");
                tokio::time::sleep(RECONNECT_AFTER).await;
            }
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::AcqRel);
}
