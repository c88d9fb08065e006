//! Cases as rows: each as it stands, every step of it, the alarms it is about and its files.

use std::collections::HashMap;

use rusqlite::{OptionalExtension, params};
use serde::Serialize;

use super::{Error, Reader};
use crate::alarm::OccurrenceId;
use crate::model::Timestamp;
use crate::response::Remembered;
use crate::response::case::{Answered, Case, CaseFact};

pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS cases (
        number INTEGER PRIMARY KEY, site TEXT NOT NULL, priority TEXT NOT NULL, opened INTEGER NOT NULL,
        since INTEGER NOT NULL, closed INTEGER, joined INTEGER, supervised INTEGER NOT NULL, body TEXT NOT NULL);
    CREATE INDEX IF NOT EXISTS cases_open ON cases (number) WHERE closed IS NULL AND joined IS NULL;
    CREATE INDEX IF NOT EXISTS cases_by_time ON cases (opened);
    CREATE INDEX IF NOT EXISTS cases_by_end ON cases (closed) WHERE closed IS NOT NULL;
    CREATE TABLE IF NOT EXISTS case_steps (
        number INTEGER NOT NULL, at INTEGER NOT NULL, by TEXT NOT NULL, step TEXT NOT NULL, words TEXT NOT NULL);
    CREATE INDEX IF NOT EXISTS case_steps_by_case ON case_steps (number);
    CREATE TABLE IF NOT EXISTS case_alarms (alarm TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
    -- The bytes lie in the folder `cases`, under their hash.
    CREATE TABLE IF NOT EXISTS case_files (
        number INTEGER NOT NULL, sha256 TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, bytes INTEGER NOT NULL,
        by TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (number, sha256)) WITHOUT ROWID;
    -- How long each round took: until it was seen, spoken of and closed.
    CREATE TABLE IF NOT EXISTS case_times (
        number INTEGER NOT NULL, since INTEGER NOT NULL, site TEXT NOT NULL, acknowledged INTEGER, answered INTEGER,
        closed INTEGER, PRIMARY KEY (number, since)) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS case_times_by_time ON case_times (since);
";

/// Which cases to list.
#[derive(Clone, Debug, Default)]
pub struct WantedCases {
    /// Neither closed nor joined to another one.
    pub open: bool,
    pub supervised: bool,
    pub site: Option<String>,
    /// Opened within, `from` included, `to` not.
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    /// With a lower number, for paging backwards.
    pub before: Option<u64>,
    pub most: usize,
}

/// A step of a case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CaseStepRow {
    pub at: Timestamp,
    pub by: String,
    pub step: String,
    pub words: String,
}

/// How long one round of a case took; absent: it has not come to that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseTimes {
    pub number: u64,
    pub site: String,
    /// What the case is about: the point.
    pub subject: String,
    pub since: Timestamp,
    pub acknowledged: Option<Timestamp>,
    pub answered: Option<Timestamp>,
    pub closed: Option<Timestamp>,
}

pub(super) fn write(change: &rusqlite::Transaction<'_>, fact: &CaseFact) -> Result<(), rusqlite::Error> {
    let (case, step) = (&fact.case, &fact.step);
    let number = case.number as i64;
    let body = serde_json::to_string(case).expect("plain data always serialises");
    let closed = case.closed.as_ref().map(|did| did.at.micros());
    change.prepare_cached("INSERT OR REPLACE INTO cases VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?.execute(
        params![
            number,
            &*case.site,
            case.priority.word(),
            case.opened.micros(),
            case.since.micros(),
            closed,
            case.joined.map(|into| into as i64),
            case.is_supervised(),
            body
        ],
    )?;
    change.prepare_cached("INSERT INTO case_steps VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
        number,
        step.at.micros(),
        step.by,
        step.word,
        step.words
    ])?;
    // After our clock was set back this round began earlier: it is still one round.
    let mut later = change.prepare_cached("DELETE FROM case_times WHERE number = ?1 AND since > ?2")?;
    later.execute([number, case.since.micros()])?;
    let mut row = change.prepare_cached("INSERT OR REPLACE INTO case_times VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    row.execute(params![
        number,
        case.since.micros(),
        &*case.site,
        case.acknowledged.as_ref().map(|did| did.at.micros()),
        case.answers.first().map(|answer: &Answered| answer.at.micros()),
        closed
    ])?;
    let into = case.joined.map_or(number, |into| into as i64);
    let mut row = change.prepare_cached(
        "INSERT INTO case_alarms VALUES (?1, ?2) ON CONFLICT (alarm) DO UPDATE SET number = ?2 WHERE number <> ?2",
    )?;
    for alarm in &case.alarms {
        row.execute(params![alarm.id.as_str(), into])?;
    }
    let mut row = change.prepare_cached("INSERT OR IGNORE INTO case_files VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
    for file in &case.files {
        let (bytes, at) = (file.bytes as i64, file.at.micros());
        row.execute(params![number, file.sha256, file.name, file.kind, bytes, file.by, at])?;
    }
    Ok(())
}

