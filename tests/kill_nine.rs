//! The power of the gateway's box is cut, again and again, in the middle of a shift with gas about.
//!
//! Afterwards every sample that was acknowledged is in the history exactly once, every crossing of the
//! limit is one alarm change and not two, every acknowledgement that was confirmed stands, and whoever had
//! to be told was told. `DAVY_SOAK_KILLS` asks for more kills, `DAVY_SOAK_SEED` for the same moments again.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails where it stands")]

mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use davy::clock;
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use stage::device::{Device, Message};
use stage::pager::Pager;
use stage::{Davy, Site, methane_rule, now_ms, post, until};

const DEVICES: usize = 4;
const POINTS_EACH: usize = 3;
const LIMIT: f64 = 1.0;

/// xorshift64*
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % below
    }
}

fn config(pager: &Pager) -> String {
    // Every crossing is to be heard here: none is shelved for coming too often.
    let mut text = format!(
        "[gateway]\nname = \"pit\"\n[web]\naddress = \"127.0.0.1:0\"\n\
         [source.mqtt_listener.front]\naddress = \"127.0.0.1:0\"\nanonymous = true\n\
         [history]\nflush = \"2s\"\n\
         [storm]\nchatter = \"off\"\n\
         [journal]\nalarm_wait = \"10s\"\n\
         [notify.webhook.duty]\nurl = \"http://{}/hook\"\nsecret_file = \"secret\"\n",
        pager.address
    );
    for device in 0..DEVICES {
        for point in 0..POINTS_EACH {
            text.push_str(&format!("[point.\"pit.d{device}p{point}\"]\nkind = \"methane\"\nplace = \"T1\"\n"));
        }
    }
    text
}

/// Gas that comes and goes: some messages below the limit, some above, never the same time twice.
fn gas(device: usize, mut dice: Dice) -> impl FnMut() -> Option<Message> {
    let mut last = [0_i64; POINTS_EACH];
    let mut left = [0_u64; POINTS_EACH];
    let mut above = [false; POINTS_EACH];
    move || {
        let point = dice.roll(POINTS_EACH as u64) as usize;
        if left[point] == 0 {
            above[point] = !above[point];
            left[point] = 2 + dice.roll(60);
        }
        left[point] -= 1;
        let hundredths = if above[point] { 100 + dice.roll(60) } else { dice.roll(100) };
        last[point] = now_ms().max(last[point] + 1);
        Some(Message::value(format!("pit/d{device}p{point}"), hundredths as f64 / 100.0, last[point]))
    }
}

