//! The commands. One file each; exit code 0 is done, 1 refused or failed with a message, 2 usage.
//!
//! Messages for people go to stderr, results to stdout, so that `--json` can be piped.

mod alarm;
mod ask;
mod audit;
mod backtest;
mod bench;
mod case;
mod check;
mod cost;
mod demo;
mod doctor;
mod duty;
mod exercise;
mod explain;
mod figures;
mod modbus;
mod notify;
mod permit;
mod points;
mod protection;
mod revisions;
mod rules;
mod run;
mod shipped;
mod site;
mod user;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// Early-warning gateway for coal mines, chemical plants, fire protection and flood watch.
#[derive(Debug, Parser)]
#[command(name = "davy", version, max_term_width = 100)]
pub struct Cli {
    /// Log as JSON lines instead of text.
    #[arg(long, global = true)]
    log_json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway until it is told to stop (Ctrl-C, SIGTERM).
    Run {
        /// The configuration; paths in it are relative to it.
        #[arg(long, env = "DAVY_CONFIG", default_value = "config/davy.toml")]
        config: PathBuf,
    },
    /// Run the gateway with a simulated mine, plant, building and reservoir, in a temporary folder.
    Demo(demo::Arguments),
    /// Tell every problem in configuration, points and rules; exit 1 if there is any.
    Check {
        /// The configuration to look at.
        #[arg(long, env = "DAVY_CONFIG", default_value = "config/davy.toml")]
        config: PathBuf,
        /// One JSON object a problem.
        #[arg(long)]
        json: bool,
    },
    /// List alarms, acknowledge, shelve, reset or take them out of service.
    #[command(subcommand)]
    Alarm(alarm::Command),
    /// Open, end or list work on sensors: calibration, maintenance, exercise.
    #[command(subcommand)]
    Permit(permit::Command),
    /// Exercises with injected values: start, inject, end, list. Nothing in the field is touched.
    #[command(subcommand)]
    Exercise(exercise::Command),
    /// Follow alarms until they are settled: answer, handle, verify, close.
    #[command(subcommand)]
    Case(case::Command),
    /// Who is on duty and whom alarms call; leave and hand-overs.
    #[command(subcommand)]
    Duty(duty::Command),
    /// Say or show what sites are doing: producing, stopped, maintenance.
    #[command(subcommand)]
    Site(site::Command),
    /// Show what reduces protection now, and what is left at each site.
    Protection {
        #[command(flatten)]
        at: ask::Gateway,
        /// The whole list that a shift hands over: alarms, cases, protection, calibrations, messages.
        #[arg(long)]
        handover: bool,
        /// The API's answer as it is.
        #[arg(long)]
        json: bool,
    },
    /// Look for what is wrong with a gateway, running or stopped; exit 1 if anything is an error.
    Doctor {
        /// The configuration of the gateway.
        #[arg(long, env = "DAVY_CONFIG", default_value = "config/davy.toml")]
        config: PathBuf,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// How many alarms there were, against what one person at a screen can bear.
    Figures(figures::Arguments),
    /// Import or export points in bulk.
    #[command(subcommand)]
    Points(points::Command),
    /// List, test or backtest rules; draft, approve, roll back at the gateway that is running.
    #[command(subcommand)]
    Rules(rules::Command),
    /// Look into the chain of records: who did what, when and why.
    #[command(subcommand)]
    Audit(audit::Command),
    /// Show the people who may ask, or make a token for somebody new.
    #[command(subcommand)]
    User(user::Command),
    /// Look into a Modbus device: its registers in every type and byte order, the units that answer.
    #[command(subcommand)]
    Modbus(modbus::Command),
    /// List who is told of alarms, or send a test message.
    #[command(subcommand)]
    Notify(notify::Command),
    /// Measure what this machine carries.
    #[command(subcommand)]
    Bench(bench::Command),
}

/// Why a command did not do what it was asked for; printed once, exit code 1.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

impl Refusal {
    /// An error with everything that caused it.
    pub fn of(error: &dyn std::error::Error) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let more = error.to_string();
            if !text.ends_with(&more) {
                text.push_str(": ");
                text.push_str(&more);
            }
            cause = error.source();
        }
        Self(text)
    }
}

impl Cli {
    /// Does what was asked for.
    #[must_use]
    pub fn run(self) -> ExitCode {
        // Every TLS connection uses ring; a second call would only say that it is installed already.
        rustls::crypto::ring::default_provider().install_default().ok();
        let quiet = match &self.command {
            Command::Run { .. } => "info",
            Command::Demo(_)
            | Command::Alarm(_)
            | Command::Permit(_)
            | Command::Exercise(_)
            | Command::Case(_)
            | Command::Duty(_)
            | Command::Site(_)
            | Command::Protection { .. }
            | Command::Check { .. }
            | Command::Doctor { .. }
            | Command::Figures(_)
            | Command::Points(_)
            | Command::Rules(_)
            | Command::Audit(_)
            | Command::User(_)
            | Command::Modbus(_)
            | Command::Notify(_)
            | Command::Bench(_) => "warn",
        };
        log(self.log_json, quiet);
        if !matches!(self.command, Command::Run { .. }) {
            let_readers_go();
        }
        let done = match self.command {
            Command::Run { config } => run::run(&config),
            Command::Demo(arguments) => demo::run(&arguments),
            Command::Check { config, json } => check::run(&config, json),
            Command::Alarm(command) => alarm::run(&command),
            Command::Permit(command) => permit::run(&command),
            Command::Exercise(command) => exercise::run(&command),
            Command::Case(command) => case::run(&command),
            Command::Duty(command) => duty::run(&command),
            Command::Site(command) => site::run(&command),
            Command::Protection { at, handover, json } => protection::run(&at, handover, json),
            Command::Doctor { config, json } => doctor::run(&config, json),
            Command::Figures(arguments) => figures::run(&arguments),
            Command::Points(command) => points::run(&command),
            Command::Rules(command) => rules::run(&command),
            Command::Audit(command) => audit::run(&command),
            Command::User(command) => user::run(&command),
            Command::Modbus(command) => modbus::run(&command),
            Command::Notify(command) => notify::run(&command),
            Command::Bench(command) => bench::run(&command),
        };
        match done {
            Ok(code) => code,
            Err(refusal) => {
                eprintln!("davy: {refusal}");
                ExitCode::FAILURE
            }
        }
    }
}

/// Whoever reads `davy rules list | head` has seen enough; that is no failure of the command.
fn let_readers_go() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let said = panic.payload_as_str().unwrap_or_default();
        if said.starts_with("failed printing to stdout") && said.contains("Broken pipe") {
            std::process::exit(0);
        }
        tell(panic);
    }));
}

/// Logs go to stderr; `DAVY_LOG` sets what is shown (`debug`, `davy::source=trace`).
fn log(json: bool, default: &str) {
    let filter = EnvFilter::try_from_env("DAVY_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if json {
        log.json().init();
    } else {
        log.with_ansi(std::io::stderr().is_terminal()).init();
    }
}

/// A runtime for the edges: one thread for each core, at least two.
fn runtime() -> Result<tokio::runtime::Runtime, Refusal> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Refusal(format!("the operating system gives no event loop: {error}")))
}
