//! `/api/v1/audit`: who did what, when and why, as the chain in `facts.db` tells it.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::points::page_length;
use super::{Error, Shared};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// The first number wanted.
    from: Option<i64>,
    subject: Option<String>,
    most: Option<usize>,
}

/// Oldest first; `next_from` while there are more. `head` is what to write down elsewhere.
pub(super) async fn list(
    State(edge): State<Shared>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Value>, Error> {
    let Query(asked) = asked?;
    let most = page_length(asked.most, 100, 1_000)?;
    let read = edge.read("reading the audit chain", move |web| {
        let rows = web.rules.audit(asked.from.unwrap_or(1), asked.subject.as_deref(), most)?;
        Ok::<_, crate::facts::Error>((rows, web.rules.audit_head()?))
    });
    let (rows, head) = read.await?;
    let next = (rows.len() == most).then(|| rows.last().map(|row| row.number + 1)).flatten();
    let view = |row: &crate::facts::Audited| {
        let record = &row.record;
        json!({
            "number": row.number, "at": record.at.to_string(), "by": record.by, "action": record.action,
            "subject": record.subject, "reason": record.reason, "before": record.before, "after": record.after,
            "hash": row.hash,
        })
    };
    let records: Vec<Value> = rows.iter().map(view).collect();
    Ok(Json(json!({ "records": records, "next_from": next, "head": head })))
}
