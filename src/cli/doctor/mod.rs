//! `davy doctor`: what is wrong with a gateway, running or stopped, and what to do about it.
//!
//! In come the configuration, the data folder as it lies on the disk, and, if the gateway runs, its own API;
//! out come findings, each with a severity and what to do. Databases are opened read-only and nothing is
//! repaired, so it may run beside the gateway at any time. Exit code 1 if anything is an error.

mod data;
mod field;

use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;

use super::{Refusal, check, runtime};
use crate::clock;
use crate::config::{self, Config, Seen};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// As it should be.
    Fine,
    /// Nothing is lost yet.
    Warning,
    /// Davy does not watch, keep or tell as it should.
    Error,
}

#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    pub severity: Severity,
    /// What it is about: `config`, `data`, `journal`, `clock`, `source.modbus.plc`.
    pub about: String,
    pub what: String,
    /// What to do; empty when there is nothing to do.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub advice: &'static str,
}

/// The findings so far.
#[derive(Debug, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    pub fn fine(&mut self, about: &str, what: impl Into<String>) {
        self.0.push(Finding { severity: Severity::Fine, about: about.into(), what: what.into(), advice: "" });
    }

    pub fn warn(&mut self, about: &str, what: impl Into<String>, advice: &'static str) {
        self.0.push(Finding { severity: Severity::Warning, about: about.into(), what: what.into(), advice });
    }

    pub fn error(&mut self, about: &str, what: impl Into<String>, advice: &'static str) {
        self.0.push(Finding { severity: Severity::Error, about: about.into(), what: what.into(), advice });
    }
}

pub fn run(path: &Path, as_json: bool) -> Result<ExitCode, Refusal> {
    let mut findings = Findings::default();
    let seen = config::look(path);
    configuration(&seen, path, &mut findings);
    let now = clock::now();
    let runs = data::look(&seen, now, &mut findings);
    if let Some(config) = &seen.config {
        runtime()?.block_on(field::look(config, runs, now, &mut findings));
    }
    let list = findings.0;
    let count = |severity| list.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    if as_json {
        println!(
            "{}",
            json!({ "at": now.to_string(), "runs": runs, "errors": errors, "warnings": warnings, "findings": list })
        );
    } else {
        for finding in &list {
            let word = match finding.severity {
                Severity::Fine => "ok     ",
                Severity::Warning => "warning",
                Severity::Error => "ERROR  ",
            };
            println!("{word} {}: {}", finding.about, finding.what);
            if !finding.advice.is_empty() {
                println!("        -> {}", finding.advice);
            }
        }
        println!("{errors} errors, {warnings} warnings");
    }
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn configuration(seen: &Seen, path: &Path, findings: &mut Findings) {
    let (rules, _) = check::rules(seen, path);
    let wrong = seen.problems.iter().map(ToString::to_string).chain(rules);
    let before = findings.0.len();
    wrong.for_each(|problem| findings.error("config", problem, "mend it; davy check tells when all is well"));
    for warning in &seen.warnings {
        findings.warn("config", warning.to_string(), "");
    }
    if findings.0.len() == before {
        findings.fine("config", format!("{}: sound, {} points", path.display(), seen.points.len()));
    }
}

/// The address that reaches a server which listens at `address` from this machine.
fn reachable(address: std::net::SocketAddr) -> std::net::SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    std::net::SocketAddr::new(ip, address.port())
}

/// Where the running gateway can be asked.
fn page(config: &Config) -> String {
    format!("http://{}", reachable(config.web.address))
}
