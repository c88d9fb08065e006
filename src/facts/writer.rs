//! The thread that writes facts: effects in, rows and news out.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::Receiver;
use rusqlite::{Connection, OptionalExtension, params};
use tracing::{error, info, warn};

use super::{
    Answer, Answers, Error, Lane, Numbers, Recipient, Registered, aside, audit, cases, duty, exercise, groups, limits,
    publications, revision, schema,
};
use crate::alarm::{AlarmChange, Happening, Level, Priority, Together};
use crate::board::{Board, Published};
use crate::clock;
use crate::clock::Stopwatch;
use crate::engine::Effect;
use crate::journal::{Condition, Cursor, Entry, Note, Outcome, Prompt, Receipt, Seq, Tail};
use crate::model::{Permit, PermitEnd, PermitKind, Point, SiteStanding};
use crate::publish::Publisher;

/// Entries, and effects of them, that are written in one transaction.
const BATCH_ENTRIES: usize = 1_024;
const BATCH_EFFECTS: usize = 2_048;
/// The slow-disk alarm ends after this long without a late commit.
const RECOVERED: Duration = Duration::from_secs(30);

/// An entry's number and what follows from it.
type Applied = (Seq, Vec<Effect>);

/// What the thread talks to.
#[derive(Debug)]
pub struct Outlets {
    pub board: Arc<Board>,
    pub answers: Answers,
    pub numbers: Arc<Numbers>,
    pub recipients: Vec<Recipient>,
    /// Chosen alarms go to others too.
    pub publisher: Option<Publisher>,
    pub tail: Tail,
    /// An alarm waits this long for its cause to be on the disk.
    pub alarm_wait: Duration,
    /// The engine's own cursor: moved when a snapshot is safe.
    pub engine_cursor: Cursor,
    pub prompt: Prompt,
}

/// Where the last run stopped.
#[derive(Debug, Default)]
pub struct Restart {
    /// Everything up to this entry is in facts.
    pub applied: Seq,
    pub snapshot: Option<(Seq, Vec<u8>)>,
}

/// `facts.db`, opened for writing.
#[derive(Debug)]
pub struct Facts {
    connection: Connection,
    path: PathBuf,
    applied: Seq,
}

impl Facts {
    /// Opens or creates facts.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let mut connection = schema::open(path)?;
        seed(&mut connection, path)?;
        let applied = connection
            .query_row("SELECT value FROM meta WHERE key = 'applied'", [], |row| row.get::<_, i64>(0))
            .optional()
            .map_err(|source| Error::Database { path: path.to_owned(), source })?;
        Ok(Self { connection, path: path.to_owned(), applied: applied.unwrap_or(0) as Seq })
    }

    /// Gives every configured point its number for ever.
    pub fn register(&self, configured: &[Point]) -> Result<Registered, Error> {
        schema::register(&self.path, configured)
    }

    pub fn restart(&self) -> Result<Restart, Error> {
        let snapshot = self
            .connection
            .query_row("SELECT seq, body FROM snapshot", [], |row| Ok((row.get::<_, i64>(0)? as Seq, row.get(1)?)))
            .optional()
            .map_err(|source| Error::Database { path: self.path.clone(), source })?;
        Ok(Restart { applied: self.applied, snapshot })
    }

    /// Starts the thread. It ends when the engine does.
    pub fn start(self, effects: Receiver<(Seq, Vec<Effect>)>, outlets: Outlets) -> JoinHandle<Result<(), Error>> {
        let thread = std::thread::Builder::new().name("facts".into());
        thread
            .spawn(move || {
                Writer { facts: self, outlets, called: BTreeSet::new(), slow: None, disk_told: None, stalled_at: None }
                    .run(&effects)
            })
            .expect("the operating system gives a thread at the start")
    }
}

