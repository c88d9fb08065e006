//! First-out: alarms that come up together, and which of them came first.
//!
//! In come alarm changes; each goes out with the name of its group and of the group's first-out. A group is of one site
//! and one field (gas with air and power, fire, water, .., the sensors' own state); exercises and work under a permit are
//! groups of their own. An alarm joins while one of the group is open and no more than a gap after the newest of it.
//! The first-out is the earliest by event time, then by id, whatever arrived first. For a minute after a group began, by
//! Davy's clock, an alarm of an earlier event time takes the mark over; what comes in later joins, and the mark stays.
//! Never: an alarm hidden, delayed or changed in anything but these names; a mark that moves after that minute.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Out;
use crate::alarm::{Alarm, AlarmChange, Field, First, Happening, OccurrenceId, RuleId, Standing, Together};
use crate::engine::Effect;
use crate::facts::Answer;
use crate::journal::Setup;
use crate::model::{Reason, Timestamp};

/// Devices send what they saw in another order than they saw it; nobody is late for longer than this.
const SETTLES: Duration = Duration::from_secs(60);

/// What of `[storm]` is about groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grouping {
    /// Longest time between two alarms of a group.
    pub gap: Duration,
    /// All of a site are one field.
    pub whole_site: bool,
}

impl Grouping {
    /// The rule by which 超限 are counted: the same place again after more than ten minutes is a new one.
    #[must_use]
    pub const fn usual() -> Option<Self> {
        Some(Self { gap: Duration::from_secs(600), whole_site: false })
    }
}

/// What people have asked for in advance is no incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Apart {
    No,
    /// Under a permit.
    Planned,
    Exercise,
}

/// Alarms of one site, one field, and either all planned or none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Key(Arc<str>, Field, Apart);

/// A group as it stands; facts have it as a row once there are two alarms in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub id: OccurrenceId,
    key: Key,
    pub first: Arc<First>,
    /// By Davy's clock.
    pub began: Timestamp,
    /// Event time of the newest alarm.
    newest: Timestamp,
    pub alarms: u32,
    /// Of them not over yet.
    open: u32,
}

impl Group {
    #[must_use]
    pub fn site(&self) -> &str {
        &self.key.0
    }

    #[must_use]
    pub fn together(&self) -> Together {
        let (group, first) = (self.id.clone(), self.first.clone());
        Together { group, field: self.key.1, first, alarms: self.alarms }
    }
}

/// Groups of which an alarm is open.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Groups {
    groups: BTreeMap<OccurrenceId, Group>,
    /// The group that a new alarm may join.
    newest: BTreeMap<Key, OccurrenceId>,
    /// Open alarms and their groups.
    members: BTreeMap<OccurrenceId, OccurrenceId>,
    /// Alarms that are over since the entry that is being followed.
    #[serde(skip)]
    over: Vec<OccurrenceId>,
    #[serde(skip)]
    setup: Option<Arc<Setup>>,
    /// Rules about the sensors themselves.
    #[serde(skip)]
    sensors: BTreeSet<RuleId>,
}

impl Groups {
    /// `sensors`: rules that judge the state of a sensor, or its silence.
    pub fn set_up(&mut self, setup: &Arc<Setup>, sensors: BTreeSet<RuleId>) {
        self.setup = Some(setup.clone());
        self.sensors = sensors;
    }

    /// Takes up from what facts know: open alarms, and the groups of those that are not alone in theirs.
    pub fn adopt(&mut self, open: &[Alarm], groups: Vec<Group>) {
        let none_yet = |group: Group| (group.id.clone(), Group { open: 0, ..group });
        self.groups = groups.into_iter().map(none_yet).collect();
        for alarm in open.iter().filter(|alarm| alarm.standing != Standing::Normal) {
            let Some(together) = &alarm.together else { continue };
            self.members.insert(alarm.id.clone(), together.group.clone());
            let group = self.groups.entry(together.group.clone()).or_insert_with(|| Group {
                id: together.group.clone(),
                key: Key(alarm.site.clone(), together.field, apart(alarm)),
                first: together.first.clone(),
                began: alarm.received,
                newest: event_time(alarm),
                alarms: together.alarms,
                open: 0,
            });
            group.open += 1;
        }
        self.groups.retain(|_, group| group.open > 0);
        for group in self.groups.values() {
            let newer = |known: &OccurrenceId| self.groups[known].newest < group.newest;
            if self.newest.get(&group.key).is_none_or(newer) {
                self.newest.insert(group.key.clone(), group.id.clone());
            }
        }
    }

