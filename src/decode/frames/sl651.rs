//! SL 651-2014, HEX/BCD frames: what a hydrological station and its centre say to each other.
//!
//! ```text
//!  up    7E 7E | centre 1 | station 5 BCD | password 2 | function 1 | 0 + length 12 bit | body | CRC 2
//!  down  7E 7E | station 5 BCD | centre 1 | password 2 | function 1 | 8 + length 12 bit | body | CRC 2
//!  body  02 | text | 03 or 17            16 | total 12 bit, number 12 bit | part of a text | 03 or 17
//!  text  serial 2 | sent 6 | F1F1 station 5, type 1 | F0F0 observed 5 | elements: id, length and decimals, value
//! ```
//! The length counts the text, and in a part of a longer one the three bytes of its number too. The CRC stands
//! high byte first. In come frames; out go [`Reading`]s with the time that each was measured at. A value of
//! `FF` bytes is none (invalid); one `FF` before digits is a minus sign. What cannot be told apart any more
//! after a mistake is left out and the mistake told, what stands before it is kept.

use super::{Scan, Wall, Zone, bcd, crc16, garbage_before, may_begin, to_bcd};
use crate::model::Timestamp;

const START: [u8; 2] = [0x7E, 0x7E];
/// From the start to the length.
const HEAD: usize = 13;
/// End mark and CRC.
const TAIL: usize = 3;

const TEXT_BEGINS: u8 = 0x02;
const PART_BEGINS: u8 = 0x16;
const TEXT_ENDS: u8 = 0x03;
const MORE_FOLLOWS: u8 = 0x17;

/// How the centre ends what it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// EOT: that was all, the station may hang up.
    Leave,
    /// ESC: that was all, the station stays on line.
    Stay,
    /// NAK: send this part again.
    Again,
}

impl Ending {
    const fn byte(self) -> u8 {
        match self {
            Self::Leave => 0x04,
            Self::Stay => 0x1B,
            Self::Again => 0x15,
        }
    }
}

/// Function codes (table B.1) that are told apart here.
pub mod function {
    /// Keeps the line open; not answered.
    pub const HEARTBEAT: u8 = 0x2F;
    pub const TEST: u8 = 0x30;
    pub const HOURLY: u8 = 0x34;
    pub const PICTURE: u8 = 0x36;
}

/// Is the centre to confirm it? Reports that a station sends of its own accord are, answers are not.
#[must_use]
pub const fn is_report(code: u8) -> bool {
    code >= function::TEST && code <= function::PICTURE
}

/// Part `number` of `total`, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub total: u16,
    pub number: u16,
}

/// An upward frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub centre: u8,
    pub station: [u8; 5],
    pub password: [u8; 2],
    pub function: u8,
    pub part: Option<Part>,
    pub text: &'a [u8],
}

/// Serial number and time of sending, as they stand at the front of a text; the centre sends them back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    pub serial: [u8; 2],
    pub sent: [u8; 6],
}

impl Opening {
    #[must_use]
    pub fn of(text: &[u8]) -> Option<Self> {
        let (serial, rest) = text.split_first_chunk()?;
        Some(Self { serial: *serial, sent: *rest.first_chunk()? })
    }
}

/// What stands at the front of `bytes`; a frame longer than `most` is none.
#[must_use]
pub fn scan(bytes: &[u8], most: usize) -> Scan {
    if !may_begin(START, bytes) {
        return garbage_before(START, bytes);
    }
    let (Some(high), Some(low)) = (bytes.get(11), bytes.get(12)) else { return Scan::Wants };
    let whole = HEAD + 1 + usize::from(u16::from_be_bytes([high & 0x0F, *low])) + TAIL;
    if whole > most || high & 0xF0 != 0 {
        return garbage_before(START, bytes);
    }
    if bytes.get(HEAD).is_some_and(|begins| ![TEXT_BEGINS, PART_BEGINS].contains(begins)) {
        return garbage_before(START, bytes);
    }
    let Some(frame) = bytes.get(..whole) else { return Scan::Wants };
    if !frame.get(whole - TAIL).is_some_and(|ends| [TEXT_ENDS, MORE_FOLLOWS].contains(ends)) {
        return garbage_before(START, bytes);
    }
    let (summed, crc) = frame.split_at(whole - 2);
    if crc16(summed).to_be_bytes() == crc { Scan::Frame(whole) } else { Scan::Damaged(whole) }
}

