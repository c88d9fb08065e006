//! `[source.mqtt_listener.<name>]`: where devices connect, who may, and how much of everything.
//!
//! In comes the table as written; out comes a [`Config`] that can be run as it stands, or every problem at
//! once. Passwords are read here, from a file or the environment, and only their digests are kept.
//! A door without passwords that others than this machine can reach must be asked for by name.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::tls;
use crate::config::{Key, Problems};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    #[serde(default = "loopback")]
    address: String,
    #[serde(default)]
    anonymous: bool,
    #[serde(default)]
    anonymous_from_anywhere: bool,
    #[serde(default)]
    user: BTreeMap<String, RawUser>,
    tls: Option<RawTls>,
    #[serde(default)]
    limit: RawLimits,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUser {
    password_file: Option<PathBuf>,
    password_env: Option<String>,
    #[serde(default = "yes")]
    publish: bool,
    #[serde(default)]
    subscribe: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTls {
    certificate: PathBuf,
    key: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawLimits {
    connections: usize,
    waiting_for_connect: usize,
    connect_within: String,
    silence: String,
    stall: String,
    packet_bytes: usize,
    topic_bytes: usize,
    topic_aliases: u16,
    unacknowledged: u16,
    subscriptions: usize,
    subscriber_alarm_bytes: usize,
    subscriber_values: usize,
    subscriber_unacknowledged: u16,
}

impl Default for RawLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            waiting_for_connect: 256,
            connect_within: "5s".into(),
            silence: "1d".into(),
            stall: "20s".into(),
            packet_bytes: 256 * 1024,
            topic_bytes: 512,
            topic_aliases: 64,
            unacknowledged: 8_192,
            subscriptions: 64,
            subscriber_alarm_bytes: 4 * 1024 * 1024,
            subscriber_values: 8_192,
            subscriber_unacknowledged: 256,
        }
    }
}

fn loopback() -> String {
    "127.0.0.1:1883".into()
}

const fn yes() -> bool {
    true
}

/// Bounds of one listener. Each has a stated end: see [`super`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    pub connections: usize,
    /// Connections that have not sent their CONNECT yet.
    pub waiting_for_connect: usize,
    /// From the connection's start to its CONNECT, TLS included.
    pub connect_within: Duration,
    /// A client without keep-alive that says nothing for so long is taken for dead.
    pub silence: Duration,
    /// A client that takes nothing of what is sent to it for so long is let go.
    pub stall: Duration,
    /// Whole packet, header included.
    pub packet_bytes: usize,
    pub topic_bytes: usize,
    pub topic_aliases: u16,
    /// QoS 1 publishes of one connection that wait for the journal.
    pub unacknowledged: u16,
    pub subscriptions: usize,
    /// Live alarm messages that wait for one subscriber.
    pub subscriber_alarm_bytes: usize,
    /// Live values that wait for one subscriber; the oldest go first.
    pub subscriber_values: usize,
    /// QoS 1 messages to one subscriber that wait for its PUBACK.
    pub subscriber_unacknowledged: u16,
}

/// What a connection may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    pub publish: bool,
    pub subscribe: bool,
}

/// A listener that can be bound.
#[derive(Clone, Debug)]
pub struct Config {
    pub name: String,
    pub address: SocketAddr,
    pub limits: Limits,
    pub(super) users: Arc<Users>,
    pub(super) tls: Option<Arc<rustls::ServerConfig>>,
}

/// Who may come in.
#[derive(Clone, Debug, Default)]
pub(super) struct Users {
    anonymous: bool,
    named: BTreeMap<String, User>,
}

#[derive(Clone)]
struct User {
    password: Secret,
    rights: Rights,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rights.fmt(f)
    }
}

/// Digest of a password: nothing that could leak the password itself, and always of one length to compare.
type Secret = [u8; 32];

fn digest(password: &[u8]) -> Secret {
    Sha256::digest(password).into()
}

