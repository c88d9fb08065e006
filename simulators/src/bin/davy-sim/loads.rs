//! `load`: the generator from the command line.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use davy_simulators::load::{self, Acknowledged, Ended, Report, generation_cost};
use davy_simulators::mqtt::Qos;

use crate::arguments::{Broker, Load};
use crate::{Failed, say, say_json, until_interrupted};

/// Acknowledged messages that are kept for the file, 16 bytes each; more are counted as not listed.
const KEPT: usize = 50_000_000;

pub async fn load(asked: Load) -> Result<(), Failed> {
    let qos = if asked.qos == 0 { Qos::AtMostOnce } else { Qos::AtLeastOnce };
    if asked.dry {
        let messages = asked.messages.unwrap_or(20_000_000);
        let cost = generation_cost(asked.points, messages, qos).as_nanos();
        let text = format!("{cost} ns a message, {messages} messages of {} points made", asked.points);
        return if asked.json { say_json(&serde_json::json!({ "ns_per_message": cost as u64 })) } else { say(&text) };
    }
    let broker = Broker { mqtt: asked.mqtt.unwrap_or_default(), user: asked.user };
    let address = broker.address().await?;
    let topics = load::Load::topics(&asked.site, asked.points);
    let job = load::Load {
        connections: asked.connections,
        qos,
        topics: topics.clone(),
        messages: asked.messages,
        length: asked.span.or(asked.messages.is_none().then_some(Duration::from_secs(10))),
        rate: asked.rate,
        slot: asked.slot,
        window: asked.window,
        keep_acknowledged: if asked.acks.is_some() { KEPT } else { 0 },
        patience: asked.patience,
        login: broker.login(),
        ..load::Load::default()
    };
    let running = job.start(address);
    let stop = running.stopper();
    let mut finish = std::pin::pin!(running.finish());
    let report = tokio::select! {
        report = &mut finish => report?,
        () = until_interrupted() => {
            stop.stop();
            finish.await?
        }
    };
    if let Some(file) = &asked.acks {
        write_acks(file, &topics, &report.acknowledged_list).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    if asked.json {
        say_json(&report)?
    } else {
        say(&in_words(&report))?
    }
    match report.ended {
        Ended::Complete | Ended::Stopped => Ok(()),
        Ended::Broken => Err(format!(
            "{} of {} connections broke: {}",
            report.broken_connections,
            report.connections,
            report.reasons.join("; ")
        )
        .into()),
    }
}

fn write_acks(file: &Path, topics: &[String], list: &[Acknowledged]) -> std::io::Result<()> {
    let mut out = std::io::BufWriter::new(std::fs::File::create(file)?);
    for one in list {
        let topic = topics.get(one.point as usize).map_or("", String::as_str);
        writeln!(out, "{topic},{},{:.2}", one.time_ms, one.value())?;
    }
    out.flush()
}

fn in_words(report: &Report) -> String {
    let acks = match report.qos {
        Qos::AtMostOnce => String::new(),
        Qos::AtLeastOnce => format!(
            ", {} acknowledged, {} not, acknowledged after p50 {} us, p99 {} us, at most {} us",
            report.acknowledged, report.unacknowledged, report.ack_p50_us, report.ack_p99_us, report.ack_max_us
        ),
    };
    format!(
        "{} messages ({} MB) in {:.2} s, {:.0} a second{acks}; time ran {} ms ahead",
        report.sent,
        report.bytes / 1_000_000,
        report.seconds,
        report.messages_per_s,
        report.time_ahead_ms
    )
}
