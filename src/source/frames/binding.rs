//! How a point is found in frames.
//!
//! ```toml
//! fire = { device = "060504030201", system = 1, part = 393433, bit = "fire" }     # state of a part
//! fire = { device = "060504030201", system = 1, part = 393433, analog = "temperature" }
//! fire = { device = "060504030201", system = 1, bit = "supply_fault" }            # of a system
//! fire = { device = "060504030201", bit = "panel_line_fault" }                    # of the user device
//! sl651 = { station = "0012345678", element = "39" }                              # "FF38": an extended one
//! sl651 = { station = "0012345678", element = "45", bit = 1 }                     # battery low
//! hj212 = { mn = "010000A8900016F000169DC0", factor = "a21026", field = "Rtd" }
//! hj212 = { mn = "010000A8900016F000169DC0", factor = "a21026", field = "Avg", cn = 2061 }
//! ```
//! `alive` as bit, element or field is a point that gets a 1 with each good frame. A fire device's address and a
//! station's are written as they stand in the frame. Without `system` a part is found in any system.

use serde::Deserialize;

use super::config::Protocol;
use crate::config::{Key, Problems};
use crate::decode::frames::gb26875::{ANALOGS, Bit};
use crate::decode::frames::sl651::Element;
use crate::decode::frames::{hex, hj212, unhex};

/// The word for a point that only says that its device speaks.
const ALIVE: &str = "alive";

