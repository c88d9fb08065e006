//! Bytes from the field -> samples. Pure: no clock, no I/O, no log, nothing that waits.
//!
//! ```text
//!  topic ──► route (remembered): which point, which form ─┐
//!  payload ─► flat scan, one pass ────────────────────────┼─► Sample    {"value":0.42,"time":1790000000123}
//!            └► else: validate once, then walk the paths ─┤             everything else
//!            └► other formats, a line or record at a time ┘             CSV, binary, line protocol, scripts
//! ```
//! In come a topic, a payload and the time it was received; out go samples with honest quality.
//! Promised: a sample or message that is not used has a [`Fate`](crate::ledger::Fate) and is counted; a bad
//! part of a message never takes the good parts with it; the quick way and the general way agree on every
//! input. Never: an allocation for a common message, a panic, recursion deeper than a fixed bound, memory
//! that a hostile sender can make grow.

mod binary;
mod csv;
mod decoder;
mod flat;
mod form;
pub mod frames;
mod json;
mod lines;
mod loss;
mod name;
mod path;
pub mod registers;
mod scalar;
mod script;
pub mod sparkplug;
mod status;
mod topic;

pub use csv::offset as utc_offset;
pub use decoder::{Decoder, Forms};
pub use form::{API_CSV, API_JSON, API_LINES, api_patterns};
pub use form::{Binding, Pattern, RawBinding, RawPattern, check_patterns, default_patterns};
pub use lines::RawLines;
pub use loss::Loss;
pub use path::{Path, PathError};
pub use topic::{TopicError, TopicPattern};
