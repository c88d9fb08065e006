//! What is outside the data folder: Davy's own ports, the peers that it connects to, and what the running
//! gateway says of its points.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::time::timeout;

use super::{Findings, page};
use crate::config::Config;
use crate::model::{Timestamp, duration_text};

/// A peer that has not answered by then cannot be reached.
const PATIENCE: Duration = Duration::from_secs(3);
/// Silent points that are named.
const NAMED: usize = 5;

pub async fn look(config: &Config, runs: bool, now: Timestamp, findings: &mut Findings) {
    for listener in &config.mqtt_listeners {
        own(&format!("source.mqtt_listener.{}", listener.name), listener.address, runs, findings).await;
    }
    own("web", config.web.address, runs, findings).await;
    if runs {
        // Its own connections tell more than a second one would, and some devices bear only one.
        return ask(config, now, findings).await;
    }
    let brokers = config.mqtt_clients.iter();
    let brokers = brokers.map(|(name, client)| (format!("source.mqtt_client.{name}"), client.address()));
    let devices =
        config.modbus.iter().map(|device| (format!("source.modbus.{}", device.name), device.address.to_string()));
    let mut tries = tokio::task::JoinSet::new();
    for (about, address) in brokers.chain(devices) {
        tries.spawn(async move {
            let answer = reach(&address).await;
            (about, address, answer)
        });
    }
    let mut answers = tries.join_all().await;
    answers.sort_by(|one, other| one.0.cmp(&other.0));
    for (about, address, answer) in answers {
        match answer {
            Ok(()) => findings.fine(&about, format!("{address} answers")),
            Err(cause) => findings.error(&about, format!("{address}: {cause}"), "check network, power and the peer"),
        }
    }
    findings.fine("points", "how long they are silent is known while the gateway runs");
}

/// One of Davy's own servers: its port is free while it is stopped, and taken while it runs. Nobody connects:
/// a caller that says nothing would be counted as a loss.
async fn own(about: &str, address: SocketAddr, runs: bool, findings: &mut Findings) {
    if address.port() == 0 {
        return findings.fine(about, "any free port");
    }
    match (TcpListener::bind(address).await, runs) {
        (Ok(_), false) => findings.fine(about, format!("{address} is free")),
        (Ok(_), true) => {
            findings.error(about, format!("nobody listens on {address}"), "restart the gateway; its log says why");
        }
        (Err(cause), true) if cause.kind() == std::io::ErrorKind::AddrInUse => {
            findings.fine(about, format!("{address} is listened on"));
        }
        (Err(cause), _) => {
            let advice = "end the program that uses the port, or choose another address";
            findings.error(about, format!("{address} cannot be listened on: {cause}"), advice);
        }
    }
}

async fn reach(address: &str) -> Result<(), String> {
    let connect = async {
        let found: Vec<SocketAddr> = lookup_host(address).await.map_err(|error| error.to_string())?.collect();
        let mut last = "its name has no address".to_owned();
        for address in found {
            match TcpStream::connect(address).await {
                Ok(_) => return Ok(()),
                Err(error) => last = error.to_string(),
            }
        }
        Err(last)
    };
    timeout(PATIENCE, connect).await.unwrap_or_else(|_| Err(format!("no answer within {}", duration_text(PATIENCE))))
}

/// The running gateway on itself and its points.
async fn ask(config: &Config, now: Timestamp, findings: &mut Findings) {
    if config.web.address.port() == 0 {
        return findings.warn(
            "points",
            "the gateway's address is not known: its port is 0",
            "give [web] address a port",
        );
    }
    let answers = match Api::open(config) {
        Ok(api) => api.ask().await,
        Err(cause) => Err(cause),
    };
    let Answers { ready, points, exercises, protection } = match answers {
        Ok(answers) => answers,
        Err(cause) => {
            let advice = "see that the page opens in a browser; the gateway's log says more";
            return findings.error("web", format!("the gateway does not answer: {cause}"), advice);
        }
    };
    for reason in ready["reasons"].as_array().into_iter().flatten() {
        let (part, what) = (reason["part"].as_str().unwrap_or("gateway"), reason["what"].as_str().unwrap_or_default());
        findings.error(part, what, "the gateway's log says more");
    }
    silent(&points, now, findings);
    practised(&exercises, findings);
    reduced(&protection, findings);
}

