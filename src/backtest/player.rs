//! One version of the rules while it is played: a shard, and what came out of it.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Acknowledging, Error, MOST_OCCURRENCES, Occurrence, Order, Played};
use crate::alarm::{Alarm, AlarmChange, Happening, OccurrenceId};
use crate::engine::{Effect, Shard};
use crate::history::Told;
use crate::journal::{Acknowledge, Entry, Note, RuleFile, Setup};
use crate::model::Timestamp;
use crate::rule::{Language, Plan};

pub struct Player<'a> {
    shard: Shard<'a>,
    acknowledging: Acknowledging,
    now: Timestamp,
    /// What ended before is of the warm-up only.
    from: Timestamp,
    effects: Vec<Effect>,
    open: HashMap<OccurrenceId, usize>,
    played: Played,
}

impl<'a> Player<'a> {
    /// Begins fresh at that tick.
    pub fn new(language: &'a Language, order: &Order, rules: &[RuleFile], begun: Timestamp) -> Result<Self, Error> {
        let setup = Setup { at: begun, rules: rules.to_vec(), ..order.ground.clone() };
        let plan = Plan::new(language, &setup);
        if !plan.problems.is_empty() {
            return Err(Error::Rules(plan.problems));
        }
        let mut played = Played::default();
        for compiled in &plan.rules {
            played.watched.insert(compiled.rule.id.clone(), Vec::new());
        }
        for (point, watched) in order.ground.points.iter().zip(&plan.points) {
            for watch in &watched.watches {
                played.watched.entry(plan.rules[watch.rule].rule.id.clone()).or_default().push(point.id.clone());
            }
        }
        played.refused = plan.refused;
        let mut player = Self {
            shard: Shard::new(language),
            acknowledging: order.acknowledging,
            now: begun,
            from: order.from,
            effects: Vec::new(),
            open: HashMap::new(),
            played,
        };
        player.enter(&Entry::Note(Note::Setup(Arc::new(setup))));
        player.enter(&Entry::Tick(begun));
        Ok(player)
    }

    fn enter(&mut self, entry: &Entry) {
        self.shard.on_entry(entry, &mut self.effects);
        self.take();
    }

    /// Time passes up to and with that tick.
    pub fn pass(&mut self, to: Timestamp) {
        if to > self.now {
            self.now = to;
            self.shard.pass(to, &mut self.effects);
            self.take();
        }
    }

    /// Newest tick.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// Davy was not running before this tick.
    pub fn pause(&mut self, since: Timestamp) {
        if since > self.now {
            self.now = since;
            self.enter(&Entry::Tick(since));
        }
    }

    /// A sample behind the newest tick.
    pub fn judge(&mut self, told: &Told) {
        self.shard.on_sample(&told.sample, &mut self.effects);
        if !self.effects.is_empty() {
            self.take();
        }
    }

    fn take(&mut self) {
        while !self.effects.is_empty() {
            for effect in std::mem::take(&mut self.effects) {
                if let Effect::Changed(change) = effect {
                    self.changed(change);
                }
            }
        }
    }

    fn changed(&mut self, change: AlarmChange) {
        let AlarmChange { happening, at, alarm } = change;
        if alarm.point.is_none() {
            if happening == Happening::Raised && &*alarm.rule == "davy-rule-fault" {
                let rule = alarm.subject.strip_prefix("rule ").unwrap_or(&alarm.subject).to_owned();
                self.played.faults.entry(rule).or_insert((0, alarm.detail)).0 += 1;
            }
            return;
        }
        match happening {
            Happening::Raised => {
                if self.played.occurrences.len() < MOST_OCCURRENCES {
                    self.open.insert(alarm.id.clone(), self.played.occurrences.len());
                    self.played.occurrences.push(occurrence(&alarm));
                } else {
                    self.played.beyond += 1;
                }
                if self.acknowledging == Acknowledging::AtOnce {
                    let (occurrence, raises) = (alarm.id, alarm.raises);
                    let (by, comment) = ("backtest".to_owned(), String::new());
                    let seen = Acknowledge { command: 0, at, occurrence, raises, by, comment, seen: None };
                    self.shard.on_entry(&Entry::Note(Note::Acknowledge(seen)), &mut self.effects);
                }
            }
            Happening::RaisedAgain | Happening::Cleared => {
                let Some(place) = self.open.get(&alarm.id).copied() else { return };
                self.played.occurrences[place] = occurrence(&alarm);
                // Nobody comes back to what was acknowledged and is over.
                let over = happening == Happening::Cleared && self.acknowledging == Acknowledging::AtOnce;
                if over {
                    self.open.remove(&alarm.id);
                }
                // Of the warm-up alone, and nothing behind it yet: forgotten at once.
                let last = place + 1 == self.played.occurrences.len();
                if over && last && alarm.cleared.is_some_and(|cleared| cleared <= self.from) {
                    self.played.occurrences.pop();
                }
            }
            Happening::Acknowledged
            | Happening::Reset
            | Happening::Realarmed
            | Happening::Worsened
            | Happening::SetAside
            | Happening::Resumed => {}
        }
    }

    /// What touches the span.
    pub fn finish(mut self, from: Timestamp, to: Timestamp) -> Played {
        for alarm in self.shard.open_alarms() {
            if let Some(place) = self.open.get(&alarm.id) {
                self.played.occurrences[*place] = occurrence(alarm);
            }
        }
        self.played.occurrences.retain(|one| one.raised < to && one.cleared.is_none_or(|cleared| cleared > from));
        self.played.occurrences.sort_by(|a, b| (a.raised, &a.rule, &a.point).cmp(&(b.raised, &b.rule, &b.point)));
        self.played.evaluations = self.shard.counts.evaluations;
        self.played
    }
}

fn occurrence(alarm: &Alarm) -> Occurrence {
    Occurrence {
        id: alarm.id.clone(),
        rule: alarm.rule.clone(),
        point: alarm.subject.clone(),
        site: alarm.site.clone(),
        raised: alarm.raised,
        cleared: alarm.cleared,
        value: alarm.value,
        worst: alarm.worst,
        limit: alarm.limit,
        unit: alarm.unit.clone(),
        priority: alarm.priority,
        level: alarm.level,
        raises: alarm.raises,
    }
}
