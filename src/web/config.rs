//! `[web]`: where the edge listens, who may ask, and how much it lets in.
//!
//! In comes the table as written; out comes a [`Config`] that is safe to serve with, or every problem.
//! An address that others can reach without a token is a problem: Davy is not run open by accident.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::users::User;
use crate::config::{Key, Problems};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Raw {
    pub address: String,
    /// A file whose first line is the token, readable by the gateway alone.
    pub token_file: Option<PathBuf>,
    /// Name of the environment variable that holds the token.
    pub token_env: Option<String>,
    /// Browsers reach Davy through a proxy that speaks TLS: cookies are marked `Secure`.
    pub behind_tls: bool,
    pub max_streams: usize,
    pub max_connections: usize,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            address: "127.0.0.1:8080".into(),
            token_file: None,
            token_env: None,
            behind_tls: false,
            max_streams: 256,
            max_connections: 1_024,
        }
    }
}

/// The shared secret of all who may ask. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Shorter ones could be guessed.
    const SHORTEST: usize = 16;

    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
        (text.len() >= Self::SHORTEST && text.len() <= 512 && printable).then(|| Self(text.to_owned()))
    }

    /// For Davy's own requests to itself; never for a message.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub address: SocketAddr,
    /// The one token of everybody. Absent on a loopback address, and where people have tokens of their own.
    pub token: Option<Token>,
    /// Empty: whoever gets in is who they say they are.
    pub users: Vec<User>,
    pub behind_tls: bool,
    pub max_streams: usize,
    pub max_connections: usize,
}

impl Raw {
    /// `users`: people with tokens of their own.
    pub fn check(self, users: Vec<User>, at: &Key, problems: &mut Problems) -> Option<Config> {
        let address: Option<SocketAddr> =
            problems.parsed(at.field("address"), &self.address, "ip:port, such as 127.0.0.1:8080 or [::]:8080");
        let named = self.token_file.is_some() || self.token_env.is_some();
        let token = token(self.token_file.as_deref(), self.token_env.as_deref(), at, problems);
        let max_streams = problems.within(at.field("max_streams"), self.max_streams, 1..=10_000);
        let max_connections = problems.within(at.field("max_connections"), self.max_connections, 8..=20_000);
        if let (Some(streams), Some(connections)) = (max_streams, max_connections)
            && streams >= connections
        {
            let message = format!("{streams} streams would leave no connection of {connections} for anything else");
            problems.add(at.field("max_streams"), message);
            return None;
        }
        if named && !users.is_empty() {
            let key = at.field(if self.token_file.is_some() { "token_file" } else { "token_env" });
            problems.add(key, "there are users: a token that is nobody's would be a way around them; take it out");
            return None;
        }
        if let Some(address) = address
            && !address.ip().is_loopback()
            && !named
            && users.is_empty()
        {
            let message = format!(
                "{address} can be reached from other machines: set token_file or token_env, name [user.*], or listen \
                 on 127.0.0.1"
            );
            problems.add(at.field("address"), message);
            return None;
        }
        Some(Config {
            address: address?,
            token: token?,
            users,
            behind_tls: self.behind_tls,
            max_streams: max_streams?,
            max_connections: max_connections?,
        })
    }
}

/// `Some(None)`: none is asked for. `None`: one is asked for and could not be had.
#[expect(clippy::option_option, reason = "none wanted and none to be had are different answers")]
pub(super) fn token(
    file: Option<&Path>,
    env: Option<&str>,
    at: &Key,
    problems: &mut Problems,
) -> Option<Option<Token>> {
    let (key, text) = match (file, env) {
        (None, None) => return Some(None),
        (Some(_), Some(_)) => {
            problems.add(at.field("token_env"), "token_file is set as well; keep one of the two");
            return None;
        }
        (Some(path), None) => {
            let key = at.field("token_file");
            match std::fs::read_to_string(path) {
                Ok(text) => (key, text.lines().next().unwrap_or_default().to_owned()),
                Err(cause) => {
                    problems.add(key, format!("{}: {cause}", path.display()));
                    return None;
                }
            }
        }
        (None, Some(name)) => {
            let key = at.field("token_env");
            match std::env::var(name) {
                Ok(text) => (key, text),
                Err(_) => {
                    problems.add(key, format!("the environment variable {name} is not set"));
                    return None;
                }
            }
        }
    };
    let token = Token::new(&text);
    if token.is_none() {
        problems.add(
            key,
            "the token must be 16 to 512 printable characters without spaces; `openssl rand -hex 32` makes one",
        );
    }
    token.map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> (Option<Config>, String) {
        let mut problems = Problems::in_file("davy.toml");
        let at = Key::of("web");
        let raw = problems.read::<Raw>(&at, toml::from_str(text).unwrap());
        let config = raw.and_then(|raw| raw.check(Vec::new(), &at, &mut problems));
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        (config, told.join("\n"))
    }

    #[test]
    fn an_empty_table_listens_on_loopback_and_is_open() {
        let (config, told) = checked("");
        let config = config.expect(&told);
        assert_eq!((config.address.to_string().as_str(), &config.token), ("127.0.0.1:8080", &None));
        assert_eq!((config.max_streams, config.max_connections), (256, 1_024));
    }

    #[test]
    fn an_address_that_others_reach_needs_a_token() {
        for address in ["0.0.0.0:8080", "[::]:8080", "10.0.4.2:80"] {
            let (config, told) = checked(&format!("address = {address:?}"));
            assert_eq!(config, None);
            assert!(told.contains("davy.toml: web.address:") && told.contains("set token_file"), "{told}");
        }
    }

    #[test]
    fn a_token_is_read_from_a_file_and_never_printed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "correct-horse-battery\n").unwrap();
        let (config, told) = checked(&format!("address = \"0.0.0.0:0\"\ntoken_file = {path:?}"));
        let config = config.expect(&told);
        assert_eq!(config.token.as_ref().map(Token::bytes), Some(&b"correct-horse-battery"[..]));
        assert!(!format!("{config:?}").contains("horse"));
    }

    #[test]
    fn tokens_that_are_missing_short_or_doubled_are_told_with_their_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "short\n").unwrap();
        for (text, expected) in [
            (format!("token_file = {path:?}"), "web.token_file: the token must be"),
            ("token_file = \"/nowhere/token\"".into(), "web.token_file: /nowhere/token"),
            ("token_env = \"DAVY_NO_SUCH_VARIABLE\"".into(), "web.token_env: the environment variable"),
            (format!("token_env = \"A\"\ntoken_file = {path:?}"), "keep one of the two"),
            ("address = \"here\"".into(), "web.address: \"here\" is not ip:port"),
            ("max_streams = 0".into(), "web.max_streams: 0 is outside"),
            ("max_streams = 100\nmax_connections = 100".into(), "leave no connection"),
            ("adress = \"x\"".into(), "did you mean \"address\"?"),
        ] {
            let (config, told) = checked(&text);
            assert!(config.is_none() && told.contains(expected), "{text}: {told}");
        }
    }
}
