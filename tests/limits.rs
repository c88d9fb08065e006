//! A ventilation engineer tightens a limit, asks for leave to be looser, and sees both end.
//!
//! One point becomes stricter by a request and the alarm comes at the new number; a looser one is refused with
//! both numbers and the basis. Two persons admit an exception that lasts for some seconds and a restart; when it
//! is over the legal number rules again and somebody is told. A limit of a season begins with the local day.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails where it stands")]

mod stage;

use std::time::Duration;

use davy::clock::{self, Stopwatch};
use davy::model::{Timestamp, Zone};
use reqwest::Method;
use serde_json::{Value, json};

use stage::device::{Device, Message};
use stage::{Davy, Site, methane_rule, now_ms, until, wait_for};

/// The exemption of the story: long enough for a restart on a busy machine.
const EXEMPT_FOR: Duration = Duration::from_secs(60);

/// A local midnight some time after now on a full minute, and the offset from UTC that makes it one.
fn next_midnight() -> (Timestamp, i64) {
    let minute = 60_000_000;
    let at = (now_ms() * 1_000 + 20_000_000).div_euclid(minute) * minute + minute;
    let of_day = at.div_euclid(minute).rem_euclid(24 * 60);
    let offset = if of_day <= 12 * 60 { -of_day } else { 24 * 60 - of_day };
    (Timestamp::from_micros(at), offset)
}

fn config(midnight: Timestamp, offset_min: i64) -> String {
    let offset =
        format!("{}{:02}:{:02}", if offset_min < 0 { '-' } else { '+' }, offset_min.abs() / 60, offset_min.abs() % 60);
    let day = Zone::parse(&offset).unwrap().wall(midnight);
    let day = format!("{:02}-{:02}", day.month, day.day);
    let mut text = format!(
        "[web]\naddress = \"127.0.0.1:0\"\n\
         [source.mqtt_listener.front]\naddress = \"127.0.0.1:0\"\nanonymous = true\n\
         [calendar]\nutc_offset = \"{offset}\"\nseason.flood = {{ from = \"{day}\", to = \"{day}\" }}\n\
         [[limit]]\nrule = \"methane-face\"\nlimit = \"alarm\"\npoints = [\"pit.c\"]\nseason = \"flood\"\n\
         value = 0.5\nunit = \"%VOL\"\nbasis = \"flood plan\"\nby = \"Wang\"\n"
    );
    for point in ["a", "b", "c"] {
        text.push_str(&format!("[point.\"pit.{point}\"]\nkind = \"methane\"\nplace = \"T1\"\nperiod = \"600s\"\n"));
    }
    text
}

struct Face {
    davy: Davy,
    device: Device,
    last: i64,
}

impl Face {
    async fn reads(&mut self, point: &str, value: f64) {
        self.last = now_ms().max(self.last + 1);
        self.device.send(self.davy.mqtt(), [Message::value(format!("pit/{point}"), value, self.last)]).await;
    }

    async fn alarm(&self, point: &str) -> Option<Value> {
        let id = format!("pit.{point}");
        self.davy.open_alarms().await.into_iter().find(|alarm| alarm["point"] == id.as_str())
    }

    async fn raised(&self, point: &str) -> Value {
        wait_for(&format!("an alarm at {point}"), async || self.alarm(point).await).await
    }

    async fn orders(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let answer = self.davy.client().request(method, self.davy.url(path)).json(&body).send().await.unwrap();
        (answer.status().as_u16(), serde_json::from_str(&answer.text().await.unwrap()).unwrap())
    }

    /// The limit at a point as it is explained.
    async fn limit(&self, point: &str) -> Value {
        let told = self.davy.get(&format!("/api/v1/points/pit.{point}/rules")).await;
        assert_eq!(told["rules"][0]["rule"], "methane-face", "{told}");
        told["rules"][0]["limits"][0].clone()
    }
}

