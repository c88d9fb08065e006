//! What a site is doing: rules may ask for it, because a stopped face has other dangers than a working one.

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

    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }
}

/// The state that somebody gave a site, and who, when and why. It holds until somebody gives another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteStanding {
    pub site: SiteId,
    pub state: SiteState,
    pub since: Timestamp,
    pub by: String,
    pub reason: String,
}
