//! Short messages and telephone calls through a provider's HTTP interface, whichever it is.
//!
//! ```toml
//!  [notify.sms.captain]
//!  url = "https://sms.example/send"   number = "13900000000"   secret_file = "secrets/sms"
//!  headers = { Authorization = "Bearer {{ secret }}" }
//!  json = { mobile = "{{ number }}", content = "{{ text }}" }      # or form = { .. }, query = { .. }
//!  success_path = "result.code"   success_value = "0"
//! ```
//! Each text in `headers`, `query`, `json` and `form` is a template of its own, filled in and only then encoded, so
//! no word of an alarm can break out of its place. Delivered is a 2xx whose answer holds `success_value` at
//! `success_path`. Another value waits and is tried again, unless it is one of `refused_values`, which are for good.
//! The secret is never logged or put into a receipt. A telephone call has an `outcome` ([`outcome`]): what is delivered is
//! then what was picked up, and the key that somebody presses acknowledges what the call told.

mod outcome;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value, context};
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value as Json;

use super::link::Links;
use super::template::{Bound, Template};
use super::webhook::{ten_seconds, timeout};
use super::wish::Wish;
use super::{Channel, Delivery, Failure, Message, Say};
use crate::clock;
use crate::config::{Key, Problems};
use crate::journal::{Acknowledge, Note};
use crate::remote::{self, Secret, SecretPlace, Url};
use crate::response::StepKind;

use outcome::{Asking, Ended};

pub const CHANNEL: &str = "sms";

/// `[notify.sms.<name>]` as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    url: String,
    #[serde(default = "post")]
    method: String,
    /// Of one person: each has a queue and receipts of their own.
    number: String,
    secret_file: Option<String>,
    secret_env: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    query: BTreeMap<String, String>,
    form: Option<BTreeMap<String, String>>,
    json: Option<toml::Table>,
    /// Names and places of a list with dots between: `result.0.code`.
    success_path: Option<String>,
    success_value: Option<String>,
    #[serde(default)]
    refused_values: Vec<String>,
    outcome: Option<outcome::Raw>,
    #[serde(default = "three")]
    parts: usize,
    ca_file: Option<PathBuf>,
    #[serde(default = "ten_seconds")]
    timeout: String,
}

fn post() -> String {
    "POST".into()
}

const fn three() -> usize {
    3
}

/// Texts with `{{ .. }}` in them.
type Texts = Vec<(String, String)>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Body {
    None,
    Form(Texts),
    Json(Json),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    url: Url,
    method: Method,
    number: String,
    secret: Option<SecretPlace>,
    headers: Texts,
    query: Texts,
    body: Body,
    success: Option<(String, String)>,
    refused: Vec<String>,
    /// It is a call, and the provider says how it went.
    outcome: Option<Box<outcome::Config>>,
    parts: usize,
    authority: Option<PathBuf>,
    timeout: Duration,
}

