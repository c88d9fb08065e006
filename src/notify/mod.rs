//! People are told: what stands in the outbox is delivered, and every attempt is written down.
//!
//! ```text
//!  facts.db ─pending─► Queue (one a recipient: what next, when) ─► channel.deliver ─► mail, robots, MQTT, ..
//!     ▲                                                                  │
//!     └──────────────── journal ◄── Receipt: delivered, failed, given up ┘
//! ```
//! In come outbox rows, P1 first; out go deliveries and one receipt an attempt. A row is done when its
//! receipt has come back through the journal, so a restart begins where the last run ended; a message may
//! then reach somebody twice, with the same key, and never not at all. Each recipient has a task and a
//! queue of its own: one that is dead delays nobody, and is an alarm itself (`davy-notify-failing`), as is a message of
//! P1 or P2 that is refused for good (`davy-notify-refused`). Recipients of one person share what that person gets at
//! most.

mod gsm;
mod link;
mod log;
mod mail;
mod message;
mod mqtt;
mod neighbour;
mod queue;
mod recipient;
mod robot;
mod siren;
mod sms;
mod template;
mod tester;
#[cfg(test)]
mod tests;
mod webhook;
mod wish;
mod wording;

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::alarm::{Alarm, Priority};
use crate::board::Board;
use crate::clock;
use crate::config::{Key, Problems};
use crate::facts::{self, Lane, Outgoing, Pending, Waiting, Wanted};
use crate::journal::{self, Entry, Intake, Note, Outcome, Receipt};
use crate::model::{Duty, Timestamp};
use crate::remote;
use crate::source::modbus::Address;

pub use crate::facts::Recipient;
pub use link::{Config as LinkConfig, Doorkeeper, Key as LinkKey, KeyError, Leave, Links, PATH as LINKS};
pub use log::Log;
pub use message::{After, Message};
pub use mqtt::{Mqtt, Publish};
pub use neighbour::{Neighbours, Warnings};
pub use queue::{Pace, Patience};
pub use tester::{Tester, Tried};
pub use webhook::Webhook;

use gsm::Gsm;
use mail::Mail;
use queue::Budget;
use robot::{Maker, Robot};
use siren::Keeper;
use sms::Sms;
use wish::Wish;

/// `[notify]` as written; the tables are those of recipients by name.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    #[serde(default)]
    webhook: Tables,
    #[serde(default)]
    mail: Tables,
    #[serde(default)]
    wecom: Tables,
    #[serde(default)]
    dingtalk: Tables,
    #[serde(default)]
    feishu: Tables,
    #[serde(default)]
    sms: Tables,
    #[serde(default)]
    gsm: Tables,
    #[serde(default)]
    siren: Tables,
    #[serde(default)]
    log: Simple,
    #[serde(default)]
    mqtt: Simple,
    #[serde(default = "one_day")]
    give_up_after: String,
    /// What one person gets in a time at most, over all their recipients; the rest is told in one summary.
    #[serde(default = "twenty_in_ten_minutes")]
    most_per: String,
    /// Where this gateway's page is reached from outside; without it messages hold no link.
    link_base: Option<String>,
    #[serde(default = "one_day")]
    link_valid: String,
}

type Tables = BTreeMap<String, toml::Table>;

/// Channels that end at a person, who can take in only so much.
const PEOPLE: [&str; 6] = [
    mail::CHANNEL,
    Maker::WeCom.channel(),
    Maker::DingTalk.channel(),
    Maker::Feishu.channel(),
    sms::CHANNEL,
    gsm::CHANNEL,
];

/// About the peak that EEMUA 191 thinks an operator can handle: 10 alarms in 10 minutes, each with its end.
fn twenty_in_ten_minutes() -> String {
    "20 in 10m".into()
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

/// A way to reach somebody, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Way {
    Webhook(webhook::Config),
    Mail(mail::Config),
    Robot(robot::Config),
    Sms(sms::Config),
    Gsm(gsm::Config),
    Siren(siren::Config),
}

/// Somebody with a table of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    channel: &'static str,
    name: String,
    wish: Wish,
    way: Way,
    /// So many messages and no more: its own, or that of all people.
    cap: Option<Pace>,
}

/// Exists only if it is valid; `check` is the sole constructor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    named: Vec<Named>,
    /// From which priority; `None`: switched off.
    log: Option<Priority>,
    mqtt: Option<Priority>,
    patience: Patience,
    links: Option<link::Config>,
}

impl Config {
    /// Told for sirens that hang on a line which `polled` devices, by name, hang on as well.
    pub fn check_sirens(&self, polled: &[(&str, &Address)], problems: &mut Problems) {
        let sirens = self.named.iter().filter_map(|named| match &named.way {
            Way::Siren(siren) => Some((named.name.as_str(), &siren.address)),
            Way::Webhook(_) | Way::Mail(_) | Way::Robot(_) | Way::Sms(_) | Way::Gsm(_) => None,
        });
        siren::check_together(polled, sirens, problems);
    }

