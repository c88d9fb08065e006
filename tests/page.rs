//! The page in a real browser: it says that it is silent, sounds once somebody has clicked, and what it has shown is a
//! receipt of whoever is signed in.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails where it stands")]

mod stage;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use stage::device::{Device, Message};
use stage::{Site, methane_rule, now_ms, program, until};

const TOKEN: &str = "a-token-of-li-who-sits-at-the-screen";

fn config() -> String {
    "[web]\naddress = \"127.0.0.1:0\"\n\
     [user.li]\nname = \"Li\"\ntoken_file = \"li\"\nroles = [\"operator\"]\n\
     [source.mqtt_listener.front]\naddress = \"127.0.0.1:0\"\nanonymous = true\n\
     [point.\"pit.t1\"]\nkind = \"methane\"\nplace = \"T1\"\n"
        .into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_says_that_it_is_silent_and_sounds_once_somebody_has_clicked() {
    let (Some(chromium), Some(node)) = (program("chromium"), program("node")) else { return };
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/edge_node/node_modules/ws");
    if !modules.exists() {
        assert!(std::env::var_os("CI").is_none(), "npm ci --prefix tests/edge_node was not run");
        eprintln!("skipped: tests/edge_node/node_modules is not installed: npm ci --prefix tests/edge_node");
        return;
    }
    let site = Site::new(&config(), &[("coal.rhai", &methane_rule(1.0, ""))]);
    site.write("li", TOKEN);
    let davy = site.start().await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/page/sound.js");
    let mut browser = Command::new(node)
        .arg(script)
        .args([chromium.to_str().unwrap(), &davy.url("/?lang=en"), TOKEN])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(browser.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert_eq!(lines.next().as_deref(), Some("loaded"));
    Device::new("t1").send(davy.mqtt(), [Message::value("pit/t1", 1.3, now_ms())]).await;
    let told: Value = serde_json::from_str(&lines.next().unwrap()).unwrap();
    assert_eq!(told["before"], json!({ "says": true, "sound": "off", "sounded": null }));
    assert_eq!(told["after"], json!({ "says": false, "sound": "on", "sounded": "P2" }));
    let receipts = "SELECT count(*) FROM outbox JOIN attempts ON attempts.message = outbox.id
         WHERE channel = 'console' AND recipient = 'li' AND outbox.outcome = 'delivered'";
    until("the console's receipt is on record", async || site.fact(receipts) == 1).await;
    drop(browser.stdin.take());
    assert!(browser.wait().unwrap().success());
}
