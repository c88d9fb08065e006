//! The demo's points as data: what each measures, where it stands, and how it is read.
//!
//! The table is `points.csv`; what stands in which register is taken from the device maps, so that the
//! demo's configuration and the simulated devices cannot differ.

use std::time::Duration;

use serde::Serialize;

use crate::modbus::{Device, Gas, Order, SetPoints, StatusBit, detcon_1000, gauge, midas, pt495};
use crate::scenario::duration_in;

const TABLE: &str = include_str!("points.csv");

/// How a demo point is read.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// JSON `{"value":..,"time":ms}` on this topic.
    Mqtt { topic: String },
    /// Registers of a device on the one Modbus TCP address; `value = raw * scale + offset`.
    Modbus {
        unit: u8,
        /// Name of the quantity in the simulated device.
        quantity: String,
        /// Maker and model of the device.
        device: &'static str,
        /// Function code.
        function: u8,
        /// Zero-based.
        register: u16,
        /// `i16`, `u16`, `i32`, `u32`, `f32` or `bit`.
        #[serde(rename = "type")]
        form: &'static str,
        /// `ABCD`, `CDAB`, `BADC` or `DCBA`.
        order: &'static str,
        scale: f64,
        offset: f64,
        /// Raw contents that mean "no value".
        invalid: Vec<u32>,
        status: Vec<StatusBit>,
    },
}

/// A demo point, ready to be written into a point table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DemoPoint {
    pub site: &'static str,
    /// Local name; the point's id is `site.point`.
    pub point: &'static str,
    /// For people.
    pub name: &'static str,
    /// The kind's word, such as `methane`.
    pub kind: &'static str,
    pub place: &'static str,
    pub unit: &'static str,
    pub low: f64,
    pub high: f64,
    pub resolution: f64,
    #[serde(serialize_with = "as_ms", rename = "period_ms")]
    pub period: Duration,
    /// What it reads when nothing happens.
    pub normal: f64,
    /// Largest deviation from `normal`.
    pub noise: f64,
    /// Limits that belong to the place, not to a rule: `warning` and `guarantee` of a river gauge.
    pub limits: Vec<(&'static str, f64)>,
    pub transport: Transport,
}

impl DemoPoint {
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}.{}", self.site, self.point)
    }
}

fn as_ms<S: serde::Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

/// The demo's Modbus devices, all on one address.
#[must_use]
pub fn demo_devices() -> Vec<Device> {
    let rising = |first, second| SetPoints { first, second, rising: true };
    let tank = [("level", "%", 0.0, 100.0), ("pressure", "kPa", 0.0, 400.0), ("temperature", "degC", -20.0, 120.0)];
    vec![
        Device::new(1, detcon_1000()),
        Device::new(2, detcon_1000()),
        Device::new(3, detcon_1000()),
        Device::new(4, pt495(Gas::Lel)),
        Device::new(5, pt495(Gas::Lel)),
        Device::new(6, pt495(Gas::O2)),
        Device::new(7, midas(7, 5.0, 2, rising(0.5, 1.0))),
        Device::new(8, midas(3, 100.0, 1, rising(25.0, 50.0))),
        Device::new(9, pt495(Gas::Co)),
        Device::new(11, gauge(Order::Abcd, &tank)),
        Device::new(12, gauge(Order::Cdab, &tank)),
        Device::new(
            21,
            gauge(
                Order::Badc,
                &[("pressure", "MPa", -0.1, 0.1), ("flow", "m3/h", 0.0, 5_000.0), ("temperature", "degC", 0.0, 100.0)],
            ),
        ),
        Device::new(
            31,
            gauge(
                Order::Dcba,
                &[
                    ("level", "%", 0.0, 100.0),
                    ("main_pressure", "MPa", 0.0, 1.6),
                    ("sprinkler_pressure", "MPa", 0.0, 1.6),
                ],
            ),
        ),
    ]
}

/// All points of the four demo sites, in the order of the table.
#[must_use]
pub fn demo_points() -> Vec<DemoPoint> {
    let devices = demo_devices();
    TABLE.lines().skip(1).map(|line| point(line, &devices).expect("points.csv is read whole by a test")).collect()
}

fn point(line: &'static str, devices: &[Device]) -> Option<DemoPoint> {
    let cells: Vec<&str> = line.split(',').collect();
    let [site, point, kind, place, unit, low, high, resolution, period, normal, noise, source, limits, name] =
        cells[..]
    else {
        return None;
    };
    let limit = |pair: &'static str| {
        let (name, value) = pair.split_once('=')?;
        Some((name, value.parse().ok()?))
    };
    Some(DemoPoint {
        site,
        point,
        name,
        kind,
        place,
        unit,
        low: low.parse().ok()?,
        high: high.parse().ok()?,
        resolution: resolution.parse().ok()?,
        period: duration_in(period)?,
        normal: normal.parse().ok()?,
        noise: noise.parse().ok()?,
        limits: limits.split_whitespace().map(limit).collect::<Option<_>>()?,
        transport: transport(source, &format!("{site}/{point}"), devices)?,
    })
}

fn transport(source: &str, topic: &str, devices: &[Device]) -> Option<Transport> {
    let words: Vec<&str> = source.split_whitespace().collect();
    match words[..] {
        ["mqtt"] => Some(Transport::Mqtt { topic: topic.to_owned() }),
        ["modbus", unit, quantity] => {
            let unit: u8 = unit.parse().ok()?;
            let map = &devices.iter().find(|device| device.unit == unit)?.map;
            let found = map.quantity(quantity)?;
            Some(Transport::Modbus {
                unit,
                quantity: found.name.clone(),
                device: map.maker,
                function: found.table.function(),
                register: found.register,
                form: found.form.word(),
                order: found.order.word(),
                scale: found.scale,
                offset: found.offset,
                invalid: found.invalid.clone(),
                status: map.status.clone(),
            })
        }
        _ => None,
    }
}
