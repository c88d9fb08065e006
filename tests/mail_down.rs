//! The mail server is down while a P1 comes: the mail is tried again and again, the person beside it is called at once,
//! the dead channel is an alarm of its own, and when the server is back every mail arrives once, with its receipt. The
//! hour of it is told by the queue's own clock in `src/notify/queue/tests.rs`; here seconds stand for it.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails where it stands")]

mod stage;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use stage::pager::Pager;
use stage::{Site, free_port, methane_rule, now_ms, until, wait_for};

const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mail_server/server.py");
const TOKEN: &str = "a-token-that-nobody-guesses";

fn is_there() -> bool {
    let there = Command::new("python3").args(["-c", "import aiosmtpd"]).stderr(Stdio::null()).status();
    let there = there.is_ok_and(|status| status.success());
    assert!(there || std::env::var_os("CI").is_none(), "python3 with aiosmtpd must be installed where CI is set");
    if !there {
        eprintln!("SKIPPED: aiosmtpd is not installed (python3 -m pip install aiosmtpd), nothing was tested");
    }
    there
}

struct MailServer {
    child: Child,
    mails: Arc<Mutex<Vec<Value>>>,
}

impl MailServer {
    fn start(port: u16) -> Self {
        let told = json!({ "port": port }).to_string();
        let mut child = Command::new("python3").args([SERVER, &told]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), port.to_string());
        let mails = Arc::<Mutex<Vec<Value>>>::default();
        let kept = mails.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                kept.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        Self { child, mails }
    }

    fn mails(&self) -> Vec<Value> {
        self.mails.lock().unwrap().clone()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn config(port: u16, pager: &Pager) -> String {
    format!(
        "[web]\naddress = \"127.0.0.1:0\"\n[source.http.scada]\ntoken_file = \"token\"\npoints = [\"pit.*\"]\n\
         [notify.log]\nenabled = false\n[notify.mqtt]\nenabled = false\n\
         [point.\"pit.t1\"]\nname = \"3201 T1\"\nkind = \"methane\"\nplace = \"T1\"\nperiod = \"1h\"\n\
         [point.\"pit.t2\"]\nname = \"3202 T1\"\nkind = \"methane\"\nplace = \"T1\"\nperiod = \"1h\"\n\
         [position.operator]\nwho = [\"person.zhang\", \"person.wang\"]\n\
         [policy.P1]\nevery = \"1s\"\nagain = \"1h\"\nanswer = \"1h\"\n\
         step = [{{ who = \"operator\", after = \"0s\" }}]\n\
         [person.zhang]\nname = \"zhang\"\nreach = [\"mail.zhang\"]\n\
         [person.wang]\nname = \"wang\"\nreach = [\"webhook.wang\"]\n\
         [notify.mail.zhang]\nserver = \"localhost:{port}\"\nsecurity = \"none\"\nfrom = \"davy@mine.example\"\n\
         to = \"zhang@mine.example\"\ntimeout = \"2s\"\n\
         [notify.webhook.wang]\nurl = \"http://{}/hook\"\n",
        pager.address
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_mail_server_delays_nobody_else_and_every_mail_arrives_once_when_it_is_back() {
    if !is_there() {
        return;
    }
    let (pager, port) = (Pager::start().await, free_port());
    let rule = methane_rule(1.0, "").replace("\"P2\"", "\"P1\"");
    let site = Site::new(&config(port, &pager), &[("methane.rhai", &rule)]);
    site.write("token", TOKEN);
    let davy = site.start().await;
    let sample = json!([{ "point": "pit.t1", "time": now_ms(), "value": 1.6 }]);
    let sent = davy.client().post(davy.url("/api/v1/samples")).bearer_auth(TOKEN).json(&sample).send().await.unwrap();
    assert!(sent.status().is_success(), "{}", sent.text().await.unwrap());

    // The mail cannot be sent; the next person is called when the first has not answered, by a channel that works.
    let heard = wait_for("the next person is called", async || pager.of_rule("methane-face").into_iter().next()).await;
    assert_eq!(heard.message["why"]["person"], "wang");
    let delay = "SELECT max(o.settled - o.created) FROM outbox o WHERE o.channel = 'webhook' AND o.settled IS NOT NULL";
    until("its receipt", async || {
        site.fact("SELECT count(*) FROM outbox WHERE channel = 'webhook' AND settled > 0") > 0
    })
    .await;
    assert!(site.fact(delay) < 2_000_000, "the dead channel delays no other");
    let failing = wait_for("the dead channel is an alarm", async || davy.holding("davy-notify-failing").await).await;
    assert_eq!(failing["subject"], "mail zhang");
    let tries = "SELECT count(*) FROM attempts JOIN outbox ON outbox.id = attempts.message
        WHERE outbox.channel = 'mail' AND attempts.outcome = 'failed'";
    assert!(site.fact(tries) >= 3);
    // The pauses grow: second after second of trying would be another outage.
    let first_pauses = "SELECT (max(at) - min(at)) / 1000 FROM (SELECT attempts.at AS at FROM attempts
        JOIN outbox ON outbox.id = attempts.message WHERE outbox.channel = 'mail' ORDER BY attempts.at LIMIT 3)";
    assert!(site.fact(first_pauses) >= 2_000, "{} ms between the first three tries", site.fact(first_pauses));

    // The gateway is cut off in the middle, and the server comes back after it.
    davy.kill();
    let davy = site.start().await;
    let server = MailServer::start(port);
    let waiting = "SELECT count(*) FROM outbox WHERE channel = 'mail' AND settled IS NULL";
    until("every mail is settled", async || site.fact(waiting) == 0).await;
    until("the channel is well again", async || davy.holding("davy-notify-failing").await.is_none()).await;
    // What is told of the end comes after it; then all is still.
    until("all is settled", async || site.fact("SELECT count(*) FROM outbox WHERE settled IS NULL") == 0).await;
    let owed = site.fact("SELECT count(*) FROM outbox WHERE channel = 'mail'");
    assert_eq!(site.fact("SELECT count(*) FROM outbox WHERE channel = 'mail' AND outcome = 'delivered'"), owed);
    let receipts = "SELECT count(*) FROM (SELECT message FROM attempts JOIN outbox ON outbox.id = attempts.message
        WHERE outbox.channel = 'mail' AND attempts.outcome = 'delivered' GROUP BY message HAVING count(*) = 1)";
    assert_eq!(site.fact(receipts), owed, "one receipt each");
    let ids: Vec<String> = server.mails().iter().map(|mail| mail["id"].as_str().unwrap().to_owned()).collect();
    assert!(!ids.is_empty());
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "no mail twice: {ids:?}");
    assert!(davy.stop().await.success());
}
