//! The whole gateway, wired: one straight line from configuration to a running process.
//!
//! In comes a proven [`Config`]; out comes a [`Gateway`] with its real addresses, that runs until it is
//! stopped or until a part of its middle fails. Stopping goes with the flow: sources first, then the
//! journal's last commit, the engine's last verdict and snapshot, then the history's last file.

pub mod core;
mod orders;
pub mod rulebook;
mod shelf;
mod vitals;
mod watch;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::backtest::Jobs;
use crate::board::Board;
use crate::clock;
use crate::config::{Binding, Config};
use crate::decode::{Decoder, Forms};
use crate::facts::Lane;
use crate::figures;
use crate::history::{self, History};
use crate::influxdb::{self, Sink};
use crate::journal::{Cursor, DutyOrder, Entry, Intake, Note, Setup};
use crate::ledger::{Fate, Ledger};
use crate::losses::{self, Losses};
use crate::model::{DutyAct, PointTable, TICK};
use crate::notify::{self, Message};
use crate::online::{self, Online};
use crate::publish::Feeds;
use crate::source::frames::FrameServer;
use crate::source::mqtt_client::MqttClient;
use crate::source::mqtt_listener::{DecoderFactory, Decoding, MqttListener, Subscribers};
use crate::source::sparkplug::{self, Sparkplug};
use crate::source::{self, Outlet, frames, http, modbus};
use crate::web::{self, Door, FrontDesk, Web};

use self::core::Core;

