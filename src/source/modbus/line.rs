//! One line to a device or gateway, and the only place that speaks Modbus.
//!
//! In goes one read at a time; out comes an answer of exactly the length asked for, or the trouble. Every
//! wait has an end. Nothing is ever written to a device: a request is built from a [`Function`], and all
//! four of those read. The line opens itself when it is asked, and after any trouble but an exception makes
//! sure that an answer which is still on its way cannot be taken for the next one:
//!
//! ```text
//!  frames      connection                after trouble
//!  TCP         TCP, TLS, modem           a new connection; transaction numbers go on counting
//!  RTU         RTU over TCP              a new connection, and nothing is asked while it is drained
//!  RTU         serial line, modem        the same line is drained: nothing is asked, what comes is thrown away
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::timeout;
use tokio_modbus::client::{Client, Context, tcp};
use tokio_modbus::slave::{Slave, SlaveContext};
use tokio_modbus::{ExceptionCode, Request, Response};

use super::address::{Address, Frames};
use super::dial_in::{self, Slot};
use super::exchange::Exchange;
use super::mbap::Mbap;
use super::open::{Stream, open};
use super::plan::Read;
use super::register::Function;
use super::rtu;
use crate::clock::{self, Stopwatch};
use crate::ledger::Fate;
use crate::model::{Timestamp, duration_text};

/// What a read brought, and when it arrived.
#[derive(Debug)]
pub(super) struct Answer {
    pub data: Data,
    pub received: Timestamp,
}

/// Bits are padded to whole bytes, as they come.
#[derive(Debug, PartialEq)]
pub(super) enum Data {
    Words(Vec<u16>),
    Bits(Vec<bool>),
}

impl Answer {
    /// The first `into.len()` words (or bits, as 0 and 1) from `offset`.
    pub fn copy(&self, offset: usize, into: &mut [u16]) -> Option<()> {
        let span = offset..offset + into.len();
        match &self.data {
            Data::Words(words) => into.copy_from_slice(words.get(span)?),
            Data::Bits(bits) => {
                for (word, bit) in into.iter_mut().zip(bits.get(span)?) {
                    *word = u16::from(*bit);
                }
            }
        }
        Some(())
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("cannot connect: {0}")]
    Unreachable(std::io::Error),
    #[error("no connection within {}", duration_text(*.0))]
    ConnectTimedOut(Duration),
    #[error("the modem has not called")]
    NotCalled,
    #[error("no answer within {} to {}", duration_text(*.0), told(.1))]
    TimedOut(Duration, Read),
    /// An answer too, and the line stays in step.
    #[error("exception {:02X} ({}) to {}", u8::from(*.0), .0, told(.1))]
    Refused(ExceptionCode, Read),
    #[error("wrong answer to {asked}: {what}", asked = told(.0), what = .1)]
    Wrong(Read, String),
    #[error("connection lost: {0}")]
    Lost(String),
}

/// A read in words.
pub(super) fn told(read: &Read) -> String {
    let Read { function, address, count } = read;
    format!("function {} address {address} count {count}", *function as u8)
}

impl Trouble {
    pub const fn fate(&self) -> Fate {
        match self {
            Self::Unreachable(_) | Self::NotCalled | Self::Lost(_) => Fate::Disconnected,
            Self::ConnectTimedOut(_) | Self::TimedOut(..) => Fate::TimedOut,
            Self::Refused(..) => Fate::Exception,
            Self::Wrong(..) => Fate::WrongAnswer,
        }
    }

    /// Is there a chance that a shorter read is not refused?
    pub const fn is_about_the_address(&self) -> bool {
        matches!(self, Self::Refused(ExceptionCode::IllegalDataAddress | ExceptionCode::IllegalDataValue, _))
    }

    /// A gateway's word that it cannot reach the unit: other reads of it would only cost the gateway's time.
    pub const fn is_about_the_unit(&self) -> bool {
        matches!(self, Self::Refused(ExceptionCode::GatewayPathUnavailable | ExceptionCode::GatewayTargetDevice, _))
    }
}

/// How long to wait for a device, and how long to leave it in peace.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manners {
    /// Of connecting and of each answer.
    pub timeout: Duration,
    /// Silence since the last answer.
    pub pause: Duration,
}

enum Talk {
    Tcp(Context),
    Rtu(Exchange),
}

pub(super) struct Line {
    address: Address,
    /// Where the connection of a modem comes in.
    slot: Option<Slot>,
    talk: Option<Talk>,
    /// Number of the next transaction, whichever connection it uses.
    transaction: u16,
    last_answer: Option<Stopwatch>,
    /// Since when RTU frames may be out of step, and how long the line is to be drained from then.
    upset: Option<(Stopwatch, Duration)>,
    /// When the last request without a right answer went out to a unit; RTU frames only.
    unanswered: BTreeMap<u8, Stopwatch>,
}

impl Line {
    /// For so many time-outs an answer in RTU frames may still come; later ones are not guarded against.
    pub const OWED: u32 = 5;

