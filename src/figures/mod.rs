//! Alarm figures (KPIs): how many alarms the people at the screen have to bear, and how they get on with them.
//!
//! ```text
//!  facts.db (changes) ─► Event ─┬► Log   the last 24 hours, bounded ─┐
//!                               └────────────── past days ───────────┴► Tally ─► Report (per site, per position, in all)
//! ```
//! In come alarm changes in the order of their numbers; out come the figures of EEMUA 191 and ISA-18.2: alarms
//! per ten minutes and per hour, floods, chattering, fleeting and stale alarms, the mix of priorities, the
//! sources that alarm most, times to acknowledge and to clear, and what became of the messages. Exercises count
//! apart. One fold does the live figures and those of past days, and time is an argument: the same changes give
//! the same figures, over a restart too. Never: an alarm hidden, merged or held back by a figure; episodes stand
//! beside the raw count.

mod book;
mod cause;
mod event;
mod log;
mod places;
mod report;
mod tally;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use book::{Book, Error};
pub use cause::Said;
pub use event::{Event, Opened, Source};
pub use log::Log;
pub use places::Places;
pub use report::{
    Deliveries, Figures, Flood, Floods, Often, OnLine, Rate, Report, Share, Spread, Stale, TARGETS, Target, Top,
    Unapproved,
};
pub use tally::Tally;

/// What "live" looks back on.
pub const WINDOW: Duration = Duration::from_secs(24 * 3_600);
/// Changes are needed from so long before a span: an hour's count, a flood or an episode may reach into it.
pub const LEAD: Duration = Duration::from_secs(3_600);

const MINUTE: Duration = Duration::from_secs(60);
const TEN_MINUTES: Duration = Duration::from_secs(600);
const HOUR: Duration = Duration::from_secs(3_600);

/// EEMUA 191: a flood begins with more than 10 alarms in 10 minutes ..
const FLOOD_BEGINS_ABOVE: usize = 10;
/// .. and ends with fewer than 5 in 10 minutes.
const FLOOD_ENDS_BELOW: usize = 5;
/// ISA-18.2: one alarm that is raised 3 times or more within a minute chatters.
const CHATTERS: usize = 3;
/// ISA-18.2: an alarm that stands for more than a day is stale.
const STALE_AFTER: Duration = Duration::from_secs(24 * 3_600);
/// The standards give no number for "fleeting"; over before anybody can have done anything about it.
const FLEETING_BELOW: Duration = Duration::from_secs(60);
/// EEMUA 191: an hour with more than 30 alarms is one too many.
const HOUR_ABOVE: usize = 30;
/// EEMUA 191: how many of all alarms should be of each priority, P1 first; the last is what is left.
const MIX: [f64; 4] = [0.01, 0.05, 0.15, 0.8];
/// Shares of fewer alarms say nothing.
const MIX_FROM: usize = 20;
/// Counting of 超限: the same again within 10 minutes is the same episode.
const EPISODE_GAP: Duration = Duration::from_secs(600);
