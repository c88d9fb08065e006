//! From the bytes of one read to samples: the path that every message of every device takes.
//!
//! In come the bytes of a connection; out go the samples of all publishes in them as one chunk, and the
//! packet ids to acknowledge once that chunk is durable. Stops at the first packet that is not a PUBLISH,
//! at a breach, where the window of unacknowledged publishes is full, or where the client was faster than it
//! may be. What its user may not publish is acknowledged, counted and not kept. Nothing is allocated a
//! message.

use std::sync::Arc;

use super::Decoder;
use super::acks::AckQueue;
use super::config::Limits;
use super::frame::{Breach, Frame, Publish, Scan, Version, kind, scan};
use super::grant::{Publish as Granted, Rights, Sieve};
use super::greet::{NOT_AUTHORIZED, Will};
use super::pace::Pace;
use crate::ledger::{Account, Fate};
use crate::model::{PointTable, Sample, Timestamp};

pub(super) struct Ingest {
    version: Version,
    rights: Rights,
    sieve: Sieve,
    pub pace: Pace,
    packet_bytes: usize,
    topic_bytes: usize,
    aliases: Aliases,
    decoder: Box<dyn Decoder>,
    account: Arc<Account>,
    /// Of the publishes taken in since the last chunk.
    pub samples: Vec<Sample>,
    /// The first topic or point that the user may not publish, to be logged.
    pub denied: Option<String>,
    told: bool,
}

/// Why taking in stopped.
#[derive(Debug)]
pub(super) enum Pause<'a> {
    /// The next packet will have at least so many bytes.
    Wants(usize),
    /// No publish may be taken before one is acknowledged.
    Window,
    /// No publish may be taken before its time.
    Pace,
    Other(Frame<'a>),
    Breach(Breach),
}

impl Ingest {
    pub(super) fn new(
        version: Version,
        rights: Rights,
        limits: &Limits,
        decoder: Box<dyn Decoder>,
        account: Arc<Account>,
        table: impl Fn() -> Arc<PointTable> + Send + Sync + 'static,
    ) -> Self {
        Self {
            version,
            sieve: Sieve::new(&rights, table),
            rights,
            pace: Pace::new(limits),
            packet_bytes: limits.packet_bytes,
            topic_bytes: limits.topic_bytes,
            aliases: Aliases { most: limits.topic_aliases, topics: Vec::new() },
            decoder,
            account,
            samples: Vec::new(),
            denied: None,
            told: false,
        }
    }

    /// Takes in what it can; returns how many bytes are done with, and why it stopped. `received` is read
    /// once a read: everything in it arrived together.
    pub(super) fn take_in<'a>(
        &mut self,
        bytes: &'a [u8],
        received: Timestamp,
        acks: &mut AckQueue,
    ) -> (usize, Pause<'a>) {
        let mut rest = bytes;
        self.pace.fill();
        let pause = loop {
            let frame = match scan(rest, self.packet_bytes) {
                Ok(Scan::Packet(frame)) => frame,
                Ok(Scan::Wants(count)) => break Pause::Wants(count),
                Err(breach) => break Pause::Breach(breach),
            };
            let after = rest.get(frame.whole.len()..).unwrap_or_default();
            if frame.kind() != kind::PUBLISH {
                rest = after;
                break Pause::Other(frame);
            }
            if !self.pace.allows() {
                break Pause::Pace;
            }
            match self.publish(&frame, received, acks) {
                Ok(true) => {
                    self.pace.spend(frame.whole.len());
                    rest = after;
                }
                Ok(false) => break Pause::Window,
                Err(breach) => break Pause::Breach(breach),
            }
        };
        (bytes.len() - rest.len(), pause)
    }

    /// False when the window is full and the publish must wait.
    fn publish(&mut self, frame: &Frame<'_>, received: Timestamp, acks: &mut AckQueue) -> Result<bool, Breach> {
        let publish = Publish::read(frame, self.version, self.topic_bytes)?;
        if self.rights.publish == Granted::Nowhere {
            return Err(Breach::MayNotPublish);
        }
        if publish.pkid != 0 && acks.is_full() {
            return match self.version {
                // It was told the window and does not keep to it.
                Version::V5 => Err(Breach::ReceiveMaximum(acks.window())),
                Version::V311 => Ok(false),
            };
        }
        let topic = self.aliases.resolve(&publish)?;
        let before = self.samples.len();
        let reason = if self.rights.publish.allows(topic) {
            match self.decoder.decode(topic, publish.payload, received, &mut self.samples) {
                Ok(()) => 0,
                Err(fate) => {
                    self.account.one(fate);
                    // What could be read of it is kept, and then it counts as taken.
                    if self.samples.len() > before { 0 } else { refusal(fate) }
                }
            }
        } else {
            self.account.one(Fate::OutsideGrant);
            if !std::mem::replace(&mut self.told, true) {
                self.denied = Some(format!("topic {}", String::from_utf8_lossy(topic)));
            }
            NOT_AUTHORIZED
        };
        let reason = if self.sift(before) { NOT_AUTHORIZED } else { reason };
        if publish.pkid != 0 {
            acks.push(publish.pkid, reason);
        }
        Ok(true)
    }

    /// The will of a client that went without a word, taken in like a publish.
    pub(super) fn will(&mut self, will: &Will, received: Timestamp) {
        let before = self.samples.len();
        if let Err(fate) = self.decoder.decode(&will.topic, &will.payload, received, &mut self.samples) {
            self.account.one(fate);
        }
        self.sift(before);
    }

    /// Takes out the samples from `before` on whose points the user may not publish; true when none is left
    /// because of that.
    fn sift(&mut self, before: usize) -> bool {
        if self.rights.points.is_none() {
            return false;
        }
        let Self { sieve, samples, account, denied, told, .. } = self;
        let came = samples.len();
        let mut at = 0;
        samples.retain(|sample| {
            at += 1;
            let allowed = at <= before || sieve.allows(sample.point);
            if !allowed && !std::mem::replace(told, true) {
                *denied = Some(format!("point {}", sieve.name(sample.point)));
            }
            allowed
        });
        let refused = came - samples.len();
        account.add(Fate::OutsideGrant, refused as u64);
        refused > 0 && samples.len() == before
    }
}

/// The v5 reason for a publish of which nothing could be used. It is acknowledged all the same, or the
/// client would send it for ever; it is in the ledger, and the client is told.
fn refusal(fate: Fate) -> u8 {
    if matches!(fate, Fate::UnknownTopic | Fate::UnknownPoint | Fate::RetiredPoint) { 0x90 } else { 0x99 }
}

/// Topics by the numbers that a v5 client gave them.
struct Aliases {
    most: u16,
    /// The topic of alias n stands at n - 1.
    topics: Vec<Option<Box<[u8]>>>,
}

impl Aliases {
    fn resolve<'a>(&'a mut self, publish: &Publish<'a>) -> Result<&'a [u8], Breach> {
        let alias = publish.alias;
        if alias == 0 {
            return Ok(publish.topic);
        }
        if alias > self.most {
            return Err(Breach::AliasInvalid(alias));
        }
        let at = usize::from(alias) - 1;
        if publish.topic.is_empty() {
            return self.topics.get(at).and_then(Option::as_deref).ok_or(Breach::AliasUnknown(alias));
        }
        if self.topics.len() <= at {
            self.topics.resize(at + 1, None);
        }
        if let Some(place) = self.topics.get_mut(at)
            && place.as_deref() != Some(publish.topic)
        {
            *place = Some(publish.topic.into());
        }
        Ok(publish.topic)
    }
}
