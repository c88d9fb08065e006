//! RTU frames, on serial lines and through serial servers.

use super::device::{Asked, Reply, pdu};
use super::rtu_device::{RtuDevice, rtu};
use super::stage::Stage;
use super::{Link, ms};
use crate::ledger::Fate;
use crate::model::{Quality, Reason};

/// The request's own number as the value.
fn numbered(asked: &Asked) -> Vec<u8> {
    let number = u16::try_from(asked.number).unwrap();
    rtu(asked.unit, &[3, 2, (number >> 8) as u8, number as u8])
}

#[tokio::test]
async fn all_four_tables_are_read_over_a_serial_line_through_its_noise() {
    let device = RtuDevice::on_a_serial_line(|asked| match asked.number % 7 {
        // A driver that switches on, and a bit turned on the way.
        3 => Reply::Frame([&[0, 0xFF][..], &rtu(asked.unit, &pdu(asked))].concat()),
        5 => {
            let mut frame = rtu(asked.unit, &pdu(asked));
            frame[3] ^= 0x10;
            Reply::Frame(frame)
        }
        _ => Reply::Values,
    });
    let mut stage = Stage::start(
        &format!(
            "[gas]\naddress = \"{}\"\nbaud = 19200\nparity = \"even\"\nunit = 7\nperiod = \"400ms\"\ntimeout = \"40ms\"",
            device.address
        ),
        "[[point]]\ndevice = \"gas\"\nregister = 40236\n[[point]]\ndevice = \"gas\"\nregister = 30018\n\
         [[point]]\ndevice = \"gas\"\nregister = 10004\n[[point]]\ndevice = \"gas\"\nregister = \"00005\"",
    );
    let mut whole = 0;
    for _ in 0..6 {
        let samples = stage.next_poll(4).await;
        for (sample, expected) in samples.iter().zip([235.0, 17.0, 1.0, 0.0]) {
            assert!(!sample.quality.usable() || sample.value == expected, "{sample:?}");
        }
        whole += u32::from(samples.iter().all(|sample| sample.quality == Quality::GOOD));
    }
    assert!(whole >= 4, "{whole} of 6 polls brought everything in spite of a damaged answer now and then");
    assert!(stage.account.get(Fate::WrongAnswer) >= 2);
    let functions: std::collections::BTreeSet<_> = device.asked().iter().map(|asked| asked.function).collect();
    assert_eq!(functions.into_iter().collect::<Vec<_>>(), [1, 2, 3, 4]);
}

/// Every third answer comes after its time, with a value that looks as good as any: soon after, while the
/// line is drained; or so late that the next request is out already, and its own answer comes behind it.
#[tokio::test]
async fn a_late_rtu_answer_is_never_taken_for_the_next_one() {
    for late in [70, 90, 120, 160, 230] {
        for serial in [true, false] {
            for retries in [0, 2] {
                let behaviour = move |asked: &Asked| {
                    let answer = numbered(asked);
                    match asked.number % 3 {
                        0 => Reply::Late(ms(late), answer),
                        1 => Reply::Late(ms(30), answer),
                        _ => Reply::Frame(answer),
                    }
                };
                let device =
                    if serial { RtuDevice::on_a_serial_line(behaviour) } else { RtuDevice::on_tcp(behaviour).await };
                let mut stage = Stage::start(
                    &format!(
                        "[slow]\naddress = \"{}\"\nperiod = \"250ms\"\ntimeout = \"50ms\"\nretries = {retries}{}",
                        device.address,
                        if serial { "\nbaud = 115200" } else { "" }
                    ),
                    "[[point]]\ndevice = \"slow\"\nregister = 40001",
                );
                let mut good = 0;
                for _ in 0..8 {
                    let sample = stage.next_poll(1).await[0];
                    if sample.quality.usable() {
                        assert_ne!(
                            sample.value as u64 % 3,
                            0,
                            "{late} ms late on {}: taken for a value",
                            device.address
                        );
                        good += 1;
                    } else {
                        assert_eq!(sample.quality, Quality::because(Reason::NotPolled));
                    }
                }
                assert!(good >= 2, "{good} of 8, {late} ms late on {}", device.address);
                assert!(stage.account.get(Fate::TimedOut) >= 1);
            }
        }
    }
}

