//! The InfluxDB v2 sink: every durable sample as a line in a bucket.
//!
//! ```text
//!  journal cursor ─► Sink (batch of 5,000 lines or 1 s) ─► server ─► cursor.passed
//!      ▲                                 │ away, busy: pause 1 s .. 60 s or as long as the server asks
//!      └── nothing is read meanwhile ────┘ refused for good: pause 60 s, read the token again
//! ```
//! In come the journal's entries, out go lines over HTTP. The cursor moves only after the server has
//! stored the lines (or refused them for good, which is counted), so an outage or a restart loses
//! nothing: the journal waits. One thread of its own; a server that is away never holds anybody up. It is
//! an alarm (`davy-influxdb`) when it lasts longer than 10 s or when every line is refused.

pub(crate) mod line;
mod sink;
#[cfg(test)]
mod tests;
mod transport;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::alarm::{Level, Priority};
use crate::clock::{self, Stopwatch};
use crate::config::{Key, Problems};
use crate::journal::{self, Condition, Cursor, Entry, Intake, Note, Seq};
use crate::model::PointTable;
use crate::remote::{self, SecretPlace, Url};
use crate::source::Backoff;

pub use sink::{Counters, Sent, Sink};

/// `[influxdb]` as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    url: String,
    org: String,
    bucket: String,
    token_file: Option<String>,
    token_env: Option<String>,
    /// PEM file of the authority that signed the server's certificate, where it is the site's own.
    ca_file: Option<PathBuf>,
    #[serde(default = "five_thousand")]
    batch_lines: usize,
    #[serde(default = "one_second")]
    batch_wait: String,
    #[serde(default = "ten_seconds")]
    timeout: String,
}

const fn five_thousand() -> usize {
    5_000
}

fn one_second() -> String {
    "1s".into()
}

fn ten_seconds() -> String {
    "10s".into()
}

/// Exists only if it is valid; `check` is the sole constructor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    url: Url,
    org: String,
    bucket: String,
    token: Option<SecretPlace>,
    authority: Option<PathBuf>,
    batch_lines: usize,
    batch_wait: Duration,
    timeout: Duration,
}

impl Raw {
    pub fn check(self, at: &Key, problems: &mut Problems) -> Option<Config> {
        let url = remote::address(problems, at.field("url"), &self.url);
        let mut named = |key: &str, text: String| {
            if text.trim().is_empty() {
                problems.add(at.field(key), "is empty; write the name as it is in InfluxDB");
                return None;
            }
            Some(text)
        };
        let org = named("org", self.org);
        let bucket = named("bucket", self.bucket);
        let token = remote::secret(problems, at, "token", self.token_file, self.token_env);
        let batch_lines = problems.within(at.field("batch_lines"), self.batch_lines, 1..=50_000);
        let span = |ms: u64| Duration::from_millis(ms);
        let batch_wait = problems.duration(at.field("batch_wait"), &self.batch_wait, span(10)..=span(60_000));
        let timeout = problems.duration(at.field("timeout"), &self.timeout, span(100)..=span(300_000));
        let config = Config {
            url: url?,
            org: org?,
            bucket: bucket?,
            token: token?,
            authority: self.ca_file,
            batch_lines: batch_lines?,
            batch_wait: batch_wait?,
            timeout: timeout?,
        };
        match remote::client(&config.url, config.authority.as_deref(), config.timeout) {
            Ok(_) => Some(config),
            Err(error) => {
                problems.add(at.field("ca_file"), remote::chain(&error));
                None
            }
        }
    }
}

/// Follows the journal until `stop`, on the thread that calls it. `points` are the ones in force at the
/// cursor, or newer: they name samples until the cursor comes to a setup.
pub fn follow(
    cursor: Cursor,
    points: Arc<PointTable>,
    mut sink: Sink,
    intake: Intake,
    stop: &CancellationToken,
) -> Result<(), journal::Error> {
    sink.use_points(points);
    drive(&mut sink, &mut JournalSide { cursor, intake }, stop)
}