/// Names of the journal's consumers.
const HISTORY: &str = "history";
const INFLUXDB: &str = "influxdb";
const SNAPSHOT_EVERY: Duration = Duration::from_secs(30);
/// Larger payloads are refused by the decoder of an outside broker's messages.
const PAYLOAD_BYTES: usize = 256 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Core(#[from] core::Error),
    #[error(transparent)]
    History(#[from] history::Error),
    #[error(transparent)]
    Remote(#[from] crate::remote::Error),
    #[error(transparent)]
    Source(#[from] source::Failure),
    #[error(transparent)]
    Web(#[from] web::Failure),
    #[error(transparent)]
    Journal(#[from] crate::journal::Error),
    #[error(transparent)]
    Facts(#[from] crate::facts::Error),
    #[error(transparent)]
    Losses(#[from] losses::Error),
    #[error(transparent)]
    Online(#[from] online::Error),
    #[error(transparent)]
    LinkKey(#[from] notify::KeyError),
    #[error("a part of the gateway failed; the log says which")]
    Broken,
}

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    pub core: Core,
    pub history: Arc<History>,
    /// Of the MQTT listeners, in the configuration's order.
    pub mqtt: Vec<SocketAddr>,
    pub web: SocketAddr,
    /// Of the doors for frames, in the configuration's order.
    pub doors: Vec<SocketAddr>,
    /// How every polled device is doing.
    pub devices: modbus::Devices,
    /// Cancelled from outside to stop, or from inside when a part failed.
    pub stop: CancellationToken,
    backtests: Jobs,
    losses: Arc<Losses>,
    intake: Intake,
    tasks: JoinSet<()>,
    followers: Vec<JoinHandle<Result<(), crate::journal::Error>>>,
    history_stop: CancellationToken,
    history_thread: JoinHandle<Result<(), crate::journal::Error>>,
}

impl Gateway {
    /// Starts everything. When this returns, the gateway answers on all its addresses.
    pub async fn start(config: Config) -> Result<Self, Error> {
        let ledger = Arc::new(Ledger::default());
        let (core, intake, rules) = start_core(&config, ledger.clone()).await?;
        let stop = CancellationToken::new();
        let table = core.table.clone();
        let mut tasks = JoinSet::new();
        let mut followers = Vec::new();

        let (rule_desk, keeper) = rules.start(stop.clone());
        followers.push(keeper);

        let history = Arc::new(History::open(config.history.options(config.data.join("history")))?);
        let history_stop = CancellationToken::new();
        let history_thread = follow_history(&history, core.tail.cursor(HISTORY)?, &core.board, &history_stop);
        followers.push(show_values(core.tail.from_now(), core.board.clone(), stop.clone()));
        if let Some(influxdb) = config.influxdb.clone() {
            let sink = Sink::new(influxdb, ledger.account(INFLUXDB))?;
            let (cursor, points, intake, stop) =
                (core.tail.cursor(INFLUXDB)?, table.clone(), intake.clone(), stop.clone());
            followers.push(thread("influxdb", move || influxdb::follow(cursor, points, sink, intake, &stop)));
        }

        let losses = Arc::new(Losses::open(&config.data.join("losses.db"), ledger.clone())?);
        tasks.spawn(keep_losses(losses.clone(), history.clone(), ledger.clone(), table.clone(), stop.clone()));
        let online = Arc::new(Online::open(&config.data.join("online.db"))?);
        tasks.spawn(look_each_minute(online.clone(), core.board.clone(), stop.clone()));

        let forms = Arc::new(Forms::new(config.patterns.clone(), mqtt_bindings(&config, &table)));
        let subscribers = Subscribers::new(core.board.clone(), Message::standing);
        let mut mqtt = Vec::new();
        for listener in config.mqtt_listeners.clone() {
            let account = ledger.account(&format!("mqtt_listener.{}", listener.name));
            let outlet = Outlet { intake: intake.clone(), account: account.clone() };
            let decoders = decoders(forms.clone(), table.clone(), listener.limits.packet_bytes, account);
            let listener = MqttListener::bind(listener).await?;
            mqtt.push(listener.address());
            tasks.spawn(listener.run(outlet, subscribers.clone(), decoders, stop.clone()));
        }
        for (name, client) in config.mqtt_clients.clone() {
            let name = format!("mqtt_client.{name}");
            let outlet = Outlet { intake: intake.clone(), account: ledger.account(&name) };
            let decoder = Decoder::new(forms.clone(), table.clone(), PAYLOAD_BYTES);
            tasks.spawn(source::supervise(name, MqttClient::new(client, decoder), outlet, stop.clone()));
        }
        for (name, host) in config.sparkplug.clone() {
            let name = format!("sparkplug.{name}");
            let outlet = Outlet { intake: intake.clone(), account: ledger.account(&name) };
            let mapping = sparkplug_mapping(&config, &host, &table);
            let host = Sparkplug::new(host, mapping, table.clone());
            tasks.spawn(source::supervise(name, host, outlet, stop.clone()));
        }
        let polled = modbus::Config::new(config.modbus.clone());
        let devices = polled.devices();
        if !config.modbus.is_empty() {
            let outlet = Outlet { intake: intake.clone(), account: ledger.account("modbus") };
            tasks.spawn(modbus::run(polled, modbus_bindings(&config, &table), outlet, stop.clone()));
        }

        let frame_points = Arc::new(frame_points(&config, &table));
        let (mut doors, mut open) = (Vec::new(), Vec::new());
        for door in config.frames.clone() {
            let name = format!("{}.{}", door.protocol.word(), door.name);
            let outlet = Outlet { intake: intake.clone(), account: ledger.account(&name) };
            let protocol = door.protocol;
            let server = FrameServer::bind(door).await?;
            doors.push(server.address());
            open.push(Door { name, protocol, stations: server.stations() });
            tasks.spawn(server.run(outlet, table.clone(), frame_points.clone(), stop.clone()));
        }

        let key = config.notify.links_valid().map(|_| notify::LinkKey::open(&config.data)).transpose()?;
        let (telling, tester) = tell_people(&config, &core, &intake, &subscribers, key.clone(), &stop).await?;
        tasks.spawn(telling);
        let web_listener = web::bind(&config.web).await?;
        let web_address = web_listener.local_addr().map_err(|_| Error::Broken)?;
        let vitals = Arc::new(vitals::Vitals::new(&core, &history, &subscribers));
        let backtests = Jobs::new(&config.data);
        let senders = http::Senders::new(config.senders.clone(), &table, &intake, &ledger);
        tasks.spawn(senders.watch(intake.clone(), stop.clone()));
        let edge = Web {
            board: core.board.clone(),
            alarms: Arc::new(core.facts.clone()),
            permits: Arc::new(core.facts.clone()),
            rules: Arc::new(core.facts.clone()),
            rule_desk: Arc::new(rule_desk),
            limits: Arc::new(core.facts.clone()),
            cases: Arc::new(core.facts.clone()),
            case_files: config.data.join("cases"),
            duty: Arc::new(core.facts.clone()),
            recipients: notify::recipients(&config.notify).into(),
            desk: Arc::new(FrontDesk { intake: intake.clone(), answers: core.answers.clone() }),
            ledger: ledger.clone(),
            losses: losses.clone(),
            online: online.clone(),
            coverage: config.coverage.clone().into(),
            samples: history.clone(),
            publications: Arc::new(core.facts.clone()),
            feeds: Arc::new(feeds(&config)),
            // They count a day's messages, of which a storm makes hundreds of thousands.
            figures: Arc::new(figures::Book::new(core.facts.apart()?)),
            senders: Arc::new(senders),
            devices: devices.clone(),
            backtests: backtests.clone(),
            health: vitals.clone(),
            numbers: vitals,
            doors: open,
            tester,
            doorkeeper: key.zip(config.notify.links_valid()).map(|(key, valid)| notify::Doorkeeper { key, valid }),
        };
        let (web_config, web_stop) = (config.web.clone(), stop.clone());
        tasks.spawn(async move { web::serve(web_listener, &web_config, edge, web_stop).await });

        if config.duty.positions.values().any(|position| position.console.is_some()) {
            // Streams end with the process; whoever is there opens a new one within seconds.
            let act = DutyAct::Console { user: String::new(), open: false, sound: false, at: clock::now() };
            let order = DutyOrder { command: 0, act: Box::new(act) };
            drop(intake.submit(Entry::Note(Note::Duty(order))).await?);
        }
        tasks.spawn(tick(intake.clone(), stop.clone()));
        info!(name = %config.name, points = table.len(), web = %web_address, ?mqtt, "davy runs");
        Ok(Self {
            core,
            history,
            mqtt,
            web: web_address,
            doors,
            devices,
            stop,
            backtests,
            losses,
            intake,
            tasks,
            followers,
            history_stop,
            history_thread,
        })
    }

    /// The journal's front door, for whoever runs the gateway in its own process.
    #[must_use]
    pub fn intake(&self) -> &Intake {
        &self.intake
    }

    /// Runs until `stop` is cancelled, or until a part fails: then `Broken`, after what can still be saved
    /// is saved.
    pub async fn run(mut self) -> Result<(), Error> {
        let mut glance = tokio::time::interval(Duration::from_millis(250));
        let mut broken = false;
        loop {
            tokio::select! {
                () = self.stop.cancelled() => break,
                _ = glance.tick() => {
                    let follower_ended = self.followers.iter().any(JoinHandle::is_finished);
                    if self.core.broken() || self.history_thread.is_finished() || follower_ended {
                        error!("the middle of the gateway has ended: stopping, so that nothing is acknowledged that is not kept");
                        broken = true;
                        break;
                    }
                }
                Some(ended) = self.tasks.join_next() => {
                    if self.stop.is_cancelled() {
                        break;
                    }
                    error!(?ended, "a part of the gateway has ended: stopping");
                    broken = true;
                    break;
                }
            }
        }
        self.finish().await?;
        if broken { Err(Error::Broken) } else { Ok(()) }
    }

    /// Stops with the flow.
    async fn finish(mut self) -> Result<(), Error> {
        self.stop.cancel();
        self.backtests.stop();
        while self.tasks.join_next().await.is_some() {}
        let Self { core, intake, followers, history_stop, history_thread, losses, .. } = self;
        drop(intake);
        let finished = tokio::task::spawn_blocking(move || -> Result<(), Error> {
            for follower in followers {
                if !matches!(follower.join(), Ok(Ok(()))) {
                    warn!("a follower of the journal ended early");
                }
            }
            let table = core.table.clone();
            let ended = core.join();
            if let Err(cause) = losses.flush(&table, clock::now()) {
                warn!(%cause, "the last losses could not be written down");
            }
            history_stop.cancel();
            let stored = history_thread.join();
            ended?;
            match stored {
                Ok(stored) => Ok(stored?),
                Err(_) => Err(Error::Broken),
            }
        });
        finished.await.unwrap_or(Err(Error::Broken))
    }
}

/// Opens files and replays; blocking work, so off the event loop.
async fn start_core(config: &Config, ledger: Arc<Ledger>) -> Result<(Core, Intake, watch::Rules), Error> {
    let mut consumers = vec![HISTORY];
    if config.influxdb.is_some() {
        consumers.push(INFLUXDB);
    }
    let mut duty = config.duty.clone();
    if duty.positions.values().any(|position| position.checks.is_some()) {
        let broken = |source| core::Error::Folder { path: config.data.display().to_string(), source };
        std::fs::create_dir_all(&config.data).map_err(broken)?;
        duty.seed = notify::LinkKey::open(&config.data)?.seed();
    }
    let options = core::Options {
        journal: config.journal.clone(),
        points: config.points.iter().map(|point| point.point.clone()).collect(),
        calendar: config.calendar.clone(),
        limits: config.limits.clone(),
        cases: config.cases.clone(),
        storm: config.storm,
        parents: config.parents(),
        duty: duty.clone(),
        recipients: notify::recipients(&config.notify),
        publish: config.publish.clone(),
        consumers,
        snapshot_every: SNAPSHOT_EVERY,
    };
    let (data, folder, files) = (config.data.clone(), config.rules.clone(), config.rule_files);
    let (calendar, limits) = (config.calendar.clone(), config.limits.clone());
    let (cases, duty, storm, parents) = (config.cases.clone(), duty, config.storm, config.parents());
    let started = tokio::task::spawn_blocking(move || {
        let mut in_force = Vec::new();
        let (core, intake) = Core::start(&data, options, ledger, |ground, last| {
            // What was in force goes on; only a first start begins with what the folder holds.
            let verdict = match last.filter(|last| !last.rules.is_empty()) {
                Some(last) => rulebook::weigh(last.rules.clone(), Vec::new(), &last.rules, ground),
                None => {
                    let (found, unreadable) = rulebook::read_folder(&folder);
                    rulebook::weigh(found, unreadable, &[], ground)
                }
            };
            in_force.clone_from(&verdict.rules);
            verdict.rules
        })?;
        info!(head = %core.facts.audit_head()?, "audit chain");
        let office = watch::Office {
            folder,
            files,
            ground: Setup { calendar, limits, cases, duty, storm, parents, ..Setup::of(core.table.list().to_vec()) },
            intake: intake.clone(),
            answers: core.answers.clone(),
            facts: core.facts.clone(),
            board: core.board.clone(),
        };
        let rules = watch::Rules::new(office, in_force)?;
        Ok((core, intake, rules))
    });
    started.await.unwrap_or(Err(Error::Broken))
}

/// Feeds of neighbours, and who stands behind them.
fn feeds(config: &Config) -> Feeds {
    config.publish.as_ref().map_or_else(Feeds::default, |publish| {
        let name = if publish.sender_name.is_empty() { &publish.sender } else { &publish.sender_name };
        Feeds { list: publish.feeds.clone(), author: name.clone() }
    })
}

fn mqtt_bindings(config: &Config, table: &PointTable) -> Vec<(crate::model::PointIndex, crate::decode::Binding)> {
    let bound = config.points.iter().filter_map(|configured| match &configured.binding {
        Binding::Mqtt(binding) => Some((table.find(&configured.point.id)?, binding.clone())),
        Binding::Pattern | Binding::Modbus(_) | Binding::Sparkplug(_) | Binding::Frame(_) => None,
    });
    bound.collect()
}

type ModbusPoint = (crate::model::PointIndex, Option<crate::model::Range>, modbus::Binding);

fn modbus_bindings(config: &Config, table: &PointTable) -> Vec<ModbusPoint> {
    let bound = config.points.iter().filter_map(|configured| match &configured.binding {
        Binding::Modbus(binding) => Some((table.find(&configured.point.id)?, configured.point.range, binding.clone())),
        Binding::Pattern | Binding::Mqtt(_) | Binding::Sparkplug(_) | Binding::Frame(_) => None,
    });
    bound.collect()
}

fn sparkplug_mapping(config: &Config, host: &sparkplug::Config, table: &PointTable) -> sparkplug::Mapping {
    let (mut bound, mut open) = (Vec::new(), Vec::new());
    for configured in &config.points {
        let Some(index) = table.find(&configured.point.id) else { continue };
        match &configured.binding {
            Binding::Sparkplug(binding) if host.hears(&binding.group) => bound.push((index, binding.clone())),
            Binding::Pattern => open.push((index, configured.point.id.to_string())),
            Binding::Mqtt(_) | Binding::Modbus(_) | Binding::Sparkplug(_) | Binding::Frame(_) => {}
        }
    }
    sparkplug::Mapping::new(bound, open)
}

/// Which of a door's points are bound to a device, and which go by a pattern.
fn frame_points(config: &Config, table: &PointTable) -> frames::Bound {
    let mut points = frames::Bound::default();
    for configured in &config.points {
        let Some(point) = table.find(&configured.point.id) else { continue };
        match &configured.binding {
            Binding::Frame(binding) => points.bound.push((point, binding.clone())),
            Binding::Pattern => points.free.push(point),
            Binding::Mqtt(_) | Binding::Modbus(_) | Binding::Sparkplug(_) => {}
        }
    }
    points
}

fn decoders(
    forms: Arc<Forms>,
    table: Arc<PointTable>,
    limit: usize,
    account: Arc<crate::ledger::Account>,
) -> DecoderFactory {
    Arc::new(move || {
        let decoder = Decoder::new(forms.clone(), table.clone(), limit);
        Box::new(Decoding { decoder, account: account.clone() })
    })
}

/// The notifiers, ready to run. Messages to recipients that are gone from the configuration are given up.
async fn tell_people(
    config: &Config,
    core: &Core,
    intake: &Intake,
    subscribers: &Arc<Subscribers>,
    key: Option<notify::LinkKey>,
    stop: &CancellationToken,
) -> Result<(impl Future<Output = ()> + Send + 'static, notify::Tester), Error> {
    let office = notify::Outbox { facts: core.facts.apart()?, intake: intake.clone() };
    let (list, facts) = (config.publish.as_ref().map(|publish| publish.neighbours.clone()), core.facts.clone());
    let warnings: notify::Warnings = Arc::new(move |change| facts.warning(change));
    let neighbours = notify::Neighbours { list: list.unwrap_or_default(), warnings };
    let known = [notify::recipients(&config.notify), neighbours.recipients()].concat();
    for (channel, recipient) in core.facts.awaited()? {
        if !known.iter().any(|known| known.channel == channel && known.name == recipient) {
            let rows = |lane| core.facts.pending(lane, &channel, &recipient, usize::MAX >> 1);
            let (mut rows, exercises) = (rows(Lane::Real)?, rows(Lane::Exercise)?);
            rows.extend(exercises);
            notify::give_up_strangers(&office, &known, rows).await?;
        }
    }
    let everybody = subscribers.clone();
    let publish: notify::Publish = Arc::new(move |change, payload| Ok(everybody.publish_alarm(change, payload)));
    let intake = intake.clone();
    let say: notify::Say = Arc::new(move |note| {
        let intake = intake.clone();
        Box::pin(async move { intake.submit(Entry::Note(note)).await.map(drop) })
    });
    let channels =
        notify::channels(&config.notify, &notify::Means { publish, key, neighbours, say })?.of_people(&config.duty);
    let tester = channels.tester();
    Ok((notify::run(channels, office, core.board.clone(), config.notify.patience(), stop.clone()), tester))
}

/// Durable samples on the board.
fn show_values(
    mut cursor: Cursor,
    board: Arc<Board>,
    stop: CancellationToken,
) -> JoinHandle<Result<(), crate::journal::Error>> {
    thread("board", move || {
        while !stop.is_cancelled() {
            for (_, entry) in cursor.next(Duration::from_millis(200))? {
                if let Entry::Samples(samples) = entry {
                    board.show(&samples);
                }
            }
        }
        Ok(())
    })
}

fn follow_history(
    history: &Arc<History>,
    cursor: Cursor,
    board: &Arc<Board>,
    stop: &CancellationToken,
) -> JoinHandle<Result<(), crate::journal::Error>> {
    let (history, board, stop) = (history.clone(), board.clone(), stop.clone());
    thread("history", move || history::follow(&history, cursor, &board, &stop))
}

fn thread<T: Send + 'static>(name: &str, body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    std::thread::Builder::new().name(name.into()).spawn(body).expect("the operating system gives a thread at the start")
}

/// Writes down losses, those of the history included, until `stop`; the last ones are written at the end.
async fn keep_losses(
    losses: Arc<Losses>,
    history: Arc<History>,
    ledger: Arc<Ledger>,
    table: Arc<PointTable>,
    stop: CancellationToken,
) {
    let account = ledger.account(HISTORY);
    let mut repeated = history.stored().duplicates;
    let mut failing = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(losses::EVERY) => {}
        }
        let (losses, table, store) = (losses.clone(), table.clone(), history.clone());
        let (account, before) = (account.clone(), repeated);
        let written = tokio::task::spawn_blocking(move || {
            let repeated = store.stored().duplicates;
            account.add(Fate::Duplicate, repeated.saturating_sub(before));
            (repeated, losses.flush(&table, clock::now()))
        });
        let Ok((now_repeated, written)) = written.await else { return };
        repeated = now_repeated;
        match written {
            Ok(()) => failing = false,
            Err(cause) if !failing => {
                warn!(%cause, "losses cannot be written down; they are counted on and written when it works again");
                failing = true;
            }
            Err(_) => {}
        }
    }
}

/// Counts who is on line, once a minute, until `stop`.
async fn look_each_minute(online: Arc<Online>, board: Arc<Board>, stop: CancellationToken) {
    let mut failing = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(losses::EVERY) => {}
        }
        let (online, board) = (online.clone(), board.clone());
        let looked = move || online.look(&board.points(), &board.latest_all(), clock::now());
        let Ok(looked) = tokio::task::spawn_blocking(looked).await else { return };
        match looked {
            Ok(()) => failing = false,
            Err(cause) if !failing => {
                warn!(%cause, "the on-line rate cannot be written down: its minutes will count as missing");
                failing = true;
            }
            Err(_) => {}
        }
    }
}

/// Time, as an entry like any other: always a full [`TICK`] of the wall clock, so that what follows from it does
/// not depend on when the gateway was started. Those that were missed the engine makes up for.
async fn tick(intake: Intake, stop: CancellationToken) {
    let mut last = None;
    loop {
        let now = clock::now();
        let tick = now.tick();
        if last != Some(tick) {
            last = Some(tick);
            if intake.submit(Entry::Tick(tick)).await.is_err() {
                return;
            }
        }
        let wait = (tick + TICK).since(clock::now()).min(TICK);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}
