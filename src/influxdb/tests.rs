use std::collections::VecDeque;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use super::*;
use crate::ledger::{Account, Fate, Ledger};
use crate::model::{Kind, Point, PointIndex, Sample, Timestamp};
use crate::remote::scripted::{Asked, Say, Server};

const TIME: Timestamp = Timestamp::from_secs(1_800_000_000);

pub(super) fn point(site: &str, local: &str, place: &str) -> Point {
    Point {
        id: format!("{site}.{local}").into(),
        site: site.into(),
        name: "3201 采煤工作面".into(),
        kind: Kind::Methane,
        place: place.into(),
        unit: "%VOL".into(),
        range: None,
        resolution: 0.01,
        period: Duration::from_secs(1),
        limits: Default::default(),
        coordinates: None,
        static_risk: 0,
        calibrate_every: None,
        relations: std::collections::BTreeMap::new(),
        retired: false,
    }
}

fn points() -> Arc<PointTable> {
    Arc::new(PointTable::new((0..10).map(|n| point("mine", &format!("t{n}"), "回风巷")).collect()))
}

/// `count` samples of ten points, each a millisecond after the other, from number `from` on.
fn samples_from(start: Timestamp, from: i64, count: i64) -> Vec<Sample> {
    let one = |n: i64| {
        let time = Timestamp::from_micros(start.micros() + n * 1_000);
        Sample::received(PointIndex((n % 10) as u32), n as f64 / 100.0, Some(time), time)
    };
    (from..from + count).map(one).collect()
}

fn samples(from: i64, count: i64) -> Vec<Sample> {
    samples_from(TIME, from, count)
}

fn config(url: &str, more: &str) -> Config {
    let text = format!("url = \"{url}\"\norg = \"coal\"\nbucket = \"davy\"\n{more}");
    let mut problems = Problems::in_file("davy.toml");
    let raw: Raw = problems.read(&Key::of("influxdb"), toml::from_str(&text).unwrap()).unwrap();
    raw.check(&Key::of("influxdb"), &mut problems).unwrap_or_else(|| panic!("{problems:?}"))
}

fn sink(url: &str, more: &str) -> (Sink, Arc<Account>) {
    let account = Ledger::default().account("influxdb");
    let mut sink = Sink::new(config(url, more), account.clone()).unwrap();
    sink.use_points(points());
    (sink, account)
}

fn stored(seq: Seq) -> Sent {
    Sent::All { seq: Some(seq), stored: true }
}

fn lines_of(asked: &Asked) -> usize {
    asked.text().lines().count()
}

#[test]
fn every_problem_of_the_section_is_told_with_its_key() {
    let text = "url = \"influx:8086\"\norg = \"\"\nbucket = \"davy\"\ntoken_env = \"DAVY_TEST_UNSET\"\nbatch_lines = 0\ntimeout = \"1ms\"";
    let mut problems = Problems::in_file("davy.toml");
    let raw: Raw = problems.read(&Key::of("influxdb"), toml::from_str(text).unwrap()).unwrap();
    assert_eq!(raw.check(&Key::of("influxdb"), &mut problems), None);
    let told: Vec<String> = problems.iter().map(|problem| problem.key.to_string()).collect();
    assert_eq!(told, ["url", "org", "token_env", "batch_lines", "timeout"].map(|key| format!("influxdb.{key}")));
}

#[tokio::test]
async fn a_batch_goes_out_with_token_org_bucket_and_microseconds() {
    let server = Server::start(|_, _| Say::status(204)).await;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "t0k3n\n").unwrap();
    let (mut sink, account) = sink(&server.url, &format!("token_file = {token:?}"));

    sink.absorb(7, &samples(0, 3));
    assert_eq!(sink.send().await, stored(7));
    sink.absorb(8, &samples(3, 500));
    assert_eq!(sink.send().await, stored(8));

    let asked = server.asked();
    assert_eq!((asked[0].method.as_str(), asked[0].path.as_str()), ("POST", "/api/v2/write"));
    assert_eq!(asked[0].query, "bucket=davy&org=coal&precision=us");
    assert_eq!(asked[0].header("authorization"), Some("Token t0k3n"));
    assert_eq!(asked[0].header("content-encoding"), None, "a small body is sent as it is");
    assert_eq!(
        asked[0].text().lines().nth(2),
        Some("methane,place=回风巷,point=t2,site=mine value=0.02,quality=0i 1800000000002000")
    );
    assert_eq!(asked[1].header("content-encoding"), Some("gzip"));
    assert_eq!(lines_of(&asked[1]), 500);
    assert!(asked[1].body.len() * 4 < asked[1].text().len());
    assert_eq!(sink.counters().lines.load(std::sync::atomic::Ordering::Relaxed), 503);
    assert_eq!(account.seen().count(), 0, "nothing was lost");
}

