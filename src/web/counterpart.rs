//! What the edge asks of the rest of Davy, as narrow as it can be said.
//!
//! The gateway gives `facts::Reader`, a [`FrontDesk`] of journal and answers, the history and its own vital
//! signs. Tests of this module give doubles: the journal, `facts.db` and the history are tested where they
//! live, with real files. Reads may block and are called off the event loop; `vitals` and `numbers` are
//! snapshots and must not block.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::alarm::{Alarm, AsideFact, OccurrenceId, Way};
use crate::board::Published;
use crate::facts::{self, Answer, CaseStepRow, Outgoing, Wanted, WantedCases};
use crate::figures;
use crate::journal::{self, Entry, Intake};
use crate::model::{
    Exemption, ExerciseFact, LimitEnd, Permit, PermitEnd, PointId, PointIndex, Quality, SetLimit, SiteStanding,
    Timestamp,
};
use crate::protection::OnRecord;
use crate::publish::{Entry as Warning, Feed};
use crate::response::case::Case;
use crate::response::{Kept, Step};

/// Alarms as they stand in `facts.db`.
pub trait Alarms: Send + Sync {
    /// Newest first.
    fn alarms(&self, wanted: &Wanted) -> Result<Vec<Alarm>, facts::Error>;
    fn alarm(&self, id: &OccurrenceId) -> Result<Option<Alarm>, facts::Error>;
    /// Changes with a number above `after`, oldest first.
    fn changes_since(&self, after: i64, most: usize) -> Result<Vec<Published>, facts::Error>;
    /// One message of the outbox.
    fn outgoing(&self, row: i64) -> Result<Option<Outgoing>, facts::Error>;
}

impl Alarms for facts::Reader {
    fn alarms(&self, wanted: &Wanted) -> Result<Vec<Alarm>, facts::Error> {
        Self::alarms(self, wanted)
    }

    fn alarm(&self, id: &OccurrenceId) -> Result<Option<Alarm>, facts::Error> {
        Self::alarm(self, id)
    }

    fn changes_since(&self, after: i64, most: usize) -> Result<Vec<Published>, facts::Error> {
        Self::changes_since(self, after, most)
    }

    fn outgoing(&self, row: i64) -> Result<Option<Outgoing>, facts::Error> {
        Self::outgoing(self, row)
    }
}

/// Work on sensors and what sites are doing, as it stands in `facts.db`.
pub trait Permits: Send + Sync {
    /// What sets alarms aside; the newest first.
    fn asides(&self, open: bool, most: usize) -> Result<Vec<AsideFact>, facts::Error>;

    /// What sets one alarm aside in that way now.
    fn aside_of(&self, rule: &str, subject: &str, way: Way) -> Result<Option<AsideFact>, facts::Error>;

    /// Newest first, with its end if it has ended.
    fn permits(&self, open: bool, most: usize) -> Result<Vec<(Permit, Option<PermitEnd>)>, facts::Error>;
    /// Exercises with injected values; the newest first.
    fn exercises(&self, open: bool, most: usize) -> Result<Vec<ExerciseFact>, facts::Error>;
    /// When each point was last calibrated.
    fn calibrations(&self) -> Result<HashMap<PointIndex, Timestamp>, facts::Error>;
    /// What reduces protection and has not ended; `bypassed`: interlocks of which the alarms are asked for.
    fn on_record(&self, bypassed: &[PointId]) -> Result<OnRecord, facts::Error>;
    /// Of sites of which somebody has said what they are doing.
    fn sites(&self) -> Result<Vec<SiteStanding>, facts::Error>;
}

impl Permits for facts::Reader {
    fn on_record(&self, bypassed: &[PointId]) -> Result<OnRecord, facts::Error> {
        Self::on_record(self, bypassed)
    }

    fn asides(&self, open: bool, most: usize) -> Result<Vec<AsideFact>, facts::Error> {
        Self::asides(self, open, most)
    }

