//! `/api/v1/devices`: how every polled device is doing, in the order of the configuration; the devices that are
//! connected to the frame doors; and orders to these.
//!
//! An order sets a device's own clock or asks whether somebody is at its desk (查岗); nothing here reaches the
//! plant. A post check is answered with 202 at once, since people have minutes to press their button: nobody
//! there, or a device that refuses or falls silent, becomes the alarm `davy-post-check`, and the next check that
//! somebody answers ends it.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::{info, warn};

use super::users::{Person, Role};
use super::{Error, Shared};
use crate::alarm::{Level, Priority};
use crate::clock;
use crate::journal::{Condition, Entry, Note};
use crate::model::Record;
use crate::source::frames::{AskError, Order, Protocol, Reply, Stations};

/// The devices of one door.
#[derive(Clone, Debug)]
pub struct Door {
    /// `kind.name`, as in the ledger.
    pub name: String,
    pub protocol: Protocol,
    pub stations: Stations,
}

pub(super) async fn list(State(edge): State<Shared>) -> Json<Value> {
    let doors = edge.web.doors.iter().flat_map(|door| {
        let devices = door.stations.list().into_iter();
        devices.map(|one| {
            json!({
                "device": one.device,
                "door": door.name,
                "peer": one.peer.to_string(),
                "connected_since": one.connected_since.to_string(),
            })
        })
    });
    Json(json!({ "polled": edge.web.devices.list(), "connected": doors.collect::<Vec<_>>() }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, tag = "order", rename_all = "snake_case")]
pub(super) enum Said {
    SetClock {
        #[serde(default)]
        by: String,
    },
    PostCheck {
        #[serde(default)]
        by: String,
        minutes: u8,
    },
}

pub(super) async fn order(
    State(edge): State<Shared>,
    person: Person,
    id: Result<Path<String>, PathRejection>,
    said: Result<Json<Said>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), Error> {
    let (Path(id), Json(said)) = (id?, said?);
    let (order, by) = match said {
        Said::SetClock { by } => (Order::SetClock, by),
        Said::PostCheck { minutes: 0, .. } => return Err(Error::bad("minutes: 1 to 255")),
        Said::PostCheck { by, minutes } => (Order::PostCheck { minutes }, by),
    };
    let by = person.acts(Role::Operator, &by)?;
    let connected = |door: &&Door| door.stations.list().iter().any(|one| one.device == id);
    let door = edge.web.doors.iter().find(connected).ok_or_else(|| Error::no_such("connected device", &id))?;
    if door.protocol != Protocol::Gb26875 {
        return Err(Error::bad(AskError::NotOffered.to_string()));
    }
    info!(device = %id, ?order, %by, "order to a device");
    let word = match order {
        Order::SetClock => "device.clock_set",
        Order::PostCheck { .. } => "device.post_check",
    };
    record(&edge, Record { action: word.into(), subject: id.clone(), ..Record::by(&by, clock::now()) }).await?;
    let stations = door.stations.clone();
    match order {
        Order::SetClock => {
            let reply = stations.ask(&id, order).await.map_err(|cause| Error::no_answer(cause.to_string()))?;
            Ok((StatusCode::OK, Json(json!({ "reply": reply }))))
        }
        Order::PostCheck { .. } => {
            let own = edge.clone();
            tokio::spawn(async move {
                tokio::select! {
                    // The gateway goes; the check goes unanswered with it.
                    () = own.stop.cancelled() => {}
                    reply = stations.ask(&id, order) => note(&own, &id, &by, reply).await,
                }
            });
            Ok((StatusCode::ACCEPTED, Json(json!({ "reply": "asked" }))))
        }
    }
}

/// An order is in the journal before it is given.
async fn record(edge: &Shared, record: Record) -> Result<(), Error> {
    let taken = edge.web.desk.submit(Entry::Note(Note::Record(record))).await;
    taken.map_err(|_| Error::busy("the journal is closed: the order was not given"))
}

/// How a post check ended, for the journal.
async fn note(edge: &Shared, device: &str, by: &str, reply: Result<Reply, AskError>) {
    let (holds, outcome) = match reply {
        Ok(Reply::Answered) => (false, "answered".to_owned()),
        Ok(Reply::NobodyAnswered) => (true, "nobody answered in time".to_owned()),
        Ok(Reply::Denied) => (true, "the device refused it".to_owned()),
        // A device that takes a post check goes on to one of the others.
        Ok(Reply::Done) => (true, "the device took it for something else".to_owned()),
        Err(cause) => (true, cause.to_string()),
    };
    let condition = Condition {
        at: clock::now(),
        rule: "davy-post-check".into(),
        subject: device.to_owned(),
        holds,
        title: format!("查岗无人应答 / post check unanswered: {device}"),
        advice: "电话联系消防控制室 / call the fire control room".into(),
        priority: Priority::P2,
        level: Level::Yellow,
        detail: format!("asked by {by}: {outcome}"),
    };
    info!(device, %by, outcome, "post check ended");
    if let Err(cause) = edge.web.desk.submit(Entry::Note(Note::Condition(condition))).await {
        warn!(device, %cause, "the end of a post check could not be noted");
    }
}
