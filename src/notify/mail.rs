//! Messages as mails over SMTP.
//!
//! ```text
//!  Subject: 【演练】[P1 红色] 停止作业，撤出人员：采煤工作面瓦斯超限，mine-3 T1
//!  Message-ID: <ALARM.41@davy>              the same on every try: a mail that arrives twice is known as one
//! ```
//! In comes a message; out goes one plain-text mail to one address over TLS, STARTTLS or, to this machine
//! only, without either. 2xx is delivered. 4xx, a timeout, a lost connection and a refused login may work
//! later; any other 5xx is refused for good. A login is never sent without encryption and never printed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lettre::message::{Mailbox, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::response::Response;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use serde::Deserialize;

use super::link::Links;
use super::template::{Bound, Template};
use super::webhook::{ten_seconds, timeout};
use super::wish::Wish;
use super::wording::Language;
use super::{Channel, Delivery, Failure, Message};
use crate::config::{Key, Problems};
use crate::remote::{self, SecretPlace};

pub const CHANNEL: &str = "mail";

/// Bytes of a mail's text; more is of no use to anybody.
const TEXT: Bound = Bound::Bytes(64 * 1024);
/// Bytes of a subject before it is encoded.
const SUBJECT: usize = 240;
/// Bytes of an answer that go into the receipt.
const SHOWN: usize = 200;

/// `[notify.mail.<name>]` as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    /// `host` or `host:port`.
    server: String,
    #[serde(default = "tls")]
    security: String,
    from: String,
    to: String,
    user: Option<String>,
    password_file: Option<String>,
    password_env: Option<String>,
    /// PEM file of the authority that signed the server's certificate, where it is the site's own.
    ca_file: Option<PathBuf>,
    #[serde(default = "ten_seconds")]
    timeout: String,
}