impl Raw {
    pub fn check(self, at: &Key, problems: &mut Problems) -> Option<Config> {
        let before = problems.len();
        let url = remote::address(problems, at.field("url"), &self.url);
        let methods = [("POST", Method::POST), ("GET", Method::GET), ("PUT", Method::PUT)];
        let method = problems.known(at.field("method"), &self.method, "method", methods);
        let number = number(problems, at, &self.number);
        let secret = remote::secret(problems, at, "secret", self.secret_file, self.secret_env);
        let parts = problems.within(at.field("parts"), self.parts, 1..=10);
        let timeout = timeout(problems, at, &self.timeout);
        let success = match (self.success_path, self.success_value) {
            (Some(path), Some(value)) => Some((path, value)),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                problems.add(at.field("success_value"), "success_path and success_value belong together: write both");
                None
            }
        };
        let (headers, query): (Texts, Texts) = (self.headers.into_iter().collect(), self.query.into_iter().collect());
        let body = match (self.form, self.json) {
            (None, None) => Body::None,
            (Some(form), None) => Body::Form(form.into_iter().collect()),
            (None, Some(json)) => Body::Json(serde_json::to_value(json).unwrap_or(Json::Null)),
            (Some(_), Some(_)) => {
                problems.add(at.field("json"), "form is given too; leave one of them");
                Body::None
            }
        };
        for (name, _) in &headers {
            if reqwest::header::HeaderName::from_bytes(name.as_bytes()).is_err() {
                problems.add(at.field("headers").field(name), "is not the name of a header");
            }
        }
        try_out(&headers, &at.field("headers"), problems);
        try_out(&query, &at.field("query"), problems);
        match &body {
            Body::None => {}
            Body::Form(form) => try_out(form, &at.field("form"), problems),
            Body::Json(json) => try_out(&leaves("", json), &at.field("json"), problems),
        }
        let outcome = match self.outcome {
            Some(raw) => Some(Box::new(raw.check(&at.field("outcome"), self.ca_file.as_deref(), problems)?)),
            None => None,
        };
        let config = Config {
            url: url?,
            method: method?,
            number: number?,
            secret: secret?,
            headers,
            query,
            body,
            success,
            refused: self.refused_values,
            outcome,
            parts: parts?,
            authority: self.ca_file,
            timeout: timeout?,
        };
        if let Err(error) = remote::client(&config.url, config.authority.as_deref(), config.timeout) {
            problems.add(at.field("ca_file"), remote::chain(&error));
        }
        (problems.len() == before).then_some(config)
    }
}

/// `13900000000`, `+8613900000000`.
pub(super) fn number(problems: &mut Problems, at: &Key, text: &str) -> Option<String> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    if (3..=20).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.to_owned());
    }
    problems.add(at.field("number"), format!("{text:?} is not a telephone number: digits, with + in front or without"));
    None
}

/// Fills every text once; what is wrong with one is told with its key.
fn try_out(texts: &Texts, at: &Key, problems: &mut Problems) {
    let message = Message::example();
    let blanks = Blanks { message: &message, number: "1", text: "text", secret: "secret" };
    for (name, text) in texts {
        if let Err(error) = blanks.fill(text) {
            let what = error.detail().map_or_else(|| error.kind().to_string(), ToOwned::to_owned);
            problems.add(at.field(name.trim_start_matches('.')), format!("{text:?} cannot be filled: {what}"));
        }
    }
}

/// Every text in a JSON body with where it stands.
fn leaves(at: &str, json: &Json) -> Texts {
    match json {
        Json::String(text) => vec![(at.to_owned(), text.clone())],
        Json::Array(list) => {
            list.iter().enumerate().flat_map(|(place, one)| leaves(&format!("{at}.{place}"), one)).collect()
        }
        Json::Object(map) => map.iter().flat_map(|(name, one)| leaves(&format!("{at}.{name}"), one)).collect(),
        Json::Null | Json::Bool(_) | Json::Number(_) => Texts::new(),
    }
}

/// What a text of the request may name.
struct Blanks<'a> {
    message: &'a Message,
    number: &'a str,
    text: &'a str,
    secret: &'a str,
}

impl Blanks<'_> {
    fn fill(&self, text: &str) -> Result<String, minijinja::Error> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        environment.render_str(
            text,
            context! {
                number => self.number,
                text => self.text,
                secret => self.secret,
                id => format!("davy-{}", self.message.outbox),
                timestamp => clock::now().micros() / 1_000_000,
                alarm => Value::from(Serde(&self.message.alarm)),
            },
        )
    }

    fn fill_all(&self, texts: &Texts) -> Result<Texts, minijinja::Error> {
        texts.iter().map(|(name, text)| Ok((name.clone(), self.fill(text)?))).collect()
    }

    fn fill_json(&self, json: &Json) -> Result<Json, minijinja::Error> {
        Ok(match json {
            Json::String(text) => Json::String(self.fill(text)?),
            Json::Array(list) => Json::Array(list.iter().map(|one| self.fill_json(one)).collect::<Result<_, _>>()?),
            Json::Object(map) => {
                let filled = map.iter().map(|(name, one)| Ok((name.clone(), self.fill_json(one)?)));
                Json::Object(filled.collect::<Result<_, minijinja::Error>>()?)
            }
            Json::Null | Json::Bool(_) | Json::Number(_) => json.clone(),
        })
    }
}

