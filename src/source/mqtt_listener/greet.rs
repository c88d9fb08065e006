//! The first packet: who is it, may they come in, and what they are told.
//!
//! In comes a whole CONNECT; out comes a [`Hello`] in words that do not depend on the MQTT version, or the
//! answer that turns the client away. Nothing is kept between connections: a client that asks to resume a
//! session is told that there is none (`session_present = false`, v5 session expiry 0).

use bytes::{BufMut, BytesMut};
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;

use super::config::{Admission, Limits, Users};
use super::frame::{Breach, Frame, Version, check_topic, kind, level_and_flags};
use super::grant::{Publish, Rights};
use crate::ledger::Fate;

/// A CONNECT that may come in.
#[derive(Debug)]
pub(super) struct Hello {
    pub version: Version,
    /// Empty when the client leaves the choice to us.
    pub client_id: String,
    /// Empty for anonymous clients.
    pub user: String,
    pub rights: Rights,
    /// Seconds; 0 means none.
    pub keep_alive: u16,
    pub will: Option<Will>,
    /// QoS 1 messages that the client takes before it acknowledges one.
    pub receive_maximum: u16,
    /// Longest packet that the client takes.
    pub packet_most: usize,
}

/// What is to be taken in like a publish when the connection ends without a DISCONNECT.
#[derive(Debug)]
pub(super) struct Will {
    pub topic: Vec<u8>,
    pub payload: Vec<u8>,
}

/// Why a client is turned away, and the CONNACK that tells it (empty when no answer is due).
#[derive(Debug)]
pub(super) struct Refusal {
    pub fate: Fate,
    pub what: String,
    pub answer: Vec<u8>,
}

/// CONNACK codes of both versions for one reason.
struct Code {
    v311: u8,
    v5: u8,
}

const PROTOCOL_VERSION: u8 = 1;
const BAD_CLIENT_ID: Code = Code { v311: 2, v5: 0x85 };
pub(super) const NOT_AUTHORIZED: u8 = 0x87;
const BAD_LOGIN: Code = Code { v311: 4, v5: 0x86 };
const NO_RIGHT: Code = Code { v311: 5, v5: NOT_AUTHORIZED };
const BAD_WILL_TOPIC: Code = Code { v311: 5, v5: 0x90 };
const QOS_TWO: Code = Code { v311: 5, v5: 0x9B };
const METHOD: Code = Code { v311: 5, v5: 0x8C };
const PROTOCOL: Code = Code { v311: 5, v5: 0x82 };
/// Longest client id; it is kept and logged.
const CLIENT_ID_BYTES: usize = 256;

impl Refusal {
    pub(super) fn breach(breach: Breach) -> Self {
        Self { fate: breach.fate(), what: breach.to_string(), answer: Vec::new() }
    }

    fn coded(version: Version, code: &Code, what: impl Into<String>) -> Self {
        let answer = match version {
            Version::V311 => vec![0x20, 2, 0, code.v311],
            Version::V5 => vec![0x20, 3, 0, code.v5, 0],
        };
        Self { fate: Fate::Refused, what: what.into(), answer }
    }

    /// Another user holds the client id.
    pub(super) fn client_id_taken(version: Version) -> Self {
        Self::coded(version, &BAD_CLIENT_ID, "the client id is in use by another user")
    }
}

/// Reads the first packet of a connection and decides. `certificate` is the CN of the client's certificate.
pub(super) fn greet(
    frame: &Frame<'_>,
    users: &Users,
    limits: &Limits,
    certificate: Option<&str>,
) -> Result<Hello, Refusal> {
    if frame.kind() != kind::CONNECT {
        return Err(Refusal::breach(Breach::PacketType(frame.kind())));
    }
    let (level, flags) = level_and_flags(frame.body).map_err(Refusal::breach)?;
    if flags & 1 != 0 {
        return Err(Refusal::breach(Breach::Contents));
    }
    let mut offer = match level {
        4 => read_v311(frame)?,
        5 => read_v5(frame)?,
        other => {
            let answer = if other > 5 { vec![0x20, 3, 0, 0x84, 0] } else { vec![0x20, 2, 0, PROTOCOL_VERSION] };
            let what = format!("protocol level {other}; only 4 (3.1.1) and 5 are spoken");
            return Err(Refusal { fate: Fate::Refused, what, answer });
        }
    };
    let version = offer.hello.version;
    let refuse = |code: &Code, what: &str| Err(Refusal::coded(version, code, what));
    let (name, password) = offer.login.take().unwrap_or_default();
    let login = (flags & 0xC0 != 0).then_some((name.as_str(), password.as_bytes()));
    let (user, rights) = match users.admit(login, certificate) {
        Admission::Granted(user, rights) => (user, rights),
        Admission::BadLogin => return refuse(&BAD_LOGIN, "user name or password is wrong, or missing"),
        Admission::StrangeCertificate => {
            return refuse(
                &NO_RIGHT,
                &format!("its certificate names {:?}, who is no user here", certificate.unwrap_or_default()),
            );
        }
    };
    if offer.hello.client_id.len() > CLIENT_ID_BYTES || offer.hello.client_id.contains(char::is_control) {
        return refuse(&BAD_CLIENT_ID, "client id over 256 bytes or with control characters");
    }
    if version == Version::V311 && offer.hello.client_id.is_empty() && !offer.clean {
        return refuse(&BAD_CLIENT_ID, "an empty client id needs a clean session");
    }
    if offer.will_qos_two {
        return refuse(&QOS_TWO, "a will with QoS 2; QoS 1 is the most that is offered");
    }
    if let Some(will) = &offer.hello.will {
        if rights.publish == Publish::Nowhere {
            return refuse(&NO_RIGHT, "a will from a user who may not publish");
        }
        if will.topic.len() > limits.topic_bytes || check_topic(&will.topic).is_err() {
            return refuse(&BAD_WILL_TOPIC, "the will's topic is not one to publish to");
        }
        if !rights.publish.allows(&will.topic) {
            return refuse(&NO_RIGHT, "a will on a topic that the user may not publish to");
        }
    }
    offer.hello.rights = rights;
    offer.hello.user = user;
    Ok(offer.hello)
}

