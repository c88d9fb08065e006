//! Fleet, sites and load against a real broker.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use davy_simulators::clock::now_ms;
use davy_simulators::fleet::{Fleet, Form};
use davy_simulators::load::{Ended, Load};
use davy_simulators::mqtt::Qos;
use davy_simulators::site::{Sites, Transport, demo_points};
use stage::{Listener, Mosquitto};
use tokio::time::timeout;
use tokio_modbus::prelude::{Reader, Slave, SlaveContext};

const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_fleet_is_heard_sensor_by_sensor_and_accounts_for_every_message() {
    let Some(broker) = Mosquitto::start().await else { return };
    for qos in [Qos::AtLeastOnce, Qos::AtMostOnce] {
        let mut listener = Listener::on(broker.address, "north/#").await;
        let fleet = Fleet {
            site: "north".to_owned(),
            sensors: 20,
            connections: 2,
            period: Duration::from_millis(200),
            qos,
            ..Fleet::default()
        };
        let running = fleet.start(broker.address).unwrap();
        let mut heard: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        while heard.len() < 20 || heard.values().any(|times| times.len() < 3) {
            let (topic, json) = listener.hear().await;
            let value = json["value"].as_f64().unwrap();
            assert!((0.37..=0.47).contains(&value), "{topic}: {value}");
            heard.entry(topic).or_default().push(json["time"].as_u64().unwrap());
        }
        assert!(heard.values().flatten().all(|time| now_ms().abs_diff(*time) < 30_000));
        assert!(heard.values().all(|times| times.is_sorted()));
        let report = timeout(SOON, running.stop()).await.expect("it stops");
        assert_eq!((report.messages.dropped, report.samples), (0, report.messages.accepted));
        assert_eq!(report.messages.sent, report.messages.accepted);
        let confirmed = if qos == Qos::AtLeastOnce { report.messages.accepted } else { 0 };
        assert_eq!(report.messages.acknowledged, confirmed);
    }
}

#[tokio::test]
async fn a_fleet_may_pack_many_sensors_or_many_samples_into_a_message() {
    let Some(broker) = Mosquitto::start().await else { return };
    let fleet = Fleet { sensors: 5, period: Duration::from_millis(100), ..Fleet::default() };

    let mut listener = Listener::on(broker.address, "packed/#").await;
    let running =
        Fleet { site: "packed".to_owned(), form: Form::Object, ..fleet.clone() }.start(broker.address).unwrap();
    let (topic, json) = listener.hear().await;
    assert_eq!((topic.as_str(), json.as_object().unwrap().len()), ("packed", 6));
    assert!(json["sensor-0005"].is_f64() && json["time"].is_u64());
    running.stop().await;

    let mut listener = Listener::on(broker.address, "rows/#").await;
    let running = Fleet { site: "rows".to_owned(), form: Form::Array(4), ..fleet }.start(broker.address).unwrap();
    let (topic, json) = listener.hear().await;
    assert!(topic.starts_with("rows/sensor-"), "{topic}");
    assert_eq!(json.as_array().unwrap().len(), 4);
    running.stop().await;
}

#[tokio::test]
async fn a_fleet_waits_for_a_broker_that_is_away_and_counts_what_it_could_not_keep() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let fleet = Fleet { sensors: 3_000, period: Duration::from_millis(100), ..Fleet::default() };
    let running = fleet.start(nobody).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let report = timeout(SOON, running.stop()).await.expect("it stops although nobody listens");
    assert!(report.messages.dropped > 0, "a queue of 1024 cannot hold 3000 messages: {report:?}");
    assert_eq!((report.messages.sent, report.messages.acknowledged), (0, 0));
}

