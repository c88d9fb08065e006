//! Alarms that are set aside, and alarms that call again: orders and clocks in, moves of the alarms out.
//!
//! Which alarms are set aside, why and until when is kept here by rule and subject, beside the alarms: an alarm
//! that is not set aside costs nothing, and one can be set aside before it is raised. The condition goes on being
//! judged. An end that is due comes with the first tick at or after it, by Davy's clock. What a rule says of
//! being suppressed (`suppressed_when`) is looked up when a site's state, a permit or the rules change.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Effect;
use super::parent::DOWN;
use super::shard::Shard;
use super::{Slot, open::Moment};
use crate::alarm::{
    Alarm, Aside, AsideEnd, AsideFact, AsideOrder, Happening, Input, Level, Policy, Priority, RuleId, State, Way,
    is_own, own_shelvable,
};
use crate::facts::{Answer, AsideRefusal};
use crate::journal::{AsideNote, Condition};
use crate::model::{PermitKind, Record, SiteState, Timestamp};
use crate::response::storm::SHELF;
use crate::rule::Design;

/// Somebody is reminded so often of what is out of service.
const REMIND: Duration = Duration::from_secs(86_400);
/// Most that are set aside at once; more is no shelf any longer.
pub(super) const MOST: usize = 100_000;
const OUT: &str = "davy-out-of-service";

type Target = (RuleId, String);

/// What is set aside, and what is due when.
#[derive(Clone, Debug, Default)]
pub(super) struct Asides {
    by_id: BTreeMap<String, Aside>,
    by_target: BTreeMap<Target, BTreeSet<String>>,
    ends: BTreeSet<(Timestamp, String)>,
    reminders: BTreeSet<(Timestamp, String)>,
    /// When an alarm may call again: point and place among its rules. One that has changed since is asked in vain.
    calls: BTreeSet<(Timestamp, usize, usize)>,
}

impl Asides {
    pub fn of(list: Vec<Aside>, now: Timestamp) -> Self {
        let mut asides = Self::default();
        list.into_iter().for_each(|aside| asides.insert(aside, now));
        asides
    }

    pub fn list(&self) -> Vec<Aside> {
        self.by_id.values().cloned().collect()
    }

    fn insert(&mut self, aside: Aside, now: Timestamp) {
        self.ends.extend(aside.until.map(|until| (until, aside.id.clone())));
        if aside.way == Way::OutOfService {
            self.reminders.insert((next_reminder(aside.from, now), aside.id.clone()));
        }
        self.by_target.entry(aside.target()).or_default().insert(aside.id.clone());
        self.by_id.insert(aside.id.clone(), aside);
    }

