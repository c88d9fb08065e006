//! MQTT in, journalled, judged and stored: messages a second, load generator on the same machine.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use clap::Args;
use davy_simulators::load::{Load, Report};
use davy_simulators::mqtt::Qos;
use serde_json::{Value, json};

use super::super::{Refusal, runtime};
use super::stand::Stand;
use crate::clock::Stopwatch;
use crate::gateway::Gateway;
use crate::ledger::Fate;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Points, one topic each.
    #[arg(long, default_value_t = 1_000)]
    points: u32,
    /// Rules that judge every message; 0 shows what the rest costs.
    #[arg(long, default_value_t = 3)]
    rules: usize,
    /// Connections of the QoS 1 run; the QoS 0 run uses at most 4.
    #[arg(long, default_value_t = 100)]
    connections: u32,
    /// How long each run sends.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    #[arg(long)]
    pub json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Value, Refusal> {
    let qos0 = one(arguments, Qos::AtMostOnce, arguments.connections.min(4))?;
    let qos1 = one(arguments, Qos::AtLeastOnce, arguments.connections)?;
    Ok(json!({
        "points": arguments.points,
        "rules": arguments.rules,
        "connections": arguments.connections,
        "qos0_msgs_per_s": qos0.per_s,
        "qos0_messages": qos0.messages,
        "qos1_durable_msgs_per_s": qos1.per_s,
        "qos1_messages": qos1.messages,
        "ack_p50_ms": qos1.report.ack_p50_us as f64 / 1e3,
        "ack_p99_ms": qos1.report.ack_p99_us as f64 / 1e3,
        "ack_max_ms": qos1.report.ack_max_us as f64 / 1e3,
        "journal_bytes_per_sample": (qos0.journal_bytes_per_sample * 10.0).round() / 10.0,
        "lost": qos0.lost + qos1.lost,
        "seconds": arguments.seconds,
    }))
}

struct Run {
    messages: u64,
    /// From the first message until the last one was durable, judged and in the history.
    per_s: f64,
    journal_bytes_per_sample: f64,
    lost: u64,
    report: Report,
}

fn one(arguments: &Arguments, qos: Qos, connections: u32) -> Result<Run, Refusal> {
    let stand = Stand::new()?;
    let runtime = runtime()?;
    let gateway = runtime.block_on(stand.gateway(arguments.points, 0, arguments.rules))?;
    let address = *gateway.mqtt.first().ok_or_else(|| Refusal("no listener".into()))?;
    let load = Load {
        connections: connections.min(arguments.points),
        qos,
        topics: Load::topics("load", arguments.points),
        length: Some(Duration::from_secs_f64(arguments.seconds)),
        ..Load::default()
    };
    let watch = Stopwatch::start();
    let report = std::thread::spawn(move || load.run_blocking(address)).join();
    let report =
        report.map_err(|_| Refusal("the load generator ended badly".into()))?.map_err(|error| Refusal::of(&error))?;
    let ledger = gateway.core.ledger.clone();
    settle(&gateway, report.sent);
    let seconds = watch.elapsed().as_secs_f64();
    let (numbers, history) = (gateway.core.journal.numbers.clone(), gateway.history.clone());
    let (bytes, samples) = (numbers.bytes.load(Relaxed), numbers.samples.load(Relaxed));
    let stop = gateway.stop.clone();
    stop.cancel();
    runtime.block_on(gateway.run()).map_err(|error| Refusal::of(&error))?;
    let stored = history.stored();
    let messages = ledger.total(Fate::Accepted);
    Ok(Run {
        messages,
        per_s: (messages as f64 / seconds).round(),
        journal_bytes_per_sample: bytes as f64 / samples.max(1) as f64,
        lost: report.sent.saturating_sub(stored.samples + stored.duplicates),
        report,
    })
}

/// Waits until everything sent is durable, judged and taken over by the history.
fn settle(gateway: &Gateway, sent: u64) {
    let patience = Stopwatch::start();
    let samples = &gateway.core.journal.numbers.samples;
    while patience.elapsed() < Duration::from_secs(60) {
        let stored = gateway.history.stored();
        let kept = stored.samples + stored.duplicates;
        if samples.load(Relaxed) >= sent && gateway.core.judged() >= gateway.core.tail.last() && kept >= sent {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