    /// Marks the alarm of a change with its group, after having found one for it.
    pub fn mark(&mut self, change: &mut AlarmChange, out: &mut Out) {
        let alarm = &mut change.alarm;
        if !self.members.contains_key(&alarm.id) && comes_up(change.happening, alarm) {
            self.place(alarm, out);
        }
        self.name(alarm);
        if alarm.standing == Standing::Normal && self.members.contains_key(&alarm.id) {
            self.over.push(alarm.id.clone());
        }
    }

    /// The alarm in an answer is the same as the one in the change.
    pub fn mark_answer(&self, answer: &mut Answer) {
        if let Some(alarm) = answer.alarm_mut() {
            self.name(alarm);
        }
    }

    fn name(&self, alarm: &mut Alarm) {
        if let Some(group) = self.members.get(&alarm.id).and_then(|id| self.groups.get(id)) {
            alarm.together = Some(Box::new(group.together()));
        }
    }

    /// After an entry: forgets what is over.
    pub fn settle(&mut self) {
        for alarm in std::mem::take(&mut self.over) {
            let Some(id) = self.members.remove(&alarm) else { continue };
            let Some(group) = self.groups.get_mut(&id) else { continue };
            group.open -= 1;
            if group.open > 0 {
                continue;
            }
            if let Some(group) = self.groups.remove(&id)
                && self.newest.get(&group.key) == Some(&id)
            {
                self.newest.remove(&group.key);
            }
        }
    }

    fn place(&mut self, alarm: &Alarm, out: &mut Out) {
        let Some(key) = self.key(alarm) else { return };
        let gap = self.setup.as_ref().and_then(|setup| setup.storm.group).map_or(Duration::ZERO, |group| group.gap);
        let at = event_time(alarm);
        let known = self.newest.get(&key).and_then(|id| self.groups.get_mut(id));
        match known {
            Some(group) if at <= group.newest + gap && group.first.raised <= at + gap => {
                group.take(alarm, at);
                self.members.insert(alarm.id.clone(), group.id.clone());
                out.effects.push(Effect::Group(Box::new(group.clone())));
            }
            known => {
                let latest = known.is_none_or(|group| group.newest < at);
                let group = Group::of(alarm, key.clone(), at);
                self.members.insert(alarm.id.clone(), group.id.clone());
                if latest {
                    self.newest.insert(key, group.id.clone());
                }
                self.groups.insert(group.id.clone(), group);
            }
        }
    }

    /// None: it is of no group.
    fn key(&self, alarm: &Alarm) -> Option<Key> {
        let setup = self.setup.as_ref()?;
        let (grouping, point) = (setup.storm.group?, setup.points.get(alarm.point?.at())?);
        let field = if grouping.whole_site {
            Field::Site
        } else if self.sensors.contains(&alarm.rule) {
            Field::Sensor
        } else {
            Field::of(point.kind)
        };
        Some(Key(alarm.site.clone(), field, apart(alarm)))
    }
}

impl Group {
    fn of(alarm: &Alarm, key: Key, at: Timestamp) -> Self {
        let (id, first) = (alarm.id.clone(), Arc::new(First::of(alarm, at)));
        Self { id, key, first, began: alarm.received, newest: at, alarms: 1, open: 1 }
    }

    /// One more alarm.
    fn take(&mut self, alarm: &Alarm, at: Timestamp) {
        (self.alarms, self.open) = (self.alarms + 1, self.open + 1);
        self.newest = self.newest.max(at);
        let earlier = (at, &alarm.id) < (self.first.raised, &self.first.id);
        if earlier && alarm.received.since(self.began) <= SETTLES {
            self.first = Arc::new(First::of(alarm, at));
        }
    }
}

/// A clock that is not to be believed puts nothing in order.
fn event_time(alarm: &Alarm) -> Timestamp {
    if alarm.quality.has(Reason::ClockWrong) { alarm.received } else { alarm.raised }
}

fn apart(alarm: &Alarm) -> Apart {
    if alarm.quality.has(Reason::Exercise) {
        Apart::Exercise
    } else if alarm.quality.has(Reason::Maintenance) {
        Apart::Planned
    } else {
        Apart::No
    }
}

/// It begins to call people.
fn comes_up(happening: Happening, alarm: &Alarm) -> bool {
    match happening {
        Happening::Raised | Happening::RaisedAgain | Happening::Resumed => alarm.standing.active(),
        Happening::Acknowledged
        | Happening::Cleared
        | Happening::Reset
        | Happening::Realarmed
        | Happening::Worsened
        | Happening::SetAside => false,
    }
}
