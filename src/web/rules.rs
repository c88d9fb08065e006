//! `/api/v1/rules`: what is in force, every version that ever was, drafts, and the orders that change them.
//!
//! Reads come from `facts.db`; an order is handed to the keeper of the rules and answered when it is durable. What a
//! person may do is decided here by role, what can be done as things stand by the keeper.

use axum::extract::DefaultBodyLimit;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::alarms::plain;
use super::points::page_length;
use super::rule_desk::{RuleDone, RuleOrder, RuleRefusal};
use super::samples::moment;
use super::users::{Person, Role};
use super::{Edge, Error, Shared};
use crate::facts::{self, Drafted, Version};
use crate::journal::RuleFile;
use crate::rule::{Language, Runs, read_file};

/// A rule file and its samples, each.
const TEXT_BYTES: usize = 1 << 20;
/// A draft with both, as JSON.
const BODY_BYTES: usize = 3 << 20;
/// What a backtest may tell of itself.
const SUMMARY_BYTES: usize = 16 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    path: String,
    text: String,
    samples: Option<String>,
    #[serde(default)]
    by: String,
    reason: String,
}

/// What an approver says; `at`: RFC 3339.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Said {
    #[serde(default)]
    by: String,
    #[serde(default, alias = "reason")]
    comment: String,
    at: Option<String>,
    /// Although an alarm of priority P1 is open; the comment says why.
    #[serde(default, rename = "override")]
    overrides: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Back {
    path: String,
    to: i64,
    #[serde(default)]
    by: String,
    reason: String,
    #[serde(default, rename = "override")]
    overrides: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tested {
    #[serde(default)]
    by: String,
    /// Text, or the object that the backtest gave.
    summary: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    path: Option<String>,
    state: Option<String>,
    most: Option<usize>,
}

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/api/v1/rules", get(in_force))
        .route("/api/v1/rules/versions", get(versions))
        .route("/api/v1/rules/versions/{number}", get(version))
        .route("/api/v1/rules/drafts", get(drafts).post(draft).layer(DefaultBodyLimit::max(BODY_BYTES)))
        .route("/api/v1/rules/drafts/{id}", get(one))
        .route("/api/v1/rules/drafts/{id}/backtest", post(backtested))
        .route("/api/v1/rules/drafts/{id}/approve", post(approve))
        .route("/api/v1/rules/drafts/{id}/activate", post(activate))
        .route("/api/v1/rules/drafts/{id}/withdraw", post(withdraw))
        .route("/api/v1/rules/rollback", post(roll_back))
        .route("/api/v1/rules/override", post(let_in))
}

/// Every file with its rules and the version that it is.
pub(super) async fn in_force(State(edge): State<Shared>) -> Result<Json<Value>, Error> {
    let files = edge.read("reading the rules", |web| {
        let language = Language::new();
        let mut files = Vec::new();
        for file in web.rules.rules_in_force()? {
            let version = web.rules.versions(Some(&file.path), 1)?.into_iter().next();
            files.push(file_view(&language, &file, version.as_ref()));
        }
        Ok::<_, facts::Error>(files)
    });
    Ok(Json(json!({ "files": files.await? })))
}

fn file_view(language: &Language, file: &RuleFile, version: Option<&Version>) -> Value {
    let rules = read_file(language, file).map_or_else(
        |_| Vec::new(),
        |(rules, ast)| {
            let view = |rule: &crate::rule::Rule| {
                let runs = Runs::of(rule, &ast);
                json!({
                    "id": rule.id, "line": rule.line, "title": rule.title, "priority": rule.priority, "level": rule.level,
                    "watches": { "kinds": rule.watches.kinds, "places": rule.watches.places, "sites": rule.watches.sites },
                    "limits": rule.limits, "runs": runs.word(), "why": runs.why(),
                })
            };
            rules.iter().map(view).collect()
        },
    );
    json!({ "path": file.path, "version": version.map(|version| version_view(version, None)), "rules": rules })
}

