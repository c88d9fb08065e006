//! `losses.db`: the loss ledger over time, and over restarts.
//!
//! In come the counters of the [`Ledger`](crate::ledger::Ledger), every ten seconds; out go sums over any
//! span, by source and reason and by point. Sums of a source stand in slots of a minute for two days, then of
//! an hour; those of a point stand in slots of an hour from the beginning. Bounded: after 400 days a slot
//! goes, and when there are too many rows the oldest ones of points go, never those of sources before their
//! time. A crash loses what was counted since the last write, ten seconds at the most. A file that cannot be
//! read is put aside and a new one begun: counting losses holds up nothing.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, params};
use tracing::warn;

use crate::clock;
use crate::ledger::{Fate, Ledger};
use crate::model::{PointIndex, PointTable, Timestamp};

/// Counters are written down this often.
pub const EVERY: Duration = Duration::from_secs(10);
const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;
/// Slots of a minute that are older than this become slots of an hour.
const MINUTES_KEPT: i64 = 48 * HOUR;
/// Older slots go.
const KEPT: i64 = 400 * 86_400;
/// More rows than this, about 40 MB, and the oldest of points go.
const MOST_ROWS: i64 = 500_000;

const TABLES: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS losses (
        slot INTEGER NOT NULL, source TEXT NOT NULL, point TEXT NOT NULL, fate TEXT NOT NULL,
        count INTEGER NOT NULL, PRIMARY KEY (slot, source, point, fate)) WITHOUT ROWID;
    PRAGMA user_version = 1;
";

#[derive(Debug, thiserror::Error)]
#[error("losses {path}: {source}", path = path.display())]
pub struct Error {
    path: PathBuf,
    #[source]
    source: rusqlite::Error,
}

/// A question: losses in a span, of one source or point if named.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub from: Timestamp,
    pub to: Timestamp,
    pub source: Option<String>,
    pub point: Option<String>,
    /// Points named in the answer; those that lost most come first.
    pub most: usize,
}

/// A sum; `point` is empty where it is of the whole source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    pub source: String,
    pub point: String,
    pub fate: Fate,
    pub count: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// From the beginning of the slot in which the question begins.
    pub from: Timestamp,
    /// Sums of sources, accepted samples among them; of one point when one was named.
    pub sums: Vec<Loss>,
    /// Sums of points, the largest first.
    pub points: Vec<Loss>,
    /// There are more points with losses.
    pub more: bool,
    /// Everything lost in each slot that has losses, oldest first.
    pub slots: Vec<(Timestamp, u64)>,
}

/// The open file, and what of the counters is in it.
#[derive(Debug)]
pub struct Losses {
    state: Mutex<State>,
    ledger: Arc<Ledger>,
    path: PathBuf,
}

#[derive(Debug)]
struct State {
    connection: Connection,
    /// Counted and written, by account, point and fate.
    written: HashMap<(String, Option<PointIndex>, Fate), u64>,
    /// Rows, or more: counted anew before anything is given up.
    rows: i64,
    most_rows: i64,
    /// The hour that was last tidied up.
    tidied: i64,
}

impl Losses {
    /// Opens or begins the file. One that cannot be opened is put aside.
    pub fn open(path: &Path, ledger: Arc<Ledger>) -> Result<Self, Error> {
        let broken = |source| Error { path: path.to_owned(), source };
        let connection = open_or_put_aside(path, TABLES).map_err(broken)?;
        let rows = connection.query_row("SELECT count(*) FROM losses", [], |row| row.get(0)).map_err(broken)?;
        let state = State { connection, written: HashMap::new(), rows, most_rows: MOST_ROWS, tidied: 0 };
        Ok(Self { state: Mutex::new(state), ledger, path: path.to_owned() })
    }

    /// Writes down what the counters gained. After an error nothing is written, and nothing is forgotten.
    pub fn flush(&self, table: &PointTable, now: Timestamp) -> Result<(), Error> {
        let mut state = self.state();
        state.flush(&self.ledger, table, now).map_err(|source| Error { path: self.path.clone(), source })
    }

