//! Who watches over the watchers: a question (查岗) comes at a time that nobody can guess, and whoever does not answer it
//! is missed; a mute key that is held while the siren shall sound is an alarm of its own. Both through the API, and
//! both on the list of what reduces protection until they are over.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails where it stands")]

mod stage;

use serde_json::{Value, json};

use stage::device::{Device, Message};
use stage::pager::Pager;
use stage::relay::Relay;
use stage::{Davy, Site, methane_rule, now_ms, wait_for};

const QUIET: &str = "[web]\naddress = \"127.0.0.1:0\"\n[notify.log]\nenabled = false\n[notify.mqtt]\nenabled = false\n\
     [source.mqtt_listener.front]\naddress = \"127.0.0.1:0\"\nanonymous = true\n\
     [point.\"pit.t1\"]\nkind = \"methane\"\nplace = \"T1\"\nperiod = \"600s\"\n";
/// So many posts are asked so often that some question comes every two seconds.
const POSTS: usize = 80;

fn posts(pager: &Pager) -> String {
    let starts: Vec<String> = (0..24).map(|hour| format!("\"{hour}-{}\"", hour + 1)).collect();
    let crews = vec!["[\"li\"]"; 24].join(", ");
    let mut text = format!(
        "{QUIET}[person.li]\nname = \"Li\"\nreach = [\"webhook.li\"]\n\
         [notify.webhook.li]\nurl = \"http://{}/hook\"\nsecret_file = \"secret\"\n[roster.room]\nshifts = [{}]\ncycle = [[{crews}]]\n",
        pager.address,
        starts.join(", ")
    );
    for post in 0..POSTS {
        text.push_str(&format!(
            "[position.post-{post}]\nlevel = \"operator\"\nwho = [\"roster.room\"]\nchecks = 24\nchecks_within = \"8s\"\n"
        ));
    }
    text
}

/// The open alarm of that rule, at that subject if one is named, in that standing.
async fn open(davy: &Davy, rule: &str, subject: Option<&str>, standing: &str) -> Value {
    wait_for(&format!("{rule} {standing}"), async || {
        let fits = |alarm: &Value| {
            let there = subject.is_none_or(|subject| alarm["subject"] == subject);
            alarm["rule"] == rule && there && alarm["standing"] == standing
        };
        davy.open_alarms().await.into_iter().find(fits)
    })
    .await
}

/// The line of the list of what reduces protection.
async fn line(davy: &Davy, kind: &str, subject: &str) -> Option<Value> {
    let list = davy.get("/api/v1/protection").await;
    let lines = list["entries"].as_array().unwrap().iter();
    lines.filter(|entry| entry["kind"] == kind).find(|entry| entry["subject"] == subject).cloned()
}

async fn acknowledges(davy: &Davy, alarm: &Value) -> u16 {
    let said = json!({ "raises": alarm["raises"], "by": "Li", "comment": "here" });
    davy.post(&format!("/api/v1/alarms/{}/ack", alarm["id"].as_str().unwrap()), &said).await.unwrap().0
}

async fn is_not_shelved(davy: &Davy, alarm: &Value) {
    let path = format!("/api/v1/alarms/{}/shelve", alarm["id"].as_str().unwrap());
    let (status, told) = davy.post(&path, &json!({ "for": "1h", "reason": "noise", "by": "Li" })).await.unwrap();
    assert_eq!((status, &told["error"]["code"]), (409, &json!("refused")), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_is_answered_or_somebody_is_missed() {
    let pager = Pager::start().await;
    let site = Site::new(&posts(&pager), &[("methane.rhai", &methane_rule(1.0, ""))]);
    site.write("secret", "s");
    let davy = site.start().await;
    let question = open(&davy, "davy-presence", None, "unacknowledged").await;
    assert_eq!(acknowledges(&davy, &question).await, 200);
    let position = question["subject"].as_str().unwrap();
    let asked = async |position: &str, answered: bool| {
        let told = davy.get("/api/v1/duty").await;
        let of_it = |one: &&Value| {
            let question = &one["question"]["question"];
            question["position"] == position && question["answered"].is_array() == answered
        };
        told["presence"].as_array().unwrap().iter().find(of_it).cloned()
    };
    let answered = wait_for("the answer is on record", async || asked(position, true).await).await;
    assert_eq!(
        (&answered["question"]["question"]["answered"][0], &answered["question"]["open"]),
        (&json!("Li"), &json!(false))
    );

    // Nobody answers another one.
    let missed = open(&davy, "davy-presence-missed", None, "unacknowledged").await;
    let position = missed["subject"].as_str().unwrap();
    let unanswered = wait_for("so is that nobody did", async || asked(position, false).await).await;
    assert_eq!(unanswered["question"]["question"]["person"], "li");
    is_not_shelved(&davy, &missed).await;
    let listed = line(&davy, "presence_missed", &format!("position.{position}")).await.unwrap();
    assert_eq!((&listed["id"], &listed["points"]), (&missed["id"], &json!(0)), "{listed}");
    assert_eq!(acknowledges(&davy, &missed).await, 200);
    wait_for("somebody is there again", async || {
        line(&davy, "presence_missed", &format!("position.{position}")).await.is_none().then_some(())
    })
    .await;
    assert!(davy.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mute_key_that_is_held_is_an_alarm_until_it_is_free() {
    let relay = Relay::start(5).await;
    let siren = format!(
        "{QUIET}[notify.siren.pithead]\naddress = \"{}\"\ncoil = 3\nmute_input = 5\nmute_limit = \"400ms\"\n\
         settle = \"0s\"\nrepeat = \"100ms\"\nfrom_priority = \"P2\"\nsites = [\"pit\"]\n",
        relay.address
    );
    let site = Site::new(&siren, &[("methane.rhai", &methane_rule(1.0, ""))]);
    let davy = site.start().await;
    let mut device = Device::new("t1");
    // Held while nothing sounds it is nobody's news.
    relay.mute(true);
    device.send(davy.mqtt(), [Message::value("pit/t1", 0.4, now_ms())]).await;
    assert_eq!(davy.holding("davy-siren-muted").await, None);
    device.send(davy.mqtt(), [Message::value("pit/t1", 1.4, now_ms())]).await;
    let gas = open(&davy, "methane-face", None, "unacknowledged").await;
    wait_for("the siren sounds", async || relay.is_on().then_some(())).await;

    let muted = open(&davy, "davy-siren-muted", Some("pithead"), "unacknowledged").await;
    assert_eq!(muted["priority"], "P1");
    is_not_shelved(&davy, &muted).await;
    let listed = line(&davy, "siren_muted", "pithead").await.unwrap();
    assert_eq!((&listed["sites"], &listed["since"]), (&json!(["pit"]), &muted["raised"]), "{listed}");
    // Silencing is not acknowledging, nor the other way round.
    assert_eq!(acknowledges(&davy, &muted).await, 200);
    let again = davy.get(&format!("/api/v1/alarms/{}", gas["id"].as_str().unwrap())).await;
    assert_eq!(again["standing"], "unacknowledged");
    assert!(line(&davy, "siren_muted", "pithead").await.is_some(), "seen, and muted all the same");
    relay.mute(false);
    wait_for("the key is free", async || davy.holding("davy-siren-muted").await.is_none().then_some(())).await;
    assert_eq!(line(&davy, "siren_muted", "pithead").await, None);
    assert_eq!(acknowledges(&davy, &gas).await, 200);
    wait_for("the siren is quiet", async || (!relay.is_on()).then_some(())).await;
    assert_eq!(relay.written(), [3], "nothing else is written");
    assert!(davy.stop().await.success());
}
