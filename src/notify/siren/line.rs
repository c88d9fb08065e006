//! One line to sirens: an output is switched and read back, over Modbus TCP, TLS, a serial server or a serial line.
//!
//! ```text
//!  wait for the line (sirens share it) ─► open ─► write ─► settle ─► read back ─► close
//! ```
//! Every wait ends. RTU frames have no number, so an answer that comes too late could be taken for the next one: what
//! comes unasked is thrown away first, for as long as an answer may still be under way, and after a try in vain the line
//! must be silent behind an answer too. Only the output of a [`Config`] is ever written, by functions 5 and 6.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_modbus::ExceptionCode;
use tokio_modbus::client::{Context, Reader, Writer, tcp};
use tokio_modbus::slave::Slave;

use super::config::{Config, Output};
use crate::clock::Stopwatch;
use crate::model::duration_text;
use crate::source::modbus::{Address, Frames, Stream, checksum, stream};

#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error("cannot connect to {0}: {1}")]
    Unreachable(Address, std::io::Error),
    #[error("no answer from {0} within {within}", within = duration_text(*.1))]
    TimedOut(Address, Duration),
    #[error("{0}: {1}")]
    Broken(Address, String),
    #[error("{0} refuses: {1}; check unit and address")]
    Refused(Address, ExceptionCode),
    #[error("switched {wanted}, but it reads {found} back; check relay, horn and supply")]
    Stuck { wanted: &'static str, found: String },
}

/// The lines of all sirens: those with equal addresses share one.
#[derive(Default)]
pub struct Lines(BTreeMap<Address, Line>);

impl Lines {
    pub fn of(&mut self, config: &Config) -> Line {
        self.0.entry(config.address.clone()).or_default().clone()
    }
}

/// Since when an answer may be under way that nobody waits for any more.
#[derive(Clone, Default)]
pub struct Line(Arc<Mutex<Option<Stopwatch>>>);

/// What is asked of the siren's unit; functions 1, 2, 3, 5 and 6.
#[derive(Clone, Copy, Debug)]
enum Ask {
    Coil(u16),
    Input(u16),
    Register(u16),
    SetCoil(u16, bool),
    SetRegister(u16, u16),
}

impl Line {
    /// Writes the output and reads back what became of it.
    pub async fn switch(&self, config: &Config, on: bool) -> Result<String, Trouble> {
        let mut upset = self.0.lock().await;
        let mut talk = Talk::open(config, &mut upset).await?;
        let write = match config.output {
            Output::Coil(coil) => Ask::SetCoil(coil, on),
            Output::Register { address, on: one, off } => Ask::SetRegister(address, if on { one } else { off }),
        };
        talk.ask(write).await?;
        tokio::time::sleep(config.settle).await;
        let word = if on { "on" } else { "off" };
        let bit = |value: u16| said(value != 0);
        let found = match (config.confirm_input, config.output) {
            (Some(input), _) => bit(talk.ask(Ask::Input(input)).await?),
            (None, Output::Coil(coil)) => bit(talk.ask(Ask::Coil(coil)).await?),
            (None, Output::Register { address, on: one, off }) => match talk.ask(Ask::Register(address)).await? {
                value if value == one => said(true),
                value if value == off => said(false),
                value => value.to_string(),
            },
        };
        if found == word { Ok(format!("{word}, read back")) } else { Err(Trouble::Stuck { wanted: word, found }) }
    }

    /// Is the mute key held?
    pub async fn muted(&self, config: &Config) -> Result<bool, Trouble> {
        let Some(input) = config.mute_input else { return Ok(false) };
        let mut upset = self.0.lock().await;
        let held = Talk::open(config, &mut upset).await?.ask(Ask::Input(input)).await?;
        Ok(held != 0)
    }
}

fn said(on: bool) -> String {
    if on { "on" } else { "off" }.to_owned()
}

/// One connection, for a few questions.
struct Talk<'a> {
    config: &'a Config,
    speech: Speech,
    upset: &'a mut Option<Stopwatch>,
}

enum Speech {
    Tcp(Context),
    Rtu(Box<dyn Stream>),
}

impl<'a> Talk<'a> {
    async fn open(config: &'a Config, upset: &'a mut Option<Stopwatch>) -> Result<Self, Trouble> {
        let late = |_| Trouble::TimedOut(config.address.clone(), config.timeout);
        let opened = timeout(config.timeout, stream(&config.address)).await.map_err(late)?;
        let stream = opened.map_err(|error| Trouble::Unreachable(config.address.clone(), error))?;
        let speech = match config.address.frames() {
            Frames::Tcp => Speech::Tcp(tcp::attach_slave(stream, Slave(config.unit))),
            Frames::Rtu => Speech::Rtu(stream),
        };
        Ok(Self { config, speech, upset })
    }

