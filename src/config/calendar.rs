//! `[calendar]`: local time, and the seasons that limits and rules may ask for.
//!
//! ```toml
//! [calendar]
//! utc_offset = "+08:00"
//! longest_stop = "30d"              # a site that is stopped or in maintenance is producing again after that
//! season.flood = { from = "05-15", to = "09-30" }                              # 汛期, both days count
//! season.dry = [{ from = "11-01", to = "03-31", sites = ["river-*"] }]         # a list: several parts or sites
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::{Key, Problems};
use crate::model::{Calendar, MonthDay, Season, Zone};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    #[serde(default = "beijing")]
    utc_offset: String,
    longest_stop: Option<String>,
    #[serde(default)]
    season: BTreeMap<String, Parts>,
}

fn beijing() -> String {
    "+08:00".into()
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Parts {
    One(RawSeason),
    Several(Vec<RawSeason>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSeason {
    from: String,
    to: String,
    #[serde(default)]
    sites: Vec<String>,
}

impl Raw {
    pub(super) fn check(self, at: &Key, problems: &mut Problems) -> Option<Calendar> {
        let before = problems.len();
        let zone = Zone::parse(&self.utc_offset);
        if zone.is_none() {
            problems.add(at.field("utc_offset"), format!("{:?} is not an offset such as \"+08:00\"", self.utc_offset));
        }
        let mut seasons = Vec::new();
        for (name, parts) in self.season {
            let at = at.field("season").field(&name);
            let parts = match parts {
                Parts::One(part) => vec![part],
                Parts::Several(parts) => parts,
            };
            if parts.is_empty() {
                problems.add(at.clone(), "has no dates; write { from = \"05-15\", to = \"09-30\" }");
            }
            for part in parts {
                let mut day = |key: &str, text: &str| {
                    let day = MonthDay::parse(text);
                    if day.is_none() {
                        problems.add(at.field(key), format!("{text:?} is not a month and a day such as \"05-15\""));
                    }
                    day
                };
                if let (Some(from), Some(to)) = (day("from", &part.from), day("to", &part.to)) {
                    seasons.push(Season { name: name.clone(), sites: part.sites, from, to });
                }
            }
        }
        let mut calendar = Calendar { zone: zone.unwrap_or_default(), seasons, ..Calendar::default() };
        if let Some(text) = &self.longest_stop {
            let span = Duration::from_hours(1)..=Duration::from_hours(366 * 24);
            let read = problems.duration(at.field("longest_stop"), text, span);
            calendar.longest_stop = read.unwrap_or(calendar.longest_stop);
        }
        (problems.len() == before).then_some(calendar)
    }
}
