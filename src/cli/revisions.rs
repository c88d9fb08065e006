//! `davy rules draft`, `approve`, `rollback` and their like: the life of a change, at the gateway that is running.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Refusal;
use super::ask::{Gateway, ask, text};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Hand in a new text of a rule file; it is checked at once, and in force when somebody else approves it.
    Draft {
        /// The new text, a file anywhere.
        file: PathBuf,
        /// Which rule file it is to be, relative to the rules folder: coal/methane.rhai.
        #[arg(long)]
        path: String,
        /// The rule's samples; without them those beside the rule file are run.
        #[arg(long)]
        samples: Option<PathBuf>,
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        who: Who,
    },
    /// Show drafts, the newest first.
    Drafts {
        /// Only open, approved, active or withdrawn ones.
        #[arg(long)]
        state: Option<String>,
        /// The API's answer as it is.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        at: Gateway,
    },
    /// Print the text of a draft, or of a version by its number.
    Show {
        id: String,
        /// The API's answer as it is.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        at: Gateway,
    },
    /// What a draft or a version changes.
    Diff {
        id: String,
        #[command(flatten)]
        at: Gateway,
    },
    /// Approve a draft of somebody else; it is in force at once, or from --from on.
    Approve {
        id: String,
        #[arg(long, default_value = "")]
        comment: String,
        /// RFC 3339, such as 2026-11-24T06:00:00+08:00.
        #[arg(long)]
        from: Option<String>,
        /// Although an alarm of priority P1 is open; the comment says why.
        #[arg(long = "override")]
        overrides: bool,
        #[command(flatten)]
        who: Who,
    },
    /// Put an approved draft in force that waits.
    Activate {
        id: String,
        #[arg(long, default_value = "")]
        comment: String,
        #[arg(long = "override")]
        overrides: bool,
        #[command(flatten)]
        who: Who,
    },
    /// Take a draft back that is not in force.
    Withdraw {
        id: String,
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        who: Who,
    },
    /// Put an earlier version of a rule file in force again.
    Rollback {
        /// coal/methane.rhai
        path: String,
        /// Number of the version; `davy rules versions` shows it.
        #[arg(long)]
        to: i64,
        #[arg(long)]
        reason: String,
        #[arg(long = "override")]
        overrides: bool,
        #[command(flatten)]
        who: Who,
    },
    /// Let in what waits because an alarm of priority P1 is open.
    Override {
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        who: Who,
    },
    /// Show versions, the newest first; of one file, if it is named.
    Versions {
        path: Option<String>,
        /// The API's answer as it is.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        at: Gateway,
    },
}

#[derive(Debug, Args)]
pub struct Who {
    /// Your name; not needed where the token says who you are.
    #[arg(long, default_value = "")]
    by: String,
    #[command(flatten)]
    at: Gateway,
}

const DRAFTS: &str = "/api/v1/rules/drafts";

