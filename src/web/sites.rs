//! `/api/v1/sites`: what sites are doing; `PUT /api/v1/sites/{site}/state` says so.
//!
//! A state names the person and the reason, is answered when it is durable and in force, and holds until
//! somebody gives another. Any state but "producing" may take rules out of force that ask for it, so it is
//! listed as what it is: less protection.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::info;

use super::alarms::{command, plain};
use super::users::{Person, Role};
use super::{Error, Shared};
use crate::clock;
use crate::facts::Answer;
use crate::journal::{Note, SiteSet};
use crate::model::{SiteStanding, SiteState};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    state: SiteState,
    #[serde(default)]
    by: String,
    reason: String,
}

pub(super) async fn list(State(edge): State<Shared>) -> Result<Json<Value>, Error> {
    let standings = edge.read("reading the sites", |web| web.permits.sites()).await?;
    let table = edge.web.board.points();
    let mut points: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, point) in table.iter().filter(|(_, point)| !point.retired) {
        *points.entry(&point.site).or_default() += 1;
    }
    let views: Vec<Value> = points
        .into_iter()
        .map(|(site, points)| {
            let mut view = match standings.iter().find(|standing| *standing.site == *site) {
                Some(standing) => view(standing),
                None => json!({ "site": site, "state": SiteState::default().word(), "reduced": false }),
            };
            view["points"] = json!(points);
            view
        })
        .collect();
    Ok(Json(json!({ "sites": views })))
}

pub(super) async fn set(
    State(edge): State<Shared>,
    person: Person,
    site: Result<Path<String>, PathRejection>,
    wanted: Result<Json<Wanted>, JsonRejection>,
) -> Result<Json<Value>, Error> {
    let (Path(site), Json(wanted)) = (site?, wanted?);
    let by = person.acts(Role::Operator, &wanted.by)?;
    let reason = plain("reason", &wanted.reason, 500)?;
    if reason.is_empty() {
        return Err(Error::bad("reason: say why, such as \"holiday\""));
    }
    let table = edge.web.board.points();
    if !table.iter().any(|(_, point)| *point.site == *site && !point.retired) {
        return Err(Error::no_such("site", &site));
    }
    let standing = SiteStanding { site: site.as_str().into(), state: wanted.state, since: clock::now(), by, reason };
    let note = |command| Note::SiteSet(SiteSet { command, standing });
    let answer = command(&edge, note).await?;
    let Answer::SiteSet(standing) = answer else { return Err(Error::no_such("site", &site)) };
    info!(%site, state = standing.state.word(), by = %standing.by, reason = %standing.reason, "state of the site set");
    Ok(Json(view(&standing)))
}

fn view(standing: &SiteStanding) -> Value {
    json!({
        "site": &*standing.site, "state": standing.state.word(), "since": standing.since.to_string(),
        "by": standing.by, "reason": standing.reason, "reduced": standing.state != SiteState::default(),
    })
}
