//! A real HTTP server on a free loopback port that answers as a test says and keeps what it was asked.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use tokio::sync::Notify;

#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: axum::http::HeaderMap,
    pub body: Bytes,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as text, unpacked where it came packed.
    pub fn text(&self) -> String {
        use std::io::Read;
        if self.header("content-encoding") == Some("gzip") {
            let mut text = String::new();
            flate2::read::GzDecoder::new(self.body.as_ref()).read_to_string(&mut text).unwrap();
            return text;
        }
        String::from_utf8(self.body.to_vec()).unwrap()
    }
}

#[derive(Clone, Debug)]
pub struct Say {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
    pub delay: Duration,
}

impl Say {
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: String::new(), delay: Duration::ZERO }
    }

    pub fn body(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

type Script = dyn Fn(usize, &Asked) -> Say + Send + Sync;

pub struct Server {
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    came: Arc<Notify>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// `script` is given the request's number (from 0) and the request.
    pub async fn start(script: impl Fn(usize, &Asked) -> Say + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let came = Arc::new(Notify::new());
        let script: Arc<Script> = Arc::new(script);
        let router = {
            let (asked, came) = (asked.clone(), came.clone());
            axum::Router::new().fallback(move |request: Request| {
                let (asked, came, script) = (asked.clone(), came.clone(), script.clone());
                async move { answer(request, &asked, &came, &*script).await }
            })
        };
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, asked, came, task }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until `count` requests have come in all.
    pub async fn wait_for(&self, count: usize) -> Vec<Asked> {
        let waited = tokio::time::timeout(Duration::from_secs(20), async {
            loop {
                let woken = self.came.notified();
                let asked = self.asked();
                if asked.len() >= count {
                    return asked;
                }
                woken.await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("{count} requests expected, {} came", self.asked().len()))
    }
}

async fn answer(request: Request, asked: &Mutex<Vec<Asked>>, came: &Notify, script: &Script) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 64 << 20).await.unwrap();
    let one = Asked {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body,
    };
    let say = {
        let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.push(one.clone());
        script(asked.len() - 1, &one)
    };
    came.notify_one();
    if !say.delay.is_zero() {
        tokio::time::sleep(say.delay).await;
    }
    let mut response = Response::builder().status(say.status);
    for (name, value) in say.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(say.body)).unwrap()
}
