//! `index.db`: the truth about which files count, and its picture in memory for readers.
//!
//! In come changes (files added, replaced, retired; the entry number that is safe); out goes a [`Catalog`].
//! A change is one transaction with synchronous FULL, and the picture changes only after it.
//! Never: a file unlinked while a query still holds it; the last holder unlinks it.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rusqlite::{Connection, params};

use crate::journal::Seq;
use crate::model::Timestamp;

use super::row::date_text;
use super::{Error, Step};

const VERSION: i64 = 1;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS file (
        path TEXT PRIMARY KEY,          -- below this folder
        kind TEXT NOT NULL,             -- raw, 5min, 1h
        day INTEGER NOT NULL,           -- days since 1970, UTC
        date TEXT NOT NULL,
        level INTEGER NOT NULL,         -- how often it was merged
        first_seq INTEGER NOT NULL,
        last_seq INTEGER NOT NULL,
        min_time INTEGER NOT NULL,      -- microseconds since 1970
        max_time INTEGER NOT NULL,
        rows INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        written_at INTEGER NOT NULL,
        of_version INTEGER NOT NULL,    -- rollups: the version of the day's raw samples, and of the day before
        of_before INTEGER NOT NULL
    ) WITHOUT ROWID;
    -- version: grows with every flush into the day. retired: raw samples are gone, rollups stay as they are.
    -- From tick to tick, microseconds: outside of these Davy was not running, and nothing was silent.
    CREATE TABLE IF NOT EXISTS listened (since INTEGER PRIMARY KEY, until INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS day (day INTEGER PRIMARY KEY, date TEXT NOT NULL, version INTEGER NOT NULL, retired INTEGER NOT NULL);
";

/// Raw samples, or rollups of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    Raw,
    Rolled(Step),
}

impl FileKind {
    /// The folder's name, too.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Rolled(step) => step.word(),
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Raw, Self::Rolled(Step::FiveMinutes), Self::Rolled(Step::Hour)]
            .into_iter()
            .find(|kind| kind.word() == word)
    }
}

/// A file that counts.
#[derive(Debug)]
pub(super) struct Stored {
    /// Below the history folder, with `/`.
    pub name: String,
    pub path: PathBuf,
    pub kind: FileKind,
    pub day: i64,
    pub level: u32,
    pub first_seq: Seq,
    pub last_seq: Seq,
    pub min_time: i64,
    pub max_time: i64,
    pub rows: u64,
    pub bytes: u64,
    pub written_at: Timestamp,
    pub of_version: i64,
    pub of_before: i64,
    gone: AtomicBool,
    damaged: AtomicBool,
}

impl Stored {
    #[expect(clippy::too_many_arguments, reason = "one per column of the index")]
    pub fn new(
        folder: &Path,
        name: String,
        kind: FileKind,
        day: i64,
        level: u32,
        (first_seq, last_seq): (Seq, Seq),
        written: &super::write::Written,
        (of_version, of_before): (i64, i64),
    ) -> Self {
        Self {
            path: folder.join(&name),
            name,
            kind,
            day,
            level,
            first_seq,
            last_seq,
            min_time: written.min_time,
            max_time: written.max_time,
            rows: written.rows,
            bytes: written.bytes,
            written_at: crate::clock::now(),
            of_version,
            of_before,
            gone: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
        }
    }

    /// It could not be read once; queries still try, compaction leaves it alone.
    pub fn is_damaged(&self) -> bool {
        self.damaged.load(Relaxed)
    }

    /// True the first time.
    pub fn mark_damaged(&self) -> bool {
        !self.damaged.swap(true, Relaxed)
    }

    /// It could be read after all: somebody restored it.
    pub fn mark_sound(&self) {
        if self.damaged.swap(false, Relaxed) {
            tracing::info!(path = %self.path.display(), "a damaged history file can be read again");
        }
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        if self.gone.load(Relaxed)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "a replaced history file could not be removed; the next start tries again");
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Day {
    pub version: i64,
    pub retired: bool,
}

/// The index as readers see it.
#[derive(Clone, Debug, Default)]
pub(super) struct Catalog {
    pub raw: BTreeMap<i64, Vec<Arc<Stored>>>,
    /// By [`Step`], by day.
    pub rolled: [BTreeMap<i64, Arc<Stored>>; 2],
    pub days: BTreeMap<i64, Day>,
    pub flushed: Seq,
    pub newest_received: Timestamp,
    pub duplicates: u64,
    pub retired: u64,
}

impl Catalog {
    pub fn day(&self, day: i64) -> Day {
        self.days.get(&day).copied().unwrap_or_default()
    }

