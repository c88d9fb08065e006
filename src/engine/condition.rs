//! Alarms that are not about a point: the gateway's own conditions and rules that fail.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Effect;
use super::open::{About, Moment, Slot};
use crate::alarm::{Input, OccurrenceId, Policy, Standing, Verdict};
use crate::journal::Condition;

/// Site name of conditions that belong to the gateway itself.
pub const GATEWAY: &str = "gateway";

/// Conditions by (rule, subject). Ended and acknowledged ones are forgotten.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Conditions {
    slots: BTreeMap<(String, String), Slot>,
}

impl Conditions {
    pub fn apply(&mut self, condition: &Condition, effects: &mut Vec<Effect>) {
        let key = (condition.rule.clone(), condition.subject.clone());
        if !condition.holds && !self.slots.contains_key(&key) {
            return;
        }
        let slot = self.slots.entry(key.clone()).or_default();
        let verdict = if condition.holds { Verdict::Violated } else { Verdict::Healthy };
        let moment = Moment::of(condition.at);
        let (rule, subject, site) = (Arc::from(&*condition.rule), Arc::from(&*condition.subject), Arc::from(GATEWAY));
        let about = || About {
            rule: &rule,
            subject: &subject,
            point: None,
            exercise: None,
            site: &site,
            place: "",
            title: &condition.title,
            advice: &condition.advice,
            priority: condition.priority,
            level: condition.level,
            limit: None,
            unit: "",
            detail: &condition.detail,
        };
        let policy = Policy::default();
        slot.advance(&policy, Input::Judged(verdict), moment, about, effects);
        if condition.holds {
            slot.grade(&policy, (condition.priority, condition.level), condition.at, effects);
        }
        if slot.state.standing() == Standing::Normal {
            self.slots.remove(&key);
        }
    }

    /// Does the condition of that alarm hold, whatever people have done about it?
    pub fn holds(&self, rule: &str, subject: &str) -> bool {
        self.slots.get(&(rule.to_owned(), subject.to_owned())).is_some_and(|slot| slot.state.holds())
    }

    /// Where one is to be set aside, raised or not.
    pub fn slot(&mut self, rule: &str, subject: &str) -> &mut Slot {
        self.slots.entry((rule.to_owned(), subject.to_owned())).or_default()
    }

    /// A condition as it stands in facts.
    pub fn adopt(&mut self, alarm: crate::alarm::Alarm) {
        self.slots.insert((alarm.rule.to_string(), alarm.subject.to_string()), Slot::holding(alarm));
    }

    /// Those that are not over, as they stand.
    pub fn open(&self) -> impl Iterator<Item = &crate::alarm::Alarm> {
        self.slots.values().filter_map(|slot| slot.open.as_deref())
    }

    /// The slot whose open occurrence has that id.
    pub fn find(&mut self, id: &OccurrenceId) -> Option<&mut Slot> {
        self.slots.values_mut().find(|slot| slot.open.as_ref().is_some_and(|alarm| alarm.id == *id))
    }

    /// Forgets what is normal again after an acknowledgement.
    pub fn tidy(&mut self) {
        self.slots.retain(|_, slot| slot.state.standing() != Standing::Normal);
    }
}
