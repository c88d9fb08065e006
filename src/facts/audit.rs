//! The audit chain: a table that is only ever added to, each row sealed with the hash of the one before.
//!
//! ```text
//!  hash of row n = SHA-256( hash of row n-1 ‖ canonical bytes of row n )        row 0: 32 zero bytes
//! ```
//! In come records, in the transaction of the journal entry that they follow from; out go rows, and a verdict on
//! all of them. The number and hash of the newest row stand in `meta` as well: rows cut off at the end are missed.
//! Whoever can write to the file can make a new chain with a new head, which is why the head is also printed, to be
//! kept where the file is not. Rows are appended after what `meta` says, so that a cut is not grown over.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use sha2::{Digest, Sha256};

use super::Error;
use super::read::Reader;
use crate::model::{Record, Timestamp};

pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS audit (
        number INTEGER PRIMARY KEY, at INTEGER NOT NULL, by TEXT NOT NULL, action TEXT NOT NULL, subject TEXT NOT NULL,
        reason TEXT NOT NULL, before TEXT NOT NULL, after TEXT NOT NULL, hash TEXT NOT NULL);
    CREATE INDEX IF NOT EXISTS audit_by_subject ON audit (subject);
    CREATE TRIGGER IF NOT EXISTS audit_is_not_changed BEFORE UPDATE ON audit
        BEGIN SELECT raise(ABORT, 'the audit chain is append-only'); END;
    CREATE TRIGGER IF NOT EXISTS audit_is_not_shortened BEFORE DELETE ON audit
        BEGIN SELECT raise(ABORT, 'the audit chain is append-only'); END;
    CREATE TRIGGER IF NOT EXISTS audit_is_not_replaced BEFORE INSERT ON audit
        WHEN NEW.number <= (SELECT coalesce(max(number), 0) FROM audit)
        BEGIN SELECT raise(ABORT, 'the audit chain is append-only'); END;
";

/// The newest row: `17:9f86d0..`, in the form in which it is written down elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// 0 while nothing is recorded.
    pub number: i64,
    pub hash: [u8; 32],
}

impl Head {
    const NONE: Self = Self { number: 0, hash: [0; 32] };

    fn next(&self, record: &Record) -> Self {
        let number = self.number + 1;
        let hash = Sha256::new().chain_update(self.hash).chain_update(record.canonical(number)).finalize().into();
        Self { number, hash }
    }

    fn hex(&self) -> String {
        hex(&self.hash)
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.number, self.hex())
    }
}

impl FromStr for Head {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "is not NUMBER:HASH as `davy audit head` prints it";
        let (number, hex) = text.trim().split_once(':').ok_or(wrong)?;
        let mut hash = [0; 32];
        if hex.len() != 64 || !hex.is_ascii() {
            return Err(wrong);
        }
        for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&hex[at..at + 2], 16).map_err(|_| wrong)?;
        }
        Ok(Self { number: number.parse().map_err(|_| wrong)?, hash })
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes every write");
        text
    })
}

/// Adds a row; part of the transaction of whatever it records.
pub(super) fn append(change: &Transaction<'_>, record: &Record) -> Result<(), rusqlite::Error> {
    let next = head(change)?.next(record);
    change.prepare_cached("INSERT INTO audit VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?.execute(params![
        next.number,
        record.at.micros(),
        record.by,
        record.action,
        record.subject,
        record.reason,
        record.before,
        record.after,
        next.hex()
    ])?;
    change.prepare_cached("INSERT OR REPLACE INTO meta VALUES ('audit', ?1)")?.execute([next.to_string()])?;
    Ok(())
}

/// What `meta` says; an unreadable one counts as none, and the walk then finds the rows that it denies.
fn head(connection: &Connection) -> Result<Head, rusqlite::Error> {
    let text: Option<String> =
        connection.query_row("SELECT value FROM meta WHERE key = 'audit'", [], |row| row.get(0)).optional()?;
    Ok(text.and_then(|text| text.parse().ok()).unwrap_or(Head::NONE))
}

