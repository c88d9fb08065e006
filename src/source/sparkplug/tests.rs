//! Against a real Mosquitto, and a real edge node where its library is installed.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

use rumqttc::{Event as MqttEvent, SubscribeFilter};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;
use crate::config::{Key, Problems};
use crate::journal::{self, Entry, Intake, Note};
use crate::ledger::Ledger;
use crate::model::Sample;
use crate::source::mqtt_client::tests::broker::{Broker, until};

const ENOUGH: Duration = Duration::from_secs(30);
const GAS: &str = "hongli.t1";
const SUPPLY: &str = "hongli.gateway-Supply";
const MISSING: &str = "0 bad:not_polled";

/// Points of node `gateway`: its supply by the pattern, its device's gas by name.
fn table() -> Arc<PointTable> {
    let mut supply = host::tests::point(SUPPLY);
    supply.range = None;
    Arc::new(PointTable::new(vec![supply, host::tests::point(GAS)]))
}

fn mapping(table: &PointTable) -> Mapping {
    let binding = Binding {
        group: "hongli".into(),
        node: "gateway".into(),
        device: "substation".into(),
        metric: "Gas/CH4".into(),
    };
    let find = |id: &str| table.find(id).unwrap();
    Mapping::new([(find(GAS), binding)], [(find(SUPPLY), SUPPLY.to_owned())])
}

/// Davy's side, with the journal's end in the test's hand.
struct Davy {
    config: Config,
    out: Outlet,
    journal: journal::Waiting,
    read: Vec<Sample>,
    /// Sources that are away, and back.
    told: Vec<(String, bool)>,
}

struct Run {
    task: JoinHandle<String>,
    up: watch::Receiver<bool>,
}

impl Davy {
    fn at(port: u16) -> Self {
        let toml = format!("broker = \"mqtt://127.0.0.1:{port}\"\nhost_id = \"davy\"\ngroups = [\"hongli\"]");
        let mut problems = Problems::default();
        let raw: Raw = problems.read(&Key::root(), toml::from_str(&toml).unwrap()).unwrap();
        let config = raw.check(&Key::root(), &mut problems).unwrap_or_else(|| panic!("{problems:?}"));
        let (intake, journal) = Intake::with_receiver(64);
        let out = Outlet { intake, account: Ledger::default().account("county") };
        Self { config, out, journal, read: Vec::new(), told: Vec::new() }
    }

    fn source(&self) -> Sparkplug {
        let table = table();
        Sparkplug::new(self.config.clone(), mapping(&table), table)
    }

    fn begin(&self, mut source: Sparkplug) -> Run {
        let out = self.out.clone();
        let (up_tx, up) = watch::channel(false);
        let task = tokio::spawn(async move {
            let connected = move || {
                up_tx.send_replace(true);
            };
            match source.run(&out, &connected).await {
                Ok(never) => match never {},
                Err(failure) => failure.what,
            }
        });
        Run { task, up }
    }

    async fn connect(&self) -> Run {
        let mut run = self.begin(self.source());
        timeout(ENOUGH, run.up.wait_for(|up| *up)).await.expect("connected in time").unwrap();
        run
    }

    /// Waits for a sample of the point that reads so; forgets all up to it.
    async fn sees(&mut self, id: &str, expected: &str) -> Sample {
        let point = table().find(id).unwrap();
        let told = |sample: &Sample| format!("{} {}", sample.value, sample.quality);
        loop {
            let found = self.read.iter().position(|sample| sample.point == point && told(sample) == expected);
            if let Some(at) = found {
                return self.read.drain(..=at).next_back().unwrap();
            }
            if !self.reads_on().await {
                panic!("{id} never was {expected}; seen {:?}", self.read.iter().map(told).collect::<Vec<_>>());
            }
        }
    }

