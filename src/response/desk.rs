//! Duty as it runs: calling about alarms, hand-overs that are owed, presence checks (查岗), consoles that are closed.
//!
//! In come ticks, alarm changes, values of points with open alarms, and what people say about duty; out go steps,
//! what facts are to remember, and conditions: a hand-over that nobody signs, a question that nobody answers, a
//! console that nobody has open, the daily list of minor alarms. A missed question and a closed console are called for
//! at the level above. Without positions nothing happens.

mod concern;
mod daily;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Out;
use super::escalation::{About, Escalation, NOBODY, Run, Told};
use super::people::{self, Now, Place, Said};
use super::step::{Step, StepKind};
use crate::alarm::{Alarm, AlarmChange, Happening, Level, OccurrenceId, Priority};
use crate::engine::{Effect, GATEWAY};
use crate::facts::Answer;
use crate::journal::{Condition, DutyOrder, Rang, Setup};
use crate::model::{
    DutyAct, Handover, Leave, PointIndex, Position, Record, Roster, Sample, Signature, SiteId, Tier, Timestamp, Who,
};

pub const QUESTION: &str = "davy-presence";
pub const MISSED: &str = "davy-presence-missed";
pub const CONSOLE: &str = "davy-console-closed";
pub const UNSIGNED: &str = "davy-handover-unsigned";
pub const HANDOVER: &str = "davy-handover";
pub use daily::DAILY;
/// What is told here.
const OWN: [&str; 7] = [QUESTION, MISSED, CONSOLE, UNSIGNED, HANDOVER, DAILY, NOBODY];
/// Alarms that are named where nobody is there to be called for them.
const NAMED: usize = 10;
/// A shift may sign for the next one so long before it begins.
const EARLY: Duration = Duration::from_secs(3_600);
/// A wall clock that steps back by more than this was set.
const SET_BACK: Duration = Duration::from_secs(1);
/// Without a roster the questions of a day are spread over this.
const DAY: i64 = 86_400_000_000;

/// A presence check that waits for an answer, or what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    pub position: String,
    pub alarm: OccurrenceId,
    pub asked: Timestamp,
    pub due: Timestamp,
    /// Whom it was sent to.
    pub person: String,
    pub answered: Option<(String, Timestamp)>,
}

/// What facts remember of duty, one row each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    Run(Box<Run>),
    /// The calling about that alarm is over.
    RunOver(OccurrenceId),
    Leave {
        leave: Leave,
        ended: bool,
    },
    Handover(Handover),
    /// A roster's shift that has signed; also the first one, that took over from nobody.
    Signed {
        roster: String,
        shift: Timestamp,
    },
    /// One of the two has signed; the other one is awaited.
    Signing(Handover),
    /// Nobody is awaited there any more.
    SigningOver(String),
    /// Of the change to that shift people have been told.
    Changed {
        roster: String,
        shift: Timestamp,
    },
    /// The list of that local day, counted from 1970, is done with.
    Listed {
        position: String,
        day: i64,
    },
    Question {
        question: Question,
        open: bool,
    },
    Console {
        user: String,
        open: bool,
        #[serde(default)]
        sound: bool,
    },
    /// No console is open at a position that needs one.
    Missing {
        position: String,
        since: Timestamp,
        open: bool,
    },
}

