//! Calling: from an alarm that nobody has acknowledged to somebody who answers.
//!
//! ```text
//!  raised ─► Run: a line for each step of the policy, each with its clock
//!              call ── unanswered twice ──► next on the list ── nobody left ──► siren, and the level above at once
//!              copy ── told once, whatever else happens
//!  acknowledged: the site is called no more; county and above until somebody has spoken with the site (叫应)
//!  everybody called in vain: the whole begins anew      over and acknowledged: the end
//!  nobody there on any line: everybody whom messages reach is told, each round; somebody comes: called at once
//! ```
//! In come changes of alarms, answers and ticks; out go [`Step`]s, each a record and what its recipients are told.
//! A call that rang in vain (nobody picked up, or the line was busy) need not wait for its clock: where the policy says
//! `no_answer`, the next call is made so long after it. Every clock is in the index by its due time, so a tick costs what is due and nothing else. After a down time
//! what became due is done at once, once, in the order in which it was due.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::people::{Now, Place, is_exercise};
use super::step::{Step, StepKind};
use crate::alarm::{Alarm, OccurrenceId, Priority, Standing};
use crate::journal::Rang;
use crate::model::{After, Kind, PolicyStep, Reason, Tier, Timestamp, Who};

/// The alarm that alarms of a site find nobody who could be called.
pub const NOBODY: &str = "davy-nobody-called";
/// Steps due later than this were missed while Davy was not running; whoever is called then has the full time.
const DOWN_TIME: Duration = Duration::from_secs(10);
/// Shanxi's top grade of methane excess: told to city and province at once (domain 2.4, 3.5).
const TOP_METHANE: f64 = 3.0;
/// Where a roster says nothing of a shift's end.
const SHIFT: Duration = Duration::from_secs(8 * 3_600);

/// One step of the policy with its clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    step: PolicyStep,
    /// None: done, or given up.
    due: Option<Timestamp>,
    /// Calls by person, in this round.
    calls: Vec<(String, u32)>,
    /// Everybody on its list was called in vain.
    exhausted: bool,
}

impl Line {
    fn tier(&self) -> Option<Tier> {
        match &self.step.who {
            Who::Tier(tier) => Some(*tier),
            Who::Position(_) | Who::Person(_) | Who::Team(_) | Who::Roster(_) => None,
        }
    }

    /// From the beginning, with its time counted from then.
    fn begin(&mut self, at: Timestamp) {
        let after = match self.step.after {
            After::Time(after) => after,
            After::ShiftEnd => Duration::ZERO,
        };
        self.calls.clear();
        self.exhausted = false;
        self.due = Some(at + after);
    }

    /// Its calls end with the acknowledgement.
    fn on_site(&self) -> bool {
        self.tier().is_none_or(Tier::on_site)
    }
}

/// The calling about one alarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub alarm: OccurrenceId,
    pub priority: Priority,
    pub place: Place,
    pub kind: Option<Kind>,
    pub exercise: bool,
    pub policy: String,
    /// When the site's clocks began, by Davy's clock.
    pub began: Timestamp,
    pub acknowledged: bool,
    pub answered: bool,
    pub answer_due: Option<Timestamp>,
    /// Between two reminders that nobody has spoken with the site.
    answer: Option<Duration>,
    every: Duration,
    most_calls: u32,
    again: Duration,
    /// From a call that rang in vain to the next one; None: as the clock says.
    #[serde(default)]
    no_answer: Option<Duration>,
    lines: Vec<Line>,
    /// Persons who know of it, to be told of its end.
    pub told: BTreeSet<String>,
    pub steps: u32,
    /// Nobody is there to be called on any of its lines.
    #[serde(default)]
    pub alone: bool,
    /// It is the alarm that says so of others.
    #[serde(default)]
    pub says_so: bool,
    top_copied: bool,
    /// Methane of the top grade, and nobody above was there to be told: tried again until somebody is.
    #[serde(default)]
    top_owed: bool,
    siren: bool,
}

