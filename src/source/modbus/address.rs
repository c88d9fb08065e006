//! Where a bus is and how it is spoken to, as written and as proven.
//!
//! ```toml
//! address = "10.0.4.7:502"                  # Modbus TCP
//! address = "rtu+tcp://10.0.4.7:4001"       # RTU frames through a serial server
//! address = "serial:/dev/ttyUSB0"           # RTU on a line of this machine
//! baud = 9600                               # 9600, "none", 1: what most detectors leave the works with
//! parity = "none"                           # none, even, odd
//! stop_bits = 1
//! address = "tls://10.0.4.7:802"            # Modbus/TCP Security: both sides show certificates
//! ca = "plant-ca.pem"
//! certificate = "davy.pem"
//! key = "davy.key"
//! server_name = "plc-3.plant"               # if the device's certificate does not name its address
//! address = "dial-in:0.0.0.0:4196"          # Davy listens; the modem of the device calls
//! registration = "13912345678"              # the packet by which the modem names itself, or "hex:01 AB"
//! heartbeat = "hex:FE"                      # a packet that it sends now and then, thrown away
//! frames = "rtu"                            # what it carries: rtu or tcp
//! ```
//! Devices with equal addresses share one bus and are asked one after the other. Nothing is opened here,
//! but the files of TLS are read once, so that a wrong one is told before anything is started.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::tls;
use crate::config::{Key, Problems};

/// Host and port. A name is looked up at each connect.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host {
    pub host: String,
    pub port: u16,
}

impl Host {
    /// `10.0.4.7:502`, `gateway-2.plant:502`, `[fd00::7]:502`
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = match host.strip_prefix('[') {
            Some(six) => six.strip_suffix(']')?,
            None if host.contains(':') => return None,
            None => host,
        };
        let sound = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '/');
        let port = port.parse().ok().filter(|port| *port != 0)?;
        sound.then(|| Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// One bus. All devices with an equal address share it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Address {
    Tcp(Host),
    RtuOverTcp(Host),
    Tls(Host, Identity),
    Serial(Serial),
    DialIn(Modem),
}

/// How a bus marks the beginning and the end of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Frames {
    /// With a transaction number, "Modbus Messaging on TCP/IP Implementation Guide V1.0b" section 3.
    Tcp,
    /// With a checksum, "Modbus over Serial Line V1.02" section 2.5.1.
    Rtu,
}

/// What both sides of a TLS connection are known by; PEM files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    pub ca: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// The name that the device's certificate must carry.
    pub server_name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Serial {
    pub path: String,
    pub baud: u32,
    pub parity: Parity,
    pub stop_bits: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Parity {
    None,
    Even,
    Odd,
}

impl Serial {
    /// Start, eight data, parity and stop bits: 11 with parity or a second stop bit as the standard has it
    /// (section 2.5.1); the 10 of "8N1" are counted as 11 too, which errs to the side of silence.
    const BITS: f64 = 11.0;

    /// Time that so many characters take.
    #[must_use]
    pub fn time_of(&self, characters: f64) -> Duration {
        Duration::from_secs_f64(characters * Self::BITS / f64::from(self.baud))
    }

    /// The silence that ends a frame: 3.5 characters, and 1.75 ms beyond 19,200 baud (section 2.5.1.1).
    #[must_use]
    pub fn silence(&self) -> Duration {
        if self.baud > 19_200 { Duration::from_micros(1_750) } else { self.time_of(3.5) }
    }
}

/// A modem that calls Davy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Modem {
    pub listen: SocketAddr,
    pub registration: Packet,
    pub heartbeat: Option<Packet>,
    pub frames: Frames,
}

/// A short packet by which a modem names itself or shows that it lives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Packet(pub Vec<u8>);

impl Packet {
    /// Longer ones are not read.
    pub const LONGEST: usize = 64;

    fn parse(text: &str) -> Option<Self> {
        let bytes = match text.strip_prefix("hex:") {
            None => text.as_bytes().to_vec(),
            Some(hex) => {
                let digits: String = hex.chars().filter(|c| !c.is_whitespace()).collect();
                let pairs = digits.is_ascii() && digits.len().is_multiple_of(2);
                let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).ok();
                pairs.then(|| (0..digits.len()).step_by(2).map(byte).collect::<Option<Vec<_>>>())??
            }
        };
        (1..=Self::LONGEST).contains(&bytes.len()).then_some(Self(bytes))
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(&self.0) {
            Ok(text) if text.chars().all(|c| !c.is_control()) => f.write_str(text),
            Ok(_) | Err(_) => {
                f.write_str("hex:")?;
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
            }
        }
    }
}

impl Address {
    #[must_use]
    pub const fn frames(&self) -> Frames {
        match self {
            Self::Tcp(_) | Self::Tls(..) => Frames::Tcp,
            Self::RtuOverTcp(_) | Self::Serial(_) => Frames::Rtu,
            Self::DialIn(modem) => modem.frames,
        }
    }

