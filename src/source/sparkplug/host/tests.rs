//! Edge nodes that behave, that do not, and every order in which their messages may come.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::decode::sparkplug::tests::Writer;
use crate::ledger::Ledger;
use crate::model::Point;
use crate::source::sparkplug::mapping::Binding;

const START: Timestamp = Timestamp::from_secs(1_790_000_000);

fn ms(time: Timestamp) -> u64 {
    (time.micros() / 1_000) as u64
}

pub fn point(id: &str) -> Point {
    serde_json::from_value(serde_json::json!({
        "id": id, "site": id.split('.').next(), "name": id, "kind": "methane", "place": "T1", "unit": "%VOL",
        "range": { "low": 0.0, "high": 4.0 }, "resolution": 0.01, "period": { "secs": 5, "nanos": 0 }, "limits": {},
        "coordinates": null, "static_risk": 0, "retired": false,
    }))
    .unwrap()
}

/// A host with time in the test's hand. Points by pattern: `g.n-x` of the node, `g.n-d-ch4` and `g.n-d-co`
/// of its device; by name: `mine.t1` is metric `Gas/CH4` of device `d` of node `n` of group `bound`.
struct Plant {
    host: Host,
    account: Arc<Account>,
    now: Timestamp,
    samples: Vec<Sample>,
    wishes: Vec<Wish>,
    table: Arc<PointTable>,
}

impl Plant {
    fn new() -> Self {
        let ids = ["g.n-x", "g.n-d-ch4", "g.n-d-co", "g.m-x", "g.m-d-ch4", "mine.t1"];
        let table = Arc::new(PointTable::new(ids.map(point).to_vec()));
        let open = table.iter().take(5).map(|(index, point)| (index, point.id.to_string()));
        let binding = Binding { group: "bound".into(), node: "n".into(), device: "d".into(), metric: "Gas/CH4".into() };
        let mapping = Mapping::new([(PointIndex(5), binding)], open)
            .with_pattern(Some("{group}.{node}-{device}-{metric}".parse().unwrap()));
        let host = Host::new(mapping, table.clone(), "davy");
        let account = Ledger::default().account("county");
        Self { host, account, now: START, samples: Vec::new(), wishes: Vec::new(), table }
    }

    fn connected() -> Self {
        let mut plant = Self::new();
        plant.wishes = plant.host.connected(plant.now);
        plant
    }

    /// A message one second after the last one.
    fn hear(&mut self, topic: &str, payload: Writer) -> Result<(), Fate> {
        self.now = self.now + Duration::from_secs(1);
        self.hear_now(topic, &payload.0, false)
    }

    fn hear_now(&mut self, topic: &str, payload: &[u8], retained: bool) -> Result<(), Fate> {
        let mut out = Output { now: self.now, samples: &mut self.samples, account: &self.account };
        let (result, wish) = self.host.receive(&format!("spBv1.0/{topic}"), payload, retained, &mut out);
        self.wishes.extend(wish);
        result
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
        let mut out = Output { now: self.now, samples: &mut self.samples, account: &self.account };
        let wishes = self.host.tick(&mut out);
        self.wishes.extend(wishes);
    }

    fn lose(&mut self) {
        let mut out = Output { now: self.now, samples: &mut self.samples, account: &self.account };
        self.host.lost(&mut out);
    }

    /// What was stored since the last look: `point=value quality`.
    fn seen(&mut self) -> Vec<String> {
        let told = self.samples.drain(..).map(|sample| {
            let id = &self.table.get(sample.point).unwrap().id;
            format!("{id}={} {}", sample.value, sample.quality)
        });
        told.collect()
    }

    fn wished(&mut self) -> Vec<Wish> {
        std::mem::take(&mut self.wishes)
    }

