//! One client, from its CONNACK to its end: a single task that owns everything of the connection.
//!
//! ```text
//!  socket ─► inbox ─► Ingest ─► chunk ─► journal          one chunk a read, one in hand at a time
//!  socket ◄─ out ◄─┬─ PUBACKs, when a chunk is durable
//!                  └─ alarms and values, for subscribers
//! ```
//! Promised: a PUBACK leaves only when its sample is durable; publishes are handed over in the order they
//! came; whatever was handed over is finished before the task ends. When the journal is busy, the window
//! of unacknowledged publishes full, or the client does not take its answers, the socket is not read: the
//! client waits, and memory does not grow. Nothing that one client does reaches another.

use std::future::{pending, poll_fn};
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::acks::{AckQueue, Durable, Unacknowledged};
use super::config::Limits;
use super::end::End;
use super::frame::{Breach, Frame, Version, acknowledged_id, kind};
use super::greet::{Hello, Will};
use super::ingest::{Ingest, Pause};
use super::listening::{Listening, not_allowed, plain};
use super::outgoing::{put_disconnect, put_pingresp, put_suback, put_unsuback, read_subscribe, read_unsubscribe};
use super::subscriber::Mailbox;
use super::values::ValueFeed;
use super::{Front, Submission};
use crate::clock::{self, Stopwatch};
use crate::journal;
use crate::ledger::Fate;
use crate::model::Sample;

/// A read asks for this much at first, and for four times as much whenever it got all it asked for.
const READ_FIRST: usize = 4 * 1024;
const READ_MOST: usize = 128 * 1024;
/// With so many bytes of answers waiting, a client is not read from.
const OUT_MOST: usize = 256 * 1024;
/// How long a connection that ends may take to finish what it began.
const GRACE: Duration = Duration::from_secs(5);
/// How long the last words may take.
const FAREWELL: Duration = Duration::from_secs(1);

pub(super) struct Connection<R, W> {
    reader: R,
    writer: W,
    /// TLS keeps written bytes back until it is flushed.
    flushes: bool,
    unflushed: bool,
    inbox: BytesMut,
    read_bytes: usize,
    /// Reads in a row that the first size would have been enough for.
    small_reads: u8,
    out: BytesMut,
    front: Arc<Front>,
    hello: Hello,
    ingest: Ingest,
    acks: AckQueue,
    submission: Option<Submission>,
    /// Samples in it.
    submitted: usize,
    /// The inbox holds a publish that the full window or the client's pace keeps out.
    kept_out: bool,
    /// It was said that the client is too fast.
    told_pace: bool,
    listening: Option<Listening>,
    end: Option<End>,
    silence: Duration,
    heard: Stopwatch,
    written: u64,
    written_then: u64,
    progress: Stopwatch,
}

enum Event {
    Kicked,
    Durable(Result<(), Unacknowledged>),
    Submitted(Result<Durable, journal::Error>),
    Written(io::Result<usize>),
    Bell,
    Values(Result<Arc<Vec<Sample>>, RecvError>),
    Read(io::Result<usize>),
    Tick,
}

impl<R: AsyncRead + Unpin + Send, W: AsyncWrite + Unpin + Send> Connection<R, W> {
    /// `inbox` is what came after the CONNECT, `out` holds the CONNACK.
    pub(super) fn new(
        (reader, writer): (R, W),
        front: Arc<Front>,
        hello: Hello,
        inbox: BytesMut,
        out: BytesMut,
    ) -> Self {
        let limits = &front.limits;
        let board = front.subscribers.board.clone();
        let ingest = Ingest::new(
            hello.version,
            hello.rights.clone(),
            limits,
            (front.decoders)(),
            front.account.clone(),
            move || board.points(),
        );
        let silence = match hello.keep_alive {
            0 => limits.silence,
            seconds => Duration::from_millis(1_500) * u32::from(seconds),
        };
        Self {
            reader,
            writer,
            flushes: front.tls.is_some(),
            unflushed: false,
            inbox,
            read_bytes: READ_FIRST,
            small_reads: 0,
            out,
            acks: AckQueue::new(hello.version, usize::from(limits.unacknowledged)),
            ingest,
            submission: None,
            submitted: 0,
            kept_out: false,
            told_pace: false,
            listening: None,
            end: None,
            silence,
            heard: Stopwatch::start(),
            written: 0,
            written_then: 0,
            progress: Stopwatch::start(),
            hello,
            front,
        }
    }

