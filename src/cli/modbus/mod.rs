//! `davy modbus`: what a device has in its registers, and which units answer on a line.
//!
//! Only ever reads, on a connection of its own, so it may be used while the gateway polls.

mod page;
mod probe;
mod scan;
mod view;

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;

use super::{Refusal, runtime};
use crate::model::{duration_text, parse_duration};
use crate::source::modbus::AskError;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show registers as every type and in every byte order, and which of them fit a known reading.
    ///
    /// Byte orders are named by example: the bytes A B C D of 123456.0 are 47 F1 20 00, and ABCD means that they
    /// stand on the wire as 47F1 2000, CDAB as 2000 47F1, BADC as F147 0020, DCBA as 0020 F147. Beware: the manual
    /// pages of libmodbus use the names the other way round and call 0020 F147 "ABCD". Go by the bytes, or give
    /// the reading of the display with --expect.
    Probe(probe::Arguments),
    /// Find the unit ids that answer at an address.
    Scan(scan::Arguments),
}

pub fn run(command: &Command) -> Result<ExitCode, Refusal> {
    match command {
        Command::Probe(arguments) => runtime()?.block_on(probe::run(arguments)),
        Command::Scan(arguments) => runtime()?.block_on(scan::run(arguments)),
    }
}

/// `500ms`, `2s`: long enough to be answered, short enough to wait for.
fn patience(text: &str) -> Result<Duration, String> {
    let span = parse_duration(text).map_err(|error| error.to_string())?;
    let range = Duration::from_millis(10)..=Duration::from_secs(60);
    if range.contains(&span) { Ok(span) } else { Err(format!("{} is outside 10ms..=60s", duration_text(span))) }
}

/// What went wrong, and what a person at the device can do about it.
fn advice(address: &str, unit: Option<u8>, error: &AskError) -> Refusal {
    let at = unit.map_or_else(|| address.to_owned(), |unit| format!("{address} unit {unit}"));
    let hint = match error {
        AskError::NotAnAddress(_) => return Refusal(error.to_string()),
        AskError::Unreachable(_) => {
            "check address and port (Modbus TCP is 502), the device's power and the network; some devices take only \
             one connection, and the gateway may have it"
        }
        AskError::Silent(_) => {
            "somebody took the connection, but this unit does not answer: try davy modbus scan, or a longer --timeout"
        }
        AskError::Refused { .. } if error.is_about_the_address() => {
            "the device is there, but it has nothing at these addresses: try another --from, or --function 4"
        }
        AskError::Refused { .. } if !error.is_an_answer() => {
            "the gateway answers, but not the unit behind it: try davy modbus scan"
        }
        AskError::Refused { .. } => "the device is there, but refuses this: try another --function (3 or 4)",
        AskError::Wrong(_) => "is it Modbus TCP at all? A serial device server in transparent mode sends RTU frames",
    };
    Refusal(format!("{at}: {error}\n  {hint}"))
}
