//! `davy points import | export`: points in bulk, from CSV or a mine's definition file, and back to CSV.
//!
//! An import says what it would change before it changes anything; what is there already is changed only with
//! a person's yes. The table before it stays beside the new one, as `points.csv.before`.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::Refusal;
use crate::config::{self, Problems, Seen, Table, read_text};
use crate::gateway::rulebook;
use crate::import::types::Types;
use crate::import::{self, Ground, Line, Merged, Sheet, Values, cddy};

/// Lines of a list that a person is shown; `--json` has all.
const SHOWN: usize = 20;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lay a file of points (CSV, or CDDY of MT/T 1201) over the point table.
    Import(Import),
    /// Write all configured points as CSV, ready for an import.
    Export(Export),
}

#[derive(Debug, Args)]
pub struct Import {
    /// The file; UTF-8.
    file: PathBuf,
    /// The configuration whose points these are.
    #[arg(long, env = "DAVY_CONFIG", default_value = "config/davy.toml")]
    config: PathBuf,
    /// The point table to write; needed unless the configuration names exactly one.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Tell what would change, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Leave out lines that have problems, instead of refusing the whole file.
    #[arg(long)]
    skip_bad: bool,
    /// Take points out of the table that are of a site of this file and not in it. Their history stays.
    #[arg(long)]
    retire: bool,
    /// Change and retire points without asking.
    #[arg(long)]
    yes: bool,
    /// Site of the points of a definition file, instead of the number of the mine.
    #[arg(long)]
    site: Option<String>,
    /// A table of sensor types that comes before the shipped one.
    #[arg(long)]
    types: Option<PathBuf>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct Export {
    /// The configuration whose points these are.
    #[arg(long, env = "DAVY_CONFIG", default_value = "config/davy.toml")]
    config: PathBuf,
    /// The file to write, which must not be there yet; without it the table goes to standard output.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Only points of this site.
    #[arg(long)]
    site: Option<String>,
}

pub fn run(command: &Command) -> Result<ExitCode, Refusal> {
    match command {
        Command::Import(arguments) => arguments.run(),
        Command::Export(arguments) => arguments.run(),
    }
}

fn told(problems: &Problems) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

fn refuse(mut list: Vec<String>, end: &str) -> Refusal {
    list.push(end.to_owned());
    Refusal(list.join("\n"))
}

impl Import {
    fn run(&self) -> Result<ExitCode, Refusal> {
        let seen = config::look(&self.config);
        let out = self.out(&seen)?;
        let mut problems = Problems::in_file(out.display().to_string());
        let text = if out.exists() { read_text(&out, &mut problems) } else { None };
        let old = text.as_deref().and_then(|text| Table::read(text, &mut problems));
        if !problems.is_empty() {
            return Err(refuse(told(&problems), "the point table itself has problems; mend them first"));
        }
        let mut problems = Problems::in_file(self.file.display().to_string());
        let Some(mut sheet) = self.read(&mut problems)? else {
            return Err(refuse(told(&problems), "nothing was imported"));
        };
        let read = sheet.lines.len();
        let elsewhere: HashMap<String, String> = seen
            .written
            .iter()
            .filter(|written| written.file.as_ref() != Some(&out))
            .map(|written| (written.id.clone(), written.file.as_ref().unwrap_or(&self.config).display().to_string()))
            .collect();
        let ground = Ground { known: seen.known(), rules: rulebook::read_folder(&seen.rules).0, elsewhere };
        let remarks = import::check(&mut sheet, old.as_ref(), &ground, &mut problems);
        let list = told(&problems);
        if !list.is_empty() && !self.skip_bad {
            if self.json {
                println!("{}", json!({ "file": self.file, "out": out, "written": false, "problems": list }));
                return Ok(ExitCode::FAILURE);
            }
            let end = format!("{} problems, nothing was imported; --skip-bad leaves such lines out", list.len());
            return Err(refuse(list, &end));
        }
        // A line that could not be read says nothing of its point: it is not absent.
        let retire = self.retire && list.is_empty();
        let merged = import::write(old.as_ref(), &sheet, retire);
        let retired = if retire { merged.absent.len() } else { 0 };
        let news = Told { import: self, out: &out, merged: &merged, problems: &list, remarks: &remarks, read, retired };
        if !self.json {
            news.show(&seen);
        }
        let same = merged.added.is_empty() && merged.changed.is_empty() && retired == 0;
        if self.retire && !retire {
            eprintln!("nothing is retired, because some lines could not be read");
        }
        let write = !self.dry_run && !same;
        if write {
            self.consent(merged.changed.len(), retired, &out)?;
            replace(&out, &merged.text)?;
        }
        if self.json {
            println!("{}", news.json(write));
        } else if write {
            println!("{} is written; check it with: davy check --config {}", out.display(), self.config.display());
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Where the points go.
    fn out(&self, seen: &Seen) -> Result<PathBuf, Refusal> {
        match (&self.out, &seen.tables[..]) {
            (Some(out), tables) => {
                let same = |table: &&PathBuf| match (table.canonicalize(), out.canonicalize()) {
                    (Ok(table), Ok(out)) => table == out,
                    (Err(_), _) | (_, Err(_)) => *table == out,
                };
                Ok(tables.iter().find(same).unwrap_or(out).clone())
            }
            (None, [only]) => Ok(only.clone()),
            (None, []) => Err(Refusal(format!(
                "{} names no point table: say where the points go with --out points.csv, and write \
                 points = [\"points.csv\"] under [gateway]",
                self.config.display()
            ))),
            (None, tables) => {
                let tables: Vec<String> = tables.iter().map(|table| table.display().to_string()).collect();
                let config = self.config.display();
                Err(Refusal(format!(
                    "{config} names several point tables: say which with --out: {}",
                    tables.join(", ")
                )))
            }
        }
    }

    fn read(&self, problems: &mut Problems) -> Result<Option<Sheet>, Refusal> {
        let mut types = Types::shipped();
        if let Some(path) = &self.types {
            let mut wrong = Problems::in_file(path.display().to_string());
            if let Some(text) = read_text(path, &mut wrong) {
                types.add(&text, &mut wrong);
            }
            if !wrong.is_empty() {
                return Err(refuse(told(&wrong), "the table of sensor types has problems; nothing was imported"));
            }
        }
        let Some(text) = read_text(&self.file, problems) else { return Ok(None) };
        Ok(if cddy::looks_like(&text) {
            cddy::read(&text, self.site.as_deref(), &types, problems)
        } else {
            Sheet::of_csv(&text, problems)
        })
    }

    /// Adding is asked for by the command itself; changing and retiring is not.
    fn consent(&self, changed: usize, retired: usize, out: &Path) -> Result<(), Refusal> {
        if self.yes || changed + retired == 0 {
            return Ok(());
        }
        let what = format!("{changed} points of {} change, {retired} are retired", out.display());
        if self.json || !std::io::stdin().is_terminal() {
            return Err(Refusal(format!("{what}: say --yes if that is meant; nothing was written")));
        }
        eprint!("{what}. Write it? [y/N] ");
        let mut answer = String::new();
        let read = std::io::stdin().read_line(&mut answer);
        match (read, answer.trim()) {
            (Ok(_), "y" | "Y" | "yes" | "是") => Ok(()),
            (Ok(_) | Err(_), _) => Err(Refusal("nothing was written".into())),
        }
    }
}

/// Writes the whole file or nothing; the one before stays as `FILE.before`.
fn replace(path: &Path, text: &str) -> Result<(), Refusal> {
    let wrong = |error: std::io::Error| Refusal(format!("{}: {error}", path.display()));
    let beside = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let new = beside(".new");
    let mut file = std::fs::File::create(&new).map_err(wrong)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(wrong)?;
    if path.exists() {
        std::fs::copy(path, beside(".before")).map_err(wrong)?;
    }
    std::fs::rename(&new, path).map_err(wrong)
}

/// What an import comes to, for people and programs.
struct Told<'a> {
    import: &'a Import,
    out: &'a Path,
    merged: &'a Merged,
    problems: &'a [String],
    remarks: &'a [String],
    read: usize,
    retired: usize,
}

impl Told<'_> {
    fn show(&self, seen: &Seen) {
        let list = |title: &str, lines: &[String]| {
            if !lines.is_empty() {
                println!("{title}: {}", lines.len());
                lines.iter().take(SHOWN).for_each(|line| println!("  {line}"));
                if lines.len() > SHOWN {
                    println!("  and {} more (--json has all)", lines.len() - SHOWN);
                }
            }
        };
        let changed: Vec<String> = self.merged.changed.iter().map(changed).collect();
        list("skipped", self.problems);
        list("remarks", self.remarks);
        list("added", &self.merged.added);
        list("changed", &changed);
        let absent = if self.retired > 0 { "retired" } else { "not in the file, kept (--retire takes them out)" };
        list(absent, &self.merged.absent);
        println!(
            "{}: {} added, {} changed, {} unchanged, {} retired{}",
            self.out.display(),
            self.merged.added.len(),
            self.merged.changed.len(),
            self.merged.unchanged,
            self.retired,
            if self.import.dry_run { "; a dry run, nothing is written" } else { "" }
        );
        if !seen.tables.iter().any(|table| table == self.out) {
            println!("the configuration does not name this table yet: add it to points = [..] under [gateway]");
        }
    }

