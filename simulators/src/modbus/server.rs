//! The TCP side of the devices: accepts masters, answers in the order of arrival, and lets late answers
//! come late without holding the others up.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::map::{Device, Map, Quantity};
use super::unit::{Condition, Misbehaviour, Traffic, Unit};
use super::wire::{Ask, Header, NotModbus, answer, exception, take_request};
use crate::clock::Stopwatch;
use crate::stop::until_stopped;

/// Masters served at once; the next one is closed at once.
const MASTERS: usize = 1_024;
/// Late answers that one connection keeps; the oldest is forgotten.
const LATE_ANSWERS: usize = 1_024;
/// "Gateway target device failed to respond": nobody has this unit id.
const NOBODY_THERE: u8 = 0x0B;
const ILLEGAL_FUNCTION: u8 = 1;

/// Why a device could not be started or told something.
#[derive(Debug, Error)]
pub enum ModbusError {
    #[error("modbus devices cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("unit {0} is given twice, each unit id belongs to one device")]
    UnitTwice(u8),
    #[error("unit {0} is outside 1..=247")]
    UnitOutside(u8),
    #[error("no device has unit {0}")]
    NoUnit(u8),
    #[error("unit {unit} ({maker}) has no quantity {name:?}, it has {known}")]
    NoQuantity { unit: u8, maker: &'static str, name: String, known: String },
}

struct Shared {
    units: Mutex<BTreeMap<u8, Unit>>,
    since: Stopwatch,
}

impl Shared {
    fn units(&self) -> MutexGuard<'_, BTreeMap<u8, Unit>> {
        // A panic elsewhere leaves the registers whole; the devices go on.
        self.units.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Devices that answer on one TCP port until stopped or dropped.
pub struct ModbusDevices {
    shared: Arc<Shared>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    listening: JoinHandle<()>,
}

impl ModbusDevices {
    /// Starts on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When a unit id is unsound or given twice, or the machine has no port.
    pub async fn start(devices: Vec<Device>) -> Result<Self, ModbusError> {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), devices).await
    }

    /// Starts on a given address: how a test lets a device come back where it was.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_at(address: SocketAddr, devices: Vec<Device>) -> Result<Self, ModbusError> {
        let mut units = BTreeMap::new();
        for device in devices {
            let unit = device.unit;
            if !(1..=247).contains(&unit) {
                return Err(ModbusError::UnitOutside(unit));
            }
            if units.insert(unit, Unit::new(device)).is_some() {
                return Err(ModbusError::UnitTwice(unit));
            }
        }
        let at = |source| ModbusError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(at)?;
        let address = listener.local_addr().map_err(at)?;
        let shared = Arc::new(Shared { units: Mutex::new(units), since: Stopwatch::start() });
        let (stop, stopped) = watch::channel(false);
        let listening = tokio::spawn(listen(listener, shared.clone(), stopped));
        Ok(Self { shared, address, stop, listening })
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every unit with its map: which registers can be read, and what stands there.
    #[must_use]
    pub fn maps(&self) -> Vec<(u8, Map)> {
        self.shared.units().iter().map(|(unit, state)| (*unit, state.map().clone())).collect()
    }

    /// Where a quantity stands.
    ///
    /// # Errors
    /// When there is no such unit or quantity.
    pub fn quantity(&self, unit: u8, name: &str) -> Result<Quantity, ModbusError> {
        self.with(unit, |state| state.map().quantity(name).cloned().ok_or_else(|| no_quantity(unit, state.map(), name)))
    }

    /// Lets a quantity read `value` from now on.
    ///
    /// # Errors
    /// When there is no such unit or quantity.
    pub fn set(&self, unit: u8, name: &str, value: f64) -> Result<(), ModbusError> {
        self.with(unit, |state| if state.set(name, value) { Ok(()) } else { Err(no_quantity(unit, state.map(), name)) })
    }

    /// Puts `bits` into a quantity's registers as they are (0x7FFF, a NaN), until the next `set`.
    ///
    /// # Errors
    /// When there is no such unit or quantity.
    pub fn set_raw(&self, unit: u8, name: &str, bits: u32) -> Result<(), ModbusError> {
        self.with(
            unit,
            |state| if state.set_raw(name, bits) { Ok(()) } else { Err(no_quantity(unit, state.map(), name)) },
        )
    }

    /// What the device says of itself in its status word.
    ///
    /// # Errors
    /// When there is no such unit.
    pub fn condition(&self, unit: u8, condition: Condition) -> Result<(), ModbusError> {
        self.with(unit, |state| {
            state.condition = condition;
            Ok(())
        })
    }

    /// How the unit answers from now on; `Misbehaviour::None` heals it.
    ///
    /// # Errors
    /// When there is no such unit.
    pub fn fault(&self, unit: u8, how: Misbehaviour) -> Result<(), ModbusError> {
        let elapsed = self.shared.since.elapsed();
        self.with(unit, |state| {
            state.misbehave(how, elapsed);
            Ok(())
        })
    }

    /// What the unit was asked so far.
    ///
    /// # Errors
    /// When there is no such unit.
    pub fn traffic(&self, unit: u8) -> Result<Traffic, ModbusError> {
        self.with(unit, |state| Ok(state.traffic.clone()))
    }

