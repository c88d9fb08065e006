//! A modem played on a pseudo terminal: what it is told, and what becomes of its troubles.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_serial::{SerialPort, SerialStream};

use super::super::tests::{Played, Running, checked, nobody, to_channel};
use super::*;
use crate::alarm::Priority;
use crate::journal::Outcome;

/// Answers a command, or a PDU after its prompt.
type Answers = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

struct FakeModem {
    device: String,
    told: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
    /// Held open, or the far end would hang up when the line is opened anew.
    _line: std::fs::File,
}

impl Drop for FakeModem {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeModem {
    /// `odd` answers what is not as on a good day; None leaves it to the good day, an empty text says nothing.
    fn start(odd: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        let (far, mut near) = SerialStream::pair().unwrap();
        near.set_exclusive(false).unwrap();
        let device = near.name().unwrap();
        let line = std::fs::File::open(&device).unwrap();
        drop(near);
        let told = Arc::<Mutex<Vec<String>>>::default();
        let task = tokio::spawn(serve(far, Arc::new(odd), told.clone()));
        Self { device, told, task, _line: line }
    }

    /// PDUs that were handed over.
    fn pdus(&self) -> Vec<String> {
        self.told.lock().unwrap().iter().filter(|line| line.starts_with("00")).cloned().collect()
    }

