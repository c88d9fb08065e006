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
//!
//! After three failures in a row the channel is shut: one message is on trial at a time, after pauses that
//! grow, and the others wait in their order; the first success opens it. A channel with a pace gets so many
//! messages in a time and no more: its last place, of which a P1 has more, is for everything that waits, as one.

use std::collections::{BTreeMap, VecDeque};
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

/// How much a channel takes: what comes faster is told together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    pub most: usize,
    pub per: Duration,
}

impl Pace {
    /// A quarter of the places is kept for P1.
    const fn places(&self, priority: Priority) -> usize {
        match priority {
            Priority::P1 => self.most,
            Priority::P2 | Priority::P3 | Priority::P4 => self.most - self.most / 4,
        }
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
    pace: Option<Pace>,
    /// When messages were started, as far back as the pace looks.
    started: VecDeque<Timestamp>,
    held: BTreeMap<Place, Held>,
    on_their_way: usize,
    failures_in_a_row: u32,
    failed_at: Timestamp,
    /// The recipient asked to be left alone until then.
    quiet_until: Timestamp,
    /// None: not known, it may stand from before the restart.
    alarm: Option<bool>,
}

impl Queue {
    /// Rows looked at in one go; the rest stays in the outbox.
    pub const MOST: usize = 256;
    /// Failures in a row until the channel is shut and the recipient is an alarm.
    const SHUT_AFTER: u32 = 3;
    /// Every third trial is another message than the most urgent one, in case that one is what is wrong.
    const OTHER_TRIAL: u32 = 3;
    /// Messages that are told together at most.
    const TOGETHER: usize = 50;
    /// A receipt that has not moved its row by then is sent again.
    const TELL_AGAIN_AFTER: Duration = Duration::from_secs(30);
    /// When the outbox is too long to be seen whole, a done row that is out of sight is kept this long.
    const REMEMBER: Duration = Duration::from_secs(600);

    #[must_use]
    pub const fn new(patience: Patience, pace: Option<Pace>) -> Self {
        Self {
            patience,
            pace,
            started: VecDeque::new(),
            held: BTreeMap::new(),
            on_their_way: 0,
            failures_in_a_row: 0,
            failed_at: Timestamp::MIN,
            quiet_until: Timestamp::MIN,
            alarm: None,
        }
    }

