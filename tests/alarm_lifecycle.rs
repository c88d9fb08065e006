//! One alarm from the first bubble of gas to the last signature, as everybody who is told of it hears it:
//! an MQTT subscriber, a webhook, a screen on the event stream, the API. In the middle the gateway's box
//! loses its power, and afterwards nobody has to say again what was said.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails where it stands")]

mod stage;

use std::collections::BTreeMap;

use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use serde_json::{Value, json};

use stage::device::{Device, Message};
use stage::pager::Pager;
use stage::{Davy, PATIENCE, Site, methane_rule, now_ms, until, wait_for};

const SECRET: &str = "the canary sings no more";

fn config(pager: &Pager) -> String {
    format!(
        "[web]\naddress = \"127.0.0.1:0\"\n\
         [source.mqtt_listener.front]\naddress = \"127.0.0.1:0\"\nanonymous = true\n\
         [notify.webhook.duty]\nurl = \"http://{}/hook\"\nsecret_file = \"secret\"\n\
         [point.\"pit.t1\"]\nname = \"3201 T1\"\nkind = \"methane\"\nplace = \"T1\"\nperiod = \"1s\"\n",
        pager.address
    )
}

const SILENCE: &str = r#"rule("comm-loss", #{
    title: "测点数据中断 / no usable data from a point", advice: "派人检查 / send somebody",
    watches: #{}, judges: "silence", priority: "P3", level: "yellow",
    raise: |p| p.age > p.period * 3.0,
});"#;

/// A control room that listens to Davy's alarm topics.
struct Subscriber {
    events: EventLoop,
    _client: AsyncClient,
}

/// Whether it was retained, and what it said; `Null` ends a retained alarm.
type News = (bool, Value);

impl Subscriber {
    async fn at(davy: &Davy, name: &str) -> Self {
        let address = davy.mqtt();
        let (client, mut events) =
            AsyncClient::new(MqttOptions::new(name, address.ip().to_string(), address.port()), 10);
        client.subscribe("davy/v1/pit/alarm/#", QoS::AtLeastOnce).await.unwrap();
        loop {
            if let Event::Incoming(Packet::SubAck(_)) = events.poll().await.unwrap() {
                return Self { events, _client: client };
            }
        }
    }

    async fn next(&mut self) -> News {
        let heard = async {
            loop {
                if let Event::Incoming(Packet::Publish(publish)) = self.events.poll().await.unwrap() {
                    assert!(publish.topic.starts_with("davy/v1/pit/alarm/"), "{}", publish.topic);
                    return (publish.retain, serde_json::from_slice(&publish.payload).unwrap_or(Value::Null));
                }
            }
        };
        tokio::time::timeout(PATIENCE, heard).await.expect("the subscriber hears something")
    }

    /// The next news of that rule.
    async fn of_rule(&mut self, rule: &str) -> News {
        loop {
            let news = self.next().await;
            if news.1["alarm"]["rule"] == rule {
                return news;
            }
        }
    }
}

/// The event stream, opened after change `last`; alarm changes by number until `wanted` have come.
async fn events(davy: &Davy, last: i64, wanted: usize) -> Vec<(i64, Value)> {
    let request = davy.client().get(davy.url("/api/v1/events")).header("last-event-id", last.to_string());
    let mut answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let (mut text, mut found) = (String::new(), Vec::new());
    while found.len() < wanted {
        let chunk = tokio::time::timeout(PATIENCE, answer.chunk()).await.expect("events come").unwrap();
        text.push_str(std::str::from_utf8(&chunk.expect("the stream goes on")).unwrap());
        while let Some((event, rest)) = text.split_once("\n\n") {
            let fields: BTreeMap<&str, &str> = event.lines().filter_map(|line| line.split_once(": ")).collect();
            if fields.get("event") == Some(&"alarm") {
                let id = fields["id"].parse().unwrap();
                found.push((id, serde_json::from_str(fields["data"]).unwrap()));
            }
            assert_ne!(fields.get("event"), Some(&"reset"));
            text = rest.to_owned();
        }
    }
    found
}

struct Sensor {
    device: Device,
    last: i64,
}

