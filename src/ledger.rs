//! The loss ledger: nothing disappears uncounted.
//!
//! In comes every fate of a sample or message that is not "stored as received"; out go counters by
//! source and reason, in `/metrics` and at the end of `davy demo`. Counting is one relaxed atomic add,
//! so the field side may count in its innermost loop. Where the point is known, its loss is counted under
//! its number as well; that takes a lock, which only what is lost pays for. The counters begin at zero with
//! the process: `losses` writes down what they gained.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::PointIndex;

macro_rules! fates {
    ($($variant:ident $word:literal $what:literal,)*) => {
        /// What became of a message or sample.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(usize)]
        pub enum Fate { $(#[doc = $what] $variant,)* }

        impl Fate {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The label in `/metrics`.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// One line for people.
            #[must_use]
            pub const fn what(self) -> &'static str {
                match self { $(Self::$variant => $what,)* }
            }

            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|fate| fate.word() == word)
            }
        }

        const FATES: usize = Fate::ALL.len();
    };
}

fates! {
    Accepted "accepted" "samples handed to the journal",
    NotUtf8 "not_utf8" "payload or topic was not UTF-8",
    NotJson "not_json" "payload did not parse",
    NoValue "no_value" "payload parsed, but the configured path holds no number",
    UnknownTopic "unknown_topic" "no payload pattern matches the topic",
    UnknownPoint "unknown_point" "pattern matched, but there is no such point",
    TooLarge "too_large" "packet or payload over the limit",
    Malformed "malformed" "frame broke the protocol",
    Refused "refused" "connection or request refused (credentials, limit, right)",
    SlowReader "slow_reader" "a subscriber did not keep up and was let go",
    KeepAlive "keep_alive" "no packet within one and a half keep-alive periods",
    TimedOut "timed_out" "device did not answer in time",
    Exception "exception" "device answered with an exception",
    WrongAnswer "wrong_answer" "answer of the wrong unit, function or length",
    StrayAnswer "stray_answer" "bytes on a line on which nothing was asked; thrown away",
    MissedPoll "missed_poll" "slot of a device that passed because its bus was busy",
    Disconnected "disconnected" "connection to the source was lost",
    BadValue "bad_value" "value was one of the invalid codes, NaN or infinite",
    BadTime "bad_time" "source time was absurd and was replaced",
    Duplicate "duplicate" "same point, time and value again; harmless",
    Late "late" "older than what was already judged: stored, not judged",
    RetiredPoint "retired_point" "sample for a point that is retired",
    Unacknowledged "unacknowledged" "could not be made durable; the source was not acknowledged",
    Trimmed "trimmed" "oldest samples given up because space ran out",
    Unborn "unborn" "Sparkplug data of a node or device that is not alive, or of a metric it did not announce",
    Gap "gap" "Sparkplug message missing: the node was asked to announce itself anew",
    Death "death" "Sparkplug node or device died; its points are missing",
    OldDeath "old_death" "Sparkplug death of an earlier session; harmless",
    OutsideGrant "outside_grant" "topic or point that the client may not publish to",
    RateLimit "rate_limit" "client was held back, or turned away, because it came too often",
    BadLine "bad_line" "a line or record of a payload could not be read; the others were kept",
    ScriptFailed "script_failed" "the decode script of a payload form failed on a message",
    Rejected "rejected" "a consumer outside (time-series database, webhook) refused it for good",
}

/// Counters of one source or consumer.
#[derive(Debug)]
pub struct Account {
    pub name: String,
    counts: [AtomicU64; FATES],
    /// As many entries as there are points and fates, at the most.
    points: Mutex<HashMap<(PointIndex, Fate), u64, foldhash::fast::RandomState>>,
}

impl Account {
    pub fn add(&self, fate: Fate, count: u64) {
        self.counts[fate as usize].fetch_add(count, Relaxed);
    }

    pub fn one(&self, fate: Fate) {
        self.add(fate, 1);
    }

    /// The loss of one point: counted for the source and for the point.
    pub fn lost(&self, point: PointIndex, fate: Fate, count: u64) {
        self.add(fate, count);
        let mut points = self.points.lock().unwrap_or_else(PoisonError::into_inner);
        *points.entry((point, fate)).or_default() += count;
    }

    /// What was counted under points, in no order.
    #[must_use]
    pub fn by_point(&self) -> Vec<((PointIndex, Fate), u64)> {
        let points = self.points.lock().unwrap_or_else(PoisonError::into_inner);
        points.iter().map(|(of, count)| (*of, *count)).collect()
    }

    #[must_use]
    pub fn get(&self, fate: Fate) -> u64 {
        self.counts[fate as usize].load(Relaxed)
    }

    /// The fates that happened, with their counts.
    pub fn seen(&self) -> impl Iterator<Item = (Fate, u64)> {
        Fate::ALL.iter().map(|fate| (*fate, self.get(*fate))).filter(|(_, count)| *count > 0)
    }
}

/// All accounts; one `Arc<Account>` is kept by each source, opened once at its start.
#[derive(Debug, Default)]
pub struct Ledger {
    accounts: Mutex<Vec<Arc<Account>>>,
}

impl Ledger {
    /// The account of that name, opened if there is none yet.
    #[must_use]
    pub fn account(&self, name: &str) -> Arc<Account> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = accounts.iter().find(|account| account.name == name) {
            return account.clone();
        }
        let account = Arc::new(Account {
            name: name.to_owned(),
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            points: Mutex::default(),
        });
        accounts.push(account.clone());
        account
    }

    #[must_use]
    pub fn accounts(&self) -> Vec<Arc<Account>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One fate over all accounts.
    #[must_use]
    pub fn total(&self, fate: Fate) -> u64 {
        self.accounts().iter().map(|account| account.get(fate)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_opened_once_and_adds_up() {
        let ledger = Ledger::default();
        ledger.account("mqtt").add(Fate::Accepted, 3);
        ledger.account("mqtt").one(Fate::NotJson);
        ledger.account("modbus").add(Fate::Accepted, 4);
        assert_eq!(ledger.total(Fate::Accepted), 7);
        let seen: Vec<_> = ledger.account("mqtt").seen().collect();
        assert_eq!(seen, [(Fate::Accepted, 3), (Fate::NotJson, 1)]);
    }

    #[test]
    fn the_loss_of_a_point_counts_for_its_source_too() {
        let account = Ledger::default().account("modbus");
        account.lost(PointIndex(7), Fate::BadValue, 2);
        account.lost(PointIndex(7), Fate::BadValue, 1);
        account.one(Fate::BadValue);
        assert_eq!(account.get(Fate::BadValue), 4);
        assert_eq!(account.by_point(), [((PointIndex(7), Fate::BadValue), 3)]);
    }

    #[test]
    fn every_fate_has_a_word_of_its_own() {
        for fate in Fate::ALL {
            assert_eq!(Fate::from_word(fate.word()), Some(*fate));
        }
    }
}
