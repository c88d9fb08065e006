//! `/api/v1/cases`: what becomes of alarms until they are settled (销号), and the steps by which people get there.
//!
//! In come questions and steps, each answered when it is durable and taken; out go cases with their stage, what is
//! missing and what is due next, and the ledger (报警处置台账) as CSV. A step that does not fit is refused with
//! what it lacks. Who signs off a supervised case is decided by the role that the case names, not by the request.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::info;

use super::alarms::{command, plain};
use super::points::page_length;
use super::samples::moment;
use super::users::{Person, Role};
use super::{Edge, Error, Shared, ledger};
use crate::clock;
use crate::facts::{Answer, WantedCases};
use crate::journal::Note;
use crate::model::{Timestamp, duration_text, parse_duration};
use crate::notify::After;
use crate::response::case::{
    Answered, Case, CaseRefusal, CaseStep, CauseClass, Clock, Demand, Did, Handling, Means, Missing, Order, Policy,
    demanded_words, missing_words,
};

/// Text in a field.
const LONGEST: usize = 2_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    open: Option<bool>,
    supervised: Option<bool>,
    site: Option<String>,
    stage: Option<String>,
    from: Option<String>,
    to: Option<String>,
    before: Option<u64>,
    most: Option<usize>,
    /// `csv`: the ledger.
    format: Option<String>,
}

