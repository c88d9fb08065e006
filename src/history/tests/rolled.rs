//! The figures regulators ask for.

use super::*;

fn bad(point: u32, micros: i64) -> Sample {
    Sample { quality: Quality::because(Reason::SensorFault), ..sample(point, micros, 0.0) }
}

/// Min and max with their moments, mean and count of usable samples only, and how long nobody knew.
#[test]
fn a_bucket_tells_extremes_and_the_time_that_was_not_good() {
    let folder = tempfile::tempdir().unwrap();
    let (history, table, ids) = (open(folder.path()), table(3), ids());
    let samples = [
        sample(0, secs(0), 0.5),
        sample(0, secs(100), 0.9),
        sample(0, secs(110), 0.9),
        bad(0, secs(200)),
        sample(0, secs(230), 0.1),
        bad(0, secs(310)),
    ];
    history.append(1, &samples, &table);
    let check = |history: &History| {
        let found = history.rollups(&ids[0], Step::FiveMinutes, at(0), at(DAY_MICROS)).unwrap().list;
        assert_eq!(found.len(), 2);
        let values = found[0].values.unwrap();
        assert_eq!((found[0].start, found[0].count, found[0].not_good), (at(0), 4, Duration::from_secs(30)));
        assert_eq!((values.min, values.min_time), (0.1, at(secs(230))));
        assert_eq!((values.max, values.max_time), (0.9, at(secs(100))), "the first of equals");
        assert!((values.mean - 0.6).abs() < 1e-12);
        // Ten seconds of the last good value, then 290 of the bad one.
        assert_eq!((found[1].values, found[1].count, found[1].not_good), (None, 0, Duration::from_secs(290)));
        let hour = history.rollups(&ids[0], Step::Hour, at(0), at(DAY_MICROS)).unwrap().list;
        assert_eq!((hour.len(), hour[0].count, hour[0].not_good), (1, 4, Duration::from_secs(30 + 3_290)));
    };
    check(&history);
    history.flush().unwrap();
    check(&history);
    assert_eq!(history.compact(at(2 * DAY_MICROS)).unwrap().rolled_days, 1);
    assert_eq!(parquet_files(&folder.path().join("5min")).len(), 1);
    check(&history);
    drop(history);
    check(&open(folder.path()));
}

/// A sensor that fell silent is not good for ever: its last word counts for an hour, over midnight too.
#[test]
fn silence_is_not_good_after_an_hour() {
    let folder = tempfile::tempdir().unwrap();
    let (history, table, ids) = (open(folder.path()), table(3), ids());
    history.append(
        1,
        &[sample(0, -secs(600), 1.0), sample(0, secs(240), 2.0), sample(0, secs(2 * 3_600 + 240), 3.0)],
        &table,
    );
    history.flush().unwrap();
    let not_good = |history: &History| -> Vec<u64> {
        let found = history.rollups(&ids[0], Step::FiveMinutes, at(0), at(DAY_MICROS)).unwrap().list;
        found.iter().map(|rollup| rollup.not_good.as_secs()).collect()
    };
    assert_eq!(not_good(&history), [0, 240]);
    history.compact(at(3 * DAY_MICROS)).unwrap();
    assert_eq!(not_good(&history), [0, 240], "the same from the file");
}

/// A peak that arrives a day late raises the figure of its five minutes, at once and in the file.
#[test]
fn late_data_corrects_the_rollups_of_its_day() {
    let folder = tempfile::tempdir().unwrap();
    let (history, table, ids) = (open(folder.path()), table(3), ids());
    for second in 0..600 {
        history.append(second as u64 + 1, &[sample(0, secs(second), 1.0), sample(1, secs(second), 1.0)], &table);
    }
    history.flush().unwrap();
    history.compact(at(2 * DAY_MICROS)).unwrap();
    let peaks = |history: &History, id: &str| -> Vec<f64> {
        let found = history.rollups(id, Step::FiveMinutes, at(0), at(DAY_MICROS)).unwrap();
        found.list.iter().map(|rollup| rollup.values.unwrap().max).collect()
    };
    assert_eq!(peaks(&history, &ids[0]), [1.0, 1.0]);
    history.append(601, &[sample(0, secs(400) + 1, 4.0)], &table);
    assert_eq!(peaks(&history, &ids[0]), [1.0, 4.0], "still in memory");
    history.flush().unwrap();
    assert_eq!(peaks(&history, &ids[0]), [1.0, 4.0], "flushed, the rollup file is stale");
    let later = crate::clock::now().max(at(2 * DAY_MICROS)) + Duration::from_secs(7_200);
    assert_eq!(history.compact(later).unwrap().rolled_days, 1);
    assert_eq!(peaks(&history, &ids[0]), [1.0, 4.0], "made anew");
    assert_eq!(peaks(&history, &ids[1]), [1.0, 1.0]);
    assert_eq!(parquet_files(&folder.path().join("5min")).len(), 1);
}

/// The rollup file is lost: the raw samples answer in its place, and the loss is noted.
#[test]
fn a_damaged_rollup_file_is_replaced_by_arithmetic() {
    let folder = tempfile::tempdir().unwrap();
    let (history, table, ids) = (open(folder.path()), table(3), ids());
    history.append(1, &[sample(0, secs(1), 1.0), sample(0, secs(2), 3.0)], &table);
    history.flush().unwrap();
    history.compact(at(2 * DAY_MICROS)).unwrap();
    let hurt = parquet_files(&folder.path().join("1h"))[0].clone();
    std::fs::write(&hurt, b"PAR1").unwrap();
    let found = history.rollups(&ids[0], Step::Hour, at(0), at(DAY_MICROS)).unwrap();
    assert_eq!((found.list[0].values.unwrap().mean, found.unreadable.len()), (2.0, 0));
    assert_eq!(history.damaged(), [hurt]);
}
