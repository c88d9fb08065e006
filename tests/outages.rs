//! The time-series database and the site's broker are down for a while in the middle of a shift.
//!
//! The gateway goes on with what it still hears. When both are back, on the same ports, every message that
//! the broker had accepted has arrived, the database holds every sample that the history holds, and both
//! outages were alarms that began and ended.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails where it stands")]

mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use davy_simulators::modbus::{Device as Unit, ModbusDevices, Table, registers};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};

use stage::{Davy, Site, free_port, methane_rule, now_ms, program, until};

/// A server of somebody else, killed when the story ends.
struct Server {
    program: PathBuf,
    arguments: Vec<String>,
    port: u16,
    running: Option<Child>,
}

impl Server {
    async fn start(program: PathBuf, arguments: Vec<String>, port: u16) -> Self {
        let mut server = Self { program, arguments, port, running: None };
        server.up().await;
        server
    }

    async fn up(&mut self) {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdout(Stdio::null()).stderr(Stdio::null());
        self.running = Some(command.spawn().unwrap());
        let port = self.port;
        until("the server listens", async || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()).await;
    }

    /// SIGKILL.
    fn down(&mut self) {
        self.send("-KILL");
    }

    /// SIGTERM, and time to write down what was accepted.
    fn stop(&mut self) {
        self.send("-TERM");
    }

    fn send(&mut self, signal: &str) {
        let mut child = self.running.take().unwrap();
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.running.is_some() {
            self.down();
        }
    }
}

/// Publishes over the broker; what it accepted (PUBACK) is its promise.
struct Publisher {
    client: AsyncClient,
    events: rumqttc::EventLoop,
    port: u16,
    last_ms: i64,
    accepted: BTreeMap<String, BTreeSet<(i64, i64)>>,
}

impl Publisher {
    fn at(port: u16) -> Self {
        let (client, events) = Self::line(port);
        Self { client, events, port, last_ms: 0, accepted: BTreeMap::new() }
    }

    fn line(port: u16) -> (AsyncClient, rumqttc::EventLoop) {
        AsyncClient::new(MqttOptions::new("substation-9", "127.0.0.1", port), 10)
    }

    /// One message at a time; false when the broker is away.
    async fn publish(&mut self, point: usize) -> bool {
        self.last_ms = now_ms().max(self.last_ms + 1);
        let (topic, hundredths) = (format!("pit/b{point}"), self.last_ms % 90);
        let payload = format!("{{\"value\":{},\"time\":{}}}", hundredths as f64 / 100.0, self.last_ms);
        self.client.publish(topic, QoS::AtLeastOnce, false, payload).await.unwrap();
        loop {
            match self.events.poll().await {
                Ok(Event::Incoming(Packet::PubAck(_))) => break,
                Ok(_) => {}
                Err(_) => {
                    (self.client, self.events) = Self::line(self.port);
                    return false;
                }
            }
        }
        self.accepted.entry(format!("pit.b{point}")).or_default().insert((self.last_ms * 1_000, hundredths));
        true
    }

    async fn publish_many(&mut self, count: usize) {
        for number in 0..count {
            assert!(self.publish(number % 4).await, "the broker is up");
        }
    }
}

async fn export(port: u16, series: &str) -> BTreeMap<String, BTreeMap<i64, f64>> {
    let get = async |path: &str| {
        let answer = reqwest::get(format!("http://127.0.0.1:{port}{path}")).await.unwrap();
        assert!(answer.status().is_success(), "{path}");
        answer.text().await.unwrap()
    };
    get("/internal/force_flush").await;
    let mut found = BTreeMap::<String, BTreeMap<i64, f64>>::new();
    for line in get(&format!("/api/v1/export?match[]={series}")).await.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let times = row["timestamps"].as_array().unwrap().iter().map(|time| time.as_i64().unwrap());
        let values = row["values"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap());
        let point = format!("{}.{}", row["metric"]["site"].as_str().unwrap(), row["metric"]["point"].as_str().unwrap());
        found.entry(point).or_default().extend(times.zip(values));
    }
    found
}

