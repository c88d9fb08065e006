//! Devices behind modems that call Davy.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::device::{Asked, Reply, frame, pdu, values};
use super::rtu_device::{RtuDevice, rtu};
use super::stage::Stage;
use super::{Link, ms};
use crate::ledger::Fate;
use crate::model::Quality;

/// A port on which Davy can listen; somebody else may take it first, though nobody here does.
async fn free() -> std::net::SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Connects as soon as somebody listens.
async fn call(at: std::net::SocketAddr) -> TcpStream {
    for _ in 0..500 {
        if let Ok(stream) = TcpStream::connect(at).await {
            stream.set_nodelay(true).unwrap();
            return stream;
        }
        tokio::time::sleep(ms(10)).await;
    }
    panic!("nobody listens on {at}");
}

fn with_beat(asked: &Asked) -> Reply {
    let frame = rtu(asked.unit, &pdu(asked));
    Reply::Frame(match asked.number % 3 {
        0 => [&[0xFE, 0xFE][..], &frame].concat(),
        1 => [&frame[..], &[0xFE, 0xFE]].concat(),
        _ => frame,
    })
}

#[tokio::test]
async fn a_modem_names_itself_and_its_devices_are_read_through_its_heartbeats() {
    let port = free().await;
    let device = |name: &str, unit: u8, registration: &str| {
        format!(
            "[{name}]\naddress = \"dial-in:{port}\"\nregistration = \"{registration}\"\nheartbeat = \"hex:FE FE\"\n\
             unit = {unit}\nperiod = \"200ms\"\ntimeout = \"60ms\"\n"
        )
    };
    let devices = [device("pump-1", 1, "1391"), device("pump-2", 2, "1391"), device("far", 1, "hex:0102AB")].concat();
    let points: String =
        ["pump-1", "pump-2", "far"].map(|name| format!("[[point]]\ndevice = \"{name}\"\nregister = 40018\n")).concat();
    let mut stage = Stage::start(&devices, &points);

    // Strangers, and one who says nothing to the end of his name, are not let in.
    let mut stranger = call(port).await;
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(stranger.read(&mut [0; 9]).await.unwrap_or(0), 0, "closed without a word");
    let mut cut_off = call(port).await;
    cut_off.write_all(b"13").await.unwrap();
    drop(cut_off);

    let mut modem = call(port).await;
    // The name comes in two packets, and a heartbeat right behind it.
    modem.write_all(b"139").await.unwrap();
    modem.flush().await.unwrap();
    tokio::time::sleep(ms(30)).await;
    modem.write_all(b"1\xFE\xFE").await.unwrap();
    let first = RtuDevice::on(modem, with_beat);
    let states = stage
        .devices_when(|states| {
            states.iter().filter(|state| state.polls > 6 && state.link == Link::Connected).count() == 2
        })
        .await;
    let far = states.iter().find(|state| state.device == "far").unwrap();
    assert_eq!(far.last_error.as_deref(), Some("the modem has not called"));
    assert!(first.asked().iter().any(|asked| asked.unit == 2));
    let good: Vec<_> = stage.seen.iter().filter(|sample| sample.quality.usable()).collect();
    assert!(good.len() > 8 && good.iter().all(|sample| (sample.value, sample.quality) == (17.0, Quality::GOOD)));
    assert_eq!(stage.account.get(Fate::Refused), 1);
    assert_eq!(stage.account.get(Fate::WrongAnswer), 0, "heartbeats are no trouble");

    // It lost its connection without a sign and calls anew: the new one counts.
    first.becomes(|_| Reply::Silent);
    let mut again = call(port).await;
    again.write_all(b"1391").await.unwrap();
    let second = RtuDevice::on(again, with_beat);
    stage.until(|_| second.asked().len() > 6).await;
    let before = stage.seen.len();
    stage.until(|stage| stage.seen[before..].iter().filter(|sample| sample.quality.usable()).count() >= 4).await;
}

#[tokio::test]
async fn a_modem_may_carry_modbus_tcp() {
    let port = free().await;
    let mut stage = Stage::start(
        &format!(
            "[d]\naddress = \"dial-in:{port}\"\nregistration = \"DTU-7\"\nheartbeat = \"ping\"\nframes = \"tcp\"\n\
             unit = 0\nperiod = \"50ms\"\ntimeout = \"500ms\""
        ),
        "[[point]]\ndevice = \"d\"\nregister = 40018",
    );
    let mut modem = call(port).await;
    modem.write_all(b"DTU-7").await.unwrap();
    let device = tokio::spawn(async move {
        for number in 0.. {
            let mut request = [0; 12];
            if modem.read_exact(&mut request).await.is_err() {
                break;
            }
            let word = |at: usize| u16::from_be_bytes([request[at], request[at + 1]]);
            let (transaction, unit, function, address, count) = (word(0), request[6], request[7], word(8), word(10));
            let asked = Asked { number, at: ms(0), transaction, unit, function, address, count };
            assert_eq!(frame(transaction, unit, &pdu(&asked)), values(&asked));
            if modem.write_all(&[b"ping", &values(&asked)[..], b"DTU-7"].concat()).await.is_err() {
                break;
            }
        }
    });
    stage.until(|stage| stage.seen.iter().filter(|sample| sample.quality.usable()).count() >= 10).await;
    assert!(stage.seen.iter().all(|sample| !sample.quality.usable() || sample.value == 17.0));
    assert_eq!(stage.account.get(Fate::WrongAnswer), 0);
    device.abort();
}
