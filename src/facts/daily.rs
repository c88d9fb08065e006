//! The daily list of P4 alarms in a few lines for a message: Chinese and English.
//!
//! In comes the step with the alarms that it may name and how many there are; out go the names, the oldest first, and
//! what to do about them.

use rusqlite::{OptionalExtension, Transaction};

use crate::alarm::Alarm;
use crate::response::Step;

pub(super) fn list(change: &Transaction<'_>, step: &Step) -> Result<(String, String), rusqlite::Error> {
    let mut select = change.prepare_cached("SELECT body FROM alarms WHERE id = ?1")?;
    let mut named = Vec::new();
    for id in &step.alarms {
        let body: Option<String> = select.query_row([id.as_str()], |row| row.get(0)).optional()?;
        // What cannot be read is left out: the message goes, with what there is.
        named.extend(body.and_then(|body| serde_json::from_str::<Alarm>(&body).ok()));
    }
    let part = |title: &str, zh: bool| match title.split_once(" / ") {
        Some((left, right)) => if zh { left } else { right }.to_owned(),
        None => title.to_owned(),
    };
    let text = |zh: bool| {
        let names: Vec<String> =
            named.iter().map(|alarm| format!("{} {}", alarm.subject, part(&alarm.title, zh))).collect();
        let left = step.count as usize - named.len().min(step.count as usize);
        match (zh, left) {
            (true, 0) => format!("P4 未结束 {} 条：{}", step.count, names.join("；")),
            (true, left) => format!("P4 未结束 {} 条：{}；另 {left} 条见报警列表", step.count, names.join("；")),
            (false, 0) => format!("{} of P4 open: {}", step.count, names.join("; ")),
            (false, left) => {
                format!("{} of P4 open: {}; {left} more in the list of alarms", step.count, names.join("; "))
            }
        }
    };
    Ok((text(true), text(false)))
}
