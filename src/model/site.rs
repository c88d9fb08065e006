//! What a site is doing: rules may ask for it, because a stopped face has other dangers than a working one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{SiteId, Timestamp};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SiteState {
    /// What holds where nobody has said anything else: every rule counts in full.
    #[default]
    Producing,
    /// 停产.
    Stopped,
    /// 检修.
    Maintenance,
}

impl SiteState {
    pub const ALL: [Self; 3] = [Self::Producing, Self::Stopped, Self::Maintenance];

    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Producing => "producing",
            Self::Stopped => "stopped",
            Self::Maintenance => "maintenance",
        }
    }

    /// May rules ask for it to be quiet?
    #[must_use]
    pub const fn reduces(self) -> bool {
        match self {
            Self::Producing => false,
            Self::Stopped | Self::Maintenance => true,
        }
    }

    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }
}

/// The state that somebody gave a site, and who, when and why. It holds until its end, or until somebody gives another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteStanding {
    pub site: SiteId,
    pub state: SiteState,
    pub since: Timestamp,
    pub by: String,
    pub reason: String,
    /// The second person, where the state takes alarms away.
    #[serde(default)]
    pub approved_by: String,
    /// Then it is producing again by itself.
    #[serde(default)]
    pub until: Option<Timestamp>,
}

impl SiteStanding {
    /// When it is over; one that was written down before states had ends is over when the longest would be.
    #[must_use]
    pub fn ends(&self, longest: Duration) -> Option<Timestamp> {
        self.state.reduces().then(|| self.until.unwrap_or(self.since + longest))
    }

    /// When people are reminded of the end: a day before, or when three quarters of a shorter time have passed.
    #[must_use]
    pub fn reminds(&self, longest: Duration) -> Option<Timestamp> {
        let ends = self.ends(longest)?;
        Some(ends - (ends.since(self.since) / 4).min(Duration::from_hours(24)))
    }
}
