use std::collections::BTreeMap as Map;
use std::time::Duration;

use super::*;
use crate::model::{Kind, Point, PointIndex, Quality, Reason};

const DAY: i64 = 20_000 * 86_400;

fn at(second: i64) -> Timestamp {
    Timestamp::from_secs(DAY + second)
}

fn table() -> PointTable {
    let point = |id: &str| Point {
        id: id.into(),
        site: id.split('.').next().unwrap().into(),
        name: id.into(),
        kind: Kind::Methane,
        place: String::new(),
        unit: "%VOL".into(),
        range: None,
        resolution: 0.01,
        period: Duration::from_secs(30),
        limits: Map::new(),
        coordinates: None,
        static_risk: 0,
        calibrate_every: None,
        relations: Map::new(),
        retired: false,
    };
    let gone = Point { retired: true, ..point("mine.gone") };
    PointTable::new(vec![point("mine.t0"), point("mine.t1"), point("plant.p0"), gone])
}

fn heard(index: u32, second: i64) -> Option<Sample> {
    Some(Sample::received(PointIndex(index), 0.4, Some(at(second)), at(second)))
}

fn told(online: &Online, from: i64, to: i64) -> Vec<(String, u64, u64, u64)> {
    let told = online.between(at(from), at(to)).unwrap();
    told.into_iter().map(|(site, of)| (site.to_string(), of.required, of.live, of.good)).collect()
}

#[test]
fn each_minute_counts_once_and_live_is_not_yet_good() {
    let folder = tempfile::tempdir().unwrap();
    let online = Online::open(&folder.path().join("online.db")).unwrap();
    let bad = heard(1, 10).map(|sample| Sample { quality: Quality::because(Reason::LineBreak), ..sample });
    let latest = [heard(0, 10), bad, None, None];
    for second in [12, 15, 50] {
        online.look(&table(), &latest, at(second)).unwrap();
    }
    let first = [("mine".to_owned(), 2, 2, 1), ("plant".to_owned(), 1, 0, 0)];
    assert_eq!(told(&online, 0, 60), first);
    // A minute later nothing new has come: nobody is live.
    online.look(&table(), &latest, at(70)).unwrap();
    assert_eq!(told(&online, 0, 3_600)[0], ("mine".to_owned(), 4, 2, 1));
    online.look(&table(), &latest, at(30)).unwrap();
    assert_eq!(told(&online, 0, 3_600)[0].1, 4, "the clock was set back: the minute has been counted");
}

#[test]
fn an_outage_of_the_gateway_is_required_and_missing_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("online.db");
    let latest = |second: i64| [heard(0, second), heard(1, second), heard(2, second), None];
    Online::open(&path).unwrap().look(&table(), &latest(0), at(0)).unwrap();
    // Down for 99 minutes, from the first hour into the second.
    let online = Online::open(&path).unwrap();
    online.look(&table(), &latest(6_000), at(6_000)).unwrap();
    let all = told(&online, 0, 7_200);
    assert_eq!(all, [("mine".to_owned(), 202, 4, 4), ("plant".to_owned(), 101, 2, 2)]);
    assert_eq!(told(&online, 3_600, 7_200)[0], ("mine".to_owned(), 82, 2, 2), "its part of the second hour");
    assert_eq!(told(&online, 7_200, 9_000), []);
}

#[test]
fn what_is_older_than_four_hundred_days_goes_and_a_damaged_file_is_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("online.db");
    std::fs::write(&path, "this is no database, and it is long enough to be looked at as one").unwrap();
    let online = Online::open(&path).unwrap();
    online.look(&table(), &[], at(0)).unwrap();
    assert_eq!(told(&online, 0, 60).len(), 2);
    online.look(&table(), &[], at(401 * 86_400)).unwrap();
    assert_eq!(told(&online, 0, 86_400), [], "and the years between are not written down minute by minute");
}
