//! Duty as rows: steps of escalations with the messages that they owe, and what duty has to remember.

use rusqlite::params;

use super::{Error, Reader, Recipient, handover};
use crate::alarm::OccurrenceId;
use crate::board::Board;
use crate::clock;
use crate::response::{Kept, Step, StepKind};

/// A step and its outbox rows. They tell of the newest change of the alarm.
pub(super) fn write_step(
    change: &rusqlite::Transaction<'_>,
    step: &Step,
    recipients: &[Recipient],
    board: &Board,
) -> Result<(), rusqlite::Error> {
    let with_list = if step.kind == StepKind::Handover {
        Some(Step { list: Some(handover::list(change, step, board)?), ..step.clone() })
    } else {
        None
    };
    let step = with_list.as_ref().unwrap_or(step);
    let body = serde_json::to_string(step).expect("plain data always serialises");
    change
        .prepare_cached("INSERT INTO steps (alarm, at, kind, level, person, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![step.alarm.as_str(), step.at.micros(), step.kind.word(), step.level, step.person, body])?;
    let number = change.last_insert_rowid();
    for recipient in recipients.iter().filter(|recipient| step.to.contains(&recipient.full_name())) {
        let made = change
            .prepare_cached(
                "INSERT INTO outbox (change, channel, recipient, priority, created)
                 SELECT changes.id, ?2, ?3, alarms.priority, ?4 FROM changes JOIN alarms ON alarms.id = changes.alarm
                 WHERE changes.alarm = ?1 ORDER BY changes.id DESC LIMIT 1",
            )?
            .execute(params![step.alarm.as_str(), recipient.channel, recipient.name, clock::now().micros()])?;
        if made == 1 {
            let message = change.last_insert_rowid();
            change.prepare_cached("INSERT INTO calls VALUES (?1, ?2)")?.execute([message, number])?;
        }
    }
    Ok(())
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
        Kept::Console { user, open } => ("console", user.clone(), *open),
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
