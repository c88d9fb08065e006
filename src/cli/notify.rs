//! `davy notify`: who is told of alarms, and whether a message really reaches them.
//!
//! `test` sends a message that is marked as an exercise over the real channels of a person or of one recipient, and
//! shows each attempt and what the other side said of it. It goes past the gateway, which may run or not, and past its
//! outbox: no record is made. With `--url` the running gateway sends it, and writes down what became of it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Subcommand;
use serde_json::json;

use super::ask::{Gateway, ask, text};
use super::{Refusal, runtime};
use crate::clock::{self, Stopwatch};
use crate::config::{self, Config};
use crate::notify::{self, Channels, Failure, Means, Neighbours, Recipient};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List everybody who is told, and of what.
    List {
        #[arg(long, env = "DAVY_CONFIG", default_value = "config/davy.toml")]
        config: PathBuf,
    },
    /// Send a test message to a person over each of their ways, or to one recipient; exit 1 if one was not delivered.
    Test {
        /// As in the configuration: a person, or `captain`, or `mail.captain` where several have the name.
        name: String,
        /// Whose name stands in the record of a running gateway.
        #[arg(long, default_value = "")]
        by: String,
        #[command(flatten)]
        at: Gateway,
    },
}

pub fn run(command: &Command) -> Result<ExitCode, Refusal> {
    match command {
        Command::List { config } => list(&load(config)?),
        Command::Test { name, by, at } if at.elsewhere() => test_there(at, name, by),
        Command::Test { name, at, .. } => test(&load(at.config())?, name),
    }
}

fn load(path: &Path) -> Result<Config, Refusal> {
    config::load(path).map_err(|problems| {
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Refusal(told.join("\n"))
    })
}

fn channels(config: &Config) -> Result<Channels, Refusal> {
    let nobody = || Failure::for_good("only the running gateway has MQTT subscribers");
    let list = config.publish.as_ref().map(|publish| publish.neighbours.clone()).unwrap_or_default();
    let neighbours = Neighbours { list, ..Neighbours::none() };
    let means = Means { neighbours, ..Means::to_send(Arc::new(move |_, _| Err(nobody()))) };
    notify::channels(&config.notify, &means).map_err(|error| Refusal::of(&error))
}

fn list(config: &Config) -> Result<ExitCode, Refusal> {
    for recipient in channels(config)?.recipients() {
        let sites = if recipient.sites.is_empty() { "all sites".to_owned() } else { recipient.sites.join(", ") };
        println!("{:<28} from {}  {sites}", full(recipient), recipient.from_priority);
    }
    Ok(ExitCode::SUCCESS)
}

fn full(recipient: &Recipient) -> String {
    format!("{}.{}", recipient.channel, recipient.name)
}

fn test(config: &Config, name: &str) -> Result<ExitCode, Refusal> {
    let tester = channels(config)?.of_people(&config.duty).tester();
    let (ways, runtime) = (tester.ways(name).map_err(Refusal)?, runtime()?);
    let mut reached = true;
    for way in ways {
        let watch = Stopwatch::start();
        println!("attempt  {}  {}", clock::now(), full(&way));
        let result = runtime.block_on(tester.test(&way));
        let took = watch.elapsed().as_millis();
        match result {
            Ok(detail) => println!("receipt  delivered after {took} ms: {detail}"),
            Err(failure) => {
                reached = false;
                let then = if failure.temporary { "failed (would be tried again)" } else { "refused for good" };
                println!("receipt  {then} after {took} ms: {failure}");
            }
        }
    }
    Ok(if reached { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// By the gateway that runs.
fn test_there(at: &Gateway, name: &str, by: &str) -> Result<ExitCode, Refusal> {
    let told = ask(at, "/api/v1/notify/test", Some(json!({ "name": name, "by": by })))?;
    let receipts = told["receipts"].as_array().cloned().unwrap_or_default();
    for receipt in &receipts {
        let (recipient, outcome) = (text(&receipt["recipient"]), text(&receipt["outcome"]));
        let took = receipt["ms"].as_u64().map_or_else(String::new, |ms| format!(" after {ms} ms"));
        println!("receipt  {recipient}  {outcome}{took}: {}", text(&receipt["detail"]));
    }
    let reached = receipts.iter().all(|receipt| receipt["outcome"] == "delivered");
    Ok(if reached { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
