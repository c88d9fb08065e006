//! A change of a rule file on its way into force: draft, approval, and what it is the cause of.

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// Where a version of a rule file came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Edited on the disk.
    File,
    /// A draft that somebody else approved.
    Draft,
    /// An earlier version put back.
    Rollback,
}

impl Origin {
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Draft => "draft",
            Self::Rollback => "rollback",
        }
    }
}

/// Why a rule file has a new version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The file that it is about, relative to the rules folder.
    pub path: String,
    pub origin: Origin,
    pub author: String,
    pub approver: Option<String>,
    pub reason: String,
    /// The draft that it was.
    pub draft: Option<String>,
}

impl Cause {
    /// Nobody signs an edit on the disk.
    #[must_use]
    pub fn edited(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            origin: Origin::File,
            author: "file".into(),
            approver: None,
            reason: String::new(),
            draft: None,
        }
    }
}

/// A proposed text of one rule file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// Given by Davy: `draft-` and a number.
    pub id: String,
    pub path: String,
    pub text: String,
    /// The rule's tests, when the draft brings its own.
    pub samples: Option<String>,
    pub by: String,
    pub reason: String,
    pub at: Timestamp,
    /// The text that was in force when it was written; `None` for a file that is new.
    pub base: Option<String>,
    pub checks: Checks,
}

/// What Davy found in a draft when it was handed in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checks {
    /// Ids of the rules that the text holds.
    pub rules: Vec<String>,
    /// Everything that is wrong, each with file and line: with one of them it cannot be approved.
    pub problems: Vec<String>,
    /// Points whose limits or units would no longer fit; they would be judged by the rule's limit.
    pub misfits: Vec<String>,
    /// `None`: there are no samples, neither with the draft nor beside the file.
    pub samples: Option<Trial>,
}

/// How the samples went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    pub lines: usize,
    pub changes: usize,
    /// With one of them the draft cannot be approved.
    pub failures: Vec<String>,
}

impl Checks {
    /// Everything that keeps the draft from being approved.
    pub fn obstacles(&self) -> impl Iterator<Item = &String> {
        self.problems.iter().chain(self.samples.iter().flat_map(|trial| &trial.failures))
    }
}

/// A second person's word for a draft.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    pub by: String,
    pub comment: String,
    pub at: Timestamp,
    /// In force from here on.
    pub from: Timestamp,
}
