//! One case as it stands, and what follows from that alone: its stage, what is missing, when the next thing is due.
//!
//! ```text
//!  open ─► acknowledged ─► answered (叫应) ─► handling ─► verified by another ─► closed (销号)
//!    ▲                                                                              │ same point and rule
//!    └──────────────────────────────────────────────────────────────────────────────┘ within 24 h
//! ```
//! A stage is never set: it is read off what is recorded, so that no case can say more than somebody has done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::policy::Policy;
use super::step::{Answered, CaseFile, Demand, Handling};
use crate::alarm::{Alarm, Level, OccurrenceId, Priority, RuleId, Standing, Together};
use crate::model::Timestamp;

/// The same again within this time after the end is the same episode (counting of 超限).
pub const EPISODE_GAP: Duration = Duration::from_secs(600);
/// Alarms that one case lists; more are a case of their own.
pub const MOST_ALARMS: usize = 100;
/// Answers and episodes that one case lists, the newest; all stand in the table of steps.
const MOST_KEPT: usize = 50;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// Counts up from 1 in this gateway; the id is `case-` and this.
    pub number: u64,
    /// Of the alarm that opened it.
    pub rule: RuleId,
    pub subject: Arc<str>,
    pub site: Arc<str>,
    pub place: String,
    pub title: String,
    pub advice: String,
    /// Of the most urgent alarm it ever held.
    pub priority: Priority,
    pub level: Level,
    pub alarms: Vec<Involved>,
    pub episodes: u32,
    pub spans: Vec<Span>,
    pub opened: Timestamp,
    /// Begin of the present round: opened, or reopened.
    pub since: Timestamp,
    pub reopened: u32,
    /// First "I saw it" of this round.
    pub acknowledged: Option<Did>,
    /// The oldest of this round first.
    pub answers: Vec<Answered>,
    pub handling: Handling,
    /// Everybody who had a hand in the handling of this round: none of them verifies it.
    pub handlers: BTreeSet<String>,
    /// Newest word on how things stand.
    pub updated: Option<Did>,
    pub verified: Option<Did>,
    pub closed: Option<Did>,
    pub demands: Vec<Demanded>,
    pub files: Vec<CaseFile>,
    /// Clocks of this round that ran out, and when.
    pub missed: BTreeMap<Clock, Timestamp>,
    /// Those of them whose alarm is still out.
    pub told: BTreeSet<Clock>,
    /// Clocks that ran out, over all rounds.
    pub times_missed: u32,
    /// It came under 督办 by itself in this round, or a person put it there: not again.
    pub escalated: bool,
    /// Goes on as part of that case.
    pub joined: Option<u64>,
    /// What a person said of its cause, in place of the group of its alarms.
    #[serde(default)]
    pub cause: Option<Cause>,
}

/// For counting: these alarms had a cause of their own, or that of another case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The id of a case, or of the group of its alarms.
    pub of: OccurrenceId,
    pub did: Did,
}

/// Somebody did something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Did {
    pub by: String,
    pub at: Timestamp,
    pub words: String,
}

/// An alarm of a case, as far as the case needs it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Involved {
    pub id: OccurrenceId,
    pub rule: RuleId,
    pub subject: Arc<str>,
    pub priority: Priority,
    pub raised: Timestamp,
    pub cleared: Option<Timestamp>,
    pub acknowledged: Option<Did>,
    /// Not over and seen: the case cannot be closed.
    pub open: bool,
    pub value: Option<f64>,
    pub worst: Option<f64>,
    pub unit: String,
    /// Which alarms it came up with.
    #[serde(default)]
    pub together: Option<Together>,
}

impl Involved {
    #[must_use]
    pub fn of(alarm: &Alarm) -> Self {
        Self {
            id: alarm.id.clone(),
            rule: alarm.rule.clone(),
            subject: alarm.subject.clone(),
            priority: alarm.priority,
            raised: alarm.raised,
            cleared: alarm.cleared,
            acknowledged: alarm.acknowledged.as_ref().map(|by| Did {
                by: by.by.clone(),
                at: by.at,
                words: by.comment.clone(),
            }),
            open: alarm.standing != Standing::Normal,
            value: alarm.value,
            worst: alarm.worst,
            unit: alarm.unit.clone(),
            together: alarm.together.as_deref().cloned(),
        }
    }

    /// The condition is still there.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.open && self.cleared.is_none()
    }
}

/// Time in alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    pub from: Timestamp,
    pub to: Option<Timestamp>,
    /// A new episode began with it, rather than an old one going on.
    pub anew: bool,
}

/// A signature that closing waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demanded {
    pub demand: Demand,
    /// Only this role signs.
    pub role: String,
    pub by: String,
    pub reason: String,
    pub since: Timestamp,
    pub until: Option<Timestamp>,
    pub signed: Option<Did>,
}

