//! `/api/v1/duty`: who is on duty now, who is next, who is away, what is being called about; leave and hand-overs.
//!
//! What is asked goes into the journal and is answered when it is durable, with a line in the audit chain. A
//! presence check is answered by acknowledging its alarm, as any other: by console, link or API.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::alarms::{command, plain};
use super::users::{Person, Role};
use super::{Error, Shared, handover};
use crate::alarm::OccurrenceId;
use crate::clock;
use crate::facts::Answer;
use crate::journal::{DutyOrder, Note, Setup};
use crate::model::{Duty, DutyAct, Handover, Leave, Timestamp, Who};
use crate::response::people::Now;
use crate::response::{Kept, Run};

/// Hand-overs and presence checks in one answer.
const MOST: usize = 50;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedLeave {
    person: String,
    /// RFC 3339; now without it.
    from: Option<String>,
    until: String,
    substitute: Option<String>,
    reason: String,
    #[serde(default)]
    by: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Back {
    #[serde(default)]
    by: String,
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedHandover {
    roster: String,
    /// Keys of persons: who goes and who comes.
    from: String,
    to: String,
    /// SHA-256 of the list of what is open that both have gone through, as it is now.
    list_hash: String,
    #[serde(default)]
    comment: String,
    #[serde(default)]
    by: String,
}

pub(super) async fn show(State(edge): State<Shared>) -> Result<Json<Value>, Error> {
    let kept = edge.read("reading duty", |web| web.duty.kept()).await?;
    let handovers = edge.read("reading hand-overs", |web| web.duty.list("handover", MOST)).await?;
    let questions = edge.read("reading presence checks", |web| web.duty.list("question", MOST)).await?;
    let setup = edge.web.board.setup();
    Ok(Json(view(setup.as_deref(), &kept, &handovers, &questions, clock::now())))
}

fn view(setup: Option<&Setup>, kept: &[Kept], handovers: &[Kept], questions: &[Kept], at: Timestamp) -> Value {
    let Some(setup) = setup else { return json!({ "positions": [], "escalations": [] }) };
    let said = Kept::said(kept);
    let (mut runs, mut consoles, mut signing) = (Vec::new(), Vec::new(), Vec::new());
    for one in kept {
        match one {
            Kept::Run(run) => runs.push(run),
            Kept::Console { user, .. } => consoles.push(user.as_str()),
            Kept::Signing(handover) => signing.push(awaiting(handover)),
            Kept::RunOver(_)
            | Kept::Leave { .. }
            | Kept::Signed { .. }
            | Kept::Handover(_)
            | Kept::SigningOver(_)
            | Kept::Question { .. }
            | Kept::Missing { .. }
            | Kept::Changed { .. }
            | Kept::Listed { .. } => {}
        }
    }
    let now = Now { duty: &setup.duty, said: &said, zone: setup.calendar.zone, at };
    let person = |key: &str| {
        let known = setup.duty.people.get(key);
        json!({ "person": key, "name": known.map(|one| &one.name), "phone": known.map(|one| &one.phone) })
    };
    let positions: Vec<Value> = (setup.duty.positions.iter())
        .map(|(name, position)| {
            let list = now.of_position(position);
            let next = position.who.iter().find_map(|who| next_shift(&now, who));
            json!({
                "position": name, "level": position.tier.word(), "area": position.area,
                "on_duty": list.first().map(|key| person(key)),
                "then": list.iter().skip(1).map(|key| person(key)).collect::<Vec<_>>(),
                "next_shift": next,
                "console": position.console.map(|_| {
                    let user = |key: &&str| setup.duty.people.get(*key).and_then(|one| one.user.as_deref());
                    list.iter().filter_map(user).any(|user| consoles.contains(&user))
                }),
            })
        })
        .collect();
    let owed = setup.duty.rosters.iter().filter_map(|(name, roster)| {
        let since = now.unsigned(name, roster)?;
        Some(json!({ "roster": name, "since": since.to_string(), "from": roster.before(now.zone, at).crew,
                     "to": roster.shift(now.zone, at).crew }))
    });
    let away: Vec<&Leave> = said.leave.iter().chain(&setup.duty.leave).filter(|one| one.until > at).collect();
    json!({
        "at": at.to_string(),
        "positions": positions,
        "leave": away,
        "handovers_owed": owed.collect::<Vec<_>>(),
        "signing": signing,
        "handovers": handovers,
        "presence": questions,
        "escalations": runs.iter().map(|run| escalation(run)).collect::<Vec<_>>(),
    })
}

/// A hand-over that one of the two has signed.
fn awaiting(handover: &Handover) -> Value {
    let signed: Vec<&str> = handover.signed.iter().map(|one| one.person.as_str()).collect();
    let awaits = [&handover.from, &handover.to].into_iter().find(|person| !signed.contains(&person.as_str()));
    json!({ "id": handover.id, "roster": handover.roster, "from": handover.from, "to": handover.to,
            "list_hash": handover.list_hash, "signed": signed, "awaits": awaits })
}

fn next_shift(now: &Now<'_>, who: &Who) -> Option<Value> {
    let Who::Roster(name) = who else { return None };
    let shift = now.duty.rosters.get(name)?.next(now.zone, now.at);
    Some(json!({ "from": shift.from.to_string(), "crew": shift.crew }))
}

fn escalation(run: &Run) -> Value {
    let clocks = run.clocks().map(|(due, whom, copy)| json!({ "due": due.to_string(), "whom": whom, "copy": copy }));
    json!({
        "alarm": run.alarm.as_str(), "priority": run.priority.word(), "site": run.place.site,
        "subject": run.place.subject, "policy": run.policy, "began": run.began.to_string(), "steps": run.steps,
        "acknowledged": run.acknowledged, "answered": run.answered,
        "answer_due": run.answer_due.map(|due| due.to_string()), "told": run.told,
        "clocks": clocks.collect::<Vec<_>>(), "next": run.due().map(|due| due.to_string()),
    })
}

/// Who was called about one alarm, when, and why.
pub(super) async fn steps(
    State(edge): State<Shared>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, Error> {
    let Path(id) = id?;
    let wanted = OccurrenceId::named(&id);
    let steps = edge.read("reading steps", move |web| web.duty.steps(&wanted)).await?;
    let rows: Vec<Value> = (steps.iter())
        .map(|step| {
            json!({
                "number": step.number, "kind": step.kind.word(), "due": step.due.to_string(),
                "at": step.at.to_string(), "level": step.level, "person": step.person, "call": step.call,
                "to": step.to, "policy": step.policy,
            })
        })
        .collect();
    Ok(Json(json!({ "alarm": id, "steps": rows })))
}

pub(super) async fn leave(
    State(edge): State<Shared>,
    person: Person,
    wanted: Result<Json<WantedLeave>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), Error> {
    let Json(wanted) = wanted?;
    let setup = edge.web.board.setup();
    let by = sends_away(&person, setup.as_deref(), &wanted.person, &wanted.by)?;
    let reason = plain("reason", &wanted.reason, 500)?;
    if reason.is_empty() {
        return Err(Error::bad("reason: say why"));
    }
    let now = clock::now();
    let moment = |key: &str, text: &str| {
        Timestamp::parse(text)
            .ok_or_else(|| Error::bad(format!("{key}: {text:?} is not a time such as 2026-12-01T00:00:00+08:00")))
    };
    let from = wanted.from.as_deref().map(|text| moment("from", text)).transpose()?.unwrap_or(now);
    let until = moment("until", &wanted.until)?;
    let leave = |id| Leave { id, person: wanted.person, from, until, substitute: wanted.substitute, by, reason };
    let id = order(&edge, |number| DutyAct::Leave { leave: leave(format!("leave-{number}")), weighed: true }).await?;
    Ok((StatusCode::CREATED, Json(json!({ "id": id }))))
}

/// Everybody says it of themselves; of others, whoever approves.
fn sends_away(person: &Person, setup: Option<&Setup>, whom: &str, by: &str) -> Result<String, Error> {
    let own = setup.and_then(|setup| setup.duty.people.get(whom)).and_then(|one| one.user.as_deref());
    match &person.0 {
        Some(user) if own == Some(&*user.key) => {
            person.acts_as(&[Role::Operator, Role::RuleApprover, Role::SafetyApprover], by)
        }
        Some(user) if !user.may(Role::RuleApprover) && !user.may(Role::SafetyApprover) => {
            Err(Error::not_allowed(format!(
                "{} may say so of themselves; of {whom} it takes the role rule-approver or safety-approver",
                user.name
            )))
        }
        Some(_) | None => person.acts_as(&[Role::RuleApprover, Role::SafetyApprover], by),
    }
}

pub(super) async fn back(
    State(edge): State<Shared>,
    person: Person,
    id: Result<Path<String>, PathRejection>,
    said: Result<Json<Back>, JsonRejection>,
) -> Result<Json<Value>, Error> {
    let (Path(id), Json(said)) = (id?, said?);
    let kept = edge.read("reading duty", |web| web.duty.kept()).await?;
    let whom = kept.iter().find_map(|one| {
        let Kept::Leave { leave, .. } = one else { return None };
        (leave.id == id).then(|| leave.person.clone())
    });
    let setup = edge.web.board.setup();
    let by = sends_away(&person, setup.as_deref(), whom.as_deref().unwrap_or(&id), &said.by)?;
    let reason = plain("reason", &said.reason, 500)?;
    let id = order(&edge, |_| DutyAct::LeaveEnded { id, by, at: clock::now(), reason }).await?;
    Ok(Json(json!({ "id": id })))
}

pub(super) async fn hand_over(
    State(edge): State<Shared>,
    person: Person,
    wanted: Result<Json<WantedHandover>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), Error> {
    let Json(wanted) = wanted?;
    let by = person.acts(Role::Operator, &wanted.by)?;
    let setup = edge.web.board.setup().ok_or_else(|| Error::busy("the engine has no points yet"))?;
    let signer = signer(&person, &by, &setup.duty, [&wanted.from, &wanted.to])?;
    let (list_hash, comment) = (plain("list_hash", &wanted.list_hash, 64)?, plain("comment", &wanted.comment, 500)?);
    handover::is_current(&edge, &list_hash).await?;
    let roster = wanted.roster.clone();
    let handover = |number: u64| Handover {
        id: format!("handover-{number}"),
        roster: wanted.roster,
        from: wanted.from,
        to: wanted.to,
        by,
        at: clock::now(),
        list_hash,
        comment,
        signed: Vec::new(),
    };
    let id = order(&edge, |number| DutyAct::Signs { handover: handover(number), person: signer.clone() }).await?;
    let kept = edge.read("reading duty", |web| web.duty.kept()).await?;
    let waits = kept.iter().find_map(|one| {
        let Kept::Signing(handover) = one else { return None };
        (handover.roster == roster).then(|| awaiting(handover))
    });
    let awaits = waits.map_or(Value::Null, |waits| waits["awaits"].clone());
    Ok((StatusCode::CREATED, Json(json!({ "id": id, "signed_by": signer, "awaits": awaits }))))
}

/// Which of the two signs. Where people sign in, nobody signs for another; else `by` says who it is.
fn signer(person: &Person, by: &str, duty: &Duty, both: [&String; 2]) -> Result<String, Error> {
    let [from, to] = both;
    let known = |key: &String| {
        duty.people.get(key).ok_or_else(|| Error::bad(format!("{key:?} is not a person of the configuration")))
    };
    let people = [(from, known(from)?), (to, known(to)?)];
    let found = match &person.0 {
        Some(user) => people.iter().find(|(_, one)| one.user.as_deref() == Some(&*user.key)),
        None => {
            people.iter().find(|(key, one)| [key.to_lowercase(), one.name.to_lowercase()].contains(&by.to_lowercase()))
        }
    };
    if let Some((key, _)) = found {
        return Ok((*key).clone());
    }
    if person.0.is_none() {
        return Err(Error::bad(format!("by: {by:?} neither goes nor comes: {from} or {to} signs")));
    }
    let barred = people.iter().find(|(_, one)| one.user.is_none());
    let hint = barred.map_or_else(String::new, |(key, _)| format!("; {key} cannot sign in: give person.{key} a user"));
    Err(Error::not_allowed(format!("{from} goes and {to} comes: both sign, {by} is neither{hint}")))
}

/// The id of what is on record now.
async fn order(edge: &super::Edge, act: impl FnOnce(u64) -> DutyAct) -> Result<String, Error> {
    let note = |number| Note::Duty(DutyOrder { command: number, act: Box::new(act(number)) });
    let answer = command(edge, note).await?;
    let Answer::Duty(outcome) = answer else {
        return Err(Error::inside("the order about duty", &format!("{answer:?}")));
    };
    outcome.map_err(Error::refused)
}