/// Facts that were written before rules had versions get them.
fn seed(connection: &mut Connection, path: &Path) -> Result<(), Error> {
    let broken = |source| Error::Database { path: path.to_owned(), source };
    let change = connection.transaction().map_err(broken)?;
    if let Some(setup) = schema::last_setup(&change, path)? {
        revision::seed(&change, &setup).map_err(broken)?;
    }
    change.commit().map_err(broken)
}

struct Writer {
    facts: Facts,
    outlets: Outlets,
    /// Recipients (`sms.li`) that hear only what they are called for.
    called: BTreeSet<String>,
    /// The disk was last seen slow then.
    slow: Option<Stopwatch>,
    /// What was last told of the disk: slow, or not.
    disk_told: Option<bool>,
    /// Newest durable entry when a wait for one was last in vain.
    stalled_at: Option<Seq>,
}

impl Writer {
    fn run(mut self, effects: &Receiver<Applied>) -> Result<(), Error> {
        if let Some(publisher) = &self.outlets.publisher {
            let (connection, points) = (&mut self.facts.connection, self.outlets.board.points());
            publications::end_left_open(connection, publisher, &points)
                .map_err(|source| Error::Database { path: self.facts.path.clone(), source })?;
        }
        let mut left = None;
        while let Some(first) = left.take().or_else(|| effects.recv().ok()) {
            let (batch, next) = self.batch(first, effects);
            left = next;
            if let Err(cause) = self.apply(batch) {
                error!(%cause, "facts cannot be written");
                return Err(cause);
            }
        }
        Ok(())
    }

    /// The entry with those behind it that are here already, for one transaction; what still has to wait for
    /// its cause to be on the disk begins the next one. In a storm this is what lets a P1 through.
    fn batch(&self, first: Applied, effects: &Receiver<Applied>) -> (Vec<Applied>, Option<Applied>) {
        let durable = self.outlets.tail.last();
        let (mut weight, mut batch) = (first.1.len(), vec![first]);
        while weight < BATCH_EFFECTS && batch.len() < BATCH_ENTRIES {
            let Ok(next) = effects.try_recv() else { break };
            if next.0 > durable && tells(&next.1) {
                return (batch, Some(next));
            }
            weight += next.1.len();
            batch.push(next);
        }
        (batch, None)
    }

    fn apply(&mut self, batch: Vec<Applied>) -> Result<(), Error> {
        let Some((first, last)) = batch.first().map(|(seq, _)| *seq).zip(batch.last().map(|(seq, _)| *seq)) else {
            return Ok(());
        };
        let waits = first > self.facts.applied && tells(&batch[0].1);
        let early = waits && !self.wait_for(first);
        let path = self.facts.path.clone();
        let mut after = After::default();
        let (applied, outlets, called) = (self.facts.applied, &self.outlets, &mut self.called);
        let written = (|| {
            let change = self.facts.connection.transaction()?;
            for (seq, effects) in batch {
                for effect in effects {
                    let early = early && seq == first;
                    write_effect(
                        &change,
                        outlets,
                        called,
                        effect,
                        At { seq, known: seq <= applied, early },
                        &mut after,
                    )?;
                }
            }
            if last > applied {
                change.prepare_cached("INSERT OR REPLACE INTO meta VALUES ('applied', ?1)")?.execute([last as i64])?;
            }
            change.commit()
        })();
        let settled = written.and_then(|()| after.snapshot.map_or(Ok(()), |seq| self.settle(seq)));
        settled.map_err(|source| Error::Database { path, source })?;
        self.facts.applied = self.facts.applied.max(last);
        self.outlets.numbers.applied.store(self.facts.applied, Relaxed);
        if after.calls {
            self.outlets.board.call();
        }
        for published in after.news {
            self.tell(published);
        }
        self.outlets.board.regroup(after.groups);
        for (command, answer) in after.answers {
            self.outlets.answers.give(command, answer);
        }
        Ok(())
    }

    /// After a snapshot: fold the log into the database, with a flush, then let the journal forget.
    fn settle(&mut self, seq: Seq) -> Result<(), rusqlite::Error> {
        self.facts.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        self.outlets.engine_cursor.passed(seq);
        Ok(())
    }

