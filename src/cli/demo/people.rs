//! The people of the demo: an operator at the API, a duty room behind a webhook, a subscriber.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use hmac::{Hmac, KeyInit, Mac};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Refusal;
use crate::clock;
use crate::model::Timestamp;

/// The demo's webhook secret: known to everybody, worth nothing.
pub const SECRET: &str = "davy-demo-webhook-secret";
/// The operator reads an alarm for so long before acknowledging.
const READS_FOR: Duration = Duration::from_secs(3);

/// A duty room that verifies each signature.
pub struct Webhook {
    pub address: SocketAddr,
    received: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Webhook {
    pub async fn open() -> Result<Self, Refusal> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.map_err(|error| Refusal::of(&error))?;
        let address = listener.local_addr().map_err(|error| Refusal::of(&error))?;
        let received = Arc::new(AtomicU64::new(0));
        let routes = Router::new().route("/hook", post(take)).with_state(received.clone());
        let task = tokio::spawn(async move {
            axum::serve(listener, routes).await.ok();
        });
        Ok(Self { address, received, task })
    }

    pub fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(State(received): State<Arc<AtomicU64>>, headers: HeaderMap, body: String) -> StatusCode {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(format!("{}.{body}", header("davy-timestamp")).as_bytes());
    let expected: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    if header("davy-signature") != format!("sha256={expected}") {
        return StatusCode::UNAUTHORIZED;
    }
    received.fetch_add(1, Relaxed);
    StatusCode::NO_CONTENT
}

/// Acknowledges every alarm that has stood for a few seconds; returns how many.
pub async fn operator(web: SocketAddr, stop: CancellationToken) -> u64 {
    let Ok(client) = reqwest::Client::builder().timeout(Duration::from_secs(5)).build() else { return 0 };
    let mut acknowledged = 0;
    while !stop.is_cancelled() {
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
        }
        let listed =
            async { client.get(format!("http://{web}/api/v1/alarms?open=true")).send().await?.json::<Value>().await };
        let Ok(listed) = listed.await else { continue };
        let alarms = listed.get("alarms").and_then(Value::as_array).cloned().unwrap_or_default();
        for alarm in alarms.iter().filter(|alarm| alarm["standing"] != "acknowledged" && stood(alarm)) {
            let id = alarm["id"].as_str().unwrap_or_default();
            let said = json!({ "raises": alarm["raises"], "by": "演示值班员 / demo operator", "comment": "" });
            let answer = client.post(format!("http://{web}/api/v1/alarms/{id}/ack")).json(&said).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                acknowledged += 1;
            }
        }
    }
    acknowledged
}

/// Long enough that a person has read it.
fn stood(alarm: &Value) -> bool {
    let received = alarm["received"].as_str().and_then(Timestamp::parse).or_else(|| {
        let micros = alarm["received"].as_i64()?;
        Some(Timestamp::from_micros(micros))
    });
    received.is_some_and(|received| clock::now().since(received) >= READS_FOR)
}

/// Listens to alarm messages and measures how long they took from the sample.
pub struct Subscriber {
    client: AsyncClient,
    task: JoinHandle<Latency>,
}

/// From a sample's arrival at the gateway to its alarm at the subscriber, milliseconds.
#[derive(Debug, Default)]
pub struct Latency {
    pub messages: u64,
    raised_ms: Vec<f64>,
}

impl Latency {
    pub fn quantile(&self, q: f64) -> f64 {
        let mut sorted = self.raised_ms.clone();
        sorted.sort_by(f64::total_cmp);
        let place = ((sorted.len() as f64 * q).ceil() as usize).saturating_sub(1);
        sorted.get(place).map_or(0.0, |ms| (ms * 100.0).round() / 100.0)
    }
}

impl Subscriber {
    pub async fn open(mqtt: SocketAddr) -> Result<Self, Refusal> {
        let mut options = MqttOptions::new("davy-demo-subscriber", mqtt.ip().to_string(), mqtt.port());
        options.set_keep_alive(Duration::from_secs(30)).set_max_packet_size(1 << 20, 1 << 20);
        let (client, mut events) = AsyncClient::new(options, 64);
        client.subscribe("davy/v1/+/alarm/+", QoS::AtLeastOnce).await.map_err(|error| Refusal::of(&error))?;
        let task = tokio::spawn(async move {
            let mut latency = Latency::default();
            while let Ok(event) = events.poll().await {
                match event {
                    Event::Incoming(Packet::Publish(message)) if !message.retain => latency.note(&message.payload),
                    Event::Outgoing(rumqttc::Outgoing::Disconnect) => break,
                    Event::Incoming(_) | Event::Outgoing(_) => {}
                }
            }
            latency
        });
        Ok(Self { client, task })
    }

    pub async fn close(self) -> Latency {
        self.client.disconnect().await.ok();
        self.task.await.unwrap_or_default()
    }
}

impl Latency {
    fn note(&mut self, payload: &[u8]) {
        let arrived = clock::now();
        self.messages += 1;
        let Ok(message) = serde_json::from_slice::<Value>(payload) else { return };
        let received = message["alarm"]["received"].as_str().and_then(Timestamp::parse);
        if let (Some("raised"), Some(received)) = (message["happening"].as_str(), received) {
            self.raised_ms.push(arrived.since(received).as_secs_f64() * 1e3);
        }
    }
}
