//! What stands in a device's registers, and how a number becomes words on the wire.
//!
//! A register is named by its zero-based address, as it is on the wire: the manual's 40003 is holding
//! register 2. Byte orders are named by where the bytes A B C D of a big-endian number end up.

use serde::Serialize;

/// Which of the four Modbus tables; each has its own function code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    Coil,
    Discrete,
    Holding,
    Input,
}

impl Table {
    /// The function code that reads it.
    #[must_use]
    pub const fn function(self) -> u8 {
        match self {
            Self::Coil => 1,
            Self::Discrete => 2,
            Self::Holding => 3,
            Self::Input => 4,
        }
    }

    #[must_use]
    pub const fn of_function(function: u8) -> Option<Self> {
        match function {
            1 => Some(Self::Coil),
            2 => Some(Self::Discrete),
            3 => Some(Self::Holding),
            4 => Some(Self::Input),
            _ => None,
        }
    }

    #[must_use]
    pub const fn is_bits(self) -> bool {
        matches!(self, Self::Coil | Self::Discrete)
    }
}

/// Type of the number in the registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    Bit,
    U16,
    I16,
    U32,
    I32,
    F32,
}

impl Form {
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Bit => "bit",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::F32 => "f32",
        }
    }

    /// Registers that one number takes.
    #[must_use]
    pub const fn registers(self) -> u16 {
        match self {
            Self::Bit | Self::U16 | Self::I16 => 1,
            Self::U32 | Self::I32 | Self::F32 => 2,
        }
    }
}

/// Where the bytes of the big-endian number ABCD stand on the wire; of a one-register number, AB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Order {
    #[serde(rename = "ABCD")]
    Abcd,
    #[serde(rename = "CDAB")]
    Cdab,
    #[serde(rename = "BADC")]
    Badc,
    #[serde(rename = "DCBA")]
    Dcba,
}

impl Order {
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Abcd => "ABCD",
            Self::Cdab => "CDAB",
            Self::Badc => "BADC",
            Self::Dcba => "DCBA",
        }
    }
}

/// Registers of the number `raw`. What does not fit is held at the form's end, as a converter does.
#[must_use]
pub fn words(form: Form, order: Order, raw: f64) -> Vec<u16> {
    let rounded = raw.round();
    let number: u32 = match form {
        Form::Bit => u32::from(raw != 0.0),
        Form::U16 => u32::from(rounded as u16),
        Form::I16 => u32::from((rounded as i16).cast_unsigned()),
        Form::U32 => rounded as u32,
        Form::I32 => (rounded as i32).cast_unsigned(),
        Form::F32 => (raw as f32).to_bits(),
    };
    raw_words(form, order, number)
}

/// Registers that show exactly these bits: an invalid code, a NaN.
pub(super) fn raw_words(form: Form, order: Order, bits: u32) -> Vec<u16> {
    let (high, low) = ((bits >> 16) as u16, (bits & 0xFFFF) as u16);
    match (form.registers(), order) {
        (1, Order::Abcd | Order::Cdab) => vec![low],
        (1, Order::Badc | Order::Dcba) if form != Form::Bit => vec![low.swap_bytes()],
        (1, Order::Badc | Order::Dcba) => vec![low],
        (_, Order::Abcd) => vec![high, low],
        (_, Order::Cdab) => vec![low, high],
        (_, Order::Badc) => vec![high.swap_bytes(), low.swap_bytes()],
        (_, Order::Dcba) => vec![low.swap_bytes(), high.swap_bytes()],
    }
}

/// One measured number of a device: `value = raw * scale + offset`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quantity {
    pub name: String,
    pub table: Table,
    /// Zero-based.
    pub register: u16,
    pub form: Form,
    pub order: Order,
    pub scale: f64,
    pub offset: f64,
    pub unit: String,
    pub low: f64,
    pub high: f64,
    /// Raw register contents with which the device says "no value".
    pub invalid: Vec<u32>,
}

/// Alarm set points of a detector; `rising` is false where danger is below (oxygen).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SetPoints {
    pub first: f64,
    pub second: f64,
    pub rising: bool,
}

impl SetPoints {
    pub(super) fn first_reached(&self, value: f64) -> bool {
        if self.rising { value >= self.first } else { value <= self.first }
    }

    pub(super) fn second_reached(&self, value: f64) -> bool {
        if self.rising { value >= self.second } else { value <= self.second }
    }
}

/// Whose manual the status word follows; the measured quantity is always the map's first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Model {
    Pt495 {
        gas: u8,
        alarms: SetPoints,
    },
    Detcon1000 {
        alarms: SetPoints,
    },
    Midas {
        decimals: u8,
        alarms: SetPoints,
    },
    /// Status register with bit 0 fault, 1 calibrating, 2 over range, 3 under range, 4 warm-up.
    Gauge {
        table: Table,
        status: u16,
    },
    /// Registers and nothing else.
    Plain,
}

/// `(register & mask) == equals` means that the device is in the named condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct StatusBit {
    pub table: Table,
    pub register: u16,
    pub mask: u16,
    pub equals: u16,
    /// `alarm`, `fault`, `calibrating`, `inhibited`, `warm_up`, `simulated`, `over_range` or `heartbeat`.
    pub means: &'static str,
}

/// A device's registers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Map {
    pub maker: &'static str,
    pub model: Model,
    pub quantities: Vec<Quantity>,
    /// Registers whose contents never change: table, first register, words.
    pub constants: Vec<(Table, u16, Vec<u16>)>,
    /// Registers that the model keeps up to date: table, first register, count.
    pub kept: Vec<(Table, u16, u16)>,
    pub status: Vec<StatusBit>,
}

impl Map {
    #[must_use]
    pub fn quantity(&self, name: &str) -> Option<&Quantity> {
        self.quantities.iter().find(|quantity| quantity.name == name)
    }
}

/// A map that answers to a unit id.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Device {
    pub unit: u8,
    pub map: Map,
}

impl Device {
    #[must_use]
    pub fn new(unit: u8, map: Map) -> Self {
        Self { unit, map }
    }
}
