//! The state of a shard as bytes, to restart from without the whole journal.
//!
//! postcard, behind a version byte: an unknown version or damage is an error, and the journal is replayed
//! from further back instead.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::condition::Conditions;
use super::shard::{PointState, Shard};
use crate::alarm::{Alarm, Aside};
use crate::journal::Setup;
use crate::model::{Exemption, ExerciseFact, Permit, PointIndex, SetLimit, SiteId, SiteStanding, Timestamp};
use crate::response::Response;
use crate::rule::Ordered;

const VERSION: u8 = 10;

#[derive(Debug, Serialize, Deserialize)]
pub struct Snapshot {
    pub(super) setup: Option<Arc<Setup>>,
    pub(super) points: Vec<PointState>,
    pub(super) conditions: Conditions,
    pub(super) faults: BTreeMap<String, u32>,
    pub(super) now: Timestamp,
    pub(super) listening_since: Timestamp,
    pub(super) permits: Vec<(Permit, bool)>,
    pub(super) due: BTreeMap<String, BTreeSet<String>>,
    pub(super) sites: BTreeMap<SiteId, SiteStanding>,
    /// When the seasons were last looked up.
    pub(super) today: Timestamp,
    pub(super) layers: Ordered,
    pub(super) asides: Vec<Aside>,
    pub(super) exercises: super::exercise::Kept,
    pub(super) response: Response,
}

/// What facts know of the shard's state, for a start without a snapshot that can be read: after an update whose
/// snapshots have another form. Windows and delays are lost, alarms, permits, calibrations and
/// what sites are doing are not.
#[derive(Debug, Default)]
pub struct Remembered {
    /// Facts are complete up to this entry.
    pub seq: crate::journal::Seq,
    pub setup: Option<Setup>,
    /// Open ones.
    pub alarms: Vec<Alarm>,
    pub permits: Vec<Permit>,
    pub calibrations: HashMap<PointIndex, Timestamp>,
    pub sites: Vec<SiteStanding>,
    /// Set and not ended.
    pub limits: Vec<SetLimit>,
    pub exemptions: Vec<Exemption>,
    /// Alarms that are set aside.
    pub asides: Vec<Aside>,
    /// Exercises that had not ended. They are over: their alarms are closed, their injected values are gone.
    pub exercises: Vec<ExerciseFact>,
    pub response: crate::response::Remembered,
}

/// Can this Davy take up from these bytes?
#[must_use]
pub fn can_resume(bytes: &[u8]) -> bool {
    matches!(bytes.split_first(), Some((&VERSION, body)) if postcard::from_bytes::<Snapshot>(body).is_ok())
}

#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("snapshot version {0} is not known to this Davy")]
    Version(u8),
    #[error("the snapshot is damaged: {0}")]
    Damaged(#[from] postcard::Error),
    #[error("the snapshot is empty")]
    Empty,
}

impl Shard<'_> {
    /// The state after the last entry, and what people owe by then.
    #[must_use]
    pub fn snapshot(&self, response: &Response) -> Vec<u8> {
        let snapshot = Snapshot {
            setup: self.setup.clone(),
            points: self.points.clone(),
            conditions: self.conditions.clone(),
            faults: self.faults.clone(),
            now: self.now,
            listening_since: self.listening_since,
            permits: self.permits.clone(),
            due: self.due.clone(),
            sites: self.sites.clone(),
            today: self.today,
            layers: self.layers.ordered(),
            asides: self.asides.list(),
            exercises: self.exercises.keep(),
            response: response.clone(),
        };
        let body = postcard::to_stdvec(&snapshot).expect("plain data always serialises");
        let mut bytes = Vec::with_capacity(body.len() + 1);
        bytes.push(VERSION);
        bytes.extend_from_slice(&body);
        bytes
    }

    /// Takes up where the snapshot left; returns what people owed then.
    pub fn resume(&mut self, bytes: &[u8]) -> Result<Response, SnapshotError> {
        match bytes.split_first() {
            None => Err(SnapshotError::Empty),
            Some((&VERSION, body)) => {
                let mut snapshot: Snapshot = postcard::from_bytes(body)?;
                let response = std::mem::take(&mut snapshot.response);
                self.restore(snapshot);
                Ok(response)
            }
            Some((other, _)) => Err(SnapshotError::Version(*other)),
        }
    }
}
