//! Davy's own front door for devices: MQTT 3.1.1 and 5 on one port, without a broker in between.
//!
//! ```text
//!  device ─► TCP or TLS ─► greet ─► connection ─► ingest ─► journal     QoS 0 and 1
//!  device ◄─ PUBACK, when durable ◄─┘    ▲
//!  screens, sirens, other gateways ◄─────┴─ subscriber (alarms), values (points)
//! ```
//! In come publishes of devices; out go samples in chunks, PUBACKs once they are durable, and Davy's own
//! topics `davy/v1/{site}/alarm/{id}` and `davy/v1/{site}/point/{point}`. It is no broker: a publish is
//! never passed on to another client, and no session is kept after its connection.
//! A client is its user's name, told by a password or by the CN of its certificate, and may publish what its
//! user was granted (`grant`): what is outside is acknowledged, counted and not kept.
//! Everything is bounded, and each bound has one end: a device that sends faster than the journal takes, or
//! than its rate, is not read from; an address that connects too often is turned away; a client that breaks
//! the protocol or does not read is let go, counted and logged once; live values for a slow subscriber lose
//! the oldest. No client can hold up or disturb another.

mod acks;
mod certificate;
mod config;
mod connection;
mod end;
mod filter;
mod frame;
mod grant;
mod greet;
mod ingest;
mod listening;
mod outgoing;
mod pace;
mod roll;
mod subscriber;
#[cfg(test)]
mod tests;
mod tls;
mod values;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

pub use config::{Config, Limits, Raw};
pub use grant::{Publish, Rights};
pub use subscriber::{Retained, Subscribers};

use self::acks::Durable;
use self::config::Users;
use self::connection::{Connection, farewell};
use self::frame::{Breach, Scan, scan};
use self::greet::{Hello, Refusal, greet, welcome};
use self::pace::{Arrival, Arrivals};
use self::roll::Roll;
use super::attendance::Attendance;
use super::{Failure, Outlet};
use crate::journal;
use crate::ledger::{Account, Fate};
use crate::model::{Sample, Timestamp};

/// Payload to samples, for one connection: it may remember the topics that it has seen. The seam to
/// `crate::decode`.
pub trait Decoder: Send {
    /// Appends the samples of one publish. On an error, what was appended before it still counts.
    fn decode(
        &mut self,
        topic: &[u8],
        payload: &[u8],
        received: Timestamp,
        samples: &mut Vec<Sample>,
    ) -> Result<(), Fate>;
}

/// The decoder of a connection and the account that it counts in.
pub struct Decoding {
    pub decoder: crate::decode::Decoder,
    pub account: Arc<Account>,
}

impl Decoder for Decoding {
    fn decode(
        &mut self,
        topic: &[u8],
        payload: &[u8],
        received: Timestamp,
        samples: &mut Vec<Sample>,
    ) -> Result<(), Fate> {
        let outcome = self.decoder.decode(topic, payload, received, samples, &self.account);
        super::tell_losses(&self.account, topic, self.decoder.losses_worth_telling());
        outcome
    }
}

/// Makes the decoder of a new connection.
pub type DecoderFactory = Arc<dyn Fn() -> Box<dyn Decoder> + Send + Sync>;

/// A chunk on its way to the journal; resolves when it is taken, to what resolves when it is durable.
type Submission = Pin<Box<dyn Future<Output = Result<Durable, journal::Error>> + Send>>;

/// A bound front door.
#[derive(Debug)]
pub struct MqttListener {
    config: Config,
    listener: TcpListener,
    address: SocketAddr,
}

/// What all connections of a listener share.
struct Front {
    name: String,
    limits: Limits,
    users: Arc<Users>,
    account: Arc<Account>,
    subscribers: Arc<Subscribers>,
    decoders: DecoderFactory,
    deliver: Box<dyn Fn(Vec<Sample>) -> Submission + Send + Sync>,
    tls: Option<TlsAcceptor>,
    roll: Roll,
    attendance: Arc<Attendance>,
    connections: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    arrivals: Arrivals,
    /// Connections are being turned away at the limit; said once until one is let in again.
    crowded: AtomicBool,
    numbers: AtomicU64,
    stop: CancellationToken,
}

impl MqttListener {
    pub async fn bind(config: Config) -> Result<Self, Failure> {
        let failure = |error| Failure::new(format!("mqtt listener {} on {}: {error}", config.name, config.address));
        let listener = TcpListener::bind(config.address).await.map_err(failure)?;
        let address = listener.local_addr().map_err(failure)?;
        Ok(Self { config, listener, address })
    }

