//! A county's fire centre and the user devices of its buildings.

use std::time::Duration;

use super::stage::{Stage, bytes};
use crate::clock;
use crate::decode::frames::gb26875::{self as wire, Command, Head, kind};
use crate::decode::frames::{Scan, Zone, hex};
use crate::ledger::Fate;
use crate::model::{Reason, Timestamp};
use crate::source::frames::{AskError, Order, Reply};

/// The published frame: its sender has the address 0, part 393433 of system 3 reports fire.
pub const FIRE: &str = "404000000101180d11160a140000000000000605040302013000020201010300d90006000200a3c1c7f8a3\
                    b1b2e3dfc8b2\
                        b8d7dfc0c8000000000000000000000000000000301213010814682323";

pub const DOOR: &str = r#"
    [source.gb26875.county]
    address = "127.0.0.1:0"
    device."000000000000" = { points = "tower.s{system}-p{part}-{bit}" }
    [point."tower.s3-p393433-fire"]
    kind = "smoke"
    [point."tower.s3-p393433-fault"]
    kind = "switch"
    [point."tower.s3-p7-temperature"]
    kind = "temperature"
    range = [-20.0, 60.0]
    [point."tower.panel"]
    kind = "switch"
    fire = { device = "000000000000", bit = "panel_line_fault" }
    [point."tower.system"]
    kind = "switch"
    fire = { device = "000000000000", system = 3, bit = "fire" }
    [point."tower.alive"]
    kind = "switch"
    period = "2h"
    fire = { device = "000000000000", bit = "alive" }
"#;

fn now() -> [u8; 6] {
    wire::clock(clock::now(), Zone::BEIJING)
}

/// A frame of the device with address 0.
pub fn frame(serial: u16, command: Command, data: &[u8]) -> Vec<u8> {
    let head = Head { serial, version: [1, 1], clock: now(), source: [0; 6], target: [6, 5, 4, 3, 2, 1], command };
    let mut out = Vec::new();
    head.write(data, &mut out);
    out
}

fn part(state: u16) -> Vec<u8> {
    let mut data = vec![kind::PART_STATE, 1, 1, 3, 42];
    data.extend(393_433_u32.to_le_bytes());
    data.extend(state.to_le_bytes());
    data.extend([0; 31]);
    data.extend(now());
    data
}

/// Serial and command of what the centre said; panics when the frame is not sound.
fn heard(frame: &[u8]) -> (u16, Command) {
    assert_eq!(wire::scan(frame, 1024), Scan::Frame(frame.len()));
    let head = Head::read(frame).unwrap();
    assert_eq!((hex(&head.source), hex(&head.target)), ("060504030201".into(), "000000000000".into()));
    (head.serial, head.command)
}

#[tokio::test]
async fn a_fire_is_acknowledged_when_it_is_durable_and_not_before() {
    let stage = Stage::start(DOOR).await;
    stage.journal.hold();
    let mut device = stage.device().await;
    device.sends(&bytes(FIRE)).await;
    stage.until("the fire", |stage| stage.told().len() == 3).await;
    device.hears_nothing().await;
    stage.journal.commit();
    assert_eq!(heard(&device.hears(30).await), (0, Command::Acknowledge));
    assert_eq!(stage.told(), ["alive 1 good", "s3-p393433-fire 1 good", "s3-p393433-fault 0 good"]);
    let fire = stage.journal.samples()[1];
    assert_eq!(fire.source_time, Timestamp::parse("2020-08-01T11:18:48Z").unwrap());
}

#[tokio::test]
async fn what_the_disk_did_not_keep_is_not_acknowledged() {
    let stage = Stage::start(DOOR).await;
    stage.journal.hold();
    let mut device = stage.device().await;
    device.sends(&frame(1, Command::Send, &part(0b11))).await;
    stage.until("the fire", |stage| stage.told().len() == 3).await;
    stage.journal.fail();
    assert_eq!(device.is_let_go().await, b"");
    stage.counted(Fate::Unacknowledged, 3).await;
}

