//! Whose business an alarm of Davy's own is: the site or area of what it is about.
//!
//! In come the alarm and the setup; out goes the place of the source, the point that chatters, the siren, the person whose
//! messages do not arrive, the roster that is not signed for. `None` where it is about Davy itself, or about things of
//! several sites: that is everybody's.

use std::collections::{BTreeMap, BTreeSet};

use crate::alarm::Alarm;
use crate::engine::DOWN;
use crate::journal::Setup;
use crate::model::{Position, SiteId, Who, fits};
use crate::response::people::{Now, Place};
use crate::response::storm::CHATTER;

use super::UNSIGNED;

/// Sirens that do not sound, for whatever cause: the level above hears of it.
pub(super) const SIRENS: [&str; 2] = ["davy-siren-failing", "davy-siren-muted"];
/// Messages that do not arrive, and one that was refused.
const PHONES: [&str; 2] = ["davy-notify-failing", "davy-notify-refused"];
/// Their subject is a site.
const OF_SITES: [&str; 3] = ["davy-calibration-due", "davy-site-ends", "davy-site-ended"];

pub(super) fn place(alarm: &Alarm, sources: &BTreeMap<String, SiteId>, now: Now<'_>, setup: &Setup) -> Option<Place> {
    let subject = &*alarm.subject;
    match &*alarm.rule {
        DOWN => Some(site(sources.get(subject)?, subject)),
        CHATTER => {
            // Of a rule at a point, or of an alarm about a source.
            let (_, what) = subject.rsplit_once(' ')?;
            let point = setup.points.iter().find(|point| *point.id == *what);
            Some(site(point.map_or_else(|| sources.get(what), |point| Some(&point.site))?, what))
        }
        rule if OF_SITES.contains(&rule) => {
            setup.points.iter().any(|point| *point.site == *subject).then(|| site(subject, subject))
        }
        UNSIGNED => {
            let roster = Who::Roster(subject.to_owned());
            of_positions(now.duty.positions.values().filter(|position| position.who.contains(&roster)), now)
        }
        rule if SIRENS.contains(&rule) => of_recipient(&format!("siren.{subject}"), setup),
        rule if PHONES.contains(&rule) => {
            let recipient = subject.replacen(' ', ".", 1);
            of_recipient(&recipient, setup).or_else(|| of_person(&recipient, now))
        }
        _ => None,
    }
}

fn site(site: &str, subject: &str) -> Place {
    Place { site: site.to_owned(), subject: subject.to_owned(), everywhere: false }
}

/// The one site that it is for.
fn of_recipient(recipient: &str, setup: &Setup) -> Option<Place> {
    let patterns = setup.duty.recipients.get(recipient)?;
    let fit = |name: &&SiteId| patterns.iter().any(|pattern| fits(pattern, name));
    let sites: BTreeSet<&SiteId> = setup.points.iter().map(|point| &point.site).filter(fit).collect();
    let mut sites = sites.into_iter();
    sites.next().filter(|_| sites.next().is_none()).map(|only| site(only, recipient))
}

/// Where the persons stand whom it reaches.
fn of_person(recipient: &str, now: Now<'_>) -> Option<Place> {
    let reaches =
        |name: &str| now.duty.people.get(name).is_some_and(|person| person.reach.iter().any(|way| way == recipient));
    let stands = |position: &&Position| {
        position.who.iter().any(|who| match who {
            Who::Person(name) => reaches(name),
            Who::Team(team) => now.duty.teams.get(team).into_iter().flatten().any(|name| reaches(name)),
            Who::Roster(roster) => {
                let roster = now.duty.rosters.get(roster).into_iter();
                roster.flat_map(|roster| roster.cycle.iter().flatten().flatten()).any(|name| reaches(name))
            }
            Who::Tier(_) | Who::Position(_) => false,
        })
    };
    of_positions(now.duty.positions.values().filter(stands), now)
}

/// The one area in which all of them are.
fn of_positions<'a>(positions: impl Iterator<Item = &'a Position>, now: Now<'_>) -> Option<Place> {
    let mut areas: BTreeMap<Option<&str>, &Position> = BTreeMap::new();
    areas.extend(positions.map(|position| (position.area.as_deref(), position)));
    let mut areas = areas.into_values();
    areas.next().filter(|_| areas.next().is_none()).map(|only| now.place_of(only))
}
