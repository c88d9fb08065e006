//! `davy rules backtest`: what rules would have raised, on stored samples or on those of a CSV file.
//!
//! A file or folder of candidate rules is played over a span of time, beside the rules that are in force if they
//! are to be compared. The data folder of a gateway that runs may be read: nothing in it is changed or locked.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::Refusal;
use crate::backtest::{Acknowledging, Columns, Feed, Order, Progress, Report, Stored, Table, run as play, select};
use crate::clock::Stopwatch;
use crate::config;
use crate::facts;
use crate::gateway::rulebook;
use crate::journal::{RuleFile, Setup};
use crate::model::{Point, Timestamp};
use crate::rule::{Language, read_file, trial};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The candidate: a rule file, or a folder of them.
    rules: PathBuf,
    /// First moment: 2026-10-01, 2026-10-01T08:00:00Z or seconds since 1970. With --csv: the file's first.
    #[arg(long)]
    from: Option<String>,
    /// The moment at which it ends.
    #[arg(long)]
    to: Option<String>,
    /// Ids or patterns, with commas between: 'mine.t1,mine.face-*'. All points without it.
    #[arg(long, value_delimiter = ',')]
    points: Vec<String>,
    /// Compare with this version: a rule file or a folder.
    #[arg(long)]
    against: Option<PathBuf>,
    /// Compare with the rules that were last in force in the data folder.
    #[arg(long, conflicts_with = "against")]
    against_running: bool,
    /// Tell how long before each alarm of this rule the others were up.
    #[arg(long)]
    reference: Option<String>,
    /// Configuration with points, rules and data folder.
    #[arg(long, env = "DAVY_CONFIG", default_value = "config/davy.toml")]
    config: PathBuf,
    /// The data folder itself; its own record says what points there are.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Samples of this file: time,point,value[,quality], or time and a column a point.
    #[arg(long, conflicts_with = "data")]
    csv: Option<PathBuf>,
    /// What its columns are: 'Zeit=time,CH4=mine.t1'.
    #[arg(long, value_delimiter = ',', requires = "csv")]
    csv_columns: Vec<String>,
    /// Of times in it that name no zone, such as +08:00.
    #[arg(long, requires = "csv", allow_hyphen_values = true)]
    utc_offset: Option<String>,
    /// A point that no configuration has: "t1 methane T1 %VOL period=10s".
    #[arg(long = "point", requires = "csv")]
    declared: Vec<String>,
    /// Nobody acknowledges: what comes back is the same alarm, as in a gateway nobody looks at.
    #[arg(long)]
    unacknowledged: bool,
    #[arg(long)]
    json: bool,
}

