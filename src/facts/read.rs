//! Facts for readers: lists of alarms, changes since, what is still to be told.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};

use super::groups::JOINED;
use super::{Error, Lane, Outgoing, Pending, Waiting};
use crate::alarm::{Alarm, AlarmChange, Happening, OccurrenceId, Priority, Standing};
use crate::board::Published;
use crate::journal::Setup;
use crate::model::{Permit, PermitEnd, PointIndex, SiteStanding, Timestamp};
use crate::response::StepKind;

/// Reads facts beside the writer; cheap to clone. Queries block: call them off the event loop.
#[derive(Clone, Debug)]
pub struct Reader {
    pub(super) connection: Arc<Mutex<Connection>>,
    pub(super) path: PathBuf,
}

/// Which alarms to list.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only those that are not Normal.
    pub open: bool,
    pub site: Option<String>,
    /// Raised before this moment (for paging backwards).
    pub before: Option<Timestamp>,
    pub most: usize,
}

/// One attempt to tell somebody, as recorded.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Attempt {
    pub change: i64,
    pub channel: String,
    pub recipient: String,
    pub at: Timestamp,
    pub outcome: String,
    pub detail: String,
}

/// A read-only connection, beside a writer that may be running.
pub(super) fn open(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let broken = |source| Error::Database { path: path.to_owned(), source };
    let connection = Connection::open_with_flags(path, flags).map_err(broken)?;
    connection.busy_timeout(std::time::Duration::from_secs(10)).map_err(broken)?;
    Ok(connection)
}
const OUTGOING: &str = "SELECT changes.id, changes.body, changes.early, outbox.id, outbox.channel, outbox.recipient,
            outbox.attempts, outbox.created, steps.body
     FROM outbox JOIN changes ON changes.id = outbox.change
     LEFT JOIN calls ON calls.message = outbox.id LEFT JOIN steps ON steps.id = calls.step";

