//! Duty as rows: steps of escalations with the messages that they owe, and what duty has to remember.

use std::collections::BTreeSet;

use rusqlite::{OptionalExtension, Transaction, params};

use super::{Error, Lane, Reader, Recipient, daily, handover};
use crate::alarm::{Alarm, OccurrenceId};
use crate::board::Board;
use crate::clock;
use crate::model::{Reason, Shown};
use crate::response::{Kept, Step, StepKind};

/// In the outbox: consoles, by their user.
const CONSOLE: &str = "console";

/// A step and its outbox rows. They tell of the newest change of the alarm. `called`: recipients that hear only what
/// they are called for; when everybody is to hear of it, they are those who have not heard by the change itself.
pub(super) fn write_step(
    change: &rusqlite::Transaction<'_>,
    step: &Step,
    (recipients, called): (&[Recipient], &BTreeSet<String>),
    board: &Board,
) -> Result<(), rusqlite::Error> {
    let list = match step.kind {
        StepKind::Handover => Some(handover::list(change, step, recipients, board)?),
        StepKind::Daily => Some(daily::list(change, step)?),
        StepKind::Call
        | StepKind::Copy
        | StepKind::NobodyLeft
        | StepKind::Everybody
        | StepKind::Siren
        | StepKind::Unanswered
        | StepKind::Answered
        | StepKind::News
        | StepKind::Question => None,
    };
    let with_list = list.map(|list| Step { list: Some(list), ..step.clone() });
    let step = with_list.as_ref().unwrap_or(step);
    let body = serde_json::to_string(step).expect("plain data always serialises");
    change
        .prepare_cached("INSERT INTO steps (alarm, at, kind, level, person, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![step.alarm.as_str(), step.at.micros(), step.kind.word(), step.level, step.person, body])?;
    let number = change.last_insert_rowid();
    let everybody = if step.kind == StepKind::Everybody { alarm_of(change, step)? } else { None };
    let hears = |recipient: &&Recipient| match &everybody {
        Some(alarm) => called.contains(&recipient.full_name()) && recipient.wants(alarm),
        None => step.to.contains(&recipient.full_name()),
    };
    for recipient in recipients.iter().filter(hears) {
        let made = change
            .prepare_cached(
                "INSERT INTO outbox (change, channel, recipient, priority, created)
                 SELECT changes.id, ?2, ?3,
                     iif(coalesce(json_extract(alarms.body, '$.quality'), 0) & ?5 = 0, alarms.priority, ?6), ?4
                 FROM changes JOIN alarms ON alarms.id = changes.alarm
                 WHERE changes.alarm = ?1 ORDER BY changes.id DESC LIMIT 1",
            )?
            .execute(params![
                step.alarm.as_str(),
                recipient.channel,
                recipient.name,
                clock::now().micros(),
                i64::from(Reason::Exercise as u16),
                Lane::EXERCISE
            ])?;
        if made == 1 {
            let message = change.last_insert_rowid();
            change.prepare_cached("INSERT INTO calls VALUES (?1, ?2)")?.execute([message, number])?;
        }
    }
    Ok(())
}

fn alarm_of(change: &rusqlite::Transaction<'_>, step: &Step) -> Result<Option<Alarm>, rusqlite::Error> {
    let mut select = change.prepare_cached("SELECT body FROM alarms WHERE id = ?1")?;
    let body = select.query_row([step.alarm.as_str()], |row| row.get::<_, String>(0)).optional()?;
    Ok(body.map(|body| serde_json::from_str(&body).expect("written by this program")))
}

pub(super) fn keep(change: &rusqlite::Transaction<'_>, kept: &Kept) -> Result<(), rusqlite::Error> {
    let body = || serde_json::to_string(kept).expect("plain data always serialises");
    let (kind, key, open) = match kept {
        Kept::Run(run) => ("run", run.alarm.to_string(), true),
        Kept::RunOver(alarm) => {
            change.prepare_cached("DELETE FROM duty WHERE kind = 'run' AND key = ?1")?.execute([alarm.as_str()])?;
            return Ok(());
        }
        Kept::SigningOver(roster) => {
            change.prepare_cached("DELETE FROM duty WHERE kind = 'signing' AND key = ?1")?.execute([roster])?;
            return Ok(());
        }
        Kept::Signing(handover) => ("signing", handover.roster.clone(), true),
        Kept::Leave { leave, ended } => ("leave", leave.id.clone(), !ended),
        Kept::Handover(handover) => ("handover", handover.id.clone(), false),
        Kept::Signed { roster, .. } => ("signed", roster.clone(), true),
        Kept::Question { question, open } => ("question", format!("{} {}", question.asked, question.position), *open),
        Kept::Changed { roster, .. } => ("changed", roster.clone(), true),
        Kept::Listed { position, .. } => ("listed", position.clone(), true),
        Kept::Console { user, open, .. } => ("console", user.clone(), *open),
        Kept::Missing { position, open, .. } => ("missing", position.clone(), *open),
    };
    change.prepare_cached("INSERT OR REPLACE INTO duty VALUES (?1, ?2, ?3, ?4)")?.execute(params![
        kind,
        key,
        open,
        body()
    ])?;
    Ok(())
}

/// What a console showed is on record as what any other recipient was told: an attempt, with its outcome at once.
pub(super) fn write_shown(change: &Transaction<'_>, shown: &Shown) -> Result<(), rusqlite::Error> {
    let Shown { user, changes, sounded, at } = shown;
    let detail = if *sounded {
        "显示并发声 / shown, with sound"
    } else {
        "已显示，声音未开启 / shown, the sound is off"
    };
    for number in changes {
        // Two windows of one person show it once.
        let row = change
            .prepare_cached(
                "INSERT INTO outbox (change, channel, recipient, priority, created, attempts, outcome, settled)
                 SELECT changes.id, ?2, ?3, alarms.priority, ?4, 1, 'delivered', ?4
                 FROM changes JOIN alarms ON alarms.id = changes.alarm
                 WHERE changes.id = ?1 AND NOT EXISTS (SELECT 1 FROM outbox
                     WHERE outbox.change = ?1 AND outbox.channel = ?2 AND outbox.recipient = ?3)",
            )?
            .execute(params![number, CONSOLE, user, at.micros()])?;
        if row == 1 {
            let message = change.last_insert_rowid();
            let mut attempt = change.prepare_cached("INSERT INTO attempts VALUES (?1, ?2, 'delivered', ?3)")?;
            attempt.execute(params![message, at.micros(), detail])?;
        }
    }
    Ok(())
}

impl Reader {
    /// Steps of an alarm, oldest first.
    pub fn steps(&self, alarm: &OccurrenceId) -> Result<Vec<Step>, Error> {
        self.rows("SELECT body FROM steps WHERE alarm = ?1 ORDER BY id", [alarm.as_str()], |row| self.json(row, 0))
    }

    /// All that duty has to go on from.
    pub fn duty_kept(&self) -> Result<Vec<Kept>, Error> {
        self.rows("SELECT body FROM duty WHERE open ORDER BY kind, key", [], |row| self.json(row, 0))
    }

    /// Hand-overs (`handover`) or presence checks (`question`), open or not; the newest first.
    pub fn duty_list(&self, kind: &str, most: usize) -> Result<Vec<Kept>, Error> {
        let select = "SELECT body FROM duty WHERE kind = ?1 ORDER BY key DESC LIMIT ?2";
        self.rows(select, params![kind, most as i64], |row| self.json(row, 0))
    }

    /// Open alarms for which the sirens are to sound whatever their priority.
    pub fn siren_called(&self) -> Result<Vec<OccurrenceId>, Error> {
        let select = "SELECT DISTINCT steps.alarm FROM steps JOIN alarms ON alarms.id = steps.alarm
             WHERE steps.kind = 'siren' AND alarms.standing <> 'normal'";
        self.rows(select, [], |row| {
            let id: String = row.get(0).map_err(|source| self.broken(source))?;
            Ok(OccurrenceId::named(&id))
        })
    }
}
