//! Three people settle an alarm, and the gateway is killed in the middle.
//!
//! A dispatcher phones the site, an engineer handles the cause, an inspector verifies and closes; by the API and at
//! the console. What is not done yet is refused with its name, a photo comes back as it was given, and the list for
//! the next shift has the same hash as its text.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails where it stands")]

mod stage;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use stage::device::{Device, Message};
use stage::{Davy, Site, methane_rule, now_ms, wait_for};

const CONFIG: &str = "[web]\naddress = \"127.0.0.1:0\"\n\
    [source.mqtt_listener.front]\naddress = \"127.0.0.1:0\"\nanonymous = true\n\
    [case]\nfile_mib = 1\n[case.supervise]\nfrom_priority = \"never\"\n\
    [point.\"pit.a\"]\nkind = \"methane\"\nplace = \"T1\"\nperiod = \"600s\"\n";

/// `davy case ...` by a person at the console.
fn console(site: &Site, davy: &Davy, arguments: &[&str]) -> (bool, String) {
    let url = format!("http://{}", davy.web);
    let done = site.command(&[&["case"], arguments, &["--url", &url]].concat());
    let said = [done.stdout, done.stderr].concat();
    (done.status.success(), String::from_utf8(said).unwrap())
}

async fn case(davy: &Davy) -> Value {
    wait_for("the case", async || davy.get("/api/v1/cases?open=true").await["cases"].get(0).cloned()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_people_settle_an_alarm_over_a_kill() {
    let site = Site::new(CONFIG, &[("coal.rhai", &methane_rule(1.0, ""))]);
    let davy = site.start().await;
    let mut device = Device::new("a");
    device.send(davy.mqtt(), [Message::value("pit/a", 1.3, now_ms())]).await;
    let opened = case(&davy).await;
    assert_eq!((&opened["id"], &opened["stage"], &opened["active"]), (&json!("case-1"), &json!("open"), &json!(true)));
    let alarm = opened["alarms"][0]["id"].as_str().unwrap().to_owned();

    let (done, said) = console(&site, &davy, &["close", "case-1", "--by", "Zhao"]);
    assert!(!done && said.contains("acknowledge the alarm") && said.contains("speak with the site"), "{said}");
    let (status, _) =
        davy.post(&format!("/api/v1/alarms/{alarm}/ack"), &json!({ "raises": 1, "by": "Li" })).await.unwrap();
    assert_eq!(status, 200);
    let (done, said) = console(&site, &davy, &["answer", &alarm, "--with", "Lao Zhang", "--by", "Li"]);
    assert!(done && said.contains("answered"), "{said}");
    let body = json!({ "owner": "Wang", "class": "ventilation", "cause": "duct off", "by": "Wang" });
    let (status, _) = davy.post("/api/v1/cases/case-1/handle", &body).await.unwrap();
    assert_eq!(status, 200);

    davy.kill();
    let davy = site.start().await;
    let again = davy.get("/api/v1/cases/case-1").await;
    assert_eq!((&again["stage"], &again["handling"]["cause"]), (&json!("handling"), &json!("duct off")));

    // A photo, a name that is a path, and one that is too much.
    let photo = [&[0xff, 0xd8, 0xff, 0xe0][..], &[7; 1000]].concat();
    let attach = async |name: &str, bytes: Vec<u8>| {
        let place = davy.url("/api/v1/cases/case-1/files");
        let url = reqwest::Url::parse_with_params(&place, &[("name", name), ("by", "Wang")]).unwrap();
        let sent = davy.client().post(url).body(bytes).send().await.unwrap();
        (sent.status().as_u16(), serde_json::from_slice::<Value>(&sent.bytes().await.unwrap()).unwrap())
    };
    assert_eq!(attach("../../facts.db", photo.clone()).await.0, 400);
    assert_eq!(attach("big.jpg", vec![0; (1 << 20) + 1]).await.0, 413);
    let (status, attached) = attach("duct.html", photo.clone()).await;
    assert_eq!(status, 200, "{attached}");
    let href = attached["files"][0]["href"].as_str().unwrap();
    let back = davy.client().get(davy.url(href)).send().await.unwrap();
    assert_eq!(back.headers()["content-type"], "image/jpeg");
    assert_eq!(back.headers()["x-content-type-options"], "nosniff");
    assert_eq!(back.bytes().await.unwrap(), photo);

    let handed = davy.get("/api/v1/handover").await;
    let hash: String = Sha256::digest(handed["list"].to_string()).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(handed["sha256"], hash.as_str());
    assert_eq!(handed["list"]["cases"][0]["missing"][0], "measure");
    assert!(davy.text("/api/v1/handover?format=text&lang=en").await.contains("Open cases (1)"));

    let (done, said) = console(&site, &davy, &["handle", "case-1", "--measure", "duct mended", "--by", "Wang"]);
    assert!(done, "{said}");
    let (done, said) = console(&site, &davy, &["verify", "case-1", "--by", "Zhao"]);
    assert!(!done && said.contains("the alarm is not over"), "{said}");
    device.send(davy.mqtt(), [Message::value("pit/a", 0.2, now_ms())]).await;
    wait_for("the end of the alarm", async || {
        (davy.get("/api/v1/cases/case-1").await["active"] == false).then_some(())
    })
    .await;
    let (done, said) = console(&site, &davy, &["verify", "case-1", "--by", "Wang"]);
    assert!(!done && said.contains("another person verifies"), "{said}");
    let (done, said) = console(&site, &davy, &["verify", "case-1", "--by", "Zhao"]);
    assert!(done, "{said}");
    let (done, said) = console(&site, &davy, &["close", "case-1", "--by", "Zhao"]);
    assert!(done && said.contains("closed"), "{said}");

    let (_, ledger) = console(&site, &davy, &["list", "--csv"]);
    let row = ledger.lines().find(|line| line.starts_with("case-1,")).unwrap();
    assert!(row.contains("1.3 %VOL") && row.contains(",Li,") && row.contains("duct mended"), "{row}");
    let figures = davy.get("/api/v1/figures").await;
    assert_eq!(figures["sites"]["pit"]["to_close"]["count"], 1, "{figures}");
    assert!(figures["sites"].get("").is_none());
    let told = davy.get("/api/v1/audit?subject=case-1").await;
    let acts: Vec<&str> =
        told["records"].as_array().unwrap().iter().map(|one| one["action"].as_str().unwrap()).collect();
    assert_eq!(
        acts,
        ["case.answered", "case.handled", "case.attached", "case.handled", "case.verified", "case.closed"]
    );
    assert!(davy.stop().await.success());
}
