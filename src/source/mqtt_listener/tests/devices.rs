use std::time::Duration;

use rumqttc::v5;
use tokio::io::AsyncWriteExt;

use super::stage::*;
use crate::ledger::Fate;

/// The promise: a PUBACK only when the sample is on the disk, and in the order of the publishes.
#[tokio::test]
async fn a_puback_comes_when_the_sample_is_durable_and_not_before() {
    let stage = Stage::open("").await;
    stage.journal.hold();
    let mut device = stage.v311("face").await;
    device.send(&publish(1, "s/1", 5, b"0.5")).await;
    stage.journal.groups(1).await;
    device.send(&[publish(1, "s/1", 6, b"0.6"), publish(1, "s/2", 7, b"0.7")].concat()).await;
    stage.journal.groups(2).await;
    device.heard_nothing().await;
    stage.journal.commit(1);
    assert_eq!(device.packet().await, b"\x40\x02\x00\x05");
    device.heard_nothing().await;
    stage.journal.commit(1);
    assert_eq!(device.packet().await, b"\x40\x02\x00\x06");
    assert_eq!(device.packet().await, b"\x40\x02\x00\x07");
    assert_eq!(stage.journal.values(), [0.5, 0.6, 0.7]);
    stage.close().await;
}

#[tokio::test]
async fn a_disk_that_fails_acknowledges_nobody() {
    let stage = Stage::open("").await;
    stage.journal.hold();
    let mut device = stage.v5("face").await;
    device.send(&publish5(1, "s/1", 5, &[], b"0.5")).await;
    stage.journal.groups(1).await;
    stage.journal.fail();
    assert_eq!(device.packet().await, b"\xe0\x02\x83\x00");
    assert!(device.closed().await.is_empty());
    stage.counted(Fate::Unacknowledged, 1).await;
    stage.close().await;
}

/// A payload that cannot be read is acknowledged all the same, or it would be sent for ever.
#[tokio::test]
async fn what_cannot_be_decoded_is_acknowledged_in_its_turn_and_counted() {
    let stage = Stage::open("").await;
    stage.journal.hold();
    let mut device = stage.v5("face").await;
    device
        .send(
            &[
                publish5(1, "s/1", 1, &[], b"0.5"),
                publish5(1, "s/1", 2, &[], b"much"),
                publish5(1, "elsewhere", 3, &[], b"1"),
            ]
            .concat(),
        )
        .await;
    stage.journal.groups(1).await;
    device.send(&publish5(1, "s/1", 4, &[], b"more")).await;
    device.heard_nothing().await;
    stage.journal.commit(1);
    assert_eq!(device.packet().await, b"\x40\x02\x00\x01");
    assert_eq!(device.packet().await, b"\x40\x03\x00\x02\x99");
    assert_eq!(device.packet().await, b"\x40\x03\x00\x03\x90");
    assert_eq!(device.packet().await, b"\x40\x03\x00\x04\x99");
    assert_eq!((stage.account.get(Fate::NotJson), stage.account.get(Fate::UnknownTopic)), (2, 1));
    assert_eq!(stage.account.get(Fate::Accepted), 1);
    stage.close().await;
}

#[tokio::test]
async fn version_5_is_told_the_limits_and_may_use_aliases_within_them() {
    let stage = Stage::open("unacknowledged = 300\ntopic_aliases = 2\npacket_bytes = 4096").await;
    let mut device = stage.dial().await;
    device.send(&connect(5, "", 2, 0, &[])).await;
    let welcome = device.packet().await;
    let assigned = b"\x12\x00\x06davy-0";
    let expected = [&b"\x11\0\0\0\0\x21\x01\x2c\x24\x01\x27\0\0\x10\0\x22\0\x02\x29\0\x2a\0"[..], assigned].concat();
    assert_eq!(welcome[..5], [0x20, 34, 0, 0, 31]);
    assert_eq!(welcome[5..], expected);
    device.send(&publish5(0, "s/7", 0, b"\x23\0\x02", b"1.5")).await;
    device.send(&publish5(0, "", 0, b"\x23\0\x02", b"2.5")).await;
    device.send(&publish5(1, "s/8", 9, b"\x23\0\x02", b"3.5")).await;
    device.send(&publish5(0, "", 0, b"\x23\0\x02", b"4.5")).await;
    assert_eq!(device.packet().await, b"\x40\x02\x00\x09");
    stage.journal.has(4).await;
    let seen: Vec<_> =
        stage.journal.samples.lock().unwrap().iter().map(|sample| (sample.point.0, sample.value)).collect();
    assert_eq!(seen, [(7, 1.5), (7, 2.5), (8, 3.5), (8, 4.5)]);
    device.send(&publish5(0, "s/1", 0, b"\x23\0\x03", b"1")).await;
    assert_eq!(device.packet().await, b"\xe0\x02\x94\x00");
    let mut other = stage.v5("other").await;
    other.send(&publish5(0, "", 0, b"\x23\0\x01", b"1")).await;
    assert_eq!(other.packet().await, b"\xe0\x02\x82\x00", "aliases belong to one connection");
    stage.close().await;
}