    /// What a device behind it gets between two frames unless the configuration says more.
    #[must_use]
    pub fn usual_pause(&self) -> Duration {
        match self {
            Self::Serial(serial) => serial.silence(),
            Self::Tcp(_) | Self::RtuOverTcp(_) | Self::Tls(..) | Self::DialIn(_) => Duration::ZERO,
        }
    }

    /// Can two different addresses not be served at once?
    fn clashes(&self, other: &Self) -> Option<&'static str> {
        match (self, other) {
            (Self::Serial(one), Self::Serial(two)) => {
                (one.path == two.path).then_some("baud, parity and stop_bits must be the same for all on one line")
            }
            (Self::DialIn(one), Self::DialIn(two)) if one.listen == two.listen => {
                if one.registration == two.registration {
                    return Some("heartbeat and frames must be the same for all behind one modem");
                }
                let (one, two) = (&one.registration.0, &two.registration.0);
                (one.starts_with(two) || two.starts_with(one))
                    .then_some("one registration begins with the other, so the modems cannot be told apart")
            }
            (
                Self::Tcp(one) | Self::RtuOverTcp(one) | Self::Tls(one, _),
                Self::Tcp(two) | Self::RtuOverTcp(two) | Self::Tls(two, _),
            ) => (one == two).then_some("one port speaks one language, and with one identity"),
            (
                Self::Tcp(_) | Self::RtuOverTcp(_) | Self::Tls(..) | Self::Serial(_) | Self::DialIn(_),
                Self::Tcp(_) | Self::RtuOverTcp(_) | Self::Tls(..) | Self::Serial(_) | Self::DialIn(_),
            ) => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host) => write!(f, "{host}"),
            Self::RtuOverTcp(host) => write!(f, "rtu+tcp://{host}"),
            Self::Tls(host, _) => write!(f, "tls://{host}"),
            Self::Serial(serial) => write!(f, "serial:{}", serial.path),
            Self::DialIn(modem) => write!(f, "dial-in:{} {}", modem.listen, modem.registration),
        }
    }
}

/// Told for each pair of devices whose addresses name the same place in different ways.
pub fn check_together<'a>(devices: impl IntoIterator<Item = (&'a str, &'a Address)>, problems: &mut Problems) {
    let mut known: Vec<(&str, &Address)> = Vec::new();
    for (name, address) in devices {
        if known.iter().any(|(_, other)| *other == address) {
            continue;
        }
        for (first, other) in &known {
            if let Some(why) = address.clashes(other) {
                let at = Key::of("source.modbus").field(name).field("address");
                problems.add(at, format!("{address} is used by {first} as well: {why}"));
            }
        }
        known.push((name, address));
    }
}

/// The keys of a device's table that say how its bus is reached.
#[derive(Debug)]
pub(crate) struct RawAddress {
    pub address: String,
    pub baud: Option<u32>,
    pub parity: Option<String>,
    pub stop_bits: Option<u8>,
    pub ca: Option<PathBuf>,
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub server_name: Option<String>,
    pub registration: Option<String>,
    pub heartbeat: Option<String>,
    pub frames: Option<String>,
}

impl RawAddress {
    pub fn check(&self, at: &Key, problems: &mut Problems) -> Option<Address> {
        let before = problems.len();
        let address = self.read(at, problems)?;
        (problems.len() == before).then_some(address)
    }

    fn read(&self, at: &Key, problems: &mut Problems) -> Option<Address> {
        let own: &[&str] = match self.address.split_once(':').unwrap_or_default().0 {
            "serial" => &["baud", "parity", "stop_bits"],
            "tls" => &["ca", "certificate", "key", "server_name"],
            "dial-in" => &["registration", "heartbeat", "frames"],
            _ => &[],
        };
        for (key, kind) in self.written() {
            if !own.contains(&key) {
                problems.add(at.field(key), format!("only for address = \"{kind}\": take this key out"));
            }
        }
        if let Some(rest) = self.address.strip_prefix("serial:") {
            return self.serial(rest, at, problems).map(Address::Serial);
        }
        if let Some(rest) = self.address.strip_prefix("dial-in:") {
            return self.modem(rest, at, problems).map(Address::DialIn);
        }
        if let Some(rest) = self.address.strip_prefix("tls://") {
            let host = host(at, problems, rest, "10.0.4.7:802");
            let identity = self.identity(host.as_ref(), at, problems);
            return Some(Address::Tls(host?, identity?));
        }
        if let Some(rest) = self.address.strip_prefix("rtu+tcp://") {
            return host(at, problems, rest, "10.0.4.7:4001").map(Address::RtuOverTcp);
        }
        if let Some((scheme, _)) = self.address.split_once("://").filter(|(scheme, _)| *scheme != "tcp") {
            let known = ["tcp", "rtu+tcp", "tls", "serial", "dial-in"].map(|scheme| (scheme, ()));
            problems.known(at.field("address"), scheme, "way to reach a device", known);
            return None;
        }
        let plain = self.address.strip_prefix("tcp://").unwrap_or(&self.address);
        host(at, problems, plain, "10.0.4.7:502").map(Address::Tcp)
    }

