use std::sync::Arc;

use bytes::BytesMut;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;

use super::super::acks::AckQueue;
use super::super::config::Users;
use super::super::frame::{Publish, Scan, Version, scan};
use super::super::grant::Rights;
use super::super::greet::greet;
use super::super::ingest::{Ingest, Pause};
use super::super::outgoing::{read_subscribe, read_unsubscribe};
use super::stage::*;
use crate::ledger::{Fate, Ledger};
use crate::model::Timestamp;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// Bytes that often begin like a packet and often lie about their length.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let packet = (any::<u8>(), prop::collection::vec(any::<u8>(), 0..40), any::<Option<u8>>()).prop_map(
        |(first, body, length)| {
            let mut whole = packet(first, &body);
            if let (Some(length), Some(place)) = (length, whole.get_mut(1)) {
                *place = length;
            }
            whole
        },
    );
    prop::collection::vec(packet, 0..8).prop_map(|packets| packets.concat())
}

/// Valid streams of one client, with some bytes changed.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let one = prop_oneof![
        ("[a-z/]{1,12}", 0..2_u8, 1..9_u16, any::<Vec<u8>>())
            .prop_map(|(topic, qos, pkid, payload)| publish(qos, &topic, pkid, &payload)),
        ("[a-z/]{0,12}", 0..2_u8, 1..9_u16, 0..4_u8).prop_map(|(topic, qos, pkid, alias)| publish5(
            qos,
            &topic,
            pkid,
            &[0x23, 0, alias],
            b"1"
        )),
        Just(packet(0x82, b"\0\x01\0\x09davy/v1/#\x01")),
        Just(packet(0x82, b"\0\x01\0\0\x09davy/v1/#\x01")),
        Just(packet(0xA2, b"\0\x01\0\x09davy/v1/#")),
        Just(packet(0xA2, b"\0\x01\0\0\x09davy/v1/#")),
        Just(b"\xc0\x00".to_vec()),
        Just(b"\x40\x02\x00\x01".to_vec()),
        Just(connect(4, "x", 0xC6, 9, b"\0\x01t\0\x01p\0\x01u\0\x01p")),
        Just(connect(5, "x", 0xC6, 9, b"\x05\x18\0\0\0\x09\0\x01t\0\x01p\0\x01u\0\x01p")),
    ];
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (prop::collection::vec(one, 1..12), changes).prop_map(|(packets, changes)| {
        let mut stream = packets.concat();
        for (at, byte) in changes {
            let at = at.index(stream.len());
            stream[at] = byte;
        }
        stream
    })
}

fn limits() -> super::super::Limits {
    config("anonymous = true\n[limit]\npacket_bytes = 1024\ntopic_aliases = 2\nunacknowledged = 4").limits
}

/// Everything that looks at bytes from outside is given these.
fn survives(stream: &[u8], version: Version) {
    let limits = limits();
    let account = Ledger::default().account("front");
    let rights = Rights::everything();
    let mut ingest = Ingest::new(version, rights, &limits, Box::new(Bare), account, Arc::default);
    let mut acks = AckQueue::new(version, 4);
    let mut rest = stream;
    loop {
        let (taken, pause) = ingest.take_in(rest, NOW, &mut acks);
        assert!(taken <= rest.len());
        match pause {
            Pause::Other(frame) => {
                assert!(taken > 0);
                drop(greet(&frame, &Users::default(), &limits, None));
                drop(read_subscribe(&frame, version));
                drop(read_unsubscribe(&frame, version));
                rest = &rest[taken..];
            }
            Pause::Wants(whole) => {
                assert!(whole > rest.len() - taken, "it wants what is there");
                break;
            }
            Pause::Window | Pause::Pace | Pause::Breach(_) => break,
        }
    }
}

