//! Set limits and exemptions as rows: one a record, with its end when it has ended.

use rusqlite::{OptionalExtension, params};

use super::{Error, Reader};
use crate::model::{Exemption, LimitEnd, LimitFact, PointIndex, SetLimit, Timestamp};

pub(super) fn write(change: &rusqlite::Transaction<'_>, fact: &LimitFact) -> Result<(), rusqlite::Error> {
    let json = |end: &Option<LimitEnd>| {
        end.as_ref().map(|end| serde_json::to_string(end).expect("plain data always serialises"))
    };
    let ended = |end: &Option<LimitEnd>| end.as_ref().map(|end| end.at.micros());
    match fact {
        LimitFact::Limit { limit, end } => {
            let body = serde_json::to_string(limit).expect("plain data always serialises");
            let at = limit.at.map(Timestamp::micros);
            let mut row = change.prepare_cached("INSERT OR REPLACE INTO limits VALUES (?1, ?2, ?3, ?4, ?5)")?;
            row.execute(params![limit.id, at, ended(end), body, json(end)])?;
        }
        LimitFact::Exemption { exemption, end } => {
            let body = serde_json::to_string(exemption).expect("plain data always serialises");
            let (from, until) = (exemption.from.micros(), exemption.until.micros());
            let mut row = change.prepare_cached("INSERT OR REPLACE INTO exemptions VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
            row.execute(params![exemption.id, from, until, ended(end), body, json(end)])?;
        }
    }
    Ok(())
}

impl Reader {
    /// Limits that were set, with their ends; the newest first.
    pub fn limits(&self, open: bool, most: usize) -> Result<Vec<(SetLimit, Option<LimitEnd>)>, Error> {
        self.ordered("limits", open, most)
    }

    /// Exemptions with their ends; the newest first.
    pub fn exemptions(&self, open: bool, most: usize) -> Result<Vec<(Exemption, Option<LimitEnd>)>, Error> {
        self.ordered("exemptions", open, most)
    }

    /// The number that a point has for ever, if it ever was configured.
    pub fn number_of(&self, id: &str) -> Result<Option<PointIndex>, Error> {
        let found = self.rows("SELECT number FROM points WHERE id = ?1", [id], |row| {
            let broken = |source| Error::Database { path: self.path.clone(), source };
            Ok(PointIndex(row.get(0).map_err(broken)?))
        })?;
        Ok(found.into_iter().next())
    }

    fn ordered<T: serde::de::DeserializeOwned>(
        &self,
        table: &str,
        open: bool,
        most: usize,
    ) -> Result<Vec<(T, Option<LimitEnd>)>, Error> {
        if !self.has(table)? {
            return Ok(Vec::new());
        }
        let open = if open { "WHERE ended IS NULL" } else { "" };
        let select = format!("SELECT body, end FROM {table} {open} ORDER BY at DESC, id LIMIT ?1");
        self.rows(&select, [most as i64], |row| {
            let broken = |source| Error::Database { path: self.path.clone(), source };
            let ended = row.get_ref(1).map_err(broken)? != rusqlite::types::ValueRef::Null;
            Ok((self.json(row, 0)?, if ended { Some(self.json(row, 1)?) } else { None }))
        })
    }

    /// Facts of an earlier Davy that nobody has opened since lack the younger tables.
    pub(super) fn has(&self, table: &str) -> Result<bool, Error> {
        let connection = self.connection.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let select = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1";
        let found = connection.query_row(select, [table], |_| Ok(())).optional();
        found.map(|found| found.is_some()).map_err(|source| Error::Database { path: self.path.clone(), source })
    }
}
