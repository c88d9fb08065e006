//! Who may come in by a certificate, and what each user may publish.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::stage::*;
use crate::clock::Stopwatch;
use crate::ledger::Fate;
use crate::model::{Point, PointTable};

/// An authority, a server, and clients: `face` and `nobody` of that authority, `foreign` of another.
fn certificates(folder: &Path) -> bool {
    let script = "
        authority() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=$1 \
            -keyout $1.key -out $1.pem; }
        signed() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj \"/O=mine/CN=$1\" \
            -keyout $1.key -out $1.csr && printf \"$3\" > ext && \
            openssl x509 -req -in $1.csr -CA $2.pem -CAkey $2.key -CAcreateserial -days 2 -extfile ext -out $1.pem; }
        authority ca && authority other && signed localhost ca 'subjectAltName=DNS:localhost' &&
        signed face ca 'extendedKeyUsage=clientAuth' && signed nobody ca 'extendedKeyUsage=clientAuth' &&
        signed foreign other 'extendedKeyUsage=clientAuth'";
    let made = Command::new("sh").arg("-c").arg(script).current_dir(folder).stderr(Stdio::null()).status();
    let made = made.is_ok_and(|status| status.success());
    assert!(made || std::env::var_os("CI").is_none(), "openssl is not installed");
    if !made {
        println!("skipped: openssl is not installed");
    }
    made
}

/// What the listener answers to a CONNECT that comes with this certificate.
async fn answer(port: u16, folder: &Path, certificate: Option<&str>, connect: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let client = match certificate {
        None => client.with_no_client_auth(),
        Some(name) => {
            let chain = vec![CertificateDer::from_pem_file(folder.join(format!("{name}.pem"))).unwrap()];
            let key = PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key"))).unwrap();
            client.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await?;
    stream.write_all(connect).await?;
    let mut answer = vec![0; 4];
    timeout(Duration::from_secs(10), stream.read_exact(&mut answer)).await.expect("an answer in time")?;
    Ok(answer)
}

#[tokio::test]
async fn a_certificate_names_its_user_and_a_stranger_is_not_authorized() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    if !certificates(folder) {
        return;
    }
    std::fs::write(folder.join("secret"), "lamp\n").unwrap();
    let file = |name: &str| folder.join(name).display().to_string();
    let door = |users: &str| {
        format!(
            "address = \"127.0.0.1:0\"\ntls = {{ certificate = {:?}, key = {:?}, client_ca = {:?} }}\n{users}",
            file("localhost.pem"),
            file("localhost.key"),
            file("ca.pem"),
        )
    };
    let login = |user: &str, password: &str| [text(user.as_bytes()), text(password.as_bytes())].concat();
    let plain = connect(4, "x", 2, 0, &[]);
    let as_face = connect(4, "x", 0xC2, 0, &login("face", ""));
    let as_other = connect(4, "x", 0xC2, 0, &login("other", "lamp"));

    // Some by certificate, some by password.
    let both = format!(
        "[user.face]\ncertificate = true\npublish = true\n[user.other]\npassword_file = {:?}\npublish = true\n",
        file("secret")
    );
    let stage = Stage::with(&door(&both)).await;
    for (certificate, connect, expected) in [
        (Some("face"), &plain, [0x20, 2, 0, 0]),
        (Some("face"), &as_face, [0x20, 2, 0, 0]),
        (Some("nobody"), &plain, [0x20, 2, 0, 5]),
        // Not under another's name, and not by a password alone.
        (Some("face"), &as_other, [0x20, 2, 0, 4]),
        (None, &as_face, [0x20, 2, 0, 4]),
        (None, &as_other, [0x20, 2, 0, 0]),
        (None, &plain, [0x20, 2, 0, 4]),
    ] {
        let found = answer(stage.port, folder, certificate, connect).await.unwrap();
        assert_eq!(found, expected, "{certificate:?} {connect:x?}");
    }
    assert_eq!(
        answer(stage.port, folder, Some("nobody"), &connect(5, "x", 2, 0, &[])).await.unwrap(),
        [0x20, 3, 0, 0x87]
    );
    assert!(answer(stage.port, folder, Some("foreign"), &plain).await.is_err());
    stage.counted(Fate::Refused, 6).await;
    stage.close().await;

    // All by certificate: without one there is not even a conversation.
    let stage = Stage::with(&door("[user.face]\ncertificate = true\npublish = true\n")).await;
    assert!(answer(stage.port, folder, None, &plain).await.is_err());
    assert_eq!(answer(stage.port, folder, Some("face"), &plain).await.unwrap(), [0x20, 2, 0, 0]);
    stage.close().await;
}

fn table(ids: &[&str]) -> Arc<PointTable> {
    let point = |id: &&str| -> Point {
        serde_json::from_value(serde_json::json!({
            "id": id, "site": id.split('.').next(), "name": "", "kind": "methane", "place": "T1", "unit": "%VOL",
            "range": null, "resolution": 0.01, "period": { "secs": 1, "nanos": 0 }, "limits": {},
            "coordinates": null, "static_risk": 0, "retired": false,
        }))
        .unwrap()
    };
    Arc::new(PointTable::new(ids.iter().map(point).collect()))
}

/// One device cannot speak for another: not by topic, not by point, not by its will.
#[tokio::test]
async fn a_user_publishes_what_was_granted_and_nothing_else() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "lamp").unwrap();
    let path = secret.path().display().to_string();
    let stage = Stage::with(&format!(
        "address = \"127.0.0.1:0\"\n\
         [user.a]\npassword_file = {path:?}\npoints = [\"mine-a.*\"]\n\
         [user.b]\npassword_file = {path:?}\npublish = [\"s/1\", \"s/2\"]\n",
    ))
    .await;
    stage.board.set_points(table(&["mine-b.t0", "mine-a.t1", "mine-a.t2"]));
    let login = |user: &str| [text(user.as_bytes()), text(b"lamp")].concat();

    let mut a = stage.dial().await;
    a.send(&connect(5, "a", 0xC2, 0, &login("a"))).await;
    assert_eq!(a.packet().await[3], 0);
    let all = [publish5(1, "s/1", 1, &[], b"1"), publish5(1, "s/0", 2, &[], b"2"), publish5(1, "s/2", 3, &[], b"3")];
    a.send(&all.concat()).await;
    assert_eq!(a.packet().await, b"\x40\x02\x00\x01");
    assert_eq!(a.packet().await, b"\x40\x03\x00\x02\x87");
    assert_eq!(a.packet().await, b"\x40\x02\x00\x03");
    assert_eq!(stage.journal.values(), [1.0, 3.0]);

    // A point that came after the connection is looked up as well.
    stage.board.set_points(table(&["mine-b.t0", "mine-a.t1", "mine-a.t2", "mine-a.t3", "mine-b.t4"]));
    a.send(&[publish5(1, "s/3", 4, &[], b"4"), publish5(1, "s/4", 5, &[], b"5")].concat()).await;
    assert_eq!(a.packet().await, b"\x40\x02\x00\x04");
    assert_eq!(a.packet().await, b"\x40\x03\x00\x05\x87");

    // 3.1.1 knows no refusal: acknowledged, or it would come for ever, and not kept.
    let mut b = stage.dial().await;
    b.send(&connect(4, "b", 0xC2, 0, &login("b"))).await;
    assert_eq!(b.packet().await, b"\x20\x02\x00\x00");
    b.send(&[publish(1, "s/1", 1, b"6"), publish(1, "s/3", 2, b"7")].concat()).await;
    assert_eq!(b.packet().await, b"\x40\x02\x00\x01");
    assert_eq!(b.packet().await, b"\x40\x02\x00\x02");
    assert_eq!(stage.journal.values(), [1.0, 3.0, 4.0, 6.0]);
    stage.counted(Fate::OutsideGrant, 3).await;

    let will = |topic: &str, user: &str| [text(topic.as_bytes()), text(b"-1"), login(user)].concat();
    let mut c = stage.dial().await;
    c.send(&connect(4, "c", 0xC6, 0, &will("s/3", "b"))).await;
    assert_eq!(c.closed().await, b"\x20\x02\x00\x05");
    let mut d = stage.dial().await;
    d.send(&connect(4, "d", 0xC6, 0, &will("s/0", "a"))).await;
    assert_eq!(d.packet().await, b"\x20\x02\x00\x00");
    drop(d);
    stage.counted(Fate::OutsideGrant, 4).await;
    assert_eq!(stage.journal.values().len(), 4);
    stage.close().await;
}

