//! The daily list: alarms of P4 that are open go to a position once a day, as one message.
//!
//! In come ticks and the setup; out go a condition for each list, and the step that tells it to whoever is on duty.
//! At the position's local time the alarms of P4 at its place that are not over are counted, acknowledged ones too;
//! exercises and what is set aside are not among them. None: no message. What was due in a down time is told at the
//! next start, the newest day's only. Never: a list twice for one day, whatever was cut off when. The operator of a
//! site has these alarms in the list of the hand-over and at the shift's end, by the policy of P4.

use super::{Desk, Now, kept};
use crate::alarm::{AlarmChange, Happening, Priority};
use crate::engine::Effect;
use crate::journal::Setup;
use crate::model::{Position, Timestamp, Who};
use crate::response::escalation::Run;
use crate::response::{Kept, Out, Step, StepKind};

pub const DAILY: &str = "davy-daily-list";
/// Alarms that the message may name; all are counted.
const NAMED: usize = 20;
const DAY_MICROS: i64 = 86_400_000_000;
const MINUTE_MICROS: i64 = 60_000_000;

impl Desk {
    /// Once a day it is due, also where the moment passed unseen.
    pub(super) fn look_at_daily(&mut self, name: &str, position: &Position, setup: &Setup, out: &mut Out) {
        let Some(minute) = position.daily else { return };
        let today = setup.calendar.day(self.now);
        let begins = today * DAY_MICROS - i64::from(setup.calendar.zone.0) * 1_000_000;
        let moment = Timestamp::from_micros(begins + i64::from(minute) * MINUTE_MICROS);
        let newest = if self.now >= moment { today } else { today - 1 };
        let last = self.listed.get(name).copied();
        // A day far ahead of this one: the clock was wrong, and lists are not held back until then.
        if last.is_some_and(|last| last >= newest && last <= newest + 1) {
            return;
        }
        self.listed.insert(name.to_owned(), newest);
        out.effects.push(kept(Kept::Listed { position: name.to_owned(), day: newest }));
        // What was due before anybody was there to be told is not told; that of the day before is over.
        self.tell(out, DAILY, name, false, String::new());
        let count = self.minor(name, position, setup).len();
        if last.is_some_and(|last| last < newest) && count > 0 {
            self.tell(out, DAILY, name, true, format!("{count} 条未结束 / {count} open"));
        }
    }

    /// Alarms of P4 that are the position's, the oldest first.
    fn minor(&self, name: &str, position: &Position, setup: &Setup) -> Vec<&Run> {
        let now: Now<'_> = self.at(setup);
        let here = |run: &&Run| now.positions(position.tier, &run.place).iter().any(|(one, _)| *one == name);
        let minor = |run: &&Run| run.priority == Priority::P4 && !run.exercise;
        let mut list: Vec<&Run> = self.escalation.runs().filter(minor).filter(here).collect();
        list.sort_by_key(|run| (run.began, run.alarm.clone()));
        list
    }

    /// The message goes with the alarm that says so; its acknowledgement is the receipt.
    pub(super) fn on_daily(&self, change: &AlarmChange, setup: &Setup, out: &mut Out) {
        let alarm = &change.alarm;
        let (Happening::Raised | Happening::RaisedAgain, Some((name, position))) =
            (change.happening, setup.duty.positions.get_key_value(&*alarm.subject))
        else {
            return;
        };
        let person = self.at(setup).of_position(position).first().map_or("", |person| *person).to_owned();
        let to = setup.duty.people.get(&person).map_or_else(Vec::new, |one| one.reach.clone());
        let minor = self.minor(name, position, setup);
        out.effects.push(Effect::Step(Box::new(Step {
            level: Who::Position(name.clone()).to_string(),
            person,
            to,
            alarms: minor.iter().take(NAMED).map(|run| run.alarm.clone()).collect(),
            count: u32::try_from(minor.len()).unwrap_or(u32::MAX),
            ..Step::message(StepKind::Daily, alarm, self.now)
        })));
    }
}