    /// `slot` is for an address at which a modem calls.
    pub fn new(address: Address, slot: Option<Slot>) -> Self {
        // Not from 0, because answers to what was asked before a restart may still be under way.
        let transaction = clock::now().micros() as u16;
        let (talk, last_answer, upset, unanswered) = (None, None, None, BTreeMap::new());
        Self { address, slot, talk, transaction, last_answer, upset, unanswered }
    }

    pub const fn address(&self) -> &Address {
        &self.address
    }

    pub const fn is_open(&self) -> bool {
        self.talk.is_some()
    }

    /// Lumps of bytes thrown away since the last call, because they came when no answer was expected.
    pub fn stray(&mut self) -> u64 {
        match &mut self.talk {
            Some(Talk::Rtu(exchange)) => std::mem::take(&mut exchange.stray),
            Some(Talk::Tcp(_)) | None => 0,
        }
    }

    pub async fn ask(&mut self, unit: u8, read: Read, manners: Manners) -> Result<Answer, Trouble> {
        let used = self.talk.is_some();
        let mut result = self.try_ask(unit, read, manners).await;
        if used && matches!(result, Err(Trouble::Lost(_))) {
            // Many devices close a connection after a while, or after each answer.
            self.talk = None;
            result = self.try_ask(unit, read, manners).await;
        }
        match &result {
            Ok(_) | Err(Trouble::Refused(..)) => self.last_answer = Some(Stopwatch::start()),
            Err(Trouble::Unreachable(_) | Trouble::ConnectTimedOut(_) | Trouble::NotCalled) => {}
            Err(trouble) => self.recover(matches!(trouble, Trouble::Lost(_)), manners.timeout),
        }
        result
    }

    async fn try_ask(&mut self, unit: u8, read: Read, manners: Manners) -> Result<Answer, Trouble> {
        self.connect(manners.timeout).await?;
        match self.talk.as_ref().expect("it was just opened") {
            Talk::Tcp(_) => self.ask_tcp(unit, read, manners).await,
            Talk::Rtu(_) => self.ask_rtu(unit, read, manners).await,
        }
    }

    /// Opens the line if it is not open.
    pub async fn connect(&mut self, within: Duration) -> Result<(), Trouble> {
        if let Some(called) = self.slot.as_ref().and_then(dial_in::take) {
            self.attach(Box::new(called));
        }
        if self.talk.is_none() {
            let stream = timeout(within, open(&self.address)).await.map_err(|_| Trouble::ConnectTimedOut(within))??;
            self.attach(stream);
        }
        Ok(())
    }

    fn attach(&mut self, stream: Box<dyn Stream>) {
        let packets = match &self.address {
            Address::DialIn(modem) => modem.heartbeat.iter().chain([&modem.registration]).cloned().collect(),
            Address::Tcp(_) | Address::RtuOverTcp(_) | Address::Tls(..) | Address::Serial(_) => Vec::new(),
        };
        self.talk = Some(match self.address.frames() {
            Frames::Tcp => Talk::Tcp(tcp::attach(Mbap::new(stream, self.transaction, packets))),
            Frames::Rtu => Talk::Rtu(Exchange::new(stream, packets, self.silence())),
        });
    }

    /// No byte for so long: whatever was being sent has ended. Adapters hand bytes on in lumps, up to 16 ms
    /// apart.
    fn silence(&self) -> Duration {
        const LUMPS: Duration = Duration::from_millis(20);
        match &self.address {
            Address::Serial(serial) => serial.silence().max(LUMPS),
            Address::Tcp(_) | Address::RtuOverTcp(_) | Address::Tls(..) | Address::DialIn(_) => LUMPS,
        }
    }

    fn recover(&mut self, lost: bool, patience: Duration) {
        let longest = match &self.address {
            Address::Serial(serial) => serial.time_of(1.5 * rtu::LONGEST),
            Address::Tcp(_) | Address::RtuOverTcp(_) | Address::Tls(..) | Address::DialIn(_) => Duration::ZERO,
        };
        match &self.address {
            Address::Tcp(_) | Address::Tls(..) => self.talk = None,
            Address::RtuOverTcp(_) => {
                self.talk = None;
                self.upset = Some((Stopwatch::start(), patience));
            }
            Address::DialIn(modem) if lost || modem.frames == Frames::Tcp => self.talk = None,
            Address::Serial(_) if lost => self.talk = None,
            Address::Serial(_) | Address::DialIn(_) => self.upset = Some((Stopwatch::start(), patience.max(longest))),
        }
    }

    /// Waits until the device has had `pause` of silence since its last answer.
    async fn rest(&mut self, pause: Duration) {
        if let Some(last) = self.last_answer
            && let Some(left) = pause.checked_sub(last.elapsed())
            && !left.is_zero()
        {
            tokio::time::sleep(left).await;
        }
    }

    async fn settle(&mut self, read: Read) -> Result<(), Trouble> {
        let Some(Talk::Rtu(exchange)) = &mut self.talk else { return Err(closed()) };
        let drained = self.upset.map_or(Duration::ZERO, |(since, span)| span.saturating_sub(since.elapsed()));
        exchange.settle(read, drained).await
    }