/// Too fast is slowed down, message by message; nothing is lost and nobody else is touched.
#[tokio::test]
async fn a_client_over_its_rate_is_held_back_and_loses_nothing() {
    let stage = Stage::open("messages_per_s = 100").await;
    let mut device = stage.v311("fast").await;
    let watch = Stopwatch::start();
    device.send(&(1..=250).flat_map(|id| publish(1, "s/1", id, b"1")).collect::<Vec<_>>()).await;
    for id in 1..=100_u8 {
        assert_eq!(device.packet().await, [0x40, 2, 0, id]);
    }
    stage.serves_others().await;
    for id in 101..=250_u8 {
        assert_eq!(device.packet().await, [0x40, 2, 0, id]);
    }
    // A hundred at once, a hundred and fifty more at a hundred a second.
    assert!(watch.elapsed() >= Duration::from_millis(1_400), "{:?}", watch.elapsed());
    assert_eq!(stage.journal.values().len(), 251);
    assert!(stage.account.get(Fate::RateLimit) > 0);
    device.heard_nothing().await;
    stage.close().await;

    let stage = Stage::open("bytes_per_s = 10000").await;
    let mut device = stage.v311("long").await;
    let watch = Stopwatch::start();
    device.send(&(1..=200).flat_map(|id| publish(1, "s/1", id, &[b'1'; 100])).collect::<Vec<_>>()).await;
    for id in 1..=200_u8 {
        assert_eq!(device.packet().await, [0x40, 2, 0, id]);
    }
    assert!(watch.elapsed() >= Duration::from_millis(1_000), "{:?}", watch.elapsed());
    stage.close().await;
}

#[tokio::test]
async fn an_address_that_connects_too_often_is_turned_away_for_a_while() {
    let stage = Stage::open("connects_per_s = 2").await;
    let first = stage.v311("one").await;
    let second = stage.v311("two").await;
    let mut third = stage.dial().await;
    assert!(third.closed().await.is_empty());
    stage.counted(Fate::RateLimit, 1).await;
    let again = async {
        loop {
            let mut next = stage.dial().await;
            next.send(&connect(4, "three", 2, 0, &[])).await;
            if let Ok(Ok(_)) = timeout(Duration::from_secs(5), next.0.read_exact(&mut [0; 4])).await {
                return;
            }
        }
    };
    timeout(Duration::from_secs(10), again).await.expect("let in again");
    drop((first, second));
    stage.close().await;
}
