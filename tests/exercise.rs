//! The monthly drill of a pit: somebody lets a sensor read gas that nobody measured. People are called and told that it
//! is a drill, the box loses its power in the middle, and then the very same sensor measures real gas: that is heard as
//! real at once, called by its own policy, and leaves its own traces. Of the drill nothing is left but the record.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails where it stands")]

mod stage;

use serde_json::{Value, json};

use stage::device::{Device, Message};
use stage::pager::Pager;
use stage::{Davy, Site, methane_rule, now_ms, until, wait_for};

fn config(pager: &Pager) -> String {
    let mut text = "[web]\naddress = \"127.0.0.1:0\"\n\
         [source.mqtt_listener.front]\naddress = \"127.0.0.1:0\"\nanonymous = true\n\
         [history]\nflush = \"1s\"\n[journal]\nalarm_wait = \"10s\"\n\
         [notify.log]\nenabled = false\n[notify.mqtt]\nenabled = false\n\
         [point.\"pit.t1\"]\nname = \"3201 T1\"\nkind = \"methane\"\nplace = \"T1\"\nperiod = \"600s\"\n\
         [point.\"well.t1\"]\nkind = \"methane\"\nplace = \"T1\"\nperiod = \"600s\"\n\
         [area.pit]\nkind = \"site\"\n\
         [position.operator]\narea = \"pit\"\nwho = [\"person.zhang\"]\n\
         [position.county]\nwho = [\"person.county\"]\n"
        .to_owned();
    for name in ["zhang", "county"] {
        text.push_str(&format!(
            "[person.{name}]\nname = \"{name}\"\nreach = [\"webhook.{name}\"]\n\
             [notify.webhook.{name}]\nurl = \"http://{}/hook?{name}\"\nsecret_file = \"secret\"\n",
            pager.address
        ));
    }
    text
}