impl Run {
    /// The next clock that runs out.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        self.lines.iter().filter_map(|line| line.due).chain(self.answer_due).min()
    }

    /// Who is called next and when, for people who look: due, whom, is it a copy.
    pub fn clocks(&self) -> impl Iterator<Item = (Timestamp, String, bool)> {
        self.lines.iter().filter_map(|line| Some((line.due?, line.step.who.to_string(), line.step.copy)))
    }
}

/// What an alarm's escalation begins with.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    pub alarm: &'a Alarm,
    pub kind: Option<Kind>,
    pub place: &'a Place,
    /// Levels below are not called: the alarm is about somebody who does not answer.
    pub from: Option<Tier>,
    /// It was open before there was anybody to call: all clocks begin now, those of the county too.
    pub late: bool,
    /// It came back, became worse or is no longer set aside: what was said of it before is about something else.
    pub anew: bool,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Escalation {
    runs: BTreeMap<OccurrenceId, Run>,
    due: BTreeSet<(Timestamp, OccurrenceId)>,
}

/// Where steps go, and the runs that changed.
#[derive(Debug, Default)]
pub struct Told {
    pub steps: Vec<Step>,
    /// To be written down as they stand now; None: over.
    pub changed: BTreeSet<OccurrenceId>,
}

impl Escalation {
    /// As facts remember it.
    #[must_use]
    pub fn of(runs: impl IntoIterator<Item = Run>) -> Self {
        let mut escalation = Self::default();
        for run in runs {
            if let Some(due) = run.due() {
                escalation.due.insert((due, run.alarm.clone()));
            }
            escalation.runs.insert(run.alarm.clone(), run);
        }
        escalation
    }

    #[must_use]
    pub fn run(&self, alarm: &OccurrenceId) -> Option<&Run> {
        self.runs.get(alarm)
    }

    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.values()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The alarm as it stands after a change.
    pub fn on_alarm(&mut self, about: About<'_>, now: Now<'_>, told: &mut Told) {
        let alarm = about.alarm;
        let heard = alarm.standing != Standing::Suppressed;
        if let Some(run) = self.runs.get_mut(&alarm.id).filter(|run| run.alone && heard) {
            // Those who heard of it hear what has become of it.
            let step = run.step(StepKind::Everybody, now.at, now.at);
            told.steps.push(step);
            told.changed.insert(alarm.id.clone());
        }
        match self.runs.get(&alarm.id) {
            None if alarm.standing.waits() => self.begin(about, now, told),
            None => {}
            // A level up is news of its own: it is called for by the policy of what it is now.
            Some(run) if alarm.standing.waits() && (run.acknowledged || alarm.priority < run.priority) => {
                let (steps, known) = (run.steps, run.told.clone());
                self.remove(&alarm.id);
                self.begin_from(about, now, (steps, known), told);
            }
            Some(run) if alarm.standing == Standing::Unacknowledged && about.anew && run.answered => {
                self.speak_again(&alarm.id, now, told);
            }
            Some(_) if alarm.standing == Standing::Unacknowledged => {}
            // Over, and nobody has said that they saw it: whoever was called hears so, and the calls go on.
            Some(_) if alarm.standing.waits() => self.news(&alarm.id, now, told),
            // Over, or set aside: nobody is called any more.
            Some(_) if alarm.standing == Standing::Normal || alarm.standing.aside().is_some() => {
                self.news(&alarm.id, now, told);
                self.remove(&alarm.id);
                told.changed.insert(alarm.id.clone());
            }
            Some(_) => self.acknowledged(&alarm.id, now, told),
        }
    }

    /// Somebody has spoken with the site (叫应): county and above need not call any more.
    pub fn answered(&mut self, alarm: &OccurrenceId, by: &str, now: Now<'_>, told: &mut Told) {
        let Some(mut run) = self.remove(alarm) else { return };
        if !run.answered {
            run.answered = true;
            run.answer_due = None;
            for line in run.lines.iter_mut().filter(|line| !line.on_site() && !line.step.copy) {
                line.due = None;
            }
            let step = run.step(StepKind::Answered, now.at, now.at);
            told.steps.push(Step { person: by.to_owned(), ..step });
        }
        self.put(run, now, told);
    }

