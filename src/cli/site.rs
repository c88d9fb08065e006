//! `davy site`: what sites are doing, and saying so, at the gateway that is running.

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::json;

use super::Refusal;
use super::ask::{Gateway, ask, ask_by, text};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what each site is doing, who said so and why.
    List {
        /// The API's answer as it is.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        at: Gateway,
    },
    /// Say what a site is doing; rules may ask for it.
    Set {
        site: String,
        #[arg(value_enum)]
        state: State,
        /// Who says so; not needed where the token says who you are.
        #[arg(long, default_value = "")]
        by: String,
        #[arg(long)]
        reason: String,
        /// The second person, for a state that takes alarms away; where people have tokens it is theirs that is sent.
        #[arg(long, default_value = "")]
        approved_by: String,
        /// For how long, such as 3d; then the site is producing again by itself.
        #[arg(long = "for")]
        length: Option<String>,
        #[command(flatten)]
        at: Gateway,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum State {
    Producing,
    Stopped,
    Maintenance,
}

pub fn run(command: &Command) -> Result<ExitCode, Refusal> {
    match command {
        Command::List { json, at } => {
            let told = ask(at, "/api/v1/sites", None)?;
            if *json {
                println!("{told}");
                return Ok(ExitCode::SUCCESS);
            }
            for site in told["sites"].as_array().into_iter().flatten() {
                let (name, state, by) = (text(&site["site"]), text(&site["state"]), text(&site["by"]));
                let said = match by {
                    "" => String::new(),
                    by => {
                        format!("{}  {by}: {}  {}", text(&site["since"]), text(&site["reason"]), text(&site["until"]))
                    }
                };
                println!("{name:<26} {state:<12} {said}");
            }
        }
        Command::Set { site, state, by, reason, approved_by, length, at } => {
            let state = state.to_possible_value().map(|value| value.get_name().to_owned());
            let mut body = json!({ "state": state, "by": by, "reason": reason, "approved_by": approved_by });
            if let Some(length) = length {
                body["for"] = json!(length);
            }
            let path = format!("/api/v1/sites/{site}/state");
            let told = ask_by(at, Method::PUT, &path, Some(body))?;
            let until = told["until"].as_str().map_or_else(String::new, |until| format!(", until {until}"));
            println!("{} is {} since {}{until}", text(&told["site"]), text(&told["state"]), text(&told["since"]));
        }
    }
    Ok(ExitCode::SUCCESS)
}
