//! A figure, not a test of one: with `DAVY_FLOOD=20000000`, `--release` and `--nocapture` it says what one core carries.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::super::acks::Durable;
use super::super::{Decoder, DecoderFactory, MqttListener, Subscribers};
use super::stage::*;
use crate::board::Board;
use crate::clock::Stopwatch;
use crate::ledger::{Fate, Ledger};
use crate::model::{PointIndex, Sample, Timestamp};

/// One sample a message, without looking at it.
struct Blind;

impl Decoder for Blind {
    fn decode(&mut self, _: &[u8], _: &[u8], received: Timestamp, into: &mut Vec<Sample>) -> Result<(), Fate> {
        into.push(Sample::received(PointIndex(1), 1.0, None, received));
        Ok(())
    }
}

/// Messages a second through sockets, for a listener on a runtime of its own with one thread.
fn measure(qos: u8, connections: usize, messages: usize) -> f64 {
    let listener_runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let account = Ledger::default().account("front");
    let stop = CancellationToken::new();
    let (address, served) = listener_runtime.block_on(async {
        let text = "address = \"127.0.0.1:0\"\nanonymous = true\n[limit]\nunacknowledged = 65535";
        let listener = MqttListener::bind(config(text)).await.unwrap();
        let address = listener.address();
        let decoders: DecoderFactory = Arc::new(|| Box::new(Blind));
        let counted = account.clone();
        let deliver = Box::new(move |samples: Vec<Sample>| {
            counted.add(Fate::Accepted, samples.len() as u64);
            Box::pin(async { Ok(Box::pin(async { Ok(1_u64) }) as Durable) }) as super::super::Submission
        });
        let subscribers = Subscribers::new(Arc::new(Board::new()), written);
        let served = tokio::spawn(listener.serve(
            account.clone(),
            deliver,
            (subscribers, Arc::default()),
            decoders,
            stop.clone(),
        ));
        (address, served)
    });
    let clients = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let payload = br#"{"value":1.02,"time":1800000000123}"#;
    let chunk: Arc<Vec<u8>> =
        Arc::new((0..1_000).flat_map(|n| publish(qos, "plant/mine-1/ch4/t1", n + 1, payload)).collect());
    let watch = Stopwatch::start();
    clients.block_on(async {
        let mut running = tokio::task::JoinSet::new();
        for n in 0..connections {
            let chunk = chunk.clone();
            running.spawn(async move {
                let stream = tokio::net::TcpStream::connect(address).await.unwrap();
                let (mut reader, mut writer) = stream.into_split();
                writer.write_all(&connect(4, &format!("d{n}"), 2, 0, &[])).await.unwrap();
                let rounds = messages / connections / 1_000;
                let sending = async {
                    for _ in 0..rounds {
                        writer.write_all(&chunk).await.unwrap();
                    }
                    writer.write_all(b"\xc0\x00").await.unwrap();
                };
                let wanted = 4 + if qos == 1 { rounds * 1_000 * 4 } else { 0 } + 2;
                let reading = async {
                    let (mut seen, mut buffer) = (0, vec![0; 65_536]);
                    while seen < wanted {
                        seen += reader.read(&mut buffer).await.unwrap();
                    }
                };
                tokio::join!(sending, reading);
            });
        }
        while let Some(ended) = running.join_next().await {
            ended.unwrap();
        }
    });
    let taken = account.get(Fate::Accepted);
    let rate = taken as f64 / watch.elapsed().as_secs_f64();
    assert_eq!(taken as usize, messages / connections / 1_000 * 1_000 * connections);
    stop.cancel();
    listener_runtime.block_on(served).unwrap();
    rate
}

#[test]
fn every_message_of_a_flood_is_taken_and_acknowledged() {
    let messages = std::env::var("DAVY_FLOOD").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000);
    for (qos, connections) in [(0, 1), (0, 100), (1, 1), (1, 100)] {
        let rate = measure(qos, connections, messages);
        println!("qos {qos}, {connections} connections: {:.2} M msg/s", rate / 1e6);
    }
}
