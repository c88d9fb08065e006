//! `davy notify`: who is told of alarms, and whether a message really reaches them.
//!
//! `test` sends one message that is marked as an exercise over the real channel and shows the attempt and what the
//! other side said of it. It goes past the gateway, which may run or not, and past its outbox: no record is made.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Subcommand;

use super::{Refusal, runtime};
use crate::clock::{self, Stopwatch};
use crate::config::{self, Config};
use crate::notify::{self, Channels, Failure, Means, Recipient};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List everybody who is told, and of what.
    List {
        #[arg(long, default_value = "config/davy.toml")]
        config: PathBuf,
    },
    /// Send a test message to one recipient; exit 1 if it was not delivered.
    Test {
        /// As in the configuration: `captain`, or `mail.captain` where several have the name.
        name: String,
        #[arg(long, default_value = "config/davy.toml")]
        config: PathBuf,
    },
}

pub fn run(command: &Command) -> Result<ExitCode, Refusal> {
    match command {
        Command::List { config } => list(&load(config)?),
        Command::Test { name, config } => test(&load(config)?, name),
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
    let means = Means { publish: Arc::new(move |_, _| Err(nobody())), key: None };
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
    let channels = channels(config)?;
    let meant: Vec<&Recipient> =
        channels.recipients().filter(|recipient| recipient.name == name || full(recipient) == name).collect();
    let recipient = match meant.as_slice() {
        [one] => *one,
        [] => {
            let known: Vec<String> = channels.recipients().map(full).collect();
            return Err(Refusal(format!("there is no recipient {name:?}; there are {}", known.join(", "))));
        }
        several => {
            let names: Vec<String> = several.iter().map(|recipient| full(recipient)).collect();
            return Err(Refusal(format!("{name:?} may be {}: write one of them", names.join(" or "))));
        }
    };
    let watch = Stopwatch::start();
    println!("attempt  {}  {}", clock::now(), full(recipient));
    let result = runtime()?.block_on(channels.test(recipient));
    let took = watch.elapsed().as_millis();
    match result {
        Some(Ok(detail)) => {
            println!("receipt  delivered after {took} ms: {detail}");
            Ok(ExitCode::SUCCESS)
        }
        Some(Err(failure)) => {
            let then = if failure.temporary { "failed (would be tried again)" } else { "refused for good" };
            println!("receipt  {then} after {took} ms: {failure}");
            Ok(ExitCode::FAILURE)
        }
        None => Err(Refusal(format!("there is no recipient {name:?}"))),
    }
}
