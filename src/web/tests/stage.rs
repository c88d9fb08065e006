//! The stage: a real server on a loopback port, a real client, and doubles of what lies behind the edge.
//!
//! The doubles keep alarms in memory and answer commands as the engine would: the journal, `facts.db` and the
//! history have tests of their own with real files.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::super::*;
use crate::alarm::{Acknowledgement, Alarm, AlarmChange, Happening, Level, OccurrenceId, Priority, Standing};
use crate::board::Published;
use crate::clock;
use crate::facts::{self, Answer, CaseStepRow, Wanted, WantedCases};
use crate::figures;
use crate::journal::{self, Entry, Note};
use crate::model::{
    Exemption, ExerciseFact, ExerciseOrder, Kind, LimitEnd, Permit, PermitEnd, Point, PointIndex, PointTable, Quality,
    Reason, Sample, SetLimit, SiteStanding, Timestamp,
};
use crate::notify::Doorkeeper;
use crate::publish::{Entry as Warning, Feed};
use crate::response::case::Case;

pub const TOKEN: &str = "correct-horse-battery-staple";

/// Double of `facts.db`, of the desk, of the history and of the vital signs.
#[derive(Default)]
pub struct Backstage {
    pub board: Arc<Board>,
    pub changes: Mutex<Vec<Published>>,
    pub entries: Mutex<Vec<Entry>>,
    pub vitals: Mutex<Vitals>,
    /// Commands get no answer while this is set.
    pub mute: Mutex<bool>,
    asked: Mutex<BTreeMap<u64, oneshot::Sender<Answer>>>,
    commands: AtomicU64,
    pub stored: Mutex<Vec<Reading>>,
    permits: Mutex<Vec<(Permit, Option<PermitEnd>)>>,
    sites: Mutex<Vec<SiteStanding>>,
    exercises: Mutex<Vec<ExerciseFact>>,
    /// What was asked of the keeper of the rules.
    pub orders: Mutex<Vec<RuleOrder>>,
    /// What it answers, the next first; when there is nothing more, that it is done.
    pub replies: Mutex<Vec<Result<RuleDone, RuleRefusal>>>,
    pub outbox: Mutex<Vec<facts::Outgoing>>,
}

impl Backstage {
    /// A change is written first and shown afterwards, as in the gateway.
    pub fn write(&self, happening: Happening, alarm: Alarm) -> Published {
        let mut changes = self.changes.lock().unwrap();
        let id = changes.len() as i64 + 1;
        let published = Published { id, early: false, change: AlarmChange { happening, at: alarm.raised, alarm } };
        changes.push(published.clone());
        published
    }

    pub fn happens(&self, happening: Happening, alarm: Alarm) -> i64 {
        let published = self.write(happening, alarm);
        let id = published.id;
        self.board.publish(Arc::new(published));
        id
    }

    fn newest(&self) -> BTreeMap<OccurrenceId, Alarm> {
        let changes = self.changes.lock().unwrap();
        changes.iter().map(|p| (p.change.alarm.id.clone(), p.change.alarm.clone())).collect()
    }

    /// What the engine and facts would answer.
    fn judge(&self, said: &journal::Acknowledge) -> Answer {
        match self.newest().remove(&said.occurrence) {
            None => Answer::NoSuchAlarm,
            Some(alarm) if alarm.acknowledged.is_some() => Answer::AlreadyAcknowledged(alarm),
            Some(alarm) if alarm.raises > said.raises => Answer::NewerOccurrence(alarm),
            Some(mut alarm) => {
                alarm.standing = Standing::Acknowledged;
                alarm.acknowledged =
                    Some(Acknowledgement { by: said.by.clone(), at: said.at, comment: said.comment.clone() });
                self.happens(Happening::Acknowledged, alarm.clone());
                Answer::Acknowledged(alarm)
            }
        }
    }
}