    /// Nobody picked up: the next call is made earlier than by the clock, if the policy says so. What is not the newest
    /// call to the person changes nothing.
    pub fn rang(&mut self, rang: &Rang, now: Now<'_>, told: &mut Told) {
        let newest =
            |line: &Line| line.calls.last().is_some_and(|(name, made)| (name, *made) == (&rang.person, rang.call));
        let waits = |line: &Line| line.step.who.to_string() == rang.level && newest(line);
        let concerned = self.runs.get(&rang.alarm).filter(|run| run.no_answer.is_some() && run.lines.iter().any(waits));
        if concerned.is_none() {
            return;
        }
        let Some(mut run) = self.remove(&rang.alarm) else { return };
        let next = now.at + run.no_answer.unwrap_or_default();
        for line in run.lines.iter_mut().filter(|line| waits(line)) {
            line.due = line.due.map(|due| due.min(next));
        }
        run.pass(now, told);
        self.put(run, now, told);
    }

    /// Somebody spoke with the site about what was then: the levels above hear of it anew, and are called for it from
    /// now on. The calls to the site have gone on all the time.
    fn speak_again(&mut self, alarm: &OccurrenceId, now: Now<'_>, told: &mut Told) {
        let Some(mut run) = self.remove(alarm) else { return };
        run.answered = false;
        run.answer_due = run.answer.map(|answer| now.at + answer);
        for line in run.lines.iter_mut().filter(|line| !line.on_site()) {
            line.begin(now.at);
        }
        run.pass(now, told);
        self.put(run, now, told);
    }

    fn acknowledged(&mut self, alarm: &OccurrenceId, now: Now<'_>, told: &mut Told) {
        let Some(mut run) = self.remove(alarm) else { return };
        if !run.acknowledged {
            run.acknowledged = true;
            let ends = run.answer.is_none();
            for line in run.lines.iter_mut().filter(|line| !line.step.copy && (ends || line.on_site())) {
                line.due = None;
            }
        }
        self.put(run, now, told);
        self.news(alarm, now, told);
    }

    fn begin(&mut self, about: About<'_>, now: Now<'_>, told: &mut Told) {
        self.begin_from(about, now, (0, BTreeSet::new()), told);
    }

    fn begin_from(&mut self, about: About<'_>, now: Now<'_>, known: (u32, BTreeSet<String>), told: &mut Told) {
        let alarm = about.alarm;
        let began = alarm.received.max(now.at);
        let (name, policy) = Now { at: began, ..now }.policy(alarm, about.kind, about.place);
        // County and above count from the event: a slow link to a site takes nothing from their time.
        let event = if about.late || alarm.quality.has(Reason::ClockWrong) { began } else { alarm.raised.min(began) };
        let exercise = is_exercise(alarm.quality);
        let mut lines: Vec<Line> = Vec::new();
        for step in policy.steps {
            let tier = match &step.who {
                Who::Tier(tier) => Some(*tier),
                Who::Position(_) | Who::Person(_) | Who::Team(_) | Who::Roster(_) => None,
            };
            if about.from.is_some_and(|from| tier.is_some_and(|tier| tier < from)) {
                continue;
            }
            let base = if tier.is_some_and(|tier| !tier.on_site()) { event } else { began };
            let due = match step.after {
                After::Time(after) => base + after,
                After::ShiftEnd => shift_end(now, about.place, &step.who, began),
            };
            lines.push(Line { step, due: Some(due), calls: Vec::new(), exhausted: false });
        }
        let urgent = matches!(alarm.priority, Priority::P1 | Priority::P2) && !exercise;
        let copied = |line: &Line| line.step.copy && line.tier() == Some(Tier::County);
        if urgent && !lines.iter().any(copied) {
            // No policy can withhold it.
            let after = After::Time(Duration::ZERO);
            let step = PolicyStep { after, who: Who::Tier(Tier::County), copy: true, by: Vec::new() };
            lines.push(Line { step, due: Some(began), calls: Vec::new(), exhausted: false });
        }
        if let Some(from) = about.from {
            // Whoever is above is called at once, and those above them after the time between the two.
            ensure(&mut lines, from, began);
        }
        let mut run = Run {
            alarm: alarm.id.clone(),
            priority: alarm.priority,
            place: about.place.clone(),
            kind: about.kind,
            exercise,
            policy: name,
            began,
            acknowledged: false,
            answered: false,
            answer_due: policy.answer.map(|answer| began + answer),
            answer: policy.answer,
            every: policy.every,
            most_calls: policy.calls.max(1),
            again: policy.again,
            no_answer: policy.no_answer,
            lines,
            told: known.1,
            steps: known.0,
            alone: false,
            says_so: &*alarm.rule == NOBODY,
            top_copied: false,
            top_owed: false,
            siren: false,
        };
        if let Some(value) = alarm.worst.or(alarm.value) {
            run.on_value(value, &alarm.unit, now, told);
        }
        run.pass(now, told);
        self.put(run, now, told);
    }