impl Reader {
    /// The newest first.
    pub fn cases(&self, wanted: &WantedCases) -> Result<Vec<Case>, Error> {
        let open = if wanted.open { "closed IS NULL AND joined IS NULL AND" } else { "" };
        let supervised = if wanted.supervised { "supervised AND" } else { "" };
        let select = format!(
            "SELECT body FROM cases WHERE {open} {supervised} number < ?1 AND (?2 IS NULL OR site = ?2)
             AND opened >= ?3 AND opened < ?4 ORDER BY number DESC LIMIT ?5"
        );
        let before = wanted.before.map_or(i64::MAX, |number| number as i64);
        let from = wanted.from.map_or(i64::MIN, Timestamp::micros);
        let to = wanted.to.map_or(i64::MAX, Timestamp::micros);
        self.rows(&select, params![before, wanted.site, from, to, wanted.most as i64], |row| self.json(row, 0))
            .and_then(|cases| self.group_cases(cases))
    }

    /// By its id (`case-17`), or the id of an occurrence that it is about.
    pub fn case(&self, id: &str) -> Result<Option<Case>, Error> {
        let number = match id.strip_prefix("case-").and_then(|number| number.parse::<i64>().ok()) {
            Some(number) => Some(number),
            None => self.case_of(&OccurrenceId::named(id))?.map(|number| number as i64),
        };
        let found = self.rows("SELECT body FROM cases WHERE number = ?1", [number], |row| self.json(row, 0))?;
        Ok(self.group_cases(found)?.into_iter().next())
    }

    /// The number of the case that an occurrence belongs to.
    pub fn case_of(&self, alarm: &OccurrenceId) -> Result<Option<u64>, Error> {
        let found = self.rows("SELECT number FROM case_alarms WHERE alarm = ?1", [alarm.as_str()], |row| {
            row.get::<_, i64>(0).map_err(|source| self.broken(source))
        })?;
        Ok(found.first().map(|number| *number as u64))
    }

    /// Every step of a case, the oldest first.
    pub fn case_steps(&self, number: u64) -> Result<Vec<CaseStepRow>, Error> {
        let select = "SELECT at, by, step, words FROM case_steps WHERE number = ?1 ORDER BY rowid";
        self.rows(select, [number as i64], |row| {
            let broken = |source| self.broken(source);
            Ok(CaseStepRow {
                at: Timestamp::from_micros(row.get(0).map_err(broken)?),
                by: row.get(1).map_err(broken)?,
                step: row.get(2).map_err(broken)?,
                words: row.get(3).map_err(broken)?,
            })
        })
    }

    /// Rounds of cases that began in the span, `from` included, `to` not. Those that went on as part of another case
    /// are told of there.
    pub fn case_times(&self, from: Timestamp, to: Timestamp) -> Result<Vec<CaseTimes>, Error> {
        let select = "SELECT case_times.number, case_times.site, case_times.since, acknowledged, answered,
                 case_times.closed, cases.body ->> '$.subject' FROM case_times JOIN cases USING (number)
             WHERE cases.joined IS NULL AND case_times.since >= ?1 AND case_times.since < ?2";
        self.rows(select, [from.micros(), to.micros()], |row| {
            let broken = |source| self.broken(source);
            let moment = |at: Option<i64>| at.map(Timestamp::from_micros);
            Ok(CaseTimes {
                number: row.get::<_, i64>(0).map_err(broken)? as u64,
                site: row.get(1).map_err(broken)?,
                since: Timestamp::from_micros(row.get(2).map_err(broken)?),
                acknowledged: moment(row.get(3).map_err(broken)?),
                answered: moment(row.get(4).map_err(broken)?),
                closed: moment(row.get(5).map_err(broken)?),
                subject: row.get::<_, Option<String>>(6).map_err(broken)?.unwrap_or_default(),
            })
        })
    }

    /// Alarms of whose cause a person has said something, where their case was open then or later: each with the
    /// cause that stands in place of its group.
    pub fn causes_said(&self, from: Timestamp) -> Result<HashMap<OccurrenceId, OccurrenceId>, Error> {
        let select = "SELECT case_alarms.alarm, cases.body ->> '$.cause.of' FROM cases JOIN case_alarms USING (number)
             WHERE cases.body ->> '$.cause.of' IS NOT NULL AND (cases.closed IS NULL OR cases.closed >= ?1)";
        let rows = self.rows(select, [from.micros()], |row| {
            let id = |column| row.get::<_, String>(column).map_err(|source| self.broken(source));
            Ok((OccurrenceId::named(&id(0)?), OccurrenceId::named(&id(1)?)))
        })?;
        Ok(rows.into_iter().collect())
    }

    /// What the engine has to know of cases where its snapshot cannot be read: open ones, and those closed since.
    pub fn remembered_cases(&self, closed_since: Timestamp) -> Result<Remembered, Error> {
        let select = "SELECT body FROM cases WHERE joined IS NULL AND (closed IS NULL OR closed >= ?1) ORDER BY number";
        let cases = self.rows(select, [closed_since.micros()], |row| self.json(row, 0))?;
        let last = self.with(|connection| {
            let newest = connection.query_row("SELECT max(number) FROM cases", [], |row| row.get::<_, Option<i64>>(0));
            newest.optional()
        })?;
        Ok(Remembered { cases, last_case: last.flatten().unwrap_or(0) as u64, ..Remembered::default() })
    }
}