    /// Runs until the connection has ended and everything it handed over is finished.
    pub(super) async fn run(mut self, kick: &CancellationToken, stop: &CancellationToken) -> End {
        let mut kicked = std::pin::pin!(kick.cancelled());
        let mut tick = std::pin::pin!(sleep(self.next_tick()));
        self.take_in();
        loop {
            let too_early = if self.kept_out { self.ingest.pace.wait() } else { Duration::ZERO };
            if self.kept_out && too_early.is_zero() && !self.acks.is_full() && self.submission.is_none() {
                self.take_in();
            }
            self.fill();
            if self.is_done() {
                break;
            }
            let can_read = self.can_read();
            if can_read {
                self.inbox.reserve(self.read_bytes);
            }
            let (mailbox, values) = match &mut self.listening {
                Some(listening) => (Some(&*listening.mailbox), listening.values.as_mut()),
                None => (None, None),
            };
            let ending = self.end.is_some();
            // In this order: answers of several kinds meet in one write, and a packet that has come is
            // read before the clock may say that none came.
            let event = tokio::select! {
                biased;
                () = &mut kicked, if !ending => Event::Kicked,
                durable = poll_fn(|task| self.acks.poll_durable(task)), if self.acks.waits() => Event::Durable(durable),
                submitted = poll_fn(|task| match &mut self.submission {
                    Some(submission) => submission.as_mut().poll(task),
                    None => Poll::Pending,
                }), if self.submission.is_some() => Event::Submitted(submitted),
                written = write_some(&mut self.writer, &self.out), if self.unflushed || !self.out.is_empty() => Event::Written(written),
                () = bell(mailbox), if !ending => Event::Bell,
                read = self.reader.read_buf(&mut self.inbox), if can_read => Event::Read(read),
                batch = next_values(values), if !ending => Event::Values(batch),
                () = sleep(too_early), if !too_early.is_zero() && !ending => Event::Bell,
                () = &mut tick => Event::Tick,
            };
            match event {
                Event::Kicked if stop.is_cancelled() => self.ends(End::stopping()),
                Event::Kicked => self.ends(End::taken_over()),
                Event::Tick if ending => break,
                Event::Tick => {
                    self.look_at_the_clock();
                    tick.set(sleep(self.next_tick()));
                }
                other @ (Event::Durable(_)
                | Event::Submitted(_)
                | Event::Written(_)
                | Event::Bell
                | Event::Values(_)
                | Event::Read(_)) => self.on(other),
            }
            if !ending && self.end.is_some() {
                tick.set(sleep(GRACE));
            }
        }
        self.finish().await
    }

    fn on(&mut self, event: Event) {
        match event {
            Event::Durable(Ok(())) => self.acks.release(&mut self.out),
            Event::Durable(Err(Unacknowledged(count, error))) => self.journal_failed(count, &error),
            Event::Submitted(result) => {
                self.submission = None;
                match result {
                    Ok(durable) => self.acks.close_group(Some(durable)),
                    Err(error) => self.journal_failed(self.submitted, &error),
                }
            }
            Event::Written(Ok(count)) => {
                // Nothing to write means that it was a flush.
                self.unflushed = self.flushes && !self.out.is_empty();
                self.written = self.written.wrapping_add(count as u64);
                skip(&mut self.out, count);
            }
            Event::Written(Err(error)) | Event::Read(Err(error)) => self.ends(End::lost(&error)),
            Event::Read(Ok(0)) => self.ends(End::closed()),
            Event::Read(Ok(count)) => {
                if count >= self.read_bytes {
                    self.read_bytes = (self.read_bytes * 4).min(READ_MOST);
                }
                self.small_reads = if count < READ_FIRST { self.small_reads.saturating_add(1) } else { 0 };
                self.take_in();
            }
            Event::Values(batch) => self.on_values(batch),
            Event::Bell | Event::Kicked | Event::Tick => {}
        }
    }

    fn journal_failed(&mut self, count: usize, error: &journal::Error) {
        self.front.account.add(Fate::Unacknowledged, count as u64);
        self.ends(End::journal_failed(error));
    }

    fn on_values(&mut self, batch: Result<Arc<Vec<Sample>>, RecvError>) {
        let Some(feed) = self.listening.as_mut().and_then(|listening| listening.values.as_mut()) else { return };
        match batch {
            Ok(batch) => feed.put(&batch),
            Err(RecvError::Lagged(batches)) => feed.lagged(batches),
            Err(RecvError::Closed) => {
                if let Some(listening) = &mut self.listening {
                    listening.values = None;
                }
            }
        }
    }

    fn can_read(&self) -> bool {
        self.end.is_none() && self.submission.is_none() && !self.kept_out && self.out.len() < OUT_MOST
    }

