//! `/api/v1/rules/functions`: everything that a rule can ask of its point, for people who write rules.

use axum::Json;
use serde_json::Value;

use crate::rule::functions;

pub(super) async fn list() -> Json<Value> {
    Json(functions::json())
}