fn config(broker: u16, database: u16, modbus: std::net::SocketAddr) -> String {
    let mut text = format!(
        "[web]\naddress = \"127.0.0.1:0\"\n[history]\nflush = \"2s\"\n\
         [source.mqtt_client.mine]\nbroker = \"mqtt://127.0.0.1:{broker}\"\nclient_id = \"davy-story\"\n\
         topics = [\"pit/+\"]\n\
         [source.modbus.plc]\naddress = \"{modbus}\"\nperiod = \"200ms\"\ntimeout = \"1s\"\n\
         [influxdb]\nurl = \"http://127.0.0.1:{database}\"\norg = \"coal\"\nbucket = \"davy\"\nbatch_wait = \"200ms\"\n"
    );
    for number in 0..4 {
        text.push_str(&format!("[point.\"pit.b{number}\"]\nkind = \"methane\"\nplace = \"T1\"\nperiod = \"60s\"\n"));
        text.push_str(&format!(
            "[point.\"pit.m{number}\"]\nkind = \"pressure\"\nperiod = \"1s\"\n\
             modbus = {{ device = \"plc\", function = 3, address = {number}, type = \"uint16\", scale = 0.1 }}\n"
        ));
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_missing_after_broker_and_database_were_down() {
    let (Some(mosquitto), Some(victoria)) = (program("mosquitto"), program("victoria-metrics")) else { return };
    let others = tempfile::tempdir().unwrap();
    let (broker_port, database_port) = (free_port(), free_port());
    let folder = others.path().display();
    let broker_config = format!(
        "user root\nlistener {broker_port} 127.0.0.1\nallow_anonymous true\npersistence true\n\
         persistence_location {folder}/\nautosave_on_changes true\nautosave_interval 1\nmax_queued_messages 0\n"
    );
    std::fs::write(others.path().join("mosquitto.conf"), broker_config).unwrap();
    let arguments = vec!["-c".to_owned(), format!("{folder}/mosquitto.conf")];
    let mut broker = Server::start(mosquitto, arguments, broker_port).await;
    let arguments = [
        &format!("-httpListenAddr=127.0.0.1:{database_port}"),
        &format!("-storageDataPath={folder}/victoria"),
        "-retentionPeriod=100y",
        "-memory.allowedBytes=64MB",
        "-search.latencyOffset=0s",
        "-dedup.minScrapeInterval=0s",
    ];
    let mut database = Server::start(victoria, arguments.map(str::to_owned).to_vec(), database_port).await;
    let plc = ModbusDevices::start(vec![Unit::new(1, registers(Table::Holding, 0, 4))]).await.unwrap();
    let turn = |round: u16| (0..4_u16).for_each(|r| plc.set(1, &format!("r{r}"), f64::from(round * 10 + r)).unwrap());

    let began = now_ms();
    let site = Site::new(&config(broker_port, database_port, plc.address()), &[("coal.rhai", &methane_rule(1.0, ""))]);
    let davy = site.start().await;
    until("the broker knows us", async || davy.log().contains("source connected")).await;
    let mut publisher = Publisher::at(broker_port);
    turn(1);
    publisher.publish_many(200).await;
    let taken = async |davy: &Davy| davy.fate("mqtt_client.mine", "accepted").await;
    until("the shift begins", async || taken(&davy).await >= 200).await;
    until("the database hears", async || !export(database_port, "methane_value").await.is_empty()).await;
    assert!(davy.holding("davy-source-down").await.is_none() && davy.holding("davy-influxdb").await.is_none());

    // The database goes. Stopped, not killed: what it loses of what it has accepted is its own affair.
    database.stop();
    turn(2);
    publisher.publish_many(200).await;
    until("the database is missed", async || davy.holding("davy-influxdb").await.is_some()).await;
    assert!(davy.log().lines().count() < 2_000, "an outage does not flood the log");

    // The broker goes as well, after it has saved what nobody has fetched.
    until("the gateway has fetched", async || taken(&davy).await >= 400).await;
    until("the broker has saved", async || {
        let pid = broker.running.as_ref().unwrap().id().to_string();
        Command::new("kill").args(["-USR1", &pid]).status().unwrap().success()
            && others.path().join("mosquitto.db").exists()
    })
    .await;
    broker.down();
    turn(3);
    until("the broker is missed", async || davy.holding("davy-source-down").await.is_some()).await;
    let alarm = davy.holding("davy-source-down").await.unwrap();
    assert_eq!((&alarm["subject"], &alarm["site"]), (&"mqtt_client.mine".into(), &"gateway".into()));
    assert!(!publisher.publish(0).await, "nobody accepts anything");
    let before = davy.samples("pit.m0", began).await.len();
    until("Modbus goes on meanwhile", async || davy.samples("pit.m0", began).await.len() > before + 5).await;

    broker.up().await;
    publisher.publish_many(200).await;
    database.up().await;
    turn(4);
    until("the broker is back", async || davy.holding("davy-source-down").await.is_none()).await;
    publisher.publish_many(200).await;
    until("the database is back", async || davy.holding("davy-influxdb").await.is_none()).await;

    until("everything from the broker is stored", async || {
        let mut all = true;
        for (point, accepted) in &publisher.accepted {
            let stored: BTreeSet<(i64, i64)> = davy
                .samples(point, began)
                .await
                .iter()
                .map(|told| (told.micros, (told.value.unwrap() * 100.0).round() as i64))
                .collect();
            all &= accepted.is_subset(&stored);
        }
        all
    })
    .await;
    compare(&davy, began, database_port).await;
    let ended = "SELECT count(*) FROM alarms WHERE rule = 'davy-source-down' AND cleared > raised";
    assert_eq!(site.fact(ended), 1, "one outage of the broker, raised and over");
    let ended = "SELECT count(*) FROM alarms WHERE rule = 'davy-influxdb' AND cleared > raised";
    assert_eq!(site.fact(ended), 1, "one outage of the database, raised and over");
    assert_eq!(davy.fate("influxdb", "rejected").await, 0);
    assert!(davy.stop().await.success());
}

/// Whatever the history held at a moment, the database holds soon after.
async fn compare(davy: &Davy, began: i64, database_port: u16) {
    let mut history = BTreeMap::new();
    for point in (0..4).flat_map(|number| [format!("pit.b{number}"), format!("pit.m{number}")]) {
        let samples = davy.samples(&point, began).await;
        assert!(samples.len() > 20, "{point}: {} samples", samples.len());
        history.insert(point, samples);
    }
    let mut missing = Vec::new();
    for _ in 0..200 {
        let mut stored = export(database_port, "methane_value").await;
        stored.extend(export(database_port, "pressure_value").await);
        missing = history
            .iter()
            .flat_map(|(point, samples)| samples.iter().map(move |sample| (point, sample)))
            .filter(|(point, sample)| {
                let there = stored.get(*point).and_then(|rows| rows.get(&(sample.micros / 1_000)));
                sample.value.is_some() && there.is_none_or(|value| Some(*value) != sample.value)
            })
            .collect();
        if missing.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(missing.is_empty(), "in the history and not in the database: {missing:?}");
    let rounds: BTreeSet<i64> =
        history["pit.m0"].iter().filter_map(|told| told.value).map(|v| v.round() as i64).collect();
    assert!(rounds.is_superset(&BTreeSet::from([1, 2, 3, 4])), "the PLC was read all along: {rounds:?}");
}
