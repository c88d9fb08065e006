//! `davy protection`: what reduces protection at the gateway that is running, and what is left at each site.

use std::process::ExitCode;

use serde_json::Value;

use super::Refusal;
use super::ask::{Gateway, ask, ask_text, text};

pub fn run(at: &Gateway, handover: bool, as_json: bool) -> Result<ExitCode, Refusal> {
    if handover {
        let format = if as_json { "json" } else { "text" };
        println!("{}", ask_text(at, &format!("/api/v1/handover?format={format}"))?);
        return Ok(ExitCode::SUCCESS);
    }
    let told = ask(at, "/api/v1/protection", None)?;
    if as_json {
        println!("{told}");
        return Ok(ExitCode::SUCCESS);
    }
    let list = |key: &str| told[key].as_array().cloned().unwrap_or_default();
    for site in list("sites") {
        println!(
            "{:<24} {:>5} %  {} of {} points",
            text(&site["site"]),
            site["percent"],
            site["unreduced"],
            site["points"]
        );
    }
    let entries = list("entries");
    if entries.is_empty() {
        println!("nothing reduces protection");
    }
    for entry in entries {
        let approval = entry["approval"].as_str().map_or_else(String::new, |by| format!(", approved by {by}"));
        let until = entry["until"].as_str().map_or_else(String::new, |until| format!(" until {until}"));
        let overdue = if entry["overdue"] == Value::Bool(true) { " (overdue)" } else { "" };
        println!(
            "{:<14} {}  {} points{until}{overdue}  {}{approval}: {}",
            text(&entry["kind"]),
            text(&entry["subject"]),
            entry["points"],
            text(&entry["owner"]),
            text(&entry["reason"])
        );
    }
    Ok(ExitCode::SUCCESS)
}
