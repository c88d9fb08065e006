//! The engine's thread: replays what is behind the snapshot, then follows the journal as it is written.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use tracing::{error, info, warn};

use super::shard::{Counts, Unjudged};
use super::{Effect, Remembered, Shard};
use crate::journal::{Entry, Feed, Prompt, Reader, Seq, Setup};
use crate::ledger::{Account, Fate};
use crate::model::{Permit, Timestamp};
use crate::response::{Out, Response};
use crate::rule::Language;

/// Stack of the thread: rules run on it.
const STACK_BYTES: usize = 8 << 20;
/// Groups read at once while replaying.
const REPLAY_GROUPS: usize = 64;

/// How the engine starts and where its effects go.
#[derive(Debug)]
pub struct Options {
    pub feed: Feed,
    pub reader: Reader,
    pub prompt: Prompt,
    pub snapshot: Option<(Seq, Vec<u8>)>,
    /// Instead of a snapshot that cannot be read.
    pub remembered: Option<Remembered>,
    /// Newest durable entry when the journal was opened: replay ends there.
    pub replay_to: Seq,
    /// By the journal's time.
    pub snapshot_every: Duration,
    pub effects: Sender<(Seq, Vec<Effect>)>,
    pub account: Arc<Account>,
}

/// Counters for `/metrics` and the benchmark.
#[derive(Debug, Default)]
pub struct Numbers {
    /// Newest entry judged.
    pub seq: AtomicU64,
    pub judged: AtomicU64,
    pub evaluations: AtomicU64,
    /// Rules passed over because they had failed before.
    pub rested: AtomicU64,
    /// Samples that windows and memories hold, and their bytes; as of the last whole minute.
    pub held_samples: AtomicU64,
    pub held_bytes: AtomicU64,
}

#[derive(Debug)]
pub struct Running {
    pub numbers: Arc<Numbers>,
    pub thread: JoinHandle<()>,
    /// Sends once, after the replay.
    pub replayed: Receiver<Replayed>,
}

/// What is in force after the replay.
#[derive(Debug)]
pub struct Replayed {
    /// The last entry that was replayed.
    pub seq: Seq,
    pub setup: Option<Arc<Setup>>,
    pub permits: Vec<Permit>,
}

/// Starts the thread. It ends when the journal closes, after a last snapshot.
#[must_use]
pub fn start(options: Options) -> Running {
    let numbers = Arc::new(Numbers::default());
    let seen = numbers.clone();
    let (ready, replayed) = crossbeam_channel::bounded(1);
    let thread = std::thread::Builder::new()
        .name("engine".into())
        .stack_size(STACK_BYTES)
        .spawn(move || run(options, &seen, &ready))
        .expect("the operating system gives a thread at the start");
    Running { numbers, thread, replayed }
}

fn run(mut options: Options, numbers: &Numbers, ready: &Sender<Replayed>) {
    let language = Language::new();
    let mut shard = Shard::new(&language);
    let mut response = Response::default();
    let mut seq = 0;
    if let Some(mut remembered) = options.remembered.take() {
        seq = remembered.seq;
        warn!(seq, "the engine's snapshot has another form: it goes on from facts.db, and its windows fill anew");
        response = Response::adopt(std::mem::take(&mut remembered.response), &remembered.alarms);
        response.storms.adopt(&remembered.alarms, &remembered.asides);
        shard.adopt(remembered);
    } else if let Some((at, bytes)) = &options.snapshot {
        match shard.resume(bytes) {
            Ok(resumed) => (seq, response) = (*at, resumed),
            Err(cause) => error!(%cause, "the snapshot cannot be used: the whole journal is replayed"),
        }
    }
    let (counted, effects, out) = (Counts::default(), Vec::new(), Out::default());
    let mut loop_ = Loop { options, numbers, snapshot_at: None, counted, effects, response, out, setup: None };
    if let Some(setup) = shard.setup() {
        loop_.set_up(&shard, setup);
        loop_.effects.push(Effect::Setup(setup.clone(), shard.table().clone()));
        loop_.send(seq);
    }
    if let Err(cause) = loop_.replay(&mut shard, &mut seq) {
        error!(%cause, "the journal cannot be replayed");
        return;
    }
    // Nothing follows from the last entries perhaps: facts are to know that they are complete up to here.
    loop_.options.effects.send((seq, Vec::new())).ok();
    // Whoever started the engine may have given up meanwhile.
    ready.send(Replayed { seq, setup: shard.setup().cloned(), permits: shard.permits() }).ok();
    while let Some((next, entry)) = loop_.options.feed.next() {
        if next <= seq {
            continue;
        }
        seq = next;
        loop_.one(&mut shard, seq, &entry);
    }
    loop_.snapshot(&shard);
    loop_.send(seq);
}

struct Loop<'a> {
    options: Options,
    numbers: &'a Numbers,
    /// Journal time of the newest snapshot.
    snapshot_at: Option<Timestamp>,
    counted: Counts,
    effects: Vec<Effect>,
    response: Response,
    out: Out,
    /// What the response was last set up with.
    setup: Option<Arc<Setup>>,
}

