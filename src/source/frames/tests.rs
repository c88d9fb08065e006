//! What operators of the three kinds of devices live through at a door, over real sockets.

mod fire;
mod monitor;
mod property;
mod stage;
mod station;
