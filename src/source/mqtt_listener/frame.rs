//! Cutting the bytes of a device into packets, and reading PUBLISH where it lies.
//!
//! In come the bytes of one connection as far as they were read; out come packets borrowed from them, or
//! how they break the protocol. Pure, without allocation, and without a panic for any input: PUBLISH is
//! what comes millions of times a second, so it never passes through a codec that owns what it reads.
//!
//! ```text
//!  type+flags │ remaining length, 1 to 4 bytes │ body
//!  PUBLISH:     topic length, topic │ packet id (QoS 1) │ v5: properties │ payload
//! ```

use crate::ledger::Fate;

/// MQTT on this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// 3.1.1
    V311,
    V5,
}

/// Packet types that a client may send, as in the high half of the first byte.
pub(super) mod kind {
    pub const CONNECT: u8 = 1;
    pub const PUBLISH: u8 = 3;
    pub const PUBACK: u8 = 4;
    pub const SUBSCRIBE: u8 = 8;
    pub const UNSUBSCRIBE: u8 = 10;
    pub const PINGREQ: u8 = 12;
    pub const DISCONNECT: u8 = 14;
}

/// How a client broke the protocol or a limit of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Breach {
    #[error("the remaining length is not one to four bytes")]
    Length,
    #[error("a packet of {bytes} bytes is over the limit of {most}")]
    TooLarge { bytes: usize, most: usize },
    #[error("packet type {0} is not one that a client may send here")]
    PacketType(u8),
    #[error("the flags of packet type {0} are wrong")]
    Flags(u8),
    #[error("a packet ends before its contents do, or its contents are not as they must be")]
    Contents,
    #[error("QoS 3 does not exist")]
    QosThree,
    #[error("QoS 2 is not offered; publish with QoS 1")]
    QosTwo,
    #[error("packet id 0 is not allowed")]
    PacketIdZero,
    #[error("a topic is not UTF-8")]
    TopicNotUtf8,
    #[error("a topic is empty or has a wildcard or NUL in it")]
    TopicInvalid,
    #[error("a topic of {bytes} bytes is over the limit of {most}")]
    TopicTooLong { bytes: usize, most: usize },
    #[error("property {0} does not belong there, or is there twice")]
    Property(u8),
    #[error("topic alias {0} is outside what was offered")]
    AliasInvalid(u16),
    #[error("topic alias {0} was never set")]
    AliasUnknown(u16),
    #[error("more than {0} publishes are waiting to be acknowledged")]
    ReceiveMaximum(usize),
    #[error("this user may not publish")]
    MayNotPublish,
}

impl Breach {
    /// Where it is counted.
    pub(super) const fn fate(self) -> Fate {
        match self {
            Self::TooLarge { .. } | Self::TopicTooLong { .. } => Fate::TooLarge,
            Self::TopicNotUtf8 => Fate::NotUtf8,
            Self::QosTwo | Self::MayNotPublish => Fate::Refused,
            Self::Length
            | Self::PacketType(_)
            | Self::Flags(_)
            | Self::Contents
            | Self::QosThree
            | Self::PacketIdZero
            | Self::TopicInvalid
            | Self::Property(_)
            | Self::AliasInvalid(_)
            | Self::AliasUnknown(_)
            | Self::ReceiveMaximum(_) => Fate::Malformed,
        }
    }

    /// The reason in a v5 DISCONNECT.
    pub(super) const fn reason(self) -> u8 {
        match self {
            Self::Length | Self::Flags(_) | Self::Contents | Self::QosThree | Self::TopicNotUtf8 => 0x81,
            Self::PacketType(_) | Self::PacketIdZero | Self::Property(_) | Self::AliasUnknown(_) => 0x82,
            Self::MayNotPublish => 0x87,
            Self::TopicInvalid | Self::TopicTooLong { .. } => 0x90,
            Self::ReceiveMaximum(_) => 0x93,
            Self::AliasInvalid(_) => 0x94,
            Self::TooLarge { .. } => 0x95,
            Self::QosTwo => 0x9B,
        }
    }
}

