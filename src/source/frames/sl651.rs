//! Hydrological stations (SL 651-2014): what their frames mean for points.
//!
//! Reports that a station sends of its own accord (functions 30 to 36) are confirmed when their samples are
//! durable; heartbeats and answers are not. A report in parts is put together within bounds and confirmed as a
//! whole; when its last part is there and others are not, those are asked for again. The state element of a report
//! says which gauge is broken: its values come as sensor faults.

use std::collections::BTreeMap;

use tracing::info;

use super::binding::What;
use super::config::Config;
use super::stations::{Ask, Progress};
use super::talk::{Desk, Talk};
use crate::decode::frames::sl651::{self as wire, Element, Ending, Frame, Opening, Part, function};
use crate::decode::frames::{Scan, Zone, hex};
use crate::ledger::Fate;
use crate::model::{Reason, Timestamp};

pub(super) struct StationTalk {
    most: usize,
    most_message: usize,
    zone: Zone,
    ending: Ending,
    /// Reports in parts, oldest first.
    unfinished: Vec<Unfinished>,
}

struct Unfinished {
    station: [u8; 5],
    function: u8,
    total: u16,
    parts: BTreeMap<u16, Vec<u8>>,
    bytes: usize,
}

/// Reports that are put together on one connection at a time, at the most.
const MOST_UNFINISHED: usize = 4;
/// Parts asked for again at a time.
const MOST_AGAIN: usize = 8;
/// What a part costs besides its bytes.
const PART_COST: usize = 64;

impl StationTalk {
    pub fn new(config: &Config) -> Self {
        Self {
            most: config.limits.frame_bytes,
            most_message: config.limits.message_bytes,
            zone: config.zone,
            ending: if config.stay_online { Ending::Stay } else { Ending::Leave },
            unfinished: Vec::new(),
        }
    }

    /// Keeps a part; the whole text when it was the last that was missing.
    fn part(&mut self, frame: &Frame<'_>, part: Part, desk: &mut Desk<'_>) -> Option<Vec<u8>> {
        let Part { total, number } = part;
        if number == 0 || number > total {
            desk.count(Fate::Malformed);
            return None;
        }
        let same = |one: &Unfinished| one.station == frame.station && one.function == frame.function;
        let at = self.unfinished.iter().position(same);
        // A new report under the old one's name: its first part again with other contents, or another total.
        let stale = at.filter(|at| {
            let one = &self.unfinished[*at];
            one.total != total || one.parts.get(&number).is_some_and(|had| had != frame.text)
        });
        if let Some(at) = stale {
            self.unfinished.remove(at);
            desk.count(Fate::Malformed);
        }
        let at = match at.filter(|_| stale.is_none()) {
            Some(at) => at,
            None => {
                if self.unfinished.len() >= MOST_UNFINISHED {
                    self.unfinished.remove(0);
                    desk.count(Fate::Malformed);
                }
                let Frame { station, function, .. } = *frame;
                self.unfinished.push(Unfinished { station, function, total, parts: BTreeMap::new(), bytes: 0 });
                self.unfinished.len() - 1
            }
        };
        let one = &mut self.unfinished[at];
        if one.parts.insert(number, frame.text.to_vec()).is_none() {
            one.bytes += frame.text.len() + PART_COST;
        }
        if one.bytes > self.most_message {
            self.unfinished.remove(at);
            desk.count(Fate::TooLarge);
            return None;
        }
        if one.parts.len() == usize::from(total) {
            return Some(self.unfinished.remove(at).parts.into_values().flatten().collect());
        }
        if number == total {
            let missing = (1..=total).filter(|number| !one.parts.contains_key(number)).take(MOST_AGAIN);
            let first = one.parts.get(&1).and_then(|text| Opening::of(text));
            let sent = wire::clock(desk.received, self.zone);
            let opening = first.unwrap_or(Opening { serial: [0, 0], sent });
            for number in missing {
                desk.answers.extend(wire::answer(frame, Some(Part { total, number }), opening, Ending::Again));
            }
        }
        None
    }

    fn text(&self, frame: &Frame<'_>, text: &[u8], desk: &mut Desk<'_>) {
        let station = hex(&frame.station);
        let Some(opening) = Opening::of(text) else { return desk.count(Fate::Malformed) };
        // Only these hold elements; others hold settings, whose numbers mean something else.
        if matches!(frame.function, 0x30..=0x3A | 0x46) {
            self.report(&station, text, desk);
        } else if frame.function != function::HEARTBEAT {
            desk.count(Fate::NoValue);
        }
        if wire::is_report(frame.function) {
            // The centre's own time: stations set their clocks by it.
            let opening = Opening { sent: wire::clock(desk.received, self.zone), ..opening };
            desk.answers.extend(wire::answer(frame, None, opening, self.ending));
        }
    }

    fn report(&self, station: &str, text: &[u8], desk: &mut Desk<'_>) {
        let Some(report) = wire::report(text, self.zone) else { return desk.count(Fate::Malformed) };
        if report.broken_off {
            desk.count(Fate::Malformed);
        }
        let faulty = |bit: u8| report.state.is_some_and(|state| state >> bit & 1 == 1);
        for reading in &report.readings {
            let at = Some(reading.at.unwrap_or(Timestamp::MIN));
            let broken = reading.element.fault_bit().is_some_and(faulty);
            let reason = broken.then_some(Reason::SensorFault);
            let mut taken = desk.value(station, &What::Element(reading.element), reading.value, at, reason);
            if let (Element::STATE, Some(state)) = (reading.element, report.state) {
                for bit in 0..32 {
                    let value = f64::from(u8::from(state >> bit & 1 == 1));
                    taken |= desk.value(station, &What::StateBit(bit), Some(value), at, None);
                }
            }
            if !taken {
                desk.unknown(station, &format!("element {:02X}", reading.element.0));
            }
        }
        if let Some(typed) = report.typed {
            info!(station, text = %String::from_utf8_lossy(typed), "typed at a station");
        }
        if report.picture > 0 {
            info!(station, bytes = report.picture, "a picture came; Davy keeps none");
        }
    }
}

impl Talk for StationTalk {
    fn scan(&self, bytes: &[u8]) -> Scan {
        wire::scan(bytes, self.most)
    }

    fn frame(&mut self, frame: &[u8], desk: &mut Desk<'_>) {
        let Some(frame) = wire::read(frame) else { return desk.count(Fate::Malformed) };
        if !desk.admit(&hex(&frame.station), Some(&frame.password)) {
            return;
        }
        match frame.part {
            None => self.text(&frame, frame.text, desk),
            Some(part) => {
                if let Some(text) = self.part(&frame, part, desk) {
                    self.text(&frame, &text, desk);
                }
            }
        }
    }

    /// A station sends again what is not confirmed.
    fn damaged(&mut self, _frame: &[u8], _desk: &mut Desk<'_>) {}

    fn order(&mut self, ask: Ask, _now: Timestamp, _out: &mut Vec<u8>) {
        ask.progress.try_send(Progress::NotOffered).ok();
    }
}
