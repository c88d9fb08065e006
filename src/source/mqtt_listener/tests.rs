//! Devices, screens and attackers at the front door, over real sockets, with a journal that a test holds.

mod devices;
mod hostile;
mod programs;
mod property;
mod rights;
mod speed;
mod stage;
mod subscribers;