#[tokio::test]
async fn the_load_is_acknowledged_by_a_real_broker_to_the_last_message() {
    let Some(broker) = Mosquitto::start().await else { return };
    let load = Load {
        connections: 4,
        topics: Load::topics("load", 50),
        messages: Some(20_000),
        window: 100,
        keep_acknowledged: 20_000,
        ..Load::default()
    };
    let report = timeout(SOON, load.clone().run(broker.address)).await.expect("it ends").unwrap();
    assert_eq!((report.ended, report.acknowledged, report.unacknowledged), (Ended::Complete, 20_000, 0));
    assert_eq!(report.unexpected_acks, 0);
    let distinct: BTreeSet<_> = report.acknowledged_list.iter().map(|one| (one.point, one.time_ms)).collect();
    assert_eq!(distinct.len(), 20_000);

    let unconfirmed = Load { qos: Qos::AtMostOnce, ..load };
    let report = timeout(SOON, unconfirmed.run(broker.address)).await.expect("it ends").unwrap();
    assert_eq!((report.ended, report.sent, report.acknowledged), (Ended::Complete, 20_000, 0));
}

#[tokio::test]
async fn the_load_survives_a_broker_that_is_killed_and_tells_what_was_acknowledged() {
    let Some(mut broker) = Mosquitto::start().await else { return };
    let load = Load {
        connections: 3,
        topics: Load::topics("load", 30),
        messages: Some(u64::MAX),
        window: 50,
        keep_acknowledged: 10_000_000,
        ..Load::default()
    };
    let running = load.start(broker.address);
    let progress = running.progress();
    timeout(SOON, async {
        while progress.acknowledged() < 2_000 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the broker acknowledges");
    broker.kill();
    let report = timeout(SOON, running.finish()).await.expect("it ends when the broker is dead").unwrap();
    assert_eq!((report.ended, report.broken_connections), (Ended::Broken, 3));
    assert!(report.acknowledged >= 2_000 && report.acknowledged as usize == report.acknowledged_list.len());
    assert!(report.unacknowledged <= 150 && !report.reasons.is_empty(), "{:?}", report.reasons);
}

#[tokio::test]
async fn the_demo_sites_live_on_both_wires() {
    let Some(broker) = Mosquitto::start().await else { return };
    let mut listener = Listener::on(broker.address, "+/+").await;
    let wired = Sites::modbus_first().await.unwrap();
    let mut detector = tokio_modbus::client::tcp::connect_slave(wired.address(), Slave(1)).await.unwrap();
    let before = detector.read_holding_registers(1, 1).await.unwrap().unwrap()[0];
    assert!(before < 30, "tenths of a ppm of hydrogen sulphide before anything happens: {before}");

    let sites = wired.start(broker.address, None);
    let mut expected: BTreeSet<String> = demo_points()
        .into_iter()
        .filter_map(|point| match point.transport {
            Transport::Mqtt { topic } => Some(topic),
            Transport::Modbus { .. } => None,
        })
        .collect();
    let (mut methane_rose, mut methane_fell, mut smoke) = (false, false, BTreeSet::new());
    let mut leak = 0;
    while !expected.is_empty() || !methane_fell || !smoke.contains("1.0") || leak < 130 {
        let (topic, json) = listener.hear().await;
        let value = json["value"].as_f64().unwrap();
        expected.remove(&topic);
        match topic.as_str() {
            "demo-mine/face-3201-t1" => {
                methane_rose |= value >= 1.0;
                methane_fell |= methane_rose && value < 1.0;
            }
            "demo-building/smoke-3-2" => {
                smoke.insert(format!("{value:.1}"));
            }
            _ => {}
        }
        leak = leak.max(detector.read_holding_registers(1, 1).await.unwrap().unwrap()[0]);
    }
    detector.set_slave(Slave(21));
    let drainage = detector.read_input_registers(0, 2).await.unwrap().unwrap();
    let bits = u32::from(drainage[0].swap_bytes()) << 16 | u32::from(drainage[1].swap_bytes());
    assert!((-0.034..=-0.030).contains(&f32::from_bits(bits)), "BADC: {}", f32::from_bits(bits));

    let counts = timeout(SOON, sites.stop()).await.expect("they stop");
    assert_eq!((counts.mqtt.dropped, counts.mqtt.acknowledged), (0, counts.mqtt.accepted));
    assert!(counts.silent > 0 && counts.modbus_requests > 10, "{counts:?}");
}
