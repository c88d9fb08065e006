//! A fleet of alike sensors over MQTT, in the three payload forms that field gear sends.
//!
//! In: how many, how often, around which value. Out: JSON messages on `{site}/{sensor}` (or `{site}` when
//! one message carries many sensors), each with its own time. The sensors' moments are spread over the
//! period, as real ones are. Never waits for a slow broker: what does not fit is dropped and counted.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clock::{Stopwatch, now_ms};
use crate::mqtt::{Counts, Login, Publisher, Qos};
use crate::noise::{decimals, on_grid, seed_of, spread};
use crate::stop::until_stopped;

/// How readings are packed into messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// `{"value":0.42,"time":1790000000123}` on `{site}/{sensor}`.
    #[default]
    Single,
    /// `{"time":1790000000123,"sensor-0001":0.42,"sensor-0002":0.43}` on `{site}`, all sensors of the
    /// connection in one message.
    Object,
    /// `[{"value":0.42,"time":..},{"value":0.43,"time":..}]` on `{site}/{sensor}`: that many samples, spread
    /// over the period, oldest first.
    Array(u16),
}

/// What the fleet looks like.
#[derive(Clone, Debug)]
pub struct Fleet {
    pub site: String,
    pub sensors: u32,
    pub period: Duration,
    /// The sensors read around it.
    pub value: f64,
    /// Largest deviation from `value`, either way.
    pub noise: f64,
    pub resolution: f64,
    pub qos: Qos,
    pub form: Form,
    pub connections: u32,
    pub login: Option<Login>,
}

impl Default for Fleet {
    fn default() -> Self {
        Self {
            site: "fleet".to_owned(),
            sensors: 100,
            period: Duration::from_secs(1),
            value: 0.42,
            noise: 0.05,
            resolution: 0.01,
            qos: Qos::AtLeastOnce,
            form: Form::Single,
            connections: 1,
            login: None,
        }
    }
}

#[derive(Debug, Error, PartialEq)]
pub enum FleetError {
    #[error("a fleet of {0} sensors, expected 1..=1000000")]
    Sensors(u32),
    #[error("{connections} connections for {sensors} sensors, expected 1..={sensors}")]
    Connections { connections: u32, sensors: u32 },
    #[error("a period of {0:?}, expected 1ms..=1day")]
    Period(Duration),
    #[error("site {0:?} cannot stand in a topic, expected letters, digits, '-', '_', '.' and '/'")]
    Site(String),
    #[error("an array of {0} samples, expected 1..=1000")]
    Array(u16),
    #[error("value, noise and resolution must be finite numbers, noise and resolution not below 0")]
    Numbers,
}

/// What the fleet did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FleetReport {
    /// Readings inside the messages taken for sending.
    pub samples: u64,
    #[serde(flatten)]
    pub messages: Counts,
}

/// Sensors that publish until stopped or dropped.
pub struct RunningFleet {
    stop: watch::Sender<bool>,
    connections: Vec<JoinHandle<FleetReport>>,
}

impl RunningFleet {
    /// Stops the sensors, lets what was sent be confirmed for at most two seconds, and counts.
    pub async fn stop(mut self) -> FleetReport {
        self.stop.send_replace(true);
        let mut total = FleetReport::default();
        for connection in self.connections.drain(..) {
            match connection.await {
                Ok(report) => {
                    total.samples += report.samples;
                    total.messages += report.messages;
                }
                Err(error) => tracing::warn!(%error, "a fleet connection ended badly"),
            }
        }
        total
    }
}

impl Drop for RunningFleet {
    fn drop(&mut self) {
        for connection in &self.connections {
            connection.abort();
        }
    }
}

