use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::stage::*;
use crate::alarm::{Alarm, AlarmChange, Happening, Level, OccurrenceId, Priority, Standing};
use crate::board::Published;
use crate::ledger::Fate;
use crate::model::{Kind, Point, PointIndex, PointTable, Reason, Sample, Timestamp};

const T0: Timestamp = Timestamp::from_secs(1_800_000_000);

fn alarm(id: &str, site: &str, standing: Standing) -> Alarm {
    Alarm {
        id: OccurrenceId::named(id),
        rule: "methane-face".into(),
        subject: format!("{site}.t1").into(),
        point: Some(PointIndex(0)),
        site: site.into(),
        place: "T1".into(),
        title: "methane".into(),
        advice: "withdraw".into(),
        priority: Priority::P2,
        level: Level::Orange,
        standing,
        raised: T0,
        received: T0,
        cleared: None,
        acknowledged: None,
        value: Some(1.2),
        worst: Some(1.2),
        limit: Some(1.0),
        unit: "%VOL".into(),
        quality: crate::model::Quality::GOOD,
        raises: 1,
        held: false,
        closed: false,
        aside: None,
        together: None,
        exercise: crate::alarm::Exercised::No,
        detail: String::new(),
    }
}

fn change(number: i64, alarm: Alarm) -> Arc<Published> {
    let happening = if alarm.standing == Standing::Normal { Happening::Cleared } else { Happening::Raised };
    Arc::new(Published { id: number, early: false, change: AlarmChange { happening, at: T0, alarm } })
}

impl Stage {
    /// A change as the gateway publishes it: to the board, then through notify.
    fn happens(&self, number: i64, alarm: Alarm) -> usize {
        let published = change(number, alarm);
        self.board.publish(published.clone());
        self.subscribers.publish_alarm(&published, Bytes::from(serde_json::to_vec(&published).unwrap()))
    }

    fn points(&self, locals: &[&str]) {
        let points = locals.iter().map(|local| Point {
            id: format!("mine.{local}").into(),
            site: "mine".into(),
            name: String::new(),
            kind: Kind::Methane,
            place: String::new(),
            unit: "%VOL".into(),
            range: None,
            resolution: 0.01,
            period: Duration::from_secs(1),
            limits: std::collections::BTreeMap::new(),
            coordinates: None,
            static_risk: 0,
            calibrate_every: None,
            relations: std::collections::BTreeMap::new(),
            retired: false,
        });
        self.board.set_points(Arc::new(PointTable::new(points.collect())));
    }
}

fn subscribe(pkid: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    let mut body = pkid.to_be_bytes().to_vec();
    for (filter, options) in filters {
        body.extend(text(filter.as_bytes()));
        body.push(*options);
    }
    packet(0x82, &body)
}

fn subscribe5(pkid: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    let mut body = pkid.to_be_bytes().to_vec();
    body.push(0);
    for (filter, options) in filters {
        body.extend(text(filter.as_bytes()));
        body.push(*options);
    }
    packet(0x82, &body)
}

/// First byte, topic, packet id and payload of a PUBLISH of 3.1.1.
fn read(packet: &[u8]) -> (u8, String, u16, serde_json::Value) {
    let body = &packet[1 + packet[1..].iter().position(|byte| byte & 0x80 == 0).unwrap() + 1..];
    let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
    let topic = String::from_utf8(body[2..2 + length].to_vec()).unwrap();
    let mut rest = &body[2 + length..];
    let mut pkid = 0;
    if packet[0] & 6 != 0 {
        pkid = u16::from_be_bytes([rest[0], rest[1]]);
        rest = &rest[2..];
    }
    (packet[0], topic, pkid, serde_json::from_slice(rest).unwrap())
}