    fn wait_for(&mut self, seq: Seq) -> bool {
        // Once a wait was in vain, nobody waits again until the journal has moved on.
        let stalled = self.stalled_at == Some(self.outlets.tail.last());
        let durable = self.outlets.tail.wait_for(seq, if stalled { Duration::ZERO } else { self.outlets.alarm_wait });
        self.stalled_at = (!durable).then(|| self.outlets.tail.last());
        if !durable {
            self.outlets.numbers.early.fetch_add(1, Relaxed);
            warn!(seq, "the journal's disk is slow: an alarm goes out before its cause is on the disk");
        }
        if !durable {
            self.slow = Some(Stopwatch::start());
        }
        // What could not be told because the queue was full is told at the next alarm; at the start nothing has
        // been told, since an alarm may still be open from before.
        let recovered = self.slow.as_ref().is_none_or(|since| since.elapsed() > RECOVERED);
        let wanted = if durable { recovered.then_some(false) } else { Some(true) };
        if let Some(holds) = wanted.filter(|holds| self.disk_told != Some(*holds))
            && self.report_disk(holds)
        {
            self.disk_told = Some(holds);
        }
        durable
    }

    fn report_disk(&self, holds: bool) -> bool {
        let condition = Condition {
            at: clock::now(),
            rule: "davy-slow-disk".into(),
            subject: "journal".into(),
            holds,
            title: "日志磁盘写入缓慢 / the journal's disk is slow".into(),
            advice: "检查磁盘与存储健康 / check the disk and its health".into(),
            priority: Priority::P2,
            level: Level::Yellow,
            detail: String::new(),
        };
        self.outlets.prompt.try_submit(Entry::Note(Note::Condition(condition)))
    }

    fn tell(&self, published: Arc<Published>) {
        let (numbers, change) = (&self.outlets.numbers, &published.change);
        let alarm = &change.alarm;
        match change.happening {
            Happening::Raised | Happening::RaisedAgain => numbers.raised.fetch_add(1, Relaxed),
            Happening::Cleared => numbers.cleared.fetch_add(1, Relaxed),
            Happening::Acknowledged => numbers.acknowledged.fetch_add(1, Relaxed),
            Happening::SetAside => numbers.set_aside.fetch_add(1, Relaxed),
            Happening::Resumed => numbers.resumed.fetch_add(1, Relaxed),
            Happening::Realarmed | Happening::Worsened => numbers.called_again.fetch_add(1, Relaxed),
            Happening::Reset => numbers.reset.fetch_add(1, Relaxed),
        };
        info!(
            happening = change.happening.word(),
            alarm = %alarm.id,
            priority = %alarm.priority,
            subject = %alarm.subject,
            rule = %alarm.rule,
            value = alarm.value,
            "alarm"
        );
        self.outlets.board.publish(published);
    }
}

/// Must its cause be on the disk first? What a power cut takes from the journal is judged again after it, and a step
/// or a case that had been written down before would then stand there twice.
fn tells(effects: &[Effect]) -> bool {
    let told = |effect: &Effect| {
        matches!(
            effect,
            Effect::Changed(_)
                | Effect::Answered { .. }
                | Effect::Record(_)
                | Effect::Step(_)
                | Effect::Kept(_)
                | Effect::Case(_)
        )
    };
    effects.iter().any(told)
}

/// Where an effect stands.
#[derive(Clone, Copy)]
struct At {
    seq: Seq,
    /// Facts have it from an earlier run.
    known: bool,
    early: bool,
}

/// What is done once the rows are written.
#[derive(Default)]
struct After {
    news: Vec<Arc<Published>>,
    answers: Vec<(u64, Answer)>,
    /// The newest entry with a snapshot.
    snapshot: Option<Seq>,
    /// Somebody is called.
    calls: bool,
    /// Groups as they are now, those of one batch in their order.
    groups: Vec<Together>,
}

