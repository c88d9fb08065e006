//! What became of a call: the provider is asked until the call has ended.
//!
//! ```toml
//!  [notify.sms.li-phone.outcome]
//!  id_path = "call.id"                       # of the call, in the answer that took it
//!  url = "https://voice.example/v1/calls/{{ call }}"
//!  state_path = "state"                      # the words of a call that has ended; any other: it goes on
//!  picked_up = ["answered"]   busy = ["busy"]   no_answer = ["no-answer", "rejected"]
//!  key_path = "pressed"   key = "1"          # the key by which whoever picked up acknowledges
//!  every = "3s"   within = "90s"
//! ```
//! Picked up is delivered, and no more: a mailbox picks up as well. Only the key says that somebody has heard it.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value as Json;

use super::value_at;
use crate::clock::Stopwatch;
use crate::config::{Key, Problems};
use crate::remote::{self, Secret, Url};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    id_path: String,
    url: String,
    state_path: String,
    picked_up: Vec<String>,
    #[serde(default)]
    busy: Vec<String>,
    #[serde(default)]
    no_answer: Vec<String>,
    key_path: Option<String>,
    key: Option<String>,
    #[serde(default = "three_seconds")]
    every: String,
    #[serde(default = "a_minute_and_a_half")]
    within: String,
}

fn three_seconds() -> String {
    "3s".into()
}

fn a_minute_and_a_half() -> String {
    "90s".into()
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Config {
    id_path: String,
    url: String,
    state_path: String,
    picked_up: Vec<String>,
    busy: Vec<String>,
    no_answer: Vec<String>,
    /// Where the key is told, and which one acknowledges.
    key: Option<(String, String)>,
    every: Duration,
    pub within: Duration,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    PickedUp {
        pressed: bool,
    },
    Busy,
    NoAnswer,
    /// The provider does not say, in the time that it has; its last words.
    Unknown(String),
}

/// Stands for the call's id in the address.
const CALL: &str = "{{ call }}";

impl Raw {
    pub fn check(self, at: &Key, authority: Option<&Path>, problems: &mut Problems) -> Option<Config> {
        let before = problems.len();
        if !self.url.contains(CALL) {
            problems.add(
                at.field("url"),
                format!("does not say which call is asked for: write {CALL} where its id stands"),
            );
        }
        if let Some(url) = remote::address(problems, at.field("url"), &self.url.replace(CALL, "id"))
            && let Err(error) = remote::client(&url, authority, Duration::from_secs(1))
        {
            problems.add(at.field("url"), remote::chain(&error));
        }
        if self.picked_up.is_empty() {
            problems.add(at.field("picked_up"), "is empty: name the provider's word for a call that was picked up");
        }
        let key = match (self.key_path, self.key) {
            (Some(path), Some(key)) => Some((path, key)),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                problems.add(at.field("key"), "key_path and key belong together: write both");
                None
            }
        };
        let seconds = Duration::from_secs;
        let every = problems.duration(at.field("every"), &self.every, Duration::from_millis(20)..=seconds(60));
        let within = problems.duration(at.field("within"), &self.within, Duration::from_millis(100)..=seconds(600));
        let config = Config {
            id_path: self.id_path,
            url: self.url,
            state_path: self.state_path,
            picked_up: self.picked_up,
            busy: self.busy,
            no_answer: self.no_answer,
            key,
            every: every?,
            within: within?,
        };
        (problems.len() == before).then_some(config)
    }
}

/// What a question about a call needs.
pub(super) struct Asking<'a> {
    pub client: &'a reqwest::Client,
    pub secret: Option<&'a Secret>,
    /// As those of the request.
    pub headers: &'a [(String, String)],
}

impl Config {
    /// The call's own address, from the answer that took it.
    pub fn address(&self, answer: &str) -> Option<Url> {
        let id = serde_json::from_str(answer).ok().and_then(|json: Json| value_at(&json, &self.id_path))?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.~".contains(c);
        // No word of an answer breaks out of its place in the address.
        let sound = !id.is_empty() && id.chars().all(plain) && !id.contains("..");
        sound.then(|| self.url.replace(CALL, &id).parse().ok())?
    }

    /// Until the call has ended, or the time is over.
    pub async fn follow(&self, call: &Url, asking: &Asking<'_>) -> Ended {
        let (watch, mut last) = (Stopwatch::start(), "nothing".to_owned());
        while watch.elapsed() < self.within {
            tokio::time::sleep(self.every).await;
            let mut request = asking.client.get(call.clone());
            for (name, value) in asking.headers {
                request = request.header(name, value);
            }
            match request.send().await {
                Ok(answer) => {
                    let said = remote::beginning(answer, super::Sms::ANSWER).await;
                    if let Some(ended) = self.judge(&said) {
                        return ended;
                    }
                    last = said;
                }
                Err(error) => last = remote::chain(&error.without_url()),
            }
        }
        let mut last = remote::one_line(&last, super::Sms::SHOWN);
        if let Some(secret) = asking.secret {
            last = last.replace(secret.expose(), "(secret)");
        }
        Ended::Unknown(last)
    }

    /// None: the call goes on.
    fn judge(&self, said: &str) -> Option<Ended> {
        let json: Json = serde_json::from_str(said).ok()?;
        let state = value_at(&json, &self.state_path)?;
        if self.picked_up.contains(&state) {
            let pressed = self.key.as_ref().is_some_and(|(path, key)| value_at(&json, path).as_ref() == Some(key));
            return Some(Ended::PickedUp { pressed });
        }
        if self.busy.contains(&state) {
            return Some(Ended::Busy);
        }
        self.no_answer.contains(&state).then_some(Ended::NoAnswer)
    }
}