    fn is_done(&self) -> bool {
        match &self.end {
            None => false,
            Some(end) if end.orderly => self.submission.is_none() && self.acks.is_empty() && self.out.is_empty(),
            Some(_) => true,
        }
    }

    /// The first reason is the one that counts, unless a later one makes waiting useless.
    fn ends(&mut self, end: End) {
        match &mut self.end {
            None => self.end = Some(end),
            Some(first) => first.orderly &= end.orderly,
        }
    }

    /// Takes in what the inbox holds, as one chunk.
    fn take_in(&mut self) {
        let inbox = std::mem::take(&mut self.inbox);
        let received = clock::now();
        let mut done = 0;
        self.kept_out = false;
        loop {
            let bytes = inbox.get(done..).unwrap_or_default();
            let (taken, pause) = self.ingest.take_in(bytes, received, &mut self.acks);
            done += taken;
            match pause {
                Pause::Wants(whole) => {
                    self.read_bytes = self.read_bytes.max(whole.saturating_sub(bytes.len() - taken));
                    break;
                }
                Pause::Window => {
                    self.kept_out = true;
                    break;
                }
                Pause::Pace => {
                    self.kept_out = true;
                    self.hold_back();
                    break;
                }
                Pause::Breach(breach) => {
                    self.ends(End::breach(breach));
                    break;
                }
                Pause::Other(frame) => match self.other(&frame) {
                    Ok(()) => {}
                    Err(end) => {
                        self.ends(end);
                        break;
                    }
                },
            }
        }
        if done > 0 {
            self.heard = Stopwatch::start();
        }
        self.inbox = inbox;
        skip(&mut self.inbox, done);
        if self.inbox.is_empty() && self.small_reads == u8::MAX && self.inbox.capacity() > 2 * READ_FIRST {
            // Grown for a burst or a long packet; not to be kept for the connection's life.
            self.inbox = BytesMut::new();
            self.read_bytes = READ_FIRST;
            self.small_reads = 0;
        }
        if let Some(what) = self.ingest.denied.take() {
            let (listener, Hello { client_id: client, user, .. }) = (&self.front.name, &self.hello);
            warn!(%listener, client, user, what, "publish outside the user's grant; more are only counted");
        }
        self.submit();
    }

    /// The client is faster than it may be: TCP holds it back, and nothing is lost.
    fn hold_back(&mut self) {
        self.front.account.one(Fate::RateLimit);
        if !std::mem::replace(&mut self.told_pace, true) {
            let (listener, Hello { client_id: client, user, .. }) = (&self.front.name, &self.hello);
            let Limits { messages_per_s, bytes_per_s, .. } = self.front.limits;
            warn!(%listener, client, user, messages_per_s, bytes_per_s, "client is held back to its rate");
        }
    }

    fn submit(&mut self) {
        if self.ingest.samples.is_empty() {
            self.acks.close_group(None);
        } else {
            let room = Vec::with_capacity(self.ingest.samples.len());
            let samples = std::mem::replace(&mut self.ingest.samples, room);
            self.submitted = samples.len();
            self.submission = Some((self.front.deliver)(samples));
        }
    }

    /// Any packet but PUBLISH.
    fn other(&mut self, frame: &Frame<'_>) -> Result<(), End> {
        match frame.kind() {
            kind::PINGREQ if frame.body.is_empty() => put_pingresp(&mut self.out),
            kind::PUBACK => {
                let pkid = acknowledged_id(frame.body).map_err(End::breach)?;
                if let Some(listening) = &mut self.listening {
                    listening.acknowledged(pkid);
                }
            }
            kind::SUBSCRIBE => self.subscribe(frame)?,
            kind::UNSUBSCRIBE => {
                let (pkid, filters) = read_unsubscribe(frame, self.hello.version).map_err(End::breach)?;
                let listening = &mut self.listening;
                let codes: Vec<u8> =
                    filters.iter().map(|text| listening.as_mut().map_or(0x11, |own| own.unsubscribe(text))).collect();
                put_unsuback(&mut self.out, self.hello.version, pkid, &codes);
            }
            kind::DISCONNECT => {
                // v5 may ask for its will to be taken in all the same.
                let reason = if self.hello.version == Version::V5 { frame.body.first().copied() } else { None };
                return Err(End::disconnect(reason.unwrap_or(0)));
            }
            kind::PINGREQ => return Err(End::breach(Breach::Contents)),
            other => return Err(End::breach(Breach::PacketType(other))),
        }
        Ok(())
    }

