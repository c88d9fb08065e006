//! What a backtest says: counts, times in alarm, lead times and the difference, as JSON and as lines.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::compare::{Difference, Lead, Moved, difference, leads, span_text};
use super::{Occurrence, Outcome, Played};
use crate::model::Timestamp;

/// Lines of a list that a person is shown.
const SHOWN: usize = 20;

/// How one rule did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleCount {
    /// Points that it watches.
    pub points: usize,
    /// Raised within the span, and standing already when it began.
    pub alarms: usize,
    pub began_before: usize,
    pub standing_at_end: usize,
    /// In which at least one point was in alarm.
    pub in_alarm: Duration,
    pub longest: Duration,
    pub by_day: BTreeMap<String, usize>,
    pub by_point: BTreeMap<Arc<str>, usize>,
}

#[derive(Clone, Debug)]
pub struct Report {
    pub outcome: Outcome,
    pub rules: BTreeMap<Arc<str>, RuleCount>,
    /// By point, over all rules.
    pub points: BTreeMap<Arc<str>, usize>,
    pub difference: Option<Difference>,
    /// The rule that lead times are measured against, and how the others did.
    pub leads: Option<(String, Vec<Lead>)>,
}

impl Report {
    /// `about`: the rules that the difference is about; all of both versions when empty. The reference may be a
    /// rule of the candidate or of the version that it is compared with.
    #[must_use]
    pub fn of(outcome: Outcome, about: &BTreeSet<Arc<str>>, reference: Option<&str>) -> Self {
        let rules = count(&outcome);
        let mut points = BTreeMap::new();
        for (point, alarms) in rules.values().flat_map(|rule| &rule.by_point) {
            *points.entry(point.clone()).or_insert(0) += alarms;
        }
        let compared = outcome.against.as_ref().map(|against| {
            let both = || against.watched.keys().chain(outcome.candidate.watched.keys()).cloned().collect();
            let about = if about.is_empty() { both() } else { about.clone() };
            difference(against, &outcome.candidate, &about)
        });
        let leads = reference.map(|reference| {
            let own = outcome.candidate.watched.contains_key(reference);
            let of = if own { &outcome.candidate } else { outcome.against.as_ref().unwrap_or(&outcome.candidate) };
            (reference.to_owned(), leads(reference, of, &outcome.candidate, outcome.from))
        });
        Self { rules, points, difference: compared, leads, outcome }
    }

    /// One line for whoever approves.
    #[must_use]
    pub fn verdict(&self) -> String {
        let faults: u64 = self.outcome.candidate.faults.values().map(|(count, _)| count).sum();
        let failing = match self.outcome.candidate.faults.len() {
            0 => String::new(),
            rules => format!("; {rules} rules FAILED, {faults} times"),
        };
        let alarms = self.rules.values().map(|rule| rule.alarms).sum::<usize>() as u64 + self.outcome.candidate.beyond;
        match &self.difference {
            Some(difference) => format!("{}{failing}", difference.verdict()),
            None => format!("{alarms} alarms of {} rules{failing}", self.rules.len()),
        }
    }

    /// One object; lists of at most `most` alarms each.
    #[must_use]
    pub fn json(&self, most: usize) -> Value {
        let outcome = &self.outcome;
        let mut object = json!({
            "from": outcome.from.to_string(), "to": outcome.to.to_string(), "warm_up_from": outcome.begun.to_string(),
            "points": outcome.points, "samples": outcome.samples,
            "evaluations": outcome.candidate.evaluations,
            "rules": self.rules.iter().map(|(id, rule)| rule.json(id, self.span())).collect::<Vec<_>>(),
            "by_point": self.points,
            "alarms": list(&outcome.candidate.occurrences, outcome.from, most),
            "alarms_count": outcome.candidate.occurrences.len() as u64 + outcome.candidate.beyond,
            "truncated": outcome.candidate.beyond > 0 || outcome.candidate.occurrences.len() > most,
            "faults": outcome.candidate.faults.iter().map(|(rule, (count, why))| {
                json!({ "rule": rule, "times": count, "first": why })
            }).collect::<Vec<_>>(),
            "refused": outcome.candidate.refused.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "verdict": self.verdict(),
        });
        if let Some(difference) = &self.difference {
            object["difference"] = json!({
                "added_count": difference.added.len(), "gone_count": difference.gone.len(),
                "earlier_count": difference.earlier.len(), "later_count": difference.later.len(),
                "ended_count": difference.ended.len(), "unchanged": difference.unchanged,
                "truncated": difference.cut,
                "added": list(&difference.added, outcome.from, most),
                "gone": list(&difference.gone, outcome.from, most),
                "earlier": moves(&difference.earlier, most), "later": moves(&difference.later, most),
                "ended": moves(&difference.ended, most),
                "verdict": difference.verdict(),
            });
        }
        if let Some((reference, leads)) = &self.leads {
            let rules: Vec<Value> = leads.iter().map(lead).collect();
            object["lead"] = json!({ "reference": reference, "rules": rules });
        }
        object
    }

