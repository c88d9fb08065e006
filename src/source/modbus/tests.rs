//! The poller against devices on real sockets, most of them ill.

mod callers;
mod device;
mod fleet;
mod lines;
mod peers;
mod rtu_device;
mod stage;

use std::time::Duration;

use self::device::{FakeDevice, Reply, frame, values};
use self::stage::Stage;
use super::Link;
use crate::ledger::Fate;
use crate::model::{Quality, Reason};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[tokio::test]
async fn all_four_tables_are_read_with_their_status() {
    let device = FakeDevice::start(|_| Reply::Values).await;
    let mut stage = Stage::start(
        &format!("[gas]\naddress = \"{}\"\nunit = 7\nperiod = \"30ms\"\ntimeout = \"500ms\"", device.address),
        r#"
        [[point]] # registers hold their own address
        device = "gas"
        register = 40236
        scale = 0.1
        [[point]]
        device = "gas"
        register = 30018
        type = "int32"
        order = "CDAB"
        [[point]]
        device = "gas"
        register = 10004
        [[point]]
        device = "gas"
        register = "00005"
        [[point]]
        device = "gas"
        function = 3
        address = 5
        status = { register = 40009, bits = { "3" = "calibrating" }, fields = [{ mask = 0x7, values = { "0" = "good" }, otherwise = "line_break" }] }
        [[point]]
        device = "gas"
        function = 3
        address = 65
        invalid = [65]
        invalid_means = "line_break"
        "#,
    );
    let good = |value| (value, Quality::GOOD);
    let expected = [
        good(23.5),
        good(f64::from(18 << 16 | 17)),
        good(1.0),
        good(0.0),
        (5.0, Quality::because(Reason::Calibrating)),
        (0.0, Quality::because(Reason::LineBreak)),
    ];
    for poll in 0..3 {
        let samples = stage.next_poll(6).await;
        for (sample, expected) in samples.iter().zip(expected) {
            assert_eq!((sample.value, sample.quality), expected, "{} of poll {poll}", sample.point);
            assert_eq!(sample.source_time, sample.receive_time);
        }
    }
    let state = &stage.devices.list()[0];
    assert_eq!((state.link, state.points, state.reads, state.failed), (Link::Connected, 6, 6, 0));
    assert!(state.polls >= 3 && state.last_error.is_none() && state.last_answer.is_some());
    assert!(stage.account.get(Fate::BadValue) >= 3, "the invalid code is counted each time");
    let asked = device.asked();
    assert!(asked.iter().all(|asked| asked.unit == 7 && (1..=4).contains(&asked.function)), "{asked:?}");
    assert_eq!(device.connections(), 1);
}

/// The public comparison reads 30 registers of each device: that is one request, not 30.
#[tokio::test]
async fn thirty_registers_are_one_request() {
    let device = FakeDevice::start(|_| Reply::Values).await;
    let points: String = (1..=30).map(|n| format!("[[point]]\ndevice = \"d\"\nregister = {}\n", 40_100 + n)).collect();
    let mut stage = Stage::start(&format!("[d]\naddress = \"{}\"\nperiod = \"20ms\"", device.address), &points);
    for _ in 0..5 {
        let samples = stage.next_poll(30).await;
        let values: Vec<_> = samples.iter().map(|sample| sample.value).collect();
        assert_eq!(values, (100..130).map(f64::from).collect::<Vec<_>>());
    }
    let asked = device.asked();
    assert!(asked.iter().all(|asked| (asked.function, asked.address, asked.count) == (3, 100, 30)));
    let polls = stage.devices.list()[0].polls;
    assert!((5..=polls + 1).contains(&(asked.len() as u64)), "{} requests in {polls} polls", asked.len());
}

