//! The phone of somebody on duty: a webhook that keeps everything it was sent.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

#[derive(Clone, Debug)]
pub struct Heard {
    pub key: String,
    pub timestamp: String,
    pub signature: String,
    pub body: Vec<u8>,
    /// Null when it is not JSON.
    pub message: Value,
}

impl Heard {
    /// Was it signed with that secret?
    pub fn signed_with(&self, secret: &str) -> bool {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(format!("{}.", self.timestamp).as_bytes());
        mac.update(&self.body);
        let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        self.signature == format!("sha256={hex}")
    }
}

/// Answers 503 as often as it was told to, keeps as many as it was told to without an answer, and answers 200 from then
/// on.
#[derive(Clone)]
pub struct Pager {
    pub address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
    refusals: Arc<AtomicUsize>,
    silences: Arc<AtomicUsize>,
}

impl Pager {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pager = Self {
            address: listener.local_addr().unwrap(),
            heard: Arc::default(),
            refusals: Arc::default(),
            silences: Arc::default(),
        };
        let this = pager.clone();
        let hook = move |headers: HeaderMap, body: Bytes| {
            let (status, this) = (this.hear(&headers, &body), this.clone());
            async move {
                if status.is_success() && this.silences.try_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
                {
                    std::future::pending::<()>().await;
                }
                status
            }
        };
        let routes = Router::new().route("/hook", post(hook));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        pager
    }

    fn hear(&self, headers: &HeaderMap, body: &Bytes) -> StatusCode {
        let header = |name: &str| headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        if self.refusals.try_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        let heard = Heard {
            key: header("idempotency-key"),
            timestamp: header("davy-timestamp"),
            signature: header("davy-signature"),
            body: body.to_vec(),
            message: serde_json::from_slice(body).unwrap_or_default(),
        };
        self.heard.lock().unwrap().push(heard);
        StatusCode::OK
    }

    /// The next `count` messages are refused for now.
    pub fn refuse(&self, count: usize) {
        self.refusals.store(count, Relaxed);
    }

    /// The next `count` messages are heard and not answered.
    pub fn fall_silent(&self, count: usize) {
        self.silences.store(count, Relaxed);
    }

    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// The messages of one rule, as (happening, message).
    pub fn of_rule(&self, rule: &str) -> Vec<Heard> {
        self.heard().into_iter().filter(|heard| heard.message["alarm"]["rule"] == rule).collect()
    }
}
