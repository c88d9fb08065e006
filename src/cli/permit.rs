//! `davy permit`: open, end and list work on sensors, at the gateway that is running.
//!
//! The configuration says where it listens and with which token; what is asked is the same as through the API.

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::Refusal;
use super::ask::{Gateway, ask, text};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Begin work on sensors: calibration, maintenance or an exercise.
    Open {
        #[arg(long)]
        kind: Kind,
        /// Ids or patterns; quote the star: 'mine.3201-*'.
        #[arg(long, num_args = 1.., required = true)]
        points: Vec<String>,
        /// Who does it; not needed where the token says who you are.
        #[arg(long, default_value = "")]
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
        #[arg(long, default_value = "")]
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
            let permit = ask(at, "/api/v1/permits", Some(body))?;
            println!("{} in force until {}, {} points", text(&permit["id"]), text(&permit["until"]), count(&permit));
        }
        Command::End { id, by, comment, calibrated, at } => {
            let body = json!({ "by": by, "comment": comment, "calibrated": calibrated });
            let permit = ask(at, &format!("/api/v1/permits/{id}/end"), Some(body))?;
            println!("{} ended, {} points", text(&permit["id"]), count(&permit));
        }
        Command::List { open, json, at } => {
            let told = ask(at, &format!("/api/v1/permits?open={open}"), None)?;
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

fn count(permit: &Value) -> usize {
    permit["points"].as_array().map_or(0, Vec::len)
}
