//! What was published of alarms: one row a message, written in the transaction of the change that it tells.
//!
//! The change's number is the row's key: however often a journal is replayed, a change is published once. Neighbours to
//! whom the message is sent have a row in the outbox, from where it goes as messages to people do.

use rusqlite::{Connection, Transaction, params};
use tracing::error;

use super::{Error, Lane, Reader};
use crate::alarm::{Happening, Standing};
use crate::board::Published;
use crate::clock;
use crate::model::PointTable;
use crate::publish::{self, Earlier, Entry, Kind, Message, Neighbour, Publisher, Slot};

pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS publications (
        change INTEGER PRIMARY KEY, slot INTEGER NOT NULL UNIQUE, identifier TEXT NOT NULL UNIQUE,
        reference TEXT NOT NULL, alarm TEXT NOT NULL, kind TEXT NOT NULL, status TEXT NOT NULL, site TEXT NOT NULL,
        level TEXT NOT NULL, headline TEXT NOT NULL, xml TEXT NOT NULL);
    CREATE INDEX IF NOT EXISTS publications_by_alarm ON publications (alarm);
";

/// Writes the message that the change owes to others, if it owes one.
pub(super) fn write(
    change: &Transaction<'_>,
    publisher: &Publisher,
    published: &Published,
    table: &PointTable,
) -> Result<(), rusqlite::Error> {
    let alarm = &published.change.alarm;
    let earlier = earlier(change, alarm.id.as_str())?;
    let Some(kind) = publisher.tells(published, &earlier) else { return Ok(()) };
    let slot = free(change, Publisher::earliest(published, &earlier))?;
    let point = alarm.point.and_then(|index| table.get(index));
    let Some(message) = publisher.message(kind, slot, published, point, &earlier) else { return Ok(()) };
    let Message { slot, identifier, reference, kind, status, headline, xml } = message;
    change.prepare_cached("INSERT INTO publications VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)")?.execute(
        params![
            published.id,
            slot.0,
            identifier,
            reference,
            alarm.id.as_str(),
            kind.word(),
            status,
            &*alarm.site,
            alarm.level.word(),
            headline,
            xml
        ],
    )?;
    publisher.neighbours().iter().try_for_each(|neighbour| send(change, neighbour, kind, published))
}

/// The message waits for the neighbour, if it is one of theirs.
fn send(
    change: &Transaction<'_>,
    neighbour: &Neighbour,
    kind: Kind,
    published: &Published,
) -> Result<(), rusqlite::Error> {
    let alarm = &published.change.alarm;
    let mut heard = change.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM changes JOIN outbox ON outbox.change = changes.id
             WHERE changes.alarm = ?1 AND outbox.channel = ?2 AND outbox.recipient = ?3)",
    )?;
    let heard = heard.query_row(params![alarm.id.as_str(), publish::NEIGHBOUR, neighbour.name], |row| row.get(0))?;
    if neighbour.takes(kind, &alarm.site, alarm.level, heard) {
        let rank = if published.change.is_exercise() { Lane::EXERCISE } else { alarm.priority.word() };
        let mut row = change.prepare_cached(
            "INSERT INTO outbox (change, channel, recipient, priority, created) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        row.execute(params![published.id, publish::NEIGHBOUR, neighbour.name, rank, clock::now().micros()])?;
    }
    Ok(())
}

/// Cancels what was published of alarms that have ended since, while nothing was published.
pub(super) fn end_left_open(
    connection: &mut Connection,
    publisher: &Publisher,
    table: &PointTable,
) -> Result<(), rusqlite::Error> {
    let change = connection.transaction()?;
    let ended: Vec<(i64, String)> = change
        .prepare(
            "SELECT changes.id, changes.body FROM changes WHERE changes.id IN (
                 SELECT max(changes.id) FROM publications JOIN alarms ON alarms.id = publications.alarm
                     JOIN changes ON changes.alarm = publications.alarm AND changes.id > publications.change
                 WHERE publications.kind <> ?1 AND alarms.standing IN (?2, ?3, ?4, ?5) AND changes.happening = ?6
                     AND NOT EXISTS (SELECT 1 FROM publications AS later
                         WHERE later.alarm = publications.alarm AND later.change > publications.change)
                 GROUP BY publications.alarm) ORDER BY changes.id",
        )?
        .query_map(
            [
                Kind::Cancel.word(),
                Standing::Normal.word(),
                Standing::ReturnedUnacknowledged.word(),
                Standing::LatchedUnacknowledged.word(),
                Standing::LatchedAcknowledged.word(),
                Happening::Cleared.word(),
            ],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?
        .collect::<Result<_, _>>()?;
    for (id, body) in ended {
        match serde_json::from_str(&body) {
            Ok(told) => write(&change, publisher, &Published { id, early: false, change: told }, table)?,
            Err(cause) => error!(%cause, id, "a change in facts cannot be read; its warning is not cancelled"),
        }
    }
    change.commit()
}

