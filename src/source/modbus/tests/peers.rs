//! The poller against a server of another make: pymodbus in a process of its own, and openssl's certificates.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::Link;
use super::stage::Stage;
use crate::ledger::Fate;
use crate::model::Quality;

/// Ends with its standard input, which goes away with it.
struct Peer {
    child: Child,
    port: u16,
}

impl Peer {
    /// None, said aloud, where pymodbus is not installed.
    fn start(kind: &str, files: &[&Path]) -> Option<Self> {
        let there = Command::new("python3").args(["-c", "import pymodbus.simulator"]).stderr(Stdio::null()).status();
        if !there.is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED: pymodbus is not installed (python3 -m pip install pymodbus), nothing was tested");
            return None;
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/source/modbus/tests/peer.py");
        let mut child = Command::new("python3")
            .arg(script)
            .arg(kind)
            .args(files)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Some(Self { port: line.trim().parse().expect("the server says its port"), child })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().ok();
    }
}

#[tokio::test]
async fn pymodbus_is_understood_and_its_damaged_answers_are_not_believed() {
    for (kind, scheme) in [("tcp", ""), ("rtu", "rtu+tcp://")] {
        let Some(peer) = Peer::start(kind, &[]) else { return };
        let unit = |name: &str, unit: u8| {
            format!(
                "[{name}]\naddress = \"{scheme}127.0.0.1:{}\"\nunit = {unit}\nperiod = \"500ms\"\ntimeout = \"150ms\"\n",
                peer.port
            )
        };
        let devices = [unit("well", 1), unit("garbling", 2), unit("absent", 3)].concat();
        let point = |name: &str, register: u16| format!("[[point]]\ndevice = \"{name}\"\nregister = {register}\n");
        let points = ["well", "garbling", "absent"]
            .map(|name| format!("{}{}", point(name, 40_018), point(name, 40_090)))
            .concat();
        let mut stage = Stage::start(&devices, &points);
        let states = stage.devices_when(|states| states.iter().any(|s| s.device == "well" && s.polls >= 10)).await;
        let of = |name: &str| states.iter().find(|state| state.device == name).unwrap();
        assert_eq!(
            (of("well").link, of("well").failed, of("well").missed),
            (Link::Connected, 0, 0),
            "{kind}: {states:#?}"
        );
        assert_eq!(of("absent").last_answer, None, "{kind}");
        assert!(stage.account.get(Fate::WrongAnswer) + stage.account.get(Fate::TimedOut) >= 1, "{kind}");
        let mut good = 0;
        for sample in stage.seen.iter().filter(|sample| sample.quality.usable()) {
            assert_eq!((sample.value, sample.quality), ([18.0, 90.0][sample.point.0 as usize % 2], Quality::GOOD));
            good += u32::from(sample.point.0 == 2);
        }
        assert!(good >= 1, "{kind}: the garbling unit gives values in between");
    }
}

fn openssl(folder: &Path, line: &str) -> bool {
    let words = line.split(' ');
    let mut run = Command::new("openssl");
    run.args(words).current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null());
    run.status().is_ok_and(|status| status.success())
}

/// A plant's authority with a device and a gateway, and a stranger's authority with another gateway.
fn certificates(folder: &Path) -> bool {
    std::fs::write(folder.join("device.ext"), "subjectAltName=DNS:plc-3.plant").unwrap();
    std::fs::write(folder.join("davy.ext"), "extendedKeyUsage=clientAuth").unwrap();
    ["plant", "stranger"].iter().all(|ca| {
        openssl(folder, &format!("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={ca} -days 2 -keyout {ca}.key -out {ca}.pem"))
    }) && [("device", "plant", "device"), ("davy", "plant", "davy"), ("foreign", "stranger", "davy")].iter().all(|(name, ca, kind)| {
        openssl(folder, &format!("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"))
            && openssl(folder, &format!("x509 -req -in {name}.csr -CA {ca}.pem -CAkey {ca}.key -CAcreateserial -days 2 -extfile {kind}.ext -out {name}.pem"))
    })
}

#[tokio::test]
async fn both_sides_of_a_secured_connection_must_show_the_right_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    if !certificates(folder.path()) {
        eprintln!("SKIPPED: openssl is not installed, nothing was tested");
        return;
    }
    let (ca, certificate, key) = (path("plant.pem"), path("device.pem"), path("device.key"));
    let Some(peer) = Peer::start("tls", &[&ca, &certificate, &key]) else { return };
    let device = |name: &str, ca: &str, own: &str, server: &str| {
        let at = |name: String| path(&name).display().to_string();
        let (ca, certificate, key) = (at(format!("{ca}.pem")), at(format!("{own}.pem")), at(format!("{own}.key")));
        format!(
            "[{name}]\naddress = \"tls://127.0.0.1:{}\"\nperiod = \"200ms\"\nserver_name = \"{server}\"\n\
             ca = \"{ca}\"\ncertificate = \"{certificate}\"\nkey = \"{key}\"\n",
            peer.port
        )
    };
    let devices = [
        device("right", "plant", "davy", "plc-3.plant"),
        device("other-name", "plant", "davy", "plc-4.plant"),
        device("other-authority", "stranger", "davy", "plc-3.plant"),
        device("foreign", "plant", "foreign", "plc-3.plant"),
    ];
    let point = |name: &str| format!("[[point]]\ndevice = \"{name}\"\nregister = 40018\n");
    let points = ["right", "other-name", "other-authority", "foreign"].map(point).concat();
    let mut stage = Stage::start(&devices.concat(), &points);
    let states = stage
        .devices_when(|states| states.iter().all(|s| if s.device == "right" { s.polls >= 10 } else { s.failed >= 1 }))
        .await;
    for state in &states {
        let well = state.device == "right";
        assert_eq!((state.link == Link::Connected, state.last_answer.is_some()), (well, well), "{state:?}");
        let error = state.last_error.as_deref().unwrap_or_default();
        assert!(
            well || error.contains("certificate") || error.contains("connect") || error.contains("lost"),
            "{error}"
        );
    }
    assert!(
        stage.seen.iter().all(|sample| sample.quality.usable() == (sample.point.0 == 0) || sample.point.0 == 0),
        "only the right one has values"
    );
    assert!(stage.seen.iter().filter(|sample| sample.point.0 == 0 && sample.value == 18.0).count() >= 9);
}
