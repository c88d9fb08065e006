//! Chatter: an alarm that comes and goes so often that nobody can act on it.
//!
//! In come alarm changes and ticks; out go orders to shelve the alarm for a while, and an alarm of Davy's own that
//! stands until that is over. What is urgent (P1, and P2 unless its rule says that it may be shelved) goes on calling, as
//! does what must not be shelved at all, and the alarm about it says so: whether it is shelved the engine decides.
//! Only alarms of points count, and only while they call people: what Davy says of itself cannot chatter, what is set
//! aside already is left as it is, and an exercise shelves nothing. Never: a shelf without an end, or without its alarm.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Out;
use super::group::Grouping;
use crate::alarm::{
    Alarm, AlarmChange, Aside, AsideFact, AsideOrder, Happening, Level, Priority, RuleId, Standing, Way,
};
use crate::facts::AsideRefusal;
use crate::journal::{Condition, Setup};
use crate::model::{Reason, Timestamp, duration_text};

/// The alarm about an alarm that chatters.
pub const CHATTER: &str = "davy-chatter";
/// What Davy's shelves of chattering alarms are called.
pub const SHELF: &str = "chatter:";
/// A wall clock that steps back by more than this was set.
const SET_BACK: Duration = Duration::from_secs(1);
/// Most alarms that are counted at once, and most that chatter; beyond that the oldest is no longer counted, and
/// what would be one more calls on.
const MOST: usize = 10_000;

/// `[storm]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// None: nothing is shelved by Davy itself.
    pub chatter: Option<Chatter>,
    /// For how long it is shelved.
    pub shelf: Duration,
    /// Which alarms come up together; none: no first-out is marked.
    #[serde(default = "Grouping::usual")]
    pub group: Option<Grouping>,
}

/// Raised so often within so long, which is what ISA-18.2 and EEMUA 191 call chattering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chatter {
    pub raises: usize,
    pub within: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        let chatter = Chatter { raises: 3, within: Duration::from_secs(60) };
        Self { chatter: Some(chatter), shelf: Duration::from_secs(30 * 60), group: Grouping::usual() }
    }
}

type Target = (RuleId, String);

/// Alarms that were raised lately, and those that chatter.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Storms {
    now: Timestamp,
    /// The last raises of an alarm, by Davy's clock and by the source's.
    recent: BTreeMap<Target, VecDeque<(Timestamp, Timestamp)>>,
    /// Until when the alarm about each stands; none: for as long as its shelf does.
    lasting: BTreeMap<Target, Option<Timestamp>>,
    /// The same by time; worked out from the two.
    #[serde(skip)]
    fades: BTreeSet<(Timestamp, Target)>,
    #[serde(skip)]
    ends: BTreeSet<(Timestamp, Target)>,
    #[serde(skip)]
    policy: Policy,
}

impl Storms {
    pub fn set_up(&mut self, setup: &Arc<Setup>) {
        self.policy = setup.storm;
        self.line_up();
    }

    /// Takes up from what facts know: the shelves of Davy's own, and the alarms about them.
    pub fn adopt(&mut self, open: &[Alarm], asides: &[Aside]) {
        for alarm in open.iter().filter(|alarm| *alarm.rule == *CHATTER && alarm.cleared.is_none()) {
            if let Some((rule, subject)) = alarm.subject.split_once(' ') {
                self.lasting.insert((rule.into(), subject.to_owned()), Some(alarm.raised + self.policy.shelf));
            }
        }
        for aside in asides.iter().filter(|aside| aside.id.starts_with(SHELF)) {
            self.lasting.insert(aside.target(), None);
        }
        self.line_up();
    }

    fn line_up(&mut self) {
        let within = self.policy.chatter.map_or(Duration::ZERO, |chatter| chatter.within);
        let newest = |times: &VecDeque<(Timestamp, Timestamp)>| times.back().map_or(Timestamp::MIN, |(now, _)| *now);
        self.fades = self.recent.iter().map(|(target, times)| (newest(times) + within, target.clone())).collect();
        let timed = self.lasting.iter().filter_map(|(target, until)| Some(((*until)?, target.clone())));
        self.ends = timed.collect();
    }

    /// A change of an alarm: one raise too many shelves it.
    pub fn on_change(&mut self, change: &AlarmChange, out: &mut Out) {
        let (alarm, Some(chatter)) = (&change.alarm, self.policy.chatter) else { return };
        let raised = match change.happening {
            Happening::Raised | Happening::RaisedAgain => alarm.standing == Standing::Unacknowledged,
            Happening::Acknowledged
            | Happening::Cleared
            | Happening::Reset
            | Happening::Realarmed
            | Happening::Worsened
            | Happening::SetAside
            | Happening::Resumed => false,
        };
        let target = (alarm.rule.clone(), alarm.subject.to_string());
        let counts = alarm.point.is_some() && !alarm.quality.has(Reason::Exercise);
        if !raised || !counts || self.lasting.contains_key(&target) {
            return;
        }
        let now = self.now.max(alarm.received);
        if !self.too_often(&target, now, change.at, chatter) {
            return;
        }
        self.recent.remove(&target);
        self.fades.retain(|(_, other)| *other != target);
        if self.lasting.len() >= MOST {
            return;
        }
        let within = duration_text(chatter.within);
        out.asides.push(AsideOrder::Begin(Aside {
            id: format!("{SHELF}{}:{}", target.0, target.1),
            way: Way::Shelved,
            rule: target.0,
            subject: target.1,
            by: "davy".into(),
            approved_by: None,
            reason: format!("{within} 内报警 {0} 次 / raised {0} times within {within}", chatter.raises),
            from: now,
            until: Some(now + self.policy.shelf),
            once: false,
        }));
    }

