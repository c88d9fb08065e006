//! Facts of a span of time: its changes, what was open when it began, and what became of its messages.

use std::sync::Arc;

use rusqlite::params;

use super::{Error, Reader};
use crate::board::Published;
use crate::engine::GATEWAY;
use crate::model::{Reason, Timestamp};

/// Messages about one point, or one of the gateway's conditions: how many were due, and what became of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub site: Arc<str>,
    pub subject: String,
    pub messages: u64,
    pub delivered: u64,
    pub given_up: u64,
    pub waiting: u64,
    pub attempts: u64,
}

/// An alarm that somebody was called about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Called {
    pub site: String,
    pub subject: String,
    /// How many levels were called, copies apart.
    pub levels: u32,
}

impl Reader {
    /// Alarms that somebody was called about in the span; exercises are not among them.
    pub fn called_between(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Called>, Error> {
        let select = "SELECT alarms.site, alarms.subject, count(DISTINCT steps.level)
             FROM steps JOIN alarms ON alarms.id = steps.alarm
             WHERE steps.at >= ?1 AND steps.at < ?2 AND steps.kind = 'call'
                 AND coalesce(json_extract(alarms.body, '$.quality'), 0) & ?3 = 0
             GROUP BY steps.alarm";
        let exercise = i64::from(Reason::Exercise as u16);
        self.rows(select, params![from.micros(), to.micros(), exercise], |row| {
            let broken = |source| Error::Database { path: self.path.clone(), source };
            let levels = row.get(2).map_err(broken)?;
            Ok(Called { site: row.get(0).map_err(broken)?, subject: row.get(1).map_err(broken)?, levels })
        })
    }

    /// Lowest and highest number of a change that happened in the span, `from` included, `to` not.
    pub fn numbers_between(&self, from: Timestamp, to: Timestamp) -> Result<Option<(i64, i64)>, Error> {
        let select = "SELECT min(id), max(id) FROM changes INDEXED BY changes_by_time WHERE at >= ?1 AND at < ?2";
        let found = self.rows(select, [from.micros(), to.micros()], |row| {
            let broken = |source| Error::Database { path: self.path.clone(), source };
            let first: Option<i64> = row.get(0).map_err(broken)?;
            let last: Option<i64> = row.get(1).map_err(broken)?;
            Ok(first.zip(last))
        })?;
        Ok(found.into_iter().next().flatten())
    }

    /// Changes before the one with that number, of every alarm that was open then, oldest first.
    pub fn changes_of_open_before(&self, number: i64) -> Result<Vec<Published>, Error> {
        let select = "SELECT id, body, early FROM changes WHERE id < ?1 AND alarm IN (
                 SELECT id FROM alarms INDEXED BY alarms_open WHERE standing <> 'normal'
                 UNION SELECT alarm FROM changes WHERE id >= ?1) ORDER BY id";
        self.rows(select, [number], |row| self.published(row))
    }

    /// What became of the messages to people that were due in the span, by what they were about. Exercises are not
    /// among them, nor is the log, where what is written has reached nobody, nor neighbours, who are not called, nor
    /// consoles, at which somebody sits or does not.
    pub fn deliveries_between(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Delivery>, Error> {
        let select = "SELECT alarms.site, count(*), sum(outbox.outcome IS 'delivered'),
                 sum(outbox.outcome IS 'given_up'), sum(outbox.settled IS NULL), sum(outbox.attempts),
                 alarms.subject
             FROM outbox JOIN changes ON changes.id = outbox.change JOIN alarms ON alarms.id = changes.alarm
             WHERE outbox.created >= ?1 AND outbox.created < ?2 AND outbox.channel NOT IN ('log', 'neighbour', 'console')
                 AND coalesce(json_extract(alarms.body, '$.quality'), 0) & ?3 = 0
             GROUP BY alarms.site, alarms.subject";
        let exercise = i64::from(Reason::Exercise as u16);
        self.rows(select, params![from.micros(), to.micros(), exercise], |row| {
            let broken = |source| Error::Database { path: self.path.clone(), source };
            let count = |column| row.get::<_, i64>(column).map(|count| count as u64).map_err(broken);
            let site: String = row.get(0).map_err(broken)?;
            Ok(Delivery {
                site: site.into(),
                messages: count(1)?,
                delivered: count(2)?,
                given_up: count(3)?,
                waiting: count(4)?,
                attempts: count(5)?,
                subject: row.get(6).map_err(broken)?,
            })
        })
    }

    /// Alarms that one person shelved in the span, by site.
    pub fn shelved_alone_between(&self, from: Timestamp, to: Timestamp) -> Result<Vec<(Arc<str>, u64)>, Error> {
        let select = "SELECT coalesce(points.body ->> '$.site', ?3), count(*)
             FROM asides LEFT JOIN points ON points.id = asides.subject
             WHERE asides.at >= ?1 AND asides.at < ?2 AND asides.way = 'shelved'
                 AND asides.body ->> '$.aside.by' <> 'davy' AND asides.body ->> '$.aside.approved_by' IS NULL
             GROUP BY 1";
        self.rows(select, params![from.micros(), to.micros(), GATEWAY], |row| {
            let broken = |source| self.broken(source);
            let site: String = row.get(0).map_err(broken)?;
            Ok((site.into(), row.get::<_, i64>(1).map_err(broken)?.unsigned_abs()))
        })
    }

    /// Rule files that somebody edited on the disk in the span, past draft and approval; those that the gateway was
    /// set up with are not among them.
    pub fn rules_edited_between(&self, from: Timestamp, to: Timestamp) -> Result<u64, Error> {
        let select = "SELECT count(*) FROM rule_versions WHERE at >= ?1 AND at < ?2 AND origin = 'file'
             AND at > (SELECT min(at) FROM rule_versions)";
        let count = self.rows(select, [from.micros(), to.micros()], |row| {
            row.get::<_, i64>(0).map_err(|source| self.broken(source))
        })?;
        Ok(count.first().copied().unwrap_or(0).unsigned_abs())
    }
}