    /// Node `n` of `g` and its device are alive: sequence 0 and 1.
    fn alive() -> Self {
        let mut plant = Self::connected();
        let time = ms(START + Duration::from_secs(1));
        assert_eq!(plant.hear("g/NBIRTH/n", birth(time, 0, 4, [metric("x", 1, 1.5, time)])), Ok(()));
        let metrics = [metric("ch4", 2, 0.25, time), metric("co", 3, 5.0, time)];
        assert_eq!(plant.hear("g/DBIRTH/n/d", birth_of_device(time + 1_000, 1, metrics)), Ok(()));
        assert_eq!(plant.seen(), ["g.n-x=1.5 good", "g.n-d-ch4=0.25 good", "g.n-d-co=5 uncertain:over_range"]);
        plant.wished();
        plant
    }
}

fn metric(name: &str, alias: u64, value: f64, ms: u64) -> Writer {
    Writer::default().bytes(1, name.as_bytes()).varint(2, alias).varint(3, ms).varint(4, 10).double(13, value)
}

fn by_alias(alias: u64, value: f64, ms: u64) -> Writer {
    Writer::default().varint(2, alias).varint(3, ms).double(13, value)
}

fn payload(ms: u64, seq: Option<u64>, metrics: impl IntoIterator<Item = Writer>) -> Writer {
    let mut payload = Writer::default().varint(1, ms);
    for metric in metrics {
        payload = payload.bytes(2, &metric.0);
    }
    match seq {
        Some(seq) => payload.varint(3, seq),
        None => payload,
    }
}

fn bd_seq(number: u64) -> Writer {
    Writer::default().bytes(1, b"bdSeq").varint(4, 8).varint(11, number)
}

fn birth(ms: u64, seq: u64, session: u64, metrics: impl IntoIterator<Item = Writer>) -> Writer {
    let rebirth = Writer::default().bytes(1, b"Node Control/Rebirth").varint(4, 11).varint(14, 0);
    payload(ms, Some(seq), [bd_seq(session), rebirth].into_iter().chain(metrics))
}

fn birth_of_device(ms: u64, seq: u64, metrics: impl IntoIterator<Item = Writer>) -> Writer {
    payload(ms, Some(seq), metrics)
}

fn rebirth(group: &str, node: &str) -> Wish {
    Wish::Rebirth(format!("spBv1.0/{group}/NCMD/{node}"))
}

#[test]
fn births_teach_aliases_and_data_uses_them() {
    let mut plant = Plant::alive();
    let time = ms(plant.now);
    assert_eq!(
        plant.hear("g/DDATA/n/d", payload(time, Some(2), [by_alias(2, 0.5, time), by_alias(3, 3.0, time)])),
        Ok(())
    );
    assert_eq!(plant.hear("g/NDATA/n", payload(time, Some(3), [by_alias(1, 2.5, time)])), Ok(()));
    assert_eq!(plant.seen(), ["g.n-d-ch4=0.5 good", "g.n-d-co=3 good", "g.n-x=2.5 good"]);
    // A device does not know its node's aliases.
    plant.hear("g/DDATA/n/d", payload(time, Some(4), [by_alias(1, 9.0, time)])).unwrap();
    assert!(plant.seen().is_empty());
    assert_eq!(plant.account.get(Fate::Unborn), 1);
    assert_eq!(plant.wished(), [rebirth("g", "n")]);
}

#[test]
fn sequence_numbers_wrap_and_a_gap_is_asked_about_once() {
    let mut plant = Plant::alive();
    let time = ms(plant.now);
    for seq in (2..=255).chain(0..=9) {
        plant.hear_now("g/NDATA/n", &payload(time, Some(seq), [by_alias(1, 2.0, time)]).0, false).unwrap();
    }
    assert_eq!((plant.seen().len(), plant.wished().len()), (264, 0));
    plant.hear("g/NDATA/n", payload(time, Some(11), [by_alias(1, 3.0, time)])).unwrap();
    plant.hear("g/NDATA/n", payload(time, Some(12), [by_alias(1, 3.5, time), metric("x", 1, 3.75, time)])).unwrap();
    // By name it is certain what is meant; an alias may have changed hands in the birth that we missed.
    assert_eq!(plant.seen(), ["g.n-x=3.75 good"]);
    assert_eq!((plant.account.get(Fate::Gap), plant.account.get(Fate::Unborn)), (1, 2));
    assert_eq!(plant.wished(), [rebirth("g", "n")]);
    let time = ms(plant.now);
    plant.hear("g/NBIRTH/n", birth(time, 0, 4, [metric("y", 1, 8.0, time), metric("x", 9, 1.0, time)])).unwrap();
    plant.hear("g/NDATA/n", payload(time, Some(1), [by_alias(1, 3.0, time), by_alias(9, 1.25, time)])).unwrap();
    assert_eq!(plant.seen(), ["g.n-x=1 good", "g.n-x=1.25 good"]);
}

