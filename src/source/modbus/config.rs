//! Devices and bindings as written and as proven.
//!
//! ```toml
//! [source.modbus.midas-3]
//! address = "10.0.4.7:502"    # or serial:, rtu+tcp://, tls:// or dial-in:, see `address`; several devices (units)
//!                             # on one address share one bus and are asked one after the other
//! unit = 1                    # 0 to 255; 1 to 247 where frames are RTU
//! period = "1s"               # of all points of the device; list a device twice to poll some of them slower
//! timeout = "1s"              # of connecting and of each request
//! gap = 8                     # unneeded registers worth reading to save a request
//! max_registers = 125         # for devices that answer shorter reads only
//! pause = "0ms"               # silence between two frames; on a serial line 3.5 characters unless written
//! retries = 2                 # after silence or a wrong answer, in the first half of the slot
//! quarantine = "30s"          # longest time that a device which fails again and again is left alone
//! ```
//! A point's binding:
//! ```toml
//! device = "midas-3"
//! register = 40003            # as printed in the manual (4xxxx, 3xxxx, 1xxxx, "0xxxx", 5 or 6 digits) ..
//! # function = 3              # .. or the function with the address that goes over the wire,
//! # address = 2               #    counted from 0
//! type = "float32"            # bit, int16, uint16, int32, uint32, int64, uint64, float32, float64
//! order = "ABCD"              # bytes on the wire by example, see `decode::registers`
//! bit = 0                     # for type = "bit" in a register
//! scale = 0.1                 # value = number * scale + offset; scale = -1, offset = 1 turns a bit round
//! offset = 0.0
//! invalid = [0x7FFF, 65535]   # integers: bit patterns; for floats: values before scaling
//! invalid_means = "sensor_fault"  # or "line_break"
//! # One status register or a list of them. A bit gives its reason when it is 1; a field gives the reason
//! # of its value, shifted down to bit 0; "good" is a value that gives none.
//! status = { register = 40001, bits = { "5" = "sensor_fault" }, fields = [
//!     { mask = 0x000F, values = { "0" = "calibrating", "1" = "good" }, otherwise = "sensor_fault" } ] }
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::address::{Address, Frames, RawAddress};
use super::register::{Function, Place};
use super::state::Devices;
use super::written::{Number, PrintedRegister, one_or_many};
use crate::config::{Key, Problems};
use crate::decode::registers::{Code, Field, Order, Reading, Scale, Type};
use crate::model::Reason;

/// All devices, and the view of how they are.
#[derive(Clone, Debug)]
pub struct Config {
    pub(super) devices: Vec<Device>,
    pub(super) states: Devices,
}

impl Config {
    #[must_use]
    pub fn new(devices: Vec<Device>) -> Self {
        let states = Devices::waiting(&devices);
        Self { devices, states }
    }

    /// What is known of every device; cheap to keep and to ask, before, while and after `run`.
    #[must_use]
    pub fn devices(&self) -> Devices {
        self.states.clone()
    }
}

/// `[source.modbus.<device>]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawDevice {
    address: String,
    #[serde(default = "first_unit")]
    unit: u8,
    #[serde(default = "one_second")]
    period: String,
    #[serde(default = "one_second")]
    timeout: String,
    #[serde(default = "usual_gap")]
    gap: u16,
    #[serde(default = "most_registers")]
    max_registers: u16,
    pause: Option<String>,
    #[serde(default = "two_retries")]
    retries: u8,
    #[serde(default = "half_a_minute")]
    quarantine: String,
    // The bus, see `address`.
    baud: Option<u32>,
    parity: Option<String>,
    stop_bits: Option<u8>,
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    server_name: Option<String>,
    registration: Option<String>,
    heartbeat: Option<String>,
    frames: Option<String>,
}

fn one_second() -> String {
    "1s".to_owned()
}
fn half_a_minute() -> String {
    "30s".to_owned()
}
const fn first_unit() -> u8 {
    1
}
const fn usual_gap() -> u16 {
    8
}
const fn most_registers() -> u16 {
    125
}
const fn two_retries() -> u8 {
    2
}

