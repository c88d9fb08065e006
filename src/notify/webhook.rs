//! Messages as signed HTTP POSTs.
//!
//! ```text
//!  Davy-Timestamp: 1800000000                       seconds; the receiver refuses old ones
//!  Davy-Signature: sha256=<hex>                     HMAC-SHA-256 of "<timestamp>.<body>" with the secret
//!  Idempotency-Key: davy-<outbox row>               the same on every try
//! ```
//! 2xx is delivered. 408, 425, 429 and 5xx, a timeout and a lost connection may work later; any other
//! status, a redirect among them, is refused for good. Addresses of robots hold their password, so an
//! address is never logged or put into a receipt.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;

use super::{Channel, Delivery, Failure, Message};
use crate::clock;
use crate::config::{Key, Problems};
use crate::model::Timestamp;
use crate::remote::{self, Secret, SecretPlace, Url};

pub const CHANNEL: &str = "webhook";

/// `[notify.webhook.<name>]` as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    url: String,
    secret_file: Option<String>,
    secret_env: Option<String>,
    /// PEM file of the authority that signed the server's certificate, where it is the site's own.
    ca_file: Option<PathBuf>,
    #[serde(default = "ten_seconds")]
    timeout: String,
}

pub(super) fn ten_seconds() -> String {
    "10s".into()
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    url: Url,
    secret: Option<SecretPlace>,
    authority: Option<PathBuf>,
    timeout: Duration,
}

impl Raw {
    pub fn check(self, at: &Key, problems: &mut Problems) -> Option<Config> {
        let url = remote::address(problems, at.field("url"), &self.url);
        let secret = remote::secret(problems, at, "secret", self.secret_file, self.secret_env);
        let timeout = timeout(problems, at, &self.timeout);
        let config = Config { url: url?, secret: secret?, authority: self.ca_file, timeout: timeout? };
        match remote::client(&config.url, config.authority.as_deref(), config.timeout) {
            Ok(_) => Some(config),
            Err(error) => {
                problems.add(at.field("ca_file"), remote::chain(&error));
                None
            }
        }
    }
}

/// `timeout`, as all channels over a network have it.
pub(super) fn timeout(problems: &mut Problems, at: &Key, text: &str) -> Option<Duration> {
    let span = |ms: u64| Duration::from_millis(ms);
    problems.duration(at.field("timeout"), text, span(100)..=span(60_000))
}

/// Bytes of an answer that go into the receipt.
const SHOWN: usize = 200;

pub struct Webhook {
    client: reqwest::Client,
    url: Url,
    secret: Option<Secret>,
}

impl Webhook {
    /// Reads the secret.
    pub fn new(config: &Config) -> Result<Self, remote::Error> {
        Ok(Self {
            client: remote::client(&config.url, config.authority.as_deref(), config.timeout)?,
            url: config.url.clone(),
            secret: config.secret.as_ref().map(SecretPlace::read).transpose()?,
        })
    }

    async fn post(&self, message: &Message) -> Result<String, Failure> {
        let (body, key) = (message.json(), format!("davy-{}", message.outbox));
        post(&self.client, &self.url, self.secret.as_ref(), Sheet { media: "application/json", key, body }).await
    }
}

/// What is sent.
pub(super) struct Sheet {
    pub media: &'static str,
    /// The same on every try.
    pub key: String,
    pub body: Vec<u8>,
}

/// One try, signed where there is a secret.
pub(super) async fn post(
    client: &reqwest::Client,
    url: &Url,
    secret: Option<&Secret>,
    sheet: Sheet,
) -> Result<String, Failure> {
    let now = clock::now();
    let mut request = client
        .post(url.clone())
        .header("content-type", sheet.media)
        .header("davy-timestamp", seconds(now))
        .header("idempotency-key", sheet.key);
    if let Some(secret) = secret {
        request = request.header("davy-signature", signature(secret.expose(), &seconds(now), &sheet.body));
    }
    let answer = request.body(sheet.body).send().await;
    let answer = answer.map_err(|error| Failure::temporary(remote::chain(&error.without_url())))?;
    let status = answer.status().as_u16();
    let retry_after = remote::retry_after(answer.headers(), now);
    let said = remote::beginning(answer, SHOWN).await;
    let text = format!("{status} {said}").trim_end().to_owned();
    match status {
        200..300 => Ok(text),
        408 | 425 | 429 | 500..600 => Err(Failure { retry_after, ..Failure::temporary(text) }),
        300..400 => Err(Failure::for_good(format!("{text} (redirects are not followed; write the final address)"))),
        _ => Err(Failure::for_good(text)),
    }
}

impl Channel for Webhook {
    fn deliver<'a>(&'a self, message: &'a Message) -> Delivery<'a> {
        Box::pin(self.post(message))
    }
}

fn seconds(now: Timestamp) -> String {
    (now.micros() / 1_000_000).to_string()
}

fn signature(secret: &str, timestamp: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    let mut text = "sha256=".to_owned();
    for byte in mac.finalize().into_bytes() {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
    }
    text
}
