use std::collections::HashSet;
use std::sync::Mutex;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::sync::watch;

use super::*;
use crate::alarm::{Alarm, AlarmChange, Happening, Level, OccurrenceId, Standing};
use crate::board::Published;
use crate::model::{PointIndex, Quality, Reason, Timestamp};
use crate::remote::scripted::{Say, Server};

const RAISED: Timestamp = Timestamp::from_secs(1_800_000_000);

pub(super) fn alarm(point: &str, priority: Priority) -> Alarm {
    let subject: Arc<str> = format!("mine-3.{point}").into();
    Alarm {
        id: OccurrenceId::of(&subject, "methane-face", RAISED),
        rule: "methane-face".into(),
        subject,
        point: Some(PointIndex(3)),
        site: "mine-3".into(),
        place: "T1".into(),
        title: "采煤工作面瓦斯超限".into(),
        advice: "停止作业，撤出人员，查明原因".into(),
        priority,
        level: Level::Orange,
        standing: Standing::Unacknowledged,
        raised: RAISED,
        received: RAISED,
        cleared: None,
        acknowledged: None,
        value: Some(1.35),
        worst: Some(1.35),
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

pub(super) fn outgoing(id: i64, happening: Happening, alarm: Alarm) -> Outgoing {
    Outgoing {
        why: None,
        id,
        channel: "webhook".into(),
        recipient: "county-duty".into(),
        published: Published { id: 1_000 + id, early: false, change: AlarmChange { happening, at: RAISED, alarm } },
        attempts: 0,
        created: RAISED,
    }
}

/// The outbox and the journal, played in memory: a receipt moves its row as facts would.
#[derive(Clone)]
pub(super) struct Played {
    rows: Arc<Mutex<Vec<Outgoing>>>,
    alarms: Arc<Mutex<Vec<Alarm>>>,
    notes: Arc<watch::Sender<Vec<Note>>>,
}

impl Played {
    pub(super) fn with(rows: Vec<Outgoing>) -> Self {
        let notes = Arc::new(watch::Sender::new(Vec::new()));
        Self { rows: Arc::new(Mutex::new(rows)), alarms: Arc::default(), notes }
    }

    /// The alarms that are open from now on.
    pub(super) fn open(&self, alarms: Vec<Alarm>) {
        *self.alarms.lock().unwrap() = alarms;
    }

    pub(super) fn rows(&self) -> Vec<Outgoing> {
        self.rows.lock().unwrap().clone()
    }

    /// Receipts once `enough` of them is true.
    pub(super) async fn receipts(&self, enough: impl Fn(&[Receipt]) -> bool) -> Vec<Receipt> {
        let receipts = |notes: &Vec<Note>| -> Vec<Receipt> {
            let receipt = |note: &Note| match note {
                Note::Receipt(receipt) => Some(receipt.clone()),
                Note::Setup(_)
                | Note::Acknowledge(_)
                | Note::Condition(_)
                | Note::PermitOpened(_)
                | Note::PermitEnded(_)
                | Note::SiteSet(_)
                | Note::Rules(_)
                | Note::Record(_)
                | Note::Reset(_)
                | Note::Aside(_)
                | Note::Case(_)
                | Note::Duty(_)
                | Note::Exercise(_)
                | Note::Limits(_) => None,
            };
            notes.iter().filter_map(receipt).collect()
        };
        let mut heard = self.notes.subscribe();
        let waited = tokio::time::timeout(Duration::from_secs(20), heard.wait_for(|notes| enough(&receipts(notes))));
        match waited.await {
            Ok(notes) => receipts(&notes.unwrap()),
            Err(_) => panic!("not enough receipts: {:?}", receipts(&self.notes.borrow())),
        }
    }

    async fn outcomes(&self, message: i64, count: usize) -> Vec<Outcome> {
        let of = |receipts: &[Receipt]| -> Vec<Outcome> {
            receipts.iter().filter(|receipt| receipt.message == message).map(|receipt| receipt.outcome).collect()
        };
        of(&self.receipts(|receipts| of(receipts).len() >= count).await)
    }

    /// What was acknowledged over a channel.
    pub(super) fn acknowledged(&self) -> Vec<journal::Acknowledge> {
        let of = |note: &Note| if let Note::Acknowledge(said) = note { Some(said.clone()) } else { None };
        self.notes.borrow().iter().filter_map(of).collect()
    }

    pub(super) fn conditions(&self) -> Vec<(String, String, bool)> {
        let condition = |note: &Note| match note {
            Note::Condition(told) => Some((told.rule.clone(), told.subject.clone(), told.holds)),
            Note::Setup(_)
            | Note::Acknowledge(_)
            | Note::Receipt(_)
            | Note::PermitOpened(_)
            | Note::PermitEnded(_)
            | Note::SiteSet(_)
            | Note::Rules(_)
            | Note::Record(_)
            | Note::Reset(_)
            | Note::Aside(_)
            | Note::Case(_)
            | Note::Duty(_)
            | Note::Exercise(_)
            | Note::Limits(_) => None,
        };
        self.notes.borrow().iter().filter_map(condition).collect()
    }
}

impl Office for Played {
    fn pending(
        &self,
        (lane, channel, recipient): (Lane, &str, &str),
        most: usize,
        known: &HashSet<i64>,
    ) -> Result<Pending, facts::Error> {
        let mut rows = self.rows();
        let of_lane = |row: &Outgoing| row.published.change.is_exercise() == (lane == Lane::Exercise);
        rows.retain(|row| row.channel == channel && row.recipient == recipient && of_lane(row));
        rows.sort_by_key(|row| (row.published.change.alarm.priority, row.id));
        rows.truncate(most);
        let mut pending = Pending::from(rows);
        pending.new.retain(|row| !known.contains(&row.id));
        Ok(pending)
    }

    fn waiting(&self, lane: Lane, channel: &str, recipient: &str, most: usize) -> Result<Vec<Waiting>, facts::Error> {
        let of = |row: Outgoing| {
            let urgent = row.urgent();
            let Alarm { priority, site, id: alarm, .. } = row.published.change.alarm;
            Waiting { id: row.id, priority, site, alarm, urgent }
        };
        let all = self.pending((lane, channel, recipient), most, &HashSet::new())?;
        Ok(all.new.into_iter().map(of).collect())
    }

    fn reached(&self, _: Lane, _: &str, _: &str, _: Timestamp) -> Result<Vec<Timestamp>, facts::Error> {
        Ok(Vec::new())
    }

    fn open_alarms(&self) -> Result<Vec<Alarm>, facts::Error> {
        Ok(self.alarms.lock().unwrap().clone())
    }

    async fn note(&self, note: Note) -> Result<(), journal::Error> {
        if let Note::Receipt(receipt) = &note {
            let mut rows = self.rows.lock().unwrap();
            match receipt.outcome {
                Outcome::Delivered | Outcome::GivenUp => {
                    rows.retain(|row| row.id != receipt.message && !receipt.also.contains(&row.id));
                }
                Outcome::Failed => {
                    rows.iter_mut().filter(|row| row.id == receipt.message).for_each(|row| row.attempts += 1)
                }
            }
        }
        self.notes.send_modify(|notes| notes.push(note));
        Ok(())
    }
}

/// A running notification, stopped on drop.
pub(super) struct Running {
    board: Arc<Board>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    pub(super) fn start(config: &Config, office: &Played, publish: Publish) -> Self {
        let (board, stop) = (Arc::new(Board::new()), CancellationToken::new());
        let quick = Patience { first: Duration::from_millis(20), ..config.patience() };
        let said = office.clone();
        let say: super::Say = Arc::new(move |note| {
            let said = said.clone();
            Box::pin(async move { said.note(note).await })
        });
        let channels = channels(config, &Means { say, ..Means::to_send(publish) }).unwrap();
        let task = tokio::spawn(run(channels, office.clone(), board.clone(), quick, stop.clone()));
        Self { board, stop, task }
    }

    pub(super) async fn ends(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

pub(super) fn nobody() -> Publish {
    Arc::new(|_: &Arc<Published>, _| Err(Failure::temporary("no listener")))
}

pub(super) fn checked(text: &str) -> Result<Config, Vec<String>> {
    let mut problems = Problems::in_file("davy.toml");
    let raw: Option<Raw> = problems.read(&Key::of("notify"), toml::from_str(text).unwrap());
    let config = raw.and_then(|raw| raw.check(&Key::of("notify"), &mut problems));
    config.ok_or_else(|| problems.iter().map(ToString::to_string).collect())
}

/// Only webhooks, so that no other channel mixes in.
fn hooks(hooks: &[(&str, &str, &str)]) -> Config {
    let mut text = "log.enabled = false\nmqtt.enabled = false\n".to_owned();
    for (name, url, more) in hooks {
        text += &format!("[webhook.{name}]\nurl = \"{url}\"\ntimeout = \"5s\"\n{more}\n");
    }
    checked(&text).unwrap()
}

fn now_created(mut row: Outgoing) -> Outgoing {
    row.created = clock::now();
    row
}

fn to(recipient: &str, id: i64, point: &str, priority: Priority) -> Outgoing {
    to_channel("webhook", recipient, id, point, priority)
}

pub(super) fn to_channel(channel: &str, recipient: &str, id: i64, point: &str, priority: Priority) -> Outgoing {
    let row = outgoing(id, Happening::Raised, alarm(point, priority));
    now_created(Outgoing { channel: channel.into(), recipient: recipient.into(), ..row })
}

#[test]
fn everybody_who_is_configured_is_a_recipient_with_their_own_measure() {
    let config =
        checked("[webhook.county-duty]\nurl = \"http://10.0.0.9/hook\"\nfrom_priority = \"P2\"\n[log]\n").unwrap();
    let everybody = recipients(&config);
    let names: Vec<_> = everybody.iter().map(|someone| (someone.channel.as_str(), someone.name.as_str())).collect();
    assert_eq!(names, [("webhook", "county-duty"), ("log", "log"), ("mqtt", "subscribers")]);
    let wants = |who: &Recipient, priority| who.wants(&alarm("face", priority));
    let wanted: Vec<_> = Priority::ALL.into_iter().filter(|priority| wants(&everybody[0], *priority)).collect();
    assert_eq!(wanted, [Priority::P1, Priority::P2]);
    assert!(wants(&everybody[1], Priority::P4));
    assert_eq!(recipients(&checked("log.enabled = false\nmqtt.enabled = false").unwrap()), []);
}

#[test]
fn recipients_of_a_person_have_one_budget_and_are_tried_together() {
    let hook = |name, cap: &'static str| (name, "http://127.0.0.1:9/hook", cap);
    let config = hooks(&[
        hook("a", "most_per = \"20 in 10m\""),
        hook("b", "most_per = \"8 in 10m\""),
        hook("c", "most_per = \"8 in 10m\""),
        hook("d", ""),
    ]);
    let mut duty = Duty::default();
    let reach = ["webhook.a", "webhook.b", "webhook.d"].map(str::to_owned).to_vec();
    let li = crate::model::Someone { name: "李伟".into(), phone: String::new(), reach, user: None };
    duty.people.insert("li".into(), li);
    let publish: Publish = Arc::new(|_, _| Err(Failure::nobody("nobody")));
    let means = Means::to_send(publish);
    let channels = channels(&config, &means).unwrap().of_people(&duty);
    let budgets = channels.budgets();
    let [Some(a), Some(b), Some(c), None] = &budgets[..] else { panic!("{budgets:?}") };
    assert!(a.is_that_of(b) && !a.is_that_of(c), "the mail and the short message are the same person's");
    let tester = channels.tester();
    let ways = |name| tester.ways(name).map(|ways| ways.iter().map(Recipient::full_name).collect::<Vec<_>>());
    assert_eq!(ways("li").unwrap(), ["webhook.a", "webhook.b", "webhook.d"]);
    assert_eq!(ways("c").unwrap(), ["webhook.c"]);
    assert!(ways("nobody").unwrap_err().contains("there are li, webhook.a, webhook.b"));
}

/// A subscriber that keeps a list of what is open hears the end of a test as well.
#[tokio::test]
async fn a_test_of_mqtt_is_told_and_ended() {
    type Handed = (Arc<Published>, serde_json::Value);
    let told: Arc<Mutex<Vec<Handed>>> = Arc::default();
    let heard = told.clone();
    let publish: Publish = Arc::new(move |change, payload| {
        heard.lock().unwrap().push((change.clone(), serde_json::from_slice(&payload).unwrap()));
        Ok(2)
    });
    let means = Means::to_send(publish);
    let tester = channels(&checked("log.enabled = false").unwrap(), &means).unwrap().tester();
    let [way] = &tester.ways("mqtt.subscribers").unwrap()[..] else { panic!("one way") };
    assert_eq!(tester.test(way).await, Ok("2 subscribers".to_owned()));
    let told = told.lock().unwrap();
    let [(begun, begin), (ended, end)] = &told[..] else { panic!("{told:?}") };
    assert_eq!((&begin["happening"], &end["happening"]), (&"raised".into(), &"cleared".into()));
    assert!(begun.change.is_exercise() && ended.change.is_exercise(), "both say what they are");
    assert_eq!((&begun.change.alarm.id, ended.change.alarm.standing), (&ended.change.alarm.id, Standing::Normal));
    assert!(begin["text"]["zh"].as_str().unwrap().contains("演练"), "{begin}");
}

#[test]
fn every_problem_is_told_with_its_key() {
    let text = "give_up_after = \"1s\"\n[webhook.a]\nurl = \"ftp://x\"\nfrom_priority = \"P5\"\nsecret_env = \"DAVY_TEST_UNSET\"\n\
                [webhook.b]\nurl = \"http://x\"\ntimeout = \"0s\"\n[log]\nfrom_priority = \"high\"";
    let told = checked(text).unwrap_err().join("\n");
    for key in [
        "give_up_after",
        "webhook.a.url",
        "webhook.a.from_priority",
        "webhook.a.secret_env",
        "webhook.b.timeout",
        "log.from_priority",
    ] {
        assert!(told.contains(&format!("davy.toml: notify.{key}: ")), "{key} is missing in\n{told}");
    }
}

/// The receiver checks the signature as its manual says, with nothing of ours but the secret.
#[tokio::test]
async fn the_county_receives_a_signed_message_and_the_receipt_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "tally-ho\n").unwrap();
    let server = Server::start(|_, _| Say::status(202).body("accepted\nas no. 5")).await;
    let url = format!("{}/hook?key=pass", server.url);
    let config = hooks(&[("county-duty", &url, &format!("secret_file = {secret:?}"))]);
    let office = Played::with(vec![to("county-duty", 41, "face", Priority::P2)]);
    let running = Running::start(&config, &office, nobody());

    let receipts = office.receipts(|receipts| !receipts.is_empty()).await;
    assert_eq!((receipts[0].message, receipts[0].outcome), (41, Outcome::Delivered));
    assert_eq!(receipts[0].detail, "202 accepted as no. 5");
    assert_eq!(office.rows(), []);

    let asked = &server.asked()[0];
    assert_eq!((asked.method.as_str(), asked.path.as_str(), asked.query.as_str()), ("POST", "/hook", "key=pass"));
    assert_eq!(asked.header("content-type"), Some("application/json"));
    assert_eq!(asked.header("idempotency-key"), Some("davy-41"));
    let timestamp = asked.header("davy-timestamp").unwrap();
    assert!((clock::now().seconds() - timestamp.parse::<f64>().unwrap()).abs() < 60.0);
    let mut mac = Hmac::<Sha256>::new_from_slice(b"tally-ho").unwrap();
    mac.update(format!("{timestamp}.{}", asked.text()).as_bytes());
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(asked.header("davy-signature"), Some(format!("sha256={hex}").as_str()));
    let json: serde_json::Value = serde_json::from_str(&asked.text()).unwrap();
    assert_eq!((&json["happening"], &json["point"]), (&"raised".into(), &"mine-3.face".into()));
    running.ends().await;
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_receiver_that_stumbles_is_tried_again_with_the_same_key_until_it_takes_the_message() {
    let server = Server::start(|number, _| match number {
        0 => Say::status(503),
        1 => Say::status(429),
        2 => Say::status(500),
        _ => Say::status(200),
    })
    .await;
    let config = hooks(&[("county-duty", &server.url, "")]);
    let office = Played::with(vec![to("county-duty", 9, "face", Priority::P1)]);
    let running = Running::start(&config, &office, nobody());
    use Outcome::{Delivered, Failed};
    assert_eq!(office.outcomes(9, 4).await, [Failed, Failed, Failed, Delivered]);
    let asked = server.asked();
    assert!(asked.iter().all(|asked| asked.header("idempotency-key") == Some("davy-9")));
    assert!(asked.iter().all(|one| one.text() == asked[0].text()), "the same body too");
    let failing = |holds| ("davy-notify-failing".to_owned(), "webhook county-duty".to_owned(), holds);
    assert_eq!(office.conditions(), [failing(true), failing(false)]);
    running.ends().await;
}

/// One receiver accepts connections and never answers; the other one hears at once all the same.
#[tokio::test]
async fn a_dead_recipient_delays_nobody_else() {
    let dead = Server::start(|_, _| Say::status(200).after(Duration::from_secs(3_600))).await;
    let alive = Server::start(|_, _| Say::status(200)).await;
    let config = hooks(&[("a-dead", &dead.url, ""), ("b-alive", &alive.url, "")]);
    let mut rows: Vec<Outgoing> = (1..=20).map(|id| to("a-dead", id, &format!("p{id}"), Priority::P1)).collect();
    rows.extend((21..=40).map(|id| to("b-alive", id, &format!("p{id}"), Priority::P4)));
    let office = Played::with(rows);
    let running = Running::start(&config, &office, nobody());
    let watch = clock::Stopwatch::start();
    let receipts = office.receipts(|receipts| receipts.len() >= 20).await;
    assert!(watch.elapsed() < Duration::from_secs(5), "slower than the dead one's timeout");
    let mut told: Vec<i64> = receipts.iter().map(|receipt| receipt.message).collect();
    told.sort_unstable();
    assert_eq!(told, (21..=40).collect::<Vec<_>>());
    assert!(dead.asked().len() <= 2, "not more than its places");
    running.ends().await;
}

#[tokio::test]
async fn gone_for_good_and_redirects_are_given_up_and_never_followed() {
    let trap = Server::start(|_, _| Say::status(200)).await;
    let elsewhere = trap.url.clone();
    let server = Server::start(move |number, _| match number {
        0 => Say::status(410).body("gone"),
        _ => Say::status(307).header("location", elsewhere.clone()),
    })
    .await;
    let config = hooks(&[("county-duty", &server.url, "")]);
    let office = Played::with(vec![to("county-duty", 1, "a", Priority::P2), to("county-duty", 2, "b", Priority::P2)]);
    let running = Running::start(&config, &office, nobody());
    let receipts = office.receipts(|receipts| receipts.len() >= 2).await;
    assert_eq!(receipts.iter().map(|receipt| receipt.outcome).collect::<Vec<_>>(), [Outcome::GivenUp; 2]);
    assert_eq!(receipts[0].detail, "410 gone");
    assert!(receipts[1].detail.starts_with("307"), "{}", receipts[1].detail);
    running.ends().await;
    assert_eq!((server.asked().len(), trap.asked().len()), (2, 0));
}

/// The address of a robot holds its password: it is in no receipt, whatever goes wrong.
#[tokio::test]
async fn an_unreachable_receiver_is_named_without_its_password() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/robot?key=pass1234", free.local_addr().unwrap());
    drop(free);
    let config = hooks(&[("robot", &url, "")]);
    let office = Played::with(vec![to("robot", 1, "a", Priority::P2)]);
    let running = Running::start(&config, &office, nobody());
    let receipts = office.receipts(|receipts| receipts.len() >= 3).await;
    assert!(receipts.iter().all(|receipt| receipt.outcome == Outcome::Failed));
    assert!(receipts[0].detail.to_lowercase().contains("refused"), "{}", receipts[0].detail);
    assert!(!format!("{receipts:?}").contains("pass1234"));
    running.ends().await;
}

/// Stopped between the failure and the next try: the next run finds the row and delivers it.
#[tokio::test]
async fn a_restart_loses_no_message() {
    let server = Server::start(|number, _| Say::status(if number < 2 { 503 } else { 200 })).await;
    let config = hooks(&[("county-duty", &server.url, "")]);
    let office = Played::with(vec![to("county-duty", 5, "face", Priority::P2)]);
    let first = Running::start(&config, &office, nobody());
    assert_eq!(office.outcomes(5, 1).await[0], Outcome::Failed);
    first.ends().await;
    assert_eq!(office.rows().len(), 1);
    assert!(office.rows()[0].attempts >= 1);

    let second = Running::start(&config, &office, nobody());
    let delivered = |receipts: &[Receipt]| receipts.iter().any(|receipt| receipt.outcome == Outcome::Delivered);
    office.receipts(delivered).await;
    assert_eq!(office.rows(), []);
    assert!(server.asked().iter().all(|asked| asked.header("idempotency-key") == Some("davy-5")));
    second.ends().await;
}

/// Nothing is polled for: the change on the board wakes the desk.
#[tokio::test]
async fn an_alarm_reaches_log_and_subscribers_as_soon_as_it_is_on_the_board() {
    let config = checked("").unwrap();
    let office = Played::with(Vec::new());
    let published = Arc::new(Mutex::new(Vec::new()));
    let publish: Publish = {
        let published = published.clone();
        Arc::new(move |change: &Arc<Published>, payload| {
            published.lock().unwrap().push((change.change.alarm.standing, payload));
            Ok(3)
        })
    };
    let running = Running::start(&config, &office, publish);
    let watch = clock::Stopwatch::start();
    for (id, happening, standing) in
        [(1, Happening::Raised, Standing::Unacknowledged), (3, Happening::Cleared, Standing::Normal)]
    {
        let row = outgoing(id, happening, Alarm { standing, ..alarm("face", Priority::P2) });
        let mqtt = Outgoing { channel: "mqtt".into(), recipient: "subscribers".into(), ..row.clone() };
        let log = Outgoing { id: id + 1, channel: "log".into(), recipient: "log".into(), ..row.clone() };
        office.rows.lock().unwrap().extend([mqtt, log].map(now_created));
        running.board.publish(Arc::new(row.published));
        office.receipts(|receipts| receipts.len() as i64 > id).await;
    }
    assert!(watch.elapsed() < Duration::from_secs(4), "found by the slow poll, not by the change");
    let receipts = office.receipts(|receipts| receipts.len() >= 4).await;
    assert!(receipts.iter().all(|receipt| receipt.outcome == Outcome::Delivered));
    let detail = |id| receipts.iter().find(|receipt| receipt.message == id).unwrap().detail.as_str();
    assert_eq!((detail(1), detail(2)), ("3 subscribers", "logged"));
    let published = published.lock().unwrap().clone();
    assert_eq!(
        published.iter().map(|(standing, _)| *standing).collect::<Vec<_>>(),
        [Standing::Unacknowledged, Standing::Normal]
    );
    let json: serde_json::Value = serde_json::from_slice(&published[0].1).unwrap();
    assert_eq!(json["alarm"]["title"], "采煤工作面瓦斯超限");
    running.ends().await;
}

/// A drill of a hundred urgent messages was there first; what is real goes before all of them.
#[tokio::test]
async fn an_exercise_holds_nothing_up_that_is_real() {
    let server = Server::start(|_, _| Say::status(200)).await;
    let config = hooks(&[("duty", &server.url, "")]);
    let drill = |id: i64| {
        let mut row = to("duty", id, &format!("p{id}"), Priority::P1);
        row.published.change.alarm.quality = Quality::because(Reason::Exercise);
        assert!(!row.published.change.urgent(), "it waits like any other");
        row
    };
    let mut rows: Vec<Outgoing> = (1..=100).map(drill).collect();
    rows.extend((101..=110).map(|id| to("duty", id, &format!("p{id}"), Priority::P4)));
    let office = Played::with(rows);
    let running = Running::start(&config, &office, nobody());
    let receipts = office.receipts(|receipts| receipts.len() >= 110).await;
    let order: Vec<i64> = receipts.iter().map(|receipt| receipt.message).collect();
    assert_eq!(order[..10], (101..=110).collect::<Vec<_>>());
    assert_eq!(office.rows(), []);
    running.ends().await;
}

/// A long outbox after a weekend without network goes out whole, the most urgent first.
#[tokio::test]
async fn a_long_outbox_is_worked_off() {
    let server = Server::start(|_, _| Say::status(200)).await;
    let config = hooks(&[("county-duty", &server.url, "")]);
    let priority = |id: i64| if id > 900 { Priority::P1 } else { Priority::P3 };
    let office = Played::with((1..=1_000).map(|id| to("county-duty", id, &format!("p{id}"), priority(id))).collect());
    let running = Running::start(&config, &office, nobody());
    let asked = server.wait_for(1_000).await;
    assert!(asked[..100].iter().all(|asked| asked.text().contains("\"priority\":\"P1\"")));
    office.receipts(|receipts| receipts.len() >= 1_000).await;
    assert_eq!((office.rows(), server.asked().len()), (Vec::new(), 1_000));
    running.ends().await;
}

#[tokio::test]
async fn messages_to_somebody_who_was_taken_out_of_the_configuration_are_given_up_by_name() {
    let config = hooks(&[("county-duty", "http://127.0.0.1:9", "")]);
    let rows = vec![to("county-duty", 1, "a", Priority::P2), to("retired", 2, "b", Priority::P2)];
    let office = Played::with(rows.clone());
    assert_eq!(give_up_strangers(&office, &recipients(&config), rows).await.unwrap(), 1);
    let receipts = office.receipts(|receipts| !receipts.is_empty()).await;
    assert_eq!((receipts[0].message, receipts[0].outcome), (2, Outcome::GivenUp));
    assert_eq!(office.rows().iter().map(|row| row.id).collect::<Vec<_>>(), [1]);
}
