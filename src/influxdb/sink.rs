//! The batch on its way to the server: what is still to be sent, cut into pieces, and what became of it.
//!
//! In come samples with the number of their journal entry; `send` brings their lines to the server and
//! answers with the number up to which everything is stored or counted as rejected. It may be called
//! again and again, and dropped at any moment: what was stored is not sent twice on purpose, and what was
//! not stays. A piece that is refused is halved until the guilty line stands alone, within a bound of
//! requests; nothing is refused for ever.

use std::collections::{HashSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tracing::warn;

use super::Config;
use super::line::Lines;
use super::transport::{Reply, Transport};
use crate::journal::Seq;
use crate::ledger::{Account, Fate};
use crate::model::{PointIndex, PointTable, Sample};
use crate::remote;

/// What the sink did, for `/metrics`; rejected lines are in the ledger as well.
#[derive(Debug, Default)]
pub struct Counters {
    /// Lines that the server has stored.
    pub lines: AtomicU64,
    /// Requests that stored some.
    pub batches: AtomicU64,
    /// Lines that the server refused for good.
    pub rejected: AtomicU64,
    /// Requests that have to be made again.
    pub failures: AtomicU64,
}

/// How far `send` came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Nothing is left. `stored` is false when the server refused every line.
    All { seq: Option<Seq>, stored: bool },
    /// The rest has to wait.
    Later { retry_after: Option<Duration>, text: String },
    /// The rest has to wait until somebody mends something.
    Denied { text: String },
}

pub struct Sink {
    config: Config,
    transport: Transport,
    lines: Lines,
    /// Lines that are already among the pieces.
    cut: usize,
    pieces: VecDeque<Range<usize>>,
    seq: Option<Seq>,
    /// Most lines that the server takes at once, as far as is known.
    largest: usize,
    /// Requests that may still be spent on finding guilty lines of this batch.
    searches: usize,
    stored: usize,
    refused: usize,
    /// Points whose refused lines were logged; the next ones are only counted.
    told: HashSet<PointIndex>,
    account: Arc<Account>,
    counters: Arc<Counters>,
}

impl Sink {
    /// A refused batch costs at most this many further requests. One bad line among 5,000 takes 26.
    pub(super) const SEARCHES: usize = 256;

    pub fn new(config: Config, account: Arc<Account>) -> Result<Self, remote::Error> {
        let transport = Transport::new(&config)?;
        Ok(Self {
            transport,
            lines: Lines::default(),
            cut: 0,
            pieces: VecDeque::new(),
            seq: None,
            largest: config.batch_lines,
            searches: Self::SEARCHES,
            stored: 0,
            refused: 0,
            told: HashSet::new(),
            account,
            counters: Arc::default(),
            config,
        })
    }

    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Points in force for the samples that follow.
    pub fn use_points(&mut self, points: Arc<PointTable>) {
        self.lines.use_points(points);
    }

    /// Takes the samples of entry `seq`; none for an entry that holds nothing to store.
    pub fn absorb(&mut self, seq: Seq, samples: &[Sample]) {
        for sample in samples {
            if !self.lines.add(sample) {
                self.account.one(Fate::UnknownPoint);
            }
        }
        self.seq = Some(seq);
    }

    /// Lines that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lines.count()
    }

    #[must_use]
    pub fn full(&self) -> bool {
        self.waiting() >= self.config.batch_lines
    }

    /// Reads the token again and connects anew, after the server refused the old one.
    pub fn reconnect(&mut self) -> Result<(), remote::Error> {
        self.transport = Transport::new(&self.config)?;
        Ok(())
    }

    /// Sends what waits until nothing is left or the server cannot take it.
    pub async fn send(&mut self) -> Sent {
        self.cut_new();
        while let Some(piece) = self.pieces.front().cloned() {
            match self.transport.write(self.lines.slice(piece.clone())).await {
                Reply::Stored => {
                    self.pieces.pop_front();
                    self.stored += piece.len();
                    self.counters.lines.fetch_add(piece.len() as u64, Relaxed);
                    self.counters.batches.fetch_add(1, Relaxed);
                }
                Reply::TooLarge => self.too_large(piece),
                Reply::Rejected(text) => self.rejected(piece, &text),
                Reply::Later { retry_after, text } => {
                    self.counters.failures.fetch_add(1, Relaxed);
                    return Sent::Later { retry_after, text };
                }
                Reply::Denied(text) => {
                    self.counters.failures.fetch_add(1, Relaxed);
                    return Sent::Denied { text };
                }
            }
        }
        self.finish()
    }

    fn cut_new(&mut self) {
        while self.cut < self.lines.count() {
            let end = (self.cut + self.largest).min(self.lines.count());
            self.pieces.push_back(self.cut..end);
            self.cut = end;
        }
    }

    fn finish(&mut self) -> Sent {
        let stored = self.stored > 0 || self.refused == 0;
        self.lines.clear();
        (self.cut, self.stored, self.refused, self.searches) = (0, 0, 0, Self::SEARCHES);
        Sent::All { seq: self.seq.take(), stored }
    }

    /// 413: the piece is halved, and later ones are made no larger.
    fn too_large(&mut self, piece: Range<usize>) {
        if piece.len() == 1 {
            self.give_up(piece, "413 a single line is too large");
            return;
        }
        self.largest = self.largest.min(piece.len().div_ceil(2));
        warn!(lines = piece.len(), largest = self.largest, "influxdb takes smaller batches only");
        self.halve(piece);
    }

    /// 400 or 422: InfluxDB may have stored the good lines of the piece or none of them.
    fn rejected(&mut self, piece: Range<usize>, text: &str) {
        if piece.len() == 1 || self.searches < 2 {
            self.give_up(piece, text);
            return;
        }
        self.searches -= 2;
        self.halve(piece);
    }

    fn halve(&mut self, piece: Range<usize>) {
        let middle = piece.start + piece.len() / 2;
        self.pieces.pop_front();
        self.pieces.push_front(middle..piece.end);
        self.pieces.push_front(piece.start..middle);
    }

    fn give_up(&mut self, piece: Range<usize>, text: &str) {
        self.pieces.pop_front();
        self.refused += piece.len();
        self.account.add(Fate::Rejected, piece.len() as u64);
        self.counters.rejected.fetch_add(piece.len() as u64, Relaxed);
        if self.told.insert(self.lines.point(piece.start)) {
            let first = String::from_utf8_lossy(self.lines.slice(piece.start..piece.start + 1)).into_owned();
            let line = remote::one_line(&first, 300);
            warn!(%line, answer = text, lines = piece.len(), "influxdb refuses lines for good: not stored there");
        }
    }
}
