//! `POST /api/v1/samples` and `POST /api/v2/write`: samples from programs that have a token of their own.
//!
//! | status | means |
//! |---|---|
//! | 200 (`/api/v2/write`: 204) | every sample is on the disk |
//! | 207 (`/api/v2/write`: 422) | those that could be used are on the disk; the body says which were not, and why |
//! | 400, 422 | nothing could be used; sending the same again will not help |
//! | 401, 413, 415 | no such token; body too large; a form of body that Davy does not read |
//! | 429, 503 | busy, or not confirmed to be on the disk: send the same again after `Retry-After` |
//!
//! The token of the console is none of a sender's, and the other way round. `/api/v2/write` takes line
//! protocol as InfluxDB 2 does, so that Telegraf needs no change but the address; its `org` and `bucket` say
//! nothing here. The body is read only after the token is known, and as far as the sender's limit.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_stream::StreamExt;

use super::{Error, Shared};
use crate::clock;
use crate::ledger::Fate;
use crate::source::http::{Batch, Kind, Sender, Undelivered, Unread, Unusable};

pub(super) const SAMPLES: &str = "/api/v1/samples";
pub(super) const WRITE: &str = "/api/v2/write";

#[derive(Deserialize)]
pub(super) struct Asked {
    precision: Option<String>,
}

/// A request that shows a sender's token, which the gate does not know.
pub(super) fn is_for_senders(method: &Method, path: &str) -> bool {
    *method == Method::POST && (path == SAMPLES || path == WRITE)
}

pub(super) async fn samples(
    State(edge): State<Shared>,
    asked: Result<Query<Asked>, QueryRejection>,
    request: Request,
) -> Result<Response, Error> {
    let sender = sender(&edge, request.headers())?;
    let Query(asked) = asked?;
    let kind = kind(&sender, request.headers(), asked.precision)?;
    let by_line = kind != Kind::Json;
    let batch = take(sender, kind, request).await?;
    let status = match (batch.samples.len(), batch.rejected) {
        (_, 0) => StatusCode::OK,
        (0, _) if batch.unusable.iter().any(|one| one.place == 0 && one.fate == Fate::NotJson) => {
            StatusCode::BAD_REQUEST
        }
        (0, _) => StatusCode::UNPROCESSABLE_ENTITY,
        (_, _) => StatusCode::MULTI_STATUS,
    };
    Ok((status, Json(told(&batch, by_line))).into_response())
}

pub(super) async fn write(
    State(edge): State<Shared>,
    asked: Result<Query<Asked>, QueryRejection>,
    request: Request,
) -> Result<Response, Error> {
    let sender = sender(&edge, request.headers())?;
    let Query(asked) = asked?;
    // Clients of InfluxDB name all kinds of content types, or none.
    let kind = Kind::Lines(precision(asked.precision.unwrap_or_else(|| "ns".into()))?);
    let batch = take(sender, kind, request).await?;
    if batch.rejected == 0 {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let first = batch.unusable.iter().find(|one| !one.is_kept());
    let first = first.map(|one| format!("; first: line {}, {}: {}", one.place, one.about, what_to_do(one.fate)));
    let message = format!("{} stored, {} not{}", batch.samples.len(), batch.rejected, first.unwrap_or_default());
    let mut body = told(&batch, true);
    body["code"] = json!("unprocessable entity");
    body["message"] = json!(message);
    Ok((StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response())
}

/// Whose request it is.
fn sender(edge: &Shared, headers: &HeaderMap) -> Result<Arc<Sender>, Error> {
    if edge.web.senders.is_empty() {
        return Err(Error::no_senders());
    }
    let token = headers.get(header::AUTHORIZATION).and_then(token);
    token.and_then(|token| edge.web.senders.admit(token)).ok_or_else(|| {
        edge.account.one(Fate::Refused);
        Error::unknown_sender()
    })
}

/// `Bearer ...`, or `Token ...` as clients of InfluxDB 2 write it.
fn token(authorization: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = authorization.as_bytes().split_at_checked(6)?;
    if scheme.eq_ignore_ascii_case(b"token ") {
        return Some(token.trim_ascii());
    }
    super::gate::bearer(authorization)
}

fn kind(sender: &Sender, headers: &HeaderMap, asked: Option<String>) -> Result<Kind, Error> {
    let said = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    let media = said.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media.as_str() {
        "application/json" => Ok(Kind::Json),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Kind::NdJson),
        "text/csv" => Ok(Kind::Csv),
        "text/plain" | "application/vnd.influx.line-protocol" => {
            Ok(Kind::Lines(precision(asked.unwrap_or_else(|| sender.precision().to_owned()))?))
        }
        _ => Err(Error::unsupported(format!(
            "Content-Type {media:?} is not read; send application/json, application/x-ndjson, text/csv, or \
             text/plain for line protocol"
        ))),
    }
}

fn precision(asked: String) -> Result<String, Error> {
    if ["ns", "us", "ms", "s"].contains(&asked.as_str()) {
        return Ok(asked);
    }
    Err(Error::bad(format!("precision: {asked:?} is not ns, us, ms or s")))
}

/// From the body to the disk.
async fn take(sender: Arc<Sender>, kind: Kind, request: Request) -> Result<Batch, Error> {
    let Some(place) = sender.enter() else {
        sender.account().one(Fate::Refused);
        return Err(Error::too_many("this sender has too many requests open; send the same again in a moment"));
    };
    let packed = match request.headers().get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"" | b"identity") => false,
        Some(encoding) if encoding.eq_ignore_ascii_case(b"gzip") => true,
        Some(_) => return Err(Error::unsupported("of Content-Encoding only gzip is read")),
    };
    let body = body(&sender, request).await?;
    let reader = sender.clone();
    // Received now: the clock is read once for all that came together.
    let received = clock::now();
    let read = tokio::task::spawn_blocking(move || reader.read(body, packed, &kind, received));
    let batch = match read.await {
        Ok(Ok(batch)) => batch,
        Ok(Err(cause @ Unread::TooLarge(_))) => return Err(Error::too_large(cause.to_string())),
        Ok(Err(cause @ Unread::NotGzip)) => return Err(Error::bad(cause.to_string())),
        Err(cause) => return Err(Error::inside("reading samples", &cause)),
    };
    // On its own, so that what is on its way is counted although the client hangs up.
    let delivery = tokio::spawn(async move {
        let outcome = sender.deliver(&batch.samples).await;
        drop(place);
        (outcome, batch)
    });
    match delivery.await {
        Ok((Ok(()), batch)) => Ok(batch),
        Ok((Err(cause @ Undelivered::QueueFull), _)) => Err(Error::too_many(cause.to_string())),
        Ok((Err(cause @ Undelivered::NotDurable), _)) => Err(Error::busy(cause.to_string())),
        Err(cause) => Err(Error::inside("storing samples", &cause)),
    }
}