/// A device that is always late by more than two requests, and is asked for two places in the same form:
/// the one's answer must never stand for the other's.
#[tokio::test]
async fn the_answers_of_a_device_that_is_always_late_are_not_mixed_up() {
    for late in [60, 110, 140] {
        let device = RtuDevice::on_a_serial_line(move |asked| Reply::Late(ms(late), rtu(asked.unit, &pdu(asked))));
        let mut stage = Stage::start(
            &format!("[slow]\naddress = \"{}\"\nbaud = 115200\nperiod = \"300ms\"\ntimeout = \"50ms\"", device.address),
            "[[point]]\ndevice = \"slow\"\nregister = 40001\n[[point]]\ndevice = \"slow\"\nregister = 40501",
        );
        for _ in 0..6 {
            for (sample, own) in stage.next_poll(2).await.iter().zip([0.0, 500.0]) {
                assert!(!sample.quality.usable() || sample.value == own, "{late} ms late: {sample:?}");
            }
        }
        assert!(stage.account.get(Fate::TimedOut) >= 2);
    }
}

/// A serial server that keeps an answer back and gives it to whoever is connected then.
#[tokio::test]
async fn an_answer_kept_for_the_next_connection_is_thrown_away() {
    let kept = std::sync::Mutex::new(None::<Vec<u8>>);
    let device = RtuDevice::on_tcp(move |asked| {
        let mut kept = kept.lock().unwrap();
        match kept.take() {
            // The old answer first, then the right one.
            Some(old) => Reply::Frame([old, numbered(asked)].concat()),
            None if asked.number % 4 == 1 => {
                *kept = Some(numbered(asked));
                Reply::Silent
            }
            None => Reply::Frame(numbered(asked)),
        }
    })
    .await;
    let mut stage = Stage::start(
        &format!("[d]\naddress = \"{}\"\nperiod = \"200ms\"\ntimeout = \"40ms\"\nretries = 0", device.address),
        "[[point]]\ndevice = \"d\"\nregister = 40001",
    );
    let mut good = 0;
    for _ in 0..12 {
        let sample = stage.next_poll(1).await[0];
        assert!(!sample.quality.usable() || sample.value as u64 % 4 != 1, "{sample:?}");
        good += u32::from(sample.quality.usable());
    }
    assert!(good >= 3 && device.connections() >= 3, "{good}, {}", device.connections());
    assert!(stage.account.get(Fate::WrongAnswer) >= 2);
}

/// The adapter is pulled out and plugged in again.
#[tokio::test]
async fn a_line_that_is_not_there_is_named_and_tried_again() {
    let mut stage = Stage::start(
        "[a]\naddress = \"serial:/dev/ttyDAVY7\"\nunit = 1\nperiod = \"300ms\"\n\
         [b]\naddress = \"serial:/dev/ttyDAVY7\"\nunit = 2\nperiod = \"300ms\"",
        "[[point]]\ndevice = \"a\"\nregister = 40001\n[[point]]\ndevice = \"b\"\nregister = 40001",
    );
    stage.until(|stage| !stage.conditions.is_empty()).await;
    let condition = &stage.conditions[0];
    assert_eq!((condition.subject.as_str(), condition.holds), ("modbus.serial:/dev/ttyDAVY7", true));
    assert!(condition.detail.contains("2 devices: a, b; cannot connect"), "{}", condition.detail);
    assert!(stage.devices.list().iter().all(|state| state.link == Link::BackingOff));
}

/// The first of six devices on a line answers after its time, every time. Had the next one been asked at
/// once, the two answers would have met on the line.
#[tokio::test]
async fn a_late_answer_is_over_before_a_neighbour_is_asked() {
    for serial in [true, false] {
        let behaviour =
            |asked: &Asked| Reply::Late(ms(if asked.unit == 1 { 300 } else { 120 }), rtu(asked.unit, &pdu(asked)));
        let device = if serial { RtuDevice::on_a_serial_line(behaviour) } else { RtuDevice::on_tcp(behaviour).await };
        let unit = |n| {
            format!(
                "[u{n}]\naddress = \"{}\"\nunit = {n}\nperiod = \"1600ms\"\ntimeout = \"200ms\"\nretries = 0\n",
                device.address
            )
        };
        let points: String = (1..=6).map(|n| format!("[[point]]\ndevice = \"u{n}\"\nregister = 40011\n")).collect();
        let mut stage = Stage::start(&(1..=6).map(unit).collect::<String>(), &points);
        let states = stage.devices_when(|states| states[1..].iter().all(|state| state.polls >= 3)).await;
        assert_eq!((states[0].last_answer, stage.account.get(Fate::WrongAnswer)), (None, 0), "{}", device.address);
        let asked = device.asked();
        let first = asked.iter().position(|asked| asked.unit == 1).unwrap();
        let free = asked[first + 1].at - asked[first].at;
        assert!(free >= ms(360), "the next was asked after {free:?}, within twice the time-out");
    }
}
