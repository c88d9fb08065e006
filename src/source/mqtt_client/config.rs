//! `[source.mqtt_client.<name>]`: an outside broker and what to subscribe to there.
//!
//! ```toml
//! [source.mqtt_client.mine]
//! broker    = "mqtt://10.0.4.2:1883"   # or mqtts:// with tls
//! client_id = "davy-hongli"            # the broker keeps the session under this name
//! topics    = ["+/+"]
//! qos       = 1                        # 0: nothing is sent again
//! version   = 5                        # 3 for MQTT 3.1.1
//! keep_alive = "30s"
//! window    = 1000                     # messages that may wait for the disk
//! session_expiry = "7d"                # how long the broker keeps what we missed (version 5)
//! user      = "davy"
//! password_file = "secrets/mine"       # or password_env = "MINE_PASSWORD"
//! tls       = { ca = "ca.pem", certificate = "davy.pem", key = "davy.key" }
//! ```
//! Out comes a [`Config`] that can only be sound: files were read, certificates parse.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;

use crate::config::{Key, Problems};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    broker: String,
    client_id: String,
    topics: Vec<String>,
    #[serde(default = "at_least_once")]
    qos: u8,
    #[serde(default = "newest")]
    version: u8,
    #[serde(default = "half_a_minute")]
    keep_alive: String,
    #[serde(default = "a_thousand")]
    window: u16,
    #[serde(default = "a_week")]
    session_expiry: String,
    user: Option<String>,
    password_file: Option<String>,
    password_env: Option<String>,
    tls: Option<RawTls>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTls {
    ca: String,
    certificate: Option<String>,
    key: Option<String>,
}

const fn at_least_once() -> u8 {
    1
}
const fn newest() -> u8 {
    5
}
fn half_a_minute() -> String {
    "30s".into()
}
const fn a_thousand() -> u16 {
    1_000
}
fn a_week() -> String {
    "7d".into()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1: the broker alone decides how many messages may be un-acknowledged.
    V3,
    V5,
}

/// Exists only if it is valid.
#[derive(Clone, Debug)]
pub struct Config {
    pub(super) broker: Broker,
    pub(super) client_id: String,
    pub(super) topics: Vec<String>,
    pub(super) at_least_once: bool,
    pub(super) version: Version,
    pub(super) keep_alive: Duration,
    pub(super) window: u16,
    pub(super) session_expiry: Duration,
    pub(super) login: Option<(String, Secret)>,
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
}

impl Config {
    /// `host:port` of the broker.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}:{}", self.broker.host, self.broker.port)
    }
}

/// Shown in messages as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broker {
    pub secure: bool,
    /// With brackets when it is an IPv6 address.
    pub host: String,
    pub port: u16,
}

/// Never shown.
#[derive(Clone)]
pub(super) struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mqtt{}://{}:{}", if self.secure { "s" } else { "" }, self.host, self.port)
    }
}

impl Raw {
    pub fn check(self, at: &Key, problems: &mut Problems) -> Option<Config> {
        let before = problems.len();
        let broker = broker(&self.broker);
        if broker.is_none() {
            problems.add(
                at.field("broker"),
                format!("{:?} is not mqtt://host:port or mqtts://host:port, such as mqtt://10.0.4.2:1883", self.broker),
            );
        }
        if self.client_id.trim().is_empty() {
            problems.add(at.field("client_id"), "is empty; the broker keeps our session under this name");
        }
        if self.topics.is_empty() {
            problems.add(at.field("topics"), "is empty; name at least one, such as \"+/+\"");
        }
        for (i, topic) in self.topics.iter().enumerate().filter(|(_, topic)| !rumqttc::valid_filter(topic)) {
            problems.add(at.field("topics").index(i), format!("{topic:?} is not a topic filter"));
        }
        let qos = problems.within(at.field("qos"), self.qos, 0..=1);
        let version = match self.version {
            5 => Some(Version::V5),
            3 => Some(Version::V3),
            other => {
                problems.add(at.field("version"), format!("{other} is not 5 or 3 (which means MQTT 3.1.1)"));
                None
            }
        };
        // The library refuses less than 5 s.
        let keep_alive = problems.duration(
            at.field("keep_alive"),
            &self.keep_alive,
            Duration::from_secs(5)..=Duration::from_hours(1),
        );
        let window = problems.within(at.field("window"), self.window, 1..=60_000);
        let session_expiry = problems.duration(
            at.field("session_expiry"),
            &self.session_expiry,
            Duration::from_mins(1)..=Duration::from_hours(24 * 365),
        );
        let login = self.login(at, problems);
        let tls = self.tls(at, broker.as_ref(), problems);
        if problems.len() > before {
            return None;
        }
        Some(Config {
            broker: broker?,
            client_id: self.client_id,
            topics: self.topics,
            at_least_once: qos? == 1,
            version: version?,
            keep_alive: keep_alive?,
            window: window?,
            session_expiry: session_expiry?,
            login,
            tls,
        })
    }

