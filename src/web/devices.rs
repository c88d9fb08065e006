//! `/api/v1/devices`: how every polled device is doing, in the order of the configuration.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Shared;

pub(super) async fn list(State(edge): State<Shared>) -> Json<Value> {
    Json(json!({ "devices": edge.web.devices.list() }))
}