/// The consumer's two dealings with the journal.
trait Side {
    fn next(&mut self, wait: Duration) -> Result<Vec<(Seq, Entry)>, journal::Error>;
    fn passed(&mut self, seq: Seq);
    fn say(&mut self, condition: Condition) -> Result<(), journal::Error>;
}

struct JournalSide {
    cursor: Cursor,
    intake: Intake,
}

impl Side for JournalSide {
    fn next(&mut self, wait: Duration) -> Result<Vec<(Seq, Entry)>, journal::Error> {
        self.cursor.next(wait)
    }

    fn passed(&mut self, seq: Seq) {
        self.cursor.passed(seq);
    }

    fn say(&mut self, condition: Condition) -> Result<(), journal::Error> {
        self.intake.submit_blocking(Entry::Note(Note::Condition(condition))).map(drop)
    }
}

fn drive(sink: &mut Sink, side: &mut impl Side, stop: &CancellationToken) -> Result<(), journal::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime of one thread needs only a few file handles");
    let batch_wait = sink.config().batch_wait;
    info!(server = %remote::host(&sink.config().url), bucket = %sink.config().bucket, "influxdb sink starts");
    let mut delivery = Delivery { side, runtime, clock: Stopwatch::start(), health: Health::default(), stop };
    let mut since: Option<Duration> = None;
    while !stop.is_cancelled() {
        let waited = since.map_or(Duration::ZERO, |since| delivery.clock.elapsed().saturating_sub(since));
        for (seq, entry) in delivery.side.next(batch_wait.saturating_sub(waited).min(LONGEST_WAIT))? {
            match entry {
                Entry::Samples(samples) => sink.absorb(seq, &samples),
                Entry::Note(Note::Setup(setup)) => {
                    sink.use_points(Arc::new(PointTable::new(setup.points.clone())));
                    sink.absorb(seq, &[]);
                }
                Entry::Tick(_)
                | Entry::Note(
                    Note::Acknowledge(_)
                    | Note::Condition(_)
                    | Note::Receipt(_)
                    | Note::PermitOpened(_)
                    | Note::PermitEnded(_)
                    | Note::SiteSet(_)
                    | Note::Exercise(_)
                    | Note::Rules(_)
                    | Note::Record(_)
                    | Note::Reset(_)
                    | Note::Aside(_)
                    | Note::Case(_)
                    | Note::Duty(_)
                    | Note::Limits(_),
                ) => {
                    sink.absorb(seq, &[]);
                }
            }
        }
        let began = *since.get_or_insert_with(|| delivery.clock.elapsed());
        if sink.full() || delivery.clock.elapsed() >= began + batch_wait {
            since = None;
            delivery.of_all(sink)?;
        }
    }
    Ok(())
}

/// How long the thread may sleep without looking at `stop` or at how long the server has been away.
const LONGEST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A server may ask for a longer pause than ours, but not for a day.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(15 * 60);

struct Delivery<'a, S> {
    side: &'a mut S,
    runtime: tokio::runtime::Runtime,
    clock: Stopwatch,
    health: Health,
    stop: &'a CancellationToken,
}

