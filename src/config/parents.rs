//! What hangs from what: the points that are lost with a device, a bus, a link, a client or a sender.
//!
//! In comes a configuration; out go the points by what the alarm about the lost source names. Only what is certain is
//! in it: a point that may come another way too hangs from nothing.

use std::collections::BTreeMap;

use super::{Binding, Config, Key, Problems};
use crate::model::PointId;

/// A way on which a point may come.
enum Way {
    /// By what its absence is called.
    Known(String),
    /// Of somebody whom nobody expects.
    Any,
}

impl Config {
    #[must_use]
    pub fn parents(&self) -> BTreeMap<String, Vec<PointId>> {
        let mut parents: BTreeMap<String, Vec<PointId>> = BTreeMap::new();
        for configured in &self.points {
            let id = &configured.point.id;
            let above = match &configured.binding {
                Binding::Modbus(binding) => self.above_modbus(&binding.device),
                Binding::Sparkplug(binding) => self.above_sparkplug(&binding.group, &binding.node, &binding.device),
                Binding::Frame(binding) => self.above_frames(binding.protocol, &binding.device),
                Binding::Pattern | Binding::Mqtt(_) => {
                    let named = matches!(configured.binding, Binding::Pattern);
                    match &self.ways(id, named)[..] {
                        [Way::Known(only)] => vec![only.clone()],
                        [] | [Way::Any] | [_, _, ..] => Vec::new(),
                    }
                }
            };
            for source in above {
                parents.entry(source).or_default().push(id.clone());
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

    /// The broker, the node and the device.
    fn above_sparkplug(&self, group: &str, node: &str, device: &str) -> Vec<String> {
        let Some((host, _)) = self.sparkplug.iter().find(|(_, host)| host.hears(group)) else { return Vec::new() };
        let broker = format!("sparkplug.{host}");
        let node = format!("{broker}/{group}/{node}");
        let device = (!device.is_empty()).then(|| format!("{node}/{device}"));
        [broker, node].into_iter().chain(device).collect()
    }

    /// The device at its door, where there is one door that misses it.
    fn above_frames(&self, protocol: crate::source::frames::Protocol, device: &str) -> Vec<String> {
        let doors: Vec<_> = self.frames.iter().filter(|door| door.protocol == protocol).collect();
        match doors[..] {
            [door] if door.away.is_some() => vec![format!("{}.{}/{device}", protocol.word(), door.name)],
            [] | [_] | [_, _, ..] => Vec::new(),
        }
    }

    /// All ways of a point that comes by its name or its topic; `named`: by its name.
    fn ways(&self, id: &str, named: bool) -> Vec<Way> {
        let mut ways: Vec<Way> =
            self.mqtt_clients.iter().map(|(name, _)| Way::Known(format!("mqtt_client.{name}"))).collect();
        for listener in &self.mqtt_listeners {
            let expected: BTreeMap<_, _> = listener.expected().collect();
            ways.extend(listener.anonymous().then_some(Way::Any));
            ways.extend(listener.publishers(id).map(|user| match expected.get(user) {
                Some(_) => Way::Known(format!("mqtt_listener.{}/{user}", listener.name)),
                None => Way::Any,
            }));
        }
        for sender in self.senders.iter().filter(|sender| sender.may_write(id)) {
            ways.push(if sender.away.is_some() { Way::Known(format!("http.{}", sender.name)) } else { Way::Any });
        }
        if named {
            let hosts = self.sparkplug.iter().filter(|(_, host)| host.names_points());
            ways.extend(hosts.map(|(name, _)| Way::Known(format!("sparkplug.{name}"))));
            for door in &self.frames {
                ways.extend(door.named(id).map(|device| match door.away {
                    Some(_) => Way::Known(format!("{}.{}/{device}", door.protocol.word(), door.name)),
                    None => Way::Any,
                }));
            }
        }
        ways
    }

    /// Clients and senders that are missed, and from which no point hangs: their alarm would explain nothing.
    pub(super) fn note_parents(&self, warnings: &mut Problems) {
        let parents = self.parents();
        let users = self.mqtt_listeners.iter().flat_map(|listener| {
            let at = Key::of("source.mqtt_listener").field(&listener.name).field("user");
            let key = move |user: &str| at.field(user).field("away");
            listener.expected().map(move |(user, _)| (format!("mqtt_listener.{}/{user}", listener.name), key(user)))
        });
        let senders = self.senders.iter().filter(|sender| sender.away.is_some());
        let senders = senders
            .map(|sender| (format!("http.{}", sender.name), Key::of("source.http").field(&sender.name).field("away")));
        for (source, at) in users.chain(senders).filter(|(source, _)| !parents.contains_key(source)) {
            let message = format!(
                "no point comes through {source} alone: when it is away each point still calls; give its points to it alone, \
                 and let nobody else (anonymous, another user, sender or broker) publish them"
            );
            warnings.add(at, message);
        }
    }
}
