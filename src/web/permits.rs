//! `/api/v1/permits`: leave to work on sensors; `/api/v1/calibrations`: when each sensor is due.
//!
//! A permit names its points by id or pattern (`mine.t1`, `mine.*`), the person, the reason and the end; it is
//! answered when it is durable and in force. The patterns are resolved once: a point that is set up later is
//! not covered by work that nobody meant for it.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::info;

use super::alarms::{command, plain};
use super::points::page_length;
use super::users::{Person, Role};
use super::{Error, Shared};
use crate::clock;
use crate::facts::Answer;
use crate::journal::{Note, PermitEnded, PermitOpened};
use crate::model::{
    Permit, PermitEnd, PermitKind, PointIndex, PointTable, Timestamp, duration_text, fits, parse_duration,
};

/// Work that takes longer is several permits: somebody has to look in between.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);
/// Patterns in one permit.
const MOST_PATTERNS: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    kind: PermitKind,
    points: Vec<String>,
    #[serde(default)]
    by: String,
    reason: String,
    /// `"30m"`.
    #[serde(rename = "for")]
    length: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    open: Option<bool>,
    most: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ended {
    #[serde(default)]
    by: String,
    #[serde(default)]
    comment: String,
    /// The calibration was carried out; the sensors' calendars begin anew.
    #[serde(default)]
    calibrated: bool,
}

pub(super) async fn list(
    State(edge): State<Shared>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Value>, Error> {
    let Query(asked) = asked?;
    let (open, most) = (asked.open.unwrap_or(false), page_length(asked.most, 100, 1_000)?);
    let permits = edge.read("reading the permits", move |web| web.permits.permits(open, most)).await?;
    let table = edge.web.board.points();
    let now = clock::now();
    let views: Vec<Value> = permits.iter().map(|(permit, end)| view(permit, end.as_ref(), &table, now)).collect();
    Ok(Json(json!({ "permits": views })))
}

pub(super) async fn open(
    State(edge): State<Shared>,
    person: Person,
    wanted: Result<Json<Wanted>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), Error> {
    let Json(wanted) = wanted?;
    let by = person.acts(Role::Operator, &wanted.by)?;
    let reason = plain("reason", &wanted.reason, 500)?;
    if reason.is_empty() {
        return Err(Error::bad("reason: say why, such as \"15-day calibration\""));
    }
    let length = parse_duration(&wanted.length).map_err(|error| Error::bad(format!("for: {error}")))?;
    if length.is_zero() || length > LONGEST {
        return Err(Error::bad(format!("for: {:?} is not between 1s and 24h", wanted.length)));
    }
    let table = edge.web.board.points();
    let points = covered(&wanted.points, &table)?;
    let from = clock::now();
    let scope = wanted.points.join(", ");
    let permit = |number: u64| Permit {
        id: format!("permit-{number}"),
        kind: wanted.kind,
        points,
        scope,
        by: by.clone(),
        reason,
        from,
        until: from + length,
    };
    let note = |number| Note::PermitOpened(PermitOpened { command: number, permit: permit(number) });
    let answer = command(&edge, note).await?;
    let Answer::PermitOpened(permit) = answer else {
        return Err(Error::inside("opening the permit", &format!("{answer:?}")));
    };
    info!(permit = %permit.id, kind = permit.kind.word(), scope = %permit.scope, %by, "permit opened");
    Ok((StatusCode::CREATED, Json(view(&permit, None, &table, from))))
}

pub(super) async fn end(
    State(edge): State<Shared>,
    person: Person,
    id: Result<Path<String>, PathRejection>,
    ended: Result<Json<Ended>, JsonRejection>,
) -> Result<Json<Value>, Error> {
    let (Path(id), Json(ended)) = (id?, ended?);
    let end = PermitEnd {
        at: clock::now(),
        by: person.acts(Role::Operator, &ended.by)?,
        comment: plain("comment", &ended.comment, 500)?,
        calibrated: ended.calibrated,
    };
    let note = |command| Note::PermitEnded(PermitEnded { command, id: id.clone(), end: end.clone() });
    let answer = command(&edge, note).await?;
    let Answer::PermitEnded(permit) = answer else { return Err(Error::no_such("open permit", &id)) };
    info!(permit = %permit.id, by = %end.by, calibrated = end.calibrated, "permit ended");
    Ok(Json(view(&permit, Some(&end), &edge.web.board.points(), end.at)))
}

/// Every sensor with a calendar, the longest overdue first.
pub(super) async fn calendar(State(edge): State<Shared>) -> Result<Json<Value>, Error> {
    let done = edge.read("reading the calibrations", |web| web.permits.calibrations()).await?;
    let table = edge.web.board.points();
    let now = clock::now();
    let mut rows: Vec<(Option<Timestamp>, Value)> = Vec::new();
    for (index, point) in table.iter().filter(|(_, point)| !point.retired) {
        let Some(every) = point.calibrate_every else { continue };
        let last = done.get(&index).copied();
        let due = last.map(|last| last + every);
        rows.push((
            due,
            json!({
                "point": &*point.id, "name": point.name, "every": duration_text(every),
                "last": last.map(|at| at.to_string()), "due": due.map(|at| at.to_string()),
                "overdue": due.is_none_or(|due| due <= now),
            }),
        ));
    }
    rows.sort_by_key(|(due, _)| *due);
    let overdue = rows.iter().filter(|(due, _)| due.is_none_or(|due| due <= now)).count();
    let rows: Vec<Value> = rows.into_iter().map(|(_, row)| row).collect();
    Ok(Json(json!({ "overdue": overdue, "calibrations": rows })))
}

pub(super) fn named(key: &str, text: &str) -> Result<String, Error> {
    let text = plain(key, text, 64)?;
    if text.is_empty() { Err(Error::bad(format!("{key}: say who"))) } else { Ok(text) }
}

/// Points that the patterns name; `*` stands for any text.
pub(super) fn covered(patterns: &[String], table: &PointTable) -> Result<Vec<PointIndex>, Error> {
    if patterns.is_empty() || patterns.len() > MOST_PATTERNS {
        return Err(Error::bad(format!(
            "points: name 1 to {MOST_PATTERNS} ids or patterns, such as mine.t1 or mine.*"
        )));
    }
    let mut points = Vec::new();
    for pattern in patterns {
        let before = points.len();
        let alive = table.iter().filter(|(_, point)| !point.retired);
        points.extend(alive.filter(|(_, point)| fits(pattern, &point.id)).map(|(index, _)| index));
        if points.len() == before {
            return Err(Error::bad(format!("points: {pattern:?} names no point")));
        }
    }
    points.sort_unstable();
    points.dedup();
    Ok(points)
}

fn view(permit: &Permit, end: Option<&PermitEnd>, table: &PointTable, now: Timestamp) -> Value {
    let ids: Vec<&str> = permit.points.iter().filter_map(|index| table.get(*index)).map(|point| &*point.id).collect();
    json!({
        "id": permit.id, "kind": permit.kind.word(), "points": ids, "scope": permit.scope, "by": permit.by,
        "reason": permit.reason, "from": permit.from.to_string(), "until": permit.until.to_string(),
        "state": match end {
            Some(_) => "ended",
            None if permit.in_force(now) => "in_force",
            None => "overdue",
        },
        "end": end.map(|end| json!({
            "at": end.at.to_string(), "by": end.by, "comment": end.comment, "calibrated": end.calibrated,
        })),
    })
}
