//! `[publish]`: which alarms are published, in whose name, and who may read them.
//!
//! ```toml
//! [publish]
//! area        = "140525"             # GB/T 2260
//! sector      = "013"                # of whoever publishes, GB/T 4657: three digits
//! unit        = "000"                # and extension = "00": of the identifier
//! sender      = "zezhou-emergency"   # no spaces, commas, < or &
//! sender_name = "泽州县应急管理局"
//! sites       = ["*"]                # what is published: there is no default
//! levels      = ["red", "orange"]
//! priorities  = ["P1", "P2"]         # besides; every priority unless told
//! rules       = ["methane-*"]        # besides; every rule unless told
//! forecasts   = ["*-trend"]          # rules that foresee: Likely and Expected, not Observed and Immediate
//! scope       = "restricted"         # or "public"
//! restriction = "监管部门与相邻县"    # for whom, when restricted
//! test        = false                # true: every message says status Test
//!
//! [publish.feed.county-b]            # GET /feeds/county-b.atom
//! token_file = "secrets/county-b"    # or token_env; taking the text out of the file shuts the feed at once
//! sites      = ["river-*"]
//! levels     = ["red"]               # all that is published unless told
//! most       = 100                   # newest messages
//!
//! [publish.neighbour.city]           # every chosen message is sent there, signed as those of webhooks are
//! push        = "https://warnings.city.example/cap"
//! secret_file = "secrets/city"       # or secret_env; taking the text out of the file ends it at once
//! sites       = ["river-*"]          # and levels, timeout and ca_file
//! ```
//! In comes the table as written; out comes a [`Config`], or every problem.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::feed::Feed;
use super::neighbour::{self, Neighbour};
use crate::alarm::{Alarm, Level, Priority};
use crate::config::{Key, Problems};
use crate::model::fits;
use crate::remote;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    area: String,
    sector: String,
    #[serde(default = "unit")]
    unit: String,
    #[serde(default = "extension")]
    extension: String,
    sender: String,
    #[serde(default)]
    sender_name: String,
    #[serde(default)]
    contact: String,
    sites: Vec<String>,
    levels: Vec<String>,
    #[serde(default)]
    priorities: Vec<String>,
    #[serde(default)]
    rules: Vec<String>,
    #[serde(default)]
    forecasts: Vec<String>,
    #[serde(default = "scope")]
    scope: String,
    #[serde(default)]
    restriction: String,
    #[serde(default)]
    test: bool,
    #[serde(default)]
    feed: BTreeMap<String, RawFeed>,
    #[serde(default)]
    neighbour: BTreeMap<String, neighbour::Raw>,
}