    /// The rollup file of a day, if nothing was added to its samples since. The day before counts, because
    /// its last sample speaks for the first moments of this one.
    pub fn fresh_rollup(&self, step: Step, day: i64) -> Option<&Arc<Stored>> {
        let file = self.rolled[step as usize].get(&day)?;
        let (own, before) = (self.day(day), self.day(day - 1));
        let fresh =
            own.retired || (file.of_version == own.version && (before.retired || file.of_before == before.version));
        fresh.then_some(file)
    }

    fn files(&self) -> impl Iterator<Item = &Arc<Stored>> {
        self.raw.values().flatten().chain(self.rolled.iter().flat_map(BTreeMap::values))
    }

    fn add(&mut self, file: Arc<Stored>) {
        match file.kind {
            FileKind::Raw => self.raw.entry(file.day).or_default().push(file),
            FileKind::Rolled(step) => drop(self.rolled[step as usize].insert(file.day, file)),
        }
    }

    fn remove(&mut self, file: &Arc<Stored>) {
        match file.kind {
            FileKind::Raw => {
                if let Some(files) = self.raw.get_mut(&file.day) {
                    files.retain(|kept| !Arc::ptr_eq(kept, file));
                    if files.is_empty() {
                        self.raw.remove(&file.day);
                    }
                }
            }
            FileKind::Rolled(step) => {
                let rolled = &mut self.rolled[step as usize];
                if rolled.get(&file.day).is_some_and(|kept| Arc::ptr_eq(kept, file)) {
                    rolled.remove(&file.day);
                }
            }
        }
    }

    /// What the transaction did, done to the picture.
    pub fn apply(&mut self, change: &Change) {
        for file in &change.remove {
            file.gone.store(true, Relaxed);
            self.remove(file);
        }
        for file in &change.add {
            self.add(file.clone());
        }
        for day in &change.touched {
            self.days.entry(*day).or_default().version += 1;
        }
        for day in &change.retired_days {
            self.days.entry(*day).or_default().retired = true;
        }
        for day in &change.forgotten_days {
            self.days.remove(day);
        }
        if let Some((seq, received)) = change.flushed {
            self.flushed = seq;
            self.newest_received = self.newest_received.max(received);
        }
        self.duplicates += change.duplicates;
        self.retired += change.retired_rows;
    }
}

/// One transaction.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub add: Vec<Arc<Stored>>,
    /// Before `add`.
    pub remove: Vec<Arc<Stored>>,
    /// Days whose raw samples grew.
    pub touched: Vec<i64>,
    pub retired_days: Vec<i64>,
    pub forgotten_days: Vec<i64>,
    pub flushed: Option<(Seq, Timestamp)>,
    pub listened: Vec<(Timestamp, Timestamp)>,
    pub duplicates: u64,
    pub retired_rows: u64,
}

#[derive(Debug)]
pub(super) struct Index {
    folder: PathBuf,
    path: PathBuf,
    database: Connection,
}