    async fn ask_rtu(&mut self, unit: u8, read: Read, manners: Manners) -> Result<Answer, Trouble> {
        self.rest(manners.pause).await;
        self.settle(read).await?;
        self.upset = None;
        let Some(Talk::Rtu(exchange)) = &mut self.talk else { return Err(closed()) };
        let earlier = self.unanswered.get(&unit).filter(|earlier| earlier.elapsed() < manners.timeout * Self::OWED);
        let apart = earlier.map(Stopwatch::elapsed);
        self.unanswered.insert(unit, Stopwatch::start());
        let asked = timeout(manners.timeout, exchange.ask(unit, read)).await;
        let answer = asked.map_err(|_| Trouble::TimedOut(manners.timeout, read))??;
        let received = clock::now();
        if let Some(apart) = apart {
            // Two requests are open. Were this the answer to the first, that to the second would follow in the
            // same distance; only silence, somewhat longer than that, shows that there was one answer.
            exchange.alone(read, apart.min(manners.timeout * 2) + manners.timeout / 2).await?;
        }
        self.unanswered.remove(&unit);
        let data = answer.map_err(|exception| Trouble::Refused(exception, read))?;
        Ok(Answer { data, received })
    }

    async fn ask_tcp(&mut self, unit: u8, read: Read, manners: Manners) -> Result<Answer, Trouble> {
        self.rest(manners.pause).await;
        let Some(Talk::Tcp(client)) = &mut self.talk else { return Err(closed()) };
        let Read { function, address, count } = read;
        let request = match function {
            Function::Coils => Request::ReadCoils(address, count),
            Function::DiscreteInputs => Request::ReadDiscreteInputs(address, count),
            Function::HoldingRegisters => Request::ReadHoldingRegisters(address, count),
            Function::InputRegisters => Request::ReadInputRegisters(address, count),
        };
        client.set_slave(Slave(unit));
        self.transaction = self.transaction.wrapping_add(1);
        // `call`, not the reading methods: those trust the length of the answer, and panic in debug builds.
        let response = match timeout(manners.timeout, client.call(request)).await {
            Err(_) => return Err(Trouble::TimedOut(manners.timeout, read)),
            Ok(Err(error)) => return Err(fault(read, error)),
            Ok(Ok(answer)) => answer,
        };
        let received = clock::now();
        let data = match response {
            Err(exception) => return Err(Trouble::Refused(exception, read)),
            Ok(response) => data(read, response)?,
        };
        Ok(Answer { data, received })
    }
}

/// The data of an answer, if it is of the kind and length that were asked for.
fn data(read: Read, response: Response) -> Result<Data, Trouble> {
    let asked = usize::from(read.count);
    let (data, came, expected) = match (read.function, response) {
        (Function::HoldingRegisters, Response::ReadHoldingRegisters(words))
        | (Function::InputRegisters, Response::ReadInputRegisters(words)) => {
            let came = words.len();
            (Data::Words(words), came, asked)
        }
        (Function::Coils, Response::ReadCoils(bits))
        | (Function::DiscreteInputs, Response::ReadDiscreteInputs(bits)) => {
            let came = bits.len();
            (Data::Bits(bits), came, asked.next_multiple_of(8))
        }
        (_, other) => return Err(Trouble::Wrong(read, format!("function {}", other.function_code().value()))),
    };
    if came == expected { Ok(data) } else { Err(Trouble::Wrong(read, format!("{came} values instead of {expected}"))) }
}

fn fault(read: Read, error: tokio_modbus::Error) -> Trouble {
    match error {
        tokio_modbus::Error::Protocol(error) => {
            let what = match error {
                tokio_modbus::ProtocolError::HeaderMismatch { message, .. } => {
                    format!("of another request or unit: {message}")
                }
                tokio_modbus::ProtocolError::FunctionCodeMismatch { request, result } => {
                    let came = match result {
                        Ok(response) => response.function_code(),
                        Err(exception) => exception.function,
                    };
                    format!("function {} instead of {}", came.value(), request.value())
                }
            };
            Trouble::Wrong(read, what)
        }
        tokio_modbus::Error::Transport(error) => lost(read, &error),
    }
}

fn lost(read: Read, error: &std::io::Error) -> Trouble {
    use std::io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, InvalidData, InvalidInput, TimedOut, UnexpectedEof,
    };
    let kind = error.kind();
    // What tokio-modbus's decoder says of frames that are too short, too long or not Modbus.
    if error.raw_os_error().is_none() && [InvalidData, InvalidInput, UnexpectedEof].contains(&kind) {
        return Trouble::Wrong(read, format!("not Modbus: {error}"));
    }
    if [ConnectionReset, ConnectionAborted, BrokenPipe, TimedOut].contains(&kind) {
        return Trouble::Lost(error.to_string());
    }
    // At the end of the stream it reports whatever the last system error was; that would mislead.
    closed()
}

/// The end of the stream.
pub(super) fn closed() -> Trouble {
    Trouble::Lost("the device closed it".to_owned())
}
