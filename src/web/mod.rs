//! The HTTP edge: the API under `/api/v1`, live events, probes, `/metrics` and one plain page.
//!
//! ```text
//!  request ─► serve (bounded connections, time limits) ─► gate (who, from where) ─► one file a resource
//!                                                                 reads: board, facts, history
//!                                                                 writes: the journal, by way of the desk
//! ```
//! In come requests from people and programs; out go the board's values, the alarms in `facts.db` and stored
//! samples. What goes in are people's commands (acknowledgements, permits, limits) and samples of `[source.http]`, whose
//! 2xx is sent after they are durable, and orders to devices.
//! Never: an answer without credentials where a token is set, a stale value without saying so, a blocking
//! read on the event loop, a stream that skips a change.

mod alarms;
mod asides;
mod assets;
mod audit;
mod backtests;
mod case_files;
mod cases;
mod config;
mod counterpart;
mod coverage;
mod devices;
mod duty;
mod error;
mod events;
mod exercises;
mod feeds;
mod figures;
mod functions;
mod gate;
mod handover;
mod health;
mod ingest;
mod ledger;
mod limits;
mod link;
mod losses;
mod metrics;
mod notify;
mod page;
mod permits;
mod points;
mod protection;
mod reading;
mod rule_desk;
mod rules;
mod samples;
mod serve;
mod sites;
mod ticker;
mod users;
mod words;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post, put};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::backtest::Jobs;
use crate::board::Board;
use crate::coverage::Unit;
use crate::facts::Recipient;
use crate::ledger::{Account, Ledger};
use crate::losses::Losses;
use crate::notify::{Doorkeeper, Tester};
use crate::online::Online;
use crate::publish::Feeds;
use crate::source::http::Senders;
use crate::source::modbus::Devices;

pub use config::{Config, Raw, Token};
pub use counterpart::{
    AlarmFigures, Alarms, Answering, Asked, Cases, Desk, DutyFacts, FrontDesk, Health, Limits, Number, Numbers,
    Permits, Publications, Reading, Samples, Vitals,
};
pub use devices::Door;
pub use gate::fresh_token;
#[cfg(test)]
pub(crate) use protection::protection_at;
pub use rule_desk::{Replying, RuleDesk, RuleDone, RuleFacts, RuleOrder, RuleRefusal};
pub use serve::{Failure, bind, serve};
pub use users::{Role, User, read_users};

use error::Error;

