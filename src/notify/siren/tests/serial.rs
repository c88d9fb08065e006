//! The same relay at the far end of a pseudo terminal, and behind a serial server: RTU frames.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_serial::{SerialPort, SerialStream};

use super::*;
use crate::config::{Key, Problems};
use crate::source::modbus::checksum;

fn framed(body: &[u8]) -> Vec<u8> {
    [body, &checksum(body).to_le_bytes()].concat()
}

impl Relay {
    /// Answers as unit 7, and says nothing to others; every `late`-th answer comes after 300 ms.
    async fn speak<S: AsyncRead + AsyncWrite + Unpin>(self, mut stream: S, late: Option<usize>) {
        let mut asked = 0;
        loop {
            let mut request = [0; 8];
            if stream.read_exact(&mut request).await.is_err() {
                return;
            }
            assert_eq!(checksum(&request), 0, "{request:02X?} is no RTU request");
            if request[0] != 7 {
                continue;
            }
            asked += 1;
            let address = u16::from_be_bytes([request[2], request[3]]);
            let answer = match request[1] {
                5 => {
                    let on = request[4] == 0xFF;
                    self.written.lock().unwrap().push((address, on));
                    if !*self.stuck.lock().unwrap() {
                        *self.coil.lock().unwrap() = on;
                    }
                    request.to_vec()
                }
                1 => framed(&[7, 1, 1, u8::from(*self.coil.lock().unwrap())]),
                2 => {
                    let sounds = *self.coil.lock().unwrap() && !*self.horn_broken.lock().unwrap();
                    framed(&[7, 2, 1, u8::from(sounds)])
                }
                function => framed(&[7, function | 0x80, 1]),
            };
            if late.is_some_and(|late| asked % late == 0) {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            stream.write_all(&answer).await.unwrap();
        }
    }

    /// The address, and what keeps the line from hanging up while nobody has it open.
    fn on_a_serial_line(&self, late: Option<usize>) -> (String, std::fs::File) {
        let (far, mut near) = SerialStream::pair().unwrap();
        near.set_exclusive(false).unwrap();
        let path = near.name().unwrap();
        let line = std::fs::File::open(&path).unwrap();
        drop(near);
        tokio::spawn(self.clone().speak(far, late));
        (format!("serial:{path}"), line)
    }

    async fn behind_a_serial_server(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("rtu+tcp://{}", listener.local_addr().unwrap());
        let relay = self.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(relay.clone().speak(stream, None));
            }
        });
        address
    }
}

fn on(address: &str, more: &str) -> super::super::super::Config {
    checked(&format!(
        "log.enabled = false\nmqtt.enabled = false\n[siren.pithead]\naddress = \"{address}\"\nunit = 7\ncoil = 3\n\
         settle = \"0s\"\nrepeat = \"100ms\"\ntimeout = \"500ms\"\nfrom_priority = \"P2\"\n{more}"
    ))
    .unwrap()
}

#[tokio::test]
async fn a_siren_on_a_serial_line_and_behind_a_serial_server_is_switched_and_read_back() {
    for serial in [true, false] {
        let relay = Relay::default();
        let (address, _line) = if serial {
            let (address, line) = relay.on_a_serial_line(None);
            (address, Some(line))
        } else {
            (relay.behind_a_serial_server().await, None)
        };
        let office = Played::with(vec![to_channel("siren", "pithead", 1, "face", Priority::P1)]);
        office.open(vec![alarm("face", Priority::P1)]);
        let more = if serial { "baud = 19200\nparity = \"even\"" } else { "" };
        let running = Running::start(&on(&address, more), &office, nobody());
        let receipts = office.receipts(|receipts| !receipts.is_empty()).await;
        assert_eq!((receipts[0].outcome, receipts[0].detail.as_str()), (Outcome::Delivered, "on, read back"));
        relay.is(true).await;
        office.open(Vec::new());
        relay.is(false).await;
        running.ends().await;
        assert!(relay.written.lock().unwrap().iter().all(|(address, _)| *address == 3), "nothing else is written");
    }
}

#[tokio::test]
async fn a_stuck_relay_on_a_serial_line_is_a_failure_and_an_alarm_until_it_moves() {
    let relay = Relay::default();
    *relay.stuck.lock().unwrap() = true;
    let (address, _line) = relay.on_a_serial_line(None);
    let office = Played::with(vec![to_channel("siren", "pithead", 1, "face", Priority::P1)]);
    office.open(vec![alarm("face", Priority::P1)]);
    let running = Running::start(&on(&address, ""), &office, nobody());
    let receipts = office.receipts(|receipts| !receipts.is_empty()).await;
    assert_eq!(receipts[0].outcome, Outcome::Failed);
    assert!(receipts[0].detail.contains("switched on, but it reads off back"), "{}", receipts[0].detail);
    assert!(office.conditions().contains(&("davy-siren-failing".to_owned(), "pithead".to_owned(), true)));
    *relay.stuck.lock().unwrap() = false;
    office.receipts(|receipts| receipts.iter().any(|receipt| receipt.outcome == Outcome::Delivered)).await;
    running.ends().await;
}

