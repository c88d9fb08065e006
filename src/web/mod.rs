//! The HTTP edge: the API under `/api/v1`, live events, probes, `/metrics` and one plain page.
//!
//! ```text
//!  request ─► serve (bounded connections, time limits) ─► gate (who, from where) ─► one file a resource
//!                                                                 reads: board, facts, history
//!                                                                 writes: the journal, by way of the desk
//! ```
//! In come requests from people and programs; out go the board's values, the alarms in `facts.db` and stored
//! samples. The only thing that goes in is an acknowledgement, and its 2xx is sent after it is durable.
//! Never: an answer without credentials where a token is set, a stale value without saying so, a blocking
//! read on the event loop, a stream that skips a change.

mod alarms;
mod assets;
mod config;
mod counterpart;
mod devices;
mod error;
mod events;
mod gate;
mod health;
mod metrics;
mod page;
mod points;
mod reading;
mod samples;
mod serve;
mod ticker;
mod words;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::board::Board;
use crate::ledger::{Account, Ledger};
use crate::source::modbus::Devices;

pub use config::{Config, Raw, Token};
pub use counterpart::{Alarms, Answering, Asked, Desk, FrontDesk, Health, Number, Numbers, Reading, Samples, Vitals};
pub use serve::{Failure, bind, serve};

use error::Error;

/// What the edge looks at and hands over to.
#[derive(Clone)]
pub struct Web {
    pub board: Arc<Board>,
    pub alarms: Arc<dyn Alarms>,
    pub desk: Arc<dyn Desk>,
    pub ledger: Arc<Ledger>,
    pub samples: Arc<dyn Samples>,
    pub devices: Devices,
    pub health: Arc<dyn Health>,
    pub numbers: Arc<dyn Numbers>,
}

/// One running edge: what `Web` gave, and what requests share.
struct Edge {
    web: Web,
    gate: gate::Gate,
    pages: page::Pages,
    assets: assets::Assets,
    ticker: Arc<ticker::Ticker>,
    account: Arc<Account>,
    /// Open event streams; when there are none left, 503.
    streams: Arc<Semaphore>,
    max_streams: usize,
    /// Reads of files and databases at the same time; more wait, within the request's time limit.
    reads: Arc<Semaphore>,
    stop: CancellationToken,
}

type Shared = Arc<Edge>;

/// Reads of `facts.db` and history files at the same time.
const READS: usize = 16;
/// The largest body that is read.
const BODY_BYTES: usize = 64 * 1024;

impl Edge {
    /// Runs a blocking read off the event loop. A read whose asker has left keeps its place until it ends,
    /// so impatient clients cannot pile up reads.
    async fn read<T: Send + 'static, E: std::fmt::Display + Send + 'static>(
        &self,
        what: &'static str,
        read: impl FnOnce(&Web) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Error> {
        let place = self.reads.clone().acquire_owned().await.map_err(|_| Error::busy("the gateway is stopping"))?;
        let web = self.web.clone();
        let outcome = tokio::task::spawn_blocking(move || {
            let outcome = read(&web);
            drop(place);
            outcome
        });
        match outcome.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(cause)) => Err(Error::inside(what, &cause)),
            Err(cause) => Err(Error::inside(what, &cause)),
        }
    }
}

/// All routes. `stop` ends the event streams, which would otherwise hold up a quiet end.
pub fn router(config: &Config, web: Web, stop: CancellationToken) -> Router {
    let edge = Arc::new(Edge {
        gate: gate::Gate::new(config),
        pages: page::Pages::new(),
        assets: assets::Assets::new(),
        ticker: Arc::default(),
        account: web.ledger.account("web"),
        streams: Arc::new(Semaphore::new(config.max_streams)),
        max_streams: config.max_streams,
        reads: Arc::new(Semaphore::new(READS)),
        stop,
        web,
    });
    Router::new()
        .route("/api/v1/points", get(points::list))
        .route("/api/v1/points/{id}", get(points::one))
        .route("/api/v1/points/{id}/samples", get(samples::list))
        .route("/api/v1/devices", get(devices::list))
        .route("/api/v1/alarms", get(alarms::list))
        .route("/api/v1/alarms/{id}", get(alarms::one))
        .route("/api/v1/alarms/{id}/ack", post(alarms::acknowledge))
        .route("/api/v1/events", get(events::stream))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::scrape))
        .route("/", get(page::show))
        .route("/alarms.html", get(page::alarms))
        .route("/login", get(page::login_form).post(page::login))
        .route("/logout", post(page::logout))
        .route("/page.js", get(assets::script))
        .route("/page.css", get(assets::style))
        .route("/page.svg", get(assets::icon))
        .fallback(error::nowhere)
        .method_not_allowed_fallback(error::wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(from_fn_with_state(edge.clone(), gate::guard))
        .with_state(edge)
}
