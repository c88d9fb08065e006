//! One GSM modem on a serial line, and the only place that speaks AT commands (3GPP TS 27.007, 27.005).
//!
//! ```text
//!  open ─► ESC, AT ─► ATE0 ─► AT+CMGF=0 ─► AT+CPIN? ─► AT+CREG? ─► AT+CSQ ─► for each part: AT+CMGS=n ─► "> " ─► PDU, ^Z
//! ```
//! In goes a part at a time; out comes the network's reference of it, or the trouble in words that say what to do.
//! Every wait has an end. After any trouble the line is closed and opened anew, so that an answer that comes late is
//! not taken for the next one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_serial::{SerialPortBuilderExt, SerialStream};

use super::pdu::Pdu;

/// An ordinary command is answered within this time.
const ANSWER: Duration = Duration::from_secs(5);
/// A modem that was just switched on is asked so often whether it is there.
const KNOCKS: usize = 3;
const KNOCK: Duration = Duration::from_secs(1);
const QUIET: Duration = Duration::from_millis(100);
/// Longer lines are no answer to anything that is asked here.
const LINE: usize = 512;

#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error("modem {device} cannot be opened: {source}; check the cable and the name of the device", device = .device.display())]
    Closed {
        device: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("modem {device} does not answer to AT; check the name of the device, its baud and its power", device = .0.display())]
    Silent(PathBuf),
    #[error("the modem did not answer to {0} in time")]
    TimedOut(String),
    #[error("the line to the modem broke: {0}")]
    Lost(std::io::Error),
    #[error("no SIM card in the modem: put one in")]
    NoSim,
    #[error("the SIM card is locked ({0}): switch its PIN off in a telephone")]
    Locked(String),
    #[error("the modem has no network ({0}); check aerial, SIM card and contract")]
    NoNetwork(&'static str),
    #[error("{asked}: {said}")]
    Refused { asked: String, said: String },
    #[error("+CMS ERROR {0}{words}", words = cms(*.0))]
    Cms(u16),
}

impl Trouble {
    /// The number does not exist: trying again is of no use (3GPP TS 24.011, E-2: 1 and 28).
    pub const fn is_for_good(&self) -> bool {
        matches!(self, Self::Cms(1 | 28))
    }
}

/// Words for the codes of 3GPP TS 27.005 3.2.5 and 24.011 that a site meets.
const fn cms(code: u16) -> &'static str {
    match code {
        1 => " (the number is not assigned)",
        8 | 10 => " (barred by the network: check the contract)",
        21 => " (refused by the network)",
        28 => " (the number is not known)",
        38 => " (network out of order)",
        41 | 42 | 47 => " (network busy)",
        50 | 69 => " (not in the contract)",
        304 => " (the modem does not take the message's form)",
        310 => " (no SIM card)",
        311 | 316 => " (the SIM card is locked)",
        330 => " (the number of the message centre is missing on the SIM card)",
        331 | 332 => " (no network)",
        _ => "",
    }
}

pub struct Modem {
    device: PathBuf,
    baud: u32,
    line: Option<SerialStream>,
    read: Vec<u8>,
    /// `AT+CSQ`, 0 to 31; 99: not known.
    signal: String,
}

impl Modem {
    #[must_use]
    pub fn at(device: &Path, baud: u32) -> Self {
        Self { device: device.to_owned(), baud, line: None, read: Vec::new(), signal: "99".to_owned() }
    }

    /// Strength of the signal when it was last asked for.
    #[must_use]
    pub fn signal(&self) -> &str {
        &self.signal
    }

    /// Opens the line if it is not, and looks whether the modem can send.
    pub async fn ready(&mut self) -> Result<(), Trouble> {
        let looked = self.look().await;
        if looked.is_err() {
            self.line = None;
        }
        looked
    }

    async fn look(&mut self) -> Result<(), Trouble> {
        if self.line.is_none() {
            let fault = |source| Trouble::Closed { device: self.device.clone(), source };
            let line = tokio_serial::new(self.device.to_string_lossy(), self.baud).open_native_async();
            self.line = Some(line.map_err(|error| fault(error.into()))?);
            self.read.clear();
            self.knock().await?;
        }
        self.ask("AT+CMGF=0").await?;
        // +CME ERROR 10 of 27.007 9.2: SIM not inserted; a modem without CMEE says ERROR only.
        let no_sim = |trouble: &Trouble| matches!(trouble, Trouble::Refused { .. } | Trouble::Cms(310));
        let sim = self.ask("AT+CPIN?").await;
        let sim = sim.map_err(|trouble| if no_sim(&trouble) { Trouble::NoSim } else { trouble })?;
        let sim = value(&sim, "+CPIN:");
        if sim != "READY" {
            return Err(Trouble::Locked(sim.to_owned()));
        }
        let network = self.ask("AT+CREG?").await?;
        match value(&network, "+CREG:").split(',').nth(1).map(str::trim) {
            Some("1" | "5") => {}
            Some("2") => return Err(Trouble::NoNetwork("it is searching")),
            Some("3") => return Err(Trouble::NoNetwork("it was refused")),
            Some(_) | None => return Err(Trouble::NoNetwork("none found")),
        }
        let signal = self.ask("AT+CSQ").await?;
        self.signal = value(&signal, "+CSQ:").split(',').next().unwrap_or("99").to_owned();
        Ok(())
    }

