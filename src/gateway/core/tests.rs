//! Stories of the middle with real files: what is in them after a stop, a crash and a restart.

use std::collections::BTreeMap;

use super::*;
use crate::alarm::{Priority, Standing};
use crate::facts::{self, Answer, Lane};
use crate::journal::{Acknowledge, Outcome, Receipt};
use crate::model::{Kind, PointIndex, Sample, Timestamp};
use crate::response::case::Supervise;

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

fn publishes() -> Option<publish::Config> {
    let text = "area = \"140525\"\nsector = \"013\"\nsender = \"county\"\nsites = [\"mine\"]\nlevels = [\"orange\"]
        scope = \"public\"";
    let mut problems = crate::config::Problems::default();
    let at = crate::config::Key::of("publish");
    let raw: publish::Raw = problems.read(&at, toml::from_str(text).unwrap()).unwrap();
    raw.check(&at, &mut problems)
}

/// Cases that nobody is late with: their alarms would be counted among those of the sensors.
fn unhurried() -> Policy {
    let usual = Policy::default();
    let supervise = Supervise { from_priority: None, ..usual.supervise };
    Policy { answer: [None; 4], update: [None; 4], close: [Duration::from_secs(86_400 * 365); 4], supervise, ..usual }
}

struct Plant {
    folder: tempfile::TempDir,
    points: Vec<&'static str>,
    publish: Option<publish::Config>,
    duty: crate::model::Duty,
    storm: storm::Policy,
    rule: String,
    calendar: crate::model::Calendar,
    limits: Vec<crate::model::SetLimit>,
    /// Of points that are elsewhere than at T1.
    places: BTreeMap<&'static str, &'static str>,
    core: Option<(Core, Intake)>,
}