#[tokio::test]
async fn a_wrong_sum_is_denied_counted_and_the_next_frame_is_taken() {
    let stage = Stage::start(DOOR).await;
    let mut device = stage.device().await;
    let mut wrong = frame(7, Command::Send, &part(0b11));
    wrong[40] ^= 1;
    device.sends(&wrong).await;
    assert_eq!(heard(&device.hears(30).await), (7, Command::Deny));
    assert_eq!(stage.told(), [""; 0]);
    device.sends(&frame(8, Command::Send, &part(0b11))).await;
    assert_eq!(heard(&device.hears(30).await), (8, Command::Acknowledge));
    stage.counted(Fate::Malformed, 1).await;
}

#[tokio::test]
async fn a_zero_of_a_blocked_part_clears_nothing_and_a_one_always_stands() {
    let stage = Stage::start(DOOR).await;
    let mut device = stage.device().await;
    for (serial, state) in [(1, 0b1001), (2, 0b0101), (3, 0b1_0000_0001), (4, 0b1011), (5, 0b1), (6, 0b10)] {
        device.sends(&frame(serial, Command::Send, &part(state))).await;
        assert_eq!(heard(&device.hears(30).await).0, serial);
    }
    let fires: Vec<String> = stage.told().into_iter().filter(|line| line.contains("-fire")).collect();
    let expected = ["0 bad:paused", "0 bad:sensor_fault", "0 bad:supply_lost", "1 good", "0 good", "1 good"];
    assert_eq!(fires, expected.map(|rest| format!("s3-p393433-fire {rest}")));
}

#[tokio::test]
async fn systems_devices_and_analog_values_have_points_and_strangers_none() {
    let stage = Stage::start(DOOR).await;
    let mut device = stage.device().await;
    let analog = |part: u8, raw: i16| {
        let mut data = vec![kind::PART_ANALOG, 1, 1, 3, 31, part, 0, 0, 0, 3];
        data.extend(raw.to_le_bytes());
        data.extend(now());
        data
    };
    let with_time = |head: &[u8]| [head, &now()].concat();
    let objects = [
        with_time(&[kind::SYSTEM_STATE, 1, 1, 3, 0b10, 0]),
        with_time(&[kind::DEVICE_STATE, 1, 0b100_0001]),
        analog(7, -131),
        analog(7, 700),
        analog(8, 1),
        with_time(&[kind::DEVICE_OPERATION, 1, 1, 9]),
        vec![25, 1, 3, 1],
    ];
    for (serial, data) in (1..).zip(&objects) {
        device.sends(&frame(serial, Command::Send, data)).await;
        assert_eq!(heard(&device.hears(30).await), (serial, Command::Acknowledge));
    }
    let told: Vec<String> = stage.told().into_iter().filter(|line| !line.starts_with("alive")).collect();
    let expected =
        ["system 1 good", "panel 1 good", "s3-p7-temperature -13.1 good", "s3-p7-temperature 70 uncertain:over_range"];
    assert_eq!(told, expected);
    stage.counted(Fate::UnknownPoint, 1).await;

    let mut stranger = stage.device().await;
    let mut head = Head::read(&frame(1, Command::Send, &[])).unwrap();
    head.source = [9; 6];
    let mut unknown = Vec::new();
    head.write(&part(0b11), &mut unknown);
    stranger.sends(&unknown).await;
    assert_eq!(stranger.is_let_go().await, b"");
    stage.counted(Fate::Refused, 1).await;
    assert_eq!(stage.told().len(), 4 + objects.len());
}

