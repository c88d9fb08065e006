//! `/api/v1/figures`: how many alarms the people at the screen had to bear; the last day unless told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::extract::{Query, rejection::QueryRejection};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::samples::moment;
use super::{Edge, Error, Number, Shared};
use crate::clock;
use crate::engine::GATEWAY;
use crate::figures::{self, Figures, OnLine, Places, Report, TARGETS};
use crate::model::{PointTable, SiteId};
use crate::online::Minutes;

/// The alarms are drawn without the figures rather than late.
const DRAWN_WITHIN: Duration = Duration::from_millis(500);
/// The longest span that is asked for.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    site: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

pub(super) async fn show(
    State(edge): State<Shared>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Value>, Error> {
    let Query(asked) = asked?;
    let (from, to) = (moment("from", asked.from.as_deref())?, moment("to", asked.to.as_deref())?);
    let is_live = from.is_none() && to.is_none();
    let places = places(&edge);
    if let Some(site) =
        asked.site.as_deref().filter(|site| !site.is_empty() && places.sites.iter().all(|of| **of != **site))
    {
        return Err(Error::no_such("site", site));
    }
    let mut report = if is_live {
        live(&edge).await?
    } else {
        let to = to.unwrap_or_else(clock::now);
        let from = from.unwrap_or(to - figures::WINDOW);
        if from >= to || to.since(from) > LONGEST {
            return Err(Error::bad(format!("from: {from} to {to} is not a span of at most 366 days")));
        }
        // Asking for too much is the asker's mistake, not the gateway's.
        let told = edge.read("reading the figures", move |web| match web.figures.between(from, to, &places) {
            Err(error @ figures::Error::TooMany(_)) => Ok(Err(error)),
            told => told.map(Ok),
        });
        with_points(&edge, told.await?.map_err(|error| Error::bad(format!("from: {error}")))?).await?
    };
    if let Some(site) = &asked.site {
        report.total = report.sites.get(site.as_str()).cloned().unwrap_or_default();
        report.sites.retain(|of, _| **of == **site);
        report.positions.clear();
    }
    let mut view = json!(report);
    view["live"] = json!(is_live);
    view["targets"] = targets(&report.total).into();
    Ok(Json(view))
}

/// Each with what it is for, and whether it is missed; of what is not known neither.
fn targets(of: &Figures) -> Vec<Value> {
    let target = |target: &figures::Target| {
        let value = of.named(target.figure);
        json!({ "figure": target.figure, "at_most": target.at_most, "basis": target.basis, "value": value,
                "over": value.map(|value| value > target.at_most) })
    };
    TARGETS.iter().map(target).collect()
}

/// With what is known of points: who was on line, and how many of them have an alarm that stands.
async fn with_points(edge: &Edge, mut report: Report) -> Result<Report, Error> {
    let (from, to) = (report.from, report.to);
    let minutes = edge.read("reading the on-line rate", move |web| web.online.between(from, to)).await?;
    let mut points: BTreeMap<SiteId, usize> = BTreeMap::new();
    for point in edge.web.board.points().list().iter().filter(|point| !point.retired) {
        *points.entry(point.site.clone()).or_default() += 1;
    }
    let (mut all, mut total) = (0, Minutes::default());
    for (site, figures) in &mut report.sites {
        let (count, of) = (points.get(site).copied().unwrap_or(0), minutes.get(site).copied().unwrap_or_default());
        all += count;
        total.add(of);
        (figures.stale.share, figures.online) = (standing(figures.stale.count, count), on_line(of));
    }
    report.total.stale.share = standing(report.total.stale.count, all);
    report.total.online = on_line(total);
    Ok(report)
}

fn standing(stale: usize, points: usize) -> Option<f64> {
    (points > 0).then(|| stale as f64 / points as f64)
}

fn on_line(of: Minutes) -> Option<OnLine> {
    let share = |part: u64| part as f64 / of.required as f64;
    (of.required > 0).then(|| OnLine { required_minutes: of.required, live: share(of.live), rate: share(of.good) })
}

/// Sites and positions as they are configured now.
fn places(edge: &Edge) -> Places {
    let places = Places::of_sites(sites(&edge.web.board.points()));
    match edge.web.board.setup() {
        Some(setup) => places.with_positions(&setup.duty),
        None => places,
    }
}

/// Sites with points in service, and the gateway itself.
fn sites(table: &PointTable) -> Vec<Arc<str>> {
    let mut sites: Vec<Arc<str>> =
        table.list().iter().filter(|point| !point.retired).map(|point| point.site.clone()).collect();
    sites.push(GATEWAY.into());
    sites.sort_unstable();
    sites.dedup();
    sites
}

pub(super) async fn live(edge: &Edge) -> Result<Report, Error> {
    let places = places(edge);
    let report = edge.read("reading the figures", move |web| web.figures.live(clock::now(), &places)).await?;
    with_points(edge, report).await
}

/// For the page: the figures of a site or of all, if they can be had at once.
pub(super) async fn strip(edge: &Edge, site: Option<&str>) -> Option<Figures> {
    let mut report = timeout(DRAWN_WITHIN, live(edge)).await.ok()?.ok()?;
    match site {
        Some(site) => report.sites.remove(site),
        None => Some(report.total),
    }
}

/// For `/metrics`: one series a site and figure. A trouble with facts leaves them out; the log says why.
pub(super) async fn numbers(edge: &Edge) -> Vec<Number> {
    let Ok(report) = live(edge).await else { return Vec::new() };
    type Figure = (&'static str, &'static str, fn(&Figures) -> Option<f64>);
    let figures: [Figure; 20] = [
        ("alarms_raised_10m", "alarms raised in the last ten minutes", |of| Some(of.per_10_minutes.now as f64)),
        ("alarms_raised_24h", "alarms raised in the last day", |of| Some(of.raised as f64)),
        ("alarm_episodes_24h", "alarms of the last day, repeats within ten minutes counted once", |of| {
            Some(of.episodes as f64)
        }),
        ("alarm_flood", "1 during an alarm flood", |of| Some(f64::from(u8::from(of.floods.under_way)))),
        ("alarms_chattering_24h", "sources that chattered in the last day", |of| Some(of.chattering.sources as f64)),
        ("alarm_flood_ratio_24h", "share of the last day in alarm floods", |of| Some(of.floods.share)),
        ("alarms_stale", "alarms active for more than a day", |of| Some(of.stale.count as f64)),
        ("alarms_stale_ratio", "alarms active for more than a day, for each point in service", |of| of.stale.share),
        ("points_live_ratio_24h", "share of the last day for which points were heard within their periods", |of| {
            of.online.map(|of| of.live)
        }),
        ("points_online_ratio_24h", "on-line rate of the last day: the share for which values were good", |of| {
            of.online.map(|of| of.rate)
        }),
        ("alarms_unapproved_24h", "alarms that one person shelved in the last day, approved by nobody", |of| {
            of.unapproved.map(|of| of.count as f64)
        }),
        ("alarms_unacknowledged", "alarms that nobody has seen", |of| Some(of.unacknowledged as f64)),
        ("alarm_acknowledge_seconds_p95", "95th percentile of the last day, from raised to acknowledged", |of| {
            of.to_acknowledge.p95
        }),
        ("alarm_acknowledge_seconds_median", "median of the last day, from raised to acknowledged", |of| {
            of.to_acknowledge.median
        }),
        ("case_answer_seconds_median", "median of the last day, from a case to the first word with its site", |of| {
            of.to_answer.median
        }),
        ("case_close_seconds_median", "median of the cases of the last day that are closed", |of| of.to_close.median),
        (
            "case_answer_seconds_p95",
            "95th percentile of the last day, from a case to the first word with its site",
            |of| of.to_answer.p95,
        ),
        ("case_close_seconds_p95", "95th percentile of the cases of the last day that are closed", |of| {
            of.to_close.p95
        }),
        (
            "alarms_escalated_ratio_24h",
            "share of the alarms of the last day that were called about at a second level",
            |of| of.escalated,
        ),
        ("messages_delivered_ratio_24h", "share of the messages of the last day that were delivered", |of| {
            of.deliveries.and_then(|of| of.rate)
        }),
    ];
    let of_positions: [Figure; 10] = [
        ("position_alarms_raised_10m", "alarms that a position got in the last ten minutes", |of| {
            Some(of.per_10_minutes.now as f64)
        }),
        ("position_alarms_raised_24h", "alarms that a position got in the last day", |of| Some(of.raised as f64)),
        ("position_alarms_peak_10m", "most alarms that a position got in any ten minutes of the last day", |of| {
            Some(of.per_10_minutes.peak as f64)
        }),
        ("position_alarm_flood", "1 during an alarm flood at a position", |of| {
            Some(f64::from(u8::from(of.floods.under_way)))
        }),
        ("position_alarms_unacknowledged", "alarms of a position that nobody has seen", |of| {
            Some(of.unacknowledged as f64)
        }),
        ("position_alarm_acknowledge_seconds_median", "median of the last day at a position", |of| {
            of.to_acknowledge.median
        }),
        ("position_case_answer_seconds_median", "median of the last day, to the first word with the site", |of| {
            of.to_answer.median
        }),
        ("position_case_close_seconds_median", "median of a position's cases of the last day that are closed", |of| {
            of.to_close.median
        }),
        (
            "position_messages_delivered_ratio_24h",
            "share of the messages about a position's alarms that arrived",
            |of| of.deliveries.and_then(|of| of.rate),
        ),
        ("position_alarms_escalated_ratio_24h", "share of a position's alarms that went up to a second level", |of| {
            of.escalated
        }),
    ];
    let mut numbers = Vec::new();
    for (name, help, figure) in of_positions {
        for (position, of) in &report.positions {
            if let Some(value) = figure(of) {
                let labels = vec![("position", position.to_string())];
                numbers.push(Number { name, help, labels, value, counter: false });
            }
        }
    }
    for (name, help, figure) in figures {
        for (site, of) in &report.sites {
            if let Some(value) = figure(of) {
                numbers.push(Number { name, help, labels: vec![("site", site.to_string())], value, counter: false });
            }
        }
    }
    numbers.extend(mix(&report));
    numbers.extend(top(&report.total));
    if let Some(unapproved) = report.total.unapproved {
        let help = "rule files that were edited on the disk in the last day, approved by nobody";
        let (name, value) = ("rules_unapproved_24h", unapproved.rules as f64);
        numbers.push(Number { name, help, labels: Vec::new(), value, counter: false });
    }
    numbers
}

/// Four series a site.
fn mix(report: &Report) -> Vec<Number> {
    let (name, help) = ("alarms_priority_ratio_24h", "share of each priority of the alarms of the last day");
    let of_site = |(site, of): (&Arc<str>, &Figures)| -> Vec<Number> {
        let labels = |share: &figures::Share| vec![("site", site.to_string()), ("priority", share.priority.to_owned())];
        let number = |share| Number { name, help, labels: labels(share), value: share.share, counter: false };
        of.priorities.iter().map(number).collect()
    };
    report.sites.iter().flat_map(of_site).collect()
}

/// Ten series at the most; which ones changes with what alarms.
fn top(of: &Figures) -> Vec<Number> {
    let (name, help) = ("alarms_top_24h", "alarms of the last day of the ten sources that alarmed most");
    let labels = |top: &figures::Top| {
        vec![("site", top.site.to_string()), ("rule", top.rule.to_string()), ("point", top.subject.to_string())]
    };
    let number = |top| Number { name, help, labels: labels(top), value: top.raised as f64, counter: false };
    of.top.list.iter().map(number).collect()
}
