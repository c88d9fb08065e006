//! `davy run`: the gateway, until a signal.

use std::path::Path;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use super::{Refusal, runtime};
use crate::config;
use crate::gateway::Gateway;

pub fn run(path: &Path) -> Result<ExitCode, Refusal> {
    let config = config::load(path).map_err(|problems| {
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Refusal(format!("{}\n{} problems, not started", told.join("\n"), told.len()))
    })?;
    runtime()?.block_on(async {
        let gateway = Gateway::start(config).await.map_err(|error| Refusal::of(&error))?;
        let stop = gateway.stop.clone();
        let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| Refusal::of(&error))?;
        let mut terminate = signal(SignalKind::terminate()).map_err(|error| Refusal::of(&error))?;
        let addresses: Vec<String> = gateway.mqtt.iter().map(ToString::to_string).collect();
        eprintln!("davy runs: page and API http://{}, mqtt {}", gateway.web, addresses.join(", "));
        let signals = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => info!("interrupted, stopping"),
                _ = terminate.recv() => info!("told to stop"),
            }
            signals.cancel();
        });
        gateway.run().await.map_err(|error| Refusal::of(&error))?;
        Ok(ExitCode::SUCCESS)
    })
}
