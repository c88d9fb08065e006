//! Reading by hand: what `davy modbus` asks a device beside the poller.
//!
//! In goes an address as a person writes it and one read at a time; out come the words, or why there are none.
//! A connection of its own, so that it works while the gateway polls the same device. After any trouble but an
//! exception the connection is dropped and the next read makes a new one. Never: a write.

use std::time::Duration;

use tokio_modbus::ExceptionCode;

use super::address::{Address, Host, Parity, Serial};
use super::line::{Line, Manners, Trouble};
use super::plan::Read;
use super::register::Place;

/// Why a read by hand brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("{0:?} is not an address: write 10.0.4.7:502, rtu+tcp://10.0.4.9:4001 or serial:/dev/ttyUSB0,9600,none,1")]
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
            Trouble::Unreachable(_) | Trouble::ConnectTimedOut(_) | Trouble::NotCalled => Self::Unreachable(text),
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
    patience: Patience,
    line: Line,
}

/// `10.0.4.7:502`, `10.0.4.7` (then 502, the port of Modbus TCP), `rtu+tcp://10.0.4.9:4001`,
/// `serial:/dev/ttyUSB0,9600,none,1` (baud, parity and stop bits may be left out).
fn parse(text: &str) -> Option<Address> {
    if let Some(host) = text.strip_prefix("rtu+tcp://") {
        return Host::parse(host).map(Address::RtuOverTcp);
    }
    if let Some(line) = text.strip_prefix("serial:") {
        let mut words = line.split(',');
        let path = words.next().filter(|path| !path.is_empty())?.to_owned();
        let baud = words.next().map_or(Some(9_600), |word| word.parse().ok().filter(|baud| *baud > 0))?;
        let parity = match words.next() {
            None | Some("none") => Parity::None,
            Some("even") => Parity::Even,
            Some("odd") => Parity::Odd,
            Some(_) => return None,
        };
        let stop_bits = words.next().map_or(Some(1), |word| word.parse().ok().filter(|bits| (1..=2).contains(bits)))?;
        return words.next().is_none().then_some(Address::Serial(Serial { path, baud, parity, stop_bits }));
    }
    Host::parse(text).or_else(|| Host::parse(&format!("{text}:502"))).map(Address::Tcp)
}

/// Connects to an address as a person writes it.
///
/// # Errors
/// The text is no address, or nobody takes the connection in time.
pub async fn connect(address: &str, patience: Patience) -> Result<Conversation, AskError> {
    let parsed = parse(address).ok_or_else(|| AskError::NotAnAddress(address.to_owned()))?;
    let mut line = Line::new(parsed, None);
    line.connect(patience.connect).await?;
    Ok(Conversation { patience, line })
}

impl Conversation {
    #[must_use]
    pub fn address(&self) -> &Address {
        self.line.address()
    }

    /// The words (or bits, as 0 and 1) from `place` on; `count` within what the protocol allows.
    ///
    /// # Errors
    /// As they come; the conversation goes on after each.
    pub async fn read(&mut self, unit: u8, place: Place, count: u16) -> Result<Vec<u16>, AskError> {
        self.line.connect(self.patience.connect).await?;
        let read = Read { function: place.function, address: place.address, count };
        let manners = Manners { timeout: self.patience.answer, pause: self.line.address().usual_pause() };
        let answer = self.line.ask(unit, read, manners).await?;
        let mut words = vec![0; usize::from(count)];
        let whole = answer.copy(0, &mut words);
        whole.map(|()| words).ok_or_else(|| AskError::Wrong("the answer is too short".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, told) in [
            ("10.0.4.7", Some("10.0.4.7:502")),
            ("plc:1502", Some("plc:1502")),
            ("rtu+tcp://10.0.4.9:4001", Some("rtu+tcp://10.0.4.9:4001")),
            ("serial:/dev/ttyS1", Some("serial:/dev/ttyS1")),
            ("serial:/dev/ttyS1,19200,even,2", Some("serial:/dev/ttyS1")),
            ("serial:/dev/ttyS1,fast", None),
            ("serial:/dev/ttyS1,9600,none,3", None),
            ("serial:", None),
            ("rtu+tcp://10.0.4.9", None),
            ("", None),
        ] {
            assert_eq!(parse(text).map(|address| address.to_string()).as_deref(), told, "{text}");
        }
    }
}
