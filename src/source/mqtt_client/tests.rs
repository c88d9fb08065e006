//! Against a real Mosquitto. The journal is the test itself: it decides what becomes durable, and when.

pub mod broker;

use std::collections::{BTreeMap, BTreeSet};

use rumqttc::QoS;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::*;
use crate::clock;
use crate::config::{Key, Problems};
use crate::decode::{Forms, default_patterns};
use crate::journal::{self, Entry, Intake, Seq};
use crate::ledger::Ledger;
use crate::model::{Kind, Point, PointTable};
use broker::{Broker, Device, until};

const ENOUGH: Duration = Duration::from_secs(30);

/// Davy's side: one source, and the journal's end in the test's hand.
struct Davy {
    config: Config,
    out: Outlet,
    journal: journal::Waiting,
    withheld: Vec<oneshot::Sender<Seq>>,
}

/// One life of the source.
struct Run {
    task: JoinHandle<Failure>,
    up: watch::Receiver<bool>,
}

fn points() -> Arc<PointTable> {
    let point = |local: &str| Point {
        id: format!("hongli.{local}").into(),
        site: "hongli".into(),
        name: local.to_owned(),
        kind: Kind::Methane,
        place: "T1".into(),
        unit: "%VOL".into(),
        range: None,
        resolution: 0.01,
        period: Duration::from_secs(1),
        limits: BTreeMap::new(),
        coordinates: None,
        static_risk: 0,
        calibrate_every: None,
        relations: BTreeMap::new(),
        retired: false,
    };
    Arc::new(PointTable::new(vec![point("t1"), point("t2")]))
}

impl Davy {
    fn at(port: u16, more: &str) -> Self {
        Self::with_queue(port, more, 256)
    }

    fn with_queue(port: u16, more: &str, queue: usize) -> Self {
        let scheme = if more.contains("tls") { "mqtts" } else { "mqtt" };
        let toml =
            format!("broker = \"{scheme}://127.0.0.1:{port}\"\nclient_id = \"davy\"\ntopics = [\"+/+\"]\n{more}");
        let mut problems = Problems::default();
        let raw: Raw = problems.read(&Key::root(), toml::from_str(&toml).unwrap()).unwrap();
        let config = raw.check(&Key::root(), &mut problems).unwrap_or_else(|| panic!("{problems:?}"));
        let (intake, journal) = Intake::with_receiver(queue);
        let out = Outlet { intake, account: Ledger::default().account("mine") };
        Self { config, out, journal, withheld: Vec::new() }
    }

    fn source(&self) -> MqttClient {
        let forms = Arc::new(Forms::new(default_patterns(), []));
        MqttClient::new(self.config.clone(), Decoder::new(forms, points(), 64 * 1024))
    }

    fn begin(&self) -> Run {
        let (mut source, out) = (self.source(), self.out.clone());
        let (up_tx, up) = watch::channel(false);
        let task = tokio::spawn(async move {
            let connected = move || {
                up_tx.send_replace(true);
            };
            match source.run(&out, &connected).await {
                Ok(never) => match never {},
                Err(failure) => failure,
            }
        });
        Run { task, up }
    }

    async fn connect(&self) -> Run {
        let mut run = self.begin();
        run.up().await;
        run
    }

    /// The next samples and their commit.
    async fn entry(&mut self) -> (Vec<f64>, oneshot::Sender<Seq>) {
        let (entry, done) = timeout(ENOUGH, self.journal.next()).await.expect("an entry in time").unwrap();
        let Entry::Samples(samples) = entry else { panic!("{entry:?}") };
        (samples.iter().map(|sample| sample.value).collect(), done.unwrap())
    }

    /// Takes entries until all of these values were seen; keeps their commits back.
    async fn take(&mut self, values: impl IntoIterator<Item = u32>) -> Vec<f64> {
        let mut missing: BTreeSet<u32> = values.into_iter().collect();
        let mut seen = Vec::new();
        while !missing.is_empty() {
            let (values, done) = self.entry().await;
            for value in &values {
                missing.remove(&(*value as u32));
            }
            seen.extend(values);
            self.withheld.push(done);
        }
        seen
    }

    /// All that was taken is on the disk now.
    fn commit(&mut self) {
        for done in self.withheld.drain(..) {
            settle(done);
        }
    }
}

