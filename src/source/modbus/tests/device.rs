//! A Modbus TCP device that can be ill: bare frames over a real socket.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::clock::Stopwatch;

/// A request as it came in.
#[derive(Clone, Debug)]
pub struct Asked {
    /// 0 for the first of all.
    pub number: usize,
    pub at: Duration,
    pub transaction: u16,
    pub unit: u8,
    pub function: u8,
    pub address: u16,
    pub count: u16,
}

pub enum Reply {
    /// Each register holds its own address; bits are set at odd addresses.
    Values,
    Frame(Vec<u8>),
    /// The frame, after a while; meanwhile the connection is served on.
    Late(Duration, Vec<u8>),
    Silent,
    Close,
    /// The frame, then the end of the connection.
    Parting(Vec<u8>),
}

type Behaviour = Box<dyn Fn(&Asked) -> Reply + Send>;

struct Inside {
    behaviour: Mutex<Behaviour>,
    asked: Mutex<Vec<Asked>>,
    connections: Mutex<usize>,
    clock: Stopwatch,
}

pub struct FakeDevice {
    pub address: SocketAddr,
    inside: Arc<Inside>,
    _serving: JoinSet<()>,
}

impl FakeDevice {
    pub async fn start(behaviour: impl Fn(&Asked) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let inside = Arc::new(Inside {
            behaviour: Mutex::new(Box::new(behaviour)),
            asked: Mutex::default(),
            connections: Mutex::default(),
            clock: Stopwatch::start(),
        });
        let mut serving = JoinSet::new();
        let shared = inside.clone();
        serving.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                *shared.connections.lock().unwrap() += 1;
                let shared = shared.clone();
                open.spawn(async move { drop(serve(stream, &shared).await) });
            }
        });
        Self { address, inside, _serving: serving }
    }

    /// An address at which nobody listens.
    pub async fn nobody() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
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

async fn serve(stream: TcpStream, inside: &Inside) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut from, to) = stream.into_split();
    let to = Arc::new(tokio::sync::Mutex::new(to));
    let mut late = JoinSet::new();
    loop {
        let mut request = [0; 12];
        from.read_exact(&mut request).await?;
        let word = |at: usize| u16::from_be_bytes([request[at], request[at + 1]]);
        let asked = {
            let mut list = inside.asked.lock().unwrap();
            let asked = Asked {
                number: list.len(),
                at: inside.clock.elapsed(),
                transaction: word(0),
                unit: request[6],
                function: request[7],
                address: word(8),
                count: word(10),
            };
            list.push(asked.clone());
            asked
        };
        let reply = (inside.behaviour.lock().unwrap())(&asked);
        match reply {
            Reply::Values => to.lock().await.write_all(&values(&asked)).await?,
            Reply::Frame(frame) => to.lock().await.write_all(&frame).await?,
            Reply::Late(wait, frame) => {
                let to = to.clone();
                late.spawn(async move {
                    tokio::time::sleep(wait).await;
                    drop(to.lock().await.write_all(&frame).await);
                });
            }
            Reply::Silent => {}
            Reply::Close => return Ok(()),
            Reply::Parting(frame) => return to.lock().await.write_all(&frame).await,
        }
    }
}

/// A frame around `pdu`.
pub fn frame(transaction: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
    let mut frame = transaction.to_be_bytes().to_vec();
    frame.extend([0, 0]);
    frame.extend((pdu.len() as u16 + 1).to_be_bytes());
    frame.push(unit);
    frame.extend(pdu);
    frame
}

/// The right answer.
pub fn values(asked: &Asked) -> Vec<u8> {
    frame(asked.transaction, asked.unit, &pdu(asked))
}

/// What the right answer says, whatever frames it.
pub fn pdu(asked: &Asked) -> Vec<u8> {
    let mut pdu = vec![asked.function];
    if asked.function <= 2 {
        let mut bytes = vec![0; usize::from(asked.count).div_ceil(8)];
        for n in 0..asked.count {
            bytes[usize::from(n / 8)] |= (((asked.address + n) % 2) as u8) << (n % 8);
        }
        pdu.push(bytes.len() as u8);
        pdu.extend(bytes);
    } else {
        pdu.push(asked.count as u8 * 2);
        pdu.extend((0..asked.count).flat_map(|n| (asked.address + n).to_be_bytes()));
    }
    pdu
}
