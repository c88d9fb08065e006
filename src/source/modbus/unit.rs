//! One device: its points, its reads, its schedule, and how it has been lately.
//!
//! In come the answers of a poll; out go one sample for each point, a value or the reason why there is
//! none. A point whose status word was not answered has no value either. Holds no socket and never waits.
//! The source time of a sample is its receive time: a Modbus device has no clock, the answer is the moment
//! of measuring, and that is not worth a flag.

use std::time::Duration;

use super::absence::Health;
use super::address::Frames;
use super::config::{Binding, Device};
use super::line::{Answer, Line, told};
use super::plan::{Packing, Plan, Read, Span};
use super::schedule::{self, Schedule};
use crate::decode::registers::{self, Counter, Field, Pulse, Reading};
use crate::ledger::{Account, Fate};
use crate::model::{PointIndex, Quality, Range, Reason, Sample, Timestamp};

/// A point of the device; numbers are those of the plan's spans.
#[derive(Debug)]
struct Polled {
    point: PointIndex,
    reading: Reading,
    value: usize,
    counter: Option<Counter>,
    status: Vec<(usize, Vec<Field>)>,
    heartbeat: Option<(usize, Pulse)>,
}

/// One read of the plan: this poll's answer, and how the read has been lately.
#[derive(Debug, Default)]
struct Asked {
    done: bool,
    answer: Option<Answer>,
    /// Broke the line or was refused, in a row, while the device answered other reads.
    failures: u32,
    quiet_until: Duration,
    refused: bool,
}

/// How a slot ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// At least one read brought data; `Some` trouble if not all did.
    Answered(Option<String>),
    /// The device answered every read with an exception.
    Refused(String),
    /// Silent, wrong or broken off.
    Failed(String),
    /// No connection: the device itself was not asked.
    Unreachable(String),
    /// Left alone, because it or its connection failed lately.
    Rested,
}

#[derive(Debug)]
pub(super) struct Unit {
    pub device: Device,
    /// Its place among the configured devices.
    pub number: usize,
    pub schedule: Schedule,
    plan: Plan,
    planned: Plan,
    /// One for each read of the plan.
    asked: Vec<Asked>,
    /// The read that a poll begins with.
    first: usize,
    points: Vec<Polled>,
    quiet_until: Duration,
    failures: u32,
    health: Health,
}

impl Unit {
    /// Longest time for which an address that the device refuses is not asked for.
    const REFUSED_REST: Duration = Duration::from_secs(600);

    pub fn new(number: usize, device: Device, points: Vec<(PointIndex, Option<Range>, Binding)>) -> Self {
        let mut spans = Vec::new();
        let mut span = |function, address, count| {
            spans.push(Span { function, address, count });
            spans.len() - 1
        };
        let mut polled = Vec::with_capacity(points.len());
        for (point, range, binding) in points {
            let reading = Reading { range, ..binding.reading };
            let value = span(binding.place.function, binding.place.address, reading.kind.registers());
            let status = (binding.status.into_iter())
                .map(|status| (span(status.place.function, status.place.address, 1), status.fields))
                .collect();
            let heartbeat = binding
                .heartbeat
                .map(|beating| (span(beating.place.function, beating.place.address, 1), Pulse::of(beating.heartbeat)));
            let counter = binding.counter.map(Counter::new);
            polled.push(Polled { point, reading, value, counter, status, heartbeat });
        }
        let plan = Plan::of(spans, Packing { gap: device.gap, most_registers: device.max_registers });
        Self {
            schedule: Schedule::new(schedule::phase(number, device.period), device.period),
            device,
            number,
            asked: fresh(&plan),
            first: 0,
            planned: plan.clone(),
            plan,
            points: polled,
            quiet_until: Duration::ZERO,
            failures: 0,
            health: Health::default(),
        }
    }

    pub const fn point_count(&self) -> usize {
        self.points.len()
    }

    /// Requests that one poll takes.
    pub fn read_count(&self) -> usize {
        self.plan.reads().len()
    }