/// The body as it was sent, up to the sender's limit.
async fn body(sender: &Sender, request: Request) -> Result<Vec<u8>, Error> {
    let limit = sender.body_bytes();
    let too_large = || {
        sender.account().one(Fate::TooLarge);
        Error::too_large(Unread::TooLarge(limit).to_string())
    };
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: usize| length > limit) {
        return Err(too_large());
    }
    let mut stream = request.into_body().into_data_stream();
    let mut body = Vec::with_capacity(length.unwrap_or(0));
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(|_| Error::bad("the body was cut off"))?;
        if body.len() + piece.len() > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

fn told(batch: &Batch, by_line: bool) -> Value {
    let verdicts: Vec<Value> = batch.unusable.iter().map(|one| verdict(one, by_line)).collect();
    let untold = (batch.rejected + batch.flagged).saturating_sub(verdicts.len() as u64);
    json!({
        "accepted": batch.samples.len(), "flagged": batch.flagged, "rejected": batch.rejected,
        "verdicts": verdicts, "untold": untold,
    })
}

/// `index` of a JSON array counts from 0; `line` from 1, and 0 is the body as a whole.
fn verdict(one: &Unusable, by_line: bool) -> Value {
    let mut verdict = json!({
        "verdict": if one.is_kept() { "flagged" } else { "rejected" },
        "reason": one.fate.word(), "message": what_to_do(one.fate),
    });
    if by_line {
        verdict["line"] = json!(one.place);
    } else {
        verdict["index"] = json!(one.place.saturating_sub(1));
    }
    let about = if names_point(one.fate) { "point" } else { "text" };
    if !one.about.is_empty() {
        verdict[about] = json!(one.about);
    }
    verdict
}

fn names_point(fate: Fate) -> bool {
    [Fate::UnknownPoint, Fate::RetiredPoint, Fate::Refused, Fate::BadTime, Fate::BadValue].contains(&fate)
}

const ADVICE: [(Fate, &str); 10] = [
    (Fate::UnknownPoint, "there is no such point: correct its id, or add the point to the gateway"),
    (Fate::RetiredPoint, "the point is retired: send to the one that took its place"),
    (Fate::Refused, "this sender may not write the point: add it to points in [source.http.NAME]"),
    (Fate::NoValue, "no number was found where the value belongs: send a number, or a quality that says why not"),
    (Fate::BadLine, "this line could not be read: look at its separators, quotes and numbers"),
    (Fate::NotUtf8, "this is not UTF-8: change the encoding of the sender"),
    (Fate::NotJson, "this is not JSON"),
    (Fate::TooLarge, "too large: send it in parts"),
    (Fate::BadTime, "kept, with the time of arrival: the time was absurd, set the sender's clock"),
    (Fate::BadValue, "kept as bad: the value was not a finite number"),
];

fn what_to_do(fate: Fate) -> &'static str {
    ADVICE.iter().find(|(known, _)| *known == fate).map_or("it could not be used", |(_, advice)| *advice)
}