impl Reader {
    /// The database must exist.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self { connection: Arc::new(Mutex::new(open(path)?)), path: path.to_owned() })
    }

    /// A connection of its own: whoever must not wait does not wait for the long questions of others.
    pub fn apart(&self) -> Result<Self, Error> {
        Self::open(&self.path)
    }

    /// Newest first.
    pub fn alarms(&self, wanted: &Wanted) -> Result<Vec<Alarm>, Error> {
        let open = if wanted.open { "standing <> 'normal' AND" } else { "" };
        let select = format!(
            "SELECT body, group_body FROM alarms {JOINED} WHERE {open} raised < ?1 AND (?2 IS NULL OR site = ?2)
             ORDER BY raised DESC, id LIMIT ?3"
        );
        let before = wanted.before.map_or(i64::MAX, Timestamp::micros);
        self.rows(&select, params![before, wanted.site, wanted.most as i64], |row| self.grouped(row))
    }

    pub fn alarm(&self, id: &OccurrenceId) -> Result<Option<Alarm>, Error> {
        let select = format!("SELECT body, group_body FROM alarms {JOINED} WHERE id = ?1");
        let found = self.rows(&select, [id.as_str()], |row| self.grouped(row))?;
        Ok(found.into_iter().next())
    }

    /// Changes with a number above `after`, oldest first.
    pub fn changes_since(&self, after: i64, most: usize) -> Result<Vec<Published>, Error> {
        let select = "SELECT id, body, early FROM changes WHERE id > ?1 ORDER BY id LIMIT ?2";
        self.rows(select, params![after, most as i64], |row| self.published(row))
    }

    /// All changes of one alarm, oldest first.
    pub fn changes_of(&self, id: &OccurrenceId) -> Result<Vec<Published>, Error> {
        let select = "SELECT id, body, early FROM changes WHERE alarm = ?1 ORDER BY id";
        self.rows(select, [id.as_str()], |row| self.published(row))
    }

    /// Every attempt to tell somebody of an alarm, oldest first.
    pub fn attempts(&self, id: &OccurrenceId) -> Result<Vec<Attempt>, Error> {
        let select =
            "SELECT changes.id, outbox.channel, outbox.recipient, attempts.at, attempts.outcome, attempts.detail
             FROM changes JOIN outbox ON outbox.change = changes.id JOIN attempts ON attempts.message = outbox.id
             WHERE changes.alarm = ?1 ORDER BY attempts.rowid";
        self.rows(select, [id.as_str()], |row| {
            let broken = |source| Error::Database { path: self.path.clone(), source };
            Ok(Attempt {
                change: row.get(0).map_err(broken)?,
                channel: row.get(1).map_err(broken)?,
                recipient: row.get(2).map_err(broken)?,
                at: Timestamp::from_micros(row.get(3).map_err(broken)?),
                outcome: row.get(4).map_err(broken)?,
                detail: row.get(5).map_err(broken)?,
            })
        })
    }

    /// Messages to one recipient that are neither delivered nor given up: P1 first, then oldest first.
    pub fn pending(&self, lane: Lane, channel: &str, recipient: &str, most: usize) -> Result<Vec<Outgoing>, Error> {
        let select = format!(
            "{OUTGOING} WHERE outbox.channel = ?1 AND outbox.recipient = ?2 AND outbox.settled IS NULL AND {}
             ORDER BY outbox.priority, outbox.id LIMIT ?3",
            lane.rows()
        );
        self.rows(&select, params![channel, recipient, most as i64], |row| self.outgoing_of(row))
    }

    /// The same rows for somebody who has some of them: only the others are read whole, so that a long outbox costs
    /// whoever looks into it often no more than its index.
    pub fn pending_beside(
        &self,
        (lane, channel, recipient): (Lane, &str, &str),
        most: usize,
        known: &HashSet<i64>,
    ) -> Result<Pending, Error> {
        let select = format!(
            "SELECT outbox.priority, outbox.id FROM outbox
             WHERE outbox.channel = ?1 AND outbox.recipient = ?2 AND outbox.settled IS NULL AND {}
             ORDER BY outbox.priority, outbox.id LIMIT ?3",
            lane.rows()
        );
        let places = self.rows(&select, params![channel, recipient, most as i64], |row| {
            let broken = |source| Error::Database { path: self.path.clone(), source };
            let word = row.get_ref(0).map_err(broken)?.as_str().unwrap_or_default();
            let priority = Priority::ALL.into_iter().find(|priority| priority.word() == word);
            Ok((priority.unwrap_or(Priority::P4), row.get(1).map_err(broken)?))
        })?;
        let mut new = Vec::new();
        for (_, id) in places.iter().filter(|(_, id)| !known.contains(id)) {
            new.extend(self.outgoing(*id)?);
        }
        Ok(Pending { places, new })
    }

    /// The same rows as a summary counts them.
    pub fn waiting_for(&self, lane: Lane, channel: &str, recipient: &str, most: usize) -> Result<Vec<Waiting>, Error> {
        let select = format!(
            "SELECT outbox.id, changes.alarm, changes.happening, changes.body ->> '$.alarm.priority',
                 changes.body ->> '$.alarm.site', changes.body ->> '$.alarm.standing', steps.kind
             FROM outbox JOIN changes ON changes.id = outbox.change
                 LEFT JOIN calls ON calls.message = outbox.id LEFT JOIN steps ON steps.id = calls.step
             WHERE outbox.channel = ?1 AND outbox.recipient = ?2 AND outbox.settled IS NULL AND {}
             ORDER BY outbox.priority, outbox.id LIMIT ?3",
            lane.rows()
        );
        self.rows(&select, params![channel, recipient, most as i64], |row| {
            let broken = |source| Error::Database { path: self.path.clone(), source };
            let text = |column| row.get::<_, String>(column).map_err(broken);
            let word = text(3)?;
            let priority = Priority::ALL.into_iter().find(|priority| priority.word() == word);
            let (happening, standing) = (text(2)?, text(5)?);
            let raises = Happening::CALLS.iter().any(|raises| raises.word() == happening);
            let active = Standing::ALL.iter().any(|known| known.active() && known.word() == standing);
            let priority = priority.unwrap_or(Priority::P1);
            let step = row.get::<_, Option<String>>(6).map_err(broken)?;
            let called =
                StepKind::ALL.iter().any(|kind| Some(kind.word()) == step.as_deref() && kind.never_waits(priority));
            Ok(Waiting {
                id: row.get(0).map_err(broken)?,
                priority,
                site: text(4)?.into(),
                alarm: OccurrenceId::named(&text(1)?),
                urgent: lane == Lane::Real && (priority == Priority::P1 && raises && active || called),
            })
        })
    }

    /// When messages reached a recipient since then, in order; a summary is one of them.
    pub fn reached(
        &self,
        lane: Lane,
        channel: &str,
        recipient: &str,
        since: Timestamp,
    ) -> Result<Vec<Timestamp>, Error> {
        let select = format!(
            "SELECT DISTINCT attempts.at FROM attempts JOIN outbox ON outbox.id = attempts.message
             WHERE attempts.at >= ?3 AND attempts.outcome = 'delivered' AND outbox.channel = ?1
                 AND outbox.recipient = ?2 AND {} ORDER BY attempts.at",
            lane.rows()
        );
        self.rows(&select, params![channel, recipient, since.micros()], |row| {
            let at = row.get(0).map_err(|source| Error::Database { path: self.path.clone(), source })?;
            Ok(Timestamp::from_micros(at))
        })
    }

    /// Messages to anybody that are neither delivered nor given up: P1 first, then oldest first.
    pub fn undelivered(&self, most: usize) -> Result<Vec<Outgoing>, Error> {
        let select = format!("{OUTGOING} WHERE outbox.settled IS NULL ORDER BY outbox.priority, outbox.id LIMIT ?1");
        self.rows(&select, [most as i64], |row| self.outgoing_of(row))
    }

    /// One message of the outbox, delivered or not.
    pub fn outgoing(&self, row: i64) -> Result<Option<Outgoing>, Error> {
        let found = self.rows(&format!("{OUTGOING} WHERE outbox.id = ?1"), [row], |row| self.outgoing_of(row))?;
        Ok(found.into_iter().next())
    }

    fn outgoing_of(&self, row: &Row<'_>) -> Result<Outgoing, Error> {
        let broken = |source| Error::Database { path: self.path.clone(), source };
        Ok(Outgoing {
            published: self.published(row)?,
            id: row.get(3).map_err(broken)?,
            channel: row.get(4).map_err(broken)?,
            recipient: row.get(5).map_err(broken)?,
            attempts: row.get(6).map_err(broken)?,
            created: Timestamp::from_micros(row.get(7).map_err(broken)?),
            why: match row.get::<_, Option<String>>(8).map_err(broken)? {
                None => None,
                Some(_) => Some(self.json(row, 8)?),
            },
        })
    }

    /// Everybody for whom messages wait: channel and recipient.
    pub fn awaited(&self) -> Result<Vec<(String, String)>, Error> {
        let select = "SELECT DISTINCT channel, recipient FROM outbox WHERE settled IS NULL";
        self.rows(select, [], |row| {
            let broken = |source| Error::Database { path: self.path.clone(), source };
            Ok((row.get(0).map_err(broken)?, row.get(1).map_err(broken)?))
        })
    }

    /// How many messages wait, over all channels.
    pub fn waiting(&self) -> Result<u64, Error> {
        let count = self.rows("SELECT count(*) FROM outbox WHERE settled IS NULL", [], |row| {
            row.get::<_, i64>(0).map_err(|source| Error::Database { path: self.path.clone(), source })
        })?;
        Ok(count.first().copied().unwrap_or(0) as u64)
    }

    /// Work on sensors with its end, if it has ended; the newest first.
    pub fn permits(&self, open: bool, most: usize) -> Result<Vec<(Permit, Option<PermitEnd>)>, Error> {
        let open = if open { "WHERE ended IS NULL" } else { "" };
        let select = format!("SELECT permit, end FROM permits {open} ORDER BY opened DESC, id LIMIT ?1");
        self.rows(&select, [most as i64], |row| {
            let broken = |source| Error::Database { path: self.path.clone(), source };
            let ended = row.get_ref(1).map_err(broken)? != rusqlite::types::ValueRef::Null;
            Ok((self.json(row, 0)?, if ended { Some(self.json(row, 1)?) } else { None }))
        })
    }

    /// When each point was last calibrated.
    pub fn calibrations(&self) -> Result<HashMap<PointIndex, Timestamp>, Error> {
        let rows = self.rows("SELECT point, max(at) FROM calibrations GROUP BY point", [], |row| {
            let broken = |source| Error::Database { path: self.path.clone(), source };
            Ok((PointIndex(row.get(0).map_err(broken)?), Timestamp::from_micros(row.get(1).map_err(broken)?)))
        })?;
        Ok(rows.into_iter().collect())
    }

    /// What sites are doing, where somebody has said so.
    pub fn sites(&self) -> Result<Vec<SiteStanding>, Error> {
        self.rows("SELECT standing FROM sites ORDER BY site", [], |row| self.json(row, 0))
    }

    /// The setup that was last in force.
    pub fn setup(&self) -> Result<Option<Setup>, Error> {
        let found = self.rows("SELECT value FROM meta WHERE key = 'setup'", [], |row| self.json(row, 0))?;
        Ok(found.into_iter().next())
    }

    /// Newest change, and up to which entry facts are complete.
    pub fn standing(&self) -> Result<(i64, u64), Error> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = connection.query_row("SELECT coalesce(max(id), 0) FROM changes", [], |row| row.get(0));
        let applied = connection
            .query_row("SELECT value FROM meta WHERE key = 'applied'", [], |row| row.get::<_, i64>(0))
            .optional();
        match (newest, applied) {
            (Ok(newest), Ok(applied)) => Ok((newest, applied.unwrap_or(0) as u64)),
            (Err(source), _) | (_, Err(source)) => Err(Error::Database { path: self.path.clone(), source }),
        }
    }

    pub(super) fn broken(&self, source: rusqlite::Error) -> Error {
        Error::Database { path: self.path.clone(), source }
    }

    pub(super) fn with<T>(&self, ask: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>) -> Result<T, Error> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        ask(&connection).map_err(|source| self.broken(source))
    }

    pub(super) fn rows<T>(
        &self,
        select: &str,
        values: impl rusqlite::Params,
        mut read: impl FnMut(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let broken = |source| Error::Database { path: self.path.clone(), source };
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let mut select = connection.prepare_cached(select).map_err(broken)?;
        let mut rows = select.query(values).map_err(broken)?;
        let mut list = Vec::new();
        while let Some(row) = rows.next().map_err(broken)? {
            list.push(read(row)?);
        }
        Ok(list)
    }

    pub(super) fn published(&self, row: &Row<'_>) -> Result<Published, Error> {
        let broken = |source| Error::Database { path: self.path.clone(), source };
        let change: AlarmChange = self.json(row, 1)?;
        Ok(Published { id: row.get(0).map_err(broken)?, early: row.get(2).map_err(broken)?, change })
    }

    pub(super) fn json<T: serde::de::DeserializeOwned>(&self, row: &Row<'_>, column: usize) -> Result<T, Error> {
        let text: String = row.get(column).map_err(|source| Error::Database { path: self.path.clone(), source })?;
        serde_json::from_str(&text).map_err(|error| Error::Damaged { path: self.path.clone(), what: error.to_string() })
    }
}