/// The parts of a frame that [`scan`] found whole; `None` when it is too short to be one.
#[must_use]
pub fn read(frame: &[u8]) -> Option<Frame<'_>> {
    let mut text = frame.get(HEAD + 1..frame.len().checked_sub(TAIL)?)?;
    let mut part = None;
    if *frame.get(HEAD)? == PART_BEGINS {
        let (number, rest) = text.split_first_chunk::<3>()?;
        let [first, second, third] = number.map(u16::from);
        part = Some(Part { total: first << 4 | second >> 4, number: (second & 0x0F) << 8 | third });
        text = rest;
    }
    Some(Frame {
        centre: *frame.get(2)?,
        station: frame.get(3..8)?.try_into().ok()?,
        password: frame.get(8..10)?.try_into().ok()?,
        function: *frame.get(10)?,
        part,
        text,
    })
}

/// The centre's frame to the station that sent `to`: addresses swapped, function and password repeated.
#[must_use]
pub fn answer(to: &Frame<'_>, part: Option<Part>, opening: Opening, ending: Ending) -> Vec<u8> {
    let mut out = Vec::with_capacity(32);
    out.extend(START);
    out.extend(to.station);
    out.push(to.centre);
    out.extend(to.password);
    out.push(to.function);
    let length: u8 = if part.is_some() { 11 } else { 8 };
    out.extend([0x80, length]);
    match part {
        None => out.push(TEXT_BEGINS),
        Some(Part { total, number }) => {
            let [_, total_high, total_low] = (u32::from(total) << 4 | u32::from(number >> 8 & 0x0F)).to_be_bytes()[1..]
                .try_into()
                .expect("three of four bytes");
            out.extend([PART_BEGINS, total_high, total_low, number.to_be_bytes()[1]]);
        }
    }
    out.extend(opening.serial);
    out.extend(opening.sent);
    out.push(ending.byte());
    out.extend(crc16(&out).to_be_bytes());
    out
}

/// The moment that five or six BCD bytes mean: year of the century, month, day, hour, minute, second.
#[must_use]
pub fn moment(time: &[u8], zone: Zone) -> Option<Timestamp> {
    let digits = |at: usize| time.get(at).and_then(|byte| bcd(*byte));
    let second = if time.len() > 5 { digits(5)? } else { 0 };
    let year = 2000 + i16::from(digits(0)?);
    zone.moment(Wall { year, month: digits(1)?, day: digits(2)?, hour: digits(3)?, minute: digits(4)?, second })
}

/// A moment as the six bytes of a time of sending.
#[must_use]
pub fn clock(now: Timestamp, zone: Zone) -> [u8; 6] {
    let wall = zone.wall(now);
    let year = u8::try_from(wall.year.rem_euclid(100)).unwrap_or(0);
    [year, wall.month, wall.day, wall.hour, wall.minute, wall.second].map(to_bcd)
}

/// What an element is called: its id, or `0xFF00` and the second id of an extended one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Element(pub u16);

impl Element {
    pub const STATE: Self = Self(0x45);
    const STEP: Self = Self(0x04);
    /// Rain in each five minutes of an hour: 12 bytes, 0.1 mm.
    pub const RAIN_OF_HOUR: Self = Self(0xF4);
    const LEVELS_OF_HOUR_FIRST: u16 = 0xF5;
    const LEVELS_OF_HOUR_LAST: u16 = 0xFC;

    /// `39`, `FF38`: as the standard prints it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = u16::from_str_radix(text, 16).ok();
        digits.filter(|id| (text.len() == 2 || (text.len() == 4 && id >> 8 == 0xFF)) && *id & 0xFF != 0xFF).map(Self)
    }

    /// Does it hold a whole hour in steps of five minutes? Then the width of one value and its steps in a unit.
    const fn of_hour(self) -> Option<(usize, f64)> {
        match self.0 {
            0xF4 => Some((1, 10.0)),
            Self::LEVELS_OF_HOUR_FIRST..=Self::LEVELS_OF_HOUR_LAST => Some((2, 100.0)),
            _ => None,
        }
    }

    /// The bit of the state element (table 58) that says that the gauge behind this element is broken.
    #[must_use]
    pub const fn fault_bit(self) -> Option<u8> {
        match self.0 {
            // 27..2F discharge, 37 velocity: flow meter. 39..43 and the levels of an hour: level gauge.
            0x27..=0x2F | 0x37 => Some(5),
            0x39..=0x43 | Self::LEVELS_OF_HOUR_FIRST..=Self::LEVELS_OF_HOUR_LAST => Some(6),
            _ => None,
        }
    }
}

