//! `/api/v1/limits` and `/api/v1/exemptions`: numbers that people set over the rules'; `/api/v1/points/{id}/rules`:
//! why a point is judged as it is.
//!
//! A limit may only be stricter than what is wider; what is looser than the legal value needs an exemption with a
//! document, two persons and an end. Orders are answered when they are durable and in force, or refused (409)
//! with both numbers and the basis. The same limit at the same points again replaces the one before. What leaves
//! less protection takes two persons, and is refused while a real alarm of priority P1 is open.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::info;

use super::alarms::{command, plain};
use super::permits::{covered, named};
use super::points::page_length;
use super::samples::moment;
use super::users::{Person, Role};
use super::{Edge, Error, Shared, Web};
use crate::clock;
use crate::facts::{Answer, LimitRefusal};
use crate::journal::{Limits, Note, Setup};
use crate::model::{
    Exemption, LimitEnd, LimitFact, LimitLeave, LimitOrder, PointTable, Scope, SetLimit, Timestamp, fits,
};
use crate::rule::{self, OnRecord};

/// Limits or exemptions that one answer holds, ended ones included.
const MOST: usize = 10_000;
/// Patterns in one limit.
const MOST_PATTERNS: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Without it every rule that has a limit of that name.
    rule: Option<String>,
    limit: String,
    points: Option<Vec<String>>,
    site: Option<String>,
    season: Option<String>,
    value: f64,
    unit: String,
    #[serde(default)]
    by: String,
    reason: String,
    /// Where it replaces a stricter one.
    #[serde(default)]
    approved_by: String,
    #[serde(default, rename = "override")]
    overrides: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ended {
    #[serde(default)]
    by: String,
    reason: String,
    /// Where less protection is left.
    #[serde(default)]
    approved_by: String,
    #[serde(default, rename = "override")]
    overrides: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    point: Option<String>,
    open: Option<bool>,
    most: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exempted {
    rule: String,
    limit: String,
    points: Vec<String>,
    value: f64,
    by: String,
    #[serde(default)]
    approved_by: String,
    basis: String,
    /// RFC 3339.
    until: String,
    #[serde(default, rename = "override")]
    overrides: bool,
}

/// Limits in force, those of the configuration included.
pub(super) async fn list(
    State(edge): State<Shared>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Value>, Error> {
    let Query(asked) = asked?;
    let (open, most) = (asked.open.unwrap_or(true), page_length(asked.most, 1_000, MOST)?);
    let table = edge.web.board.points();
    let point = asked.point.as_deref().map(|id| known(&table, id)).transpose()?;
    let at_it = |limit: &SetLimit| match (&limit.scope, point) {
        (_, None) => true,
        (Scope::Site(site), Some(point)) => *site == point.site,
        (Scope::Points(patterns), Some(point)) => patterns.iter().any(|pattern| fits(pattern, &point.id)),
    };
    let set = edge.read("reading the limits", move |web| web.limits.limits(open, MOST)).await?;
    let configured = edge.web.board.setup().map_or_else(Vec::new, |setup| setup.limits.clone());
    let all = configured.into_iter().map(|limit| (limit, None)).chain(set);
    let views: Vec<Value> =
        all.filter(|(limit, _)| at_it(limit)).take(most).map(|(limit, end)| limit_view(&limit, end.as_ref())).collect();
    Ok(Json(json!({ "limits": views })))
}

fn known<'t>(table: &'t PointTable, id: &str) -> Result<&'t crate::model::Point, Error> {
    table.find(id).and_then(|index| table.get(index)).ok_or_else(|| Error::no_such("point", id))
}

pub(super) async fn set(
    State(edge): State<Shared>,
    person: Person,
    wanted: Result<Json<Wanted>, JsonRejection>,
) -> Result<Json<Value>, Error> {
    let Json(wanted) = wanted?;
    let (by, leave) = two(&person, &wanted.by, &wanted.approved_by, wanted.overrides)?;
    let reason = said("reason", &wanted.reason)?;
    let scope = match (wanted.site, wanted.points) {
        (Some(site), None) => Scope::Site(site.into()),
        (None, Some(patterns)) if (1..=MOST_PATTERNS).contains(&patterns.len()) => Scope::Points(patterns),
        (Some(_), Some(_)) => return Err(Error::bad("points and site: give one of them")),
        (None, Some(_) | None) => {
            return Err(Error::bad(format!("points: name 1 to {MOST_PATTERNS} ids or patterns, or give a site")));
        }
    };
    let (at, value, unit) = (clock::now(), number(wanted.value)?, wanted.unit);
    let (rule, limit, season) = (wanted.rule, wanted.limit, wanted.season);
    let named = by.clone();
    let order = move |number: u64| {
        let id = format!("limit-{number}");
        LimitOrder::Set(SetLimit { id, rule, limit, scope, season, value, unit, by: named, reason, at: Some(at) })
    };
    let LimitFact::Limit { limit, end } = ask(&edge, leave, order, "").await? else {
        return Err(Error::inside("setting the limit", &"another answer"));
    };
    info!(limit = %limit.id, name = limit.limit, scope = %limit.scope, value = limit.value, %by, "limit set");
    Ok(Json(limit_view(&limit, end.as_ref())))
}