impl Sensor {
    async fn reads(&mut self, davy: &Davy, value: f64) -> i64 {
        self.last = now_ms().max(self.last + 1);
        self.device.send(davy.mqtt(), [Message::value("pit/t1", value, self.last)]).await;
        self.last
    }
}

async fn methane(davy: &Davy) -> Option<Value> {
    davy.open_alarms().await.into_iter().find(|alarm| alarm["rule"] == "methane-face")
}

async fn standing(davy: &Davy, wanted: &str) -> Value {
    wait_for(wanted, async || methane(davy).await.filter(|alarm| alarm["standing"] == wanted)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alarm_is_told_acknowledged_kept_over_a_power_cut_and_ended() {
    let pager = Pager::start().await;
    let site = Site::new(&config(&pager), &[("coal.rhai", &methane_rule(1.0, "")), ("silence.rhai", SILENCE)]);
    site.write("secret", SECRET);
    let davy = site.start().await;
    let mut sensor = Sensor { device: Device::new("t1"), last: 0 };
    let mut room = Subscriber::at(&davy, "control-room").await;

    // Raised: everybody hears of it, the pager at its second try.
    pager.refuse(1);
    sensor.reads(&davy, 0.5).await;
    assert!(davy.open_alarms().await.is_empty());
    let at = sensor.reads(&davy, 1.2).await;
    let (retained, told) = room.of_rule("methane-face").await;
    assert!(!retained);
    assert_eq!(told["happening"], "raised");
    let seen = standing(&davy, "unacknowledged").await;
    let id = seen["id"].as_str().unwrap().to_owned();
    assert_eq!((&seen["value"], &seen["limit"], &seen["raises"]), (&json!(1.2), &json!(1.0), &json!(1)));
    assert_eq!(stage::micros(&seen["raised"]), at * 1_000, "an alarm has the time of the sample that began it");
    assert_eq!((&told["alarm"]["id"], &told["point"]), (&json!(id), &json!("pit.t1")));
    let first = wait_for("the pager rings", async || pager.of_rule("methane-face").pop()).await;
    assert!(first.signed_with(SECRET) && !first.signed_with("another secret"));
    assert_eq!(first.message, told, "webhook and MQTT say the same");
    assert!(first.message["text"]["en"].as_str().unwrap().starts_with("stop work"), "the action comes first");
    let failed = "SELECT count(*) FROM attempts WHERE outcome = 'failed'";
    until("the failed try is on record", async || site.fact(failed) == 1).await;

    // Over before anybody saw it, and back: the same occurrence, louder.
    sensor.reads(&davy, 0.4).await;
    let returned = standing(&davy, "returned_unacknowledged").await;
    assert!(returned["cleared"].is_string());
    sensor.reads(&davy, 1.4).await;
    let again = wait_for("it is back", async || methane(&davy).await.filter(|alarm| alarm["raises"] == 2)).await;
    assert_eq!((&again["id"], &again["standing"]), (&json!(id), &json!("unacknowledged")));

    // Whoever acknowledges what he saw before it came back is told to look again.
    let ack = format!("/api/v1/alarms/{id}/ack");
    let (status, refused) = davy.post(&ack, &json!({ "raises": 1, "by": "Wang" })).await.unwrap();
    assert_eq!((status, &refused["error"]["code"]), (409, &json!("newer_occurrence")));
    assert_eq!(refused["error"]["alarm"]["raises"], 2);
    assert_eq!(methane(&davy).await.unwrap()["standing"], "unacknowledged");
    let said = json!({ "raises": 2, "by": "王工", "comment": "seen, withdrawing people" });
    let (status, done) = davy.post(&ack, &said).await.unwrap();
    assert_eq!((status, &done["standing"], &done["acknowledged"]["by"]), (200, &json!("acknowledged"), &json!("王工")));
    let (status, refused) = davy.post(&ack, &json!({ "raises": 2, "by": "Li" })).await.unwrap();
    assert_eq!((status, &refused["error"]["code"]), (409, &json!("already_acknowledged")));
    let (status, _) = davy.post("/api/v1/alarms/nosuch/ack", &json!({ "raises": 1, "by": "Li" })).await.unwrap();
    assert_eq!(status, 404);

    // Somebody who comes later finds it retained, as it stands.
    let retained = Subscriber::at(&davy, "late-comer").await.of_rule("methane-face").await;
    assert!(retained.0 && retained.1["alarm"]["standing"] == "acknowledged", "{retained:?}");
    for happening in ["cleared", "raised_again", "acknowledged"] {
        assert_eq!(room.of_rule("methane-face").await.1["happening"], happening);
    }

    // The power is cut. The alarm stands, and so does the acknowledgement.
    let before = changes(&site);
    davy.kill();
    let davy = site.start().await;
    let kept = methane(&davy).await.expect("it is there at once");
    assert_eq!((&kept["id"], &kept["standing"], &kept["raises"]), (&json!(id), &json!("acknowledged"), &json!(2)));
    assert_eq!(
        (&kept["acknowledged"]["by"], &kept["acknowledged"]["comment"]),
        (&json!("王工"), &json!("seen, withdrawing people"))
    );
    let mut room = Subscriber::at(&davy, "control-room").await;
    let (retained, told) = room.of_rule("methane-face").await;
    assert!(retained && told["alarm"]["acknowledged"]["by"] == "王工");
    sensor.reads(&davy, 1.5).await;
    until("it is judged", async || methane(&davy).await.unwrap()["id"] == id.as_str()).await;
    assert_eq!(changes(&site)[..before.len()], before[..], "what was told is not told again");

    // Silence holds the alarm and is one itself.
    let silent = wait_for("silence is told", async || davy.holding("comm-loss").await).await;
    assert_eq!((&silent["point"], &silent["priority"]), (&json!("pit.t1"), &json!("P3")));
    assert_eq!(methane(&davy).await.unwrap()["standing"], "acknowledged", "missing data clears nothing");
    assert_eq!(davy.point("pit.t1").await["freshness"], "stale");

    // Fresh air: over for good, since it was acknowledged.
    sensor.reads(&davy, 0.3).await;
    until("it is over", async || methane(&davy).await.is_none()).await;
    let over = davy.get(&format!("/api/v1/alarms/{id}")).await;
    assert_eq!((&over["standing"], &over["worst"]), (&json!("normal"), &json!(1.5)));
    loop {
        let (_, told) = room.of_rule("methane-face").await;
        if told["happening"] == "cleared" {
            assert_eq!(told["alarm"]["standing"], "normal");
            break;
        }
    }
    until("silence is over", async || davy.holding("comm-loss").await.is_none()).await;

    everybody_heard_everything(&site, &davy, &pager, &id).await;
    assert!(davy.stop().await.success());
}

fn changes(site: &Site) -> Vec<(i64, String, String)> {
    let facts = site.facts();
    let mut rows = facts.prepare("SELECT id, alarm, happening FROM changes ORDER BY id").unwrap();
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

/// The record, a screen that resumes its stream, and the pager agree, change by change.
async fn everybody_heard_everything(site: &Site, davy: &Davy, pager: &Pager, id: &str) {
    let record = changes(site);
    let methane: Vec<&str> =
        record.iter().filter(|(_, alarm, _)| alarm == id).map(|(_, _, happening)| happening.as_str()).collect();
    assert_eq!(methane, ["raised", "cleared", "raised_again", "acknowledged", "cleared"]);
    for last in [record[0].0, record[2].0] {
        let later: Vec<_> = record.iter().filter(|(number, _, _)| *number > last).cloned().collect();
        let resumed: Vec<(i64, String, String)> = events(davy, last, later.len())
            .await
            .into_iter()
            .map(|(number, data)| {
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                (number, text(&data["alarm"]["id"]), text(&data["happening"]))
            })
            .collect();
        assert_eq!(resumed, later, "a stream resumed after {last} tells every later change once, in order");
    }
    until("the outbox is empty", async || site.fact("SELECT count(*) FROM outbox WHERE settled IS NULL") == 0).await;
    let mut heard: Vec<i64> = pager.heard().iter().map(|heard| heard.message["change"].as_i64().unwrap()).collect();
    heard.sort_unstable();
    heard.dedup();
    assert_eq!(heard, record.iter().map(|(number, _, _)| *number).collect::<Vec<_>>());
}
