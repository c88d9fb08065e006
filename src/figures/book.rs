//! Figures out of `facts.db`: the last day, kept in memory, and any span before.
//!
//! In come questions; what is new in facts since the one before is read first, so that nothing has to follow
//! along and a restart, a slow disk or a long silence changes no figure. Reads block: call them off the event
//! loop.

use std::sync::{Arc, Mutex, PoisonError};

use super::event::{Event, Opened};
use super::log::Log;
use super::report::{Deliveries, Report};
use super::tally::Tally;
use super::{LEAD, WINDOW};
use crate::facts::{self, Reader};
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
    pub fn live(&self, now: Timestamp, sites: &[Arc<str>]) -> Result<Report, Error> {
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
        let report = log.report(now, sites);
        *kept = Some(log);
        drop(kept);
        self.with_deliveries(report)
    }

    /// Any span, `from` included, `to` not.
    pub fn between(&self, from: Timestamp, to: Timestamp, sites: &[Arc<str>]) -> Result<Report, Error> {
        let begin = from - LEAD;
        let mut tally = Tally::new(self.open_at(begin)?, from, to, sites);
        let mut count = 0;
        if let Some((first, last)) = self.facts.numbers_between(begin, to)? {
            let mut after = first - 1;
            while after < last {
                let page = self.facts.changes_since(after, PAGE)?;
                let Some(newest) = page.last() else { break };
                after = newest.id;
                count += page.len();
                if count > Self::MOST {
                    return Err(Error::TooMany(Self::MOST));
                }
                // What happened before is in `open_at`, whatever its number.
                let inside = page.iter().filter(|published| published.change.at >= begin && published.id <= last);
                inside.for_each(|published| tally.take(&Event::of(published)));
            }
        }
        self.with_deliveries(tally.finish())
    }

    /// A log of the last day as it would be if it had always been kept.
    fn begin(&self, now: Timestamp) -> Result<Log, Error> {
        let from = now - WINDOW - LEAD;
        let mut log = Log::new(self.open_at(from)?, from);
        match self.facts.numbers_between(from, Timestamp::from_micros(i64::MAX))? {
            Some((first, _)) => log.start_after(first - 1),
            None => log.start_after(self.facts.standing()?.0),
        }
        Ok(log)
    }

    fn open_at(&self, at: Timestamp) -> Result<Opened, Error> {
        let mut open = Opened::default();
        for published in self.facts.changes_of_open_at(at)? {
            open.take(&Event::of(&published));
        }
        Ok(open)
    }

    fn with_deliveries(&self, mut report: Report) -> Result<Report, Error> {
        let mut total = Deliveries::default();
        for figures in report.sites.values_mut() {
            figures.deliveries = Some(Deliveries::default());
        }
        for found in self.facts.deliveries_between(report.from, report.to)? {
            let (messages, delivered) = (found.messages, found.delivered);
            let (given_up, waiting, attempts) = (found.given_up, found.waiting, found.attempts);
            let mut of = Deliveries { messages, delivered, given_up, waiting, attempts, rate: None };
            total.add(&of);
            of.add(&Deliveries::default());
            report.sites.entry(found.site).or_default().deliveries = Some(of);
        }
        report.total.deliveries = Some(total);
        Ok(report)
    }
}
