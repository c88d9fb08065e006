//! Modbus TCP devices polled by a whole gateway: polls missed, and what of a core it takes.
//!
//! The devices are processes of their own, so that their work is not counted: this binary again, with
//! `bench modbus-field`, which ends with its standard input.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::Args;
use davy_simulators::modbus::{Device, ModbusDevices, Table, registers};
use serde_json::{Value, json};

use super::super::{Refusal, runtime};
use super::stand::Stand;
use crate::clock::Stopwatch;
use crate::source::modbus::Devices;

/// Devices of one process; each takes a port and a connection, and a process has 1,024 files.
const A_PROCESS: u32 = 200;
/// Until everything is connected and the first slots are over.
const WARM_UP: Duration = Duration::from_secs(3);

#[derive(Debug, Args)]
pub struct Arguments {
    /// Devices, one address each.
    #[arg(long, default_value_t = 500)]
    devices: u32,
    /// Registers of each, all of them points.
    #[arg(long, default_value_t = 30)]
    registers: u16,
    /// How often each is polled.
    #[arg(long, default_value_t = 500)]
    period_ms: u64,
    /// How long is measured.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct FieldArguments {
    #[arg(long)]
    devices: u32,
    #[arg(long)]
    registers: u16,
}

pub fn run(arguments: &Arguments) -> Result<Value, Refusal> {
    let mut fields = Vec::new();
    let mut left = arguments.devices;
    while left > 0 {
        fields.push(Field::start(left.min(A_PROCESS), arguments.registers)?);
        left = left.saturating_sub(A_PROCESS);
    }
    let addresses: Vec<SocketAddr> = fields.iter().flat_map(|field| field.addresses.clone()).collect();
    let stand = Stand::new()?;
    let runtime = runtime()?;
    let gateway = runtime.block_on(stand.poller(&addresses, arguments.registers, arguments.period_ms))?;
    std::thread::sleep(WARM_UP);
    let (before, cpu_before, watch) = (Tally::of(&gateway.devices), cpu_seconds(), Stopwatch::start());
    std::thread::sleep(Duration::from_secs(arguments.seconds));
    let (after, cpu_after, seconds) = (Tally::of(&gateway.devices), cpu_seconds(), watch.elapsed().as_secs_f64());
    gateway.stop.clone().cancel();
    runtime.block_on(gateway.run()).map_err(|error| Refusal::of(&error))?;
    let polls = after.polls - before.polls;
    Ok(json!({
        "devices": arguments.devices,
        "registers": arguments.registers,
        "period_ms": arguments.period_ms,
        "polls": polls,
        "missed_polls": after.lost - before.lost,
        "values_per_s": (polls as f64 * f64::from(arguments.registers) / seconds).round(),
        "latest_start_ms": (after.latest_start_ms * 10.0).round() / 10.0,
        "cpu_share": ((cpu_after - cpu_before) / seconds * 1e3).round() / 1e3,
        "seconds": (seconds * 10.0).round() / 10.0,
    }))
}

/// Over all devices.
struct Tally {
    polls: u64,
    /// Slots without an answer, whatever the reason.
    lost: u64,
    latest_start_ms: f64,
}

impl Tally {
    fn of(devices: &Devices) -> Self {
        let mut tally = Self { polls: 0, lost: 0, latest_start_ms: 0.0 };
        for state in devices.list() {
            tally.polls += state.polls;
            tally.lost += state.missed + state.rested + state.failed;
            tally.latest_start_ms = tally.latest_start_ms.max(state.latest_start_ms);
        }
        tally
    }
}

/// Time on a core that this process used so far, in user and system mode, from the kernel's own account; 0
/// where there is none.
fn cpu_seconds() -> f64 {
    // Linux counts in hundredths of a second here, whatever its own clock (`man 5 proc_pid_stat`).
    const TICKS: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in parentheses may contain blanks; user and system time are fields 14 and 15.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS
}

/// A process with devices; it ends when this is dropped.
struct Field {
    child: Child,
    addresses: Vec<SocketAddr>,
}

impl Field {
    fn start(devices: u32, registers: u16) -> Result<Self, Refusal> {
        let broken = |error: std::io::Error| Refusal(format!("the simulated devices cannot be started: {error}"));
        let binary = std::env::current_exe().map_err(broken)?;
        let mut child = Command::new(binary)
            .args(["bench", "modbus-field", "--devices", &devices.to_string(), "--registers", &registers.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(broken)?;
        let told = child.stdout.take().map(BufReader::new);
        let mut field = Self { child, addresses: Vec::new() };
        for line in told.into_iter().flat_map(BufRead::lines).take(devices as usize) {
            field.addresses.extend(line.map_err(broken)?.parse::<SocketAddr>().ok());
        }
        if field.addresses.len() == devices as usize {
            return Ok(field);
        }
        Err(Refusal(format!("only {} of {devices} simulated devices started", field.addresses.len())))
    }
}

impl Drop for Field {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().ok();
    }
}

/// The devices themselves: prints their addresses and answers until standard input ends.
pub fn field(arguments: &FieldArguments) -> Result<(), Refusal> {
    let runtime = runtime()?;
    let devices = runtime.block_on(async {
        let mut devices = Vec::new();
        for _ in 0..arguments.devices {
            let map = registers(Table::Holding, 0, arguments.registers);
            devices.push(ModbusDevices::start(vec![Device::new(1, map)]).await.map_err(|error| Refusal::of(&error))?);
        }
        Ok::<_, Refusal>(devices)
    })?;
    devices.iter().for_each(|device| println!("{}", device.address()));
    std::io::stdin().read_to_end(&mut Vec::new()).map_err(|error| Refusal::of(&error))?;
    drop(devices);
    Ok(())
}
