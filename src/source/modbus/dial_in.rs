//! Devices behind modems that call: Davy listens, and the modem names itself.
//!
//! ```text
//!  accept ─► first packet ─► known ─► the slot of that modem ─► its bus, at its next request
//!               │              └ no ─► closed, counted as refused
//!               └ not within 30 s ─► closed, counted as timed out
//! ```
//! In come connections; out goes at most one for each configured modem: a modem that calls again has lost
//! its old connection, so the newest counts. Held at once: a bounded number that have not named themselves,
//! with at most one packet each. What a modem sends behind its name before it was asked is thrown away. A
//! name is no proof: whoever reaches the port can give one, so the port belongs into a closed network.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::address::{Address, Modem, Packet};
use crate::ledger::Fate;
use crate::source::{Failure, Outlet, Source};

/// Time that a modem has to name itself.
const INTRODUCTION: Duration = Duration::from_secs(30);
/// Connections at once that have not named themselves.
const STRANGERS: usize = 64;

/// The connection of a modem, until its bus takes it.
pub(super) type Slot = Arc<Mutex<Option<TcpStream>>>;

/// The newest connection of the modem, once.
pub(super) fn take(slot: &Slot) -> Option<TcpStream> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// One port on which modems call.
pub(super) struct Desk {
    listen: SocketAddr,
    slots: Arc<Vec<(Packet, Slot)>>,
}

impl Desk {
    /// A desk for each port that the addresses name, and the slot of each modem.
    pub fn all<'a>(addresses: impl Iterator<Item = &'a Address>) -> (Vec<Self>, BTreeMap<Modem, Slot>) {
        let mut slots: BTreeMap<Modem, Slot> = BTreeMap::new();
        for address in addresses {
            if let Address::DialIn(modem) = address {
                slots.entry(modem.clone()).or_default();
            }
        }
        let mut desks: BTreeMap<SocketAddr, Vec<(Packet, Slot)>> = BTreeMap::new();
        for (modem, slot) in &slots {
            desks.entry(modem.listen).or_default().push((modem.registration.clone(), slot.clone()));
        }
        let desks = desks.into_iter().map(|(listen, slots)| Self { listen, slots: Arc::new(slots) });
        (desks.collect(), slots)
    }

    /// For messages and the alarm that it cannot listen.
    pub fn name(&self) -> String {
        format!("modbus.dial-in:{}", self.listen)
    }
}

impl Source for Desk {
    async fn run(&mut self, out: &Outlet, connected: &(dyn Fn() + Send + Sync)) -> Result<Infallible, Failure> {
        let broken = |error: std::io::Error| Failure::new(format!("cannot listen on {}: {error}", self.listen));
        let listener = TcpListener::bind(self.listen).await.map_err(broken)?;
        connected();
        let strangers = Arc::new(Semaphore::new(STRANGERS));
        let mut introductions = JoinSet::new();
        loop {
            let (stream, from) = listener.accept().await.map_err(broken)?;
            while introductions.try_join_next().is_some() {}
            let Ok(place) = strangers.clone().try_acquire_owned() else {
                out.account.one(Fate::Refused);
                continue;
            };
            let (slots, account) = (self.slots.clone(), out.account.clone());
            introductions.spawn(async move {
                match timeout(INTRODUCTION, introduce(stream, from, &slots)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(fate)) => account.one(fate),
                    Err(_) => account.one(Fate::TimedOut),
                }
                drop(place);
            });
        }
    }
}

/// Reads the first packet and puts the connection into the slot of the modem that it names.
async fn introduce(mut stream: TcpStream, from: SocketAddr, slots: &[(Packet, Slot)]) -> Result<(), Fate> {
    let mut came = Vec::with_capacity(Packet::LONGEST);
    loop {
        if let Some((packet, slot)) = slots.iter().find(|(packet, _)| came.starts_with(&packet.0)) {
            stream.set_nodelay(true).map_err(|_| Fate::Disconnected)?;
            info!(modem = %packet, %from, "modem called");
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream);
            return Ok(());
        }
        if !slots.iter().any(|(packet, _)| packet.0.starts_with(&came)) {
            warn!(%from, named = %Packet(came), "a modem that is not configured was refused");
            return Err(Fate::Refused);
        }
        let mut chunk = [0; Packet::LONGEST];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => {
                debug!(%from, "a caller hung up before it named itself");
                return Err(Fate::Disconnected);
            }
            Ok(read) => came.extend_from_slice(&chunk[..read]),
        }
    }
}