impl Backstage {
    /// As the engine does: one at a time, and nothing without one.
    fn exercise(&self, order: ExerciseOrder) -> Result<Box<ExerciseFact>, String> {
        let mut facts = self.exercises.lock().unwrap();
        let running = facts.iter_mut().find(|fact| fact.end.is_none());
        let fact = match (order, running) {
            (ExerciseOrder::Start(exercise), None) => {
                facts.push(ExerciseFact { exercise, injections: Vec::new(), end: None });
                facts.last_mut()
            }
            (ExerciseOrder::Inject(injection), Some(fact)) => {
                fact.injections.push(injection);
                Some(fact)
            }
            (ExerciseOrder::End { id, end }, Some(fact)) if fact.exercise.id == id => {
                fact.end = Some(end);
                Some(fact)
            }
            (ExerciseOrder::Start(_) | ExerciseOrder::Inject(_) | ExerciseOrder::End { .. }, _) => None,
        };
        fact.map(|fact| Box::new(fact.clone())).ok_or_else(|| "no such exercise runs".to_owned())
    }
}

impl Alarms for Backstage {
    fn alarms(&self, wanted: &Wanted) -> Result<Vec<Alarm>, facts::Error> {
        let mut alarms: Vec<_> = self.newest().into_values().collect();
        alarms.retain(|alarm| {
            (!wanted.open || alarm.standing != Standing::Normal)
                && wanted.site.as_deref().is_none_or(|site| site == &*alarm.site)
                && wanted.before.is_none_or(|before| alarm.raised < before)
        });
        alarms.sort_by_key(|alarm| std::cmp::Reverse(alarm.raised));
        alarms.truncate(wanted.most);
        Ok(alarms)
    }

    fn alarm(&self, id: &OccurrenceId) -> Result<Option<Alarm>, facts::Error> {
        Ok(self.newest().remove(id))
    }

    fn changes_since(&self, after: i64, most: usize) -> Result<Vec<Published>, facts::Error> {
        let changes = self.changes.lock().unwrap();
        Ok(changes.iter().filter(|change| change.id > after).take(most).cloned().collect())
    }

    fn outgoing(&self, row: i64) -> Result<Option<facts::Outgoing>, facts::Error> {
        Ok(self.outbox.lock().unwrap().iter().find(|outgoing| outgoing.id == row).cloned())
    }
}

impl AlarmFigures for Backstage {
    fn live(&self, now: Timestamp, places: &figures::Places) -> Result<figures::Report, figures::Error> {
        self.between(now - figures::WINDOW, now, places)
    }

    fn between(
        &self,
        from: Timestamp,
        to: Timestamp,
        places: &figures::Places,
    ) -> Result<figures::Report, figures::Error> {
        let mut tally = figures::Tally::new(figures::Opened::default(), from, to, places);
        self.changes.lock().unwrap().iter().for_each(|change| tally.take(&figures::Event::of(change)));
        let mut report = tally.finish();
        report.total.unapproved = Some(figures::Unapproved::default());
        Ok(report)
    }
}

impl Publications for Backstage {
    fn newest(&self, _: usize, _: usize, _: &Feed) -> Result<Vec<Warning>, facts::Error> {
        Ok(Vec::new())
    }

    fn one(&self, _: &str) -> Result<Option<(Warning, String)>, facts::Error> {
        Ok(None)
    }
}

impl Permits for Backstage {
    fn asides(&self, _: bool, _: usize) -> Result<Vec<crate::alarm::AsideFact>, facts::Error> {
        Ok(Vec::new())
    }

    fn aside_of(
        &self,
        _: &str,
        _: &str,
        _: crate::alarm::Way,
    ) -> Result<Option<crate::alarm::AsideFact>, facts::Error> {
        Ok(None)
    }

    fn permits(&self, open: bool, most: usize) -> Result<Vec<(Permit, Option<PermitEnd>)>, facts::Error> {
        let permits = self.permits.lock().unwrap();
        Ok(permits.iter().rev().filter(|(_, end)| !open || end.is_none()).take(most).cloned().collect())
    }