    fn remove(&mut self, id: &str) -> Option<Aside> {
        let aside = self.by_id.remove(id)?;
        if let Some(until) = aside.until {
            self.ends.remove(&(until, id.to_owned()));
        }
        if aside.way == Way::OutOfService {
            self.reminders.retain(|(_, other)| other != id);
        }
        if let Some(ids) = self.by_target.get_mut(&aside.target()) {
            ids.remove(id);
            if ids.is_empty() {
                self.by_target.remove(&aside.target());
            }
        }
        Some(aside)
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn get(&self, id: &str) -> Option<&Aside> {
        self.by_id.get(id)
    }

    /// Those whose ids begin like that, and what they are about.
    pub fn of_kind(&self, prefix: &str) -> Vec<(String, Target)> {
        let from = self.by_id.range(prefix.to_owned()..);
        let these = from.take_while(|(id, _)| id.starts_with(prefix));
        these.map(|(id, aside)| (id.clone(), aside.target())).collect()
    }

    /// It ends then, or with its cause; the order as it stands from now on.
    pub fn set_end(&mut self, id: &str, until: Option<Timestamp>) -> Option<Aside> {
        let aside = self.by_id.get_mut(id)?;
        if let Some(old) = std::mem::replace(&mut aside.until, until) {
            self.ends.remove(&(old, id.to_owned()));
        }
        self.ends.extend(until.map(|until| (until, id.to_owned())));
        Some(aside.clone())
    }

    /// Everything ends as much sooner as the clock was set back; those that have an end, as they stand now.
    fn set_back(&mut self, by: Duration, now: Timestamp) -> Vec<Aside> {
        let reminders = std::mem::take(&mut self.reminders).into_iter();
        self.reminders = reminders.map(|(at, id)| (at.min(now + REMIND), id)).collect();
        let ends: Vec<(Timestamp, String)> = self.ends.iter().cloned().collect();
        ends.into_iter().filter_map(|(until, id)| self.set_end(&id, Some(until - by))).collect()
    }

    /// What people see of an alarm that is set aside for several reasons.
    fn strongest(&self, target: &Target) -> Option<&Aside> {
        let ids = self.by_target.get(target)?;
        ids.iter().filter_map(|id| self.by_id.get(id)).max_by_key(|aside| (aside.way, aside.until))
    }

    /// Is it set aside, for whatever reason?
    pub fn holds(&self, target: &Target) -> bool {
        self.by_target.contains_key(target)
    }

    /// When time alone next moves something here.
    pub fn due(&self) -> Option<Timestamp> {
        let ends = self.ends.first().map(|(at, _)| *at);
        let reminder = self.reminders.first().map(|(at, _)| *at);
        ends.into_iter().chain(reminder).chain(self.calls.first().map(|(at, ..)| *at)).min()
    }
}

impl Shard<'_> {
    pub(super) fn on_aside(&mut self, note: &AsideNote, effects: &mut Vec<Effect>) {
        let answer = self.order_aside(&note.order, effects);
        effects.push(Effect::Answered { command: note.command, answer: Answer::Aside(answer.map(Box::new)) });
    }

    /// An order of a person, or of Davy itself; refused ones change nothing.
    pub fn order_aside(&mut self, order: &AsideOrder, effects: &mut Vec<Effect>) -> Result<AsideFact, AsideRefusal> {
        match order {
            AsideOrder::Begin(aside) => {
                self.admit(aside).map_err(AsideRefusal::Words)?;
                Ok(self.begin(aside.clone(), effects))
            }
            AsideOrder::End { id, end } => self.end_aside(id, end, effects).ok_or(AsideRefusal::NoSuch),
        }
    }

    /// Why it must not be, in words.
    fn admit(&self, aside: &Aside) -> Result<(), String> {
        let Aside { rule, subject, way, .. } = aside;
        if self.asides.by_id.contains_key(&aside.id) {
            return Err(format!("{} 已存在 / {} is there already", aside.id, aside.id));
        }
        if self.asides.by_id.len() >= MOST {
            return Err(format!("已有 {MOST} 条 / {MOST} alarms are set aside already; end some first"));
        }
        if self.place_of(rule, subject).is_none() && !is_own(rule) {
            return Err(format!("规则 {rule} 不监视 {subject} / rule {rule} does not watch {subject}"));
        }
        if let Some(words) = self.must_not_shelve(aside) {
            return Err(words);
        }
        match (way.longest(), aside.until) {
            (Some(_), None) => return Err("须给出结束时间 / it needs an end".into()),
            (Some(longest), Some(until)) if until <= aside.from || until > aside.from + longest => {
                let most = crate::model::duration_text(longest);
                return Err(format!("一次最长 {most} / it may last {most} at a time, and ends after it begins"));
            }
            (Some(_) | None, _) => {}
        }
        if *way == Way::OutOfService && aside.approved_by.as_ref().is_none_or(|second| *second == aside.by) {
            return Err("停用须由另一人批准 / out of service needs the approval of somebody else".into());
        }
        Ok(())
    }

