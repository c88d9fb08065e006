//! A shift at a face as a gateway recorded it, over real sockets, with a restart in the middle; then the same
//! rules over its data folder. What the engine would say again is exactly what it said: every alarm with its id,
//! its beginning and its end.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails where it stands")]

mod stage;

use std::time::Duration;

use davy::clock::Stopwatch;
use serde_json::{Value, json};

use stage::device::{Device, Message};
use stage::{Davy, SENSOR_RULE, Site, methane_rule, now_ms, until, wait_for};

const CONFIG: &str = r#"
[web]
address = "127.0.0.1:0"
[history]
flush = "1s"
[source.mqtt_listener.front]
address = "127.0.0.1:0"
anonymous = true
[point."pit.t1"]
name = "3201 T1"
kind = "methane"
place = "T1"
period = "1s"
[point."pit.t2"]
name = "3202 T1"
kind = "methane"
place = "T1"
period = "1s"
"#;

/// A delay that ends between samples, a window, and silence.
const MORE: &str = r#"
rule("held", #{ title: "t", advice: "a", watches: #{ kind: "methane" }, priority: "P3", level: "yellow",
    raise: |p| p.value >= 1.0, raise_after: "1700ms", clear_after: "900ms" });
rule("rising", #{ title: "t", advice: "a", watches: #{ kind: "methane" }, priority: "P3", level: "yellow",
    raise: |p| p.rate("4s") >= 12.0 });
rule("quiet", #{ title: "t", advice: "a", watches: #{ kind: "methane" }, priority: "P3", level: "yellow",
    judges: "silence", raise: |p| p.age > p.period * 2.0 });
"#;

/// What the two sensors read so long after the beginning; `None`: nothing is sent.
fn read(point: &str, ms: u64) -> Option<Result<f64, &'static str>> {
    let since = |from: u64| (ms - from) as f64 / 1_000.0;
    Some(match (point, ms) {
        ("t1", 0..2_000) => Ok(0.4),
        ("t1", 2_000..4_000) => Ok(0.4 + 0.6 * since(2_000)),
        ("t1", 4_000..8_000) => Ok(1.6),
        ("t1", 8_000..10_300) => Ok(0.5),
        ("t1", 10_300..11_500) => Err("line_break"),
        ("t1", 11_500..12_500) => Ok(0.5),
        ("t1", 12_500..17_500) => return None,
        ("t1", _) => Ok(0.5),
        ("t2", 5_000..5_700) => Ok(1.3),
        (_, _) => Ok(0.3),
    })
}

/// Both sensors speak five times a second, with clocks that are behind and a way that takes its time.
async fn shift(davy: &Davy, from_ms: u64, to_ms: u64) {
    let (mut first, mut second) = (Device::new("t1"), Device::new("t2"));
    let watch = Stopwatch::start();
    let mut pace = tokio::time::interval(Duration::from_millis(200));
    loop {
        pace.tick().await;
        let ms = from_ms + watch.elapsed().as_millis() as u64;
        if ms >= to_ms {
            return;
        }
        for (device, point, behind) in [(&mut first, "t1", 130), (&mut second, "t2", 5)] {
            let (topic, time) = (format!("pit/{point}"), now_ms() - behind);
            let payload = match read(point, ms) {
                None => continue,
                Some(Ok(value)) => json!({ "value": value, "time": time }),
                Some(Err(fault)) => json!({ "value": 0.0, "time": time, "quality": fault }),
            };
            device.send(davy.mqtt(), [Message::new(topic, payload.to_string())]).await;
        }
    }
}

type Told = (String, String, String, i64, Option<i64>);

fn recorded(site: &Site) -> Vec<Told> {
    let facts = site.facts();
    let select =
        "SELECT id, rule, subject, raised, cleared FROM alarms WHERE subject LIKE 'pit.%' ORDER BY raised, rule";
    let mut select = facts.prepare(select).unwrap();
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)));
    rows.unwrap().map(Result::unwrap).collect()
}

