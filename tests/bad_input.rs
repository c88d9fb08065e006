//! Everything that can be wrong with what comes in from the field, while good sensors stand beside it.
//!
//! Every kind is counted under its own fate in the loss ledger, the points that it hits are bad in the API
//! at once, and the good sensors on the same listener and the good Modbus device lose nothing.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails where it stands")]

mod stage;

use std::time::Duration;

use davy::clock::Stopwatch;
use davy_simulators::modbus::{Device as Unit, Misbehaviour, ModbusDevices, Table, registers};
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;

use stage::device::{Device, Message, drain, open, packet, publish};
use stage::{Davy, Site, now_ms, until};

const QUIET: Duration = Duration::from_millis(700);
const LISTENER: &str = "mqtt_listener.front";

fn config(good: &ModbusDevices, bad: &ModbusDevices) -> String {
    let mut text = format!(
        "[web]\naddress = \"127.0.0.1:0\"\n[history]\nflush = \"2s\"\n\
         [source.mqtt_listener.front]\naddress = \"127.0.0.1:0\"\nanonymous = true\n\
         [source.mqtt_listener.front.limit]\npacket_bytes = 65536\n\
         [source.modbus.good]\naddress = \"{}\"\nperiod = \"100ms\"\ntimeout = \"500ms\"\n\
         [source.modbus.bad]\naddress = \"{}\"\nperiod = \"100ms\"\ntimeout = \"80ms\"\nretries = 0\n",
        good.address(),
        bad.address()
    );
    for id in ["good-1", "good-2", "wild"] {
        text.push_str(&format!("[point.\"pit.{id}\"]\nkind = \"methane\"\nplace = \"T1\"\nperiod = \"60s\"\n"));
    }
    for device in ["good", "bad"] {
        text.push_str(&format!(
            "[point.\"plant.{device}\"]\nkind = \"pressure\"\nperiod = \"1s\"\n\
             modbus = {{ device = \"{device}\", function = 3, address = 0, type = \"uint16\", scale = 0.1 }}\n"
        ));
    }
    text
}

/// Sensors that send a sample every few milliseconds until they are told to stop.
fn good_sensor(name: &'static str, davy: &Davy, stop: &CancellationToken) -> tokio::task::JoinHandle<Device> {
    let (address, stop) = (davy.mqtt(), stop.clone());
    tokio::spawn(async move {
        let (mut device, mut last) = (Device::new(name), 0);
        let make = || {
            last = now_ms().max(last + 1);
            Some(Message::value(format!("pit/{name}"), (last % 90) as f64 / 100.0, last))
        };
        device.run(address, Duration::from_millis(8), &stop, make).await;
        device
    })
}

