//! Backtest: rules on stored samples, judged by the very engine that runs in the gateway.
//!
//! ```text
//!  history (Parquet, read only) ┐                      ┌► candidate: Shard ─► occurrences ┐
//!  a CSV file ──────────────────┴► pieces by time ─────┤                                  ├► report: counts, lead
//!                                  bounded, in order   └► running version: Shard ─► ..  ──┘   times, difference
//! ```
//! In come rule files, a span of time and a [`Feed`] of samples; out comes what would have been raised. Promised:
//! over a run that a gateway recorded, the same alarms with the same ids and times, because time passes between
//! the same samples as it did then; no more than a piece of the samples in memory at once; an end soon after
//! somebody wants one. Never: anything changed in what is read.
//!
//! What cannot be the same: alarms that an earlier span or an acknowledgement still holds open (a backtest begins
//! fresh, behind a warm-up as long as the rules look back), permits, setups that changed on the way (one is in
//! force from beginning to end), repeats of one sample (stored once), and the order of samples that overtook each
//! other within one tick.

mod compare;
mod config;
mod jobs;
mod player;
mod report;
mod stored;
mod table;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::alarm::{Level, OccurrenceId, Priority};
use crate::engine::DOWN_TIME;
use crate::history::{self, Told};
use crate::journal::{RuleFile, Setup};
use crate::model::Timestamp;
use crate::rule::{Language, Plan, RuleProblem};

pub use compare::{Difference, Lead, Moved, difference, leads};
pub use config::{Selection, select};
pub use jobs::{Job, Jobs, Refused, State};
pub use report::{Report, RuleCount};
pub use stored::Stored;
pub use table::{Columns, Table, WrongLine};

use player::Player;

/// Occurrences that are kept one by one; more are counted.
pub const MOST_OCCURRENCES: usize = 100_000;
/// Samples in memory at once, at the most: 64 MB.
pub const HELD_SAMPLES: usize = 1_000_000;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{}", list(.0))]
    Rules(Vec<RuleProblem>),
    #[error("{0}")]
    Asked(String),
    #[error(transparent)]
    History(#[from] history::Error),
    #[error("{path}: {source}", path = path.display())]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("stopped at {at}: {samples} samples judged, nothing is said of the rest")]
    Stopped { at: Timestamp, samples: u64 },
}

