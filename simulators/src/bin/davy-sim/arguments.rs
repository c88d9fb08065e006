//! What may stand on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use davy_simulators::mqtt::Login;
use davy_simulators::scenario::duration_in;

/// Longest run: nothing that this program starts is to be forgotten.
const LONGEST: Duration = Duration::from_secs(86_400);

/// Pretend detectors, sensors and load over real sockets.
#[derive(Debug, Parser)]
#[command(name = "davy-sim", version)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Simulated Modbus TCP detectors on one port
    Modbus(Modbus),
    /// The four demo sites: Modbus detectors, MQTT sensors and seven scenarios over them
    Sites(Sites),
    /// The table of the demo's points
    Points(Points),
    /// Many alike sensors over MQTT
    Fleet(Fleet),
    /// What happens at the points over time
    Scenario(Scenario),
    /// As many MQTT messages as the server takes, or at a rate
    Load(Load),
}

/// How long to run, and for whom to write.
#[derive(Debug, Args)]
pub struct Bounds {
    /// End after that time: 30s, 5m, 2h; at most 24h
    #[arg(long = "for", value_name = "TIME", default_value = "60s", value_parser = span)]
    pub span: Duration,
    /// Write for a program: one JSON object a line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Broker {
    /// MQTT server, such as 127.0.0.1:1883
    #[arg(long, value_name = "HOST:PORT")]
    pub mqtt: String,
    /// User of the MQTT server; the password stands in the environment as DAVY_SIM_PASSWORD
    #[arg(long)]
    pub user: Option<String>,
}

impl Broker {
    pub async fn address(&self) -> Result<SocketAddr, crate::Failed> {
        let mut found = tokio::net::lookup_host(&self.mqtt)
            .await
            .map_err(|error| format!("--mqtt {}: {error}; expected host:port, such as 127.0.0.1:1883", self.mqtt))?;
        found.next().ok_or_else(|| format!("--mqtt {}: the name has no address", self.mqtt).into())
    }

    pub fn login(&self) -> Option<Login> {
        let password = std::env::var("DAVY_SIM_PASSWORD").unwrap_or_default();
        self.user.clone().map(|user| Login { user, password })
    }
}

#[derive(Debug, Args)]
pub struct Modbus {
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Let a quantity read a value: 1.h2s=20 (unit, quantity, value)
    #[arg(long, value_name = "UNIT.QUANTITY=VALUE")]
    pub set: Vec<String>,
    /// Let a unit misbehave: 4=silent, drop, short, truncated, wrong-unit, wrong-transaction, heartbeat-stopped,
    /// late:1500ms, exception:2
    #[arg(long, value_name = "UNIT=HOW")]
    pub fault: Vec<String>,
    #[command(flatten)]
    pub bounds: Bounds,
}

#[derive(Debug, Args)]
pub struct Sites {
    #[command(flatten)]
    pub broker: Broker,
    /// Port of the Modbus detectors on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    pub modbus_port: u16,
    #[command(flatten)]
    pub bounds: Bounds,
}

#[derive(Debug, Args)]
pub struct Points {
    /// Write for a program: one JSON object a point
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum FormWord {
    Single,
    Object,
    Array,
}

#[derive(Debug, Args)]
pub struct Fleet {
    #[command(flatten)]
    pub broker: Broker,
    /// First part of the topics
    #[arg(long, default_value = "fleet")]
    pub site: String,
    #[arg(long, default_value_t = 100)]
    pub sensors: u32,
    #[arg(long, default_value_t = 1)]
    pub connections: u32,
    /// How often each sensor speaks
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = span)]
    pub period: Duration,
    /// The sensors read around it
    #[arg(long, default_value_t = 0.42)]
    pub value: f64,
    /// Largest deviation
    #[arg(long, default_value_t = 0.05)]
    pub noise: f64,
    #[arg(long, default_value_t = 0.01)]
    pub resolution: f64,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=1))]
    pub qos: u8,
    /// One sample a message, all sensors in one object, or an array of samples
    #[arg(long, value_enum, default_value_t = FormWord::Single)]
    pub form: FormWord,
    /// Samples a message with --form array
    #[arg(long, default_value_t = 10)]
    pub samples: u16,
    #[command(flatten)]
    pub bounds: Bounds,
}

#[derive(Debug, Args)]
pub struct Scenario {
    #[command(subcommand)]
    pub command: ScenarioCommand,
}

#[derive(Debug, Subcommand)]
pub enum ScenarioCommand {
    /// The shipped scenarios
    List {
        #[arg(long)]
        json: bool,
    },
    /// The file of a shipped scenario, to read or to start one's own from
    Show { name: String },
    /// Plays a scenario: over MQTT on {site}/{point}, or on the screen
    Play(Play),
}

#[derive(Debug, Args)]
pub struct Play {
    /// A shipped scenario's name or a file
    pub scenario: String,
    /// MQTT server, such as 127.0.0.1:1883; without it the readings are written out
    #[arg(long, value_name = "HOST:PORT")]
    pub mqtt: Option<String>,
    /// User of the MQTT server; the password stands in the environment as DAVY_SIM_PASSWORD
    #[arg(long)]
    pub user: Option<String>,
    /// Scenario seconds a second
    #[arg(long, default_value_t = 1.0, value_parser = speed)]
    pub speed: f64,
    /// How often each point speaks
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = span)]
    pub period: Duration,
    #[command(flatten)]
    pub bounds: Bounds,
}

#[derive(Debug, Args)]
pub struct Load {
    /// MQTT server, such as 127.0.0.1:1883
    #[arg(long, value_name = "HOST:PORT", required_unless_present = "dry")]
    pub mqtt: Option<String>,
    /// User of the MQTT server; the password stands in the environment as DAVY_SIM_PASSWORD
    #[arg(long)]
    pub user: Option<String>,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=1))]
    pub qos: u8,
    #[arg(long, default_value_t = 1)]
    pub connections: u32,
    /// First part of the topics {site}/p000000 ...
    #[arg(long, default_value = "load")]
    pub site: String,
    #[arg(long, default_value_t = 1_000)]
    pub points: u32,
    /// End after that many messages in all
    #[arg(long)]
    pub messages: Option<u64>,
    /// End after that time; 10s when no --messages are given
    #[arg(long = "for", value_name = "TIME", value_parser = span)]
    pub span: Option<Duration>,
    /// Messages a second in all; as fast as it goes without
    #[arg(long)]
    pub rate: Option<u64>,
    /// With a rate, messages leave in bunches this far apart
    #[arg(long, value_name = "TIME", default_value = "1ms", value_parser = span)]
    pub slot: Duration,
    /// QoS 1: messages in flight on a connection
    #[arg(long, default_value_t = 1_000)]
    pub window: u16,
    /// Give a connection up after that time without progress
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = span)]
    pub patience: Duration,
    /// Write every acknowledged message to this file: topic,time_ms,value
    #[arg(long, value_name = "FILE")]
    pub acks: Option<PathBuf>,
    /// Send nothing, measure what making a message costs
    #[arg(long)]
    pub dry: bool,
    #[arg(long)]
    pub json: bool,
}

fn span(text: &str) -> Result<Duration, String> {
    match duration_in(text) {
        Some(span) if !span.is_zero() && span <= LONGEST => Ok(span),
        Some(_) => Err("expected more than nothing and at most 24h".to_owned()),
        None => Err("expected a duration such as 500ms, 30s, 5m or 2h".to_owned()),
    }
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if speed > 0.0 && speed <= 10_000.0 => Ok(speed),
        Ok(_) | Err(_) => Err("expected a number above 0 and at most 10000".to_owned()),
    }
}
