//! `/api/v1/asides`, and shelving, resetting and taking out of service of one alarm.
//!
//! An alarm is named by its occurrence (`/api/v1/alarms/{id}/shelve`) or, raised or not, by point and rule
//! (`/api/v1/points/{id}/rules/{rule}/shelve`); `unshelve`, `out-of-service` and `return-to-service` likewise.
//! All are answered when they are durable and in force, or refused (409) in words.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::info;

use super::alarms::{AlarmView, command, find, plain};
use super::permits::named;
use super::points::page_length;
use super::users::{Person, Role};
use super::{Edge, Error, Shared};
use crate::alarm::{Aside, AsideEnd, AsideFact, AsideOrder, OccurrenceId, Way};
use crate::clock;
use crate::facts::{Answer, AsideRefusal};
use crate::journal::{AsideNote, Note, Reset};
use crate::model::parse_duration;

type Asked<T> = Result<Json<T>, JsonRejection>;
type Answered = Result<Json<Value>, Error>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// `"2h"`.
    #[serde(rename = "for")]
    length: String,
    reason: String,
    /// It ends when the condition is next over.
    #[serde(default)]
    once: bool,
    #[serde(default)]
    by: String,
    /// Out of service: whoever asks is the second person, `by` names the first.
    #[serde(default)]
    approved_by: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ended {
    reason: String,
    #[serde(default)]
    by: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listed {
    open: Option<bool>,
    most: Option<usize>,
}

/// Rule and subject.
struct Target(String, String);

pub(super) async fn list(State(edge): State<Shared>, asked: Result<Query<Listed>, QueryRejection>) -> Answered {
    let Query(asked) = asked?;
    let (open, most) = (asked.open.unwrap_or(true), page_length(asked.most, 1_000, 10_000)?);
    let facts = edge.read("reading what is set aside", move |web| web.permits.asides(open, most)).await?;
    Ok(Json(json!({ "asides": facts.iter().map(view).collect::<Vec<_>>() })))
}

async fn of_alarm(edge: &Edge, id: Result<Path<String>, PathRejection>) -> Result<Target, Error> {
    let alarm = find(edge, &id?.0).await?;
    if alarm.is_injected() {
        // By rule and point it would set the real alarm aside.
        return Err(Error::refused(
            "演练报警不能搁置或停用，请确认或结束演练 / an alarm of an exercise cannot be set aside: acknowledge it, or end the exercise",
        ));
    }
    Ok(Target(alarm.rule.to_string(), alarm.subject.to_string()))
}

fn of_point(edge: &Edge, id: Result<Path<(String, String)>, PathRejection>) -> Result<Target, Error> {
    let Path((point, rule)) = id?;
    if edge.web.board.points().find(&point).is_none() {
        return Err(Error::no_such("point", &point));
    }
    Ok(Target(rule, point))
}

macro_rules! twice {
    ($alarm:ident, $point:ident, $body:ty, $done:ty, $act:expr) => {
        pub(super) async fn $alarm(
            State(edge): State<Shared>,
            person: Person,
            id: Result<Path<String>, PathRejection>,
            body: Asked<$body>,
        ) -> Result<$done, Error> {
            let target = of_alarm(&edge, id).await?;
            $act(&edge, &person, target, body?.0).await
        }

        pub(super) async fn $point(
            State(edge): State<Shared>,
            person: Person,
            id: Result<Path<(String, String)>, PathRejection>,
            body: Asked<$body>,
        ) -> Result<$done, Error> {
            let target = of_point(&edge, id)?;
            $act(&edge, &person, target, body?.0).await
        }
    };
}

twice!(shelve, shelve_at, Wanted, (StatusCode, Json<Value>), shelf);
twice!(out, out_at, Wanted, (StatusCode, Json<Value>), service);
twice!(unshelve, unshelve_at, Ended, Json<Value>, unshelf);
twice!(back, back_at, Ended, Json<Value>, return_to);

async fn shelf(edge: &Edge, person: &Person, at: Target, wanted: Wanted) -> Result<(StatusCode, Json<Value>), Error> {
    let by = person.acts(Role::Operator, &wanted.by)?;
    begin(edge, Way::Shelved, at, wanted, by, None).await
}

async fn service(edge: &Edge, person: &Person, at: Target, wanted: Wanted) -> Result<(StatusCode, Json<Value>), Error> {
    let approved_by = person.acts(Role::SafetyApprover, &wanted.approved_by)?;
    let by = named("by", &wanted.by)?;
    begin(edge, Way::OutOfService, at, wanted, by, Some(approved_by)).await
}

async fn unshelf(edge: &Edge, person: &Person, at: Target, ended: Ended) -> Answered {
    let by = person.acts(Role::Operator, &ended.by)?;
    end(edge, Way::Shelved, at, by, &ended.reason).await
}

async fn return_to(edge: &Edge, person: &Person, at: Target, ended: Ended) -> Answered {
    let by = person.acts(Role::Operator, &ended.by)?;
    end(edge, Way::OutOfService, at, by, &ended.reason).await
}

async fn begin(
    edge: &Edge,
    way: Way,
    Target(rule, subject): Target,
    wanted: Wanted,
    by: String,
    approved_by: Option<String>,
) -> Result<(StatusCode, Json<Value>), Error> {
    let reason = said(&wanted.reason)?;
    let length = parse_duration(&wanted.length).map_err(|error| Error::bad(format!("for: {error}")))?;
    let (from, once) = (clock::now(), wanted.once && way == Way::Shelved);
    let (rule, until) = (rule.as_str().into(), Some(from + length));
    let fact = ask(edge, |number| {
        let id = format!("{}-{number}", if way == Way::Shelved { "shelf" } else { "out" });
        AsideOrder::Begin(Aside { id, way, rule, subject, by, approved_by, reason, from, until, once })
    })
    .await?;
    let Aside { id, rule, subject, by, .. } = &fact.aside;
    info!(aside = %id, way = way.word(), %rule, %subject, %by, "alarm set aside");
    Ok((StatusCode::CREATED, Json(view(&fact))))
}

async fn end(edge: &Edge, way: Way, Target(rule, subject): Target, by: String, reason: &str) -> Answered {
    let end = AsideEnd { at: clock::now(), by, reason: said(reason)? };
    let about = format!("{rule} {subject}");
    let found = edge.read("reading what is set aside", move |web| web.permits.aside_of(&rule, &subject, way)).await?;
    let Some(AsideFact { aside, .. }) = found else { return Err(Error::no_such(way.word(), &about)) };
    let fact = ask(edge, |_| AsideOrder::End { id: aside.id, end }).await?;
    info!(aside = %fact.aside.id, "alarm back");
    Ok(Json(view(&fact)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResetSaid {
    #[serde(default)]
    by: String,
    #[serde(default)]
    comment: String,
}

/// Lets go of a latched alarm.
pub(super) async fn reset(
    State(edge): State<Shared>,
    person: Person,
    id: Result<Path<String>, PathRejection>,
    said: Asked<ResetSaid>,
) -> Answered {
    let (Path(id), Json(said)) = (id?, said?);
    let (by, comment) = (person.acts(Role::Operator, &said.by)?, plain("comment", &said.comment, 500)?);
    let (at, occurrence, named) = (clock::now(), OccurrenceId::named(&id), by.clone());
    match command(&edge, |command| Note::Reset(Reset { command, at, occurrence, by: named, comment })).await? {
        Answer::Acknowledged(alarm) => {
            info!(alarm = %alarm.id, %by, "alarm reset");
            Ok(Json(json!(AlarmView::of(&alarm))))
        }
        Answer::Refused(alarm, words) => Err(Error::otherwise("not_latched", words, *alarm)),
        Answer::NoSuchAlarm
        | Answer::NewerOccurrence(_)
        | Answer::AlreadyAcknowledged(_)
        | Answer::PermitOpened(_)
        | Answer::PermitEnded(_)
        | Answer::NoSuchPermit
        | Answer::SiteSet(_)
        | Answer::NoSuchSite
        | Answer::SiteRefused(_)
        | Answer::Recorded
        | Answer::Limits(_)
        | Answer::Aside(_)
        | Answer::Case(_)
        | Answer::Duty(_)
        | Answer::Exercise(_) => Err(Error::no_such("open alarm", &id)),
    }
}

async fn ask(edge: &Edge, order: impl FnOnce(u64) -> AsideOrder) -> Result<AsideFact, Error> {
    let note = |number| Note::Aside(AsideNote { command: number, order: Box::new(order(number)) });
    match command(edge, note).await? {
        Answer::Aside(Ok(fact)) => Ok(*fact),
        Answer::Aside(Err(AsideRefusal::Words(words))) => Err(Error::refused(words)),
        Answer::Aside(Err(AsideRefusal::NoSuch)) => Err(Error::refused("已结束 / it has ended already")),
        other @ (Answer::Acknowledged(_)
        | Answer::NoSuchAlarm
        | Answer::NewerOccurrence(_)
        | Answer::Refused(..)
        | Answer::AlreadyAcknowledged(_)
        | Answer::PermitOpened(_)
        | Answer::PermitEnded(_)
        | Answer::NoSuchPermit
        | Answer::SiteSet(_)
        | Answer::NoSuchSite
        | Answer::SiteRefused(_)
        | Answer::Recorded
        | Answer::Limits(_)
        | Answer::Case(_)
        | Answer::Duty(_)
        | Answer::Exercise(_)) => Err(Error::inside("setting the alarm aside", &format!("{other:?}"))),
    }
}

fn said(reason: &str) -> Result<String, Error> {
    let reason = plain("reason", reason, 500)?;
    if reason.is_empty() { Err(Error::bad("reason: say why")) } else { Ok(reason) }
}

fn view(fact: &AsideFact) -> Value {
    let Aside { id, way, rule, subject, by, approved_by, reason, from, until, once } = &fact.aside;
    json!({
        "id": id, "way": way.word(), "rule": &**rule, "subject": subject, "by": by, "approved_by": approved_by,
        "reason": reason, "from": from.to_string(), "until": until.map(|at| at.to_string()), "once": once,
        "end": fact.end.as_ref().map(|end| json!({ "at": end.at.to_string(), "by": end.by, "reason": end.reason })),
    })
}
