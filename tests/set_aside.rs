//! A shelf is not a grave: an alarm that somebody shelved says who and why, keeps on record what happens meanwhile,
//! calls nobody, and calls again when its time is up, over a power cut too. Methane of priority P1 stays where it
//! is, and nobody acknowledges what came while they were looking.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails where it stands")]

mod stage;

use serde_json::{Value, json};

use stage::device::{Device, Message};
use stage::pager::Pager;
use stage::{Davy, Site, methane_rule, now_ms, wait_for};

fn config(pager: &Pager) -> String {
    format!(
        "[web]\naddress = \"127.0.0.1:0\"\n\
         [source.mqtt_listener.front]\naddress = \"127.0.0.1:0\"\nanonymous = true\n\
         [notify.webhook.duty]\nurl = \"http://{}/hook\"\nsecret_file = \"secret\"\n\
         [point.\"pit.t1\"]\nname = \"3201 T1\"\nkind = \"methane\"\nplace = \"T1\"\nperiod = \"1s\"\n",
        pager.address
    )
}

async fn reads(davy: &Davy, device: &mut Device, value: f64) {
    device.send(davy.mqtt(), [Message::value("pit/t1", value, now_ms())]).await;
}

async fn standing(davy: &Davy, rule: &str, wanted: &str) -> Value {
    wait_for(wanted, async || {
        davy.open_alarms().await.into_iter().find(|alarm| alarm["rule"] == rule && alarm["standing"] == wanted)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shelved_alarm_calls_again_and_p1_methane_is_never_shelved() {
    let pager = Pager::start().await;
    let cut = methane_rule(1.5, "").replace("methane-face", "methane-cut").replace("\"P2\"", "\"P1\"");
    let site = Site::new(&config(&pager), &[("face.rhai", &methane_rule(1.0, "")), ("cut.rhai", &cut)]);
    site.write("secret", "s");
    let davy = site.start().await;
    let mut device = Device::new("t1");
    reads(&davy, &mut device, 1.2).await;
    let seen = standing(&davy, "methane-face", "unacknowledged").await;
    let id = seen["id"].as_str().unwrap().to_owned();
    wait_for("the pager rings", async || pager.of_rule("methane-face").pop()).await;

    // Without a reason, for a day, or the P1: refused. For a while: on the list of what reduces protection.
    let shelve = |length: &str, reason: &str| json!({ "for": length, "reason": reason, "by": "Li" });
    let shelf = format!("/api/v1/alarms/{id}/shelve");
    assert_eq!(davy.post(&shelf, &shelve("1h", " ")).await.unwrap().0, 400);
    assert_eq!(davy.post(&shelf, &shelve("1d", "rewiring")).await.unwrap().0, 409);
    let p1 = "/api/v1/points/pit.t1/rules/methane-cut/shelve";
    let (status, told) = davy.post(p1, &shelve("1h", "rewiring")).await.unwrap();
    assert_eq!((status, &told["error"]["code"]), (409, &json!("refused")), "{told}");
    let (status, told) = davy.post(&shelf, &shelve("1h", "rewiring")).await.unwrap();
    assert_eq!((status, &told["way"]), (201, &json!("shelved")), "{told}");
    let shelved = standing(&davy, "methane-face", "shelved").await;
    assert_eq!((&shelved["aside"]["by"], &shelved["aside"]["reason"]), (&json!("Li"), &json!("rewiring")));
    let list = davy.get("/api/v1/protection").await;
    assert!(list["entries"].as_array().unwrap().iter().any(|entry| entry["kind"] == "shelved"), "{list}");
    assert_eq!(list["sites"][0]["unreduced"], 0);
    let (status, told) =
        davy.post(&format!("/api/v1/alarms/{id}/ack"), &json!({ "raises": 1, "by": "Li" })).await.unwrap();
    assert_eq!((status, &told["error"]["code"]), (409, &json!("changed")), "{told}");

    // The box loses its power; a shorter shelf replaces the other, ends, and the alarm calls again.
    davy.kill();
    let davy = site.start().await;
    assert_eq!(standing(&davy, "methane-face", "shelved").await["id"], json!(id));
    let url = davy.url("");
    let url = url.trim_end_matches('/');
    let arguments = ["--for", "1s", "--reason", "nearly done", "--by", "Wang", "--url", url];
    let output = site.command(&[&["alarm", "shelve", "pit.t1/methane-face"][..], &arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let calling = standing(&davy, "methane-face", "unacknowledged").await;
    assert_eq!((&calling["id"], &calling["raises"]), (&json!(id), &json!(2)));
    let news = wait_for("the pager rings again", async || {
        pager.of_rule("methane-face").into_iter().find(|heard| heard.message["happening"] == "resumed")
    })
    .await;
    assert_eq!(news.message["alarm"]["standing"], "unacknowledged");
    assert_eq!(davy.get("/api/v1/asides").await["asides"], json!([]));

    // While somebody looks at the P2, the P1 comes: what they say is refused and names it.
    let looked = davy.get("/api/v1/protection").await["at"].clone();
    reads(&davy, &mut device, 1.7).await;
    standing(&davy, "methane-cut", "unacknowledged").await;
    let said = json!({ "raises": 2, "by": "Li", "standing": "unacknowledged", "priority": "P2", "looked": looked });
    let (status, told) = davy.post(&format!("/api/v1/alarms/{id}/ack"), &said).await.unwrap();
    assert_eq!((status, &told["error"]["code"]), (409, &json!("changed")), "{told}");
    assert!(told["error"]["message"].as_str().unwrap().contains("P1"), "{told}");
    let said = json!({ "raises": 2, "by": "Li", "standing": "unacknowledged", "priority": "P2" });
    assert_eq!(davy.post(&format!("/api/v1/alarms/{id}/ack"), &said).await.unwrap().0, 200);
    standing(&davy, "methane-cut", "unacknowledged").await;
    let records = site.fact("SELECT count(*) FROM audit WHERE action = 'alarm.shelved'");
    assert_eq!(records, 2);
}