    /// Why the alarm must not be shelved, by a person or by Davy itself; in words.
    fn must_not_shelve(&self, aside: &Aside) -> Option<String> {
        if aside.way != Way::Shelved {
            return None;
        }
        let Some((at, place)) = self.place_of(&aside.rule, &aside.subject) else {
            let watches = is_own(&aside.rule) && !own_shelvable(&aside.rule);
            return watches.then(|| {
                format!(
                    "{0} 表示报警可能无人收到或无人处置，不允许搁置；排除原因后自动结束，确需停用须经他人批准 / {0} says that an alarm \
                     may not reach anybody or waits for somebody: it must not be shelved; it ends when its cause is mended, or take \
                     it out of service with a second person's approval",
                    aside.rule
                )
            });
        };
        let rule = &self.plan.rules[self.plan.points[at].watches[place].rule].rule;
        let kind = self.table.list()[at].kind;
        if !rule.shelvable_at(kind) {
            return Some(format!(
                "规则 {0}（{1}）不允许搁置；确需停用须经他人批准 / rule {0} ({1}) must not be shelved; take it out of service with a second person's approval",
                rule.id, rule.priority
            ));
        }
        (aside.id.starts_with(SHELF) && !rule.shelvable_by_davy_at(kind)).then(|| {
            format!(
                "规则 {0} 为 {1}，Davy 不自行搁置 / rule {0} is {1}: Davy does not shelve it by itself",
                rule.id, rule.priority
            )
        })
    }

    pub(super) fn begin(&mut self, aside: Aside, effects: &mut Vec<Effect>) -> AsideFact {
        let target = aside.target();
        let same = |old: &Aside| old.way == aside.way && aside.way != Way::Suppressed;
        let ids = self.asides.by_target.get(&target).into_iter().flatten();
        let old: Vec<String> = ids.filter(|id| self.asides.by_id.get(*id).is_some_and(same)).cloned().collect();
        self.asides.insert(aside.clone(), self.now);
        for id in old {
            let reason = format!("换为 / replaced by {}", aside.id);
            self.end_aside(&id, &AsideEnd { at: aside.from, by: aside.by.clone(), reason }, effects);
        }
        self.show_aside(&target, aside.from, effects);
        self.follow_parent(&target, aside.from, effects);
        if aside.way != Way::Suppressed {
            effects.push(Effect::Record(begun(&aside)));
        }
        let fact = AsideFact { aside, end: None };
        effects.push(Effect::Aside(fact.clone()));
        fact
    }

    pub(super) fn end_aside(&mut self, id: &str, end: &AsideEnd, effects: &mut Vec<Effect>) -> Option<AsideFact> {
        let aside = self.asides.remove(id)?;
        if aside.way == Way::OutOfService {
            self.conditions.apply(&reminder(&aside, end.at, false), effects);
        }
        if aside.way != Way::Suppressed {
            effects.push(Effect::Record(Record {
                action: format!("alarm.{}.end", aside.way.word()),
                subject: format!("{} {}", aside.rule, aside.subject),
                reason: end.reason.clone(),
                before: format!("{}: {}", aside.by, aside.reason),
                ..Record::by(&end.by, end.at)
            }));
        }
        self.show_aside(&aside.target(), end.at, effects);
        self.follow_parent(&aside.target(), end.at, effects);
        let fact = AsideFact { aside, end: Some(end.clone()) };
        effects.push(Effect::Aside(fact.clone()));
        Some(fact)
    }

    /// The alarm as what sets it aside says; back where nothing does.
    fn show_aside(&mut self, target: &Target, at: Timestamp, effects: &mut Vec<Effect>) {
        let strongest = self.asides.strongest(target).cloned();
        if let Some((slot, policy)) = self.slot_of(target) {
            match &strongest {
                Some(aside) => slot.set_aside(&policy, aside, at, effects),
                None => slot.resume(&policy, at, effects),
            }
        }
        self.conditions.tidy();
    }

    /// What it explains while it calls people, it explains no longer, and the other way round.
    fn follow_parent(&mut self, (rule, subject): &Target, at: Timestamp, effects: &mut Vec<Effect>) {
        if **rule == *DOWN {
            self.follow_source(subject, at, effects);
        }
    }

