//! `journal.db`: groups of entries as rows, and the cursors of those who follow.
//!
//! ```sql
//! groups(first, last, samples, body)   one row a commit; body as in `codec`
//! cursors(name, seq)                   everything up to seq is safe at that consumer
//! ```

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::{Entry, Error, Seq, codec};

/// The write-ahead log is folded into the database by a thread of its own; only when that does not keep up
/// for so many pages (of 4 KiB: 64 MB) does a commit do it.
const CHECKPOINT_PAGES: u32 = 16_000;

/// Groups dropped at once, so that a commit never waits long behind it.
const TRIM_GROUPS: usize = 512;

/// What a bite of trimming did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trimmed {
    /// Samples that a consumer had not passed.
    pub lost: u64,
    /// There is more to drop.
    pub more: bool,
}

/// The writer's side; one per journal.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
}

impl Store {
    pub fn open(path: &Path) -> Result<Self, Error> {
        let broken = |source| Error::Database { path: path.to_owned(), source };
        let connection = Connection::open(path).map_err(broken)?;
        connection
            .execute_batch(&format!(
                "PRAGMA journal_mode = WAL;
                 PRAGMA synchronous = FULL;
                 PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES};
                 CREATE TABLE IF NOT EXISTS groups (
                     first INTEGER PRIMARY KEY, last INTEGER NOT NULL, samples INTEGER NOT NULL, body BLOB NOT NULL);
                 CREATE TABLE IF NOT EXISTS cursors (name TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;"
            ))
            .map_err(broken)?;
        Ok(Self { connection, path: path.to_owned() })
    }

    /// Number of the newest entry ever written, trimmed or not.
    pub fn last(&self) -> Result<Seq, Error> {
        let last =
            "SELECT max(coalesce((SELECT max(last) FROM groups), 0), coalesce((SELECT max(seq) FROM cursors), 0))";
        self.tried(self.connection.query_row(last, [], |row| row.get::<_, i64>(0))).map(|last| last as Seq)
    }

    /// Makes a group durable.
    pub fn commit(&mut self, first: Seq, last: Seq, samples: usize, body: &[u8]) -> Result<(), Error> {
        let insert = "INSERT INTO groups (first, last, samples, body) VALUES (?1, ?2, ?3, ?4)";
        let done = self
            .connection
            .prepare_cached(insert)
            .and_then(|mut insert| insert.execute(params![first as i64, last as i64, samples as i64, body]));
        self.tried(done).map(drop)
    }

    pub fn cursors(&self) -> Result<Vec<(String, Seq)>, Error> {
        let listed = self.connection.prepare("SELECT name, seq FROM cursors").and_then(|mut select| {
            let rows = select.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as Seq)))?;
            rows.collect::<Result<Vec<_>, _>>()
        });
        self.tried(listed)
    }

    /// Writes the cursors down and drops groups that everybody has passed, a bounded bite a time. Samples that
    /// somebody had not passed go only when the file holds more than `most_bytes`, and never beyond `keep`.
    pub fn trim(&mut self, cursors: &[(String, Seq)], keep: Seq, most_bytes: u64) -> Result<Trimmed, Error> {
        let passed = cursors.iter().map(|(_, seq)| *seq).min().unwrap_or(0);
        let trimmed = (|| {
            let bytes: i64 = self.connection.query_row(
                "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size",
                [],
                |row| row.get(0),
            )?;
            let change = self.connection.transaction()?;
            for (name, seq) in cursors {
                change
                    .prepare_cached("INSERT INTO cursors VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET seq = ?2")?
                    .execute(params![name, *seq as i64])?;
            }
            let bite =
                "DELETE FROM groups WHERE first IN (SELECT first FROM groups WHERE last <= ?1 ORDER BY first LIMIT ?2)";
            let dropped = change.prepare_cached(bite)?.execute(params![passed as i64, TRIM_GROUPS as i64])?;
            let mut lost = 0;
            if u64::try_from(bytes).unwrap_or(0) > most_bytes {
                let oldest = "SELECT first FROM groups WHERE last <= ?1 ORDER BY first LIMIT 2048";
                lost = change
                    .prepare_cached(&format!("SELECT coalesce(sum(samples), 0) FROM groups WHERE first IN ({oldest})"))?
                    .query_row([keep as i64], |row| row.get::<_, i64>(0))?;
                change
                    .prepare_cached(&format!("DELETE FROM groups WHERE first IN ({oldest})"))?
                    .execute([keep as i64])?;
            }
            change.commit()?;
            Ok(Trimmed { lost: lost as u64, more: dropped == TRIM_GROUPS || lost > 0 })
        })();
        self.tried(trimmed)
    }

    /// Forgets cursors of consumers that are no longer configured, so that they hold nothing back.
    pub fn keep_cursors(&mut self, names: &[&str]) -> Result<(), Error> {
        for (name, _) in self.cursors()? {
            if !names.contains(&name.as_str()) {
                let done = self.connection.execute("DELETE FROM cursors WHERE name = ?1", [&name]);
                self.tried(done)?;
            }
        }
        Ok(())
    }

    fn tried<T>(&self, result: Result<T, rusqlite::Error>) -> Result<T, Error> {
        result.map_err(|source| Error::Database { path: self.path.clone(), source })
    }
}

