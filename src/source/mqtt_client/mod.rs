//! Samples from an outside MQTT broker: Davy subscribes, the broker keeps what Davy has not acknowledged.
//!
//! ```text
//!  broker ─► read ─► [queue] ─► hand over: decode, a batch an entry ─► journal
//!     ▲       pings go out                                                │ durable
//!     └──────────────────────── acknowledge ◄─────────────────────────────┘
//! ```
//! Three loops in one task, for one connection. Promised: a QoS 1 message is acknowledged only after its
//! samples are durable, and only on the connection that brought it; what was not acknowledged is sent again
//! by the broker, so samples may come twice and are never lost. Nothing is published here, ever.
//! When the journal is slow, reading waits and TCP holds the broker back; but a quarter of the keep-alive
//! time is the most, lest the broker takes us for dead. After that QoS 0 messages over the window are
//! dropped and counted, and QoS 1 messages are left with the broker and fetched by a reconnection.

mod config;
mod line;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tracing::{debug, warn};

pub use config::{Config, Raw, Version};
use line::{Ack, Event, Line, Message, Reply};

use super::{Failure, Outlet, Source};
use crate::clock::Stopwatch;
use crate::decode::Decoder;
use crate::journal::Commit;
use crate::ledger::Fate;
use crate::model::{Reason, Sample};

/// Messages in one journal entry, at the most.
const BATCH: usize = 256;
/// Entries that may wait to become durable.
const BATCHES: usize = 64;
/// The broker must answer the subscription within this.
const SUBSCRIBE_WAIT: Duration = Duration::from_secs(10);
/// What was read before a connection broke is handed over within this.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// A subscription on an outside broker.
#[derive(Debug)]
pub struct MqttClient {
    config: Config,
    decoder: Decoder,
}

/// A message on its way to the journal.
struct Waiting {
    message: Message,
    /// A QoS 0 message's place in the window.
    _place: Option<OwnedSemaphorePermit>,
}

/// Acknowledgements that wait for an entry; without one there was nothing to store.
struct Unsettled {
    commit: Option<Commit>,
    acks: Vec<Ack>,
}

impl MqttClient {
    #[must_use]
    pub const fn new(config: Config, decoder: Decoder) -> Self {
        Self { config, decoder }
    }

    fn failure(&self, what: impl std::fmt::Display) -> Failure {
        Failure::new(format!("broker {}: {what}", self.config.access.broker))
    }
}

impl Source for MqttClient {
    async fn run(&mut self, out: &Outlet, connected: &(dyn Fn() + Send + Sync)) -> Result<Infallible, Failure> {
        let (reply, line) = line::open(&self.config);
        // Twice the window: QoS 0 may fill one half, so that there is always room for what a broker that
        // keeps to our Receive Maximum sends with QoS 1.
        let (queue, mut waiting) = mpsc::channel(2 * usize::from(self.config.window));
        let (unsettled, settling) = mpsc::channel(BATCHES);
        let what = {
            let reader = Reader::new(line, &reply, queue, &self.config, out);
            let mut reading = std::pin::pin!(reader.read(connected));
            let mut handing = std::pin::pin!(hand_over(&mut waiting, unsettled, &mut self.decoder, out));
            let mut settling = std::pin::pin!(acknowledge(settling, &reply));
            let ended = tokio::select! {
                ended = &mut reading => ended,
                ended = &mut handing => ended,
                ended = &mut settling => ended,
            };
            match ended {
                Ended::Connection(what) => {
                    // QoS 0 messages that were read exist nowhere else.
                    let last = async {
                        tokio::select! {
                            _ = &mut handing => {}
                            _ = &mut settling => {}
                        }
                    };
                    if timeout(LAST_WAIT, last).await.is_err() {
                        debug!("the journal did not take the last messages in time");
                    }
                    what
                }
                Ended::Journal => "the journal is closed".to_owned(),
            }
        };
        while let Ok(left) = waiting.try_recv() {
            // The others come again.
            if left.message.ack.is_none() {
                out.account.one(Fate::Unacknowledged);
            }
        }
        Err(self.failure(what))
    }
}

/// Why one of the loops came to its end.
enum Ended {
    Connection(String),
    Journal,
}

/// Reads the broker, and never waits so long that a ping would be late.
struct Reader<'a> {
    line: Line,
    reply: &'a Reply,
    queue: mpsc::Sender<Waiting>,
    config: &'a Config,
    out: &'a Outlet,
    /// Places for QoS 0 messages.
    places: Arc<Semaphore>,
    /// How long reading may still wait for the journal until the broker is next heard to be alive.
    patience: Duration,
    /// QoS 1 messages were left with the broker; only a reconnection brings them.
    behind: bool,
}

impl<'a> Reader<'a> {
    fn new(line: Line, reply: &'a Reply, queue: mpsc::Sender<Waiting>, config: &'a Config, out: &'a Outlet) -> Self {
        let places = Arc::new(Semaphore::new(usize::from(config.window)));
        Self { line, reply, queue, config, out, places, patience: config.keep_alive / 4, behind: false }
    }

    async fn read(mut self, connected: &(dyn Fn() + Send + Sync)) -> Ended {
        let what = match self.events(connected).await {
            Ok(never) => match never {},
            Err(what) => what,
        };
        self.patience = Duration::ZERO;
        for message in self.line.leftovers() {
            self.keep(message).await;
        }
        Ended::Connection(what)
    }