impl Users {
    /// The rights of whoever presents this; `None` when they may not come in. Takes the same time for a
    /// wrong name as for a wrong password.
    pub(super) fn admit(&self, login: Option<(&str, &[u8])>) -> Option<Rights> {
        let Some((name, password)) = login else {
            return self.anonymous.then_some(Rights { publish: true, subscribe: true });
        };
        let known = self.named.get(name);
        let wanted = known.map_or([0; 32], |user| user.password);
        let same = bool::from(digest(password).ct_eq(&wanted));
        known.filter(|_| same).map(|user| user.rights)
    }
}

impl Raw {
    /// `at` is the listener's own key; its last part is the listener's name.
    pub fn check(self, at: &Key, problems: &mut Problems) -> Option<Config> {
        let address: Option<SocketAddr> =
            problems.parsed(at.field("address"), &self.address, "address:port, such as 0.0.0.0:1883");
        if let Some(address) = address
            && self.anonymous
            && !address.ip().is_loopback()
            && !self.anonymous_from_anywhere
        {
            problems.add(
                at.field("anonymous"),
                format!(
                    "anyone who reaches {address} could publish samples; add users, or set anonymous_from_anywhere = true"
                ),
            );
            return None;
        }
        if !self.anonymous && self.user.is_empty() {
            problems.add(at.field("user"), "nobody may connect; add a user, or set anonymous = true");
            return None;
        }
        let mut sound = true;
        let mut named = BTreeMap::new();
        for (name, user) in self.user {
            let rights = Rights { publish: user.publish, subscribe: user.subscribe };
            match password(&at.field("user").field(&name), user, problems) {
                Some(password) => drop(named.insert(name, User { password, rights })),
                None => sound = false,
            }
        }
        let tls = match self.tls {
            None => None,
            Some(raw) => {
                let server = tls::server(&raw.certificate, &raw.key);
                match server {
                    Ok(server) => Some(server),
                    Err(error) => {
                        problems.add(at.field("tls"), error.to_string());
                        sound = false;
                        None
                    }
                }
            }
        };
        let limits = self.limit.check(&at.field("limit"), problems);
        let name = at.to_string().rsplit('.').next().unwrap_or_default().to_owned();
        let users = Arc::new(Users { anonymous: self.anonymous, named });
        let config = Config { name, address: address?, limits: limits?, users, tls };
        sound.then_some(config)
    }
}

/// The digest of a user's password.
fn password(at: &Key, user: RawUser, problems: &mut Problems) -> Option<Secret> {
    let found = match (user.password_file, user.password_env) {
        (Some(path), None) => std::fs::read_to_string(&path)
            .map_err(|error| (at.field("password_file"), format!("{} cannot be read: {error}", path.display()))),
        (None, Some(name)) => std::env::var(&name)
            .map_err(|_| (at.field("password_env"), format!("the environment has no readable variable {name}"))),
        (None, None) => Err((at.clone(), "needs password_file or password_env".to_owned())),
        (Some(_), Some(_)) => Err((at.clone(), "has both password_file and password_env; keep one".to_owned())),
    };
    match found {
        // Editors end a file with a line break; no password does.
        Ok(text) if !text.trim_end_matches(['\r', '\n']).is_empty() => {
            Some(digest(text.trim_end_matches(['\r', '\n']).as_bytes()))
        }
        Ok(_) => {
            problems.add(at.clone(), "the password is empty");
            None
        }
        Err((key, message)) => {
            problems.add(key, message);
            None
        }
    }
}

