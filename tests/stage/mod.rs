//! The stage on which the stories of operators are played: a folder with a configuration, the real `davy`
//! as a process of its own, and the people and devices around it.
//!
//! Everything is real: sockets on free ports, files in a folder that goes away, SIGKILL and SIGTERM. What
//! waits, waits for a fact with a deadline; a deadline that passes fails the story and says what was missing.

#![allow(dead_code, reason = "each story uses its part of the stage")]
#![allow(clippy::unwrap_used, reason = "a stage that cannot be set up fails the story")]

pub mod device;
pub mod pager;
pub mod relay;
pub mod storm;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use davy::clock::{self, Stopwatch};
use davy::model::Timestamp;
use serde_json::Value;

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Asks until there is an answer.
pub async fn wait_for<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let watch = Stopwatch::start();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(watch.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}

/// Looks until it holds.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    wait_for(what, async || holds().await.then_some(())).await;
}

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    clock::now().micros() / 1_000
}

/// A free port of this machine; somebody else may take it, though nobody here does.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A folder with a configuration, rules and data, which outlives every process that runs on it.
pub struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    /// `config` is `davy.toml` as written, rules are (file, text).
    pub fn new(config: &str, rules: &[(&str, &str)]) -> Self {
        let site = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir(site.path("rules")).unwrap();
        site.write("davy.toml", config);
        for (file, text) in rules {
            site.write(&format!("rules/{file}"), text);
        }
        site
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    pub fn write(&self, below: &str, text: &str) {
        std::fs::write(self.path(below), text).unwrap();
    }

    /// `davy <arguments> --config davy.toml`, to its end.
    pub fn command(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_davy"));
        command.args(arguments).args(["--config", "davy.toml"]).current_dir(self.folder.path());
        command.output().unwrap()
    }

    /// Starts the gateway without waiting for it to be up.
    pub fn launch(&self) -> Launched {
        let mut child = Command::new(env!("CARGO_BIN_EXE_davy"))
            .args(["run", "--config"])
            .arg(self.path("davy.toml"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (lines, kept) = (BufReader::new(child.stderr.take().unwrap()), log.clone());
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let mut log = kept.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Launched { child, log }
    }

    pub async fn start(&self) -> Davy {
        self.launch().up().await
    }

    /// A read-only look into `facts.db`.
    pub fn facts(&self) -> rusqlite::Connection {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let facts = rusqlite::Connection::open_with_flags(self.path("data/facts.db"), flags).unwrap();
        facts.busy_timeout(Duration::from_secs(10)).unwrap();
        facts
    }

    /// A single number out of `facts.db`.
    pub fn fact(&self, question: &str) -> i64 {
        self.facts().query_row(question, [], |row| row.get(0)).unwrap()
    }
}

/// A process that may not be up yet.
pub struct Launched {
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Launched {
    /// SIGKILL, wherever it is.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub async fn up(mut self) -> Davy {
        let watch = Stopwatch::start();
        loop {
            let log = self.log.lock().unwrap().clone();
            if let Some((web, mqtt)) = log.lines().find_map(addresses) {
                rustls::crypto::ring::default_provider().install_default().ok();
                let http = reqwest::Client::builder().timeout(Duration::from_secs(20)).no_proxy().build().unwrap();
                let Self { child, log } = self;
                return Davy { child: Some(child), log, web, mqtt, http };
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && watch.elapsed() < PATIENCE, "davy did not come up ({ended:?}):\n{log}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// `davy runs: page and API http://ADDR, mqtt ADDR`
fn addresses(line: &str) -> Option<(SocketAddr, Vec<SocketAddr>)> {
    let (web, mqtt) = line.strip_prefix("davy runs: page and API http://")?.split_once(", mqtt ")?;
    let mqtt = mqtt.split(", ").filter(|text| !text.is_empty()).map(|text| text.parse().unwrap()).collect();
    Some((web.parse().unwrap(), mqtt))
}

/// A sample as the API tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub micros: i64,
    pub value: Option<f64>,
    pub quality: String,
}

/// The running gateway.
pub struct Davy {
    child: Option<Child>,
    log: Arc<Mutex<String>>,
    pub web: SocketAddr,
    mqtt: Vec<SocketAddr>,
    http: reqwest::Client,
}

impl Davy {
    pub fn mqtt(&self) -> SocketAddr {
        self.mqtt[0]
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM, and the end that it comes to.
    pub async fn stop(mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        let told = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert!(told.success());
        wait_for("davy ends after SIGTERM", async || child.try_wait().unwrap()).await
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.web)
    }

    pub async fn text(&self, path: &str) -> String {
        let answer = self.http.get(self.url(path)).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.text().await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Value {
        serde_json::from_str(&self.text(path).await).unwrap()
    }

    /// None when the gateway is gone.
    pub async fn post(&self, path: &str, body: &Value) -> Option<(u16, Value)> {
        post(&self.http, &self.url(path), body).await
    }

    pub fn client(&self) -> reqwest::Client {
        self.http.clone()
    }

    /// What a point shows now.
    pub async fn point(&self, id: &str) -> Value {
        self.get(&format!("/api/v1/points/{id}")).await
    }

    pub async fn open_alarms(&self) -> Vec<Value> {
        self.get("/api/v1/alarms?open=true&most=1000").await["alarms"].as_array().unwrap().clone()
    }

    /// The open alarm of that rule, if its condition holds.
    pub async fn holding(&self, rule: &str) -> Option<Value> {
        let open = self.open_alarms().await;
        open.into_iter().find(|alarm| alarm["rule"] == rule && alarm["standing"] != "returned_unacknowledged")
    }

    /// Every stored sample of a point since `from` (milliseconds), in the order of the answer.
    pub async fn samples(&self, id: &str, from_ms: i64) -> Vec<Told> {
        let (mut from, mut all) = (Timestamp::from_micros(from_ms * 1_000).to_string(), Vec::new());
        let to = Timestamp::from_micros((now_ms() + 3_600_000) * 1_000);
        loop {
            let page = self.get(&format!("/api/v1/points/{id}/samples?from={from}&to={to}&most=20000")).await;
            all.extend(page["samples"].as_array().unwrap().iter().map(|sample| Told {
                micros: micros(&sample["time"]),
                value: sample["value"].as_f64(),
                quality: sample["quality"].as_str().unwrap().to_owned(),
            }));
            match page["next_from"].as_str() {
                Some(next) => from = next.to_owned(),
                None => return all,
            }
        }
    }

    /// A figure of `/metrics`, 0 when it is not there; `labels` as they are written.
    pub async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let text = self.text("/metrics").await;
        let fits = |line: &&str| {
            let of_it = line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
            of_it && labels.iter().all(|(key, value)| line.contains(&format!("{key}=\"{value}\"")))
        };
        text.lines().find(fits).map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }

    /// The loss ledger's count.
    pub async fn fate(&self, source: &str, fate: &str) -> u64 {
        self.metric("davy_samples_total", &[("source", source), ("fate", fate)]).await as u64
    }
}

impl Drop for Davy {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
            if std::thread::panicking() {
                eprintln!("what davy said:\n{}", self.log());
            }
        }
    }
}

pub async fn post(http: &reqwest::Client, url: &str, body: &Value) -> Option<(u16, Value)> {
    let answer = http.post(url).json(body).send().await.ok()?;
    let status = answer.status().as_u16();
    Some((status, serde_json::from_str(&answer.text().await.ok()?).unwrap_or(Value::Null)))
}

/// An RFC 3339 time in an answer.
pub fn micros(time: &Value) -> i64 {
    Timestamp::parse(time.as_str().unwrap()).unwrap().micros()
}

/// Finds a program; without it the story is skipped, or fails where everything must be there.
pub fn program(name: &str) -> Option<PathBuf> {
    let folders = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let found = folders.into_iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{name} is not installed");
        eprintln!("skipped: {name} is not installed");
    }
    found
}

/// A rule about the sensors themselves, without which a line break would be nobody's news.
pub const SENSOR_RULE: &str = r#"rule("sensor-fault", #{ title: "t", advice: "a", watches: #{}, judges: "health",
    priority: "P3", level: "yellow", raise: |p| p.has("line_break") || p.has("sensor_fault") });"#;

/// A rule of one number at a face; `more` stands between the braces as well.
pub fn methane_rule(limit: f64, more: &str) -> String {
    format!(
        r#"rule("methane-face", #{{
    title:    "采掘工作面瓦斯超限 / methane at a face",
    advice:   "停止作业，撤出人员 / stop work, withdraw people",
    watches:  #{{ kind: "methane", place: ["T1"] }},
    limits:   #{{ alarm: #{{ value: {limit:?}, unit: "%VOL", stricter: "lower", basis: "AQ 1029-2019" }} }},
    priority: "P2", level: "orange",
    raise:    |p| p.value >= p.limit.alarm,
    {more}
}});
"#
    )
}
