//! An engineer with a new detector and its display: `davy modbus probe` names the registers, type and byte order
//! that give the reading, `davy modbus scan` the units of a line; when nothing answers, the message says why.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails where it stands")]

mod stage;

use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};

use davy_simulators::modbus::{Device, Gas, Misbehaviour, ModbusDevices, Order, SetPoints, gauge, midas, pt495};
use serde_json::Value;

use stage::{Site, until};

const ALARMS: SetPoints = SetPoints { first: 10.0, second: 20.0, rising: true };

async fn plant() -> ModbusDevices {
    ModbusDevices::start(vec![
        Device::new(1, midas(23, 40.0, 1, ALARMS)),
        Device::new(4, gauge(Order::Cdab, &[("level", "%", 0.0, 100.0), ("pressure", "kPa", 0.0, 400.0)])),
        Device::new(7, pt495(Gas::O2)),
        Device::new(9, gauge(Order::Dcba, &[("level", "%", 0.0, 100.0)])),
    ])
    .await
    .unwrap()
}

/// In a pipe, as a script would call it; the devices answer meanwhile.
async fn davy(arguments: &str) -> Output {
    let arguments: Vec<String> = arguments.split_whitespace().map(ToOwned::to_owned).collect();
    let run = move || Command::new(env!("CARGO_BIN_EXE_davy")).arg("modbus").args(arguments).output().unwrap();
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "nothing but results in a pipe");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_display_says_20_9_and_the_probe_says_how_to_read_it() {
    let plant = plant().await;
    let at = plant.address();
    plant.set(4, "level", 20.9).unwrap();
    plant.set(9, "level", 20.9).unwrap();
    plant.set(7, "gas", 20.9).unwrap();

    for (unit, order) in [(4, "CDAB"), (9, "DCBA")] {
        let text = out(&davy(&format!("probe {at} --unit {unit} --from 30001 --count 3 --expect 20.9")).await);
        let keys = format!("register = 30001, type = \"float32\", order = \"{order}\"  gives 20.9");
        assert!(text.contains(&keys), "{text}");
        assert!(text.contains("*20.9"), "it is marked in the table\n{text}");
    }
    let text = out(&davy(&format!("probe {at} --unit 7 --from 40001 --count 2 --expect 20.9")).await);
    assert!(text.contains("register = 40001, type = \"int16\", scale = 0.1  gives 20.9"), "{text}");

    let seen = davy(&format!("probe {at} --unit 4 --function 4 --from 0 --count 3 --expect 20.9 --json")).await;
    let seen: Value = serde_json::from_str(&out(&seen)).unwrap();
    assert_eq!(seen["fits"][0]["order"], "CDAB");
    assert_eq!(seen["fits"][0]["register"], "30001");
    assert_eq!(seen["registers"][0]["float32"]["CDAB"], 20.9);
    assert_eq!(seen["registers"][0]["word"], 0x3333);
    assert_eq!(seen["registers"][2]["uint16"]["ABCD"], 0.0);
    assert!(seen["registers"][2]["float32"].is_null(), "two registers from the last one are one too many");
    // Nothing was written, ever.
    assert_eq!(plant.traffic(4).unwrap().writes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_the_device_does_not_have_are_shown_as_such() {
    let plant = plant().await;
    plant.set(1, "gas", 5.5).unwrap();
    let text = out(&davy(&format!("probe {} --count 20 --expect 5.5", plant.address())).await);
    assert_eq!(text.matches("no such address").count(), 3, "a Midas has 17 registers\n{text}");
    assert!(text.contains("register = 40003, type = \"float32\"  gives 5.5"), "{text}");
    let text = out(&davy(&format!("probe {} --count 20 --expect 777", plant.address())).await);
    assert!(text.contains("Nothing here fits 777"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_nothing_answers_the_message_says_what_to_do() {
    let plant = plant().await;
    let at = plant.address();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = silent.local_addr().unwrap();
    plant.fault(9, Misbehaviour::WrongTransaction).unwrap();
    for (arguments, expected) in [
        ("probe 10.0.4.7:x:y".to_owned(), "\"10.0.4.7:x:y\" is not an address: write 10.0.4.7:502"),
        (format!("probe {nobody}"), "cannot connect"),
        (format!("probe {mute} --timeout 100ms"), "no answer within 100ms"),
        (format!("probe {mute} --timeout 100ms"), "try davy modbus scan"),
        (format!("probe {at} --unit 1 --from 49000"), "exception 02"),
        (format!("probe {at} --unit 1 --from 49000"), "nothing at these addresses"),
        (format!("probe {at} --unit 2"), "the gateway answers, but not the unit behind it"),
        (format!("probe {at} --unit 9 --from 30001"), "wrong answer"),
        (format!("probe {at} --from 3"), "--from 3: not a register as manuals print it"),
        (format!("probe {at} --function 3 --from 65530"), "--count 10: reaches beyond address 65535"),
        (format!("scan {nobody}"), "cannot connect"),
        (format!("scan {mute} --units 1-3 --timeout 50ms"), "no unit of 3 tried answers within 50ms"),
    ] {
        let told = refusal(&davy(&arguments).await);
        assert!(told.contains(expected), "{arguments}: {expected}\nis not in\n{told}");
    }
    let usage = davy(&format!("probe {at} --count 0")).await;
    assert_eq!(usage.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_finds_the_units_that_are_there() {
    let plant = plant().await;
    plant.fault(7, Misbehaviour::Silent).unwrap();
    plant.fault(9, Misbehaviour::Exception(4)).unwrap();
    let text = out(&davy(&format!("scan {} --units 1-12 --timeout 200ms", plant.address())).await);
    let units: Vec<&str> = text.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(units, ["1", "4", "9"], "{text}");
    assert!(text.contains("exception 04"), "{text}");
    let json = out(&davy(&format!("scan {} --units 1 --json", plant.address())).await);
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["unit"], 1);
}

/// Two lines in the configuration and the detector is on the screen; the probe looks at it meanwhile. Then its
/// brain stops: it goes on answering, with the last value, but the heartbeat bit no longer toggles.
#[tokio::test(flavor = "multi_thread")]
async fn a_midas_that_answers_but_no_longer_lives_is_found_out() {
    let plant = plant().await;
    plant.set(1, "gas", 5.5).unwrap();
    let config = format!(
        "[web]\naddress = \"127.0.0.1:0\"\n[source.modbus.midas-3]\naddress = \"{}\"\nperiod = \"200ms\"\n\
         [point.\"plant.h2s\"]\ndevice = \"midas-3\"\ntemplate = \"midas\"\n",
        plant.address()
    );
    let davy_runs = Site::new(&config, &[]).start().await;
    let point = async || davy_runs.point("plant.h2s").await;
    until("the value is shown", async || point().await["grade"] == "good" && point().await["value"] == 5.5).await;
    assert_eq!((&point().await["kind"], &point().await["unit"]), (&"h2s".into(), &"ppm".into()));
    let text = out(&davy(&format!("probe {} --from 40003 --count 2 --expect 5.5", plant.address())).await);
    assert!(text.contains("register = 40003, type = \"float32\"  gives 5.5"), "{text}");
    plant.fault(1, Misbehaviour::HeartbeatStopped).unwrap();
    until("the fault is noticed", async || {
        let point = point().await;
        point["grade"] == "bad" && point.to_string().contains("sensor_fault")
    })
    .await;
    plant.fault(1, Misbehaviour::None).unwrap();
    until("it is forgiven", async || point().await["grade"] == "good").await;
}

/// Somebody who has seen enough: what was found stays, and the exit code is that of success.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_a_scan_with_what_was_found() {
    use std::io::{BufRead, BufReader, Read};

    let plant = plant().await;
    plant.fault(4, Misbehaviour::Silent).unwrap();
    let mut scan = Command::new(env!("CARGO_BIN_EXE_davy"))
        .args(["modbus", "scan", &plant.address().to_string(), "--units", "1-247", "--timeout", "60s"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(scan.stdout.take().unwrap());
    let mut errors = scan.stderr.take().unwrap();
    let told = tokio::task::spawn_blocking(move || {
        let mut first = String::new();
        lines.read_line(&mut first).unwrap();
        assert!(Command::new("kill").args(["-INT", &scan.id().to_string()]).status().unwrap().success());
        let status = scan.wait().unwrap();
        let mut told = String::new();
        errors.read_to_string(&mut told).unwrap();
        (first, status.code(), told)
    });
    let (first, code, told) = told.await.unwrap();
    assert!(first.starts_with("unit   1  answers"), "{first}");
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("stopped at unit "), "{told}");
}

/// A server that is not ours: pymodbus, where python3 has it.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_device_is_read_the_same() {
    use std::io::{BufRead, BufReader};

    const SERVER: &str = "
import asyncio, socket, sys
from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
from pymodbus.server import ModbusTcpServer
async def main():
    taken = socket.socket(); taken.bind(('127.0.0.1', 0)); port = taken.getsockname()[1]; taken.close()
    words = ModbusSequentialDataBlock(1, [0x47F1, 0x2000, 209] + [0] * 7)
    context = ModbusServerContext(devices={5: ModbusDeviceContext(hr=words)}, single=False)
    server = ModbusTcpServer(context, address=('127.0.0.1', port))
    await server.serve_forever(background=True)
    print(port, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
";
    let installed =
        Command::new("python3").args(["-c", "import pymodbus.datastore as d; d.ModbusDeviceContext"]).output();
    if !installed.is_ok_and(|output| output.status.success()) {
        assert!(std::env::var_os("CI").is_none(), "python3 has no pymodbus");
        eprintln!("skipped: python3 has no pymodbus");
        return;
    }
    let mut server =
        Command::new("python3").args(["-c", SERVER]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut port = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let at = SocketAddr::from(([127, 0, 0, 1], port.trim().parse().expect("the server tells its port")));
    let probed = davy(&format!("probe {at} --unit 5 --count 3 --expect 123456")).await;
    let scanned = davy(&format!("scan {at} --units 4-6 --timeout 500ms")).await;
    server.kill().unwrap();
    server.wait().unwrap();
    let text = out(&probed);
    assert!(text.contains("register = 40001, type = \"float32\"  gives 123456"), "{text}");
    let text = String::from_utf8_lossy(&scanned.stdout);
    assert!(text.contains("unit   5  answers, 40001 is 18417"), "{text}");
}

/// Somebody else's tool sees the same registers at the same moment, number by number.
#[tokio::test(flavor = "multi_thread")]
async fn mbpoll_and_the_probe_see_the_same_words() {
    let Some(mbpoll) = stage::program("mbpoll") else { return };
    let plant = plant().await;
    let at = plant.address();
    plant.set(4, "level", 20.9).unwrap();
    plant.set(4, "pressure", 101.3).unwrap();
    let theirs = tokio::task::spawn_blocking(move || {
        let port = at.port().to_string();
        Command::new(mbpoll)
            .args(["-m", "tcp", "-p", &port, "-a", "4", "-t", "3:hex", "-r", "1", "-c", "4", "-1", "-q", "127.0.0.1"])
            .output()
            .unwrap()
    });
    let theirs = theirs.await.unwrap();
    assert!(theirs.status.success(), "{}", String::from_utf8_lossy(&theirs.stderr));
    let theirs: Vec<u64> = String::from_utf8_lossy(&theirs.stdout)
        .lines()
        .filter_map(|line| u64::from_str_radix(line.split_once("0x")?.1.trim(), 16).ok())
        .collect();
    let ours: Value =
        serde_json::from_str(&out(&davy(&format!("probe {at} --unit 4 --from 30001 --count 4 --json")).await)).unwrap();
    let ours: Vec<u64> = (0..4).map(|place| ours["registers"][place]["word"].as_u64().unwrap()).collect();
    assert_eq!(theirs, ours);
    // 20.9 is 41A73333, the words the other way round in this gauge.
    assert_eq!(theirs[..2], [0x3333, 0x41A7]);
}
