//! One connection, from its accept to its end: a single task that owns everything of it.
//!
//! ```text
//!  socket ─► inbox ─► scan ─► Talk ─► Desk ─► journal, durable ─► answers ─► socket
//! ```
//! While samples are on their way to the disk the socket is not read: the device waits, memory does not grow, and
//! no answer can overtake its samples. The inbox never holds more than one frame's limit and one read. Garbage is
//! skipped up to the next start of a frame; too much of it, too many damaged frames, or no good frame in time ends
//! the connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;

use super::Front;
use super::stations::Ask;
use super::talk::{Desk, Talk};
use crate::clock::{self, Stopwatch};
use crate::decode::frames::Scan;
use crate::ledger::Fate;
use crate::model::{Reason, Sample, duration_text};

/// A read asks for so much.
const READ_BYTES: usize = 4 * 1024;
/// Frames with a wrong sum, one after the other, before the connection is closed.
const MOST_DAMAGED: u32 = 20;
/// Orders that wait for one connection.
const ORDERS: usize = 16;

/// How a connection ended; nothing is counted for a device that hung up or a gateway that stops.
#[derive(Debug)]
pub(super) struct End {
    pub fate: Option<Fate>,
    pub what: String,
}

impl End {
    pub fn because(fate: Fate, what: impl Into<String>) -> Self {
        Self { fate: Some(fate), what: what.into() }
    }

    fn quietly(what: &str) -> Self {
        Self { fate: None, what: what.to_owned() }
    }

    fn lost(error: &std::io::Error) -> Self {
        Self::because(Fate::Disconnected, format!("lost: {error}"))
    }
}

pub(super) struct Connection<S> {
    stream: S,
    peer: SocketAddr,
    number: u64,
    front: Arc<Front>,
    talk: Box<dyn Talk>,
    inbox: BytesMut,
    /// Until a known device has sent a good frame.
    waiting: Option<OwnedSemaphorePermit>,
    devices: Vec<String>,
    orders: mpsc::Receiver<Ask>,
    to_orders: mpsc::Sender<Ask>,
    /// Bytes since the last frame that belong to none, and damaged frames in a row.
    garbage: usize,
    damaged: u32,
    started: Stopwatch,
    heard: Stopwatch,
}

