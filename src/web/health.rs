//! `/livez`: this process answers. `/readyz`: it also does its work, or says what keeps it from it.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::Shared;

/// An engine that is further behind than this is late for alarms.
const BEHIND: Duration = Duration::from_secs(5);

pub(super) async fn live() -> Json<Value> {
    Json(json!({ "live": true }))
}

pub(super) async fn ready(State(edge): State<Shared>) -> (StatusCode, Json<Value>) {
    let vitals = edge.web.health.vitals();
    let mut reasons = Vec::new();
    if let Some(trouble) = vitals.journal_trouble {
        reasons.push(json!({ "part": "journal", "what": trouble }));
    }
    if vitals.engine_behind > BEHIND {
        let what = format!("the engine is {:.1} s behind the journal", vitals.engine_behind.as_secs_f64());
        reasons.push(json!({ "part": "engine", "what": what }));
    }
    reasons.extend(vitals.troubles.into_iter().map(|(part, what)| json!({ "part": part, "what": what })));
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": reasons.is_empty(), "reasons": reasons })))
}
