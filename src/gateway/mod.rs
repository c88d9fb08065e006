//! The whole gateway, wired.
pub mod core;
