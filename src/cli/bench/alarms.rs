//! A storm of alarms through the journal, the engine, `facts.db` and a desk, and a P1 that comes when all are full.
//!
//! Every point raises one alarm of priority P4. While the outbox is still full of them P1 are raised, one after the
//! other; then some of the P4 are acknowledged. The recipient takes a message at once, as MQTT subscribers do, so
//! what is measured is Davy.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use clap::Args;
use crossbeam_channel::Receiver;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::super::{Refusal, runtime};
use super::stand::Stand;
use crate::alarm::Priority;
use crate::clock::{self, Stopwatch};
use crate::config::{self, Problems};
use crate::gateway::core::{Core, Options};
use crate::journal::{self, Acknowledge, Entry, Intake, Note, RuleFile};
use crate::ledger::Ledger;
use crate::model::{PointIndex, Sample};
use crate::notify::{self, Means, Outbox};

/// Samples in one entry.
const BATCH: u32 = 500;
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(600);

const RULES: &str = r#"
rule("bench-load", #{ title: "t", advice: "a", watches: #{ place: "T1" }, priority: "P4", level: "blue",
    raise: |p| p.value >= 1.0 });
rule("bench-urgent", #{ title: "t", advice: "a", watches: #{ place: "T2" }, priority: "P1", level: "red",
    raise: |p| p.value >= 1.0 });
"#;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Alarms that are open at once.
    #[arg(long, default_value_t = 100_000)]
    open: u32,
    /// P1 that are measured.
    #[arg(long, default_value_t = 50)]
    urgent: u32,
    /// Alarms that are acknowledged.
    #[arg(long, default_value_t = 1_000)]
    acknowledge: u32,
    #[arg(long)]
    pub json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Value, Refusal> {
    let whole = Stopwatch::start();
    let (stand, runtime) = (Stand::new()?, runtime()?);
    let (core, intake, config) = start(stand.folder(), arguments)?;
    let (told, heard) = crossbeam_channel::bounded(1_024);
    let publish: notify::Publish = Arc::new(move |published: &Arc<_>, _| {
        let change: &crate::board::Published = published;
        if change.change.alarm.priority == Priority::P1 {
            told.try_send(change.change.alarm.subject.clone()).ok();
        }
        Ok(1)
    });
    let channels = notify::channels(&config.notify, &Means::to_send(publish)).map_err(|error| Refusal::of(&error))?;
    let (stop, office) = (CancellationToken::new(), Outbox { facts: core.facts.clone(), intake: intake.clone() });
    let desks = notify::run(channels, office, core.board.clone(), config.notify.patience(), stop.clone());
    let desks = runtime.spawn(desks);

    let raised = raise_all(&core, &intake, arguments.open)?;
    let waiting = core.facts.waiting().map_err(|error| Refusal::of(&error))?;
    let mut ms = (0..arguments.urgent).map(|number| urgent(&intake, arguments.open + number, &heard));
    let mut ms = ms.by_ref().collect::<Result<Vec<f64>, Refusal>>()?;
    ms.sort_by(f64::total_cmp);
    let acknowledged = acknowledge(&core, &intake, arguments.acknowledge)?;
    let open = core.board.open_alarms().len();
    stop.cancel();
    runtime.block_on(desks).map_err(|error| Refusal::of(&error))?;
    drop(intake);
    core.join().map_err(|error| Refusal::of(&error))?;
    let quantile = |q: f64| ms.get(((ms.len() as f64 * q).ceil() as usize).saturating_sub(1)).copied().unwrap_or(0.0);
    Ok(json!({
        "open_alarms": open,
        "transitions_per_s": (f64::from(arguments.open) / raised).round(),
        "acknowledgements_per_s": (f64::from(arguments.acknowledge) / acknowledged).round(),
        "messages_waiting": waiting,
        "p1_through_full_queue_ms": quantile(0.5),
        "p1_through_full_queue_max_ms": quantile(1.0),
        "seconds": whole.elapsed().as_secs_f64(),
    }))
}