/// Rebirth requests come at most every 10 s at first, then ever less often; the points of a node that does
/// not answer are missing.
#[test]
fn a_node_that_does_not_answer_is_missing_and_not_pestered() {
    let mut plant = Plant::alive();
    plant.hear("g/NDATA/n", payload(ms(plant.now), Some(77), [])).unwrap();
    assert_eq!(plant.wished().len(), 1);
    for _ in 0..9 {
        plant.wait(1);
    }
    assert_eq!(plant.seen(), ["mine.t1=0 bad:not_polled"], "a node that never answered");
    plant.wait(1);
    let mut missing = plant.seen();
    missing.sort();
    assert_eq!(missing, ["g.n-d-ch4=0 bad:not_polled", "g.n-d-co=0 bad:not_polled", "g.n-x=0 bad:not_polled"]);
    plant.wished();
    let before = plant.now;
    while plant.now < before + Duration::from_secs(3_600) {
        plant.wait(5);
    }
    let asked = plant.wished().into_iter().filter(|wish| *wish == rebirth("g", "n")).count();
    assert!((10..=18).contains(&asked), "{asked} requests in an hour");
    assert!(plant.seen().is_empty(), "missing is said once");
}

#[test]
fn a_node_that_dies_takes_its_points_with_it_and_an_old_death_does_not() {
    let mut plant = Plant::alive();
    assert_eq!(plant.hear("g/NDEATH/n", payload(1, None, [bd_seq(3)])), Err(Fate::OldDeath));
    assert!(plant.seen().is_empty());
    assert_eq!(plant.hear("g/NDEATH/n", payload(1, None, [bd_seq(4)])), Ok(()));
    let mut dead = plant.seen();
    dead.sort();
    assert_eq!(dead, ["g.n-d-ch4=0 bad:not_polled", "g.n-d-co=0 bad:not_polled", "g.n-x=0 bad:not_polled"]);
    assert_eq!(plant.account.get(Fate::Death), 1);
    let time = ms(plant.now);
    assert_eq!(plant.hear("g/NDATA/n", payload(time, Some(2), [metric("x", 1, 2.0, time)])), Err(Fate::Unborn));
    assert_eq!(plant.hear("g/DBIRTH/n/d", birth_of_device(time, 3, [metric("ch4", 2, 1.0, time)])), Err(Fate::Unborn));
    assert!(plant.seen().is_empty());
    assert_eq!(plant.wished(), [rebirth("g", "n")]);
}

#[test]
fn a_device_that_dies_leaves_its_node_alive() {
    let mut plant = Plant::alive();
    let time = ms(plant.now);
    assert_eq!(plant.hear("g/DDEATH/n/d", payload(time, Some(2), [])), Ok(()));
    assert_eq!(plant.seen(), ["g.n-d-ch4=0 bad:not_polled", "g.n-d-co=0 bad:not_polled"]);
    assert_eq!(plant.hear("g/NDATA/n", payload(time, Some(3), [by_alias(1, 2.0, time)])), Ok(()));
    assert_eq!(plant.hear("g/DDATA/n/d", payload(time, Some(4), [by_alias(2, 2.0, time)])), Err(Fate::Unborn));
    assert_eq!(plant.seen(), ["g.n-x=2 good"]);
}

