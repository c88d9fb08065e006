//! Two versions of the rules beside each other, and how long before a reference a candidate was up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::{Occurrence, Played};
use crate::alarm::Priority;
use crate::model::{Timestamp, duration_text};

/// An alarm of both versions, at other times.
#[derive(Clone, Debug, PartialEq)]
pub struct Moved {
    pub before: Occurrence,
    pub now: Occurrence,
}

impl Moved {
    /// Seconds by which it is raised later; below zero, earlier.
    #[must_use]
    pub fn raised_by_s(&self) -> f64 {
        seconds(self.before.raised, self.now.raised)
    }

    /// The same of its end; `None` when it stands in one of them.
    #[must_use]
    pub fn cleared_by_s(&self) -> Option<f64> {
        Some(seconds(self.before.cleared?, self.now.cleared?))
    }
}

fn seconds(before: Timestamp, now: Timestamp) -> f64 {
    (now.micros() - before.micros()) as f64 / 1e6
}

/// What a change of rules changes.
#[derive(Clone, Debug, Default)]
pub struct Difference {
    pub added: Vec<Occurrence>,
    pub gone: Vec<Occurrence>,
    pub earlier: Vec<Moved>,
    pub later: Vec<Moved>,
    /// Raised at the same moment, ended at another.
    pub ended: Vec<Moved>,
    pub unchanged: usize,
    /// More alarms than are kept: the difference is of the first ones only.
    pub cut: bool,
}

/// The difference in the rules `about`, alarm by alarm: two are one when they are of one rule and point and stood
/// at the same time.
#[must_use]
pub fn difference(before: &Played, now: &Played, about: &BTreeSet<Arc<str>>) -> Difference {
    let mut difference = Difference { cut: before.beyond + now.beyond > 0, ..Difference::default() };
    let mut old = grouped(before, about);
    for (key, list) in grouped(now, about) {
        let mut olds = old.remove(&key).unwrap_or_default().into_iter().peekable();
        for one in list {
            while let Some(past) = olds.next_if(|old| ends(old) < one.raised) {
                difference.gone.push(past.clone());
            }
            match olds.next_if(|old| old.raised <= ends(one)) {
                Some(old) => difference.note(old, one),
                None => difference.added.push(one.clone()),
            }
        }
        difference.gone.extend(olds.cloned());
    }
    difference.gone.extend(old.into_values().flatten().cloned());
    difference.added.sort_by_key(|one| one.raised);
    difference.gone.sort_by_key(|one| one.raised);
    difference
}

type Grouped<'a> = BTreeMap<(&'a Arc<str>, &'a Arc<str>), Vec<&'a Occurrence>>;

fn grouped<'a>(played: &'a Played, about: &BTreeSet<Arc<str>>) -> Grouped<'a> {
    let mut groups = Grouped::new();
    for one in played.occurrences.iter().filter(|one| about.contains(&one.rule)) {
        groups.entry((&one.rule, &one.point)).or_default().push(one);
    }
    groups
}

fn ends(one: &Occurrence) -> Timestamp {
    one.cleared.unwrap_or(Timestamp::from_micros(i64::MAX))
}

impl Difference {
    fn note(&mut self, before: &Occurrence, now: &Occurrence) {
        let moved = || Moved { before: before.clone(), now: now.clone() };
        match now.raised.cmp(&before.raised) {
            std::cmp::Ordering::Less => self.earlier.push(moved()),
            std::cmp::Ordering::Greater => self.later.push(moved()),
            std::cmp::Ordering::Equal if now.cleared != before.cleared => self.ended.push(moved()),
            std::cmp::Ordering::Equal => self.unchanged += 1,
        }
    }

    /// One line for whoever approves.
    #[must_use]
    pub fn verdict(&self) -> String {
        let both = self.earlier.len() + self.later.len() + self.ended.len() + self.unchanged;
        let (before, now) = (both + self.gone.len(), both + self.added.len());
        if before == 0 && now == 0 {
            return "no alarm with either version".into();
        }
        if now == self.unchanged && before == now {
            return format!("nothing changes: the same {now} alarms");
        }
        let mut parts = Vec::new();
        let mut count = |count: usize, what: String| {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        };
        count(self.added.len(), "added".into());
        count(self.gone.len(), "gone".into());
        count(self.earlier.len(), format!("earlier by up to {}", most(&self.earlier)));
        count(self.later.len(), format!("later by up to {}", most(&self.later)));
        count(self.ended.len(), "with another end".into());
        count(self.unchanged, "unchanged".into());
        let urgent = self.gone.iter().filter(|one| one.priority <= Priority::P2).count();
        let warning = match urgent {
            0 => String::new(),
            _ => format!("; LOOK: {urgent} of those gone are P1 or P2"),
        };
        format!("{now} alarms instead of {before}: {}{warning}", parts.join(", "))
    }
}

fn most(moved: &[Moved]) -> String {
    let seconds = moved.iter().map(|moved| moved.raised_by_s().abs()).fold(0.0, f64::max);
    span_text(Duration::from_secs_f64(seconds))
}

/// As people read it: `40s`, `1h 5m`.
#[must_use]
pub fn span_text(span: Duration) -> String {
    let whole = span.as_secs();
    match (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60, whole % 60) {
        (0, 0, 0, _) => duration_text(Duration::from_millis(span.as_millis() as u64)),
        (0, 0, minutes, 0) => format!("{minutes}m"),
        (0, 0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (0, hours, minutes, _) => format!("{hours}h {minutes}m"),
        (days, hours, _, _) => format!("{days}d {hours}h"),
    }
}

/// How a rule did against the alarms of the reference.
#[derive(Clone, Debug, PartialEq)]
pub struct Lead {
    pub rule: Arc<str>,
    /// Alarms of the reference.
    pub alarms: usize,
    /// How long before each it was up, the shortest first; those that it missed are not among them.
    pub before: Vec<Duration>,
    pub missed: usize,
}

impl Lead {
    #[must_use]
    pub fn median(&self) -> Option<Duration> {
        self.before.get(self.before.len() / 2).copied()
    }
}

/// For each alarm of the reference: since when each rule of the candidate was up at that point, or at its site
/// where the rule does not watch the point. Alarms that stood before `from` say nothing of that.
#[must_use]
pub fn leads(reference: &str, of: &Played, candidate: &Played, from: Timestamp) -> Vec<Lead> {
    let alarms: Vec<&Occurrence> =
        of.occurrences.iter().filter(|one| *one.rule == *reference && one.raised >= from).collect();
    let mut by_rule: BTreeMap<&Arc<str>, Vec<&Occurrence>> = BTreeMap::new();
    for one in &candidate.occurrences {
        by_rule.entry(&one.rule).or_default().push(one);
    }
    let rules = candidate.watched.iter().filter(|(rule, _)| ***rule != *reference);
    let lead = |(rule, points): (&Arc<str>, &Vec<Arc<str>>)| {
        let own = by_rule.get(rule).map(Vec::as_slice).unwrap_or_default();
        let up = |alarm: &&Occurrence| {
            let watches = points.contains(&alarm.point);
            let there = own.iter().filter(|one| {
                let same = if watches { one.point == alarm.point } else { one.site == alarm.site };
                same && one.raised <= alarm.raised && ends(one) >= alarm.raised
            });
            there.map(|one| alarm.raised.since(one.raised)).max()
        };
        let mut before: Vec<Duration> = alarms.iter().filter_map(up).collect();
        before.sort_unstable();
        Lead { rule: rule.clone(), alarms: alarms.len(), missed: alarms.len() - before.len(), before }
    };
    rules.map(lead).collect()
}
