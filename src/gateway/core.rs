//! The middle of the gateway, put together: journal, engine, facts, board.
//!
//! In come entries through the [`Intake`]; out come durable entries by the tail, alarm changes on the
//! board and messages in the outbox. Sources, history, notifiers and the web stand around it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::board::Board;
use crate::claim::claim;
use crate::clock;
use crate::engine;
use crate::facts::{self, Answers, Facts, Outlets, Recipient};
use crate::journal::{self, ENGINE, Entry, Intake, Journal, Marks, Note, RuleFile, Seq, Setup, Tail};
use crate::ledger::Ledger;
use crate::model::{Calendar, Duty, Point, PointId, PointTable, SetLimit};
use crate::publish::{self, Publisher};
use crate::response::Remembered;
use crate::response::case::Policy;
use crate::response::storm;

/// Effects between the engine and facts; when it is full the engine waits.
const EFFECTS_QUEUE: usize = 4_096;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Journal(#[from] journal::Error),
    #[error(transparent)]
    Facts(#[from] facts::Error),
    #[error("{path}: {source}")]
    Folder {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("data folder {path} is in use by another davy; stop that one, or give this one a folder of its own")]
    InUse { path: String },
    #[error(
        "facts.db is missing beside a journal that holds entries: the numbers of the points are lost; restore it \
         from a backup, or move journal.db away to begin anew"
    )]
    FactsMissing,
}

/// What the core is started with.
#[derive(Debug)]
pub struct Options {
    pub journal: journal::Options,
    pub points: Vec<Point>,
    pub calendar: Calendar,
    /// Stricter limits of the configuration.
    pub limits: Vec<SetLimit>,
    /// Which alarms need a case.
    pub cases: Policy,
    /// When an alarm chatters.
    pub storm: storm::Policy,
    /// The points that are lost with each source.
    pub parents: BTreeMap<String, Vec<PointId>>,
    /// People and by what policies they are called.
    pub duty: Duty,
    pub recipients: Vec<Recipient>,
    /// What is published of alarms; nothing unless it is chosen.
    pub publish: Option<publish::Config>,
    /// Cursors that may hold the journal back, besides the engine's.
    pub consumers: Vec<&'static str>,
    /// A snapshot of the engine is taken this often.
    pub snapshot_every: Duration,
}

/// The first thing that a start does, before any file is touched.
fn lock(folder: &Path) -> Result<std::fs::File, Error> {
    let path = folder.display().to_string();
    match claim(folder) {
        Ok(Some(lock)) => Ok(lock),
        Ok(None) => Err(Error::InUse { path }),
        Err(source) => Err(Error::Folder { path, source }),
    }
}

/// A running core.
#[derive(Debug)]
pub struct Core {
    pub board: Arc<Board>,
    pub answers: Answers,
    pub ledger: Arc<Ledger>,
    pub tail: Tail,
    pub facts: facts::Reader,
    pub facts_numbers: Arc<facts::Numbers>,
    pub engine_numbers: Arc<engine::Numbers>,
    pub journal: Journal,
    /// The points with their numbers, retired ones included.
    pub table: Arc<PointTable>,
    /// Held for as long as the core runs: two gateways on one folder would undo each other.
    _lock: std::fs::File,
    engine_thread: JoinHandle<()>,
    facts_thread: JoinHandle<Result<(), facts::Error>>,
}

