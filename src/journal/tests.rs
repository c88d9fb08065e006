use super::*;
use crate::ledger::{Fate, Ledger};
use crate::model::{PointIndex, Sample};

fn options(folder: &tempfile::TempDir) -> Options {
    Options::at(folder.path().join("journal.db"))
}

fn batch(count: usize, first: f64) -> Entry {
    let at = Timestamp::from_secs(1_800_000_000);
    let sample = |i: usize| Sample::received(PointIndex(1), first + i as f64, Some(at), at);
    Entry::Samples(Arc::new((0..count).map(sample).collect()))
}

fn values(entries: &[(Seq, Entry)]) -> Vec<f64> {
    let samples = entries.iter().filter_map(|(_, entry)| match entry {
        Entry::Samples(samples) => Some(samples.iter().map(|sample| sample.value)),
        Entry::Tick(_) | Entry::Note(_) => None,
    });
    samples.flatten().collect()
}

fn open(options: &Options, consumers: &[&str]) -> (Journal, Intake, Feed) {
    Journal::open(options, consumers, 0, Ledger::default().account("journal")).unwrap()
}

#[test]
fn what_was_committed_is_there_after_a_restart_and_numbers_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(&folder);
    let (journal, intake, feed) = open(&options, &["history"]);
    let first = intake.submit_blocking(batch(3, 0.0)).unwrap().durable_blocking().unwrap();
    let second = intake.submit_blocking(Entry::Tick(Timestamp::from_secs(5))).unwrap().durable_blocking().unwrap();
    assert_eq!((first, second), (1, 2));
    assert_eq!(journal.durable.seq(), 2);
    drop(intake);
    journal.join().unwrap();
    assert_eq!(feed.next().map(|(seq, _)| seq), Some(1));

    let (journal, intake, _feed) = open(&options, &["history"]);
    let mut cursor = journal.tail.cursor("history").unwrap();
    let old = cursor.next(Duration::ZERO).unwrap();
    assert_eq!((old.len(), values(&old)), (2, vec![0.0, 1.0, 2.0]));
    assert_eq!(intake.submit_blocking(batch(1, 9.0)).unwrap().durable_blocking().unwrap(), 3);
    assert_eq!(values(&cursor.next(Duration::from_secs(10)).unwrap()), [9.0]);
}

#[test]
fn what_everybody_passed_is_dropped_and_the_rest_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(&folder);
    let (journal, intake, _feed) = open(&options, &["history", "influxdb"]);
    for i in 0..4 {
        intake.submit_blocking(batch(1, f64::from(i))).unwrap().durable_blocking().unwrap();
    }
    journal.tail.cursor("history").unwrap().passed(4);
    journal.tail.cursor("influxdb").unwrap().passed(2);
    drop(intake);
    journal.join().unwrap();
    let kept = Reader::open(&options.path).unwrap().entries(1, 100).unwrap();
    assert_eq!(values(&kept), [2.0, 3.0]);

    // A consumer that is no longer configured holds nothing back.
    let (journal, intake, _feed) = open(&options, &["history"]);
    drop(intake);
    journal.join().unwrap();
    assert_eq!(Reader::open(&options.path).unwrap().entries(1, 100).unwrap(), []);
    let (journal, _, _) = open(&options, &["history"]);
    assert_eq!(journal.tail.last(), 4, "a number is never given twice");
}

#[test]
fn a_follower_that_fell_behind_reads_the_database_and_misses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, intake, feed) = open(&options(&folder), &["slow"]);
    let mut slow = journal.tail.cursor("slow").unwrap();
    let drain = std::thread::spawn(move || while feed.next().is_some() {});
    let (batches, size) = (1_100, 1_000);
    for i in 0..batches {
        intake.submit_blocking(batch(size, (i * size) as f64)).unwrap();
    }
    drop(intake);
    let mut seen = 0.0;
    let tail = journal.tail.clone();
    journal.join().unwrap();
    drain.join().unwrap();
    assert!(tail.lags().contains(&("slow".to_owned(), tail.last())));
    while seen < (batches * size) as f64 {
        let entries = slow.next(Duration::from_secs(10)).unwrap();
        assert!(!entries.is_empty(), "stopped at {seen}");
        for value in values(&entries) {
            assert_eq!(value, seen);
            seen += 1.0;
        }
    }
}

