//! Versions of rule files and drafts, as rows: the one history behind the files on the disk and the API.

use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::read::Reader;
use super::{Error, audit};
use crate::journal::{RuleFile, RuleStep, Setup};
use crate::model::{Approval, Cause, Draft, Origin, Record, Timestamp};

pub(super) const TABLES: &str = "
    -- Every text that was ever in force; numbers run through all files. An empty text: the file was taken away.
    CREATE TABLE IF NOT EXISTS rule_versions (
        number INTEGER PRIMARY KEY, path TEXT NOT NULL, at INTEGER NOT NULL, hash TEXT NOT NULL, origin TEXT NOT NULL,
        author TEXT NOT NULL, approver TEXT, reason TEXT NOT NULL, draft TEXT, text TEXT NOT NULL);
    CREATE INDEX IF NOT EXISTS rule_versions_by_path ON rule_versions (path, number);
    -- state: open, approved, active, withdrawn. due: when an approved one comes into force.
    CREATE TABLE IF NOT EXISTS drafts (
        id TEXT PRIMARY KEY, path TEXT NOT NULL, state TEXT NOT NULL, made INTEGER NOT NULL, due INTEGER,
        draft TEXT NOT NULL, approval TEXT, backtest TEXT, ended INTEGER, ended_by TEXT, ended_why TEXT) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS drafts_by_state ON drafts (state, due);
";

/// One text of a rule file that was in force from `at` until the file's next version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub number: i64,
    pub path: String,
    pub at: Timestamp,
    /// SHA-256 of the text, in hex.
    pub hash: String,
    /// `file`, `draft` or `rollback`.
    pub origin: String,
    pub author: String,
    pub approver: Option<String>,
    pub reason: String,
    pub draft: Option<String>,
    pub text: String,
}

/// A draft and how far it has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Drafted {
    pub draft: Draft,
    /// `open`, `approved`, `active` or `withdrawn`.
    pub state: String,
    pub approval: Option<Approval>,
    /// `{ "by", "at", "summary" }`, if a backtest was told of.
    pub backtest: Option<Value>,
    /// When, by whom and why it was withdrawn.
    pub ended: Option<(Timestamp, String, String)>,
}

/// SHA-256 of a text, in hex.
#[must_use]
pub fn hash(text: &str) -> String {
    audit::hex(&Sha256::digest(text.as_bytes()))
}

/// From one text of a file to another, in the unified form; empty when they are the same.
#[must_use]
pub fn diff(path: &str, before: &str, after: &str) -> String {
    similar::TextDiff::from_lines(before, after).unified_diff().header(path, path).to_string()
}

/// A file has another text in force. A text that is the newest already is no version: a setup told again.
pub(super) fn write_version(
    change: &Transaction<'_>,
    file: &RuleFile,
    at: Timestamp,
    cause: &Cause,
) -> Result<(), rusqlite::Error> {
    let hash = hash(&file.text);
    let newest: Option<(i64, String)> = change
        .prepare_cached("SELECT number, hash FROM rule_versions WHERE path = ?1 ORDER BY number DESC LIMIT 1")?
        .query_row([&file.path], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if newest.as_ref().is_some_and(|(_, known)| *known == hash) {
        return Ok(());
    }
    let number = insert(change, file, at, &hash, cause)?;
    let action = match cause.origin {
        Origin::File if file.text.is_empty() => "rules.removed",
        Origin::File => "rules.edited",
        Origin::Draft => "rules.activated",
        Origin::Rollback => "rules.rolled_back",
    };
    let record = Record {
        at,
        by: cause.approver.clone().unwrap_or_else(|| cause.author.clone()),
        action: action.into(),
        subject: file.path.clone(),
        reason: cause.reason.clone(),
        before: newest.map_or_else(String::new, |(number, hash)| format!("version {number}, sha256 {hash}")),
        after: format!("version {number}, sha256 {hash}"),
    };
    audit::append(change, &record)
}

fn insert(
    change: &Transaction<'_>,
    file: &RuleFile,
    at: Timestamp,
    hash: &str,
    cause: &Cause,
) -> Result<i64, rusqlite::Error> {
    change
        .prepare_cached(
            "INSERT INTO rule_versions (path, at, hash, origin, author, approver, reason, draft, text)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            file.path,
            at.micros(),
            hash,
            cause.origin.word(),
            cause.author,
            cause.approver,
            cause.reason,
            cause.draft,
            file.text
        ])?;
    Ok(change.last_insert_rowid())
}

/// The first versions of facts that were written before there were any: what is in force.
pub(super) fn seed(change: &Transaction<'_>, setup: &Setup) -> Result<(), rusqlite::Error> {
    let none: bool = change.query_row("SELECT NOT EXISTS (SELECT 1 FROM rule_versions)", [], |row| row.get(0))?;
    for file in setup.rules.iter().filter(|_| none) {
        insert(change, file, setup.at, &hash(&file.text), &Cause::edited(&file.path))?;
    }
    Ok(())
}

