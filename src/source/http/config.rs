//! `[source.http.<name>]`: a program that may send samples over HTTP.
//!
//! ```toml
//! [source.http.weather]
//! token_file = "secrets/weather"       # or token_env = "WEATHER_TOKEN"
//! points     = ["hongli.wind-*"]       # ids that it may write; * stands for anything
//! body_bytes = 4194304                 # of a body, unpacked
//! requests   = 8                       # at the same time
//! away       = "5m"                    # it is missed when nothing of it came for so long; without it never
//! line-protocol = { point = "{tag:site}.{field}", precision = "s" }  # see `decode`, format line-protocol
//! ```
//! In comes the table as written; out comes a [`Config`], or every problem. Of a token only its digest is
//! kept.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::config::{Key, Problems};
use crate::decode::{Pattern, RawLines, api_patterns};
use crate::model::fits;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    token_file: Option<PathBuf>,
    token_env: Option<String>,
    points: Vec<String>,
    #[serde(default = "body_bytes")]
    body_bytes: usize,
    #[serde(default = "requests")]
    requests: usize,
    away: Option<String>,
    #[serde(default, rename = "line-protocol")]
    line_protocol: RawLines,
}

const fn body_bytes() -> usize {
    4 * 1024 * 1024
}
const fn requests() -> usize {
    8
}

/// A sender that can be let in.
#[derive(Clone)]
pub struct Config {
    pub name: String,
    /// Digest of the token: it cannot leak the token, and digests take the same time to compare.
    pub(super) token: [u8; 32],
    points: Vec<String>,
    pub(super) body_bytes: usize,
    pub(super) requests: usize,
    /// It is missed when nothing came for so long.
    pub away: Option<Duration>,
    pub(super) precision: String,
    pub(super) patterns: Vec<Pattern>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("name", &self.name).field("points", &self.points).finish_non_exhaustive()
    }
}

impl Config {
    /// What it may write, as written.
    #[must_use]
    pub fn grants(&self) -> &[String] {
        &self.points
    }

    #[must_use]
    pub fn may_write(&self, id: &str) -> bool {
        self.points.iter().any(|pattern| fits(pattern, id))
    }
}

impl Raw {
    pub fn check(self, name: &str, at: &Key, problems: &mut Problems) -> Option<Config> {
        let token = self.token(at, problems);
        if self.points.is_empty() {
            problems.add(at.field("points"), "this sender may write nothing; name points, or \"*\" for all");
        }
        for (n, pattern) in self.points.iter().enumerate() {
            let fit = |c: char| c.is_alphanumeric() || "-_.*".contains(c);
            if pattern.is_empty() || !pattern.chars().all(fit) {
                problems
                    .add(at.field("points").index(n), format!("{pattern:?} is not an id of points such as mine-3.*"));
            }
        }
        let body_bytes = problems.within(at.field("body_bytes"), self.body_bytes, 1_024..=64 * 1024 * 1024);
        let requests = problems.within(at.field("requests"), self.requests, 1..=1_000);
        let span = Duration::from_secs(1)..=Duration::from_hours(24 * 7);
        let away = self.away.as_deref().and_then(|text| problems.duration(at.field("away"), text, span));
        let patterns = api_patterns(&self.line_protocol, &at.field("line-protocol"), problems);
        Some(Config {
            name: name.to_owned(),
            token: token?,
            points: self.points,
            body_bytes: body_bytes?,
            requests: requests?,
            away,
            precision: self.line_protocol.precision().to_owned(),
            patterns: patterns?,
        })
    }

    fn token(&self, at: &Key, problems: &mut Problems) -> Option<[u8; 32]> {
        let found = match (&self.token_file, &self.token_env) {
            (Some(path), None) => std::fs::read_to_string(path)
                .map(|text| text.lines().next().unwrap_or_default().to_owned())
                .map_err(|error| (at.field("token_file"), format!("{} cannot be read: {error}", path.display()))),
            (None, Some(name)) => std::env::var(name)
                .map_err(|_| (at.field("token_env"), format!("the environment has no readable variable {name}"))),
            (None, None) => Err((at.clone(), "needs token_file or token_env".to_owned())),
            (Some(_), Some(_)) => Err((at.clone(), "has both token_file and token_env; keep one".to_owned())),
        };
        let sound = |token: &str| (16..=512).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
        match found {
            Ok(token) if sound(token.trim()) => Some(Sha256::digest(token.trim().as_bytes()).into()),
            Ok(_) => {
                let told =
                    "the token must be 16 to 512 printable characters without spaces; `openssl rand -hex 32` makes one";
                problems.add(at.clone(), told);
                None
            }
            Err((key, told)) => {
                problems.add(key, told);
                None
            }
        }
    }
}

/// Two senders with one token could not be told apart.
pub fn check_tokens(senders: &[Config], problems: &mut Problems) {
    for (n, sender) in senders.iter().enumerate() {
        if let Some(other) = senders[..n].iter().find(|other| other.token == sender.token) {
            let told = format!("has the same token as source.http.{}; give each sender its own", other.name);
            problems.add(Key::of("source").field("http").field(&sender.name), told);
        }
    }
}

#[cfg(test)]
impl Config {
    /// A sender as the table in `text` says, with that token.
    pub(crate) fn of_test(name: &str, token: &str, text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, token).unwrap();
        let raw: Raw = toml::from_str(&format!("token_file = {path:?}\n{text}")).unwrap();
        let mut problems = Problems::default();
        raw.check(name, &Key::of(name), &mut problems).unwrap_or_else(|| panic!("{problems:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Config, String> {
        let mut problems = Problems::in_file("davy.toml");
        let key = Key::of("source.http.weather");
        let raw: Option<Raw> = problems.read(&key, toml::from_str(text).unwrap());
        let config = raw.and_then(|raw| raw.check("weather", &key, &mut problems));
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        if told.is_empty() { Ok(config.unwrap()) } else { Err(told.join("\n")) }
    }

    #[test]
    fn a_token_is_kept_as_a_digest_and_every_problem_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "correct-horse-battery\n").unwrap();
        let file = format!("token_file = {path:?}\n");
        let config = check(&format!("{file}points = [\"*\"]")).unwrap();
        assert_eq!(config.token, <[u8; 32]>::from(Sha256::digest(b"correct-horse-battery")));
        assert!(!format!("{config:?}").contains("horse") && !format!("{config:?}").contains("token"));
        std::fs::write(&path, "short\n").unwrap();
        for (text, told) in [
            ("points = [\"*\"]".to_owned(), "source.http.weather: needs token_file or token_env"),
            (format!("{file}points = [\"*\"]"), "source.http.weather: the token must be 16 to 512"),
            (
                format!("{file}points = [\"*\"]\nline-protocol = {{ precision = \"h\" }}"),
                "weather.line-protocol.precision: \"h\" is not a precision",
            ),
            (format!("{file}points = []"), "source.http.weather.points: this sender may write nothing"),
            (format!("{file}points = [\"a b\"]"), "weather.points[0]: \"a b\" is not an id"),
            (format!("{file}points = [\"*\"]\nbody_bytes = 1"), "weather.body_bytes: 1 is outside"),
        ] {
            let found = check(&text).unwrap_err();
            assert!(found.contains(told), "{told}\n---\n{found}");
        }
        let twice = [config.clone(), Config { name: "rain".into(), ..config }];
        let mut problems = Problems::default();
        check_tokens(&twice, &mut problems);
        assert!(problems.iter().next().unwrap().to_string().starts_with("source.http.rain: has the same token as"));
    }
}