    fn aside_of(&self, rule: &str, subject: &str, way: Way) -> Result<Option<AsideFact>, facts::Error> {
        Self::aside_of(self, rule, subject, way)
    }

    fn permits(&self, open: bool, most: usize) -> Result<Vec<(Permit, Option<PermitEnd>)>, facts::Error> {
        Self::permits(self, open, most)
    }

    fn exercises(&self, open: bool, most: usize) -> Result<Vec<ExerciseFact>, facts::Error> {
        Self::exercises(self, open, most)
    }

    fn calibrations(&self) -> Result<HashMap<PointIndex, Timestamp>, facts::Error> {
        Self::calibrations(self)
    }

    fn sites(&self) -> Result<Vec<SiteStanding>, facts::Error> {
        Self::sites(self)
    }
}

/// Cases as they stand in `facts.db`.
pub trait Cases: Send + Sync {
    /// The newest first.
    fn cases(&self, wanted: &WantedCases) -> Result<Vec<Case>, facts::Error>;
    /// By its id, or the id of an occurrence that it is about.
    fn case(&self, id: &str) -> Result<Option<Case>, facts::Error>;
    /// The oldest first.
    fn case_steps(&self, number: u64) -> Result<Vec<CaseStepRow>, facts::Error>;
    /// Messages that are neither delivered nor given up, the most urgent first.
    fn undelivered(&self, most: usize) -> Result<Vec<Outgoing>, facts::Error>;
}

impl Cases for facts::Reader {
    fn cases(&self, wanted: &WantedCases) -> Result<Vec<Case>, facts::Error> {
        Self::cases(self, wanted)
    }

    fn case(&self, id: &str) -> Result<Option<Case>, facts::Error> {
        Self::case(self, id)
    }

    fn case_steps(&self, number: u64) -> Result<Vec<CaseStepRow>, facts::Error> {
        Self::case_steps(self, number)
    }

    fn undelivered(&self, most: usize) -> Result<Vec<Outgoing>, facts::Error> {
        Self::undelivered(self, most)
    }
}

/// Limits and exemptions that people have set, as they stand in `facts.db`; the newest first, with their ends.
pub trait Limits: Send + Sync {
    fn limits(&self, open: bool, most: usize) -> Result<Vec<(SetLimit, Option<LimitEnd>)>, facts::Error>;
    fn exemptions(&self, open: bool, most: usize) -> Result<Vec<(Exemption, Option<LimitEnd>)>, facts::Error>;
}

impl Limits for facts::Reader {
    fn limits(&self, open: bool, most: usize) -> Result<Vec<(SetLimit, Option<LimitEnd>)>, facts::Error> {
        Self::limits(self, open, most)
    }

    fn exemptions(&self, open: bool, most: usize) -> Result<Vec<(Exemption, Option<LimitEnd>)>, facts::Error> {
        Self::exemptions(self, open, most)
    }
}

/// Duty as it stands in `facts.db`.
pub trait DutyFacts: Send + Sync {
    /// What is open: escalations, leave, signatures, questions, consoles.
    fn kept(&self) -> Result<Vec<Kept>, facts::Error>;
    /// `handover` or `question`, the newest first.
    fn list(&self, kind: &str, most: usize) -> Result<Vec<Kept>, facts::Error>;
    /// Who was called about an alarm, oldest first.
    fn steps(&self, alarm: &OccurrenceId) -> Result<Vec<Step>, facts::Error>;
}

impl DutyFacts for facts::Reader {
    fn kept(&self) -> Result<Vec<Kept>, facts::Error> {
        self.duty_kept()
    }

    fn list(&self, kind: &str, most: usize) -> Result<Vec<Kept>, facts::Error> {
        self.duty_list(kind, most)
    }

    fn steps(&self, alarm: &OccurrenceId) -> Result<Vec<Step>, facts::Error> {
        Self::steps(self, alarm)
    }
}

