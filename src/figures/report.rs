//! The figures as they are told.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::model::Timestamp;

/// Figures of a span, `from` included, `to` not.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    #[serde(serialize_with = "moment")]
    pub from: Timestamp,
    #[serde(serialize_with = "moment")]
    pub to: Timestamp,
    /// False: there were more changes than are kept, so that the span begins later than was asked for.
    pub complete: bool,
    pub total: Figures,
    /// By site; `gateway` is the gateway itself.
    pub sites: BTreeMap<Arc<str>, Figures>,
    /// By position: what its people had to bear. An alarm counts at each position that has it on its screen.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub positions: BTreeMap<Arc<str>, Figures>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Alarms raised, and raised again, without exercises.
    pub raised: usize,
    /// The same, where the same rule at the same point within 10 minutes counts once.
    pub episodes: usize,
    /// Episodes again, where those that came up together count once: one power stop that trips ten points is one 超限.
    /// What people have said of a case's cause holds here. Planned work is not among them.
    pub one_cause_episodes: usize,
    /// The same of alarms under a permit: applied for in advance, and counted apart.
    pub planned_episodes: usize,
    /// Raised by exercises; in no other figure.
    pub exercise: usize,
    pub per_10_minutes: Rate,
    pub per_hour: Rate,
    pub floods: Floods,
    /// Sources raised three times or more within a minute.
    pub chattering: Often,
    /// Over within a minute.
    pub fleeting: usize,
    /// Whose condition holds at the end of the span.
    pub active: usize,
    pub unacknowledged: usize,
    pub stale: Stale,
    /// P1 to P4.
    pub priorities: Vec<Share>,
    pub top: Often,
    /// Seconds from the first raise to "I saw it".
    pub to_acknowledge: Spread,
    /// Seconds from the latest raise to the end.
    pub to_clear: Spread,
    /// Seconds from the opening of a case to the first word with the site (叫应), and to its closing.
    pub to_answer: Spread,
    pub to_close: Spread,
    /// Of the alarms that somebody was called about, the share that went up to a second level; absent where nobody
    /// was called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub escalated: Option<f64>,
    /// Absent where messages were not asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deliveries: Option<Deliveries>,
    /// Absent of positions, and where nobody has looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub online: Option<OnLine>,
    /// Absent of positions, and where it was not asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unapproved: Option<Unapproved>,
}

impl Figures {
    /// By its name in [`TARGETS`]; absent where it is not known.
    #[must_use]
    pub fn named(&self, figure: &str) -> Option<f64> {
        Some(match figure {
            "per_10_minutes.average" => self.per_10_minutes.average,
            "per_10_minutes.peak" => self.per_10_minutes.peak as f64,
            "per_10_minutes.share_over" => self.per_10_minutes.share_over,
            "per_hour.average" => self.per_hour.average,
            "per_hour.share_over" => self.per_hour.share_over,
            "floods.share" => self.floods.share,
            "chattering.sources" => self.chattering.sources as f64,
            "stale.count" => self.stale.count as f64,
            "stale.share" => self.stale.share?,
            // Ten sources or fewer are all of them, whatever they do.
            "top.share" if self.top.sources <= self.top.list.len() => return None,
            "top.share" => self.top.share,
            "unapproved.count" => self.unapproved?.count as f64,
            _ => return None,
        })
    }
}

/// On-line rate (在线率): minutes of points, from the beginning of the hour in which the span begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct OnLine {
    /// Minutes for which points in service had to be on line; those while the gateway was down are among them.
    pub required_minutes: u64,
    /// Share for which something was heard within the points' periods.
    pub live: f64,
    /// The regulator's on-line rate: the share for which the values were good.
    pub rate: f64,
}

