//! Opens the connection or the serial line of an address. It waits as long as it takes; whoever calls sets
//! the limit. A modem is not called: it calls.

use std::fmt::Debug;
use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_serial::{DataBits, Parity as LineParity, SerialPortBuilderExt, StopBits};

use super::address::{Address, Host, Identity, Parity, Serial};
use super::line::Trouble;
use super::tls;

/// Bytes to and from a device, over whatever carries them.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Debug + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Debug + Send + Unpin> Stream for S {}

pub(super) async fn open(address: &Address) -> Result<Box<dyn Stream>, Trouble> {
    match address {
        Address::Tcp(host) | Address::RtuOverTcp(host) => Ok(Box::new(connect(host).await?)),
        Address::Tls(host, identity) => secure(host, identity).await,
        Address::Serial(serial) => line(serial),
        Address::DialIn(_) => Err(Trouble::NotCalled),
    }
}

/// For whoever speaks to a device that is not polled.
pub(crate) async fn stream(address: &Address) -> io::Result<Box<dyn Stream>> {
    open(address).await.map_err(|trouble| match trouble {
        Trouble::Unreachable(error) => error,
        Trouble::ConnectTimedOut(_)
        | Trouble::NotCalled
        | Trouble::TimedOut(..)
        | Trouble::Refused(..)
        | Trouble::Wrong(..)
        | Trouble::Lost(_) => io::Error::other(trouble.to_string()),
    })
}

async fn connect(host: &Host) -> Result<TcpStream, Trouble> {
    let stream = TcpStream::connect((host.host.as_str(), host.port)).await.map_err(Trouble::Unreachable)?;
    // A request is one small packet; waiting for more would only delay it.
    stream.set_nodelay(true).map_err(Trouble::Unreachable)?;
    Ok(stream)
}

async fn secure(host: &Host, identity: &Identity) -> Result<Box<dyn Stream>, Trouble> {
    let (config, name) = tls::client(identity).map_err(|fault| Trouble::Unreachable(io::Error::other(fault)))?;
    let stream = connect(host).await?;
    let secured = TlsConnector::from(config).connect(name, stream).await.map_err(Trouble::Unreachable)?;
    Ok(Box::new(secured))
}

/// Locked, so that no other program listens in; eight data bits, as RTU has it.
fn line(serial: &Serial) -> Result<Box<dyn Stream>, Trouble> {
    let parity = match serial.parity {
        Parity::None => LineParity::None,
        Parity::Even => LineParity::Even,
        Parity::Odd => LineParity::Odd,
    };
    let stop_bits = if serial.stop_bits == 2 { StopBits::Two } else { StopBits::One };
    let port = tokio_serial::new(&serial.path, serial.baud)
        .data_bits(DataBits::Eight)
        .parity(parity)
        .stop_bits(stop_bits)
        .open_native_async()
        .map_err(|error| Trouble::Unreachable(error.into()))?;
    Ok(Box::new(port))
}
