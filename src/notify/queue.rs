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
mod tests;
