//! One connection and the devices behind it; one task.
//!
//! ```text
//!  earliest slot ─► rests? ── yes ─► its points are "not polled", nothing is sent
//!                     │ no
//!                  connect if need be ─► read, read, .. ─► samples, one delivery a poll
//! ```
//! An exception is an answer: the next read goes on. Any other trouble drops the connection at once and
//! ends the poll (or tries it again on a new one, see `Unit::may_retry`), so that what was late cannot be
//! taken for what comes next. A device that fails rests longer and longer; the others keep their slots.

use std::time::Duration;

use tracing::{info, warn};

use super::config::Address;
use super::line::{Answer, Line, Trouble};
use super::plan::Read;
use super::state::{Devices, Link};
use super::unit::{News, Outcome, Unit};
use crate::clock::{self, Stopwatch};
use crate::journal::{self, Entry, Note};
use crate::source::{Backoff, Outlet, down};

pub(super) struct Wire {
    address: Address,
    units: Vec<Unit>,
    line: Option<Line>,
    /// No connecting before.
    quiet_until: Duration,
    backoff: Backoff,
    /// Since the source started: the time of all slots.
    clock: Stopwatch,
    states: Devices,
    outlet: Outlet,
}

impl Wire {
    pub fn new(address: Address, units: Vec<Unit>, clock: Stopwatch, states: Devices, outlet: Outlet) -> Self {
        let backoff = Backoff::between(Duration::from_secs(1), Duration::from_secs(30));
        Self { address, units, line: None, quiet_until: Duration::ZERO, backoff, clock, states, outlet }
    }

    /// Polls until the journal closes.
    pub async fn run(mut self) -> journal::Error {
        loop {
            let due = |unit: &Unit| unit.schedule.due();
            let (at, due) = (self.units.iter().map(due).enumerate().min_by_key(|(_, due)| *due))
                .expect("a wire is made for at least one device");
            let wait = due.saturating_sub(self.clock.elapsed());
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            if let Err(error) = self.serve(at).await {
                return error;
            }
        }
    }

    async fn serve(&mut self, at: usize) -> Result<(), journal::Error> {
        let begun = self.clock.elapsed();
        let slot = self.units[at].schedule.take(begun);
        self.units[at].begin();
        let no_line = self.line.is_none() && begun < self.quiet_until;
        let outcome = if no_line || self.units[at].rests(slot) { Outcome::Rested } else { self.poll(at, slot).await };
        let samples = self.units[at].samples(&self.outlet.account, clock::now(), self.clock.elapsed());
        // Nobody waits for the commit: a device cannot be told to repeat itself.
        drop(self.outlet.deliver(samples).await?);
        let news = self.units[at].settle(&outcome, slot, self.clock.elapsed());
        self.show(at, &outcome, slot, begun);
        match news {
            Some(news) => self.report(at, news, &outcome).await,
            None => Ok(()),
        }
    }