#[tokio::test]
async fn a_new_screen_gets_the_open_alarms_and_then_every_change() {
    let stage = Stage::open("").await;
    assert_eq!(stage.happens(1, alarm("a1", "mine", Standing::Unacknowledged)), 0);
    assert_eq!(stage.happens(2, alarm("b1", "tank", Standing::Unacknowledged)), 0);
    let mut screen = stage.v311("screen").await;
    screen.send(&subscribe(3, &[("davy/v1/mine/alarm/+", 2), ("plant/#", 0), ("davy/v1/#/x", 1)])).await;
    assert_eq!(screen.packet().await, b"\x90\x05\x00\x03\x01\x80\x80");
    let (first, topic, pkid, open) = read(&screen.packet().await);
    assert_eq!((first, topic.as_str(), pkid), (0x33, "davy/v1/mine/alarm/a1", 1));
    assert_eq!((open["standing"].as_str(), open["title"].as_str()), (Some("unacknowledged"), Some("methane")));
    assert_eq!(stage.happens(3, alarm("b1", "tank", Standing::Normal)), 0);
    assert_eq!(stage.happens(4, alarm("a1", "mine", Standing::Normal)), 1);
    let (first, topic, pkid, live) = read(&screen.packet().await);
    assert_eq!((first, topic.as_str(), pkid), (0x32, "davy/v1/mine/alarm/a1", 2));
    assert_eq!((live["alarm"]["standing"].as_str(), live["id"].as_i64()), (Some("normal"), Some(4)));
    // Nothing is open any more: subscribing again brings nothing.
    screen.send(&subscribe(4, &[("davy/v1/mine/alarm/+", 1)])).await;
    assert_eq!(screen.packet().await, b"\x90\x03\x00\x04\x01");
    screen.heard_nothing().await;
    screen.send(&packet(0xA2, &[&b"\0\x05"[..], &text(b"davy/v1/mine/alarm/+")].concat())).await;
    assert_eq!(screen.packet().await, b"\xb0\x02\x00\x05");
    assert_eq!(stage.happens(5, alarm("a2", "mine", Standing::Unacknowledged)), 0);
    screen.heard_nothing().await;
    stage.close().await;
}

/// A change that subscribers hear of before the board does must not be followed by the board's older state.
#[tokio::test]
async fn a_screen_that_comes_between_notify_and_the_board_sees_the_newer_state() {
    let stage = Stage::open("").await;
    stage.happens(1, alarm("a1", "mine", Standing::Unacknowledged));
    stage.happens(2, alarm("a2", "mine", Standing::Unacknowledged));
    let cleared = change(3, alarm("a1", "mine", Standing::Normal));
    assert_eq!(stage.subscribers.publish_alarm(&cleared, Bytes::from_static(b"{}")), 0);
    let raised = change(4, alarm("a3", "mine", Standing::Unacknowledged));
    assert_eq!(stage.subscribers.publish_alarm(&raised, Bytes::from_static(b"{}")), 0);
    let mut screen = stage.v311("screen").await;
    screen.send(&subscribe(1, &[("davy/v1/#", 0)])).await;
    assert_eq!(screen.packet().await, b"\x90\x03\x00\x01\x00");
    let open = [screen.packet().await, screen.packet().await].map(|packet| read(&packet).1);
    assert_eq!(open, ["davy/v1/mine/alarm/a2", "davy/v1/mine/alarm/a3"]);
    screen.heard_nothing().await;
    stage.close().await;
}

#[tokio::test]
async fn qos_1_messages_wait_for_pubacks_within_the_window_and_overlapping_filters_send_once() {
    let stage = Stage::open("subscriber_unacknowledged = 2").await;
    let mut screen = stage.v311("screen").await;
    screen.send(&subscribe(1, &[("davy/v1/+/alarm/+", 0), ("davy/v1/mine/#", 1)])).await;
    assert_eq!(screen.packet().await, b"\x90\x04\x00\x01\x00\x01");
    for number in 1..=4 {
        assert_eq!(stage.happens(number, alarm(&format!("a{number}"), "mine", Standing::Unacknowledged)), 1);
    }
    assert_eq!(read(&screen.packet().await).2, 1);
    assert_eq!(read(&screen.packet().await).2, 2);
    screen.heard_nothing().await;
    screen.send(b"\x40\x02\x00\x01\x40\x02\x00\x63").await;
    let (_, topic, pkid, _) = read(&screen.packet().await);
    assert_eq!((topic.as_str(), pkid), ("davy/v1/mine/alarm/a3", 3));
    screen.heard_nothing().await;
    stage.close().await;
}

