//! One unit id while it runs: its register image, its condition, its misbehaviour and its counts.
//!
//! Plain and synchronous; the time since the start comes in as an argument, because the Midas's heartbeat
//! and second counter depend on it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::map::{Device, Form, Map, Model, Order, Quantity, SetPoints, Table, raw_words, words};

/// Distinct request shapes that are counted one by one; beyond them only the total grows.
const SPANS_COUNTED: usize = 1_024;

/// What a unit does instead of answering well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Misbehaviour {
    #[default]
    None,
    /// The right answer, too late. Other units on the connection are not held up.
    Late(Duration),
    /// A sound frame with that many registers fewer than asked for (at least one stays away).
    Short(u16),
    /// The byte count promises all registers, the frame ends one register early.
    Truncated,
    /// The answer carries the next unit's id.
    WrongUnit,
    /// The answer carries another transaction id.
    WrongTransaction,
    /// A Modbus exception, such as 2 (illegal address) or 4 (device failure).
    Exception(u8),
    /// The connection is closed instead of an answer.
    Drop,
    /// No answer at all; the connection stays.
    Silent,
    /// Answers well, but heartbeat and second counter stand still: the device's brain has stopped.
    HeartbeatStopped,
}

/// What the device says of itself in its status word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    #[default]
    Measuring,
    WarmUp,
    Inhibited,
    Simulating,
    Calibrating,
    Fault,
}

/// A request's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Span {
    pub function: u8,
    pub register: u16,
    pub count: u16,
}

/// What a unit was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Requests that reached the unit, also those it misbehaved on.
    pub requests: u64,
    /// Registers (or bits) asked for, all requests together.
    pub registers: u64,
    /// Writes, refused.
    pub writes: u64,
    /// Requests answered with an exception, wanted or not.
    pub exceptions: u64,
    /// How often each span was asked for.
    #[serde(skip)]
    pub spans: BTreeMap<Span, u64>,
}

pub(super) struct Unit {
    map: Map,
    image: BTreeMap<(Table, u16), u16>,
    /// Of the first quantity, for the status word.
    value: f64,
    pub(super) condition: Condition,
    misbehaviour: Misbehaviour,
    /// Where the heartbeat stood when it was stopped.
    stopped_at: Option<Duration>,
    pub(super) traffic: Traffic,
}

/// A Modbus exception code.
pub(super) type Refused = u8;
pub(super) const ILLEGAL_ADDRESS: Refused = 2;
pub(super) const ILLEGAL_COUNT: Refused = 3;

impl Unit {
    pub(super) fn new(device: Device) -> Self {
        let map = device.map;
        let mut image = BTreeMap::new();
        for (table, first, contents) in &map.constants {
            image.extend((*first..).zip(contents).map(|(register, word)| ((*table, register), *word)));
        }
        for (table, first, count) in &map.kept {
            image.extend((*first..*first + *count).map(|register| ((*table, register), 0)));
        }
        let mut unit = Self {
            map,
            image,
            value: 0.0,
            condition: Condition::Measuring,
            misbehaviour: Misbehaviour::None,
            stopped_at: None,
            traffic: Traffic::default(),
        };
        for place in 0..unit.map.quantities.len() {
            unit.store(place, 0.0);
        }
        unit
    }

    pub(super) fn map(&self) -> &Map {
        &self.map
    }

    pub(super) fn misbehaviour(&self) -> Misbehaviour {
        self.misbehaviour
    }

    pub(super) fn misbehave(&mut self, how: Misbehaviour, elapsed: Duration) {
        self.stopped_at = (how == Misbehaviour::HeartbeatStopped).then(|| self.stopped_at.unwrap_or(elapsed));
        self.misbehaviour = how;
    }

    /// False when there is no such quantity.
    pub(super) fn set(&mut self, name: &str, value: f64) -> bool {
        let place = self.map.quantities.iter().position(|quantity| quantity.name == name);
        place.inspect(|place| self.store(*place, value)).is_some()
    }

    fn store(&mut self, place: usize, value: f64) {
        let Some(quantity) = self.map.quantities.get(place) else { return };
        let contents = words(quantity.form, quantity.order, (value - quantity.offset) / quantity.scale);
        let (table, register) = (quantity.table, quantity.register);
        self.put(table, register, &contents);
        if place == 0 {
            self.value = value;
        }
    }

    /// Puts bits into a quantity's registers as they are; false when there is no such quantity.
    pub(super) fn set_raw(&mut self, name: &str, bits: u32) -> bool {
        let Some(Quantity { table, register, form, order, .. }) = self.map.quantity(name) else { return false };
        let (table, register, contents) = (*table, *register, raw_words(*form, *order, bits));
        self.put(table, register, &contents);
        true
    }

