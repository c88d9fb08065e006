//! `/api/v1/sites`: what sites are doing; `PUT /api/v1/sites/{site}/state` says so.
//!
//! A state names the person and the reason, and is answered when it is durable and in force. Any state but
//! "producing" may take rules out of force that ask for it: a second person approves it, it has an end at which the
//! site is producing again by itself, and it is listed as what it is, less protection. The engine decides.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::info;

use super::alarms::{command, plain};
use super::permits::named;
use super::users::{Person, Role};
use super::{Error, Shared};
use crate::clock;
use crate::facts::Answer;
use crate::journal::{Note, SiteSet};
use crate::model::{Calendar, SiteStanding, SiteState, parse_duration};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    state: SiteState,
    #[serde(default)]
    by: String,
    reason: String,
    #[serde(default)]
    approved_by: String,
    /// How long, such as "3d".
    #[serde(rename = "for")]
    length: Option<String>,
}

pub(super) async fn list(State(edge): State<Shared>) -> Result<Json<Value>, Error> {
    let standings = edge.read("reading the sites", |web| web.permits.sites()).await?;
    let table = edge.web.board.points();
    let mut points: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, point) in table.iter().filter(|(_, point)| !point.retired) {
        *points.entry(&point.site).or_default() += 1;
    }
    let longest = longest_stop(&edge);
    let views: Vec<Value> = points
        .into_iter()
        .map(|(site, points)| {
            let mut view = match standings.iter().find(|standing| *standing.site == *site) {
                Some(standing) => view(standing, longest),
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
    let (by, approved_by) = if wanted.state.reduces() {
        // Whoever approves sends it with their own token, as an exemption.
        if wanted.approved_by.is_empty() && person.0.is_none() {
            return Err(Error::bad("approved_by: say who approves it, another person than in by"));
        }
        let approved_by = person.acts(Role::SafetyApprover, &wanted.approved_by)?;
        (named("by", &wanted.by)?, approved_by)
    } else {
        (person.acts(Role::Operator, &wanted.by)?, String::new())
    };
    let since = clock::now();
    let until = match (&wanted.length, wanted.state.reduces()) {
        (Some(text), true) => Some(since + parse_duration(text).map_err(|error| Error::bad(format!("for: {error}")))?),
        (None, true) => {
            return Err(Error::bad("for: say for how long, such as \"3d\"; then the site is producing again"));
        }
        (_, false) => None,
    };
    let reason = plain("reason", &wanted.reason, 500)?;
    if reason.is_empty() {
        return Err(Error::bad("reason: say why, such as \"holiday\""));
    }
    let table = edge.web.board.points();
    if !table.iter().any(|(_, point)| *point.site == *site && !point.retired) {
        return Err(Error::no_such("site", &site));
    }
    let (name, state) = (site.as_str().into(), wanted.state);
    let standing = SiteStanding { site: name, state, since, by, reason, approved_by, until };
    let note = |command| Note::SiteSet(SiteSet { command, standing });
    let answer = command(&edge, note).await?;
    if let Answer::SiteRefused(words) = answer {
        return Err(Error::refused(words));
    }
    let Answer::SiteSet(standing) = answer else { return Err(Error::no_such("site", &site)) };
    info!(%site, state = standing.state.word(), by = %standing.by, reason = %standing.reason, "state of the site set");
    Ok(Json(view(&standing, longest_stop(&edge))))
}

fn longest_stop(edge: &Shared) -> Duration {
    edge.web.board.setup().map_or_else(Calendar::default, |setup| setup.calendar.clone()).longest_stop
}

fn view(standing: &SiteStanding, longest: Duration) -> Value {
    let approved_by = (!standing.approved_by.is_empty()).then_some(&standing.approved_by);
    json!({
        "site": &*standing.site, "state": standing.state.word(), "since": standing.since.to_string(),
        "by": standing.by, "reason": standing.reason, "reduced": standing.state.reduces(), "approved_by": approved_by,
        "until": standing.ends(longest).map(|until| until.to_string()),
    })
}
