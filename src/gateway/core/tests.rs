//! Stories of the middle with real files: what is in them after a stop, a crash and a restart.

use super::*;
use crate::alarm::{Priority, Standing};
use crate::facts::Answer;
use crate::journal::{Acknowledge, Outcome, Receipt};
use crate::model::{Kind, PointIndex, Sample, Timestamp};

const RULE: &str = r#"rule("methane-face", #{ title: "t", advice: "a", watches: #{ kind: "methane" }, priority: "P2", level: "orange",
    limits: #{ alarm: #{ value: 1.0, unit: "%VOL", stricter: "lower", basis: "AQ 1029-2019" } },
    raise: |p| p.value >= p.limit.alarm });"#;

fn point(name: &str) -> Point {
    Point {
        id: format!("mine.{name}").into(),
        site: "mine".into(),
        name: name.into(),
        kind: Kind::Methane,
        place: "T1".into(),
        unit: "%VOL".into(),
        range: None,
        resolution: 0.01,
        period: Duration::from_secs(3600),
        limits: std::collections::BTreeMap::default(),
        coordinates: None,
        static_risk: 0,
        calibrate_every: None,
        relations: std::collections::BTreeMap::new(),
        retired: false,
    }
}

struct Plant {
    folder: tempfile::TempDir,
    points: Vec<&'static str>,
    core: Option<(Core, Intake)>,
}