    fn exercises(&self, open: bool, most: usize) -> Result<Vec<ExerciseFact>, facts::Error> {
        let facts = self.exercises.lock().unwrap();
        Ok(facts.iter().rev().filter(|fact| !open || fact.end.is_none()).take(most).cloned().collect())
    }

    fn calibrations(&self) -> Result<HashMap<PointIndex, Timestamp>, facts::Error> {
        let permits = self.permits.lock().unwrap();
        let done =
            permits.iter().filter_map(|(permit, end)| Some((permit, end.as_ref().filter(|end| end.calibrated)?)));
        Ok(done.flat_map(|(permit, end)| permit.points.iter().map(|point| (*point, end.at))).collect())
    }

    fn on_record(&self, _: &[crate::model::PointId]) -> Result<crate::protection::OnRecord, facts::Error> {
        let permits = self.permits.lock().unwrap();
        let permits = permits.iter().filter(|(_, end)| end.is_none()).map(|(permit, _)| permit.clone()).collect();
        let sites = self.sites.lock().unwrap().clone();
        Ok(crate::protection::OnRecord { permits, sites, ..Default::default() })
    }

    fn sites(&self) -> Result<Vec<SiteStanding>, facts::Error> {
        Ok(self.sites.lock().unwrap().clone())
    }
}

impl RuleDesk for Backstage {
    fn order(&self, order: RuleOrder) -> Replying<'_> {
        self.orders.lock().unwrap().push(order);
        let reply = self.replies.lock().unwrap().pop().unwrap_or(Ok(RuleDone::default()));
        Box::pin(async move { reply })
    }
}

/// Nothing was ever in force here; the gateway's own stories read real ones.
impl RuleFacts for Backstage {
    fn rules_in_force(&self) -> Result<Vec<journal::RuleFile>, facts::Error> {
        Ok(Vec::new())
    }

    fn versions(&self, _: Option<&str>, _: usize) -> Result<Vec<facts::Version>, facts::Error> {
        Ok(Vec::new())
    }

    fn version(&self, _: i64) -> Result<Option<(facts::Version, String)>, facts::Error> {
        Ok(None)
    }

    fn drafts(&self, _: Option<&str>, _: usize) -> Result<Vec<facts::Drafted>, facts::Error> {
        Ok(Vec::new())
    }

    fn draft(&self, _: &str) -> Result<Option<facts::Drafted>, facts::Error> {
        Ok(None)
    }

    fn audit(&self, _: i64, _: Option<&str>, _: usize) -> Result<Vec<facts::Audited>, facts::Error> {
        Ok(Vec::new())
    }

    fn audit_head(&self) -> Result<String, facts::Error> {
        Ok(String::new())
    }
}

impl Limits for Backstage {
    fn limits(&self, _: bool, _: usize) -> Result<Vec<(SetLimit, Option<LimitEnd>)>, facts::Error> {
        Ok(Vec::new())
    }

    fn exemptions(&self, _: bool, _: usize) -> Result<Vec<(Exemption, Option<LimitEnd>)>, facts::Error> {
        Ok(Vec::new())
    }
}

impl crate::web::DutyFacts for Backstage {
    fn kept(&self) -> Result<Vec<crate::response::Kept>, facts::Error> {
        Ok(Vec::new())
    }

    fn list(&self, _: &str, _: usize) -> Result<Vec<crate::response::Kept>, facts::Error> {
        Ok(Vec::new())
    }

    fn steps(&self, _: &OccurrenceId) -> Result<Vec<crate::response::Step>, facts::Error> {
        Ok(Vec::new())
    }
}

impl Cases for Backstage {
    fn cases(&self, _: &WantedCases) -> Result<Vec<Case>, facts::Error> {
        Ok(Vec::new())
    }

    fn case(&self, _: &str) -> Result<Option<Case>, facts::Error> {
        Ok(None)
    }