pub(super) async fn versions(
    State(edge): State<Shared>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Value>, Error> {
    let Query(asked) = asked?;
    let most = page_length(asked.most, 100, 1_000)?;
    let read = edge.read("reading the versions", move |web| web.rules.versions(asked.path.as_deref(), most));
    let views: Vec<Value> = read.await?.iter().map(|version| version_view(version, None)).collect();
    Ok(Json(json!({ "versions": views })))
}

/// With its text, and the diff to it from the version before.
pub(super) async fn version(
    State(edge): State<Shared>,
    number: Result<Path<i64>, PathRejection>,
) -> Result<Json<Value>, Error> {
    let Path(number) = number?;
    let found = edge.read("reading the version", move |web| web.rules.version(number)).await?;
    let (version, before) = found.ok_or_else(|| Error::no_such("version", &number.to_string()))?;
    Ok(Json(version_view(&version, Some(&before))))
}

fn version_view(version: &Version, before: Option<&str>) -> Value {
    let mut view = json!({
        "number": version.number, "path": version.path, "at": version.at.to_string(), "sha256": version.hash,
        "origin": version.origin, "author": version.author, "approver": version.approver, "reason": version.reason,
        "draft": version.draft,
    });
    if let Some(before) = before {
        view["text"] = json!(version.text);
        view["diff"] = json!(facts::diff(&version.path, before, &version.text));
    }
    view
}

pub(super) async fn drafts(
    State(edge): State<Shared>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Value>, Error> {
    let Query(asked) = asked?;
    let most = page_length(asked.most, 100, 1_000)?;
    let drafts = edge.read("reading the drafts", move |web| web.rules.drafts(asked.state.as_deref(), most)).await?;
    let of = |one: &&Drafted| asked.path.as_ref().is_none_or(|path| *path == one.draft.path);
    let views: Vec<Value> = drafts.iter().filter(of).map(|one| draft_view(one, false)).collect();
    Ok(Json(json!({ "drafts": views })))
}

pub(super) async fn one(
    State(edge): State<Shared>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, Error> {
    let Path(id) = id?;
    Ok(Json(draft_view(&find(&edge, &id).await?, true)))
}

async fn find(edge: &Edge, id: &str) -> Result<Drafted, Error> {
    let wanted = id.to_owned();
    let found = edge.read("reading the draft", move |web| web.rules.draft(&wanted)).await?;
    found.ok_or_else(|| Error::no_such("draft", id))
}

fn draft_view(one: &Drafted, whole: bool) -> Value {
    let (draft, checks) = (&one.draft, &one.draft.checks);
    let mut view = json!({
        "id": draft.id, "path": draft.path, "state": one.state, "by": draft.by, "reason": draft.reason,
        "at": draft.at.to_string(), "new": draft.base.is_none(),
        "checks": {
            "compile": { "ok": checks.problems.is_empty(), "problems": checks.problems, "rules": checks.rules },
            "misfits": checks.misfits,
            "samples": checks.samples.as_ref().map(|trial| json!({
                "ok": trial.failures.is_empty(), "lines": trial.lines, "changes": trial.changes,
                "failures": trial.failures,
            })),
            "backtest": one.backtest.clone().unwrap_or_else(|| json!("not run")),
        },
        "can_be_approved": one.state == "open" && checks.obstacles().next().is_none(),
        "approval": one.approval.as_ref().map(|approval| json!({
            "by": approval.by, "comment": approval.comment, "at": approval.at.to_string(),
            "from": approval.from.to_string(),
        })),
        "withdrawn": one.ended.as_ref().map(|(at, by, why)| json!({ "at": at.to_string(), "by": by, "reason": why })),
    });
    if whole {
        view["text"] = json!(draft.text);
        view["samples"] = json!(draft.samples);
        view["diff"] = json!(facts::diff(&draft.path, draft.base.as_deref().unwrap_or_default(), &draft.text));
    }
    view
}

pub(super) async fn draft(
    State(edge): State<Shared>,
    person: Person,
    wanted: Result<Json<Wanted>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), Error> {
    let Json(wanted) = wanted?;
    let by = person.acts(Role::RuleEditor, &wanted.by)?;
    let reason = reason(&wanted.reason)?;
    let samples = wanted.samples.as_ref().map_or(0, String::len);
    if wanted.text.len() > TEXT_BYTES || samples > TEXT_BYTES {
        return Err(Error::too_large("text, samples: 1 MiB each at the most"));
    }
    let Wanted { path, text, samples, .. } = wanted;
    let done = order(&edge, RuleOrder::Draft { path, text, samples, by, reason }).await?;
    Ok((StatusCode::CREATED, Json(answered(&edge, done).await?)))
}

pub(super) async fn backtested(
    State(edge): State<Shared>,
    person: Person,
    id: Result<Path<String>, PathRejection>,
    tested: Result<Json<Tested>, JsonRejection>,
) -> Result<Json<Value>, Error> {
    let (Path(id), Json(tested)) = (id?, tested?);
    let by = person.acts(Role::RuleEditor, &tested.by)?;
    let summary = tested.summary.as_str().map_or_else(|| tested.summary.to_string(), str::to_owned);
    if summary.is_empty() || summary.len() > SUMMARY_BYTES {
        return Err(Error::bad(format!("summary: 1 to {SUMMARY_BYTES} bytes")));
    }
    let done = order(&edge, RuleOrder::Backtested { id, by, summary }).await?;
    Ok(Json(answered(&edge, done).await?))
}

pub(super) async fn approve(
    State(edge): State<Shared>,
    person: Person,
    id: Result<Path<String>, PathRejection>,
    said: Result<Json<Said>, JsonRejection>,
) -> Result<Json<Value>, Error> {
    let (Path(id), Json(said)) = (id?, said?);
    let by = person.acts(Role::RuleApprover, &said.by)?;
    let (comment, from) = (plain("comment", &said.comment, 500)?, moment("at", said.at.as_deref())?);
    let done = order(&edge, RuleOrder::Approve { id, by, comment, from, overrides: said.overrides }).await?;
    Ok(Json(answered(&edge, done).await?))
}

pub(super) async fn activate(
    State(edge): State<Shared>,
    person: Person,
    id: Result<Path<String>, PathRejection>,
    said: Result<Json<Said>, JsonRejection>,
) -> Result<Json<Value>, Error> {
    let (Path(id), Json(said)) = (id?, said?);
    let by = person.acts(Role::RuleApprover, &said.by)?;
    if said.at.is_some() {
        return Err(Error::bad("at: is said when the draft is approved"));
    }
    let reason = plain("comment", &said.comment, 500)?;
    let done = order(&edge, RuleOrder::Activate { id, by, reason, overrides: said.overrides }).await?;
    Ok(Json(answered(&edge, done).await?))
}

pub(super) async fn withdraw(
    State(edge): State<Shared>,
    person: Person,
    id: Result<Path<String>, PathRejection>,
    said: Result<Json<Said>, JsonRejection>,
) -> Result<Json<Value>, Error> {
    let (Path(id), Json(said)) = (id?, said?);
    // Whoever may write drafts, and whoever may approve them.
    let by = person.acts(Role::RuleEditor, &said.by).or_else(|_| person.acts(Role::RuleApprover, &said.by))?;
    let done = order(&edge, RuleOrder::Withdraw { id, by, reason: reason(&said.comment)? }).await?;
    Ok(Json(answered(&edge, done).await?))
}

pub(super) async fn roll_back(
    State(edge): State<Shared>,
    person: Person,
    back: Result<Json<Back>, JsonRejection>,
) -> Result<Json<Value>, Error> {
    let Json(back) = back?;
    let by = person.acts(Role::RuleApprover, &back.by)?;
    let reason = reason(&back.reason)?;
    let path = back.path.clone();
    let wanted = RuleOrder::Rollback { path: back.path, to: back.to, by, reason, overrides: back.overrides };
    let done = order(&edge, wanted).await?;
    let newest = edge.read("reading the version", move |web| web.rules.versions(Some(&path), 1)).await?;
    let version = newest.first().map(|version| version_view(version, None));
    Ok(Json(json!({ "version": version, "kept": done.kept })))
}

pub(super) async fn let_in(
    State(edge): State<Shared>,
    person: Person,
    said: Result<Json<Said>, JsonRejection>,
) -> Result<Json<Value>, Error> {
    let Json(said) = said?;
    let by = person.acts(Role::RuleApprover, &said.by)?;
    order(&edge, RuleOrder::Override { by, reason: reason(&said.comment)? }).await?;
    Ok(Json(json!({ "overridden": true })))
}

fn reason(text: &str) -> Result<String, Error> {
    let text = plain("reason", text, 500)?;
    if text.is_empty() { Err(Error::bad("reason: say why")) } else { Ok(text) }
}

/// The draft as it stands now, and what the order left to be said.
async fn answered(edge: &Edge, done: RuleDone) -> Result<Value, Error> {
    let mut view = match &done.draft {
        Some(id) => draft_view(&find(edge, id).await?, false),
        None => json!({}),
    };
    view["waits"] = json!(done.waits);
    view["kept"] = json!(done.kept);
    Ok(view)
}

async fn order(edge: &Edge, order: RuleOrder) -> Result<RuleDone, Error> {
    edge.web.rule_desk.order(order).await.map_err(|refusal| match refusal {
        RuleRefusal::NoSuch { what, id } => Error::no_such(what, &id),
        RuleRefusal::Bad(message) => Error::bad(message),
        RuleRefusal::Person(message) => Error::not_allowed(message),
        RuleRefusal::Conflict { code, message, diff } => Error::conflict(code, message, diff),
        RuleRefusal::Failed(message) => Error::inside("changing the rules", &message),
    })
}
