//! `[source.gb26875.NAME]`, `[source.sl651.NAME]`, `[source.hj212.NAME]`: where devices connect and which may.
//!
//! ```toml
//! [source.gb26875.county-fire]
//! address = "0.0.0.0:9600"
//! utc_offset = "+08:00"           # of the devices' clocks
//! permanent = false               # true: a lost connection marks the device's points as not polled at once
//! away = "10s"                    # an alarm for a device of which nothing came for so long; where permanent, one
//!                                 # without a connection for so long (10s unless said); without either none
//! set_clock_beyond = "5s"         # fire only: set a device's clock when it is off by more; without it never
//! trust_test_bit = false          # fire only: mark samples of parts in test as exercise. Off, since many panels
//!                                 # leave that bit at "test" for real fires; bind "running" to see it
//! stay_online = false             # SL 651 only: end confirmations with ESC (stay) instead of EOT (hang up)
//! password_file = "secrets/pw"    # SL 651: 4 hexadecimal digits; HJ 212: PW. Or password_env. Without: not checked
//! device."060504030201" = { points = "tower-1.p{part}-{bit}" }  # fire: points by name; also password_file
//! limit = { connections = 1000, silence = "3h", first_frame_within = "5m", frame_bytes = 8192 }
//! ```
//! Devices that a point's binding names need no table. Passwords are read here, and only digests are kept. GB/T
//! 26875.3 has none: keep its door inside a network of its own.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::binding::{NamePattern, device};
use crate::config::{Key, Problems};
use crate::decode::frames::unhex;
use crate::model::Zone;

/// A device whose line is to stay up is back within so long.
const RECONNECTS: Duration = Duration::from_secs(10);

/// What is spoken at a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Gb26875,
    Sl651,
    Hj212,
}

impl Protocol {
    /// The kind of source in the configuration.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Gb26875 => "gb26875",
            Self::Sl651 => "sl651",
            Self::Hj212 => "hj212",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    address: String,
    #[serde(default = "beijing")]
    utc_offset: String,
    #[serde(default)]
    permanent: bool,
    away: Option<String>,
    set_clock_beyond: Option<String>,
    trust_test_bit: Option<bool>,
    stay_online: Option<bool>,
    password_file: Option<PathBuf>,
    password_env: Option<String>,
    #[serde(default)]
    device: BTreeMap<String, RawDevice>,
    #[serde(default)]
    limit: RawLimits,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDevice {
    points: Option<String>,
    password_file: Option<PathBuf>,
    password_env: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawLimits {
    connections: usize,
    waiting_for_frame: usize,
    first_frame_within: String,
    frame_within: String,
    silence: String,
    stall: String,
    frame_bytes: usize,
    message_bytes: usize,
    garbage_bytes: usize,
}

impl Default for RawLimits {
    fn default() -> Self {
        Self {
            connections: 1_000,
            waiting_for_frame: 256,
            first_frame_within: "5m".into(),
            frame_within: "10s".into(),
            silence: "3h".into(),
            stall: "20s".into(),
            frame_bytes: 8_192,
            message_bytes: 256 * 1024,
            garbage_bytes: 4_096,
        }
    }
}

fn beijing() -> String {
    "+08:00".into()
}

/// Bounds of one door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    pub connections: usize,
    /// Connections that have not sent a good frame of a known device yet.
    pub waiting_for_frame: usize,
    /// From the connection's start to that frame; longer for devices that connect and only speak when something
    /// happens.
    pub first_frame_within: Duration,
    /// What looks like the beginning of a frame is given up when it is not whole after so long without a byte.
    pub frame_within: Duration,
    /// A device that sends no good frame for so long is taken for dead.
    pub silence: Duration,
    /// A device that takes nothing of what is sent to it for so long is let go.
    pub stall: Duration,
    pub frame_bytes: usize,
    /// A text put together from parts.
    pub message_bytes: usize,
    /// Bytes that belong to no frame, one after the other, before the connection is closed.
    pub garbage_bytes: usize,
}

/// A door that can be bound.
#[derive(Clone, Debug)]
pub struct Config {
    pub name: String,
    pub protocol: Protocol,
    pub address: SocketAddr,
    pub limits: Limits,
    pub(super) zone: Zone,
    pub(super) permanent: bool,
    /// A device is missed after so long.
    pub away: Option<Duration>,
    pub(super) set_clock_beyond: Option<Duration>,
    pub(super) trust_test_bit: bool,
    pub(super) stay_online: bool,
    password: Password,
    pub(super) devices: BTreeMap<String, Device>,
}

/// What the configuration says of one device.
#[derive(Clone, Debug)]
pub(super) struct Device {
    pub points: Option<NamePattern>,
    password: Password,
}

/// A digest, so that nothing can leak the password and every comparison takes the same time. `None`: not checked.
#[derive(Clone, Default)]
pub(super) struct Password(Option<[u8; 32]>);

impl Password {
    fn of(password: &[u8]) -> Self {
        Self(Some(Sha256::digest(password).into()))
    }