impl Fleet {
    fn check(&self) -> Result<(), FleetError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        let positive = |number: f64| number.is_finite() && number >= 0.0;
        match self {
            Self { sensors, .. } if !(1..=1_000_000).contains(sensors) => Err(FleetError::Sensors(*sensors)),
            Self { connections, sensors, .. } if !(1..=*sensors).contains(connections) => {
                Err(FleetError::Connections { connections: *connections, sensors: *sensors })
            }
            Self { period, .. } if !(Duration::from_millis(1)..=Duration::from_secs(86_400)).contains(period) => {
                Err(FleetError::Period(*period))
            }
            Self { site, .. } if site.is_empty() || !site.chars().all(plain) => Err(FleetError::Site(site.clone())),
            Self { form: Form::Array(samples), .. } if !(1..=1_000).contains(samples) => {
                Err(FleetError::Array(*samples))
            }
            Self { value, noise, resolution, .. }
                if !value.is_finite() || !positive(*noise) || !positive(*resolution) =>
            {
                Err(FleetError::Numbers)
            }
            Self { .. } => Ok(()),
        }
    }

    /// Lets the sensors publish to `broker`; returns at once.
    ///
    /// # Errors
    /// When the fleet is not sound. A broker that is away is not an error: the sensors keep trying.
    pub fn start(self, broker: SocketAddr) -> Result<RunningFleet, FleetError> {
        self.check()?;
        let (stop, stopped) = watch::channel(false);
        let start_of = |part: u32| u64::from(part) * u64::from(self.sensors) / u64::from(self.connections);
        let connections = (0..self.connections)
            .map(|part| {
                let mine = (start_of(part)..start_of(part + 1)).map(|number| Sensor::new(&self, number)).collect();
                let id = format!("davy-fleet-{}-{part}", self.site.replace('/', "-"));
                let publisher = Publisher::connect(&id, broker, self.login.as_ref(), self.qos);
                tokio::spawn(publish(self.clone(), mine, publisher, stopped.clone()))
            })
            .collect();
        Ok(RunningFleet { stop, connections })
    }

    /// What `sensor` reads at its `step`-th period, as it shows it.
    fn reading(&self, sensor: &Sensor, step: u64, digits: usize, text: &mut String) {
        let value = on_grid(self.value + self.noise * spread(sensor.seed, step), self.resolution);
        write!(text, "{value:.digits$}").expect("writing to a String cannot fail");
    }
}

struct Sensor {
    name: String,
    topic: String,
    seed: u64,
    /// When in the period it speaks.
    phase: Duration,
}

impl Sensor {
    fn new(fleet: &Fleet, number: u64) -> Self {
        let name = format!("sensor-{:04}", number + 1);
        let topic = format!("{}/{name}", fleet.site);
        let phase = fleet.period.mul_f64((number as f64 / f64::from(fleet.sensors)).min(1.0));
        Self { seed: seed_of(&topic), name, topic, phase }
    }
}

async fn publish(
    fleet: Fleet,
    sensors: Vec<Sensor>,
    publisher: Publisher,
    mut stopped: watch::Receiver<bool>,
) -> FleetReport {
    let watch = Stopwatch::start();
    let digits = decimals(fleet.resolution);
    let mut samples = 0;
    let mut step = 0_u64;
    'periods: loop {
        let begin = fleet.period.saturating_mul(u32::try_from(step).unwrap_or(u32::MAX));
        let rounds: &[Sensor] = if fleet.form == Form::Object { &sensors[..1] } else { &sensors };
        for sensor in rounds {
            let due = begin + sensor.phase;
            if watch.elapsed() < due {
                tokio::select! {
                    () = until_stopped(&mut stopped) => break 'periods,
                    () = tokio::time::sleep_until(watch.at(due)) => {}
                }
            } else if *stopped.borrow() {
                break 'periods;
            }
            let (topic, payload, carried) = message(&fleet, &sensors, sensor, step, digits);
            if publisher.publish(topic, payload) {
                samples += carried;
            }
        }
        step += 1;
        // A fleet that is too large for the machine must still let others run.
        tokio::task::yield_now().await;
    }
    FleetReport { samples, messages: publisher.finish(Duration::from_secs(2)).await }
}