/// Reads what is durable, beside the writer.
#[derive(Debug)]
pub struct Reader {
    connection: Mutex<Connection>,
    path: PathBuf,
}

impl Reader {
    /// The journal must exist.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)
            .map_err(|source| Error::Database { path: path.to_owned(), source })?;
        Ok(Self { connection: Mutex::new(connection), path: path.to_owned() })
    }

    /// Entries numbered `from` and above, about `groups` rows of them. Entries that were trimmed are
    /// skipped: the first number returned tells. Empty: nothing newer is durable.
    pub fn entries(&self, from: Seq, groups: usize) -> Result<Vec<(Seq, Entry)>, Error> {
        let broken = |source| Error::Database { path: self.path.clone(), source };
        let connection = self.connection.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // The group that holds `from` begins at or before it.
        let begin: Option<i64> = connection
            .prepare_cached("SELECT max(first) FROM groups WHERE first <= ?1")
            .and_then(|mut select| select.query_row([from as i64], |row| row.get(0)).optional())
            .map_err(broken)?
            .flatten();
        let rows = connection
            .prepare_cached("SELECT first, body FROM groups WHERE first >= ?1 AND last >= ?2 ORDER BY first LIMIT ?3")
            .and_then(|mut select| {
                let rows = select.query_map(params![begin.unwrap_or(0), from as i64, groups as i64], |row| {
                    Ok((row.get::<_, i64>(0)? as Seq, row.get::<_, Vec<u8>>(1)?))
                })?;
                rows.collect::<Result<Vec<_>, _>>()
            })
            .map_err(broken)?;
        let mut entries = Vec::new();
        for (first, body) in rows {
            let group = codec::read_group(&body).map_err(|what| Error::Damaged {
                path: self.path.clone(),
                seq: first,
                what,
            })?;
            entries.extend((first..).zip(group).filter(|(seq, _)| *seq >= from));
        }
        Ok(entries)
    }
}

/// Folds the write-ahead log into the database, beside the writer, so that no alarm waits behind it.
#[derive(Debug)]
pub struct Folder {
    connection: Connection,
    log: PathBuf,
}

/// Folding makes the disk busy for some ten milliseconds, so it waits until there is enough to fold.
const FOLD_BYTES: u64 = 16 << 20;

impl Folder {
    pub fn open(path: &Path) -> Result<Self, Error> {
        let broken = |source| Error::Database { path: path.to_owned(), source };
        let connection = Connection::open(path).map_err(broken)?;
        connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;").map_err(broken)?;
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        Ok(Self { connection, log: log.into() })
    }

    /// As much as is possible without making anybody wait, once the log is long.
    pub fn fold(&self) -> Result<(), rusqlite::Error> {
        if std::fs::metadata(&self.log).map_or(0, |log| log.len()) < FOLD_BYTES {
            return Ok(());
        }
        self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
    }
}

/// Is there a journal in which anything was ever written?
pub fn holds_entries(path: &Path) -> Result<bool, Error> {
    Ok(path.exists() && Store::open(path)?.last()? > 0)
}
