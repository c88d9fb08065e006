//! Stories of the history: what was acknowledged is there, once, whatever happens in between.

mod faults;
mod python;
mod rolled;

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;

use super::bench::table;
use super::row::DAY_MICROS;
use super::*;
use crate::model::{PointIndex, Reason};

/// 2026-11-20, midnight.
const DAY0: i64 = 20_777 * DAY_MICROS;
const FOREVER: (Timestamp, Timestamp) = (Timestamp::MIN, Timestamp::from_micros(i64::MAX));

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(DAY0 + micros)
}

fn secs(secs: i64) -> i64 {
    secs * 1_000_000
}

/// Arrives when it was measured.
pub(super) fn sample(point: u32, micros: i64, value: f64) -> Sample {
    Sample {
        point: PointIndex(point),
        quality: Quality::GOOD,
        source_time: at(micros),
        receive_time: at(micros),
        value,
    }
}

fn open(folder: &Path) -> History {
    History::open(Options::at(folder)).unwrap()
}

fn all(history: &History, id: &str) -> Vec<(i64, f64, String)> {
    let found = history.samples(id, FOREVER.0, FOREVER.1, usize::MAX).unwrap();
    assert_eq!(found.unreadable, Vec::<PathBuf>::new());
    assert!(!found.more);
    found
        .list
        .iter()
        .map(|reading| (reading.time.micros() - DAY0, reading.value, reading.quality.to_string()))
        .collect()
}

fn ids() -> Vec<String> {
    table(3).list().iter().map(|point| point.id.to_string()).collect()
}

fn parquet_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "parquet" || ending == "tmp") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// What may happen to a history.
#[derive(Clone, Debug)]
enum Event {
    /// Point, microseconds into three days, value in hundredths, quality.
    Samples(Vec<(u32, i64, i64, bool)>),
    /// The journal delivers its last entries once more.
    Again(u64),
    Flush,
    Compact,
    /// Killed: memory is gone, and the journal delivers everything after `flushed`.
    Kill,
    /// Killed between the renames and the record of a flush.
    KillInFlush,
}

fn event() -> impl Strategy<Value = Event> {
    let row = (0_u32..3, 0_i64..600, 0_i64..4, any::<bool>())
        .prop_map(|(point, slot, value, good)| (point, slot * 432_000_321, value, good));
    prop_oneof![
        4 => prop::collection::vec(row, 1..30).prop_map(Event::Samples),
        1 => (0_u64..4).prop_map(Event::Again),
        3 => Just(Event::Flush),
        2 => Just(Event::Compact),
        1 => Just(Event::Kill),
        1 => Just(Event::KillInFlush),
    ]
}

type Model = BTreeMap<u32, BTreeMap<(i64, u64, u16), ()>>;

