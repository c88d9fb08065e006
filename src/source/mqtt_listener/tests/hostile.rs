use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::stage::*;
use crate::clock::Stopwatch;
use crate::ledger::Fate;

/// Each of these ends its own connection, is counted, and nobody else notices.
#[tokio::test]
async fn broken_packets_end_their_connection_and_no_other() {
    let stage = Stage::open("packet_bytes = 1024\ntopic_bytes = 32").await;
    let long = "t".repeat(33);
    let mut malformed = 0;
    for (bytes, reason, fate) in [
        (b"\x30\xff\xff\xff\xff\x01".to_vec(), 0x81, Fate::Malformed),
        (b"\x30\xff\xff\xff\x7f".to_vec(), 0x95, Fate::TooLarge),
        (publish5(2, "s/1", 1, &[], b"1"), 0x9B, Fate::Refused),
        (publish5(3, "s/1", 1, &[], b"1"), 0x81, Fate::Malformed),
        (publish5(1, "s/1", 0, &[], b"1"), 0x82, Fate::Malformed),
        (publish5(0, "s/+", 0, &[], b"1"), 0x90, Fate::Malformed),
        (publish5(0, "#", 0, &[], b"1"), 0x90, Fate::Malformed),
        (publish5(0, "", 0, &[], b"1"), 0x90, Fate::Malformed),
        (publish5(0, &long, 0, &[], b"1"), 0x90, Fate::TooLarge),
        (packet(0x30, b"\x00\x02\xc3\x28\x00"), 0x81, Fate::NotUtf8),
        (packet(0x30, b"\x00\x09s"), 0x81, Fate::Malformed),
        (connect(5, "again", 2, 0, &[]), 0x82, Fate::Malformed),
        (b"\x20\x02\x00\x00".to_vec(), 0x82, Fate::Malformed),
        (b"\xf0\x00".to_vec(), 0x82, Fate::Malformed),
        (b"\x00\x00".to_vec(), 0x82, Fate::Malformed),
        (b"\xc0\x01x".to_vec(), 0x81, Fate::Malformed),
        (b"\x82\x00".to_vec(), 0x81, Fate::Malformed),
        (b"\x82\x03\x00\x01\x00".to_vec(), 0x81, Fate::Malformed),
        (b"\x80\x00".to_vec(), 0x81, Fate::Malformed),
        (b"\x40\x02\x00\x00".to_vec(), 0x82, Fate::Malformed),
        (b"\x82\x0b\x00\x01\x02\x0b\x01\x00\x03a/b\x00".to_vec(), 0xA1, Fate::Malformed),
    ] {
        let before = stage.account.get(fate);
        let mut client = stage.v5("hostile").await;
        // What came before the broken packet is kept and acknowledged.
        client.send(&[publish5(1, "s/1", 7, &[], b"1"), bytes.clone()].concat()).await;
        assert_eq!(client.packet().await, b"\x40\x02\x00\x07", "{bytes:x?}");
        assert_eq!(client.packet().await, [0xE0, 2, reason, 0], "{bytes:x?}");
        assert!(client.closed().await.is_empty());
        stage.counted(fate, before + 1).await;
        malformed += 1;
    }
    assert_eq!(stage.journal.values().len(), malformed);
    stage.serves_others().await;
    stage.close().await;
}

#[tokio::test]
async fn v311_is_closed_without_a_word() {
    let stage = Stage::open("").await;
    for bytes in [publish(2, "s/1", 1, b"1"), publish(3, "s/1", 1, b"1"), b"\x30\xff\xff\xff\xff\x01".to_vec()] {
        let mut client = stage.v311("old").await;
        client.send(&bytes).await;
        assert!(client.closed().await.is_empty(), "{bytes:x?}");
    }
    stage.serves_others().await;
    stage.close().await;
}

#[tokio::test]
async fn whatever_comes_before_a_good_connect_is_turned_away() {
    let stage = Stage::open("topic_bytes = 32").await;
    let will = |qos: u8, topic: &str| (2 | 4 | qos << 3, [text(topic.as_bytes()), text(b"1")].concat());
    let mut refused = 0;
    for (bytes, answer) in [
        (publish(0, "s/1", 0, b"1"), &b""[..]),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), b""),
        (b"\x16\x03\x01\x02\x00\x01\x00".to_vec(), b""),
        (b"\xc0\x00".to_vec(), b""),
        (b"\x10\xff\xff\xff\x7f".to_vec(), b""),
        (packet(0x10, b"\x00\x04HTTP\x04\x02\x00\x00\x00\x01x"), b""),
        (packet(0x10, b"\x00\x04MQTT\x04\x02"), b""),
        (packet(0x10, b""), b""),
        (connect(4, "x", 3, 0, &[]), b""),
        (packet(0x10, b"\x00\x06MQIsdp\x03\x02\x00\x00\x00\x01x"), b"\x20\x02\x00\x01"),
        (connect(9, "x", 2, 0, &[]), b"\x20\x03\x00\x84\x00"),
        (connect(4, "", 0, 0, &[]), b"\x20\x02\x00\x02"),
        (connect(4, &"x".repeat(257), 2, 0, &[]), b"\x20\x02\x00\x02"),
        (connect(4, "x", will(2, "s/1").0, 0, &will(2, "s/1").1), b"\x20\x02\x00\x05"),
        (connect(4, "x", will(0, "s/#").0, 0, &will(0, "s/#").1), b"\x20\x02\x00\x05"),
        (connect(4, "x", 0x0A, 0, &[]), b""),
    ] {
        let mut client = stage.dial().await;
        client.send(&bytes).await;
        assert_eq!(client.closed().await, answer, "{bytes:x?}");
        refused += 1;
    }
    let counted = [Fate::Refused, Fate::Malformed, Fate::TooLarge].map(|fate| stage.account.get(fate));
    assert_eq!(counted.iter().sum::<u64>(), refused);
    assert!(stage.journal.values().is_empty());
    stage.serves_others().await;
    stage.close().await;
}

