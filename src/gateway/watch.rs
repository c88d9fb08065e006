//! The keeper of the rules: one thread through which every change of the rules goes, one after the other.
//!
//! ```text
//!  rules folder ─► look ──┐ checked, held or in force
//!  API, CLI ─────► order ─┼► journal ─► engine, versions, audit chain
//!  the clock ────► due ───┘     └► the folder: the disk and what is in force are the same
//! ```
//! In come notices of the operating system that something in the rules folder changed, orders of people, and the
//! time of approved drafts; out go new setups and the alarms that a file is broken or that a change waits. Rules
//! do not change while an alarm of priority P1 is open, unless an approver overrides it.
//! Never: two changes at once, a change in force that is not in the history, an edit that is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecursiveMode, Watcher};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::orders::words;
use super::rulebook::{self, Verdict};
use crate::alarm::RuleId;
use crate::board::Board;
use crate::clock::{self, Stopwatch};
use crate::config::RuleFiles;
use crate::facts::{self, Answer, Answers, Drafted};
use crate::journal::{self, Condition, Entry, Intake, Note, RuleFile, RuleStep, Setup};
use crate::model::{Checks, Draft, Timestamp};
use crate::rule::RuleProblem;
use crate::web::{Replying, RuleDesk, RuleDone, RuleOrder, RuleRefusal};

/// An editor writes a file in several steps; the folder is read when it has been quiet for so long ..
const QUIET: Duration = Duration::from_millis(300);
/// .. or when it has not been quiet for so long.
const RESTLESS: Duration = Duration::from_secs(2);
/// What differs after so long is being written, and not looked at until it is done ..
const STEADY: Duration = Duration::from_millis(100);
/// .. or until somebody has to know that it is never done.
const NEVER_DONE: Duration = Duration::from_secs(30);
/// An edit that ends a rule has to stay the same for so long: a copy over a slow line may pause in the middle.
const ENDING: Duration = Duration::from_secs(3);
/// The folder is looked at this often even when nothing was noticed: network drives notice nothing.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// What waits for an alarm to end, or for a time, is looked at this often.
const WAITING: Duration = Duration::from_millis(200);
/// A step is in facts within milliseconds; after this long the journal is taken to be broken.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(10);
/// A file that was open for writing is closed.
const WRITTEN: EventKind = EventKind::Access(AccessKind::Close(AccessMode::Write));
/// Orders that wait for the one before.
const ORDERS: usize = 16;
/// How the alarm of an edit begins that is a draft.
const WAITS: &str = "waits for approval as";
/// Rules are compiled and tried on it.
const STACK_BYTES: usize = 8 << 20;
/// Drafts that are looked at; more cannot be open.
pub(super) const MOST_DRAFTS: usize = 200;

/// What ends the keeper, or keeps it from one thing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Journal(#[from] journal::Error),
    #[error(transparent)]
    Facts(#[from] facts::Error),
    #[error("the journal did not confirm it in time")]
    Unconfirmed,
}

type Reply = Result<RuleDone, RuleRefusal>;
type Asked = (RuleOrder, oneshot::Sender<Reply>);

/// Where orders are handed in.
#[derive(Clone, Debug)]
pub struct Counter(Sender<Asked>);

impl RuleDesk for Counter {
    fn order(&self, order: RuleOrder) -> Replying<'_> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            let busy = || RuleRefusal::Failed("too many changes of rules at once: try again".into());
            self.0.try_send((order, reply)).map_err(|_| busy())?;
            answer.await.map_err(|_| RuleRefusal::Failed("the gateway is stopping".into()))?
        })
    }
}

/// What the keeper works with.
#[derive(Debug)]
pub struct Office {
    pub folder: PathBuf,
    pub files: RuleFiles,
    /// What rules are laid over; its own do not matter.
    pub ground: Setup,
    pub intake: Intake,
    pub answers: Answers,
    pub facts: facts::Reader,
    pub board: Arc<Board>,
}