#[tokio::test]
async fn a_clock_that_is_off_is_set_once() {
    let stage = Stage::start(&DOOR.replace("device.", "set_clock_beyond = \"5s\"\n device.")).await;
    let mut device = stage.device().await;
    device.sends(&frame(1, Command::Send, &part(1))).await;
    assert_eq!(heard(&device.hears(30).await), (1, Command::Acknowledge));
    // The published frame says 2020 in its head.
    device.sends(&bytes(FIRE)).await;
    assert_eq!(heard(&device.hears(30).await), (0, Command::Acknowledge));
    let set = device.hears(38).await;
    assert_eq!(heard(&set), (1, Command::Control));
    let data = wire::data(&set);
    assert_eq!(data[..2], [kind::SET_CLOCK, 1]);
    let told = wire::moment(data[2..].try_into().unwrap(), Zone::BEIJING).unwrap();
    assert!(clock::now().since(told) < Duration::from_secs(10));
    device.sends(&bytes(FIRE)).await;
    assert_eq!(heard(&device.hears(30).await), (0, Command::Acknowledge));
    device.hears_nothing().await;
}

#[tokio::test]
async fn a_post_check_ends_when_a_person_answers() {
    let stage = Stage::start(DOOR).await;
    let nobody = stage.stations.ask("000000000000", Order::SetClock).await;
    assert_eq!(nobody, Err(AskError::NotConnected("000000000000".into())));
    let mut device = stage.device().await;
    device.sends(&frame(1, Command::Send, &part(1))).await;
    device.hears(30).await;
    assert_eq!(stage.stations.list()[0].device, "000000000000");

    let stations = stage.stations.clone();
    let check = tokio::spawn(async move { stations.ask("000000000000", Order::PostCheck { minutes: 10 }).await });
    let order = device.hears(33).await;
    let (serial, command) = heard(&order);
    assert_eq!((command, wire::data(&order)), (Command::Control, [kind::POST_CHECK, 1, 10].as_slice()));
    device.sends(&frame(serial, Command::Acknowledge, &[])).await;
    let pressed = [[kind::DEVICE_OPERATION, 1, wire::POST_ANSWERED, 7].as_slice(), &now()].concat();
    device.sends(&frame(2, Command::Send, &pressed)).await;
    assert_eq!(heard(&device.hears(30).await), (2, Command::Acknowledge));
    assert_eq!(check.await.unwrap(), Ok(Reply::Answered));

    for (answer, expected) in [(Command::Acknowledge, Reply::Done), (Command::Deny, Reply::Denied)] {
        let stations = stage.stations.clone();
        let set = tokio::spawn(async move { stations.ask("000000000000", Order::SetClock).await });
        let (serial, _) = heard(&device.hears(38).await);
        device.sends(&frame(serial, answer, &[])).await;
        assert_eq!(set.await.unwrap(), Ok(expected));
    }
}

#[tokio::test]
async fn a_line_that_was_to_stay_up_marks_its_points_when_it_breaks() {
    let door = DOOR.replace("device.", "permanent = true\n limit = { silence = \"300ms\" }\n device.");
    let stage = Stage::start(&door).await;
    let mut device = stage.device().await;
    device.sends(&frame(1, Command::Send, &part(1))).await;
    device.hears(30).await;
    // The device came again before the old line was given up: nothing is lost.
    let mut again = stage.device().await;
    again.sends(&frame(2, Command::Send, &part(1))).await;
    again.hears(30).await;
    drop(device);
    again.sends(&frame(3, Command::Send, &part(1))).await;
    again.hears(30).await;
    assert!(stage.journal.samples().iter().all(|sample| sample.quality.usable()));
    assert_eq!(again.is_let_go().await, b"", "no frame within 300 ms");
    stage
        .until("the marks", |stage| stage.told().iter().filter(|line| line.ends_with("bad:not_polled")).count() == 6)
        .await;
    stage.counted(Fate::KeepAlive, 1).await;
    let marked = stage.journal.samples().into_iter().filter(|sample| sample.quality.has(Reason::NotPolled));
    assert_eq!(marked.map(|sample| sample.point).collect::<std::collections::BTreeSet<_>>().len(), 6);
}