    /// The address that devices reach; the real port where the configuration said 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`; returns when every connection has ended.
    pub async fn run(
        self,
        outlet: Outlet,
        subscribers: Arc<Subscribers>,
        decoders: DecoderFactory,
        stop: CancellationToken,
    ) {
        let (account, intake) = (outlet.account.clone(), outlet.intake.clone());
        let expected = self.config.expected().map(|(name, patience)| (name.to_owned(), patience));
        let attendance = Arc::new(Attendance::of(format!("mqtt_listener.{}/", self.config.name), expected));
        let deliver = move |samples| {
            let outlet = outlet.clone();
            Box::pin(async move {
                let commit = outlet.deliver(samples).await?;
                Ok(Box::pin(commit.durable()) as Durable)
            }) as Submission
        };
        let missing = attendance.watch(intake, stop.clone());
        let (roll, deliver) = (attendance.clone(), Box::new(deliver));
        tokio::join!(missing, self.serve(account, deliver, (subscribers, roll), decoders, stop));
    }

    async fn serve(
        self,
        account: Arc<Account>,
        deliver: Box<dyn Fn(Vec<Sample>) -> Submission + Send + Sync>,
        (subscribers, attendance): (Arc<Subscribers>, Arc<Attendance>),
        decoders: DecoderFactory,
        stop: CancellationToken,
    ) {
        let Config { name, limits, users, tls, .. } = self.config;
        let front = Arc::new(Front {
            connections: Arc::new(Semaphore::new(limits.connections)),
            waiting: Arc::new(Semaphore::new(limits.waiting_for_connect)),
            arrivals: Arrivals::new(&limits),
            name,
            limits,
            users,
            account,
            subscribers,
            decoders,
            deliver,
            tls: tls.map(TlsAcceptor::from),
            roll: Roll::default(),
            attendance,
            crowded: AtomicBool::new(false),
            numbers: AtomicU64::new(0),
            stop: stop.clone(),
        });
        info!(listener = %front.name, address = %self.address, tls = front.tls.is_some(), "mqtt listener open");
        let mut open = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => front.clone().accept(stream, peer, &mut open),
                    Err(cause) => {
                        // Out of file descriptors, mostly; those who are in stay in.
                        warn!(listener = %front.name, %cause, "a connection could not be accepted");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(ended) = open.join_next() => report(&front, ended),
            }
        }
        drop(self.listener);
        while let Some(ended) = open.join_next().await {
            report(&front, ended);
        }
        info!(listener = %front.name, "mqtt listener closed");
    }
}

fn report(front: &Front, ended: Result<(), tokio::task::JoinError>) {
    if let Err(cause) = ended {
        error!(listener = %front.name, %cause, "a connection ended by a fault of davy");
    }
}

impl Front {
    /// Starts the task of a connection if there is room for it.
    fn accept(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, open: &mut JoinSet<()>) {
        match self.arrivals.admit(peer.ip()) {
            Arrival::Welcome => {}
            too_often @ (Arrival::NowTooOften | Arrival::TooOften) => {
                self.account.one(Fate::RateLimit);
                if too_often == Arrival::NowTooOften {
                    warn!(listener = %self.name, address = %peer.ip(), "address connects too often and is turned away");
                }
                return;
            }
        }
        let places = (self.connections.clone().try_acquire_owned(), self.waiting.clone().try_acquire_owned());
        let (Ok(place), Ok(waiting)) = places else {
            self.account.one(Fate::Refused);
            if !self.crowded.swap(true, Relaxed) {
                warn!(listener = %self.name, %peer, "connections are refused: the limit is reached");
            }
            return;
        };
        self.crowded.store(false, Relaxed);
        open.spawn(async move {
            if let Err(cause) = stream.set_nodelay(true) {
                debug!(listener = %self.name, %peer, %cause, "nodelay not set");
            }
            match self.tls.clone() {
                None => {
                    let (reader, writer) = stream.into_split();
                    self.clone().receive(peer, waiting, async { Ok((reader, writer, None)) }).await;
                }
                Some(tls) => {
                    let handshake = async {
                        let stream = tls.accept(stream).await?;
                        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                        // A certificate without a usable name is no name, not no certificate.
                        let subject = shown.map(|shown| certificate::common_name(shown).unwrap_or_default());
                        let (reader, writer) = tokio::io::split(stream);
                        Ok((reader, writer, subject))
                    };
                    self.clone().receive(peer, waiting, handshake).await;
                }
            }
            drop(place);
        });
    }

