//! `davy rules`: what is there, and whether it does what its samples say.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::{Refusal, backtest, cost, explain, revisions};
use crate::gateway::rulebook;
use crate::journal::RuleFile;
use crate::rule::{Language, Runs, functions, read_file, trial};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show every rule with its file, priority and limits.
    List {
        /// The folder of rule files.
        #[arg(long, default_value = "rules")]
        rules: PathBuf,
        #[arg(long)]
        json: bool,
    },
    /// Show everything that a rule can ask of its point, with examples.
    Functions {
        /// One JSON array.
        #[arg(long, conflicts_with = "markdown")]
        json: bool,
        /// The page docs/rules.md.
        #[arg(long)]
        markdown: bool,
    },
    /// Why a point is judged as it is: its rules, and every layer of every limit.
    Explain(explain::Arguments),
    /// Play every `.samples` file against the rule file beside it.
    Test {
        /// Folder, rule file or samples file.
        #[arg(default_value = "rules")]
        path: PathBuf,
    },
    #[command(flatten)]
    Life(revisions::Command),
    /// Tell what rules would have raised on stored samples, and what a change of them changes.
    Backtest(Box<backtest::Arguments>),
}

pub fn run(command: &Command) -> Result<ExitCode, Refusal> {
    match command {
        Command::List { rules, json } => list(rules, *json),
        Command::Functions { json, markdown } => {
            show_functions(*json, *markdown);
            Ok(ExitCode::SUCCESS)
        }
        Command::Explain(arguments) => explain::run(arguments),
        Command::Test { path } => test(path),
        Command::Life(command) => revisions::run(command),
        Command::Backtest(arguments) => backtest::run(arguments),
    }
}

fn list(folder: &Path, as_json: bool) -> Result<ExitCode, Refusal> {
    let language = Language::new();
    let (files, unreadable) = rulebook::read_folder(folder);
    let mut problems = unreadable;
    let mut listed = Vec::new();
    for file in &files {
        match read_file(&language, file) {
            Ok((rules, ast)) => listed.extend(rules.into_iter().map(|rule| (Runs::of(&rule, &ast), rule))),
            Err(mut wrong) => problems.append(&mut wrong),
        }
    }
    let costs = cost::of(&language, &files);
    for (runs, rule) in &listed {
        let cost = costs.get(&*rule.id).copied();
        let limits: Vec<String> =
            rule.limits.iter().map(|(name, limit)| format!("{name} {} {}", limit.value, limit.unit)).collect();
        if as_json {
            let object = json!({
                "id": rule.id, "file": rule.file, "line": rule.line, "title": rule.title,
                "priority": rule.priority, "level": rule.level, "limits": rule.limits, "runs": runs.word(), "why": runs.why(),
                "ns_per_evaluation": cost.map(f64::round),
            });
            println!("{object}");
        } else {
            let at = format!("{}:{}", rule.file, rule.line);
            println!(
                "{:<24} {:<11} {:>6} {} {:<6} {:<28} {:<32} {}",
                rule.id,
                runs.word(),
                cost.map_or_else(String::new, |ns| format!("{ns:.0}ns")),
                rule.priority,
                rule.level,
                limits.join(", "),
                at,
                rule.title
            );
        }
    }
    for problem in &problems {
        eprintln!("{}", problem);
    }
    if !as_json {
        let rhai: Vec<_> = listed.iter().filter_map(|(runs, rule)| Some((&rule.id, runs.why()?))).collect();
        println!("{} rules in {} files, {} native", listed.len(), files.len(), listed.len() - rhai.len());
        for (id, why) in rhai {
            println!("interpreted: {id}: {why}");
        }
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show_functions(as_json: bool, as_page: bool) {
    if as_json {
        println!("{:#}", functions::json());
    } else if as_page {
        print!("{}", functions::markdown());
    } else {
        for entry in functions::entries() {
            println!("{:<30} {} ({})", entry.signature, entry.says.en, entry.unit.en);
            println!("{:<30} {} ({})", "", entry.says.zh, entry.unit.zh);
            println!("{:<30} missing data: {}", "", entry.missing.en);
            println!("{:<30} {}", "", entry.example);
        }
    }
}

fn test(path: &Path) -> Result<ExitCode, Refusal> {
    let mut samples = Vec::new();
    find_samples(path, &mut samples)?;
    if samples.is_empty() {
        return Err(Refusal(format!("{}: there are no .samples files", path.display())));
    }
    samples.sort();
    samples.dedup();
    let mut failed = 0;
    for file in &samples {
        if !file.exists() {
            failed += 1;
            println!("FAIL {}", file.display());
            println!("     there is no such file: a rule file has its samples beside it");
            continue;
        }
        let read = |path: &Path| {
            std::fs::read_to_string(path)
                .map_err(|error| Refusal(format!("{}: cannot be read: {error}", path.display())))
        };
        let rule_path = file.with_extension("rhai");
        let rules = RuleFile { path: rule_path.display().to_string(), text: read(&rule_path)? };
        match trial::run(&rules, &file.display().to_string(), &read(file)?) {
            Ok(passed) => println!("ok   {} ({} lines, {} changes)", file.display(), passed.lines, passed.changes),
            Err(failures) => {
                failed += 1;
                println!("FAIL {}", file.display());
                failures.iter().for_each(|failure| println!("     {failure}"));
            }
        }
    }
    println!("{} passed, {failed} failed", samples.len() - failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn find_samples(path: &Path, into: &mut Vec<PathBuf>) -> Result<(), Refusal> {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).map_err(|error| Refusal(format!("{}: {error}", path.display())))?;
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                find_samples(&path, into)?;
            } else if path.extension().is_some_and(|ending| ending == "samples" || ending == "rhai") {
                into.push(path.with_extension("samples"));
            }
        }
        return Ok(());
    }
    let samples = path.with_extension("samples");
    if !samples.exists() {
        return Err(Refusal(format!("{}: there is no such file", samples.display())));
    }
    into.push(samples);
    Ok(())
}