/// A CONNECT as read, before it is judged.
struct Offer {
    hello: Hello,
    login: Option<(String, String)>,
    clean: bool,
    will_qos_two: bool,
}

fn read_v311(frame: &Frame<'_>) -> Result<Offer, Refusal> {
    let broken = || Refusal::breach(Breach::Contents);
    let mut bytes = BytesMut::from(frame.whole);
    let Ok(v4::Packet::Connect(connect)) = v4::Packet::read(&mut bytes, frame.whole.len()) else {
        return Err(broken());
    };
    let will_qos_two = connect.last_will.as_ref().is_some_and(|will| will.qos as u8 == 2);
    let will = connect.last_will.map(|will| Will { topic: will.topic.into_bytes(), payload: will.message.to_vec() });
    Ok(Offer {
        hello: Hello {
            version: Version::V311,
            client_id: connect.client_id,
            user: String::new(),
            rights: Rights::nothing(),
            keep_alive: connect.keep_alive,
            will,
            receive_maximum: u16::MAX,
            packet_most: usize::MAX,
        },
        login: connect.login.map(|login| (login.username, login.password)),
        clean: connect.clean_session,
        will_qos_two,
    })
}

fn read_v5(frame: &Frame<'_>) -> Result<Offer, Refusal> {
    let mut bytes = BytesMut::from(frame.whole);
    let size = u32::try_from(frame.whole.len()).unwrap_or(u32::MAX);
    let Ok(v5::Packet::Connect(connect, will, login)) = v5::Packet::read(&mut bytes, Some(size)) else {
        return Err(Refusal::breach(Breach::Contents));
    };
    let (mut receive_maximum, mut packet_most) = (u16::MAX, usize::MAX);
    if let Some(asked) = connect.properties {
        if asked.authentication_method.is_some() {
            return Err(Refusal::coded(
                Version::V5,
                &METHOD,
                "an authentication method; user and password are used here",
            ));
        }
        receive_maximum = asked.receive_maximum.unwrap_or(u16::MAX);
        packet_most = asked.max_packet_size.map_or(usize::MAX, |bytes| bytes as usize);
        if receive_maximum == 0 || packet_most == 0 {
            return Err(Refusal::coded(Version::V5, &PROTOCOL, "a receive maximum or maximum packet size of 0"));
        }
    }
    let will_qos_two = will.as_ref().is_some_and(|will| will.qos as u8 == 2);
    let will = will.map(|will| Will { topic: will.topic.to_vec(), payload: will.message.to_vec() });
    Ok(Offer {
        hello: Hello {
            version: Version::V5,
            client_id: connect.client_id,
            user: String::new(),
            rights: Rights::nothing(),
            keep_alive: connect.keep_alive,
            will,
            receive_maximum,
            packet_most,
        },
        login: login.map(|login| (login.username, login.password)),
        clean: connect.clean_start,
        will_qos_two,
    })
}

/// The CONNACK that lets a client in. `assigned` is the id that was chosen for it.
pub(super) fn welcome(out: &mut BytesMut, version: Version, limits: &Limits, assigned: Option<&str>) {
    if version == Version::V311 {
        out.put_slice(&[0x20, 2, 0, 0]);
        return;
    }
    let mut properties = Vec::with_capacity(64);
    // Session expiry 0: whatever was asked for, nothing is kept after the connection.
    properties.put_slice(&[0x11, 0, 0, 0, 0]);
    properties.put_u8(0x21);
    properties.put_u16(limits.unacknowledged);
    properties.put_slice(&[0x24, 1]);
    properties.put_u8(0x27);
    properties.put_u32(u32::try_from(limits.packet_bytes).unwrap_or(u32::MAX));
    properties.put_u8(0x22);
    properties.put_u16(limits.topic_aliases);
    // Neither subscription identifiers nor shared subscriptions. Retained publishes are taken (many sensors
    // send them), so Retain Available stays at its default.
    properties.put_slice(&[0x29, 0, 0x2A, 0]);
    if let Some(assigned) = assigned {
        properties.put_u8(0x12);
        properties.put_u16(u16::try_from(assigned.len()).unwrap_or(0));
        properties.put_slice(assigned.as_bytes());
    }
    // Both lengths stay below 128: one byte each. The assigned id is ours and short.
    let length = u8::try_from(properties.len()).unwrap_or(0);
    out.put_slice(&[0x20, length + 3, 0, 0, length]);
    out.put_slice(&properties);
}
