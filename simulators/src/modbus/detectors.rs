//! Register maps of real detectors, after the makers' manuals (domain.md 2.14), and two generic ones.

use super::map::{Form, Map, Model, Order, Quantity, SetPoints, StatusBit, Table, words};

const NO_VALUE_I16: u32 = 0x7FFF;
const NO_VALUE_F32: u32 = 0x7FC0_0000;

/// Gas of a PemTech PT495, with the number that its status word carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gas {
    H2s,
    Lel,
    So2,
    Co,
    O2,
    H2,
}

impl Gas {
    const fn number(self) -> u8 {
        match self {
            Self::H2s => 1,
            Self::Lel => 2,
            Self::So2 => 3,
            Self::Co => 4,
            Self::O2 => 5,
            Self::H2 => 6,
        }
    }

    /// Unit, highest value, step of the display, usual set points.
    const fn face(self) -> (&'static str, f64, f64, SetPoints) {
        match self {
            Self::H2s => ("ppm", 100.0, 0.1, SetPoints { first: 6.6, second: 13.0, rising: true }),
            Self::Lel => ("%LEL", 100.0, 1.0, SetPoints { first: 25.0, second: 50.0, rising: true }),
            Self::So2 => ("ppm", 20.0, 0.1, SetPoints { first: 2.0, second: 4.0, rising: true }),
            Self::Co => ("ppm", 500.0, 1.0, SetPoints { first: 24.0, second: 48.0, rising: true }),
            Self::O2 => ("%VOL", 25.0, 0.1, SetPoints { first: 19.5, second: 18.0, rising: false }),
            Self::H2 => ("ppm", 1_000.0, 1.0, SetPoints { first: 400.0, second: 1_000.0, rising: true }),
        }
    }
}

/// PemTech PT495. 40001 reading as int16 (ten times it if the display has one decimal), 40002 status (high
/// byte gas, low byte bit 0 alarm, bit 1 calibration, bit 2 fault), 40003/40005 set points, 40004/40006
/// latching, 40007 reset.
#[must_use]
pub fn pt495(gas: Gas) -> Map {
    let (unit, high, scale, alarms) = gas.face();
    let status = |mask, means| StatusBit { table: Table::Holding, register: 1, mask, equals: mask, means };
    let set_point = |value: f64| words(Form::I16, Order::Abcd, value / scale);
    Map {
        maker: "PemTech PT495",
        model: Model::Pt495 { gas: gas.number(), alarms },
        quantities: vec![Quantity {
            name: "gas".to_owned(),
            table: Table::Holding,
            register: 0,
            form: Form::I16,
            order: Order::Abcd,
            scale,
            offset: 0.0,
            unit: unit.to_owned(),
            low: 0.0,
            high,
            invalid: vec![NO_VALUE_I16],
        }],
        constants: vec![
            (Table::Holding, 2, set_point(alarms.first)),
            (Table::Holding, 3, vec![0]),
            (Table::Holding, 4, set_point(alarms.second)),
            (Table::Holding, 5, vec![1]),
            (Table::Holding, 6, vec![0]),
        ],
        kept: vec![(Table::Holding, 1, 1)],
        status: vec![status(1, "alarm"), status(2, "calibrating"), status(4, "fault")],
    }
}

/// Detcon 1000, hydrogen sulphide. 40001 range, 40002 reading in tenths (235 = 23.5), 40003/40004 set
/// points, 40005 status: bit 0 fault relay, bit 3 alarm 1, bit 7 alarm 2, bit 11 in calibration.
#[must_use]
pub fn detcon_1000() -> Map {
    let alarms = SetPoints { first: 6.6, second: 13.0, rising: true };
    let status = |mask, means| StatusBit { table: Table::Holding, register: 4, mask, equals: mask, means };
    let tenths = |value: f64| words(Form::I16, Order::Abcd, value * 10.0);
    Map {
        maker: "Detcon 1000",
        model: Model::Detcon1000 { alarms },
        quantities: vec![Quantity {
            name: "h2s".to_owned(),
            table: Table::Holding,
            register: 1,
            form: Form::I16,
            order: Order::Abcd,
            scale: 0.1,
            offset: 0.0,
            unit: "ppm".to_owned(),
            low: 0.0,
            high: 100.0,
            invalid: vec![NO_VALUE_I16],
        }],
        constants: vec![
            (Table::Holding, 0, vec![100]),
            (Table::Holding, 2, tenths(alarms.first)),
            (Table::Holding, 3, tenths(alarms.second)),
        ],
        kept: vec![(Table::Holding, 4, 1)],
        status: vec![
            status(1, "fault"),
            status(1 << 3, "alarm"),
            status(1 << 7, "alarm"),
            status(1 << 11, "calibrating"),
        ],
    }
}

