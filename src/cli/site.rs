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
                    by => format!("{}  {by}: {}", text(&site["since"]), text(&site["reason"])),
                };
                println!("{name:<26} {state:<12} {said}");
            }
        }
        Command::Set { site, state, by, reason, at } => {
            let state = state.to_possible_value().map(|value| value.get_name().to_owned());
            let body = json!({ "state": state, "by": by, "reason": reason });
            let path = format!("/api/v1/sites/{site}/state");
            let told = ask_by(at, Method::PUT, &path, Some(body))?;
            println!("{} is {} since {}", text(&told["site"]), text(&told["state"]), text(&told["since"]));
        }
    }
    Ok(ExitCode::SUCCESS)
}
