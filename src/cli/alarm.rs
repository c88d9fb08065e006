//! `davy alarm`: list alarms, acknowledge, shelve, reset and take them out of service, at the gateway that runs.
//!
//! An alarm is named by its id, or, raised or not, by point and rule: `mine.t1/methane-face`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Refusal;
use super::ask::{Gateway, ask, text};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show open alarms; with --aside what is shelved, suppressed or out of service.
    List {
        #[arg(long)]
        aside: bool,
        /// The API's answer as it is.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        at: Gateway,
    },
    /// I saw it: as it stands now, unless it has come up more often than --raises.
    Ack {
        id: String,
        /// The count that was seen; without it the one that is shown now.
        #[arg(long)]
        raises: Option<u64>,
        #[arg(long, default_value = "")]
        comment: String,
        #[command(flatten)]
        who: Who,
    },
    /// Call nobody for a while; 8h at most.
    Shelve {
        /// Id of the alarm, or POINT/RULE.
        alarm: String,
        #[arg(long = "for", default_value = "1h")]
        length: String,
        #[arg(long)]
        reason: String,
        /// End it when the condition is next over.
        #[arg(long)]
        once: bool,
        #[command(flatten)]
        who: Who,
    },
    /// Call again.
    Unshelve {
        alarm: String,
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        who: Who,
    },
    /// Let go of a latched alarm whose condition is over.
    Reset {
        id: String,
        #[arg(long, default_value = "")]
        comment: String,
        #[command(flatten)]
        who: Who,
    },
    /// With the approval of a second person, 30d at most; --return ends it.
    OutOfService {
        alarm: String,
        #[arg(long = "for", default_value = "1d")]
        length: String,
        #[arg(long)]
        reason: String,
        #[arg(long, default_value = "")]
        approved_by: String,
        #[arg(long = "return")]
        back: bool,
        #[command(flatten)]
        who: Who,
    },
}

#[derive(Debug, Args)]
pub struct Who {
    /// Who does it; not needed where the token says who you are.
    #[arg(long, default_value = "")]
    by: String,
    #[command(flatten)]
    at: Gateway,
}

pub fn run(command: &Command) -> Result<ExitCode, Refusal> {
    match command {
        Command::List { aside, json, at } => return list(at, *aside, *json),
        Command::Ack { id, raises, comment, who } => {
            let seen = ask(&who.at, &format!("/api/v1/alarms/{id}"), None)?;
            let raises = raises.map_or_else(|| seen["raises"].clone(), Value::from);
            let body = json!({ "raises": raises, "by": who.by, "comment": comment, "standing": seen["standing"],
                "priority": seen["priority"], "level": seen["level"] });
            told(&ask(&who.at, &format!("/api/v1/alarms/{id}/ack"), Some(body))?);
        }
        Command::Shelve { alarm, length, reason, once, who } => {
            let body = json!({ "for": length, "reason": reason, "once": once, "by": who.by });
            until(&ask(&who.at, &path(alarm, "shelve"), Some(body))?);
        }
        Command::Unshelve { alarm, reason, who } => {
            let body = json!({ "reason": reason, "by": who.by });
            let fact = ask(&who.at, &path(alarm, "unshelve"), Some(body))?;
            println!("{} ended", text(&fact["id"]));
        }
        Command::Reset { id, comment, who } => {
            let body = json!({ "by": who.by, "comment": comment });
            told(&ask(&who.at, &format!("/api/v1/alarms/{id}/reset"), Some(body))?);
        }
        Command::OutOfService { alarm, reason, back: true, who, .. } => {
            let body = json!({ "reason": reason, "by": who.by });
            let fact = ask(&who.at, &path(alarm, "return-to-service"), Some(body))?;
            println!("{} ended", text(&fact["id"]));
        }
        Command::OutOfService { alarm, length, reason, approved_by, back: false, who } => {
            let body = json!({ "for": length, "reason": reason, "by": who.by, "approved_by": approved_by });
            until(&ask(&who.at, &path(alarm, "out-of-service"), Some(body))?);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn path(alarm: &str, act: &str) -> String {
    match alarm.split_once('/') {
        Some((point, rule)) => format!("/api/v1/points/{point}/rules/{rule}/{act}"),
        None => format!("/api/v1/alarms/{alarm}/{act}"),
    }
}

fn told(alarm: &Value) {
    println!(
        "{} {} {}: {}",
        text(&alarm["id"]),
        text(&alarm["rule"]),
        text(&alarm["subject"]),
        text(&alarm["standing"])
    );
}

fn until(fact: &Value) {
    let (id, rule, subject) = (text(&fact["id"]), text(&fact["rule"]), text(&fact["subject"]));
    println!("{id} {} {rule} {subject} until {}", text(&fact["way"]), text(&fact["until"]));
}

fn list(at: &Gateway, aside: bool, as_json: bool) -> Result<ExitCode, Refusal> {
    let path = if aside { "/api/v1/asides" } else { "/api/v1/alarms?open=true&most=1000" };
    let told = ask(at, path, None)?;
    if as_json {
        println!("{told}");
        return Ok(ExitCode::SUCCESS);
    }
    for fact in told["asides"].as_array().into_iter().flatten() {
        println!(
            "{:<26} {:<14} {} {}  until {}  {}: {}",
            text(&fact["id"]),
            text(&fact["way"]),
            text(&fact["rule"]),
            text(&fact["subject"]),
            text(&fact["until"]),
            text(&fact["by"]),
            text(&fact["reason"])
        );
    }
    for alarm in told["alarms"].as_array().into_iter().flatten() {
        println!(
            "{} {} {:<24} {} {} {}  {}  x{}",
            text(&alarm["id"]),
            text(&alarm["priority"]),
            text(&alarm["standing"]),
            text(&alarm["raised"]),
            text(&alarm["subject"]),
            text(&alarm["rule"]),
            text(&alarm["title"]),
            alarm["raises"]
        );
    }
    Ok(ExitCode::SUCCESS)
}
