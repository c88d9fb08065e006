//! Packets that Davy writes, and the SUBSCRIBE and UNSUBSCRIBE packets that it reads.
//!
//! Writing is plain bytes into the connection's buffer. (rumqttc's writer of a v5 DISCONNECT puts out one
//! byte more than it announces, and its reader refuses a v5 DISCONNECT without a body.)

use bytes::{BufMut, BytesMut};
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;

use super::frame::{Breach, Frame, Version};

/// What a client wants to hear.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wish {
    pub text: String,
    /// 0 or 1; a wish for 2 is granted 1.
    pub qos: u8,
    pub resend: Resend,
}

/// When messages that are retained are to be sent (v5 retain handling; v3.1.1 always sends them).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resend {
    Always,
    IfNew,
    Never,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Subscribe {
    pub pkid: u16,
    pub wishes: Vec<Wish>,
    /// v5: it carried a subscription identifier, which was not offered.
    pub identified: bool,
}

pub(super) fn read_subscribe(frame: &Frame<'_>, version: Version) -> Result<Subscribe, Breach> {
    let mut bytes = BytesMut::from(frame.whole);
    let (pkid, wishes, identified) = match version {
        Version::V311 => {
            let Ok(v4::Packet::Subscribe(read)) = v4::Packet::read(&mut bytes, frame.whole.len()) else {
                return Err(Breach::Contents);
            };
            let wish = |filter: v4::SubscribeFilter| Wish {
                text: filter.path,
                qos: (filter.qos as u8).min(1),
                resend: Resend::Always,
            };
            (read.pkid, read.filters.into_iter().map(wish).collect(), false)
        }
        Version::V5 => {
            let size = u32::try_from(frame.whole.len()).unwrap_or(u32::MAX);
            let Ok(v5::Packet::Subscribe(read)) = v5::Packet::read(&mut bytes, Some(size)) else {
                return Err(Breach::Contents);
            };
            let wish = |filter: v5::Filter| Wish {
                text: filter.path,
                qos: (filter.qos as u8).min(1),
                resend: match filter.retain_forward_rule {
                    v5::RetainForwardRule::OnEverySubscribe => Resend::Always,
                    v5::RetainForwardRule::OnNewSubscribe => Resend::IfNew,
                    v5::RetainForwardRule::Never => Resend::Never,
                },
            };
            let identified = read.properties.is_some_and(|properties| properties.id.is_some());
            (read.pkid, read.filters.into_iter().map(wish).collect(), identified)
        }
    };
    if pkid == 0 { Err(Breach::PacketIdZero) } else { Ok(Subscribe { pkid, wishes, identified }) }
}

/// Packet id and filters of an UNSUBSCRIBE.
pub(super) fn read_unsubscribe(frame: &Frame<'_>, version: Version) -> Result<(u16, Vec<String>), Breach> {
    let mut bytes = BytesMut::from(frame.whole);
    let (pkid, filters) = match version {
        Version::V311 => match v4::Packet::read(&mut bytes, frame.whole.len()) {
            Ok(v4::Packet::Unsubscribe(read)) => (read.pkid, read.topics),
            Ok(_) | Err(_) => return Err(Breach::Contents),
        },
        Version::V5 => {
            let size = u32::try_from(frame.whole.len()).unwrap_or(u32::MAX);
            match v5::Packet::read(&mut bytes, Some(size)) {
                Ok(v5::Packet::Unsubscribe(read)) => (read.pkid, read.filters),
                Ok(_) | Err(_) => return Err(Breach::Contents),
            }
        }
    };
    match (pkid, filters.is_empty()) {
        (0, _) => Err(Breach::PacketIdZero),
        (_, true) => Err(Breach::Contents),
        (pkid, false) => Ok((pkid, filters)),
    }
}

pub(super) fn put_suback(out: &mut BytesMut, version: Version, pkid: u16, codes: &[u8]) {
    put_answer(out, 0x90, version, pkid, codes);
}

pub(super) fn put_unsuback(out: &mut BytesMut, version: Version, pkid: u16, codes: &[u8]) {
    put_answer(out, 0xB0, version, pkid, if version == Version::V5 { codes } else { &[] });
}

fn put_answer(out: &mut BytesMut, first: u8, version: Version, pkid: u16, codes: &[u8]) {
    let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    out.put_u8(first);
    put_length(out, 2 + properties.len() + codes.len());
    out.put_u16(pkid);
    out.put_slice(properties);
    out.put_slice(codes);
}

pub(super) fn put_pingresp(out: &mut BytesMut) {
    out.put_slice(&[0xD0, 0]);
}

/// Only v5 knows a DISCONNECT from the server.
pub(super) fn put_disconnect(out: &mut BytesMut, reason: u8) {
    out.put_slice(&[0xE0, 2, reason, 0]);
}

/// What goes to a subscriber; `pkid` is 0 at QoS 0.
pub(super) struct Outgoing<'a> {
    pub topic: &'a str,
    pub payload: &'a [u8],
    pub pkid: u16,
    pub retain: bool,
}

impl Outgoing<'_> {
    fn body_bytes(&self, version: Version) -> usize {
        let pkid = if self.pkid == 0 { 0 } else { 2 };
        let properties = usize::from(version == Version::V5);
        2 + self.topic.len() + pkid + properties + self.payload.len()
    }

    pub(super) fn put(&self, out: &mut BytesMut, version: Version) {
        let qos = u8::from(self.pkid != 0);
        out.put_u8(0x30 | qos << 1 | u8::from(self.retain));
        put_length(out, self.body_bytes(version));
        // Sites and points have short names; a topic this long could not be subscribed to either.
        let topic = self.topic.as_bytes();
        out.put_u16(u16::try_from(topic.len()).expect("davy's topics are shorter than 64 KiB"));
        out.put_slice(topic);
        if self.pkid != 0 {
            out.put_u16(self.pkid);
        }
        if version == Version::V5 {
            out.put_u8(0);
        }
        out.put_slice(self.payload);
    }
}

fn put_length(out: &mut BytesMut, length: usize) {
    let mut rest = length;
    loop {
        let low = (rest & 0x7F) as u8;
        rest >>= 7;
        if rest == 0 {
            out.put_u8(low);
            return;
        }
        out.put_u8(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_a_client_reads() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 200_000] {
            let payload = vec![b'x'; length];
            let outgoing = Outgoing { topic: "davy/v1/mine/point/t1", payload: &payload, pkid: 9, retain: true };
            let mut out = BytesMut::new();
            outgoing.put(&mut out, Version::V311);
            let Ok(v4::Packet::Publish(read)) = v4::Packet::read(&mut out, 1 << 20) else { panic!("v3.1.1 {length}") };
            assert_eq!(
                (read.topic.as_str(), read.pkid, read.retain, read.payload.len()),
                ("davy/v1/mine/point/t1", 9, true, length)
            );
            assert!(out.is_empty());
            outgoing.put(&mut out, Version::V5);
            let Ok(v5::Packet::Publish(read)) = v5::Packet::read(&mut out, None) else { panic!("v5 {length}") };
            assert_eq!((&read.topic[..], read.pkid, read.payload.len()), (&b"davy/v1/mine/point/t1"[..], 9, length));
            assert!(out.is_empty());
        }
        let mut out = BytesMut::new();
        put_disconnect(&mut out, 0x8E);
        let Ok(v5::Packet::Disconnect(read)) = v5::Packet::read(&mut out, None) else { panic!("disconnect") };
        assert_eq!(read.reason_code, v5::DisconnectReasonCode::SessionTakenOver);
        assert!(out.is_empty());
    }
}