    fn span(&self) -> Duration {
        self.outcome.to.since(self.outcome.from)
    }

    /// For a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out).expect("a string takes everything");
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let outcome = &self.outcome;
        let (from, to) = (outcome.from, outcome.to);
        writeln!(out, "{from} to {to}: {} points, {} samples", outcome.points, outcome.samples)?;
        writeln!(
            out,
            "{:<28} {:>6} {:>7} {:>7} {:>10} {:>8}",
            "rule", "points", "alarms", "stand", "in alarm", "share"
        )?;
        for (id, rule) in self.rules.iter().filter(|(_, rule)| rule.points > 0) {
            let (before, held) = (rule.began_before, span_text(rule.in_alarm));
            let share = rule.share(self.span()) * 100.0;
            let (points, alarms, stand) = (rule.points, rule.alarms, rule.standing_at_end);
            write!(out, "{id:<28} {points:>6} {alarms:>7} {stand:>7} {held:>10} {share:>7.2}%")?;
            writeln!(out, "{}", if before > 0 { format!("  {before} began before") } else { String::new() })?;
        }
        for (rule, (count, why)) in &outcome.candidate.faults {
            writeln!(out, "FAILS {rule}: {count} times: {why}")?;
        }
        outcome.candidate.refused.iter().try_for_each(|problem| writeln!(out, "does not fit: {problem}"))?;
        lines(out, "alarms", &outcome.candidate.occurrences, outcome.from)?;
        self.write_days(out)?;
        if let Some((reference, leads)) = &self.leads {
            writeln!(out, "\nlead time before {reference}")?;
            for lead in leads {
                let shown = |span: Option<Duration>| span.map_or("-".into(), span_text);
                let (least, median) = (shown(lead.before.first().copied()), shown(lead.median()));
                let (rule, missed, alarms) = (&lead.rule, lead.missed, lead.alarms);
                writeln!(out, "{rule:<28} median {median}, least {least}, missed {missed} of {alarms}")?;
            }
        }
        if let Some(difference) = &self.difference {
            lines(out, "added", &difference.added, outcome.from)?;
            lines(out, "gone", &difference.gone, outcome.from)?;
            for (name, list) in
                [("earlier", &difference.earlier), ("later", &difference.later), ("other end", &difference.ended)]
            {
                write_moves(out, name, list)?;
            }
        }
        writeln!(out, "\n{}", self.verdict())
    }

    fn write_days(&self, out: &mut String) -> std::fmt::Result {
        let mut days: BTreeMap<&str, usize> = BTreeMap::new();
        for (day, count) in self.rules.values().flat_map(|rule| &rule.by_day) {
            *days.entry(day).or_default() += count;
        }
        if days.len() > 1 {
            let days: Vec<String> = days.iter().map(|(day, count)| format!("{day} {count}")).collect();
            writeln!(out, "\nper day: {}", days.join(", "))?;
        }
        if self.points.len() > 1 {
            let mut points: Vec<_> = self.points.iter().collect();
            points.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
            let points: Vec<String> =
                points.iter().take(SHOWN).map(|(point, count)| format!("{point} {count}")).collect();
            writeln!(out, "per point: {}", points.join(", "))?;
        }
        Ok(())
    }
}

impl RuleCount {
    /// Of the time, in alarm.
    #[must_use]
    pub fn share(&self, span: Duration) -> f64 {
        self.in_alarm.as_secs_f64() / span.as_secs_f64()
    }

    fn json(&self, id: &str, span: Duration) -> Value {
        json!({
            "rule": id, "points": self.points, "alarms": self.alarms, "began_before": self.began_before,
            "standing_at_end": self.standing_at_end, "in_alarm_s": self.in_alarm.as_secs_f64(),
            "in_alarm_share": self.share(span), "longest_s": self.longest.as_secs_f64(),
            "by_day": self.by_day, "by_point": self.by_point,
        })
    }
}