impl RawLimits {
    fn check(self, at: &Key, problems: &mut Problems) -> Option<Limits> {
        let second = Duration::from_secs(1);
        let day = Duration::from_secs(86_400);
        let mut count = |name: &str, value: usize, range| problems.within(at.field(name), value, range);
        let connections = count("connections", self.connections, 1..=1_000_000);
        let waiting_for_connect = count("waiting_for_connect", self.waiting_for_connect, 1..=100_000);
        let packet_bytes = count("packet_bytes", self.packet_bytes, 1_024..=64 * 1024 * 1024);
        let topic_bytes = count("topic_bytes", self.topic_bytes, 16..=65_535);
        let subscriptions = count("subscriptions", self.subscriptions, 1..=10_000);
        let subscriber_alarm_bytes =
            count("subscriber_alarm_bytes", self.subscriber_alarm_bytes, 64 * 1024..=1024 * 1024 * 1024);
        let subscriber_values = count("subscriber_values", self.subscriber_values, 16..=10_000_000);
        let mut small = |name: &str, value: u16, range| problems.within(at.field(name), value, range);
        let topic_aliases = small("topic_aliases", self.topic_aliases, 0..=4_096);
        let unacknowledged = small("unacknowledged", self.unacknowledged, 1..=u16::MAX);
        let subscriber_unacknowledged = small("subscriber_unacknowledged", self.subscriber_unacknowledged, 1..=4_096);
        let mut span = |name: &str, text: &str, range| problems.duration(at.field(name), text, range);
        let connect_within = span("connect_within", &self.connect_within, second / 10..=60 * second);
        let silence = span("silence", &self.silence, second..=30 * day);
        let stall = span("stall", &self.stall, second / 10..=600 * second);
        Some(Limits {
            connections: connections?,
            waiting_for_connect: waiting_for_connect?,
            connect_within: connect_within?,
            silence: silence?,
            stall: stall?,
            packet_bytes: packet_bytes?,
            topic_bytes: topic_bytes?,
            topic_aliases: topic_aliases?,
            unacknowledged: unacknowledged?,
            subscriptions: subscriptions?,
            subscriber_alarm_bytes: subscriber_alarm_bytes?,
            subscriber_values: subscriber_values?,
            subscriber_unacknowledged: subscriber_unacknowledged?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn check(text: &str) -> Result<Config, Vec<String>> {
        let mut problems = Problems::in_file("davy.toml");
        let key = Key::of("source.mqtt_listener.front");
        let raw: Option<Raw> = problems.read(&key, toml::from_str(text).unwrap());
        let config = raw.and_then(|raw| raw.check(&key, &mut problems));
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        if told.is_empty() { Ok(config.unwrap()) } else { Err(told) }
    }

    #[test]
    fn a_user_with_a_password_in_a_file_comes_in_and_nobody_else() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"correct horse\n").unwrap();
        let path = file.path().display();
        let config = check(&format!("[user.face]\npassword_file = {:?}\n", path.to_string())).unwrap();
        assert_eq!((config.name.as_str(), config.address.to_string().as_str()), ("front", "127.0.0.1:1883"));
        let publish_only = Some(Rights { publish: true, subscribe: false });
        assert_eq!(config.users.admit(Some(("face", b"correct horse"))), publish_only);
        for wrong in [None, Some(("face", &b""[..])), Some(("face", b"correct horse\n")), Some(("", b"correct horse"))]
        {
            assert_eq!(config.users.admit(wrong), None, "{wrong:?}");
        }
        assert!(!format!("{config:?}").contains("horse"));
    }

    #[test]
    fn every_problem_is_told_with_its_key() {
        let told = check(
            "address = \"here\"\n[user.a]\n[user.b]\npassword_file = \"/nowhere\"\n[user.c]\npassword_env = \"DAVY_NOT_SET\"\n\
             [tls]\ncertificate = \"/no.pem\"\nkey = \"/no.key\"\n[limit]\npacket_bytes = 3\nstall = \"9h\"\n",
        )
        .unwrap_err()
        .join("\n");
        for expected in [
            "front.address: \"here\" is not address:port",
            "front.user.a: needs password_file or password_env",
            "front.user.b.password_file: /nowhere cannot be read",
            "front.user.c.password_env: the environment has no readable variable DAVY_NOT_SET",
            "front.tls: /no.pem",
            "front.limit.packet_bytes: 3 is outside 1024..=67108864",
            "front.limit.stall: 9h is outside 100ms..=10m",
        ] {
            assert!(told.contains(expected), "{expected}\n---\n{told}");
        }
    }

    #[test]
    fn an_open_door_to_the_network_must_be_asked_for() {
        assert!(check("anonymous = true").is_ok());
        let told = check("anonymous = true\naddress = \"0.0.0.0:1883\"").unwrap_err();
        assert!(told[0].contains("front.anonymous: anyone who reaches 0.0.0.0:1883 could publish"), "{told:?}");
        assert!(check("anonymous = true\naddress = \"0.0.0.0:1883\"\nanonymous_from_anywhere = true").is_ok());
        assert!(check("").unwrap_err()[0].contains("nobody may connect"));
    }
}
