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
//! A recipient with a cap ([`cap`]) gets so many in a time as well; what is beyond it goes into one summary at the
//! end of the time, with all that the outbox holds for them and that is out of sight here. A raised P1 and a call to
//! a person are held back by no cap, and bring along what still waits of their own alarm.
//!
//! A message that goes on failing while others get through does not hold up its alarm: after five such tries later
//! changes go past it, and it is given up when one of them is delivered. That it does, and every message of P1 or P2
//! that is refused for good, is told at once ([`Verdict::lost`]).

mod cap;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::Failure;
use crate::alarm::{OccurrenceId, Priority};
use crate::facts::{self, Outgoing, Pending, Waiting};
use crate::journal::{Outcome, Receipt};
use crate::model::Timestamp;

pub use cap::Budget;
use cap::Cap;

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
    /// What exercises may take of it.
    #[must_use]
    pub fn of_exercises(self) -> Self {
        Self { most: (self.most / 4).max(1), ..self }
    }

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
    /// Told in the same message, and settled with it.
    pub also: Vec<i64>,
    /// A message of P1 or P2 does not arrive as it is: which, and the channel's words.
    pub lost: Option<String>,
}

/// What is to be sent now, as one message.
#[derive(Clone, Debug, PartialEq)]
pub struct Sending {
    /// The first is the most urgent.
    pub rows: Vec<Arc<Outgoing>>,
    /// All else that waits for the recipient goes along: see [`Queue::join`].
    pub summary: bool,
}

#[derive(Debug)]
struct Held {
    row: Arc<Outgoing>,
    /// Where it stands in the outbox.
    listed: facts::Place,
    attempts: u32,
    state: State,
    /// How many messages had got through at its last try.
    seen: u64,
    /// Tries in vain while others got through.
    in_vain: u32,
}

impl Held {
    /// The channel works, and this one does not get through.
    const fn is_stuck(&self) -> bool {
        self.in_vain >= Queue::STUCK_AFTER
    }
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
    cap: Option<Cap>,
    /// When messages were started, as far back as the pace looks.
    started: VecDeque<Timestamp>,
    held: BTreeMap<Place, Held>,
    /// Those of `held` that are not done, by alarm and in their order.
    open: HashMap<OccurrenceId, BTreeMap<i64, Priority>>,
    on_their_way: usize,
    /// Messages that were delivered.
    got_through: u64,
    /// When it was last told that one is lost.
    lost_told: Timestamp,
    /// Rows out of sight that are in the summary under way.
    along: BTreeSet<i64>,
    /// Rows that were told in a summary without ever being in sight, until they are gone from the outbox.
    folded: BTreeMap<i64, (Verdict, Timestamp)>,
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
    /// Messages that are told together at most, where nobody counts the rest.
    const TOGETHER: usize = 50;
    /// Tries in vain, while others get through, after which later changes go past a message.
    const STUCK_AFTER: u32 = 5;
    /// That messages are lost is told at most so often: a number that is no more may be refused a hundred alarms.
    const LOST_AGAIN_AFTER: Duration = Duration::from_secs(60);
    /// A receipt that has not moved its row by then is sent again.
    const TELL_AGAIN_AFTER: Duration = Duration::from_secs(30);

    /// `cap`: what whoever the recipient belongs to is to get.
    #[must_use]
    pub fn new(patience: Patience, pace: Option<Pace>, cap: Option<Budget>) -> Self {
        Self {
            patience,
            pace,
            cap: cap.map(Cap::new),
            started: VecDeque::new(),
            held: BTreeMap::new(),
            open: HashMap::new(),
            on_their_way: 0,
            got_through: 0,
            lost_told: Timestamp::MIN,
            along: BTreeSet::new(),
            folded: BTreeMap::new(),
            failures_in_a_row: 0,
            failed_at: Timestamp::MIN,
            quiet_until: Timestamp::MIN,
            alarm: None,
        }
    }

