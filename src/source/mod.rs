//! The field side: everything that reads sensors and hands samples to the journal.
//!
//! One file or folder a kind. A source connects, delivers and fails; it never retries: coming back is
//! the supervisor's job, so that every kind backs off, is counted and is reported in the same way.
//! In come bytes from the field; out go samples with honest quality through an [`Outlet`].

mod attendance;
mod broker;
pub mod frames;
pub mod http;
pub mod modbus;
pub mod mqtt_client;
pub mod mqtt_listener;
pub mod sparkplug;

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::alarm::{Level, Priority};
use crate::clock;
use crate::decode::Loss;
use crate::journal::{self, Commit, Condition, Entry, Intake, Note};
use crate::ledger::{Account, Fate};
use crate::model::Sample;

/// Where a source puts what it read, and where it counts what it could not use.
#[derive(Clone, Debug)]
pub struct Outlet {
    pub intake: Intake,
    pub account: Arc<Account>,
}

impl Outlet {
    /// Hands samples to the journal; waits while its queue is full. The commit resolves when they are durable.
    pub async fn deliver(&self, samples: Vec<Sample>) -> Result<Commit, journal::Error> {
        self.account.add(Fate::Accepted, samples.len() as u64);
        self.intake.submit(Entry::Samples(Arc::new(samples))).await
    }
}

/// Says in the log what a message lost: where, and what stood there.
pub(crate) fn tell_losses(account: &Account, topic: &[u8], losses: &[Loss]) {
    for Loss { place, fate, about } in losses {
        let topic = String::from_utf8_lossy(topic);
        warn!(source = %account.name, ?topic, place, reason = fate.word(), ?about, "a part of a message was not used");
    }
}

/// Why a source stopped. The supervisor prints the chain once.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Failure {
    /// Names the broker or device and says what happened.
    pub what: String,
}

impl Failure {
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into() }
    }
}

/// One connection to the field. `run` connects and delivers until the connection fails; it never retries
/// and never swallows.
pub trait Source: Send + 'static {
    /// `connected` is to be called once the peer has answered: it ends the source's down-alarm and
    /// resets the pause before the next try.
    fn run(
        &mut self,
        out: &Outlet,
        connected: &(dyn Fn() + Send + Sync),
    ) -> impl Future<Output = Result<Infallible, Failure>> + Send;
}

/// Pause before a source is tried again: doubles from 1 s to 60 s.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    next: Duration,
    first: Duration,
    longest: Duration,
}

impl Backoff {
    #[must_use]
    pub const fn between(first: Duration, longest: Duration) -> Self {
        Self { next: first, first, longest }
    }

    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (self.next * 2).min(self.longest);
        pause
    }

    pub const fn reset(&mut self) {
        self.next = self.first;
    }
}

const UNREPORTED: i8 = -1;
const UP: i8 = 0;
const DOWN: i8 = 1;

/// Runs a source for ever. A source that stays away is an alarm of its own (`davy-source-down`).
pub async fn supervise(name: String, mut source: impl Source, out: Outlet, stop: CancellationToken) {
    let mut backoff = Backoff::between(Duration::from_secs(1), Duration::from_secs(60));
    // What was last reported; at first nothing, since an alarm may still be open from before a restart.
    let reported = Arc::new(std::sync::atomic::AtomicI8::new(UNREPORTED));
    loop {
        let came_up = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let connected = {
            let (out, name, reported, came_up) = (out.clone(), name.clone(), reported.clone(), came_up.clone());
            move || {
                use std::sync::atomic::Ordering::Relaxed;
                came_up.store(true, Relaxed);
                info!(source = %name, "source connected");
                if reported.swap(UP, Relaxed) != UP {
                    report(&out, &name, false, "");
                }
            }
        };
        let cause = tokio::select! {
            () = stop.cancelled() => return,
            Err(cause) = source.run(&out, &connected) => cause,
        };
        if came_up.load(std::sync::atomic::Ordering::Relaxed) {
            backoff.reset();
        }
        out.account.one(Fate::Disconnected);
        if reported.swap(DOWN, std::sync::atomic::Ordering::Relaxed) != DOWN {
            report(&out, &name, true, &cause.what);
        }
        let pause = backoff.pause();
        warn!(source = %name, %cause, ?pause, "source stopped");
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// The alarm that a source is away, beginning or ending.
pub(crate) fn down(name: &str, holds: bool, detail: &str) -> Condition {
    Condition {
        at: clock::now(),
        rule: crate::engine::DOWN.into(),
        subject: name.to_owned(),
        holds,
        title: format!("数据源断开 / source down: {name}"),
        advice: "检查网络、电源与对端服务 / check network, power and the peer".into(),
        priority: Priority::P2,
        level: Level::Yellow,
        detail: detail.to_owned(),
    }
}

/// Raises or ends the alarm that a source is away. It waits for room in the journal's queue on its own, so
/// that the source goes on.
fn report(out: &Outlet, name: &str, holds: bool, detail: &str) {
    let condition = down(name, holds, detail);
    let intake = out.intake.clone();
    tokio::spawn(async move {
        // The journal closes only when the gateway stops; the state is told anew at the next start.
        intake.submit(Entry::Note(Note::Condition(condition))).await.ok();
    });
}
