//! The desk of one recipient: looks into the outbox, sends what its queue says, writes the receipts.
//!
//! Woken by an alarm change, by the end of a delivery, by a message that becomes due, and every few
//! seconds for whatever was missed. Everything that is decided is decided in `queue`. Exercises have a queue and a cap
//! of their own, which sends only while nothing real waits: a drill uses up nobody's places, and is never told in the
//! same message as what is real.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::queue::{Budget, Patience, Queue, Sending, Verdict};
use super::{Channel, Failure, Message, Office, Pace, Recipient};
use crate::alarm::{Level, Priority};
use crate::board::Published;
use crate::clock::{self, Stopwatch};
use crate::facts::Lane;
use crate::journal::{self, Condition, Note, Outcome, Rang, Receipt};
use crate::model::Timestamp;

pub struct Desk<O> {
    recipient: Recipient,
    channel: Arc<dyn Channel>,
    office: O,
    queue: Queue,
    exercises: Queue,
    cap: Option<Budget>,
    /// Exercises take nothing from what a person may get about what is real.
    cap_of_exercises: Option<Budget>,
    /// When the desk was opened, by both clocks: the queue's time grows evenly from there, so that a wall
    /// clock that is set back delays no message.
    opened: (Timestamp, Stopwatch),
    /// There were more rows than were taken.
    more: bool,
    under_way: JoinSet<Tried>,
}

/// The rows that were in a message, whether it was a summary, and what became of it.
struct Tried {
    lane: Lane,
    rows: Vec<i64>,
    summary: bool,
    /// Whose call it was.
    call: Option<Rang>,
    result: Result<String, Failure>,
}

/// The outbox is looked into at least this often.
const POLL: Duration = Duration::from_secs(5);
/// This often while a long outbox is worked off.
const POLL_LONG: Duration = Duration::from_millis(100);
/// And at most this often, when alarms come in a storm.
const GAP: Duration = Duration::from_millis(1);
/// Messages that one summary stands for; a storm that is longer than that fills several.
const SUMMED_UP: usize = 50_000;

impl<O: Office> Desk<O> {
    /// `cap`: what whoever the recipient belongs to is to get at most.
    pub fn new(
        recipient: Recipient,
        channel: Arc<dyn Channel>,
        office: O,
        patience: Patience,
        cap: Option<Budget>,
    ) -> Self {
        let queue = Queue::new(patience, channel.pace(), cap.clone());
        let cap_of_exercises = cap.as_ref().map(Budget::apart);
        let exercises = Queue::new(patience, channel.pace().map(Pace::of_exercises), cap_of_exercises.clone());
        Self {
            recipient,
            channel,
            office,
            queue,
            exercises,
            cap_of_exercises,
            cap,
            opened: (clock::now(), Stopwatch::start()),
            more: false,
            under_way: JoinSet::new(),
        }
    }

    fn now(&self) -> Timestamp {
        self.opened.0 + self.opened.1.elapsed()
    }

    /// Until `stop`, or until the journal is closed. A delivery under way is dropped: its row is still in
    /// the outbox.
    pub async fn run(
        mut self,
        changes: broadcast::Receiver<Arc<Published>>,
        calls: watch::Receiver<()>,
        stop: CancellationToken,
    ) {
        tokio::select! {
            () = stop.cancelled() => {}
            Err(error) = self.work(changes, calls) => {
                warn!(recipient = %self.recipient.name, %error, "notification ends");
            }
        }
    }

