//! What operators say to an alarm: "I saw it", and the reset of a latched one.
//!
//! In come notes that name an occurrence and what the person saw of it; out goes the move of that alarm, a record
//! and an answer. What the person cannot have seen is never acknowledged: the answer says what is different.

use super::aside::changed_since;
use super::revision::acknowledged;
use super::shard::Shard;
use super::{Effect, Slot};
use crate::alarm::{Acknowledgement, Alarm, OccurrenceId, Policy, Standing};
use crate::facts::Answer;
use crate::journal::{Acknowledge, Reset};
use crate::model::{PointIndex, Record};

impl Shard<'_> {
    pub(super) fn on_acknowledge(&mut self, command: &Acknowledge, effects: &mut Vec<Effect>) {
        let mut changes = Vec::new();
        let worse = self.worse_unseen(command);
        let answer = match self.find(&command.occurrence) {
            None => Answer::NoSuchAlarm,
            Some((slot, policy)) => match slot.open.as_deref() {
                Some(alarm) if alarm.raises != command.raises => Answer::NewerOccurrence(alarm.clone()),
                Some(alarm) => match refusal(command, alarm, worse) {
                    Some(refused) => refused,
                    None => say(slot, &policy, command, &mut changes),
                },
                None => Answer::NoSuchAlarm,
            },
        };
        self.conditions.tidy();
        effects.append(&mut changes);
        effects.push(Effect::Answered { command: command.command, answer });
    }

    /// An alarm of the same point that is more urgent and came after the person looked.
    fn worse_unseen(&self, command: &Acknowledge) -> Option<String> {
        let looked = command.seen.as_ref()?.looked?;
        let (at, _) = self.place_of_open(&command.occurrence)?;
        let state = self.points.get(at)?;
        let open = || state.slots.iter().filter_map(|slot| slot.open.as_deref());
        let alarm = open().find(|alarm| alarm.id == command.occurrence)?;
        let worse = open().filter(|other| other.priority < alarm.priority && other.received > looked);
        let worse =
            worse.filter(|other| other.standing == Standing::Unacknowledged).min_by_key(|other| other.priority)?;
        let value = worse.value.map_or_else(String::new, |value| format!(" {value} {}", worse.unit));
        Some(format!(
            "同一测点又有 {0} 报警 / the same point has a {0} alarm since: {1}{value}",
            worse.priority, worse.title
        ))
    }

    pub(super) fn on_reset(&mut self, reset: &Reset, effects: &mut Vec<Effect>) {
        let mut changes = Vec::new();
        let answer = match self.find(&reset.occurrence) {
            None => Answer::NoSuchAlarm,
            Some((slot, policy)) => {
                let before = slot.open.as_deref().cloned();
                slot.reset(&policy, reset.at, &mut changes);
                match (before, changes.first().and_then(Effect::change)) {
                    (Some(_), Some(change)) => {
                        let alarm = change.alarm.clone();
                        changes.push(Effect::Record(Record {
                            action: "alarm.reset".into(),
                            subject: alarm.id.to_string(),
                            reason: reset.comment.clone(),
                            before: format!("{} {} latched", alarm.rule, alarm.subject),
                            after: alarm.standing.word().to_owned(),
                            ..Record::by(&reset.by, reset.at)
                        }));
                        Answer::Acknowledged(alarm)
                    }
                    (Some(alarm), None) if alarm.standing.active() => {
                        let words = "报警条件仍在，不能复位 / the condition still holds: it cannot be reset".to_owned();
                        Answer::Refused(Box::new(alarm), words)
                    }
                    (Some(alarm), None) => {
                        Answer::Refused(Box::new(alarm), "报警未锁定，无需复位 / it is not latched".to_owned())
                    }
                    (None, _) => Answer::NoSuchAlarm,
                }
            }
        };
        self.conditions.tidy();
        effects.append(&mut changes);
        effects.push(Effect::Answered { command: reset.command, answer });
    }

    fn find(&mut self, id: &OccurrenceId) -> Option<(&mut Slot, Policy)> {
        if let Some((at, place)) = self.place_of_open(id) {
            let policy = self.plan.rules[self.plan.points[at].watches[place].rule].policy;
            return Some((&mut self.points[at].slots[place], policy));
        }
        self.conditions.find(id).map(|slot| (slot, Policy::default()))
    }

    /// Point and place of an alarm that people know of.
    fn place_of_open(&self, id: &OccurrenceId) -> Option<(usize, usize)> {
        let is_it = |slot: &Slot| slot.open.as_ref().is_some_and(|alarm| alarm.id == *id);
        let at = self.opened.get(id)?.at();
        Some((at, self.points.get(at)?.slots.iter().position(is_it)?))
    }

    /// The shard's own number of the alarm's point. A stage has numbers of its own, and its alarms those of the gateway.
    pub(super) fn local(&self, alarm: &Alarm) -> Option<PointIndex> {
        let point = alarm.point?;
        if self.staged.is_some() { self.table.find(&alarm.subject) } else { Some(point) }
    }

    /// Takes note of where an alarm is to be found.
    pub(super) fn note_open(&mut self, alarm: &Alarm) {
        match self.local(alarm) {
            Some(_) if alarm.standing == Standing::Normal => self.opened.remove(&alarm.id),
            Some(point) => self.opened.insert(alarm.id.clone(), point),
            None => None,
        };
    }
}

/// Why the alarm as it stands is not what the person may acknowledge.
fn refusal(command: &Acknowledge, alarm: &Alarm, worse: Option<String>) -> Option<Answer> {
    if matches!(alarm.standing, Standing::Acknowledged | Standing::LatchedAcknowledged) {
        return Some(Answer::AlreadyAcknowledged(alarm.clone()));
    }
    if alarm.standing.aside().is_some() {
        let words = format!("报警不在呼叫状态 / nobody is called for it: it is {}", alarm.standing.word());
        return Some(Answer::Refused(Box::new(alarm.clone()), words));
    }
    let changed = command.seen.as_ref().and_then(|seen| changed_since(seen, alarm));
    let words = changed.into_iter().chain(worse).collect::<Vec<_>>().join("; ");
    (!words.is_empty()).then(|| Answer::Refused(Box::new(alarm.clone()), words))
}

fn say(slot: &mut Slot, policy: &Policy, command: &Acknowledge, changes: &mut Vec<Effect>) -> Answer {
    let by = Acknowledgement { by: command.by.clone(), at: command.at, comment: command.comment.clone() };
    slot.acknowledge(policy, by, changes);
    match changes.first() {
        Some(Effect::Changed(change)) => {
            let alarm = change.alarm.clone();
            changes.push(Effect::Record(acknowledged(command, &alarm)));
            Answer::Acknowledged(alarm)
        }
        Some(_) | None => Answer::NoSuchAlarm,
    }
}
