//! What people's commands leave behind: versions of rule files, and a record of every command.
//!
//! In come the steps in the life of a rule change and the setups that follow from it; out go effects for
//! `facts.db`. Whether a step is allowed was decided before it was written into the journal; here nothing is
//! refused, so that a replay tells the same story.

use super::{Effect, Shard};
use crate::alarm::Alarm;
use crate::facts::Answer;
use crate::journal::{Acknowledge, RuleFile, RuleStep, Setup};
use crate::model::{Cause, Permit, PermitEnd, Record, Timestamp};

impl Shard<'_> {
    pub(super) fn on_rule_step(&mut self, step: &RuleStep, effects: &mut Vec<Effect>) {
        if let RuleStep::Activated { setup, cause, .. } = step {
            self.on_setup(setup, Some(cause), effects);
        }
        effects.extend(record(step).map(Effect::Record));
        effects.push(Effect::Rules(Box::new(step.clone())));
        let command = match step {
            RuleStep::Drafted { command, .. }
            | RuleStep::Backtested { command, .. }
            | RuleStep::Approved { command, .. }
            | RuleStep::Withdrawn { command, .. }
            | RuleStep::Activated { command, .. }
            | RuleStep::Overridden { command, .. } => *command,
        };
        effects.push(Effect::Answered { command, answer: Answer::Recorded });
    }
}

/// The record of a step; an activation is recorded with the version that it makes.
fn record(step: &RuleStep) -> Option<Record> {
    let made = |at: Timestamp, by: &str, action: &str, subject: &str, reason: &str, before: &str, after: &str| {
        let text = ToString::to_string;
        let (by, action, subject, reason) = (text(&by), text(&action), text(&subject), text(&reason));
        Some(Record { at, by, action, subject, reason, before: text(&before), after: text(&after) })
    };
    match step {
        RuleStep::Drafted { draft, .. } => {
            let base = if draft.base.is_some() { "in force" } else { "" };
            let after = format!("{} of {}", draft.id, draft.path);
            made(draft.at, &draft.by, "rules.drafted", &draft.path, &draft.reason, base, &after)
        }
        RuleStep::Backtested { id, by, at, summary, .. } => {
            made(*at, by, "rules.backtested", id, "", "", &summary.chars().take(500).collect::<String>())
        }
        RuleStep::Approved { id, approval, .. } => {
            let after = format!("approved, in force from {}", approval.from);
            made(approval.at, &approval.by, "rules.approved", id, &approval.comment, "open", &after)
        }
        RuleStep::Withdrawn { id, by, at, reason, .. } => {
            made(*at, by, "rules.withdrawn", id, reason, "open", "withdrawn")
        }
        RuleStep::Activated { .. } => None,
        RuleStep::Overridden { by, at, reason, what, .. } => {
            made(*at, by, "rules.overridden", what, reason, "frozen by an open P1 alarm", "may change")
        }
    }
}

/// Every file that has another text than before.
pub(super) fn versions(before: Option<&Setup>, now: &Setup, cause: Option<&Cause>, effects: &mut Vec<Effect>) {
    let old: &[RuleFile] = before.map_or(&[], |setup| &setup.rules);
    let mut tell = |path: &str, text: &str| {
        let cause = cause.filter(|cause| cause.path == path).cloned().unwrap_or_else(|| Cause::edited(path));
        let file = RuleFile { path: path.to_owned(), text: text.to_owned() };
        effects.push(Effect::Version { file, at: now.at, cause });
    };
    for file in now.rules.iter().filter(|file| !old.contains(file)) {
        tell(&file.path, &file.text);
    }
    for file in old.iter().filter(|file| !now.rules.iter().any(|known| known.path == file.path)) {
        tell(&file.path, "");
    }
}

pub(super) fn acknowledged(command: &Acknowledge, alarm: &Alarm) -> Record {
    Record {
        at: command.at,
        by: command.by.clone(),
        action: "alarm.acknowledged".into(),
        subject: alarm.id.to_string(),
        reason: command.comment.clone(),
        before: format!("{} {} not acknowledged", alarm.rule, alarm.subject),
        after: alarm.standing.word().to_owned(),
    }
}

pub(super) fn permit_opened(permit: &Permit) -> Record {
    Record {
        at: permit.from,
        by: permit.by.clone(),
        action: "permit.opened".into(),
        subject: permit.id.clone(),
        reason: permit.reason.clone(),
        before: String::new(),
        after: format!("{} {} until {}", permit.kind.word(), permit.scope, permit.until),
    }
}

pub(super) fn permit_ended(permit: &Permit, end: &PermitEnd) -> Record {
    Record {
        at: end.at,
        by: end.by.clone(),
        action: "permit.ended".into(),
        subject: permit.id.clone(),
        reason: end.comment.clone(),
        before: format!("{} {} until {}", permit.kind.word(), permit.scope, permit.until),
        after: if end.calibrated { "calibrated" } else { "ended" }.to_owned(),
    }
}
