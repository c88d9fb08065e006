//! One bus and the devices on it; one task.
//!
//! ```text
//!  earliest slot ─► rests? ── yes ─► its points are "not polled", nothing is sent
//!                     │ no
//!                  read, read, .. ─► samples, one delivery a poll ─► who is missed?
//! ```
//! An exception is an answer: the next read goes on, unless a gateway says that it cannot reach the device.
//! Any other trouble ends the poll or tries it again, see `Unit::may_retry`; that what was late is not
//! taken for what comes next is `line`'s work. A device that fails rests longer and longer; the others
//! keep their slots.

use std::time::Duration;

use tracing::{info, warn};

use super::absence::{Absence, Subject};
use super::line::{Answer, Line, Manners, Trouble};
use super::plan::Read;
use super::state::{Devices, Link};
use super::unit::{Outcome, Unit};
use crate::clock::{self, Stopwatch};
use crate::journal::{self, Entry, Note};
use crate::ledger::Fate;
use crate::source::{Backoff, Outlet, down};

pub(super) struct Wire {
    line: Line,
    units: Vec<Unit>,
    absence: Absence,
    /// No connecting before.
    quiet_until: Duration,
    /// Since when there is no connection.
    unreachable_since: Option<Duration>,
    backoff: Backoff,
    /// Since the source started: the time of all slots.
    clock: Stopwatch,
    states: Devices,
    outlet: Outlet,
}

impl Wire {
    pub fn new(line: Line, units: Vec<Unit>, clock: Stopwatch, states: Devices, outlet: Outlet) -> Self {
        let backoff = Backoff::between(Duration::from_secs(1), Duration::from_secs(30));
        let (absence, quiet_until) = (Absence::of(units.len()), Duration::ZERO);
        Self { line, units, absence, quiet_until, unreachable_since: None, backoff, clock, states, outlet }
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
        let missed_before = self.units[at].schedule.missed();
        let slot = self.units[at].schedule.take(begun);
        self.outlet.account.add(Fate::MissedPoll, self.units[at].schedule.missed() - missed_before);
        self.units[at].begin();
        let no_line = !self.line.is_open() && begun < self.quiet_until;
        let outcome = if no_line || self.units[at].rests(slot) { Outcome::Rested } else { self.poll(at, slot).await };
        let samples = self.units[at].samples(&self.outlet.account, clock::now(), self.clock.elapsed());
        // Nobody waits for the commit: a device cannot be told to repeat itself.
        drop(self.outlet.deliver(samples).await?);
        self.outlet.account.add(Fate::StrayAnswer, self.line.stray());
        let now = self.clock.elapsed();
        self.units[at].settle(&outcome, slot, now);
        self.show(at, &outcome, slot, begun);
        let health: Vec<_> = self.units.iter().map(Unit::health).collect();
        for (subject, holds) in self.absence.judge(&health, self.unreachable_since, now) {
            if (subject, holds) == (Subject::Bus, false) {
                self.units.iter_mut().for_each(Unit::wake);
            }
            self.report(subject, holds).await?;
        }
        Ok(())
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
                    unit.refused(number, trouble.is_about_the_address(), slot);
                    !trouble.is_about_the_unit()
                }
                Trouble::Unreachable(_) | Trouble::ConnectTimedOut(_) => {
                    self.quiet_until = self.clock.elapsed() + self.backoff.pause();
                    false
                }
                Trouble::NotCalled => false,
                Trouble::TimedOut(..) | Trouble::Wrong(..) | Trouble::Lost(_) => {
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
            Some(Trouble::Unreachable(_) | Trouble::ConnectTimedOut(_) | Trouble::NotCalled) => {
                Outcome::Unreachable(told.unwrap_or_default())
            }
            Some(Trouble::TimedOut(..) | Trouble::Wrong(..) | Trouble::Lost(_)) => {
                Outcome::Failed(told.unwrap_or_default())
            }
        }
    }

    async fn ask(&mut self, at: usize, read: Read) -> Result<Answer, Trouble> {
        let device = &self.units[at].device;
        let manners = Manners { timeout: device.timeout, pause: device.pause };
        let result = self.line.ask(device.unit, read, manners).await;
        match &result {
            Err(Trouble::Unreachable(_) | Trouble::ConnectTimedOut(_) | Trouble::NotCalled) => {
                self.unreachable_since.get_or_insert(self.clock.elapsed());
            }
            Err(Trouble::TimedOut(..) | Trouble::Refused(..) | Trouble::Wrong(..) | Trouble::Lost(_)) | Ok(_) => {
                self.unreachable_since = None;
                self.backoff.reset();
            }
        }
        result
    }

    fn show(&self, at: usize, outcome: &Outcome, slot: Duration, begun: Duration) {
        let unit = &self.units[at];
        let now = clock::now();
        let poll_ms = (self.clock.elapsed().saturating_sub(begun)).as_secs_f64() * 1e3;
        let late_ms = begun.saturating_sub(slot).as_secs_f64() * 1e3;
        let ill = if unit.is_quarantined() { Link::Quarantined } else { Link::BackingOff };
        let (link, trouble) = match outcome {
            Outcome::Answered(trouble) => (Link::Connected, trouble.as_ref()),
            Outcome::Refused(trouble) | Outcome::Failed(trouble) | Outcome::Unreachable(trouble) => {
                (ill, Some(trouble))
            }
            Outcome::Rested => (ill, None),
        };
        self.states.change(unit.number, |state| {
            if state.link != link {
                let device = &unit.device.name;
                match trouble {
                    Some(trouble) if link != Link::Connected => warn!(%device, %trouble, "device failed"),
                    Some(_) | None => info!(%device, ?link, "device changed"),
                }
                (state.link, state.since) = (link, now);
            }
            state.reads = unit.read_count();
            state.missed = unit.schedule.missed();
            state.refused = unit.refused_reads();
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

    async fn report(&mut self, subject: Subject, holds: bool) -> Result<(), journal::Error> {
        let address = self.line.address();
        let trouble = |unit: &Unit| self.states.last_error(unit.number).unwrap_or_default();
        let (name, detail) = match subject {
            Subject::Unit(at) => {
                let unit = &self.units[at];
                (unit.device.name.clone(), format!("{address} unit {}: {}", unit.device.unit, trouble(unit)))
            }
            Subject::Bus => {
                let names: Vec<_> = self.units.iter().map(|unit| unit.device.name.as_str()).collect();
                let last = self.units.iter().max_by_key(|unit| unit.health().last_asked()).map(trouble);
                let behind = format!("{} devices: {}", names.len(), names.join(", "));
                (address.to_string(), format!("{behind}; {}", last.unwrap_or_default()))
            }
        };
        let detail = if holds { detail } else { String::new() };
        let condition = down(&format!("modbus.{name}"), holds, &detail);
        // The alarm waits for room in the queue rather than being lost.
        self.outlet.intake.submit(Entry::Note(Note::Condition(condition))).await.map(drop)
    }
}