    fn undelivered(&self, _: usize) -> Result<Vec<facts::Outgoing>, facts::Error> {
        Ok(Vec::new())
    }

    fn case_steps(&self, _: u64) -> Result<Vec<CaseStepRow>, facts::Error> {
        Ok(Vec::new())
    }
}

impl Desk for Backstage {
    fn expect(&self) -> Asked {
        let command = self.commands.fetch_add(1, Relaxed) + 1;
        let (answer, answered) = oneshot::channel();
        self.asked.lock().unwrap().insert(command, answer);
        (command, answered)
    }

    fn submit(&self, entry: Entry) -> Answering<'_> {
        Box::pin(async move {
            self.entries.lock().unwrap().push(entry.clone());
            if *self.mute.lock().unwrap() {
                return Ok(());
            }
            let (command, answer) = match entry {
                Entry::Note(Note::Acknowledge(said)) => (said.command, self.judge(&said)),
                Entry::Note(Note::PermitOpened(opened)) => {
                    self.permits.lock().unwrap().push((opened.permit.clone(), None));
                    (opened.command, Answer::PermitOpened(opened.permit))
                }
                Entry::Note(Note::PermitEnded(ended)) => {
                    let mut permits = self.permits.lock().unwrap();
                    let open = permits.iter_mut().find(|(permit, end)| permit.id == ended.id && end.is_none());
                    let answer = open.map_or(Answer::NoSuchPermit, |(permit, end)| {
                        *end = Some(ended.end);
                        Answer::PermitEnded(permit.clone())
                    });
                    (ended.command, answer)
                }
                Entry::Note(Note::SiteSet(set)) => {
                    self.sites.lock().unwrap().push(set.standing.clone());
                    (set.command, Answer::SiteSet(set.standing))
                }
                Entry::Note(Note::Duty(order)) => (order.command, Answer::Duty(Ok("handover-1".into()))),
                Entry::Note(Note::Exercise(note)) => (note.command, Answer::Exercise(self.exercise(*note.order))),
                Entry::Samples(_) | Entry::Tick(_) => return Ok(()),
                Entry::Note(
                    Note::Setup(_)
                    | Note::Condition(_)
                    | Note::Receipt(_)
                    | Note::Rules(_)
                    | Note::Record(_)
                    | Note::Reset(_)
                    | Note::Aside(_)
                    | Note::Case(_)
                    | Note::Limits(_),
                ) => return Ok(()),
            };
            let asker = self.asked.lock().unwrap().remove(&command).expect("was expected");
            drop(asker.send(answer));
            Ok(())
        })
    }
}

impl Samples for Backstage {
    fn samples(&self, id: &str, from: Timestamp, to: Timestamp, most: usize) -> Result<Vec<Reading>, String> {
        if id == "mine.broken" {
            return Err("the file is torn".into());
        }
        let stored = self.stored.lock().unwrap();
        Ok(stored.iter().filter(|one| one.time >= from && one.time <= to).take(most).copied().collect())
    }
}

impl Health for Backstage {
    fn vitals(&self) -> Vitals {
        self.vitals.lock().unwrap().clone()
    }
}

pub struct Stage {
    pub backstage: Arc<Backstage>,
    pub ledger: Arc<Ledger>,
    pub online: Arc<crate::online::Online>,
    pub address: SocketAddr,
    pub client: reqwest::Client,
    /// What seals links.
    pub key: crate::notify::LinkKey,
    stop: CancellationToken,
    /// Of `losses.db`.
    _folder: tempfile::TempDir,
    server: tokio::task::JoinHandle<()>,
}

pub fn config(token: Option<&str>) -> Config {
    Config {
        address: "127.0.0.1:0".parse().unwrap(),
        token: token.and_then(Token::new),
        users: Vec::new(),
        behind_tls: false,
        max_streams: 4,
        max_connections: 64,
    }
}

impl Stage {
    pub async fn open() -> Self {
        Self::with(config(None)).await
    }