    /// The rows that need not be read whole again.
    #[must_use]
    pub fn known(&self) -> HashSet<i64> {
        let held = self.held.keys().map(|(_, id)| *id);
        held.chain(self.along.iter().copied()).chain(self.folded.keys().copied()).collect()
    }

    /// What the outbox holds now: its first `MOST` rows in the order of places, of which those that are `known` may be
    /// named only. Returns the verdicts whose receipts seem to be lost and have to be written once more.
    pub fn offered(&mut self, rows: impl Into<Pending>, now: Timestamp) -> Vec<(i64, Verdict)> {
        let Pending { places, new } = rows.into();
        let per = self.pace.map_or(Duration::ZERO, |pace| pace.per);
        self.started.retain(|started| now.since(*started) < per);
        let visible: HashMap<i64, facts::Place> = places.iter().map(|place| (place.1, *place)).collect();
        // Beyond it is out of sight; what is missing before it is gone from the outbox.
        let sight = if places.len() < Self::MOST { None } else { places.last().copied() };
        let gone = |held: &Held| !visible.contains_key(&held.listed.1) && sight.is_none_or(|last| held.listed <= last);
        let crowded = self.held.len() > 2 * Self::MOST;
        let out: Vec<Place> = self
            .held
            .iter()
            .filter(|(place, held)| match &held.state {
                State::OnItsWay => false,
                State::Done { .. } => gone(held),
                // It comes into sight again; only what was tried has something to remember.
                State::Waiting { .. } => {
                    let unseen = crowded && !visible.contains_key(&place.1);
                    gone(held) || (unseen && held.attempts == held.row.attempts)
                }
            })
            .map(|(place, _)| *place)
            .collect();
        for place in out {
            self.forget(place);
        }
        self.folded.retain(|id, _| visible.contains_key(id) || sight.is_some());
        let mut again = Vec::new();
        for row in new {
            let Some(listed) = visible.get(&row.id).copied() else { continue };
            if self.along.contains(&row.id) || self.folded.contains_key(&row.id) {
                continue;
            }
            let place = (row.published.change.alarm.priority, row.id);
            if let std::collections::btree_map::Entry::Vacant(free) = self.held.entry(place) {
                let attempts = row.attempts;
                let alarm = row.published.change.alarm.id.clone();
                self.open.entry(alarm).or_default().insert(place.1, place.0);
                let (state, seen) = (State::Waiting { due: now }, self.got_through);
                free.insert(Held { row: Arc::new(row), listed, attempts, state, seen, in_vain: 0 });
            }
        }
        for (id, (verdict, told)) in &mut self.folded {
            if visible.contains_key(id) && !self.along.contains(id) && now.since(*told) >= Self::TELL_AGAIN_AFTER {
                *told = now;
                again.push((*id, verdict.clone()));
            }
        }
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

    fn forget(&mut self, place: Place) {
        if let Some(held) = self.held.remove(&place) {
            self.close(&held.row.published.change.alarm.id, place.1);
        }
    }

    /// The change is told, or will never be.
    fn close(&mut self, alarm: &OccurrenceId, id: i64) {
        if let Some(changes) = self.open.get_mut(alarm) {
            changes.remove(&id);
            if changes.is_empty() {
                self.open.remove(alarm);
            }
        }
    }

    /// What is to be tried now, as one; it is on its way from here until `finished`. More than one message
    /// only where there is a pace or a cap.
    pub fn start(&mut self, now: Timestamp) -> Option<Sending> {
        self.look_at_cap(now);
        let mut ready = self.held.iter().filter(|(place, held)| self.waits(**place, held, now) == Some(Duration::ZERO));
        let trials = self.failures_in_a_row.saturating_sub(Self::SHUT_AFTER);
        let first = *ready.next()?.0;
        let other = if trials % Self::OTHER_TRIAL == Self::OTHER_TRIAL - 1 { ready.next() } else { None };
        let first = other.map_or(first, |(place, _)| *place);
        let summary = self.cap.as_ref().is_some_and(|cap| cap.is_due(now)) && self.is_capped(&self.held[&first].row);
        let places = if summary { self.all_waiting() } else { self.together(first, now) };
        self.counts(now);
        self.on_their_way += 1;
        if let Some(cap) = &self.cap {
            cap.started();
        }
        let mut rows = Vec::with_capacity(places.len());
        for place in places {
            let held = self.held.get_mut(&place)?;
            held.state = State::OnItsWay;
            held.attempts += 1;
            rows.push(held.row.clone());
        }
        Some(Sending { rows, summary })
    }

    /// Something else was started on the same channel, which counts what it takes.
    pub fn counts(&mut self, now: Timestamp) {
        if self.pace.is_some() {
            self.started.push_back(now);
        }
    }

    /// Before a summary is sent: all that the outbox holds for the recipient. Returns what goes along, besides
    /// the rows that `start` gave.
    pub fn join(&mut self, waiting: Vec<Waiting>) -> Vec<Waiting> {
        let along: Vec<Waiting> = waiting
            .into_iter()
            .filter(|row| !row.urgent && !self.folded.contains_key(&row.id))
            .filter(|row| !self.held.contains_key(&(row.priority, row.id)))
            .collect();
        self.along = along.iter().map(|row| row.id).collect();
        along
    }

    /// Does the recipient's cap hold the row back?
    fn is_capped(&self, row: &Outgoing) -> bool {
        self.cap.is_some() && !row.urgent()
    }

    /// Everything that the cap could hold back.
    fn all_waiting(&self) -> Vec<Place> {
        let waits = |held: &Held| matches!(held.state, State::Waiting { .. }) && self.is_capped(&held.row);
        self.held.iter().filter(|(_, held)| waits(held)).map(|(place, _)| *place).collect()
    }

    /// Sets the time of the summary once something is held back.
    fn look_at_cap(&mut self, now: Timestamp) {
        let Some(mut cap) = self.cap.take() else { return };
        cap.look(now, self.on_their_way, |has_place| {
            self.held.iter().any(|((priority, _), held)| {
                let capped = !held.row.urgent();
                capped && matches!(held.state, State::Waiting { .. }) && !has_place(*priority)
            })
        });
        self.cap = Some(cap);
    }

    /// The message at that place with what has to come before it, and with the last place of the pace all that
    /// could follow it now.
    fn together(&self, place: Place, now: Timestamp) -> Vec<Place> {
        let earlier: Vec<Place> = self.earlier_changes(place.1, &self.held[&place]).collect();
        if !self.tells_together() {
            // The beginning takes over the urgency of what became of it.
            return vec![earlier.first().copied().unwrap_or(place)];
        }
        let mut places = vec![place];
        places.extend(earlier);
        let Some(pace) = self.pace else { return places };
        if self.recently(now) + 1 < pace.places(place.0) {
            return places;
        }
        for (next, held) in self.held.range(place..).skip(1) {
            let State::Waiting { due } = held.state else { continue };
            let free = self.earlier_changes(next.1, held).all(|earlier| places.contains(&earlier));
            let fits = places.len() < Self::TOGETHER && !places.contains(next);
            if fits && due <= now && free && self.quiet_for(next.0, now).is_zero() && self.cap_for(held, now).is_zero()
            {
                places.push(*next);
            }
        }
        places
    }

    const fn tells_together(&self) -> bool {
        self.pace.is_some() || self.cap.is_some()
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

    /// How long the cap holds the row back.
    fn cap_for(&self, held: &Held, now: Timestamp) -> Duration {
        let priority = held.row.published.change.alarm.priority;
        match &self.cap {
            Some(cap) if self.is_capped(&held.row) => cap.holds_back(priority, now),
            Some(_) | None => Duration::ZERO,
        }
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
        let free =
            self.on_their_way < places && self.earlier_changes(id, held).all(|earlier| self.gives_way(held, earlier));
        free.then(|| {
            let trial = if self.is_shut() { self.trial_in(priority, now) } else { Duration::ZERO };
            let quiet = self.quiet_for(priority, now).max(self.pace_for(priority, now));
            due.since(now).max(trial).max(quiet).max(self.cap_for(held, now))
        })
    }

    /// An earlier change of an alarm does not hold up that the alarm has become worse, or a raised P1 where the
    /// cap holds the earlier one back: it goes with it.
    fn gives_way(&self, held: &Held, earlier: Place) -> bool {
        let change = &held.row.published.change;
        let waits = matches!(self.held[&earlier].state, State::Waiting { .. });
        waits && (earlier.0 > change.alarm.priority || (held.row.urgent() && self.is_capped(&self.held[&earlier].row)))
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

    /// Changes of the same alarm that are still to be told before this one, in their order; not those that are stuck.
    fn earlier_changes(&self, id: i64, held: &Held) -> impl Iterator<Item = Place> {
        let changes = self.open.get(&held.row.published.change.alarm.id);
        let earlier = changes.into_iter().flat_map(move |changes| changes.range(..id));
        earlier.map(|(id, priority)| (*priority, *id)).filter(|place| !self.held[place].is_stuck())
    }

    /// How much longer the recipient is to be left alone.
    fn quiet_for(&self, priority: Priority, now: Timestamp) -> Duration {
        match priority {
            Priority::P1 => Duration::ZERO,
            Priority::P2 | Priority::P3 | Priority::P4 => self.quiet_until.since(now),
        }
    }

    /// What became of a try, for the messages that were in it and are still known. The alarm stands with the first.
    pub fn finished(
        &mut self,
        ids: &[i64],
        summary: bool,
        result: &Result<String, Failure>,
        now: Timestamp,
    ) -> Vec<(i64, Verdict)> {
        let on_its_way = |place: &Place| ids.contains(&place.1) && self.held[place].state == State::OnItsWay;
        let mut places: Vec<Place> = self.held.keys().copied().filter(on_its_way).collect();
        if places.is_empty() {
            return Vec::new();
        }
        // As they were told, which need not be the order of their places.
        places.sort_by_key(|(_, id)| ids.iter().position(|told| told == id));
        self.on_their_way -= 1;
        if let Some(cap) = &self.cap {
            cap.ended();
        }
        let alarm = match result {
            Ok(_) => self.reached(summary, now),
            Err(failure) => self.failed(failure, now),
        };
        let along = if summary { std::mem::take(&mut self.along) } else { BTreeSet::new() };
        match result {
            Ok(detail) => {
                let told = self.delivered(&places, along, detail, alarm, now);
                told.into_iter().chain(self.overtaken(&places, now)).collect()
            }
            Err(failure) => self.refused(&places, summary, failure, alarm, now),
        }
    }

    /// One verdict for all that was told.
    fn delivered(
        &mut self,
        places: &[Place],
        along: BTreeSet<i64>,
        detail: &str,
        alarm: Option<bool>,
        now: Timestamp,
    ) -> Option<(i64, Verdict)> {
        let (first, others) = places.split_first()?;
        let outcome = Outcome::Delivered;
        let verdict = |detail: String| Verdict { outcome, detail, alarm: None, also: Vec::new(), lost: None };
        let (own, other) = (verdict(detail.to_owned()), verdict(Receipt::in_summary(first.1, detail)));
        for place in places {
            let verdict = if place == first { own.clone() } else { other.clone() };
            self.done(*place, verdict, now);
        }
        let also = others.iter().map(|(_, id)| *id).chain(along.iter().copied()).collect();
        self.folded.extend(along.into_iter().map(|id| (id, (other.clone(), now))));
        Some((first.1, Verdict { alarm, also, ..own }))
    }

    /// What was stuck before a change that has got through now: told afterwards it would only mislead.
    fn overtaken(&mut self, places: &[Place], now: Timestamp) -> Vec<(i64, Verdict)> {
        let mut verdicts = Vec::new();
        for place in places {
            let Some(held) = self.held.get(place) else { continue };
            let changes = self.open.get(&held.row.published.change.alarm.id);
            let earlier = changes.into_iter().flat_map(|changes| changes.range(..place.1));
            let stuck: Vec<Place> = (earlier.map(|(id, priority)| (*priority, *id)))
                .filter(|earlier| self.held[earlier].is_stuck() && self.held[earlier].state != State::OnItsWay)
                .collect();
            for earlier in stuck {
                let detail = format!("a later change of the alarm was delivered: message {}", place.1);
                let outcome = Outcome::GivenUp;
                let verdict = Verdict { outcome, detail, alarm: None, also: Vec::new(), lost: None };
                self.done(earlier, verdict.clone(), now);
                verdicts.push((earlier.1, verdict));
            }
        }
        verdicts
    }

    /// Words about a message that does not arrive, where it called for haste and nothing was said just before.
    fn lost(&mut self, place: Place, words: &str, now: Timestamp) -> Option<String> {
        let change = &self.held.get(&place)?.row.published.change;
        let alarm = &change.alarm;
        let hasty = match alarm.priority {
            Priority::P1 | Priority::P2 => true,
            Priority::P3 | Priority::P4 => false,
        };
        // That notification fails cannot be told by notifying of it without end.
        let own = alarm.rule.starts_with("davy-notify-");
        let told = self.lost_told != Timestamp::MIN && now.since(self.lost_told) < Self::LOST_AGAIN_AFTER;
        if !hasty || own || told {
            return None;
        }
        let (title, subject, id, happening) = (&alarm.title, &alarm.subject, &alarm.id, change.happening.word());
        let told = format!("{} {title} {subject} ({id}), {happening}: {words}", alarm.priority);
        self.lost_told = now;
        Some(told)
    }

    fn done(&mut self, place: Place, verdict: Verdict, now: Timestamp) {
        if let Some(held) = self.held.get_mut(&place) {
            held.state = State::Done { verdict, told: now };
            let alarm = held.row.published.change.alarm.id.clone();
            self.close(&alarm, place.1);
        }
    }

    /// A try in vain: each message waits, or is given up. In a summary the first speaks for those that wait.
    fn refused(
        &mut self,
        places: &[Place],
        summary: bool,
        failure: &Failure,
        mut alarm: Option<bool>,
        now: Timestamp,
    ) -> Vec<(i64, Verdict)> {
        let mut verdicts = Vec::new();
        for place in places {
            let Some(held) = self.held.get_mut(place) else { continue };
            let too_old = now.since(held.row.created) >= self.patience.give_up_after;
            let outcome = if failure.temporary && !too_old { Outcome::Failed } else { Outcome::GivenUp };
            let detail = failure.text.clone();
            let verdict = Verdict { outcome, detail, alarm: None, also: Vec::new(), lost: None };
            let mut lost = outcome == Outcome::GivenUp && !failure.nobody;
            if outcome == Outcome::GivenUp {
                self.done(*place, verdict.clone(), now);
            } else {
                if self.got_through > held.seen {
                    held.in_vain += 1;
                    lost = held.in_vain == Self::STUCK_AFTER;
                }
                held.seen = self.got_through;
                let own = self.patience.pause(held.attempts, place.0);
                let asked = failure.retry_after.unwrap_or_default().min(self.patience.longest_for(place.0));
                self.quiet_until = self.quiet_until.max(now + asked);
                held.state = State::Waiting { due: now + own.max(asked) };
            }
            let lost = if lost { self.lost(*place, &failure.text, now) } else { None };
            if outcome == Outcome::GivenUp || !summary || verdicts.is_empty() || lost.is_some() {
                verdicts.push((place.1, Verdict { alarm: alarm.take(), lost, ..verdict }));
            }
        }
        verdicts
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
    fn reached(&mut self, summary: bool, now: Timestamp) -> Option<bool> {
        self.got_through += 1;
        if let Some(cap) = &mut self.cap {
            cap.told(now, summary);
        }
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
