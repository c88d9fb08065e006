//! What set alarms aside, as rows: one a reason, with its end when it has ended.

use rusqlite::params;

use super::{Error, Reader};
use crate::alarm::{AsideFact, Way};
use crate::model::Timestamp;

pub(super) const TABLES: &str = "
    -- Shelved, suppressed by design, out of service.
    CREATE TABLE IF NOT EXISTS asides (
        id TEXT NOT NULL, way TEXT NOT NULL, rule TEXT NOT NULL, subject TEXT NOT NULL, at INTEGER NOT NULL,
        until INTEGER, ended INTEGER, body TEXT NOT NULL, PRIMARY KEY (id, at)) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS asides_open ON asides (subject) WHERE ended IS NULL;
    CREATE INDEX IF NOT EXISTS asides_by_time ON asides (at);
";

pub(super) fn write(change: &rusqlite::Transaction<'_>, fact: &AsideFact) -> Result<(), rusqlite::Error> {
    let aside = &fact.aside;
    let body = serde_json::to_string(fact).expect("plain data always serialises");
    let mut row = change.prepare_cached("INSERT OR REPLACE INTO asides VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
    row.execute(params![
        aside.id,
        aside.way.word(),
        &*aside.rule,
        aside.subject,
        aside.from.micros(),
        aside.until.map(Timestamp::micros),
        fact.end.as_ref().map(|end| end.at.micros()),
        body
    ])?;
    Ok(())
}

impl Reader {
    /// The newest first; `open`: only what has not ended.
    pub fn asides(&self, open: bool, most: usize) -> Result<Vec<AsideFact>, Error> {
        if !self.has("asides")? {
            return Ok(Vec::new());
        }
        let open = if open { "WHERE ended IS NULL" } else { "" };
        let select = format!("SELECT body FROM asides {open} ORDER BY at DESC, id LIMIT ?1");
        self.rows(&select, [most as i64], |row| self.json(row, 0))
    }

    /// What sets the alarm of a rule at a subject aside now in that way.
    pub fn aside_of(&self, rule: &str, subject: &str, way: Way) -> Result<Option<AsideFact>, Error> {
        let select = "SELECT body FROM asides WHERE ended IS NULL AND subject = ?1 AND rule = ?2 AND way = ?3 LIMIT 1";
        let found = self.rows(select, params![subject, rule, way.word()], |row| self.json(row, 0))?;
        Ok(found.into_iter().next())
    }
}
