//! Programs that others wrote: mosquitto's clients, with and without TLS.

use std::io::{BufRead, BufReader, Lines};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::Arc;

use super::stage::*;
use crate::ledger::Fate;
use crate::model::{PointIndex, Sample, Timestamp};

/// Is it there? When it is not, a machine that must have it fails.
fn installed(program: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()));
    assert!(found || std::env::var_os("CI").is_none(), "{program} is not installed");
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}

/// Runs a program beside the test; true when it ended well.
async fn ends_well(mut command: Command) -> bool {
    tokio::task::spawn_blocking(move || command.status().unwrap().success()).await.unwrap()
}

/// The next line of a program, without holding up the test.
async fn line(mut lines: Lines<BufReader<ChildStdout>>) -> (String, Lines<BufReader<ChildStdout>>) {
    tokio::task::spawn_blocking(move || (lines.next().expect("the program says something").unwrap(), lines))
        .await
        .unwrap()
}

#[tokio::test]
async fn mosquitto_pub_is_acknowledged_in_both_versions() {
    if !installed("mosquitto_pub") {
        return;
    }
    let stage = Stage::open("").await;
    for (version, qos, value) in
        [("mqttv311", "0", "1"), ("mqttv311", "1", "2"), ("mqttv5", "0", "3"), ("mqttv5", "1", "4")]
    {
        let mut publish = Command::new("mosquitto_pub");
        publish.args(["-h", "127.0.0.1", "-p", &stage.port.to_string(), "-V", version, "-q", qos, "-t", "s/1"]);
        publish.args(["-m", value, "-r"]);
        assert!(ends_well(publish).await, "{version} {qos}");
    }
    stage.journal.has(4).await;
    assert_eq!(stage.journal.values(), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(stage.account.seen().collect::<Vec<_>>(), [(Fate::Accepted, 4)]);
    stage.close().await;
}

#[tokio::test]
async fn mosquitto_sub_shows_live_values_in_both_versions() {
    if !installed("mosquitto_sub") {
        return;
    }
    let stage = Stage::open("").await;
    stage.points_for_programs();
    for version in ["mqttv311", "mqttv5"] {
        let mut child = Command::new("mosquitto_sub")
            .args(["-h", "127.0.0.1", "-p", &stage.port.to_string(), "-V", version, "-q", "1", "-C", "2", "-W", "10"])
            .args(["-t", "davy/v1/mine/#", "-F", "%r %q %t %p"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (latest, lines) = line(BufReader::new(child.stdout.take().unwrap()).lines()).await;
        assert!(latest.starts_with("1 1 davy/v1/mine/point/t1 {\"value\":"), "{latest}");
        stage.show(0.75);
        let (live, _) = line(lines).await;
        assert!(live.starts_with("0 1 davy/v1/mine/point/t1 {\"value\":0.75,"), "{live}");
        assert!(tokio::task::spawn_blocking(move || child.wait().unwrap().success()).await.unwrap());
    }
    stage.close().await;
}

impl Stage {
    fn points_for_programs(&self) {
        let point = serde_json::json!({
            "id": "mine.t1", "site": "mine", "name": "", "kind": "methane", "place": "T1", "unit": "%VOL",
            "range": null, "resolution": 0.01, "period": { "secs": 1, "nanos": 0 }, "limits": {},
            "coordinates": null, "static_risk": 0, "retired": false,
        });
        let point = serde_json::from_value(point).unwrap();
        self.board.set_points(Arc::new(crate::model::PointTable::new(vec![point])));
        self.show(0.5);
    }

    fn show(&self, value: f64) {
        let now = Timestamp::from_secs(1_800_000_000);
        self.board.show(&Arc::new(vec![Sample::received(PointIndex(0), value, Some(now), now)]));
    }
}

#[tokio::test]
async fn tls_is_spoken_with_the_configured_certificate() {
    if !installed("openssl") || !installed("mosquitto_pub") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("front.pem"), folder.path().join("front.key"));
    let mut make = Command::new("openssl");
    make.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .stderr(Stdio::null());
    assert!(ends_well(make).await);
    let stage = Stage::with(&format!(
        "address = \"127.0.0.1:0\"\nanonymous = true\n[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n[limit]\nconnect_within = \"2s\"",
    ))
    .await;
    let mut publish = Command::new("mosquitto_pub");
    publish.args(["-h", "localhost", "-p", &stage.port.to_string(), "-q", "1", "-t", "s/1", "-m", "6.5", "--cafile"]);
    publish.arg(&certificate);
    assert!(ends_well(publish).await);
    stage.journal.has(1).await;
    assert_eq!(stage.journal.values(), [6.5]);
    // Plain MQTT does not come in by this door.
    let mut plain = stage.dial().await;
    plain.send(&connect(4, "plain", 2, 0, &[])).await;
    plain.closed().await;
    stage.counted(Fate::Refused, 1).await;
    stage.close().await;
}