    async fn events(&mut self, connected: &(dyn Fn() + Send + Sync)) -> Result<Infallible, String> {
        let mut asked: Option<Stopwatch> = None;
        loop {
            let event = match asked {
                None => self.line.poll().await?,
                // The one place where a poll is given up; the connection ends with it.
                Some(asked) => timeout(SUBSCRIBE_WAIT.saturating_sub(asked.elapsed()), self.line.poll())
                    .await
                    .map_err(|_| "the broker did not answer our subscription".to_owned())??,
            };
            match event {
                Event::Connected { resumed } => {
                    debug!(broker = %self.config.access.broker, resumed, "connected");
                    // Always, not only for a new session: the list of topics may have grown since.
                    self.reply.subscribe(&self.config.topics, self.config.at_least_once).map_err(|e| e.to_string())?;
                    asked = Some(Stopwatch::start());
                }
                Event::Subscribed(grants) => {
                    self.check_grants(&grants)?;
                    asked = None;
                    connected();
                }
                Event::Message(message) => self.keep(message).await,
                Event::Alive => self.patience = self.config.keep_alive / 4,
                Event::Other => {}
            }
            if self.behind && self.queue.capacity() == self.queue.max_capacity() {
                return Err(format!(
                    "more than {} messages came at once while the journal was slow; reconnecting to be sent the rest \
                     (set the broker's max_inflight_messages to {} or less, or use version = 5)",
                    2 * self.config.window,
                    self.config.window,
                ));
            }
        }
    }

    fn check_grants(&self, grants: &[Result<u8, String>]) -> Result<(), String> {
        for (topic, grant) in self.config.topics.iter().zip(grants) {
            match grant {
                Err(why) => {
                    return Err(format!(
                        "subscription to {topic:?}: {why}; allow it to client {:?} at the broker",
                        self.config.client_id
                    ));
                }
                Ok(0) if self.config.at_least_once => {
                    warn!(broker = %self.config.access.broker, topic, "granted with QoS 0 only: messages can be lost");
                }
                Ok(_) => {}
            }
        }
        Ok(())
    }

    /// Puts a message into the queue, or counts it.
    async fn keep(&mut self, message: Message) {
        let certain = message.ack.is_some();
        let waited = Stopwatch::start();
        let room = async {
            let place = if certain { None } else { self.places.clone().acquire_owned().await.ok() };
            (place, self.queue.reserve().await)
        };
        match timeout(self.patience, room).await {
            Ok((place, Ok(room))) => room.send(Waiting { message, _place: place }),
            // Nobody hands over any more: the connection is about to end.
            Ok((_, Err(_))) => self.out.account.one(Fate::Unacknowledged),
            Err(_) => {
                self.out.account.one(Fate::Unacknowledged);
                self.behind |= certain;
            }
        }
        self.patience = self.patience.saturating_sub(waited.elapsed());
    }
}

/// Decodes what waits and hands it to the journal, a batch at a time; ends when the queue does.
async fn hand_over(
    waiting: &mut mpsc::Receiver<Waiting>,
    unsettled: mpsc::Sender<Unsettled>,
    decoder: &mut Decoder,
    out: &Outlet,
) -> Ended {
    let mut batch = Vec::with_capacity(BATCH);
    while waiting.recv_many(&mut batch, BATCH).await > 0 {
        let mut samples = Vec::with_capacity(batch.len());
        let mut acks = Vec::new();
        for Waiting { message, .. } in batch.drain(..) {
            decode(decoder, &message, &mut samples, out);
            acks.extend(message.ack);
        }
        let commit = if samples.is_empty() {
            None
        } else {
            match out.deliver(samples).await {
                Ok(commit) => Some(commit),
                Err(_) => return Ended::Journal,
            }
        };
        // A message that nobody can read is acknowledged too, or it would come again for ever.
        if !acks.is_empty() && unsettled.send(Unsettled { commit, acks }).await.is_err() {
            return Ended::Journal;
        }
    }
    Ended::Connection("the connection ended".into())
}

fn decode(decoder: &mut Decoder, message: &Message, samples: &mut Vec<Sample>, out: &Outlet) {
    let before = samples.len();
    if let Err(fate) = decoder.decode(&message.topic, &message.payload, message.received, samples, &out.account) {
        out.account.one(fate);
    }
    super::tell_losses(&out.account, &message.topic, decoder.losses_worth_telling());
    if message.retained {
        // Nobody knows how old a retained value is unless it says so; it must not pass for a live one.
        let read = samples.split_off(before);
        let count = read.len();
        samples.extend(
            read.into_iter()
                .filter(|sample| !sample.quality.has(Reason::NoSourceTime) && !sample.quality.has(Reason::ClockWrong)),
        );
        out.account.add(Fate::Late, (before + count - samples.len()) as u64);
    }
}

/// Acknowledges to the broker what has become durable, in order.
async fn acknowledge(mut settling: mpsc::Receiver<Unsettled>, reply: &Reply) -> Ended {
    while let Some(Unsettled { commit, acks }) = settling.recv().await {
        if let Some(commit) = commit
            && commit.durable().await.is_err()
        {
            return Ended::Journal;
        }
        for ack in acks {
            if let Err(full) = reply.acknowledge(ack) {
                return Ended::Connection(full.to_string());
            }
        }
    }
    Ended::Connection("the connection ended".into())
}

#[cfg(test)]
pub(super) mod tests;
