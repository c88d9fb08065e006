//! Limits that people set on top of the rules', and exemptions from the legal ones.
//!
//! A rule gives the legal number with its basis. A site, a season or a point may be stricter; only an exemption
//! (豁免), with a document, two persons and an end, may be looser. What is here is the record of such an order;
//! which of them rules at a point is decided in [`crate::rule`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{PointIndex, SiteId, Timestamp};

/// Where a limit's number comes from, from the widest to the narrowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// The rule's `value`, with its basis: nothing but an exemption is looser.
    Legal,
    /// Stands in for the two layers around it while it lasts.
    Exemption,
    /// The rule's own working value, `set`.
    Rule,
    Site,
    Season,
    Point,
}

impl Layer {
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Legal => "legal",
            Self::Exemption => "exemption",
            Self::Rule => "rule",
            Self::Site => "site",
            Self::Season => "season",
            Self::Point => "point",
        }
    }
}

/// Which points an order is for. Points that are set up later and fit are covered too: stricter never harms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    Site(SiteId),
    /// Ids or patterns (`mine.3201-*`).
    Points(Vec<String>),
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Site(site) => write!(f, "site {site}"),
            Self::Points(patterns) => f.write_str(&patterns.join(", ")),
        }
    }
}

/// A stricter number for a rule's limit, from the configuration or set by a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetLimit {
    /// Given by Davy: `limit-` and a number; `limit[0]` for the configuration's first.
    pub id: String,
    /// `None`: every rule that has a limit of that name.
    pub rule: Option<String>,
    /// The limit's name in the rule.
    pub limit: String,
    pub scope: Scope,
    /// In force in that season of the calendar only.
    pub season: Option<String>,
    pub value: f64,
    /// As the rule writes it; another unit is refused, never converted.
    pub unit: String,
    pub by: String,
    pub reason: String,
    /// `None` for the configuration's.
    pub at: Option<Timestamp>,
}

impl SetLimit {
    #[must_use]
    pub const fn layer(&self) -> Layer {
        match (&self.season, &self.scope) {
            (Some(_), _) => Layer::Season,
            (None, Scope::Site(_)) => Layer::Site,
            (None, Scope::Points(_)) => Layer::Point,
        }
    }

    /// Is it about that limit of that rule?
    #[must_use]
    pub fn concerns(&self, rule: &str, limit: &str) -> bool {
        self.limit == limit && self.rule.as_deref().is_none_or(|own| own == rule)
    }

    /// Does it say another number for the very same thing, and so replace the other?
    #[must_use]
    pub fn replaces(&self, other: &Self) -> bool {
        (&self.rule, &self.limit, &self.scope, &self.season) == (&other.rule, &other.limit, &other.scope, &other.season)
    }
}

/// Leave to be looser than the legal value, until a moment at which it ends by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exemption {
    /// Given by Davy: `exemption-` and a number.
    pub id: String,
    pub rule: String,
    pub limit: String,
    /// Resolved when it was given: a point that is set up later is not exempt.
    pub points: Vec<PointIndex>,
    /// What was asked for, in the person's words.
    pub scope: String,
    pub value: f64,
    pub by: String,
    /// Somebody else.
    pub approved_by: String,
    /// The document that allows it.
    pub basis: String,
    pub from: Timestamp,
    pub until: Timestamp,
}

impl Exemption {
    /// What is needed for longer is a change of the rule.
    pub const LONGEST: Duration = Duration::from_secs(90 * 86_400);
}

/// How a set limit or an exemption ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitEnd {
    pub at: Timestamp,
    pub by: String,
    pub reason: String,
    /// Somebody else, where less protection is left; empty where it took one person.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub approved_by: String,
}

/// What stands behind an order about limits besides its own words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitLeave {
    /// The second person; empty: there is none.
    pub approved_by: String,
    /// Although an alarm of priority P1 is open.
    pub overrides: bool,
}

/// What a person orders about limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitOrder {
    Set(SetLimit),
    End { id: String, end: LimitEnd },
    Exempt(Exemption),
    EndExemption { id: String, end: LimitEnd },
}

/// What is on record: an order as it stands, with its end if it has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitFact {
    Limit { limit: SetLimit, end: Option<LimitEnd> },
    Exemption { exemption: Exemption, end: Option<LimitEnd> },
}
