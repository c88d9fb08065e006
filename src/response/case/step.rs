//! What people do about a case: the commands, as they stand in the journal, and their words.
//!
//! In come words of the configuration's people by way of the API; out go steps that the fold in [`super`] takes or
//! refuses. A step says who and when, never what the case becomes of it.

use serde::{Deserialize, Serialize};

use crate::model::Timestamp;

/// Who asks for a step, of which case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Ties the answer to the asker; chosen by whoever submits.
    #[serde(default)]
    pub command: u64,
    /// The case's id (`case-17`), or the id of an occurrence that it is about.
    pub case: String,
    pub at: Timestamp,
    pub by: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum CaseStep {
    /// 叫应: somebody spoke with the site.
    Answered { order: Order, answer: Answered },
    /// What is being done; fields that are absent stay as they are.
    Handled { order: Order, handling: Box<Handling> },
    /// How things stand, for the level above.
    Updated { order: Order, text: String },
    /// Another person looked at what was done. Not accepted: the handling goes on.
    Verified {
        order: Order,
        accepted: bool,
        #[serde(default)]
        words: String,
    },
    /// 销号.
    Closed {
        order: Order,
        #[serde(default)]
        words: String,
    },
    /// 督办: the level above watches, and signs off before the case may be closed.
    Supervised { order: Order, role: String, reason: String, until: Timestamp },
    /// The role that a sign-off asks for agrees. `role`: proven before the step went into the journal.
    SignedOff { order: Order, demand: Demand, role: String, words: String },
    /// A photo or file, safe on the disk before the step went into the journal.
    Attached { order: Order, file: CaseFile },
    /// One cause: this case goes on as part of the other one.
    Joined { order: Order, into: String, reason: String },
    /// Its alarms are counted by a cause of their own, or by that of another case; nothing else about it changes.
    Cause {
        order: Order,
        #[serde(default)]
        of: Option<String>,
        reason: String,
    },
}

impl CaseStep {
    #[must_use]
    pub const fn order(&self) -> &Order {
        match self {
            Self::Answered { order, .. }
            | Self::Handled { order, .. }
            | Self::Updated { order, .. }
            | Self::Verified { order, .. }
            | Self::Closed { order, .. }
            | Self::Supervised { order, .. }
            | Self::SignedOff { order, .. }
            | Self::Attached { order, .. }
            | Self::Joined { order, .. }
            | Self::Cause { order, .. } => order,
        }
    }

    /// For records and for the table of steps.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Answered { .. } => "answered",
            Self::Handled { .. } => "handled",
            Self::Updated { .. } => "updated",
            Self::Verified { accepted: true, .. } => "verified",
            Self::Verified { accepted: false, .. } => "sent_back",
            Self::Closed { .. } => "closed",
            Self::Supervised { .. } => "supervised",
            Self::SignedOff { .. } => "signed_off",
            Self::Attached { .. } => "attached",
            Self::Joined { .. } => "joined",
            Self::Cause { .. } => "cause",
        }
    }
}

/// 叫应.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// Who spoke; the order's `by` again, so that it stands alone.
    pub by: String,
    pub at: Timestamp,
    /// With whom at the site.
    pub with: String,
    pub means: Means,
    /// What was said.
    #[serde(default)]
    pub words: String,
}

/// By what means somebody was spoken with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Means {
    Phone,
    /// Radio, dispatch line, broadcast with talk-back.
    Radio,
    Video,
    InPerson,
}

impl Means {
    pub const ALL: [Self; 4] = [Self::Phone, Self::Radio, Self::Video, Self::InPerson];

    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::Radio => "radio",
            Self::Video => "video",
            Self::InPerson => "in_person",
        }
    }
}

/// Classes of causes, for statistics; `cause` says it in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CauseClass {
    /// 瓦斯异常涌出 and other emissions of the ground or the material.
    Emission,
    /// 通风: fans, ducts, air doors.
    Ventilation,
    /// 停电、电气.
    Power,
    /// 工艺、操作: the process or whoever ran it.
    Process,
    /// 设备: leaks, pumps, valves, machines.
    Equipment,
    Fire,
    /// 雨、水情、地质.
    Nature,
    /// 传感器故障.
    Sensor,
    /// 通信.
    Communication,
    /// 标校、检修等计划作业.
    PlannedWork,
    Other,
}

impl CauseClass {
    pub const ALL: [Self; 11] = [
        Self::Emission,
        Self::Ventilation,
        Self::Power,
        Self::Process,
        Self::Equipment,
        Self::Fire,
        Self::Nature,
        Self::Sensor,
        Self::Communication,
        Self::PlannedWork,
        Self::Other,
    ];

    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Emission => "emission",
            Self::Ventilation => "ventilation",
            Self::Power => "power",
            Self::Process => "process",
            Self::Equipment => "equipment",
            Self::Fire => "fire",
            Self::Nature => "nature",
            Self::Sensor => "sensor",
            Self::Communication => "communication",
            Self::PlannedWork => "planned_work",
            Self::Other => "other",
        }
    }
}

/// What is known of the cause and done about it. 五落实 are `owner` (责任), `measure` (措施), `money` (资金),
/// `deadline` (时限) and `plan` (预案).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handling {
    /// Whoever answers for it.
    #[serde(default)]
    pub owner: Option<String>,
    #[serde(default)]
    pub class: Option<CauseClass>,
    #[serde(default)]
    pub cause: Option<String>,
    #[serde(default)]
    pub measure: Option<String>,
    /// The alarm came of work that was applied for in advance.
    #[serde(default)]
    pub planned: Option<bool>,
    #[serde(default)]
    pub money: Option<String>,
    #[serde(default)]
    pub deadline: Option<Timestamp>,
    #[serde(default)]
    pub plan: Option<String>,
}

impl Handling {
    /// Fields that `news` says; the others stay.
    pub fn take(&mut self, news: &Self) {
        fn put<T: Clone>(old: &mut Option<T>, new: &Option<T>) {
            if new.is_some() {
                old.clone_from(new);
            }
        }
        put(&mut self.owner, &news.owner);
        put(&mut self.class, &news.class);
        put(&mut self.cause, &news.cause);
        put(&mut self.measure, &news.measure);
        put(&mut self.planned, &news.planned);
        put(&mut self.money, &news.money);
        put(&mut self.deadline, &news.deadline);
        put(&mut self.plan, &news.plan);
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Why somebody above has to sign before a case may be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Demand {
    /// 督办.
    Supervision,
    /// The regulator agrees to a restart (Shanxi: methane of 3 % and more).
    Restart,
}

impl Demand {
    pub const ALL: [Self; 2] = [Self::Supervision, Self::Restart];

    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Supervision => "supervision",
            Self::Restart => "restart",
        }
    }
}

/// A photo or file of a case; its bytes lie under the data folder by their hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseFile {
    /// As the person called it; never a path.
    pub name: String,
    /// In hex.
    pub sha256: String,
    pub bytes: u64,
    /// By its first bytes, not by what was claimed: `image/jpeg`.
    pub kind: String,
    pub by: String,
    pub at: Timestamp,
}