/// A packet as it lies in the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    /// Header and body.
    pub whole: &'a [u8],
    pub body: &'a [u8],
}

impl Frame<'_> {
    pub(super) fn kind(&self) -> u8 {
        self.first() >> 4
    }

    pub(super) fn first(&self) -> u8 {
        self.whole.first().copied().unwrap_or(0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scan<'a> {
    Packet(Frame<'a>),
    /// The packet at the front is not there yet; it will have at least this many bytes.
    Wants(usize),
}

/// The packet at the front of `bytes`. A length over `most` is refused before its bytes are waited for.
pub(super) fn scan(bytes: &[u8], most: usize) -> Result<Scan<'_>, Breach> {
    let Some((first, rest)) = bytes.split_first() else { return Ok(Scan::Wants(2)) };
    let required_flags = match first >> 4 {
        kind::PUBLISH => first & 0x0F,
        6 | kind::SUBSCRIBE | kind::UNSUBSCRIBE => 2,
        0 => return Err(Breach::PacketType(0)),
        _ => 0,
    };
    if first & 0x0F != required_flags {
        return Err(Breach::Flags(first >> 4));
    }
    let Some((length, used)) = variable_length(rest)? else { return Ok(Scan::Wants(bytes.len() + 1)) };
    let total = 1 + used + length;
    if total > most {
        return Err(Breach::TooLarge { bytes: total, most });
    }
    match bytes.get(..total) {
        None => Ok(Scan::Wants(total)),
        Some(whole) => Ok(Scan::Packet(Frame { whole, body: whole.get(1 + used..).unwrap_or_default() })),
    }
}

/// MQTT's variable byte integer and how many bytes it takes; `None` while its end has not come.
fn variable_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, Breach> {
    let mut length = 0;
    for (at, byte) in bytes.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some((length, at + 1)));
        }
    }
    if bytes.len() >= 4 { Err(Breach::Length) } else { Ok(None) }
}

/// A PUBLISH, borrowed. `alias` is 0 where there is none; `pkid` is 0 at QoS 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Publish<'a> {
    pub topic: &'a [u8],
    pub pkid: u16,
    pub alias: u16,
    pub payload: &'a [u8],
}

impl<'a> Publish<'a> {
    /// Retain and DUP are of no consequence: Davy stores what it is told, and the same sample twice is harmless.
    pub(super) fn read(frame: &Frame<'a>, version: Version, longest_topic: usize) -> Result<Self, Breach> {
        let qos = frame.first() >> 1 & 3;
        match qos {
            0 | 1 => {}
            2 => return Err(Breach::QosTwo),
            _ => return Err(Breach::QosThree),
        }
        let mut rest = frame.body;
        let topic = string(&mut rest)?;
        if topic.len() > longest_topic {
            return Err(Breach::TopicTooLong { bytes: topic.len(), most: longest_topic });
        }
        let pkid = if qos == 1 { number(&mut rest)? } else { 0 };
        if qos == 1 && pkid == 0 {
            return Err(Breach::PacketIdZero);
        }
        let alias = match version {
            Version::V311 => 0,
            Version::V5 => alias(&mut rest)?,
        };
        if topic.is_empty() {
            if alias == 0 {
                return Err(Breach::TopicInvalid);
            }
        } else {
            check_topic(topic)?;
        }
        Ok(Self { topic, pkid, alias, payload: rest })
    }
}

/// A topic that may be published to.
pub(super) fn check_topic(topic: &[u8]) -> Result<(), Breach> {
    // One pass without branches, which the compiler turns into wide instructions.
    let (mut forbidden, mut high) = (topic.is_empty(), 0);
    for byte in topic {
        forbidden |= matches!(byte, b'+' | b'#' | 0);
        high |= byte;
    }
    if forbidden {
        return Err(Breach::TopicInvalid);
    }
    if high >= 0x80 && std::str::from_utf8(topic).is_err() {
        return Err(Breach::TopicNotUtf8);
    }
    Ok(())
}

