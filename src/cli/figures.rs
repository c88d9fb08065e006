//! `davy figures`: the alarm figures of a running gateway as a table, with what the standards hold to be bearable.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::Refusal;
use super::ask::{Gateway, ask};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Only this site.
    #[arg(long)]
    site: Option<String>,
    /// From this moment on (2026-11-23T00:00:00+08:00); the last 24 hours unless told.
    #[arg(long)]
    from: Option<String>,
    /// Up to this moment.
    #[arg(long)]
    to: Option<String>,
    /// The API's answer as it is.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: Gateway,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Refusal> {
    let mut query = Vec::new();
    for (key, value) in [("site", &arguments.site), ("from", &arguments.from), ("to", &arguments.to)] {
        query.extend(value.as_ref().map(|value| (key, value.as_str())));
    }
    let query = reqwest::Url::parse_with_params("http://davy/api/v1/figures", &query)
        .map_err(|error| Refusal(format!("the question cannot be put: {error}")))?;
    let path = format!("{}?{}", query.path(), query.query().unwrap_or_default());
    let told = ask(&arguments.at, &path, None)?;
    if arguments.json {
        println!("{told}");
    } else {
        print!("{}", table(&told));
    }
    Ok(ExitCode::SUCCESS)
}

/// One row a site, then what is too much of all of them, then the sources that alarm most.
fn table(told: &Value) -> String {
    let mut text = format!("{} .. {}", word(&told["from"]), word(&told["to"]));
    if told["complete"] == false {
        text.push_str("  (shorter than asked for: too many alarms to keep)");
    }
    text.push_str(&format!(
        "\n{:<20} {:>7} {:>8} {:>7} {:>16} {:>7} {:>8} {:>8} {:>6} {:>7} {:>14} {:>14} {:>14} {:>9} {:>8}\n",
        "site",
        "alarms",
        "episodes",
        "causes",
        "10min now/avg/pk",
        "floods",
        "chatter",
        "fleeting",
        "stale",
        "unack",
        "ack med/p95 s",
        "answer",
        "close",
        "delivered",
        "on line"
    ));
    let sites = told["sites"].as_object().into_iter().flatten();
    let rows = sites.map(|(site, of)| (site.as_str(), of));
    for (site, of) in rows.chain([("all", &told["total"])]) {
        text.push_str(&row(site, of));
    }
    let total = &told["total"];
    text.push_str(&people(&told["positions"]));
    text.push_str(&mix(total));
    for target in told["targets"].as_array().into_iter().flatten().filter(|target| target["over"] == true) {
        let (figure, value) = (word(&target["figure"]), target["value"].as_f64().unwrap_or(0.0));
        let (most, basis) = (&target["at_most"], word(&target["basis"]));
        text.push_str(&format!("too much: {figure} is {value:.3}, at most {most} ({basis})\n"));
    }
    for top in total["top"]["list"].as_array().into_iter().flatten() {
        let share = top["share"].as_f64().unwrap_or(0.0) * 100.0;
        text.push_str(&format!(
            "{:>7} {share:>5.1} %  {} {}\n",
            count(&top["raised"]),
            word(&top["rule"]),
            word(&top["subject"])
        ));
    }
    text
}

fn row(site: &str, of: &Value) -> String {
    let rate = &of["per_10_minutes"];
    let average = rate["average"].as_f64().unwrap_or(0.0);
    let spread = |key: &str| spread(&of[key]);
    let (delivered, online) = (percent(&of["deliveries"]["rate"]), percent(&of["online"]["rate"]));
    format!(
        "{site:<20} {:>7} {:>8} {:>7} {:>16} {:>7} {:>8} {:>8} {:>6} {:>7} {:>14} {:>14} {:>14} {delivered:>9} {online:>8}\n",
        count(&of["raised"]),
        count(&of["episodes"]),
        count(&of["one_cause_episodes"]),
        format!("{}/{average:.1}/{}", count(&rate["now"]), count(&rate["peak"])),
        count(&of["floods"]["count"]),
        count(&of["chattering"]["sources"]),
        count(&of["fleeting"]),
        count(&of["stale"]["count"]),
        count(&of["unacknowledged"]),
        spread("to_acknowledge"),
        spread("to_answer"),
        spread("to_close"),
    )
}

/// A row a position, with what its people have to do with.
fn people(positions: &Value) -> String {
    let positions = positions.as_object().into_iter().flatten();
    let rows = positions.map(|(position, of)| {
        format!(
            "position {position}: {} alarms, seen after {} s, answered {} s, closed {} s, messages delivered {}\n",
            count(&of["raised"]),
            spread(&of["to_acknowledge"]),
            spread(&of["to_answer"]),
            spread(&of["to_close"]),
            percent(&of["deliveries"]["rate"])
        )
    });
    rows.collect()
}

/// Shares of the priorities beside what they should be, and what nobody approved.
fn mix(total: &Value) -> String {
    let shares = total["priorities"].as_array().into_iter().flatten().map(|of| {
        let over = if of["over"] == true { ", too many" } else { "" };
        format!("{} {} (about {}{over})", word(&of["priority"]), percent(&of["share"]), percent(&of["target"]))
    });
    let standing = total["stale"]["share"].as_f64().map_or("-".to_owned(), |share| format!("{:.1} %", share * 100.0));
    let unapproved = &total["unapproved"];
    format!(
        "priorities: {}\nstanding for more than a day: {standing} of the points; without approval: {} shelved, {} rule files\n",
        shares.collect::<Vec<_>>().join(", "),
        count(&unapproved["shelved"]),
        count(&unapproved["rules"])
    )
}

fn spread(of: &Value) -> String {
    let seconds = |value: &Value| value.as_f64().map_or("-".to_owned(), |value| format!("{value:.0}"));
    format!("{}/{}", seconds(&of["median"]), seconds(&of["p95"]))
}

fn percent(share: &Value) -> String {
    share.as_f64().map_or("-".to_owned(), |share| format!("{:.0} %", share * 100.0))
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}