fn tls() -> String {
    "tls".into()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Security {
    /// From the first byte.
    Tls,
    /// Asked for before anything else is said.
    StartTls,
    /// To this machine only.
    None,
}

impl Security {
    const ALL: [(&'static str, Self); 3] = [("tls", Self::Tls), ("starttls", Self::StartTls), ("none", Self::None)];

    const fn port(self) -> u16 {
        match self {
            Self::Tls => 465,
            Self::StartTls => 587,
            Self::None => 25,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    host: String,
    port: u16,
    security: Security,
    from: Mailbox,
    to: Mailbox,
    login: Option<(String, SecretPlace)>,
    authority: Option<PathBuf>,
    timeout: Duration,
}

impl Raw {
    pub fn check(self, at: &Key, problems: &mut Problems) -> Option<Config> {
        let security = problems.known(at.field("security"), &self.security, "security", Security::ALL);
        let server = server(problems, at.field("server"), &self.server);
        let mailbox = "a mail address such as duty@county.example";
        let from = problems.parsed(at.field("from"), &self.from, mailbox);
        let to = problems.parsed(at.field("to"), &self.to, mailbox);
        let password = remote::secret(problems, at, "password", self.password_file, self.password_env);
        let timeout = timeout(problems, at, &self.timeout);
        let (security, (host, port), password) = (security?, server?, password?);
        let loopback = host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        if security == Security::None && !loopback {
            problems.add(at.field("security"), "\"none\" is only for a server on this machine: write tls or starttls");
            return None;
        }
        let login = match (self.user, password) {
            (None, None) => None,
            (Some(user), Some(password)) => Some((user, password)),
            (Some(_), None) => {
                problems.add(at.field("password_file"), "is missing: user is given");
                return None;
            }
            (None, Some(_)) => {
                problems.add(at.field("user"), "is missing: a password is given");
                return None;
            }
        };
        let port = port.unwrap_or_else(|| security.port());
        let (from, to, timeout) = (from?, to?, timeout?);
        let config = Config { host, port, security, from, to, login, authority: self.ca_file, timeout };
        if let Err(error) = config.tls() {
            problems.add(at.field("ca_file"), error.to_string());
            return None;
        }
        Some(config)
    }
}

/// `smtp.county.example`, `10.0.0.9:2525`, `[::1]:25`.
fn server(problems: &mut Problems, at: Key, text: &str) -> Option<(String, Option<u16>)> {
    let url: Option<remote::Url> = format!("smtp://{text}").parse().ok();
    let plain = !text.is_empty() && !text.contains(['/', '@', '?', '#']);
    let found = url.filter(|_| plain).and_then(|url| {
        let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
        Some((host, url.port()))
    });
    if found.is_none() {
        problems.add(at, format!("{text:?} is not host or host:port, such as smtp.county.example:465"));
    }
    found
}

impl Config {
    fn tls(&self) -> Result<Tls, remote::Error> {
        let parameters = || {
            let mut builder = TlsParameters::builder(self.host.clone());
            if let Some(path) = &self.authority {
                builder = builder.certificate_store(CertificateStore::None).add_root_certificate(authority(path)?);
            }
            let path = self.authority.clone().unwrap_or_default();
            builder.build_rustls().map_err(|error| remote::Error::Certificate { path, source: error.into() })
        };
        Ok(match self.security {
            Security::Tls => Tls::Wrapper(parameters()?),
            Security::StartTls => Tls::Required(parameters()?),
            Security::None => Tls::None,
        })
    }
}

fn authority(path: &Path) -> Result<Certificate, remote::Error> {
    let fault =
        |source: Box<dyn std::error::Error + Send + Sync>| remote::Error::Certificate { path: path.to_owned(), source };
    let text = std::fs::read(path).map_err(|error| fault(error.into()))?;
    if !text.windows(11).any(|word| word == b"-----BEGIN ") {
        return Err(fault("it holds no certificate; it must be PEM".into()));
    }
    Certificate::from_pem(&text).map_err(|error| fault(error.into()))
}

pub struct Mail {
    config: Config,
    template: Template,
    language: Language,
    links: Option<Links>,
    transport: AsyncSmtpTransport<Tokio1Executor>,
}

impl Mail {
    /// Reads the password and the authority's certificate.
    pub fn new(config: &Config, wish: &Wish, links: Option<Links>) -> Result<Self, remote::Error> {
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&config.host)
            .port(config.port)
            .tls(config.tls()?)
            .timeout(Some(config.timeout));
        if let Some((user, password)) = &config.login {
            builder = builder.credentials(Credentials::new(user.clone(), password.read()?.expose().to_owned()));
        }
        let template = Template::new(wish);
        Ok(Self { config: config.clone(), template, language: wish.language, links, transport: builder.build() })
    }

    fn letter(&self, message: &Message) -> Result<lettre::Message, Failure> {
        let id = format!("<{}.{}@davy>", message.alarm.id, message.outbox);
        let text = self.template.linked(message, self.links.as_ref(), TEXT);
        let letter = lettre::Message::builder()
            .from(self.config.from.clone())
            .to(self.config.to.clone())
            .subject(self.subject(message))
            .message_id(Some(id))
            .references(format!("<{}@davy>", message.alarm.id))
            .singlepart(SinglePart::plain(text));
        letter.map_err(|error| Failure::for_good(format!("the mail cannot be written: {error}")))
    }

    fn subject(&self, message: &Message) -> String {
        let words = self.language.words(message);
        let others = message.summary.as_ref().map_or(message.others.len(), |summary| summary.messages - 1);
        let more = if others == 0 { String::new() } else { format!(" (+{others})") };
        let colon = self.language.choose("：", ": ");
        let action = if words.action.is_empty() { String::new() } else { words.action + colon };
        let comma = self.language.choose("，", ", ");
        let text = format!(
            "{}[{} {}]{more} {action}{}{comma}{}",
            words.mark, words.priority, words.level, words.what, words.place
        );
        remote::one_line(&text, SUBJECT)
    }

    async fn send(&self, message: &Message) -> Result<String, Failure> {
        let letter = self.letter(message)?;
        // The transport's own time limit is one for each command.
        match tokio::time::timeout(self.config.timeout, self.transport.send(letter)).await {
            Ok(Ok(answer)) => Ok(said(&answer)),
            Ok(Err(error)) => Err(refused(&error)),
            Err(_) => {
                let server = format!("{}:{}", self.config.host, self.config.port);
                let within = crate::model::duration_text(self.config.timeout);
                Err(Failure::temporary(format!("{server} did not take the mail within {within}")))
            }
        }
    }
}

impl Channel for Mail {
    fn deliver<'a>(&'a self, message: &'a Message) -> Delivery<'a> {
        Box::pin(self.send(message))
    }
}

fn said(answer: &Response) -> String {
    let words = answer.message().collect::<Vec<_>>().join(" ");
    remote::one_line(&format!("{} {words}", answer.code()), SHOWN)
}

/// RFC 5321 4.2.1: 4xx may work later, 5xx will not. RFC 4954 6: 530, 534, 535 and 538 are about the login,
/// which a person can set right while the mail waits.
fn refused(error: &lettre::transport::smtp::Error) -> Failure {
    let text = remote::one_line(&remote::chain(error), SHOWN);
    let code = error.status().map(u16::from);
    let login = matches!(code, Some(530 | 534 | 535 | 538));
    if error.is_permanent() && !login { Failure::for_good(text) } else { Failure::temporary(text) }
}

#[cfg(test)]
mod tests;