impl<S: Side> Delivery<'_, S> {
    /// Stays until the server has everything that waits, or until `stop`.
    fn of_all(&mut self, sink: &mut Sink) -> Result<(), journal::Error> {
        let mut backoff = Backoff::between(Duration::from_secs(1), LONGEST_PAUSE);
        loop {
            let asked = sink.waiting() > 0;
            let began = self.clock.elapsed();
            let stop = self.stop;
            let sent = self.runtime.block_on(async {
                tokio::select! {
                    () = stop.cancelled() => None,
                    sent = sink.send() => Some(sent),
                }
            });
            match sent {
                None => return Ok(()),
                Some(Sent::All { seq, stored }) => {
                    if let Some(seq) = seq {
                        self.side.passed(seq);
                    }
                    return match (asked, stored) {
                        (false, _) => Ok(()),
                        (true, true) => self.worked(sink),
                        (true, false) => {
                            self.failed(sink, Failing::ForGood, began, "every line of a batch was refused; see the log")
                        }
                    };
                }
                Some(Sent::Later { retry_after, text }) => {
                    let own = backoff.pause();
                    let pause = retry_after.map_or(own, |asked| asked.min(LONGEST_RETRY_AFTER).max(own));
                    warn!(cause = %text, ?pause, "influxdb is away or busy");
                    self.pause(sink, Failing::ForNow, began, &text, pause)?;
                }
                Some(Sent::Denied { text }) => {
                    warn!(cause = %text, pause = ?LONGEST_PAUSE, "influxdb refuses everything; check address, token, org and bucket");
                    self.pause(sink, Failing::ForGood, began, &text, LONGEST_PAUSE)?;
                    if let Err(error) = sink.reconnect() {
                        warn!(%error, "influxdb: the token cannot be read; the old one stays in use");
                    }
                }
            }
        }
    }

    /// Waits, and raises the alarm in the middle of it when its time has come.
    fn pause(
        &mut self,
        sink: &Sink,
        failing: Failing,
        began: Duration,
        text: &str,
        pause: Duration,
    ) -> Result<(), journal::Error> {
        let end = self.clock.elapsed() + pause;
        while !self.stop.is_cancelled() {
            self.failed(sink, failing, began, text)?;
            let rest = end.saturating_sub(self.clock.elapsed()).min(LONGEST_WAIT);
            if rest.is_zero() {
                break;
            }
            let stop = self.stop;
            if self.runtime.block_on(async { tokio::time::timeout(rest, stop.cancelled()).await }).is_ok() {
                break;
            }
        }
        Ok(())
    }

    fn worked(&mut self, sink: &Sink) -> Result<(), journal::Error> {
        if self.health.worked() { self.side.say(condition(sink.config(), false, "")) } else { Ok(()) }
    }

    fn failed(&mut self, sink: &Sink, failing: Failing, began: Duration, text: &str) -> Result<(), journal::Error> {
        let news = self.health.failed(failing, began, self.clock.elapsed());
        if news { self.side.say(condition(sink.config(), true, text)) } else { Ok(()) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failing {
    ForNow,
    ForGood,
}

/// Whether the alarm that the server is away stands.
#[derive(Debug, Default)]
struct Health {
    /// Beginning of the first try that failed.
    since: Option<Duration>,
    /// None: not known, it may stand from before the restart.
    alarm: Option<bool>,
}

impl Health {
    const PATIENCE: Duration = Duration::from_secs(10);

    /// True when the alarm is to be raised now.
    fn failed(&mut self, failing: Failing, began: Duration, now: Duration) -> bool {
        let since = *self.since.get_or_insert(began);
        let long_enough = failing == Failing::ForGood || now.saturating_sub(since) > Self::PATIENCE;
        long_enough && self.alarm.replace(true) != Some(true)
    }

    /// True when the end of the alarm is to be told now.
    fn worked(&mut self) -> bool {
        self.since = None;
        self.alarm.replace(false) != Some(false)
    }
}

fn condition(config: &Config, holds: bool, detail: &str) -> Condition {
    let subject = format!("{}/{}", remote::host(&config.url), config.bucket);
    Condition {
        at: clock::now(),
        rule: "davy-influxdb".into(),
        holds,
        title: format!("时序数据库不可写 / time-series database takes no data: {subject}"),
        subject,
        advice: "检查数据库服务、网络、令牌与存储桶 / check the database, network, token and bucket".into(),
        priority: Priority::P3,
        level: Level::Blue,
        detail: detail.to_owned(),
    }
}