    /// Waits for the word that the node or device is away, or back; forgets all up to it.
    async fn hears(&mut self, who: &str, away: bool) {
        loop {
            if let Some(at) = self.told.iter().position(|told| *told == (format!("county/{who}"), away)) {
                self.told.drain(..=at);
                return;
            }
            assert!(self.reads_on().await, "{who} {away} was never told; told {:?}", self.told);
        }
    }

    /// Takes what comes next. False: nothing comes.
    async fn reads_on(&mut self) -> bool {
        match timeout(ENOUGH, self.journal.next()).await {
            Ok(Some((Entry::Samples(samples), _))) => self.read.extend(samples.iter()),
            Ok(Some((Entry::Note(Note::Condition(condition)), _))) => {
                assert_eq!(condition.rule, crate::engine::DOWN);
                self.told.push((condition.subject, condition.holds));
            }
            Ok(Some(_) | None) | Err(_) => return false,
        }
        true
    }
}

/// What stands on the broker about our host.
async fn standing(port: u16) -> String {
    let (client, mut events) = AsyncClient::new(MqttOptions::new("looker", "127.0.0.1", port), 8);
    client.try_subscribe_many([SubscribeFilter::new("spBv1.0/STATE/davy".into(), QoS::AtLeastOnce)]).unwrap();
    let look = async {
        loop {
            if let MqttEvent::Incoming(Packet::Publish(state)) = events.poll().await.unwrap() {
                assert!(state.retain && state.qos == QoS::AtLeastOnce, "{state:?}");
                return String::from_utf8(state.payload.to_vec()).unwrap();
            }
        }
    };
    timeout(ENOUGH, look).await.expect("a state stands on the broker")
}

fn time_in(state: &str) -> u64 {
    serde_json::from_str::<serde_json::Value>(state).unwrap()["timestamp"].as_u64().unwrap()
}

/// Edge nodes wait for their host: it says that it is there, and with the same time that it is gone.
#[tokio::test]
async fn the_broker_knows_whether_we_are_there() {
    let Some(broker) = Broker::start("").await else { return };
    let davy = Davy::at(broker.port);
    let run = davy.connect().await;
    let mut online = standing(broker.port).await;
    until("the state stands", || online.contains("true")).await;
    assert!(online.starts_with("{\"online\":true,"), "{online}");
    let born = time_in(&online);

    // Somebody says that we are away, as a will of an earlier connection may.
    let (client, mut events) = AsyncClient::new(MqttOptions::new("liar", "127.0.0.1", broker.port), 8);
    client.try_publish("spBv1.0/STATE/davy", QoS::AtLeastOnce, true, "{\"online\":false,\"timestamp\":1}").unwrap();
    while !matches!(events.poll().await.unwrap(), MqttEvent::Incoming(Packet::PubAck(_))) {}
    loop {
        online = standing(broker.port).await;
        if online.contains("true") {
            break;
        }
    }
    assert_eq!(time_in(&online), born);

    run.task.abort();
    drop(run.task.await);
    let mut offline = standing(broker.port).await;
    for _ in 0..1_000 {
        if offline.contains("false") {
            break;
        }
        offline = standing(broker.port).await;
    }
    assert!(offline.contains("\"online\":false"), "{offline}");
    assert_eq!(time_in(&offline), born);
}

#[tokio::test]
async fn a_broker_that_is_away_is_named() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut davy = Davy::at(port);
    let run = davy.begin(davy.source());
    // Nobody knows how the field stands.
    davy.sees(GAS, MISSING).await;
    let told = timeout(ENOUGH, run.task).await.unwrap().unwrap();
    assert!(told.starts_with(&format!("broker mqtt://127.0.0.1:{port}: ")), "{told}");
}

/// A real edge node in its own process.
struct Edge {
    child: Child,
    stdin: ChildStdin,
    said: Arc<Mutex<Vec<String>>>,
}

