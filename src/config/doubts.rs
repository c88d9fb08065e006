//! What is not wrong in a configuration but most likely not meant: told by `davy check`, never in the way.
//!
//! In comes a sound configuration; out come warnings with their keys: points that nothing can deliver, leave
//! given for points that there are not, devices of which nobody reads anything, and alarms that nobody hears.

use super::{Binding, Config, Key, Problems};

/// Ids that are named in one warning.
const NAMED: usize = 3;

pub(super) fn note(config: &Config, warnings: &mut Problems) {
    unreachable_points(config, warnings);
    empty_grants(config, warnings);
    idle_devices(config, warnings);
    nobody_hears(config, warnings);
}

fn ids(config: &Config) -> impl Iterator<Item = &str> {
    config.points.iter().map(|point| &*point.point.id)
}

/// Points that come by their id or their topic need a source that carries names.
fn unreachable_points(config: &Config, warnings: &mut Problems) {
    let mqtt = !config.mqtt_listeners.is_empty() || !config.mqtt_clients.is_empty();
    let sparkplug = config.sparkplug.iter().any(|(_, host)| host.names_points());
    let may_send = |id: &str| config.senders.iter().any(|sender| sender.may_write(id));
    let may_publish = |id: &str| {
        !config.mqtt_clients.is_empty() || config.mqtt_listeners.iter().any(|listener| listener.may_come(id))
    };
    let stuck = config.points.iter().filter(|point| match &point.binding {
        Binding::Pattern => !(may_publish(&point.point.id) || sparkplug || may_send(&point.point.id)),
        Binding::Mqtt(_) => !(mqtt && may_publish(&point.point.id)),
        Binding::Modbus(_) | Binding::Sparkplug(_) | Binding::Frame(_) => false,
    });
    let stuck: Vec<&str> = stuck.map(|point| &*point.point.id).collect();
    if !stuck.is_empty() {
        let message = format!(
            "{} are delivered by no source: bind them (modbus = .., mqtt = ..), or add a listener, a broker or a sender \
             that may write them",
            some_of(&stuck)
        );
        warnings.add(Key::of("source"), message);
    }
}

fn empty_grants(config: &Config, warnings: &mut Problems) {
    for listener in &config.mqtt_listeners {
        let at = Key::of("source.mqtt_listener").field(&listener.name).field("user");
        for (user, pattern) in listener.grants().filter(|(_, pattern)| nothing_fits(config, pattern)) {
            warnings.add(at.field(user).field("points"), format!("{pattern:?} fits no point"));
        }
    }
    for sender in &config.senders {
        let at = Key::of("source.http").field(&sender.name).field("points");
        for pattern in sender.grants().iter().filter(|pattern| nothing_fits(config, pattern)) {
            warnings.add(at.clone(), format!("{pattern:?} fits no point"));
        }
    }
}

fn nothing_fits(config: &Config, pattern: &str) -> bool {
    !ids(config).any(|id| crate::model::fits(pattern, id))
}

fn idle_devices(config: &Config, warnings: &mut Problems) {
    for device in &config.modbus {
        let read = |binding: &Binding| matches!(binding, Binding::Modbus(binding) if binding.device == device.name);
        if !config.points.iter().any(|point| read(&point.binding)) {
            let at = Key::of("source.modbus").field(&device.name);
            warnings.add(at, "no point is read from it: it is not polled");
        }
    }
}

fn nobody_hears(config: &Config, warnings: &mut Problems) {
    if !config.points.is_empty() && !config.notify.reaches_people() {
        warnings.add(
            Key::of("notify"),
            "nobody is told of an alarm but the log, the page and MQTT subscribers; add [notify.webhook.NAME]",
        );
    }
}

/// `3 points (a, b, c)`, `9 points (a, b, c ..)`.
fn some_of(ids: &[&str]) -> String {
    let more = if ids.len() > NAMED { " .." } else { "" };
    format!("{} points ({}{more})", ids.len(), ids[..ids.len().min(NAMED)].join(", "))
}
