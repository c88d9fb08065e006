//! The demo's devices and points as configuration text, so that the demo reads what an operator would write.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::SocketAddr;

use davy_simulators::site::{DemoPoint, Transport};

/// Status words of the simulated devices that say why a value is not good.
fn reason(means: &str) -> Option<&'static str> {
    match means {
        "fault" => Some("sensor_fault"),
        "calibrating" | "inhibited" | "warm_up" => Some("calibrating"),
        "simulated" => Some("exercise"),
        "over_range" => Some("over_range"),
        _ => None,
    }
}

/// `[source.modbus.*]` and `[point.*]` tables.
pub fn written(points: &[DemoPoint], modbus: SocketAddr) -> String {
    let mut text = String::new();
    let mut units = BTreeSet::new();
    for point in points {
        if let Transport::Modbus { unit, .. } = &point.transport
            && units.insert(*unit)
        {
            write!(text, "[source.modbus.unit-{unit}]\naddress = \"{modbus}\"\nunit = {unit}\nperiod = \"1s\"\n\n")
                .expect("text takes what is written");
        }
    }
    for point in points {
        write_point(point, &mut text).expect("text takes what is written");
    }
    text
}

fn write_point(point: &DemoPoint, text: &mut String) -> std::fmt::Result {
    writeln!(text, "[point.{:?}]", point.id())?;
    writeln!(text, "name = {:?}\nkind = {:?}\nplace = {:?}", point.name, point.kind, point.place)?;
    writeln!(text, "unit = {:?}\nrange = [{:?}, {:?}]", point.unit, point.low, point.high)?;
    writeln!(text, "resolution = {:?}\nperiod = \"{}ms\"", point.resolution, point.period.as_millis())?;
    for (name, limit) in &point.limits {
        writeln!(text, "limits.{name} = {limit:?}")?;
    }
    if let Transport::Modbus { unit, function, register, form, order, scale, offset, invalid, status, .. } =
        &point.transport
    {
        let kind = match *form {
            "i16" => "int16",
            "u16" => "uint16",
            "i32" => "int32",
            "u32" => "uint32",
            "f32" => "float32",
            other => other,
        };
        write!(
            text,
            "modbus = {{ device = \"unit-{unit}\", function = {function}, address = {register}, type = {kind:?}"
        )?;
        write!(text, ", order = {order:?}, scale = {scale:?}, offset = {offset:?}")?;
        if kind != "float32" {
            write!(text, ", invalid = {invalid:?}")?;
        }
        let fields: Vec<String> = status
            .iter()
            .filter_map(|bit| {
                let reason = reason(bit.means)?;
                let value = bit.equals >> bit.mask.trailing_zeros();
                Some(format!(
                    "{{ mask = {}, values = {{ \"{value}\" = {reason:?} }}, otherwise = \"good\" }}",
                    bit.mask
                ))
            })
            .collect();
        if let (Some(first), false) = (status.first(), fields.is_empty()) {
            let function = first.table.function();
            write!(
                text,
                ", status = {{ function = {function}, address = {}, fields = [{}] }}",
                first.register,
                fields.join(", ")
            )?;
        }
        writeln!(text, " }}")?;
    }
    writeln!(text)
}