#[derive(Debug)]
pub struct Rules {
    pub(super) office: Office,
    pub(super) in_force: Vec<RuleFile>,
    /// What was last looked at, so that an unchanged folder costs nothing.
    seen: Option<(Vec<RuleFile>, Vec<RuleProblem>)>,
    /// Files that are being written to, and since when.
    moving: BTreeMap<String, Stopwatch>,
    /// Since when there is always one of them.
    restless: Option<Stopwatch>,
    /// Something was not told, because it may be in a file that is being written.
    untold: bool,
    /// Files whose new text ends rules.
    ending: BTreeMap<String, Ending>,
    /// Files of which an alarm says that they are not in force, with what it says.
    told: BTreeMap<String, String>,
    /// Edited files that wait for an alarm to end, and approved drafts that do.
    pub(super) edits_wait: Vec<String>,
    pub(super) drafts_wait: Vec<String>,
    /// The alarm that something waits is out.
    frozen_told: bool,
    /// Approved drafts that could not be put in force, each with an alarm.
    stuck: BTreeMap<String, String>,
    /// When the next approved draft is due.
    due: Option<Timestamp>,
}

#[derive(Debug)]
struct Ending {
    text: Option<String>,
    /// Since when that text has stood there, and since when any that ends rules has.
    since: Stopwatch,
    first: Stopwatch,
    /// It is not in force because that is not long enough, or other files are being written.
    held: bool,
}

impl Rules {
    /// Looks at the folder for the first time, before any sample is judged: what was edited while the gateway was
    /// down takes effect, or waits, like any other edit.
    pub fn new(office: Office, in_force: Vec<RuleFile>) -> Result<Self, super::Error> {
        let open = office.board.open_alarms();
        let of = |rule: &str| -> Vec<String> {
            open.iter().filter(|alarm| &*alarm.rule == rule).map(|alarm| alarm.subject.to_string()).collect()
        };
        let unknown = |subject: String| (subject, String::new());
        let mut rules = Self {
            in_force,
            seen: None,
            moving: BTreeMap::new(),
            restless: None,
            untold: false,
            ending: BTreeMap::new(),
            told: rulebook::reported(&open).into_iter().map(unknown).collect(),
            edits_wait: Vec::new(),
            drafts_wait: Vec::new(),
            frozen_told: !of(rulebook::FROZEN).is_empty(),
            stuck: of(rulebook::STUCK).into_iter().map(unknown).collect(),
            due: None,
            office,
        };
        match rules.go_round(false) {
            Ok(()) => Ok(rules),
            Err(Trouble::Journal(cause)) => Err(cause.into()),
            Err(Trouble::Facts(cause)) => Err(cause.into()),
            Err(Trouble::Unconfirmed) => Err(super::Error::Broken),
        }
    }

    /// Starts the thread; it ends when `stop` is cancelled.
    pub fn start(self, stop: CancellationToken) -> (Counter, JoinHandle<Result<(), journal::Error>>) {
        let (orders, asked) = bounded(ORDERS);
        let thread = std::thread::Builder::new().name("rules".into()).stack_size(STACK_BYTES);
        let thread = thread.spawn(move || self.run(&asked, &stop));
        (Counter(orders), thread.expect("the operating system gives a thread at the start"))
    }