proptest! {
    #![proptest_config(Config { cases: 2_000, ..Config::default() })]

    #[test]
    fn no_bytes_make_the_parser_fall(stream in prop_oneof![noise(), mutated(), any::<Vec<u8>>()]) {
        survives(&stream, Version::V311);
        survives(&stream, Version::V5);
    }

    /// Read in two pieces, cut anywhere, a stream gives the same samples.
    #[test]
    fn it_does_not_matter_where_a_read_ends(stream in mutated(), cut in any::<prop::sample::Index>()) {
        let limits = limits();
        let run = |cuts: &[usize]| {
            let account = Ledger::default().account("front");
            let rights = Rights::everything();
            let mut ingest =
                Ingest::new(Version::V311, rights, &limits, Box::new(Bare), account.clone(), Arc::default);
            let mut acks = AckQueue::new(Version::V311, 1_000);
            let (mut from, mut ends) = (0, cuts.iter().copied());
            let mut to = ends.next().unwrap_or(stream.len());
            loop {
                let (taken, pause) = ingest.take_in(&stream[from..to], NOW, &mut acks);
                from += taken;
                match pause {
                    Pause::Other(_) => {}
                    Pause::Wants(_) if to < stream.len() => to = ends.next().unwrap_or(stream.len()),
                    Pause::Wants(_) => return (from, None, ingest.samples.len(), account.get(Fate::UnknownTopic)),
                    Pause::Breach(breach) => return (from, Some(breach), ingest.samples.len(), account.get(Fate::UnknownTopic)),
                    Pause::Window | Pause::Pace => panic!("the window is wide"),
                }
            }
        };
        prop_assert_eq!(run(&[]), run(&[cut.index(stream.len())]));
    }

    /// Our reading of a PUBLISH is the codec's.
    #[test]
    fn a_publish_is_read_as_the_codec_reads_it(topic in "[a-zA-Z0-9/井]{1,20}", qos in 0..2_u8, pkid in 1..=u16::MAX, alias in 1..=u16::MAX, payload in any::<Vec<u8>>()) {
        let bytes = publish(qos, &topic, pkid, &payload);
        let Ok(Scan::Packet(frame)) = scan(&bytes, 1 << 20) else { panic!("whole") };
        let ours = Publish::read(&frame, Version::V311, 100).unwrap();
        let Ok(v4::Packet::Publish(theirs)) = v4::Packet::read(&mut BytesMut::from(&bytes[..]), 1 << 20) else { panic!("v4") };
        prop_assert_eq!((ours.topic, ours.pkid, ours.payload), (theirs.topic.as_bytes(), theirs.pkid, &theirs.payload[..]));
        let [high, low] = alias.to_be_bytes();
        let bytes = publish5(qos, &topic, pkid, &[0x01, 1, 0x23, high, low, 0x26, 0, 1, b'k', 0, 1, b'v'], &payload);
        let Ok(Scan::Packet(frame)) = scan(&bytes, 1 << 20) else { panic!("whole") };
        let ours = Publish::read(&frame, Version::V5, 100).unwrap();
        let Ok(v5::Packet::Publish(theirs)) = v5::Packet::read(&mut BytesMut::from(&bytes[..]), None) else { panic!("v5") };
        prop_assert_eq!((ours.topic, ours.pkid, ours.payload), (&theirs.topic[..], theirs.pkid, &theirs.payload[..]));
        prop_assert_eq!(Some(ours.alias), theirs.properties.unwrap().topic_alias);
    }
}

/// The same over sockets: whatever they send, an honest device beside them is served.
#[tokio::test]
async fn noise_on_many_connections_leaves_an_honest_one_alone() {
    let stage = Stage::open("packet_bytes = 1024").await;
    let mut honest = stage.v311("honest").await;
    let mut runner = TestRunner::deterministic();
    for round in 0..60_u16 {
        let stream = prop_oneof![noise(), mutated()].new_tree(&mut runner).unwrap().current();
        let mut attacker = stage.dial().await;
        let hello = match round % 3 {
            0 => Vec::new(),
            1 => connect(4, "", 2, 0, &[]),
            _ => connect(5, "", 2, 0, &[]),
        };
        // It may be closed before all is written.
        drop(tokio::io::AsyncWriteExt::write_all(&mut attacker.0, &[hello, stream].concat()).await);
        drop(attacker);
        honest.send(&publish(1, "s/4", round + 1, b"4.5")).await;
        let [high, low] = (round + 1).to_be_bytes();
        assert_eq!(honest.packet().await, [0x40, 2, high, low]);
    }
    let honest_samples = stage.journal.samples.lock().unwrap().iter().filter(|sample| sample.point.0 == 4).count();
    assert!(honest_samples >= 60);
    stage.close().await;
}
