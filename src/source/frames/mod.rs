//! Doors for devices that send frames over TCP: fire user devices, hydrological stations, environmental monitors.
//!
//! ```text
//!  device ─► accept ─► Connection ─► Talk: gb26875 | sl651 | hj212 ─► samples ─► journal
//!  device ◄─ answer, when durable ◄─┘         │ decode::frames
//!                                             └► Stations: who is there; orders to a device and its answers
//! ```
//! One server for all protocols; what differs is a [`Talk`](talk::Talk). Promised: a frame is answered only when
//! all samples of it are durable; a frame with a wrong sum never becomes a sample; a part, station or factor
//! that no point names is counted and told once. Only devices that the configuration names may deliver: a point
//! can be fed by no other, so a stranger's frame is refused, counted and its number told once, and its
//! connection closed. Everything is bounded: connections, those that have not shown a good frame yet, bytes of
//! a frame, bytes of garbage between frames, silence, and what waits to be put together. Connections share
//! nothing but the journal's queue, so that none can disturb another.
//!
//! A device that hangs up is no loss by itself: stations of SL 651 and monitors of HJ 212 call when they have
//! something, and GB/T 26875.3 does not ask for a lasting connection either. Silence is noticed by each point's
//! period; a point bound to `alive` gets a 1 with each good frame of its device, heartbeats included. Where a
//! line is to stay up, `permanent = true` marks all points of a device `not_polled` as soon as its last
//! connection is gone; `away` makes a device of which nothing comes one alarm.

mod binding;
mod config;
mod connection;
mod gb26875;
mod hj212;
mod known;
mod sl651;
mod stations;
mod talk;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

pub use binding::{Binding, RawFire, RawHj212, RawSl651, What};
pub use config::{Config, Limits, Protocol, Raw};
pub use stations::{AskError, Order, Reply, StationState, Stations};

use self::connection::Connection;
use self::known::Known;
use self::talk::Talk;
use super::attendance::Attendance;
use super::{Failure, Outlet};
use crate::ledger::Fate;
use crate::model::{PointIndex, PointTable};

/// Points by how frames reach them.
#[derive(Clone, Debug, Default)]
pub struct Bound {
    pub bound: Vec<(PointIndex, Binding)>,
    /// Points without a binding: the name patterns of devices look among them.
    pub free: Vec<PointIndex>,
}

/// A bound door.
#[derive(Debug)]
pub struct FrameServer {
    config: Config,
    listener: TcpListener,
    address: SocketAddr,
    stations: Stations,
}

/// What all connections of a door share.
struct Front {
    config: Config,
    outlet: Outlet,
    points: Arc<PointTable>,
    known: Known,
    stations: Stations,
    attendance: Attendance,
    connections: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// Connections are being turned away at the limit; said once until one is let in again.
    crowded: AtomicBool,
    numbers: AtomicU64,
    told: Mutex<BTreeSet<String>>,
    stop: CancellationToken,
}

impl FrameServer {
    pub async fn bind(config: Config) -> Result<Self, Failure> {
        let failure =
            |error| Failure::new(format!("{} {} on {}: {error}", config.protocol.word(), config.name, config.address));
        let listener = TcpListener::bind(config.address).await.map_err(failure)?;
        let address = listener.local_addr().map_err(failure)?;
        Ok(Self { config, listener, address, stations: Stations::default() })
    }

    /// The address that devices reach; the real port where the configuration said 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who is connected, and the way to send orders; cheap to keep, before, while and after `run`.
    #[must_use]
    pub fn stations(&self) -> Stations {
        self.stations.clone()
    }

    /// Serves until `stop`; returns when every connection has ended.
    pub async fn run(self, outlet: Outlet, points: Arc<PointTable>, bound: Arc<Bound>, stop: CancellationToken) {
        let Self { config, listener, address, stations } = self;
        let known = Known::new(&config, &points, &bound);
        let (door, name) = (config.protocol.word(), config.name.clone());
        info!(door, name, %address, devices = known.len(), "frame server open");
        let patience = |device: &str| Some((device.to_owned(), config.away?));
        let attendance = Attendance::of(format!("{door}.{name}/"), known.names().filter_map(patience));
        let front = Arc::new(Front {
            attendance,
            connections: Arc::new(Semaphore::new(config.limits.connections)),
            waiting: Arc::new(Semaphore::new(config.limits.waiting_for_frame)),
            config,
            outlet,
            points,
            known,
            stations,
            crowded: AtomicBool::new(false),
            numbers: AtomicU64::new(0),
            told: Mutex::default(),
            stop: stop.clone(),
        });
        let watching = front.clone();
        let watched = tokio::spawn(async move {
            watching.attendance.watch(watching.outlet.intake.clone(), watching.stop.clone()).await;
        });
        let mut open = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => front.clone().accept(stream, peer, &mut open),
                    Err(cause) => {
                        // Out of file descriptors, mostly; those who are in stay in.
                        warn!(door, name, %cause, "a connection could not be accepted");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(ended) = open.join_next() => front.report(ended),
            }
        }
        drop(listener);
        while let Some(ended) = open.join_next().await {
            front.report(ended);
        }
        watched.await.ok();
        info!(door, name, "frame server closed");
    }
}

impl Front {
    /// Things worth telling once, at the most; beyond it they are only counted.
    const MOST_TOLD: usize = 1_000;

    fn report(&self, ended: Result<(), tokio::task::JoinError>) {
        if let Err(cause) = ended {
            error!(name = %self.config.name, %cause, "a connection ended by a fault of davy");
        }
    }

    /// Starts the task of a connection if there is room for it.
    fn accept(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, open: &mut JoinSet<()>) {
        let (door, name) = (self.config.protocol.word(), self.config.name.clone());
        let places = (self.connections.clone().try_acquire_owned(), self.waiting.clone().try_acquire_owned());
        let (Ok(place), Ok(waiting)) = places else {
            self.outlet.account.one(Fate::Refused);
            if !self.crowded.swap(true, Relaxed) {
                warn!(door, name, %peer, "connections are refused: the limit is reached");
            }
            return;
        };
        self.crowded.store(false, Relaxed);
        open.spawn(async move {
            if let Err(cause) = stream.set_nodelay(true) {
                debug!(door, name, %peer, %cause, "nodelay not set");
            }
            debug!(door, name, %peer, "device connected");
            let number = self.numbers.fetch_add(1, Relaxed);
            let talk = self.talk();
            let end = Connection::new(stream, peer, number, self.clone(), talk, waiting).run().await;
            match end.fate {
                None => debug!(door, name, %peer, reason = %end.what, "device left"),
                Some(fate) => {
                    self.outlet.account.one(fate);
                    info!(door, name, %peer, reason = %end.what, "device let go");
                }
            }
            drop(place);
        });
    }

    fn talk(&self) -> Box<dyn Talk> {
        match self.config.protocol {
            Protocol::Gb26875 => Box::new(gb26875::FireTalk::new(&self.config)),
            Protocol::Sl651 => Box::new(sl651::StationTalk::new(&self.config)),
            Protocol::Hj212 => Box::new(hj212::MonitorTalk::new(&self.config)),
        }
    }

    /// Is it the first time that this is to be told?
    fn first_time(&self, what: String) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.len() < Self::MOST_TOLD && told.insert(what)
    }
}
