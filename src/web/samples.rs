//! `/api/v1/points/{id}/samples`: stored samples of one point, oldest first; the last hour unless told.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::points::page_length;
use super::reading::told;
use super::{Error, Reading, Shared};
use crate::clock;
use crate::model::Timestamp;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    from: Option<String>,
    to: Option<String>,
    most: Option<usize>,
}

/// A moment as RFC 3339 or as a number of seconds, milliseconds or microseconds.
pub(super) fn moment(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, Error> {
    let Some(text) = text else { return Ok(None) };
    // A "+08:00" that was not escaped arrives as a space.
    let text = text.trim().replace(' ', "+");
    let told =
        || Error::bad(format!("{name}: {text:?} is not a time; write 2026-11-23T08:00:00Z or seconds since 1970"));
    Timestamp::parse(&text).map(Some).ok_or_else(told)
}

pub(super) async fn list(
    State(edge): State<Shared>,
    id: Result<Path<String>, PathRejection>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Value>, Error> {
    let (Path(id), Query(asked)) = (id?, asked?);
    let most = page_length(asked.most, 10_000, 100_000)?;
    if edge.web.board.points().find(&id).is_none() {
        return Err(Error::no_such("point", &id));
    }
    let to = moment("to", asked.to.as_deref())?.unwrap_or_else(clock::now);
    let from = moment("from", asked.from.as_deref())?.unwrap_or(to - Duration::from_secs(3_600));
    if from > to {
        return Err(Error::bad(format!("from: {from} is after {to}")));
    }
    let point = id.clone();
    // One more than asked for, to know whether there are more.
    let mut found =
        edge.read("reading the history", move |web| web.samples.samples(&point, from, to, most + 1)).await?;
    let more = found.len() > most;
    found.truncate(most);
    let next = found.last().filter(|_| more).map(|last| (last.time + Duration::from_micros(1)).to_string());
    let samples: Vec<Value> = found.iter().map(sample).collect();
    Ok(Json(json!({
        "point": id, "from": from.to_string(), "to": to.to_string(), "samples": samples,
        "truncated": more, "next_from": next,
    })))
}

fn sample(reading: &Reading) -> Value {
    let (value, raw) = told(reading.value, reading.quality);
    let mut sample =
        json!({ "time": reading.time.to_string(), "value": value, "quality": reading.quality.to_string() });
    if let Some(raw) = raw {
        sample["raw"] = json!(raw);
    }
    sample
}