/// Exercises that run: whoever is called may take what is real for one.
fn practised(exercises: &Value, findings: &mut Findings) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for one in exercises["exercises"].as_array().into_iter().flatten() {
        let injected = one["injections"].as_array().map_or(0, Vec::len);
        let (id, site, by, until) = (text(&one["id"]), text(&one["site"]), text(&one["by"]), text(&one["until"]));
        let what = format!("{id} of {by} runs at {site} until {until}, {injected} values injected");
        findings.warn("exercise", what, "end it when the drill is over: davy exercise end");
    }
}

/// The list of what reduces protection, in one line.
fn reduced(protection: &Value, findings: &mut Findings) {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    let entries = protection["entries"].as_array().map_or(&[][..], Vec::as_slice);
    entries.iter().filter_map(|entry| entry["kind"].as_str()).for_each(|kind| *kinds.entry(kind).or_default() += 1);
    let percent = |site: &&Value| site["percent"].as_f64().unwrap_or(0.0);
    let sites = protection["sites"].as_array().into_iter().flatten();
    let least = sites.min_by(|one, other| percent(one).total_cmp(&percent(other)));
    let left = least.map_or_else(String::new, |site| {
        format!("; least is left at {}: {} %", site["site"].as_str().unwrap_or_default(), percent(&site))
    });
    if entries.is_empty() {
        return findings.fine("protection", format!("nothing reduces it{left}"));
    }
    let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let what = format!("{} on the list ({}){left}", entries.len(), kinds.join(", "));
    findings.warn("protection", what, "davy protection tells whose they are and when they end");
}

fn silent(points: &[Value], now: Timestamp, findings: &mut Findings) {
    let mut silent: Vec<(Duration, &str)> = points
        .iter()
        .filter(|point| point["freshness"] != "live")
        .filter_map(|point| {
            let since = point["received"].as_str().and_then(Timestamp::parse);
            Some((since.map_or(Duration::MAX, |since| now.since(since)), point["id"].as_str()?))
        })
        .collect();
    silent.sort_by(|one, other| other.cmp(one));
    if silent.is_empty() {
        return findings.fine("points", format!("all {} are heard within their periods", points.len()));
    }
    let named = silent.iter().take(NAMED).map(|(span, id)| match *span {
        Duration::MAX => format!("{id} (never heard)"),
        span => format!("{id} ({})", duration_text(Duration::from_secs(span.as_secs()))),
    });
    let what = format!(
        "{} of {} are silent, the longest: {}",
        silent.len(),
        points.len(),
        named.collect::<Vec<_>>().join(", ")
    );
    findings.warn("points", what, "check sensor, supply and line; take a sensor that is gone out of the point table");
}

/// What the gateway says of itself.
struct Answers {
    ready: Value,
    points: Vec<Value>,
    exercises: Value,
    protection: Value,
}

struct Api {
    client: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Api {
    fn open(config: &Config) -> Result<Self, String> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build();
        let client = client.map_err(|error| error.to_string())?;
        Ok(Self { client, base: page(config), token: config.web.token.as_ref().map(|token| token.reveal().to_owned()) })
    }

    async fn ask(&self) -> Result<Answers, String> {
        let ready = self.get("/readyz").await?;
        let exercises = self.get("/api/v1/exercises?open=true&most=1000").await?;
        let protection = self.get("/api/v1/protection").await?;
        let (mut points, mut path) = (Vec::new(), "/api/v1/points?most=10000".to_owned());
        loop {
            let mut page = self.get(&path).await?;
            let Value::Array(list) = page["points"].take() else { return Err("it is no davy that answers".into()) };
            points.extend(list);
            match page["next"].as_str() {
                Some(next) => path = format!("/api/v1/points?most=10000&after={next}"),
                None => return Ok(Answers { ready, points, exercises, protection }),
            }
        }
    }

    async fn get(&self, path: &str) -> Result<Value, String> {
        let mut request = self.client.get(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.map_err(|error| error.to_string())?;
        answer.json().await.map_err(|error| error.to_string())
    }
}
