//! One connection of a load: writes as the socket, the window and the rate allow, reads acknowledgements in
//! the same task, so that neither waits for the other.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use super::template::{Templates, value_of};
use super::{Acknowledged, Histogram, LoadError, Progress};
use crate::clock::{Stopwatch, now_ms};
use crate::mqtt::{Login, Qos};

/// Messages made at once: about 40 kB, so that a write is worth its system call.
const BATCH: u64 = 512;
/// Without a rate, how often the clock is looked at while the socket says nothing.
const LOOK: Duration = Duration::from_millis(50);

/// What one connection is to do.
pub(super) struct Plan {
    pub(super) templates: Templates,
    /// Numbers of its points in the whole load; same order as the templates.
    pub(super) points: Vec<u32>,
    pub(super) qos: Qos,
    pub(super) messages: u64,
    pub(super) length: Option<Duration>,
    pub(super) rate: Option<f64>,
    pub(super) slot: Duration,
    pub(super) window: u16,
    pub(super) values: RangeInclusive<u16>,
    pub(super) keep: usize,
    pub(super) patience: Duration,
}

pub(super) enum LineEnd {
    Complete,
    Broken(String),
}

pub(super) struct LineReport {
    pub(super) end: LineEnd,
    pub(super) ended_after: Duration,
    pub(super) sent: u64,
    pub(super) bytes: u64,
    pub(super) acknowledged: u64,
    pub(super) unacknowledged: u64,
    pub(super) unexpected_acks: u64,
    pub(super) behind: u64,
    pub(super) time_ahead_ms: u64,
    pub(super) latency: Histogram,
    pub(super) list: Vec<Acknowledged>,
}

/// A message in flight, kept under its packet id.
#[derive(Clone, Copy)]
struct Flight {
    what: Acknowledged,
    left_us: u64,
}

pub(super) struct Line {
    plan: Plan,
    stream: TcpStream,
    watch: Stopwatch,
    progress: Arc<Progress>,
    out: Vec<u8>,
    written: usize,
    /// Messages in `out`.
    in_out: u64,
    arrived: BytesMut,
    flights: Vec<Option<Flight>>,
    free: VecDeque<u16>,
    made: u64,
    next_point: usize,
    /// Time of the present round over the points: each round is at least a millisecond after the last.
    round_ms: u64,
    goodbye: Goodbye,
    last_progress: Duration,
    report: LineReport,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Goodbye {
    NotYet,
    /// QoS 0: the server is asked for an answer, which it gives only after reading all that came before.
    Asked,
    Answered,
}

impl Line {
    pub(super) fn new(plan: Plan, stream: TcpStream, watch: Stopwatch, progress: Arc<Progress>) -> Self {
        let window = if plan.qos == Qos::AtLeastOnce { plan.window } else { 0 };
        Self {
            stream,
            watch,
            progress,
            out: Vec::with_capacity(64 * 1_024),
            written: 0,
            in_out: 0,
            arrived: BytesMut::with_capacity(16 * 1_024),
            flights: vec![None; usize::from(window)],
            free: (1..=window).collect(),
            made: 0,
            next_point: 0,
            round_ms: 0,
            goodbye: Goodbye::NotYet,
            last_progress: watch.elapsed(),
            report: LineReport {
                end: LineEnd::Complete,
                ended_after: Duration::ZERO,
                sent: 0,
                bytes: 0,
                acknowledged: 0,
                unacknowledged: 0,
                unexpected_acks: 0,
                behind: 0,
                time_ahead_ms: 0,
                latency: Histogram::default(),
                list: Vec::with_capacity(plan.keep.min(1_000_000)),
            },
            plan,
        }
    }

    pub(super) async fn run(mut self, mut stopped: watch::Receiver<bool>) -> LineReport {
        if let Err(reason) = self.converse(&mut stopped).await {
            self.report.end = LineEnd::Broken(reason);
        }
        self.report.ended_after = self.watch.elapsed();
        self.report.unacknowledged = self.flights.iter().flatten().count() as u64;
        let Self { mut stream, mut report, .. } = self;
        // A goodbye that the server does not take changes nothing; a short one is enough.
        if matches!(report.end, LineEnd::Complete) && stream.write_all(&[0xE0, 0]).await.is_err() {
            report.end = LineEnd::Broken("the server closed before the goodbye".to_owned());
        }
        report
    }

