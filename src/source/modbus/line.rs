//! One TCP connection to a device or gateway, and the only place that speaks Modbus.
//!
//! In goes one read at a time; out comes an answer of exactly the length asked for, or the trouble. Every
//! wait has an end. Nothing is ever written to a device: a request is built from a [`Function`], and all
//! four of those read. After any trouble but an exception the line must be dropped: an answer that is
//! still on its way would otherwise be there when the next one is expected.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_modbus::client::{Client, Context, tcp};
use tokio_modbus::slave::{Slave, SlaveContext};
use tokio_modbus::{ExceptionCode, Request, Response};

use super::config::Address;
use super::plan::Read;
use super::register::Function;
use crate::clock::{self, Stopwatch};
use crate::ledger::Fate;
use crate::model::{Timestamp, duration_text};

/// What a read brought, and when it arrived.
#[derive(Debug)]
pub(super) struct Answer {
    pub data: Data,
    pub received: Timestamp,
}

/// As tokio-modbus gives it; bits may be padded to whole bytes.
#[derive(Debug)]
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

fn told(read: &Read) -> String {
    let Read { function, address, count } = read;
    format!("function {} address {address} count {count}", *function as u8)
}

impl Trouble {
    pub const fn fate(&self) -> Fate {
        match self {
            Self::Unreachable(_) | Self::Lost(_) => Fate::Disconnected,
            Self::ConnectTimedOut(_) | Self::TimedOut(..) => Fate::TimedOut,
            Self::Refused(..) => Fate::Exception,
            Self::Wrong(..) => Fate::WrongAnswer,
        }
    }

    /// Is there a chance that a shorter read is not refused?
    pub const fn is_about_the_address(&self) -> bool {
        matches!(self, Self::Refused(ExceptionCode::IllegalDataAddress | ExceptionCode::IllegalDataValue, _))
    }
}

pub(super) struct Line {
    client: Context,
    last_answer: Option<Stopwatch>,
}

impl Line {
    pub async fn open(address: &Address, within: Duration) -> Result<Self, Trouble> {
        let connecting = TcpStream::connect((address.host.as_str(), address.port));
        let stream = match timeout(within, connecting).await {
            Err(_) => return Err(Trouble::ConnectTimedOut(within)),
            Ok(Err(error)) => return Err(Trouble::Unreachable(error)),
            Ok(Ok(stream)) => stream,
        };
        // A request is one small packet; waiting for more would only delay it.
        stream.set_nodelay(true).map_err(Trouble::Unreachable)?;
        Ok(Self { client: tcp::attach(stream), last_answer: None })
    }

    /// Waits until the device has had `pause` of silence since its last answer.
    pub async fn rest(&mut self, pause: Duration) {
        if let Some(last) = self.last_answer
            && let Some(left) = pause.checked_sub(last.elapsed())
            && !left.is_zero()
        {
            tokio::time::sleep(left).await;
        }
    }

    pub async fn ask(&mut self, unit: u8, read: Read, within: Duration) -> Result<Answer, Trouble> {
        let Read { function, address, count } = read;
        let request = match function {
            Function::Coils => Request::ReadCoils(address, count),
            Function::DiscreteInputs => Request::ReadDiscreteInputs(address, count),
            Function::HoldingRegisters => Request::ReadHoldingRegisters(address, count),
            Function::InputRegisters => Request::ReadInputRegisters(address, count),
        };
        self.client.set_slave(Slave(unit));
        // `call`, not the reading methods: those trust the length of the answer, and panic in debug builds.
        let response = match timeout(within, self.client.call(request)).await {
            Err(_) => return Err(Trouble::TimedOut(within, read)),
            Ok(Err(error)) => return Err(fault(read, error)),
            Ok(Ok(answer)) => answer,
        };
        let received = clock::now();
        self.last_answer = Some(Stopwatch::start());
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
    Trouble::Lost("the device closed it".to_owned())
}
