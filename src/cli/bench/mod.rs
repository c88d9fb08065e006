//! `davy bench`: what this machine carries; one JSON object a run, or the same in lines for people.

mod alarms;
mod backtest;
mod engine;
mod history;
mod latency;
mod modbus;
mod mqtt;
mod stand;

pub(super) use engine::{places, point};

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::Value;

use super::Refusal;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Rules, windows and alarm steps, in memory.
    Engine(engine::Arguments),
    /// Messages a second through the MQTT listener, journalled, judged and stored.
    Mqtt(mqtt::Arguments),
    /// From a sample at the socket to its alarm at a subscriber, under background load.
    Latency(latency::Arguments),
    /// Modbus TCP devices polled on their schedule; the CPU of the simulated devices is not counted.
    Modbus(modbus::Arguments),
    /// The devices of `bench modbus`, in a process of their own.
    #[command(hide = true)]
    ModbusField(modbus::FieldArguments),
    /// Rules over stored samples: a point's year at a sample every ten seconds.
    Backtest(backtest::Arguments),
    /// A storm: alarms raised, acknowledged and told, and a P1 in the middle of it.
    Alarms(alarms::Arguments),
    /// Writing and reading Parquet history.
    History(history::Arguments),
}

pub fn run(command: &Command) -> Result<ExitCode, Refusal> {
    let (mut figures, as_json) = match command {
        Command::Engine(arguments) => (engine::run(arguments), arguments.json),
        Command::Mqtt(arguments) => (mqtt::run(arguments)?, arguments.json),
        Command::Latency(arguments) => (latency::run(arguments)?, arguments.json),
        Command::Modbus(arguments) => (modbus::run(arguments)?, arguments.json),
        Command::ModbusField(arguments) => return modbus::field(arguments).map(|()| ExitCode::SUCCESS),
        Command::Backtest(arguments) => (backtest::run(arguments)?, arguments.json),
        Command::Alarms(arguments) => (alarms::run(arguments)?, arguments.json),
        Command::History(arguments) => (history::run(arguments)?, arguments.json),
    };
    if let Value::Object(figures) = &mut figures {
        figures.insert("cores".into(), std::thread::available_parallelism().map_or(0, usize::from).into());
        figures.insert("rss_mb".into(), resident_mb().into());
    }
    if as_json {
        println!("{figures}");
    } else if let Value::Object(figures) = figures {
        figures.iter().for_each(|(name, value)| println!("{name:<28} {value}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Memory in use, from the kernel's own account; 0 where there is none.
pub fn resident_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