/// It is on the disk. Nobody waits for a batch of QoS 0 messages, nor on a connection that is over.
fn settle(done: oneshot::Sender<Seq>) {
    if done.send(1).is_err() {
        eprintln!("nobody waited for this commit");
    }
}

impl Run {
    async fn up(&mut self) {
        timeout(ENOUGH, self.up.wait_for(|up| *up)).await.expect("connected in time").unwrap();
    }

    /// The cable is pulled.
    async fn cut(self) {
        self.task.abort();
        drop(self.task.await);
    }

    async fn failure(self) -> String {
        timeout(ENOUGH, self.task).await.expect("fails in time").unwrap().what
    }
}

/// Values `range`, each with a time, for one point.
fn readings(range: std::ops::Range<u32>) -> impl Iterator<Item = (String, String)> {
    let ms = clock::now().micros() / 1_000;
    range.map(move |value| ("hongli/t1".to_owned(), format!("{{\"value\":{value},\"time\":{ms}}}")))
}

async fn away_and_back(version: &str) {
    let Some(broker) = Broker::start("").await else { return };
    let mut davy = Davy::at(broker.port, version);
    davy.connect().await.cut().await;

    Device::at(broker.port).publish(QoS::AtLeastOnce, false, readings(0..500)).await;

    let run = davy.connect().await;
    assert_eq!(davy.take(0..500).await.len(), 500, "each once");
    assert_eq!(broker.acks_from("davy"), 0, "nothing is durable yet");
    davy.commit();
    until("all are acknowledged", || broker.acks_from("davy") == 500).await;

    // What was acknowledged does not come again.
    run.cut().await;
    let _run = davy.connect().await;
    Device::at(broker.port).publish(QoS::AtLeastOnce, false, readings(999..1000)).await;
    assert_eq!(davy.take([999]).await, [999.0]);
    assert_eq!(davy.out.account.get(Fate::Accepted), 501);
}

#[tokio::test]
async fn what_was_published_while_we_were_away_arrives_v5() {
    away_and_back("").await;
}

#[tokio::test]
async fn what_was_published_while_we_were_away_arrives_v3() {
    away_and_back("version = 3").await;
}

async fn durable_first(version: &str) {
    let Some(mut broker) = Broker::start("").await else { return };
    let mut davy = Davy::at(broker.port, version);
    let run = davy.connect().await;
    Device::at(broker.port).publish(QoS::AtLeastOnce, false, readings(0..20)).await;
    assert_eq!(davy.take(0..20).await.len(), 20);
    broker.saved("\"value\":19,").await;
    assert_eq!(broker.acks_from("davy"), 0);

    // Broker and disk go down together: none of the twenty may be missing afterwards.
    broker.kill();
    let told = run.failure().await;
    assert!(told.contains(&format!("broker mqtt://127.0.0.1:{}: ", broker.port)), "{told}");
    davy.withheld.clear();
    broker.up().await;
    let _run = davy.connect().await;
    assert_eq!(davy.take(0..20).await.len(), 20, "all come again");
    davy.commit();
    until("all are acknowledged", || broker.acks_from("davy") == 20).await;
}

#[tokio::test]
async fn nothing_is_acknowledged_before_it_is_durable_v5() {
    durable_first("").await;
}

#[tokio::test]
async fn nothing_is_acknowledged_before_it_is_durable_v3() {
    durable_first("version = 3").await;
}

