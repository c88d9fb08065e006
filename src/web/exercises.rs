//! `/api/v1/exercises`: exercises (演练) in which values are injected. Nothing in the field is touched.
//!
//! One names its points by id or pattern, all of one site, the person, the reason and the end; each is answered when
//! it is durable and in force, or refused (409) in words. What is injected reaches no history and no live value.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::info;

use super::alarms::{command, plain};
use super::permits::covered;
use super::points::page_length;
use super::users::{Person, Role};
use super::{Edge, Error, Shared};
use crate::clock;
use crate::facts::Answer;
use crate::journal::{ExerciseNote, Note};
use crate::model::{Exercise, ExerciseEnd, ExerciseFact, ExerciseOrder, Injection, PointTable, SiteId, parse_duration};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    points: Vec<String>,
    #[serde(default)]
    by: String,
    reason: String,
    /// `"30m"`, which is also what nothing means.
    #[serde(rename = "for", default = "half_an_hour")]
    length: String,
}

fn half_an_hour() -> String {
    "30m".into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Injected {
    point: String,
    value: f64,
    #[serde(rename = "for", default = "five_minutes")]
    length: String,
    #[serde(default)]
    by: String,
}

fn five_minutes() -> String {
    "5m".into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ended {
    #[serde(default)]
    by: String,
    #[serde(default)]
    comment: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    open: Option<bool>,
    most: Option<usize>,
}

pub(super) async fn list(
    State(edge): State<Shared>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Value>, Error> {
    let Query(asked) = asked?;
    let (open, most) = (asked.open.unwrap_or(false), page_length(asked.most, 100, 1_000)?);
    let facts = edge.read("reading the exercises", move |web| web.permits.exercises(open, most)).await?;
    let table = edge.web.board.points();
    Ok(Json(json!({ "exercises": facts.iter().map(|fact| view(fact, &table)).collect::<Vec<_>>() })))
}

pub(super) async fn start(
    State(edge): State<Shared>,
    person: Person,
    wanted: Result<Json<Wanted>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), Error> {
    let Json(wanted) = wanted?;
    let by = person.acts(Role::Operator, &wanted.by)?;
    let reason = plain("reason", &wanted.reason, 500)?;
    if reason.is_empty() {
        return Err(Error::bad("reason: say why, such as \"monthly drill of the night shift\""));
    }
    let length = length(&wanted.length, Exercise::LONGEST)?;
    let table = edge.web.board.points();
    let points = covered(&wanted.points, &table)?;
    if points.len() > Exercise::MOST_POINTS {
        let most = Exercise::MOST_POINTS;
        return Err(Error::bad(format!("points: these are {} points, an exercise has {most} at most", points.len())));
    }
    let sites: BTreeSet<SiteId> = points.iter().filter_map(|index| Some(table.get(*index)?.site.clone())).collect();
    let (Some(site), 1) = (sites.first().cloned(), sites.len()) else {
        let sites = sites.iter().map(|site| &**site).collect::<Vec<_>>().join(", ");
        return Err(Error::bad(format!(
            "points: these are of {sites}; an exercise is of one site, start one for each"
        )));
    };
    let (from, scope) = (clock::now(), wanted.points.join(", "));
    let fact = order(&edge, |number| {
        let (id, until) = (format!("exercise-{number}"), from + length);
        ExerciseOrder::Start(Exercise { id, site, points, scope, by, reason, from, until })
    })
    .await?;
    let Exercise { id, scope, by, until, .. } = &fact.exercise;
    info!(exercise = %id, %scope, %by, %until, "exercise started");
    Ok((StatusCode::CREATED, Json(view(&fact, &table))))
}

pub(super) async fn inject(
    State(edge): State<Shared>,
    person: Person,
    wanted: Result<Json<Injected>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), Error> {
    let Json(Injected { point: id, value, length: asked, by }) = wanted?;
    let by = person.acts(Role::Operator, &by)?;
    let length = length(&asked, Exercise::LONGEST)?;
    let table = edge.web.board.points();
    let point = table.find(&id).ok_or_else(|| Error::no_such("point", &id))?;
    let from = clock::now();
    let injection = Injection { point, value, by, from, until: from + length };
    let fact = order(&edge, |_| ExerciseOrder::Inject(injection)).await?;
    info!(exercise = %fact.exercise.id, point = %id, value, "value injected");
    Ok((StatusCode::CREATED, Json(view(&fact, &table))))
}

pub(super) async fn end(
    State(edge): State<Shared>,
    person: Person,
    id: Result<Path<String>, PathRejection>,
    ended: Result<Json<Ended>, JsonRejection>,
) -> Result<Json<Value>, Error> {
    let (Path(id), Json(ended)) = (id?, ended?);
    let by = person.acts(Role::Operator, &ended.by)?;
    let end = ExerciseEnd { at: clock::now(), by, comment: plain("comment", &ended.comment, 500)? };
    let fact = order(&edge, |_| ExerciseOrder::End { id, end }).await?;
    info!(exercise = %fact.exercise.id, "exercise ended");
    Ok(Json(view(&fact, &edge.web.board.points())))
}

fn length(text: &str, longest: Duration) -> Result<Duration, Error> {
    let length = parse_duration(text).map_err(|error| Error::bad(format!("for: {error}")))?;
    if length < Duration::from_secs(1) || length > longest {
        return Err(Error::bad(format!("for: {text:?} is not between 1s and 8h")));
    }
    Ok(length)
}

async fn order(edge: &Edge, order: impl FnOnce(u64) -> ExerciseOrder) -> Result<ExerciseFact, Error> {
    let note = |number| Note::Exercise(ExerciseNote { command: number, order: Box::new(order(number)) });
    let answer = command(edge, note).await?;
    let Answer::Exercise(outcome) = answer else {
        return Err(Error::inside("the order about an exercise", &format!("{answer:?}")));
    };
    outcome.map(|fact| *fact).map_err(Error::refused)
}

pub(super) fn view(fact: &ExerciseFact, table: &PointTable) -> Value {
    let ExerciseFact { exercise, injections, end } = fact;
    let Exercise { id, site, points, scope, by, reason, from, until } = exercise;
    let ids: Vec<&str> = points.iter().filter_map(|index| table.get(*index)).map(|point| &*point.id).collect();
    let injected = |one: &Injection| {
        let point = table.get(one.point);
        json!({
            "point": point.map(|point| &*point.id), "value": one.value, "unit": point.map(|point| &point.unit),
            "by": one.by, "from": one.from.to_string(), "until": one.until.min(*until).to_string(),
        })
    };
    json!({
        "id": id, "site": &**site, "points": ids, "scope": scope, "by": by, "reason": reason,
        "from": from.to_string(), "until": until.to_string(),
        "state": if end.is_some() { "ended" } else { "running" },
        "injections": injections.iter().map(injected).collect::<Vec<_>>(),
        "end": end.as_ref().map(|end| json!({ "at": end.at.to_string(), "by": end.by, "comment": end.comment })),
    })
}
