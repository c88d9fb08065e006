//! `/api/v1/notify/test`: does a message really reach a person, or one recipient, from the gateway as it runs?
//!
//! In comes a name; out goes for each way what its channel said, which is a line of the audit chain as well, also
//! where it came too late for the answer. One test at a time.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::warn;

use super::users::{Person, Role};
use super::{Error, Shared};
use crate::clock::{self, Stopwatch};
use crate::journal::{Entry, Note};
use crate::model::Record;

/// The answer waits so long for receipts.
const ANSWER_WITHIN: Duration = Duration::from_secs(12);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Of a person, or of a recipient.
    name: String,
    #[serde(default)]
    by: String,
}

pub(super) async fn test(
    State(edge): State<Shared>,
    person: Person,
    wanted: Result<Json<Wanted>, JsonRejection>,
) -> Result<Json<Value>, Error> {
    let Json(wanted) = wanted?;
    let by = person.acts(Role::Operator, &wanted.by)?;
    let ways = edge.web.tester.ways(&wanted.name).map_err(Error::bad)?;
    let place = edge.testing.clone().try_acquire_owned();
    let place = Arc::new(place.map_err(|_| Error::too_many("a test is under way: wait for its end"))?);
    let mut under_way = Vec::new();
    for way in ways {
        let (web, by, whom, place) = (edge.web.clone(), by.clone(), wanted.name.clone(), place.clone());
        let name = way.full_name();
        let trial = tokio::spawn(async move {
            let (asked, watch) = (clock::now(), Stopwatch::start());
            let tried = web.tester.test(&way).await;
            let millis = watch.elapsed().as_millis();
            let (outcome, detail) = match tried {
                Ok(detail) => ("delivered", detail),
                Err(failure) if failure.temporary => ("failed", failure.text),
                Err(failure) => ("refused", failure.text),
            };
            let after = format!("{outcome} after {millis} ms: {detail}");
            let record = Record {
                action: "notify.test".into(),
                subject: way.full_name(),
                reason: whom,
                after,
                ..Record::by(&by, asked)
            };
            if web.desk.submit(Entry::Note(Note::Record(record))).await.is_err() {
                warn!(recipient = %way.full_name(), "the journal is closed: what became of a test is not on record");
            }
            drop(place);
            json!({ "recipient": way.full_name(), "outcome": outcome, "ms": millis as u64, "detail": detail })
        });
        under_way.push((name, trial));
    }
    let (watch, mut receipts) = (Stopwatch::start(), Vec::new());
    for (name, trial) in under_way {
        let left = ANSWER_WITHIN.saturating_sub(watch.elapsed());
        receipts.push(match tokio::time::timeout(left, trial).await {
            Ok(Ok(receipt)) => receipt,
            Ok(Err(cause)) => return Err(Error::inside("testing a recipient", &cause)),
            Err(_) => json!({ "recipient": name, "outcome": "waits",
                              "detail": format!("no answer yet; it will be at /api/v1/audit?subject={name}") }),
        });
    }
    Ok(Json(json!({ "name": wanted.name, "receipts": receipts })))
}