/// What was published of the alarm since its last Cancel, oldest first.
fn earlier(change: &Transaction<'_>, alarm: &str) -> Result<Vec<Earlier>, rusqlite::Error> {
    let mut select = change.prepare_cached(
        "SELECT slot, reference FROM publications WHERE alarm = ?1 AND change > coalesce(
             (SELECT max(change) FROM publications WHERE alarm = ?1 AND kind = ?2), 0) ORDER BY change",
    )?;
    let rows = select.query_map([alarm, Kind::Cancel.word()], |row| {
        Ok(Earlier { slot: Slot(row.get(0)?), reference: row.get(1)? })
    })?;
    rows.collect()
}

/// The first slot from `wanted` on that no message has.
fn free(change: &Transaction<'_>, wanted: Slot) -> Result<Slot, rusqlite::Error> {
    let mut select = change.prepare_cached(
        "SELECT min(taken.slot) + 1
         FROM (SELECT ?1 - 1 AS slot UNION ALL SELECT slot FROM publications WHERE slot >= ?1) AS taken
         WHERE NOT EXISTS (SELECT 1 FROM publications WHERE publications.slot = taken.slot + 1)",
    )?;
    select.query_row([wanted.0], |row| row.get(0)).map(Slot)
}

impl Reader {
    /// The newest messages that `wanted` takes, newest first; looks at the newest `within` messages.
    pub fn publications(
        &self,
        within: usize,
        most: usize,
        wanted: impl Fn(&Entry) -> bool,
    ) -> Result<Vec<Entry>, Error> {
        let select = "SELECT identifier, kind, status, site, level, reference, headline FROM publications
             ORDER BY change DESC LIMIT ?1";
        let mut entries = self.rows(select, [within as i64], |row| self.entry(row))?;
        entries.retain(wanted);
        entries.truncate(most);
        Ok(entries)
    }

    /// One message: what a list says of it, and its XML.
    pub fn publication(&self, identifier: &str) -> Result<Option<(Entry, String)>, Error> {
        let select = "SELECT identifier, kind, status, site, level, reference, headline, xml FROM publications
             WHERE identifier = ?1";
        let found = self.rows(select, [identifier], |row| {
            let broken = |source| Error::Database { path: self.path.clone(), source };
            Ok((self.entry(row)?, row.get(7).map_err(broken)?))
        })?;
        Ok(found.into_iter().next())
    }

    /// Identifier and XML of what was published of that change.
    pub fn warning(&self, change: i64) -> Result<Option<(String, String)>, Error> {
        let select = "SELECT identifier, xml FROM publications WHERE change = ?1";
        let found = self.rows(select, [change], |row| {
            let text = |column| row.get(column).map_err(|source| Error::Database { path: self.path.clone(), source });
            Ok((text(0)?, text(1)?))
        })?;
        Ok(found.into_iter().next())
    }

    fn entry(&self, row: &rusqlite::Row<'_>) -> Result<Entry, Error> {
        let text = |column| row.get(column).map_err(|source| Error::Database { path: self.path.clone(), source });
        let reference: String = text(5)?;
        Ok(Entry {
            identifier: text(0)?,
            kind: text(1)?,
            status: text(2)?,
            site: text(3)?,
            level: text(4)?,
            sent: reference.rsplit(',').next().unwrap_or_default().to_owned(),
            headline: text(6)?,
        })
    }
}
