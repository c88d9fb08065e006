//! `[notify.siren.<name>]`: which output a siren hangs on, how it is reached, and what shows that it sounds.
//!
//! The ways to reach it are those of `[source.modbus]`, in the same words; a modem that calls is none of them, because
//! a siren does not wait for a call. A port that is polled for values has its master already and is refused here.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::config::{Key, Problems};
use crate::notify::webhook::timeout;
use crate::source::modbus::{Address, RawAddress};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    address: String,
    baud: Option<u32>,
    parity: Option<String>,
    stop_bits: Option<u8>,
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    server_name: Option<String>,
    #[serde(default = "first")]
    unit: u8,
    coil: Option<u16>,
    register: Option<u16>,
    #[serde(default = "one")]
    on: u16,
    #[serde(default)]
    off: u16,
    confirm_input: Option<u16>,
    /// Shows that somebody holds the mute key.
    mute_input: Option<u16>,
    #[serde(default = "two_minutes")]
    mute_limit: String,
    /// From the write to the reading back.
    #[serde(default = "settle")]
    settle: String,
    #[serde(default = "repeat")]
    repeat: String,
    #[serde(default)]
    exercises: bool,
    #[serde(default = "two_seconds")]
    timeout: String,
}

const fn first() -> u8 {
    1
}

const fn one() -> u16 {
    1
}

fn settle() -> String {
    "200ms".into()
}

fn repeat() -> String {
    "30s".into()
}

fn two_minutes() -> String {
    "120s".into()
}

fn two_seconds() -> String {
    "2s".into()
}

/// What is switched; the only things that are ever written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    Coil(u16),
    Register { address: u16, on: u16, off: u16 },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub address: Address,
    pub(super) unit: u8,
    pub(super) output: Output,
    pub(super) confirm_input: Option<u16>,
    pub(super) mute_input: Option<u16>,
    pub(super) mute_limit: Duration,
    pub(super) settle: Duration,
    pub(super) repeat: Duration,
    pub(super) exercises: bool,
    pub(super) timeout: Duration,
}

impl Raw {
    pub fn check(self, at: &Key, problems: &mut Problems) -> Option<Config> {
        let link = RawAddress {
            address: self.address,
            baud: self.baud,
            parity: self.parity,
            stop_bits: self.stop_bits,
            ca: self.ca,
            certificate: self.certificate,
            key: self.key,
            server_name: self.server_name,
            registration: None,
            heartbeat: None,
            frames: None,
        };
        let address = reachable(&link, at, problems);
        let unit = problems.within(at.field("unit"), self.unit, 1..=247);
        let millis = Duration::from_millis;
        let settle = problems.duration(at.field("settle"), &self.settle, Duration::ZERO..=millis(5_000));
        let repeat = problems.duration(at.field("repeat"), &self.repeat, millis(100)..=millis(600_000));
        let mute_limit = problems.duration(at.field("mute_limit"), &self.mute_limit, millis(100)..=millis(3_600_000));
        let timeout = timeout(problems, at, &self.timeout);
        let output = match (self.coil, self.register) {
            (Some(coil), None) => Some(Output::Coil(coil)),
            (None, Some(address)) if self.on != self.off => {
                Some(Output::Register { address, on: self.on, off: self.off })
            }
            (None, Some(_)) => {
                problems.add(at.field("off"), "is the same as on: the register would say nothing");
                None
            }
            (None, None) => {
                problems.add(at.field("coil"), "is missing: write coil = or register = for what switches the siren");
                None
            }
            (Some(_), Some(_)) => {
                problems.add(at.field("register"), "coil is given too; leave one of them");
                None
            }
        };
        Some(Config {
            address: address?,
            unit: unit?,
            output: output?,
            confirm_input: self.confirm_input,
            mute_input: self.mute_input,
            mute_limit: mute_limit?,
            settle: settle?,
            repeat: repeat?,
            exercises: self.exercises,
            timeout: timeout?,
        })
    }
}

fn reachable(link: &RawAddress, at: &Key, problems: &mut Problems) -> Option<Address> {
    if link.address.starts_with("dial-in:") {
        let known = "10.0.4.7:502, rtu+tcp://10.0.4.7:4001, serial:/dev/ttyUSB0 or tls://10.0.4.7:802";
        problems.add(at.field("address"), format!("a siren does not wait for a modem to call: write {known}"));
        return None;
    }
    link.check(at, problems)
}

/// Two masters on one line take each other's answers. `polled`: the devices by name; `sirens`: likewise.
pub fn check_together<'a>(
    polled: &[(&str, &Address)],
    sirens: impl Iterator<Item = (&'a str, &'a Address)>,
    problems: &mut Problems,
) {
    let mut known: Vec<(&str, &Address)> = Vec::new();
    for (name, address) in sirens {
        let at = Key::of("notify.siren").field(name).field("address");
        if let Some((device, _)) = polled.iter().find(|(_, polled)| is_one_line(address, polled)) {
            let elsewhere = "give the siren a line of its own, or reach it over Modbus TCP";
            problems.add(
                at,
                format!("{address} is polled for source.modbus.{device}, and a line has one master: {elsewhere}"),
            );
        } else if let Some((other, _)) =
            known.iter().find(|(_, other)| is_one_line(address, other) && *other != address)
        {
            let same = "baud, parity and stop_bits must be the same for all on one line";
            problems.add(at, format!("{address} is the line of notify.siren.{other} as well: {same}"));
        }
        known.push((name, address));
    }
}

/// A line without transaction numbers, and the same one.
fn is_one_line(one: &Address, two: &Address) -> bool {
    match (one, two) {
        (Address::Serial(one), Address::Serial(two)) => one.path == two.path,
        (Address::RtuOverTcp(one), Address::RtuOverTcp(two)) => one == two,
        (
            Address::Tcp(_) | Address::RtuOverTcp(_) | Address::Tls(..) | Address::Serial(_) | Address::DialIn(_),
            Address::Tcp(_) | Address::RtuOverTcp(_) | Address::Tls(..) | Address::Serial(_) | Address::DialIn(_),
        ) => false,
    }
}