/// The topic alias among the v5 properties of a PUBLISH, which are checked and otherwise of no use here.
fn alias(rest: &mut &[u8]) -> Result<u16, Breach> {
    let (length, used) = variable_length(rest)?.ok_or(Breach::Contents)?;
    let all = rest.get(used..).ok_or(Breach::Contents)?;
    let (mut properties, payload) = all.split_at_checked(length).ok_or(Breach::Contents)?;
    *rest = payload;
    let mut alias = 0;
    let mut seen = 0_u64;
    while let Some((id, after)) = properties.split_first() {
        properties = after;
        if *id != 0x26 {
            let bit = 1_u64.checked_shl(u32::from(*id)).ok_or(Breach::Property(*id))?;
            if seen & bit != 0 {
                return Err(Breach::Property(*id));
            }
            seen |= bit;
        }
        match id {
            // Payload format; message expiry; content type, response topic, correlation data.
            0x01 => _ = take(&mut properties, 1)?,
            0x02 => _ = take(&mut properties, 4)?,
            0x03 | 0x08 | 0x09 => _ = string(&mut properties)?,
            0x23 => {
                alias = number(&mut properties)?;
                if alias == 0 {
                    return Err(Breach::AliasInvalid(0));
                }
            }
            0x26 => {
                string(&mut properties)?;
                string(&mut properties)?;
            }
            other => return Err(Breach::Property(*other)),
        }
    }
    Ok(alias)
}

/// What a CONNECT says before anything depends on the version: protocol level and connect flags.
pub(super) fn level_and_flags(body: &[u8]) -> Result<(u8, u8), Breach> {
    let mut rest = body;
    let name = string(&mut rest)?;
    let [level, flags] = take(&mut rest, 2)? else { return Err(Breach::Contents) };
    match name {
        b"MQTT" => Ok((*level, *flags)),
        // MQTT 3.1: answered like an unknown level.
        b"MQIsdp" => Ok((3, *flags)),
        _ => Err(Breach::Contents),
    }
}

/// The packet id at the front of a PUBACK.
pub(super) fn acknowledged_id(body: &[u8]) -> Result<u16, Breach> {
    let mut rest = body;
    match number(&mut rest)? {
        0 => Err(Breach::PacketIdZero),
        id => Ok(id),
    }
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], Breach> {
    let (front, back) = rest.split_at_checked(count).ok_or(Breach::Contents)?;
    *rest = back;
    Ok(front)
}

fn number(rest: &mut &[u8]) -> Result<u16, Breach> {
    let (front, back) = rest.split_first_chunk::<2>().ok_or(Breach::Contents)?;
    *rest = back;
    Ok(u16::from_be_bytes(*front))
}

