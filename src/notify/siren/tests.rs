//! A relay behind a real Modbus TCP server of the library's: good, stuck, and with a broken horn.

mod serial;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio_modbus::prelude::*;
use tokio_modbus::server::tcp::Server;

use super::super::tests::{Played, Running, alarm, checked, nobody, to_channel};
use super::*;
use crate::alarm::Standing;
use crate::journal::Outcome;
use crate::model::Quality;

#[derive(Clone, Default)]
struct Relay {
    coil: Arc<Mutex<bool>>,
    stuck: Arc<Mutex<bool>>,
    /// The horn's current, where it does not follow the coil.
    horn_broken: Arc<Mutex<bool>>,
    written: Arc<Mutex<Vec<(u16, bool)>>>,
}

impl tokio_modbus::server::Service for Relay {
    type Request = SlaveRequest<'static>;
    type Response = Response;
    type Exception = ExceptionCode;
    type Future = std::future::Ready<Result<Response, ExceptionCode>>;

    #[expect(clippy::wildcard_enum_match_arm, reason = "the library's enum: only what a relay knows")]
    fn call(&self, asked: Self::Request) -> Self::Future {
        let mut coil = self.coil.lock().unwrap();
        std::future::ready(match asked.request {
            Request::WriteSingleCoil(address, on) => {
                self.written.lock().unwrap().push((address, on));
                if !*self.stuck.lock().unwrap() {
                    *coil = on;
                }
                Ok(Response::WriteSingleCoil(address, on))
            }
            Request::ReadCoils(..) => Ok(Response::ReadCoils(vec![*coil])),
            Request::ReadDiscreteInputs(..) => {
                Ok(Response::ReadDiscreteInputs(vec![*coil && !*self.horn_broken.lock().unwrap()]))
            }
            _ => Err(ExceptionCode::IllegalFunction),
        })
    }
}

impl Relay {
    async fn start(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let relay = self.clone();
        tokio::spawn(async move {
            let serve = |stream, _| {
                let relay = relay.clone();
                async move { Ok(Some((relay, stream))) }
            };
            Server::new(listener).serve(&serve, |_| {}).await.unwrap();
        });
        address
    }

