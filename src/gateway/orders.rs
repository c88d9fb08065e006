//! What people want done with the rules, decided: drafts, approvals, activations, rollbacks.
//!
//! In come orders from people whose roles were looked at; out go steps in the journal and files in the folder, or a
//! refusal that changes nothing. The same person cannot write and approve; what was checked against another text than
//! the one in force cannot be approved; nothing is in force that is not in the folder.

use super::rulebook;
use super::shelf::{Ready, check_path};
use super::watch::{MOST_DRAFTS, Rules, Trouble};
use crate::clock;
use crate::facts::{self, Drafted};
use crate::journal::{RuleFile, RuleStep};
use crate::model::{Approval, Cause, Checks, Origin, Trial};
use crate::rule::{Language, RuleProblem, read_file, trial};
use crate::web::{RuleDone, RuleOrder, RuleRefusal};
use tracing::info;

type Reply = Result<RuleDone, RuleRefusal>;

impl From<Trouble> for RuleRefusal {
    fn from(trouble: Trouble) -> Self {
        Self::Failed(trouble.to_string())
    }
}

impl From<facts::Error> for RuleRefusal {
    fn from(error: facts::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

fn conflict(code: &'static str, message: impl Into<String>) -> RuleRefusal {
    RuleRefusal::Conflict { code, message: message.into(), diff: None }
}

impl Rules {
    pub(super) fn order(&mut self, order: RuleOrder) -> Reply {
        let now = clock::now();
        match order {
            RuleOrder::Draft { path, text, samples, by, reason } => self.draft(&path, &text, samples, &by, reason),
            RuleOrder::Backtested { id, by, summary } => {
                self.find(&id)?;
                let draft = Some(id.clone());
                self.step(|command| RuleStep::Backtested { command, id, by, at: now, summary })?;
                Ok(RuleDone { draft, ..RuleDone::default() })
            }
            RuleOrder::Approve { id, by, comment, from, overrides } => {
                let from = from.filter(|from| *from > now).unwrap_or(now);
                self.approve(&id, Approval { by, comment, at: now, from }, overrides)
            }
            RuleOrder::Activate { id, by, reason, overrides } => self.activate_now(&id, by, reason, overrides),
            RuleOrder::Withdraw { id, by, reason } => self.withdraw(id, by, reason),
            RuleOrder::Rollback { path, to, by, reason, overrides } => self.roll_back(&path, to, by, reason, overrides),
            RuleOrder::Override { by, reason } => self.let_in(by, reason),
        }
    }

    fn draft(&mut self, path: &str, text: &str, samples: Option<String>, by: &str, reason: String) -> Reply {
        check_path(path).map_err(RuleRefusal::Bad)?;
        let open = self.office.facts.drafts(Some("open"), MOST_DRAFTS)?;
        if open.len() >= MOST_DRAFTS {
            return Err(conflict("too_many_drafts", format!("{MOST_DRAFTS} drafts are open: withdraw some")));
        }
        let checks = self.checks(path, text, samples.as_deref());
        let id = self.drafted(path, text, samples, by, reason, checks)?;
        info!(draft = %id, path, by, "rule draft");
        Ok(RuleDone { draft: Some(id), ..RuleDone::default() })
    }

    /// Everything that can be said of a text before it is in force.
    pub(super) fn checks(&self, path: &str, text: &str, samples: Option<&str>) -> Checks {
        let file = RuleFile { path: path.to_owned(), text: text.to_owned() };
        let rules = read_file(&Language::new(), &file).map(|(rules, _)| rules).unwrap_or_default();
        let (problems, misfits) = self.problems(path, text);
        let name = samples_of(path);
        let beside = || std::fs::read_to_string(self.office.folder.join(&name)).ok();
        let samples = samples.map(str::to_owned).or_else(beside);
        let sound = problems.is_empty() && !rules.is_empty();
        let samples = samples.filter(|_| sound).map(|samples| match trial::run(&file, &name, &samples) {
            Ok(passed) => Trial { lines: passed.lines, changes: passed.changes, failures: Vec::new() },
            Err(failures) => Trial { failures: failures.iter().map(ToString::to_string).collect(), ..Trial::default() },
        });
        Checks { rules: rules.iter().map(|rule| rule.id.to_string()).collect(), problems, misfits, samples }
    }

    /// What is wrong with a text in place of the one in force, and which limits would not fit; of the other files
    /// nothing that is so already.
    fn problems(&self, path: &str, text: &str) -> (Vec<String>, Vec<String>) {
        let (in_force, ground) = (&self.in_force, &self.office.ground);
        let verdict = rulebook::weigh(rulebook::with(in_force, path, text), Vec::new(), in_force, ground);
        let before = rulebook::weigh(in_force.clone(), Vec::new(), in_force, ground);
        let known: Vec<&RuleProblem> =
            before.broken.iter().filter(|(broken, _)| *broken != path).flat_map(|(_, problems)| problems).collect();
        let problems = verdict.broken.values().flatten().filter(|problem| !known.contains(problem));
        let misfits = verdict.refused.iter().filter(|misfit| !before.refused.contains(misfit));
        (problems.map(ToString::to_string).collect(), misfits.map(ToString::to_string).collect())
    }

    fn approve(&mut self, id: &str, approval: Approval, overrides: bool) -> Reply {
        let one = self.find(id)?;
        let draft = &one.draft;
        if one.state != "open" {
            return Err(conflict("not_open", format!("{id} is {} already", one.state)));
        }
        if draft.by.trim().to_lowercase() == approval.by.trim().to_lowercase() {
            let message = format!("{id} was written by {}: a second person has to approve it", draft.by);
            return Err(RuleRefusal::Person(message));
        }
        let obstacles: Vec<&str> = draft.checks.obstacles().map(String::as_str).collect();
        if !obstacles.is_empty() {
            return Err(conflict("checks_failed", format!("{id} has problems: {}", obstacles.join("; "))));
        }
        self.fits_base(&one)?;
        self.sound(&draft.path, &draft.text)?;
        // Better refused now than found out at its time.
        drop(self.ready(&draft.path, &draft.text)?);
        let at_once = approval.from <= approval.at;
        if at_once && overrides {
            self.overridden(&approval.by, &approval.comment, id)?;
        }
        info!(draft = %id, path = %draft.path, by = %approval.by, from = %approval.from, "rule draft approved");
        let (named, given) = (id.to_owned(), approval.clone());
        self.step(|command| RuleStep::Approved { command, id: named, approval: given })?;
        let mut done = RuleDone { draft: Some(id.to_owned()), ..RuleDone::default() };
        match self.alarm_that_freezes().filter(|_| !overrides) {
            _ if !at_once => done.waits = Some(format!("until {}", approval.from)),
            Some(alarm) => done.waits = Some(format!("an alarm of priority P1 is open: {alarm}")),
            None => match self.activate(&Drafted { approval: Some(approval), ..one }) {
                Ok(kept) => done.kept = kept,
                // It is approved all the same: it is tried again, and an alarm says so.
                Err(refusal) => done.waits = Some(words(&refusal)),
            },
        }
        self.go_round(false)?;
        Ok(done)
    }

    fn activate_now(&mut self, id: &str, by: String, reason: String, overrides: bool) -> Reply {
        let one = self.find(id)?;
        if one.state != "approved" {
            return Err(conflict("not_approved", format!("{id} is {}, not approved", one.state)));
        }
        if overrides {
            self.overridden(&by, &reason, id)?;
        } else {
            self.not_frozen()?;
        }
        let kept = self.activate(&one)?;
        self.go_round(false)?;
        Ok(RuleDone { draft: Some(id.to_owned()), kept, ..RuleDone::default() })
    }

    /// Puts an approved draft in force.
    pub(super) fn activate(&mut self, one: &Drafted) -> Result<Option<String>, RuleRefusal> {
        let draft = &one.draft;
        self.fits_base(one)?;
        self.sound(&draft.path, &draft.text)?;
        let cause = Cause {
            path: draft.path.clone(),
            origin: Origin::Draft,
            author: draft.by.clone(),
            approver: one.approval.as_ref().map(|approval| approval.by.clone()),
            reason: draft.reason.clone(),
            draft: Some(draft.id.clone()),
        };
        self.put(&draft.text, draft.samples.as_deref(), cause)
    }

    fn withdraw(&mut self, id: String, by: String, reason: String) -> Reply {
        let one = self.find(&id)?;
        if !["open", "approved"].contains(&one.state.as_str()) {
            return Err(conflict("not_open", format!("{id} is {} already", one.state)));
        }
        let (at, draft) = (clock::now(), Some(id.clone()));
        self.step(|command| RuleStep::Withdrawn { command, id, by, at, reason })?;
        self.forget_seen();
        self.go_round(false)?;
        Ok(RuleDone { draft, ..RuleDone::default() })
    }

    fn roll_back(&mut self, path: &str, to: i64, by: String, reason: String, overrides: bool) -> Reply {
        let no_such = || RuleRefusal::NoSuch { what: "version of that file", id: to.to_string() };
        let version = self.office.facts.version(to)?.filter(|version| version.path == path).ok_or_else(no_such)?;
        if self.text(path) == Some(&version.text) {
            return Err(conflict("already_in_force", format!("version {to} of {path} is in force")));
        }
        self.sound(path, &version.text)?;
        if overrides {
            self.overridden(&by, &reason, path)?;
        } else {
            self.not_frozen()?;
        }
        // A version that came with samples gets them back; of an edit on the disk they are not known.
        let draft = version.draft.as_deref().map(|id| self.office.facts.draft(id)).transpose()?.flatten();
        let cause = Cause {
            path: path.to_owned(),
            origin: Origin::Rollback,
            author: by.clone(),
            approver: Some(by.clone()),
            reason: format!("to version {to}: {reason}"),
            draft: None,
        };
        let kept = self.put(&version.text, draft.and_then(|one| one.draft.samples).as_deref(), cause)?;
        info!(path, to, %by, "rules rolled back");
        self.go_round(false)?;
        Ok(RuleDone { kept, ..RuleDone::default() })
    }

    fn let_in(&mut self, by: String, reason: String) -> Reply {
        let what = self.waiting();
        if what.is_empty() || self.alarm_that_freezes().is_none() {
            return Err(conflict("nothing_waits", "nothing waits for an alarm to end"));
        }
        self.overridden(&by, &reason, &what)?;
        self.go_round(true)?;
        let unsettled: Vec<&str> = self.unsettled().map(String::as_str).collect();
        let still =
            || format!("{} changed within the last seconds: override again when it is written", unsettled.join(", "));
        Ok(RuleDone { waits: (!unsettled.is_empty()).then(still), ..RuleDone::default() })
    }

    /// A record that the freeze is set aside, if there is one.
    fn overridden(&self, by: &str, reason: &str, what: &str) -> Result<(), RuleRefusal> {
        if self.alarm_that_freezes().is_none() {
            return Ok(());
        }
        if reason.is_empty() {
            return Err(RuleRefusal::Bad("an alarm of priority P1 is open: say why rules have to change now".into()));
        }
        let (by, reason, what, at) = (by.to_owned(), reason.to_owned(), what.to_owned(), clock::now());
        info!(%what, %by, %reason, "the freeze of rules is overridden");
        Ok(self.step(|command| RuleStep::Overridden { command, by, at, reason, what })?)
    }

    fn not_frozen(&self) -> Result<(), RuleRefusal> {
        self.alarm_that_freezes().map_or(Ok(()), |alarm| {
            let message =
                format!("rules are frozen while an alarm of priority P1 is open: {alarm}; override it with a reason");
            Err(conflict("frozen", message))
        })
    }

    fn find(&self, id: &str) -> Result<Drafted, RuleRefusal> {
        let found = self.office.facts.draft(id)?;
        found.ok_or_else(|| RuleRefusal::NoSuch { what: "draft", id: id.to_owned() })
    }

    /// What was checked and compared was the text in force then.
    fn fits_base(&self, one: &Drafted) -> Result<(), RuleRefusal> {
        let (draft, now) = (&one.draft, self.text(&one.draft.path));
        if now == draft.base.as_deref() {
            return Ok(());
        }
        Err(RuleRefusal::Conflict {
            code: "base_changed",
            message: format!(
                "{} has another text in force than when {} was written: write it anew",
                draft.path, draft.id
            ),
            diff: Some(facts::diff(&draft.path, now.unwrap_or_default(), &draft.text)),
        })
    }

    /// With the other files as they are now.
    fn sound(&self, path: &str, text: &str) -> Result<(), RuleRefusal> {
        let (problems, _) = self.problems(path, text);
        if problems.is_empty() { Ok(()) } else { Err(conflict("not_sound", problems.join("; "))) }
    }

    fn ready(&self, path: &str, text: &str) -> Result<Ready, RuleRefusal> {
        Ready::write(&self.office.folder, path, text).map_err(|message| conflict("not_writable", message))
    }

    /// Writes the file and puts it in force; in this order, so that nothing is in force that is not on the disk.
    fn put(&mut self, text: &str, samples: Option<&str>, cause: Cause) -> Result<Option<String>, RuleRefusal> {
        let path = cause.path.clone();
        let file = self.ready(&path, text)?;
        let beside = match samples {
            Some(samples) => Some((self.ready(&samples_of(&path), samples)?, samples)),
            None => None,
        };
        let facts = &self.office.facts;
        let failed = |message| conflict("not_writable", message);
        let known = |there: &str| facts.has_version(&path, there).unwrap_or(false);
        let kept = file.place(text, known).map_err(failed)?;
        if let Some((file, samples)) = beside {
            file.place(samples, |_| false).map_err(failed)?;
        }
        let rules = rulebook::with(&self.in_force, &path, text);
        let setup = self.setup(rules.clone());
        info!(path, origin = cause.origin.word(), "rules changed");
        self.step(|command| RuleStep::Activated { command, setup, cause })?;
        self.in_force = rules;
        self.forget_seen();
        Ok(kept)
    }
}

fn samples_of(path: &str) -> String {
    format!("{}.samples", path.strip_suffix(".rhai").unwrap_or(path))
}

pub(super) fn words(refusal: &RuleRefusal) -> String {
    match refusal {
        RuleRefusal::NoSuch { what, id } => format!("there is no {what} {id}"),
        RuleRefusal::Bad(message)
        | RuleRefusal::Person(message)
        | RuleRefusal::Failed(message)
        | RuleRefusal::Conflict { message, .. } => message.clone(),
    }
}
