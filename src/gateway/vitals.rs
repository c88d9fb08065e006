//! How the gateway is, for `/readyz` and `/metrics`: snapshots, nothing that blocks.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::core::Core;
use crate::history::History;
use crate::journal::Tail;
use crate::model::Timestamp;
use crate::source::mqtt_listener::Subscribers;
use crate::web::{self, Health, Number, Numbers};
use crate::{engine, facts, journal};

pub struct Vitals {
    tail: Tail,
    journal: Arc<journal::Numbers>,
    engine: Arc<engine::Numbers>,
    facts: Arc<facts::Numbers>,
    history: Arc<History>,
    subscribers: Arc<Subscribers>,
}

/// Entries that the engine may be behind and still count as keeping up.
const KEEPS_UP: u64 = 2_000;

impl Vitals {
    pub fn new(core: &Core, history: &Arc<History>, subscribers: &Arc<Subscribers>) -> Self {
        Self {
            tail: core.tail.clone(),
            journal: core.journal.numbers.clone(),
            engine: core.engine_numbers.clone(),
            facts: core.facts_numbers.clone(),
            history: history.clone(),
            subscribers: subscribers.clone(),
        }
    }
}

impl Health for Vitals {
    fn vitals(&self) -> web::Vitals {
        let poisoned = self.journal.poisoned.load(Relaxed);
        let behind = self.tail.last().saturating_sub(self.engine.seq.load(Relaxed));
        let mut troubles = Vec::new();
        let damaged = self.history.stored().damaged;
        if !damaged.is_empty() {
            troubles.push(("history".to_owned(), format!("{} files cannot be read", damaged.len())));
        }
        web::Vitals {
            journal_trouble: poisoned.then(|| "a write failed; nothing more is acknowledged".to_owned()),
            engine_behind: if behind > KEEPS_UP { Duration::from_secs(60) } else { Duration::ZERO },
            troubles,
        }
    }
}

impl Numbers for Vitals {
    fn numbers(&self) -> Vec<Number> {
        let mut list = Vec::new();
        let mut add = |name, help, labels: &[(&'static str, &str)], value: f64, counter| {
            let labels = labels.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
            list.push(Number { name, help, labels, value, counter });
        };
        let of = |number: &std::sync::atomic::AtomicU64| number.load(Relaxed) as f64;
        add("journal_commits", "group commits of the journal", &[], of(&self.journal.commits), true);
        add("journal_samples", "samples made durable", &[], of(&self.journal.samples), true);
        add("journal_bytes", "bytes written to the journal", &[], of(&self.journal.bytes), true);
        add(
            "journal_slowest_commit_seconds",
            "longest commit so far",
            &[],
            of(&self.journal.slowest_commit_us) / 1e6,
            false,
        );
        add("engine_samples_judged", "samples that went through the rules", &[], of(&self.engine.judged), true);
        add("engine_evaluations", "rule evaluations", &[], of(&self.engine.evaluations), true);
        let rested = "rules passed over because they had failed before; their plain limit judged";
        add("engine_rules_rested", rested, &[], of(&self.engine.rested), true);
        add("engine_window_samples", "samples that rules look back on", &[], of(&self.engine.held_samples), false);
        let bytes = "memory of what rules look back on";
        add("engine_window_bytes", bytes, &[], of(&self.engine.held_bytes), false);
        add("engine_entry", "newest journal entry judged", &[], of(&self.engine.seq), false);
        for (kind, number) in [
            ("raised", &self.facts.raised),
            ("cleared", &self.facts.cleared),
            ("acknowledged", &self.facts.acknowledged),
            ("set_aside", &self.facts.set_aside),
            ("resumed", &self.facts.resumed),
            ("called_again", &self.facts.called_again),
            ("reset", &self.facts.reset),
        ] {
            add("alarm_changes", "alarm changes by kind", &[("happening", kind)], of(number), true);
        }
        add("alarms_early", "changes told before their cause was on the disk", &[], of(&self.facts.early), true);
        add("notifications_delivered", "messages that reached their recipient", &[], of(&self.facts.delivered), true);
        add("notification_failures", "attempts that did not", &[], of(&self.facts.failed_attempts), true);
        for (consumer, lag) in self.tail.lags() {
            add(
                "journal_lag_entries",
                "entries that a consumer has not passed",
                &[("consumer", &consumer)],
                lag as f64,
                false,
            );
        }
        let stored = self.history.stored();
        add("history_samples", "samples in the history", &[], stored.samples as f64, false);
        add("history_bytes", "bytes of raw history files", &[], stored.bytes as f64, false);
        add("history_duplicates", "exact repeats not stored again", &[], stored.duplicates as f64, true);
        add(
            "mqtt_values_dropped",
            "live values that slow subscribers missed",
            &[],
            self.subscribers.values_dropped() as f64,
            true,
        );
        list
    }
}

/// Stored samples for the web, with files that cannot be read as an error rather than a gap.
impl web::Samples for History {
    fn samples(&self, id: &str, from: Timestamp, to: Timestamp, most: usize) -> Result<Vec<web::Reading>, String> {
        let found = Self::samples(self, id, from, to, most).map_err(|error| error.to_string())?;
        if let Some(path) = found.unreadable.first() {
            return Err(format!("history file {} cannot be read", path.display()));
        }
        let readings = found.list.into_iter();
        Ok(readings
            .map(|reading| web::Reading { time: reading.time, value: reading.value, quality: reading.quality })
            .collect())
    }
}
