//! A storm: thousands of alarms in a minute, three P1 in the middle, and the power of the gateway's box is cut, again
//! and again. The person on duty hears every P1 by itself, a handful of the others, and the rest in summaries; and of
//! each message there is one receipt, whatever was cut off when. And a loose wire: what comes and goes is shelved with an
//! alarm of its own if it is of P3, but never one of P1. And a substation that is lost: one message, and the list of its
//! points in it.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails where it stands")]

mod stage;

use std::collections::BTreeSet;
use std::time::Duration;

use davy_simulators::modbus::{Device as Unit, ModbusDevices, Table, registers};
use serde_json::json;

use stage::device::{Device, Message};
use stage::pager::Pager;
use stage::storm::{ALARMS, BATCH, OWED, URGENT, WAITING, assert_capped, plant, sends};
use stage::{Site, methane_rule, now_ms, until, wait_for};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_through_kills_is_a_few_messages_every_p1_and_one_receipt_each() {
    let asked = |name: &str| std::env::var(name).ok().map(|text| text.parse::<usize>().expect("a whole number"));
    let kills = asked("DAVY_SOAK_KILLS").unwrap_or(3);
    let count = asked("DAVY_SOAK_STORM").unwrap_or(2_500);
    let mut seed = asked("DAVY_SOAK_SEED").map_or_else(now_ms, |seed| i64::try_from(seed).unwrap());
    println!("DAVY_SOAK_SEED={seed} DAVY_SOAK_KILLS={kills} DAVY_SOAK_STORM={count}");
    let pager = Pager::start().await;
    let site = plant(&pager, count);

    let mut davy = site.start().await;
    let batches = count.div_ceil(BATCH);
    for batch in 0..batches {
        sends(&davy, batch * BATCH..count.min((batch + 1) * BATCH)).await;
        if batch * kills / batches != (batch + 1) * kills / batches {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            tokio::time::sleep(Duration::from_millis((seed.unsigned_abs() >> 33) % 400)).await;
            davy.kill();
            davy = site.start().await;
        }
    }
    until("every alarm is on record", async || site.fact(ALARMS) == count as i64).await;
    until("everybody was told", async || site.fact(WAITING) == 0).await;
    assert!(davy.stop().await.success());

    assert_eq!(site.fact(OWED), count as i64, "one message owed for each");
    assert_eq!(site.fact("SELECT count(*) FROM outbox WHERE outcome <> 'delivered'"), 0);
    let receipts = "SELECT count(*) FROM (SELECT message FROM attempts WHERE outcome = 'delivered' GROUP BY message
        HAVING count(*) <> 1)";
    assert_eq!(site.fact(receipts), 0, "one receipt each");
    let told = site.fact("SELECT count(DISTINCT message) FROM attempts WHERE outcome = 'delivered'");
    assert_eq!(told, site.fact("SELECT count(*) FROM outbox"));

    let heard = pager.heard();
    for number in URGENT.into_iter().filter(|number| *number < count) {
        let point = format!("pit.p{number}");
        let told = heard.iter().find(|heard| heard.message["point"] == *point).expect(&point);
        assert!(told.message.get("summary").is_none(), "{point} stands in a message of its own");
        let before = "SELECT o.settled - o.created FROM outbox o JOIN changes c ON c.id = o.change
            WHERE c.body ->> '$.alarm.subject' = ";
        assert!(site.fact(&format!("{before}'{point}'")) < 5_000_000, "{point} waited");
    }
    assert_capped(&site, URGENT.len());
    // A message that was cut off may come twice, under the same key.
    let keys: BTreeSet<&str> = heard.iter().map(|heard| heard.key.as_str()).collect();
    let few = 40 + 25 * kills;
    assert!(keys.len() < few + URGENT.len(), "{} messages for one person", keys.len());
    let summaries: Vec<_> = heard.iter().filter(|heard| !heard.message["summary"].is_null()).collect();
    assert!(!summaries.is_empty());
    let facts = site.facts();
    let mut folded = facts.prepare("SELECT detail FROM attempts WHERE detail LIKE '%in summary %'").unwrap();
    let mut rows = 0;
    for detail in folded.query_map([], |row| row.get::<_, String>(0)).unwrap() {
        let detail = detail.unwrap();
        let number = detail.split("in summary ").nth(1).unwrap().split(':').next().unwrap();
        assert!(summaries.iter().any(|heard| heard.key == format!("davy-{number}")), "{detail}");
        rows += 1;
    }
    assert!(rows > count / 2, "only {rows} of {count} in a summary");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loose_wire_is_shelved_with_an_alarm_of_its_own_and_p1_methane_calls_on() {
    let pager = Pager::start().await;
    let config = format!(
        "[web]\naddress = \"127.0.0.1:0\"\n[storm]\nchatter = \"3 in 5m\"\n\
         [source.mqtt_listener.front]\naddress = \"127.0.0.1:0\"\nanonymous = true\n\
         [notify.webhook.duty]\nurl = \"http://{}/hook\"\n\
         [point.\"pit.t1\"]\nname = \"3201 T1\"\nkind = \"methane\"\nplace = \"T1\"\nperiod = \"1s\"\n",
        pager.address
    );
    let cut = methane_rule(1.5, "").replace("methane-face", "methane-cut").replace("\"P2\"", "\"P1\"");
    let face = methane_rule(1.0, "").replace("\"P2\"", "\"P3\"");
    let site = Site::new(&config, &[("face.rhai", &face), ("cut.rhai", &cut)]);
    let mut davy = site.start().await;
    let mut device = Device::new("t1");
    for turn in 1..=4 {
        for value in [1.7, 0.2] {
            device.send(davy.mqtt(), [Message::value("pit/t1", value, now_ms())]).await;
            let (rule, standing) = if value > 1.0 {
                ("methane-cut", "unacknowledged")
            } else {
                ("methane-cut", "returned_unacknowledged")
            };
            until(&format!("turn {turn}"), async || {
                davy.open_alarms()
                    .await
                    .iter()
                    .any(|alarm| alarm["rule"] == rule && alarm["standing"] == standing && alarm["raises"] == turn)
            })
            .await;
        }
    }
    let about = |rule: &str| format!("{rule} pit.t1");
    let chatter = async |davy: &stage::Davy, rule: &str| {
        wait_for(rule, async || davy.open_alarms().await.into_iter().find(|alarm| alarm["subject"] == about(rule)))
            .await
    };
    let face = chatter(&davy, "methane-face").await;
    assert_eq!(face["rule"], "davy-chatter");
    assert!(face["title"].as_str().unwrap().contains("is shelved"), "{face}");
    assert!(chatter(&davy, "methane-cut").await["title"].as_str().unwrap().contains("still calls"));
    let alarm = async |davy: &stage::Davy, rule: &str| {
        davy.open_alarms().await.into_iter().find(|alarm| alarm["rule"] == rule).unwrap()
    };
    let shelved = alarm(&davy, "methane-face").await;
    assert_eq!((&shelved["standing"], &shelved["aside"]["by"]), (&json!("shelved"), &json!("davy")));
    assert_eq!(
        pager.of_rule("methane-face").iter().filter(|heard| heard.message["happening"] == "raised_again").count(),
        2
    );
    until("the P1 calls every time", async || {
        pager.of_rule("methane-cut").iter().filter(|heard| heard.message["happening"] == "raised_again").count() == 3
    })
    .await;
    until("the pager hears of the chatter", async || pager.of_rule("davy-chatter").len() == 2).await;

    // The power is cut: nothing is shelved twice. Somebody ends the shelf: its alarm ends with it.
    davy.kill();
    davy = site.start().await;
    assert_eq!(alarm(&davy, "methane-face").await["standing"], "shelved");
    let id = shelved["id"].as_str().unwrap();
    let asides = davy.get("/api/v1/asides").await;
    assert_eq!(asides["asides"].as_array().unwrap().len(), 1, "{asides}");
    let ended =
        davy.post(&format!("/api/v1/alarms/{id}/unshelve"), &json!({ "by": "Li", "reason": "rewired" })).await.unwrap();
    assert!(ended.0 < 300, "{ended:?}");
    until("the alarm about it is over", async || {
        davy.open_alarms()
            .await
            .iter()
            .any(|alarm| alarm["subject"] == about("methane-face") && !alarm["cleared"].is_null())
    })
    .await;
    assert_eq!(site.fact("SELECT count(*) FROM alarms WHERE rule = 'davy-chatter'"), 2);
}