#[tokio::test]
async fn a_slow_connect_is_not_waited_for_and_a_full_doorway_turns_away() {
    let stage = Stage::open("connect_within = \"300ms\"\nwaiting_for_connect = 2").await;
    let mut slow = stage.dial().await;
    slow.send(b"\x10\x10\x00").await;
    let mut silent = stage.dial().await;
    let mut third = stage.dial().await;
    assert!(third.closed().await.is_empty());
    stage.counted(Fate::Refused, 1).await;
    assert!(slow.closed().await.is_empty());
    assert!(silent.closed().await.is_empty());
    stage.counted(Fate::TimedOut, 2).await;
    stage.serves_others().await;
    stage.close().await;
}

#[tokio::test]
async fn beyond_the_limit_of_connections_nobody_comes_in_and_a_place_is_given_back() {
    let stage = Stage::open("connections = 2").await;
    let mut first = stage.v311("a").await;
    let mut second = stage.v311("b").await;
    assert!(stage.dial().await.closed().await.is_empty());
    stage.counted(Fate::Refused, 1).await;
    first.heard_nothing().await;
    second.send(b"\xe0\x00").await;
    assert!(second.closed().await.is_empty());
    drop(second);
    let mut third = loop {
        let mut client = stage.dial().await;
        if client.0.write_all(&connect(4, "c", 2, 0, &[])).await.is_ok() {
            let mut answer = [0; 4];
            if tokio::io::AsyncReadExt::read_exact(&mut client.0, &mut answer).await.is_ok() {
                break client;
            }
        }
    };
    third.heard_nothing().await;
    stage.close().await;
}

#[tokio::test]
async fn keep_alive_is_enforced_at_one_and_a_half_times() {
    let stage = Stage::open("").await;
    let mut device = stage.dial().await;
    device.send(&connect(5, "quiet", 2, 1, &[])).await;
    assert_eq!(device.packet().await[3], 0);
    let watch = Stopwatch::start();
    let mut talking = stage.dial().await;
    talking.send(&connect(4, "talking", 2, 1, &[])).await;
    talking.packet().await;
    let (ending, said) = (device.packet(), async {
        for _ in 0..8 {
            talking.heard_nothing().await;
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    });
    let (ending, ()) = tokio::join!(ending, said);
    assert_eq!(ending, b"\xe0\x02\x8d\x00");
    assert!(watch.elapsed() >= Duration::from_millis(1_490), "{:?}", watch.elapsed());
    // It pinged all the while, beyond its own one and a half seconds.
    talking.heard_nothing().await;
    stage.counted(Fate::KeepAlive, 1).await;
    stage.close().await;
}

/// Bytes that trickle in are no packets: they do not keep a connection alive.
#[tokio::test]
async fn half_a_packet_does_not_keep_a_connection_alive() {
    let stage = Stage::open("silence = \"1s\"").await;
    let mut device = stage.v311("trickle").await;
    device.send(b"\x30\x7f").await;
    let (mut reader, mut writer) = device.0.split();
    let trickle = async {
        while writer.write_all(b"\x00").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let mut said = Vec::new();
    tokio::select! {
        () = trickle => {}
        end = tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut said) => drop(end),
    }
    stage.counted(Fate::KeepAlive, 1).await;
    assert!(stage.journal.values().is_empty());
    stage.close().await;
}

/// A client that sends and never reads its answers is let go; memory does not grow meanwhile.
#[tokio::test]
async fn a_client_that_never_reads_its_answers_is_let_go() {
    let stage = Stage::open("stall = \"300ms\"").await;
    let client = stage.v311("deaf").await;
    let (reader, mut writer) = client.0.into_split();
    let pings = b"\xc0\x00".repeat(64 * 1024);
    let sending = tokio::spawn(async move { while writer.write_all(&pings).await.is_ok() {} });
    stage.counted(Fate::SlowReader, 1).await;
    drop(reader);
    sending.await.unwrap();
    stage.serves_others().await;
    stage.close().await;
}