/// Whatever the broker accepted from a device is in the journal, though the broker dies in between.
#[tokio::test]
async fn a_broker_killed_in_the_middle_of_traffic_loses_nothing_that_it_accepted() {
    let Some(mut broker) = Broker::start("").await else { return };
    let mut davy = Davy::at(broker.port, "window = 50");
    let (mut source, out) = (davy.source(), davy.out.clone());
    let (up_tx, mut up) = watch::channel(0_u32);
    let supervised = tokio::spawn(async move {
        loop {
            let Err(failure) = source.run(&out, &|| up_tx.send_modify(|times| *times += 1)).await;
            assert!(failure.what.starts_with("broker mqtt://127.0.0.1:"), "{failure}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    timeout(ENOUGH, up.wait_for(|times| *times == 1)).await.unwrap().unwrap();
    let port = broker.port;
    let (accepted_tx, mut accepted) = watch::channel(0_u32);
    let device = tokio::spawn(async move {
        let mut device = Device::at(port);
        for (value, (topic, payload)) in (1..).zip(readings(0..3_000)) {
            while device.publish_one(QoS::AtLeastOnce, false, topic.clone(), payload.clone()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
                device = Device::at(port);
            }
            accepted_tx.send_replace(value);
        }
    });
    let journal = tokio::spawn(async move {
        let mut seen = BTreeSet::new();
        while seen.len() < 3_000 {
            let (values, done) = davy.entry().await;
            seen.extend(values.iter().map(|value| *value as u32));
            settle(done);
        }
        seen
    });
    for fall in 1..=3 {
        timeout(ENOUGH, accepted.wait_for(|count| *count >= fall * 700)).await.unwrap().unwrap();
        broker.kill();
        broker.up().await;
        timeout(ENOUGH, up.wait_for(|times| *times > fall)).await.unwrap().unwrap();
    }
    timeout(ENOUGH, device).await.unwrap().unwrap();
    let seen = timeout(ENOUGH, journal).await.unwrap().unwrap();
    assert_eq!(seen, (0..3_000).collect());
    supervised.abort();
}

/// The broker lost our session; the packet number of an old, unsettled message now means another one.
async fn stale_ack(version: &str) {
    let Some(mut broker) = Broker::start("").await else { return };
    let mut davy = Davy::at(broker.port, version);
    let run = davy.connect().await;
    Device::at(broker.port).publish(QoS::AtLeastOnce, false, readings(1..2)).await;
    let (_, old) = davy.entry().await;
    assert!(broker.log().contains("Sending PUBLISH to davy (d0, q1, r0, m1,"), "{}", broker.log());

    broker.kill();
    broker.wipe();
    drop(run.failure().await);
    broker.up().await;
    // A new session: it is subscribed again, or nothing would ever arrive.
    let run = davy.connect().await;
    let mut device = Device::at(broker.port);
    device.publish(QoS::AtLeastOnce, false, readings(2..3)).await;
    let (values, _new) = davy.entry().await;
    assert_eq!(values, [2.0]);
    assert!(broker.log().contains("Sending PUBLISH to davy (d0, q1, r0, m1,"), "the same number again");

    // Only now does the old message become durable: nobody may hear of it.
    assert!(old.send(1).is_err(), "the old connection's commits ended with it");
    device.publish(QoS::AtMostOnce, false, readings(3..4)).await;
    assert_eq!(davy.entry().await.0, [3.0], "the line has been used since");
    assert_eq!(broker.acks_from("davy"), 0);
    run.cut().await;
    let _run = davy.connect().await;
    assert_eq!(davy.entry().await.0, [2.0], "the broker still has it");
}

#[tokio::test]
async fn a_stale_acknowledgement_never_reaches_a_new_session_v5() {
    stale_ack("").await;
}

#[tokio::test]
async fn a_stale_acknowledgement_never_reaches_a_new_session_v3() {
    stale_ack("version = 3").await;
}

#[tokio::test]
async fn a_refused_subscription_is_a_failure_that_names_it() {
    let plugin = "/usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so";
    if !std::path::Path::new(plugin).exists() {
        assert!(std::env::var_os("CI").is_none(), "mosquitto's dynamic security plugin is not installed");
        eprintln!("skipped: mosquitto's dynamic security plugin is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let rights = r#"{"defaultACLAccess":{"publishClientSend":true,"publishClientReceive":true,"subscribe":false,"unsubscribe":true},"clients":[],"groups":[],"roles":[]}"#;
    std::fs::write(folder.path().join("rights.json"), rights).unwrap();
    let extra = format!("plugin {plugin}\nplugin_opt_config_file FOLDER/rights.json");
    let Some(broker) = Broker::start_in(folder, &extra).await else { return };
    for (version, why) in [("version = 5", "not authorized"), ("version = 3", "refused by the broker")] {
        let davy = Davy::at(broker.port, version);
        let run = davy.begin();
        let up = run.up.clone();
        let told = run.failure().await;
        assert!(told.contains(&format!("subscription to \"+/+\": {why}; allow it to client \"davy\"")), "{told}");
        assert!(!*up.borrow(), "never said to be connected");
    }
}

#[tokio::test]
async fn a_wrong_password_and_a_taken_name_are_told_as_such() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "firedamp\n").unwrap();
    std::fs::write(folder.path().join("wrong"), "canary\n").unwrap();
    let users = folder.path().join("users");
    let made = std::process::Command::new("mosquitto_passwd")
        .args(["-b", "-c"])
        .arg(&users)
        .args(["davy", "firedamp"])
        .status();
    if !made.is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI").is_none(), "mosquitto_passwd is not installed");
        eprintln!("skipped: mosquitto_passwd is not installed");
        return;
    }
    let path = folder.path().to_owned();
    let Some(broker) = Broker::start_in(folder, "password_file FOLDER/users").await else { return };
    let login = |file: &str| format!("user = \"davy\"\npassword_file = \"{}\"", path.join(file).display());
    for version in ["version = 5", "version = 3"] {
        let told = Davy::at(broker.port, &format!("{}\n{version}", login("wrong"))).begin().failure().await;
        assert!(
            told.contains("refused user or password; check user and password_file") && !told.contains("canary"),
            "{told}"
        );
    }
    let davy = Davy::at(broker.port, &login("secret"));
    let first = davy.connect().await;
    let _second = davy.connect().await;
    let told = first.failure().await;
    assert!(told.contains("same client_id"), "{told}");
}

#[tokio::test]
async fn an_encrypted_connection_trusts_only_the_ca_it_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let made = std::process::Command::new("sh")
        .arg("-c")
        .arg(
            "openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=mine-ca && \
             openssl req -x509 -newkey rsa:2048 -nodes -keyout other.key -out other.pem -days 2 -subj /CN=other-ca && \
             openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=broker && \
             printf 'subjectAltName=IP:127.0.0.1\\nbasicConstraints=CA:FALSE\\n' > ext && \
             openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out server.pem",
        )
        .current_dir(folder.path())
        .stderr(std::process::Stdio::null())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI").is_none(), "openssl is not installed");
        eprintln!("skipped: openssl is not installed");
        return;
    }
    let path = folder.path().to_owned();
    let extra = "certfile FOLDER/server.pem\nkeyfile FOLDER/server.key\nlistener PLAIN 127.0.0.1";
    let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let Some(broker) = Broker::start_in(folder, &extra.replace("PLAIN", &plain.to_string())).await else { return };
    let tls = |ca: &str| format!("tls = {{ ca = \"{}\" }}", path.join(ca).display());
    for version in ["version = 5", "version = 3"] {
        let mut davy = Davy::at(broker.port, &format!("{version}\n{}", tls("ca.pem")));
        let run = davy.connect().await;
        Device::at(plain).publish(QoS::AtLeastOnce, false, readings(7..8)).await;
        assert_eq!(davy.entry().await.0, [7.0]);
        run.cut().await;
    }
    let told = Davy::at(broker.port, &tls("other.pem")).begin().failure().await;
    assert!(told.to_lowercase().contains("certificate"), "{told}");
}

/// The broker knows us by our certificate alone.
#[tokio::test]
async fn a_broker_that_asks_for_a_certificate_gets_ours() {
    let folder = tempfile::tempdir().unwrap();
    let made = std::process::Command::new("sh")
        .arg("-c")
        .arg(
            "openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=mine-ca && \
             printf 'subjectAltName=IP:127.0.0.1\\nbasicConstraints=CA:FALSE\\n' > ext && \
             for who in server davy; do openssl req -newkey rsa:2048 -nodes -keyout $who.key -out $who.csr -subj /CN=$who && \
             openssl x509 -req -in $who.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out $who.pem; done",
        )
        .current_dir(folder.path())
        .stderr(std::process::Stdio::null())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI").is_none(), "openssl is not installed");
        eprintln!("skipped: openssl is not installed");
        return;
    }
    let path = folder.path().to_owned();
    let extra = "cafile FOLDER/ca.pem\ncertfile FOLDER/server.pem\nkeyfile FOLDER/server.key\n\
                 require_certificate true\nuse_identity_as_username true\nlistener PLAIN 127.0.0.1";
    let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let Some(broker) = Broker::start_in(folder, &extra.replace("PLAIN", &plain.to_string())).await else { return };
    let file = |name: &str| path.join(name).display().to_string();
    for version in ["version = 5", "version = 3"] {
        let tls = format!(
            "{version}\ntls = {{ ca = {:?}, certificate = {:?}, key = {:?} }}",
            file("ca.pem"),
            file("davy.pem"),
            file("davy.key")
        );
        let mut davy = Davy::at(broker.port, &tls);
        let run = davy.connect().await;
        Device::at(plain).publish(QoS::AtLeastOnce, false, readings(7..8)).await;
        assert_eq!(davy.entry().await.0, [7.0]);
        assert!(broker.log().contains("u'davy'"), "{}", broker.log());
        run.cut().await;
        let without = format!("{version}\ntls = {{ ca = {:?} }}", file("ca.pem"));
        let told = Davy::at(broker.port, &without).begin().failure().await;
        assert!(told.contains(&format!("broker mqtts://127.0.0.1:{}", broker.port)), "{told}");
    }
}

