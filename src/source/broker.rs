//! An outside MQTT broker: where it is, who we are there, whom we trust; shared by all that connect to one.
//!
//! In come the keys of a source's table; out comes an [`Access`] that can only be sound: files were read,
//! certificates parse. And in come the errors of the client library; out go sentences for an operator.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;

use crate::config::{Key, Problems};

/// Seconds for TCP, TLS and CONNACK together.
pub(super) const CONNECT_S: u64 = 10;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTls {
    ca: String,
    certificate: Option<String>,
    key: Option<String>,
}

/// The keys of a source's table that say how to reach a broker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written<'a> {
    pub broker: &'a str,
    pub user: Option<&'a str>,
    pub password_file: Option<&'a str>,
    pub password_env: Option<&'a str>,
    pub tls: Option<&'a RawTls>,
}

/// Exists only if it is valid.
#[derive(Clone, Debug)]
pub(super) struct Access {
    pub broker: Broker,
    pub login: Option<(String, Secret)>,
    pub tls: Option<Arc<rustls::ClientConfig>>,
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

impl Access {
    pub fn transport(&self) -> rumqttc::Transport {
        match &self.tls {
            None => rumqttc::Transport::Tcp,
            Some(tls) => rumqttc::Transport::Tls(rumqttc::TlsConfiguration::Rustls(tls.clone())),
        }
    }
}

pub(super) fn network() -> rumqttc::NetworkOptions {
    let mut network = rumqttc::NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(CONNECT_S);
    network
}

impl Written<'_> {
    /// `at` is the source's table.
    pub fn check(self, at: &Key, problems: &mut Problems) -> Option<Access> {
        let before = problems.len();
        let broker = read_address(self.broker);
        if broker.is_none() {
            problems.add(
                at.field("broker"),
                format!("{:?} is not mqtt://host:port or mqtts://host:port, such as mqtt://10.0.4.2:1883", self.broker),
            );
        }
        let login = self.login(at, problems);
        let tls = self.tls(at, broker.as_ref(), problems);
        if problems.len() > before { None } else { Some(Access { broker: broker?, login, tls }) }
    }

    fn login(&self, at: &Key, problems: &mut Problems) -> Option<(String, Secret)> {
        let password = match (self.password_file, self.password_env) {
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
        match self.user {
            Some(user) => Some((user.to_owned(), Secret(password))),
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
        let raw = match (self.tls, broker.secure) {
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

fn read_address(text: &str) -> Option<Broker> {
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

pub(super) const LOGIN: &str = "the broker refused user or password; check user and password_file";
// Mosquitto 2.0 gives no reason when it lets a client go for another of the same name.
pub(super) const CLOSED: &str =
    "the broker closed the connection; if this goes on, another client may use the same client_id";
pub(super) const SILENT: &str = "the broker did not answer a ping within the keep-alive time";
pub(super) const TIMEOUT: &str = "no answer within 10 s";

/// Why a connection by MQTT 3.1.1 ended.
#[expect(clippy::wildcard_enum_match_arm, reason = "the library's enum: only what concerns us")]
pub(super) fn why(error: &rumqttc::ConnectionError) -> String {
    use rumqttc::{ConnectReturnCode, ConnectionError, StateError};
    match error {
        ConnectionError::ConnectionRefused(
            ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized,
        ) => LOGIN.into(),
        ConnectionError::ConnectionRefused(code) => format!("the broker refused the connection ({code:?})"),
        ConnectionError::MqttState(StateError::ConnectionAborted) => CLOSED.into(),
        ConnectionError::MqttState(StateError::AwaitPingResp) => SILENT.into(),
        ConnectionError::NetworkTimeout => TIMEOUT.into(),
        ConnectionError::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(read_address(text).map(|broker| broker.to_string()).as_deref(), shown, "{text}");
        }
    }
}