impl Kept {
    /// What people have said, for who is on duty.
    #[must_use]
    pub fn said(kept: &[Self]) -> Said {
        let mut said = Said::default();
        for one in kept {
            match one {
                Self::Leave { leave, ended: false } => said.leave.push(leave.clone()),
                Self::Signed { roster, shift } => drop(said.signed.insert(roster.clone(), *shift)),
                Self::Run(_)
                | Self::RunOver(_)
                | Self::Leave { ended: true, .. }
                | Self::Handover(_)
                | Self::Signing(_)
                | Self::SigningOver(_)
                | Self::Changed { .. }
                | Self::Listed { .. }
                | Self::Question { .. }
                | Self::Console { .. }
                | Self::Missing { .. } => {}
            }
        }
        said
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Desk {
    #[serde(skip)]
    setup: Option<Arc<Setup>>,
    /// The setup is new here: what is open has to be compared with what is called about.
    #[serde(skip)]
    unsettled: bool,
    now: Timestamp,
    said: Said,
    escalation: Escalation,
    /// Of points with an open alarm that is called for, for values that grow.
    watched: BTreeMap<PointIndex, BTreeSet<OccurrenceId>>,
    questions: BTreeMap<String, Question>,
    consoles: BTreeSet<String>,
    /// Those of them that somebody has let sound.
    loud: BTreeSet<String>,
    /// By roster: the shift whose beginning people were last told of.
    changed: BTreeMap<String, Timestamp>,
    /// By position: the local day whose daily list is done with.
    listed: BTreeMap<String, i64>,
    /// By roster: hand-overs that one of the two has signed.
    signing: BTreeMap<String, Handover>,
    /// Since when a console is missing.
    missing: BTreeMap<String, Timestamp>,
    /// Sources all of whose points are of one site; worked out from the setup.
    #[serde(skip)]
    sources: BTreeMap<String, SiteId>,
    /// Conditions that hold, by rule and subject.
    holding: BTreeSet<(String, String)>,
}

impl Desk {
    /// From what facts know: `open` are the alarms that are not over, and say which conditions hold.
    #[must_use]
    pub fn remembered(kept: Vec<Kept>, open: &[Alarm]) -> Self {
        let (mut desk, mut runs) = (Self::default(), Vec::new());
        for one in kept {
            match one {
                Kept::Run(run) => runs.push(*run),
                Kept::Leave { leave, ended: false } => desk.said.leave.push(leave),
                Kept::Signed { roster, shift } => drop(desk.said.signed.insert(roster, shift)),
                Kept::Changed { roster, shift } => drop(desk.changed.insert(roster, shift)),
                Kept::Listed { position, day } => drop(desk.listed.insert(position, day)),
                Kept::Signing(handover) => drop(desk.signing.insert(handover.roster.clone(), handover)),
                Kept::Question { question, open: true } => {
                    desk.questions.insert(question.position.clone(), question);
                }
                Kept::Console { user, open: true, sound } => {
                    if sound {
                        desk.loud.insert(user.clone());
                    }
                    desk.consoles.insert(user);
                }
                Kept::Missing { position, since, open: true } => drop(desk.missing.insert(position, since)),
                Kept::RunOver(_)
                | Kept::Handover(_)
                | Kept::SigningOver(_)
                | Kept::Leave { .. }
                | Kept::Question { .. }
                | Kept::Console { .. }
                | Kept::Missing { .. } => {}
            }
        }
        desk.escalation = Escalation::of(runs);
        let own = |alarm: &&Alarm| OWN.contains(&&*alarm.rule) && alarm.cleared.is_none();
        desk.holding = open.iter().filter(own).map(|one| (one.rule.to_string(), one.subject.to_string())).collect();
        desk
    }

    pub fn set_up(&mut self, setup: &Arc<Setup>) {
        let runs: Vec<(OccurrenceId, Place)> =
            self.escalation.runs().map(|run| (run.alarm.clone(), run.place.clone())).collect();
        self.watched.clear();
        for (alarm, place) in runs {
            let point = setup.points.iter().position(|point| *point.id == *place.subject);
            if let Some(point) = point {
                self.watched.entry(PointIndex(point as u32)).or_default().insert(alarm);
            }
        }
        self.sources = people::sites_of_sources(setup);
        self.setup = Some(setup.clone());
        self.unsettled = true;
    }

    /// Has [`Desk::take_stock`] to be called at this tick?
    #[must_use]
    pub const fn unsettled(&self) -> bool {
        self.unsettled
    }

    /// Every alarm that is open under a setup that is new here: those that wait and that nobody is called about
    /// are called about from now on, as when people are configured for the first time; calling about alarms
    /// that are over ends. Where everything is in order it changes nothing.
    /// With each goes the site of the case that it is about.
    pub fn take_stock<'a>(&mut self, open: impl Iterator<Item = (&'a Alarm, Option<Arc<str>>)>, out: &mut Out) {
        self.unsettled = false;
        let Some(setup) = self.setup.clone().filter(|setup| !setup.duty.is_empty()) else { return };
        let mut over: BTreeSet<OccurrenceId> = self.escalation.runs().map(|run| run.alarm.clone()).collect();
        for (alarm, case_at) in open {
            over.remove(&alarm.id);
            let asks = ![QUESTION, HANDOVER, DAILY].contains(&&*alarm.rule);
            if asks && alarm.standing.waits() && self.escalation.run(&alarm.id).is_none() {
                let place = self.place_of(alarm, case_at.as_deref(), &setup);
                self.call_about(alarm, place, (true, false), &setup, out);
            }
        }
        let mut told = Told::default();
        for alarm in over {
            self.escalation.end(&alarm, &mut told);
        }
        self.write(told, out);
    }

    /// Conditions end whose position or roster is gone, or does not ask for it any more.
    fn end_what_nobody_asks_for(&mut self, setup: &Setup, out: &mut Out) {
        let duty = &setup.duty;
        let asked_for = |rule: &str, subject: &str| {
            let position = duty.positions.get(subject);
            !duty.is_empty()
                && match rule {
                    UNSIGNED => duty.rosters.get(subject).is_some_and(|roster| roster.handover_within.is_some()),
                    HANDOVER => duty.rosters.contains_key(subject),
                    CONSOLE => position.is_some_and(|one| one.console.is_some()),
                    NOBODY => true,
                    DAILY => position.is_some_and(|one| one.daily.is_some()),
                    _ => position.is_some_and(|one| one.checks.is_some()),
                }
        };
        let ends: Vec<(String, String)> =
            self.holding.iter().filter(|(rule, subject)| !asked_for(rule, subject)).cloned().collect();
        for (rule, subject) in ends {
            self.tell(out, &rule, &subject, false, String::new());
        }
        let questions = std::mem::take(&mut self.questions);
        for (name, question) in questions {
            if asked_for(QUESTION, &name) {
                self.questions.insert(name, question);
            } else {
                out.effects.push(kept(Kept::Question { question, open: false }));
            }
        }
        let missing: Vec<String> = self.missing.keys().filter(|name| !asked_for(CONSOLE, name)).cloned().collect();
        for name in missing {
            self.there_again(&name, out);
        }
    }

