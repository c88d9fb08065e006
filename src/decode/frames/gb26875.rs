//! GB/T 26875.3-2011: what a fire user device (用户信息传输装置) and its centre say to each other.
//!
//! ```text
//!  40 40 | serial 2 | version 2 | clock 6 | source 6 | target 6 | length 2 | command 1 | data | sum 1 | 23 23
//!          └──────────────── little endian, summed up to the end of data ──────────────────┘
//!  data = type 1 | count 1 | objects, all of one type
//! ```
//! Times are six plain bytes: second, minute, hour, day, month, year of the century. In come frames; out go
//! [`Object`]s and the frames of the centre. An object of a type that is not read here is passed by as
//! [`Object::Other`] with the rest of its frame.

use super::{Scan, Wall, Zone, garbage_before, may_begin};
use crate::model::Timestamp;

const START: [u8; 2] = [0x40, 0x40];
const END: [u8; 2] = [0x23, 0x23];
/// From the start to the command.
const HEAD: usize = 27;
/// Sum and end.
const TAIL: usize = 3;

/// Six bytes, in the order of the wire.
pub type Address = [u8; 6];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Control,
    Send,
    Acknowledge,
    Request,
    Respond,
    Deny,
    Unknown(u8),
}

impl Command {
    const fn of(byte: u8) -> Self {
        match byte {
            1 => Self::Control,
            2 => Self::Send,
            3 => Self::Acknowledge,
            4 => Self::Request,
            5 => Self::Respond,
            6 => Self::Deny,
            other => Self::Unknown(other),
        }
    }

    const fn byte(self) -> u8 {
        match self {
            Self::Control => 1,
            Self::Send => 2,
            Self::Acknowledge => 3,
            Self::Request => 4,
            Self::Respond => 5,
            Self::Deny => 6,
            Self::Unknown(other) => other,
        }
    }
}

/// Types of data in the two directions (table 3 of the standard).
pub mod kind {
    pub const SYSTEM_STATE: u8 = 1;
    pub const PART_STATE: u8 = 2;
    pub const PART_ANALOG: u8 = 3;
    pub const SYSTEM_OPERATION: u8 = 4;
    pub const SYSTEM_TIME: u8 = 8;
    pub const DEVICE_STATE: u8 = 21;
    pub const DEVICE_OPERATION: u8 = 24;
    pub const DEVICE_TIME: u8 = 28;
    pub const SET_CLOCK: u8 = 90;
    /// 查岗: somebody at the device has to press a button within so many minutes.
    pub const POST_CHECK: u8 = 91;
}

/// Bit 5 of a device operation: the post was checked and somebody answered.
pub const POST_ANSWERED: u8 = 1 << 5;

/// A frame without its data: enough to answer it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub serial: u16,
    pub version: [u8; 2],
    /// The sender's clock as it stands in the frame.
    pub clock: [u8; 6],
    pub source: Address,
    pub target: Address,
    pub command: Command,
}

impl Head {
    /// `None` before the whole head is there.
    #[must_use]
    pub fn read(frame: &[u8]) -> Option<Self> {
        let six = |at: usize| frame.get(at..at + 6)?.try_into().ok();
        Some(Self {
            serial: u16::from_le_bytes([*frame.get(2)?, *frame.get(3)?]),
            version: [*frame.get(4)?, *frame.get(5)?],
            clock: six(6)?,
            source: six(12)?,
            target: six(18)?,
            command: Command::of(*frame.get(26)?),
        })
    }

    /// The head of an answer: same serial, addresses swapped, the clock of whoever answers.
    #[must_use]
    pub fn answer(&self, command: Command, now: Timestamp, zone: Zone) -> Self {
        Self { clock: clock(now, zone), source: self.target, target: self.source, command, ..*self }
    }

