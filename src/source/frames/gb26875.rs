//! Fire user devices (GB/T 26875.3-2011): what their frames mean for points, and orders to them.
//!
//! Command 2 (send) is answered with 3 (acknowledge) when its samples are durable, also when no point takes them:
//! the device would send them for ever. A wrong sum is answered with 6 (deny), so that the device sends again.
//! Data of the answer to a request (command 5) are taken in alike. A 1 always stands. A 0 of a part that is
//! blocked, faulty or without supply is no measurement: it comes as bad (paused, sensor fault, supply lost), so
//! that it clears nothing.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{info, warn};

use super::binding::What;
use super::config::Config;
use super::stations::{Ask, Order, Progress};
use super::talk::{Desk, Talk};
use crate::decode::frames::gb26875::{self as wire, Bit, Command, Head, Object, System};
use crate::decode::frames::{Scan, Zone, hex};
use crate::ledger::Fate;
use crate::model::{Reason, Timestamp};

pub(super) struct FireTalk {
    most: usize,
    zone: Zone,
    trust_test_bit: bool,
    set_clock_beyond: Option<Duration>,
    speakers: HashMap<String, Speaker>,
    /// Of the centre's own frames on this connection.
    serial: u16,
    pending: Vec<Pending>,
}

/// A device of this connection: known ones only, so there are never more than configured.
struct Speaker {
    /// Of its last frame: whom to address, as whom, in which version.
    head: Head,
    clock_set: Option<Timestamp>,
}

/// An order that waits for its answer.
struct Pending {
    device: String,
    serial: u16,
    order: Order,
    progress: mpsc::Sender<Progress>,
}

/// Orders that wait on one connection, at the most.
const MOST_PENDING: usize = 16;
/// A clock that stays wrong is set again after so long.
const CLOCK_PAUSE: Duration = Duration::from_secs(600);

impl FireTalk {
    pub fn new(config: &Config) -> Self {
        Self {
            most: config.limits.frame_bytes,
            zone: config.zone,
            trust_test_bit: config.trust_test_bit,
            set_clock_beyond: config.set_clock_beyond,
            speakers: HashMap::new(),
            serial: 0,
            pending: Vec::new(),
        }
    }

    fn at(&self, time: [u8; 6]) -> Option<Timestamp> {
        // A time that is no date is one that cannot be believed.
        Some(wire::moment(time, self.zone).unwrap_or(Timestamp::MIN))
    }

    fn object(&mut self, device: &str, object: &Object<'_>, desk: &mut Desk<'_>) {
        match *object {
            Object::PartState { system, part, state, text, time, .. } => {
                self.part(device, (system, part, state), text, time, desk);
            }
            Object::PartAnalog { system, part, analog, value, time, .. } => {
                let value = wire::analog(analog, value);
                let at = self.at(time);
                let mut taken = false;
                for system in [Some(system.address), None] {
                    taken |= desk.value(device, &What::PartAnalog { system, part, analog }, value, at, None);
                }
                if !taken {
                    desk.unknown(device, &format!("analog kind {analog} of part {part} of system {}", system.address));
                }
            }
            Object::SystemState { system, state, time } => {
                let at = self.at(time);
                let mut taken = false;
                for bit in Bit::ALL {
                    let Some(value) = bit_value(bit.of_system(), state) else { continue };
                    let reason = self.test_reason(state);
                    let what = What::SystemBit { system: system.address, bit };
                    taken |= desk.value(device, &what, Some(value), at, reason);
                }
                if !taken {
                    desk.unknown(device, &format!("state of system {}", system.address));
                }
            }
            Object::DeviceState { state, time } => {
                let at = self.at(time);
                for bit in Bit::ALL {
                    let Some(value) = bit_value(bit.of_device(), state.into()) else { continue };
                    let reason = self.test_reason(state.into());
                    desk.value(device, &What::DeviceBit(bit), Some(value), at, reason);
                }
            }
            Object::SystemOperation { system, flags, operator, .. } => {
                info!(device, system = system.address, flags, operator, "operation at a fire panel");
            }
            Object::DeviceOperation { flags, operator, .. } => {
                info!(device, flags, operator, "operation at a fire user device");
                if flags & wire::POST_ANSWERED != 0 {
                    self.post_answered(device);
                }
            }
            // The device's own clock stands in every frame's head.
            Object::SystemTime { .. } | Object::DeviceTime { .. } | Object::Other(_) => {}
        }
    }

    fn part(
        &self,
        device: &str,
        (system, part, state): (System, u32, u16),
        text: &[u8],
        time: [u8; 6],
        desk: &mut Desk<'_>,
    ) {
        let at = self.at(time);
        let mut taken = false;
        for bit in Bit::ALL {
            let Some(value) = bit_value(bit.of_part(), state) else { continue };
            let reason = blind(bit, value, state).or_else(|| self.test_reason(state));
            for system in [Some(system.address), None] {
                taken |= desk.value(device, &What::PartBit { system, part, bit }, Some(value), at, reason);
            }
        }
        if !taken {
            desk.unknown(device, &format!("state of part {part} of system {}", system.address));
        }
        if bit_value(Bit::Fire.of_part(), state) == Some(1.0) {
            info!(device, system = system.address, part, place = %wire::text(text), "fire reported");
        }
    }

    fn test_reason(&self, state: u16) -> Option<Reason> {
        (self.trust_test_bit && state & 1 == 0).then_some(Reason::Exercise)
    }