/// Every second request is answered after its time, with a value that looks as good as any. Had one such
/// answer ever been taken for the answer of a later request, its number would be among the values.
#[tokio::test]
async fn a_late_answer_is_never_taken_for_the_next_one() {
    let device = FakeDevice::start(|asked| {
        let number = u16::try_from(asked.number).unwrap();
        let answer = frame(asked.transaction, asked.unit, &[3, 2, (number >> 8) as u8, number as u8]);
        if number % 2 == 0 { Reply::Late(ms(90), answer) } else { Reply::Frame(answer) }
    })
    .await;
    let mut stage = Stage::start(
        &format!("[slow]\naddress = \"{}\"\nperiod = \"60ms\"\ntimeout = \"50ms\"\nretries = 0", device.address),
        "[[point]]\ndevice = \"slow\"\nregister = 40001",
    );
    let (mut good, mut missing) = (0, 0);
    while good < 12 {
        let sample = stage.next_poll(1).await[0];
        if sample.quality.usable() {
            assert_eq!(sample.value as u64 % 2, 1, "a late answer was taken for a value");
            good += 1;
        } else {
            assert_eq!(sample.quality, Quality::because(Reason::NotPolled));
            missing += 1;
        }
    }
    assert!(missing >= 11, "{missing}");
    assert!(stage.account.get(Fate::TimedOut) >= 11);
    // Each time-out cost the connection, that is why.
    assert!(device.connections() >= 11, "{}", device.connections());
}

/// All the ways to answer wrongly. None may give a value, each is counted by its kind, the points turn bad
/// at once, and the device is well again as soon as it answers rightly.
#[tokio::test]
async fn wrong_answers_are_no_values() {
    type Ill = fn(&device::Asked) -> Reply;
    let all: [(&str, Ill, Fate); 14] = [
        ("silent", |_| Reply::Silent, Fate::TimedOut),
        ("closes", |_| Reply::Close, Fate::Disconnected),
        ("exception 02", |a| Reply::Frame(frame(a.transaction, a.unit, &[0x83, 2])), Fate::Exception),
        ("exception 04", |a| Reply::Frame(frame(a.transaction, a.unit, &[0x83, 4])), Fate::Exception),
        ("unknown exception", |a| Reply::Frame(frame(a.transaction, a.unit, &[0x83, 0xEE])), Fate::Exception),
        (
            "exception of another function",
            |a| Reply::Frame(frame(a.transaction, a.unit, &[0x84, 2])),
            Fate::WrongAnswer,
        ),
        ("short", |a| Reply::Frame(frame(a.transaction, a.unit, &[3, 2, 0, 1])), Fate::WrongAnswer),
        ("long", |a| Reply::Frame(frame(a.transaction, a.unit, &[3, 6, 0, 1, 0, 2, 0, 3])), Fate::WrongAnswer),
        ("odd bytes", |a| Reply::Frame(frame(a.transaction, a.unit, &[3, 3, 0, 1, 0])), Fate::WrongAnswer),
        ("cut off", |a| Reply::Frame(frame(a.transaction, a.unit, &[3, 4, 0, 1, 0])), Fate::WrongAnswer),
        ("wrong unit", |a| Reply::Frame(frame(a.transaction, a.unit + 1, &[3, 4, 0, 1, 0, 2])), Fate::WrongAnswer),
        (
            "wrong transaction",
            |a| Reply::Frame(frame(a.transaction + 1, a.unit, &[3, 4, 0, 1, 0, 2])),
            Fate::WrongAnswer,
        ),
        ("wrong function", |a| Reply::Frame(frame(a.transaction, a.unit, &[4, 4, 0, 1, 0, 2])), Fate::WrongAnswer),
        ("not Modbus", |_| Reply::Frame(b"HTTP/1.1 400 Bad Request\r\n\r\n".repeat(3_000)), Fate::WrongAnswer),
    ];
    for (name, ill, fate) in all {
        let device = FakeDevice::start(|_| Reply::Values).await;
        let mut stage = Stage::start(
            &format!("[d]\naddress = \"{}\"\nperiod = \"40ms\"\ntimeout = \"30ms\"\nretries = 0", device.address),
            "[[point]]\ndevice = \"d\"\nregister = 40018\n[[point]]\ndevice = \"d\"\nregister = 40019",
        );
        let well = |samples: &[crate::model::Sample]| {
            assert_eq!((samples[0].value, samples[1].value), (17.0, 18.0), "{name}");
            samples.iter().all(|sample| sample.quality == Quality::GOOD)
        };
        assert!(well(&stage.next_poll(2).await), "{name}");
        device.becomes(ill);
        // At most one poll was under way when the device fell ill.
        let mut bad = stage.next_poll(2).await;
        if bad[0].quality.usable() && bad[0].value == 17.0 {
            bad = stage.next_poll(2).await;
        }
        for sample in bad {
            assert_eq!((sample.value, sample.quality), (0.0, Quality::because(Reason::NotPolled)), "{name}");
        }
        assert!(stage.account.get(fate) >= 1, "{name}: {:?}", stage.account.seen().collect::<Vec<_>>());
        let state = stage.devices_when(|states| states[0].failed > 0).await.remove(0);
        assert!(state.last_error.is_some(), "{name}");
        device.becomes(|_| Reply::Values);
        let mut tries = 0;
        loop {
            let samples = stage.next_poll(2).await;
            if samples[0].quality.usable() && well(&samples) {
                break;
            }
            tries += 1;
            assert!(tries < 40, "{name}: does not come back");
        }
        assert!(device.asked().iter().all(|asked| (1..=4).contains(&asked.function)));
    }
}

