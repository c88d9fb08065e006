//! `/api/v1/events`: alarm changes as they happen, and values on request, as server-sent events.
//!
//! ```text
//!  hello ─► [reset] ─► [values: whole picture] ─► changes after Last-Event-ID, from facts ─► live
//!                                                               ▲                              │
//!                                                               └── lagged, or a number is missing
//! ```
//! `alarm` events carry the change's number as their id. A client that comes back with the last number it saw
//! gets every later change once, in order: the stream listens to the board before it reads `facts.db`, drops
//! what it has already sent, and reads `facts.db` again whenever a number is missing. `pulse` comes every
//! two seconds, so that a client knows that silence means a cut. A console says with `sound=true` that it sounds, and
//! tells afterwards what it has shown to whoever is signed in (`/api/v1/events/shown`). Streams are bounded in number and in
//! length, and a slow client makes its own stream wait, nobody else's.

use std::convert::Infallible;
use std::sync::PoisonError;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tracing::warn;

use super::alarms::AlarmView;
use super::ticker::{Batch, Row, picture};
use super::users::Person;
use super::{Error, Shared};
use crate::board::Published;
use crate::clock;
use crate::journal::{DutyOrder, Entry, Note};
use crate::model::{self, DutyAct};

/// Events waiting for a slow client; then its stream waits.
const QUEUE: usize = 16;
/// Changes read from `facts.db` at a time.
const CATCH_UP: usize = 500;
const PULSE: Duration = Duration::from_secs(2);
/// Then the client comes back with its number, and its credentials are looked at again.
const LONGEST: Duration = Duration::from_secs(3_600);
/// Rows in one `values` event.
const ROWS: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[serde(default)]
    values: bool,
    /// Only values of this site; alarm changes are always all of them.
    site: Option<String>,
    /// The console sounds: somebody has let it.
    #[serde(default)]
    sound: bool,
    /// Number of the last change that is known, where there is no `Last-Event-ID` yet.
    after: Option<i64>,
}

type Stream = Sse<axum::response::sse::KeepAliveStream<EventStream>>;
type EventStream = std::pin::Pin<Box<dyn tokio_stream::Stream<Item = Result<Event, Infallible>> + Send>>;

pub(super) async fn stream(
    State(edge): State<Shared>,
    person: Person,
    headers: HeaderMap,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Stream, Error> {
    let Query(asked) = asked?;
    let after = match headers.get("last-event-id") {
        None => asked.after,
        Some(id) => Some(
            id.to_str()
                .ok()
                .and_then(|id| id.trim().parse().ok())
                .ok_or_else(|| Error::bad("Last-Event-ID: not the number of a change"))?,
        ),
    };
    let Ok(place) = edge.streams.clone().try_acquire_owned() else {
        edge.account.one(crate::ledger::Fate::Refused);
        return Err(Error::busy(format!("all {} event streams are in use", edge.max_streams)));
    };
    let (out, queue) = mpsc::channel(QUEUE);
    let user = person.0.map(|user| user.key.clone());
    let teller = Teller { edge: edge.clone(), out, last: 0, site: asked.site, user, sound: asked.sound };
    tokio::spawn(teller.run(after, asked.values, place));
    let events: EventStream = Box::pin(ReceiverStream::new(queue).map(Ok));
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(10))))
}

/// The client has gone, or the stream cannot be told without a gap.
struct Ended;

struct Teller {
    edge: Shared,
    out: mpsc::Sender<Event>,
    /// Number of the newest change that the client has.
    last: i64,
    site: Option<String>,
    /// Whose console it is, where people sign in.
    user: Option<String>,
    sound: bool,
}

/// Streams that one person has open, and how many of them sound.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Streams {
    open: usize,
    loud: usize,
}

/// Changes that a console tells of at a time.
const SHOWN: usize = 500;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Told {
    changes: Vec<i64>,
    sounded: bool,
}

/// What a console has shown, as a receipt of whoever is signed in; where nobody is, nobody is known to have seen it.
pub(super) async fn shown(
    State(edge): State<Shared>,
    person: Person,
    told: Result<Json<Told>, JsonRejection>,
) -> Result<StatusCode, Error> {
    let Json(Told { changes, sounded }) = told?;
    if changes.len() > SHOWN {
        return Err(Error::bad(format!("changes: at most {SHOWN} at a time")));
    }
    let Some(user) = person.0.map(|user| user.key.clone()) else { return Ok(StatusCode::NO_CONTENT) };
    if !changes.is_empty() {
        let act = DutyAct::Shown(model::Shown { user, changes, sounded, at: clock::now() });
        let (command, _) = edge.web.desk.expect();
        let order = DutyOrder { command, act: Box::new(act) };
        edge.web
            .desk
            .submit(Entry::Note(Note::Duty(order)))
            .await
            .map_err(|cause| Error::inside("writing what was shown", &cause))?;
    }
    Ok(StatusCode::NO_CONTENT)
}

impl Teller {
    async fn run(mut self, after: Option<i64>, values: bool, place: OwnedSemaphorePermit) {
        let (stop, gone) = (self.edge.stop.clone(), self.out.clone());
        self.console(true).await;
        tokio::select! {
            () = stop.cancelled() => {}
            () = gone.closed() => {}
            () = sleep(LONGEST) => {}
            Err(Ended) = self.tell(after, values) => {}
        }
        self.console(false).await;
        drop(place);
    }