    /// The whole frame.
    pub fn write(&self, data: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        let length = u16::try_from(data.len()).expect("the centre's commands are a few bytes long");
        out.extend(START);
        out.extend(self.serial.to_le_bytes());
        out.extend(self.version);
        out.extend(self.clock);
        out.extend(self.source);
        out.extend(self.target);
        out.extend(length.to_le_bytes());
        out.push(self.command.byte());
        out.extend(data);
        out.push(sum(out.get(start + 2..).unwrap_or_default()));
        out.extend(END);
    }
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// What stands at the front of `bytes`; a frame longer than `most` is none.
#[must_use]
pub fn scan(bytes: &[u8], most: usize) -> Scan {
    if !may_begin(START, bytes) {
        return garbage_before(START, bytes);
    }
    let (Some(low), Some(high)) = (bytes.get(24), bytes.get(25)) else { return Scan::Wants };
    let whole = HEAD + usize::from(u16::from_le_bytes([*low, *high])) + TAIL;
    if whole > most {
        return garbage_before(START, bytes);
    }
    let Some(frame) = bytes.get(..whole) else { return Scan::Wants };
    if !frame.ends_with(&END) {
        return garbage_before(START, bytes);
    }
    let summed = frame.get(2..whole - TAIL).map(sum);
    if summed == frame.get(whole - TAIL).copied() { Scan::Frame(whole) } else { Scan::Damaged(whole) }
}

/// The data of a whole frame.
#[must_use]
pub fn data(frame: &[u8]) -> &[u8] {
    frame.get(HEAD..frame.len().saturating_sub(TAIL)).unwrap_or_default()
}

/// A building's fire-fighting system (建筑消防设施系统).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct System {
    pub kind: u8,
    pub address: u8,
}

/// One piece of information. Times are as sent; see [`moment`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object<'a> {
    SystemState {
        system: System,
        state: u16,
        time: [u8; 6],
    },
    /// `text` is where the part is, in GB18030, filled up with zeros.
    PartState {
        system: System,
        part_kind: u8,
        part: u32,
        state: u16,
        text: &'a [u8],
        time: [u8; 6],
    },
    PartAnalog {
        system: System,
        part_kind: u8,
        part: u32,
        analog: u8,
        value: i16,
        time: [u8; 6],
    },
    SystemOperation {
        system: System,
        flags: u8,
        operator: u8,
        time: [u8; 6],
    },
    SystemTime {
        system: System,
        time: [u8; 6],
    },
    DeviceState {
        state: u8,
        time: [u8; 6],
    },
    DeviceOperation {
        flags: u8,
        operator: u8,
        time: [u8; 6],
    },
    DeviceTime {
        time: [u8; 6],
    },
    /// Versions, configurations and what else is not read: all of the frame's objects at once.
    Other(u8),
}

/// The objects of a frame's data did not fill it as their number says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misshapen;

/// The objects of a frame's data; none at all is a heartbeat. What stands before a mistake is kept: see `out`.
pub fn objects<'a>(data: &'a [u8], out: &mut Vec<Object<'a>>) -> Result<(), Misshapen> {
    if data.is_empty() {
        return Ok(());
    }
    let (&[kind, count], mut rest) = data.split_first_chunk().ok_or(Misshapen)?;
    let Some(size) = size(kind) else {
        out.push(Object::Other(kind));
        return Ok(());
    };
    for _ in 0..count {
        let (one, others) = rest.split_at_checked(size).ok_or(Misshapen)?;
        rest = others;
        out.push(object(kind, one).ok_or(Misshapen)?);
    }
    if rest.is_empty() { Ok(()) } else { Err(Misshapen) }
}

const fn size(kind: u8) -> Option<usize> {
    match kind {
        kind::SYSTEM_STATE | kind::SYSTEM_OPERATION => Some(10),
        kind::PART_STATE => Some(46),
        kind::PART_ANALOG => Some(16),
        kind::SYSTEM_TIME | kind::DEVICE_OPERATION => Some(8),
        kind::DEVICE_STATE => Some(7),
        kind::DEVICE_TIME => Some(6),
        _ => None,
    }
}

