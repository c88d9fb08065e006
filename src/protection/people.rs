//! What stands between an alarm and people and fails: sirens, recipients, positions at which nobody is.
//!
//! In come Davy's own alarms and duty as it is at the moment; out come lines of the list, each with the person, the
//! position or the sites that it is about. They reduce no point: its alarm is raised, and goes other ways.

use std::collections::BTreeSet;

use super::{Known, Reduction, holding, of_alarm};
use crate::alarm::Alarm;
use crate::model::{Duty, Point, Position, SiteId, fits};
use crate::response::Kept;
use crate::response::people::Now;

/// Sirens and recipients.
pub(super) fn outlets(known: &Known<'_>) -> Vec<Reduction> {
    let mut list = Vec::new();
    for (kind, rule) in [("siren_failing", "davy-siren-failing"), ("siren_muted", "davy-siren-muted")] {
        for alarm in holding(known, rule) {
            let sites = sites_of(known, "siren", &alarm.subject);
            list.push(Reduction { sites, ..of_alarm(kind, alarm) });
        }
    }
    // A message that was refused is news: it stands until somebody has seen it.
    let refused = known.record.alarms.iter().filter(|alarm| &*alarm.rule == "davy-notify-refused");
    let failing = holding(known, "davy-notify-failing").map(|alarm| ("recipient_failing", alarm));
    for (kind, alarm) in failing.chain(refused.map(|alarm| ("recipient_refused", alarm))) {
        let (channel, name) = alarm.subject.split_once(' ').unwrap_or((&alarm.subject, ""));
        let owner = known.setup.and_then(|setup| reached_by(&setup.duty, &format!("{channel}.{name}")));
        let sites = sites_of(known, channel, name);
        list.push(Reduction { owner, sites, ..of_alarm(kind, alarm) });
    }
    list
}

/// Names of the persons who are reached that way.
fn reached_by(duty: &Duty, recipient: &str) -> Option<String> {
    let persons = duty.people.values().filter(|one| one.reach.iter().any(|way| way == recipient));
    let names: Vec<&str> = persons.map(|one| one.name.as_str()).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// Sites of the recipient; empty: all.
fn sites_of(known: &Known<'_>, channel: &str, name: &str) -> Vec<SiteId> {
    let recipient = known.recipients.iter().find(|one| one.channel == channel && one.name == name);
    let patterns = recipient.map_or(&[][..], |one| &one.sites);
    chosen(known, |point| patterns.iter().any(|pattern| fits(pattern, &point.site)))
}

fn chosen(known: &Known<'_>, here: impl Fn(&Point) -> bool) -> Vec<SiteId> {
    let alive = known.table.list().iter().filter(|point| !point.retired && here(point));
    let sites: BTreeSet<&SiteId> = alive.map(|point| &point.site).collect();
    sites.into_iter().cloned().collect()
}

/// Leave without anybody who stands in, positions at which nobody can be called or no console is open, sites whose
/// alarms find nobody, and questions (查岗) that nobody answered.
pub(super) fn positions(known: &Known<'_>) -> Vec<Reduction> {
    let Some(setup) = known.setup else { return Vec::new() };
    let said = Kept::said(&known.record.duty);
    let now = Now { duty: &setup.duty, said: &said, zone: setup.calendar.zone, at: known.at };
    let mut list = Vec::new();
    for (key, person) in &setup.duty.people {
        let Some(leave) = now.leave_of(key).filter(|_| now.stands_in(key).is_none()) else { continue };
        list.push(Reduction {
            kind: "leave",
            id: leave.id.clone(),
            subject: format!("{} 休假无人替班 / {} is away, nobody stands in", person.name, key),
            owner: Some(leave.by.clone()),
            reason: leave.reason.clone(),
            since: Some(leave.from),
            until: Some(leave.until),
            ..Reduction::default()
        });
    }
    for (name, position) in setup.duty.positions.iter().filter(|(_, position)| !now.is_staffed(position)) {
        list.push(Reduction {
            kind: "position_empty",
            id: format!("position.{name}"),
            subject: format!("position.{name}"),
            reason: "无人可叫 / nobody can be called".into(),
            sites: area(known, &setup.duty, position),
            ..Reduction::default()
        });
    }
    for (kind, rule) in [("console_closed", "davy-console-closed"), ("presence_missed", "davy-presence-missed")] {
        for alarm in holding(known, rule) {
            let position = setup.duty.positions.get(&*alarm.subject);
            let sites = position.map_or_else(Vec::new, |position| area(known, &setup.duty, position));
            list.push(Reduction { subject: format!("position.{}", alarm.subject), sites, ..of_alarm(kind, alarm) });
        }
    }
    list.extend(holding(known, "davy-nobody-called").map(|alarm| lonely(known, alarm)));
    list
}

fn lonely(known: &Known<'_>, alarm: &Alarm) -> Reduction {
    Reduction { sites: chosen(known, |point| *point.site == *alarm.subject), ..of_alarm("nobody_called", alarm) }
}

/// Sites of the position; empty: everywhere.
fn area(known: &Known<'_>, duty: &Duty, position: &Position) -> Vec<SiteId> {
    let Some(area) = position.area.as_ref().and_then(|name| duty.areas.get(name)) else { return Vec::new() };
    chosen(known, |point| area.holds(&point.site, &point.id))
}
