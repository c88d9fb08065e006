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

use super::grant::{Points, Publish, Rights};
use super::tls;
use crate::config::{Key, Problems};
use crate::model::fits;

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
    /// Comes in by a client certificate whose CN is the user's name.
    #[serde(default)]
    certificate: bool,
    publish: Option<RawPublish>,
    /// Patterns of point ids.
    points: Option<Vec<String>>,
    #[serde(default)]
    subscribe: bool,
    /// How long it may be without a session; without it a session may end for any time.
    away: Option<String>,
}

/// `true`, `false`, or topic filters.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected true, false or a list of topic filters")]
enum RawPublish {
    All(bool),
    Topics(Vec<String>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTls {
    certificate: PathBuf,
    key: PathBuf,
    /// Authority of client certificates; they are asked for when it is given.
    client_ca: Option<PathBuf>,
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
    messages_per_s: u32,
    bytes_per_s: u32,
    connects_per_s: u32,
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
            messages_per_s: 0,
            bytes_per_s: 0,
            connects_per_s: 0,
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
    /// Publishes of one connection; it is not read from while it is faster. 0: as many as come.
    pub messages_per_s: u32,
    /// Bytes of publishes of one connection, likewise.
    pub bytes_per_s: u32,
    /// Connections from one address; more are turned away. 0: as many as come.
    pub connects_per_s: u32,
    pub subscriptions: usize,
    /// Live alarm messages that wait for one subscriber.
    pub subscriber_alarm_bytes: usize,
    /// Live values that wait for one subscriber; the oldest go first.
    pub subscriber_values: usize,
    /// QoS 1 messages to one subscriber that wait for its PUBACK.
    pub subscriber_unacknowledged: u16,
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

impl Config {
    /// Patterns of points that users may publish, with the user's name.
    pub fn grants(&self) -> impl Iterator<Item = (&str, &str)> {
        self.users.named.iter().flat_map(|(name, user)| {
            let patterns = user.rights.points.iter().flat_map(|points| points.patterns());
            patterns.map(move |pattern| (name.as_str(), pattern))
        })
    }

    /// Is there anybody whose samples of that point are taken?
    #[must_use]
    pub fn may_come(&self, id: &str) -> bool {
        self.users.anonymous || self.publishers(id).next().is_some()
    }

    /// The users whose samples of that point are taken.
    pub fn publishers(&self, id: &str) -> impl Iterator<Item = &str> {
        let may = move |user: &User| {
            let points = user.rights.points.as_ref();
            user.rights.publish != Publish::Nowhere
                && points.is_none_or(|points| points.patterns().any(|pattern| fits(pattern, id)))
        };
        self.users.named.iter().filter(move |(_, user)| may(user)).map(|(name, _)| name.as_str())
    }

    /// Anybody may publish, whoever it is.
    #[must_use]
    pub fn anonymous(&self) -> bool {
        self.users.anonymous
    }

    /// The users that are missed when they have no session, and after how long.
    pub fn expected(&self) -> impl Iterator<Item = (&str, Duration)> {
        self.users.named.iter().filter_map(|(name, user)| Some((name.as_str(), user.away?)))
    }
}

/// Who may come in.
#[derive(Clone, Debug, Default)]
pub(super) struct Users {
    anonymous: bool,
    named: BTreeMap<String, User>,
}

#[derive(Clone)]
struct User {
    /// `None`: not by a password.
    password: Option<Secret>,
    /// Only with a certificate.
    certificate: bool,
    rights: Rights,
    /// It is missed when it has no session for so long.
    away: Option<Duration>,
}

/// Whether somebody may come in.
#[derive(Debug)]
pub(super) enum Admission {
    /// Under this name; empty for anonymous.
    Granted(String, Rights),
    BadLogin,
    /// The certificate is good, and names nobody who may come in by one.
    StrangeCertificate,
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
    /// Judges a login and the CN of a client certificate (empty when it has none that can be used). Takes
    /// the same time for a wrong name as for a wrong password.
    pub(super) fn admit(&self, login: Option<(&str, &[u8])>, certificate: Option<&str>) -> Admission {
        let name = match (certificate, login) {
            (None, None) if self.anonymous => return Admission::Granted(String::new(), Rights::everything()),
            (None, None) => return Admission::BadLogin,
            (None, Some((name, _))) => name,
            (Some(subject), None) => subject,
            (Some(subject), Some((name, _))) if subject == name || name.is_empty() => subject,
            (Some(_), Some(_)) => return Admission::BadLogin,
        };
        let known = self.named.get(name);
        let password = login.map_or(&[][..], |(_, password)| password);
        let wanted = known.map_or(Some([0; 32]), |user| user.password);
        let same = bool::from(digest(password).ct_eq(&wanted.unwrap_or_default()));
        match (known, certificate) {
            (Some(user), Some(_)) if user.certificate && (same || user.password.is_none()) => {}
            (Some(user), _) if !user.certificate && user.password.is_some() && same => {}
            (Some(_), _) | (None, None) => return Admission::BadLogin,
            (None, Some(_)) => return Admission::StrangeCertificate,
        }
        known.map_or(Admission::BadLogin, |user| Admission::Granted(name.to_owned(), user.rights.clone()))
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
        let asks = self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        for (name, user) in self.user {
            let at = at.field("user").field(&name);
            if user.certificate && !asks {
                problems.add(at.field("certificate"), "nobody asks for one; give the listener tls.client_ca");
                sound = false;
            }
            match user.check(&at, problems) {
                Some(user) => drop(named.insert(name, user)),
                None => sound = false,
            }
        }
        let all_by_certificate = !self.anonymous && named.values().all(|user| user.certificate);
        let tls = match self.tls {
            None => None,
            Some(raw) => {
                let authority = raw.client_ca.as_deref().map(|file| tls::Authority { file, all: all_by_certificate });
                match tls::server(&raw.certificate, &raw.key, authority) {
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

impl RawUser {
    fn check(self, at: &Key, problems: &mut Problems) -> Option<User> {
        let before = problems.len();
        let publish = match (&self.publish, &self.points) {
            (Some(RawPublish::All(false)), Some(_)) => {
                problems.add(at.field("points"), "are of no use with publish = false; leave out one of the two");
                Publish::Nowhere
            }
            (Some(RawPublish::All(false)), None) | (None, None) => Publish::Nowhere,
            (Some(RawPublish::All(true)), _) | (None, Some(_)) => Publish::Anywhere,
            (Some(RawPublish::Topics(filters)), _) => {
                for (i, filter) in filters.iter().enumerate().filter(|(_, filter)| !rumqttc::valid_filter(filter)) {
                    problems.add(at.field("publish").index(i), format!("{filter:?} is not a topic filter"));
                }
                Publish::Topics(filters.as_slice().into())
            }
        };
        for (i, pattern) in self.points.iter().flatten().enumerate() {
            if !pattern.contains(['.', '*']) {
                let told = format!("{pattern:?} matches no point; ids are site.point, such as \"mine-a.*\"");
                problems.add(at.field("points").index(i), told);
            }
        }
        if publish == Publish::Nowhere && !self.subscribe {
            problems.add(
                at.clone(),
                "may do nothing; say what it measures, points = [\"mine-a.*\"], or publish = true for all points, \
                 or subscribe = true",
            );
        }
        let rights = Rights { publish, subscribe: self.subscribe, points: self.points.map(Points::new).map(Arc::new) };
        let span = Duration::from_secs(1)..=Duration::from_hours(24);
        let away = self.away.as_deref().and_then(|text| problems.duration(at.field("away"), text, span));
        let secret = match (self.password_file, self.password_env) {
            (None, None) if self.certificate => None,
            (file, env) => Some(password(at, file, env, problems)?),
        };
        (problems.len() == before).then_some(User { password: secret, certificate: self.certificate, rights, away })
    }
}

/// The digest of a user's password.
fn password(at: &Key, file: Option<PathBuf>, env: Option<String>, problems: &mut Problems) -> Option<Secret> {
    let found = match (file, env) {
        (Some(path), None) => std::fs::read_to_string(&path)
            .map_err(|error| (at.field("password_file"), format!("{} cannot be read: {error}", path.display()))),
        (None, Some(name)) => std::env::var(&name)
            .map_err(|_| (at.field("password_env"), format!("the environment has no readable variable {name}"))),
        (None, None) => Err((at.clone(), "needs password_file, password_env or certificate = true".to_owned())),
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
        let mut rate = |name: &str, value: u32| problems.within(at.field(name), value, 0..=1_000_000_000);
        let messages_per_s = rate("messages_per_s", self.messages_per_s);
        let bytes_per_s = rate("bytes_per_s", self.bytes_per_s);
        let connects_per_s = rate("connects_per_s", self.connects_per_s);
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
            messages_per_s: messages_per_s?,
            bytes_per_s: bytes_per_s?,
            connects_per_s: connects_per_s?,
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
        let config =
            check(&format!("[user.face]\npassword_file = {:?}\npoints = [\"mine.*\"]\n", path.to_string())).unwrap();
        assert_eq!((config.name.as_str(), config.address.to_string().as_str()), ("front", "127.0.0.1:1883"));
        let granted = config.users.admit(Some(("face", b"correct horse")), None);
        let Admission::Granted(name, rights) = granted else { panic!("{granted:?}") };
        assert_eq!((name.as_str(), &rights.publish, rights.subscribe), ("face", &Publish::Anywhere, false));
        assert!(rights.points.is_some());
        for wrong in [None, Some(("face", &b""[..])), Some(("face", b"correct horse\n")), Some(("", b"correct horse"))]
        {
            assert!(matches!(config.users.admit(wrong, None), Admission::BadLogin), "{wrong:?}");
        }
        assert!(!format!("{config:?}").contains("horse"));
    }

    #[test]
    fn every_problem_is_told_with_its_key() {
        let told = check(
            "address = \"here\"\n[user.a]\n[user.b]\npassword_file = \"/nowhere\"\n[user.c]\npassword_env = \"DAVY_NOT_SET\"\n\
             [user.d]\ncertificate = true\npublish = [\"a/#/b\"]\npoints = [\"mine\"]\n\
             [tls]\ncertificate = \"/no.pem\"\nkey = \"/no.key\"\n[limit]\npacket_bytes = 3\nmessages_per_s = 4000000000\nstall = \"9h\"\n",
        )
        .unwrap_err()
        .join("\n");
        for expected in [
            "front.address: \"here\" is not address:port",
            "front.user.a: needs password_file, password_env or certificate = true",
            "front.user.a: may do nothing; say what it measures",
            "front.user.d.certificate: nobody asks for one",
            "front.user.d.publish[0]: \"a/#/b\" is not a topic filter",
            "front.user.d.points[0]: \"mine\" matches no point",
            "front.limit.messages_per_s: 4000000000 is outside",
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