    /// Point and place of a rule there.
    pub(super) fn place_of(&self, rule: &str, subject: &str) -> Option<(usize, usize)> {
        let at = self.table.find(subject)?.at();
        let watches = &self.plan.points.get(at)?.watches;
        Some((at, watches.iter().position(|watch| *self.plan.rules[watch.rule].rule.id == *rule)?))
    }

    fn slot_of(&mut self, (rule, subject): &Target) -> Option<(&mut Slot, Policy)> {
        if let Some((at, place)) = self.place_of(rule, subject) {
            let policy = self.plan.rules[self.plan.points[at].watches[place].rule].policy;
            return Some((self.points.get_mut(at)?.slots.get_mut(place)?, policy));
        }
        is_own(rule).then(|| (self.conditions.slot(rule, subject), Policy::default()))
    }

    /// After an entry: what its changes mean for what is set aside, and for when an alarm calls again.
    pub(super) fn follow(&mut self, from: usize, effects: &mut Vec<Effect>) {
        let mut over = Vec::new();
        self.exercises.mark(effects.get_mut(from..).unwrap_or_default());
        for effect in effects.get_mut(from..).into_iter().flatten() {
            let Effect::Changed(change) = effect else { continue };
            self.note_open(&change.alarm);
            if change.alarm.standing.aside().is_some() {
                let target = (change.alarm.rule.clone(), change.alarm.subject.to_string());
                let Some(aside) = self.asides.strongest(&target).cloned() else { continue };
                if aside.once && change.happening == Happening::Cleared {
                    over.push((aside.id.clone(), change.at.max(aside.from)));
                }
                change.alarm.aside = Some(aside.clone());
                if let Some(alarm) = self.slot_of(&target).and_then(|(slot, _)| slot.open.as_mut()) {
                    alarm.aside = Some(aside);
                }
            } else if change.alarm.standing.active() && change.alarm.point.is_some() {
                let place = self.place_of(&change.alarm.rule, &change.alarm.subject);
                if let Some((at, place)) = place {
                    self.call_again_later(at, place);
                }
            }
        }
        for (id, at) in over {
            let reason = "报警已恢复 / the condition is over".to_owned();
            self.end_aside(&id, &AsideEnd { at, by: "davy".into(), reason }, effects);
        }
    }

    fn call_again_later(&mut self, at: usize, place: usize) {
        let policy = self.plan.rules[self.plan.points[at].watches[place].rule].policy;
        if let (Some(after), State::Active { called, .. }) = (policy.realarm, self.points[at].slots[place].state) {
            self.asides.calls.insert((called + after, at, place));
        }
    }

    /// Our clock was set back: nothing waits for a future that has not come, and nothing is set aside for longer than
    /// it was to be.
    pub(super) fn set_asides_back(&mut self, by: Duration, now: Timestamp, effects: &mut Vec<Effect>) {
        let calls = std::mem::take(&mut self.asides.calls);
        calls.into_iter().for_each(|(_, at, place)| self.call_again(at, place, now, effects));
        let sooner = self.asides.set_back(by, now);
        effects.extend(sooner.into_iter().map(|aside| Effect::Aside(AsideFact { aside, end: None })));
    }

    /// What is due by Davy's clock.
    pub(super) fn look_at_asides(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        while let Some((_, id)) = self.asides.ends.first().filter(|(at, _)| *at <= now).cloned() {
            let reason = "到时自动结束 / its time was up".to_owned();
            self.end_aside(&id, &AsideEnd { at: now, by: "davy".into(), reason }, effects);
        }
        while let Some((_, id)) = self.asides.reminders.first().filter(|(at, _)| *at <= now).cloned() {
            self.asides.reminders.pop_first();
            let Some(aside) = self.asides.by_id.get(&id).cloned() else { continue };
            self.asides.reminders.insert((next_reminder(aside.from, now), id));
            // The one of yesterday is over: what stands comes up again.
            self.conditions.apply(&reminder(&aside, now, false), effects);
            self.conditions.apply(&reminder(&aside, now, true), effects);
        }
        while let Some((_, at, place)) = self.asides.calls.first().filter(|(due, ..)| *due <= now).copied() {
            self.asides.calls.pop_first();
            self.call_again(at, place, now, effects);
        }
    }