/// Two ticks a second and hardly a sample: after a minute memory holds no more, and whoever comes later reads the disk.
#[test]
fn a_gateway_with_little_to_do_keeps_a_minute_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, intake, feed) = open(&options(&folder), &["late"]);
    let drain = std::thread::spawn(move || while feed.next().is_some() {});
    for half_second in 0..600 {
        intake.submit_blocking(Entry::Tick(Timestamp::from_micros(half_second * 500_000))).unwrap();
        intake.submit_blocking(batch(1, half_second as f64)).unwrap();
    }
    drop(intake);
    let tail = journal.tail.clone();
    journal.join().unwrap();
    drain.join().unwrap();
    assert!(tail.in_memory() <= 242, "{} entries", tail.in_memory());
    let (mut late, mut seen) = (tail.cursor("late").unwrap(), Vec::new());
    while seen.len() < 600 {
        let entries = late.next(Duration::from_secs(10)).unwrap();
        assert!(!entries.is_empty(), "stopped at {}", seen.len());
        seen.extend(values(&entries));
    }
    assert_eq!(seen, (0..600).map(f64::from).collect::<Vec<_>>());
}

#[test]
fn when_space_runs_out_the_oldest_samples_go_first_and_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { most_bytes: 1, ..options(&folder) };
    let ledger = Ledger::default();
    let consumers = ["history", ENGINE];
    let (journal, intake, _feed) = Journal::open(&options, &consumers, 0, ledger.account("journal")).unwrap();
    for i in 0..3 {
        intake.submit_blocking(batch(10, f64::from(i) * 10.0)).unwrap().durable_blocking().unwrap();
    }
    // The engine has a snapshot of the first two: only those may go.
    journal.tail.cursor(ENGINE).unwrap().passed(2);
    drop(intake);
    journal.join().unwrap();
    assert_eq!(ledger.total(Fate::Trimmed), 20);
    let kept = Reader::open(&options.path).unwrap().entries(1, 100).unwrap();
    assert_eq!(values(&kept).first(), Some(&20.0));
}

#[test]
fn a_journal_that_cannot_be_written_acknowledges_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(&folder);
    let (journal, intake, _feed) = open(&options, &[]);
    intake.submit_blocking(batch(1, 0.0)).unwrap().durable_blocking().unwrap();
    let thief = rusqlite::Connection::open(&options.path).unwrap();
    thief.execute_batch("DROP TABLE groups").unwrap();
    let commit = intake.submit_blocking(batch(1, 1.0)).unwrap();
    assert!(commit.durable_blocking().is_err());
    assert!(journal.join().is_err());
    assert!(intake.submit_blocking(batch(1, 2.0)).is_err());
}

#[test]
fn damage_names_the_file_and_the_entry() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(&folder);
    let (journal, intake, _feed) = open(&options, &["history"]);
    intake.submit_blocking(batch(5, 0.0)).unwrap().durable_blocking().unwrap();
    drop(intake);
    journal.join().unwrap();
    rusqlite::Connection::open(&options.path)
        .unwrap()
        .execute("UPDATE groups SET body = CAST(substr(body, 1, length(body) - 1) || x'00' AS BLOB)", [])
        .unwrap();
    let error = Reader::open(&options.path).unwrap().entries(1, 10).unwrap_err().to_string();
    assert!(error.contains("journal.db: entry 1 cannot be read"), "{error}");
}

/// What an earlier Davy wrote: no calendar, no limits over the rules', and a limit of a rule without working value.
#[test]
fn a_setup_from_before_is_read() {
    let text = r#"{ "note": "setup", "at": 5, "points": [], "rules": [{ "path": "a.rhai", "text": "//" }] }"#;
    let note: Note = serde_json::from_str(text).unwrap();
    let Note::Setup(setup) = note else { panic!("{note:?}") };
    assert_eq!((setup.rules.len(), setup.limits.len(), setup.calendar.seasons.len()), (1, 0, 0));
    let limit = r#"{ "value": 1.0, "unit": "%VOL", "stricter": "lower", "basis": "AQ 1029-2019" }"#;
    let limit: crate::model::Limit = serde_json::from_str(limit).unwrap();
    assert_eq!((limit.set, limit.hard), (None, None));
}
