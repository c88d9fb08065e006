//! How every device is doing, for the API and for `davy bench modbus`.
//!
//! The poller writes a device's state once a poll; whoever asks gets a copy. Nothing here decides.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::config::Device;
use crate::model::Timestamp;

/// Where the conversation with a device stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// Not asked yet.
    Waiting,
    /// The last poll brought at least one answer with data.
    Connected,
    /// The last poll failed; the device is asked less and less often.
    BackingOff,
    /// It failed again and again: asked once in its `quarantine` only, until it answers.
    Quarantined,
    /// No point is read from it.
    Unused,
}

/// RFC 3339, as everywhere in the API.
fn as_text<S: serde::Serializer>(time: &Timestamp, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(time)
}

#[expect(clippy::ref_option, reason = "serde hands the field over by reference")]
fn as_text_if_any<S: serde::Serializer>(time: &Option<Timestamp>, out: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => out.collect_str(time),
        None => out.serialize_none(),
    }
}

/// One device as it is now. Counts are since the start.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeviceState {
    pub device: String,
    pub address: String,
    pub unit: u8,
    pub link: Link,
    /// When `link` became what it is.
    #[serde(serialize_with = "as_text")]
    pub since: Timestamp,
    pub points: usize,
    /// Requests that one poll takes.
    pub reads: usize,
    /// Polls begun.
    pub polls: u64,
    /// Polls of which at least one read was not answered with data.
    pub failed: u64,
    /// Slots at which the device was left alone because it had failed; its points were marked.
    pub rested: u64,
    /// Slots that passed because the line was busy.
    pub missed: u64,
    /// Reads that the device refuses while it answers others: "function 3 address 12 count 1".
    pub refused: Vec<String>,
    #[serde(serialize_with = "as_text_if_any")]
    pub last_answer: Option<Timestamp>,
    /// The last thing that went wrong; stays after it was mended.
    pub last_error: Option<String>,
    /// Duration of the last poll.
    pub poll_ms: f64,
    /// Longest time by which a poll began after its slot.
    pub latest_start_ms: f64,
}

/// A view of all devices; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Devices(Arc<[Mutex<DeviceState>]>);

impl Devices {
    pub(super) fn waiting(devices: &[Device]) -> Self {
        let state = |device: &Device| {
            Mutex::new(DeviceState {
                device: device.name.clone(),
                address: device.address.to_string(),
                unit: device.unit,
                link: Link::Waiting,
                since: Timestamp::default(),
                points: 0,
                reads: 0,
                polls: 0,
                failed: 0,
                rested: 0,
                missed: 0,
                refused: Vec::new(),
                last_answer: None,
                last_error: None,
                poll_ms: 0.0,
                latest_start_ms: 0.0,
            })
        };
        Self(devices.iter().map(state).collect())
    }

    /// Every device as it is now, in the order of the configuration.
    #[must_use]
    pub fn list(&self) -> Vec<DeviceState> {
        self.0.iter().map(|state| state.lock().unwrap_or_else(PoisonError::into_inner).clone()).collect()
    }

    pub(super) fn last_error(&self, number: usize) -> Option<String> {
        self.0.get(number)?.lock().unwrap_or_else(PoisonError::into_inner).last_error.clone()
    }

    pub(super) fn change(&self, number: usize, change: impl FnOnce(&mut DeviceState)) {
        if let Some(state) = self.0.get(number) {
            change(&mut state.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}
