//! Programs that send samples: what they are answered, and when.

use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::stage::{Stage, TOKEN, answer, config, points};
use crate::journal::{Entry, Intake, Waiting};
use crate::ledger::{Fate, Ledger};
use crate::model::{PointTable, Sample};
use crate::source::http::{Config, Senders};

const SENDER: &str = "a-token-of-the-weather-mast";
/// 2026-09-21T14:13:20Z
const TIME: i64 = 1_790_000_000;

/// The edge with one sender, and the journal's queue behind it.
async fn stage(capacity: usize, more: &str) -> (Stage, Waiting, Arc<Ledger>) {
    let (intake, waiting) = Intake::with_receiver(capacity);
    let ledger = Arc::<Ledger>::default();
    let weather = Config::of_test("weather", SENDER, &format!("points = [\"mine.t*\"]\n{more}"));
    let other = Config::of_test("other", "another-token-of-somebody", "points = [\"plant.p1\"]");
    let table = Arc::new(PointTable::new(points()));
    let senders = Senders::new(vec![weather, other], &table, &intake, &ledger);
    let stage = Stage::with_senders(config(Some(TOKEN)), ledger.clone(), Arc::new(senders)).await;
    (stage, waiting, ledger)
}

/// A journal that is always quick; what it was given.
fn keep(mut waiting: Waiting) -> Arc<Mutex<Vec<Sample>>> {
    let kept = Arc::<Mutex<Vec<Sample>>>::default();
    let keeps = kept.clone();
    tokio::spawn(async move {
        while let Some((entry, done)) = waiting.next().await {
            if let Entry::Samples(samples) = entry {
                keeps.lock().unwrap().extend(samples.iter());
            }
            if let Some(done) = done {
                done.send(1).ok();
            }
        }
    });
    kept
}

fn post(stage: &Stage, path: &str, kind: &str, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
    stage.post(path).bearer_auth(SENDER).header("content-type", kind).body(body)
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(text).unwrap();
    packed.finish().unwrap()
}

#[tokio::test]
async fn a_sender_is_answered_when_its_samples_are_durable_and_not_before() {
    let (stage, mut waiting, ledger) = stage(8, "").await;
    let body = json!({ "point": "mine.t1", "value": 0.42, "time": TIME }).to_string();
    let mut asked = tokio::spawn(answer(post(&stage, "/api/v1/samples", "application/json", body)));
    let (entry, done) = waiting.next().await.unwrap();
    let Entry::Samples(samples) = entry else { panic!("{entry:?}") };
    assert_eq!((samples.len(), samples[0].point.0, samples[0].value), (1, 0, 0.42));
    let early = tokio::time::timeout(Duration::from_millis(100), &mut asked).await;
    assert!(early.is_err(), "answered before the commit: {early:?}");
    done.unwrap().send(7).unwrap();
    let said = json!({ "accepted": 1, "flagged": 0, "rejected": 0, "verdicts": [], "untold": 0 });
    assert_eq!(asked.await.unwrap(), (200, said));
    assert_eq!(ledger.account("http.weather").get(Fate::Accepted), 1);

    // A commit that does not come is no 2xx, and the sender is told to come again.
    let body = json!({ "point": "mine.t1", "value": 0.42, "time": TIME }).to_string();
    let asked = tokio::spawn(post(&stage, "/api/v1/samples", "application/json", body).send());
    drop(waiting.next().await.unwrap());
    let refused = asked.await.unwrap().unwrap();
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (503, "5"));
    assert_eq!(ledger.account("http.weather").get(Fate::Unacknowledged), 1);
    stage.close().await;
}

#[tokio::test]
async fn every_part_of_a_body_has_its_verdict() {
    let (stage, waiting, ledger) = stage(8, "").await;
    let kept = keep(waiting);
    let body = json!([
        { "point": "mine.t1", "value": 0.42, "time": TIME },
        { "point": "mine.t9", "value": 1, "time": TIME },
        { "point": "plant.p1", "value": 1, "time": TIME },
        { "point": "plant.old", "value": 1, "time": TIME },
        { "point": "mine.t2", "value": "high", "time": TIME },
        { "point": "mine.t2", "value": 5, "time": 12 },
        { "point": "mine.t2", "value": null, "time": TIME, "quality": "line_break" },
    ]);
    let (status, said) = answer(post(&stage, "/api/v1/samples", "application/json", body.to_string())).await;
    assert_eq!(
        (status, &said["accepted"], &said["flagged"], &said["rejected"]),
        (207, &3.into(), &1.into(), &4.into())
    );
    let verdicts: Vec<(i64, &str, &str, &str)> = said["verdicts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let text = |name: &str| one[name].as_str().unwrap_or_default();
            assert!(!text("message").is_empty());
            (one["index"].as_i64().unwrap(), text("verdict"), text("reason"), text("point"))
        })
        .collect();
    let expected = [
        (1, "rejected", "unknown_point", "mine.t9"),
        (2, "rejected", "refused", "plant.p1"),
        (3, "rejected", "retired_point", "plant.old"),
        (4, "rejected", "no_value", ""),
        (5, "flagged", "bad_time", "mine.t2"),
    ];
    assert_eq!(verdicts, expected);
    let stored: Vec<(u32, f64, String)> = std::mem::take(&mut *kept.lock().unwrap())
        .iter()
        .map(|sample| (sample.point.0, sample.value, sample.quality.to_string()))
        .collect();
    let expected = [
        (0, 0.42, "good".to_owned()),
        (1, 5.0, "uncertain:clock_wrong".to_owned()),
        (1, 0.0, "bad:line_break".to_owned()),
    ];
    assert_eq!(stored, expected);
    let account = ledger.account("http.weather");
    let counted: Vec<_> = account.seen().filter(|(fate, _)| *fate != Fate::Accepted).collect();
    let expected =
        [(Fate::NoValue, 1), (Fate::UnknownPoint, 1), (Fate::Refused, 1), (Fate::BadTime, 1), (Fate::RetiredPoint, 1)];
    assert_eq!(counted, expected);
    stage.close().await;
}