    fn json(&self, written: bool) -> serde_json::Value {
        let changed: Vec<_> = self
            .merged
            .changed
            .iter()
            .map(|change| {
                let cells =
                    change.cells.iter().map(|(column, old, new)| json!({ "column": column, "old": old, "new": new }));
                json!({ "id": change.id, "cells": cells.collect::<Vec<_>>() })
            })
            .collect();
        json!({
            "file": self.import.file, "out": self.out, "written": written, "dry_run": self.import.dry_run,
            "read": self.read, "added": self.merged.added.len(), "changed": changed.len(),
            "unchanged": self.merged.unchanged, "retired": self.retired, "absent": self.merged.absent,
            "added_points": self.merged.added, "changed_points": changed,
            "problems": self.problems, "remarks": self.remarks,
        })
    }
}

fn changed(change: &import::Change) -> String {
    let cells = change.cells.iter().map(|(column, old, new)| format!("{column} {old:?} -> {new:?}"));
    format!("{}: {}", change.id, cells.collect::<Vec<_>>().join(", "))
}

impl Export {
    fn run(&self) -> Result<ExitCode, Refusal> {
        let seen = config::look(&self.config);
        if !seen.problems.is_empty() {
            let list = seen.problems.iter().map(ToString::to_string).collect();
            return Err(refuse(list, "the configuration has problems; nothing was exported"));
        }
        let of_site = |id: &str| self.site.as_deref().is_none_or(|site| id.split('.').next() == Some(site));
        let lines = seen.written.iter().filter(|written| of_site(&written.id)).map(|written| Line {
            at: config::Key::root(),
            cells: written.cells(),
            values: Values::default(),
            place: None,
        });
        let sheet = Sheet { lines: lines.collect() };
        let text = import::write(None, &sheet, false).text;
        match &self.out {
            None => print!("{text}"),
            Some(out) if out.exists() => {
                return Err(Refusal(format!("{} is there already; give another name", out.display())));
            }
            Some(out) => {
                replace(out, &text)?;
                eprintln!("{}: {} points", out.display(), sheet.lines.len());
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