fn compare(history: &History, model: &Model) {
    for (point, id) in ids().iter().enumerate() {
        let found = history.samples(id, FOREVER.0, FOREVER.1, usize::MAX).unwrap();
        let found: Vec<_> = found
            .list
            .iter()
            .map(|reading| (reading.time.micros(), reading.value.to_bits(), reading.quality.bits()))
            .collect();
        let expected: Vec<_> = model.get(&(point as u32)).into_iter().flat_map(|rows| rows.keys().copied()).collect();
        assert_eq!(found, expected, "{id}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Whatever the order of flushes, merges, repeats and crashes: each sample is there exactly once.
    #[test]
    fn nothing_is_lost_and_nothing_is_doubled(events in prop::collection::vec(event(), 1..30)) {
        let folder = tempfile::tempdir().unwrap();
        let table = table(3);
        let mut history = open(folder.path());
        let mut journal: Vec<Vec<Sample>> = Vec::new();
        let mut model = Model::new();
        let closed = at(10 * DAY_MICROS);
        for event in events {
            match event {
                Event::Samples(rows) => {
                    let entry: Vec<Sample> = rows.iter().map(|(point, micros, value, good)| {
                        let mut sample = sample(*point, *micros, *value as f64 / 100.0);
                        sample.receive_time = at(secs(400_000 + journal.len() as i64));
                        if !good {
                            sample.quality = Quality::because(Reason::Calibrating);
                        }
                        sample
                    }).collect();
                    for sample in &entry {
                        let key = (sample.source_time.micros(), sample.value.to_bits(), sample.quality.bits());
                        model.entry(sample.point.0).or_default().insert(key, ());
                    }
                    journal.push(entry);
                    history.append(journal.len() as u64, journal.last().unwrap(), &table);
                }
                Event::Again(back) => {
                    let from = (journal.len() as u64).saturating_sub(back);
                    for seq in from + 1..=journal.len() as u64 {
                        history.append(seq, &journal[seq as usize - 1], &table);
                    }
                }
                Event::Flush => {
                    let flushed = history.flush().unwrap();
                    prop_assert_eq!(flushed.seq, journal.len() as u64);
                }
                Event::Compact => drop(history.compact(closed).unwrap()),
                Event::Kill => {
                    drop(history);
                    history = open(folder.path());
                    for seq in history.flushed() + 1..=journal.len() as u64 {
                        history.append(seq, &journal[seq as usize - 1], &table);
                    }
                }
                Event::KillInFlush => {
                    if let Some(head) = history.freeze() {
                        history.write_days(&head).unwrap();
                    }
                    drop(history);
                    history = open(folder.path());
                    let recorded = history.stored().files as usize;
                    prop_assert_eq!(parquet_files(folder.path()).len(), recorded);
                    // The journal may deliver from further back than was asked.
                    for seq in 1..=journal.len() as u64 {
                        history.append(seq, &journal[seq as usize - 1], &table);
                    }
                }
            }
            compare(&history, &model);
        }
        history.flush().unwrap();
        history.compact(closed).unwrap();
        compare(&history, &model);
        drop(history);
        let history = open(folder.path());
        compare(&history, &model);
        prop_assert_eq!(history.stored().unflushed, 0);
    }
}

/// A device sends its last reading again after every reconnect; the record shows it once.
#[test]
fn a_reading_that_is_sent_again_is_stored_once_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (history, table, ids) = (open(folder.path()), table(3), ids());
    let reading = sample(1, secs(5), 0.42);
    history.append(1, &[reading, reading], &table);
    assert_eq!(all(&history, &ids[1]), [(secs(5), 0.42, "good".to_owned())]);
    assert_eq!(history.flush().unwrap().duplicates, 1);
    history.append(2, &[reading], &table);
    assert_eq!(history.flush().unwrap().samples, 1);
    assert_eq!(all(&history, &ids[1]).len(), 1);
    // A different quality or value at the same moment is not a repeat.
    history.append(
        3,
        &[Sample { quality: Quality::because(Reason::Late), ..reading }, sample(1, secs(5), 0.43)],
        &table,
    );
    history.flush().unwrap();
    assert_eq!(history.compact(at(5 * DAY_MICROS)).unwrap().duplicates, 1);
    let expected = [
        (secs(5), 0.42, "good".to_owned()),
        (secs(5), 0.42, "good:late".to_owned()),
        (secs(5), 0.43, "good".to_owned()),
    ];
    assert_eq!(all(&history, &ids[1]), expected);
    let stored = history.stored();
    assert_eq!((stored.duplicates, stored.samples, stored.files), (2, 3, 3), "one raw file, two rollups");
}

/// A substation comes back after a weekend and sends what it kept: it lands in the days it belongs to.
#[test]
fn late_data_goes_to_its_own_days_and_answers_come_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (history, table, ids) = (open(folder.path()), table(3), ids());
    history.append(1, &[sample(0, 2 * DAY_MICROS + 1, 3.0), sample(2, 7, 9.0)], &table);
    history.flush().unwrap();
    history.append(2, &[sample(0, 1_234_567, 1.0), sample(0, DAY_MICROS - 1, 2.0), sample(0, -1, 0.5)], &table);
    let flushed = history.flush().unwrap();
    assert_eq!((flushed.samples, flushed.files), (3, 2));
    let values: Vec<f64> = all(&history, &ids[0]).iter().map(|row| row.1).collect();
    assert_eq!(values, [0.5, 1.0, 2.0, 3.0]);
    for date in ["2026-11-19", "2026-11-20", "2026-11-22"] {
        assert!(folder.path().join(format!("raw/date={date}")).is_dir(), "{date}");
    }
    let found = history.samples(&ids[0], at(0), at(2 * DAY_MICROS + 1), 10).unwrap();
    assert_eq!(found.list.iter().map(|reading| reading.value).collect::<Vec<_>>(), [1.0, 2.0], "from is in, to is not");
    assert_eq!(found.list[0].time, at(1_234_567), "to the microsecond");
    let found = history.samples(&ids[0], FOREVER.0, FOREVER.1, 3).unwrap();
    assert_eq!((found.list.len(), found.more), (3, true));
    assert!(history.samples("no.such", FOREVER.0, FOREVER.1, 3).unwrap().list.is_empty());
    assert!(history.samples(&ids[0], at(5), at(5), 3).unwrap().list.is_empty());
}