    fn call_again(&mut self, at: usize, place: usize, now: Timestamp, effects: &mut Vec<Effect>) {
        let Some(watch) = self.plan.points.get(at).and_then(|plan| plan.watches.get(place)) else { return };
        let policy = self.plan.rules[watch.rule].policy;
        let Some(slot) = self.points.get_mut(at).and_then(|state| state.slots.get_mut(place)) else { return };
        slot.tell(&policy, Input::Remind, Moment::of(now), effects);
        self.call_again_later(at, place);
    }

    /// Looks up anew where open alarms are, which of them are to call again, and when.
    pub(super) fn line_up_open(&mut self) {
        let open = self.open_alarms().filter_map(|alarm| Some((alarm.id.clone(), self.local(alarm)?)));
        self.opened = open.collect();
        self.asides.calls.clear();
        for at in 0..self.points.len() {
            for place in 0..self.points[at].slots.len() {
                self.call_again_later(at, place);
            }
        }
    }

    /// Takes up from a snapshot, after the alarms.
    pub(super) fn take_up_asides(&mut self, list: Vec<Aside>) {
        self.asides = Asides::of(list, self.now);
        self.line_up_open();
    }

    /// Takes up from what facts know; they know of the alarms too.
    pub(super) fn adopt_asides(&mut self, list: Vec<Aside>) {
        self.asides = Asides::of(list, self.now);
        let targets: Vec<Target> = self.asides.by_target.keys().cloned().collect();
        for target in targets {
            self.show_aside(&target, self.now, &mut Vec::new());
        }
        self.line_up_open();
    }

    /// After other rules came into force: what is set aside stays so, unless its rule must not be shelved any
    /// longer; and a rule that has become worse calls people again.
    pub(super) fn settle_asides(&mut self, at: Timestamp, effects: &mut Vec<Effect>) {
        for (point, state) in self.points.iter_mut().enumerate() {
            for (watch, slot) in self.plan.points[point].watches.iter().zip(state.slots.iter_mut()) {
                let compiled = &self.plan.rules[watch.rule];
                slot.grade(&compiled.policy, (compiled.rule.priority, compiled.rule.level), at, effects);
            }
        }
        let targets: Vec<Target> = self.asides.by_target.keys().cloned().collect();
        for target in targets {
            let these = self.asides.by_target.get(&target).into_iter().flatten();
            let these = these.filter_map(|id| self.asides.by_id.get(id));
            let refused = these.filter(|aside| self.must_not_shelve(aside).is_some());
            for id in refused.map(|aside| aside.id.clone()).collect::<Vec<_>>() {
                let reason = "规则已不允许搁置 / its rule must not be shelved any longer".to_owned();
                self.end_aside(&id, &AsideEnd { at, by: "davy".into(), reason }, effects);
            }
            self.show_aside(&target, at, effects);
        }
        self.suppress_by_design(at, effects);
        self.settle_children(at, effects);
        self.line_up_open();
    }