/// Payloads that are acknowledged, since sending them again would not make them better, and counted.
async fn payloads(davy: &Davy) {
    let (soon, wild) = (now_ms(), "pit/wild");
    let cases: [(&str, &str, Vec<u8>); 17] = [
        ("not_utf8", wild, b"{\"value\":\xff\xfe}".to_vec()),
        ("not_utf8", wild, vec![0xc3]),
        ("not_json", wild, b"{\"value\":0.4".to_vec()),
        ("not_json", wild, b"methane low".to_vec()),
        ("not_json", wild, b"{\"value\":0.4} trailing".to_vec()),
        ("not_json", wild, b"".to_vec()),
        ("no_value", wild, b"{\"ch4\":0.4}".to_vec()),
        ("no_value", wild, b"{\"value\":\"0.4\"}".to_vec()),
        ("no_value", wild, b"{\"value\":null}".to_vec()),
        ("bad_value", wild, format!("{{\"value\":NaN,\"time\":{soon}}}").into_bytes()),
        ("bad_value", wild, format!("{{\"value\":-Infinity,\"time\":{}}}", soon + 1).into_bytes()),
        ("bad_value", wild, format!("{{\"value\":1e999,\"time\":{}}}", soon + 2).into_bytes()),
        ("bad_time", wild, b"{\"value\":0.4,\"time\":12}".to_vec()),
        ("bad_time", wild, format!("{{\"value\":0.5,\"time\":{}}}", soon + 86_400_000).into_bytes()),
        ("bad_time", wild, b"{\"value\":0.6,\"time\":\"yesterday\"}".to_vec()),
        ("unknown_topic", "pit/deep/down/below", b"{\"value\":0.4}".to_vec()),
        ("unknown_point", "pit/nobody", b"{\"value\":0.4}".to_vec()),
    ];
    let mut device = Device::new("wild");
    for (fate, topic, payload) in cases {
        let before = davy.fate(LISTENER, fate).await;
        let shown = String::from_utf8_lossy(&payload).into_owned();
        device.send(davy.mqtt(), [Message::new(topic, payload)]).await;
        assert_eq!(davy.fate(LISTENER, fate).await, before + 1, "{topic} {shown:?} is counted as {fate}");
        // What is shown follows what is durable.
        let quality = match fate {
            "bad_value" => "bad:non_finite",
            "bad_time" => "uncertain:clock_wrong",
            _ => continue,
        };
        until(&format!("{shown} shows {quality}"), async || {
            let wild = davy.point("pit.wild").await;
            wild["quality"] == quality && wild["value"].is_null() == (fate == "bad_value")
        })
        .await;
    }
    until("all six are stored", async || davy.samples("pit.wild", soon - 60_000).await.len() == 6).await;
    let stored = davy.samples("pit.wild", soon - 60_000).await;
    let qualities: Vec<&str> = stored.iter().map(|sample| sample.quality.as_str()).collect();
    assert_eq!(qualities, [["bad:non_finite"; 3], ["uncertain:clock_wrong"; 3]].concat());
    assert!(stored.iter().all(|sample| sample.micros <= (now_ms() + 1_000) * 1_000), "no time of tomorrow is stored");
}