    /// Is there a channel that goes out to somebody?
    #[must_use]
    pub fn reaches_people(&self) -> bool {
        !self.named.is_empty()
    }
}

impl Raw {
    pub fn check(self, at: &Key, problems: &mut Problems) -> Option<Config> {
        let most_per = wish::most_per(problems, &at.field("most_per"), &self.most_per);
        let most_per_sound = most_per.is_some();
        let most_per = most_per.flatten();
        let mut tables = Checked { at, problems, most_per, named: Vec::new(), sound: most_per_sound };
        tables.channel(webhook::CHANNEL, self.webhook, |raw: webhook::Raw, at, problems| {
            raw.check(at, problems).map(Way::Webhook)
        });
        tables.channel(mail::CHANNEL, self.mail, |raw: mail::Raw, at, problems| raw.check(at, problems).map(Way::Mail));
        for (maker, list) in
            [(Maker::WeCom, self.wecom), (Maker::DingTalk, self.dingtalk), (Maker::Feishu, self.feishu)]
        {
            tables.channel(maker.channel(), list, |raw: robot::Raw, at, problems| {
                raw.check(maker, at, problems).map(Way::Robot)
            });
        }
        tables.channel(sms::CHANNEL, self.sms, |raw: sms::Raw, at, problems| raw.check(at, problems).map(Way::Sms));
        tables.channel(gsm::CHANNEL, self.gsm, |raw: gsm::Raw, at, problems| raw.check(at, problems).map(Way::Gsm));
        let mut sirens = self.siren;
        for table in sirens.values_mut() {
            // Nobody wants to be woken by a siren for a forecast.
            table.entry("from_priority").or_insert_with(|| "P2".into());
        }
        tables.channel(siren::CHANNEL, sirens, |raw: siren::Raw, at, problems| raw.check(at, problems).map(Way::Siren));
        let Checked { named, sound, .. } = tables;
        let log = self.log.check(&at.field("log"), problems);
        let mqtt = self.mqtt.check(&at.field("mqtt"), problems);
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        let long = minutes(1)..=minutes(30 * 24 * 60);
        let give_up_after = problems.duration(at.field("give_up_after"), &self.give_up_after, long.clone());
        let valid = problems.duration(at.field("link_valid"), &self.link_valid, long);
        let base = match &self.link_base {
            Some(text) => Some(remote::address(problems, at.field("link_base"), text)?),
            None => None,
        };
        let patience = Patience { give_up_after: give_up_after?, ..Patience::default() };
        let valid = valid?;
        let links = base.map(|base| link::Config { base, valid });
        let config = Config { named, log: log?, mqtt: mqtt?, patience, links };
        sound.then_some(config)
    }
}

/// Recipients' tables while they are checked.
struct Checked<'a> {
    at: &'a Key,
    problems: &'a mut Problems,
    /// For recipients that say nothing of their own.
    most_per: Option<Pace>,
    named: Vec<Named>,
    sound: bool,
}

impl Checked<'_> {
    fn channel<R: serde::de::DeserializeOwned>(
        &mut self,
        channel: &'static str,
        tables: Tables,
        check: impl Fn(R, &Key, &mut Problems) -> Option<Way>,
    ) {
        for (name, table) in tables {
            let at = self.at.field(channel).field(&name);
            let (wish, raw) = Wish::split::<R>(table, &at, self.problems);
            let way = raw.and_then(|raw| check(raw, &at, self.problems));
            let usual = if PEOPLE.contains(&channel) { self.most_per } else { None };
            let named = wish.zip(way).map(|(wish, way)| {
                let cap = wish.most_per.unwrap_or(usual);
                Named { channel, name, wish, way, cap }
            });
            self.sound &= named.is_some();
            self.named.extend(named);
        }
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
    let named = config.named.iter().map(Named::recipient);
    let to = |channel: &str, name: &str, from_priority| Recipient {
        channel: channel.to_owned(),
        name: name.to_owned(),
        from_priority,
        sites: Vec::new(),
    };
    let log = config.log.map(|from| to(log::CHANNEL, "log", from));
    let mqtt = config.mqtt.map(|from| to(mqtt::CHANNEL, "subscribers", from));
    named.chain(log).chain(mqtt).collect()
}

impl Named {
    fn recipient(&self) -> Recipient {
        Recipient {
            channel: self.channel.to_owned(),
            name: self.name.clone(),
            from_priority: self.wish.from_priority,
            sites: self.wish.sites.clone(),
        }
    }
}

/// What a delivery will have been.
pub type Delivery<'a> = Pin<Box<dyn Future<Output = Result<String, Failure>> + Send + 'a>>;