/// A node is told in place of its devices, a device only beside a node that lives, and what nobody binds not at all.
#[test]
fn absences_of_bound_nodes_and_devices_are_told_once_on_two_levels() {
    let mut plant = Plant::alive();
    let told = |plant: &mut Plant| plant.host.absences();
    let node = |away| ("bound/n".to_owned(), away);
    let device = |away| ("bound/n/d".to_owned(), away);
    assert_eq!(told(&mut plant), [], "it has ten seconds to be born");
    plant.wait(20);
    assert_eq!((told(&mut plant), told(&mut plant)), (vec![node(true)], vec![]));
    let time = ms(plant.now);
    plant.hear("bound/NBIRTH/n", birth(time, 0, 4, [])).unwrap();
    assert_eq!(told(&mut plant), [node(false)]);
    plant.wait(5);
    assert_eq!(told(&mut plant), [], "its device has ten seconds too");
    plant.wait(6);
    assert_eq!(told(&mut plant), [device(true)]);
    plant.hear("bound/DBIRTH/n/d", birth_of_device(time, 1, [metric("Gas/CH4", 2, 0.2, time)])).unwrap();
    assert_eq!(told(&mut plant), [device(false)]);
    plant.hear("bound/DDEATH/n/d", payload(time, Some(2), [])).unwrap();
    assert_eq!(told(&mut plant), [device(true)]);
    plant.hear("bound/NDEATH/n", payload(1, None, [bd_seq(4)])).unwrap();
    assert_eq!(told(&mut plant), [device(false), node(true)]);
    plant.hear("bound/NBIRTH/n", birth(time, 0, 5, [])).unwrap();
    assert_eq!(told(&mut plant), [device(true), node(false)], "it was not announced since its own death");
    plant.hear("bound/DBIRTH/n/d", birth_of_device(time, 1, [])).unwrap();
    assert_eq!(told(&mut plant), [device(false)]);
    // The broker is lost: its own alarm says so.
    plant.lose();
    assert_eq!(told(&mut plant), []);
    plant.hear("g/NDEATH/n", payload(1, None, [bd_seq(4)])).unwrap();
    assert_eq!(told(&mut plant), [], "nobody binds it");
}

/// After its node's birth a device has ten seconds for its own.
#[test]
fn a_device_that_is_not_announced_again_is_missing() {
    let mut plant = Plant::alive();
    let time = ms(plant.now);
    plant.hear("g/NBIRTH/n", birth(time, 0, 4, [metric("x", 1, 2.0, time)])).unwrap();
    assert_eq!(plant.hear("g/DDATA/n/d", payload(time, Some(1), [by_alias(2, 2.0, time)])), Err(Fate::Unborn));
    assert_eq!(plant.seen(), ["g.n-x=2 good"]);
    plant.wait(20);
    let mut missing = plant.seen();
    missing.sort();
    assert_eq!(missing, ["g.n-d-ch4=0 bad:not_polled", "g.n-d-co=0 bad:not_polled", "mine.t1=0 bad:not_polled"]);
}

#[test]
fn what_a_new_birth_leaves_out_is_missing() {
    let mut plant = Plant::alive();
    let time = ms(plant.now);
    plant.hear("g/DBIRTH/n/d", birth_of_device(time, 2, [metric("co", 2, 2.0, time)])).unwrap();
    assert_eq!(plant.seen(), ["g.n-d-co=2 good", "g.n-d-ch4=0 bad:not_polled"]);
}

#[test]
fn history_nulls_and_qualities_are_told_apart() {
    let mut plant = Plant::alive();
    let time = ms(plant.now);
    let quality = |code: u64| {
        Writer::default().bytes(1, b"Quality").bytes(2, &Writer::default().varint(1, 3).varint(3, code).0).0
    };
    let past = time - 60_000;
    let metrics = [
        by_alias(1, 1.0, past).varint(5, 1),
        Writer::default().varint(2, 1).varint(3, time).varint(7, 1),
        by_alias(1, 2.0, time).bytes(9, &quality(192)),
        by_alias(1, 2.0, time).bytes(9, &quality(0)),
        by_alias(1, 2.0, time).bytes(9, &quality(500)),
        by_alias(1, f64::NAN, time),
        Writer::default().varint(2, 1).bytes(15, b"text"),
        by_alias(1, 2.0, 7),
    ];
    plant.hear("g/NDATA/n", payload(time, Some(2), metrics)).unwrap();
    assert_eq!(plant.samples[0].source_time, Timestamp::from_micros(past as i64 * 1_000));
    assert_eq!(plant.samples[6].source_time, Timestamp::from_micros(time as i64 * 1_000), "the message's time");
    assert_eq!(
        plant.seen(),
        [
            "g.n-x=1 good:late",
            "g.n-x=0 bad:not_polled",
            "g.n-x=2 good",
            "g.n-x=2 bad:sensor_fault",
            "g.n-x=2 bad:not_polled",
            "g.n-x=0 bad:non_finite",
            "g.n-x=0 bad:not_polled",
            "g.n-x=2 uncertain:clock_wrong",
        ]
    );
    let counted = [Fate::NoValue, Fate::BadValue, Fate::BadTime].map(|fate| plant.account.get(fate));
    assert_eq!(counted, [1, 1, 1]);
}

