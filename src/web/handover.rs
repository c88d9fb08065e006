//! `/api/v1/handover`: what a shift hands to the next one, as one list with a hash that both sign.
//!
//! In come the open alarms, the open cases with what each needs next, everything that reduces protection and what
//! is left at each site, calibrations that are due, and messages that have reached nobody; out go JSON, or a text
//! to print in Chinese or English. The hash is SHA-256 over the list's JSON without white space, keys in order. Two
//! lists with the same hash say the same: the moment is not in it, nor what changes by being looked at (the shift
//! change itself, presence checks, messages of the last minute). Lists that were shown are remembered for a while, so
//! that whoever signs an old one is told what has changed since.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::gate::hex;
use super::{Edge, Error, Shared, cases, permits, protection};
use crate::clock;
use crate::facts::WantedCases;
use crate::response::{DAILY, HANDOVER, QUESTION, UNSIGNED};

/// Cases and alarms that a list holds; more are counted.
const MOST: usize = 1_000;
/// Lists that are remembered, by their hashes.
const SHOWN: usize = 16;
/// A message that is on its way for longer than that has reached nobody.
const ON_ITS_WAY: std::time::Duration = std::time::Duration::from_secs(60);
/// Items of a part that are named when a list has changed.
const NAMED: usize = 3;

/// The lists that were shown last.
#[derive(Debug, Default)]
pub(super) struct Shown(Mutex<VecDeque<(String, Value)>>);

impl Shown {
    fn keep(&self, sha256: &str, list: &Value) {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shown.retain(|(known, _)| known != sha256);
        shown.truncate(SHOWN - 1);
        shown.push_front((sha256.to_owned(), list.clone()));
    }

    fn find(&self, sha256: &str) -> Option<Value> {
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shown.iter().find(|(known, _)| known == sha256).map(|(_, list)| list.clone())
    }
}

/// Is it the hash of the list as it is now? Else the answer names what has changed since it was shown.
pub(super) async fn is_current(edge: &Shared, sha256: &str) -> Result<(), Error> {
    let now = list(edge).await?;
    let hash = hash(&now);
    if hash == sha256 {
        return Ok(());
    }
    edge.shown.keep(&hash, &now);
    let changed = match edge.shown.find(sha256) {
        Some(old) => changes(&old, &now).join("; "),
        None => "这份清单未曾显示 / no such list was shown".to_owned(),
    };
    let message = format!(
        "清单已变化，请重新核对后签字 / the list is another one by now: go through it again, then sign {hash}: {changed}"
    );
    Err(Error::conflict("list_changed", message, None))
}

/// What is new and what is gone, part by part.
fn changes(old: &Value, new: &Value) -> Vec<String> {
    let rows = |list: &Value, key: &str| list[key].as_array().cloned().unwrap_or_default();
    let named = |row: &Value| {
        let name = ["id", "subject", "point", "title", "site"].iter().find_map(|key| row[*key].as_str());
        name.unwrap_or_default().to_owned()
    };
    let told = |sign: char, rows: Vec<&Value>| {
        let more = if rows.len() > NAMED { ", .." } else { "" };
        let names: Vec<String> = rows.iter().take(NAMED).map(|row| named(row)).collect();
        (!rows.is_empty()).then(|| format!(" {sign}{} ({}{more})", rows.len(), names.join(", ")))
    };
    let mut words = Vec::new();
    for key in ["alarms", "cases", "reductions", "sites", "calibrations", "messages"] {
        let (before, after) = (rows(old, key), rows(new, key));
        let added = told('+', after.iter().filter(|row| !before.contains(row)).collect());
        let gone = told('-', before.iter().filter(|row| !after.contains(row)).collect());
        if added.is_some() || gone.is_some() {
            words.push(format!("{key}{}{}", added.unwrap_or_default(), gone.unwrap_or_default()));
        }
    }
    words
}