fn start(folder: &Path, arguments: &Arguments) -> Result<(Core, Intake, config::Config), Refusal> {
    let mut csv = String::from("id,kind,place,period\n");
    for (site, place, count) in [("load", "T1", arguments.open), ("probe", "T2", arguments.urgent)] {
        (0..count).for_each(|number| csv.push_str(&format!("{site}.p{number:06},methane,{place},1h\n")));
    }
    let path = folder.join("points.csv");
    std::fs::write(&path, csv).map_err(|error| Refusal(format!("{}: {error}", path.display())))?;
    let text =
        "[gateway]\npoints = [\"points.csv\"]\n[web]\naddress = \"127.0.0.1:0\"\n[notify.log]\nenabled = false\n";
    let config = config::parse(text, &folder.join("bench.toml"), Problems::in_file("bench.toml"))
        .map_err(|problems| Refusal(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))?;
    let options = Options {
        journal: journal::Options::at(folder.join("journal.db")),
        points: config.points.iter().map(|point| point.point.clone()).collect(),
        calendar: config.calendar.clone(),
        limits: Vec::new(),
        cases: config.cases.clone(),
        storm: config.storm,
        parents: config.parents(),
        duty: config.duty.clone(),
        recipients: notify::recipients(&config.notify),
        publish: None,
        consumers: Vec::new(),
        snapshot_every: Duration::from_secs(30),
    };
    let rules = vec![RuleFile { path: "bench.rhai".into(), text: RULES.into() }];
    let ledger = Arc::new(Ledger::default());
    let started = Core::start(folder, options, ledger, |_, _| rules).map_err(|error| Refusal::of(&error))?;
    Ok((started.0, started.1, config))
}

/// Seconds until all of them are in facts and on the board.
fn raise_all(core: &Core, intake: &Intake, count: u32) -> Result<f64, Refusal> {
    let watch = Stopwatch::start();
    for from in (0..count).step_by(BATCH as usize) {
        let samples = (from..count.min(from + BATCH)).map(too_high).collect();
        intake.submit_blocking(Entry::Samples(Arc::new(samples))).map_err(|error| Refusal::of(&error))?;
    }
    wait(&watch, || core.facts_numbers.raised.load(Relaxed) >= u64::from(count))?;
    Ok(watch.elapsed().as_secs_f64())
}

fn too_high(number: u32) -> Sample {
    let now = clock::now();
    Sample::received(PointIndex(number), 1.2, Some(now), now)
}

/// Milliseconds from the sample to the recipient.
fn urgent(intake: &Intake, point: u32, heard: &Receiver<Arc<str>>) -> Result<f64, Refusal> {
    let watch = Stopwatch::start();
    let entry = Entry::Samples(Arc::new(vec![too_high(point)]));
    intake.submit_blocking(entry).map_err(|error| Refusal::of(&error))?;
    heard.recv_timeout(PATIENCE).map_err(|_| Refusal("a P1 was not told".into()))?;
    Ok(watch.elapsed().as_secs_f64() * 1e3)
}

/// Seconds until the last one is in facts.
fn acknowledge(core: &Core, intake: &Intake, count: u32) -> Result<f64, Refusal> {
    let open = core.board.open_alarms();
    let before = core.facts_numbers.acknowledged.load(Relaxed);
    let watch = Stopwatch::start();
    let some: Vec<_> = open.iter().take(count as usize).collect();
    for (command, alarm) in (0_u64..).zip(&some) {
        let (occurrence, by) = (alarm.id.clone(), "bench".to_owned());
        let said =
            Acknowledge { command, at: clock::now(), occurrence, raises: 1, by, comment: String::new(), seen: None };
        intake.submit_blocking(Entry::Note(Note::Acknowledge(said))).map_err(|error| Refusal::of(&error))?;
    }
    wait(&watch, || core.facts_numbers.acknowledged.load(Relaxed) >= before + some.len() as u64)?;
    Ok(watch.elapsed().as_secs_f64())
}

fn wait(watch: &Stopwatch, done: impl Fn() -> bool) -> Result<(), Refusal> {
    while !done() {
        if watch.elapsed() > PATIENCE {
            return Err(Refusal("it took longer than ten minutes".into()));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
