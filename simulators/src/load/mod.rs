//! A bounded load of MQTT 3.1.1 messages, made by hand so that making them costs next to nothing.
//!
//! In: how many connections, points, messages or seconds, at which rate and QoS. Out: a report of what was
//! sent, what was acknowledged (on request message by message, to be compared with what a server stored
//! after a kill -9), and how long acknowledgements took. Promised: every message is real JSON with a value
//! and a time of its own (no point gets the same time twice); never more than the window is in flight on a
//! connection; it ends, in messages, in seconds or because the server is gone, and then says so.
//! It never reconnects: what a dead server had acknowledged until then is the result.

mod histogram;
mod line;
mod template;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

pub use histogram::Histogram;
pub use template::Templates;

use crate::clock::Stopwatch;
use crate::mqtt::{Login, Qos};
use line::{Line, LineEnd, LineReport, Plan, connect};

/// Connections being opened at the same time; a listener's backlog is short.
const OPENING: usize = 64;
/// Different reasons of broken connections that a report names.
const REASONS: usize = 8;

/// What to send.
#[derive(Clone, Debug)]
pub struct Load {
    pub connections: u32,
    pub qos: Qos,
    /// One per point; the points are dealt out to the connections like cards.
    pub topics: Vec<String>,
    /// Ends after that many messages in all, if given.
    pub messages: Option<u64>,
    /// Ends after that time, if given. One of the two must be.
    pub length: Option<Duration>,
    /// Messages a second in all; as fast as it goes without.
    pub rate: Option<u64>,
    /// Messages leave in bunches this far apart when there is a rate.
    pub slot: Duration,
    /// QoS 1: messages in flight on a connection.
    pub window: u16,
    /// Hundredths; every value lies in it and has two decimals.
    pub values: RangeInclusive<u16>,
    /// Acknowledged messages to be listed one by one; more are counted only.
    pub keep_acknowledged: usize,
    /// Without any progress for that long a connection is given up.
    pub patience: Duration,
    pub login: Option<Login>,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            connections: 1,
            qos: Qos::AtLeastOnce,
            topics: Self::topics("load", 1_000),
            messages: None,
            length: None,
            rate: None,
            slot: Duration::from_millis(1),
            window: 1_000,
            values: 20..=80,
            keep_acknowledged: 0,
            patience: Duration::from_secs(10),
            login: None,
        }
    }
}

#[derive(Debug, Error)]
pub enum LoadError {
    #[error("the load cannot be made: {0}")]
    Unsound(String),
    #[error("mqtt server {address}: {source}")]
    Connect { address: SocketAddr, source: io::Error },
    #[error("mqtt server {address} refused the connection with code {code} ({meaning})")]
    Refused { address: SocketAddr, code: u8, meaning: &'static str },
    #[error("no runtime for the load: {0}")]
    Runtime(io::Error),
}

/// A message that the server acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Acknowledged {
    /// Place of its topic in [`Load::topics`].
    pub point: u32,
    /// The value in hundredths.
    pub hundredths: u16,
    pub time_ms: u64,
}

impl Acknowledged {
    #[must_use]
    pub fn value(&self) -> f64 {
        f64::from(self.hundredths) / 100.0
    }
}

/// How a load ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// All messages are out, or the time was up, and everything in flight was confirmed.
    Complete,
    /// Somebody stopped it.
    Stopped,
    /// At least one connection broke or stalled; `reasons` says how.
    Broken,
}

/// What a load did.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub ended: Ended,
    /// Why connections broke; different ones once each, at most eight.
    pub reasons: Vec<String>,
    pub broken_connections: u32,
    pub connections: u32,
    pub points: usize,
    pub qos: Qos,
    /// From the first message to the last confirmation.
    pub seconds: f64,
    /// Written to the sockets.
    pub sent: u64,
    pub bytes: u64,
    /// Confirmed one by one (QoS 1).
    pub acknowledged: u64,
    /// QoS 1: sent, but without an answer when the connection ended.
    pub unacknowledged: u64,
    /// Answers to messages that were not in flight: a fault of the server.
    pub unexpected_acks: u64,
    /// Acknowledged (QoS 1) or sent and read by the server (QoS 0) a second.
    pub messages_per_s: f64,
    /// Messages that a given rate asked for and that did not leave in time.
    pub behind: u64,
    pub ack_p50_us: u64,
    pub ack_p99_us: u64,
    pub ack_max_us: u64,
    /// How far the messages' time ran ahead of the clock, because no point gets a millisecond twice.
    pub time_ahead_ms: u64,
    #[serde(skip)]
    pub acknowledged_list: Vec<Acknowledged>,
    /// Acknowledged, but not listed because the list was full.
    pub acknowledged_not_listed: u64,
}