/// Bytes of chance, often behind a header that fits, must neither give values nor break the poller.
#[tokio::test]
async fn garbage_never_breaks_the_poller() {
    let device = FakeDevice::start(|asked| {
        let mut state = asked.number as u64 ^ 0x9E37_79B9_7F4A_7C15;
        let mut noise = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u8
        };
        let pdu: Vec<u8> = (0..noise() % 40).map(|_| noise()).collect();
        match asked.number % 3 {
            0 => Reply::Frame(pdu),
            1 => Reply::Frame(frame(asked.transaction, asked.unit, &pdu)),
            _ => Reply::Frame(frame(
                asked.transaction,
                asked.unit,
                &[&[[1, 2, 4, 0x11, 0x2B, 0x83, 0xFF][asked.number % 7]][..], &pdu].concat(),
            )),
        }
    })
    .await;
    let devices: String = (0..20)
        .map(|n| {
            format!("[d{n}]\naddress = \"{}\"\nunit = {n}\nperiod = \"20ms\"\ntimeout = \"10ms\"\n", device.address)
        })
        .collect();
    let points: String = (0..20).map(|n| format!("[[point]]\ndevice = \"d{n}\"\nregister = 40001\n")).collect();
    let mut stage = Stage::start(&devices, &points);
    while device.asked().len() < 200 {
        let sample = stage.next_poll(1).await[0];
        assert_eq!(sample.quality, Quality::because(Reason::NotPolled));
    }
    assert!(stage.account.get(Fate::WrongAnswer) > 50, "{:?}", stage.account.seen().collect::<Vec<_>>());
}

#[tokio::test]
async fn an_exception_of_one_unit_leaves_the_others_and_the_connection_alone() {
    let device = FakeDevice::start(|asked| match asked.unit {
        2 => Reply::Frame(frame(asked.transaction, 2, &[0x83, 4])),
        _ => Reply::Values,
    })
    .await;
    let unit = |n| format!("[u{n}]\naddress = \"{}\"\nunit = {n}\nperiod = \"30ms\"\n", device.address);
    let point = |n| format!("[[point]]\ndevice = \"u{n}\"\nregister = 40010\n");
    let mut stage = Stage::start(&[unit(1), unit(2), unit(3)].concat(), &[point(1), point(2), point(3)].concat());
    stage.devices_when(|states| states[0].polls >= 15 && states[2].polls >= 15).await;
    let states = stage.devices.list();
    assert_eq!([states[0].failed, states[2].failed], [0, 0]);
    assert_eq!([states[0].link, states[1].link, states[2].link], [Link::Connected, Link::BackingOff, Link::Connected]);
    assert!(states[1].last_error.as_deref().unwrap().contains("exception 04"), "{:?}", states[1].last_error);
    assert!(states[1].polls <= 6, "asked less and less often, not {} times", states[1].polls);
    assert!(stage.account.get(Fate::Exception) >= 2);
    assert_eq!(device.connections(), 1);
    assert!(stage.seen.iter().all(|sample| sample.quality.usable() == (sample.point.0 != 1)));
}

/// The gateway's own exception says that the unit is not there: its other reads are spared.
#[tokio::test]
async fn a_unit_that_its_gateway_cannot_reach_costs_one_request_a_poll() {
    let gateway = FakeDevice::start(|asked| match asked.unit {
        9 => Reply::Frame(frame(asked.transaction, 9, &[0x83, 0x0B])),
        _ => Reply::Values,
    })
    .await;
    let unit = |n| format!("[u{n}]\naddress = \"{}\"\nunit = {n}\nperiod = \"40ms\"\n", gateway.address);
    let points = |n| {
        let point = |register| format!("[[point]]\ndevice = \"u{n}\"\nregister = {register}\n");
        [40_001, 40_301, 40_601].map(point).concat()
    };
    let mut stage = Stage::start(&[unit(1), unit(9)].concat(), &[points(1), points(9)].concat());
    let states = stage.devices_when(|states| states[1].polls >= 3).await;
    let asked = gateway.asked().iter().filter(|asked| asked.unit == 9).count() as u64;
    assert!((states[1].polls..=states[1].polls + 1).contains(&asked), "{asked} requests in {} polls", states[1].polls);
    assert!(states[1].last_error.as_deref().unwrap().contains("exception 0B"), "{:?}", states[1].last_error);
    assert_eq!((states[0].link, states[0].failed, gateway.connections()), (Link::Connected, 0, 1));
}

