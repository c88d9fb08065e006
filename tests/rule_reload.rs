//! An engineer edits rules while the gateway runs.
//!
//! A stricter limit takes effect and open alarms stay as they are; a broken or emptied file leaves the old rule in
//! force and is an alarm until it is mended; a rule that burns its budget is an alarm, and the plain limit
//! watches in its place. However often a file is edited while samples pour in, every sample is judged once.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails where it stands")]

mod stage;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use stage::device::{Device, Message};
use stage::{Davy, Site, methane_rule, now_ms, until, wait_for};

const RULE: &str = "rules/coal.rhai";

fn config() -> String {
    let mut text = "[web]\naddress = \"127.0.0.1:0\"\n\
                    [source.mqtt_listener.front]\naddress = \"127.0.0.1:0\"\nanonymous = true\n"
        .to_owned();
    for point in ["a", "b", "c", "d", "e"] {
        text.push_str(&format!("[point.\"pit.{point}\"]\nkind = \"methane\"\nplace = \"T1\"\nperiod = \"60s\"\n"));
    }
    text.push_str("[point.\"pit.f\"]\nkind = \"methane\"\nplace = \"T1\"\nperiod = \"60s\"\nlimits.alarm = 0.7\n");
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
        let message = Message::value(format!("pit/{point}"), value, self.last);
        self.device.send(self.davy.mqtt(), [message]).await;
        // Judged, and what follows from it is on the board.
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

    /// How often the gateway has put new rules in force.
    fn changes(&self) -> usize {
        self.davy.log().matches("rules changed").count()
    }

    async fn reloaded(&self, before: usize) {
        until("the rules change", async || self.changes() > before).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_change_while_the_gateway_runs_and_never_disarm_a_face() {
    let site = Site::new(&config(), &[("coal.rhai", &methane_rule(1.0, ""))]);
    let davy = site.start().await;
    let mut face = Face { davy, device: Device::new("face"), last: 0 };
    let told_of = |point: &str| {
        site.fact(&format!("SELECT count(*) FROM changes WHERE body ->> '$.alarm.subject' = 'pit.{point}'"))
    };

    face.reads("a", 1.2).await;
    let open = face.raised("a").await;
    face.reads("b", 0.9).await;
    assert_eq!((face.alarm("b").await, told_of("b")), (None, 0));

    // Stricter. The alarm that is open is the same alarm.
    let before = face.changes();
    site.write(RULE, &methane_rule(0.8, ""));
    face.reloaded(before).await;
    face.reads("a", 1.1).await;
    face.reads("b", 0.9).await;
    let stricter = face.raised("b").await;
    assert_eq!((&stricter["value"], &stricter["limit"]), (&json!(0.9), &json!(0.8)));
    let still = face.alarm("a").await.unwrap();
    assert_eq!((&still["id"], &still["raises"], told_of("a")), (&open["id"], &json!(1), 1), "not raised again");

    // A typo. The rule before stays in force, and somebody is told with file and line.
    site.write(RULE, &methane_rule(0.5, "note: ,"));
    let broken = wait_for("the typo is an alarm", async || face.davy.holding("davy-rule-file").await).await;
    assert_eq!((&broken["subject"], &broken["site"]), (&json!("rule file coal.rhai"), &json!("gateway")));
    assert!(broken["detail"].as_str().unwrap().starts_with("coal.rhai:8"), "{}", broken["detail"]);
    face.reads("c", 0.7).await;
    face.reads("d", 0.85).await;
    face.raised("d").await;
    assert_eq!(face.alarm("c").await, None, "0.5 was never in force");

    // Mended, and stricter again.
    let before = face.changes();
    site.write(RULE, &methane_rule(0.75, ""));
    until("the typo is mended", async || face.davy.holding("davy-rule-file").await.is_none()).await;
    face.reloaded(before).await;
    assert_eq!(site.fact("SELECT count(*) FROM alarms WHERE rule = 'davy-rule-file'"), 1);
    face.reads("c", 0.76).await;
    face.raised("c").await;

    // The folder goes away (a drive that is not mounted, a wrong mv). Nothing is disarmed by that.
    let before = face.changes();
    std::fs::rename(site.path("rules"), site.path("elsewhere")).unwrap();
    let gone = wait_for("the lost folder is an alarm", async || face.davy.holding("davy-rule-file").await).await;
    assert!(gone["detail"].as_str().unwrap().contains("the folder cannot be read"), "{}", gone["detail"]);
    face.reads("c", 0.2).await;
    face.reads("c", 0.9).await;
    until("c is watched still", async || face.raised("c").await["raises"] == 2).await;
    assert_eq!((face.changes(), told_of("a")), (before, 1), "the rules are those of before, and so is the open alarm");
    std::fs::rename(site.path("elsewhere"), site.path("rules")).unwrap();
    until("the folder is back", async || face.davy.holding("davy-rule-file").await.is_none()).await;

    // The disk was full when somebody saved: not a byte is left.
    site.write(RULE, "");
    let empty = wait_for("the empty file is an alarm", async || face.davy.holding("davy-rule-file").await).await;
    assert!(empty["detail"].as_str().unwrap().contains("is empty"), "{}", empty["detail"]);
    face.reads("c", 0.2).await;
    face.reads("c", 0.9).await;
    until("c is watched still", async || face.raised("c").await["raises"] == 3).await;
    assert_eq!((face.changes(), told_of("a")), (before, 1), "the rules are those of before, and so is the open alarm");
    site.write(RULE, &methane_rule(0.75, ""));
    until("the file is saved", async || face.davy.holding("davy-rule-file").await.is_none()).await;

    // A rule that never comes to an end. It passes every check that does not run it.
    let before = face.changes();
    let endless = methane_rule(0.75, "").replace(
        "|p| p.value >= p.limit.alarm",
        "|p| { let x = 0; while x >= 0 { x += 1; } p.value >= p.limit.alarm }",
    );
    assert!(endless.contains("while"));
    site.write(RULE, &endless);
    face.reloaded(before).await;
    face.reads("e", 0.6).await;
    let fault = wait_for("the fault is an alarm", async || face.davy.holding("davy-rule-fault").await).await;
    assert_eq!(fault["subject"], "rule methane-face");
    assert!(fault["detail"].as_str().unwrap().to_lowercase().contains("operations"), "{}", fault["detail"]);
    assert_eq!(face.alarm("e").await, None);
    face.reads("e", 0.76).await;
    let plain = face.raised("e").await;
    assert_eq!((&plain["rule"], &plain["limit"]), (&json!("methane-face"), &json!(0.75)));
    face.reads("e", 0.2).await;
    until("the plain limit ends it too", async || {
        face.alarm("e").await.is_some_and(|alarm| alarm["standing"] == "returned_unacknowledged")
    })
    .await;
    assert_eq!(told_of("a"), 1, "the face that was over the limit all along was told once");

    let before = face.changes();
    site.write(RULE, &methane_rule(0.75, ""));
    face.reloaded(before).await;
    face.reads("e", 0.3).await;
    until("the fault is over", async || face.davy.holding("davy-rule-fault").await.is_none()).await;

    // The rule becomes stricter than a point's own limit: the rule's number counts, and somebody is told.
    assert_eq!(face.davy.holding("davy-rule-limit").await, None);
    site.write(RULE, &methane_rule(0.6, ""));
    let misfit = wait_for("a looser limit is an alarm", async || face.davy.holding("davy-rule-limit").await).await;
    let detail = misfit["detail"].as_str().unwrap();
    assert!(detail.contains("pit.f: limit alarm = 0.7 is looser than 0.6 %VOL of rule methane-face"), "{detail}");
    face.reads("f", 0.65).await;
    assert_eq!(face.raised("f").await["limit"], json!(0.6));
    site.write(RULE, &methane_rule(0.7, ""));
    until("everything fits again", async || face.davy.holding("davy-rule-limit").await.is_none()).await;
    assert!(face.davy.stop().await.success());
}

/// A copy over a slow line pauses between two rules: the file is sound as far as it goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_file_ends_no_rule_and_one_that_stays_as_it_is_does() {
    let second = |alarm: f64| methane_rule(alarm, "").replace("methane-face", "methane-second");
    let both = |alarm: f64| format!("{}\n{}", methane_rule(alarm, ""), second(alarm));
    let site = Site::new(&config(), &[("coal.rhai", &both(1.0))]);
    let davy = site.start().await;
    let mut face = Face { davy, device: Device::new("face"), last: 0 };
    let told_of =
        |rule: &str| site.fact(&format!("SELECT count(*) FROM changes WHERE body ->> '$.alarm.rule' = '{rule}'"));
    let open =
        async |face: &Face, rule: &str| face.davy.open_alarms().await.into_iter().find(|alarm| alarm["rule"] == rule);
    face.reads("a", 1.2).await;
    let first = wait_for("the first rule", async || open(&face, "methane-face").await).await;
    wait_for("the second rule", async || open(&face, "methane-second").await).await;

    let before = face.changes();
    site.write(RULE, &methane_rule(0.9, ""));
    site.write("rules/other.rhai", &methane_rule(0.8, "").replace("methane-face", "methane-other"));
    face.reloaded(before).await;
    let before = face.changes();
    face.reads("c", 0.85).await;
    assert_eq!(face.raised("c").await["rule"], "methane-other", "another file is in force beside it");
    assert!(open(&face, "methane-second").await.is_some());
    site.write(RULE, &both(0.7));
    face.reloaded(before).await;
    face.reads("b", 0.75).await;
    until("both rules are stricter", async || {
        told_of("methane-face") == 2 && told_of("methane-second") == 2 && face.alarm("b").await.is_some()
    })
    .await;

    // Moved to a file that has a mistake in it, the rule stays where it was.
    let wrong = second(0.7).replace("p.value", "p.vlaue");
    assert!(wrong.contains("vlaue"));
    site.write("rules/moved.rhai", &wrong);
    site.write(RULE, &methane_rule(0.7, ""));
    let refused = async |path: &str| {
        let open = face.davy.open_alarms().await;
        open.into_iter().find(|alarm| alarm["subject"] == format!("rule file {path}"))
    };
    let kept = wait_for("the file it came from is an alarm", async || refused("coal.rhai").await).await;
    assert!(kept["detail"].as_str().unwrap().contains("moved.rhai"), "{}", kept["detail"]);
    assert_eq!(told_of("methane-second"), 2, "neither of its alarms ended");
    let before = face.changes();
    site.write("rules/moved.rhai", &second(0.7));
    face.reloaded(before).await;
    until("both files are sound", async || face.davy.holding("davy-rule-file").await.is_none()).await;
    assert_eq!(told_of("methane-second"), 2, "nor when it moved");

    // It moves to a file from which another rule goes: that one waits, and so does the move.
    let other = |text: String| text.replace("methane-face", "methane-new");
    site.write("rules/other.rhai", &format!("{}\n{}", other(methane_rule(0.8, "")), second(0.7)));
    site.write("rules/moved.rhai", "// moved to other.rhai\n");
    until("a rule ended", async || open(&face, "methane-other").await.is_none()).await;
    assert_eq!(told_of("methane-second"), 2, "nor now");

    // And left out for good.
    site.write("rules/other.rhai", &other(methane_rule(0.8, "")));
    until("the rule ended", async || open(&face, "methane-second").await.is_none()).await;
    let still = face.davy.open_alarms().await;
    assert!(still.iter().any(|alarm| alarm["id"] == first["id"]), "the other rule's alarm goes on: {still:#?}");
    assert!(face.davy.stop().await.success());
}

/// How many edits; `make soak` asks for more.
fn edits() -> usize {
    std::env::var("DAVY_SOAK_EDITS").map_or(100, |text| text.parse().unwrap())
}

/// Point a goes over the limit and back again and again, b is over it all the time, and somebody saves the rule file
/// over and over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_edited_under_load_loses_no_sample_and_no_alarm() {
    let site = Site::new(&config(), &[("coal.rhai", &methane_rule(1.0, ""))]);
    let davy = site.start().await;
    let mut face = Face { davy, device: Device::new("face"), last: 0 };
    face.reads("b", 1.5).await;
    face.raised("b").await;

    let (stop, sent, mqtt) = (CancellationToken::new(), std::sync::Arc::new(AtomicU64::new(0)), face.davy.mqtt());
    let (load_stop, counted) = (stop.clone(), sent.clone());
    let load = tokio::spawn(async move {
        let (mut device, mut time) = (Device::new("load"), now_ms());
        let next = || {
            time += 1;
            let number = counted.fetch_add(1, Relaxed);
            let value = if number.is_multiple_of(2) { 1.2 } else { 0.1 };
            Some(Message::value("pit/a", value, time))
        };
        device.run(mqtt, Duration::from_millis(2), &load_stop, next).await;
        assert_eq!(device.open().count(), 0, "everything was acknowledged");
        device.acknowledged.len() as u64
    });

    // Both limits lie between the two values: whichever is in force, the same alarms come.
    let text = |edit: usize| {
        let limit = if edit.is_multiple_of(2) { 0.9 } else { 1.0 };
        format!("// edit {edit}\n{}", methane_rule(limit, ""))
    };
    let resident = async |face: &Face| face.davy.metric("davy_resident_memory_bytes", &[]).await;
    // The figures keep the day's changes of alarms, so many of them; from there on nothing grows with them either.
    const KEPT: u64 = 55_000;
    let (mut warm, mut full) = (0.0, false);
    for edit in 0..edits() {
        let before = face.changes();
        site.write(RULE, &text(edit));
        if edit % 10 == 0 {
            face.reloaded(before).await;
        } else {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let fills = !full && sent.load(Relaxed) > KEPT;
        if edit == 30 || fills {
            (warm, full) = (resident(&face).await, fills);
        }
        if edit % 100 == 0 {
            println!("{edit} edits: {} bytes resident, {} samples", resident(&face).await, sent.load(Relaxed));
        }
    }
    let last = text(edits());
    site.write(RULE, &last);
    until("the last edit is in force", async || {
        let version = face.davy.get("/api/v1/rules/versions?most=1").await["versions"][0]["number"].clone();
        face.davy.get(&format!("/api/v1/rules/versions/{version}")).await["text"] == last.as_str()
    })
    .await;
    stop.cancel();
    let acknowledged = load.await.unwrap();
    let grown = resident(&face).await - warm;
    let kept = if full { 0 } else { acknowledged.min(KEPT) };
    assert!(grown < 24e6 + kept as f64 * 1e3, "memory grew by {grown} bytes over {acknowledged} changes");

    // Each sample was judged once, and each of them was a change of the alarm; b's alarm saw nothing of it.
    assert!(acknowledged > 100, "there was a load");
    until("everything is judged", async || {
        face.davy.metric("davy_engine_samples_judged_total", &[]).await >= (acknowledged + 1) as f64
    })
    .await;
    assert_eq!(face.davy.metric("davy_engine_samples_judged_total", &[]).await, (acknowledged + 1) as f64);
    for fate in ["late", "duplicate"] {
        assert_eq!(face.davy.fate("engine", fate).await, 0, "{fate}");
    }
    let told = |point: &str, what: &str| {
        let of = format!("body ->> '$.alarm.subject' = 'pit.{point}'");
        site.fact(&format!("SELECT count(*) FROM changes WHERE {of} AND happening IN ({what})")) as u64
    };
    // Edits and a storm of changes leave some to be told, on a slow machine: it goes on to the last one.
    let all = || told("a", "'raised', 'raised_again', 'cleared'");
    let mut so_far = 0;
    while so_far < acknowledged {
        until("more changes are told", async || all() > so_far).await;
        so_far = all();
    }
    assert_eq!(told("a", "'raised', 'raised_again'"), acknowledged.div_ceil(2));
    assert_eq!(told("a", "'cleared'"), acknowledged / 2);
    assert_eq!((told("b", "'raised'"), told("b", "'raised_again', 'cleared'")), (1, 0));
    assert!(face.davy.stop().await.success());
}
