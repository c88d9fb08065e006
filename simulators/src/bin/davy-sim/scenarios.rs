//! `scenario list`, `show` and `play`.

use std::time::Duration;

use davy_simulators::clock::{Stopwatch, now_ms};
use davy_simulators::mqtt::{Publisher, Qos};
use davy_simulators::scenario::{Scenario, Signal, shipped, shipped_files};
use davy_simulators::site::{DemoPoint, Script, Transport, demo_points, payload};

use crate::arguments::{self, Broker, Play, ScenarioCommand};
use crate::{Failed, say, say_json, until_interrupted};

pub async fn scenario(asked: arguments::Scenario) -> Result<(), Failed> {
    match asked.command {
        ScenarioCommand::List { json } => list(json),
        ScenarioCommand::Show { name } => show(&name),
        ScenarioCommand::Play(asked) => play(asked).await,
    }
}

fn list(json: bool) -> Result<(), Failed> {
    for (name, _) in shipped_files() {
        let scenario = shipped(name)?;
        if json {
            say_json(&scenario)?;
        } else {
            let seconds = scenario.length.as_secs();
            say(&format!(
                "{name:<17} {seconds:>4} s  {} points  {}: {}",
                scenario.tracks.len(),
                scenario.title,
                scenario.about
            ))?;
        }
    }
    Ok(())
}

fn show(name: &str) -> Result<(), Failed> {
    // Asking for it first gives the message that lists the names.
    shipped(name)?;
    let text = shipped_files().iter().find(|(known, _)| *known == name).map_or("", |(_, text)| text);
    say(text.trim_end())
}

/// A shipped scenario, or a file when there is none of that name.
fn read(name: &str) -> Result<Scenario, Failed> {
    if shipped_files().iter().any(|(known, _)| *known == name) || !name.ends_with(".toml") {
        return Ok(shipped(name)?);
    }
    let text = std::fs::read_to_string(name).map_err(|error| format!("{name}: {error}"))?;
    Ok(Scenario::parse(name, name, &text)?)
}

/// The demo's point of that name, or one that shows three digits.
fn point_of(id: &str) -> DemoPoint {
    demo_points().into_iter().find(|point| point.id() == id).unwrap_or_else(|| {
        // Scenario names come from a file; the table's are static.
        let (site, point) = id.split_once('.').unwrap_or(("", id));
        let (site, point): (&'static str, &'static str) = (site.to_owned().leak(), point.to_owned().leak());
        DemoPoint {
            site,
            point,
            name: point,
            kind: "",
            place: "",
            unit: "",
            low: f64::MIN,
            high: f64::MAX,
            resolution: 0.001,
            period: Duration::from_secs(1),
            normal: 0.0,
            noise: 0.0,
            limits: Vec::new(),
            transport: Transport::Mqtt { topic: format!("{site}/{point}") },
        }
    })
}

async fn play(asked: Play) -> Result<(), Failed> {
    let scenario = read(&asked.scenario)?;
    let points: Vec<DemoPoint> = scenario.tracks.iter().map(|track| point_of(&track.point)).collect();
    let publisher = match asked.mqtt.clone() {
        None => None,
        Some(mqtt) => {
            let broker = Broker { mqtt, user: asked.user.clone() };
            Some(Publisher::connect(
                "davy-sim-scenario",
                broker.address().await?,
                broker.login().as_ref(),
                Qos::AtLeastOnce,
            ))
        }
    };
    let script = Script::new(vec![scenario], asked.speed);
    let watch = Stopwatch::start();
    let mut step = tokio::time::interval(asked.period);
    let mut interrupted = std::pin::pin!(until_interrupted());
    loop {
        tokio::select! {
            () = &mut interrupted => break,
            _ = step.tick() => {}
        }
        let wall = watch.elapsed();
        if wall >= asked.bounds.span {
            break;
        }
        for point in &points {
            speak(&script, point, wall, publisher.as_ref(), asked.bounds.json)?;
        }
    }
    if let Some(publisher) = publisher {
        let counts = publisher.finish(Duration::from_secs(2)).await;
        if asked.bounds.json {
            say_json(&counts)?;
        } else {
            say(&format!(
                "{} messages sent, {} acknowledged, {} dropped",
                counts.sent, counts.acknowledged, counts.dropped
            ))?;
        }
    }
    Ok(())
}

fn speak(script: &Script, point: &DemoPoint, wall: Duration, to: Option<&Publisher>, json: bool) -> Result<(), Failed> {
    let reading = script.reading(point, wall);
    match (to, payload(point, reading, now_ms())) {
        (Some(publisher), Some(text)) => {
            // What is dropped is counted by the publisher.
            publisher.publish(&format!("{}/{}", point.site, point.point), text);
            Ok(())
        }
        (Some(_), None) => Ok(()),
        (None, _) if json => say_json(
            &serde_json::json!({ "wall_ms": wall.as_millis() as u64, "point": point.id(), "reading": reading }),
        ),
        (None, _) => {
            let said = match reading.signal {
                Signal::Value(value) => format!("{value:.3} {}", point.unit),
                Signal::Code(code) => format!("code {code}"),
                Signal::Silent => "silent".to_owned(),
            };
            let clock = if reading.clock_offset_ms == 0 {
                String::new()
            } else {
                format!("  clock off by {} s", reading.clock_offset_ms / 1_000)
            };
            say(&format!("{:>7.1} s  {:<34} {said}{clock}", wall.as_secs_f64(), point.id()))
        }
    }
}
