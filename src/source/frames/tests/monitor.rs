//! A plant's outfall and its environmental monitor.

use super::stage::Stage;
use crate::decode::frames::hj212::packet;
use crate::ledger::Fate;

pub const DOOR: &str = r#"
    [source.hj212.outfall]
    address = "127.0.0.1:0"
    device."010000A8900016F000169DC0" = {}
    [point."plant.so2"]
    kind = "so2"
    unit = "mg/m3"
    hj212 = { mn = "010000A8900016F000169DC0", factor = "a21026", field = "Rtd" }
    [point."plant.so2-hour"]
    kind = "so2"
    unit = "mg/m3"
    hj212 = { mn = "010000A8900016F000169DC0", factor = "a21026", field = "Avg", cn = 2061 }
    [point."plant.dust"]
    kind = "dust"
    hj212 = { mn = "010000A8900016F000169DC0", factor = "a34013", field = "Rtd" }
"#;

pub fn real_time(head: &str, fields: &str) -> Vec<u8> {
    let mn = "MN=010000A8900016F000169DC0";
    packet(&format!("QN=20251123080000001;ST=31;CN=2011;PW=123456;{mn};{head};CP=&&{fields}&&"))
}

fn answer(cn: u16) -> String {
    let data = format!("QN=20251123080000001;ST=91;CN={cn};PW=123456;MN=010000A8900016F000169DC0;Flag=4;CP=&&&&");
    String::from_utf8(packet(&data)).unwrap()
}

#[tokio::test]
async fn data_are_answered_when_they_are_durable_with_the_quality_of_their_mark() {
    let stage = Stage::start(DOOR).await;
    stage.journal.hold();
    let mut monitor = stage.device().await;
    let fields = "DataTime=20251123080000;a21026-Rtd=12.5,a21026-Flag=N;\
                  a34013-Rtd=3.1,a34013-Flag=D;a01001-Rtd=20.1,a01001-Flag=N";
    monitor.sends(&real_time("Flag=5", fields)).await;
    stage.until("the data", |stage| stage.told().len() == 2).await;
    monitor.hears_nothing().await;
    stage.journal.commit();
    let expected = answer(9014);
    assert_eq!(monitor.hears(expected.len()).await, expected.as_bytes());
    assert_eq!(stage.told(), ["so2 12.5 good", "dust 3.1 bad:sensor_fault"]);
    assert_eq!(stage.journal.samples()[0].source_time.to_string(), "2025-11-23T00:00:00Z");
    // Temperature has no point.
    stage.counted(Fate::UnknownPoint, 1).await;
}

#[tokio::test]
async fn statistics_have_points_and_times_of_their_own() {
    let stage = Stage::start(DOOR).await;
    let mut monitor = stage.device().await;
    let fields = "DataTime=20251123070000;a21026-Min=1,a21026-Avg=9.25,a21026-Max=20,a21026-Flag=N";
    let hourly = String::from_utf8(real_time("Flag=5", fields)).unwrap();
    let hourly = packet(&hourly[6..hourly.len() - 6].replace("CN=2011", "CN=2061"));
    monitor.sends(&hourly).await;
    assert_eq!(monitor.hears(answer(9014).len()).await, answer(9014).as_bytes());
    assert_eq!(stage.told(), ["so2-hour 9.25 good"]);
    assert_eq!(stage.journal.samples()[0].source_time.to_string(), "2025-11-22T23:00:00Z");
}

#[tokio::test]
async fn packets_of_one_message_share_its_time() {
    let stage = Stage::start(DOOR).await;
    let mut monitor = stage.device().await;
    monitor.sends(&real_time("Flag=7;PNUM=2;PNO=1", "DataTime=20251123080000;a21026-Rtd=1,a21026-Flag=N")).await;
    assert_eq!(monitor.hears(answer(9014).len()).await, answer(9014).as_bytes());
    monitor.sends(&real_time("Flag=7;PNUM=2;PNO=2", "a34013-Rtd=x,a34013-Flag=T")).await;
    assert_eq!(monitor.hears(answer(9014).len()).await, answer(9014).as_bytes());
    assert_eq!(stage.told(), ["so2 1 good", "dust 0 bad:sensor_fault+over_range"]);
    let times: Vec<_> = stage.journal.samples().iter().map(|sample| sample.source_time).collect();
    assert_eq!(times[0], times[1]);
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_never_shown() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "654321\n").unwrap();
    let door = DOOR.replace("device.", &format!("password_file = {:?}\n device.", file.path()));
    let stage = Stage::start(&door).await;
    let mut monitor = stage.device().await;
    monitor.sends(&real_time("Flag=5", "DataTime=20251123080000;a21026-Rtd=1")).await;
    assert_eq!(monitor.is_let_go().await, b"");
    stage.counted(Fate::Refused, 1).await;
    assert_eq!(stage.told(), [""; 0]);
}

#[tokio::test]
async fn who_asks_for_no_answer_gets_none_and_a_wrong_crc_neither() {
    let stage = Stage::start(DOOR).await;
    let mut monitor = stage.device().await;
    monitor.sends(&real_time("Flag=4", "DataTime=20251123080000;a21026-Rtd=1")).await;
    let mut wrong = real_time("Flag=5", "DataTime=20251123080001;a21026-Rtd=2");
    let last = wrong.len() - 8;
    wrong[last] ^= 1;
    monitor.sends(&wrong).await;
    stage.counted(Fate::Malformed, 1).await;
    monitor.hears_nothing().await;
    assert_eq!(stage.told(), ["so2 1 good"]);
}