fn write_effect(
    change: &rusqlite::Transaction<'_>,
    outlets: &Outlets,
    called: &mut BTreeSet<String>,
    effect: Effect,
    at: At,
    after: &mut After,
) -> Result<(), rusqlite::Error> {
    match effect {
        Effect::Changed(_)
        | Effect::Receipt(_)
        | Effect::Permit { .. }
        | Effect::Site(_)
        | Effect::Record(_)
        | Effect::Version { .. }
        | Effect::Rules(_)
        | Effect::Limits(_)
        | Effect::Aside(_)
        | Effect::Group(_)
        | Effect::Exercise(_)
        | Effect::Case(_)
        | Effect::Step(_)
        | Effect::Kept(_)
        | Effect::Shown(_)
            if at.known => {}
        Effect::Changed(changed) => {
            let published = write_change(change, at.seq, changed, at.early, &outlets.recipients, called)?;
            if let Some(publisher) = &outlets.publisher {
                publications::write(change, publisher, &published, &outlets.board.points())?;
            }
            after.news.push(Arc::new(published));
        }
        Effect::Receipt(receipt) => write_receipt(change, &receipt, &outlets.numbers)?,
        Effect::Permit { permit, end } => write_permit(change, &permit, end.as_ref())?,
        Effect::Site(standing) => write_site(change, &standing)?,
        Effect::Record(record) => audit::append(change, &record)?,
        Effect::Version { file, at, cause } => revision::write_version(change, &file, at, &cause)?,
        Effect::Rules(step) => revision::write_step(change, &step)?,
        Effect::Limits(fact) => limits::write(change, &fact)?,
        Effect::Aside(fact) => aside::write(change, &fact)?,
        Effect::Group(group) => {
            groups::write(change, &group)?;
            after.groups.push(group.together());
        }
        Effect::Exercise(fact) => exercise::write(change, &fact)?,
        Effect::Case(fact) => cases::write(change, &fact)?,
        Effect::Step(step) => {
            duty::write_step(change, &step, (&outlets.recipients, called), &outlets.board)?;
            after.calls = true;
        }
        Effect::Kept(kept) => duty::keep(change, &kept)?,
        Effect::Shown(shown) => duty::write_shown(change, &shown)?,
        Effect::Answered { command, answer } => after.answers.push((command, answer)),
        Effect::Setup(setup, table) => {
            let body = serde_json::to_string(&*setup).expect("plain data always serialises");
            change.execute("INSERT OR REPLACE INTO meta VALUES ('setup', ?1)", [body])?;
            outlets.board.set_points(table);
            let reached = setup.duty.people.values().flat_map(|one| &one.reach);
            *called = reached.filter(|way| setup.duty.reaches(way)).cloned().collect();
            outlets.board.set_setup(setup);
        }
        Effect::Snapshot(body) => {
            change.execute("INSERT OR REPLACE INTO snapshot VALUES (1, ?1, ?2)", params![at.seq as i64, body])?;
            after.snapshot = Some(at.seq);
        }
    }
    Ok(())
}

