//! Templates as files, and each of them against a device that speaks its map on a real socket.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::timeout;
use tokio_modbus::server::tcp::{Server, accept_tcp_connection};
use tokio_modbus::{ExceptionCode, Request, Response, SlaveRequest};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::config::{Binding, Config, Problems, parse};
use crate::journal::{Entry, Intake, Waiting};
use crate::ledger::Ledger;
use crate::model::{PointIndex, Sample};
use crate::source::{Outlet, modbus};

fn configured(text: &str, devices: &[(&str, &str)]) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("devices")).unwrap();
    for (name, text) in devices {
        std::fs::write(folder.path().join("devices").join(name), text).unwrap();
    }
    let problems = Problems::in_file("davy.toml");
    parse(text, &folder.path().join("davy.toml"), problems)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

const GAS: &str = "[source.modbus.gas]\naddress = \"10.0.4.7:502\"\n";

fn point(keys: &str) -> String {
    format!("{GAS}[point.\"plant.t1\"]\ndevice = \"gas\"\n{keys}\n")
}

#[test]
fn a_device_and_a_template_are_enough() {
    let config = configured(&point("template = \"midas\""), &[]).unwrap();
    let point = &config.points[0].point;
    assert_eq!((point.kind.word(), point.unit.as_str()), ("h2s", "ppm"));
    assert_eq!(point.range.map(|range| range.high), Some(100.0));
    let Binding::Modbus(binding) = &config.points[0].binding else { panic!("{:?}", config.points[0]) };
    assert_eq!((binding.device.as_str(), binding.place.address, binding.status.len()), ("gas", 2, 2));
    assert!(binding.heartbeat.is_some());
}

#[test]
fn what_the_point_says_wins() {
    let keys = "template = \"msa-ultima\"\nchannel = 2\nkind = \"co\"\nunit = \"ppm\"\nrange = [0, 300]\n\
                period = \"30s\"\n\
                modbus = { shift = 1000, order = \"CDAB\" }";
    let config = configured(&point(keys), &[]).unwrap();
    let point = &config.points[0].point;
    assert_eq!((point.kind.word(), point.unit.as_str(), point.period), ("co", "ppm", Duration::from_secs(30)));
    let Binding::Modbus(binding) = &config.points[0].binding else { panic!("{:?}", config.points[0]) };
    assert_eq!((binding.place.address, binding.reading.order.word()), (1_208, "CDAB"));
    assert_eq!(
        binding.status.iter().map(|status| status.place.address).collect::<Vec<_>>(),
        [1_200, 1_201, 1_200, 1_201]
    );
}

/// Per cent of the explosive limit are no unit of carbon monoxide.
#[test]
fn a_point_of_another_kind_has_no_unit_or_range_of_the_template() {
    let config = configured(&point("template = \"msa-ultima\"\nchannel = 1\nkind = \"co\""), &[]).unwrap();
    let point = &config.points[0].point;
    assert_eq!((point.unit.as_str(), point.range), ("ppm", None));
    let Binding::Modbus(binding) = &config.points[0].binding else { panic!("{point:?}") };
    assert_eq!((binding.place.address, binding.status.len()), (206, 4));
}

#[test]
fn a_table_of_points_names_templates_too() {
    let folder = tempfile::tempdir().unwrap();
    let csv = "id,device,template,channel,kind,range.low,range.high,modbus.bits\n\
        p.t1,gas,itrans-2,2,o2,,,\np.t2,gas,loop-logger,3,methane,0,4,\np.t3,gas,smoke-panel,8,,,,\n";
    std::fs::write(folder.path().join("points.csv"), csv).unwrap();
    let text = format!("{GAS}[gateway]\npoints = [\"points.csv\"]");
    let config = parse(&text, &folder.path().join("davy.toml"), Problems::default()).unwrap();
    let kinds: Vec<_> = config.points.iter().map(|point| point.point.kind.word()).collect();
    assert_eq!(kinds, ["o2", "methane", "smoke"]);
    let Binding::Modbus(binding) = &config.points[0].binding else { panic!("{:?}", config.points[0]) };
    assert_eq!((binding.place.address, binding.reading.kind.word()), (201, "bcd16"));
}