    /// A bit as 0 or 1, or a word; of a write what was written.
    async fn ask(&mut self, ask: Ask) -> Result<u16, Trouble> {
        let config = self.config;
        match &mut self.speech {
            Speech::Tcp(client) => {
                let answer = timeout(config.timeout, ask_tcp(client, ask)).await;
                let answer = answer.map_err(|_| Trouble::TimedOut(config.address.clone(), config.timeout))?;
                let broken = |error: tokio_modbus::Error| Trouble::Broken(config.address.clone(), error.to_string());
                answer.map_err(broken)?.map_err(|code| Trouble::Refused(config.address.clone(), code))
            }
            Speech::Rtu(stream) => {
                let mut exchange = Exchange { stream, config };
                let answer = exchange.ask(ask, self.upset.as_ref()).await;
                *self.upset = match &answer {
                    Ok(_) | Err(Trouble::Refused(..)) => None,
                    Err(_) => Some(Stopwatch::start()),
                };
                answer
            }
        }
    }
}

async fn ask_tcp(client: &mut Context, ask: Ask) -> Result<Result<u16, ExceptionCode>, tokio_modbus::Error> {
    let bit = |bits: Vec<bool>| u16::from(bits.first() == Some(&true));
    Ok(match ask {
        Ask::Coil(address) => client.read_coils(address, 1).await?.map(bit),
        Ask::Input(address) => client.read_discrete_inputs(address, 1).await?.map(bit),
        Ask::Register(address) => {
            client.read_holding_registers(address, 1).await?.map(|words| words.first().copied().unwrap_or_default())
        }
        Ask::SetCoil(address, on) => client.write_single_coil(address, on).await?.map(|()| u16::from(on)),
        Ask::SetRegister(address, value) => client.write_single_register(address, value).await?.map(|()| value),
    })
}

/// Question and answer in RTU frames.
struct Exchange<'a> {
    stream: &'a mut Box<dyn Stream>,
    config: &'a Config,
}

impl Exchange<'_> {
    /// Adapters hand bytes on in lumps, up to 16 ms apart.
    const LUMPS: Duration = Duration::from_millis(20);
    /// An answer may come so many time-outs late.
    const OWED: u32 = 5;
    /// Longer than any answer to what is asked here.
    const MOST: usize = 256;

    async fn ask(&mut self, ask: Ask, upset: Option<&Stopwatch>) -> Result<u16, Trouble> {
        let upset = upset.filter(|since| since.elapsed() < self.config.timeout * Self::OWED);
        self.drain(if upset.is_some() { self.config.timeout } else { Duration::ZERO }).await?;
        let request = framed(&ask.request(self.config.unit));
        self.stream.write_all(&request).await.map_err(|error| self.broken(error.to_string()))?;
        let late = |_| Trouble::TimedOut(self.config.address.clone(), self.config.timeout);
        let within = self.config.timeout;
        let mut came = Vec::new();
        let heard = timeout(within, async {
            loop {
                self.receive(&mut came).await?;
                if let Some(heard) = hear(ask, self.config.unit, &request, &came) {
                    return heard.map_err(|what| self.broken(what));
                }
            }
        });
        let answer = heard.await.map_err(late)??;
        if upset.is_some() {
            let mut more = Vec::new();
            if timeout(within, self.receive(&mut more)).await.is_ok() {
                return Err(self.broken("one of two answers, which may be that to an earlier question".to_owned()));
            }
        }
        answer.map_err(|code| Trouble::Refused(self.config.address.clone(), ExceptionCode::new(code)))
    }

    /// Throws away what comes for so long, and what is there already.
    async fn drain(&mut self, span: Duration) -> Result<(), Trouble> {
        let (watch, mut thrown) = (Stopwatch::start(), Vec::new());
        let silence = self.config.address.usual_pause().max(Self::LUMPS);
        let mut wait = span.max(silence);
        while let Ok(came) = timeout(wait, self.receive(&mut thrown)).await {
            came?;
            if watch.elapsed() > span + self.config.timeout {
                return Err(self.broken("the line does not fall silent".to_owned()));
            }
            wait = span.saturating_sub(watch.elapsed()).max(silence);
        }
        Ok(())
    }

    async fn receive(&mut self, came: &mut Vec<u8>) -> Result<(), Trouble> {
        let mut chunk = [0; 64];
        let read = self.stream.read(&mut chunk).await.map_err(|error| self.broken(error.to_string()))?;
        if read == 0 {
            return Err(self.broken("the device closed the connection".to_owned()));
        }
        came.extend_from_slice(&chunk[..read]);
        came.drain(..came.len().saturating_sub(Self::MOST));
        Ok(())
    }

    fn broken(&self, what: String) -> Trouble {
        Trouble::Broken(self.config.address.clone(), what)
    }
}