pub struct Sms {
    config: Config,
    client: reqwest::Client,
    secret: Option<Secret>,
    template: Template,
    links: Option<Links>,
    /// Who acknowledges by a key where nobody was called by name.
    name: String,
    say: Say,
}

/// Where a key that is pressed goes, and in whose name.
pub struct Keys {
    pub name: String,
    pub say: Say,
}

impl Sms {
    /// Bytes of an answer that are read.
    const ANSWER: usize = 16 * 1_024;
    /// Bytes of it that go into the receipt.
    const SHOWN: usize = 200;

    /// Reads the secret.
    pub fn new(config: &Config, wish: &Wish, links: Option<Links>, keys: Keys) -> Result<Self, remote::Error> {
        Ok(Self {
            config: config.clone(),
            client: remote::client(&config.url, config.authority.as_deref(), config.timeout)?,
            secret: config.secret.as_ref().map(SecretPlace::read).transpose()?,
            template: Template::new(wish),
            links,
            name: keys.name,
            say: keys.say,
        })
    }

    fn request(&self, message: &Message, text: &str) -> Result<reqwest::RequestBuilder, minijinja::Error> {
        let secret = self.secret.as_ref().map_or("", Secret::expose);
        let blanks = Blanks { message, number: &self.config.number, text, secret };
        let mut url = self.config.url.clone();
        if !self.config.query.is_empty() {
            url.query_pairs_mut().extend_pairs(blanks.fill_all(&self.config.query)?);
        }
        let mut request = self.client.request(self.config.method.clone(), url);
        for (name, value) in blanks.fill_all(&self.config.headers)? {
            request = request.header(name, value);
        }
        Ok(match &self.config.body {
            Body::None => request,
            Body::Form(form) => {
                let mut encoded: Url = "form:".parse().expect("an address without a place");
                encoded.query_pairs_mut().extend_pairs(blanks.fill_all(form)?);
                let body = encoded.query().unwrap_or_default().to_owned();
                request.header("content-type", "application/x-www-form-urlencoded").body(body)
            }
            Body::Json(json) => request.json(&blanks.fill_json(json)?),
        })
    }

    async fn send(&self, message: &Message) -> Result<String, Failure> {
        let text = self.template.linked(message, self.links.as_ref(), Bound::Parts(self.config.parts));
        let request = self.request(message, &text);
        let request = request.map_err(|error| Failure::temporary(format!("the request cannot be filled: {error}")))?;
        let answer = request.send().await;
        let answer = answer.map_err(|error| Failure::temporary(remote::chain(&error.without_url())))?;
        let status = answer.status().as_u16();
        let retry_after = remote::retry_after(answer.headers(), clock::now());
        let said = remote::beginning(answer, Self::ANSWER).await;
        let taken = self.judge(status, &said).map_err(|failure| Failure { retry_after, ..failure })?;
        match &self.config.outcome {
            None => Ok(taken),
            Some(outcome) => self.follow(outcome, message, (&text, &said), taken).await,
        }
    }

