//! The loss ledger over a kill, and what `davy doctor` finds in gateways that are well, running, dead or broken.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails where it stands")]

mod stage;

use serde_json::{Value, json};
use stage::device::{Device, Message};
use stage::{Site, free_port, methane_rule, now_ms, until};

fn config(web: u16, mqtt: u16, more: &str) -> String {
    format!(
        "[gateway]\nname = \"pit\"\n[web]\naddress = \"127.0.0.1:{web}\"\n\
         [source.mqtt_listener.front]\naddress = \"127.0.0.1:{mqtt}\"\nanonymous = true\n\
         [point.\"pit.t1\"]\nkind = \"methane\"\nplace = \"T1\"\nperiod = \"1h\"\n\
         [point.\"pit.t2\"]\nkind = \"methane\"\nplace = \"T1\"\nperiod = \"1h\"\n\
         [coverage.\"pit.face\"]\nrequires = [{{ kind = \"methane\", place = \"T1\", count = 2 }}]\n{more}"
    )
}

fn doctor(site: &Site) -> (i32, Value) {
    let output = site.command(&["doctor", "--json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.code().unwrap(), serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}")))
}

/// Severity and text of the findings about one thing.
fn about<'a>(told: &'a Value, about: &str) -> Vec<(&'a str, &'a str)> {
    let findings = told["findings"].as_array().unwrap().iter().filter(|finding| finding["about"] == about);
    findings.map(|finding| (finding["severity"].as_str().unwrap(), finding["what"].as_str().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn losses_outlive_a_kill_and_the_doctor_tells_them() {
    let plc = format!(
        "[source.modbus.plc]\naddress = \"127.0.0.1:{}\"\n[point.\"pit.pump\"]\nkind = \"pressure\"\n\
         modbus = {{ device = \"plc\", register = 40003, type = \"float32\" }}\n",
        free_port()
    );
    let config = config(free_port(), free_port(), &plc);
    let site = Site::new(&config, &[("coal.rhai", &methane_rule(1.0, ""))]);
    let davy = site.start().await;
    let mut device = Device::new("face");
    device.send(davy.mqtt(), [Message::new("pit/t1", "no json"), Message::value("pit/t1", 0.4, now_ms())]).await;
    device.send(davy.mqtt(), [Message::new("pit/t1", "{\"value\":1e999}"), Message::new("pit/t9", "0.4")]).await;
    let losses = davy.get("/api/v1/losses?source=mqtt_listener.front").await;
    // Each device hangs up without a word, which is counted whenever it is noticed.
    let counted = |losses: &Value| {
        let list = losses["losses"].as_array().unwrap().iter().filter(|loss| loss["fate"] != "disconnected");
        let mut list: Vec<_> = list.map(|loss| json!([loss["fate"], loss["count"]])).collect();
        list.sort_by_key(ToString::to_string);
        list
    };
    let expected = [json!(["bad_value", 1]), json!(["not_json", 1]), json!(["unknown_point", 1])];
    assert_eq!(counted(&losses), expected, "{losses}");
    assert_eq!(json!([losses["points"][0]["point"], losses["points"][0]["fate"]]), json!(["pit.t1", "bad_value"]));
    assert_eq!(losses["accepted"][0]["count"], 2, "{losses}");
    davy.kill();

    let davy = site.start().await;
    assert_eq!(davy.fate("mqtt_listener.front", "not_json").await, 0, "the counters begin anew");
    assert_eq!(counted(&davy.get("/api/v1/losses?source=mqtt_listener.front").await), expected, "the ledger does not");
    assert_eq!(davy.get("/api/v1/losses?point=pit.t1").await["counted"], 1);
    let coverage = davy.get("/api/v1/coverage").await;
    assert_eq!(json!([coverage["units"], coverage["covered"]]), json!([1, 0]));

    until("the device that is not there is an alarm", async || davy.holding("davy-source-down").await.is_some()).await;
    let (code, told) = doctor(&site);
    assert_eq!((code, &told["runs"], &told["errors"]), (1, &json!(true), &json!(1)), "{told:#}");
    let device = told["findings"].as_array().unwrap().iter().find(|finding| finding["severity"] == "error").unwrap();
    assert!(device["about"].as_str().unwrap().contains("plc"), "{device}");
    assert_eq!(about(&told, "source.mqtt_listener.front")[0].0, "fine", "{told:#}");
    let losses = davy.get("/api/v1/losses?source=mqtt_listener.front").await;
    assert_eq!(counted(&losses), expected, "the doctor's look is no loss");
    let lost = about(&told, "losses.mqtt_listener.front");
    assert!(lost.contains(&("warning", "1 in 24 h: not_json (payload did not parse)")), "{lost:?}");
    let silent = about(&told, "points");
    assert_eq!(silent[0].0, "warning", "{told:#}");
    assert!(silent[0].1.contains("pit.t2 (never heard)"), "{silent:?}");
    assert!(davy.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_alarm_that_nobody_answers_is_told() {
    let site = Site::new(&config(free_port(), 0, ""), &[("coal.rhai", &methane_rule(1.0, ""))]);
    let davy = site.start().await;
    Device::new("face").send(davy.mqtt(), [Message::value("pit/t1", 1.4, now_ms())]).await;
    until("the alarm is open", async || davy.open_alarms().await.len() == 1).await;
    let (_, told) = doctor(&site);
    assert_eq!(about(&told, "protection"), [("fine", "nothing reduces it; least is left at pit: 100 %")]);
    let drill = json!({ "points": ["pit.t1"], "by": "Li", "reason": "drill", "for": "1h" });
    let (status, drill) = davy.post("/api/v1/exercises", &drill).await.unwrap();
    assert_eq!(status, 201, "{drill}");
    let work = json!({ "kind": "maintenance", "points": ["pit.t2"], "by": "Li", "reason": "cable", "for": "1h" });
    assert_eq!(davy.post("/api/v1/permits", &work).await.unwrap().0, 201);
    let (_, told) = doctor(&site);
    let until = drill["until"].as_str().unwrap();
    let (severity, words) = about(&told, "exercise")[0];
    assert!(severity == "warning" && words.contains(&format!("of Li runs at pit until {until}")), "{words}");
    let listed = "2 on the list (1 exercise, 1 permit); least is left at pit: 50 %";
    assert_eq!(about(&told, "protection"), [("warning", listed)]);
    let alarms = about(&told, "alarms");
    assert!(alarms[0].0 == "warning" && alarms[0].1.contains("1 of 1 open alarms are not acknowledged"), "{alarms:?}");
    assert!(alarms[0].1.contains("P2") && alarms[0].1.contains("pit.t1"), "{alarms:?}");
    assert!(davy.stop().await.success());
    let (code, told) = doctor(&site);
    assert_eq!((code, &told["runs"]), (0, &json!(false)), "{told:#}");
    assert_eq!(about(&told, "alarms")[0].0, "warning", "it can be told of a gateway that is down");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_broken_is_an_error_that_says_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = free_port();
    let more = format!("[source.modbus.plc]\naddress = \"127.0.0.1:{nobody}\"\n");
    let site = Site::new(&config(0, 0, &more), &[("coal.rhai", &methane_rule(1.0, ""))]);
    let davy = site.start().await;
    Device::new("face").send(davy.mqtt(), [Message::value("pit/t1", 0.4, now_ms())]).await;
    assert!(davy.stop().await.success());
    let (code, told) = doctor(&site);
    assert_eq!(code, 1, "nobody answers at the device's address: {told:#}");
    assert_eq!(about(&told, "source.modbus.plc")[0].0, "error");
    for sound in ["journal", "facts", "history", "clock"] {
        assert_eq!(about(&told, sound)[0].0, "fine", "{sound}: {told:#}");
    }

    let port = taken.local_addr().unwrap().port();
    site.write("davy.toml", &config(port, 0, "[gatewy]\n"));
    let journal = site.path("data/journal.db");
    let mut bytes = std::fs::read(&journal).unwrap();
    let length = bytes.len();
    bytes[length / 2..].fill(0xAA);
    std::fs::write(&journal, bytes).unwrap();
    let raw: Vec<_> = walk(&site.path("data/history/raw"));
    std::fs::write(&raw[0], "torn").unwrap();
    let (code, told) = doctor(&site);
    assert_eq!(code, 1);
    for broken in ["config", "journal", "history"] {
        let found = about(&told, broken);
        assert_eq!(found[0].0, "error", "{broken}: {told:#}");
    }
    let advised = told["findings"].as_array().unwrap().iter().filter(|finding| finding["severity"] == "error");
    assert!(advised.clone().all(|finding| finding["advice"].as_str().is_some_and(|advice| !advice.is_empty())));
    assert!(advised.count() >= 3);

    site.write("davy.toml", &config(port, 0, ""));
    let (_, told) = doctor(&site);
    assert!(about(&told, "web")[0].1.contains("cannot be listened on"), "{told:#}");
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(walk(&path)) } else { found.push(path) }
    }
    found
}