#[tokio::test]
async fn an_address_with_a_path_is_kept_whole() {
    let server = Server::start(|_, _| Say::status(204)).await;
    let (mut sink, _) = sink(&format!("{}/insert/0/influx/", server.url), "");
    sink.absorb(1, &samples(0, 500));
    assert_eq!(sink.send().await, stored(1));
    let asked = server.asked();
    assert_eq!(asked[0].path, "/insert/0/influx/api/v2/write");
    assert_eq!(asked[0].query, "org=coal&bucket=davy&precision=us");
    assert_eq!(lines_of(&asked[0]), 500);
}

#[tokio::test]
async fn a_busy_server_says_how_long_it_wants_to_be_left_alone() {
    let server = Server::start(|number, _| match number {
        0 | 1 => Say::status(429).header("retry-after", "17").body("slow down"),
        2 => Say::status(503).header("retry-after", "23"),
        _ => Say::status(204),
    })
    .await;
    let (mut sink, account) = sink(&server.url, "");
    sink.absorb(1, &samples(0, 100));
    let later = |seconds: Option<u64>, text: &str| Sent::Later {
        retry_after: seconds.map(Duration::from_secs),
        text: text.to_owned(),
    };
    assert_eq!(sink.send().await, later(None, "429 slow down"), "influxdb2 does not show the header");
    assert_eq!(sink.send().await, later(Some(17), "429 slow down"));
    assert_eq!(sink.send().await, later(Some(23), "503"));
    assert_eq!(sink.send().await, stored(1));
    assert!(server.asked().iter().all(|asked| asked.text() == server.asked()[0].text()));
    assert_eq!(account.get(Fate::Rejected), 0);
}

/// One sensor's field has another type in the bucket: its lines are lost there, and only they.
#[tokio::test]
async fn one_poisonous_line_does_not_take_the_rest_with_it() {
    for status in [400, 422] {
        let server = Server::start(move |_, asked| {
            let poisonous = asked.text().contains("value=4.21,");
            if poisonous { Say::status(status).body("field type conflict dropped=1") } else { Say::status(204) }
        })
        .await;
        let (mut sink, account) = sink(&server.url, "");
        sink.absorb(1, &samples(0, 5_000));
        assert_eq!(sink.send().await, stored(1));

        let mut kept: Vec<String> = Vec::new();
        for asked in server.asked() {
            if !asked.text().contains("value=4.21,") {
                kept.extend(asked.text().lines().map(ToOwned::to_owned));
            }
        }
        assert_eq!(kept.len(), 4_999, "each good line once");
        assert_eq!(account.get(Fate::Rejected), 1);
        assert!(server.asked().len() <= 27, "{} requests for one line", server.asked().len());
        sink.absorb(2, &samples(0, 10));
        assert_eq!(sink.send().await, stored(2), "the poisonous line does not come back");
    }
}

#[tokio::test]
async fn a_server_that_refuses_every_line_costs_a_bounded_number_of_requests() {
    let server = Server::start(|_, _| Say::status(422).body("points beyond retention policy")).await;
    let (mut sink, account) = sink(&server.url, "");
    sink.absorb(1, &samples(0, 5_000));
    assert_eq!(sink.send().await, Sent::All { seq: Some(1), stored: false });
    assert_eq!(account.get(Fate::Rejected), 5_000);
    assert!(server.asked().len() <= 1 + Sink::SEARCHES, "{} requests", server.asked().len());
}

#[tokio::test]
async fn a_batch_that_is_too_large_is_split_and_the_next_ones_are_smaller_at_once() {
    let server = Server::start(|_, asked| Say::status(if lines_of(asked) > 300 { 413 } else { 204 })).await;
    let (mut sink, account) = sink(&server.url, "");
    sink.absorb(1, &samples(0, 1_000));
    assert_eq!(sink.send().await, stored(1));
    let refused = server.asked().iter().filter(|asked| lines_of(asked) > 300).count();
    assert_eq!(refused, 3, "1000, 500, 500");
    sink.absorb(2, &samples(0, 1_000));
    assert_eq!(sink.send().await, stored(2));
    let sizes: Vec<usize> = server.asked().iter().map(lines_of).collect();
    assert_eq!(&sizes[sizes.len() - 4..], [250; 4]);
    assert_eq!(account.get(Fate::Rejected), 0);
}

