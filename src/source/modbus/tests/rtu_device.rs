//! RTU devices that can be ill, on a TCP port or on a serial line: the far end of a pseudo terminal.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_serial::{SerialPort, SerialStream};

use super::super::rtu::checksum;
use super::device::{Asked, Reply, pdu};
use crate::clock::Stopwatch;

type Behaviour = Box<dyn Fn(&Asked) -> Reply + Send>;

struct Inside {
    behaviour: Mutex<Behaviour>,
    asked: Mutex<Vec<Asked>>,
    connections: Mutex<usize>,
    clock: Stopwatch,
}

pub struct RtuDevice {
    /// As the configuration names it.
    pub address: String,
    inside: Arc<Inside>,
    _serving: JoinSet<()>,
    /// Held open, or the far end would hang up when the poller reopens the line.
    _line: Option<std::fs::File>,
}

impl RtuDevice {
    pub async fn on_tcp(behaviour: impl Fn(&Asked) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("rtu+tcp://{}", listener.local_addr().unwrap());
        let inside = Inside::new(behaviour);
        let mut serving = JoinSet::new();
        let shared = inside.clone();
        serving.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                *shared.connections.lock().unwrap() += 1;
                let shared = shared.clone();
                open.spawn(async move { drop(serve(stream, shared).await) });
            }
        });
        Self { address, inside, _serving: serving, _line: None }
    }

    pub fn on_a_serial_line(behaviour: impl Fn(&Asked) -> Reply + Send + 'static) -> Self {
        let (far, mut near) = SerialStream::pair().unwrap();
        near.set_exclusive(false).unwrap();
        let path = near.name().unwrap();
        // Open, but not locked as a `SerialStream` is: the poller wants the line for itself.
        let line = std::fs::File::open(&path).unwrap();
        drop(near);
        let address = format!("serial:{path}");
        let inside = Inside::new(behaviour);
        let mut serving = JoinSet::new();
        let shared = inside.clone();
        serving.spawn(async move { drop(serve(far, shared).await) });
        Self { address, inside, _serving: serving, _line: Some(line) }
    }

    /// Speaks on a connection that the device itself opened.
    pub fn on(stream: tokio::net::TcpStream, behaviour: impl Fn(&Asked) -> Reply + Send + 'static) -> Self {
        let inside = Inside::new(behaviour);
        let mut serving = JoinSet::new();
        let shared = inside.clone();
        serving.spawn(async move { drop(serve(stream, shared).await) });
        Self { address: String::new(), inside, _serving: serving, _line: None }
    }

    pub fn becomes(&self, behaviour: impl Fn(&Asked) -> Reply + Send + 'static) {
        *self.inside.behaviour.lock().unwrap() = Box::new(behaviour);
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.inside.asked.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        *self.inside.connections.lock().unwrap()
    }
}

impl Inside {
    fn new(behaviour: impl Fn(&Asked) -> Reply + Send + 'static) -> Arc<Self> {
        Arc::new(Self {
            behaviour: Mutex::new(Box::new(behaviour)),
            asked: Mutex::default(),
            connections: Mutex::default(),
            clock: Stopwatch::start(),
        })
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Send + 'static>(stream: S, inside: Arc<Inside>) -> std::io::Result<()> {
    let (mut from, to) = tokio::io::split(stream);
    let to = Arc::new(tokio::sync::Mutex::new(to));
    let mut late = JoinSet::new();
    loop {
        let mut request = [0; 8];
        from.read_exact(&mut request).await?;
        assert_eq!(checksum(&request), 0, "{request:02X?} is no RTU request");
        let word = |at: usize| u16::from_be_bytes([request[at], request[at + 1]]);
        let asked = {
            let mut list = inside.asked.lock().unwrap();
            let asked = Asked {
                number: list.len(),
                at: inside.clock.elapsed(),
                transaction: 0,
                unit: request[0],
                function: request[1],
                address: word(2),
                count: word(4),
            };
            list.push(asked.clone());
            asked
        };
        let reply = (inside.behaviour.lock().unwrap())(&asked);
        let (wait, frame, parting) = match reply {
            Reply::Values => (Duration::ZERO, rtu(asked.unit, &pdu(&asked)), false),
            Reply::Frame(frame) => (Duration::ZERO, frame, false),
            Reply::Late(wait, frame) => (wait, frame, false),
            Reply::Parting(frame) => (Duration::ZERO, frame, true),
            Reply::Silent => continue,
            Reply::Close => return Ok(()),
        };
        if wait.is_zero() {
            to.lock().await.write_all(&frame).await?;
        } else {
            let to = to.clone();
            late.spawn(async move {
                tokio::time::sleep(wait).await;
                drop(to.lock().await.write_all(&frame).await);
            });
        }
        if parting {
            return Ok(());
        }
    }
}

/// A frame around `pdu`.
pub fn rtu(unit: u8, pdu: &[u8]) -> Vec<u8> {
    let body = [&[unit], pdu].concat();
    [&body[..], &checksum(&body).to_le_bytes()].concat()
}