/// Two devices with their own connections and one dead behind each kind of death; and a silent unit on a
/// shared line, which may cost its neighbour no more than the slots of its own time-outs.
#[tokio::test]
async fn the_dead_do_not_delay_the_living() {
    let living = FakeDevice::start(|_| Reply::Values).await;
    let silent = FakeDevice::start(|_| Reply::Silent).await;
    let refused = FakeDevice::nobody().await;
    let shared = FakeDevice::start(|asked| if asked.unit == 9 { Reply::Silent } else { Reply::Values }).await;
    let entry = |name: &str, address, unit| {
        format!("[{name}]\naddress = \"{address}\"\nunit = {unit}\nperiod = \"50ms\"\ntimeout = \"300ms\"\n")
    };
    let devices = [
        entry("living", living.address, 1),
        entry("silent", silent.address, 1),
        entry("refused", refused, 1),
        entry("neighbour", shared.address, 1),
        entry("mute", shared.address, 9),
    ]
    .concat();
    let points: String = ["living", "silent", "refused", "neighbour", "mute"]
        .map(|name| format!("[[point]]\ndevice = \"{name}\"\nregister = 40002\n"))
        .concat();
    let mut stage = Stage::start(&devices, &points);
    let states = stage.devices_when(|states| states[0].polls >= 60).await;
    let of = |name: &str| states.iter().find(|state| state.device == name).unwrap().clone();
    assert_eq!((of("living").failed, of("living").missed), (0, 0));
    assert!(of("living").latest_start_ms < 45.0, "{}", of("living").latest_start_ms);
    assert_eq!(of("silent").link, Link::BackingOff);
    assert!((1..=8).contains(&of("silent").polls), "{:?}", of("silent"));
    assert!(of("refused").last_error.unwrap().contains("cannot connect"));
    // Each time-out of the mute unit takes six slots at most; it fails about five times in these 3 s.
    assert_eq!((of("neighbour").link, of("neighbour").failed), (Link::Connected, 0));
    assert!(of("mute").polls <= 7, "{:?}", of("mute"));
    assert!(of("neighbour").missed <= of("mute").polls * 6 + 1, "{:?}", of("neighbour"));
    assert!(of("neighbour").polls >= 20, "{:?}", of("neighbour"));
}

/// The device takes up to 25 ms for its answers: whoever slept a period after each would be a second late.
#[tokio::test]
async fn polls_keep_their_beat() {
    let device = FakeDevice::start(|asked| Reply::Late(ms(asked.number as u64 * 7 % 25), values(asked))).await;
    let mut stage = Stage::start(
        &format!("[d]\naddress = \"{}\"\nperiod = \"50ms\"", device.address),
        "[[point]]\ndevice = \"d\"\nregister = 40001",
    );
    stage.devices_when(|states| states[0].polls >= 80).await;
    let state = stage.devices.list().remove(0);
    let asked = device.asked();
    let begins: Vec<_> = asked.iter().map(|asked| asked.at).collect();
    let took = begins[begins.len() - 1] - begins[0];
    let slots = u32::try_from(begins.len() as u64 - 1 + state.missed).unwrap();
    assert!(took.abs_diff(slots * ms(50)) < ms(60), "{slots} slots took {took:?}");
}