impl Index {
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("index.db");
        let fault = |source| Error::Index { path: path.clone(), source };
        let database = Connection::open(&path).map_err(fault)?;
        database.busy_timeout(std::time::Duration::from_secs(10)).map_err(fault)?;
        database.pragma_update(None, "journal_mode", "WAL").map_err(fault)?;
        database.pragma_update(None, "synchronous", "FULL").map_err(fault)?;
        let found: i64 = database.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(fault)?;
        if found > VERSION {
            return Err(Error::Newer { path, found, known: VERSION });
        }
        if found == 0 {
            // Without the index every file would look like a leftover, and months would be swept away.
            let files = files_below(folder)?.len();
            if files > 0 {
                return Err(Error::IndexLost { path, files });
            }
        }
        database.execute_batch(TABLES).map_err(fault)?;
        database.pragma_update(None, "user_version", VERSION).map_err(fault)?;
        Ok(Self { folder: folder.to_owned(), path: path.clone(), database })
    }

    /// For a look from outside: changes nothing, and needs no leave of whoever writes.
    pub fn look(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("index.db");
        let fault = |source| Error::Index { path: path.clone(), source };
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let database = Connection::open_with_flags(&path, flags).map_err(fault)?;
        database.busy_timeout(std::time::Duration::from_secs(10)).map_err(fault)?;
        let found: i64 = database.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(fault)?;
        if found > VERSION {
            return Err(Error::Newer { path, found, known: VERSION });
        }
        Ok(Self { folder: folder.to_owned(), path: path.clone(), database })
    }

    /// When Davy listened, in order; nothing from histories of before that was recorded.
    pub fn listened(&self) -> Result<Vec<(Timestamp, Timestamp)>, Error> {
        let read = || -> rusqlite::Result<Vec<(Timestamp, Timestamp)>> {
            if !self.database.table_exists(None, "listened")? {
                return Ok(Vec::new());
            }
            let mut query = self.database.prepare("SELECT since, until FROM listened ORDER BY since")?;
            let spans = query
                .query_map([], |row| Ok((Timestamp::from_micros(row.get(0)?), Timestamp::from_micros(row.get(1)?))))?;
            spans.collect()
        };
        read().map_err(self.fault())
    }

    fn fault(&self) -> impl Fn(rusqlite::Error) -> Error + '_ {
        |source| Error::Index { path: self.path.clone(), source }
    }

    fn flushed(&self) -> Result<Seq, Error> {
        self.state("flushed_seq").map(|value| value.unwrap_or(0) as Seq)
    }

    /// Is this file recorded?
    pub fn holds(&self, name: &str) -> Result<bool, Error> {
        let mut query = self.database.prepare_cached("SELECT 1 FROM file WHERE path = ?").map_err(self.fault())?;
        query.exists([name]).map_err(self.fault())
    }

    fn state(&self, name: &str) -> Result<Option<i64>, Error> {
        let mut query = self.database.prepare_cached("SELECT value FROM state WHERE name = ?").map_err(self.fault())?;
        let mut rows = query.query([name]).map_err(self.fault())?;
        rows.next().and_then(|row| row.map(|row| row.get(0)).transpose()).map_err(self.fault())
    }

    pub fn catalog(&self) -> Result<Catalog, Error> {
        let mut catalog = Catalog {
            flushed: self.flushed()?,
            newest_received: Timestamp::from_micros(self.state("newest_received")?.unwrap_or(i64::MIN)),
            duplicates: self.state("duplicates")?.unwrap_or(0) as u64,
            retired: self.state("retired")?.unwrap_or(0) as u64,
            ..Catalog::default()
        };
        for file in self.read_files().map_err(self.fault())? {
            catalog.add(Arc::new(file));
        }
        catalog.days = self.read_days().map_err(self.fault())?;
        Ok(catalog)
    }

    fn read_files(&self) -> rusqlite::Result<Vec<Stored>> {
        let mut query = self.database.prepare(
            "SELECT path, kind, day, level, first_seq, last_seq, min_time, max_time, rows, bytes, written_at, of_version, of_before
             FROM file ORDER BY day, first_seq, path",
        )?;
        let files = query.query_map([], |row| {
            let name: String = row.get(0)?;
            let word: String = row.get(1)?;
            let kind = FileKind::from_word(&word).ok_or(rusqlite::Error::InvalidQuery)?;
            Ok(Stored {
                path: self.folder.join(&name),
                name,
                kind,
                day: row.get(2)?,
                level: row.get(3)?,
                first_seq: row.get::<_, i64>(4)? as Seq,
                last_seq: row.get::<_, i64>(5)? as Seq,
                min_time: row.get(6)?,
                max_time: row.get(7)?,
                rows: row.get::<_, i64>(8)? as u64,
                bytes: row.get::<_, i64>(9)? as u64,
                written_at: Timestamp::from_micros(row.get(10)?),
                of_version: row.get(11)?,
                of_before: row.get(12)?,
                gone: AtomicBool::new(false),
                damaged: AtomicBool::new(false),
            })
        })?;
        files.collect()
    }

    fn read_days(&self) -> rusqlite::Result<BTreeMap<i64, Day>> {
        let mut query = self.database.prepare("SELECT day, version, retired FROM day")?;
        let days = query.query_map([], |row| Ok((row.get(0)?, Day { version: row.get(1)?, retired: row.get(2)? })))?;
        days.collect()
    }

    /// Durable when it returns `Ok`; when it fails, `holds` says whether it happened.
    pub fn commit(&mut self, change: &Change) -> Result<(), Error> {
        let path = self.path.clone();
        write(&mut self.database, change).map_err(|source| Error::Index { path, source })
    }
}

