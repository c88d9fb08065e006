//! Short messages through a GSM modem on a serial line: they need no internet and no provider's interface.
//!
//! ```toml
//!  [notify.gsm.captain]
//!  device = "/dev/ttyUSB2"   number = "13900000000"   parts = 3
//! ```
//! In comes a message; out go its parts, and their references in the network in the receipt. A part that was sent is
//! not sent again with the next try, unless the gateway was started anew in between or the modem did not say whether
//! it had sent it. Recipients with the same device share it, one message at a time, the most urgent first. No modem,
//! no SIM card, no network are told in words, wait, and are an alarm of the recipient after three tries.

mod line;
mod modem;
pub mod pdu;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;

use super::link::Links;
use super::template::{Bound, Template};
use super::wish::Wish;
use super::{Channel, Delivery, Failure, Message, sms};
use crate::config::{Key, Problems};
use line::Line;
use modem::{Modem, Trouble};

pub const CHANNEL: &str = "gsm";

/// `[notify.gsm.<name>]` as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    device: PathBuf,
    #[serde(default = "baud")]
    baud: u32,
    number: String,
    #[serde(default = "three")]
    parts: usize,
    /// Of each part; networks take up to a minute.
    #[serde(default = "minute")]
    timeout: String,
}

const fn baud() -> u32 {
    115_200
}

const fn three() -> usize {
    3
}

fn minute() -> String {
    "60s".into()
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    device: PathBuf,
    baud: u32,
    number: String,
    parts: usize,
    timeout: Duration,
}

impl Raw {
    pub fn check(self, at: &Key, problems: &mut Problems) -> Option<Config> {
        let baud = problems.within(at.field("baud"), self.baud, 1_200..=921_600);
        let number = sms::number(problems, at, &self.number);
        let parts = problems.within(at.field("parts"), self.parts, 1..=10);
        let seconds = Duration::from_secs;
        let timeout = problems.duration(at.field("timeout"), &self.timeout, seconds(1)..=seconds(180));
        Some(Config { device: self.device, baud: baud?, number: number?, parts: parts?, timeout: timeout? })
    }
}

/// One for each device, however many recipients it has.
#[derive(Default)]
pub struct Modems(BTreeMap<PathBuf, Arc<Line>>);

impl Modems {
    pub fn of(&mut self, config: &Config) -> Arc<Line> {
        let modem = || Line::of(Modem::at(&config.device, config.baud));
        self.0.entry(config.device.clone()).or_insert_with(modem).clone()
    }
}

pub struct Gsm {
    config: Config,
    template: Template,
    links: Option<Links>,
    line: Arc<Line>,
    /// References of the parts that were sent of messages that are not sent whole, by outbox row.
    begun: Mutex<BTreeMap<i64, Vec<String>>>,
}

impl Gsm {
    /// Messages remembered as begun; more wait only in a long outage, and an old one may then repeat a part.
    const BEGUN: usize = 64;

    #[must_use]
    pub fn new(config: &Config, wish: &Wish, links: Option<Links>, line: Arc<Line>) -> Self {
        Self { config: config.clone(), template: Template::new(wish), links, line, begun: Mutex::default() }
    }

    async fn send(&self, message: &Message) -> Result<String, Failure> {
        let text = self.template.linked(message, self.links.as_ref(), Bound::Parts(self.config.parts));
        // The same on every try, so that parts of two tries make one text.
        let set = message.outbox.to_le_bytes()[0];
        let pdus = pdu::submit(&self.config.number, &text, set);
        let turn = self.line.turn(message.published.change.alarm.priority).await?;
        let mut modem = turn.modem().await;
        modem.ready().await.map_err(|trouble| failure(&trouble, trouble.to_string()))?;
        let mut references = self.begun(message.outbox);
        for (place, pdu) in pdus.iter().enumerate().skip(references.len()) {
            match modem.send(pdu, self.config.timeout).await {
                Ok(reference) => references.push(reference),
                Err(trouble) => {
                    let mut told = format!("part {} of {}: {trouble}", place + 1, pdus.len());
                    if !references.is_empty() {
                        told = format!("{told}; sent before: {}", references.join(", "));
                    }
                    self.remember(message.outbox, references);
                    return Err(failure(&trouble, told));
                }
            }
        }
        let (count, signal) = (pdus.len(), modem.signal());
        Ok(format!("sent in {count}, reference {}, signal {signal} of 31", references.join(", ")))
    }

    fn begun(&self, row: i64) -> Vec<String> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).remove(&row).unwrap_or_default()
    }

    fn remember(&self, row: i64, references: Vec<String>) {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if begun.len() >= Self::BEGUN {
            begun.pop_first();
        }
        begun.insert(row, references);
    }
}

fn failure(trouble: &Trouble, told: String) -> Failure {
    if trouble.is_for_good() { Failure::for_good(told) } else { Failure::temporary(told) }
}

impl Channel for Gsm {
    fn deliver<'a>(&'a self, message: &'a Message) -> Delivery<'a> {
        Box::pin(self.send(message))
    }
}
