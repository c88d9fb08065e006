//! `online.db`: the on-line rate (在线率) of each site, over time and over restarts.
//!
//! In come the newest samples of all points, looked at once a minute; out go, for each site and any span, how many
//! minutes of points were required, how many were live and how many of them good. Minutes for which the gateway did
//! not run were required and are neither: an outage of its own is no holiday. Sums stand in slots of an hour for 400
//! days. A file that cannot be read is put aside and a new one begun: counting holds up nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};

use crate::board::{Freshness, freshness};
use crate::coverage;
use crate::losses::open_or_put_aside;
use crate::model::{PointTable, Sample, Timestamp};

const HOUR: i64 = 3_600;
/// Older slots go; a longer outage counts as long.
const KEPT: i64 = 400 * 86_400;

const TABLES: &str = "
    PRAGMA journal_mode = WAL;
    CREATE TABLE IF NOT EXISTS online (
        slot INTEGER NOT NULL, site TEXT NOT NULL, required INTEGER NOT NULL, live INTEGER NOT NULL,
        good INTEGER NOT NULL, PRIMARY KEY (slot, site)) WITHOUT ROWID;
    -- The minute that was last looked at.
    CREATE TABLE IF NOT EXISTS looked (only INTEGER PRIMARY KEY CHECK (only = 1), minute INTEGER NOT NULL);
    PRAGMA user_version = 1;
";

#[derive(Debug, thiserror::Error)]
#[error("on-line rate {path}: {source}", path = path.display())]
pub struct Error {
    path: PathBuf,
    #[source]
    source: rusqlite::Error,
}

/// Minutes of points of one site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Minutes {
    /// Of all points in service.
    pub required: u64,
    /// Heard within their periods.
    pub live: u64,
    /// Live, of quality good, measured now and for real.
    pub good: u64,
}

impl Minutes {
    pub const fn add(&mut self, other: Self) {
        self.required += other.required;
        self.live += other.live;
        self.good += other.good;
    }
}

#[derive(Debug)]
pub struct Online {
    connection: Mutex<Connection>,
    path: PathBuf,
}

impl Online {
    /// Opens or begins the file. One that cannot be opened is put aside.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let broken = |source| Error { path: path.to_owned(), source };
        let connection = open_or_put_aside(path, TABLES).map_err(broken)?;
        Ok(Self { connection: Mutex::new(connection), path: path.to_owned() })
    }

    /// Looks at all points, once in a minute of the clock; `latest` is in index order. Does nothing in a minute that
    /// was looked at, nor while the clock is behind what was.
    pub fn look(&self, table: &PointTable, latest: &[Option<Sample>], now: Timestamp) -> Result<(), Error> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        note(&mut connection, table, latest, now).map_err(|source| self.broken(source))
    }

    /// By site, from the beginning of the hour in which the span begins.
    pub fn between(&self, from: Timestamp, to: Timestamp) -> Result<BTreeMap<Arc<str>, Minutes>, Error> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        sums(&connection, from, to).map_err(|source| self.broken(source))
    }

    fn broken(&self, source: rusqlite::Error) -> Error {
        Error { path: self.path.clone(), source }
    }
}

fn second(at: Timestamp) -> i64 {
    at.micros().div_euclid(1_000_000)
}

fn note(
    connection: &mut Connection,
    table: &PointTable,
    latest: &[Option<Sample>],
    now: Timestamp,
) -> Result<(), rusqlite::Error> {
    let minute = second(now).div_euclid(60);
    let last: Option<i64> = connection.query_row("SELECT minute FROM looked", [], |row| row.get(0)).optional()?;
    if last.is_some_and(|last| minute <= last) {
        return Ok(());
    }
    let seen = survey(table, latest, now);
    let change = connection.transaction()?;
    let first = last.map_or(minute, |last| (last + 1).max(minute - KEPT / 60));
    for (slot, minutes) in by_slot(first, minute) {
        for (site, of) in &seen {
            add(&change, slot, site, Minutes { required: of.required * minutes, ..Minutes::default() })?;
        }
    }
    let slot = second(now) - second(now).rem_euclid(HOUR);
    for (site, of) in &seen {
        add(&change, slot, site, *of)?;
    }
    change.execute("INSERT OR REPLACE INTO looked VALUES (1, ?1)", [minute])?;
    change.execute("DELETE FROM online WHERE slot < ?1", [slot - KEPT])?;
    change.commit()
}

/// How many of the minutes lie in each hour; the second one is not among them.
fn by_slot(from: i64, to: i64) -> BTreeMap<i64, u64> {
    let mut slots = BTreeMap::new();
    for minute in from..to {
        *slots.entry((minute * 60) - (minute * 60).rem_euclid(HOUR)).or_default() += 1;
    }
    slots
}

fn survey<'a>(table: &'a PointTable, latest: &[Option<Sample>], now: Timestamp) -> BTreeMap<&'a str, Minutes> {
    let mut sites: BTreeMap<&str, Minutes> = BTreeMap::new();
    for (index, point) in table.iter().filter(|(_, point)| !point.retired) {
        let sample = latest.get(index.at()).and_then(Option::as_ref);
        let live = freshness(point, sample, now) == Freshness::Live;
        let good = coverage::is_good(point, sample, now);
        let of = Minutes { required: 1, live: u64::from(live), good: u64::from(good) };
        sites.entry(&*point.site).or_default().add(of);
    }
    sites
}

fn add(change: &Connection, slot: i64, site: &str, of: Minutes) -> Result<(), rusqlite::Error> {
    let mut add = change.prepare_cached(
        "INSERT INTO online VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET
             required = required + excluded.required, live = live + excluded.live, good = good + excluded.good",
    )?;
    add.execute(params![slot, site, of.required as i64, of.live as i64, of.good as i64]).map(drop)
}

fn sums(
    connection: &Connection,
    from: Timestamp,
    to: Timestamp,
) -> Result<BTreeMap<Arc<str>, Minutes>, rusqlite::Error> {
    let mut select = connection.prepare_cached(
        "SELECT site, sum(required), sum(live), sum(good) FROM online WHERE slot >= ?1 AND slot < ?2 GROUP BY site",
    )?;
    let begin = second(from) - second(from).rem_euclid(HOUR);
    let rows = select.query_map([begin, second(to)], |row| {
        let count = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
        Ok((row.get::<_, String>(0)?.into(), Minutes { required: count(1)?, live: count(2)?, good: count(3)? }))
    })?;
    rows.collect()
}

#[cfg(test)]
mod tests;