/// A node's clock may be behind ours: its values after a death must still come after the absence.
#[test]
fn a_slow_clock_does_not_make_a_return_look_late() {
    let mut plant = Plant::connected();
    let behind = |now: Timestamp| ms(now) - 3_600_000;
    let first = behind(plant.now + Duration::from_secs(1));
    plant.hear("g/NBIRTH/n", birth(first, 0, 1, [metric("x", 1, 1.0, first)])).unwrap();
    plant.hear("g/NDEATH/n", payload(first, None, [bd_seq(1)])).unwrap();
    // The value has not changed since the first birth; only the birth is new.
    let second = behind(plant.now + Duration::from_secs(1));
    plant.hear("g/NBIRTH/n", birth(second, 0, 2, [metric("x", 1, 1.0, first)])).unwrap();
    let times: Vec<_> = plant.samples.iter().map(|sample| sample.source_time).collect();
    assert!(times.is_sorted() && times[0] < times[1] && times[1] < times[2], "{times:?}");
    assert_eq!(plant.seen(), ["g.n-x=1 good", "g.n-x=0 bad:not_polled", "g.n-x=1 good"]);
}

#[test]
fn a_connection_asks_the_nodes_that_are_bound_and_its_end_leaves_nothing_standing() {
    let mut plant = Plant::connected();
    assert_eq!(plant.wished(), [rebirth("bound", "n")]);
    let time = ms(plant.now);
    plant.hear("bound/NBIRTH/n", birth(time, 0, 0, [])).unwrap();
    plant.hear("bound/DBIRTH/n/d", birth_of_device(time, 1, [metric("Gas/CH4", 1, 0.3, time)])).unwrap();
    assert_eq!(plant.seen(), ["mine.t1=0.3 good"]);
    plant.lose();
    assert_eq!(plant.seen(), ["mine.t1=0 bad:not_polled"]);
    plant.lose();
    assert!(plant.seen().is_empty());
    assert_eq!(plant.hear("bound/DDATA/n/d", payload(time, Some(2), [by_alias(1, 1.0, time)])), Err(Fate::Unborn));
    assert_eq!(plant.host.connected(plant.now), [rebirth("bound", "n")]);
    // Bound, but not in the birth.
    plant.hear("bound/NBIRTH/n", birth(time, 0, 0, [])).unwrap();
    plant.hear("bound/DBIRTH/n/d", birth_of_device(time, 1, [metric("Gas/CO", 1, 0.3, time)])).unwrap();
    assert!(plant.seen().is_empty(), "it is missing already");
}

