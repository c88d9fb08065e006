//! Exercises as rows: one each, with all that was injected and its end when it has ended.

use rusqlite::params;

use super::{Error, Reader};
use crate::model::ExerciseFact;

pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS exercises (
        id TEXT PRIMARY KEY, site TEXT NOT NULL, at INTEGER NOT NULL, until INTEGER NOT NULL, ended INTEGER,
        body TEXT NOT NULL) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS exercises_open ON exercises (until) WHERE ended IS NULL;
";

pub(super) fn write(change: &rusqlite::Transaction<'_>, fact: &ExerciseFact) -> Result<(), rusqlite::Error> {
    let exercise = &fact.exercise;
    let body = serde_json::to_string(fact).expect("plain data always serialises");
    let mut row = change.prepare_cached("INSERT OR REPLACE INTO exercises VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    row.execute(params![
        exercise.id,
        &*exercise.site,
        exercise.from.micros(),
        exercise.until.micros(),
        fact.end.as_ref().map(|end| end.at.micros()),
        body
    ])?;
    Ok(())
}

impl Reader {
    /// The newest first; `open`: only those that have not ended.
    pub fn exercises(&self, open: bool, most: usize) -> Result<Vec<ExerciseFact>, Error> {
        if !self.has("exercises")? {
            return Ok(Vec::new());
        }
        let open = if open { "WHERE ended IS NULL" } else { "" };
        let select = format!("SELECT body FROM exercises {open} ORDER BY at DESC, id LIMIT ?1");
        self.rows(&select, [most as i64], |row| self.json(row, 0))
    }
}
