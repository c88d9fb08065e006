//! What a shift hands to the next one, in a few lines for a message: Chinese and English.
//!
//! In come the facts as they stand in the transaction that writes the hand-over down, and the places that the
//! roster's positions look after; out go open alarms, open cases, what reduces protection with the percentage
//! that is left at each site, and calibrations due within a day. A few of each are named and all are counted: the
//! whole list, which is signed, is `/api/v1/handover`. Sites that are not producing and rules that fail are on
//! that list only.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use rusqlite::{Params, Transaction};
use serde::de::DeserializeOwned;

use crate::alarm::{Alarm, AsideFact};
use crate::board::Board;
use crate::model::{Area, Exemption, ExerciseFact, Permit, PointIndex, PointTable, Timestamp, Who};
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

pub(super) fn list(change: &Transaction<'_>, step: &Step, board: &Board) -> Result<(String, String), rusqlite::Error> {
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
    let (reductions, percents) = protection(change, &table, here)?;
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

/// What takes protection away, in words, and what is left at each site.
fn protection(
    change: &Transaction<'_>,
    table: &PointTable,
    here: impl Fn(&str, &str) -> bool,
) -> Result<(Vec<String>, Vec<String>), rusqlite::Error> {
    let mut found: Vec<(String, Vec<PointIndex>)> = Vec::new();
    for one in bodies::<Permit>(change, "SELECT permit FROM permits WHERE ended IS NULL ORDER BY id", [])? {
        found.push((format!("{} {} {}", one.kind.word(), one.scope, one.by), one.points));
    }
    for one in bodies::<Exemption>(change, "SELECT body FROM exemptions WHERE ended IS NULL ORDER BY id", [])? {
        found.push((format!("{} {} = {} {}", one.rule, one.limit, one.value, one.scope), one.points));
    }
    for AsideFact { aside, .. } in bodies(change, "SELECT body FROM asides WHERE ended IS NULL ORDER BY id", [])? {
        let points = table.find(&aside.subject).into_iter().collect();
        found.push((format!("{} {} {} {}", aside.way.word(), aside.rule, aside.subject, aside.by), points));
    }
    for ExerciseFact { exercise, .. } in
        bodies::<ExerciseFact>(change, "SELECT body FROM exercises WHERE ended IS NULL ORDER BY id", [])?
    {
        // The real values of its points are judged as ever: nothing is reduced.
        if here(&exercise.site, "") {
            found.push((format!("演练 / exercise {} {}", exercise.scope, exercise.by), Vec::new()));
        }
    }
    let local = |point: &PointIndex| table.list().get(point.at()).is_some_and(|point| here(&point.site, &point.id));
    found.retain(|(_, points)| points.is_empty() || points.iter().any(local));
    let reduced: BTreeSet<PointIndex> = found.iter().flat_map(|(_, points)| points.clone()).collect();
    let mut sites: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (index, point) in table.iter().filter(|(_, point)| !point.retired && here(&point.site, &point.id)) {
        let (all, left) = sites.entry(&*point.site).or_default();
        *all += 1;
        *left += usize::from(!reduced.contains(&index));
    }
    let mut percents: Vec<(f64, &str)> = sites
        .into_iter()
        .map(|(site, (all, left))| ((left as f64 / all as f64 * 1_000.0).floor() / 10.0, site))
        .collect();
    // The worst first.
    percents.sort_by(|one, other| one.0.total_cmp(&other.0).then_with(|| one.1.cmp(other.1)));
    let percents = percents.into_iter().map(|(percent, site)| format!("{site} {percent} %")).collect();
    Ok((found.into_iter().map(|(words, _)| words).collect(), percents))
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

/// Rows of one JSON column. What cannot be read is left out: the message goes, with what there is.
fn bodies<T: DeserializeOwned>(
    change: &Transaction<'_>,
    select: &str,
    values: impl Params,
) -> Result<Vec<T>, rusqlite::Error> {
    let mut select = change.prepare_cached(select)?;
    let rows = select.query_map(values, |row| row.get::<_, String>(0))?;
    let mut list = Vec::new();
    for row in rows {
        list.extend(serde_json::from_str(&row?).ok());
    }
    Ok(list)
}
