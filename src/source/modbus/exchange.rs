//! Question and answer in RTU frames on one stream, and what it takes to keep the two together.
//!
//! Whatever comes when nothing was asked is thrown away and counted: it may be an answer that was given up.
//! The packets by which a modem shows that it lives are taken out and are no trouble. The limits of time are
//! the caller's, but for a line that does not fall silent.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_modbus::ExceptionCode;

use super::address::Packet;
use super::line::{Data, Trouble, closed};
use super::open::Stream;
use super::plan::Read;
use super::rtu::{self, Heard};
use crate::clock::Stopwatch;

pub(super) struct Exchange {
    stream: Box<dyn Stream>,
    packets: Vec<Packet>,
    /// Without a byte for so long, a frame has ended.
    silence: Duration,
    /// Lumps of bytes that came unasked.
    pub stray: u64,
}

impl Exchange {
    /// A line on which bytes come unasked for so long is disturbed.
    const BABBLE: Duration = Duration::from_secs(2);

    pub fn new(stream: Box<dyn Stream>, packets: Vec<Packet>, silence: Duration) -> Self {
        Self { stream, packets, silence, stray: 0 }
    }

    /// Throws away what comes for `drained`, and what is there already; returns when the line is silent.
    pub async fn settle(&mut self, read: Read, drained: Duration) -> Result<(), Trouble> {
        let watch = Stopwatch::start();
        let mut wait = drained;
        // Bytes that the system holds already are read however short the wait.
        while let Ok(came) = timeout(wait, self.receive()).await {
            let mut came = came?;
            self.take_out(&mut came);
            self.stray += u64::from(!came.is_empty());
            if watch.elapsed() > drained + Self::BABBLE {
                return Err(Trouble::Wrong(read, "the line does not fall silent".to_owned()));
            }
            wait = drained.saturating_sub(watch.elapsed()).max(self.silence);
        }
        Ok(())
    }

    pub async fn ask(&mut self, unit: u8, read: Read) -> Result<Result<Data, ExceptionCode>, Trouble> {
        self.stream.write_all(&rtu::request(unit, read)).await.map_err(|error| Trouble::Lost(error.to_string()))?;
        let mut came = Vec::new();
        loop {
            came.extend(self.receive().await?);
            let heard = match rtu::hear(unit, read, &came) {
                Heard::Wrong(_) => {
                    self.take_out(&mut came);
                    rtu::hear(unit, read, &came)
                }
                heard @ (Heard::More | Heard::Answer(_)) => heard,
            };
            match heard {
                Heard::Answer(answer) => return Ok(answer),
                Heard::Wrong(_) if self.packets.iter().any(|packet| packet.0.starts_with(&came)) => {}
                Heard::Wrong(what) => return Err(Trouble::Wrong(read, what)),
                Heard::More => {}
            }
        }
    }

    /// Makes sure that nothing follows for `span`.
    pub async fn alone(&mut self, read: Read, span: Duration) -> Result<(), Trouble> {
        let watch = Stopwatch::start();
        while let Ok(came) = timeout(span.saturating_sub(watch.elapsed()), self.receive()).await {
            let mut came = came?;
            self.take_out(&mut came);
            if !came.is_empty() {
                self.stray += 1;
                return Err(Trouble::Wrong(read, "one of two answers, which may be that to an earlier request".into()));
            }
        }
        Ok(())
    }

    async fn receive(&mut self) -> Result<Vec<u8>, Trouble> {
        let mut chunk = [0; 512];
        match self.stream.read(&mut chunk).await {
            Ok(0) => Err(closed()),
            Ok(read) => Ok(chunk[..read].to_vec()),
            Err(error) => Err(Trouble::Lost(error.to_string())),
        }
    }

    /// Takes a modem's packets off both ends.
    fn take_out(&self, came: &mut Vec<u8>) {
        loop {
            let before = came.len();
            for Packet(packet) in &self.packets {
                if came.starts_with(packet) {
                    came.drain(..packet.len());
                } else if came.ends_with(packet) {
                    came.truncate(came.len() - packet.len());
                }
            }
            if came.len() == before {
                return;
            }
        }
    }
}