/// A register that the device does not have, amid thirty that it has.
#[tokio::test]
async fn one_address_that_does_not_exist_costs_one_point() {
    let device = FakeDevice::start(|asked| {
        if (asked.address..asked.address + asked.count).contains(&12) {
            Reply::Frame(frame(asked.transaction, asked.unit, &[0x83, 2]))
        } else {
            Reply::Values
        }
    })
    .await;
    let points: String = (1..=30).map(|n| format!("[[point]]\ndevice = \"d\"\nregister = {}\n", 40_000 + n)).collect();
    let mut stage = Stage::start(&format!("[d]\naddress = \"{}\"\nperiod = \"40ms\"", device.address), &points);
    for _ in 0..3 {
        for (n, sample) in stage.next_poll(30).await.iter().enumerate() {
            if n == 12 {
                assert_eq!(sample.quality, Quality::because(Reason::NotPolled));
            } else {
                assert_eq!((sample.value, sample.quality), (n as f64, Quality::GOOD));
            }
        }
    }
    // Found out in the first poll; after that one request for each part.
    let state = stage.devices_when(|states| states[0].polls >= 3).await.remove(0);
    assert!((3..=7).contains(&state.reads), "{}", state.reads);
    assert!(device.asked().len() <= 12 + 5 * state.reads);
    assert_eq!(state.refused, ["function 3 address 12 count 1"]);
}

/// What was learnt of a device outlives its connections and a time in which it refuses everything.
#[tokio::test]
async fn addresses_that_a_device_refuses_stay_known() {
    let lacks_twelve = |asked: &device::Asked| {
        if (asked.address..asked.address + asked.count).contains(&12) {
            Reply::Frame(frame(asked.transaction, asked.unit, &[0x83, 2]))
        } else {
            Reply::Parting(values(asked))
        }
    };
    let device = FakeDevice::start(lacks_twelve).await;
    let points: String = (1..=30).map(|n| format!("[[point]]\ndevice = \"d\"\nregister = {}\n", 40_000 + n)).collect();
    let mut stage = Stage::start(&format!("[d]\naddress = \"{}\"\nperiod = \"40ms\"", device.address), &points);
    let learnt = stage.devices_when(|states| states[0].polls >= 4).await[0].reads;
    device.becomes(|asked| Reply::Frame(frame(asked.transaction, asked.unit, &[0x83, 2])));
    stage.devices_when(|states| states[0].link == Link::BackingOff).await;
    device.becomes(lacks_twelve);
    stage.devices_when(|states| states[0].link == Link::Connected).await;
    let before = device.asked().len();
    let polls = stage.devices.list()[0].polls;
    let state = stage.devices_when(|states| states[0].polls >= polls + 20).await.remove(0);
    assert_eq!(state.reads, learnt);
    // No merged read tries it again, and alone it is asked for less and less often.
    let tried: Vec<_> = (device.asked().into_iter().skip(before))
        .filter(|asked| (asked.address..asked.address + asked.count).contains(&12))
        .collect();
    assert!(tried.len() <= 8 && tried.iter().all(|asked| asked.count == 1), "{tried:?}");
}

/// A gateway with thirty devices dies: that is one alarm, with the names of all behind it.
#[tokio::test]
async fn a_dead_gateway_is_one_alarm_for_all_behind_it() {
    let gateway = FakeDevice::start(|_| Reply::Values).await;
    let units: String = (1..=30)
        .map(|n| {
            format!("[u{n}]\naddress = \"{}\"\nunit = {n}\nperiod = \"500ms\"\ntimeout = \"20ms\"\n", gateway.address)
        })
        .collect();
    let points: String = (1..=30).map(|n| format!("[[point]]\ndevice = \"u{n}\"\nregister = 40001\n")).collect();
    let mut stage = Stage::start(&units, &points);
    stage.devices_when(|states| states.iter().all(|state| state.link == Link::Connected)).await;
    stage.until(|stage| stage.conditions.len() == 31).await;
    assert!(stage.conditions.iter().all(|condition| !condition.holds));
    gateway.becomes(|_| Reply::Silent);
    stage.until(|stage| stage.conditions.len() == 32).await;
    let dead = stage.conditions[31].clone();
    let subject = format!("modbus.{}", gateway.address);
    assert_eq!((dead.rule.as_str(), dead.subject.as_str(), dead.holds), ("davy-source-down", subject.as_str(), true));
    assert!((1..=30).all(|n| dead.detail.contains(&format!("u{n}"))), "{}", dead.detail);
    gateway.becomes(|asked| if asked.unit == 7 { Reply::Silent } else { Reply::Values });
    // The bus is back, and the one that is not is told by its own name.
    stage.until(|stage| stage.conditions.iter().skip(32).any(|condition| condition.holds)).await;
    let told: Vec<_> = stage.conditions[32..].iter().map(|told| (told.subject.as_str(), told.holds)).collect();
    assert_eq!(told, [(subject.as_str(), false), ("modbus.u7", true)]);
}