fn step<'v>(limit: &'v Value, layer: &str) -> &'v Value {
    let found = limit["steps"].as_array().unwrap().iter().find(|step| step["layer"] == layer);
    found.unwrap_or_else(|| panic!("no layer {layer} in {limit}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_become_stricter_by_order_and_looser_by_two_persons_for_a_while() {
    let (midnight, offset) = next_midnight();
    let site = Site::new(&config(midnight, offset), &[("coal.rhai", &methane_rule(1.0, ""))]);
    let mut face = Face { davy: site.start().await, device: Device::new("face"), last: 0 };

    // Stricter at one point, and the alarm comes at that number.
    let tighter = |value: f64| {
        json!({ "rule": "methane-face", "limit": "alarm", "points": ["pit.a"], "value": value, "unit": "%VOL",
                "by": "Li", "reason": "dust in the heading" })
    };
    let (status, limit) = face.orders(Method::PUT, "/api/v1/limits", tighter(0.8)).await;
    assert_eq!((status, &limit["layer"], &limit["state"]), (200, &json!("point"), &json!("set")), "{limit}");
    face.reads("a", 0.85).await;
    let alarm = face.raised("a").await;
    assert_eq!((&alarm["value"], &alarm["limit"]), (&json!(0.85), &json!(0.8)));
    let (status, refused) = face.orders(Method::PUT, "/api/v1/limits", tighter(1.2)).await;
    let words = refused["error"]["message"].as_str().unwrap();
    assert_eq!(status, 409, "{refused}");
    assert!(
        words.starts_with("1.2 %VOL is looser than 1 %VOL of rule methane-face (AQ 1029-2019) at pit.a"),
        "{words}"
    );
    assert_eq!(face.limit("a").await["value"], 0.8);

    // Looser at another, by two persons.
    let ends = clock::now() + EXEMPT_FOR;
    let exemption = |approved_by: &str| {
        json!({ "rule": "methane-face", "limit": "alarm", "points": ["pit.b"], "value": 1.3, "by": "Li",
                "approved_by": approved_by, "basis": "order 7/2026", "until": ends.to_string() })
    };
    let (status, refused) = face.orders(Method::POST, "/api/v1/exemptions", exemption("li")).await;
    assert_eq!(status, 409, "{refused}");
    let (status, given) = face.orders(Method::POST, "/api/v1/exemptions", exemption("Wang")).await;
    assert_eq!((status, &given["points"]), (201, &json!(["pit.b"])), "{given}");
    let id = given["id"].as_str().unwrap().to_owned();
    face.reads("b", 1.2).await;
    face.reads("b", 1.4).await;
    let alarm = face.raised("b").await;
    assert_eq!((&alarm["value"], &alarm["limit"]), (&json!(1.4), &json!(1.3)), "1.2 was admitted");
    assert!(alarm["detail"].as_str().unwrap().contains(&format!("exemption {id} until {ends}")), "{alarm}");
    let protection = face.davy.get("/api/v1/protection").await;
    assert_eq!(protection["sites"], json!([{ "site": "pit", "points": 3, "unreduced": 2, "percent": 66.6 }]));
    let entry = &protection["entries"][0];
    assert_eq!((&entry["kind"], &entry["approval"]), (&json!("exemption"), &json!("Wang")), "{protection}");

    // A restart forgets nothing, and the files alone tell it too.
    assert!(face.davy.stop().await.success());
    let shown = text(&site.command(&["rules", "explain", "pit.a"]).stdout);
    assert!(
        shown.contains("raise: |p| p.value >= p.limit.alarm") && shown.contains("limit alarm = 0.8 %VOL"),
        "{shown}"
    );
    assert!(shown.contains("=> point     0.8 %VOL  dust in the heading, limit-"), "{shown}");
    let checked = text(&site.command(&["check"]).stdout);
    assert!(checked.contains(&format!("{id}: rule methane-face has alarm = 1.3 at pit.b until")), "{checked}");
    face.davy = site.start().await;
    assert_eq!((&face.limit("a").await["value"], &face.limit("b").await["value"]), (&json!(0.8), &json!(1.3)));
    let same = site.command(&["rules", "explain", "pit.b", "--json", "--url", &face.davy.url("")]);
    let same: Value = serde_json::from_slice(&same.stdout).unwrap();
    assert_eq!(step(&same["rules"][0]["limits"][0], "legal")["standing"], "exempted", "{same}");

    // It ends by itself, and somebody is told.
    let watch = Stopwatch::start();
    let ended = loop {
        let open = face.davy.open_alarms().await;
        if let Some(alarm) = open.into_iter().find(|alarm| alarm["rule"] == "davy-exemption-ended") {
            break alarm;
        }
        assert!(watch.elapsed() < EXEMPT_FOR * 2, "the exemption does not end");
        tokio::time::sleep(Duration::from_millis(250)).await;
    };
    assert_eq!(ended["subject"], id.as_str());
    let limit = face.limit("b").await;
    assert_eq!((&limit["value"], &step(&limit, "exemption")["standing"]), (&json!(1.0), &json!("ended")), "{limit}");
    assert_eq!(face.davy.get("/api/v1/exemptions").await["exemptions"], json!([]));
    assert_eq!(face.davy.get("/api/v1/protection").await["sites"][0]["percent"], 100.0);

    // The stricter one is taken back by a person, with a reason.
    let (id, path) = (limit_id(&face).await, |id: &str| format!("/api/v1/limits/{id}"));
    let alone = json!({ "by": "Li", "reason": "the dust is gone" });
    let (status, refused) = face.orders(Method::DELETE, &path(&id), alone).await;
    assert_eq!(status, 409, "{refused}");
    assert!(refused["error"]["message"].as_str().unwrap().contains("it takes a second person"), "{refused}");
    let why = json!({ "by": "Li", "approved_by": "Wang", "reason": "the dust is gone" });
    assert_eq!(face.orders(Method::DELETE, &path(&id), why.clone()).await.0, 200);
    assert_eq!(face.orders(Method::DELETE, &path(&id), why).await.0, 404, "it has ended");
    assert!(face.alarm("a").await.is_some(), "no alarm is cleared by that alone");
    face.reads("a", 0.85).await;
    until("a sample clears it", async || face.alarm("a").await.unwrap()["standing"] == "returned_unacknowledged").await;

    // The season begins with the local day.
    let watch = Stopwatch::start();
    loop {
        let now = clock::now();
        let limit = face.limit("c").await;
        if now >= midnight + Duration::from_secs(2) {
            assert_eq!((&limit["value"], &step(&limit, "season")["standing"]), (&json!(0.5), &json!("applies")));
            break;
        }
        if now < midnight - Duration::from_secs(1) {
            assert_eq!((&limit["value"], &step(&limit, "season")["standing"]), (&json!(1.0), &json!("out_of_season")));
        }
        assert!(watch.elapsed() < Duration::from_secs(120), "midnight does not come");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    face.reads("c", 0.6).await;
    assert_eq!(face.raised("c").await["limit"], 0.5);
}

/// Of the only limit that is set.
async fn limit_id(face: &Face) -> String {
    let told = face.davy.get("/api/v1/limits?point=pit.a").await;
    let [limit] = &told["limits"].as_array().unwrap()[..] else { panic!("{told}") };
    limit["id"].as_str().unwrap().to_owned()
}