/// A way to reach one recipient. `deliver` makes one attempt and never retries; it ends within its own
/// timeout. The text that it returns goes into the receipt.
pub trait Channel: Send + Sync + 'static {
    fn deliver<'a>(&'a self, message: &'a Message) -> Delivery<'a>;

    /// One attempt with a message that says of itself that it is a test.
    fn test(&self) -> Delivery<'_> {
        Box::pin(async { self.deliver(&Message::example()).await })
    }

    /// How much it takes; messages with `others` come only to a channel that has a pace.
    fn pace(&self) -> Option<Pace> {
        None
    }
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
    /// It rang in vain: whoever calls need not wait for the clock.
    pub unanswered: bool,
    pub text: String,
}

impl Failure {
    #[must_use]
    pub fn temporary(text: impl Into<String>) -> Self {
        Self { temporary: true, retry_after: None, nobody: false, unanswered: false, text: text.into() }
    }

    #[must_use]
    pub fn for_good(text: impl Into<String>) -> Self {
        Self { temporary: false, ..Self::temporary(text) }
    }

    #[must_use]
    pub fn nobody(text: impl Into<String>) -> Self {
        Self { nobody: true, ..Self::for_good(text) }
    }

    #[must_use]
    pub fn unanswered(text: impl Into<String>) -> Self {
        Self { unanswered: true, ..Self::nobody(text) }
    }
}

/// Everybody who is told, with the way to reach them.
#[derive(Default)]
pub struct Channels {
    everybody: Vec<(Recipient, Arc<dyn Channel>, Option<Pace>)>,
    /// Of the sirens among them.
    keepers: Vec<Keeper>,
    /// Recipients (`sms.li`) by person.
    people: BTreeMap<String, Vec<String>>,
}

/// What channels need of the gateway.
pub struct Means {
    /// How the MQTT listener hands a publication to its subscribers.
    pub publish: Publish,
    /// Seals links for acknowledging; without it messages hold none.
    pub key: Option<LinkKey>,
    /// To whom published warnings are sent.
    pub neighbours: Neighbours,
    /// How what somebody says over a channel reaches the journal.
    pub say: Say,
}

/// Writes down what somebody says.
pub type Say = Arc<dyn Fn(Note) -> Pin<Box<dyn Future<Output = Result<(), journal::Error>> + Send>> + Send + Sync>;

impl Means {
    /// Without links and neighbours, for whoever only sends; what is said is heard by nobody.
    #[must_use]
    pub fn to_send(publish: Publish) -> Self {
        let say: Say = Arc::new(|_| Box::pin(std::future::ready(Ok(()))));
        Self { publish, key: None, neighbours: Neighbours::none(), say }
    }
}

/// The channels as configured.
pub fn channels(config: &Config, means: &Means) -> Result<Channels, remote::Error> {
    let mut channels = Channels::default();
    let (mut modems, mut lines) = (gsm::Modems::default(), siren::Lines::default());
    for named in &config.named {
        let (to, wish) = (named.recipient(), &named.wish);
        let links = || Some(Links::new(config.links.as_ref()?, means.key.as_ref()?, &to));
        let channel: Arc<dyn Channel> = match &named.way {
            Way::Webhook(webhook) => Arc::new(Webhook::new(webhook)?),
            Way::Mail(mail) => Arc::new(Mail::new(mail, wish, links())?),
            Way::Robot(robot) => Arc::new(Robot::new(robot, wish, links())?),
            Way::Sms(sms) => {
                let keys = sms::Keys { name: to.full_name(), say: means.say.clone() };
                Arc::new(Sms::new(sms, wish, links(), keys)?)
            }
            Way::Gsm(gsm) => Arc::new(Gsm::new(gsm, wish, links(), modems.of(gsm))),
            Way::Siren(siren) => {
                let (siren, keeper) = Keeper::new(&named.name, siren, wish, &mut lines);
                channels.keepers.push(keeper);
                Arc::new(siren)
            }
        };
        channels.everybody.push((to, channel, named.cap));
    }
    for recipient in recipients(config).split_off(config.named.len()) {
        let channel: Arc<dyn Channel> = match recipient.channel.as_str() {
            log::CHANNEL => Arc::new(Log),
            _ => Arc::new(Mqtt::new(means.publish.clone())),
        };
        channels.everybody.push((recipient, channel, None));
    }
    for (recipient, channel) in means.neighbours.channels()? {
        channels.everybody.push((recipient, channel, None));
    }
    Ok(channels)
}

impl Channels {
    /// Recipients that are ways to one person have one budget, the smallest of theirs; a way to several people
    /// counts for the first.
    #[must_use]
    pub fn of_people(self, duty: &Duty) -> Self {
        Self { people: duty.people.iter().map(|(key, one)| (key.clone(), one.reach.clone())).collect(), ..self }
    }