/// An alarm is never dropped silently: who does not keep up is let go, and has the open set on coming back.
#[tokio::test]
async fn a_screen_that_does_not_keep_up_with_alarms_is_let_go_and_resyncs() {
    let stage = Stage::open("subscriber_alarm_bytes = 65536\nsubscriber_unacknowledged = 1").await;
    let mut deaf = stage.v5("deaf").await;
    let mut good = stage.v311("good").await;
    deaf.send(&subscribe5(1, &[("davy/v1/#", 1)])).await;
    assert_eq!(deaf.packet().await, b"\x90\x04\x00\x01\x00\x01");
    good.send(&subscribe(1, &[("davy/v1/#", 0)])).await;
    good.packet().await;
    let mut handed = Vec::new();
    for number in 1..=200 {
        handed.push(stage.happens(number, alarm(&format!("a{number:03}"), "mine", Standing::Unacknowledged)));
        assert_eq!(read(&good.packet().await).1, format!("davy/v1/mine/alarm/a{number:03}"));
    }
    stage.counted(Fate::SlowReader, 1).await;
    assert_eq!((handed[0], *handed.last().unwrap()), (2, 1), "the one that was let go is not counted as told");
    deaf.packet().await;
    assert_eq!(deaf.closed().await, b"\xe0\x02\x97\x00");
    let mut back = stage.v311("deaf").await;
    back.send(&subscribe(1, &[("davy/v1/#", 0)])).await;
    back.packet().await;
    for number in 1..=200 {
        let (first, topic, ..) = read(&back.packet().await);
        assert_eq!((first, topic), (0x31, format!("davy/v1/mine/alarm/a{number:03}")));
    }
    assert_eq!(stage.subscribers.connected(), 2);
    drop((back, good));
    eventually("nobody listens", || stage.subscribers.connected() == 0).await;
    stage.close().await;
}

#[tokio::test]
async fn a_change_overtakes_the_open_set_that_still_waits() {
    let stage = Stage::open("subscriber_unacknowledged = 1").await;
    for number in 1..=3 {
        stage.happens(number, alarm(&format!("a{number}"), "mine", Standing::Unacknowledged));
    }
    let mut screen = stage.v311("screen").await;
    screen.send(&subscribe(1, &[("davy/v1/#", 1)])).await;
    screen.packet().await;
    assert_eq!(read(&screen.packet().await).1, "davy/v1/mine/alarm/a1");
    assert_eq!(stage.happens(4, alarm("a3", "mine", Standing::Normal)), 1);
    let mut seen = Vec::new();
    for pkid in 1..=2 {
        screen.send(&[0x40, 2, 0, pkid]).await;
        let (first, topic, ..) = read(&screen.packet().await);
        seen.push((first & 1, topic));
    }
    assert_eq!(seen, [(0, "davy/v1/mine/alarm/a3".into()), (1, "davy/v1/mine/alarm/a2".into())]);
    screen.send(&[0x40, 2, 0, 3]).await;
    screen.heard_nothing().await;
    stage.close().await;
}