/// Packets that break the protocol end their own connection, and are counted.
async fn packets(davy: &Davy) {
    let oversized = {
        let mut bytes = vec![0x32];
        bytes.extend([0x80, 0x80, 0x08, 0, 8]);
        bytes.extend(b"pit/wild");
        bytes
    };
    let cases: [(&str, &str, Vec<u8>); 7] = [
        ("too_large", "a packet of 131072 bytes is announced", oversized),
        ("not_utf8", "a topic that is no text", publish(b"pit/\xff\xfe", 7, b"0.4")),
        ("malformed", "a topic longer than its packet", packet(0x32, &[0, 200, b'p', b'i', b't'])),
        ("malformed", "a packet of no known type", packet(0x00, b"what")),
        ("malformed", "QoS 3", packet(0x36, &[0, 1, b'a', 0, 1])),
        ("malformed", "a length without end", vec![0x32, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ("refused", "QoS 2", packet(0x34, b"\0\x08pit/wild\0\x070.4")),
    ];
    for (fate, what, bytes) in cases {
        let before = davy.fate(LISTENER, fate).await;
        let mut stream = open(davy.mqtt(), "breaker").await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let (answer, closed) = drain(&mut stream, Duration::from_secs(5)).await;
        assert!(closed && answer.is_empty(), "{what}: the connection ends without an acknowledgement: {answer:?}");
        until(what, async || davy.fate(LISTENER, fate).await == before + 1).await;
    }
    // A packet that is cut off with its connection is no packet.
    let before = davy.fate(LISTENER, "disconnected").await;
    let accepted = davy.samples("pit.wild", 0).await.len();
    let mut stream = open(davy.mqtt(), "truncated").await.unwrap();
    let whole = publish(b"pit/wild", 9, format!("{{\"value\":0.77,\"time\":{}}}", now_ms()).as_bytes());
    stream.write_all(&whole[..whole.len() - 1]).await.unwrap();
    let (answer, closed) = drain(&mut stream, QUIET).await;
    assert!(answer.is_empty() && !closed, "the rest may still come");
    drop(stream);
    until("the loss of the line is counted", async || davy.fate(LISTENER, "disconnected").await == before + 1).await;
    assert_eq!(davy.samples("pit.wild", 0).await.len(), accepted, "and nothing of it is a sample");
    // Not MQTT at all.
    let before = davy.fate(LISTENER, "malformed").await + davy.fate(LISTENER, "refused").await;
    let mut stream = tokio::net::TcpStream::connect(davy.mqtt()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: pit\r\n\r\n").await.unwrap();
    assert!(drain(&mut stream, Duration::from_secs(8)).await.1, "a browser is shown the door");
    until("a browser is counted", async || {
        davy.fate(LISTENER, "malformed").await + davy.fate(LISTENER, "refused").await == before + 1
    })
    .await;
}

/// A Modbus device that answers in every wrong way; its point is bad at once and good when it mends.
async fn answers(davy: &Davy, bad: &ModbusDevices) {
    let good = async || davy.point("plant.bad").await["grade"] == "good";
    until("the device is read", good).await;
    for (fate, how) in [
        ("timed_out", Misbehaviour::Late(Duration::from_millis(300))),
        ("wrong_answer", Misbehaviour::Short(1)),
        ("wrong_answer", Misbehaviour::Truncated),
        ("wrong_answer", Misbehaviour::WrongUnit),
        ("wrong_answer", Misbehaviour::WrongTransaction),
        ("exception", Misbehaviour::Exception(4)),
        ("timed_out", Misbehaviour::Silent),
        ("disconnected", Misbehaviour::Drop),
    ] {
        let before = davy.fate("modbus", fate).await;
        bad.fault(1, how).unwrap();
        let watch = Stopwatch::start();
        until(&format!("{how:?}: the point is bad"), async || {
            let point = davy.point("plant.bad").await;
            point["quality"] == "bad:not_polled" && point["value"].is_null()
        })
        .await;
        assert!(watch.elapsed() < Duration::from_secs(3), "{how:?}: bad after {:?}", watch.elapsed());
        until(&format!("{how:?} is counted as {fate}"), async || davy.fate("modbus", fate).await > before).await;
        bad.fault(1, Misbehaviour::None).unwrap();
        until(&format!("{how:?}: the point is good again"), good).await;
    }
    // Sound answers with a number that means "broken" are bad as well: nothing here is one, so none is counted.
    assert_eq!(davy.fate("modbus", "bad_value").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_counted_and_visible_and_disturbs_nobody() {
    let plc = async || ModbusDevices::start(vec![Unit::new(1, registers(Table::Holding, 0, 2))]).await.unwrap();
    let (good_plc, bad_plc) = (plc().await, plc().await);
    for plc in [&good_plc, &bad_plc] {
        plc.set(1, "r0", 123.0).unwrap();
    }
    let site = Site::new(&config(&good_plc, &bad_plc), &[("coal.rhai", &stage::methane_rule(1.0, ""))]);
    let began = now_ms();
    let davy = site.start().await;
    let stop = CancellationToken::new();
    let sensors = ["good-1", "good-2"].map(|name| good_sensor(name, &davy, &stop));
    until("the good PLC is read", async || davy.point("plant.good").await["grade"] == "good").await;
    let modbus_from = now_ms();

    payloads(&davy).await;
    packets(&davy).await;
    answers(&davy, &bad_plc).await;

    stop.cancel();
    for sensor in sensors {
        let device = sensor.await.unwrap();
        assert_eq!((device.open().count(), device.repeated), (0, 0), "its connection was never touched");
        let topic = device.acknowledged[0].topic.replace('/', ".");
        let sent: Vec<i64> = device.acknowledged.iter().map(time_of).collect();
        let stored = davy.samples(&topic, began).await;
        assert!(sent.len() > 100 && stored.iter().all(|sample| sample.quality == "good"));
        assert_eq!(stored.iter().map(|sample| sample.micros / 1_000).collect::<Vec<_>>(), sent, "{topic}");
    }
    let stored = davy.samples("plant.good", modbus_from).await;
    assert!(stored.iter().all(|sample| sample.quality == "good" && sample.value == Some(12.3)));
    let widest = stored.windows(2).map(|pair| pair[1].micros - pair[0].micros).max().unwrap();
    assert!(widest < 600_000, "the good PLC was not read for {widest} us beside the bad one");
    assert!(stored.len() as i64 > (now_ms() - modbus_from) / 100 * 8 / 10, "{} polls", stored.len());
    assert!(davy.stop().await.success());
}

fn time_of(message: &Message) -> i64 {
    let payload: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
    payload["time"].as_i64().unwrap()
}