    pub async fn locked() -> Self {
        Self::with(config(Some(TOKEN))).await
    }

    pub async fn with(config: Config) -> Self {
        Self::with_senders(config, Arc::default(), Arc::default()).await
    }

    pub async fn with_senders(config: Config, ledger: Arc<Ledger>, senders: Arc<Senders>) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let backstage = Arc::new(Backstage::default());
        backstage.board.set_points(Arc::new(PointTable::new(points())));
        let numbers =
            || vec![Number { name: "journal_seq", help: "newest entry", labels: vec![], value: 42.0, counter: false }];
        let folder = tempfile::tempdir().unwrap();
        let losses = crate::losses::Losses::open(&folder.path().join("losses.db"), ledger.clone()).unwrap();
        let unit = "[\"mine.face\"]\nsets = [\"coal-heading\"]\n[\"plant.r1\"]\nrequires = [{ kind = \"pressure\" }]";
        let mut problems = crate::config::Problems::default();
        let units = crate::coverage::read(toml::from_str(unit).unwrap(), &mut problems);
        let key = crate::notify::LinkKey::open(folder.path()).unwrap();
        let online = Arc::new(crate::online::Online::open(&folder.path().join("online.db")).unwrap());
        let web = Web {
            board: backstage.board.clone(),
            losses: Arc::new(losses),
            online: online.clone(),
            coverage: units.into(),
            alarms: backstage.clone(),
            permits: backstage.clone(),
            rules: backstage.clone(),
            rule_desk: backstage.clone(),
            limits: backstage.clone(),
            cases: backstage.clone(),
            case_files: folder.path().join("cases"),
            duty: backstage.clone(),
            recipients: Arc::default(),
            desk: backstage.clone(),
            ledger: ledger.clone(),
            samples: backstage.clone(),
            figures: backstage.clone(),
            publications: backstage.clone(),
            feeds: Arc::default(),
            senders,
            devices: crate::source::modbus::Devices::default(),
            backtests: crate::backtest::Jobs::new(folder.path()),
            health: backstage.clone(),
            numbers: Arc::new(numbers),
            doors: Vec::new(),
            tester: crate::notify::Tester::default(),
            doorkeeper: Some(Doorkeeper { key: key.clone(), valid: Duration::from_secs(3_600) }),
        };
        let listener = bind(&config).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let server = tokio::spawn(async move { serve(listener, &config, web, stopped).await });
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(Duration::from_secs(20))
            .build()
            .unwrap();
        Self { backstage, ledger, online, address, client, key, stop, _folder: folder, server }
    }

    pub async fn close(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(4), self.server).await.expect("the server ends").unwrap();
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.get(self.url(path))
    }

    pub fn post(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.post(self.url(path))
    }

    /// Status and JSON of a plain GET.
    pub async fn asks(&self, path: &str) -> (u16, Value) {
        answer(self.get(path)).await
    }

    /// Status and JSON of an acknowledgement.
    pub async fn acknowledges(&self, id: &str, raises: u32, by: &str) -> (u16, Value) {
        let said = serde_json::json!({ "raises": raises, "by": by, "comment": "on my way" });
        answer(self.post(&format!("/api/v1/alarms/{id}/ack")).json(&said)).await
    }

    pub fn shows(&self, sample: Sample) {
        self.backstage.board.show(&Arc::new(vec![sample]));
    }

    pub fn refused(&self) -> u64 {
        self.ledger.account("web").get(crate::ledger::Fate::Refused)
    }
}

pub async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status} is not JSON: {text}")))
}

fn point(id: &str, site: &str, name: &str, kind: Kind, place: &str) -> Point {
    Point {
        id: id.into(),
        site: site.into(),
        name: name.into(),
        kind,
        place: place.into(),
        unit: kind.unit().into(),
        range: None,
        resolution: kind.resolution(),
        period: Duration::from_secs(5),
        limits: BTreeMap::new(),
        coordinates: None,
        static_risk: 0,
        calibrate_every: None,
        relations: BTreeMap::new(),
        retired: false,
    }
}

