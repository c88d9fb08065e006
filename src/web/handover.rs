//! `/api/v1/handover`: what a shift hands to the next one, as one list with a hash that both can sign.
//!
//! In come the open alarms, the open cases with what each needs next, everything that reduces protection and what
//! is left at each site, calibrations that are due, and messages that have reached nobody; out go JSON, or a text
//! to print in Chinese or English. The hash is SHA-256 over the list's JSON without white space, keys in order.

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

/// Cases and alarms that a list holds; more are counted.
const MOST: usize = 1_000;

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
    // Objects keep their keys in order, so that the same list has the same bytes.
    let sha256 = hex(&Sha256::digest(list.to_string()));
    if asked.format.as_deref() == Some("text") {
        let text = text(&list, &sha256, asked.lang.as_deref() != Some("en"));
        return Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response());
    }
    Ok(Json(json!({ "list": list, "sha256": sha256 })).into_response())
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
    let waiting: Vec<Value> = waiting
        .iter()
        .map(|row| {
            json!({
                "message": row.id, "channel": row.channel, "recipient": row.recipient, "attempts": row.attempts,
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
        "at": clock::now().to_string(), "alarms": alarms(edge), "cases": open,
        "reductions": protection["entries"], "sites": protection["sites"], "calibrations": due, "messages": waiting,
    }))
}

fn alarms(edge: &Edge) -> Vec<Value> {
    let mut open = edge.web.board.open_alarms();
    open.retain(|alarm| !alarm.is_injected());
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
fn text(list: &Value, sha256: &str, zh: bool) -> String {
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    let mut text = format!("{} {}\n", if zh { "交接班清单" } else { "Hand-over" }, word(&list["at"]));
    let parts: [(&str, &str, &str, &[&str]); 6] = [
        ("alarms", "未结束报警", "Open alarms", &["priority", "standing", "site", "subject", "title", "raised"]),
        ("cases", "未销号处置单", "Open cases", &["priority", "id", "stage", "site", "subject", "next"]),
        (
            "reductions",
            "保护削弱项",
            "What reduces protection",
            &["kind", "subject", "owner", "reason", "approval", "until"],
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
