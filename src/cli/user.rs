//! `davy user`: who may ask, and a token for somebody new.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use super::Refusal;
use crate::config;
use crate::web::{Role, User, fresh_token};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the people of the configuration and what they may do.
    List {
        #[arg(long, env = "DAVY_CONFIG", default_value = "config/davy.toml")]
        config: PathBuf,
    },
    /// Make a token for a person: shown once, and written into a file that only you can read.
    New {
        /// Key in the configuration: li-wei.
        key: String,
        /// Name in records.
        #[arg(long)]
        name: Option<String>,
        /// viewer, operator, rule-editor, rule-approver, safety-approver, admin.
        #[arg(long, num_args = 1.., default_value = "viewer")]
        roles: Vec<String>,
        #[arg(long, env = "DAVY_CONFIG", default_value = "config/davy.toml")]
        config: PathBuf,
    },
}

pub fn run(command: &Command) -> Result<ExitCode, Refusal> {
    match command {
        Command::List { config } => list(config),
        Command::New { key, name, roles, config } => new(key, name.as_deref().unwrap_or(key), roles, config),
    }
}

fn list(path: &Path) -> Result<ExitCode, Refusal> {
    let config = config::load(path).map_err(|problems| {
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Refusal(told.join("\n"))
    })?;
    for User { key, name, roles, .. } in &config.web.users {
        println!("{key:<20} {name:<16} {}", roles.iter().map(|role| role.word()).collect::<Vec<_>>().join(", "));
    }
    if config.web.users.is_empty() {
        println!("there are no users: whoever gets in is who they say they are; `davy user new` makes the first");
    }
    Ok(ExitCode::SUCCESS)
}

fn new(key: &str, name: &str, roles: &[String], config: &Path) -> Result<ExitCode, Refusal> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if key.is_empty() || key.len() > 64 || key.starts_with('.') || !key.bytes().all(plain) {
        return Err(Refusal(format!("{key:?}: 1 to 64 letters, digits, '-', '_' or '.', such as li-wei")));
    }
    let known = Role::ALL.map(Role::word);
    if let Some(wrong) = roles.iter().find(|role| !known.contains(&role.as_str())) {
        return Err(Refusal(format!("{wrong:?} is not a role; known are {}", known.join(", "))));
    }
    let token = fresh_token();
    let beside = format!("secrets/user-{key}");
    let path = config.parent().unwrap_or(Path::new("")).join(&beside);
    write_secret(&path, &token).map_err(|error| Refusal(format!("{}: {error}", path.display())))?;
    println!("the token of {name}, shown this once; it is in {}:\n\n  {token}\n", path.display());
    println!("put this into {}:\n", config.display());
    println!("[user.{key:?}]\nname = {name:?}\ntoken_file = {beside:?}\nroles = {roles:?}");
    Ok(ExitCode::SUCCESS)
}

/// Never over a file that is there, and never readable to others, not even for a moment.
fn write_secret(path: &Path, token: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    writeln!(options.open(path)?, "{token}")
}
