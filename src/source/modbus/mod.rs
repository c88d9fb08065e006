//! Modbus TCP poller: reads registers and bits of devices on a fixed schedule. It only ever reads.
//!
//! ```text
//!  config ─► unit   points of one device ─► plan     near registers merged into few reads
//!                        │                  schedule  slot n at first + n * period, phases spread
//!                        ▼
//!  wire   one task a connection (host:port) ─► line   one request at a time, every wait ends
//!                        │                              ▲ function 1 to 4
//!                        ▼                              ▼
//!            samples with honest quality             the device
//! ```
//! Promised: each slot gives one sample for each point, a value or `not polled`; a late, short, long or
//! foreign answer is never taken for a value; a device that fails delays no device on another connection,
//! and is asked less and less often so that its neighbours on the same one keep their slots. A device that
//! stays away is the alarm `davy-source-down`. Never: a write.

mod ask;
mod config;
mod line;
mod plan;
mod register;
mod schedule;
mod state;
mod unit;
mod wire;
mod written;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

pub use ask::{AskError, Conversation, Patience, connect};
pub use config::{Address, Beating, Binding, Config, Device, RawBinding, RawDevice, RawStatus, Status};
pub use register::{Function, Place};
pub use state::{DeviceState, Devices, Link};

use self::unit::Unit;
use self::wire::Wire;
use crate::clock::Stopwatch;
use crate::model::{PointIndex, Range};
use crate::source::Outlet;

/// Polls until `stop`, or until the journal closes. Supervises itself, device by device.
pub async fn run(
    config: Config,
    points: Vec<(PointIndex, Option<Range>, Binding)>,
    outlet: Outlet,
    stop: CancellationToken,
) {
    let mut wires = JoinSet::new();
    for wire in wires_of(&config, points, &outlet) {
        wires.spawn(wire.run());
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
}

fn wires_of(config: &Config, points: Vec<(PointIndex, Option<Range>, Binding)>, outlet: &Outlet) -> Vec<Wire> {
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
    let wire = |(address, units)| Wire::new(address, units, clock, config.states.clone(), outlet.clone());
    by_address.into_iter().map(wire).collect()
}
