//! Feeds for neighbours: who may read, what of it, how often they did.
//!
//! The token is read anew from its file at each request: whoever empties or changes the file has shut the feed.

use std::sync::atomic::AtomicU64;

use minijinja::value::Serde;
use minijinja::{Environment, Value, context};
use serde::Serialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::config::Choice;
use crate::alarm::Level;
use crate::remote::SecretPlace;

/// Shorter tokens are guessed.
const TOKEN_BYTES: usize = 16;

/// One neighbour's feed.
#[derive(Debug)]
pub struct Feed {
    pub name: String,
    token: SecretPlace,
    choice: Choice,
    /// Newest messages in the feed.
    pub most: usize,
    pub read: AtomicU64,
    pub unchanged: AtomicU64,
    pub refused: AtomicU64,
}

impl Clone for Feed {
    /// The same feed; its counters begin anew.
    fn clone(&self) -> Self {
        Self::new(self.name.clone(), self.token.clone(), self.choice.clone(), self.most)
    }
}

/// A published message, for a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    pub identifier: String,
    /// `Alert`, `Update`, `Cancel`.
    pub kind: String,
    pub status: String,
    pub site: String,
    pub level: String,
    /// As in the message: +08:00.
    pub sent: String,
    pub headline: String,
}

impl Feed {
    #[must_use]
    pub const fn new(name: String, token: SecretPlace, choice: Choice, most: usize) -> Self {
        let (read, unchanged, refused) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        Self { name, token, choice, most, read, unchanged, refused }
    }

    /// Does the token open this feed? Reads a file. A token that cannot be read, or is too short, opens nothing.
    #[must_use]
    pub fn opens(&self, token: &[u8]) -> bool {
        let Ok(secret) = self.token.read() else { return false };
        let expected = secret.expose().as_bytes();
        let same = Sha256::digest(token).ct_eq(&Sha256::digest(expected));
        expected.len() >= TOKEN_BYTES && bool::from(same)
    }

    #[must_use]
    pub fn takes(&self, entry: &Entry) -> bool {
        let level = Level::ALL.into_iter().find(|level| level.word() == entry.level);
        level.is_some_and(|level| self.choice.takes(&entry.site, level))
    }
}

/// All feeds of the gateway.
#[derive(Debug, Default)]
pub struct Feeds {
    pub list: Vec<Feed>,
    /// Who stands behind them.
    pub author: String,
}

impl Feeds {
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Feed> {
        self.list.iter().find(|feed| feed.name == name)
    }
}

/// The feed as Atom (RFC 4287), newest message first.
pub fn atom(feed: &str, author: &str, entries: &[Entry]) -> Result<String, minijinja::Error> {
    let mut templates = Environment::new();
    templates.add_template("feed.xml", include_str!("feed.xml"))?;
    // A feed without messages was never updated.
    let updated = entries.iter().map(|entry| entry.sent.as_str()).max().unwrap_or("1970-01-01T08:00:00+08:00");
    let entries = Value::from(Serde(&entries));
    templates.get_template("feed.xml")?.render(context! { name => feed, author, updated, entries })
}
