//! `/metrics`: figures of the gateway in OpenMetrics text, gathered when they are asked for.
//!
//! In come the loss ledger, the board, the edge itself and whatever the gateway's `Numbers` adds (journal,
//! facts, engine); out goes one text. Nothing is counted here that is not counted where it happens.

use std::fmt;

use axum::extract::State;
use axum::http::{HeaderName, header};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;

use super::{Edge, Error, Number, Shared};
use crate::alarm::{Priority, Standing};
use crate::board::{Freshness, freshness};
use crate::clock;

const OPEN_METRICS: [(HeaderName, &str); 1] =
    [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];

pub(super) async fn scrape(State(edge): State<Shared>) -> Result<([(HeaderName, &'static str); 1], String), Error> {
    let mut numbers = ledger(&edge);
    numbers.extend(alarms(&edge));
    numbers.extend(points(&edge));
    numbers.extend(coverage(&edge));
    numbers.extend(super::figures::numbers(&edge).await);
    numbers.extend(super::feeds::numbers(&edge));
    numbers.extend(own(&edge));
    numbers.extend(edge.web.numbers.numbers());
    let mut registry = Registry::with_prefix("davy");
    registry.register_collector(Box::new(Gathered(numbers)));
    let mut out = String::new();
    text::encode(&mut out, &registry).map_err(|cause| Error::inside("writing the metrics", &cause))?;
    Ok((OPEN_METRICS, out))
}

fn gauge(name: &'static str, help: &'static str, labels: Vec<(&'static str, String)>, value: f64) -> Number {
    Number { name, help, labels, value, counter: false }
}

fn ledger(edge: &Edge) -> Vec<Number> {
    let mut numbers = Vec::new();
    for account in edge.web.ledger.accounts() {
        numbers.extend(account.seen().map(|(fate, count)| Number {
            name: "samples",
            help: "samples and messages by what became of them: the loss ledger",
            labels: vec![("source", account.name.clone()), ("fate", fate.word().to_owned())],
            value: count as f64,
            counter: true,
        }));
    }
    numbers
}

fn alarms(edge: &Edge) -> Vec<Number> {
    let mut open = edge.web.board.open_alarms();
    open.retain(|alarm| !alarm.is_injected());
    let mut numbers = Vec::new();
    for priority in Priority::ALL {
        for standing in Standing::ALL.into_iter().filter(|standing| *standing != Standing::Normal) {
            let count = open.iter().filter(|alarm| alarm.priority == priority && alarm.standing == standing).count();
            let labels = vec![("priority", priority.word().to_owned()), ("standing", standing.word().to_owned())];
            numbers.push(gauge("open_alarms", "alarms that are not normal", labels, count as f64));
        }
    }
    numbers
}

fn points(edge: &Edge) -> Vec<Number> {
    let (table, latest, now) = (edge.web.board.points(), edge.web.board.latest_all(), clock::now());
    let [mut waiting, mut live, mut stale, mut bad] = [0_u32; 4];
    for (index, point) in table.iter().filter(|(_, point)| !point.retired) {
        let sample = latest.get(index.at()).and_then(Option::as_ref);
        match freshness(point, sample, now) {
            Freshness::Waiting => waiting += 1,
            Freshness::Live => live += 1,
            Freshness::Stale => stale += 1,
        }
        bad += u32::from(sample.is_some_and(|sample| !sample.quality.usable()));
    }
    let counted = [("waiting", waiting), ("live", live), ("stale", stale)];
    let mut numbers: Vec<_> = counted
        .into_iter()
        .map(|(word, count)| {
            gauge("points", "points in service by freshness", vec![("freshness", word.to_owned())], f64::from(count))
        })
        .collect();
    numbers.push(gauge("points_bad", "points whose newest sample is bad", Vec::new(), f64::from(bad)));
    numbers.push(gauge(
        "last_change",
        "number of the newest alarm change that was published",
        Vec::new(),
        edge.web.board.last_change() as f64,
    ));
    numbers
}

/// Per site; units one by one are in the API.
fn coverage(edge: &Edge) -> Vec<Number> {
    let survey = super::coverage::now(edge);
    let mut numbers = Vec::new();
    for site in survey.sites.iter().filter(|site| site.of.units > 0) {
        let uncovered = site.of.units - site.of.covered;
        for (word, count) in [("covered", site.of.covered), ("not_covered", uncovered)] {
            let labels = vec![("site", site.site.clone()), ("state", word.to_owned())];
            numbers.push(gauge("hazard_units", "hazard units by coverage", labels, count as f64));
        }
    }
    if let Some(rate) = survey.total.rate {
        let help = "share of hazard units of which every required measurement is good now";
        numbers.push(gauge("coverage_ratio", help, Vec::new(), rate));
    }
    numbers
}

fn own(edge: &Edge) -> Vec<Number> {
    let streams = edge.max_streams - edge.streams.available_permits();
    let mut numbers = vec![
        gauge("web_streams", "open event streams", Vec::new(), streams as f64),
        gauge(
            "build_info",
            "version of the running gateway",
            vec![("version", env!("CARGO_PKG_VERSION").to_owned())],
            1.0,
        ),
    ];
    if let Some(bytes) = resident_bytes() {
        numbers.push(gauge("resident_memory_bytes", "memory of the process that is in RAM", Vec::new(), bytes));
    }
    numbers
}

/// From `/proc`; absent on systems without it.
fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0)
}

/// Figures in the order in which they are written; those of one name stand together.
#[derive(Debug)]
struct Gathered(Vec<Number>);

impl Collector for Gathered {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        for family in self.0.chunk_by(|one, next| one.name == next.name) {
            let Some(first) = family.first() else { continue };
            let kind = if first.counter { MetricType::Counter } else { MetricType::Gauge };
            let mut descriptor = encoder.encode_descriptor(first.name, first.help, None, kind)?;
            for number in family {
                if number.labels.is_empty() {
                    write(&mut descriptor, number)?;
                } else {
                    write(&mut descriptor.encode_family(&number.labels)?, number)?;
                }
            }
        }
        Ok(())
    }
}

fn write(encoder: &mut MetricEncoder, number: &Number) -> fmt::Result {
    if number.counter {
        encoder.encode_counter(&number.value, None::<&Exemplar<Vec<(&'static str, String)>, f64>>)
    } else {
        encoder.encode_gauge(&number.value)
    }
}
