use std::collections::BTreeMap;
use std::io::Write as _;

use proptest::prelude::*;

use super::*;
use crate::model::{Kind as PointKind, Point, Timestamp};

const NOW: Timestamp = Timestamp::from_secs(1_790_000_100);

fn sender(more: &str) -> Arc<Sender> {
    let point = |id: &str| Point {
        id: id.into(),
        site: "mine".into(),
        name: id.into(),
        kind: PointKind::Methane,
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
    };
    let table = Arc::new(PointTable::new(vec![point("mine.t1"), point("mine.t2")]));
    let (intake, waiting) = Intake::with_receiver(1);
    drop(waiting);
    let config = Config::of_test("weather", "a-token-of-the-mast", &format!("points = [\"*\"]\n{more}"));
    Senders::new(vec![config], &table, &intake, &Ledger::default()).admit(b"a-token-of-the-mast").unwrap()
}

#[test]
fn of_many_losses_the_first_are_told_and_all_are_counted() {
    let sender = sender("");
    let text = format!("point,value\n{}mine.t1,2", "mine.t9,1\n".repeat(150));
    let batch = sender.read(text.into_bytes(), false, &Kind::Csv, NOW).unwrap();
    assert_eq!((batch.samples.len(), batch.unusable.len(), batch.rejected, batch.flagged), (1, 100, 150, 0));
    assert_eq!((batch.unusable[99].place, &*batch.unusable[99].about), (101, "mine.t9"));
    assert_eq!(sender.account().get(Fate::UnknownPoint), 150);
    let text = "{\"point\":\"x\",\"value\":1}\n".repeat(150);
    let batch = sender.read(text.into_bytes(), false, &Kind::NdJson, NOW).unwrap();
    assert_eq!((batch.unusable.len(), batch.rejected, batch.unusable[99].place), (100, 150, 100));
}

#[tokio::test]
async fn a_closed_journal_acknowledges_nothing() {
    let sender = sender("");
    let sample = Sample::received(crate::model::PointIndex(0), 1.0, None, NOW);
    assert_eq!(sender.deliver(&[sample]).await, Err(Undelivered::NotDurable));
    assert_eq!((sender.account().get(Fate::Accepted), sender.account().get(Fate::Unacknowledged)), (0, 1));
    assert_eq!(sender.deliver(&[]).await, Ok(()), "nothing to keep is nothing to wait for");
}

fn kinds() -> Vec<Kind> {
    let lines = ["ns", "us", "ms", "s"].map(|precision| Kind::Lines(precision.to_owned()));
    [Kind::Json, Kind::NdJson, Kind::Csv].into_iter().chain(lines).collect()
}

proptest! {
    /// Whatever a body holds, packed or not, it is read, told or refused.
    #[test]
    fn no_body_does_harm(
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            "[\\[{]?(\"point\"|\"samples\"|\"value\"|\"mine.t1\"|:|,|[{}\\[\\]]|1|\n|point,value|mine.t1,|x=1 )*"
                .prop_map(String::into_bytes),
        ],
        packed in any::<bool>(),
    ) {
        let sender = sender("body_bytes = 1024");
        for kind in kinds() {
            let mut sent = body.clone();
            if packed {
                let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                gzip.write_all(&body).unwrap();
                sent = gzip.finish().unwrap();
            }
            // As it says, and as it does not say.
            let honest = sender.read(sent.clone(), packed, &kind, NOW);
            drop(sender.read(sent, !packed, &kind, NOW));
            if body.len() > 1_024 {
                prop_assert_eq!(honest.err(), Some(Unread::TooLarge(1_024)));
                continue;
            }
            let batch = honest.unwrap();
            prop_assert!(batch.samples.iter().all(|sample| sample.value.is_finite()));
            prop_assert!(batch.unusable.len() as u64 <= batch.rejected + batch.flagged);
            prop_assert!(batch.flagged <= batch.samples.len() as u64);
        }
    }
}