fn object(kind: u8, bytes: &[u8]) -> Option<Object<'_>> {
    let byte = |at: usize| bytes.get(at).copied();
    let word = |at: usize| Some(u16::from_le_bytes([byte(at)?, byte(at + 1)?]));
    let long = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let time = *bytes.last_chunk::<6>()?;
    let system = || Some(System { kind: byte(0)?, address: byte(1)? });
    Some(match kind {
        kind::SYSTEM_STATE => Object::SystemState { system: system()?, state: word(2)?, time },
        kind::PART_STATE => Object::PartState {
            system: system()?,
            part_kind: byte(2)?,
            part: long(3)?,
            state: word(7)?,
            text: bytes.get(9..40)?,
            time,
        },
        kind::PART_ANALOG => Object::PartAnalog {
            system: system()?,
            part_kind: byte(2)?,
            part: long(3)?,
            analog: byte(7)?,
            value: word(8)?.cast_signed(),
            time,
        },
        kind::SYSTEM_OPERATION => {
            Object::SystemOperation { system: system()?, flags: byte(2)?, operator: byte(3)?, time }
        }
        kind::SYSTEM_TIME => Object::SystemTime { system: system()?, time },
        kind::DEVICE_STATE => Object::DeviceState { state: byte(0)?, time },
        kind::DEVICE_OPERATION => Object::DeviceOperation { flags: byte(0)?, operator: byte(1)?, time },
        kind::DEVICE_TIME => Object::DeviceTime { time },
        other => Object::Other(other),
    })
}

/// The moment that six bytes of a frame mean; `None` when there is no such date.
#[must_use]
pub fn moment(time: [u8; 6], zone: Zone) -> Option<Timestamp> {
    let [second, minute, hour, day, month, year] = time;
    zone.moment(Wall { year: 2000 + i16::from(year), month, day, hour, minute, second })
}

/// A moment as six bytes of a frame.
#[must_use]
pub fn clock(now: Timestamp, zone: Zone) -> [u8; 6] {
    let wall = zone.wall(now);
    let year = u8::try_from(wall.year.rem_euclid(100)).unwrap_or(0);
    [wall.second, wall.minute, wall.hour, wall.day, wall.month, year]
}

/// Data of the command that sets a device's clock.
#[must_use]
pub fn set_clock(now: Timestamp, zone: Zone) -> Vec<u8> {
    [[kind::SET_CLOCK, 1].as_slice(), &clock(now, zone)].concat()
}

/// Data of the post check: somebody has so many minutes to answer.
#[must_use]
pub fn post_check(minutes: u8) -> Vec<u8> {
    vec![kind::POST_CHECK, 1, minutes]
}

/// The text of a part; what is not GB18030 shows as a replacement character.
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (text, _) = encoding_rs::GB18030.decode_without_bom_handling(&bytes[..end]);
    text.trim().to_owned()
}

/// A state bit by its word; bits of systems, parts and devices have their own numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Bit {
    /// 1: in normal operation; 0: being tested.
    Running,
    Fire,
    Fault,
    /// 屏蔽: taken out of service at the panel.
    Blocked,
    /// 监管: a valve or switch is not where it should be.
    Supervised,
    Started,
    Feedback,
    Delayed,
    /// Of a part, or the main supply of a system or device.
    SupplyFault,
    BackupSupplyFault,
    BusFault,
    Manual,
    ConfigurationChanged,
    Reset,
    /// The device's line to the centre.
    CentreLineFault,
    /// The device's line to the panel.
    PanelLineFault,
}