impl Loop<'_> {
    fn replay(&mut self, shard: &mut Shard<'_>, seq: &mut Seq) -> Result<(), crate::journal::Error> {
        let from = *seq;
        while *seq < self.options.replay_to {
            let entries = self.options.reader.entries(*seq + 1, REPLAY_GROUPS)?;
            let (mut any, to) = (false, self.options.replay_to);
            // What was committed since the start comes through the feed.
            for (next, entry) in entries.into_iter().filter(|(next, _)| *next <= to) {
                any = true;
                *seq = next;
                self.one(shard, next, &entry);
            }
            if !any {
                break;
            }
        }
        if *seq > from {
            info!(from, to = *seq, "journal replayed");
        }
        Ok(())
    }

    fn one(&mut self, shard: &mut Shard<'_>, seq: Seq, entry: &Entry) {
        shard.on_entry(entry, &mut self.effects);
        self.respond(shard, entry);
        self.numbers.seq.store(seq, Relaxed);
        if let Entry::Tick(now) = entry {
            self.count(shard);
            let begun = *self.snapshot_at.get_or_insert(*now);
            if *now < begun || now.since(begun) >= self.options.snapshot_every {
                self.snapshot_at = Some(*now);
                self.snapshot(shard);
            }
        }
        self.send(seq);
    }

    fn set_up(&mut self, shard: &Shard<'_>, setup: &Arc<Setup>) {
        self.response.set_up(setup);
        self.response.groups.set_up(setup, shard.rules_about_sensors());
        self.setup = Some(setup.clone());
    }

    /// What people owe because of the entry; conditions of that are alarms again.
    fn respond(&mut self, shard: &mut Shard<'_>, entry: &Entry) {
        let same = |now: &Arc<Setup>| self.setup.as_ref().is_some_and(|before| Arc::ptr_eq(before, now));
        if let Some(setup) = shard.setup().filter(|now| !same(now)) {
            self.set_up(shard, setup);
        }
        respond(&mut self.response, shard, entry, &mut self.effects, &mut self.out);
    }

    /// An engine that knows no setup has nothing worth keeping, and must not overwrite what has.
    fn snapshot(&mut self, shard: &Shard<'_>) {
        if shard.setup().is_some() {
            self.effects.push(Effect::Snapshot(shard.snapshot(&self.response)));
        }
    }

    fn send(&mut self, seq: Seq) {
        if self.effects.is_empty() {
            return;
        }
        if self.effects.iter().any(|effect| {
            matches!(effect, Effect::Changed(_) | Effect::Answered { .. } | Effect::Record(_) | Effect::Step(_))
        }) {
            self.options.prompt.hurry();
        }
        // Facts may be gone when the gateway stops; the journal tells it all again at the next start.
        self.options.effects.send((seq, std::mem::take(&mut self.effects))).ok();
    }

    /// Hands the shard's counts to the ledger, twice a second rather than per sample.
    fn count(&mut self, shard: &mut Shard<'_>) {
        let (now, before) = (shard.counts, self.counted);
        self.counted = now;
        self.numbers.judged.store(now.judged, Relaxed);
        self.numbers.evaluations.store(now.evaluations, Relaxed);
        self.numbers.rested.store(now.rested, Relaxed);
        self.numbers.held_samples.store(shard.held.samples as u64, Relaxed);
        self.numbers.held_bytes.store(shard.held.bytes as u64, Relaxed);
        let account = &self.options.account;
        for ((point, why), count) in std::mem::take(&mut shard.unjudged) {
            let fate = match why {
                Unjudged::Late => Fate::Late,
                Unjudged::Duplicate => Fate::Duplicate,
            };
            account.lost(point, fate, count);
        }
        account.add(Fate::UnknownPoint, now.unknown_points - before.unknown_points);
    }
}

/// What people owe because of an entry that the shard has just judged. Its conditions are alarms again, and what
/// follows from those too. `effects` are those of the shard; those of the response are put behind them.
pub(crate) fn respond(
    response: &mut Response,
    shard: &mut Shard<'_>,
    entry: &Entry,
    effects: &mut Vec<Effect>,
    out: &mut Out,
) {
    response.on_entry(entry, out);
    let mut seen = 0;
    loop {
        while let Some(effect) = effects.get_mut(seen) {
            seen += 1;
            if let Effect::Changed(change) = effect {
                response.on_change(change, out);
            } else if let Effect::Aside(fact) = effect {
                response.on_aside(fact, out);
            } else if let Effect::Answered { answer, .. } = effect {
                response.groups.mark_answer(answer);
            }
        }
        if out.conditions.is_empty() && out.asides.is_empty() {
            break;
        }
        for order in std::mem::take(&mut out.asides) {
            // One that is refused changes nothing; whoever ordered it hears of it.
            let refused = shard.order_aside(&order, effects).err();
            response.on_order(&order, refused.as_ref(), out);
        }
        for condition in out.conditions.drain(..) {
            shard.on_condition(&condition, effects);
        }
    }
    if response.duty.unsettled() && matches!(entry, Entry::Tick(_)) {
        response.take_stock(shard.all_open(), out);
    }
    response.groups.settle();
    effects.append(&mut out.effects);
}