    async fn work(
        &mut self,
        mut changes: broadcast::Receiver<Arc<Published>>,
        mut calls: watch::Receiver<()>,
    ) -> Result<(), journal::Error> {
        self.recall().await;
        let mut looked = Stopwatch::start();
        let mut look = true;
        loop {
            if look {
                changes = changes.resubscribe();
                looked = Stopwatch::start();
                self.look().await?;
                look = false;
            }
            let now = self.now();
            while let Some(sending) = self.queue.start(now) {
                self.send(Lane::Real, sending).await;
            }
            while self.queue.open() == 0
                && let Some(sending) = self.exercises.start(now)
            {
                self.queue.counts(now);
                self.send(Lane::Exercise, sending).await;
            }
            let poll = if self.more && self.queue.open() == 0 { POLL_LONG } else { POLL };
            let poll = poll.saturating_sub(looked.elapsed());
            let exercise = if self.queue.open() == 0 { self.exercises.wake(self.now()) } else { None };
            let due = self.queue.wake(self.now()).into_iter().chain(exercise).min().unwrap_or(POLL);
            tokio::select! {
                // A change, or that some were missed: both mean that there is something to look for.
                _ = changes.recv() => {
                    // Not even a sleep of no length: it would last until the timer's next millisecond.
                    if looked.elapsed() < GAP {
                        tokio::time::sleep(GAP).await;
                    }
                    look = true;
                }
                Ok(()) = calls.changed() => look = true,
                Some(ended) = self.under_way.join_next() => {
                    let tried = ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
                    self.ended(&tried).await?;
                }
                () = tokio::time::sleep(due.min(poll)) => look = due >= poll,
            }
        }
    }

