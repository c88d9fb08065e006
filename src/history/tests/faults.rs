//! Disks, crashes and people.

use super::*;

/// A file was cut short by a bad disk: the operator still sees the rest, and is told which file is missing.
#[test]
fn a_damaged_file_is_named_and_the_others_still_answer() {
    let folder = tempfile::tempdir().unwrap();
    let (history, table, ids) = (open(folder.path()), table(3), ids());
    for turn in 0..3 {
        history.append(turn + 1, &[sample(0, secs(turn as i64), turn as f64)], &table);
        history.flush().unwrap();
    }
    let files = parquet_files(folder.path());
    let hurt = &files[1];
    let bytes = std::fs::read(hurt).unwrap();
    std::fs::write(hurt, &bytes[..bytes.len() / 2]).unwrap();
    let found = history.samples(&ids[0], FOREVER.0, FOREVER.1, 10).unwrap();
    assert_eq!(found.list.iter().map(|reading| reading.value).collect::<Vec<_>>(), [0.0, 2.0]);
    assert_eq!(found.unreadable, std::slice::from_ref(hurt));
    assert_eq!(history.stored().damaged, std::slice::from_ref(hurt));
    // Neither merged nor thrown away: it may be restored from a backup.
    let done = history.compact(at(5 * DAY_MICROS)).unwrap();
    assert_eq!((done.merges, done.files_before), (1, 2));
    assert!(hurt.is_file());
    std::fs::write(hurt, &bytes).unwrap();
    assert_eq!(all(&history, &ids[0]).len(), 3);
}

/// Compaction finds the damage before anybody asks.
#[test]
fn a_file_that_is_not_parquet_or_gone_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (history, table, ids) = (open(folder.path()), table(3), ids());
    for turn in 0..4 {
        history.append(turn + 1, &[sample(0, secs(turn as i64), turn as f64)], &table);
        history.flush().unwrap();
    }
    let files = parquet_files(folder.path());
    std::fs::write(&files[0], b"not parquet at all").unwrap();
    std::fs::remove_file(&files[3]).unwrap();
    let done = history.compact(at(5 * DAY_MICROS)).unwrap();
    assert_eq!((done.merges, done.files_before, done.rolled_days), (1, 2, 0));
    assert_eq!(history.damaged().len(), 2);
    let found = history.samples(&ids[0], FOREVER.0, FOREVER.1, 10).unwrap();
    assert_eq!(found.list.iter().map(|reading| reading.value).collect::<Vec<_>>(), [1.0, 2.0]);
    assert_eq!(found.unreadable.len(), 2);
}

/// The disk refuses (a file stands where a folder must be): everything stays in memory and goes out later.
#[test]
fn a_flush_that_fails_loses_nothing_and_is_made_good() {
    let folder = tempfile::tempdir().unwrap();
    let (history, table, ids) = (open(folder.path()), table(3), ids());
    std::fs::create_dir(folder.path().join("raw")).unwrap();
    let obstacle = folder.path().join("raw/date=2026-11-20");
    std::fs::write(&obstacle, b"").unwrap();
    // The first day can be written, the second cannot: neither counts.
    history.append(1, &[sample(0, -5, 0.5), sample(0, 1, 1.0)], &table);
    let error = history.flush().unwrap_err().to_string();
    assert!(error.contains("date=2026-11-20"), "{error}");
    assert_eq!((history.flushed(), parquet_files(folder.path()).len()), (0, 0));
    history.append(2, &[sample(0, 2, 2.0)], &table);
    assert_eq!(all(&history, &ids[0]).len(), 3);
    std::fs::remove_file(&obstacle).unwrap();
    assert_eq!(history.flush().unwrap().seq, 1);
    assert_eq!(history.flush().unwrap().seq, 2);
    drop(history);
    assert_eq!(all(&open(folder.path()), &ids[0]).len(), 3);
}

