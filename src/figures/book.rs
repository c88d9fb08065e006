//! Figures out of `facts.db`: the last day, kept in memory, and any span before.
//!
//! In come questions; what is new in facts since the one before is read first, so that nothing has to follow
//! along and a restart, a slow disk or a long silence changes no figure. Reads block: call them off the event
//! loop.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::event::{Event, Opened};
use super::log::Log;
use super::places::Places;
use super::report::{Deliveries, Report, Unapproved};
use super::tally::{Tally, spread};
use super::{LEAD, WINDOW};
use crate::facts::{self, CaseTimes, Reader};
use crate::model::Timestamp;

/// Changes read at a time.
const PAGE: usize = 1_000;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Facts(#[from] facts::Error),
    #[error("there are more than {0} alarm changes in that span; ask for a shorter one")]
    TooMany(usize),
}

/// How long cases of a site or a position took.
#[derive(Default)]
struct Taken {
    answered: Vec<Duration>,
    closed: Vec<Duration>,
}

impl Taken {
    fn note(&mut self, times: &CaseTimes) {
        self.answered.extend(times.answered.map(|at| at.since(times.since)));
        self.closed.extend(times.closed.map(|at| at.since(times.since)));
    }
}

#[derive(Debug)]
pub struct Book {
    facts: Reader,
    log: Mutex<Option<Log>>,
}

impl Book {
    /// Changes that one question about the past reads at most: a year of 2,700 a day.
    pub const MOST: usize = 1_000_000;

    #[must_use]
    pub const fn new(facts: Reader) -> Self {
        Self { facts, log: Mutex::new(None) }
    }

    /// The last day up to `now`.
    pub fn live(&self, now: Timestamp, places: &Places) -> Result<Report, Error> {
        let mut kept = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let mut log = match kept.take() {
            Some(log) => log,
            None => self.begin(now)?,
        };
        loop {
            let news = self.facts.changes_since(log.last(), PAGE)?;
            for published in &news {
                log.take(Event::of(published));
            }
            log.forget(now);
            if news.len() < PAGE {
                break;
            }
        }
        log.causes_are(self.facts.causes_said(now - WINDOW - LEAD)?);
        let report = log.report(now, places);
        *kept = Some(log);
        drop(kept);
        self.with_deliveries(report, places)
    }

    /// Any span, `from` included, `to` not.
    pub fn between(&self, from: Timestamp, to: Timestamp, places: &Places) -> Result<Report, Error> {
        let begin = from - LEAD;
        let mut count = 0;
        let numbers = self.facts.numbers_between(begin, to)?;
        let first = match numbers {
            Some((first, _)) => first,
            // Nothing happened in it: what was open is what is open before the first change after it.
            None => self.first_since(to)?,
        };
        let mut tally =
            Tally::new(self.open_before(first)?, from, to, places).with_causes(self.facts.causes_said(begin)?);
        if let Some((first, last)) = numbers {
            let mut after = first - 1;
            while after < last {
                let page = self.facts.changes_since(after, PAGE)?;
                let Some(newest) = page.last() else { break };
                after = newest.id;
                count += page.len();
                if count > Self::MOST {
                    return Err(Error::TooMany(Self::MOST));
                }
                let inside = page.iter().filter(|published| published.id <= last);
                inside.for_each(|published| tally.take(&Event::of(published)));
            }
        }
        self.with_deliveries(tally.finish(), places)
    }

    /// A log of the last day as it would be if it had always been kept.
    fn begin(&self, now: Timestamp) -> Result<Log, Error> {
        let from = now - WINDOW - LEAD;
        let first = self.first_since(from)?;
        let mut log = Log::new(self.open_before(first)?, from);
        log.start_after(first - 1);
        Ok(log)
    }

    /// Number of the first change that happened then or later. Times need not rise with the numbers; what is open
    /// goes by numbers alone.
    fn first_since(&self, at: Timestamp) -> Result<i64, Error> {
        Ok(match self.facts.numbers_between(at, Timestamp::from_micros(i64::MAX))? {
            Some((first, _)) => first,
            None => self.facts.standing()?.0 + 1,
        })
    }

    fn open_before(&self, number: i64) -> Result<Opened, Error> {
        let mut open = Opened::default();
        for published in self.facts.changes_of_open_before(number)? {
            open.take(&Event::of(&published));
        }
        Ok(open)
    }

