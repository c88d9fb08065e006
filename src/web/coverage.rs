//! `/api/v1/coverage`: the share of hazard units of which everything required is measured now, and what is
//! missing where it is not.

use axum::Json;
use axum::extract::State;
use axum::extract::{Query, rejection::QueryRejection};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Edge, Error, Shared};
use crate::clock;
use crate::coverage::{Survey, survey};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    site: Option<String>,
}

pub(super) fn now(edge: &Edge) -> Survey {
    let board = &edge.web.board;
    survey(&edge.web.coverage, &board.points(), &board.latest_all(), clock::now())
}

pub(super) async fn show(
    State(edge): State<Shared>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Value>, Error> {
    let Query(asked) = asked?;
    let at = clock::now();
    let mut survey = now(&edge);
    if let Some(site) = &asked.site {
        survey.sites.retain(|found| found.site == *site);
        let found = survey.sites.first().ok_or_else(|| Error::no_such("site", site))?;
        survey.total = found.of.clone();
    }
    let mut view = json!(survey);
    view["at"] = json!(at.to_string());
    Ok(Json(view))
}