fn message<'a>(
    fleet: &'a Fleet,
    all: &[Sensor],
    sensor: &'a Sensor,
    step: u64,
    digits: usize,
) -> (&'a str, String, u64) {
    let now = now_ms();
    let mut text = String::with_capacity(48);
    match fleet.form {
        Form::Single => {
            text.push_str("{\"value\":");
            fleet.reading(sensor, step, digits, &mut text);
            write!(text, ",\"time\":{now}}}").expect("writing to a String cannot fail");
            (&sensor.topic, text, 1)
        }
        Form::Object => {
            write!(text, "{{\"time\":{now}").expect("writing to a String cannot fail");
            for member in all {
                write!(text, ",\"{}\":", member.name).expect("writing to a String cannot fail");
                fleet.reading(member, step, digits, &mut text);
            }
            text.push('}');
            (&fleet.site, text, all.len() as u64)
        }
        Form::Array(count) => {
            let count = u64::from(count);
            let period = u64::try_from(fleet.period.as_millis()).unwrap_or(u64::MAX);
            for place in 0..count {
                text.push_str(if place == 0 { "[{\"value\":" } else { ",{\"value\":" });
                fleet.reading(sensor, step * count + place, digits, &mut text);
                let time = now.saturating_sub(period * (count - 1 - place) / count);
                write!(text, ",\"time\":{time}}}").expect("writing to a String cannot fail");
            }
            text.push(']');
            (&sensor.topic, text, count)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_are_json_and_carry_every_reading() {
        let mut fleet = Fleet { site: "north".to_owned(), sensors: 3, ..Fleet::default() };
        let sensors: Vec<Sensor> = (0..3).map(|number| Sensor::new(&fleet, number)).collect();
        let parsed = |fleet: &Fleet| {
            let (topic, text, carried) = message(fleet, &sensors, &sensors[1], 5, 2);
            (topic.to_owned(), serde_json::from_str::<serde_json::Value>(&text).unwrap(), carried)
        };
        let (topic, single, carried) = parsed(&fleet);
        assert_eq!((topic.as_str(), carried), ("north/sensor-0002", 1));
        assert!((0.37..=0.47).contains(&single["value"].as_f64().unwrap()), "{single}");
        assert!(single["time"].as_u64().unwrap() > 1_700_000_000_000);

        fleet.form = Form::Object;
        let (topic, object, carried) = parsed(&fleet);
        assert_eq!((topic.as_str(), carried), ("north", 3));
        assert_eq!(object["sensor-0002"], single["value"], "the same sensor reads the same at the same step");
        assert!(object["sensor-0003"].is_f64());

        fleet.form = Form::Array(4);
        let (topic, array, carried) = parsed(&fleet);
        assert_eq!((topic.as_str(), carried), ("north/sensor-0002", 4));
        let times: Vec<u64> = array.as_array().unwrap().iter().map(|one| one["time"].as_u64().unwrap()).collect();
        assert_eq!(times.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>(), [250, 250, 250]);
    }

    #[test]
    fn an_unsound_fleet_is_refused_in_words() {
        let refusal = |fleet: Fleet| fleet.check().unwrap_err().to_string();
        assert_eq!(refusal(Fleet { sensors: 0, ..Fleet::default() }), "a fleet of 0 sensors, expected 1..=1000000");
        assert!(refusal(Fleet { connections: 101, ..Fleet::default() }).contains("expected 1..=100"));
        assert!(refusal(Fleet { site: "a/#".to_owned(), ..Fleet::default() }).contains("topic"));
        assert!(refusal(Fleet { noise: f64::NAN, ..Fleet::default() }).contains("finite"));
        assert!(refusal(Fleet { period: Duration::ZERO, ..Fleet::default() }).contains("1ms"));
    }
}
