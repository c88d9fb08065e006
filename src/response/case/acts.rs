//! A person's step at a case: what each of them asks for, and what it does.

use super::{
    Answered, Case, CaseFile, CaseRefusal, CaseStep, Cases, Cause, Clock, Demand, Demanded, Did, Missing, Order, Taken,
    words,
};
use crate::alarm::OccurrenceId;
use crate::engine::Effect;
use crate::model::{Record, Timestamp, duration_text};
use crate::response::Out;

/// What a step did, for the table of steps and the audit chain.
type Outcome = Result<String, CaseRefusal>;

impl Cases {
    /// The case as it stands after the step, or why it was not taken.
    pub(super) fn take(&mut self, step: &CaseStep, out: &mut Out) -> Result<Case, CaseRefusal> {
        let order = step.order();
        let number = self.find(&order.case).ok_or(CaseRefusal::NoSuch)?;
        let other_cause = self.cause_meant(step);
        let case = self.cases.get_mut(&number).ok_or(CaseRefusal::NoSuch)?;
        if !case.is_open() {
            return Err(refused(format!("{} 已销号 / is closed", case.id())));
        }
        let policy = &self.policy;
        let before = case.stage(policy).word();
        let told = match step {
            CaseStep::Answered { answer, .. } => answered(case, answer),
            CaseStep::Handled { handling, .. } => {
                case.handling.take(handling);
                case.handlers.insert(order.by.clone());
                case.handlers.extend(handling.owner.clone());
                case.undo_verification();
                Ok(words::handling(handling))
            }
            CaseStep::Updated { text, .. } => {
                case.updated = Some(did(order, text));
                Ok(text.clone())
            }
            CaseStep::Verified { accepted, words, .. } => verified(case, order, *accepted, words, policy),
            CaseStep::Closed { words, .. } => {
                let missing = case.missing(policy);
                if missing != [Missing::Closing] {
                    return Err(CaseRefusal::Missing(missing));
                }
                case.closed = Some(did(order, words));
                Ok(words.clone())
            }
            CaseStep::Supervised { role, reason, until, .. } => {
                let told = supervised(case, order, role, reason, *until);
                if told.is_ok() {
                    out.conditions.extend(words::supervised(case, reason, order.at));
                }
                told
            }
            CaseStep::SignedOff { demand, role, words, .. } => signed_off(case, order, *demand, role, words),
            CaseStep::Attached { file, .. } => attached(case, file, policy),
            CaseStep::Joined { into, reason, .. } => return self.join(number, order, into, reason, out),
            CaseStep::Cause { of, reason, .. } => counted(case, order, of.as_deref(), other_cause, reason),
        }?;
        let taken = Taken { at: order.at, by: order.by.clone(), word: step.word(), words: told };
        out.effects.push(Effect::Record(record(case, &taken, before, case.stage(policy).word())));
        self.settle(number, self.now.max(order.at), vec![taken], out);
        self.cases.get(&number).cloned().ok_or(CaseRefusal::NoSuch)
    }

    /// The cause of the case that a step about the cause names.
    fn cause_meant(&self, step: &CaseStep) -> Option<OccurrenceId> {
        let CaseStep::Cause { of: Some(other), .. } = step else { return None };
        self.cases.get(&self.find(other)?)?.counted_by()
    }