pub fn points() -> Vec<Point> {
    vec![
        point("mine.t1", "mine", "3201 采煤工作面 T1", Kind::Methane, "T1"),
        point("mine.t2", "mine", "<script>alert('t2')</script>", Kind::Methane, "<b>T2</b>"),
        point("mine.broken", "mine", "broken history", Kind::Co, "return"),
        point("plant.p1", "plant", "R-101 reactor", Kind::Pressure, "reactor"),
        Point { retired: true, ..point("plant.old", "plant", "gone", Kind::Pressure, "reactor") },
    ]
}

pub fn sample(point: u32, value: f64) -> Sample {
    let now = clock::now();
    Sample::received(PointIndex(point), value, Some(now), now)
}

/// Long ago by Davy's clock.
pub fn old_sample(point: u32, value: f64) -> Sample {
    let then = clock::now() - Duration::from_secs(600);
    Sample::received(PointIndex(point), value, Some(then), then)
}

pub fn bad_sample(point: u32, reason: Reason) -> Sample {
    Sample { quality: Quality::because(reason), ..sample(point, 0.0) }
}

pub fn alarm(number: u32, title: &str) -> Alarm {
    let raised = Timestamp::from_secs(1_800_000_000 + i64::from(number));
    Alarm {
        id: OccurrenceId::of("mine.t1", "methane-face", raised),
        rule: "methane-face".into(),
        subject: "mine.t1".into(),
        point: Some(PointIndex(0)),
        site: "mine".into(),
        place: "T1".into(),
        title: title.into(),
        advice: "停止作业，撤出人员".into(),
        priority: Priority::P2,
        level: Level::Orange,
        standing: Standing::Unacknowledged,
        raised,
        received: raised,
        cleared: None,
        acknowledged: None,
        value: Some(1.02),
        worst: Some(1.31),
        limit: Some(1.0),
        unit: "%VOL".into(),
        quality: crate::model::Quality::GOOD,
        raises: 1,
        held: false,
        closed: false,
        aside: None,
        together: None,
        exercise: crate::alarm::Exercised::No,
        detail: String::new(),
    }
}

/// One server-sent event.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    pub event: String,
    pub id: Option<String>,
    pub data: Value,
}

/// An open event stream, read event by event.
pub struct Ear {
    answer: reqwest::Response,
    bytes: Vec<u8>,
}

impl Ear {
    pub async fn open(request: reqwest::RequestBuilder) -> Self {
        let answer = request.timeout(Duration::from_secs(60)).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self { answer, bytes: Vec::new() }
    }

    /// The next event; `None` when the stream has ended.
    pub async fn next(&mut self) -> Option<Heard> {
        loop {
            if let Some(end) = self.bytes.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.bytes.drain(..end + 2).collect();
                if let Some(heard) = read(std::str::from_utf8(&block).expect("an event is text")) {
                    return Some(heard);
                }
                continue;
            }
            let chunk = tokio::time::timeout(Duration::from_secs(15), self.answer.chunk());
            match chunk.await.expect("something is heard within 15 s") {
                Ok(Some(bytes)) => self.bytes.extend_from_slice(&bytes),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// The next event of that name.
    pub async fn next_of(&mut self, event: &str) -> Heard {
        loop {
            let heard = self.next().await.expect("the stream goes on");
            if heard.event == event {
                return heard;
            }
        }
    }

    /// Ids of the next alarm events.
    pub async fn ids(&mut self, count: usize) -> Vec<i64> {
        let mut ids = Vec::new();
        while ids.len() < count {
            ids.push(self.next_of("alarm").await.id.expect("has its number").parse().unwrap());
        }
        ids
    }
}

fn read(block: &str) -> Option<Heard> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    Some(Heard {
        event: field("event")?.to_owned(),
        id: field("id").map(str::to_owned),
        data: serde_json::from_str(field("data")?).unwrap(),
    })
}