    /// Sums over a span, up to this moment.
    pub fn ask(&self, asked: &Asked, table: &PointTable, now: Timestamp) -> Result<Told, Error> {
        let mut state = self.state();
        let answer = state.flush(&self.ledger, table, now).and_then(|()| tell(&state.connection, asked, now));
        answer.map_err(|source| Error { path: self.path.clone(), source })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file with these tables. One that cannot be opened is put aside, and a new one begins.
pub(crate) fn open_or_put_aside(path: &Path, tables: &str) -> Result<Connection, rusqlite::Error> {
    match begin(path, tables) {
        Ok(connection) => Ok(connection),
        Err(cause) => {
            let aside = path.with_extension(format!("db.damaged-{}", clock::now().micros()));
            let (file, moved) = (path.display(), aside.display());
            warn!(%cause, %file, aside = %moved, "a file of counters cannot be read: it is put aside, a new one begins");
            std::fs::rename(path, &aside).ok();
            for more in ["db-wal", "db-shm"] {
                std::fs::remove_file(path.with_extension(more)).ok();
            }
            begin(path, tables)
        }
    }
}

fn begin(path: &Path, tables: &str) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.execute_batch(tables)?;
    Ok(connection)
}

/// The same question to the file of a gateway that may run or not; nothing is written.
pub fn read(path: &Path, asked: &Asked, now: Timestamp) -> Result<Told, Error> {
    let broken = |source| Error { path: path.to_owned(), source };
    let connection = Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(broken)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(broken)?;
    tell(&connection, asked, now).map_err(broken)
}

impl State {
    fn flush(&mut self, ledger: &Ledger, table: &PointTable, now: Timestamp) -> Result<(), rusqlite::Error> {
        let second = now.micros().div_euclid(1_000_000);
        let (minute, hour) = (second - second.rem_euclid(MINUTE), second - second.rem_euclid(HOUR));
        let mut gained = Vec::new();
        for account in ledger.accounts() {
            let name = &account.name;
            for ((index, fate), count) in account.by_point() {
                let of = (name.clone(), Some(index), fate);
                let point = table.get(index).map_or_else(|| format!("#{}", index.0), |point| point.id.to_string());
                gained.push((of, hour, point, count));
            }
            gained
                .extend(account.seen().map(|(fate, count)| ((name.clone(), None, fate), minute, String::new(), count)));
        }
        gained.retain(|(of, _, _, count)| self.written.get(of) != Some(count));
        let change = self.connection.transaction()?;
        {
            let mut add = change.prepare_cached(
                "INSERT INTO losses VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT DO UPDATE SET count = count + excluded.count",
            )?;
            for (of, slot, point, count) in &gained {
                let more = count - self.written.get(of).copied().unwrap_or(0);
                add.execute(params![slot, of.0, point, of.2.word(), i64::try_from(more).unwrap_or(i64::MAX)])?;
            }
        }
        if self.tidied != hour {
            tidy(&change, second)?;
        }
        let mut rows = self.rows + gained.len() as i64;
        if rows > self.most_rows {
            rows = shrink(&change, self.most_rows)?;
        }
        change.commit()?;
        (self.rows, self.tidied) = (rows, hour);
        self.written.extend(gained.into_iter().map(|(of, _, _, count)| (of, count)));
        Ok(())
    }
}

/// Minutes into hours, and the oldest away.
fn tidy(change: &Connection, second: i64) -> Result<(), rusqlite::Error> {
    let fold = second - MINUTES_KEPT;
    let fold = fold - fold.rem_euclid(HOUR);
    change.execute(
        "INSERT INTO losses SELECT slot - slot % 3600, source, point, fate, sum(count) FROM losses
         WHERE slot < ?1 AND slot % 3600 <> 0 GROUP BY 1, 2, 3, 4
         ON CONFLICT DO UPDATE SET count = count + excluded.count",
        [fold],
    )?;
    change.execute("DELETE FROM losses WHERE slot < ?1 AND slot % 3600 <> 0", [fold])?;
    change.execute("DELETE FROM losses WHERE slot < ?1", [second - KEPT])?;
    Ok(())
}

/// Gives up the oldest rows of points until a tenth is free; returns how many rows are left.
fn shrink(change: &Connection, most: i64) -> Result<i64, rusqlite::Error> {
    let rows: i64 = change.query_row("SELECT count(*) FROM losses", [], |row| row.get(0))?;
    if rows <= most {
        return Ok(rows);
    }
    let gone = change.execute(
        "DELETE FROM losses WHERE (slot, source, point, fate) IN
             (SELECT slot, source, point, fate FROM losses WHERE point <> '' ORDER BY slot LIMIT ?1)",
        [rows - most + most / 10],
    )?;
    warn!(rows = gone, "losses.db is full: the oldest losses of points are given up; those of sources stay");
    Ok(rows - gone as i64)
}

fn tell(connection: &Connection, asked: &Asked, now: Timestamp) -> Result<Told, rusqlite::Error> {
    let second = |at: Timestamp| at.micros().div_euclid(1_000_000);
    let folded = second(asked.from) < second(now) - MINUTES_KEPT || asked.point.is_some();
    let grain = if folded { HOUR } else { MINUTE };
    let from = second(asked.from) - second(asked.from).rem_euclid(grain);
    let to = second(asked.to);
    let sums = |which: &str, most: usize, from: i64| -> Result<Vec<Loss>, rusqlite::Error> {
        let select = format!(
            "SELECT source, point, fate, sum(count) FROM losses
             WHERE slot BETWEEN ?1 AND ?2 AND (?3 IS NULL OR source = ?3) AND {which} GROUP BY 1, 2, 3
             ORDER BY 4 DESC, 1, 2, 3 LIMIT ?5"
        );
        let mut select = connection.prepare_cached(&select)?;
        let values = params![from, to, asked.source, asked.point, i64::try_from(most).unwrap_or(i64::MAX)];
        let rows = select.query_map(values, |row| {
            let (word, count): (String, i64) = (row.get(2)?, row.get(3)?);
            Ok((row.get(0)?, row.get(1)?, word, count))
        })?;
        let mut list = Vec::new();
        for row in rows {
            let (source, point, word, count) = row?;
            // A word of a newer Davy is not known here.
            if let Some(fate) = Fate::from_word(&word) {
                list.push(Loss { source, point, fate, count: count.unsigned_abs() });
            }
        }
        Ok(list)
    };
    let totals = sums("point = coalesce(?4, '')", usize::MAX >> 1, from)?;
    let mut points = sums("point <> '' AND ?4 IS NULL", asked.most + 1, from - from.rem_euclid(HOUR))?;
    let more = points.len() > asked.most;
    points.truncate(asked.most);
    let mut select = connection.prepare_cached(
        "SELECT slot, sum(count) FROM losses
         WHERE slot BETWEEN ?1 AND ?2 AND (?3 IS NULL OR source = ?3) AND point = coalesce(?4, '')
               AND fate <> 'accepted' GROUP BY slot ORDER BY slot",
    )?;
    let slots = select
        .query_map(params![from, to, asked.source, asked.point], |row| {
            Ok((Timestamp::from_secs(row.get(0)?), row.get::<_, i64>(1)?.unsigned_abs()))
        })?
        .collect::<Result<_, _>>()?;
    Ok(Told { from: Timestamp::from_secs(from), sums: totals, points, more, slots })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Kind, Point};

