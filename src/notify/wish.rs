//! What every recipient says besides the way to reach them: how much they want to hear, and how it is worded.
//!
//! ```toml
//!  from_priority = "P2"   sites = ["mine-3", "plant-*"]   language = "zh"   call = "0356-2214567"
//!  template_file = "templates/captain.txt"   most_per = "20 in 10m"
//! ```
//! In comes a recipient's table as written; out go the wish and what is left of the table for its channel.
//! The template is read and tried once here: what is wrong with it is told with its file and line.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::queue::Pace;
use super::template::Template;
use super::wording::Language;
use crate::alarm::Priority;
use crate::config::{Key, Problems};

#[derive(Deserialize)]
struct Raw {
    #[serde(default = "forecasts_too")]
    from_priority: String,
    #[serde(default)]
    sites: Vec<String>,
    #[serde(default = "chinese")]
    language: String,
    #[serde(default)]
    call: String,
    template_file: Option<PathBuf>,
    most_per: Option<String>,
}

const KEYS: [&str; 6] = ["from_priority", "sites", "language", "call", "template_file", "most_per"];

fn forecasts_too() -> String {
    "P3".into()
}

fn chinese() -> String {
    "zh".into()
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// This priority and more urgent ones.
    pub from_priority: Priority,
    /// Patterns of sites; empty: all.
    pub sites: Vec<String>,
    pub language: Language,
    /// Whom to telephone; never cut off a message.
    pub call: String,
    /// Text of the recipient's own template.
    pub template: Option<String>,
    /// How much they are to get; the outer `None`: what is usual on the channel, the inner one: everything.
    pub most_per: Option<Option<Pace>>,
}

impl Wish {
    /// Takes the wish out of a recipient's table and reads the rest as its channel's.
    pub fn split<R: DeserializeOwned>(
        mut table: toml::Table,
        at: &Key,
        problems: &mut Problems,
    ) -> (Option<Self>, Option<R>) {
        let own: toml::Table =
            KEYS.iter().filter_map(|key| table.remove(*key).map(|value| ((*key).to_owned(), value))).collect();
        let wish = problems.read::<Raw>(at, toml::Value::Table(own)).and_then(|raw| raw.check(at, problems));
        (wish, problems.read(at, toml::Value::Table(table)))
    }
}

impl Raw {
    fn check(self, at: &Key, problems: &mut Problems) -> Option<Wish> {
        let from_priority = super::priority(problems, at, &self.from_priority);
        let language = problems.known(at.field("language"), &self.language, "language", Language::ALL);
        let plain = self.call.chars().count() <= 30 && !self.call.chars().any(char::is_control);
        if !plain {
            problems.add(at.field("call"), "is a telephone number: at most 30 characters on one line");
        }
        let template = match &self.template_file {
            Some(path) => Some(read(path, &at.field("template_file"), problems)?),
            None => None,
        };
        let most_per = match &self.most_per {
            Some(text) => Some(most_per(problems, &at.field("most_per"), text)?),
            None => None,
        };
        let wish = Wish {
            from_priority: from_priority?,
            sites: self.sites,
            language: language?,
            call: self.call.trim().to_owned(),
            template,
            most_per,
        };
        plain.then_some(wish)
    }
}

/// `20 in 10m`, or `all`. The outer `None`: there was a problem.
pub fn most_per(problems: &mut Problems, at: &Key, text: &str) -> Option<Option<Pace>> {
    if text == "all" {
        return Some(None);
    }
    let parts = text.split_once(" in ").and_then(|(most, per)| Some((most.trim().parse::<usize>().ok()?, per.trim())));
    let Some((most, per)) = parts.filter(|(most, _)| (4..=1_000).contains(most)) else {
        problems.add(
            at.clone(),
            format!("{text:?} is not so many (4 to 1000) in a time, such as \"20 in 10m\", nor \"all\""),
        );
        return None;
    };
    let day = Duration::from_secs(24 * 3_600);
    let per = problems.duration(at.clone(), per, Duration::from_secs(10)..=day)?;
    Some(Some(Pace { most, per }))
}

/// A template that can be used, or problems with the line in the file.
fn read(path: &PathBuf, key: &Key, problems: &mut Problems) -> Option<String> {
    let tried = match std::fs::read_to_string(path) {
        Ok(text) => Template::try_out(&text).map(|()| text).map_err(|error| error.to_string()),
        Err(error) => Err(format!("cannot be read: {error}")),
    };
    match tried {
        Ok(text) => Some(text),
        Err(told) => {
            problems.add(key.clone(), format!("{}: {told}", path.display()));
            None
        }
    }
}