    fn login(&self, at: &Key, problems: &mut Problems) -> Option<(String, Secret)> {
        let password = match (&self.password_file, &self.password_env) {
            (Some(_), Some(_)) => {
                problems.add(at.field("password_env"), "password_file is given too; leave out one of the two");
                return None;
            }
            (Some(file), None) => match std::fs::read_to_string(file) {
                Ok(text) => text.trim_end_matches(['\r', '\n']).to_owned(),
                Err(error) => {
                    problems.add(at.field("password_file"), format!("{file}: {error}"));
                    return None;
                }
            },
            (None, Some(name)) => match std::env::var(name) {
                Ok(text) => text,
                Err(_) => {
                    problems.add(at.field("password_env"), format!("the environment has no {name}"));
                    return None;
                }
            },
            (None, None) => String::new(),
        };
        match &self.user {
            Some(user) => Some((user.clone(), Secret(password))),
            None if password.is_empty() => None,
            None => {
                problems.add(at.field("user"), "a password is given, but no user");
                None
            }
        }
    }

    fn tls(&self, at: &Key, broker: Option<&Broker>, problems: &mut Problems) -> Option<Arc<rustls::ClientConfig>> {
        let broker = broker?;
        let at = at.field("tls");
        let raw = match (&self.tls, broker.secure) {
            (None, false) => return None,
            (Some(raw), true) => raw,
            (Some(_), false) => {
                problems.add(at, "the broker is mqtt://, which is not encrypted; write mqtts:// or leave tls out");
                return None;
            }
            (None, true) => {
                problems.add(at, "mqtts:// needs to know whom to trust: tls = { ca = \"ca.pem\" }");
                return None;
            }
        };
        if broker.host.starts_with('[') {
            problems.add(at, "an IPv6 address cannot be checked against a certificate here; use the broker's name");
            return None;
        }
        match client_config(raw) {
            Ok(config) => Some(Arc::new(config)),
            Err(what) => {
                problems.add(at.field(what.key), what.told);
                None
            }
        }
    }
}

/// A file of the `tls` table that cannot be used.
struct BadFile {
    key: &'static str,
    told: String,
}

fn client_config(raw: &RawTls) -> Result<rustls::ClientConfig, BadFile> {
    let bad = |key, file: &str, error: &dyn fmt::Display| BadFile { key, told: format!("{file}: {error}") };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in certificates(&raw.ca).map_err(|error| bad("ca", &raw.ca, &error))? {
        roots.add(certificate).map_err(|error| bad("ca", &raw.ca, &error))?;
    }
    // Named here, because a process-wide default would depend on who starts first.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring knows the default versions")
        .with_root_certificates(roots);
    match (&raw.certificate, &raw.key) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate).map_err(|error| bad("certificate", certificate, &error))?;
            let private = PrivateKeyDer::from_pem_file(key).map_err(|error| bad("key", key, &error))?;
            builder.with_client_auth_cert(chain, private).map_err(|error| bad("key", key, &error))
        }
        (Some(_), None) => Err(BadFile { key: "key", told: "is missing; the certificate needs its key".into() }),
        (None, Some(_)) => {
            Err(BadFile { key: "certificate", told: "is missing; the key needs its certificate".into() })
        }
    }
}

fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>, rustls::pki_types::pem::Error> {
    let list: Vec<_> = CertificateDer::pem_file_iter(file)?.collect::<Result<_, _>>()?;
    if list.is_empty() { Err(rustls::pki_types::pem::Error::NoItemsFound) } else { Ok(list) }
}