    /// All reads of the device, as far as the line carries.
    async fn poll(&mut self, at: usize, slot: Duration) -> Outcome {
        let (mut retries, mut broken) = (0, 0);
        let mut seen: Option<Trouble> = None;
        while let Some((number, read)) = self.units[at].next_read(slot) {
            let trouble = match self.ask(at, read).await {
                Ok(answer) => {
                    self.units[at].answered(number, answer);
                    continue;
                }
                Err(trouble) => trouble,
            };
            let unit = &mut self.units[at];
            if trouble.is_about_the_address() && unit.cut(number) {
                info!(device = %unit.device.name, %trouble, "device refuses addresses together, reading them apart");
                continue;
            }
            self.outlet.account.one(trouble.fate());
            let on = match &trouble {
                Trouble::Refused(..) => {
                    unit.refused(number);
                    true
                }
                Trouble::Unreachable(_) | Trouble::ConnectTimedOut(_) => {
                    self.quiet_until = self.clock.elapsed() + self.backoff.pause();
                    false
                }
                Trouble::TimedOut(..) | Trouble::Wrong(..) | Trouble::Lost(_) => {
                    self.line = None;
                    if unit.may_retry(retries, slot, self.clock.elapsed()) {
                        retries += 1;
                        true
                    } else {
                        broken += 1;
                        unit.broke(number, slot);
                        broken == 1 && unit.any_answer()
                    }
                }
            };
            seen = Some(trouble);
            if !on {
                break;
            }
        }
        let told = seen.as_ref().map(ToString::to_string);
        match seen {
            seen if self.units[at].any_answer() => Outcome::Answered(seen.and(told)),
            None => Outcome::Rested,
            Some(Trouble::Refused(..)) => Outcome::Refused(told.unwrap_or_default()),
            Some(Trouble::Unreachable(_) | Trouble::ConnectTimedOut(_)) => {
                Outcome::Unreachable(told.unwrap_or_default())
            }
            Some(Trouble::TimedOut(..) | Trouble::Wrong(..) | Trouble::Lost(_)) => {
                Outcome::Failed(told.unwrap_or_default())
            }
        }
    }

    async fn ask(&mut self, at: usize, read: Read) -> Result<Answer, Trouble> {
        let device = &self.units[at].device;
        let line = match &mut self.line {
            Some(line) => line,
            none @ None => {
                let line = Line::open(&self.address, device.timeout).await?;
                self.backoff.reset();
                none.insert(line)
            }
        };
        line.rest(device.pause).await;
        line.ask(device.unit, read, device.timeout).await
    }

    fn show(&self, at: usize, outcome: &Outcome, slot: Duration, begun: Duration) {
        let unit = &self.units[at];
        let now = clock::now();
        let poll_ms = (self.clock.elapsed().saturating_sub(begun)).as_secs_f64() * 1e3;
        let late_ms = begun.saturating_sub(slot).as_secs_f64() * 1e3;
        let (link, trouble) = match outcome {
            Outcome::Answered(trouble) => (Link::Connected, trouble.as_ref()),
            Outcome::Refused(trouble) | Outcome::Failed(trouble) | Outcome::Unreachable(trouble) => {
                (Link::BackingOff, Some(trouble))
            }
            Outcome::Rested => (Link::BackingOff, None),
        };
        self.states.change(unit.number, |state| {
            if state.link != link {
                let device = &unit.device.name;
                match trouble {
                    Some(trouble) if link == Link::BackingOff => warn!(%device, %trouble, "device failed"),
                    Some(_) | None => info!(%device, ?link, "device changed"),
                }
                (state.link, state.since) = (link, now);
            }
            state.reads = unit.read_count();
            state.missed = unit.schedule.missed();
            state.latest_start_ms = state.latest_start_ms.max(late_ms);
            if matches!(outcome, Outcome::Rested) {
                state.rested += 1;
                return;
            }
            state.polls += 1;
            state.poll_ms = poll_ms;
            if link == Link::Connected {
                state.last_answer = Some(now);
            }
            if let Some(trouble) = trouble {
                state.failed += 1;
                state.last_error = Some(trouble.clone());
            }
        });
    }

    async fn report(&mut self, at: usize, news: News, outcome: &Outcome) -> Result<(), journal::Error> {
        let device = &self.units[at].device;
        let detail = match outcome {
            Outcome::Refused(trouble) | Outcome::Failed(trouble) | Outcome::Unreachable(trouble) => trouble.clone(),
            Outcome::Answered(_) => String::new(),
            Outcome::Rested => self.states.last_error(self.units[at].number).unwrap_or_default(),
        };
        let detail =
            if news == News::Away { format!("{} unit {}: {detail}", device.address, device.unit) } else { detail };
        let condition = down(&format!("modbus.{}", device.name), news == News::Away, &detail);
        // The alarm waits for room in the queue rather than being lost.
        self.outlet.intake.submit(Entry::Note(Note::Condition(condition))).await.map(drop)
    }
}