/// Honeywell Midas. 40001 status, 40002 gas, 40003-4 reading as float32, 40005 as integer, 40006 number of
/// the fault, 40007 decimals and unit, 40008 temperature, 40009 cell life in hours, 40010 seconds, 40011
/// flow, 40012 nothing, 40013-16 set points as float32, 40017 alarm bits.
///
/// `highest` is the end of the cartridge's range in ppm, `decimals` how its display shows it.
#[must_use]
pub fn midas(gas_id: u8, highest: f64, decimals: u8, alarms: SetPoints) -> Map {
    let mode = |equals, means| StatusBit { table: Table::Holding, register: 0, mask: 0x000F, equals, means };
    let bits = |mask, equals, means| StatusBit { table: Table::Holding, register: 0, mask, equals, means };
    Map {
        maker: "Honeywell Midas",
        model: Model::Midas { decimals, alarms },
        quantities: vec![Quantity {
            name: "gas".to_owned(),
            table: Table::Holding,
            register: 2,
            form: Form::F32,
            order: Order::Abcd,
            scale: 1.0,
            offset: 0.0,
            unit: "ppm".to_owned(),
            low: 0.0,
            high: highest,
            invalid: vec![NO_VALUE_F32],
        }],
        constants: vec![
            (Table::Holding, 1, vec![0x0100 | u16::from(gas_id)]),
            (Table::Holding, 6, vec![0x0100 | u16::from(decimals)]),
            (Table::Holding, 7, vec![21]),
            (Table::Holding, 8, vec![8_760]),
            (Table::Holding, 10, vec![500]),
            (Table::Holding, 11, vec![0]),
            (Table::Holding, 12, words(Form::F32, Order::Abcd, alarms.first)),
            (Table::Holding, 14, words(Form::F32, Order::Abcd, alarms.second)),
        ],
        kept: vec![
            (Table::Holding, 0, 1),
            (Table::Holding, 4, 1),
            (Table::Holding, 5, 1),
            (Table::Holding, 9, 1),
            (Table::Holding, 16, 1),
        ],
        status: vec![
            mode(0, "warm_up"),
            mode(2, "inhibited"),
            mode(3, "inhibited"),
            mode(4, "inhibited"),
            mode(5, "simulated"),
            mode(6, "inhibited"),
            mode(7, "calibrating"),
            mode(8, "calibrating"),
            bits(0x0030, 0x0010, "fault"),
            bits(0x0030, 0x0020, "fault"),
            bits(0x0040, 0x0040, "alarm"),
            bits(0x0080, 0x0080, "alarm"),
            bits(0x0800, 0x0800, "heartbeat"),
        ],
    }
}

/// A generic transmitter of float32 numbers: input registers 0-1, 2-3, ... one pair a quantity, in `order`,
/// and after them one status register. Each quantity is (name, unit, low, high).
#[must_use]
pub fn gauge(order: Order, quantities: &[(&str, &str, f64, f64)]) -> Map {
    let mut map = Map {
        maker: "float32 gauge",
        model: Model::Plain,
        quantities: Vec::new(),
        constants: Vec::new(),
        kept: Vec::new(),
        status: Vec::new(),
    };
    let mut register = 0;
    for (name, unit, low, high) in quantities {
        map.quantities.push(Quantity {
            name: (*name).to_owned(),
            table: Table::Input,
            register,
            form: Form::F32,
            order,
            scale: 1.0,
            offset: 0.0,
            unit: (*unit).to_owned(),
            low: *low,
            high: *high,
            invalid: vec![NO_VALUE_F32],
        });
        register += Form::F32.registers();
    }
    let status = |mask, means| StatusBit { table: Table::Input, register, mask, equals: mask, means };
    map.model = Model::Gauge { table: Table::Input, status: register };
    map.kept = vec![(Table::Input, register, 1)];
    map.status = vec![
        status(1, "fault"),
        status(2, "calibrating"),
        status(4, "over_range"),
        status(8, "over_range"),
        status(16, "warm_up"),
    ];
    map
}

/// `count` plain u16 registers `r0`, `r1`, ... from `first` on: for measuring what polling costs.
#[must_use]
pub fn registers(table: Table, first: u16, count: u16) -> Map {
    let quantity = |place: u16| Quantity {
        name: format!("r{place}"),
        table,
        register: first + place,
        form: if table.is_bits() { Form::Bit } else { Form::U16 },
        order: Order::Abcd,
        scale: 1.0,
        offset: 0.0,
        unit: String::new(),
        low: 0.0,
        high: if table.is_bits() { 1.0 } else { 65_535.0 },
        invalid: Vec::new(),
    };
    Map {
        maker: "plain registers",
        model: Model::Plain,
        quantities: (0..count).map(quantity).collect(),
        constants: Vec::new(),
        kept: Vec::new(),
        status: Vec::new(),
    }
}