fn write(database: &mut Connection, change: &Change) -> rusqlite::Result<()> {
    let transaction = database.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for file in &change.remove {
        transaction.execute("DELETE FROM file WHERE path = ?", [&file.name])?;
    }
    for file in &change.add {
        transaction.execute(
            "INSERT INTO file VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                file.name,
                file.kind.word(),
                file.day,
                date_text(file.day),
                file.level,
                file.first_seq as i64,
                file.last_seq as i64,
                file.min_time,
                file.max_time,
                file.rows as i64,
                file.bytes as i64,
                file.written_at.micros(),
                file.of_version,
                file.of_before,
            ],
        )?;
    }
    for day in &change.touched {
        transaction.execute(
            "INSERT INTO day VALUES (?, ?, 1, 0) ON CONFLICT (day) DO UPDATE SET version = version + 1",
            params![day, date_text(*day)],
        )?;
    }
    for day in &change.retired_days {
        transaction.execute(
            "INSERT INTO day VALUES (?, ?, 0, 1) ON CONFLICT (day) DO UPDATE SET retired = 1",
            params![day, date_text(*day)],
        )?;
    }
    for day in &change.forgotten_days {
        transaction.execute("DELETE FROM day WHERE day = ?", [day])?;
    }
    const SET: &str = "INSERT INTO state VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    const MOST: &str =
        "INSERT INTO state VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)";
    const ADD: &str = "INSERT INTO state VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value";
    if let Some((seq, received)) = change.flushed {
        transaction.execute(SET, params!["flushed_seq", seq as i64])?;
        transaction.execute(MOST, params!["newest_received", received.micros()])?;
    }
    for (since, until) in &change.listened {
        const HEARD: &str =
            "INSERT INTO listened VALUES (?, ?) ON CONFLICT (since) DO UPDATE SET until = max(until, excluded.until)";
        transaction.execute(HEARD, params![since.micros(), until.micros()])?;
    }
    transaction.execute(ADD, params!["duplicates", change.duplicates as i64])?;
    transaction.execute(ADD, params!["retired", change.retired_rows as i64])?;
    transaction.commit()
}

/// Removes files that the index does not know: what a crash left between rename and record, or half
/// written, or recorded as replaced and not yet unlinked. Says how many.
pub(super) fn sweep(folder: &Path, catalog: &Catalog) -> Result<usize, Error> {
    let known: HashSet<&Path> = catalog.files().map(|file| file.path.as_path()).collect();
    let mut removed = 0;
    for path in files_below(folder)? {
        if !known.contains(path.as_path()) {
            std::fs::remove_file(&path).map_err(Error::file(&path))?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Every file that could be ours.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    for kind in [FileKind::Raw, FileKind::Rolled(Step::FiveMinutes), FileKind::Rolled(Step::Hour)] {
        for date in entries(&folder.join(kind.word()))? {
            let ours = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "parquet" || ending == "tmp");
            files.extend(entries(&date)?.into_iter().filter(ours));
        }
    }
    Ok(files)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    match std::fs::read_dir(folder) {
        Ok(list) => list.map(|entry| entry.map(|entry| entry.path()).map_err(Error::file(folder))).collect(),
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        Err(source) => Err(Error::File { path: folder.to_owned(), source }),
    }
}