#[tokio::test]
async fn a_device_that_is_away_is_one_alarm_until_it_is_back() {
    let gone = |away| ("gb26875.county/000000000000".to_owned(), away);
    // Where the line stays up its connection counts, where it does not its words.
    for (keys, word) in [("permanent = true\n away = \"1s\"", "a line"), ("away = \"1s\"", "words")] {
        let stage = Stage::start(&DOOR.replace("device.", &format!("{keys}\n device."))).await;
        let mut device = stage.device().await;
        device.sends(&frame(1, Command::Send, &part(1))).await;
        device.hears(30).await;
        stage.until(word, |stage| stage.journal.absences() == [gone(false)]).await;
        if keys.starts_with("permanent") {
            drop(device);
        }
        stage.until(word, |stage| stage.journal.absences() == [gone(false), gone(true)]).await;
        let mut back = stage.device().await;
        back.sends(&frame(2, Command::Send, &part(1))).await;
        back.hears(30).await;
        stage.until(word, |stage| stage.journal.absences() == [gone(false), gone(true), gone(false)]).await;
    }
}

#[tokio::test]
async fn a_flood_of_garbage_does_not_disturb_a_good_neighbour() {
    let stage = Stage::start(&DOOR.replace("device.", "limit = { garbage_bytes = 1024 }\n device.")).await;
    let mut flood = Vec::new();
    for number in 0..8_u8 {
        let mut noisy = stage.device().await;
        flood.push(tokio::spawn(async move {
            // Frames that begin and never end, damaged ones, and plain noise.
            let noise = [[0x40_u8, 0x40, number].repeat(20), bytes(FIRE)[..70].to_vec(), vec![number; 500]].concat();
            use tokio::io::AsyncWriteExt;
            while noisy.stream.write_all(&noise).await.is_ok() {}
            noisy.is_let_go().await
        }));
    }
    let mut device = stage.device().await;
    for serial in 0..50 {
        device.sends(&frame(serial, Command::Send, &part(((serial % 2) << 1) | 1))).await;
        assert_eq!(heard(&device.hears(30).await), (serial, Command::Acknowledge));
    }
    for noisy in flood {
        noisy.await.unwrap();
    }
    stage.counted(Fate::Malformed, 8).await;
    let fires = stage.told().iter().filter(|line| *line == "s3-p393433-fire 1 good").count();
    assert_eq!((fires, stage.journal.samples().len()), (25, 150));
}

#[tokio::test]
async fn a_frame_that_never_ends_does_not_hide_the_one_behind_it() {
    let stage = Stage::start(&DOOR.replace("device.", "limit = { frame_within = \"100ms\" }\n device.")).await;
    let mut device = stage.device().await;
    let mut endless = frame(1, Command::Send, &part(1))[..30].to_vec();
    endless[24..26].copy_from_slice(&4_000_u16.to_le_bytes());
    device.sends(&[endless, frame(2, Command::Send, &part(0b11))].concat()).await;
    assert_eq!(heard(&device.hears(30).await), (2, Command::Acknowledge));
    stage.counted(Fate::Malformed, 1).await;

    let mut hurried = stage.device().await;
    let mut endless = frame(3, Command::Send, &part(1))[..30].to_vec();
    endless[24..26].copy_from_slice(&4_000_u16.to_le_bytes());
    hurried.sends(&[endless, frame(4, Command::Send, &part(0b11))].concat()).await;
    tokio::io::AsyncWriteExt::shutdown(&mut hurried.stream).await.unwrap();
    let last = hurried.is_let_go().await;
    assert_eq!(heard(&last), (4, Command::Acknowledge), "a device that hangs up at once is heard to its end");
}

#[tokio::test]
async fn who_shows_no_frame_in_time_is_let_go() {
    let stage =
        Stage::start(&DOOR.replace("device.", "limit = { first_frame_within = \"100ms\", connections = 1 }\n device."))
            .await;
    let mut silent = stage.device().await;
    let mut second = stage.device().await;
    assert_eq!(second.is_let_go().await, b"", "one connection is the limit");
    assert_eq!(silent.is_let_go().await, b"");
    stage.counted(Fate::TimedOut, 1).await;
    stage.counted(Fate::Refused, 1).await;
}
