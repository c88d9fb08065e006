//! Sichuan 2015, six cases: as gas rose somebody stopped the sensor by a click, and nothing was uploaded any more. Here
//! the county hears of it at once, with the name of the place and what to do. A stop under a permit is work, and it is
//! an alarm as soon as the permit's time is over.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails where it stands")]

mod stage;

use serde_json::{Value, json};
use stage::pager::Pager;
use stage::{Davy, Site, methane_rule, now_ms, until, wait_for};

const TOKEN: &str = "a-token-of-the-mine";

/// The operator is at the pager's `/hook?operator`, the county at `/hook?county`: whom a message is for, it says itself.
fn config(pager: &Pager) -> String {
    let mut text =
        "[web]\naddress = \"127.0.0.1:0\"\n[source.http.mine]\ntoken_file = \"token\"\npoints = [\"pit.*\"]\n\
         [notify.log]\nenabled = false\n[notify.mqtt]\nenabled = false\n\
         [point.\"pit.t1\"]\nname = \"3201 T1\"\nkind = \"methane\"\nplace = \"T1\"\nperiod = \"1h\"\n\
         [point.\"pit.t2\"]\nname = \"3202 T1\"\nkind = \"methane\"\nplace = \"T1\"\nperiod = \"1h\"\n\
         [position.operator]\nwho = [\"person.operator\"]\n[position.county]\nwho = [\"person.county\"]\n"
            .to_owned();
    for name in ["operator", "county"] {
        text.push_str(&format!(
            "[person.{name}]\nname = \"{name}\"\nreach = [\"webhook.{name}\"]\n\
             [notify.webhook.{name}]\nurl = \"http://{}/hook?{name}\"\n",
            pager.address
        ));
    }
    text
}

async fn sends(davy: &Davy, sample: Value) {
    let request = davy.client().post(davy.url("/api/v1/samples?precision=ms")).bearer_auth(TOKEN);
    let answer = request.json(&json!([sample])).send().await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
}

async fn rises(davy: &Davy, point: &str) {
    let begun = now_ms();
    for (turn, value) in [(0, 0.42), (1, 0.55), (2, 0.66), (3, 0.74)] {
        sends(davy, json!({ "point": point, "value": value, "time": begun + turn })).await;
    }
}

async fn is_stopped(davy: &Davy, point: &str) {
    sends(davy, json!({ "point": point, "value": 0.0, "quality": "paused", "time": now_ms() + 10 })).await;
}

/// What the county was told of a rule at a point.
fn county(pager: &Pager, rule: &str, point: &str) -> Option<Value> {
    let of = pager.of_rule(rule).into_iter().map(|heard| heard.message);
    of.into_iter().find(|message| message["point"] == point && message["why"]["person"] == "county")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sensor_that_is_stopped_by_a_click_as_gas_rises_is_a_p1_at_the_county() {
    let pager = Pager::start().await;
    let tampering = include_str!("../rules/instrument/tampering.rhai");
    let instrument = include_str!("../rules/instrument/instrument.rhai");
    let rules =
        [("methane.rhai", &*methane_rule(1.0, "")), ("tampering.rhai", tampering), ("instrument.rhai", instrument)];
    let site = Site::new(&config(&pager), &rules);
    site.write("token", TOKEN);
    let davy = site.start().await;
    rises(&davy, "pit.t1").await;
    assert_eq!(davy.open_alarms().await, Vec::<Value>::new(), "the gas is below every limit");
    is_stopped(&davy, "pit.t1").await;

    let told = wait_for("the county", async || county(&pager, "paused-while-rising", "pit.t1")).await;
    assert_eq!((&told["alarm"]["priority"], &told["alarm"]["level"]), (&json!("P1"), &json!("red")));
    assert_eq!(told["why"]["kind"], "copy", "at once, whatever the site does");
    let words = told["text"]["zh"].as_str().unwrap();
    assert!(words.starts_with("立即撤人"), "what to do comes first: {words}");
    assert!(words.contains("3201 T1") || words.contains("pit.t1"), "{words}");
    assert!(told["alarm"]["value"].as_f64().is_some_and(|value| value >= 0.6), "the last value that was seen: {told}");
    until("the county hears that it is stopped", async || county(&pager, "point-paused", "pit.t1").is_some()).await;

    // Stopped goes on through a power cut of the gateway: nothing is forgotten, nothing is told anew.
    davy.kill();
    let davy = site.start().await;
    assert_eq!(davy.holding("paused-while-rising").await.unwrap()["standing"], "unacknowledged");

    // Under a permit it is work. Its time is up: the stop is no longer approved, and the county hears of that one too.
    let asked = json!({ "kind": "maintenance", "points": ["pit.t2"], "by": "张", "reason": "cable", "for": "6s" });
    assert_eq!(davy.post("/api/v1/permits", &asked).await.unwrap().0, 201);
    rises(&davy, "pit.t2").await;
    is_stopped(&davy, "pit.t2").await;
    until("it shows", async || davy.point("pit.t2").await["quality"] == "bad:paused+maintenance").await;
    let of_second = "SELECT count(*) FROM alarms WHERE subject = 'pit.t2'";
    assert_eq!(site.fact(of_second), 0, "work that was approved is no alarm");
    until("the permit's time is up", async || davy.holding("davy-permit-overdue").await.is_some()).await;
    // The substation goes on saying that the sensor is stopped, as it does with every poll.
    is_stopped(&davy, "pit.t2").await;
    let told = wait_for("the county", async || county(&pager, "paused-while-rising", "pit.t2")).await;
    assert_eq!(told["alarm"]["priority"], "P1");
    until("the county hears that it is stopped", async || county(&pager, "point-paused", "pit.t2").is_some()).await;

    // The sensor is on again, and the gas is lower: all of it is over, and stays on record until somebody saw it.
    for point in ["pit.t1", "pit.t2"] {
        sends(&davy, json!({ "point": point, "value": 0.3, "time": now_ms() + 20 })).await;
    }
    until("it is over", async || davy.holding("paused-while-rising").await.is_none()).await;
    let open = davy.open_alarms().await;
    let waits = open.iter().filter(|alarm| alarm["rule"] == "paused-while-rising");
    assert_eq!(waits.filter(|alarm| alarm["standing"] == "returned_unacknowledged").count(), 2, "{open:?}");
}