#[tokio::test]
async fn a_wrong_token_pauses_and_a_new_one_in_the_file_is_taken_without_a_restart() {
    let server = Server::start(|_, asked| match asked.header("authorization") {
        Some("Token right") => Say::status(204),
        _ => Say::status(401).body("{\"code\":\"unauthorized\"}"),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "wrong").unwrap();
    let (mut sink, account) = sink(&server.url, &format!("token_file = {token:?}"));
    sink.absorb(1, &samples(0, 10));
    assert_eq!(sink.send().await, Sent::Denied { text: "401 {\"code\":\"unauthorized\"}".into() });
    std::fs::write(&token, "right").unwrap();
    sink.reconnect().unwrap();
    assert_eq!(sink.send().await, stored(1));
    assert_eq!(account.get(Fate::Rejected), 0);
    assert_eq!(lines_of(&server.asked()[1]), 10);
}

#[tokio::test]
async fn a_server_that_does_not_answer_or_hangs_up_is_away_not_refusing() {
    let slow = Server::start(|number, _| match number {
        0 | 1 => Say::status(204).after(Duration::from_secs(30)),
        _ => Say::status(204),
    })
    .await;
    let (mut sink, account) = sink(&slow.url, "timeout = \"200ms\"");
    sink.absorb(1, &samples(0, 10));
    for _ in 0..2 {
        let Sent::Later { text, .. } = sink.send().await else { panic!("a timeout is temporary") };
        assert!(text.contains("timed out"), "{text}");
    }
    assert_eq!(sink.send().await, stored(1));

    let rude = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", rude.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            // Closed with the request unread: the peer gets a reset.
            let (stream, _) = rude.accept().await.unwrap();
            stream.readable().await.unwrap();
        }
    });
    let (mut sink, _) = self::sink(&url, "timeout = \"5s\"");
    sink.absorb(1, &samples(0, 10));
    for _ in 0..2 {
        assert!(matches!(sink.send().await, Sent::Later { retry_after: None, .. }));
    }
    assert_eq!(account.get(Fate::Rejected), 0);
}

#[tokio::test]
async fn samples_of_a_point_that_nobody_knows_are_counted() {
    let server = Server::start(|_, _| Say::status(204)).await;
    let (mut sink, account) = sink(&server.url, "");
    let mut batch = samples(0, 2);
    batch[1].point = PointIndex(10_000);
    sink.absorb(1, &batch);
    assert_eq!(sink.send().await, stored(1));
    assert_eq!(account.get(Fate::UnknownPoint), 1);
    assert_eq!(lines_of(&server.asked()[0]), 1);
}

#[test]
fn the_alarm_is_raised_after_ten_seconds_once_and_ended_once() {
    let s = Duration::from_secs;
    let mut health = Health::default();
    assert!(health.worked(), "it may stand from before the restart");
    assert!(!health.worked());
    assert!(!health.failed(Failing::ForNow, s(100), s(101)));
    assert!(!health.failed(Failing::ForNow, s(102), s(110)));
    assert!(health.failed(Failing::ForNow, s(108), s(111)), "counted from the first try that failed");
    assert!(!health.failed(Failing::ForNow, s(112), s(140)));
    assert!(health.worked());
    assert!(!health.worked());
    assert!(!health.failed(Failing::ForNow, s(200), s(201)), "a new outage has its own ten seconds");
    assert!(health.failed(Failing::ForGood, s(202), s(202)), "a wrong token is told at once");
}

/// The journal, played: what the loop may read, and what it said.
struct Played {
    entries: VecDeque<(Seq, Entry)>,
    said: mpsc::SyncSender<Told>,
}

#[derive(Debug, PartialEq)]
enum Told {
    Passed(Seq),
    Alarm(bool),
}

impl Side for Played {
    fn next(&mut self, wait: Duration) -> Result<Vec<(Seq, Entry)>, journal::Error> {
        if self.entries.is_empty() {
            std::thread::sleep(wait.min(Duration::from_millis(20)));
        }
        Ok(self.entries.drain(..self.entries.len().min(4)).collect())
    }

    fn passed(&mut self, seq: Seq) {
        self.said.send(Told::Passed(seq)).unwrap();
    }

