//! `davy demo`: the gateway with a simulated mine, chemical plant, building and reservoir.
//!
//! Everything is real but the plant: MQTT and Modbus sockets, journal, rules, history and messages, in a
//! temporary folder that is removed at the end. A simulated operator acknowledges alarms through the API,
//! a webhook and an MQTT subscriber receive them, and at the end everything that was sent is looked for in
//! the history.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use clap::Args;
use davy_simulators::site::{DemoPoint, Sites, demo_points};
use serde_json::{Value, json};
use tokio::signal::ctrl_c;

use super::bench::resident_mb;
use super::{Refusal, runtime, shipped};
use crate::clock::{self, Stopwatch};
use crate::config::{self, Config, Problems};
use crate::gateway::Gateway;
use crate::ledger::Fate;
use crate::model::parse_duration;

mod people;
mod table;

/// The configuration that the demo adds its points and addresses to.
const CONFIG: &str = include_str!("../../config/demo.toml");
/// After the sensors stop, their last alarms still have to reach people.
const SETTLE: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub struct Arguments {
    /// End by itself after this time (`30s`, `10m`); without it the demo runs until Ctrl-C.
    #[arg(long, value_parser = parse_duration, value_name = "TIME")]
    r#for: Option<Duration>,
    /// Print one JSON object at the end.
    #[arg(long)]
    json: bool,
    /// Port of the page and the API; 0 takes a free one.
    #[arg(long, default_value_t = 8080)]
    port: u16,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Refusal> {
    let folder = Folder::new()?;
    let summary = runtime()?.block_on(play(arguments, &folder))?;
    if arguments.json {
        println!("{summary}");
    } else if let Value::Object(figures) = &summary {
        println!("\nwhat happened");
        figures.iter().for_each(|(name, value)| println!("  {name:<26} {value}"));
    }
    let lost = summary.get("lost").and_then(Value::as_u64);
    Ok(if lost == Some(0) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A folder of its own, gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, Refusal> {
        let name = format!("davy-demo-{}-{}", std::process::id(), clock::now().micros());
        let folder = Self(std::env::temp_dir().join(name));
        for file in shipped::files() {
            let path = folder.0.join("rules").join(file.path);
            let written =
                path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&path, file.text));
            written.map_err(|error| Refusal(format!("{}: {error}", path.display())))?;
        }
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

async fn play(arguments: &Arguments, folder: &Folder) -> Result<Value, Refusal> {
    let say = |text: String| {
        if !arguments.json {
            println!("{text}");
        }
    };
    let field = Sites::modbus_first().await.map_err(|error| Refusal::of(&error))?;
    let webhook = people::Webhook::open().await?;
    let points = demo_points();
    let config = configure(arguments, folder, &points, field.address(), webhook.address)?;
    let rules = shipped::files().len();
    let gateway = Gateway::start(config).await.map_err(|error| match arguments.port {
        0 => Refusal::of(&error),
        port => Refusal(format!("{} (another port: --port 0, now {port})", Refusal::of(&error))),
    })?;
    let mqtt = *gateway.mqtt.first().ok_or_else(|| Refusal("the demo's configuration has no MQTT listener".into()))?;
    let web = gateway.web;
    say(format!("davy demo: {} points at four sites, {rules} rule files", points.len()));
    say(format!("  page and API   http://{web}"));
    say(format!("  MQTT           {mqtt}   (try: mosquitto_sub -p {} -t 'davy/v1/#' -v)", mqtt.port()));
    say(format!("  rules          {}   (edit one: it takes effect at once)", folder.0.join("rules").display()));
    match arguments.r#for {
        Some(length) => say(format!("  ends by itself after {}", crate::model::duration_text(length))),
        None => say("  Ctrl-C ends it".into()),
    }
    let subscriber = people::Subscriber::open(mqtt).await?;
    let operator = tokio::spawn(people::operator(web, gateway.stop.clone()));
    let watch = Stopwatch::start();
    let sites = field.start(mqtt, None);
    tokio::select! {
        () = tokio::time::sleep(arguments.r#for.unwrap_or(Duration::from_secs(365 * 86_400))) => {}
        interrupted = ctrl_c() => interrupted.map_err(|error| Refusal::of(&error))?,
        () = gateway.stop.cancelled() => {}
    }
    let sent = sites.stop().await;
    let settled = Stopwatch::start();
    while gateway.core.facts.waiting().is_ok_and(|waiting| waiting > 0) && settled.elapsed() < SETTLE {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let seconds = watch.elapsed().as_secs_f64();
    finish(gateway, operator, subscriber, webhook, sent.mqtt.acknowledged, seconds).await
}

/// Stops the gateway and counts what became of everything.
async fn finish(
    gateway: Gateway,
    operator: tokio::task::JoinHandle<u64>,
    subscriber: people::Subscriber,
    webhook: people::Webhook,
    acknowledged_by_gateway: u64,
    seconds: f64,
) -> Result<Value, Refusal> {
    let (facts, ledger, history) =
        (gateway.core.facts_numbers.clone(), gateway.core.ledger.clone(), gateway.history.clone());
    let table = gateway.core.table.clone();
    let engine = gateway.core.engine_numbers.clone();
    let stop = gateway.stop.clone();
    stop.cancel();
    let acknowledged = operator.await.unwrap_or(0);
    gateway.run().await.map_err(|error| Refusal::of(&error))?;
    let latency = subscriber.close().await;
    let stored = history.stored();
    let accepted = ledger.total(Fate::Accepted);
    let kept = stored.samples + stored.duplicates;
    let mqtt_accepted = ledger
        .accounts()
        .iter()
        .filter(|account| account.name.starts_with("mqtt"))
        .map(|account| account.get(Fate::Accepted))
        .sum::<u64>();
    Ok(json!({
        "samples": stored.samples,
        "points": table.len(),
        "rules": rule_count(),
        "evaluations": engine.evaluations.load(Relaxed),
        "alarms_raised": facts.raised.load(Relaxed),
        "alarms_acknowledged": acknowledged.max(facts.acknowledged.load(Relaxed)),
        "alarms_cleared": facts.cleared.load(Relaxed),
        "notifications_delivered": facts.delivered.load(Relaxed),
        "webhook_messages": webhook.received(),
        "mqtt_messages": latency.messages,
        "latency_p50_ms": latency.quantile(0.5),
        "latency_p99_ms": latency.quantile(0.99),
        // Accepted but not in the history, or acknowledged to a sensor but never accepted.
        "lost": accepted.saturating_sub(kept) + acknowledged_by_gateway.saturating_sub(mqtt_accepted),
        "seconds": (seconds * 10.0).round() / 10.0,
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "rss_mb": resident_mb(),
    }))
}

fn rule_count() -> usize {
    let language = crate::rule::Language::new();
    let files = shipped::files();
    files.iter().filter_map(|file| crate::rule::read_file(&language, file).ok()).map(|(rules, _)| rules.len()).sum()
}

fn configure(
    arguments: &Arguments,
    folder: &Folder,
    points: &[DemoPoint],
    modbus: std::net::SocketAddr,
    webhook: std::net::SocketAddr,
) -> Result<Config, Refusal> {
    let path = folder.0.join("demo.toml");
    let text = CONFIG
        .replace("127.0.0.1:8080", &format!("127.0.0.1:{}", arguments.port))
        .replace("http://127.0.0.1:9/hook", &format!("http://{webhook}/hook"));
    let text = format!("{text}\n{}", table::written(points, modbus));
    let wrote =
        std::fs::write(&path, &text).and_then(|()| std::fs::write(folder.0.join("webhook.secret"), people::SECRET));
    wrote.map_err(|error| Refusal(format!("{}: {error}", path.display())))?;
    let problems = Problems::in_file(path.display().to_string());
    config::parse(&text, &path, problems).map_err(|problems| {
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Refusal(told.join("\n"))
    })
}