impl Core {
    /// Opens the files in `folder`, replays what is to be replayed, and is ready for entries.
    /// `rules` chooses the rules to begin with, knowing all points (a setup without rules) and the setup that was last in force.
    pub fn start(
        folder: &Path,
        options: Options,
        ledger: Arc<Ledger>,
        rules: impl FnOnce(&Setup, Option<&Setup>) -> Vec<RuleFile>,
    ) -> Result<(Self, Intake), Error> {
        let broken = |source| Error::Folder { path: folder.display().to_string(), source };
        std::fs::create_dir_all(folder).map_err(broken)?;
        let lock = lock(folder)?;
        let facts_path = folder.join("facts.db");
        if !facts_path.exists() && journal::holds_entries(&options.journal.path)? {
            return Err(Error::FactsMissing);
        }
        let facts = Facts::open(&facts_path)?;
        let registered = facts.register(&options.points)?;
        let restart = facts.restart()?;
        let mut consumers = options.consumers.clone();
        consumers.push(ENGINE);
        let floor = restart.applied;
        let (journal, intake, feed) = Journal::open(&options.journal, &consumers, floor, ledger.account("journal"))?;
        let reader = facts::Reader::open(&facts_path)?;
        let board = Arc::new(Board::new());
        let table = Arc::new(PointTable::new(registered.points.clone()));
        board.set_points(table.clone());
        let open = reader.alarms(&facts::Wanted { open: true, most: usize::MAX >> 1, ..facts::Wanted::default() })?;
        let remembered = match &restart.snapshot {
            Some((_, bytes)) if !engine::can_resume(bytes) => Some(engine::Remembered {
                seq: restart.applied,
                setup: registered.last_setup.clone(),
                alarms: open.clone(),
                permits: reader.permits(true, usize::MAX >> 1)?.into_iter().map(|(permit, _)| permit).collect(),
                calibrations: reader.calibrations()?,
                sites: reader.sites()?,
                limits: reader.limits(true, usize::MAX >> 1)?.into_iter().map(|(limit, _)| limit).collect(),
                asides: reader.asides(true, usize::MAX >> 1)?.into_iter().map(|fact| fact.aside).collect(),
                exercises: reader.exercises(true, usize::MAX >> 1)?,
                exemptions: reader.exemptions(true, usize::MAX >> 1)?.into_iter().map(|(one, _)| one).collect(),
                response: Remembered {
                    duty: reader.duty_kept()?,
                    groups: reader.groups_of_open()?,
                    ..reader.remembered_cases(clock::now() - options.cases.reopen_within)?
                },
            }),
            Some(_) | None => None,
        };
        board.restore(open, reader.standing()?.0);
        let answers = Answers::new();
        let facts_numbers = Arc::new(facts::Numbers::default());
        let (effects, effects_seen) = crossbeam_channel::bounded(EFFECTS_QUEUE);
        let outlets = Outlets {
            board: board.clone(),
            answers: answers.clone(),
            numbers: facts_numbers.clone(),
            recipients: options.recipients,
            publisher: options.publish.map(Publisher::new),
            tail: journal.tail.clone(),
            alarm_wait: options.journal.alarm_wait,
            engine_cursor: journal.tail.cursor(ENGINE)?,
            prompt: intake.prompt(),
        };
        let facts_thread = facts.start(effects_seen, outlets);
        let engine = engine::start(engine::Options {
            feed,
            reader: journal::Reader::open(&options.journal.path)?,
            prompt: intake.prompt(),
            snapshot: restart.snapshot,
            remembered,
            replay_to: journal.tail.last(),
            snapshot_every: options.snapshot_every,
            effects,
            account: ledger.account("engine"),
        });
        // What the engine has after its replay, not what facts remember: only that is certain.
        let replayed = engine.replayed.recv().map_err(|_| journal::Error::Closed)?;
        // What follows decides by what is in facts: drafts, open alarms.
        while facts_numbers.applied.load(Relaxed) < replayed.seq && !facts_thread.is_finished() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let (calendar, limits, cases, duty) = (options.calendar, options.limits, options.cases, options.duty);
        let (storm, parents) = (options.storm, options.parents);
        let mut setup =
            Setup { at: clock::now(), calendar, limits, cases, duty, storm, parents, ..Setup::of(registered.points) };
        setup.rules = rules(&setup, replayed.setup.as_deref().or(registered.last_setup.as_ref()));
        intake.know_blocking(Marks::new(&setup.points, replayed.permits))?;
        if replayed.setup.is_none_or(|last| *last != Setup { at: last.at, ..setup.clone() }) {
            intake.submit_blocking(Entry::Note(Note::Setup(Arc::new(setup))))?.durable_blocking()?;
        }
        let core = Self {
            board,
            answers,
            ledger,
            tail: journal.tail.clone(),
            facts: reader,
            facts_numbers,
            engine_numbers: engine.numbers,
            journal,
            table,
            _lock: lock,
            engine_thread: engine.thread,
            facts_thread,
        };
        Ok((core, intake))
    }

    /// Newest entry that the engine has judged.
    #[must_use]
    pub fn judged(&self) -> Seq {
        self.engine_numbers.seq.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Has a part of the middle ended while it should run? Then the process must end too.
    #[must_use]
    pub fn broken(&self) -> bool {
        self.journal.ended() || self.engine_thread.is_finished() || self.facts_thread.is_finished()
    }

    /// Waits for the last commit, the last verdict and the last row. Every `Intake` must be gone.
    pub fn join(self) -> Result<(), Error> {
        self.journal.join()?;
        if self.engine_thread.join().is_err() {
            return Err(Error::Journal(journal::Error::Closed));
        }
        match self.facts_thread.join() {
            Ok(result) => Ok(result?),
            Err(_) => Err(Error::Journal(journal::Error::Closed)),
        }
    }
}

#[cfg(test)]
mod tests;