    /// Counts a raise. A backlog that comes in at once is no chatter, nor is what only its source's clock puts
    /// together: the raises have to be close by both clocks.
    fn too_often(&mut self, target: &Target, now: Timestamp, at: Timestamp, chatter: Chatter) -> bool {
        if !self.recent.contains_key(target) {
            if self.recent.len() >= MOST
                && let Some((_, oldest)) = self.fades.pop_first()
            {
                self.recent.remove(&oldest);
            }
            self.fades.insert((now + chatter.within, target.clone()));
        }
        let times = self.recent.entry(target.clone()).or_default();
        times.push_back((now, at));
        while times.len() > chatter.raises {
            times.pop_front();
        }
        let close = |(then, source): &(Timestamp, Timestamp)| {
            let apart = Duration::from_micros(at.micros().abs_diff(source.micros()));
            now.since(*then) <= chatter.within && apart <= chatter.within
        };
        times.len() >= chatter.raises && times.front().is_some_and(close)
    }

    /// What became of an order: the alarm about it tells whether the chattering one calls on.
    pub fn on_order(&mut self, order: &AsideOrder, refused: Option<&AsideRefusal>, out: &mut Out) {
        let AsideOrder::Begin(aside) = order else { return };
        if !aside.id.starts_with(SHELF) {
            return;
        }
        let target = aside.target();
        let until = aside.until.filter(|_| refused.is_some());
        self.lasting.insert(target.clone(), until);
        self.ends.extend(until.map(|until| (until, target.clone())));
        out.conditions.push(about(&target, aside.from, Some((aside, refused))));
    }

    /// A shelf that has ended, before its time perhaps: somebody ended it, or put another in its place.
    pub fn on_aside(&mut self, fact: &AsideFact, out: &mut Out) {
        if let (Some(end), true) = (&fact.end, fact.aside.id.starts_with(SHELF)) {
            self.end(&fact.aside.target(), end.at, out);
        }
    }

    fn end(&mut self, target: &Target, at: Timestamp, out: &mut Out) {
        let Some(until) = self.lasting.remove(target) else { return };
        if let Some(until) = until {
            self.ends.remove(&(until, target.clone()));
        }
        out.conditions.push(about(target, at, None));
    }

    /// Forgets raises that are long past, and ends what is due.
    pub fn on_tick(&mut self, now: Timestamp, out: &mut Out) {
        if now + SET_BACK < self.now {
            // Nothing is measured against a future that has not come.
            self.recent.clear();
            let latest = now + self.policy.shelf;
            self.lasting.values_mut().flatten().for_each(|until| *until = latest.min(*until));
            self.line_up();
        }
        self.now = now;
        let within = self.policy.chatter.map_or(Duration::ZERO, |chatter| chatter.within);
        while let Some((_, target)) = self.fades.first().filter(|(due, _)| *due < now).cloned() {
            self.fades.pop_first();
            let newest = self.recent.get(&target).and_then(VecDeque::back).map(|(then, _)| *then + within);
            match newest.filter(|due| *due >= now) {
                Some(due) => drop(self.fades.insert((due, target))),
                None => drop(self.recent.remove(&target)),
            }
        }
        while let Some((_, target)) = self.ends.first().filter(|(due, _)| *due <= now).cloned() {
            self.end(&target, now, out);
        }
    }
}

/// `holds`: the shelf, and why it was refused.
fn about((rule, subject): &Target, at: Timestamp, holds: Option<(&Aside, Option<&AsideRefusal>)>) -> Condition {
    let (title, advice, detail) = match holds {
        Some((aside, Some(refusal))) => (
            "报警抖动，未搁置，仍继续报警 / alarm chatters, is not shelved and still calls",
            "按报警处置；并检查传感器、接线与回差 / act on the alarm; then check the sensor, its wiring and the deadband",
            match refusal {
                AsideRefusal::Words(words) => format!("{}; {words}", aside.reason),
                AsideRefusal::NoSuch => aside.reason.clone(),
            },
        ),
        Some((aside, None)) => (
            "报警抖动，已自动搁置 / alarm chatters and is shelved",
            "查看实时值；检查传感器、接线与回差；搁置期间该报警不再呼叫 / look at the live value; check the sensor, its wiring \
             and the deadband; the alarm calls nobody meanwhile",
            format!("{}; until {}", aside.reason, aside.until.map_or_else(String::new, |until| until.to_string())),
        ),
        None => ("", "", String::new()),
    };
    Condition {
        at,
        rule: CHATTER.into(),
        subject: format!("{rule} {subject}"),
        holds: holds.is_some(),
        title: if title.is_empty() { String::new() } else { format!("{title}: {rule} {subject}") },
        advice: advice.into(),
        priority: Priority::P3,
        level: Level::Yellow,
        detail,
    }
}