/// The index refuses after the files are written; the next attempt records the same files, once.
#[test]
fn a_record_that_fails_is_repeated_not_doubled() {
    let folder = tempfile::tempdir().unwrap();
    let (history, table, ids) = (open(folder.path()), table(3), ids());
    history.append(1, &[sample(0, 1, 1.0)], &table);
    let other = rusqlite::Connection::open(folder.path().join("index.db")).unwrap();
    other.execute_batch("CREATE TRIGGER no BEFORE INSERT ON file BEGIN SELECT RAISE(ABORT, 'disk full'); END").unwrap();
    assert!(history.flush().unwrap_err().to_string().contains("disk full"));
    assert_eq!((history.flushed(), all(&history, &ids[0]).len()), (0, 1));
    other.execute_batch("DROP TRIGGER no").unwrap();
    assert_eq!(history.flush().unwrap().seq, 1);
    assert_eq!((history.stored().samples, parquet_files(folder.path()).len()), (1, 1));
}

/// Somebody deleted the journal: its numbers start at 1 again, and new samples are not taken for old ones.
#[test]
fn a_journal_that_begins_anew_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (table, ids) = (table(3), ids());
    let history = open(folder.path());
    history.append(500, &[sample(0, secs(1), 1.0)], &table);
    history.flush().unwrap();
    drop(history);
    let history = open(folder.path());
    // An old entry once more, then the first of a new journal.
    history.append(500, &[sample(0, secs(1), 1.0)], &table);
    assert_eq!((history.unflushed(), history.flushed()), (0, 500));
    history.append(1, &[sample(0, secs(2), 2.0)], &table);
    assert_eq!((history.unflushed(), history.flushed()), (1, 0));
    assert_eq!(history.flush().unwrap().seq, 1);
    assert_eq!(all(&history, &ids[0]).len(), 2);
}

#[test]
fn two_processes_cannot_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(folder.path());
    let error = History::open(Options::at(folder.path())).unwrap_err().to_string();
    assert!(error.contains("in use by another davy"), "{error}");
    drop(history);
    open(folder.path());
}

/// Without its index every file would look like a leftover; better to refuse than to sweep months away.
#[test]
fn a_lost_index_is_refused_and_no_file_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(folder.path());
    history.append(1, &[sample(0, 1, 1.0)], &table(3));
    history.flush().unwrap();
    drop(history);
    for name in ["index.db", "index.db-wal", "index.db-shm"] {
        drop(std::fs::remove_file(folder.path().join(name)));
    }
    for _ in 0..2 {
        let error = History::open(Options::at(folder.path())).unwrap_err().to_string();
        assert!(error.contains("is missing, but 1 history files are there"), "{error}");
    }
    assert_eq!(parquet_files(folder.path()).len(), 1);
}

/// Questions are asked while samples pour in and files are merged: each answer is whole.
#[test]
fn questions_during_flushes_and_merges_see_every_sample_once() {
    let folder = tempfile::tempdir().unwrap();
    let (history, table, ids) = (open(folder.path()), table(3), ids());
    let stop = std::sync::atomic::AtomicBool::new(false);
    let asked = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut asked = 0;
            let mut seen = 0;
            while !stop.load(Relaxed) {
                let times: Vec<i64> = all(&history, &ids[0]).iter().map(|row| row.0).collect();
                assert!(times.len() >= seen, "samples went away: {} after {seen}", times.len());
                seen = times.len();
                assert_eq!(times, (0..seen as i64).map(secs).collect::<Vec<_>>());
                asked += 1;
            }
            asked
        });
        for turn in 0..120_u64 {
            history.append(turn + 1, &[sample(0, secs(turn as i64), 1.0), sample(1, secs(turn as i64), 2.0)], &table);
            if turn % 2 == 1 {
                history.flush().unwrap();
            }
            if turn % 20 == 19 {
                history.compact(at(5 * DAY_MICROS)).unwrap();
            }
        }
        stop.store(true, Relaxed);
        asking.join().unwrap()
    });
    assert!(asked > 0);
    assert_eq!(all(&history, &ids[0]).len(), 120);
    assert_eq!(parquet_files(folder.path()).len() as u64, history.stored().files, "replaced files are gone");
}