    fn config(&self, more: &str) -> super::super::Config {
        checked(&format!(
            "log.enabled = false\nmqtt.enabled = false\n[gsm.captain]\ndevice = {:?}\nnumber = \"110\"\n\
             timeout = \"2s\"\ncall = \"119\"\n{more}",
            self.device
        ))
        .unwrap()
    }
}

async fn serve(mut line: SerialStream, odd: Answers, told: Arc<Mutex<Vec<String>>>) {
    let (mut text, mut reference) = (String::new(), 16);
    loop {
        let mut byte = [0];
        if line.read_exact(&mut byte).await.is_err() {
            return;
        }
        let end = matches!(byte[0], b'\r' | 0x1a);
        if !end {
            text.push(char::from(byte[0]));
            continue;
        }
        let said = std::mem::take(&mut text).replace('\u{1b}', "");
        if said.is_empty() {
            continue;
        }
        told.lock().unwrap().push(said.clone());
        let good = match said.as_str() {
            "AT+CPIN?" => "\r\n+CPIN: READY\r\n\r\nOK\r\n".to_owned(),
            // Something that nobody asked for comes between.
            "AT+CREG?" => "\r\nRING\r\n\r\n+CREG: 0,5\r\n\r\nOK\r\n".to_owned(),
            "AT+CSQ" => "\r\n+CSQ: 18,99\r\n\r\nOK\r\n".to_owned(),
            said if said.starts_with("AT+CMGS=") => "\r\n> ".to_owned(),
            said if said.starts_with("00") => {
                reference += 1;
                format!("\r\n+CMGS: {reference}\r\n\r\nOK\r\n")
            }
            _ => "\r\nOK\r\n".to_owned(),
        };
        let answer = odd(&said).unwrap_or(good);
        line.write_all(answer.as_bytes()).await.unwrap();
    }
}

/// The text of PDUs to 110, read back by the table of 23.040.
fn text(pdus: &[String]) -> String {
    let units = |pdu: &String| -> Vec<u16> {
        let octets: Vec<u8> =
            (0..pdu.len() / 2).map(|at| u8::from_str_radix(&pdu[at * 2..at * 2 + 2], 16).unwrap()).collect();
        // Service centre, first octet, reference, four of the number, protocol, coding; then the length.
        assert_eq!(
            (octets[0], octets[2], &octets[3..7], &octets[7..9]),
            (0, 0, &[3, 0x81, 0x11, 0xF0][..], &[0, 8][..])
        );
        let data = &octets[10..];
        assert_eq!(usize::from(octets[9]), data.len());
        let header = if octets[1] & 0x40 == 0 { 0 } else { 6 };
        data[header..].chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
    };
    String::from_utf16(&pdus.iter().flat_map(units).collect::<Vec<_>>()).unwrap()
}

#[tokio::test]
async fn a_long_chinese_text_goes_in_parts_with_a_reference_of_each() {
    let modem = FakeModem::start(|_| None);
    let office = Played::with(vec![to_channel("gsm", "captain", 0x12A, "face", Priority::P1)]);
    let running = Running::start(&modem.config("parts = 4"), &office, nobody());
    let receipts = office.receipts(|receipts| !receipts.is_empty()).await;
    running.ends().await;
    assert_eq!(receipts[0].outcome, Outcome::Delivered, "{receipts:?}");
    assert_eq!(receipts[0].detail, "sent in 2, reference 17, 18, signal 18 of 31");
    let pdus = modem.pdus();
    assert!(pdus[0].contains("0500032A0201") && pdus[1].contains("0500032A0202"), "{pdus:?}");
    let text = text(&pdus);
    assert!(
        text.starts_with("停止作业，撤出人员，查明原因。采煤工作面瓦斯超限") && text.ends_with("电话 119"),
        "{text}"
    );
    let commands = modem.told.lock().unwrap().clone();
    assert!(["ATE0", "AT+CMGF=0"].iter().all(|wanted| commands.iter().any(|told| told == wanted)), "{commands:?}");
}

/// The second part is refused once: the next try sends that one only.
#[tokio::test]
async fn a_part_that_was_sent_is_not_sent_again() {
    let seconds = Arc::new(AtomicUsize::new(0));
    let count = seconds.clone();
    let modem = FakeModem::start(move |said| {
        let second = said.starts_with("00") && said.contains("0500032A0202");
        (second && count.fetch_add(1, Relaxed) == 0).then(|| "\r\n+CMS ERROR: 38\r\n".to_owned())
    });
    let office = Played::with(vec![to_channel("gsm", "captain", 0x12A, "face", Priority::P1)]);
    let running = Running::start(&modem.config(""), &office, nobody());
    let receipts = office.receipts(|receipts| receipts.len() >= 2).await;
    running.ends().await;
    assert_eq!(receipts[0].outcome, Outcome::Failed);
    assert_eq!(receipts[0].detail, "part 2 of 2: +CMS ERROR 38 (network out of order); sent before: 17");
    assert_eq!(receipts[1].outcome, Outcome::Delivered);
    let firsts = modem.pdus().iter().filter(|pdu| pdu.contains("0500032A0201")).count();
    assert_eq!((firsts, seconds.load(Relaxed)), (1, 2));
}

#[tokio::test]
async fn every_trouble_says_what_to_do_and_waits_but_a_wrong_number_is_given_up() {
    let cases: [(&'static str, &'static str, &str, Outcome); 8] = [
        ("AT+CPIN?", "\r\n+CME ERROR: 10\r\n", "no SIM card in the modem", Outcome::Failed),
        ("AT+CPIN?", "\r\n+CPIN: SIM PIN\r\n\r\nOK\r\n", "locked (SIM PIN)", Outcome::Failed),
        ("AT+CREG?", "\r\n+CREG: 0,2\r\n\r\nOK\r\n", "no network (it is searching)", Outcome::Failed),
        ("AT+CREG?", "\r\n+CREG: 0,3\r\n\r\nOK\r\n", "no network (it was refused)", Outcome::Failed),
        ("AT+CMGS=149", "\r\n+CMS ERROR: 310\r\n", "+CMS ERROR 310 (no SIM card)", Outcome::Failed),
        ("00", "\r\n+CMS ERROR: 1\r\n", "the number is not assigned", Outcome::GivenUp),
        ("00", "", "did not answer to the message in time", Outcome::Failed),
        ("AT", "", "does not answer to AT", Outcome::Failed),
    ];
    for (command, answer, told, outcome) in cases {
        let modem = FakeModem::start(move |said| {
            let meant = if command == "00" { said.starts_with(command) } else { said == command };
            meant.then(|| answer.to_owned())
        });
        let office = Played::with(vec![to_channel("gsm", "captain", 1, "face", Priority::P1)]);
        let running = Running::start(&modem.config(""), &office, nobody());
        let receipts = office.receipts(|receipts| !receipts.is_empty()).await;
        running.ends().await;
        assert!(receipts[0].detail.contains(told), "{}", receipts[0].detail);
        assert_eq!(receipts[0].outcome, outcome);
    }
}

#[tokio::test]
async fn a_modem_that_is_not_there_is_named_and_becomes_an_alarm() {
    let config = checked(
        "log.enabled = false\nmqtt.enabled = false\n[gsm.captain]\ndevice = \"/dev/no-modem\"\nnumber = \"110\"",
    );
    let office = Played::with(vec![to_channel("gsm", "captain", 1, "face", Priority::P1)]);
    let running = Running::start(&config.unwrap(), &office, nobody());
    let receipts = office.receipts(|receipts| receipts.len() >= 3).await;
    running.ends().await;
    assert!(receipts[0].detail.starts_with("modem /dev/no-modem cannot be opened: "), "{}", receipts[0].detail);
    assert!(office.conditions().contains(&("davy-notify-failing".into(), "gsm captain".into(), true)));
}
