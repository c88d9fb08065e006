//! Messages to group robots of WeCom, DingTalk and Feishu.
//!
//! ```text
//!  WeCom      POST {url}?key=KEY                                    errcode 0 of the answer is delivered
//!  DingTalk   POST {url}?access_token=TOKEN&timestamp=MS&sign=..    base64 of HMAC-SHA-256(secret, "MS\nsecret")
//!  Feishu     POST {url}/TOKEN   {"timestamp":"S","sign":..}        base64 of HMAC-SHA-256("S\nsecret", "")
//! ```
//! They answer HTTP 200 whatever happens, so the code inside counts. What it says of a rate limit means to wait as
//! long as the robot is closed; any other code waits too, because a wrong key or a missing keyword is a thing that
//! people set right. All take 20 messages a minute at least; what comes faster is told as one. Key, token and
//! secret are part of the address or next to it: neither is ever logged or put into a receipt.
//! Sources: developer.work.weixin.qq.com document 91770, open.dingtalk.com "custom robot access", open.feishu.cn
//! "custom bot usage guide".

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::Sha256;

use super::link::Links;
use super::queue::Pace;
use super::template::{Bound, Template};
use super::webhook::{ten_seconds, timeout};
use super::wish::Wish;
use super::{Channel, Delivery, Failure, Message};
use crate::clock;
use crate::config::{Key, Problems};
use crate::model::Timestamp;
use crate::remote::{self, Secret, SecretPlace, Url};

/// Whose robot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    WeCom,
    DingTalk,
    Feishu,
}

impl Maker {
    /// Also the name of the configuration's tables.
    pub const fn channel(self) -> &'static str {
        match self {
            Self::WeCom => "wecom",
            Self::DingTalk => "dingtalk",
            Self::Feishu => "feishu",
        }
    }

    const fn url(self) -> &'static str {
        match self {
            Self::WeCom => "https://qyapi.weixin.qq.com/cgi-bin/webhook/send",
            Self::DingTalk => "https://oapi.dingtalk.com/robot/send",
            Self::Feishu => "https://open.feishu.cn/open-apis/bot/v2/hook",
        }
    }

    /// WeCom takes 2,048 bytes as text and 4,096 as markdown; the others about 20 kB in all.
    const fn bound(self, markdown: bool) -> Bound {
        match self {
            Self::WeCom => Bound::Bytes(if markdown { 4_096 } else { 2_048 }),
            Self::DingTalk | Self::Feishu => Bound::Bytes(16_000),
        }
    }

    /// For how long a robot that was asked too often takes nothing: WeCom counts by the minute (45009), DingTalk
    /// closes for ten minutes (130101, 660026, 90030, 410100), Feishu counts by second and minute (9499, 11232).
    fn closed_for(self, code: i64) -> Option<Duration> {
        match (self, code) {
            (Self::WeCom, 45_009) | (Self::Feishu, 9_499 | 11_232) => Some(Duration::from_secs(60)),
            (Self::DingTalk, 130_101 | 660_026 | 90_030 | 410_100) => Some(Duration::from_secs(600)),
            (Self::WeCom | Self::DingTalk | Self::Feishu, _) => None,
        }
    }
}

/// `[notify.wecom.<name>]`, `[notify.dingtalk.<name>]`, `[notify.feishu.<name>]` as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    /// Without the key; another one for a robot inside the site's own network.
    url: Option<String>,
    /// `key` of WeCom, `access_token` of DingTalk, the end of the address of Feishu.
    key_file: Option<String>,
    key_env: Option<String>,
    /// Signs messages; WeCom has none.
    secret_file: Option<String>,
    secret_env: Option<String>,
    #[serde(default)]
    markdown: bool,
    ca_file: Option<PathBuf>,
    #[serde(default = "ten_seconds")]
    timeout: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    maker: Maker,
    url: Url,
    key: SecretPlace,
    secret: Option<SecretPlace>,
    markdown: bool,
    authority: Option<PathBuf>,
    timeout: Duration,
}

impl Raw {
    pub fn check(self, maker: Maker, at: &Key, problems: &mut Problems) -> Option<Config> {
        let url = remote::address(problems, at.field("url"), self.url.as_deref().unwrap_or(maker.url()));
        let key = remote::secret(problems, at, "key", self.key_file, self.key_env)?;
        let secret = remote::secret(problems, at, "secret", self.secret_file, self.secret_env)?;
        let timeout = timeout(problems, at, &self.timeout);
        if key.is_none() {
            problems.add(at.field("key_file"), "is missing: the file with the secret part of the robot's address");
        }
        let url = url.filter(|url| {
            let bare = url.query().is_none();
            if !bare {
                problems.add(at.field("url"), "ends before the \"?\"; write the key into the file of key_file");
            }
            bare
        });
        if maker == Maker::WeCom && secret.is_some() {
            problems.add(at.field("secret_file"), "robots of WeCom do not sign; take it out");
            return None;
        }
        if maker == Maker::Feishu && self.markdown {
            problems.add(at.field("markdown"), "robots of Feishu take plain text here; take it out");
            return None;
        }
        let (authority, markdown) = (self.ca_file, self.markdown);
        let config = Config { maker, url: url?, key: key?, secret, markdown, authority, timeout: timeout? };
        match remote::client(&config.url, config.authority.as_deref(), config.timeout) {
            Ok(_) => Some(config),
            Err(error) => {
                problems.add(at.field("ca_file"), remote::chain(&error));
                None
            }
        }
    }
}