    fn say(&mut self, condition: Condition) -> Result<(), journal::Error> {
        assert_eq!(condition.rule, "davy-influxdb");
        self.said.send(Told::Alarm(condition.holds)).unwrap();
        Ok(())
    }
}

/// The loop with a server that is busy first: the cursor moves only after the lines are stored, ticks move
/// it too, points renamed on the way carry their new name, an alarm that may stand from before the restart
/// ends with the first success, and `stop` ends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cursor_moves_only_when_the_server_has_the_lines() {
    let server = Server::start(|number, _| Say::status(if number == 0 { 503 } else { 204 })).await;
    let (mut sink, _) = sink(&server.url, "batch_wait = \"50ms\"");
    let renamed = journal::Setup { at: TIME, ..journal::Setup::of(vec![point("mine", "t0", "T2")]) };
    let entries = VecDeque::from([
        (1, Entry::Samples(Arc::new(samples(0, 10)))),
        (2, Entry::Tick(TIME)),
        (3, Entry::Note(Note::Setup(Arc::new(renamed)))),
        (4, Entry::Samples(Arc::new(samples(10, 1)))),
        (5, Entry::Tick(TIME)),
    ]);
    let (said, heard) = mpsc::sync_channel(100);
    let stop = CancellationToken::new();
    let thread = {
        let stop = stop.clone();
        std::thread::spawn(move || drive(&mut sink, &mut Played { entries, said }, &stop))
    };
    let told = tokio::task::spawn_blocking(move || {
        let mut told = Vec::new();
        while !told.contains(&Told::Passed(5)) || !told.contains(&Told::Alarm(false)) {
            told.push(heard.recv_timeout(Duration::from_secs(20)).expect("the last tick and the success are told"));
        }
        told
    })
    .await
    .unwrap();
    let asked = server.wait_for(2).await;
    assert_eq!(asked[0].text(), asked[1].text(), "the refused batch comes again");
    let all: String = asked[1..].iter().map(Asked::text).collect();
    assert_eq!(all.lines().count(), 11);
    assert!(all.contains("methane,place=T2,point=t0,site=mine value=0.1,"), "{all}");
    assert!(!told.contains(&Told::Alarm(true)), "a hiccup is no alarm: {told:?}");
    stop.cancel();
    tokio::task::spawn_blocking(move || thread.join().unwrap().unwrap()).await.unwrap();
}

/// A wrong token is an alarm at once, the cursor stays, and the long pause does not hold up the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_token_is_an_alarm_at_once_and_the_journal_waits() {
    let server = Server::start(|_, _| Say::status(401)).await;
    let (mut sink, account) = sink(&server.url, "batch_wait = \"10ms\"");
    let entries = VecDeque::from([(1, Entry::Samples(Arc::new(samples(0, 10))))]);
    let (said, heard) = mpsc::sync_channel(100);
    let stop = CancellationToken::new();
    let told = tokio::task::spawn_blocking(move || {
        let thread = {
            let stop = stop.clone();
            std::thread::spawn(move || drive(&mut sink, &mut Played { entries, said }, &stop))
        };
        let mut told = vec![heard.recv_timeout(Duration::from_secs(20)).expect("the alarm is told")];
        let watch = Stopwatch::start();
        stop.cancel();
        thread.join().unwrap().unwrap();
        assert!(watch.elapsed() < Duration::from_secs(10), "it sat out its pause");
        told.extend(heard.try_iter());
        told
    });
    assert_eq!(told.await.unwrap(), [Told::Alarm(true)]);
    assert_eq!((server.asked().len(), account.get(Fate::Rejected)), (1, 0));
}

/// The real thing: a time-series server that speaks the v2 write API, killed on drop.
struct Victoria {
    process: Child,
    port: u16,
}