    async fn converse(&mut self, stopped: &mut watch::Receiver<bool>) -> Result<(), String> {
        let mut look: Interval = interval(if self.plan.rate.is_some() { self.plan.slot } else { LOOK });
        look.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let now = self.watch.elapsed();
            // Nobody left to stop it means that nobody waits for it either.
            let ending = *stopped.borrow() || stopped.has_changed().is_err() || self.over(now);
            if self.out.is_empty() && !ending {
                self.make(now);
            }
            if ending && self.out.is_empty() && self.said_goodbye() {
                self.count_behind(now);
                return Ok(());
            }
            if now.saturating_sub(self.last_progress) > self.plan.patience && self.waiting() {
                return Err(format!("no progress for {:?} with {} in flight", self.plan.patience, self.in_flight()));
            }
            let interest =
                if self.out.is_empty() { Interest::READABLE } else { Interest::READABLE | Interest::WRITABLE };
            let ready = tokio::select! {
                ready = self.stream.ready(interest) => Some(ready.map_err(|error| lost(&error))?),
                _ = look.tick() => None,
                _ = stopped.changed(), if !ending => None,
            };
            let Some(ready) = ready else { continue };
            if ready.is_readable() {
                self.read()?;
            }
            if ready.is_writable() && !self.out.is_empty() {
                self.write()?;
            }
        }
    }

    fn over(&self, now: Duration) -> bool {
        self.made >= self.plan.messages || self.plan.length.is_some_and(|length| now >= length)
    }

    fn in_flight(&self) -> usize {
        self.flights.len() - self.free.len()
    }

    /// Is the server to do something? If not, an idle connection is no stalled one.
    fn waiting(&self) -> bool {
        !self.out.is_empty() || self.in_flight() > 0 || self.goodbye == Goodbye::Asked
    }

    /// True when everything sent is known to have been read; asks for it in QoS 0.
    fn said_goodbye(&mut self) -> bool {
        match (self.plan.qos, self.goodbye) {
            (Qos::AtLeastOnce, _) => self.in_flight() == 0,
            (Qos::AtMostOnce, Goodbye::NotYet) => {
                self.out.extend_from_slice(&[0xC0, 0]);
                self.goodbye = Goodbye::Asked;
                self.last_progress = self.watch.elapsed();
                false
            }
            (Qos::AtMostOnce, Goodbye::Asked) => false,
            (Qos::AtMostOnce, Goodbye::Answered) => true,
        }
    }

    fn due(&self, now: Duration) -> u64 {
        self.plan.rate.map_or(u64::MAX, |rate| {
            let until = self.plan.length.map_or(now, |length| now.min(length));
            (until.as_secs_f64() * rate) as u64
        })
    }

    /// What the rate asked for and the server or the machine did not take; a run stopped by its number of
    /// messages owes nothing.
    fn count_behind(&mut self, now: Duration) {
        if self.plan.rate.is_some() {
            self.report.behind = self.due(now).min(self.plan.messages).saturating_sub(self.made);
        }
    }

    /// Makes the next messages, as many as rate, window and quota allow.
    fn make(&mut self, now: Duration) {
        let mut count = BATCH.min(self.plan.messages - self.made).min(self.due(now).saturating_sub(self.made));
        if self.plan.qos == Qos::AtLeastOnce {
            count = count.min(self.free.len() as u64);
        }
        if count == 0 {
            return;
        }
        if !self.waiting() {
            // The patience begins with the question.
            self.last_progress = now;
        }
        let (clock_ms, left_us) = (now_ms(), u64::try_from(now.as_micros()).unwrap_or(u64::MAX));
        for _ in 0..count {
            if self.next_point == 0 {
                self.round_ms = clock_ms.max(self.round_ms + 1);
                self.report.time_ahead_ms = self.report.time_ahead_ms.max(self.round_ms - clock_ms);
            }
            let point = self.plan.points[self.next_point];
            let hundredths = value_of(u64::from(point), self.round_ms, &self.plan.values);
            let id = if self.plan.qos == Qos::AtLeastOnce { self.free.pop_front().unwrap_or(0) } else { 0 };
            if let Some(flight) = id.checked_sub(1).and_then(|place| self.flights.get_mut(usize::from(place))) {
                *flight = Some(Flight { what: Acknowledged { point, hundredths, time_ms: self.round_ms }, left_us });
            }
            self.plan.templates.write(self.next_point, hundredths, self.round_ms, id, &mut self.out);
            self.next_point = (self.next_point + 1) % self.plan.points.len();
        }
        self.made += count;
        self.in_out = count;
    }

