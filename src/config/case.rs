//! `[case]`: which alarms need a case, how long people have, and when somebody above has to sign.
//!
//! ```toml
//! [case]
//! from_priority = "P3"
//! answer = { P1 = "10m", P2 = "30m" }           # 叫应: spoken with the site by then
//! close = { P1 = "24h", P2 = "48h", P3 = "72h", P4 = "7d" }
//! [case.supervise]                              # 督办
//! episodes = 3
//! [[case.join]]                                 # one power stop that trips several points is one case
//! name = "power"
//! rules = ["power-*", "fan-*"]
//! within = "60s"
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::{Key, Problems};
use crate::alarm::Priority;
use crate::model::Kind;
use crate::response::case::{Join, Policy, Restart};
use crate::web::Role;

/// The largest file that the web edge takes.
const MOST_FILE_MIB: u64 = 32;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    from_priority: Option<String>,
    gateway: Option<bool>,
    #[serde(default)]
    answer: BTreeMap<String, String>,
    #[serde(default)]
    update: BTreeMap<String, String>,
    #[serde(default)]
    close: BTreeMap<String, String>,
    /// Gone; told what to write instead.
    halved_sites: Option<serde::de::IgnoredAny>,
    reopen_within: Option<String>,
    file_mib: Option<u64>,
    files_mib: Option<u64>,
    files: Option<usize>,
    #[serde(default)]
    supervise: RawSupervise,
    #[serde(default)]
    restart: RawRestart,
    #[serde(default)]
    join: Vec<RawJoin>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSupervise {
    /// `never`, or a priority.
    from_priority: Option<String>,
    episodes: Option<u32>,
    over: Option<String>,
    within: Option<String>,
    deadline: Option<String>,
    role: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRestart {
    #[serde(default)]
    off: bool,
    kind: Option<String>,
    from: Option<f64>,
    role: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawJoin {
    name: String,
    rules: Vec<String>,
    #[serde(default = "minute")]
    within: String,
}

fn minute() -> String {
    "60s".into()
}

const DAY: Duration = Duration::from_secs(86_400);

impl Raw {
    pub(super) fn check(self, at: &Key, problems: &mut Problems) -> Option<Policy> {
        let before = problems.len();
        let mut policy = Policy::default();
        if let Some(word) = &self.from_priority {
            policy.from_priority = priority(at.field("from_priority"), word, problems)?;
        }
        policy.of_gateway = self.gateway.unwrap_or(policy.of_gateway);
        for (table, name, slots) in
            [(&self.answer, "answer", &mut policy.answer), (&self.update, "update", &mut policy.update)]
        {
            // A table that is there is the whole of it: whoever is not named owes nothing.
            if !table.is_empty() {
                *slots = [None; 4];
            }
            for (priority, time) in times(table, &at.field(name), problems) {
                slots[priority as usize] = Some(time);
            }
        }
        for (priority, time) in times(&self.close, &at.field("close"), problems) {
            policy.close[priority as usize] = time;
        }
        if self.halved_sites.is_some() {
            let told = "is not read any more: write class = \"C\" (or \"D\") in the [area.NAME] that has these sites; it \
                        halves all times, of calls and of cases";
            problems.add(at.field("halved_sites"), told);
        }
        span(&mut policy.reopen_within, self.reopen_within.as_deref(), at.field("reopen_within"), problems);
        if let Some(mib) = self.file_mib.and_then(|mib| problems.within(at.field("file_mib"), mib, 1..=MOST_FILE_MIB)) {
            policy.file_bytes = mib << 20;
        }
        if let Some(mib) = self.files_mib.and_then(|mib| problems.within(at.field("files_mib"), mib, 1..=4_096)) {
            policy.files_bytes = mib << 20;
        }
        if let Some(files) = self.files.and_then(|files| problems.within(at.field("files"), files, 1..=100)) {
            policy.files = files;
        }
        self.supervise.check(&at.field("supervise"), &mut policy, problems);
        policy.restart = self.restart.check(&at.field("restart"), policy.restart, problems);
        for (place, raw) in self.join.into_iter().enumerate() {
            let at = at.field("join").index(place);
            if raw.rules.is_empty() || raw.name.trim().is_empty() {
                problems.add(at.clone(), "needs a name and patterns of rules, such as [\"power-*\"]");
            }
            let within = problems.duration(at.field("within"), &raw.within, Duration::from_secs(1)..=DAY / 24);
            policy.join.extend(within.map(|within| Join { name: raw.name, rules: raw.rules, within }));
        }
        (problems.len() == before).then_some(policy)
    }
}

impl RawSupervise {
    fn check(self, at: &Key, policy: &mut Policy, problems: &mut Problems) {
        let rule = &mut policy.supervise;
        match self.from_priority.as_deref() {
            None => {}
            Some("never") => rule.from_priority = None,
            Some(word) => rule.from_priority = priority(at.field("from_priority"), word, problems),
        }
        if let Some(episodes) = self.episodes.and_then(|count| problems.within(at.field("episodes"), count, 2..=50)) {
            rule.episodes = episodes;
        }
        span(&mut rule.over, self.over.as_deref(), at.field("over"), problems);
        span(&mut rule.within, self.within.as_deref(), at.field("within"), problems);
        span(&mut rule.deadline, self.deadline.as_deref(), at.field("deadline"), problems);
        role(&mut rule.role, self.role, at, problems);
    }
}

impl RawRestart {
    fn check(self, at: &Key, usual: Option<Restart>, problems: &mut Problems) -> Option<Restart> {
        let mut rule = usual.filter(|_| !self.off)?;
        if let Some(kind) = &self.kind {
            let known = Kind::ALL.iter().map(|kind| (kind.word(), *kind));
            rule.kind = problems.known(at.field("kind"), kind, "kind", known)?;
        }
        rule.from = self.from.unwrap_or(rule.from);
        role(&mut rule.role, self.role, at, problems);
        Some(rule)
    }
}

fn priority(at: Key, word: &str, problems: &mut Problems) -> Option<Priority> {
    problems.known(at, word, "priority", Priority::ALL.map(|priority| (priority.word(), priority)))
}

fn times(table: &BTreeMap<String, String>, at: &Key, problems: &mut Problems) -> Vec<(Priority, Duration)> {
    let mut times = Vec::new();
    for (word, time) in table {
        let at = at.field(word);
        let priority = priority(at.clone(), word, problems);
        let time = problems.duration(at, time, Duration::from_secs(1)..=DAY * 365);
        times.extend(priority.zip(time));
    }
    times
}

fn span(slot: &mut Duration, text: Option<&str>, at: Key, problems: &mut Problems) {
    let read = text.and_then(|text| problems.duration(at, text, Duration::from_secs(1)..=DAY * 365));
    *slot = read.unwrap_or(*slot);
}

fn role(slot: &mut String, word: Option<String>, at: &Key, problems: &mut Problems) {
    let Some(word) = word else { return };
    let known = problems.known(at.field("role"), &word, "role", Role::ALL.map(|role| (role.word(), role)));
    if let Some(role) = known {
        role.word().clone_into(slot);
    }
}