/// The first thing that is wrong with a chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("record {0} is missing")]
    Missing(i64),
    #[error("record {0} is not what was recorded: its hash does not fit what it says and the record before it")]
    Changed(i64),
    #[error(
        "the chain ends with record {there}, but {known} says that record {head} was the newest: its end was cut off"
    )]
    CutOff { there: i64, head: i64, known: &'static str },
    #[error("record {0} is in the table, but not in the head that facts.db keeps: it was not written by Davy")]
    Added(i64),
    #[error("record {0} has another hash than the head that was written down: the chain was made anew")]
    MadeAnew(i64),
}

/// Walks the whole chain in one consistent view, beside a gateway that may be running. `kept`: a head that was
/// written down elsewhere. The newest row when all is well.
pub fn verify(path: &Path, kept: Option<&Head>) -> Result<Result<Head, Flaw>, Error> {
    let broken = |source| Error::Database { path: path.to_owned(), source };
    let mut connection = super::read::open(path)?;
    let view = connection.transaction().map_err(broken)?;
    walk(&view, kept).map_err(broken)
}

fn walk(view: &Connection, kept: Option<&Head>) -> Result<Result<Head, Flaw>, rusqlite::Error> {
    let told = head(view)?;
    let mut at = Head::NONE;
    let mut select = view.prepare(&format!("{SELECT} ORDER BY number"))?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(0)?;
        if number != at.number + 1 {
            return Ok(Err(Flaw::Missing(at.number + 1)));
        }
        // A text that is no text any more is a change like any other.
        let Ok(record) = read(row) else { return Ok(Err(Flaw::Changed(number))) };
        let next = at.next(&record);
        if row.get::<_, String>(8).ok() != Some(next.hex()) {
            return Ok(Err(Flaw::Changed(number)));
        }
        if kept.is_some_and(|kept| kept.number == number && kept.hash != next.hash) {
            return Ok(Err(Flaw::MadeAnew(number)));
        }
        at = next;
    }
    if at.number > told.number {
        return Ok(Err(Flaw::Added(told.number + 1)));
    }
    for (known, head) in [("facts.db", Some(&told)), ("the head that was written down", kept)] {
        if let Some(head) = head.filter(|head| head.number > at.number) {
            return Ok(Err(Flaw::CutOff { there: at.number, head: head.number, known }));
        }
    }
    Ok(if at == told { Ok(at) } else { Err(Flaw::Changed(at.number)) })
}

const SELECT: &str = "SELECT number, at, by, action, subject, reason, before, after, hash FROM audit";

fn read(row: &Row<'_>) -> Result<Record, rusqlite::Error> {
    Ok(Record {
        at: Timestamp::from_micros(row.get(1)?),
        by: row.get(2)?,
        action: row.get(3)?,
        subject: row.get(4)?,
        reason: row.get(5)?,
        before: row.get(6)?,
        after: row.get(7)?,
    })
}

/// A row of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audited {
    pub number: i64,
    pub record: Record,
    pub hash: String,
}

impl Reader {
    /// Records with a number from `from` on, oldest first; of one subject, if it is named.
    pub fn audit(&self, from: i64, subject: Option<&str>, most: usize) -> Result<Vec<Audited>, Error> {
        let select = format!("{SELECT} WHERE number >= ?1 AND (?2 IS NULL OR subject = ?2) ORDER BY number LIMIT ?3");
        self.rows(&select, params![from, subject, most as i64], |row| {
            let read = || Ok(Audited { number: row.get(0)?, record: read(row)?, hash: row.get(8)? });
            read().map_err(|source| self.broken(source))
        })
    }

