//! The board: what everybody may look at without asking the engine.
//!
//! In come durable samples and alarm changes that are already in `facts.db`; out go the latest value of
//! each point, the open alarms, and a live stream of both for the page, the API and MQTT subscribers.
//! It never decides anything, and a slow reader never holds up a writer: it is told that it missed some.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::alarm::{Alarm, AlarmChange, OccurrenceId, Standing, Together};
use crate::clock;
use crate::journal::Setup;
use crate::model::{Point, PointIndex, PointTable, Reason, Sample, Timestamp};

/// An alarm change with its number in `facts.db`; the numbers grow, and resume an interrupted stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Published {
    pub id: i64,
    /// It went out before its cause was on the disk, because the disk was slow.
    #[serde(default)]
    pub early: bool,
    #[serde(flatten)]
    pub change: AlarmChange,
}

/// What a screen shows beside a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Freshness {
    /// Nothing has come since the point was set up.
    Waiting,
    Live,
    /// Expected period and one second have passed without a sample.
    Stale,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latest {
    pub sample: Sample,
    pub freshness: Freshness,
}

/// The newest samples of all points at one moment, and what no single sample tells.
#[derive(Clone, Debug)]
pub struct Heard {
    /// In index order.
    pub latest: Vec<Option<Sample>>,
    /// When the values of a point that is bad began to be bad.
    pub bad_since: BTreeMap<PointIndex, Timestamp>,
    /// Since when the gateway has listened: nobody knows of what was heard before.
    pub since: Timestamp,
}

#[derive(Debug)]
pub struct Board {
    points: RwLock<Arc<PointTable>>,
    setup: RwLock<Option<Arc<Setup>>>,
    heard: Mutex<Heard>,
    open: RwLock<BTreeMap<OccurrenceId, Arc<Alarm>>>,
    /// Of several alarms each, since the start. Locked before `open` where both are.
    groups: RwLock<BTreeMap<OccurrenceId, Together>>,
    changes: broadcast::Sender<Arc<Published>>,
    values: broadcast::Sender<Arc<Vec<Sample>>>,
    last_change: AtomicI64,
    calls: tokio::sync::watch::Sender<()>,
}

impl Default for Board {
    fn default() -> Self {
        Self::new()
    }
}

impl Board {
    /// Changes and value batches that a reader may lag behind before it misses some.
    const LAG: usize = 4_096;
    /// More groups than this are looked through for those of no open alarm.
    const GROUPS: usize = 1_000;

    #[must_use]
    pub fn new() -> Self {
        Self {
            points: RwLock::default(),
            setup: RwLock::default(),
            heard: Mutex::new(Heard { latest: Vec::new(), bad_since: BTreeMap::new(), since: clock::now() }),
            open: RwLock::default(),
            groups: RwLock::default(),
            changes: broadcast::channel(Self::LAG).0,
            values: broadcast::channel(64).0,
            last_change: AtomicI64::new(0),
            calls: tokio::sync::watch::channel(()).0,
        }
    }

    #[must_use]
    pub fn points(&self) -> Arc<PointTable> {
        self.points.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_points(&self, table: Arc<PointTable>) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let length = heard.latest.len().max(table.len());
        heard.latest.resize(length, None);
        *self.points.write().unwrap_or_else(PoisonError::into_inner) = table;
    }

    /// Points, rules and limits of the configuration in force; `None` until the engine has them.
    #[must_use]
    pub fn setup(&self) -> Option<Arc<Setup>> {
        self.setup.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_setup(&self, setup: Arc<Setup>) {
        *self.setup.write().unwrap_or_else(PoisonError::into_inner) = Some(setup);
    }

    /// Durable samples. An older source time never replaces a newer one.
    pub fn show(&self, samples: &Arc<Vec<Sample>>) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let Heard { latest, bad_since, .. } = &mut *heard;
        for sample in samples.iter() {
            if let Some(place) = latest.get_mut(sample.point.at())
                && place.is_none_or(|shown| {
                    // A time ahead of the clock, or not to be believed, hides nothing that comes after it.
                    shown.source_time <= sample.source_time
                        || shown.source_time > sample.receive_time
                        || shown.quality.has(Reason::ClockWrong)
                })
            {
                *place = Some(*sample);
                if !sample.quality.usable() {
                    bad_since.entry(sample.point).or_insert(sample.receive_time);
                } else if !bad_since.is_empty() {
                    bad_since.remove(&sample.point);
                }
            }
        }
        drop(heard);
        if self.values.receiver_count() > 0 {
            drop(self.values.send(samples.clone()));
        }
    }