/// Two gateways share one subscription. Each message goes to one of them; what one had when it died comes
/// again when it returns, and nothing is lost in between.
async fn shared(version: &str) {
    let Some(broker) = Broker::start("").await else { return };
    let gateway = |name: &str| {
        let mut davy = Davy::at(broker.port, version);
        davy.config.client_id = name.to_owned();
        davy.config.topics = vec!["$share/davy/+/+".to_owned()];
        davy
    };
    let (mut one, mut two) = (gateway("one"), gateway("two"));
    let (first, _second) = (one.connect().await, two.connect().await);
    // Half of them for each: fewer than the batches that may wait for their commit.
    Device::at(broker.port).publish(QoS::AtLeastOnce, false, readings(0..100)).await;
    // The first takes its share and dies before any of it is durable.
    let (mut by_one, mut by_two) = (Vec::new(), Vec::new());
    while by_one.len() + by_two.len() < 100 {
        tokio::select! {
            (values, done) = one.entry() => {
                by_one.extend(values);
                one.withheld.push(done);
            }
            (values, done) = two.entry() => {
                by_two.extend(values);
                settle(done);
            }
        }
    }
    assert!(by_one.len() >= 25 && by_two.len() >= 25, "{} and {}", by_one.len(), by_two.len());
    first.cut().await;
    one.withheld.clear();
    Device::at(broker.port).publish(QoS::AtLeastOnce, false, readings(100..200)).await;

    let mut missing: BTreeSet<u32> = (0..200).collect();
    for value in &by_two {
        missing.remove(&(*value as u32));
    }
    let _first = one.connect().await;
    while !missing.is_empty() {
        let (values, done) = tokio::select! {
            entry = one.entry() => entry,
            entry = two.entry() => entry,
        };
        for value in values {
            missing.remove(&(value as u32));
        }
        settle(done);
    }
    until("all that was durable is acknowledged", || broker.acks_from("one") + broker.acks_from("two") >= 200).await;
}

