//! HJ 212-2017: what an environmental monitor and its centre say to each other, in lines of text.
//!
//! ```text
//!  ## | length 4 digits | data | CRC 4 hexadecimal digits | CR LF
//!  data = QN=20160801085857223;ST=32;CN=2011;PW=100000;MN=..;Flag=5;[PNUM=..;PNO=..;]CP=&&fields&&
//!  fields = DataTime=20160801085857;a21026-Rtd=1.23,a21026-Flag=N;a01001-Rtd=..
//! ```
//! The CRC is not MODBUS's: the byte goes into the shifted register. In come packets; out go [`Message`]s and
//! the answers of the centre. A field that cannot be read is passed by and counted, the others are kept.

use super::{Scan, Wall, Zone, garbage_before, may_begin, shifted};
use crate::model::{Reason, Timestamp};

const START: [u8; 2] = *b"##";
/// Start and length.
const HEAD: usize = 6;
/// CRC and line end.
const TAIL: usize = 6;

/// Command numbers (CN) that are told apart here.
pub mod command {
    pub const REAL_TIME: u16 = 2011;
    pub const MINUTE: u16 = 2051;
    /// An answer of the device to a request of the centre: never answered.
    pub const REQUEST_ANSWER: u16 = 9011;
    pub const RESULT: u16 = 9012;
    pub const NOTICE_ANSWER: u16 = 9013;
    pub const DATA_ANSWER: u16 = 9014;
}

/// The CRC of HJ 212 (appendix A).
#[must_use]
pub fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| shifted((crc >> 8) ^ u16::from(*byte)))
}

/// What stands at the front of `bytes`; a packet longer than `most` is none.
#[must_use]
pub fn scan(bytes: &[u8], most: usize) -> Scan {
    if !may_begin(START, bytes) {
        return garbage_before(START, bytes);
    }
    let mut length = 0;
    for at in 2..HEAD {
        match bytes.get(at) {
            None => return Scan::Wants,
            Some(digit) if digit.is_ascii_digit() => length = length * 10 + usize::from(digit - b'0'),
            Some(_) => return garbage_before(START, bytes),
        }
    }
    let whole = HEAD + length + TAIL;
    if whole > most {
        return garbage_before(START, bytes);
    }
    let Some(packet) = bytes.get(..whole) else { return Scan::Wants };
    let Some(digits) = packet.strip_suffix(b"\r\n").and_then(|packet| packet.last_chunk::<4>()) else {
        return garbage_before(START, bytes);
    };
    let summed = std::str::from_utf8(digits).ok().and_then(|digits| u16::from_str_radix(digits, 16).ok());
    if summed == Some(crc(data(packet))) { Scan::Frame(whole) } else { Scan::Damaged(whole) }
}

/// The data of a whole packet.
#[must_use]
pub fn data(packet: &[u8]) -> &[u8] {
    packet.get(HEAD..packet.len().saturating_sub(TAIL)).unwrap_or_default()
}

/// A packet around data.
#[must_use]
pub fn packet(data: &str) -> Vec<u8> {
    format!("##{:04}{data}{:04X}\r\n", data.len(), crc(data.as_bytes())).into_bytes()
}

/// A packet taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Number of the request: the sender's time to the millisecond. Comes back in the answer.
    pub qn: &'a str,
    pub cn: u16,
    pub password: &'a str,
    /// Number of the device.
    pub mn: &'a str,
    pub flag: u8,
    /// Part `number` of `total`, from 1.
    pub part: Option<(u16, u16)>,
    /// Between the two `&&`.
    pub fields: &'a str,
    /// What stands behind is no text.
    pub broken_off: bool,
}

impl<'a> Message<'a> {
    /// `None` when the data names no command or no device.
    #[must_use]
    pub fn read(data: &'a [u8]) -> Option<Self> {
        let (text, broken_off) = readable(data);
        let (head, fields) = text.split_once("CP=&&")?;
        let mut message = Self { qn: "", cn: 0, password: "", mn: "", flag: 0, part: None, fields: "", broken_off };
        message.fields = fields.rsplit_once("&&").map_or(fields, |(fields, _)| fields);
        let (mut total, mut number) = (None, None);
        for (name, value) in head.split(';').filter_map(|field| field.split_once('=')) {
            match name {
                "QN" => message.qn = value,
                "CN" => message.cn = value.parse().ok()?,
                "PW" => message.password = value,
                "MN" => message.mn = value,
                "Flag" => message.flag = value.parse().ok()?,
                "PNUM" => total = value.parse().ok(),
                "PNO" => number = value.parse().ok(),
                _ => {}
            }
        }
        message.part = total.zip(number);
        let named = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        (message.cn != 0 && named(message.mn)).then_some(message)
    }

