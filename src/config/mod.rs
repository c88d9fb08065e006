//! The only code that reads configuration files.
//!
//! In come TOML and CSV as written; out comes a [`Config`] of proven types, or every problem at once with
//! file and key. No optional, no string survives past here that could have been decided here.

mod problem;

pub use problem::{Key, Problem, Problems};
