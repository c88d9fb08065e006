//! `davy modbus scan`: which unit ids answer at an address.

use std::io::{IsTerminal, Write as _};
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::advice;
use crate::cli::Refusal;
use crate::source::modbus::{AskError, Conversation, Function, Patience, Place, connect};

/// A connection has that long: it is made once, and again after a unit that was silent.
const CONNECT: Duration = Duration::from_secs(2);

const FORGETTING: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub struct Arguments {
    /// 10.0.4.7:502 (502 when left out), rtu+tcp://10.0.4.9:4001 or serial:/dev/ttyUSB0,9600,none,1.
    address: String,
    /// The unit ids to try: 1-247, or one.
    #[arg(long, default_value = "1-247", value_parser = units)]
    units: RangeInclusive<u8>,
    /// How long each unit may take to answer.
    #[arg(long, default_value = "300ms", value_parser = super::patience, value_name = "TIME")]
    timeout: Duration,
    /// One JSON object for each unit that answers.
    #[arg(long)]
    json: bool,
}

fn units(text: &str) -> Result<RangeInclusive<u8>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.trim().parse::<u8>(), last.trim().parse::<u8>()) {
        (Ok(first), Ok(last)) if first <= last => Ok(first..=last),
        _ => Err(format!("{text:?} is not unit ids such as 1-247 or 7, 0 to 255")),
    }
}

pub async fn run(arguments: &Arguments) -> Result<ExitCode, Refusal> {
    let told = |error: &AskError| advice(&arguments.address, None, error);
    let patience = Patience { connect: CONNECT.max(arguments.timeout), answer: arguments.timeout };
    let mut device = connect(&arguments.address, patience).await.map_err(|error| told(&error))?;
    let (mut found, mut values) = (0, 0);
    let (first, last) = (*arguments.units.start(), *arguments.units.end());
    let mut stopped = None;
    // One for the whole scan: a Ctrl-C between two units counts too.
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    for unit in arguments.units.clone() {
        progress(&format!("unit {unit} of {first} to {last}, {found} found"));
        let answer = tokio::select! {
            answer = look(&mut device, unit) => answer.map_err(|error| told(&error))?,
            _ = &mut interrupted => {
                stopped = Some(unit);
                break;
            }
        };
        let Some(Answer { text: answer, is_value }) = answer else { continue };
        found += 1;
        values += u32::from(is_value);
        progress("");
        if arguments.json {
            println!("{}", json!({ "address": device.address().to_string(), "unit": unit, "answer": answer }));
        } else {
            println!("unit {unit:>3}  {answer}");
        }
    }
    progress("");
    let tried = u32::from(stopped.unwrap_or(last)) - u32::from(first) + u32::from(stopped.is_none());
    if let Some(unit) = stopped {
        eprintln!("stopped at unit {unit}: {tried} tried, {found} found");
    } else if found > 1 && values == tried {
        eprintln!("every unit id answers: this device does not look at it, so any will do");
    }
    if found == 0 {
        return Err(Refusal(format!(
            "{}: connected, but no unit of {tried} tried answers within {}\n  \
             is it Modbus TCP, and are the units powered? Slow lines need a longer --timeout",
            device.address(),
            crate::model::duration_text(arguments.timeout),
        )));
    }
    Ok(ExitCode::SUCCESS)
}

/// How a unit showed that it is there.
struct Answer {
    text: String,
    is_value: bool,
}

/// What the unit says when it is asked for its first holding register; `None` when nobody is there.
async fn look(device: &mut Conversation, unit: u8) -> Result<Option<Answer>, AskError> {
    let first = Place { function: Function::HoldingRegisters, address: 0 };
    let mut read = device.read(unit, first, 1).await;
    if let Err(AskError::Unreachable(_)) = read {
        // A serial gateway that takes one connection needs a moment to forget the one that was dropped.
        tokio::time::sleep(FORGETTING).await;
        read = device.read(unit, first, 1).await;
    }
    match read {
        Ok(words) => {
            let text = format!("answers, 40001 is {}", words.first().copied().unwrap_or_default());
            Ok(Some(Answer { text, is_value: true }))
        }
        Err(error) if error.is_an_answer() => Ok(Some(Answer { text: format!("answers: {error}"), is_value: false })),
        Err(error @ AskError::Unreachable(_)) => Err(error),
        Err(AskError::Refused { .. } | AskError::Silent(_) | AskError::Wrong(_) | AskError::NotAnAddress(_)) => {
            Ok(None)
        }
    }
}

/// One line on a terminal that is written over; nothing in a pipe.
fn progress(text: &str) {
    let mut out = std::io::stderr();
    if out.is_terminal() {
        // A terminal that is gone is no reason to stop.
        write!(out, "\r\u{1b}[K{text}").and_then(|()| out.flush()).ok();
    }
}