    fn subscribe(&mut self, frame: &Frame<'_>) -> Result<(), End> {
        let version = self.hello.version;
        let request = read_subscribe(frame, version).map_err(End::breach)?;
        if request.identified {
            return Err(End::subscription_identifier());
        }
        let allowed = self.hello.rights.subscribe;
        let mut codes = Vec::with_capacity(request.wishes.len());
        for wish in request.wishes {
            let code = if allowed {
                let listening = self
                    .listening
                    .get_or_insert_with(|| Listening::new(&self.hello, &self.front.limits, &self.front.subscribers));
                listening.subscribe(wish)
            } else {
                not_allowed()
            };
            if code >= 0x80 {
                self.front.account.one(Fate::Refused);
            }
            codes.push(plain(code, version));
        }
        put_suback(&mut self.out, version, request.pkid, &codes);
        Ok(())
    }

    fn fill(&mut self) {
        if self.end.is_some() {
            return;
        }
        if let Some(listening) = &mut self.listening {
            listening.fill(&mut self.out);
            if listening.mailbox.overflowed() {
                self.ends(End::slow_reader("alarm messages waited beyond the limit, or one was over its packet size"));
            }
        }
    }

    fn look_at_the_clock(&mut self) {
        if !self.can_read() {
            // It may well have spoken; it is Davy that does not listen.
            self.heard = Stopwatch::start();
        }
        if self.heard.elapsed() >= self.silence {
            self.ends(End::keep_alive(self.silence));
        }
        if self.out.is_empty() || self.written != self.written_then {
            self.written_then = self.written;
            self.progress = Stopwatch::start();
        } else if self.progress.elapsed() >= self.front.limits.stall {
            self.ends(End::slow_reader("it took nothing of what was sent to it"));
        }
    }

    fn next_tick(&self) -> Duration {
        let stall = self.front.limits.stall;
        let stalled = if self.out.is_empty() { stall } else { stall.saturating_sub(self.progress.elapsed()) };
        self.silence.saturating_sub(self.heard.elapsed()).min(stalled).max(Duration::from_millis(10))
    }

    /// What was handed over is finished, the will taken in, the client told.
    async fn finish(mut self) -> End {
        self.listening = None;
        let end = self.end.take().unwrap_or_else(End::closed);
        if let Some(submission) = self.submission.take() {
            self.settle(submission).await;
        }
        if end.will
            && let Some(will) = self.hello.will.take()
        {
            self.deliver_will(&will).await;
        }
        if self.hello.version == Version::V5 && end.reason != 0 {
            put_disconnect(&mut self.out, end.reason);
        }
        drop(timeout(FAREWELL, farewell(&mut self.reader, &mut self.writer, &self.out)).await);
        end
    }

    async fn deliver_will(&mut self, will: &Will) {
        self.ingest.will(will, clock::now());
        let samples = std::mem::take(&mut self.ingest.samples);
        if !samples.is_empty() {
            self.submitted = samples.len();
            self.settle((self.front.deliver)(samples)).await;
        }
    }

    /// Waits until the journal has taken a chunk. No deadline: the journal takes it, or closes.
    async fn settle(&mut self, submission: Submission) {
        if submission.await.is_err() {
            self.front.account.add(Fate::Unacknowledged, self.submitted as u64);
        }
    }
}

/// Writes some of `out`; flushes when there is nothing to write.
async fn write_some<W: AsyncWrite + Unpin>(writer: &mut W, out: &BytesMut) -> io::Result<usize> {
    if out.is_empty() {
        writer.flush().await?;
        return Ok(0);
    }
    match writer.write(out).await? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        count => Ok(count),
    }
}

/// Last words, then waits for the client to close: a socket closed with unread bytes in it would take the
/// words away again.
pub(super) async fn farewell<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    reader: &mut R,
    writer: &mut W,
    words: &[u8],
) -> io::Result<()> {
    writer.write_all(words).await?;
    writer.shutdown().await?;
    let mut unread = [0; 4096];
    while reader.read(&mut unread).await? > 0 {}
    Ok(())
}

fn skip(buffer: &mut BytesMut, count: usize) {
    if count >= buffer.len() {
        buffer.clear();
    } else {
        buffer.advance(count);
    }
}

async fn bell(mailbox: Option<&Mailbox>) {
    match mailbox {
        Some(mailbox) => mailbox.bell.notified().await,
        None => pending().await,
    }
}

async fn next_values(values: Option<&mut ValueFeed>) -> Result<Arc<Vec<Sample>>, RecvError> {
    match values {
        Some(feed) => feed.receive().await,
        None => pending().await,
    }
}