    /// The first stream of a person opens the console, the last one closes it, and likewise its sound. Only where a position needs one.
    async fn console(&self, open: bool) {
        let Some(user) = self.user.clone() else { return };
        let turned = {
            let mut consoles = self.edge.consoles.lock().unwrap_or_else(PoisonError::into_inner);
            let streams = consoles.entry(user.clone()).or_default();
            let before = *streams;
            let turn = |count: usize, by: bool| match (by, open) {
                (true, true) => count + 1,
                (true, false) => count.saturating_sub(1),
                (false, _) => count,
            };
            *streams = Streams { open: turn(before.open, true), loud: turn(before.loud, self.sound) };
            let state = |of: Streams| (of.open > 0, of.loud > 0);
            (state(before) != state(*streams)).then(|| state(*streams))
        };
        let setup = self.edge.web.board.setup();
        let watched = setup.is_some_and(|setup| setup.duty.positions.values().any(|one| one.console.is_some()));
        if let Some((open, sound)) = turned.filter(|_| watched) {
            let act = DutyAct::Console { user, open, sound, at: clock::now() };
            let (command, _) = self.edge.web.desk.expect();
            let order = DutyOrder { command, act: Box::new(act) };
            // A gateway that is stopping forgets its consoles at the next start anyway.
            self.edge.web.desk.submit(Entry::Note(Note::Duty(order))).await.ok();
        }
    }

    async fn tell(&mut self, after: Option<i64>, values: bool) -> Result<Infallible, Ended> {
        let board = self.edge.web.board.clone();
        // Before anything is read: what is published from here on waits in there.
        let mut changes = board.changes();
        let newest = board.last_change();
        let ahead = after.is_some_and(|after| after > newest);
        self.last = if ahead { newest } else { after.unwrap_or(newest) };
        let hello = json!({ "at": clock::now().to_string(), "last_change": newest });
        self.send(Event::default().event("hello").retry(Duration::from_secs(1)).data(hello.to_string())).await?;
        if ahead {
            // The client remembers changes that this gateway does not have: it must read everything again.
            self.send(Event::default().event("reset").id(newest.to_string()).data("{}")).await?;
        }
        let mut ticks = values.then(|| self.edge.ticker.listen(&board));
        if values {
            self.values(&picture(&board, clock::now())).await?;
        }
        self.catch_up().await?;
        let mut pulse = interval(PULSE);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                change = changes.recv() => match change {
                    Ok(published) => self.live(&published).await?,
                    Err(RecvError::Lagged(_)) => self.catch_up().await?,
                    Err(RecvError::Closed) => return Err(Ended),
                },
                batch = next(&mut ticks) => match batch {
                    Ok(batch) => self.values(&batch).await?,
                    Err(RecvError::Lagged(_)) => self.values(&picture(&board, clock::now())).await?,
                    Err(RecvError::Closed) => return Err(Ended),
                },
                _ = pulse.tick() => {
                    let pulse = json!({ "at": clock::now().to_string(), "last_change": self.last });
                    self.send(Event::default().event("pulse").data(pulse.to_string())).await?;
                }
            }
        }
    }

    async fn live(&mut self, published: &Published) -> Result<(), Ended> {
        if published.id > self.last + 1 {
            self.catch_up().await?;
        }
        self.change(published).await
    }

    /// Everything in `facts.db` after what the client has.
    async fn catch_up(&mut self) -> Result<(), Ended> {
        loop {
            let after = self.last;
            let read = self.edge.read("reading alarm changes", move |web| web.alarms.changes_since(after, CATCH_UP));
            let Ok(page) = read.await else {
                warn!("an event stream was ended because alarm changes could not be read");
                return Err(Ended);
            };
            for published in &page {
                self.change(published).await?;
            }
            if page.len() < CATCH_UP {
                return Ok(());
            }
        }
    }

    /// Sends a change unless the client has it already.
    async fn change(&mut self, published: &Published) -> Result<(), Ended> {
        if published.id <= self.last {
            return Ok(());
        }
        self.last = published.id;
        let change = &published.change;
        let data = json!({
            "id": published.id,
            "happening": change.happening.word(),
            "at": change.at.to_string(),
            "alarm": AlarmView::of(&change.alarm),
        });
        self.send(Event::default().event("alarm").id(published.id.to_string()).data(data.to_string())).await
    }

    async fn values(&self, rows: &[Row]) -> Result<(), Ended> {
        let at = clock::now();
        let wanted = |row: &&Row| self.site.as_deref().is_none_or(|site| site == &*row.site);
        let rows: Vec<&str> = rows.iter().filter(wanted).map(|row| row.json.as_str()).collect();
        for part in rows.chunks(ROWS) {
            let data = format!("{{\"at\":\"{at}\",\"points\":[{}]}}", part.join(","));
            self.send(Event::default().event("values").data(data)).await?;
        }
        Ok(())
    }

    async fn send(&self, event: Event) -> Result<(), Ended> {
        self.out.send(event).await.map_err(|_| Ended)
    }
}

/// The next batch, or never where none are wanted.
async fn next(ticks: &mut Option<broadcast::Receiver<Batch>>) -> Result<Batch, RecvError> {
    match ticks {
        Some(ticks) => ticks.recv().await,
        None => std::future::pending().await,
    }
}