    fn write(&mut self) -> Result<(), String> {
        match self.stream.try_write(&self.out[self.written..]) {
            Ok(0) => return Err("the server takes no more bytes".to_owned()),
            Ok(taken) => {
                self.written += taken;
                self.report.bytes += taken as u64;
                self.last_progress = self.watch.elapsed();
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(lost(&error)),
        }
        if self.written == self.out.len() {
            self.report.sent += self.in_out;
            self.progress.sent.fetch_add(self.in_out, Ordering::AcqRel);
            self.in_out = 0;
            self.written = 0;
            self.out.clear();
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), String> {
        self.arrived.reserve(4 * 1_024);
        match self.stream.try_read_buf(&mut self.arrived) {
            Ok(0) => return Err("the server closed the connection".to_owned()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(lost(&error)),
        }
        let now_us = self.watch.micros();
        self.last_progress = self.watch.elapsed();
        let before = self.report.acknowledged;
        while let [kind, length, ..] = self.arrived[..] {
            let whole = 2 + usize::from(length);
            if length >= 128 {
                return Err(format!("the server sent a packet of type {} that is no answer", kind >> 4));
            }
            if self.arrived.len() < whole {
                break;
            }
            match (kind >> 4, length) {
                (4, 2) => {
                    let id = u16::from_be_bytes([self.arrived[2], self.arrived[3]]);
                    self.acknowledge(id, now_us);
                }
                (13, 0) => self.goodbye = Goodbye::Answered,
                (other, _) => return Err(format!("the server sent a packet of type {other} that is no answer")),
            }
            self.arrived.advance(whole);
        }
        self.progress.acknowledged.fetch_add(self.report.acknowledged - before, Ordering::AcqRel);
        Ok(())
    }

    fn acknowledge(&mut self, id: u16, now_us: u64) {
        let flight = id.checked_sub(1).and_then(|place| self.flights.get_mut(usize::from(place)));
        let Some(flight) = flight.and_then(Option::take) else {
            self.report.unexpected_acks += 1;
            return;
        };
        self.free.push_back(id);
        self.report.acknowledged += 1;
        self.report.latency.record(now_us.saturating_sub(flight.left_us));
        if self.report.list.len() < self.plan.keep {
            self.report.list.push(flight.what);
        }
    }
}

fn lost(error: &io::Error) -> String {
    format!("connection lost: {error}")
}

/// Opens a connection and waits until the server has accepted it.
pub(super) async fn connect(
    address: SocketAddr,
    client: String,
    login: Option<Login>,
    patience: Duration,
) -> Result<TcpStream, LoadError> {
    let failed = |source| LoadError::Connect { address, source };
    let hello = hello(&client, login.as_ref());
    let mut answer = [0_u8; 4];
    let shaken = timeout(patience, async {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        stream.write_all(&hello).await?;
        stream.read_exact(&mut answer).await?;
        Ok(stream)
    });
    let stream = match shaken.await {
        Ok(stream) => stream.map_err(failed)?,
        Err(_) => return Err(failed(io::Error::new(io::ErrorKind::TimedOut, "no answer to CONNECT"))),
    };
    match answer {
        [0x20, 2, _, 0] => Ok(stream),
        [0x20, 2, _, code] => Err(LoadError::Refused {
            address,
            code,
            meaning: match code {
                1 => "protocol version",
                2 => "client id",
                3 => "server unavailable",
                4 => "user or password",
                5 => "not authorized",
                _ => "unknown",
            },
        }),
        _ => Err(failed(io::Error::new(io::ErrorKind::InvalidData, "the answer to CONNECT is not MQTT 3.1.1"))),
    }
}

/// CONNECT with a clean session and no keep-alive.
fn hello(client: &str, login: Option<&Login>) -> Vec<u8> {
    let mut body = b"\x00\x04MQTT\x04".to_vec();
    body.push(if login.is_some() { 0xC2 } else { 0x02 });
    body.extend_from_slice(&[0, 0]);
    let texts = [Some(client), login.map(|login| login.user.as_str()), login.map(|login| login.password.as_str())];
    for text in texts.into_iter().flatten() {
        body.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
        body.extend_from_slice(&text.as_bytes()[..text.len().min(usize::from(u16::MAX))]);
    }
    let mut packet = vec![0x10];
    let mut remaining = body.len();
    while remaining >= 128 {
        packet.push((remaining % 128) as u8 | 0x80);
        remaining /= 128;
    }
    packet.push(remaining as u8);
    packet.append(&mut body);
    packet
}