/// One unit behind one address, with its schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub name: String,
    pub address: Address,
    pub unit: u8,
    pub period: Duration,
    pub timeout: Duration,
    pub gap: u16,
    pub max_registers: u16,
    pub pause: Duration,
    pub retries: u8,
    pub quarantine: Duration,
}

impl RawDevice {
    /// `name` is the last part of the table's key.
    pub fn check(self, name: &str, at: &Key, problems: &mut Problems) -> Option<Device> {
        const MS: fn(u64) -> Duration = Duration::from_millis;
        let address = RawAddress {
            address: self.address,
            baud: self.baud,
            parity: self.parity,
            stop_bits: self.stop_bits,
            ca: self.ca,
            certificate: self.certificate,
            key: self.key,
            server_name: self.server_name,
            registration: self.registration,
            heartbeat: self.heartbeat,
            frames: self.frames,
        };
        let address = address.check(at, problems);
        let unit = match address.as_ref().map(Address::frames) {
            // Zero is asked by nobody and answered by nobody: it is the broadcast of serial lines.
            Some(Frames::Rtu) => problems.within(at.field("unit"), self.unit, 1..=247),
            Some(Frames::Tcp) | None => Some(self.unit),
        };
        let period = problems.duration(at.field("period"), &self.period, MS(20)..=MS(86_400_000));
        let timeout = problems.duration(at.field("timeout"), &self.timeout, MS(10)..=MS(60_000));
        let pause = match &self.pause {
            Some(text) => problems.duration(at.field("pause"), text, MS(0)..=MS(10_000)),
            None => address.as_ref().map(Address::usual_pause),
        };
        let quarantine = problems.duration(at.field("quarantine"), &self.quarantine, MS(1_000)..=MS(3_600_000));
        let gap = problems.within(at.field("gap"), self.gap, 0..=124);
        // Four, because a 64-bit value is never split.
        let max_registers = problems.within(at.field("max_registers"), self.max_registers, 4..=125);
        let retries = problems.within(at.field("retries"), self.retries, 0..=5);
        Some(Device {
            name: name.to_owned(),
            address: address?,
            unit: unit?,
            period: period?,
            timeout: timeout?,
            gap: gap?,
            max_registers: max_registers?,
            pause: pause?,
            retries: retries?,
            quarantine: quarantine?,
        })
    }
}

/// How a point is read from a device.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawBinding {
    device: String,
    register: Option<PrintedRegister>,
    function: Option<u8>,
    address: Option<u16>,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default = "abcd")]
    order: String,
    bit: Option<u8>,
    #[serde(default = "factor_one")]
    scale: f64,
    #[serde(default)]
    offset: f64,
    #[serde(default)]
    invalid: Vec<Number>,
    #[serde(default = "sensor_fault")]
    invalid_means: String,
    #[serde(default, deserialize_with = "one_or_many")]
    status: Vec<RawStatus>,
}

fn abcd() -> String {
    Order::Abcd.word().to_owned()
}
const fn factor_one() -> f64 {
    1.0
}
fn sensor_fault() -> String {
    Reason::SensorFault.word().to_owned()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawStatus {
    register: Option<PrintedRegister>,
    function: Option<u8>,
    address: Option<u16>,
    #[serde(default)]
    bits: BTreeMap<String, String>,
    #[serde(default)]
    fields: Vec<RawField>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawField {
    mask: u16,
    values: BTreeMap<String, String>,
    #[serde(default = "good")]
    otherwise: String,
}

fn good() -> String {
    "good".to_owned()
}

/// Where a point's value and status stand, and how they are understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    pub device: String,
    pub place: Place,
    /// Without the range, which is the point's.
    pub reading: Reading,
    pub status: Vec<Status>,
}

/// A status register (or a single status bit of the bit tables) and its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub place: Place,
    pub fields: Vec<Field>,
}

