//! A whole gateway for a benchmark: temporary folder, methane points, chosen rules, free ports.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::super::Refusal;
use super::engine;
use crate::clock;
use crate::config::{self, Problems};
use crate::gateway::Gateway;

/// Gone with its folder when dropped.
pub struct Stand {
    folder: PathBuf,
}

impl Stand {
    pub fn new() -> Result<Self, Refusal> {
        let name = format!("davy-bench-{}-{}", std::process::id(), clock::now().micros());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(folder.join("rules"))
            .map_err(|error| Refusal(format!("{}: {error}", folder.display())))?;
        Ok(Self { folder })
    }

    pub fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    /// Points `load.p000000`, `load.p000001`, .. and `probe.p000000`, .., the benchmark's rules, an open
    /// MQTT listener. Messages go to MQTT subscribers and not into the log.
    pub async fn gateway(&self, points: u32, probes: u32, rules: usize) -> Result<Gateway, Refusal> {
        let broken =
            |path: &std::path::Path, error: &dyn std::fmt::Display| Refusal(format!("{}: {error}", path.display()));
        if rules > 0 {
            let path = self.folder.join("rules/bench.rhai");
            std::fs::write(&path, engine::rules(rules).text).map_err(|error| broken(&path, &error))?;
        }
        let mut csv = String::from("id,kind,place,period\n");
        for (site, count) in [("load", points), ("probe", probes)] {
            (0..count).for_each(|number| csv.push_str(&format!("{site}.p{number:06},methane,T1,1h\n")));
        }
        let path = self.folder.join("points.csv");
        std::fs::write(&path, csv).map_err(|error| broken(&path, &error))?;
        self.start(
            r#"
            [gateway]
            points = ["points.csv"]
            [web]
            address = "127.0.0.1:0"
            [source.mqtt_listener.front]
            address = "127.0.0.1:0"
            anonymous = true
            [source.mqtt_listener.front.limit]
            unacknowledged = 65535
            [notify.log]
            enabled = false
        "#,
        )
        .await
    }

    /// Devices `d0`, `d1`, .. with points `load.d0r0`, `load.d0r1`, .., one for each holding register.
    pub async fn poller(&self, devices: &[SocketAddr], registers: u16, period_ms: u64) -> Result<Gateway, Refusal> {
        let mut csv = String::from("id,kind,place,period,modbus.device,modbus.register\n");
        let mut text = String::from(
            "[gateway]\npoints = [\"points.csv\"]\n[web]\naddress = \"127.0.0.1:0\"\n[notify.log]\nenabled = false\n",
        );
        for (device, address) in devices.iter().enumerate() {
            text.push_str(&format!("[source.modbus.d{device}]\naddress = \"{address}\"\nperiod = \"{period_ms}ms\"\n"));
            for register in 0..registers {
                csv.push_str(&format!(
                    "load.d{device}r{register},methane,T1,1h,d{device},{}\n",
                    40_001 + u32::from(register)
                ));
            }
        }
        let path = self.folder.join("points.csv");
        std::fs::write(&path, csv).map_err(|error| Refusal(format!("{}: {error}", path.display())))?;
        self.start(&text).await
    }

    async fn start(&self, text: &str) -> Result<Gateway, Refusal> {
        let path = self.folder.join("bench.toml");
        let config = config::parse(text, &path, Problems::in_file("bench.toml"))
            .map_err(|problems| Refusal(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))?;
        Gateway::start(config).await.map_err(|error| Refusal::of(&error))
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).ok();
    }
}