pub fn run(command: &Command) -> Result<ExitCode, Refusal> {
    match command {
        Command::Draft { file, path, samples, reason, who } => {
            let samples = samples.as_deref().map(read).transpose()?;
            let body = json!({ "path": path, "text": read(file)?, "samples": samples, "by": who.by, "reason": reason });
            return Ok(drafted(&ask(&who.at, DRAFTS, Some(body))?));
        }
        Command::Drafts { state, json, at } => {
            let query = state.as_ref().map_or_else(String::new, |state| format!("?state={state}"));
            list(&ask(at, &format!("{DRAFTS}{query}"), None)?, "drafts", *json, draft_line);
        }
        Command::Show { id, json, at } => {
            let told = ask(at, &place(id), None)?;
            if *json { println!("{told}") } else { print!("{}", text(&told["text"])) }
        }
        Command::Diff { id, at } => print!("{}", text(&ask(at, &place(id), None)?["diff"])),
        Command::Approve { id, comment, from, overrides, who } => {
            let body = json!({ "by": who.by, "comment": comment, "at": from, "override": overrides });
            approved(&ask(&who.at, &format!("{DRAFTS}/{id}/approve"), Some(body))?);
        }
        Command::Activate { id, comment, overrides, who } => {
            let body = json!({ "by": who.by, "comment": comment, "override": overrides });
            approved(&ask(&who.at, &format!("{DRAFTS}/{id}/activate"), Some(body))?);
        }
        Command::Withdraw { id, reason, who } => {
            let body = json!({ "by": who.by, "reason": reason });
            approved(&ask(&who.at, &format!("{DRAFTS}/{id}/withdraw"), Some(body))?);
        }
        Command::Rollback { path, to, reason, overrides, who } => {
            let body = json!({ "path": path, "to": to, "by": who.by, "reason": reason, "override": overrides });
            let told = ask(&who.at, "/api/v1/rules/rollback", Some(body))?;
            println!("{path} is as it was in version {to}, now version {}", told["version"]["number"]);
            kept(&told);
        }
        Command::Override { reason, who } => {
            ask(&who.at, "/api/v1/rules/override", Some(json!({ "by": who.by, "reason": reason })))?;
            println!("what waited is in force");
        }
        Command::Versions { path, json, at } => {
            let query = path.as_ref().map_or_else(String::new, |path| format!("?path={}", escaped(path)));
            list(&ask(at, &format!("/api/v1/rules/versions{query}"), None)?, "versions", *json, version_line);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> Result<String, Refusal> {
    std::fs::read_to_string(path).map_err(|error| Refusal(format!("{}: cannot be read: {error}", path.display())))
}

/// Versions have numbers, drafts have names.
fn place(id: &str) -> String {
    match id.parse::<i64>() {
        Ok(number) => format!("/api/v1/rules/versions/{number}"),
        Err(_) => format!("{DRAFTS}/{id}"),
    }
}

/// For a query: everything but plain letters as its bytes.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn list(told: &Value, what: &str, as_json: bool, line: impl Fn(&Value) -> String) {
    if as_json {
        println!("{told}");
        return;
    }
    for one in told[what].as_array().into_iter().flatten() {
        println!("{}", line(one));
    }
}

fn draft_line(draft: &Value) -> String {
    let checks = if draft["can_be_approved"] == true || draft["state"] != "open" { "" } else { "  has problems" };
    format!(
        "{:<24} {:<10} {}  {}  {}: {}{checks}",
        text(&draft["id"]),
        text(&draft["state"]),
        text(&draft["at"]),
        text(&draft["path"]),
        text(&draft["by"]),
        text(&draft["reason"])
    )
}

fn version_line(version: &Value) -> String {
    let approver = version["approver"].as_str().map_or_else(String::new, |by| format!(", approved by {by}"));
    format!(
        "{:>5}  {}  {:<8} {}  {}{approver}: {}",
        version["number"].to_string(),
        text(&version["at"]),
        text(&version["origin"]),
        text(&version["path"]),
        text(&version["author"]),
        text(&version["reason"])
    )
}

/// Exit code 1 when it cannot be approved as it is.
fn drafted(draft: &Value) -> ExitCode {
    let checks = &draft["checks"];
    println!("{} of {}", text(&draft["id"]), text(&draft["path"]));
    let lists = [&checks["compile"]["problems"], &checks["samples"]["failures"], &checks["misfits"]];
    for problem in lists.into_iter().filter_map(Value::as_array).flatten() {
        println!("  {}", text(problem));
    }
    match checks["samples"]["lines"].as_u64() {
        Some(lines) => println!("  samples: {lines} lines, ok {}", checks["samples"]["ok"]),
        None => println!("  samples: none were run"),
    }
    if draft["can_be_approved"] == true { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn approved(draft: &Value) {
    println!("{} of {}: {}", text(&draft["id"]), text(&draft["path"]), text(&draft["state"]));
    if let Some(why) = draft["waits"].as_str() {
        println!("  waits: {why}");
    }
    kept(draft);
}

fn kept(told: &Value) {
    if let Some(name) = told["kept"].as_str() {
        println!("  the file on the disk had been edited; that text is kept beside it as {name}");
    }
}
