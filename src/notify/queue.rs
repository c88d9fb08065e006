//! One recipient's queue: which message is tried next, when, and when it is over. Pure: time comes in.
//!
//! ```text
//!            offered                start              finished(Ok)
//!  outbox ───────────► Waiting(due) ─────► OnItsWay ──────────────► Done ── row gone ──► forgotten
//!                         ▲                   │ temporary              ▲
//!                         └──── 1 s .. 5 min ─┴── for good, too old ───┘
//! ```
//! P1 first, then the oldest. Changes of one alarm go out one after the other, so that nobody hears of its
//! end before its beginning. One message is on its way at a time, and a P1 has a second place of its own,
//! so it never waits behind another's timeout. A done message stays here until its row is gone from the
//! outbox, so that it is not sent again while its receipt is still under way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Failure;
use crate::alarm::Priority;
use crate::facts::Outgoing;
use crate::journal::Outcome;
use crate::model::Timestamp;

/// How long is waited between tries, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    pub first: Duration,
    pub longest: Duration,
    /// The longest pause of a P1.
    pub longest_urgent: Duration,
    /// Counted from the making of the message.
    pub give_up_after: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(300),
            longest_urgent: Duration::from_secs(30),
            give_up_after: Duration::from_secs(24 * 3_600),
        }
    }
}

impl Patience {
    const fn longest_for(&self, priority: Priority) -> Duration {
        match priority {
            Priority::P1 => self.longest_urgent,
            Priority::P2 | Priority::P3 | Priority::P4 => self.longest,
        }
    }

    /// The pause after the `attempts`-th try: doubles from `first`.
    fn pause(&self, attempts: u32, priority: Priority) -> Duration {
        let doubled = 1_u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first.saturating_mul(doubled).min(self.longest_for(priority))
    }
}

/// What the outcome of a try means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub outcome: Outcome,
    pub detail: String,
    /// The alarm that the recipient cannot be reached begins or ends.
    pub alarm: Option<bool>,
}

#[derive(Debug)]
struct Held {
    row: Arc<Outgoing>,
    attempts: u32,
    state: State,
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    Waiting { due: Timestamp },
    OnItsWay,
    Done { verdict: Verdict, told: Timestamp },
}

/// Most urgent first, then oldest: the order in which `held` is walked.
type Place = (Priority, i64);

#[derive(Debug)]
pub struct Queue {
    patience: Patience,
    held: BTreeMap<Place, Held>,
    on_their_way: usize,
    failures_in_a_row: u32,
    /// The recipient asked to be left alone until then.
    quiet_until: Timestamp,
    /// None: not known, it may stand from before the restart.
    alarm: Option<bool>,
}

impl Queue {
    /// Rows looked at in one go; the rest stays in the outbox.
    pub const MOST: usize = 256;
    /// Failures in a row until the recipient is an alarm.
    const ALARM_AFTER: u32 = 3;
    /// A receipt that has not moved its row by then is sent again.
    const TELL_AGAIN_AFTER: Duration = Duration::from_secs(30);
    /// When the outbox is too long to be seen whole, a done row that is out of sight is kept this long.
    const REMEMBER: Duration = Duration::from_secs(600);

    #[must_use]
    pub const fn new(patience: Patience) -> Self {
        Self {
            patience,
            held: BTreeMap::new(),
            on_their_way: 0,
            failures_in_a_row: 0,
            quiet_until: Timestamp::MIN,
            alarm: None,
        }
    }

    /// What the outbox holds now, at most `MOST` rows of it. Returns the verdicts whose receipts seem to be
    /// lost and have to be written once more.
    pub fn offered(&mut self, rows: Vec<Outgoing>, now: Timestamp) -> Vec<(i64, Verdict)> {
        let whole = rows.len() < Self::MOST;
        let seen: std::collections::HashSet<i64> = rows.iter().map(|row| row.id).collect();
        self.held.retain(|(_, id), held| {
            seen.contains(id)
                || match &held.state {
                    State::OnItsWay => true,
                    State::Waiting { .. } => !whole,
                    State::Done { told, .. } => !whole && now.since(*told) < Self::REMEMBER,
                }
        });
        for row in rows {
            let place = (row.published.change.alarm.priority, row.id);
            self.held.entry(place).or_insert_with(|| {
                let attempts = row.attempts;
                Held { row: Arc::new(row), attempts, state: State::Waiting { due: now } }
            });
        }
        let mut again = Vec::new();
        for ((_, id), held) in &mut self.held {
            if let State::Done { verdict, told } = &mut held.state
                && now.since(*told) >= Self::TELL_AGAIN_AFTER
            {
                *told = now;
                again.push((*id, verdict.clone()));
            }
        }
        again
    }

