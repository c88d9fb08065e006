//! Messages to MQTT subscribers, handed to Davy's own listener.
//!
//! The listener retains an open alarm under its topic, so that whoever subscribes later hears of it.
//! Delivered means handed to at least one subscriber; the receipt says to how many. Nobody there is a
//! message that did not arrive, and is recorded as that. A test is told and ended at once, so that it stays in nobody's
//! list of what is open.

use std::sync::Arc;

use bytes::Bytes;

use super::{Channel, Delivery, Failure, Message};
use crate::board::Published;

pub const CHANNEL: &str = "mqtt";

/// Hands a change and its payload to the subscribers without waiting; returns how many got it. An error is
/// temporary: there is no listener now.
pub type Publish = Arc<dyn Fn(&Arc<Published>, Bytes) -> Result<usize, Failure> + Send + Sync>;

pub struct Mqtt {
    publish: Publish,
}

impl Mqtt {
    #[must_use]
    pub fn new(publish: Publish) -> Self {
        Self { publish }
    }
}

impl Channel for Mqtt {
    fn deliver<'a>(&'a self, message: &'a Message) -> Delivery<'a> {
        let handed = (self.publish)(&message.published, message.json().into());
        Box::pin(std::future::ready(handed.and_then(told)))
    }

    fn test(&self) -> Delivery<'_> {
        let begin = Message::example();
        let end = Message::end_of(&begin);
        let handed = (self.publish)(&begin.published, begin.json().into())
            .and_then(|handed| (self.publish)(&end.published, end.json().into()).map(|_| handed));
        Box::pin(std::future::ready(handed.and_then(told)))
    }
}

fn told(subscribers: usize) -> Result<String, Failure> {
    match subscribers {
        0 => Err(Failure::nobody("nobody was subscribed")),
        1 => Ok("1 subscriber".to_owned()),
        count => Ok(format!("{count} subscribers")),
    }
}
