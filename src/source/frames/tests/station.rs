//! A reservoir's stations, over lines that come and go.

use super::stage::{Stage, bytes};
use crate::decode::frames::Zone;
use crate::decode::frames::crc16;
use crate::decode::frames::sl651::{Ending, Frame, Opening, Part, answer, moment};
use crate::ledger::Fate;
use crate::model::Reason;

const HEARTBEAT: &str = "7E7E01001234567812342F0008020003591011155111036BCA";
pub const TEST: &str = "7E7E010012345678123430002B020003591011154947F1F1001234567848F0F05910111549201900000526\
                    1900000539230000\
                        0127381211150320FA";

pub const DOOR: &str = r#"
    [source.sl651.county]
    address = "127.0.0.1:0"
    device."0012345678" = {}
    [point."river.level"]
    kind = "water_level"
    sl651 = { station = "0012345678", element = "39" }
    [point."river.rain"]
    kind = "rain"
    sl651 = { station = "0012345678", element = "20" }
    [point."river.battery-low"]
    kind = "switch"
    sl651 = { station = "0012345678", element = "45", bit = 1 }
    [point."river.alive"]
    kind = "switch"
    sl651 = { station = "0012345678", element = "alive" }
"#;

/// An upward frame of the station.
pub fn frame(function: u8, part: Option<(u16, u16)>, text: &[u8]) -> Vec<u8> {
    let mut out = bytes("7E7E0100123456781234");
    out.push(function);
    let length = u16::try_from(text.len()).unwrap() + if part.is_some() { 3 } else { 0 };
    out.extend(length.to_be_bytes());
    out.push(if part.is_some() { 0x16 } else { 0x02 });
    if let Some((total, number)) = part {
        out.extend(&(u32::from(total) << 12 | u32::from(number)).to_be_bytes()[1..]);
    }
    out.extend(text);
    out.push(if part.is_some_and(|(total, number)| number < total) { 0x17 } else { 0x03 });
    out.extend(crc16(&out).to_be_bytes());
    out
}

/// What the centre is to say to that station, but for its clock and so its CRC.
fn said(function: u8, part: Option<Part>, serial: [u8; 2], ending: Ending, heard: &[u8]) {
    let at = if part.is_some() { 19 } else { 16 };
    let sent: [u8; 6] = heard[at..at + 6].try_into().unwrap();
    let to = Frame {
        centre: 1,
        station: [0, 0x12, 0x34, 0x56, 0x78],
        password: [0x12, 0x34],
        function,
        part: None,
        text: &[],
    };
    assert_eq!(heard, answer(&to, part, Opening { serial, sent }, ending));
    assert!(moment(&sent, Zone::BEIJING).is_some());
}

#[tokio::test]
async fn a_report_is_confirmed_when_it_is_durable_and_a_heartbeat_never() {
    let stage = Stage::start(DOOR).await;
    stage.journal.hold();
    let mut station = stage.device().await;
    station.sends(&bytes(HEARTBEAT)).await;
    stage.until("the heartbeat", |stage| stage.told() == ["alive 1 good"]).await;
    stage.journal.commit();
    station.sends(&bytes(TEST)).await;
    stage.until("the report", |stage| stage.told().len() == 4).await;
    station.hears_nothing().await;
    stage.journal.commit();
    said(0x30, None, [0, 3], Ending::Leave, &station.hears(25).await);
    // The published frame is of 2059: a clock that cannot be believed.
    assert_eq!(
        stage.told()[1..],
        ["alive 1 good", "rain 0.5 uncertain:clock_wrong", "level 0.127 uncertain:clock_wrong"]
    );
    stage.counted(Fate::BadTime, 2).await;
    // Accumulated rain and the supply have no point.
    stage.counted(Fate::UnknownPoint, 2).await;
}

#[tokio::test]
async fn a_station_that_is_to_stay_is_told_so() {
    let stage = Stage::start(&DOOR.replace("device.", "stay_online = true\n device.")).await;
    let mut station = stage.device().await;
    station.sends(&bytes(TEST)).await;
    said(0x30, None, [0, 3], Ending::Stay, &station.hears(25).await);
}

