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
//! type = "float32"            # bit, int16, uint16, int32, uint32, int64, uint64, float32, float64, bcd16, bcd32
//! order = "ABCD"              # bytes on the wire by example, see `decode::registers`
//! bit = 0                     # one bit of a register (type = "bit"): 0 is the lowest ..
//! bits = "4-5"                # .. or several, as an unsigned number
//! shift = 0                   # added to every address of the binding: a template on a device that counts otherwise
//! scale = 0.1                 # value = number * scale + offset; scale = -1, offset = 1 turns a bit round
//! offset = 0.0
//! span = [4.0, 20.0]          # the scaled number is a signal, and this is what the point's range stands for in it
//! break_below = 3.6           # a signal below is a broken line ..
//! fault_above = 21.0          # .. and above a sensor fault
//! counter = "wraps"           # or "resets": the value is the increase since the last answer, never negative
//! wrap = 10000                # counts of a counter that wraps, if it is not the type's
//! invalid = [0x7FFF, 65535]   # integers: bit patterns; for floats: values before scaling
//! invalid_means = "sensor_fault"  # or "line_break"; also what a bcd value with other than digits means
//! # One status register or a list of them. A bit gives its reason when it is 1; a field gives the reason
//! # of its value, shifted down to bit 0; "good" is a value that gives none. Bits are a mask or "0-3".
//! status = { register = 40001, bits = { "5" = "sensor_fault" }, fields = [
//!     { mask = 0x000F, values = { "0" = "calibrating", "1-3" = "good" }, otherwise = "sensor_fault" } ] }
//! # What a register must say, or the device is not what the point takes it for, a sensor fault: its gas, its unit.
//! status = { register = 40002, must = { "8-15" = [1] } }
//! # A bit, or without it a register, that changes as long as the device works. After `within` without a change
//! # the value is a sensor fault. `every` is how often it changes; the device must be polled as often.
//! heartbeat = { register = 40001, bit = 11, every = "2s", within = "6s" }
//! ```
//! `template` and `channel` beside `device` take all of this from a file, see `config::templates`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::address::{Address, Frames, RawAddress};
use super::register::{Function, Place};
use super::state::Devices;
use super::written::{Bits, Number, PrintedRegister, one_or_many};
use crate::config::{Key, Problems};
use crate::decode::registers::{Code, Fall, Field, Heartbeat, Order, Part, Reading, Scale, Signal, Type};
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
    bits: Option<Bits>,
    #[serde(default)]
    shift: i32,
    #[serde(default = "factor_one")]
    scale: f64,
    #[serde(default)]
    offset: f64,
    span: Option<[f64; 2]>,
    break_below: Option<f64>,
    fault_above: Option<f64>,
    counter: Option<String>,
    wrap: Option<u64>,
    #[serde(default)]
    invalid: Vec<Number>,
    #[serde(default = "sensor_fault")]
    invalid_means: String,
    #[serde(default, deserialize_with = "one_or_many")]
    status: Vec<RawStatus>,
    heartbeat: Option<RawHeartbeat>,
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
    #[serde(default)]
    must: BTreeMap<String, Vec<u16>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawField {
    mask: Option<u16>,
    bits: Option<Bits>,
    values: BTreeMap<String, String>,
    #[serde(default = "good")]
    otherwise: String,
}

fn good() -> String {
    "good".to_owned()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHeartbeat {
    register: Option<PrintedRegister>,
    function: Option<u8>,
    address: Option<u16>,
    bit: Option<u8>,
    every: Option<String>,
    within: String,
}

/// Where a point's value and status stand, and how they are understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    pub device: String,
    pub place: Place,
    /// Without the range, which is the point's.
    pub reading: Reading,
    /// The value is the increase of a count.
    pub counter: Option<Fall>,
    pub status: Vec<Status>,
    pub heartbeat: Option<Beating>,
}

