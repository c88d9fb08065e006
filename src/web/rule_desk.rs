//! What people may want done with the rules, and where it is handed in.
//!
//! The gateway's keeper of the rules takes one order after the other; an answer comes when what was done is durable
//! and in `facts.db`. A refusal says why in words for the person, and changes nothing.

use std::future::Future;
use std::pin::Pin;

use crate::facts::{self, Audited, Drafted, Version};
use crate::journal::RuleFile;
use crate::model::Timestamp;

/// Who asks was looked at already: `by` is the name for the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleOrder {
    Draft {
        path: String,
        text: String,
        /// The rule's tests; without them those beside the file are run.
        samples: Option<String>,
        by: String,
        reason: String,
    },
    /// What a backtest of the draft showed.
    Backtested {
        id: String,
        by: String,
        summary: String,
    },
    /// `from`: in force at that time instead of at once.
    Approve {
        id: String,
        by: String,
        comment: String,
        from: Option<Timestamp>,
        overrides: bool,
    },
    /// An approved draft that waits, for its time or for anything else: now.
    Activate {
        id: String,
        by: String,
        reason: String,
        overrides: bool,
    },
    Withdraw {
        id: String,
        by: String,
        reason: String,
    },
    /// `to`: number of an earlier version of that file.
    Rollback {
        path: String,
        to: i64,
        by: String,
        reason: String,
        overrides: bool,
    },
    /// What waits because an alarm of priority P1 is open need not.
    Override {
        by: String,
        reason: String,
    },
}

/// What became of an order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleDone {
    /// The draft that it was about.
    pub draft: Option<String>,
    /// It is not in force yet, and why.
    pub waits: Option<String>,
    /// An edit on the disk that no version holds was kept beside the file, under this name.
    pub kept: Option<String>,
}

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleRefusal {
    NoSuch {
        what: &'static str,
        id: String,
    },
    /// The order itself is wrong.
    Bad(String),
    /// Not by this person.
    Person(String),
    /// Not as things stand. The code is for programs; the diff leads from the text in force to the one that was to be.
    Conflict {
        code: &'static str,
        message: String,
        diff: Option<String>,
    },
    /// The rules folder or the gateway itself.
    Failed(String),
}

pub type Replying<'a> = Pin<Box<dyn Future<Output = Result<RuleDone, RuleRefusal>> + Send + 'a>>;

pub trait RuleDesk: Send + Sync {
    fn order(&self, order: RuleOrder) -> Replying<'_>;
}

/// Rules, drafts and records as they stand in `facts.db`.
pub trait RuleFacts: Send + Sync {
    fn rules_in_force(&self) -> Result<Vec<RuleFile>, facts::Error>;
    /// Newest first.
    fn versions(&self, path: Option<&str>, most: usize) -> Result<Vec<Version>, facts::Error>;
    /// With the text that it took the place of; empty for the first.
    fn version(&self, number: i64) -> Result<Option<(Version, String)>, facts::Error>;
    /// Newest first.
    fn drafts(&self, state: Option<&str>, most: usize) -> Result<Vec<Drafted>, facts::Error>;
    fn draft(&self, id: &str) -> Result<Option<Drafted>, facts::Error>;
    /// From that number on, oldest first.
    fn audit(&self, from: i64, subject: Option<&str>, most: usize) -> Result<Vec<Audited>, facts::Error>;
    /// `NUMBER:HASH` of the newest record.
    fn audit_head(&self) -> Result<String, facts::Error>;
}

impl RuleFacts for facts::Reader {
    fn rules_in_force(&self) -> Result<Vec<RuleFile>, facts::Error> {
        Self::rules_in_force(self)
    }

    fn versions(&self, path: Option<&str>, most: usize) -> Result<Vec<Version>, facts::Error> {
        Self::versions(self, path, most)
    }

    fn version(&self, number: i64) -> Result<Option<(Version, String)>, facts::Error> {
        let Some(version) = Self::version(self, number)? else { return Ok(None) };
        let before = self.version_before(&version)?.map_or_else(String::new, |before| before.text);
        Ok(Some((version, before)))
    }

    fn drafts(&self, state: Option<&str>, most: usize) -> Result<Vec<Drafted>, facts::Error> {
        Self::drafts(self, state, most)
    }

    fn draft(&self, id: &str) -> Result<Option<Drafted>, facts::Error> {
        Self::draft(self, id)
    }

    fn audit(&self, from: i64, subject: Option<&str>, most: usize) -> Result<Vec<Audited>, facts::Error> {
        Self::audit(self, from, subject, most)
    }

    fn audit_head(&self) -> Result<String, facts::Error> {
        Self::audit_head(self).map(|head| head.to_string())
    }
}