fn broker(text: &str) -> Option<Broker> {
    let (secure, rest) = match text.strip_prefix("mqtt://") {
        Some(rest) => (false, rest),
        None => (true, text.strip_prefix("mqtts://")?),
    };
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok().filter(|port| *port > 0)?),
        Some(_) | None => (rest, if secure { 8883 } else { 1883 }),
    };
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let sound = match inner {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')),
    };
    sound.then(|| Broker { secure, host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(toml: &str) -> (Option<Config>, String) {
        let mut problems = Problems::in_file("davy.toml");
        let at = Key::of("source.mqtt_client.mine");
        let raw: Option<Raw> = problems.read(&at, toml::from_str(toml).unwrap());
        let config = raw.and_then(|raw| raw.check(&at, &mut problems));
        (config, problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn the_short_form_is_enough() {
        let (config, told) = check("broker = \"mqtt://10.0.4.2\"\nclient_id = \"davy\"\ntopics = [\"+/+\"]");
        assert_eq!(told, "");
        let config = config.unwrap();
        assert_eq!(config.broker.to_string(), "mqtt://10.0.4.2:1883");
        assert_eq!((config.version, config.at_least_once, config.window), (Version::V5, true, 1_000));
        assert_eq!((config.keep_alive, config.session_expiry), (Duration::from_secs(30), Duration::from_hours(24 * 7)));
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let (config, told) = check(
            "broker = \"10.0.4.2:1883\"\nclient_id = \" \"\ntopics = [\"a/#/b\"]\nqos = 2\nversion = 4\nkeep_alive = \"1s\"\nwindow = 0\npassword_file = \"/nowhere/secret\"",
        );
        assert!(config.is_none());
        for line in [
            "davy.toml: source.mqtt_client.mine.broker: \"10.0.4.2:1883\" is not mqtt://host:port",
            "mine.client_id: is empty",
            "mine.topics[0]: \"a/#/b\" is not a topic filter",
            "mine.qos: 2 is outside 0..=1",
            "mine.version: 4 is not 5 or 3",
            "mine.keep_alive: 1s is outside 5s..=1h",
            "mine.window: 0 is outside 1..=60000",
            "mine.password_file: /nowhere/secret: No such file",
        ] {
            assert!(told.contains(line), "{line}\nis not in\n{told}");
        }
        let base = "client_id = \"davy\"\ntopics = [\"+/+\"]\n";
        for (more, line) in [
            ("broker = \"mqtts://broker\"", "mine.tls: mqtts:// needs to know whom to trust"),
            ("broker = \"mqtt://broker\"\ntls = { ca = \"x\" }", "mine.tls: the broker is mqtt://"),
            ("broker = \"mqtts://broker\"\ntls = { ca = \"/nowhere/ca.pem\" }", "mine.tls.ca: /nowhere/ca.pem: "),
            ("broker = \"mqtts://[::1]:8883\"\ntls = { ca = \"x\" }", "mine.tls: an IPv6 address"),
            ("broker = \"mqtt://broker\"\npassword = \"open\"", "mine.password: unknown key"),
            (
                "broker = \"mqtt://broker\"\nuser = \"a\"\npassword_env = \"DAVY_NOT_SET\"",
                "the environment has no DAVY_NOT_SET",
            ),
        ] {
            let (config, told) = check(&format!("{base}{more}"));
            assert!(config.is_none() && told.contains(line), "{line}\nis not in\n{told}");
        }
    }

    #[test]
    fn addresses_are_read_as_written() {
        for (text, shown) in [
            ("mqtt://broker.example", Some("mqtt://broker.example:1883")),
            ("mqtts://broker:9000", Some("mqtts://broker:9000")),
            ("mqtt://[::1]:1884", Some("mqtt://[::1]:1884")),
            ("mqtt://[::1]", Some("mqtt://[::1]:1883")),
            ("mqtt://", None),
            ("mqtt://user:pw@host", None),
            ("mqtt://host:0", None),
            ("mqtt://host:99999", None),
            ("mqtt://host/path", None),
        ] {
            assert_eq!(broker(text).map(|broker| broker.to_string()).as_deref(), shown, "{text}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "firedamp\n").unwrap();
        let toml = format!(
            "broker = \"mqtt://b\"\nclient_id = \"d\"\ntopics = [\"#\"]\nuser = \"davy\"\npassword_file = \"{}\"",
            file.path().display()
        );
        let config = check(&toml).0.unwrap();
        assert_eq!(config.login.as_ref().unwrap().1.0, "firedamp");
        assert!(!format!("{config:?}").contains("firedamp"));
    }
}
