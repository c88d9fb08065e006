//! Messages as lines in the log: the last resort, and the first when a site is set up. Delivered at once.

use tracing::info;

use super::{Channel, Delivery, Message};

pub const CHANNEL: &str = "log";

#[derive(Debug)]
pub struct Log;

impl Channel for Log {
    fn deliver<'a>(&'a self, message: &'a Message) -> Delivery<'a> {
        let alarm = &message.alarm;
        info!(
            target: "davy::alarm",
            change = message.change,
            alarm = %alarm.id,
            happening = message.happening,
            rule = %alarm.rule,
            subject = %alarm.subject,
            site = %alarm.site,
            priority = alarm.priority,
            level = alarm.level,
            value = alarm.value,
            text = %message.text.zh,
            "alarm",
        );
        Box::pin(std::future::ready(Ok("logged".to_owned())))
    }
}