    /// A new value of a point with an open alarm.
    pub fn on_value(&mut self, alarm: &OccurrenceId, value: f64, unit: &str, now: Now<'_>, told: &mut Told) {
        let tops = |run: &Run| run.kind == Some(Kind::Methane) && !run.top_known() && value >= TOP_METHANE;
        if !self.runs.get(alarm).is_some_and(tops) {
            return;
        }
        let Some(mut run) = self.remove(alarm) else { return };
        run.on_value(value, unit, now, told);
        self.put(run, now, told);
    }

    /// Everything that is due.
    pub fn pass(&mut self, now: Now<'_>, told: &mut Told) {
        while let Some((due, alarm)) = self.due.first().filter(|(due, _)| *due <= now.at).cloned() {
            let Some(mut run) = self.remove(&alarm) else {
                self.due.remove(&(due, alarm));
                continue;
            };
            run.pass_one(now, told);
            self.put(run, now, told);
        }
        self.look_again(now, told);
    }

    /// Somebody may have come on duty for what found nobody.
    fn look_again(&mut self, now: Now<'_>, told: &mut Told) {
        let top = |run: &Run| run.top_owed && !run.top_persons(now).is_empty();
        let found = self.runs.values().filter(|run| top(run) || (run.alone && run.anybody(now)));
        for alarm in found.map(|run| run.alarm.clone()).collect::<Vec<_>>() {
            let Some(mut run) = self.remove(&alarm) else { continue };
            if top(&run) {
                run.copy_top(now, told);
            }
            self.put(run, now, told);
        }
    }

    /// The wall clock was set back: what waits goes on waiting for as long as it would have.
    pub fn set_back(&mut self, by: Duration, told: &mut Told) {
        told.changed.extend(self.runs.keys().cloned());
        self.due.clear();
        for run in self.runs.values_mut() {
            run.began = run.began - by;
            run.answer_due = run.answer_due.map(|due| due - by);
            for line in &mut run.lines {
                line.due = line.due.map(|due| due - by);
            }
            self.due.extend(run.due().map(|due| (due, run.alarm.clone())));
        }
    }

    /// The alarm is over, and its end was not seen here.
    pub fn end(&mut self, alarm: &OccurrenceId, told: &mut Told) {
        if self.remove(alarm).is_some() {
            told.changed.insert(alarm.clone());
        }
    }

    /// Nobody is configured any more.
    pub fn end_all(&mut self, told: &mut Told) {
        told.changed.extend(self.runs.keys().cloned());
        *self = Self::default();
    }

    fn remove(&mut self, alarm: &OccurrenceId) -> Option<Run> {
        let run = self.runs.remove(alarm)?;
        if let Some(due) = run.due() {
            self.due.remove(&(due, alarm.clone()));
        }
        Some(run)
    }

    fn put(&mut self, mut run: Run, now: Now<'_>, told: &mut Told) {
        run.look_around(now, told);
        if let Some(due) = run.due() {
            self.due.insert((due, run.alarm.clone()));
        }
        told.changed.insert(run.alarm.clone());
        self.runs.insert(run.alarm.clone(), run);
    }