    #[must_use]
    pub const fn escalation(&self) -> &Escalation {
        &self.escalation
    }

    /// Somebody has spoken with the site (叫应).
    pub fn answered(&mut self, alarm: &OccurrenceId, by: &str, at: Timestamp, out: &mut Out) {
        let Some(setup) = self.setup.clone() else { return };
        let mut told = Told::default();
        let now = Now { duty: &setup.duty, said: &self.said, zone: setup.calendar.zone, at: at.max(self.now) };
        self.escalation.answered(alarm, by, now, &mut told);
        self.write(told, out);
    }

    /// Somebody was called in vain, and the provider says so before the clock does.
    pub fn rang(&mut self, rang: &Rang, at: Timestamp, out: &mut Out) {
        let Some(setup) = self.setup.clone() else { return };
        let mut told = Told::default();
        let now = Now { duty: &setup.duty, said: &self.said, zone: setup.calendar.zone, at: at.max(self.now) };
        self.escalation.rang(rang, now, &mut told);
        self.write(told, out);
    }

    pub fn on_samples(&mut self, samples: &[Sample], out: &mut Out) {
        if self.watched.is_empty() {
            return;
        }
        let Some(setup) = self.setup.clone() else { return };
        let mut told = Told::default();
        let now = Now { duty: &setup.duty, said: &self.said, zone: setup.calendar.zone, at: self.now };
        for sample in samples.iter().filter(|sample| sample.quality.usable()) {
            let Some(alarms) = self.watched.get(&sample.point) else { continue };
            let unit = setup.points.get(sample.point.at()).map_or("", |point| point.unit.as_str());
            for alarm in alarms {
                self.escalation.on_value(alarm, sample.value, unit, now, &mut told);
            }
        }
        self.write(told, out);
    }

    /// `case_at`: the site of the case that the alarm is about.
    pub fn on_change(&mut self, change: &AlarmChange, case_at: Option<&str>, out: &mut Out) {
        let Some(setup) = self.setup.clone().filter(|setup| !setup.duty.is_empty()) else { return };
        let alarm = &change.alarm;
        if &*alarm.rule == QUESTION {
            return self.on_question(change, &setup, out);
        }
        if &*alarm.rule == HANDOVER {
            return self.on_shift_change(change, &setup, out);
        }
        if &*alarm.rule == DAILY {
            return self.on_daily(change, &setup, out);
        }
        if &*alarm.rule == MISSED && change.happening == Happening::Acknowledged {
            self.tell(out, MISSED, &alarm.subject, false, String::new());
        }
        let anew = match change.happening {
            Happening::RaisedAgain | Happening::Worsened | Happening::Resumed => true,
            Happening::Raised
            | Happening::Acknowledged
            | Happening::Cleared
            | Happening::Reset
            | Happening::Realarmed
            | Happening::SetAside => false,
        };
        let place = self.place_of(alarm, case_at, &setup);
        self.call_about(alarm, place, (false, anew), &setup, out);
    }

    /// Where people are called for it, and from which level on. What Davy says of one site's source, siren or case,
    /// or of somebody's phone, is their business, if anybody stands there; what it says of itself is everybody's.
    fn place_of(&self, alarm: &Alarm, case_at: Option<&str>, setup: &Setup) -> (Place, Option<Tier>) {
        let now = self.at(setup);
        let position = setup.duty.positions.get(&*alarm.subject);
        if let Some(position) = position.filter(|_| [MISSED, CONSOLE].contains(&&*alarm.rule)) {
            return (now.place_of(position), Some(position.tier.above().unwrap_or(position.tier)));
        }
        let from = concern::SIRENS.contains(&&*alarm.rule).then_some(Tier::Leader);
        let subject = alarm.subject.to_string();
        let of_case = case_at.map(|site| Place { site: site.to_owned(), subject: subject.clone(), everywhere: false });
        let about = of_case.or_else(|| concern::place(alarm, &self.sources, now, setup));
        let stands = |place: &Place| Tier::ALL.into_iter().any(|tier| !now.positions(tier, place).is_empty());
        match about.filter(|place| !place.everywhere && stands(place)) {
            Some(place) => (place, from),
            None => (Place { site: alarm.site.to_string(), subject, everywhere: alarm.point.is_none() }, from),
        }
    }