/// Some devices fall silent instead of refusing. The other reads of the device must go on.
#[tokio::test]
async fn an_address_at_which_the_device_falls_silent_hides_no_other() {
    let device = FakeDevice::start(|asked| if asked.address < 100 { Reply::Silent } else { Reply::Values }).await;
    let mut stage = Stage::start(
        &format!("[d]\naddress = \"{}\"\nperiod = \"40ms\"\ntimeout = \"30ms\"", device.address),
        "[[point]]\ndevice = \"d\"\nregister = 40001\n[[point]]\ndevice = \"d\"\nregister = 40301\n[[point]]\ndevice = \"d\"\nregister = 40601",
    );
    let mut both = 0;
    for _ in 0..30 {
        let samples = stage.next_poll(3).await;
        assert_eq!(samples[0].quality, Quality::because(Reason::NotPolled));
        both += u32::from(samples[1].value == 300.0 && samples[2].value == 600.0);
    }
    assert!(both >= 25, "{both} of 30 polls brought the other two");
    let states = stage.devices.list();
    assert_eq!(states[0].link, Link::Connected);
    assert!(states[0].last_error.as_deref().unwrap().contains("address 0"), "{:?}", states[0].last_error);
}

/// A device that closes after each answer, as cheap ones do, is asked again on a new connection at once.
#[tokio::test]
async fn a_device_that_hangs_up_after_each_answer_gives_every_value() {
    let device = FakeDevice::start(|asked| Reply::Parting(values(asked))).await;
    let mut stage = Stage::start(
        &format!("[d]\naddress = \"{}\"\nperiod = \"40ms\"", device.address),
        "[[point]]\ndevice = \"d\"\nregister = 40006",
    );
    for _ in 0..10 {
        assert_eq!(stage.next_poll(1).await[0].value, 5.0);
    }
    assert!(device.connections() >= 10);
    // A new connection does not begin to count anew, so that an answer kept back fits nothing.
    let numbers: Vec<_> = device.asked().iter().map(|asked| asked.transaction).collect();
    assert!(numbers.windows(2).all(|pair| (1..=9).contains(&pair[1].wrapping_sub(pair[0]))), "{numbers:?}");
}

#[tokio::test]
async fn a_device_that_stays_away_is_an_alarm_until_it_is_back() {
    let device = FakeDevice::start(|_| Reply::Values).await;
    let mut stage = Stage::start(
        &format!("[pump]\naddress = \"{}\"\nperiod = \"100ms\"\ntimeout = \"50ms\"", device.address),
        "[[point]]\ndevice = \"pump\"\nregister = 40006",
    );
    // What an earlier run of the gateway may have left open is ended by the first answer.
    stage.until(|stage| !stage.conditions.is_empty()).await;
    assert!(!stage.conditions[0].holds);
    device.becomes(|_| Reply::Close);
    stage.until(|stage| stage.conditions.len() == 2).await;
    let away = stage.conditions[1].clone();
    assert_eq!((away.rule.as_str(), away.subject.as_str(), away.holds), ("davy-source-down", "modbus.pump", true));
    assert!(away.detail.contains(&device.address.to_string()), "{}", away.detail);
    device.becomes(|_| Reply::Values);
    stage.until(|stage| stage.conditions.len() == 3).await;
    assert!(!stage.conditions[2].holds);
    // While it was away every slot said so.
    assert!(stage.seen.iter().filter(|sample| sample.quality.has(Reason::NotPolled)).count() >= 25);
}

/// The journal's queue is full for a while: the poller waits, counts what it missed, and does not pile up.
#[tokio::test]
async fn a_full_queue_is_waited_for_and_counted() {
    let device = FakeDevice::start(|_| Reply::Values).await;
    let mut stage = Stage::start(
        &format!("[d]\naddress = \"{}\"\nperiod = \"20ms\"", device.address),
        "[[point]]\ndevice = \"d\"\nregister = 40006",
    );
    stage.next_poll(1).await;
    // Nobody takes anything out until the poller has filled the queue and stands still.
    stage.idle_until(|| device.asked().len() > stage::QUEUE).await;
    let stuck = device.asked().len();
    tokio::time::sleep(ms(200)).await;
    assert!(device.asked().len() <= stuck + 1);
    let states = stage.devices_when(|states| states[0].missed >= 8).await;
    assert!(states[0].missed < 100);
}