    /// What the recipient was told before a restart counts.
    async fn recall(&mut self) {
        for (lane, cap) in [(Lane::Real, &self.cap), (Lane::Exercise, &self.cap_of_exercises)] {
            let Some(cap) = cap else { continue };
            let (office, to, since) = (self.office.clone(), self.recipient.clone(), clock::now() - cap.per());
            let asked = tokio::task::spawn_blocking(move || office.reached(lane, &to.channel, &to.name, since)).await;
            match asked.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())) {
                Ok(told) => cap.recall(told),
                Err(error) => warn!(recipient = %self.recipient.name, %error, "what was told before cannot be read"),
            }
        }
    }

    const fn lane(&mut self, lane: Lane) -> &mut Queue {
        match lane {
            Lane::Real => &mut self.queue,
            Lane::Exercise => &mut self.exercises,
        }
    }

    /// Into a summary goes all that the outbox holds; what cannot be read now is in the next one.
    async fn send(&mut self, lane: Lane, sending: Sending) {
        let mut along = Vec::new();
        if sending.summary {
            let (office, to) = (self.office.clone(), self.recipient.clone());
            let asked = tokio::task::spawn_blocking(move || office.waiting(lane, &to.channel, &to.name, SUMMED_UP));
            let asked = asked.await;
            match asked.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())) {
                Ok(waiting) => along = self.lane(lane).join(waiting),
                Err(error) => warn!(recipient = %self.recipient.name, %error, "the outbox cannot be read"),
            }
        }
        let channel = self.channel.clone();
        self.under_way.spawn(async move {
            let Sending { rows, summary } = sending;
            let ids = rows.iter().map(|row| row.id).collect();
            let call = rows.first().and_then(|row| row.why.as_ref()).and_then(Rang::of);
            let message = if summary { Message::summary(&rows, &along) } else { Message::together(&rows) };
            Tried { lane, rows: ids, summary, call, result: channel.deliver(&message).await }
        });
    }

    async fn look(&mut self) -> Result<(), journal::Error> {
        let (office, to) = (self.office.clone(), self.recipient.clone());
        let (known, drilled) = (self.queue.known(), self.exercises.known());
        let asked = tokio::task::spawn_blocking(move || {
            let rows = |lane, known| office.pending((lane, &to.channel, &to.name), Queue::MOST, known);
            Ok((rows(Lane::Real, &known)?, rows(Lane::Exercise, &drilled)?))
        });
        let asked: Result<_, crate::facts::Error> =
            asked.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        match asked {
            Ok((real, exercises)) => {
                self.more = real.places.len() >= Queue::MOST || exercises.places.len() >= Queue::MOST;
                let now = self.now();
                let again = self.queue.offered(real, now).into_iter().chain(self.exercises.offered(exercises, now));
                for (id, verdict) in again.collect::<Vec<_>>() {
                    self.write(id, verdict, None).await?;
                }
            }
            Err(error) => {
                warn!(recipient = %self.recipient.name, %error, "the outbox cannot be read; it is tried again")
            }
        }
        Ok(())
    }

    /// One line in the log when a channel is shut or opened, and for a message that is lost; attempts are in facts.
    async fn ended(&mut self, tried: &Tried) -> Result<(), journal::Error> {
        let Tried { lane, rows: ids, summary, call, result } = tried;
        let rang = call.as_ref().filter(|_| result.as_ref().is_err_and(|failure| failure.unanswered));
        let (shut, now) = (self.queue.is_shut(), self.now());
        let verdicts = self.lane(*lane).finished(ids, *summary, result, now);
        let (channel, recipient) = (&self.recipient.channel, &self.recipient.name);
        match result {
            Err(failure) if !shut && self.queue.is_shut() => {
                warn!(channel, %recipient, %failure, "channel shut: messages wait, one is tried now and then");
            }
            Ok(_) if shut => info!(channel, %recipient, waiting = self.queue.open(), "channel open again"),
            Ok(_) | Err(_) => {}
        }
        for (id, verdict) in verdicts {
            let detail = &verdict.detail;
            match verdict.outcome {
                Outcome::Delivered => debug!(channel, %recipient, message = id, %detail, "notification delivered"),
                Outcome::Failed => debug!(channel, %recipient, message = id, %detail, "notification failed"),
                Outcome::GivenUp => warn!(channel, %recipient, message = id, %detail, "notification given up"),
            }
            // Whether somebody can be reached is told by what matters.
            if let Some(holds) = verdict.alarm.filter(|_| *lane == Lane::Real) {
                self.office.note(Note::Condition(self.failing(holds, &verdict.detail))).await?;
            }
            if let Some(told) = &verdict.lost {
                warn!(channel, %recipient, message = id, %told, "a message does not arrive");
                // News that stands until somebody has seen it.
                for holds in [true, false] {
                    self.office.note(Note::Condition(self.refused(holds, told))).await?;
                }
            }
            self.write(id, verdict, rang).await?;
        }
        Ok(())
    }

    async fn write(&self, message: i64, verdict: Verdict, rang: Option<&Rang>) -> Result<(), journal::Error> {
        let Verdict { outcome, detail, also, .. } = verdict;
        self.office
            .note(Note::Receipt(Receipt { at: clock::now(), message, outcome, detail, also, rang: rang.cloned() }))
            .await
    }

    fn refused(&self, holds: bool, told: &str) -> Condition {
        let subject = format!("{} {}", self.recipient.channel, self.recipient.name);
        Condition {
            at: clock::now(),
            rule: "davy-notify-refused".into(),
            holds,
            title: format!("报警通知被拒收 / an alarm message was refused: {subject}"),
            subject,
            advice:
                "立即改用电话通知，检查接收人的号码、地址与模板 / call by telephone now; check the recipient's number, \
                     address and template"
                    .into(),
            priority: Priority::P2,
            level: Level::Orange,
            detail: told.to_owned(),
        }
    }

    fn failing(&self, holds: bool, detail: &str) -> Condition {
        let subject = format!("{} {}", self.recipient.channel, self.recipient.name);
        Condition {
            at: clock::now(),
            rule: "davy-notify-failing".into(),
            holds,
            title: format!("报警通知送不到 / alarm messages do not arrive: {subject}"),
            subject,
            advice: "改用电话通知，检查接收端与网络 / call by telephone; check the receiver and the network".into(),
            priority: Priority::P2,
            level: Level::Yellow,
            detail: if holds { detail.to_owned() } else { String::new() },
        }
    }
}