    /// A frame that answers one of ours.
    fn answered(&mut self, device: &str, head: &Head, progress: Progress) {
        self.pending.retain(|pending| !pending.progress.is_closed());
        let Some(at) = self.pending.iter().position(|one| one.device == device && one.serial == head.serial) else {
            return;
        };
        // Whoever asked may have gone; then there is nobody to tell.
        self.pending[at].progress.try_send(progress).ok();
        let waits_on = matches!((self.pending[at].order, progress), (Order::PostCheck { .. }, Progress::Acknowledged));
        if !waits_on {
            self.pending.swap_remove(at);
        }
    }

    fn post_answered(&mut self, device: &str) {
        self.pending.retain(|pending| {
            let answers = pending.device == device && matches!(pending.order, Order::PostCheck { .. });
            if answers {
                pending.progress.try_send(Progress::Answered).ok();
            }
            !answers
        });
    }

    /// The centre's own command to a device that has spoken.
    fn command(&mut self, device: &str, data: &[u8], now: Timestamp, out: &mut Vec<u8>) -> Option<u16> {
        let speaker = self.speakers.get(device)?;
        self.serial = self.serial.wrapping_add(1);
        let head = Head { serial: self.serial, ..speaker.head.answer(Command::Control, now, self.zone) };
        head.write(data, out);
        Some(self.serial)
    }

    fn look_at_the_clock(&mut self, device: &str, head: &Head, desk: &mut Desk<'_>) {
        let Some(most) = self.set_clock_beyond else { return };
        let now = desk.received;
        let off = wire::moment(head.clock, self.zone).map(|clock| clock.since(now).max(now.since(clock)));
        // The clock of a frame counts whole seconds.
        if off.is_some_and(|off| off <= most + Duration::from_secs(1)) {
            return;
        }
        let Some(speaker) = self.speakers.get_mut(device) else { return };
        if speaker.clock_set.is_some_and(|last| now.since(last) < CLOCK_PAUSE) {
            return;
        }
        speaker.clock_set = Some(now);
        warn!(device, off_by = ?off, "the clock of a fire user device is wrong; it is set");
        let data = wire::set_clock(now, self.zone);
        self.command(device, &data, now, &mut desk.answers);
    }
}

/// 0 or 1 of a numbered bit.
fn bit_value(number: Option<u8>, state: u16) -> Option<f64> {
    number.map(|number| f64::from(state >> number & 1))
}

/// Why a 0 of this part is no measurement.
fn blind(bit: Bit, value: f64, state: u16) -> Option<Reason> {
    let holds = |other: Bit| bit_value(other.of_part(), state) == Some(1.0);
    match bit {
        Bit::Fire | Bit::Supervised | Bit::Started | Bit::Feedback | Bit::Delayed if value == 0.0 => {
            if holds(Bit::Blocked) {
                Some(Reason::Paused)
            } else if holds(Bit::Fault) {
                Some(Reason::SensorFault)
            } else {
                holds(Bit::SupplyFault).then_some(Reason::SupplyLost)
            }
        }
        Bit::Fire
        | Bit::Supervised
        | Bit::Started
        | Bit::Feedback
        | Bit::Delayed
        | Bit::Running
        | Bit::Fault
        | Bit::Blocked
        | Bit::SupplyFault
        | Bit::BackupSupplyFault
        | Bit::BusFault
        | Bit::Manual
        | Bit::ConfigurationChanged
        | Bit::Reset
        | Bit::CentreLineFault
        | Bit::PanelLineFault => None,
    }
}

impl Talk for FireTalk {
    fn scan(&self, bytes: &[u8]) -> Scan {
        wire::scan(bytes, self.most)
    }

    fn frame(&mut self, frame: &[u8], desk: &mut Desk<'_>) {
        let Some(head) = Head::read(frame) else { return desk.count(Fate::Malformed) };
        let device = hex(&head.source);
        if !desk.admit(&device, None) {
            return;
        }
        let speaker = self.speakers.entry(device.clone()).or_insert(Speaker { head, clock_set: None });
        speaker.head = head;
        match head.command {
            Command::Send | Command::Respond => {
                let mut objects = Vec::new();
                if wire::objects(wire::data(frame), &mut objects).is_err() {
                    desk.count(Fate::Malformed);
                }
                objects.iter().for_each(|object| self.object(&device, object, desk));
                if head.command == Command::Send {
                    head.answer(Command::Acknowledge, desk.received, self.zone).write(&[], &mut desk.answers);
                } else {
                    self.answered(&device, &head, Progress::Acknowledged);
                }
            }
            Command::Acknowledge => self.answered(&device, &head, Progress::Acknowledged),
            Command::Deny => self.answered(&device, &head, Progress::Denied),
            Command::Control | Command::Request | Command::Unknown(_) => desk.count(Fate::WrongAnswer),
        }
        self.look_at_the_clock(&device, &head, desk);
    }

    fn damaged(&mut self, frame: &[u8], desk: &mut Desk<'_>) {
        let head = Head::read(frame);
        // The head may be what is damaged: an address that nobody knows is not answered.
        if let Some(head) = head.filter(|head| desk.front.known.get(&hex(&head.source)).is_some()) {
            head.answer(Command::Deny, desk.received, self.zone).write(&[], &mut desk.answers);
        }
    }

    fn order(&mut self, ask: Ask, now: Timestamp, out: &mut Vec<u8>) {
        self.pending.retain(|pending| !pending.progress.is_closed());
        let Ask { device, order, progress } = ask;
        if self.pending.len() >= MOST_PENDING {
            // Dropped with its way back: whoever asked is told that the device is silent.
            return;
        }
        let data = match order {
            Order::SetClock => wire::set_clock(now, self.zone),
            Order::PostCheck { minutes } => wire::post_check(minutes),
        };
        if let Some(serial) = self.command(&device, &data, now, out) {
            self.pending.push(Pending { device, serial, order, progress });
        }
    }
}