/// `davy exercise ..` at the gateway that runs.
fn exercise(site: &Site, davy: &Davy, arguments: &[&str]) -> String {
    let url = davy.url("");
    let at = ["--by", "Wang", "--url", url.trim_end_matches('/')];
    let output = site.command(&[&["exercise"][..], arguments, &at].concat());
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn reads(davy: &Davy, device: &mut Device, value: f64) {
    device.send(davy.mqtt(), [Message::value("pit/t1", value, now_ms())]).await;
}

/// The open alarm that an exercise raised, or the one that is real.
async fn open(davy: &Davy, injected: bool) -> Option<Value> {
    let of_the_sensor = |alarm: &Value| alarm["point"] == "pit.t1" && alarm["exercise"].is_string() == injected;
    davy.open_alarms().await.into_iter().find(of_the_sensor)
}

fn texts(pager: &Pager, person: &str) -> Vec<String> {
    let to = |one: &&stage::pager::Heard| one.message["why"]["person"] == person;
    pager.heard().iter().filter(to).map(|one| one.message["text"]["zh"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drill_calls_people_as_a_drill_and_real_gas_meanwhile_is_heard_as_real() {
    let pager = Pager::start().await;
    let site = Site::new(&config(&pager), &[("methane.rhai", &methane_rule(1.0, ""))]);
    site.write("secret", "s");
    let davy = site.start().await;
    let mut device = Device::new("t1");
    let begun = now_ms();
    reads(&davy, &mut device, 0.3).await;

    for (wrong, status, why) in [
        (json!({ "points": ["*.t1"], "by": "Wang", "reason": "drill" }), 400, "one site"),
        (json!({ "points": ["pit.t1"], "by": "Wang", "reason": " " }), 400, "say why"),
        (json!({ "points": ["pit.t1"], "by": "Wang", "reason": "drill", "for": "9h" }), 400, "8h"),
    ] {
        let (answered, told) = davy.post("/api/v1/exercises", &wrong).await.unwrap();
        assert!(answered == status && told.to_string().contains(why), "{answered} {told}");
    }
    let early = json!({ "point": "pit.t1", "value": 1.6, "by": "Wang" });
    assert_eq!(davy.post("/api/v1/exercises/inject", &early).await.unwrap().0, 409, "no exercise runs");
    let told = exercise(&site, &davy, &["start", "--points", "pit.t1", "--reason", "monthly drill", "--for", "10m"]);
    assert!(told.starts_with("exercise-") && told.contains("runs at pit until"), "{told}");
    let id = told.split(' ').next().unwrap().to_owned();
    exercise(&site, &davy, &["inject", "pit.t1", "1.6", "--for", "8m"]);

    // People are called, by the policy of exercises, and every text says first that it is one.
    let drill = wait_for("the drill's alarm", async || open(&davy, true).await).await;
    assert_eq!(
        (&drill["exercise"], &drill["quality"], &drill["value"]),
        (&json!(id), &json!("good:exercise"), &json!(1.6))
    );
    until("the operator is called", async || !texts(&pager, "zhang").is_empty()).await;
    assert!(pager.heard().iter().all(|one| one.message["text"]["zh"].as_str().unwrap().starts_with("【演练】")));
    assert_eq!(site.fact("SELECT count(*) FROM steps WHERE body ->> '$.policy' = 'exercise'"), 1);
    let shelf = format!("/api/v1/alarms/{}/shelve", drill["id"].as_str().unwrap());
    let (status, told) = davy.post(&shelf, &json!({ "for": "1h", "reason": "x", "by": "Li" })).await.unwrap();
    assert!(status == 409 && told.to_string().contains("exercise"), "it would shelve the real one: {told}");
    let list = davy.get("/api/v1/protection").await;
    let entry = list["entries"].as_array().unwrap().iter().find(|entry| entry["kind"] == "exercise").unwrap().clone();
    assert_eq!((&entry["owner"], &entry["id"]), (&json!("Wang"), &json!(id)));
    assert_eq!(list["sites"][0]["unreduced"], 1, "what is real is judged as ever: {list}");
    let page = davy.text("/?lang=zh").await;
    assert!(page.contains("演练进行中") && page.contains(&id), "{page}");
    assert_eq!(davy.point("pit.t1").await["value"], 0.3, "the live value is the real one");

    // The power is cut in the middle.
    davy.kill();
    let davy = site.start().await;
    let again = wait_for("the drill goes on", async || open(&davy, true).await).await;
    assert_eq!(again["id"], drill["id"]);
    reads(&davy, &mut device, 0.4).await;
    assert!(open(&davy, false).await.is_none());

    // Real gas, at the same point, by the same rule.
    reads(&davy, &mut device, 1.3).await;
    let real = wait_for("the real alarm", async || open(&davy, false).await).await;
    assert_eq!((&real["value"], &real["quality"]), (&json!(1.3), &json!("good")));
    assert_eq!((&real["beside_exercise"], &real["exercise"]), (&json!(id), &Value::Null));
    assert_ne!(real["id"], drill["id"]);
    until("the operator and the county hear that it is none", async || {
        let real = |person| texts(&pager, person).iter().any(|text| text.starts_with("【非演练】停止作业"));
        real("zhang") && real("county")
    })
    .await;
    assert!(texts(&pager, "county").iter().all(|text| text.starts_with("【非演练】")), "no drill goes above the site");
    reads(&davy, &mut device, 0.2).await;
    until("the real alarm is over", async || {
        open(&davy, false).await.is_some_and(|alarm| alarm["standing"] == "returned_unacknowledged")
    })
    .await;
    assert_eq!(open(&davy, true).await.unwrap()["standing"], "unacknowledged", "the drill is not");

    // The end.
    let told = exercise(&site, &davy, &["end"]);
    assert!(told.contains(&id), "{told}");
    until("the drill's alarm is closed", async || open(&davy, true).await.is_none()).await;
    let closed = davy.get(&format!("/api/v1/alarms/{}", drill["id"].as_str().unwrap())).await;
    assert!(closed["detail"].as_str().unwrap().starts_with("演练结束"), "{closed}");
    until("the operator hears of it", async || {
        pager
            .heard()
            .iter()
            .any(|one| one.message["text"]["zh"].as_str().unwrap().starts_with("【演练】报警关闭：演练结束"))
    })
    .await;

    // One that nobody ends.
    exercise(&site, &davy, &["start", "--points", "pit.t1", "--reason", "again", "--for", "2s"]);
    exercise(&site, &davy, &["inject", "pit.t1", "2", "--for", "1h"]);
    until("it ends by itself", async || {
        site.fact("SELECT count(*) FROM exercises WHERE ended IS NOT NULL AND body ->> '$.end.by' = 'davy'") == 1
    })
    .await;
    until("and so do its alarms", async || open(&davy, true).await.is_none()).await;

    // What is left: one case, one alarm in the figures, real samples, and records.
    assert_eq!(site.fact("SELECT count(*) FROM cases"), 1);
    let figures = davy.get("/api/v1/figures").await["sites"]["pit"].clone();
    assert_eq!((&figures["raised"], &figures["exercise"]), (&json!(1), &json!(2)), "{figures}");
    let kept = wait_for("the history is written", async || {
        let kept = davy.samples("pit.t1", begun - 1_000).await;
        (kept.len() >= 4).then_some(kept)
    })
    .await;
    assert_eq!(kept.iter().map(|one| one.value.unwrap()).collect::<Vec<_>>(), [0.3, 0.4, 1.3, 0.2]);
    assert!(kept.iter().all(|one| one.quality == "good"), "{kept:?}");
    for (action, count) in [("exercise.start", 2), ("exercise.inject", 2), ("exercise.end", 2)] {
        assert_eq!(site.fact(&format!("SELECT count(*) FROM audit WHERE action = '{action}'")), count, "{action}");
    }
    let list = davy.get("/api/v1/exercises").await;
    let first = &list["exercises"][1];
    assert_eq!((&first["id"], &first["state"], &first["end"]["by"]), (&json!(id), &json!("ended"), &json!("Wang")));
    assert_eq!(first["injections"][0]["value"], 1.6);
    assert!(davy.stop().await.success());
}