pub(super) async fn list(
    State(edge): State<Shared>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Error> {
    let Query(asked) = asked?;
    let as_csv = match asked.format.as_deref() {
        None | Some("json") => false,
        Some("csv") => true,
        Some(other) => return Err(Error::bad(format!("format: {other:?} is neither json nor csv"))),
    };
    let most = if as_csv { page_length(asked.most, 10_000, 100_000)? } else { page_length(asked.most, 100, 1_000)? };
    let wanted = WantedCases {
        open: asked.open.unwrap_or(false),
        supervised: asked.supervised.unwrap_or(false),
        site: asked.site,
        from: moment("from", asked.from.as_deref())?,
        to: moment("to", asked.to.as_deref())?,
        before: asked.before,
        most,
    };
    let cases = edge.read("reading the cases", move |web| web.cases.cases(&wanted)).await?;
    let policy = policy(&edge);
    if as_csv {
        let kind = (header::CONTENT_TYPE, "text/csv; charset=utf-8");
        let name = (header::CONTENT_DISPOSITION, "attachment; filename=\"cases.csv\"");
        return Ok(([kind, name], ledger::csv(&cases)).into_response());
    }
    let next = (cases.len() == most).then(|| cases.last().map(|case| case.number)).flatten();
    let at_stage = |case: &&Case| asked.stage.as_deref().is_none_or(|stage| stage == case.stage(&policy).word());
    let views: Vec<Value> = cases.iter().filter(at_stage).map(|case| view(case, &policy)).collect();
    Ok(Json(json!({ "cases": views, "next_before": next })).into_response())
}

pub(super) async fn one(
    State(edge): State<Shared>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, Error> {
    let Path(id) = id?;
    let case = find(&edge, &id).await?;
    let number = case.number;
    let steps = edge.read("reading the steps", move |web| web.cases.case_steps(number)).await?;
    let mut told = view(&case, &policy(&edge));
    let step = |row: &crate::facts::CaseStepRow| json!({ "at": row.at.to_string(), "by": row.by, "step": row.step, "words": row.words });
    told["steps"] = steps.iter().map(step).collect();
    Ok(Json(told))
}

pub(super) async fn find(edge: &Edge, id: &str) -> Result<Case, Error> {
    let wanted = id.to_owned();
    let found = edge.read("reading the case", move |web| web.cases.case(&wanted)).await?;
    found.ok_or_else(|| Error::no_such("case", id))
}

/// What is in force; the defaults before the first setup.
pub(super) fn policy(edge: &Edge) -> Policy {
    edge.web.board.setup().map(|setup| setup.cases.within(&setup.duty)).unwrap_or_default()
}

/// A case with times as people read them.
pub(super) fn view(case: &Case, policy: &Policy) -> Value {
    let did = |did: &Option<Did>| {
        did.as_ref().map(|did| json!({ "by": did.by, "at": did.at.to_string(), "words": did.words }))
    };
    let Handling { owner, class, cause, measure, planned, money, deadline, plan } = &case.handling;
    let missing: Vec<Missing> = case.missing(policy);
    let due = |clock: Clock| case.due(clock, policy).map(|at| at.to_string());
    let alarms: Vec<Value> = case
        .alarms
        .iter()
        .map(|of| {
            json!({
                "id": of.id, "rule": &*of.rule, "subject": &*of.subject, "priority": of.priority.word(),
                "raised": of.raised.to_string(), "cleared": of.cleared.map(|at| at.to_string()),
                "acknowledged": did(&of.acknowledged), "open": of.open, "value": of.value, "worst": of.worst,
                "unit": of.unit,
                "group": of.together.as_ref().map(|together| &together.group),
                "first_out": of.together.as_ref().is_some_and(|together| together.first.id == of.id),
                "after": of.together.as_ref().map(|together| &together.first).filter(|first| first.id != of.id)
                    .map(|first| json!(After::of(first))),
            })
        })
        .collect();
    let demands: Vec<Value> = case
        .demands
        .iter()
        .map(|one| {
            json!({
                "demand": one.demand.word(), "role": one.role, "by": one.by, "reason": one.reason,
                "since": one.since.to_string(), "until": one.until.map(|at| at.to_string()),
                "signed": did(&one.signed), "words": demanded_words(one),
            })
        })
        .collect();
    let answers: Vec<Value> = case
        .answers
        .iter()
        .map(|one| {
            json!({
                "by": one.by, "at": one.at.to_string(), "with": one.with, "means": one.means.word(),
                "words": one.words,
            })
        })
        .collect();
    let files: Vec<Value> = case
        .files
        .iter()
        .map(|of| {
            json!({
                "name": of.name, "sha256": of.sha256, "bytes": of.bytes, "kind": of.kind, "by": of.by,
                "at": of.at.to_string(), "href": format!("/api/v1/cases/{}/files/{}", case.id(), of.sha256),
            })
        })
        .collect();
    json!({
        "id": case.id(), "number": case.number, "stage": case.stage(policy).word(), "site": &*case.site,
        "subject": &*case.subject, "rule": &*case.rule, "place": case.place, "title": case.title,
        "advice": case.advice, "priority": case.priority.word(), "level": case.level.word(),
        "opened": case.opened.to_string(), "since": case.since.to_string(), "reopened": case.reopened,
        "episodes": case.episodes, "active": case.holds(), "alarms": alarms,
        "acknowledged": did(&case.acknowledged), "answers": answers,
        "handling": {
            "owner": owner, "class": class.map(CauseClass::word), "cause": cause, "measure": measure,
            "planned": planned, "money": money, "deadline": deadline.map(|at| at.to_string()), "plan": plan,
        },
        "handlers": case.handlers, "updated": did(&case.updated), "verified": did(&case.verified),
        "closed": did(&case.closed), "joined": case.joined.map(|into| format!("case-{into}")),
        "supervised": case.is_supervised(), "demands": demands, "files": files,
        "missing": missing.iter().map(|what| what.word()).collect::<Vec<_>>(),
        "next": missing.first().map(|what| what.told()),
        "due": {
            "answer": due(Clock::Answer), "update": due(Clock::Update), "close": due(Clock::Close),
            "sign_off": due(Clock::SignOff),
        },
        "counted_by": case.counted_by(),
        "cause": case.cause.as_ref().map(|cause| json!({
            "of": cause.of, "by": cause.did.by, "at": cause.did.at.to_string(), "reason": cause.did.words,
        })),
        "missed": case.missed.keys().map(|clock| clock.word()).collect::<Vec<_>>(),
        "times_missed": case.times_missed,
    })
}

type Body<T> = Result<Json<T>, JsonRejection>;
type Id = Result<Path<String>, PathRejection>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnsweredBody {
    with: String,
    means: String,
    #[serde(default)]
    words: String,
    #[serde(default)]
    by: String,
}

pub(super) async fn answer(
    State(edge): State<Shared>,
    person: Person,
    id: Id,
    body: Body<AnsweredBody>,
) -> Result<Json<Value>, Error> {
    let (Path(id), Json(body)) = (id?, body?);
    let by = person.acts(Role::Operator, &body.by)?;
    let means = word("means", &body.means, Means::ALL.map(|means| (means.word(), means)))?;
    let (with, words) = (needed("with", &body.with)?, plain("words", &body.words, LONGEST)?);
    take(&edge, &id, &by, |order| {
        let answer = Answered { by: order.by.clone(), at: order.at, with, means, words };
        CaseStep::Answered { order, answer }
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HandledBody {
    owner: Option<String>,
    class: Option<String>,
    cause: Option<String>,
    measure: Option<String>,
    planned: Option<bool>,
    money: Option<String>,
    /// A time, or how long from now: `48h`.
    deadline: Option<String>,
    plan: Option<String>,
    #[serde(default)]
    by: String,
}

pub(super) async fn handle(
    State(edge): State<Shared>,
    person: Person,
    id: Id,
    body: Body<HandledBody>,
) -> Result<Json<Value>, Error> {
    let (Path(id), Json(body)) = (id?, body?);
    let by = person.acts(Role::Operator, &body.by)?;
    let said = |key: &str, text: &Option<String>| text.as_deref().map(|text| needed(key, text)).transpose();
    let class = |text: &str| word("class", text, CauseClass::ALL.map(|class| (class.word(), class)));
    let deadline = body.deadline.as_deref().map(|text| match parse_duration(text) {
        Ok(span) => Ok(clock::now() + span),
        Err(_) => Timestamp::parse(text)
            .ok_or_else(|| Error::bad(format!("deadline: {text:?} is neither a time nor a span such as 48h"))),
    });
    let handling = Handling {
        owner: said("owner", &body.owner)?,
        class: body.class.as_deref().map(class).transpose()?,
        cause: said("cause", &body.cause)?,
        measure: said("measure", &body.measure)?,
        planned: body.planned,
        money: said("money", &body.money)?,
        deadline: deadline.transpose()?,
        plan: said("plan", &body.plan)?,
    };
    if handling.is_empty() {
        return Err(Error::bad("say at least one of owner, class, cause, measure, planned, money, deadline, plan"));
    }
    take(&edge, &id, &by, |order| CaseStep::Handled { order, handling: Box::new(handling) }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Updated {
    text: String,
    #[serde(default)]
    by: String,
}

pub(super) async fn update(
    State(edge): State<Shared>,
    person: Person,
    id: Id,
    body: Body<Updated>,
) -> Result<Json<Value>, Error> {
    let (Path(id), Json(body)) = (id?, body?);
    let by = person.acts(Role::Operator, &body.by)?;
    let text = needed("text", &body.text)?;
    take(&edge, &id, &by, |order| CaseStep::Updated { order, text }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VerifiedBody {
    #[serde(default = "yes")]
    accepted: bool,
    #[serde(default)]
    words: String,
    #[serde(default)]
    by: String,
}

const fn yes() -> bool {
    true
}

pub(super) async fn verify(
    State(edge): State<Shared>,
    person: Person,
    id: Id,
    body: Body<VerifiedBody>,
) -> Result<Json<Value>, Error> {
    let (Path(id), Json(body)) = (id?, body?);
    let by = person.acts(Role::Operator, &body.by)?;
    let words = plain("words", &body.words, LONGEST)?;
    if !body.accepted && words.is_empty() {
        return Err(Error::bad("words: say why it is sent back"));
    }
    take(&edge, &id, &by, |order| CaseStep::Verified { order, accepted: body.accepted, words }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Said {
    #[serde(default)]
    words: String,
    #[serde(default)]
    by: String,
}

pub(super) async fn close(
    State(edge): State<Shared>,
    person: Person,
    id: Id,
    body: Body<Said>,
) -> Result<Json<Value>, Error> {
    let (Path(id), Json(body)) = (id?, body?);
    let by = person.acts(Role::Operator, &body.by)?;
    let words = plain("words", &body.words, LONGEST)?;
    take(&edge, &id, &by, |order| CaseStep::Closed { order, words }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Supervised {
    reason: String,
    /// From now on: `48h`.
    within: Option<String>,
    #[serde(default)]
    by: String,
}

pub(super) async fn supervise(
    State(edge): State<Shared>,
    person: Person,
    id: Id,
    body: Body<Supervised>,
) -> Result<Json<Value>, Error> {
    let (Path(id), Json(body)) = (id?, body?);
    let rule = policy(&edge).supervise;
    let by = person.acts(role(&rule.role)?, &body.by)?;
    let reason = needed("reason", &body.reason)?;
    let within = body.within.as_deref().map(parse_duration).transpose();
    let within = within.map_err(|error| Error::bad(format!("within: {error}")))?.unwrap_or(rule.deadline);
    take(&edge, &id, &by, |order| {
        let until = order.at + within;
        CaseStep::Supervised { order, role: rule.role, reason, until }
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Signed {
    /// `supervision` or `restart`.
    demand: String,
    words: String,
    #[serde(default)]
    by: String,
}

pub(super) async fn sign(
    State(edge): State<Shared>,
    person: Person,
    id: Id,
    body: Body<Signed>,
) -> Result<Json<Value>, Error> {
    let (Path(id), Json(body)) = (id?, body?);
    let demand = word("demand", &body.demand, Demand::ALL.map(|demand| (demand.word(), demand)))?;
    let case = find(&edge, &id).await?;
    let asked = case.demands.iter().find(|one| one.demand == demand && one.signed.is_none());
    let Some(asked) = asked else {
        return Err(Error::refused(format!("无待签字项 / no sign-off is waited for: {}", demand.word())));
    };
    let by = person.acts(role(&asked.role)?, &body.by)?;
    let (role, words) = (asked.role.clone(), needed("words", &body.words)?);
    take(&edge, &id, &by, |order| CaseStep::SignedOff { order, demand, role, words }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JoinedBody {
    into: String,
    reason: String,
    #[serde(default)]
    by: String,
}

pub(super) async fn join(
    State(edge): State<Shared>,
    person: Person,
    id: Id,
    body: Body<JoinedBody>,
) -> Result<Json<Value>, Error> {
    let (Path(id), Json(body)) = (id?, body?);
    let by = person.acts(Role::Operator, &body.by)?;
    let (into, reason) = (needed("into", &body.into)?, needed("reason", &body.reason)?);
    take(&edge, &id, &by, |order| CaseStep::Joined { order, into, reason }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CauseBody {
    /// Another case, whose cause it was; without it the case has a cause of its own.
    of: Option<String>,
    reason: String,
    #[serde(default)]
    by: String,
}

pub(super) async fn cause(
    State(edge): State<Shared>,
    person: Person,
    id: Id,
    body: Body<CauseBody>,
) -> Result<Json<Value>, Error> {
    let (Path(id), Json(body)) = (id?, body?);
    let by = person.acts(Role::Operator, &body.by)?;
    let of = body.of.as_deref().map(|of| needed("of", of)).transpose()?;
    let reason = needed("reason", &body.reason)?;
    take(&edge, &id, &by, |order| CaseStep::Cause { order, of, reason }).await
}

/// Hands a step in; the answer is the case after it.
pub(super) async fn take(
    edge: &Edge,
    id: &str,
    by: &str,
    step: impl FnOnce(Order) -> CaseStep,
) -> Result<Json<Value>, Error> {
    let at = clock::now();
    let order = |number| Order { command: number, case: id.to_owned(), at, by: by.to_owned() };
    let answer = command(edge, |number| Note::Case(Box::new(step(order(number))))).await?;
    let Answer::Case(outcome) = answer else { return Err(Error::inside("the step", &format!("{answer:?}"))) };
    match *outcome {
        Ok(case) => {
            let policy = policy(edge);
            info!(case = %case.id(), stage = case.stage(&policy).word(), %by, "case");
            Ok(Json(view(&case, &policy)))
        }
        Err(CaseRefusal::Words(words)) => Err(Error::refused(words)),
        Err(CaseRefusal::Missing(missing)) => {
            let words = format!("还缺 / still missing: {}", missing_words(&missing));
            Err(Error::conflict("missing", words, None))
        }
        Err(CaseRefusal::NoSuch) => {
            let case = find(edge, id).await?;
            let into = case.joined.map_or_else(String::new, |into| format!(", 已并入 / joined to case-{into}"));
            let since = case.closed.map_or_else(String::new, |did| {
                format!(" ({} {}, {})", did.by, did.at, duration_text(clock::now().since(did.at)))
            });
            Err(Error::refused(format!("case-{} 已销号 / is closed{since}{into}", case.number)))
        }
    }
}

pub(super) fn needed(key: &str, text: &str) -> Result<String, Error> {
    let text = plain(key, text, LONGEST)?;
    if text.is_empty() { Err(Error::bad(format!("{key}: is empty"))) } else { Ok(text) }
}

fn word<T, const N: usize>(key: &str, text: &str, known: [(&'static str, T); N]) -> Result<T, Error> {
    let words = known.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
    let found = known.into_iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| value).ok_or_else(|| Error::bad(format!("{key}: {text:?} is not one of {words}")))
}

fn role(word: &str) -> Result<Role, Error> {
    let found = Role::ALL.into_iter().find(|role| role.word() == word);
    found.ok_or_else(|| Error::inside("the role of a sign-off", &format!("{word:?} is no role")))
}