#[tokio::test]
async fn a_broken_gauge_says_so_in_the_state_of_its_station() {
    let stage = Stage::start(DOOR).await;
    let mut station = stage.device().await;
    let text = bytes("0004 251123080000 F1F1001234567848 F0F02511230755 392300012738 2019FFFFFF 452000000042");
    station.sends(&frame(0x32, None, &text)).await;
    said(0x32, None, [0, 4], Ending::Leave, &station.hears(25).await);
    let told = stage.told();
    assert_eq!(told[1..], ["level 12.738 bad:sensor_fault", "rain 0 bad:sensor_fault", "battery-low 1 good"]);
    let level = stage.journal.samples()[1];
    assert!(level.quality.has(Reason::SensorFault));
    assert_eq!(level.source_time.to_string(), "2025-11-22T23:55:00Z");
    stage.counted(Fate::BadValue, 1).await;
}

#[tokio::test]
async fn a_wrong_password_or_crc_delivers_nothing() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "ABCD").unwrap();
    let door = DOOR.replace("device.", &format!("password_file = {:?}\n device.", file.path()));
    let stage = Stage::start(&door).await;
    let mut station = stage.device().await;
    station.sends(&bytes(TEST)).await;
    assert_eq!(station.is_let_go().await, b"");
    stage.counted(Fate::Refused, 1).await;

    std::fs::write(&file, "1234").unwrap();
    let stage = Stage::start(&door).await;
    let mut station = stage.device().await;
    let mut wrong = bytes(TEST);
    wrong[50] ^= 1;
    station.sends(&[wrong, bytes(TEST)].concat()).await;
    said(0x30, None, [0, 3], Ending::Leave, &station.hears(25).await);
    stage.counted(Fate::Malformed, 1).await;
    assert_eq!(stage.told().len(), 3);
}

#[tokio::test]
async fn a_report_in_parts_is_put_together_and_what_is_missing_asked_for() {
    let stage = Stage::start(DOOR).await;
    let mut station = stage.device().await;
    let text =
        bytes("0031 251123110005 F1F1001234567848 F0F02511231005 0418000005 3923 00000122 00000285 FFFFFFFF 00010490");
    let parts: Vec<&[u8]> = text.chunks(16).collect();
    let total = u16::try_from(parts.len()).unwrap();
    for number in [1, total] {
        station.sends(&frame(0x31, Some((total, number)), parts[usize::from(number) - 1])).await;
    }
    let missing = Part { total, number: 2 };
    said(0x31, Some(missing), [0, 0x31], Ending::Again, &station.hears(28).await);
    assert!(stage.told().iter().all(|line| line.starts_with("alive")));
    station.sends(&frame(0x31, Some((total, 2)), parts[1])).await;
    said(0x31, None, [0, 0x31], Ending::Leave, &station.hears(25).await);
    let levels: Vec<String> = stage.told().into_iter().filter(|line| line.starts_with("level")).collect();
    assert_eq!(levels, ["level 0.122 good", "level 0.285 good", "level 0 bad:sensor_fault", "level 10.49 good"]);
    let times: Vec<String> =
        stage.journal.samples().iter().rev().take(4).map(|one| one.source_time.to_string()).collect();
    assert_eq!((times[3].as_str(), times[0].as_str()), ("2025-11-23T02:05:00Z", "2025-11-23T02:20:00Z"));
}

#[tokio::test]
async fn parts_without_end_are_given_up() {
    let stage = Stage::start(&DOOR.replace("device.", "limit = { message_bytes = 1024 }\n device.")).await;
    let mut station = stage.device().await;
    for number in 1..=10 {
        station.sends(&frame(0x36, Some((4000, number)), &[7; 100])).await;
    }
    station.sends(&bytes(TEST)).await;
    said(0x30, None, [0, 3], Ending::Leave, &station.hears(25).await);
    stage.counted(Fate::TooLarge, 1).await;
}