    /// The next message to be tried now; it is on its way from here until `finished`.
    pub fn start(&mut self, now: Timestamp) -> Option<Arc<Outgoing>> {
        let free = self.held.iter().find(|(place, held)| self.waits(**place, held, now) == Some(Duration::ZERO));
        let place = *free?.0;
        let held = self.held.get_mut(&place)?;
        held.state = State::OnItsWay;
        held.attempts += 1;
        self.on_their_way += 1;
        Some(held.row.clone())
    }

    /// How long until something can be started; None when that takes an end of what is on its way, or a new row.
    #[must_use]
    pub fn wake(&self, now: Timestamp) -> Option<Duration> {
        self.held.iter().filter_map(|(place, held)| self.waits(*place, held, now)).min()
    }

    /// How long only time holds the message back; None when something else does.
    fn waits(&self, (priority, id): Place, held: &Held, now: Timestamp) -> Option<Duration> {
        let State::Waiting { due } = held.state else { return None };
        let places = if priority == Priority::P1 { 2 } else { 1 };
        let free = self.on_their_way < places && !self.earlier_change_is_open(id, held);
        free.then(|| due.since(now).max(self.quiet_for(priority, now)))
    }

    fn earlier_change_is_open(&self, id: i64, held: &Held) -> bool {
        let this = &held.row.published.change.alarm.id;
        self.held.iter().any(|((_, other), earlier)| {
            *other < id
                && !matches!(earlier.state, State::Done { .. })
                && earlier.row.published.change.alarm.id == *this
        })
    }

    /// How much longer the recipient is to be left alone.
    fn quiet_for(&self, priority: Priority, now: Timestamp) -> Duration {
        match priority {
            Priority::P1 => Duration::ZERO,
            Priority::P2 | Priority::P3 | Priority::P4 => self.quiet_until.since(now),
        }
    }

    /// What became of a try. None: the message is not one of those on their way.
    pub fn finished(&mut self, id: i64, result: Result<String, Failure>, now: Timestamp) -> Option<Verdict> {
        let (place, held) = self.held.iter_mut().find(|((_, held), _)| *held == id)?;
        let priority = place.0;
        if held.state != State::OnItsWay {
            return None;
        }
        self.on_their_way -= 1;
        let failure = match result {
            Ok(detail) => {
                let alarm = (self.alarm != Some(false)).then_some(false);
                let verdict = Verdict { outcome: Outcome::Delivered, detail, alarm };
                held.state = State::Done { verdict: Verdict { alarm: None, ..verdict.clone() }, told: now };
                self.reached(now);
                return Some(verdict);
            }
            Err(failure) => failure,
        };
        if !failure.nobody {
            self.failures_in_a_row += 1;
        }
        let alarm = (self.failures_in_a_row >= Self::ALARM_AFTER && self.alarm != Some(true)).then_some(true);
        let too_old = now.since(held.row.created) >= self.patience.give_up_after;
        let outcome = if failure.temporary && !too_old { Outcome::Failed } else { Outcome::GivenUp };
        let verdict = Verdict { outcome, detail: failure.text, alarm };
        if outcome == Outcome::GivenUp {
            held.state = State::Done { verdict: Verdict { alarm: None, ..verdict.clone() }, told: now };
        } else {
            let own = self.patience.pause(held.attempts, priority);
            let asked = failure.retry_after.unwrap_or_default().min(self.patience.longest_for(priority));
            held.state = State::Waiting { due: now + own.max(asked) };
            self.quiet_until = self.quiet_until.max(now + asked);
        }
        if alarm.is_some() {
            self.alarm = alarm;
        }
        Some(verdict)
    }

    /// The recipient answers. After an outage nothing waits out a long pause that it earned in it.
    fn reached(&mut self, now: Timestamp) {
        if self.failures_in_a_row >= Self::ALARM_AFTER {
            for held in self.held.values_mut() {
                if let State::Waiting { due } = &mut held.state {
                    *due = now;
                }
            }
        }
        self.failures_in_a_row = 0;
        self.alarm = Some(false);
    }