    /// One cause, one case: alarms, answers, files and demands go on there.
    fn join(
        &mut self,
        number: u64,
        order: &Order,
        into: &str,
        reason: &str,
        out: &mut Out,
    ) -> Result<Case, CaseRefusal> {
        let other = self.find(into).ok_or_else(|| refused(format!("没有进行中的 {into} / there is no open {into}")))?;
        let (Some(from), Some(to)) = (self.cases.get(&number), self.cases.get(&other)) else {
            return Err(CaseRefusal::NoSuch);
        };
        if number == other {
            return Err(refused("一案不能并入自身 / a case is not joined to itself"));
        }
        if !to.is_open() {
            return Err(refused(format!("{} 已销号，不能并入 / is closed: nothing joins it", to.id())));
        }
        if from.alarms.len() + to.alarms.len() > super::MOST_ALARMS
            || from.files.len() + to.files.len() > self.policy.files
        {
            return Err(refused("合并后报警或附件过多 / together they hold too many alarms or files"));
        }
        let Some(mut from) = self.cases.remove(&number) else { return Err(CaseRefusal::NoSuch) };
        for alarm in &from.alarms {
            self.by_alarm.insert(alarm.id.clone(), other);
            self.by_source.insert((alarm.rule.clone(), alarm.subject.clone()), other);
        }
        self.by_join.values_mut().filter(|of| **of == number).for_each(|of| *of = other);
        let now = self.now.max(order.at);
        let Some(to) = self.cases.get_mut(&other) else { return Err(CaseRefusal::NoSuch) };
        to.absorb(&from);
        let told = format!("{} → {}: {reason}", from.id(), to.id());
        let mine = Taken { at: order.at, by: order.by.clone(), word: "joined", words: told.clone() };
        let theirs = Taken { words: told, ..mine.clone() };
        out.effects.push(Effect::Record(record(&from, &mine, from.stage(&self.policy).word(), &to.id())));
        from.joined = Some(other);
        for clock in std::mem::take(&mut from.told) {
            out.conditions.push(words::missed(&from, clock, now, false));
        }
        out.effects.push(Effect::Case(Box::new(super::CaseFact { case: from, step: mine })));
        self.wind(number);
        self.settle(other, now, vec![theirs], out);
        self.cases.get(&other).cloned().ok_or(CaseRefusal::NoSuch)
    }
}

/// `cause`: that of the case `of`, if there is such a case.
fn counted(case: &mut Case, order: &Order, of: Option<&str>, cause: Option<OccurrenceId>, reason: &str) -> Outcome {
    let cause = match (of, cause) {
        (None, _) => OccurrenceId::named(&case.id()),
        (Some(_), Some(cause)) => cause,
        (Some(other), None) => return Err(refused(format!("没有处置单 {other} / there is no case {other}"))),
    };
    case.cause = Some(Cause { of: cause.clone(), did: did(order, reason) });
    Ok(format!("{} {cause}: {reason}", of.unwrap_or("单独计 / counted by itself")))
}

fn answered(case: &mut Case, answer: &Answered) -> Outcome {
    if answer.with.is_empty() {
        return Err(refused("with: 说明与谁通话 / say with whom you spoke"));
    }
    case.answer(answer.clone());
    Ok(format!("{} ({}) {}", answer.with, answer.means.word(), answer.words))
}

fn verified(case: &mut Case, order: &Order, accepted: bool, words: &str, policy: &super::Policy) -> Outcome {
    if case.handlers.iter().any(|name| same(name, &order.by)) {
        let told = format!("{} 参与了处置，须由他人复核 / had a hand in it: another person verifies", order.by);
        return Err(refused(told));
    }
    if !accepted {
        // What was done is not enough: it has to be said anew.
        case.handling.measure = None;
        case.undo_verification();
        return Ok(words.to_owned());
    }
    if let Some(known) = &case.verified {
        // What was signed since stands on the verification that there is.
        return Err(refused(format!("{} 已复核 / was verified already by {}", case.id(), known.by)));
    }
    let before = |what: &Missing| *what < Missing::AlarmOver;
    let mut missing: Vec<Missing> = case.missing(policy).into_iter().filter(before).collect();
    missing.extend(case.holds().then_some(Missing::AlarmOver));
    if !missing.is_empty() {
        return Err(CaseRefusal::Missing(missing));
    }
    case.verified = Some(did(order, words));
    Ok(words.to_owned())
}

fn supervised(case: &mut Case, order: &Order, role: &str, reason: &str, until: Timestamp) -> Outcome {
    if case.is_supervised() {
        return Err(refused(format!("{} 已在督办中 / is under supervision already", case.id())));
    }
    if until <= order.at {
        return Err(refused("until: 督办时限已过 / the deadline is over already"));
    }
    case.demands.push(Demanded {
        demand: Demand::Supervision,
        role: role.to_owned(),
        by: order.by.clone(),
        reason: reason.to_owned(),
        since: order.at,
        until: Some(until),
        signed: None,
    });
    case.escalated = true;
    case.undo_verification();
    Ok(format!("{role}, {}: {reason}", duration_text(until.since(order.at))))
}