/// What reduced protection, or changed a set point, and was approved by nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Unapproved {
    pub count: u64,
    /// Alarms that one person shelved.
    pub shelved: u64,
    /// Rule files that were edited on the disk; they are of no site.
    pub rules: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Rate {
    /// Up to the end of the span.
    pub now: usize,
    pub average: f64,
    /// The most in any such time, and when it ended.
    pub peak: usize,
    #[serde(serialize_with = "perhaps")]
    pub peak_at: Option<Timestamp>,
    /// Share of such times, one after the other, with more than 10 (an hour: 30) alarms.
    pub share_over: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Floods {
    pub count: usize,
    /// At the end of the span.
    pub under_way: bool,
    pub seconds: f64,
    /// Of the span.
    pub share: f64,
    /// The newest twenty, oldest first.
    pub list: Vec<Flood>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Flood {
    #[serde(serialize_with = "moment")]
    pub from: Timestamp,
    /// Absent while it is under way.
    #[serde(serialize_with = "perhaps")]
    pub to: Option<Timestamp>,
    /// Alarms from the ten minutes that began it to its end.
    pub raised: usize,
}

/// Sources that stand out, and their part of all alarms.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Often {
    pub sources: usize,
    pub raised: usize,
    pub share: f64,
    /// The ten with the most alarms.
    pub list: Vec<Top>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Top {
    pub rule: Arc<str>,
    pub subject: Arc<str>,
    pub site: Arc<str>,
    pub raised: usize,
    pub share: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stale {
    /// Active for more than 24 hours.
    pub count: usize,
    /// Since when the oldest has been.
    #[serde(serialize_with = "perhaps")]
    pub oldest: Option<Timestamp>,
    /// For each point in service; absent of positions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Share {
    pub priority: &'static str,
    pub raised: usize,
    pub share: f64,
    /// About 80 % should be low, 15 % medium, 5 % high and less than 1 % the highest.
    pub target: f64,
    /// More of them than there should be: never of P4, nor of a handful of alarms.
    pub over: bool,
}

/// Median and 95th percentile by nearest rank; absent when nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    pub count: usize,
    pub median: Option<f64>,
    pub p95: Option<f64>,
}

/// Messages that were due in the span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Deliveries {
    pub messages: u64,
    pub delivered: u64,
    pub given_up: u64,
    pub waiting: u64,
    pub attempts: u64,
    /// Delivered of all; absent when there were none.
    pub rate: Option<f64>,
}

impl Deliveries {
    pub fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.delivered += other.delivered;
        self.given_up += other.given_up;
        self.waiting += other.waiting;
        self.attempts += other.attempts;
        self.rate = (self.messages > 0).then(|| self.delivered as f64 / self.messages as f64);
    }
}

/// What the standards hold to be bearable for one person at a screen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Target {
    pub figure: &'static str,
    pub at_most: f64,
    pub basis: &'static str,
}

pub const TARGETS: [Target; 11] = [
    Target { figure: "per_10_minutes.average", at_most: 1.0, basis: "EEMUA 191" },
    Target { figure: "per_10_minutes.peak", at_most: 10.0, basis: "EEMUA 191" },
    Target { figure: "per_10_minutes.share_over", at_most: 0.01, basis: "ISA-18.2" },
    Target { figure: "per_hour.average", at_most: 6.0, basis: "ISA-18.2" },
    Target { figure: "per_hour.share_over", at_most: 0.01, basis: "ISA-18.2" },
    Target { figure: "floods.share", at_most: 0.01, basis: "ISA-18.2" },
    Target { figure: "chattering.sources", at_most: 0.0, basis: "ISA-18.2" },
    Target { figure: "stale.count", at_most: 5.0, basis: "ISA-18.2, on any day" },
    Target { figure: "stale.share", at_most: 0.01, basis: "ISA-18.2, standing alarms" },
    Target { figure: "top.share", at_most: 0.05, basis: "ISA-18.2" },
    Target { figure: "unapproved.count", at_most: 0.0, basis: "ISA-18.2" },
];

fn moment<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

fn perhaps<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => serializer.collect_str(at),
        None => serializer.serialize_none(),
    }
}
