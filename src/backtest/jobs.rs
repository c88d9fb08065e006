//! Backtests that were ordered over the API: at most two, each on a low-priority thread of its own.
//!
//! In comes an order, out goes a number; behind the number there is first how far it has come, then the result,
//! for an hour. A job that nobody wants any more ends at its next piece.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tracing::{info, warn};

use super::{Error, Order, Progress, Report, Stored, run};
use crate::clock::Stopwatch;
use crate::facts;
use crate::journal::Setup;

/// At the same time.
const MOST_RUNNING: usize = 2;
/// Finished ones that are remembered.
const MOST_KEPT: usize = 20;
const KEPT: Duration = Duration::from_secs(3_600);
/// Alarms of each list in a result.
const MOST_LISTED: usize = 1_000;
/// Rules run on the thread.
const STACK_BYTES: usize = 8 << 20;

/// What is tried, and what is said of it.
#[derive(Clone, Debug)]
pub struct Job {
    pub order: Order,
    /// Rules that the difference is about.
    pub about: BTreeSet<Arc<str>>,
    pub reference: Option<String>,
}

/// How a job stands.
#[derive(Clone, Debug)]
pub enum State {
    Running(Option<Progress>),
    Done(Arc<Value>),
    Failed(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("two backtests run already: wait for one, or cancel it")]
    Busy,
    #[error("there is no thread for it")]
    NoThread,
}

#[derive(Debug)]
struct Kept {
    state: State,
    stop: Arc<AtomicBool>,
    ended: Option<Stopwatch>,
}

/// All jobs of a gateway.
#[derive(Clone, Debug)]
pub struct Jobs {
    data: PathBuf,
    known: Arc<Mutex<(u64, BTreeMap<u64, Kept>)>>,
}

impl Jobs {
    /// `data`: the gateway's folder, which they read.
    #[must_use]
    pub fn new(data: &Path) -> Self {
        Self { data: data.to_owned(), known: Arc::default() }
    }

    /// Points and rules that are in force.
    pub fn setup(&self) -> Result<Option<Setup>, facts::Error> {
        facts::Reader::open(&self.data.join("facts.db"))?.setup()
    }

    /// Begins; returns its number.
    pub fn start(&self, job: Job) -> Result<u64, Refused> {
        let stop = Arc::new(AtomicBool::new(false));
        let number = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            forget(&mut known.1);
            if known.1.values().filter(|kept| kept.ended.is_none()).count() >= MOST_RUNNING {
                return Err(Refused::Busy);
            }
            known.0 += 1;
            let number = known.0;
            known.1.insert(number, Kept { state: State::Running(None), stop: stop.clone(), ended: None });
            number
        };
        let own = self.clone();
        let thread = std::thread::Builder::new().name(format!("backtest-{number}")).stack_size(STACK_BYTES);
        let started = thread.spawn(move || {
            // Of this thread alone, on Linux; refused or not, the backtest is right.
            if let Err(cause) = rustix::process::nice(19) {
                warn!(%cause, "a backtest runs at normal priority");
            }
            let state = match own.play(number, &job, &stop) {
                Ok(result) => State::Done(Arc::new(result)),
                Err(cause) => State::Failed(cause.to_string()),
            };
            info!(number, "backtest ended");
            own.set(number, state, true);
        });
        if started.is_err() {
            self.known.lock().unwrap_or_else(PoisonError::into_inner).1.remove(&number);
            return Err(Refused::NoThread);
        }
        Ok(number)
    }

    fn play(&self, number: u64, job: &Job, stop: &AtomicBool) -> Result<Value, Error> {
        let mut feed = Stored::open(&self.data.join("history"), &job.order.ground.points)?;
        let outcome = run(&job.order, &mut feed, &mut |progress| {
            self.set(number, State::Running(Some(progress)), false);
            !stop.load(Relaxed)
        })?;
        let mut result = Report::of(outcome, &job.about, job.reference.as_deref()).json(MOST_LISTED);
        result["stored_until"] = feed.newest().map(|at| at.to_string()).into();
        let unreadable: Vec<String> = feed.unreadable().iter().map(|path| path.display().to_string()).collect();
        result["unreadable"] = unreadable.into();
        Ok(result)
    }

    fn set(&self, number: u64, state: State, ended: bool) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = known.1.get_mut(&number) {
            kept.state = state;
            kept.ended = ended.then(Stopwatch::start);
        }
    }

    /// How it stands; `None`: there is none with that number, or no more.
    #[must_use]
    pub fn state(&self, number: u64) -> Option<State> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        forget(&mut known.1);
        known.1.get(&number).map(|kept| kept.state.clone())
    }

    /// It ends soon, and says that it was stopped; a result that is there is forgotten. False when there is none.
    #[must_use]
    pub fn cancel(&self, number: u64) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(kept) = known.1.get(&number) else { return false };
        kept.stop.store(true, Relaxed);
        if kept.ended.is_some() {
            known.1.remove(&number);
        }
        true
    }

    /// The gateway stops: all of them end.
    pub fn stop(&self) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.1.values().for_each(|kept| kept.stop.store(true, Relaxed));
    }
}

fn forget(known: &mut BTreeMap<u64, Kept>) {
    known.retain(|_, kept| kept.ended.is_none_or(|since| since.elapsed() < KEPT));
    while known.len() > MOST_KEPT {
        let Some(oldest) = known.iter().find(|(_, kept)| kept.ended.is_some()).map(|(number, _)| *number) else {
            break;
        };
        known.remove(&oldest);
    }
}
