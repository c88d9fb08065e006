//! Modbus TCP devices: real detectors' register maps behind one port, several unit ids, values settable
//! while they run, and able to misbehave in each of the ways that lead a careless master astray.
//!
//! In: values by quantity name, conditions, faults. Out: answers to function codes 01 to 04, byte for byte
//! as the maker's manual lays the registers out. Every request is counted. A write is never carried out:
//! it is refused with exception 01 and counted, so that a test can show that a master never wrote.

mod detectors;
mod map;
mod server;
mod unit;
mod wire;

#[cfg(test)]
mod tests;

pub use detectors::{Gas, detcon_1000, gauge, midas, pt495, registers};
pub use map::{Device, Form, Map, Model, Order, Quantity, SetPoints, StatusBit, Table, words};
pub use server::{ModbusDevices, ModbusError};
pub use unit::{Condition, Misbehaviour, Span, Traffic};