    fn put(&mut self, table: Table, first: u16, contents: &[u16]) {
        self.image.extend((first..).zip(contents).map(|(register, word)| ((table, register), *word)));
    }

    /// Counts a request and gives what stands there now.
    pub(super) fn read(&mut self, span: Span, elapsed: Duration) -> Result<Vec<u16>, Refused> {
        self.traffic.requests += 1;
        self.traffic.registers += u64::from(span.count);
        if self.traffic.spans.contains_key(&span) || self.traffic.spans.len() < SPANS_COUNTED {
            *self.traffic.spans.entry(span).or_default() += 1;
        }
        let Some(table) = Table::of_function(span.function) else { return Err(1) };
        let most = if table.is_bits() { 2_000 } else { 125 };
        if span.count == 0 || span.count > most {
            return Err(ILLEGAL_COUNT);
        }
        let last = span.register.checked_add(span.count - 1).ok_or(ILLEGAL_ADDRESS)?;
        self.refresh(self.stopped_at.unwrap_or(elapsed));
        let contents: Vec<u16> =
            self.image.range((table, span.register)..=(table, last)).map(|(_, word)| *word).collect();
        // A gap in the map is an address that the device does not have.
        if contents.len() == usize::from(span.count) { Ok(contents) } else { Err(ILLEGAL_ADDRESS) }
    }

    /// Brings the registers that the model keeps to the present.
    fn refresh(&mut self, elapsed: Duration) {
        let (value, condition) = (self.value, self.condition);
        match self.map.model {
            Model::Pt495 { gas, alarms } => {
                let word = u16::from(gas) << 8
                    | flag(0, alarming(condition, alarms.first_reached(value)))
                    | flag(1, condition == Condition::Calibrating)
                    | flag(2, condition == Condition::Fault);
                self.put(Table::Holding, 1, &[word]);
            }
            Model::Detcon1000 { alarms } => {
                let word = flag(0, condition == Condition::Fault)
                    | flag(3, alarming(condition, alarms.first_reached(value)))
                    | flag(7, alarming(condition, alarms.second_reached(value)))
                    // Alarms are ascending and normally de-energized.
                    | flag(6, true)
                    | flag(10, true)
                    | flag(11, condition == Condition::Calibrating);
                self.put(Table::Holding, 4, &[word]);
            }
            Model::Midas { decimals, alarms } => self.refresh_midas(decimals, alarms, elapsed),
            Model::Gauge { table, status } => {
                let (low, high) = self.map.quantities.first().map_or((0.0, 0.0), |first| (first.low, first.high));
                let word = flag(0, condition == Condition::Fault)
                    | flag(1, condition == Condition::Calibrating)
                    | flag(2, value > high)
                    | flag(3, value < low)
                    | flag(4, condition == Condition::WarmUp);
                self.put(table, status, &[word]);
            }
            Model::Plain => {}
        }
    }

    fn refresh_midas(&mut self, decimals: u8, alarms: SetPoints, elapsed: Duration) {
        let mode: u16 = match self.condition {
            Condition::WarmUp => 0,
            Condition::Measuring | Condition::Fault => 1,
            Condition::Inhibited => 4,
            Condition::Simulating => 5,
            Condition::Calibrating => 8,
        };
        let fault = self.condition == Condition::Fault;
        let first = alarming(self.condition, alarms.first_reached(self.value));
        let second = alarming(self.condition, alarms.second_reached(self.value));
        let seconds = elapsed.as_secs();
        let status = mode | flag(5, fault) | flag(6, first) | flag(7, second) | flag(11, (seconds / 2) % 2 == 1);
        self.put(Table::Holding, 0, &[status]);
        let integer = words(Form::U16, Order::Abcd, self.value * 10_f64.powi(i32::from(decimals)));
        self.put(Table::Holding, 4, &integer);
        self.put(Table::Holding, 5, &[if fault { 49 } else { 0 }]);
        self.put(Table::Holding, 9, &[(seconds & 0xFFFF) as u16]);
        self.put(Table::Holding, 16, &[flag(0, first) | flag(1, second)]);
    }
}

/// Relays follow the reading only while the device measures.
fn alarming(condition: Condition, reached: bool) -> bool {
    match condition {
        Condition::Measuring | Condition::Simulating => reached,
        Condition::WarmUp | Condition::Inhibited | Condition::Calibrating | Condition::Fault => false,
    }
}

const fn flag(bit: u8, set: bool) -> u16 {
    if set { 1 << bit } else { 0 }
}
