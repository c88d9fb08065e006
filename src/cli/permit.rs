//! `davy permit`: open, end and list work on sensors, at the gateway that is running.
//!
//! The configuration says where it listens and with which token; what is asked is the same as through the API.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Refusal, runtime};
use crate::config;
use crate::remote;

const ANSWER_WITHIN: Duration = Duration::from_secs(20);

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Begin work on sensors: calibration, maintenance or an exercise.
    Open {
        #[arg(long)]
        kind: Kind,
        /// Ids or patterns; quote the star: 'mine.3201-*'.
        #[arg(long, num_args = 1.., required = true)]
        points: Vec<String>,
        /// Who does it.
        #[arg(long)]
        by: String,
        #[arg(long)]
        reason: String,
        /// After this time the data count again by themselves.
        #[arg(long = "for", default_value = "30m")]
        length: String,
        #[command(flatten)]
        at: Gateway,
    },
    /// The work is done.
    End {
        id: String,
        #[arg(long)]
        by: String,
        #[arg(long, default_value = "")]
        comment: String,
        /// The calibration was carried out: the calendar begins anew.
        #[arg(long)]
        calibrated: bool,
        #[command(flatten)]
        at: Gateway,
    },
    /// Show permits, the newest first.
    List {
        /// Only those that nobody has ended.
        #[arg(long)]
        open: bool,
        /// The API's answer as it is.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        at: Gateway,
    },
}

#[derive(Debug, Args)]
pub struct Gateway {
    /// The configuration of the gateway that runs.
    #[arg(long, default_value = "config/davy.toml")]
    config: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Kind {
    Calibration,
    Maintenance,
    Exercise,
}

pub fn run(command: &Command) -> Result<ExitCode, Refusal> {
    match command {
        Command::Open { kind, points, by, reason, length, at } => {
            let kind = kind.to_possible_value().map(|value| value.get_name().to_owned());
            let body = json!({ "kind": kind, "points": points, "by": by, "reason": reason, "for": length });
            let permit = ask(at, Method::POST, "/api/v1/permits", Some(body))?;
            println!("{} in force until {}, {} points", text(&permit["id"]), text(&permit["until"]), count(&permit));
        }
        Command::End { id, by, comment, calibrated, at } => {
            let body = json!({ "by": by, "comment": comment, "calibrated": calibrated });
            let permit = ask(at, Method::POST, &format!("/api/v1/permits/{id}/end"), Some(body))?;
            println!("{} ended, {} points", text(&permit["id"]), count(&permit));
        }
        Command::List { open, json, at } => {
            let told = ask(at, Method::GET, &format!("/api/v1/permits?open={open}"), None)?;
            if *json {
                println!("{told}");
                return Ok(ExitCode::SUCCESS);
            }
            for permit in told["permits"].as_array().into_iter().flatten() {
                println!(
                    "{:<26} {:<11} {:<8} {} .. {}  {}  {}: {}",
                    text(&permit["id"]),
                    text(&permit["kind"]),
                    text(&permit["state"]),
                    text(&permit["from"]),
                    text(&permit["until"]),
                    text(&permit["scope"]),
                    text(&permit["by"]),
                    text(&permit["reason"])
                );
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn count(permit: &Value) -> usize {
    permit["points"].as_array().map_or(0, Vec::len)
}

/// One request to the running gateway.
pub(super) fn ask(at: &Gateway, method: Method, path: &str, body: Option<Value>) -> Result<Value, Refusal> {
    let config = config::load(&at.config).map_err(|problems| {
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Refusal(told.join("\n"))
    })?;
    let address = config.web.address;
    let base = format!("http://{address}");
    let url: reqwest::Url = base.parse().map_err(|error| Refusal(format!("{base}: {error}")))?;
    let client = remote::client(&url, None, ANSWER_WITHIN).map_err(|error| Refusal::of(&error))?;
    let request = client.request(method, format!("{base}{path}"));
    let request = match &body {
        Some(body) => request.json(body),
        None => request,
    };
    let request = match &config.web.token {
        Some(token) => request.bearer_auth(token.reveal()),
        None => request,
    };
    runtime()?.block_on(async {
        let unreachable = |error: reqwest::Error| {
            Refusal(format!("no gateway answers at {address}: {}; is it running?", error.without_url()))
        };
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let told: Value = answer.json().await.unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(told);
        }
        Err(Refusal(told["error"]["message"].as_str().map_or_else(|| format!("answered {status}"), ToOwned::to_owned)))
    })
}