    async fn is(&self, on: bool) {
        let watch = crate::clock::Stopwatch::start();
        while *self.coil.lock().unwrap() != on {
            assert!(watch.elapsed() < Duration::from_secs(20), "the relay never became {on}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn config(address: SocketAddr, more: &str) -> super::super::Config {
    checked(&format!(
        "log.enabled = false\nmqtt.enabled = false\n[siren.pithead]\naddress = \"{address}\"\ncoil = 3\nsettle = \"0s\"\n\
         repeat = \"100ms\"\nfrom_priority = \"P2\"\nsites = [\"mine-*\"]\n{more}"
    ))
    .unwrap()
}

#[tokio::test]
async fn the_siren_sounds_until_somebody_acknowledges_and_is_set_right_when_it_is_switched_by_hand() {
    let relay = Relay::default();
    let office = Played::with(vec![to_channel("siren", "pithead", 1, "face", Priority::P1)]);
    office.open(vec![alarm("face", Priority::P1)]);
    let running = Running::start(&config(relay.start().await, ""), &office, nobody());
    let receipts = office.receipts(|receipts| !receipts.is_empty()).await;
    assert_eq!((receipts[0].outcome, receipts[0].detail.as_str()), (Outcome::Delivered, "on, read back"));
    relay.is(true).await;
    // Somebody switches it off at the cabinet.
    *relay.coil.lock().unwrap() = false;
    relay.is(true).await;
    let mut seen = alarm("face", Priority::P1);
    seen.standing = Standing::Acknowledged;
    office.open(vec![seen]);
    relay.is(false).await;
    running.ends().await;
    assert!(relay.written.lock().unwrap().iter().all(|(address, _)| *address == 3), "nothing else is written");
}

#[tokio::test]
async fn a_stuck_relay_and_a_broken_horn_are_failures_and_an_alarm() {
    for (confirm, told) in [("", "switched on, but it reads off back"), ("confirm_input = 7", "it reads off back")] {
        let relay = Relay::default();
        *relay.stuck.lock().unwrap() = confirm.is_empty();
        *relay.horn_broken.lock().unwrap() = true;
        let office = Played::with(vec![to_channel("siren", "pithead", 1, "face", Priority::P1)]);
        office.open(vec![alarm("face", Priority::P1)]);
        let running = Running::start(&config(relay.start().await, confirm), &office, nobody());
        let receipts = office.receipts(|receipts| !receipts.is_empty()).await;
        assert_eq!(receipts[0].outcome, Outcome::Failed);
        assert!(receipts[0].detail.contains(told), "{}", receipts[0].detail);
        let failing = |holds| ("davy-siren-failing".to_owned(), "pithead".to_owned(), holds);
        assert!(office.conditions().contains(&failing(true)));
        *relay.stuck.lock().unwrap() = false;
        *relay.horn_broken.lock().unwrap() = false;
        office.receipts(|receipts| receipts.iter().any(|receipt| receipt.outcome == Outcome::Delivered)).await;
        assert!(office.conditions().contains(&failing(false)));
        running.ends().await;
    }
}

#[tokio::test]
async fn a_siren_that_cannot_be_reached_is_a_failure_that_waits() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let office = Played::with(vec![to_channel("siren", "pithead", 1, "face", Priority::P1)]);
    let running = Running::start(&config(free, ""), &office, nobody());
    let receipts = office.receipts(|receipts| !receipts.is_empty()).await;
    running.ends().await;
    assert_eq!(receipts[0].outcome, Outcome::Failed);
    assert!(receipts[0].detail.contains("cannot connect"), "{}", receipts[0].detail);
}

#[tokio::test]
async fn a_test_is_a_short_pulse_and_refused_while_the_siren_sounds_for_something() {
    let relay = Relay::default();
    let config = config(relay.start().await, "");
    let named = &config.named[0];
    let super::super::Way::Siren(siren) = &named.way else { panic!("{named:?}") };
    let (siren, keeper) = Keeper::new("pithead", siren, &named.wish, &mut Lines::default());
    let (office, stop) = (Played::with(Vec::new()), CancellationToken::new());
    let running = tokio::spawn(keeper.run(office.clone(), stop.clone()));
    assert_eq!(siren.test().await, Ok("test: on, read back; off, read back".to_owned()));
    relay.is(false).await;
    assert_eq!(relay.written.lock().unwrap().iter().filter(|(_, on)| *on).count(), 1);
    *relay.stuck.lock().unwrap() = true;
    let told = siren.test().await.unwrap_err();
    assert!(told.text.contains("switched on, but it reads off back"), "{told}");
    *relay.stuck.lock().unwrap() = false;
    office.open(vec![alarm("face", Priority::P1)]);
    let told = siren.test().await.unwrap_err();
    assert!(!told.temporary && told.text.contains("it sounds for P1 methane-face mine-3.face"), "{told}");
    relay.is(true).await;
    stop.cancel();
    running.await.unwrap();
    let told = siren.test().await.unwrap_err();
    assert!(told.text.contains("--url"), "{told}");
}

#[test]
fn it_sounds_for_alarms_of_its_sites_that_wait_for_somebody_and_not_for_drills_and_old_data() {
    let any = "127.0.0.1:502".parse().unwrap();
    let config = config(any, "");
    let named = &config.named[0];
    let super::super::Way::Siren(siren) = &named.way else { panic!("{named:?}") };
    let (_, keeper) = Keeper::new("pithead", siren, &named.wish, &mut Lines::default());
    let changed = |change: fn(&mut Alarm)| {
        let mut one = alarm("face", Priority::P2);
        change(&mut one);
        keeper.sounds_for(&one, false)
    };
    assert!(changed(|_| {}));
    assert!(changed(|alarm| alarm.standing = Standing::ReturnedUnacknowledged));
    assert!(!changed(|alarm| alarm.standing = Standing::Acknowledged));
    assert!(!changed(|alarm| alarm.priority = Priority::P3));
    assert!(!changed(|alarm| alarm.site = "plant-1".into()));
    assert!(!changed(|alarm| alarm.point = None));
    assert!(!changed(|alarm| alarm.quality = Quality::because(Reason::Exercise)));
    assert!(!changed(|alarm| alarm.quality = Quality::because(Reason::Late)));
    for (more, key) in [("", "coil"), ("coil = 1\nregister = 2", "register"), ("register = 2\non = 0", "off")] {
        let told = checked(&format!("[siren.a]\naddress = \"127.0.0.1:502\"\n{more}")).unwrap_err().join("\n");
        assert!(told.contains(&format!("notify.siren.a.{key}: ")), "{told}");
    }
}