    /// `late`: it was open before anybody was there to be called; `anew`: it came back, or became worse.
    fn call_about(
        &mut self,
        alarm: &Alarm,
        (place, from): (Place, Option<Tier>),
        (late, anew): (bool, bool),
        setup: &Setup,
        out: &mut Out,
    ) {
        let now = Now { duty: &setup.duty, said: &self.said, zone: setup.calendar.zone, at: self.now };
        let kind = alarm.point.and_then(|point| setup.points.get(point.at())).map(|point| point.kind);
        let mut told = Told::default();
        self.escalation.on_alarm(About { alarm, kind, place: &place, from, late, anew }, now, &mut told);
        if let Some(point) = alarm.point {
            if self.escalation.run(&alarm.id).is_some() {
                self.watched.entry(point).or_default().insert(alarm.id.clone());
            } else if let Some(alarms) = self.watched.get_mut(&point) {
                alarms.remove(&alarm.id);
                if alarms.is_empty() {
                    self.watched.remove(&point);
                }
            }
        }
        self.write(told, out);
    }

    pub fn on_tick(&mut self, tick: Timestamp, out: &mut Out) {
        let before = self.now;
        self.now = tick;
        if tick + SET_BACK < before && before != Timestamp::default() {
            self.set_back(before.since(tick), out);
        }
        // The first tick there is: nothing was due before it.
        let before = if before == Timestamp::default() { tick } else { before };
        let Some(setup) = self.setup.clone() else { return };
        if self.unsettled {
            self.end_what_nobody_asks_for(&setup, out);
        }
        let mut told = Told::default();
        if setup.duty.is_empty() {
            if !self.escalation.is_empty() {
                self.escalation.end_all(&mut told);
                self.watched.clear();
                self.write(told, out);
            }
            return;
        }
        let now = Now { duty: &setup.duty, said: &self.said, zone: setup.calendar.zone, at: tick };
        self.escalation.pass(now, &mut told);
        self.write(told, out);
        self.look_for_lonely(out);
        for (name, roster) in &setup.duty.rosters {
            self.look_at_change(name, roster, &setup, out);
            self.look_at_handover(name, roster, &setup, out);
        }
        for (name, position) in &setup.duty.positions {
            self.look_at_presence(name, position, &setup, before, out);
            self.look_at_console(name, position, &setup, out);
            self.look_at_daily(name, position, &setup, out);
        }
    }

    /// Our clock was set back: no question, no missing console and no call waits for longer than it would have, and of
    /// shifts that have not begun by the clock as it is now people are told when they do.
    fn set_back(&mut self, by: Duration, out: &mut Out) {
        let mut told = Told::default();
        self.escalation.set_back(by, &mut told);
        self.write(told, out);
        for question in self.questions.values_mut() {
            question.due = question.due - by;
            out.effects.push(kept(Kept::Question { question: question.clone(), open: true }));
        }
        for (position, since) in &mut self.missing {
            *since = *since - by;
            out.effects.push(kept(Kept::Missing { position: position.clone(), since: *since, open: true }));
        }
        let Some(setup) = self.setup.clone() else { return };
        let zone = setup.calendar.zone;
        for (name, roster) in &setup.duty.rosters {
            let (shift, next) = (roster.shift(zone, self.now).from, roster.next(zone, self.now).from);
            if let Some(told) = self.changed.get_mut(name).filter(|told| **told > shift) {
                *told = shift;
                out.effects.push(kept(Kept::Changed { roster: name.clone(), shift }));
            }
            // The next shift may have signed already.
            if self.said.signed.get(name).is_some_and(|signed| *signed > next) {
                self.sign(name, shift, out);
            }
        }
    }

    fn at<'a>(&'a self, setup: &'a Setup) -> Now<'a> {
        Now { duty: &setup.duty, said: &self.said, zone: setup.calendar.zone, at: self.now }
    }

    /// Sites whose alarms find nobody: one alarm for each of them, for everybody at every position.
    fn look_for_lonely(&mut self, out: &mut Out) {
        let mut sites: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for run in self.escalation.runs().filter(|run| run.alone && !run.says_so) {
            // A position for everywhere has no site.
            let site = if run.place.site.is_empty() { GATEWAY } else { &run.place.site };
            sites.entry(site.to_owned()).or_default().push(format!("{} {}", run.place.subject, run.alarm));
        }
        let over = self.holding.iter().filter(|(rule, site)| rule == NOBODY && !sites.contains_key(site));
        for (rule, site) in over.cloned().collect::<Vec<_>>() {
            self.tell(out, &rule, &site, false, String::new());
        }
        for (site, alarms) in sites {
            let more = if alarms.len() > NAMED { ", .." } else { "" };
            let named = format!("{}{more}", alarms[..alarms.len().min(NAMED)].join(", "));
            self.tell(out, NOBODY, &site, true, named);
        }
    }

