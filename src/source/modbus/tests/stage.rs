//! The poller with a configuration as operators write it, and everything that came out of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::super::{Config, DeviceState, Devices, RawBinding, RawDevice, run};
use crate::config::{Key, Problems};
use crate::journal::{Condition, Entry, Intake, Note, Waiting};
use crate::ledger::{Account, Ledger};
use crate::model::{PointIndex, Sample};
use crate::source::Outlet;

pub const QUEUE: usize = 32;

pub struct Stage {
    pub devices: Devices,
    pub account: Arc<Account>,
    pub seen: Vec<Sample>,
    pub conditions: Vec<Condition>,
    waiting: Waiting,
    _stop: DropGuard,
}

impl Stage {
    /// `devices`: tables by name; `points`: an array `point` of bindings, numbered from 0.
    pub fn start(devices: &str, points: &str) -> Self {
        let mut problems = Problems::default();
        let table: toml::Table = toml::from_str(devices).unwrap();
        let names: Vec<String> = table.keys().cloned().collect();
        let mut checked = Vec::new();
        for (name, value) in table {
            let at = Key::of("source.modbus").field(&name);
            let raw: RawDevice = problems.read(&at, value).expect("devices are well written");
            checked.extend(raw.check(&name, &at, &mut problems));
        }
        let mut bindings = Vec::new();
        let list = toml::from_str::<toml::Table>(points).unwrap().remove("point").unwrap();
        for (n, value) in list.as_array().unwrap().iter().enumerate() {
            let at = Key::of("point").index(n);
            let raw: RawBinding = problems.read(&at, value.clone()).expect("points are well written");
            let binding = raw.check(&at, &mut problems, names.iter().map(String::as_str));
            bindings.extend(binding.map(|binding| (PointIndex(n as u32), None, binding)));
        }
        assert!(problems.is_empty(), "{:#?}", problems.into_list());
        let config = Config::new(checked);
        let devices = config.devices();
        let (intake, waiting) = Intake::with_receiver(QUEUE);
        let account = Ledger::default().account("modbus");
        let stop = CancellationToken::new();
        tokio::spawn(run(config, bindings, Outlet { intake, account: account.clone() }, stop.clone()));
        Self { devices, account, seen: Vec::new(), conditions: Vec::new(), waiting, _stop: stop.drop_guard() }
    }

    /// Takes one entry out; the samples of it, if it is a poll's.
    async fn step(&mut self) -> Option<Arc<Vec<Sample>>> {
        let next = timeout(Duration::from_secs(10), self.waiting.next()).await;
        let (entry, _) = next.expect("the poller delivers within 10 s").expect("the poller runs");
        match entry {
            Entry::Samples(samples) => {
                self.seen.extend(samples.iter());
                Some(samples)
            }
            Entry::Note(Note::Condition(condition)) => {
                self.conditions.push(condition);
                None
            }
            other @ (Entry::Tick(_) | Entry::Note(_)) => panic!("the poller submitted {other:?}"),
        }
    }

    /// The samples of the next poll, which are so many.
    pub async fn next_poll(&mut self, points: usize) -> Vec<Sample> {
        loop {
            if let Some(samples) = self.step().await {
                assert_eq!(samples.len(), points);
                return samples.to_vec();
            }
        }
    }

    pub async fn until(&mut self, mut done: impl FnMut(&Self) -> bool) {
        let mut entries = 0;
        while !done(self) {
            self.step().await;
            entries += 1;
            assert!(entries < 2_000, "it did not happen within 2,000 entries");
        }
    }

    pub async fn devices_when(&mut self, mut done: impl FnMut(&[DeviceState]) -> bool) -> Vec<DeviceState> {
        self.until(|stage| done(&stage.devices.list())).await;
        self.devices.list()
    }

    /// Leaves everything in the queue until `done`.
    pub async fn idle_until(&self, done: impl Fn() -> bool) {
        timeout(Duration::from_secs(10), async {
            while !done() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("it happens within 10 s");
    }
}
