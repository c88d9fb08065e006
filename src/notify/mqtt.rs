//! Messages to MQTT subscribers, handed to Davy's own listener.
//!
//! An open alarm is retained under its topic, so that whoever subscribes later hears of it; its last
//! change is published and the retained one is taken away. Delivered means handed to the subscribers that
//! are connected; the receipt says how many those were, and none is said too.

use std::sync::Arc;

use bytes::Bytes;

use super::{Channel, Delivery, Failure, Message};

pub const CHANNEL: &str = "mqtt";

/// What the listener is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// `davy/v1/{site}/alarm/{id}`
    pub topic: String,
    pub payload: Bytes,
    /// True: replaces the retained message of the topic. False: goes to those who are there, and the
    /// retained message is removed.
    pub retain: bool,
}

/// Hands a publication to the subscribers without waiting; returns how many got it. An error is
/// temporary: there is no listener now.
pub type Publish = Arc<dyn Fn(Publication) -> Result<usize, Failure> + Send + Sync>;

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
        let publication = Publication {
            topic: format!("davy/v1/{}/alarm/{}", level_of(&message.alarm.site), message.alarm.id),
            payload: message.json().into(),
            retain: message.alarm.is_open(),
        };
        let handed = (self.publish)(publication).map(|count| format!("{count} subscribers"));
        Box::pin(std::future::ready(handed))
    }
}

/// A site's name as one level of a topic. Davy's own conditions belong to no site.
fn level_of(site: &str) -> String {
    if site.is_empty() { "davy".to_owned() } else { site.replace(['/', '+', '#', '\0'], "-") }
}