    /// At the change of a shift those who go and those who come are told what is open, once; over a down time the
    /// newest change is.
    fn look_at_change(&mut self, name: &str, roster: &Roster, setup: &Setup, out: &mut Out) {
        let shift = roster.shift(setup.calendar.zone, self.now).from;
        let told = self.changed.get(name).copied();
        if told.is_some_and(|told| told >= shift) {
            if self.at(setup).unsigned(name, roster).is_none() {
                self.tell(out, HANDOVER, name, false, String::new());
            }
            return;
        }
        self.changed.insert(name.to_owned(), shift);
        out.effects.push(kept(Kept::Changed { roster: name.to_owned(), shift }));
        self.forget_signing(name, shift, out);
        let same_people =
            roster.before(setup.calendar.zone, self.now).crew == roster.shift(setup.calendar.zone, self.now).crew;
        if told.is_none() || same_people {
            return;
        }
        // That of the shift before is over, signed or not.
        self.tell(out, HANDOVER, name, false, String::new());
        self.tell(out, HANDOVER, name, true, format!("{shift}"));
    }

    /// The message goes with the alarm that says so; its acknowledgement is the receipt.
    fn on_shift_change(&self, change: &AlarmChange, setup: &Setup, out: &mut Out) {
        let alarm = &change.alarm;
        let (Happening::Raised | Happening::RaisedAgain, Some(roster)) =
            (change.happening, setup.duty.rosters.get(&*alarm.subject))
        else {
            return;
        };
        let now = self.at(setup);
        let crews = [roster.before(now.zone, now.at).crew, roster.shift(now.zone, now.at).crew];
        let persons = crews.into_iter().flatten().filter_map(|person| now.stands_in(person));
        let ways = persons.filter_map(|person| now.duty.people.get(person)).flat_map(|one| one.reach.iter().cloned());
        let to: BTreeSet<String> = ways.collect();
        let step = Step {
            level: Who::Roster(alarm.subject.to_string()).to_string(),
            to: to.into_iter().collect(),
            ..Step::message(StepKind::Handover, alarm, self.now)
        };
        out.effects.push(Effect::Step(Box::new(step)));
    }

    fn look_at_handover(&mut self, name: &str, roster: &Roster, setup: &Setup, out: &mut Out) {
        let Some(within) = roster.handover_within else { return };
        if !self.said.signed.contains_key(name) {
            // The first shift ever takes over from nobody.
            self.sign(name, roster.shift(setup.calendar.zone, self.now).from, out);
        }
        let owed = self.at(setup).unsigned(name, roster);
        let late = owed.is_some_and(|since| self.now >= since + within);
        let detail = owed.map_or_else(String::new, |since| format!("{since}"));
        self.tell(out, UNSIGNED, name, late, detail);
    }

    fn sign(&mut self, roster: &str, shift: Timestamp, out: &mut Out) {
        self.said.signed.insert(roster.to_owned(), shift);
        out.effects.push(kept(Kept::Signed { roster: roster.to_owned(), shift }));
    }

    fn look_at_presence(&mut self, name: &str, position: &Position, setup: &Setup, before: Timestamp, out: &mut Out) {
        let Some(checks) = position.checks else { return };
        if let Some(question) = self.questions.get(name).filter(|question| self.now >= question.due).cloned() {
            self.questions.remove(name);
            out.effects.push(kept(Kept::Question { question: question.clone(), open: false }));
            self.tell(out, QUESTION, name, false, String::new());
            self.tell(out, MISSED, name, true, format!("{} {}", question.person, question.asked));
        }
        let (from, until) = span(position, setup, self.now);
        let seed = &setup.duty.seed;
        let times = (0..checks.in_a_shift).map(|n| question_time(seed, name, from, until, n, checks));
        // What was due while Davy was not running is not asked afterwards.
        let due = times.into_iter().any(|at| before < at && at <= self.now && self.now.since(at) < checks.within);
        if due && !self.questions.contains_key(name) {
            self.tell(out, QUESTION, name, true, String::new());
        }
    }

    /// The question's own alarm: its acknowledgement is the answer.
    fn on_question(&mut self, change: &AlarmChange, setup: &Arc<Setup>, out: &mut Out) {
        let alarm = &change.alarm;
        let Some((name, position)) = setup.duty.positions.get_key_value(&*alarm.subject) else { return };
        let open = self.questions.get(name).cloned();
        match change.happening {
            Happening::Raised | Happening::RaisedAgain => {
                let now = self.at(setup);
                let person = now.of_position(position).first().map_or("", |person| *person).to_owned();
                let to = setup.duty.people.get(&person).map_or_else(Vec::new, |one| one.reach.clone());
                let within = position.checks.map_or(Duration::ZERO, |checks| checks.within);
                let question = Question {
                    position: name.clone(),
                    alarm: alarm.id.clone(),
                    asked: self.now,
                    due: self.now + within,
                    person: person.clone(),
                    answered: None,
                };
                let step = Step {
                    level: Who::Position(name.clone()).to_string(),
                    person,
                    to,
                    ..Step::message(StepKind::Question, alarm, self.now)
                };
                out.effects.push(Effect::Step(Box::new(step)));
                out.effects.push(kept(Kept::Question { question: question.clone(), open: true }));
                self.questions.insert(name.clone(), question);
            }
            Happening::Acknowledged => {
                let Some(mut question) = open else { return };
                let by = alarm.acknowledged.as_ref().map_or_else(String::new, |said| said.by.clone());
                question.answered = Some((by, self.now));
                self.questions.remove(name);
                out.effects.push(kept(Kept::Question { question, open: false }));
                self.tell(out, QUESTION, name, false, String::new());
                // Somebody is there again.
                self.tell(out, MISSED, name, false, String::new());
            }
            Happening::Cleared
            | Happening::Reset
            | Happening::Realarmed
            | Happening::Worsened
            | Happening::SetAside
            | Happening::Resumed => {}
        }
    }

