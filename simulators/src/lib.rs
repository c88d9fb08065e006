//! Pretend devices, sensors and load over real sockets, so that Davy can be shown, tested and measured
//! without a mine.
//!
//! ```text
//!  scenarios/*.toml ─► scenario ─► site ─┬─► modbus   detectors on one TCP port, able to misbehave
//!                                        └─► mqtt     topics {site}/{point}
//!                      fleet ──────────────► mqtt     N alike sensors, three payload forms
//!                      load  ──────────────► MQTT 3.1.1 by hand, as fast as the machine allows
//! ```
//! It knows nothing of the davy crate: what it sends must be understood from the wire alone. Everything is
//! bounded, in time or in messages, and stops when its handle is stopped or dropped.

pub mod clock;
pub mod fleet;
pub mod load;
pub mod modbus;
pub mod mqtt;
pub mod noise;
pub mod scenario;
pub mod site;
mod stop;