impl Edge {
    /// Nothing, with a line that says so, where node or its library is not installed.
    fn start(port: u16) -> Option<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/edge_node");
        let node = Command::new("node").arg("--version").stdout(Stdio::null()).status().is_ok();
        if !node || !folder.join("node_modules/sparkplug-client").exists() {
            assert!(std::env::var_os("CI").is_none(), "node or tests/edge_node/node_modules is not installed");
            eprintln!("skipped: needs node, and `npm ci` in tests/edge_node");
            return None;
        }
        let mut child = Command::new("node")
            .arg(folder.join("edge.js"))
            .args([&format!("mqtt://127.0.0.1:{port}"), "hongli", "gateway"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = said.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                heard.lock().unwrap().push(line);
            }
        });
        Some(Self { child, stdin, said })
    }

    fn told(&mut self, command: &str) {
        writeln!(self.stdin, "{command}").unwrap();
    }

    fn said(&self, word: &str) -> usize {
        self.said.lock().unwrap().iter().filter(|line| *line == word).count()
    }

    /// SIGKILL: only the broker notices.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// One edge node through a day: birth, values, faults, a lost message, deaths, returns.
#[tokio::test]
async fn a_real_edge_node_lives_dies_and_returns() {
    let Some(mut broker) = Broker::start("").await else { return };
    let mut davy = Davy::at(broker.port);
    let Some(mut edge) = Edge::start(broker.port) else { return };
    until("the node was born before its host", || edge.said("birth") > 0).await;
    let run = davy.connect().await;

    // Nobody heard the first birth; the node is bound, so it is asked without a word of its own.
    davy.sees(SUPPLY, "23.9 good").await;
    davy.sees(GAS, "0.25 good").await;
    until("the node says that it was asked", || edge.said("asked") >= 1).await;

    edge.told("data 0.5");
    davy.sees(GAS, "0.5 good").await;
    edge.told("past 0.4");
    let past = davy.sees(GAS, "0.4 good:late").await;
    assert!(past.receive_time.since(past.source_time) >= Duration::from_secs(60));
    edge.told("fault");
    davy.sees(GAS, "0.5 bad:sensor_fault").await;
    edge.told("null");
    davy.sees(GAS, MISSING).await;

    // The device dies and its node does not.
    edge.told("bye");
    edge.told("data 0.75");
    until("the lost device is asked for", || davy.out.account.get(Fate::Unborn) == 1).await;
    assert_eq!(davy.out.account.get(Fate::Death), 1);
    davy.hears("hongli/gateway/substation", true).await;
    edge.kill();
    davy.sees(SUPPLY, MISSING).await;
    assert_eq!(davy.out.account.get(Fate::Death), 2);
    // Its device is not told beside it: one alarm for all that hangs from the node.
    davy.hears("hongli/gateway", true).await;

    let mut edge = Edge::start(broker.port).unwrap();
    davy.sees(SUPPLY, "23.9 good").await;
    davy.sees(GAS, "0.25 good").await;
    davy.hears("hongli/gateway", false).await;

    // A message is lost: what came after it is not believed by its alias, and the node is asked.
    edge.told("gap");
    edge.told("data 0.625");
    davy.sees(GAS, "0.625 good").await;
    assert_eq!(davy.out.account.get(Fate::Gap), 1);
    assert!(edge.said("asked") >= 1);

    // The broker dies: nobody knows anything. It returns, and so do all.
    broker.kill();
    davy.sees(GAS, MISSING).await;
    let told = timeout(ENOUGH, run.task).await.unwrap().unwrap();
    assert!(told.contains("broker mqtt://127.0.0.1"), "{told}");
    broker.up().await;
    let run = davy.connect().await;
    davy.sees(GAS, "0.625 good").await;

    // Davy restarts; the field says nothing by itself.
    run.task.abort();
    drop(run.task.await);
    let mut davy = Davy::at(broker.port);
    let _run = davy.connect().await;
    // The node's birth comes before its device's; and nothing of the earlier run can be mistaken for it.
    davy.sees(SUPPLY, "23.9 good").await;
    davy.sees(GAS, "0.625 good").await;
    edge.kill();
    davy.sees(GAS, MISSING).await;
}