impl Plant {
    fn open(points: &[&'static str]) -> Self {
        Self::with(points, crate::model::Duty::default())
    }

    fn with(points: &[&'static str], duty: crate::model::Duty) -> Self {
        // Nothing is shelved for coming and going, unless that is what it is about.
        Self::with_both(points, duty, storm::Policy { chatter: None, ..storm::Policy::default() })
    }

    fn with_storm(points: &[&'static str], storm: storm::Policy) -> Self {
        Self::with_both(points, crate::model::Duty::default(), storm)
    }

    fn with_both(points: &[&'static str], duty: crate::model::Duty, storm: storm::Policy) -> Self {
        let (folder, publish) = (tempfile::tempdir().unwrap(), publishes());
        // Davy shelves no P2 by itself.
        let rule = if storm.chatter.is_some() { RULE.replace("\"P2\"", "\"P3\"") } else { RULE.to_owned() };
        let (points, places, calendar, limits) = (points.to_vec(), BTreeMap::new(), Default::default(), Vec::new());
        let mut plant = Self { folder, points, publish, duty, storm, rule, calendar, limits, places, core: None };
        plant.start().unwrap();
        plant
    }

    /// After an update the snapshot has another form.
    fn loses_its_snapshot(&self) {
        let facts = rusqlite::Connection::open(self.folder.path().join("facts.db")).unwrap();
        let changed = facts.execute("UPDATE snapshot SET body = CAST(X'01' || substr(body, 2) AS BLOB)", []).unwrap();
        assert_eq!(changed, 1);
    }

    fn point(&self, name: &str) -> Point {
        let place = self.places.get(name).copied().unwrap_or("T1");
        Point { place: place.into(), ..point(name) }
    }

    fn start(&mut self) -> Result<(), Error> {
        let rules = vec![RuleFile { path: "methane.rhai".into(), text: self.rule.clone() }];
        let options = Options {
            duty: self.duty.clone(),
            journal: journal::Options::at(self.folder.path().join("journal.db")),
            points: self.points.iter().map(|name| self.point(name)).collect(),
            calendar: self.calendar.clone(),
            limits: self.limits.clone(),
            cases: unhurried(),
            storm: self.storm,
            parents: Default::default(),
            recipients: vec![Recipient {
                channel: "webhook".into(),
                name: "county".into(),
                from_priority: Priority::P3,
                sites: Vec::new(),
            }],
            publish: self.publish.clone(),
            // Holds the journal: what has passed everybody is trimmed every ten seconds.
            consumers: vec!["archive"],
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
        let samples = Arc::new(vec![Sample::received(PointIndex(point), value, Some(at), at)]);
        // In the gateway a follower of the journal does.
        self.core().board.show(&samples);
        self.sees(Entry::Samples(samples))
    }

    fn acknowledges(&self, id: &str, raises: u32) -> Answer {
        let (core, intake) = self.core.as_ref().unwrap();
        let (command, answer) = core.answers.expect();
        let at = clock::now();
        let occurrence = crate::alarm::OccurrenceId::named(id);
        let command =
            Acknowledge { command, at, occurrence, raises, by: "李".into(), comment: "看到".into(), seen: None };
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
    let pending = plant.core().facts.pending(Lane::Real, "webhook", "county", 10).unwrap();
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
        approved_by: "Wang".into(),
        until: Some(clock::now() + Duration::from_secs(86_400)),
    };
    plant.sees(Entry::Note(Note::SiteSet(crate::journal::SiteSet { command: 0, standing: standing.clone() })));
    plant.stop();
    plant.loses_its_snapshot();

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

/// What Davy shelved because it chatters is still shelved after an update, and its alarm ends with the shelf.
#[test]
fn a_chattering_alarm_stays_shelved_over_an_update_and_calls_when_the_shelf_ends() {
    let mut plant = Plant::with_storm(&["t1"], storm::Policy::default());
    (0..3).for_each(|turn| {
        plant.reads(10 * turn + 1, 0, 1.3);
        plant.reads(10 * turn + 5, 0, if turn < 2 { 0.2 } else { 1.3 });
    });
    let standing = |plant: &Plant, rule: &str| {
        let open = plant.core().board.open_alarms();
        open.into_iter().find(|alarm| &*alarm.rule == rule).map(|alarm| alarm.standing)
    };
    assert_eq!(standing(&plant, "methane-face"), Some(Standing::Shelved));
    assert_eq!(standing(&plant, "davy-chatter"), Some(Standing::Unacknowledged));
    plant.stop();
    let facts = rusqlite::Connection::open(plant.folder.path().join("facts.db")).unwrap();
    let changed = facts.execute("UPDATE snapshot SET body = CAST(X'01' || substr(body, 2) AS BLOB)", []).unwrap();
    assert_eq!(changed, 1);
    drop(facts);

    plant.start().unwrap();
    assert_eq!(standing(&plant, "methane-face"), Some(Standing::Shelved));
    let passes = |plant: &Plant, second: i64| plant.sees(Entry::Tick(Timestamp::from_secs(1_800_000_000 + second)));
    passes(&plant, 1_700);
    assert_eq!(standing(&plant, "methane-face"), Some(Standing::Shelved));
    passes(&plant, 1_900);
    assert_eq!(standing(&plant, "methane-face"), Some(Standing::Unacknowledged), "it calls again");
    assert_eq!(standing(&plant, "davy-chatter"), Some(Standing::ReturnedUnacknowledged));
}

/// What a console showed is an attempt as any other, once, and for no change that there is not.
#[test]
fn what_a_console_has_shown_is_on_record_once() {
    let mut plant = Plant::open(&["t1"]);
    plant.reads(1, 0, 1.4);
    let (id, change) = {
        let facts = &plant.core().facts;
        let row = facts.pending(Lane::Real, "webhook", "county", 10).unwrap().remove(0);
        (row.published.change.alarm.id, row.published.id)
    };
    let shown = |user: &str, sounded| {
        let shown =
            crate::model::Shown { user: user.into(), changes: vec![change, 4_711, change], sounded, at: clock::now() };
        let act = Box::new(crate::model::DutyAct::Shown(shown));
        Entry::Note(Note::Duty(crate::journal::DutyOrder { command: 0, act }))
    };
    plant.sees(shown("li", true));
    plant.sees(shown("li", false));
    plant.sees(shown("wang", false));
    let told = |plant: &Plant| -> Vec<(String, String, bool)> {
        let attempts = plant.core().facts.attempts(&id).unwrap();
        let of = attempts.into_iter().filter(|one| one.channel == "console");
        of.map(|one| (one.recipient, one.outcome, one.detail.contains("with sound"))).collect()
    };
    let expected = [("li", true), ("wang", false)].map(|(who, sound)| (who.to_owned(), "delivered".to_owned(), sound));
    assert_eq!(told(&plant), expected);
    plant.stop();
    plant.start().unwrap();
    assert_eq!(told(&plant), expected);
}

#[test]
fn a_receipt_settles_the_message_and_every_attempt_is_kept() {
    let mut plant = Plant::open(&["t1"]);
    plant.reads(1, 0, 1.4);
    let message = plant.core().facts.pending(Lane::Real, "webhook", "county", 10).unwrap()[0].id;
    let receipt = |outcome, detail: &str| {
        Entry::Note(Note::Receipt(Receipt {
            at: clock::now(),
            message,
            outcome,
            detail: detail.into(),
            also: Vec::new(),
            rang: None,
        }))
    };
    plant.sees(receipt(Outcome::Failed, "503"));
    assert_eq!(plant.core().facts.pending(Lane::Real, "webhook", "county", 10).unwrap()[0].attempts, 1);
    plant.stop();
    plant.start().unwrap();
    plant.sees(receipt(Outcome::Delivered, "200"));
    assert_eq!(plant.core().facts.pending(Lane::Real, "webhook", "county", 10).unwrap(), []);
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
    let pending = plant.core().facts.pending(Lane::Real, "webhook", "county", 10).unwrap();
    assert_eq!(pending.len(), expected.len());
    let known = std::collections::HashSet::from([pending[0].id]);
    let beside = plant.core().facts.pending_beside((Lane::Real, "webhook", "county"), 10, &known).unwrap();
    let whole = facts::Pending::from(pending);
    assert_eq!((beside.places, &beside.new[..]), (whole.places, &whole.new[1..]), "all places, and what is not known");
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

/// Every message as it lies in the file: identifier, kind, what it refers to, and the whole text.
fn publications(plant: &Plant) -> Vec<(String, String, String)> {
    let facts = rusqlite::Connection::open(plant.folder.path().join("facts.db")).unwrap();
    let mut select = facts.prepare("SELECT identifier, kind, xml FROM publications ORDER BY change").unwrap();
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn a_crash_neither_doubles_nor_loses_nor_renames_a_published_warning() {
    const NAMES: [&str; 13] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m"];
    let mut plant = Plant::open(&NAMES);
    plant.reads(1, 0, 1.4);
    let id = plant.core().board.open_alarms()[0].id.to_string();
    plant.stop();
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(plant.folder.path().join("facts.db"), copy.path().join("facts.db")).unwrap();
    plant.start().unwrap();
    // Twelve more in one second, an acknowledgement, an end, and the first one again.
    for point in 1..13 {
        plant.reads(2, point, 1.4);
    }
    assert!(matches!(plant.acknowledges(&id, 1), Answer::Acknowledged(_)));
    plant.reads(5, 0, 0.2);
    plant.reads(6, 0, 1.6);
    let told = publications(&plant);
    plant.stop();
    let kinds: Vec<&str> = told.iter().map(|(_, kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, [&["Alert"; 13][..], &["Update", "Cancel", "Alert"]].concat());
    let mut identifiers: Vec<&str> = told.iter().map(|(identifier, ..)| identifier.as_str()).collect();
    identifiers.sort_unstable();
    identifiers.dedup();
    assert_eq!(identifiers.len(), told.len(), "ten have room in a second, the others go into the next");
    let refers = |place: usize| {
        let text = &told[place].2;
        let inner = text.split_once("<references>").map(|(_, rest)| rest.split_once("</references>").unwrap().0);
        inner.map(|inner| inner.split(' ').map(|one| one.split(',').nth(1).unwrap().to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(refers(13), Some(vec![told[0].0.clone()]));
    assert_eq!(refers(14), Some(vec![told[0].0.clone(), told[13].0.clone()]));
    assert_eq!(refers(15), None);

    // Power is cut, and facts are as they were before all this.
    std::fs::copy(copy.path().join("facts.db"), plant.folder.path().join("facts.db")).unwrap();
    plant.start().unwrap();
    plant.reads(7, 0, 1.7);
    assert_eq!(publications(&plant), told);
}

#[test]
fn a_warning_that_ended_while_nothing_was_published_is_cancelled_afterwards() {
    let mut plant = Plant::open(&["t1", "t2"]);
    plant.reads(1, 0, 1.4);
    plant.reads(1, 1, 1.4);
    plant.stop();
    plant.publish = None;
    plant.start().unwrap();
    plant.reads(2, 0, 0.2);
    plant.stop();
    assert_eq!(publications(&plant).len(), 2);
    plant.publish = publishes();
    for _ in 0..2 {
        plant.start().unwrap();
        plant.reads(3, 1, 1.5);
        plant.stop();
        let told = publications(&plant);
        let kinds: Vec<&str> = told.iter().map(|(_, kind, _)| kind.as_str()).collect();
        assert_eq!(kinds, ["Alert", "Alert", "Cancel"], "once, and not that of t2, which goes on");
        assert!(told[2].2.contains(&told[0].0));
    }
}

#[test]
fn figures_after_a_restart_are_those_of_a_gateway_that_ran_on() {
    use crate::figures::{Book, Places};
    let mut plant = Plant::open(&["t1", "t2"]);
    let day = 86_400;
    let now = |second: i64| Timestamp::from_secs(1_800_000_000 + second);
    let kept = Book::new(plant.core().facts.clone());
    // A day and a bit: an old alarm that stands on, one that flutters, and one that is over before the day.
    plant.reads(1, 0, 1.4);
    for second in [100, 130, 160, 7_000, 50_000, 50_020, 50_040, day + 3_000] {
        plant.reads(second, 1, 1.2);
        kept.live(now(second), &Places::default()).unwrap();
        plant.reads(second + 10, 1, 0.2);
    }
    let told = kept.live(now(day + 5_000), &Places::default()).unwrap();
    assert_eq!((told.total.raised, told.total.episodes, told.total.stale.count), (5, 3, 1));
    assert_eq!((told.total.chattering.sources, told.total.fleeting), (1, 5));
    assert_eq!(told.total.deliveries.unwrap().messages, 0, "messages are due by the clock, not by the samples");
    let past = kept.between(now(0), now(day), &Places::default()).unwrap();
    assert_eq!((past.total.raised, past.total.chattering.raised), (8, 7));
    plant.stop();
    plant.start().unwrap();
    let anew = Book::new(plant.core().facts.clone());
    assert_eq!(anew.live(now(day + 5_000), &Places::default()).unwrap(), told);
    assert_eq!(anew.between(told.from, told.to, &Places::default()).unwrap(), told);
    assert_eq!(anew.between(now(0), now(day), &Places::default()).unwrap(), past);
    let clock = clock::now();
    let hour =
        anew.between(clock - Duration::from_secs(3_600), clock + Duration::from_secs(1), &Places::default()).unwrap();
    let messages = hour.total.deliveries.unwrap();
    assert_eq!((messages.messages > 0, messages.delivered, messages.rate), (true, 0, Some(0.0)));
}

/// How long the cases of a position took, whether its messages arrive, and what nobody approved.
#[test]
fn figures_tell_of_positions_and_of_what_nobody_approved() {
    use crate::alarm::{Aside, AsideOrder, Way};
    use crate::figures::{Book, Places, Unapproved};
    use crate::model::{Area, AreaKind, Position};
    use crate::response::case::{Answered, CaseStep, Means, Order};
    let mut duty = control_room();
    let area =
        |points: &str| Area { kind: AreaKind::Grid, sites: Vec::new(), points: vec![points.into()], class: None };
    duty.areas = BTreeMap::from([("east".into(), area("mine.t1")), ("west".into(), area("mine.t2"))]);
    let room = duty.positions.remove("operator").unwrap();
    for name in ["east", "west"] {
        let position = Position { area: Some(name.into()), console: None, ..room.clone() };
        duty.positions.insert(name.into(), position);
    }
    let mut plant = Plant::with(&["t1", "t2"], duty.clone());
    let (asked, places) = (clock::now(), Places::of_sites(vec!["mine".into()]).with_positions(&duty));
    let at = |second: i64| Timestamp::from_secs(1_800_000_000 + second);
    plant.sees(Entry::Tick(at(0)));
    plant.reads(1, 0, 1.4);
    plant.sees(Entry::Tick(at(2)));
    let answer =
        Answered { by: "li".into(), at: at(61), with: "老张".into(), means: Means::Phone, words: "撤人".into() };
    let order = Order { command: 0, case: "case-1".into(), at: at(61), by: "li".into() };
    plant.sees(Entry::Note(Note::Case(Box::new(CaseStep::Answered { order, answer }))));
    let shelf = |id: &str, by: &str, approved_by: Option<&str>, second: i64| {
        let (rule, subject, reason) = ("methane-face".into(), "mine.t2".into(), "rewiring".into());
        let (from, until) = (at(second), Some(at(second + 600)));
        let (by, approved_by) = (by.into(), approved_by.map(Into::into));
        let (id, way) = (id.into(), Way::Shelved);
        let aside = Aside { id, way, rule, subject, by, approved_by, reason, from, until, once: false };
        let order = Box::new(AsideOrder::Begin(aside));
        Entry::Note(Note::Aside(crate::journal::AsideNote { command: 0, order }))
    };
    plant.sees(shelf("shelf-1", "Li", None, 62));
    plant.sees(shelf("shelf-2", "davy", None, 63));
    plant.sees(shelf("shelf-3", "Li", Some("Wang"), 64));

    let book = Book::new(plant.core().facts.clone());
    let told = book.between(at(0), at(3_600), &places).unwrap();
    let answered = |name: &str| (told.positions[name].to_answer.count, told.positions[name].to_answer.median);
    assert_eq!((answered("east"), answered("west")), ((1, Some(60.0)), (0, None)));
    assert_eq!(told.total.to_answer.median, Some(60.0));
    let alone = Unapproved { count: 1, shelved: 1, rules: 0 };
    assert_eq!((told.total.unapproved, told.sites["mine"].unapproved), (Some(alone), Some(alone)));
    assert_eq!(told.positions["east"].unapproved, None);

    // Messages go by the clock of the outbox; one of them arrives.
    let messages = plant.core().facts.pending(Lane::Real, "webhook", "county", 10).unwrap();
    let (message, arrived) = (messages[0].id, clock::now());
    let (outcome, detail) = (Outcome::Delivered, String::new());
    plant.sees(Entry::Note(Note::Receipt(Receipt {
        at: arrived,
        message,
        outcome,
        detail,
        also: Vec::new(),
        rang: None,
    })));
    let told = book.between(asked, clock::now() + Duration::from_secs(1), &places).unwrap();
    let east = told.positions["east"].deliveries.unwrap();
    assert_eq!((east.delivered, east.rate), (1, Some(1.0 / east.messages as f64)), "{told:?}");
    assert_eq!(told.positions["west"].deliveries.unwrap().rate, None);

    // A file that is edited on the disk: nobody approved it, and it is of no site.
    plant.stop();
    plant.rule = plant.rule.replace("value: 1.0", "value: 0.9");
    plant.start().unwrap();
    let book = Book::new(plant.core().facts.clone());
    let told = book.between(asked, clock::now() + Duration::from_secs(1), &places).unwrap();
    assert_eq!(told.total.unapproved, Some(Unapproved { count: 1, shelved: 0, rules: 1 }));
    assert_eq!(told.sites["mine"].unapproved, Some(Unapproved::default()));
}

/// First-out and the daily list go on from facts, where the snapshot is lost.
#[test]
fn a_group_and_the_daily_list_go_on_when_the_snapshot_is_lost() {
    use crate::response::StepKind;
    let mut duty = control_room();
    let county = crate::model::Position {
        tier: crate::model::Tier::County,
        daily: Some(480),
        ..duty.positions["operator"].clone()
    };
    duty.positions.insert("county".into(), crate::model::Position { console: None, ..county });
    let mut plant = Plant::with(&["t1", "t2", "t3"], duty);
    let tick = |plant: &Plant, second: i64| {
        plant.sees(Entry::Tick(Timestamp::from_secs(1_800_000_000 + second)));
    };
    let minor = |rule: &str| {
        Entry::Note(Note::Condition(crate::journal::Condition {
            at: Timestamp::from_secs(1_800_000_000),
            rule: rule.into(),
            subject: "pit".into(),
            holds: true,
            title: "电池低 / battery low".into(),
            advice: String::new(),
            priority: Priority::P4,
            level: crate::alarm::Level::Blue,
            detail: String::new(),
        }))
    };
    let lists = |plant: &Plant| -> Vec<(String, String)> {
        let open = plant.core().facts.pending(crate::facts::Lane::Real, "webhook", "county", 1_000).unwrap();
        let steps = open.into_iter().filter_map(|row| row.why).filter(|step| step.kind == StepKind::Daily);
        steps.filter_map(|step| step.list).collect()
    };
    let morning = 57_600;
    tick(&plant, morning - 20);
    for number in 0..25 {
        plant.sees(minor(&format!("battery-{number}")));
    }
    // The second one is told of first, and is the first-out for as long as nothing earlier comes.
    plant.reads(morning - 5, 1, 1.4);
    plant.reads(morning - 9, 0, 1.4);
    tick(&plant, morning);
    let told = lists(&plant);
    assert_eq!(told.len(), 1);
    assert!(told[0].0.starts_with("P4 未结束 25 条：pit 电池低；"), "{}", told[0].0);
    assert!(told[0].1.ends_with("; 5 more in the list of alarms"), "{}", told[0].1);
    let groups = |plant: &Plant| -> Vec<(String, String, u32)> {
        let wanted = facts::Wanted { open: true, most: 100, ..facts::Wanted::default() };
        let mut alarms = plant.core().facts.alarms(&wanted).unwrap();
        assert_eq!(alarms.len(), plant.core().board.open_alarms().len());
        alarms.sort_by(|one, other| one.id.cmp(&other.id));
        assert!(plant.core().board.open_alarms().iter().map(|alarm| &**alarm).eq(&alarms), "the board knows the same");
        let of = alarms.iter().filter_map(|alarm| Some((alarm, alarm.together.as_ref()?)));
        let mut list: Vec<_> =
            of.map(|(alarm, of)| (alarm.subject.to_string(), of.first.subject.to_string(), of.alarms)).collect();
        list.sort();
        list
    };
    let of = |count: usize| -> Vec<(String, String, u32)> {
        let names = ["mine.t1", "mine.t2", "mine.t3"].into_iter().take(count);
        names.map(|name| (name.to_owned(), "mine.t1".to_owned(), count as u32)).collect()
    };
    assert_eq!(groups(&plant), of(2));

    plant.stop();
    plant.loses_its_snapshot();
    plant.start().unwrap();
    tick(&plant, morning + 30);
    assert_eq!(lists(&plant), told, "once a day");
    plant.reads(morning + 31, 2, 1.3);
    assert_eq!(groups(&plant), of(3), "facts know when the group began and which was the first");
    let cases = plant.core().facts.cases(&facts::WantedCases { most: 10, ..Default::default() }).unwrap();
    let counted: std::collections::BTreeSet<_> = cases.iter().map(|case| case.counted_by()).collect();
    assert_eq!((cases.len(), counted.len()), (3, 1), "three cases, one cause");
}

/// A control room in which two shifts follow each other, with a console; whoever is there is told by the webhook.
fn control_room() -> crate::model::Duty {
    use crate::model::{Position, Roster, Someone, Tier, Who};
    let mut duty = Duty { policies: crate::config::shipped_policies(), ..Duty::default() };
    for name in ["li", "wang"] {
        let reach = vec!["webhook.county".to_owned()];
        let one = Someone { name: name.into(), phone: String::new(), reach, user: Some(name.into()) };
        duty.people.insert(name.into(), one);
    }
    let crew = |name: &str| vec![name.to_owned()];
    let roster = Roster {
        starts: vec![0, 480, 960],
        first_day: 0,
        cycle: vec![vec![crew("wang"), crew("wang"), crew("li")]],
        substitutes: Vec::new(),
        handover_within: Some(Duration::from_secs(1_800)),
    };
    duty.rosters.insert("room".into(), roster);
    let who = vec![Who::Roster("room".into())];
    let console = Some(Duration::from_secs(300));
    let position = Position { tier: Tier::Operator, area: None, who, console, checks: None, daily: None };
    duty.positions.insert("operator".into(), position);
    duty
}

/// The recipient belongs to a person of another site: without the alarm's own people it hears of it all the same.
#[test]
fn an_alarm_for_which_nobody_stands_goes_to_all_recipients() {
    use crate::model::{Area, AreaKind};
    use crate::response::StepKind;
    let mut duty = control_room();
    let area = Area { kind: AreaKind::Site, sites: vec!["elsewhere".into()], points: Vec::new(), class: None };
    duty.areas.insert("elsewhere".into(), area);
    duty.positions.values_mut().for_each(|position| position.area = Some("elsewhere".into()));
    let mut plant = Plant::with(&["t1"], duty);
    plant.sees(Entry::Tick(Timestamp::from_secs(1_800_000_000)));
    plant.reads(1, 0, 1.4);
    plant.sees(Entry::Tick(Timestamp::from_secs(1_800_000_002)));
    let told = |plant: &Plant, rule: &str| -> Vec<Option<StepKind>> {
        let rows = plant.core().facts.pending(crate::facts::Lane::Real, "webhook", "county", 1_000).unwrap();
        let of_rule = rows.into_iter().filter(|row| &*row.published.change.alarm.rule == rule);
        of_rule.map(|row| row.why.map(|step| step.kind)).collect()
    };
    assert_eq!(told(&plant, "methane-face"), [Some(StepKind::Everybody)]);
    assert_eq!(told(&plant, "davy-nobody-called"), [Some(StepKind::Call)]);
    plant.stop();
    plant.loses_its_snapshot();
    plant.start().unwrap();
    plant.sees(Entry::Tick(Timestamp::from_secs(1_800_000_004)));
    assert_eq!(told(&plant, "methane-face").len(), 1, "once, also after an update");
    plant.reads(5, 0, 0.2);
    assert_eq!(told(&plant, "methane-face").len(), 2, "and of its end");
}

/// Given before a restart, over after it: the legal number rules from that moment on, and somebody is told.
#[test]
fn an_exemption_runs_out_over_a_restart_and_somebody_is_told() {
    use crate::journal::Limits;
    use crate::model::{Exemption, LimitLeave, LimitOrder};
    let mut plant = Plant::open(&["t1", "t2"]);
    let at = |second: i64| Timestamp::from_secs(1_800_000_000 + second);
    plant.sees(Entry::Tick(at(0)));
    let exemption = Exemption {
        id: "exemption-1".into(),
        rule: "methane-face".into(),
        limit: "alarm".into(),
        points: vec![PointIndex(0)],
        scope: "mine.t1".into(),
        value: 1.3,
        by: "Li".into(),
        approved_by: "Wang".into(),
        basis: "order 7/2026".into(),
        from: at(0),
        until: at(3_600),
    };
    let leave = Some(LimitLeave { approved_by: "Wang".into(), overrides: false });
    let order = Box::new(LimitOrder::Exempt(exemption.clone()));
    plant.sees(Entry::Note(Note::Limits(Limits { command: 0, order, leave })));
    let open = |plant: &Plant, rule: &str| {
        let open = plant.core().board.open_alarms();
        open.into_iter().find(|alarm| &*alarm.rule == rule).map(|alarm| (alarm.subject.to_string(), alarm.limit))
    };
    let percent = |plant: &Plant, second: i64| {
        let told = crate::web::protection_at(&plant.core().facts, &plant.core().board, &[], at(second));
        told.unwrap().1[0].percent()
    };
    for second in [1, 3_598] {
        plant.reads(second, 0, 1.2);
        plant.reads(second, 1, 0.2);
        assert_eq!((open(&plant, "methane-face"), percent(&plant, second)), (None, 50.0), "1.2 is admitted");
        plant.stop();
        plant.start().unwrap();
    }
    plant.sees(Entry::Tick(at(3_599)));
    assert_eq!(open(&plant, "davy-exemption-ended"), None);
    plant.sees(Entry::Tick(at(3_600)));
    assert_eq!(open(&plant, "davy-exemption-ended"), Some(("exemption-1".into(), None)));
    assert_eq!(plant.core().facts.exemptions(true, 10).unwrap(), []);
    plant.reads(3_601, 0, 1.2);
    plant.reads(3_601, 1, 0.2);
    assert_eq!(open(&plant, "methane-face"), Some(("mine.t1".into(), Some(1.0))));
    assert_eq!(percent(&plant, 3_602), 100.0);
}

/// Between one second and the next, by the clock of the calendar.
#[test]
fn a_limit_of_a_season_begins_with_the_local_day() {
    use crate::model::{MonthDay, Scope, Season, SetLimit, Zone};
    let mut plant = Plant::open(&["t1"]);
    plant.stop();
    // 1_800_000_000 is 16:00 of 15 January in Beijing: eight hours later the 16th begins.
    let day = MonthDay { month: 1, day: 16 };
    let season = Season { name: "flood".into(), sites: Vec::new(), from: day, to: day };
    plant.calendar =
        crate::model::Calendar { zone: Zone(8 * 3_600), seasons: vec![season], ..crate::model::Calendar::default() };
    plant.limits = vec![SetLimit {
        id: "limit[0]".into(),
        rule: Some("methane-face".into()),
        limit: "alarm".into(),
        scope: Scope::Points(vec!["mine.t1".into()]),
        season: Some("flood".into()),
        value: 0.5,
        unit: "%VOL".into(),
        by: "Wang".into(),
        reason: "flood plan".into(),
        at: None,
    }];
    plant.start().unwrap();
    let midnight = 8 * 3_600;
    plant.sees(Entry::Tick(Timestamp::from_secs(1_800_000_000 + midnight - 2)));
    plant.reads(midnight - 1, 0, 0.6);
    assert_eq!(plant.core().board.open_alarms(), []);
    plant.sees(Entry::Tick(Timestamp::from_secs(1_800_000_000 + midnight)));
    plant.reads(midnight + 1, 0, 0.6);
    let open = plant.core().board.open_alarms();
    assert_eq!(open.iter().map(|alarm| alarm.limit).collect::<Vec<_>>(), [Some(0.5)]);
}

/// The message to the next shift and the API tell of one and the same thing, by one function.
#[test]
fn a_handover_tells_the_same_percentage_as_the_api() {
    use crate::model::{SiteStanding, SiteState};
    use crate::response::StepKind;
    let mut plant = Plant::with(&["t1", "t2", "t3", "t4"], control_room());
    plant.stop();
    // One rule fails at what it watches, another is quiet while the site stands.
    let at_place = |rule: &str, place: &str| {
        let elsewhere = format!("kind: \"methane\", place: \"{place}\"");
        RULE.replace("methane-face", rule).replace("kind: \"methane\"", &elsewhere)
    };
    let quiet = at_place("quiet", "T2").replace("limits:", "suppressed_when: [\"stopped\"], limits:");
    let failing = at_place("failing", "T3").replace("raise: |p|", "raise: |p| { while true {} true }, clear: |p|");
    plant.rule = [RULE, &quiet, &failing].join("\n");
    plant.places = BTreeMap::from([("t2", "T2"), ("t3", "T3")]);
    plant.start().unwrap();
    let at = |second: i64| Timestamp::from_secs(1_800_000_000 + second);
    let shift = 28_800;
    plant.sees(Entry::Tick(at(0)));
    for index in 0..4 {
        plant.reads(shift - 5, index, 0.2);
    }
    let (site, by, reason) = ("mine".into(), "Wang".into(), "holiday".into());
    let (since, until) = (at(shift - 5), Some(at(shift + 86_400)));
    let standing = SiteStanding { site, state: SiteState::Stopped, since, by, reason, approved_by: "Li".into(), until };
    plant.sees(Entry::Note(Note::SiteSet(crate::journal::SiteSet { command: 0, standing })));
    plant.sees(Entry::Tick(at(shift - 1)));
    plant.sees(Entry::Tick(at(shift)));

    let (facts, board) = (&plant.core().facts, &plant.core().board);
    let rows = facts.pending(Lane::Real, "webhook", "county", 1_000).unwrap();
    let steps = rows.into_iter().filter_map(|row| row.why).filter(|step| step.kind == StepKind::Handover);
    let [told] = &steps.map(|step| step.list.unwrap().1).collect::<Vec<_>>()[..] else { panic!("one hand-over") };
    let (list, shares) = crate::web::protection_at(facts, board, &[], at(shift)).unwrap();
    let kinds: Vec<&str> = list.iter().map(|one| one.kind).collect();
    assert_eq!(kinds, ["suppressed", "site", "rule_fault", "console_closed", "nobody_called"], "{told}");
    assert_eq!((shares[0].points, shares[0].unreduced, shares[0].percent()), (4, 2, 50.0));
    assert!(
        told.contains("mine 50 %")
            && told.contains("reductions of protection 5 (suppressed quiet mine.t2 davy, site mine is stopped Wang"),
        "{told}"
    );
}

/// Cases and duty go on from facts: nothing is told twice, nothing that was owed is forgotten.
#[test]
fn cases_and_duty_go_on_when_the_snapshot_is_lost() {
    use crate::response::case::{Answered, CaseStep, Means, Order};
    use crate::response::{Kept, StepKind};
    // 16:00 in Beijing: the shift of li begins.
    let mut plant = Plant::with(&["t1", "t2"], control_room());
    let tick = |plant: &Plant, second: i64| {
        plant.sees(Entry::Tick(Timestamp::from_secs(1_800_000_000 + second)));
    };
    let standing = |plant: &Plant, rule: &str| {
        let open = plant.core().board.open_alarms();
        open.iter().find(|alarm| &*alarm.rule == rule).map(|alarm| alarm.standing)
    };
    let handovers = |plant: &Plant| -> Vec<String> {
        let open = plant.core().facts.pending(Lane::Real, "webhook", "county", 1_000).unwrap();
        let steps = open.into_iter().filter_map(|row| row.why).filter(|step| step.kind == StepKind::Handover);
        steps.map(|step| step.list.unwrap().1).collect()
    };
    tick(&plant, 0);
    plant.reads(1, 0, 1.4);
    tick(&plant, 10);
    tick(&plant, 320);
    assert_eq!(standing(&plant, "davy-console-closed"), Some(Standing::Unacknowledged));
    let shift = 28_800;
    plant.reads(shift - 3, 1, 0.2);
    tick(&plant, shift - 1);
    tick(&plant, shift);
    let told = handovers(&plant);
    assert_eq!(told.len(), 1, "both are reached by one recipient, once");
    // That nobody stands above the position, to be called about its console, is the third.
    for part in [
        "open alarms 3 (",
        "mine.t1",
        "gateway",
        "open cases 1 (case-1 mine)",
        // t1 has been silent since it alarmed, and nobody sits at the console.
        "reductions of protection 3 (silent mine.t1 t1, console_closed position.operator, nobody_called gateway)",
        "mine 50 %",
    ] {
        assert!(told[0].contains(part), "{part}: {}", told[0]);
    }
    let before = plant.core().facts.duty_kept().unwrap();
    assert!(before.iter().any(|kept| matches!(kept, Kept::Missing { .. })));
    let open = plant.core().board.open_alarms();
    plant.stop();
    plant.loses_its_snapshot();
    plant.start().unwrap();
    tick(&plant, shift + 1);
    assert_eq!(plant.core().board.open_alarms(), open, "no alarm is raised again, none is forgotten");
    assert_eq!(handovers(&plant), told);
    let runs = |kept: &[Kept]| kept.iter().filter(|one| matches!(one, Kept::Run(_))).count();
    assert_eq!(runs(&plant.core().facts.duty_kept().unwrap()), runs(&before));

    // The console is open again, the shift is signed for, somebody speaks with the site.
    let (core, intake) = plant.core.as_ref().unwrap();
    let order = |act| {
        let (command, answer) = core.answers.expect();
        let order = crate::journal::DutyOrder { command, act: Box::new(act) };
        drop(intake.submit_blocking(Entry::Note(Note::Duty(order))).unwrap());
        answer.blocking_recv().unwrap()
    };
    let at = clock::now();
    let console = crate::model::DutyAct::Console { user: "li".into(), open: true, sound: true, at };
    assert_eq!(order(console), Answer::Duty(Ok(String::new())));
    let signed = crate::model::Handover {
        id: "handover-1".into(),
        roster: "room".into(),
        from: "li".into(),
        to: "wang".into(),
        by: "wang".into(),
        at,
        list_hash: String::new(),
        comment: String::new(),
        signed: Vec::new(),
    };
    assert!(matches!(order(crate::model::DutyAct::HandedOver(signed)), Answer::Duty(Ok(_))));
    let answer = Answered { by: "wang".into(), at, with: "老张".into(), means: Means::Phone, words: "撤人".into() };
    let (command, answered) = core.answers.expect();
    let asked = Order { command, case: "case-1".into(), at, by: "wang".into() };
    let step = CaseStep::Answered { order: asked, answer };
    drop(intake.submit_blocking(Entry::Note(Note::Case(Box::new(step)))).unwrap());
    let Answer::Case(outcome) = answered.blocking_recv().unwrap() else { panic!("not about a case") };
    assert_eq!(outcome.unwrap().answers.len(), 1);
    tick(&plant, shift + 2);
    assert_eq!(standing(&plant, "davy-handover"), Some(Standing::ReturnedUnacknowledged));
    assert_eq!(standing(&plant, "davy-handover-unsigned"), None);
    // Two shifts later wang goes: told again, once.
    tick(&plant, 3 * shift);
    tick(&plant, 3 * shift + 1);
    assert_eq!(handovers(&plant).len(), 2);
}
