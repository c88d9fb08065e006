//! The loss ledger: nothing disappears uncounted.
//!
//! In comes every fate of a sample or message that is not "stored as received"; out go counters by
//! source and reason, in `/metrics` and at the end of `davy demo`. Counting is one relaxed atomic add,
//! so the field side may count in its innermost loop.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

macro_rules! fates {
    ($($variant:ident $word:literal $what:literal,)*) => {
        /// What became of a message or sample.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(usize)]
        pub enum Fate { $(#[doc = $what] $variant,)* }

        impl Fate {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The label in `/metrics`.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
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
    Rejected "rejected" "a consumer outside (time-series database, webhook) refused it for good",
}

/// Counters of one source or consumer.
#[derive(Debug)]
pub struct Account {
    pub name: String,
    counts: [AtomicU64; FATES],
}

impl Account {
    pub fn add(&self, fate: Fate, count: u64) {
        self.counts[fate as usize].fetch_add(count, Relaxed);
    }

    pub fn one(&self, fate: Fate) {
        self.add(fate, 1);
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
        let account = Arc::new(Account { name: name.to_owned(), counts: std::array::from_fn(|_| AtomicU64::new(0)) });
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
}
