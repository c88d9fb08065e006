//! Who is connected, and orders to them.
//!
//! A device sits here from its first good frame until its last connection ends. An order goes to the connection
//! that the device spoke on last, and its answer comes back to whoever asked. Orders never touch the plant: they
//! set a device's own clock and ask whether somebody is at the desk (查岗).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::model::Timestamp;

/// What a device can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Take over the gateway's time.
    SetClock,
    /// Somebody at the device has to answer within so many minutes, 1 to 255.
    PostCheck { minutes: u8 },
}

/// How an order ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The device took it.
    Done,
    /// The device refused it.
    Denied,
    /// A person answered the post check.
    Answered,
    /// The device took the post check, and nobody answered in time.
    NobodyAnswered,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    #[error("device {0} is not connected")]
    NotConnected(String),
    #[error("this protocol has no such order")]
    NotOffered,
    #[error("device {0} has too many orders waiting")]
    Busy(String),
    #[error("device {0} did not answer")]
    Silent(String),
}

/// What became of an order so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Acknowledged,
    Denied,
    Answered,
    NotOffered,
}

/// An order on its way.
#[derive(Debug)]
pub(super) struct Ask {
    pub device: String,
    pub order: Order,
    pub progress: mpsc::Sender<Progress>,
}

/// One device as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StationState {
    pub device: String,
    pub peer: SocketAddr,
    pub connected_since: Timestamp,
}

#[derive(Debug)]
struct Seat {
    connection: u64,
    peer: SocketAddr,
    since: Timestamp,
    orders: mpsc::Sender<Ask>,
}

/// A view of a door's devices; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Stations(Arc<Mutex<BTreeMap<String, Seat>>>);

impl Stations {
    /// A device answers within so long, or does not (the standard's time for an acknowledgement is far shorter).
    const ANSWER_WITHIN: Duration = Duration::from_secs(10);

    /// Connected devices by number.
    #[must_use]
    pub fn list(&self) -> Vec<StationState> {
        let seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let state = |(device, seat): (&String, &Seat)| StationState {
            device: device.clone(),
            peer: seat.peer,
            connected_since: seat.since,
        };
        seats.iter().map(state).collect()
    }

    /// Sends an order and waits for how it ends; a post check takes as long as people have to answer.
    pub async fn ask(&self, device: &str, order: Order) -> Result<Reply, AskError> {
        let orders = {
            let seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            seats.get(device).map(|seat| seat.orders.clone())
        };
        let orders = orders.ok_or_else(|| AskError::NotConnected(device.to_owned()))?;
        let (progress, mut news) = mpsc::channel(4);
        orders.try_send(Ask { device: device.to_owned(), order, progress }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AskError::Busy(device.to_owned()),
            mpsc::error::TrySendError::Closed(_) => AskError::NotConnected(device.to_owned()),
        })?;
        let silent = || AskError::Silent(device.to_owned());
        let first = timeout(Self::ANSWER_WITHIN, news.recv()).await;
        match first.ok().flatten().ok_or_else(silent)? {
            Progress::Denied => return Ok(Reply::Denied),
            Progress::Answered => return Ok(Reply::Answered),
            Progress::NotOffered => return Err(AskError::NotOffered),
            Progress::Acknowledged => {}
        }
        let Order::PostCheck { minutes } = order else { return Ok(Reply::Done) };
        let patience = Duration::from_secs(60 * u64::from(minutes)) + Self::ANSWER_WITHIN;
        match timeout(patience, news.recv()).await {
            Ok(Some(Progress::Answered)) => Ok(Reply::Answered),
            Ok(Some(Progress::Denied)) => Ok(Reply::Denied),
            Ok(Some(Progress::Acknowledged | Progress::NotOffered)) | Err(_) => Ok(Reply::NobodyAnswered),
            // The connection ended meanwhile: nobody knows.
            Ok(None) => Err(silent()),
        }
    }

    pub(super) fn sit(
        &self,
        device: &str,
        connection: u64,
        peer: SocketAddr,
        orders: mpsc::Sender<Ask>,
        now: Timestamp,
    ) {
        let mut seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seats.insert(device.to_owned(), Seat { connection, peer, since: now, orders });
    }

    /// The connection has ended; out come those of its devices that are on no newer one.
    pub(super) fn stand(&self, connection: u64, devices: Vec<String>) -> Vec<String> {
        let mut seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = |device: &String| seats.get(device).is_some_and(|seat| seat.connection == connection);
        let gone: Vec<String> = devices.into_iter().filter(gone).collect();
        gone.iter().for_each(|device| drop(seats.remove(device)));
        gone
    }
}
