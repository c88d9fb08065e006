//! What reduces protection, as facts have it on record: the same for a message in the making and for readers.

use std::collections::BTreeMap;

use rusqlite::{Connection, Params};
use serde::de::DeserializeOwned;

use super::{Error, Reader};
use crate::model::{PointId, Timestamp};
use crate::protection::OnRecord;

/// `bypassed`: interlocks of which the alarms are asked for. What cannot be read is left out: a message goes, with
/// what there is.
pub(super) fn on_record(connection: &Connection, bypassed: &[PointId]) -> Result<OnRecord, rusqlite::Error> {
    let open = |column: &str, table: &str| format!("SELECT {column} FROM {table} WHERE ended IS NULL ORDER BY id");
    let own = "SELECT body FROM alarms WHERE standing <> 'normal' AND rule GLOB 'davy-*' ORDER BY raised, id";
    Ok(OnRecord {
        permits: bodies(connection, &open("permit", "permits"), [])?,
        exercises: bodies(connection, &open("body", "exercises"), [])?,
        exemptions: bodies(connection, &open("body", "exemptions"), [])?,
        asides: bodies(connection, &open("body", "asides"), [])?,
        sites: bodies(connection, "SELECT standing FROM sites ORDER BY site", [])?,
        alarms: bodies(connection, own, [])?,
        duty: bodies(connection, "SELECT body FROM duty WHERE open ORDER BY kind, key", [])?,
        bypassed: bypassed_since(connection, bypassed)?,
    })
}

fn bypassed_since(
    connection: &Connection,
    points: &[PointId],
) -> Result<BTreeMap<PointId, Timestamp>, rusqlite::Error> {
    if points.is_empty() {
        return Ok(BTreeMap::new());
    }
    let names: Vec<&str> = points.iter().map(|id| &**id).collect();
    let mut select = connection.prepare_cached(
        "SELECT subject, min(raised) FROM alarms
         WHERE standing <> 'normal' AND subject IN (SELECT value FROM json_each(?1)) GROUP BY subject",
    )?;
    let names = serde_json::to_string(&names).expect("plain data always serialises");
    let rows = select.query_map([names], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
    rows.map(|row| row.map(|(id, at)| (id.into(), Timestamp::from_micros(at)))).collect()
}

/// Rows of one JSON column. What cannot be read is left out.
pub(super) fn bodies<T: DeserializeOwned>(
    connection: &Connection,
    select: &str,
    values: impl Params,
) -> Result<Vec<T>, rusqlite::Error> {
    let mut select = connection.prepare_cached(select)?;
    let rows = select.query_map(values, |row| row.get::<_, String>(0))?;
    let mut list = Vec::new();
    for row in rows {
        list.extend(serde_json::from_str(&row?).ok());
    }
    Ok(list)
}

impl Reader {
    /// What reduces protection and has not ended; `bypassed`: interlocks of which the alarms are asked for.
    pub fn on_record(&self, bypassed: &[PointId]) -> Result<OnRecord, Error> {
        self.with(|connection| on_record(connection, bypassed))
    }
}
