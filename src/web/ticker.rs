//! The ticker: what the points show, twice a second, for all event streams together.
//!
//! In comes the board; out go the rows that differ from half a second ago, written as JSON once however many
//! screens look. A point that falls silent is a row too: its freshness changed. It runs only while somebody
//! listens, and a listener that lags is told so and takes the whole picture again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::sync::broadcast;
use tokio::time::{MissedTickBehavior, interval};

use super::reading::Shown;
use crate::board::{Board, Freshness, freshness};
use crate::clock;
use crate::model::{Point, Sample, SiteId, Timestamp};

/// At most this often does a stream carry values.
const EVERY: Duration = Duration::from_millis(500);
/// Batches that a stream may lag behind.
const LAG: usize = 8;

/// One point's newest value as JSON.
#[derive(Debug)]
pub(super) struct Row {
    pub site: SiteId,
    pub json: String,
}

pub(super) type Batch = Arc<Vec<Row>>;

#[derive(Debug)]
pub(super) struct Ticker {
    out: broadcast::Sender<Batch>,
    running: Mutex<bool>,
}

impl Default for Ticker {
    fn default() -> Self {
        Self { out: broadcast::channel(LAG).0, running: Mutex::new(false) }
    }
}

/// What makes a row differ.
type Mark = (Option<Sample>, Freshness);

impl Ticker {
    pub(super) fn listen(self: &Arc<Self>, board: &Arc<Board>) -> broadcast::Receiver<Batch> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let receiver = self.out.subscribe();
        if !*running {
            *running = true;
            tokio::spawn(self.clone().run(board.clone()));
        }
        receiver
    }

    async fn run(self: Arc<Self>, board: Arc<Board>) {
        let mut seen = marks(&board, clock::now());
        let mut beat = interval(EVERY);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            {
                // Under the lock that listeners take, so that none arrives between the look and the end.
                let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
                if self.out.receiver_count() == 0 {
                    *running = false;
                    return;
                }
            }
            let now = clock::now();
            let marks = marks(&board, now);
            let rows = changed(&board, &seen, &marks, now);
            seen = marks;
            if !rows.is_empty() {
                drop(self.out.send(Arc::new(rows)));
            }
        }
    }
}

fn marks(board: &Board, now: Timestamp) -> Vec<Mark> {
    let (table, latest) = (board.points(), board.latest_all());
    table
        .iter()
        .map(|(index, point)| {
            let sample = latest.get(index.at()).copied().flatten();
            (sample, freshness(point, sample.as_ref(), now))
        })
        .collect()
}

fn changed(board: &Board, seen: &[Mark], marks: &[Mark], now: Timestamp) -> Vec<Row> {
    let table = board.points();
    let pairs = table.list().iter().zip(marks).enumerate();
    pairs
        .filter(|(at, (point, mark))| !point.retired && seen.get(*at) != Some(*mark))
        .map(|(_, (point, (sample, _)))| row(point, sample.as_ref(), now))
        .collect()
}

/// All points as they are now: what a stream begins with.
pub(super) fn picture(board: &Board, now: Timestamp) -> Vec<Row> {
    let (table, latest) = (board.points(), board.latest_all());
    let in_service = table.iter().filter(|(_, point)| !point.retired);
    in_service.map(|(index, point)| row(point, latest.get(index.at()).and_then(Option::as_ref), now)).collect()
}

fn row(point: &Point, sample: Option<&Sample>, now: Timestamp) -> Row {
    let mut row = json!(Shown::of(point, sample, now));
    row["id"] = json!(&*point.id);
    Row { site: point.site.clone(), json: row.to_string() }
}