/// Counts of a load while it runs, shared by its connections.
#[derive(Debug, Default)]
pub struct Progress {
    sent: AtomicU64,
    acknowledged: AtomicU64,
}

impl Progress {
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Acquire)
    }
}

/// Stops a load from elsewhere.
#[derive(Clone, Debug)]
pub struct Stopper(watch::Sender<bool>);

impl Stopper {
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

/// A load under way.
pub struct RunningLoad {
    progress: Arc<Progress>,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<Report, LoadError>>,
}

impl RunningLoad {
    #[must_use]
    pub fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }

    /// Ends it early: nothing more is sent, what is in flight may still be confirmed.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Lets somebody else stop it while this one waits in [`finish`](Self::finish).
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(self.stop.clone())
    }

    /// # Errors
    /// When no connection could be made.
    pub async fn finish(self) -> Result<Report, LoadError> {
        match self.task.await {
            Ok(result) => result,
            Err(error) => Err(LoadError::Runtime(io::Error::other(error))),
        }
    }
}

impl Load {
    /// Topics `{site}/p000000`, `{site}/p000001`, ... of numbered points.
    #[must_use]
    pub fn topics(site: &str, points: u32) -> Vec<String> {
        (0..points).map(|point| format!("{site}/p{point:06}")).collect()
    }

    fn check(&self) -> Result<(), LoadError> {
        let points = self.topics.len();
        let unsound = |text: String| Err(LoadError::Unsound(text));
        if self.messages.is_none() && self.length.is_none() {
            return unsound("it has no end, give a number of messages or a time".to_owned());
        }
        if points == 0 || u32::try_from(points).is_err() {
            return unsound(format!("{points} points, expected 1..=4294967295"));
        }
        if !(1..=10_000).contains(&self.connections) || self.connections as usize > points {
            let most = points.min(10_000);
            return unsound(format!("{} connections for {points} points, expected 1..={most}", self.connections));
        }
        if let Some(topic) = self.topics.iter().find(|topic| topic.is_empty() || topic.len() > 200) {
            return unsound(format!("topic {topic:?} has {} bytes, expected 1..=200", topic.len()));
        }
        if self.window == 0 {
            return unsound("a window of 0 sends nothing, expected 1..=65535".to_owned());
        }
        if self.values.is_empty() || *self.values.end() > 999 {
            return unsound(format!("values {:?} hundredths, expected a range within 0..=999", self.values));
        }
        if self.rate == Some(0) || self.slot < Duration::from_millis(1) {
            return unsound("a rate needs at least one message a second and slots of at least 1 ms".to_owned());
        }
        Ok(())
    }

    /// Starts it on the current runtime; returns at once.
    #[must_use]
    pub fn start(self, address: SocketAddr) -> RunningLoad {
        let progress = Arc::new(Progress::default());
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(self.drive(address, progress.clone(), stopped));
        RunningLoad { progress, stop, task }
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// When it is not sound or a connection cannot be made at the beginning. A server that dies later is
    /// not an error but a report that says so.
    pub async fn run(self, address: SocketAddr) -> Result<Report, LoadError> {
        self.start(address).finish().await
    }

    /// Runs it to its end on this thread, with a runtime of its own: for a benchmark that does not want the
    /// generator among its own tasks.
    ///
    /// # Errors
    /// As [`run`](Self::run). Must not be called from async code.
    pub fn run_blocking(self, address: SocketAddr) -> Result<Report, LoadError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(LoadError::Runtime)?;
        runtime.block_on(self.run(address))
    }

    async fn drive(
        self,
        address: SocketAddr,
        progress: Arc<Progress>,
        stopped: watch::Receiver<bool>,
    ) -> Result<Report, LoadError> {
        self.check()?;
        let streams = self.open(address).await?;
        let watch = Stopwatch::start();
        let connections = u64::from(self.connections);
        let mut lines = JoinSet::new();
        for (number, stream) in (0_u64..).zip(streams) {
            let share = |total: u64| total / connections + u64::from(number < total % connections);
            let points: Vec<u32> =
                (0_u32..).take(self.topics.len()).skip(number as usize).step_by(connections as usize).collect();
            let plan = Plan {
                templates: Templates::new(points.iter().map(|point| self.topics[*point as usize].as_str()), self.qos),
                points,
                qos: self.qos,
                messages: self.messages.map_or(u64::MAX, share),
                length: self.length,
                // Shares of a small rate would round to nothing: the exact share is kept as a fraction.
                rate: self.rate.map(|rate| rate as f64 / connections as f64),
                slot: self.slot,
                window: self.window,
                values: self.values.clone(),
                keep: self.keep_acknowledged.div_ceil(self.connections as usize),
                patience: self.patience,
            };
            lines.spawn(Line::new(plan, stream, watch, progress.clone()).run(stopped.clone()));
        }
        let mut reports = Vec::new();
        while let Some(joined) = lines.join_next().await {
            reports.push(joined.map_err(|error| LoadError::Runtime(io::Error::other(error)))?);
        }
        Ok(self.total(reports, *stopped.borrow()))
    }