    /// In the order of `everybody`.
    fn budgets(&self) -> Vec<Option<Budget>> {
        let owner = |recipient: &Recipient| {
            let name = recipient.full_name();
            self.people.values().position(|ways| ways.contains(&name))
        };
        let capped = || self.everybody.iter().filter_map(|(recipient, _, cap)| Some((owner(recipient)?, (*cap)?)));
        let mut of_people: BTreeMap<usize, Budget> = BTreeMap::new();
        for (person, _) in capped() {
            let caps = || capped().filter(|(other, _)| *other == person).map(|(_, cap)| cap);
            let least = caps().min_by_key(|cap| (cap.most, std::cmp::Reverse(cap.per)));
            if let Some(least) = least {
                of_people.entry(person).or_insert_with(|| Budget::of(least, caps().count()));
            }
        }
        let budget = |(recipient, _, cap): &(Recipient, Arc<dyn Channel>, Option<Pace>)| {
            let cap = (*cap)?;
            let shared = owner(recipient).and_then(|person| of_people.get(&person).cloned());
            Some(shared.unwrap_or_else(|| Budget::of(cap, 1)))
        };
        self.everybody.iter().map(budget).collect()
    }

    /// Everybody, in the order of the configuration.
    pub fn recipients(&self) -> impl Iterator<Item = &Recipient> {
        self.everybody.iter().map(|(recipient, ..)| recipient)
    }

    /// Tries them beside what goes out.
    #[must_use]
    pub fn tester(&self) -> Tester {
        let everybody = self.everybody.iter().map(|(recipient, channel, _)| (recipient.clone(), channel.clone()));
        Tester::new(everybody, self.people.clone())
    }
}

/// Where the messages are, and where it is written what became of them.
pub trait Office: Clone + Send + Sync + 'static {
    /// Messages to one recipient that are neither delivered nor given up, P1 first, then oldest first; whole only
    /// those that are not `known`.
    fn pending(&self, of: (Lane, &str, &str), most: usize, known: &HashSet<i64>) -> Result<Pending, facts::Error>;
    /// The same rows as a summary counts them.
    fn waiting(&self, lane: Lane, channel: &str, recipient: &str, most: usize) -> Result<Vec<Waiting>, facts::Error>;
    /// When messages last reached a recipient, in order.
    fn reached(
        &self,
        lane: Lane,
        channel: &str,
        recipient: &str,
        since: Timestamp,
    ) -> Result<Vec<Timestamp>, facts::Error>;
    /// Alarms that are not Normal, for whoever keeps a state and not a message.
    fn open_alarms(&self) -> Result<Vec<Alarm>, facts::Error>;
    /// Those of them for which nobody of the site is left to be called.
    fn siren_called(&self) -> Result<Vec<crate::alarm::OccurrenceId>, facts::Error> {
        Ok(Vec::new())
    }
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
    fn pending(&self, of: (Lane, &str, &str), most: usize, known: &HashSet<i64>) -> Result<Pending, facts::Error> {
        self.facts.pending_beside(of, most, known)
    }

    fn waiting(&self, lane: Lane, channel: &str, recipient: &str, most: usize) -> Result<Vec<Waiting>, facts::Error> {
        self.facts.waiting_for(lane, channel, recipient, most)
    }

    fn reached(
        &self,
        lane: Lane,
        channel: &str,
        recipient: &str,
        since: Timestamp,
    ) -> Result<Vec<Timestamp>, facts::Error> {
        self.facts.reached(lane, channel, recipient, since)
    }

    fn open_alarms(&self) -> Result<Vec<Alarm>, facts::Error> {
        // Far more than a site can have.
        self.facts.alarms(&Wanted { open: true, site: None, before: None, most: 100_000 })
    }

    fn siren_called(&self) -> Result<Vec<crate::alarm::OccurrenceId>, facts::Error> {
        self.facts.siren_called()
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
    let budgets = channels.budgets();
    for keeper in channels.keepers {
        tasks.spawn(keeper.run(office.clone(), stop.clone()));
    }
    for ((recipient, channel, _), cap) in channels.everybody.into_iter().zip(budgets) {
        let changes = board.changes();
        let desk = recipient::Desk::new(recipient, channel, office.clone(), patience, cap);
        tasks.spawn(desk.run(changes, board.calls(), stop.clone()));
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
        let receipt = Receipt {
            at: clock::now(),
            message: row.id,
            outcome: Outcome::GivenUp,
            detail,
            also: Vec::new(),
            rang: None,
        };
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

    /// How long links are good for; None: there are none.
    #[must_use]
    pub fn links_valid(&self) -> Option<Duration> {
        self.links.as_ref().map(|links| links.valid)
    }
}
