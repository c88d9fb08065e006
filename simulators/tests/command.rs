//! `davy-sim` as a person or a script starts it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use tokio_modbus::prelude::{Reader, Slave};

fn davy_sim(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_davy-sim"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = davy_sim(arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn scenarios_are_listed_shown_and_played_from_anywhere() {
    let (code, listed, _) = run(&["scenario", "list"]);
    assert_eq!((code, listed.lines().count()), (Some(0), 8));
    let (_, shown, _) = run(&["scenario", "show", "methane-ramp"]);
    assert!(shown.contains("point = \"demo-mine.face-3201-t1\""));

    // Six scenario minutes in a second of the wall: the gas is seen to rise and to fall.
    let quick = ["scenario", "play", "methane-ramp", "--speed", "240", "--period", "20ms", "--for", "1s", "--json"];
    let (code, played, _) = run(&quick);
    let values: Vec<f64> = played
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|line| line["point"] == "demo-mine.face-3201-t1")
        .map(|line| line["reading"]["signal"]["value"].as_f64().unwrap())
        .collect();
    assert_eq!(code, Some(0));
    let peak = values.iter().position(|value| *value > 1.0).expect("it rises over 1.0 %VOL");
    assert!(values[peak..].iter().any(|value| *value < 0.6), "and falls again: {values:?}");
}

#[test]
fn mistakes_end_with_a_message_and_the_right_code() {
    let (code, _, told) = run(&["scenario", "show", "methane"]);
    assert_eq!(code, Some(1));
    assert!(told.starts_with("davy-sim: methane: no shipped scenario has this name, there are methane-ramp"), "{told}");
    let (code, _, told) = run(&["modbus", "--set", "1.gas=20", "--for", "1s"]);
    assert_eq!(
        (code, told.as_str()),
        (Some(1), "davy-sim: unit 1 (Detcon 1000) has no quantity \"gas\", it has h2s\n")
    );
    assert_eq!(run(&["load"]).0, Some(2), "no server, no load");
    assert_eq!(run(&["fleet", "--mqtt", "127.0.0.1:1", "--for", "25h"]).0, Some(2));
    let (code, _, told) = run(&["load", "--mqtt", "127.0.0.1:1", "--messages", "1"]);
    assert_eq!(code, Some(1));
    assert!(told.contains("mqtt server 127.0.0.1:1: "), "{told}");
}

#[test]
fn the_points_and_the_cost_of_a_message_can_be_read_by_a_program() {
    let (_, points, _) = run(&["points", "--json"]);
    let points: Vec<serde_json::Value> = points.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let level = points.iter().find(|point| point["point"] == "tank-2-level").unwrap();
    assert_eq!(level["transport"]["modbus"]["order"], "CDAB");
    assert_eq!((&level["period_ms"], &level["kind"]), (&1_000.into(), &"tank_level".into()));
    let (code, cost, _) = run(&["load", "--dry", "--messages", "1000", "--json"]);
    let cost: serde_json::Value = serde_json::from_str(&cost).unwrap();
    assert!(code == Some(0) && cost["ns_per_message"].is_u64());
}

#[tokio::test]
async fn detectors_run_until_ctrl_c_and_say_what_they_were_asked() {
    let mut child = davy_sim(&["modbus", "--set", "1.h2s=20", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    said.read_line(&mut first).unwrap();
    let opened: serde_json::Value = serde_json::from_str(&first).unwrap();
    let address = opened["address"].as_str().unwrap().parse().unwrap();
    let mut master = tokio_modbus::client::tcp::connect_slave(address, Slave(1)).await.unwrap();
    assert_eq!(master.read_holding_registers(1, 1).await.unwrap().unwrap(), [200]);

    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let ended = tokio::task::spawn_blocking(move || {
        let mut rest = String::new();
        said.read_to_string(&mut rest).unwrap();
        (child.wait().unwrap().code(), rest)
    });
    let (code, rest) = tokio::time::timeout(Duration::from_secs(20), ended).await.expect("it ends").unwrap();
    let counts: serde_json::Value = serde_json::from_str(rest.lines().next().unwrap()).unwrap();
    assert_eq!((code, &counts["traffic"]["requests"]), (Some(0), &1.into()));
}
