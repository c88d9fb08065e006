//! What hangs from what: the points that are lost with a device, a bus or a link.
//!
//! In comes a configuration; out go the points by what the alarm about the lost source names. Only what is certain is
//! in it: a point that may come another way too hangs from nothing.

use std::collections::BTreeMap;

use super::{Binding, Config};
use crate::model::PointId;

impl Config {
    #[must_use]
    pub fn parents(&self) -> BTreeMap<String, Vec<PointId>> {
        let mut parents: BTreeMap<String, Vec<PointId>> = BTreeMap::new();
        let doors = self.mqtt_listeners.len() + self.senders.len() + self.mqtt_clients.len();
        for configured in &self.points {
            let above = match &configured.binding {
                Binding::Modbus(binding) => self.above_modbus(&binding.device),
                Binding::Pattern | Binding::Mqtt(_) if doors == 1 => {
                    self.mqtt_clients.iter().map(|(name, _)| format!("mqtt_client.{name}")).collect()
                }
                Binding::Sparkplug(_) if self.sparkplug.len() == 1 => {
                    self.sparkplug.iter().map(|(name, _)| format!("sparkplug.{name}")).collect()
                }
                Binding::Pattern | Binding::Mqtt(_) | Binding::Sparkplug(_) | Binding::Frame(_) => Vec::new(),
            };
            for source in above {
                parents.entry(source).or_default().push(configured.point.id.clone());
            }
        }
        parents
    }

    /// The device, and its bus where others are on it too.
    fn above_modbus(&self, name: &str) -> Vec<String> {
        let Some(device) = self.modbus.iter().find(|device| device.name == *name) else { return Vec::new() };
        let shared = self.modbus.iter().filter(|other| other.address == device.address).count() > 1;
        let bus = shared.then(|| format!("modbus.{}", device.address));
        std::iter::once(format!("modbus.{name}")).chain(bus).collect()
    }
}
