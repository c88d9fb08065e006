//! Warnings for others: chosen alarms as CAP 1.2 messages in the Chinese form of GB/T 35965.1.
//!
//! ```text
//!  alarm change ─► Publisher (chosen? Alert, Update or Cancel?) ─► row in facts.db, in the change's transaction
//!                                                                        ├─► feeds of neighbours (web)
//!                                                                        └─► outbox ─► neighbours' servers (notify)
//! ```
//! In come alarm changes as they are written to `facts.db`, and what was published of the alarm before; out goes
//! at most one message a change. The identifier, the time and the text of a message follow from the change
//! alone: facts that a crash took are written again from the journal with the same messages. Never: a message
//! about an alarm that was not chosen, about the gateway's own conditions, or with the name of a person; a
//! warning that was published and is not ended, because the choice was changed since.
//!
//! | change | message |
//! |---|---|
//! | raised | Alert |
//! | acknowledged while it holds | Update: somebody is at it; the worst value until then |
//! | raised again | Alert; what was before has been cancelled. If it was not: Update |
//! | cleared | Cancel, with references to every message since the Alert |
//! | acknowledged after it was over | none: nothing is left to be said |
//!
//! An alarm's level never changes; a worse one at the same point is another alarm, told by a message of its own
//! with the same `incidents`. Davy records no change when only the worst value grows, so that it is told with
//! the next message.

mod config;
mod feed;
mod message;
mod neighbour;
#[cfg(test)]
mod tests;

pub use config::{Choice, Config, Raw};
pub use feed::{Entry, Feed, Feeds, atom};
pub use message::{Earlier, Kind, Message, Publisher, Slot};
pub use neighbour::{CHANNEL as NEIGHBOUR, Neighbour};