/// One value of one element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    pub element: Element,
    /// `None`: the station says that it has none, or its digits are not digits.
    pub value: Option<f64>,
    /// When it was measured; `None` when the station's time is no date.
    pub at: Option<Timestamp>,
}

/// A whole text, of one frame or put together from parts.
#[derive(Clone, Debug, PartialEq)]
pub struct Report<'a> {
    pub opening: Opening,
    pub sent: Option<Timestamp>,
    pub readings: Vec<Reading>,
    /// The word of element 45, if it is there.
    pub state: Option<u32>,
    /// F2: text that a person at the station typed.
    pub typed: Option<&'a [u8]>,
    /// F3: bytes of a picture, not kept.
    pub picture: usize,
    /// What stands after this could not be told apart.
    pub broken_off: bool,
}

/// Values of one report, at the most: an hour's series of every gauge is far below it.
const MOST_READINGS: usize = 4_096;

/// `None` when not even serial and time of sending are there.
#[must_use]
pub fn report(text: &[u8], zone: Zone) -> Option<Report<'_>> {
    let opening = Opening::of(text)?;
    let sent = moment(&opening.sent, zone);
    let mut report =
        Report { opening, sent, readings: Vec::new(), state: None, typed: None, picture: 0, broken_off: false };
    let mut reader = Reader { rest: text.get(8..).unwrap_or_default(), zone, at: sent, step: None };
    while !reader.rest.is_empty() {
        if reader.element(&mut report).is_none() || report.readings.len() > MOST_READINGS {
            report.readings.truncate(MOST_READINGS);
            report.broken_off = true;
            break;
        }
    }
    Some(report)
}

struct Reader<'a> {
    rest: &'a [u8],
    zone: Zone,
    at: Option<Timestamp>,
    /// Values come in a series, so far apart.
    step: Option<std::time::Duration>,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).and_then(|bytes| bytes.first().copied())
    }

    fn element(&mut self, report: &mut Report<'a>) -> Option<()> {
        let lead = self.byte()?;
        match lead {
            0xF0 => {
                self.byte().filter(|again| *again == lead)?;
                self.at = moment(self.take(5)?, self.zone);
            }
            0xF1 => {
                self.byte().filter(|again| *again == lead)?;
                self.take(5)?;
                // The type of the station. Some leave it out.
                if self.rest.first().is_some_and(|next| *next != 0xF0) {
                    self.byte()?;
                }
            }
            0xF2 | 0xF3 => {
                self.byte().filter(|again| *again == lead)?;
                let all = std::mem::take(&mut self.rest);
                if lead == 0xF2 {
                    report.typed = Some(all);
                } else {
                    report.picture = all.len();
                }
            }
            _ => {
                let element =
                    if lead == 0xFF { Element(0xFF00 | u16::from(self.byte()?)) } else { Element(lead.into()) };
                let shape = self.byte()?;
                self.values(element, usize::from(shape >> 3), shape & 0x07, report)?;
            }
        }
        Some(())
    }

    fn values(&mut self, element: Element, width: usize, decimals: u8, report: &mut Report<'a>) -> Option<()> {
        if element == Element::STEP {
            let digits = self.take(width)?;
            let [days, hours, minutes] = <[u8; 3]>::try_from(digits).ok()?.map(bcd);
            let minutes = u64::from(days?) * 1440 + u64::from(hours?) * 60 + u64::from(minutes?);
            self.step = Some(std::time::Duration::from_secs(minutes * 60));
            return Some(());
        }
        if let Some((each, steps)) = element.of_hour() {
            return self.hour(element, each, steps, report);
        }
        if element == Element::STATE {
            let word = self.take(width)?;
            let value = <[u8; 4]>::try_from(word).ok().map(u32::from_be_bytes);
            report.state = value.or(report.state);
            report.readings.push(Reading { element, value: value.map(f64::from), at: self.at });
            return Some(());
        }
        let Some(step) = self.step.take() else {
            let value = number(self.take(width)?, decimals);
            report.readings.push(Reading { element, value, at: self.at });
            return Some(());
        };
        // A series goes on to the end of the text: nothing says how many values it has.
        let mut at = self.at;
        while !self.rest.is_empty() && width > 0 && report.readings.len() <= MOST_READINGS {
            let value = number(self.take(width)?, decimals);
            report.readings.push(Reading { element, value, at });
            at = at.map(|at| at + step);
        }
        (width > 0).then_some(())
    }

    /// The twelve values of an hour, or of several one after the other in an answer about the past. The time of
    /// observation is that of the first value, but in a report sent on the hour it is that of the last: no value
    /// is newer than the report.
    fn hour(&mut self, element: Element, each: usize, steps: f64, report: &mut Report<'a>) -> Option<()> {
        const FIVE_MINUTES: std::time::Duration = std::time::Duration::from_secs(300);
        let most = if self.step.take().is_some() { self.rest.len() / (12 * each) * 12 } else { 12 };
        let values = self.take(most.max(12) * each)?;
        let span = FIVE_MINUTES * u32::try_from(values.len() / each - 1).unwrap_or(0);
        let newer = self.at.zip(report.sent).is_some_and(|(at, sent)| at + span > sent);
        let mut at = if newer { self.at.map(|at| at - span) } else { self.at };
        for bytes in values.chunks_exact(each) {
            let raw = bytes.iter().fold(0_u32, |raw, byte| raw << 8 | u32::from(*byte));
            let value = (!bytes.iter().all(|byte| *byte == 0xFF)).then(|| f64::from(raw) / steps);
            report.readings.push(Reading { element, value, at });
            at = at.map(|at| at + FIVE_MINUTES);
        }
        Some(())
    }
}

