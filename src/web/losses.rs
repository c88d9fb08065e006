//! `/api/v1/losses`: what was lost in a span, by source and reason and by point; the last day unless told.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::extract::{Query, rejection::QueryRejection};
use serde::Deserialize;
use serde_json::{Value, json};

use super::points::page_length;
use super::samples::moment;
use super::{Error, Shared};
use crate::clock;
use crate::ledger::Fate;
use crate::losses::{self, Loss};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    from: Option<String>,
    to: Option<String>,
    source: Option<String>,
    point: Option<String>,
    /// Points in the answer, the ones that lost most.
    most: Option<usize>,
}

pub(super) async fn list(
    State(edge): State<Shared>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Value>, Error> {
    let Query(asked) = asked?;
    let now = clock::now();
    let to = moment("to", asked.to.as_deref())?.unwrap_or(now);
    let from = moment("from", asked.from.as_deref())?.unwrap_or(to - Duration::from_secs(86_400));
    if from > to {
        return Err(Error::bad(format!("from: {from} is after {to}")));
    }
    if let Some(id) = asked.point.as_deref().filter(|id| edge.web.board.points().find(id).is_none()) {
        return Err(Error::no_such("point", id));
    }
    let most = page_length(asked.most, 100, 10_000)?;
    let question = losses::Asked { from, to, source: asked.source, point: asked.point, most };
    let told = edge
        .read("reading the losses", move |web| web.losses.ask(&question, &web.board.points(), clock::now()))
        .await?;
    let (accepted, lost): (Vec<&Loss>, Vec<&Loss>) = told.sums.iter().partition(|loss| loss.fate == Fate::Accepted);
    let accepted: Vec<Value> =
        accepted.iter().map(|loss| json!({ "source": loss.source, "count": loss.count })).collect();
    let slots: Vec<Value> =
        told.slots.iter().map(|(at, count)| json!({ "at": at.to_string(), "count": count })).collect();
    Ok(Json(json!({
        "from": told.from.to_string(), "to": to.to_string(),
        "counted": lost.iter().map(|loss| loss.count).sum::<u64>(),
        "losses": lost.into_iter().map(view).collect::<Vec<_>>(),
        "points": told.points.iter().filter(|loss| loss.fate != Fate::Accepted).map(view).collect::<Vec<_>>(),
        "points_truncated": told.more, "slots": slots, "accepted": accepted,
        // Counted, but gone if the process is killed before the next write.
        "at_risk_s": losses::EVERY.as_secs(),
    })))
}

fn view(loss: &Loss) -> Value {
    let mut view = json!({
        "source": loss.source, "fate": loss.fate.word(), "what": loss.fate.what(), "count": loss.count,
    });
    if !loss.point.is_empty() {
        view["point"] = json!(loss.point);
    }
    view
}