fn count(outcome: &Outcome) -> BTreeMap<Arc<str>, RuleCount> {
    let Played { occurrences, watched, .. } = &outcome.candidate;
    let mut rules: BTreeMap<Arc<str>, RuleCount> = watched
        .iter()
        .map(|(id, points)| (id.clone(), RuleCount { points: points.len(), ..RuleCount::default() }))
        .collect();
    let mut until: BTreeMap<&Arc<str>, Timestamp> = BTreeMap::new();
    // In the order in which they were raised, so that what overlaps is counted once.
    for one in occurrences {
        let rule = rules.entry(one.rule.clone()).or_default();
        let (begin, end) = (one.raised.max(outcome.from), one.cleared.unwrap_or(outcome.to).min(outcome.to));
        rule.longest = rule.longest.max(end.since(begin));
        let counted = until.entry(&one.rule).or_insert(outcome.from);
        rule.in_alarm += end.since(begin.max(*counted));
        *counted = end.max(*counted);
        rule.standing_at_end += usize::from(one.cleared.is_none_or(|cleared| cleared > outcome.to));
        if one.raised < outcome.from {
            rule.began_before += 1;
            continue;
        }
        rule.alarms += 1;
        *rule.by_day.entry(one.raised.date()).or_default() += 1;
        *rule.by_point.entry(one.point.clone()).or_default() += 1;
    }
    rules
}

fn list(occurrences: &[Occurrence], from: Timestamp, most: usize) -> Vec<Value> {
    occurrences.iter().take(most).map(|one| object(one, from)).collect()
}

fn object(one: &Occurrence, from: Timestamp) -> Value {
    json!({
        "id": one.id.as_str(), "rule": one.rule, "point": one.point, "raised": one.raised.to_string(),
        "cleared": one.cleared.map(|at| at.to_string()),
        "duration_s": one.cleared.map(|at| at.since(one.raised).as_secs_f64()),
        "value": one.value, "worst": one.worst, "limit": one.limit, "unit": one.unit,
        "priority": one.priority.word(), "level": one.level.word(), "raises": one.raises,
        "began_before": one.raised < from,
    })
}

fn moves(moved: &[Moved], most: usize) -> Vec<Value> {
    let object = |moved: &Moved| {
        json!({
            "rule": moved.now.rule, "point": moved.now.point, "raised_before": moved.before.raised.to_string(),
            "raised": moved.now.raised.to_string(), "raised_by_s": moved.raised_by_s(),
            "cleared_by_s": moved.cleared_by_s(),
        })
    };
    moved.iter().take(most).map(object).collect()
}

fn lead(lead: &Lead) -> Value {
    let seconds = |span: Option<Duration>| span.map(|span| span.as_secs_f64());
    json!({
        "rule": lead.rule, "alarms": lead.alarms, "missed": lead.missed,
        "min_s": seconds(lead.before.first().copied()), "median_s": seconds(lead.median()),
    })
}

fn lines(out: &mut String, name: &str, list: &[Occurrence], from: Timestamp) -> std::fmt::Result {
    if list.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{name}")?;
    for one in list.iter().take(SHOWN) {
        let lasted = one.cleared.map_or("stands".into(), |cleared| span_text(cleared.since(one.raised)));
        let worst = one.worst.map_or_else(String::new, |worst| format!("worst {worst} {}", one.unit));
        let before = if one.raised < from { "  began before" } else { "" };
        let (raised, rule, point) = (one.raised.to_string(), &one.rule, &one.point);
        writeln!(out, "{raised:<28} {rule:<28} {point:<24} {lasted:>8}  {worst}{before}")?;
    }
    if list.len() > SHOWN { writeln!(out, ".. {} in all (--json has them)", list.len()) } else { Ok(()) }
}

fn write_moves(out: &mut String, name: &str, list: &[Moved]) -> std::fmt::Result {
    if list.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{name}")?;
    for moved in list.iter().take(SHOWN) {
        let by = moved.cleared_by_s().map_or_else(String::new, |by| format!(", end {by:+.1} s"));
        let (raised, rule, point) = (moved.now.raised.to_string(), &moved.now.rule, &moved.now.point);
        writeln!(out, "{raised:<28} {rule:<28} {point:<24} raised {:+.1} s{by}", moved.raised_by_s())?;
    }
    if list.len() > SHOWN { writeln!(out, ".. {} in all (--json has them)", list.len()) } else { Ok(()) }
}
