//! A siren or beacon behind a Modbus output, switched and read back.
//!
//! ```toml
//!  [notify.siren.pithead]
//!  address = "10.0.4.7:502"   unit = 1   coil = 0           # or register = 10, on = 1, off = 0
//!  mute_input = 4   mute_limit = "120s"                      # the mute key; held for longer while it shall sound: an alarm
//!  confirm_input = 3                                        # shows the horn's current; else the output is read back
//!  from_priority = "P1"   sites = ["mine-3"]   repeat = "30s"
//! ```
//! On while an alarm of its sites, from its priority up, is open that nobody has acknowledged; off else. What it
//! shall be is looked up in facts each time, with every message and every `repeat`, so a relay that was switched by
//! somebody else, or lost its supply, is set right. A message is delivered when what was read back is what was
//! written; else the attempt has failed, and `davy-siren-failing` says so at once. Exercises sound only with
//! `exercises = true`, back-filled data never, and neither do conditions of the gateway itself.
//!
//! These are the only writes to the field in the whole program: functions 5 and 6, to the one output that is
//! configured here. It must be a siren's. When the gateway stops the output stays as it is.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};
use tokio_modbus::client::{Reader, Writer, tcp};
use tokio_modbus::slave::Slave;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::webhook::timeout;
use super::wish::Wish;
use super::{Channel, Delivery, Failure, Message, Office};
use crate::alarm::{Alarm, Level, Priority};
use crate::clock::{self, Stopwatch};
use crate::config::{Key, Problems};
use crate::journal::{self, Condition, Note};
use crate::model::{Reason, duration_text, fits};

pub const CHANNEL: &str = "siren";

/// `[notify.siren.<name>]` as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    address: String,
    #[serde(default = "first")]
    unit: u8,
    coil: Option<u16>,
    register: Option<u16>,
    #[serde(default = "one")]
    on: u16,
    #[serde(default)]
    off: u16,
    confirm_input: Option<u16>,
    /// Shows that somebody holds the mute key.
    mute_input: Option<u16>,
    #[serde(default = "two_minutes")]
    mute_limit: String,
    /// From the write to the reading back.
    #[serde(default = "settle")]
    settle: String,
    #[serde(default = "repeat")]
    repeat: String,
    #[serde(default)]
    exercises: bool,
    #[serde(default = "two_seconds")]
    timeout: String,
}

const fn first() -> u8 {
    1
}

const fn one() -> u16 {
    1
}

fn settle() -> String {
    "200ms".into()
}

fn repeat() -> String {
    "30s".into()
}

fn two_minutes() -> String {
    "120s".into()
}

fn two_seconds() -> String {
    "2s".into()
}

/// What is switched; the only things that are ever written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    Coil(u16),
    Register { address: u16, on: u16, off: u16 },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    address: SocketAddr,
    unit: u8,
    output: Output,
    confirm_input: Option<u16>,
    mute_input: Option<u16>,
    mute_limit: Duration,
    settle: Duration,
    repeat: Duration,
    exercises: bool,
    timeout: Duration,
}

