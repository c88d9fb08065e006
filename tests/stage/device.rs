//! A field device that publishes with QoS 1 and keeps what was not acknowledged.
//!
//! MQTT 3.1.1 by hand, byte for byte, so that broken packets can be sent as well. What was sent and not
//! acknowledged when the connection ends is sent again, first and in the same order, on the next one.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::PATIENCE;

#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub topic: String,
    pub payload: Vec<u8>,
}

impl Message {
    pub fn new(topic: impl Into<String>, payload: impl Into<Vec<u8>>) -> Self {
        Self { topic: topic.into(), payload: payload.into() }
    }

    /// A number with its time, as sensors send it.
    pub fn value(topic: impl Into<String>, value: f64, time_ms: i64) -> Self {
        Self::new(topic, format!("{{\"value\":{value},\"time\":{time_ms}}}"))
    }
}

/// Length as MQTT writes it, before the rest of a packet.
pub fn packet(first: u8, rest: &[u8]) -> Vec<u8> {
    let (mut bytes, mut left) = (vec![first], rest.len());
    loop {
        let low = (left % 128) as u8;
        left /= 128;
        bytes.push(if left > 0 { low | 0x80 } else { low });
        if left == 0 {
            break;
        }
    }
    bytes.extend(rest);
    bytes
}

fn text(bytes: &[u8]) -> Vec<u8> {
    let mut out = u16::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    out.extend(bytes);
    out
}

pub fn connect(client: &str) -> Vec<u8> {
    let mut rest = text(b"MQTT");
    rest.extend([4, 0x02, 0, 60]);
    rest.extend(text(client.as_bytes()));
    packet(0x10, &rest)
}

/// PUBLISH with QoS 1.
pub fn publish(topic: &[u8], id: u16, payload: &[u8]) -> Vec<u8> {
    let mut rest = text(topic);
    rest.extend(id.to_be_bytes());
    rest.extend(payload);
    packet(0x32, &rest)
}

/// A connection that was accepted.
pub async fn open(address: SocketAddr, client: &str) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    stream.write_all(&connect(client)).await?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await?;
    assert_eq!(answer, [0x20, 2, 0, 0], "the connection is accepted");
    Ok(stream)
}

/// Everything until the peer closes or nothing came for `quiet`; true when it closed.
pub async fn drain(stream: &mut TcpStream, quiet: Duration) -> (Vec<u8>, bool) {
    let (mut all, mut piece) = (Vec::new(), [0; 1024]);
    loop {
        match tokio::time::timeout(quiet, stream.read(&mut piece)).await {
            Err(_) => return (all, false),
            Ok(Ok(0) | Err(_)) => return (all, true),
            Ok(Ok(count)) => all.extend(&piece[..count]),
        }
    }
}

/// What becomes of a device's messages over all its connections.
pub struct Device {
    client: String,
    /// Not acknowledged when the last connection ended, oldest first.
    backlog: VecDeque<Message>,
    pub acknowledged: Vec<Message>,
    /// Sent again after a connection ended.
    pub repeated: usize,
}

/// Messages in flight.
const WINDOW: usize = 64;

impl Device {
    pub fn new(client: &str) -> Self {
        Self { client: client.to_owned(), backlog: VecDeque::new(), acknowledged: Vec::new(), repeated: 0 }
    }

    /// Messages that may or may not have been taken.
    pub fn open(&self) -> impl Iterator<Item = &Message> {
        self.backlog.iter()
    }

    /// Publishes what `make` makes, one message every `pace`, until the connection is gone, or until `stop`
    /// and everything is acknowledged.
    pub async fn run(
        &mut self,
        address: SocketAddr,
        pace: Duration,
        stop: &CancellationToken,
        mut make: impl FnMut() -> Option<Message>,
    ) {
        let Ok(mut stream) = open(address, &self.client).await else { return };
        self.repeated += self.backlog.len();
        let (mut flight, mut next) = (VecDeque::<(u16, Message)>::new(), 0_u16);
        let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
        let mut tick = tokio::time::interval(pace);
        let mut dry = false;
        while !(flight.is_empty() && self.backlog.is_empty() && (stop.is_cancelled() || dry)) {
            let may_send = flight.len() < WINDOW && (!self.backlog.is_empty() || !(stop.is_cancelled() || dry));
            tokio::select! {
                read = stream.read(&mut piece) => {
                    let Ok(1..) = read else { break };
                    bytes.extend(&piece[..read.unwrap()]);
                    while bytes.len() >= 4 {
                        assert_eq!(&bytes[..2], [0x40, 2], "only acknowledgements come back");
                        let id = u16::from_be_bytes([bytes[2], bytes[3]]);
                        let place = flight.iter().position(|(sent, _)| *sent == id);
                        let (_, message) = flight.remove(place.expect("it was in flight")).unwrap();
                        self.acknowledged.push(message);
                        bytes.drain(..4);
                    }
                }
                _ = tick.tick(), if may_send => {
                    let Some(message) = self.backlog.pop_front().or_else(&mut make) else {
                        dry = true;
                        continue;
                    };
                    next = next % 60_000 + 1;
                    let wire = publish(message.topic.as_bytes(), next, &message.payload);
                    flight.push_back((next, message));
                    if stream.write_all(&wire).await.is_err() {
                        break;
                    }
                }
                () = stop.cancelled(), if !stop.is_cancelled() => {}
                () = tokio::time::sleep(PATIENCE) => panic!("{}: no acknowledgement comes", self.client),
            }
        }
        while let Some((_, message)) = flight.pop_back() {
            self.backlog.push_front(message);
        }
    }

    /// Publishes these and returns when all are acknowledged.
    pub async fn send(&mut self, address: SocketAddr, messages: impl IntoIterator<Item = Message>) {
        let mut messages = messages.into_iter();
        self.run(address, Duration::from_millis(1), &CancellationToken::new(), || messages.next()).await;
        assert!(self.backlog.is_empty(), "{}: the connection was lost", self.client);
    }
}
