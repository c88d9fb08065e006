//! What a shift hands to the next one, in a few lines for a message: Chinese and English.
//!
//! In come the facts as they stand in the transaction that writes the hand-over down, and the places that the
//! roster's positions look after; out go open alarms, open cases, what reduces protection with the percentage
//! that is left at each site, and calibrations due within a day. A few of each are named and all are counted: the
//! whole list, which is signed, is `/api/v1/handover`.

use std::collections::HashMap;
use std::time::Duration;

use rusqlite::Transaction;

use super::Recipient;
use super::protection::{bodies, on_record};
use crate::alarm::Alarm;
use crate::board::Board;
use crate::model::{Area, PointIndex, PointTable, Timestamp, Who};
use crate::protection::{Known, Reduction, bypassed_interlocks, reductions, shares};
use crate::response::case::Case;
use crate::response::{DAILY, HANDOVER, Step};

/// Named one by one; the others are counted.
const NAMED: usize = 5;
/// Calibrations that are due so soon are the next shift's.
const SOON: Duration = Duration::from_secs(86_400);

/// One line of the list.
struct Part {
    zh: &'static str,
    en: &'static str,
    items: Vec<String>,
}

pub(super) fn list(
    change: &Transaction<'_>,
    step: &Step,
    recipients: &[Recipient],
    board: &Board,
) -> Result<(String, String), rusqlite::Error> {
    let (table, areas) = (board.points(), areas(step, board));
    let here = |site: &str, subject: &str| {
        areas.as_ref().is_none_or(|areas| areas.iter().any(|area| area.holds(site, subject)))
    };
    let mut alarms: Vec<Alarm> = bodies(change, "SELECT body FROM alarms WHERE standing <> 'normal'", [])?;
    let told = |alarm: &Alarm| [HANDOVER, DAILY].contains(&&*alarm.rule);
    alarms.retain(|alarm| {
        !alarm.is_injected() && !told(alarm) && (alarm.point.is_none() || here(&alarm.site, &alarm.subject))
    });
    alarms.sort_by_key(|alarm| (alarm.priority, alarm.raised));
    let cases: Vec<Case> =
        bodies(change, "SELECT body FROM cases WHERE closed IS NULL AND joined IS NULL ORDER BY number", [])?;
    let (reductions, percents) = protection(change, step, (recipients, board), here)?;
    let parts = [
        Part {
            zh: "未结束报警",
            en: "open alarms",
            items: alarms.iter().map(|one| format!("{} {} {}", one.priority, one.subject, one.title)).collect(),
        },
        Part {
            zh: "未销号处置单",
            en: "open cases",
            items: cases
                .iter()
                .filter(|one| here(&one.site, ""))
                .map(|one| format!("{} {}", one.id(), one.site))
                .collect(),
        },
        Part { zh: "保护削弱项", en: "reductions of protection", items: reductions },
        Part { zh: "站点保护率", en: "protection of sites", items: percents },
        Part { zh: "到期标校", en: "calibrations due", items: calibrations(change, &table, step.at, here)? },
    ];
    let text = |zh: bool| {
        let lines = parts.iter().map(|part| {
            let name = if zh { part.zh } else { part.en };
            let named = part.items.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>();
            let more = if part.items.len() > NAMED { ", .." } else { "" };
            let some = if named.is_empty() { String::new() } else { format!(" ({}{more})", named.join(", ")) };
            format!("{name} {}{some}", part.items.len())
        });
        format!("{}{}", if zh { "交接班清单：" } else { "hand-over: " }, lines.collect::<Vec<_>>().join("; "))
    };
    Ok((text(true), text(false)))
}

/// Of the positions that the roster stands behind; none: one of them is for everywhere, or there is none.
fn areas(step: &Step, board: &Board) -> Option<Vec<Area>> {
    let setup = board.setup()?;
    let name = step.level.strip_prefix("roster.")?;
    let behind = setup.duty.positions.values().filter(|one| one.who.iter().any(|who| *who == Who::Roster(name.into())));
    let areas: Option<Vec<Area>> =
        behind.map(|one| one.area.as_ref().and_then(|area| setup.duty.areas.get(area)).cloned()).collect();
    areas.filter(|areas| !areas.is_empty())
}

/// What takes protection away, in words, and what is left at each site, the worst first.
fn protection(
    change: &Transaction<'_>,
    step: &Step,
    (recipients, board): (&[Recipient], &Board),
    here: impl Fn(&str, &str) -> bool,
) -> Result<(Vec<String>, Vec<String>), rusqlite::Error> {
    let (table, setup, heard) = (board.points(), board.setup(), board.heard());
    let record = on_record(change, &bypassed_interlocks(&table, &heard))?;
    let (at, setup) = (step.at, setup.as_deref());
    let known = Known { at, table: &table, setup, heard: &heard, recipients, record: &record };
    let list = reductions(&known);
    let local = |index: &PointIndex| table.get(*index).is_some_and(|point| here(&point.site, &point.id));
    let concerns = |one: &&Reduction| {
        let places = one.sites.is_empty() || one.sites.iter().any(|site| here(site, ""));
        one.points.iter().any(local) || one.points.is_empty() && places
    };
    let words = list.iter().filter(concerns).map(words).collect();
    let mut left = shares(&list, &table);
    left.retain(|share| {
        table.list().iter().any(|point| !point.retired && point.site == share.site && here(&point.site, &point.id))
    });
    left.sort_by(|one, other| one.percent().total_cmp(&other.percent()).then_with(|| one.site.cmp(&other.site)));
    Ok((words, left.iter().map(|share| format!("{} {} %", share.site, share.percent())).collect()))
}

fn words(one: &Reduction) -> String {
    let owner = one.owner.as_ref().map_or_else(String::new, |owner| format!(" {owner}"));
    format!("{} {}{owner}", one.kind, one.subject)
}

fn calibrations(
    change: &Transaction<'_>,
    table: &PointTable,
    now: Timestamp,
    here: impl Fn(&str, &str) -> bool,
) -> Result<Vec<String>, rusqlite::Error> {
    let mut select = change.prepare_cached("SELECT point, max(at) FROM calibrations GROUP BY point")?;
    let rows = select.query_map([], |row| Ok((row.get::<_, u32>(0)?, Timestamp::from_micros(row.get(1)?))))?;
    let done: HashMap<u32, Timestamp> = rows.collect::<Result<_, _>>()?;
    let mut due = Vec::new();
    for (index, point) in table.iter().filter(|(_, point)| !point.retired && here(&point.site, &point.id)) {
        let Some(every) = point.calibrate_every else { continue };
        if done.get(&index.0).is_none_or(|last| *last + every <= now + SOON) {
            due.push(point.id.to_string());
        }
    }
    Ok(due)
}
