//! `/api/v1/protection`: everything that reduces protection now, as one list, and what is left at each site.
//!
//! In come facts, the board and the recipients; out goes what `protection` makes of them, the very list and the very
//! percentages that a hand-over tells of.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::{Error, Permits, Shared, Web};
use crate::board::Board;
use crate::clock;
use crate::facts::{self, Recipient};
use crate::model::Timestamp;
use crate::protection::{Known, Reduction, Share, bypassed_interlocks, reductions, shares};

pub(super) async fn show(State(edge): State<Shared>) -> Result<Json<Value>, Error> {
    let at = clock::now();
    let asked = move |web: &Web| protection_at(&*web.permits, &web.board, &web.recipients, at);
    let (list, left) = edge.read("reading what reduces protection", asked).await?;
    let sites: Vec<Value> = left
        .iter()
        .map(|share| {
            json!({ "site": share.site, "points": share.points, "unreduced": share.unreduced,
                    "percent": share.percent() })
        })
        .collect();
    let entries: Vec<Value> = list.iter().map(view).collect();
    Ok(Json(json!({ "at": at.to_string(), "sites": sites, "entries": entries })))
}

/// The list and what is left at that moment.
pub(crate) fn protection_at(
    facts: &dyn Permits,
    board: &Board,
    recipients: &[Recipient],
    at: Timestamp,
) -> Result<(Vec<Reduction>, Vec<Share>), facts::Error> {
    let (table, setup, heard) = (board.points(), board.setup(), board.heard());
    let record = facts.on_record(&bypassed_interlocks(&table, &heard))?;
    let setup = setup.as_deref();
    let list = reductions(&Known { at, table: &table, setup, heard: &heard, recipients, record: &record });
    let left = shares(&list, &table);
    Ok((list, left))
}

fn view(one: &Reduction) -> Value {
    let text = |at: Option<Timestamp>| at.map(|at| at.to_string());
    json!({
        "kind": one.kind, "id": one.id, "subject": one.subject, "owner": one.owner, "reason": one.reason,
        "approval": one.approval, "since": text(one.since), "until": text(one.until), "overdue": one.overdue,
        "points": one.points.len(), "sites": one.sites,
    })
}