    fn look_at_console(&mut self, name: &str, position: &Position, setup: &Setup, out: &mut Out) {
        let Some(after) = position.console else { return };
        let now = self.at(setup);
        let user = |person: &&str| now.duty.people.get(*person).and_then(|one| one.user.as_ref());
        let users: Vec<&String> = now.of_position(position).iter().filter_map(user).collect();
        // Nobody is woken by a console that is silent.
        let silent = users.iter().any(|user| self.consoles.contains(*user));
        if users.iter().any(|user| self.loud.contains(*user)) {
            self.there_again(name, out);
            self.tell(out, CONSOLE, name, false, String::new());
            return;
        }
        let since = match self.missing.get(name) {
            Some(since) => *since,
            None => {
                let (position, since) = (name.to_owned(), self.now);
                self.missing.insert(position.clone(), since);
                out.effects.push(kept(Kept::Missing { position, since, open: true }));
                since
            }
        };
        if self.now >= since + after {
            let silent =
                if silent { "控制台已打开，声音未开启 / open, but its sound is off; since " } else { "" };
            self.tell(out, CONSOLE, name, true, format!("{silent}{since}"));
        }
    }

    fn there_again(&mut self, name: &str, out: &mut Out) {
        if let Some(since) = self.missing.remove(name) {
            out.effects.push(kept(Kept::Missing { position: name.to_owned(), since, open: false }));
        }
    }

    /// A condition begins or ends, once.
    fn tell(&mut self, out: &mut Out, rule: &str, subject: &str, holds: bool, detail: String) {
        let key = (rule.to_owned(), subject.to_owned());
        let changed = if holds { self.holding.insert(key) } else { self.holding.remove(&key) };
        if changed {
            out.conditions.push(condition(rule, subject, holds, self.now, detail));
        }
    }

    fn write(&self, told: Told, out: &mut Out) {
        out.effects.extend(told.steps.into_iter().map(|step| Effect::Step(Box::new(step))));
        for alarm in told.changed {
            let row = match self.escalation.run(&alarm) {
                Some(run) => Kept::Run(Box::new(run.clone())),
                None => Kept::RunOver(alarm),
            };
            out.effects.push(kept(row));
        }
    }

    /// What a person says about duty; refused ones change nothing.
    pub fn on_order(&mut self, order: &DutyOrder, out: &mut Out) {
        let done = match &*order.act {
            DutyAct::Leave { leave, weighed } => self.leave(leave, *weighed, out),
            DutyAct::LeaveEnded { id, by, at, reason } => self.leave_ended(id, by, *at, reason, out),
            DutyAct::HandedOver(handover) => self.handed_over(handover, out),
            DutyAct::Signs { handover, person } => self.signs(handover, person, out),
            DutyAct::Console { user, open, sound, .. } => {
                self.console(user, *open, *sound, out);
                Ok(String::new())
            }
            DutyAct::Shown(shown) => {
                out.effects.push(Effect::Shown(Box::new(shown.clone())));
                Ok(String::new())
            }
        };
        out.effects.push(Effect::Answered { command: order.command, answer: Answer::Duty(done) });
    }

    fn leave(&mut self, leave: &Leave, weighed: bool, out: &mut Out) -> Result<String, String> {
        let Some(setup) = self.setup.clone() else { return Err("no configuration is in force".into()) };
        for name in std::iter::once(&leave.person).chain(&leave.substitute) {
            if !setup.duty.people.contains_key(name) {
                return Err(format!("{name:?} is not a person of the configuration"));
            }
        }
        if leave.substitute.as_ref() == Some(&leave.person) {
            return Err(format!("{} cannot stand in for themselves", leave.person));
        }
        if leave.until <= leave.from {
            return Err("the leave ends before it begins".into());
        }
        if weighed {
            self.at(&setup).may_leave(leave)?;
        }
        self.said.leave.retain(|known| known.until > self.now && known.id != leave.id);
        self.said.leave.push(leave.clone());
        out.effects.push(Effect::Record(Record {
            action: "duty.leave".into(),
            subject: leave.person.clone(),
            reason: leave.reason.clone(),
            after: format!(
                "{} .. {}, {}",
                leave.from,
                leave.until,
                leave.substitute.as_deref().map_or("nobody stands in".to_owned(), |one| format!("{one} stands in"))
            ),
            ..Record::by(&leave.by, self.now)
        }));
        out.effects.push(kept(Kept::Leave { leave: leave.clone(), ended: false }));
        Ok(leave.id.clone())
    }