    fn run(mut self, orders: &Receiver<Asked>, stop: &CancellationToken) -> Result<(), journal::Error> {
        let (noticed, notices) = bounded(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // To read the folder is noticed too.
            let read = |event: notify::Event| event.kind.is_access() && event.kind != WRITTEN;
            if !event.is_ok_and(read) {
                // One waiting notice says as much as a hundred.
                noticed.try_send(()).ok();
            }
        });
        let watcher = watcher.and_then(|mut watcher| {
            watcher.watch(&self.office.folder, RecursiveMode::Recursive)?;
            Ok(watcher)
        });
        if let Err(cause) = &watcher {
            warn!(folder = %self.office.folder.display(), %cause, "changes of rules are noticed every 10 s only");
        }
        let (mut looked, mut noisy, mut quiet) = (Stopwatch::start(), None::<Stopwatch>, Stopwatch::start());
        // Without a watcher its end of the channel is gone, and would be ready for ever.
        let never = crossbeam_channel::never();
        let notices = if watcher.is_ok() { &notices } else { &never };
        while !stop.is_cancelled() {
            let mut outcome = Ok(());
            select! {
                recv(orders) -> asked => if let Ok((order, reply)) = asked {
                    reply.send(self.order(order)).ok();
                },
                recv(notices) -> _ => {
                    noisy.get_or_insert_with(Stopwatch::start);
                    quiet = Stopwatch::start();
                }
                default(WAITING) => {}
            }
            let settled = noisy.as_ref().is_some_and(|since| quiet.elapsed() >= QUIET || since.elapsed() >= RESTLESS);
            let over = !self.edits_wait.is_empty() || !self.drafts_wait.is_empty();
            let due = self.due.is_some_and(|due| due <= clock::now());
            if settled || due || looked.elapsed() >= LOOK_EVERY || (over && self.alarm_that_freezes().is_none()) {
                (looked, noisy) = (Stopwatch::start(), None);
                outcome = self.go_round(false);
            }
            if noisy.is_none() && self.unsettled().next().is_some() {
                (noisy, quiet) = (Some(Stopwatch::start()), Stopwatch::start());
            }
            match outcome {
                Err(Trouble::Journal(cause)) => return Err(cause),
                Err(cause) => error!(%cause, "the rules cannot be looked after; tried again"),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Everything that may be in force by now: edits on the disk, then drafts whose time has come.
    /// `overrides`: an open alarm does not hold them up.
    pub(super) fn go_round(&mut self, overrides: bool) -> Result<(), Trouble> {
        if let Err(trouble) = self.look(overrides) {
            self.seen = None;
            return Err(trouble);
        }
        self.activate_due(overrides)?;
        let what = self.waiting();
        let detail = match self.alarm_that_freezes() {
            Some(alarm) if !what.is_empty() => format!("{what}: {alarm}"),
            // What waited before a restart may be among what is not known to be all there.
            Some(_) if self.frozen_told && self.unsettled().next().is_some() => return Ok(()),
            Some(_) | None => String::new(),
        };
        if self.frozen_told == detail.is_empty() {
            self.frozen_told = !detail.is_empty();
            self.note(rulebook::frozen(&detail, clock::now()))?;
        }
        Ok(())
    }

    /// What waits for an alarm to end, in words.
    pub(super) fn waiting(&self) -> String {
        let all: Vec<&str> = self.edits_wait.iter().chain(&self.drafts_wait).map(String::as_str).collect();
        all.join(", ")
    }

    /// Files that differ from what is in force and may not be all there yet.
    pub(super) fn unsettled(&self) -> impl Iterator<Item = &String> {
        let held = self.ending.iter().filter(|(_, ending)| ending.held);
        self.moving.keys().chain(held.map(|(path, _)| path))
    }

    /// Has something come of age since the folder was looked at, though nothing in it changed?
    fn ripe(&self, frozen: bool) -> bool {
        let unsettled: BTreeSet<&String> = self.unsettled().collect();
        let waits = !frozen && self.edits_wait.iter().any(|path| !unsettled.contains(path));
        let ended = self.moving.is_empty()
            && self.ending.values().any(|ending| ending.held && ending.since.elapsed() >= ENDING);
        let is_late = |(path, ending): (&String, &Ending)| {
            ending.held && ending.first.elapsed() >= NEVER_DONE && !self.told.contains_key(path)
        };
        let told = self.untold && (self.moving.is_empty() || self.never_done());
        waits || ended || told || self.ending.iter().any(is_late)
    }

    /// Reads the folder and does what follows from it.
    fn look(&mut self, overrides: bool) -> Result<(), Trouble> {
        let found = self.read();
        let same = self.seen.as_ref() == Some(&found);
        if same && !self.ripe(!overrides && self.alarm_that_freezes().is_some()) {
            return Ok(());
        }
        self.seen = Some(found.clone());
        let (found, unreadable) = found;
        let found = self.without_due(found)?;
        let on_disk = found.clone();
        let begun = !self.in_force.is_empty();
        let mut verdict = rulebook::weigh(found, unreadable.clone(), &self.in_force, &self.office.ground);
        if begun {
            verdict = self.without_ending(verdict, &on_disk, &unreadable);
        }
        let changed = rulebook::changed(&verdict.rules, &self.in_force);
        let mut why: BTreeMap<String, String> =
            verdict.broken.iter().map(|(path, problems)| (path.clone(), rulebook::told(problems))).collect();
        for problem in verdict.broken.values().flatten().filter(|_| !same) {
            warn!(%problem, "rule file is broken, the version before stays in force");
        }
        // Nothing new is known of a file that is not all there.
        let unsettled: BTreeSet<String> = self.unsettled().cloned().collect();
        for path in &unsettled {
            if let Some(told) = self.told.get(path) {
                why.entry(path.clone()).or_insert_with(|| told.clone());
            }
        }
        self.untold = !self.moving.is_empty() && !self.never_done();
        if self.untold {
            // What is missing may stand in the file that is being written.
            why.retain(|path, _| !verdict.lost.contains(path) || self.told.contains_key(path));
        }
        let freezing = if overrides { None } else { self.alarm_that_freezes() };
        self.edits_wait.retain(|path| unsettled.contains(path));
        if begun && self.office.files == RuleFiles::Draft {
            why.extend(self.draft_edits(&on_disk, &verdict.rules)?);
        } else if begun && freezing.is_some() && !(changed.is_empty() && self.edits_wait.is_empty()) {
            info!(?changed, "rule files wait: an alarm of priority P1 is open");
            self.edits_wait.extend(changed);
            self.edits_wait.sort_unstable();
            self.edits_wait.dedup();
        } else {
            verdict.refused.iter().for_each(|problem| warn!(%problem, "a limit or unit does not fit"));
            self.note(rulebook::misfit(&verdict.refused, clock::now()))?;
            if !changed.is_empty() {
                info!(files = verdict.rules.len(), "rules changed");
                let setup = self.setup(verdict.rules.clone());
                drop(self.office.intake.submit_blocking(Entry::Note(Note::Setup(setup)))?);
                self.in_force = verdict.rules;
                self.ending.retain(|_, ending| ending.held);
            }
        }
        self.tell(why)
    }

    /// There has always been a file that was being written, for longer than anybody should not know of.
    fn never_done(&self) -> bool {
        self.restless.as_ref().is_some_and(|since| since.elapsed() >= NEVER_DONE)
    }

    /// The verdict without files that end rules and are new, or may have to do with one that is being written: the end
    /// of the file, or the file to which the rule moved, may be still to come. Neither do those go in force from which
    /// rules moved to such a file.
    fn without_ending(&mut self, verdict: Verdict, on_disk: &[RuleFile], unreadable: &[RuleProblem]) -> Verdict {
        let ending = rulebook::ending(&verdict.rules, &self.in_force);
        self.ending.retain(|path, _| ending.contains_key(path));
        for path in ending.keys() {
            let text = on_disk.iter().find(|file| file.path == *path).map(|file| file.text.clone());
            let new = |text| Ending { text, since: Stopwatch::start(), first: Stopwatch::start(), held: true };
            let known = self.ending.entry(path.clone()).or_insert_with(|| new(text.clone()));
            if known.text != text {
                (known.text, known.since) = (text, Stopwatch::start());
            }
            known.held = known.since.elapsed() < ENDING || !self.moving.is_empty();
        }
        let is_held = |(path, ending): (&String, &Ending)| ending.held.then(|| path.clone());
        let mut held: BTreeSet<String> = self.ending.iter().filter_map(is_held).collect();
        if held.is_empty() {
            return verdict;
        }
        let mut without = loop {
            let before = self.in_force.iter().filter(|file| held.contains(&file.path));
            let others = on_disk.iter().filter(|file| !held.contains(&file.path));
            let found = others.chain(before).cloned().collect();
            let without = rulebook::weigh(found, unreadable.to_vec(), &self.in_force, &self.office.ground);
            let meant =
                |path: &String, ids: &BTreeSet<RuleId>| ending.get(path).is_some_and(|ending| ids.is_subset(ending));
            let more = rulebook::ending(&without.rules, &self.in_force).into_iter();
            let more: Vec<_> =
                more.filter(|(path, ids)| !held.contains(path) && !meant(path, ids)).map(|(path, _)| path).collect();
            if more.is_empty() {
                break without;
            }
            held.extend(more);
        };
        // What does not go together with them is not wrong for that.
        without.broken.retain(|path, _| verdict.broken.contains_key(path));
        let late = self.ending.iter().filter(|(_, ending)| ending.held && ending.first.elapsed() >= NEVER_DONE);
        for (path, ids) in late.filter_map(|(path, _)| ending.get_key_value(path)) {
            let ids: Vec<&str> = ids.iter().map(|id| &**id).collect();
            let ids = ids.join(", ");
            let message = format!("ends {ids}, and waits because it or another file is written to again and again");
            without.broken.entry(path.clone()).or_default().push(RuleProblem::of(path, message));
        }
        without
    }

    /// What stands in the folder. Of a file that is being written, what was there before: half of it may look sound
    /// and hold half of the rules.
    fn read(&mut self) -> (Vec<RuleFile>, Vec<RuleProblem>) {
        let first = rulebook::read_folder(&self.office.folder);
        if self.seen.as_ref() == Some(&first) {
            self.moving.clear();
            self.restless = None;
            return first;
        }
        std::thread::sleep(STEADY);
        let mut found = rulebook::read_folder(&self.office.folder);
        let moving = rulebook::moving(&first, &found);
        self.moving.retain(|path, _| moving.contains(path));
        self.restless =
            if moving.is_empty() { None } else { self.restless.take().or_else(|| Some(Stopwatch::start())) };
        let (files, problems) = &mut found;
        files.retain(|file| !moving.contains(&file.path));
        problems.retain(|problem| !moving.contains(&problem.file));
        files.extend(self.in_force.iter().filter(|file| moving.contains(&file.path)).cloned());
        files.sort_by(|a, b| a.path.cmp(&b.path));
        for path in moving {
            if self.moving.entry(path.clone()).or_insert_with(Stopwatch::start).elapsed() >= NEVER_DONE {
                let seconds = NEVER_DONE.as_secs();
                let message = format!("has been written to for {seconds} s and more; what was in force stays");
                problems.push(RuleProblem::of(&path, message));
            }
        }
        found
    }

    /// Alarms of files that are not in force: they begin, say something else, or end.
    fn tell(&mut self, why: BTreeMap<String, String>) -> Result<(), Trouble> {
        let now = clock::now();
        for (path, why) in &why {
            let known = self.told.get(path);
            // A draft to be approved is news; a file that is broken in another place is not.
            let waits = |why: &String| why.starts_with(WAITS);
            if known.is_some_and(|known| known != why && (waits(known) || waits(why))) {
                self.note(rulebook::condition(path, "", now))?;
            }
            if known != Some(why) {
                self.note(rulebook::condition(path, why, now))?;
            }
        }
        for path in self.told.keys().filter(|path| !why.contains_key(*path)) {
            self.note(rulebook::condition(path, "", now))?;
        }
        self.told = why;
        Ok(())
    }

    /// A file that holds what an approved draft is about to put in force is that draft's, not an edit: the gateway
    /// was stopped between the two.
    fn without_due(&self, found: Vec<RuleFile>) -> Result<Vec<RuleFile>, Trouble> {
        let now = clock::now();
        let mut due = self.office.facts.drafts(Some("approved"), MOST_DRAFTS)?;
        due.retain(|one| one.approval.as_ref().is_some_and(|approval| approval.from <= now));
        let is_draft =
            |file: &RuleFile| due.iter().any(|due| due.draft.path == file.path && due.draft.text == file.text);
        let in_force = |path: &str| self.in_force.iter().find(|file| file.path == path).cloned();
        Ok(found
            .into_iter()
            .filter_map(|file| if is_draft(&file) { in_force(&file.path) } else { Some(file) })
            .collect())
    }

    /// Every sound edit on the disk is an open draft, one a file, and every such draft is an edit on the disk.
    fn draft_edits(&self, found: &[RuleFile], wanted: &[RuleFile]) -> Result<BTreeMap<String, String>, Trouble> {
        let mut why = BTreeMap::new();
        let mut open = self.office.facts.drafts(Some("open"), MOST_DRAFTS)?;
        open.retain(|open| open.draft.by == "file");
        let being_written = |open: &&Drafted| self.moving.contains_key(&open.draft.path);
        let gone = open.iter().filter(|open| !found.iter().any(|file| is_of(open, file)));
        for gone in gone.filter(|open| !being_written(open)) {
            let (id, at) = (gone.draft.id.clone(), clock::now());
            let reason = "the file was edited again".into();
            self.step(|command| RuleStep::Withdrawn { command, id, by: "file".into(), at, reason })?;
        }
        let withdrawn = self.office.facts.drafts(Some("withdrawn"), MOST_DRAFTS)?;
        let by_person = |one: &&Drafted| one.ended.as_ref().is_some_and(|(_, by, _)| by != "file");
        for file in wanted.iter().filter(|file| !self.in_force.contains(file)) {
            let said = match open.iter().find(|open| is_of(open, file)) {
                Some(known) => format!("{WAITS} {}", known.draft.id),
                None => match withdrawn.iter().filter(by_person).find(|one| is_of(one, file)) {
                    Some(one) => format!("its draft {} was withdrawn: put the file back, or edit it", one.draft.id),
                    None => {
                        let checks = self.checks(&file.path, &file.text, None);
                        let reason = "edited on the disk".to_owned();
                        format!("{WAITS} {}", self.drafted(&file.path, &file.text, None, "file", reason, checks)?)
                    }
                },
            };
            why.insert(file.path.clone(), said);
        }
        Ok(why)
    }

    /// A new draft in the journal; its id.
    pub(super) fn drafted(
        &self,
        path: &str,
        text: &str,
        samples: Option<String>,
        by: &str,
        reason: String,
        checks: Checks,
    ) -> Result<String, Trouble> {
        let mut id = String::new();
        self.step(|command| {
            id = format!("draft-{command}");
            let draft = Draft {
                id: id.clone(),
                path: path.to_owned(),
                text: text.to_owned(),
                samples,
                by: by.to_owned(),
                reason,
                at: clock::now(),
                base: self.text(path).map(str::to_owned),
                checks,
            };
            RuleStep::Drafted { command, draft }
        })?;
        Ok(id)
    }

    fn activate_due(&mut self, overrides: bool) -> Result<(), Trouble> {
        let now = clock::now();
        let mut approved = self.office.facts.drafts(Some("approved"), MOST_DRAFTS)?;
        approved.sort_by_key(|one| one.approval.as_ref().map(|approval| (approval.from, approval.at)));
        let (mut stuck, mut later) = (BTreeMap::new(), None);
        self.drafts_wait.clear();
        for one in approved {
            let Some(approval) = &one.approval else { continue };
            if approval.from > now {
                later = later.or(Some(approval.from));
            } else if !overrides && self.alarm_that_freezes().is_some() {
                self.drafts_wait.push(one.draft.id.clone());
            } else {
                if let Err(refusal) = self.activate(&one) {
                    stuck.insert(one.draft.id.clone(), words(&refusal));
                }
            }
        }
        self.due = later;
        for (id, why) in stuck.iter().filter(|(id, _)| !self.stuck.contains_key(*id)) {
            warn!(draft = %id, %why, "an approved draft could not be put in force");
            self.note(rulebook::stuck(id, why, now))?;
        }
        for id in self.stuck.keys().filter(|id| !stuck.contains_key(*id)) {
            self.note(rulebook::stuck(id, "", now))?;
        }
        self.stuck = stuck;
        Ok(())
    }

    /// The folder is to be looked at again, whatever it looks like.
    pub(super) fn forget_seen(&mut self) {
        self.seen = None;
    }

    /// The text in force of a file.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.in_force.iter().find(|file| file.path == path).map(|file| file.text.as_str())
    }

    pub(super) fn setup(&self, rules: Vec<RuleFile>) -> Arc<Setup> {
        Arc::new(Setup { at: clock::now(), rules, ..self.office.ground.clone() })
    }

    /// The oldest alarm for which rules are frozen, in words.
    pub(super) fn alarm_that_freezes(&self) -> Option<String> {
        let open = self.office.board.open_alarms();
        let urgent = open.iter().filter(|alarm| alarm.freezes());
        let oldest = urgent.min_by_key(|alarm| alarm.raised)?;
        Some(format!("P1 {} {} ({})", oldest.rule, oldest.subject, oldest.id))
    }

    fn note(&self, condition: Condition) -> Result<(), Trouble> {
        drop(self.office.intake.submit_blocking(Entry::Note(Note::Condition(condition)))?);
        Ok(())
    }

    /// Hands a step in and waits until it is durable and in facts.
    pub(super) fn step(&self, step: impl FnOnce(u64) -> RuleStep) -> Result<(), Trouble> {
        let (command, mut answer) = self.office.answers.expect();
        let commit = self.office.intake.submit_blocking(Entry::Note(Note::Rules(Box::new(step(command)))))?;
        commit.durable_blocking()?;
        let watch = Stopwatch::start();
        while watch.elapsed() < CONFIRMED_WITHIN {
            match answer.try_recv() {
                Ok(Answer::Recorded) => return Ok(()),
                Ok(_) | Err(oneshot::error::TryRecvError::Closed) => return Err(Trouble::Unconfirmed),
                Err(oneshot::error::TryRecvError::Empty) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        Err(Trouble::Unconfirmed)
    }
}

fn is_of(drafted: &Drafted, file: &RuleFile) -> bool {
    drafted.draft.path == file.path && drafted.draft.text == file.text
}