/// Where a device's heartbeat stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beating {
    pub place: Place,
    pub heartbeat: Heartbeat,
    /// How often it changes, where the manual says so.
    pub every: Option<Duration>,
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
        let shift = Shift { by: self.shift, at };
        let place = place(at, problems, self.register.as_ref(), self.function, self.address);
        let reading = self.reading(at, problems, place);
        let place = match (place, &reading) {
            (Some(place), Some(reading)) => shift.of(place, reading.kind.registers(), problems),
            (_, _) => None,
        };
        let counter = reading.as_ref().map(|reading| self.counter(at, problems, reading));
        let heartbeat = self.heartbeat.map(|raw| raw.check(&at.field("heartbeat"), shift, problems));
        let count = self.status.len();
        let status: Vec<Status> = (self.status.into_iter().enumerate())
            .filter_map(|(n, raw)| {
                let at = if count == 1 { at.field("status") } else { at.field("status").index(n) };
                raw.check(&at, shift, problems)
            })
            .collect();
        device?;
        (status.len() == count).then_some(Binding {
            device: self.device,
            place: place?,
            reading: reading?,
            counter: counter??,
            status,
            heartbeat: match heartbeat {
                Some(beating) => Some(beating?),
                None => None,
            },
        })
    }

    fn counter(&self, at: &Key, problems: &mut Problems, reading: &Reading) -> Option<Option<Fall>> {
        let Some(word) = &self.counter else {
            if self.wrap.is_some() {
                problems.add(at.field("wrap"), "only for counter = \"wraps\"");
                return None;
            }
            return Some(None);
        };
        let at_counter = at.field("counter");
        let wraps = problems.known(
            at_counter.clone(),
            word,
            "way of a counter to begin again",
            [("wraps", true), ("resets", false)],
        )?;
        let Some(counts) = reading.kind.wrap().filter(|_| reading.part.is_none()) else {
            problems.add(at_counter, "needs a type that counts: uint16, uint32, uint64, bcd16 or bcd32, whole");
            return None;
        };
        if reading.signal.is_some() || reading.offset != 0.0 {
            problems.add(at_counter, "an increase has no offset and no span: take them out");
            return None;
        }
        match (self.wrap, wraps) {
            (None, true) => Some(Some(Fall::Wrap(counts))),
            (Some(wrap), true) if wrap > 1 && wrap as f64 <= counts => Some(Some(Fall::Wrap(wrap as f64))),
            (Some(wrap), true) => {
                problems.add(at.field("wrap"), format!("{wrap} is not a number of counts up to the type's {counts}"));
                None
            }
            (None, false) => Some(Some(Fall::Reset)),
            (Some(_), false) => {
                problems.add(at.field("wrap"), "only for counter = \"wraps\"");
                None
            }
        }
    }

    fn signal(&self, at: &Key, problems: &mut Problems) -> Option<Option<Signal>> {
        let Some([low, high]) = self.span else {
            if self.break_below.or(self.fault_above).is_some() {
                problems.add(at.field("span"), "missing: break_below and fault_above need it, such as [4.0, 20.0]");
                return None;
            }
            return Some(None);
        };
        let before = problems.len();
        if low == high || !low.is_finite() || !high.is_finite() {
            problems.add(at.field("span"), format!("[{low}, {high}] is not a signal: give two different numbers"));
        }
        if let Some(limit) = self.break_below.filter(|limit| limit.is_nan() || *limit > low.min(high)) {
            problems.add(at.field("break_below"), format!("{limit} lies within the span [{low}, {high}]"));
        }
        if let Some(limit) = self.fault_above.filter(|limit| limit.is_nan() || *limit < low.max(high)) {
            problems.add(at.field("fault_above"), format!("{limit} lies within the span [{low}, {high}]"));
        }
        let (break_below, fault_above) = (self.break_below, self.fault_above);
        (problems.len() == before).then_some(Some(Signal { low, high, break_below, fault_above }))
    }

    /// Which bits of the register are the value.
    fn part(&self, at: &Key, problems: &mut Problems, kind: Type, table_of_bits: bool) -> Option<Option<Part>> {
        let wrong = match (self.bit, self.bits, kind) {
            (Some(_), Some(_), _) => ("bits", "give either bit or bits, not both"),
            (Some(_), None, _) | (None, Some(_), _) if table_of_bits => (
                if self.bit.is_some() { "bit" } else { "bits" },
                "a coil or discrete input has no bits: take this key out",
            ),
            (Some(bit), None, Type::Bit) => {
                return problems.within(at.field("bit"), bit, 0..=15).map(Part::bit).map(Some);
            }
            (Some(_), None, _) => ("bit", "only for type = \"bit\""),
            (None, Some(Bits { lowest, highest }), kind) if kind.is_unsigned() => {
                problems.within(at.field("bits"), u16::from(highest), 0..=16 * kind.registers() - 1)?;
                return Some(Some(Part { lowest, width: highest - lowest + 1 }));
            }
            (None, Some(_), _) => ("bits", "only for type = \"uint16\", \"uint32\" or \"uint64\""),
            (None, None, Type::Bit) if !table_of_bits => {
                ("bit", "missing: say which bit of the register, 0 (lowest) to 15")
            }
            (None, None, _) => return Some(None),
        };
        problems.add(at.field(wrong.0), wrong.1);
        None
    }

    fn reading(&self, at: &Key, problems: &mut Problems, place: Option<Place>) -> Option<Reading> {
        let bits = place.is_some_and(|place| place.function.is_bits());
        let kind = match &self.kind {
            Some(word) => problems.known(at.field("type"), word, "type", Type::ALL.map(|kind| (kind.word(), kind))),
            None if bits || self.bit.is_some() => Some(Type::Bit),
            None => Some(Type::Uint16),
        };
        let order = problems.known(at.field("order"), &self.order, "byte order", Order::ALL.map(|o| (o.word(), o)));
        if bits && kind.is_some_and(|kind| kind != Type::Bit) {
            problems.add(at.field("type"), "a coil or discrete input is a single bit: leave type out or write \"bit\"");
            return None;
        }
        let part = kind.map(|kind| self.part(at, problems, kind, bits));
        let signal = self.signal(at, problems);
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
            part: part??,
            scale: Scale::by(self.scale),
            offset: self.offset,
            signal: signal?,
            invalid,
            invalid_means: invalid_means?,
            range: None,
        })
    }
}