/// How many alarms there were. `sites` are in the report even if nothing happened at them.
pub trait AlarmFigures: Send + Sync {
    /// The last day.
    fn live(&self, now: Timestamp, places: &figures::Places) -> Result<figures::Report, figures::Error>;
    /// Any span, `from` included, `to` not.
    fn between(
        &self,
        from: Timestamp,
        to: Timestamp,
        places: &figures::Places,
    ) -> Result<figures::Report, figures::Error>;
}

impl AlarmFigures for figures::Book {
    fn live(&self, now: Timestamp, places: &figures::Places) -> Result<figures::Report, figures::Error> {
        Self::live(self, now, places)
    }

    fn between(
        &self,
        from: Timestamp,
        to: Timestamp,
        places: &figures::Places,
    ) -> Result<figures::Report, figures::Error> {
        Self::between(self, from, to, places)
    }
}

/// Warnings that were published.
pub trait Publications: Send + Sync {
    /// The newest `most` of the feed, newest first, among the newest `within` of all.
    fn newest(&self, within: usize, most: usize, feed: &Feed) -> Result<Vec<Warning>, facts::Error>;
    /// By identifier, with its XML.
    fn one(&self, identifier: &str) -> Result<Option<(Warning, String)>, facts::Error>;
}

impl Publications for facts::Reader {
    fn newest(&self, within: usize, most: usize, feed: &Feed) -> Result<Vec<Warning>, facts::Error> {
        self.publications(within, most, |entry| feed.takes(entry))
    }

    fn one(&self, identifier: &str) -> Result<Option<(Warning, String)>, facts::Error> {
        self.publication(identifier)
    }
}

/// A command's number, and where its answer arrives.
pub type Asked = (u64, oneshot::Receiver<Answer>);
/// Resolves when the journal has taken the entry over; the answer comes later, and only then is it durable.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Result<(), journal::Error>> + Send + 'a>>;

/// Where people's commands are handed in.
pub trait Desk: Send + Sync {
    fn expect(&self) -> Asked;
    fn submit(&self, entry: Entry) -> Answering<'_>;
}

/// The gateway's desk: commands go into the journal, answers come back from facts.
#[derive(Clone, Debug)]
pub struct FrontDesk {
    pub intake: Intake,
    pub answers: facts::Answers,
}

impl Desk for FrontDesk {
    fn expect(&self) -> Asked {
        self.answers.expect()
    }

    fn submit(&self, entry: Entry) -> Answering<'_> {
        Box::pin(async move { self.intake.submit(entry).await.map(drop) })
    }
}

/// One stored sample of a point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    pub time: Timestamp,
    pub value: f64,
    pub quality: Quality,
}

/// Stored samples of one point, oldest first, `from` and `to` included.
pub trait Samples: Send + Sync {
    fn samples(&self, id: &str, from: Timestamp, to: Timestamp, most: usize) -> Result<Vec<Reading>, String>;
}

/// Vital signs of the gateway, as they were a moment ago.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// Why the journal cannot be written; `None` when it can.
    pub journal_trouble: Option<String>,
    /// Age of the oldest entry that the engine has not judged yet.
    pub engine_behind: Duration,
    /// Anything else that keeps the gateway from its work: part and what is wrong with it.
    pub troubles: Vec<(String, String)>,
}

pub trait Health: Send + Sync {
    fn vitals(&self) -> Vitals;
}

/// One figure for `/metrics`. Figures of the same name follow each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Number {
    /// Without the `davy_` in front; a counter's name without `_total` behind.
    pub name: &'static str,
    pub help: &'static str,
    pub labels: Vec<(&'static str, String)>,
    pub value: f64,
    /// Only grows.
    pub counter: bool,
}

pub trait Numbers: Send + Sync {
    fn numbers(&self) -> Vec<Number>;
}

impl<F: Fn() -> Vec<Number> + Send + Sync> Numbers for F {
    fn numbers(&self) -> Vec<Number> {
        self()
    }
}