    fn table() -> PointTable {
        let point = |id: &str| Point {
            id: id.into(),
            site: "mine".into(),
            name: id.into(),
            kind: Kind::Methane,
            place: String::new(),
            unit: "%VOL".into(),
            range: None,
            resolution: 0.01,
            period: Duration::from_secs(5),
            limits: std::collections::BTreeMap::new(),
            coordinates: None,
            static_risk: 0,
            calibrate_every: None,
            relations: std::collections::BTreeMap::new(),
            retired: false,
        };
        PointTable::new(vec![point("mine.t0"), point("mine.t1")])
    }

    const DAY: i64 = 20_000 * 86_400;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_secs(DAY + second)
    }

    fn asked(from: i64, to: i64) -> Asked {
        Asked { from: at(from), to: at(to), most: 10, ..Asked::default() }
    }

    fn counts(told: &Told) -> Vec<(&str, &str, &str, u64)> {
        let all = told.sums.iter().chain(&told.points);
        all.map(|loss| (loss.source.as_str(), loss.point.as_str(), loss.fate.word(), loss.count)).collect()
    }

    #[test]
    fn losses_are_there_after_a_restart_and_are_counted_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("losses.db");
        for run in 1..=2 {
            let ledger = Arc::new(Ledger::default());
            let losses = Losses::open(&path, ledger.clone()).unwrap();
            ledger.account("mqtt").add(Fate::NotJson, 2);
            ledger.account("mqtt").add(Fate::Accepted, 9);
            ledger.account("modbus").lost(PointIndex(1), Fate::BadValue, 3);
            losses.flush(&table(), at(5)).unwrap();
            losses.flush(&table(), at(15)).unwrap();
            let told = losses.ask(&asked(0, 60), &table(), at(20)).unwrap();
            assert_eq!(
                counts(&told),
                [
                    ("mqtt", "", "accepted", 9 * run),
                    ("modbus", "", "bad_value", 3 * run),
                    ("mqtt", "", "not_json", 2 * run),
                    ("modbus", "mine.t1", "bad_value", 3 * run),
                ]
            );
            assert_eq!(told.slots, [(at(0), 5 * run)], "accepted samples are no loss");
        }
        let point = Asked { point: Some("mine.t1".into()), ..asked(0, 60) };
        let told = read(&path, &point, at(20)).unwrap();
        assert_eq!(counts(&told), [("modbus", "mine.t1", "bad_value", 6)]);
        let source = Asked { source: Some("mqtt".into()), ..asked(0, 60) };
        assert_eq!(counts(&read(&path, &source, at(20)).unwrap()).len(), 2);
    }

    #[test]
    fn a_span_holds_its_own_slots_and_old_minutes_become_hours() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Arc::new(Ledger::default());
        let losses = Losses::open(&folder.path().join("losses.db"), ledger.clone()).unwrap();
        for minute in 0..120 {
            ledger.account("mqtt").one(Fate::Late);
            losses.flush(&table(), at(minute * 60)).unwrap();
        }
        let sum = |from, to, now| {
            let told = losses.ask(&asked(from, to), &table(), at(now)).unwrap();
            (told.sums.iter().map(|loss| loss.count).sum::<u64>(), told.slots.len())
        };
        assert_eq!(sum(600, 1_199, 7_200), (10, 10));
        assert_eq!(sum(0, 7_200, 7_200), (120, 120));
        let later = 49 * 3_600 + 7_200;
        assert_eq!(sum(0, 7_200, later), (120, 2), "two days later the same sum stands in hours");
        assert_eq!(sum(600, 3_599, later), (60, 1), "and a question within an hour gets the hour");
        let year = 401 * 86_400;
        assert_eq!(sum(0, 7_200, year), (0, 0));
    }

    #[test]
    fn when_there_are_too_many_rows_the_oldest_of_points_go_and_sums_stay() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Arc::new(Ledger::default());
        let losses = Losses::open(&folder.path().join("losses.db"), ledger.clone()).unwrap();
        losses.state().most_rows = 100;
        for hour in 0..100 {
            ledger.account("modbus").lost(PointIndex(hour % 2), Fate::BadValue, 1);
            losses.flush(&table(), at(i64::from(hour) * 3_600)).unwrap();
        }
        let told = losses.ask(&asked(0, 100 * 3_600), &table(), at(100 * 3_600)).unwrap();
        assert_eq!(told.sums.iter().map(|loss| loss.count).sum::<u64>(), 100);
        assert!(told.points.iter().map(|loss| loss.count).sum::<u64>() < 20);
        assert!(losses.state().rows <= 110);
    }

    #[test]
    fn a_damaged_file_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("losses.db");
        std::fs::write(&path, "this is no database, and it is long enough to be looked at as one").unwrap();
        let losses = Losses::open(&path, Arc::default()).unwrap();
        losses.flush(&table(), at(0)).unwrap();
        let names: Vec<String> =
            folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert!(names.iter().any(|name| name.starts_with("losses.db.damaged-")), "{names:?}");
    }
}