    /// A new poll: the answers of the last one are gone.
    pub fn begin(&mut self) {
        for asked in &mut self.asked {
            (asked.done, asked.answer) = (false, None);
        }
    }

    /// The next read of this poll and its number.
    pub fn next_read(&self, slot: Duration) -> Option<(usize, Read)> {
        let reads = self.plan.reads();
        (self.first..reads.len())
            .chain(0..self.first.min(reads.len()))
            .find(|at| self.asked.get(*at).is_some_and(|asked| !asked.done && asked.quiet_until <= slot))
            .map(|at| (at, reads[at]))
    }

    pub fn answered(&mut self, at: usize, answer: Answer) {
        self.asked[at] = Asked { done: true, answer: Some(answer), ..Asked::default() };
    }

    /// The device answered the read with an exception. If that was about the address, and the device answers
    /// others, this one is asked for less and less often: it is remembered as one that the device has not.
    pub fn refused(&mut self, at: usize, about_the_address: bool, slot: Duration) {
        let asked = &mut self.asked[at];
        asked.done = true;
        asked.refused = about_the_address;
        if about_the_address {
            asked.failures = asked.failures.saturating_add(1);
            asked.quiet_until = slot + schedule::rest(asked.failures, self.device.period, Self::REFUSED_REST);
        }
    }

    /// The reads that the device refuses while it answers others.
    pub fn refused_reads(&self) -> Vec<String> {
        let refused = self.asked.iter().zip(self.plan.reads()).filter(|(asked, _)| asked.refused);
        refused.map(|(_, read)| told(read)).collect()
    }

    /// Parts a refused read in two, both still to be asked; false when it is a single value.
    pub fn cut(&mut self, at: usize) -> bool {
        let cut = self.plan.cut(at);
        if cut {
            self.asked.insert(at + 1, Asked::default());
        }
        cut
    }

    /// The read broke the line. A device that answers other reads keeps being asked for those, and for this
    /// one less and less often; otherwise the next poll begins with another, so that one address at which
    /// the device falls silent cannot hide all the others.
    pub fn broke(&mut self, at: usize, slot: Duration) {
        let alive = self.any_answer();
        let asked = &mut self.asked[at];
        asked.done = true;
        if alive {
            asked.failures = asked.failures.saturating_add(1);
            asked.quiet_until = slot + schedule::rest(asked.failures, self.device.period, self.device.quarantine);
        } else {
            self.first = (at + 1) % self.asked.len();
        }
    }

    pub fn any_answer(&self) -> bool {
        self.asked.iter().any(|asked| asked.answer.is_some())
    }

    /// Is it to be left alone in this slot?
    pub fn rests(&self, slot: Duration) -> bool {
        slot < self.quiet_until
    }

    /// May a read that failed be tried again? Not for a device that failed before, and only in the first
    /// half of its slot: the neighbours on the line and its own next slot come first.
    pub fn may_retry(&self, retries: u8, slot: Duration, now: Duration) -> bool {
        self.failures == 0 && retries < self.device.retries && now < slot + self.device.period / 2
    }

    /// One sample for each point from the answers of this poll; `elapsed` since the source started.
    pub fn samples(&mut self, account: &Account, now: Timestamp, elapsed: Duration) -> Vec<Sample> {
        let sample = |polled: &mut Polled| {
            polled
                .sample(&self.plan, &self.asked, account, elapsed)
                .unwrap_or_else(|| Sample::missing(polled.point, Reason::NotPolled, now))
        };
        self.points.iter_mut().map(sample).collect()
    }