fn unit() -> String {
    "000".into()
}
fn extension() -> String {
    "00".into()
}
fn scope() -> String {
    "restricted".into()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFeed {
    token_file: Option<String>,
    token_env: Option<String>,
    sites: Vec<String>,
    #[serde(default)]
    levels: Vec<String>,
    #[serde(default = "most")]
    most: usize,
}

const fn most() -> usize {
    100
}

/// Sites by pattern and levels.
#[derive(Clone, Debug)]
pub struct Choice {
    pub sites: Vec<String>,
    pub levels: Vec<Level>,
}

impl Choice {
    #[must_use]
    pub fn takes(&self, site: &str, level: Level) -> bool {
        self.levels.contains(&level) && self.sites.iter().any(|pattern| fits(pattern, site))
    }
}

#[derive(Clone, Debug)]
pub struct Config {
    /// The first 14 characters of every identifier: area, sector, unit, extension.
    pub issuer: String,
    /// GB/T 2260.
    pub area: String,
    pub sender: String,
    pub sender_name: String,
    pub contact: String,
    pub choice: Choice,
    pub priorities: Vec<Priority>,
    pub rules: Vec<String>,
    pub forecasts: Vec<String>,
    /// For whom; `None` is everybody.
    pub restriction: Option<String>,
    pub test: bool,
    pub feeds: Vec<Feed>,
    pub neighbours: Vec<Neighbour>,
}

impl Config {
    /// The gateway's own conditions are nobody else's business.
    #[must_use]
    pub fn chosen(&self, alarm: &Alarm) -> bool {
        let rule = |patterns: &[String]| patterns.iter().any(|pattern| fits(pattern, &alarm.rule));
        !alarm.site.is_empty()
            && !alarm.rule.starts_with("davy-")
            && self.choice.takes(&alarm.site, alarm.level)
            && self.priorities.contains(&alarm.priority)
            && (self.rules.is_empty() || rule(&self.rules))
    }
}

impl Raw {
    pub fn check(self, at: &Key, problems: &mut Problems) -> Option<Config> {
        let before = problems.len();
        for (name, text, digits) in [
            ("area", &self.area, 6),
            ("sector", &self.sector, 3),
            ("unit", &self.unit, 3),
            ("extension", &self.extension, 2),
        ] {
            if text.len() != digits || !text.bytes().all(|byte| byte.is_ascii_digit()) {
                problems.add(at.field(name), format!("{text:?} is not {digits} digits"));
            }
        }
        let sound = |sender: &str| !sender.chars().any(|c| c.is_whitespace() || c.is_control() || ",<&".contains(c));
        if self.sender.is_empty() || !sound(&self.sender) {
            problems.add(at.field("sender"), format!("{:?} is empty or has a space, comma, < or &", self.sender));
        }
        let restriction = match self.scope.as_str() {
            "public" if self.restriction.is_empty() => None,
            "public" => {
                problems.add(at.field("restriction"), "is for scope = \"restricted\"; leave one of them");
                None
            }
            "restricted" => {
                if self.restriction.is_empty() {
                    problems.add(at.field("restriction"), "say for whom the messages are; CAP 1.2 asks for it");
                }
                Some(self.restriction)
            }
            other => {
                problems.add(at.field("scope"), format!("{other:?} is not \"restricted\" or \"public\""));
                None
            }
        };
        let choice = choice(self.sites, &self.levels, at, problems);
        let priorities = words(&self.priorities, &Priority::ALL, Priority::word, &at.field("priorities"), problems);
        let feeds: Vec<Option<Feed>> = self
            .feed
            .into_iter()
            .map(|(name, raw)| raw.check(name.clone(), &choice.levels, &at.field("feed").field(name), problems))
            .collect();
        let neighbours: Vec<Option<Neighbour>> = self
            .neighbour
            .into_iter()
            .map(|(name, raw)| raw.check(name.clone(), &choice.levels, &at.field("neighbour").field(name), problems))
            .collect();
        (problems.len() == before).then_some(())?;
        Some(Config {
            issuer: format!("{}{}{}{}", self.area, self.sector, self.unit, self.extension),
            area: self.area,
            sender: self.sender,
            sender_name: self.sender_name,
            contact: self.contact,
            choice,
            priorities: if priorities.is_empty() { Priority::ALL.to_vec() } else { priorities },
            rules: self.rules,
            forecasts: self.forecasts,
            restriction,
            test: self.test,
            feeds: feeds.into_iter().collect::<Option<_>>()?,
            neighbours: neighbours.into_iter().collect::<Option<_>>()?,
        })
    }
}

impl RawFeed {
    fn check(self, name: String, published: &[Level], at: &Key, problems: &mut Problems) -> Option<Feed> {
        let before = problems.len();
        let fit = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || !name.chars().all(fit) {
            problems.add(at.clone(), format!("{name:?} stands in an address: use letters, digits, - and _"));
        }
        if self.token_file.is_none() && self.token_env.is_none() {
            problems.add(at.clone(), "needs token_file or token_env; `openssl rand -hex 32` makes a token");
        }
        let token = remote::secret(problems, at, "token", self.token_file, self.token_env).flatten();
        let most = problems.within(at.field("most"), self.most, 1..=1_000);
        let all: Vec<String> = published.iter().map(|level| level.word().to_owned()).collect();
        let levels = if self.levels.is_empty() { &all } else { &self.levels };
        let choice = choice(self.sites, levels, at, problems);
        (problems.len() == before).then_some(())?;
        Some(Feed::new(name, token?, choice, most?))
    }
}

pub(super) fn choice(sites: Vec<String>, levels: &[String], at: &Key, problems: &mut Problems) -> Choice {
    if sites.is_empty() {
        problems.add(at.field("sites"), "chooses nothing; name sites, or \"*\" for all");
    }
    if levels.is_empty() {
        problems.add(at.field("levels"), "chooses nothing; name levels: red, orange, yellow, blue");
    }
    Choice { sites, levels: words(levels, &Level::ALL, Level::word, &at.field("levels"), problems) }
}

fn words<T: Copy>(
    list: &[String],
    all: &[T],
    word: impl Fn(T) -> &'static str,
    at: &Key,
    problems: &mut Problems,
) -> Vec<T> {
    let known = || all.iter().map(|one| (word(*one), *one));
    list.iter()
        .enumerate()
        .filter_map(|(place, text)| problems.known(at.index(place), text, "word here", known()))
        .collect()
}