    /// Those who were called hear what has become of it.
    fn news(&mut self, alarm: &OccurrenceId, now: Now<'_>, told: &mut Told) {
        let Some(run) = self.runs.get_mut(alarm) else { return };
        let ways = run.told.iter().filter_map(|name| now.duty.people.get(name)).flat_map(|one| one.reach.clone());
        let to: BTreeSet<String> = ways.collect();
        if !to.is_empty() {
            let step = run.step(StepKind::News, now.at, now.at);
            told.steps.push(Step { to: to.into_iter().collect(), ..step });
            told.changed.insert(alarm.clone());
        }
    }
}

/// At the end of the shift of the first roster behind it.
fn shift_end(now: Now<'_>, place: &Place, who: &Who, at: Timestamp) -> Timestamp {
    let roster = match who {
        Who::Tier(tier) => {
            let mut behind = now.positions(*tier, place).into_iter().flat_map(|(_, position)| &position.who);
            behind.find_map(|who| if let Who::Roster(name) = who { Some(name) } else { None })
        }
        Who::Position(name) => {
            let mut behind = now.duty.positions.get(name).into_iter().flat_map(|position| &position.who);
            behind.find_map(|who| if let Who::Roster(name) = who { Some(name) } else { None })
        }
        Who::Roster(name) => Some(name),
        Who::Person(_) | Who::Team(_) => None,
    };
    let roster = roster.and_then(|name| now.duty.rosters.get(name));
    roster.map_or(at + SHIFT, |roster| roster.shift(now.zone, at).until)
}

/// The level is called at once; what was to come after it comes as much earlier as it does.
fn ensure(lines: &mut Vec<Line>, from: Tier, at: Timestamp) {
    let calls = |line: &Line, tier: Tier| !line.step.copy && line.tier() == Some(tier);
    let planned = lines.iter().find(|line| calls(line, from)).and_then(|line| line.due);
    match planned {
        Some(due) => {
            let earlier = due.since(at);
            for line in lines.iter_mut().filter(|line| !line.step.copy) {
                line.due = line.due.map(|due| (due - earlier).max(at));
            }
        }
        None => {
            let after = After::Time(Duration::ZERO);
            let step = PolicyStep { after, who: Who::Tier(from), copy: false, by: Vec::new() };
            lines.insert(0, Line { step, due: Some(at), calls: Vec::new(), exhausted: false });
        }
    }
}

impl Run {
    fn step(&mut self, kind: StepKind, due: Timestamp, at: Timestamp) -> Step {
        self.steps += 1;
        Step {
            alarm: self.alarm.clone(),
            number: self.steps,
            kind,
            due,
            at,
            policy: self.policy.clone(),
            level: String::new(),
            person: String::new(),
            call: 0,
            to: Vec::new(),
            list: None,
            alarms: Vec::new(),
            count: 0,
        }
    }

    /// Told to one person.
    fn tell(&mut self, kind: StepKind, who: &Who, person: &str, by: &[String], due: Timestamp, now: Now<'_>) -> Step {
        let fits = |way: &String| {
            by.is_empty() || by.iter().any(|wanted| wanted == way || way.split('.').next() == Some(wanted))
        };
        let reach = now.duty.people.get(person).map_or(&[][..], |one| one.reach.as_slice());
        let to: Vec<String> = reach.iter().filter(|way| fits(way)).cloned().collect();
        // Better by another way than not at all.
        let to = if to.is_empty() { reach.to_vec() } else { to };
        self.told.insert(person.to_owned());
        Step { level: who.to_string(), person: person.to_owned(), to, ..self.step(kind, due, now.at) }
    }

    /// Is anybody there on a line that calls?
    fn anybody(&self, now: Now<'_>) -> bool {
        let mut calls = self.lines.iter().filter(|line| !line.step.copy);
        calls.any(|line| !now.persons(&line.step.who, &self.place).is_empty())
    }

