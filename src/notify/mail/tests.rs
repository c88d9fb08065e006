//! Mails to an SMTP server of another make, a process of its own; and to ones that hang.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::super::tests::{Played, Running, checked, nobody, to_channel};
use super::*;
use crate::alarm::Priority;
use crate::clock::Stopwatch;
use crate::journal::Outcome;

const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mail_server/server.py");

struct Server {
    child: Child,
    port: u16,
    mails: Arc<Mutex<Vec<Value>>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Server {
    /// None, said aloud, where aiosmtpd is not installed.
    fn start(told: Value) -> Option<Self> {
        let there = Command::new("python3").args(["-c", "import aiosmtpd"]).stderr(Stdio::null()).status();
        if !there.is_ok_and(|status| status.success()) {
            assert!(std::env::var_os("CI").is_none(), "python3 with aiosmtpd must be installed where CI is set");
            eprintln!("SKIPPED: aiosmtpd is not installed (python3 -m pip install aiosmtpd), nothing was tested");
            return None;
        }
        let mut child =
            Command::new("python3").args([SERVER, &told.to_string()]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.next().unwrap().unwrap().parse().unwrap();
        let mails = Arc::<Mutex<Vec<Value>>>::default();
        let kept = mails.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                kept.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        Some(Self { child, port, mails })
    }

    /// What was taken, once there are so many.
    async fn mails(&self, count: usize) -> Vec<Value> {
        let watch = Stopwatch::start();
        loop {
            let mails = self.mails.lock().unwrap().clone();
            if mails.len() >= count {
                return mails;
            }
            assert!(watch.elapsed() < Duration::from_secs(20), "{count} mails expected: {mails:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn config(port: u16, more: &str) -> super::super::Config {
    checked(&format!(
        "log.enabled = false\nmqtt.enabled = false\n[mail.captain]\nserver = \"localhost:{port}\"\n\
         from = \"davy@mine.example\"\nto = \"captain@mine.example\"\n{more}"
    ))
    .unwrap()
}

#[tokio::test]
async fn an_alarm_is_a_mail_with_its_action_in_the_subject() {
    let Some(server) = Server::start(json!({})) else { return };
    let office = Played::with(vec![to_channel("mail", "captain", 41, "face", Priority::P1)]);
    let running = Running::start(&config(server.port, "security = \"none\"\ncall = \"119\""), &office, nobody());
    let receipts = office.receipts(|receipts| !receipts.is_empty()).await;
    assert_eq!((receipts[0].outcome, receipts[0].detail.as_str()), (Outcome::Delivered, "250 taken"));
    let mail = server.mails(1).await[0].clone();
    assert_eq!(mail["subject"], "[P1 橙色] 停止作业，撤出人员，查明原因：采煤工作面瓦斯超限，mine-3 T1 (mine-3.face)");
    assert!(mail["text"].as_str().unwrap().starts_with("停止作业，撤出人员，查明原因。采煤工作面瓦斯超限"), "{mail}");
    assert!(mail["text"].as_str().unwrap().contains("电话 119"), "{mail}");
    assert_eq!((&mail["type"], &mail["to"]), (&"text/plain".into(), &json!(["captain@mine.example"])));
    let id = super::super::tests::alarm("face", Priority::P1).id;
    assert_eq!(mail["id"], format!("<{id}.41@davy>"));
    running.ends().await;
}

/// With a certificate of the site's own authority and a login, in both ways; a stranger's certificate is refused.
#[tokio::test]
async fn a_login_goes_over_tls_only_and_only_to_the_server_that_is_meant() {
    let folder = tempfile::tempdir().unwrap();
    if !certificates(folder.path()) {
        return;
    }
    let file = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(file("password"), "s3cr3t-pw\n").unwrap();
    for security in ["tls", "starttls"] {
        let told = json!({ "security": security, "certificate": file("leaf.pem"), "key": file("key.pem"),
            "login": ["davy", "s3cr3t-pw"] });
        let Some(server) = Server::start(told) else { return };
        let login = |password: &str| {
            format!("security = \"{security}\"\nuser = \"davy\"\npassword_file = \"{}\"\n", file(password))
        };
        let trusting = format!("{}ca_file = \"{}\"", login("password"), file("ca.pem"));
        let office = Played::with(vec![to_channel("mail", "captain", 1, "face", Priority::P1)]);
        let running = Running::start(&config(server.port, &trusting), &office, nobody());
        let receipts = office.receipts(|receipts| !receipts.is_empty()).await;
        assert_eq!(receipts[0].outcome, Outcome::Delivered, "{receipts:?}");
        running.ends().await;
        let mail = server.mails(1).await[0].clone();
        assert_eq!((&mail["tls"], &mail["authenticated"]), (&true.into(), &true.into()));

        // A wrong password waits for somebody to set it right; it is in no receipt.
        std::fs::write(file("wrong"), "0ld-pw").unwrap();
        let wrong = format!("{}ca_file = \"{}\"", login("wrong"), file("ca.pem"));
        let detail = failed(&config(server.port, &wrong)).await;
        assert!(detail.contains("535") && !detail.contains("0ld-pw"), "{detail}");
        let detail = failed(&config(server.port, &login("password"))).await;
        assert!(detail.contains("certificate"), "{detail}");
        assert_eq!(server.mails(1).await.len(), 1);
    }
}

/// The detail of the first failure, which is to be tried again.
async fn failed(config: &super::super::Config) -> String {
    let office = Played::with(vec![to_channel("mail", "captain", 1, "face", Priority::P1)]);
    let running = Running::start(config, &office, nobody());
    let receipts = office.receipts(|receipts| !receipts.is_empty()).await;
    running.ends().await;
    assert_eq!(receipts[0].outcome, Outcome::Failed, "{receipts:?}");
    receipts[0].detail.clone()
}

#[tokio::test]
async fn a_temporary_refusal_is_tried_again_and_a_permanent_one_is_given_up() {
    for (told, outcome, detail) in [
        (json!({ "say": "451 come back later" }), Outcome::Failed, "451"),
        (json!({ "rcpt": "452 mailbox full" }), Outcome::Failed, "452"),
        (json!({ "rcpt": "550 no such person" }), Outcome::GivenUp, "550"),
        (json!({ "say": "554 refused" }), Outcome::GivenUp, "554"),
    ] {
        let Some(server) = Server::start(told) else { return };
        let office = Played::with(vec![to_channel("mail", "captain", 1, "face", Priority::P1)]);
        let running = Running::start(&config(server.port, "security = \"none\""), &office, nobody());
        let receipts = office.receipts(|receipts| !receipts.is_empty()).await;
        assert_eq!(receipts[0].outcome, outcome, "{receipts:?}");
        assert!(receipts[0].detail.contains(detail), "{}", receipts[0].detail);
        assert_eq!(office.rows().len(), usize::from(outcome == Outcome::Failed));
        running.ends().await;
    }
}

/// Away, then back on the same port: every mail arrives, each of them once.
#[tokio::test]
async fn a_server_that_was_away_gets_every_mail_once() {
    let Some(server) = Server::start(json!({})) else { return };
    let port = server.port;
    drop(server);
    let rows = (1..=30).map(|id| to_channel("mail", "captain", id, &format!("p{id}"), Priority::P3)).collect();
    let office = Played::with(rows);
    let running = Running::start(&config(port, "security = \"none\"\nmost_per = \"all\""), &office, nobody());
    office.receipts(|receipts| receipts.len() >= 6).await;
    assert!(office.receipts(|_| true).await.iter().all(|receipt| receipt.outcome == Outcome::Failed));
    let condition = ("davy-notify-failing".to_owned(), "mail captain".to_owned(), true);
    assert!(office.conditions().contains(&condition));
    let server = Server::start(json!({ "port": port })).unwrap();
    office
        .receipts(|receipts| receipts.iter().filter(|receipt| receipt.outcome == Outcome::Delivered).count() >= 30)
        .await;
    let mut ids: Vec<String> = server.mails(30).await.iter().map(|mail| mail["id"].to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), server.mails(30).await.len()), (30, 30), "none twice");
    assert_eq!(office.rows(), []);
    let ended = ("davy-notify-failing".to_owned(), "mail captain".to_owned(), false);
    assert_eq!(office.conditions().last(), Some(&ended));
    running.ends().await;
}

/// One that takes the connection and says nothing, and one that stops in the middle.
#[tokio::test]
async fn a_server_that_hangs_ends_with_the_time_limit() {
    for greeting in ["", "220 slow\r\n"] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let hanging = tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::io::AsyncWriteExt::write_all(&mut stream, greeting.as_bytes()).await.unwrap();
                open.push(stream);
            }
        });
        let watch = Stopwatch::start();
        let detail = failed(&config(port, "security = \"none\"\ntimeout = \"300ms\"")).await;
        assert!(watch.elapsed() < Duration::from_secs(10));
        assert!(detail.contains("within 300ms") || detail.contains("timed out"), "{detail}");
        hanging.abort();
    }
}

