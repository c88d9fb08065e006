//! Four demo sites that live: a coal mine, a chemical plant, a building and a river.
//!
//! In: an MQTT address. Out: about 80 points, 21 of them read over Modbus TCP from simulated detectors, the
//! rest published on `{site}/{point}`. Seven scenarios play over them in rounds of 40 to 60 s: gas at a face
//! rises over its limit and falls again, hydrogen sulphide leaks, a river passes its warning level, a smoke
//! detector goes on and off, sensors fall silent, stick, lie about the time, and come back.
//!
//! The Modbus side starts first, because the gateway's configuration must name its address.

mod points;
mod script;

#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use points::{DemoPoint, Transport, demo_devices, demo_points};
pub use script::{DEMO_SCENARIOS, DEMO_SPEED, Script};

use crate::clock::{Stopwatch, now_ms};
use crate::modbus::{Misbehaviour, ModbusDevices, ModbusError};
use crate::mqtt::{Counts, Login, Publisher, Qos};
use crate::noise::decimals;
use crate::scenario::{Reading, ScenarioError, Signal};
use crate::stop::until_stopped;

/// How often the simulated detectors take their new values.
const DEVICE_STEP: Duration = Duration::from_millis(100);

#[derive(Debug, Error)]
pub enum SiteError {
    #[error(transparent)]
    Modbus(#[from] ModbusError),
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
}

/// What the sites sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SiteCounts {
    #[serde(flatten)]
    pub mqtt: Counts,
    /// Readings that were not sent because the sensor was silent then.
    pub silent: u64,
    /// Requests that the Modbus devices got.
    pub modbus_requests: u64,
}

/// The Modbus side, running with normal values and waiting for the rest.
pub struct ModbusSide {
    devices: ModbusDevices,
    points: Vec<DemoPoint>,
    script: Script,
}

impl ModbusSide {
    /// The address that the gateway's configuration must name.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.devices.address()
    }

    /// Starts the clock of the scenarios and the MQTT sensors.
    #[must_use]
    pub fn start(self, mqtt: SocketAddr, login: Option<&Login>) -> Sites {
        let Self { devices, points, script } = self;
        let (stop, stopped) = watch::channel(false);
        let (devices, script, silent) = (Arc::new(devices), Arc::new(script), Arc::new(AtomicU64::new(0)));
        let since = Stopwatch::start();
        let (wired, sensors): (Vec<DemoPoint>, Vec<DemoPoint>) =
            points.into_iter().partition(|point| matches!(point.transport, Transport::Modbus { .. }));
        let detectors = tokio::spawn(move_detectors(devices.clone(), wired, script.clone(), since, stopped.clone()));
        let mut names: Vec<&'static str> = sensors.iter().map(|point| point.site).collect();
        names.dedup();
        let boxes = names
            .into_iter()
            .map(|site| {
                let mine = sensors.iter().filter(|point| point.site == site).cloned().collect();
                let publisher = Publisher::connect(&format!("davy-sim-{site}"), mqtt, login, Qos::AtLeastOnce);
                let job = SensorBox { points: mine, script: script.clone(), since, silent: silent.clone(), publisher };
                tokio::spawn(job.run(stopped.clone()))
            })
            .collect();
        Sites { devices, stop, detectors, boxes, silent }
    }
}

/// The four sites, alive until stopped or dropped.
pub struct Sites {
    devices: Arc<ModbusDevices>,
    stop: watch::Sender<bool>,
    detectors: JoinHandle<()>,
    boxes: Vec<JoinHandle<Counts>>,
    silent: Arc<AtomicU64>,
}

impl Sites {
    /// Starts the Modbus devices on a free port, with the demo's scenarios.
    ///
    /// # Errors
    /// When the machine has no port.
    pub async fn modbus_first() -> Result<ModbusSide, SiteError> {
        Self::modbus_first_at(SocketAddr::from(([127, 0, 0, 1], 0)), Script::demo()?).await
    }

    /// The same on a given address and with other scenarios.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn modbus_first_at(address: SocketAddr, script: Script) -> Result<ModbusSide, SiteError> {
        let devices = ModbusDevices::start_at(address, demo_devices()).await?;
        let points = demo_points();
        for point in &points {
            show(&devices, point, script.reading(point, Duration::ZERO));
        }
        Ok(ModbusSide { devices, points, script })
    }

    /// The simulated detectors, to be set or to be made to misbehave by hand. What a scenario drives is
    /// set again within 100 ms.
    #[must_use]
    pub fn devices(&self) -> &ModbusDevices {
        &self.devices
    }

    /// Stops the sensors, lets what was sent be confirmed for at most two seconds, and counts.
    pub async fn stop(mut self) -> SiteCounts {
        self.stop.send_replace(true);
        let mut counts = SiteCounts::default();
        for sensors in self.boxes.drain(..) {
            match sensors.await {
                Ok(sent) => counts.mqtt += sent,
                Err(error) => tracing::warn!(%error, "a demo site ended badly"),
            }
        }
        if let Err(error) = (&mut self.detectors).await {
            tracing::warn!(%error, "the demo's detectors ended badly");
        }
        counts.silent = self.silent.load(Ordering::Acquire);
        for (unit, _) in self.devices.maps() {
            counts.modbus_requests += self.devices.traffic(unit).map_or(0, |traffic| traffic.requests);
        }
        counts
    }
}