impl Raw {
    pub fn check(self, at: &Key, problems: &mut Problems) -> Option<Config> {
        let address = problems.parsed(at.field("address"), &self.address, "ip:port, such as 10.0.4.7:502");
        let unit = problems.within(at.field("unit"), self.unit, 1..=247);
        let millis = Duration::from_millis;
        let settle = problems.duration(at.field("settle"), &self.settle, Duration::ZERO..=millis(5_000));
        let repeat = problems.duration(at.field("repeat"), &self.repeat, millis(100)..=millis(600_000));
        let mute_limit = problems.duration(at.field("mute_limit"), &self.mute_limit, millis(100)..=millis(3_600_000));
        let timeout = timeout(problems, at, &self.timeout);
        let output = match (self.coil, self.register) {
            (Some(coil), None) => Some(Output::Coil(coil)),
            (None, Some(address)) if self.on != self.off => {
                Some(Output::Register { address, on: self.on, off: self.off })
            }
            (None, Some(_)) => {
                problems.add(at.field("off"), "is the same as on: the register would say nothing");
                None
            }
            (None, None) => {
                problems.add(at.field("coil"), "is missing: write coil = or register = for what switches the siren");
                None
            }
            (Some(_), Some(_)) => {
                problems.add(at.field("register"), "coil is given too; leave one of them");
                None
            }
        };
        Some(Config {
            address: address?,
            unit: unit?,
            output: output?,
            confirm_input: self.confirm_input,
            mute_input: self.mute_input,
            mute_limit: mute_limit?,
            settle: settle?,
            repeat: repeat?,
            exercises: self.exercises,
            timeout: timeout?,
        })
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error("cannot connect to {0}: {1}")]
    Unreachable(SocketAddr, std::io::Error),
    #[error("no answer from {0} within {within}", within = duration_text(*.1))]
    TimedOut(SocketAddr, Duration),
    #[error("{0}: {1}")]
    Broken(SocketAddr, tokio_modbus::Error),
    #[error("{0} refuses: {1}; check unit and address")]
    Refused(SocketAddr, tokio_modbus::ExceptionCode),
    #[error("switched {wanted}, but it reads {found} back; check relay, horn and supply")]
    Stuck { wanted: &'static str, found: String },
}

impl Config {
    /// Writes the output and reads back what became of it.
    pub async fn switch(&self, on: bool) -> Result<String, Trouble> {
        let connecting = tcp::connect_slave(self.address, Slave(self.unit));
        let late = |_| Trouble::TimedOut(self.address, self.timeout);
        let connected = tokio::time::timeout(self.timeout, connecting).await.map_err(late)?;
        let mut line = connected.map_err(|error| Trouble::Unreachable(self.address, error))?;
        match self.output {
            Output::Coil(coil) => self.within(line.write_single_coil(coil, on)).await?,
            Output::Register { address, on: one, off } => {
                self.within(line.write_single_register(address, if on { one } else { off })).await?;
            }
        }
        tokio::time::sleep(self.settle).await;
        let word = if on { "on" } else { "off" };
        let found = match (self.confirm_input, self.output) {
            (Some(input), _) => said(self.within(line.read_discrete_inputs(input, 1)).await?.first() == Some(&true)),
            (None, Output::Coil(coil)) => said(self.within(line.read_coils(coil, 1)).await?.first() == Some(&true)),
            (None, Output::Register { address, on: one, off }) => {
                match self.within(line.read_holding_registers(address, 1)).await?.first() {
                    Some(value) if *value == one => said(true),
                    Some(value) if *value == off => said(false),
                    value => format!("{value:?}"),
                }
            }
        };
        if found == word { Ok(format!("{word}, read back")) } else { Err(Trouble::Stuck { wanted: word, found }) }
    }

    /// Is the mute key held?
    pub async fn muted(&self) -> Result<bool, Trouble> {
        let Some(input) = self.mute_input else { return Ok(false) };
        let connecting = tcp::connect_slave(self.address, Slave(self.unit));
        let late = |_| Trouble::TimedOut(self.address, self.timeout);
        let connected = tokio::time::timeout(self.timeout, connecting).await.map_err(late)?;
        let mut line = connected.map_err(|error| Trouble::Unreachable(self.address, error))?;
        Ok(self.within(line.read_discrete_inputs(input, 1)).await?.first() == Some(&true))
    }

    async fn within<T>(
        &self,
        call: impl Future<Output = Result<Result<T, tokio_modbus::ExceptionCode>, tokio_modbus::Error>>,
    ) -> Result<T, Trouble> {
        let answer = tokio::time::timeout(self.timeout, call).await;
        let answer = answer.map_err(|_| Trouble::TimedOut(self.address, self.timeout))?;
        answer
            .map_err(|error| Trouble::Broken(self.address, error))?
            .map_err(|code| Trouble::Refused(self.address, code))
    }
}

fn said(on: bool) -> String {
    if on { "on" } else { "off" }.to_owned()
}

type Answer = oneshot::Sender<Result<String, Failure>>;

/// The siren as a channel: a message makes it be set at once.
pub struct Siren {
    asks: mpsc::Sender<Answer>,
}

/// Who keeps the siren as it shall be.
pub struct Keeper {
    name: String,
    config: Config,
    from_priority: Priority,
    sites: Vec<String>,
    asked: mpsc::Receiver<Answer>,
    /// What was last told of it; None: an alarm may stand from before the restart.
    failing: Option<bool>,
    on: Option<bool>,
    /// Since when the mute key is held while it shall sound.
    muted_since: Option<Stopwatch>,
    /// What was last told of the mute key.
    muted: Option<bool>,
}

impl Keeper {
    #[must_use]
    pub fn new(name: &str, config: &Config, wish: &Wish) -> (Siren, Self) {
        let (asks, asked) = mpsc::channel(4);
        let keeper = Self {
            name: name.to_owned(),
            config: config.clone(),
            from_priority: wish.from_priority,
            sites: wish.sites.clone(),
            asked,
            failing: None,
            on: None,
            muted_since: None,
            muted: None,
        };
        (Siren { asks }, keeper)
    }

    /// Until `stop`, or until the journal is closed.
    pub async fn run<O: Office>(mut self, office: O, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            Err(error) = self.work(&office) => warn!(siren = %self.name, %error, "the siren is not kept any more"),
        }
    }

