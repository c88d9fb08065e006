//! `[history]` of the configuration.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::Options;
use crate::config::{Key, Problems};

const DAY: Duration = Duration::from_secs(86_400);

/// As written in the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Raw {
    flush: String,
    keep_raw: String,
    keep_rollups: String,
}

impl Default for Raw {
    fn default() -> Self {
        Self { flush: "60s".into(), keep_raw: "90d".into(), keep_rollups: "1095d".into() }
    }
}

/// Proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub flush_after: Duration,
    pub keep_raw: Option<Duration>,
    pub keep_rollups: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Self { flush_after: Duration::from_secs(60), keep_raw: Some(DAY * 90), keep_rollups: Some(DAY * 1095) }
    }
}

impl Config {
    /// 48 MB in the head, and at most as much again being written.
    const FLUSH_SAMPLES: usize = 2_000_000;

    #[must_use]
    pub fn options(&self, folder: impl Into<PathBuf>) -> Options {
        Options {
            folder: folder.into(),
            flush_after: self.flush_after,
            flush_samples: Self::FLUSH_SAMPLES,
            keep_raw: self.keep_raw,
            keep_rollups: self.keep_rollups,
        }
    }
}

impl Raw {
    pub fn check(self, at: &Key, problems: &mut Problems) -> Option<Config> {
        let flush_after =
            problems.duration(at.field("flush"), &self.flush, Duration::from_secs(1)..=Duration::from_secs(3_600));
        let keep_raw = kept(at.field("keep_raw"), &self.keep_raw, problems);
        let keep_rollups = kept(at.field("keep_rollups"), &self.keep_rollups, problems);
        if let (Some(raw), Some(Some(rollups))) = (keep_raw, keep_rollups)
            && raw.is_none_or(|raw| raw > rollups)
        {
            problems.add(
                at.field("keep_rollups"),
                format!(
                    "{} is shorter than keep_raw, {}; rollups outlive raw samples",
                    self.keep_rollups, self.keep_raw
                ),
            );
            return None;
        }
        Some(Config { flush_after: flush_after?, keep_raw: keep_raw?, keep_rollups: keep_rollups? })
    }
}

/// A span of whole days or more, or "forever".
fn kept(key: Key, text: &str, problems: &mut Problems) -> Option<Option<Duration>> {
    if text == "forever" {
        return Some(None);
    }
    problems.duration(key, text, DAY..=DAY * 36_500).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> (Option<Config>, Vec<String>) {
        let mut problems = Problems::in_file("davy.toml");
        let at = Key::of("history");
        let value: toml::Value = toml::from_str(text).unwrap();
        let config = problems.read::<Raw>(&at, value).and_then(|raw| raw.check(&at, &mut problems));
        (config, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn an_empty_table_keeps_raw_samples_a_season_and_rollups_three_years() {
        assert_eq!(check(""), (Some(Config::default()), vec![]));
        let (config, problems) = check("keep_raw = \"30d\"\nkeep_rollups = \"forever\"");
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(config.unwrap().keep_rollups, None);
    }

    #[test]
    fn rollups_that_would_die_before_the_raw_samples_are_a_problem() {
        let (config, problems) = check("flush = \"0s\"\nkeep_raw = \"forever\"\nkeep_rollups = \"30d\"");
        assert_eq!(config, None);
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].starts_with("davy.toml: history.flush: 0ms is outside 1s..=1h"), "{problems:?}");
        assert!(problems[1].contains("history.keep_rollups: 30d is shorter than keep_raw, forever"), "{problems:?}");
    }
}