    /// Where nobody is there at all, everybody is told; as soon as somebody is, the calls begin.
    fn look_around(&mut self, now: Now<'_>, told: &mut Told) {
        let calls = !self.acknowledged && !self.exercise && self.priority <= Priority::P3;
        let alone = calls && !self.anybody(now);
        let before = std::mem::replace(&mut self.alone, alone);
        if alone && !before {
            let step = self.step(StepKind::Everybody, now.at, now.at);
            told.steps.push(step);
        }
        if before && !alone && calls {
            let answered = self.answered;
            self.lines.iter_mut().filter(|line| line.on_site() || !answered).for_each(|line| line.begin(now.at));
            self.pass(now, told);
        }
    }

    /// All lines that are due.
    fn pass(&mut self, now: Now<'_>, told: &mut Told) {
        while self.due().is_some_and(|due| due <= now.at) {
            self.pass_one(now, told);
        }
    }

    /// The line that is due first.
    fn pass_one(&mut self, now: Now<'_>, told: &mut Told) {
        let first = self.lines.iter().enumerate().filter_map(|(place, line)| Some((line.due?, place))).min();
        match (first, self.answer_due) {
            (Some((due, place)), answer) if answer.is_none_or(|answer| due <= answer) => {
                if self.lines[place].step.copy {
                    self.copy(place, due, now, told);
                } else {
                    self.call(place, due, now, told);
                }
            }
            (_, Some(answer)) => self.nobody_has_spoken(answer, now, told),
            (_, None) => {}
        }
    }

    fn copy(&mut self, place: usize, due: Timestamp, now: Now<'_>, told: &mut Told) {
        let PolicyStep { who, by, .. } = self.lines[place].step.clone();
        self.lines[place].due = None;
        let found = self.reachable(&who, now);
        match found.and_then(|(who, persons)| Some((who, persons.into_iter().next()?))) {
            Some((who, person)) => told.steps.push(self.tell(StepKind::Copy, &who, person, &by, due, now)),
            None => {
                let step = self.step(StepKind::NobodyLeft, due, now.at);
                told.steps.push(Step { level: who.to_string(), ..step });
            }
        }
    }