impl RawHeartbeat {
    fn check(self, at: &Key, shift: Shift, problems: &mut Problems) -> Option<Beating> {
        const MS: fn(u64) -> Duration = Duration::from_millis;
        let place = place(at, problems, self.register.as_ref(), self.function, self.address);
        let place = place.and_then(|place| shift.of(place, 1, problems));
        let within = problems.duration(at.field("within"), &self.within, MS(100)..=MS(3_600_000));
        let every = match &self.every {
            Some(text) => Some(problems.duration(at.field("every"), text, MS(20)..=within.unwrap_or(MS(3_600_000)))?),
            None => None,
        };
        let mask = match self.bit {
            Some(bit) => 1 << problems.within(at.field("bit"), bit, 0..=15)?,
            None => 0xFFFF,
        };
        Some(Beating { place: place?, heartbeat: Heartbeat { mask, within: within? }, every })
    }
}

impl Binding {
    /// What does not go together with the device that it names: a heartbeat that is polled too seldom to be
    /// seen, or would look as if it stood still.
    pub fn check_device(&self, at: &Key, device: &Device, problems: &mut Problems) {
        let Some(beating) = &self.heartbeat else { return };
        let most = beating.every.unwrap_or(beating.heartbeat.within / 2);
        if device.period > most {
            let text = crate::model::duration_text;
            problems.add(
                at.field("heartbeat"),
                format!(
                    "{} is polled every {}, too seldom to see it beat: set its period to {} or less",
                    device.name,
                    text(device.period),
                    text(most)
                ),
            );
        }
    }
}

impl RawStatus {
    fn check(self, at: &Key, shift: Shift, problems: &mut Problems) -> Option<Status> {
        let place = place(at, problems, self.register.as_ref(), self.function, self.address);
        let place = place.and_then(|place| shift.of(place, 1, problems));
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
        for (text, values) in &self.must {
            fields.extend(must(&at.field("must").field(text), problems, text, values));
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
        let mask = match (self.mask, self.bits) {
            (Some(mask), None) if mask > 0 => mask,
            (Some(_), None) => {
                problems.add(at.field("mask"), "0 covers no bit");
                return None;
            }
            (None, Some(Bits { lowest, highest })) => {
                problems.within(at.field("bits"), highest, 0..=15)?;
                mask(lowest, highest)
            }
            (Some(_), Some(_)) | (None, None) => {
                problems.add(at.field("mask"), "give either mask = 0x000F or bits = \"0-3\"");
                return None;
            }
        };
        let highest = mask >> mask.trailing_zeros();
        let mut values = Vec::new();
        for (text, word) in &self.values {
            let at = at.field("values").field(text);
            let number = |text: &str| match text.strip_prefix("0x") {
                Some(hex) => u16::from_str_radix(hex, 16).ok(),
                None => text.parse().ok(),
            };
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            let meaning = meaning(&at, problems, word);
            match (number(first), number(last)) {
                (Some(first), Some(last)) if first <= last && last <= highest && last - first < 256 => {
                    values.extend(meaning.into_iter().flat_map(|m| (first..=last).map(move |value| (value, m))));
                }
                (_, _) => problems.add(at, format!("{text:?} is not a value of the mask, 0 to {highest}")),
            }
        }
        let otherwise = meaning(&at.field("otherwise"), problems, &self.otherwise);
        (problems.len() == before).then_some(Field { mask, values, otherwise: otherwise? })
    }
}

/// Bits that must have one of the values, or the device is not what the point takes it for.
fn must(at: &Key, problems: &mut Problems, text: &str, values: &[u16]) -> Option<Field> {
    let Some(bits) = Bits::parse(text).filter(|bits| bits.highest <= 15) else {
        problems.add(at.clone(), format!("{text:?} is not bits of a register, such as \"8-15\""));
        return None;
    };
    let mask = mask(bits.lowest, bits.highest);
    let most = mask >> bits.lowest;
    if values.is_empty() || values.iter().any(|value| *value > most) {
        problems.add(at.clone(), format!("{values:?} are not values of these bits: give one or more from 0 to {most}"));
        return None;
    }
    let values = values.iter().map(|value| (*value, None)).collect();
    Some(Field { mask, values, otherwise: Some(Reason::SensorFault) })
}

/// `lowest <= highest <= 15`
const fn mask(lowest: u8, highest: u8) -> u16 {
    (0xFFFF >> (15 - (highest - lowest))) << lowest
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

/// What is added to every address of a binding.
#[derive(Clone, Copy)]
struct Shift<'a> {
    by: i32,
    at: &'a Key,
}

impl Shift<'_> {
    /// Where the place is then, if that many registers fit there.
    fn of(self, place: Place, registers: u16, problems: &mut Problems) -> Option<Place> {
        let address = i64::from(place.address) + i64::from(self.by);
        if address < 0 || address + i64::from(registers) > 65_536 {
            let beyond = if address < 0 { "begin below 0" } else { "reach beyond 65535" };
            problems.add(self.at.clone(), format!("{registers} registers from address {address} {beyond}"));
            return None;
        }
        Some(Place { address: u16::try_from(address).ok()?, ..place })
    }
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
