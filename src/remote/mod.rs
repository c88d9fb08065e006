//! Servers outside the gateway: what everything that speaks HTTP to one of them needs.
//!
//! In come addresses, secrets and certificates as configured; out go a checked address, a secret that
//! does not print itself, and a client that always has a timeout, follows no redirect and speaks TLS
//! through rustls with ring. Answers are read up to a bound. Nothing here retries: when to come back is
//! decided by whoever asked.

#[cfg(test)]
pub(crate) mod scripted;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;

pub use reqwest::Url;

use crate::config::{Key, Problems};
use crate::model::Timestamp;

/// A token or key; printing it shows that there is one, never what it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Where a secret is kept; read again when the server refuses the one that was read before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretPlace {
    File(PathBuf),
    Variable(String),
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("secret file {path}: {source}", path = path.display())]
    SecretFile {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("secret file {path} is empty; write the secret into it", path = path.display())]
    EmptyFile { path: PathBuf },
    #[error("environment variable {0} is not set or empty; set it before davy is started")]
    NoVariable(String),
    #[error("certificate file {path}: {source}", path = path.display())]
    Certificate {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("cannot prepare the connection: {0}")]
    Client(#[source] reqwest::Error),
}

impl SecretPlace {
    pub fn read(&self) -> Result<Secret, Error> {
        match self {
            Self::File(path) => {
                let text =
                    std::fs::read_to_string(path).map_err(|source| Error::SecretFile { path: path.clone(), source })?;
                match text.trim() {
                    "" => Err(Error::EmptyFile { path: path.clone() }),
                    secret => Ok(Secret(secret.to_owned())),
                }
            }
            Self::Variable(name) => match std::env::var(name) {
                Ok(text) if !text.trim().is_empty() => Ok(Secret(text.trim().to_owned())),
                Ok(_) | Err(_) => Err(Error::NoVariable(name.clone())),
            },
        }
    }
}

/// `<what>_file` or `<what>_env` as configured. The outer `None`: there was a problem; the inner one:
/// neither key is there. The secret is read once here, so that a missing one is found before the start.
pub fn secret(
    problems: &mut Problems,
    at: &Key,
    what: &str,
    file: Option<String>,
    variable: Option<String>,
) -> Option<Option<SecretPlace>> {
    let (key, place) = match (file, variable) {
        (None, None) => return Some(None),
        (Some(_), Some(_)) => {
            problems.add(at.field(format!("{what}_env")), format!("{what}_file is given too; leave one of them"));
            return None;
        }
        (Some(file), None) => (format!("{what}_file"), SecretPlace::File(file.into())),
        (None, Some(variable)) => (format!("{what}_env"), SecretPlace::Variable(variable)),
    };
    match place.read() {
        Ok(_) => Some(Some(place)),
        Err(error) => {
            problems.add(at.field(key), error.to_string());
            None
        }
    }
}

/// An address of a web server, without user and password: those would be printed with it.
pub fn address(problems: &mut Problems, at: Key, text: &str) -> Option<Url> {
    let expected = "http://host:port or https://host:port";
    let url: Url = problems.parsed(at.clone(), text, &format!("an address such as {expected}"))?;
    let wrong = if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        format!("{text:?} is not {expected}")
    } else if !url.username().is_empty() || url.password().is_some() {
        "user and password do not belong into the address; put the secret into a file".to_owned()
    } else {
        return Some(url);
    };
    problems.add(at, wrong);
    None
}

/// Host and port: what may be shown of an address. The rest of a robot's address is its password.
#[must_use]
pub fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// A client for one server. Without `authority`, https:// trusts the system's certificates; with it, only
/// the authority in that PEM file, which is how a site with its own authority is reached.
pub fn client(server: &Url, authority: Option<&Path>, timeout: Duration) -> Result<reqwest::Client, Error> {
    // Whoever comes second finds ring installed already.
    drop(rustls::crypto::ring::default_provider().install_default());
    let builder = reqwest::Client::builder().timeout(timeout).redirect(Policy::none()).tcp_nodelay(true);
    let builder = match authority {
        Some(path) => builder.tls_certs_only(authorities(path)?),
        // A box without any certificates can still reach http:// servers.
        None if server.scheme() == "http" => builder.tls_certs_only([]),
        None => builder,
    };
    builder.build().map_err(Error::Client)
}

fn authorities(path: &Path) -> Result<Vec<reqwest::Certificate>, Error> {
    let fault = |source: Box<dyn std::error::Error + Send + Sync>| Error::Certificate { path: path.to_owned(), source };
    let text = std::fs::read(path).map_err(|error| fault(error.into()))?;
    let found = reqwest::Certificate::from_pem_bundle(&text).map_err(|error| fault(error.into()))?;
    if found.is_empty() {
        return Err(fault("it holds no certificate; it must be PEM".into()));
    }
    Ok(found)
}

/// How long the server asks to be left alone, in either form of the header.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Timestamp::from_micros(until.as_microsecond()).since(now))
}

/// The beginning of an answer as one line; the rest is not read.
pub async fn beginning(mut answer: reqwest::Response, most: usize) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < most {
        match answer.chunk().await {
            Ok(Some(more)) => bytes.extend_from_slice(&more[..more.len().min(most - bytes.len())]),
            Ok(None) | Err(_) => break,
        }
    }
    one_line(&String::from_utf8_lossy(&bytes), most)
}

/// At most `most` bytes, without line ends and other controls, so that an answer cannot forge log lines.
#[must_use]
pub fn one_line(text: &str, most: usize) -> String {
    let mut line = String::new();
    for letter in text.trim().chars() {
        let letter = if letter.is_control() { ' ' } else { letter };
        if line.len() + letter.len_utf8() > most {
            break;
        }
        line.push(letter);
    }
    line.truncate(line.trim_end().len());
    line
}

/// An error and its causes on one line: reqwest's own message hides "connection refused" two levels down.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = inner.source();
    }
    text
}