    /// Messages that still have to be delivered, as far as they are in sight.
    #[must_use]
    pub fn open(&self) -> usize {
        self.held.values().filter(|held| !matches!(held.state, State::Done { .. })).count()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{alarm, outgoing};
    use super::*;
    use crate::alarm::Happening;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn after(seconds: u64) -> Timestamp {
        NOW + Duration::from_secs(seconds)
    }

    fn row(id: i64, point: &str, priority: Priority) -> Outgoing {
        outgoing(id, Happening::Raised, alarm(point, priority))
    }

    fn busy(retry_after: Option<u64>) -> Result<String, Failure> {
        Err(Failure { retry_after: retry_after.map(Duration::from_secs), ..Failure::temporary("503") })
    }

    fn done() -> Result<String, Failure> {
        Ok("200".into())
    }

    fn queue_of(rows: &[Outgoing]) -> Queue {
        let mut queue = Queue::new(Patience::default());
        assert!(queue.offered(rows.to_vec(), NOW).is_empty());
        queue
    }

    fn started(queue: &mut Queue, now: Timestamp) -> Option<i64> {
        queue.start(now).map(|row| row.id)
    }

    #[test]
    fn the_most_urgent_goes_first_and_a_p1_never_waits_behind_another() {
        let mut queue = queue_of(&[row(1, "a", Priority::P3), row(2, "b", Priority::P2)]);
        assert_eq!(started(&mut queue, NOW), Some(2));
        assert_eq!(started(&mut queue, NOW), None, "one at a time");
        assert_eq!(queue.wake(NOW), None, "no clock helps, only an end of the first");
        drop(queue.offered(
            vec![
                row(3, "c", Priority::P1),
                row(4, "d", Priority::P1),
                row(1, "a", Priority::P3),
                row(2, "b", Priority::P2),
            ],
            NOW,
        ));
        assert_eq!(started(&mut queue, NOW), Some(3), "the P1 has a place of its own");
        assert_eq!(started(&mut queue, NOW), None);
        queue.finished(2, done(), NOW).unwrap();
        assert_eq!(started(&mut queue, NOW), Some(4));
    }

    #[test]
    fn pauses_double_to_five_minutes_and_to_thirty_seconds_for_a_p1() {
        for (priority, pauses) in [
            (Priority::P2, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]),
            (Priority::P1, [1, 2, 4, 8, 16, 30, 30, 30, 30, 30, 30]),
        ] {
            let mut queue = queue_of(&[row(1, "a", priority)]);
            let mut now = NOW;
            for pause in pauses {
                assert_eq!(started(&mut queue, now), Some(1));
                assert_eq!(queue.finished(1, busy(None), now).unwrap().outcome, Outcome::Failed);
                assert_eq!(queue.wake(now), Some(Duration::from_secs(pause)));
                assert_eq!(started(&mut queue, now + Duration::from_millis(pause * 1_000 - 1)), None);
                now = now + Duration::from_secs(pause);
            }
        }
    }

    #[test]
    fn a_restart_goes_on_with_the_pauses_where_they_were() {
        let mut old = row(1, "a", Priority::P2);
        old.attempts = 6;
        let mut queue = queue_of(&[old]);
        assert_eq!(started(&mut queue, NOW), Some(1), "tried at once");
        queue.finished(1, busy(None), NOW).unwrap();
        assert_eq!(queue.wake(NOW), Some(Duration::from_secs(64)));
    }

    #[test]
    fn a_recipient_that_asks_for_quiet_gets_it_but_a_p1_comes_after_thirty_seconds_at_the_latest() {
        let mut queue = queue_of(&[row(1, "a", Priority::P2), row(2, "b", Priority::P3)]);
        assert_eq!(started(&mut queue, NOW), Some(1));
        queue.finished(1, busy(Some(120)), NOW).unwrap();
        assert_eq!(started(&mut queue, after(119)), None, "the other message keeps quiet too");
        drop(
            queue.offered(
                vec![row(3, "c", Priority::P1), row(1, "a", Priority::P2), row(2, "b", Priority::P3)],
                after(1),
            ),
        );
        assert_eq!(started(&mut queue, after(1)), Some(3));
        queue.finished(3, busy(Some(600)), after(1)).unwrap();
        assert_eq!(started(&mut queue, after(30)), None);
        assert_eq!(started(&mut queue, after(31)), Some(3));
        queue.finished(3, done(), after(31)).unwrap();
        assert_eq!(started(&mut queue, after(119)), None);
        assert_eq!(started(&mut queue, after(120)), Some(1));
    }

