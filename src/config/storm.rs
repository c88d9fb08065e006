//! `[storm]`: when an alarm comes and goes so often that it is shelved, and for how long; which alarms come up together.
//!
//! ```toml
//! [storm]
//! chatter = "3 in 1m"     # or "off"
//! shelf = "30m"           # it calls nobody for so long, and an alarm of its own says so
//! together = "10m"        # alarms no further apart than this have one first-out; or "off"
//! together_by = "hazard"  # of one site and field; or "site": whatever they are about
//! ```

use std::time::Duration;

use serde::Deserialize;

use super::{Key, Problems};
use crate::alarm::Aside;
use crate::response::group::Grouping;
use crate::response::storm::{Chatter, Policy};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    chatter: Option<String>,
    shelf: Option<String>,
    together: Option<String>,
    together_by: Option<String>,
}

const HOUR: Duration = Duration::from_secs(3_600);

impl Raw {
    pub(super) fn check(self, at: &Key, problems: &mut Problems) -> Option<Policy> {
        let before = problems.len();
        let mut policy = Policy::default();
        if let Some(text) = &self.chatter {
            policy.chatter = chatter(text, &at.field("chatter"), problems);
        }
        if let Some(text) = &self.shelf {
            let most = Duration::from_secs(60)..=Aside::LONGEST_SHELF;
            policy.shelf = problems.duration(at.field("shelf"), text, most).unwrap_or(policy.shelf);
        }
        policy.group = self.grouping(at, problems);
        (problems.len() == before).then_some(policy)
    }
}

impl Raw {
    fn grouping(&self, at: &Key, problems: &mut Problems) -> Option<Grouping> {
        let usual = Grouping::usual()?;
        let gap = match self.together.as_deref() {
            Some("off") => return None,
            Some(text) => problems.duration(at.field("together"), text, Duration::from_secs(1)..=HOUR)?,
            None => usual.gap,
        };
        let ways = [("hazard", false), ("site", true)];
        let whole_site = match &self.together_by {
            Some(word) => problems.known(at.field("together_by"), word, "way to put alarms together", ways)?,
            None => usual.whole_site,
        };
        Some(Grouping { gap, whole_site })
    }
}

fn chatter(text: &str, at: &Key, problems: &mut Problems) -> Option<Chatter> {
    if text == "off" {
        return None;
    }
    let parts = text.split_once(" in ").and_then(|(raises, within)| Some((raises.trim().parse().ok()?, within.trim())));
    let Some((raises, within)) = parts.filter(|(raises, _)| (3..=100).contains(raises)) else {
        let told = format!("{text:?} is not so many raises (3 to 100) in a time, such as \"3 in 1m\", nor \"off\"");
        problems.add(at.clone(), told);
        return None;
    };
    let within = problems.duration(at.clone(), within, Duration::from_secs(10)..=HOUR)?;
    Some(Chatter { raises, within })
}
