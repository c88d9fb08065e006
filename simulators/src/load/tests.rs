use std::collections::HashSet;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::template::value_of;
use super::*;

/// What the pretend server does with the messages.
#[derive(Clone, Copy)]
enum Server {
    AckAll,
    /// Acknowledges that many messages of each connection, then closes it.
    AckThenDie(u64),
    /// Takes everything and never answers.
    Mute,
    AckTwice,
}

struct Message {
    topic: String,
    id: Option<u16>,
    payload: Vec<u8>,
}

/// Listens, judges by the wire alone, and gives back all messages that it read.
async fn serve(how: Server, connections: usize) -> (SocketAddr, JoinHandle<Vec<Message>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let mut clients = JoinSet::new();
        for _ in 0..connections {
            let (stream, _) = listener.accept().await.unwrap();
            clients.spawn(attend(stream, how));
        }
        clients.join_all().await.into_iter().flatten().collect()
    });
    (address, server)
}

async fn packet(stream: &mut tokio::io::BufReader<TcpStream>) -> Option<(u8, Vec<u8>)> {
    let kind = stream.read_u8().await.ok()?;
    let (mut length, mut shift) = (0_usize, 0);
    loop {
        let byte = stream.read_u8().await.ok()?;
        length |= usize::from(byte & 0x7F) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((kind, body))
}

async fn attend(stream: TcpStream, how: Server) -> Vec<Message> {
    let mut stream = tokio::io::BufReader::new(stream);
    let (kind, hello) = packet(&mut stream).await.unwrap();
    assert_eq!((kind, &hello[..7]), (0x10, &b"\x00\x04MQTT\x04"[..]));
    stream.write_all(&[0x20, 2, 0, 0]).await.unwrap();
    let mut got = Vec::new();
    while let Some((kind, body)) = packet(&mut stream).await {
        match kind {
            0x30 | 0x32 => {
                let topic_end = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
                let topic = String::from_utf8(body[2..topic_end].to_vec()).unwrap();
                let id = (kind == 0x32).then(|| u16::from_be_bytes([body[topic_end], body[topic_end + 1]]));
                let payload = body[topic_end + if id.is_some() { 2 } else { 0 }..].to_vec();
                got.push(Message { topic, id, payload });
                if let (Some(id), true) = (id, !matches!(how, Server::Mute)) {
                    let ack = [0x40, 2, (id >> 8) as u8, (id & 0xFF) as u8];
                    stream.write_all(&ack).await.unwrap();
                    if matches!(how, Server::AckTwice) {
                        stream.write_all(&ack).await.unwrap();
                    }
                }
                if let Server::AckThenDie(count) = how
                    && got.len() as u64 == count
                {
                    return got;
                }
            }
            0xC0 => stream.write_all(&[0xD0, 0]).await.unwrap(),
            0xE0 => break,
            other => panic!("packet {other:#x} was not expected"),
        }
    }
    got
}

fn few(qos: Qos, messages: u64) -> Load {
    Load {
        qos,
        messages: Some(messages),
        topics: Load::topics("mine", 7),
        connections: 3,
        window: 16,
        ..Load::default()
    }
}

async fn run(load: Load, address: SocketAddr) -> Report {
    timeout(Duration::from_secs(30), load.run(address)).await.expect("a load ends").unwrap()
}

/// Topic, time and hundredths, as anybody reads them from the wire.
fn read(message: &Message) -> (String, u64, u16) {
    let json: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
    (message.topic.clone(), json["time"].as_u64().unwrap(), (json["value"].as_f64().unwrap() * 100.0).round() as u16)
}

#[test]
fn a_template_is_a_sound_publish_with_everything_patched_in() {
    let templates = Templates::new(["mine/t0", "mine/t1"].into_iter(), Qos::AtLeastOnce);
    let mut out = Vec::new();
    templates.write(1, 135, 1_790_000_000_123, 0x0203, &mut out);
    let mut expected = vec![0x32, 46, 0, 7];
    expected.extend_from_slice(b"mine/t1\x02\x03{\"value\":1.35,\"time\":1790000000123}");
    assert_eq!(out, expected);
    let long = "x".repeat(150);
    let templates = Templates::new([long.as_str()].into_iter(), Qos::AtMostOnce);
    out.clear();
    templates.write(0, 7, 9_999_999_999_999, 0, &mut out);
    assert_eq!(&out[..5], [0x30, 0xBB, 1, 0, 150], "187 bytes remain, which takes two length bytes");
    assert!(out.ends_with(b"{\"value\":0.07,\"time\":9999999999999}"));
}

#[test]
fn values_look_random_are_repeatable_and_keep_to_their_range() {
    let seen: HashSet<u16> = (0..5_000).map(|time| value_of(3, 1_790_000_000_000 + time, &(20..=80))).collect();
    assert_eq!(seen.len(), 61);
    assert!(seen.iter().all(|value| (20..=80).contains(value)));
    assert_eq!(value_of(3, 77, &(0..=999)), value_of(3, 77, &(0..=999)));
}

#[test]
fn quantiles_are_never_too_low_and_at_most_two_percent_too_high() {
    let mut histogram = Histogram::default();
    for value in 1..=100_000 {
        histogram.record(value);
    }
    for (q, exact) in [(0.5, 50_000.0), (0.99, 99_000.0), (0.001, 100.0)] {
        let found = histogram.quantile(q) as f64;
        assert!(found >= exact && found <= exact * 1.02, "{q}: {found}");
    }
    assert_eq!((histogram.max(), histogram.quantile(1.0), histogram.total()), (100_000, 100_000, 100_000));
    assert_eq!(Histogram::default().quantile(0.99), 0);
    let mut huge = Histogram::default();
    huge.record(u64::MAX);
    assert_eq!(huge.max(), u64::MAX);
}

#[tokio::test]
async fn qos_0_every_message_arrives_once_with_a_value_and_a_time_of_its_own() {
    let (address, server) = serve(Server::AckAll, 3).await;
    let report = run(few(Qos::AtMostOnce, 5_000), address).await;
    let got = server.await.unwrap();
    assert_eq!((report.ended, report.sent, report.acknowledged), (Ended::Complete, 5_000, 0));
    let distinct: HashSet<(String, u64)> = got.iter().map(read).map(|(topic, time, _)| (topic, time)).collect();
    assert_eq!((got.len(), distinct.len()), (5_000, 5_000));
    assert!(got.iter().all(|message| message.id.is_none()));
    let topics: HashSet<&str> = got.iter().map(|message| message.topic.as_str()).collect();
    assert_eq!(topics.len(), 7, "all points speak");
    assert!(report.time_ahead_ms > 0, "thousands of messages of seven points must run ahead of the clock");
}

#[tokio::test]
async fn qos_1_the_list_of_the_acknowledged_is_what_the_server_has() {
    let (address, server) = serve(Server::AckAll, 3).await;
    let report = run(Load { keep_acknowledged: 10_000, ..few(Qos::AtLeastOnce, 4_000) }, address).await;
    let got: HashSet<(String, u64, u16)> = server.await.unwrap().iter().map(read).collect();
    assert_eq!((report.ended, report.sent, report.acknowledged), (Ended::Complete, 4_000, 4_000));
    assert_eq!((report.unacknowledged, report.unexpected_acks, report.acknowledged_not_listed), (0, 0, 0));
    let topics = Load::topics("mine", 7);
    let listed: HashSet<(String, u64, u16)> = report
        .acknowledged_list
        .iter()
        .map(|one| (topics[one.point as usize].clone(), one.time_ms, one.hundredths))
        .collect();
    assert_eq!(listed, got);
    assert!(report.ack_p50_us <= report.ack_p99_us && report.ack_p99_us <= report.ack_max_us && report.ack_max_us > 0);
}

#[tokio::test]
async fn a_server_that_dies_leaves_a_report_of_what_it_had_acknowledged() {
    let (address, server) = serve(Server::AckThenDie(500), 3).await;
    let report = run(Load { keep_acknowledged: 10_000, ..few(Qos::AtLeastOnce, 1_000_000) }, address).await;
    let got: HashSet<(String, u64, u16)> = server.await.unwrap().iter().map(read).collect();
    assert_eq!((report.ended, report.broken_connections), (Ended::Broken, 3));
    assert!(
        !report.reasons.is_empty()
            && report.reasons.iter().all(|reason| reason.contains("clos") || reason.contains("lost")),
        "{:?}",
        report.reasons
    );
    // A reset may swallow answers on their way: what is listed is acknowledged, never more.
    assert!(report.acknowledged <= 1_500 && report.acknowledged as usize == report.acknowledged_list.len());
    assert!(report.acknowledged_list.iter().all(|one| got.contains(&(
        format!("mine/p{:06}", one.point),
        one.time_ms,
        one.hundredths
    ))));
    assert!(report.unacknowledged <= 48, "the window bounds what is uncertain: {}", report.unacknowledged);
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_with_a_full_window() {
    let (address, server) = serve(Server::Mute, 3).await;
    let patience = Duration::from_millis(300);
    let report = run(Load { patience, ..few(Qos::AtLeastOnce, 1_000) }, address).await;
    assert_eq!((report.ended, report.sent, report.acknowledged), (Ended::Broken, 48, 0));
    assert_eq!(report.reasons, ["no progress for 300ms with 16 in flight"]);
    assert_eq!(server.await.unwrap().len(), 48);
}

#[tokio::test]
async fn answers_to_nothing_are_counted() {
    let (address, server) = serve(Server::AckTwice, 1).await;
    let report = run(Load { connections: 1, ..few(Qos::AtLeastOnce, 100) }, address).await;
    assert_eq!(report.acknowledged, 100);
    assert!(report.unexpected_acks > 0);
    drop(server);
}

#[tokio::test]
async fn a_rate_is_kept_and_a_time_ends_it() {
    let (address, server) = serve(Server::AckAll, 3).await;
    let length = Duration::from_millis(600);
    let load = Load { messages: None, length: Some(length), rate: Some(5_000), ..few(Qos::AtLeastOnce, 0) };
    let report = run(load, address).await;
    let got = server.await.unwrap().len() as u64;
    assert_eq!((report.ended, report.sent), (Ended::Complete, got));
    assert!(got <= 3_000, "never more than the rate allows: {got}");
    // What a busy machine did not send in time is said, not hidden.
    assert!(got + report.behind >= 2_900 && got > 0, "{got} sent, {} behind", report.behind);
}

#[tokio::test]
async fn somebody_may_stop_it() {
    let (address, server) = serve(Server::AckAll, 3).await;
    let running = few(Qos::AtLeastOnce, u64::MAX).start(address);
    let progress = running.progress();
    timeout(Duration::from_secs(10), async {
        while progress.acknowledged() < 100 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it goes on by itself");
    running.stop();
    let report = timeout(Duration::from_secs(10), running.finish()).await.expect("it stops").unwrap();
    assert_eq!(report.ended, Ended::Stopped);
    assert!(report.acknowledged >= 100 && report.unacknowledged == 0 && report.sent == report.acknowledged);
    assert_eq!(server.await.unwrap().len() as u64, report.sent);
}

#[tokio::test]
async fn what_cannot_be_made_is_refused_in_words() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let told = |load: Load| async move { load.run(nobody).await.unwrap_err().to_string() };
    assert!(told(Load { messages: None, ..Load::default() }).await.contains("it has no end"));
    assert!(told(Load { connections: 8, ..few(Qos::AtLeastOnce, 1) }).await.contains("expected 1..=7"));
    assert!(told(Load { values: 0..=1_000, ..few(Qos::AtLeastOnce, 1) }).await.contains("0..=999"));
    assert!(told(Load { window: 0, ..few(Qos::AtLeastOnce, 1) }).await.contains("1..=65535"));
    let away = told(few(Qos::AtLeastOnce, 1)).await;
    assert!(away.starts_with(&format!("mqtt server {nobody}: ")), "{away}");
}