impl Drop for Victoria {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Victoria {
    /// None when it is not installed. The port is given on a restart, so that the sink finds it again.
    async fn start(data: &std::path::Path, port: Option<u16>) -> Option<Self> {
        for _ in 0..5 {
            // Free a moment ago; should somebody else be quicker, the next one is tried.
            let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let port = port.unwrap_or_else(free);
            let spawned = Command::new("victoria-metrics")
                .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
                .arg(format!("-storageDataPath={}", data.display()))
                .args(["-retentionPeriod=100y", "-memory.allowedBytes=64MB", "-loggerLevel=ERROR"])
                .args(["-search.latencyOffset=0s"])
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn();
            let process = match spawned {
                Ok(process) => process,
                Err(error) if std::env::var_os("CI").is_none() => {
                    eprintln!("skipped: victoria-metrics is not installed ({error})");
                    return None;
                }
                Err(error) => panic!("victoria-metrics is needed for this test: {error}"),
            };
            let mut server = Self { process, port };
            let waited = tokio::time::timeout(Duration::from_secs(30), async {
                loop {
                    if server.process.try_wait().unwrap().is_some() {
                        return false;
                    }
                    if server.get("/health").await.is_some() {
                        return true;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
            if waited.await.unwrap_or(false) {
                return Some(server);
            }
            drop(server.process.kill());
            let mut said = String::new();
            drop(server.process.stderr.take().unwrap().read_to_string(&mut said));
            eprintln!("victoria-metrics did not start on port {port}: {said}");
        }
        panic!("victoria-metrics does not start");
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    async fn get(&self, path: &str) -> Option<String> {
        let url = Url::parse(&format!("{}{path}", self.url())).unwrap();
        let client = remote::client(&url, None, Duration::from_secs(20)).unwrap();
        let answer = client.get(url).send().await.ok()?;
        answer.status().is_success().then_some(())?;
        answer.text().await.ok()
    }

    /// Times of the stored samples of `series`, by point, in milliseconds; each with its value.
    async fn export(&self, series: &str) -> std::collections::BTreeMap<String, Vec<(i64, f64)>> {
        assert!(self.get("/internal/force_flush").await.is_some());
        let text = self.get(&format!("/api/v1/export?match[]={series}")).await.unwrap();
        let mut found = std::collections::BTreeMap::<String, Vec<(i64, f64)>>::new();
        for line in text.lines() {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!((&row["metric"]["site"], &row["metric"]["place"]), (&"mine".into(), &"回风巷".into()));
            let values = row["values"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap());
            let times = row["timestamps"].as_array().unwrap().iter().map(|time| time.as_i64().unwrap());
            found.entry(row["metric"]["point"].as_str().unwrap().to_owned()).or_default().extend(times.zip(values));
        }
        found
    }
}

/// The server is killed in the middle of the shift and started again: at the end it has every sample.
#[tokio::test]
async fn every_sample_is_in_the_database_although_it_was_killed_in_the_middle() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = Victoria::start(folder.path(), None).await else { return };
    let (mut sink, account) = sink(&server.url(), "timeout = \"20s\"");
    let start = Timestamp::from_micros((clock::now().micros() / 1_000 - 3_600_000) * 1_000);

    sink.absorb(1, &samples_from(start, 0, 12_000));
    assert_eq!(sink.send().await, stored(1));
    // It acknowledges before its disk has the lines, and a kill in those seconds loses them for it. What it
    // does with lines that it has accepted is its own affair, so it is made to write them down first.
    assert!(server.get("/snapshot/create").await.is_some());
    let port = server.port;
    drop(server);

    sink.absorb(2, &samples_from(start, 12_000, 12_000));
    assert!(matches!(sink.send().await, Sent::Later { .. }), "the connection is gone");
    let Sent::Later { text, .. } = sink.send().await else { panic!("nobody listens") };
    assert!(text.to_lowercase().contains("refused"), "{text}");
    assert!(sink.full());
    sink.absorb(3, &[Sample::missing(PointIndex(0), crate::model::Reason::LineBreak, start - Duration::from_secs(1))]);

    let server = Victoria::start(folder.path(), Some(port)).await.expect("it was there a moment ago");
    assert_eq!(sink.send().await, stored(3));

    let values = server.export("methane_value").await;
    assert_eq!(values.len(), 10);
    assert_eq!(values.values().map(Vec::len).sum::<usize>(), 24_000, "the bad reading is no value");
    for (number, rows) in values.values().enumerate() {
        let mut rows = rows.clone();
        rows.sort_by_key(|row| row.0);
        for (place, (time, value)) in rows.iter().enumerate() {
            let n = (place * 10 + number) as i64;
            assert_eq!((*time, *value), (start.micros() / 1_000 + n, n as f64 / 100.0));
        }
    }
    let qualities = server.export("methane_quality").await;
    assert_eq!(qualities.values().map(Vec::len).sum::<usize>(), 24_001);
    assert!(qualities["t0"].iter().any(|row| row.1 == 4.0), "the line break is seen");
    assert_eq!(account.seen().count(), 0, "nothing was lost");
}
