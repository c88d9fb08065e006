//! `davy audit`: is the chain of records whole, and what is its newest link?
//!
//! Reads `facts.db` in one consistent view, beside a gateway that may be running.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Refusal;
use crate::config;
use crate::facts::{self, Head};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Walk the whole chain; exit 1 and the first record that is wrong, if one is.
    Verify {
        /// A head that was written down elsewhere, as `davy audit head` printed it.
        #[arg(long)]
        head: Option<String>,
        #[command(flatten)]
        at: Data,
    },
    /// Print number and hash of the newest record, to be written down where the gateway's disk is not.
    Head {
        #[command(flatten)]
        at: Data,
    },
}

#[derive(Debug, Args)]
pub struct Data {
    /// The configuration of the gateway.
    #[arg(long, env = "DAVY_CONFIG", default_value = "config/davy.toml")]
    config: PathBuf,
    /// Its data folder, without a configuration: a backup.
    #[arg(long)]
    data: Option<PathBuf>,
}

impl Data {
    fn facts(&self) -> Result<PathBuf, Refusal> {
        let folder = self.data.clone().unwrap_or_else(|| config::look(&self.config).data);
        let path = folder.join("facts.db");
        if path.exists() { Ok(path) } else { Err(Refusal(format!("{}: there is no such file", path.display()))) }
    }
}

pub fn run(command: &Command) -> Result<ExitCode, Refusal> {
    match command {
        Command::Verify { head, at } => verify(&at.facts()?, head.as_deref()),
        Command::Head { at } => {
            let path = at.facts()?;
            let reader = facts::Reader::open(&path).map_err(|error| Refusal::of(&error))?;
            println!("{}", reader.audit_head().map_err(|error| Refusal::of(&error))?);
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn verify(path: &Path, head: Option<&str>) -> Result<ExitCode, Refusal> {
    let read = |text: &str| text.parse::<Head>().map_err(|wrong| Refusal(format!("--head: {text:?} {wrong}")));
    let kept = head.map(read).transpose()?;
    match facts::verify(path, kept.as_ref()).map_err(|error| Refusal::of(&error))? {
        Ok(head) => {
            println!("{} records, whole; head {head}", head.number);
            Ok(ExitCode::SUCCESS)
        }
        Err(flaw) => Err(Refusal(format!("{}: {flaw}", path.display()))),
    }
}