    /// All connections, each accepted by the server, before the first message.
    async fn open(&self, address: SocketAddr) -> Result<Vec<tokio::net::TcpStream>, LoadError> {
        let mut opening = JoinSet::new();
        let mut streams = Vec::with_capacity(self.connections as usize);
        for number in 0..self.connections {
            if opening.len() >= OPENING {
                streams.extend(opened(&mut opening).await?);
            }
            let client = format!("davy-load-{}-{number}", std::process::id());
            opening.spawn(connect(address, client, self.login.clone(), self.patience));
        }
        while let Some(stream) = opened(&mut opening).await? {
            streams.push(stream);
        }
        Ok(streams)
    }

    fn total(&self, lines: Vec<LineReport>, stopped: bool) -> Report {
        let mut latency = Histogram::default();
        let mut reasons = BTreeSet::new();
        let mut report = Report {
            ended: if stopped { Ended::Stopped } else { Ended::Complete },
            reasons: Vec::new(),
            broken_connections: 0,
            connections: self.connections,
            points: self.topics.len(),
            qos: self.qos,
            seconds: 0.0,
            sent: 0,
            bytes: 0,
            acknowledged: 0,
            unacknowledged: 0,
            unexpected_acks: 0,
            messages_per_s: 0.0,
            behind: 0,
            ack_p50_us: 0,
            ack_p99_us: 0,
            ack_max_us: 0,
            time_ahead_ms: 0,
            acknowledged_list: Vec::new(),
            acknowledged_not_listed: 0,
        };
        for line in lines {
            report.seconds = report.seconds.max(line.ended_after.as_secs_f64());
            report.sent += line.sent;
            report.bytes += line.bytes;
            report.acknowledged += line.acknowledged;
            report.unacknowledged += line.unacknowledged;
            report.unexpected_acks += line.unexpected_acks;
            report.behind += line.behind;
            report.time_ahead_ms = report.time_ahead_ms.max(line.time_ahead_ms);
            report.acknowledged_not_listed += line.acknowledged - line.list.len() as u64;
            report.acknowledged_list.extend(line.list);
            latency.merge(&line.latency);
            if let LineEnd::Broken(reason) = line.end {
                report.ended = Ended::Broken;
                report.broken_connections += 1;
                if reasons.len() < REASONS {
                    reasons.insert(reason);
                }
            }
        }
        let counted = match self.qos {
            Qos::AtMostOnce => report.sent,
            Qos::AtLeastOnce => report.acknowledged,
        };
        report.messages_per_s = counted as f64 / report.seconds.max(1e-6);
        (report.ack_p50_us, report.ack_p99_us, report.ack_max_us) =
            (latency.quantile(0.5), latency.quantile(0.99), latency.max());
        report.reasons = reasons.into_iter().collect();
        report
    }
}

async fn opened(
    opening: &mut JoinSet<Result<tokio::net::TcpStream, LoadError>>,
) -> Result<Option<tokio::net::TcpStream>, LoadError> {
    match opening.join_next().await {
        None => Ok(None),
        Some(joined) => joined.map_err(|error| LoadError::Runtime(io::Error::other(error)))?.map(Some),
    }
}

/// What one message costs to make on this machine, with nothing sent anywhere.
#[must_use]
pub fn generation_cost(points: u32, messages: u64, qos: Qos) -> Duration {
    let topics = Load::topics("load", points.max(1));
    let templates = Templates::new(topics.iter().map(String::as_str), qos);
    let mut out = Vec::with_capacity(128 * 512);
    let start = Stopwatch::start();
    let mut made = 0_u64;
    while made < messages {
        if made.is_multiple_of(512) {
            std::hint::black_box(&out);
            out.clear();
        }
        let point = made % u64::from(points.max(1));
        let time = 1_790_000_000_000 + made / u64::from(points.max(1));
        let hundredths = template::value_of(point, time, &(20..=80));
        templates.write(point as usize, hundredths, time, (made % 1_000) as u16 + 1, &mut out);
        made += 1;
    }
    std::hint::black_box(&out);
    start.elapsed() / u32::try_from(messages.max(1)).unwrap_or(u32::MAX)
}