impl Plant {
    fn open(points: &[&'static str]) -> Self {
        let mut plant = Self { folder: tempfile::tempdir().unwrap(), points: points.to_vec(), core: None };
        plant.start().unwrap();
        plant
    }

    fn start(&mut self) -> Result<(), Error> {
        let rules = vec![RuleFile { path: "methane.rhai".into(), text: RULE.into() }];
        let options = Options {
            journal: journal::Options::at(self.folder.path().join("journal.db")),
            points: self.points.iter().map(|name| point(name)).collect(),
            calendar: Default::default(),
            limits: Vec::new(),
            recipients: vec![Recipient {
                channel: "webhook".into(),
                name: "county".into(),
                from_priority: Priority::P3,
            }],
            consumers: vec![],
            snapshot_every: Duration::from_secs(30),
        };
        self.core = Some(Core::start(self.folder.path(), options, Arc::default(), |_, _| rules)?);
        Ok(())
    }

    fn stop(&mut self) {
        let (core, intake) = self.core.take().unwrap();
        drop(intake);
        core.join().unwrap();
    }

    fn core(&self) -> &Core {
        &self.core.as_ref().unwrap().0
    }

    /// Submits, and returns once it is durable, judged and written to facts.
    fn sees(&self, entry: Entry) -> Seq {
        let (core, intake) = self.core.as_ref().unwrap();
        let seq = intake.submit_blocking(entry).unwrap().durable_blocking().unwrap();
        let command = self.acknowledges("nothing", 1);
        assert_eq!(command, Answer::NoSuchAlarm);
        assert!(core.judged() > seq);
        seq
    }

    fn reads(&self, second: i64, point: u32, value: f64) -> Seq {
        let at = Timestamp::from_secs(1_800_000_000 + second);
        self.sees(Entry::Samples(Arc::new(vec![Sample::received(PointIndex(point), value, Some(at), at)])))
    }

    fn acknowledges(&self, id: &str, raises: u32) -> Answer {
        let (core, intake) = self.core.as_ref().unwrap();
        let (command, answer) = core.answers.expect();
        let at = clock::now();
        let occurrence = crate::alarm::OccurrenceId::named(id);
        let command = Acknowledge { command, at, occurrence, raises, by: "李".into(), comment: "看到".into() };
        drop(intake.submit_blocking(Entry::Note(Note::Acknowledge(command))).unwrap());
        answer.blocking_recv().unwrap()
    }
}

#[test]
fn an_alarm_its_messages_and_its_answer_survive_a_restart() {
    let mut plant = Plant::open(&["t1", "t2"]);
    plant.reads(1, 1, 1.4);
    let open = plant.core().board.open_alarms();
    assert_eq!(open.iter().map(|alarm| &*alarm.subject).collect::<Vec<_>>(), ["mine.t2"]);
    let id = open[0].id.to_string();
    plant.stop();

    plant.start().unwrap();
    assert_eq!(plant.core().board.open_alarms(), open);
    let pending = plant.core().facts.pending("webhook", "county", 10).unwrap();
    assert_eq!(pending.len(), 1);
    assert_eq!((pending[0].recipient.as_str(), pending[0].attempts), ("county", 0));
    assert!(
        matches!(plant.acknowledges(&id, 1), Answer::Acknowledged(alarm) if alarm.standing == Standing::Acknowledged)
    );
    plant.reads(5, 1, 0.2);
    assert_eq!(plant.core().board.open_alarms(), []);
    let changes = plant.core().facts.changes_since(0, 100).unwrap();
    let happenings: Vec<_> = changes.iter().map(|published| published.change.happening.word()).collect();
    assert_eq!(happenings, ["raised", "acknowledged", "cleared"]);
    assert!(changes.windows(2).all(|pair| pair[0].id < pair[1].id));
}

/// After an update the engine's snapshot may have another form. No alarm is orphaned by that: it can still be
/// acknowledged, it clears when the gas is gone, and it is not raised a second time.
#[test]
fn an_update_with_another_form_of_snapshot_keeps_every_alarm_and_permit() {
    let mut plant = Plant::open(&["t1", "t2"]);
    plant.reads(1, 0, 1.3);
    plant.reads(1, 1, 1.4);
    let open = plant.core().board.open_alarms();
    let first = open.iter().find(|alarm| &*alarm.subject == "mine.t1").unwrap().id.to_string();
    let permit = crate::model::Permit {
        id: "permit-1".into(),
        kind: crate::model::PermitKind::Maintenance,
        points: vec![PointIndex(1)],
        scope: "mine.t2".into(),
        by: "赵".into(),
        reason: "cable".into(),
        from: clock::now(),
        until: clock::now() + Duration::from_secs(3_600),
    };
    plant.sees(Entry::Note(Note::PermitOpened(crate::journal::PermitOpened { command: 0, permit })));
    let standing = crate::model::SiteStanding {
        site: "mine".into(),
        state: crate::model::SiteState::Stopped,
        since: clock::now(),
        by: "赵".into(),
        reason: "holiday".into(),
    };
    plant.sees(Entry::Note(Note::SiteSet(crate::journal::SiteSet { command: 0, standing: standing.clone() })));
    plant.stop();
    let facts = rusqlite::Connection::open(plant.folder.path().join("facts.db")).unwrap();
    let changed = facts.execute("UPDATE snapshot SET body = CAST(X'01' || substr(body, 2) AS BLOB)", []).unwrap();
    assert_eq!(changed, 1);
    drop(facts);

    plant.start().unwrap();
    assert_eq!(plant.core().board.open_alarms(), open);
    assert_eq!(plant.core().facts.sites().unwrap(), [standing]);
    assert!(matches!(plant.acknowledges(&first, 1), Answer::Acknowledged(_)));
    plant.reads(5, 0, 1.5);
    plant.reads(5, 1, 0.2);
    let standing: Vec<_> = plant.core().board.open_alarms().iter().map(|alarm| alarm.standing).collect();
    assert_eq!(standing.len(), 2);
    assert!(standing.contains(&Standing::Acknowledged) && standing.contains(&Standing::ReturnedUnacknowledged));
    let end = crate::model::PermitEnd { at: clock::now(), by: "赵".into(), comment: String::new(), calibrated: false };
    let ended = crate::journal::PermitEnded { command: 0, id: "permit-1".into(), end };
    plant.sees(Entry::Note(Note::PermitEnded(ended)));
    assert_eq!(plant.core().facts.permits(true, 10).unwrap(), []);
}

#[test]
fn a_receipt_settles_the_message_and_every_attempt_is_kept() {
    let mut plant = Plant::open(&["t1"]);
    plant.reads(1, 0, 1.4);
    let message = plant.core().facts.pending("webhook", "county", 10).unwrap()[0].id;
    let receipt = |outcome, detail: &str| {
        Entry::Note(Note::Receipt(Receipt { at: clock::now(), message, outcome, detail: detail.into() }))
    };
    plant.sees(receipt(Outcome::Failed, "503"));
    assert_eq!(plant.core().facts.pending("webhook", "county", 10).unwrap()[0].attempts, 1);
    plant.stop();
    plant.start().unwrap();
    plant.sees(receipt(Outcome::Delivered, "200"));
    assert_eq!(plant.core().facts.pending("webhook", "county", 10).unwrap(), []);
    let id = plant.core().board.open_alarms()[0].id.clone();
    let attempts = plant.core().facts.attempts(&id).unwrap();
    let outcomes: Vec<_> = attempts.iter().map(|attempt| (attempt.outcome.as_str(), attempt.detail.as_str())).collect();
    assert_eq!(outcomes, [("failed", "503"), ("delivered", "200")]);
}

/// The snapshot and the rows in facts may be older than the journal by any amount: what is behind them is
/// judged again and written once.
#[test]
fn facts_that_lag_behind_the_journal_catch_up_without_doubling() {
    let mut plant = Plant::open(&["t1"]);
    plant.reads(1, 0, 1.4);
    plant.stop();
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(plant.folder.path().join("facts.db"), copy.path().join("facts.db")).unwrap();
    plant.start().unwrap();
    plant.reads(2, 0, 0.4);
    plant.reads(3, 0, 1.9);
    let open = plant.core().board.open_alarms();
    // On a busy machine the slow disk may be an alarm too.
    let gas = open.iter().find(|alarm| &*alarm.subject == "mine.t1").unwrap();
    assert!(matches!(plant.acknowledges(&gas.id.to_string(), 2), Answer::Acknowledged(_)));
    let expected = plant.core().facts.changes_since(0, 100).unwrap();
    let records = plant.core().facts.audit(1, None, 100).unwrap();
    let actions: Vec<&str> = records.iter().map(|row| row.record.action.as_str()).collect();
    assert_eq!(actions, ["rules.edited", "alarm.acknowledged"]);
    plant.stop();

    std::fs::copy(copy.path().join("facts.db"), plant.folder.path().join("facts.db")).unwrap();
    plant.start().unwrap();
    plant.reads(4, 0, 1.9);
    assert_eq!(plant.core().facts.changes_since(0, 100).unwrap(), expected);
    assert_eq!(plant.core().facts.pending("webhook", "county", 10).unwrap().len(), expected.len());
    assert_eq!(plant.core().facts.audit(1, None, 100).unwrap(), records, "hash for hash");
    assert_eq!(plant.core().facts.versions(None, 10).unwrap().len(), 1);
}

#[test]
fn a_point_keeps_its_number_for_ever() {
    let mut plant = Plant::open(&["t1", "t2"]);
    plant.stop();
    plant.points = vec!["t0", "t2"];
    plant.start().unwrap();
    let table = plant.core().table.clone();
    let numbers: Vec<_> = table.iter().map(|(index, point)| (index.0, &*point.id, point.retired)).collect();
    assert_eq!(numbers, [(0, "mine.t1", true), (1, "mine.t2", false), (2, "mine.t0", false)]);
}

#[test]
fn a_lost_facts_file_is_noticed_before_numbers_are_given_anew() {
    let mut plant = Plant::open(&["t1"]);
    plant.reads(1, 0, 1.4);
    plant.stop();
    for name in ["facts.db", "facts.db-wal", "facts.db-shm"] {
        std::fs::remove_file(plant.folder.path().join(name)).ok();
    }
    for _ in 0..2 {
        assert!(matches!(plant.start(), Err(Error::FactsMissing)));
    }
}

/// Somebody holds the journal's file: acknowledgements wait, alarms do not.
#[test]
fn a_journal_that_hangs_holds_no_alarm_back() {
    let plant = Plant::open(&["t1", "t2"]);
    plant.reads(1, 0, 0.4);
    let thief = rusqlite::Connection::open(plant.folder.path().join("journal.db")).unwrap();
    thief.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (core, intake) = plant.core.as_ref().unwrap();
    let at = Timestamp::from_secs(1_800_000_010);
    let mut changes = core.board.changes();
    let high = |point| Entry::Samples(Arc::new(vec![Sample::received(PointIndex(point), 1.4, Some(at), at)]));
    let first = intake.submit_blocking(high(0)).unwrap();
    let second = intake.submit_blocking(high(1)).unwrap();
    let mut told = Vec::new();
    while told.len() < 3 {
        let published = changes.blocking_recv().unwrap();
        told.push((published.change.alarm.rule.to_string(), published.early));
    }
    told.sort();
    let early = |rule: &str| (rule.to_owned(), true);
    assert_eq!(told, [early("davy-slow-disk"), early("methane-face"), early("methane-face")]);
    assert_eq!(core.tail.last(), core.journal.durable.seq());
    assert!(core.judged() > core.tail.last(), "judged, and not yet on the disk");
    thief.execute_batch("COMMIT").unwrap();
    assert!(first.durable_blocking().unwrap() <= second.durable_blocking().unwrap());
}
