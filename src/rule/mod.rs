//! Rules: from the text that operators write to verdicts.
//!
//! In come `.rhai` files and the point table; out come compiled rules, each with its effective limits for
//! every point it watches, and verdicts on single samples. A rule has a budget of operations; one that
//! fails says so and its point falls back to the rule's plain limit. Nothing here waits, reads a clock or
//! touches a file, and no limit is ever looser than the one in the rule without an exemption on record.

mod admit;
mod around;
mod ask;
mod comparison;
mod draft;
mod explain;
pub mod functions;
mod judge;
mod language;
mod layers;
mod limits;
mod native;
mod outlook;
mod places;
mod plan;
mod runs;
mod seen;
mod text;
pub mod trial;

use std::time::Duration;

use rhai::FnPtr;

use crate::alarm::{Level, Priority, RuleId};
use crate::model::{Kind, LimitSet, SiteState, Stricter};

pub use around::{Asks, Selector};
pub use ask::Recall;
pub use comparison::Comparison;
pub use draft::{is_blank, read_file};
pub use explain::{Explained, ExplainedLimit, ExplainedRule, ExplainedStep, OnRecord, explain};
pub use judge::{Judge, Judged, Program, Reading};
pub use language::{BUDGET_OPERATIONS, LONGEST_WINDOW, Language};
pub use layers::{Layers, Ordered};
#[cfg(test)]
pub use native::drawn_closure;
#[cfg(fuzzing)]
pub use native::same_every_way;
pub use native::{Glance, MOST_NODES, Quiet, Regard};
pub use outlook::{MOST_MEMBERS, Outlook, Outlooks};
pub use plan::{Compiled, Occasion, Occasions, Plan, PointPlan, RuleProblem, Watch, watches};
pub use runs::Runs;
pub use seen::{Around, Member, Standing};

/// When a rule is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judges {
    /// On every sample with a usable value.
    Samples,
    /// While nothing is heard: on ticks once the expected period has passed, and on the next sample.
    Silence,
    /// About the sensor, not the mine: on every change of quality, bad ones too, and every ten seconds.
    Health,
}

/// Which points a rule watches. Empty lists mean "any".
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Watches {
    pub kinds: Vec<Kind>,
    pub places: Vec<String>,
    pub sites: Vec<String>,
}

/// One rule as written and checked.
#[derive(Clone, Debug)]
pub struct Rule {
    pub id: RuleId,
    /// File and line, for messages.
    pub file: String,
    pub line: usize,
    pub title: String,
    pub advice: String,
    pub watches: Watches,
    pub judges: Judges,
    pub limits: LimitSet,
    pub priority: Priority,
    pub level: Level,
    pub raise: FnPtr,
    pub clear: Option<FnPtr>,
    /// Distance from the limit at which a value counts as healthy again, in the point's unit.
    pub deadband: f64,
    pub raise_after: Duration,
    pub clear_after: Duration,
    /// What is over stays until a person resets it.
    pub latch: bool,
    /// What goes on for so long calls people again.
    pub realarm: Option<Duration>,
    /// May a person shelve it? Where the rule does not say: yes, but for methane of priority P1.
    pub shelvable: Option<bool>,
    /// By design nobody is called then.
    pub suppressed_when: Vec<Design>,
}

/// What is known of a point that explains its alarms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Design {
    /// Somebody has said that its site is not producing, or under repair.
    Site(SiteState),
    /// Work goes on near it under a permit of maintenance.
    Permit,
}

impl Design {
    pub const ALL: [Self; 3] = [Self::Site(SiteState::Stopped), Self::Site(SiteState::Maintenance), Self::Permit];

    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Site(state) => state.word(),
            Self::Permit => "permit",
        }
    }
}

impl Rule {
    /// May a person shelve its alarms at a point of that kind?
    #[must_use]
    pub fn shelvable_at(&self, kind: Kind) -> bool {
        self.shelvable.unwrap_or(!(self.priority == Priority::P1 && kind == Kind::Methane))
    }

    /// May Davy shelve it by itself, because it comes and goes? What is urgent calls on, whatever it does: a value that
    /// sways about its limit is no broken sensor. Of P2 the rule has to say so.
    #[must_use]
    pub fn shelvable_by_davy_at(&self, kind: Kind) -> bool {
        match self.priority {
            Priority::P1 => false,
            Priority::P2 => self.shelvable == Some(true),
            Priority::P3 | Priority::P4 => self.shelvable_at(kind),
        }
    }

    /// The limit that stands in for the rule when its code fails: "alarm", or the only one.
    #[must_use]
    pub fn plain_limit(&self) -> Option<&str> {
        match self.limits.len() {
            1 => self.limits.keys().next().map(String::as_str),
            _ => self.limits.contains_key("alarm").then_some("alarm"),
        }
    }

    /// On which side of its limits the danger lies; `None` when they do not agree or there are none.
    #[must_use]
    pub fn direction(&self) -> Option<Stricter> {
        let mut sides = self.limits.values().map(|limit| limit.stricter);
        let first = sides.next()?;
        sides.all(|side| side == first).then_some(first)
    }
}

#[cfg(test)]
mod tests;