#[test]
fn every_mistake_at_a_point_says_what_there_is() {
    for (keys, expected) in [
        (
            "template = \"midass\"",
            "point.\"plant.t1\".template: \"midass\" is not a device template; did you mean \"midas\"?",
        ),
        ("template = \"itrans-2\"", "channel: missing: Oldham iTrans 2 (itrans-2) has channels 1, 2; say which"),
        ("template = \"itrans-2\"\nchannel = 3", "channel: 3 is not a channel of Oldham iTrans 2 (itrans-2): 1, 2"),
        ("template = \"midas\"\nchannel = 1", "channel: Honeywell Midas (midas) has no channels: take this key out"),
        ("template = \"midas\"\nkind = \"rain\"", "kind: rain is not among what Honeywell Midas (midas) measures: "),
        ("template = \"midas\"\nkind = \"h2\"", "kind: \"h2\" is not a kind"),
        (
            "template = \"loop-logger\"\nchannel = 1",
            "kind: missing: 4-20 mA logger (loop-logger) does not say what it measures",
        ),
        ("template = \"loop-logger\"\nchannel = 1\nkind = \"methane\"", "modbus.span: needs the point's range"),
        ("template = \"midas\"\nmodbus = { scael = 2.0 }", "modbus.scael: unknown key; did you mean \"scale\"?"),
        ("template = \"midas\"\nmodbus = { device = \"gas\" }", "device: stands in modbus as well"),
        ("kind = \"h2s\"", "modbus.register: missing"),
        ("kind = \"h2s\"\nchannel = 2", "channel: only with a template"),
    ] {
        let told = configured(&point(keys), &[]).expect_err(keys);
        assert!(told.contains(expected), "{expected}\nis not in\n{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
    let slow = point("template = \"midas\"").replace(":502\"", ":502\"\nperiod = \"5s\"");
    let told = configured(&slow, &[]).unwrap_err();
    assert!(
        told.contains("heartbeat: gas is polled every 5s, too seldom to see it beat: set its period to 2s or less"),
        "{told}"
    );
}

#[test]
fn a_folder_beside_the_configuration_adds_and_replaces() {
    let mine = "name = \"ours\"\nsource = \"the manual\"\nkind = \"co\"\n[modbus]\nregister = 40009\n";
    let config = configured(&point("template = \"sniffer\""), &[("sniffer.toml", mine)]).unwrap();
    assert_eq!(config.points[0].point.kind.word(), "co");
    let config = configured(&point("template = \"midas\""), &[("midas.toml", mine)]).unwrap();
    assert_eq!(config.points[0].point.kind.word(), "co");
}

#[test]
fn every_mistake_in_a_template_names_its_file_and_table_once() {
    let wrong = "name = \"\"\nsource = \"s\"\nkind = \"co\"\nrange = [4, 0]\nperiod = \"soon\"\ncolour = 1\n\
        [modbus]\ntype = \"flaot32\"\nscale = 0.1\n[channel]\n1 = { register = 40001 }\n2 = { register = 3 }\nx = {}\n\
        [kinds.o2]\nrange = [1, 1]\n[kinds.o3]\n";
    let files = [("sniffer.toml", wrong), ("broken.toml", "name = \n"), ("short.toml", "name = \"n\"\nsource = \"s\"")];
    // A point of a faulty template adds nothing.
    let told = configured(&point("template = \"sniffer\"\nchannel = 1"), &files).unwrap_err();
    assert!(told.contains("sniffer.toml: colour: unknown key"), "{told}");
    assert!(told.contains("broken.toml: line 1: "), "{told}");
    assert!(told.contains("short.toml: modbus is missing"), "{told}");
    assert_eq!(told.lines().count(), 3, "{told}");

    let told = configured(GAS, &[("sniffer.toml", &wrong.replace("colour = 1\n", ""))]).unwrap_err();
    for expected in [
        "sniffer.toml: name: is empty",
        "sniffer.toml: range: [4, 0] is not a range",
        "sniffer.toml: period: ",
        "sniffer.toml: channel.x: \"x\" is not the number of a channel",
        "sniffer.toml: kinds.o2.range: [1, 1] is not a range",
        "sniffer.toml: kinds.o3: \"o3\" is not a kind",
        "sniffer.toml: kind: co is not one of its kinds",
        "sniffer.toml: modbus.type: \"flaot32\" is not a type; did you mean \"float32\"?",
        "sniffer.toml: channel.2.register: 3 is not a register",
    ] {
        assert_eq!(told.lines().filter(|line| line.contains(expected)).count(), 1, "{expected}\nin\n{told}");
    }
    assert_eq!(told.lines().count(), 9, "{told}");
}

/// A device that holds what it is told, and refuses the addresses that it does not have.
#[derive(Clone, Default)]
struct Image(Arc<Mutex<BTreeMap<(u8, u16), u16>>>);

impl Image {
    fn set(&self, function: u8, address: u16, words: &[u16]) {
        let mut image = self.0.lock().unwrap();
        image.extend((address..).zip(words).map(|(address, word)| ((function, address), *word)));
    }

    fn words(&self, function: u8, address: u16, count: u16) -> Result<Vec<u16>, ExceptionCode> {
        let image = self.0.lock().unwrap();
        let words: Option<Vec<u16>> =
            (address..address + count).map(|address| image.get(&(function, address)).copied()).collect();
        words.ok_or(ExceptionCode::IllegalDataAddress)
    }
}

impl tokio_modbus::server::Service for Image {
    type Request = SlaveRequest<'static>;
    type Response = Response;
    type Exception = ExceptionCode;
    type Future = std::future::Ready<Result<Response, ExceptionCode>>;

    fn call(&self, request: Self::Request) -> Self::Future {
        let bits = |words: Vec<u16>| words.into_iter().map(|word| word != 0).collect();
        std::future::ready(match request.request {
            Request::ReadCoils(at, count) => self.words(1, at, count).map(bits).map(Response::ReadCoils),
            Request::ReadDiscreteInputs(at, count) => {
                self.words(2, at, count).map(bits).map(Response::ReadDiscreteInputs)
            }
            Request::ReadHoldingRegisters(at, count) => self.words(3, at, count).map(Response::ReadHoldingRegisters),
            Request::ReadInputRegisters(at, count) => self.words(4, at, count).map(Response::ReadInputRegisters),
            Request::WriteSingleCoil(..)
            | Request::WriteMultipleCoils(..)
            | Request::WriteSingleRegister(..)
            | Request::WriteMultipleRegisters(..)
            | Request::ReportServerId
            | Request::MaskWriteRegister(..)
            | Request::ReadWriteMultipleRegisters(..)
            | Request::ReadDeviceIdentification(..)
            | Request::Custom(..) => Err(ExceptionCode::IllegalFunction),
        })
    }
}

/// The poller on points of one template, every 20 ms, and the device behind it.
struct Bench {
    image: Image,
    waiting: Waiting,
    points: usize,
    _stop: DropGuard,
}

impl Bench {
    /// `points` are the keys of a point each; `files` are templates of the folder.
    async fn start(points: &[&str], files: &[(&str, &str)], image: &[(u8, u16, &[u16])]) -> Self {
        let device = Image::default();
        image.iter().for_each(|(function, address, words)| device.set(*function, *address, words));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = device.clone();
        tokio::spawn(async move {
            let connected = |stream, from| {
                let service = serving.clone();
                async move { accept_tcp_connection(stream, from, |_| Ok(Some(service.clone()))) }
            };
            drop(Server::new(listener).serve(&connected, |error| panic!("{error}")).await);
        });
        let mut text = format!("[source.modbus.gas]\naddress = \"{address}\"\nperiod = \"20ms\"\n");
        for (n, keys) in points.iter().enumerate() {
            text.push_str(&format!("[point.\"plant.t{n}\"]\ndevice = \"gas\"\n{keys}\n"));
        }
        let config = configured(&text, files).unwrap();
        let bindings = config.points.iter().enumerate().map(|(n, configured)| {
            let Binding::Modbus(binding) = &configured.binding else { panic!("{configured:?}") };
            (PointIndex(n as u32), configured.point.range, binding.clone())
        });
        let (intake, waiting) = Intake::with_receiver(32);
        let outlet = Outlet { intake, account: Ledger::default().account("modbus") };
        let stop = CancellationToken::new();
        tokio::spawn(modbus::run(modbus::Config::new(config.modbus.clone()), bindings.collect(), outlet, stop.clone()));
        Self { image: device, waiting, points: points.len(), _stop: stop.drop_guard() }
    }

    async fn poll(&mut self) -> Vec<Sample> {
        loop {
            let (entry, _) = timeout(Duration::from_secs(10), self.waiting.next()).await.unwrap().unwrap();
            if let Entry::Samples(samples) = entry {
                assert_eq!(samples.len(), self.points);
                return samples.to_vec();
            }
        }
    }

    /// Puts words into the device and waits until the points show what is expected: "23.5 good".
    async fn shows(&mut self, changes: &[(u8, u16, &[u16])], expected: &[&str]) {
        changes.iter().for_each(|(function, address, words)| self.image.set(*function, *address, words));
        let mut last = Vec::new();
        for _ in 0..150 {
            let samples = self.poll().await;
            last = samples.iter().map(|sample| format!("{} {}", sample.value, sample.quality)).collect();
            if last == expected {
                return;
            }
        }
        panic!("{expected:?} expected after {changes:X?}, not {last:?}");
    }
}

fn float(value: f32) -> [u16; 2] {
    let bits = value.to_bits();
    [(bits >> 16) as u16, bits as u16]
}

#[tokio::test]
async fn midas() {
    let image: [(u8, u16, &[u16]); 1] = [(3, 0, &[0x0001, 0x0117, 0, 0, 0, 0, 0x0101])];
    let mut bench = Bench::start(&["template = \"midas\""], &[], &image).await;
    bench.shows(&[(3, 2, &float(23.4))], &["23.4 good"]).await;
    bench.shows(&[(3, 2, &float(120.0))], &["120 uncertain:over_range"]).await;
    bench.shows(&[(3, 2, &[0x7FC0, 0])], &["0 bad:non_finite"]).await;
    bench.shows(&[(3, 2, &float(5.0))], &["5 good"]).await;
    for (status, expected) in [
        (0x0000, "5 bad:calibrating"),
        (0x0004, "5 bad:paused"),
        (0x0005, "5 good:exercise"),
        (0x0008, "5 bad:calibrating"),
        (0x0021, "5 bad:sensor_fault"),
        (0x0011, "5 good"),
        (0x000F, "5 bad:sensor_fault"),
    ] {
        bench.shows(&[(3, 0, &[status])], &[expected]).await;
    }
    // A cartridge that reports parts per billion.
    bench.shows(&[(3, 0, &[1]), (3, 6, &[0x0201])], &["5 bad:sensor_fault"]).await;
}

/// The shipped template with a quicker pulse: bit 11 stands still, the value turns bad; it moves, good again.
#[tokio::test]
async fn a_midas_whose_heartbeat_stands_still_is_faulty() {
    let quick = include_str!("../../../config/devices/midas.toml")
        .replace("every = \"2s\", within = \"6s\"", "every = \"100ms\", within = \"300ms\"");
    let image: [(u8, u16, &[u16]); 1] = [(3, 0, &[0x0001, 0x0117, 0x40A0, 0, 0, 0, 0x0101])];
    let mut bench = Bench::start(&["template = \"midas\""], &[("midas.toml", &quick)], &image).await;
    bench.shows(&[], &["5 good"]).await;
    let mut good = 0;
    for beat in 0..40 {
        bench.image.set(3, 0, &[if beat / 4 % 2 == 0 { 0x0801 } else { 0x0001 }]);
        good += u32::from(bench.poll().await[0].quality.usable());
    }
    assert_eq!(good, 40, "it beats every 80 ms");
    let polls_until_told = async {
        let mut polls = 0;
        while bench.poll().await[0].quality.usable() {
            polls += 1;
        }
        polls
    };
    let polls = timeout(Duration::from_secs(5), polls_until_told).await.unwrap();
    assert!((5..40).contains(&polls), "told after {polls} polls of 20 ms");
    bench.shows(&[], &["5 bad:sensor_fault"]).await;
    let still = bench.image.0.lock().unwrap()[&(3, 0)];
    bench.shows(&[(3, 0, &[still ^ 0x0800])], &["5 good"]).await;
}

#[tokio::test]
async fn pt495() {
    let points = ["template = \"pt495\"", "template = \"pt495\"\nkind = \"o2\""];
    let mut bench = Bench::start(&points, &[], &[(3, 0, &[105, 0x0100, 0, 0, 0, 0, 0])]).await;
    // The manual's example: 10.5 is 105. The second point is of another gas than the detector.
    bench.shows(&[], &["10.5 good", "10.5 bad:sensor_fault"]).await;
    bench.shows(&[(3, 1, &[257])], &["10.5 good", "10.5 bad:sensor_fault"]).await;
    bench.shows(&[(3, 1, &[0x0102])], &["10.5 bad:calibrating", "10.5 bad:sensor_fault+calibrating"]).await;
    bench.shows(&[(3, 1, &[0x0104])], &["10.5 bad:sensor_fault", "10.5 bad:sensor_fault"]).await;
    bench.shows(&[(3, 0, &[209, 0x0500])], &["20.9 bad:sensor_fault", "20.9 good"]).await;
    bench.shows(&[(3, 0, &[1_200, 0x0100])], &["120 uncertain:over_range", "120 bad:sensor_fault+over_range"]).await;
    bench.shows(&[(3, 0, &[0x7FFF])], &["0 bad:sensor_fault", "0 bad:sensor_fault"]).await;
}

#[tokio::test]
async fn detcon_1000() {
    // The answer that the manual prints, with its reading of 0.7 ppm.
    let image: [(u8, u16, &[u16]); 1] = [(3, 0, &[0x0264, 100, 7, 10, 20, 0x0550])];
    let mut bench = Bench::start(&["template = \"detcon-1000\""], &[], &image).await;
    bench.shows(&[], &["0.7 good"]).await;
    bench.shows(&[(3, 2, &[235])], &["23.5 good"]).await;
    bench.shows(&[(3, 2, &[1_010])], &["101 uncertain:over_range"]).await;
    bench.shows(&[(3, 2, &[10]), (3, 5, &[0x0D50])], &["1 bad:calibrating"]).await;
    bench.shows(&[(3, 5, &[0x0551])], &["1 bad:sensor_fault"]).await;
    // Fail-safe wiring: the relay is energized while all is well.
    bench.shows(&[(3, 5, &[0x0555])], &["1 good"]).await;
    bench.shows(&[(3, 5, &[0x0554])], &["1 bad:sensor_fault"]).await;
    bench.shows(&[(3, 5, &[0x0550]), (3, 0, &[0x0164])], &["1 bad:sensor_fault"]).await;
}

#[tokio::test]
async fn itrans_2() {
    let points = ["template = \"itrans-2\"\nchannel = 1", "template = \"itrans-2\"\nchannel = 2\nkind = \"o2\""];
    let image: [(u8, u16, &[u16]); 2] = [(3, 100, &[0x0401, 5, 0x0002]), (3, 200, &[0x0501, 0x0209, 0x0105])];
    let mut bench = Bench::start(&points, &[], &image).await;
    bench.shows(&[], &["5 good", "20.9 good"]).await;
    bench.shows(&[(3, 101, &[0xFFFB])], &["-5 uncertain:over_range", "20.9 good"]).await;
    bench.shows(&[(3, 101, &[120])], &["120 uncertain:over_range", "20.9 good"]).await;
    // Not the decimals that the template counts on; and a device that does not send decimal digits.
    bench.shows(&[(3, 101, &[5, 0x0102]), (3, 201, &[0x00D1])], &["5 bad:sensor_fault", "0 bad:sensor_fault"]).await;
}

#[tokio::test]
async fn copeland_c() {
    let image: [(u8, u16, &[u16]); 2] = [(4, 101, &[480, 0, 10_000]), (4, 117, &[4])];
    let mut bench = Bench::start(&["template = \"copeland-c\""], &[], &image).await;
    bench.shows(&[], &["480 good"]).await;
    for (status, expected) in [
        (1, "480 bad:line_break"),
        (2, "480 bad:sensor_fault"),
        (16, "480 uncertain:over_range"),
        (32, "480 uncertain:over_range"),
    ] {
        bench.shows(&[(4, 102, &[status])], &[expected]).await;
    }
    bench.shows(&[(4, 102, &[0]), (4, 117, &[1])], &["480 bad:sensor_fault"]).await;
}

#[tokio::test]
async fn msa_ultima() {
    let points = ["template = \"msa-ultima\"\nchannel = 1", "template = \"msa-ultima\"\nchannel = 3"];
    let values = [float(12.5), float(0.0), float(3.5)].concat();
    let image: [(u8, u16, &[u16]); 2] = [(3, 200, &[0, 0, 0, 0, 0, 0]), (3, 206, &values)];
    let mut bench = Bench::start(&points, &[], &image).await;
    bench.shows(&[], &["12.5 good", "3.5 good"]).await;
    bench.shows(&[(3, 200, &[0b1000])], &["12.5 good", "3.5 bad:calibrating"]).await;
    bench.shows(&[(3, 200, &[0b1_0000])], &["12.5 bad:calibrating", "3.5 bad:calibrating"]).await;
    bench.shows(&[(3, 200, &[1, 0b10])], &["12.5 bad:line_break+sensor_fault", "3.5 bad:sensor_fault"]).await;
    bench.shows(&[(3, 200, &[0, 1 << 9])], &["12.5 good", "3.5 bad:supply_lost"]).await;
    bench.shows(&[(3, 201, &[0]), (3, 206, &float(130.0))], &["130 uncertain:over_range", "3.5 good"]).await;
}

#[tokio::test]
async fn ps_7() {
    let mut image = vec![0_u16; 17];
    (image[0], image[10]) = (25, 1);
    let points = ["template = \"ps-7\"\nrange = [0.0, 30.0]"];
    let mut bench = Bench::start(&points, &[], &[(3, 0, &image)]).await;
    bench.shows(&[], &["7.5 good"]).await;
    bench.shows(&[(3, 0, &[110])], &["33 uncertain:over_range"]).await;
    bench.shows(&[(3, 0, &[0x7FFF])], &["0 bad:sensor_fault"]).await;
    bench.shows(&[(3, 0, &[10]), (3, 16, &[1])], &["3 good:exercise"]).await;
    bench.shows(&[(3, 16, &[0]), (3, 10, &[2])], &["3 bad:sensor_fault"]).await;
}

#[tokio::test]
async fn loop_logger() {
    let point = "template = \"loop-logger\"\nkind = \"methane\"\nrange = [0.0, 4.0]\nchannel = ";
    let points = [format!("{point}1"), format!("{point}8")];
    let mut bench = Bench::start(&[&points[0], &points[1]], &[], &[(4, 0, &[7_200, 0, 0, 0, 0, 0, 0, 8_000])]).await;
    bench.shows(&[], &["0.8 good", "1 good"]).await;
    bench.shows(&[(4, 0, &[3_500]), (4, 7, &[21_500])], &["0 bad:line_break", "0 bad:sensor_fault"]).await;
    bench.shows(&[(4, 0, &[20_400]), (4, 7, &[3_900])], &["4.1 uncertain:over_range", "-0.025 good"]).await;
}

#[tokio::test]
async fn level_gauge() {
    let image: [(u8, u16, &[u16]); 1] = [(4, 0, &[0, 0, 0])];
    let keys = ["template = \"level-gauge\"\nrange = [100.0, 110.0]\nmodbus = { order = \"CDAB\", offset = 100.0 }"];
    let mut bench = Bench::start(&keys, &[], &image).await;
    let [high, low] = float(3.25);
    bench.shows(&[(4, 0, &[low, high])], &["103.25 good"]).await;
    for (status, expected) in [
        (1, "103.25 bad:sensor_fault"),
        (2, "103.25 bad:calibrating"),
        (4, "103.25 uncertain:over_range"),
        (16, "103.25 bad:calibrating"),
    ] {
        bench.shows(&[(4, 2, &[status])], &[expected]).await;
    }
}

#[tokio::test]
async fn pressure_transmitter() {
    let image: [(u8, u16, &[u16]); 1] = [(3, 0, &[1, 3, 0, 3, 415, 0, 1_600])];
    let mut bench = Bench::start(&["template = \"pressure-transmitter\""], &[], &image).await;
    bench.shows(&[], &["0.415 good"]).await;
    bench.shows(&[(3, 4, &[1_700])], &["1.7 uncertain:over_range"]).await;
    bench.shows(&[(3, 4, &[0x8000])], &["0 bad:sensor_fault"]).await;
    // Kilopascals shown as if they were megapascals would be a thousand times too much.
    bench.shows(&[(3, 4, &[415]), (3, 2, &[1])], &["0.415 bad:sensor_fault"]).await;
}

#[tokio::test]
async fn smoke_panel() {
    let points = ["template = \"smoke-panel\"\nchannel = 1", "template = \"smoke-panel\"\nchannel = 8"];
    let image: [(u8, u16, &[u16]); 3] = [(2, 0, &[0; 8]), (2, 100, &[0; 8]), (2, 200, &[0; 8])];
    let mut bench = Bench::start(&points, &[], &image).await;
    bench.shows(&[], &["0 good", "0 good"]).await;
    bench.shows(&[(2, 7, &[1])], &["0 good", "1 good"]).await;
    bench.shows(&[(2, 100, &[1]), (2, 207, &[1])], &["0 bad:sensor_fault", "1 bad:paused"]).await;
}

/// Tips of a rain gauge: the rule wants the rain since the last sample, and a reset is no negative rain.
#[tokio::test]
async fn a_counter_gives_what_was_added() {
    let rain = "kind = \"rain\"\nmodbus = { register = 40001, type = \"uint16\", scale = 0.5, counter = \"resets\" }";
    let mut bench = Bench::start(&[rain], &[], &[(3, 0, &[100])]).await;
    let first = bench.poll().await[0];
    assert_eq!(first.quality.to_string(), "bad:not_polled", "nothing to compare the first count with");
    bench.shows(&[], &["0 good"]).await;
    bench.shows(&[(3, 0, &[103])], &["1.5 good"]).await;
    bench.shows(&[(3, 0, &[4])], &["2 good"]).await;
    bench.shows(&[], &["0 good"]).await;
}
