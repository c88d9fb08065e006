//! `davy check`: every problem at once, before anything is started: configuration, points and rules in one run.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::Refusal;
use crate::config::{self, Seen};
use crate::facts;
use crate::gateway::rulebook;
use crate::journal::Setup;
use crate::model::Exemption;

pub fn run(path: &Path, as_json: bool) -> Result<ExitCode, Refusal> {
    let seen = config::look(path);
    let mut told: Vec<String> = seen.problems.iter().map(ToString::to_string).collect();
    let warnings: Vec<String> = seen.warnings.iter().map(ToString::to_string).collect();
    let (wrong, remarks) = rules(&seen, path);
    told.extend(wrong);
    if as_json {
        told.iter().for_each(|problem| println!("{}", json!({ "problem": problem })));
        warnings.iter().for_each(|warning| println!("{}", json!({ "warning": warning })));
        remarks.iter().for_each(|remark| println!("{}", json!({ "remark": remark })));
    } else {
        told.iter().for_each(|problem| println!("{problem}"));
        warnings.iter().for_each(|warning| println!("warning: {warning}"));
        let (idle, worth): (Vec<_>, Vec<_>) = remarks.iter().partition(|remark| remark.ends_with("watches no point"));
        worth.iter().for_each(|remark| println!("remark: {remark}"));
        if !idle.is_empty() {
            println!("remark: {} rules watch no point of this configuration (--json names them)", idle.len());
        }
        match told.len() {
            0 => println!("{}: sound, {} points", path.display(), seen.points.len()),
            1 => println!("1 problem"),
            count => println!("{count} problems"),
        }
    }
    Ok(if told.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Problems and remarks of the rules, laid over the points that are sound by themselves. While some are not,
/// a rule that watches no point, or a folder that may not be the one meant, is no news.
pub(super) fn rules(seen: &Seen, path: &Path) -> (Vec<String>, Vec<String>) {
    let (files, unreadable) = rulebook::read_folder(&seen.rules);
    let whole = seen.problems.is_empty();
    if !whole && files.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let points = seen.points.iter().map(|point| point.point.clone()).collect();
    let ground = Setup { calendar: seen.calendar.clone(), limits: seen.limits.clone(), ..Setup::of(points) };
    let verdict = rulebook::weigh(files, unreadable, &[], &ground);
    let under = |problem: &crate::rule::RuleProblem| match &*problem.file {
        "" => format!("{}: {problem}", path.display()),
        _ => format!("{}/{problem}", seen.rules.display()),
    };
    let wrong = verdict.broken.values().flatten().chain(&verdict.refused).map(under).collect();
    let remarks = verdict.remarks.iter().map(under).filter(|told| whole || !told.ends_with("watches no point"));
    let remarks = remarks.chain(exemptions(seen));
    (wrong, remarks.collect())
}

/// What is looser than the law for now, by the facts of the gateway; they may have gone on since.
fn exemptions(seen: &Seen) -> Vec<String> {
    let path = seen.data.join("facts.db");
    let open = || facts::Reader::open(&path).and_then(|reader| reader.exemptions(true, 1_000)).ok();
    let open = path.exists().then(open).flatten().unwrap_or_default();
    let told = open.into_iter().map(|(exemption, _)| {
        let Exemption { id, rule, limit, value, scope, by, approved_by, basis, until, .. } = exemption;
        format!("{id}: rule {rule} has {limit} = {value} at {scope} until {until} ({by}, approved by {approved_by}: {basis})")
    });
    told.collect()
}
