//! The body of a request -> samples, and what is to be told about the rest. Blocking work, bounded by the
//! sender's `body_bytes` whatever the body unpacks to.

use std::io::Read as _;

use flate2::read::MultiGzDecoder;

use super::Sender;
use crate::decode::{API_CSV, API_JSON, API_LINES, Decoder};
use crate::ledger::{Account, Fate, Ledger};
use crate::model::{Sample, Timestamp};

/// Verdicts of one request that are told; the others are counted.
const TOLD: usize = 100;

/// What a body is written in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Json,
    /// A JSON value a line.
    NdJson,
    Csv,
    /// Line protocol, with the precision of its times: ns, us, ms or s.
    Lines(String),
}

/// A part of a body that could not be used as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// Line or element from 1; 0 for the only one.
    pub place: usize,
    pub fate: Fate,
    /// The point as it was named, or the text that did not parse.
    pub about: Box<str>,
}

impl Unusable {
    /// The sample was kept, and its quality says what is wrong.
    #[must_use]
    pub const fn is_kept(&self) -> bool {
        kept(self.fate)
    }
}

const fn kept(fate: Fate) -> bool {
    matches!(fate, Fate::BadTime | Fate::BadValue)
}

/// What a body held.
#[derive(Debug, Default)]
pub struct Batch {
    pub samples: Vec<Sample>,
    /// The first so many.
    pub unusable: Vec<Unusable>,
    /// Parts that were lost, told or not.
    pub rejected: u64,
    /// Samples that were kept with a quality that says why not to trust them.
    pub flagged: u64,
}

/// Why a body was not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    #[error("the body has more than the {0} bytes that one may have, unpacked; send it in parts")]
    TooLarge(usize),
    #[error("the body is not gzip, as its Content-Encoding says, or was cut off")]
    NotGzip,
}

impl Sender {
    /// Unpacks and decodes a body. What is lost is counted in the sender's account.
    pub fn read(&self, body: Vec<u8>, packed: bool, kind: &Kind, received: Timestamp) -> Result<Batch, Unread> {
        let limit = self.body_bytes();
        let body = if packed { unpacked(&body, limit) } else { Ok(body) };
        let body = body.and_then(|body| if body.len() > limit { Err(Unread::TooLarge(limit)) } else { Ok(body) });
        let body = body.inspect_err(|why| match why {
            Unread::TooLarge(_) => self.account().one(Fate::TooLarge),
            Unread::NotGzip => self.account().one(Fate::Malformed),
        })?;
        let decoder = Decoder::new(self.forms.clone(), self.points.clone(), limit);
        let mut reading = Reading {
            decoder: decoder.writing(self.allowed.clone()).telling(TOLD),
            // Of this request alone, so that the sender can be told; then it is added to the sender's.
            losses: Ledger::default().account(self.name()),
            batch: Batch::default(),
            received,
        };
        match kind {
            Kind::Json => reading.take(API_JSON, &body, 0),
            Kind::Csv => reading.take(API_CSV, &body, 0),
            Kind::Lines(precision) => reading.take(&format!("{API_LINES}/{precision}"), &body, 0),
            Kind::NdJson => {
                for (line, text) in (1..).zip(body.split(|byte| *byte == b'\n')) {
                    if !text.trim_ascii().is_empty() {
                        reading.take(API_JSON, text, line);
                    }
                }
            }
        }
        Ok(reading.counted(self.account()))
    }
}

struct Reading {
    decoder: Decoder,
    losses: std::sync::Arc<Account>,
    batch: Batch,
    received: Timestamp,
}

impl Reading {
    /// `line`: the line that all of it stands in, 0 when it is not one of many.
    fn take(&mut self, topic: &str, payload: &[u8], line: usize) {
        let Self { decoder, losses, batch, received } = self;
        if let Err(fate) = decoder.decode(topic.as_bytes(), payload, *received, &mut batch.samples, losses) {
            losses.one(fate);
        }
        let room = TOLD.saturating_sub(batch.unusable.len());
        batch.unusable.extend(decoder.losses().iter().take(room).map(|loss| Unusable {
            place: if line == 0 { loss.place } else { line },
            fate: loss.fate,
            about: loss.about.clone(),
        }));
    }

    fn counted(self, account: &Account) -> Batch {
        let Self { losses, mut batch, .. } = self;
        for (fate, count) in losses.seen() {
            account.add(fate, count);
            *(if kept(fate) { &mut batch.flagged } else { &mut batch.rejected }) += count;
        }
        batch
    }
}

fn unpacked(body: &[u8], limit: usize) -> Result<Vec<u8>, Unread> {
    let mut bytes = Vec::new();
    // One more than allowed, to know that there is more.
    let mut gzip = MultiGzDecoder::new(body).take(limit as u64 + 1);
    match gzip.read_to_end(&mut bytes) {
        Ok(_) if bytes.len() > limit => Err(Unread::TooLarge(limit)),
        Ok(_) => Ok(bytes),
        Err(_) => Err(Unread::NotGzip),
    }
}
