//! A whole gateway for a benchmark: temporary folder, methane points, chosen rules, free ports.

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
            std::fs::write(&path, engine::rules(rules, engine::Runs::Native).text)
                .map_err(|error| broken(&path, &error))?;
        }
        let mut csv = String::from("id,kind,place,period\n");
        for (site, count) in [("load", points), ("probe", probes)] {
            (0..count).for_each(|number| csv.push_str(&format!("{site}.p{number:06},methane,T1,1h\n")));
        }
        let path = self.folder.join("points.csv");
        std::fs::write(&path, csv).map_err(|error| broken(&path, &error))?;
        let text = r#"
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
        "#;
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
