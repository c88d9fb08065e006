//! `davy exercise`: start and end exercises with injected values, and inject them, at the gateway that is running.
//!
//! Nothing in the field is touched; the real values of the same points are judged as ever. What is asked is the same
//! as through the API.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::Refusal;
use super::ask::{Gateway, ask, text};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Begin an exercise for some points of a site; it ends by itself.
    Start {
        /// Ids or patterns; quote the star: 'mine.3201-*'.
        #[arg(long, num_args = 1.., required = true)]
        points: Vec<String>,
        /// Who does it; not needed where the token says who you are.
        #[arg(long, default_value = "")]
        by: String,
        #[arg(long)]
        reason: String,
        /// 8h at most.
        #[arg(long = "for", default_value = "30m")]
        length: String,
        #[command(flatten)]
        at: Gateway,
    },
    /// Let a point of a running exercise read a value for a while.
    Inject {
        point: String,
        #[arg(allow_negative_numbers = true)]
        value: f64,
        #[arg(long = "for", default_value = "5m")]
        length: String,
        #[arg(long, default_value = "")]
        by: String,
        #[command(flatten)]
        at: Gateway,
    },
    /// The exercise is over: its alarms are closed.
    End {
        /// Not needed while only one runs.
        id: Option<String>,
        #[arg(long, default_value = "")]
        by: String,
        #[arg(long, default_value = "")]
        comment: String,
        #[command(flatten)]
        at: Gateway,
    },
    /// Show exercises, the newest first.
    List {
        /// Only those that run.
        #[arg(long)]
        open: bool,
        /// The API's answer as it is.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        at: Gateway,
    },
}

pub fn run(command: &Command) -> Result<ExitCode, Refusal> {
    match command {
        Command::Start { points, by, reason, length, at } => {
            let body = json!({ "points": points, "by": by, "reason": reason, "for": length });
            let exercise = ask(at, "/api/v1/exercises", Some(body))?;
            let count = exercise["points"].as_array().map_or(0, Vec::len);
            println!(
                "{} runs at {} until {}, {count} points; nothing is injected yet",
                text(&exercise["id"]),
                text(&exercise["site"]),
                text(&exercise["until"])
            );
        }
        Command::Inject { point, value, length, by, at } => {
            let body = json!({ "point": point, "value": value, "for": length, "by": by });
            let exercise = ask(at, "/api/v1/exercises/inject", Some(body))?;
            let newest = exercise["injections"].as_array().and_then(|all| all.last()).unwrap_or(&Value::Null);
            println!(
                "{}: {point} reads {value} {} until {}",
                text(&exercise["id"]),
                text(&newest["unit"]),
                text(&newest["until"])
            );
        }
        Command::End { id, by, comment, at } => {
            let id = match id {
                Some(id) => id.clone(),
                None => only_one(at)?,
            };
            let body = json!({ "by": by, "comment": comment });
            let exercise = ask(at, &format!("/api/v1/exercises/{id}/end"), Some(body))?;
            println!("{} ended, its alarms are closed", text(&exercise["id"]));
        }
        Command::List { open, json, at } => {
            let told = ask(at, &format!("/api/v1/exercises?open={open}"), None)?;
            if *json {
                println!("{told}");
                return Ok(ExitCode::SUCCESS);
            }
            told["exercises"].as_array().into_iter().flatten().for_each(show);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The one that runs, where no other does.
fn only_one(at: &Gateway) -> Result<String, Refusal> {
    let told = ask(at, "/api/v1/exercises?open=true", None)?;
    let running: Vec<&str> = told["exercises"].as_array().into_iter().flatten().map(|one| text(&one["id"])).collect();
    match running.as_slice() {
        [id] => Ok((*id).to_owned()),
        [] => Err(Refusal("没有进行中的演练 / no exercise runs".into())),
        more => Err(Refusal(format!("several exercises run, say which one ends: {}", more.join(", ")))),
    }
}

fn show(exercise: &Value) {
    println!(
        "{:<26} {:<8} {} .. {}  {}  {}: {}",
        text(&exercise["id"]),
        text(&exercise["state"]),
        text(&exercise["from"]),
        text(&exercise["until"]),
        text(&exercise["scope"]),
        text(&exercise["by"]),
        text(&exercise["reason"])
    );
    for one in exercise["injections"].as_array().into_iter().flatten() {
        println!(
            "  {} = {} {}  {} .. {}  {}",
            text(&one["point"]),
            one["value"],
            text(&one["unit"]),
            text(&one["from"]),
            text(&one["until"]),
            text(&one["by"])
        );
    }
}