    #[test]
    fn changes_of_one_alarm_go_out_in_their_order() {
        let over = outgoing(2, Happening::Cleared, alarm("a", Priority::P1));
        let mut queue = queue_of(&[row(1, "a", Priority::P1), over.clone(), row(3, "b", Priority::P4)]);
        assert_eq!(started(&mut queue, NOW), Some(1));
        assert_eq!(started(&mut queue, NOW), None, "its end waits although there is a place");
        queue.finished(1, busy(None), NOW).unwrap();
        assert_eq!(started(&mut queue, NOW), Some(3), "another alarm does not wait for it");
        assert_eq!(started(&mut queue, after(1)), Some(1));
        queue.finished(1, done(), after(1)).unwrap();
        assert_eq!(started(&mut queue, after(1)), Some(2));
    }

    #[test]
    fn a_delivered_message_is_not_sent_again_while_its_receipt_is_under_way_and_a_lost_receipt_is_repeated() {
        let rows = [row(1, "a", Priority::P2)];
        let mut queue = queue_of(&rows);
        assert_eq!(started(&mut queue, NOW), Some(1));
        assert!(queue.offered(rows.to_vec(), NOW).is_empty());
        assert_eq!(started(&mut queue, NOW), None, "it is on its way");
        queue.finished(1, done(), NOW).unwrap();
        assert!(queue.offered(rows.to_vec(), after(29)).is_empty());
        assert_eq!(started(&mut queue, after(29)), None);
        let again = queue.offered(rows.to_vec(), after(30));
        assert_eq!(again, [(1, Verdict { outcome: Outcome::Delivered, detail: "200".into(), alarm: None })]);
        assert!(queue.offered(rows.to_vec(), after(31)).is_empty());
        assert_eq!(started(&mut queue, after(31)), None);
        drop(queue.offered(Vec::new(), after(32)));
        assert_eq!((queue.open(), queue.held.len()), (0, 0), "the row is gone, and nothing is kept of it");
    }

    #[test]
    fn it_is_given_up_when_refused_for_good_or_tried_for_a_day() {
        let mut queue = queue_of(&[row(1, "a", Priority::P2), row(2, "b", Priority::P3)]);
        assert_eq!(started(&mut queue, NOW), Some(1));
        let verdict = queue.finished(1, Err(Failure::for_good("410")), NOW).unwrap();
        assert_eq!((verdict.outcome, verdict.detail.as_str()), (Outcome::GivenUp, "410"));
        assert_eq!(queue.finished(1, done(), NOW), None, "it is over");
        let day = 24 * 3_600;
        assert_eq!(started(&mut queue, after(day - 1)), Some(2));
        assert_eq!(queue.finished(2, busy(None), after(day - 1)).unwrap().outcome, Outcome::Failed);
        assert_eq!(started(&mut queue, after(day)), Some(2));
        assert_eq!(queue.finished(2, busy(None), after(day)).unwrap().outcome, Outcome::GivenUp);
        assert_eq!(queue.open(), 0);
    }

    #[test]
    fn three_failures_in_a_row_are_an_alarm_and_the_next_success_ends_it_and_frees_what_waits() {
        let rows: Vec<Outgoing> = (1..=5).map(|id| row(id, &format!("p{id}"), Priority::P2)).collect();
        let mut queue = queue_of(&rows);
        let mut alarms = Vec::new();
        for id in 1..=4 {
            assert_eq!(started(&mut queue, NOW), Some(id));
            alarms.push(queue.finished(id, busy(None), NOW).unwrap().alarm);
        }
        assert_eq!(alarms, [None, None, Some(true), None]);
        assert_eq!(started(&mut queue, NOW), Some(5));
        assert_eq!(queue.finished(5, done(), NOW).unwrap().alarm, Some(false));
        assert_eq!(started(&mut queue, NOW), Some(1), "nobody waits out the outage's pause");
        assert_eq!(queue.finished(1, done(), NOW).unwrap().alarm, None);
    }

    #[test]
    fn a_row_that_an_operator_took_out_of_the_outbox_is_not_sent() {
        let mut queue = queue_of(&[row(1, "a", Priority::P2), row(2, "b", Priority::P2)]);
        drop(queue.offered(vec![row(2, "b", Priority::P2)], NOW));
        assert_eq!(started(&mut queue, NOW), Some(2));
        assert_eq!(queue.open(), 1);
    }
}
