//! `davy rules explain POINT`: why a point is judged as it is.
//!
//! Without an address it reads the configuration, the rule files and `facts.db`; with one it asks the gateway
//! that runs there, which knows what is in force this moment. Both tell the same in the same form.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::Refusal;
use super::ask;
use crate::clock;
use crate::config;
use crate::facts::{Error, Reader};
use crate::gateway::rulebook;
use crate::journal::Setup;
use crate::model::{Point, PointIndex};
use crate::rule::{Explained, ExplainedLimit, ExplainedRule, OnRecord, explain};

/// Orders that are looked at.
const MOST: usize = 10_000;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Id of the point: `mine.3201-t1`.
    point: String,
    /// The configuration of the gateway; its token is used with --url.
    #[arg(long, env = "DAVY_CONFIG", default_value = "config/davy.toml")]
    config: PathBuf,
    /// Ask the gateway that runs there: http://127.0.0.1:8080.
    #[arg(long)]
    url: Option<String>,
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Refusal> {
    let Arguments { point, config, url, json } = arguments;
    let explained = match url {
        Some(url) => {
            let token = config::look(config).config.and_then(|config| config.web.token);
            let told = ask::ask_at(url, token.as_ref(), &format!("/api/v1/points/{point}/rules"), None)?;
            serde_json::from_value(told)
                .map_err(|error| Refusal(format!("{url}: another answer than expected: {error}")))?
        }
        None => at_rest(point, config)?,
    };
    if *json {
        let text = serde_json::to_string(&explained).map_err(|error| Refusal::of(&error))?;
        println!("{text}");
    } else {
        print(&explained);
    }
    Ok(if explained.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// From the files.
fn at_rest(id: &str, path: &Path) -> Result<Explained, Refusal> {
    let seen = config::look(path);
    let (files, unreadable) = rulebook::read_folder(&seen.rules);
    let points: Vec<Point> = seen.points.iter().map(|point| point.point.clone()).collect();
    let ground = Setup { calendar: seen.calendar.clone(), limits: seen.limits.clone(), ..Setup::of(points) };
    let verdict = rulebook::weigh(files, unreadable, &[], &ground);
    let mut setup = Setup { rules: verdict.rules, ..ground };
    let facts = seen.data.join("facts.db");
    let mut record = OnRecord::default();
    if facts.exists() {
        let broken = |error: Error| Refusal::of(&error);
        let reader = Reader::open(&facts).map_err(broken)?;
        record.limits = reader.limits(false, MOST).map_err(broken)?;
        record.exemptions = reader.exemptions(false, MOST).map_err(broken)?;
        // Exemptions name points by the numbers that facts gave them.
        if let Some(index) = reader.number_of(id).map_err(broken)? {
            place(&mut setup, id, index);
        }
    }
    let wrong: Vec<String> = verdict.broken.values().flatten().map(ToString::to_string).collect();
    let mut explained = explain(&setup, record, id, clock::now())
        .ok_or_else(|| Refusal(format!("{}: there is no point {id:?}", path.display())))?;
    explained.problems.splice(0..0, wrong);
    Ok(explained)
}

/// Puts the point at its own number; what else stands in the list is not looked at.
fn place(setup: &mut Setup, id: &str, index: PointIndex) {
    let Some(point) = setup.points.iter().find(|point| *point.id == *id).cloned() else { return };
    let other = Point { id: "".into(), retired: true, ..point.clone() };
    setup.points = vec![other; index.at()];
    setup.points.push(point);
}

fn print(explained: &Explained) {
    let Explained { point, name, kind, place, unit, rules, problems } = explained;
    println!("{point}  {name}  {kind} at {place:?} in {unit:?}, {} rules", rules.len());
    rules.iter().for_each(print_rule);
    for problem in problems {
        println!("\nproblem: {problem}");
    }
}

fn print_rule(rule: &ExplainedRule) {
    let ExplainedRule { rule: id, title, file, line, priority, level, judges, .. } = rule;
    println!("\n{id}  {title}  ({file}:{line}, {priority} {level}, judges {judges})");
    println!("  raise: {}", indented(&rule.raise));
    if let Some(clear) = &rule.clear {
        println!("  clear: {}", indented(clear));
    }
    let windows = if rule.windows.is_empty() { "none".to_owned() } else { rule.windows.join(", ") };
    let runs = rule.why_not.as_ref().map_or_else(|| "native".to_owned(), |why| format!("interpreted: {why}"));
    println!("  windows: {windows}; {runs}");
    rule.limits.iter().for_each(print_limit);
}

fn indented(text: &str) -> String {
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n  ")
}

fn print_limit(limit: &ExplainedLimit) {
    println!("  limit {} = {} {} ({} is stricter)", limit.limit, limit.value, limit.unit, limit.stricter);
    for step in &limit.steps {
        let mark = if step.effective { "=>" } else { "  " };
        let season = step.season.as_ref().map_or_else(String::new, |season| format!(" in season {season}"));
        let order: Vec<&str> = [&step.id, &step.by, &step.at].into_iter().flatten().map(String::as_str).collect();
        let order = if order.is_empty() { String::new() } else { format!(", {}", order.join(" ")) };
        let until = step.until.as_ref().map_or_else(String::new, |until| format!(" until {until}"));
        let standing = match (&*step.standing, &step.why) {
            ("applies", _) => String::new(),
            (word, None) => format!("  [{}]", word.replace('_', " ")),
            (word, Some(why)) => format!("  [{word}: {why}]"),
        };
        println!(
            "    {mark} {:<9} {} {}{season}{until}  {}{order}{standing}",
            step.layer.word(),
            step.value,
            step.unit,
            step.basis
        );
    }
}