enum Event {
    Stop,
    Order(Ask),
    Read(std::io::Result<usize>),
    TooLong,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection<S> {
    pub fn new(
        stream: S,
        peer: SocketAddr,
        number: u64,
        front: Arc<Front>,
        talk: Box<dyn Talk>,
        waiting: OwnedSemaphorePermit,
    ) -> Self {
        let (to_orders, orders) = mpsc::channel(ORDERS);
        let (started, heard) = (Stopwatch::start(), Stopwatch::start());
        let (inbox, devices) = (BytesMut::new(), Vec::new());
        Self {
            stream,
            peer,
            number,
            front,
            talk,
            inbox,
            waiting: Some(waiting),
            devices,
            orders,
            to_orders,
            garbage: 0,
            damaged: 0,
            started,
            heard,
        }
    }

    pub async fn run(mut self) -> End {
        let end = loop {
            if let Err(end) = self.turn().await {
                break end;
            }
        };
        let stopping = self.front.stop.is_cancelled();
        let devices = std::mem::take(&mut self.devices);
        if self.front.config.permanent {
            devices.iter().for_each(|device| self.front.attendance.leaves(device));
        }
        let gone = self.front.stations.stand(self.number, devices);
        if self.front.config.permanent && !stopping {
            mark_lost(&self.front, &gone).await;
        }
        end
    }

    async fn turn(&mut self) -> Result<(), End> {
        self.inbox.reserve(READ_BYTES);
        let patience = self.patience();
        let event = tokio::select! {
            biased;
            () = self.front.stop.cancelled() => Event::Stop,
            Some(ask) = self.orders.recv() => Event::Order(ask),
            read = timeout(patience, self.stream.read_buf(&mut self.inbox)) => read.map_or(Event::TooLong, Event::Read),
        };
        match event {
            Event::Stop => Err(End::quietly("the gateway stops")),
            Event::Order(ask) => {
                let mut out = Vec::new();
                self.talk.order(ask, clock::now(), &mut out);
                self.write(&out).await
            }
            Event::Read(Ok(0)) => self.last_words().await,
            Event::Read(Ok(_)) => self.take_in().await,
            Event::Read(Err(error)) => Err(End::lost(&error)),
            Event::TooLong => self.too_long().await,
        }
    }

    /// How long the next byte may take.
    fn patience(&self) -> Duration {
        let limits = &self.front.config.limits;
        let left = if self.waiting.is_some() {
            limits.first_frame_within.saturating_sub(self.started.elapsed())
        } else {
            limits.silence.saturating_sub(self.heard.elapsed())
        };
        if self.inbox.is_empty() { left } else { left.min(limits.frame_within) }
    }

    async fn too_long(&mut self) -> Result<(), End> {
        let limits = &self.front.config.limits;
        if self.waiting.is_some() && self.started.elapsed() >= limits.first_frame_within {
            let what = format!("no good frame within {}", duration_text(limits.first_frame_within));
            return Err(End::because(Fate::TimedOut, what));
        }
        if self.waiting.is_none() && self.heard.elapsed() >= limits.silence {
            let what = format!("no frame within {}", duration_text(limits.silence));
            return Err(End::because(Fate::KeepAlive, what));
        }
        if !self.inbox.is_empty() {
            // It only looked like the beginning of a frame; a good one may stand behind it.
            self.inbox.advance(1);
            self.skipped(1)?;
            return self.take_in().await;
        }
        Ok(())
    }

    /// Nothing more will come: what waits for its end has none, and a whole frame may stand behind it.
    async fn last_words(&mut self) -> Result<(), End> {
        while !self.inbox.is_empty() {
            self.inbox.advance(1);
            self.skipped(1)?;
            self.take_in().await?;
        }
        Err(End::quietly("closed by the device"))
    }

    fn skipped(&mut self, bytes: usize) -> Result<(), End> {
        if self.garbage == 0 {
            self.front.outlet.account.one(Fate::Malformed);
        }
        self.garbage += bytes;
        let most = self.front.config.limits.garbage_bytes;
        if self.garbage > most {
            // Counted above, when it began.
            return Err(End::quietly(&format!("more than {most} bytes that are no frame")));
        }
        Ok(())
    }

    /// Takes in all frames of the inbox, and answers when their samples are durable.
    async fn take_in(&mut self) -> Result<(), End> {
        let front = self.front.clone();
        let mut desk = Desk::new(&front, clock::now());
        let mut outcome = Ok(());
        while outcome.is_ok() && desk.end.is_none() && !self.inbox.is_empty() {
            match self.talk.scan(&self.inbox) {
                Scan::Wants => break,
                Scan::Garbage(bytes) => {
                    self.inbox.advance(bytes);
                    outcome = self.skipped(bytes);
                }
                Scan::Frame(bytes) => {
                    let frame = self.inbox.split_to(bytes);
                    (self.garbage, self.damaged) = (0, 0);
                    self.talk.frame(&frame, &mut desk);
                }
                Scan::Damaged(bytes) => {
                    let frame = self.inbox.split_to(bytes);
                    front.outlet.account.one(Fate::Malformed);
                    self.damaged += 1;
                    if self.damaged > MOST_DAMAGED {
                        outcome = Err(End::quietly("one damaged frame after the other"));
                    }
                    self.talk.damaged(&frame, &mut desk);
                }
            }
        }
        let Desk { samples, answers, heard, end, received, .. } = desk;
        if !heard.is_empty() {
            self.waiting = None;
            self.heard = Stopwatch::start();
        }
        for device in heard {
            front.attendance.speaks(&device);
            if !self.devices.contains(&device) {
                front.stations.sit(&device, self.number, self.peer, self.to_orders.clone(), received);
                if front.config.permanent {
                    front.attendance.arrives(&device);
                }
                self.devices.push(device);
            }
        }
        deliver(&front, samples).await?;
        self.write(&answers).await?;
        match end {
            Some(end) => Err(end),
            None => outcome,
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), End> {
        if bytes.is_empty() {
            return Ok(());
        }
        match timeout(self.front.config.limits.stall, self.stream.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(End::lost(&error)),
            Err(_) => Err(End::because(Fate::SlowReader, "it took nothing of what was sent to it")),
        }
    }
}

/// Returns when the samples are durable.
async fn deliver(front: &Front, samples: Vec<Sample>) -> Result<(), End> {
    if samples.is_empty() {
        return Ok(());
    }
    let outlet = &front.outlet;
    let count = samples.len();
    let durable = async { outlet.deliver(samples).await?.durable().await };
    if let Err(error) = durable.await {
        outlet.account.add(Fate::Unacknowledged, count as u64);
        return Err(End::because(Fate::Disconnected, format!("not answered: {error}")));
    }
    Ok(())
}

/// The line was to stay up: every point of the devices on it is not good from now on.
async fn mark_lost(front: &Front, devices: &[String]) {
    let now = clock::now();
    let lost = devices.iter().filter_map(|device| front.known.get(device)).flat_map(super::known::Device::all);
    let samples: Vec<Sample> = lost.map(|point| Sample::missing(point, Reason::NotPolled, now)).collect();
    if let Err(end) = deliver(front, samples).await {
        tracing::warn!(name = %front.config.name, reason = %end.what, "a lost line could not be noted");
    }
}
