//! A limit is to change, and nobody has to be afraid of it.
//!
//! What one person drafts another approves; it is in force at once or at its time, once, whatever happens to the
//! gateway in between; an earlier version is back in one call. While people are in danger nothing changes by itself.
//! Who did it stands in a chain that shows every tampering.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails where it stands")]

mod stage;

use std::time::Duration;

use davy::clock;
use serde_json::{Value, json};

use stage::device::{Device, Message};
use stage::{Davy, Site, methane_rule, now_ms, until, wait_for};

const DRAFTS: &str = "/api/v1/rules/drafts";
const DANGER: &str = r#"rule("co-danger", #{ title: "t", advice: "a", watches: #{ kind: "co" }, priority: "P1", level: "red",
    limits: #{ alarm: #{ value: 24.0, unit: "ppm", stricter: "lower", basis: "AQ 1029-2019" } },
    raise: |p| p.value >= p.limit.alarm });"#;

fn config(more: &str) -> String {
    let mut text = format!(
        "{more}[web]\naddress = \"127.0.0.1:0\"\n\
         [source.mqtt_listener.front]\naddress = \"127.0.0.1:0\"\nanonymous = true\n\
         [point.\"pit.co\"]\nkind = \"co\"\nplace = \"return\"\nperiod = \"60s\"\n"
    );
    for point in ["a", "b", "c"] {
        text.push_str(&format!("[point.\"pit.{point}\"]\nkind = \"methane\"\nplace = \"T1\"\nperiod = \"60s\"\n"));
    }
    text
}

fn site(more: &str) -> Site {
    Site::new(&config(more), &[("coal.rhai", &methane_rule(1.0, "")), ("danger.rhai", DANGER)])
}

struct Pit {
    davy: Davy,
    device: Device,
    last: i64,
}

impl Pit {
    async fn open(site: &Site) -> Self {
        Self { davy: site.start().await, device: Device::new("face"), last: 0 }
    }

    async fn reads(&mut self, point: &str, value: f64) {
        self.last = now_ms().max(self.last + 1);
        self.device.send(self.davy.mqtt(), [Message::value(format!("pit/{point}"), value, self.last)]).await;
        let wanted = self.last * 1_000;
        until("the sample is shown", async || {
            let shown = self.davy.point(&format!("pit.{point}")).await;
            shown["time"].is_string() && stage::micros(&shown["time"]) == wanted
        })
        .await;
    }

    async fn alarm(&self, point: &str) -> Option<Value> {
        let id = format!("pit.{point}");
        self.davy.open_alarms().await.into_iter().find(|alarm| alarm["point"] == id.as_str())
    }

    async fn raised(&self, point: &str) -> Value {
        wait_for(&format!("an alarm at {point}"), async || self.alarm(point).await).await
    }

    async fn posts(&self, path: &str, body: Value) -> (u16, Value) {
        self.davy.post(path, &body).await.unwrap()
    }

    /// Hands a draft in and gives its id.
    async fn drafts(&self, limit: f64, by: &str) -> String {
        let body = json!({ "path": "coal.rhai", "text": methane_rule(limit, ""), "by": by, "reason": "as measured" });
        let (status, draft) = self.posts(DRAFTS, body).await;
        assert_eq!((status, &draft["can_be_approved"]), (201, &json!(true)), "{draft}");
        draft["id"].as_str().unwrap().to_owned()
    }

    async fn approves(&self, id: &str, by: &str, more: Value) -> (u16, Value) {
        let mut body = json!({ "by": by, "comment": "looked at it" });
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        self.posts(&format!("{DRAFTS}/{id}/approve"), body).await
    }

    async fn state(&self, id: &str) -> Value {
        self.davy.get(&format!("{DRAFTS}/{id}")).await["state"].clone()
    }

    /// The newest version of the rule file.
    async fn version(&self) -> Value {
        self.davy.get("/api/v1/rules/versions?path=coal.rhai&most=1").await["versions"][0].clone()
    }

    async fn audit(&self) -> Vec<Value> {
        self.davy.get("/api/v1/audit?most=1000").await["records"].as_array().unwrap().clone()
    }
}

fn on_disk(site: &Site) -> String {
    std::fs::read_to_string(site.path("rules/coal.rhai")).unwrap()
}

