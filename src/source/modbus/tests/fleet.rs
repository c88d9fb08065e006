//! Sixty-four devices on ten buses, of which some are ill in each of the usual ways.

use super::device::{Asked, FakeDevice, Reply, frame, pdu, values};
use super::rtu_device::{RtuDevice, rtu};
use super::stage::Stage;
use super::{Link, ms};
use crate::clock::Stopwatch;
use crate::ledger::Fate;

const PERIOD_MS: u64 = 1_000;
const POLLS: u64 = 10;

/// The second unit of each bus is ill in the way of its bus.
fn tcp(bus: usize) -> impl Fn(&Asked) -> Reply {
    move |asked| match (bus, asked.unit) {
        (0, 2) => Reply::Silent,
        (1, 2) => Reply::Late(ms(150), values(asked)),
        (2, 2) => Reply::Frame(values(asked).into_iter().rev().collect()),
        (3, 2) => Reply::Frame(frame(asked.transaction, 2, &[0x83, 4])),
        _ => Reply::Values,
    }
}

fn serial(bus: usize) -> impl Fn(&Asked) -> Reply {
    move |asked| match (bus, asked.unit) {
        (0, 2) => Reply::Silent,
        (1, 2) => Reply::Late(ms(150), rtu(asked.unit, &pdu(asked))),
        (2, 2) => Reply::Frame(rtu(asked.unit, &pdu(asked)).into_iter().rev().collect()),
        (3, 2) => Reply::Frame(rtu(2, &[0x83, 4])),
        _ => Reply::Values,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ill_cost_their_neighbours_no_poll() {
    let (mut gateways, mut lines) = (Vec::new(), Vec::new());
    let (mut buses, mut sick) = (Vec::new(), Vec::new());
    for bus in 0..6 {
        gateways.push(FakeDevice::start(tcp(bus)).await);
        buses.push((gateways[bus].address.to_string(), 8));
    }
    for bus in 0..4 {
        lines.push(RtuDevice::on_tcp(serial(bus)).await);
        buses.push((lines[bus].address.clone(), 4));
    }
    let (mut devices, mut points, mut names) = (String::new(), String::new(), Vec::new());
    for (bus, (address, units)) in buses.iter().enumerate() {
        for unit in 1..=*units {
            let name = format!("b{bus}u{unit}");
            devices += &format!(
                "[{name}]\naddress = \"{address}\"\nunit = {unit}\nperiod = \"{PERIOD_MS}ms\"\ntimeout = \"80ms\"\n"
            );
            points += &format!("[[point]]\ndevice = \"{name}\"\nregister = 40011\n");
            if unit == 2 && !(4..6).contains(&bus) {
                sick.push(name.clone());
            }
            names.push(name);
        }
    }
    let began = Stopwatch::start();
    let mut stage = Stage::start(&devices, &points);
    let states = stage
        .devices_when(|states| states.iter().all(|state| sick.contains(&state.device) || state.polls >= POLLS))
        .await;
    let slots = began.elapsed().as_millis() as u64 / PERIOD_MS;
    assert_eq!((states.len(), sick.len()), (64, 8));
    let mut values = vec![0; states.len()];
    for sample in &stage.seen {
        assert!(!sample.quality.usable() || sample.value == 10.0, "{sample:?}");
        values[sample.point.0 as usize] += u64::from(sample.quality.usable());
    }
    for state in states.iter().filter(|state| !sick.contains(&state.device)) {
        assert_eq!((state.link, state.failed, state.missed, state.rested), (Link::Connected, 0, 0, 0), "{state:#?}");
        // The schedule, counted by the clock, against what arrived: each slot brought its value.
        assert!(state.polls + 1 >= slots, "{} polls in {slots} slots: {state:?}", state.polls);
        let arrived = values[names.iter().position(|name| *name == state.device).unwrap()];
        assert!(arrived + 1 >= state.polls && arrived >= POLLS - 1, "{arrived} values of {} polls", state.polls);
    }
    for state in states.iter().filter(|state| sick.contains(&state.device)) {
        assert_eq!(state.last_answer, None, "{state:?}");
        assert!(matches!(state.link, Link::BackingOff | Link::Quarantined) && state.polls <= 5, "{state:?}");
    }
    assert_eq!(stage.account.get(Fate::MissedPoll), 0);
    for fate in [Fate::TimedOut, Fate::WrongAnswer, Fate::Exception] {
        assert!(stage.account.get(fate) >= 4, "{fate:?}");
    }
}