/// Points, and the rules that were last in force, as far as they are known.
struct Ground {
    setup: Setup,
    data: PathBuf,
    running: Option<Vec<RuleFile>>,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Refusal> {
    let watch = Stopwatch::start();
    let ground = arguments.ground()?;
    let candidate = read_rules(&arguments.rules)?;
    let against = arguments.against(&ground)?;
    let chosen = select(&ground.setup.points, &arguments.points).map_err(|error| Refusal::of(&error))?;
    let about = if arguments.rules.is_dir() { BTreeSet::new() } else { about(&candidate, against.as_deref()) };
    let mut source = arguments.open(&ground, &chosen.points)?;
    let (from, to) = arguments.span(&mut source)?;
    let acknowledging = if arguments.unacknowledged { Acknowledging::Never } else { Acknowledging::AtOnce };
    let on = Setup { points: chosen.points, ..ground.setup.clone() };
    let order = Order { candidate, against, ground: on, from, to, acknowledging };
    let stop = stop_on_ctrl_c()?;
    let outcome = play(&order, source.feed(), &mut |progress| {
        show(Some(progress));
        !stop.load(Relaxed)
    });
    show(None);
    let report = Report::of(outcome.map_err(|error| Refusal::of(&error))?, &about, arguments.reference.as_deref());
    if let Some(reference) = &arguments.reference {
        let known = |played: &crate::backtest::Played| played.watched.contains_key(reference.as_str());
        if !known(&report.outcome.candidate) && !report.outcome.against.as_ref().is_some_and(known) {
            return Err(Refusal(format!("reference: there is no rule {reference:?} in what was played")));
        }
    }
    if arguments.json {
        let mut object = report.json(usize::MAX);
        object["seconds"] = watch.elapsed().as_secs_f64().into();
        source.remarks().into_iter().for_each(|(key, value)| object[key] = value);
        println!("{object}");
    } else {
        print!("{}", report.text());
        source.tell();
    }
    Ok(ExitCode::SUCCESS)
}

/// Where samples come from.
enum Source {
    Stored(Box<Stored>),
    Table(Box<Table>),
}

impl Arguments {
    fn ground(&self) -> Result<Ground, Refusal> {
        if !self.declared.is_empty() {
            let declared =
                |text: &String| trial::declared(text).map_err(|what| Refusal(format!("--point {text:?}: {what}")));
            let points = self.declared.iter().map(declared).collect::<Result<_, _>>()?;
            return Ok(Ground { setup: Setup::of(points), data: PathBuf::new(), running: None });
        }
        let data = match &self.data {
            Some(data) => data.clone(),
            None => {
                let config = config::load(&self.config).map_err(|problems| {
                    let mut told: Vec<String> = problems.iter().map(ToString::to_string).collect();
                    told.push("a backtest needs the points: mend the configuration, or say --data or --point".into());
                    Refusal(told.join("\n"))
                })?;
                if self.csv.is_some() {
                    let points = config.points.into_iter().map(|point| point.point).collect();
                    let setup = Setup { calendar: config.calendar, ..Setup::of(points) };
                    return Ok(Ground { setup, data: config.data, running: None });
                }
                config.data
            }
        };
        let path = data.join("facts.db");
        if !path.exists() {
            return Err(Refusal(format!("{}: no gateway has run on this folder", data.display())));
        }
        let setup = facts::Reader::open(&path).and_then(|facts| facts.setup()).map_err(|error| Refusal::of(&error))?;
        let setup = setup.ok_or_else(|| Refusal(format!("{}: holds no points yet", path.display())))?;
        let running = Some(setup.rules.clone());
        Ok(Ground { setup, data, running })
    }

    fn against(&self, ground: &Ground) -> Result<Option<Vec<RuleFile>>, Refusal> {
        match (&self.against, self.against_running) {
            (Some(path), _) => read_rules(path).map(Some),
            (None, true) => match &ground.running {
                Some(rules) => Ok(Some(rules.clone())),
                None => Err(Refusal("--against-running needs a data folder: say --against FOLDER".into())),
            },
            (None, false) => Ok(None),
        }
    }

    fn open(&self, ground: &Ground, points: &[Point]) -> Result<Source, Refusal> {
        let failed = |error: crate::backtest::Error| Refusal::of(&error);
        if let Some(path) = &self.csv {
            let columns = Columns::read(&self.csv_columns, self.utc_offset.as_deref()).map_err(failed)?;
            return Ok(Source::Table(Box::new(Table::open(path, points, columns).map_err(failed)?)));
        }
        Ok(Source::Stored(Box::new(Stored::open(&ground.data.join("history"), points).map_err(failed)?)))
    }

    fn span(&self, source: &mut Source) -> Result<(Timestamp, Timestamp), Refusal> {
        let read = |name: &str, text: &Option<String>| match text {
            None => Ok(None),
            Some(text) => moment(text).map(Some).ok_or_else(|| {
                Refusal(format!("--{name} {text:?} is not a time; write 2026-10-01 or 2026-10-01T08:00:00Z"))
            }),
        };
        let (from, to) = (read("from", &self.from)?, read("to", &self.to)?);
        if let (Some(from), Some(to)) = (from, to) {
            return Ok((from, to));
        }
        let known = match source {
            Source::Table(table) => table.span().map_err(|error| Refusal::of(&error))?,
            Source::Stored(_) => return Err(Refusal("say --from and --to".into())),
        };
        let (first, last) = known.ok_or_else(|| Refusal("the file holds no line with a time".into()))?;
        Ok((from.unwrap_or(first), to.unwrap_or(last + Duration::from_micros(1))))
    }
}

impl Source {
    fn feed(&mut self) -> &mut dyn Feed {
        match self {
            Self::Stored(stored) => &mut **stored,
            Self::Table(table) => &mut **table,
        }
    }

