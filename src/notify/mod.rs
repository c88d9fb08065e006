//! People are told: what stands in the outbox is delivered, and every attempt is written down.
//!
//! ```text
//!  facts.db ─pending─► Queue (one a recipient: what next, when) ─► channel.deliver ─► webhook, MQTT, log
//!     ▲                                                                  │
//!     └──────────────── journal ◄── Receipt: delivered, failed, given up ┘
//! ```
//! In come outbox rows, P1 first; out go deliveries and one receipt an attempt. A row is done when its
//! receipt has come back through the journal, so a restart begins where the last run ended; a message may
//! then reach somebody twice, with the same key, and never not at all. Each recipient has a task and a
//! queue of its own: one that is dead delays nobody, and is an alarm itself (`davy-notify-failing`).

mod log;
mod message;
mod mqtt;
mod queue;
mod recipient;
#[cfg(test)]
mod tests;
mod webhook;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::alarm::Priority;
use crate::board::Board;
use crate::clock;
use crate::config::{Key, Problems};
use crate::facts::{self, Outgoing};
use crate::journal::{self, Entry, Intake, Note, Outcome, Receipt};
use crate::remote;

pub use crate::facts::Recipient;
pub use log::Log;
pub use message::Message;
pub use mqtt::{Mqtt, Publish};
pub use queue::Patience;
pub use webhook::Webhook;

/// `[notify]` as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    #[serde(default)]
    webhook: BTreeMap<String, webhook::Raw>,
    #[serde(default)]
    log: Simple,
    #[serde(default)]
    mqtt: Simple,
    #[serde(default = "one_day")]
    give_up_after: String,
}

fn one_day() -> String {
    "24h".into()
}

/// A channel with one recipient and nothing to set but how much it wants to hear.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Simple {
    #[serde(default = "yes")]
    enabled: bool,
    #[serde(default = "everything")]
    from_priority: String,
}

impl Default for Simple {
    fn default() -> Self {
        Self { enabled: yes(), from_priority: everything() }
    }
}

const fn yes() -> bool {
    true
}

fn everything() -> String {
    "P4".into()
}

/// Exists only if it is valid; `check` is the sole constructor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    webhooks: Vec<webhook::Config>,
    /// From which priority; `None`: switched off.
    log: Option<Priority>,
    mqtt: Option<Priority>,
    patience: Patience,
}

impl Config {
    /// Is there a channel that goes out to somebody?
    #[must_use]
    pub fn reaches_people(&self) -> bool {
        !self.webhooks.is_empty()
    }
}

impl Raw {
    pub fn check(self, at: &Key, problems: &mut Problems) -> Option<Config> {
        let mut sound = true;
        let mut webhooks = Vec::new();
        for (name, raw) in self.webhook {
            let checked = raw.check(&at.field("webhook").field(&name), name, problems);
            sound &= checked.is_some();
            webhooks.extend(checked);
        }
        let log = self.log.check(&at.field("log"), problems);
        let mqtt = self.mqtt.check(&at.field("mqtt"), problems);
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        let give_up_after =
            problems.duration(at.field("give_up_after"), &self.give_up_after, minutes(1)..=minutes(30 * 24 * 60));
        let patience = Patience { give_up_after: give_up_after?, ..Patience::default() };
        let config = Config { webhooks, log: log?, mqtt: mqtt?, patience };
        sound.then_some(config)
    }
}

impl Simple {
    /// The outer `None`: there was a problem; the inner one: switched off.
    fn check(self, at: &Key, problems: &mut Problems) -> Option<Option<Priority>> {
        let from = priority(problems, at, &self.from_priority)?;
        Some(self.enabled.then_some(from))
    }
}

/// `from_priority`, as all channels have it.
fn priority(problems: &mut Problems, at: &Key, word: &str) -> Option<Priority> {
    let known = Priority::ALL.map(|priority| (priority.word(), priority));
    problems.known(at.field("from_priority"), word, "priority", known)
}

/// Everybody who gets an outbox row when an alarm changes.
#[must_use]
pub fn recipients(config: &Config) -> Vec<Recipient> {
    let to = |channel: &str, name: &str, from_priority| Recipient {
        channel: channel.to_owned(),
        name: name.to_owned(),
        from_priority,
    };
    let webhooks = config.webhooks.iter().map(|hook| to(webhook::CHANNEL, &hook.name, hook.from_priority));
    let log = config.log.map(|from| to(log::CHANNEL, "log", from));
    let mqtt = config.mqtt.map(|from| to(mqtt::CHANNEL, "subscribers", from));
    webhooks.chain(log).chain(mqtt).collect()
}