#[tokio::test]
async fn a_shared_subscription_splits_the_load_and_loses_nothing_v5() {
    shared("").await;
}

#[tokio::test]
async fn a_shared_subscription_splits_the_load_and_loses_nothing_v3() {
    shared("version = 3").await;
}

/// A journal that takes nothing for longer than the broker's patience must not cost us the connection.
async fn slow_journal(version: &str, keep_alive: Duration) -> (Davy, Run, Broker, BTreeSet<u32>) {
    let broker = Broker::start("").await.expect("checked by the caller");
    let mut davy = Davy::with_queue(broker.port, &format!("{version}\nwindow = 10"), 1);
    davy.config.keep_alive = keep_alive;
    let run = davy.connect().await;
    let mut device = Device::at(broker.port);
    device.publish(QoS::AtMostOnce, false, readings(10_000..12_000)).await;
    device.publish(QoS::AtLeastOnce, false, readings(0..200)).await;
    // The time itself is what is tested: two and a half keep-alive periods, the broker allows one and a half.
    tokio::time::sleep(keep_alive * 5 / 2).await;
    assert!(!run.task.is_finished(), "the connection is kept");
    assert!(broker.log().contains("Sending PINGRESP to davy"), "pings went out meanwhile");
    assert!(!broker.log().contains("davy has exceeded timeout"), "{}", broker.log());
    let mut seen = BTreeSet::new();
    // The disk is back.
    while !(0..200).all(|value| seen.contains(&value)) && !run.task.is_finished() {
        if let Ok(Some((Entry::Samples(samples), done))) =
            timeout(Duration::from_millis(100), davy.journal.next()).await
        {
            seen.extend(samples.iter().map(|sample| sample.value as u32));
            settle(done.unwrap());
        }
    }
    (davy, run, broker, seen)
}

