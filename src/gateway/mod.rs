//! The whole gateway, wired.
pub mod core;
pub mod rulebook;