#[tokio::test]
async fn the_forms_of_a_body_and_their_answers() {
    let (stage, waiting, _) = stage(8, "body_bytes = 4096\nline-protocol = { precision = \"s\" }").await;
    let kept = keep(waiting);
    let lines = "methane,site=mine,point=t1 value=1 1790000000\nmethane,site=mine,point=t9 value=2 1790000000\n";
    let bomb = gzip(&vec![b' '; 2_000_000]);
    assert!(bomb.len() < 4_000, "small enough to be looked at");
    for (kind, body, status, accepted, place) in [
        ("application/json", "[]".as_bytes(), 200, 0, None),
        ("application/json", br#"{"samples":[{"point":"mine.t1","value":1}]}"#, 200, 1, None),
        ("application/json", br#"{"values":{"mine.t1":1,"mine.t2":2,"x":3}}"#, 207, 2, Some(("index", 0))),
        ("application/json; charset=utf-8", br#"{"point":"mine.t7","value":1}"#, 422, 0, Some(("index", 0))),
        ("application/json", b"value=1", 400, 0, Some(("index", 0))),
        ("application/x-ndjson", b"{\"point\":\"mine.t1\",\"value\":1}\n\n{\"point\":", 207, 1, Some(("line", 3))),
        ("text/csv", b"point,value,time\nmine.t1,1,1790000000\nmine.t1,x,1790000000\n", 207, 1, Some(("line", 3))),
        ("text/csv", b"point;value\n", 422, 0, Some(("line", 1))),
        ("text/plain", lines.as_bytes(), 207, 1, Some(("line", 2))),
        ("application/vnd.influx.line-protocol", b"# nothing\n", 422, 0, Some(("line", 0))),
    ] {
        let about = String::from_utf8_lossy(body).into_owned();
        let (found, said) = answer(post(&stage, "/api/v1/samples", kind, body.to_vec())).await;
        assert_eq!((found, said["accepted"].as_i64()), (status, Some(accepted)), "{about}: {said}");
        match place {
            None => assert_eq!(said["verdicts"], json!([]), "{about}"),
            Some((name, place)) => assert_eq!(said["verdicts"][0][name], place, "{about}: {said}"),
        }
    }
    assert_eq!(kept.lock().unwrap().len(), 6);
    let packed = |body: Vec<u8>| post(&stage, "/api/v1/samples", "text/plain", body).header("content-encoding", "gzip");
    assert_eq!(answer(packed(gzip(lines.as_bytes()))).await.0, 207);
    assert_eq!(answer(packed(bomb)).await.0, 413, "a body that unpacks beyond the limit");
    let mut cut = gzip(lines.as_bytes());
    cut.truncate(20);
    assert_eq!(answer(packed(cut)).await.0, 400);
    let plain = |body: Vec<u8>| post(&stage, "/api/v1/samples", "text/plain", body);
    assert_eq!(answer(plain(vec![b' '; 4_097])).await.0, 413);
    assert_eq!(answer(plain(vec![]).header("content-encoding", "br")).await.0, 415);
    assert_eq!(answer(post(&stage, "/api/v1/samples", "text/html", "")).await.0, 415);
    assert_eq!(answer(post(&stage, "/api/v1/samples?precision=h", "text/plain", "")).await.0, 400);
    stage.close().await;
}

#[tokio::test]
async fn telegraf_finds_what_it_expects_of_influxdb() {
    let (stage, waiting, _) = stage(8, "line-protocol = { point = \"{tag:host}.{field}\" }").await;
    let kept = keep(waiting);
    let write = |precision: &str, body: &str| {
        stage
            .post(&format!("/api/v2/write?org=county&bucket=davy&precision={precision}"))
            .header("authorization", format!("Token {SENDER}"))
            .header("content-type", "text/plain; charset=utf-8")
            .header("content-encoding", "gzip")
            .body(gzip(body.as_bytes()))
    };
    let whole = write("ns", "gas,host=mine t1=0.42,t2=3i 1790000000000000000\n").send().await.unwrap();
    assert_eq!((whole.status().as_u16(), whole.text().await.unwrap().as_str()), (204, ""));
    let (status, said) = answer(write("s", "gas,host=mine t1=0.43,cpu=3i 1790000001\n")).await;
    assert_eq!((status, said["code"].as_str().unwrap()), (422, "unprocessable entity"));
    let message = said["message"].as_str().unwrap();
    assert!(message.starts_with("1 stored, 1 not; first: line 1, mine.cpu: there is no such point"), "{message}");
    let times: Vec<i64> = kept.lock().unwrap().iter().map(|sample| sample.source_time.micros() / 1_000_000).collect();
    assert_eq!(times, [TIME, TIME, TIME + 1]);
    stage.close().await;
}

#[tokio::test]
async fn a_token_opens_its_own_door_only() {
    let (stage, waiting, _) = stage(8, "").await;
    let kept = keep(waiting);
    let body = r#"{"point":"mine.t1","value":1}"#;
    let send = |authorization: Option<String>| {
        let mut request = stage.post("/api/v1/samples").header("content-type", "application/json").body(body);
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        answer(request)
    };
    let wrong =
        [None, Some(format!("Bearer {TOKEN}")), Some("Bearer ".into()), Some(SENDER.into()), Some("Token".into())];
    for authorization in wrong {
        let (status, said) = send(authorization.clone()).await;
        assert_eq!((status, said["error"]["code"].as_str()), (401, Some("unauthorized")), "{authorization:?}");
    }
    // The other sender is known, and may not write this point.
    assert_eq!(send(Some("Bearer another-token-of-somebody".into())).await.0, 422);
    assert_eq!(kept.lock().unwrap().len(), 0);
    assert_eq!(send(Some(format!("bearer {SENDER}"))).await.0, 200);
    for path in ["/api/v1/points", "/api/v1/alarms", "/metrics"] {
        assert_eq!(stage.get(path).bearer_auth(SENDER).send().await.unwrap().status(), 401, "{path}");
    }
    assert!(stage.refused() >= 5, "refusals are counted");
    stage.close().await;
    let without = Stage::open().await;
    let (status, said) = answer(without.post("/api/v1/samples").body(body)).await;
    assert_eq!(status, 404);
    assert!(said["error"]["message"].as_str().unwrap().contains("add [source.http.NAME]"), "{said}");
    without.close().await;
}

#[tokio::test]
async fn a_full_journal_and_a_sender_without_end_are_turned_away_for_a_moment() {
    let (stage, mut waiting, ledger) = stage(1, "requests = 2").await;
    let body = r#"{"point":"mine.t1","value":1}"#;
    let first = tokio::spawn(post(&stage, "/api/v1/samples", "application/json", body).send());
    let (_, done) = waiting.next().await.unwrap();
    // The next one fills the queue, and nobody takes from it: the one after finds no room.
    let second = tokio::spawn(post(&stage, "/api/v1/samples", "application/json", body).send());
    let third = post(&stage, "/api/v1/samples", "application/json", body).send().await.unwrap();
    assert_eq!((third.status().as_u16(), third.headers()["retry-after"].to_str().unwrap()), (429, "1"));
    let said: Value = serde_json::from_str(&third.text().await.unwrap()).unwrap();
    assert!(said["error"]["message"].as_str().unwrap().contains("too many requests open"), "{said}");
    done.unwrap().send(1).unwrap();
    assert_eq!(first.await.unwrap().unwrap().status(), 200);
    let fourth = post(&stage, "/api/v1/samples", "application/json", body).send().await.unwrap();
    assert_eq!(fourth.status(), 429);
    let said: Value = serde_json::from_str(&fourth.text().await.unwrap()).unwrap();
    assert!(said["error"]["message"].as_str().unwrap().contains("queue stays full"), "{said}");
    let (_, done) = waiting.next().await.unwrap();
    done.unwrap().send(2).unwrap();
    assert_eq!(second.await.unwrap().unwrap().status(), 200);
    let account = ledger.account("http.weather");
    assert_eq!((account.get(Fate::Accepted), account.get(Fate::Unacknowledged)), (2, 1));

    // A body that is announced as endless is not waited for, and one in pieces is cut at the limit.
    let mut raw = tokio::net::TcpStream::connect(stage.address).await.unwrap();
    let head = format!(
        "POST /api/v1/samples HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SENDER}\r\nContent-Type: text/csv\r\n"
    );
    raw.write_all(format!("{head}Content-Length: 99999999999\r\n\r\n").as_bytes()).await.unwrap();
    let mut said = [0; 12];
    raw.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"HTTP/1.1 413");
    let mut raw = tokio::net::TcpStream::connect(stage.address).await.unwrap();
    raw.write_all(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).await.unwrap();
    let piece = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    // The gateway stops reading and closes somewhere on the way.
    for _ in 0..80 {
        if raw.write_all(piece.as_bytes()).await.is_err() {
            break;
        }
    }
    let mut said = Vec::new();
    raw.read_to_end(&mut said).await.ok();
    assert!(said.starts_with(b"HTTP/1.1 413") || said.is_empty(), "{}", String::from_utf8_lossy(&said));
    assert_eq!(account.get(Fate::TooLarge), 2);
    stage.close().await;
}