impl RawBinding {
    /// `devices` are the names under `[source.modbus]`.
    pub fn check<'a>(
        self,
        at: &Key,
        problems: &mut Problems,
        devices: impl IntoIterator<Item = &'a str>,
    ) -> Option<Binding> {
        let known = devices.into_iter().map(|name| (name, ()));
        let device = problems.known(at.field("device"), &self.device, "device under source.modbus", known);
        let place = place(at, problems, self.register.as_ref(), self.function, self.address);
        let reading = self.reading(at, problems, place);
        let fits = match (&place, &reading) {
            (Some(place), Some(reading)) => fits(at, problems, *place, reading.kind.registers()),
            (_, _) => None,
        };
        let count = self.status.len();
        let status: Vec<Status> = (self.status.into_iter().enumerate())
            .filter_map(|(n, raw)| {
                let at = if count == 1 { at.field("status") } else { at.field("status").index(n) };
                raw.check(&at, problems)
            })
            .collect();
        device?;
        fits?;
        (status.len() == count).then_some(Binding { device: self.device, place: place?, reading: reading?, status })
    }

    fn reading(&self, at: &Key, problems: &mut Problems, place: Option<Place>) -> Option<Reading> {
        let bits = place.is_some_and(|place| place.function.is_bits());
        let kind = match &self.kind {
            Some(word) => problems.known(at.field("type"), word, "type", Type::ALL.map(|kind| (kind.word(), kind))),
            None => Some(if bits { Type::Bit } else { Type::Uint16 }),
        };
        let order = problems.known(at.field("order"), &self.order, "byte order", Order::ALL.map(|o| (o.word(), o)));
        if bits && kind.is_some_and(|kind| kind != Type::Bit) {
            problems.add(at.field("type"), "a coil or discrete input is a single bit: leave type out or write \"bit\"");
            return None;
        }
        let bit = match (self.bit, kind) {
            (None, Some(Type::Bit)) if !bits => {
                problems.add(at.field("bit"), "missing: say which bit of the register, 0 (lowest) to 15");
                None
            }
            (None, _) => Some(0),
            (Some(_), Some(Type::Bit)) if bits => {
                problems.add(at.field("bit"), "a coil or discrete input has no bits: take this key out");
                None
            }
            (Some(bit), Some(Type::Bit)) => problems.within(at.field("bit"), bit, 0..=15),
            (Some(_), _) => {
                problems.add(at.field("bit"), "only for type = \"bit\"");
                None
            }
        };
        if !self.scale.is_finite() || self.scale == 0.0 {
            problems.add(at.field("scale"), format!("{} is not a factor", self.scale));
            return None;
        }
        if !self.offset.is_finite() {
            problems.add(at.field("offset"), format!("{} is not a number to add", self.offset));
            return None;
        }
        let means = [Reason::SensorFault, Reason::LineBreak].map(|reason| (reason.word(), reason));
        let invalid_means =
            problems.known(at.field("invalid_means"), &self.invalid_means, "meaning of an invalid code", means);
        let kind = kind?;
        let invalid: Vec<Code> = (self.invalid.iter().enumerate())
            .filter_map(|(n, number)| code(&at.field("invalid").index(n), problems, *number, kind))
            .collect();
        (invalid.len() == self.invalid.len()).then_some(Reading {
            kind,
            order: order?,
            bit: bit?,
            scale: Scale::by(self.scale),
            offset: self.offset,
            invalid,
            invalid_means: invalid_means?,
            range: None,
        })
    }
}

impl RawStatus {
    fn check(self, at: &Key, problems: &mut Problems) -> Option<Status> {
        let place = place(at, problems, self.register.as_ref(), self.function, self.address);
        let before = problems.len();
        let mut fields = Vec::new();
        for (number, word) in &self.bits {
            let at = at.field("bits").field(number);
            let bit: Option<u8> = problems.parsed(at.clone(), number, "the number of a bit");
            let bit = bit.and_then(|bit| problems.within(at.clone(), bit, 0..=15));
            if let (Some(bit), Some(Some(reason))) = (bit, meaning(&at, problems, word)) {
                fields.push(Field::bit(bit, reason));
            }
        }
        for (n, raw) in self.fields.iter().enumerate() {
            fields.extend(raw.check(&at.field("fields").index(n), problems));
        }
        if fields.is_empty() && problems.len() == before {
            problems.add(at.clone(), "says nothing: give bits = { \"0\" = \"sensor_fault\" } or fields");
        }
        (problems.len() == before).then_some(Status { place: place?, fields })
    }
}

