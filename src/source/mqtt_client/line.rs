//! The connection to the broker, in either version of the protocol, behind one face.
//!
//! In comes what `rumqttc` yields; out go the few events that matter, and acknowledgements by packet number.
//! A [`Line`] lives for one connection. That is what keeps the library's memory out of the next one: its
//! buffered events, queued acknowledgements and stashed publishes belong to a session that may be gone.

use bytes::Bytes;
use rumqttc::v5;
use rumqttc::v5::mqttbytes::v5 as packet5;

use super::config::{Config, Version};
use crate::clock;
use crate::model::Timestamp;
use crate::source::broker;

/// Packets up to this size are read, so that a payload over the decoder's limit is counted and
/// acknowledged instead of ending the connection again and again.
const LARGEST_PACKET: u32 = 16 * 1024 * 1024;
/// A broker has 65535 packet numbers, so no more acknowledgements can wait, and the queue is never full.
const REQUESTS: usize = 65_535 + 16;

pub enum Line {
    V3(Box<rumqttc::EventLoop>),
    V5(Box<v5::EventLoop>),
}

/// The way back to the broker.
pub enum Reply {
    V3(rumqttc::AsyncClient),
    V5(v5::AsyncClient),
}

#[derive(Debug)]
pub enum Event {
    /// The broker let us in.
    Connected {
        resumed: bool,
    },
    /// What became of each subscription, in order: the granted QoS, or the refusal.
    Subscribed(Vec<Result<u8, String>>),
    Message(Message),
    /// The broker answered a ping.
    Alive,
    Other,
}

#[derive(Debug)]
pub struct Message {
    pub topic: Bytes,
    pub payload: Bytes,
    pub received: Timestamp,
    /// Kept by the broker from some time before our subscription.
    pub retained: bool,
    /// To be acknowledged once durable.
    pub ack: Option<Ack>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    packet: u16,
    exactly_once: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("the queue to the broker is full")]
pub struct QueueFull;

pub fn open(config: &Config) -> (Reply, Line) {
    match config.version {
        Version::V3 => open_v3(config),
        Version::V5 => open_v5(config),
    }
}

fn open_v3(config: &Config) -> (Reply, Line) {
    let mut options =
        rumqttc::MqttOptions::new(&config.client_id, &config.access.broker.host, config.access.broker.port);
    options
        .set_transport(config.access.transport())
        .set_clean_session(false)
        .set_manual_acks(true)
        .set_keep_alive(config.keep_alive)
        .set_max_packet_size(LARGEST_PACKET as usize, 64 * 1024)
        .set_inflight(1);
    if let Some((user, password)) = &config.access.login {
        options.set_credentials(user, &password.0);
    }
    let (client, mut events) = rumqttc::AsyncClient::new(options, REQUESTS);
    events.set_network_options(broker::network());
    (Reply::V3(client), Line::V3(Box::new(events)))
}

fn open_v5(config: &Config) -> (Reply, Line) {
    let mut options = v5::MqttOptions::new(&config.client_id, &config.access.broker.host, config.access.broker.port);
    let expiry = u32::try_from(config.session_expiry.as_secs()).unwrap_or(u32::MAX);
    options
        .set_transport(config.access.transport())
        .set_clean_start(false)
        .set_session_expiry_interval(Some(expiry))
        .set_manual_acks(true)
        .set_keep_alive(config.keep_alive)
        .set_receive_maximum(Some(config.window))
        .set_max_packet_size(Some(LARGEST_PACKET))
        .set_connection_timeout(broker::CONNECT_S)
        .set_network_options(broker::network())
        // We never publish here; the default would set aside 8 MB for it.
        .set_outgoing_inflight_upper_limit(1);
    if let Some((user, password)) = &config.access.login {
        options.set_credentials(user, &password.0);
    }
    let (client, events) = v5::AsyncClient::new(options, REQUESTS);
    (Reply::V5(client), Line::V5(Box::new(events)))
}

impl Reply {
    pub fn subscribe(&self, topics: &[String], at_least_once: bool) -> Result<(), QueueFull> {
        match self {
            Self::V3(client) => {
                let qos = if at_least_once { rumqttc::QoS::AtLeastOnce } else { rumqttc::QoS::AtMostOnce };
                let filters = topics.iter().map(|topic| rumqttc::SubscribeFilter::new(topic.clone(), qos));
                client.try_subscribe_many(filters).map_err(|_| QueueFull)
            }
            Self::V5(client) => {
                use v5::mqttbytes::QoS;
                let qos = if at_least_once { QoS::AtLeastOnce } else { QoS::AtMostOnce };
                let filters = topics.iter().map(|topic| packet5::Filter {
                    path: topic.clone(),
                    qos,
                    // A kept session has its retained messages already.
                    retain_forward_rule: packet5::RetainForwardRule::OnNewSubscribe,
                    ..packet5::Filter::default()
                });
                client.try_subscribe_many(filters).map_err(|_| QueueFull)
            }
        }
    }