impl Drop for Sites {
    fn drop(&mut self) {
        self.detectors.abort();
        for sensors in &self.boxes {
            sensors.abort();
        }
    }
}

async fn move_detectors(
    devices: Arc<ModbusDevices>,
    points: Vec<DemoPoint>,
    script: Arc<Script>,
    since: Stopwatch,
    mut stopped: watch::Receiver<bool>,
) {
    let mut step = tokio::time::interval(DEVICE_STEP);
    let mut silent: Vec<bool> = vec![false; points.len()];
    loop {
        tokio::select! {
            () = until_stopped(&mut stopped) => return,
            _ = step.tick() => {}
        }
        for (point, was_silent) in points.iter().zip(&mut silent) {
            let reading = script.reading(point, since.elapsed());
            let is_silent = reading.signal == Signal::Silent;
            if let (Transport::Modbus { unit, .. }, true) = (&point.transport, is_silent != *was_silent) {
                let how = if is_silent { Misbehaviour::Silent } else { Misbehaviour::None };
                devices.fault(*unit, how).expect("demo_points names only units of demo_devices");
                *was_silent = is_silent;
            }
            show(&devices, point, reading);
        }
    }
}

/// Puts a reading into the registers of its device.
fn show(devices: &ModbusDevices, point: &DemoPoint, reading: Reading) {
    let Transport::Modbus { unit, quantity, .. } = &point.transport else { return };
    let shown = match reading.signal {
        Signal::Value(value) => devices.set(*unit, quantity, value),
        Signal::Code(code) => devices.set_raw(*unit, quantity, code),
        Signal::Silent => Ok(()),
    };
    shown.expect("demo_points names only quantities of demo_devices");
}

/// The MQTT sensors of one site, behind one connection.
struct SensorBox {
    points: Vec<DemoPoint>,
    script: Arc<Script>,
    since: Stopwatch,
    silent: Arc<AtomicU64>,
    publisher: Publisher,
}

impl SensorBox {
    async fn run(self, mut stopped: watch::Receiver<bool>) -> Counts {
        // Every sensor has its own moment in its period.
        let count = self.points.len() as f64;
        let mut due: Vec<Duration> = self
            .points
            .iter()
            .zip(0_u32..)
            .map(|(point, place)| point.period.mul_f64(f64::from(place) / count))
            .collect();
        while let Some(next) = due.iter().min().copied() {
            tokio::select! {
                () = until_stopped(&mut stopped) => break,
                () = tokio::time::sleep_until(self.since.at(next)) => {}
            }
            let now = self.since.elapsed();
            for (point, due) in self.points.iter().zip(&mut due) {
                if *due <= now {
                    self.publish(point, now);
                    // A machine that slept through periods does not make up for them.
                    let missed = now.saturating_sub(*due).as_nanos() / point.period.as_nanos().max(1);
                    *due += point.period.saturating_mul(u32::try_from(missed).unwrap_or(u32::MAX).saturating_add(1));
                }
            }
        }
        self.publisher.finish(Duration::from_secs(2)).await
    }

    fn publish(&self, point: &DemoPoint, now: Duration) {
        let Transport::Mqtt { topic } = &point.transport else { return };
        match payload(point, self.script.reading(point, now), now_ms()) {
            Some(payload) => {
                // What is dropped is counted by the publisher.
                self.publisher.publish(topic, payload);
            }
            None => {
                self.silent.fetch_add(1, Ordering::AcqRel);
            }
        }
    }
}

/// What the sensor sends, or nothing when it is silent. A code is sent as the device would: as the value.
#[must_use]
pub fn payload(point: &DemoPoint, reading: Reading, now_ms: u64) -> Option<String> {
    let mut text = String::from("{\"value\":");
    match reading.signal {
        Signal::Value(value) => write!(text, "{value:.*}", decimals(point.resolution)),
        Signal::Code(code) => write!(text, "{code}"),
        Signal::Silent => return None,
    }
    .expect("writing to a String cannot fail");
    let time = now_ms.saturating_add_signed(reading.clock_offset_ms);
    write!(text, ",\"time\":{time}}}").expect("writing to a String cannot fail");
    Some(text)
}