#[tokio::test]
async fn a_slow_journal_does_not_cost_the_connection_v5() {
    if Broker::start("").await.is_none() {
        return;
    }
    let (davy, run, _broker, seen) = slow_journal("", Duration::from_secs(5)).await;
    assert!(!run.task.is_finished(), "the Receive Maximum held the broker back");
    assert_eq!(seen.range(..200).count(), 200);
    let (kept, dropped) = (seen.range(10_000..).count() as u64, davy.out.account.get(Fate::Unacknowledged));
    assert_eq!(kept + dropped, 2_000, "each QoS 0 message is stored or counted");
    assert!(dropped > 0);
}

#[tokio::test]
async fn a_slow_journal_does_not_cost_the_connection_v3() {
    if Broker::start("").await.is_none() {
        return;
    }
    let (mut davy, run, _broker, seen) = slow_journal("version = 3", Duration::from_secs(2)).await;
    assert!(seen.range(..200).count() < 200, "MQTT 3.1.1 has no Receive Maximum: some were left with the broker");
    let told = run.failure().await;
    // On a busy machine the broker's answer to a ping may be the first thing that comes too late.
    assert!(told.contains("reconnecting to be sent the rest") || told.to_lowercase().contains("ping"), "{told}");
    // As the supervisor does, until nothing is missing.
    let mut run = davy.begin();
    let mut missing: BTreeSet<u32> = (0..200).filter(|value| !seen.contains(value)).collect();
    while !missing.is_empty() {
        if run.task.is_finished() {
            run = davy.begin();
        }
        let (values, done) = davy.entry().await;
        settle(done);
        for value in values {
            missing.remove(&(value as u32));
        }
    }
}

/// The broker hands out what it kept from some day: without a time of its own that is nobody's live value.
#[tokio::test]
async fn a_retained_value_without_a_time_never_passes_for_a_live_one() {
    let Some(broker) = Broker::start("").await else { return };
    let mut device = Device::at(broker.port);
    device.publish(QoS::AtLeastOnce, true, [("hongli/t2".to_owned(), "{\"value\":77}".to_owned())]).await;
    device.publish(QoS::AtLeastOnce, true, readings(5..6)).await;
    for version in ["version = 5", "version = 3"] {
        let mut davy = Davy::at(broker.port, version);
        davy.config.client_id = format!("davy of {version}");
        let run = davy.connect().await;
        assert_eq!(davy.take([5]).await, [5.0]);
        until("the old one is counted", || davy.out.account.get(Fate::Late) == 1).await;
        device.publish(QoS::AtLeastOnce, false, [("hongli/t2".to_owned(), "{\"value\":78}".to_owned())]).await;
        assert_eq!(davy.take([78]).await, [78.0], "live, it is taken without a time");
        davy.commit();
        run.cut().await;
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_counted_and_does_not_come_again() {
    let Some(broker) = Broker::start("").await else { return };
    let mut davy = Davy::at(broker.port, "");
    let run = davy.connect().await;
    let bad = [("hongli/t1", "{\"value\":"), ("hongli/t9", "1"), ("hongli/t1", "{}"), ("$odd/x", "1")];
    let bad = bad.map(|(topic, payload)| (topic.to_owned(), payload.to_owned()));
    let mut device = Device::at(broker.port);
    device.publish(QoS::AtLeastOnce, false, bad).await;
    device.publish(QoS::AtLeastOnce, false, [("hongli/t1".to_owned(), format!("\"{}\"", "x".repeat(100_000)))]).await;
    until("the four that match are acknowledged", || broker.acks_from("davy") == 4).await;
    let seen: Vec<_> = davy.out.account.seen().collect();
    assert_eq!(seen, [(Fate::NotJson, 1), (Fate::NoValue, 1), (Fate::UnknownPoint, 1), (Fate::TooLarge, 1)]);
    device.publish(QoS::AtLeastOnce, false, readings(1..2)).await;
    assert_eq!(davy.take([1]).await, [1.0]);
    run.cut().await;
}
