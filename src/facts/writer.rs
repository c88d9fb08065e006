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

use super::{Answers, Error, Numbers, Recipient, Registered, audit, duty, limits, publications, revision, schema};
use crate::alarm::{AlarmChange, Happening, Level, Priority};
use crate::board::{Board, Published};
use crate::clock;
use crate::clock::Stopwatch;
use crate::engine::Effect;
use crate::journal::{Condition, Cursor, Entry, Note, Outcome, Prompt, Receipt, Seq, Tail};
use crate::model::{Permit, PermitEnd, PermitKind, Point, SiteStanding};
use crate::publish::Publisher;

/// An alarm waits this long for its cause to be on the disk; then it goes out anyway.
const PATIENCE: Duration = Duration::from_millis(250);
/// The slow-disk alarm ends after this long without a late commit.
const RECOVERED: Duration = Duration::from_secs(30);

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
    fn run(mut self, effects: &Receiver<(Seq, Vec<Effect>)>) -> Result<(), Error> {
        if let Some(publisher) = &self.outlets.publisher {
            let (connection, points) = (&mut self.facts.connection, self.outlets.board.points());
            publications::end_left_open(connection, publisher, &points)
                .map_err(|source| Error::Database { path: self.facts.path.clone(), source })?;
        }
        while let Ok((seq, list)) = effects.recv() {
            if let Err(cause) = self.apply(seq, list) {
                error!(%cause, "facts cannot be written");
                return Err(cause);
            }
        }
        Ok(())
    }

    fn apply(&mut self, seq: Seq, effects: Vec<Effect>) -> Result<(), Error> {
        let told = |effect: &Effect| {
            matches!(effect, Effect::Changed(_) | Effect::Answered { .. } | Effect::Record(_) | Effect::Step(_))
        };
        let tells = effects.iter().any(told);
        let known = seq <= self.facts.applied;
        let early = tells && !known && !self.wait_for(seq);
        let path = self.facts.path.clone();
        let (mut news, mut answers, mut snapshot, mut calls) = (Vec::new(), Vec::new(), false, false);
        let written = (|| {
            let change = self.facts.connection.transaction()?;
            for effect in effects {
                match effect {
                    Effect::Changed(_)
                    | Effect::Receipt(_)
                    | Effect::Permit { .. }
                    | Effect::Site(_)
                    | Effect::Record(_)
                    | Effect::Version { .. }
                    | Effect::Rules(_)
                    | Effect::Limits(_)
                    | Effect::Step(_)
                    | Effect::Kept(_)
                        if known => {}
                    Effect::Changed(changed) => {
                        let published =
                            write_change(&change, seq, changed, early, &self.outlets.recipients, &self.called)?;
                        if let Some(publisher) = &self.outlets.publisher {
                            publications::write(&change, publisher, &published, &self.outlets.board.points())?;
                        }
                        news.push(Arc::new(published));
                    }
                    Effect::Receipt(receipt) => write_receipt(&change, &receipt, &self.outlets.numbers)?,
                    Effect::Permit { permit, end } => write_permit(&change, &permit, end.as_ref())?,
                    Effect::Site(standing) => write_site(&change, &standing)?,
                    Effect::Record(record) => audit::append(&change, &record)?,
                    Effect::Version { file, at, cause } => revision::write_version(&change, &file, at, &cause)?,
                    Effect::Rules(step) => revision::write_step(&change, &step)?,
                    Effect::Step(step) => {
                        duty::write_step(&change, &step, &self.outlets.recipients)?;
                        calls = true;
                    }
                    Effect::Kept(kept) => duty::keep(&change, &kept)?,
                    Effect::Limits(fact) => limits::write(&change, &fact)?,
                    Effect::Answered { command, answer } => answers.push((command, answer)),
                    Effect::Setup(setup, table) => {
                        let body = serde_json::to_string(&*setup).expect("plain data always serialises");
                        change.execute("INSERT OR REPLACE INTO meta VALUES ('setup', ?1)", [body])?;
                        self.outlets.board.set_points(table);
                        let reached = setup.duty.people.values().flat_map(|one| &one.reach);
                        self.called = reached.filter(|way| setup.duty.reaches(way)).cloned().collect();
                        self.outlets.board.set_setup(setup);
                    }
                    Effect::Snapshot(body) => {
                        change
                            .execute("INSERT OR REPLACE INTO snapshot VALUES (1, ?1, ?2)", params![seq as i64, body])?;
                        snapshot = true;
                    }
                }
            }
            if !known {
                change.prepare_cached("INSERT OR REPLACE INTO meta VALUES ('applied', ?1)")?.execute([seq as i64])?;
            }
            change.commit()
        })();
        let settled = written.and_then(|()| if snapshot { self.settle(seq) } else { Ok(()) });
        settled.map_err(|source| Error::Database { path, source })?;
        self.facts.applied = self.facts.applied.max(seq);
        self.outlets.numbers.applied.store(self.facts.applied, Relaxed);
        if calls {
            self.outlets.board.call();
        }
        for published in news {
            self.tell(published);
        }
        for (command, answer) in answers {
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
        let durable = self.outlets.tail.wait_for(seq, if stalled { Duration::ZERO } else { PATIENCE });
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
    for recipient in recipients.iter().filter(|recipient| recipient.wants(alarm)) {
        if !called.is_empty() && called.contains(&recipient.full_name()) {
            continue;
        }
        change
            .prepare_cached(
                "INSERT INTO outbox (change, channel, recipient, priority, created) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![id, recipient.channel, recipient.name, alarm.priority.word(), clock::now().micros()])?;
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
    match receipt.outcome {
        Outcome::Delivered => numbers.delivered.fetch_add(1, Relaxed),
        Outcome::Failed | Outcome::GivenUp => numbers.failed_attempts.fetch_add(1, Relaxed),
    };
    change.prepare_cached("INSERT INTO attempts VALUES (?1, ?2, ?3, ?4)")?.execute(params![
        receipt.message,
        receipt.at.micros(),
        word,
        receipt.detail
    ])?;
    change
        .prepare_cached(
            "UPDATE outbox SET attempts = attempts + 1, outcome = ?2, settled = iif(?3, ?4, NULL)
             WHERE id = ?1 AND settled IS NULL",
        )?
        .execute(params![receipt.message, word, settled, receipt.at.micros()])?;
    Ok(())
}
