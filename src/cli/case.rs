//! `davy case`: see what becomes of alarms and take the steps, at the gateway that is running.
//!
//! What is asked is the same as through the API; a step that is refused prints what is missing and ends with 1.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Refusal;
use super::ask::{Gateway, ask, ask_text, send_file, text};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show cases, the newest first.
    List {
        /// Only those that are not closed.
        #[arg(long)]
        open: bool,
        /// Only those under supervision (督办).
        #[arg(long)]
        supervised: bool,
        #[arg(long)]
        site: Option<String>,
        /// The ledger (报警处置台账) as a table for a spreadsheet.
        #[arg(long, conflicts_with = "json")]
        csv: bool,
        /// The API's answer as it is.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        at: Gateway,
    },
    /// Show one with its steps.
    Show {
        /// `case-17`, or the id of an alarm of it.
        id: String,
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        at: Gateway,
    },
    /// You spoke with the site (叫应).
    Answer {
        /// With whom.
        #[arg(long = "with")]
        with: String,
        /// phone, radio, video or in_person.
        #[arg(long, default_value = "phone")]
        means: String,
        #[arg(long, default_value = "")]
        words: String,
        #[command(flatten)]
        who: Who,
    },
    /// Say who sees to it, the cause and what was done; 五落实 are owner, measure, money, deadline and plan.
    Handle {
        #[arg(long)]
        owner: Option<String>,
        /// emission, ventilation, power, process, equipment, fire, nature, sensor, communication, planned_work, other.
        #[arg(long)]
        class: Option<String>,
        #[arg(long)]
        cause: Option<String>,
        #[arg(long)]
        measure: Option<String>,
        /// It came of work that was applied for in advance.
        #[arg(long)]
        planned: Option<bool>,
        #[arg(long)]
        money: Option<String>,
        /// A time, or how long from now: 48h.
        #[arg(long)]
        deadline: Option<String>,
        #[arg(long)]
        plan: Option<String>,
        #[command(flatten)]
        who: Who,
    },
    /// Say how things stand.
    Update {
        #[arg(long)]
        text: String,
        #[command(flatten)]
        who: Who,
    },
    /// You looked at what others did, and it is enough (or with --sent-back, it is not).
    Verify {
        #[arg(long)]
        sent_back: bool,
        #[arg(long, default_value = "")]
        words: String,
        #[command(flatten)]
        who: Who,
    },
    /// Settle it (销号).
    Close {
        #[arg(long, default_value = "")]
        words: String,
        #[command(flatten)]
        who: Who,
    },
    /// Put it under supervision (督办).
    Supervise {
        #[arg(long)]
        reason: String,
        /// Its deadline from now on: 48h.
        #[arg(long)]
        within: Option<String>,
        #[command(flatten)]
        who: Who,
    },
    /// Sign off a supervision, or that the regulator agrees to a restart.
    Sign {
        /// supervision or restart.
        #[arg(long, default_value = "supervision")]
        demand: String,
        #[arg(long)]
        words: String,
        #[command(flatten)]
        who: Who,
    },
    /// Add a photo or file.
    Attach {
        #[arg(long)]
        file: PathBuf,
        #[command(flatten)]
        who: Who,
    },
    /// One cause: it goes on as part of another case.
    Join {
        #[arg(long)]
        into: String,
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        who: Who,
    },
    /// For counting: its alarms had a cause of their own, or that of another case.
    Cause {
        /// The other case; without it the case counts by itself.
        #[arg(long)]
        of: Option<String>,
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        who: Who,
    },
}

#[derive(Debug, Args)]
pub struct Who {
    /// `case-17`, or the id of an alarm of it.
    id: String,
    /// Not needed where the token says who you are.
    #[arg(long, default_value = "")]
    by: String,
    #[command(flatten)]
    at: Gateway,
}

impl Who {
    fn does(&self, step: &str, mut body: Value) -> Result<ExitCode, Refusal> {
        body["by"] = json!(self.by);
        let case = ask(&self.at, &format!("/api/v1/cases/{}/{step}", self.id), Some(body))?;
        println!("{}", line(&case));
        Ok(ExitCode::SUCCESS)
    }
}

