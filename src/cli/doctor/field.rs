//! What is outside the data folder: Davy's own ports, the peers that it connects to, and what the running
//! gateway says of its points.

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
    let (ready, points) = match answers {
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

    /// `/readyz` and all points.
    async fn ask(&self) -> Result<(Value, Vec<Value>), String> {
        let ready = self.get("/readyz").await?;
        let (mut points, mut path) = (Vec::new(), "/api/v1/points?most=10000".to_owned());
        loop {
            let mut page = self.get(&path).await?;
            let Value::Array(list) = page["points"].take() else { return Err("it is no davy that answers".into()) };
            points.extend(list);
            match page["next"].as_str() {
                Some(next) => path = format!("/api/v1/points?most=10000&after={next}"),
                None => return Ok((ready, points)),
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
