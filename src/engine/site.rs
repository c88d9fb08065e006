//! What sites are doing: who said so, who approved it, and when it is over.
//!
//! In come people's words and time; out go the state that rules ask for, a record, and alarms: a reminder before the end,
//! and news of it. Promised: a state that takes alarms away has a second person and an end, at which the site is producing
//! again by itself; producing needs one person. What older journals hold without an end is over when the longest stop is.

use std::time::Duration;

use super::Effect;
use super::shard::Shard;
use crate::alarm::{Level, Priority};
use crate::facts::Answer;
use crate::journal::{Condition, SiteSet};
use crate::model::{Calendar, Point, Record, SiteStanding, SiteState, Timestamp, duration_text};

const SITE_ENDS: &str = "davy-site-ends";
const SITE_ENDED: &str = "davy-site-ended";

impl Shard<'_> {
    /// Somebody says what a site is doing.
    pub(super) fn on_site(&mut self, set: &SiteSet, effects: &mut Vec<Effect>) {
        let SiteSet { command, standing } = set;
        let here = |point: &Point| point.site == standing.site && !point.retired;
        let refused =
            if self.table.list().iter().any(here) { self.refuses(standing) } else { Some(Answer::NoSuchSite) };
        if let Some(answer) = refused {
            effects.push(Effect::Answered { command: *command, answer });
            return;
        }
        let now = self.arrival(standing.since, effects);
        self.stand(standing, (now, *command), effects);
    }

    /// What takes alarms away has a second person and an end. One without an end is from before there were ends.
    fn refuses(&self, standing: &SiteStanding) -> Option<Answer> {
        let until = standing.until.filter(|_| standing.state.reduces())?;
        let most = self.longest_stop();
        let words = if standing.approved_by.trim().is_empty() || standing.approved_by == standing.by {
            "停产或检修会停用报警，须由另一人批准 / stopped or in maintenance takes alarms away: another person has to approve it"
                .to_owned()
        } else if until <= standing.since || until.since(standing.since) > most {
            let most = duration_text(most);
            format!("结束时间须在开始之后，最长 {most} / the end must be after the beginning and within {most}")
        } else {
            return None;
        };
        Some(Answer::SiteRefused(words))
    }

    fn longest_stop(&self) -> Duration {
        self.setup.as_ref().map_or_else(|| Calendar::default().longest_stop, |setup| setup.calendar.longest_stop)
    }

    fn stand(&mut self, standing: &SiteStanding, (now, command): (Timestamp, u64), effects: &mut Vec<Effect>) {
        let here = |point: &Point| point.site == standing.site && !point.retired;
        let before = self.sites.insert(standing.site.clone(), standing.clone());
        self.conditions.apply(&site_ends(standing, standing.since, false), effects);
        effects.push(Effect::Record(Record {
            action: "site.set".into(),
            subject: standing.site.to_string(),
            reason: standing.reason.clone(),
            before: before.map(|before| before.state).unwrap_or_default().word().to_owned(),
            after: after(standing),
            ..Record::by(&standing.by, standing.since)
        }));
        effects.push(Effect::Site(standing.clone()));
        effects.push(Effect::Answered { command, answer: Answer::SiteSet(standing.clone()) });
        self.suppress_by_design(standing.since, effects);
        for point in self.plan.lookers.clone() {
            if self.table.get(point).is_some_and(here) {
                self.judge_onlooker(point, now, standing.since, effects);
            }
        }
    }

    /// Sites whose time is up are producing again.
    pub(super) fn look_at_sites(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let longest = self.longest_stop();
        let over = |standing: &&SiteStanding| standing.ends(longest).is_some_and(|ends| now >= ends);
        let over: Vec<SiteStanding> = self.sites.values().filter(over).cloned().collect();
        for ended in over {
            let standing = SiteStanding {
                site: ended.site.clone(),
                state: SiteState::Producing,
                since: now,
                by: "davy".into(),
                reason: "到期自动恢复 / its time was up".into(),
                approved_by: String::new(),
                until: None,
            };
            self.stand(&standing, (now, 0), effects);
            // News that stands until somebody has seen it.
            for holds in [true, false] {
                self.conditions.apply(&site_ended(&ended, now, holds), effects);
            }
        }
    }

    /// Sites that are soon producing again. Asked once a minute.
    pub(super) fn remind_of_sites(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let longest = self.longest_stop();
        for standing in self.sites.values() {
            if standing.reminds(longest).is_some_and(|reminds| now >= reminds) {
                self.conditions.apply(&site_ends(standing, now, true), effects);
            }
        }
    }

    /// When the next of them is over.
    pub(super) fn site_due(&self) -> Option<Timestamp> {
        let longest = self.longest_stop();
        self.sites.values().filter_map(|standing| standing.ends(longest)).min()
    }

    /// What sites are doing, where somebody has said so.
    #[must_use]
    pub fn sites(&self) -> Vec<SiteStanding> {
        self.sites.values().cloned().collect()
    }
}

/// `stopped until 2026-12-05T08:00:00Z, approved by Wang`
fn after(standing: &SiteStanding) -> String {
    let until = standing.until.map_or_else(String::new, |until| format!(" until {until}"));
    let by = &standing.approved_by;
    let approved = if by.is_empty() { String::new() } else { format!(", approved by {by}") };
    format!("{}{until}{approved}", standing.state.word())
}

fn of_site(standing: &SiteStanding, rule: &str, at: Timestamp, holds: bool) -> Condition {
    Condition {
        at,
        rule: rule.into(),
        subject: standing.site.to_string(),
        holds,
        title: String::new(),
        advice: String::new(),
        priority: Priority::P3,
        level: Level::Yellow,
        detail: format!("{} {} ({}): {}", standing.since, after(standing), standing.by, standing.reason),
    }
}

fn site_ends(standing: &SiteStanding, at: Timestamp, holds: bool) -> Condition {
    let site = &standing.site;
    Condition {
        title: format!("停产或检修即将到期 / the site is soon producing again by itself: {site}"),
        advice:
            "到期后全部规则恢复；确需延期请重新审批 / then all rules count again; for longer, have it approved anew"
                .into(),
        ..of_site(standing, SITE_ENDS, at, holds)
    }
}

fn site_ended(standing: &SiteStanding, at: Timestamp, holds: bool) -> Condition {
    let site = &standing.site;
    Condition {
        title: format!("停产或检修已到期，全部规则恢复 / the time is up, all rules count again: {site}"),
        advice:
            "核实现场状态；仍停产的请重新审批 / look what the site is doing; if it still stands, have it approved anew"
                .into(),
        ..of_site(standing, SITE_ENDED, at, holds)
    }
}