    /// An alarm change that is already in `facts.db`.
    pub fn publish(&self, published: Arc<Published>) {
        let alarm = &published.change.alarm;
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if alarm.standing == Standing::Normal {
            open.remove(&alarm.id);
        } else {
            open.insert(alarm.id.clone(), Arc::new(alarm.clone()));
        }
        drop(open);
        self.last_change.fetch_max(published.id, Relaxed);
        drop(self.changes.send(published));
    }

    /// Alarms that came up together, as they are now.
    pub fn regroup(&self, now: Vec<Together>) {
        if now.is_empty() {
            return;
        }
        let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        groups.extend(now.into_iter().map(|together| (together.group.clone(), together)));
        if groups.len() > Self::GROUPS {
            let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
            let of_open: BTreeSet<&OccurrenceId> =
                open.values().filter_map(|alarm| Some(&alarm.together.as_ref()?.group)).collect();
            groups.retain(|group, _| of_open.contains(group));
        }
    }

    /// The alarm with what its group is now: it may have changed since the alarm did.
    fn grouped(groups: &BTreeMap<OccurrenceId, Together>, alarm: &Arc<Alarm>) -> Arc<Alarm> {
        let now = alarm.together.as_ref().and_then(|together| groups.get(&together.group));
        match now.filter(|now| alarm.together.as_deref() != Some(now)) {
            Some(now) => Arc::new(Alarm { together: Some(Box::new(now.clone())), ..(**alarm).clone() }),
            None => alarm.clone(),
        }
    }

    /// Somebody is called without an alarm having changed: there are messages to be sent.
    pub fn call(&self) {
        self.calls.send_replace(());
    }

    /// Resolves whenever somebody is called.
    #[must_use]
    pub fn calls(&self) -> tokio::sync::watch::Receiver<()> {
        self.calls.subscribe()
    }

    /// Open alarms as found in `facts.db` at the start.
    pub fn restore(&self, alarms: impl IntoIterator<Item = Alarm>, last_change: i64) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        open.extend(alarms.into_iter().map(|alarm| (alarm.id.clone(), Arc::new(alarm))));
        self.last_change.fetch_max(last_change, Relaxed);
    }

    /// Open alarms, by id.
    #[must_use]
    pub fn open_alarms(&self) -> Vec<Arc<Alarm>> {
        let groups = self.groups.read().unwrap_or_else(PoisonError::into_inner);
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.values().map(|alarm| Self::grouped(&groups, alarm)).collect()
    }

    #[must_use]
    pub fn open_alarm(&self, id: &OccurrenceId) -> Option<Arc<Alarm>> {
        let groups = self.groups.read().unwrap_or_else(PoisonError::into_inner);
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.get(id).map(|alarm| Self::grouped(&groups, alarm))
    }

    /// Number of the newest change that was published.
    #[must_use]
    pub fn last_change(&self) -> i64 {
        self.last_change.load(Relaxed)
    }

    /// The newest durable sample of a point, and whether it is still to be believed at `now`.
    #[must_use]
    pub fn latest(&self, point: PointIndex, now: Timestamp) -> Option<Latest> {
        let table = self.points();
        let about = table.get(point)?;
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let sample = (*heard.latest.get(point.at())?)?;
        drop(heard);
        Some(Latest { sample, freshness: freshness(about, Some(&sample), now) })
    }

    /// All newest samples in index order, for whoever shows a whole screen.
    #[must_use]
    pub fn latest_all(&self) -> Vec<Option<Sample>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).latest.clone()
    }

    /// The same with what else is known of them.
    #[must_use]
    pub fn heard(&self) -> Heard {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Arc<Published>> {
        self.changes.subscribe()
    }

    #[must_use]
    pub fn values(&self) -> broadcast::Receiver<Arc<Vec<Sample>>> {
        self.values.subscribe()
    }
}

/// Stale means: the expected period and one second have passed by Davy's clock, or what came was late.
#[must_use]
pub fn freshness(point: &Point, sample: Option<&Sample>, now: Timestamp) -> Freshness {
    match sample {
        None => Freshness::Waiting,
        // Back-fill arrives now and says nothing about now.
        Some(sample) if sample.quality.has(Reason::Late) => Freshness::Stale,
        Some(sample) if now.since(sample.receive_time) > point.period + Duration::from_secs(1) => Freshness::Stale,
        Some(_) => Freshness::Live,
    }
}
