//! `davy duty`: who is on duty, what is being called about, leave, and the hand-over of a shift.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::Refusal;
use super::ask::{Gateway, ask, ask_text, text};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Who is on duty now, who is next, who is away, and what is being called about.
    Show {
        /// The API's answer as it is.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        at: Gateway,
    },
    /// Who was called about an alarm, when and why.
    Steps {
        alarm: String,
        #[command(flatten)]
        at: Gateway,
    },
    /// Show the list of what is open and sign it: whoever goes and whoever comes, one after the other.
    Handover {
        #[arg(long)]
        roster: String,
        /// Who goes.
        #[arg(long)]
        from: String,
        /// Who comes.
        #[arg(long)]
        to: String,
        /// SHA-256 of the list that you have gone through; without it the list is shown and you are asked.
        #[arg(long)]
        list_hash: Option<String>,
        #[arg(long, default_value = "")]
        comment: String,
        #[arg(long, default_value = "")]
        by: String,
        #[command(flatten)]
        at: Gateway,
    },
    /// Somebody is away.
    Leave {
        person: String,
        #[arg(long)]
        from: Option<String>,
        #[arg(long)]
        until: String,
        #[arg(long)]
        substitute: Option<String>,
        #[arg(long)]
        reason: String,
        #[arg(long, default_value = "")]
        by: String,
        #[command(flatten)]
        at: Gateway,
    },
    /// A leave ends early.
    Back {
        id: String,
        #[arg(long, default_value = "")]
        reason: String,
        #[arg(long, default_value = "")]
        by: String,
        #[command(flatten)]
        at: Gateway,
    },
}

pub fn run(command: &Command) -> Result<ExitCode, Refusal> {
    match command {
        Command::Show { json, at } => {
            let told = ask(at, "/api/v1/duty", None)?;
            if *json { println!("{told}") } else { show(&told) }
        }
        Command::Steps { alarm, at } => {
            let told = ask(at, &format!("/api/v1/alarms/{alarm}/steps"), None)?;
            for step in list(&told["steps"]) {
                let call =
                    step["call"].as_u64().filter(|call| *call > 0).map_or(String::new(), |n| format!(" no. {n}"));
                let (at, kind, level, person) = (&step["at"], &step["kind"], &step["level"], &step["person"]);
                println!("{:<28} {}{call} {} {}", text(at), text(kind), text(level), text(person));
            }
        }
        Command::Handover { roster, from, to, list_hash, comment, by, at } => {
            let list_hash = match list_hash {
                Some(hash) => hash.clone(),
                None => gone_through(at)?,
            };
            let body = json!({
                "roster": roster, "from": from, "to": to, "list_hash": list_hash, "comment": comment, "by": by,
            });
            let told = ask(at, "/api/v1/duty/handover", Some(body))?;
            match text(&told["awaits"]) {
                "" => println!("{} signed by both", text(&told["id"])),
                other => {
                    println!("{} signed; {other} has to sign the same list: --list-hash {list_hash}", text(&told["id"]))
                }
            }
        }
        Command::Leave { person, from, until, substitute, reason, by, at } => {
            let body = json!({
                "person": person, "from": from, "until": until, "substitute": substitute, "reason": reason, "by": by,
            });
            println!("{} until {until}", text(&ask(at, "/api/v1/duty/leave", Some(body))?["id"]));
        }
        Command::Back { id, reason, by, at } => {
            let body = json!({ "reason": reason, "by": by });
            println!("{} ended", text(&ask(at, &format!("/api/v1/duty/leave/{id}/end"), Some(body))?["id"]));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows the list and asks whether to sign it. In a pipe nobody can have read it: nothing is signed.
fn gone_through(at: &Gateway) -> Result<String, Refusal> {
    let list = ask_text(at, "/api/v1/handover?format=text")?;
    println!("{list}");
    let hash = list.lines().rev().find_map(|line| line.strip_prefix("SHA-256 ")).unwrap_or_default().to_owned();
    if !std::io::stdin().is_terminal() {
        return Err(Refusal(format!("nothing is signed: go through the list, then say --list-hash {hash}")));
    }
    eprint!("签字 / sign this list? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(|error| Refusal::of(&error))?;
    if answer.trim().eq_ignore_ascii_case("y") { Ok(hash) } else { Err(Refusal("nothing is signed".into())) }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn show(told: &Value) {
    for position in list(&told["positions"]) {
        let then: Vec<&str> = list(&position["then"]).map(|one| text(&one["name"])).collect();
        let (name, on_duty) = (text(&position["position"]), &position["on_duty"]);
        println!("{name:<12} {:<10} {} {}", text(&position["level"]), text(&on_duty["name"]), text(&on_duty["phone"]));
        if !then.is_empty() {
            println!("             then {}", then.join(", "));
        }
    }
    for leave in list(&told["leave"]) {
        println!("away         {} until {}", text(&leave["person"]), leave["until"]);
    }
    for owed in list(&told["handovers_owed"]) {
        println!("not handed over: {} since {}", text(&owed["roster"]), text(&owed["since"]));
    }
    for one in list(&told["signing"]) {
        println!("signed by one: {} {}, {} is awaited", text(&one["roster"]), text(&one["id"]), text(&one["awaits"]));
    }
    for run in list(&told["escalations"]) {
        let next = list(&run["clocks"]).next().map_or("", |clock| text(&clock["whom"]));
        let (alarm, priority) = (text(&run["alarm"]), text(&run["priority"]));
        println!(
            "{priority} {alarm} {} {}: next {next} {}",
            text(&run["site"]),
            text(&run["subject"]),
            text(&run["next"])
        );
    }
}