fn backtest(site: &Site, more: &[&str]) -> Value {
    let (from, to) = ((now_ms() - 3_600_000).to_string(), (now_ms() + 60_000).to_string());
    let rules = site.path("rules").display().to_string();
    let arguments = ["rules", "backtest", &rules, "--from", &from, "--to", &to, "--json"];
    let output = site.command(&[&arguments[..], more].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "silent in a pipe");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn played(result: &Value) -> Vec<Told> {
    let text = |alarm: &Value, key: &str| alarm[key].as_str().unwrap().to_owned();
    let told = |alarm: &Value| {
        let cleared = (!alarm["cleared"].is_null()).then(|| stage::micros(&alarm["cleared"]));
        (text(alarm, "id"), text(alarm, "rule"), text(alarm, "point"), stage::micros(&alarm["raised"]), cleared)
    };
    result["alarms"].as_array().unwrap().iter().map(told).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_gateway_raised_a_backtest_over_its_record_raises_again() {
    let site =
        Site::new(CONFIG, &[("coal.rhai", &methane_rule(1.0, "")), ("more.rhai", MORE), ("sensor.rhai", SENSOR_RULE)]);
    let davy = site.start().await;
    shift(&davy, 0, 7_000).await;
    // Others may look while the gateway runs.
    until("samples are on the disk", async || {
        std::fs::read_dir(site.path("data/history/raw")).is_ok_and(|days| days.count() > 0)
    })
    .await;
    assert!(backtest(&site, &["--unacknowledged"])["samples"].as_u64().unwrap() > 0);
    assert!(davy.stop().await.success());
    let davy = site.start().await;
    shift(&davy, 7_000, 19_000).await;
    wait_for("the silence is over", async || davy.holding("quiet").await.is_none().then_some(())).await;
    let ordered = over_the_api(&davy).await;
    assert!(davy.stop().await.success());

    let recorded = recorded(&site);
    for rule in ["methane-face", "held", "rising", "quiet", "sensor-fault"] {
        assert!(recorded.iter().any(|alarm| alarm.1 == rule), "{rule} was raised: {recorded:#?}");
    }
    assert!(!recorded.iter().any(|(_, rule, point, ..)| rule == "held" && point == "pit.t2"), "a spike is no stay");
    let result = backtest(&site, &["--unacknowledged", "--against-running"]);
    assert_eq!(played(&result), recorded);
    assert!(result["difference"]["verdict"].as_str().unwrap().starts_with("nothing changes"), "{result}");
    assert_eq!(backtest(&site, &["--points", "pit.t2"])["by_point"], json!({ "pit.t2": 2 }));
    assert!(ordered["alarms_count"].as_u64().unwrap() >= 1, "{ordered}");
}

/// An order over the API: refused with a reason, done, forgotten.
async fn over_the_api(davy: &Davy) -> Value {
    let path = "/api/v1/rules/backtest";
    let order = |text: &str| {
        let (from, to) = ((now_ms() - 3_600_000).to_string(), now_ms().to_string());
        json!({ "files": [{ "path": "coal.rhai", "text": text }], "from": from, "to": to, "points": ["pit.*"] })
    };
    let (status, answer) = davy.post(path, &order("rule(\"x\", #{})")).await.unwrap();
    assert_eq!(status, 400, "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().starts_with("coal.rhai:"), "{answer}");
    let (status, answer) = davy.post(path, &order(&methane_rule(0.7, ""))).await.unwrap();
    assert_eq!(status, 202, "{answer}");
    let own = format!("{path}/{}", answer["id"]);
    let done = wait_for("the backtest ends", async || {
        let told = davy.get(&own).await;
        (told["state"] != "running").then_some(told)
    })
    .await;
    assert_eq!(done["state"], "done", "{done}");
    let gone = davy.client().delete(davy.url(&own)).send().await.unwrap();
    assert_eq!(gone.status(), 200);
    assert_eq!(davy.client().get(davy.url(&own)).send().await.unwrap().status(), 404);
    let difference = &done["result"]["difference"];
    assert_eq!((&difference["added_count"], &difference["gone_count"]), (&json!(0), &json!(0)), "{done}");
    assert!(difference["earlier_count"].as_u64().unwrap() >= 1, "the ramp is seen earlier: {difference}");
    done["result"].clone()
}
