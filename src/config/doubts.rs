//! What is not wrong in a configuration but most likely not meant: told by `davy check`, never in the way.
//!
//! In comes a sound configuration; out come warnings with their keys: points that nothing can deliver, leave
//! given for points that there are not, devices of which nobody reads anything, and alarms that nobody hears: of
//! sites for which nobody stands, at recipients of somebody who is never called, or late.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Binding, Config, Key, Problems};
use crate::model::{Area, Duty, Who, duration_text, fits};

/// Ids that are named in one warning.
const NAMED: usize = 3;
/// An alarm that waits longer for a disk is late.
const LONG_WAIT: Duration = Duration::from_secs(1);

pub(super) fn note(config: &Config, warnings: &mut Problems) {
    unreachable_points(config, warnings);
    empty_grants(config, warnings);
    idle_devices(config, warnings);
    nobody_hears(config, warnings);
    bare_sites(config, warnings);
    empty_areas(config, warnings);
    never_called(&config.duty, warnings);
    patient_alarms(config, warnings);
    config.note_parents(warnings);
}

/// A sick disk must not hold an alarm back.
fn patient_alarms(config: &Config, warnings: &mut Problems) {
    let wait = config.journal.alarm_wait;
    if wait > LONG_WAIT {
        let message = format!(
            "while the disk is slow every alarm goes out up to {} late: 250ms is the default, more than {} is for tests",
            duration_text(wait),
            duration_text(LONG_WAIT)
        );
        warnings.add(Key::of("journal.alarm_wait"), message);
    }
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
            "nobody is told of an alarm but the log, the page and MQTT subscribers; add [notify.mail.NAME] or another",
        );
    }
}

/// Points for which nobody stands at any level.
fn bare_sites(config: &Config, warnings: &mut Problems) {
    let duty = &config.duty;
    let areas: Option<BTreeSet<&String>> = duty.positions.values().map(|position| position.area.as_ref()).collect();
    // Without positions nobody is called at all; a position without an area is for everywhere.
    let Some(areas) = areas.filter(|areas| !areas.is_empty()) else { return };
    let areas: Vec<&Area> = areas.into_iter().filter_map(|name| duty.areas.get(name)).collect();
    let mut sites: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for point in &config.points {
        sites.entry(&point.point.site).or_default().push(&point.point.id);
    }
    for (site, mut ids) in sites {
        let of_site = areas.iter().flat_map(|area| &area.sites).any(|pattern| fits(pattern, site));
        ids.retain(|id| !of_site && !areas.iter().any(|area| area.holds(site, id)));
        if !ids.is_empty() {
            let message = format!(
                "no position covers {} of site {site}: nobody is called for their alarms; say whose area the site is in \
                 [position.NAME] area and [area.NAME] sites, or leave the area of a position out",
                some_of(&ids)
            );
            warnings.add(Key::of("position"), message);
        }
    }
}

fn empty_areas(config: &Config, warnings: &mut Problems) {
    let sites: BTreeSet<&str> = config.points.iter().map(|point| &*point.point.site).collect();
    for (name, area) in &config.duty.areas {
        let at = Key::of("area").field(name);
        for pattern in area.sites.iter().filter(|pattern| !sites.iter().any(|site| fits(pattern, site))) {
            warnings.add(at.field("sites"), format!("{pattern:?} fits no site that has points"));
        }
        for pattern in area.points.iter().filter(|pattern| nothing_fits(config, pattern)) {
            warnings.add(at.field("points"), format!("{pattern:?} fits no point"));
        }
    }
}

/// A recipient that belongs to somebody hears only what that person is called for.
fn never_called(duty: &Duty, warnings: &mut Problems) {
    if duty.is_empty() {
        return;
    }
    let mut called: BTreeSet<&str> = duty.leave.iter().filter_map(|leave| leave.substitute.as_deref()).collect();
    let steps = duty.policies.values().flat_map(|policy| &policy.steps).map(|step| &step.who);
    for who in duty.positions.values().flat_map(|position| &position.who).chain(steps) {
        match who {
            Who::Person(name) => called.extend([name.as_str()]),
            Who::Team(name) => called.extend(duty.teams.get(name).into_iter().flatten().map(String::as_str)),
            Who::Roster(name) => {
                let rosters = duty.rosters.get(name).into_iter();
                let names =
                    rosters.flat_map(|roster| roster.cycle.iter().flatten().flatten().chain(&roster.substitutes));
                called.extend(names.map(String::as_str));
            }
            Who::Tier(_) | Who::Position(_) => {}
        }
    }
    for (name, one) in duty.people.iter().filter(|(name, one)| !one.reach.is_empty() && !called.contains(name.as_str()))
    {
        let message = format!(
            "stands at no position and in no policy: {} hears of no alarm; name the person at a position, in a roster or a \
             team that stands there, or take the person out",
            one.reach.join(", ")
        );
        warnings.add(Key::of("person").field(name).field("reach"), message);
    }
}

/// `3 points (a, b, c)`, `9 points (a, b, c ..)`.
fn some_of(ids: &[&str]) -> String {
    let more = if ids.len() > NAMED { " .." } else { "" };
    format!("{} points ({}{more})", ids.len(), ids[..ids.len().min(NAMED)].join(", "))
}