/// 3.1.1 cannot be told a window: it is simply not read beyond it. v5 was told, and is held to it.
#[tokio::test]
async fn a_full_window_holds_a_client_back_or_ends_it() {
    let stage = Stage::open("unacknowledged = 2").await;
    stage.journal.hold();
    let mut old = stage.v311("old").await;
    let burst: Vec<u8> = (1..=5).flat_map(|id| publish(1, "s/1", id, b"1")).collect();
    old.send(&burst).await;
    for (group, ids) in [(1, &[1, 2][..]), (1, &[3, 4]), (1, &[5])] {
        stage.journal.groups(group).await;
        stage.journal.commit(group);
        for id in ids {
            assert_eq!(old.packet().await, [0x40, 2, 0, *id]);
        }
    }
    let mut new = stage.v5("new").await;
    new.send(&(1..=3).flat_map(|id| publish5(1, "s/1", id, &[], b"1")).collect::<Vec<_>>()).await;
    stage.journal.groups(1).await;
    stage.journal.commit(1);
    // What was within the window is acknowledged first.
    assert_eq!(new.packet().await, b"\x40\x02\x00\x01");
    assert_eq!(new.packet().await, b"\x40\x02\x00\x02");
    assert_eq!(new.packet().await, b"\xe0\x02\x93\x00");
    stage.counted(Fate::Malformed, 1).await;
    stage.close().await;
}

#[tokio::test]
async fn a_busy_journal_makes_the_device_wait_and_loses_nothing() {
    let stage = Stage::open("").await;
    stage.journal.block(true);
    let mut device = stage.v311("face").await;
    let much: Vec<u8> = (0..50_000).flat_map(|n| publish(0, "s/1", 0, n.to_string().as_bytes())).collect();
    let sending = tokio::spawn(async move {
        device.send(&much).await;
        device.send(&publish(1, "s/1", 3, b"-1")).await;
        assert_eq!(device.packet().await, b"\x40\x02\x00\x03");
    });
    tokio::task::yield_now().await;
    assert_eq!(stage.journal.values().len(), 0);
    stage.journal.block(false);
    sending.await.unwrap();
    let values = stage.journal.values();
    assert_eq!(values.len(), 50_001);
    assert!(values.iter().take(50_000).zip(0..).all(|(value, n)| *value == f64::from(n)));
    stage.close().await;
}

#[tokio::test]
async fn the_same_client_id_takes_over_and_its_will_is_taken_in() {
    let stage = Stage::open("").await;
    let mut old = stage.dial().await;
    let will = [vec![0], text(b"s/3"), text(b"-1")].concat();
    old.send(&connect(5, "face", 2 | 4, 0, &will)).await;
    assert_eq!(old.packet().await[3], 0);
    let mut new = stage.v311("face").await;
    assert_eq!(old.packet().await, b"\xe0\x02\x8e\x00");
    assert!(old.closed().await.is_empty());
    stage.journal.has(1).await;
    assert_eq!(stage.journal.values(), [-1.0]);
    new.send(&publish(1, "s/1", 1, b"2")).await;
    assert_eq!(new.packet().await, b"\x40\x02\x00\x01");
    stage.close().await;
}

#[tokio::test]
async fn a_will_is_taken_in_unless_the_client_said_goodbye() {
    let stage = Stage::open("").await;
    let will = [text(b"s/3"), text(b"-5")].concat();
    for (goodbye, samples) in [(&b"\xe0\x00"[..], 0), (b"", 1)] {
        let mut device = stage.dial().await;
        device.send(&connect(4, "face", 2 | 4 | 8, 0, &will)).await;
        assert_eq!(device.packet().await, b"\x20\x02\x00\x00");
        device.send(goodbye).await;
        device.0.shutdown().await.unwrap();
        device.closed().await;
        stage.journal.has(samples).await;
        assert_eq!(stage.journal.values().len(), samples);
    }
    // v5: goodbye, and take the will in all the same.
    let mut device = stage.dial().await;
    device.send(&connect(5, "face", 2 | 4, 0, &[vec![0], will.clone()].concat())).await;
    device.packet().await;
    device.send(b"\xe0\x01\x04").await;
    stage.journal.has(2).await;
    assert_eq!(stage.journal.values(), [-5.0, -5.0]);
    stage.counted(Fate::Disconnected, 1).await;
    stage.close().await;
}

/// A device that closes its sending half still gets the answers that it is owed.
#[tokio::test]
async fn a_half_closed_socket_still_gets_its_puback() {
    let stage = Stage::open("").await;
    stage.journal.hold();
    let mut device = stage.v311("face").await;
    device.send(&publish(1, "s/1", 9, b"1")).await;
    device.0.shutdown().await.unwrap();
    stage.journal.groups(1).await;
    stage.journal.commit(1);
    assert_eq!(device.closed().await, b"\x40\x02\x00\x09");
    stage.close().await;
}