fn signed_off(case: &mut Case, order: &Order, demand: Demand, role: &str, words: &str) -> Outcome {
    if case.verified.is_none() {
        return Err(CaseRefusal::Missing(vec![Missing::Verification]));
    }
    if case.handlers.iter().any(|name| same(name, &order.by)) {
        return Err(refused(format!("{} 参与了处置，不能签字 / had a hand in it and cannot sign", order.by)));
    }
    let asked = case.demands.iter_mut().find(|one| one.demand == demand && one.signed.is_none());
    let Some(asked) = asked else {
        return Err(refused(format!("无待签字项 / no sign-off is waited for: {}", demand.word())));
    };
    if asked.role != role {
        return Err(refused(format!("仅限角色 {} 签字 / only the role {} signs this", asked.role, asked.role)));
    }
    asked.signed = Some(did(order, words));
    Ok(format!("{}: {words}", demand.word()))
}

fn attached(case: &mut Case, file: &CaseFile, policy: &super::Policy) -> Outcome {
    if case.files.iter().any(|known| known.sha256 == file.sha256) {
        return Err(refused("该文件已上传 / this very file is attached already"));
    }
    let bytes: u64 = case.files.iter().map(|known| known.bytes).sum();
    if case.files.len() >= policy.files || bytes + file.bytes > policy.files_bytes || file.bytes > policy.file_bytes {
        return Err(refused(format!(
            "附件超限 / too much: at most {} files, {} bytes each and {} in all",
            policy.files, policy.file_bytes, policy.files_bytes
        )));
    }
    case.files.push(file.clone());
    Ok(format!("{} sha256:{}", file.name, file.sha256))
}

impl Case {
    /// Whatever was verified and signed is so no longer.
    pub(super) fn undo_verification(&mut self) {
        self.verified = None;
        self.demands.iter_mut().for_each(|one| one.signed = None);
    }

    /// Goes on with what the other one had. Its limits are those of whichever began first.
    fn absorb(&mut self, from: &Self) {
        self.priority = self.priority.min(from.priority);
        self.level = self.level.min(from.level);
        self.alarms.extend(from.alarms.iter().cloned());
        self.episodes = self.episodes.max(from.episodes);
        if self.spans.last().is_none_or(|span| span.to.is_some()) && from.holds() {
            self.spans.extend(
                from.spans.iter().filter(|span| span.to.is_none()).map(|span| super::Span { anew: false, ..*span }),
            );
        }
        self.opened = self.opened.min(from.opened);
        self.since = self.since.min(from.since);
        self.acknowledged = match (self.acknowledged.take(), &from.acknowledged) {
            (Some(mine), Some(theirs)) if theirs.at < mine.at => Some(theirs.clone()),
            (Some(mine), _) => Some(mine),
            (None, theirs) => theirs.clone(),
        };
        from.answers.iter().for_each(|answer| self.answer(answer.clone()));
        self.answers.sort_by_key(|answer| answer.at);
        let mut handling = from.handling.clone();
        handling.take(&self.handling);
        self.handling = handling;
        self.handlers.extend(from.handlers.iter().cloned());
        self.files.extend(from.files.iter().filter(|file| !self.files.contains(file)).cloned().collect::<Vec<_>>());
        for one in &from.demands {
            if !self.demands.iter().any(|known| known.demand == one.demand) {
                self.demands.push(one.clone());
            }
        }
        self.times_missed += from.times_missed;
        self.escalated |= from.escalated;
        // Both begin anew with what both need.
        self.missed.retain(|clock, _| self.told.contains(clock) || *clock == Clock::Close);
        self.undo_verification();
    }
}

fn record(case: &Case, taken: &Taken, before: &str, after: &str) -> Record {
    Record {
        action: format!("case.{}", taken.word),
        subject: case.id(),
        reason: taken.words.clone(),
        before: before.to_owned(),
        after: after.to_owned(),
        ..Record::by(&taken.by, taken.at)
    }
}

fn did(order: &Order, words: &str) -> Did {
    Did { by: order.by.clone(), at: order.at, words: words.to_owned() }
}

/// One person under two spellings is one person.
fn same(one: &str, other: &str) -> bool {
    one.trim().to_lowercase() == other.trim().to_lowercase()
}

fn refused(words: impl Into<String>) -> CaseRefusal {
    CaseRefusal::Words(words.into())
}
