//! Environmental monitors (HJ 212-2017): what their packets mean for points.
//!
//! Data (CN 2011, 2051, 2061, 2031 and their like) are answered with 9014 when their samples are durable and the
//! packet asks for it; notices with 9013. Of a message in parts each packet stands for itself and is answered for
//! itself, since its groups are whole; only the time of the data, which the first one carries, is remembered for
//! those that follow.

use std::collections::VecDeque;

use super::binding::What;
use super::config::Config;
use super::stations::{Ask, Progress};
use super::talk::{Desk, Talk};
use crate::decode::frames::hj212::{self as wire, Mark, Message};
use crate::decode::frames::{Scan, Zone};
use crate::ledger::Fate;
use crate::model::{Reason, Timestamp};

pub(super) struct MonitorTalk {
    most: usize,
    zone: Zone,
    /// Times of data of messages in parts, by device, command and request number.
    times: VecDeque<(String, Timestamp)>,
}

/// Messages in parts whose time is remembered on one connection.
const MOST_TIMES: usize = 16;

impl MonitorTalk {
    pub fn new(config: &Config) -> Self {
        Self { most: config.limits.frame_bytes, zone: config.zone, times: VecDeque::new() }
    }

    fn data_time(&mut self, message: &Message<'_>) -> Option<Timestamp> {
        let own = message.data_time(self.zone);
        if message.part.is_none() {
            return own;
        }
        let key = format!("{} {} {}", message.mn, message.cn, message.qn);
        let remembered = self.times.iter().find(|(one, _)| *one == key).map(|(_, time)| *time);
        if let (Some(time), None) = (own, remembered) {
            if self.times.len() >= MOST_TIMES {
                self.times.pop_front();
            }
            self.times.push_back((key, time));
        }
        own.or(remembered)
    }

    fn group(&self, message: &Message<'_>, group: &str, time: Option<Timestamp>, desk: &mut Desk<'_>) {
        let mut reason = None;
        let mut at = time;
        for one in wire::fields(group) {
            match one.field {
                "Flag" => match Mark::of(one.value) {
                    Mark::Normal => {}
                    Mark::NotNormal(why) => reason = Some(why),
                    Mark::Unknown => {
                        desk.count(Fate::BadValue);
                        reason = Some(Reason::SensorFault);
                    }
                },
                "SampleTime" => at = wire::moment(one.value, self.zone).or(at),
                _ => {}
            }
        }
        for one in wire::fields(group).filter(|one| !["Flag", "SampleTime", "EFlag"].contains(&one.field)) {
            let value = one.value.parse().ok().filter(|value: &f64| value.is_finite());
            let what = What::Field { cn: message.cn, factor: one.factor.into(), field: one.field.into() };
            if !desk.value(message.mn, &what, value, at, reason) {
                desk.unknown(message.mn, &format!("CN {} {}-{}", message.cn, one.factor, one.field));
            }
        }
    }
}

impl Talk for MonitorTalk {
    fn scan(&self, bytes: &[u8]) -> Scan {
        wire::scan(bytes, self.most)
    }

    fn frame(&mut self, frame: &[u8], desk: &mut Desk<'_>) {
        let Some(message) = Message::read(wire::data(frame)) else { return desk.count(Fate::Malformed) };
        if !desk.admit(message.mn, Some(message.password.as_bytes())) {
            return;
        }
        if message.broken_off {
            desk.count(Fate::NotUtf8);
        }
        if (2000..3000).contains(&message.cn) {
            let time = self.data_time(&message);
            message.groups().for_each(|group| self.group(&message, group, time, desk));
        }
        if message.wants_answer() {
            desk.answers.extend(message.answer().unwrap_or_default());
        }
    }

    /// A monitor sends again what is not answered.
    fn damaged(&mut self, _frame: &[u8], _desk: &mut Desk<'_>) {}

    fn order(&mut self, ask: Ask, _now: Timestamp, _out: &mut Vec<u8>) {
        ask.progress.try_send(Progress::NotOffered).ok();
    }
}