pub struct Robot {
    maker: Maker,
    client: reqwest::Client,
    url: Url,
    key: Secret,
    secret: Option<Secret>,
    markdown: bool,
    template: Template,
    links: Option<Links>,
}

impl Robot {
    /// Bytes of an answer that are read.
    const ANSWER: usize = 4_096;
    /// Bytes of it that go into the receipt.
    const SHOWN: usize = 200;

    /// Reads key and secret.
    pub fn new(config: &Config, wish: &Wish, links: Option<Links>) -> Result<Self, remote::Error> {
        Ok(Self {
            maker: config.maker,
            client: remote::client(&config.url, config.authority.as_deref(), config.timeout)?,
            url: config.url.clone(),
            key: config.key.read()?,
            secret: config.secret.as_ref().map(SecretPlace::read).transpose()?,
            markdown: config.markdown,
            template: Template::new(wish),
            links,
        })
    }

    /// Address and body, signed for this moment.
    fn request(&self, text: &str, title: &str, now: Timestamp) -> (Url, Value) {
        let mut url = self.url.clone();
        let mut body = match (self.maker, self.markdown) {
            (Maker::WeCom, true) => json!({ "msgtype": "markdown", "markdown": { "content": text } }),
            (Maker::DingTalk, true) => json!({ "msgtype": "markdown", "markdown": { "title": title, "text": text } }),
            (Maker::WeCom | Maker::DingTalk, false) => json!({ "msgtype": "text", "text": { "content": text } }),
            (Maker::Feishu, _) => json!({ "msg_type": "text", "content": { "text": text } }),
        };
        let (secret, seconds) = (self.secret.as_ref().map(Secret::expose), now.micros() / 1_000_000);
        match self.maker {
            Maker::WeCom => drop(url.query_pairs_mut().append_pair("key", self.key.expose())),
            Maker::DingTalk => {
                let millis = (now.micros() / 1_000).to_string();
                let mut query = url.query_pairs_mut();
                query.append_pair("access_token", self.key.expose());
                if let Some(secret) = secret {
                    let sign = base64_hmac(secret, &format!("{millis}\n{secret}"));
                    query.append_pair("timestamp", &millis).append_pair("sign", &sign);
                }
            }
            Maker::Feishu => {
                if let Ok(mut path) = url.path_segments_mut() {
                    path.pop_if_empty().push(self.key.expose());
                }
                if let Some(secret) = secret {
                    body["timestamp"] = seconds.to_string().into();
                    body["sign"] = base64_hmac(&format!("{seconds}\n{secret}"), "").into();
                }
            }
        }
        (url, body)
    }

    async fn post(&self, message: &Message) -> Result<String, Failure> {
        let text = self.template.linked(message, self.links.as_ref(), self.maker.bound(self.markdown));
        let now = clock::now();
        // What a telephone shows of it before it is opened.
        let title = format!("{}{}", self.template.mark(message), message.alarm.title);
        let (url, body) = self.request(&text, &title, now);
        let answer = self.client.post(url).json(&body).send().await;
        let answer = answer.map_err(|error| Failure::temporary(remote::chain(&error.without_url())))?;
        let status = answer.status().as_u16();
        let retry_after = remote::retry_after(answer.headers(), now);
        let said = remote::beginning(answer, Self::ANSWER).await;
        self.judge(status, retry_after, &said)
    }

    /// What the answer means, by the code inside it.
    fn judge(&self, status: u16, retry_after: Option<Duration>, said: &str) -> Result<String, Failure> {
        let told: Value = serde_json::from_str(said).unwrap_or(Value::Null);
        let code = ["errcode", "code", "StatusCode"].into_iter().find_map(|name| told[name].as_i64());
        let words = ["errmsg", "msg", "StatusMessage"].into_iter().find_map(|name| told[name].as_str());
        let shown = match (code, words) {
            (Some(code), Some(words)) => format!("{status} code {code}: {words}"),
            _ => format!("{status} {said}"),
        };
        let mut shown = remote::one_line(&shown, Self::SHOWN);
        for secret in std::iter::once(&self.key).chain(&self.secret) {
            shown = shown.replace(secret.expose(), "(secret)");
        }
        match (status, code) {
            (200, Some(0)) => Ok(shown),
            (_, code) => {
                let closed = code.and_then(|code| self.maker.closed_for(code));
                Err(Failure { retry_after: closed.or(retry_after), ..Failure::temporary(shown) })
            }
        }
    }
}

impl Channel for Robot {
    fn deliver<'a>(&'a self, message: &'a Message) -> Delivery<'a> {
        Box::pin(self.post(message))
    }

    fn pace(&self) -> Option<Pace> {
        Some(Pace { most: 20, per: Duration::from_secs(60) })
    }
}

fn base64_hmac(key: &str, text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests;