/// What a delivery will have been.
pub type Delivery<'a> = Pin<Box<dyn Future<Output = Result<String, Failure>> + Send + 'a>>;

/// A way to reach one recipient. `deliver` makes one attempt and never retries; it ends within its own
/// timeout. The text that it returns goes into the receipt.
pub trait Channel: Send + Sync + 'static {
    fn deliver<'a>(&'a self, message: &'a Message) -> Delivery<'a>;
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// It may work later.
    pub temporary: bool,
    pub retry_after: Option<Duration>,
    /// The channel works, but nobody was there: told as not delivered, without an alarm of its own.
    pub nobody: bool,
    pub text: String,
}

impl Failure {
    #[must_use]
    pub fn temporary(text: impl Into<String>) -> Self {
        Self { temporary: true, retry_after: None, nobody: false, text: text.into() }
    }

    #[must_use]
    pub fn for_good(text: impl Into<String>) -> Self {
        Self { temporary: false, retry_after: None, nobody: false, text: text.into() }
    }

    #[must_use]
    pub fn nobody(text: impl Into<String>) -> Self {
        Self { nobody: true, ..Self::for_good(text) }
    }
}

/// Everybody who is told, with the way to reach them.
pub type Channels = Vec<(Recipient, Arc<dyn Channel>)>;

/// The channels as configured. `publish` is how the MQTT listener hands a
/// publication to its subscribers.
pub fn channels(config: &Config, publish: Publish) -> Result<Channels, remote::Error> {
    let mut channels = Channels::new();
    for recipient in recipients(config) {
        let channel: Arc<dyn Channel> = match recipient.channel.as_str() {
            log::CHANNEL => Arc::new(Log),
            mqtt::CHANNEL => Arc::new(Mqtt::new(publish.clone())),
            _ => {
                let hook = config.webhooks.iter().find(|hook| hook.name == recipient.name);
                Arc::new(Webhook::new(hook.expect("every webhook recipient is made of a webhook"))?)
            }
        };
        channels.push((recipient, channel));
    }
    Ok(channels)
}

/// Where the messages are, and where it is written what became of them.
pub trait Office: Clone + Send + Sync + 'static {
    /// Messages to one recipient that are neither delivered nor given up, P1 first, then oldest first.
    fn pending(&self, channel: &str, recipient: &str, most: usize) -> Result<Vec<Outgoing>, facts::Error>;
    /// Waits while the journal's queue is full.
    fn note(&self, note: Note) -> impl Future<Output = Result<(), journal::Error>> + Send;
}

/// The real one.
#[derive(Clone, Debug)]
pub struct Outbox {
    pub facts: facts::Reader,
    pub intake: Intake,
}

impl Office for Outbox {
    fn pending(&self, channel: &str, recipient: &str, most: usize) -> Result<Vec<Outgoing>, facts::Error> {
        self.facts.pending(channel, recipient, most)
    }

    async fn note(&self, note: Note) -> Result<(), journal::Error> {
        self.intake.submit(Entry::Note(note)).await.map(drop)
    }
}

/// Delivers until `stop`. Returns early only when the journal is closed. The board is kept, so its stream
/// does not end before the last desk.
pub async fn run<O: Office>(
    channels: Channels,
    office: O,
    board: Arc<Board>,
    patience: Patience,
    stop: CancellationToken,
) {
    let mut tasks = tokio::task::JoinSet::new();
    for (recipient, channel) in channels {
        let changes = board.changes();
        let desk = recipient::Desk::new(recipient, channel, office.clone(), patience);
        tasks.spawn(desk.run(changes, stop.clone()));
    }
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

/// Rows of recipients that are no longer configured would wait for ever: they are given up, by name. To be
/// called once at the start, with every row of the outbox that is still pending.
pub async fn give_up_strangers<O: Office>(
    office: &O,
    known: &[Recipient],
    pending: Vec<Outgoing>,
) -> Result<usize, journal::Error> {
    let mut given_up = 0;
    for row in pending {
        if known.iter().any(|recipient| recipient.channel == row.channel && recipient.name == row.recipient) {
            continue;
        }
        warn!(channel = %row.channel, recipient = %row.recipient, message = row.id, "recipient is not configured any more");
        let detail = "the recipient is no longer in the configuration".to_owned();
        let receipt = Receipt { at: clock::now(), message: row.id, outcome: Outcome::GivenUp, detail };
        office.note(Note::Receipt(receipt)).await?;
        given_up += 1;
    }
    Ok(given_up)
}

impl Config {
    /// For `run`.
    #[must_use]
    pub const fn patience(&self) -> Patience {
        self.patience
    }
}