    /// Bit 0 of the flag: the sender waits for an answer.
    #[must_use]
    pub const fn wants_answer(&self) -> bool {
        self.flag & 1 == 1
    }

    /// What the centre answers: 9014 to data (2xxx), 9013 to notices. `None` for answers themselves.
    #[must_use]
    pub fn answer(&self) -> Option<Vec<u8>> {
        let cn = match self.cn {
            9000.. => return None,
            2000..=2999 => command::DATA_ANSWER,
            _ => command::NOTICE_ANSWER,
        };
        // 91: between systems. 4: the version of 2017, no answer wanted.
        let Self { qn, password, mn, .. } = self;
        Some(packet(&format!("QN={qn};ST=91;CN={cn};PW={password};MN={mn};Flag=4;CP=&&&&")))
    }

    /// The time that the data are of; `None` when the packet does not say, or says no date.
    #[must_use]
    pub fn data_time(&self, zone: Zone) -> Option<Timestamp> {
        self.groups().flat_map(|group| group.split(',')).find_map(|field| {
            let (name, value) = field.split_once('=')?;
            if name == "DataTime" { moment(value, zone) } else { None }
        })
    }

    /// Each group holds the fields of one factor.
    pub fn groups(&self) -> impl Iterator<Item = &'a str> {
        self.fields.split(';').filter(|group| !group.is_empty())
    }
}

/// The text at the front of the data up to the last whole group, and whether something else stands behind it:
/// everything that Davy reads is ASCII, but some devices put names in GBK among it.
fn readable(data: &[u8]) -> (&str, bool) {
    match std::str::from_utf8(data) {
        Ok(text) => (text, false),
        Err(wrong) => {
            let sound = data.get(..wrong.valid_up_to()).and_then(|sound| std::str::from_utf8(sound).ok());
            (sound.and_then(|text| text.rsplit_once(';')).map_or("", |(groups, _)| groups), true)
        }
    }
}

/// One field of a factor, with what else its group says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    pub factor: &'a str,
    pub field: &'a str,
    pub value: &'a str,
}

/// The fields of a group: `a21026-Rtd=1.2,a21026-Flag=N`.
pub fn fields(group: &str) -> impl Iterator<Item = Field<'_>> {
    group.split(',').filter_map(|text| {
        let (name, value) = text.split_once('=')?;
        let (factor, field) = name.rsplit_once('-')?;
        Some(Field { factor, field, value })
    })
}

/// `yyyyMMddHHmmss`, with or without milliseconds after it.
#[must_use]
pub fn moment(text: &str, zone: Zone) -> Option<Timestamp> {
    let digits = text.as_bytes();
    if !(digits.len() == 14 || digits.len() == 17) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let two = |at: usize| text.get(at..at + 2)?.parse::<u8>().ok();
    let wall = Wall {
        year: text.get(..4)?.parse().ok()?,
        month: two(4)?,
        day: two(6)?,
        hour: two(8)?,
        minute: two(10)?,
        second: two(12)?,
    };
    let millis = text.get(14..17).and_then(|millis| millis.parse().ok()).unwrap_or(0);
    Some(zone.moment(wall)? + std::time::Duration::from_millis(millis))
}

/// What the data mark of a factor (its field `Flag`) says about its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Normal,
    NotNormal(Reason),
    /// The standard does not name it.
    Unknown,
}

