//! From a sample at the socket to its alarm at a subscriber's socket, under background load.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use davy_simulators::load::Load;
use davy_simulators::mqtt::Qos;
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, NetworkOptions, Packet, QoS};
use serde_json::{Value, json};

use super::super::{Refusal, runtime};
use super::stand::Stand;
use crate::clock::{self, Stopwatch};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Messages a second beside the alarms, QoS 0.
    #[arg(long, default_value_t = 100_000)]
    background: u64,
    /// Alarms that are raised and measured.
    #[arg(long, default_value_t = 500)]
    alarms: u32,
    /// Alarms a second.
    #[arg(long, default_value_t = 50)]
    rate: u32,
    /// Points of the background.
    #[arg(long, default_value_t = 1_000)]
    points: u32,
    /// Rules that judge every message.
    #[arg(long, default_value_t = 1)]
    rules: usize,
    #[arg(long)]
    pub json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Value, Refusal> {
    let stand = Stand::new()?;
    let runtime = runtime()?;
    let gateway = runtime.block_on(stand.gateway(arguments.points, arguments.alarms, arguments.rules.max(1)))?;
    let address = *gateway.mqtt.first().ok_or_else(|| Refusal("no listener".into()))?;
    let length = Duration::from_secs_f64(f64::from(arguments.alarms) / f64::from(arguments.rate.max(1)) + 2.0);
    let load = (arguments.background > 0).then(|| {
        let load = Load {
            connections: 4,
            qos: Qos::AtMostOnce,
            topics: Load::topics("load", arguments.points),
            length: Some(length),
            rate: Some(arguments.background),
            ..Load::default()
        };
        std::thread::spawn(move || load.run_blocking(address))
    });
    // The probes have a thread of their own, so that what is measured is the gateway.
    let probes = (arguments.alarms, arguments.rate.max(1));
    let measured = std::thread::spawn(move || -> Result<Vec<f64>, Refusal> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(|error| Refusal::of(&error))?.block_on(probe(address, probes))
    });
    let mut ms = measured.join().map_err(|_| Refusal("the probes ended badly".into()))??;
    let sent = match load.map(std::thread::JoinHandle::join) {
        Some(Ok(Ok(report))) => report.messages_per_s.round(),
        Some(_) => return Err(Refusal("the load generator ended badly".into())),
        None => 0.0,
    };
    let slowest_commit = gateway.core.journal.numbers.slowest_commit_us.load(std::sync::atomic::Ordering::Relaxed);
    let stop = gateway.stop.clone();
    stop.cancel();
    runtime.block_on(gateway.run()).map_err(|error| Refusal::of(&error))?;
    ms.sort_by(f64::total_cmp);
    let quantile = |q: f64| ms.get(((ms.len() as f64 * q).ceil() as usize).saturating_sub(1)).copied().unwrap_or(0.0);
    Ok(json!({
        "background_per_s": sent,
        "alarms": arguments.alarms,
        "measured": ms.len(),
        "rules": arguments.rules.max(1),
        "p50_ms": quantile(0.5),
        "p99_ms": quantile(0.99),
        "max_ms": quantile(1.0),
        "slowest_commit_ms": slowest_commit as f64 / 1e3,
        "seconds": length.as_secs_f64(),
    }))
}

/// Raises one alarm after the other and waits for each at the subscriber.
async fn probe(address: SocketAddr, (alarms, rate): (u32, u32)) -> Result<Vec<f64>, Refusal> {
    let connect = |name: &str| {
        let mut options = MqttOptions::new(name, address.ip().to_string(), address.port());
        options.set_keep_alive(Duration::from_secs(30));
        let (client, mut events) = AsyncClient::new(options, 1_000);
        // Without it the kernel holds back a small message until the one before is confirmed.
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        events.set_network_options(network);
        (client, events)
    };
    let (subscriber, mut heard) = connect("davy-bench-subscriber");
    subscriber.subscribe("davy/v1/probe/alarm/+", QoS::AtLeastOnce).await.map_err(|error| Refusal::of(&error))?;
    wait_for(&mut heard, |packet| matches!(packet, Packet::SubAck(_))).await?;
    let (sensor, mut sending) = connect("davy-bench-probe");
    wait_for(&mut sending, |packet| matches!(packet, Packet::ConnAck(_))).await?;
    tokio::spawn(async move { while sending.poll().await.is_ok() {} });
    let (mut begun, mut ms) = (HashMap::new(), Vec::new());
    let mut pace = tokio::time::interval(Duration::from_secs(1) / rate);
    let patience = Stopwatch::start();
    let most = Duration::from_secs(u64::from(alarms / rate) + 30);
    let mut next = 0;
    while ms.len() < alarms as usize && patience.elapsed() < most {
        tokio::select! {
            _ = pace.tick(), if next < alarms => {
                let payload = format!("{{\"value\":1.2,\"time\":{}}}", clock::now().micros() / 1_000);
                begun.insert(format!("probe.p{next:06}"), Stopwatch::start());
                sensor.publish(format!("probe/p{next:06}"), QoS::AtMostOnce, false, payload).await.map_err(|error| Refusal::of(&error))?;
                next += 1;
            }
            event = heard.poll() => {
                if let Event::Incoming(Packet::Publish(message)) = event.map_err(|error| Refusal::of(&error))?
                    && let Some(since) = subject(&message.payload).and_then(|subject| begun.remove(&subject))
                {
                    ms.push(since.elapsed().as_secs_f64() * 1e3);
                }
            }
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
    }
    Ok(ms)
}

fn subject(payload: &[u8]) -> Option<String> {
    let message: Value = serde_json::from_slice(payload).ok()?;
    Some(message["alarm"]["subject"].as_str()?.to_owned())
}

async fn wait_for(events: &mut EventLoop, wanted: impl Fn(&Packet) -> bool) -> Result<(), Refusal> {
    loop {
        match events.poll().await.map_err(|error| Refusal::of(&error))? {
            Event::Incoming(packet) if wanted(&packet) => return Ok(()),
            Event::Incoming(_) | Event::Outgoing(_) => {}
        }
    }
}