    /// What the rules say of themselves: begins and ends with the site's state and with permits.
    pub(super) fn suppress_by_design(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let mut wanted: BTreeMap<String, Aside> = BTreeMap::new();
        let asks = self.plan.rules.iter().any(|compiled| !compiled.rule.suppressed_when.is_empty());
        if !asks && !self.asides.by_id.keys().any(|id| id.starts_with(DESIGN)) {
            return;
        }
        let points = self.table.iter().filter(|(_, point)| !point.retired);
        for ((index, point), plan) in points.filter_map(|(i, p)| Some(((i, p), self.plan.points.get(i.at())?))) {
            let standing = self.sites.get(&point.site);
            let permit = self.permits.iter().map(|(permit, _)| permit).find(|permit| {
                permit.kind == PermitKind::Maintenance
                    && permit.in_force(now)
                    && permit.points.binary_search(&index).is_ok()
            });
            for watch in &plan.watches {
                let rule = &self.plan.rules[watch.rule].rule;
                for design in &rule.suppressed_when {
                    let because = match design {
                        Design::Site(state) => standing
                            .filter(|standing| standing.state == *state && *state != SiteState::default())
                            .map(|standing| format!("{} is {}: {}", standing.site, state.word(), standing.reason)),
                        Design::Permit => permit.map(|permit| format!("{}: {}", permit.id, permit.reason)),
                    };
                    let Some(because) = because else { continue };
                    let id = format!("{DESIGN}{}:{}:{}", design.word(), rule.id, point.id);
                    wanted.insert(id.clone(), suppression(id, rule.id.clone(), &point.id, because, now));
                }
            }
        }
        let over: Vec<String> = self.asides.by_id.keys().filter(|id| id.starts_with(DESIGN)).cloned().collect();
        for id in over.into_iter().filter(|id| !wanted.contains_key(id)) {
            let reason = "抑制条件已解除 / what suppressed it is over".to_owned();
            self.end_aside(&id, &AsideEnd { at: now, by: "davy".into(), reason }, effects);
        }
        for (id, aside) in wanted {
            if !self.asides.by_id.contains_key(&id) {
                self.begin(aside, effects);
            }
        }
    }
}

const DESIGN: &str = "design:";

pub(super) fn suppression(id: String, rule: RuleId, subject: &str, reason: String, from: Timestamp) -> Aside {
    let (by, subject) = ("davy".to_owned(), subject.to_owned());
    Aside { id, way: Way::Suppressed, rule, subject, by, approved_by: None, reason, from, until: None, once: false }
}

/// The first daily reminder after `now`.
fn next_reminder(from: Timestamp, now: Timestamp) -> Timestamp {
    let day = REMIND.as_micros() as i64;
    // One that began in a future that has not come, because our clock was set back, is not forgotten until then.
    let from = from.min(now);
    let passed = now.micros().saturating_sub(from.micros()) / day;
    Timestamp::from_micros(from.micros().saturating_add((passed + 1).saturating_mul(day)))
}

fn begun(aside: &Aside) -> Record {
    let approval = aside.approved_by.as_ref().map_or_else(String::new, |by| format!(", approved by {by}"));
    let until = aside.until.map_or_else(String::new, |until| format!(" until {until}"));
    let once = if aside.once { ", once" } else { "" };
    Record {
        action: format!("alarm.{}", aside.way.word()),
        subject: format!("{} {}", aside.rule, aside.subject),
        reason: aside.reason.clone(),
        after: format!("{}{until}{once}{approval}", aside.id),
        ..Record::by(&aside.by, aside.from)
    }
}

fn reminder(aside: &Aside, at: Timestamp, holds: bool) -> Condition {
    let Aside { rule, subject, by, approved_by, reason, .. } = aside;
    let until = aside.until.map_or_else(String::new, |until| until.to_string());
    Condition {
        at,
        rule: OUT.into(),
        subject: format!("{rule} {subject}"),
        holds,
        title: format!("报警停用中 / alarm out of service: {rule} {subject}"),
        advice: "确认仍需停用，否则恢复投用 / make sure that it still has to be, or return it to service".into(),
        priority: Priority::P4,
        level: Level::Blue,
        detail: format!("{by}, {} until {until}: {reason}", approved_by.as_deref().unwrap_or("")),
    }
}

/// What is different from what the person saw, in words; `None` when nothing is.
pub(super) fn changed_since(seen: &crate::journal::Seen, alarm: &Alarm) -> Option<String> {
    let mut words = Vec::new();
    if seen.priority.is_some_and(|priority| priority != alarm.priority) {
        words.push(format!("优先级现为 / its priority is now {}", alarm.priority));
    }
    if seen.level.is_some_and(|level| level != alarm.level) {
        words.push(format!("级别现为 / its level is now {}", alarm.level));
    }
    if seen.standing.is_some_and(|standing| standing != alarm.standing) {
        words.push(format!("状态现为 / it is now {}", alarm.standing.word()));
    }
    (!words.is_empty()).then(|| words.join("; "))
}
