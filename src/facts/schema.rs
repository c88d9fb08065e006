//! The tables of `facts.db`, and the registry of point numbers.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};

use super::{Error, audit, revision};
use crate::journal::Setup;
use crate::model::{Point, PointIndex};

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS points (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, body TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS alarms (
        id TEXT PRIMARY KEY, rule TEXT NOT NULL, subject TEXT NOT NULL, site TEXT NOT NULL,
        priority TEXT NOT NULL, standing TEXT NOT NULL, raised INTEGER NOT NULL, cleared INTEGER,
        acknowledged_by TEXT, body TEXT NOT NULL) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS alarms_by_time ON alarms (raised);
    CREATE INDEX IF NOT EXISTS alarms_open ON alarms (standing) WHERE standing <> 'normal';
    CREATE TABLE IF NOT EXISTS changes (
        id INTEGER PRIMARY KEY, seq INTEGER NOT NULL, at INTEGER NOT NULL, alarm TEXT NOT NULL,
        happening TEXT NOT NULL, early INTEGER NOT NULL, body TEXT NOT NULL);
    CREATE INDEX IF NOT EXISTS changes_by_alarm ON changes (alarm);
    CREATE INDEX IF NOT EXISTS changes_by_time ON changes (at, alarm);
    CREATE TABLE IF NOT EXISTS outbox (
        id INTEGER PRIMARY KEY, change INTEGER NOT NULL REFERENCES changes (id), channel TEXT NOT NULL,
        recipient TEXT NOT NULL, priority TEXT NOT NULL, created INTEGER NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0, outcome TEXT, settled INTEGER);
    CREATE INDEX IF NOT EXISTS outbox_pending ON outbox (channel, recipient, priority, id) WHERE settled IS NULL;
    CREATE INDEX IF NOT EXISTS outbox_by_change ON outbox (change);
    CREATE INDEX IF NOT EXISTS outbox_by_time ON outbox (created);
    CREATE TABLE IF NOT EXISTS attempts (
        message INTEGER NOT NULL, at INTEGER NOT NULL, outcome TEXT NOT NULL, detail TEXT NOT NULL);
    CREATE INDEX IF NOT EXISTS attempts_by_message ON attempts (message);
    CREATE INDEX IF NOT EXISTS attempts_delivered ON attempts (at) WHERE outcome = 'delivered';
    -- Work on sensors. calibrated: it was a calibration and was carried out.
    CREATE TABLE IF NOT EXISTS permits (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, opened INTEGER NOT NULL, until INTEGER NOT NULL, ended INTEGER,
        calibrated INTEGER NOT NULL DEFAULT 0, permit TEXT NOT NULL, end TEXT) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS permits_open ON permits (until) WHERE ended IS NULL;
    CREATE TABLE IF NOT EXISTS calibrations (
        point INTEGER NOT NULL, at INTEGER NOT NULL, permit TEXT NOT NULL, PRIMARY KEY (point, at)) WITHOUT ROWID;
    -- What sites are doing, where somebody has said so.
    CREATE TABLE IF NOT EXISTS sites (
        site TEXT PRIMARY KEY, state TEXT NOT NULL, since INTEGER NOT NULL, standing TEXT NOT NULL) WITHOUT ROWID;
    -- Limits that people set over the rules', and exemptions from the legal ones.
    CREATE TABLE IF NOT EXISTS limits (
        id TEXT PRIMARY KEY, at INTEGER, ended INTEGER, body TEXT NOT NULL, end TEXT) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS limits_open ON limits (at) WHERE ended IS NULL;
    CREATE TABLE IF NOT EXISTS exemptions (
        id TEXT PRIMARY KEY, at INTEGER NOT NULL, until INTEGER NOT NULL, ended INTEGER, body TEXT NOT NULL,
        end TEXT) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS exemptions_open ON exemptions (until) WHERE ended IS NULL;
    -- Who was called about an alarm, when and why; the messages that followed; and what duty remembers.
    CREATE TABLE IF NOT EXISTS steps (
        id INTEGER PRIMARY KEY, alarm TEXT NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL, level TEXT NOT NULL,
        person TEXT NOT NULL, body TEXT NOT NULL);
    CREATE INDEX IF NOT EXISTS steps_by_alarm ON steps (alarm);
    CREATE INDEX IF NOT EXISTS steps_by_time ON steps (at);
    CREATE TABLE IF NOT EXISTS calls (message INTEGER PRIMARY KEY, step INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS duty (
        kind TEXT NOT NULL, key TEXT NOT NULL, open INTEGER NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (kind, key)) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS duty_open ON duty (kind) WHERE open;
    CREATE TABLE IF NOT EXISTS snapshot (only INTEGER PRIMARY KEY CHECK (only = 1), seq INTEGER NOT NULL, body BLOB NOT NULL);
";

/// Schema version in `PRAGMA user_version`.
const VERSION: i64 = 1;

/// A read-write connection to facts, tables made.
pub(super) fn open(path: &Path) -> Result<Connection, Error> {
    let broken = |source| Error::Database { path: path.to_owned(), source };
    let connection = Connection::open(path).map_err(broken)?;
    connection.busy_timeout(std::time::Duration::from_secs(10)).map_err(broken)?;
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0;")
        .map_err(broken)?;
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(broken)?;
    if version > VERSION {
        let what = format!("it was written by a newer Davy (schema {version}, this one knows {VERSION})");
        return Err(Error::Damaged { path: path.to_owned(), what });
    }
    for tables in [
        TABLES,
        super::aside::TABLES,
        super::exercise::TABLES,
        super::cases::TABLES,
        super::groups::TABLES,
        revision::TABLES,
        audit::TABLES,
        super::publications::TABLES,
    ] {
        connection.execute_batch(tables).map_err(broken)?;
    }
    connection.pragma_update(None, "user_version", VERSION).map_err(broken)?;
    Ok(connection)
}

/// Points with the numbers they keep for ever, and the setup that was last in force.
#[derive(Debug)]
pub struct Registered {
    /// In number order; points that are no longer configured are there, retired.
    pub points: Vec<Point>,
    pub last_setup: Option<Setup>,
}

/// Gives every point its number: the one it always had, or the next free one. Durable before it returns,
/// since samples with these numbers follow.
pub(super) fn register(path: &Path, configured: &[Point]) -> Result<Registered, Error> {
    let broken = |source| Error::Database { path: path.to_owned(), source };
    let damaged = |error: serde_json::Error| Error::Damaged { path: path.to_owned(), what: error.to_string() };
    let mut connection = open(path)?;
    connection.execute_batch("PRAGMA synchronous = FULL").map_err(broken)?;
    let change = connection.transaction().map_err(broken)?;
    let mut next: i64 =
        change.query_row("SELECT coalesce(max(number) + 1, 0) FROM points", [], |row| row.get(0)).map_err(broken)?;
    {
        let mut find = change.prepare("SELECT number FROM points WHERE id = ?1").map_err(broken)?;
        let mut keep = change
            .prepare(
                "INSERT INTO points VALUES (?1, ?2, ?3) ON CONFLICT (number) DO UPDATE SET body = ?3 WHERE body <> ?3",
            )
            .map_err(broken)?;
        for point in configured {
            let known: Option<i64> = find.query_row([&*point.id], |row| row.get(0)).optional().map_err(broken)?;
            let number = known.unwrap_or_else(|| {
                next += 1;
                next - 1
            });
            let body = serde_json::to_string(point).map_err(damaged)?;
            keep.execute(params![number, &*point.id, body]).map_err(broken)?;
        }
    }
    change.commit().map_err(broken)?;
    let ids: std::collections::HashSet<&str> = configured.iter().map(|point| &*point.id).collect();
    let mut select = connection.prepare("SELECT number, body FROM points ORDER BY number").map_err(broken)?;
    let rows = select
        .query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(broken)?;
    let mut points = Vec::with_capacity(rows.len());
    for (number, body) in rows {
        let mut point: Point = serde_json::from_str(&body).map_err(damaged)?;
        point.retired |= !ids.contains(&*point.id);
        if usize::try_from(number) != Ok(points.len()) {
            let what = format!("the registry of points has a gap before {}", PointIndex(points.len() as u32));
            return Err(Error::Damaged { path: path.to_owned(), what });
        }
        points.push(point);
    }
    let last_setup = last_setup(&connection, path)?;
    Ok(Registered { points, last_setup })
}

/// The setup that was last in force.
pub(super) fn last_setup(connection: &Connection, path: &Path) -> Result<Option<Setup>, Error> {
    let setup: Option<String> = connection
        .query_row("SELECT value FROM meta WHERE key = 'setup'", [], |row| row.get(0))
        .optional()
        .map_err(|source| Error::Database { path: path.to_owned(), source })?;
    let read = setup.map(|text| serde_json::from_str(&text)).transpose();
    read.map_err(|error| Error::Damaged { path: path.to_owned(), what: error.to_string() })
}
