//! `/feeds/{name}.atom` and `/feeds/{name}/{identifier}.xml`: published warnings for a neighbour.
//!
//! Each feed has a token of its own, which opens nothing else, and the console's token opens no feed. Every
//! read is logged and counted. A feed that is gone from the configuration is not found.

use std::sync::atomic::Ordering::Relaxed;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use tracing::{info, warn};

use super::gate::{bearer, hex};
use super::{Edge, Error, Number, Shared, Web};
use crate::model::Timestamp;
use crate::publish::{Entry, Feed, atom};

/// Published messages that are looked through for a feed.
const WITHIN: usize = 10_000;

/// A request that shows a neighbour's token, which the gate does not know.
pub(super) fn is_for_neighbours(method: &Method, path: &str) -> bool {
    matches!(*method, Method::GET | Method::HEAD) && path.starts_with("/feeds/")
}

pub(super) async fn list(
    State(edge): State<Shared>,
    file: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let Path(file) = file?;
    let name = file.strip_suffix(".atom").unwrap_or_default().to_owned();
    let most = admit(&edge, &name, &headers).await?;
    let wanted = name.clone();
    let (entries, text) = edge
        .read("reading the publications", move |web| {
            let Some(feed) = web.feeds.find(&wanted) else { return Ok((Vec::new(), Ok(String::new()))) };
            let entries = web.publications.newest(WITHIN, most, feed)?;
            let text = atom(&feed.name, &web.feeds.author, &entries);
            Ok::<_, crate::facts::Error>((entries, text))
        })
        .await?;
    let text = text.map_err(|cause| Error::inside("writing the feed", &format!("{cause:#}")))?;
    let newest = entries.iter().map(|entry| entry.sent.as_str()).max().and_then(Timestamp::parse);
    Ok(answer(&edge, &name, "", &headers, "application/atom+xml; charset=utf-8", newest, text))
}

pub(super) async fn one(
    State(edge): State<Shared>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let Path((name, file)) = path?;
    admit(&edge, &name, &headers).await?;
    let identifier = file.strip_suffix(".xml").unwrap_or_default().to_owned();
    let asked = identifier.clone();
    let found = edge.read("reading a publication", move |web| web.publications.one(&asked)).await?;
    // Another site's message is to this neighbour as if it were not there.
    let takes = |entry: &Entry| edge.web.feeds.find(&name).is_some_and(|feed| feed.takes(entry));
    let Some((entry, xml)) = found.filter(|(entry, _)| takes(entry)) else {
        return Err(Error::no_such("message", &identifier));
    };
    let sent = Timestamp::parse(&entry.sent);
    Ok(answer(&edge, &name, &identifier, &headers, "application/cap+xml; charset=utf-8", sent, xml))
}

/// Lets in whoever has the feed's token; gives how many messages the feed has at most.
async fn admit(edge: &Edge, name: &str, headers: &HeaderMap) -> Result<usize, Error> {
    if edge.web.feeds.find(name).is_none() {
        return Err(Error::no_such("feed", name));
    }
    let token = headers.get(header::AUTHORIZATION).and_then(bearer).unwrap_or_default().to_owned();
    let asked = name.to_owned();
    let opens = move |web: &Web| {
        let feed = web.feeds.find(&asked).filter(|feed| feed.opens(&token));
        Ok::<_, std::convert::Infallible>(feed.map(|feed| feed.most))
    };
    if let Some(most) = edge.read("reading the token of a feed", opens).await? {
        return Ok(most);
    }
    if let Some(feed) = edge.web.feeds.find(name) {
        feed.refused.fetch_add(1, Relaxed);
        warn!(feed = name, "a reader of the feed was refused: no token, or not the feed's");
    }
    Err(Error::unauthorized())
}

/// The body, or 304 when the reader has it already.
fn answer(
    edge: &Edge,
    feed: &str,
    identifier: &str,
    headers: &HeaderMap,
    media: &'static str,
    newest: Option<Timestamp>,
    body: String,
) -> Response {
    let tag = format!("\"{}\"", hex(&Sha256::digest(body.as_bytes())[..16]));
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let unchanged = known.is_some_and(|known| {
        known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag || one.trim() == "*")
    });
    info!(feed, identifier, unchanged, "a neighbour reads");
    if let Some(feed) = edge.web.feeds.find(feed) {
        let outcome: fn(&Feed) -> &std::sync::atomic::AtomicU64 =
            if unchanged { |feed| &feed.unchanged } else { |feed| &feed.read };
        outcome(feed).fetch_add(1, Relaxed);
    }
    let mut response = if unchanged {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, media)], body).into_response()
    };
    let told = response.headers_mut();
    // A proxy between the two keeps nothing that it was not asked to; the reader asks each time.
    told.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    told.extend(HeaderValue::from_str(&tag).ok().map(|tag| (header::ETAG, tag)));
    let modified = newest.and_then(|at| jiff::Timestamp::from_microsecond(at.micros()).ok());
    let modified =
        modified.and_then(|at| jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at).ok());
    told.extend(modified.and_then(|at| HeaderValue::from_str(&at).ok()).map(|at| (header::LAST_MODIFIED, at)));
    response
}

/// For `/metrics`.
pub(super) fn numbers(edge: &Edge) -> Vec<Number> {
    let mut numbers = Vec::new();
    for feed in &edge.web.feeds.list {
        for (outcome, count) in [("read", &feed.read), ("unchanged", &feed.unchanged), ("refused", &feed.refused)] {
            numbers.push(Number {
                name: "feed_reads",
                help: "requests of neighbours by feed and outcome",
                labels: vec![("feed", feed.name.clone()), ("outcome", outcome.to_owned())],
                value: count.load(Relaxed) as f64,
                counter: true,
            });
        }
    }
    numbers
}