const LOST: &str = r#"
rule("comm-loss", #{ title: "中断 / nothing is heard", advice: "a", watches: #{}, judges: "silence", priority: "P3", level: "yellow",
    raise: |p| p.age > p.period * 3.0 });
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_substation_that_is_lost_is_one_message_and_what_stays_silent_calls_when_it_is_back() {
    let pager = Pager::start().await;
    let plc = ModbusDevices::start(vec![Unit::new(1, registers(Table::Holding, 0, 40))]).await.unwrap();
    let mut config = format!(
        "[web]\naddress = \"127.0.0.1:0\"\n\
         [source.mqtt_listener.front]\naddress = \"127.0.0.1:0\"\nanonymous = true\n\
         [source.modbus.substation]\naddress = \"{}\"\nperiod = \"500ms\"\ntimeout = \"300ms\"\nretries = 0\n\
         [notify.webhook.duty]\nurl = \"http://{}/hook\"\n\
         [point.\"pit.t1\"]\nkind = \"methane\"\nplace = \"T1\"\nperiod = \"1h\"\n",
        plc.address(),
        pager.address
    );
    for register in 0..40 {
        config.push_str(&format!(
            "[point.\"plant.r{register}\"]\nkind = \"pressure\"\nperiod = \"2s\"\n\
             modbus = {{ device = \"substation\", function = 3, address = {register}, type = \"uint16\" }}\n"
        ));
    }
    let site = Site::new(&config, &[("lost.rhai", LOST), ("coal.rhai", &methane_rule(1.0, ""))]);
    let mut davy = site.start().await;
    until("the substation is heard", async || !davy.samples("plant.r39", 0).await.is_empty()).await;

    let address = plc.address();
    plc.stop().await;
    let lost = wait_for("the lost substation", async || davy.holding("davy-source-down").await).await;
    assert!(lost["title"].as_str().unwrap().contains("40 个测点 / 40 points"), "{lost}");
    assert!(lost["detail"].as_str().unwrap().contains("plant.r0, plant.r1"), "{lost}");
    let suppressed = async |davy: &stage::Davy| {
        let open = davy.open_alarms().await;
        open.iter().filter(|alarm| alarm["rule"] == "comm-loss" && alarm["standing"] == "suppressed").count()
    };
    until("each of its points is on record", async || suppressed(&davy).await == 40).await;
    // Gas calls meanwhile, and the power of the gateway is cut.
    let mut device = Device::new("t1");
    device.send(davy.mqtt(), [Message::value("pit/t1", 1.7, now_ms())]).await;
    until("gas is heard of", async || pager.of_rule("methane-face").len() == 1).await;
    davy.kill();
    davy = site.start().await;
    assert_eq!(suppressed(&davy).await, 40);

    let plc = ModbusDevices::start_at(address, vec![Unit::new(1, registers(Table::Holding, 0, 40))]).await.unwrap();
    until("the substation is back", async || davy.holding("davy-source-down").await.is_none()).await;
    until("so are its points", async || suppressed(&davy).await == 0).await;
    until("nothing stays set aside", async || {
        davy.get("/api/v1/asides").await["asides"].as_array().unwrap().is_empty()
    })
    .await;
    assert_eq!(site.fact("SELECT count(*) FROM alarms WHERE rule = 'comm-loss'"), 40);
    assert!(
        pager.of_rule("comm-loss").is_empty(),
        "{:?}",
        pager.of_rule("comm-loss").first().map(|heard| &heard.message)
    );
    let about_source: Vec<_> = pager.of_rule("davy-source-down");
    let raised = about_source.iter().filter(|heard| heard.message["happening"] == "raised").count();
    assert_eq!(raised, 1, "one message for the substation");
    plc.stop().await;
}