    /// From the handshake to the end of the connection.
    async fn receive<R, W>(
        self: Arc<Self>,
        peer: SocketAddr,
        waiting: tokio::sync::OwnedSemaphorePermit,
        handshake: impl Future<Output = std::io::Result<(R, W, Option<String>)>>,
    ) where
        R: AsyncRead + Unpin + Send,
        W: AsyncWrite + Unpin + Send,
    {
        let mut inbox = BytesMut::new();
        let first = async {
            let (mut reader, writer, subject) = handshake.await.map_err(|cause| format!("no TLS: {cause}"))?;
            let greeting = self.first_packet(&mut reader, &mut inbox, subject.as_deref()).await?;
            Ok::<_, String>((reader, writer, greeting))
        };
        let first = tokio::select! {
            () = self.stop.cancelled() => return,
            first = timeout(self.limits.connect_within, first) => first,
        };
        drop(waiting);
        let refused = |fate, what: &str| {
            self.account.one(fate);
            info!(listener = %self.name, %peer, reason = what, "mqtt client refused");
        };
        let (mut reader, mut writer, greeting) = match first {
            Ok(Ok(first)) => first,
            Ok(Err(what)) => return refused(Fate::Refused, &what),
            Err(_) => return refused(Fate::TimedOut, "no CONNECT in time"),
        };
        match greeting {
            Ok(hello) => self.clone().attend(peer, (reader, writer), hello, inbox).await,
            Err(refusal) => {
                refused(refusal.fate, &refusal.what);
                let words = farewell(&mut reader, &mut writer, &refusal.answer);
                drop(timeout(Duration::from_secs(1), words).await);
            }
        }
    }

    /// Reads until the first packet is whole, and judges it. What follows it stays in `inbox`.
    async fn first_packet<R: AsyncRead + Unpin>(
        &self,
        reader: &mut R,
        inbox: &mut BytesMut,
        subject: Option<&str>,
    ) -> Result<Result<Hello, Refusal>, String> {
        loop {
            let (whole, greeting) = match scan(inbox, self.limits.packet_bytes) {
                Ok(Scan::Packet(frame)) => (frame.whole.len(), greet(&frame, &self.users, &self.limits, subject)),
                Ok(Scan::Wants(_)) => {
                    // Whatever it is, it is not a CONNECT: not waited for.
                    if let Some(first) = inbox.first()
                        && first >> 4 != frame::kind::CONNECT
                    {
                        return Ok(Err(Refusal::breach(Breach::PacketType(first >> 4))));
                    }
                    match reader.read_buf(inbox).await {
                        Ok(0) => return Err("closed before its CONNECT".into()),
                        Ok(_) => continue,
                        Err(cause) => return Err(format!("lost before its CONNECT: {cause}")),
                    }
                }
                Err(breach) => return Ok(Err(Refusal::breach(breach))),
            };
            drop(inbox.split_to(whole));
            return Ok(greeting);
        }
    }

    /// A client that may come in, until its connection has ended.
    async fn attend<R, W>(self: Arc<Self>, peer: SocketAddr, mut halves: (R, W), hello: Hello, inbox: BytesMut)
    where
        R: AsyncRead + Unpin + Send,
        W: AsyncWrite + Unpin + Send,
    {
        let number = self.numbers.fetch_add(1, Relaxed);
        let kick = self.stop.child_token();
        let chosen = hello.client_id.clone();
        // An id that we choose is nobody else's, so it needs no seat, and nobody can take it over.
        let assigned = chosen.is_empty().then(|| format!("davy-{number}"));
        if assigned.is_none() && !self.roll.sit(&chosen, &hello.user, number, &kick) {
            let refusal = Refusal::client_id_taken(hello.version);
            self.account.one(refusal.fate);
            info!(listener = %self.name, %peer, client = %chosen, reason = %refusal.what, "mqtt client refused");
            let words = farewell(&mut halves.0, &mut halves.1, &refusal.answer);
            drop(timeout(Duration::from_secs(1), words).await);
            return;
        }
        let mut out = BytesMut::new();
        welcome(&mut out, hello.version, &self.limits, assigned.as_deref());
        let client = assigned.unwrap_or_else(|| chosen.clone());
        debug!(listener = %self.name, %peer, client, user = %hello.user, version = ?hello.version, "mqtt client connected");
        let user = hello.user.clone();
        self.attendance.arrives(&user);
        let end = Connection::new(halves, self.clone(), hello, inbox, out).run(&kick, &self.stop).await;
        self.roll.stand(&chosen, number);
        self.attendance.leaves(&user);
        match end.fate {
            None => debug!(listener = %self.name, %peer, client, reason = %end.what, "mqtt client left"),
            Some(fate) => {
                self.account.one(fate);
                info!(listener = %self.name, %peer, client, reason = %end.what, "mqtt client let go");
            }
        }
    }
}