impl Ask {
    const fn request(self, unit: u8) -> [u8; 6] {
        let (function, address, value) = match self {
            Self::Coil(address) => (1, address, 1),
            Self::Input(address) => (2, address, 1),
            Self::Register(address) => (3, address, 1),
            Self::SetCoil(address, on) => (5, address, if on { 0xFF00 } else { 0 }),
            Self::SetRegister(address, value) => (6, address, value),
        };
        let ([a1, a0], [v1, v0]) = (address.to_be_bytes(), value.to_be_bytes());
        [unit, function, a1, a0, v1, v0]
    }
}

fn framed(body: &[u8]) -> Vec<u8> {
    [body, &checksum(body).to_le_bytes()].concat()
}

/// An answer, or the code of a refusal; what is no answer in words.
type Heard = Result<Result<u16, u8>, String>;

/// None: there is more to come. Unit, function, length and checksum must all fit, and nothing may follow.
fn hear(ask: Ask, unit: u8, request: &[u8], came: &[u8]) -> Option<Heard> {
    // Drivers disturb a line when they begin to send.
    let disturbed = came.iter().take(4).take_while(|byte| **byte != unit && [0x00, 0xFF].contains(*byte)).count();
    let came = &came[disturbed..];
    let (function, [first, second, ..]) = (request[1], came) else { return None };
    let expected = match (ask, *second == function | 0x80) {
        (_, true) => 5,
        (Ask::Coil(_) | Ask::Input(_), false) => 6,
        (Ask::Register(_), false) => 7,
        (Ask::SetCoil(..) | Ask::SetRegister(..), false) => request.len(),
    };
    if *first != unit || *second & 0x7F != function {
        return Some(Err(format!("an answer of unit {first} to function {second}, not of unit {unit} to {function}")));
    }
    let rest = came.len().checked_sub(expected)?;
    if rest > 0 {
        return Some(Err("bytes after the end of the answer".to_owned()));
    }
    let (body, sum) = came.split_at(expected - 2);
    if checksum(body).to_le_bytes() != *sum {
        return Some(Err("the checksum does not fit".to_owned()));
    }
    Some(match (ask, body) {
        (_, [_, refused, code]) if *refused != function => Ok(Err(*code)),
        (Ask::Coil(_) | Ask::Input(_), [_, _, 1, bits]) => Ok(Ok(u16::from(bits & 1))),
        (Ask::Register(_), [_, _, 2, high, low]) => Ok(Ok(u16::from_be_bytes([*high, *low]))),
        (Ask::SetCoil(_, on), _) if came == request => Ok(Ok(u16::from(on))),
        (Ask::SetRegister(_, value), _) if came == request => Ok(Ok(value)),
        (Ask::Coil(_) | Ask::Input(_) | Ask::Register(_) | Ask::SetCoil(..) | Ask::SetRegister(..), _) => {
            Err("it confirms something else than what was asked".to_owned())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_right_answer_is_one() {
        let ask = Ask::SetCoil(3, true);
        let request = framed(&ask.request(7));
        assert_eq!(request[..6], [7, 5, 0, 3, 0xFF, 0]);
        for end in 0..request.len() {
            assert_eq!(hear(ask, 7, &request, &request[..end]), None, "{end} bytes");
        }
        assert_eq!(hear(ask, 7, &request, &request), Some(Ok(Ok(1))));
        let disturbed = [&[0, 0xFF][..], &request].concat();
        assert_eq!(hear(ask, 7, &request, &disturbed), Some(Ok(Ok(1))));
        assert_eq!(hear(ask, 7, &request, &framed(&[7, 0x85, 2])), Some(Ok(Err(2))));
        let off = framed(&Ask::SetCoil(3, false).request(7));
        let (twice, mut damaged) = ([&request[..], &[0]].concat(), request.clone());
        damaged[5] ^= 1;
        for wrong in [off, twice, damaged, framed(&[8, 5, 0, 3, 0xFF, 0]), framed(&[7, 1, 1, 1])] {
            assert!(matches!(hear(ask, 7, &request, &wrong), Some(Err(_))), "{wrong:02X?}");
        }
        let (read, register) = (Ask::Coil(3), Ask::Register(10));
        let (asked, asked_register) = (framed(&read.request(7)), framed(&register.request(7)));
        assert_eq!(hear(read, 7, &asked, &framed(&[7, 1, 1, 0xFF])), Some(Ok(Ok(1))));
        assert_eq!(hear(read, 7, &asked, &framed(&[7, 1, 1, 0xFE])), Some(Ok(Ok(0))));
        assert_eq!(hear(register, 7, &asked_register, &framed(&[7, 3, 2, 1, 2])), Some(Ok(Ok(258))));
        assert!(matches!(hear(register, 7, &asked_register, &framed(&[7, 3, 4, 1, 2])), Some(Err(_))));
    }
}
