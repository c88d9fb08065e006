//! `davy protection`: what reduces protection at the gateway that is running, and what is left at each site.
//! In comes the API's answer; out goes a line a site and a line for each entry of the list.

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
    for entry in &entries {
        println!("{}", line(entry));
    }
    Ok(ExitCode::SUCCESS)
}

/// What, where, since when and until when, whose, and why.
fn line(entry: &Value) -> String {
    let word = |key: &str, before: &str| entry[key].as_str().map_or_else(String::new, |word| format!("{before}{word}"));
    let sites: Vec<&str> = entry["sites"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let place = match (entry["points"].as_u64().unwrap_or(0), &sites[..]) {
        (0, []) => "everywhere".to_owned(),
        (0, sites) => sites.join(", "),
        (points, _) => format!("{points} points"),
    };
    let overdue = if entry["overdue"] == Value::Bool(true) { " (overdue)" } else { "" };
    format!(
        "{:<18} {}  {place}{}{}{overdue}{}{}: {}",
        text(&entry["kind"]),
        text(&entry["subject"]),
        word("since", " since "),
        word("until", " until "),
        word("owner", "  "),
        word("approval", ", approved by "),
        text(&entry["reason"])
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_says_what_where_until_when_whose_and_why() {
        let permit = json!({ "kind": "permit", "subject": "calibration mine.t1", "owner": "Li", "reason": "15 days",
            "approval": null, "since": "T0", "until": "T1", "overdue": true, "points": 1, "sites": ["mine"] });
        assert_eq!(
            line(&permit),
            "permit             calibration mine.t1  1 points since T0 until T1 (overdue)  Li: 15 days"
        );
        let siren = json!({ "kind": "siren_muted", "subject": "yard", "owner": null, "reason": "held",
            "approval": null, "since": "T0", "until": null, "overdue": false, "points": 0, "sites": ["mine", "plant"] });
        assert_eq!(line(&siren), "siren_muted        yard  mine, plant since T0: held");
    }
}