    fn leave_ended(
        &mut self,
        id: &str,
        by: &str,
        at: Timestamp,
        reason: &str,
        out: &mut Out,
    ) -> Result<String, String> {
        let place = self.said.leave.iter().position(|leave| leave.id == id);
        let Some(place) = place else { return Err(format!("there is no leave {id} in force")) };
        let leave = self.said.leave.remove(place);
        out.effects.push(Effect::Record(Record {
            action: "duty.back".into(),
            subject: leave.person.clone(),
            reason: reason.to_owned(),
            before: format!("{} .. {}", leave.from, leave.until),
            ..Record::by(by, at)
        }));
        out.effects.push(kept(Kept::Leave { leave, ended: true }));
        Ok(id.to_owned())
    }

    /// One of the two signs. The hand-over is done when the other one has signed the same list; a signature for
    /// another list, or by another pair, takes the place of the one that waits.
    fn signs(&mut self, handover: &Handover, person: &str, out: &mut Out) -> Result<String, String> {
        self.takes_over(handover)?;
        if handover.from == handover.to {
            return Err(format!("{} cannot hand over to themselves", handover.from));
        }
        if handover.list_hash.is_empty() {
            return Err("list_hash: sign the list of what is open, see /api/v1/handover".into());
        }
        if ![&handover.from, &handover.to].contains(&&person.to_owned()) {
            return Err(format!("{person} neither goes nor comes: {} or {} signs", handover.from, handover.to));
        }
        let signature = Signature { person: person.to_owned(), by: handover.by.clone(), at: handover.at };
        let pair = |one: &Handover| (one.from.clone(), one.to.clone(), one.list_hash.clone());
        let waiting = self.signing.get(&handover.roster).filter(|one| pair(one) == pair(handover)).cloned();
        let mut both = Handover { signed: Vec::new(), ..handover.clone() };
        if let Some(first) = waiting {
            both = Handover { id: first.id, signed: first.signed, ..both };
            both.signed.retain(|known| known.person != person);
        }
        both.signed.push(signature);
        if both.signed.len() == 2 {
            self.signing.remove(&handover.roster);
            out.effects.push(kept(Kept::SigningOver(handover.roster.clone())));
            return self.handed_over(&both, out);
        }
        out.effects.push(Effect::Record(Record {
            action: "duty.signed".into(),
            subject: handover.roster.clone(),
            reason: handover.comment.clone(),
            after: format!("{person} signs {} -> {}, list {}", handover.from, handover.to, handover.list_hash),
            ..Record::by(&handover.by, handover.at)
        }));
        let id = both.id.clone();
        out.effects.push(kept(Kept::Signing(both.clone())));
        self.signing.insert(handover.roster.clone(), both);
        Ok(id)
    }

    /// At the change of a shift a signature waits on; one for the change before it does not.
    fn forget_signing(&mut self, roster: &str, shift: Timestamp, out: &mut Out) {
        let old = |one: &Handover| one.at + EARLY < shift;
        if self.signing.get(roster).is_some_and(old) {
            self.signing.remove(roster);
            out.effects.push(kept(Kept::SigningOver(roster.to_owned())));
        }
    }

    /// The beginning of the shift that is taken over, if these two may hand it over now.
    fn takes_over(&self, handover: &Handover) -> Result<Timestamp, String> {
        let Some(setup) = self.setup.as_ref() else { return Err("no configuration is in force".into()) };
        let Some(roster) = setup.duty.rosters.get(&handover.roster) else {
            return Err(format!("there is no roster {:?}", handover.roster));
        };
        let zone = setup.calendar.zone;
        let shift = roster.shift(zone, self.now);
        let early = shift.until.since(self.now) <= EARLY;
        let (goes, comes) = if self.at(setup).unsigned(&handover.roster, roster).is_some() {
            (roster.before(zone, self.now), shift)
        } else if early {
            let next = roster.next(zone, self.now);
            (shift, next)
        } else {
            return Err(format!("no hand-over of {} is due: the shift ends at {}", handover.roster, shift.until));
        };
        let now = self.at(setup);
        let is_of = |crew: &[String], person: &str| {
            let names = crew.iter().filter_map(|one| now.stands_in(one));
            names.chain(roster.substitutes.iter().map(String::as_str)).any(|one| one == person)
        };
        if !is_of(goes.crew, &handover.from) {
            return Err(format!("{} is not of the shift that goes: {}", handover.from, goes.crew.join(", ")));
        }
        if !is_of(comes.crew, &handover.to) {
            return Err(format!("{} is not of the shift that comes: {}", handover.to, comes.crew.join(", ")));
        }
        Ok(comes.from)
    }