    /// Is it there, and without its echo.
    async fn knock(&mut self) -> Result<(), Trouble> {
        for _ in 0..KNOCKS {
            // Out of a message that was begun and never ended.
            self.write(b"\x1b\r").await?;
            self.write(b"AT\r").await?;
            if let Ok(answer) = timeout(KNOCK, self.answer("AT")).await {
                answer.ok();
                // An answer to the ESC may still be on its way; it must not be taken for that to ATE0.
                timeout(QUIET, async { while self.more().await.is_ok() {} }).await.ok();
                self.read.clear();
                self.ask("ATE0").await?;
                return Ok(());
            }
        }
        Err(Trouble::Silent(self.device.clone()))
    }

    /// Sends one part; the network's reference of it.
    pub async fn send(&mut self, pdu: &Pdu, within: Duration) -> Result<String, Trouble> {
        let sent = self.submit(pdu, within).await;
        if sent.is_err() {
            self.line = None;
        }
        sent
    }

    async fn submit(&mut self, pdu: &Pdu, within: Duration) -> Result<String, Trouble> {
        let asked = format!("AT+CMGS={}", pdu.octets);
        let late = |asked: &str| Trouble::TimedOut(asked.to_owned());
        self.write(format!("{asked}\r").as_bytes()).await?;
        timeout(ANSWER, self.prompt(&asked)).await.map_err(|_| late(&asked))??;
        self.write(format!("{}\x1a", pdu.hex).as_bytes()).await?;
        let answer = timeout(within, self.answer(&asked)).await.map_err(|_| late("the message"))??;
        Ok(value(&answer, "+CMGS:").to_owned())
    }

    async fn ask(&mut self, command: &str) -> Result<Vec<String>, Trouble> {
        self.write(format!("{command}\r").as_bytes()).await?;
        timeout(ANSWER, self.answer(command)).await.map_err(|_| Trouble::TimedOut(command.to_owned()))?
    }

    /// Lines until the modem says how it went.
    async fn answer(&mut self, asked: &str) -> Result<Vec<String>, Trouble> {
        let mut lines = Vec::new();
        loop {
            let line = self.line().await?;
            if let Some(code) = line.strip_prefix("+CMS ERROR:").and_then(|code| code.trim().parse().ok()) {
                return Err(Trouble::Cms(code));
            }
            match line.as_str() {
                "OK" => return Ok(lines),
                "" => {}
                said if said == "ERROR" || said.starts_with("+CME ERROR") || said.starts_with("+CMS ERROR") => {
                    return Err(Trouble::Refused { asked: asked.to_owned(), said: said.to_owned() });
                }
                // What comes unasked, and a modem's echo, are lines that nobody looks for.
                _ if lines.len() < 32 => lines.push(line),
                _ => {}
            }
        }
    }

    /// Until the modem waits for the message: "> " without a line's end.
    async fn prompt(&mut self, asked: &str) -> Result<(), Trouble> {
        loop {
            if let Some(at) = self.read.windows(2).position(|two| two == b"> ") {
                self.read.drain(..at + 2);
                return Ok(());
            }
            let text = String::from_utf8_lossy(&self.read).into_owned();
            if let Some(error) = text.lines().find(|line| line.contains("ERROR")) {
                let code = error.strip_prefix("+CMS ERROR:").and_then(|code| code.trim().parse().ok());
                let said = error.trim().to_owned();
                return Err(code.map_or(Trouble::Refused { asked: asked.to_owned(), said }, Trouble::Cms));
            }
            self.more().await?;
        }
    }

    async fn line(&mut self) -> Result<String, Trouble> {
        loop {
            if let Some(at) = self.read.iter().position(|byte| *byte == b'\n' || *byte == b'\r') {
                let line: Vec<u8> = self.read.drain(..=at).collect();
                return Ok(String::from_utf8_lossy(&line).trim().to_owned());
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Result<(), Trouble> {
        if self.read.len() > LINE {
            self.read.clear();
        }
        let line = self.line.as_mut().ok_or_else(|| Trouble::Silent(self.device.clone()))?;
        match line.read_buf(&mut self.read).await {
            Ok(0) => Err(Trouble::Lost(std::io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => Ok(()),
            Err(error) => Err(Trouble::Lost(error)),
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        let line = self.line.as_mut().ok_or_else(|| Trouble::Silent(self.device.clone()))?;
        let written = timeout(ANSWER, line.write_all(bytes)).await;
        written.map_err(|_| Trouble::Silent(self.device.clone()))?.map_err(Trouble::Lost)
    }
}

/// What stands behind a name in an answer.
fn value<'a>(lines: &'a [String], name: &str) -> &'a str {
    lines.iter().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim()
}