/// What a case waits for with a time limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    Answer,
    Update,
    Close,
    SignOff,
    /// So long over the limit in all: the case comes under 督办.
    Over,
    /// The time in which it could be reopened is over.
    Forget,
}

impl Clock {
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Update => "update",
            Self::Close => "close",
            Self::SignOff => "sign_off",
            Self::Over => "over",
            Self::Forget => "forget",
        }
    }

    /// People owe it; the others are Davy's own.
    #[must_use]
    pub const fn is_owed(self) -> bool {
        matches!(self, Self::Answer | Self::Update | Self::Close | Self::SignOff)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Open,
    Acknowledged,
    Answered,
    Handling,
    Verified,
    Closed,
}

impl Stage {
    pub const ALL: [Self; 6] =
        [Self::Open, Self::Acknowledged, Self::Answered, Self::Handling, Self::Verified, Self::Closed];

    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Acknowledged => "acknowledged",
            Self::Answered => "answered",
            Self::Handling => "handling",
            Self::Verified => "verified",
            Self::Closed => "closed",
        }
    }
}

/// What a case still needs before it may be closed, in the order in which people do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    Acknowledgement,
    Answer,
    Owner,
    CauseClass,
    Cause,
    Measure,
    Money,
    Deadline,
    Plan,
    /// An alarm of it is not over.
    AlarmOver,
    Verification,
    SuperviseSignOff,
    RestartSignOff,
    Closing,
}

impl Missing {
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Acknowledgement => "acknowledgement",
            Self::Answer => "answer",
            Self::Owner => "owner",
            Self::CauseClass => "cause_class",
            Self::Cause => "cause",
            Self::Measure => "measure",
            Self::Money => "money",
            Self::Deadline => "deadline",
            Self::Plan => "plan",
            Self::AlarmOver => "alarm_over",
            Self::Verification => "verification",
            Self::SuperviseSignOff => "supervision_sign_off",
            Self::RestartSignOff => "restart_sign_off",
            Self::Closing => "closing",
        }
    }

    /// For people, the action first.
    #[must_use]
    pub const fn told(self) -> &'static str {
        match self {
            Self::Acknowledgement => "确认报警 / acknowledge the alarm",
            Self::Answer => "电话叫应现场 / speak with the site",
            Self::Owner => "落实责任人 / name whoever answers for it",
            Self::CauseClass => "填写原因类别 / choose the class of the cause",
            Self::Cause => "填写原因 / say the cause",
            Self::Measure => "填写措施 / say what was done",
            Self::Money => "落实资金 / say where the money comes from",
            Self::Deadline => "落实时限 / say by when",
            Self::Plan => "落实预案 / name the emergency plan",
            Self::AlarmOver => "报警尚未解除 / the alarm is not over",
            Self::Verification => "由他人复核 / have another person verify it",
            Self::SuperviseSignOff => "督办单位签字 / the supervising role has to sign off",
            Self::RestartSignOff => "监管部门同意复产 / the regulator has to agree to the restart",
            Self::Closing => "销号 / close it",
        }
    }
}

impl Case {
    /// A case for that alarm, opened now.
    #[must_use]
    pub fn new(number: u64, alarm: &Alarm, now: Timestamp) -> Self {
        Self {
            number,
            rule: alarm.rule.clone(),
            subject: alarm.subject.clone(),
            site: alarm.site.clone(),
            place: alarm.place.clone(),
            title: alarm.title.clone(),
            advice: alarm.advice.clone(),
            priority: alarm.priority,
            level: alarm.level,
            alarms: Vec::new(),
            episodes: 0,
            spans: Vec::new(),
            opened: now,
            since: now,
            reopened: 0,
            acknowledged: None,
            answers: Vec::new(),
            handling: Handling::default(),
            handlers: BTreeSet::new(),
            updated: None,
            verified: None,
            closed: None,
            demands: Vec::new(),
            files: Vec::new(),
            missed: BTreeMap::new(),
            told: BTreeSet::new(),
            times_missed: 0,
            escalated: false,
            joined: None,
            cause: None,
        }
    }

    /// The cause that its alarms are counted by: what a person said, else the group of the first one.
    #[must_use]
    pub fn counted_by(&self) -> Option<OccurrenceId> {
        if let Some(said) = &self.cause {
            return Some(said.of.clone());
        }
        let first = self.alarms.first()?;
        Some(first.together.as_ref().map_or(&first.id, |together| &together.group).clone())
    }

    #[must_use]
    pub fn id(&self) -> String {
        format!("case-{}", self.number)
    }