    /// Takes note of how the slot ended: what the device refused is remembered, and it rests after failures.
    pub fn settle(&mut self, outcome: &Outcome, slot: Duration, now: Duration) {
        match outcome {
            Outcome::Answered(_) => {
                self.failures = 0;
                self.quiet_until = Duration::ZERO;
                if self.planned.reads().len() != self.plan.reads().len() {
                    self.planned.clone_from(&self.plan);
                }
                return self.health.answered(now);
            }
            Outcome::Refused(_) => {
                // Refused whatever was asked, as when it starts up: that says nothing about addresses, and
                // what was known of them stays known.
                if self.planned.reads().len() != self.plan.reads().len() {
                    self.plan.clone_from(&self.planned);
                    self.asked = fresh(&self.plan);
                    self.first = 0;
                }
                // The device rests as a whole; once it answers, all of it is asked.
                self.asked.iter_mut().filter(|asked| asked.refused).for_each(|asked| *asked = Asked::default());
                self.rest_longer(slot);
            }
            Outcome::Failed(_) => {
                self.rest_longer(slot);
                if self.device.address.frames() == Frames::Rtu {
                    // Its answer may still come, and nothing but time tells it from the next one.
                    self.quiet_until = self.quiet_until.max(now + self.device.timeout * Line::OWED);
                }
            }
            // The connection has its own pause.
            Outcome::Unreachable(_) | Outcome::Rested => {}
        }
        self.health.dark(slot, now, !matches!(outcome, Outcome::Rested));
    }

    pub const fn health(&self) -> &Health {
        &self.health
    }

    /// Its bus is back: it is asked in its next slot, however long it was to be left alone.
    pub const fn wake(&mut self) {
        self.quiet_until = Duration::ZERO;
    }

    /// Was it left alone for as long as it ever is?
    pub fn is_quarantined(&self) -> bool {
        let rest = schedule::rest(self.failures, self.device.period, self.device.quarantine);
        self.failures > 1 && rest >= self.device.quarantine
    }

    fn rest_longer(&mut self, slot: Duration) {
        self.failures = self.failures.saturating_add(1);
        self.quiet_until = slot + schedule::rest(self.failures, self.device.period, self.device.quarantine);
    }
}

fn fresh(plan: &Plan) -> Vec<Asked> {
    plan.reads().iter().map(|_| Asked::default()).collect()
}

impl Polled {
    fn sample(&mut self, plan: &Plan, asked: &[Asked], account: &Account, elapsed: Duration) -> Option<Sample> {
        let spots = plan.spots();
        let answer =
            |span: usize| spots.get(span).and_then(|spot| Some((asked.get(spot.read)?.answer.as_ref()?, spot.offset)));
        let word = |span: usize| {
            let (answer, offset) = answer(span)?;
            let mut word = [0];
            answer.copy(offset, &mut word)?;
            Some(word[0])
        };
        // Before the value: a counter takes only a count that becomes a sample.
        let mut status = Quality::GOOD;
        for (span, fields) in &self.status {
            status = Quality::from_bits(status.bits() | registers::status(fields, word(*span)?).bits());
        }
        if let Some((span, pulse)) = &mut self.heartbeat
            && !pulse.beats(word(*span)?, elapsed)
        {
            status = status.and(Reason::SensorFault);
        }
        let (value_answer, offset) = answer(self.value)?;
        let mut words = [0; 4];
        let words = &mut words[..usize::from(self.reading.kind.registers())];
        value_answer.copy(offset, words)?;
        let (value, quality) = self.value(words);
        if !quality.usable() {
            account.lost(self.point, Fate::BadValue, 1);
        }
        let quality = Quality::from_bits(quality.bits() | status.bits());
        let received = value_answer.received;
        Some(Sample { point: self.point, quality, source_time: received, receive_time: received, value })
    }

    /// A counter's first count has nothing to be compared with: it is no value yet.
    fn value(&mut self, words: &[u16]) -> (f64, Quality) {
        let Some(counter) = &mut self.counter else { return self.reading.read(words) };
        match self.reading.number(words).map(|count| counter.increase(count)) {
            Ok(Some(increase)) => self.reading.value(increase),
            Ok(None) => (0.0, Quality::because(Reason::NotPolled)),
            Err(reason) => (0.0, Quality::because(reason)),
        }
    }
}