    fn with_deliveries(&self, mut report: Report, places: &Places) -> Result<Report, Error> {
        let mut total = Deliveries::default();
        for figures in report.sites.values_mut().chain(report.positions.values_mut()) {
            figures.deliveries = Some(Deliveries::default());
        }
        let names: Vec<Arc<str>> = places.positions().cloned().collect();
        for found in self.facts.deliveries_between(report.from, report.to)? {
            let (messages, delivered) = (found.messages, found.delivered);
            let (given_up, waiting, attempts) = (found.given_up, found.waiting, found.attempts);
            let of = Deliveries { messages, delivered, given_up, waiting, attempts, rate: None };
            total.add(&of);
            for post in places.at(&found.site, &found.subject) {
                let figures = report.positions.entry(names[post].clone()).or_default();
                figures.deliveries.get_or_insert_default().add(&of);
            }
            report.sites.entry(found.site).or_default().deliveries.get_or_insert_default().add(&of);
        }
        report.total.deliveries = Some(total);
        let report = self.with_cases(report, places)?;
        self.with_calls(report, places).and_then(|report| self.with_unapproved(report))
    }

    /// What nobody approved.
    fn with_unapproved(&self, mut report: Report) -> Result<Report, Error> {
        let mut total =
            Unapproved { rules: self.facts.rules_edited_between(report.from, report.to)?, ..Default::default() };
        for figures in report.sites.values_mut() {
            figures.unapproved = Some(Unapproved::default());
        }
        for (site, shelved) in self.facts.shelved_alone_between(report.from, report.to)? {
            total.shelved += shelved;
            report.sites.entry(site).or_default().unapproved = Some(Unapproved { count: shelved, shelved, rules: 0 });
        }
        total.count = total.shelved + total.rules;
        report.total.unapproved = Some(total);
        Ok(report)
    }

    /// How many of the alarms that were called about went up.
    fn with_calls(&self, mut report: Report, places: &Places) -> Result<Report, Error> {
        let names: Vec<Arc<str>> = places.positions().cloned().collect();
        let mut total = (0, 0);
        let mut sites: BTreeMap<Arc<str>, (u32, u32)> = BTreeMap::new();
        let mut posts = vec![(0, 0); names.len()];
        for called in self.facts.called_between(report.from, report.to)? {
            let up = u32::from(called.levels > 1);
            let add = |of: &mut (u32, u32)| *of = (of.0 + 1, of.1 + up);
            add(&mut total);
            add(sites.entry(called.site.as_str().into()).or_default());
            places.at(&called.site, &called.subject).into_iter().for_each(|post| add(&mut posts[post]));
        }
        let share = |(all, up): (u32, u32)| (all > 0).then(|| f64::from(up) / f64::from(all));
        report.total.escalated = share(total);
        for (site, of) in sites {
            report.sites.entry(site).or_default().escalated = share(of);
        }
        for (name, of) in names.into_iter().zip(posts) {
            report.positions.entry(name).or_default().escalated = share(of);
        }
        Ok(report)
    }

    /// Times of the rounds of cases that began in the span.
    fn with_cases(&self, mut report: Report, places: &Places) -> Result<Report, Error> {
        let mut sites: BTreeMap<Arc<str>, Taken> = BTreeMap::new();
        let names: Vec<Arc<str>> = places.positions().cloned().collect();
        let mut posts: Vec<Taken> = names.iter().map(|_| Taken::default()).collect();
        let mut total = Taken::default();
        for times in self.facts.case_times(report.from, report.to)? {
            sites.entry(times.site.as_str().into()).or_default().note(&times);
            places.at(&times.site, &times.subject).into_iter().for_each(|post| posts[post].note(&times));
            total.note(&times);
        }
        for (name, taken) in names.into_iter().zip(posts) {
            let figures = report.positions.entry(name).or_default();
            (figures.to_answer, figures.to_close) = (spread(taken.answered), spread(taken.closed));
        }
        for (site, taken) in sites {
            let figures = report.sites.entry(site).or_default();
            (figures.to_answer, figures.to_close) = (spread(taken.answered), spread(taken.closed));
        }
        (report.total.to_answer, report.total.to_close) = (spread(total.answered), spread(total.closed));
        Ok(report)
    }
}