fn write_change(
    change: &rusqlite::Transaction<'_>,
    seq: Seq,
    changed: AlarmChange,
    early: bool,
    recipients: &[Recipient],
    called: &BTreeSet<String>,
) -> Result<Published, rusqlite::Error> {
    let alarm = &changed.alarm;
    let body = serde_json::to_string(alarm).expect("plain data always serialises");
    change.prepare_cached("INSERT OR REPLACE INTO alarms VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?.execute(
        params![
            alarm.id.as_str(),
            &*alarm.rule,
            &*alarm.subject,
            &*alarm.site,
            alarm.priority.word(),
            alarm.standing.word(),
            alarm.raised.micros(),
            alarm.cleared.map(crate::model::Timestamp::micros),
            alarm.acknowledged.as_ref().map(|by| by.by.as_str()),
            body
        ],
    )?;
    let body = serde_json::to_string(&changed).expect("plain data always serialises");
    change
        .prepare_cached("INSERT INTO changes (seq, at, alarm, happening, early, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![seq as i64, changed.at.micros(), alarm.id.as_str(), changed.happening.word(), early, body])?;
    let id = change.last_insert_rowid();
    let calls = changed.calls();
    let rank = if changed.is_exercise() { Lane::EXERCISE } else { alarm.priority.word() };
    for recipient in recipients.iter().filter(|recipient| calls && recipient.wants(alarm)) {
        if !called.is_empty() && called.contains(&recipient.full_name()) {
            continue;
        }
        change
            .prepare_cached(
                "INSERT INTO outbox (change, channel, recipient, priority, created) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![id, recipient.channel, recipient.name, rank, clock::now().micros()])?;
    }
    Ok(Published { id, early, change: changed })
}

fn write_permit(
    change: &rusqlite::Transaction<'_>,
    permit: &Permit,
    end: Option<&PermitEnd>,
) -> Result<(), rusqlite::Error> {
    let calibrated = permit.kind == PermitKind::Calibration && end.is_some_and(|end| end.calibrated);
    change.prepare_cached("INSERT OR REPLACE INTO permits VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?.execute(
        params![
            permit.id,
            permit.kind.word(),
            permit.from.micros(),
            permit.until.micros(),
            end.map(|end| end.at.micros()),
            calibrated,
            serde_json::to_string(permit).expect("plain data always serialises"),
            end.map(|end| serde_json::to_string(end).expect("plain data always serialises")),
        ],
    )?;
    if let Some(end) = end.filter(|_| calibrated) {
        let mut row = change.prepare_cached("INSERT OR REPLACE INTO calibrations VALUES (?1, ?2, ?3)")?;
        for point in &permit.points {
            row.execute(params![point.0, end.at.micros(), permit.id])?;
        }
    }
    Ok(())
}

fn write_site(change: &rusqlite::Transaction<'_>, standing: &SiteStanding) -> Result<(), rusqlite::Error> {
    let body = serde_json::to_string(standing).expect("plain data always serialises");
    let mut row = change.prepare_cached("INSERT OR REPLACE INTO sites VALUES (?1, ?2, ?3, ?4)")?;
    row.execute(params![&*standing.site, standing.state.word(), standing.since.micros(), body])?;
    Ok(())
}

fn write_receipt(
    change: &rusqlite::Transaction<'_>,
    receipt: &Receipt,
    numbers: &Numbers,
) -> Result<(), rusqlite::Error> {
    let (word, settled) = match receipt.outcome {
        Outcome::Delivered => ("delivered", true),
        Outcome::Failed => ("failed", false),
        Outcome::GivenUp => ("given_up", true),
    };
    let mut settle = change.prepare_cached(
        "UPDATE outbox SET attempts = attempts + 1, outcome = ?2, settled = iif(?3, ?4, NULL)
         WHERE id = ?1 AND settled IS NULL",
    )?;
    let mut attempt = change.prepare_cached("INSERT INTO attempts VALUES (?1, ?2, ?3, ?4)")?;
    let folded = Receipt::in_summary(receipt.message, &receipt.detail);
    let rows =
        std::iter::once((&receipt.message, &receipt.detail)).chain(receipt.also.iter().map(|row| (row, &folded)));
    for (row, detail) in rows {
        // A receipt that was written twice is on record once.
        if settle.execute(params![row, word, settled, receipt.at.micros()])? == 0 {
            continue;
        }
        attempt.execute(params![row, receipt.at.micros(), word, detail])?;
        match receipt.outcome {
            Outcome::Delivered => numbers.delivered.fetch_add(1, Relaxed),
            Outcome::Failed | Outcome::GivenUp => numbers.failed_attempts.fetch_add(1, Relaxed),
        };
    }
    Ok(())
}