/// Who comes to Davy: a gateway over MQTT, a program over HTTP, a fire device.
struct Comers {
    gateway: tokio::task::JoinHandle<()>,
    mast: tokio::task::JoinHandle<()>,
    fire: tokio::net::TcpStream,
}

/// The gateway's session, over which these points come twice a second. It ends when the task that holds it does.
fn gateway(port: u16, points: &'static [&'static str]) -> tokio::task::JoinHandle<()> {
    let mut options = rumqttc::MqttOptions::new("gw", "127.0.0.1", port);
    options.set_credentials("gw", "secret-of-the-gateway");
    let (client, mut events) = rumqttc::AsyncClient::new(options, 16);
    tokio::spawn(async move {
        let session = async {
            loop {
                events.poll().await.unwrap();
            }
        };
        let readings = async {
            let mut pace = tokio::time::interval(Duration::from_millis(500));
            loop {
                pace.tick().await;
                for point in points {
                    client.try_publish(format!("pit/{point}"), rumqttc::QoS::AtLeastOnce, false, "0.2").ok();
                }
            }
        };
        // Neither ends; each goes on where it was, so that a handshake is never broken off.
        let ((), ()) = tokio::join!(session, readings);
    })
}

async fn comers(davy: &stage::Davy, fire_port: u16) -> Comers {
    let (http, url) = (davy.client(), davy.url("/api/v1/samples"));
    let mast = tokio::spawn(async move {
        loop {
            let wind = json!([{ "point": "pit.wind", "value": 3.0 }, { "point": "pit.both", "value": 3.0 }]);
            let request = http.post(&url).bearer_auth("a-token-of-the-weather-mast").json(&wind);
            drop(request.send().await);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
    let mut fire = tokio::net::TcpStream::connect(("127.0.0.1", fire_port)).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut fire, &panel()).await.unwrap();
    Comers { gateway: gateway(davy.mqtt().port(), &["gw-1", "gw-2", "both"]), mast, fire }
}

/// Part 7 of the fire device runs.
fn panel() -> Vec<u8> {
    use davy::decode::frames::{Zone, gb26875};
    let clock = gb26875::clock(davy::clock::now(), Zone::BEIJING);
    let (source, command) = ([6, 5, 4, 3, 2, 1], gb26875::Command::Send);
    let head = gb26875::Head { serial: 1, version: [1, 1], clock, source, target: [0; 6], command };
    let mut data = vec![gb26875::kind::PART_STATE, 1, 1, 1, 42, 7, 0, 0, 0, 1, 0];
    data.extend([0; 31]);
    data.extend(clock);
    let mut frame = Vec::new();
    head.write(&data, &mut frame);
    frame
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_a_sender_or_a_panel_that_is_away_is_one_alarm_each_and_what_comes_twice_calls() {
    let pager = Pager::start().await;
    let fire_port = stage::free_port();
    let mut config = format!(
        "[web]\naddress = \"127.0.0.1:0\"\n[notify.webhook.duty]\nurl = \"http://{}/hook\"\n\
         [source.mqtt_listener.front]\naddress = \"127.0.0.1:0\"\n\
         user.gw = {{ password_file = \"gw\", points = [\"pit.gw-*\", \"pit.both\"], away = \"1s\" }}\n\
         [source.http.mast]\ntoken_file = \"mast\"\npoints = [\"pit.wind\", \"pit.both\"]\naway = \"2s\"\n\
         [source.gb26875.tower]\naddress = \"127.0.0.1:{fire_port}\"\npermanent = true\naway = \"1s\"\n\
         device.\"060504030201\" = {{ points = \"tower.p{{part}}-{{bit}}\" }}\n\
         [point.\"tower.p7-fire\"]\nkind = \"smoke\"\nperiod = \"2s\"\n",
        pager.address
    );
    for point in ["gw-1", "gw-2", "wind", "both"] {
        config.push_str(&format!("[point.\"pit.{point}\"]\nkind = \"wind\"\nperiod = \"2s\"\n"));
    }
    let site = Site::new(&config, &[("lost.rhai", LOST)]);
    site.write("gw", "secret-of-the-gateway\n");
    site.write("mast", "a-token-of-the-weather-mast\n");
    let davy = site.start().await;
    let Comers { gateway: session, mast, fire } = comers(&davy, fire_port).await;
    for point in ["pit.gw-2", "pit.wind", "pit.both", "tower.p7-fire"] {
        until(point, async || !davy.samples(point, 0).await.is_empty()).await;
    }

    session.abort();
    mast.abort();
    drop(fire);
    let standing = async |standing: &str| {
        let open = davy.open_alarms().await;
        let lost = open.iter().filter(|alarm| alarm["rule"] == "comm-loss" && alarm["standing"] == standing);
        let mut points: Vec<String> = lost.map(|alarm| alarm["subject"].as_str().unwrap().to_owned()).collect();
        points.sort();
        points
    };
    until("what comes through one of them hangs from it", async || {
        standing("suppressed").await == ["pit.gw-1", "pit.gw-2", "pit.wind", "tower.p7-fire"]
    })
    .await;
    until("what comes two ways calls", async || standing("unacknowledged").await == ["pit.both"]).await;
    let open = davy.open_alarms().await;
    let mut parents: Vec<&str> = open
        .iter()
        .filter(|alarm| alarm["rule"] == "davy-source-down" && alarm["cleared"].is_null())
        .map(|alarm| alarm["subject"].as_str().unwrap())
        .collect();
    parents.sort_unstable();
    assert_eq!(parents, ["gb26875.tower/060504030201", "http.mast", "mqtt_listener.front/gw"]);

    // The gateway is back without one of its sensors.
    let session = gateway(davy.mqtt().port(), &["gw-1"]);
    until("the sensor that it lost calls", async || standing("unacknowledged").await == ["pit.both", "pit.gw-2"]).await;
    assert_eq!(standing("suppressed").await, ["pit.wind", "tower.p7-fire"]);
    until("the pager hears of the two alone", async || pager.of_rule("comm-loss").len() == 2).await;
    session.abort();
}
