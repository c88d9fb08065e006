//! Whatever arrives from the field: no decoder panics, and each says of a message no more samples than fit into it.
#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use davy::config::{Key, Problems};
use davy::decode::frames::{gb26875, hj212, sl651};
use davy::decode::{API_CSV, API_JSON, API_LINES, Decoder, Forms, RawLines, api_patterns, default_patterns, sparkplug};
use davy::ledger::Ledger;
use davy::model::{Kind, Point, PointTable, Timestamp, Zone};

const MOST: usize = 4_096;

fn point(name: &str) -> Point {
    Point {
        id: format!("hongli.{name}").into(),
        site: "hongli".into(),
        name: name.to_owned(),
        kind: Kind::Methane,
        place: "T1".into(),
        unit: "%VOL".into(),
        range: None,
        resolution: 0.01,
        period: Duration::from_secs(1),
        limits: BTreeMap::new(),
        coordinates: None,
        static_risk: 0,
        calibrate_every: None,
        relations: BTreeMap::new(),
        retired: false,
    }
}

fn message(forms: Forms, topic: &str, payload: &[u8]) {
    let points = Arc::new(PointTable::new(vec![point("t1"), point("co")]));
    let mut samples = Vec::new();
    let account = Ledger::default().account("fuzz");
    let mut decoder = Decoder::new(Arc::new(forms), points, MOST);
    let outcome = decoder.decode(topic.as_bytes(), payload, Timestamp::from_secs(1_790_000_100), &mut samples, &account);
    assert!(outcome.is_ok() || samples.is_empty(), "an error and samples");
    assert!(samples.len() <= payload.len(), "{} samples in {} bytes", samples.len(), payload.len());
}

fn through_the_api(topic: &str, payload: &[u8]) {
    let patterns = api_patterns(&RawLines::default(), &Key::root(), &mut Problems::in_file("fuzz"));
    message(Forms::new(patterns.expect("the default forms are sound"), []), topic, payload);
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((which, bytes)) = bytes.split_first() else { return };
    match which % 12 {
        0 => message(Forms::new(default_patterns(), []), "hongli/t1", bytes),
        1 => through_the_api(API_JSON, bytes),
        2 => through_the_api(API_CSV, bytes),
        3 => through_the_api(&format!("{API_LINES}/ns"), bytes),
        4 => drop(sparkplug::read(bytes)),
        5 => drop(sparkplug::unpack(bytes)),
        6 => drop(gb26875::scan(bytes, MOST)),
        7 => drop(gb26875::objects(bytes, &mut Vec::new())),
        8 => drop(sl651::scan(bytes, MOST)),
        9 => {
            if let Some(frame) = sl651::read(bytes) {
                drop(sl651::report(frame.text, Zone::default()));
            }
        }
        10 => drop(hj212::scan(bytes, MOST)),
        _ => {
            if let Some(message) = hj212::Message::read(bytes) {
                for group in message.groups() {
                    hj212::fields(group).for_each(drop);
                }
            }
        }
    }
});