/// Many points over several row groups and pages: each finds its own, and only its own.
#[test]
fn every_point_finds_its_own_rows_in_a_merged_file() {
    let folder = tempfile::tempdir().unwrap();
    let (history, table) = (open(folder.path()), table(150));
    let mut sensors = super::bench::Sensors::new(150);
    let mut expected: BTreeMap<u32, Vec<(i64, u64)>> = BTreeMap::new();
    for second in 0..8_000_u64 {
        let batch = sensors.second();
        for sample in &batch {
            expected.entry(sample.point.0).or_default().push((sample.source_time.micros(), sample.value.to_bits()));
        }
        history.append(second + 1, &batch, &table);
        if second % 500 == 499 {
            history.flush().unwrap();
        }
    }
    let done = history.compact(Timestamp::from_micros(i64::MAX)).unwrap();
    assert_eq!((done.merges, history.stored().samples), (1, 1_200_000), "{done:?}");
    let begin = expected[&0][0].0;
    for (point, rows) in &expected {
        let id = &table.list()[*point as usize].id;
        let (from, to) = (begin + secs(4_000), begin + secs(4_100));
        let found = history.samples(id, Timestamp::from_micros(from), Timestamp::from_micros(to), usize::MAX).unwrap();
        let found: Vec<_> = found.list.iter().map(|reading| (reading.time.micros(), reading.value.to_bits())).collect();
        let wanted: Vec<_> = rows.iter().filter(|row| (from..to).contains(&row.0)).copied().collect();
        assert_eq!(found, wanted, "{id}");
    }
}

/// Ninety days later the raw samples are gone from the disk; the statistics are not.
#[test]
fn raw_samples_go_when_their_time_is_up_and_rollups_stay() {
    let folder = tempfile::tempdir().unwrap();
    let (table, ids) = (table(3), ids());
    let keep = |days: u64| Some(Duration::from_secs(days * 86_400));
    let options = Options { keep_raw: keep(90), keep_rollups: keep(1_095), ..Options::at(folder.path()) };
    let history = History::open(options.clone()).unwrap();
    history.append(1, &[sample(0, secs(10), 1.5), sample(0, secs(20), 2.5), sample(0, 50 * DAY_MICROS, 7.0)], &table);
    history.flush().unwrap();
    assert_eq!(history.retire(at(91 * DAY_MICROS - 1)).unwrap(), Retired::default());
    let done = history.retire(at(91 * DAY_MICROS)).unwrap();
    assert_eq!((done.days, done.files, done.samples), (1, 1, 2));
    assert_eq!(all(&history, &ids[0]), [(50 * DAY_MICROS, 7.0, "good".to_owned())]);
    assert_eq!(history.stored().retired, 2);
    // Late data for a day that is gone cannot falsify its statistics.
    history.append(2, &[Sample { receive_time: at(99 * DAY_MICROS), ..sample(0, secs(30), 99.0) }], &table);
    history.flush().unwrap();
    history.compact(at(92 * DAY_MICROS)).unwrap();
    drop(history);
    let history = History::open(options).unwrap();
    let hour = history.rollups(&ids[0], Step::Hour, at(0), at(DAY_MICROS)).unwrap();
    let values = hour.list[0].values.unwrap();
    assert_eq!((hour.list.len(), values.min, values.max, hour.list[0].count), (1, 1.5, 2.5, 2));
    history.retire(at(92 * DAY_MICROS)).unwrap();
    let done = history.retire(at(1_097 * DAY_MICROS)).unwrap();
    assert!(done.files >= 2, "{done:?}");
    assert!(history.rollups(&ids[0], Step::Hour, at(0), at(DAY_MICROS)).unwrap().list.is_empty());
    let left: Vec<_> = parquet_files(folder.path())
        .iter()
        .map(|path| path.parent().unwrap().file_name().unwrap().to_owned())
        .collect();
    assert!(left.iter().all(|date| date != "date=2026-11-20"), "{left:?}");
}

/// An unknown point number is a fault somewhere else; its samples are kept under a name that says so.
#[test]
fn samples_of_a_point_nobody_knows_are_kept_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (history, table) = (open(folder.path()), table(3));
    history.append(1, &[sample(77, 5, 1.0)], &table);
    history.flush().unwrap();
    assert_eq!(all(&history, "unknown.77").len(), 1);
    assert_eq!(history.stored().unknown_points, 1);
}
