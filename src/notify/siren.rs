//! A siren or beacon behind a Modbus output, switched and read back.
//!
//! ```toml
//!  [notify.siren.pithead]
//!  address = "10.0.4.7:502"   unit = 1   coil = 0           # or register = 10, on = 1, off = 0; or another way of
//!                                                           # source.modbus: serial:/dev/ttyUSB1, rtu+tcp://..
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
//! configured here. It must be a siren's. A test (`davy notify test`) is a short pulse, refused while it sounds. When the gateway stops the output stays as it is.

mod config;
mod line;

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::wish::Wish;
use super::{Channel, Delivery, Failure, Message, Office};
use crate::alarm::{Alarm, Level, Priority};
use crate::clock::{self, Stopwatch};
use crate::journal::{self, Condition, Note};
use crate::model::{Reason, fits};

pub use config::{Config, Raw, check_together};
use line::Line;
pub use line::Lines;

pub const CHANNEL: &str = "siren";

type Answer = oneshot::Sender<Result<String, Failure>>;

/// What the keeper is asked for.
enum Wanted {
    /// To be set as the alarms say.
    Set(Answer),
    /// To be heard for a moment.
    Test(Answer),
}

/// A test sounds for so long.
const PULSE: Duration = Duration::from_secs(1);

/// The siren as a channel: a message makes it be set at once.
pub struct Siren {
    asks: mpsc::Sender<Wanted>,
}

/// Who keeps the siren as it shall be.
pub struct Keeper {
    name: String,
    config: Config,
    line: Line,
    from_priority: Priority,
    sites: Vec<String>,
    asked: mpsc::Receiver<Wanted>,
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
    pub fn new(name: &str, config: &Config, wish: &Wish, lines: &mut Lines) -> (Siren, Self) {
        let (asks, asked) = mpsc::channel(4);
        let keeper = Self {
            name: name.to_owned(),
            config: config.clone(),
            line: lines.of(config),
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
            let wanted = tokio::select! {
                wanted = self.asked.recv() => match wanted {
                    Some(wanted) => Some(wanted),
                    None => return Ok(()),
                },
                () = tokio::time::sleep(pause) => None,
            };
            pause = self.config.repeat;
            if let Some(Wanted::Test(asker)) = wanted {
                asker.send(self.try_out(office).await).ok();
                // Whatever came meanwhile: it is set as the alarms say.
                pause = Duration::ZERO;
                continue;
            }
            let result = self.set(office).await;
            self.look_at_mute(office).await?;
            if self.muted_since.is_some() {
                pause = pause.min(self.config.mute_limit / 4);
            }
            self.tell(office, &result).await?;
            if let Some(Wanted::Set(asker)) = wanted {
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
        let held = self.on == Some(true) && self.line.muted(&self.config).await.unwrap_or(false);
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

    /// On for a moment, and off. Whoever hears it must never have to ask whether it is a test, so it is refused while it
    /// sounds for something.
    async fn try_out<O: Office>(&mut self, office: &O) -> Result<String, Failure> {
        if let Some(alarm) = self.cause(office).await.map_err(Failure::temporary)? {
            let Alarm { id, rule, subject, priority, .. } = alarm;
            let told = format!("it sounds for {priority} {rule} {subject} ({id}): test it when nothing is open");
            return Err(Failure::for_good(told));
        }
        info!(siren = %self.name, "siren test");
        let on = self.line.switch(&self.config, true).await;
        tokio::time::sleep(PULSE).await;
        // Also where it did not come on as far as can be read: nobody leaves it between the two.
        let after = self.set(office).await;
        self.on = None;
        let on = on.map_err(|trouble| Failure::temporary(trouble.to_string()))?;
        after.map(|after| format!("test: {on}; {after}")).map_err(Failure::temporary)
    }

    /// On or off, as the open alarms say now.
    async fn set<O: Office>(&mut self, office: &O) -> Result<String, String> {
        let on = self.cause(office).await?.is_some();
        let switched = self.line.switch(&self.config, on).await.map_err(|trouble| trouble.to_string())?;
        if self.on.replace(on) != Some(on) {
            info!(siren = %self.name, on, "siren switched");
        }
        Ok(switched)
    }

    /// The alarm that it shall sound for now.
    async fn cause<O: Office>(&self, office: &O) -> Result<Option<Alarm>, String> {
        let asking = office.clone();
        let both = move || Ok((asking.open_alarms()?, asking.siren_called()?));
        let open = tokio::task::spawn_blocking(both).await;
        let open = open.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        let (open, called) = open.map_err(|error: crate::facts::Error| error.to_string())?;
        Ok(open.into_iter().find(|alarm| self.sounds_for(alarm, called.contains(&alarm.id))))
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
    async fn ask(&self, wanted: fn(Answer) -> Wanted, stopped: fn() -> Failure) -> Result<String, Failure> {
        let (asker, answer) = oneshot::channel();
        self.asks.send(wanted(asker)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

impl Channel for Siren {
    fn deliver<'a>(&'a self, _: &'a Message) -> Delivery<'a> {
        Box::pin(self.ask(Wanted::Set, || Failure::temporary("the siren's keeper has stopped")))
    }

    fn test(&self) -> Delivery<'_> {
        let elsewhere = || Failure::for_good("a siren is kept by the running gateway: test it with --url");
        Box::pin(self.ask(Wanted::Test, elsewhere))
    }
}

#[cfg(test)]
mod tests;