    /// What the outbox holds now, at most `MOST` rows of it. Returns the verdicts whose receipts seem to be
    /// lost and have to be written once more.
    pub fn offered(&mut self, rows: Vec<Outgoing>, now: Timestamp) -> Vec<(i64, Verdict)> {
        let per = self.pace.map_or(Duration::ZERO, |pace| pace.per);
        self.started.retain(|started| now.since(*started) < per);
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

    /// What is to be tried now, as one; it is on its way from here until `finished`. More than one message
    /// only where there is a pace.
    pub fn start(&mut self, now: Timestamp) -> Option<Vec<Arc<Outgoing>>> {
        let mut ready = self.held.iter().filter(|(place, held)| self.waits(**place, held, now) == Some(Duration::ZERO));
        let trials = self.failures_in_a_row.saturating_sub(Self::SHUT_AFTER);
        let first = *ready.next()?.0;
        let other = if trials % Self::OTHER_TRIAL == Self::OTHER_TRIAL - 1 { ready.next() } else { None };
        let places = self.together(other.map_or(first, |(place, _)| *place), now);
        if self.pace.is_some() {
            self.started.push_back(now);
        }
        self.on_their_way += 1;
        let mut rows = Vec::with_capacity(places.len());
        for place in places {
            let held = self.held.get_mut(&place)?;
            held.state = State::OnItsWay;
            held.attempts += 1;
            rows.push(held.row.clone());
        }
        Some(rows)
    }

    /// The message at that place, and with the last place of the pace all that could follow it now.
    fn together(&self, place: Place, now: Timestamp) -> Vec<Place> {
        let mut places = vec![place];
        let Some(pace) = self.pace else { return places };
        if self.recently(now) + 1 < pace.places(place.0) {
            return places;
        }
        for (next, held) in self.held.range(place..).skip(1) {
            let State::Waiting { due } = held.state else { continue };
            let free = self.earlier_changes(next.1, held).all(|earlier| places.contains(&earlier));
            if due <= now && free && self.quiet_for(next.0, now).is_zero() && places.len() < Self::TOGETHER {
                places.push(*next);
            }
        }
        places
    }

    /// Messages started within the pace's time.
    fn recently(&self, now: Timestamp) -> usize {
        let per = self.pace.map_or(Duration::ZERO, |pace| pace.per);
        self.started.iter().filter(|started| now.since(**started) < per).count()
    }

    /// How long until the pace has a place.
    fn pace_for(&self, priority: Priority, now: Timestamp) -> Duration {
        let Some(pace) = self.pace else { return Duration::ZERO };
        let over = (self.recently(now) + 1).saturating_sub(pace.places(priority));
        let mut within = self.started.iter().filter(|started| now.since(**started) < pace.per);
        let leaves = over.checked_sub(1).and_then(|last| within.nth(last));
        leaves.map_or(Duration::ZERO, |started| (*started + pace.per).since(now))
    }

    /// How long until something can be started; None when that takes an end of what is on its way, or a new row.
    #[must_use]
    pub fn wake(&self, now: Timestamp) -> Option<Duration> {
        self.held.iter().filter_map(|(place, held)| self.waits(*place, held, now)).min()
    }

    /// How long only time holds the message back; None when something else does.
    fn waits(&self, (priority, id): Place, held: &Held, now: Timestamp) -> Option<Duration> {
        let State::Waiting { due } = held.state else { return None };
        let places = if priority == Priority::P1 && !self.is_shut() { 2 } else { 1 };
        let free = self.on_their_way < places && self.earlier_changes(id, held).next().is_none();
        free.then(|| {
            let trial = if self.is_shut() { self.trial_in(priority, now) } else { Duration::ZERO };
            due.since(now).max(trial).max(self.quiet_for(priority, now)).max(self.pace_for(priority, now))
        })
    }

    /// Whether the channel is only tried now and then.
    #[must_use]
    pub const fn is_shut(&self) -> bool {
        self.failures_in_a_row >= Self::SHUT_AFTER
    }

    /// How long until a shut channel is tried again.
    fn trial_in(&self, priority: Priority, now: Timestamp) -> Duration {
        (self.failed_at + self.patience.pause(self.failures_in_a_row, priority)).since(now)
    }

    /// Changes of the same alarm that are still to be told before this one.
    fn earlier_changes(&self, id: i64, held: &Held) -> impl Iterator<Item = Place> {
        let this = held.row.published.change.alarm.id.clone();
        self.held.iter().filter_map(move |(place, earlier)| {
            let open = place.1 < id && !matches!(earlier.state, State::Done { .. });
            (open && earlier.row.published.change.alarm.id == this).then_some(*place)
        })
    }

    /// How much longer the recipient is to be left alone.
    fn quiet_for(&self, priority: Priority, now: Timestamp) -> Duration {
        match priority {
            Priority::P1 => Duration::ZERO,
            Priority::P2 | Priority::P3 | Priority::P4 => self.quiet_until.since(now),
        }
    }

    /// What became of a try, for each message that was in it and is still known. The alarm stands with the first.
    pub fn finished(&mut self, ids: &[i64], result: &Result<String, Failure>, now: Timestamp) -> Vec<(i64, Verdict)> {
        let on_its_way = |place: &&Place| ids.contains(&place.1) && self.held[place].state == State::OnItsWay;
        let places: Vec<Place> = self.held.keys().filter(on_its_way).copied().collect();
        if places.is_empty() {
            return Vec::new();
        }
        self.on_their_way -= 1;
        let mut alarm = match result {
            Ok(_) => self.reached(now),
            Err(failure) => self.failed(failure, now),
        };
        let mut verdicts = Vec::with_capacity(places.len());
        for place in places {
            let verdict = self.settle(place, result, now);
            verdicts.extend(verdict.map(|verdict| (place.1, Verdict { alarm: alarm.take(), ..verdict })));
        }
        verdicts
    }

    fn settle(&mut self, place: Place, result: &Result<String, Failure>, now: Timestamp) -> Option<Verdict> {
        let held = self.held.get_mut(&place)?;
        let too_old = now.since(held.row.created) >= self.patience.give_up_after;
        let (outcome, detail) = match result {
            Ok(detail) => (Outcome::Delivered, detail),
            Err(failure) if failure.temporary && !too_old => (Outcome::Failed, &failure.text),
            Err(failure) => (Outcome::GivenUp, &failure.text),
        };
        let verdict = Verdict { outcome, detail: detail.clone(), alarm: None };
        held.state = match result {
            Err(failure) if outcome == Outcome::Failed => {
                let own = self.patience.pause(held.attempts, place.0);
                let asked = failure.retry_after.unwrap_or_default().min(self.patience.longest_for(place.0));
                self.quiet_until = self.quiet_until.max(now + asked);
                State::Waiting { due: now + own.max(asked) }
            }
            Ok(_) | Err(_) => State::Done { verdict: verdict.clone(), told: now },
        };
        Some(verdict)
    }

    /// One more failure; the alarm that it begins.
    fn failed(&mut self, failure: &Failure, now: Timestamp) -> Option<bool> {
        if !failure.nobody {
            self.failures_in_a_row += 1;
        }
        self.failed_at = now;
        let alarm = (self.is_shut() && self.alarm != Some(true)).then_some(true);
        self.alarm = alarm.or(self.alarm);
        alarm
    }

    /// The recipient answers. After an outage nothing waits out a long pause that it earned in it.
    fn reached(&mut self, now: Timestamp) -> Option<bool> {
        if self.is_shut() {
            for held in self.held.values_mut() {
                if let State::Waiting { due } = &mut held.state {
                    *due = now;
                }
            }
        }
        self.failures_in_a_row = 0;
        let alarm = (self.alarm != Some(false)).then_some(false);
        self.alarm = Some(false);
        alarm
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
        let mut queue = Queue::new(Patience::default(), None);
        assert!(queue.offered(rows.to_vec(), NOW).is_empty());
        queue
    }

    fn started(queue: &mut Queue, now: Timestamp) -> Option<i64> {
        queue.start(now).map(|rows| rows[0].id)
    }

    fn ended(queue: &mut Queue, id: i64, result: Result<String, Failure>, now: Timestamp) -> Option<Verdict> {
        queue.finished(&[id], &result, now).pop().map(|(_, verdict)| verdict)
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
        ended(&mut queue, 2, done(), NOW).unwrap();
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
                assert_eq!(ended(&mut queue, 1, busy(None), now).unwrap().outcome, Outcome::Failed);
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
        ended(&mut queue, 1, busy(None), NOW).unwrap();
        assert_eq!(queue.wake(NOW), Some(Duration::from_secs(64)));
    }

    #[test]
    fn a_recipient_that_asks_for_quiet_gets_it_but_a_p1_comes_after_thirty_seconds_at_the_latest() {
        let mut queue = queue_of(&[row(1, "a", Priority::P2), row(2, "b", Priority::P3)]);
        assert_eq!(started(&mut queue, NOW), Some(1));
        ended(&mut queue, 1, busy(Some(120)), NOW).unwrap();
        assert_eq!(started(&mut queue, after(119)), None, "the other message keeps quiet too");
        drop(
            queue.offered(
                vec![row(3, "c", Priority::P1), row(1, "a", Priority::P2), row(2, "b", Priority::P3)],
                after(1),
            ),
        );
        assert_eq!(started(&mut queue, after(1)), Some(3));
        ended(&mut queue, 3, busy(Some(600)), after(1)).unwrap();
        assert_eq!(started(&mut queue, after(30)), None);
        assert_eq!(started(&mut queue, after(31)), Some(3));
        ended(&mut queue, 3, done(), after(31)).unwrap();
        assert_eq!(started(&mut queue, after(119)), None);
        assert_eq!(started(&mut queue, after(120)), Some(1));
    }

    #[test]
    fn changes_of_one_alarm_go_out_in_their_order() {
        let over = outgoing(2, Happening::Cleared, alarm("a", Priority::P1));
        let mut queue = queue_of(&[row(1, "a", Priority::P1), over.clone(), row(3, "b", Priority::P4)]);
        assert_eq!(started(&mut queue, NOW), Some(1));
        assert_eq!(started(&mut queue, NOW), None, "its end waits although there is a place");
        ended(&mut queue, 1, busy(None), NOW).unwrap();
        assert_eq!(started(&mut queue, NOW), Some(3), "another alarm does not wait for it");
        assert_eq!(started(&mut queue, after(1)), Some(1));
        ended(&mut queue, 1, done(), after(1)).unwrap();
        assert_eq!(started(&mut queue, after(1)), Some(2));
    }

    #[test]
    fn a_delivered_message_is_not_sent_again_while_its_receipt_is_under_way_and_a_lost_receipt_is_repeated() {
        let rows = [row(1, "a", Priority::P2)];
        let mut queue = queue_of(&rows);
        assert_eq!(started(&mut queue, NOW), Some(1));
        assert!(queue.offered(rows.to_vec(), NOW).is_empty());
        assert_eq!(started(&mut queue, NOW), None, "it is on its way");
        ended(&mut queue, 1, done(), NOW).unwrap();
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
        let verdict = ended(&mut queue, 1, Err(Failure::for_good("410")), NOW).unwrap();
        assert_eq!((verdict.outcome, verdict.detail.as_str()), (Outcome::GivenUp, "410"));
        assert_eq!(ended(&mut queue, 1, done(), NOW), None, "it is over");
        let day = 24 * 3_600;
        assert_eq!(started(&mut queue, after(day - 1)), Some(2));
        assert_eq!(ended(&mut queue, 2, busy(None), after(day - 1)).unwrap().outcome, Outcome::Failed);
        assert_eq!(started(&mut queue, after(day)), Some(2));
        assert_eq!(ended(&mut queue, 2, busy(None), after(day)).unwrap().outcome, Outcome::GivenUp);
        assert_eq!(queue.open(), 0);
    }

    #[test]
    fn after_three_failures_one_message_is_on_trial_and_a_success_frees_what_waits() {
        let rows: Vec<Outgoing> = (1..=1_000).map(|id| row(id, &format!("p{id}"), Priority::P4)).collect();
        let mut queue = queue_of(&rows[..256]);
        let mut alarms = Vec::new();
        for id in 1..=3 {
            assert_eq!(started(&mut queue, NOW), Some(id));
            alarms.push(ended(&mut queue, id, busy(None), NOW).unwrap().alarm);
        }
        assert_eq!((alarms, queue.is_shut()), (vec![None, None, Some(true)], true));
        assert_eq!(started(&mut queue, NOW), None, "the others are not thrown at a dead channel");
        let (mut now, mut tries) = (NOW, 0);
        while now < after(3_600) {
            now = now + queue.wake(now).unwrap();
            let id = started(&mut queue, now).unwrap();
            assert_eq!(started(&mut queue, now), None, "one trial at a time");
            assert_eq!(ended(&mut queue, id, busy(None), now).unwrap().alarm, None, "it stands already");
            tries += 1;
        }
        assert!((10..30).contains(&tries), "{tries} trials in an hour");

        // A P1 waits thirty seconds at most, and is the one that is tried.
        let mut with_urgent = rows[..255].to_vec();
        with_urgent.push(row(2_000, "face", Priority::P1));
        drop(queue.offered(with_urgent, now));
        let trial = now + queue.wake(now).unwrap();
        assert!(trial.since(now) <= Duration::from_secs(30));
        let first = started(&mut queue, trial).unwrap();
        assert_eq!(ended(&mut queue, first, done(), trial).unwrap().alarm, Some(false));
        assert!(!queue.is_shut());
        let order: Vec<i64> = std::iter::from_fn(|| {
            let id = started(&mut queue, trial)?;
            ended(&mut queue, id, done(), trial).map(|_| id)
        })
        .collect();
        let expected: Vec<i64> = std::iter::once(2_000).chain(1..=256).filter(|id| *id != first).collect();
        assert_eq!(order, expected, "the urgent one, then all in their order, without waiting out a pause");
    }

    /// A message that fails by itself cannot shut everybody else out for ever.
    #[test]
    fn every_third_trial_is_another_message() {
        let mut queue = queue_of(&[row(1, "odd", Priority::P1)]);
        let mut now = NOW;
        for _ in 0..3 {
            now = now + queue.wake(now).unwrap();
            let id = started(&mut queue, now).unwrap();
            ended(&mut queue, id, busy(None), now).unwrap();
        }
        drop(queue.offered(vec![row(1, "odd", Priority::P1), row(2, "b", Priority::P3)], now));
        let mut tried = Vec::new();
        while queue.is_shut() {
            now = now + queue.wake(now).unwrap();
            let id = started(&mut queue, now).unwrap();
            tried.push(id);
            ended(&mut queue, id, if id == 2 { done() } else { busy(None) }, now).unwrap();
            assert!(tried.len() < 10, "{tried:?}");
        }
        assert!(tried.len() <= 3 && tried.ends_with(&[2]), "{tried:?}");
    }

    fn paced(rows: &[Outgoing]) -> Queue {
        let pace = Pace { most: 20, per: Duration::from_secs(60) };
        let mut queue = Queue::new(Patience::default(), Some(pace));
        drop(queue.offered(rows.to_vec(), NOW));
        queue
    }

    #[test]
    fn more_than_the_pace_allows_is_told_together_and_a_p1_keeps_its_places() {
        let rows: Vec<Outgoing> = (1..=40).map(|id| row(id, &format!("p{id}"), Priority::P3)).collect();
        let mut queue = paced(&rows);
        let mut sizes = Vec::new();
        while let Some(together) = queue.start(NOW) {
            let ids: Vec<i64> = together.iter().map(|row| row.id).collect();
            assert_eq!(queue.finished(&ids, &done(), NOW).len(), ids.len(), "a receipt for each");
            sizes.push(ids.len());
        }
        assert_eq!(sizes, [vec![1; 14], vec![26]].concat());
        let urgent: Vec<Outgoing> = (101..=109).map(|id| row(id, &format!("u{id}"), Priority::P1)).collect();
        drop(queue.offered([urgent, vec![row(110, "z", Priority::P3)]].concat(), after(1)));
        let mut sizes = Vec::new();
        while let Some(together) = queue.start(after(1)) {
            let ids: Vec<i64> = together.iter().map(|row| row.id).collect();
            queue.finished(&ids, &done(), after(1));
            sizes.push(ids.len());
        }
        assert_eq!(sizes, [1, 1, 1, 1, 6], "four alone, and what is left with the last place");
        drop(queue.offered(vec![row(111, "z", Priority::P3)], after(2)));
        assert_eq!(queue.wake(after(2)), Some(Duration::from_secs(58)));
        assert_eq!(started(&mut queue, after(60)), Some(111));
    }

    #[test]
    fn a_beginning_and_its_end_may_stand_in_one_summary_in_their_order() {
        let fill: Vec<Outgoing> = (1..=14).map(|id| row(id, &format!("p{id}"), Priority::P2)).collect();
        let mut queue = paced(&fill);
        while let Some(together) = queue.start(NOW) {
            queue.finished(&[together[0].id], &done(), NOW);
        }
        let end = outgoing(21, Happening::Cleared, alarm("face", Priority::P2));
        drop(queue.offered(vec![row(20, "face", Priority::P2), end, row(22, "x", Priority::P4)], NOW));
        let ids: Vec<i64> = queue.start(NOW).unwrap().iter().map(|row| row.id).collect();
        assert_eq!(ids, [20, 21, 22]);
        assert_eq!(queue.finished(&ids, &busy(None), NOW).len(), 3);
        assert_eq!(queue.open(), 3, "and all wait when it failed");
    }

    #[test]
    fn a_row_that_an_operator_took_out_of_the_outbox_is_not_sent() {
        let mut queue = queue_of(&[row(1, "a", Priority::P2), row(2, "b", Priority::P2)]);
        drop(queue.offered(vec![row(2, "b", Priority::P2)], NOW));
        assert_eq!(started(&mut queue, NOW), Some(2));
        assert_eq!(queue.open(), 1);
    }
}