    /// Closes all connections and the port, and waits until they are closed.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if let Err(error) = (&mut self.listening).await {
            tracing::warn!(%error, "modbus devices ended badly");
        }
    }

    fn with<T>(&self, unit: u8, what: impl FnOnce(&mut Unit) -> Result<T, ModbusError>) -> Result<T, ModbusError> {
        self.shared.units().get_mut(&unit).ok_or(ModbusError::NoUnit(unit)).and_then(what)
    }
}

impl Drop for ModbusDevices {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.listening.abort();
    }
}

fn no_quantity(unit: u8, map: &Map, name: &str) -> ModbusError {
    let known: Vec<&str> = map.quantities.iter().map(|quantity| quantity.name.as_str()).collect();
    ModbusError::NoQuantity { unit, maker: map.maker, name: name.to_owned(), known: known.join(", ") }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let mut masters = JoinSet::new();
    loop {
        tokio::select! {
            () = until_stopped(&mut stopped) => break,
            Some(_) = masters.join_next(), if !masters.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if masters.len() < MASTERS => {
                    masters.spawn(serve(stream, shared.clone()));
                }
                Ok((stream, master)) => {
                    tracing::warn!(%master, "modbus devices serve no more masters");
                    drop(stream);
                }
                // Out of file descriptors, most likely: trying at once again would only spin.
                Err(error) => {
                    tracing::warn!(%error, "modbus devices cannot accept");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    masters.shutdown().await;
}

/// What becomes of one request.
enum Deed {
    Reply(Vec<u8>),
    Later(Duration, Vec<u8>),
    Nothing,
    HangUp,
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "modbus devices: no TCP_NODELAY");
    }
    if let Err(error) = converse(stream, &shared).await {
        tracing::debug!(%error, "modbus devices lost a master");
    }
}

async fn converse(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let (mut from, mut to) = stream.into_split();
    let mut arrived = BytesMut::with_capacity(1_024);
    let mut late: Vec<(Instant, Vec<u8>)> = Vec::new();
    let mut replies = Vec::new();
    loop {
        let due = late.iter().map(|(due, _)| *due).min();
        tokio::select! {
            read = from.read_buf(&mut arrived) => if read? == 0 { return Ok(()) },
            () = async { sleep_until(due.expect("guarded by the branch's condition")).await }, if due.is_some() => {}
        }
        let hang_up = answer_all(&mut arrived, shared, &mut replies, &mut late);
        let now = shared.since.at(shared.since.elapsed());
        let mut place = 0;
        while place < late.len() {
            if late[place].0 <= now { replies.append(&mut late.remove(place).1) } else { place += 1 }
        }
        if !replies.is_empty() {
            to.write_all(&replies).await?;
            replies.clear();
        }
        if hang_up {
            return Ok(());
        }
    }
}

/// Answers every whole request that has arrived; true when the connection is to be closed.
fn answer_all(
    arrived: &mut BytesMut,
    shared: &Shared,
    replies: &mut Vec<u8>,
    late: &mut Vec<(Instant, Vec<u8>)>,
) -> bool {
    loop {
        match take_request(arrived) {
            Err(NotModbus) => return true,
            Ok(None) => return false,
            Ok(Some((header, ask))) => match decide(header, ask, shared) {
                Deed::Reply(mut frame) => replies.append(&mut frame),
                Deed::Nothing => {}
                Deed::HangUp => return true,
                Deed::Later(delay, frame) => {
                    if late.len() == LATE_ANSWERS {
                        late.remove(0);
                    }
                    late.push((shared.since.at(shared.since.elapsed() + delay), frame));
                }
            },
        }
    }
}

fn decide(header: Header, ask: Ask, shared: &Shared) -> Deed {
    let mut units = shared.units();
    let Some(unit) = units.get_mut(&header.unit) else {
        let function = match ask {
            Ask::Read(span) => span.function,
            Ask::Other(function) => function,
        };
        return Deed::Reply(exception(header, function, NOBODY_THERE));
    };
    let span = match ask {
        Ask::Read(span) => span,
        Ask::Other(function) => {
            unit.traffic.writes += u64::from(matches!(function, 5 | 6 | 15 | 16 | 22 | 23));
            unit.traffic.exceptions += 1;
            return Deed::Reply(exception(header, function, ILLEGAL_FUNCTION));
        }
    };
    let read = unit.read(span, shared.since.elapsed());
    let how = unit.misbehaviour();
    let good = match (how, read) {
        (Misbehaviour::Silent, _) => return Deed::Nothing,
        (Misbehaviour::Drop, _) => return Deed::HangUp,
        (Misbehaviour::Exception(code), _) | (_, Err(code)) => {
            unit.traffic.exceptions += 1;
            exception(header, span.function, code)
        }
        (_, Ok(contents)) => answer(header, span.function, &contents, how),
    };
    match how {
        Misbehaviour::Late(delay) => Deed::Later(delay, good),
        Misbehaviour::None
        | Misbehaviour::Short(_)
        | Misbehaviour::Truncated
        | Misbehaviour::WrongUnit
        | Misbehaviour::WrongTransaction
        | Misbehaviour::Exception(_)
        | Misbehaviour::Drop
        | Misbehaviour::Silent
        | Misbehaviour::HeartbeatStopped => Deed::Reply(good),
    }
}