pub fn run(command: &Command) -> Result<ExitCode, Refusal> {
    match command {
        Command::List { open, supervised, site, csv, json, at } => {
            let mut query = vec![("open", open.to_string()), ("supervised", supervised.to_string())];
            query.extend(site.as_ref().map(|site| ("site", site.clone())));
            query.extend(csv.then(|| ("format", "csv".to_owned())));
            let url = reqwest::Url::parse_with_params("http://davy/api/v1/cases", &query);
            let url = url.map_err(|error| Refusal(format!("the question cannot be put: {error}")))?;
            let path = format!("{}?{}", url.path(), url.query().unwrap_or_default());
            if *csv {
                print!("{}", ask_text(at, &path)?);
                return Ok(ExitCode::SUCCESS);
            }
            let told = ask(at, &path, None)?;
            if *json {
                println!("{told}");
            } else {
                told["cases"].as_array().into_iter().flatten().for_each(|case| println!("{}", line(case)));
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Show { id, json, at } => {
            let case = ask(at, &format!("/api/v1/cases/{id}"), None)?;
            if *json {
                println!("{case}");
            } else {
                show(&case);
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Answer { with, means, words, who } => {
            who.does("answer", json!({ "with": with, "means": means, "words": words }))
        }
        Command::Handle { owner, class, cause, measure, planned, money, deadline, plan, who } => {
            let body = json!({
                "owner": owner, "class": class, "cause": cause, "measure": measure, "planned": planned,
                "money": money, "deadline": deadline, "plan": plan,
            });
            who.does("handle", body)
        }
        Command::Update { text, who } => who.does("update", json!({ "text": text })),
        Command::Verify { sent_back, words, who } => {
            who.does("verify", json!({ "accepted": !sent_back, "words": words }))
        }
        Command::Close { words, who } => who.does("close", json!({ "words": words })),
        Command::Supervise { reason, within, who } => {
            who.does("supervise", json!({ "reason": reason, "within": within }))
        }
        Command::Sign { demand, words, who } => who.does("sign", json!({ "demand": demand, "words": words })),
        Command::Attach { file, who } => {
            let bytes = std::fs::read(file).map_err(|error| Refusal(format!("{}: {error}", file.display())))?;
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let query = [("name", name), ("by", &who.by)];
            let case = send_file(&who.at, &format!("/api/v1/cases/{}/files", who.id), &query, bytes)?;
            println!("{}", line(&case));
            Ok(ExitCode::SUCCESS)
        }
        Command::Cause { of, reason, who } => {
            let of = of.as_ref().map(|of| json!({ "of": of, "reason": reason }));
            who.does("cause", of.unwrap_or_else(|| json!({ "reason": reason })))
        }
        Command::Join { into, reason, who } => who.does("join", json!({ "into": into, "reason": reason })),
    }
}

/// Number, stage, how urgent, where, what, how often, and what is next.
fn line(case: &Value) -> String {
    let next = case["next"].as_str().map_or_else(String::new, |next| format!("  -> {next}"));
    let supervised = if case["supervised"] == true { " 督办" } else { "" };
    format!(
        "{:<10} {:<12} {}{supervised}  {} {}  x{}  {}{next}",
        text(&case["id"]),
        text(&case["stage"]),
        text(&case["priority"]),
        text(&case["site"]),
        text(&case["subject"]),
        case["episodes"],
        text(&case["title"]),
    )
}

fn show(case: &Value) {
    println!("{}", line(case));
    for clock in ["answer", "update", "close", "sign_off"] {
        if let Some(due) = case["due"][clock].as_str() {
            println!("  due {clock:<9} {due}");
        }
    }
    for one in case["demands"].as_array().into_iter().flatten() {
        let signed = one["signed"]["by"].as_str().unwrap_or("-");
        println!("  sign-off {} signed by {signed}", text(&one["words"]));
    }
    for file in case["files"].as_array().into_iter().flatten() {
        println!("  file {} {} bytes sha256 {}", text(&file["name"]), file["bytes"], text(&file["sha256"]));
    }
    for step in case["steps"].as_array().into_iter().flatten() {
        println!(
            "  {}  {:<13} {}: {}",
            text(&step["at"]),
            text(&step["step"]),
            text(&step["by"]),
            text(&step["words"])
        );
    }
}