#[tokio::test]
async fn a_screen_sees_the_latest_value_and_then_the_live_ones() {
    let stage = Stage::open("").await;
    stage.points(&["t1", "t2"]);
    let sample = |point, value| Sample::received(PointIndex(point), value, Some(T0), T0);
    stage.board.show(&Arc::new(vec![sample(0, 0.5), sample(1, 0.25)]));
    let mut screen = stage.v311("screen").await;
    screen.send(&subscribe(1, &[("davy/v1/mine/point/t1", 0)])).await;
    screen.packet().await;
    let (first, topic, _, value) = read(&screen.packet().await);
    assert_eq!((first, topic.as_str()), (0x31, "davy/v1/mine/point/t1"));
    assert_eq!(value, serde_json::json!({ "value": 0.5, "time": "2027-01-15T08:00:00Z", "quality": "good" }));
    stage.board.show(&Arc::new(vec![sample(1, 0.3), Sample::missing(PointIndex(0), Reason::LineBreak, T0)]));
    let (first, topic, _, value) = read(&screen.packet().await);
    assert_eq!((first, topic.as_str()), (0x30, "davy/v1/mine/point/t1"));
    assert!(value["value"].is_null(), "{value}");
    assert_eq!(value["quality"], "bad:line_break");
    screen.heard_nothing().await;
    // A point that is added later is seen as well, and after the last UNSUBSCRIBE nothing is composed.
    stage.points(&["t1", "t2", "t3"]);
    screen.send(&subscribe(2, &[("davy/v1/mine/point/t3", 1)])).await;
    assert_eq!(screen.packet().await, b"\x90\x03\x00\x02\x01");
    stage.board.show(&Arc::new(vec![sample(2, 0.75)]));
    let (first, topic, pkid, _) = read(&screen.packet().await);
    assert_eq!((first, topic.as_str(), pkid), (0x32, "davy/v1/mine/point/t3", 1));
    let both = [&b"\0\x05"[..], &text(b"davy/v1/mine/point/t1"), &text(b"davy/v1/mine/point/t3")].concat();
    screen.send(&packet(0xA2, &both)).await;
    assert_eq!(screen.packet().await, b"\xb0\x02\x00\x05");
    stage.board.show(&Arc::new(vec![sample(0, 0.9)]));
    screen.heard_nothing().await;
    stage.close().await;
}

#[tokio::test]
async fn a_slow_screen_loses_the_oldest_values_counted_and_keeps_the_newest() {
    let stage = Stage::open("subscriber_values = 16\nsubscriber_unacknowledged = 1").await;
    stage.points(&["t1"]);
    let mut screen = stage.v311("screen").await;
    screen.send(&subscribe(1, &[("davy/v1/mine/point/+", 1)])).await;
    screen.packet().await;
    for batch in 0..10 {
        let batch = (0..10).map(|n| Sample::received(PointIndex(0), f64::from(batch * 10 + n), Some(T0), T0));
        stage.board.show(&Arc::new(batch.collect()));
    }
    // One is in flight, sixteen wait.
    let mut seen = vec![read(&screen.packet().await)];
    eventually("83 values dropped", || stage.subscribers.values_dropped() == 83).await;
    for _ in 0..16 {
        let [high, low] = seen.last().unwrap().2.to_be_bytes();
        screen.send(&[0x40, 2, high, low]).await;
        seen.push(read(&screen.packet().await));
    }
    let values: Vec<_> = seen.iter().map(|message| message.3["value"].as_f64().unwrap()).collect();
    assert_eq!(values[0], 0.0);
    assert_eq!(values[1..], (84..100).map(f64::from).collect::<Vec<_>>());
    stage.close().await;
}

#[tokio::test]
async fn retain_handling_of_version_5_is_kept_to() {
    let stage = Stage::open("subscriptions = 2").await;
    stage.happens(1, alarm("a1", "mine", Standing::Unacknowledged));
    let mut screen = stage.v5("screen").await;
    // Never; then only if new, which it is not; then always.
    for (pkid, options, resent) in [(1, 0x20, false), (2, 0x10, false), (3, 0x00, true)] {
        screen.send(&subscribe5(pkid, &[("davy/v1/mine/#", options)])).await;
        assert_eq!(screen.packet().await, [0x90, 4, 0, pkid as u8, 0, 0]);
        if resent {
            assert_eq!(screen.packet().await[0], 0x31);
        }
        screen.heard_nothing().await;
    }
    screen.send(&subscribe5(4, &[("davy/v1/a/#", 0), ("davy/v1/b/#", 0), ("$share/g/davy/v1/#", 0), ("x", 0)])).await;
    assert_eq!(screen.packet().await, b"\x90\x07\x00\x04\x00\x00\x97\x9e\x8f");
    screen.send(&packet(0xA2, &[&b"\0\x05\0"[..], &text(b"davy/v1/a/#"), &text(b"davy/v1/nothing")].concat())).await;
    assert_eq!(screen.packet().await, b"\xb0\x05\x00\x05\x00\x00\x11");
    stage.close().await;
}