/// Objects keep their keys in order, so that the same list has the same bytes.
fn hash(list: &Value) -> String {
    hex(&Sha256::digest(list.to_string()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// `text`: to print.
    format: Option<String>,
    lang: Option<String>,
}

pub(super) async fn show(
    State(edge): State<Shared>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Error> {
    let Query(asked) = asked?;
    let list = list(&edge).await?;
    let (sha256, at) = (hash(&list), clock::now().to_string());
    edge.shown.keep(&sha256, &list);
    if asked.format.as_deref() == Some("text") {
        let text = text(&list, &at, &sha256, asked.lang.as_deref() != Some("en"));
        return Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response());
    }
    Ok(Json(json!({ "at": at, "list": list, "sha256": sha256 })).into_response())
}

async fn list(edge: &Shared) -> Result<Value, Error> {
    let wanted = WantedCases { open: true, most: MOST, ..WantedCases::default() };
    let open = edge.read("reading the cases", move |web| web.cases.cases(&wanted)).await?;
    let policy = cases::policy(edge);
    let open: Vec<Value> = open
        .iter()
        .map(|case| {
            let whole = cases::view(case, &policy);
            let keys = ["id", "stage", "priority", "site", "subject", "title", "missing", "next", "due", "missed"];
            keys.iter().map(|key| ((*key).to_owned(), whole[*key].clone())).collect::<serde_json::Map<_, _>>().into()
        })
        .collect();
    let waiting = edge.read("reading the messages", |web| web.cases.undelivered(MOST)).await?;
    let late = clock::now() - ON_ITS_WAY;
    let waiting: Vec<Value> = waiting
        .iter()
        .filter(|row| row.created <= late && !passes(&row.published.change.alarm.rule))
        .map(|row| {
            json!({
                "message": row.id, "channel": row.channel, "recipient": row.recipient,
                "priority": row.published.change.alarm.priority.word(), "alarm": row.published.change.alarm.id,
                "title": row.published.change.alarm.title, "created": row.created.to_string(),
            })
        })
        .collect();
    let Json(protection) = protection::show(State(edge.clone())).await?;
    let Json(calibrations) = permits::calendar(State(edge.clone())).await?;
    let due = calibrations["calibrations"].as_array().cloned().unwrap_or_default();
    let soon = (clock::now() + std::time::Duration::from_secs(86_400)).to_string();
    let due: Vec<Value> =
        due.into_iter().filter(|row| row["overdue"] == true || row["due"].as_str() <= Some(soon.as_str())).collect();
    Ok(json!({
        "alarms": alarms(edge), "cases": open,
        "reductions": protection["entries"], "sites": protection["sites"], "calibrations": due, "messages": waiting,
    }))
}

/// Of the shift change itself, and questions: they come and go while people sign.
fn passes(rule: &str) -> bool {
    [HANDOVER, DAILY, QUESTION, UNSIGNED].contains(&rule)
}

fn alarms(edge: &Edge) -> Vec<Value> {
    let mut open = edge.web.board.open_alarms();
    open.retain(|alarm| !alarm.is_injected() && !passes(&alarm.rule));
    open.sort_by(|one, other| (one.priority, one.raised, &one.id).cmp(&(other.priority, other.raised, &other.id)));
    open.iter()
        .take(MOST)
        .map(|alarm| {
            json!({
                "id": alarm.id, "priority": alarm.priority.word(), "site": &*alarm.site, "subject": &*alarm.subject,
                "title": alarm.title, "standing": alarm.standing.word(), "raised": alarm.raised.to_string(),
            })
        })
        .collect()
}

/// To print and to sign: a heading a part, a line an item, the hash below.
fn text(list: &Value, at: &str, sha256: &str, zh: bool) -> String {
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    let mut text = format!("{} {}\n", if zh { "交接班清单" } else { "Hand-over" }, at);
    let parts: [(&str, &str, &str, &[&str]); 6] = [
        ("alarms", "未结束报警", "Open alarms", &["priority", "standing", "site", "subject", "title", "raised"]),
        ("cases", "未销号处置单", "Open cases", &["priority", "id", "stage", "site", "subject", "next"]),
        (
            "reductions",
            "保护削弱项",
            "What reduces protection",
            &["kind", "subject", "owner", "reason", "approval", "since", "until"],
        ),
        ("sites", "各站点保护率 %", "Protection of each site, %", &["site", "percent"]),
        ("calibrations", "到期与超期标校", "Calibrations due and overdue", &["point", "due", "overdue"]),
        (
            "messages",
            "未送达消息",
            "Messages that reached nobody",
            &["priority", "channel", "recipient", "title", "created"],
        ),
    ];
    for (key, chinese, english, columns) in parts {
        let rows = list[key].as_array().map_or(&[][..], Vec::as_slice);
        text.push_str(&format!("\n{} ({})\n", if zh { chinese } else { english }, rows.len()));
        for row in rows {
            let cells: Vec<String> =
                columns.iter().map(|column| &row[*column]).filter(|cell| !cell.is_null()).map(word).collect();
            text.push_str(&format!("  {}\n", cells.join("  ")));
        }
    }
    let signed =
        if zh { "交班人: ____________  接班人: ____________" } else { "From: ____________  To: ____________" };
    text.push_str(&format!("\n{signed}\nSHA-256 {sha256}\n"));
    text
}
