//! Neighbours that do not come and read: each chosen warning is pushed to their server.
//!
//! In comes `[publish.neighbour.<name>]`, out goes who gets what and where, for `notify`, which delivers. A neighbour
//! gets warnings and nothing else, and can ask for nothing: of its answers only the status counts. The secret is read
//! anew for each delivery: whoever empties its file has ended the deliveries at once. Never: a warning in clear text
//! over a network, or the end of a warning that the neighbour was not told of.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::config::{Choice, choice};
use super::message::Kind;
use crate::alarm::Level;
use crate::config::{Key, Problems};
use crate::remote::{self, SecretPlace, Url};

/// In the outbox, as that of any other recipient.
pub const CHANNEL: &str = "neighbour";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    push: String,
    secret_file: Option<String>,
    secret_env: Option<String>,
    /// PEM file of the authority that signed the server's certificate, where it is the neighbour's own.
    ca_file: Option<PathBuf>,
    sites: Vec<String>,
    #[serde(default)]
    levels: Vec<String>,
    #[serde(default = "ten_seconds")]
    timeout: String,
}

fn ten_seconds() -> String {
    "10s".into()
}

#[derive(Clone, Debug)]
pub struct Neighbour {
    pub name: String,
    pub url: Url,
    pub secret: SecretPlace,
    pub authority: Option<PathBuf>,
    pub timeout: Duration,
    choice: Choice,
}

impl Neighbour {
    /// Patterns of sites that it hears of.
    #[must_use]
    pub fn sites(&self) -> &[String] {
        &self.choice.sites
    }

    /// Is it told? `heard`: it was told of the same alarm before. Whatever is chosen by now, it hears how that ends,
    /// and it hears of no end whose beginning it was not told.
    #[must_use]
    pub fn takes(&self, kind: Kind, site: &str, level: Level, heard: bool) -> bool {
        match kind {
            Kind::Alert | Kind::Update => heard || self.choice.takes(site, level),
            Kind::Cancel => heard,
        }
    }
}

impl Raw {
    pub(super) fn check(
        self,
        name: String,
        published: &[Level],
        at: &Key,
        problems: &mut Problems,
    ) -> Option<Neighbour> {
        let before = problems.len();
        let url = remote::address(problems, at.field("push"), &self.push);
        if url.as_ref().is_some_and(|url| url.scheme() == "http" && !is_here(url)) {
            problems.add(at.field("push"), "warnings do not go over a network in clear text: use https://");
        }
        let secret = secret(at, problems, self.secret_file, self.secret_env);
        let span = Duration::from_millis(100)..=Duration::from_secs(60);
        let timeout = problems.duration(at.field("timeout"), &self.timeout, span);
        let all: Vec<String> = published.iter().map(|level| level.word().to_owned()).collect();
        let levels = if self.levels.is_empty() { &all } else { &self.levels };
        let choice = choice(self.sites, levels, at, problems);
        let (url, timeout) = (url?, timeout?);
        if let Err(error) = remote::client(&url, self.ca_file.as_deref(), timeout) {
            problems.add(at.field("ca_file"), remote::chain(&error));
        }
        (problems.len() == before).then_some(())?;
        Some(Neighbour { name, url, secret: secret?, authority: self.ca_file, timeout, choice })
    }
}

/// This machine.
fn is_here(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// An emptied file is no problem: that is how deliveries are ended, and a gateway starts all the same.
fn secret(at: &Key, problems: &mut Problems, file: Option<String>, variable: Option<String>) -> Option<SecretPlace> {
    if let (Some(path), None) = (&file, &variable) {
        let place = SecretPlace::File(path.into());
        if matches!(place.read(), Err(remote::Error::EmptyFile { .. })) {
            return Some(place);
        }
    }
    if file.is_none() && variable.is_none() {
        problems.add(at.clone(), "needs secret_file or secret_env, by which the neighbour knows who sends");
    }
    remote::secret(problems, at, "secret", file, variable).flatten()
}
