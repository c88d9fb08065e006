//! A site that reaches the gateway by Sparkplug B only: gas rises at its face, its edge node loses power, and
//! comes back. Mosquitto and the edge node are real; nobody in the control room is shown a value that nobody
//! vouches for.

#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails where it stands")]

mod stage;

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use stage::{Site, free_port, methane_rule, now_ms, program, until, wait_for};

/// A program beside the gateway, killed when the story ends.
struct Beside(Child);

impl Beside {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
    }

    fn told(&mut self, line: &str) {
        writeln!(self.0.stdin.as_mut().unwrap(), "{line}").unwrap();
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[tokio::test]
async fn an_edge_node_raises_an_alarm_dies_and_comes_back() {
    let (Some(mosquitto), Some(node)) = (program("mosquitto"), program("node")) else { return };
    let edge_node = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/edge_node");
    if !edge_node.join("node_modules/sparkplug-client").exists() {
        assert!(std::env::var_os("CI").is_none(), "tests/edge_node/node_modules is not installed: npm ci");
        eprintln!("skipped: tests/edge_node/node_modules is not installed: npm ci --prefix tests/edge_node");
        return;
    }
    let port = free_port();
    let _broker = Beside::start(Command::new(mosquitto).args(["-p", &port.to_string()]).stderr(Stdio::null()));
    let edge = || {
        let address = format!("mqtt://127.0.0.1:{port}");
        Beside::start(Command::new(&node).arg(edge_node.join("edge.js")).args([&address, "pit", "gateway"]))
    };
    let config = format!(
        "[web]\naddress = \"127.0.0.1:0\"\n\
         [source.sparkplug.county]\nbroker = \"mqtt://127.0.0.1:{port}\"\nhost_id = \"davy\"\ngroups = [\"pit\"]\n\
         [point.\"pit.t1\"]\nkind = \"methane\"\nplace = \"T1\"\nperiod = \"1h\"\n\
         sparkplug = {{ group = \"pit\", node = \"gateway\", device = \"substation\", metric = \"Gas/CH4\" }}\n\
         [point.\"pit.gateway-Supply\"]\nkind = \"battery\"\nperiod = \"1h\"\n",
    );
    let site = Site::new(&config, &[("methane.rhai", &methane_rule(1.0, ""))]);
    let davy = site.start().await;
    let shows = async |id: &str, value: Option<f64>, quality: &str| {
        until(&format!("{id} shows {value:?} {quality}"), async || {
            let point = davy.point(id).await;
            point["value"].as_f64() == value && point["quality"].as_str() == Some(quality)
        })
        .await;
    };

    let began = now_ms();
    let mut field = edge();
    shows("pit.t1", Some(0.25), "good").await;
    shows("pit.gateway-Supply", Some(23.9), "good").await;
    field.told("data 1.25");
    let alarm = wait_for("the alarm is raised", async || davy.holding("methane-face").await).await;
    assert_eq!(alarm["subject"], "pit.t1", "{alarm}");

    // The site's power fails. The value is gone, the alarm is not.
    drop(field);
    shows("pit.t1", None, "bad:not_polled").await;
    shows("pit.gateway-Supply", None, "bad:not_polled").await;
    assert!(davy.holding("methane-face").await.is_some());

    // Power returns and the gas is gone; what was recorded meanwhile is stored and wakes nobody.
    let mut field = edge();
    shows("pit.t1", Some(0.25), "good").await;
    until("the alarm is over", async || davy.holding("methane-face").await.is_none()).await;
    field.told("past 3.5");
    until("the past is stored", async || {
        davy.samples("pit.t1", began - 120_000).await.iter().any(|told| told.value == Some(3.5))
    })
    .await;
    assert!(davy.holding("methane-face").await.is_none());
    assert_eq!(davy.fate("sparkplug.county", "death").await, 1);
    assert!(davy.stop().await.success());
}
