//! A ventilation engineer tightens a limit, asks for leave to be looser, and sees both end.
//!
//! One point becomes stricter by a request and the alarm comes at the new number; a looser one is refused with
//! both numbers and the basis. Two persons admit an exception that outlives a restart, and another that lasts for some
//! seconds; when it is over the legal number rules again and somebody is told. Of two seasons the one of today holds.
//! How an exemption runs out over a restart, and how a season turns at midnight, is told in the middle, where the clock
//! can be turned: `src/gateway/core/tests.rs`.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails where it stands")]

mod stage;

use std::time::Duration;

use davy::clock;
use davy::model::{Timestamp, Zone};
use reqwest::Method;
use serde_json::{Value, json};

use stage::device::{Device, Message};
use stage::{Davy, Site, methane_rule, now_ms, until, wait_for};

/// The exemption that outlives a restart, and the one that runs out while somebody looks on.
const LONG: Duration = Duration::from_secs(3_600);
const SHORT: Duration = Duration::from_secs(3);

fn config() -> String {
    let day = |days: i64| {
        let day = Zone::parse("+08:00").unwrap().wall(Timestamp::from_micros(now_ms() * 1_000 + days * 86_400_000_000));
        format!("{:02}-{:02}", day.month, day.day)
    };
    let mut text = format!(
        "[web]\naddress = \"127.0.0.1:0\"\n\
         [source.mqtt_listener.front]\naddress = \"127.0.0.1:0\"\nanonymous = true\n\
         [calendar]\nutc_offset = \"+08:00\"\nseason.flood = {{ from = \"{}\", to = \"{}\" }}\n\
         season.frost = {{ from = \"{}\", to = \"{}\" }}\n",
        day(-1),
        day(1),
        day(90),
        day(91)
    );
    for (season, point, value) in [("flood", "c", 0.5), ("frost", "d", 0.4)] {
        text.push_str(&format!(
            "[[limit]]\nrule = \"methane-face\"\nlimit = \"alarm\"\npoints = [\"pit.{point}\"]\nseason = \"{season}\"\n\
             value = {value}\nunit = \"%VOL\"\nbasis = \"flood plan\"\nby = \"Wang\"\n"
        ));
    }
    for point in ["a", "b", "c", "d"] {
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
    let site = Site::new(&config(), &[("coal.rhai", &methane_rule(1.0, ""))]);
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
    let ends = clock::now() + LONG;
    let exemption = |point: &str, approved_by: &str, until: Timestamp| {
        json!({ "rule": "methane-face", "limit": "alarm", "points": [point], "value": 1.3, "by": "Li",
                "approved_by": approved_by, "basis": "order 7/2026", "until": until.to_string() })
    };
    let (status, refused) = face.orders(Method::POST, "/api/v1/exemptions", exemption("pit.b", "li", ends)).await;
    assert_eq!(status, 409, "{refused}");
    let (status, given) = face.orders(Method::POST, "/api/v1/exemptions", exemption("pit.b", "Wang", ends)).await;
    assert_eq!((status, &given["points"]), (201, &json!(["pit.b"])), "{given}");
    let id = given["id"].as_str().unwrap().to_owned();
    face.reads("b", 1.2).await;
    face.reads("b", 1.4).await;
    let alarm = face.raised("b").await;
    assert_eq!((&alarm["value"], &alarm["limit"]), (&json!(1.4), &json!(1.3)), "1.2 was admitted");
    assert!(alarm["detail"].as_str().unwrap().contains(&format!("exemption {id} until {ends}")), "{alarm}");
    let protection = face.davy.get("/api/v1/protection").await;
    assert_eq!(protection["sites"], json!([{ "site": "pit", "points": 4, "unreduced": 3, "percent": 75.0 }]));
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

    // A person ends it. Another one ends by itself, and somebody is told.
    let why = json!({ "by": "Wang", "reason": "the fault zone is passed" });
    assert_eq!(face.orders(Method::POST, &format!("/api/v1/exemptions/{id}/end"), why).await.0, 200);
    assert_eq!(face.limit("b").await["value"], 1.0);
    let soon = clock::now() + SHORT;
    let (status, given) = face.orders(Method::POST, "/api/v1/exemptions", exemption("pit.d", "Wang", soon)).await;
    assert_eq!(status, 201, "{given}");
    assert_eq!(face.limit("d").await["value"], 1.3);
    let ended = wait_for("the exemption ends", async || {
        let open = face.davy.open_alarms().await;
        open.into_iter().find(|alarm| alarm["rule"] == "davy-exemption-ended" && alarm["subject"] == given["id"])
    })
    .await;
    assert!(clock::now() >= soon, "{ended}");
    let limit = face.limit("d").await;
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

    // Of two seasons one holds today.
    let (in_season, out) = (face.limit("c").await, face.limit("d").await);
    assert_eq!((&in_season["value"], &step(&in_season, "season")["standing"]), (&json!(0.5), &json!("applies")));
    assert_eq!((&out["value"], &step(&out, "season")["standing"]), (&json!(1.0), &json!("out_of_season")));
    face.reads("d", 0.6).await;
    face.reads("c", 0.6).await;
    assert_eq!(face.raised("c").await["limit"], 0.5);
    assert_eq!(face.alarm("d").await, None);
}

/// Of the only limit that is set.
async fn limit_id(face: &Face) -> String {
    let told = face.davy.get("/api/v1/limits?point=pit.a").await;
    let [limit] = &told["limits"].as_array().unwrap()[..] else { panic!("{told}") };
    limit["id"].as_str().unwrap().to_owned()
}