impl Mark {
    #[must_use]
    pub fn of(letter: &str) -> Self {
        match letter {
            "N" | "n" | "1" | "3" => Self::Normal,
            // The source of the emission stands still; people are at the instrument; a figure set by hand.
            "F" | "f" | "M" | "m" | "S" | "s" => Self::NotNormal(Reason::Paused),
            "D" | "d" | "2" => Self::NotNormal(Reason::SensorFault),
            "C" | "c" | "0" => Self::NotNormal(Reason::Calibrating),
            "T" | "t" => Self::NotNormal(Reason::OverRange),
            "B" | "b" => Self::NotNormal(Reason::LineBreak),
            // Of the version of 2005.
            "P" | "p" => Self::NotNormal(Reason::SupplyLost),
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SET_INTERVAL: &str = "##0101QN=20160801085857223;ST=32;CN=1062;PW=100000;MN=010000A8900016F000169DC0;Flag=5;\
                                CP=&&RtdInterval=30&&1C80\r\n";

    #[test]
    fn the_published_packet_is_read_and_written_byte_for_byte() {
        let bytes = SET_INTERVAL.as_bytes();
        assert_eq!(scan(bytes, 1024), Scan::Frame(bytes.len()));
        let message = Message::read(data(bytes)).unwrap();
        assert_eq!((message.cn, message.mn, message.password), (1062, "010000A8900016F000169DC0", "100000"));
        assert_eq!((message.wants_answer(), message.part, message.fields), (true, None, "RtdInterval=30"));
        assert_eq!(moment(message.qn, Zone::BEIJING).unwrap().to_string(), "2016-08-01T00:58:57.223Z");
        assert_eq!(packet(std::str::from_utf8(data(bytes)).unwrap()), bytes);
    }

    #[test]
    fn data_are_answered_with_9014_notices_with_9013_answers_never() {
        let answered = |cn: u16| {
            let data = format!("QN=20260101000000001;ST=22;CN={cn};PW=123456;MN=A1;Flag=5;CP=&&&&");
            let answer = Message::read(data.as_bytes()).unwrap().answer()?;
            assert_eq!(scan(&answer, 1024), Scan::Frame(answer.len()));
            Some(String::from_utf8(answer).unwrap())
        };
        let data = answered(2011).unwrap();
        assert!(data.starts_with("##0065QN=20260101000000001;ST=91;CN=9014;PW=123456;MN=A1;Flag=4;CP=&&&&"), "{data}");
        assert!(answered(1013).unwrap().contains("CN=9013"));
        for cn in [9011, 9012, 9013, 9014] {
            assert_eq!(answered(cn), None);
        }
    }

    #[test]
    fn fields_keep_their_factor_and_mark() {
        let data = b"QN=1;CN=2011;MN=A;Flag=7;PNUM=2;PNO=1;CP=&&DataTime=20260102030405;\
                     a21026-Rtd=1.5,a21026-Flag=D;SB1-RS=1;;odd&&";
        let message = Message::read(data).unwrap();
        assert_eq!(message.part, Some((2, 1)));
        assert_eq!(message.data_time(Zone::BEIJING).unwrap().to_string(), "2026-01-01T19:04:05Z");
        let found: Vec<_> = message.groups().flat_map(fields).collect();
        let field = |factor, field, value| Field { factor, field, value };
        assert_eq!(found, [field("a21026", "Rtd", "1.5"), field("a21026", "Flag", "D"), field("SB1", "RS", "1")]);
        assert_eq!(["N", "D", "x"].map(Mark::of), [Mark::Normal, Mark::NotNormal(Reason::SensorFault), Mark::Unknown]);
    }

    #[test]
    fn what_stands_before_foreign_letters_is_kept() {
        let data = b"QN=1;CN=2011;MN=A;Flag=5;CP=&&DataTime=20260102030405;a1-Rtd=1;a2-Name=\xD6\xD0;a3-Rtd=3&&";
        let message = Message::read(data).unwrap();
        assert_eq!((message.fields, message.broken_off), ("DataTime=20260102030405;a1-Rtd=1", true));
        assert!(message.answer().is_some());
        assert_eq!(Message::read(b"\xD6\xD0"), None);
    }

    #[test]
    fn damage_is_told_from_what_is_no_packet() {
        let wrong = SET_INTERVAL.replace("=30", "=31");
        assert_eq!(scan(wrong.as_bytes(), 1024), Scan::Damaged(wrong.len()));
        let no_end = SET_INTERVAL.replace("\r\n", "xx");
        assert_eq!(scan(no_end.as_bytes(), 1024), Scan::Garbage(no_end.len()));
        assert_eq!(scan(b"##01x1", 1024), Scan::Garbage(6));
        assert_eq!(scan(&SET_INTERVAL.as_bytes()[..50], 1024), Scan::Wants);
        assert_eq!(scan(b"##9999", 1024), Scan::Garbage(6), "longer than allowed");
        for wrong in ["CN=2011;MN=;CP=&&&&", "MN=A;CP=&&&&", "CN=2011;MN=A", "CN=2011;MN=a b;CP=&&&&"] {
            assert_eq!(Message::read(wrong.as_bytes()), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_without_a_panic(
            bytes in prop::collection::vec(prop_oneof![Just(b'#'), Just(b'0'), any::<u8>()], 0..200),
        ) {
            match scan(&bytes, 100) {
                Scan::Wants => {}
                Scan::Frame(n) | Scan::Damaged(n) => prop_assert!(n <= 100 && n <= bytes.len()),
                Scan::Garbage(n) => prop_assert!((1..=bytes.len()).contains(&n)),
            }
        }

        #[test]
        fn any_data_is_read_without_a_panic(text in "[A-Za-z0-9=;,&\\-]{0,80}(CP=&&[A-Za-z0-9=;,&.\\-路]{0,80})?") {
            if let Some(message) = Message::read(text.as_bytes()) {
                prop_assert!(message.data_time(Zone::BEIJING).is_none_or(|at| at > Timestamp::MIN));
                message.groups().flat_map(fields).for_each(|field| assert!(field.value.len() <= text.len()));
                prop_assert_eq!(message.answer().is_none(), message.cn >= 9000);
            }
        }
    }
}