    /// What was not judged and should be known.
    fn remarks(&self) -> Vec<(&'static str, Value)> {
        match self {
            Self::Stored(stored) => vec![
                ("stored_until", stored.newest().map(|at| at.to_string()).into()),
                (
                    "unreadable",
                    json!(stored.unreadable().iter().map(|path| path.display().to_string()).collect::<Vec<_>>()),
                ),
            ],
            Self::Table(table) => {
                let (count, named) = table.wrong();
                let lines: Vec<Value> =
                    named.iter().map(|wrong| json!({ "line": wrong.line, "what": wrong.what })).collect();
                vec![("wrong_lines", count.into()), ("wrong", lines.into())]
            }
        }
    }

    fn tell(&self) {
        match self {
            Self::Stored(stored) => {
                for path in stored.unreadable() {
                    eprintln!("{}: cannot be read; its samples were not judged", path.display());
                }
            }
            Self::Table(table) => {
                let (count, named) = table.wrong();
                named.iter().for_each(|wrong| eprintln!("line {}: {}", wrong.line, wrong.what));
                if count > 0 {
                    eprintln!("{count} wrong lines were left out");
                }
            }
        }
    }
}

/// A day alone is its first moment, UTC.
fn moment(text: &str) -> Option<Timestamp> {
    let day = || Timestamp::parse(&format!("{text}T00:00:00Z"));
    if text.len() == 10 && text.contains('-') { day() } else { Timestamp::parse(text) }
}

fn read_rules(path: &Path) -> Result<Vec<RuleFile>, Refusal> {
    if path.is_dir() {
        let (files, problems) = rulebook::read_folder(path);
        if let Some(problem) = problems.first() {
            return Err(Refusal(problem.to_string()));
        }
        if files.is_empty() {
            return Err(Refusal(format!("{}: there are no .rhai files", path.display())));
        }
        return Ok(files);
    }
    let text = std::fs::read_to_string(path)
        .map_err(|error| Refusal(format!("{}: cannot be read: {error}", path.display())))?;
    Ok(vec![RuleFile { path: path.display().to_string(), text }])
}

/// A single file is compared with what it stands for: rules of its ids, and those that its version in force has.
fn about(candidate: &[RuleFile], against: Option<&[RuleFile]>) -> BTreeSet<Arc<str>> {
    let language = Language::new();
    let ids = |file: &RuleFile| -> Vec<Arc<str>> {
        read_file(&language, file)
            .map_or_else(|_| Vec::new(), |(rules, _)| rules.into_iter().map(|rule| rule.id).collect())
    };
    let mut about: BTreeSet<Arc<str>> = candidate.iter().flat_map(ids).collect();
    let same = |file: &&RuleFile| candidate.iter().any(|own| own.path.ends_with(&file.path));
    about.extend(against.into_iter().flatten().filter(same).flat_map(ids));
    about
}

/// True once somebody pressed Ctrl-C.
fn stop_on_ctrl_c() -> Result<Arc<AtomicBool>, Refusal> {
    let stop = Arc::new(AtomicBool::new(false));
    let pressed = stop.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Refusal(format!("the operating system gives no event loop: {error}")))?;
    let waits = std::thread::Builder::new().name("ctrl-c".into()).spawn(move || {
        if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            pressed.store(true, Relaxed);
        }
    });
    waits.map_err(|error| Refusal(format!("the operating system gives no thread: {error}")))?;
    Ok(stop)
}

/// A bar on a terminal that is written over; nothing in a pipe.
fn show(progress: Option<Progress>) {
    const WIDTH: usize = 30;
    let mut out = std::io::stderr();
    if !out.is_terminal() {
        return;
    }
    let text = progress.map_or_else(String::new, |progress| {
        let full = (progress.share * WIDTH as f64) as usize;
        let bar = format!("{}{}", "#".repeat(full), ".".repeat(WIDTH - full.min(WIDTH)));
        format!("[{bar}] {:3.0} %  {}  {} samples", progress.share * 100.0, progress.at.date(), progress.samples)
    });
    // A terminal that is gone is no reason to stop.
    write!(out, "\r\u{1b}[K{text}").and_then(|()| out.flush()).ok();
}
