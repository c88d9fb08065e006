//! Devices and sensors: `modbus`, `sites`, `points`, `fleet`.

use std::net::SocketAddr;
use std::time::Duration;

use davy_simulators::fleet;
use davy_simulators::modbus::{Misbehaviour, ModbusDevices};
use davy_simulators::mqtt::Qos;
use davy_simulators::scenario::duration_in;
use davy_simulators::site::{self, Script, Transport, demo_devices, demo_points};

use crate::arguments::{Fleet, FormWord, Modbus, Points, Sites};
use crate::{Failed, say, say_json, until_over};

pub async fn modbus(asked: Modbus) -> Result<(), Failed> {
    let address = SocketAddr::from(([127, 0, 0, 1], asked.port));
    let devices = ModbusDevices::start_at(address, demo_devices()).await?;
    for point in demo_points() {
        if let Transport::Modbus { unit, quantity, .. } = &point.transport {
            devices.set(*unit, quantity, point.normal)?;
        }
    }
    for order in &asked.set {
        let parsed = order.split_once('=').and_then(|(place, value)| {
            let (unit, quantity) = place.split_once('.')?;
            Some((unit.parse().ok()?, quantity, value.parse().ok()?))
        });
        let (unit, quantity, value) =
            parsed.ok_or_else(|| format!("--set {order}: expected unit.quantity=value, such as 1.h2s=20"))?;
        devices.set(unit, quantity, value)?;
    }
    for order in &asked.fault {
        let parsed = order.split_once('=').and_then(|(unit, how)| Some((unit.parse().ok()?, misbehaviour(how)?)));
        let (unit, how) =
            parsed.ok_or_else(|| format!("--fault {order}: expected unit=how, such as 4=silent or 4=late:1500ms"))?;
        devices.fault(unit, how)?;
    }
    show(&devices, asked.bounds.json)?;
    until_over(asked.bounds.span).await;
    for (unit, map) in devices.maps() {
        let traffic = devices.traffic(unit)?;
        if asked.bounds.json {
            say_json(&serde_json::json!({ "unit": unit, "maker": map.maker, "traffic": traffic }))?;
        } else {
            let (requests, registers, writes) = (traffic.requests, traffic.registers, traffic.writes);
            say(&format!("unit {unit:>3}: {requests} requests, {registers} registers, {writes} writes refused"))?;
        }
    }
    devices.stop().await;
    Ok(())
}

fn show(devices: &ModbusDevices, json: bool) -> Result<(), Failed> {
    if json {
        let units: Vec<_> =
            devices.maps().into_iter().map(|(unit, map)| serde_json::json!({ "unit": unit, "map": map })).collect();
        return say_json(&serde_json::json!({ "address": devices.address(), "devices": units }));
    }
    say(&format!("modbus tcp on {}; registers count from 0, as on the wire", devices.address()))?;
    for (unit, map) in devices.maps() {
        for quantity in &map.quantities {
            say(&format!(
                "unit {unit:>3} {:<16} {:<20} function {:02} register {:>3} {:<3} {} x{} {}",
                map.maker,
                quantity.name,
                quantity.table.function(),
                quantity.register,
                quantity.form.word(),
                quantity.order.word(),
                quantity.scale,
                quantity.unit,
            ))?;
        }
    }
    Ok(())
}

fn misbehaviour(how: &str) -> Option<Misbehaviour> {
    Some(match how.split_once(':') {
        Some(("late", delay)) => Misbehaviour::Late(duration_in(delay)?),
        Some(("exception", code)) => Misbehaviour::Exception(code.parse().ok()?),
        Some(("short", by)) => Misbehaviour::Short(by.parse().ok()?),
        Some(_) => return None,
        None => match how {
            "silent" => Misbehaviour::Silent,
            "drop" => Misbehaviour::Drop,
            "short" => Misbehaviour::Short(1),
            "truncated" => Misbehaviour::Truncated,
            "wrong-unit" => Misbehaviour::WrongUnit,
            "wrong-transaction" => Misbehaviour::WrongTransaction,
            "heartbeat-stopped" => Misbehaviour::HeartbeatStopped,
            "late" => Misbehaviour::Late(Duration::from_millis(1_500)),
            _ => return None,
        },
    })
}

pub async fn sites(asked: Sites) -> Result<(), Failed> {
    let mqtt = asked.broker.address().await?;
    let modbus = SocketAddr::from(([127, 0, 0, 1], asked.modbus_port));
    let wired = site::Sites::modbus_first_at(modbus, Script::demo()?).await?;
    let modbus = wired.address();
    if asked.bounds.json {
        say_json(&serde_json::json!({ "modbus": modbus, "mqtt": mqtt, "points": demo_points().len() }))?;
    } else {
        say(&format!("{} points: modbus tcp on {modbus}, mqtt to {mqtt}", demo_points().len()))?;
    }
    let sites = wired.start(mqtt, asked.broker.login().as_ref());
    until_over(asked.bounds.span).await;
    let counts = sites.stop().await;
    if asked.bounds.json {
        return say_json(&counts);
    }
    say(&format!(
        "{} messages sent, {} acknowledged, {} dropped, {} readings silent, {} modbus requests",
        counts.mqtt.sent, counts.mqtt.acknowledged, counts.mqtt.dropped, counts.silent, counts.modbus_requests
    ))
}

pub fn points(asked: &Points) -> Result<(), Failed> {
    for point in demo_points() {
        if asked.json {
            say_json(&point)?;
            continue;
        }
        let source = match &point.transport {
            Transport::Mqtt { topic } => format!("mqtt {topic}"),
            Transport::Modbus { unit, function, register, form, order, scale, .. } => {
                format!("modbus unit {unit} function {function:02} register {register} {form} {order} x{scale}")
            }
        };
        say(&format!("{:<38} {:<13} {:<15} {:<6} {source}", point.id(), point.kind, point.place, point.unit))?;
    }
    Ok(())
}

pub async fn fleet(asked: Fleet) -> Result<(), Failed> {
    let broker = asked.broker.address().await?;
    let fleet = fleet::Fleet {
        login: asked.broker.login(),
        site: asked.site,
        sensors: asked.sensors,
        period: asked.period,
        value: asked.value,
        noise: asked.noise,
        resolution: asked.resolution,
        qos: if asked.qos == 0 { Qos::AtMostOnce } else { Qos::AtLeastOnce },
        form: match asked.form {
            FormWord::Single => fleet::Form::Single,
            FormWord::Object => fleet::Form::Object,
            FormWord::Array => fleet::Form::Array(asked.samples),
        },
        connections: asked.connections,
    };
    let running = fleet.start(broker)?;
    until_over(asked.bounds.span).await;
    let report = running.stop().await;
    if asked.bounds.json {
        return say_json(&report);
    }
    let messages = report.messages;
    say(&format!(
        "{} samples in {} messages: {} sent, {} acknowledged, {} dropped, {} reconnects",
        report.samples, messages.accepted, messages.sent, messages.acknowledged, messages.dropped, messages.reconnects
    ))
}
