//! A program sends samples over HTTP while the power of the gateway's box is cut, again and again.
//!
//! It sends every batch until it is answered 2xx, as a good client does. Afterwards each sample that was
//! acknowledged is in the history exactly once, however often it was sent.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails where it stands")]

mod stage;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use stage::{Site, now_ms, until};

const TOKEN: &str = "a-token-of-the-weather-mast";
const BATCH: i64 = 20;

const CONFIG: &str = r#"
[gateway]
name = "pit"
[web]
address = "127.0.0.1:0"
[history]
flush = "2s"
[source.http.mast]
token_file = "mast"
points = ["pit.wind-*"]
[point."pit.wind-n"]
kind = "wind"
[point."pit.wind-s"]
kind = "wind"
[point."pit.t1"]
kind = "methane"
"#;

/// What was acknowledged: time (µs) and value by point; and how often a batch was sent again.
#[derive(Default)]
struct Taken {
    samples: BTreeMap<&'static str, Vec<(i64, f64)>>,
    repeated: usize,
}

/// Sends batches in turn as JSON, CSV and line protocol until it is told to stop.
async fn mast(mut address: watch::Receiver<SocketAddr>, http: reqwest::Client, stop: CancellationToken) -> Taken {
    let mut taken = Taken::default();
    let mut time = now_ms();
    let mut number = 0;
    while !stop.is_cancelled() {
        number += 1;
        let point = if number % 2 == 0 { "pit.wind-n" } else { "pit.wind-s" };
        time = now_ms().max(time + 1);
        let samples: Vec<(i64, f64)> =
            (0..BATCH).map(|n| (time + n, ((number * BATCH + n) % 300) as f64 / 10.0)).collect();
        time += BATCH;
        let (kind, body) = written(number, point, &samples);
        loop {
            let at = *address.borrow_and_update();
            let request = http.post(format!("http://{at}/api/v1/samples?precision=ms"));
            match request.bearer_auth(TOKEN).header("content-type", kind).body(body.clone()).send().await {
                Ok(answer) if answer.status().is_success() => break,
                Ok(answer) => assert!([429, 503].contains(&answer.status().as_u16()), "{answer:?}"),
                // Cut off: the gateway may have kept it or not.
                Err(_) => drop(tokio::time::timeout(Duration::from_millis(50), address.changed()).await),
            }
            taken.repeated += 1;
        }
        let micros = samples.into_iter().map(|(ms, value)| (ms * 1_000, value));
        taken.samples.entry(point).or_default().extend(micros);
    }
    taken
}

fn written(number: i64, point: &str, samples: &[(i64, f64)]) -> (&'static str, String) {
    let lines = |line: &dyn Fn(&(i64, f64)) -> String| samples.iter().map(line).collect::<String>();
    let local = point.strip_prefix("pit.").unwrap();
    match number % 3 {
        0 => {
            let list: Vec<Value> =
                samples.iter().map(|(ms, value)| json!({ "point": point, "value": value, "time": ms })).collect();
            ("application/json", json!(list).to_string())
        }
        1 => ("text/csv", format!("time,value,point\n{}", lines(&|(ms, value)| format!("{ms},{value},{point}\r\n")))),
        _ => ("text/plain", lines(&|(ms, value)| format!("wind,site=pit,point={local} value={value} {ms}\n"))),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_2xx_outlives_kill_nine_and_is_there_once() {
    let site = Site::new(CONFIG, &[]);
    site.write("mast", TOKEN);
    let began = now_ms();
    let mut davy = site.start().await;
    let (addresses, address) = watch::channel(davy.web);
    let stop = CancellationToken::new();
    let http = reqwest::Client::builder().timeout(Duration::from_secs(20)).no_proxy().build().unwrap();
    let mast = tokio::spawn(mast(address, http, stop.clone()));
    for life in 0..8 {
        let enough = 40 + 30 * life;
        until("the gateway takes samples in", async || davy.fate("http.mast", "accepted").await > enough).await;
        davy.kill();
        davy = site.start().await;
        addresses.send_replace(davy.web);
    }
    until("the last life takes samples in", async || davy.fate("http.mast", "accepted").await > 200).await;
    stop.cancel();
    let taken = mast.await.unwrap();

    for (point, sent) in &taken.samples {
        let stored = async || -> Vec<(i64, f64)> {
            let all = davy.samples(point, began).await;
            all.into_iter().map(|one| (one.micros, one.value.unwrap())).collect()
        };
        // What was answered is durable at once, and in the history a moment later.
        until("the newest sample is in the history", async || stored().await.last() == sent.last()).await;
        let stored = stored().await;
        let missing: Vec<_> = sent.iter().filter(|sample| !stored.contains(sample)).collect();
        assert!(missing.is_empty(), "{point}: answered 2xx and lost: {missing:?}");
        assert_eq!(&stored, sent, "{point}: every sample once and nothing else");
    }
    let count: usize = taken.samples.values().map(Vec::len).sum();
    println!("{count} samples acknowledged, {} batches sent again", taken.repeated);
    assert!(count > 1_000 && taken.samples.len() == 2, "too little happened to prove anything");

    // A point that is not the sender's is refused, and told so.
    let refused = davy.client().post(davy.url("/api/v1/samples")).bearer_auth(TOKEN);
    let refused = refused.json(&json!({ "point": "pit.t1", "value": 0.1, "time": now_ms() })).send().await.unwrap();
    assert_eq!(refused.status(), 422);
    let said: Value = serde_json::from_str(&refused.text().await.unwrap()).unwrap();
    assert_eq!((&said["verdicts"][0]["reason"], &said["verdicts"][0]["point"]), (&"refused".into(), &"pit.t1".into()));
    assert_eq!(davy.fate("http.mast", "refused").await, 1);
    assert!(davy.stop().await.success());
}