fn list(problems: &[RuleProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Where samples come from, in pieces.
pub trait Feed {
    /// Samples that came from `begun` on are wanted, up to `to`.
    fn begin(&mut self, begun: Timestamp, to: Timestamp);

    /// Appends the next samples, in any order. Everything that came behind a tick before the returned moment has
    /// been given then; `None`: there are no more.
    fn next(&mut self, into: &mut Vec<Told>) -> Result<Option<Timestamp>, Error>;

    /// When Davy listened, from first tick to last; empty when that is not known.
    fn listened(&self) -> Vec<(Timestamp, Timestamp)> {
        Vec::new()
    }
}

/// Do people acknowledge?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledging {
    /// Each alarm the moment it is raised: what comes back is an alarm of its own.
    AtOnce,
    /// Nobody: what comes back is the same alarm again.
    Never,
}

/// What is to be tried.
#[derive(Clone, Debug)]
pub struct Order {
    pub candidate: Vec<RuleFile>,
    /// The version to compare with.
    pub against: Option<Vec<RuleFile>>,
    /// Points by index, those that are left out retired, and all that rules are laid over besides; its own rules
    /// do not matter.
    pub ground: Setup,
    pub from: Timestamp,
    pub to: Timestamp,
    pub acknowledging: Acknowledging,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    pub at: Timestamp,
    /// 0 to 1, by the time that has passed in the data.
    pub share: f64,
    pub samples: u64,
}

/// One alarm of a backtest.
#[derive(Clone, Debug, PartialEq)]
pub struct Occurrence {
    pub id: OccurrenceId,
    pub rule: Arc<str>,
    pub point: Arc<str>,
    pub site: Arc<str>,
    pub raised: Timestamp,
    /// `None`: it stood at the end.
    pub cleared: Option<Timestamp>,
    pub value: Option<f64>,
    pub worst: Option<f64>,
    pub limit: Option<f64>,
    pub unit: String,
    pub priority: Priority,
    pub level: Level,
    pub raises: u32,
}

/// What one version of the rules raised.
#[derive(Clone, Debug, Default)]
pub struct Played {
    /// In the order in which they were raised.
    pub occurrences: Vec<Occurrence>,
    /// Not kept one by one.
    pub beyond: u64,
    /// How often each rule failed, and why it did first.
    pub faults: BTreeMap<String, (u64, String)>,
    /// Points that each rule watches.
    pub watched: BTreeMap<Arc<str>, Vec<Arc<str>>>,
    /// Limits and units that do not fit.
    pub refused: Vec<RuleProblem>,
    pub evaluations: u64,
}

#[derive(Clone, Debug)]
pub struct Outcome {
    pub from: Timestamp,
    pub to: Timestamp,
    /// Where the warm-up began.
    pub begun: Timestamp,
    pub points: usize,
    pub samples: u64,
    pub candidate: Played,
    pub against: Option<Played>,
    /// Most samples that were in memory at once.
    pub most_held: usize,
}

/// Plays the samples. `go_on` is asked after every piece and whenever many samples have passed.
pub fn run(order: &Order, feed: &mut dyn Feed, go_on: &mut dyn FnMut(Progress) -> bool) -> Result<Outcome, Error> {
    if order.from >= order.to {
        return Err(Error::Asked(format!("from {} is not before to {}", order.from, order.to)));
    }
    let language = Language::new();
    let begun = order.from - warm_up(&language, order)?;
    let listened = feed.listened();
    let begun = listened.first().map_or(begun, |(since, _)| begun.max(*since)).tick();
    feed.begin(begun, order.to);
    let mut players = vec![Player::new(&language, order, &order.candidate, begun)?];
    if let Some(against) = &order.against {
        players.push(Player::new(&language, order, against, begun)?);
    }
    let mut pauses = pauses(&listened, begun).into_iter().peekable();
    let (mut held, mut most_held, mut samples): (Vec<Told>, usize, u64) = (Vec::new(), 0, 0);
    let whole = order.to.since(begun).as_secs_f64();
    let mut judged = 0;
    let mut ask = |at: Timestamp, samples: u64| {
        judged = samples.max(judged);
        let share = (at.since(begun).as_secs_f64() / whole).min(1.0);
        let going = go_on(Progress { at, share, samples: judged });
        if going { Ok(()) } else { Err(Error::Stopped { at, samples: judged }) }
    };
    loop {
        let horizon = feed.next(&mut held)?;
        most_held = most_held.max(held.len());
        held.sort_unstable_by_key(|told| (told.behind, told.sample.source_time, told.sample.point));
        let horizon_or_end = horizon.unwrap_or(order.to).min(order.to);
        let ready = held.partition_point(|told| told.behind < horizon_or_end);
        for (number, told) in held.drain(..ready).filter(|told| told.behind >= begun).enumerate() {
            while let Some((until, since)) = pauses.next_if(|(_, since)| *since <= told.behind) {
                walk(&mut players, until, &mut ask)?;
                players.iter_mut().for_each(|player| player.pause(since));
            }
            walk(&mut players, told.behind, &mut ask)?;
            for player in &mut players {
                player.judge(&told);
            }
            samples += 1;
            if number % ASK_EVERY == ASK_EVERY - 1 {
                ask(told.behind, samples)?;
            }
        }
        ask(horizon_or_end, samples)?;
        if horizon.is_none_or(|horizon| horizon >= order.to) {
            break;
        }
    }
    // Nothing is known of what came after the record.
    let end = listened.last().map_or(order.to, |(_, until)| order.to.min(*until));
    for (until, since) in pauses.filter(|(_, since)| *since < order.to) {
        walk(&mut players, until, &mut ask)?;
        players.iter_mut().for_each(|player| player.pause(since));
    }
    walk(&mut players, end.tick(), &mut ask)?;
    let points = order.ground.points.iter().filter(|point| !point.retired).count();
    let mut played = players.into_iter().map(|player| player.finish(order.from, order.to));
    let candidate = played.next().unwrap_or_default();
    let against = played.next();
    Ok(Outcome { from: order.from, to: order.to, begun, points, samples, candidate, against, most_held })
}

/// Samples between two questions whether to go on.
const ASK_EVERY: usize = 200_000;

/// The same of time without any.
const ASK_AFTER: Duration = Duration::from_secs(86_400);

/// Time passes; where nothing comes for long, it can be stopped on the way.
fn walk(
    players: &mut [Player<'_>],
    to: Timestamp,
    ask: &mut dyn FnMut(Timestamp, u64) -> Result<(), Error>,
) -> Result<(), Error> {
    while let Some(now) = players.first().map(Player::now).filter(|now| to.since(*now) > ASK_AFTER) {
        players.iter_mut().for_each(|player| player.pass(now + ASK_AFTER));
        ask(now + ASK_AFTER, 0)?;
    }
    players.iter_mut().for_each(|player| player.pass(to));
    Ok(())
}

/// How far the rules look back: their longest window, what the sensor's health remembers, and their delays.
fn warm_up(language: &Language, order: &Order) -> Result<Duration, Error> {
    let mut longest = Duration::ZERO;
    for rules in order.against.iter().chain([&order.candidate]) {
        let setup = Setup { at: order.from, rules: rules.clone(), ..order.ground.clone() };
        let plan = Plan::new(language, &setup);
        if !plan.problems.is_empty() {
            return Err(Error::Rules(plan.problems));
        }
        let windows = plan.points.iter().map(|point| point.wants.looks_back()).max().unwrap_or_default();
        let delays = plan.rules.iter().map(|compiled| compiled.policy.raise_after + compiled.policy.clear_after).max();
        let health = plan.points.iter().map(|point| point.needs.looks_back()).max();
        longest = longest.max(windows.max(health.unwrap_or_default()) + delays.unwrap_or_default());
    }
    Ok(longest + Duration::from_secs(60))
}

/// Times in which Davy was not running, behind `begun`: last tick before and first tick after.
fn pauses(listened: &[(Timestamp, Timestamp)], begun: Timestamp) -> Vec<(Timestamp, Timestamp)> {
    let pairs = listened.windows(2).map(|pair| (pair[0].1, pair[1].0));
    pairs.filter(|(until, since)| since.since(*until) > DOWN_TIME && *since > begun).collect()
}

#[cfg(test)]
mod tests;