impl Bit {
    pub const ALL: [Self; 16] = [
        Self::Running,
        Self::Fire,
        Self::Fault,
        Self::Blocked,
        Self::Supervised,
        Self::Started,
        Self::Feedback,
        Self::Delayed,
        Self::SupplyFault,
        Self::BackupSupplyFault,
        Self::BusFault,
        Self::Manual,
        Self::ConfigurationChanged,
        Self::Reset,
        Self::CentreLineFault,
        Self::PanelLineFault,
    ];

    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Fire => "fire",
            Self::Fault => "fault",
            Self::Blocked => "blocked",
            Self::Supervised => "supervised",
            Self::Started => "started",
            Self::Feedback => "feedback",
            Self::Delayed => "delayed",
            Self::SupplyFault => "supply_fault",
            Self::BackupSupplyFault => "backup_supply_fault",
            Self::BusFault => "bus_fault",
            Self::Manual => "manual",
            Self::ConfigurationChanged => "configuration_changed",
            Self::Reset => "reset",
            Self::CentreLineFault => "centre_line_fault",
            Self::PanelLineFault => "panel_line_fault",
        }
    }

    /// Its number in the state of a system (table 4); `None` for bits that only a device has.
    #[must_use]
    pub const fn of_system(self) -> Option<u8> {
        match self {
            Self::Running => Some(0),
            Self::Fire => Some(1),
            Self::Fault => Some(2),
            Self::Blocked => Some(3),
            Self::Supervised => Some(4),
            Self::Started => Some(5),
            Self::Feedback => Some(6),
            Self::Delayed => Some(7),
            Self::SupplyFault => Some(8),
            Self::BackupSupplyFault => Some(9),
            Self::BusFault => Some(10),
            Self::Manual => Some(11),
            Self::ConfigurationChanged => Some(12),
            Self::Reset => Some(13),
            Self::CentreLineFault | Self::PanelLineFault => None,
        }
    }

    /// Its number in the state of a part: the first nine of a system's.
    #[must_use]
    pub const fn of_part(self) -> Option<u8> {
        match self.of_system() {
            Some(number) if number <= 8 => Some(number),
            Some(_) | None => None,
        }
    }

    /// Its number in the state of the user device itself.
    #[must_use]
    pub const fn of_device(self) -> Option<u8> {
        match self {
            Self::Running => Some(0),
            Self::Fire => Some(1),
            Self::Fault => Some(2),
            Self::SupplyFault => Some(3),
            Self::BackupSupplyFault => Some(4),
            Self::CentreLineFault => Some(5),
            Self::PanelLineFault => Some(6),
            Self::Blocked
            | Self::Supervised
            | Self::Started
            | Self::Feedback
            | Self::Delayed
            | Self::BusFault
            | Self::Manual
            | Self::ConfigurationChanged
            | Self::Reset => None,
        }
    }
}

/// Analog kinds: number, word, step in the unit (count, m, degC, MPa, kPa, %LEL, s, V, A, L/s, m3/min, m/s).
pub const ANALOGS: [(u8, &str, f64); 12] = [
    (1, "count", 1.0),
    (2, "height", 100.0),
    (3, "temperature", 10.0),
    (4, "pressure_mpa", 10.0),
    (5, "pressure_kpa", 10.0),
    (6, "gas", 10.0),
    (7, "time", 1.0),
    (8, "voltage", 10.0),
    (9, "current", 10.0),
    (10, "flow", 10.0),
    (11, "air_flow", 10.0),
    (12, "wind", 1.0),
];

