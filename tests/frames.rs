//! A fire, a river and an outfall report over TCP frames to a real gateway, which is killed after its answers.
//!
//! What was answered is there after the restart, the fire is an alarm, and the ledger knows what was refused.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails where it stands")]

mod stage;

use std::time::Duration;

use davy::clock;
use davy::decode::frames::gb26875::{self, Command, Head};
use davy::decode::frames::{Zone, hj212, unhex};
use stage::{Site, free_port, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const RULE: &str = r#"rule("smoke", #{
    title:    "火警 / fire",
    advice:   "现场确认 / look at the place",
    watches:  #{ kind: "smoke" },
    limits:   #{ fire: #{ value: 1.0, unit: "", stricter: "lower", basis: "GB/T 26875.3-2011" } },
    priority: "P1", level: "red",
    raise:    |p| p.value >= p.limit.fire,
});
"#;

/// Sends a frame and waits for an answer of so many bytes.
async fn say(port: u16, frame: &[u8], answer: usize) -> Vec<u8> {
    let mut heard = vec![0; answer];
    let talk = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(frame).await.unwrap();
        stream.read_exact(&mut heard).await.unwrap();
    };
    tokio::time::timeout(Duration::from_secs(20), talk).await.expect("an answer within 20 s");
    heard
}

fn fire() -> Vec<u8> {
    let time = gb26875::clock(clock::now(), Zone::BEIJING);
    let command = Command::Send;
    let head = Head { serial: 77, version: [1, 1], clock: time, source: [6, 5, 4, 3, 2, 1], target: [0; 6], command };
    let mut data = vec![gb26875::kind::PART_STATE, 1, 1, 1, 42, 7, 0, 0, 0, 0b11, 0];
    data.extend([0; 31]);
    data.extend(time);
    let mut frame = Vec::new();
    head.write(&data, &mut frame);
    frame
}

#[tokio::test]
async fn what_was_answered_outlives_the_gateway() {
    let (fire_port, river_port, outfall_port) = (free_port(), free_port(), free_port());
    let config = format!(
        "[web]\naddress = \"127.0.0.1:0\"\n\
         [source.gb26875.fire]\naddress = \"127.0.0.1:{fire_port}\"\n\
         device.\"060504030201\" = {{ points = \"tower.p{{part}}-{{bit}}\" }}\n\
         [source.sl651.river]\naddress = \"127.0.0.1:{river_port}\"\n\
         [source.hj212.outfall]\naddress = \"127.0.0.1:{outfall_port}\"\n\
         [point.\"tower.p7-fire\"]\nkind = \"smoke\"\nperiod = \"1d\"\n\
         [point.\"river.level\"]\nkind = \"water_level\"\nperiod = \"1d\"\n\
         sl651 = {{ station = \"0012345678\", element = \"39\" }}\n\
         [point.\"plant.so2\"]\nkind = \"so2\"\nunit = \"mg/m3\"\nperiod = \"1d\"\n\
         hj212 = {{ mn = \"A1\", factor = \"a21026\", field = \"Rtd\" }}\n"
    );
    let site = Site::new(&config, &[("fire.rhai", RULE)]);
    let davy = site.start().await;

    let answer = say(fire_port, &fire(), 30).await;
    let head = Head::read(&answer).unwrap();
    assert_eq!((head.serial, head.command, head.target), (77, Command::Acknowledge, [6, 5, 4, 3, 2, 1]));
    // Published frame: level 0.127 m.
    let report = "7E7E010012345678123430002B020003591011154947F1F1001234567848F0F05910111549201900000526190000\
                        053923000001\
                  27381211150320FA";
    let answer = say(river_port, &unhex(&report.replace(char::is_whitespace, "")).unwrap(), 25).await;
    assert_eq!((&answer[..11], answer[22]), (unhex("7E7E001234567801123430").unwrap().as_slice(), 0x04));
    let wall = Zone::BEIJING.wall(clock::now());
    let time =
        format!("{:04}{:02}{:02}{:02}{:02}{:02}", wall.year, wall.month, wall.day, wall.hour, wall.minute, wall.second);
    let data =
        format!("QN={time}000;ST=31;CN=2011;PW=1;MN=A1;Flag=5;CP=&&DataTime={time};a21026-Rtd=4.5,a21026-Flag=N&&");
    let answer = String::from_utf8(say(outfall_port, &hj212::packet(&data), 70).await).unwrap();
    assert!(answer.contains("CN=9014;PW=1;MN=A1"), "{answer}");
    davy.kill();

    let davy = site.start().await;
    for (point, value) in [("tower.p7-fire", 1.0), ("river.level", 0.127), ("plant.so2", 4.5)] {
        let stored = davy.samples(point, stage::now_ms() - 60_000).await;
        assert_eq!(stored.iter().map(|sample| sample.value).collect::<Vec<_>>(), [Some(value)], "{point}");
    }
    until("the fire is an alarm", async || davy.holding("smoke").await.is_some()).await;
    somebody_is_at_the_desk(&davy, fire_port).await;
    let mut stranger = fire();
    stranger[12] = 9;
    let sum = stranger[2..stranger.len() - 3].iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    let at = stranger.len() - 3;
    stranger[at] = sum;
    let mut stream = TcpStream::connect(("127.0.0.1", fire_port)).await.unwrap();
    stream.write_all(&stranger).await.unwrap();
    until("the stranger is counted", async || davy.fate("gb26875.fire", "refused").await == 1).await;
}

/// The county asks by HTTP whether somebody is there; the device passes it on, and nobody is.
async fn somebody_is_at_the_desk(davy: &stage::Davy, port: u16) {
    let path = "/api/v1/devices/060504030201/orders";
    let check = serde_json::json!({ "order": "post_check", "minutes": 1, "by": "Li" });
    let (status, _) = davy.post(path, &check).await.unwrap();
    assert_eq!(status, 404, "not connected");
    let mut device = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    device.write_all(&fire()).await.unwrap();
    let mut heard = [0; 33];
    device.read_exact(&mut heard[..30]).await.unwrap();
    assert_eq!(davy.get("/api/v1/devices").await["connected"][0]["door"], "gb26875.fire");
    let (status, said) = davy.post(path, &check).await.unwrap();
    assert_eq!((status, &said["reply"]), (202, &"asked".into()));
    device.read_exact(&mut heard).await.unwrap();
    let order = Head::read(&heard).unwrap();
    assert_eq!(gb26875::data(&heard), [gb26875::kind::POST_CHECK, 1, 1]);
    let denied = Head { command: Command::Deny, source: order.target, target: order.source, ..order };
    let mut answer = Vec::new();
    denied.write(&[], &mut answer);
    device.write_all(&answer).await.unwrap();
    let alarm = stage::wait_for("the unanswered check", async || davy.holding("davy-post-check").await).await;
    assert_eq!((&alarm["subject"], &alarm["priority"]), (&"060504030201".into(), &"P2".into()));
    assert_eq!(alarm["detail"], "asked by Li: the device refused it");
}
