//! Modbus TCP frames: a seven-byte header (transaction, protocol 0, length, unit) and the request.
//!
//! Written by hand rather than taken from a library, because a library's server cannot be made to answer
//! with a wrong unit, a wrong transaction or too few registers.

use bytes::{Buf, BytesMut};

use super::unit::{Misbehaviour, Span};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) transaction: u16,
    pub(super) unit: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Read(Span),
    /// Any other function, writes among them.
    Other(u8),
}

/// Bytes that are not Modbus TCP: the connection is closed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotModbus;

/// Takes the next whole request out of what has arrived.
pub(super) fn take_request(arrived: &mut BytesMut) -> Result<Option<(Header, Ask)>, NotModbus> {
    let [t1, t0, p1, p0, l1, l0, unit, ..] = arrived[..] else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([l1, l0]));
    if (p1, p0) != (0, 0) || !(2..=254).contains(&length) {
        return Err(NotModbus);
    }
    if arrived.len() < 6 + length {
        return Ok(None);
    }
    let frame = arrived.split_to(6 + length);
    let header = Header { transaction: u16::from_be_bytes([t1, t0]), unit };
    let mut body = &frame[7..];
    let function = body.get_u8();
    let ask = match (function, body) {
        (1..=4, [a1, a0, c1, c0]) => Ask::Read(Span {
            function,
            register: u16::from_be_bytes([*a1, *a0]),
            count: u16::from_be_bytes([*c1, *c0]),
        }),
        (1..=4, _) => return Err(NotModbus),
        (other, _) => Ask::Other(other),
    };
    Ok(Some((header, ask)))
}

/// The frame that answers a read with `contents`.
pub(super) fn answer(header: Header, function: u8, contents: &[u16], how: Misbehaviour) -> Vec<u8> {
    let bits = function <= 2;
    let mut kept = contents.len();
    if let Misbehaviour::Short(by) = how {
        kept = kept.saturating_sub(usize::from(by.max(1)));
    }
    let mut data =
        if bits { packed(&contents[..kept]) } else { contents[..kept].iter().flat_map(|w| w.to_be_bytes()).collect() };
    let promised = u8::try_from(data.len()).unwrap_or(u8::MAX);
    if how == Misbehaviour::Truncated {
        data.truncate(data.len().saturating_sub(if bits { 1 } else { 2 }));
    }
    let mut pdu = vec![function, promised];
    pdu.append(&mut data);
    let header = match how {
        Misbehaviour::WrongUnit => Header { unit: header.unit.wrapping_add(1), ..header },
        Misbehaviour::WrongTransaction => Header { transaction: header.transaction.wrapping_add(0x1000), ..header },
        Misbehaviour::None
        | Misbehaviour::Late(_)
        | Misbehaviour::Short(_)
        | Misbehaviour::Truncated
        | Misbehaviour::Exception(_)
        | Misbehaviour::Drop
        | Misbehaviour::Silent
        | Misbehaviour::HeartbeatStopped => header,
    };
    framed(header, &pdu)
}

/// The frame that refuses.
pub(super) fn exception(header: Header, function: u8, code: u8) -> Vec<u8> {
    framed(header, &[function | 0x80, code])
}

fn framed(header: Header, pdu: &[u8]) -> Vec<u8> {
    let length = u16::try_from(pdu.len() + 1).unwrap_or(u16::MAX);
    let mut frame = Vec::with_capacity(7 + pdu.len());
    frame.extend_from_slice(&header.transaction.to_be_bytes());
    frame.extend_from_slice(&[0, 0]);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.push(header.unit);
    frame.extend_from_slice(pdu);
    frame
}

/// Bits, lowest first, eight a byte.
fn packed(bits: &[u16]) -> Vec<u8> {
    let byte =
        |eight: &[u16]| eight.iter().enumerate().fold(0_u8, |byte, (place, bit)| byte | u8::from(*bit != 0) << place);
    bits.chunks(8).map(byte).collect()
}
