//! `davy-sim`: pretend devices and load from the command line.
//!
//! Everything it starts ends by itself (`--for`, `--messages`) or on Ctrl-C, and says on the way out what it
//! did. What a program may want to read comes as JSON with `--json`. Exit codes: 0 done, 1 failed, 2 usage.

mod arguments;
mod devices;
mod loads;
mod scenarios;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use arguments::{Arguments, Command};

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Modbus(asked) => devices::modbus(asked).await,
        Command::Sites(asked) => devices::sites(asked).await,
        Command::Points(asked) => devices::points(&asked),
        Command::Fleet(asked) => devices::fleet(asked).await,
        Command::Scenario(asked) => scenarios::scenario(asked).await,
        Command::Load(asked) => loads::load(asked).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("davy-sim: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Why a command failed, for a person.
type Failed = Box<dyn std::error::Error>;

/// Ends after `span` or on Ctrl-C, whichever comes first.
async fn until_over(span: Duration) {
    tokio::select! {
        () = tokio::time::sleep(span) => {}
        () = until_interrupted() => {}
    }
}

/// A machine without signals runs until its time is up.
async fn until_interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// One JSON object on one line.
fn say_json(what: &impl serde::Serialize) -> Result<(), Failed> {
    say(&serde_json::to_string(what)?)
}

/// A line on standard output. A reader that has gone away (`| head`) is the end of the program.
fn say(line: &str) -> Result<(), Failed> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