/// The value in the kind's unit; `None` for a kind that the standard does not name.
#[must_use]
pub fn analog(kind: u8, raw: i16) -> Option<f64> {
    ANALOGS.iter().find(|(number, ..)| *number == kind).map(|(_, _, steps)| f64::from(raw) / steps)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{hex, unhex};
    use super::*;

    /// The frame of the field notes: part 393433 of a fire alarm system reports fire.
    const FIRE: &str = "404000000101180d11160a140000000000000605040302013000020201010300d90006000200a3c1c7f8a3\
                        b1b2e3dfc8b2\
                        b8d7dfc0c8000000000000000000000000000000301213010814682323";

    fn fire() -> Vec<u8> {
        unhex(&FIRE.replace(char::is_whitespace, "")).unwrap()
    }

    #[test]
    fn the_published_frame_is_read_and_written_byte_for_byte() {
        let frame = fire();
        assert_eq!(scan(&frame, 1024), Scan::Frame(78));
        let head = Head::read(&frame).unwrap();
        assert_eq!((head.serial, head.version, head.command), (0, [1, 1], Command::Send));
        assert_eq!((hex(&head.source), hex(&head.target)), ("000000000000".into(), "060504030201".into()));
        assert_eq!(moment(head.clock, Zone::BEIJING).unwrap().to_string(), "2020-10-22T09:13:24Z");
        let mut found = Vec::new();
        objects(data(&frame), &mut found).unwrap();
        let [Object::PartState { system, part_kind, part, state, text: place, time }] = &found[..] else {
            panic!("{found:?}")
        };
        assert_eq!((*system, *part_kind, *part), (System { kind: 1, address: 3 }, 0, 0x0006_00D9));
        assert_eq!((*state, text(place)), (0b10, "Ａ区１层呷哺走廊".to_owned()));
        assert_eq!(moment(*time, Zone::BEIJING).unwrap().to_string(), "2020-08-01T11:18:48Z");
        let mut written = Vec::new();
        head.write(data(&frame), &mut written);
        assert_eq!(written, frame);
    }

    #[test]
    fn the_answer_keeps_the_serial_and_swaps_the_addresses() {
        let mut head = Head::read(&fire()).unwrap();
        head.serial = 0x1234;
        let now = Zone::BEIJING.moment(Wall { year: 2026, month: 11, day: 23, hour: 8, minute: 1, second: 2 }).unwrap();
        let mut answer = Vec::new();
        head.answer(Command::Acknowledge, now, Zone::BEIJING).write(&[], &mut answer);
        assert_eq!(hex(&answer), "404034120101020108170B1A060504030201000000000000000003A72323");
        assert_eq!(scan(&answer, 1024), Scan::Frame(30));
        assert_eq!(set_clock(now, Zone::BEIJING), [90, 1, 2, 1, 8, 23, 11, 26]);
        assert_eq!(post_check(10), [91, 1, 10]);
    }

    #[test]
    fn a_wrong_sum_is_damage_and_a_wrong_end_is_no_frame() {
        let mut frame = fire();
        frame[40] ^= 1;
        assert_eq!(scan(&frame, 1024), Scan::Damaged(78));
        let mut frame = fire();
        frame[77] = 0;
        assert_eq!(scan(&frame, 1024), Scan::Garbage(78));
        assert_eq!(scan(&fire(), 77), Scan::Garbage(78), "longer than allowed");
        assert_eq!(scan(&fire()[..77], 1024), Scan::Wants);
        let noisy = [b"noise@".as_slice(), &fire()].concat();
        assert_eq!(scan(&noisy, 1024), Scan::Garbage(5));
    }

    #[test]
    fn objects_that_do_not_fill_their_frame_keep_what_was_read_before() {
        let frame = fire();
        let mut cut = data(&frame).to_vec();
        cut[1] = 2;
        let mut found = Vec::new();
        assert_eq!(objects(&cut, &mut found), Err(Misshapen));
        assert_eq!(found.len(), 1);
        found.clear();
        assert_eq!((objects(&[], &mut found), objects(&[21], &mut found)), (Ok(()), Err(Misshapen)));
        assert_eq!((objects(&[21, 1, 0b1000_0001, 2, 1, 8, 23, 11, 26], &mut found), found.len()), (Ok(()), 1));
        assert!(matches!(found[0], Object::DeviceState { state: 0x81, .. }));
    }

    #[test]
    fn analog_values_are_signed_and_scaled() {
        assert_eq!(
            (analog(3, -131), analog(2, 250), analog(1, 7), analog(13, 1)),
            (Some(-13.1), Some(2.5), Some(7.0), None)
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_without_a_panic(
            bytes in prop::collection::vec(prop_oneof![Just(0x40_u8), Just(0x23), any::<u8>()], 0..300),
        ) {
            match scan(&bytes, 200) {
                Scan::Wants => {}
                Scan::Frame(n) | Scan::Damaged(n) => {
                    prop_assert!(n <= 200 && n <= bytes.len());
                    prop_assert!(Head::read(&bytes[..n]).is_some());
                }
                Scan::Garbage(n) => prop_assert!((1..=bytes.len()).contains(&n)),
            }
            let mut found = Vec::new();
            let whole = objects(&bytes, &mut found);
            prop_assert!(found.len() <= 255 && (whole.is_err() || !found.is_empty() || bytes.len() <= 2));
            for object in &found {
                if let Object::PartState { text: place, .. } = object {
                    prop_assert!(text(place).chars().count() <= place.len());
                }
            }
        }
    }
}