    /// The newest record, to be written down where the file is not.
    pub fn audit_head(&self) -> Result<Head, Error> {
        self.with(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(n: i64) -> Record {
        let text = |word: &str| format!("{word} {n}");
        Record {
            at: Timestamp::from_secs(1_800_000_000 + n),
            by: "李伟".into(),
            action: "rules.approved".into(),
            subject: text("draft"),
            reason: text("reason"),
            before: text("before"),
            after: text("after"),
        }
    }

    fn chain(records: i64) -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID").unwrap();
        connection.execute_batch(TABLES).unwrap();
        let change = connection.transaction().unwrap();
        (1..=records).for_each(|n| append(&change, &record(n)).unwrap());
        change.commit().unwrap();
        connection
    }

    /// What somebody with the file can do, whatever the triggers say.
    fn tampered(records: i64, how: &str) -> Connection {
        let connection = chain(records);
        for trigger in ["changed", "shortened", "replaced"] {
            connection.execute_batch(&format!("DROP TRIGGER audit_is_not_{trigger}")).unwrap();
        }
        connection.execute_batch(how).unwrap();
        connection
    }

    #[test]
    fn a_chain_verifies_and_refuses_to_be_changed() {
        let chain = chain(5);
        let head = walk(&chain, None).unwrap().unwrap();
        assert_eq!(head.number, 5);
        assert_eq!(head.to_string().parse::<Head>(), Ok(head.clone()));
        for change in [
            "UPDATE audit SET by = 'x' WHERE number = 2",
            "DELETE FROM audit WHERE number = 5",
            "INSERT OR REPLACE INTO audit SELECT 5, at, 'x', action, subject, reason, before, after, hash FROM audit WHERE number = 5",
        ] {
            assert!(chain.execute_batch(change).unwrap_err().to_string().contains("append-only"), "{change}");
        }
        assert_eq!(walk(&chain, Some(&head)).unwrap(), Ok(head));
        assert_eq!(walk(&super::tests::chain(0), None).unwrap(), Ok(Head::NONE));
    }

    #[test]
    fn every_change_of_every_column_is_found_and_named() {
        for column in ["by", "action", "subject", "reason", "before", "after"] {
            let chain = tampered(5, &format!("UPDATE audit SET {column} = {column} || ' ' WHERE number = 3"));
            assert_eq!(walk(&chain, None).unwrap(), Err(Flaw::Changed(3)), "{column}");
        }
        for how in [
            "UPDATE audit SET at = at + 1 WHERE number = 3",
            "UPDATE audit SET hash = (SELECT hash FROM audit WHERE number = 2) WHERE number = 3",
            "UPDATE audit SET by = x'ff' WHERE number = 3",
            // Letters moved from one column into the next.
            "UPDATE audit SET by = by || 'r', action = substr(action, 2) WHERE number = 3",
        ] {
            assert_eq!(walk(&tampered(5, how), None).unwrap(), Err(Flaw::Changed(3)), "{how}");
        }
    }

    #[test]
    fn a_gap_a_cut_and_a_new_chain_are_found() {
        assert_eq!(walk(&tampered(5, "DELETE FROM audit WHERE number = 2"), None).unwrap(), Err(Flaw::Missing(2)));
        let cut = tampered(5, "DELETE FROM audit WHERE number >= 4");
        assert_eq!(walk(&cut, None).unwrap(), Err(Flaw::CutOff { there: 3, head: 5, known: "facts.db" }));
        // What is recorded afterwards does not grow over it.
        let mut grown = cut;
        let change = grown.transaction().unwrap();
        append(&change, &record(6)).unwrap();
        change.commit().unwrap();
        assert_eq!(walk(&grown, None).unwrap(), Err(Flaw::Missing(4)));

        // A whole new chain is sound by itself; only a head that was kept elsewhere gives it away.
        let kept = walk(&chain(5), None).unwrap().unwrap();
        let mut anew = Connection::open_in_memory().unwrap();
        anew.execute_batch("CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID").unwrap();
        anew.execute_batch(TABLES).unwrap();
        let change = anew.transaction().unwrap();
        (11..=16).for_each(|n| append(&change, &record(n)).unwrap());
        change.commit().unwrap();
        assert!(walk(&anew, None).unwrap().is_ok());
        assert_eq!(walk(&anew, Some(&kept)).unwrap(), Err(Flaw::MadeAnew(5)));
        let short = walk(&chain(3), Some(&kept)).unwrap();
        assert_eq!(short, Err(Flaw::CutOff { there: 3, head: 5, known: "the head that was written down" }));
    }
}