    async fn work<O: Office>(&mut self, office: &O) -> Result<(), journal::Error> {
        // At once after the start: an alarm may be open, and the siren may have lost its supply meanwhile.
        let mut pause = Duration::ZERO;
        loop {
            let asker = tokio::select! {
                asker = self.asked.recv() => match asker {
                    Some(asker) => Some(asker),
                    None => return Ok(()),
                },
                () = tokio::time::sleep(pause) => None,
            };
            pause = self.config.repeat;
            let result = self.set(office).await;
            self.look_at_mute(office).await?;
            if self.muted_since.is_some() {
                pause = pause.min(self.config.mute_limit / 4);
            }
            self.tell(office, &result).await?;
            if let Some(asker) = asker {
                // Whoever asked may have been stopped.
                asker.send(result.map_err(Failure::temporary)).ok();
            }
        }
    }

    /// Silencing is not acknowledging: a mute key that is held for long while an alarm is open is an alarm itself.
    async fn look_at_mute<O: Office>(&mut self, office: &O) -> Result<(), journal::Error> {
        if self.config.mute_input.is_none() {
            return Ok(());
        }
        let held = self.on == Some(true) && self.config.muted().await.unwrap_or(false);
        if !held {
            self.muted_since = None;
        } else if self.muted_since.is_none() {
            self.muted_since = Some(Stopwatch::start());
        }
        let long = self.muted_since.as_ref().is_some_and(|since| since.elapsed() >= self.config.mute_limit);
        if self.muted == Some(long) {
            return Ok(());
        }
        self.muted = Some(long);
        let note = Note::Condition(Condition {
            at: clock::now(),
            rule: "davy-siren-muted".into(),
            subject: self.name.clone(),
            holds: long,
            title: format!("报警器被长时间消音 / siren muted for long while an alarm is open: {}", self.name),
            advice: "立即派人到现场，松开消音键 / send somebody at once; free the mute key".into(),
            priority: Priority::P1,
            level: Level::Orange,
            detail: String::new(),
        });
        office.note(note).await
    }

    /// On or off, as the open alarms say now.
    async fn set<O: Office>(&mut self, office: &O) -> Result<String, String> {
        let asking = office.clone();
        let both = move || Ok((asking.open_alarms()?, asking.siren_called()?));
        let open = tokio::task::spawn_blocking(both).await;
        let open = open.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        let (open, called) = open.map_err(|error: crate::facts::Error| error.to_string())?;
        let on = open.iter().any(|alarm| self.sounds_for(alarm, called.contains(&alarm.id)));
        let switched = self.config.switch(on).await.map_err(|trouble| trouble.to_string())?;
        if self.on.replace(on) != Some(on) {
            info!(siren = %self.name, on, "siren switched");
        }
        Ok(switched)
    }

    /// `called`: nobody of the site is left to be called.
    fn sounds_for(&self, alarm: &Alarm, called: bool) -> bool {
        let here = self.sites.is_empty() || self.sites.iter().any(|site| fits(site, &alarm.site));
        let meant = alarm.point.is_some() && (called || alarm.priority <= self.from_priority) && here;
        let drill = alarm.quality.has(Reason::Exercise) && !self.config.exercises;
        alarm.standing.waits() && meant && !drill && !alarm.quality.has(Reason::Late)
    }

    async fn tell<O: Office>(&mut self, office: &O, result: &Result<String, String>) -> Result<(), journal::Error> {
        let failing = result.is_err();
        if self.failing == Some(failing) {
            return Ok(());
        }
        self.failing = Some(failing);
        let detail = result.as_ref().err().cloned().unwrap_or_default();
        if failing {
            warn!(siren = %self.name, %detail, "siren does not do what it is told");
        }
        let note = Note::Condition(Condition {
            at: clock::now(),
            rule: "davy-siren-failing".into(),
            subject: self.name.clone(),
            holds: failing,
            title: format!("声光报警器不动作 / siren does not work: {}", self.name),
            advice: "改用广播和电话通知现场，检修报警器 / warn the site by other means; repair the siren".into(),
            priority: Priority::P1,
            level: Level::Orange,
            detail,
        });
        office.note(note).await
    }
}

impl Siren {
    async fn ask(&self) -> Result<String, Failure> {
        let (asker, answer) = oneshot::channel();
        let stopped = || Failure::temporary("the siren's keeper has stopped");
        self.asks.send(asker).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

impl Channel for Siren {
    fn deliver<'a>(&'a self, _: &'a Message) -> Delivery<'a> {
        Box::pin(self.ask())
    }
}

#[cfg(test)]
mod tests;