    /// The keys that are there and belong to one kind of address only.
    fn written(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        const SERIAL: &str = "serial:/dev/..";
        const TLS: &str = "tls://..";
        const DIAL_IN: &str = "dial-in:..";
        [
            ("baud", self.baud.is_some(), SERIAL),
            ("parity", self.parity.is_some(), SERIAL),
            ("stop_bits", self.stop_bits.is_some(), SERIAL),
            ("ca", self.ca.is_some(), TLS),
            ("certificate", self.certificate.is_some(), TLS),
            ("key", self.key.is_some(), TLS),
            ("server_name", self.server_name.is_some(), TLS),
            ("registration", self.registration.is_some(), DIAL_IN),
            ("heartbeat", self.heartbeat.is_some(), DIAL_IN),
            ("frames", self.frames.is_some(), DIAL_IN),
        ]
        .into_iter()
        .filter_map(|(key, there, kind)| there.then_some((key, kind)))
    }

    fn serial(&self, path: &str, at: &Key, problems: &mut Problems) -> Option<Serial> {
        if !path.starts_with('/') {
            let message = format!("{:?} is not serial:/dev/.., such as serial:/dev/ttyUSB0", self.address);
            problems.add(at.field("address"), message);
        }
        let baud = problems.within(at.field("baud"), self.baud.unwrap_or(9_600), 300..=4_000_000);
        let parities = [("none", Parity::None), ("even", Parity::Even), ("odd", Parity::Odd)];
        let parity = self.parity.as_deref().unwrap_or("none");
        let parity = problems.known(at.field("parity"), parity, "parity", parities);
        let stop_bits = problems.within(at.field("stop_bits"), self.stop_bits.unwrap_or(1), 1..=2);
        path.starts_with('/').then_some(Serial {
            path: path.to_owned(),
            baud: baud?,
            parity: parity?,
            stop_bits: stop_bits?,
        })
    }

    fn identity(&self, host: Option<&Host>, at: &Key, problems: &mut Problems) -> Option<Identity> {
        let mut file = |key: &str, path: &Option<PathBuf>, what: &str| {
            if path.is_none() {
                problems.add(at.field(key), format!("missing: {what}, a PEM file"));
            }
            path.clone()
        };
        let ca = file("ca", &self.ca, "the certificate of those who signed the device's");
        let certificate = file("certificate", &self.certificate, "the certificate that Davy shows to the device");
        let key = file("key", &self.key, "the private key of Davy's certificate");
        let server_name = self.server_name.clone().or_else(|| host.map(|host| host.host.clone()));
        let identity = Identity { ca: ca?, certificate: certificate?, key: key?, server_name: server_name? };
        match tls::client(&identity) {
            Ok(_) => Some(identity),
            Err(fault) => {
                problems.add(at.field(fault.key()), fault.to_string());
                None
            }
        }
    }

    fn modem(&self, listen: &str, at: &Key, problems: &mut Problems) -> Option<Modem> {
        let expected = "address:port to listen on after dial-in:, such as dial-in:0.0.0.0:4196";
        let listen = problems.parsed(at.field("address"), listen, expected);
        let mut packet = |key: &str, text: &str| {
            let packet = Packet::parse(text);
            if packet.is_none() {
                let expected = "a packet of 1 to 64 bytes: text, or hex: and pairs of digits, such as hex:01 AB";
                problems.add(at.field(key), format!("{text:?} is not {expected}"));
            }
            packet
        };
        let registration = self.registration.as_ref().and_then(|text| packet("registration", text));
        let heartbeat = self.heartbeat.as_ref().map(|text| packet("heartbeat", text));
        if self.registration.is_none() {
            problems.add(at.field("registration"), "missing: the packet by which the modem names itself");
        }
        let words = [("rtu", Frames::Rtu), ("tcp", Frames::Tcp)];
        let frames = problems.known(at.field("frames"), self.frames.as_deref().unwrap_or("rtu"), "framing", words);
        let heartbeat = match heartbeat {
            None => None,
            Some(packet) => Some(packet?),
        };
        Some(Modem { listen: listen?, registration: registration?, heartbeat, frames: frames? })
    }
}

fn host(at: &Key, problems: &mut Problems, text: &str, example: &str) -> Option<Host> {
    let host = Host::parse(text);
    if host.is_none() {
        problems.add(at.field("address"), format!("{text:?} is not host:port, such as {example}"));
    }
    host
}
