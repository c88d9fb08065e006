//! A listener on a free port, a journal in the test's hand, and a client that speaks bare bytes.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::super::acks::Durable;
use super::super::{Config, Decoder, DecoderFactory, MqttListener, Raw, Submission, Subscribers};
use crate::board::Board;
use crate::config::{Key, Problems};
use crate::journal::{self, Seq};
use crate::ledger::{Account, Fate, Ledger};
use crate::model::{PointIndex, Sample, Timestamp};

const PATIENCE: Duration = Duration::from_secs(10);

/// Understands the topic `s/<point index>` with a bare number as payload.
pub(super) struct Bare;

impl Decoder for Bare {
    fn decode(
        &mut self,
        topic: &[u8],
        payload: &[u8],
        received: Timestamp,
        into: &mut Vec<Sample>,
    ) -> Result<(), Fate> {
        let point = topic
            .strip_prefix(b"s/")
            .and_then(|rest| std::str::from_utf8(rest).ok())
            .and_then(|rest| rest.parse().ok());
        let point = PointIndex(point.ok_or(Fate::UnknownTopic)?);
        let text = std::str::from_utf8(payload).map_err(|_| Fate::NotUtf8)?;
        let value = text.parse().map_err(|_| Fate::NotJson)?;
        into.push(Sample::received(point, value, None, received));
        Ok(())
    }
}

/// A journal that keeps samples in memory, and commits when the test says so.
#[derive(Default)]
pub(super) struct Held {
    pub samples: Mutex<Vec<Sample>>,
    /// Commits wait for `commit`.
    holds: AtomicBool,
    /// The queue is full.
    blocked: AtomicBool,
    waiting: Mutex<Vec<oneshot::Sender<Seq>>>,
    changed: Notify,
}

impl Held {
    fn submit(self: &Arc<Self>, samples: Vec<Sample>) -> Submission {
        let own = self.clone();
        Box::pin(async move {
            loop {
                let changed = own.changed.notified();
                if !own.blocked.load(SeqCst) {
                    break;
                }
                changed.await;
            }
            let (done, commit) = oneshot::channel();
            own.samples.lock().unwrap().extend(samples);
            if own.holds.load(SeqCst) {
                own.waiting.lock().unwrap().push(done);
            } else {
                _ = done.send(1);
            }
            own.changed.notify_waiters();
            Ok(Box::pin(async move { commit.await.map_err(|_| journal::Error::Closed) }) as Durable)
        })
    }

    pub(super) fn hold(&self) {
        self.holds.store(true, SeqCst);
    }

    pub(super) fn block(&self, blocked: bool) {
        self.blocked.store(blocked, SeqCst);
        self.changed.notify_waiters();
    }

    /// The disk has it: oldest first, so many groups.
    pub(super) fn commit(&self, groups: usize) {
        for done in self.waiting.lock().unwrap().drain(..groups) {
            _ = done.send(1);
        }
    }

    /// The disk failed.
    pub(super) fn fail(&self) {
        self.waiting.lock().unwrap().clear();
    }

    pub(super) fn values(&self) -> Vec<f64> {
        self.samples.lock().unwrap().iter().map(|sample| sample.value).collect()
    }

    pub(super) async fn has(&self, count: usize) {
        eventually("samples in the journal", || self.samples.lock().unwrap().len() >= count).await;
    }

    pub(super) async fn groups(&self, count: usize) {
        eventually("groups that wait for a commit", || self.waiting.lock().unwrap().len() >= count).await;
    }
}

/// Waits, with a deadline, until something holds.
pub(super) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never came: {what}"));
}

pub(super) struct Stage {
    pub port: u16,
    pub account: Arc<Account>,
    pub board: Arc<Board>,
    pub subscribers: Arc<Subscribers>,
    pub journal: Arc<Held>,
    pub stop: CancellationToken,
    pub served: tokio::task::JoinHandle<()>,
}

pub(super) fn config(text: &str) -> Config {
    let mut problems = Problems::default();
    let key = Key::of("source.mqtt_listener.front");
    let raw: Option<Raw> = problems.read(&key, toml::from_str(text).unwrap());
    let config = raw.and_then(|raw| raw.check(&key, &mut problems));
    assert!(problems.is_empty(), "{problems:?}");
    config.unwrap()
}

/// The payload of a retained alarm in these tests; the gateway gives notify's form.
pub(super) fn written(alarm: &crate::alarm::Alarm) -> Vec<u8> {
    serde_json::to_vec(alarm).unwrap()
}

impl Stage {
    /// Anonymous clients, with these limits.
    pub(super) async fn open(limits: &str) -> Self {
        Self::with(&format!("address = \"127.0.0.1:0\"\nanonymous = true\n[limit]\n{limits}")).await
    }

