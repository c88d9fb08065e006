//! Short messages as a modem takes them: SMS-SUBMIT of 3GPP TS 23.040 in UCS-2, in parts where it is long.
//!
//! ```text
//!  00 │ 41 │ 00 │ 0D 91 683109000000F0 │ 00 │ 08 │ 8C │ 05 00 03 2A 03 01 │ 505C 6B62 ..
//!  SMSC first ref  digits, type, number   PID  DCS  UDL   part 1 of 3, set 2A   text (9.2.3.24.1)
//! ```
//! In come a number and a text; out goes a line of hexadecimal digits for each part. Pure. A character that takes
//! two places (U+10000 and above) is never torn apart.

/// UCS-2 characters of a message that stands alone, and of one of several, which begin with six octets of their own.
const IN_ONE: usize = 70;
const IN_SEVERAL: usize = 67;

/// A text in the parts in which it is sent.
#[must_use]
pub fn split(text: &str) -> Vec<Vec<u16>> {
    if text.encode_utf16().count() <= IN_ONE {
        return vec![text.encode_utf16().collect()];
    }
    let mut parts = vec![Vec::with_capacity(IN_SEVERAL)];
    for letter in text.chars() {
        let last = parts.len() - 1;
        if parts[last].len() + letter.len_utf16() > IN_SEVERAL {
            parts.push(Vec::with_capacity(IN_SEVERAL));
        }
        let last = parts.len() - 1;
        parts[last].extend_from_slice(letter.encode_utf16(&mut [0; 2]));
    }
    parts
}

/// One part, ready for `AT+CMGS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pdu {
    /// In hexadecimal digits, the empty service centre in front: the modem knows its own.
    pub hex: String,
    /// Octets without the service centre, which is what `AT+CMGS` is told.
    pub octets: usize,
}

/// The parts of a text to a number; `set` ties them together at the receiver.
#[must_use]
pub fn submit(number: &str, text: &str, set: u8) -> Vec<Pdu> {
    let parts = split(text);
    let total = u8::try_from(parts.len()).unwrap_or(u8::MAX);
    (1..=total).zip(&parts).map(|(place, part)| one(number, part, (total > 1).then_some([set, total, place]))).collect()
}

fn one(number: &str, part: &[u16], of: Option<[u8; 3]>) -> Pdu {
    // SMS-SUBMIT without a validity period; 0x40: the text begins with a header.
    let mut octets = vec![if of.is_some() { 0x41 } else { 0x01 }, 0];
    octets.extend(address(number));
    // Protocol 0, and UCS-2 (3GPP TS 23.038, 4).
    octets.extend([0x00, 0x08]);
    let mut data = Vec::with_capacity(140);
    if let Some([set, total, place]) = of {
        data.extend([0x05, 0x00, 0x03, set, total, place]);
    }
    data.extend(part.iter().flat_map(|unit| unit.to_be_bytes()));
    octets.push(u8::try_from(data.len()).expect("a part holds 140 octets at most"));
    octets.extend(data);
    let hex = std::iter::once(&0).chain(&octets).map(|octet| format!("{octet:02X}")).collect();
    Pdu { hex, octets: octets.len() }
}

/// Length in digits, type (0x91 with the country's code, 0x81 without), digits in swapped pairs.
fn address(number: &str) -> Vec<u8> {
    let digits: Vec<u8> = number.bytes().filter(u8::is_ascii_digit).map(|digit| digit - b'0').collect();
    let kind = if number.starts_with('+') { 0x91 } else { 0x81 };
    let mut address = vec![u8::try_from(digits.len()).unwrap_or(u8::MAX), kind];
    address.extend(digits.chunks(2).map(|pair| pair.get(1).unwrap_or(&0xF) << 4 | pair[0]));
    address
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Put together by hand from 23.040: 13900000000 has eleven digits, so 0B, and an F fills the last pair;
    /// 停 is U+505C, 止 is U+6B62; two characters are four octets.
    #[test]
    fn a_short_text_is_one_pdu() {
        let pdus = submit("13900000000", "停止", 9);
        assert_eq!(pdus, [Pdu { hex: "0001000B813109000000F0000804505C6B62".into(), octets: 17 }]);
        let abroad = submit("+8613900000000", "停止", 9);
        assert_eq!(abroad[0].hex, "0001000D91683109000000F0000804505C6B62");
    }

    /// 70 characters stand alone (140 = 8C octets); 71 are 67 (134 + 6 = 140 octets) and 4 (8 + 6 = 0E).
    #[test]
    fn a_long_text_has_a_header_in_each_part() {
        let whole = submit("110", &"撤".repeat(70), 0x2A);
        assert_eq!(whole.len(), 1);
        assert!(whole[0].hex.starts_with("000100038111F000088C64A4"), "{}", whole[0].hex);
        let parts = submit("110", &"撤".repeat(71), 0x2A);
        assert_eq!(parts.len(), 2);
        assert!(parts[0].hex.starts_with("004100038111F000088C0500032A020164A4"), "{}", parts[0].hex);
        assert_eq!(parts[1].hex, "004100038111F000080E0500032A020264A464A464A464A4");
        assert_eq!((parts[0].octets, parts[1].octets), (149, 23));
    }

    proptest! {
        #[test]
        fn the_parts_are_the_text_and_no_character_is_torn(text in "[a-z撤人😀]{0,400}") {
            let parts = split(&text);
            let joined: Vec<u16> = parts.concat();
            prop_assert_eq!(String::from_utf16(&joined).unwrap(), text);
            for part in &parts {
                let most = if parts.len() == 1 { IN_ONE } else { IN_SEVERAL };
                prop_assert!(part.len() <= most);
                prop_assert!(String::from_utf16(part).is_ok());
            }
        }
    }
}