/// What of a device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// Any good frame.
    Alive,
    DeviceBit(Bit),
    SystemBit {
        system: u8,
        bit: Bit,
    },
    PartBit {
        system: Option<u8>,
        part: u32,
        bit: Bit,
    },
    PartAnalog {
        system: Option<u8>,
        part: u32,
        analog: u8,
    },
    Element(Element),
    StateBit(u8),
    Field {
        cn: u16,
        factor: Box<str>,
        field: Box<str>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    pub protocol: Protocol,
    pub device: String,
    pub what: What,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawFire {
    device: String,
    system: Option<u8>,
    part: Option<u32>,
    bit: Option<String>,
    analog: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawSl651 {
    station: String,
    element: String,
    bit: Option<u8>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawHj212 {
    mn: String,
    factor: Option<String>,
    field: String,
    cn: Option<u16>,
}

/// A device's number as frames show it, or a problem.
pub(super) fn device(protocol: Protocol, text: &str, at: &Key, problems: &mut Problems) -> Option<String> {
    let found = match protocol {
        Protocol::Gb26875 => unhex(text).filter(|bytes| bytes.len() == 6).map(|bytes| hex(&bytes)),
        Protocol::Sl651 => unhex(text).filter(|bytes| bytes.len() == 5).map(|bytes| hex(&bytes)),
        Protocol::Hj212 => {
            let sound = (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
            sound.then(|| text.to_owned())
        }
    };
    if found.is_none() {
        let expected = match protocol {
            Protocol::Gb26875 => "a device address: 12 hexadecimal digits in the order of the frame",
            Protocol::Sl651 => "a station address: 10 digits as in the frame, such as \"0012345678\"",
            Protocol::Hj212 => "a device number (MN): up to 64 letters and digits",
        };
        problems.add(at.clone(), format!("{text:?} is not {expected}"));
    }
    found
}

impl RawFire {
    pub fn check(self, at: &Key, problems: &mut Problems) -> Option<Binding> {
        let protocol = Protocol::Gb26875;
        let device = device(protocol, &self.device, &at.field("device"), problems);
        let what = match (self.bit.as_deref(), self.analog.as_deref()) {
            (Some(ALIVE), None) if self.system.is_none() && self.part.is_none() => Some(What::Alive),
            (Some(word), None) => {
                let bits = Bit::ALL.iter().map(|bit| (bit.word(), *bit));
                let bit = problems.known(at.field("bit"), word, "state bit", bits)?;
                self.bit(bit, at, problems)
            }
            (None, Some(word)) => {
                let analogs = ANALOGS.iter().map(|(number, word, _)| (*word, *number));
                let analog = problems.known(at.field("analog"), word, "analog kind", analogs);
                if self.part.is_none() {
                    problems.add(at.field("part"), "missing: analog values belong to parts");
                }
                Some(What::PartAnalog { system: self.system, part: self.part?, analog: analog? })
            }
            (Some(_), Some(_)) | (None, None) => {
                problems
                    .add(at.field("bit"), "give either bit = \"fire\" (or another state) or analog = \"temperature\"");
                None
            }
        };
        Some(Binding { protocol, device: device?, what: what? })
    }

    fn bit(&self, bit: Bit, at: &Key, problems: &mut Problems) -> Option<What> {
        let (number, owner, what) = match (self.system, self.part) {
            (system, Some(part)) => (bit.of_part(), "part", What::PartBit { system, part, bit }),
            (Some(system), None) => (bit.of_system(), "system", What::SystemBit { system, bit }),
            (None, None) => (bit.of_device(), "user device", What::DeviceBit(bit)),
        };
        if number.is_none() {
            problems.add(at.field("bit"), format!("{:?} is not in the state of a {owner}", bit.word()));
        }
        number.map(|_| what)
    }
}

impl RawSl651 {
    pub fn check(self, at: &Key, problems: &mut Problems) -> Option<Binding> {
        let protocol = Protocol::Sl651;
        let device = device(protocol, &self.station, &at.field("station"), problems);
        let element = Element::parse(&self.element);
        let what = match (self.element.as_str(), element, self.bit) {
            (ALIVE, _, None) => Some(What::Alive),
            (_, Some(Element::STATE), Some(bit)) => problems.within(at.field("bit"), bit, 0..=31).map(What::StateBit),
            (_, Some(element), None) => Some(What::Element(element)),
            (_, _, Some(_)) => {
                problems.add(at.field("bit"), "only element \"45\" has bits");
                None
            }
            (text, None, None) => {
                let expected = "an element: two hexadecimal digits such as \"39\", \"FF\" and two more, or \"alive\"";
                problems.add(at.field("element"), format!("{text:?} is not {expected}"));
                None
            }
        };
        Some(Binding { protocol, device: device?, what: what? })
    }
}

impl RawHj212 {
    pub fn check(self, at: &Key, problems: &mut Problems) -> Option<Binding> {
        let protocol = Protocol::Hj212;
        let device = device(protocol, &self.mn, &at.field("mn"), problems);
        let what = match (self.field.as_str(), self.factor, self.cn) {
            (ALIVE, None, None) => Some(What::Alive),
            (_, None, _) => {
                problems.add(at.field("factor"), "missing: the code of what is measured, such as \"a21026\"");
                None
            }
            (field, Some(factor), cn) => {
                // Averages come by minute, hour and day under one name; they are not one point.
                let usual = if field == "Rtd" { hj212::command::REAL_TIME } else { hj212::command::MINUTE };
                let cn = problems.within(at.field("cn"), cn.unwrap_or(usual), 2000..=2999);
                cn.map(|cn| What::Field { cn, factor: factor.into(), field: field.into() })
            }
        };
        Some(Binding { protocol, device: device?, what: what? })
    }
}

/// Names of a fire device's points: `tower-1.p{part}-{bit}`, with `{system}` where systems must be told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NamePattern(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    System,
    Part,
    Bit,
}

impl NamePattern {
    pub fn check(text: &str, at: &Key, problems: &mut Problems) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((literal, more)) = rest.split_once('{') {
            let Some((name, more)) = more.split_once('}') else {
                problems.add(at.clone(), format!("{text:?} has a {{ without its }}"));
                return None;
            };
            pieces.push(Piece::Literal(literal.to_owned()));
            let known = [("system", Piece::System), ("part", Piece::Part), ("bit", Piece::Bit)];
            pieces.push(problems.known(at.clone(), name, "placeholder", known)?);
            rest = more;
        }
        pieces.push(Piece::Literal(rest.to_owned()));
        let once = |wanted: &Piece| pieces.iter().filter(|piece| *piece == wanted).count() == 1;
        // Every second piece is a literal; those between placeholders must hold something.
        let inner = pieces.get(1..pieces.len() - 1).unwrap_or_default();
        let touch = inner.contains(&Piece::Literal(String::new()));
        if !once(&Piece::Part) || !once(&Piece::Bit) || touch {
            let expected = "{part} and {bit} once each, with something between, as in \"tower-1.p{part}-{bit}\"";
            problems.add(at.clone(), format!("{text:?} needs {expected}"));
            return None;
        }
        Some(Self(pieces))
    }

    /// What the point of this id takes, if the id is of the pattern.
    pub fn read(&self, id: &str) -> Option<What> {
        let (mut system, mut part, mut word) = (None, None, None);
        let mut rest = id;
        let mut pieces = self.0.iter().peekable();
        while let Some(piece) = pieces.next() {
            if let Piece::Literal(literal) = piece {
                rest = rest.strip_prefix(literal.as_str())?;
                continue;
            }
            let end = match pieces.peek() {
                Some(Piece::Literal(next)) if !next.is_empty() => rest.find(next.as_str())?,
                _ => rest.len(),
            };
            let (text, more) = rest.split_at(end);
            rest = more;
            // "+1" and "01" would be second names of part 1.
            let plain = text == "0" || !text.starts_with(['0', '+']);
            match piece {
                Piece::System => system = Some(text.parse().ok().filter(|_| plain)?),
                Piece::Part => part = Some(text.parse().ok().filter(|_| plain)?),
                Piece::Bit => word = Some(text),
                Piece::Literal(_) => {}
            }
        }
        if !rest.is_empty() {
            return None;
        }
        let (part, word) = (part?, word?);
        if let Some(bit) = Bit::ALL.into_iter().find(|bit| bit.word() == word && bit.of_part().is_some()) {
            return Some(What::PartBit { system, part, bit });
        }
        let (analog, ..) = ANALOGS.into_iter().find(|(_, known, _)| *known == word)?;
        Some(What::PartAnalog { system, part, analog })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_points_give_their_part_and_bit() {
        let mut problems = Problems::default();
        let pattern = NamePattern::check("tower-1.s{system}-p{part}-{bit}", &Key::of("p"), &mut problems).unwrap();
        assert_eq!(
            pattern.read("tower-1.s1-p393433-fire"),
            Some(What::PartBit { system: Some(1), part: 393_433, bit: Bit::Fire })
        );
        assert_eq!(
            pattern.read("tower-1.s1-p7-temperature"),
            Some(What::PartAnalog { system: Some(1), part: 7, analog: 3 })
        );
        for other in [
            "tower-2.s1-p7-fire",
            "tower-1.s1-p07-fire",
            "tower-1.s1-p7-fires",
            "tower-1.s1-p7",
            "tower-1.s300-p7-fire",
        ] {
            assert_eq!(pattern.read(other), None, "{other}");
        }
        for wrong in ["tower-1.{bit}", "tower-1.{part}{bit}", "tower-1.{part}-{bit", "tower-1.{part}-{bits}"] {
            assert_eq!(NamePattern::check(wrong, &Key::of("p"), &mut problems), None, "{wrong}");
        }
        assert_eq!(problems.len(), 4);
    }
}