#[tokio::test]
async fn users_come_in_with_their_password_and_do_what_they_may() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, b"lamp\n").unwrap();
    let path = file.path().display().to_string();
    let stage = Stage::with(&format!(
        "address = \"127.0.0.1:0\"\n[user.face]\npassword_file = {path:?}\npublish = true\n[user.screen]\npassword_file = {path:?}\npublish = false\nsubscribe = true\n"
    ))
    .await;
    let login = |user: &str, password: &str| [text(user.as_bytes()), text(password.as_bytes())].concat();
    for (level, rest, flags, answer) in [
        (4, vec![], 2, &b"\x20\x02\x00\x04"[..]),
        (4, login("face", "wrong"), 0xC2, b"\x20\x02\x00\x04"),
        (5, login("nobody", "lamp"), 0xC2, b"\x20\x03\x00\x86\x00"),
    ] {
        let mut stranger = stage.dial().await;
        stranger.send(&connect(level, "x", flags, 0, &rest)).await;
        assert_eq!(stranger.closed().await, answer);
    }
    stage.counted(Fate::Refused, 3).await;
    let mut face = stage.dial().await;
    face.send(&connect(4, "x", 0xC2, 0, &login("face", "lamp"))).await;
    assert_eq!(face.packet().await, b"\x20\x02\x00\x00");
    face.send(&packet(0x82, &[&b"\0\x01"[..], &text(b"davy/v1/#"), b"\x01"].concat())).await;
    assert_eq!(face.packet().await, b"\x90\x03\x00\x01\x80");
    let mut screen = stage.dial().await;
    screen.send(&connect(5, "y", 0xC2, 0, &login("screen", "lamp"))).await;
    assert_eq!(screen.packet().await[3], 0);
    screen.send(&publish5(1, "s/1", 1, &[], b"1")).await;
    assert_eq!(screen.packet().await, b"\xe0\x02\x87\x00");
    // Another user's client id is not to be had.
    let mut thief = stage.dial().await;
    thief.send(&connect(4, "x", 0xC2, 0, &login("screen", "lamp"))).await;
    assert_eq!(thief.closed().await, b"\x20\x02\x00\x02");
    face.heard_nothing().await;
    assert!(stage.journal.values().is_empty());
    stage.close().await;
}

#[tokio::test]
async fn a_stop_acknowledges_what_is_durable_and_says_why_it_closes() {
    let stage = Stage::open("").await;
    stage.journal.hold();
    let mut device = stage.v5("face").await;
    device.send(&publish5(1, "s/1", 5, &[], b"0.5")).await;
    stage.journal.groups(1).await;
    stage.stop.cancel();
    stage.journal.commit(1);
    assert_eq!(device.packet().await, b"\x40\x02\x00\x05");
    assert_eq!(device.packet().await, b"\xe0\x02\x8b\x00");
    drop(device);
    stage.close().await;
}

#[tokio::test]
async fn a_real_client_of_each_version_publishes_and_is_acknowledged() {
    const COUNT: usize = 500;
    let stage = Stage::open("").await;
    let mut options = rumqttc::MqttOptions::new("four", "127.0.0.1", stage.port);
    options.set_keep_alive(Duration::from_secs(5));
    let (client, mut events) = rumqttc::AsyncClient::new(options, 2 * COUNT);
    for n in 0..COUNT {
        client.publish("s/4", rumqttc::QoS::AtLeastOnce, false, n.to_string()).await.unwrap();
    }
    let mut acknowledged = 0;
    while acknowledged < COUNT {
        if let rumqttc::Event::Incoming(rumqttc::Packet::PubAck(_)) = events.poll().await.unwrap() {
            acknowledged += 1;
        }
    }
    let mut options = v5::MqttOptions::new("five", "127.0.0.1", stage.port);
    options.set_keep_alive(Duration::from_secs(5));
    let (client, mut events) = v5::AsyncClient::new(options, 2 * COUNT);
    for n in 0..COUNT {
        client.publish("s/5", v5::mqttbytes::QoS::AtLeastOnce, false, n.to_string()).await.unwrap();
    }
    let mut acknowledged = 0;
    while acknowledged < COUNT {
        if let v5::Event::Incoming(v5::Incoming::PubAck(ack)) = events.poll().await.unwrap() {
            assert_eq!(ack.reason, v5::mqttbytes::v5::PubAckReason::Success);
            acknowledged += 1;
        }
    }
    assert_eq!(stage.journal.values().len(), 2 * COUNT);
    assert_eq!(stage.account.get(Fate::Accepted), 2 * COUNT as u64);
    stage.close().await;
}
