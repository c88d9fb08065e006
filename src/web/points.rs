//! `/api/v1/points`: what each point shows now, in table order, a page at a time.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::reading::Shown;
use super::{Error, Shared};
use crate::clock;
use crate::model::{Kind, Point, Range, Sample, Timestamp};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    site: Option<String>,
    kind: Option<String>,
    /// Id of the last point of the page before.
    after: Option<String>,
    most: Option<usize>,
}

/// A point and what it shows now.
#[derive(Serialize)]
pub(super) struct PointView<'a> {
    pub id: &'a str,
    pub site: &'a str,
    pub name: &'a str,
    pub kind: &'static str,
    pub place: &'a str,
    pub unit: &'a str,
    pub range: Option<Range>,
    pub period_s: f64,
    pub static_risk: u8,
    pub retired: bool,
    #[serde(flatten)]
    pub shown: Shown,
}

impl<'a> PointView<'a> {
    pub(super) fn of(point: &'a Point, sample: Option<&Sample>, now: Timestamp) -> Self {
        Self {
            id: &point.id,
            site: &point.site,
            name: &point.name,
            kind: point.kind.word(),
            place: &point.place,
            unit: &point.unit,
            range: point.range,
            period_s: point.period.as_secs_f64(),
            static_risk: point.static_risk,
            retired: point.retired,
            shown: Shown::of(point, sample, now),
        }
    }
}

/// `most` within what one answer may hold.
pub(super) fn page_length(most: Option<usize>, usual: usize, largest: usize) -> Result<usize, Error> {
    match most {
        None => Ok(usual),
        Some(most) if (1..=largest).contains(&most) => Ok(most),
        Some(most) => Err(Error::bad(format!("most: {most} is outside 1..={largest}"))),
    }
}

pub(super) async fn list(
    State(edge): State<Shared>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Value>, Error> {
    let Query(asked) = asked?;
    let most = page_length(asked.most, 1_000, 10_000)?;
    let kind = match &asked.kind {
        None => None,
        Some(word) => Some(Kind::from_word(word).ok_or_else(|| Error::bad(format!("kind: {word:?} is not a kind")))?),
    };
    let table = edge.web.board.points();
    let first = match &asked.after {
        None => 0,
        Some(id) => table.find(id).map(|index| index.at() + 1).ok_or_else(|| Error::no_such("point", id))?,
    };
    let (latest, now) = (edge.web.board.latest_all(), clock::now());
    let mut wanted = table.iter().skip(first).filter(|(_, point)| {
        !point.retired
            && asked.site.as_deref().is_none_or(|site| site == &*point.site)
            && kind.is_none_or(|kind| kind == point.kind)
    });
    let page: Vec<_> = wanted
        .by_ref()
        .take(most)
        .map(|(index, point)| PointView::of(point, latest.get(index.at()).and_then(Option::as_ref), now))
        .collect();
    let next = wanted.next().and(page.last()).map(|point| point.id);
    Ok(Json(json!({ "at": now.to_string(), "points": page, "next": next })))
}

pub(super) async fn one(
    State(edge): State<Shared>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, Error> {
    let Path(id) = id?;
    let table = edge.web.board.points();
    let missing = || Error::no_such("point", &id);
    let index = table.find(&id).ok_or_else(missing)?;
    let point = table.get(index).ok_or_else(missing)?;
    let now = clock::now();
    let sample = edge.web.board.latest(index, now).map(|latest| latest.sample);
    let mut view = json!(PointView::of(point, sample.as_ref(), now));
    view["limits"] = json!(point.limits);
    view["coordinates"] = json!(point.coordinates);
    view["resolution"] = json!(point.resolution);
    Ok(Json(view))
}