/// Every fifth answer comes after its time: it never stands for what the output reads later.
#[tokio::test]
async fn a_late_answer_is_never_taken_for_what_the_siren_reads_now() {
    let relay = Relay::default();
    let (address, _line) = relay.on_a_serial_line(Some(5));
    let config = on(&address, "").named.remove(0);
    let super::super::super::Way::Siren(mut config) = config.way else { panic!("{config:?}") };
    config.timeout = Duration::from_millis(200);
    let line = Lines::default().of(&config);
    let mut told = Vec::new();
    for round in 0..6 {
        let wanted = round % 2 == 0;
        *relay.stuck.lock().unwrap() = round == 3;
        let word = if wanted { "on, read back" } else { "off, read back" };
        if let Ok(said) = line.switch(&config, wanted).await {
            assert_eq!(said, word);
            assert_eq!(*relay.coil.lock().unwrap(), wanted, "round {round}: {said}");
            told.push(round);
        }
    }
    assert!(told.len() >= 2 && !told.contains(&3), "a stuck relay is not taken for one that moved: {told:?}");
}

#[tokio::test]
async fn two_sirens_on_one_line_wait_for_each_other() {
    let relay = Relay::default();
    let (address, _line) = relay.on_a_serial_line(None);
    let office = Played::with(Vec::new());
    office.open(vec![alarm("face", Priority::P1)]);
    let second =
        format!("[siren.shaft]\naddress = \"{address}\"\nunit = 7\ncoil = 5\nsettle = \"0s\"\nrepeat = \"100ms\"\n");
    let running = Running::start(&on(&address, &second), &office, nobody());
    let watch = crate::clock::Stopwatch::start();
    let both = || [3, 5].iter().all(|coil| relay.written.lock().unwrap().contains(&(*coil, true)));
    while !both() {
        assert!(watch.elapsed() < Duration::from_secs(20), "{:?}", relay.written.lock().unwrap());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running.ends().await;
    let failing = office.conditions().into_iter().find(|(rule, _, holds)| rule == "davy-siren-failing" && *holds);
    assert_eq!(failing, None, "neither found the line locked");
}

#[test]
fn a_line_that_is_polled_or_spoken_to_in_two_ways_is_refused() {
    let told = |sirens: &str, devices: &[(&str, &str)]| {
        let config = checked(sirens).unwrap();
        let mut problems = Problems::in_file("davy.toml");
        let parsed: Vec<_> = devices.iter().map(|(name, address)| (*name, polled(address))).collect();
        let devices: Vec<_> = parsed.iter().map(|(name, address)| (*name, address)).collect();
        config.check_sirens(&devices, &mut problems);
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let siren = |name: &str, rest: &str| format!("[siren.{name}]\ncoil = 0\naddress = {rest}\n");
    let serial = siren("a", "\"serial:/dev/ttyUSB0\"");
    let clash = told(&serial, &[("gas", "serial:/dev/ttyUSB0")]);
    assert!(clash.contains("notify.siren.a.address: serial:/dev/ttyUSB0 is polled for source.modbus.gas"), "{clash}");
    assert_eq!(told(&serial, &[("gas", "serial:/dev/ttyUSB1"), ("h2s", "10.0.4.7:502")]), "");
    assert_eq!(told(&siren("a", "\"10.0.4.7:502\""), &[("h2s", "10.0.4.7:502")]), "", "TCP keeps answers apart");
    let server = siren("a", "\"rtu+tcp://10.0.4.9:4001\"");
    assert!(told(&server, &[("gas", "rtu+tcp://10.0.4.9:4001")]).contains("a line has one master"));
    let pair = |more: &str| format!("{serial}{}{more}", siren("b", "\"serial:/dev/ttyUSB0\"\nunit = 2"));
    assert_eq!(told(&pair(""), &[]), "");
    assert!(
        told(&pair("baud = 19200"), &[])
            .contains("notify.siren.b.address: serial:/dev/ttyUSB0 is the line of notify.siren.a")
    );
    for (address, key) in [
        ("\"dial-in:0.0.0.0:4196\"", "notify.siren.a.address: a siren does not wait for a modem"),
        ("\"10.0.4.7\"", "notify.siren.a.address"),
        ("\"10.0.4.7:502\"\nbaud = 9600", "notify.siren.a.baud: only for address = \"serial:"),
        ("\"serial:/dev/ttyUSB0\"\nparity = \"odds\"", "notify.siren.a.parity"),
    ] {
        let told = checked(&siren("a", address)).unwrap_err().join("\n");
        assert!(told.contains(key), "{told}");
    }
}

/// A polled device's address, as its configuration has it.
fn polled(address: &str) -> crate::source::modbus::Address {
    let mut problems = Problems::in_file("davy.toml");
    let raw: Option<crate::source::modbus::RawDevice> =
        problems.read(&Key::of("d"), toml::from_str(&format!("address = \"{address}\"")).unwrap());
    raw.unwrap().check("d", &Key::of("d"), &mut problems).unwrap().address
}
