//! `[source.mqtt_client.<name>]`: an outside broker and what to subscribe to there.
//!
//! ```toml
//! [source.mqtt_client.mine]
//! broker    = "mqtt://10.0.4.2:1883"   # or mqtts:// with tls
//! client_id = "davy-hongli"            # the broker keeps the session under this name
//! topics    = ["+/+"]                 # or ["$share/davy/+/+"]: several Davys share the load
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

use std::time::Duration;

use serde::Deserialize;

use crate::config::{Key, Problems};
use crate::source::broker::{Access, RawTls, Written};

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
    pub(super) access: Access,
    pub(super) client_id: String,
    pub(super) topics: Vec<String>,
    pub(super) at_least_once: bool,
    pub(super) version: Version,
    pub(super) keep_alive: Duration,
    pub(super) window: u16,
    pub(super) session_expiry: Duration,
}

impl Config {
    /// `host:port` of the broker.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}:{}", self.access.broker.host, self.access.broker.port)
    }
}

impl Raw {
    pub fn check(self, at: &Key, problems: &mut Problems) -> Option<Config> {
        let before = problems.len();
        let access = Written {
            broker: &self.broker,
            user: self.user.as_deref(),
            password_file: self.password_file.as_deref(),
            password_env: self.password_env.as_deref(),
            tls: self.tls.as_ref(),
        }
        .check(at, problems);
        if self.client_id.trim().is_empty() {
            problems.add(at.field("client_id"), "is empty; the broker keeps our session under this name");
        }
        if self.topics.is_empty() {
            problems.add(at.field("topics"), "is empty; name at least one, such as \"+/+\"");
        }
        for (i, topic) in self.topics.iter().enumerate().filter(|(_, topic)| !is_filter(topic)) {
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
        if problems.len() > before {
            return None;
        }
        Some(Config {
            access: access?,
            client_id: self.client_id,
            topics: self.topics,
            at_least_once: qos? == 1,
            version: version?,
            keep_alive: keep_alive?,
            window: window?,
            session_expiry: session_expiry?,
        })
    }
}

/// `a/+/#`, or `$share/group/a/+/#`: one of the group's connections gets each message (MQTT 5, 4.8.2), with
/// its real topic; Mosquitto and others know it in 3.1.1 too.
fn is_filter(text: &str) -> bool {
    match text.strip_prefix("$share/") {
        None => rumqttc::valid_filter(text),
        Some(shared) => shared.split_once('/').is_some_and(|(group, filter)| {
            !group.is_empty() && !group.contains(['+', '#']) && rumqttc::valid_filter(filter)
        }),
    }
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
        assert_eq!(config.access.broker.to_string(), "mqtt://10.0.4.2:1883");
        assert_eq!((config.version, config.at_least_once, config.window), (Version::V5, true, 1_000));
        assert_eq!((config.keep_alive, config.session_expiry), (Duration::from_secs(30), Duration::from_hours(24 * 7)));
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let (config, told) = check(
            "broker = \"10.0.4.2:1883\"\nclient_id = \" \"\ntopics = [\"a/#/b\", \"$share/gw/a/+\", \"$share/gw\", \"$share/+/a\"]\nqos = 2\nversion = 4\nkeep_alive = \"1s\"\nwindow = 0\npassword_file = \"/nowhere/secret\"",
        );
        assert!(config.is_none());
        for line in [
            "davy.toml: source.mqtt_client.mine.broker: \"10.0.4.2:1883\" is not mqtt://host:port",
            "mine.client_id: is empty",
            "mine.topics[0]: \"a/#/b\" is not a topic filter",
            "mine.topics[2]: \"$share/gw\" is not a topic filter",
            "mine.topics[3]: \"$share/+/a\" is not a topic filter",
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
    fn a_password_is_never_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "firedamp\n").unwrap();
        let toml = format!(
            "broker = \"mqtt://b\"\nclient_id = \"d\"\ntopics = [\"#\"]\nuser = \"davy\"\npassword_file = \"{}\"",
            file.path().display()
        );
        let config = check(&toml).0.unwrap();
        assert_eq!(config.access.login.as_ref().unwrap().1.0, "firedamp");
        assert!(!format!("{config:?}").contains("firedamp"));
    }
}