pub(super) async fn end(
    State(edge): State<Shared>,
    person: Person,
    id: Result<Path<String>, PathRejection>,
    ended: Result<Json<Ended>, JsonRejection>,
) -> Result<Json<Value>, Error> {
    let (Path(id), Json(ended)) = (id?, ended?);
    let (by, leave) = two(&person, &ended.by, &ended.approved_by, ended.overrides)?;
    let end = LimitEnd { at: clock::now(), by, reason: said("reason", &ended.reason)?, approved_by: String::new() };
    finish(&edge, leave, id, |id| LimitOrder::End { id, end }).await
}

pub(super) async fn exemptions(
    State(edge): State<Shared>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Value>, Error> {
    let Query(asked) = asked?;
    let (open, most) = (asked.open.unwrap_or(true), page_length(asked.most, 1_000, MOST)?);
    let table = edge.web.board.points();
    let point = asked.point.as_deref().map(|id| table.find(id).ok_or_else(|| Error::no_such("point", id)));
    let point = point.transpose()?;
    let all = edge.read("reading the exemptions", move |web| web.limits.exemptions(open, MOST)).await?;
    let at_it = |one: &Exemption| point.is_none_or(|point| one.points.contains(&point));
    let views: Vec<Value> = all
        .into_iter()
        .filter(|(one, _)| at_it(one))
        .take(most)
        .map(|(exemption, end)| view(&LimitFact::Exemption { exemption, end }, &table))
        .collect();
    Ok(Json(json!({ "exemptions": views })))
}

pub(super) async fn exempt(
    State(edge): State<Shared>,
    person: Person,
    wanted: Result<Json<Exempted>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), Error> {
    let Json(wanted) = wanted?;
    // Whoever asks here is the second person; the first one is named.
    let approved_by = person.acts(Role::SafetyApprover, &wanted.approved_by)?;
    let by = named("by", &wanted.by)?;
    let basis = said("basis", &wanted.basis)?;
    let table = edge.web.board.points();
    let points = covered(&wanted.points, &table)?;
    let until = moment("until", Some(&wanted.until))?.ok_or_else(|| Error::bad("until: say when it ends"))?;
    let (from, scope) = (clock::now(), wanted.points.join(", "));
    let (rule, limit, value) = (wanted.rule, wanted.limit, number(wanted.value)?);
    let order = move |number: u64| {
        let id = format!("exemption-{number}");
        LimitOrder::Exempt(Exemption { id, rule, limit, points, scope, value, by, approved_by, basis, from, until })
    };
    let leave = LimitLeave { approved_by: String::new(), overrides: wanted.overrides };
    let fact = ask(&edge, leave, order, "").await?;
    if let LimitFact::Exemption { exemption: Exemption { id, rule, value, scope, by, approved_by, .. }, .. } = &fact {
        info!(exemption = %id, %rule, value, %scope, %by, %approved_by, "exemption given");
    }
    Ok((StatusCode::CREATED, Json(view(&fact, &table))))
}

pub(super) async fn end_exemption(
    State(edge): State<Shared>,
    person: Person,
    id: Result<Path<String>, PathRejection>,
    ended: Result<Json<Ended>, JsonRejection>,
) -> Result<Json<Value>, Error> {
    let (Path(id), Json(ended)) = (id?, ended?);
    let by = person.acts(Role::SafetyApprover, &ended.by)?;
    let end = LimitEnd { at: clock::now(), by, reason: said("reason", &ended.reason)?, approved_by: String::new() };
    finish(&edge, LimitLeave::default(), id, |id| LimitOrder::EndExemption { id, end }).await
}

/// Who asks for a limit, and who stands behind that it may be looser. A known person who names another one in `by`
/// approves what that one asks for: nobody approves with a name alone.
fn two(person: &Person, by: &str, approved_by: &str, overrides: bool) -> Result<(String, LimitLeave), Error> {
    let approved_by = plain("approved_by", approved_by, 64)?;
    let claimed = by.trim();
    let (by, approved_by) = match &person.0 {
        Some(user) if ![String::new(), user.name.clone(), user.key.clone()].contains(&claimed.to_owned()) => {
            (named("by", claimed)?, person.acts(Role::RuleApprover, &approved_by)?)
        }
        Some(user) if !approved_by.is_empty() => {
            let name = &user.name;
            return Err(Error::not_allowed(format!(
                "approved_by: whoever approves sends this with their own token, and {name} in by"
            )));
        }
        Some(_) | None => (person.acts(Role::RuleApprover, claimed)?, approved_by),
    };
    Ok((by, LimitLeave { approved_by, overrides }))
}

/// Carries out the order that ends what has the id.
async fn finish(
    edge: &Shared,
    leave: LimitLeave,
    id: String,
    order: impl FnOnce(String) -> LimitOrder,
) -> Result<Json<Value>, Error> {
    let fact = ask(edge, leave, |_| order(id.clone()), &id).await?;
    info!(%id, "limit or exemption ended");
    Ok(Json(view(&fact, &edge.web.board.points())))
}

/// Every rule at a point with every layer of its limits; see [`rule::explain`].
pub(super) async fn explain(
    State(edge): State<Shared>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, Error> {
    let Path(id) = id?;
    let setup = edge.web.board.setup().ok_or_else(|| Error::busy("the engine has no points yet"))?;
    let now = clock::now();
    let wanted = id.clone();
    let explained = edge.read("explaining the rules", move |web| explained(web, &setup, &wanted, now)).await?;
    explained.map(|explained| Json(json!(explained))).ok_or_else(|| Error::no_such("point", &id))
}

fn explained(
    web: &Web,
    setup: &Setup,
    id: &str,
    now: Timestamp,
) -> Result<Option<rule::Explained>, crate::facts::Error> {
    let record = OnRecord { limits: web.limits.limits(false, MOST)?, exemptions: web.limits.exemptions(false, MOST)? };
    Ok(rule::explain(setup, record, id, now))
}

/// Hands the order in; `id` is what it is about, if it is about something that is there.
async fn ask(
    edge: &Edge,
    leave: LimitLeave,
    order: impl FnOnce(u64) -> LimitOrder,
    id: &str,
) -> Result<LimitFact, Error> {
    let note = |command| Note::Limits(Limits { command, order: Box::new(order(command)), leave: Some(leave) });
    let answer = command(edge, note).await?;
    match answer {
        Answer::Limits(Ok(fact)) => Ok(fact),
        Answer::Limits(Err(LimitRefusal::NoSuch)) => Err(Error::no_such("limit or exemption in force", id)),
        Answer::Limits(Err(LimitRefusal::Words(words))) => Err(Error::refused(words)),
        Answer::Limits(Err(LimitRefusal::Frozen(alarm))) => Err(Error::conflict("frozen", frozen(&alarm), None)),
        other @ (Answer::Acknowledged(_)
        | Answer::NoSuchAlarm
        | Answer::NewerOccurrence(_)
        | Answer::AlreadyAcknowledged(_)
        | Answer::PermitOpened(_)
        | Answer::PermitEnded(_)
        | Answer::NoSuchPermit
        | Answer::SiteSet(_)
        | Answer::NoSuchSite
        | Answer::SiteRefused(_)
        | Answer::Refused(..)
        | Answer::Aside(_)
        | Answer::Case(_)
        | Answer::Duty(_)
        | Answer::Exercise(_)
        | Answer::Recorded) => Err(Error::inside("the order about limits", &format!("{other:?}"))),
    }
}

fn frozen(alarm: &str) -> String {
    format!(
        "P1 报警未结束，限值不得放宽 / limits are not made looser while an alarm of priority P1 is open: {alarm}; an approver \
         overrides it with \"override\":true and a reason, as `davy rules override` does for rules"
    )
}

/// A number that comes back from the journal as it went in: people write far fewer digits than that.
fn number(value: f64) -> Result<f64, Error> {
    if format!("{value:.11e}").parse() == Ok(value) {
        return Ok(value);
    }
    Err(Error::bad(format!("value: {value} has more than 12 digits; round it, to the stricter side")))
}

fn said(key: &str, text: &str) -> Result<String, Error> {
    let text = plain(key, text, 500)?;
    if text.is_empty() { Err(Error::bad(format!("{key}: say why, or by which document"))) } else { Ok(text) }
}

fn view(fact: &LimitFact, table: &PointTable) -> Value {
    match fact {
        LimitFact::Limit { limit, end } => limit_view(limit, end.as_ref()),
        LimitFact::Exemption { exemption, end } => {
            let Exemption { id, rule, limit, points, scope, value, by, approved_by, basis, from, until } = exemption;
            let ids: Vec<&str> = points.iter().filter_map(|index| table.get(*index)).map(|point| &*point.id).collect();
            json!({
                "id": id, "rule": rule, "limit": limit, "points": ids, "scope": scope, "value": value, "by": by,
                "approved_by": approved_by, "basis": basis, "from": from.to_string(), "until": until.to_string(),
                "state": if end.is_some() { "ended" } else { "in_force" }, "end": end_view(end.as_ref()),
            })
        }
    }
}

fn limit_view(limit: &SetLimit, end: Option<&LimitEnd>) -> Value {
    let (site, points) = match &limit.scope {
        Scope::Site(site) => (Some(site), None),
        Scope::Points(patterns) => (None, Some(patterns)),
    };
    json!({
        "id": limit.id, "layer": limit.layer().word(), "rule": limit.rule, "limit": limit.limit, "site": site,
        "points": points, "season": limit.season, "value": limit.value, "unit": limit.unit, "by": limit.by,
        "reason": limit.reason, "at": limit.at.map(|at| at.to_string()),
        "state": if end.is_some() { "ended" } else { "set" }, "end": end_view(end),
    })
}

fn end_view(end: Option<&LimitEnd>) -> Option<Value> {
    end.map(|end| {
        let approved_by = (!end.approved_by.is_empty()).then_some(&end.approved_by);
        json!({ "at": end.at.to_string(), "by": end.by, "approved_by": approved_by, "reason": end.reason })
    })
}
