//! Modbus poller: reads registers and bits of devices on a fixed schedule. It only ever reads.
//!
//! ```text
//!  config ─► unit   points of one device ─► plan     near registers merged into few reads
//!                        │                  schedule  slot n at first + n * period, phases spread
//!                        ▼
//!  wire   one task a bus (see `address`) ─► line   one request at a time, every wait ends
//!            │           │                   │ Modbus TCP by tokio-modbus, numbered by `mbap`
//!         absence        │                   │ RTU frames by `rtu` and `exchange`
//!    who is missed       ▼                   ▼
//!            samples with honest quality    open: TCP, TLS, serial line;  dial_in: modems that call
//! ```
//! Promised: each slot gives one sample for each point, a value or `not polled`; a late, short, long or
//! foreign answer is never taken for a value; a device that fails delays no device on another bus, and is
//! asked less and less often so that its neighbours on the same one keep their slots. What stays away is
//! the alarm `davy-source-down`: one for a device, and one only for a whole bus. Never: a write.

mod absence;
mod address;
mod ask;
mod config;
mod dial_in;
mod exchange;
mod line;
mod mbap;
mod open;
mod plan;
mod register;
mod rtu;
mod schedule;
mod state;
mod tls;
mod unit;
mod wire;
mod written;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

pub(crate) use address::RawAddress;
pub use address::{Address, Frames, Host, Identity, Modem, Packet, Parity, Serial, check_together};
pub use ask::{AskError, Conversation, Patience, connect};
pub use config::{Beating, Binding, Config, Device, RawBinding, RawDevice, RawStatus, Status};
pub(crate) use open::{Stream, stream};
pub use register::{Function, Place};
pub(crate) use rtu::checksum;
pub use state::{DeviceState, Devices, Link};

use self::dial_in::Desk;
use self::line::Line;
use self::unit::Unit;
use self::wire::Wire;
use crate::clock::Stopwatch;
use crate::model::{PointIndex, Range};
use crate::source::{Outlet, supervise};

/// Polls until `stop`, or until the journal closes. Supervises itself, device by device.
pub async fn run(
    config: Config,
    points: Vec<(PointIndex, Option<Range>, Binding)>,
    outlet: Outlet,
    stop: CancellationToken,
) {
    let (desks, slots) = Desk::all(config.devices.iter().map(|device| &device.address));
    let mut listening = JoinSet::new();
    for desk in desks {
        listening.spawn(supervise(desk.name(), desk, outlet.clone(), stop.clone()));
    }
    let mut wires = JoinSet::new();
    for (address, units, clock) in buses(&config, points) {
        let slot = if let Address::DialIn(modem) = &address { slots.get(modem).cloned() } else { None };
        let line = Line::new(address, slot);
        wires.spawn(Wire::new(line, units, clock, config.states.clone(), outlet.clone()).run());
    }
    tokio::select! {
        () = stop.cancelled() => {}
        Some(ended) = wires.join_next() => match ended {
            Ok(cause) => error!(%cause, "modbus polling stopped"),
            Err(broken) => std::panic::resume_unwind(broken.into_panic()),
        },
    }
    // A poll that is cut off here is a poll of the down time.
    wires.shutdown().await;
    listening.shutdown().await;
}

/// The devices that have points, by the bus that they share; all slots are counted from one moment.
fn buses(
    config: &Config,
    points: Vec<(PointIndex, Option<Range>, Binding)>,
) -> impl Iterator<Item = (Address, Vec<Unit>, Stopwatch)> {
    let mut by_device: HashMap<String, Vec<_>> = HashMap::new();
    for (point, range, binding) in points {
        by_device.entry(binding.device.clone()).or_default().push((point, range, binding));
    }
    let clock = Stopwatch::start();
    let mut by_address: BTreeMap<Address, Vec<Unit>> = BTreeMap::new();
    for (number, device) in config.devices.iter().enumerate() {
        let Some(points) = by_device.remove(&device.name) else {
            warn!(device = %device.name, "no point is read from this device; it is not polled");
            config.states.change(number, |state| state.link = Link::Unused);
            continue;
        };
        let unit = Unit::new(number, device.clone(), points);
        config.states.change(number, |state| {
            state.points = unit.point_count();
            state.reads = unit.read_count();
        });
        by_address.entry(device.address.clone()).or_default().push(unit);
    }
    for (device, points) in by_device {
        error!(%device, points = points.len(), "points name a device that is not configured; they are not polled");
    }
    by_address.into_iter().map(move |(address, units)| (address, units, clock))
}