    pub(super) async fn with(text: &str) -> Self {
        let listener = MqttListener::bind(config(text)).await.unwrap();
        let port = listener.address().port();
        let account = Ledger::default().account("front");
        let board = Arc::new(Board::new());
        let subscribers = Subscribers::new(board.clone(), written);
        let journal = Arc::new(Held::default());
        let stop = CancellationToken::new();
        let decoders: DecoderFactory = Arc::new(|| Box::new(Bare));
        let deliver = {
            let (journal, account) = (journal.clone(), account.clone());
            Box::new(move |samples: Vec<Sample>| {
                account.add(Fate::Accepted, samples.len() as u64);
                journal.submit(samples)
            })
        };
        let served = tokio::spawn(listener.serve(
            account.clone(),
            deliver,
            (subscribers.clone(), Arc::default()),
            decoders,
            stop.clone(),
        ));
        Self { port, account, board, subscribers, journal, stop, served }
    }

    pub(super) async fn dial(&self) -> Client {
        Client(TcpStream::connect(("127.0.0.1", self.port)).await.unwrap())
    }

    /// A client of MQTT 3.1.1 that was let in.
    pub(super) async fn v311(&self, id: &str) -> Client {
        let mut client = self.dial().await;
        client.send(&connect(4, id, 2, 0, &[])).await;
        assert_eq!(client.packet().await, b"\x20\x02\x00\x00");
        client
    }

    /// A client of MQTT 5 that was let in.
    pub(super) async fn v5(&self, id: &str) -> Client {
        let mut client = self.dial().await;
        client.send(&connect(5, id, 2, 0, &[])).await;
        let answer = client.packet().await;
        assert_eq!((answer[0], answer[3]), (0x20, 0), "{answer:x?}");
        client
    }

    pub(super) async fn counted(&self, fate: Fate, count: u64) {
        eventually(&format!("{count} x {}", fate.word()), || self.account.get(fate) == count).await;
    }

    /// An honest device is served: publishes, and is acknowledged.
    pub(super) async fn serves_others(&self) {
        let mut honest = self.v311("honest").await;
        honest.send(&publish(1, "s/9", 77, b"9.5")).await;
        assert_eq!(honest.packet().await, b"\x40\x02\x00\x4d");
        honest.send(b"\xe0\x00").await;
    }

    pub(super) async fn close(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.served).await.expect("the listener ends").unwrap();
    }
}

/// A CONNECT; `rest` is what follows the client id.
pub(super) fn connect(level: u8, id: &str, flags: u8, keep_alive: u16, rest: &[u8]) -> Vec<u8> {
    let mut body = b"\x00\x04MQTT".to_vec();
    body.extend([level, flags]);
    body.extend(keep_alive.to_be_bytes());
    if level == 5 {
        body.push(0);
    }
    body.extend(text(id.as_bytes()));
    body.extend(rest);
    packet(0x10, &body)
}

pub(super) fn text(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

pub(super) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut whole = vec![first];
    let mut rest = body.len();
    loop {
        let low = (rest & 0x7F) as u8;
        rest >>= 7;
        whole.push(if rest > 0 { low | 0x80 } else { low });
        if rest == 0 {
            break;
        }
    }
    whole.extend(body);
    whole
}

/// A PUBLISH of 3.1.1.
pub(super) fn publish(qos: u8, topic: &str, pkid: u16, payload: &[u8]) -> Vec<u8> {
    let mut body = text(topic.as_bytes());
    if qos > 0 {
        body.extend(pkid.to_be_bytes());
    }
    body.extend(payload);
    packet(0x30 | qos << 1, &body)
}

/// A PUBLISH of 5 with these properties.
pub(super) fn publish5(qos: u8, topic: &str, pkid: u16, properties: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut body = text(topic.as_bytes());
    if qos > 0 {
        body.extend(pkid.to_be_bytes());
    }
    body.push(u8::try_from(properties.len()).unwrap());
    body.extend(properties);
    body.extend(payload);
    packet(0x30 | qos << 1, &body)
}

/// Bare bytes over a socket.
pub(super) struct Client(pub TcpStream);

impl Client {
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// The next packet, whole.
    pub(super) async fn packet(&mut self) -> Vec<u8> {
        timeout(PATIENCE, self.read()).await.expect("a packet comes").expect("the connection stands")
    }

    async fn read(&mut self) -> std::io::Result<Vec<u8>> {
        let mut whole = vec![self.0.read_u8().await?];
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = self.0.read_u8().await?;
            whole.push(byte);
            length |= usize::from(byte & 0x7F) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let at = whole.len();
        whole.resize(at + length, 0);
        self.0.read_exact(&mut whole[at..]).await?;
        Ok(whole)
    }

    /// The server closes; what it said before that.
    pub(super) async fn closed(&mut self) -> Vec<u8> {
        let mut said = Vec::new();
        let end = timeout(PATIENCE, self.0.read_to_end(&mut said)).await.expect("the connection is closed");
        // A reset is a close as well.
        drop(end);
        said
    }

    /// Nothing was sent to this client: a ping is answered first of all.
    pub(super) async fn heard_nothing(&mut self) {
        self.send(b"\xc0\x00").await;
        assert_eq!(self.packet().await, b"\xd0\x00");
    }
}
