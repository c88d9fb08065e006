//! A door with a configuration as operators write it, a journal in the test's hand, and a device made of bytes.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::super::{Bound, FrameServer, Stations};
use crate::config::{self, Problems};
use crate::decode::frames::unhex;
use crate::journal::{Entry, Intake, Note, Seq};
use crate::ledger::{Account, Fate, Ledger};
use crate::model::{PointTable, Sample};
use crate::source::Outlet;

const PATIENCE: Duration = Duration::from_secs(10);
/// Nothing that is to come late comes within this.
const A_WHILE: Duration = Duration::from_millis(150);

/// Keeps samples in memory; commits at once, or when the test says so.
#[derive(Default)]
pub struct Journal {
    samples: Mutex<Vec<Sample>>,
    /// Alarms about devices: the subject, and whether it is away.
    absences: Mutex<Vec<(String, bool)>>,
    holds: AtomicBool,
    waiting: Mutex<Vec<oneshot::Sender<Seq>>>,
}

impl Journal {
    pub fn hold(&self) {
        self.holds.store(true, SeqCst);
    }

    pub fn commit(&self) {
        self.waiting.lock().unwrap().drain(..).for_each(|done| done.send(1).expect("somebody waits"));
    }

    /// The disk failed.
    pub fn fail(&self) {
        self.waiting.lock().unwrap().clear();
    }

    pub fn take(&self, entry: Entry, done: Option<oneshot::Sender<Seq>>) {
        match entry {
            Entry::Samples(samples) => self.samples.lock().unwrap().extend(samples.iter()),
            // Nobody waits until an alarm is durable.
            Entry::Note(Note::Condition(about)) => {
                return self.absences.lock().unwrap().push((about.subject, about.holds));
            }
            Entry::Note(_) | Entry::Tick(_) => panic!("a door submitted {entry:?}"),
        }
        match done {
            Some(done) if self.holds.load(SeqCst) => self.waiting.lock().unwrap().push(done),
            Some(done) => done.send(1).expect("somebody waits"),
            None => {}
        }
    }

    pub fn absences(&self) -> Vec<(String, bool)> {
        self.absences.lock().unwrap().clone()
    }

    pub fn samples(&self) -> Vec<Sample> {
        self.samples.lock().unwrap().clone()
    }
}

/// A checked configuration with one door.
pub struct Plan {
    pub config: super::super::Config,
    pub points: Arc<PointTable>,
    pub bound: Arc<Bound>,
}

impl Plan {
    pub fn of(text: &str) -> Self {
        let read = config::parse(text, Path::new("davy.toml"), Problems::in_file("davy.toml"));
        let read = read.unwrap_or_else(|problems| panic!("{problems:#?}"));
        let points = Arc::new(PointTable::new(read.points.iter().map(|one| one.point.clone()).collect()));
        let mut bound = Bound::default();
        for one in &read.points {
            let point = points.find(&one.point.id).unwrap();
            match &one.binding {
                config::Binding::Frame(binding) => bound.bound.push((point, binding.clone())),
                config::Binding::Pattern => bound.free.push(point),
                config::Binding::Mqtt(_) | config::Binding::Modbus(_) | config::Binding::Sparkplug(_) => {}
            }
        }
        Self { config: read.frames.into_iter().next().unwrap(), points, bound: Arc::new(bound) }
    }
}

pub struct Stage {
    pub address: SocketAddr,
    pub account: Arc<Account>,
    pub journal: Arc<Journal>,
    pub stations: Stations,
    points: Arc<PointTable>,
    _stop: DropGuard,
}

impl Stage {
    pub async fn start(text: &str) -> Self {
        let Plan { config, points, bound } = Plan::of(text);
        let (intake, mut waiting) = Intake::with_receiver(16);
        let account = Ledger::default().account("door");
        let stop = CancellationToken::new();
        let server = FrameServer::bind(config).await.unwrap();
        let (address, stations) = (server.address(), server.stations());
        tokio::spawn(server.run(Outlet { intake, account: account.clone() }, points.clone(), bound, stop.clone()));
        let journal = Arc::new(Journal::default());
        let own = journal.clone();
        tokio::spawn(async move {
            while let Some((entry, done)) = waiting.next().await {
                own.take(entry, done);
            }
        });
        Self { address, account, journal, stations, points, _stop: stop.drop_guard() }
    }

    pub async fn device(&self) -> Device {
        Device { stream: TcpStream::connect(self.address).await.unwrap() }
    }

    /// `point value quality` of every sample so far, without site.
    pub fn told(&self) -> Vec<String> {
        let line = |sample: &Sample| {
            let point = self.points.get(sample.point).unwrap();
            format!("{} {} {}", point.local(), sample.value, sample.quality)
        };
        self.journal.samples().iter().map(line).collect()
    }

    pub async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never came: {what}\n{:#?}", self.told()));
    }

    pub async fn counted(&self, fate: Fate, count: u64) {
        self.until(fate.word(), |stage| stage.account.get(fate) >= count).await;
        assert_eq!(self.account.get(fate), count, "{}", fate.word());
    }
}

pub struct Device {
    pub stream: TcpStream,
}

impl Device {
    pub async fn sends(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub async fn hears(&mut self, bytes: usize) -> Vec<u8> {
        let mut heard = vec![0; bytes];
        timeout(PATIENCE, self.stream.read_exact(&mut heard)).await.expect("an answer within 10 s").unwrap();
        heard
    }

    pub async fn hears_nothing(&mut self) {
        let mut one = [0];
        let heard = timeout(A_WHILE, self.stream.read(&mut one)).await;
        assert!(heard.is_err(), "heard {heard:?} {one:?}");
    }

    /// The door closed the connection; out comes what it said before.
    pub async fn is_let_go(&mut self) -> Vec<u8> {
        let mut last = Vec::new();
        // A reset is an end too: the door does not read what it was not interested in.
        drop(timeout(PATIENCE, self.stream.read_to_end(&mut last)).await.expect("the end within 10 s"));
        last
    }
}

pub fn bytes(text: &str) -> Vec<u8> {
    unhex(&text.replace(char::is_whitespace, "")).unwrap()
}
