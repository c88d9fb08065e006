//! `davy check`: every problem at once, before anything is started.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::Refusal;
use crate::config::{self, Config};
use crate::gateway::rulebook;

pub fn run(path: &Path, as_json: bool) -> Result<ExitCode, Refusal> {
    let mut told = Vec::new();
    let mut remarks = Vec::new();
    let mut sound = None;
    match config::load(path) {
        Ok(config) => {
            let (wrong, notes) = rules(&config);
            told.extend(wrong);
            remarks = notes;
            sound = Some(config);
        }
        Err(problems) => told.extend(problems.iter().map(ToString::to_string)),
    }
    if as_json {
        told.iter().for_each(|problem| println!("{}", json!({ "problem": problem })));
        remarks.iter().for_each(|remark| println!("{}", json!({ "remark": remark })));
    } else {
        told.iter().for_each(|problem| println!("{problem}"));
        let (idle, worth): (Vec<_>, Vec<_>) = remarks.iter().partition(|remark| remark.ends_with("watches no point"));
        worth.iter().for_each(|remark| println!("remark: {remark}"));
        if !idle.is_empty() {
            println!("remark: {} rules watch no point of this configuration (--json names them)", idle.len());
        }
        match (&sound, told.len()) {
            (Some(config), 0) => println!("{}: sound, {} points", path.display(), config.points.len()),
            (_, 1) => println!("1 problem"),
            (_, count) => println!("{count} problems"),
        }
    }
    Ok(if told.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Problems and remarks of the rules, laid over the configured points.
fn rules(config: &Config) -> (Vec<String>, Vec<String>) {
    let (files, unreadable) = rulebook::read_folder(&config.rules);
    let points: Vec<_> = config.points.iter().map(|point| point.point.clone()).collect();
    let verdict = rulebook::weigh(files, unreadable, &[], &points);
    let under = |problem: &crate::rule::RuleProblem| match &*problem.file {
        "" => format!("{}: {problem}", config.file.display()),
        _ => format!("{}/{problem}", config.rules.display()),
    };
    let wrong = verdict.broken.values().flatten().chain(&verdict.refused).map(under).collect();
    (wrong, verdict.remarks.iter().map(under).collect())
}