    /// Somebody has to do something about it.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.closed.is_none() && self.joined.is_none()
    }

    /// The condition of one of its alarms is still there.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.alarms.iter().any(Involved::holds)
    }

    /// The level above watches, and has not signed yet.
    #[must_use]
    pub fn is_supervised(&self) -> bool {
        self.demands.iter().any(|one| one.demand == Demand::Supervision)
    }

    #[must_use]
    pub fn stage(&self, policy: &Policy) -> Stage {
        if self.closed.is_some() || self.joined.is_some() {
            return Stage::Closed;
        }
        if self.verified.is_some() {
            return Stage::Verified;
        }
        let owed = policy.answer_within(self.priority, self.place()).is_some();
        match (self.acknowledged.is_some(), !self.answers.is_empty()) {
            (false, _) => Stage::Open,
            (true, false) if owed => Stage::Acknowledged,
            (true, _) if !self.handling.is_empty() => Stage::Handling,
            (true, true) => Stage::Answered,
            (true, false) => Stage::Acknowledged,
        }
    }

    /// What has to be known before anybody can verify it.
    #[must_use]
    pub fn unhandled(&self) -> Vec<Missing> {
        let Handling { owner, class, cause, measure, planned: _, money, deadline, plan } = &self.handling;
        let five = self.is_supervised();
        let all = [
            (Missing::Owner, owner.is_none()),
            (Missing::CauseClass, class.is_none()),
            (Missing::Cause, cause.is_none()),
            (Missing::Measure, measure.is_none()),
            (Missing::Money, five && money.is_none()),
            (Missing::Deadline, five && deadline.is_none()),
            (Missing::Plan, five && plan.is_none()),
        ];
        all.into_iter().filter(|(_, missing)| *missing).map(|(what, _)| what).collect()
    }

    /// All that stands between it and its end, in order; the last is the closing itself. Empty: it is closed.
    #[must_use]
    pub fn missing(&self, policy: &Policy) -> Vec<Missing> {
        if !self.is_open() {
            return Vec::new();
        }
        let mut list = Vec::new();
        let unseen =
            self.acknowledged.is_none() || self.alarms.iter().any(|alarm| alarm.open && alarm.acknowledged.is_none());
        list.extend(unseen.then_some(Missing::Acknowledgement));
        let owed = policy.answer_within(self.priority, self.place()).is_some();
        list.extend((owed && self.answers.is_empty()).then_some(Missing::Answer));
        list.extend(self.unhandled());
        list.extend(self.alarms.iter().any(|alarm| alarm.open).then_some(Missing::AlarmOver));
        list.extend(self.verified.is_none().then_some(Missing::Verification));
        for one in self.demands.iter().filter(|one| one.signed.is_none()) {
            list.push(match one.demand {
                Demand::Supervision => Missing::SuperviseSignOff,
                Demand::Restart => Missing::RestartSignOff,
            });
        }
        list.push(Missing::Closing);
        list
    }

    /// The clocks that run, with when they run out. Those that ran out already are not among them.
    #[must_use]
    pub fn clocks(&self, policy: &Policy) -> BTreeMap<Clock, Timestamp> {
        let mut clocks = BTreeMap::new();
        if self.joined.is_some() {
            return clocks;
        }
        if let Some(closed) = &self.closed {
            clocks.insert(Clock::Forget, closed.at + policy.reopen_within);
            return clocks;
        }
        for clock in [Clock::Answer, Clock::Update, Clock::Close, Clock::SignOff] {
            clocks.extend(self.due(clock, policy).map(|due| (clock, due)));
        }
        clocks.extend(self.over_at(policy).map(|due| (Clock::Over, due)));
        clocks.retain(|clock, _| !self.missed.contains_key(clock));
        clocks
    }

    /// For areas: its site, and the point that opened it.
    fn place(&self) -> (&str, &str) {
        (&self.site, &self.subject)
    }

    /// When that is due, whether or not it has been missed; none: nobody owes it (any more).
    #[must_use]
    pub fn due(&self, clock: Clock, policy: &Policy) -> Option<Timestamp> {
        if !self.is_open() {
            return None;
        }
        match clock {
            Clock::Answer if self.answers.is_empty() => {
                Some(self.since + policy.answer_within(self.priority, self.place())?)
            }
            Clock::Update if self.holds() || !self.unhandled().is_empty() => {
                let begun = self.acknowledged.as_ref().map(|did| did.at);
                let newest = [begun, self.answers.last().map(|one| one.at), self.updated.as_ref().map(|did| did.at)];
                Some(newest.into_iter().flatten().max()? + policy.update_every(self.priority, self.place())?)
            }
            Clock::Close => Some(self.since + policy.close_within(self.priority, self.place())),
            Clock::SignOff => {
                let open = self.demands.iter().filter(|one| one.signed.is_none());
                open.filter_map(|one| one.until).min()
            }
            Clock::Answer | Clock::Update | Clock::Over | Clock::Forget => None,
        }
    }

    /// When it will have been over the limit for too long in all, if it goes on like this.
    fn over_at(&self, policy: &Policy) -> Option<Timestamp> {
        let under = policy.supervise.from_priority.is_some_and(|from| self.priority <= from);
        let running = self.spans.iter().find(|span| span.to.is_none())?;
        if self.escalated || !under {
            return None;
        }
        let recent = self.spans.iter().filter(|span| running.from.since(span.from) < policy.supervise.within);
        let before: Duration = recent.filter_map(|span| Some(span.to?.since(span.from))).sum();
        Some(running.from + policy.supervise.over.saturating_sub(before))
    }

    /// By itself under 督办: too many episodes, or too long in all, within the policy's time up to `now`.
    #[must_use]
    pub fn too_often(&self, policy: &Policy, now: Timestamp) -> bool {
        let rule = &policy.supervise;
        if self.escalated || rule.from_priority.is_none_or(|from| self.priority > from) {
            return false;
        }
        let recent = self.spans.iter().filter(|span| now.since(span.from) < rule.within);
        let (mut begun, mut over) = (0, Duration::ZERO);
        for span in recent {
            begun += u32::from(span.anew);
            over += span.to.unwrap_or(now).since(span.from);
        }
        begun >= rule.episodes || over >= rule.over
    }

    /// The alarm as it stands now. Tells whether a new episode began with it.
    pub fn note(&mut self, alarm: &Alarm, at: Timestamp) -> bool {
        let news = Involved::of(alarm);
        let held = self.holds();
        self.priority = self.priority.min(news.priority);
        self.level = self.level.min(alarm.level);
        if self.acknowledged.is_none() {
            self.acknowledged = news.acknowledged.clone().filter(|did| did.at >= self.since);
        }
        match self.alarms.iter_mut().find(|known| known.id == news.id) {
            Some(known) => *known = news,
            None => self.alarms.push(news),
        }
        match (held, self.holds()) {
            (false, true) => self.begin(at),
            (true, false) => {
                for span in self.spans.iter_mut().filter(|span| span.to.is_none()) {
                    span.to = Some(at.max(span.from));
                }
                false
            }
            (true, true) | (false, false) => false,
        }
    }

    /// Our clock was set back: the times from which its limits count go back with it, so that nobody has longer than
    /// they had. What was done when stays as it was in the table of steps.
    pub(super) fn set_back(&mut self, by: Duration) {
        self.since = self.since - by;
        let answers = self.answers.iter_mut().map(|answer| &mut answer.at);
        let said = self.acknowledged.iter_mut().chain(&mut self.updated).map(|did| &mut did.at);
        let demands = self.demands.iter_mut().flat_map(|one| std::iter::once(&mut one.since).chain(&mut one.until));
        for time in answers.chain(said).chain(demands) {
            *time = *time - by;
        }
    }

    fn begin(&mut self, at: Timestamp) -> bool {
        let ended = self.spans.last().and_then(|span| span.to);
        let anew = ended.is_none_or(|ended| at.since(ended) > EPISODE_GAP);
        self.episodes += u32::from(anew);
        if self.spans.len() == MOST_KEPT {
            self.spans.remove(0);
        }
        self.spans.push(Span { from: at, to: None, anew });
        // What was done before does not show that it is safe now.
        self.undo_verification();
        anew
    }

    pub(super) fn answer(&mut self, answer: Answered) {
        if self.answers.len() == MOST_KEPT {
            // The first one is what the clock was about.
            self.answers.remove(1);
        }
        self.answers.push(answer);
    }

    /// Forgets the oldest alarm that is over, where there are too many.
    pub(super) fn make_room(&mut self) -> Option<Involved> {
        if self.alarms.len() < MOST_ALARMS {
            return None;
        }
        let place = self.alarms.iter().position(|alarm| !alarm.open)?;
        Some(self.alarms.remove(place))
    }

    /// A new round: the case was closed, and the alarm is back.
    pub(super) fn reopen(&mut self, now: Timestamp) {
        self.since = now;
        self.reopened += 1;
        self.closed = None;
        self.verified = None;
        self.acknowledged = None;
        self.answers.clear();
        self.handling = Handling { owner: self.handling.owner.take(), ..Handling::default() };
        self.handlers.clear();
        self.updated = None;
        self.missed.clear();
        self.escalated = false;
        for one in &mut self.demands {
            one.signed = None;
            if let Some(until) = one.until {
                one.until = Some(now + until.since(one.since));
            }
            one.since = now;
        }
    }
}