    fn handed_over(&mut self, handover: &Handover, out: &mut Out) -> Result<String, String> {
        let begins = self.takes_over(handover)?;
        self.sign(&handover.roster, begins, out);
        let signed: Vec<&str> = handover.signed.iter().map(|one| one.person.as_str()).collect();
        out.effects.push(Effect::Record(Record {
            action: "duty.handover".into(),
            subject: handover.roster.clone(),
            reason: handover.comment.clone(),
            before: handover.from.clone(),
            after: format!("{}, list {}, signed {}", handover.to, handover.list_hash, signed.join(", ")),
            ..Record::by(&handover.by, handover.at)
        }));
        out.effects.push(kept(Kept::Handover(handover.clone())));
        self.tell(out, UNSIGNED, &handover.roster, false, String::new());
        Ok(handover.id.clone())
    }

    fn console(&mut self, user: &str, open: bool, sound: bool, out: &mut Out) {
        if user.is_empty() {
            self.loud.clear();
            for user in std::mem::take(&mut self.consoles) {
                out.effects.push(kept(Kept::Console { user, open: false, sound: false }));
            }
            return;
        }
        let turn = |list: &mut BTreeSet<String>, on: bool| {
            if on { list.insert(user.to_owned()) } else { list.remove(user) }
        };
        let opened = turn(&mut self.consoles, open);
        if turn(&mut self.loud, open && sound) || opened {
            out.effects.push(kept(Kept::Console { user: user.to_owned(), open, sound: open && sound }));
        }
    }
}

fn kept(kept: Kept) -> Effect {
    Effect::Kept(Box::new(kept))
}

/// The span over which the questions are spread: the shift of the position's roster, or the local day.
fn span(position: &Position, setup: &Setup, at: Timestamp) -> (Timestamp, Timestamp) {
    let zone = setup.calendar.zone;
    let name = position.who.iter().find_map(|who| if let Who::Roster(name) = who { Some(name) } else { None });
    if let Some(roster) = name.and_then(|name| setup.duty.rosters.get(name)) {
        let shift = roster.shift(zone, at);
        return (shift.from, shift.until);
    }
    let from = setup.calendar.day(at) * DAY - i64::from(zone.0) * 1_000_000;
    (Timestamp::from_micros(from), Timestamp::from_micros(from + DAY))
}

/// The n-th question lies somewhere in the n-th part of the span, and leaves time for the answer. Drawn from the
/// seed and the date: nobody knows it beforehand, and a replay asks at the same moment.
#[must_use]
pub fn question_time(
    seed: &str,
    position: &str,
    from: Timestamp,
    until: Timestamp,
    n: u32,
    checks: crate::model::PresenceChecks,
) -> Timestamp {
    let mut hash = Sha256::new();
    for part in [seed.as_bytes(), position.as_bytes()] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.update(from.micros().to_le_bytes());
    hash.update(n.to_le_bytes());
    let digest = hash.finalize();
    let drawn = digest[..8].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let part = until.since(from) / checks.in_a_shift.max(1);
    let room = part.saturating_sub(checks.within).max(Duration::from_secs(1));
    let micros = u64::try_from(room.as_micros()).unwrap_or(u64::MAX).max(1);
    from + part * n + Duration::from_micros(drawn % micros)
}

fn condition(rule: &str, subject: &str, holds: bool, at: Timestamp, detail: String) -> Condition {
    let (title, advice, priority, level) = match rule {
        QUESTION => (
            format!("查岗 / presence check: {subject}"),
            "请在岗人员立即确认 / whoever is on duty acknowledges this now",
            Priority::P4,
            Level::Blue,
        ),
        MISSED => (
            format!("查岗无应答 / presence check not answered: {subject}"),
            "立即电话联系该岗位，派人到岗 / call the position by telephone; send somebody",
            Priority::P2,
            Level::Orange,
        ),
        HANDOVER => (
            format!("交接班 / shift change: {subject}"),
            "交接双方逐项核对后签字 / both shifts go through the list, then sign",
            Priority::P4,
            Level::Blue,
        ),
        NOBODY => (
            format!(
                "报警无人可叫，已通知所有人 / nobody is there to be called for alarms, everybody was told: {subject}"
            ),
            "立即电话通知现场；为该站点补齐岗位与值班 / telephone the site at once; then give it a position and a roster",
            Priority::P1,
            Level::Orange,
        ),
        DAILY => (
            format!("P4 报警日清单 / daily list of P4 alarms: {subject}"),
            "逐项督促站点处理：电池、标校、检修 / see that the sites deal with each: battery, calibration, repair",
            Priority::P4,
            Level::Blue,
        ),
        CONSOLE => (
            format!("值守岗位监控终端未打开 / no console is open at a staffed position: {subject}"),
            "电话联系该岗位，恢复监控终端 / call the position; have the console opened",
            Priority::P2,
            Level::Orange,
        ),
        _ => (
            format!("交接班未签字 / hand-over not signed: {subject}"),
            "交班人员核对未结事项并签字 / the outgoing shift goes through what is open and signs",
            Priority::P3,
            Level::Yellow,
        ),
    };
    Condition {
        at,
        rule: rule.into(),
        subject: subject.into(),
        holds,
        title,
        advice: advice.into(),
        priority,
        level,
        detail,
    }
}

#[cfg(test)]
mod tests;