impl RawField {
    fn check(&self, at: &Key, problems: &mut Problems) -> Option<Field> {
        let before = problems.len();
        if self.mask == 0 {
            problems.add(at.field("mask"), "0 covers no bit");
        }
        let highest = self.mask.checked_shr(self.mask.trailing_zeros()).unwrap_or(0);
        let mut values = Vec::new();
        for (text, word) in &self.values {
            let at = at.field("values").field(text);
            let value = match text.strip_prefix("0x") {
                Some(hex) => u16::from_str_radix(hex, 16).ok(),
                None => text.parse().ok(),
            };
            let meaning = meaning(&at, problems, word);
            match value {
                Some(value) if value <= highest => values.extend(meaning.map(|meaning| (value, meaning))),
                Some(_) | None => problems.add(at, format!("{text:?} is not a value of the mask, 0 to {highest}")),
            }
        }
        let otherwise = meaning(&at.field("otherwise"), problems, &self.otherwise);
        (problems.len() == before).then_some(Field { mask: self.mask, values, otherwise: otherwise? })
    }
}

/// "good" or a reason's word.
fn meaning(at: &Key, problems: &mut Problems, word: &str) -> Option<Option<Reason>> {
    let known = Reason::ALL.into_iter().map(|reason| (reason.word(), Some(reason))).chain([("good", None)]);
    problems.known(at.clone(), word, "quality reason", known)
}

fn place(
    at: &Key,
    problems: &mut Problems,
    register: Option<&PrintedRegister>,
    function: Option<u8>,
    address: Option<u16>,
) -> Option<Place> {
    match (register, function, address) {
        (Some(PrintedRegister(text)), None, None) => {
            let place = Place::printed(text);
            if place.is_none() {
                let expected = "as manuals print it: 40001 (holding), 30001 (input), 10001 (discrete input), \"00001\" \
                                (coil, in quotes), 5 or 6 digits; or give function and address (from 0) instead";
                problems.add(at.field("register"), format!("{text} is not a register {expected}"));
            }
            place
        }
        (None, Some(number), Some(address)) => {
            let function = Function::numbered(number);
            if function.is_none() {
                let expected = "1 (coils), 2 (discrete inputs), 3 (holding) or 4 (input registers): Davy only reads";
                problems.add(at.field("function"), format!("{number} is not {expected}"));
            }
            Some(Place { function: function?, address })
        }
        (None, None, None) => {
            problems.add(at.field("register"), "missing: give register = 40003, or function = 3 and address = 2");
            None
        }
        (Some(_), _, _) => {
            problems.add(at.field("register"), "give either register, or function and address, not both");
            None
        }
        (None, _, _) => {
            problems.add(at.field("address"), "function and address (counted from 0) go together");
            None
        }
    }
}

fn fits(at: &Key, problems: &mut Problems, place: Place, registers: u16) -> Option<()> {
    if u32::from(place.address) + u32::from(registers) > 65_536 {
        problems.add(at.clone(), format!("{registers} registers from address {} reach beyond 65535", place.address));
        return None;
    }
    Some(())
}

fn code(at: &Key, problems: &mut Problems, number: Number, kind: Type) -> Option<Code> {
    let bits = 16 * u32::from(kind.registers());
    let code = match (number, kind) {
        (_, Type::Bit) => None,
        (Number::Float(value), kind) if kind.is_float() => Some(Code::Number(value)),
        (Number::Integer(value), kind) if kind.is_float() => Some(Code::Number(value as f64)),
        (Number::Float(_), _) => None,
        (Number::Integer(value), _) => {
            let low = -(1_i128 << (bits - 1));
            let pattern = i128::from(value);
            (low..1 << bits).contains(&pattern).then(|| Code::Bits((value as u64) & (u64::MAX >> (64 - bits))))
        }
    };
    if code.is_none() {
        problems.add(at.clone(), format!("{number} is not a raw value of type {}", kind.word()));
    }
    code
}

#[cfg(test)]
mod tests;
