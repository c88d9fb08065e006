//! `/api/v1/rules/backtest`: rules tried on stored samples, beside the rules in force.
//!
//! A POST with rule files is answered with a number; behind it stand first how far it has come, then the result,
//! for an hour. What does not compile is refused at once, with every problem. At most two run at the same time,
//! each on a thread of low priority: what is live comes first.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::samples::moment;
use super::{Error, Shared};
use crate::backtest::{Acknowledging, Job, Order, Refused, State as Stands, select};
use crate::journal::{RuleFile, Setup};
use crate::model::Timestamp;
use crate::rule::{Language, Plan};

/// Files in one order, and the text of all of them.
const MOST_FILES: usize = 200;
/// The largest body.
pub(super) const BODY_BYTES: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    files: Vec<RuleFile>,
    from: String,
    to: String,
    /// Ids and patterns; all points when there are none.
    #[serde(default)]
    points: Vec<String>,
    /// A rule that lead times are measured against.
    reference: Option<String>,
}

pub(super) async fn start(
    State(edge): State<Shared>,
    wanted: Result<Json<Wanted>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), Error> {
    let Json(wanted) = wanted?;
    if wanted.files.is_empty() || wanted.files.len() > MOST_FILES {
        return Err(Error::bad(format!("files: 1 to {MOST_FILES} of {{\"path\", \"text\"}}")));
    }
    let time = |name, text: &str| moment(name, Some(text))?.ok_or_else(|| Error::bad(format!("{name}: say when")));
    let (from, to) = (time("from", &wanted.from)?, time("to", &wanted.to)?);
    if from >= to {
        return Err(Error::bad(format!("from: {from} is not before {to}")));
    }
    let job = edge.read("reading the rules in force", move |web| {
        web.backtests.setup().map(|setup| setup.map(|setup| job(wanted, setup, (from, to))))
    });
    let job = job.await?.ok_or_else(|| Error::busy("the gateway has no points yet"))?.map_err(Error::bad)?;
    match edge.web.backtests.start(job) {
        Ok(id) => Ok((StatusCode::ACCEPTED, Json(json!({ "id": id, "state": "running" })))),
        Err(refused @ Refused::Busy) => Err(Error::too_many(refused.to_string())),
        Err(refused @ Refused::NoThread) => Err(Error::busy(refused.to_string())),
    }
}

/// The job, or what is wrong with it.
fn job(wanted: Wanted, setup: Setup, (from, to): (Timestamp, Timestamp)) -> Result<Job, String> {
    let points = select(&setup.points, &wanted.points).map_err(|error| error.to_string())?.points;
    let language = Language::new();
    let ground = Setup { points, ..setup.clone() };
    let tried = Setup { at: from, rules: wanted.files, ..ground.clone() };
    let plan = Plan::new(&language, &tried);
    if !plan.problems.is_empty() {
        return Err(plan.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    }
    let mut about: BTreeSet<_> = plan.rules.iter().map(|compiled| compiled.rule.id.clone()).collect();
    let candidate = tried.rules;
    let replaced = setup.rules.iter().filter(|file| candidate.iter().any(|own| own.path == file.path));
    let replaced = Setup { at: from, points: Vec::new(), rules: replaced.cloned().collect(), ..ground.clone() };
    about.extend(Plan::new(&language, &replaced).rules.iter().map(|compiled| compiled.rule.id.clone()));
    let against = Some(setup.rules);
    let order = Order { candidate, against, ground, from, to, acknowledging: Acknowledging::AtOnce };
    Ok(Job { order, about, reference: wanted.reference })
}

pub(super) async fn show(
    State(edge): State<Shared>,
    id: Result<Path<u64>, PathRejection>,
) -> Result<Json<Value>, Error> {
    let Path(id) = id?;
    let state = edge.web.backtests.state(id).ok_or_else(|| Error::no_such("backtest", &id.to_string()))?;
    Ok(Json(match state {
        Stands::Running(progress) => json!({
            "id": id, "state": "running", "share": progress.map_or(0.0, |progress| progress.share),
            "at": progress.map(|progress| progress.at.to_string()),
            "samples": progress.map_or(0, |progress| progress.samples),
        }),
        Stands::Done(result) => json!({ "id": id, "state": "done", "result": &*result }),
        Stands::Failed(why) => json!({ "id": id, "state": "failed", "error": why }),
    }))
}

pub(super) async fn cancel(
    State(edge): State<Shared>,
    id: Result<Path<u64>, PathRejection>,
) -> Result<Json<Value>, Error> {
    let Path(id) = id?;
    if edge.web.backtests.cancel(id) {
        Ok(Json(json!({ "id": id, "state": "cancelled" })))
    } else {
        Err(Error::no_such("backtest", &id.to_string()))
    }
}