pub(super) fn write_step(change: &Transaction<'_>, step: &RuleStep) -> Result<(), rusqlite::Error> {
    match step {
        RuleStep::Drafted { draft, .. } => change
            .prepare_cached("INSERT INTO drafts (id, path, state, made, draft) VALUES (?1, ?2, 'open', ?3, ?4)")?
            .execute(params![draft.id, draft.path, draft.at.micros(), json(draft)]),
        RuleStep::Backtested { id, by, at, summary, .. } => {
            let told = serde_json::json!({ "by": by, "at": at.to_string(), "summary": summary });
            change
                .prepare_cached("UPDATE drafts SET backtest = ?2 WHERE id = ?1")?
                .execute(params![id, told.to_string()])
        }
        RuleStep::Approved { id, approval, .. } => change
            .prepare_cached("UPDATE drafts SET state = 'approved', due = ?2, approval = ?3 WHERE id = ?1")?
            .execute(params![id, approval.from.micros(), json(approval)]),
        RuleStep::Withdrawn { id, by, at, reason, .. } => change
            .prepare_cached(
                "UPDATE drafts SET state = 'withdrawn', ended = ?2, ended_by = ?3, ended_why = ?4 WHERE id = ?1",
            )?
            .execute(params![id, at.micros(), by, reason]),
        RuleStep::Activated { setup, cause, .. } => change
            .prepare_cached("UPDATE drafts SET state = 'active', ended = ?2 WHERE id = ?1")?
            .execute(params![cause.draft, setup.at.micros()]),
        RuleStep::Overridden { .. } => Ok(0),
    }
    .map(drop)
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("plain data always serialises")
}

const VERSION: &str = "SELECT number, path, at, hash, origin, author, approver, reason, draft, text FROM rule_versions";
const DRAFT: &str = "SELECT draft, state, approval, backtest, ended, ended_by, ended_why FROM drafts";

impl Reader {
    /// The rule files in force.
    pub fn rules_in_force(&self) -> Result<Vec<RuleFile>, Error> {
        let select = "SELECT value ->> '$.rules' FROM meta WHERE key = 'setup'";
        let found: Vec<Vec<RuleFile>> = self.rows(select, [], |row| self.json(row, 0))?;
        Ok(found.into_iter().next().unwrap_or_default())
    }

    /// Versions of one file, or of all; the newest first.
    pub fn versions(&self, path: Option<&str>, most: usize) -> Result<Vec<Version>, Error> {
        let select = format!("{VERSION} WHERE (?1 IS NULL OR path = ?1) ORDER BY number DESC LIMIT ?2");
        self.rows(&select, params![path, most as i64], |row| self.version_in(row))
    }

    pub fn version(&self, number: i64) -> Result<Option<Version>, Error> {
        let select = format!("{VERSION} WHERE number = ?1");
        Ok(self.rows(&select, [number], |row| self.version_in(row))?.into_iter().next())
    }

    /// Was that text ever in force in that file?
    pub fn has_version(&self, path: &str, text: &str) -> Result<bool, Error> {
        let select = "SELECT EXISTS (SELECT 1 FROM rule_versions WHERE path = ?1 AND hash = ?2)";
        self.with(|connection| connection.query_row(select, params![path, hash(text)], |row| row.get(0)))
    }

    /// The version that a version of the same file took the place of.
    pub fn version_before(&self, version: &Version) -> Result<Option<Version>, Error> {
        let select = format!("{VERSION} WHERE path = ?1 AND number < ?2 ORDER BY number DESC LIMIT 1");
        let found = self.rows(&select, params![version.path, version.number], |row| self.version_in(row))?;
        Ok(found.into_iter().next())
    }

    /// The newest first; `state`: only those.
    pub fn drafts(&self, state: Option<&str>, most: usize) -> Result<Vec<Drafted>, Error> {
        let select = format!("{DRAFT} WHERE (?1 IS NULL OR state = ?1) ORDER BY made DESC, id DESC LIMIT ?2");
        self.rows(&select, params![state, most as i64], |row| self.draft_in(row))
    }

    pub fn draft(&self, id: &str) -> Result<Option<Drafted>, Error> {
        let select = format!("{DRAFT} WHERE id = ?1");
        Ok(self.rows(&select, [id], |row| self.draft_in(row))?.into_iter().next())
    }

    fn version_in(&self, row: &Row<'_>) -> Result<Version, Error> {
        let read = || {
            Ok(Version {
                number: row.get(0)?,
                path: row.get(1)?,
                at: Timestamp::from_micros(row.get(2)?),
                hash: row.get(3)?,
                origin: row.get(4)?,
                author: row.get(5)?,
                approver: row.get(6)?,
                reason: row.get(7)?,
                draft: row.get(8)?,
                text: row.get(9)?,
            })
        };
        read().map_err(|source| self.broken(source))
    }

    fn draft_in(&self, row: &Row<'_>) -> Result<Drafted, Error> {
        let ended = || -> Result<_, rusqlite::Error> {
            let (at, by, why): (Option<i64>, Option<String>, Option<String>) = (row.get(4)?, row.get(5)?, row.get(6)?);
            Ok(at.zip(by).map(|(at, by)| (Timestamp::from_micros(at), by, why.unwrap_or_default())))
        };
        let some = |column| row.get_ref(column).is_ok_and(|value| value != rusqlite::types::ValueRef::Null);
        Ok(Drafted {
            draft: self.json(row, 0)?,
            state: row.get(1).map_err(|source| self.broken(source))?,
            approval: if some(2) { Some(self.json(row, 2)?) } else { None },
            backtest: if some(3) { Some(self.json(row, 3)?) } else { None },
            ended: ended().map_err(|source| self.broken(source))?,
        })
    }
}