fn string<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Breach> {
    let length = number(rest)?;
    take(rest, usize::from(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 1024;

    fn publish(bytes: &[u8], version: Version) -> Result<Publish<'_>, Breach> {
        match scan(bytes, MOST)? {
            Scan::Packet(frame) => Publish::read(&frame, version, 64),
            Scan::Wants(_) => panic!("the packet is whole"),
        }
    }

    #[test]
    fn a_publish_is_read_where_it_lies() {
        let read = publish(b"\x32\x09\x00\x03a/b\x00\x0712", Version::V311).unwrap();
        assert_eq!(read, Publish { topic: b"a/b", pkid: 7, alias: 0, payload: b"12" });
        let read = publish(b"\x30\x0b\x00\x03a/b\x03\x23\x00\x05xy", Version::V5).unwrap();
        assert_eq!(read, Publish { topic: b"a/b", pkid: 0, alias: 5, payload: b"xy" });
        let read = publish(b"\x30\x06\x00\x00\x03\x23\x00\x05", Version::V5).unwrap();
        assert_eq!((read.topic, read.alias), (&b""[..], 5));
    }

    #[test]
    fn each_breach_is_named() {
        for (bytes, version, expected) in [
            (&b"\x34\x07\x00\x01a\x00\x0112"[..], Version::V311, Breach::QosTwo),
            (b"\x36\x07\x00\x01a\x00\x0112", Version::V311, Breach::QosThree),
            (b"\x32\x05\x00\x01a\x00\x00", Version::V311, Breach::PacketIdZero),
            (b"\x30\x03\x00\x01+", Version::V311, Breach::TopicInvalid),
            (b"\x30\x05\x00\x03a/#", Version::V311, Breach::TopicInvalid),
            (b"\x30\x03\x00\x01\x00", Version::V311, Breach::TopicInvalid),
            (b"\x30\x02\x00\x00", Version::V311, Breach::TopicInvalid),
            (b"\x30\x03\x00\x00\x00", Version::V5, Breach::TopicInvalid),
            (b"\x30\x04\x00\x02\xc3\x28", Version::V311, Breach::TopicNotUtf8),
            (b"\x30\x03\x00\x09a", Version::V311, Breach::Contents),
            (b"\x30\x00", Version::V311, Breach::Contents),
            (b"\x30\x04\x00\x01a\x7f", Version::V5, Breach::Contents),
            (b"\x30\x07\x00\x01a\x03\x23\x00\x00", Version::V5, Breach::AliasInvalid(0)),
            (b"\x30\x0a\x00\x01a\x06\x23\x00\x01\x23\x00\x01", Version::V5, Breach::Property(0x23)),
            (b"\x30\x06\x00\x01a\x02\x0b\x01", Version::V5, Breach::Property(0x0b)),
            (b"\x30\x06\x00\x01a\x02\xff\x01", Version::V5, Breach::Property(0xff)),
        ] {
            assert_eq!(publish(bytes, version), Err(expected), "{bytes:x?}");
        }
        let long = [b"\x30\x43\x00\x41".as_slice(), &[b'a'; 65]].concat();
        assert_eq!(publish(&long, Version::V311), Err(Breach::TopicTooLong { bytes: 65, most: 64 }));
    }

    #[test]
    fn a_length_is_refused_as_soon_as_it_is_known() {
        assert_eq!(scan(b"\x30\xff\xff\xff\xff\x01", MOST), Err(Breach::Length));
        assert_eq!(scan(b"\x30\xff\xff\xff\xff", MOST), Err(Breach::Length));
        assert_eq!(scan(b"\x30\xff\xff\xff\x7f", MOST), Err(Breach::TooLarge { bytes: 268_435_460, most: MOST }));
        assert_eq!(scan(b"", MOST), Ok(Scan::Wants(2)));
        assert_eq!(scan(b"\x30\xff\xff", usize::MAX), Ok(Scan::Wants(4)));
        assert_eq!(scan(b"\x30\x05ab", MOST), Ok(Scan::Wants(7)));
        assert_eq!(scan(b"\x00\x00", MOST), Err(Breach::PacketType(0)));
        assert_eq!(scan(b"\x80\x00", MOST), Err(Breach::Flags(8)));
        assert_eq!(scan(b"\xc1\x00", MOST), Err(Breach::Flags(12)));
    }

    #[test]
    fn level_and_flags_are_seen_in_every_version() {
        assert_eq!(level_and_flags(b"\x00\x04MQTT\x05\x02\x00\x0a"), Ok((5, 2)));
        assert_eq!(level_and_flags(b"\x00\x06MQIsdp\x03\x02\x00\x0a"), Ok((3, 2)));
        assert_eq!(level_and_flags(b"\x00\x04HTTP\x05\x02"), Err(Breach::Contents));
        assert_eq!(level_and_flags(b"\x00\x04MQTT\x05"), Err(Breach::Contents));
    }
}