/// What the edge looks at and hands over to.
#[derive(Clone)]
pub struct Web {
    pub board: Arc<Board>,
    pub alarms: Arc<dyn Alarms>,
    pub permits: Arc<dyn Permits>,
    pub rules: Arc<dyn RuleFacts>,
    pub rule_desk: Arc<dyn RuleDesk>,
    pub limits: Arc<dyn Limits>,
    pub cases: Arc<dyn Cases>,
    /// Where photos and files of cases lie.
    pub case_files: PathBuf,
    pub duty: Arc<dyn DutyFacts>,
    /// Everybody who is told of alarms.
    pub recipients: Arc<[Recipient]>,
    pub desk: Arc<dyn Desk>,
    pub ledger: Arc<Ledger>,
    pub losses: Arc<Losses>,
    pub online: Arc<Online>,
    pub coverage: Arc<[Unit]>,
    pub samples: Arc<dyn Samples>,
    pub figures: Arc<dyn AlarmFigures>,
    pub publications: Arc<dyn Publications>,
    pub feeds: Arc<Feeds>,
    pub senders: Arc<Senders>,
    pub devices: Devices,
    pub backtests: Jobs,
    pub health: Arc<dyn Health>,
    pub numbers: Arc<dyn Numbers>,
    /// Of devices that send frames.
    pub doors: Vec<Door>,
    /// Tries whether people can be reached.
    pub tester: Tester,
    /// Looks at links that acknowledge; None: no message holds one.
    pub doorkeeper: Option<Doorkeeper>,
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
    /// Open event streams of people who signed in, by the key of the user.
    consoles: Arc<std::sync::Mutex<std::collections::BTreeMap<String, events::Streams>>>,
    /// One test of notification at a time.
    testing: Arc<Semaphore>,
    /// Hand-over lists that people may be about to sign.
    shown: handover::Shown,
    /// Wrong links that are being answered, slowly; when there are none left, 429.
    strangers: Arc<Semaphore>,
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
    case_files::sweep(&web.case_files);
    let edge = Arc::new(Edge {
        gate: gate::Gate::new(config),
        pages: page::Pages::new(),
        assets: assets::Assets::new(),
        ticker: Arc::default(),
        account: web.ledger.account("web"),
        streams: Arc::new(Semaphore::new(config.max_streams)),
        max_streams: config.max_streams,
        reads: Arc::new(Semaphore::new(READS)),
        consoles: Arc::default(),
        testing: Arc::new(Semaphore::new(1)),
        shown: handover::Shown::default(),
        strangers: Arc::new(Semaphore::new(link::STRANGERS)),
        stop,
        web,
    });
    Router::new()
        .route("/api/v1/points", get(points::list))
        .route("/api/v1/points/{id}", get(points::one))
        .route("/api/v1/points/{id}/samples", get(samples::list))
        .route(ingest::SAMPLES, post(ingest::samples))
        .route(ingest::WRITE, post(ingest::write))
        .route("/api/v1/devices", get(devices::list))
        .route("/api/v1/alarms", get(alarms::list))
        .route("/api/v1/alarms/{id}", get(alarms::one))
        .route("/api/v1/alarms/{id}/ack", post(alarms::acknowledge))
        .route("/api/v1/alarms/{id}/steps", get(duty::steps))
        .route("/api/v1/duty", get(duty::show))
        .route("/api/v1/duty/leave", post(duty::leave))
        .route("/api/v1/duty/leave/{id}/end", post(duty::back))
        .route("/api/v1/duty/handover", post(duty::hand_over))
        .route("/api/v1/permits", get(permits::list).post(permits::open))
        .route("/api/v1/permits/{id}/end", post(permits::end))
        .route("/api/v1/exercises", get(exercises::list).post(exercises::start))
        .route("/api/v1/exercises/inject", post(exercises::inject))
        .route("/api/v1/exercises/{id}/end", post(exercises::end))
        .route("/api/v1/points/{id}/rules", get(limits::explain))
        .route("/api/v1/asides", get(asides::list))
        .route("/api/v1/alarms/{id}/shelve", post(asides::shelve))
        .route("/api/v1/alarms/{id}/unshelve", post(asides::unshelve))
        .route("/api/v1/alarms/{id}/out-of-service", post(asides::out))
        .route("/api/v1/alarms/{id}/return-to-service", post(asides::back))
        .route("/api/v1/alarms/{id}/reset", post(asides::reset))
        .route("/api/v1/points/{id}/rules/{rule}/shelve", post(asides::shelve_at))
        .route("/api/v1/points/{id}/rules/{rule}/unshelve", post(asides::unshelve_at))
        .route("/api/v1/points/{id}/rules/{rule}/out-of-service", post(asides::out_at))
        .route("/api/v1/points/{id}/rules/{rule}/return-to-service", post(asides::back_at))
        .route("/api/v1/limits", get(limits::list).put(limits::set))
        .route("/api/v1/limits/{id}", delete(limits::end))
        .route("/api/v1/exemptions", get(limits::exemptions).post(limits::exempt))
        .route("/api/v1/exemptions/{id}/end", post(limits::end_exemption))
        .route("/api/v1/handover", get(handover::show))
        .route("/api/v1/notify/test", post(notify::test))
        .route("/api/v1/cases", get(cases::list))
        .route("/api/v1/cases/{id}", get(cases::one))
        .route("/api/v1/cases/{id}/answer", post(cases::answer))
        .route("/api/v1/cases/{id}/handle", post(cases::handle))
        .route("/api/v1/cases/{id}/update", post(cases::update))
        .route("/api/v1/cases/{id}/verify", post(cases::verify))
        .route("/api/v1/cases/{id}/close", post(cases::close))
        .route("/api/v1/cases/{id}/supervise", post(cases::supervise))
        .route("/api/v1/cases/{id}/sign", post(cases::sign))
        .route("/api/v1/cases/{id}/join", post(cases::join))
        .route("/api/v1/cases/{id}/cause", post(cases::cause))
        .route(
            "/api/v1/cases/{id}/files",
            post(case_files::attach).layer(DefaultBodyLimit::max(case_files::BODY_BYTES)),
        )
        .route("/api/v1/cases/{id}/files/{sha256}", get(case_files::show))
        .route("/api/v1/protection", get(protection::show))
        .route("/api/v1/calibrations", get(permits::calendar))
        .route("/api/v1/sites", get(sites::list))
        .route("/api/v1/sites/{site}/state", put(sites::set))
        .merge(rules::routes())
        .route("/api/v1/audit", get(audit::list))
        .route("/api/v1/person", get(users::show))
        .route("/api/v1/rules/backtest", post(backtests::start).layer(DefaultBodyLimit::max(backtests::BODY_BYTES)))
        .route("/api/v1/rules/backtest/{id}", get(backtests::show).delete(backtests::cancel))
        .route("/api/v1/losses", get(losses::list))
        .route("/api/v1/rules/functions", get(functions::list))
        .route("/api/v1/coverage", get(coverage::show))
        .route("/api/v1/figures", get(figures::show))
        .route("/api/v1/devices/{id}/orders", post(devices::order))
        .route("/api/v1/events", get(events::stream))
        .route("/api/v1/events/shown", post(events::shown))
        .route("/feeds/{file}", get(feeds::list))
        .route("/feeds/{feed}/{file}", get(feeds::one))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::scrape))
        .route("/", get(page::show))
        .route("/alarms.html", get(page::alarms))
        .route("/login", get(page::login_form).post(page::login))
        .route("/logout", post(page::logout))
        .route(link::ROUTE, get(link::show).post(link::acknowledge))
        .route("/page.js", get(assets::script))
        .route("/page.css", get(assets::style))
        .route("/page.svg", get(assets::icon))
        .fallback(error::nowhere)
        .method_not_allowed_fallback(error::wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(from_fn_with_state(edge.clone(), gate::guard))
        .with_state(edge)
}
