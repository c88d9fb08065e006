//! A technician calibrates, a link comes back with an hour of stored data, and a sensor goes mad: through all
//! of it nobody is called for test gas or for what is long over, and nothing that was measured is lost.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails where it stands")]

mod stage;

use serde_json::json;

use stage::device::{Device, Message};
use stage::{Davy, Site, methane_rule, now_ms, until, wait_for};

const CONFIG: &str = "[gateway]\nname = \"pit\"\n[web]\naddress = \"127.0.0.1:0\"\n\
    [source.mqtt_listener.front]\naddress = \"127.0.0.1:0\"\nanonymous = true\n\
    [history]\nflush = \"1s\"\n\
    [point.\"pit.t1\"]\nkind = \"methane\"\nplace = \"T1\"\nperiod = \"60s\"\ncalibrate_every = \"15d\"\n\
    [point.\"pit.t2\"]\nkind = \"methane\"\nplace = \"T1\"\nperiod = \"60s\"\n";

const SENSOR: &str = r#"rule("no-permit", #{
    title: "无作业票标校 / calibration without a permit", advice: "核实 / find out who", watches: #{},
    judges: "health", priority: "P2", level: "yellow",
    raise: |p| p.has("calibrating") && p.permit == "",
});"#;

fn site() -> Site {
    Site::new(CONFIG, &[("methane.rhai", &methane_rule(1.0, "")), ("sensor.rhai", SENSOR)])
}

async fn sends(davy: &Davy, device: &mut Device, topic: &str, value: f64, at_ms: i64) {
    device.send(davy.mqtt(), [Message::value(topic, value, at_ms)]).await;
}

async fn shows(davy: &Davy, point: &str, quality: &str) {
    until(&format!("{point} shows {quality}"), async || davy.point(point).await["quality"] == quality).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn test_gas_under_a_permit_calls_nobody_and_the_permit_outlives_a_power_cut() {
    let site = site();
    let davy = site.start().await;
    let mut device = Device::new("t1");
    let due = davy.get("/api/v1/calibrations").await;
    assert_eq!((&due["overdue"], &due["calibrations"][0]["point"]), (&json!(1), &json!("pit.t1")));

    let asked = json!({ "kind": "calibration", "points": ["pit.t1"], "by": "张", "reason": "15 d", "for": "20m" });
    let (status, permit) = davy.post("/api/v1/permits", &asked).await.unwrap();
    assert_eq!((status, &permit["state"], &permit["points"]), (201, &json!("in_force"), &json!(["pit.t1"])));
    let begun = now_ms();
    sends(&davy, &mut device, "pit/t1", 2.0, begun).await;
    shows(&davy, "pit.t1", "bad:calibrating").await;

    // The box loses its power; the permit is still in force, and so is the mark.
    davy.kill();
    let davy = site.start().await;
    sends(&davy, &mut device, "pit/t1", 2.1, now_ms()).await;
    shows(&davy, "pit.t1", "bad:calibrating").await;
    sends(&davy, &mut device, "pit/t2", 1.2, now_ms()).await;
    let alarm = wait_for("the sensor beside it is alive", async || davy.holding("methane-face").await).await;
    assert_eq!(alarm["point"], "pit.t2");
    assert!(davy.holding("no-permit").await.is_none());

    let listed = davy.get("/api/v1/permits?open=true").await;
    let id = listed["permits"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(listed["permits"][0]["by"], "张");
    let told = site.command(&["permit", "end", &id, "--by", "张", "--calibrated"]);
    // The configuration says port 0, which nobody can ask: the command says so and changes nothing.
    assert!(!told.status.success(), "{told:?}");
    let over = json!({ "by": "张", "calibrated": true });
    let (status, permit) = davy.post(&format!("/api/v1/permits/{id}/end"), &over).await.unwrap();
    assert_eq!((status, &permit["state"]), (200, &json!("ended")));
    assert_eq!(davy.post(&format!("/api/v1/permits/{id}/end"), &over).await.unwrap().0, 404, "it ends once");
    assert_eq!(davy.get("/api/v1/calibrations").await["overdue"], 0);

    // What was measured meanwhile is kept, and says what it was.
    sends(&davy, &mut device, "pit/t1", 0.4, now_ms()).await;
    shows(&davy, "pit.t1", "good").await;
    let kept = davy.samples("pit.t1", begun - 1_000).await;
    let marks: Vec<&str> = kept.iter().map(|sample| &*sample.quality).collect();
    assert_eq!(marks, ["bad:calibrating", "bad:calibrating", "good"]);
    assert_eq!(site.fact("SELECT count(*) FROM alarms WHERE subject = 'pit.t1'"), 0, "test gas called nobody");
    assert_eq!(site.fact("SELECT count(*) FROM calibrations"), 1);

    for (wrong, why) in [
        (
            json!({ "kind": "calibration", "points": ["pit.t9"], "by": "张", "reason": "x", "for": "20m" }),
            "names no point",
        ),
        (json!({ "kind": "calibration", "points": ["pit.t1"], "by": " ", "reason": "x", "for": "20m" }), "say who"),
        (json!({ "kind": "calibration", "points": ["pit.t1"], "by": "张", "reason": "x", "for": "3d" }), "24h"),
        (json!({ "kind": "welding", "points": ["pit.t1"], "by": "张", "reason": "x", "for": "1h" }), "maintenance"),
    ] {
        let (status, told) = davy.post("/api/v1/permits", &wrong).await.unwrap();
        assert!((400..500).contains(&status) && told.to_string().contains(why), "{status} {told}");
    }
    assert!(davy.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_of_stored_data_raises_nothing_and_is_all_there() {
    let site = site();
    let davy = site.start().await;
    let mut device = Device::new("t1");
    let hour_ago = now_ms() - 3_600_000;
    // Gas that was, an hour ago, for half an hour.
    let stored: Vec<i64> = (0..300).map(|sample| hour_ago + sample * 6_000).collect();
    device.send(davy.mqtt(), stored.iter().map(|at| Message::value("pit/t1", 2.5, *at))).await;
    shows(&davy, "pit.t1", "good:late").await;
    assert_eq!(davy.point("pit.t1").await["freshness"], "stale", "what is late says nothing about now");
    sends(&davy, &mut device, "pit/t1", 0.3, now_ms()).await;
    shows(&davy, "pit.t1", "good").await;
    assert_eq!(davy.open_alarms().await, Vec::<serde_json::Value>::new());
    until("the back-fill is counted", async || davy.fate("engine", "late").await == 300).await;
    let kept = davy.samples("pit.t1", hour_ago - 1_000).await;
    assert_eq!(kept.len(), 301);
    assert!(kept[..300].iter().all(|sample| sample.quality == "good:late" && sample.value == Some(2.5)));
    assert!(davy.stop().await.success());
}

/// What a device says of its own value counts, in the form that needs no configuration too.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_says_its_value_is_bad_is_believed() {
    let site = site();
    let davy = site.start().await;
    let mut device = Device::new("t1");
    for (said, shown) in [
        ("line_break", "bad:line_break"),
        ("good", "good"),
        ("calibrating", "bad:calibrating"),
        ("who knows", "bad:sensor_fault"),
    ] {
        let payload = format!("{{\"value\":0.5,\"time\":{},\"quality\":\"{said}\"}}", now_ms());
        device.send(davy.mqtt(), [Message::new("pit/t1", payload)]).await;
        shows(&davy, "pit.t1", shown).await;
    }
    assert!(davy.stop().await.success());
}