    /// Whoever is meant; where a level has nobody, the next one above that has.
    fn reachable<'a>(&self, who: &Who, now: Now<'a>) -> Option<(Who, Vec<&'a str>)> {
        let mut who = who.clone();
        loop {
            let persons = now.persons(&who, &self.place);
            if !persons.is_empty() {
                return Some((who, persons));
            }
            match who {
                Who::Tier(tier) => who = Who::Tier(tier.above()?),
                Who::Position(_) | Who::Person(_) | Who::Team(_) | Who::Roster(_) => return None,
            }
        }
    }

    fn call(&mut self, place: usize, due: Timestamp, now: Now<'_>, told: &mut Told) {
        let PolicyStep { who, by, .. } = self.lines[place].step.clone();
        let persons = now.persons(&who, &self.place);
        let most = self.most_calls;
        let made =
            |line: &Line, person: &str| line.calls.iter().find(|(name, _)| name == person).map_or(0, |one| one.1);
        let next = persons.into_iter().find(|person| made(&self.lines[place], person) < most);
        let Some(person) = next else { return self.nobody_left(place, due, now, told) };
        let call = made(&self.lines[place], person) + 1;
        let line = &mut self.lines[place];
        line.calls.retain(|(name, _)| name != person);
        line.calls.push((person.to_owned(), call));
        let late = now.at.since(due) > DOWN_TIME;
        line.due = Some(if late { now.at } else { due } + self.every);
        let step = self.tell(StepKind::Call, &who, person, &by, due, now);
        told.steps.push(Step { call, ..step });
    }

    /// The siren, and the level above at once; above nobody it begins anew.
    fn nobody_left(&mut self, place: usize, due: Timestamp, now: Now<'_>, told: &mut Told) {
        let line = &mut self.lines[place];
        (line.due, line.exhausted) = (None, true);
        let (level, called) = (line.step.who.to_string(), !line.calls.is_empty());
        let step = self.step(StepKind::NobodyLeft, due, now.at);
        told.steps.push(Step { level, ..step });
        if called && !self.siren && !self.acknowledged {
            self.siren = true;
            let step = self.step(StepKind::Siren, due, now.at);
            told.steps.push(step);
        }
        let waits = |line: &Line| !line.step.copy && !line.exhausted && line.calls.is_empty() && line.due.is_some();
        let tier = self.lines[place].tier();
        let above = |line: &Line| waits(line) && tier.is_none_or(|tier| line.tier().is_none_or(|other| other > tier));
        let places = (0..self.lines.len()).filter(|at| above(&self.lines[*at]));
        if let Some(next) = places.min_by_key(|at| (self.lines[*at].due, *at)) {
            self.lines[next].due = self.lines[next].due.map(|planned| planned.min(now.at.max(due)));
            return;
        }
        let left = self.lines.iter().any(|line| !line.step.copy && line.due.is_some());
        if !left {
            self.begin_anew(now.at);
            // Of the first round everybody has heard.
            if self.alone && now.at.since(self.began) >= self.again {
                let step = self.step(StepKind::Everybody, due, now.at);
                told.steps.push(step);
            }
        }
    }

    /// Nobody has answered at all: once more from the beginning, as far as the acknowledgement allows.
    fn begin_anew(&mut self, at: Timestamp) {
        self.siren = false;
        let (acknowledged, answered, again) = (self.acknowledged, self.answered, self.again);
        for line in self.lines.iter_mut().filter(|line| !line.step.copy) {
            let over = if line.on_site() { acknowledged } else { answered };
            if !over {
                line.begin(at + again);
            }
        }
    }

    /// The time for speaking with the site has passed: county duty is told, again and again.
    fn nobody_has_spoken(&mut self, due: Timestamp, now: Now<'_>, told: &mut Told) {
        let Some(answer) = self.answer else {
            self.answer_due = None;
            return;
        };
        let late = now.at.since(due) > DOWN_TIME;
        self.answer_due = Some(if late { now.at } else { due } + answer);
        let found = self.reachable(&Who::Tier(Tier::County), now).or_else(|| {
            let persons = now.persons(&Who::Tier(Tier::Leader), &self.place);
            (!persons.is_empty()).then_some((Who::Tier(Tier::Leader), persons))
        });
        match found.and_then(|(who, persons)| Some((who, persons.into_iter().next()?))) {
            Some((who, person)) => told.steps.push(self.tell(StepKind::Unanswered, &who, person, &[], due, now)),
            None => {
                let step = self.step(StepKind::Unanswered, due, now.at);
                told.steps.push(step);
            }
        }
    }

    /// Methane of the top grade is the business of city and province at once, whatever the policy says.
    fn on_value(&mut self, value: f64, unit: &str, now: Now<'_>, told: &mut Told) {
        let tops = self.kind == Some(Kind::Methane) && unit == "%VOL" && value >= TOP_METHANE;
        if !tops || self.top_known() || self.exercise {
            return;
        }
        self.copy_top(now, told);
        if self.top_owed {
            let step = self.step(StepKind::NobodyLeft, now.at, now.at);
            told.steps.push(Step { level: Tier::City.word().into(), ..step });
        }
    }

    /// Told above, or on the way there.
    const fn top_known(&self) -> bool {
        self.top_copied || self.top_owed
    }

    /// The first of the city and of the province, or of whoever is above them.
    fn top_persons<'a>(&self, now: Now<'a>) -> Vec<(Who, &'a str)> {
        let mut list: Vec<(Who, &'a str)> = Vec::new();
        for tier in [Tier::City, Tier::Province] {
            let found = self.reachable(&Who::Tier(tier), now);
            let first = found.and_then(|(who, persons)| Some((who, persons.into_iter().next()?)));
            list.extend(first.filter(|(_, person)| list.iter().all(|(_, known)| known != person)));
        }
        list
    }

    fn copy_top(&mut self, now: Now<'_>, told: &mut Told) {
        let persons = self.top_persons(now);
        (self.top_copied, self.top_owed) = (!persons.is_empty(), persons.is_empty());
        for (who, person) in persons {
            told.steps.push(self.tell(StepKind::Copy, &who, person, &[], now.at, now));
        }
    }
}

#[cfg(test)]
mod tests;