/// BCD digits with so many decimals.
fn number(bytes: &[u8], decimals: u8) -> Option<f64> {
    let (sign, digits) = match bytes.split_first() {
        Some((0xFF, digits)) => (-1.0, digits),
        Some(_) => (1.0, bytes),
        None => return None,
    };
    if digits.is_empty() {
        return None;
    }
    let mut whole = 0.0;
    for byte in digits {
        whole = whole * 100.0 + f64::from(bcd(*byte)?);
    }
    Some(sign * whole / 10_f64.powi(decimals.into()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{hex, unhex};
    use super::*;

    const HEARTBEAT: &str = "7E7E01001234567812342F0008020003591011155111036BCA";
    const TEST: &str = "7E7E010012345678123430002B020003591011154947F1F1001234567848F0F05910111549201900000526\
                        19000005392300000127\
                        381211150320FA";
    /// What the centre is seen to answer to it in the field.
    const TEST_ANSWER: &str = "7E7E00123456780112343080080200035910111549471B75D4";
    const TIMED: &str = "7E7E05001122334403E832002B020034170718110016F1F1001122334448F0F0170718110020190000402\
                        6190000403923000104903812\
                         109903A421";

    fn bytes(text: &str) -> Vec<u8> {
        unhex(&text.replace(char::is_whitespace, "")).unwrap()
    }

    /// An upward frame around a text.
    pub(crate) fn frame(function: u8, part: Option<Part>, text: &[u8]) -> Vec<u8> {
        let mut out = bytes("7E7E0100123456781234");
        out.push(function);
        let number = part.map(|part| {
            let number = u32::from(part.total) << 12 | u32::from(part.number);
            number.to_be_bytes()[1..].to_vec()
        });
        let length = text.len() + number.as_ref().map_or(0, Vec::len);
        out.extend(u16::try_from(length).unwrap().to_be_bytes());
        out.push(if part.is_some() { PART_BEGINS } else { TEXT_BEGINS });
        out.extend(number.unwrap_or_default());
        out.extend(text);
        out.push(if part.is_some_and(|part| part.number < part.total) { MORE_FOLLOWS } else { TEXT_ENDS });
        out.extend(crc16(&out).to_be_bytes());
        out
    }

    fn told(text: &str) -> (Vec<(u16, Option<f64>, String)>, bool) {
        let text = bytes(text);
        let report = report(&text, Zone::BEIJING).unwrap();
        let readings = report.readings.iter();
        let told = readings.map(|one| (one.element.0, one.value, one.at.map_or_else(String::new, |at| at.to_string())));
        (told.collect(), report.broken_off)
    }

    #[test]
    fn the_published_frames_are_read() {
        let heartbeat = bytes(HEARTBEAT);
        assert_eq!(scan(&heartbeat, 4096), Scan::Frame(heartbeat.len()));
        let frame = read(&heartbeat).unwrap();
        assert_eq!((frame.centre, hex(&frame.station), frame.password), (1, "0012345678".into(), [0x12, 0x34]));
        assert_eq!((frame.function, frame.part, frame.text.len()), (function::HEARTBEAT, None, 8));

        let test = bytes(TEST);
        assert_eq!(scan(&test, 4096), Scan::Frame(60));
        let frame = read(&test).unwrap();
        let report = report(frame.text, Zone::BEIJING).unwrap();
        assert_eq!((report.opening.serial, report.broken_off), ([0, 3], false));
        let at = moment(&[0x59, 0x10, 0x11, 0x15, 0x49], Zone::BEIJING);
        let values: Vec<_> = report.readings.iter().map(|one| (one.element.0, one.value.unwrap(), one.at)).collect();
        assert_eq!(values, [(0x20, 0.5, at), (0x26, 0.5, at), (0x39, 0.127, at), (0x38, 11.15, at)]);

        let timed = bytes(TIMED);
        assert_eq!(scan(&timed, 4096), Scan::Frame(timed.len()));
        let values: Vec<_> = super::report(read(&timed).unwrap().text, Zone::BEIJING).unwrap().readings;
        assert_eq!((values[2].value, values[2].at.unwrap().to_string()), (Some(10.49), "2017-07-18T03:00:00Z".into()));
    }

    #[test]
    fn frames_are_written_byte_for_byte() {
        let heartbeat = bytes(HEARTBEAT);
        assert_eq!(frame(function::HEARTBEAT, None, read(&heartbeat).unwrap().text), heartbeat);
        let test = bytes(TEST);
        let read = read(&test).unwrap();
        assert_eq!(frame(function::TEST, None, read.text), test);
        let opening = Opening::of(read.text).unwrap();
        assert_eq!(answer(&read, None, opening, Ending::Stay), bytes(TEST_ANSWER));
        let again = answer(&read, Some(Part { total: 0x123, number: 0x456 }), opening, Ending::Again);
        assert_eq!(&again[11..18], [0x80, 11, 0x16, 0x12, 0x34, 0x56, 0]);
        assert_eq!(crc16(&again[..again.len() - 2]).to_be_bytes(), again[again.len() - 2..]);
        let now = moment(&[0x26, 0x11, 0x23, 0x08, 0x01, 0x02], Zone::BEIJING).unwrap();
        assert_eq!(clock(now, Zone::BEIJING), [0x26, 0x11, 0x23, 0x08, 0x01, 0x02]);
    }

    #[test]
    fn a_part_knows_its_number() {
        let part = Part { total: 13, number: 2 };
        let bytes = frame(function::PICTURE, Some(part), b"abc");
        assert_eq!(&bytes[13..17], [0x16, 0x00, 0xD0, 0x02]);
        assert_eq!(scan(&bytes, 4096), Scan::Frame(bytes.len()));
        let read = read(&bytes).unwrap();
        assert_eq!((read.part, read.text), (Some(part), b"abc".as_slice()));
    }

    #[test]
    fn damage_is_told_from_what_is_no_frame() {
        let mut test = bytes(TEST);
        test[50] ^= 1;
        assert_eq!(scan(&test, 4096), Scan::Damaged(60));
        let mut swapped = bytes(TEST);
        swapped.swap(58, 59);
        assert_eq!(scan(&swapped, 4096), Scan::Damaged(60), "the CRC stands high byte first");
        assert_eq!(scan(&bytes(TEST_ANSWER), 4096), Scan::Garbage(25), "downward frames are not for us");
        assert_eq!(scan(&bytes(TEST)[..59], 4096), Scan::Wants);
    }

    #[test]
    fn values_say_minus_and_none() {
        let head = "0001 261123080000 F1F1001234567848 F0F02611230755";
        let (told, broken_off) =
            told(&format!("{head} 3923FF001234 3923FFFFFFFF 0219FF0012 0E1A00123A FF381211 15 4520 00000040"));
        let at = || "2026-11-22T23:55:00Z".to_owned();
        let expected = [
            (0x39, Some(-1.234), at()),
            (0x39, None, at()),
            (0x02, Some(-1.2), at()),
            (0x0E, None, at()),
            (0xFF38, Some(11.15), at()),
            (0x45, Some(64.0), at()),
        ];
        assert_eq!((told.as_slice(), broken_off), (expected.as_slice(), false));
        assert_eq!((Element(0x39).fault_bit(), Element(0x38).fault_bit()), (Some(6), None));
    }

    #[test]
    fn a_series_gives_each_value_its_own_time() {
        let (told, _) = told(
            "0031 170718110005 F1F1001122334448 F0F01707181005 0418000005 3923 00000122 00000285 FFFFFFFF 00010490",
        );
        let values: Vec<_> = told.iter().map(|(_, value, at)| (*value, &at[11..16])).collect();
        assert_eq!(values, [(Some(0.122), "02:05"), (Some(0.285), "02:10"), (None, "02:15"), (Some(10.49), "02:20")]);
    }

    #[test]
    fn no_value_of_an_hour_is_newer_than_its_report() {
        let hour = "F460 000100000000000000000AFF F5C0 0AAA0AAAFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF 391A002730";
        let (on_the_hour, broken_off) = told(&format!("0001 140612020000 F1F1001234567850 F0F01406120200 {hour}"));
        assert_eq!((on_the_hour.len(), broken_off), (25, false));
        assert_eq!(on_the_hour[1], (0xF4, Some(0.1), "2014-06-11T17:10:00Z".into()));
        assert_eq!((on_the_hour[10].1, on_the_hour[11].1), (Some(1.0), None));
        assert_eq!(on_the_hour[11].2, "2014-06-11T18:00:00Z");
        assert_eq!((on_the_hour[12].1, on_the_hour[23].1, on_the_hour[24].1), (Some(27.3), None, Some(27.3)));
        let (after_it, _) = told(&format!("0001 140612030226 F1F1001234567850 F0F01406120205 {hour}"));
        assert_eq!((after_it[0].2.as_str(), after_it[11].2.as_str()), ("2014-06-11T18:05:00Z", "2014-06-11T19:00:00Z"));
    }

    #[test]
    fn what_stands_before_a_mistake_is_kept() {
        let (told, broken_off) = told("0001 261123080000 F0F02611230755 38121115 3923 0012");
        assert_eq!((told.len(), told[0].1, broken_off), (1, Some(11.15), true));
        assert_eq!(report(&[0; 7], Zone::BEIJING), None);
    }

    #[test]
    fn element_names_are_those_of_the_standard() {
        assert_eq!((Element::parse("39"), Element::parse("ff38")), (Some(Element(0x39)), Some(Element(0xFF38))));
        for wrong in ["", "3", "0139", "zz", "FF", "FFFF"] {
            assert_eq!(Element::parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_without_a_panic(
            bytes in prop::collection::vec(prop_oneof![Just(0x7E_u8), Just(0x02), Just(0), any::<u8>()], 0..300),
        ) {
            match scan(&bytes, 200) {
                Scan::Wants => {}
                Scan::Frame(n) | Scan::Damaged(n) => {
                    prop_assert!(n <= 200 && n <= bytes.len());
                    prop_assert!(read(&bytes[..n]).is_none_or(|frame| frame.text.len() < n));
                }
                Scan::Garbage(n) => prop_assert!((1..=bytes.len()).contains(&n)),
            }
        }

        #[test]
        fn any_text_is_read_within_bounds(
            text in prop::collection::vec(
                prop_oneof![Just(0x04_u8), Just(0x18), Just(0x39), Just(0xF0), Just(0xFF), any::<u8>()],
                0..400,
            ),
        ) {
            if let Some(report) = report(&text, Zone::BEIJING) {
                prop_assert!(report.readings.len() <= text.len());
                prop_assert!(report.readings.iter().all(|one| one.value.is_none_or(f64::is_finite)));
            }
        }

        #[test]
        fn a_frame_reads_back_as_it_was_written(
            text in prop::collection::vec(any::<u8>(), 0..200),
            code: u8,
            number in prop::option::of((1_u16..4096, 1_u16..4096)),
        ) {
            let part = number.map(|(total, number)| Part { total, number });
            let bytes = frame(code, part, &text);
            prop_assert_eq!(scan(&bytes, 4096), Scan::Frame(bytes.len()));
            let read = read(&bytes).unwrap();
            prop_assert_eq!((read.function, read.part, read.text), (code, part, text.as_slice()));
        }
    }
}
