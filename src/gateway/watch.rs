//! Rules edited on the disk take effect by themselves, after the same check as at the start.
//!
//! In come notices of the operating system that something in the rules folder changed; out goes a new
//! setup, or the alarm that a file is broken while its version before stays in force.

use std::path::PathBuf;
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::rulebook::{self, Verdict};
use crate::clock;
use crate::journal::{self, Entry, Intake, Note, RuleFile, Setup};
use crate::rule::RuleProblem;

/// An editor writes a file in several steps; the folder is read when it has been quiet for so long.
const QUIET: Duration = Duration::from_millis(300);
/// The folder is looked at this often even when nothing was noticed: network drives notice nothing.
const LOOK_EVERY: Duration = Duration::from_secs(10);

pub struct Rules {
    folder: PathBuf,
    broken: Vec<String>,
    /// What was last looked at, so that an unchanged folder costs nothing.
    seen: (Vec<RuleFile>, Vec<RuleProblem>),
    /// Points and calendar; its rules are those in force.
    setup: Setup,
    intake: Intake,
}

impl Rules {
    pub fn new(folder: PathBuf, verdict: Verdict, ground: Setup, intake: Intake) -> Self {
        let broken = verdict.broken.into_keys().collect();
        let setup = Setup { rules: verdict.rules, ..ground };
        Self { folder, broken, seen: Default::default(), setup, intake }
    }

    /// Watches until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let (noticed, mut notices) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |_| {
            // One waiting notice says as much as a hundred.
            noticed.try_send(()).ok();
        });
        let watcher = watcher.and_then(|mut watcher| {
            watcher.watch(&self.folder, RecursiveMode::Recursive)?;
            Ok(watcher)
        });
        if let Err(cause) = &watcher {
            warn!(folder = %self.folder.display(), %cause, "changes of rules are noticed every 10 s only");
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(()) = notices.recv() => {
                    while tokio::time::timeout(QUIET, notices.recv()).await.is_ok_and(|notice| notice.is_some()) {}
                }
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let looked = tokio::task::spawn_blocking(move || {
                let entries = self.look();
                (self, entries)
            });
            let Ok((rules, entries)) = looked.await else { return };
            self = rules;
            for entry in entries {
                if self.submit(entry).await.is_err() {
                    return;
                }
            }
        }
    }

    async fn submit(&self, note: Note) -> Result<(), journal::Error> {
        self.intake.submit(Entry::Note(note)).await.map(drop)
    }

    /// Reads the folder and says what follows from it.
    fn look(&mut self) -> Vec<Note> {
        let (found, unreadable) = rulebook::read_folder(&self.folder);
        if found == self.seen.0 && unreadable == self.seen.1 {
            return Vec::new();
        }
        self.seen = (found.clone(), unreadable.clone());
        let verdict = rulebook::weigh(found, unreadable, &self.setup.rules, &self.setup);
        let now = clock::now();
        let mut notes = Vec::new();
        for (path, problems) in &verdict.broken {
            problems
                .iter()
                .for_each(|problem| warn!(%problem, "rule file is broken, the version before stays in force"));
            notes.push(Note::Condition(rulebook::condition(path, problems, now)));
        }
        for path in self.broken.iter().filter(|path| !verdict.broken.contains_key(*path)) {
            notes.push(Note::Condition(rulebook::condition(path, &[], now)));
        }
        verdict.refused.iter().for_each(|problem| warn!(%problem, "a limit or unit does not fit"));
        notes.push(Note::Condition(rulebook::misfit(&verdict.refused, now)));
        if verdict.rules != self.setup.rules {
            info!(files = verdict.rules.len(), "rules changed");
            self.setup = Setup { at: now, rules: verdict.rules, ..self.setup.clone() };
            notes.push(Note::Setup(std::sync::Arc::new(self.setup.clone())));
        }
        self.broken = verdict.broken.into_keys().collect();
        notes
    }
}