#[test]
fn our_own_state_is_defended_and_retained_values_are_not_believed() {
    let mut plant = Plant::connected();
    plant.wished();
    plant.hear_now("STATE/davy", br#"{"online":false,"timestamp":5}"#, false).unwrap();
    plant.hear_now("STATE/davy", br#"{"online":true,"timestamp":5}"#, false).unwrap();
    plant.hear_now("STATE/other", br#"{"online":false,"timestamp":5}"#, false).unwrap();
    assert_eq!(plant.wished(), [Wish::Announce]);
    let old = birth(ms(START), 0, 0, [metric("x", 1, 1.0, ms(START))]);
    assert_eq!(plant.hear_now("g/NBIRTH/n", &old.0, true), Err(Fate::Late));
    assert!(plant.seen().is_empty());
    assert_eq!(plant.wished(), [rebirth("g", "n")]);
    assert_eq!(plant.hear_now("nonsense", b"", false), Err(Fate::UnknownTopic));
}

#[test]
fn a_payload_that_cannot_be_read_casts_doubt_and_a_death_that_cannot_is_believed() {
    let mut plant = Plant::alive();
    assert_eq!(plant.hear_now("g/NDATA/n", b"\xff", false), Err(Fate::Malformed));
    assert_eq!(plant.wished(), [rebirth("g", "n")]);
    let time = ms(plant.now);
    plant.hear("g/NDATA/n", payload(time, Some(2), [by_alias(1, 2.0, time)])).unwrap();
    assert!(plant.seen().is_empty());
    assert_eq!(plant.hear_now("g/NDEATH/n", b"\xff", false), Err(Fate::Malformed));
    assert_eq!(plant.seen().len(), 3);
}

#[test]
fn two_metrics_do_not_share_a_point() {
    let mut plant = Plant::alive();
    let time = ms(plant.now);
    // Node "n-d" with its own metric "ch4" makes the id of device "d" of node "n".
    plant.hear("g/NBIRTH/n-d", birth(time, 0, 0, [metric("ch4", 1, 3.0, time)])).unwrap();
    assert!(plant.seen().is_empty());
    assert_eq!(plant.account.get(Fate::UnknownPoint), 1);
}

/// What may happen to two nodes with a device each.
#[derive(Clone, Debug)]
enum Act {
    NodeBirth { node: usize, session: u64 },
    DeviceBirth { node: usize },
    NodeData { node: usize, skip: bool },
    DeviceData { node: usize, skip: bool },
    NodeDeath { node: usize, session: u64 },
    DeviceDeath { node: usize },
    Garbage { node: usize, verb: usize },
    Wait(u64),
    Lose,
}

fn act() -> impl Strategy<Value = Act> {
    let node = 0..2_usize;
    prop_oneof![
        4 => (node.clone(), 0..3_u64).prop_map(|(node, session)| Act::NodeBirth { node, session }),
        4 => node.clone().prop_map(|node| Act::DeviceBirth { node }),
        6 => (node.clone(), prop::bool::weighted(0.1)).prop_map(|(node, skip)| Act::NodeData { node, skip }),
        6 => (node.clone(), prop::bool::weighted(0.1)).prop_map(|(node, skip)| Act::DeviceData { node, skip }),
        2 => (node.clone(), 0..3_u64).prop_map(|(node, session)| Act::NodeDeath { node, session }),
        2 => node.clone().prop_map(|node| Act::DeviceDeath { node }),
        1 => (node, 0..6_usize).prop_map(|(node, verb)| Act::Garbage { node, verb }),
        1 => (0..25_u64).prop_map(Act::Wait),
        1 => Just(Act::Lose),
    ]
}

/// What the test knows of a node, told in the fewest words.
#[derive(Clone, Copy, Debug, Default)]
struct Truth {
    session: Option<u64>,
    device: bool,
    seq: u64,
}

/// What is true from here on, and the message that says so.
fn play(act: Act, plant: &mut Plant, truths: &mut [Truth; 2], time: u64) -> Option<(String, Vec<u8>)> {
    let topic = |verb: &str, node: usize| {
        let device = if verb.starts_with('D') { "/d" } else { "" };
        format!("g/{verb}/{}{device}", ["n", "m"][node])
    };
    let step = |truth: &mut Truth, skip: bool| {
        truth.seq += 1 + u64::from(skip);
        Some(truth.seq % 256)
    };
    let said = match act {
        Act::NodeBirth { node, session } => {
            truths[node] = Truth { session: Some(session), device: false, seq: 0 };
            (topic("NBIRTH", node), birth(time, 0, session, [metric("x", 1, 1.0, time)]))
        }
        Act::DeviceBirth { node } => {
            truths[node].device = truths[node].session.is_some();
            (topic("DBIRTH", node), payload(time, step(&mut truths[node], false), [metric("ch4", 2, 1.0, time)]))
        }
        Act::NodeData { node, skip } => {
            let metrics = [metric("x", 1, 2.0, time), by_alias(1, 2.5, time)];
            (topic("NDATA", node), payload(time, step(&mut truths[node], skip), metrics))
        }
        Act::DeviceData { node, skip } => {
            let metrics = [metric("ch4", 2, 2.0, time), by_alias(2, 2.5, time)];
            (topic("DDATA", node), payload(time, step(&mut truths[node], skip), metrics))
        }
        Act::NodeDeath { node, session } => {
            if truths[node].session == Some(session) {
                truths[node].session = None;
            }
            (topic("NDEATH", node), payload(time, None, [bd_seq(session)]))
        }
        Act::DeviceDeath { node } => {
            truths[node].device = false;
            (topic("DDEATH", node), payload(time, step(&mut truths[node], false), []))
        }
        Act::Garbage { node, verb } => {
            let verb = ["NBIRTH", "NDATA", "NDEATH", "DBIRTH", "DDATA", "DDEATH"][verb];
            // What it meant nobody knows; a death among it is believed.
            if verb == "NDEATH" {
                truths[node].session = None;
            }
            (topic(verb, node), Writer(vec![0xFF, 0xFF]))
        }
        Act::Wait(seconds) => {
            plant.wait(seconds);
            return None;
        }
        Act::Lose => {
            plant.lose();
            *truths = [Truth::default(); 2];
            plant.host.connected(plant.now);
            return None;
        }
    };
    Some((said.0, said.1.0))
}

proptest! {
    /// Whatever the order: no usable value of a node or device that is not alive, and a death leaves no
    /// point with a value.
    #[test]
    fn the_dead_have_no_values(acts in proptest::collection::vec(act(), 1..80)) {
        let mut plant = Plant::connected();
        let mut truths = [Truth::default(); 2];
        let mut latest: BTreeMap<String, bool> = BTreeMap::new();
        for act in acts {
            plant.now = plant.now + Duration::from_secs(1);
            let time = ms(plant.now);
            if let Some((topic, payload)) = play(act, &mut plant, &mut truths, time) {
                let heard = plant.hear_now(&topic, &payload, false);
                prop_assert!(heard != Err(Fate::UnknownTopic), "{topic}");
            }
            for sample in plant.samples.drain(..) {
                let id = plant.table.get(sample.point).unwrap().id.to_string();
                let truth = truths[usize::from(id.starts_with("g.m"))];
                let alive = truth.session.is_some() && (truth.device || !id.contains("-d-"));
                prop_assert!(alive || !sample.quality.usable(), "{id} {sample:?} {truth:?}");
                latest.insert(id, sample.quality.usable());
            }
            for (node, letter) in ["n", "m"].into_iter().enumerate() {
                let gone = truths[node].session.is_none();
                for (id, usable) in latest.iter().filter(|(id, _)| id.starts_with(&format!("g.{letter}"))) {
                    prop_assert!(!(gone && *usable), "{id} has a value, its node is dead");
                }
            }
        }
    }

    #[test]
    fn no_bytes_on_no_topic_make_it_panic(
        messages in proptest::collection::vec(
            (
                "(spBv1.0|x)/(g|STATE|)/(NBIRTH|NDATA|NDEATH|DBIRTH|DDATA|DDEATH|NCMD|davy)(/n)?(/d)?",
                proptest::collection::vec(any::<u8>(), 0..60),
            ),
            0..20,
        ),
    ) {
        let mut plant = Plant::connected();
        for (topic, bytes) in messages {
            let mut out = Output { now: plant.now, samples: &mut plant.samples, account: &plant.account };
            let (heard, wish) = plant.host.receive(&topic, &bytes, false, &mut out);
            prop_assert!(heard != Err(Fate::Refused) && wish != Some(Wish::Announce));
        }
        prop_assert!(plant.samples.iter().all(|sample| sample.value.is_finite()));
    }
}