#[test]
fn what_cannot_work_is_told_with_its_key_before_the_start() {
    let base = "from = \"davy@mine.example\"\nto = \"captain@mine.example\"\n";
    for (text, key) in [
        ("server = \"smtp.example\"\nsecurity = \"none\"", "security"),
        ("server = \"smtp.example\"\nsecurity = \"ssl\"", "security"),
        ("server = \"smtp://smtp.example\"", "server"),
        ("server = \"smtp.example\"\nuser = \"davy\"", "password_file"),
        ("server = \"smtp.example\"\npassword_file = \"/no/such\"", "password_file"),
        ("server = \"smtp.example\"\nca_file = \"/no/such\"", "ca_file"),
        ("server = \"smtp.example\"\nlanguage = \"de\"", "language"),
        ("server = \"smtp.example\"\ntemplate_file = \"/no/such\"", "template_file"),
        ("server = \"smtp.example\"\nsevrer = 1", "sevrer"),
    ] {
        let told = checked(&format!("[mail.a]\n{base}{text}")).unwrap_err().join("\n");
        assert!(told.contains(&format!("davy.toml: notify.mail.a.{key}: ")), "{key}: {told}");
    }
    let told = checked(&format!("[mail.a]\nserver = \"x\"\n{}", base.replace("captain@", "captain "))).unwrap_err();
    assert!(told[0].contains("notify.mail.a.to"), "{told:?}");
}

/// An authority and a certificate for localhost; false, said aloud, without openssl.
fn certificates(folder: &Path) -> bool {
    let make = "set -e
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=mine-authority -keyout ca.key -out ca.pem
        openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key.pem -out leaf.csr
        echo subjectAltName=DNS:localhost > names
        openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out leaf.pem";
    match Command::new("sh").args(["-c", make]).current_dir(folder).output() {
        Ok(made) if made.status.success() => true,
        Ok(_) | Err(_) if std::env::var_os("CI").is_none() => {
            eprintln!("skipped: openssl is not installed");
            false
        }
        other => panic!("openssl is needed for this test: {other:?}"),
    }
}