    /// The call to its end. `spoken`: what was asked for, and the answer that took it.
    async fn follow(
        &self,
        outcome: &outcome::Config,
        message: &Message,
        (text, said): (&str, &str),
        taken: String,
    ) -> Result<String, Failure> {
        let Some(call) = outcome.address(said) else {
            return Err(Failure::temporary(format!("no id of the call in the answer: {taken}")));
        };
        let secret = self.secret.as_ref();
        let blanks = Blanks { message, number: &self.config.number, text, secret: secret.map_or("", Secret::expose) };
        let headers = blanks.fill_all(&self.config.headers);
        let headers = headers.map_err(|error| Failure::temporary(format!("the headers cannot be filled: {error}")))?;
        let asking = Asking { client: &self.client, secret, headers: &headers };
        let called = message.why.as_ref().is_some_and(|why| why.kind == StepKind::Call);
        match outcome.follow(&call, &asking).await {
            Ended::PickedUp { pressed: false } => Ok("已接听 / picked up".to_owned()),
            Ended::PickedUp { pressed: true } => {
                let pressed = "已接听并按键 / picked up, and the key pressed".to_owned();
                match self.acknowledge(message) {
                    None => Ok(pressed),
                    Some(note) => {
                        let kept = (self.say)(note).await;
                        kept.map(|()| pressed).map_err(|error| Failure::temporary(error.to_string()))
                    }
                }
            }
            // Whoever calls by the clock goes on to the next; a message that nobody is called for is tried again.
            Ended::Busy if called => Err(Failure::unanswered("忙线 / busy")),
            Ended::NoAnswer if called => Err(Failure::unanswered("无人接听 / no answer")),
            Ended::Busy => Err(Failure::temporary("忙线 / busy")),
            Ended::NoAnswer => Err(Failure::temporary("无人接听 / no answer")),
            Ended::Unknown(last) => {
                let within = crate::model::duration_text(outcome.within);
                let told = format!("no outcome of the call within {within}; last: {last}");
                Err(if called { Failure::nobody(told) } else { Failure::temporary(told) })
            }
        }
    }

    /// Of exactly what the call told; nothing where it told of nothing that can be acknowledged.
    fn acknowledge(&self, message: &Message) -> Option<Note> {
        let alarm = &message.published.change.alarm;
        // Neither of a test, nor of what is over.
        if message.change.is_none() || !alarm.standing.waits() {
            return None;
        }
        let person = message.why.as_ref().map(|why| why.person.as_str()).filter(|person| !person.is_empty());
        Some(Note::Acknowledge(Acknowledge {
            command: 0,
            at: clock::now(),
            occurrence: alarm.id.clone(),
            raises: alarm.raises,
            by: person.unwrap_or(&self.name).to_owned(),
            comment: "电话按键 / by telephone key".to_owned(),
            seen: None,
        }))
    }

    /// What the answer means: its status, and the value where the provider says how it went.
    fn judge(&self, status: u16, said: &str) -> Result<String, Failure> {
        let mut shown = remote::one_line(&format!("{status} {said}"), Self::SHOWN);
        if let Some(secret) = &self.secret {
            shown = shown.replace(secret.expose(), "(secret)");
        }
        if !(200..300).contains(&status) {
            return Err(Failure::temporary(shown));
        }
        let Some((path, wanted)) = &self.config.success else { return Ok(shown) };
        let told = serde_json::from_str(said).ok().and_then(|json: Json| value_at(&json, path));
        match told {
            Some(value) if value == *wanted => Ok(shown),
            Some(value) if self.config.refused.contains(&value) => Err(Failure::for_good(shown)),
            Some(_) => Err(Failure::temporary(shown)),
            None => Err(Failure::temporary(format!("no {path} in the answer: {shown}"))),
        }
    }
}

impl Channel for Sms {
    fn deliver<'a>(&'a self, message: &'a Message) -> Delivery<'a> {
        Box::pin(self.send(message))
    }
}

/// The value at `a.0.b` as text.
fn value_at(json: &Json, path: &str) -> Option<String> {
    let found = path.split('.').try_fold(json, |here, name| match here {
        Json::Array(list) => list.get(name.parse::<usize>().ok()?),
        Json::Object(_) | Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => here.get(name),
    })?;
    Some(found.as_str().map_or_else(|| found.to_string(), ToOwned::to_owned))
}

#[cfg(test)]
mod tests;
