//! Who is expected to be there: clients, devices and senders that come to Davy by themselves.
//!
//! In come their arrivals, departures and words; out go the alarms that one is away (`davy-source-down`), and that it is
//! back. Nobody dials these, so only their absence tells: whoever has no connection, and has said nothing for its
//! patience, is away. Time before Davy listened does not count. Promised: one alarm for one absence, and the end of an
//! alarm from before a restart. Never: a word about somebody who is not expected.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::down;
use crate::clock::Stopwatch;
use crate::journal::{Condition, Entry, Intake, Note};
use crate::model::duration_text;

/// Absences are noticed with this grain.
const LOOK: Duration = Duration::from_millis(250);

#[derive(Debug, Default)]
pub struct Attendance {
    /// What alarms put before a name: `mqtt_listener.front/`.
    prefix: String,
    members: Mutex<BTreeMap<String, Member>>,
}

#[derive(Debug)]
struct Member {
    patience: Duration,
    /// Connections that stand.
    present: u32,
    heard: bool,
    /// Since it was last there.
    last: Stopwatch,
    told: Option<bool>,
}

impl Attendance {
    /// `expected`: by name, and how long each may be away.
    pub fn of(prefix: impl Into<String>, expected: impl IntoIterator<Item = (String, Duration)>) -> Self {
        let member = |(name, patience)| {
            (name, Member { patience, present: 0, heard: false, last: Stopwatch::start(), told: None })
        };
        Self { prefix: prefix.into(), members: Mutex::new(expected.into_iter().map(member).collect()) }
    }

    fn about(&self, name: &str, change: impl FnOnce(&mut Member)) {
        if let Some(member) = self.members.lock().unwrap_or_else(PoisonError::into_inner).get_mut(name) {
            change(member);
        }
    }

    /// A connection of its own stands.
    pub fn arrives(&self, name: &str) {
        self.about(name, |member| member.present += 1);
    }

    pub fn leaves(&self, name: &str) {
        self.about(name, |member| {
            member.present = member.present.saturating_sub(1);
            member.last = Stopwatch::start();
        });
    }

    /// It said something.
    pub fn speaks(&self, name: &str) {
        self.about(name, |member| (member.heard, member.last) = (true, Stopwatch::start()));
    }

    /// What is to be told since the last look.
    fn news(&self) -> Vec<Condition> {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let mut news = Vec::new();
        for (name, member) in members.iter_mut() {
            let away = member.present == 0 && member.last.elapsed() >= member.patience;
            let there = member.present > 0 || (member.heard && !away);
            // Neither is known of one that was not there since the start and still has time.
            if (away || there) && member.told.replace(away) != Some(away) {
                let subject = format!("{}{name}", self.prefix);
                if away {
                    warn!(source = %subject, patience = ?member.patience, "nothing of it");
                } else {
                    info!(source = %subject, "is there");
                }
                let span = duration_text(member.patience);
                let detail =
                    if away { format!("{span} 无连接或数据 / nothing for {span}") } else { String::new() };
                news.push(down(&subject, away, &detail));
            }
        }
        news
    }

    /// Tells who is away until `stop`; waits for room in the journal's queue.
    pub async fn watch(&self, intake: Intake, stop: CancellationToken) {
        if self.members.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            return stop.cancelled().await;
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            for condition in self.news() {
                // The journal closes only when the gateway stops; all is told anew at the next start.
                intake.submit(Entry::Note(Note::Condition(condition))).await.ok();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(attendance: &Attendance) -> Vec<(String, bool)> {
        attendance.news().into_iter().map(|condition| (condition.subject, condition.holds)).collect()
    }

    #[test]
    fn who_is_away_is_told_once_and_who_was_never_expected_is_not() {
        let all = Attendance::of("mqtt_listener.front/", [("gw".into(), Duration::ZERO)]);
        let gateway = |away| vec![("mqtt_listener.front/gw".to_owned(), away)];
        all.arrives("gw");
        all.arrives("somebody");
        assert_eq!(told(&all), gateway(false), "an alarm from before the restart ends");
        all.arrives("gw");
        all.leaves("gw");
        assert_eq!(told(&all), [], "it was here twice");
        all.leaves("gw");
        assert_eq!((told(&all), told(&all)), (gateway(true), vec![]));
        all.arrives("gw");
        assert_eq!(told(&all), gateway(false));
    }

    #[test]
    fn a_sender_is_there_while_it_speaks_and_has_time_after_the_start() {
        let all = Attendance::of("http.", [("mast".into(), Duration::from_secs(3_600))]);
        assert_eq!(told(&all), []);
        all.speaks("mast");
        assert_eq!((told(&all), told(&all)), (vec![("http.mast".to_owned(), false)], vec![]));
        let silent = Attendance::of("http.", [("mast".into(), Duration::ZERO)]);
        assert_eq!(told(&silent), [("http.mast".to_owned(), true)]);
    }
}
