//! Reading by hand: what `davy modbus` asks a device beside the poller.
//!
//! In goes an address as a person writes it and one read at a time; out come the words, or why there are none.
//! A connection of its own, so that it works while the gateway polls the same device. After any trouble but an
//! exception the connection is dropped and the next read makes a new one. Never: a write.

use std::time::Duration;

use tokio_modbus::ExceptionCode;

use super::config::Address;
use super::line::{Line, Trouble};
use super::plan::Read;
use super::register::Place;

/// Why a read by hand brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("{0:?} is not an address: write host:port, such as 10.0.4.7:502")]
    NotAnAddress(String),
    #[error("{0}")]
    Unreachable(String),
    /// Connected, but no answer in time.
    #[error("{0}")]
    Silent(String),
    /// The device answered that it will not; `code` is the exception of the Modbus specification.
    #[error("{text}")]
    Refused { code: u8, text: String },
    /// Something came that is no answer.
    #[error("{0}")]
    Wrong(String),
}

impl From<Trouble> for AskError {
    fn from(trouble: Trouble) -> Self {
        let text = trouble.to_string();
        match trouble {
            Trouble::Unreachable(_) | Trouble::ConnectTimedOut(_) => Self::Unreachable(text),
            Trouble::TimedOut(..) => Self::Silent(text),
            Trouble::Refused(exception, _) => Self::Refused { code: exception.into(), text },
            Trouble::Wrong(..) | Trouble::Lost(_) => Self::Wrong(text),
        }
    }
}

impl AskError {
    /// Does a device or unit stand behind this answer? A gateway that cannot reach the unit says so itself
    /// (exceptions 0A and 0B).
    #[must_use]
    pub fn is_an_answer(&self) -> bool {
        let nobody = [ExceptionCode::GatewayPathUnavailable, ExceptionCode::GatewayTargetDevice].map(u8::from);
        matches!(self, Self::Refused { code, .. } if !nobody.contains(code))
    }

    /// Is there a chance that fewer registers are not refused?
    #[must_use]
    pub fn is_about_the_address(&self) -> bool {
        let address = [ExceptionCode::IllegalDataAddress, ExceptionCode::IllegalDataValue].map(u8::from);
        matches!(self, Self::Refused { code, .. } if address.contains(code))
    }
}

/// How long a connection and an answer may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    pub connect: Duration,
    pub answer: Duration,
}

/// A connection to a device, made anew when it was lost.
pub struct Conversation {
    address: Address,
    patience: Patience,
    line: Option<Line>,
}

/// Connects to `10.0.4.7:502`; without a port to 502, the port of Modbus TCP.
///
/// # Errors
/// The text is no address, or nobody takes the connection in time.
pub async fn connect(address: &str, patience: Patience) -> Result<Conversation, AskError> {
    let parsed = Address::parse(address).or_else(|| Address::parse(&format!("{address}:502")));
    let address = parsed.ok_or_else(|| AskError::NotAnAddress(address.to_owned()))?;
    let line = Line::open(&address, patience.connect).await?;
    Ok(Conversation { address, patience, line: Some(line) })
}

impl Conversation {
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The words (or bits, as 0 and 1) from `place` on; `count` within what the protocol allows.
    ///
    /// # Errors
    /// As they come; the conversation goes on after each.
    pub async fn read(&mut self, unit: u8, place: Place, count: u16) -> Result<Vec<u16>, AskError> {
        let line = match &mut self.line {
            Some(line) => line,
            none @ None => none.insert(Line::open(&self.address, self.patience.connect).await?),
        };
        let read = Read { function: place.function, address: place.address, count };
        match line.ask(unit, read, self.patience.answer).await {
            Ok(answer) => {
                let mut words = vec![0; usize::from(count)];
                let whole = answer.copy(0, &mut words);
                whole.map(|()| words).ok_or_else(|| AskError::Wrong("the answer is too short".to_owned()))
            }
            Err(trouble) => {
                if !matches!(trouble, Trouble::Refused(..)) {
                    self.line = None;
                }
                Err(trouble.into())
            }
        }
    }
}