/// What `davy audit verify` says, and whether it was content.
fn verified(site: &Site, more: &[&str]) -> (bool, String) {
    let output = site.command(&[&["audit", "verify"], more].concat());
    let told = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(told).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_changes_by_two_people_and_is_back_in_one_call() {
    let site = site("");
    let mut pit = Pit::open(&site).await;
    pit.reads("a", 1.2).await;
    let open = pit.raised("a").await;
    pit.reads("b", 0.9).await;
    assert_eq!(pit.alarm("b").await, None);

    // What does not compile, and what its samples do not bear out, is told with its line and cannot be approved.
    let broken = json!({ "path": "coal.rhai", "text": methane_rule(0.8, "note: ,"), "by": "li", "reason": "r" });
    let (status, draft) = pit.posts(DRAFTS, broken).await;
    assert_eq!((status, &draft["can_be_approved"]), (201, &json!(false)));
    let problem = draft["checks"]["compile"]["problems"][0].as_str().unwrap();
    assert!(problem.starts_with("coal.rhai:8"), "{problem}");
    let (status, told) = pit.approves(draft["id"].as_str().unwrap(), "wang", json!({})).await;
    assert_eq!((status, &told["error"]["code"]), (409, &json!("checks_failed")));
    let samples = "point t1 methane T1 %VOL\n0s t1 0.85 raised methane-face\n";
    let tried = |limit: f64| {
        let text = methane_rule(limit, "");
        json!({ "path": "coal.rhai", "text": text, "samples": samples, "by": "li", "reason": "r" })
    };
    let (_, failing) = pit.posts(DRAFTS, tried(0.9)).await;
    let failure = failing["checks"]["samples"]["failures"][0].as_str().unwrap();
    assert!(failure.starts_with("coal.samples:2: expected raised"), "{failure}");
    assert_eq!(pit.approves(failing["id"].as_str().unwrap(), "wang", json!({})).await.0, 409);

    // Two people, and then it is in force: in the engine, on the disk, in the history.
    let (_, draft) = pit.posts(DRAFTS, tried(0.8)).await;
    assert_eq!(draft["checks"]["samples"]["ok"], true, "{draft}");
    assert_eq!(draft["checks"]["backtest"], "not run");
    let id = draft["id"].as_str().unwrap();
    let (_, told) = pit.posts(&format!("{DRAFTS}/{id}/backtest"), json!({ "by": "li", "summary": "3 more" })).await;
    assert_eq!(told["checks"]["backtest"]["summary"], "3 more");
    let (status, told) = pit.approves(id, " LI ", json!({})).await;
    assert_eq!((status, &told["error"]["code"]), (403, &json!("not_allowed")), "{told}");
    assert_eq!(pit.state(id).await, "open");
    let (status, told) = pit.approves(id, "wang", json!({})).await;
    assert_eq!((status, &told["state"], &told["waits"]), (200, &json!("active"), &Value::Null), "{told}");
    assert_eq!(on_disk(&site), methane_rule(0.8, ""));
    assert_eq!(std::fs::read_to_string(site.path("rules/coal.samples")).unwrap(), samples);
    let version = pit.version().await;
    assert_eq!(
        (&version["origin"], &version["author"], &version["approver"]),
        (&json!("draft"), &json!("li"), &json!("wang"))
    );
    let whole = pit.davy.get(&format!("/api/v1/rules/versions/{}", version["number"])).await;
    let diff = whole["diff"].as_str().unwrap();
    assert!(diff.contains("\n-    limits:") && diff.contains("value: 0.8"), "{diff}");
    let files = pit.davy.get("/api/v1/rules").await;
    assert_eq!(files["files"][0]["rules"][0]["limits"]["alarm"]["value"], 0.8);

    // The alarm follows the new limit; the one that was open is the same one.
    pit.reads("b", 0.9).await;
    assert_eq!(pit.raised("b").await["limit"], 0.8);
    pit.reads("a", 1.1).await;
    let still = pit.alarm("a").await.unwrap();
    assert_eq!((&still["id"], &still["raises"]), (&open["id"], &json!(1)));

    // Written before that: it was compared with a text that is no longer in force.
    let (_, told) = pit.approves(failing["id"].as_str().unwrap(), "wang", json!({})).await;
    assert_eq!(told["error"]["code"], "checks_failed");
    let stale = pit.drafts(0.7, "li").await;
    let other = pit.drafts(0.75, "zhao").await;
    assert_eq!(pit.approves(&other, "wang", json!({})).await.0, 200);
    let (status, told) = pit.approves(&stale, "wang", json!({})).await;
    assert_eq!((status, &told["error"]["code"]), (409, &json!("base_changed")));
    assert!(told["error"]["diff"].as_str().unwrap().contains("-    limits:   #{ alarm: #{ value: 0.75"), "{told}");

    // Back in one call. An edit on the disk that nobody checked is kept.
    site.write("rules/coal.rhai", "rule(\"half\"");
    let back = json!({ "path": "coal.rhai", "to": 1, "by": "wang", "reason": "too many alarms" });
    let (status, told) = pit.posts("/api/v1/rules/rollback", back).await;
    assert_eq!(
        (status, &told["version"]["origin"], &told["kept"]),
        (200, &json!("rollback"), &json!("coal.rhai.kept"))
    );
    assert_eq!(
        (on_disk(&site), &pit.davy.get("/api/v1/rules").await["files"][0]["rules"][0]["limits"]["alarm"]["value"]),
        (methane_rule(1.0, ""), &json!(1.0))
    );
    pit.reads("c", 0.9).await;
    assert_eq!(pit.alarm("c").await, None);
    assert_eq!(pit.alarm("a").await.unwrap()["id"], open["id"]);

    // One record for each thing that was done, in its order, with its name.
    let said = json!({ "raises": 1, "by": "zhao", "comment": "seen" });
    assert_eq!(pit.posts(&format!("/api/v1/alarms/{}/ack", open["id"].as_str().unwrap()), said).await.0, 200);
    let done: Vec<(String, String)> = pit
        .audit()
        .await
        .iter()
        .map(|record| {
            let text = |key: &str| record[key].as_str().unwrap().to_owned();
            (text("action"), text("by"))
        })
        .collect();
    let expected = [
        ("rules.edited", "file"),
        ("rules.edited", "file"),
        ("rules.drafted", "li"),
        ("rules.drafted", "li"),
        ("rules.drafted", "li"),
        ("rules.backtested", "li"),
        ("rules.approved", "wang"),
        ("rules.activated", "wang"),
        ("rules.drafted", "li"),
        ("rules.drafted", "zhao"),
        ("rules.approved", "wang"),
        ("rules.activated", "wang"),
        ("rules.rolled_back", "wang"),
        ("alarm.acknowledged", "zhao"),
    ];
    assert_eq!(done, expected.map(|(action, by)| (action.to_owned(), by.to_owned())));
    assert!(verified(&site, &[]).0, "beside the running gateway");
    assert!(pit.davy.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_changes_by_itself_while_people_are_in_danger() {
    let site = site("");
    let mut pit = Pit::open(&site).await;
    pit.reads("co", 40.0).await;
    let danger = pit.raised("co").await;

    site.write("rules/coal.rhai", &methane_rule(0.8, ""));
    let waits = wait_for("somebody is told", async || pit.davy.holding("davy-rules-frozen").await).await;
    let detail = waits["detail"].as_str().unwrap();
    assert!(detail.contains("coal.rhai") && detail.contains("co-danger pit.co"), "{detail}");
    pit.reads("a", 0.9).await;
    assert_eq!(pit.alarm("a").await, None, "0.8 is not in force");

    // A restart does not let it in either.
    pit.davy.kill();
    let mut pit = Pit::open(&site).await;
    pit.reads("a", 0.91).await;
    assert_eq!((pit.alarm("a").await, pit.version().await["number"].as_i64()), (None, Some(1)));

    // A rollback is refused, and so is an override without a word; then an approver says why.
    let (status, told) = pit.posts("/api/v1/rules/override", json!({ "by": "wang", "reason": " " })).await;
    assert_eq!(status, 400, "{told}");
    until("it waits again", async || pit.davy.holding("davy-rules-frozen").await.is_some()).await;
    let (status, told) =
        pit.posts("/api/v1/rules/override", json!({ "by": "wang", "reason": "face 3 is worse" })).await;
    assert_eq!(status, 200, "{told}");
    pit.reads("a", 0.92).await;
    assert_eq!(pit.raised("a").await["limit"], 0.8);
    until("nothing waits", async || pit.davy.holding("davy-rules-frozen").await.is_none()).await;
    let (status, told) =
        pit.posts("/api/v1/rules/rollback", json!({ "path": "coal.rhai", "to": 1, "by": "wang", "reason": "r" })).await;
    assert_eq!((status, &told["error"]["code"]), (409, &json!("frozen")));

    // A draft that is approved now waits; it is in force by itself when the danger is over.
    let id = pit.drafts(0.6, "li").await;
    let (status, told) = pit.approves(&id, "wang", json!({})).await;
    assert_eq!((status, &told["state"]), (200, &json!("approved")), "{told}");
    assert!(told["waits"].as_str().unwrap().contains("P1"), "{told}");
    pit.reads("co", 1.0).await;
    let said = json!({ "raises": 1, "by": "zhao" });
    assert_eq!(pit.posts(&format!("/api/v1/alarms/{}/ack", danger["id"].as_str().unwrap()), said).await.0, 200);
    until("the draft is in force", async || pit.state(&id).await == "active").await;
    pit.reads("b", 0.65).await;
    pit.raised("b").await;
    let overridden = pit.audit().await.into_iter().find(|record| record["action"] == "rules.overridden").unwrap();
    assert_eq!((&overridden["by"], &overridden["reason"]), (&json!("wang"), &json!("face 3 is worse")));
    assert!(pit.davy.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approved_draft_is_in_force_exactly_once_whatever_happens_in_between() {
    let site = site("");
    let pit = Pit::open(&site).await;
    let id = pit.drafts(0.8, "li").await;
    let due = clock::now() + Duration::from_secs(3);
    let (status, told) = pit.approves(&id, "wang", json!({ "at": due.to_string() })).await;
    assert_eq!((status, &told["state"]), (200, &json!("approved")), "{told}");
    assert_eq!(pit.version().await["number"], 1, "not before its time");
    pit.davy.kill();

    // The gateway was killed; worse, after it had written the file and before anything else.
    site.write("rules/coal.rhai", &methane_rule(0.8, ""));
    until("its time comes", async || clock::now() > due).await;
    for _ in 0..2 {
        let pit = Pit::open(&site).await;
        until("it is in force", async || pit.state(&id).await == "active").await;
        let version = pit.version().await;
        assert_eq!((&version["origin"], &version["draft"]), (&json!("draft"), &json!(id)), "{version}");
        let actions: Vec<Value> = pit.audit().await.iter().map(|record| record["action"].clone()).collect();
        let expected = ["rules.edited", "rules.edited", "rules.drafted", "rules.approved", "rules.activated"];
        assert_eq!(actions, expected);
        assert_eq!(on_disk(&site), methane_rule(0.8, ""));
        pit.davy.kill();
    }
    assert_eq!(site.fact("SELECT count(*) FROM rule_versions WHERE path = 'coal.rhai'"), 2);

    // A folder that cannot be written refuses, and nothing is half done.
    let mut locked = std::fs::metadata(site.path("rules/coal.rhai")).unwrap().permissions();
    locked.set_readonly(true);
    std::fs::set_permissions(site.path("rules/coal.rhai"), locked).unwrap();
    let pit = Pit::open(&site).await;
    let id = pit.drafts(0.7, "li").await;
    let (status, told) = pit.approves(&id, "wang", json!({})).await;
    assert_eq!((status, &told["error"]["code"]), (409, &json!("not_writable")), "{told}");
    assert_eq!((pit.state(&id).await, pit.version().await["draft"].is_string()), (json!("open"), true));
    assert!(pit.davy.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_files_are_drafts_an_edit_waits_for_a_second_person() {
    let site = site("[rules]\nfiles = \"draft\"\n");
    let mut pit = Pit::open(&site).await;
    site.write("rules/coal.rhai", &methane_rule(0.8, ""));
    let told = wait_for("the edit is an alarm", async || pit.davy.holding("davy-rule-file").await).await;
    let open = pit.davy.get(&format!("{DRAFTS}?state=open")).await;
    let (id, by) = (open["drafts"][0]["id"].as_str().unwrap().to_owned(), &open["drafts"][0]["by"]);
    assert_eq!(
        (by, told["detail"].as_str().unwrap()),
        (&json!("file"), format!("waits for approval as {id}").as_str())
    );
    pit.reads("a", 0.9).await;
    assert_eq!(pit.alarm("a").await, None);

    // Edited again: that draft is gone, and there is another.
    site.write("rules/coal.rhai", &methane_rule(0.7, ""));
    until("the first draft is withdrawn", async || pit.state(&id).await == "withdrawn").await;
    let open = wait_for("the second draft", async || {
        let open = pit.davy.get(&format!("{DRAFTS}?state=open")).await;
        open["drafts"][0]["id"].is_string().then_some(open)
    })
    .await;
    let second = open["drafts"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(open["drafts"].as_array().unwrap().len(), 1);
    let (status, told) = pit.approves(&second, "wang", json!({})).await;
    assert_eq!((status, &told["state"]), (200, &json!("active")), "{told}");
    until("the alarm is over", async || pit.davy.holding("davy-rule-file").await.is_none()).await;
    pit.reads("a", 0.75).await;
    assert_eq!(pit.raised("a").await["limit"], 0.7);

    // Put back before anybody looked: nothing is left to approve.
    site.write("rules/coal.rhai", &methane_rule(0.6, ""));
    until("a draft", async || pit.davy.get(&format!("{DRAFTS}?state=open")).await["drafts"][0].is_object()).await;
    site.write("rules/coal.rhai", &methane_rule(0.7, ""));
    until("no draft", async || !pit.davy.get(&format!("{DRAFTS}?state=open")).await["drafts"][0].is_object()).await;
    until("no alarm", async || pit.davy.holding("davy-rule-file").await.is_none()).await;
    assert!(pit.davy.stop().await.success());
}

/// Somebody with the file and a database tool.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tampering_with_the_records_shows() {
    let site = site("");
    let pit = Pit::open(&site).await;
    for limit in [0.9, 0.8, 0.7] {
        let id = pit.drafts(limit, "li").await;
        assert_eq!(pit.approves(&id, "wang", json!({})).await.0, 200);
    }
    let head = String::from_utf8(site.command(&["audit", "head"]).stdout).unwrap().trim().to_owned();
    assert!(head.starts_with("11:"), "{head}");
    assert!(pit.davy.stop().await.success());
    let (whole, told) = verified(&site, &["--head", &head]);
    assert!(whole && told.starts_with("11 records, whole; head 11:"), "{told}");

    let sound = std::fs::read(site.path("data/facts.db")).unwrap();
    let tampered = |how: &str| {
        std::fs::write(site.path("data/facts.db"), &sound).unwrap();
        for rest in ["data/facts.db-wal", "data/facts.db-shm"] {
            std::fs::remove_file(site.path(rest)).ok();
        }
        let facts = rusqlite::Connection::open(site.path("data/facts.db")).unwrap();
        assert!(facts.execute_batch("UPDATE audit SET by = 'x'").unwrap_err().to_string().contains("append-only"));
        let triggers = ["changed", "shortened", "replaced"].map(|word| format!("DROP TRIGGER audit_is_not_{word};"));
        facts.execute_batch(&(triggers.concat() + how)).unwrap();
        drop(facts);
        verified(&site, &[])
    };
    let (_, told) = tampered("UPDATE audit SET by = 'lj' WHERE number = 6");
    assert!(told.contains("record 6 is not what was recorded"), "{told}");
    let (_, told) = tampered("DELETE FROM audit WHERE number = 4");
    assert!(told.contains("record 4 is missing"), "{told}");
    let (whole, told) = tampered("DELETE FROM audit WHERE number > 8");
    assert!(!whole && told.contains("the chain ends with record 8, but facts.db says that record 11"), "{told}");
    // One flipped bit in the file itself, in a word of a record.
    let mut bytes = sound.clone();
    let at = bytes.windows(13).position(|word| word == b"rules.drafted").unwrap();
    bytes[at] ^= 1;
    std::fs::write(site.path("data/facts.db"), bytes).unwrap();
    let (whole, told) = verified(&site, &[]);
    assert!(!whole && told.contains("is not what was recorded"), "{told}");
}