    pub fn admits(&self, shown: Option<&[u8]>) -> bool {
        let Some(wanted) = &self.0 else { return true };
        let shown: [u8; 32] = Sha256::digest(shown.unwrap_or_default()).into();
        shown.ct_eq(wanted).into()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Password(set)" } else { "Password(none)" })
    }
}

impl Config {
    /// The devices whose name patterns fit the point.
    pub fn named(&self, id: &str) -> impl Iterator<Item = &str> {
        let fits = move |device: &Device| device.points.as_ref().is_some_and(|points| points.read(id).is_some());
        self.devices.iter().filter(move |(_, device)| fits(device)).map(|(name, _)| name.as_str())
    }

    /// The device's own password, or the door's.
    pub(super) fn password_of(&self, device: &str) -> Password {
        let own = self.devices.get(device).map(|device| device.password.clone());
        own.filter(|password| password.0.is_some()).unwrap_or_else(|| self.password.clone())
    }
}

impl Raw {
    /// `at` is the door's own key; `name` the last part of it.
    pub fn check(self, protocol: Protocol, name: &str, at: &Key, problems: &mut Problems) -> Option<Config> {
        let before = problems.len();
        let address = problems.parsed(at.field("address"), &self.address, "address:port, such as 0.0.0.0:9600");
        let zone = Zone::parse(&self.utc_offset);
        if zone.is_none() {
            problems.add(at.field("utc_offset"), format!("{:?} is not an offset such as \"+08:00\"", self.utc_offset));
        }
        let mut only = |key: &str, given: bool, owner: Protocol| {
            if given && protocol != owner {
                problems.add(at.field(key), format!("is for source.{} only", owner.word()));
            }
        };
        only("set_clock_beyond", self.set_clock_beyond.is_some(), Protocol::Gb26875);
        only("trust_test_bit", self.trust_test_bit.is_some(), Protocol::Gb26875);
        only("stay_online", self.stay_online.is_some(), Protocol::Sl651);
        let hour = Duration::from_secs(3600);
        let set_clock_beyond = self
            .set_clock_beyond
            .as_deref()
            .and_then(|text| problems.duration(at.field("set_clock_beyond"), text, Duration::from_secs(1)..=24 * hour));
        let away = self
            .away
            .as_deref()
            .and_then(|text| problems.duration(at.field("away"), text, Duration::from_secs(1)..=30 * 24 * hour));
        let secret = Secret { file: self.password_file, env: self.password_env };
        let password = secret.read(protocol, at, problems);
        let devices = self.device.into_iter().filter_map(|(name, raw)| {
            let at = at.field("device").field(format!("{name:?}"));
            Some((device(protocol, &name, &at, problems)?, raw.check(protocol, &at, problems)?))
        });
        let devices = devices.collect();
        let limits = self.limit.check(&at.field("limit"), problems);
        if problems.len() > before {
            return None;
        }
        Some(Config {
            name: name.to_owned(),
            protocol,
            address: address?,
            limits: limits?,
            zone: zone?,
            permanent: self.permanent,
            away: away.or(self.permanent.then_some(RECONNECTS)),
            set_clock_beyond,
            trust_test_bit: self.trust_test_bit.unwrap_or(false),
            stay_online: self.stay_online.unwrap_or(false),
            password: password?,
            devices,
        })
    }
}

impl RawDevice {
    fn check(self, protocol: Protocol, at: &Key, problems: &mut Problems) -> Option<Device> {
        if self.points.is_some() && protocol != Protocol::Gb26875 {
            problems.add(at.field("points"), "is for source.gb26875 only");
            return None;
        }
        let points = match &self.points {
            None => None,
            Some(text) => Some(NamePattern::check(text, &at.field("points"), problems)?),
        };
        let secret = Secret { file: self.password_file, env: self.password_env };
        Some(Device { points, password: secret.read(protocol, at, problems)? })
    }
}

struct Secret {
    file: Option<PathBuf>,
    env: Option<String>,
}

impl Secret {
    fn read(self, protocol: Protocol, at: &Key, problems: &mut Problems) -> Option<Password> {
        let (key, found) = match (self.file, self.env) {
            (None, None) => return Some(Password::default()),
            (Some(_), Some(_)) => {
                problems.add(at.clone(), "has both password_file and password_env; keep one");
                return None;
            }
            (Some(path), None) => {
                let found = std::fs::read_to_string(&path);
                (
                    at.field("password_file"),
                    found.map_err(|error| format!("{} cannot be read: {error}", path.display())),
                )
            }
            (None, Some(name)) => {
                let found = std::env::var(&name);
                (
                    at.field("password_env"),
                    found.map_err(|_| format!("the environment has no readable variable {name}")),
                )
            }
        };
        let wrong = match (protocol, found) {
            (_, Err(wrong)) => wrong,
            (Protocol::Gb26875, Ok(_)) => "GB/T 26875.3 has no passwords".to_owned(),
            (Protocol::Sl651, Ok(text)) => match unhex(text.trim()).filter(|bytes| bytes.len() == 2) {
                Some(bytes) => return Some(Password::of(&bytes)),
                None => "the password is not 4 hexadecimal digits".to_owned(),
            },
            (Protocol::Hj212, Ok(text)) if !text.trim().is_empty() => {
                return Some(Password::of(text.trim().as_bytes()));
            }
            (Protocol::Hj212, Ok(_)) => "the password is empty".to_owned(),
        };
        problems.add(key, wrong);
        None
    }
}

impl RawLimits {
    fn check(self, at: &Key, problems: &mut Problems) -> Option<Limits> {
        let second = Duration::from_secs(1);
        let mut count = |name: &str, value: usize, range| problems.within(at.field(name), value, range);
        let connections = count("connections", self.connections, 1..=100_000);
        let waiting_for_frame = count("waiting_for_frame", self.waiting_for_frame, 1..=100_000);
        let frame_bytes = count("frame_bytes", self.frame_bytes, 256..=65_600);
        let message_bytes = count("message_bytes", self.message_bytes, 1_024..=16 * 1024 * 1024);
        let garbage_bytes = count("garbage_bytes", self.garbage_bytes, 16..=1024 * 1024);
        let mut span = |name: &str, text: &str, range| problems.duration(at.field(name), text, range);
        let first_frame_within = span("first_frame_within", &self.first_frame_within, second / 10..=86_400 * second);
        let frame_within = span("frame_within", &self.frame_within, second / 10..=600 * second);
        let silence = span("silence", &self.silence, second / 10..=30 * 86_400 * second);
        let stall = span("stall", &self.stall, second / 10..=600 * second);
        Some(Limits {
            connections: connections?,
            waiting_for_frame: waiting_for_frame?,
            first_frame_within: first_frame_within?,
            frame_within: frame_within?,
            silence: silence?,
            stall: stall?,
            frame_bytes: frame_bytes?,
            message_bytes: message_bytes?,
            garbage_bytes: garbage_bytes?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(protocol: Protocol, text: &str) -> Vec<String> {
        let mut problems = Problems::in_file("davy.toml");
        let key = Key::of("source").field(protocol.word()).field("door");
        let raw: Option<Raw> = problems.read(&key, toml::from_str(text).unwrap());
        let config = raw.and_then(|raw| raw.check(protocol, "door", &key, &mut problems));
        assert_eq!(config.is_some(), problems.is_empty());
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_problem_is_told_with_its_key() {
        let text = "address = \"here\"\nutc_offset = \"8\"\nset_clock_beyond = \"5s\"\nstay_online = true\n\
                    password_file = \"/nowhere\"\ndevice.\"12\" = {}\n\
                    device.\"0012345678\" = { points = \"a.{part}-{bit}\" }\n\
                    limit = { silence = \"0s\", frame_bytes = 1 }";
        let told = told(Protocol::Sl651, text).join("\n");
        for expected in [
            "source.sl651.door.address: \"here\" is not address:port",
            "door.utc_offset: \"8\" is not an offset",
            "door.set_clock_beyond: is for source.gb26875 only",
            "door.password_file: /nowhere cannot be read",
            "door.device.\"12\": \"12\" is not a station address",
            "door.device.\"0012345678\".points: is for source.gb26875 only",
            "door.limit.silence: 0ms is outside",
            "door.limit.frame_bytes: 1 is outside",
        ] {
            assert!(told.contains(expected), "{expected}\n---\n{told}");
        }
        assert!(!told.contains("stay_online"));
    }

    #[test]
    fn passwords_are_checked_and_never_shown() {
        let sound = Password::of(b"123456");
        assert!(sound.admits(Some(b"123456")));
        for wrong in [None, Some(b"".as_slice()), Some(b"123457")] {
            assert!(!sound.admits(wrong));
        }
        assert!(Password::default().admits(None));
        assert_eq!(format!("{sound:?}"), "Password(set)");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "12345\n").unwrap();
        let text = format!("address = \"127.0.0.1:0\"\npassword_file = {:?}", file.path());
        assert!(told(Protocol::Sl651, &text)[0].contains("is not 4 hexadecimal digits"));
        assert!(told(Protocol::Hj212, &text).is_empty());
        assert!(told(Protocol::Gb26875, &text)[0].contains("has no passwords"));
    }
}