    /// Call only for a message of this very connection, and only once it is durable.
    pub fn acknowledge(&self, ack: Ack) -> Result<(), QueueFull> {
        match self {
            Self::V3(client) => {
                let qos = if ack.exactly_once { rumqttc::QoS::ExactlyOnce } else { rumqttc::QoS::AtLeastOnce };
                let mut message = rumqttc::Publish::from_bytes("", qos, Bytes::new());
                message.pkid = ack.packet;
                client.try_ack(&message).map_err(|_| QueueFull)
            }
            Self::V5(client) => {
                use v5::mqttbytes::QoS;
                let qos = if ack.exactly_once { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
                let message = packet5::Publish { qos, pkid: ack.packet, ..packet5::Publish::default() };
                client.try_ack(&message).map_err(|_| QueueFull)
            }
        }
    }
}

impl Line {
    /// The next event. Never cancel it: a half-made connection would be begun anew, and an acknowledgement
    /// on its way into the socket would be lost. `Err` says why the connection ended; then the line is over.
    pub async fn poll(&mut self) -> Result<Event, String> {
        match self {
            Self::V3(events) => match events.poll().await {
                Ok(event) => Ok(read_v3(event)),
                Err(error) => Err(broker::why(&error)),
            },
            Self::V5(events) => match events.poll().await {
                Ok(event) => {
                    let event = read_v5(event);
                    // A broker that asks for no keep-alive would have the library ping without a pause.
                    if matches!(event, Event::Connected { .. }) && events.options.keep_alive().is_zero() {
                        events.options.set_keep_alive(std::time::Duration::from_mins(1));
                    }
                    Ok(event)
                }
                Err(error) => Err(why_v5(&error)),
            },
        }
    }

    /// Messages that were read before the connection broke and not yet shown. They are good data, but of a
    /// connection that is over: without a way to acknowledge them.
    pub fn leftovers(&mut self) -> Vec<Message> {
        let events: Vec<Event> = match self {
            Self::V3(events) => events.state.events.drain(..).map(read_v3).collect(),
            Self::V5(events) => events.state.events.drain(..).map(read_v5).collect(),
        };
        let messages = events.into_iter().filter_map(|event| match event {
            Event::Message(message) => Some(Message { ack: None, ..message }),
            Event::Connected { .. } | Event::Subscribed(_) | Event::Alive | Event::Other => None,
        });
        messages.collect()
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library's enum: only what concerns us")]
fn read_v3(event: rumqttc::Event) -> Event {
    use rumqttc::{Packet, QoS, SubscribeReasonCode};
    let rumqttc::Event::Incoming(packet) = event else { return Event::Other };
    match packet {
        Packet::ConnAck(connack) => Event::Connected { resumed: connack.session_present },
        Packet::Publish(publish) => Event::Message(Message {
            ack: (publish.qos != QoS::AtMostOnce)
                .then_some(Ack { packet: publish.pkid, exactly_once: publish.qos == QoS::ExactlyOnce }),
            topic: publish.topic.into(),
            payload: publish.payload,
            received: clock::now(),
            retained: publish.retain,
        }),
        Packet::SubAck(suback) => {
            let grants = suback.return_codes.into_iter().map(|code| match code {
                SubscribeReasonCode::Success(qos) => Ok(qos as u8),
                SubscribeReasonCode::Failure => Err("refused by the broker".to_owned()),
            });
            Event::Subscribed(grants.collect())
        }
        Packet::PingResp => Event::Alive,
        _ => Event::Other,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library's enum: only what concerns us")]
fn read_v5(event: v5::Event) -> Event {
    use packet5::{Packet, SubscribeReasonCode};
    use v5::mqttbytes::QoS;
    let v5::Event::Incoming(packet) = event else { return Event::Other };
    match packet {
        Packet::ConnAck(connack) => Event::Connected { resumed: connack.session_present },
        Packet::Publish(publish) => Event::Message(Message {
            ack: (publish.qos != QoS::AtMostOnce)
                .then_some(Ack { packet: publish.pkid, exactly_once: publish.qos == QoS::ExactlyOnce }),
            topic: publish.topic,
            payload: publish.payload,
            received: clock::now(),
            retained: publish.retain,
        }),
        Packet::SubAck(suback) => {
            let grants = suback.return_codes.into_iter().map(|code| match code {
                SubscribeReasonCode::Success(qos) => Ok(qos as u8),
                SubscribeReasonCode::NotAuthorized => Err("not authorized".to_owned()),
                other => Err(format!("refused by the broker ({other:?})")),
            });
            Event::Subscribed(grants.collect())
        }
        Packet::PingResp(_) => Event::Alive,
        _ => Event::Other,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library's enum: only what concerns us")]
fn why_v5(error: &v5::ConnectionError) -> String {
    use packet5::{ConnectReturnCode, DisconnectReasonCode};
    use v5::{ConnectionError, StateError};
    match error {
        ConnectionError::ConnectionRefused(
            ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized,
        ) => broker::LOGIN.into(),
        ConnectionError::ConnectionRefused(code) => format!("the broker refused the connection ({code:?})"),
        ConnectionError::MqttState(StateError::ServerDisconnect {
            reason_code: DisconnectReasonCode::SessionTakenOver,
            ..
        }) => "another client came with the same client_id; give each its own".into(),
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, .. }) => {
            format!("the broker ended the connection ({reason_code:?})")
        }
        ConnectionError::MqttState(StateError::ConnectionAborted) => broker::CLOSED.into(),
        ConnectionError::MqttState(StateError::AwaitPingResp) => broker::SILENT.into(),
        ConnectionError::Timeout(_) => broker::TIMEOUT.into(),
        ConnectionError::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}