/// Acknowledges what is open, under a name of its own each time; keeps the confirmed ones.
async fn operator(
    mut address: watch::Receiver<Option<SocketAddr>>,
    http: reqwest::Client,
    stop: CancellationToken,
) -> Vec<(String, String)> {
    let (mut confirmed, mut number) = (Vec::new(), 0);
    while !stop.is_cancelled() {
        let Some(web) = *address.borrow_and_update() else {
            tokio::select! { _ = address.changed() => {}, () = stop.cancelled() => {} }
            continue;
        };
        let base = format!("http://{web}/api/v1/alarms");
        let Ok(answer) = http.get(format!("{base}?open=true")).send().await else { continue };
        let Ok(list) = answer.text().await else { continue };
        let list: serde_json::Value = serde_json::from_str(&list).unwrap_or_default();
        let unseen = list["alarms"].as_array().into_iter().flatten().find(|alarm| alarm["standing"] != "acknowledged");
        if let Some(alarm) = unseen {
            number += 1;
            let (id, by) = (alarm["id"].as_str().unwrap(), format!("operator {number}"));
            let said = json!({ "raises": alarm["raises"], "by": by });
            match post(&http, &format!("{base}/{id}/ack"), &said).await {
                Some((200, _)) => confirmed.push((id.to_owned(), by)),
                // Cut off, or it changed meanwhile: not confirmed.
                Some((404 | 409 | 503 | 504, _)) | None => {}
                Some((status, said)) => panic!("acknowledging {id}: {status} {said}"),
            }
        }
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    confirmed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_nine_at_any_moment_loses_nothing_and_repeats_no_alarm() {
    let asked = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a whole number"));
    let kills = asked("DAVY_SOAK_KILLS").unwrap_or(6);
    let seed = asked("DAVY_SOAK_SEED").unwrap_or(clock::now().micros().unsigned_abs());
    println!("DAVY_SOAK_SEED={seed} DAVY_SOAK_KILLS={kills}");
    let mut dice = Dice(seed | 1);
    let pager = Pager::start().await;
    let site = Site::new(&config(&pager), &[("coal.rhai", &methane_rule(LIMIT, ""))]);
    site.write("secret", "firedamp in the goaf");
    let began = now_ms();

    let mut davy = site.start().await;
    let (mqtt, mqtt_now) = watch::channel(davy.mqtt());
    let (web, web_now) = watch::channel(Some(davy.web));
    let stop = CancellationToken::new();
    let operator = tokio::spawn(operator(web_now, davy.client(), stop.clone()));
    let devices: Vec<_> = (0..DEVICES)
        .map(|number| {
            let (mut address, stop) = (mqtt_now.clone(), stop.clone());
            let mut make = gas(number, Dice(dice.roll(u64::MAX >> 33) | 1));
            tokio::spawn(async move {
                let mut device = Device::new(&format!("substation-{number}"));
                loop {
                    let at = *address.borrow_and_update();
                    device.run(at, Duration::from_millis(3), &stop, &mut make).await;
                    if stop.is_cancelled() && device.open().next().is_none() {
                        return device;
                    }
                    // The next life listens elsewhere; while there is none, the old address is tried again.
                    drop(tokio::time::timeout(Duration::from_millis(100), address.changed()).await);
                }
            })
        })
        .collect();

    for kill in 0..kills {
        tokio::time::sleep(Duration::from_millis(150 + dice.roll(1_800))).await;
        web.send_replace(None);
        davy.kill();
        if kill % 3 == 2 {
            // And once more while it is still reading its journal.
            let half_up = site.launch();
            tokio::time::sleep(Duration::from_millis(dice.roll(250))).await;
            half_up.kill();
        }
        davy = site.start().await;
        mqtt.send_replace(davy.mqtt());
        web.send_replace(Some(davy.web));
    }
    let quiet = davy.metric("davy_engine_samples_judged_total", &[]).await;
    until("the last life judges samples", async || {
        davy.metric("davy_engine_samples_judged_total", &[]).await > quiet + 200.0
    })
    .await;
    stop.cancel();
    let mut taken = Vec::new();
    for device in devices {
        taken.push(device.await.unwrap());
    }
    let confirmed = operator.await.unwrap();
    until("everybody was told", async || site.fact("SELECT count(*) FROM outbox WHERE settled IS NULL") == 0).await;

    let history = check_history(&davy, &taken, began).await;
    assert!(davy.stop().await.success());
    let changes = check_alarms(&site, &history, &confirmed);
    check_people(&site, &pager);
    check_records(&site);
    let acknowledged: usize = taken.iter().map(|device| device.acknowledged.len()).sum();
    let repeated: usize = taken.iter().map(|device| device.repeated).sum();
    println!(
        "{kills} kills: {acknowledged} samples acknowledged, {repeated} sent again, {changes} alarm changes, {} confirmations",
        confirmed.len()
    );
    assert!(acknowledged > 500 && changes > 20 && !confirmed.is_empty(), "too little happened to prove anything");
}

type History = BTreeMap<String, Vec<(i64, f64)>>;

/// Acknowledged samples and stored samples are the same: everything was acknowledged in the end.
async fn check_history(davy: &Davy, devices: &[Device], began: i64) -> History {
    let mut history = History::new();
    for (number, device) in devices.iter().enumerate() {
        assert_eq!(device.open().count(), 0);
        let mut sent = BTreeMap::<String, Vec<(i64, f64)>>::new();
        for message in &device.acknowledged {
            let payload: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
            let sample = (payload["time"].as_i64().unwrap() * 1_000, payload["value"].as_f64().unwrap());
            sent.entry(message.topic.replace('/', ".")).or_default().push(sample);
        }
        assert_eq!(sent.len(), POINTS_EACH, "substation {number} said something of every point");
        for (point, mut sent) in sent {
            sent.sort_by_key(|sample| sample.0);
            let stored = davy.samples(&point, began).await;
            assert!(stored.iter().all(|sample| sample.quality == "good"), "{point}");
            let stored: Vec<(i64, f64)> =
                stored.into_iter().map(|sample| (sample.micros, sample.value.unwrap())).collect();
            let missing: Vec<_> = sent.iter().filter(|sample| !stored.contains(sample)).collect();
            assert!(missing.is_empty(), "{point}: acknowledged and lost: {missing:?}");
            assert_eq!(stored, sent, "{point}: every sample once and nothing else");
            history.insert(point, stored);
        }
    }
    history
}

struct ChangeRow {
    at: i64,
    alarm: String,
    happening: String,
    by: Option<String>,
}

/// Plays the stored samples of each point through the alarm by hand, and compares change by change.
fn check_alarms(site: &Site, history: &History, confirmed: &[(String, String)]) -> usize {
    let facts = site.facts();
    assert_eq!(site.fact("SELECT count(*) FROM changes WHERE early"), 0, "the disk was too slow for this story");
    let mut rows = facts
        .prepare(
            "SELECT id, body ->> '$.alarm.subject', at, alarm, happening,
                    body ->> '$.alarm.acknowledged.by' FROM changes ORDER BY id",
        )
        .unwrap();
    let mut changes = BTreeMap::<String, Vec<ChangeRow>>::new();
    let listed = rows.query_map([], |row| {
        let change = ChangeRow { at: row.get(2)?, alarm: row.get(3)?, happening: row.get(4)?, by: row.get(5)? };
        Ok((row.get::<_, String>(1)?, change))
    });
    for row in listed.unwrap() {
        let (subject, change) = row.unwrap();
        changes.entry(subject).or_default().push(change);
    }
    let (mut occurrences, mut names) = (BTreeSet::new(), BTreeSet::new());
    for (point, samples) in history {
        let happened = changes.remove(point).unwrap_or_default();
        let mut edges = Vec::new();
        let mut above = false;
        for (time, value) in samples {
            if (*value >= LIMIT) != above {
                above = !above;
                edges.push((*time, above));
            }
        }
        let told: Vec<(i64, bool)> = happened
            .iter()
            .filter(|change| change.happening != "acknowledged")
            .map(|change| (change.at, change.happening != "cleared"))
            .collect();
        assert_eq!(told, edges, "{point}: every crossing of the limit is one change, none is missing or repeated");
        // Who had acknowledged decides whether a return is a new occurrence.
        let (mut holds, mut seen, mut current) = (false, true, String::new());
        for change in &happened {
            match change.happening.as_str() {
                "raised" => {
                    assert!(!holds && seen, "{point}: a new occurrence although the last one was not acknowledged");
                    assert!(occurrences.insert(change.alarm.clone()), "{point}: occurrence {} twice", change.alarm);
                    (holds, seen, current) = (true, false, change.alarm.clone());
                }
                "raised_again" => {
                    assert!(!holds && !seen && change.alarm == current, "{point}");
                    holds = true;
                }
                "cleared" => {
                    assert!(holds && change.alarm == current, "{point}");
                    holds = false;
                }
                "acknowledged" => {
                    assert!(!seen && change.alarm == current, "{point}: acknowledged twice");
                    seen = true;
                    let by = change.by.clone().unwrap();
                    assert!(names.insert((change.alarm.clone(), by)), "{point}: the same acknowledgement twice");
                }
                other => panic!("{point}: {other}"),
            }
        }
    }
    for confirmation in confirmed {
        assert!(names.contains(confirmation), "confirmed and lost: {confirmation:?}");
    }
    assert!(changes.keys().all(|subject| !subject.starts_with("pit.")), "alarms of points that sent nothing");
    site.fact("SELECT count(*) FROM changes") as usize
}

/// Every acknowledgement is one record, and the chain is whole after all that.
fn check_records(site: &Site) {
    let told = "SELECT count(*) FROM changes WHERE happening = 'acknowledged'";
    assert_eq!(site.fact("SELECT count(*) FROM audit WHERE action = 'alarm.acknowledged'"), site.fact(told));
    let verified = site.command(&["audit", "verify"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}

/// One message for each change and recipient, and the webhook heard every one under one key.
fn check_people(site: &Site, pager: &Pager) {
    let facts = site.facts();
    let mut owed = facts.prepare("SELECT change, id FROM outbox WHERE channel = 'webhook' ORDER BY change").unwrap();
    let owed: BTreeMap<i64, i64> =
        owed.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().collect::<Result<_, _>>().unwrap();
    let twice = "SELECT count(*) FROM (SELECT 1 FROM outbox GROUP BY change, channel, recipient HAVING count(*) > 1)";
    assert_eq!(site.fact(twice), 0, "somebody would be told twice of one change");
    let changes = site.fact("SELECT count(*) FROM changes");
    assert_eq!(site.fact("SELECT count(*) FROM outbox"), 3 * changes, "webhook, MQTT and log, each of every change");
    assert_eq!(site.fact("SELECT count(*) FROM outbox WHERE channel <> 'mqtt' AND outcome <> 'delivered'"), 0);
    let unheard = "SELECT count(*) FROM outbox WHERE channel = 'mqtt' AND outcome = 'given_up'";
    assert_eq!(site.fact(unheard), changes, "nobody subscribes here, and the records say so");
    let keys = Arc::new(Mutex::new(BTreeMap::<i64, BTreeSet<String>>::new()));
    for heard in pager.heard() {
        assert!(heard.signed_with("firedamp in the goaf"));
        let change = heard.message["change"].as_i64().unwrap();
        keys.lock().unwrap().entry(change).or_default().insert(heard.key);
    }
    let keys = keys.lock().unwrap();
    for (change, row) in &owed {
        let key = BTreeSet::from([format!("davy-{row}")]);
        assert_eq!(keys.get(change), Some(&key), "change {change} reached the webhook, always under the same key");
    }
    assert_eq!(keys.len(), owed.len());
}
